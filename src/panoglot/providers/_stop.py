"""Told to stop: nothing new is asked, what is under way has a stated time to come in and be stored.

The runner sets it on Ctrl-C and SIGTERM (`stopping`); those who ask look at it before every request.
"""

from __future__ import annotations

import os
import threading
import time

from panoglot.errors import Stopped

__all__ = ["begin", "came", "end", "given_up", "grace", "refuse_when_stopping", "said", "stopping", "time_left"]

_LOCK = threading.RLock()  # a signal may come while it is held
_SINCE: float | None = None
_CAME = _GIVEN_UP = 0


def grace() -> float:
    """Seconds that answers under way get after a stop: `PANOGLOT_STOP_SECONDS`, else 10.

    >>> grace()
    10.0
    """
    try:
        return max(0.0, float(os.environ.get("PANOGLOT_STOP_SECONDS", "10")))
    except ValueError:
        return 10.0


def begin() -> None:
    """Tell everybody in this process to stop; again changes nothing."""
    global _SINCE
    with _LOCK:
        _SINCE = _SINCE or time.monotonic()


def end() -> None:
    """The stop is over: what is begun from now on runs."""
    global _SINCE, _CAME, _GIVEN_UP
    with _LOCK:
        _SINCE, _CAME, _GIVEN_UP = None, 0, 0


def came() -> None:
    """Note an answer that is stored; those after the stop are counted."""
    global _CAME
    with _LOCK:
        _CAME += stopping()


def given_up(count: int) -> None:
    """Note questions whose answers did not come in time."""
    global _GIVEN_UP
    with _LOCK:
        _GIVEN_UP += count if stopping() else 0


def said() -> str:
    """What became of the answers under way, as the beginning of a sentence."""
    if not _CAME and not _GIVEN_UP:
        return ""
    late = f", {_GIVEN_UP:,} did not come within {grace():g} s" if _GIVEN_UP else ""
    came_in = "1 answer that was" if _CAME == 1 else f"{_CAME:,} answers that were"
    return f"{came_in} under way came in and {'is' if _CAME == 1 else 'are'} stored{late}; "


def stopping() -> bool:
    """Whether nothing new may be asked."""
    return _SINCE is not None


def time_left() -> float:
    """Seconds that what is under way still has; infinite while nobody stops."""
    since = _SINCE
    return float("inf") if since is None else max(0.0, since + grace() - time.monotonic())


def refuse_when_stopping() -> None:
    """Raise `Stopped` when nothing new may be asked."""
    if stopping():
        raise Stopped("the run was told to stop; what was not asked stays pending")
