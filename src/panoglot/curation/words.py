"""Filter `words`: too few or too many words, in any script."""

from __future__ import annotations

from panoglot.curation._contract import Facts, Verdict, caption_filter
from panoglot.curation._measure import measured
from panoglot.table import Caption
from panoglot.text import word_count

__all__ = ["words"]


@caption_filter("few_words", "many_words")
def words(caption: Caption, facts: Facts, *, minimum: int = 1, maximum: int | None = None) -> Verdict:
    """Drop texts with fewer than `minimum` or more than `maximum` words; bounds are kept.

    Unlike `length`, which has other bounds for scripts without spaces, this counts words in every script: what stands
    between white space; of Chinese, Japanese, Thai, Lao, Khmer, Burmese and Tibetan as many letters as say what an
    English word says (1.5 Chinese characters, 4 Thai letters …).

    Source: ALIGN (Jia et al. 2021), section 3: 3 to 20 unigrams.

    >>> [words(Caption(text), {}, minimum=3, maximum=20) for text in ("ein Hund", "ein roter Hund", "一只红色的狗")]
    ['few_words', None, None]
    """
    count = measured("words", word_count(caption.text), least=minimum, most=maximum)
    return "few_words" if count < minimum else "many_words" if maximum is not None and count > maximum else None
