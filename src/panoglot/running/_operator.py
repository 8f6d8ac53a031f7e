"""The operator of a method: many items at once, each with the models and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.asking import Asker, Journal, Models, Prices, Spent, spending
from panoglot.asking._spend import Account
from panoglot.errors import BudgetReached, PanoglotError, RowError, Stopped
from panoglot.providers._stop import given_up, time_left
from panoglot.running._fit import fit_asset
from panoglot.running._results import completed, fallen_back
from panoglot.running._rows import GroupPart, read_group
from panoglot.running._stage import Emit, Item, Outcome, Worker

if TYPE_CHECKING:
    from panoglot.running._method import Method

__all__ = ["MethodOperator"]


@dataclass
class MethodOperator:
    """Runs a method over items, many at once."""

    method: Method
    options: dict[str, Any]
    models: dict[str, str]
    fingerprint: str
    prices: str | None = None
    journal: bool = True
    in_flight: int = 64
    _askers: dict[str, Asker] = field(default_factory=dict, repr=False)

    def open(self, worker: Worker) -> None:
        """Load the models."""
        from panoglot.asking import Budget
        from panoglot.providers import load_model

        journal = Journal(worker.dataset.journal) if self.journal else None
        budget = None if worker.max_cost is None else Budget(worker.max_cost)
        prices = Prices.load(self.prices)
        for alias, name in self.models.items():
            model = load_model(name)
            account = Account(worker.run_id, worker.stage_id)
            self._askers[alias] = Asker(
                model, journal=journal, prices=prices, budget=budget, full=name, account=account
            )
        self._journal, self._data, self._run_id = journal, worker.dataset, worker.run_id
        self._runner = asyncio.Runner()

    def process(self, items: Iterator[Item], emit: Emit) -> None:
        """Work through the items."""
        self._runner.run(self._all(items, emit))

    def close(self) -> None:
        """Release models and loop."""
        if not hasattr(self, "_runner"):
            return

        async def close() -> None:
            for asker in self._askers.values():
                await asker.close()

        self._runner.run(close())
        if self._journal is not None:
            self._journal.close()
        self._runner.close()

    async def _all(self, items: Iterator[Item], emit: Emit) -> None:
        """Many items at once. Rows are read and committed in a thread: the loop is free to take answers in."""
        m = Models(self._askers)
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[tuple[str, Outcome]]] = set()
        with ThreadPoolExecutor(1, thread_name_prefix="rows") as rows:
            try:
                while (item := await loop.run_in_executor(rows, next, items, None)) is not None:
                    tasks.add(asyncio.create_task(self._one(item, m)))
                    while len(tasks) >= self.in_flight and time_left():
                        tasks = await self._collect(tasks, emit, rows)
                while tasks and time_left():
                    tasks = await self._collect(tasks, emit, rows)
            finally:
                given_up(len(tasks))
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                if self._journal is not None:
                    await self._journal.settled()  # what was paid for

    async def _collect(
        self, tasks: set[asyncio.Task[tuple[str, Outcome]]], emit: Emit, rows: ThreadPoolExecutor
    ) -> set[asyncio.Task[tuple[str, Outcome]]]:
        """Commit what is done now; the tasks that are not."""
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=0.5)  # is it time to stop?
        found = [task.result() for task in done]

        def commit() -> None:
            for key, outcome in found:
                emit(key, outcome)

        if found:
            await asyncio.get_running_loop().run_in_executor(rows, commit)
        return left

    async def _one(self, item: Item, m: Models) -> tuple[str, Outcome]:
        spent = Spent()
        spending.set(spent)
        try:
            options, subject = self.options, await self._subject(item)
            if self.method.fit is not None and self.method.fit_per == "asset":
                learnt = await fit_asset(self._data, self.method, subject, options, self.fingerprint, m, self._run_id)
                options = {**options, "fitted": learnt}
            extra = [item.image] if self.method.with_images else []
            result = await self.method.function(subject, *extra, m, **options)
            made = completed(result, item, self.method.recipe, self.fingerprint)
        except RowError as error:
            return item.key, Outcome(reject=error, spent=spent)
        except (BudgetReached, Stopped) as error:
            dear = {"not_asked_at": [error.estimate]} if isinstance(error, BudgetReached) else {}
            return item.key, Outcome(pending=True, spent=spent, notes=dear)
        except PanoglotError:
            raise
        except Exception as error:  # a method's bug on one image must not cost the others
            where = _where(error)
            return item.key, Outcome(
                reject=RowError("method_error", f"{type(error).__name__}: {error} ({where})"), spent=spent
            )
        scores, drop = made.own or ({}, None)
        return item.key, Outcome(
            captions=made.captions,
            scores=scores,
            drop=drop,
            images=made.images,
            facts=made.facts,
            documents=made.documents,
            ratings=made.ratings,
            triples=made.triples,
            scored=made.scored,
            spent=spent,
            notes=fallen_back(made, self._askers) | made.notes,
        )

    async def _subject(self, item: Item) -> Any:
        if isinstance(item.part, GroupPart):
            return await asyncio.to_thread(read_group, self._data, item.part, self.method.with_captions)
        return item.image if self.method.unit == "image" else item.caption


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else "?"
