"""What a run prints: its steps, what came of them, what failed, and where to go on."""

from __future__ import annotations

import sys
from typing import Any

from panoglot.cli._captioned import show_forecast
from panoglot.cli._shown import console, safe, show_notes, words_to_find
from panoglot.errors import command, many
from panoglot.running._progress import price_text
from panoglot.table import LEFT_OUT, NO_FACT, picture_names
from panoglot.table._visible import terminal

__all__ = ["show_run"]

_REASONS = 8  # that are named


def show_run(result: Any, max_reject_rate: float = 1.0) -> int:
    from rich.table import Table

    out = console()
    if result is None:
        out.print("Nothing is rejected.")
        return 0
    if result.forecast is not None:
        return show_forecast(result.forecast)
    table = Table(box=None, pad_edge=False)
    for name in ("step", "done", "before", "rejected", "seconds", "tokens", "price"):
        table.add_column(name, justify="left" if name == "step" else "right")
    for stage in result.stages:
        tokens = stage.spent.tokens_in + stage.spent.tokens_out
        table.add_row(
            stage.name,
            f"{stage.done:,}",
            _before(stage),
            f"{stage.rejected:,}" if stage.rejected else "",
            f"{stage.seconds:.1f}",
            f"{tokens:,}" if tokens else "",
            price_text(stage.spent.price) if stage.spent.price != 0 else "",
        )
    out.print(table)
    data = result.dataset
    kept, dropped = (data.captions.count(f"{NO_FACT} and dropped is {which}") for which in ("null", "not null"))
    left_out = data.marks.count(LEFT_OUT)
    images = many(len(data.images), "image") + (f" ({left_out:,} dropped)" if left_out else "")
    out.print(f"\n{safe(data.address)}: {images}, {many(kept, 'caption')} kept, {dropped:,} dropped")
    paid = [row["price"] for row in data.runs.rows(["price"], "status != 'running'")]
    total = None if None in paid else sum(paid)
    if total is None or total - (result.spent.price or 0.0) > 1e-9:
        out.print(f"Paid in all runs: {price_text(total)}")
    for one in result.not_made:
        print(f"panoglot: {terminal(str(one).rstrip('.'))}.", file=sys.stderr)
    if result.stopped:
        out.print(result.stopped)
    for remark in result.remarks:
        out.print(safe(remark))
    if not result.erased:
        again = command("forget", data.address)
        print(f"panoglot: bytes of what was forgotten are still on the disk; to erase them: {again}", file=sys.stderr)
    _show_rejects(data, out)
    if result.report:
        out.print(f"Report: {safe(result.report)}")
    if data.vector_names():
        out.print(safe(f"Search: {command('search', data.address, words_to_find(data))}"))
    if result.problem:
        print(f"panoglot: {terminal(result.problem)}", file=sys.stderr)
        return 3
    if result.reject_rate > max_reject_rate:
        print(f"panoglot: {result.reject_rate:.1%} of a step's rows were rejected.", file=sys.stderr)
        return 3
    if result.opted_out:
        show_notes([result.opted_out])
    return 3 if result.no_language else 0


def _before(stage: Any) -> str:
    """What was done before: of a source pictures that were read again, and parts that were passed over unread."""
    if stage.name != "ingest":
        return f"{stage.skipped:,}" if stage.skipped else ""
    again = stage.notes.get("read_again", 0)
    return ", ".join(many(n, what) for n, what in ((again, "picture{s}"), (stage.skipped, "unchanged part{s}")) if n)


def _show_rejects(data: Any, out: Any) -> None:
    """The open rejects by reason, the commonest first, each with its first items: files, or what they are known by."""
    from collections import Counter

    from panoglot.recipes._outcome import item_name

    rows = data.rejects.read(["item", "reason"], "resolved is null").to_pylist()

    def named(reason: str, count: int) -> str:
        items = sorted((row["item"] for row in rows if row["reason"] == reason), key=item_name)[:3]
        names = picture_names(data, items)
        return ", ".join(names.get(item) or item_name(item) for item in items) + (" …" if count > 3 else "")

    counts = Counter(row["reason"] for row in rows)
    if count := counts.pop("opted_out", 0):
        out.print(safe(f"{many(count, 'picture{s} {was}')} not taken, opted out: {named('opted_out', count)}"))
    if counts:
        out.print(safe(f"{many(counts.total(), 'reject')}: {command('retry', data.address)}"))
    for reason, count in counts.most_common(_REASONS):
        out.print(safe(f"  {count:>6,}  {reason}: {named(reason, count)}"))
    if len(counts) > _REASONS:
        rest = sum(count for _, count in counts.most_common()[_REASONS:])
        told = command("report", data.address, "--open")
        out.print(safe(f"  {rest:>6,} for {many(len(counts) - _REASONS, 'other reason')}: {told}"))
