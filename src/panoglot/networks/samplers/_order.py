"""Which items come when: shuffled epochs, mixed pools, balanced languages, batches of one task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from panoglot.errors import UserError, did_you_mean
from panoglot.networks._records import Record
from panoglot.networks.samplers._draw import Draw

__all__ = ["batches", "epoch_order", "language_pools", "mix", "shares", "task_batches"]

T = TypeVar("T")


def epoch_order(items: Sequence[T], seed: int, epoch: int) -> list[T]:
    """Shuffle: sorted by a hash of (seed, epoch, item), so the order in which the items came does not matter.

    >>> epoch_order(["a", "b", "c"], 0, 1) == epoch_order(["c", "a", "b"], 0, 1)
    True
    """
    return sorted(items, key=lambda item: (Draw(seed, epoch, item, "order").number(), str(item)))


def shares(
    counts: Mapping[str, int], weights: Mapping[str, float] | None = None, temperature: float = 1.0
) -> dict[str, float]:
    """Return the share of each pool: its weight, or its size to the power of 1/temperature.

    Temperature 1 is proportional, large temperatures approach equal shares.

    Raises:
        UserError: a weight for a pool that is empty or unknown.

    >>> shares({"en": 900, "de": 100}, temperature=2)
    {'de': 0.25, 'en': 0.75}
    """
    if weights is not None:
        for name, weight in weights.items():
            if weight > 0 and not counts.get(name):
                raise UserError(
                    f"Nothing to train on for '{name}', which has weight {weight}: add data, or leave it out of the "
                    f"weights.{did_you_mean(name, counts)}"
                )
        raw = {n: float(weights.get(n, 0.0)) for n in sorted(counts)}
    else:
        if not temperature > 0:
            raise UserError(f"temperature={temperature} must be positive.")
        raw = {n: counts[n] ** (1 / temperature) for n in sorted(counts) if counts[n]}
    total = sum(raw.values())
    if not total > 0:
        raise UserError("Nothing to train on: every pool is empty or has no weight.")
    return {n: w / total for n, w in raw.items() if w > 0}


def mix(
    pools: Mapping[str, Sequence[T]],
    share: Mapping[str, float],
    seed: int,
    epoch: int,
    length: int | None = None,
) -> Iterator[tuple[str, T]]:
    """Yield (pool, item) so that every stretch has the wanted shares, within one item.

    Args:
        pools: name → items.
        share: name → share, sums to 1 (from `shares`).
        seed: of the shuffles.
        epoch: likewise.
        length: items in all; small pools are reshuffled and repeat. None: stop when a pool is used up (`min`).
    """
    used = dict.fromkeys(sorted(share), 0)
    order: dict[str, list[T]] = {}
    step = 0
    while length is None or step < length:
        step += 1
        # the pool that is furthest behind its due; ties by name
        name = max(used, key=lambda n: share[n] * step - used[n])
        size = len(pools[name])
        round_, place = divmod(used[name], size)
        if round_ and length is None:
            return
        if not place:
            order[name] = (
                epoch_order(pools[name], seed, epoch) if not round_ else _again(pools[name], seed, epoch, round_)
            )
        used[name] += 1
        yield name, order[name][place]


def _again(items: Sequence[T], seed: int, epoch: int, round_: int) -> list[T]:
    return sorted(items, key=lambda item: (Draw(seed, epoch, item, "order", round_).number(), str(item)))


def language_pools(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return language → ids of the records that have a text in it, for `shares` and `mix`."""
    pools: dict[str, list[str]] = {}
    for r in records:
        for lang in sorted(r.langs()):
            pools.setdefault(lang, []).append(r.id)
    return pools


def batches(order: Sequence[T], size: int, *, rank: int = 0, world: int = 1, whole: bool = True) -> list[list[T]]:
    """Cut an epoch into steps, and return this worker's part of each.

    The steps are the same for every `world`; each worker takes an equal, contiguous part of each.

    Args:
        order: the items of the epoch.
        size: of the whole step, over all workers; a multiple of `world`.
        rank: of this worker.
        world: number of workers.
        whole: leave out a last step that is not full.
    """
    if size % world:
        raise UserError(f"A batch of {size} cannot be shared by {world} workers; use a multiple of {world}.")
    part = size // world
    steps = [list(order[i : i + size]) for i in range(0, len(order), size)]
    if whole and steps and len(steps[-1]) < size:
        steps.pop()
    return [step[rank * part : (rank + 1) * part] for step in steps]


def task_batches(
    pools: Mapping[str, Sequence[T]], size: int, seed: int, epoch: int, how: str = "roundrobin"
) -> list[tuple[str, list[T]]]:
    """Return the steps of an epoch, each of one task (VL-Adapter).

    Args:
        pools: task → items.
        size: of a batch; a last short one is kept.
        seed: of the shuffles.
        epoch: likewise.
        how: `roundrobin` has every batch of every task once, shuffled; `balanced` takes as many of each task as the
            smallest has.
    """
    if how not in ("roundrobin", "balanced"):
        raise UserError(f"task batches are 'roundrobin' or 'balanced', not {how!r}.")
    per_task = {t: batches(epoch_order(items, seed, epoch), size, whole=False) for t, items in sorted(pools.items())}
    if how == "balanced":
        fewest = min(len(b) for b in per_task.values())
        per_task = {t: b[:fewest] for t, b in per_task.items()}
    labels = epoch_order([(t, i) for t, b in per_task.items() for i in range(len(b))], seed, epoch)
    return [(t, per_task[t][i]) for t, i in labels]
