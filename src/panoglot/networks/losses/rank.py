"""Learning from people's rankings of the captions of one image (Compress & Align's reward model)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from panoglot.networks._records import Term
from panoglot.networks.losses._nothing import nothing

__all__ = ["rank"]


def rank(reward: Tensor, quality: Tensor, image: Tensor) -> Term:
    """-ln σ(r_better - r_worse): mean over the ordered pairs of an image, then over the images that have one.

    Args:
        reward: [M] the model's scores.
        quality: [M] the people's scores, higher is better; ties are skipped, NaN (not judged) takes no part.
        image: [M] which image each caption belongs to.

    Returns:
        The loss and the number of pairs. Adding a constant to all rewards of an image changes nothing.

    Source: Compress & Align arXiv 2312.06726.

    >>> import torch
    >>> one = torch.zeros(3)
    >>> round(float(rank(torch.tensor([2., 1, 0]), torch.tensor([3., 2, 1]), one).value), 4)
    0.2512
    """
    better, worse = ((image[:, None] == image) & (quality[:, None] > quality)).nonzero().unbind(1)
    if not len(better):
        return nothing(reward)
    each = -F.logsigmoid(reward[better] - reward[worse])
    place, pairs = torch.unique(image[better], return_inverse=True, return_counts=True)[1:]
    return Term((each / pairs[place]).sum() / len(pairs), len(better))
