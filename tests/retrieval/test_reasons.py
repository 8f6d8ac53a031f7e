"""A search that finds little says why: what it does not look at, and what stands only there."""

import io

import numpy as np
import PIL.Image
import pytest

from panoglot.retrieval import Searcher, index
from panoglot.table import image_id
from tests.retrieval.conftest import DIM, World
from tests.retrieval.test_hybrid import Codes

ENGLISH = ("A red frog.", "A green horse.", "A blue bird.", "A polar bear.", "A red fish.", "A green dog.")


def picture(n):
    into = io.BytesIO()
    PIL.Image.new("RGB", (9, 9), (n, 9, 9)).save(into, "PNG")
    return into.getvalue()


def add(world, texts, lang="en", start=0):
    """Pictures with a caption and a vector each."""
    ids = []
    for n, text in enumerate(texts, start):
        raw = picture(n)
        ids.append(image_id(raw))
        row = {"image_id": ids[-1], "data": raw, "uri": f"{n}.png", "width": 9, "height": 9, "format": "png"}
        world.data.images.insert([row])
        world.encoder.shown[ids[-1]] = tuple(word for word in ("red", "green", "blue", "bird", "dog") if word in text)
        world.caption(ids[-1], text, lang, "human")
    vectors = [world.encoder._vector(world.encoder.shown[key], 0.3) for key in ids]
    name = world.data.add_vectors(world.encoder.name, world.encoder.fingerprint, DIM)
    rows = [{"vector_id": f"{start + n:032}", "id": key, "of": "image", "lang": "und", "vector": np.float16(v),
             "run_id": ""} for n, (key, v) in enumerate(zip(ids, vectors))]  # fmt: skip
    world.data.vectors(name).insert(rows)
    return ids


@pytest.fixture
def small(tmp_path):
    world = World(tmp_path / "x.pano")
    world.encoder = Codes()
    world.ids = add(world, ENGLISH)
    world.caption(world.ids[1], "Farasi wa kijani", "sw")
    world.caption(world.ids[2], "一只蓝色的鸟", "zh-Hans")
    return world


def notes(world, text, **more):
    hits = Searcher(world.data, world.encoder).search(text, **more)
    return [hit.image_id for hit in hits], hits.notes


def test_a_phrase_that_no_caption_has_is_named(small):
    ids, said = notes(small, '"frog red"')
    assert ids
    assert said == ['no caption has "frog red", these words together; what is shown is what is nearest.']
    assert notes(small, '"red frog"') == (notes(small, '"red frog"')[0], [])
    assert notes(small, '"frog red"', parts="lexical") == ([], ['no caption has "frog red", these words together.'])


def test_words_that_stand_only_where_nothing_is_looked_for(small):
    ids, said = notes(small, "frog", lang="sw")
    assert ids == [small.ids[1]]
    assert said == ["weak: 'frog' stands only in captions of pictures that are left out by --lang sw."]
    assert notes(small, "kijani", lang="sw") == ([small.ids[1]], [])
    assert notes(small, "horse", lang="sw")[1] == []  # of a picture with a Swahili caption
    _, said = notes(small, "鸟", where="uri = '0.png'")
    assert said == ["weak: '鸟' stands only in captions of pictures that are left out by --where 'uri = '0.png''."]
    assert notes(small, "a frog -red")[1] == [
        "weak: 'frog' stands only in captions of pictures that are left out by -red."
    ]
    assert notes(small, "+frog", lang="sw") == ([], ["no picture fits --lang sw, +frog together."])


def test_kinds_that_no_caption_has(small):
    ids, said = notes(small, "frog", kinds="short")
    assert not ids
    assert "no kept caption fits --kinds short; there are: human (6), alt (2)." in said
    _, said = notes(small, "frog", kinds="short", lang="sw")
    assert "no kept caption fits --kinds short in --lang sw; there are: alt (1)." in said


def test_words_of_what_was_dropped(small):
    small.caption(small.ids[0], "Ein Krokodil im Gras", "de", dropped="draft")
    small.caption(small.ids[0], "ワニ", "ja", dropped="duplicate")
    _, said = notes(small, "Krokodil")
    assert said[0] == "'krokodil' stands in captions that were dropped: draft (1)."
    assert said[1].startswith("weak: no caption has 'krokodil'")
    assert "duplicate (1)" in notes(small, "ワニ")[1][0]
    small.data.marks.insert([{"image_id": small.ids[3], "dropped": "blurred"}])
    ids, said = notes(small, "polar")
    assert small.ids[3] not in ids
    assert said == ["weak: 'polar' stands only in captions of pictures that are dropped."]


def test_emoji_are_read_as_what_captions_call_them(small):
    ids, said = notes(small, "🐸")
    assert (ids[0], said) == (small.ids[0], ["🐸 is read as 'frog'."])
    assert notes(small, "+🐸")[0] == [small.ids[0]]
    assert notes(small, "+🐻‍❄️")[0] == [small.ids[3]]  # two words that must stand together
    assert small.ids[0] not in notes(small, "red -🐸")[0]
    assert notes(small, "green🐴x")[1] == ["🐴 is read as 'horse'."]
    ids, said = notes(small, "🚀")
    assert ids
    assert said[0] == "🚀 is read as 'rocket'."
    assert said[1].startswith("weak: no caption has 'rocket'")
    assert notes(small, "★")[1] == [
        "weak: a sign without a name is in no caption's words; what is shown is what is nearest."
    ]
    small.caption(small.ids[4], "Una rana verde", "es")
    assert notes(small, "a frog 🐸")[1] == ["🐸 is read as 'frog'."]  # English first


def test_pictures_that_came_after_captions_had_vectors(small):
    """A caption with the very words is found before what is only near, and a line says what has no vector."""
    index(small.data, small.encoder, captions=True)
    assert notes(small, "green dog")[1] == []
    (late,) = add(small, ["Zebraquatsch."], start=40)
    ids, said = notes(small, "zebraquatsch")
    assert ids[0] == late
    make = f"panoglot index {small.data.address} --captions"
    assert said == [f"1 picture's captions have no vector yet, so their meaning is not searched: {make}"]
    more = add(small, ["Một con mèo", "هذه قطة"], start=50)
    ids, said = notes(small, "قطة")
    assert ids[0] == more[1]
    assert said == [f"the captions of 3 pictures have no vector yet, so their meaning is not searched: {make}"]
    hits = Searcher(small.data, small.encoder).search("قطة", k=9)
    for hit in hits:
        assert sum(part["score"] for part in hit.parts.values()) == pytest.approx(hit.score, abs=1e-5)
    gallery = Searcher(small.data, small.encoder).gallery
    assert gallery.not_encoded() is gallery.not_encoded()  # counted once for all searches between two commits
    assert len(gallery.not_encoded()) == 3
    index(small.data, small.encoder, captions=True)
    assert not len(gallery.not_encoded())
    assert notes(small, "قطة")[1] == []
    small.caption(add(small, ["x"], start=60)[0], "Landscape format.", "en", "fact")
    assert notes(small, "قطة")[1][0].startswith("1 picture's captions have no vector yet")
