"""Batch APIs of OpenAI-compatible servers (`/files`, `/batches`): half the price, answers within a day.

Questions that come close together are one batch. Nothing is kept here: a batch carries our mark on the server, so a run
that was killed finds what it asked when it runs again, waits for it, and pays nothing twice. What was delivered is
cleared away when the run ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import secrets
import time
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.providers._http import Endpoint
from panoglot.providers._stop import refuse_when_stopping

__all__ = ["Batches"]

#: The key of a batch's metadata by which we know it again.
MARK = "panoglot"
#: Seconds without a new question after which those that wait are sent.
QUIET = 0.5
#: Most bytes of a batch; servers take 200 MB.
MOST_BYTES = 150_000_000
#: Most bytes of a batch's answers.
LARGEST = 2**30
#: Longest pause between two looks at a batch.
SLOWEST = 60.0
_RUNNING = ("validating", "in_progress", "finalizing", "cancelling")
_ENDED = ("completed", "expired", "cancelled", "failed")
#: An id of a file or batch, which becomes a part of an address; some servers have folders in them (`batches/12`).
_ID = re.compile(r"(?!\.)[\w.:-]{1,200}(/(?!\.)[\w.:-]{1,200})?", re.ASCII)


class Batches:
    """The batches of one model on a server.

    Args:
        endpoint: where it is.
        most: questions a batch; so many are under way at once.
        poll: seconds before the first look at a batch; later looks are rarer, up to a minute apart.
    """

    def __init__(self, endpoint: Endpoint, *, most: int = 1000, poll: float = 2.0) -> None:
        self.endpoint, self.most, self.poll = endpoint, most, poll
        self._mark = hashlib.sha256(endpoint.model.encode()).hexdigest()[:16]
        self._forget()

    def _forget(self) -> None:
        self._loop: Any = None
        self._waiting: dict[str, tuple[str, dict[str, Any], asyncio.Future[Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._found: dict[str, Any] | None = None  # answers of batches that were there, by question
        self._delivered: list[dict[str, Any]] = []
        self._came = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {"endpoint": self.endpoint, "most": self.most, "poll": self.poll, "_mark": self._mark}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    async def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the server's answer to a request, by the next batch or one that was there.

        Raises:
            RowError: the server could not answer this one; `batch_expired`, `lost_answer`.
            UserError: only the user can mend it: key, model, a batch that is refused.
            Stopped: the run was told to stop before it was sent.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._forget()
            self._loop = loop
        refuse_when_stopping()
        key = hashlib.sha256(json.dumps([path, body], sort_keys=True).encode()).hexdigest()
        if key in self._waiting:
            found: dict[str, Any] = await asyncio.shield(self._waiting[key][2])
            return found
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting[key] = (path, body, future)
        self._came = time.monotonic()
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._collect())
        return await future  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        """Clear away the files of batches whose answers were delivered, and stop looking at the others."""
        for task in [*self._tasks, *([self._pump] if self._pump else [])]:
            task.cancel()
        for batch in self._delivered if self._loop is asyncio.get_running_loop() else ():
            for name in ("input_file_id", "output_file_id", "error_file_id"):
                if batch.get(name):
                    with contextlib.suppress(RowError, UserError):  # a server that keeps them is none the worse
                        await self.endpoint.call("DELETE", f"/files/{_id(batch, name)}", None, retries=0)
        self._forget()

    # -- sending -----------------------------------------------------------------------------------------------------

    async def _collect(self) -> None:
        """Send what waits as batches, as soon as nothing new comes or one is full."""
        try:
            await self._look_back()
            while self._waiting:
                while time.monotonic() - self._came < QUIET and len(self._waiting) < self.most:
                    await asyncio.sleep(0.05)
                self._answer_from(self._found or {})
                while self._waiting:
                    some = self._next()
                    task = asyncio.get_running_loop().create_task(self._guarded(some))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        except Exception as error:
            self._fail(self._waiting, error)
            self._waiting = {}

    def _next(self) -> dict[str, tuple[str, dict[str, Any], asyncio.Future[Any]]]:
        """The questions of one batch: of one path, not too many, not too large."""
        some: dict[str, tuple[str, dict[str, Any], asyncio.Future[Any]]] = {}
        size, path = 0, next(iter(self._waiting.values()))[0]
        for key, one in list(self._waiting.items()):
            if one[0] != path:
                continue
            size += len(json.dumps(one[1])) + 200
            if some and (len(some) >= self.most or size > MOST_BYTES):
                break
            some[key] = self._waiting.pop(key)
        return some

    async def _guarded(self, some: dict[str, tuple[str, dict[str, Any], asyncio.Future[Any]]]) -> None:
        try:
            await self._send(some)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._fail(some, error)

    async def _send(self, some: dict[str, tuple[str, dict[str, Any], asyncio.Future[Any]]]) -> None:
        refuse_when_stopping()
        path = next(iter(some.values()))[0]
        lines = [
            json.dumps({"custom_id": key, "method": "POST", "url": f"/v1{path}", "body": body})
            for key, (_, body, _) in some.items()
        ]
        form, kind = _form("\n".join(lines).encode())
        file = await self.endpoint.call("POST", "/files", form, kind=kind)
        batch = await self._create(path, _id(file, "id"))
        ended = await self._ended(batch)
        answers = await self._answers(ended)
        # a batch that was completed and has no line for a question has lost it: waiting longer would not have helped
        why = "lost_answer" if ended.get("status") == "completed" else "batch_expired"
        for key, (_, _, future) in some.items():
            self._give(future, answers.get(key, RowError(why, "the batch ended without this answer")))

    async def _create(self, path: str, file: str) -> dict[str, Any]:
        """Make a batch of a file, once: when its answer is lost, the server's list is looked at before another try."""
        body = {
            "input_file_id": file,
            "endpoint": f"/v1{path}",
            "completion_window": "24h",
            "metadata": {MARK: self._mark, "sent": secrets.token_hex(8)},
        }
        for last in (False, False, True):
            try:
                batch = await self.endpoint.call("POST", "/batches", json.dumps(body).encode(), retries=0)
                _id(batch, "id")
                return batch
            except RowError as error:
                if error.reason == "bad_request":
                    raise UserError(f"{self.endpoint.url} takes no batch: {error.message}.") from None
                if last:
                    raise
            await asyncio.sleep(self.poll)
            for batch in await self._listed():
                if batch.get("input_file_id") == file:
                    return batch
        raise AssertionError

    # -- answers -----------------------------------------------------------------------------------------------------

    async def _look_back(self) -> None:
        """Take up the batches of an earlier run that was killed: wait for them, and know what they answer."""
        if self._found is not None:
            return
        self._found = {}
        for batch in await self._listed():
            mark = batch.get("metadata")
            if isinstance(mark, dict) and mark.get(MARK) == self._mark and batch.get("status") != "failed":
                ended = await self._ended(batch)
                self._found.update(await self._answers(ended, lenient=True))

    async def _listed(self) -> list[dict[str, Any]]:
        found = (await self.endpoint.call("GET", "/batches?limit=100", None)).get("data")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    async def _ended(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Wait for a batch.

        Raises:
            UserError: the server refused it as a whole.
        """
        pause = self.poll
        while batch.get("status") not in _ENDED:
            if batch.get("status") not in _RUNNING:
                raise UserError(f"{self.endpoint.url}: a batch is {batch.get('status')!r:.40}, which is no status.")
            await asyncio.sleep(pause)
            pause = min(SLOWEST, pause * 1.5)
            batch = await self.endpoint.call("GET", f"/batches/{_id(batch, 'id')}", None)
        if batch["status"] == "failed":
            errors = batch.get("errors")
            errors = errors.get("data") if isinstance(errors, dict) else errors
            first = errors[0] if isinstance(errors, list) and errors else None
            reason = first.get("message") if isinstance(first, dict) else first
            said = self.endpoint.clean(str(reason or "no reason was given"))
            raise UserError(f"{self.endpoint.url} refused a batch: {said}. Mend it, then run the same command again.")
        return batch

    async def _answers(self, batch: dict[str, Any], *, lenient: bool = False) -> dict[str, Any]:
        """What a batch answered, by question: the server's body, or the error in its place."""
        found: dict[str, Any] = {}
        for name in ("output_file_id", "error_file_id"):
            if not batch.get(name):
                continue
            try:
                path = f"/files/{_id(batch, name)}/content"
                raw = (await self.endpoint.call("GET", path, None, raw_most=LARGEST))["raw"]
            except (RowError, UserError):
                if lenient:  # it was delivered to the run that asked, and cleared away
                    continue
                raise
            for line in raw.splitlines():  # as text it would break at U+2028 and others, which answers may hold
                self._read(line.decode("utf-8", "replace"), found)
        self._delivered.append(batch)
        return found

    def _read(self, line: str, found: dict[str, Any]) -> None:
        try:
            one = json.loads(line)
            key, response = str(one["custom_id"]), one.get("response") or {}
            status, body = int(response.get("status_code") or 0), response.get("body")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
            return  # its question has no answer then
        if status:
            try:
                found[key] = self.endpoint.judge(status, json.dumps(body).encode())
            except (RowError, UserError) as error:
                found[key] = error
            return
        said = one.get("error") if isinstance(one.get("error"), dict) else {}
        reason = "batch_expired" if "expired" in str(said.get("code")) else "server_error"
        found[key] = RowError(reason, self.endpoint.clean(str(said.get("message") or "no answer")))

    def _answer_from(self, found: dict[str, Any]) -> None:
        for key in list(self._waiting.keys() & found.keys()):
            if not isinstance(found[key], Exception):  # what failed there is asked again
                self._give(self._waiting.pop(key)[2], found[key])

    @staticmethod
    def _give(future: asyncio.Future[Any], answer: Any) -> None:
        if future.done():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _fail(self, some: dict[str, tuple[str, dict[str, Any], asyncio.Future[Any]]], error: Exception) -> None:
        for _, _, future in some.values():
            self._give(future, error)


def _id(said: dict[str, Any], name: str) -> str:
    """An id that a server gave.

    Raises:
        RowError: `bad_response`: it is none.
    """
    value = said.get(name)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise RowError("bad_response", f"the server's batch API gave no usable {name}")
    return value


def _form(data: bytes) -> tuple[bytes, str]:
    """A file for a batch as a form, and the form's type."""
    mark = f"panoglot-{hashlib.sha256(data).hexdigest()[:24]}"
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="panoglot.jsonl"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    return head.encode() + data + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"
