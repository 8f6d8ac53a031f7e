"""Progress on a terminal: rate, rejects, remaining time, price; one line a stage when piped."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # whoever writes a price loads no runner
    from panoglot.running._stage import StageResult

__all__ = ["Progress", "price_text"]


#: Seconds between lines of a stage where there is no terminal.
EVERY = 60.0


def price_text(price: float | None) -> str:
    """Write US dollars; `$?` when a model's price is not known.

    >>> price_text(0), price_text(12.5), price_text(0.00042), price_text(None)
    ('$0', '$12.50', '$0.00042', '$?')
    """
    if price is None or price != price:
        return "$?"
    if price == 0:
        return "$0"
    return f"${price:,.2f}" if price >= 0.1 else f"${price:.2g}" if price >= 1e-6 else "< $0.000001"


class Progress:
    """A bar for one stage; a context manager.

    Args:
        name: of the stage.
        total: items, when known.
        quiet: nothing is shown; None shows a bar on a terminal, and elsewhere a line when the stage ends, and one a
            minute while it runs.
    """

    def __init__(self, name: str, total: int | None, *, quiet: bool | None = None) -> None:
        self.name, self.total = name, total
        self._quiet = not sys.stderr.isatty() if quiet is None else quiet
        self._lines = quiet is None and self._quiet
        self._bar: Any = None
        self._seen, self._said, self._at = (0, 0), 0.0, 0
        self._shown = 0  # items that are done in batches that are not

    def __enter__(self) -> Progress:
        if not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description:<22}"),
                BarColumn(24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True, emoji=False),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.name, total=self.total, rate="", note="")
        self._started = time.monotonic()
        return self

    def update(self, advance: int, result: StageResult) -> None:
        """Advance by some items."""
        self._seen = result.done, result.rejected
        if self._lines and time.monotonic() - max(self._said, self._started) > EVERY:
            self._say("so far")
        if self._bar is None:
            return
        seen = result.done + result.rejected
        rate = f"{seen / max(1e-9, time.monotonic() - self._started):,.1f}/s"
        notes = [f"{result.rejected} rejects"] if result.rejected else []
        if result.spent.price != 0:
            notes.append(price_text(result.spent.price))
        self._at += advance
        self._bar.update(self._task, completed=max(self._at, self._shown), rate=rate, note="  ".join(notes))

    def reach(self, done: int) -> None:
        """Show that so many items are done, before the batch that they are in is."""
        if self._lines and done > sum(self._seen):
            self._seen = done, self._seen[1]
            if time.monotonic() - max(self._said, self._started) > EVERY:
                self._say("so far")
        if self._bar is not None and done > max(self._at, self._shown):
            self._shown = done
            rate = f"{done / max(1e-9, time.monotonic() - self._started):,.1f}/s"
            self._bar.update(self._task, completed=done, rate=rate)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._lines and kind is None and any(self._seen):
            self._say("done")

    def _say(self, how: str) -> None:
        self._said = time.monotonic()
        done, rejected = self._seen
        of = f" of {self.total:,}" if self.total and how != "done" else ""
        lost = f", {rejected:,} rejected" if rejected else ""
        seconds = self._said - self._started
        print(f"{self.name}: {done:,}{of} {how}{lost}, {seconds:,.1f} s", file=sys.stderr, flush=True)
