"""What a preset would ask its models for many queries, and cost: counted on a few with models that are not asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from panoglot.asking import Models, Prices
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.retrieval._pictures import NAMED
from panoglot.retrieval._planning import Askers, preset_of
from panoglot.retrieval._records import Proposition, Query
from panoglot.running import Need, priced_needs, stand_ins

__all__ = ["Forecast", "forecast"]

#: Queries that are counted, and questions for a candidate that a plan is taken to have.
SAMPLE, QUESTIONS = 4, 4


@dataclass(frozen=True)
class Forecast:
    """What many queries would ask.

    Attributes:
        queries: how many.
        needs: what each model is asked for 1,000 of them.
        notes: what was taken as given.
    """

    queries: int
    needs: list[Need] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    @property
    def price(self) -> float | None:
        """US dollars for all, at most; None when a price is not known."""
        prices = [one.price for one in self.needs]
        return None if None in prices else sum(price or 0.0 for price in prices) * self.queries / 1000


def forecast(
    queries: Mapping[str, Query],
    preset: str,
    askers: Askers,
    *,
    options: Mapping[str, Any] | None = None,
    look: Callable[[Any], Image],
) -> Forecast:
    """Count what a preset's planner, verifier and evaluator are asked; nobody is asked.

    A verifier is taken to answer `QUESTIONS` questions about each candidate, an evaluator to accept none.

    Args:
        queries: by id; the first `SAMPLE` are counted.
        preset: the planner.
        askers: its models, and `verifier` and `evaluator`, as a run would have them.
        options: its options.
        look: a picture of a query by name; candidates are taken to be as large.

    Raises:
        UserError: no such preset or option, a model that nobody gave.
    """
    from panoglot.retrieval._verify import accept_first, verify

    chosen = preset_of(preset)
    resolved = chosen.resolve(options or {})
    check, beside = (
        int(resolved.get(name) or 0) if alias in askers.names else 0
        for name, alias in (("verify", "verifier"), ("judge", "evaluator"))
    )
    roles = dict(chosen.uses(resolved))
    roles |= {alias: "generator" for alias, many in (("verifier", check), ("evaluator", beside)) if many}
    loaded = askers.find(roles, chosen.name)
    m, demands = stand_ins(roles, loaded)
    some = list(queries.values())[:SAMPLE]
    asked = [Proposition(f"Is the thing number {n} of the wish to be seen in it?") for n in range(QUESTIONS)]

    async def one(query: Query, m: Models) -> None:
        await chosen.function(query, m, **resolved)
        if not query.images:
            return
        picture = look(query.images[0])
        if check:
            await verify([str(n) for n in range(check)], asked, m["verifier"], lambda _: picture, check)
        if beside:
            ids = [str(n) for n in range(beside)]
            await accept_first(picture, query.text, ids, m["evaluator"], lambda _: picture, beside)

    async def work() -> int:
        token, failed = NAMED.set(look), 0
        try:
            for query in some:
                try:
                    await one(query, m)
                except RowError:
                    failed += 1
        finally:
            NAMED.reset(token)
        return failed

    failed = asyncio.run(work())
    names = {alias: str(given) for alias, given in askers.names.items() if isinstance(given, str)}
    needs = priced_needs(demands, roles, names, loaded, Prices.load(askers.prices), max(1, len(some) - failed))
    notes = [f"a verifier is taken to answer {QUESTIONS} questions about each of {check} candidates"] if check else []
    notes += [f"{failed} of {len(some)} queries could not be counted: their picture is missing"] if failed else []
    return Forecast(len(queries), needs, tuple(notes))
