"""Which parameters learn, how fast, and with what decay: name patterns, resolved once, printed and stored."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from panoglot.errors import UserError, did_you_mean
from panoglot.networks._ema import Ema

__all__ = ["FreezePlan", "Plan", "freeze", "parameter_groups", "training_mode"]


@dataclass(frozen=True)
class Plan:
    """What was decided for one parameter."""

    name: str
    size: int
    trained: bool
    lr_scale: float = 1.0


@dataclass(frozen=True)
class FreezePlan:
    """What was decided for all of them. Shared parameters are listed once, under their first name."""

    each: tuple[Plan, ...]

    @property
    def trained(self) -> int:
        """Numbers that learn."""
        return sum(p.size for p in self.each if p.trained)

    @property
    def total(self) -> int:
        """All numbers."""
        return sum(p.size for p in self.each)

    def __str__(self) -> str:
        share = 100 * self.trained / max(1, self.total)
        lines = [f"{self.trained:,} of {self.total:,} parameters are trained ({share:.4f} %)"]
        blocks: dict[tuple[str, bool, float], int] = {}
        for p in self.each:
            key = (".".join(p.name.split(".")[:2]), p.trained, p.lr_scale)
            blocks[key] = blocks.get(key, 0) + p.size
        for (name, trained, scale), size in blocks.items():
            rate = "" if scale == 1 or not trained else f", learning rate × {scale:g}"
            lines.append(f"  {'train ' if trained else 'freeze'} {size:>12,}  {name}{rate}")
        return "\n".join(lines)


def freeze(model: nn.Module, rules: Iterable[Mapping[str, Any]]) -> FreezePlan:
    """Set `requires_grad` by patterns and return the resolved list. Without rules everything learns.

    Args:
        model: changed in place.
        rules: in order, the last match wins: `{"freeze": "text.*"}`, `{"train": ["*.adapters.*", "head.*"]}`, with an
            optional `lr_scale`.

    Raises:
        UserError: an unknown key, a pattern that matches nothing, or nothing left to train.

    >>> model = nn.ModuleDict({"image": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
    >>> plan = freeze(model, [{"freeze": "*"}, {"train": "head.*", "lr_scale": .1}])
    >>> plan.trained, plan.total
    (3, 9)
    """
    names = [n for n, _ in model.named_parameters()]
    decided: dict[str, tuple[bool, float]] = dict.fromkeys(names, (True, 1.0))
    for rule in rules:
        for key in rule:
            if key not in ("freeze", "train", "lr_scale"):
                raise UserError(f"freeze: unknown key '{key}'.{did_you_mean(key, ('freeze', 'train', 'lr_scale'))}")
        actions = [k for k in ("freeze", "train") if k in rule]
        if len(actions) != 1:
            raise UserError(f"freeze: a rule says either 'freeze' or 'train', not {dict(rule)}.")
        patterns = rule[actions[0]]
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            found = [n for n in names if fnmatch.fnmatchcase(n, pattern)]
            if not found:
                raise UserError(f"freeze: no parameter is called '{pattern}'.{did_you_mean(pattern, names)}")
            for n in found:
                decided[n] = (actions[0] == "train", float(rule.get("lr_scale", 1.0)))
    for path, module in model.named_modules():
        if isinstance(module, Ema):  # moves by its own rule
            for n, _ in module.named_parameters(prefix=path):
                if n in decided:
                    decided[n] = (False, 1.0)
    for n, p in model.named_parameters():
        p.requires_grad_(decided[n][0])
    plan = FreezePlan(tuple(Plan(n, p.numel(), *decided[n]) for n, p in model.named_parameters()))
    if not plan.trained:
        raise UserError("freeze: every parameter is frozen; nothing would be trained.")
    return plan


def parameter_groups(model: nn.Module, plan: FreezePlan, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return optimiser groups: matrices decay; biases, norms, scales and all other 1-D tensors do not."""
    by_name = dict(model.named_parameters())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for p in plan.each:
        if p.trained:
            decay = weight_decay if by_name[p.name].dim() > 1 else 0.0
            groups.setdefault((p.lr_scale, decay), []).append(by_name[p.name])
    return [
        {"params": params, "lr": lr * scale, "lr_scale": scale, "weight_decay": decay}
        for (scale, decay), params in sorted(groups.items(), key=lambda g: g[0])
    ]


def training_mode(model: nn.Module) -> None:
    """Put the model into training mode, but every part that is wholly frozen into evaluation mode.

    Frozen parts must not drop out, nor move the statistics of their norms.
    """
    model.train()
    stack: Sequence[nn.Module] = [model]
    while stack:
        here, *rest = stack
        parameters = list(here.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            here.eval()
        else:
            rest += here.children()
        stack = rest
