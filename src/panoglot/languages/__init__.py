"""Languages and scripts: one canonical tag, which tags meet, what a text is written in, which way it runs.

A tag is BCP-47 in its shortest usual form: `zho_Hans`, `cmn-Hans` and `zh_CN` are `zh-Hans`, `arb_Arab` is `ar`,
`iw` is `he`. A script is its ISO 15924 code. Nothing here needs a model:
`embedded:langid` names the language of a text.
"""

from panoglot.languages._foreign import alike, count_foreign, is_foreign
from panoglot.languages._function_words import function_words, without_names
from panoglot.languages._meeting import matches, meeting, near_languages
from panoglot.languages._scripts import (
    RIGHT_TO_LEFT,
    chinese_script,
    direction,
    main_script,
    script_of,
    script_of_character,
    scripts_of,
    with_script,
    written_as,
)
from panoglot.languages._tags import (
    UNKNOWN_LANGUAGE,
    base_language,
    canonical_language,
    language_in_name,
    language_name,
    parse_language,
)

__all__ = [
    "RIGHT_TO_LEFT",
    "UNKNOWN_LANGUAGE",
    "alike",
    "base_language",
    "canonical_language",
    "chinese_script",
    "count_foreign",
    "direction",
    "function_words",
    "is_foreign",
    "language_in_name",
    "language_name",
    "main_script",
    "matches",
    "meeting",
    "near_languages",
    "parse_language",
    "script_of",
    "script_of_character",
    "scripts_of",
    "with_script",
    "without_names",
    "written_as",
]
