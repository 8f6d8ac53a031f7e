"""What experts see in a picture, as a block of text for a language model: capped, reversible, in a language.

Knowledge: Golden Gate Bridge, 1937
Tags: bridge, sea
Objects:
bridge: [0.100, 0.200, 0.900, 0.600]
Text:
NO ENTRY
"""

from __future__ import annotations

import math
import re
from asyncio import gather
from collections.abc import Sequence
from dataclasses import dataclass, replace

from panoglot.captioning._candidates import Writer, alt_text
from panoglot.captioning._guards import is_junk
from panoglot.captioning._regions import BoxTuple, clipped
from panoglot.geometry import Region, box_iou
from panoglot.pictures import Image
from panoglot.providers.roles import Box
from panoglot.table import Fact

__all__ = ["HEADERS", "Evidence", "Thing", "gather_evidence", "one_of_each", "parse_evidence", "serialise"]

#: Knowledge, tags, objects, text: the headers of the block in some languages; English in the others.
HEADERS = {
    "en": ("Knowledge", "Tags", "Objects", "Text"),
    "ar": ("معلومات", "وسوم", "أشياء", "نص"),
    "de": ("Wissen", "Schlagwörter", "Objekte", "Schrift"),
    "es": ("Conocimiento", "Etiquetas", "Objetos", "Texto"),
    "fr": ("Connaissances", "Étiquettes", "Objets", "Texte"),
    "hi": ("जानकारी", "टैग", "वस्तुएँ", "लिखावट"),
    "ja": ("知識", "タグ", "物体", "文字"),
    "sw": ("Maarifa", "Lebo", "Vitu", "Maandishi"),
    "th": ("ความรู้", "แท็ก", "วัตถุ", "ข้อความ"),
    "zh": ("知识", "标签", "物体", "文字"),
}
_LINE = re.compile(r"(.+): \[(\d\.\d{3}), (\d\.\d{3}), (\d\.\d{3}), (\d\.\d{3})\]")


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing that a detector found.

    Attributes:
        name: what.
        box: where, in 0..1 of the upright picture.
        score: how sure, 0..1.
        attributes: what it is like: colours, materials, …
        text: what is written on it.
    """

    name: str
    box: BoxTuple = (0.0, 0.0, 1.0, 1.0)
    score: float = 1.0
    attributes: tuple[str, ...] = ()
    text: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What experts say of one picture.

    Attributes:
        knowledge: the alternative text or another text from outside of the picture, or empty.
        tags: classes of the whole picture.
        things: what is where.
        lines: what is written.
    """

    knowledge: str = ""
    tags: tuple[str, ...] = ()
    things: tuple[Thing, ...] = ()
    lines: tuple[str, ...] = ()

    def facts(self) -> list[Fact]:
        """The same as rows of the table `facts`: the picture's id and the provenance are filled in by the runner."""
        rows = [Fact("", "tag", tag) for tag in self.tags] + [Fact("", "line", line) for line in self.lines]
        return rows + [Fact("", "box", t.name, t.score, Region(*t.box)) for t in self.things]


def one_of_each(boxes: Sequence[Box], threshold: float = 0.5, *, by_class: bool = False) -> list[Box]:
    """Leave out boxes that a surer one covers (IoU above `threshold`), whatever either is called.

    Args:
        boxes: of one detector or several; those without area or outside of the picture are left out.
        threshold: IoU.
        by_class: only boxes of one name leave each other out.
    """
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: (-min(box.score, 1.0), box.name, box.region.box)):
        place = clipped(box.region.box)
        if place is None or math.isnan(box.score):
            continue
        near = (k for k in kept if not by_class or k.name == box.name)
        if all(box_iou(k.region.box, place) <= threshold for k in near):
            kept.append(replace(box, score=min(box.score, 1.0), region=Region(*place, mask=box.region.mask)))
    return kept


async def gather_evidence(
    image: Image,
    writer: Writer,
    *,
    tagger: str = "",
    detectors: Sequence[str] = (),
    reader: str = "",
    knowledge: bool = True,
    min_tag: float = 0.2,
    min_box: float = 0.3,
    min_line: float = 0.5,
    by_tags: bool = True,
) -> Evidence:
    """Ask the experts that are named; one that fails is counted as fallen back, and the others go on.

    Args:
        image: the picture.
        writer: its models.
        tagger: a `Tagger`, or empty.
        detectors: `Detector`s; their boxes are merged without regard to names.
        reader: a `Reader`, or empty.
        knowledge: take the alternative text.
        min_tag: least score of a tag.
        min_box: least score of a box.
        min_line: least score of a line of writing; lines without a letter or digit are left out.
        by_tags: ask detectors for the tags (open vocabulary); else for all that they know.
    """
    m = writer.m
    tags = (await writer.attempt("tagger", m[tagger].tag(image)) if tagger else None) or ()
    names = tuple(dict.fromkeys(tag.name for tag in tags if tag.score >= min_tag))
    found, lines = await gather(
        gather(
            *(
                writer.attempt("detector", m[one].detect(image, names if by_tags and names else None))
                for one in detectors
            )
        ),
        writer.attempt("reader", m[reader].read(image)) if reader else _none(),
    )
    boxes = one_of_each([box for some in found for box in some or () if box.score >= min_box])
    alt = alt_text(image) if knowledge else None
    return Evidence(
        knowledge=alt.text if alt else "",
        tags=names,
        things=tuple(Thing(box.name, box.region.box, box.score) for box in boxes),
        lines=tuple(line.text for line in lines or () if line.score >= min_line and not is_junk(line.text)),
    )


async def _none() -> None:
    return None


def serialise(
    evidence: Evidence, lang: str = "en", *, most_things: int = 40, most_lines: int = 40, most_characters: int = 4000
) -> tuple[str, int]:
    """Write evidence as a block of text; slots that are empty have no header.

    Things come by name and place, so their order does not say who found them; small ones are not left out for large
    ones: of every name the surest comes first.

    Returns:
        The block, and how many entries were left out by the caps.

    >>> serialise(Evidence(tags=("cat",), things=(Thing("cat", (0.1, 0.2, 0.5, 0.6)),)))
    ('Tags: cat\\nObjects:\\ncat: [0.100, 0.200, 0.500, 0.600]', 0)
    """
    known, tags, things, text = HEADERS.get(lang.partition("-")[0], HEADERS["en"])
    chosen = _spread(evidence.things)[:most_things]
    lines = [_one_line(line) for line in evidence.lines[:most_lines]]
    left_out = len(evidence.things) - len(chosen) + len(evidence.lines) - len(lines)
    blocks = [f"{known}: {_one_line(evidence.knowledge)}"] if evidence.knowledge else []
    blocks += [f"{tags}: {', '.join(map(_one_line, evidence.tags))}"] if evidence.tags else []
    room = most_characters - sum(map(len, blocks))
    for header, entries in (
        (things, [_thing_line(t) for t in sorted(chosen, key=lambda t: (t.name, t.box))]),
        (text, lines),
    ):
        kept: list[str] = []
        for entry in entries:
            room -= len(entry) + 1
            if room >= 0:
                kept.append(entry)
        left_out += len(entries) - len(kept)
        blocks += [f"{header}:", *kept] if kept else []
    return "\n".join(blocks), left_out


def _spread(things: Sequence[Thing]) -> list[Thing]:
    """The surest of every name, then the second of every name, …"""
    turn: dict[str, int] = {}
    order: list[tuple[int, float, str, BoxTuple, Thing]] = []
    for thing in sorted(things, key=lambda t: (-t.score, t.box)):
        turn[thing.name] = turn.get(thing.name, 0) + 1
        order.append((turn[thing.name], -thing.score, thing.name, thing.box, thing))
    return [thing for *_, thing in sorted(order, key=lambda entry: entry[:4])]


def _thing_line(thing: Thing) -> str:
    name = _one_line(" ".join((*thing.attributes, thing.name)))
    return f"{name}: [{', '.join(f'{value:.3f}' for value in thing.box)}]"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def parse_evidence(block: str, lang: str = "en") -> Evidence:
    """Read a block back: boxes at three decimals, tags, knowledge, lines.

    >>> evidence = Evidence("a", ("cat",), (Thing("cat", (0.1, 0.2, 0.5, 0.6)),), ("STOP: [now]",))
    >>> parse_evidence(serialise(evidence)[0]) == evidence
    True
    """
    known, tags, things, text = HEADERS.get(lang.partition("-")[0], HEADERS["en"])
    found = Evidence()
    slot = ""
    for line in block.split("\n"):
        if slot == "text":
            found = replace(found, lines=(*found.lines, line))
        elif line == f"{text}:":
            slot = "text"
        elif line == f"{things}:":
            slot = "things"
        elif slot == "things" and (thing := _LINE.fullmatch(line)):
            x0, y0, x1, y1 = map(float, thing.groups()[1:])
            found = replace(found, things=(*found.things, Thing(thing[1], (x0, y0, x1, y1))))
        elif line.startswith(f"{known}: "):
            found = replace(found, knowledge=line.partition(": ")[2])
        elif line.startswith(f"{tags}: "):
            found = replace(found, tags=tuple(line.partition(": ")[2].split(", ")))
    return found
