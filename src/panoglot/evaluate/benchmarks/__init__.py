"""Benchmarks: small files over the metrics. Each names the files that it expects and where they come from.

Nothing is downloaded: a missing file is an error that says where to get it.
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.evaluate.benchmarks._babel_imagenet import babel_imagenet, babel_imagenet_groups, read_babel_labels
    from panoglot.evaluate.benchmarks._caparena import caparena_auto, caparena_auto_scores, caparena_auto_verdicts
    from panoglot.evaluate.benchmarks._commute import commute, read_commute
    from panoglot.evaluate.benchmarks._composed import (
        circo,
        cirr,
        fashion_iq,
        fashion_iq_text,
        read_submission,
        write_submission,
    )
    from panoglot.evaluate.benchmarks._composed_run import composed_run
    from panoglot.evaluate.benchmarks._decapbench import decapbench, read_decapbench
    from panoglot.evaluate.benchmarks._dense_captions import dense_captions
    from panoglot.evaluate.benchmarks._detailcaps import read_detailcaps
    from panoglot.evaluate.benchmarks._genecis import genecis
    from panoglot.evaluate.benchmarks._image_text import image_text_benchmark, read_caption_set
    from panoglot.evaluate.benchmarks._merit import merit, merit_conditions, read_merit
    from panoglot.evaluate.benchmarks._mmmb import mmmb, mmmb_scores, read_mmmb
    from panoglot.evaluate.benchmarks._mvl_sib import mvl_sib, mvl_sib_items, mvl_sib_scores, read_sib
    from panoglot.evaluate.benchmarks._smpqa import make_smpqa, read_smpqa, smpqa, smpqa_questions, smpqa_scores
    from panoglot.evaluate.benchmarks._sorce import read_sorce, sorce, sorce_benchmark
    from panoglot.evaluate.benchmarks._truematch import read_bags, truematch

__all__ = [
    "babel_imagenet",
    "babel_imagenet_groups",
    "caparena_auto",
    "caparena_auto_scores",
    "caparena_auto_verdicts",
    "circo",
    "cirr",
    "commute",
    "composed_run",
    "decapbench",
    "dense_captions",
    "fashion_iq",
    "fashion_iq_text",
    "genecis",
    "image_text_benchmark",
    "make_smpqa",
    "merit",
    "merit_conditions",
    "mmmb",
    "mmmb_scores",
    "mvl_sib",
    "mvl_sib_items",
    "mvl_sib_scores",
    "read_babel_labels",
    "read_bags",
    "read_caption_set",
    "read_commute",
    "read_decapbench",
    "read_detailcaps",
    "read_merit",
    "read_mmmb",
    "read_sib",
    "read_smpqa",
    "read_sorce",
    "read_submission",
    "smpqa",
    "smpqa_questions",
    "smpqa_scores",
    "sorce",
    "sorce_benchmark",
    "truematch",
    "write_submission",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "babel_imagenet": "_babel_imagenet",
        "babel_imagenet_groups": "_babel_imagenet",
        "caparena_auto": "_caparena",
        "caparena_auto_scores": "_caparena",
        "caparena_auto_verdicts": "_caparena",
        "circo": "_composed",
        "cirr": "_composed",
        "commute": "_commute",
        "composed_run": "_composed_run",
        "decapbench": "_decapbench",
        "dense_captions": "_dense_captions",
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
    },
)
