"""What language models learn: text (all), the picture's tokens (Croc), a codebook of them (TL;DR)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError, did_you_mean, require
from panoglot.networks._pool import gather_rows
from panoglot.networks._records import Batch, Term
from panoglot.networks.losses import Codebook, lm, recon_feat
from panoglot.networks.losses._nothing import nothing
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.samplers import Draw
from panoglot.networks.towers import Block

__all__ = ["LmPart", "ReconPart", "VqPart", "assign"]


class LmPart(Part):
    """Nats a token of what is to be written.

    Args:
        widths: of the model.
        attention: `causal`; `mixed`: everything before the first token that is learnt (picture, prompt) sees itself
            both ways and is seen by all (Croc's stage 1.5). Writing is always causal.
    """

    needs, reads, gives = ("writer",), ("target",), ("write",)

    def __init__(self, widths: Widths, attention: str = "causal") -> None:
        super().__init__()
        if attention not in ("causal", "mixed"):
            raise UserError(f"lm: attention={attention!r} must be 'causal' or 'mixed'.")
        self.attention = attention

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the loss of the batch's targets."""
        if f.logits is None or batch.target is None:
            raise UserError("lm: needs a language model: text: {kind: causal}, seq2seq, decoder or encoder_decoder.")
        return lm(f.logits, batch.target[:, -f.logits.shape[1] :], shift=step.model.text.shift)


@torch.no_grad()
def assign(v: Tensor, pool: Tensor, how: str = "hungarian") -> Tensor:
    """Return a pool row for each vector, [P] of v [P, D] and pool [M, D].

    Args:
        v: vectors to be replaced.
        pool: what there is.
        how: `hungarian`, every row at most once and the least total distance; `nearest`, each its nearest, repeats
            allowed (the released code).

    Raises:
        UserError: the pool has fewer rows than are needed once each.

    >>> pool = torch.tensor([[0., 0], [1, 0]])
    >>> assign(torch.tensor([[0., 0], [.1, 0]]), pool).tolist(), assign(torch.zeros(2, 2), pool, "nearest").tolist()
    ([0, 1], [0, 0])
    """
    distance = torch.cdist(v.float(), pool.float())
    if how == "nearest":
        return distance.argmin(1)
    if len(v) > len(pool):
        raise UserError(f"recon: {len(v)} tokens are replaced once each, but the pool has {len(pool)}: pool, or ratio.")
    solve = require("scipy.optimize", "scipy", "assigning tokens").linear_sum_assignment
    rows, columns = solve(distance.cpu().numpy())
    out = torch.empty(len(v), dtype=torch.long, device=v.device)
    out[torch.as_tensor(rows, device=v.device)] = torch.as_tensor(columns, device=v.device)
    return out


class ReconPart(Part):
    """Most of the picture's tokens are replaced by learned ones; the language model's hidden states rebuild them.

    Which tokens are replaced is a function of (seed, epoch, id).

    Args:
        widths: of the model.
        ratio: share of tokens replaced; ⌊N·(1 - ratio)⌋ stay.
        pool: learned tokens.
        assign: see `assign`.
        over: `all` positions count, or the `replaced` ones.
        beta: of the smooth L1.
        head_width: of a head of the attention in the rebuilding layer.
        places: most tokens of a picture.

    Source: Croc arXiv 2410.14332 (weight 10).
    """

    needs, reads = ("media",), ("picture", "target")

    def __init__(
        self,
        widths: Widths,
        ratio: float = 0.75,
        pool: int = 2048,
        assign: str = "hungarian",
        over: str = "all",
        beta: float = 0.01,
        head_width: int = 64,
        places: int = 576,
    ) -> None:
        super().__init__()
        for name, value, allowed in (("assign", assign, ("hungarian", "nearest")), ("over", over, ("all", "replaced"))):
            if value not in allowed:
                raise UserError(f"recon: {name}={value!r} is not known.{did_you_mean(str(value), allowed)}")
        if not 0 <= ratio <= 1:
            raise UserError(f"recon: ratio={ratio} must be in 0..1.")
        width = widths.text
        self.ratio, self.assign, self.over, self.beta = ratio, assign, over, beta
        self.pool = nn.Parameter(torch.randn(pool, width) * width**-0.5)  # of the length of what it replaces
        self.place = nn.Parameter(torch.randn(places, width) * 0.02)
        self.layer = Block(width, max(1, width // head_width))
        self.out = nn.Linear(width, width)
        self._target: Tensor | None = None
        self._replaced: Tensor | None = None
        self._real: Tensor | None = None

    def chosen(self, n: int, batch: Batch) -> Tensor:
        """Return which of n tokens are replaced, [B, n] bool, exactly n - ⌊n·(1 - ratio)⌋ a picture."""
        count = n - int(n * (1 - self.ratio))
        out = torch.zeros(len(batch), n, dtype=torch.bool)
        for i, id_ in enumerate(batch.ids):
            out[i, Draw(batch.seed, id_, "replace").sample(range(n), count)] = True
        return out

    def replace(self, media: Tensor, real: Tensor, batch: Batch, model: Any) -> Tensor:
        """Return the picture's tokens [B, T, N, width] as the language model sees them."""
        v = media.flatten(1, 2)
        self._target, self._real = v.detach(), real.flatten(1)
        self._replaced = self.chosen(v.shape[1], batch).to(v.device) & self._real
        rows = []
        for one, here in zip(v, self._replaced, strict=True):
            at = here.nonzero()[:, 0]
            if not len(at):
                rows.append(one)
                continue
            index = assign(one[at].detach(), self.pool, self.assign)
            rows.append(one.index_copy(0, at, self.pool[index].to(one.dtype)))
        return torch.stack(rows).view_as(media)

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the loss of the rebuilt tokens."""
        if f.seen is None or self._target is None or self._replaced is None or self._real is None:
            raise UserError(
                "recon: needs a decoder that reads pictures as tokens: text: {kind: causal}, head: {kind: projector}."
            )
        n = f.seen.shape[1]
        if n > len(self.place):
            raise UserError(f"recon: a picture has {n} tokens; give places: {n}.")
        x = f.seen.to(self.place.dtype) + self.place[:n]
        real, target = self._real, self._target
        see = real[:, None].expand(-1, n, -1)
        x = self.out(self.layer(x, see))
        mask = real if self.over == "all" else self._replaced
        self._target = None
        return recon_feat(x, target.to(x.dtype), mask, beta=self.beta)


class VqPart(Part):
    """The picture's tokens are replaced by their nearest codes: the language model reads nothing else.

    Args:
        widths: of the model.
        codes: how many.
        beta: of the commitment term.
        revive: a code that no token took for so many steps is put where a token is; 0: never. Otherwise most codes of a
            small run are never used.

    Source: TL;DR arXiv 2305.20087.
    """

    needs, reads, in_use = ("media",), ("picture", "target"), True
    idle: Tensor

    def __init__(self, widths: Widths, codes: int = 1024, beta: float = 0.25, revive: int = 0) -> None:
        super().__init__()
        self.revive = revive
        self._last: tuple[Tensor, Tensor] | None = None
        self.register_buffer("idle", torch.zeros(codes, dtype=torch.long))
        self.codebook = Codebook(codes, widths.image, beta)
        nn.init.normal_(self.codebook.codes)  # the size of normed tokens: codes near 0 would all but one stay unused
        self._term: Term | None = None

    def replace(self, media: Tensor, real: Tensor, batch: Batch, model: Any) -> Tensor:
        """Return the quantised tokens, straight-through."""
        out, index, self._term = self.codebook(media, real)
        if self.revive and self.training:
            self._last = (media.detach()[real], index[real])
        found: Tensor = out
        return found

    @torch.no_grad()
    def after_step(self, model: Any, step: int, total: int) -> None:
        """Count the steps that each code was idle, and revive."""
        super().after_step(model, step, total)
        if self._last is None:
            return
        z, index = self._last
        self._last = None
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            z, index = gather_rows(z), gather_rows(index[:, None])[:, 0]
        used = torch.bincount(index, minlength=len(self.idle))
        self.idle.add_(1).masked_fill_(used > 0, 0)
        dead = (self.idle >= self.revive).nonzero()[:, 0]
        if len(dead):  # evenly over the step's tokens: the same in every process
            at = torch.linspace(0, len(z) - 1, len(dead), device=z.device).long()
            self.codebook.codes[dead] = z[at].to(self.codebook.codes.dtype)
            self.idle[dead] = 0

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the distance of tokens and codes."""
        term, self._term = self._term, None
        return nothing(self.codebook.codes) if term is None else term

    @torch.no_grad()
    def codes(self, media: Tensor) -> Tensor:
        """Return the indices of the codes of tokens [..., D]."""
        found: Tensor = self.codebook(media)[1]
        return found
