"""Training: one trainer, and every method a row of towers, samplers, losses, freezing patterns and a schedule.

Importing this package is cheap: torch is loaded when a name that needs it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from panoglot._verbs import callable_room
from panoglot.networks._records import (
    TEXT_KINDS,
    Batch,
    Record,
    RegionText,
    Term,
    Text,
    record_from_captions,
    sum_terms,
)
from panoglot.training._commands import Trained, TrainingMethod, train

# name -> the module that defines it (each of these imports torch)
_LAZY = {
    "ContrastOptions": "_contrast",
    "Ensemble": "_load",
    "load_run": "_load",
    "Ema": "_ema",
    "FreezePlan": "_freeze",
    "contrast": "_contrast",
    "contrast_dense": "_contrast",
    "accumulate": "_accumulate",
    "freeze": "_freeze",
    "parameter_groups": "_freeze",
    "training_mode": "_freeze",
    "Model": "_model",
    "Reading": "_dataset",
    "ScalingLaw": "_scaling",
    "gather_rows": "_pool",
    "pooled_contrast": "_pool",
    "fit_scaling": "_scaling",
    "plot_scaling": "_scaling",
    "points_of_runs": "_scaling",
    "Row": "_row",
    "Trainer": "_trainer",
    "list_rows": "_row",
    "load_row": "_row",
    "stored_row": "_row",
    "make_model": "_model",
    "ramp": "_schedule",
    "read_records": "_dataset",
    "recall": "_measure",
    "shapes": "_shapes",
    "schedule": "_schedule",
}

__all__ = [
    "TEXT_KINDS",
    "Batch",
    "ContrastOptions",
    "Ema",
    "Ensemble",
    "FreezePlan",
    "Model",
    "Reading",
    "Record",
    "RegionText",
    "Row",
    "ScalingLaw",
    "Term",
    "Text",
    "Trained",
    "Trainer",
    "TrainingMethod",
    "accumulate",
    "contrast",
    "contrast_dense",
    "fit_scaling",
    "freeze",
    "gather_rows",
    "list_rows",
    "load_row",
    "load_run",
    "make_model",
    "parameter_groups",
    "plot_scaling",
    "points_of_runs",
    "pooled_contrast",
    "ramp",
    "read_records",
    "recall",
    "record_from_captions",
    "schedule",
    "shapes",
    "stored_row",
    "sum_terms",
    "train",
    "training_mode",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


callable_room(__name__, train)
