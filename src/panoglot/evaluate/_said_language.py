"""Captions that read like another language than they are scored as: counted and said, for no metric notices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from panoglot.errors import MissingPackage
from panoglot.languages import alike, base_language

__all__ = ["language_note"]

#: Most captions that are looked at, evenly over the file.
_LOOK = 300
#: Below it a caption's language is not known well enough: on XTD10's captions 0 to 2 in 400 are wrong above it.
_SURE = 0.9
#: More of those looked at must read like another language: the identifier errs on fewer.
_SHARE = 0.02


@lru_cache(maxsize=1)
def _guesser() -> Any:
    from panoglot.providers.embedded.langid import LanguageGuesser

    try:
        return LanguageGuesser()
    except MissingPackage:
        return None


def language_note(texts: Sequence[str | None], language: str, what: str = "captions") -> str:
    """A note on captions that read like another language; empty when there are (next to) none.

    Args:
        texts: captions.
        language: what they are scored as.
        what: what they are called.
    """
    there = [text for text in texts if text and len(text) > 15]
    step = max(1, len(there) // _LOOK)
    some = there[::step][:_LOOK]
    found = _guesser() if some else None
    if found is None or base_language(language) not in found.languages:
        return ""
    said = [base_language(tag) for tag, sure in found.identify(some) if sure >= _SURE]
    others = Counter(tag for tag in said if not alike(tag, language))
    count = others.total()
    if count <= _SHARE * len(some):
        return ""
    named = ", ".join(f"{tag} {number}" for tag, number in others.most_common(3))
    look = "" if len(some) == len(there) else " that were looked at"
    hint = f" If that is their language: --lang {others.most_common(1)[0][0]}" if 2 * count > len(some) else ""
    return f"{count} of {len(some)} {what}{look} read like another language than '{language}' ({named}).{hint}"
