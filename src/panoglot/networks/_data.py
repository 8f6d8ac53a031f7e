"""Records to batches: which items come when (the plan of an epoch) and what each of them shows."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from panoglot.errors import RowError, UserError
from panoglot.networks._augment import augmented
from panoglot.networks._kinds import Kinds
from panoglot.networks._language import pad
from panoglot.networks._model import Model
from panoglot.networks._needs import too_few
from panoglot.networks._records import Batch, Record, RegionText
from panoglot.networks._row import Row, build
from panoglot.networks._tiles import Tiling, cut_tiles, share_tiles
from panoglot.networks._views import (
    View,
    choose_view,
    large_enough,
    load_pixels,
    load_sized,
    normalised,
    shown_frames,
    shown_of,
    square,
)
from panoglot.networks.parts import mask_of
from panoglot.networks.samplers import Document, Draw, Sample, batches, epoch_order, mix, shares
from panoglot.networks.samplers._sample import named
from panoglot.networks.samplers._select import selected
from panoglot.networks.towers.stored import Stored

__all__ = ["Data", "Loading", "selected"]


@dataclass
class _Shown:
    """What of an item is shown: its sample, with regions where the view has them, and its pictures.

    Attributes:
        sample: what it shows.
        pictures: [V, 3 or 4, S, S] views of its picture, or the pictures of a document; None: none are needed.
        small: further, smaller views.
        others: [T, 3, S, S] pictures beside its own.
        frames: how many of the pictures each video has, where there are videos.
        inputs: what further towers read.
        broken: pictures that could not be read, by reason.
        lost: regions that the view left nothing, or too little, of.
    """

    sample: Sample
    pictures: Tensor | None = None
    small: Tensor | None = None
    others: Tensor | None = None
    frames: list[int] = field(default_factory=list)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    broken: Counter[str] = field(default_factory=Counter)
    lost: int = 0


class Loading(ABC):
    """What makes batches of the steps of its plan, and counts what was not used.

    Attributes:
        skipped: reason → how many records gave nothing.
        fallbacks: samples whose wanted language or kind was missing.
        lost: regions that crops left nothing, or too little, of.
    """

    skipped: Counter[str]
    fallbacks: int
    lost: int

    def batch(self, step: Sequence[tuple[str, int]], epoch: int) -> Batch:
        """Make the tensors of a step. Records whose picture is broken are left out and counted."""
        out, skipped, fallbacks = self.load(step, epoch)
        self.skipped += skipped
        self.fallbacks += fallbacks
        self.lost += out.lost
        return out

    @abstractmethod
    def load(
        self, step: Sequence[tuple[str, int]], epoch: int, each: Callable[..., Iterable[Any]] = map
    ) -> tuple[Batch, Counter[str], int]:
        """Make the tensors of a step and change nothing here; see `Data.load`."""


class Data(Loading):
    """The items of a training run.

    Args:
        records: what there is.
        model: for its row and its tokenisers.
        seed: of everything random.
        augment: random crops; False takes the middle.
        row: a stage of the model's row; None: its whole row.
    """

    def __init__(
        self, records: Sequence[Record], model: Model, seed: int = 0, *, augment: bool = True, row: Row | None = None
    ) -> None:
        self.row = model.row if row is None else row
        model.learn_tokens(records)
        self.model, self.seed, self.augment = model, seed, augment
        self.writes = model.writes and self.row.text is not None
        self.looks = self._looks()
        self.sampler: Any = build(Kinds("sampler"), self.row.sampler, "sampler")
        if getattr(self.sampler, "count", 0) is None and self.writes:  # tokens as the language model counts them
            self.sampler = replace(self.sampler, count=lambda text: len(model.text.tokens.encode(text)))
        self.tiling = Tiling(**{"side": self.row.size, **self.row.tiles}) if self.row.tiles else None
        if self.tiling is not None and self.tiling.side != self.row.size:
            raise UserError(f"tiles: side={self.tiling.side} must be the size of the row, {self.row.size}.")
        self.records: dict[str, Record] = {}
        self.skipped: Counter[str] = Counter()
        self.fallbacks = self.lost = 0
        self.items: list[tuple[str, int]] = []
        for given in records:
            if given.id in self.records:
                raise UserError(f"Two records have the id '{given.id}'.")
            r = selected(given, **self.row.select)
            if r is None:
                self.skipped["not_selected"] += 1
                continue
            reason = self._missing(r)
            if reason:
                self.skipped[reason] += 1
                continue
            self.records[r.id] = r
            self.items += [(r.id, k) for k in range(self.sampler.items(r))]
        if not self.items and self.skipped["no_text"]:
            raise UserError(self._nothing(records))
        if len(self.items) < self.row.batch:
            why = ", ".join(f"{n} {reason}" for reason, n in self.skipped.items())
            raise UserError(too_few(len(self.items), self.row.batch) + (f" (left out: {why})" if why else ""))
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

    def _looks(self) -> str:
        """Return what is read of a picture: `pixels`, a stored `vector`, an `asset`, or nothing."""
        if self.row.image is None:
            return ""
        if isinstance(self.model.image, Stored):
            return "vector"
        return "asset" if hasattr(self.model.image, "read") else "pixels"

    def _missing(self, r: Record) -> str:
        if self.looks == "vector" and "image" not in r.vectors:
            return "no_image_vector"
        if self.looks == "asset" and r.asset is None:
            return "no_asset"
        shown = isinstance(r, Document) or r.image is not None or any(turn.picture is not None for turn in r.turns)
        if self.looks == "pixels" and not shown:
            return "no_image"
        if self.looks == "vector" and r.pictures and not r.turns and "others" not in r.vectors:
            return "no_image_vector"
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
            pools.setdefault(named(lang, self.row.languages.get("weights", ())), []).append((id_, k))
        share = shares({n: len(p) for n, p in pools.items()}, **self.row.languages)
        order = [item for _, item in mix(pools, share, self.seed, epoch, length=len(self.items))]
        return batches(order, self.row.batch)

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
        kept: list[tuple[Record, Sample]] = []
        shown: list[_Shown] = []
        written: list[tuple[list[int], list[int], list[int]]] = []
        skipped: Counter[str] = Counter()
        for (id_, _), found in zip(step, each(lambda item: self._show(item[0], item[1], epoch), step), strict=True):
            if isinstance(found, str):
                skipped[found] += 1
                continue
            skipped += found.broken
            if self.writes:
                try:
                    written.append(self._write(found.sample))
                except RowError as error:
                    skipped[error.reason] += 1
                    continue
            shown.append(found)
            kept.append((self.records[id_], found.sample))
        fallbacks = sum(s.fallback for _, s in kept)
        if not kept:
            return Batch(), skipped, fallbacks
        out = Batch(ids=[r.id for r, _ in kept], lost=sum(one.lost for one in shown))
        out.pair_id = torch.tensor([self.pair[r.pair_id or r.id] for r, _ in kept], dtype=torch.long)
        out.seed = int(Draw(self.seed, epoch, "losses").number() * 2**53)
        self._pictures(out, shown)
        if kept and all("image" in r.vectors for r, _ in kept):
            self._vectors(out, [r for r, _ in kept])
        if self.writes:
            self._language(out, kept, written)
        elif self.row.text is not None:
            self._texts(out, kept)
        self._asked(out, kept)
        for name in self.row.losses:
            self.model.parts[name].collate(out, kept, self.model)
        return out.check(), skipped, fallbacks

    # ---- pictures ----------------------------------------------------------------------------------------------------

    def _show(self, id_: str, k: int, epoch: int) -> str | _Shown:
        """Return what an item shows, or why it cannot be read."""
        r = self.records[id_]
        out = _Shown(self.sampler(r, self.seed, epoch, k))
        try:
            for name, tower in self.model.towers.items():
                if hasattr(tower, "read"):
                    out.inputs[name] = tower.read(r)
            if self.looks == "asset":
                out.inputs["image"] = self.model.image.read(r)
            elif self.looks == "pixels" and isinstance(r, Document):
                return self._chunks(r, out, k, epoch)
            elif self.looks == "pixels" and r.loader == "pair_video":
                self._film(r, out, k, epoch)
            elif self.looks == "pixels" and out.sample.pieces:
                self._document(r, out, k, epoch)
            elif self.looks == "pixels":
                self._views(r, out, k, epoch)
            if out.sample.others and self.looks == "pixels":
                out.others = torch.stack([shown_of(r.pictures[n], self.row) for n in out.sample.others])
        except RowError as error:
            return error.reason
        return out

    def _views(self, r: Record, out: _Shown, k: int, epoch: int) -> None:
        """Fill in the views of a picture; its regions are where the first of them has them."""
        views, size = self.row.views, self.row.size
        x, full = load_sized(r.image, max(size, views.get("of", 0)))
        draw = Draw(self.seed, epoch, r.id, k, "crop") if self.augment else None

        def choose(count: int, scale: Any) -> list[View]:
            flip = float(views.get("flip", 0.0))
            share = size / views["of"] if "of" in views else None
            flop, turn = float(views.get("flop", 0.0)), bool(views.get("turn", False))
            how = (tuple(scale), flip, share, flop, turn, float(views.get("pad", 0.0)))
            return [choose_view(x.shape[1], x.shape[2], draw, *how) for _ in range(count)]

        whole = choose(views.get("global", 1), views.get("scale", (0.9, 1.0)))
        sample = out.sample
        out.pictures = torch.stack([self._shown(view, x, sample.asked, full, draw) for view in whole])
        if views.get("local"):
            small = choose(views["local"], views.get("local_scale", (0.2, 0.5)))
            out.small = torch.stack([normalised(view.pixels(x, views["local_size"])) for view in small])
        if sample.regions or sample.asked:
            regions = [whole[0].region(region, size, full) for region in sample.regions]
            asked = [whole[0].region(region, size, full) for region in sample.asked]
            out.lost = regions.count(None)
            if sample.asked and asked[0] is None:
                raise RowError("region_cut", "what is asked about is not in the view")
            out.sample = replace(sample, regions=_there(regions), asked=_there(asked))

    def _shown(
        self, view: View, x: Tensor, asked: Sequence[RegionText], full: tuple[int, int], draw: Draw | None
    ) -> Tensor:
        """Return a view's pixels, and where the tower has an alpha channel the regions that are asked about."""
        pixels = view.pixels(x, self.row.size)
        if draw is not None and "augment" in self.row.views:
            pixels = augmented(pixels, draw, **self.row.views["augment"])
        pixels = normalised(pixels)
        if getattr(self.model.image, "alpha", None) is None:
            return pixels
        side = self.row.size
        meant = [mask_of(region, side) for region in _there([view.region(one, side, full) for one in asked])]
        alpha = torch.stack(meant).any(0) if meant else torch.ones(side, side, dtype=torch.bool)
        return torch.cat([pixels, alpha[None].float()])

    def _chunks(self, doc: Any, out: _Shown, k: int, epoch: int) -> str | _Shown:
        """Return the pictures of a document; one that is broken goes with its place and its sentences."""
        pictures: list[Tensor] = []
        chunks = []
        for place, sentences in out.sample.chunks:
            try:
                found = self._frames(doc, doc.images[place], (k, "crop", place), epoch)
            except RowError as error:
                out.broken[error.reason] += 1
                continue
            pictures += found
            out.frames.append(len(found))
            chunks.append((place, sentences))
        if not pictures:
            return next(iter(out.broken), "no_text")
        out.pictures, out.sample = torch.stack(pictures), replace(out.sample, chunks=chunks)
        return out

    def _film(self, r: Record, out: _Shown, k: int, epoch: int) -> None:
        """Fill in the frames of a video."""
        found = self._frames(r, tuple(r.pictures), (k, "crop"), epoch)
        out.pictures, out.frames = torch.stack(found), [len(found)]

    def _frames(self, r: Any, picture: Any, drawn: tuple[Any, ...], epoch: int) -> list[Tensor]:
        """Return a picture, or frames of a video, spread evenly over it; all are cropped alike."""
        some = shown_frames(picture, getattr(self.sampler, "frames", 3)) if isinstance(picture, tuple) else [picture]
        if isinstance(r, Document) and (least := getattr(self.sampler, "min_bytes", 0)):
            some = [large_enough(one, least) for one in some]
        draws = [Draw(self.seed, epoch, r.id, *drawn) if self.augment else None for _ in some]
        return [square(load_pixels(x, self.row.size), self.row.size, draw) for x, draw in zip(some, draws, strict=True)]

    def _document(self, r: Record, out: _Shown, k: int, epoch: int) -> None:
        """Fill in the pictures of a document with turns, in one budget of tiles where the row has one."""
        places = [piece for piece, _ in out.sample.pieces if isinstance(piece, int)]
        loaded = [load_sized(r.pictures[n], None if self.tiling else self.row.size) for n in places]
        if self.tiling is None:
            draws = [Draw(self.seed, epoch, r.id, k, "crop", n) if self.augment else None for n in places]
            views = [choose_view(x.shape[1], x.shape[2], draw) for (x, _), draw in zip(loaded, draws, strict=True)]
            groups = [normalised(view.pixels(x, self.row.size))[None] for view, (x, _) in zip(views, loaded)]
        else:
            grids = share_tiles([(x.shape[2], x.shape[1]) for x, _ in loaded], self.tiling)
            views = [_fitted(x) for x, _ in loaded]
            cuts = [cut_tiles(x, grid, self.row.size) for (x, _), grid in zip(loaded, grids, strict=True)]
            groups = [torch.stack([normalised(one) for one in cut]) for cut in cuts]
        out.pictures = torch.cat(groups)
        counts = iter([len(group) for group in groups])
        pieces = [(next(counts) if isinstance(piece, int) else piece, learn) for piece, learn in out.sample.pieces]
        which = {id(t.region): places.index(t.picture) for t in r.turns if t.region is not None and t.picture in places}
        asked = [
            views[which[id(x)]].region(x, self.row.size, loaded[which[id(x)]][1])
            for x in out.sample.asked
            if id(x) in which
        ]
        out.sample = replace(out.sample, pieces=tuple(pieces), asked=_there(asked))

    def _pictures(self, out: Batch, shown: Sequence[_Shown]) -> None:
        """Stack what is shown of every item."""
        pictures = [one.pictures for one in shown if one.pictures is not None]
        if pictures:
            most = max(len(p) for p in pictures)
            if any(len(p) < most for p in pictures):  # documents with fewer pictures
                out.picture_mask = torch.tensor([[t < len(p) for t in range(most)] for p in pictures])
                pictures = [F.pad(p, (0, 0) * 3 + (0, most - len(p))) for p in pictures]
            out.image = torch.stack(pictures)
        if any(count > 1 for one in shown for count in one.frames):
            media = max(len(one.frames) for one in shown)
            out.frames = torch.tensor([[*one.frames, *[0] * (media - len(one.frames))] for one in shown])
        small = [one.small for one in shown if one.small is not None]
        if small:
            out.local_image = torch.stack(small)
        others = [one.others for one in shown if one.others is not None]
        if others:
            most = max(map(len, others))
            out.others = torch.stack([F.pad(p, (0, 0) * 3 + (0, most - len(p))) for p in others])
            out.others_mask = torch.tensor([[t < len(p) for t in range(most)] for p in others])
        if self.looks == "vector" and shown and all(one.sample.others for one in shown):
            out.others_vec = self._stored_others(out.ids, shown)
        for name in shown[0].inputs:
            out.inputs[name] = torch.stack([one.inputs[name] for one in shown])

    def _stored_others(self, ids: Sequence[str], shown: Sequence[_Shown]) -> Tensor:
        """Return stored vectors [B, T, Dv] of the pictures beside the items' own; T is what the shortest item has."""
        least = min(len(one.sample.others) for one in shown)
        rows = [self.records[id_].vectors["others"][list(one.sample.others[:least])] for id_, one in zip(ids, shown)]
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def _asked(self, out: Batch, kept: Sequence[tuple[Record, Sample]]) -> None:
        """Fill in the regions that a writer is asked about."""
        most = max(len(s.asked) for _, s in kept)
        if not most:
            return
        out.asked_boxes, out.asked_mask = torch.zeros(len(kept), most, 4), torch.zeros(len(kept), most).bool()
        for i, (_, s) in enumerate(kept):
            for j, x in enumerate(s.asked):
                centred = x.centred()
                if centred is not None:
                    out.asked_boxes[i, j], out.asked_mask[i, j] = torch.tensor(centred), True

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
        if not target and not sample.chunks and not sample.pieces:
            raise RowError("no_text", "there is nothing to write")
        picture, compose = self.row.image is not None, self.model.text.compose
        more = {"document": sample.pieces} if sample.pieces else {}
        return compose(sample.prefix, sample.start, target, picture, sample.chunks, **more)  # type: ignore[no-any-return]

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
        if not slots:
            return
        texts = [[*s.texts, *[None] * (slots - len(s.texts))] for _, s in kept]
        out.slot_mask = torch.tensor([[t is not None for t in row] for row in texts])
        out.lang = [[t.lang if t else "und" for t in row] for row in texts]
        out.texts = [[t.text if t else "" for t in row] for row in texts]
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


def _there(regions: Sequence[RegionText | None]) -> tuple[RegionText, ...]:
    return tuple(region for region in regions if region is not None)


def _fitted(x: Tensor) -> View:
    """The view of a picture fitted into a square, with nothing around it."""
    height, width = x.shape[1:]
    edge = max(height, width)
    across, down = (edge - width) / 2 / width, (edge - height) / 2 / height
    return View(-across, -down, 1 + across, 1 + down)
