"""How well copies are told from other pictures: precision and recall on stamps of which it is known.

Data: Debian's `tuxpaint-stamps-default` (apt-get install tuxpaint-stamps-default; GPL-2, read where it is installed):
drawings and photographs with captions in up to 77 languages. Known:

- copies: a stamp that is there as PNG and as SVG, or in two folders; and copies made here of stamps that have
  enough structure: half the size, JPEG of quality 30 and 60, a tenth lighter;
- others: everything else: eyes, hats and flags of other colours, coins and dreidels with another number or letter,
  mirrored stamps (a mirrored road sign is another sign); and of every stamp its mirror image and a recoloured one (red,
  green and blue changed round; where that changes anything).

A row is a rule: PDQ alone at several distances; with people's captions; with captions and, where they differ, pixels
(what `near_duplicate` does); with the pixels of every pair (`look`). Captions of the made ones: none, so that only
pixels can tell.

    python benchmarks/bench_copies.py [--stamps FOLDER] [--made 150]
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from bench_recall_stamps import STAMPS, captions

from panoglot.curation._count import key64
from panoglot.curation._same import MOST_DIFFERENCE, difference, texts_differ
from panoglot.curation.pdq import pdq
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.text import same_text


@dataclass
class Stamp:
    """A picture with all that is compared."""

    name: str
    code: np.ndarray
    quality: int
    thumbnail: np.ndarray
    texts: dict[int, set[int]]


@dataclass
class Pair:
    """Two pictures, what is known of them, and what is measured."""

    one: str
    other: str
    group: str
    copy: bool
    bits: int
    texts: bool | None
    pixels: float


def read(image: Image, name: str, texts: dict[str, str]) -> Stamp:
    """Measure a picture."""
    code, quality = pdq(image)
    keys = {key64(lang): {key64(same_text(text).strip(" ."))} for lang, text in texts.items()}
    return Stamp(name, np.unpackbits(np.frombuffer(code, np.uint8)), quality, image.thumbnail(64), keys)


def stamps(folder: Path) -> Iterator[Stamp]:
    """All stamps."""
    for path in sorted([*folder.rglob("*.png"), *folder.rglob("*.svg")]):
        texts = captions(path) if path.with_suffix(".txt").exists() else {}
        try:
            yield read(Image(path.read_bytes()), str(path.relative_to(folder)), texts)
        except RowError:
            continue


def compare(one: Stamp, other: Stamp, group: str, copy: bool) -> Pair:
    """Measure a pair."""
    bits = int((one.code != other.code).sum())
    apart = difference(one.thumbnail, other.thumbnail)
    return Pair(one.name, other.name, group, copy, bits, texts_differ(one.texts, other.texts), apart)


def known(found: list[Stamp], most: int) -> list[Pair]:
    """The pairs of stamps that PDQ may take for copies, and whether they are."""
    codes = np.stack([stamp.code for stamp in found]).astype(np.int16) * 2 - 1
    far = (256 - codes @ codes.T) // 2
    pairs = []
    for i, j in zip(*np.nonzero(np.triu(far <= most, 1))):
        one, other = found[i], found[j]
        stem, other_stem = one.name.rpartition(".")[0], other.name.rpartition(".")[0]
        copy = stem == other_stem or (Path(stem).name == Path(other_stem).name and one.texts == other.texts)
        pairs.append(compare(one, other, "stamps", copy))
    return pairs


def made(folder: Path, stamp: Stamp) -> Iterator[Pair]:
    """Copies of a stamp, its mirror image, and one in other colours."""
    picture = Image((folder / stamp.name).read_bytes()).pil()
    size = (max(1, picture.width // 2), max(1, picture.height // 2))
    turned = PIL.Image.fromarray(np.asarray(picture)[:, :, [2, 0, 1]])
    bare = Stamp(stamp.name, stamp.code, stamp.quality, stamp.thumbnail, {})
    ways: dict[str, tuple[PIL.Image.Image, dict[str, Any], bool]] = {
        "half the size": (picture.resize(size, PIL.Image.Resampling.LANCZOS), {"format": "PNG"}, True),
        "JPEG 30": (picture, {"format": "JPEG", "quality": 30}, True),
        "JPEG 60": (picture, {"format": "JPEG", "quality": 60}, True),
        "a tenth lighter": (picture.point(lambda v: min(255, int(v * 1.1))), {"format": "PNG"}, True),
        "mirrored": (picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT), {"format": "PNG"}, False),
        "recoloured": (turned, {"format": "PNG"}, False),
    }
    for name, (other, options, copy) in ways.items():
        buffer = io.BytesIO()
        other.save(buffer, **options)
        pair = compare(bare, read(Image(buffer.getvalue()), f"{stamp.name} ({name})", {}), name, copy)
        if copy or np.abs(np.asarray(other, np.int16) - np.asarray(picture, np.int16)).mean() > 5:
            yield pair


RULES: dict[str, Callable[[Pair], bool]] = {
    "PDQ within 10": lambda p: p.bits <= 10,
    "PDQ within 20": lambda p: p.bits <= 20,
    "PDQ within 31": lambda p: p.bits <= 31,
    "PDQ within 40": lambda p: p.bits <= 40,
    "captions do not differ": lambda p: p.bits <= 31 and p.texts is not True,
    "near_duplicate": lambda p: p.bits <= 31 and (p.texts is not True or p.pixels <= MOST_DIFFERENCE),
    "near_duplicate, look": lambda p: p.bits <= 31 and (p.texts is False or p.pixels <= MOST_DIFFERENCE),
}


def table(pairs: list[Pair], group: str) -> dict[str, dict[str, float]]:
    """Precision and recall of every rule."""
    print(f"{group}: {sum(p.copy for p in pairs)} pairs of copies, {sum(not p.copy for p in pairs)} of others")
    print(f"  {'rule':26}{'dropped':>8}{'wrongly':>9}{'precision':>11}{'recall':>8}")
    found = {}
    for name, rule in RULES.items():
        said = [p for p in pairs if rule(p)]
        right = sum(p.copy for p in said)
        precision, recall = right / len(said) if said else 1.0, right / max(1, sum(p.copy for p in pairs))
        found[name] = {"precision": round(precision, 4), "recall": round(recall, 4)}
        print(f"  {name:26}{len(said):8}{len(said) - right:9}{precision:11.3f}{recall:8.3f}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, default=STAMPS)
    parser.add_argument("--made", type=int, default=150, help="stamps that copies are made of")
    args = parser.parse_args()
    if not args.stamps.is_dir():
        parser.error(f"there are no stamps at {args.stamps}: apt-get install tuxpaint-stamps-default")
    found = [stamp for stamp in stamps(args.stamps) if stamp.quality >= 50]
    natural = known(found, 64)
    chosen = np.random.default_rng(0).permutation(len(found))[: args.made]
    drawn = [found[n] for n in sorted(chosen.tolist()) if found[n].name.endswith(".png")]
    artificial = [pair for stamp in drawn for pair in made(args.stamps, stamp)]
    report: dict[str, Any] = {"bench": "copies", "stamps": len(found), "most_difference": MOST_DIFFERENCE}
    report["known"] = table(natural, f"{len(found)} stamps, pairs within 64 bits")
    copies, others = [p for p in natural if p.copy], [p for p in natural if not p.copy and p.bits <= 40]
    print(f"  pixels: copies differ by at most {max(p.pixels for p in copies):.1f}, others within 40 bits by at least:")
    for pair in sorted(others, key=lambda p: p.pixels)[:8]:
        print(f"    {pair.pixels:6.1f}  {pair.bits:2} bits  {pair.one}  {pair.other}")
    report["made"] = table(artificial, "made copies and others")
    print(f"  {'of these':26}{'pairs':>8}{'near by PDQ':>13}{'dropped':>9}{'with look':>11}")
    for group in dict.fromkeys(p.group for p in artificial):
        some = [p for p in artificial if p.group == group]
        rules = ("PDQ within 31", "near_duplicate", "near_duplicate, look")
        near, plain, look = (sum(map(RULES[name], some)) for name in rules)
        print(f"  {group:26}{len(some):8}{near:13}{plain:9}{look:11}")
        report[group] = {"pairs": len(some), "near": near, "dropped": plain, "look": look}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
