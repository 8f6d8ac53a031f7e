"""What is here: methods, models, and `doctor`."""

from panoglot.inventory._doctor import Finding, doctor, models
from panoglot.inventory._evidence import LETTERS, Shown, evidence
from panoglot.inventory._labels import Label, Labels, SourceFigures, labels, source_figures
from panoglot.inventory._methods import MethodRow, methods

__all__ = [
    "LETTERS",
    "Finding",
    "Label",
    "Labels",
    "MethodRow",
    "Shown",
    "SourceFigures",
    "doctor",
    "evidence",
    "labels",
    "methods",
    "models",
    "source_figures",
]
