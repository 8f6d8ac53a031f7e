"""Heads of a picture tower by name: what a row's `head` may be."""

from __future__ import annotations

import copy
from typing import Annotated, Any

from torch import nn

from panoglot.errors import UserError
from panoglot.identity import Added, versioned
from panoglot.networks._kinds import says
from panoglot.networks.towers._reading import Projector
from panoglot.networks.towers.decoders import QueryDecoder, Resampler
from panoglot.networks.towers.heads import Residual, TokenMlp
from panoglot.networks.towers.visual_embedding import VisualEmbedding

__all__ = [
    "linear_head",
    "no_head",
    "own_head",
    "projector_head",
    "queries_head",
    "resampler_head",
    "residual_head",
    "take_own",
    "token_mlp_head",
    "visual_embedding_head",
]


@says(gives=("picture", "local"))
def linear_head(
    model: Any, row: Any, start: Any, bias: Annotated[bool, Added(False)] = False, init: Annotated[str, Added("")] = ""
) -> nn.Module:
    """The tower's own vector, and its patches, in the joint space; `init: xavier` as Glorot and Bengio began."""
    if init not in ("", "xavier"):
        raise UserError(f"head linear: init={init!r} must be '' (torch's) or 'xavier'.")
    layer = nn.Linear(model.image.width, row.dim, bias=bias)
    if init:
        nn.init.xavier_uniform_(layer.weight)
    return layer


@says(gives=("picture",), needs=("patches",))
def token_mlp_head(model: Any, row: Any, start: Any) -> nn.Module:
    """FLAME's: an MLP on every patch, then their mean."""
    return TokenMlp(model.image.width, row.dim)


@versioned(2)  # the class token is read, and queries say who asks in every layer
@says(gives=("picture", "regions"), needs=("patches",))
def queries_head(
    model: Any,
    row: Any,
    start: Any,
    queries: int = 5,
    width: int = 512,
    layers: int = 6,
    heads: int = 8,
    drop: float = 0.1,
) -> nn.Module:
    """GRAIN's: queries that find regions."""
    return QueryDecoder(model.image.width, row.dim, queries, width, layers, heads, drop)


@says(gives=("picture", "local"))
def residual_head(model: Any, row: Any, start: Any, drop: float = 0.0, blend: float = 1.0) -> nn.Module:
    """On frozen vectors, beside what is known without training."""
    return Residual(model.image.width, row.dim, drop, blend, start)


@says(gives=("picture", "local"))
def no_head(model: Any, row: Any, start: Any) -> nn.Module:
    """Vectors as they are."""
    return nn.Identity()


@says(gives=("picture", "local"))
def own_head(model: Any, row: Any, start: Any) -> nn.Module:
    """The way into the joint space that the tower's model came with."""
    return take_own("image", model.image, row.dim)


def take_own(side: str, tower: Any, dim: int) -> nn.Module:
    """Return a copy of a tower's own projection.

    Raises:
        UserError: it has none, or one into another width.
    """
    found: Any = tower.take_projection() if hasattr(tower, "take_projection") else None
    if found is None:
        raise UserError(f"head own: the {side} tower has no projection of its own: take head: {{kind: linear}}.")
    if found.out_features != dim:
        raise UserError(f"head own: the {side} tower's projection gives {found.out_features} numbers, dim is {dim}.")
    return copy.deepcopy(found)  # type: ignore[no-any-return]


@says(gives=("media",), tokens=True)
def projector_head(model: Any, row: Any, start: Any, hidden: int | None = None, normalise: bool = False) -> nn.Module:
    """Tokens of a picture become those of a language model."""
    return Projector(model.image.width, model.text.width, hidden, normalise)


@says(gives=("media",), needs=("patches",), tokens=True)
def resampler_head(
    model: Any, row: Any, start: Any, latents: int = 64, width: int = 1024, layers: int = 6, heads: int = 8
) -> nn.Module:
    """Any number of tokens to some latents."""
    return Resampler(model.image.width, latents, width, layers, heads)


@says(gives=("media",), tokens=True)
def visual_embedding_head(model: Any, row: Any, start: Any, images: int = 2) -> nn.Module:
    """Stored regions with their boxes."""
    return VisualEmbedding(model.image.width, model.text.width, images)
