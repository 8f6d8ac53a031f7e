"""What is trained: the contrast kernel, losses, parts, towers, adapters, samplers, rows, and the trained model `pano:`.

Importing this package is cheap: torch is loaded when a name that needs it is first used.
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.networks._contrast import ContrastOptions, contrast, contrast_dense
    from panoglot.networks._ema import Ema
    from panoglot.networks._freeze import FreezePlan, freeze, parameter_groups, training_mode
    from panoglot.networks._kinds import Kinds, register, says
    from panoglot.networks._load import Ensemble, load_run
    from panoglot.networks._model import Model, make_model
    from panoglot.networks._needs import NEEDS, READS
    from panoglot.networks._pool import gather_rows, pooled_contrast
    from panoglot.networks._records import (
        TEXT_KINDS,
        Batch,
        Record,
        RegionText,
        Term,
        Text,
        Turn,
        record_from_captions,
        sum_terms,
    )
    from panoglot.networks._row import Row, list_presets, list_rows, load_row, stored_row
    from panoglot.networks._schedule import ramp, schedule
    from panoglot.networks._step import Draft, Step, straight_through
    from panoglot.networks._tiles import Tiling, allocate, cut_tiles, share_tiles
    from panoglot.networks._views import View, choose_view

__all__ = [
    "NEEDS",
    "READS",
    "TEXT_KINDS",
    "Batch",
    "ContrastOptions",
    "Draft",
    "Ema",
    "Ensemble",
    "FreezePlan",
    "Kinds",
    "Model",
    "Record",
    "RegionText",
    "Row",
    "Step",
    "Term",
    "Text",
    "Tiling",
    "Turn",
    "View",
    "allocate",
    "choose_view",
    "contrast",
    "contrast_dense",
    "cut_tiles",
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
    "register",
    "says",
    "schedule",
    "share_tiles",
    "stored_row",
    "straight_through",
    "sum_terms",
    "training_mode",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "NEEDS": "_needs",
        "READS": "_needs",
        "TEXT_KINDS": "_records",
        "Batch": "_records",
        "ContrastOptions": "_contrast",
        "Draft": "_step",
        "Ema": "_ema",
        "Ensemble": "_load",
        "FreezePlan": "_freeze",
        "Kinds": "_kinds",
        "Model": "_model",
        "Record": "_records",
        "RegionText": "_records",
        "Row": "_row",
        "Step": "_step",
        "Term": "_records",
        "Text": "_records",
        "Tiling": "_tiles",
        "Turn": "_records",
        "View": "_views",
        "allocate": "_tiles",
        "choose_view": "_views",
        "contrast": "_contrast",
        "contrast_dense": "_contrast",
        "cut_tiles": "_tiles",
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
        "register": "_kinds",
        "says": "_kinds",
        "schedule": "_schedule",
        "share_tiles": "_tiles",
        "stored_row": "_row",
        "straight_through": "_step",
        "sum_terms": "_records",
        "training_mode": "_freeze",
    },
)
