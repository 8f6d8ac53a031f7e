"""What composed queries are made of when nobody wrote any: references between pictures, changes between captions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from panoglot.errors import UserError

__all__ = ["TEMPLATES", "check_templates", "nearest", "slerp"]

#: Fifteen ways to ask for what is wanted and not what is there, in English.
TEMPLATES = (
    "{want} instead of {have}",
    "not {have} but {want}",
    "{have} turned into {want}",
    "drop {have} and add {want}",
    "{have} is missing and {want} is there",
    "replace {have} with {want}",
    "I want {want}, not {have}",
    "{want} rather than {have}",
    "change {have} to {want}",
    "no {have}, show {want}",
    "make it {want}, without {have}",
    "{want} takes the place of {have}",
    "remove {have}; put in {want}",
    "swap {have} for {want}",
    "like this, but {want} where {have} was",
)


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """Return templates that have {want}, perhaps {have}, and nothing else to fill in.

    Raises:
        UserError: one that has not.
    """
    for one in templates:
        try:
            fits = one.format(want="\0", have="") != one.format(want="", have="")
        except (KeyError, IndexError, ValueError):
            fits = False
        if not fits:
            raise UserError(f"templates: {one!r} must have {{want}}, and may have {{have}}.")
    if not templates:
        raise UserError("templates: give at least one, with {want}.")
    return tuple(templates)


def slerp(a: Tensor, b: Tensor, alpha: Tensor | float = 0.5) -> Tensor:
    """Return unit vectors [N, D] on the great circle from b (alpha 0) to a (alpha 1).

    Vectors that nearly agree are mixed in a straight line; nearly opposite ones have no way between them: NaN.

    Args:
        a: [N, D] unit vectors.
        b: [N, D] unit vectors.
        alpha: share of the angle that is a's; one number, or [N, 1].

    Source: CoLLM arXiv 2503.19910, section 3.

    >>> slerp(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])).round(decimals=4).tolist()
    [[0.707099974155426, 0.707099974155426]]
    """
    a, b = a.float(), b.float()  # half precision has no arc cosine to speak of
    cos = (a * b).sum(-1, keepdim=True).clamp(-1, 1)
    theta = cos.clamp(-0.9995, 0.9995).arccos()
    mine, other = torch.sin(alpha * theta), torch.sin((1 - alpha) * theta)
    round_ = (mine * a + other * b) / torch.sin(theta)
    straight = torch.nn.functional.normalize(alpha * a + (1 - alpha) * b, dim=-1)
    found = torch.where(cos > 0.9995, straight, round_)
    return found.masked_fill(cos < -0.9995, float("nan"))


def nearest(
    x: Tensor, pair_id: Tensor | None = None, more: Tensor | None = None, more_id: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return of unit vectors [N, D] the nearest other one [N], and whether there is one that is no duplicate [N].

    Args:
        x: the vectors.
        pair_id: [N] equal for duplicates, which are no neighbours.
        more: [M, D] further ones that may be neighbours; they are numbered from N on.
        more_id: [M] equal to the `pair_id` of their duplicates.

    >>> x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> [z.tolist() for z in nearest(x)]
    [[1, 0, 1], [True, True, True]]
    >>> [z.tolist() for z in nearest(x, torch.arange(3), x[:1], torch.tensor([9]))]
    [[3, 0, 1], [True, True, True]]
    """
    every = x if more is None else torch.cat([x, more])
    same = torch.eye(len(x), len(every), dtype=torch.bool, device=x.device)
    if pair_id is not None:
        ids = pair_id if more_id is None else torch.cat([pair_id, more_id])
        same[:, : len(ids)] |= pair_id[:, None] == ids
    scores = x @ every.T
    scores = scores.masked_fill(same, float("-inf"))
    return scores.argmax(1), ~same.all(1)
