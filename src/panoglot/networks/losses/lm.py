"""Language modelling: COSMO, SyCoCa, Florenz, VL-Adapter, Croc, the codebook captioner of TL;DR."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from panoglot.errors import UserError
from panoglot.networks._records import Term
from panoglot.networks.losses._nothing import nothing

__all__ = ["lm"]

IGNORE = -100


def lm(logits: Tensor, target: Tensor, *, shift: bool = False) -> Term:
    """Mean cross-entropy of the tokens that are to be learnt.

    Args:
        logits: [..., L, V]; position t speaks about `target[t]`, or about `target[t + 1]` with `shift`.
        target: [..., L] token ids; -100 (prompts, images, padding) carries no loss and no gradient.
        shift: for a decoder that was fed the target itself.

    Returns:
        Nats a token, and the number of tokens.

    >>> import torch
    >>> term = lm(torch.zeros(1, 3, 8), torch.tensor([[5, 1, -100]]))
    >>> round(float(term.value), 4), term.count          # uniform logits: ln 8
    (2.0794, 2)
    """
    if logits.shape[:-1] != target.shape:
        raise UserError(f"lm: logits {tuple(logits.shape)} do not belong to targets {tuple(target.shape)}.")
    if shift:
        logits, target = logits[..., :-1, :], target[..., 1:]
    learn = target != IGNORE
    count = int(learn.sum())
    if not count:
        return nothing(logits)
    # only the rows that count are ever normalised: padding costs no memory
    return Term(
        F.cross_entropy(logits[learn].float() if logits.dtype.itemsize < 4 else logits[learn], target[learn]), count
    )
