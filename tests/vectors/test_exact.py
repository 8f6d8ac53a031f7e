import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from panoglot.vectors import Coarse, dots, first_scores, top_rows
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


# -- the copy of half the bytes ----------------------------------------------------------------------------------------


def _adversarial(rng):
    """Galleries that int8 fits badly, by what is bad about them."""
    base = unit(rng, 1, 64)[0]
    outlier = unit(rng, 5000, 64)
    outlier[:, 3] = 7 * np.sign(outlier[:, 3])
    spikes = np.full((5000, 64), 1e-3, np.float32)
    spikes[np.arange(5000), rng.integers(0, 64, 5000)] = 1
    mixed = unit(rng, 5000, 64)
    mixed[7], mixed[8], mixed[9], mixed[10] = np.nan, 0, 6e4, np.inf
    mixed[11, 5] = np.nan
    huge = unit(rng, 5000, 64) * np.exp(rng.uniform(-9, 9, (5000, 1)))
    return {
        "made to be confused": base + 1e-3 * unit(rng, 5000, 64),
        "one dimension outweighs": outlier / np.linalg.norm(outlier, axis=1, keepdims=True),
        "one spike each": spikes,
        "equal rows": np.tile(unit(rng, 5, 64), (1000, 1)),
        "NaN, zeros, huge, infinite": mixed,
        "lengths from nothing to thousands": huge,
        "tiny": unit(rng, 5000, 64) * 1e-6,
    }


@pytest.mark.parametrize("name", list(_adversarial(np.random.default_rng(0))))
@pytest.mark.parametrize("k", [1, 10, 700])
def test_the_coarse_copy_changes_nothing(name, k):
    rng = np.random.default_rng(len(name) + k)
    with np.errstate(over="ignore"):
        rows = _adversarial(rng)[name].astype(np.float16)
    late = unit(rng, 300, 64).astype(np.float16)  # added after the copy was made
    coarse = Coarse.of(rows)
    masks = [rng.random(5000) < 0.5, None]
    finite = rows[np.isfinite(rows.astype(np.float32)).all(axis=1)]
    queries = [unit(rng, 1, 64)[0], finite[0].astype(np.float32), 100 * unit(rng, 1, 64)[0], np.zeros(64, np.float32)]
    queries += [(finite[-1].astype(np.float32) + 1e-3 * unit(rng, 1, 64)[0]), np.full(64, np.nan, np.float32)]
    with np.errstate(invalid="ignore", over="ignore"):
        for query in queries:
            for mask in (None, masks):
                expected = top_rows([rows, late], query, k, mask)
                found = top_rows([rows, late], query, k, mask, None, [coarse, None])
                assert found[0].tolist() == expected[0].tolist()
                assert found[1].tolist() == expected[1].tolist()


def test_the_bound_of_the_coarse_copy_holds_and_is_small():
    rng = np.random.default_rng(4)
    rows = (unit(rng, 20_000, 512) + unit(rng, 1, 512)[0]).astype(np.float16)  # a mean that is not zero
    coarse, off = Coarse.of(rows), 0.0
    for query in unit(rng, 5, 512):
        rough, near = coarse.ask(query), np.empty(len(rows), np.float32)
        rough.scores(0, len(rows), near)
        wrong = np.abs(near - dots(rows, query))
        assert (wrong <= rough.margins(np.arange(len(rows)))).all()
        assert rough.most < 0.03
        off = max(off, float(wrong.max()))
    assert off > 1e-4  # it is rough
    assert coarse.rows.nbytes * 2 == rows.nbytes


def test_the_coarse_copy_adds_up_whole_numbers(monkeypatch):
    """The largest that there are, so that a sum in 16 bits would overflow; with and without the fast kernel."""
    rows = np.tile(np.where(np.arange(1024) % 3 == 0, -1, 1).astype(np.float16), (40, 1))
    rows[20:] *= -1
    for there in (True, False):
        if not there:
            monkeypatch.setitem(sys.modules, "simsimd", None)
        near = np.empty(40, np.float32)
        Coarse.of(rows).ask(rows[0].astype(np.float32)).scores(0, 40, near)
        assert near.tolist() == [1024] * 20 + [-1024] * 20


def test_a_damaged_coarse_copy_is_not_used(tmp_path):
    rows = unit(np.random.default_rng(5), 50, 16).astype(np.float16)
    Coarse.of(rows).keep(tmp_path)
    assert Coarse.kept(tmp_path, (50, 16)).rows.tolist() == Coarse.of(rows).rows.tolist()
    assert Coarse.kept(tmp_path, (51, 16)) is None
    for path in tmp_path.iterdir():
        whole = path.read_bytes()
        path.write_bytes(b"broken")
        assert Coarse.kept(tmp_path, (50, 16)) is None
        path.write_bytes(whole)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"coarse-centre.npy", "coarse-rows.npy", "coarse-facts.npy", "coarse-state.json"}
