import numpy as np
import pytest

from panoglot.curation import curate
from panoglot.errors import UserError
from panoglot.table import vector_id


def store(dataset, encoder, vectors, views=1):
    table = dataset.vectors(encoder, len(next(iter(vectors.values()))))
    table.insert(
        [
            {"vector_id": vector_id(key, encoder, n), "id": key, "of": "image", "lang": None, "vector": v, "run_id": ""}
            for key, v in vectors.items()
            for n, v in enumerate([np.asarray(v, np.float16)] * views)
        ]
    )


def unit(rng, count, dim=64):
    found = rng.standard_normal((count, dim))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def filled(maker, count=40, copies=8):
    """Images of which the last ones are copies of the first."""
    rng = np.random.default_rng(0)
    ids = maker.images([f"picture {n}" for n in range(count)], range(100, 100 + count), [100] * count)
    vectors = unit(rng, count)
    for n in range(copies):
        vectors[count - 1 - n] = vectors[n] + 0.01 * unit(rng, 1)[0]
    store(maker.dataset, "e", dict(zip(ids, vectors)))
    return ids, vectors


@pytest.mark.parametrize("options", [{}, {"exact_up_to": 10}])
def test_similar_pictures_leave_one(maker, options):
    ids, _ = filled(maker)
    result = curate(maker.dataset, steps=[("similar", options)])
    expected = {ids[n]: f"duplicate_of:{ids[39 - n]}" for n in range(8)}  # the later ones have more pixels
    assert maker.marks() == expected
    assert result.images_kept == 32


def test_looser_threshold_never_keeps_fewer(maker):
    filled(maker)
    kept = [curate(maker.dataset, steps=[("similar", {"minimum": m})]).images_kept for m in (0.2, 0.5, 0.95, 1.01)]
    assert kept == sorted(kept)
    assert kept[-1] == 40


def test_both_kinds_of_duplicates_make_one_group(maker):
    """a ~ b by hash, b ~ c by vector: one image stays, and no reason names an image that was dropped."""
    a, b, c = (maker.image(f"{n}", 100 + n, 100) for n in range(3))
    code = bytes(range(32))
    maker.dataset.hashes.insert(
        [
            {"image_id": a, "pdq": code, "quality": 100, "run_id": ""},
            {"image_id": b, "pdq": code, "quality": 100, "run_id": ""},
            {"image_id": c, "pdq": bytes(255 - x for x in code), "quality": 100, "run_id": ""},
        ]
    )
    store(maker.dataset, "e", {a: [1, 0, 0, 0], b: [0, 1, 0, 0], c: [0, 1, 0, 0]})
    curate(maker.dataset, steps=["near_duplicate", "similar"], dry_run=True)
    assert maker.marks() == {}
    maker.dataset.work("curate.pdq-pdq-1").insert([{"item": image, "outputs": 0, "run_id": ""} for image in (a, b, c)])
    curate(maker.dataset, steps=["near_duplicate", "similar"])
    assert maker.marks() == {a: f"duplicate_of:{c}", b: f"duplicate_of:{c}"}


def test_clusters_find_nearly_all_pairs(maker):
    from panoglot.curation.similar import similar
    from panoglot.vectors import ImageIndex

    rng = np.random.default_rng(1)
    ids = maker.images([f"{n}" for n in range(1500)], [640] * 1500, [480] * 1500)
    vectors = unit(rng, 1500, 32)
    vectors[750:] = vectors[:750] + 0.15 * unit(rng, 750, 32)
    store(maker.dataset, "e", dict(zip(ids, vectors)))
    images = ImageIndex(lambda: (b["image_id"] for b in maker.dataset.images.batches(["image_id"])))

    def pairs(**options):
        return {p for i, j in similar(maker.dataset, images, **options) for p in zip(i.tolist(), j.tolist())}

    exact = pairs(minimum=0.95)
    found = pairs(minimum=0.95, exact_up_to=100)
    assert len(exact) >= 700
    assert found <= exact
    assert len(found) >= 0.98 * len(exact)


def test_missing_and_ambiguous_vectors(maker):
    image = maker.image("x")
    with pytest.raises(UserError, match="has no vectors"):
        curate(maker.dataset, steps=["similar"])
    store(maker.dataset, "one", {image: [1.0, 0.0]})
    store(maker.dataset, "two", {image: [1.0, 0.0]}, views=2)
    with pytest.raises(UserError, match="one, two"):
        curate(maker.dataset, steps=["similar"])
    with pytest.raises(UserError, match="several vectors an image"):
        curate(maker.dataset, steps=[("similar", {"encoder": "two"})])
    with pytest.raises(UserError, match="Did you mean 'one'"):
        curate(maker.dataset, steps=[("similar", {"encoder": "on"})])
