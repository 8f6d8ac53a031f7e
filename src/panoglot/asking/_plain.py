"""The asker for plain code: a metric's `model.generate(prompts)` goes through the journal, prices, limits and budget.

judge = load_asked("openai:http://localhost:8000#m", "generator", said="judge", prices="prices.yaml", max_cost=2)
answers = judge.generate(prompts)      # asked once, ever; a second identical run asks nothing
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking._asker import Asker, spending
from panoglot.asking._cache import CachedEncoder, cache_folder, identity, load_encoder
from panoglot.asking._journal import Journal
from panoglot.asking._made import note_model, note_text
from panoglot.asking._prices import Budget, Prices
from panoglot.asking._spend import Spent
from panoglot.errors import BudgetReached, RowError, UserError

if TYPE_CHECKING:
    from panoglot.providers.roles import Answer, Prompt, Rubric, Verdict

__all__ = ["PlainAsker", "load_asked"]

#: Questions whose pictures are in memory at once.
_BLOCK = 512


class PlainAsker:
    """A model whose questions go through an `Asker`, and which otherwise is the model.

    A row that the model could not answer is its `RowError`. Works inside a running event loop too: questions are asked
    in a thread of their own.

    Args:
        model: of any role.
        journal: where answers are kept; None asks every time.
        prices: what answers cost.
        budget: what may be spent; counts, when there is no limit.
        full: name that the user typed, by which prices may know the model.

    >>> class Says:
    ...     name, fingerprint, batch_size = "toy:says", "says-1", 4
    ...     def generate(self, prompts):
    ...         return [Answer(prompt.text.upper()) for prompt in prompts]
    >>> from panoglot.providers.roles import Answer, Prompt
    >>> PlainAsker(Says()).generate([Prompt("yes"), Prompt("no")])[1].text
    'NO'
    """

    batch_size = 1 << 20  # blocks and batches are made here

    def __init__(
        self,
        model: Any,
        journal: Journal | None = None,
        *,
        prices: Prices | None = None,
        budget: Budget | None = None,
        full: str = "",
    ) -> None:
        self.model, self.budget = model, budget if budget is not None else Budget(None)
        self.name = getattr(model, "name", type(model).__name__)
        self.fingerprint = identity(model)
        self.spent = Spent()
        journal = journal if self.fingerprint else None
        known = _Known(model, self.name, self.fingerprint)
        self._asker = Asker(known, journal=journal, prices=prices, budget=self.budget, full=full)
        self._loop: asyncio.AbstractEventLoop | None = None

    def __getattr__(self, name: str) -> Any:
        if name in _ASKED and hasattr(self.__dict__["model"], name):
            return lambda *columns: self._all([self._asker.ask(name, *row) for row in zip(*columns, strict=True)])
        if name == "score" and hasattr(self.__dict__["model"], name):
            return self._score
        if name in (*_ASKED, "score"):
            raise AttributeError(name)
        return getattr(self.__dict__["model"], name)

    def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
        """Answer prompts, from the journal where it has them.

        Raises:
            UserError: the money is spent; what was answered is kept.
        """
        return self._all([self._asker.generate(prompt) for prompt in prompts])

    def judge(self, rubrics: Sequence[Rubric]) -> list[Verdict | RowError]:
        """Judge rubrics; raises as `generate`."""
        return self._all([self._asker.judge(rubric) for rubric in rubrics])

    def _score(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[Any]:
        return self._all([self._asker.score(prompt, text) for prompt, text in zip(prompts, texts)])

    def _all(self, questions: list[Coroutine[Any, Any, Any]]) -> list[Any]:
        found: list[Any] = []
        try:
            while questions:
                some, questions = questions[:_BLOCK], questions[_BLOCK:]
                found += asyncio.run_coroutine_threadsafe(self._block(some), self._running()).result()
        except BudgetReached as error:
            raise UserError(f"{error} Every answer so far is kept.") from None
        finally:
            for question in questions:
                question.close()
            self._say()
        return found

    async def _block(self, questions: list[Coroutine[Any, Any, Any]]) -> list[Any]:
        spending.set(self.spent)
        answers = await asyncio.gather(*questions, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, RowError):
                raise answer
        return answers

    def _running(self) -> asyncio.AbstractEventLoop:
        """The event loop of this asker's thread: one for all questions, as connections and batches belong to a loop."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name=f"ask {self.name}", daemon=True).start()
        return self._loop

    def close(self) -> None:
        """Close the model's connections and end the thread."""
        if self._loop is not None:
            loop, self._loop = self._loop, None
            asyncio.run_coroutine_threadsafe(self._asker.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)

    def _say(self) -> None:
        """Note in the result what was asked, and what it cost."""
        if not hasattr(self.model, "generate"):
            return
        said = {"asked": self.spent.asked, "from the journal": self.spent.recalled, "price": self.budget.spent}
        note_text("answers", {**said, **({"of unknown price": self.budget.unknown} if self.budget.unknown else {})})


#: Questions of other roles that `Asker.ask` keeps in the memory of frozen models.
_ASKED = ("tag", "detect", "read", "translate", "identify", "parse", "segment", "depth", "match")


class _Known:
    """A model under the name and the fingerprint by which its answers are kept."""

    def __init__(self, model: Any, name: str, fingerprint: str) -> None:
        self._model, self.name, self.fingerprint = model, name, fingerprint or None

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__dict__["_model"], name)
        return self._checked(value) if name == "generate" else value

    def _checked(self, generate: Any) -> Any:
        """The model's `generate`; answers that are none are the mistake of whoever wrote it, not a row's."""

        def sound(prompts: Sequence[Prompt], answers: Sequence[Any]) -> Sequence[Any]:
            if len(answers) != len(prompts):
                raise UserError(
                    f"{self.name} gave {len(answers)} answers to {len(prompts)} rows of generate: it must give one for "
                    "each."
                )
            for one in answers:
                if not isinstance(one, RowError) and not hasattr(one, "text"):
                    raise UserError(
                        f"{self.name} answered with {type(one).__name__}; a generator gives an Answer or a RowError."
                    )
            return answers

        async def later(prompts: Sequence[Prompt]) -> Sequence[Any]:
            return sound(prompts, list(await generate(prompts)))

        def now(prompts: Sequence[Prompt]) -> Sequence[Any]:
            return sound(prompts, list(generate(prompts)))

        return later if inspect.iscoroutinefunction(generate) else now


def load_asked(
    name: str | Any,
    role: str,
    cache: str | None = None,
    *,
    said: str = "",
    prices: str | None = None,
    max_cost: float | None = None,
) -> Any:
    """Load a model so that what it is asked goes through the asker, and what it encodes through the kept vectors.

    Args:
        name: model name, or a model.
        role: role (or roles with `|`) that it must have.
        cache: folder where vectors and answers are kept; `off` for none; None for the user's cache folder.
        said: what it is called in results (`judge`, `model`, `parser`); the role without it.
        prices: file of prices, or None for `PANOGLOT_PRICES`.
        max_cost: US dollars that this run may cost.

    Raises:
        UserError: no such model, a folder that was asked for cannot be written.
    """
    from panoglot.providers import load_model

    model = load_model(name, role) if isinstance(name, str) else name
    if isinstance(model, PlainAsker | CachedEncoder):
        return model
    if hasattr(model, "encode_texts") and not hasattr(model, "generate"):
        return load_encoder(model, cache, role)
    note_model(said or role, model)
    full = name if isinstance(name, str) else ""
    if not any(hasattr(model, method) for method in ("generate", "judge")):
        return PlainAsker(model, full=full)
    folder = cache_folder(cache) if identity(model) else None
    journal = Journal(Path(folder) / "judges") if folder is not None else None
    return PlainAsker(model, journal, prices=Prices.load(prices), budget=Budget(max_cost), full=full)
