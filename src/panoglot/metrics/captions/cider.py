"""CIDEr-D (what the COCO tools print as "CIDEr") and the paper's plain CIDEr.

Source: Vedantam et al., CVPR 2015, and the quirks of the COCO code, each an option:

| quirk | option, default |
|---|---|
| "CIDEr" is CIDEr-D: counts are clipped, lengths penalised | `variant="d"`; `"plain"` is the cosine of the paper |
| the length penalty counts bigrams, not words | `length_unit="bigrams"`; differs for captions of 0 or 1 words only |
| document frequencies come from the references at hand, log N from their number | `frequencies=None` |
| one image: log N = 0 and every score is 0 | here null, unless `frequencies` are given |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from panoglot.checks import check_option
from panoglot.errors import UserError
from panoglot.metrics._declare import Metric
from panoglot.metrics._inputs import Predictions, References, Tokenised, prepare, with_options
from panoglot.metrics._result import MetricResult

if TYPE_CHECKING:
    import numpy as np

    from panoglot.metrics.captions._ngrams import NgramTable

__all__ = ["CIDER", "DocumentFrequencies", "cider", "document_frequencies"]


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many images an n-gram stands; from a large corpus, so that few items can be scored.

    Attributes:
        counts: n-gram (words joined by spaces) to number of images.
        images: number of images.
        tokenizer: what made the tokens; must be the tokeniser of the metric.
    """

    counts: Mapping[str, int]
    images: int
    tokenizer: str


def document_frequencies(
    refs: References, *, lang: str = "en", tokenizer: str | Callable[[str], list[str]] | None = None, n: int = 4
) -> DocumentFrequencies:
    """Count in how many images each n-gram of the references stands.

    >>> found = document_frequencies([["a cat", "the cat"], ["a dog"]])
    >>> found.images, found.counts["a"], found.counts["cat"], found.counts["a dog"]
    (2, 2, 1, 1)
    """
    from collections import Counter

    listed = list(refs.values()) if isinstance(refs, Mapping) else refs
    given = prepare([None] * len(listed), listed, lang=lang, tokenizer=tokenizer)
    counts: Counter[str] = Counter()
    for item in listed:
        counts.update({gram for words in given.tokenizer(item) for gram in _grams(words, n)})
    return DocumentFrequencies(dict(counts), len(listed), given.tokenizer.name)


def _grams(words: Sequence[str], n: int) -> Iterable[str]:
    for order in range(1, n + 1):
        for at in range(len(words) - order + 1):
            yield " ".join(words[at : at + order])


@with_options
def cider(
    preds: Predictions,
    refs: References,
    *,
    n: int = 4,
    sigma: float = 6.0,
    variant: str = "d",
    length_unit: str = "bigrams",
    frequencies: DocumentFrequencies | None = None,
    **how: Unpack[Tokenised],
) -> MetricResult:
    """Mean CIDEr-D, on the scale of the COCO tools (0 to 10).

    Args:
        preds: a caption for each item.
        refs: references of each item.
        n: highest n-gram order.
        sigma: width of the Gaussian length penalty, in words.
        variant: `d` or `plain`.
        length_unit: `bigrams` (as the reference code) or `words`.
        frequencies: document frequencies of a larger corpus; None counts in `refs`.
        **how: language, tokeniser, ids, empty captions, interval: see `Tokenised`.

    Raises:
        UserError: bad input, naming the first offenders.

    >>> result = cider(["a cat sat here", "two dogs run far"], [["a cat sat here"], ["two dogs run fast"]])
    >>> result.metric, [round(value, 4) for value in result.per_item]
    ('cider-d', [10.0, 4.7917])
    """
    check_option("variant", variant, ("d", "plain"))
    check_option("length_unit", length_unit, ("bigrams", "words"))
    given = prepare(preds, refs, **how)
    if frequencies is not None and frequencies.tokenizer != given.tokenizer.name:
        raise UserError(
            f"the document frequencies were counted with '{frequencies.tokenizer}' but the captions are read with "
            f"'{given.tokenizer.name}': count them again."
        )
    notes: tuple[str, ...] = ()
    if frequencies is None and len(given.kept) < 2:
        values: Any = [None] * len(given.kept)
        notes = ("one item has no document frequencies: give frequencies= of a corpus.",) if given.kept else ()
    else:
        values = _scores(given.preds, given.refs, n, sigma, variant, length_unit, frequencies)
    counted = "references" if frequencies is None else f"corpus of {frequencies.images} images"
    options = {"n": n, "sigma": sigma, "length_unit": length_unit, "frequencies": counted}
    return given.mean("cider-d" if variant == "d" else "cider", values, options, notes=notes)


def _scores(
    preds: Sequence[Sequence[str]],
    refs: Sequence[Sequence[Sequence[str]]],
    n: int,
    sigma: float,
    variant: str,
    length_unit: str,
    frequencies: DocumentFrequencies | None,
) -> np.ndarray:
    import numpy as np

    from panoglot.metrics.captions._ngrams import lookup, ngram_tables

    items = len(preds)
    many = np.fromiter(map(len, refs), dtype=np.int64, count=items)
    rows = [*preds, *(ref for item in refs for ref in item)]
    tables, lengths, flat = ngram_tables(rows, n)
    owner = np.repeat(np.arange(items), many)  # item of each reference
    log_images = np.log(float(items if frequencies is None else frequencies.images))
    total = np.zeros(len(owner))
    for order, table in enumerate(tables, start=1):
        split = np.searchsorted(table.row, items)
        if frequencies is None:
            df = _images_with(table.gram[split:], owner[table.row[split:] - items], table.size)
        else:
            df = _given_frequencies(flat, table, order, frequencies)
        idf = log_images - np.log(np.maximum(df, 1.0))
        weight = table.count * idf[table.gram]
        norm = np.sqrt(np.bincount(table.row, weights=weight**2, minlength=len(rows)))
        row = table.row[split:] - items  # reference number
        theirs = weight[split:]
        ours = lookup(table.key[:split], weight[:split], owner[row] * table.size + table.gram[split:])
        product = (np.minimum(ours, theirs) if variant == "d" else ours) * theirs
        dot = np.bincount(row, weights=product, minlength=len(owner))
        norms = norm[:items][owner] * norm[items:]
        # the reference code leaves the dot product (0) where a norm is 0
        total += np.divide(dot, norms, out=np.zeros(len(owner)), where=norms > 0)
    if variant == "d":
        size = np.maximum(lengths - 1, 0) if length_unit == "bigrams" else lengths
        total *= np.exp(-((size[:items][owner] - size[items:]) ** 2) / (2 * sigma**2))
    return 10.0 * np.bincount(owner, weights=total, minlength=items) / n / many


def _images_with(gram: np.ndarray, image: np.ndarray, size: int) -> np.ndarray:
    """Number of images that have each n-gram `[size]`."""
    import numpy as np

    ordered = np.sort(gram * (int(image.max(initial=0)) + 1) + image)
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    return np.bincount(ordered[first] // (int(image.max(initial=0)) + 1), minlength=size)


def _given_frequencies(flat: Sequence[str], table: NgramTable, order: int, given: DocumentFrequencies) -> np.ndarray:
    """Frequencies `[size]` of the table's n-grams in a given corpus."""
    import numpy as np

    grams = (" ".join(flat[at : at + order]) for at in table.place.tolist())
    return np.fromiter((given.counts.get(gram, 0) for gram in grams), dtype=np.float64, count=table.size)


CIDER = Metric(
    "cider", cider,
    "CIDEr-D: tf-idf weighted n-grams, clipped, with a length penalty (0 to 10)",
    needs="refs", source="Vedantam et al., CVPR 2015", parity="equal to pycocoevalcap to 1e-9 on equal tokens",
)  # fmt: skip
