"""What the commands around search print."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any

from cyclopts import Parameter

from panoglot.errors import command, many
from panoglot.table._visible import json_line, terminal

__all__ = [
    "as_hits",
    "console",
    "plain_json",
    "safe",
    "show_edit",
    "show_forgotten",
    "show_hits",
    "show_index",
    "show_notes",
    "words_to_find",
]


def console() -> Any:
    from rich.console import Console

    terminal = sys.stdout.isatty()  # in a pipe nothing is cut at 80 columns
    # `openai:m:` and a caption's `:cat:` are no emoji
    return Console(emoji=False, highlight=False, soft_wrap=not terminal, width=None if terminal else 240)


def show_notes(notes: Iterable[str]) -> None:
    """Print what is worth knowing, and no failure."""
    for note in notes:
        print(f"note: {terminal(note)}", file=sys.stderr)


def safe(text: object) -> str:
    """A text for rich's markup, with nothing in it that steers the terminal."""
    from rich.markup import escape

    return escape(terminal(text))


def plain_json(value: Any) -> str:
    from dataclasses import asdict, is_dataclass

    plain = value.to_dict() if hasattr(value, "to_dict") else asdict(value) if is_dataclass(value) else value  # type: ignore[arg-type]
    return json_line(json.dumps(plain, ensure_ascii=False, default=str))


def as_hits(
    *,
    json: Annotated[bool, Parameter(help="Print JSON, one object a line.")] = False,
    paths: Annotated[bool, Parameter(help="Print where the pictures came from, one a line.", negative=())] = False,
    explain: Annotated[
        bool,
        Parameter(
            help="Say how the query was read and which part found what; with --json print the plan, for --plan.",
            negative=(),
        ),
    ] = False,
) -> None: ...


def show_hits(hits: Any, json: bool = False, paths: bool = False, explain: bool = False) -> None:
    from rich.table import Table

    from panoglot.languages import language_name

    show_notes(getattr(hits, "notes", ()))
    if explain and json:
        print(json_line(hits.plan.to_json()) if hits.plan else "{}")
        return
    if paths:
        for hit in hits:
            print(terminal(hit.uri or hit.image_id))
        return
    if json:
        for hit in hits:
            print(plain_json(hit))
        return
    out = console()
    if explain and hits.plan is not None:
        _show_plan(hits.plan, out)
    if not hits:
        out.print("Nothing found.")
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column()
    lang = getattr(hits, "lang", "und")
    for hit in hits:
        said = hit.told(lang)
        text = f"{safe(said[0].text)} [dim]{safe(language_name(said[0].lang))}[/dim]" if said else ""
        others = len({c.lang for c in said} - {c.lang for c in said[:1]})
        more = f" [dim]+{others} languages[/dim]" if others > 1 else ""
        table.add_row(f"{hit.score:.3f}", hit.image_id[:12], safe(hit.name), text + more)
        if explain:
            table.add_row("", "", "", f"[dim]{safe(_why(hit))}[/dim]")
    out.print(table)
    tell = (
        command("show", hits[0].dataset.address, hits[0].image_id[:12])
        if hits[0].dataset
        else "panoglot show DATASET ID"
    )
    out.print(f"[dim]{safe(tell)} tells all about a picture; --json gives whole paths and texts.[/dim]")


def _show_plan(plan: Any, out: Any) -> None:
    """The plan as text."""
    out.print(f"[bold]{safe(plan.preset)}[/bold]" + (" (a fallback)" if plan.fallback_used else ""))
    for line in plan.explain:
        out.print(f"  {safe(line)}")
    signed = [("+", term) for term in plan.positives] + [("-", term) for term in plan.negatives]
    signed += [(f"condition {n}", term) for n, group in enumerate(plan.conditions, 1) for term in group]
    for sign, term in signed:
        what = term.value if term.kind == "text" else f"the {term.kind} {getattr(term.value, 'id', term.value) or ''}"
        out.print(f"  {sign} {term.weight:g} {safe(what)}")
    for one in plan.propositions:
        out.print(f"  ? {safe(one.question)} {'yes' if one.expected else 'no'}")


def _why(hit: Any) -> str:
    """Which part found a hit, in words."""
    said = []
    for name, part in hit.parts.items():
        line = f"{name} {part['score']:.3f} (rank {part['rank']}, {part['value']:.3f})"
        if part.get("words"):
            line += f" {', '.join(part['words'])} in “{part['caption'][:80]}”"
        elif name == "passage":
            line += f" “{terminal(part['caption'][:80])}”"
        terms = part.get("terms") or {}
        if len(terms) > 1:
            line += " = " + " ".join(f"{key} {value:+.3f}" for key, value in terms.items())
        said.append(line)
    return "; ".join(said)


def show_index(done: Any) -> None:
    if done.vectors == "passages":
        print(f"Captions, token by token: {done.captions:,} encoded now, {done.before:,} were there.")
        if done.left_out:
            print(f"Left out, for the model has no adapter: {done.left_out}.")
        return
    if done.measured:
        had = f", {done.before:,} had one before" if done.before else ""
        print(f"Captions: {done.captions:,} of the most telling ones have a vector now{had}; a picture has one.")
        print("Measured how near made-up words come: what nothing fits finds nothing.")
    if done.views:
        print(f"Views: {done.views:,} vectors of parts of pictures.")
    if done.words:
        print("Words of captions: up to date.")
    exact = "Vectors: no index is needed, search compares them all."
    print({"exact": exact, "built": "Vectors: index built.", "updated": "Vectors: index updated."}[done.vectors])


def show_edit(done: Any, json: bool = False) -> None:
    if json:
        print(plain_json(done))
        return
    kept = f"{done.caption_id[:12]} {done.lang}: {terminal(done.text)}" if done.caption_id else ""
    gone = f"dropped {done.replaced[:12]}" if done.replaced else ""
    print("; ".join(part for part in (kept, gone) if part) or "Nothing changed.")


def show_forgotten(done: Any, json: bool = False) -> int:
    if json:
        print(plain_json(done))
    elif done.dry_run:
        print(
            f"{many(done.images, 'picture')} and {many(done.captions, 'caption')} would be forgotten. Nothing was done."
        )
        return 0
    elif done.undone:
        marks = many(done.undone, "mark{s} {is}")
        print(f"{marks} taken away: what a later build finds of these is read again.")
    elif done.images or not done.erased:
        print(f"{many(done.images, 'picture')} and {many(done.captions, 'caption')} are forgotten.")
    else:
        print("Nothing is left of pictures that were forgotten.")
    if not done.erased:
        print(
            "panoglot: bytes are still on the disk: nothing was erased, or somebody reads or writes.", file=sys.stderr
        )
    return 0


def words_to_find(data: Any) -> str:
    """A caption of the dataset that a search may look for, the same every time: of people first, in English or else the
    language that most are in, a short one of several words."""
    from collections import Counter

    from panoglot.table import KEPT_CAPTION

    columns = ["caption_id", "text", "lang", "kind"]
    rows = data.captions.read(columns, f"{KEPT_CAPTION} and length(text) between 3 and 60", limit=2000).to_pylist()
    kinds = ("human", "alt", "short", "dense", "label")
    rows = [row for row in rows if row["kind"] in kinds and terminal(row["text"]) == row["text"]]
    many = Counter(row["lang"] for row in rows)
    most = max(many.values(), default=0)

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        few = " " not in row["text"].strip()
        count = most + 1 if row["lang"] == "en" and 2 * many["en"] >= most else many[row["lang"]]
        return kinds.index(row["kind"]), -count, row["lang"], few, len(row["text"]), row["caption_id"]

    best = min((row for row in rows if row["text"].isprintable()), key=order, default=None)
    return str(best["text"]).rstrip(" .!。！") if best else "a red bird"
