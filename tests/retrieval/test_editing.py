"""Corrected captions and forgotten pictures."""

import pytest

from panoglot.errors import UserError
from panoglot.retrieval import Searcher, edit, forget, index, search, undo
from panoglot.table import forget_images
from tests.retrieval.test_hybrid import scenes  # noqa: F401


def kept(world, image):
    return {c.text: c for c in world.data.captions_of([image])[image]}


def test_a_correction_is_a_row_with_its_parent(scenes):  # noqa: F811
    index(scenes.data, scenes.encoder, captions=True)
    image = scenes.ids[1]
    old = kept(scenes, image)["A blue cat."]
    searcher = Searcher(scenes.data, scenes.encoder)
    assert searcher.search("turquoise", parts="lexical") == []
    done = edit(scenes.data.path, image[:10], text="  A turquoise cat. ", lang="en", author="Ada")
    assert (done.replaced, done.lang) == (old.caption_id, "en")
    row = kept(scenes, image)["A turquoise cat."]
    assert (row.kind, row.recipe, row.author, list(row.parents)) == ("human", "human", "Ada", [old.caption_id])
    assert "A blue cat." not in kept(scenes, image)
    gone = next(c for c in scenes.data.captions_of([image], None)[image] if c.caption_id == old.caption_id)
    assert gone.dropped == "corrected"
    assert [hit.image_id for hit in searcher.search("turquoise", parts="lexical")] == [image]
    assert image not in {h.image_id for h in searcher.search('"blue cat"', parts="lexical")}
    assert not scenes.data.vectors(scenes.vectors).count(f"id = '{old.caption_id}'")
    log = scenes.data.edits.rows()
    assert [(r["action"], r["before"], r["after"], r["author"]) for r in log] == [
        ("correct", "A blue cat.", "A turquoise cat.", "Ada")
    ]
    # the same again changes nothing; back to the first text keeps that row again
    assert edit(scenes.data, image, text="A turquoise cat.", lang="en").replaced == ""
    edit(scenes.data, image, text="A blue cat.", lang="en")
    assert {"A blue cat."} == {t for t, c in kept(scenes, image).items() if c.lang == "en"}


def test_add_and_drop(scenes):  # noqa: F811
    image = scenes.ids[0]
    assert edit(scenes.data, image, text="Un chat rouge.", lang="fr").replaced == ""
    assert kept(scenes, image)["Un chat rouge."].lang == "fr"
    done = edit(scenes.data, image, lang="de", drop="wrong animal")
    assert done.caption_id == ""
    assert not any(c.lang == "de" for c in kept(scenes, image).values())
    for call, message in (
        ({"text": "x"}, "several languages"), ({"text": " ", "lang": "de"}, "is empty"), ({}, "give the right text"),
        ({"text": "x", "drop": "y"}, "give the right text"), ({"drop": "rm -rf", "lang": "en"}, "a word or two"),
        ({"text": "x", "caption": "zzz"}, "is no caption"), ({"lang": "sw", "drop": "wrong"}, "no such caption"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            edit(scenes.data, image, **call)
    with pytest.raises(UserError, match="has no image"):
        edit(scenes.data, "nothere.png", text="x", lang="de")


def test_a_second_caption_of_a_language_stands_beside_the_first(scenes):  # noqa: F811
    image = scenes.ids[1]
    done = edit(scenes.data, image, text="A cat of blue wool.", lang="en", add=True, author="Ada")
    assert done.replaced == ""
    row = kept(scenes, image)["A cat of blue wool."]
    assert (list(row.parents), row.author) == ([], "Ada")
    assert "A blue cat." in kept(scenes, image)
    assert edit(scenes.data, image, text="A cat of blue wool.", lang="en", add=True).edit_id == ""  # it is there
    undo(scenes.data, done.edit_id)
    assert {"A blue cat."} == {t for t, c in kept(scenes, image).items() if c.lang == "en"}
    for call in ({"caption": row.caption_id}, {"drop": "wrong"}):
        with pytest.raises(UserError, match=r"add goes with a text alone|give the right text"):
            edit(scenes.data, image, text="x", lang="en", add=True, **call)


def test_what_is_forgotten_is_gone(scenes):  # noqa: F811
    index(scenes.data, scenes.encoder, captions=True)
    image = scenes.ids[3]
    raw = scenes.data.images.get([image], ["data"])["data"][0].as_py()
    edit(scenes.data, image, text="My secret aunt.", lang="en")
    assert forget(scenes.data, image, dry_run=True).images == 1
    assert len(scenes.data.images) == 15
    done = forget(scenes.data, image, author="Ada")
    assert (done.images, done.erased) == (1, True)
    assert len(scenes.data.images) == 14
    assert image not in {h.image_id for h in search(scenes.data, "blue cat", encoder=scenes.encoder, k=15)}
    files = [path.read_bytes() for path in scenes.data.path.rglob("*") if path.is_file()]
    assert not any(raw in data for data in files)
    assert not any(b"secret aunt" in data for data in files)
    # a reader of an older version: its bytes stay until it is done, and the same command without pictures is sure
    reader = scenes.data.images.lance()
    assert not forget(scenes.data, scenes.ids[4]).erased
    del reader
    assert forget(scenes.data).erased
    with scenes.data.writer():
        assert not forget(scenes.data, scenes.ids[5]).erased
    assert forget(scenes.data, scenes.ids[6]).erased
    assert len(scenes.data.edits.rows(where="action = 'forget'")) == 4


def test_say_which(scenes):  # noqa: F811
    for options in ({}, {"undo": True}):
        with pytest.raises(UserError, match="say which pictures"):
            forget(scenes.data, **options)


def test_what_was_made_of_it_or_shows_it_goes_too(scenes):  # noqa: F811
    data, (one, two, three) = scenes.data, scenes.ids[:3]
    data.images.insert(
        [
            {"image_id": "crop", "data": b"crop of one", "uri": "crop.png", "parents": [one]},
            {"image_id": "mark", "data": b"crop of the crop", "uri": "mark.png", "parents": ["crop"], "asset_id": "a"},
        ]
    )
    data.assets.insert([{"asset_id": "a", "data": b"the film"}, {"asset_id": "b", "data": b"another"}])
    parts = [{"text": "look:", "image_id": None}, {"text": None, "image_id": "crop"}]
    data.documents.insert(
        [
            {"document_id": "d1", "parts": parts},
            {"document_id": "d2", "parts": [{"text": "x", "image_id": two}]},
            {"document_id": "d3", "parts": []},
        ]
    )
    data.triples.insert(
        [
            {"triple_id": "t1", "image_id": one, "positives": [two]},
            {"triple_id": "t2", "positives": [one], "negatives": [two]},
            {"triple_id": "t3", "positives": [two, one], "negatives": [one, three]},
            {"triple_id": "t4", "text": "kept", "positives": None},
        ]
    )
    assert forget(data, one).images == 3
    assert {"crop", "mark", one}.isdisjoint(row["image_id"] for row in data.images.rows(["image_id"]))
    assert [row["asset_id"] for row in data.assets.rows(["asset_id"])] == ["b"]
    assert sorted(row["document_id"] for row in data.documents.rows(["document_id"])) == ["d2", "d3"]
    left = {row["triple_id"]: (row["positives"], row["negatives"]) for row in data.triples.rows()}
    assert left == {"t3": ([two], [three]), "t4": (None, None)}
    pieces = (b"crop of one", b"crop of the crop", b"the film")
    assert not [p for p in data.path.rglob("*") if p.is_file() and any(piece in p.read_bytes() for piece in pieces)]


def test_a_forget_that_was_stopped_before_it_erased_is_ended_by_the_same_command(scenes):  # noqa: F811
    image = scenes.ids[1]
    (row,) = scenes.data.images.get([image], ["uri", "data"]).to_pylist()
    name, raw = row["uri"], row["data"]
    with pytest.raises(UserError, match=r"has no image 'nix\.png'") as error:
        forget(scenes.data, "nix.png")
    assert "forgotten before" not in str(error.value)
    forget_images(scenes.data, [image])  # and then somebody pulls the plug

    def on_disk():
        return any(raw in path.read_bytes() for path in scenes.data.path.rglob("*") if path.is_file())

    assert on_disk()
    with scenes.data.writer(), pytest.raises(UserError, match="is not erased yet"):
        forget(scenes.data, name)
    with pytest.raises(UserError, match="forgotten before is erased"):
        forget(scenes.data, name)
    assert not on_disk()


def test_what_forgetting_costs_grows_with_what_is_touched(world):
    for n in range(6):  # commits of two pictures each
        world.images(2, start=2 * n)
    folder = world.data.path / "images.lance" / "data"
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    key = world.data.images.rows(["image_id"], "uri = '4.jpg'")[0]["image_id"]
    assert forget(world.data, key).erased
    after = {path.name: path.stat().st_ino for path in folder.iterdir()}
    assert len(before.items() & after.items()) == len(before) - 1
    assert len(after) == len(before)
    assert not world.data.images.count("uri = '4.jpg'")
    assert world.data.images.count() == 11
    assert not any(b"image 4" in path.read_bytes() for path in world.data.path.rglob("*") if path.is_file())


def test_what_made_up_words_come_to_is_known_after_forgetting_too(scenes, monkeypatch):  # noqa: F811
    """Copies for searching go, the measurement of the index stays: no picture is in it."""
    monkeypatch.setattr("panoglot.retrieval._weak.VOCABULARY", 5)
    index(scenes.data, scenes.encoder, captions=True)
    assert not search(scenes.data, "kazubexi", encoder=scenes.encoder)
    forget(scenes.data.path, scenes.ids[0])
    assert not search(scenes.data, "kazubexi", encoder=scenes.encoder)
    (left,) = [path for path in (scenes.data.path / "cache").iterdir() if path.suffix == ".json"]
    assert left.name.startswith("calibrated-")
    assert scenes.ids[0] not in left.read_text()
