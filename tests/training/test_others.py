"""Documents, triples and ratings of a dataset: read, trained from, and missed by name before anything is loaded."""

import subprocess
import sys

import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.geometry import Box3, Region
from panoglot.networks import load_row
from panoglot.table import Document, DocumentPart, Rating, Triple, caption_to_row, create_dataset
from panoglot.training import check, read_records
from tests.training.test_commands import make
from tests.training.test_dataset import caption, put

ASKED = {"lang": [], "kinds": [], "sources": [], "held_out": 0.0, "teacher": None}


@pytest.fixture
def data(tmp_path):
    return create_dataset(tmp_path / "x.pano")


def test_documents(data):
    a, b, c = put(data, range(3))
    data.marks.upsert([{"image_id": c, "scores": {}, "dropped": "too_small", "run_id": ""}])
    parts = {
        "page": [DocumentPart("Two birds:"), DocumentPart(image_id=a), DocumentPart("a gull"), DocumentPart(image_id=b),
                 DocumentPart("a tit"), DocumentPart("in winter")],
        "talk": [DocumentPart(image_id=b, region=Region(0, 0, 0.5, 1), role="user"), DocumentPart("what?", role="user"),
                 DocumentPart("a tit", role="assistant", learn=True)],
        "gone": [DocumentPart(image_id=c), DocumentPart("x", learn=True)],
        "empty": [DocumentPart(image_id=a)],
    }  # fmt: skip
    data.documents.insert(
        [Document(p, "en", document_id=k, split="val" * (k == "talk")).plain() for k, p in parts.items()]
    )
    data.documents.insert([Document(parts["page"], "en", document_id="no", dropped="spam").plain()])
    found = read_records(data, takes=("document",))
    page, talk = found.records
    assert (page.id, page.sentences) == ("page", ["Two birds:", "a gull", "a tit", "in winter"])
    assert [(s, i) for s, i, _ in page.match] == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert [p.id for p in page.images] == [a, b]
    assert [(t.text, t.picture, t.learn, t.role) for t in talk.turns] == [
        ("", 0, False, "user"), ("what?", None, False, "user"), ("a tit", None, True, "assistant")
    ]  # fmt: skip
    assert talk.turns[0].region.box == (0, 0, 0.5, 1)
    assert (talk.split, [p.id for p in talk.pictures]) == ("val", [b])
    assert found.left_out == {"dropped": 1, "document: of_dropped_picture": 1, "document: no_text": 1}
    assert read_records(data, takes=("document",)).fingerprint == found.fingerprint
    assert len(read_records(data, takes=("document",), lang=["en"]).records) == 2
    with pytest.raises(UserError, match="has no documents to train on"):
        read_records(data, takes=("document",), lang=["de"])


def test_triples(data):
    a, b, c = put(data, range(3))
    data.captions.insert([caption_to_row(caption(f"p{n}", a, f"passage {n}")) for n in range(3)])
    page = [DocumentPart("a page"), DocumentPart("of text")]
    data.documents.insert([Document(page, "en", document_id="d").plain()])
    triples = [
        Triple("which?", positives=["p1"], negatives=["p0", "p2", "lost"], of="captions", lang="en", triple_id="t1"),
        Triple("what?", positives=["d"], negatives=[], of="documents", lang="de", triple_id="t2"),
        Triple("the same at night", image_id=a, positives=[b], negatives=[c], triple_id="t3"),
        Triple("nothing answers it", positives=["lost"], of="captions", triple_id="t4"),
        Triple(positives=["p1"], of="captions", triple_id="t5"),
    ]
    data.triples.insert([one.plain() for one in triples])
    found = read_records(data, takes=("triple",))
    first, second, third = found.records
    assert [(t.text, t.kind, t.score) for t in first.texts] == [
        ("which?", "question", None), ("passage 1", "answer", 1), ("passage 0", "answer", 0), ("passage 2", "answer", 0)
    ]  # fmt: skip
    assert [(t.text, t.lang, t.score) for t in second.texts] == [("what?", "de", None), ("a page of text", "en", 1)]
    assert (third.image.id, [p.id for p in third.pictures]) == (a, [b, c])
    want = {"triple: passage_is_gone": 2, "triple: no_answer": 1, "triple: no_query": 1}
    assert found.left_out == want


def test_ratings(data):
    (a,) = put(data, range(1))
    data.captions.insert([caption_to_row(caption(f"c{n}", a, f"text {n}")) for n in range(4)])
    rows = [Rating("c0", 1, rater="x"), Rating("c0", 4, rater="y"), Rating("c1", 5, rater="x")]
    rows += [Rating("c2", 1, criterion="style", rater="x"), Rating("c3", 1, against="c0", rater="x")]
    for n, row in enumerate(rows):
        row.rating_id = str(n)
    data.ratings.insert([row.plain() for row in rows])
    found = read_records(data, takes=("caption", "rating"))
    assert [t.score for t in found.records[0].texts] == [2.5, 5.0, None, None]
    assert found.left_out["rating: of another criterion or scale"] == 1
    assert [t.score for t in read_records(data).records[0].texts] == [None] * 4  # only who reads ratings gets them


def test_comparisons(data):
    (a,) = put(data, range(1))
    data.captions.insert([caption_to_row(caption(f"c{n}", a, f"text {n}")) for n in range(3)])
    rows = [Rating("c0", 1, against="c1"), Rating("c0", 0.5, against="c2"), Rating("c1", 0, against="c2")]
    for n, row in enumerate(rows):
        row.rating_id = str(n)
    data.ratings.insert([row.plain() for row in rows])
    found = read_records(data, takes=("caption", "rating"))
    assert [t.score for t in found.records[0].texts] == [0.75, 0.0, 0.75]  # (1 + .5)/2, 0, (.5 + 1)/2


def test_regions_come_with_masks_points_and_boxes_in_a_room(data):
    (a,) = put(data, range(1))
    region = Region(0, 0, 0.5, 1, mask="132", points=((0.2, 0.3, True),), box3=Box3(1, 2, 3, 4, 5, 6))
    data.captions.insert([caption_to_row(caption("1", a, "a nose", kind="region", region=region))])
    (found,) = read_records(data).records[0].regions
    assert (found.mask, tuple(found.points), found.box3) == ("132", ((0.2, 0.3, True),), (1, 2, 3, 4, 5, 6))


def test_check_says_what_is_missing(data):
    a, b = put(data, range(2))
    data.captions.insert([caption_to_row(caption(str(n), i, f"text {n}")) for n, i in enumerate((a, b))])
    said = check(data, load_row("grain", "small"), ASKED)
    assert said.losses == {"contrast": 2, "box": 0, "regions": 0}
    assert said.missing[0] == "2 items cannot fill a batch of 64: --batch 1, or more data"
    assert said.missing[1].startswith("the sampler finds no captions by a machine: panoglot build")
    assert [m.partition(" learns")[0] for m in said.missing[2:]] == ["the loss 'box'", "the loss 'regions'"]
    assert "captions of regions (boxes)" in said.missing[2]
    assert "picture:" not in said.missing[2]  # pictures are there
    assert said.fallbacks == {"all": 1}  # of two tosses one was for a machine's caption
    said = check(data, load_row("compress-align", "small"), ASKED)
    assert any("the table `ratings`" in m for m in said.missing)
    said = check(data, load_row("colbert-xm", "small"), ASKED)
    assert any("the table `triples`" in m for m in said.missing)
    said = check(data, load_row("cosmo", "small", batch=2), ASKED)  # pairs alone: each loader is told
    assert {name: n for name, n in said.items.items() if name != "all"} == {
        "of pair": 2, "of pair_video": 0, "of interleaved": 0, "of interleaved_video": 0,
    }  # fmt: skip
    said = check(data, load_row("dc-clip", "small", batch=2), ASKED)
    assert [m for m in said.missing if "--teacher" in m]
    assert check(data, load_row("dc-clip", "small", batch=2), {**ASKED, "teacher": "embedded:conse"}).ready
    assert check(data, load_row("clip", "small", batch=2), ASKED).ready
    ready = check(data, load_row("clip", "small", batch=2), ASKED).yaml()
    assert ready.splitlines()[-1] == "missing: nothing"


def test_the_check_needs_no_torch(tmp_path):
    make(tmp_path / "x.pano", n=12)
    code = "import sys; sys.modules['torch'] = None; from panoglot.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "train", "clip", str(tmp_path / "x.pano"), "--preset", "small", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "losses:\n  contrast: 11" in done.stdout or "losses:\n  contrast: 12" in done.stdout, done.stderr
    assert "cannot fill a batch of 64" in done.stdout


def test_rows_of_triples_documents_and_ratings_train(tmp_path):
    pytest.importorskip("torch")
    data = make(tmp_path / "x.pano", n=24)
    captions = data.captions.read(["caption_id", "image_id"], "lang = 'en' and kind = 'human'").to_pylist()
    ids = [row["caption_id"] for row in captions]
    triples = [
        Triple(f"query {n}", "", [i], [ids[n - 1]], "captions", "en", triple_id=str(n)) for n, i in enumerate(ids)
    ]
    data.triples.insert([one.plain() for one in triples])
    for n, row in enumerate(captions):
        parts = [DocumentPart(image_id=row["image_id"]), DocumentPart(f"text {n}")]
        data.documents.insert([Document(parts, "en", document_id=str(n)).plain()])
    every = data.captions.read(["caption_id"])["caption_id"].to_pylist()
    data.ratings.insert([{**Rating(i, n % 2).plain(), "rating_id": str(n)} for n, i in enumerate(every)])
    for method in ("colbert-xm", "cosmo", "compress-align"):
        said = panoglot.train(method, data.path, preset="small", batch=4, check=True)
        assert said.ready, (method, said.missing)
        done = panoglot.train(
            method, data.path, preset="small", batch=4, epochs=1, output=tmp_path / method, quiet=True, encode=False
        )
        assert done.steps == done.total > 0


def lines(data, method, **more):
    return check(data, load_row(method, "small", batch=2, **more), ASKED)


def test_rows_that_are_there_and_of_no_use_are_said(data):
    """Boxes outside, no negative, one value, no picture: a line each that says what is the matter and what mends it."""
    ids = put(data, range(4))
    data.captions.insert(
        [caption_to_row(caption(f"c{n}{k}", i, f"text {n} {k}")) for n, i in enumerate(ids) for k in "ab"]
    )
    outside = Region(1.2, 1.2, 0.3, 0.3)
    rows = [caption(f"r{n}", i, "a nose", kind="region", region=outside) for n, i in enumerate(ids)]
    data.captions.insert([caption_to_row(row) for row in rows])
    said = lines(data, "grain")
    assert said.left_out["region: outside_the_picture"] == 4
    (box,) = [m for m in said.missing if "'box'" in m]
    assert "learns from nothing here: 4 captions of regions lie outside of their pictures: write boxes as" in box
    data.triples.insert(
        [Triple("q", positives=[f"c{n}a"], of="captions", lang="en", triple_id=str(n)).plain() for n in range(4)]
    )
    (triple,) = lines(data, "colbert-xm").missing
    assert "4 triples name nothing that does not answer: give them negatives: Triple(…, negatives=[ID])" in triple
    rated = [{**Rating(f"c{n}{k}", 3).plain(), "rating_id": f"{n}{k}"} for n in range(4) for k in "ab"]
    data.ratings.insert(rated)
    (rating,) = lines(data, "compress-align").missing
    assert "4 pictures have rated captions, all of one value: rate two captions of a picture" in rating
    assert not lines(data, "clip").left_out.get("rating: one_value_a_picture")  # who does not read ratings is not told
    data.documents.insert([Document([DocumentPart("only text")], "en", document_id=str(n)).plain() for n in range(3)])
    (document,) = lines(data, "cosmo").missing
    assert document.startswith("3 documents show no picture: give them parts with pictures: DocumentPart(image_id=ID)")
    data.documents.insert([Document([DocumentPart(image_id=ids[0]), DocumentPart("x")], "en", document_id="4").plain()])
    said = lines(data, "cosmo")
    assert (said.missing, said.left_out["document: without_pictures"]) == ([], 3)


def test_what_a_row_of_two_languages_trains_on_is_said(data):
    ids = put(data, range(4))
    for lang, text in (("zh-Hans", "一只猫"), ("en", "a cat"), ("sw", "paka"), ("ar", "قطة")):
        data.captions.insert([caption_to_row(caption(f"{lang}{n}", i, text, lang=lang)) for n, i in enumerate(ids)])
    asked = {"sampler": {"kind": "each"}}
    (line,) = lines(data, "m2-encoder", **asked, languages={"weights": {"zh": 1, "en": 1}}).languages
    assert line == "trains on en (4), zh-Hans (4); left out, for they have no weight: ar (4), sw (4)"
    (line,) = lines(data, "m2-encoder", **asked).languages
    assert line == (
        "trains on ar (4), en (4), sw (4), zh-Hans (4); m2-encoder is of zh, en: "
        "--set 'languages={weights: {zh: 1, en: 1}}' takes these alone"
    )
    assert lines(data, "clip").languages == []


def test_languages_that_do_not_meet_are_said(data):
    ids = put(data, range(4))
    data.captions.insert([caption_to_row(caption(f"c{n}", i, f"text {n}", lang="sw")) for n, i in enumerate(ids)])
    (line,) = lines(data, "florenz", sampler={"cells": {"caption": ["de", "zh"]}}).missing
    assert line == (
        "it takes captions in de, zh, and they are in sw: panoglot translate X.pano --to de,zh, or "
        "--set 'sampler.cells.caption=[sw]'"
    )
    (line,) = lines(data, "clip", languages={"weights": {"zh": 1, "en": 1}}).missing
    assert "it takes captions in en, zh, and they are in sw" in line
    assert "--set 'languages.weights={sw: 1}'" in line
    data.captions.insert([caption_to_row(caption("z", ids[0], "一只猫", lang="zh-Hans"))])
    assert not [m for m in lines(data, "clip", languages={"weights": {"zh": 1, "en": 1}}).missing if "they are in" in m]
