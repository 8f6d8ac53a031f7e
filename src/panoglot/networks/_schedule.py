"""Learning rates over steps, as factors of the highest rate; and the other things that move with time."""

from __future__ import annotations

import math
from collections.abc import Callable

from panoglot.errors import UserError, did_you_mean

__all__ = ["SCHEDULES", "ramp", "schedule"]


def cosine(total: int, warmup: int = 0, minimum: float = 0.0, start: float = 0.0) -> Callable[[int], float]:
    """Linear warm-up from `start`, then half a cosine down to `minimum` at `total` (CLIP, DreamLIP, GRAIN, Croc)."""

    def factor(step: int) -> float:
        if step < warmup:
            return start + (1 - start) * (step + 1) / warmup
        place = min(1.0, (step - warmup) / max(1, total - warmup))
        return minimum + (1 - minimum) * (1 + math.cos(math.pi * place)) / 2

    return factor


def linear(total: int, warmup: int = 0, minimum: float = 0.0) -> Callable[[int], float]:
    """Linear warm-up, then a straight line to `minimum` (ALIGN, ColBERT, VL-Adapter)."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return minimum + (1 - minimum) * max(0.0, 1 - (step - warmup) / max(1, total - warmup))

    return factor


def step_decay(
    total: int, every: int, rate: float = 0.9, warmup: int = 0, minimum: float = 0.0, start: float = 0.0
) -> Callable[[int], float]:
    """Linear warm-up from `start`, then `rate` after every `every` steps (the codebook captioner: ×.9 an epoch)."""

    def factor(step: int) -> float:
        if step < warmup:
            return start + (1 - start) * (step + 1) / warmup
        return max(minimum, rate ** (step // every))

    return factor


def cyclic_cosine(total: int, period: int, minimum: float = 0.01) -> Callable[[int], float]:
    """Lowest at 0, highest at half a period, lowest again after a whole one (char-GRU: 1e-6 … 1e-4, four epochs)."""

    def factor(step: int) -> float:
        return minimum + (1 - minimum) * (1 - math.cos(2 * math.pi * step / period)) / 2

    return factor


def one_cycle(
    total: int, rise: float = 0.3, start: float = 0.04, minimum: float = 4e-6, of: float = 1.0
) -> Callable[[int], float]:
    """Half a cosine up from `start`, half a cosine down to `minimum` (PyTorch's OneCycleLR; SPRC).

    Args:
        total: steps.
        rise: share of the cycle that goes up.
        start: factor at first; torch's `div_factor` is its inverse.
        minimum: factor at the end.
        of: length of the cycle in runs: 1.6 ends the run at 1/1.6 of it.
    """
    length = total * of
    top = rise * length - 1

    def factor(step: int) -> float:
        if step <= top:
            return 1 + (start - 1) * (1 + math.cos(math.pi * step / max(1e-9, top))) / 2
        place = min(1.0, (step - top) / max(1e-9, length - 1 - top))
        return minimum + (1 - minimum) * (1 + math.cos(math.pi * place)) / 2

    return factor


def constant(total: int, warmup: int = 0) -> Callable[[int], float]:
    """Linear warm-up, then 1."""
    return lambda step: (step + 1) / warmup if step < warmup else 1.0


SCHEDULES = {
    "constant": constant,
    "cosine": cosine,
    "cyclic_cosine": cyclic_cosine,
    "linear": linear,
    "one_cycle": one_cycle,
    "step_decay": step_decay,
}


def schedule(name: str, total: int, **options: float) -> Callable[[int], float]:
    """Return step → factor.

    >>> f = schedule("cosine", 100, warmup=10)
    >>> [round(f(s), 3) for s in (0, 9, 10, 55, 100)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    if name not in SCHEDULES:
        raise UserError(f"No schedule is called '{name}'.{did_you_mean(name, SCHEDULES)}")
    try:
        found: Callable[[int], float] = SCHEDULES[name](total, **options)  # type: ignore[operator]
        return found
    except TypeError as error:
        raise UserError(f"schedule {name}: {error}.") from error


def ramp(step: int, total: int, start: float, end: float, shape: str = "cosine") -> float:
    """Return a value on its way from `start` to `end`: an EMA's momentum (cosine), a temperature (linear).

    >>> ramp(0, 10, .996, 1.0), ramp(10, 10, .996, 1.0), ramp(5, 10, 0.0, 1.0, "linear")
    (0.996, 1.0, 0.5)
    """
    place = min(1.0, step / max(1, total))
    if shape == "linear":
        return start + (end - start) * place
    return end + (start - end) * (1 + math.cos(math.pi * place)) / 2
