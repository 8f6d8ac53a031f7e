"""Records to batches: which items come when (the plan of an epoch) and what each of them shows."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from panoglot.errors import RowError, UserError
from panoglot.networks._language import pad
from panoglot.networks._model import MEAN, STD, Model
from panoglot.networks._records import Batch, Record
from panoglot.networks._row import Row
from panoglot.networks.samplers import SAMPLERS, Document, Draw, Sample, batches, epoch_order, mix, shares
from panoglot.networks.samplers._sample import matching

__all__ = ["Data", "load_pixels", "square"]


def load_pixels(image: Any, side: int) -> Tensor:
    """Return [3, H, W] in 0..1 of a path, encoded bytes (or what returns them), or an array [3, H, W].

    Raises:
        RowError: the picture is broken, or holds numbers that are not finite.
    """
    if isinstance(image, np.ndarray):
        x = torch.from_numpy(np.ascontiguousarray(image)).float()
        if x.dim() != 3 or x.shape[0] != 3:
            raise RowError("bad_shape", f"an array picture must be [3, H, W], got {tuple(x.shape)}")
        if not bool(torch.isfinite(x).all()):
            raise RowError("not_finite", "the picture has NaN or infinite values")
        return x
    from panoglot.pictures import Image

    try:
        if callable(image):
            image = image()
        picture = Image.from_path(image) if isinstance(image, str) else Image(image)
    except OSError as error:
        raise RowError("unreadable", str(error)) from error
    return torch.from_numpy(picture.pixels(side).copy()).permute(2, 0, 1).float() / 255


def square(x: Tensor, side: int, draw: Draw | None = None, scale: tuple[float, float] = (0.9, 1.0)) -> Tensor:
    """Return a normalised square [3, side, side]: the centre, or a random part where a draw is given.

    Args:
        x: [3, H, W] in 0..1.
        side: pixels.
        draw: what the crop depends on.
        scale: share of the area that is kept.
    """
    height, width = x.shape[1:]
    if draw is None:
        edge = min(height, width)
        top, left = (height - edge) // 2, (width - edge) // 2
        x = x[:, top : top + edge, left : left + edge]
    else:
        area = (scale[0] + (scale[1] - scale[0]) * draw.number()) * height * width
        ratio = (3 / 4) ** (1 - 2 * draw.number())
        h = max(1, min(height, round((area / ratio) ** 0.5)))
        w = max(1, min(width, round((area * ratio) ** 0.5)))
        top, left = draw.below(height - h + 1), draw.below(width - w + 1)
        x = x[:, top : top + h, left : left + w]
    if x.shape[1:] != (side, side):
        x = F.interpolate(x[None], (side, side), mode="bicubic", align_corners=False, antialias=True)[0].clamp(0, 1)
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def selected(
    record: Record,
    splits: Sequence[str] = (),
    kinds: Sequence[str] = (),
    lang: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> Record | None:
    """Return the record with the wanted texts only; None when its split or none of its texts is wanted.

    Stored text vectors belong to the texts one by one and are selected with them.
    """
    if splits and record.split not in splits:
        return None
    if isinstance(record, Document) or not (kinds or lang or sources) or not record.texts:
        return record
    texts = matching(record, kinds, sources, lang)
    place = {i: k for k, i in enumerate(i for i, t in enumerate(record.texts) if any(t is x for x in texts))}
    vectors = dict(record.vectors)
    if "text" in vectors and len(vectors["text"]) == len(record.texts):
        vectors["text"] = vectors["text"][list(place)]
    kept = [replace(t, of=None if t.of is None else place.get(t.of)) for t in texts]
    return replace(record, texts=kept, vectors=vectors) if kept else None


@dataclass
class _Chunks:
    """What can be read of an interleaved document."""

    pictures: Any = None
    chunks: list[tuple[int | None, Sequence[str]]] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)


class Data:
    """The items of a training run.

    Args:
        records: what there is.
        model: for its row and its tokenisers.
        seed: of everything random.
        augment: random crops; False takes the middle.
        row: a stage of the model's row; None: its whole row.

    Attributes:
        skipped: reason → how many records gave nothing.
        fallbacks: samples whose wanted language or kind was missing.
    """

    def __init__(
        self, records: Sequence[Record], model: Model, seed: int = 0, *, augment: bool = True, row: Row | None = None
    ) -> None:
        self.row = model.row if row is None else row
        self.model, self.seed, self.augment = model, seed, augment
        spec = dict(self.row.sampler)
        from panoglot.networks._row import build

        self.sampler: Any = build(SAMPLERS, spec, "sampler")
        if getattr(self.sampler, "count", 0) is None and model.writes:  # tokens as the language model counts them
            self.sampler = replace(self.sampler, count=lambda text: len(model.text.tokens.encode(text)))
        self.records: dict[str, Record] = {}
        self.skipped: Counter[str] = Counter()
        self.fallbacks = 0
        self.items: list[tuple[str, int]] = []
        kind = (self.row.image or {}).get("kind")
        for given in records:
            if given.id in self.records:
                raise UserError(f"Two records have the id '{given.id}'.")
            r = selected(given, **self.row.select)
            if r is None:
                self.skipped["not_selected"] += 1
                continue
            reason = self._missing(r, kind)
            if reason:
                self.skipped[reason] += 1
                continue
            self.records[r.id] = r
            self.items += [(r.id, k) for k in range(self.sampler.items(r))]
        if not self.items and self.skipped["no_text"]:
            raise UserError(self._nothing(records))
        if len(self.items) < self.row.batch:
            why = ", ".join(f"{n} {reason}" for reason, n in self.skipped.items())
            raise UserError(
                f"{len(self.items)} items cannot fill a batch of {self.row.batch}."
                + (f" Left out: {why}." if why else "")
                + " Give more data, or a smaller batch (--batch 64, or --preset small)."
            )
        self.pair = {p: i for i, p in enumerate(sorted({r.pair_id or r.id for r in self.records.values()}))}

    def _nothing(self, records: Sequence[Record]) -> str:
        """Say what the sampler takes, and what there is."""
        takes = (inspect.getdoc(self.sampler) or "").partition("\n")[0]
        asked = ", ".join(f"{k}: {v}" for k, v in self.row.sampler.items() if k != "kind")
        kinds = Counter(t.kind for r in records for t in r.texts)
        have = ", ".join(f"{kind} ({n:,})" for kind, n in kinds.most_common()) or "none"
        return (
            f"None of {len(records):,} pictures has the texts that this method learns from. Its sampler "
            f"'{self.row.sampler['kind']}'{f' ({asked})' if asked else ''} takes: {takes} The texts here are: {have}."
        )

    def _missing(self, r: Record, kind: str | None) -> str:
        if kind == "vector" and "image" not in r.vectors:
            return "no_image_vector"
        if kind not in (None, "vector") and r.image is None and not isinstance(r, Document):
            return "no_image"
        if any(not np.isfinite(v).all() for v in r.vectors.values()):
            return "not_finite"
        return "" if self.sampler.items(r) else "no_text"

    def plan(self, epoch: int) -> list[list[tuple[str, int]]]:
        """Return the steps of an epoch; a function of (seed, epoch) and the items."""
        if hasattr(self.sampler, "steps"):  # every step of one kind
            kinds: dict[str, list[tuple[str, int]]] = {}
            for id_, k in self.items:
                kinds.setdefault(self.sampler.pool(self.records[id_], k), []).append((id_, k))
            found = self.sampler.steps(kinds, self.row.batch, self.seed, epoch)
            if not found:
                sizes = ", ".join(f"{len(items)} {name}" for name, items in sorted(kinds.items()))
                raise UserError(f"No loader can fill a batch of {self.row.batch}: {sizes}.")
            return list(found)
        if not self.row.languages:
            return batches(epoch_order(self.items, self.seed, epoch), self.row.batch)
        pools: dict[str, list[tuple[str, int]]] = {}
        for id_, k in self.items:
            lang = self.sampler(self.records[id_], self.seed, epoch, k).lang
            pools.setdefault(lang, []).append((id_, k))
        share = shares({n: len(p) for n, p in pools.items()}, **self.row.languages)
        order = [item for _, item in mix(pools, share, self.seed, epoch, length=len(self.items))]
        return batches(order, self.row.batch)

    def batch(self, step: Sequence[tuple[str, int]], epoch: int) -> Batch:
        """Make the tensors of a step. Records whose picture is broken are left out and counted."""
        out, skipped, fallbacks = self.load(step, epoch)
        self.skipped += skipped
        self.fallbacks += fallbacks
        return out

    def load(
        self, step: Sequence[tuple[str, int]], epoch: int, each: Callable[..., Iterable[Any]] = map
    ) -> tuple[Batch, Counter[str], int]:
        """Make the tensors of a step and change nothing here: a step that is still to come can be made ahead of time.

        Args:
            step: items of the plan.
            epoch: of it.
            each: `map`, or that of a pool of threads: pictures are read one by one.

        Returns:
            The batch, how many pictures were broken (by reason), and how many samples had a fallback.
        """
        views = self.row.views
        kept: list[tuple[Record, Sample]] = []
        pictures: list[Tensor] = []
        small: list[Tensor] = []
        written: list[tuple[list[int], list[int], list[int]]] = []
        skipped: Counter[str] = Counter()
        for (id_, k), found in zip(step, each(lambda item: self._views(item[0], item[1], epoch), step), strict=True):
            if isinstance(found, str):
                skipped[found] += 1
                continue
            r, sample = self.records[id_], self.sampler(self.records[id_], self.seed, epoch, k)
            if isinstance(found, _Chunks):
                skipped += found.broken
                sample = replace(sample, chunks=found.chunks)
            if self.model.writes:
                try:
                    written.append(self._write(sample))
                except RowError as error:
                    skipped[error.reason] += 1
                    continue
            if isinstance(found, _Chunks):
                pictures.append(found.pictures)
            elif found is not None:
                pictures.append(found[0])
                if views.get("local"):
                    small.append(found[1])
            kept.append((r, sample))
        fallbacks = sum(s.fallback for _, s in kept)
        if not kept:
            return Batch(), skipped, fallbacks
        out = Batch(ids=[r.id for r, _ in kept])
        out.pair_id = torch.tensor([self.pair[r.pair_id or r.id] for r, _ in kept], dtype=torch.long)
        out.seed = int(Draw(self.seed, epoch, "losses").number() * 2**53)
        if pictures:
            most = max(len(p) for p in pictures)
            if any(len(p) < most for p in pictures):  # documents with fewer pictures
                out.picture_mask = torch.tensor([[t < len(p) for t in range(most)] for p in pictures])
                pictures = [F.pad(p, (0, 0) * 3 + (0, most - len(p))) for p in pictures]
            out.image = torch.stack(pictures)
        if small:
            out.local_image = torch.stack(small)
        if kept and all("image" in r.vectors for r, _ in kept):
            self._vectors(out, [r for r, _ in kept])
        if self.model.writes:
            self._language(out, kept, written)
        else:
            self._texts(out, kept)
        self._regions(out, kept)
        return out.check(), skipped, fallbacks

    def _views(self, id_: str, k: int, epoch: int) -> str | tuple[Tensor, Tensor] | _Chunks | None:
        """Return the views of a picture, [V, 3, H, W] and the small ones; why it cannot be read; None: not needed."""
        if self.row.image is None or self.row.image.get("kind") == "vector":
            return None
        if isinstance(self.records[id_], Document):
            return self._chunks(id_, k, epoch)
        try:
            x = load_pixels(self.records[id_].image, self.row.size)
        except RowError as error:
            return error.reason
        views, draw = self.row.views, Draw(self.seed, epoch, id_, k, "crop")

        def cut(count: int, side: int, scale: tuple[float, float]) -> Tensor:
            return torch.stack([square(x, side, draw if self.augment else None, scale) for _ in range(count)])

        whole = cut(views.get("global", 1), self.row.size, tuple(views.get("scale", (0.9, 1.0))))
        if not views.get("local"):
            return whole, whole
        return whole, cut(views["local"], views["local_size"], tuple(views.get("local_scale", (0.2, 0.5))))

    def _chunks(self, id_: str, k: int, epoch: int) -> str | _Chunks:
        """Return the pictures of a document; one that is broken goes with its place and its sentences."""
        doc, out = self.records[id_], _Chunks()
        pictures = []
        for place, sentences in self.sampler(doc, self.seed, epoch, k).chunks:
            try:
                x = load_pixels(doc.images[place], self.row.size)  # type: ignore[attr-defined]
            except RowError as error:
                out.broken[error.reason] += 1
                continue
            draw = Draw(self.seed, epoch, id_, k, "crop", place) if self.augment else None
            pictures.append(square(x, self.row.size, draw))
            out.chunks.append((place, sentences))
        if not pictures:
            return next(iter(out.broken), "no_text")
        out.pictures = torch.stack(pictures)
        return out

    def _vectors(self, out: Batch, records: Sequence[Record]) -> None:
        """Fill in stored picture vectors, [B, Dv], or those of regions, [B, R, Dv], with boxes and masks."""
        found = [torch.from_numpy(np.asarray(r.vectors["image"], np.float32)) for r in records]
        if found[0].dim() == 1:
            out.image_vec = torch.stack(found)
            return
        out.image_vec = torch.nn.utils.rnn.pad_sequence(found, batch_first=True)
        most = out.image_vec.shape[1]
        out.vec_mask = torch.tensor([[k < len(x) for k in range(most)] for x in found])
        for name, slot in (("boxes", "vec_boxes"), ("pictures", "vec_picture")):
            if all(name in r.vectors for r in records):
                rows = [torch.from_numpy(np.asarray(r.vectors[name])) for r in records]
                whole = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
                setattr(out, slot, whole.float() if name == "boxes" else whole.long())

    def _write(self, sample: Sample) -> tuple[list[int], list[int], list[int]]:
        """Return what is given, written and learnt of a sample."""
        text = next((t.text for t in sample.texts if t is not None), "")
        target = sample.target or text
        if not target and not sample.chunks:
            raise RowError("no_text", "there is nothing to write")
        picture = self.row.image is not None
        return self.model.text.compose(sample.prefix, sample.start, target, picture, sample.chunks)  # type: ignore[no-any-return]

    def _language(
        self,
        out: Batch,
        kept: Sequence[tuple[Record, Sample]],
        written: Sequence[tuple[list[int], list[int], list[int]]],
    ) -> None:
        """Fill in what a language model reads and writes."""
        pieces = self.model.text.tokens
        out.given, out.given_mask = pad([g for g, _, _ in written], pieces.pad)
        out.target = pad([labels for _, _, labels in written], -100)[0]
        if any(w for _, w, _ in written):
            out.written = pad([w for _, w, _ in written], pieces.pad)[0]
        # a document's pictures and sentences are no pairs
        out.slot_mask = torch.tensor([[not s.chunks] for _, s in kept])
        out.lang = [[s.lang] for _, s in kept]
        tasks = {s.task for _, s in kept}
        out.task = tasks.pop() if len(tasks) == 1 else ""

    def _texts(self, out: Batch, kept: Sequence[tuple[Record, Sample]]) -> None:
        vectors = [[r.vectors["text"][i] for i in s.vectors] for r, s in kept if s.vectors]
        if vectors and len(vectors) == len(kept):
            width = max(len(v) for v in vectors)
            out.slot_mask = torch.tensor([[k < len(v) for k in range(width)] for v in vectors])
            out.text_vec = torch.zeros(len(kept), width, len(vectors[0][0]))
            for i, v in enumerate(vectors):
                # rows stored in half precision are not quite unit: made so again
                out.text_vec[i, : len(v)] = F.normalize(torch.from_numpy(np.asarray(v, np.float32)), dim=-1)
            return
        slots = max((len(s.texts) for _, s in kept), default=0)
        if "rank" in self.row.losses and slots:
            scores = [[math.nan if t is None or t.score is None else t.score for t in s.texts] for _, s in kept]
            out.quality = torch.tensor([row + [math.nan] * (slots - len(row)) for row in scores])
        if not slots:
            return
        texts = [[*s.texts, *[None] * (slots - len(s.texts))] for _, s in kept]
        out.slot_mask = torch.tensor([[t is not None for t in row] for row in texts])
        out.lang = [[t.lang if t else "und" for t in row] for row in texts]
        if hasattr(self.model.text, "tokens"):
            ids, mask = self.model.text.tokens([t.text if t else "" for row in texts for t in row])
            mask = mask & out.slot_mask.flatten()[:, None]
            out.tokens, out.token_mask = (z.unflatten(0, (len(kept), slots)) for z in (ids, mask))
        if all("text" in r.vectors for r, _ in kept):
            places = [[r.texts.index(t) if t in r.texts else -1 for t in row if t] for (r, _), row in zip(kept, texts)]
            if all(k >= 0 for place in places for k in place):  # a part of a text has no vector of its own
                stored = [np.asarray(r.vectors["text"], np.float32)[place] for (r, _), place in zip(kept, places)]
                out.text_vec = torch.zeros(len(kept), slots, stored[0].shape[-1])
                out.text_vec[out.slot_mask] = torch.from_numpy(np.concatenate(stored))

    def _regions(self, out: Batch, kept: Sequence[tuple[Record, Sample]]) -> None:
        if "box" not in self.row.losses and "regions" not in self.row.losses:
            return
        most = max(1, max(len(s.regions) for _, s in kept))
        out.boxes = torch.zeros(len(kept), most, 4)
        out.region_mask = torch.zeros(len(kept), most, dtype=torch.bool)
        texts = [[x.text for x in s.regions] + [""] * (most - len(s.regions)) for _, s in kept]
        for i, (_, s) in enumerate(kept):
            for j, x in enumerate(s.regions):
                centred = x.centred()
                if centred is not None:
                    out.boxes[i, j], out.region_mask[i, j] = torch.tensor(centred), True
        ids, mask = self.model.text.tokens([t for row in texts for t in row])
        out.region_tokens, out.region_token_mask = (z.unflatten(0, (len(kept), most)) for z in (ids, mask))
        out.region_lang = [s.lang for _, s in kept]
