import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import panoglot
from panoglot.asking import Asker, Models, Prices
from panoglot.curation import append, curate
from panoglot.errors import RowError, UserError
from panoglot.providers import register
from panoglot.providers.roles import Answer
from panoglot.table import Caption
from panoglot.vectors import k_means, nearest, whitening
from tests.curation.conftest import Maker, jpeg, scene
from tests.curation.test_similar import store


def clustered(maker, sizes, dim=16, spread=0.01, order=None, copies=1):
    """Pictures around well separated directions; returns ids and their cluster."""
    rng = np.random.default_rng(3)
    centres = np.linalg.qr(rng.normal(size=(dim, dim)))[0][: len(sizes)]
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    vectors = centres[cluster] + spread * rng.normal(size=(len(cluster), dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cluster, vectors = np.tile(cluster, copies), np.tile(vectors, (copies, 1))
    numbers = list(order) if order is not None else list(range(len(cluster)))
    count = len(numbers)
    ids = maker.images([f"picture {n}" for n in numbers], [640] * count, [480] * count)
    store(maker.dataset, "e", {key: vectors[n] for key, n in zip(ids, numbers)})
    place = dict(zip(numbers, ids))
    return [place[n] for n in range(count)], cluster


def kept_images(maker):
    gone = {key for key, reason in maker.marks().items() if reason}
    return {row["image_id"] for row in maker.dataset.images.rows(["image_id"])} - gone


PLAIN = {"whiten": 0, "clusters": 5}


@pytest.mark.parametrize("order", ["distance", "random", "record"])
@pytest.mark.paper("tldr", shows="V", case="clusters of 1, 4, 5, 6, 11, one in five: 1, 1, 1, 2, 3 stay")
def test_quota_of_every_cluster(maker, order):
    """⌈n / 5⌉ of clusters of 1, 4, 5, 6, 11 stay: 1, 1, 1, 2, 3."""
    ids, cluster = clustered(maker, [1, 4, 5, 6, 11])
    result = curate(maker.dataset, steps=[("every_nth", {**PLAIN, "order": order})])
    kept = kept_images(maker)
    assert [sum(ids[n] in kept for n in np.flatnonzero(cluster == c)) for c in range(5)] == [1, 1, 1, 2, 3]
    assert dict(result.images_dropped) == {"redundant": 19}
    assert result.statistics["every_nth"] == {"clusters": 5, "smallest": 1, "largest": 11}
    assert curate(maker.dataset, steps=[("every_nth", {**PLAIN, "order": order})]).changed == 0


@pytest.mark.paper(
    "tldr",
    shows="V",
    case="by distance or at random the order of rows is nothing; as they stand it is not",
)
def test_order_of_rows(tmp_path):
    """By distance and at random it makes no difference; as they stand in the table it does."""
    found = {}
    for name, shuffle in (("a", None), ("b", np.random.default_rng(1).permutation(60))):
        maker = Maker(tmp_path / f"{name}.pano")
        clustered(maker, [20, 20, 20], order=shuffle)
        for order in ("distance", "random", "record"):
            curate(maker.dataset, steps=[("every_nth", {"clusters": 3, "order": order})])
            found[name, order] = kept_images(maker)
    assert found["a", "distance"] == found["b", "distance"]
    assert found["a", "random"] == found["b", "random"]
    assert found["a", "record"] != found["b", "record"]
    assert len({frozenset(found["a", order]) for order in ("distance", "random", "record")}) == 3


def test_a_seed_is_a_draw_of_its_own(maker):
    clustered(maker, [20, 20, 20])
    found = []
    for seed in (0, 0, 1):
        curate(maker.dataset, steps=[("every_nth", {"clusters": 3, "order": "random", "seed": seed})])
        found.append(kept_images(maker))
    assert found[0] == found[1] != found[2]


@pytest.mark.paper("tldr", shows="V", case="each record five times: every group keeps one, the ratio stays")
def test_each_picture_five_times(maker):
    """Exact copies: every group keeps a picture, and one in five stays."""
    ids, cluster = clustered(maker, [3, 5, 7], copies=5, spread=0.05)
    result = curate(maker.dataset, steps=[("every_nth", {"clusters": 3, "whiten": 0})])
    kept = kept_images(maker)
    assert [sum(ids[n] in kept for n in np.flatnonzero(cluster == c)) for c in range(3)] == [3, 5, 7]
    assert result.images_kept == 15


@pytest.mark.parametrize(("clusters", "n"), [(1000, 5), (1, 5), (3, 1), (3, 100)])
def test_more_clusters_than_pictures_and_other_ends(maker, clusters, n):
    clustered(maker, [2, 3, 4])
    result = curate(maker.dataset, steps=[("every_nth", {"clusters": clusters, "n": n})])
    expected = {(1000, 5): 9, (1, 5): 2, (3, 1): 9, (3, 100): 3}[clusters, n]
    assert result.images_kept == expected


def test_pictures_without_a_vector(maker):
    ids, _ = clustered(maker, [6])
    none = maker.image("no vector")
    store(maker.dataset, "e", {(bad := maker.image("not a number")): np.full(16, np.nan)})
    store(maker.dataset, "e", {(zero := maker.image("nothing")): np.zeros(16)})
    curate(maker.dataset, steps=[("every_nth", {"n": 2, "clusters": 1})])
    marks = maker.marks()
    assert (marks[none], marks[bad], marks[zero]) == ("no_vector",) * 3
    assert sum(ids.count(key) for key in kept_images(maker)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "from 1 up"),
        ({"clusters": 2.5}, "whole number"),
        ({"whiten": -1}, "from 0 up"),
        ({"seed": -1}, "from 0 up"),
        ({"order": "size"}, "use distance, random, record"),
        ({"encoder": "f"}, "no vectors 'f'"),
    ],
)
def test_mistakes_are_named(maker, options, message):
    clustered(maker, [3])
    with pytest.raises(UserError, match=message):
        curate(maker.dataset, steps=[("every_nth", options)])


def test_no_vectors_at_all(maker):
    maker.image("a")
    with pytest.raises(UserError, match="no vectors"):
        curate(maker.dataset, steps="tldr")


def test_several_vectors_an_image(maker):
    store(maker.dataset, "e", {maker.image("a"): np.ones(4)}, views=2)
    with pytest.raises(UserError, match="several vectors an image"):
        curate(maker.dataset, steps=["every_nth"])


# -- the matching half -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([1, 2, 3, 4], [3, 4]),
        ([1, 2, 3], [2, 3]),  # odd: the median stays
        ([1, 2, 2, 2], [2, 2, 2]),  # all that are as good as the median
        ([5], [5]),
        ([2, 2], [2, 2]),
    ],
)
@pytest.mark.paper("tldr", shows="V", case="the upper half by score, odd counts and ties")
def test_at_or_above_the_median(maker, scores, kept):
    image = maker.image("a")
    for n, score in enumerate(scores):
        maker.caption(image, f"{n}", scores={"itm": score})
    curate(maker.dataset, steps=[("top_score", {"name": "itm", "share": 0.5, "ties": "keep"})])
    rows = [dict(r["scores"])["itm"] for r in maker.dataset.captions.rows(["scores"], "dropped is null")]
    assert sorted(rows) == kept
    assert sum(s >= np.median(scores) for s in scores) == len(kept)


@pytest.mark.paper("tldr", shows="V", case="kept = counted off and upper half")
def test_both_halves_are_independent(maker):
    """Kept = counted off ∩ upper half: the median is that of all texts, those of dropped pictures too."""
    ids, _ = clustered(maker, [10, 10])
    rng = np.random.default_rng(0)
    scores = rng.random(20)
    for key, score in zip(ids, scores):
        maker.caption(key, f"text {score}", scores={"alignment": score})
    curate(maker.dataset, steps=[("every_nth", {"clusters": 2})])
    counted_off = kept_images(maker)
    result = curate(maker.dataset, steps=[("tldr", {"clusters": 2})])
    assert kept_images(maker) == counted_off
    rows = maker.dataset.captions.rows(["image_id", "scores"], "dropped is null")
    upper = {ids[n] for n in range(20) if np.float32(scores[n]) >= np.median(scores.astype(np.float32))}
    assert {row["image_id"] for row in rows} == upper
    assert result.statistics["top_score"]["texts"] == 20
    assert upper & counted_off
    for quantile, count in ((0.0, 20), (0.9, 2), (1.0, 0)):
        assert curate(maker.dataset, steps=[("tldr", {"match_quantile": quantile})]).captions_kept == count


@pytest.mark.paper(
    "tldr",
    shows="V",
    case="10 concepts, 30 % shuffled captions: 90 % of what stays matches, every concept within 20 %",
)
def test_mismatched_captions_go_and_every_concept_stays(maker):
    """10 concepts × 50 pictures, 30 % of the captions shuffled: at least 90 % of what is kept matches."""
    rng = np.random.default_rng(5)
    ids, concept = clustered(maker, [50] * 10, spread=0.05)
    said = concept.copy()
    shuffled = rng.permutation(500)[:150]
    said[shuffled] = (said[shuffled] + rng.integers(1, 10, 150)) % 10
    scores = np.where(said == concept, 0.8, 0.2) + 0.1 * rng.normal(size=500)
    rows = maker.add(
        [
            {"image": key, "text": f"{n} concept {c}", "scores": {"alignment": s}}
            for n, (key, c, s) in enumerate(zip(ids, said, scores))
        ]
    )
    curate(maker.dataset, steps=[("tldr", {"clusters": 10})])
    images, texts = (
        kept_images(maker),
        {r["caption_id"] for r in maker.dataset.captions.rows(["caption_id"], "dropped is null")},
    )
    pairs = [n for n in range(500) if ids[n] in images and rows[n] in texts]
    assert np.mean(said[pairs] == concept[pairs]) >= 0.9
    shares = np.bincount(concept[[n for n in range(500) if ids[n] in images]], minlength=10)
    assert (np.abs(shares - 10) <= 2).all()
    assert set(concept[pairs]) == set(range(10))


# -- k-means -----------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 50), st.integers(1, 8))
def test_nearest_is_brute_force(seed, n, k):
    rng = np.random.default_rng(seed)
    vectors, centres = rng.normal(size=(n, 5)).astype(np.float32), rng.normal(size=(k, 5)).astype(np.float32)
    number, distance = nearest(vectors, centres)
    every = ((vectors[:, None].astype(float) - centres[None]) ** 2).sum(axis=2)
    assert np.allclose(distance, every.min(axis=1), atol=1e-5)
    assert np.allclose(every[np.arange(n), number], every.min(axis=1), atol=1e-5)


def test_k_means_finds_what_is_there_and_is_repeatable():
    rng = np.random.default_rng(0)
    centres = 10 * np.eye(4, dtype=np.float32)
    vectors = (centres[rng.integers(0, 4, 400)] + rng.normal(size=(400, 4))).astype(np.float32)
    rng.shuffle(vectors)
    found = k_means(vectors, 4, 20)
    assert np.abs(found[np.argmax(found, axis=0)] - centres).max() < 0.5
    assert (found == k_means(vectors, 4, 20)).all()


def test_k_means_ends():
    same = np.ones((5, 3), np.float32)
    assert k_means(same, 3, 20).tolist() == [[1, 1, 1]]  # one different vector, one centre
    far = np.float32([[0, 0], [0, 1], [9, 9]])
    assert sorted(map(tuple, k_means(far, 3, 20).tolist())) == sorted(map(tuple, far.tolist()))


def test_whitening_whitens():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(500, 3)) @ np.diag([5, 1, 0]) + 2).astype(np.float32)
    mean, matrix = whitening(vectors, 256)
    assert matrix.shape == (3, 2)  # the direction without variance is left out
    assert np.allclose(np.cov(((vectors - mean) @ matrix).T), np.eye(2), atol=0.01)
    assert whitening(vectors, 1)[1].shape == (3, 1)
    assert whitening(np.ones((4, 3), np.float32), 2)[1].shape == (3, 0)


# -- the mended text ---------------------------------------------------------------------------------------------------


class Writer:
    """Says the same of every picture; notes what it was asked."""

    name, fingerprint, batch_size = "writer", "writer-1", 8
    says = "a cat on a sofa"
    asked: list[str] = []  # noqa: RUF012

    def generate(self, prompts):
        Writer.asked += [p.text for p in prompts]
        return [Answer(self.says) for _ in prompts]


async def mended(caption, says, **options):
    writer = Writer()
    writer.says = says
    asker = Asker(writer, journal=None, prices=Prices.load(None), budget=None)
    from panoglot.pictures import Image

    try:
        return await append(caption, Image(jpeg(scene(0))), Models({"captioner": asker}), **options)
    finally:
        await asker.close()


@pytest.mark.parametrize(
    ("original", "lang", "says", "options", "text", "tag"),
    [
        ("Minka, 2019", "en", "a cat on a sofa", {}, "Minka, 2019; a cat on a sofa", "en"),
        ("A cat on a sofa.", "en", "a cat on  a sofa", {}, "A cat on a sofa.", "en"),  # not twice
        ("Minka; 2019", "en", "a cat", {"separator": " | "}, "Minka; 2019 | a cat", "en"),
        ("Minka", "en", "a cat", {"mode": "replace"}, "a cat", "en"),
        ("猫", "ja", "ソファの上の猫", {}, "猫; ソファの上の猫", "ja"),
        ("قطة", "ar", "a cat", {"lang": "en"}, "قطة; a cat", "mul"),
        ("พี่แมว", "th", "a cat", {"lang": "en", "mode": "replace"}, "a cat", "en"),
        ("paka", "und", "a cat", {}, "paka; a cat", "und"),
    ],
)
@pytest.mark.paper("tldr", shows="V", case="original; generated - and not twice")
@pytest.mark.paper("append", shows="V", case="original; generated - and not twice")
def test_mended_texts(original, lang, says, options, text, tag):
    given = Caption(original, lang, "alt", caption_id="1" * 32)
    found = asyncio.run(mended(given, says, **options))
    assert (found.text, found.lang, found.kind) == (text, tag, "short")
    assert found.parents[0] is given
    assert found.parents[1].text == " ".join(says.split())
    assert given.text == original  # texts never change


def test_the_question_names_the_language():
    Writer.asked.clear()
    asyncio.run(mended(Caption("paka", "sw", "alt", caption_id="1" * 32), "paka mweusi"))
    assert "in Swahili" in Writer.asked[0]


def test_a_captioner_that_fails():
    with pytest.raises(RowError, match="empty_answer"):
        asyncio.run(mended(Caption("Minka", "en", "alt", caption_id="1" * 32), " \n "))
    with pytest.raises(UserError, match="use append or replace"):
        asyncio.run(mended(Caption("Minka", "en", "alt", caption_id="1" * 32), "a cat", mode="both"))


def test_the_whole_recipe(tmp_path):
    """Select, then mend what is kept: new rows with parents; again changes nothing."""
    register("python:writer", Writer)
    maker = Maker(tmp_path / "x.pano")
    ids = maker.images([jpeg(scene(n, 160, 120)) for n in range(6)], [160] * 6, [120] * 6)
    store(maker.dataset, "e", {key: np.eye(8)[n // 3] + 0.01 * np.eye(8)[n] for n, key in enumerate(ids)})
    for n, key in enumerate(ids):
        maker.caption(key, f"alt {n}", scores={"alignment": n / 10})
    recipe = tmp_path / "tldr.yaml"
    recipe.write_text(
        "output: x.pano\nmodels: {captioner: 'python:writer'}\n"
        "steps:\n- curate: {steps: [{tldr: {clusters: 2, keep_one_in: 3}}]}\n- append: {}\n"
    )
    Writer.asked.clear()
    first = panoglot.build(str(recipe), quiet=True)
    rows = first.dataset.captions.rows()
    new = [row for row in rows if row["recipe"] == "append/1" and row["dropped"] is None]
    given = {row["caption_id"]: row for row in rows if row["kind"] == "alt"}
    kept = [row for row in given.values() if row["dropped"] is None and row["image_id"] in kept_images(maker)]
    assert 1 <= len(kept) <= 2
    assert len(kept) == len(new) == len(Writer.asked)
    by_id = {row["caption_id"]: row for row in rows}
    for row in new:
        parent, draft = (by_id[key] for key in row["parents"])
        assert (parent["kind"], draft["dropped"], draft["text"]) == ("alt", "draft", "a cat on a sofa")
        assert row["text"] == f"{parent['text']}; a cat on a sofa"
        assert row["image_id"] == parent["image_id"]
    assert {row["text"] for row in given.values()} == {f"alt {n}" for n in range(6)}
    again = panoglot.build(str(recipe), quiet=True)
    assert len(again.dataset.captions) == len(rows)
    assert sum(stage.rows for stage in again.stages) == 0
