"""The side of a model that reads pictures into a language model and writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._records import Batch
from panoglot.networks._row import Row, build
from panoglot.networks.parts import Features
from panoglot.networks.samplers import SAMPLERS
from panoglot.networks.towers import (
    Projector,
    Resampler,
    VisualEmbedding,
    causal_lm,
    grid_boxes,
    own_decoder,
    own_seq2seq,
    seq2seq_lm,
    unit,
)

__all__ = ["LANGUAGE_MODELS", "Language"]

#: Kinds of `text` that write.
LANGUAGE_MODELS = {
    "causal": causal_lm,
    "decoder": own_decoder,
    "encoder_decoder": own_seq2seq,
    "seq2seq": seq2seq_lm,
}


class Language(nn.Module):
    """What `Model` can do when its text tower is a language model."""

    image: Any
    text: Any
    head: Any
    text_head: Any
    row: Any
    active: Any

    @property
    def writes(self) -> bool:
        """Its text tower is a language model."""
        return hasattr(self.text, "compose")

    def make_language_model(self, row: Row) -> Any:
        """Build the language model: it is told how wide the picture's tokens will be."""
        assert row.text is not None
        spec, head = dict(row.text), dict(row.head)
        kind = head.get("kind") if self.image is not None else None
        width = {"none": getattr(self.image, "width", 0), "resampler": head.get("width", 1024)}.get(str(kind), 0)
        if self.image is not None and kind not in ("none", *self.readers()):
            raise UserError(
                f"head: {kind} gives one vector; a language model reads a picture's tokens: "
                f"{', '.join(self.readers())}, or none for the tower's own."
            )
        inside = spec.get("kind") == "decoder" and not spec.get("cross") and not spec.get("gated")
        if inside and "media" not in spec and hasattr(self.image, "grid"):  # room for the picture's tokens
            spec["media"] = self.image.grid**2 + (kind == "none")
        return build(LANGUAGE_MODELS, spec, "text", media_width=int(width))

    def readers(self) -> dict[str, Any]:
        """Return what may stand between the picture tower and the language model."""
        return {
            "projector": lambda hidden=None, normalise=False: Projector(
                self.image.width, self.text.width, hidden, normalise
            ),
            "resampler": lambda latents=64, width=1024, layers=6, heads=8: Resampler(
                self.image.width, latents, width, layers, heads
            ),
            "visual_embedding": lambda images=2: VisualEmbedding(self.image.width, self.text.width, images),
        }

    def make_vectors(self, row: Row) -> None:
        """Build the heads of a contrast beside the language model, where the row has one."""
        self.text_head = None
        if "contrast" not in row.parts:
            return
        if getattr(self.text, "pool", None) is None or not isinstance(self.head, Resampler):
            raise UserError(
                "contrast: beside a language model needs text: {split: …}, the layers before the gates, and "
                "head: {kind: resampler}, which makes a picture's vector."
            )
        self.text_head = nn.Linear(self.text.width, row.dim, bias=False)
        self.out = nn.Linear(self.head.latents.shape[1], row.dim, bias=False)

    def media(self, batch: Batch, f: Features) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Return the picture's tokens for the language model, [B, T, N, ·], and which are real, [B, T, N]."""
        if self.image is None:
            return None, None
        if batch.image_vec is not None and batch.image is None:
            return self._stored(batch)
        if batch.image is None:
            raise UserError("This method needs pictures, and the batch has none.")
        b, t = batch.image.shape[:2]
        there = torch.ones(b, t, dtype=torch.bool) if batch.picture_mask is None else batch.picture_mask
        there = there.to(batch.image.device)
        pooled, patches = self.image(batch.image[there])
        if isinstance(self.head, Resampler):
            whole, tokens = self.head(patches)
        elif isinstance(self.head, VisualEmbedding):
            boxes = grid_boxes(patches.shape[1], patches).expand(len(patches), -1, -1)
            which = there.cumsum(1)[there] - 1
            whole, tokens = pooled, self.head(patches, boxes, which[:, None].expand(-1, patches.shape[1]))
        elif isinstance(self.head, Projector):
            whole, tokens = pooled, self.head(patches)
        else:  # as they are, the picture's own vector first
            whole, tokens = pooled, torch.cat([pooled[:, None], patches], 1)
        n = tokens.shape[1]
        out = tokens.new_zeros(b, t, n, tokens.shape[-1])
        out[there] = tokens
        f.patches = patches
        if self.text_head is not None:  # pictures of one record are averaged, as frames of a video are
            mean = whole.new_zeros(b, whole.shape[-1]).index_add(0, there.nonzero()[:, 0], whole)
            f.x = unit(self.out(mean / there.sum(1, keepdim=True).clamp(min=1)))
        return out, there[..., None].expand(-1, -1, n)

    def _stored(self, batch: Batch) -> tuple[Tensor, Tensor]:
        x = batch.image_vec
        assert x is not None
        x = x[:, None] if x.dim() == 2 else x  # [B, R, Dv]
        if x.shape[-1] != self.image.width:
            raise UserError(f"Stored vectors have {x.shape[-1]} numbers, the row says {self.image.width}.")
        real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if batch.vec_mask is None else batch.vec_mask
        if isinstance(self.head, VisualEmbedding):
            boxes = grid_boxes(x.shape[1], x).expand(len(x), -1, -1) if batch.vec_boxes is None else batch.vec_boxes
            x = self.head(x, boxes, batch.vec_picture)
        elif isinstance(self.head, Projector):
            x = self.head(x)
        return x[:, None], real[:, None]

    def language_features(self, batch: Batch, f: Features) -> None:
        """Read and write: fills in logits and, where they are made, the vectors of pictures and texts."""
        if batch.given is None or batch.given_mask is None:
            raise UserError("This method writes texts, and the batch has none to learn from.")
        media, real = self.media(batch, f)
        if media is not None and real is not None:
            for part in self.active.values():
                media = part.replace(media, real, batch, self)
        mixed = any(getattr(part, "attention", "causal") == "mixed" for part in self.active.values())
        if self.text.adapters is not None:
            self.text.adapters.task = batch.task
        out = self.text(batch.given, batch.given_mask, media, real, batch.written, batch.target if mixed else None)
        f.logits, f.seen = out.logits, out.seen
        if self.text_head is not None and out.pooled is not None and batch.slot_mask is not None:
            f.y = unit(self.text_head(out.pooled[batch.owner]))

    # ---- use -------------------------------------------------------------------------------------------------------

    def text_vectors_of_lm(self, texts: Sequence[str]) -> Tensor:
        """Return unit vectors [N, D] of texts, as in training: what comes before them is a picture's place."""
        if self.text_head is None:
            raise UserError("This method makes no text vectors; it writes: model.generate(…).")
        rows = [self.text.compose("", "", t, self.image is not None)[0] for t in texts]
        ids, mask = pad(rows, self.text.tokens.pad, next(self.parameters()).device)
        return unit(self.text_head(self.text.text_vector(ids, mask)))

    @torch.no_grad()
    def generate(
        self,
        pictures: Tensor | None = None,
        prompt: str | Sequence[str] = "",
        lang: str | Sequence[str] = "und",
        *,
        task: str = "caption",
        boxes: Tensor | None = None,
        most: int = 64,
        beams: int = 1,
        batch_size: int = 16,
    ) -> list[str]:
        """Write a text for each picture: greedily, or with beams.

        Args:
            pictures: [N, 3, H, W] as the tower wants them, or stored vectors [N, Dv] or [N, R, Dv]; None: text only.
            prompt: one for all, or N; the row's sampler puts the task's prefix before it.
            lang: one for all, or N; the row's sampler makes the token of it that starts the answer (Florenz).
            task: `caption`, `vqa`, `translation`, as in training.
            boxes: [N, R, 4] of stored regions.
            most: tokens written.
            beams: more than 1 needs a transformers model.
            batch_size: pictures at a time.

        Raises:
            UserError: the model does not write, or the numbers of pictures, prompts and languages differ.

        Examples: `tests/networks/test_language.py`.
        """
        if not self.writes:
            raise UserError(
                f"'{self.row.method}' makes vectors, it does not write; use encode_texts and encode_pixels."
            )
        n = len(pictures) if pictures is not None else 1 if isinstance(prompt, str) else len(prompt)
        prompts, langs = ([v] * n if isinstance(v, str) else list(v) for v in (prompt, lang))
        if len(prompts) != n or len(langs) != n:
            raise UserError(
                f"{n} pictures, {len(prompts)} prompts, {len(langs)} languages: give one for all, or one each."
            )
        self.eval()
        sampler = SAMPLERS[self.row.sampler["kind"]](**{k: v for k, v in self.row.sampler.items() if k != "kind"})
        device = next(self.parameters()).device
        groups: dict[tuple[int, tuple[int, ...]], list[tuple[int, list[int]]]] = {}
        for i, (text, tag) in enumerate(zip(prompts, langs, strict=True)):
            prefix, start = sampler.given(task, text, tag) if hasattr(sampler, "given") else (text, "")
            given, written, _ = self.text.compose(prefix, start, "", pictures is not None)
            groups.setdefault((len(given), tuple(written)), []).append((i, given))
        out = [""] * n
        for (_, start_ids), rows in groups.items():  # equal lengths: no padding within
            for low in range(0, len(rows), batch_size):
                at = [i for i, _ in rows[low : low + batch_size]]
                ids = torch.tensor([row for _, row in rows[low : low + batch_size]], dtype=torch.long, device=device)
                media, real = self._media_of(pictures, boxes, at, task, device)
                mask = torch.ones_like(ids, dtype=torch.bool)
                new = self.text.generate(ids, mask, media, real, start_ids, most, beams)
                for i, row in zip(at, new, strict=True):
                    out[i] = self.text.tokens.decode(row).strip()
        return out

    def _media_of(self, pictures: Tensor | None, boxes: Tensor | None, at: list[int], task: str, device: Any) -> Any:
        if self.text.adapters is not None:
            self.text.adapters.task = task
        if pictures is None:
            return None, None
        part = pictures[at].to(device)
        batch = Batch([""] * len(at), vec_boxes=None if boxes is None else boxes[at].to(device))
        if part.dim() == 4 and part.shape[1] == 3:
            batch.image = part[:, None]
        else:
            batch.image_vec = part
        media, real = self.media(batch, Features())
        for name, loss in self.active.items():
            if name == "vq" and media is not None:  # what it has learnt to read
                media = loss.replace(media, real, batch, self)
        return media, real


def pad(rows: Sequence[Sequence[int]], value: int, device: Any = None) -> tuple[Tensor, Tensor]:
    """Return ids [B, L] padded on the right with `value`, and the mask of what is real."""
    length = max((len(r) for r in rows), default=0)
    ids = torch.full((len(rows), length), value, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(list(row), dtype=torch.long), True
    return ids.to(device), mask.to(device)
