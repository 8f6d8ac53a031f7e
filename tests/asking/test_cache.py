"""The cache of vectors: what was encoded once is not encoded again, and nothing wrong ever comes out of it."""

from __future__ import annotations

import multiprocessing
import sqlite3

import numpy as np
import pytest

from panoglot.asking import CachedEncoder, VectorCache, call, load_encoder
from panoglot.errors import UserError
from panoglot.evaluate import encode_files
from panoglot.pictures import Image
from tests.conftest import picture_bytes


class Counting:
    """Vectors from bytes and letters; counts what it is asked."""

    name, fingerprint, batch_size, dim = "toy:counting", "counting-1", 4, 8

    def __init__(self, fingerprint="counting-1"):
        self.fingerprint, self.seen, self.read = fingerprint, [], []

    def encode_images(self, images):
        self.seen += [image.id for image in images]
        return np.stack([np.random.default_rng(int(image.id[:8], 16)).normal(size=8) for image in images])

    def encode_texts(self, texts, langs=None):
        self.read += list(zip(texts, langs))
        rows = [
            np.random.default_rng(list(f"{lang}{text}".encode("utf-8", "replace"))).normal(size=8)
            for text, lang in zip(texts, langs)
        ]
        return np.stack(rows).astype(np.float32)


@pytest.fixture
def cache(tmp_path):
    return VectorCache(tmp_path / "deep" / "vectors.sqlite")


def test_second_run_encodes_nothing(pictures, cache):
    paths = sorted(pictures.iterdir())
    one, two = Counting(), Counting()
    first = encode_files(CachedEncoder(one, cache), paths)
    again = encode_files(CachedEncoder(two, cache), paths)
    assert len(one.seen) == len(paths)
    assert two.seen == []
    assert (first == again).all()
    assert (first == encode_files(Counting(), paths)).all()  # and the same as without a cache
    # a new picture is encoded, the others are not; a changed one is new
    paths[0].write_bytes(picture_bytes(99))
    three = Counting()
    changed = encode_files(CachedEncoder(three, cache), paths)
    assert len(three.seen) == 1
    assert (changed[1:] == first[1:]).all()
    assert (changed[0] != first[0]).any()


def test_equal_pictures_are_encoded_once(cache):
    encoder = Counting()
    pictures = [Image(picture_bytes(n % 2)) for n in range(6)]
    found = CachedEncoder(encoder, cache).encode_images(pictures)
    assert len(encoder.seen) == 2
    assert (found[0] == found[2]).all()
    assert found.shape == (6, 8)
    assert CachedEncoder(encoder, cache).encode_images([]).shape == (0, 8)


def test_encoder_language_and_kind_are_part_of_the_key(cache):
    one, two = Counting(), Counting("counting-2")
    texts = ["rotes Känguru", "กาแฟ", "قهوة", "コーヒー", ""]
    langs = ["de", "th", "ar", "ja", "und"]
    CachedEncoder(one, cache).encode_texts(texts, langs)
    CachedEncoder(two, cache).encode_texts(texts, langs)
    assert len(one.read) == len(two.read) == 5
    CachedEncoder(one, cache).encode_texts(texts, ["sw"] * 5)
    assert len(one.read) == 10
    CachedEncoder(one, cache).encode_texts(texts, langs)
    CachedEncoder(one, cache).encode_texts(texts)  # unknown language
    assert len(one.read) == 14  # the last text was `und` before
    picture = Image(picture_bytes(1))
    CachedEncoder(one, cache).encode_texts([picture.id], ["und"])
    assert CachedEncoder(one, cache).encode_images([picture]).shape == (1, 8)
    assert one.seen == [picture.id]
    CachedEncoder(one, cache).encode_texts(["\ud800 torn"], ["und"])  # a lone surrogate is a text like others


def test_failed_rows_are_tried_again_and_unreadable_files_are_nan(pictures, cache):
    class Moody(Counting):
        def encode_images(self, images):
            found = super().encode_images(images)
            found[0] = np.nan
            return found

    paths = sorted(pictures.iterdir())[:4]
    paths[3].write_bytes(b"not a picture")
    first = encode_files(CachedEncoder(Moody(), cache), paths)
    assert np.isnan(first).all(axis=1).tolist() == [True, False, False, True]
    encoder = Counting()
    again = encode_files(CachedEncoder(encoder, cache), paths)
    assert len(encoder.seen) == 1
    assert np.isnan(again).all(axis=1).tolist() == [False, False, False, True]


def test_a_corrupted_file_is_encoded_again(pictures, cache):
    paths = sorted(pictures.iterdir())
    truth = encode_files(CachedEncoder(Counting(), cache), paths)
    for damage in ("garbage", "cut", "pages", "old version"):
        raw = cache.path.read_bytes()
        if damage == "garbage":
            cache.path.write_bytes(b"\0not a database\0" * 999)
        elif damage == "cut":
            cache.path.write_bytes(raw[: len(raw) // 2])
        elif damage == "pages":
            cache.path.write_bytes(raw[:100] + bytes(len(raw) - 100))
        else:
            with sqlite3.connect(cache.path) as base:
                base.execute("PRAGMA user_version = 99")
        encoder = Counting()
        assert (encode_files(CachedEncoder(encoder, cache), paths) == truth).all(), damage
        assert len(encoder.seen) == len(paths), damage
        encoder = Counting()
        assert (encode_files(CachedEncoder(encoder, cache), paths) == truth).all(), damage
        assert encoder.seen == [], damage


def test_a_flipped_bit_is_encoded_again(pictures, cache):
    paths = sorted(pictures.iterdir())
    truth = encode_files(CachedEncoder(Counting(), cache), paths)
    with sqlite3.connect(cache.path) as base:
        key, data = base.execute("SELECT key, data FROM vectors LIMIT 1").fetchone()
        base.execute("UPDATE vectors SET data = ? WHERE key = ?", (bytes([data[0] ^ 1]) + data[1:], key))
        other = base.execute("SELECT key FROM vectors WHERE key != ? LIMIT 1", (key,)).fetchone()[0]
        base.execute(
            "UPDATE vectors SET data = (SELECT data FROM vectors WHERE key = ?), sum = "
            "(SELECT sum FROM vectors WHERE key = ?) WHERE key = ?",
            (key, key, other),
        )  # a row in the wrong place
    base.close()
    encoder = Counting()
    assert (encode_files(CachedEncoder(encoder, cache), paths) == truth).all()
    assert len(encoder.seen) == 2


def test_it_is_bounded_and_forgets_the_oldest(tmp_path):
    cache = VectorCache(tmp_path / "v.sqlite", limit=300_000)
    keys = [n.to_bytes(16, "big") for n in range(400)]
    for start in range(0, 400, 40):
        cache.put({key: np.full(512, n, np.float32) for n, key in enumerate(keys[start : start + 40], start)})
    found = cache.get(keys)
    assert cache.path.stat().st_size < 450_000  # a full batch goes in before the oldest go out
    assert keys[-1] in found
    assert keys[0] not in found
    assert 80 <= len(found) <= 150
    assert all((row == keys.index(key)).all() for key, row in found.items())
    # what was used today stays before what was not
    with sqlite3.connect(cache.path) as base:
        base.execute("UPDATE vectors SET used = 0")
    base.close()
    kept = sorted(found)[0]
    cache.get([kept])
    cache.put({n.to_bytes(16, "big"): np.zeros(512, np.float32) for n in range(1000, 1060)})
    assert kept in cache.get([kept])
    assert len(cache.get(keys)) < len(found)


def _writer(path, seed):
    cache = VectorCache(path)
    for n in range(30):
        keys = [(i * 7919).to_bytes(16, "big") for i in range(n, n + 20)]
        cache.put({key: np.full(64, int.from_bytes(key, "big"), np.float32) for key in keys})
        for key, row in cache.get(keys).items():
            assert (row == np.float32(int.from_bytes(key, "big"))).all()


def test_runs_at_once_are_safe(cache):
    spawn = multiprocessing.get_context("spawn")
    runs = [spawn.Process(target=_writer, args=(cache.path, n)) for n in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(120)
    assert [run.exitcode for run in runs] == [0, 0, 0]
    assert len(cache.get([(i * 7919).to_bytes(16, "big") for i in range(49)])) == 49


def test_several_vectors_a_picture_and_async_encoders(cache):
    class Many(Counting):
        async def encode_images(self, images):
            self.seen += images
            return np.arange(24, dtype=np.float32).reshape(1, 3, 8) * int(images[0].id[:2], 16)

    encoder = Many()
    pictures = [Image(picture_bytes(n)) for n in range(3)]
    first = np.asarray(call(CachedEncoder(encoder, cache), "encode_images", pictures))
    again = np.asarray(call(CachedEncoder(encoder, cache), "encode_images", pictures))
    assert len(encoder.seen) == 3
    assert first.shape == (3, 3, 8)
    assert (first == again).all()


def test_loading(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    encoder = Counting()
    kept = load_encoder(encoder)
    assert kept.cache.path == tmp_path / "home" / "panoglot" / "vectors.sqlite"
    assert (kept.name, kept.dim, kept.fingerprint, kept.read) == ("toy:counting", 8, "counting-1", [])
    assert load_encoder(encoder, "off") is encoder
    assert load_encoder(encoder, str(tmp_path / "x")).cache.path == tmp_path / "x" / "vectors.sqlite"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="give another --cache, or 'off'"):
        load_encoder(encoder, str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_encoder(encoder) is encoder  # a cache is a help, not a need
    with pytest.raises(AttributeError):
        kept.nonsense
