import io

import numpy as np
import PIL.Image
import pytest

from panoglot.curation import Groups, curate, hash_grid, pdq
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.vectors import Compared, bucket_bits, near_pairs
from tests.curation.conftest import jpeg, scene


def distance(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def code(data: bytes) -> bytes:
    return pdq(Image(data))[0]


# -- the hash ----------------------------------------------------------------------------------------------------------


def test_copies_are_near_and_others_far():
    pictures = [scene(seed, 1280, 960) for seed in range(6)]
    codes = [code(jpeg(picture)) for picture in pictures]
    for picture, own in zip(pictures, codes):
        copies = {
            "half": jpeg(picture.resize((640, 480))),
            "odd size": jpeg(picture.resize((987, 740))),
            "poor": jpeg(picture, quality=30),
            "bright": jpeg(picture.point(lambda v: min(255, v + 8))),
        }
        for name, data in copies.items():
            assert distance(own, code(data)) <= 16, name
    assert min(distance(a, b) for n, a in enumerate(codes) for b in codes[:n]) > 80


#: By the reference implementation (the package pdqhash 0.2.8, built from its C++) of grids anyone can make again.
GRIDS = {
    "ramp": ("035aac8c52fb2ba2b2144c86e76cf44b41972229ad4fc7adba6d7a2b959e9a45", 44),
    "flat": ("00001134000011341134554b11342c4b00002c4b2c4b13a0017e820082001134", 0),
    "checks": ("00002a5500002a55025508777d0882fd0000d52857205f28085d5fa020ff5720", 100),
    "rings": ("495d2b4b2949ab6aa94bad4ba549b5695569552b55abaaa9aaadaaa514b51555", 100),
    "hash": ("18fecab523ceefff4c8c929580e303f0a49be49323cce3c31a94cc8c1aff9886", 100),
    "stripe": ("f0000ffff0000ffff0000ffffffff000fffff000f000f000f000f0000fff0fff", 100),
    "one": ("81f87e0781f87e0781f881f87e0781f87e077e0781f87e0781f87e077e0781f8", 4),
}
#: The same of all pixels of `scene(0..5, 1280, 960)`.
WHOLE = [
    "51fb2d039eb1659eeb6ad8b6f9349a246bd1ace72b0923c2d842e69927b14269",
    "ba906c3009a9095933d6775257a4c94bdae5bbb3ee1bdca1b929053391d64f4c",
    "80d1b171551197a9cacf7d4944cfb49e5bc9cf3180dc563012bd20d675cbe1fa",
    "30f6a04b0f0c5e40d4da22b6a85a11a0ee2d7fa63b1e7bccf273f54443fc0f3a",
    "2d9b8ee44a29b4f06ac9d3fb66914f2836dea6b4e5054427bee31085c1c9ddca",
    "b25e7263d858d466c3d6aa608fbc3cb27583424e8df0a58e7b42cbd039dc91b9",
]


@pytest.mark.parametrize("name", GRIDS)
def test_the_hash_is_the_references_to_the_bit(name):
    y, x = np.mgrid[0:64, 0:64]
    grid = {
        "ramp": x + 3 * y,
        "flat": np.full((64, 64), 7),
        "checks": (x // 8 + y // 8) % 2 * 255,
        "rings": ((x - 20) ** 2 + (y - 40) ** 2) // 9,
        "hash": x * 7919 + y * 104729 + x * y * 31,
        "stripe": (x // 5) % 2 * 40 + 100,
        "one": ((x == 10) & (y == 50)) * 255,
    }[name]
    code, quality = hash_grid((grid % 256).astype(np.uint8))
    assert (code.hex(), quality) == GRIDS[name]


def test_near_to_the_hash_of_all_pixels():
    for seed, whole in enumerate(WHOLE):
        assert distance(code(jpeg(scene(seed, 1280, 960))), bytes.fromhex(whole)) <= 31


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_honoured(orientation):
    picture = scene(3)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    turned = Image(jpeg(picture, exif=exif.tobytes()))
    upright = turned.pil()
    assert distance(pdq(turned)[0], code(jpeg(upright))) <= 8
    if orientation > 1:
        assert distance(pdq(turned)[0], code(jpeg(picture))) > 60


def test_formats_agree():
    picture = scene(4)
    png = io.BytesIO()
    picture.save(png, "PNG")
    assert distance(code(jpeg(picture, quality=95)), code(png.getvalue())) <= 8
    assert distance(code(jpeg(picture, progressive=True)), code(jpeg(picture))) <= 2
    assert distance(code(jpeg(picture.convert("CMYK"))), code(jpeg(picture))) <= 8
    assert distance(code(jpeg(picture.convert("L"))), code(jpeg(picture))) <= 8


def test_flat_pictures_have_no_quality():
    assert pdq(Image(jpeg(PIL.Image.new("RGB", (300, 200), "red"))))[1] < 50
    assert pdq(Image(jpeg(scene(1))))[1] == 100


def test_tiny_and_broken():
    assert len(code(jpeg(PIL.Image.new("RGB", (1, 1))))) == 32
    data = jpeg(scene(1))
    with pytest.raises(RowError):
        pdq(Image(data[: len(data) // 3]))


# -- the search --------------------------------------------------------------------------------------------------------


def random_codes(count: int, copies: int, seed: int = 0) -> np.ndarray:
    """Random codes, some of them copies of others with up to 40 bits turned."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (count, 256), dtype=np.uint8)
    for source, target in rng.integers(0, count, (copies, 2)):
        bits[target] = bits[source]
        bits[target, rng.choice(256, rng.integers(0, 41), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def brute_force(codes: np.ndarray, most: int) -> set[tuple[int, int]]:
    bits = np.unpackbits(codes, axis=1).astype(np.float32) * 2 - 1
    near = (256 - bits @ bits.T) / 2 <= most
    return set(zip(*(side.tolist() for side in np.nonzero(np.triu(near, 1)))))


def grouped(pairs, count: int) -> list[int]:
    groups = Groups(count)
    for left, right in pairs:
        groups.join(np.asarray(left), np.asarray(right))
    return groups.roots().tolist()


@pytest.mark.parametrize("most", [0, 1, 2, 7, 30, 31, 32, 50])
@pytest.mark.parametrize("bits", [None, 1, 4, 7])
def test_search_finds_all_pairs(monkeypatch, most, bits):
    codes = random_codes(800, 500)
    if bits is not None:
        monkeypatch.setattr("panoglot.vectors._hamming.bucket_bits", lambda count, bands: min(bits, 256 // bands))
    expected = brute_force(codes, most)
    found = list(near_pairs(codes, most, threads=2))
    pairs = {(min(a, b), max(a, b)) for left, right in found for a, b in zip(left.tolist(), right.tolist())}
    assert pairs <= expected
    assert grouped(found, 800) == grouped([zip(*expected)] if expected else [], 800)
    different = {(a, b) for a, b in expected if (codes[a] != codes[b]).any()}
    first = {codes[n].tobytes(): n for n in reversed(range(800))}
    canonical = {tuple(sorted((first[codes[a].tobytes()], first[codes[b].tobytes()]))) for a, b in different if most}
    assert canonical <= pairs  # every pair of different codes, not only enough to join them


@pytest.mark.parametrize("many", [False, True])
def test_what_was_compared_is_not_compared_again(monkeypatch, many):
    """Codes come and go, equal ones too: the same groups as without memory, and only new codes are looked at."""
    codes, looked = random_codes(900, 600, seed=4), []
    tiles = near_pairs.__globals__["_tiles"]

    def watched(columns, start, end, others, *rest):
        looked.append(end - start)
        return tiles(columns, start, end, others, *rest)

    monkeypatch.setattr("panoglot.vectors._hamming._tiles", watched)
    if many:
        monkeypatch.setattr(
            "panoglot.vectors._hamming._cost", lambda count, bands, bits: 0.0
        )  # all with all always pays
    known = Compared(np.empty((0, 32), np.uint8), np.empty(0, np.int64), np.empty(0, np.int64))
    rng = np.random.default_rng(5)
    for rows in (range(500), range(500), range(520), [*range(40, 480), *range(520, 700)], range(900), range(3), []):
        some = codes[list(rows)][rng.permutation(len(rows))]
        looked.clear()
        expected = grouped(near_pairs(some, 31), len(some))
        asked, fresh = len(looked), len(set(map(bytes, some)) - set(map(bytes, known.codes)))
        assert grouped(near_pairs(some, 31, known=known), len(some)) == expected
        if not many and len(some) > 1:
            assert sum(looked[asked:]) == fresh
            assert set(map(bytes, known.codes)) == set(map(bytes, some))


def test_search_uses_bands_when_it_pays():
    assert bucket_bits(1000, 16) == 0
    assert 0 < bucket_bits(200_000, 16) < bucket_bits(10_000_000, 16) <= 16


def test_order_makes_no_difference():
    codes = random_codes(600, 400, seed=2)
    order = np.random.default_rng(3).permutation(600)
    plain = grouped(near_pairs(codes, 31), 600)
    shuffled = grouped(near_pairs(codes[order], 31), 600)
    groups = {frozenset(np.flatnonzero(np.array(plain) == root).tolist()) for root in set(plain)}
    assert groups == {frozenset(order[np.flatnonzero(np.array(shuffled) == root)].tolist()) for root in set(shuffled)}


def test_nothing_and_one():
    assert list(near_pairs(np.empty((0, 32), np.uint8), 31)) == []
    assert list(near_pairs(np.zeros((1, 32), np.uint8), 31)) == []
    assert grouped(near_pairs(np.zeros((5, 32), np.uint8), 0), 5) == [0] * 5


# -- in a dataset ------------------------------------------------------------------------------------------------------


def test_of_copies_the_largest_stays(maker):
    picture = scene(1, 1280, 960)
    large = maker.image(jpeg(picture), 1280, 960)
    small = maker.image(jpeg(picture.resize((640, 480))), 640, 480)
    poor = maker.image(jpeg(picture, quality=30), 1280, 960)
    other = maker.image(jpeg(scene(2)))
    result = curate(maker.dataset, steps=["near_duplicate"])
    keeper = min(large, poor)
    assert maker.marks() == dict.fromkeys({large, small, poor} - {keeper}, f"duplicate_of:{keeper}")
    assert (result.images, result.images_kept, dict(result.images_dropped)) == (4, 2, {"duplicate_of": 2})
    assert other not in maker.marks()
    assert result.hashed == 4
    assert curate(maker.dataset, steps=["near_duplicate"]).hashed == 0  # once an image


def test_a_copy_that_another_filter_drops_is_not_the_one_that_stays(maker):
    picture = scene(1, 1280, 960)
    large = maker.image(jpeg(picture), 1280, 960)
    small = maker.image(jpeg(picture.resize((640, 480))), 640, 480)
    curate(maker.dataset, steps=[("size", {"max_pixels": 1_000_000}), "near_duplicate"])
    assert maker.marks() == {large: "too_large"}
    curate(maker.dataset, steps=["size", "near_duplicate"])
    assert maker.marks() == {large: None, small: f"duplicate_of:{large}"}


def test_flat_pictures_are_not_compared(maker):
    maker.image(jpeg(PIL.Image.new("RGB", (300, 200), "red")), 300, 200)
    maker.image(jpeg(PIL.Image.new("RGB", (320, 200), "red")), 320, 200)
    assert curate(maker.dataset, steps=["near_duplicate"]).images_kept == 2
    assert curate(maker.dataset, steps=[("near_duplicate", {"min_quality": 0})]).images_kept == 1


def test_undecodable_pictures_are_rejects_and_stay(maker):
    maker.image(jpeg(scene(1)))
    broken = maker.image(jpeg(scene(2))[:3000])
    result = curate(maker.dataset, steps=["near_duplicate"])
    assert result.images_kept == 2
    assert [row["item"] for row in maker.dataset.rejects.rows()] == [broken]
