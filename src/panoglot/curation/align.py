"""Preset `align`: the frequency rules of ALIGN."""

from __future__ import annotations

from panoglot.curation._contract import Steps, preset

__all__ = ["align"]


@preset("align")
def align(
    *,
    min_side: int = 201,
    aspect_below: float = 3.0,
    max_texts_per_image: int = 1000,
    max_images_per_text: int = 10,
    min_words: int = 3,
    max_words: int = 20,
    top_n: int = 100_000_000,
    ngram_table: str = "",
    test: str = "",
    adult_score: str = "nsfw",
    tagger: str = "",
) -> Steps:
    """ALIGN (Jia et al. 2021): eight rules on sizes, counts and words; no model needed.

    1. no adult content (only where a score or a `tagger` says so); 2. shorter side above 200 pixels; 3. aspect ratio
    below 3; 4. at most 1000 texts an image; 5. no near-copy of a `test` image; 6. at most 10 images a text; 7. no rare
    unigram or bigram; 8. 3 to 20 words. All counts are those of the raw data. The published numbers are the defaults.

    Differences: words of scripts without spaces are counted by letters (see `words`); rule 6 takes texts as equal
    whatever their case and white space; the rules look at given texts (kinds `alt` and `human`).

    Args:
        min_side: least shorter side.
        aspect_below: longer by shorter side; this much is dropped.
        max_texts_per_image: different given texts.
        max_images_per_text: images with the same text.
        min_words: least words.
        max_words: most words.
        top_n: n-grams that are not rare.
        ngram_table: file that keeps the table of n-grams, see `rare_words`.
        test: dataset of test pictures, see `in_test_set`.
        adult_score: name of the score of adult content.
        tagger: model that writes it, see `adult`.

    Source: arXiv 2102.05918, section 3.
    """
    given = ("alt", "human")
    return (
        ("adult", {"name": adult_score, "tagger": tagger}),
        ("size", {"min_side": min_side, "max_pixels": None, "unknown": False}),
        ("aspect", {"below": aspect_below}),
        ("many_texts", {"maximum": max_texts_per_image}),
        ("in_test_set", {"test": test}),
        ("common_text", {"max_images": max_images_per_text, "kinds": given}),
        ("rare_words", {"top_n": top_n, "table": ngram_table, "kinds": given}),
        ("words", {"minimum": min_words, "maximum": max_words, "kinds": given}),
    )
