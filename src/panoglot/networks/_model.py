"""The model of a row: towers, readers, bridges and losses; one forward gives every loss."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._heads import take_own
from panoglot.networks._kinds import Kinds
from panoglot.networks._language import Language
from panoglot.networks._needs import streams_of
from panoglot.networks._queries import Queries
from panoglot.networks._records import Batch, Term
from panoglot.networks._row import LOSS_KEYS, Row, build
from panoglot.networks._shared import Shared
from panoglot.networks._step import Reward, Step
from panoglot.networks.parts import Features, Widths
from panoglot.networks.readers import Located
from panoglot.networks.towers import Blended, unit
from panoglot.networks.towers.stored import Stored

__all__ = ["Model", "make_model"]


def _known(image: Any, text: Any) -> Any:
    """Return what two stored encoders have in common before any training; None: nothing that we know of."""
    names = [getattr(tower, "encoder", "").partition("?")[0] for tower in (image, text)]
    if names != ["embedded:efficientnet-lite2", "embedded:e5"]:
        return None
    from panoglot.providers import load_model

    return load_model("embedded:conse", "encoder").parts()


class Model(Language, Queries, Shared):
    """Built by `make_model` from a row."""

    image: Any
    text: Any
    head: Any
    text_head: Any

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row = row
        self.readers: Any = nn.ModuleDict()
        if "tokeniser" in row.readers:
            self.readers["tokeniser"] = build(Kinds("tokeniser"), row.readers["tokeniser"], "tokeniser")
        self.image = self.make_tower(row.image, "image") if row.image else None
        self.towers: Any = nn.ModuleDict({n: self.make_tower(spec, n) for n, spec in row.towers.items()})
        self.text = self.make_text(row) if row.text else None
        self.kind = row.head["kind"]
        start = _known(self.image, self.text) if self.kind == "residual" else None
        self.head = None
        if self.image is not None:
            self.head = build(Kinds("head"), row.head, "head", model=self, row=row, start=start)
        self.text_head = None
        if self.writes:
            self.make_vectors(row)
        elif self.text is not None:
            self.make_text_head(row, start)
        if self.kind == "none" and not self.writes and self.image is not None and self.image.width != row.dim:
            raise UserError(f"head none: the image tower gives {self.image.width} numbers, dim is {row.dim}.")
        if row.shared:
            self.make_shared(row)
            self.tap = self.usual_tap()
        self.widths = self.measure(row)
        for name, spec in row.readers.items():
            if name != "tokeniser":
                self.readers[name] = build(Kinds(name), spec, name, self.widths)
        if "locator" in self.readers:
            self.widths = replace(self.widths, queries=getattr(self.readers["locator"], "width", 0))
        made = {n: build(Kinds("bridge"), spec, f"bridges.{n}", self.widths) for n, spec in row.bridges.items()}
        self.bridges: Any = nn.ModuleDict(made)
        self.parts: Any = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        self.rewards: dict[str, Reward] = {}
        self._specs: dict[str, dict[str, Any]] = {}
        self.begin(row.parts)

    def make_tower(self, spec: Mapping[str, Any], what: str) -> Any:
        """Build a picture tower; one of codes is told how many there are."""
        kinds, more = Kinds("image"), {}
        make = kinds[spec["kind"]] if spec.get("kind") in kinds else None
        wants = inspect.signature(make).parameters if make is not None else {}
        if "size" in wants and "patch" in wants and "size" not in spec:
            more["size"] = self.row.size
        if "cells" in wants:
            if "tokeniser" not in self.readers:
                raise UserError(f"{what}: {spec['kind']} reads codes: readers: {{tokeniser: {{kind: palette}}}}.")
            more |= {"codes": self.readers["tokeniser"].codes, "cells": self.readers["tokeniser"].cells}
        return build(kinds, spec, what, **more)

    def make_text_head(self, row: Row, start: Any) -> None:
        """Build what brings the text tower's vector into the joint space."""
        composer = row.readers.get("composer", {})
        if self.kind == "own" or (composer and Kinds("composer").declares(str(composer["kind"]), "speaks", False)):
            spoken = self.kind != "own" or not hasattr(self.text, "take_projection")  # by the composer
            self.text_head = nn.Identity() if spoken else take_own("text", self.text, row.dim)
            return
        joint = isinstance(self.text, Stored) or getattr(self.text, "joint", False)
        same = joint and self.text.width == row.dim
        plain = same or self.kind == "none"
        self.text_head = nn.Identity() if plain else nn.Linear(self.text.width, row.dim, bias=False)
        if self.kind == "residual":
            known = [] if start is None else [torch.as_tensor(start[k]) for k in ("project", "offset")]
            self.text_head = Blended(self.text.width, row.dim, row.head.get("blend", 1.0), *known)
        if self.kind == "none" and self.text.width != row.dim:
            raise UserError(f"head none: the text tower gives {self.text.width} numbers, dim is {row.dim}.")

    def measure(self, row: Row) -> Widths:
        """Return the sizes that losses, readers and bridges are built for."""
        tokeniser = dict(self.readers.items()).get("tokeniser")
        return Widths(
            row.dim,
            self.image.width if self.image is not None else 0,
            getattr(self.text, "token_width", self.text.width) if self.text is not None else 0,
            getattr(getattr(self.text, "tokens", None), "size", 0),
            row.size,
            getattr(self.image, "patch", 0),
            getattr(tokeniser, "codes", 0),
            getattr(tokeniser, "cells", 0),
            self.media_width() if self.writes else 0,
        )

    def reader(self, name: str) -> Any:
        """Return a reader of the row: `locator`, `painter`, `composer`, `tokeniser`.

        Raises:
            UserError: the row has none.
        """
        if name not in self.readers:
            raise UserError(f"'{self.row.method}' has no {name}: readers: {{{name}: {{kind: …}}}}.")
        return self.readers[name]

    def make_text(self, row: Row) -> Any:
        """Build the text tower, or the language model."""
        assert row.text is not None
        kinds, kind = Kinds("text"), row.text.get("kind")
        if kind in kinds and kinds.declares(str(kind), "writes", False):
            return self.make_language_model(row)
        return build(kinds, row.text, "text")

    def learn_tokens(self, records: Sequence[Any]) -> None:
        """Learn the text tower's tokeniser of the records' texts, where it is one that learns and has not yet."""
        unlearnt = isinstance(getattr(self.text, "learnt", None), Tensor) and not len(self.text.learnt)
        if unlearnt and not self.text.learnt.is_meta:
            each = (getattr(r, "texts", ()) or getattr(r, "turns", ()) for r in sorted(records, key=lambda r: r.id))
            self.text.learn([t.text for texts in each for t in texts if t.text])

    def begin(
        self, losses: Mapping[str, Mapping[str, Any]], streams: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Compute these losses and no others from now on: those of a row, or of one of its stages.

        Args:
            losses: name → options.
            streams: that a step mixes; None: those of the row.

        A part whose options changed is made anew and takes over what it has learnt.

        Raises:
            UserError: an unknown loss or option, or options that change a part's shapes.
        """
        fresh: dict[str, Any] = {name: None for name in losses if name not in self.weights}  # taken up now
        for name, spec in losses.items():
            options = {"kind": name, **{k: v for k, v in spec.items() if k not in LOSS_KEYS}}
            if self._specs.get(name) != options:
                fresh[name] = dict(self.parts.items()).get(name)
                self.parts[name], self._specs[name] = build(Kinds("losses"), options, "losses", self.widths), options
        for name, old in fresh.items():
            self.parts[name].start(self)
            if old is not None:
                try:
                    self.parts[name].load_state_dict(old.state_dict())
                except RuntimeError as error:
                    raise UserError(
                        f"losses: a stage gives '{name}' options that change its shapes; name another loss of its kind."
                    ) from error
                self.parts[name].to(next(self.parameters()).device)
        self.weights = {name: float(spec.get("weight", 1.0)) for name, spec in losses.items()}
        self.sees = streams_of(losses, self.row.streams if streams is None else streams)

    @property
    def active(self) -> dict[str, Any]:
        """The losses that are computed now, by name."""
        return {name: self.parts[name] for name in self.weights}

    def asks_for(self, *what: str) -> bool:
        """Whether a loss that is computed now needs one of these, see `NEEDS`."""
        return any(set(what) & set(part.needs) for part in self.active.values())

    def can(self, what: str) -> bool:
        """Whether a loss of the row says that the model can do this when it has learnt; see `Part.gives`."""
        return any(what in part.gives for part in self.parts.values())

    # ---- features --------------------------------------------------------------------------------------------------

    def image_features(self, batch: Batch, f: Features) -> None:
        """Fill in what the picture side makes."""
        if self.writes:
            self.media(batch, f)
            return
        if isinstance(self.image, Stored):
            if batch.image_vec is None:
                raise UserError("image: {kind: vector} needs records with stored picture vectors.")
            if batch.image_vec.shape[1] != self.image.width:
                raise UserError(
                    f"Stored vectors have {batch.image_vec.shape[1]} numbers, the row says {self.image.width}."
                )
            f.x = unit(self.head(batch.image_vec))
            return
        pooled, f.patches = self.look("image", self.image, batch)
        f.seen_as = pooled
        if hasattr(self.head, "fill"):  # heads that read patches in their own way
            self.head.fill(pooled, f.patches, f)
        else:
            f.x, f.local = unit(self.head(pooled)), unit(self.head(f.patches))
        if self.row.shared:
            f.x2 = self.tap_image(pooled, f.patches)

    def look(self, name: str, tower: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what a picture tower makes of a batch: of pixels, of codes, or of an input of its own."""
        if hasattr(tower, "read"):
            if name not in batch.inputs:
                raise UserError(f"The tower '{name}' reads assets, and the batch has none.")
            return tower(batch.inputs[name])  # type: ignore[no-any-return]
        if batch.image is None:
            raise UserError("This method needs pictures, and the batch has none.")
        return self.look_at(tower, batch.image[:, 0])

    def look_at(self, tower: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a tower makes of pictures [B, 3 or 4, H, W]."""
        if getattr(tower, "of_codes", False):
            pixels = self.reader("tokeniser").encode(pixels[:, :3])
        return tower(pixels)  # type: ignore[no-any-return]

    def picture_vectors(self, pixels: Tensor) -> Tensor:
        """Return unit vectors [B, D] of normalised pictures, with gradient."""
        f = Features()
        self.image_features(Batch([""] * len(pixels), image=pixels[:, None]), f)
        if f.x is None:
            raise UserError(f"'{self.row.method}' makes no vectors of pictures.")
        return f.x

    def text_vectors(self, ids: Tensor, mask: Tensor, langs: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return unit vectors [M, D], pooled [M, width], tokens [M, L, width] of texts."""
        length = int(mask.sum(1).max()) if len(mask) else 0
        ids, mask = ids[:, :length], mask[:, :length]
        pooled, tokens = self.text(ids, mask, langs)
        return unit(self.text_head(pooled)), pooled, tokens

    def text_features(self, batch: Batch, f: Features) -> None:
        """Fill in what the text side makes."""
        if batch.slot_mask is None:
            raise UserError("This method needs texts, and the batch has none.")
        if isinstance(self.text, Stored):
            if batch.text_vec is None:
                raise UserError(
                    "text: {kind: stored} needs records with stored vectors of the texts that the sampler shows; "
                    "a part of a text (sampler: sentences) has none."
                )
            f.tokens = batch.text_vec[batch.slot_mask][:, None]
            f.y, f.token_mask = (
                unit(self.text_head(f.tokens[:, 0])),
                torch.ones_like(f.tokens[..., 0], dtype=torch.bool),
            )
            return
        if batch.tokens is None or batch.token_mask is None:
            raise UserError("The batch has no tokens.")
        f.langs = [
            lang
            for row, keep in zip(batch.lang, batch.slot_mask.tolist(), strict=True)
            for lang, k in zip(row, keep, strict=True)
            if k
        ]
        f.ids, f.token_mask = batch.tokens[batch.slot_mask], batch.token_mask[batch.slot_mask]
        if self.composer_reads_ids and not self.asks_for("text", "tokens"):
            return
        f.y, pooled, f.tokens = self.text_vectors(f.ids, f.token_mask, f.langs)
        f.read_as = pooled
        f.token_mask = f.token_mask[:, : f.tokens.shape[1]]
        if self.row.shared:
            f.y2 = self.tap_text(pooled, f.tokens, f.token_mask)

    def features(self, batch: Batch, *, lone: bool = False) -> Features:
        """Run towers and readers.

        Args:
            batch: of one stream.
            lone: of a stream that may lack pictures or texts: what is not there is not asked for.
        """
        f = Features()
        pictures = not lone or batch.image is not None or batch.image_vec is not None or bool(batch.inputs)
        if self.writes:
            if not lone or batch.given is not None:
                self.language_features(batch, f, lone)
        else:
            if self.image is not None and pictures:
                self.image_features(batch, f)
            asked = self.asks_for("text", "tokens") and not lone
            if self.text is not None and (asked or batch.slot_mask is not None):
                self.text_features(batch, f)
        if pictures:
            for name, tower in self.towers.items():
                f.towers[name] = self.look(name, tower, batch)
            if "locator" in self.readers:
                if f.patches is None and self.image is not None:
                    _, f.patches = self.look("image", self.image, batch)
                f.located = self.readers["locator"](f.patches, getattr(self.image, "places", None))
        return f

    def forward(self, batch: Batch) -> dict[str, Term]:
        """Return every loss of the row."""
        if batch.streams:
            return self.mixed(batch.streams)
        f = self.features(batch)
        step = Step(self, batch, f, self.rewards)
        return {name: part(f, batch, step) for name, part in self.active.items()}

    def mixed(self, streams: Mapping[str, Batch]) -> dict[str, Term]:
        """Return every loss over the streams that it sees; over several it is the mean over their items."""
        steps = {}
        for name, batch in streams.items():
            steps[name] = Step(self, batch, self.features(batch, lone=True), self.rewards)
        out = {}
        for name, part in self.active.items():
            terms = [part(steps[s].features, steps[s].batch, steps[s]) for s in self.sees[name] if s in steps]
            count = sum(term.count for term in terms)
            if not terms:
                out[name] = Term(next(self.parameters()).reshape(-1)[:0].sum(), 0)
            elif len(terms) == 1:
                out[name] = terms[0]
            else:
                parts = [t.value * (t.count / max(1, count)) for t in terms]
                out[name] = Term(torch.stack([p.reshape(()) for p in parts]).sum(), count)
        return out

    def after_step(self, step: int, total: int) -> None:
        """Limits, moving averages."""
        for part in self.active.values():
            part.after_step(self, step, total)

    # ---- as an encoder ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None, batch_size: int = 64) -> Tensor:
        """Return unit vectors [N, D] of texts."""
        self.eval()
        out = []
        for i in range(0, len(texts), batch_size):
            if self.speaks:
                some = None if langs is None else langs[i : i + batch_size]
                out.append(self.encode_queries(None, texts[i : i + batch_size], some))
                continue
            if self.writes:
                out.append(self.text_vectors_of_lm(texts[i : i + batch_size]))
                continue
            ids, mask = self.text.tokens(list(texts[i : i + batch_size]))
            tags = list(langs[i : i + batch_size]) if langs is not None else ["und"] * len(ids)
            here = next(self.parameters()).device
            out.append(self.text_in_use(ids.to(here), mask.to(here), tags))
        return torch.cat(out)

    def reads(self, lang: str) -> bool:
        """Whether the text tower reads a language: one with language adapters reads those that it has."""
        known = getattr(self.text, "knows", None)
        return known is None or bool(known(lang))

    @property
    def languages(self) -> list[str]:
        """The languages that the text tower has adapters for; none: it has no adapters."""
        known: Any = getattr(self.text, "languages", [])
        tags: Any = known[0].each if isinstance(known, nn.ModuleList) and len(known) else known
        return [str(tag).split("_")[0] for tag in tags]

    @torch.no_grad()
    def token_vectors(self, texts: Sequence[str], langs: Sequence[str], queries: bool) -> list[Tensor]:
        """Return unit vectors [T, ·] of the tokens that score, text by text: of a row with late interaction.

        Raises:
            UserError: the row has none.
        """
        part = next((part for part in self.parts.values() if "late" in part.gives), None)
        if part is None:
            raise UserError(f"'{self.row.method}' has one vector a text: its row needs losses: {{colbert: …}}.")
        self.eval()
        ids, mask, scores = part.prepared(*self.text.tokens(list(texts)), [queries] * len(texts), self.text.tokens)
        here = next(self.parameters()).device
        _, _, tokens = self.text_vectors(ids.to(here), mask.to(here), list(langs))
        rows = part.vectors(tokens).float()
        return [row[keep[: len(row)].to(here)] for row, keep in zip(rows, scores, strict=True)]

    @torch.no_grad()
    def encode_pixels(self, pixels: Tensor, batch_size: int = 64) -> Tensor:
        """Return unit vectors [N, D] of normalised pictures [N, 3, H, W] (or stored vectors [N, Dv]).

        They are [N, V, D] where the row's composer makes several vectors a picture.
        """
        self.eval()
        out = []
        for part in pixels.to(next(self.parameters()).device).split(batch_size):
            f = Features()
            ids = [""] * len(part)
            self.image_features(Batch(ids, image=part[:, None]) if part.dim() == 4 else Batch(ids, image_vec=part), f)
            out.append(self.gallery(f))
        if any(x is None for x in out):
            raise UserError(f"'{self.row.method}' makes no vectors of pictures; it writes: model.generate(…).")
        return torch.cat([x for x in out if x is not None])

    @torch.no_grad()
    def locate(self, pixels: Tensor) -> Located:
        """Return what the row's locator finds in normalised pictures [N, 3, H, W], or in assets of its tower."""
        self.eval()
        locator, here = self.reader("locator"), next(self.parameters()).device
        pixels = pixels.to(here)
        _, patches = self.image(pixels) if hasattr(self.image, "read") else self.look_at(self.image, pixels)
        return locator(patches, getattr(self.image, "places", None))  # type: ignore[no-any-return]

    @torch.no_grad()
    def paint(self, texts: Sequence[str], *, steps: int = 24, temperature: float = 0.0) -> Tensor:
        """Return normalised pictures [N, 3, size, size] that the row's painter makes of texts."""
        self.eval()
        painter, here = self.reader("painter"), next(self.parameters()).device
        ids, mask = (z.to(here) for z in self.ids_of(texts))
        codes = painter.generate(ids, mask, steps=steps, temperature=temperature)
        return self.reader("tokeniser").decode(codes, self.row.size)  # type: ignore[no-any-return]

    @torch.no_grad()
    def reward(
        self, pixels: Tensor, texts: Sequence[str], langs: Sequence[str] | None = None, batch_size: int = 64
    ) -> Tensor:
        """Return how well text n fits picture n, [N]: the reward of a row with a loss that scores, higher is better.

        Args:
            pixels: [N, 3, H, W] normalised pictures.
            texts: one a picture.
            langs: of the texts.
            batch_size: pairs at a time; changes nothing but memory.

        Raises:
            UserError: the row has no such loss, or the numbers differ.
        """
        scorer = next((part for part in self.parts.values() if "score" in part.gives), None)
        if scorer is None:
            raise UserError(f"'{self.row.method}' has no reward: its row needs losses: {{rank: …}}.")
        if len(texts) != len(pixels):
            raise UserError(f"{len(pixels)} pictures, but {len(texts)} texts.")
        self.eval()
        out = []
        for i in range(0, len(texts), batch_size):
            part = list(texts[i : i + batch_size])
            ids, mask = (z.to(pixels.device) for z in self.text.tokens(part))
            tags = ["und"] * len(part) if langs is None else list(langs[i : i + batch_size])
            patches = self.image(pixels[i : i + batch_size])[1]
            out.append(scorer.score(self, ids, mask, tags, patches))
        return torch.cat(out)


def make_model(row: Row, seed: int = 0) -> Model:
    """Build the model of a row; the same seed gives the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Model(row)
