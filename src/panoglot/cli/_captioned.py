"""What `caption` and `translate` print: what was written, dropped and fell back; before a run what it would cost."""

from __future__ import annotations

import math
import sys
from typing import Any

from panoglot.cli._shown import console, safe
from panoglot.errors import many
from panoglot.running._progress import price_text
from panoglot.table._visible import terminal

__all__ = ["need_line", "show_captioning", "show_forecast"]


def show_captioning(result: Any, max_reject_rate: float = 1.0) -> int:
    """Print what a run of methods did, or would do; the exit code."""
    from panoglot.cli._ran import show_run

    if hasattr(result, "steps"):
        return show_forecast(result)
    if hasattr(result, "methods"):
        return _show_comparison(result)
    out = console()
    for line in result.made.lines():
        out.print(safe(line))
    done = [stage for stage in result.stages if stage.done]
    for stage in done:
        price = None if stage.spent.price is None else stage.spent.price / stage.done * 1000
        cost = f", {price_text(price)}" if price != 0 else ""
        took = _time(stage.seconds / stage.done * 1000)
        out.print(safe(f"{stage.name}: 1,000 rows take {took}{cost} (measured on {stage.done:,})"))
    before = sum(stage.skipped for stage in result.stages)
    if not done and before and not result.rejected:
        out.print(f"Nothing was left to do: {many(before, 'row{s} {was}')} done before.")
    if result.made.captions or result.made.measured or result.made.facts or done:
        out.print()
    return show_run(result, max_reject_rate)


def _show_comparison(found: Any) -> int:
    from rich.table import Table

    out = console()
    table = Table(box=None, pad_edge=False)
    for name in ("method", "kept", "dropped", "failed", "price of 1,000", "time of 1,000"):
        table.add_column(name, justify="left" if name == "method" else "right")
    names = list(dict.fromkeys(name for one in found.methods for name in one.scores))
    for name in names:
        table.add_column(name, justify="right")
    for one in found.methods:
        scores = [one.scores.get(name, (None,))[0] for name in names]
        cells = [f"{len(one.kept):,}", f"{len(one.dropped):,}", f"{len(one.problems):,}"]
        cells.append("" if one.recalled else price_text(one.price))
        cells.append("" if one.seconds is None else _time(one.seconds))
        table.add_row(safe(one.name), *cells, *("" if value is None else f"{value:.3g}" for value in scores))
    out.print(table)
    out.print(safe(f"\n{many(len(found.images), 'picture')}, side by side: {found.path} (nothing is in the dataset)"))
    if found.not_asked:
        left = ", ".join(f"{name} {count:,}" for name, count in found.not_asked.items())
        more = "with a higher --max-cost the same command goes on, and pays nothing twice"
        out.print(safe(f"Stopped at --max-cost ({price_text(found.spent.price)} paid); not asked: {left}; {more}."))
    if found.problem:
        print(f"panoglot: {terminal(found.problem)}", file=sys.stderr)
        return 3
    return 0


def show_forecast(found: Any) -> int:
    """Print what would be read, asked and paid; the exit code."""
    out = console()
    unread = found.unread
    if unread is not None:
        before = f"; {many(unread.read, 'part{s} {was} read before')}" if unread.read else ""
        more = f", and in {many(unread.uncounted, 'more')} that say not how many" if unread.uncounted else ""
        parts = many(unread.parts, "part")
        out.print(safe(f"ingest: about {many(unread.pictures, 'picture')} to read in {parts}{more}{before}"))
    for step in found.steps:
        rows = found.rows(step)
        before = f", {step.before:,} are done" if step.before else ""
        failing = f", {step.failing:,} failed before" if step.failing else ""
        out.print(safe(f"{step.stage}: {many(rows, 'row')} to do{before}{failing}"), soft_wrap=True)
        for need in step.needs:
            out.print(f"  {safe(need_line(need, rows))}", soft_wrap=True)
        if step.measured:
            paid = f", {price_text(step.paid)}" if step.paid is not None else ""
            out.print(f"  measured here on {many(step.measured, 'row')}: 1,000 take {_time(step.seconds)}{safe(paid)}")
        elif rows:
            out.print("  how long it takes is not known before a trial: --limit 20")
        for note in step.notes:
            out.print(f"  {safe(note)}")
    price, seconds = found.price, found.seconds
    rows = sum(found.rows(step) for step in found.steps)
    if rows:
        took = "" if seconds is None else f", about {_time(seconds)}"
        unknown = "; a price that is not known is no $0: --prices FILE" if price is None else ""
        most = f"at most {price_text(price)}"
        most = most if found.whole else f"{most} for what is counted here, and more for what is not"
        out.print(f"In all: {most}{took}{unknown}. Nothing was asked or written.")
        return 0
    if unread is not None and unread.parts:
        out.print("No model that costs is asked. Nothing was read or written.")
        return 0
    done = sum(step.before for step in found.steps)
    if not done:
        print(f"panoglot: nothing in {terminal(found.dataset.address)} would be taken.", file=sys.stderr)
        return 3
    out.print("Nothing is left to do.")
    return 0


def need_line(need: Any, rows: int) -> str:
    """What a model is asked for so many rows, in words; `need` is for 1,000."""
    asked, images, read, written = (
        math.ceil(one * rows / 1000) for one in (need.asked, need.images, need.tokens_in, need.tokens_out)
    )
    said = f"{need.model}: {many(asked, 'question')} for {many(rows, 'row')}"
    if read:
        pictures = f" with {many(images, 'picture')}" if images else ""
        said += f"{pictures}, about {read:,} tokens read, at most {written:,} written"
    if need.price != 0:
        said += f": at most {price_text(None if need.price is None else need.price * rows / 1000)}"
    return said


def _time(seconds: float) -> str:
    """Wall time as people say it.

    >>> _time(3.21), _time(75), _time(7300)
    ('3.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
