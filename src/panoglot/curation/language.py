"""Filter `language`: languages that are not wanted, and texts that are not in the language they claim."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from panoglot.curation._contract import UNSCORED, Facts, Verdict, caption_filter
from panoglot.curation._measure import measured
from panoglot.curation._memory import loaded
from panoglot.languages import (
    UNKNOWN_LANGUAGE,
    alike,
    base_language,
    canonical_language,
    is_foreign,
    matches,
)
from panoglot.table import Caption
from panoglot.text import is_spaceless, letters

__all__ = ["language"]

#: Languages that identifiers commonly know. What is in another is always called something else, and wrongly.
_IDENTIFIED = frozenset(
    """af am an ar as az ba be bg bn br bs ca cs cy da de dz el en eo es et eu fa fi fo fr fy ga gl gu ha he hi hr ht hu
    hy id ig is it ja jv ka kk km kn ko ku ky la lb lo lt lv mg mk ml mn mr ms mt my nb ne nl nn no oc or pa pl ps pt qu
    ro ru rw se si sk sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz vi vo wa xh yo zh zu""".split()
)


@caption_filter(
    "language_not_allowed",
    "language_unknown",
    "language_mismatch",
    "language_unsure",
    models={"identifier": "language_identifier"},
)
def language(
    caption: Caption,
    facts: Facts,
    *,
    allowed: Sequence[str] | None = None,
    mismatch: float | None = 0.9,
    min_confidence: float | None = None,
    min_letters: int = 20,
    identifier: str = "embedded:langid",
) -> Verdict:
    """Drop languages that are not wanted, and texts identified as another language than the one they claim.

    Letters that a language is not written in are a mismatch whatever the identifier says. Close relatives (Danish and
    Norwegian, Spanish and Galician …) are none: in a short text nobody can tell them apart. A text of `und` is judged
    by its identified language.

    Args:
        caption: the caption.
        facts: not read.
        allowed: language tags; `zh` allows `zh-Hant`, not the reverse. None allows all.
        mismatch: probability from which another identified language drops the text; None never does.
        min_confidence: least probability of the identified language; None asks for none.
        min_letters: shorter texts are not identified (a third of it for Chinese, Japanese, Thai …): they are unscored.
        identifier: a model of the role `language_identifier`. A text in a language that it does not know (its
            `languages`, where it has them) is unscored.

    Source: the attribution flag of WIT (Srinivasan et al. 2021); language rules of ALIGN.

    >>> language(Caption("A dog is running along the beach", lang="de"), {})
    'language_mismatch'
    >>> language(Caption("Ein Hund läuft am Strand entlang", lang="de"), {}, allowed=["en", "fr"])
    'language_not_allowed'
    """
    claimed = caption.lang or UNKNOWN_LANGUAGE
    wanted = _tags(tuple(allowed)) if allowed is not None else None
    if claimed != UNKNOWN_LANGUAGE and wanted is not None and not _serves(wanted, claimed):
        measured(f"language, of {', '.join(wanted)}", claimed)
        return "language_not_allowed"
    need_to_know = mismatch is not None or min_confidence is not None
    if claimed != UNKNOWN_LANGUAGE and not need_to_know:
        return None
    fewest = max(1, min_letters // 3)
    if claimed != UNKNOWN_LANGUAGE and mismatch is not None:
        if is_foreign(caption.text, claimed, share=0.1, min_letters=fewest):
            measured("letters", f"not those of {claimed}")
            return "language_mismatch"
    elif wanted and all(is_foreign(caption.text, tag, share=0.1, min_letters=fewest) for tag in wanted):
        return "language_not_allowed"
    least = min_letters // 3 if is_spaceless(caption.text) else min_letters
    if measured("letters to tell a language by", letters(caption.text), least=least) < least:
        return "language_unknown" if claimed == UNKNOWN_LANGUAGE and wanted is not None else UNSCORED
    if claimed != UNKNOWN_LANGUAGE and base_language(claimed) not in _known(identifier):
        measured(f"language that {identifier} knows", None)
        return UNSCORED
    found, sure = _identify(identifier, caption.text)
    relative = found == claimed or claimed == UNKNOWN_LANGUAGE or alike(claimed, found)
    measured(f"identified as {found}", sure, least=min_confidence, below=None if relative else mismatch)
    if min_confidence is not None and sure < min_confidence:
        return "language_unsure"
    if found == UNKNOWN_LANGUAGE:
        return "language_unknown" if claimed == UNKNOWN_LANGUAGE and wanted is not None else UNSCORED
    if claimed == UNKNOWN_LANGUAGE:
        if wanted is None:
            return None
        return None if _serves(wanted, found) else "language_not_allowed"
    return "language_mismatch" if mismatch is not None and sure >= mismatch and not relative else None


@lru_cache(maxsize=64)
def _tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(canonical_language(tag) for tag in tags)


def _serves(wanted: Sequence[str], have: str) -> bool:
    return any(matches(tag, have) for tag in wanted)


@lru_cache(maxsize=4)
def _known(name: str) -> frozenset[str]:
    return frozenset(getattr(loaded(name, "language_identifier"), "languages", _IDENTIFIED))


@lru_cache(maxsize=100_000)
def _identify(name: str, text: str) -> tuple[str, float]:
    return tuple(loaded(name, "language_identifier").identify([text])[0])
