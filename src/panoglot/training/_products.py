"""The synthetic world of several products in one query: each gives one attribute, and what has them all is known."""

from __future__ import annotations

from itertools import product
from typing import Any

from panoglot.networks._records import Record, Turn
from panoglot.networks.samplers import Draw
from panoglot.training._shapes import COLOURS, SHAPES
from panoglot.training._wishes import Thing, scene

__all__ = ["catalogue", "product_queries"]

_PLACES = ("top left", "top right", "bottom left", "bottom right")
#: Attributes that a product of the query may give, beside its picture's own others.
KEYS = ("shape", "colour", "place")


def catalogue(seed: int = 0) -> dict[Thing, tuple[Any, str]]:
    """Return every product: what it shows → (picture, title). Titles name the shape alone, so pictures are needed."""
    things = product(SHAPES, sorted(COLOURS), _PLACES)
    return {thing: (scene([thing], f"product {seed} {thing}"), f"a {thing[0]}") for thing in things}


def product_queries(n: int, seed: int = 0, split: str = "train", conditions: int = 3) -> list[Record]:
    """Return documents: a sentence with products, each of which gives one attribute; the product that has them all.

    Answers of one split come in no other. Products of the query are not the answer, and each gives one of `KEYS`; with
    two conditions the rest is the first product's.

    Args:
        n: how many.
        seed: of everything.
        split: `train`, `test`.
        conditions: 2 or 3.
    """
    shop, out = catalogue(seed), list[Record]()
    for k in range(100 * n):
        if len(out) == n:
            break
        id_ = f"{split}-{seed}-{conditions}-{k}"
        draw = Draw(seed, "products", id_)
        wanted: Thing = draw.choice(sorted(shop))
        if (Draw("held out", *wanted).number() < 0.25) != (split != "train"):
            continue
        keys = draw.sample(list(KEYS), conditions)
        rest = {key: wanted[KEYS.index(key)] for key in KEYS if key not in keys}
        members = []
        for at, key in enumerate(keys):
            fixed = {key: wanted[KEYS.index(key)], **(rest if at == 0 else {})}
            fitting = [t for t in sorted(shop) if t != wanted and all(t[KEYS.index(o)] == v for o, v in fixed.items())]
            members.append(draw.choice(fitting))
        turns, pictures = list[Turn](), list[Any]()
        for at, (key, member) in enumerate(zip(keys, members, strict=True), 1):
            same = f" and {' and '.join(sorted(rest))}" if rest and at == 1 else ""
            turns.append(Turn(f"{key}{same} of "))
            turns.append(Turn(f" {shop[member][1]}; ", len(pictures)))
            pictures.append(shop[member][0])
        turns.append(Turn(shop[wanted][1], len(pictures), True, "answer"))
        pictures.append(shop[wanted][0])
        record = Record(id_, pictures=pictures, turns=turns, split=split, loader="documents")
        record.pair_id = " ".join(wanted)
        out.append(record)
    return out
