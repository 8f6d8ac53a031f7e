"""MaxSim against loops, in every precision; int8's bound; token pooling against a plain one."""

import numpy as np
import pytest

from panoglot.vectors import blocks_of, maxsim, pool_tokens, quantised, similarities

RNG = np.random.default_rng(4)


def units(*shape):
    found = RNG.standard_normal(shape).astype(np.float32)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


@pytest.mark.paper("colbert-xm", shows="V", case="MaxSim is the sum of each query vector's best, picture by picture")
@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_maxsim_is_the_sum_of_the_best(kind, monkeypatch):
    monkeypatch.setattr("panoglot.vectors._maxsim._ROWS", 50)  # many blocks, one of them a picture alone
    counts = [3, 60, 1, 7, *RNG.integers(1, 9, 40).tolist()]
    starts = np.cumsum([0, *counts[:-1]])
    rows, query = units(sum(counts), 64), units(5, 64)
    held, scales = quantised(rows) if kind == "int8" else (rows.astype(kind), None)
    found = maxsim(query, held, starts, scales)
    for n, (start, count) in enumerate(zip(starts.tolist(), counts)):
        wanted = sum(max(float(q @ row) for row in rows[start : start + count]) for q in query)
        assert found[n] == pytest.approx(wanted, abs={"float32": 1e-5, "float16": 5e-3, "int8": 5e-2}[kind])
    edges = list(blocks_of(starts, len(rows)))
    assert [edge[0] for edge in edges[1:]] == [edge[1] for edge in edges[:-1]]
    assert edges[-1][1::2] == (len(counts), len(rows))


def test_int8_is_off_by_half_a_step():
    rows = np.concatenate([units(50, 96), np.zeros((1, 96), np.float32)])
    values, scales = quantised(rows)
    assert np.abs(values * scales[:, None] - rows).max() <= scales.max() / 2 + 1e-7
    query = units(3, 96)
    assert similarities(query, values, scales) == pytest.approx(query @ rows.T, abs=0.02)
    with pytest.raises(ValueError, match="scales"):
        similarities(query, values)


def test_token_pooling_is_the_plain_one():
    rows = units(6, 9, 16)
    for keep in (1, 4, 9, 12):
        found = pool_tokens(rows, keep)
        assert found.shape == (6, min(9, keep), 16)
        for picture, pooled in zip(rows.astype(np.float64), found):
            groups = [[n] for n in range(9)]
            while len(groups) > keep:  # the two whose means are most alike
                means = [picture[group].sum(axis=0) for group in groups]
                means = [mean / np.linalg.norm(mean) for mean in means]
                pairs = [(means[a] @ means[b], -a, -b) for b in range(len(groups)) for a in range(b)]
                _, a, b = max(pairs)
                groups[-a] += groups.pop(-b)
            wanted = [picture[group].sum(axis=0) for group in groups]
            assert pooled == pytest.approx(np.stack([w / np.linalg.norm(w) for w in wanted]), abs=1e-4)
    same = np.repeat(units(1, 1, 8), 5, axis=1)
    assert pool_tokens(same, 2) == pytest.approx(same[:, :2], abs=1e-6)
    assert pool_tokens(np.zeros((1, 3, 4), np.float32), 2).tolist() == np.zeros((1, 2, 4)).tolist()
    with pytest.raises(ValueError, match="keep=0"):
        pool_tokens(same, 0)
