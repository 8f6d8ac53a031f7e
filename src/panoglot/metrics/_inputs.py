"""Predictions and references, checked, aligned and tokenised once for all metrics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, TypeVar

from panoglot.checks import check_option, item_ids, offenders, same_ids
from panoglot.errors import UserError
from panoglot.languages import main_script
from panoglot.metrics._result import MetricResult, bootstrap, mean_result
from panoglot.text import Tokenizer, one_language, other_script, tokenizer_for

__all__ = [
    "Captions",
    "Given",
    "OnEmpty",
    "Predictions",
    "References",
    "Resampled",
    "Tokenised",
    "check_predictions",
    "prepare",
    "with_options",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])

Predictions = Sequence[str | None] | Mapping[Any, str | None]
References = Sequence[Sequence[str]] | Mapping[Any, Sequence[str]]
#: An empty caption (or item without references): stop; leave it null and counted; or score it as the reference tools
#: do.
OnEmpty = Literal["raise", "null", "score"]


class Resampled(TypedDict, total=False):
    """Options of every result that may have an interval.

    Attributes:
        ids: ids of list items.
        confidence: level of a bootstrap interval, for example 0.95; none without.
        resamples: of the interval, 1000 without.
        seed: of the interval.
    """

    ids: Sequence[Any] | None
    confidence: float | None
    resamples: int
    seed: int


class Given(Resampled, total=False):
    """Options of every metric with references.

    Attributes:
        lang: language of all captions, or one tag for each item (they must agree); English without.
        references: number of references that every item must have; any without.
        on_error: what empty captions do: `raise` (as without), `null`, or `score`.
    """

    lang: str | Sequence[str]
    references: int | None
    on_error: OnEmpty


class Tokenised(Given, total=False):
    """`Given`, of metrics that count tokens.

    Attributes:
        tokenizer: name, function, or None for the language's default.
    """

    tokenizer: str | Callable[[str], list[str]] | None


def with_options(metric: _Function) -> _Function:
    """Show the options of `**how: Unpack[Given]` one by one, with the defaults of `prepare`, to who looks at it."""
    own = inspect.signature(metric)
    usual = inspect.signature(prepare).parameters
    *before, how = own.parameters.values()
    options = inspect.unwrap(metric).__globals__[str(how.annotation).removeprefix("Unpack[").removesuffix("]")]
    shown = [usual[name].replace(annotation=annotation) for name, annotation in options.__annotations__.items()]
    metric.__signature__ = own.replace(parameters=[*before, *shown])  # type: ignore[attr-defined]
    return metric


@dataclass(frozen=True)
class Captions:
    """Checked and tokenised captions of the items that can be scored.

    Attributes:
        ids: ids of all items, as given.
        kept: positions of the items that can be scored.
        preds: tokens of each kept prediction.
        refs: tokens of each reference of each kept item.
        language: canonical tag.
        tokenizer: what made the tokens.
        read: the metric counts these tokens; else it reads the texts itself.
        texts: the kept predictions as they came.
        ref_texts: the kept references as they came.
        on_error: what empty captions did.
        confidence: level of bootstrap intervals, or None.
        resamples: of the intervals.
        seed: of the intervals.
        notes: on captions in another script, and why nothing could be scored.
    """

    ids: tuple[str, ...]
    kept: tuple[int, ...]
    preds: list[list[str]]
    refs: list[list[list[str]]]
    language: str
    tokenizer: Tokenizer
    read: bool
    texts: list[str]
    ref_texts: list[list[str]]
    on_error: str = "raise"
    confidence: float | None = None
    resamples: int = 1000
    seed: int = 0
    notes: tuple[str, ...] = ()

    @property
    def kept_ids(self) -> tuple[str, ...]:
        """Ids of the kept items."""
        return self.ids if len(self.kept) == len(self.ids) else tuple(self.ids[n] for n in self.kept)

    def spread(self, values: Iterable[Any]) -> list[float | None]:
        """Put the values of kept items in their places; None for the others."""
        full: list[float | None] = [None] * len(self.ids)
        for n, value in zip(self.kept, values):
            full[n] = None if value is None else float(value)
        return full

    def _fields(self, options: Mapping[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
        """The fields of a result that say how the text was read; `whitespace` means that the metric reads it itself."""
        name = self.tokenizer.name if self.read else ""
        said = {"language": self.language, "tokenizer": name, "ids": self.ids}
        notes = tuple(dict.fromkeys((*self.notes, *rest.pop("notes", ()))))
        return {**said, "options": {**options, "on_error": self.on_error}, "notes": notes, **rest}

    def mean(
        self, metric: str, values: Iterable[Any], options: Mapping[str, Any] | None = None, **rest: Any
    ) -> MetricResult:
        """The result of a metric whose value is the mean of the kept items' values (None could not be scored)."""
        fields = self._fields(options or {}, {"version": "1", **rest})
        return mean_result(
            metric, self.spread(values), confidence=self.confidence, resamples=self.resamples, seed=self.seed, **fields
        )

    def corpus(
        self,
        metric: str,
        value: float | None,
        values: Iterable[Any],
        options: Mapping[str, Any] | None = None,
        *,
        statistics: Any = None,
        reduce: Any = None,
        **rest: Any,
    ) -> MetricResult:
        """The result of a metric whose value is more than a mean.

        Args:
            metric: name.
            value: of the corpus.
            values: of the kept items.
            options: that the value depends on.
            statistics: `[N]` or `[N, K]` of the kept items, for the interval.
            reduce: their resampled means to values, see `bootstrap`.
            **rest: further fields of the result.
        """
        interval = None
        if self.confidence is not None and statistics is not None and len(statistics):
            interval = bootstrap(
                statistics, reduce, ids=self.kept_ids, level=self.confidence, resamples=self.resamples, seed=self.seed
            )
        return MetricResult(
            metric=metric,
            value=value,
            n=len(self.ids),
            unscored=len(self.ids) - len(self.kept),
            per_item=tuple(self.spread(values)),
            interval=interval,
            **self._fields(options or {}, {"version": "1", **rest}),
        )


def check_predictions(preds: Predictions, ids: Sequence[Any] | None) -> tuple[list[str | None], tuple[str, ...]]:
    """Return predictions and ids as lists.

    Raises:
        UserError: a lone string, something that is not text, duplicate ids.
    """
    if isinstance(preds, str):
        raise UserError("preds is one string: give a list of captions, [caption].")
    if isinstance(preds, Mapping):
        if ids is not None:
            raise UserError("preds is a mapping and has its own ids: leave ids= out.")
        ids, preds = list(preds), list(preds.values())
    texts = list(preds)
    names = item_ids(ids, len(texts))
    odd = [f"{name} ({type(text).__name__})" for name, text in zip(names, texts) if not isinstance(text, str | None)]
    if odd:
        raise UserError(f"every prediction must be a text (or None); these are not: {offenders(odd)}.")
    return texts, names


def _check_references(refs: Sequence[Any], names: Sequence[str]) -> list[list[str]]:
    if isinstance(refs, str) or any(isinstance(item, str) for item in refs):
        raise UserError(
            "refs must be a list of references for each item: [[reference, …], …], not a flat list of texts."
        )
    if len(refs) != len(names):
        raise UserError(f"{len(names)} predictions but references for {len(refs)} items.")
    listed = [list(item) if item is not None else [] for item in refs]
    odd = [name for name, item in zip(names, listed) if not all(isinstance(text, str) for text in item)]
    if odd:
        raise UserError(f"every reference must be a text; not so for {offenders(odd)}.")
    return listed


def prepare(
    preds: Predictions,
    refs: References | None,
    *,
    lang: str | Sequence[str] = "en",
    tokenizer: str | Callable[[str], list[str]] | None = None,
    ids: Sequence[Any] | None = None,
    references: int | None = None,
    on_error: OnEmpty = "raise",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    read: bool = True,
) -> Captions:
    """Check, align and tokenise.

    Args:
        preds: a caption for each item, in a list or by id; None could not be made and is always null.
        refs: references of each item, in the same form; None for metrics without references.
        lang: language of all captions, or one tag for each item (they must agree).
        tokenizer: name, function, or None for the language's default.
        ids: ids of list items.
        references: number of references that every item must have, or None for any.
        on_error: empty captions and items without references: `raise`, `null`, or `score` (as the reference tools do).
        confidence: level of bootstrap intervals, kept for the result.
        resamples: of the intervals.
        seed: of the intervals.
        read: False for metrics that read the texts themselves: tokens are then what stands between spaces.

    Raises:
        UserError: naming the first offenders and how many.
    """
    check_option("on_error", on_error, ("raise", "null", "score"))
    if isinstance(preds, Mapping) and refs is not None:
        if not isinstance(refs, Mapping):
            raise UserError("preds come by id but refs do not: give both as mappings, or both as lists.")
        refs = [refs[key] for key in same_ids(preds, refs)]
    elif isinstance(refs, Mapping):
        raise UserError("refs come by id but preds do not: give both as mappings, or both as lists.")
    texts, names = check_predictions(preds, ids)
    language = one_language(lang, names)
    ref_texts = _check_references(refs, names) if refs is not None else [[] for _ in names]
    if references is not None:
        odd = [f"{name} ({len(item)})" for name, item in zip(names, ref_texts) if len(item) != references]
        if odd:
            raise UserError(f"{len(odd)} items do not have {references} references: {offenders(odd)}.")
    reader = tokenizer_for(language, tokenizer if read else "whitespace")
    strange, notes = _strange(texts, ref_texts, names, language, on_error)
    flat = reader([text or "" for text in texts])
    flat_refs = iter(reader([text for item in ref_texts for text in item]))
    tokens = [[next(flat_refs) for _ in item] for item in ref_texts]
    no_caption = [n for n, words in enumerate(flat) if not words]
    no_reference = [n for n, item in enumerate(tokens) if refs is not None and (not item or not all(item))]
    if on_error == "raise" or (on_error == "score" and any(not tokens[n] for n in no_reference)):
        for what, bad in (("empty predictions", no_caption), ("items with no or empty references", no_reference)):
            bad = [n for n in bad if texts[n] is not None]
            if bad and not (on_error == "score" and what.startswith("empty")):
                raise UserError(
                    f"{len(bad)} {what}: {offenders(names[n] for n in bad)}. Mend them, or leave them unscored with "
                    "on_error='null'."
                )
    dropped = {n for n, text in enumerate(texts) if text is None}
    if on_error != "score":
        dropped.update(no_caption, no_reference)
    if on_error == "null":
        dropped.update(strange)
    if len(dropped) == len(texts) and not notes:
        notes = (_nothing(len(texts), len(no_caption), len(no_reference)),)
    kept = tuple(n for n in range(len(texts)) if n not in dropped)
    return Captions(
        ids=names,
        kept=kept,
        preds=[flat[n] for n in kept],
        refs=[tokens[n] for n in kept],
        language=language,
        tokenizer=reader,
        read=read,
        texts=[texts[n] or "" for n in kept],
        ref_texts=[ref_texts[n] for n in kept],
        on_error=on_error,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        notes=notes,
    )


def _nothing(items: int, no_caption: int, no_reference: int) -> str:
    """Why there is no value."""
    said = ((no_caption, "captions are empty or missing"), (no_reference, "items have no or empty references"))
    why = [f"{count} {what}" for count, what in said if count] or [f"{items} captions were given"]
    return f"nothing could be scored: {', '.join(why)}"


def _strange(
    texts: Sequence[str | None], refs: Sequence[Sequence[str]], names: Sequence[str], language: str, on_error: str
) -> tuple[set[int], tuple[str, ...]]:
    """Items whose caption is in another script than the language's, and notes that count them and such references.

    Raises:
        UserError: most are, so the language is wrong.
    """
    there = [n for n, text in enumerate(texts) if text]
    odd = [there[n] for n in other_script([texts[n] or "" for n in there], language)]
    owners = [(name, text) for name, item in zip(names, refs) for text in item]
    odd_refs = other_script([text for _, text in owners], language)
    captions = [f"{names[n]} ({(texts[n] or '')[:24]!r})" for n in odd]
    references = [f"reference of {owners[n][0]} ({owners[n][1][:24]!r})" for n in odd_refs]
    notes = []
    for what, found, of in (("captions", captions, len(there)), ("references", references, len(owners))):
        if not found:
            continue
        said = f"{len(found)} of {of} {what} are not written in the script of '{language}' ({main_script(language)})"
        if on_error == "raise" and 2 * len(found) > of:
            raise UserError(
                f"{said}: {offenders(found)}. Give the captions' own language with lang= and evaluate each language on "
                "its own."
            )
        how = "left unscored" if on_error == "null" and what == "captions" else "scored as they are"
        notes.append(f"{said}, {how}: {offenders(found, 3)}")
    return set(odd), tuple(notes)
