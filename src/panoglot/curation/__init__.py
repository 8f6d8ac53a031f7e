"""Curation: filters answer with a reason or none; nothing is deleted.

A filter is a function of one file; `filters()` has them all, `_contract` says what kinds there are. A preset is a list
of filters with a name; `presets()` has them all. Your own, anywhere, or by an entry point of `panoglot.filters`:

    @caption_filter("no_verb")
    def has_verb(caption, facts, *, verbs=("runs", "sits")):
        '''Drop captions in which nothing happens.'''
        return None if any(verb in caption.text for verb in verbs) else "no_verb"

    curate(dataset, steps=["near_duplicate", ("has_verb", {"verbs": ["läuft"]})])

Curation owns the reasons that its filters declare: curating again clears them and decides anew. A method that drops its
own captions uses another word (`owns` tells).
"""

from panoglot.curation._contract import (
    FILTERS,
    PRESETS,
    UNSCORED,
    Facts,
    Filter,
    Preset,
    Step,
    Steps,
    Verdict,
    caption_filter,
    filters,
    find_filter,
    image_filter,
    image_group_filter,
    owns,
    pair_finder,
    preset,
    presets,
    resolve,
    text_group_filter,
)
from panoglot.curation._curate import CurateResult, curate
from panoglot.curation._explain import Explained, Judged, Ruling
from panoglot.curation._measure import Measure, measured
from panoglot.curation._presets import default, wit
from panoglot.curation._texts import Texts
from panoglot.curation.adult import adult
from panoglot.curation.align import align
from panoglot.curation.append import append
from panoglot.curation.aspect import aspect
from panoglot.curation.best_caption import best_caption
from panoglot.curation.boilerplate import boilerplate
from panoglot.curation.compress_align import compress_align
from panoglot.curation.duplicate_text import common_text, duplicate_text
from panoglot.curation.every_nth import every_nth
from panoglot.curation.in_test_set import in_test_set
from panoglot.curation.language import language
from panoglot.curation.length import length
from panoglot.curation.many_texts import many_texts
from panoglot.curation.near_duplicate import near_duplicate
from panoglot.curation.pdq import PdqOperator, pdq, pdq_stage
from panoglot.curation.rare_words import rare_words
from panoglot.curation.repetition import repetition
from panoglot.curation.score import image_score, score
from panoglot.curation.similar import similar
from panoglot.curation.size import size
from panoglot.curation.tldr import tldr
from panoglot.curation.top_score import top_score
from panoglot.curation.words import words
from panoglot.vectors import ImageIndex

__all__ = [
    "FILTERS",
    "PRESETS",
    "UNSCORED",
    "CurateResult",
    "Explained",
    "Facts",
    "Filter",
    "ImageIndex",
    "Judged",
    "Measure",
    "PdqOperator",
    "Preset",
    "Ruling",
    "Step",
    "Steps",
    "Texts",
    "Verdict",
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
    "filters",
    "find_filter",
    "image_filter",
    "image_group_filter",
    "image_score",
    "in_test_set",
    "language",
    "length",
    "many_texts",
    "measured",
    "near_duplicate",
    "owns",
    "pair_finder",
    "pdq",
    "pdq_stage",
    "preset",
    "presets",
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
