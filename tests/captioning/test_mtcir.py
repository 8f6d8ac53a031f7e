"""MTCIR (CoLLM): pairs of alike pictures, captions of both, short texts of the change, a filter; and training on it."""

import io
from collections import Counter

import numpy as np
import PIL.Image
import pytest

import panoglot
from panoglot.captioning import mtcir
from panoglot.captioning.mtcir import changes, kept_changes
from panoglot.errors import RowError, UserError
from panoglot.running import Group, method
from panoglot.table import Caption, Triple, caption_to_row, create_dataset, image_id
from tests.captioning.scripted import Says, picture, run

SHAPES, COLOURS, PLACES = ("circle", "square"), ("red", "green"), ("left", "right")
THINGS = [(shape, colour, place) for shape in SHAPES for colour in COLOURS for place in PLACES]


def said(thing):
    return f"a {thing[1]} {thing[0]} at the {thing[2]}"


@pytest.fixture
def scenes(tmp_path):
    """Eight captioned pictures whose vectors are one-hot attributes: one that differs in one has a cosine of 2/3."""
    data, names = create_dataset(tmp_path / "x.pano"), {}
    rows, captions, vectors = [], [], []
    for n, thing in enumerate(THINGS):
        buffer = io.BytesIO()
        shade = tuple(200 if one in thing else 40 for one in ("red", "green", "left"))
        PIL.Image.new("RGB", (32, 32), (*shade[:2], shade[2] + n)).save(buffer, "PNG")
        raw = buffer.getvalue()
        key = names[thing] = image_id(raw)
        row = {"image_id": key, "data": raw, "uri": f"{n}.png", "width": 32, "height": 32, "format": "png"}
        rows.append(row)
        captions.append(Caption(said(thing), "en", "human", recipe="human", image_id=key, caption_id=f"c{n}"))
        captions.append(Caption(f"{thing[0]} {n}", "sw", "alt", recipe="web", image_id=key, caption_id=f"s{n}"))
        hot = [float(value in thing) for kind in (SHAPES, COLOURS, PLACES) for value in kind]
        vectors.append({"vector_id": f"v{n}", "id": key, "of": "image", "lang": "", "run_id": "r",
                        "vector": np.array(hot, np.float16) / 3**0.5})  # fmt: skip
    data.images.insert(rows)
    data.captions.insert([caption_to_row(one) for one in captions])
    data.vectors("toy", 6).insert(vectors)
    return data, {key: thing for thing, key in names.items()}


def differing(one, other):
    return [n for n in range(3) if one[n] != other[n]]


def asks(prompt):
    """What a model lists for A and B: two ways to say what differs, and two lines that are no change."""
    have, want = (line.partition(": ")[2].split() for line in prompt.text.splitlines() if line[:3] in ("A: ", "B: "))
    new = next(word for word in want if word not in have)
    return f"1. make it {new}\n2. I would rather have {new}\n- {' '.join(want)}\n- as in the target image, {new}\n"


@pytest.mark.paper(
    "collm", shows="V",
    case="MTCIR: pairs in a band of likeness, captions of both, short texts of the change, filtered; drawn and joined",
)  # fmt: skip
def test_queries_are_made_of_captioned_pictures_and_train(scenes, tmp_path):
    data, things = scenes
    who = "python:tests.captioning.test_mtcir:Asked"
    done = panoglot.caption(data.path, method="mtcir", llm=who, set=["near=3", "low=0.5"], quiet=True)
    rows = data.triples.read(None).to_pylist()
    # a: every picture has three that differ in one attribute; (b, c): two texts of each; (d): what is none is left out
    assert len(rows) == 8 * 3 * 2
    pairs = Counter((row["image_id"], *row["positives"]) for row in rows)
    assert set(pairs.values()) == {2}
    assert all(len(differing(things[one], things[other])) == 1 for one, other in pairs)
    first = rows[0]
    wanted = things[first["positives"][0]][differing(things[first["image_id"]], things[first["positives"][0]])[0]]
    assert first["text"] in (f"make it {wanted}", f"I would rather have {wanted}")
    assert (first["recipe"], first["lang"], first["of"], first["kind"]) == ("mtcir/1", "en", "images", "change")
    assert first["model"] == "says"
    assert first["run_id"] == done.run_id
    assert done.made.triples == {"en": 48}
    notes = {name: count for stage in done.stages for name, count in stage.notes.items() if name.startswith("change_")}
    assert notes == {"change_restates": 24, "change_points_at_pictures": 24}
    again = panoglot.caption(data.path, method="mtcir", llm=who, set=["near=3", "low=0.5"], quiet=True)
    assert (again.made.triples, data.triples.count()) == ({}, 48)
    # the trainer's side: a pair is one record with its texts, of which one or both are drawn
    pytest.importorskip("torch")
    from panoglot.networks.samplers import Composed
    from panoglot.training import read_records

    reading = read_records(data, takes=("triple",))
    records = [one for one in [*reading.train, *reading.held_out] if one.loader == "triples"]
    assert [len(one.texts) for one in records] == [2] * 24
    texts = {Composed(joined=5)(records[0], 0, epoch).texts[0].text for epoch in range(12)}
    assert len(texts) in (3, 4)  # either, or both in an order
    one, two = (text.text for text in records[0].texts)
    assert texts <= {one, two, f"{one} {two}", f"{two} {one}"}
    trained = panoglot.train(
        "sprc", data.path, output=tmp_path / "run", preset="small", batch=8, epochs=1, held_out=0.0, quiet=True
    )
    assert trained.steps == 3


class Asked(Says):
    """`asks` as a model that a name finds."""

    def __init__(self):
        super().__init__(asks)
        self.fingerprint = "asked-1"


def test_without_a_model_by_rule_and_in_other_languages(scenes):
    data, things = scenes
    panoglot.caption(data.path, method="mtcir", set=["llm=", "near=1", "low=0.5"], quiet=True)
    rows = data.triples.read(None).to_pylist()
    assert len(rows) == 8
    for row in rows:
        have, want = things[row["image_id"]], things[row["positives"][0]]
        (n,) = differing(have, want)
        assert (row["text"], row["model"]) == (f"{want[n]} instead of {have[n]}", "")
    assert changes("ein roter Kreis links", "ein blauer Kreis links", "de") == ["blauer statt roter"]
    assert changes("دائرة حمراء في الأعلى", "دائرة زرقاء في الأعلى", "ar") == ["زرقاء بدلاً من حمراء"]
    assert changes("एक लाल गोला", "एक नीला गोला", "hi") == ["लाल के बजाय नीला"]
    assert changes("赤い円がある", "青い円がある", "ja") == ["赤ではなく青"]
    assert changes("วงกลมสีแดง", "วงกลมสีฟ้า", "th") == ["มีวงกลมสีฟ้า", "ไม่มีวงกลมสีแดง"]
    assert changes("duara nyekundu", "duara nyekundu kubwa", "sw") == ["pamoja na kubwa"]
    assert changes("en röd cirkel", "en blå cirkel", "sv") == ["blå"]  # no form of the language: what is wanted
    assert changes("a dog, a ball", "a dog", "en") == ["without a ball"]
    assert changes("the same", "The same.", "en") == []
    assert changes("a b c d", "e f c d", "en", most=1) == ["e f instead of a b"]
    assert kept_changes(["x " * 30], "a caption of four", 20, 0.8) == ([], Counter({"too_long": 1}))


def pair(have, want):
    return Group(
        "a>b", tuple(picture(captions=[Caption(text, tag, "human") for tag, text in one]) for one in (have, want))
    )


def asked(have, want, **options):
    models = options.pop("models", {})
    return run(mtcir, pair(have, want), models, **{"llm": "", **options})


def test_whose_captions_are_read():
    red, blue = (
        [("de", "ein roter Kreis"), ("en", "a red circle")],
        [("de", "ein blauer Kreis"), ("en", "a blue circle")],
    )
    found = asked(red, blue)
    assert [(one.text, one.lang) for one in found if isinstance(one, Triple)] == [("blue instead of red", "en")]
    assert asked(red, blue, lang="de")[0].text == "blauer statt roter"
    with pytest.raises(RowError, match="no kept caption"):
        asked([], blue)
    with pytest.raises(RowError, match="no language that both have captions in: sw"):
        asked(red, blue, lang="sw")
    with pytest.raises(RowError, match="the captions say the same"):
        asked(red, red)
    with pytest.raises(RowError, match="nothing is left that is a change: restates 1"):
        asked(red, blue, llm="llm", models={"llm": Says(lambda prompt: "a blue circle")})
    # a captioner describes both, whatever is stored
    seen = []

    def sees(prompt):
        seen.append(prompt)
        return "one cat asleep" if len(seen) == 1 else "one cat awake"

    found = asked([], [], captioner="eyes", models={"eyes": Says(sees)})
    assert found[0].text == "awake instead of asleep"


def test_no_pairs_says_why(scenes, tmp_path):
    data, _ = scenes
    with pytest.raises(
        UserError,
        match=r"no two pictures have a cosine of .* by 'toy'.* 0\.67 to 0\.67.*--set low=0\.66 --set high=0\.67",
    ):
        panoglot.caption(data.path, method="mtcir", set=["llm=", "low=0.7", "high=0.9"], quiet=True)
    with pytest.raises(UserError, match=r"has no 'other': panoglot build"):
        panoglot.caption(data.path, method="mtcir", set=["llm=", "vectors=other"], quiet=True)
    with pytest.raises(UserError, match=r"asks for a model 'llm'.*; without one: --set llm="):
        panoglot.caption(data.path, method="mtcir", quiet=True)
    with pytest.raises(UserError, match="pairs= lists the pairs"):
        method(verb="caption", unit="pair", name="no-pairs")(mtcir)


def test_only_some_references_and_what_is_forgotten(scenes):
    data, things = scenes
    panoglot.caption(data.path, method="mtcir", set=["llm=", "near=3", "low=0.5"], where="width>100", quiet=True)
    assert not data.triples.exists() or not data.triples.count()
    panoglot.caption(data.path, method="mtcir", set=["llm=", "near=3", "low=0.5"], quiet=True)
    assert data.triples.count() == 24
    gone = next(iter(things))
    panoglot.forget(data.path, gone)
    left = data.triples.read(None).to_pylist()
    assert len(left) == 18
    assert all(gone not in (row["image_id"], *row["positives"]) for row in left)
