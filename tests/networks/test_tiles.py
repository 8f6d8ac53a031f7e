"""LEOPARD's allocator: the worked cases of the paper's code, and what must always hold."""

import pytest

torch = pytest.importorskip("torch")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panoglot.errors import UserError
from panoglot.networks import Tiling, allocate, cut_tiles, grid_of, share_tiles

SIZES = st.lists(st.tuples(st.integers(1, 6000), st.integers(1, 6000)), max_size=50)


def test_the_worked_case():
    sizes = [(1092, 728), (364, 364), (3640, 1820)]  # raw 6, 0, 50 = 56 > 47
    assert allocate(sizes) == [5, 0, 41]
    grids = share_tiles(sizes)
    assert grids == [(2, 2), None, (4, 8)]  # 4 and 32 are used: 3 overviews and 36 tiles of 169 tokens
    assert (3 + sum(r * c for r, c in filter(None, grids))) * 169 == 6591
    assert share_tiles([(728, 728), (400, 300)]) == [(2, 2), None]  # zero waste


def test_halves_are_rounded_to_even_and_thin_pictures_may_be_kept():
    side = 100
    wanted = {(50, 400): 0, (150, 200): 4, (250, 200): 4, (350, 200): 8}  # .5 -> 0, 1.5 -> 2, 2.5 -> 2, 3.5 -> 4
    for size, tiles in wanted.items():
        assert allocate([size], Tiling(side=side)) == [tiles], size
    assert allocate([(100, 1000)]) == [0]  # round(100 / 364) = 0
    assert allocate([(100, 1000)], Tiling(thin=True)) == [3]


def test_a_minimum_is_taken_from_the_largest():
    sizes = [(728, 728)] * 3 + [(36400, 3640)]  # raw 4, 4, 4, 1000
    assert allocate(sizes) == [0, 0, 0, 45]
    assert allocate(sizes, Tiling(least=2)) == [2, 2, 2, 40]


def test_more_pictures_than_places_are_refused():
    assert allocate([(4000, 4000)] * 50) == [0] * 50  # overviews only
    with pytest.raises(UserError, match=r"51 pictures do not fit a budget of 50"):
        allocate([(10, 10)] * 51)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(SIZES)
def test_the_budget_is_kept_and_equal_pictures_are_treated_alike(sizes):
    found = allocate(sizes)
    assert sum(found) + len(sizes) <= 50
    assert 1 not in allocate(sizes, Tiling(budget=10**6))
    assert len({(s, n) for s, n in zip(sizes, found, strict=True)}) == len(set(sizes))
    if len(sizes) < 50:
        more = allocate([*sizes, (2000, 2000)])
        assert all(after <= before for before, after in zip(found, more[:-1], strict=True))


@pytest.mark.parametrize(("size", "tiles"), [((900, 300), 5), ((300, 900), 5), ((640, 480), 9), ((37, 11), 4)])
def test_the_grid_shows_most_of_the_picture(size, tiles):
    """Against all grids, one by one."""
    w, h = size
    side = 100

    def seen(rows, columns):
        s = min(columns * side / w, rows * side / h)
        return min(int(w * s) * int(h * s), w * h)

    grids = [(r, c) for r in range(1, tiles + 1) for c in range(1, tiles + 1) if 2 <= r * c <= tiles]
    best = max(grids, key=lambda g: (seen(*g), seen(*g) - g[0] * g[1] * side**2))
    assert grid_of(size, tiles, side) == best


def test_tiles_put_together_are_the_picture():
    x = torch.rand(3, 20, 40)
    tiles = cut_tiles(x, (2, 4), 10)
    assert tiles.shape == (9, 3, 10, 10)
    rows = [torch.cat(list(tiles[1 + 4 * r : 5 + 4 * r]), 2) for r in range(2)]
    assert torch.equal(torch.cat(rows, 1), x)
    canvas = cut_tiles(torch.ones(3, 20, 20), (1, 2), 10)  # a square on 1 × 2: nothing at both sides
    assert canvas[1, 0, 0].tolist() == [0.0] * 5 + [1.0] * 5
