"""The model of a row: towers, heads and parts; one forward gives every loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._language import LANGUAGE_MODELS, Language
from panoglot.networks._records import Batch, Term
from panoglot.networks._row import Row, build
from panoglot.networks.parts import PARTS, Features, Widths
from panoglot.networks.towers import (
    Blended,
    Block,
    CharGru,
    HashedText,
    HfImage,
    HfText,
    OpenClipImage,
    OpenClipText,
    QueryDecoder,
    Residual,
    TextTransformer,
    TokenMlp,
    Vit,
    timm_image,
    unit,
)

__all__ = ["Model", "make_model"]

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class _Stored(nn.Module):
    """Features that are stored: nothing to compute.

    Args:
        width: of a vector.
        encoder: the model that makes them, `provider:name`; the trained model asks it for new pictures and texts.
        fingerprint: of that model.
    """

    def __init__(self, width: int, encoder: str = "", fingerprint: str = "") -> None:
        super().__init__()
        self.width, self.encoder, self.fingerprint = width, encoder, fingerprint


def _known(image: Any, text: Any) -> Any:
    """Return what two stored encoders have in common before any training; None: nothing that we know of."""
    names = [getattr(tower, "encoder", "").partition("?")[0] for tower in (image, text)]
    if names != ["embedded:efficientnet-lite2", "embedded:e5"]:
        return None
    from panoglot.providers import load_model

    return load_model("embedded:conse", "encoder").parts()


IMAGES = {"hf": HfImage, "open_clip": OpenClipImage, "timm": timm_image, "vector": _Stored, "vit": Vit}
TEXTS = {
    "char_gru": CharGru,
    "hashed": HashedText,
    "hf": HfText,
    "open_clip": OpenClipText,
    "stored": _Stored,
    "transformer": TextTransformer,
}


def heads(model: Any, row: Any, start: Any = None) -> dict[str, Any]:
    """Return kind → what makes the head of a model's image tower; `start`: what stored encoders have in common."""
    return {
        "linear": lambda: nn.Linear(model.image.width, row.dim, bias=False),
        "token_mlp": lambda: TokenMlp(model.image.width, row.dim),
        "queries": lambda queries=5, width=512, layers=6, heads=8, drop=0.1: QueryDecoder(
            model.image.width, row.dim, queries, width, layers, heads, drop
        ),
        "residual": lambda drop=0.0, blend=1.0: Residual(model.image.width, row.dim, drop, blend, start),
        "none": lambda: nn.Identity(),
        **Language.readers(model),
    }


class Model(Language):
    """Built by `make_model` from a row."""

    image: Any
    text: Any
    head: Any
    text_head: Any
    stack: Any

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row = row
        more = {"size": row.size} if row.image and row.image.get("kind") == "vit" else {}
        self.image = build(IMAGES, {**row.image, **more}, "image") if row.image else None
        self.text = self.make_text(row) if row.text else None
        start = _known(self.image, self.text) if row.head["kind"] == "residual" else None
        self.head = build(heads(self, row, start), row.head, "head") if self.image is not None else None
        self.kind = row.head["kind"]
        stored = isinstance(self.text, _Stored)
        self.text_head = None
        if self.writes:
            self.make_vectors(row)
        elif self.text is not None:
            same = stored and self.text.width == row.dim
            self.text_head = (
                nn.Identity() if same or self.kind == "none" else nn.Linear(self.text.width, row.dim, bias=False)
            )
            if self.kind == "residual":
                known = [] if start is None else [torch.as_tensor(start[k]) for k in ("project", "offset")]
                self.text_head = Blended(self.text.width, row.dim, row.head.get("blend", 1.0), *known)
            if self.kind == "none" and self.text.width != row.dim:
                raise UserError(f"head none: the text tower gives {self.text.width} numbers, dim is {row.dim}.")
        if self.kind == "none" and not self.writes and self.image is not None and self.image.width != row.dim:
            raise UserError(f"head none: the image tower gives {self.image.width} numbers, dim is {row.dim}.")
        if row.shared:
            if self.image is None or self.text is None or self.image.width != self.text.width:
                raise UserError("shared layers need two towers of one width.")
            heads_ = max(1, self.image.width // 64)
            self.stack = nn.ModuleList(Block(self.image.width, heads_) for _ in range(row.shared))
            self.head2 = nn.Linear(self.image.width, row.dim, bias=False)
            self.text_head2 = nn.Linear(self.text.width, row.dim, bias=False)
        self.widths = Widths(
            row.dim,
            self.image.width if self.image is not None else 0,
            self.text.width if self.text is not None else 0,
            getattr(getattr(self.text, "tokens", None), "size", 0),
            row.size,
            getattr(self.image, "patch", 0),
        )
        self.parts: Any = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        self._specs: dict[str, dict[str, Any]] = {}
        self.begin(row.parts)

    def make_text(self, row: Row) -> Any:
        """Build the text tower, or the language model."""
        assert row.text is not None
        if row.text.get("kind") in LANGUAGE_MODELS:
            return self.make_language_model(row)
        return build({**TEXTS, **LANGUAGE_MODELS}, row.text, "text")

    def begin(self, losses: Mapping[str, Mapping[str, Any]]) -> None:
        """Compute these losses and no others from now on: those of a row, or of one of its stages.

        A part whose options changed is made anew and takes over what it has learnt.

        Raises:
            UserError: an unknown loss or option, or options that change a part's shapes.
        """
        fresh: dict[str, Any] = {name: None for name in losses if name not in self.weights}  # taken up now
        for name, spec in losses.items():
            options = {"kind": name, **{k: v for k, v in spec.items() if k != "weight"}}
            if self._specs.get(name) != options:
                fresh[name] = dict(self.parts.items()).get(name)
                self.parts[name], self._specs[name] = build(PARTS, options, "losses", self.widths), options
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

    @property
    def active(self) -> dict[str, Any]:
        """The losses that are computed now, by name."""
        return {name: self.parts[name] for name in self.weights}

    # ---- features --------------------------------------------------------------------------------------------------

    def image_features(self, batch: Batch, f: Features) -> None:
        """Fill in what the picture side makes."""
        if self.writes:
            self.media(batch, f)
            return
        if isinstance(self.image, _Stored):
            if batch.image_vec is None:
                raise UserError("image: {kind: vector} needs records with stored picture vectors.")
            if batch.image_vec.shape[1] != self.image.width:
                raise UserError(
                    f"Stored vectors have {batch.image_vec.shape[1]} numbers, the row says {self.image.width}."
                )
            f.x = unit(self.head(batch.image_vec))
            return
        if batch.image is None:
            raise UserError("This method needs pictures, and the batch has none.")
        pooled, f.patches = self.image(batch.image[:, 0])
        if self.kind == "queries":
            x, f.regions, f.boxes = self.head(f.patches)
            f.x = unit(x)
        elif self.kind == "token_mlp":
            f.x = unit(self.head(f.patches))
        else:
            f.x, f.local = unit(self.head(pooled)), unit(self.head(f.patches))
        if self.row.shared:
            z = torch.cat([pooled[:, None], f.patches], 1)
            for block in self.stack:
                z = block(z)
            f.x2 = unit(self.head2(z[:, 0]))

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
        if isinstance(self.text, _Stored):
            if batch.text_vec is None:
                raise UserError(
                    "text: {kind: stored} needs records with stored vectors of the texts that the sampler shows; "
                    "a part of a text (sampler: sentences) has none."
                )
            f.y = unit(self.text_head(batch.text_vec[batch.slot_mask]))
            return
        if batch.tokens is None or batch.token_mask is None:
            raise UserError("The batch has no tokens.")
        langs = [
            lang
            for row, keep in zip(batch.lang, batch.slot_mask.tolist(), strict=True)
            for lang, k in zip(row, keep, strict=True)
            if k
        ]
        f.token_mask = batch.token_mask[batch.slot_mask]
        f.y, pooled, f.tokens = self.text_vectors(batch.tokens[batch.slot_mask], f.token_mask, langs)
        f.token_mask = f.token_mask[:, : f.tokens.shape[1]]
        if self.row.shared:
            z = torch.cat([pooled[:, None], f.tokens], 1)
            mask = nn.functional.pad(f.token_mask, (1, 0), value=True)
            for block in self.stack:
                z = block(z, mask[:, None].expand(-1, z.shape[1], -1))
            f.y2 = unit(self.text_head2(z[:, 0]))

    def features(self, batch: Batch) -> Features:
        """Run the towers."""
        f = Features()
        if self.writes:
            self.language_features(batch, f)
            return f
        if self.image is not None:
            self.image_features(batch, f)
        if self.text is not None:
            self.text_features(batch, f)
        return f

    def forward(self, batch: Batch) -> dict[str, Term]:
        """Return every loss of the row."""
        f = self.features(batch)
        return {name: part(f, batch, self) for name, part in self.active.items()}

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
            if self.writes:
                out.append(self.text_vectors_of_lm(texts[i : i + batch_size]))
                continue
            ids, mask = self.text.tokens(list(texts[i : i + batch_size]))
            tags = list(langs[i : i + batch_size]) if langs is not None else ["und"] * len(ids)
            here = next(self.parameters()).device
            out.append(self.text_vectors(ids.to(here), mask.to(here), tags)[0])
        return torch.cat(out)

    @torch.no_grad()
    def encode_pixels(self, pixels: Tensor, batch_size: int = 64) -> Tensor:
        """Return unit vectors [N, D] of normalised pictures [N, 3, H, W] (or stored vectors [N, Dv])."""
        self.eval()
        out = []
        for part in pixels.to(next(self.parameters()).device).split(batch_size):
            f = Features()
            ids = [""] * len(part)
            self.image_features(Batch(ids, image=part[:, None]) if part.dim() == 4 else Batch(ids, image_vec=part), f)
            out.append(f.x)
        if any(x is None for x in out):
            raise UserError(f"'{self.row.method}' makes no vectors of pictures; it writes: model.generate(…).")
        return torch.cat([x for x in out if x is not None])

    @torch.no_grad()
    def reward(
        self, pixels: Tensor, texts: Sequence[str], langs: Sequence[str] | None = None, batch_size: int = 64
    ) -> Tensor:
        """Return how well text n fits picture n, [N]: the reward of a row with the loss `rank`, higher is better.

        Args:
            pixels: [N, 3, H, W] normalised pictures.
            texts: one a picture.
            langs: of the texts.
            batch_size: pairs at a time; changes nothing but memory.

        Raises:
            UserError: the row has no such loss, or the numbers differ.
        """
        if "rank" not in self.parts:
            raise UserError(f"'{self.row.method}' has no reward: its row needs losses: {{rank: …}}.")
        if len(texts) != len(pixels):
            raise UserError(f"{len(pixels)} pictures, but {len(texts)} texts.")
        self.eval()
        out = []
        for i in range(0, len(texts), batch_size):
            part = list(texts[i : i + batch_size])
            ids, mask = (z.to(pixels.device) for z in self.text.tokens(part))
            tags = ["und"] * len(part) if langs is None else list(langs[i : i + batch_size])
            tokens = self.text(ids, mask, tags)[1]
            patches = self.image(pixels[i : i + batch_size])[1]
            out.append(self.parts["rank"].reward(tokens, mask[:, : tokens.shape[1]], patches))
        return torch.cat(out)


def make_model(row: Row, seed: int = 0) -> Model:
    """Build the model of a row; the same seed gives the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Model(row)
