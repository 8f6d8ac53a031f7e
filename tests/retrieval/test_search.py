import base64
import io
import json
import re
import shutil
import threading

import numpy as np
import PIL.Image
import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.pictures import Image
from panoglot.retrieval import Searcher, delete, index, search
from panoglot.table import Caption, image_id
from tests.retrieval.conftest import DIM, Toy, unit


def ids(hits):
    return [hit.image_id for hit in hits]


def test_text_query_equals_naive(filled):
    for n in range(20):
        query = filled.encoder.texts[f"query {n}"]
        hits = search(filled.data, f"query {n}", encoder=filled.encoder, k=7)
        assert ids(hits) == filled.naive(query, 7)
        assert hits[0].uri.endswith(".jpg")
        assert hits[0].score == pytest.approx(max(float(v @ query) for _, v in filled.rows), abs=1e-6)


def test_path_and_callable_room(filled):
    by_path = panoglot.search(filled.data.path, "query 1", encoder=filled.encoder, k=3)
    assert ids(by_path) == ids(search(filled.data, "query 1", encoder=filled.encoder, k=3))


def test_image_query(filled, tmp_path):
    path = tmp_path / "q.png"
    PIL.Image.new("RGB", (8, 8), "red").save(path)
    vector = unit(np.random.default_rng(5), 1)[0]
    filled.encoder.pictures[Image.from_path(str(path)).id] = vector
    expected = filled.naive(vector, 5)
    assert ids(search(filled.data, image=path, encoder=filled.encoder, k=5)) == expected
    assert ids(search(filled.data, image=path.read_bytes(), encoder=filled.encoder, k=5)) == expected
    assert ids(search(filled.data, image=Image.from_path(str(path)), encoder=filled.encoder, k=5)) == expected


def test_image_of_the_dataset_finds_itself(filled):
    hits = search(filled.data, image=filled.ids[3], encoder=filled.encoder, k=2)
    assert hits[0].image_id == filled.ids[3]
    assert hits[0].score == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_text_and_image(filled, weight):
    text = filled.encoder.texts["query 2"]
    image = filled.rows[4][1] / np.linalg.norm(filled.rows[4][1])
    mixed = weight * text + (1 - weight) * image
    hits = search(filled.data, "query 2", image=filled.ids[4], weight=weight, encoder=filled.encoder, k=6)
    assert ids(hits) == filled.naive(mixed / np.linalg.norm(mixed), 6)


def test_ties_by_id(world):
    images = world.images(50)
    world.embed(images, [np.eye(DIM)[0]] * 50)
    world.encoder.texts["x"] = np.eye(DIM)[0]
    assert ids(search(world.data, "x", encoder=world.encoder, k=5)) == sorted(images)[:5]


def test_best_view_counts(world):
    """Ten images of eight vectors each: an image comes once, with its best."""
    rng = np.random.default_rng(3)
    images = world.images(10)
    for _ in range(8):
        world.embed(images, unit(rng, 10))
    world.encoder.texts["x"] = unit(rng, 1)[0]
    hits = search(world.data, "x", encoder=world.encoder, k=10)
    assert ids(hits) == world.naive(world.encoder.texts["x"], 10)
    assert len({hit.image_id for hit in hits}) == 10


def test_crowding_views(world):
    """One image has 100 vectors that are all nearer than the other image's."""
    one, other = world.images(2)
    for _ in range(3):
        world.embed([one] * 1, [np.eye(DIM)[0]])
    world.embed([other], [np.eye(DIM)[1]])
    world.encoder.texts["x"] = np.eye(DIM)[0]
    assert ids(search(world.data, "x", encoder=world.encoder, k=2)) == [one, other]


# -- filters -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def spoken(filled):
    i = filled.ids
    filled.caption(i[0], "ein Hund", "de")
    filled.caption(i[1], "ein Hund", "de-CH", kind="human")
    filled.caption(i[2], "a dog", "en", kind="human")
    filled.caption(i[2], "狗", "zh-Hant")
    filled.caption(i[3], "ein Hund", "de", dropped="draft")
    filled.caption(i[4], "كلب", "ar")
    return filled


@pytest.mark.parametrize(
    ("lang", "kind", "expected"),
    [
        ("de", None, {0, 1}),
        ("de-CH", None, {1}),
        ("DE", None, {0, 1}),
        ("zh", None, {2}),
        ("zh-Hant", None, {2}),
        ("ar", None, {4}),
        (None, "human", {1, 2}),
        ("de", "human", {1}),
        ("zh", "human", set()),  # both must hold of one caption
        ("th", None, set()),
    ],
)
def test_language_and_kind(spoken, lang, kind, expected):
    hits = search(spoken.data, "query 0", lang=lang or (), kinds=kind or (), encoder=spoken.encoder, k=10)
    among = {spoken.ids[n] for n in expected}
    assert ids(hits) == spoken.naive(spoken.encoder.texts["query 0"], 10, among)
    for hit in hits:
        assert hit.captions
        assert all(c.dropped is None and (kind is None or c.kind == kind) for c in hit.captions)
        assert lang is None or all(c.lang.lower().startswith(lang.lower()) for c in hit.captions)


def test_what_a_language_met_is_said(spoken):
    def notes(lang):
        said = search(spoken.data, "query 0", lang=lang, encoder=spoken.encoder, k=10).notes
        return [note for note in said if not note.startswith("weak: ")]

    assert notes("de") == ["de takes in de-CH (1)."]
    assert notes("de-CH") == []
    assert notes("de-AT") == ["nothing is in de-AT; there is de (1), de-CH (1)."]
    assert notes("th") == ["nothing is in th; there is ar (1), de (1), de-CH (1), en (1), zh-Hant (1)."]
    assert notes("cmn") == ["zh takes in zh-Hant (1)."]


def test_dropped_images_are_not_found(filled):
    first, second = ids(search(filled.data, "query 0", encoder=filled.encoder, k=2))
    filled.data.score("marks", {first: ({}, "duplicate_of:x")})
    assert ids(search(filled.data, "query 0", encoder=filled.encoder, k=1)) == [second]
    filled.data.marks.change([{"image_id": first, "dropped": None}])
    assert ids(search(filled.data, "query 0", encoder=filled.encoder, k=1)) == [first]


def test_over_captions(spoken):
    i = spoken.ids
    rows = {row["text"]: row["caption_id"] for row in spoken.data.captions.rows(["text", "caption_id"])}
    spoken.embed([rows["狗"], rows["كلب"]], [np.eye(DIM)[0], np.eye(DIM)[1]], of="caption")
    spoken.encoder.texts["dog"] = np.eye(DIM)[0]
    found = search(spoken.data, "dog", over="captions", encoder=spoken.encoder)
    assert ids(found) == [i[2], i[4]]
    assert found[0].score == pytest.approx(1)
    assert ids(search(spoken.data, "dog", over="captions", lang="ar", encoder=spoken.encoder)) == [i[4]]
    assert search(spoken.data, "dog", over="both", encoder=spoken.encoder, k=1)[0].image_id == i[2]
    images_only = search(spoken.data, "dog", encoder=spoken.encoder, k=1)
    assert images_only[0].score < 0.99
    spoken.data.captions.change([{"caption_id": rows["狗"], "dropped": "too_short"}])
    assert ids(search(spoken.data, "dog", over="captions", encoder=spoken.encoder)) == [i[4]]


# -- adding and deleting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [10, 10**9])  # with and without the mapped copy
def test_an_open_searcher_sees_commits(filled, monkeypatch, keep):
    monkeypatch.setattr("panoglot.vectors._stored.KEEP", keep)
    searcher = Searcher(filled.data, filled.encoder)
    rng = np.random.default_rng(9)
    filled.encoder.texts["new"] = target = unit(rng, 1)[0]
    assert ids(searcher.search("new", k=5)) == filled.naive(target, 5)
    for round_ in range(12):  # more than are kept apart
        new = filled.images(3, start=1000 + 3 * round_)
        filled.embed(new, target + 0.3 * unit(rng, 3))
        assert ids(searcher.search("new", k=5)) == filled.naive(target, 5)
        assert len(searcher._vectors.parts) <= 10
    best = ids(searcher.search("new", k=3))
    assert delete(filled.data, best) == 3
    filled.rows = [row for row in filled.rows if row[0] not in best]
    assert ids(searcher.search("new", k=5)) == filled.naive(target, 5)
    assert ids(search(filled.data, "new", encoder=filled.encoder, k=5)) == filled.naive(target, 5)


def test_the_mapped_copy_is_used_and_replaced(filled, monkeypatch):
    monkeypatch.setattr("panoglot.vectors._stored.KEEP", 10)
    expected = ids(search(filled.data, "query 0", encoder=filled.encoder))
    folders = sorted((filled.data.path / "cache").iterdir())
    assert len(folders) == 1
    monkeypatch.setattr("panoglot.vectors._stored._read", lambda *_: pytest.fail("the copy was not used"))
    assert ids(search(filled.data, "query 0", encoder=filled.encoder)) == expected
    monkeypatch.undo()
    monkeypatch.setattr("panoglot.vectors._stored.KEEP", 10)
    (folders[0] / "vectors.npy").write_bytes(b"broken")
    assert ids(search(filled.data, "query 0", encoder=filled.encoder)) == expected
    filled.embed(filled.images(1, 5000), [filled.encoder.texts["query 0"]])
    assert ids(search(filled.data, "query 0", encoder=filled.encoder)) == filled.naive(
        filled.encoder.texts["query 0"], 10
    )
    assert len(list((filled.data.path / "cache").iterdir())) == 1


def test_index_leaves_a_copy_of_half_the_bytes_and_nothing_changes(filled, monkeypatch):
    monkeypatch.setattr("panoglot.vectors._stored.KEEP", 10)
    rng = np.random.default_rng(1)
    before = [search(filled.data, f"query {n}", encoder=filled.encoder) for n in range(20)]
    assert index(filled.data, filled.encoder).vectors == "exact"
    searcher = Searcher(filled.data, filled.encoder)
    assert [searcher.search(f"query {n}") for n in range(20)] == before
    (part,) = searcher._vectors.parts
    assert part.coarse.rows.shape == (300, DIM)
    filled.embed(filled.images(5, 1000), unit(rng, 5))  # beside the copy
    assert delete(filled.data, [before[0][0].image_id]) == 1  # another state: the copy is of no use any more
    filled.rows = [row for row in filled.rows if row[0] != before[0][0].image_id]
    for n in range(20):
        assert ids(searcher.search(f"query {n}", k=7)) == filled.naive(filled.encoder.texts[f"query {n}"], 7)
    monkeypatch.setattr("panoglot.vectors._coarse.Coarse.keep", _cannot_write)
    index(filled.data, filled.encoder)
    assert ids(search(filled.data, "query 3", encoder=filled.encoder, k=7)) == ids(searcher.search("query 3", k=7))


def _cannot_write(*_):
    raise OSError("no room")


def test_delete_leaves_images_and_captions(spoken):
    image = spoken.ids[0]
    caption = spoken.data.captions.rows(["caption_id"], f"image_id = '{image}'")[0]["caption_id"]
    spoken.embed([caption], [np.eye(DIM)[0]], of="caption")
    assert delete(spoken.data, [image, "unknown"]) == 2
    assert len(spoken.data.images) == 300
    assert spoken.data.captions.count(f"image_id = '{image}'") == 1
    assert image not in ids(search(spoken.data, "query 0", encoder=spoken.encoder, k=300))


def test_many_threads(filled):
    searcher = Searcher(filled.data, filled.encoder)
    expected = [filled.naive(filled.encoder.texts[f"query {n}"], 5) for n in range(20)]
    found = [[] for _ in range(20)]

    def ask(n):
        for _ in range(5):
            found[n] = ids(searcher.search(f"query {n}", k=5))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


# -- the index ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    from tests.retrieval.conftest import World

    world = World(tmp_path_factory.mktemp("large") / "x.pano")
    rng = np.random.default_rng(0)
    world.ids = world.images(3000)
    centres = unit(rng, 40)
    vectors = unit(rng, 3000) * 0.4 + centres[rng.integers(0, 40, 3000)]
    world.embed(world.ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    for n in range(20):
        query = centres[n] + 0.3 * unit(rng, 1)[0]
        world.encoder.texts[f"query {n}"] = query / np.linalg.norm(query)
    assert index(world.data).vectors == "exact"  # too few to need one
    assert index(world.data, above=1000).vectors == "built"
    return world


def indexed(world, text, **options):
    return search(world.data, text, encoder=world.encoder, backend="index", **options)


def test_index_finds_what_exact_search_finds(large):
    same = sum(
        len({*ids(indexed(large, f"query {n}"))} & {*ids(search(large.data, f"query {n}", encoder=large.encoder))})
        for n in range(20)
    )
    assert same >= 0.97 * 200
    hit = indexed(large, "query 0", k=1)[0]
    assert hit.score == pytest.approx(search(large.data, "query 0", encoder=large.encoder, k=1)[0].score, abs=1e-9)


def test_index_with_filters(large):
    for n in range(5):
        large.caption(large.ids[n], "ein Hund", "de")
    hits = indexed(large, "query 1", lang="de", k=10)
    assert ids(hits) == large.naive(large.encoder.texts["query 1"], 10, set(large.ids[:5]))
    best = ids(indexed(large, "query 2", k=3))
    large.data.score("marks", {best[0]: ({}, "too_small")})
    assert ids(indexed(large, "query 2", k=2)) == best[1:]


def test_index_adds_and_deletes_without_rebuild(large):
    query = large.encoder.texts["query 3"]
    (new,) = large.images(1, start=9000)
    large.embed([new], [query])
    assert ids(indexed(large, "query 3", k=1)) == [new]
    assert index(large.data, above=1000).vectors == "updated"
    assert ids(indexed(large, "query 3", k=1)) == [new]
    delete(large.data, [new])
    assert new not in ids(indexed(large, "query 3", k=20))
    assert index(large.data, above=1000, rebuild=True).vectors == "built"


def test_index_of_several_views(world):
    rng = np.random.default_rng(3)
    images = world.images(200)
    for _ in range(3):
        world.embed(images, unit(rng, 200))
    world.encoder.texts["x"] = unit(rng, 1)[0]
    index(world.data, above=300)
    found = ids(indexed(world, "x", k=20))
    assert len(set(found)) == 20
    assert len({*found} & {*world.naive(world.encoder.texts["x"], 20)}) >= 19


def test_auto_takes_the_index_when_there_are_many(large, monkeypatch):
    assert not Searcher(large.data, large.encoder).gallery._by_index()
    monkeypatch.setattr("panoglot.retrieval._gallery.EXACT_UP_TO", 1000)
    assert Searcher(large.data, large.encoder).gallery._by_index()


# -- mistakes ----------------------------------------------------------------------------------------------------------


def test_mistakes(filled, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    for message, arguments in {
        "say what to search for": {},
        "the text to search for is empty": {"text": "  "},
        "must be between 0": {"text": "query 1", "image": filled.ids[0], "weight": 1.5},
        "k=0": {"text": "query 1", "k": 0},
        "not a language tag": {"text": "query 1", "lang": "klingonish"},
        "Did you mean 'human'": {"text": "query 1", "kinds": "humen"},
        "over='image'": {"text": "query 1", "over": "image"},
        "backend='exakt'": {"text": "query 1", "backend": "exakt"},
        "is no file, and": {"image": str(tmp_path / "none.jpg")},
        "cannot be read: not_an_image": {"image": str(broken)},
        "has no image '00000": {"image": "0" * 32},
        "have no index": {"text": "query 1", "backend": "index"},
    }.items():
        with pytest.raises(UserError, match=message):
            search(filled.data, encoder=filled.encoder, **arguments)


def test_no_vectors(world):
    with pytest.raises(UserError, match="has no vectors to search"):
        search(world.data, "x")


def test_choice_of_encoder(filled):
    other = filled.data.add_vectors("hf:org/other", "other-1", 8)
    row = {"id": "c1", "lang": "de", "vector": np.eye(8, dtype=np.float16)[0], "run_id": ""}
    filled.data.vectors(other).insert([{**row, "vector_id": "v1", "of": "caption"}])
    assert Searcher(filled.data).name == filled.vectors  # the other one has no pictures
    filled.data.vectors(other).insert([{**row, "vector_id": "v2", "of": "image"}])
    assert Searcher(filled.data).name == filled.vectors  # made later: the default stays
    again = filled.data.add_vectors("hf:org/other", "other-2", 8)
    with pytest.raises(UserError, match=rf"several vectors of 'hf:org/other': say which, encoder={other} or {again}"):
        search(filled.data, "query 1", encoder="hf:org/other")
    filled.data.vectors(again).delete("true")
    shutil.rmtree(filled.data.path / "vectors" / f"{again}.lance")
    with pytest.raises(UserError, match="Did you mean 'hf:org/other'"):
        search(filled.data, "query 1", encoder="hf:org/othr")
    assert search(filled.data, "query 1", encoder=filled.encoder)
    by_model, by_name = Searcher(filled.data, "hf:org/other"), Searcher(filled.data, other)
    assert by_model.name == by_name.name == other


def test_the_searched_vectors_are_a_setting(filled):
    from panoglot import settings

    other = filled.data.add_vectors("hf:org/other", "other-1", 8)
    row = {"id": "c1", "of": "image", "lang": "de", "vector": np.eye(8, dtype=np.float16)[0], "run_id": ""}
    filled.data.vectors(other).insert([{**row, "vector_id": "v1"}])
    assert settings(filled.data) == {"encoder": filled.vectors}
    assert settings(filled.data, encoder="hf:org/other") == {"encoder": other}
    assert Searcher(filled.data.path).name == other  # of the dataset, not of this object
    assert settings(filled.data, encoder="auto") == {"encoder": filled.vectors}
    with pytest.raises(UserError, match="Did you mean 'hf:org/other'"):
        settings(filled.data, encoder="hf:org/othr")
    settings(filled.data, encoder=other)
    shutil.rmtree(filled.data.path / "vectors" / f"{other}.lance")  # gone: what is there is searched
    assert Searcher(filled.data).name == filled.vectors


def test_vectors_without_a_date_come_first(filled):
    """Those that an older Panoglot made."""
    path = filled.data.path / "vectors" / f"{filled.vectors}.json"
    facts = json.loads(path.read_text())
    assert facts.pop("made")
    path.write_text(json.dumps(facts))
    other = filled.data.add_vectors("aa:first by name", "other-1", 8)
    row = {"id": "c1", "of": "image", "lang": "de", "vector": np.eye(8, dtype=np.float16)[0], "run_id": ""}
    filled.data.vectors(other).insert([{**row, "vector_id": "v1"}])
    assert Searcher(filled.data).name == filled.vectors


def test_an_image_of_the_dataset_by_what_people_have_of_it(filled):
    whole = search(filled.data, image=filled.ids[0], encoder=filled.encoder, k=5)
    for name in (filled.ids[0][:12], "0.jpg"):
        assert search(filled.data, image=name, encoder=filled.encoder, k=5) == whole
    with pytest.raises(UserError, match=r"Did you mean '1\.jpg'"):
        search(filled.data, image="1.jpeg", encoder=filled.encoder)


def test_pictures_that_python_holds(filled, tmp_path):
    from panoglot.formats import as_image

    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[1] = 200
    picture = PIL.Image.fromarray(pixels)
    picture.save(tmp_path / "a.png")
    vector = filled.encoder.texts["query 1"]
    same = [picture, pixels, tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes()]
    same += [np.moveaxis(pixels, 2, 0), pixels / 255]  # channels first, and from 0 to 1
    for one in same:
        filled.encoder.pictures[as_image(one).id] = vector
        assert (as_image(one).pixels() == pixels).all()
        assert ids(search(filled.data, image=one, encoder=filled.encoder, k=3)) == filled.naive(vector, 3)
    for wrong, message in ((object(), "object is no picture"), (np.zeros((2, 2, 7)), r"shape \(2, 2, 7\)")):
        with pytest.raises(UserError, match=message):
            search(filled.data, image=wrong, encoder=filled.encoder)


def test_captions_without_vectors_are_said(world):
    world.embed(world.images(3), unit(np.random.default_rng(0), 3))
    for over in ("captions", "both"):
        with pytest.raises(UserError, match=r"no vectors of captions by toy:encoder.*&& panoglot build encode.yaml"):
            search(world.data, "x", over=over, encoder=world.encoder)


def test_the_dataset_comes_first(filled):
    with pytest.raises(UserError, match=r"dataset comes first.*: panoglot search \S+ 'a red bird'"):
        search("a red bird", str(filled.data.path))


def test_a_notebook_shows_hits(filled):
    from panoglot.retrieval import Hit, Hits

    hits = search(filled.data, "query 1", encoder=filled.encoder, k=3)
    page = hits._repr_html_()  # these pictures are no pictures: their place says so
    assert page.count("not_an_image") == 3
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (400, 100), (9, 9, 9)).save(buffer, "PNG")
    key = image_id(buffer.getvalue())
    row = {"image_id": key, "data": buffer.getvalue(), "uri": "a/<b>.png", "width": 400, "height": 100, "format": "png"}
    filled.data.images.insert([row])
    hit = Hit(key, 0.5, "a/<b>.png", [Caption("<i>שלום</i>", lang="he")], filled.data)
    page = Hits([hit])._repr_html_()
    assert "&lt;i&gt;שלום&lt;/i&gt;" in page
    assert "&lt;b&gt;.png" in page
    shown = PIL.Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])))
    assert shown.size == (180, 45)
    assert hit.to_dict() == {"image_id": key, "score": 0.5, "uri": "a/<b>.png", "captions": hit.to_dict()["captions"]}
    assert hit.to_dict()["captions"][0]["lang"] == "he"
    assert hit.picture()._repr_png_().startswith(b"\x89PNG")


def test_models_are_loaded_by_the_name_that_is_stored(filled, monkeypatch):
    from panoglot.providers import register

    register("toy:encoder", lambda: filled.encoder)
    assert ids(search(filled.data, "query 1", k=3)) == filled.naive(filled.encoder.texts["query 1"], 3)
    path = filled.data.path / "vectors" / f"{filled.vectors}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fingerprint": "older"}))
    with pytest.raises(UserError, match="has changed since"):
        search(filled.data, "query 1")


def test_encoder_of_a_server(filled):
    class Server(Toy):
        async def encode_texts(self, texts, langs=None):
            return np.stack([filled.encoder.texts[text] for text in texts])

    hits = search(filled.data, "query 1", encoder=Server(), k=3)
    assert ids(hits) == filled.naive(filled.encoder.texts["query 1"], 3)


def test_a_text_without_a_vector(filled):
    filled.encoder.texts["nothing"] = np.full(DIM, np.nan)
    with pytest.raises(UserError, match="no vector for the text 'nothing'"):
        search(filled.data, "nothing", encoder=filled.encoder)
