"""What a preset does beside ranking: options settled by the models there are, its best looked at, its price."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.errors import BudgetReached, UserError
from panoglot.evaluate.benchmarks._compose import Composed
from panoglot.metrics._results import ResultSet
from panoglot.retrieval import PRESETS, Askers, Query, forecast, look_all, not_reranked, preset_of
from panoglot.running._progress import price_text

if TYPE_CHECKING:
    from panoglot.pictures import Image

__all__ = ["LOOKS", "Settled", "foreseen", "look_at_best", "paid", "settled"]

#: A stage that looks at the best: the option that says at how many, and the model that it needs.
LOOKS = {"verify": "verifier", "judge": "evaluator"}


@dataclass(frozen=True)
class Settled:
    """Options of a preset as they hold for a run, and what is worth saying of them."""

    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def settled(method: Any, options: Mapping[str, Any], askers: Askers | None, *, captions: bool) -> Settled:
    """A stage whose model nobody gave is not planned for, and neither are captions that are not there.

    Args:
        method: a preset; options of anything else are refused.
        options: those that were given.
        askers: the models.
        captions: whether the gallery has captions.

    Raises:
        UserError: options where no preset reads them.
    """
    if not isinstance(method, str) or method not in PRESETS:
        if options or captions:
            what = "options" if options else "captions"
            raise UserError(f"method='{method}' is no preset and reads no {what}. Presets: {', '.join(PRESETS)}.")
        return Settled()
    known = preset_of(method).options()
    names = askers.names if askers is not None else {}
    made, notes = dict(options), []
    for stage, alias in LOOKS.items():
        if stage in known and alias not in names:
            if options.get(stage):
                raise UserError(f"{stage}={options[stage]} needs a model: give {alias}='PROVIDER:NAME'.")
            made[stage] = 0
            notes.append(f"the stage '{stage}' is left out: it needs --{alias} PROVIDER:NAME")
    if "tau" in known and not captions:
        if options.get("tau"):
            raise UserError(f"tau={options['tau']} is the share of the gallery's captions: give captions='FILE.json'.")
        made["tau"] = 0.0
        notes.append("pictures alone are scored: the gallery has no captions (--captions FILE.json)")
    if captions and "tau" not in known:
        raise UserError(f"method='{method}' reads no captions: leave captions= out.")
    return Settled(made, tuple(notes))


def look_at_best(
    composed: Composed,
    ranked: Mapping[str, Sequence[str]],
    askers: Askers | None,
    load: Callable[[str], Image],
    encoder: Any = None,
) -> tuple[dict[str, list[str]], list[str]]:
    """Put the best of every query in the order that the encoder, the verifier and the evaluator give.

    Args:
        composed: the plans and queries.
        ranked: keys by query, best first.
        askers: the models.
        load: picture of a key.
        encoder: that reranks, if it can.

    Returns:
        `(ranked, notes)`.

    Raises:
        UserError: the money is spent; every answer so far is kept.
    """
    plans, again = composed.plans.values(), any(plan.rerank for plan in composed.plans.values())
    if not again and (askers is None or not any(plan.verify or plan.judge for plan in plans)):
        return {query: list(keys) for query, keys in ranked.items()}, []
    askers = askers or Askers()
    try:
        done = look_all(composed.plans, composed.queries, ranked, askers, load, encoder)
    except BudgetReached as error:
        raise UserError(f"{error} Every answer so far is kept.") from None
    many, notes = len(ranked), list[str]()
    if again:
        notes.append(f"reranked: the best of {done.reranked} of {many} queries, by the encoder")
        notes += [] if done.reranked else [not_reranked(encoder)]
    if "verifier" in askers.names:
        notes.append(f"verified: {done.verified} of {many} queries")
    if done.failed:
        notes.append(f"{done.failed} questions of the verifier had no answer: not fulfilled")
    if "evaluator" in askers.names:
        notes.append(f"judged: {done.judged} of {many} queries, in {done.accepted} a candidate was accepted")
    return done.ranked, notes


def paid(askers: Askers | None) -> list[str]:
    """A line of what the models were asked, and what it cost."""
    if askers is None:
        return []
    spent = askers.spent
    price = "of unknown price" if spent.price is None else price_text(spent.price)
    return [f"models: {spent.asked} questions asked, {spent.recalled} answered before; {price}"]


def foreseen(
    queries: Mapping[str, Query],
    method: Any,
    askers: Askers | None,
    settled: Settled,
    load: Callable[[str], Image],
    gallery: int,
) -> ResultSet:
    """What a run would ask and cost, without one.

    Args:
        queries: all of the benchmark.
        method: how they are read.
        askers: the models.
        settled: the preset's options.
        load: picture of a key.
        gallery: pictures that would be encoded.
    """
    notes = [f"nothing was searched: {len(queries)} queries, {gallery} pictures of the gallery", *settled.notes]
    if askers is None:
        return ResultSet(notes=(*notes, "no model is asked but the encoder"))
    found = forecast(queries, method, askers, options=settled.options, look=load)
    share = found.queries / 1000
    for need in found.needs:
        images = f", {round(need.images * share)} pictures" if need.images else ""
        price = price_text(None if need.price is None else need.price * share)
        notes.append(f"{need.model}: {round(need.asked * share)} questions{images}: at most {price}")
    notes += [*found.notes, f"in all at most {price_text(found.price)}; what was answered before costs nothing"]
    if found.price is None:
        notes.append("a price that is not known is no $0: --prices FILE")
    asked = float(sum(round(need.asked * share) for need in found.needs))
    return ResultSet(summary={"questions": asked, "dollars at most": found.price}, notes=tuple(notes))
