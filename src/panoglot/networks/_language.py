"""The side of a model that reads pictures into a language model and writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._kinds import Kinds
from panoglot.networks._needs import needs_of
from panoglot.networks._records import Batch
from panoglot.networks._row import Row, build
from panoglot.networks.bridges import Asked
from panoglot.networks.parts import Features
from panoglot.networks.towers import PICTURE, Projector, Resampler, VisualEmbedding, grid_boxes, unit

__all__ = ["Language", "pad"]


class Language(nn.Module):
    """What `Model` can do when its text tower is a language model."""

    image: Any
    text: Any
    head: Any
    text_head: Any
    row: Any
    active: Any
    parts: Any
    bridges: Any
    look: Any
    look_at: Any

    @property
    def writes(self) -> bool:
        """Its text tower is a language model."""
        return hasattr(self.text, "compose")

    def make_language_model(self, row: Row) -> Any:
        """Build the language model: it is told how wide the picture's tokens will be, and how many."""
        assert row.text is not None
        spec, head = dict(row.text), dict(row.head)
        heads, kind = Kinds("head"), str(head.get("kind")) if self.image is not None else ""
        own = kind == "none"
        width = {"none": getattr(self.image, "width", 0), "resampler": head.get("width", 1024)}.get(kind, 0)
        readers = [name for name in heads if heads.declares(name, "tokens", False)]
        if self.image is not None and not own and kind not in readers:
            raise UserError(
                f"head: {kind} gives one vector; a language model reads a picture's tokens: "
                f"{', '.join(readers)}, or none for the tower's own."
            )
        inside = spec.get("kind") == "decoder" and not spec.get("cross") and not spec.get("gated")
        if inside and "media" not in spec and hasattr(self.image, "grid"):  # room for the picture's tokens
            kinds = (Kinds("bridge").declares(str(one.get("kind")), "more", 0) for one in row.bridges.values())
            each = self.image.grid**2 + own + sum(kinds)
            spec["media"] = each * int(row.tiles.get("budget", row.sampler.get("pictures", 1)))
        text = build(Kinds("text"), spec, "text", media_width=int(width))
        if row.vocabulary:
            text.grow(row.vocabulary)
        return text

    def media_width(self) -> int:
        """Return the width of the picture's tokens as the language model reads them."""
        if self.image is None:
            return 0
        if isinstance(self.head, Resampler):
            return int(self.head.latents.shape[1])
        return int(self.image.width if isinstance(self.head, nn.Identity) else self.text.width)

    def make_vectors(self, row: Row) -> None:
        """Build the heads of vectors beside the language model, where a loss needs them."""
        self.text_head = None
        if not any({"picture", "text"} & set(needs_of(name, spec)) for name, spec in row.parts.items()):
            return
        if getattr(self.text, "pool", None) is None or not isinstance(self.head, Resampler):
            raise UserError(
                "contrast: beside a language model needs text: {split: …}, the layers before the gates, and "
                "head: {kind: resampler}, which makes a picture's vector."
            )
        self.text_head = nn.Linear(self.text.width, row.dim, bias=False)
        self.out = nn.Linear(self.head.latents.shape[1], row.dim, bias=False)

    def media(self, batch: Batch, f: Features, lone: bool = False) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Return the picture's tokens for the language model, [B, T, N, ·], and which are real, [B, T, N].

        Args:
            batch: with pictures, stored vectors or assets.
            f: what is made on the way is filled in.
            lone: a batch without any is a stream of texts alone.
        """
        if self.image is None or (lone and batch.image is None and batch.image_vec is None and not batch.inputs):
            return None, None
        if batch.image_vec is not None and batch.image is None:
            return self._stored(batch)
        if batch.image is None and not hasattr(self.image, "read"):
            raise UserError("This method needs pictures, and the batch has none.")
        if batch.image is None:
            pooled, patches = self.look("image", self.image, batch)
            f.patches, tokens = patches, self.tokens_of(pooled, patches)
            return tokens[:, None], tokens.new_ones(tokens.shape[0], 1, tokens.shape[1], dtype=torch.bool)
        b, t = batch.image.shape[:2]
        there = torch.ones(b, t, dtype=torch.bool) if batch.picture_mask is None else batch.picture_mask
        there = there.to(batch.image.device)
        pooled, patches = self.look_at(self.image, batch.image[there])
        if isinstance(self.head, Resampler) and batch.frames is not None:
            patches, real, there = films(patches, there, batch.frames.to(there.device))
            whole, tokens = self.head(patches, real)
            b, t = there.shape
        elif isinstance(self.head, Resampler):
            whole, tokens = self.head(patches)
        elif isinstance(self.head, VisualEmbedding):
            boxes = grid_boxes(patches.shape[1], patches).expand(len(patches), -1, -1)
            which = there.cumsum(1)[there] - 1
            each = which[:, None].expand(-1, patches.shape[1])
            whole, tokens = pooled, self.head(patches, boxes, each, self.text.embedding().weight)
        else:
            whole, tokens = pooled, self.tokens_of(pooled, patches)
        n = tokens.shape[1]
        out = tokens.new_zeros(b, t, n, tokens.shape[-1])
        out[there] = tokens
        f.patches = patches
        if self.text_head is not None:  # pictures of one record are averaged, as frames of a video are
            mean = whole.new_zeros(b, whole.shape[-1]).index_add(0, there.nonzero()[:, 0], whole)
            f.x = unit(self.out(mean / there.sum(1, keepdim=True).clamp(min=1)))
        return out, there[..., None].expand(-1, -1, n)

    def tokens_of(self, pooled: Tensor, patches: Tensor) -> Tensor:
        """Return what the language model reads of a picture: its patches through the head; with none its own tokens."""
        if isinstance(self.head, Resampler):
            return self.head(patches)[1]  # type: ignore[no-any-return]
        if isinstance(self.head, nn.Identity):  # as they are, the picture's own vector first
            return torch.cat([pooled[:, None], patches], 1)
        return self.head(patches)  # type: ignore[no-any-return]

    def media_of_codes(self, codes: Tensor, hide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what the language model reads of pictures as codes [B, cells] (or shares), some of them hidden."""
        if not getattr(self.image, "of_codes", False):
            raise UserError("pictures as codes are read by image: {kind: codes}.")
        tokens = self.tokens_of(*self.image(codes, hide))
        return tokens[:, None], tokens.new_ones(tokens.shape[0], 1, tokens.shape[1], dtype=torch.bool)

    def bridged(self, media: Tensor, real: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Send the picture's tokens through the bridges of the row."""
        if not len(self.bridges):
            return media, real
        given, mask = batch.given, batch.given_mask
        if given is None or mask is None:
            given = torch.zeros(len(media), 0, dtype=torch.long, device=media.device)
            mask = torch.zeros_like(given, dtype=torch.bool)
        told = mask & (given >= 0)
        if batch.target is not None and batch.written is None:
            told = told & (batch.target == -100)
        if len(given) != len(media):
            raise UserError("bridges: a prompt for every picture is needed.")
        prompt = self.text.embedding()(given.clamp(min=0))
        asked = Asked(prompt, told, batch.asked_boxes, batch.asked_mask, batch)
        for bridge in self.bridges.values():
            media, real = bridge(media, real, asked)
        return media, real

    def _stored(self, batch: Batch) -> tuple[Tensor, Tensor]:
        x = batch.image_vec
        assert x is not None
        x = x[:, None] if x.dim() == 2 else x  # [B, R, Dv]
        if x.shape[-1] != self.image.width:
            raise UserError(f"Stored vectors have {x.shape[-1]} numbers, the row says {self.image.width}.")
        real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if batch.vec_mask is None else batch.vec_mask
        if isinstance(self.head, VisualEmbedding):
            boxes = grid_boxes(x.shape[1], x).expand(len(x), -1, -1) if batch.vec_boxes is None else batch.vec_boxes
            x = self.head(x, boxes, batch.vec_picture, self.text.embedding().weight)
        elif isinstance(self.head, Projector):
            x = self.head(x)
        return x[:, None], real[:, None]

    def language_features(self, batch: Batch, f: Features, lone: bool = False) -> None:
        """Read and write: fills in logits and, where they are made, the vectors of pictures and texts."""
        if batch.given is None or batch.given_mask is None:
            raise UserError("This method writes texts, and the batch has none to learn from.")
        media, real = self.media(batch, f, lone)
        if media is not None and real is not None:
            media, real = self.bridged(media, real, batch)
            for part in self.active.values():
                media = part.replace(media, real, batch, self)
        mixed = any(getattr(part, "attention", "causal") == "mixed" for part in self.active.values())
        if self.text.adapters is not None:
            self.text.adapters.task = batch.task
        out = self.text(batch.given, batch.given_mask, media, real, batch.written, batch.target if mixed else None)
        f.logits, f.seen = out.logits, out.seen
        if self.text_head is not None and out.pooled is not None and batch.slot_mask is not None:
            f.y = unit(self.text_head(out.pooled[batch.owner]))

    # ---- inside a step -----------------------------------------------------------------------------------------------

    def tell(self, ids: Tensor, mask: Tensor, media: Tensor | None, real: Tensor | None) -> Tensor:
        """Return logits [B, L, vocabulary] of texts ids [B, L], each of what was before it; see `Step.tell`."""
        if not self.writes:
            raise UserError(f"'{self.row.method}' does not write: it has no language model.")
        given, _, _ = self.text.compose("", "", "", media is not None)
        head = ids.new_tensor([given]).expand(len(ids), -1)
        there = torch.ones_like(head, dtype=torch.bool)
        if not self.text.shift:
            return self.text(head, there, media, real, written=ids).logits  # type: ignore[no-any-return]
        whole, full = torch.cat([head, ids], 1), torch.cat([there, mask], 1)
        logits = self.text(whole, full, media, real).logits
        return logits[:, -ids.shape[1] - 1 : -1]  # type: ignore[no-any-return]

    def said(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return ids [B, L] and mask of the texts of a batch, as a painter reads them: of a writer what is learnt.

        Raises:
            UserError: the batch has no texts.
        """
        if batch.target is not None:
            learn = batch.target != -100
            order = (~learn).long().argsort(dim=1, stable=True)[:, : int(learn.sum(1).max())]
            return batch.target.gather(1, order).clamp(min=0), learn.gather(1, order)
        if batch.tokens is None or batch.token_mask is None:
            raise UserError("The batch has no texts.")
        return batch.tokens[:, 0], batch.token_mask[:, 0]

    def ids_of(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask of texts, as `said` gives those of a batch."""
        if not self.writes:
            return self.text.tokens(list(texts))  # type: ignore[no-any-return]
        rows = [self.text.compose("", "", text, self.image is not None)[2] for text in texts]
        return pad([[i for i in row if i != -100] for row in rows], self.text.tokens.pad)

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
        asked: Tensor | None = None,
        shots: Sequence[str] = (),
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
            asked: [N, R, 4] cx, cy, w, h in 0..1: regions that are asked about, for a bridge that reads them.
            shots: texts of all pictures [N, T, 3, H, W] but the last: what is written goes on where they end, as in an
                interleaved document.
            most: tokens written.
            beams: more than 1 needs a transformers model.
            batch_size: pictures at a time.

        Raises:
            UserError: the model does not write, or the numbers of pictures, prompts and languages differ.

        Examples: `tests/networks/test_language.py`.
        """
        if not self.writes:
            return self._written_by_loss(pictures, prompt, most, batch_size)
        n = len(pictures) if pictures is not None else 1 if isinstance(prompt, str) else len(prompt)
        prompts, langs = ([v] * n if isinstance(v, str) else list(v) for v in (prompt, lang))
        if len(prompts) != n or len(langs) != n:
            raise UserError(
                f"{n} pictures, {len(prompts)} prompts, {len(langs)} languages: give one for all, or one each."
            )
        self.eval()
        sampler = build(Kinds("sampler"), self.row.sampler, "sampler")
        device = next(self.parameters()).device
        groups: dict[tuple[int, tuple[int, ...]], list[tuple[int, list[int]]]] = {}
        for i, (text, tag) in enumerate(zip(prompts, langs, strict=True)):
            prefix, start = sampler.given(task, text, tag) if hasattr(sampler, "given") else (text, "")
            if shots:
                chunks = [*((n, [shot]) for n, shot in enumerate(shots)), (len(shots), [])]
                given, written, _ = self.text.compose("", "", "", True, chunks)
                given = given[:-1]  # the last picture's text is what is to come
                if given.count(PICTURE) != len(shots) + 1:
                    raise UserError(f"{len(shots)} shots are more than the {self.text.tokens.length} tokens it reads.")
            else:
                given, written, _ = self.text.compose(prefix, start, "", pictures is not None)
            groups.setdefault((len(given), tuple(written)), []).append((i, given))
        out = [""] * n
        for (_, start_ids), rows in groups.items():  # equal lengths: no padding within
            for low in range(0, len(rows), batch_size):
                at = [i for i, _ in rows[low : low + batch_size]]
                ids = torch.tensor([row for _, row in rows[low : low + batch_size]], dtype=torch.long, device=device)
                mask = torch.ones_like(ids, dtype=torch.bool)
                told = Batch([""] * len(at), given=ids, given_mask=mask)
                if asked is not None:
                    told.asked_boxes = asked[at].to(device)
                    told.asked_mask = torch.ones(told.asked_boxes.shape[:2], dtype=torch.bool, device=device)
                media, real = self._media_of(pictures, boxes, at, task, device, told)
                new = self.text.generate(ids, mask, media, real, start_ids, most, beams)
                for i, row in zip(at, new, strict=True):
                    out[i] = self.text.tokens.decode(row).strip()
        return out

    def _written_by_loss(
        self, pictures: Tensor | None, prompt: str | Sequence[str], most: int, batch_size: int
    ) -> list[str]:
        """Captions by a loss that writes beside the vectors (SyCoCa); it reads no prompt."""
        writer = next((part for part in self.parts.values() if hasattr(part, "write")), None)
        if writer is None:
            raise UserError(
                f"'{self.row.method}' makes vectors, it does not write; use encode_texts and encode_pixels."
            )
        if pictures is None or any(prompt):
            raise UserError(f"'{self.row.method}' writes captions of pictures, and reads no prompt.")
        self.eval()
        here = next(self.parameters()).device
        return [text for part in pictures.split(batch_size) for text in writer.write(self, part.to(here), most)]

    def _media_of(
        self, pictures: Tensor | None, boxes: Tensor | None, at: list[int], task: str, device: Any, told: Batch
    ) -> Any:
        if self.text.adapters is not None:
            self.text.adapters.task = task
        if pictures is None:
            return None, None
        part = pictures[at].to(device)
        batch = replace(told, vec_boxes=None if boxes is None else boxes[at].to(device))
        if hasattr(self.image, "read"):
            batch.inputs["image"] = part
        elif part.dim() == 5:  # several pictures each
            batch.image = part
        elif part.dim() == 4 and part.shape[1] in (3, 4):
            batch.image = part[:, None]
        else:
            batch.image_vec = part
        media, real = self.media(batch, Features())
        if media is not None and real is not None:
            media, real = self.bridged(media, real, batch)
            for loss in self.active.values():
                if loss.in_use:  # what it has learnt to read
                    media = loss.replace(media, real, batch, self)
        return media, real


def films(patches: Tensor, there: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tokens of videos [M, F·N, ·] out of those of their frames, which are real, and which videos exist.

    Args:
        patches: [K, N, ·] of the K frames that exist, record by record, in order.
        there: [B, V] bool, which frames exist.
        frames: [B, T] how many frames each video has; 0: no such video.
    """
    counts = frames[frames > 0]
    if int(frames.sum()) != int(there.sum()):
        raise UserError("the frames of the videos are not all there.")
    n, most = patches.shape[1], int(counts.max())
    real = torch.arange(most, device=patches.device) < counts[:, None]  # [M, F]
    out = patches.new_zeros(len(counts), most, n, patches.shape[-1])
    out[real] = patches
    return out.flatten(1, 2), real.repeat_interleave(n, 1), frames > 0


def pad(rows: Sequence[Sequence[int]], value: int, device: Any = None) -> tuple[Tensor, Tensor]:
    """Return ids [B, L] padded on the right with `value`, and the mask of what is real."""
    length = max((len(r) for r in rows), default=0)
    ids = torch.full((len(rows), length), value, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(list(row), dtype=torch.long), True
    return ids.to(device), mask.to(device)
