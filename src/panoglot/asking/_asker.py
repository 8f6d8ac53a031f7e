"""What a method sees of its models, `m["captioner"].generate(...)`: questions gathered, journaled, timed, priced."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from panoglot.asking._journal import journal_key
from panoglot.asking._spend import Spent
from panoglot.errors import PanoglotError, RowError, UserError, did_you_mean
from panoglot.extensions import find_entries
from panoglot.geometry import Region
from panoglot.pictures import Image
from panoglot.providers._memory import MEMORY
from panoglot.providers._stop import came, refuse_when_stopping
from panoglot.providers.roles import (
    ROLES,
    Answer,
    Box,
    Line,
    Prompt,
    Question,
    Rubric,
    SceneGraph,
    Tag,
    Verdict,
    find_role,
)

if TYPE_CHECKING:
    import numpy as np

    from panoglot.asking._journal import Journal
    from panoglot.asking._prices import Budget, Prices
    from panoglot.asking._spend import Account

__all__ = ["Asker", "Models", "spending"]

T = TypeVar("T")


#: What the item that this coroutine works for has spent; tasks that it starts inherit it.
spending: contextvars.ContextVar[Spent] = contextvars.ContextVar("spending")


class _Batcher:
    """Gathers single questions to a local model into batches, one batch at a time, off the event loop."""

    def __init__(self, call: Callable[[list[Any]], Sequence[Any]], size: int, pool: ThreadPoolExecutor) -> None:
        self._call, self._size, self._pool = call, max(1, size), pool
        self._waiting: list[tuple[Any, asyncio.Future[Any], Spent | None]] = []
        self._pump: asyncio.Task[None] | None = None

    async def ask(self, question: Any) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((question, future, spending.get(None)))
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._run())
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            seen = -1  # let every coroutine that can go on do so: it may ask too
            while seen != len(self._waiting) < self._size:
                seen = len(self._waiting)
                for _ in range(3):
                    await asyncio.sleep(0)
            batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            started = time.perf_counter()
            try:
                refuse_when_stopping()
                answers = await loop.run_in_executor(self._pool, self._call, [question for question, _, _ in batch])
                if len(answers) != len(batch):
                    raise RuntimeError(f"{len(batch)} questions, {len(answers)} answers from {self._call}")
            except Exception as error:
                for _, future, _ in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            seconds = (time.perf_counter() - started) / len(batch)
            for (_, future, spent), answer in zip(batch, answers):
                if spent is not None:
                    spent.seconds += seconds
                if future.done():
                    continue  # its item was cancelled
                if isinstance(answer, RowError):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)


class Asker:
    """One model as a method sees it: every role's question for one item; batched, journaled, priced.

    A question that the model could not answer raises the `RowError` at the `await`; a method may catch it.
    """

    def __init__(
        self,
        model: Any,
        *,
        journal: Journal | None,
        prices: Prices | None,
        budget: Budget | None,
        full: str = "",
        account: Account | None = None,
    ) -> None:
        self.model = model
        self.name: str = model.name
        # the price table knows a model by what `captions.model` shows, or by what the user typed
        known = prices is None or prices.price(model.name) is not None
        self._name = model.name if known or not full else full
        self._journal, self._prices, self._budget, self._account = journal, prices, budget, account
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=self.name)
        self._batchers: dict[str, _Batcher] = {}
        self._under_way: dict[str, asyncio.Future[Any]] = {}
        self._remember = isinstance(getattr(model, "fingerprint", None), str)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    async def close(self) -> None:
        """Stop the model's thread and close its connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if hasattr(self.model, "aclose"):
            await self.model.aclose()
        elif hasattr(self.model, "close"):
            self.model.close()

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Ask one question of any role; `Question` in the table of roles says how.

        Args:
            method: the model's method, for example `tag`.
            arguments: those of one item; the last ones may be left out where the role says what they are then.

        Raises:
            RowError: the model could not answer.
            UserError: the model has no such method.
        """
        question = _question(method)
        if question.columns > 1:
            asked = (*arguments, *question.rest[len(question.rest) - question.columns + len(arguments) :])
            if len(asked) != question.columns:
                raise TypeError(f"{method} takes {question.columns} arguments, {len(arguments)} were given")
        else:
            (asked,) = arguments
        if question.keep != "memory" or not self._remember:
            return await self._ask(question, asked)
        key = journal_key(self.model, method, asked)
        found = MEMORY.get(key, None)
        if found is None:
            waiting = self._under_way.get(key)
            if waiting is not None:
                return await asyncio.shield(waiting)
            waiting = self._under_way[key] = asyncio.ensure_future(self._ask(question, asked))
            try:
                found = await waiting
            finally:
                self._under_way.pop(key, None)
            MEMORY.put(key, found)
        return found

    async def _ask(self, question: Question, asked: Any) -> Any:
        function = getattr(self.model, question.method, None)
        if function is None:
            raise UserError(f"model '{self.name}' cannot {question.method}: choose another model for this method.")

        def call(questions: list[Any]) -> Any:
            found = function(*map(list, zip(*questions))) if question.columns > 1 else function(questions)
            return _rows(found) if question.vectors and not inspect.isawaitable(found) else found

        if inspect.iscoroutinefunction(function):
            started = time.perf_counter()
            found = await call([asked])
            (answer,) = _rows(found) if question.vectors else found
            spent = spending.get(None)
            if spent is not None:
                spent.seconds += time.perf_counter() - started
            if isinstance(answer, RowError):
                raise answer
            return answer
        batcher = self._batchers.get(question.method)
        if batcher is None:
            batcher = self._batchers[question.method] = _Batcher(call, getattr(self.model, "batch_size", 1), self._pool)
        return await batcher.ask(asked)

    # -- Generator -------------------------------------------------------------------------------------------------

    async def generate(self, prompt: Prompt | str, *images: Image, **options: Any) -> Answer:
        """Ask a `Generator`.

        Args:
            prompt: the whole prompt, or the text of one.
            images: pictures, when `prompt` is text.
            options: other fields of `Prompt`.

        Returns:
            The answer, from the journal when it was given before.
        """
        if isinstance(prompt, str):
            prompt = Prompt(prompt, images=images, **options)
        elif images or options:
            prompt = replace(prompt.showing(*images), **options)
        return await self._paid("generate", prompt, prompt, Answer)

    async def _paid(self, method: str, question: Any, prompt: Prompt, kind: type[T]) -> T:
        """The answer to a question that costs: from the journal, or asked for, checked, and stored with its price."""
        if self._journal is None:
            return await self._bought(method, question, prompt)  # type: ignore[no-any-return]
        key = journal_key(self.model, method, question)
        new: list[Any] = []

        async def ask(_: list[str]) -> dict[str, bytes]:
            answer = await self._bought(method, question, prompt)
            new.append(answer)
            return {key: msgspec.json.encode(answer), **self._entry(answer.tokens_in, answer.tokens_out, prompt)}

        slot = getattr(self.model, "slot", contextlib.nullcontext)
        found = await self._journal.answer_many([key], ask, sound=partial(_readable, kind), within=slot)
        raw, recalled = found[key]
        if not recalled:
            came()
            return new[0]  # type: ignore[no-any-return]
        answer: Any = msgspec.json.decode(raw, type=kind)
        if (spent := spending.get(None)) is not None:
            spent.add(Spent(recalled=1, was=self._price(prompt, answer.tokens_in, answer.tokens_out)))
        return _sound(answer, prompt)  # type: ignore[no-any-return]

    async def _bought(self, method: str, question: Any, prompt: Prompt) -> Any:
        """Ask the model; what came is counted and paid for, whether it is an answer or not."""
        scored = question[1] if method == "score" else None
        estimate = self._most(prompt, scored) if self._budget is not None else None
        if self._budget is not None:
            await self._budget.reserve(estimate, self.name)
        price: float | None = 0.0
        try:
            try:
                answer = await self._ask(_question(method), question)
                answer = answer if method == "score" else _checked(answer, prompt)
            except PanoglotError as error:
                if error.tokens is not None:
                    price = self._pay(prompt, *error.tokens)
                    if self._journal is not None:
                        await self._journal.store(self._entry(*error.tokens, prompt))
                raise
            price = self._pay(prompt, *_cost(answer))
            return answer
        finally:
            if self._budget is not None:
                self._budget.settle(estimate, price)

    def _pay(self, prompt: Prompt, tokens_in: int | None, tokens_out: int | None, requests: int = 1) -> float | None:
        price = self._price(prompt, tokens_in, tokens_out, requests)
        if (spent := spending.get(None)) is not None:
            spent.add(Spent(0.0, tokens_in or 0, tokens_out or 0, price, asked=1))
        return price

    def _entry(
        self, tokens_in: int | None, tokens_out: int | None, prompt: Prompt, requests: int = 1
    ) -> dict[str, bytes]:
        if self._account is None:
            return {}
        return self._account.entry(tokens_in, tokens_out, self._price(prompt, tokens_in, tokens_out, requests))

    def _price(self, prompt: Prompt, tokens_in: int | None, tokens_out: int | None, requests: int = 1) -> float | None:
        if self._prices is None:
            return None
        cost = partial(self._prices.cost, self._name, batched=bool(getattr(self.model, "batched", False)))
        whole = cost(tokens_in, tokens_out, images=requests * len(prompt.images))
        return whole if whole is None or requests == 1 else whole + (requests - 1) * (cost(0, 0) or 0.0)

    def _most(self, prompt: Prompt, scored: str | None) -> float | None:
        """What a question may cost at most: a token a character, a few thousand a picture; `scored` is a given text."""
        read = len(prompt.text) + len(prompt.system or "") + 4096 * len(prompt.images)
        if scored is None:
            return self._price(prompt, read, prompt.max_tokens)
        requests = int(getattr(self.model, "requests_per_score", 1))
        return self._price(prompt, requests * (read + len(scored)), requests, requests)

    async def score(self, prompt: Prompt | str, text: str, *images: Image) -> list[tuple[str, float]]:
        """Return the tokens of `text` with the log-probability (natural) that the model gives each after `prompt`."""
        question = (Prompt(prompt, images=images) if isinstance(prompt, str) else prompt, text)
        if self._journal is None:
            return list(await self._bought("score", question, question[0]))
        key = journal_key(self.model, "score", question)

        async def ask(_: list[str]) -> dict[str, bytes]:
            found = await self._bought("score", question, question[0])
            tokens_in, tokens_out, requests = _cost(found)
            return {key: msgspec.json.encode(list(found)), **self._entry(tokens_in, tokens_out, question[0], requests)}

        slot = getattr(self.model, "slot", contextlib.nullcontext)
        sound = partial(_readable, list[tuple[str, float]])
        raw, recalled = (await self._journal.answer_many([key], ask, sound=sound, within=slot))[key]
        if not recalled:
            came()
        elif (spent := spending.get(None)) is not None:
            spent.recalled += 1
        return [(token, value) for token, value in msgspec.json.decode(raw)]

    # -- Encoder ---------------------------------------------------------------------------------------------------

    async def encode_image(self, image: Image) -> np.ndarray:
        """Return the unit vector `[dim]` (or vectors `[K, dim]`) of a picture."""
        found: np.ndarray = await self.ask("encode_images", image)
        return found

    async def encode_text(self, text: str, lang: str = "und") -> np.ndarray:
        """Return the unit vector of a text."""
        found: np.ndarray = await self.ask("encode_texts", text, lang)
        return found

    async def similarity(self, image: Image, texts: Sequence[str], langs: Sequence[str] | None = None) -> list[float]:
        """Return the cosine of a picture with every text (best view for multi-vector encoders)."""
        picture, *found = await asyncio.gather(
            self.encode_image(image),
            *(self.encode_text(text, lang) for text, lang in zip(texts, langs or ["und"] * len(texts))),
        )
        return [float((picture.reshape(-1, picture.shape[-1]) @ t.reshape(-1, t.shape[-1]).T).max()) for t in found]

    async def match(self, image: Image, text: str) -> float | None:
        """Return the matching head's probability (0..1) that the text fits; None when the model has no such head."""
        if not hasattr(self.model, "match"):
            return None

        return float(await self.ask("match", image, text))

    # -- the others ------------------------------------------------------------------------------------------------

    async def tag(self, image: Image) -> Sequence[Tag]:
        """Return the classes of a picture, best first."""
        found: Sequence[Tag] = await self.ask("tag", image)
        return found

    async def detect(self, image: Image, names: Sequence[str] | None = None) -> Sequence[Box]:
        """Return boxes, best first."""
        found: Sequence[Box] = await self.ask("detect", image, tuple(names) if names is not None else None)
        return found

    async def read(self, image: Image) -> Sequence[Line]:
        """Return the lines of text in a picture."""
        found: Sequence[Line] = await self.ask("read", image)
        return found

    async def translate(self, text: str, source: str, target: str) -> str:
        """Translate a text."""
        found: str = await self.ask("translate", text, source, target)
        return found

    async def identify(self, text: str) -> tuple[str, float]:
        """Return the language of a text and how sure (0..1)."""
        found: tuple[str, float] = await self.ask("identify", text)
        return found

    async def encode_query(self, parts: Sequence[Any]) -> np.ndarray:
        """Return the unit vector of a query of several parts: texts, pictures, places, embedded together."""
        found: np.ndarray = await self.ask("encode_queries", tuple(parts))
        return found

    async def segment(
        self, image: Image, regions: Sequence[Region] | None = None, names: Sequence[str] | None = None
    ) -> Sequence[Box]:
        """Return things with their masks, best first."""
        asked = tuple(regions) if regions is not None else None, tuple(names) if names is not None else None
        found: Sequence[Box] = await self.ask("segment", image, *asked)
        return found

    async def depth(self, image: Image) -> np.ndarray:
        """Return how far everything is, float32 `[height, width]`."""
        found: np.ndarray = await self.ask("depth", image)
        return found

    async def paint(self, prompt: Prompt | str) -> Image:
        """Return a picture made for a prompt."""
        found: Image = await self.ask("paint", Prompt(prompt) if isinstance(prompt, str) else prompt)
        return found

    async def judge(self, rubric: Rubric) -> Verdict:
        """Return a verdict, from the journal when it was given before; priced as a generated answer."""
        return await self._paid("judge", rubric, rubric.prompt, Verdict)

    async def parse(self, text: str, lang: str = "und") -> SceneGraph:
        """Return what a caption says."""
        found: SceneGraph = await self.ask("parse", text, lang)
        return found


@cache
def _question(method: str) -> Question:
    """How `method` is asked, by the table of roles.

    Raises:
        UserError: no role has it.
    """
    roles = [*ROLES.values(), *(find_role(name) for name in find_entries("panoglot.roles") if name not in ROLES)]
    for role in roles:
        for question in role.questions:
            if question.method == method:
                return question
    raise UserError(f"no role asks a model to {method}.")


def _sound(answer: Any, prompt: Prompt) -> Any:
    """A generator's text freed of what is no answer; a verdict as it is."""
    from panoglot.text._answers import sound_text  # a search without models asks nothing

    if not isinstance(answer, Answer):
        return answer
    return replace(answer, text=sound_text(answer.text, json=prompt.schema is not None, chat=prompt.chat))


def _checked(answer: Any, prompt: Prompt) -> Any:
    """The answer as the journal will give it back, freed of what is no answer; whoever the model is.

    Raises:
        RowError: it cannot be stored, or there is no text in it; with the tokens that it cost.
    """
    from panoglot.providers._http import as_count

    tokens = (as_count(getattr(answer, "tokens_in", None)), as_count(getattr(answer, "tokens_out", None)))
    try:
        checked = replace(_sound(answer, prompt), tokens_in=tokens[0], tokens_out=tokens[1])
        msgspec.json.decode(msgspec.json.encode(checked), type=type(checked))
        return checked
    except RowError as error:
        error.tokens = tokens
        raise
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        bad = RowError("bad_response", f"no answer that can be stored: {type(error).__name__}: {error}")
        bad.tokens = tokens
        raise bad from None


def _cost(answer: Any) -> tuple[int | None, int | None, int]:
    """Tokens read and written, and requests; a model that scores texts in this process need not say them."""
    return getattr(answer, "tokens_in", None), getattr(answer, "tokens_out", None), getattr(answer, "requests", 1)


def _readable(kind: type, raw: bytes) -> bool:
    """Whether a stored answer can be read; one that cannot is asked for again."""
    try:
        msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _rows(vectors: np.ndarray) -> list[Any]:
    import numpy as np

    return [RowError("not_encodable", "no vector") if np.isnan(row).any() else row for row in vectors]


class Models(Mapping[str, Asker]):
    """The models of a method, by alias (`captioner`, `llm`) or by full name (`hf:…`), loaded once."""

    def __init__(self, askers: Mapping[str, Asker]) -> None:
        self._askers = dict(askers)

    def __getitem__(self, name: str) -> Asker:
        try:
            return self._askers[name]
        except KeyError:
            raise UserError(f"this method was given no model '{name}'.{did_you_mean(name, self._askers)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._askers)

    def __len__(self) -> int:
        return len(self._askers)
