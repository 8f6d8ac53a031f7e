"""The synthetic test bed "shapes": pictures of coloured shapes at known places, with texts of every kind.

Small enough for a laptop's minute, rich enough for every method: raw texts (one object, some of them wrong), long texts
(a sentence an object), translations into two made-up languages (qaa, qab: fixed permutations of the words), described
regions, and wrong captions for filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from panoglot.networks._records import Record, RegionText, Text
from panoglot.networks.samplers._draw import Draw
from panoglot.networks.samplers.interleave import Document

__all__ = ["COLOURS", "PLACES", "SHAPES", "documents", "draw_shape", "judged", "questions", "shapes", "translate"]

COLOURS = {
    "red": (0.9, 0.1, 0.1),
    "green": (0.1, 0.8, 0.2),
    "blue": (0.15, 0.2, 0.95),
    "yellow": (0.95, 0.9, 0.1),
    "white": (0.97, 0.97, 0.97),
    "purple": (0.6, 0.1, 0.8),
}
SHAPES = ("circle", "square", "triangle", "cross")
PLACES = {"top left": (0, 0), "top right": (1, 0), "bottom left": (0, 1), "bottom right": (1, 1)}
SIDE = 32
WORDS = sorted({*COLOURS, *SHAPES, *" ".join(PLACES).split(), "a", "at", "the", "and"})


def translate(text: str, lang: str) -> str:
    """Return the text in a made-up language: every known word becomes another one, marked by the language.

    >>> translate("a red circle.", "qaa") == translate("a red circle.", "qab")
    False
    """
    place = {w: i for i, w in enumerate(WORDS)}
    step = {"qaa": 5, "qab": 11}[lang]
    syllables = ("ka", "lo", "mi", "nu", "pe", "ra", "so", "ti", "vu", "we")

    def word(w: str) -> str:
        bare = w.strip(".")
        if bare not in place:
            return w
        i = (place[bare] * 7 + step) % len(WORDS) + (0 if lang == "qaa" else 40)
        return w.replace(bare, syllables[i % 10] + syllables[i // 10] + ("" if lang == "qaa" else "h"))

    return " ".join(word(w) for w in text.split())


def draw_shape(pixels: Any, shape: str, colour: str, x0: int, y0: int, size: int) -> None:
    """Draw a shape of `size` pixels into pixels [3, H, W], its corner at (x0, y0)."""
    import numpy as np

    yy, xx = np.mgrid[0:size, 0:size] + 0.5
    middle = size / 2
    inside = {
        "circle": (xx - middle) ** 2 + (yy - middle) ** 2 <= middle**2,
        "square": np.ones((size, size), bool),
        "triangle": abs(xx - middle) <= yy / 2,
        "cross": (abs(xx - middle) <= size / 6) | (abs(yy - middle) <= size / 6),
    }[shape]
    patch = pixels[:, y0 : y0 + size, x0 : x0 + size]
    for c in range(3):
        patch[c][inside] = COLOURS[colour][c]


def shapes(n: int, seed: int = 0, split: str = "train", *, noise: float = 0.3) -> list[Record]:
    """Return n records with pictures [3, 32, 32] in 0..1.

    Args:
        n: how many.
        seed: of everything.
        split: `train`, `test`, …: other splits have other pictures.
        noise: share of raw texts that speak of another picture; 0 outside of `train`.
    """
    import numpy as np

    records = []
    for k in range(n):
        id_ = f"{split}{k}"
        draw = Draw(seed, "shapes", id_)
        background = np.random.default_rng([seed, k, len(split)])
        pixels = (0.25 + 0.06 * background.standard_normal((3, SIDE, SIDE))).clip(0, 1).astype(np.float32)
        objects, regions = [], []
        for place in draw.sample(sorted(PLACES), 1 + draw.below(3)):
            shape, colour, size = draw.choice(SHAPES), draw.choice(sorted(COLOURS)), 10 + draw.below(5)
            column, row = PLACES[place]
            x0, y0 = (16 * c + draw.below(17 - size) for c in (column, row))
            draw_shape(pixels, shape, colour, x0, y0, size)
            phrase = f"a {colour} {shape}"
            objects.append(f"{phrase} at the {place}")
            regions.append(RegionText((x0, y0, x0 + size, y0 + size), phrase, (SIDE, SIDE), 1.0))
        wrong = split == "train" and draw.number() < noise
        raw = objects[0]
        if wrong:
            raw = f"a {draw.choice(sorted(COLOURS))} {draw.choice(SHAPES)} at the {draw.choice(sorted(PLACES))}"
        long = ". ".join(objects) + "."
        texts = [Text(raw, "raw", "en", "web"), Text(long, "long", "en", "machine")]
        texts += [Text(translate(long, lang), "translation", lang, "machine", of=1) for lang in ("qaa", "qab")]
        records.append(Record(id_, pixels, texts, regions, split=split))
    return records


def documents(records: Sequence[Record], images: int = 2, seed: int = 0) -> list[Document]:
    """Return interleaved documents of the records' pictures and sentences.

    Each picture is followed by the sentences about it (similarity 0.3) and by one about another picture, which is
    weakly matched to it (0.1).
    """
    out = []
    for k in range(0, len(records) - images + 1, images):
        group = records[k : k + images]
        sentences: list[str] = []
        match: list[tuple[int, int, float]] = []
        for i, r in enumerate(group):
            for text in next(t.text for t in r.texts if t.kind == "long").split(". "):
                match.append((len(sentences), i, 0.3))
                sentences.append(text.rstrip(".") + ".")
            other = records[Draw(seed, "documents", r.id).below(len(records))]
            match.append((len(sentences), i, 0.1))
            sentences.append(other.texts[0].text + ".")
        out.append(Document(f"doc {group[0].id}", [r.image for r in group], sentences, match, "en"))
    return out


def questions(records: Sequence[Record]) -> list[Record]:
    """Return the records with questions and answers for texts: what is where, and of which colour is a shape.

    Only shapes that are alone in their picture are asked for.
    """
    out = []
    for r in records:
        texts = []
        found = [t.split(" at the ") for t in r.texts[1].text.rstrip(".").split(". ")]
        for what, place in found:
            texts += [Text(f"what is at the {place}?", "question", "en"), Text(what, "answer", "en")]
            _, colour, shape = what.split()
            if sum(w.endswith(shape) for w, _ in found) == 1:
                texts += [Text(f"which colour has the {shape}?", "question", "en"), Text(colour, "answer", "en")]
        out.append(Record(r.id, r.image, texts, r.regions, split=r.split, vectors=r.vectors))
    return out


def judged(records: Sequence[Record], seed: int = 0) -> list[Record]:
    """Return the records with five captions each, scored by one who knows the picture: 4 is best.

    All objects (4), one of them (3; without its place when it is alone), all with other colours (2), with other colours
    and shapes (1), those of another picture (0).
    """
    out = []
    for i, r in enumerate(records):
        draw = Draw(seed, "judged", r.id)
        true = r.texts[1].text
        objects = true.rstrip(".").split(". ")
        some = objects[draw.below(len(objects))] if len(objects) > 1 else objects[0].split(" at the ")[0]

        def other(word: str, draw: Draw = draw) -> str:
            same = next((kind for kind in (sorted(COLOURS), SHAPES) if word in kind), None)
            return word if same is None else draw.choice([w for w in same if w != word])

        colours = " ".join(other(w) if w in COLOURS else w for w in true.rstrip(".").replace(". ", " . ").split())
        both = " ".join(other(w) for w in true.rstrip(".").replace(". ", " . ").split())
        strange = next(
            x.texts[1].text
            for x in (records[(i + k) % len(records)] for k in range(1, len(records) + 1))
            if not set(x.texts[1].text.rstrip(".").split(". ")) & set(objects) or x is r
        )
        captions = (true, some + ".", f"{colours}.".replace(" . ", ". "), f"{both}.".replace(" . ", ". "), strange)
        texts = [Text(t, "short", "en", score=4.0 - k) for k, t in enumerate(captions)]
        out.append(Record(r.id, r.image, texts, split=r.split))
    return out
