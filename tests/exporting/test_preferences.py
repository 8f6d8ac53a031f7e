"""Pairs of a better and a worse caption, as TRL, LLaMA-Factory and ms-swift read them; what makes none is named."""

import json

import pytest

from panoglot.errors import UserError
from panoglot.exporting import export
from panoglot.table import Caption, Rating, caption_to_row
from tests.exporting.test_writers import load, made

TEXTS = ("قطة سوداء نائمة.", "قطة.", "كلب أبيض.")


@pytest.fixture
def compared(tmp_path):
    """Two pictures: one with three Arabic captions compared, some in both orders; one with one comparison alone."""
    data = made(tmp_path / "a.pano", 2)
    first, second = sorted(data.images.read(["image_id"])["image_id"].to_pylist())
    ids = []
    for image, lang, texts in (
        (first, "ar", TEXTS),
        (second, "sw", ("Paka <image> mweusi.", "Mbwa.")),
        (second, "ja", ("猫。",)),
    ):
        for text in texts:
            one = Caption(text, lang, "dense", recipe="m", image_id=image, run_id="r")
            one.caption_id = f"{len(ids) + 1:032x}"
            ids.append(one.caption_id)
            data.captions.insert([caption_to_row(one)])
    a, b, c, d, e, japanese = ids
    said = [
        (a, b, 1.0, "unit_truth", "x"),
        (b, a, 1.0, "unit_truth", "y"),  # the two raters disagree: held equal
        (a, b, 1.0, "true_units", "x"),
        (c, a, 0.0, "unit_truth", "x"),
        (c, b, 0.5, "unit_truth", "x"),
        (e, d, 0.0, "true_units", "x"),
        (d, japanese, 1.0, "true_units", "x"),
        (a, "f" * 32, 1.0, "true_units", "x"),
    ]
    rows = [
        Rating(item, value, against=other, criterion=criterion, rater=who)
        for item, other, value, criterion, who in said
    ]
    rows += [Rating(a, 4.0, scale="1..5")]  # no comparison
    data.ratings.insert([row.plain() | {"rating_id": f"{n:032x}"} for n, row in enumerate(rows)])
    return data


def test_trl_reads_pictures_and_pairs(compared, tmp_path):
    facts = export(compared, tmp_path / "out", "preferences")
    rows = load("imagefolder", tmp_path, data_dir=str(tmp_path / "out"))
    assert {row["images"][0].size for row in rows} == {(60, 40), (61, 40)}
    found = {(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows}
    assert found == {(TEXTS[0], TEXTS[1]), (TEXTS[0], TEXTS[2]), ("Paka < image > mweusi.", "Mbwa.")}
    assert {row["prompt"][0]["content"] for row in rows} == {
        "Describe this picture in Arabic.",
        "Describe this picture in Swahili.",
    }
    assert {row["chosen"][0]["role"] for row in rows} == {"assistant"}
    assert (facts["images"], facts["captions"], facts["languages"]) == (2, 5, {"ar": 3, "sw": 2})
    said = " ".join(facts["notes"])
    assert "3 pairs of captions" in said
    assert "1 held equal, 1 of two languages, 1 with a caption that is not exported" in said


def test_trl_prepares_them(compared, tmp_path):
    trl = pytest.importorskip("trl.data_utils", reason="the package trl is not installed")
    export(compared, tmp_path / "out", "trl")
    for row in load("imagefolder", tmp_path, data_dir=str(tmp_path / "out")):
        assert trl.is_conversational(row)
        asked = trl.prepare_multimodal_messages(row["prompt"], images=row["images"])
        assert [part["type"] for part in asked[0]["content"]] == ["image", "text"]


def test_one_criterion_alone(compared, tmp_path):
    export(compared, tmp_path / "out", "preferences", option=["criterion=unit_truth"])
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert [(r["chosen"][0]["content"], r["rejected"][0]["content"]) for r in rows] == [(TEXTS[0], TEXTS[2])]
    with pytest.raises(UserError, match=r"nothing was compared by 'truth'; there is: true_units, unit_truth"):
        export(compared, tmp_path / "none", "preferences", option=["criterion=truth"])


def test_llama_factory_and_swift(compared, tmp_path):
    export(compared, tmp_path / "one", "preferences", option=["tool=llamafactory"])
    info = json.loads((tmp_path / "one" / "dataset_info.json").read_text())["panoglot"]
    assert info["ranking"] is True
    assert len(info["tags"]) == 5  # those left out count as none
    rows = load("json", tmp_path, data_files=str(tmp_path / "one" / info["file_name"]))
    assert len(rows) == 3
    for row in rows:
        assert [turn["role"] for turn in row[info["columns"]["messages"]]] == ["user"]
        assert row["messages"][0]["content"].count("<image>") == len(row["images"]) == 1
        assert row["chosen"]["content"] != row["rejected"]["content"]
        assert (tmp_path / "one" / row["images"][0]).is_file()
    export(compared, tmp_path / "two", "preferences", option=["tool=swift"])
    for line in (tmp_path / "two" / "preferences.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
        assert line.count("<image>") == len(row["images"])
        assert row["rejected_response"] not in ("", row["messages"][1]["content"])


def test_without_comparisons_it_says_how_to_make_some(tmp_path):
    data = made(tmp_path / "a.pano", 1)
    with pytest.raises(UserError, match=r"no comparisons of captions.*caption .*a\.pano --method feedback-pairs"):
        export(data, tmp_path / "out", "preferences")
