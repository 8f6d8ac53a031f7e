"""What a stage of a method would do, ask and cost, counted on a few of its rows with models that are not asked."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from panoglot.asking import Prices
from panoglot.errors import PanoglotError, RowError
from panoglot.running._method import GROUPS, Method, list_parts
from panoglot.running._operator import MethodOperator
from panoglot.running._rows import GroupPart, image_of_row, read_group
from panoglot.running._stage import Item, Stage
from panoglot.running._standins import Demand, stand_ins
from panoglot.table import Dataset, caption_from_row, plain_rows, sql_in

__all__ = ["Estimate", "Need", "estimate", "needs_of", "pending_ids", "priced_needs", "read_items"]


@dataclass(frozen=True)
class Need:
    """What one model is asked for a thousand rows.

    Attributes:
        model: the model's name, or what the method calls it.
        role: the role asked of it.
        asked: questions.
        images: pictures in questions to a generator.
        tokens_in: tokens read, on the high side.
        tokens_out: the most tokens that may be written.
        price: US dollars at most; None when the price is not known.
    """

    model: str
    role: str
    asked: int
    images: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    price: float | None = 0.0


@dataclass
class Estimate:
    """What a stage would do.

    Attributes:
        stage: its name.
        pending: rows that it would take.
        before: rows that are done.
        failing: rows that failed before; a retry takes them.
        needs: what every model is asked for 1,000 rows.
        price: US dollars at most for 1,000 rows; None when a price is not known.
        seconds: wall seconds for 1,000 rows, as an earlier run of the same step took; None without one.
        paid: US dollars for 1,000 rows, as an earlier run of the same step paid; None without one.
        measured: rows of those earlier runs.
        notes: what could not be counted, and why.
        whole: all that it would take is counted; False: it may be more.
    """

    stage: str
    pending: int = 0
    before: int = 0
    failing: int = 0
    needs: list[Need] = field(default_factory=list)
    price: float | None = 0.0
    seconds: float | None = None
    paid: float | None = None
    measured: int = 0
    notes: list[str] = field(default_factory=list)
    whole: bool = True


def estimate(
    dataset: Dataset,
    stage: Stage,
    *,
    prices: str | None = None,
    sample: int = 4,
    keys: Sequence[str] | None = None,
) -> Estimate:
    """Say what a stage of a method would do; nothing is asked, nothing is written.

    Args:
        dataset: the dataset.
        stage: of `method_stage`, narrowed or not.
        prices: price file.
        sample: rows on which questions are counted.
        keys: exactly these rows, done before or not; None for those that the stage would take.
    """
    operator = stage.operator
    assert isinstance(operator, MethodOperator)
    own = operator.method
    found = Estimate(stage.name)
    if own.fit is not None:
        found.notes.append("it learns from all rows first: what that asks is not counted")
        found.whole = False
    if stage.prepare is not None and own.fit is None:
        stage = stage.prepare(stage, dataset, "")
    ids = pending_ids(dataset, stage) if keys is None else _Ids(list(keys), 0, 0)
    found.pending, found.before, found.failing = len(ids.pending), ids.done, ids.failing
    if own.fit is None and found.pending:
        items = read_items(dataset, stage, ids.pending[:sample])
        needs, failed = needs_of(own, operator.options, operator.models, items, prices=prices, dataset=dataset)
        found.needs = needs
        found.price = None if any(one.price is None for one in needs) else sum(one.price or 0.0 for one in needs)
        found.notes += [f"{count} of {len(items)} rows could not be counted: {why}" for why, count in failed.items()]
    _measured(dataset, stage, found)
    return found


@dataclass
class _Ids:
    pending: list[str]
    done: int
    failing: int


def pending_ids(dataset: Dataset, stage: Stage) -> _Ids:
    """The keys that a stage of a method would take, in order; reads only."""
    if stage.groups:
        keys = [part.key for part in _parts(dataset, stage)]
    else:
        table = dataset.captions if stage.of == "captions" else dataset.images
        rows = table.read(list(dict.fromkeys([table.key, "image_id"])), stage.taken)
        dropped = dataset.dropped_images()
        pairs = zip(rows[table.key].to_pylist(), rows["image_id"].to_pylist())
        keys = sorted(key for key, image in pairs if image not in dropped)
        if stage.not_from and stage.of == "captions":
            from panoglot.running._pending import made_from

            mine = set(made_from(dataset, stage.not_from).to_pylist())
            keys = [key for key in keys if key not in mine]
    done = set(dataset.work(stage.id).read(["item"])["item"].to_pylist())
    where = sql_in("stage", [stage.id]) + " and resolved is null"
    failing = set(dataset.rejects.read(["item"], where)["item"].to_pylist())
    pending = [key for key in keys if key not in done and key not in failing]
    return _Ids(pending, sum(key in done for key in keys), sum(key in failing and key not in done for key in keys))


def _parts(dataset: Dataset, stage: Stage) -> Iterator[GroupPart]:
    assert isinstance(stage.operator, MethodOperator)
    return list_parts(dataset, stage, stage.operator.method, stage.operator.options)()


def read_items(dataset: Dataset, stage: Stage, keys: Sequence[str]) -> list[Item]:
    """Read rows as a method gets them."""
    if stage.groups:
        wanted = set(keys)
        return [Item(part.key, part=part) for part in _parts(dataset, stage) if part.key in wanted]
    if stage.of == "images":
        captions = dataset.captions_of(keys) if stage.with_captions else {}
        rows = plain_rows(dataset.images.get(keys))
        return [Item(row["image_id"], image=image_of_row(row, captions.get(row["image_id"], ()))) for row in rows]
    found = [caption_from_row(row) for row in plain_rows(dataset.captions.get(keys))]
    images = {}
    if stage.with_images:
        rows = plain_rows(dataset.images.get(list(dict.fromkeys(one.image_id for one in found))))
        images = {row["image_id"]: image_of_row(row) for row in rows}
    return [Item(one.caption_id, caption=one, image=images.get(one.image_id)) for one in found]


def needs_of(
    own: Method,
    options: Mapping[str, Any],
    models: Mapping[str, str],
    items: Sequence[Item],
    *,
    prices: str | None = None,
    dataset: Dataset | None = None,
    load: bool = True,
) -> tuple[list[Need], Counter[str]]:
    """Count what a method asks of its models, for 1,000 rows; and why rows could not be counted.

    Args:
        own: the method.
        options: resolved.
        models: what the options call a model to its full name.
        items: rows.
        prices: price file.
        dataset: where groups are read from.
        load: look at the models themselves; False: any models of those roles.
    """
    from panoglot.providers import load_model

    roles = own.uses(options)
    loaded = {alias: load_model(models.get(alias, alias), role) for alias, role in roles.items()} if load else {}
    m, demands = stand_ins(roles, loaded)
    failed: Counter[str] = Counter()

    async def all_of_them() -> None:
        for item in items:
            subject: Any = item.image if own.unit == "image" else item.caption
            if own.unit in GROUPS and dataset is not None:
                subject = read_group(dataset, item.part, own.with_captions)  # type: ignore[arg-type]
            try:
                await own.function(subject, *([item.image] if own.with_images else []), m, **options)
            except RowError as error:
                failed[error.reason] += 1
            except PanoglotError:
                raise
            except Exception as error:  # an answer that is none of the kind it reads
                failed[f"{type(error).__name__}: {error}"] += 1

    asyncio.run(all_of_them())
    return priced_needs(demands, roles, models, loaded, Prices.load(prices), max(1, len(items))), failed


def priced_needs(
    demands: Mapping[str, Demand],
    roles: Mapping[str, str],
    names: Mapping[str, str],
    loaded: Mapping[str, Any],
    prices: Prices,
    rows: int,
) -> list[Need]:
    """Say of what stand-ins were asked for some rows what it is, and costs, for 1,000.

    Args:
        demands: of `stand_ins`.
        roles: as given to it.
        names: alias to the model's full name.
        loaded: the models themselves, those that are known.
        prices: the price table.
        rows: for how many rows they were asked.
    """
    return [
        _need(alias, names.get(alias, alias), roles[alias], demand, loaded.get(alias), prices, rows)
        for alias, demand in demands.items()
        if demand.asked
    ]


def _need(alias: str, full: str, role: str, demand: Demand, model: Any, prices: Prices, rows: int) -> Need:
    name = getattr(model, "name", full)
    known = prices.price(name) is not None
    asked = demand.asked.total()
    cost: float | None = 0.0
    if demand.asked["generate"] + demand.asked["judge"] + demand.asked["score"]:
        batched, priced = bool(getattr(model, "batched", False)), name if known else full
        per_answer = prices.cost(priced, 0, 0, batched=batched)
        whole = prices.cost(priced, demand.tokens_in, demand.tokens_out, demand.images, batched=batched)
        cost = None if whole is None or per_answer is None else whole + (asked - 1) * per_answer
    many = 1000 / rows
    return Need(
        name,
        role,
        round(asked * many),
        round(demand.images * many),
        round(demand.tokens_in * many),
        round(demand.tokens_out * many),
        None if cost is None else cost * many,
    )


def _measured(dataset: Dataset, stage: Stage, found: Estimate) -> None:
    """What earlier runs of the same step took and paid."""
    seconds, paid, rows = 0.0, 0.0, 0
    for row in dataset.runs.rows(["stages"]):
        for one in json.loads(row["stages"] or "[]"):
            if one.get("id") == stage.id and one.get("done") and one["spent"].get("asked"):
                seconds += one["seconds"]
                rows += one["done"]
                price = one["spent"].get("price")
                paid = paid if price is None else paid + price
    if rows:
        found.measured, found.seconds, found.paid = rows, seconds / rows * 1000, paid / rows * 1000
