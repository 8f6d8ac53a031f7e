"""Corrected captions and forgotten pictures."""

import pytest

from panoglot.errors import UserError
from panoglot.retrieval import Searcher, edit, forget, index, search
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
    # taken in again by a later build, it is dropped: nobody finds it
    row = {"image_id": image, "data": raw, "uri": "3.png", "width": 9, "height": 9, "format": "png"}
    scenes.data.images.insert([row])
    assert scenes.data.marks.rows(["dropped"], f"image_id = '{image}'") == [{"dropped": "forgotten"}]
    with pytest.raises(UserError, match="say which pictures"):
        forget(scenes.data)
    with scenes.data.writer():
        assert not forget(scenes.data, scenes.ids[5]).erased
    assert forget(scenes.data, scenes.ids[6]).erased
