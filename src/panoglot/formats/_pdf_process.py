"""Reads a PDF through a program apart, which is started again after a page that it could not get over."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from panoglot.errors import RowError

__all__ = ["read_document"]

#: Most address space of the program, and processor seconds for opening a file and for each page.
BYTES, SECONDS = 3 * 2**30, 20.0
_MOST_STARTS = 20
_LONGEST = 2**30  # bytes of a record


def read_document(path: str, **options: Any) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What the program says of a PDF: `document`, `text` of every page, `figure` and `done` of some, `end`.

    A page that ends the program is a record `lost` with why.

    Args:
        path: the file.
        options: `pages`, `dpi`, `min_side`, as `panoglot.formats.pdf` has them.

    Raises:
        RowError: `encrypted`, `bad_document`, and what ended the program before the first page.
    """
    job = {**options, "path": path, "text_from": 0, "from": 0, "wanted": [], "bytes": BYTES, "seconds": SECONDS}
    told = False  # the document was
    for _ in range(_MOST_STARTS):
        stage, at = ("text_from", job["text_from"]) if job["text_from"] is not None else ("from", job["from"])
        with _started({**job, "text_from": 2**31 if job["text_from"] is None else job["text_from"]}) as program:
            for record, data in _records(program.stdout):
                kind, page = record["kind"], record.get("page", 0)
                if kind == "failed":
                    raise _refused(record)
                if kind == "document":
                    if told:
                        continue
                    told, pages = True, record["pages"]
                elif kind == "text":
                    at = page + 1
                    if record["figures"] or job["pages"] == "all":
                        job["wanted"].append(page)
                elif kind in ("figure", "reject", "done"):
                    stage = "from"
                    at = page + 1 if kind == "done" else page
                yield record, data
                if kind == "end":
                    return
            why = _why(program)
        if not told:
            raise why
        if stage == "text_from" and at >= pages:
            stage, at = "from", next(iter(job["wanted"]), 0)  # it ended in the first page with figures
        if stage == "from":
            at = next((page for page in job["wanted"] if page >= at), at)
            job["text_from"] = None
        yield {"kind": "lost", "page": at, "reason": why.reason, "message": why.message}, b""
        job[stage] = at + 1
    yield {"kind": "lost", "page": at, "reason": "bad_document", "message": "too many pages end the reader"}, b""


@contextlib.contextmanager
def _started(job: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as words:
        code = (
            "import sys, json; sys.path[:] = json.loads(sys.argv.pop()); from panoglot.formats import _pdf_program as p"
        )
        program = subprocess.Popen(
            [sys.executable, "-I", "-c", f"{code}; p.main()", json.dumps(job), json.dumps(sys.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            start_new_session=True,  # Ctrl-C ends the run, and no page of it
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        program.words = words  # type: ignore[attr-defined]
        try:
            yield program
        finally:
            program.kill()
            program.wait()
            assert program.stdout is not None
            program.stdout.close()


def _records(source: IO[bytes] | None) -> Iterator[tuple[dict[str, Any], bytes]]:
    assert source is not None
    while (line := source.readline()).endswith(b"\n"):
        record = json.loads(line)
        data = source.read(min(record["size"], _LONGEST))
        if len(data) < record["size"]:
            return
        yield record, data


def _refused(record: dict[str, Any]) -> RowError:
    if record["locked"]:
        return RowError(
            "encrypted", "it needs a password: qpdf --decrypt --password=… IN.pdf OUT.pdf makes one without"
        )
    return RowError("bad_document", record["message"])


def _why(program: subprocess.Popen[bytes]) -> RowError:
    """Why the program ended before its end."""
    code = program.wait()
    words: IO[bytes] = program.words  # type: ignore[attr-defined]
    words.seek(0)
    said = words.read(65_536).decode("utf-8", "replace").strip()
    if code == -getattr(signal, "SIGXCPU", 0):
        return RowError("decode_timeout", f"the page takes more than {SECONDS:g} s")
    if code == -signal.SIGKILL or "MemoryError" in said or "bad_alloc" in said:
        return RowError("decode_memory", f"the page takes more than {BYTES:,} bytes")
    return RowError("bad_document", f"the reader ended with {code}: {said.rpartition(chr(10))[2][:200]}")
