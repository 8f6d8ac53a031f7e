"""Less memory for more computing, and the other way round: recomputed activations, compiled towers."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from panoglot.errors import UserError
from panoglot.networks.towers import Block

__all__ = ["checkpoint_activations", "compile_towers"]


def checkpoint_activations(model: nn.Module) -> int:
    """Keep only what goes into every transformer block, and compute the block again in the backward pass.

    Values and gradients stay the same, dropout included. Works on our blocks, on transformers' models and on timm's.

    Returns:
        How many blocks or models do so.

    Raises:
        UserError: there is none.
    """
    count = 0
    inside: set[nn.Module] = set()  # parts of a model that takes care of itself
    for module in model.modules():
        if module in inside:
            continue
        if getattr(module, "supports_gradient_checkpointing", False):  # transformers
            names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")  # the latter until 5.22
            next(getattr(module, n) for n in names if hasattr(module, n))({"use_reentrant": False})
        elif hasattr(module, "set_grad_checkpointing"):  # timm
            module.set_grad_checkpointing(True)  # type: ignore[operator]
        elif isinstance(module, Block):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False)  # type: ignore[method-assign]
        else:
            continue
        inside |= set(module.modules())
        count += 1
    if not count:
        raise UserError("checkpointing: this row has no transformer blocks whose activations could be computed again.")
    return count


def compile_towers(model: Any, backend: str = "inductor") -> None:
    """Compile the towers with `torch.compile`; names of parameters stay as they are."""
    for tower in (model.image, model.text):
        if isinstance(tower, nn.Module) and any(True for _ in tower.parameters()):
            tower.compile(backend=backend)
