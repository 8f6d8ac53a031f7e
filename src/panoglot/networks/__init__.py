"""What is trained: the contrast kernel, losses, parts, towers, adapters, samplers, rows, and the trained model `pano:`.

Importing this package is cheap: torch is loaded when a name that needs it is first used.
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.networks._augment import CHANGES, augmented
    from panoglot.networks._checkpointing import checkpoint_activations
    from panoglot.networks._contrast import ContrastOptions, contrast, contrast_dense
    from panoglot.networks._data import Data, selected
    from panoglot.networks._ema import Ema
    from panoglot.networks._export import EXPORTS, check_export, export_model, fitting
    from panoglot.networks._freeze import FreezePlan, freeze, parameter_groups, training_mode
    from panoglot.networks._kinds import SETTINGS, Kinds, Option, register, says
    from panoglot.networks._language import Language, pad
    from panoglot.networks._load import Ensemble, begin_with, load_run
    from panoglot.networks._model import Model, make_model
    from panoglot.networks._needs import NEEDS, READS, needs_of, reads_of
    from panoglot.networks._optimiser import Lamb
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
    from panoglot.networks._row_identity import part_kinds, row_identity
    from panoglot.networks._schedule import ramp, schedule
    from panoglot.networks._step import Draft, Step, straight_through
    from panoglot.networks._streams import Streams, make_data
    from panoglot.networks._tiles import Tiling, allocate, cut_tiles, grid_of, share_tiles
    from panoglot.networks._views import View, choose_view, square_of

__all__ = [
    "CHANGES",
    "EXPORTS",
    "NEEDS",
    "READS",
    "SETTINGS",
    "TEXT_KINDS",
    "Batch",
    "ContrastOptions",
    "Data",
    "Draft",
    "Ema",
    "Ensemble",
    "FreezePlan",
    "Kinds",
    "Lamb",
    "Language",
    "Model",
    "Option",
    "Record",
    "RegionText",
    "Row",
    "Step",
    "Streams",
    "Term",
    "Text",
    "Tiling",
    "Turn",
    "View",
    "allocate",
    "augmented",
    "begin_with",
    "check_export",
    "checkpoint_activations",
    "choose_view",
    "contrast",
    "contrast_dense",
    "cut_tiles",
    "export_model",
    "fitting",
    "freeze",
    "gather_rows",
    "grid_of",
    "list_presets",
    "list_rows",
    "load_row",
    "load_run",
    "make_data",
    "make_model",
    "needs_of",
    "pad",
    "parameter_groups",
    "part_kinds",
    "pooled_contrast",
    "ramp",
    "reads_of",
    "record_from_captions",
    "register",
    "row_identity",
    "says",
    "schedule",
    "selected",
    "share_tiles",
    "square_of",
    "stored_row",
    "straight_through",
    "sum_terms",
    "training_mode",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CHANGES": "_augment",
        "augmented": "_augment",
        "Data": "_data",
        "selected": "_data",
        "Streams": "_streams",
        "make_data": "_streams",
        "needs_of": "_needs",
        "reads_of": "_needs",
        "Lamb": "_optimiser",
        "SETTINGS": "_kinds",
        "Option": "_kinds",
        "EXPORTS": "_export",
        "check_export": "_export",
        "export_model": "_export",
        "fitting": "_export",
        "checkpoint_activations": "_checkpointing",
        "Language": "_language",
        "pad": "_language",
        "part_kinds": "_row_identity",
        "row_identity": "_row_identity",
        "grid_of": "_tiles",
        "square_of": "_views",
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
        "begin_with": "_load",
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
