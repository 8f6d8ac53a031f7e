"""SyCoCa: captions from the patches they speak of, hidden patches from the text. Without masks the first is CoCa's."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.identity import Added
from panoglot.networks._records import Batch, Term
from panoglot.networks.losses import attentive_masks, lm, patchify, recon_px
from panoglot.networks.parts._base import Features, Part, Widths, first_texts
from panoglot.networks.towers import CaptionDecoder, ImageDecoder
from panoglot.networks.towers._greedy import greedy

__all__ = ["CaptionPart", "InpaintPart"]

POLICIES = ("attentive", "random", "inverse", "none")


def relevance(f: Features, batch: Batch, policy: str) -> Tensor:
    """Return how much each patch has to do with the record's first text, [B, N], without gradient."""
    if f.local is None or f.y is None or batch.slot_mask is None:
        raise UserError("caption and inpaint need an image tower with patches and a text tower.")
    with torch.no_grad():
        if policy == "random":
            return torch.rand(f.local.shape[:2], device=f.local.device)
        sim = torch.einsum("bnd,bd->bn", f.local, f.y[first_texts(batch)])
        return -sim if policy == "inverse" else sim


def _check(batch: Batch, policy: str) -> None:
    if policy not in POLICIES:
        raise UserError(f"mask policy {policy!r} must be one of {', '.join(POLICIES)}.")
    if batch.slot_mask is None or not bool(batch.slot_mask[:, 0].all()):
        raise UserError("caption and inpaint need a text for every picture.")


class CaptionPart(Part):
    """The text, written from the patches, the least relevant ones hidden. What has learnt it writes from all of them.

    Args:
        widths: of the model.
        width, layers, heads, length: of the decoder.
        ratio: share of patches hidden.
        policy: `attentive`, `random`, `inverse`, or `none` (CoCa).
        given: what the decoder reads on the left: the `text` tower's tokens (CoCa: its lower half, which sees no
            picture), or `words` of its own.
        where: hidden from the decoder's `cross-attention` (one pass of the tower less), or at the tower's `input`.

    Source: CoCa arXiv 2205.01917, section 3.2; SyCoCa arXiv 2401.02137.
    """

    needs, reads, gives = ("patches", "local", "text", "tokens"), ("picture", "text"), ("write",)

    def __init__(
        self,
        widths: Widths,
        width: int = 512,
        layers: int = 6,
        heads: int = 8,
        length: int = 77,
        ratio: float = 0.5,
        policy: str = "attentive",
        given: Annotated[str, Added("words")] = "words",
        where: Annotated[str, Added("cross-attention")] = "cross-attention",
    ) -> None:
        super().__init__()
        for name, value, known in (("given", given, ("text", "words")), ("where", where, ("cross-attention", "input"))):
            if value not in known:
                raise UserError(f"caption: {name}={value!r} must be {' or '.join(known)}.")
        self.decoder = CaptionDecoder(widths.vocabulary, widths.image, width, layers, heads, length)
        self.ratio, self.policy, self.length, self.given, self.where = ratio, policy, length, given, where
        same = given == "words" or widths.text == width
        self.bring = nn.Identity() if same else nn.Linear(widths.text, width, bias=False)

    def start(self, model: Any) -> None:
        """Refuse a text tower whose tokens know what comes next.

        Raises:
            UserError: it reads both ways.
        """
        if self.given == "text" and not getattr(model.text, "causal", False):
            raise UserError(
                "caption: the decoder reads the text tower's tokens, which must know nothing of what comes next: "
                "text: {kind: transformer, pool: end}, or --set losses.caption.given=words"
            )

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return nats a token of the records' first texts."""
        _check(batch, self.policy)
        if f.patches is None or batch.tokens is None or batch.token_mask is None:
            raise UserError("caption: needs an image tower with patches and a text tower.")
        ids, mask = batch.tokens[:, 0, : self.length], batch.token_mask[:, 0, : self.length]
        keep, patches, given = self.kept(f, batch), f.patches, None
        if self.where == "input" and keep is not None and batch.image is not None:
            patches = self._tower(step.model)(batch.image[:, 0], keep=keep)[1]
        if self.given == "text" and f.tokens is not None:
            given = self.bring(f.tokens[first_texts(batch), : self.length])
            ids, mask = ids[:, : given.shape[1]], mask[:, : given.shape[1]]
        target = ids.masked_fill(~mask, -100)
        return lm(self.decoder(ids, patches, keep, given), target, shift=True)

    def kept(self, f: Features, batch: Batch) -> Tensor | None:
        """Return the patches [B, N] that captions are written from in training; None: all."""
        return None if self.policy == "none" else attentive_masks(relevance(f, batch, self.policy), self.ratio)[0]

    def _tower(self, model: Any) -> Any:
        if not hasattr(model.image, "hidden"):
            raise UserError("caption: where=input needs image: {kind: vit}, whose patches can be hidden.")
        return model.image

    @torch.no_grad()
    def write(self, model: Any, pixels: Tensor, most: int | None = None) -> list[str]:
        """Write a caption for each of the normalised pictures [N, 3, H, W], greedily, from all patches.

        Args:
            model: that it is a loss of.
            pixels: one picture each.
            most: tokens.
        """
        tokens, patches = model.text.tokens, model.image(pixels)[1]

        def scores(whole: Tensor) -> Tensor:
            given = None
            if self.given == "text":
                there = torch.ones_like(whole, dtype=torch.bool)
                given = self.bring(model.text(whole, there, ["und"] * len(whole))[1])
            logits: Tensor = self.decoder(whole, patches, given=given)[:, -1]
            return logits

        room = min(self.length, tokens.length) - 1
        first = torch.full((len(pixels), 1), tokens.start, device=pixels.device)
        ids = greedy(scores, first, tokens.end, tokens.end, min(room, most or room))
        return [tokens.decode(row) for row in ids]


class InpaintPart(Part):
    """The most relevant patches, painted from the rest and the text.

    The tower runs again on the masked picture: no clean patch is anywhere on the way.

    Args:
        widths: of the model.
        layers, heads: of the decoder.
        ratio: share of patches hidden.
        policy: as in `CaptionPart`.
    """

    needs, reads = ("patches", "local", "text", "tokens"), ("picture", "text")

    def __init__(
        self, widths: Widths, layers: int = 2, heads: int = 8, ratio: float = 0.5, policy: str = "attentive"
    ) -> None:
        super().__init__()
        if not widths.patch:
            raise UserError("inpaint: needs image: {kind: vit}, whose patches can be hidden.")
        self.decoder = ImageDecoder(widths.image, widths.text, 3 * widths.patch**2, layers, heads)
        self.ratio, self.policy, self.patch = ratio, policy, widths.patch

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the mean error on the hidden patches."""
        hide, painted = self.paint(f, batch, step.model)
        assert batch.image is not None
        return recon_px(painted, patchify(batch.image[:, 0], self.patch), hide)

    def paint(self, f: Features, batch: Batch, model: Any) -> tuple[Tensor, Tensor]:
        """Return the patches that were hidden, bool [B, N], and all as they are painted, [B, N, 3·patch²].

        What is painted has the mean 0 and the deviation 1 of a patch.

        Args:
            f: of the whole pictures.
            batch: pictures with a text each.
            model: that it is a loss of.

        Raises:
            UserError: no pictures, no text for each, or a text tower without tokens.
        """
        _check(batch, self.policy)
        if f.tokens is None or f.token_mask is None or batch.image is None:
            raise UserError("inpaint: needs pictures and a text tower with tokens.")
        hide = attentive_masks(relevance(f, batch, self.policy), self.ratio)[1]
        first = first_texts(batch)
        seen = model.image(batch.image[:, 0], hide=hide)[1]
        return hide, self.decoder(seen, f.tokens[first], f.token_mask[first])
