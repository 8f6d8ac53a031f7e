import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from panoglot.vectors import dots, first_scores, top_rows
from tests.retrieval.conftest import unit


def naive(parts, query, k, masks=None):
    rows = np.concatenate(parts).astype(np.float64)
    mask = np.concatenate(masks) if masks else np.ones(len(rows), bool)
    scores = [(-float(row @ query.astype(np.float64)), n) for n, row in enumerate(rows) if mask[n]]
    return [n for _, n in sorted((round(s, 13), n) for s, n in scores if s == s)[:k]]


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("k", [1, 10, 500])
@pytest.mark.parametrize("shape", [(1,), (7,), (20_000,), (40_000, 13, 3000)])
def test_equals_the_naive_search(shape, k, threads):
    rng = np.random.default_rng(sum(shape))
    parts = [unit(rng, n, 24).astype(np.float16) for n in shape]
    pool = ThreadPoolExecutor(threads) if threads else None
    for _ in range(3):
        query = unit(rng, 1, 24)[0]
        rows, scores = top_rows(parts, query, k, pool=pool)
        assert rows[:k].tolist() == naive(parts, query, k)
        assert (np.diff(scores) <= 0).all()


def test_close_calls_are_settled_with_the_whole_query():
    """Vectors so alike that float16 queries would confuse them."""
    rng = np.random.default_rng(0)
    base = unit(rng, 1, 64)[0]
    part = (base + 2e-3 * unit(rng, 3000, 64)).astype(np.float16)
    for _ in range(5):
        query = (base + 1e-3 * unit(rng, 1, 64)[0]).astype(np.float32)
        query /= np.linalg.norm(query)
        rows, _ = top_rows([part], query, 10)
        assert rows[:10].tolist() == naive([part], query, 10)


def test_first_pass_sums_in_float32_on_every_processor():
    rng = np.random.default_rng(2)
    rows, query = unit(rng, 5000, 512).astype(np.float16), unit(rng, 1, 512).astype(np.float16)[0]
    out = np.empty(len(rows), np.float32)
    first_scores(rows, query, out)
    assert np.abs(out - dots(rows, query)).max() < 1e-6  # what `slack` in top_rows counts on


def test_masks_and_nan():
    rng = np.random.default_rng(1)
    parts = [unit(rng, 5000, 16).astype(np.float16), unit(rng, 100, 16).astype(np.float16)]
    parts[0][7] = np.nan
    query = parts[0][8].astype(np.float32)
    masks = [rng.random(5000) < 0.01, np.zeros(100, bool)]
    masks[0][7] = True
    rows, _ = top_rows(parts, query, 10, masks)
    assert rows[:10].tolist() == naive(parts, query, 10, masks)
    assert 7 not in rows.tolist()
    assert len(top_rows(parts, query, 10, [np.zeros(5000, bool), np.zeros(100, bool)])[0]) == 0


def test_all_that_tie_with_the_last_come():
    part = np.tile(np.eye(4, dtype=np.float16)[0], (40_000, 1))
    rows, scores = top_rows([part], np.eye(4, dtype=np.float32)[0], 3)
    assert len(rows) == 40_000
    assert set(scores.tolist()) == {1.0}


def test_without_simsimd(monkeypatch):
    rng = np.random.default_rng(2)
    part = unit(rng, 20_000, 24).astype(np.float16)
    query = unit(rng, 1, 24)[0]
    expected = top_rows([part], query, 10)
    monkeypatch.setitem(sys.modules, "simsimd", None)
    found = top_rows([part], query, 10)
    assert found[0].tolist() == expected[0].tolist()
    assert found[1].tolist() == expected[1].tolist()


def test_empty():
    rows, scores = top_rows([np.empty((0, 4), np.float16)], np.zeros(4, np.float32), 3)
    assert len(rows) == len(scores) == 0
