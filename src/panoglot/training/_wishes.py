"""The synthetic world of composed queries: pictures of one or two things, and wishes to change or to add one.

What is right is known: a wish to change names one of colour, shape and place, all else stays; a wish to add names a
second thing. So the picture alone does not say what is meant, and the words alone do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from panoglot.errors import UserError
from panoglot.networks._records import Record, Text
from panoglot.networks.samplers import Draw
from panoglot.training._shapes import COLOURS, PLACES, SHAPES, SIDE, draw_shape

__all__ = ["Thing", "captioned", "scene", "shown", "wishes"]

#: Shape, colour, place.
Thing = tuple[str, str, str]
_SHAPES, _COLOURS, _PLACES = SHAPES, tuple(sorted(COLOURS)), tuple(sorted(PLACES))
_ALL: tuple[Thing, ...] = tuple(product(_SHAPES, _COLOURS, _PLACES))


def scene(things: Sequence[Thing], key: str) -> Any:
    """Return a picture [3, 32, 32] of things at their places; where in a quarter, and the grain, are drawn by key.

    Args:
        things: in places of their own.
        key: another key gives another picture of the same things.
    """
    import numpy as np

    draw = Draw("scene", key)
    grain = np.random.default_rng(int(draw.number() * 2**53))
    pixels = (0.25 + 0.04 * grain.standard_normal((3, SIDE, SIDE))).clip(0, 1).astype(np.float32)
    for shape, colour, place in things:
        column, row = PLACES[place]
        x, y = 16 * column + 1 + draw.below(2), 16 * row + 1 + draw.below(2)
        draw_shape(pixels, shape, colour, x, y, 13)
    return pixels


def _said(thing: Thing) -> str:
    return f"a {thing[1]} {thing[0]} at the {thing[2]}"


def _name(things: Sequence[Thing]) -> str:
    return " and ".join(map(_said, things))


def _other(draw: Draw, values: Sequence[str], mine: str) -> str:
    return draw.choice([v for v in values if v != mine])


def _beside(draw: Draw, thing: Thing) -> Thing:
    """A second thing, elsewhere."""
    return draw.choice(_SHAPES), draw.choice(_COLOURS), _other(draw, _PLACES, thing[2])


def captioned(n: int, seed: int = 0, split: str = "train", kind: str = "change") -> list[Record]:
    """Return pictures with two captions: a long one that says all, a raw one that leaves out what captions leave out.

    Args:
        n: how many.
        seed: of everything.
        split: other splits have other pictures.
        kind: `change`: of one thing; `add`: of one or two, and all of them are named.
    """
    out = []
    for k in range(n):
        id_ = f"{split}-{seed}-{k}"
        draw = Draw(seed, "captioned", id_)
        first: Thing = draw.choice(_ALL)
        shape, colour, place = first
        things = [first]
        if kind == "add":
            things += [_beside(draw, first)] * draw.below(2)
            whole = ", ".join(_said(thing) for thing in draw.sample(things, len(things)))
            part, whole = _said(things[-1]), draw.choice([whole, f"a photo of {whole}"])
        else:
            whole = _said(first)
            part = draw.choice([colour, f"a {shape}", f"at the {place}", f"a {colour} {shape}"])
        texts = [Text(whole, "long", "en", "machine"), Text(part, "raw", "en", "web")]
        out.append(Record(id_, scene(things, id_), texts, pair_id=_name(things), split=split))
    return out


def wishes(n: int, seed: int = 0, split: str = "train", kind: str = "change") -> list[Record]:
    """Return composed queries: a picture, a wish, a picture that fulfils it; `pair_id` says what the answer shows.

    Pairs of what the picture shows and what is wished that come in one split come in no other.

    Args:
        n: how many.
        seed: of everything.
        split: `train`, `test`.
        kind: `change` a thing; `add` a second one.
    """
    if kind not in ("change", "add"):
        raise UserError(f"wishes: kind={kind!r} must be 'change' or 'add'.")
    out: list[Record] = []
    for k in range(100 * n):
        if len(out) == n:
            break
        id_ = f"{split}-{seed}-{k}"
        draw = Draw(seed, "wishes", id_)
        first: Thing = draw.choice(_ALL)
        shape, colour, place = first
        if kind == "add":
            things = [first, _beside(draw, first)]
            text = _said(things[1])
        else:
            wish = draw.below(3)
            changed = (
                (_other(draw, _SHAPES, shape), colour, place),
                (shape, _other(draw, _COLOURS, colour), place),
                (shape, colour, _other(draw, _PLACES, place)),
            )[wish]
            things = [changed]
            text = (f"make it a {changed[0]}", f"make it {changed[1]}", f"make it at the {changed[2]}")[wish]
        held_out = Draw("held out", _name([first]), text).number() < 0.25
        if held_out != (split != "train"):
            continue
        record = Record(id_, scene([first], id_), [Text(text, "question", "en")], split=split, loader="triples")
        record.pictures, record.pair_id = [scene(things, f"answer {id_}")], _name(sorted(things))
        out.append(record)
    return out


def shown(records: Sequence[Record]) -> dict[str, str]:
    """Return record → the name of what its own picture shows, of records that `wishes` made."""
    return {r.id: _name([Draw(r.id.split("-")[1], "wishes", r.id).choice(_ALL)]) for r in records}
