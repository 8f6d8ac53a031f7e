"""How `panoglot methods` prints: the table, or one method with what was shown of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from panoglot.inventory import MethodRow
    from panoglot.running import Need

__all__ = ["show_methods"]


def show_methods(rows: Sequence[MethodRow], out: Any, safe: Callable[[Any], str]) -> None:
    """Print methods.

    Args:
        rows: of the table, or of one name.
        out: a console of rich.
        safe: escapes markup and control characters.
    """
    if len({row.name for row in rows}) == 1:
        for n, row in enumerate(rows):
            if n:
                out.print()
            _one(row, out, safe)
        return
    wide = max((len(row.name) for row in rows), default=0)
    room, left = "", out.width - wide - 9  # a line each, on a narrow terminal too
    for row in rows:
        if row.room != room:
            out.print(f"{chr(10) if room else ''}[bold]{row.room}[/bold]")
            room = row.room
        title = row.title if len(row.title) <= left else row.title[: left - 1].rstrip() + "…"
        out.print(f"{_mark(row)} {row.letters} {row.name:<{wide}}  {safe(title)}")
    papers = [row for row in rows if row.paper]
    here, whole = sum(row.done for row in papers), sum(row.complete for row in papers)
    out.print(f"\n{here} of {len(papers)} papers are here: {whole} complete (●), {here - whole} in part (◐); ○ planned")
    out.print("C complete   V its cases are tests   R real data   P the paper's preset")
    out.print("○ with letters: its benchmark alone   panoglot methods NAME: which tests")


def _mark(row: MethodRow) -> str:
    if row.complete:
        return "[green]●[/green]"
    return "[yellow]◐[/yellow]" if row.done else "[dim]○[/dim]"


def _need(need: Need) -> str:
    """What a model is asked, and what that costs by its own price."""
    said = f"{need.model}: {need.asked:,} questions"
    if not need.tokens_in:
        return said
    millions = f"{need.tokens_in / 1e6:.2f} × its price of a million tokens read"
    return f"{said}; at most {millions} + {need.tokens_out / 1e6:.2f} × that of a million written"


def _one(row: MethodRow, out: Any, safe: Callable[[Any], str]) -> None:
    from panoglot.inventory import LETTERS

    out.print(f"{_mark(row)} [bold]{row.name}[/bold] ({row.room}): {safe(row.title)}", soft_wrap=True)
    for label, said in (("paper", row.source), ("use", row.use)):
        if said:
            out.print(f"{label}: {safe(said)}", soft_wrap=True)
    for paragraph in row.text.split("\n\n")[1:]:  # the first line is the title
        out.print(f"\n{safe(' '.join(paragraph.split()))}", soft_wrap=True)
    for label, pairs in (("options", row.options), ("models", row.models)):
        if pairs:
            out.print(f"\n{label}")
        for name, said in pairs.items():
            value, meaning = " ".join(said.split()), row.meanings.get(name, "") if label == "options" else ""
            value = value if len(value) <= 60 or not meaning else value[:60].rstrip() + "…"
            out.print(f"  {name}: {safe(value)}" + (f"  [dim]{safe(meaning)}[/dim]" if meaning else ""), soft_wrap=True)
    if row.needs:
        out.print("\nfor 1,000 pictures, with these options")
        for need in row.needs:
            out.print(f"  {safe(_need(need))}", soft_wrap=True)
    if not row.paper and not row.tests:
        return
    for letter, meaning in LETTERS.items():
        tests = row.tests.get(letter, ())
        if tests or row.paper:
            out.print(f"\n[bold]{letter}[/bold] {meaning}{'' if tests else ' - not shown'}", soft_wrap=True)
        for one in tests:
            out.print(f"  {safe(one.case)}\n    {safe(one.test)}", soft_wrap=True)
