"""Composed queries that nobody wrote: made of pairs (CoLLM), or of pictures alone (ISA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from panoglot.errors import UserError
from panoglot.identity import Added
from panoglot.networks._contrast import ContrastOptions, contrast
from panoglot.networks._records import Batch, Record, Term
from panoglot.networks.losses import TEMPLATES, check_templates, kl_logits, nearest, slerp
from panoglot.networks.losses._nothing import nothing
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.samplers import Draw, Sample
from panoglot.networks.towers import Scale

__all__ = ["MadePart", "SentencePart"]

#: Bytes of a caption in a queue.
_TEXT = 512


class MadePart(Part):
    """Between a picture and its nearest neighbour lies a reference; the captions say what to change.

    Neighbours are the other pictures of the step, and those of a queue of the last steps: in a small step the nearest
    one has little to do with the picture.

    Three kinds of queries learn to find the picture: the reference alone, the caption alone, both with the change in
    words. Pictures whose neighbour is as good as the same, or opposite, teach by the caption alone.

    Args:
        widths: of the model.
        alpha: where the reference lies: 1 at the picture (another view of it where the row has two), 0 at its
            neighbour, as composed queries that somebody wrote have it.
        low: draw it evenly between this and `alpha`, for every item anew; None: it is `alpha`.
        p: how often the change is a template; else it is the caption as it stands.
        most: cosine beyond which a neighbour is a duplicate.
        templates: sentences with {want} and {have}; empty: fifteen English ones.
        kinds: which queries learn: `picture`, `text`, `both`.
        scale: of `Scale`.
        queue: pictures of the last steps, with their captions, that are neighbours too; they are kept with the model,
            so that a resumed run goes on with them. The longest captions are cut at 512 bytes there.

    Source: CoLLM arXiv 2503.19910, section 3 (slerp, templates, three losses); `most` is ours.
    """

    needs, reads, gives = ("composer", "picture", "text"), ("picture", "text"), ("encode", "compose")
    across = ""

    kept: Tensor
    kept_id: Tensor
    kept_text: Tensor

    def __init__(
        self,
        widths: Widths,
        alpha: float = 0.5,
        low: float | None = None,
        p: float = 0.75,
        most: float = 0.98,
        templates: Sequence[str] = (),
        kinds: Sequence[str] = ("picture", "text", "both"),
        scale: Mapping[str, float] | None = None,
        queue: Annotated[int, Added(0)] = 0,
    ) -> None:
        super().__init__()
        low = alpha if low is None else low
        if not 0 <= low <= alpha <= 1 or not 0 <= p <= 1:
            raise UserError(f"made: alpha={alpha}, low={low} and p={p} must be in 0..1, low at most alpha.")
        if not kinds or set(kinds) - {"picture", "text", "both"}:
            raise UserError(f"made: kinds={list(kinds)} must be some of picture, text, both.")
        self.alpha, self.low, self.p, self.most, self.kinds = alpha, low, p, most, tuple(kinds)
        self.templates = check_templates(templates or TEMPLATES)
        self.scale = Scale(**(scale or {}))
        if queue < 0:
            raise UserError(f"made: queue={queue} must be at least 0.")
        self.queue = queue
        if queue:
            self.register_buffer("kept", torch.zeros(queue, widths.dim))
            self.register_buffer("kept_id", torch.full((queue,), -1))
            self.register_buffer("kept_text", torch.zeros(queue, _TEXT, dtype=torch.uint8))

    def collate(self, out: Batch, items: Sequence[tuple[Record, Sample]], model: Any) -> None:
        """Draw three numbers an item: whether its change is a template, which, and where its reference lies."""
        draws = [Draw(out.seed, "made", record.id) for record, _ in items]
        out.targets["made"] = torch.tensor([[draw.number() for _ in range(3)] for draw in draws])

    def said(self, captions: Sequence[str], like: Sequence[int], drawn: Sequence[Sequence[float]]) -> list[str]:
        """Return the changes in words of captions, those of their neighbours, and what was drawn (see `collate`).

        >>> part = MadePart(Widths(2), templates=["{want} not {have}"])
        >>> part.said(["a cat.", "a dog"], [1, 0], [(0.1, 0.5, 0.5), (0.9, 0.5, 0.5)])
        ['a cat not a dog', 'a dog']
        """
        bare = [caption.strip().rstrip(".。।") for caption in captions]
        return [
            self.templates[int(t * len(self.templates))].format(want=bare[i], have=bare[j])
            if u < self.p
            else captions[i]
            for i, (j, (u, t, *_)) in enumerate(zip(like, drawn, strict=True))
        ]

    def waiting(self) -> tuple[Tensor, Tensor, list[str]]:
        """Return what is in the queue, newest first: vectors [M, D], numbers of pairs [M], captions."""
        full = self.kept_id >= 0
        texts = [bytes(row).rstrip(b"\0").decode() for row in self.kept_text[full].tolist()]
        return self.kept[full], self.kept_id[full], texts

    def push(self, x: Tensor, pair_id: Tensor, captions: Sequence[str]) -> None:
        """Put pictures [n, D] with their captions at the head of the queue; the oldest go."""
        rows = torch.zeros(len(captions), _TEXT, dtype=torch.uint8)
        for row, caption in zip(rows, captions, strict=True):
            cut = caption.encode()[:_TEXT].decode(errors="ignore").encode()
            row[: len(cut)] = torch.tensor(list(cut), dtype=torch.uint8)
        news = {"kept": x.detach().to(self.kept), "kept_id": pair_id, "kept_text": rows}
        for name, new in news.items():
            held = getattr(self, name)
            setattr(self, name, torch.cat([new.to(held.device), held])[: self.queue].contiguous())

    def references(
        self,
        own: Tensor,
        x: Tensor,
        pair_id: Tensor | None,
        alpha: Tensor | float,
        more: Tensor | None = None,
        more_id: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return references [B, D], the neighbours [B] they lean to, and which of them mean something [B].

        Args:
            own: [B, D] unit vectors of pictures, or of other views of them.
            x: [B, D] unit vectors of the pictures.
            pair_id: [B] equal for duplicates.
            alpha: where the references lie, [B, 1] or one number.
            more: [M, D] of the queue; these neighbours are numbered from B on.
            more_id: [M] of the queue.
        """
        like, there = nearest(x, pair_id, more, more_id)
        near = (x if more is None else torch.cat([x, more]))[like]
        r, cos = slerp(own, near, alpha), (own * near).sum(1)
        good = there & (cos <= self.most) & (cos > -0.9995)
        return torch.where(good[:, None], r, own), like, good

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the mean of the three losses; the first text of an item is its caption."""
        if f.x is None or batch.slot_mask is None or len(batch) < 2:
            return nothing(next(step.model.parameters()))
        model, composer = step.model, step.model.reader("composer")
        x, rows = f.x, batch.slot_mask[:, 0].nonzero()[:, 0]
        own = x if batch.image is None or batch.image.shape[1] < 2 else model.picture_vectors(batch.image[:, 1])
        drawn = batch.targets["made"]
        alpha = self.low + (self.alpha - self.low) * drawn[:, 2:]
        captions, langs = [one[0] for one in batch.texts], [one[0] for one in batch.lang]
        said, has, more, more_id = captions, batch.slot_mask[:, 0], None, None
        if self.queue and batch.pair_id is not None:
            more, more_id, texts = self.waiting()
            said, has = captions + texts, torch.cat([has, has.new_ones(len(texts))])
        r, like, good = self.references(own, x, batch.pair_id, alpha, more, more_id)
        good = good & has[: len(captions)] & has[like]
        at = good.nonzero()[:, 0]
        changes = self.said(said, like.tolist(), drawn.tolist())
        if self.queue and self.training and batch.pair_id is not None:
            self.push(x[rows], batch.pair_id[rows], [captions[i] for i in rows.tolist()])
        lying = Features(x=r)
        queries = []
        if "picture" in self.kinds:
            queries.append((at, composer.query(model, lying, at, None) if len(at) else None))
        if "text" in self.kinds:
            some = model.with_texts(Features(), [captions[i] for i in rows.tolist()], [langs[i] for i in rows.tolist()])
            every = torch.arange(len(rows), device=x.device)
            queries.append((rows, composer.query(model, some, None, every)))
        if "both" in self.kinds and len(at):
            both = model.with_texts(lying, [changes[i] for i in at.tolist()], [langs[i] for i in at.tolist()])
            every = torch.arange(len(at), device=x.device)
            queries.append((at, composer.query(model, both, at, every)))
        terms = [
            contrast(x, q, owner, ContrastOptions(), scale=self.scale()[0], pair_id=batch.pair_id)
            for owner, q in queries
            if q is not None
        ]
        if not terms:
            return nothing(x)
        return Term(torch.stack([t.value for t in terms]).sum() / len(self.kinds), max(t.count for t in terms))


class SentencePart(Part):
    """A light tower's sentence, read by a frozen text tower, is to be as near to pictures as the frozen image tower is.

    Args:
        widths: of the model.
        temperature: of both sides' similarities.
        local: weight of what grounds the sentence in the picture: where the text tower judges matches (BLIP), its
            judgement; else one minus the cosine of sentence and picture, which is ours.
        queue: further pictures, of the last steps, that similarities are with.
        itself: compare the picture with itself too.

    Source: ISA arXiv 2403.01431, section 3.3 (global contrastive distillation, local alignment regularisation).
    """

    needs, reads, gives = ("composer", "picture"), ("picture",), ("encode", "compose")
    across = ""

    kept: Tensor

    def __init__(
        self,
        widths: Widths,
        temperature: float = 0.01,
        local: float = 1.0,
        queue: int = 0,
        itself: bool = True,
    ) -> None:
        super().__init__()
        if temperature <= 0 or queue < 0:
            raise UserError(f"sentence: temperature={temperature} must be above 0, queue={queue} at least 0.")
        self.temperature, self.local, self.itself = temperature, local, itself
        self.register_buffer("kept", torch.zeros(queue, widths.dim))

    def distil(self, q: Tensor, v: Tensor, more: Tensor | None = None) -> Term:
        """Return KL(teacher ‖ student) of similarities to the pictures, the mean over queries.

        Args:
            q: [B, D] unit vectors of sentences.
            v: [B, D] of the same pictures.
            more: [M, D] of further pictures.
        """
        columns = v if more is None else torch.cat([v, more])
        mask = None
        if not self.itself:
            mask = ~torch.eye(len(v), len(columns), dtype=torch.bool, device=v.device)
        return kl_logits(q @ columns.T / self.temperature, v @ columns.T / self.temperature, mask)

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the distillation, and what grounds the sentence."""
        model, composer = step.model, step.model.reader("composer")
        if f.x is None or not hasattr(composer, "sentences"):
            raise UserError("sentence: needs readers: {composer: {kind: sentence}}, and an image tower.")
        v = f.x.detach()
        ids, mask, langs, soft = composer.sentences(model, composer.soft(f, torch.arange(len(v), device=v.device)), f)
        q = composer.out_of(model, model.text(ids, mask, langs, **soft)[0])
        full = self.kept[self.kept.any(1)]
        term = self.distil(q, v, full if len(full) else None)
        if self.local and hasattr(model.text, "match") and f.patches is not None:
            judged = model.text.match(ids, mask, f.patches.detach(), **soft)
            wanted = torch.ones(len(v), dtype=torch.long, device=v.device)
            grounded = torch.nn.functional.cross_entropy(judged, wanted)
        else:
            grounded = (1 - (q * v).sum(1)).mean()
        if self.training and len(self.kept):
            self.kept = torch.cat([v, self.kept])[: len(self.kept)].contiguous()
        return Term(term.value + self.local * grounded, term.count)
