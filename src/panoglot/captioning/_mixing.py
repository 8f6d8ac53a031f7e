"""Which text of a picture is taken at an epoch: a draw that depends on (seed, epoch, id) alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from panoglot.errors import UserError, did_you_mean
from panoglot.networks.samplers._draw import Draw

__all__ = ["MIXES", "mixed", "weights_for"]

#: Shares of formats by what the captions are for, starting points out of "Revisit Large-Scale Image-Caption Data":
#: contrastive encoders want 40-50 % short captions beside the alternative texts, multimodal language models a third of
#: alternative texts, diffusion half descriptive captions.
MIXES: dict[str, dict[str, float]] = {
    "clip": {"alt": 0.55, "ssc": 0.45},
    "mllm": {"alt": 1 / 3, "dsc+": 2 / 3},
    "diffusion": {"alt": 0.5, "dsc": 0.5},
}


def weights_for(weights: str | Mapping[str, float], available: Collection[str]) -> dict[str, float]:
    """The share of each format that a picture has; the shares of those that it lacks go to the others in proportion.

    >>> weights_for({"alt": .5, "ssc": .45, "dsc": .05}, ["alt", "ssc"])
    {'alt': 0.526316, 'ssc': 0.473684}

    Args:
        weights: format → weight, or the name of one of `MIXES`.
        available: the formats that the picture has.

    Raises:
        UserError: no such mix; a weight below 0 or not a number; nothing is left.
    """
    if isinstance(weights, str):
        if weights not in MIXES:
            raise UserError(f"there is no mix '{weights}'.{did_you_mean(weights, MIXES)}")
        weights = MIXES[weights]
    if bad := [name for name, weight in weights.items() if not (weight >= 0 and math.isfinite(weight))]:
        raise UserError(f"the weight of '{bad[0]}' is {weights[bad[0]]}: weights are 0 or more.")
    have = {name: weight for name, weight in weights.items() if name in available and weight > 0}
    total = sum(have.values())
    if not total:
        raise UserError(f"none of {', '.join(weights)} is there with a weight above 0.")
    return {name: round(weight / total, 6) for name, weight in have.items()}


def mixed(weights: str | Mapping[str, float], available: Collection[str], seed: int, epoch: int, id_: str) -> str:
    """The format that a picture shows at an epoch: the same for any order and number of workers.

    >>> mixed({"alt": 1, "vecap": 0}, ["alt", "vecap"], 0, 0, "img")
    'alt'
    """
    return Draw(seed, epoch, id_, "mix").weighted(weights_for(weights, available))
