"""Decoding apart: a process that can be ended, with limits on its memory and time, and used again for the next picture.

Only what is suspicious by its header comes here (`panoglot.pictures._image` decides): a process costs 0.1 s to start
and a copy of the pixels a picture. A limit that is reached is the picture's reject, `decode_timeout` or
`decode_memory`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Any

from panoglot.errors import RowError

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["BYTES", "SECONDS", "guarded"]

#: Most address space of the process, its interpreter and libraries included.
BYTES = 2 * 2**30
#: Most processor seconds for a picture; the clock may run three times as long, as a machine may be busy.
SECONDS = 10.0
#: Pixels that are given another second.
_PIXELS = 10_000_000


class _Broken(Exception):
    """The process ended; what it said last."""


class _Process:
    """One decoder; answers one job at a time."""

    def __init__(self) -> None:
        self.fresh, self.late = True, False
        self.words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        paths = [path for path in sys.path if path]
        code = (
            "import sys, json, runpy; sys.path[:] = json.loads(sys.argv[1]); "
            "runpy.run_path(sys.argv[2], run_name='__main__')"
        )
        self.child = subprocess.Popen(
            [sys.executable, "-I", "-c", code, json.dumps(paths), _program()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.words,
            start_new_session=True,  # Ctrl-C ends the run, and no picture of it
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def ask(self, job: dict[str, Any], data: bytes, seconds: float) -> Any:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        clock = threading.Timer(3 * seconds, self._too_late)
        clock.start()
        try:
            head = {**job, "size": len(data), "bytes": BYTES, "seconds": seconds}
            self.child.stdin.write(json.dumps(head).encode("ascii") + b"\n")
            self.child.stdin.write(data)
            self.child.stdin.flush()
            line = self.child.stdout.readline()
            if not line.endswith(b"\n"):
                raise _Broken
            said = json.loads(line)
            if "reason" in said:
                raise RowError(said["reason"], said["message"] or f"more than {BYTES:,} bytes are needed")
            return _picture(self.child.stdout, said) if "mode" in said else said["value"]
        except OSError:
            raise _Broken from None
        finally:
            clock.cancel()
            self.fresh = False

    def _too_late(self) -> None:
        self.late = True
        self.child.kill()

    def why(self, seconds: float) -> RowError:
        """Why the process ended, as the picture's reject."""
        code = self.child.wait()
        if self.late or code == -getattr(signal, "SIGXCPU", 0):
            return RowError("decode_timeout", f"more than {seconds:g} s are needed")
        with contextlib.suppress(OSError):
            self.words.seek(0)
        words = self.words.read(65_536).decode("utf-8", "replace").strip()
        if code == -signal.SIGKILL or "MemoryError" in words or "memory allocation" in words:
            return RowError("decode_memory", f"more than {BYTES:,} bytes are needed")
        last = words.rpartition("\n")[2][:200]
        return RowError("undecodable", last or f"the decoder ended with {code}")

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.child.kill()
        self.child.wait()
        for file in (self.child.stdin, self.child.stdout, self.words):
            with contextlib.suppress(OSError):
                file.close()  # type: ignore[union-attr]


def _program() -> str:
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "_decoder.py")


def _picture(source: IO[bytes], said: dict[str, Any]) -> PIL.Image.Image:
    import PIL.Image

    width, height, at = said["width"], said["height"], 0
    whole: PIL.Image.Image | None = None
    while at < height:
        size = source.read(4)
        pixels = source.read(struct.unpack(">I", size)[0]) if len(size) == 4 else b""
        rows = len(pixels) // (width * len(said["mode"]))
        if not rows or len(pixels) != rows * width * len(said["mode"]):
            raise _Broken
        band = PIL.Image.frombytes(said["mode"], (width, rows), pixels)
        if rows == height:
            return band
        whole = whole or PIL.Image.new(said["mode"], (width, height))
        whole.paste(band, (0, at))
        at += rows
    assert whole is not None
    return whole


class _Pool:
    """Idle decoders of this process; as many work at once as there are cores."""

    def __init__(self) -> None:
        self.idle: list[_Process] = []
        self.room = threading.BoundedSemaphore(max(1, os.cpu_count() or 1))

    def take(self) -> _Process:
        try:
            return self.idle.pop()
        except IndexError:
            return _Process()

    def end(self) -> None:
        while self.idle:
            self.idle.pop().end()


_pool = _Pool()


def _after_fork() -> None:
    global _pool
    _pool = _Pool()  # the decoders are the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _pool.end())


def guarded(job: str, data: bytes, pixels: int = 0, **options: Any) -> Any:
    """Do a job of `panoglot.pictures._decoder` in a process apart.

    Args:
        job: `facts`, `rgb`, `opacity`, `svg` or `load`.
        data: the encoded picture.
        pixels: how many it has, if that is known: large ones may take longer.
        options: what the job takes.

    Returns:
        What the job returns.

    Raises:
        RowError: the job's own, `decode_timeout`, `decode_memory`, or `undecodable` when the decoder crashed.
    """
    seconds = SECONDS + pixels / _PIXELS
    pool = _pool
    stopped = 0
    with pool.room:
        while True:
            process = pool.take()
            fresh = process.fresh
            try:
                found = process.ask({"job": job, **options}, data, seconds)
            except RowError as error:
                if error.reason != "decode_memory":
                    pool.idle.append(process)
                    raise
                process.end()
                if fresh:
                    raise
            except _Broken:
                reason = process.why(seconds)
                process.end()
                if process.child.returncode in (-signal.SIGINT, -signal.SIGTERM) and stopped < 3:
                    stopped += 1  # a stop came before it was a process apart: no fault of the picture
                    continue
                if fresh or reason.reason == "decode_timeout":
                    raise reason from None
            except BaseException:
                process.end()
                raise
            else:
                pool.idle.append(process)
                return found
            # what earlier pictures left behind may have been the cause: once more in a new process
