"""`show --why`: where a caption comes from, step by step through its parents: the last step first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from panoglot.reporting._text import number
from panoglot.table import Caption
from panoglot.table._visible import plain

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["chains"]


def chains(captions: Sequence[Caption], image: str) -> list[Text]:
    """Say of every kept caption of an image what it was made of, and of that again; drafts and what was dropped too.

    Args:
        captions: all texts of the image, and their parents elsewhere.
        image: its id.
    """
    from rich.text import Text

    known = {one.caption_id: one for one in captions}
    lines: list[Text] = []
    for caption in captions:
        if caption.image_id != image or caption.dropped is not None or caption.kind == "fact":
            continue
        if lines:
            lines.append(Text(""))
        lines.append(Text.assemble((plain(caption.text), "bold"), (f"  {caption.lang}", "cyan")))
        _steps(caption, known, lines, "", {caption.caption_id})
    return lines


def _steps(caption: Caption, known: dict[str, Caption], lines: list[Text], indent: str, seen: set[str]) -> None:
    """How one caption came about, then each of its parents below it."""
    from rich.text import Text

    lines.append(Text.assemble((f"{indent}  {_how(caption)}", "dim")))
    for n, parent in enumerate(caption.parents, 1):
        key = str(parent)
        source = known.get(key)
        number_ = f"{n}. " if len(caption.parents) > 1 else ""
        if source is None:
            lines.append(Text(f"{indent}  from {number_}{plain(key[:12])}, which is not in this dataset", style="red"))
            continue
        why = {None: "", "draft": "  (draft)"}.get(source.dropped, f"  (dropped: {plain(str(source.dropped))})")
        again = key in seen
        lines.append(
            Text.assemble(
                (f"{indent}  from {number_}", "dim"),
                plain(source.text),
                (f"  {source.lang}", "cyan"),
                (why, "red"),
                ("  (see above)" if again and source.parents else "", "dim"),
            )
        )
        if not again:
            seen.add(key)
            _steps(source, known, lines, f"{indent}     ", seen)
        elif not source.parents:
            lines.append(Text(f"{indent}       {_how(source)}", style="dim"))


def _how(caption: Caption) -> str:
    """Who made it, by what, how it scored, and where in the picture it is about."""
    given = not caption.model and not caption.parents
    said = [f"given ({caption.recipe or caption.kind})" if given else f"by {caption.recipe.partition('/')[0] or '?'}"]
    if caption.model:
        said.append(f"with {caption.model}")
    if caption.author:
        said.append(f"of {caption.author}")
    if caption.scores:
        said.append(", ".join(f"{name} {number(value)}" for name, value in sorted(caption.scores.items())))
    if caption.region:
        box = caption.region
        said.append(f"box {box.x0:.2f} {box.y0:.2f} {box.x1:.2f} {box.y1:.2f}")
    return plain(" · ".join(said))
