"""Any OpenAI-compatible server: vLLM, llama.cpp, Ollama, SGLang, the paid ones.

    openai:http://localhost:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct?concurrency=64
    openai:https://api.openai.com/v1#gpt-4o-mini?rpm=500&tpm=200000&max_image_side=1024
    openai:https://api.openai.com/v1#gpt-4o-mini?batch=1
    openai:http://localhost:8001/v1#intfloat/multilingual-e5-large?as=encoder

The key is read from the environment (`OPENAI_API_KEY`, or `key_env=NAME`). The URL is no part of the model's
fingerprint: answers given by a model on one host are found again when it moves to another. Where two servers give
different models the same name, tell them apart with `revision=`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from panoglot.errors import PanoglotError, RowError, UserError
from panoglot.identity import extended, fingerprint, later
from panoglot.providers._finish import finish
from panoglot.providers._http import Endpoint, Policy, as_count, ask_each
from panoglot.providers._limits import Slots, estimate_tokens
from panoglot.providers._names import ModelInfo, Options
from panoglot.providers._openai_batch import Batches
from panoglot.providers._openai_encoder import OpenAIEncoder
from panoglot.providers._prompt import lowered, plain_text
from panoglot.providers.roles import Answer, Prompt, Scored
from panoglot.text._answers import sound_text

if TYPE_CHECKING:
    from panoglot.pictures import Image

__all__ = ["OpenAIEncoder", "OpenAIGenerator", "catalog", "load"]

_SECRET_OPTION = re.compile(r"(?i)^(api[-_]?key|key|token|access[-_]?token|secret|password|authorization)$")


class OpenAIGenerator:
    """A chat or completion model on a server (role `generator`).

    Args:
        endpoint: where it is.
        max_image_side: shrink pictures whose longest side is more pixels; None sends them as they are.
        omit: fields of the request that this server refuses (`temperature`, `seed`, `stop`, …).
        body: further fields of the request (`{"reasoning_effort": "low"}`).
        revision: anything that tells this model from others of the same name; part of the fingerprint.
        batches: ask by the server's batch API. Answers are the same, so the fingerprint is.

    Attributes:
        batched: questions go into batches, at their price.
        in_flight: how many rows a run works on at once, so that a batch is full.
        requests_per_score: what `score` asks for one text.
    """

    batch_size = 1
    requests_per_score = 2

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        max_image_side: int | None = None,
        omit: Sequence[str] = (),
        body: dict[str, Any] | None = None,
        revision: str = "",
        batches: Batches | None = None,
    ) -> None:
        self.batches, self.batched = batches, batches is not None
        self.in_flight = batches.most if batches is not None else 0
        self.endpoint, self.max_image_side = endpoint, max_image_side
        self.omit, self.body = frozenset(omit), dict(body or {})
        self.name = f"openai:{endpoint.model}" + (f"@{revision}" if revision else "")
        parts = ["openai-1", endpoint.model, revision, max_image_side, sorted(self.omit), self.body]
        self.fingerprint = extended(fingerprint(parts), later(OpenAIGenerator, locals()))
        self._max_tokens = "max_tokens"
        self._scores: bool | None = None  # not known before it was asked
        self._first_score = Slots(1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if self.batches is not None:
            await self.batches.aclose()
        await self.endpoint.aclose()

    async def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
        """Answer every prompt; all at once, within the limits.

        Raises:
            UserError: only the user can mend it (key, model name, server gone, no log-probabilities to be had).
        """
        return await ask_each(self._answer, prompts)

    def slot(self) -> AbstractAsyncContextManager[None]:
        """Hold a place among those who may ask at once; see `Endpoint.slot`. In a batch there is room for all."""
        return contextlib.nullcontext() if self.batches is not None else self.endpoint.slot()

    async def _answer(self, prompt: Prompt) -> Answer:
        if self.batches is not None:
            body = await self._request(prompt)
            path = "/chat/completions" if prompt.chat else "/completions"
            return self._read(await self.batches.ask(path, self._final(body)), prompt)
        async with self.endpoint.slot():  # pictures are prepared by those who may send them
            body = await self._request(prompt)
            path = "/chat/completions" if prompt.chat else "/completions"
            tokens = sum(estimate_tokens(prompt))
            try:
                reply = await self.endpoint.post(path, self._final(body), tokens)
            except RowError as error:
                if error.reason != "bad_request" or "max_completion_tokens" not in error.message:
                    raise
                self._max_tokens = "max_completion_tokens"  # the newer name; some models refuse the older one
                reply = await self.endpoint.post(path, self._final(body), tokens)
        return self._read(reply, prompt)

    async def _request(self, prompt: Prompt) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.endpoint.model, "temperature": prompt.temperature, "seed": prompt.seed}
        body["max_tokens"] = prompt.max_tokens
        if prompt.top_p != 1.0:
            body["top_p"] = prompt.top_p
        if prompt.stop:
            body["stop"] = list(prompt.stop)
        if prompt.schema is not None:
            strict = prompt.schema.get("additionalProperties") is False  # else servers refuse to be strict
            schema = {"name": "answer", "schema": prompt.schema, "strict": strict}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if prompt.chat:
            body["messages"] = await self._messages(prompt)
            if prompt.logprobs:
                body["logprobs"] = True
        else:
            if prompt.images:
                raise UserError(f"{self.name}: a plain completion takes no pictures; ask with chat=True.")
            body["prompt"] = plain_text(prompt, self.name)
            if prompt.logprobs:
                body["logprobs"] = 1
        return body

    async def _messages(self, prompt: Prompt) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        for turn in lowered(prompt, model=self.name).turns:
            role, parts = turn.role, turn.parts
            if all(isinstance(part, str) for part in parts):
                content: Any = "".join(parts)
            else:
                content = [
                    {"type": "text", "text": part} if isinstance(part, str) else await self._picture(part)
                    for part in parts
                ]
            if content or role != "system":
                messages.append({"role": role, "content": content})
        return messages

    async def _picture(self, image: Image) -> dict[str, Any]:
        from panoglot.pictures import data_uri

        uri = await asyncio.to_thread(data_uri, image, self.max_image_side)  # decoding must not stop the other requests
        return {"type": "image_url", "image_url": {"url": uri}}

    def _final(self, body: dict[str, Any]) -> dict[str, Any]:
        body = {self._max_tokens if k == "max_tokens" else k: v for k, v in body.items() if k not in self.omit}
        return body | self.body

    def _read(self, reply: dict[str, Any], prompt: Prompt) -> Answer:
        said = reply.get("usage")
        usage = said if isinstance(said, dict) else {}
        tokens_in, tokens_out = as_count(usage.get("prompt_tokens")), as_count(usage.get("completion_tokens"))
        try:
            return self._sound(reply, prompt, tokens_in, tokens_out)
        except RowError as error:
            error.tokens = (tokens_in, tokens_out)  # it is no answer, and it is paid for
            raise

    def _sound(self, reply: dict[str, Any], prompt: Prompt, tokens_in: int | None, tokens_out: int | None) -> Answer:
        try:
            choice = reply["choices"][0]
            message = choice.get("message") or {}
            text = message.get("content") if prompt.chat else choice["text"]
            if isinstance(text, list):  # some servers answer in parts
                text = "".join(part.get("text") or "" for part in text)
            if not isinstance(text, str | None):
                raise TypeError(f"a text that is a {type(text).__name__}")
            refusal = message.get("refusal")
            stopped = choice.get("finish_reason") or "stop"
            tokens = _token_logprobs(choice.get("logprobs")) if prompt.logprobs else None
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise RowError("bad_response", f"unexpected shape: {type(error).__name__}: {error}") from None
        if stopped == "content_filter":
            raise RowError("content_filter", "the server's filter stopped the answer")
        if refusal:
            raise RowError("refused", self.endpoint.clean(str(refusal)))
        try:
            text = sound_text(text or "", json=prompt.schema is not None, chat=prompt.chat)
        except RowError as error:
            ended = f"finish_reason={self.endpoint.clean(str(stopped), 40)}"
            if stopped == "length" and error.reason in ("empty_answer", "thinking_only"):
                ended += f"; all {tokens_out} tokens were spent before any text: raise max_tokens"
            said = self.endpoint.clean(error.message) if error.reason == "refused" else ended
            raise RowError(error.reason, said) from None
        if prompt.logprobs and tokens is None:
            raise UserError(
                f"{self.name} at {self.endpoint.url} gives no log-probabilities, and this method needs them."
            )
        if prompt.schema is not None:
            try:
                json.loads(text)
            except (ValueError, RecursionError):
                raise RowError("not_json", f"a JSON answer was asked for; finish_reason={stopped!s:.40}") from None
        return Answer(text, "length" if stopped == "length" else "stop", tokens_in, tokens_out, tokens)

    # -- scoring given texts ---------------------------------------------------------------------------------------

    async def score(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[list[tuple[str, float]] | RowError]:
        """Return the tokens of every text with the natural-log probability the model gives them after the prompt.

        Needs `prompt_logprobs`, an extension that vLLM has. Asks twice a text: the number of the text's tokens is the
        difference of the two prompt lengths, which holds with pictures, templates and special tokens alike.

        Args:
            prompts: what comes before; with or without pictures.
            texts: the answers to score, one a prompt.

        Returns:
            A list of (token, log-probability) a text, or a `RowError` (`score_misaligned` when the text is not what the
            server's last tokens spell).

        Raises:
            UserError: this server cannot score given texts. It is asked once to find that out, and never again.
        """
        return await ask_each(self._score, list(zip(prompts, texts, strict=True)))

    async def _score(self, pair: tuple[Prompt, str]) -> Scored:
        prompt, text = pair
        if not text.strip():
            raise RowError("empty_text", "nothing to score")
        if self._scores is None:
            async with self.endpoint.slot(), self._first_score:  # in this order, as who comes with a slot waits too
                return await self._scored(prompt, text)
        return await self._scored(prompt, text)

    async def _scored(self, prompt: Prompt, text: str) -> Scored:
        if self._scores is False:
            raise self._cannot_score()
        replies = await self._ask_twice(prompt, text)
        tokens_in, tokens_out = _usage(replies)
        try:
            if len(replies) == 1:
                self._scores = False
                raise self._cannot_score()
            self._scores = True
            return Scored(self._aligned(replies, text), tokens_in, tokens_out, len(replies))
        except PanoglotError as error:
            error.tokens = (tokens_in, tokens_out)
            raise

    def _cannot_score(self) -> UserError:
        return UserError(
            f"{self.endpoint.url} cannot score given texts (no prompt_logprobs in its answer): use a vLLM server, or "
            "the model in process (hf:…)."
        )

    @staticmethod
    def _aligned(replies: Sequence[dict[str, Any]], text: str) -> list[tuple[str, float]]:
        """The tokens of `text` in the server's answers: to the prompt with it, and to the prompt alone."""
        second, first = replies
        try:
            given = _prompt_logprobs(second)
            read = [as_count(reply["usage"]["prompt_tokens"]) for reply in (first, second)]
            if None in read:
                raise ValueError("no number of tokens")
            count = read[1] - read[0]  # type: ignore[operator]
            if count < 1 or count >= len(given):
                raise RowError("score_misaligned", f"{count} tokens of {len(given)}")
            found = [next(iter(place.values())) for place in given[-count:]]
            scored = [(str(t["decoded_token"]), float(t["logprob"])) for t in found]
        except (LookupError, TypeError, AttributeError, StopIteration, ValueError, OverflowError) as error:
            raise RowError("bad_response", f"unexpected shape: {type(error).__name__}: {error}") from None
        spelled = "".join(token for token, _ in scored)
        if "\ufffd" not in spelled and "".join(spelled.split()) != "".join(text.split()):
            raise RowError("score_misaligned", "the last tokens do not spell the text")
        return scored

    async def _ask_twice(self, prompt: Prompt, text: str) -> list[dict[str, Any]]:
        """The server's answers to the prompt with `text` after it and, if that has log-probabilities, without it."""
        ask: dict[str, Any] = {"model": self.endpoint.model, "temperature": 0, "max_tokens": 1}
        async with self.endpoint.slot():
            if prompt.chat:
                path, messages = "/chat/completions", await self._messages(prompt)
                answer = [*messages, {"role": "assistant", "content": text}]
                before = ask | {"messages": messages}
                whole = ask | {"messages": answer, "add_generation_prompt": False, "continue_final_message": True}
            else:
                path, before = "/completions", await self._request(prompt)
                before = ask | {"prompt": before["prompt"]}
                whole = ask | {"prompt": before["prompt"] + text}
            tokens = sum(estimate_tokens(prompt)) + len(text)
            replies = [await self.endpoint.post(path, self._final(whole | {"prompt_logprobs": 0}), tokens)]
            try:
                able = bool(_prompt_logprobs(replies[0]))
            except (LookupError, TypeError, AttributeError):
                able = True  # no answer that can be read says nothing of the server
            if able:
                replies.append(await self.endpoint.post(path, self._final(before), tokens))
        return replies


def _prompt_logprobs(reply: dict[str, Any]) -> Any:
    return reply.get("prompt_logprobs") or reply["choices"][0].get("prompt_logprobs")


def _usage(replies: Sequence[dict[str, Any]]) -> tuple[int | None, int | None]:
    """Tokens (read, written) of some answers; None where one does not say."""
    said = [usage if isinstance(usage := reply.get("usage"), dict) else {} for reply in replies]
    read, written = ([as_count(one.get(name)) for one in said] for name in ("prompt_tokens", "completion_tokens"))
    return _sum(read), _sum(written)


def _sum(counts: Sequence[int | None]) -> int | None:
    return None if None in counts else sum(one or 0 for one in counts)


def _token_logprobs(found: Any) -> tuple[tuple[str, float], ...] | None:
    """Read either form of log-probabilities: chat's `content`, or the older parallel lists."""
    if not found:
        return None
    if found.get("content") is not None:
        return tuple((str(t["token"]), float(t["logprob"])) for t in found["content"])
    if found.get("tokens") is None:
        return None
    pairs = zip(found["tokens"], found["token_logprobs"], strict=True)
    return tuple((str(token), float(value)) for token, value in pairs if value is not None)


def load(name: str, options: Options) -> OpenAIGenerator | OpenAIEncoder:
    """Make the model that `openai:URL#MODEL?option=value` names; nothing is sent yet.

    Raises:
        UserError: no model, a bad URL, a key in the name, an unknown or unreadable option.
    """
    for option in options:
        if _SECRET_OPTION.match(option):
            raise UserError(
                f"option '{option}': keys are no part of a model's name, which is written into the dataset. "
                "Export OPENAI_API_KEY, or another variable named by key_env=NAME."
            )
    url, _, model = name.partition("#")

    def number(key: str, kind: Any, default: Any, least: float) -> Any:
        value = options.take(key, kind, default)
        if value is not None and value < least:
            raise UserError(f"option {key}={value} of model '{model}' must be at least {least:g}.")
        return value

    usual = Policy()
    policy = Policy(
        timeout=number("timeout", float, usual.timeout, 0.01),
        deadline=number("deadline", float, usual.deadline, 0.01),
        retries=number("retries", int, usual.retries, 0),
        backoff=number("backoff", float, usual.backoff, 0),
        patience=number("patience", float, usual.patience, 0),
        max_bytes=int(number("max_answer_mb", float, usual.max_bytes / 2**20, 0.001) * 2**20),
    )
    endpoint = Endpoint(
        url,
        model,
        key_env=options.take("key_env", str, "OPENAI_API_KEY"),
        auth=options.take("auth", str, "bearer"),
        policy=policy,
        concurrency=number("concurrency", int, 16, 1),
        rpm=number("rpm", float, 0, 0),
        tpm=number("tpm", float, 0, 0),
    )
    if not model:
        offered = _offered(endpoint)
        raise UserError(
            f"'openai:{url}' names no model: write openai:{url}#MODEL."
            + (f" This server offers: {', '.join(offered[:20])}." if offered else "")
        )
    side, revision = number("max_image_side", int, None, 1), options.take("revision", str, "")
    role = options.take("as", str, "generator")
    if role == "encoder":
        return OpenAIEncoder(
            endpoint,
            dim=number("dim", int, None, 1),
            dimensions=number("dimensions", int, None, 1),
            text_prefix=options.take("text_prefix", str, ""),
            image_text=options.take("image_text", str, ""),
            max_image_side=side,
            revision=revision,
        )
    if role != "generator":
        raise UserError(f"as={role!r} of model '{model}' must be generator or encoder.")
    batches = None
    most, poll = number("batch_questions", int, 1000, 1), number("batch_poll", float, 2.0, 0.01)
    if options.take("batch", bool, False):
        batches = Batches(endpoint, most=most, poll=poll)
    omit = [field for field in options.take("omit", str, "").split(",") if field]
    return OpenAIGenerator(
        endpoint,
        max_image_side=side,
        omit=omit,
        body=options.take("body", _json_object, None),
        revision=revision,
        batches=batches,
    )


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError
    return value


_json_object.__name__ = "JSON object"


def _offered(endpoint: Endpoint) -> list[str]:
    async def ask() -> list[str]:
        try:
            return await endpoint.list_models(seconds=3.0)
        finally:
            await endpoint.aclose()

    found: list[str] = finish(ask())
    return found


def catalog() -> list[ModelInfo]:
    """Say what this provider offers."""
    return [
        ModelInfo(
            "openai:URL#MODEL", ("generator",), "any OpenAI-compatible server: vLLM, llama.cpp, Ollama, paid ones"
        ),
        ModelInfo("openai:URL#MODEL?batch=1", ("generator",), "the same by its batch API: half price, within a day"),
        ModelInfo(
            "openai:URL#MODEL?as=encoder", ("encoder",), "its /v1/embeddings: texts; pictures where it takes them"
        ),
    ]
