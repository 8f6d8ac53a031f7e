"""The tiled contrast kernel: row tiles of scores come and go, nothing of size n·m is ever kept.

Each form is a function of plain tensors that returns the loss and, when asked, its gradients with respect to a, b, the
scale and the bias. `Tiled` hands them to autograd. Gradients are made in the forward call, where the tiles are: the
backward call only multiplies, so nothing but the gradients themselves (as large as the features) is saved.

With L = s·S the softmax form is  loss = Σ_i R_i (lse_i − ⟨T_i, L_i⟩) + Σ_j C_j (lse_j − ⟨T'_j, L_j⟩)  and
dL = R_i·P_row + C_j·P_col − R_i·T − C_j·T';  da = s·dL·b;  db = s·dLᵀ·a;  ds = Σ dL∘S = Σ_i ⟨a_i, (dL·b)_i⟩.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from panoglot.errors import UserError

__all__ = ["Dot", "Job", "MaxSim", "Tiled", "find_pairs", "tile_rows"]

# scores of about 2^22 entries a tile: 16 MB in float32; larger ones were no faster
TILE_ENTRIES = 1 << 22


def tile_rows(n: int, m: int, chunk: int | None, width: int = 1) -> int:
    """Return the rows of a tile: `chunk`, or as many as make a tile of `TILE_ENTRIES` (`width` values a score)."""
    return max(1, min(n, chunk or max(16, TILE_ENTRIES // max(1, m * width))))


def find_pairs(key_a: Tensor, key_b: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Return the (row, column) indices of equal keys, sorted by row; negative keys match nothing."""
    found = [((k[:, None] == key_b) & (k[:, None] >= 0)).nonzero() for k in key_a.split(rows)]
    start = [f + f.new_tensor([t * rows, 0]) for t, f in enumerate(found)]
    pairs = torch.cat(start) if start else key_a.new_zeros((0, 2))
    return pairs[:, 0].contiguous(), pairs[:, 1].contiguous()


class Dot:
    """S_ij = ⟨a_i, b_j⟩ with a [n, D], b [m, D]."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.a, self.b = a, b

    def tile(self, r: slice) -> Tensor:
        """[c, m] scores of the rows of a tile."""
        return self.a[r] @ self.b.T

    def back(self, r: slice, g: Tensor, da: Tensor, db: Tensor | None, factor: Tensor) -> Tensor:
        """Add the gradients factor·g·b and factor·gᵀ·a; return Σ g∘S."""
        gb = g @ self.b
        total = (gb * self.a[r]).sum()
        da[r] += gb.mul_(factor)
        if db is not None:
            db.addmm_(g.T, self.a[r] * factor)
        return total

    def bound(self) -> float:
        """An upper bound of |S|."""
        if not len(self.a) or not len(self.b):
            return 0.0
        return float(self.a.norm(dim=1).max() * self.b.norm(dim=1).max())

    def matched(self, r: slice) -> Tensor:
        """[c] scores of row i with column i."""
        return (self.a[r] * self.b[r]).sum(-1)

    def matched_back(self, r: slice, g: Tensor, da: Tensor, db: Tensor | None) -> None:
        """Add the gradients of the matched scores."""
        da[r] += g[:, None] * self.b[r]
        if db is not None:
            db[r] += g[:, None] * self.a[r]


class MaxSim:
    """S_ij = Σ_k max_l ⟨a_ik, b_jl⟩ over the tokens that exist; a [n, La, D], b [m, Lb, D], masks [n, La], [m, Lb].

    Every row must have a token on both sides.
    """

    def __init__(self, a: Tensor, b: Tensor, a_mask: Tensor, b_mask: Tensor) -> None:
        self.a, self.b, self.a_mask, self.b_mask = a, b, a_mask, b_mask

    def _score(self, a: Tensor, b: Tensor, r: slice) -> Tensor:
        each = torch.einsum("ckd,mld->ckml", a, b)
        best = each.masked_fill(~self.b_mask, float("-inf")).max(-1).values  # [c, La, m]
        return best.masked_fill(~self.a_mask[r][:, :, None], 0.0).sum(1)

    def tile(self, r: slice) -> Tensor:
        """[c, m] scores of the rows of a tile."""
        return self._score(self.a[r], self.b, r)

    def back(self, r: slice, g: Tensor, da: Tensor, db: Tensor | None, factor: Tensor) -> Tensor:
        """Add the gradients of the tile; return Σ g∘S. The arg-max is found again by autograd, in this tile only."""
        with torch.enable_grad():
            a, b = self.a[r].detach().requires_grad_(), self.b.detach().requires_grad_()
            s = self._score(a, b, r)
        ga, gb = torch.autograd.grad(s, (a, b), g * factor)
        da[r] += ga
        if db is not None:
            db += gb
        return (g * s.detach()).sum()

    def bound(self) -> float:
        """An upper bound of |S|."""
        return (
            float(self.a.norm(dim=-1).sum(-1).max() * self.b.norm(dim=-1).max()) if len(self.a) * len(self.b) else 0.0
        )

    def _matched(self, a: Tensor, b: Tensor, r: slice) -> Tensor:
        best = torch.einsum("ckd,cld->ckl", a, b).masked_fill(~self.b_mask[r][:, None], float("-inf")).max(-1).values
        return best.masked_fill(~self.a_mask[r], 0.0).sum(1)

    def matched(self, r: slice) -> Tensor:
        """[c] scores of row i with column i."""
        return self._matched(self.a[r], self.b[r], r)

    def matched_back(self, r: slice, g: Tensor, da: Tensor, db: Tensor | None) -> None:
        """Add the gradients of the matched scores."""
        with torch.enable_grad():
            a, b = self.a[r].detach().requires_grad_(), self.b[r].detach().requires_grad_()
            s = self._matched(a, b, r)
        ga, gb = torch.autograd.grad(s, (a, b), g)
        da[r] += ga
        if db is not None:
            db[r] += gb


@dataclass
class Job:
    """One contrast to compute: who is positive to whom, who is left out, and the weights of the two directions."""

    form: str
    pairs: tuple[Tensor, Tensor]  # rows and columns of the positives, sorted by row
    n: int
    m: int
    row_share: float  # weight of the a→b direction
    column_share: float  # weight of the b→a direction
    same_a: Tensor | None = None  # equal ids are duplicates: no negatives of each other
    same_b: Tensor | None = None
    smoothing: float = 0.0
    margin: float = 0.2
    hard: int | None = None
    rows: int = 1024
    grad: bool = False
    grad_b: bool = True  # False: b is stored, its gradient is not made

    def tiles(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield (row slice, local rows of its positives, their columns)."""
        pi, pj = self.pairs
        edges = [*range(0, self.n, self.rows), self.n]
        cuts = torch.searchsorted(pi, pi.new_tensor(edges)).tolist()
        for t, start in enumerate(edges[:-1]):
            p = slice(cuts[t], cuts[t + 1])
            yield slice(start, edges[t + 1]), pi[p] - start, pj[p]

    def left_out(self, r: slice, i: Tensor, j: Tensor) -> Tensor | None:
        """[c, m] bool: duplicates that are not positives; None when there are none to ask for."""
        if self.same_a is None or self.same_b is None:
            return None
        out = self.same_a[r][:, None] == self.same_b
        out[i, j] = False
        return out


Result = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]


def _grads(job: Job, k: Any) -> tuple[Any, Any, Any]:
    if not job.grad:
        return None, None, None
    return torch.zeros_like(k.a), torch.zeros_like(k.b) if job.grad_b else None, k.a.new_zeros(())


def softmax(job: Job, k: Any, s: Tensor, bias: Tensor) -> Result:
    """Cross-entropy over rows and columns; two passes: normalisers first, gradients second."""
    pi, pj = job.pairs
    n, m, eps = job.n, job.m, job.smoothing
    per_row, per_column = torch.bincount(pi, minlength=n), torch.bincount(pj, minlength=m)
    weight_r = job.row_share * (per_row > 0).to(s.dtype) / (per_row > 0).sum()
    weight_c = job.column_share * (per_column > 0).to(s.dtype) / (per_column > 0).sum()
    both = job.column_share > 0
    # |L| ≤ bound: exp(L − bound) can neither overflow nor vanish, so one exponential serves both directions
    bound = abs(float(s)) * k.bound()
    fast = bound <= (300.0 if s.dtype == torch.float64 else 40.0)
    lse_r = s.new_full((n,), 0.0)
    top = s.new_full((m,), float("-inf"))
    total_c = s.new_zeros(m)
    mean_r, mean_c = s.new_zeros(n), s.new_zeros(m)  # Σ of the scores that take part, for smoothing
    valid_r, valid_c = s.new_full((n,), float(m)), s.new_full((m,), float(n))
    positive = s.new_zeros(len(pi))
    done = 0
    for r, i, j in job.tiles():
        scores = k.tile(r).mul_(s)
        positive[done : done + len(i)] = scores[i, j]
        done += len(i)
        out = job.left_out(r, i, j)
        if eps:
            kept = scores if out is None else scores.masked_fill(out, 0.0)
            mean_r[r], mean_c = kept.sum(1), mean_c + kept.sum(0)
            if out is not None:
                valid_r[r], valid_c = m - out.sum(1).to(s.dtype), valid_c - out.sum(0)
        if out is not None:
            scores.masked_fill_(out, float("-inf"))
        if fast:
            scores.sub_(bound).exp_()
            lse_r[r] = scores.sum(1)
            if both:
                total_c += scores.sum(0)
            continue
        lse_r[r] = torch.logsumexp(scores, 1)
        if both:
            new = torch.maximum(top, scores.amax(0))
            shift = new.masked_fill(new == float("-inf"), 0.0)
            total_c.mul_((top - shift).exp_()).add_(scores.sub_(shift).exp_().sum(0))
            top = new
    if fast:
        lse_r = lse_r.log_().add_(bound)
        lse_c = total_c.log_().add_(bound)
    else:
        lse_c = total_c.log_().add_(top.masked_fill(top == float("-inf"), 0.0))
    used_r, used_c = weight_r > 0, weight_c > 0
    share = (1 - eps) * (weight_r[pi] / per_row[pi] + weight_c[pj] / per_column[pj])  # what each positive pair pulls
    loss = (weight_r * lse_r.where(used_r, s.new_zeros(()))).sum() - (share * positive).sum()
    if both:
        loss = loss + (weight_c * lse_c.where(used_c, s.new_zeros(()))).sum()
    if eps:
        even_r, even_c = eps * weight_r / valid_r.clamp(min=1), eps * weight_c / valid_c.clamp(min=1)
        loss = loss - (even_r * mean_r).sum() - (even_c * mean_c).sum()
    if not job.grad:
        return loss, None, None, None, None
    # weights as offsets of the exponent: weight·exp(L − lse) = exp(L − (lse − ln weight)); unused rows are exp(−inf)
    far = s.new_tensor(float("inf"))
    minus_r = (lse_r - weight_r.log()).where(used_r, far)
    minus_c = (lse_c - weight_c.log()).where(used_c, far)
    da, db, ds = _grads(job, k)
    done = 0
    for r, i, j in job.tiles():
        scores = k.tile(r).mul_(s)
        out = job.left_out(r, i, j)
        if fast:
            g = scores.sub_(bound).exp_()
            push = (bound - minus_r[r]).exp_()[:, None]
            g.mul_(push + (bound - minus_c).exp_() if both else push)
        elif both:
            g = (scores - minus_c).exp_()
            g.add_(scores.sub_(minus_r[r][:, None]).exp_())
        else:
            g = scores.sub_(minus_r[r][:, None]).exp_()
        if eps:
            g.sub_(even_r[r][:, None] + even_c)
        if out is not None:
            g.masked_fill_(out, 0.0)
        g[i, j] -= share[done : done + len(i)]
        done += len(i)
        ds += k.back(r, g, da, db, s)
    return loss, da, db, ds, None


def sigmoid(job: Job, k: Any, s: Tensor, bias: Tensor) -> Result:
    """Every pair is a yes or no; sum over the images, mean over the texts; one pass."""
    da, db, ds = _grads(job, k)
    loss, dbias = s.new_zeros(()), s.new_zeros(())
    texts = torch.unique(job.pairs[1]).numel()
    for r, i, j in job.tiles():
        z = k.tile(r).mul_(s).add_(bias)
        out = job.left_out(r, i, j)
        z[i, j] = -z[i, j]  # softplus(−label·z): the sign turns at the positives
        kept = -torch.nn.functional.logsigmoid(-z)  # exact for large z, where torch's softplus turns linear
        loss += (kept if out is None else kept.masked_fill_(out, 0.0)).sum() / texts
        if job.grad:
            g = z.sigmoid_().div_(texts)
            if out is not None:
                g.masked_fill_(out, 0.0)
            g[i, j] = -g[i, j]
            dbias += g.sum()
            ds += k.back(r, g, da, db, s)
    return loss, da, db, ds, dbias if job.grad else None


def hinge(job: Job, k: Any, s: Tensor, bias: Tensor) -> Result:
    """Max-margin over matched pairs (row i with column i); the diagonal first, then one pass."""
    n = job.n
    unit = 1.0 / (n * n)
    rows = [slice(x, min(x + job.rows, n)) for x in range(0, n, job.rows)]
    matched = torch.cat([k.matched(r) for r in rows])
    diagonal = matched * s
    loss = s.new_zeros(())
    da, db, ds = _grads(job, k)
    pull = s.new_zeros(n)  # how often each positive score is asked to rise
    best, best_row = s.new_zeros((0, n)), torch.zeros((0, n), dtype=torch.long, device=s.device)
    for r, i, j in job.tiles():
        scores = k.tile(r).mul_(s)
        out = job.left_out(r, i[:0], j[:0])  # the pair itself carries its own id, so the diagonal is left out too
        cost = (scores + (job.margin - diagonal[r])[:, None]).clamp_(min=0).masked_fill_(out, 0.0)
        if job.hard is not None:
            value, place = cost.topk(min(job.hard, n), dim=1)
            cost = torch.zeros_like(cost).scatter_(1, place, value)
        loss += job.row_share * unit * cost.sum()
        g = (cost > 0).to(s.dtype).mul_(job.row_share * unit)
        pull[r] += g.sum(1)
        if job.column_share:
            cost = scores.add_(job.margin - diagonal).clamp_(min=0).masked_fill_(out, 0.0)
            if job.hard is None:
                loss += job.column_share * unit * cost.sum()
                h = (cost > 0).to(s.dtype).mul_(job.column_share * unit)
                pull += h.sum(0)
                g += h
            else:  # the hardest rows of a column are known only at the end: keep the best so far, [hard, n]
                here = torch.arange(r.start, r.stop, device=s.device)[:, None].expand_as(cost)
                best, order = torch.cat([best, cost]).topk(min(job.hard, len(best) + len(cost)), dim=0)
                best_row = torch.cat([best_row, here]).gather(0, order)
        if job.grad:
            ds += k.back(r, g, da, db, s)
    loss += job.column_share * unit * best.sum()
    if not job.grad:
        return loss, None, None, None, None
    for value, row in zip(best, best_row, strict=True):  # only the dot scorer comes here
        g = (value > 0).to(s.dtype)[:, None] * (job.column_share * unit)
        pull += g[:, 0]
        da.index_add_(0, row, g * k.b * s)
        if db is not None:
            db += g * k.a[row] * s
        ds += (g * (k.a[row] * k.b)).sum()
    for r in rows:
        k.matched_back(r, -pull[r] * s, da, db)
    ds -= (pull * matched).sum()
    return loss, da, db, ds, None


FORMS: dict[str, Callable[[Job, Any, Tensor, Tensor], Result]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "hinge": hinge,
}


class Tiled(torch.autograd.Function):
    """`FORMS[job.form]` with its gradients."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, s: Tensor, bias: Tensor, masks: Any, job: Job) -> Tensor:
        """Compute the loss, and the gradients when anybody wants them."""
        k = Dot(a, b) if masks is None else MaxSim(a, b, *masks)
        with torch.autocast(
            device_type=a.device.type, enabled=False
        ):  # scores in full precision, whatever surrounds us
            loss, *grads = FORMS[job.form](job, k, s, bias)
        if job.grad:
            ctx.save_for_backward(*[g for g in grads if g is not None])
            ctx.has = [g is not None for g in grads]
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Scale what forward made."""
        if torch.is_grad_enabled():
            raise UserError(
                "The tiled contrast has no second derivative (create_graph=True); ask for the dense form: tiled=False."
            )
        saved = iter(ctx.saved_tensors)
        return (*(next(saved) * grad if has else None for has in ctx.has), None, None)
