"""`show`: one image, its texts as a provenance tree, what was decided about it."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, verb
from panoglot.pictures import Image
from panoglot.reporting._text import bytes_text, number, words
from panoglot.reporting._why import chains
from panoglot.table import Caption, Dataset, caption_to_row, find_image, open_dataset, picture_name, plain_rows, sql_in
from panoglot.table._visible import plain

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text
    from rich.tree import Tree

__all__ = ["Shown", "show"]

#: Most ratings that are printed of a picture.
MOST_RATINGS = 20


@dataclass
class Shown:
    """All that a dataset knows about one image. Print it, or take `to_dict()`.

    Attributes:
        image: its row in `images` without the bytes.
        marks: scores of the image and why it was dropped (`scores`, `dropped`), or empty.
        captions: every text, dropped ones and drafts too, by language and id; parents of other images among them.
        vectors: encoder to the number of vectors of the image or its captions.
        rejects: rows of `rejects` that concern it.
        facts: what models saw: rows of `facts`, by kind.
        ratings: what was thought of its captions, and of one against another: rows of `ratings`.
        searched: whose vectors a search takes, see `panoglot settings`.
        why: print where every kept caption comes from, step by step, in place of the tree.
        picture: the picture itself; a notebook shows it.
    """

    image: dict[str, Any]
    marks: dict[str, Any] = field(default_factory=dict)
    captions: list[Caption] = field(default_factory=list)
    vectors: dict[str, int] = field(default_factory=dict)
    rejects: list[dict[str, Any]] = field(default_factory=list)
    searched: str | None = None
    facts: list[dict[str, Any]] = field(default_factory=list)
    ratings: list[dict[str, Any]] = field(default_factory=list)
    why: bool = False
    picture: Image | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        names = ("image", "marks", "vectors", "rejects", "searched", "facts", "ratings")
        return {name: getattr(self, name) for name in names} | {"captions": [caption_to_row(c) for c in self.captions]}

    def _repr_html_(self) -> str:
        shown = self.picture._repr_png_() if self.picture else None
        data = base64.b64encode(shown).decode() if shown else ""
        img = f'<img src="data:image/png;base64,{data}" alt="">' if data else ""
        return f"{img}<pre>{escape(str(self))}</pre>"

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=100, emoji=False, color_system=None, force_terminal=False)
        with console.capture() as capture:
            console.print(self)
        return capture.get().rstrip("\n")

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        facts = [c for c in self.captions if c.kind == "fact" and c.dropped is None]
        texts = [c for c in self.captions if c not in facts]
        parts: list[RenderableType] = [_facts(self.image, self.marks, facts)]
        if self.facts:
            parts += [Text(""), _seen(self.facts)]
        if self.ratings:
            parts += [Text(""), _rated(self.ratings, {c.caption_id: c.text for c in self.captions})]
        if texts and self.why:
            parts += [Text(""), *chains(self.captions, self.image["image_id"])]
        elif texts:
            parts += [Text(""), _tree(texts, self.image["image_id"])]
        else:
            parts += [Text(""), Text("no text about it yet", style="dim")]
        if self.vectors:
            listed = ", ".join(
                f"{name} ({count}{', searched' if name == self.searched and len(self.vectors) > 1 else ''})"
                for name, count in self.vectors.items()
            )
            parts += [Text(""), Text.assemble(("vectors  ", "dim"), plain(listed))]
        for row in self.rejects:
            state = "mended later" if row["resolved"] else "failing"
            said = f"{row['stage']}  {words(row['reason'] or '')}  {row['message'] or ''} ({state})"
            parts.append(Text.assemble(("reject   ", "red"), plain(said)))
        return Group(*parts)


def _facts(image: dict[str, Any], marks: dict[str, Any], facts: list[Caption]) -> Text:
    from rich.text import Text

    rows = [
        ("image", image["image_id"]),
        *([("name", picture_name(image["uri"], image["context"]))] if "#" in (image["uri"] or "") else []),
        ("from", image["uri"] or "–"),
        ("picture", f"{image['width']} × {image['height']} {image['format']}, {bytes_text(image['size'])}"),
    ]
    if image["group"]:
        at = "" if image["time"] is None else f" at {number(image['time'])}"
        rows.append(("group", f"{image['group']}{at}"))
    if image["context"] not in (None, "", "{}"):
        rows.append(("context", image["context"][:300]))
    rows += [("measured", fact.text) for fact in facts]
    if marks.get("scores"):
        rows.append(("scores", _scores(marks["scores"])))
    text = Text("\n").join(Text.assemble((f"{name:<9}", "dim"), plain(value)) for name, value in rows)
    if marks.get("dropped"):
        text.append("\n").append(f"{'dropped':<9}{plain(marks['dropped'])}", "red")
    return text


def _seen(facts: list[dict[str, Any]]) -> Text:
    """What models saw, a line a kind."""
    from rich.text import Text

    kinds: dict[str, list[str]] = {}
    for row in facts:
        kinds.setdefault(row["kind"], []).append(row["text"] or number(row["value"]))
    wide = max(9, *(len(kind) + 2 for kind in kinds)) if kinds else 9
    lines = [Text.assemble((f"{plain(k):<{wide}}", "dim"), plain(", ".join(values))) for k, values in kinds.items()]
    return Text("\n").join([Text("facts", style="bold"), *lines])


def _ratings(data: Dataset, ids: list[str]) -> list[dict[str, Any]]:
    """Ratings of these rows, by criterion."""
    if not data.ratings.exists():
        return []
    rows = data.ratings.rows(where=sql_in("item", ids))
    return sorted(rows, key=lambda row: (row["criterion"] or "", row["rating_id"]))


def _rated(ratings: list[dict[str, Any]], texts: dict[str, str]) -> Text:
    """What was thought of captions, a line each: by which criterion, by whom, of which against which."""
    from rich.text import Text

    lines = [Text("ratings", style="bold")]
    for row in ratings[:MOST_RATINGS]:
        one, other = (texts.get(row[name] or "", "") for name in ("item", "against"))
        start = _alike(one, other) if row["against"] else 0
        said = f"{_short(one, start)}  {number(row['value'])}"
        if row["against"]:
            value = row["value"]
            than = "is held equal to" if value == 0.5 else f"is {'better' if value > 0.5 else 'worse'} than"
            said = f"{_short(one, start)} {than} {_short(other, start)}"
        by = f"by {row['rater']}" if row["rater"] else ""
        lines.append(
            Text.assemble((f"{plain(row['criterion'] or '–'):<12}", "dim"), plain(said), "  ", (plain(by), "dim"))
        )
    if len(ratings) > MOST_RATINGS:
        lines.append(Text(f"and {len(ratings) - MOST_RATINGS:,} more", style="dim"))
    return Text("\n").join(lines)


def _short(text: str, start: int = 0, most: int = 40) -> str:
    cut = text[start : start + most]
    return f"“{'…' if start else ''}{cut}{'…' if len(text) > start + most else ''}”" if text else "the picture"


def _alike(one: str, other: str, most: int = 30) -> int:
    """Where two texts are to be shown from, so that what tells them apart is seen: a word before it, if it is late."""
    same = next((n for n, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    return 0 if same < most else one.rfind(" ", 0, max(0, same - 8)) + 1


def _scores(scores: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in sorted(scores.items()))


def _tree(captions: list[Caption], image: str) -> Tree:
    """Texts that were made from no other at the top; under each what was made from it."""
    from rich.text import Text
    from rich.tree import Tree

    known = {c.caption_id: c for c in captions}
    children: dict[str, list[Caption]] = {}
    for caption in captions:
        for parent in caption.parents:
            children.setdefault(str(parent), []).append(caption)
    own = sum(c.image_id == image for c in captions)
    kept = sum(c.dropped is None and c.image_id == image for c in captions)
    tree = Tree(Text(f"{own} texts, {kept} kept", style="bold"), guide_style="dim")
    drawn: set[str] = set()

    def add(branch: Tree, caption: Caption) -> None:
        again = caption.caption_id in drawn
        drawn.add(caption.caption_id)
        twig = branch.add(_label(caption, again=again, known=known, image=image))
        if not again:  # a text with two parents stands under both, what was made from it only once
            for child in children.get(caption.caption_id, ()):
                add(twig, child)

    for caption in captions:
        if not any(str(parent) in known for parent in caption.parents):
            add(tree, caption)
    for caption in captions:  # what only a circle leads to
        if caption.caption_id not in drawn:
            add(tree, caption)
    return tree


def _label(caption: Caption, *, again: bool, known: dict[str, Caption], image: str) -> Text:
    from rich.text import Text

    gone = caption.dropped is not None
    label = Text.assemble((f"{caption.lang:<7} ", "cyan"), (plain(caption.text), "dim" if gone else ""))
    if again:
        return label.append("  (see above)", "dim")
    about = [caption.kind, *dict.fromkeys(p for p in (caption.recipe, caption.model) if p and p != caption.kind)]
    if caption.scores:
        about.append(_scores(caption.scores))
    if caption.region:
        box = caption.region
        about.append(f"box {box.x0:.2f} {box.y0:.2f} {box.x1:.2f} {box.y1:.2f}")
    lost = sum(str(parent) not in known for parent in caption.parents)
    if lost:
        about.append(f"{lost} parent{'' if lost == 1 else 's'} not in this dataset")
    if caption.image_id != image:
        about.append(f"of image {caption.image_id[:12]}")
    label.append("  " if len(about) == 1 else "\n        ").append(plain(" · ".join(about)), "dim")
    if gone:
        label.append(
            "  " + ("draft" if caption.dropped == "draft" else f"dropped: {plain(str(caption.dropped))}"), "red"
        )
    return label


@verb
def show(dataset: Dataset | str | os.PathLike[str], image_id: str, *, why: bool = False) -> Shown:
    """Show one image: facts, what curation decided, all its texts with their provenance, vectors, failures.

    Args:
        dataset: the dataset or its path.
        image_id: the image's id, a beginning of it that no other id has, or its uri (or the end of it after a `/`).
        why: say of every kept caption where it comes from, step by step through what it was made of.

    Returns:
        What the dataset knows; print it, or take `to_dict()`.

    Raises:
        UserError: no dataset there, no such image, or several that fit.
    """
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    key = find_image(data, image_id)
    columns = [name for name in data.images.schema.names if name != "data"]
    image = data.images.get([key], columns).to_pylist()[0]
    marks = plain_rows(data.marks.get([key], ["scores", "dropped"]))
    captions = data.captions_of([key], where=None)[key]
    known = {c.caption_id: c for c in captions}
    from panoglot.reporting._sample import by_id

    strangers = sorted({str(p) for c in captions for p in c.parents} - set(known))
    captions = sorted([*captions, *by_id(data, strangers)], key=lambda c: (c.lang, c.dropped is not None, c.caption_id))
    vectors = {name: data.vectors(name).count(sql_in("id", [key, *known])) for name in data.vector_names()}
    rejects = data.rejects.rows(where=sql_in("item", [key, image["uri"] or key, *known]))
    return Shown(
        image=image,
        marks=marks[0] if marks else {},
        captions=captions,
        vectors={name: count for name, count in vectors.items() if count},
        rejects=sorted(rejects, key=lambda row: (row["stage"], row["reject_id"])),
        searched=data.searched_vectors(),
        ratings=_ratings(data, [key, *known]),
        facts=sorted(data.facts.rows(where=sql_in("image_id", [key])), key=lambda row: (row["kind"], row["fact_id"])),
        why=why,
        picture=_picture(data, key, image["uri"] or ""),
    )


def _picture(data: Dataset, key: str, uri: str) -> Image | None:
    try:
        return Image(data.images.get([key], ["data"])["data"][0].as_py(), id=key, uri=uri)
    except RowError:  # the report says why
        return None
