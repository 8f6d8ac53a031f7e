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

from typing import TYPE_CHECKING

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
from panoglot.extensions import lazy_names
from panoglot.vectors import ImageIndex

if TYPE_CHECKING:
    from panoglot.curation._groups import Groups
    from panoglot.curation._memory import rules_of
    from panoglot.curation._ngrams import NgramTable, count_ngrams, load_table, ngram_keys, save_table
    from panoglot.curation._pdq_hash import hash_grid
    from panoglot.curation._same import MOST_DIFFERENCE, difference
    from panoglot.curation._select import RANKED, falling, last_of_best, score_of
    from panoglot.curation._spill import Spill

__all__ = [
    "FILTERS",
    "MOST_DIFFERENCE",
    "PRESETS",
    "RANKED",
    "UNSCORED",
    "CurateResult",
    "Explained",
    "Facts",
    "Filter",
    "Groups",
    "ImageIndex",
    "Judged",
    "Measure",
    "NgramTable",
    "PdqOperator",
    "Preset",
    "Ruling",
    "Spill",
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
    "count_ngrams",
    "curate",
    "default",
    "difference",
    "duplicate_text",
    "every_nth",
    "falling",
    "filters",
    "find_filter",
    "hash_grid",
    "image_filter",
    "image_group_filter",
    "image_score",
    "in_test_set",
    "language",
    "last_of_best",
    "length",
    "load_table",
    "many_texts",
    "measured",
    "near_duplicate",
    "ngram_keys",
    "owns",
    "pair_finder",
    "pdq",
    "pdq_stage",
    "preset",
    "presets",
    "rare_words",
    "repetition",
    "resolve",
    "rules_of",
    "save_table",
    "score",
    "score_of",
    "similar",
    "size",
    "text_group_filter",
    "tldr",
    "top_score",
    "wit",
    "words",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "score_of": "_select",
        "NgramTable": "_ngrams",
        "Groups": "_groups",
        "rules_of": "_memory",
        "count_ngrams": "_ngrams",
        "load_table": "_ngrams",
        "ngram_keys": "_ngrams",
        "save_table": "_ngrams",
        "hash_grid": "_pdq_hash",
        "MOST_DIFFERENCE": "_same",
        "difference": "_same",
        "RANKED": "_select",
        "falling": "_select",
        "last_of_best": "_select",
        "Spill": "_spill",
    },
)
