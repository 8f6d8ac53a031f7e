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
from typing import TYPE_CHECKING, Any

import msgspec

from panoglot.asking._journal import journal_key
from panoglot.errors import RowError, UserError, did_you_mean
from panoglot.pictures import Image
from panoglot.providers._answers import sound_text
from panoglot.providers._http import as_count
from panoglot.providers._stop import came, refuse_when_stopping
from panoglot.providers.roles import Answer, Box, Line, Prompt, SceneGraph, Tag
from panoglot.running._stage import Spent

if TYPE_CHECKING:
    import numpy as np

    from panoglot.asking._journal import Journal
    from panoglot.asking._prices import Budget, Prices
    from panoglot.providers._spend import Account

__all__ = ["Asker", "Models", "spending"]

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

    def __repr__(self) -> str:
        return f"<{self.name}>"

    async def close(self) -> None:
        """Stop the model's thread and close its connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if hasattr(self.model, "aclose"):
            await self.model.aclose()
        elif hasattr(self.model, "close"):
            self.model.close()

    async def _ask(
        self, method: str, question: Any, several: bool = False, answers: Callable[[Any], Sequence[Any]] | None = None
    ) -> Any:
        """Ask one question.

        Args:
            method: the model's method.
            question: its argument, or a tuple of arguments.
            several: the method takes such arguments as parallel lists.
            answers: turns what the method returned into a list.
        """
        function = getattr(self.model, method, None)
        if function is None:
            raise UserError(f"model '{self.name}' cannot {method}: choose another model for this method.")

        def call(questions: list[Any]) -> Any:
            return function(*map(list, zip(*questions))) if several else function(questions)

        if inspect.iscoroutinefunction(function):
            started = time.perf_counter()
            found = await call([question])
            (answer,) = answers(found) if answers else found
            spent = spending.get(None)
            if spent is not None:
                spent.seconds += time.perf_counter() - started
            if isinstance(answer, RowError):
                raise answer
            return answer
        batcher = self._batchers.get(method)
        if batcher is None:
            whole = (lambda questions: answers(call(questions))) if answers else call
            batcher = self._batchers[method] = _Batcher(whole, getattr(self.model, "batch_size", 1), self._pool)
        return await batcher.ask(question)

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
            prompt = replace(prompt, images=(*prompt.images, *images), **options)
        return await self._paid(prompt)

    async def _paid(self, prompt: Prompt) -> Answer:
        """The answer to a question that costs: from the journal, or asked for, checked, and stored with its price."""
        key = journal_key(self.model, "generate", prompt) if self._journal is not None else ""
        asked: list[Answer] = []

        async def ask(_: list[str]) -> dict[str, bytes]:
            answer = await self._asked(prompt)
            asked.append(answer)
            return {key: msgspec.json.encode(answer), **self._entry(answer.tokens_in, answer.tokens_out, prompt)}

        if self._journal is None:
            return await self._asked(prompt)
        slot = getattr(self.model, "slot", contextlib.nullcontext)
        found = await self._journal.answer_many([key], ask, sound=_readable, within=slot)
        raw, recalled = found[key]
        if not recalled:
            came()
            return asked[0]
        answer = msgspec.json.decode(raw, type=Answer)
        if (spent := spending.get(None)) is not None:
            spent.recalled += 1
        return replace(answer, text=sound_text(answer.text, json=prompt.schema is not None, chat=prompt.chat))

    async def _asked(self, prompt: Prompt) -> Answer:
        """Ask the model; what came is counted and paid for, whether it is an answer or not."""
        estimate = self._most(prompt) if self._budget is not None else None
        if self._budget is not None:
            await self._budget.reserve(estimate, self.name)
        price: float | None = 0.0
        try:
            try:
                answer = _checked(await self._ask("generate", prompt), prompt)
            except RowError as error:
                if error.tokens is not None:
                    price = self._pay(prompt, *error.tokens)
                    if self._journal is not None:
                        await self._journal.store(self._entry(*error.tokens, prompt))
                raise
            price = self._pay(prompt, answer.tokens_in, answer.tokens_out)
            return answer
        finally:
            if self._budget is not None:
                self._budget.settle(estimate, price)

    def _pay(self, prompt: Prompt, tokens_in: int | None, tokens_out: int | None) -> float | None:
        price = self._price(prompt, tokens_in, tokens_out)
        if (spent := spending.get(None)) is not None:
            spent.add(Spent(0.0, tokens_in or 0, tokens_out or 0, price, asked=1))
        return price

    def _entry(self, tokens_in: int | None, tokens_out: int | None, prompt: Prompt) -> dict[str, bytes]:
        if self._account is None:
            return {}
        return self._account.entry(tokens_in, tokens_out, self._price(prompt, tokens_in, tokens_out))

    def _price(self, prompt: Prompt, tokens_in: int | None, tokens_out: int | None) -> float | None:
        if self._prices is None:
            return None
        return self._prices.cost(self._name, tokens_in, tokens_out, images=len(prompt.images))

    def _most(self, prompt: Prompt) -> float | None:
        """What a question may cost at most: a token a character, a few thousand a picture."""
        if self._prices is None:
            return None
        read = len(prompt.text) + len(prompt.system or "") + 4096 * len(prompt.images)
        return self._prices.cost(self._name, read, prompt.max_tokens, images=len(prompt.images))

    async def score(self, prompt: Prompt | str, text: str, *images: Image) -> list[tuple[str, float]]:
        """Return the tokens of `text` with the log-probability (natural) that the model gives each after `prompt`."""
        question = (Prompt(prompt, images=images) if isinstance(prompt, str) else prompt, text)

        async def ask() -> bytes:
            return msgspec.json.encode(await self._ask("score", question, several=True))

        if self._journal is None:
            raw = await ask()
        else:
            slot = getattr(self.model, "slot", contextlib.nullcontext)
            key = journal_key(self.model, "score", question)
            raw, _ = await self._journal.answer(key, ask, sound=_scored, within=slot)
        return [(token, value) for token, value in msgspec.json.decode(raw)]

    # -- Encoder ---------------------------------------------------------------------------------------------------

    async def encode_image(self, image: Image) -> np.ndarray:
        """Return the unit vector `[dim]` (or vectors `[K, dim]`) of a picture."""
        return await self._ask("encode_images", image, answers=_rows)

    async def encode_text(self, text: str, lang: str = "und") -> np.ndarray:
        """Return the unit vector of a text."""
        return await self._ask("encode_texts", (text, lang), several=True, answers=_rows)

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

        return float(await self._ask("match", (image, text), several=True))

    # -- the others ------------------------------------------------------------------------------------------------

    async def tag(self, image: Image) -> Sequence[Tag]:
        """Return the classes of a picture, best first."""
        found: Sequence[Tag] = await self._ask("tag", image)
        return found

    async def detect(self, image: Image, names: Sequence[str] | None = None) -> Sequence[Box]:
        """Return boxes, best first."""
        found: Sequence[Box] = await self._ask("detect", (image, names), several=True)
        return found

    async def read(self, image: Image) -> Sequence[Line]:
        """Return the lines of text in a picture."""
        found: Sequence[Line] = await self._ask("read", image)
        return found

    async def translate(self, text: str, source: str, target: str) -> str:
        """Translate a text."""
        found: str = await self._ask("translate", (text, source, target), several=True)
        return found

    async def identify(self, text: str) -> tuple[str, float]:
        """Return the language of a text and how sure (0..1)."""
        found: tuple[str, float] = await self._ask("identify", text)
        return found

    async def parse(self, text: str, lang: str = "und") -> SceneGraph:
        """Return what a caption says."""
        found: SceneGraph = await self._ask("parse", (text, lang), several=True)
        return found


def _checked(answer: Any, prompt: Prompt) -> Answer:
    """The answer as the journal will give it back, freed of what is no answer; whoever the model is.

    Raises:
        RowError: it cannot be stored, or there is no text in it; with the tokens that it cost.
    """
    tokens = (as_count(getattr(answer, "tokens_in", None)), as_count(getattr(answer, "tokens_out", None)))
    try:
        text = sound_text(answer.text, json=prompt.schema is not None, chat=prompt.chat)
        checked = replace(answer, text=text, tokens_in=tokens[0], tokens_out=tokens[1])
        msgspec.json.decode(msgspec.json.encode(checked), type=Answer)
        return checked
    except RowError as error:
        error.tokens = tokens
        raise
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        bad = RowError("bad_response", f"no answer that can be stored: {type(error).__name__}: {error}")
        bad.tokens = tokens
        raise bad from None


def _readable(raw: bytes) -> bool:
    """Whether a stored answer can be read; one that cannot is asked for again."""
    try:
        msgspec.json.decode(raw, type=Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _scored(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw, type=list[tuple[str, float]])
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
