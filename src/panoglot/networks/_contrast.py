"""The contrast kernel: every contrastive method is this function with other options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from panoglot.errors import UserError, did_you_mean
from panoglot.networks._records import Term
from panoglot.networks._tiled import Job, Tiled, find_pairs, tile_rows

__all__ = ["ContrastOptions", "contrast", "contrast_dense"]

_CHOICES = {
    "form": ("softmax", "sigmoid", "hinge"),
    "scorer": ("dot", "maxsim"),
    "reduce": ("half_sum", "sum", "one_way"),
    "negatives": ("all", "per_slot", "hard"),
}
_SHARES = {"half_sum": (0.5, 0.5), "sum": (1.0, 1.0), "one_way": (1.0, 0.0)}


@dataclass(frozen=True)
class ContrastOptions:
    """What kind of contrast. The defaults are CLIP's.

    Attributes:
        form: `softmax` (CLIP, InfoNCE), `sigmoid` (SigLIP, FLAME), `hinge` (max-margin, char-GRU).
        scorer: `dot` of unit vectors, or `maxsim` over token vectors (ColBERT).
        reduce: of the two directions the `half_sum` (CLIP), the `sum` (ALIGN, hinge), or only a→b, `one_way` (GRAIN's
            regions, ColBERT). None: `half_sum` for softmax, `sum` for hinge. The sigmoid form has no directions.
        smoothing: label smoothing of the softmax: this much of the target is spread evenly over all columns (ALIGN .1).
        negatives: `all`; `per_slot`: texts of different slots never compete, mean over slots (DreamLIP);
            `hard`: only the `hard_n` costliest negatives of every row and column (hinge).
        hard_n: see `negatives`.
        margin: of the hinge.
        group: rows are cut into consecutive groups of this many that do not see each other, mean over groups
            (M2-Encoder, COSMO); None is the whole pool.
        chunk: rows a tile; None picks about 4 million scores a tile.

    Raises:
        UserError: an unknown choice, or choices that contradict each other.

    >>> ContrastOptions(form="sofmax")
    Traceback (most recent call last):
    panoglot.errors.UserError: contrast: form='sofmax' is not known. Did you mean 'softmax'?
    """

    form: str = "softmax"
    scorer: str = "dot"
    reduce: str | None = None
    smoothing: float = 0.0
    negatives: str = "all"
    hard_n: int | None = None
    margin: float = 0.2
    group: int | None = None
    chunk: int | None = None

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value not in known and not (name == "reduce" and value is None):
                raise UserError(f"contrast: {name}={value!r} is not known.{did_you_mean(str(value), known)}")
        hard = self.negatives == "hard"
        for wrong, why in (
            (self.form == "sigmoid" and self.reduce, "reduce means nothing for sigmoid: its pairs have no direction"),
            (self.smoothing and self.form != "softmax", f"smoothing belongs to softmax, not to {self.form}"),
            (not 0 <= self.smoothing < 1, f"smoothing={self.smoothing} must be in [0, 1)"),
            (hard and self.form != "hinge", f"hard negatives belong to hinge, not to {self.form}"),
            (hard and self.scorer != "dot", "hard negatives need scorer='dot'"),
            (hard != (self.hard_n is not None), "negatives='hard' and hard_n=… go together"),
            (self.hard_n is not None and self.hard_n < 1, f"hard_n={self.hard_n} must be at least 1"),
            (self.group is not None and self.group < 2, f"group={self.group} must be at least 2"),
            (self.chunk is not None and self.chunk < 1, f"chunk={self.chunk} must be at least 1"),
        ):
            if wrong:
                raise UserError(f"contrast: {why}.")
        if self.reduce is None and self.form != "sigmoid":
            object.__setattr__(self, "reduce", "sum" if self.form == "hinge" else "half_sum")


def contrast(
    a: Tensor,
    b: Tensor,
    owner: Tensor | None = None,
    options: ContrastOptions = ContrastOptions(),
    *,
    scale: Tensor | float = 1.0,
    bias: Tensor | float = 0.0,
    key_a: Tensor | None = None,
    pair_id: Tensor | None = None,
    pair_id_b: Tensor | None = None,
    slot: Tensor | None = None,
    a_mask: Tensor | None = None,
    b_mask: Tensor | None = None,
    tiled: bool = True,
) -> Term:
    """Pull each a to its b and push it from the others.

    Values and gradients equal the dense form; memory is O((n + m)·D + chunk·m) instead of O(n·m).

    Args:
        a: [n, D] unit vectors (images, queries, regions); [n, La, D] token vectors for `maxsim`.
        b: [m, D] unit vectors (texts); [m, Lb, D] for `maxsim`.
        owner: [m] the row of `a` that each text belongs to; -1: a negative for all. None: row i and text i (n = m).
            Several texts may have one owner: all are positives, the softmax target is their mean.
        options: which contrast.
        scale: multiplies the scores; a scalar, learned when it requires grad.
        bias: added to scaled scores (sigmoid only).
        key_a: [n] names of the rows that `owner` speaks of, when they are not 0…n-1 (rows gathered from elsewhere).
        pair_id: [n] equal for true duplicates: they are no negatives of each other.
        pair_id_b: [m] the same for texts; None takes it from the owner.
        slot: [m] which text of its image it is (`per_slot`).
        a_mask: [n, La] bool, which tokens exist (`maxsim`); rows without any are left out.
        b_mask: [m, Lb] bool.
        tiled: False computes the dense matrix (differentiable twice).

    Returns:
        The mean loss and the number of rows of `a` that had a text. Without any: an exact zero with zero gradients.
        The hinge form takes a *pair* as its unit: an image with two texts counts twice, and never against itself.

    Raises:
        UserError: shapes or options that do not fit; a group that does not divide the rows.

    Source: CLIP arXiv 2103.00020; ALIGN 2102.05918; SigLIP/FLAME 2411.11927; DreamLIP 2403.17007; char-GRU 1903.11393.

    >>> import torch
    >>> y = torch.tensor([[.8, .6], [.6, .8]])
    >>> round(float(contrast(torch.eye(2), y, scale=10.0).value), 6)      # ln(1 + e^(−0.2·10))
    0.126928
    >>> float(contrast(torch.eye(2), y, options=ContrastOptions(form="hinge")).value) < 1e-6
    True
    """
    if torch.is_autocast_enabled(a.device.type):  # bfloat16 has no room for a softmax over a large pool
        given = {"key_a": key_a, "pair_id": pair_id, "pair_id_b": pair_id_b, "slot": slot}
        masks_ = {"a_mask": a_mask, "b_mask": b_mask}
        with torch.autocast(a.device.type, enabled=False):
            return contrast(
                a.float(), b.float(), owner, options, scale=scale, bias=bias, tiled=tiled, **given, **masks_
            )
    a, b, masks, owner, key_a, pair_id, pair_id_b, slot = _prepare(
        a, b, owner, options, key_a, pair_id, pair_id_b, slot, a_mask, b_mask
    )
    one = torch.as_tensor
    scale = one(scale, dtype=a.dtype, device=a.device).to(a.dtype).reshape(())
    bias = one(bias, dtype=a.dtype, device=a.device).to(a.dtype).reshape(())
    if options.form != "sigmoid" and (bias.requires_grad or float(bias)):
        raise UserError(f"contrast: a bias belongs to sigmoid, not to {options.form}.")
    terms = []
    for rows, columns in _parts(owner, key_a, slot, options):
        part = (owner[columns], key_a[rows], pair_id[rows] if pair_id is not None else None)
        same_b = pair_id_b[columns] if pair_id_b is not None else None
        part_masks = None if masks is None else (masks[0][rows], masks[1][columns])
        run = _tiled if tiled else _dense
        terms.append(run(a[rows], b[columns], *part, same_b, part_masks, scale, bias, options))
    live = [t for t in terms if t.count]
    if not live:
        return Term(a[:0].sum() + b[:0].sum() + 0.0 * scale, 0)
    count = max(t.count for t in live) if options.negatives == "per_slot" else sum(t.count for t in live)
    return Term(torch.stack([t.value for t in live]).mean(), count)


def contrast_dense(a: Tensor, b: Tensor, owner: Tensor | None = None, *args: Any, **more: Any) -> Term:
    """`contrast` with the whole matrix in memory: the reference that the tiled form is tested against."""
    return contrast(a, b, owner, *args, **{**more, "tiled": False})


def _prepare(
    a: Any, b: Any, owner: Any, o: Any, key_a: Any, pair_id: Any, pair_id_b: Any, slot: Any, a_mask: Any, b_mask: Any
) -> tuple[Any, ...]:
    """Check shapes, fill in what was left out, drop rows without tokens; half precision becomes single."""
    dims = 3 if o.scorer == "maxsim" else 2
    if a.dim() != dims or b.dim() != dims or a.shape[-1] != b.shape[-1]:
        raise UserError(
            f"contrast: {o.scorer} needs {'[n, L, D]' if dims == 3 else '[n, D]'} on both sides with one D, "
            f"got {tuple(a.shape)} and {tuple(b.shape)}."
        )
    n, m = len(a), len(b)
    if owner is None:
        if n != m:
            raise UserError(f"contrast: {n} images and {m} texts: say which image owns each text (owner=…).")
        owner = torch.arange(m, device=b.device) if key_a is None else key_a
    if key_a is None:
        if m and not (int(owner.min()) >= -1 and int(owner.max()) < n):
            raise UserError(f"contrast: owner must be in -1…{n - 1}, found {int(owner.min())}…{int(owner.max())}.")
        key_a = torch.arange(n, device=a.device)
        if pair_id is not None and pair_id_b is None:
            if len(pair_id) == n == len(pair_id.unique()):
                pair_id = None  # nobody has a duplicate: nothing to mask
            elif len(pair_id) == n:
                fresh = pair_id.max() + 1 + torch.arange(m, device=a.device)  # texts that nobody owns are their own
                pair_id_b = torch.where(owner >= 0, pair_id[owner.clamp(min=0)], fresh)
    elif pair_id is not None and pair_id_b is None:
        raise UserError("contrast: with key_a, give pair_id_b beside pair_id.")
    for name, x, want in (("owner", owner, m), ("key_a", key_a, n), ("pair_id", pair_id, n), ("slot", slot, m)):
        if x is not None and len(x) != want:
            raise UserError(f"contrast: {name} has {len(x)} entries, expected {want}.")
    if o.negatives == "per_slot" and slot is None:
        raise UserError("contrast: negatives='per_slot' needs slot=…, the place of each text.")
    wide = torch.promote_types(a.dtype, b.dtype)
    if wide in (torch.float16, torch.bfloat16):
        wide = torch.float32
    a, b, masks = a.to(wide), b.to(wide), None
    if o.scorer == "maxsim":
        a_mask = a.new_ones(a.shape[:2], dtype=torch.bool) if a_mask is None else a_mask.bool()
        b_mask = b.new_ones(b.shape[:2], dtype=torch.bool) if b_mask is None else b_mask.bool()
        has_a, has_b = a_mask.any(1), b_mask.any(1)
        a, a_mask, key_a, b, b_mask, owner = (
            *(x[has_a] for x in (a, a_mask, key_a)),
            *(x[has_b] for x in (b, b_mask, owner)),
        )
        pair_id = None if pair_id is None else pair_id[has_a]
        pair_id_b, slot = (None if x is None else x[has_b] for x in (pair_id_b, slot))
        masks = (a_mask, b_mask)
    return a, b, masks, owner, key_a, pair_id, pair_id_b, slot


def _divisor(n: int, most: int) -> int:
    """Return the largest number of rows a group that divides n and is at most `most`; n itself where only 1 is."""
    return next((k for k in range(min(n, most), 1, -1) if n % k == 0), n)


def _parts(owner: Tensor, key_a: Tensor, slot: Tensor | None, o: ContrastOptions) -> list[tuple[Any, Any]]:
    """Return (rows, columns) of the pools that see each other: groups × slots."""
    n = len(key_a)
    rows: list[Any] = [slice(None)]
    columns: list[Any] = [slice(None)]
    if o.group is not None:
        if n % o.group:
            raise UserError(
                f"contrast: {n} rows cannot be cut into groups of {o.group}; choose a divisor of {n}: "
                f"--set losses.contrast.group={_divisor(n, o.group)}"
            )
        if bool((owner < 0).any()):
            raise UserError("contrast: a text without an owner belongs to no group.")
        rows = [slice(x, x + o.group) for x in range(0, n, o.group)]
        columns = [torch.isin(owner, key_a[r]).nonzero()[:, 0] for r in rows]
    if o.negatives == "per_slot" and slot is not None:
        at = [torch.arange(len(owner), device=owner.device)[c] for c in columns]
        return [(r, c[slot[c] == k]) for r, c in zip(rows, at, strict=True) for k in slot[c].unique()]
    return list(zip(rows, columns, strict=True))


def _tiled(a, b, owner, key_a, pair_id, pair_id_b, masks, scale, bias, o) -> Term:  # type: ignore[no-untyped-def]
    n, m = len(a), len(b)
    width = 1 if masks is None else masks[0].shape[1] * masks[1].shape[1]
    pairs = find_pairs(key_a, owner, tile_rows(n, m, None))
    count = len(pairs[0].unique())
    if not count:
        return Term(a[:0].sum() + b[:0].sum(), 0)
    row_share, column_share = _SHARES[o.reduce or "sum"]
    job = Job(o.form, pairs, n, m, row_share, column_share, pair_id, pair_id_b, o.smoothing, o.margin)
    if o.form == "hinge":  # the unit is the pair: images repeat, and ids keep equal ones from meeting
        i, j = pairs
        ids = i if pair_id is None else pair_id[i]
        a, b, masks = a[i], b[j], None if masks is None else (masks[0][i], masks[1][j])
        n = m = len(i)
        both = torch.arange(n, device=a.device)
        job = replace(job, pairs=(both, both), n=n, m=n, same_a=ids, same_b=ids)
        job.hard = o.hard_n if o.hard_n is not None and o.hard_n < n else None
    job.rows = tile_rows(n, m, o.chunk, width)
    job.grad = torch.is_grad_enabled() and any(t.requires_grad for t in (a, b, scale, bias))
    job.grad_b = job.grad and b.requires_grad
    apply: Any = Tiled.apply  # which torch gives no types
    return Term(apply(a, b, scale, bias, masks, job), count)


def _dense(a, b, owner, key_a, pair_id, pair_id_b, masks, scale, bias, o) -> Term:  # type: ignore[no-untyped-def]
    if masks is None:
        scores = a @ b.T
    else:
        each = torch.einsum("nkd,mld->nkml", a, b).masked_fill(~masks[1], float("-inf")).max(-1).values
        scores = each.masked_fill(~masks[0][:, :, None], 0.0).sum(1)
    logits = scale * scores
    positive = (key_a[:, None] == owner) & (owner >= 0)
    out = torch.zeros_like(positive) if pair_id is None else (pair_id[:, None] == pair_id_b) & ~positive
    count = int(positive.any(1).sum())
    if not count:
        return Term(a[:0].sum() + b[:0].sum(), 0)
    row_share, column_share = _SHARES[o.reduce or "sum"]
    if o.form == "sigmoid":
        label = positive.to(logits.dtype) * 2 - 1
        each = -F.logsigmoid(label * (logits + bias)).masked_fill(out, 0.0)
        return Term(each.sum() / int(positive.any(0).sum()), count)
    if o.form == "hinge":
        i, j = positive.nonzero().unbind(1)
        s = logits[i][:, j]  # pair by pair
        equal = i[:, None] == i if pair_id is None else pair_id[i][:, None] == pair_id[i]
        d = s.diagonal()
        row = (o.margin - d[:, None] + s).clamp(min=0).masked_fill(equal, 0.0)
        column = (o.margin - d[None, :] + s).clamp(min=0).masked_fill(equal, 0.0)
        if o.hard_n is not None:
            h = min(o.hard_n, len(s))
            row, column = row.topk(h, dim=1).values, column.topk(h, dim=0).values
        return Term((row_share * row.sum() + column_share * column.sum()) / len(i) ** 2, count)

    def direction(l: Tensor, p: Tensor, x: Tensor) -> Tensor:  # noqa: E741
        valid = (~x).to(l.dtype)
        even = valid / valid.sum(1, keepdim=True).clamp(min=1)
        target = (1 - o.smoothing) * p.to(l.dtype) / p.sum(1, keepdim=True).clamp(min=1) + o.smoothing * even
        logp = F.log_softmax(l.masked_fill(x, float("-inf")), 1).masked_fill(x, 0.0)
        found: Tensor = -(target * logp).sum(1)[p.any(1)].mean()
        return found

    loss = row_share * direction(logits, positive, out)
    if column_share:
        loss = loss + column_share * direction(logits.T, positive.T, out.T)
    return Term(loss, count)
