"""Curation: filters answer with a reason or none; nothing is deleted.

A filter is a function of one file; `FILTERS` has them all, `_contract` says what kinds there are. Your own, anywhere:

    @caption_filter("no_verb")
    def has_verb(caption, facts, *, verbs=("runs", "sits")):
        '''Drop captions in which nothing happens.'''
        return None if any(verb in caption.text for verb in verbs) else "no_verb"

    curate(dataset, steps=["near_duplicate", ("has_verb", {"verbs": ["läuft"]})])

Curation owns the reasons that its filters declare: curating again clears them and decides anew. A method that drops its
own captions uses another word (`owns` tells).
"""

from panoglot._verbs import callable_room
from panoglot.curate._contract import (
    FILTERS,
    UNSCORED,
    Filter,
    Step,
    caption_filter,
    image_filter,
    owns,
    pair_finder,
    resolve,
    text_group_filter,
)
from panoglot.curate._curate import CurateResult, curate
from panoglot.curate._images import ImageIndex
from panoglot.curate._presets import PRESETS
from panoglot.curate.aspect import aspect
from panoglot.curate.boilerplate import boilerplate
from panoglot.curate.duplicate_text import common_text, duplicate_text
from panoglot.curate.language import language
from panoglot.curate.length import length
from panoglot.curate.many_texts import many_texts
from panoglot.curate.near_duplicate import near_duplicate
from panoglot.curate.pdq import PdqOperator, pdq, pdq_stage
from panoglot.curate.repetition import repetition
from panoglot.curate.score import image_score, score
from panoglot.curate.similar import similar
from panoglot.curate.size import size

__all__ = [
    "FILTERS",
    "PRESETS",
    "UNSCORED",
    "CurateResult",
    "Filter",
    "ImageIndex",
    "PdqOperator",
    "Step",
    "aspect",
    "boilerplate",
    "caption_filter",
    "common_text",
    "curate",
    "duplicate_text",
    "image_filter",
    "image_score",
    "language",
    "length",
    "many_texts",
    "near_duplicate",
    "owns",
    "pair_finder",
    "pdq",
    "pdq_stage",
    "repetition",
    "resolve",
    "score",
    "similar",
    "size",
    "text_group_filter",
]

callable_room(__name__, curate)
