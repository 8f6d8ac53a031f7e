"""Filter `length`: too few or too many words, or characters where a script has no spaces."""

from __future__ import annotations

from panoglot.curation._contract import Facts, Verdict, caption_filter
from panoglot.curation._measure import measured
from panoglot.table import Caption
from panoglot.text import is_spaceless, tokens

__all__ = ["length"]


@caption_filter("too_short", "too_long")
def length(
    caption: Caption,
    facts: Facts,
    *,
    min_words: int = 1,
    max_words: int | None = 400,
    min_characters: int = 1,
    max_characters: int | None = 1000,
) -> Verdict:
    """Drop texts that are too short or too long; bounds are kept.

    Words are what stands between white space, as in ALIGN's rule 8 (3 to 20 words). Chinese, Japanese, Thai, Khmer, Lao
    and Burmese do not put spaces between words: there letters and digits are counted, combining marks not.

    Source: ALIGN (Jia et al. 2021), section 3, text filters.

    >>> [length(Caption(text), {}, min_words=3, min_characters=3) for text in ("ein Hund", "ein roter Hund", "狗在跑")]
    ['too_short', None, None]
    """
    spaceless = is_spaceless(caption.text)
    low, high = (min_characters, max_characters) if spaceless else (min_words, max_words)
    count = measured("characters" if spaceless else "words", len(tokens(caption.text)), least=low, most=high)
    return "too_short" if count < low else "too_long" if high is not None and count > high else None
