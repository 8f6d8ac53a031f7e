"""Optimisers by name; LAMB is ours, the others are torch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from panoglot.errors import UserError, did_you_mean

__all__ = ["Lamb", "make_optimiser"]


class Lamb(torch.optim.Optimizer):
    """Adam whose step has, layer by layer, the size of the weights (arXiv 1904.00962; ALIGN)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        loss = closure() if closure else None
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = torch.zeros(())
                    state["m"], state["v"] = torch.zeros_like(p), torch.zeros_like(p)
                state["step"] += 1
                t = float(state["step"])
                state["m"].lerp_(p.grad, 1 - b1)
                state["v"].mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
                update = (state["m"] / (1 - b1**t)) / ((state["v"] / (1 - b2**t)).sqrt() + group["eps"])
                update.add_(p, alpha=group["weight_decay"])
                size, move = float(p.norm()), float(update.norm())
                trust = size / move if size > 0 and move > 0 and p.dim() > 1 else 1.0
                p.add_(update, alpha=-group["lr"] * trust)
        return loss


KINDS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "lamb": Lamb, "sgd": torch.optim.SGD}


def make_optimiser(groups: list[dict[str, Any]], spec: Mapping[str, Any], **more: Any) -> torch.optim.Optimizer:
    """Return the optimiser that `{kind: …, betas: …, eps: …}` describes; lr and decay are in the groups.

    `more` is given to it besides.
    """
    kind = spec.get("kind", "adamw")
    if kind not in KINDS:
        raise UserError(f"No optimiser is called '{kind}'.{did_you_mean(kind, KINDS)}")
    options = {
        k: tuple(v) if isinstance(v, list) else v for k, v in spec.items() if k not in ("kind", "lr", "weight_decay")
    }
    try:
        found: torch.optim.Optimizer = KINDS[kind](groups, **options, **more)
        return found
    except TypeError as error:
        raise UserError(f"optimiser {kind}: {error}.") from error
