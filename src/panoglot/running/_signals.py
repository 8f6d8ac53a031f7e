"""Ctrl-C and SIGTERM while a stage runs: nothing new is sent, what comes in time is stored, then the run ends.

The engine waits outside of Python, where no handler of a signal runs. So the signal's number goes through a pipe to a
thread, which tells this process (`providers/_stop.py`) and, by a file, its worker processes.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from panoglot.providers import _stop

__all__ = ["Interrupted", "graceful", "mind_the_run"]


#: Seconds that a worker process has to commit what it holds.
WORKER_GRACE = 1.5


class Interrupted(KeyboardInterrupt):
    """The run was told to stop, by Ctrl-C or a signal; what it had is stored.

    Attributes:
        signum: the signal; a shell expects the exit code 128 + signum.
    """

    def __init__(self, signum: int = signal.SIGINT, message: str = "") -> None:
        word = "terminated" if signum == signal.SIGTERM else "interrupted"
        super().__init__(f"{word}; {message}run the same command again to go on.")
        self.signum = signum


@contextmanager
def graceful() -> Iterator[str]:
    """Handle SIGINT and SIGTERM while a stage runs; yields a path: the file there tells workers to stop.

    Raises:
        Interrupted: at the end, when a signal came; in the middle when a second one came.
    """
    # a name that nobody can guess; the file is there only after a signal, so a kill leaves nothing behind
    flag = os.path.join(tempfile.gettempdir(), f"panoglot-stop-{secrets.token_hex(16)}")
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    told: list[int] = []

    def handle(signum: int, frame: FrameType | None) -> None:
        told.append(signum)
        if len(told) > 1:
            raise Interrupted(signum)

    _stop.end()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    listener = threading.Thread(target=_listen, args=(reading, flag), name="signals", daemon=True)
    kept = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    listener.start()
    try:
        try:
            yield flag
        except Exception:
            if not told:
                raise  # else: what fails because it was ended
        if told:
            raise Interrupted(told[0], _stop.said())
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in kept.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        os.close(writing)  # the listener reads the end and goes
        listener.join()
        os.close(reading)
        with suppress(OSError):
            os.unlink(flag)
        _stop.end()


def _listen(reading: int, flag: str) -> None:
    """Act on signals as they come, whatever the main thread does."""
    told, timer = 0, None
    while number := os.read(reading, 1):
        if number[0] not in (signal.SIGINT, signal.SIGTERM):
            continue
        told += 1
        if told == 1:
            _stop.begin()
            with suppress(OSError):
                Path(flag).touch()
                os.write(2, b"\npanoglot: stopping: nothing new is sent; answers under way have ")
                os.write(2, f"{_stop.grace():g} s to come in (again: end at once).\n".encode())
            timer = threading.Timer(_stop.grace() + 5, _leave, (number[0],))
            timer.daemon = True
            timer.start()  # something under way does not look whether it should stop
        else:
            _leave(number[0])
    if timer is not None:
        timer.cancel()


def _leave(signum: int) -> None:
    """End at once, unless somebody else's program runs here: a notebook is not ended for a stage of ours."""
    if "panoglot.cli" in sys.modules:
        os._exit(128 + signum)


def mind_the_run(parent: int, flag: str, seconds: float = 0.25) -> None:
    """In a worker process: end when the run that began it is gone, stop when it stops; Ctrl-C is the run's matter.

    A worker computes, it asks nobody: after a stop it has `WORKER_GRACE` seconds to commit what it holds.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    never = threading.Event()

    def watch() -> None:
        while os.getppid() == parent:
            if os.path.exists(flag):
                _stop.begin()
                never.wait(WORKER_GRACE)
                break
            never.wait(seconds)
        os._exit(1)

    threading.Thread(target=watch, name="run", daemon=True).start()
