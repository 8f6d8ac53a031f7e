"""How varied captions are: distinct-n and self-BLEU. No references.

Sources: Li et al., NAACL 2016 (distinct-n); Zhu et al., SIGIR 2018 (self-BLEU).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from panoglot.errors import UserError
from panoglot.metrics._declare import Metric
from panoglot.metrics._inputs import OnEmpty, Predictions, prepare
from panoglot.metrics._result import MetricResult

__all__ = ["DISTINCT_N", "SELF_BLEU", "distinct_n", "self_bleu"]


def distinct_n(
    preds: Predictions,
    *,
    lang: str | Sequence[str] = "en",
    tokenizer: str | Callable[[str], list[str]] | None = None,
    ids: Sequence[Any] | None = None,
    n: int = 2,
    on_error: OnEmpty = "raise",
) -> MetricResult:
    """Distinct n-grams over all n-grams of all captions; `parts` hold distinct-1..n and the share of distinct captions.

    The value falls as captions become more or longer: compare equal numbers of captions only (recorded as `n`).

    >>> result = distinct_n(["a red cat", "a red dog"])
    >>> result.value, result.parts["distinct1"]
    (0.75, 0.6666666666666666)
    """
    from panoglot.metrics.captions._ngrams import ngram_tables

    given = prepare(preds, None, lang=lang, tokenizer=tokenizer, ids=ids, on_error=on_error)
    tables, _, _ = ngram_tables(given.preds, n)
    parts: dict[str, float | None] = {}
    for order, table in enumerate(tables, start=1):
        total = int(table.count.sum())
        parts[f"distinct{order}"] = len(set(table.gram.tolist())) / total if total else None
    parts["distinct_captions"] = len(set(map(tuple, given.preds))) / len(given.preds) if given.preds else None
    return MetricResult(
        metric=f"distinct-{n}",
        version="1",
        value=parts[f"distinct{n}"],
        n=len(given.ids),
        unscored=len(given.ids) - len(given.kept),
        parts=parts,
        ids=given.ids,
        options={"n": n, "on_error": on_error},
        language=given.language,
        tokenizer=given.tokenizer.name,
    )


def self_bleu(
    preds: Predictions,
    *,
    lang: str | Sequence[str] = "en",
    tokenizer: str | Callable[[str], list[str]] | None = None,
    ids: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    n: int = 4,
    sample: int | None = 1000,
    seed: int = 0,
    on_error: OnEmpty = "raise",
    confidence: float | None = None,
) -> MetricResult:
    """Mean sentence BLEU of each caption against the other captions: high means repetitive.

    Args:
        preds: captions.
        lang: language of all captions.
        tokenizer: name, function, or None for the language's default.
        ids: item ids.
        groups: compare within groups (several captions of one image); None compares all with all.
        n: highest order.
        sample: at most so many captions a group take part, chosen by (seed, id); None for all.
        seed: of the sample.
        on_error: what empty captions do.
        confidence: level of a bootstrap interval.

    Raises:
        UserError: bad input.

    >>> [round(value, 4) for value in self_bleu(["a cat naps", "a cat naps", "two dogs"], n=2).per_item]
    [1.0, 1.0, 0.0]
    """
    import hashlib

    from panoglot.metrics.captions.bleu import bleu_from_counts, bleu_statistics

    given = prepare(
        preds, None, lang=lang, tokenizer=tokenizer, ids=ids, on_error=on_error, confidence=confidence, seed=seed
    )
    if groups is not None and len(groups) != len(given.ids):
        raise UserError(f"{len(groups)} groups for {len(given.ids)} captions.")
    members: dict[Any, list[int]] = {}
    for at, n_item in enumerate(given.kept):
        members.setdefault(groups[n_item] if groups is not None else None, []).append(at)
    values: list[float | None] = [None] * len(given.kept)
    names = given.kept_ids
    for group in members.values():
        if sample is not None and len(group) > sample:
            group.sort(key=lambda at: hashlib.sha256(f"{seed}\x1f{names[at]}".encode()).digest())
            group = sorted(group[:sample])
        if len(group) < 2:
            continue  # alone: nothing to repeat, null
        texts = [given.preds[at] for at in group]
        for place, at in enumerate(group):
            others = texts[:place] + texts[place + 1 :]
            row = bleu_statistics([texts[place]], [others], n, "closest")
            values[at] = float(bleu_from_counts(row)[0, -1])
    cut = sample is not None and any(len(group) > sample for group in members.values())
    return given.mean(
        f"self-bleu{n}",
        values,
        {"n": n, "sample": sample, "seed": seed, "grouped": groups is not None},
        notes=(f"sampled: at most {sample} captions a group.",) if cut else (),
    )


DISTINCT_N = Metric(
    "distinct-n", distinct_n, "distinct n-grams over all n-grams", source="Li et al., NAACL 2016", parity="definition"
)
SELF_BLEU = Metric(
    "self-bleu", self_bleu, "BLEU of each caption against the others: high is repetitive",
    source="Zhu et al., SIGIR 2018", parity="definition",
)  # fmt: skip
