import numpy as np
import pytest

from panoglot.vectors import k_means, learn_residuals


def clustered(clusters: int, members: int, alone: int, dim: int = 32, seed: int = 0):
    """Unit vectors: members near each of some centres, and such that are near none, shuffled; the centres."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, dim))
    near = np.repeat(centres, members, 0) + 0.3 * rng.standard_normal((clusters * members, dim))
    rows = np.concatenate([near, rng.standard_normal((alone, dim))]).astype(np.float32)
    rng.shuffle(rows)
    unit = lambda x: (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)  # noqa: E731
    return unit(rows), unit(centres)


@pytest.mark.paper(
    "colbert-xm",
    shows="V",
    case="10,000 random and clustered vectors in 2 bits: recall@10 of exact search ≥ .95; 32 bits: the same order",
)
def test_two_bits_find_what_whole_vectors_find():
    rows, centres = clustered(500, 10, 5000)
    starts = np.arange(len(rows))
    small, whole = learn_residuals(rows), learn_residuals(rows, 32)
    small.add(rows)
    whole.add(rows)
    assert (small.bits, small.codes.nbytes * 16) == (2, rows.nbytes)
    found = []
    for centre in centres[:60]:
        exact = np.lexsort((starts, -(rows @ centre)))[:10]
        assert whole.search(centre[None], starts, 10)[0].tolist() == exact.tolist()
        one = small.search(centre[None], starts, len(rows), probes=1)[0]
        assert {*small.owners[one].tolist()} == {int(np.argmax(small.centres @ centre))}
        found.append(len({*exact.tolist()} & {*small.search(centre[None], starts, 10)[0].tolist()}) / 10)
    assert np.mean(found) >= 0.95


@pytest.mark.paper(
    "colbert-xm", shows="V", case="4 iterations of k-means, residuals cut at their quartiles, 2 bits a number, by hand"
)
def test_centres_and_codes_by_hand():
    rows, _ = clustered(60, 20, 100, dim=8)
    made = learn_residuals(rows, seed=3)
    made.add(rows)
    assert len(made.centres) == 2 ** int(np.log2(16 * len(rows) ** 0.5)) or len(made.centres) == len(rows) // 8
    drawn = rows[np.random.default_rng(3).permutation(len(rows))]
    centres = k_means(drawn, len(made.centres), 0, 3)
    for _ in range(4):
        owner = np.array([np.argmin(((centres - row) ** 2).sum(1)) for row in drawn])
        centres = np.stack(
            [drawn[owner == n].mean(0) if (owner == n).any() else centres[n] for n in range(len(centres))]
        )
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    assert np.allclose(made.centres, centres, atol=1e-5)
    owner = np.array([np.argmin(((centres - row) ** 2).sum(1)) for row in drawn])
    left = np.sort((drawn - centres[owner]).ravel())
    assert np.allclose(made.cuts, np.quantile(left, [0.25, 0.5, 0.75]), atol=1e-5)
    assert np.allclose(made.values, np.quantile(left, [0.125, 0.375, 0.625, 0.875]), atol=1e-5)
    for n in (0, 7, len(rows) - 1):
        centre = made.centres[made.owners[n]]
        level = [sum(bool(x >= cut) for cut in made.cuts) for x in rows[n] - centre]
        want = centre + made.values[level]
        assert np.allclose(made.rows(np.array([n]))[0], want / np.linalg.norm(want), atol=1e-6)


def test_few_vectors_are_kept_whole_and_passages_are_forgotten():
    rows, _ = clustered(4, 5, 0)
    made = learn_residuals(rows)
    made.add(rows)
    assert made.bits == 32
    at, scores = made.search(rows[[3, 9]], np.array([0, 8, 12]), 9)
    want = [sum(float((rows[[3, 9]] @ p.T).max(1)[k]) for k in (0, 1)) for p in (rows[:8], rows[8:12], rows[12:])]
    assert at.tolist() == np.argsort(want)[::-1].tolist()
    assert scores.tolist() == pytest.approx(sorted(want, reverse=True), abs=1e-6)
    only = made.search(rows[:1], np.array([0, 8, 12]), 9, among=np.array([False, True, False]))
    assert only[0].tolist() == [1]
    made.keep(np.arange(8))
    assert made.rows(np.arange(8)).tolist() == rows[:8].tolist()
    assert made.search(np.empty((0, 32), np.float32), np.array([0]), 3)[0].tolist() == []
    with pytest.raises(ValueError, match="bits=3"):
        learn_residuals(rows, 3)
