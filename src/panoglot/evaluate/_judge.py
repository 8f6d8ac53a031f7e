"""Judges that are asked once: answers go through the journal, what they cost is counted, and a limit holds.

A second identical run asks nothing. The journal lies beside the kept vectors (`--cache`); a model without a fingerprint
is asked every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import ask, cache_folder, call, identity
from panoglot.asking._made import note_model, note_text
from panoglot.errors import BudgetReached, RowError, UserError

if TYPE_CHECKING:
    from panoglot.asking import Journal
    from panoglot.providers.roles import Answer, Prompt

__all__ = ["JournaledGenerator", "load_judge"]

#: Questions between two looks at the money, and two writes to the journal.
_BLOCK = 32


class JournaledGenerator:
    """A generator that is asked only what the journal does not hold.

    Args:
        model: a `Generator` with a fingerprint.
        journal: where answers are kept.
        prices: file of prices, or None for `PANOGLOT_PRICES`.
        max_cost: US dollars; None for no limit.
    """

    batch_size = 1 << 20  # blocks are made here

    def __init__(
        self, model: Any, journal: Journal | None, *, prices: str | None = None, max_cost: float | None = None
    ) -> None:
        from panoglot.asking import Budget, Prices

        self.model, self.journal = model, journal
        self.name = getattr(model, "name", type(model).__name__)
        self.fingerprint = identity(model)
        self.asked = self.recalled = 0
        self._prices, self.budget = Prices.load(prices), Budget(max_cost)

    def __getattr__(self, name: str) -> Any:
        if name == "score":
            if not hasattr(self.__dict__["model"], "score"):
                raise AttributeError(name)
            return self._score
        return getattr(self.__dict__["model"], name)

    def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
        """Answer prompts, from the journal where it has them.

        Raises:
            UserError: the money is spent; what was answered is kept.
        """
        import msgspec

        from panoglot.providers.roles import Answer

        found = self._recall("generate", prompts, lambda raw: msgspec.json.decode(raw, type=Answer))
        wanted = [n for n, answer in enumerate(found) if answer is None]
        for start in range(0, len(wanted), _BLOCK):
            some = wanted[start : start + _BLOCK]
            estimates = self._reserve([prompts[n] for n in some])
            answers = ask(self.model, [prompts[n] for n in some])
            for n, estimate, answer in zip(some, estimates, answers):
                found[n] = answer
                self.budget.settle(estimate, 0.0 if isinstance(answer, RowError) else self._price(prompts[n], answer))
            self.asked += len(some)
            self._keep("generate", [prompts[n] for n in some], answers)
        self._say()
        return found

    def _score(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[Any]:
        import msgspec

        questions = list(zip(prompts, texts))
        found = self._recall("score", questions, lambda raw: [tuple(row) for row in msgspec.json.decode(raw)])
        wanted = [n for n, answer in enumerate(found) if answer is None]
        if wanted:
            answers = call(self.model, "score", [prompts[n] for n in wanted], [texts[n] for n in wanted])
            for n, answer in zip(wanted, answers):
                found[n] = answer
            self.asked += len(wanted)
            self._keep("score", [questions[n] for n in wanted], answers)
        self._say()
        return found

    def _key(self, method: str, question: Any) -> str:
        from panoglot.asking import journal_key

        return journal_key(self.fingerprint, method, question)

    def _recall(self, method: str, questions: Sequence[Any], read: Any) -> list[Any]:
        found: list[Any] = [None] * len(questions)
        if self.journal is not None:
            for n, question in enumerate(questions):
                raw = self.journal.get(self._key(method, question))
                if raw is not None:
                    found[n] = read(raw)
                    self.recalled += 1
        return found

    def _keep(self, method: str, questions: Sequence[Any], answers: Sequence[Any]) -> None:
        import msgspec

        if self.journal is not None:
            rows = zip(questions, answers)
            good = {self._key(method, q): msgspec.json.encode(a) for q, a in rows if not isinstance(a, RowError)}
            self.journal.put_many(good)

    def _reserve(self, prompts: Sequence[Prompt]) -> list[float | None]:
        found: list[float | None] = []
        for prompt in prompts:
            read = len(prompt.text) + len(prompt.system or "") + 4096 * len(prompt.images)
            most = self._prices.cost(self.name, read, prompt.max_tokens, images=len(prompt.images))
            try:
                fits = self.budget.try_reserve(most, self.name)
            except BudgetReached as error:
                raise UserError(f"{error} Every answer so far is kept.") from None
            if not fits:
                for estimate in found:
                    self.budget.settle(estimate, 0.0)
                raise UserError(
                    f"the next {len(prompts)} questions may cost more than the {self.budget.max_cost} dollars of "
                    "max_cost that are left; give more, and the same command goes on. Every answer so far is kept."
                )
            found.append(most)
        return found

    def _price(self, prompt: Prompt, answer: Answer) -> float | None:
        return self._prices.cost(self.name, answer.tokens_in, answer.tokens_out, images=len(prompt.images))

    def _say(self) -> None:
        said = {"asked": self.asked, "from the journal": self.recalled, "price": self.budget.spent}
        note_text("answers", {**said, **({"of unknown price": self.budget.unknown} if self.budget.unknown else {})})


def load_judge(
    name: str | Any,
    cache: str | None = None,
    *,
    role: str = "judge",
    prices: str | None = None,
    max_cost: float | None = None,
) -> Any:
    """Load a generator and put the journal before it.

    Args:
        name: model name, or a model.
        cache: folder of the journal's folder; `off` for none; None for the user's cache folder.
        role: what it is called in results.
        prices: file of prices.
        max_cost: US dollars that this run may cost.
    """
    from panoglot.asking import Journal
    from panoglot.providers import load_model

    model = load_model(name, "generator") if isinstance(name, str) else name
    folder = cache_folder(cache) if identity(model) else None
    journal = Journal(Path(folder) / "judges") if folder is not None else None
    return note_model(role, JournaledGenerator(model, journal, prices=prices, max_cost=max_cost))
