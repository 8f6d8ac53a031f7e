"""What `bench_rows_stamps.py` trains and measures on: Debian's stamps as a dataset that our own verbs make."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

import panoglot
from panoglot.networks import Record
from panoglot.networks._views import load_sized
from panoglot.networks.samplers import Document
from panoglot.table import Document as StoredDocument
from panoglot.table import DocumentPart, Triple, open_dataset
from panoglot.training import read_records

STAMPS = Path("/usr/share/tuxpaint/stamps")
SIDE = 32
#: What is read of every picture; English first, which rows that take one text take.
LANGS = ("en", "de", "es", "pt", "ru", "zh-Hans", "ar", "hi")
Array = np.ndarray


def stamps_of(folder: Path = STAMPS, most: int | None = None) -> list[Path]:
    """Return pictures that have captions in all of `LANGS`, in a fixed random order.

    Args:
        folder: where they lie.
        most: so many PNGs whose English captions have the most frequent words: few pictures teach only what they share.
    """
    ends = (".png",) if most else (".png", ".svg")
    found = [p for p in sorted(folder.rglob("*")) if p.suffix in ends and p.with_suffix(".txt").exists()]
    if most:
        lines = {p: p.with_suffix(".txt").read_text("utf-8", "replace").splitlines() for p in found}
        words = {
            p: {w for w in some[0].casefold().strip(" .!").split() if len(w) > 3} for p, some in lines.items() if some
        }
        count = Counter(w for some in words.values() for w in some)
        score = {p: max((count[w] for w in some), default=0) for p, some in words.items()}
        found = sorted(sorted(score), key=lambda p: -score[p])[:most]
    order = np.random.default_rng(0).permutation(len(found))
    return [found[n] for n in order]


def make_dataset(where: Path, pictures: Sequence[Path]) -> Path:
    """Ingest stamps, caption them from evidence, and write documents, triples and ratings about them."""
    if where.exists():
        return where
    panoglot.ingest([str(p) for p in pictures], where, quiet=True)
    panoglot.caption(where, method="evidence", lang="en", quiet=True)
    data = open_dataset(where)
    columns = ["caption_id", "image_id", "text", "lang", "recipe"]
    given = data.captions.read(columns, "recipe = 'human' and dropped is null").to_pylist()
    said: dict[str, dict[str, dict[str, str]]] = {}
    for row in sorted(given, key=lambda row: row["caption_id"]):
        said.setdefault(row["image_id"], {}).setdefault(row["lang"], row)
    ids = sorted(id_ for id_, by in said.items() if {"en", "es", "pt"} <= set(by))
    rng = np.random.default_rng(0)
    other = {id_: ids[(n + 1 + int(rng.integers(len(ids) - 1))) % len(ids)] for n, id_ in enumerate(ids)}
    # what a caption in Spanish asks for is the same picture's in Portuguese
    data.triples.insert(
        [
            Triple(by["es"]["text"], "", [by["pt"]["caption_id"]], [said[other[i]]["pt"]["caption_id"]], "captions",
                   "es", triple_id=i).plain()
            for i, by in ((i, said[i]) for i in ids)
        ]
    )  # fmt: skip
    # a document is two pictures, each with its English caption behind it
    data.documents.insert(
        [
            StoredDocument(
                [p for i in ids[n : n + 2] for p in (DocumentPart(image_id=i), DocumentPart(said[i]["en"]["text"]))],
                "en",
                document_id=f"doc {n}",
            ).plain()
            for n in range(len(ids) - 1)
        ]
    )  # fmt: skip
    return where


def pixels_of(image: Any, side: int = SIDE) -> Array:
    """Return [3, side, side] in 0..1 of a whole picture, over white."""
    x, _ = load_sized(image, 2 * side)
    height, width = x.shape[1:]
    edge = max(height, width)
    whole = torch.ones(3, edge, edge)
    top, left = (edge - height) // 2, (edge - width) // 2
    whole[:, top : top + height, left : left + width] = x
    out: Array = torch.nn.functional.interpolate(whole[None], (side, side), mode="area")[0].numpy()
    return out


@dataclass
class Bed:
    """What rows are trained and measured on.

    Attributes:
        folder: where vectors are kept.
        records: a picture each, with all its texts.
        triples: queries; their id is that of the picture.
        documents: whose pictures are image ids.
        pixels: image id → [3, 32, 32].
        paths: image id → where the stamp lies.
        stored: what was made of pictures and texts, by name.
    """

    folder: Path
    records: list[Record]
    triples: list[Record]
    documents: list[Document]
    pixels: dict[str, Array]
    paths: dict[str, str]
    stored: dict[str, dict[str, Array]] = field(default_factory=dict)

    def english(self, record: Record) -> str:
        """The English caption as it is compared; '' where there is none."""
        return next((t.text.casefold().strip(" .!") for t in record.texts if t.lang == "en" and t.kind == "raw"), "")

    def split(self, seed: int, test: int, most: int) -> tuple[list[Record], list[Record]]:
        """Return (trained on, held out): at most so many pictures each, which share no English caption."""
        order = np.random.default_rng(seed).permutation(len(self.records))
        held: dict[str, Record] = {}
        for n in order:
            r = self.records[n]
            if len(held) < test and all(text_in(r, lang) for lang in LANGS):
                held.setdefault(self.english(r), r)
        rest = [self.records[n] for n in order if self.english(self.records[n]) not in held]
        return rest[:most], list(held.values())

    def vectors(self, name: str, keys: Sequence[str], make: Callable[[list[str]], Array]) -> dict[str, Array]:
        """Return key → what a frozen tower made of it; asked for once, and kept in the folder."""
        known = self.stored.setdefault(name, {})
        path = self.folder / f"{name}.npz"
        if not known and path.exists():
            with np.load(path, allow_pickle=False) as file:
                known.update(zip(file["keys"].tolist(), file["rows"], strict=True))
        new = [key for key in dict.fromkeys(keys) if key not in known]
        if new:
            known.update(zip(new, make(new), strict=True))
            np.savez(path, keys=np.array(list(known)), rows=np.stack(list(known.values())))
        return known


def text_in(record: Record, lang: str) -> str:
    """The person's caption of a record in a language."""
    return next((t.text for t in record.texts if t.lang == lang and t.kind in ("raw", "translation")), "")


def read_bed(dataset: Path, folder: Path) -> Bed:
    """Read the dataset as a training does; pictures are decoded once."""
    records = read_records(dataset, kinds=("human", "short", "fact"), lang=LANGS).records
    records = [r for r in records if any(t.lang == "en" and t.kind == "raw" for t in r.texts)]
    triples = read_records(dataset, takes=("triple",)).records
    pages: list[Any] = read_records(dataset, takes=("document",)).records
    raw: dict[str, Any] = {r.id: r.image for r in records}
    documents = [replace(doc, images=[p.id for p in doc.images]) for doc in pages]
    found = open_dataset(dataset).images.read(["image_id", "uri"]).to_pylist()
    bed = Bed(folder, records, triples, documents, {}, {row["image_id"]: row["uri"] for row in found})
    bed.pixels = bed.vectors("pixels", sorted(raw), lambda new: np.stack([pixels_of(raw[i]) for i in new]))
    for r in records:
        r.image = bed.pixels[r.id]
    return bed


def collages(where: Path, bed: Bed, records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """Return pictures of one or two stamps, with a box and a caption each: written, ingested, read.

    Args:
        where: a new folder.
        bed: for the pictures.
        records: stamps that may be in them.
        count: how many.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    where.mkdir(parents=True)
    regions, facts, texts = [], [], []
    for n in range(count):
        canvas = PIL.Image.new("RGB", (2 * SIDE, 2 * SIDE), "white")
        here = []
        for place in rng.permutation(4)[: 1 + int(rng.integers(2))].tolist():
            r = records[int(rng.integers(len(records)))]
            size = int(rng.integers(SIDE * 3 // 4, SIDE + 1))
            tile = PIL.Image.fromarray((bed.pixels[r.id].transpose(1, 2, 0) * 255).astype(np.uint8))
            x, y = (SIDE * (place % 2) + (SIDE - size) // 2, SIDE * (place // 2) + (SIDE - size) // 2)
            canvas.paste(tile.resize((size, size)), (x, y))
            here.append({"x": x, "y": y, "width": size, "height": size, "phrase": text_in(r, "en")})
        canvas.save(where / f"{n}.jpg", quality=95)
        regions.append({"id": n, "regions": here})
        facts.append({"image_id": n, "width": 2 * SIDE, "height": 2 * SIDE})
        texts.append({"image": f"{n}.jpg", "caption_en": " ".join(one["phrase"] for one in here)})
    (where / "region_descriptions.json").write_text(json.dumps(regions), "utf-8")
    (where / "image_data.json").write_text(json.dumps(facts), "utf-8")
    (where / "whole.jsonl").write_text("\n".join(map(json.dumps, texts)), "utf-8")
    panoglot.ingest(where / "whole.jsonl", where / "x.pano", option={"kind": "human"}, quiet=True)
    panoglot.ingest(where / "region_descriptions.json", where / "x.pano", option={"lang": "en"}, quiet=True)
    panoglot.caption(where / "x.pano", method="evidence", lang="en", quiet=True)
    found = [r for r in read_records(where / "x.pano", lang=["en"]).records if r.regions]
    for r in found:
        r.image = pixels_of(r.image)
    return found
