"""Curation: filters answer with a reason or none; nothing is deleted.

A filter is a function of one file; `FILTERS` has them all, `_contract` says what kinds there are. A preset is a list of
filters with a name; `PRESETS` has them all. Your own, anywhere:

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
    PRESETS,
    UNSCORED,
    Filter,
    Preset,
    Step,
    caption_filter,
    image_filter,
    image_group_filter,
    owns,
    pair_finder,
    preset,
    resolve,
    text_group_filter,
)
from panoglot.curate._curate import CurateResult, curate
from panoglot.curate._images import ImageIndex
from panoglot.curate._presets import default, wit
from panoglot.curate._texts import Texts
from panoglot.curate.adult import adult
from panoglot.curate.align import align
from panoglot.curate.append import append
from panoglot.curate.aspect import aspect
from panoglot.curate.best_caption import best_caption
from panoglot.curate.boilerplate import boilerplate
from panoglot.curate.compress_align import compress_align
from panoglot.curate.duplicate_text import common_text, duplicate_text
from panoglot.curate.every_nth import every_nth
from panoglot.curate.in_test_set import in_test_set
from panoglot.curate.language import language
from panoglot.curate.length import length
from panoglot.curate.many_texts import many_texts
from panoglot.curate.near_duplicate import near_duplicate
from panoglot.curate.pdq import PdqOperator, pdq, pdq_stage
from panoglot.curate.rare_words import rare_words
from panoglot.curate.repetition import repetition
from panoglot.curate.score import image_score, score
from panoglot.curate.similar import similar
from panoglot.curate.size import size
from panoglot.curate.tldr import tldr
from panoglot.curate.top_score import top_score
from panoglot.curate.words import words

__all__ = [
    "FILTERS",
    "PRESETS",
    "UNSCORED",
    "CurateResult",
    "Filter",
    "ImageIndex",
    "PdqOperator",
    "Preset",
    "Step",
    "Texts",
    "adult",
    "align",
    "append",
    "aspect",
    "best_caption",
    "boilerplate",
    "caption_filter",
    "common_text",
    "compress_align",
    "curate",
    "default",
    "duplicate_text",
    "every_nth",
    "image_filter",
    "image_group_filter",
    "image_score",
    "in_test_set",
    "language",
    "length",
    "many_texts",
    "near_duplicate",
    "owns",
    "pair_finder",
    "pdq",
    "pdq_stage",
    "preset",
    "rare_words",
    "repetition",
    "resolve",
    "score",
    "similar",
    "size",
    "text_group_filter",
    "tldr",
    "top_score",
    "wit",
    "words",
]

callable_room(__name__, curate)
