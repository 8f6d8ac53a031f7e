"""All pairs of 256-bit codes within a Hamming distance: exact, by bands, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Compared", "bucket_bits", "near_others", "near_pairs"]

_Scratch: TypeAlias = "tuple[np.ndarray, np.ndarray, np.ndarray]"

#: Most comparisons of a tile (8 bytes each): stays in the processor's cache.
_TILE = 1 << 15
#: What a bucket costs beside its comparisons, in comparisons (measured: 80 us against 2 ns).
_BUCKET = 40_000


@dataclass
class Compared:
    """Codes that were compared with each other, and the pairs that were found: next time only new ones are compared.

    Attributes:
        codes: uint8 `[M, 32]`, distinct.
        left: int64 `[P]`, rows of `codes`.
        right: the same: each differs from `left` in at most the distance asked for.
    """

    codes: np.ndarray
    left: np.ndarray
    right: np.ndarray


def near_pairs(
    codes: np.ndarray, distance: int, threads: int = 1, known: Compared | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Find pairs of codes that differ in at most `distance` bits.

    Equal codes are chained to the first of them; of the different codes every pair comes, at least once. With
    `m = ceil((distance + 1) / 2)` bands, two codes within `distance` differ in at most one bit in some band
    (pigeonhole), so a code needs to be compared with its own bucket of each band and the buckets one bit away. Buckets
    are taken by as many bits of the band as pays at this number of codes; few codes are compared all with all.

    Args:
        codes: uint8 `[N, 32]`.
        distance: most bits, 0 to 255.
        threads: numpy releases the interpreter while it compares.
        known: what was compared before at this distance; of those codes only the pairs with others are looked for.
            When the last pair was taken it holds what was compared now.

    Yields:
        `(i, j)`: int64 arrays of equal length, row numbers.
    """
    import numpy as np

    if not len(codes):
        return
    rows = np.ascontiguousarray(codes).view("V32").reshape(-1)
    unique, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(rows)))
    if len(again):
        yield first[inverse[again]], again
    words = np.ascontiguousarray(unique).view(np.uint64).reshape(-1, 4)
    if distance < 1 or len(words) < 2:
        return
    found = _among(words, distance, threads) if known is None else _beside(words, distance, threads, known)
    for left, right in found:
        yield first[left], first[right]


def _beside(words: np.ndarray, distance: int, threads: int, known: Compared) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs among distinct codes, those of `known` without comparing them again; `known` is brought up to date."""
    import numpy as np

    mine, theirs = (some.view("V32").reshape(-1) for some in (words, np.ascontiguousarray(known.codes)))
    both, number = np.unique(np.concatenate([mine, theirs]), return_inverse=True)
    place = np.full(len(both), -1)
    place[number[: len(mine)]] = np.arange(len(mine))
    old = place[number[len(mine) :]]  # where those that are known stand now
    fresh = np.ones(len(words), bool)
    fresh[old[old >= 0]] = False
    left, right = old[known.left], old[known.right]
    there = (left >= 0) & (right >= 0)
    found = [(left[there], right[there])]
    order = np.argsort(~fresh, kind="stable")
    count, bands = int(fresh.sum()), _bands(distance)
    if count * len(words) <= _cost(len(words), bands, bucket_bits(len(words), bands)):
        columns = words[order].T.copy()
        others = [(0, count), (count, len(words))]
        tiles = _tiles(columns, 0, count, others, distance, _scratch()) if count else ()
        found += [(order[left], order[right]) for left, right in tiles]
    else:
        found = list(_among(words, distance, threads))
    yield from found
    known.codes = words.view(np.uint8).reshape(-1, 32)
    known.left, known.right = (np.concatenate([pair[n] for pair in found] or [np.empty(0, int)]) for n in (0, 1))


def _among(words: np.ndarray, distance: int, threads: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs among distinct codes."""
    bands = _bands(distance)
    bits = bucket_bits(len(words), bands)
    if bits == 0:
        yield from _tiles(words.T.copy(), 0, len(words), [(0, len(words))], distance, _scratch())
        return
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for start in range(0, bands, max(1, threads)):  # a few bands at a time: each holds a sorted copy of the codes
            some = range(start, min(bands, start + max(1, threads)))
            for pairs in pool.map(lambda band: _band(words, band, bands, bits, distance), some):
                yield from pairs


def _bands(distance: int) -> int:
    return min(256, -(-(distance + 1) // 2))


def bucket_bits(count: int, bands: int) -> int:
    """Bits of a band to sort by: the least cost, 0 for comparing all with all."""
    return min(range(0, min(256 // bands, 24) + 1), key=lambda bits: _cost(count, bands, bits))


def _cost(count: int, bands: int, bits: int) -> float:
    """About how many comparisons it takes."""
    if bits == 0:
        return count * count / 2
    return float(bands * ((1 + bits / 2) * count * count / 2**bits + 2**bits * _BUCKET + 200.0 * count))


def _band(words: np.ndarray, band: int, bands: int, bits: int, distance: int) -> list[tuple[np.ndarray, np.ndarray]]:
    import numpy as np

    keys = np.zeros(len(words), np.uint32)
    for n in range(bits):  # the bits of a band lie apart in the code: neighbours depend on each other
        position = band + n * bands
        bit = (words[:, position // 64] >> np.uint64(position % 64)) & np.uint64(1)
        keys |= bit.astype(np.uint32) << np.uint32(n)
    order = np.argsort(keys, kind="stable")
    columns = words[order].T.copy()
    edges = np.searchsorted(keys[order], np.arange(2**bits + 1)).tolist()
    found, scratch = [], _scratch()
    for bucket in range(2**bits):
        start, end = edges[bucket], edges[bucket + 1]
        if start == end:
            continue
        others = [(start, end)]
        for n in range(bits):
            near = bucket | 1 << n
            if near != bucket and edges[near] < edges[near + 1]:
                others.append((edges[near], edges[near + 1]))
        if end - start == 1 and len(others) == 1:
            continue
        for left, right in _tiles(columns, start, end, others, distance, scratch):
            found.append((order[left], order[right]))
    return found


def _tiles(
    columns: np.ndarray, start: int, end: int, others: list[tuple[int, int]], distance: int, scratch: _Scratch
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Compare rows `start:end` with those of `others` (of which the first is itself)."""
    import numpy as np

    far = np.concatenate([columns[:, a:b] for a, b in others], axis=1) if len(others) > 1 else columns[:, start:end]
    width = min(far.shape[1], _TILE)
    height = max(1, _TILE // width)
    for row in range(start, end, height):
        near = columns[:, row : min(end, row + height), None]
        # what stands before `row` in its own bucket was compared already
        for left in range(row - start, far.shape[1], width):
            part = far[:, None, left : left + width]
            shape = (near.shape[1], part.shape[2])
            xor, bits, more = (buffer[: shape[0] * shape[1]].reshape(shape) for buffer in scratch)
            np.bitwise_count(np.bitwise_xor(near[0], part[0], out=xor), out=bits)
            np.bitwise_count(np.bitwise_xor(near[1], part[1], out=xor), out=more)
            np.add(bits, more, out=bits)  # of half the bits: more than `distance` for nearly every pair
            if bits.min() > distance:
                continue
            i, j = np.nonzero(bits <= distance)
            total = bits[i, j].astype(np.int64)
            i, j = i + row, j + left
            total += np.bitwise_count(columns[2, i] ^ far[2, j])
            total += np.bitwise_count(columns[3, i] ^ far[3, j])
            place = _places(j, others)
            keep = (total <= distance) & (place != i)
            if keep.any():
                yield i[keep], place[keep]


def _places(columns: np.ndarray, others: list[tuple[int, int]]) -> np.ndarray:
    """Columns of the concatenated `others` back to rows."""
    import numpy as np

    starts = np.cumsum([0] + [b - a for a, b in others[:-1]])
    which = np.searchsorted(starts, columns, side="right") - 1
    found: np.ndarray = np.array([a for a, _ in others])[which] + columns - starts[which]
    return found


def _scratch() -> _Scratch:
    import numpy as np

    return np.empty(_TILE, np.uint64), np.empty(_TILE, np.uint8), np.empty(_TILE, np.uint8)


def near_others(codes: np.ndarray, others: np.ndarray, distance: int) -> np.ndarray:
    """Say which codes differ from any of `others` in at most `distance` bits, by comparing all with all.

    Args:
        codes: uint8 `[N, 32]`.
        others: uint8 `[M, 32]`.
        distance: most bits.

    Returns:
        bool `[N]`.

    >>> import numpy as np
    >>> near_others(np.uint8([[0] * 32, [1] * 32]), np.uint8([[1] * 31 + [0]]), 1).tolist()
    [False, True]
    """
    import numpy as np

    found = np.zeros(len(codes), bool)
    if not len(codes) or not len(others):
        return found
    mine, theirs = (np.ascontiguousarray(some).view(np.uint64).reshape(-1, 4) for some in (codes, others))
    height = max(1, _TILE // len(theirs))
    for start in range(0, len(mine), height):
        some = mine[start : start + height, None]
        bits = np.zeros((some.shape[0], len(theirs)), np.uint16)
        for word in range(4):
            bits += np.bitwise_count(some[..., word] ^ theirs[None, :, word])
        found[start : start + height] = (bits <= distance).any(axis=1)
    return found
