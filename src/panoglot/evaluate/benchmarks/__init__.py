"""Benchmarks: small files over the metrics. Each names the files that it expects and where they come from.

Nothing is downloaded: a missing file is an error that says where to get it.
"""

from __future__ import annotations

import importlib
from typing import Any

#: Public name to its module.
_HOME: dict[str, str] = {
    "babel_imagenet": "_babel_imagenet",
    "babel_imagenet_groups": "_babel_imagenet",
    "caparena_auto": "_caparena",
    "caparena_auto_scores": "_caparena",
    "caparena_auto_verdicts": "_caparena",
    "circo": "_composed",
    "cirr": "_composed",
    "commute": "_commute",
    "decapbench": "_decapbench",
    "dense_captions": "_dense_captions",
    "composed_run": "_composed_run",
    "fashion_iq": "_composed",
    "fashion_iq_text": "_composed",
    "genecis": "_genecis",
    "image_text_benchmark": "_image_text",
    "make_smpqa": "_smpqa",
    "merit": "_merit",
    "merit_conditions": "_merit",
    "mmmb": "_mmmb",
    "mmmb_scores": "_mmmb",
    "mvl_sib": "_mvl_sib",
    "mvl_sib_items": "_mvl_sib",
    "mvl_sib_scores": "_mvl_sib",
    "read_babel_labels": "_babel_imagenet",
    "read_bags": "_truematch",
    "read_caption_set": "_image_text",
    "read_commute": "_commute",
    "read_decapbench": "_decapbench",
    "read_detailcaps": "_detailcaps",
    "read_merit": "_merit",
    "read_mmmb": "_mmmb",
    "read_sib": "_mvl_sib",
    "read_smpqa": "_smpqa",
    "read_sorce": "_sorce",
    "read_submission": "_composed",
    "smpqa": "_smpqa",
    "smpqa_questions": "_smpqa",
    "smpqa_scores": "_smpqa",
    "sorce": "_sorce",
    "sorce_benchmark": "_sorce",
    "truematch": "_truematch",
    "write_submission": "_composed",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found
