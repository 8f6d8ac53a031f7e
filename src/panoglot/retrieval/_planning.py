"""From a query to a plan: planners are methods of the unit `query`, and their models are asked as all models are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from panoglot.asking import Asker, Budget, Journal, Models, Prices, Spent, spending
from panoglot.errors import BudgetReached, RowError, Stopped, UserError, command, did_you_mean
from panoglot.extensions import find_entries
from panoglot.providers import load_model
from panoglot.retrieval._pictures import NAMED
from panoglot.retrieval._records import Plan, Query
from panoglot.running import METHODS, Method, get_method
from panoglot.storage import Address

__all__ = ["AT_ONCE", "PRESETS", "Askers", "make_plan", "make_plans", "model_names", "option_values", "preset_of"]

T = TypeVar("T")

#: Queries whose models are asked at once; servers have limits of their own.
AT_ONCE = 16
#: Our planners.
PRESETS = ("identity", "learned", "rules", "conditions", "cirevl", "cotmr", "imagescope")


def _ours(key: str) -> None:
    """Register our planners, as an installed wheel's entry points do; those that ask models only where one is meant."""
    from panoglot.retrieval import identity, rules

    assert all((identity, rules))
    if key not in METHODS:
        from panoglot.retrieval import cirevl, conditions, cotmr, imagescope

        assert all((cirevl, conditions, cotmr, imagescope))


def preset_of(name: str) -> Method:
    """Return a planner by name.

    Raises:
        UserError: no such preset, with "did you mean".
    """
    key = name.replace("_", "-")
    if key not in METHODS:
        _ours(key)
    if key in METHODS and METHODS[key].unit == "query":
        return METHODS[key]
    if key in find_entries("panoglot.methods"):
        found = get_method(key)
        if found.unit == "query":
            return found
    known = [one.name for one in METHODS.values() if one.unit == "query"]
    raise UserError(f"there is no preset '{name}'.{did_you_mean(key, known)}")


def model_names(given: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Aliases to models, of `alias=provider:name` lines.

    Raises:
        UserError: a line without an alias.
    """
    if isinstance(given, Mapping):
        return dict(given)
    found = {}
    for one in [given] if isinstance(given, str) else given:
        alias, equals, name = one.partition("=")
        if not equals or not alias or not name:
            raise UserError(f"--model {one}: write alias=PROVIDER:NAME, for example --model llm=openai:gpt-5-mini.")
        found[alias] = name
    return found


def option_values(given: Sequence[str]) -> dict[str, Any]:
    """Options of a preset, of `name=value` lines; numbers and yes or no as such.

    Raises:
        UserError: a line without a name.
    """
    found: dict[str, Any] = {}
    if not given:
        return found
    import yaml

    for one in [given] if isinstance(given, str) else given:
        name, equals, value = one.partition("=")
        if not equals:
            raise UserError(f"--option {one}: write NAME=VALUE.")
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            read = value
        found[name.replace("-", "_")] = read if isinstance(read, int | float | bool) else value
    return found


@dataclass
class Askers:
    """The models that a search asks: opened when one is needed, with the dataset's journal, prices and a limit.

    Attributes:
        names: alias to model name, or to a loaded model.
        journal: folder of answers, or None.
        prices: file of prices, or None.
        max_cost: most US dollars, or None.
        spent: what all questions cost.
        budget: what is left of `max_cost`.
    """

    names: dict[str, Any] = field(default_factory=dict)
    journal: Address | None = None
    prices: str | None = None
    max_cost: float | None = None
    spent: Spent = field(default_factory=Spent)
    budget: Budget | None = None

    def begin(self) -> None:
        """Begin a search: `max_cost` holds for its planner and for all that looks at the best, together."""
        self.budget = None if self.max_cost is None else Budget(self.max_cost)

    def find(self, uses: Mapping[str, str], what: str) -> dict[str, Any]:
        """Load the models of some aliases.

        Raises:
            UserError: one that nobody gave, with the option that gives it.
        """
        found = {}
        for alias, role in uses.items():
            given = self.names.get(alias, alias)
            if isinstance(given, str) and ":" not in given:
                line = command("search", "X.pano", "…", "--preset", what, "--model", f"{alias}=PROVIDER:NAME")
                raise UserError(f"'{what}' asks for a model '{alias}', and none was given: {line}")
            found[alias] = load_model(given, role) if isinstance(given, str) else given
        return found

    def run(self, models: Mapping[str, Any], work: Callable[[Models], Awaitable[T]]) -> T:
        """Do some asking, also inside a running event loop (notebooks, servers)."""

        def inside() -> T:
            return asyncio.run(self._run(models, work))

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return inside()
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(inside).result()

    async def _run(self, models: Mapping[str, Any], work: Callable[[Models], Awaitable[T]]) -> T:
        journal = None
        if self.journal is not None and models:
            try:
                journal = Journal(self.journal)
            except OSError:  # a dataset that may only be read: answers are not kept
                journal = None
        if self.budget is None:
            self.begin()
        prices = Prices.load(self.prices) if models else None
        askers = {
            alias: Asker(
                model, journal=journal, prices=prices, budget=self.budget, full=str(self.names.get(alias, alias))
            )
            for alias, model in models.items()
        }
        token = spending.set(self.spent)
        try:
            return await work(Models(askers))
        finally:
            spending.reset(token)
            for asker in askers.values():
                if hasattr(asker.model, "aclose"):
                    await asker.close()
                else:  # a local model stays loaded
                    asker._pool.shutdown(wait=False)
            if journal is not None:
                await journal.settled()
                journal.close()


def make_plan(
    query: Query,
    preset: str,
    askers: Askers,
    *,
    options: Mapping[str, Any] | None = None,
    look: Callable[[Any], Any] | None = None,
) -> Plan:
    """Ask a planner about one query; see `make_plans`."""
    return make_plans({"": query}, preset, askers, options=options, look=look)[""]


def make_plans(
    queries: Mapping[str, Query],
    preset: str,
    askers: Askers,
    *,
    options: Mapping[str, Any] | None = None,
    look: Callable[[Any], Any] | None = None,
    whole: bool = False,
) -> dict[str, Plan]:
    """Ask a planner, `AT_ONCE` queries at a time.

    Args:
        queries: by id.
        preset: the planner.
        askers: its models.
        options: its options.
        look: a picture of a query by name.
        whole: all plans or none: money that is spent ends it, and no simpler plan takes the place of what it would buy.

    Returns:
        Its plans by id; where it failed, the query as it stands, flagged.

    Raises:
        UserError: no such preset or option, a model that nobody gave.
        BudgetReached: with `whole`: the money is spent.
        Stopped: with `whole`: somebody stopped it.
    """
    chosen = preset_of(preset)
    resolved = chosen.resolve(options or {})
    if chosen.name == "identity":  # asks nobody: no loop of events is made for it
        from panoglot.retrieval.identity import plain_plan

        return {key: plain_plan(query) for key, query in queries.items()}
    uses: dict[str, str] = {}
    for query in queries.values():
        uses |= _needed(chosen, resolved, query, askers)
    models = askers.find(uses, chosen.name)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(query: Query, m: Models) -> Plan:
        async with gate:
            return await _planned(query, chosen, resolved, m, whole)

    async def work(m: Models) -> list[Plan]:
        token = NAMED.set(look)
        try:
            return await asyncio.gather(*(one(query, m) for query in queries.values()))
        finally:
            NAMED.reset(token)

    return dict(zip(queries, askers.run(models, work)))


async def _planned(query: Query, chosen: Method, options: Mapping[str, Any], m: Models, whole: bool) -> Plan:
    """The plan of one query, or the query as it stands."""
    from panoglot.retrieval.identity import plain_plan

    try:
        plan = await chosen.function(query, m, **options)
    except UserError:
        raise
    except (RowError, BudgetReached, Stopped) as error:
        if whole and not isinstance(error, RowError):
            raise
        return plain_plan(query, preset=chosen.name, fallback=f"the planner did not answer ({error})")
    except Exception as error:  # a planner's bug must not cost the search
        return plain_plan(query, preset=chosen.name, fallback=f"the planner failed ({type(error).__name__}: {error})")
    if not isinstance(plan, Plan):
        return plain_plan(query, preset=chosen.name, fallback=f"the planner gave a {type(plan).__name__}, no plan")
    return plan if plan.preset == chosen.name else replace(plan, preset=chosen.name)


def _needed(chosen: Method, options: Mapping[str, Any], query: Query, askers: Askers) -> dict[str, str]:
    """The models that a planner asks: without a reference no captioner is needed."""
    uses = chosen.uses(options)
    if query.images or query.products:
        return uses
    return {alias: role for alias, role in uses.items() if alias != "captioner" or alias in askers.names}
