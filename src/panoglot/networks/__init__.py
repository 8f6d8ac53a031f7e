"""What is trained: the contrast kernel, losses, parts, towers, adapters, samplers, rows, and the trained model `pano:`.

Importing this package is cheap: torch is loaded when a name that needs it is first used.
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.networks._contrast import ContrastOptions, contrast, contrast_dense
    from panoglot.networks._ema import Ema
    from panoglot.networks._freeze import FreezePlan, freeze, parameter_groups, training_mode
    from panoglot.networks._load import Ensemble, load_run
    from panoglot.networks._model import Model, make_model
    from panoglot.networks._pool import gather_rows, pooled_contrast
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
    from panoglot.networks._row import Row, list_presets, list_rows, load_row, stored_row
    from panoglot.networks._schedule import ramp, schedule

__all__ = [
    "TEXT_KINDS",
    "Batch",
    "ContrastOptions",
    "Ema",
    "Ensemble",
    "FreezePlan",
    "Model",
    "Record",
    "RegionText",
    "Row",
    "Term",
    "Text",
    "contrast",
    "contrast_dense",
    "freeze",
    "gather_rows",
    "list_presets",
    "list_rows",
    "load_row",
    "load_run",
    "make_model",
    "parameter_groups",
    "pooled_contrast",
    "ramp",
    "record_from_captions",
    "schedule",
    "stored_row",
    "sum_terms",
    "training_mode",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "TEXT_KINDS": "_records",
        "Batch": "_records",
        "ContrastOptions": "_contrast",
        "Ema": "_ema",
        "Ensemble": "_load",
        "FreezePlan": "_freeze",
        "Model": "_model",
        "Record": "_records",
        "RegionText": "_records",
        "Row": "_row",
        "Term": "_records",
        "Text": "_records",
        "contrast": "_contrast",
        "contrast_dense": "_contrast",
        "freeze": "_freeze",
        "gather_rows": "_pool",
        "list_presets": "_row",
        "list_rows": "_row",
        "load_row": "_row",
        "load_run": "_load",
        "make_model": "_model",
        "parameter_groups": "_freeze",
        "pooled_contrast": "_pool",
        "ramp": "_schedule",
        "record_from_captions": "_records",
        "schedule": "_schedule",
        "stored_row": "_row",
        "sum_terms": "_records",
        "training_mode": "_freeze",
    },
)
