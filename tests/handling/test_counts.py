"""What counts as a caption is the same in every command: a kept text that is no measurement. All are compared."""

import json
import re

import pytest

import panoglot
from panoglot.cli import main
from panoglot.exporting import export, writer_names
from panoglot.handling import info
from panoglot.recipes import made_by
from panoglot.reporting import count
from panoglot.retrieval import Searcher, forget
from panoglot.table import Caption, caption_to_row
from panoglot.web import Review
from tests.exporting.test_writers import made
from tests.reporting.library import insert_run


def put(data, key, text, kind, lang="en", recipe="evidence/1", **more):
    one = Caption(text, lang, kind, recipe=recipe, image_id=key, run_id="r", **more)
    one.caption_id = f"{len(data.captions):04x}".ljust(32, "e")
    data.captions.insert([caption_to_row(one)])
    return one.caption_id


def lines(folder):
    """The rows of an export as JSONL."""
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


@pytest.fixture
def data(tmp_path):
    """Eight pictures, 15 captions of people; seven measurements, a draft, a dropped caption and a translation."""
    data = made(tmp_path / "a.pano", 8)
    keys = sorted(data.images.read(["image_id"])["image_id"].to_pylist())
    for key in keys[:7]:
        put(data, key, "Landscape format, 64 × 48 pixels.", "fact")
    put(data, keys[0], "A draft of a disc.", "short", dropped="draft")
    put(data, keys[1], "Disc disc disc disc.", "short", dropped="wrong_language")
    put(data, keys[2], "Eine Scheibe auf Wellen.", "short", "de", "translate/1")
    return data


def printed(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_every_command_counts_the_same_captions(data, tmp_path, capsys):
    """16 captions are kept: 15 and a translation. Seven measurements are named beside them, and are none."""
    address = data.address
    found = info(data)
    assert (found.captions, sum(found.languages.values()), sum(found.kinds.values())) == (16, 16, 16)
    assert (found.measured, sum(found.writers.values())) == (7, 16)
    assert found.captions_dropped == {"draft": 1, "wrong_language": 1}
    told = count(data)
    assert (told.total.kept, told.total.dropped, told.total.drafts) == (16, 1, 1)
    assert (told.kinds["fact"].kept, told.captioned, dict(told.dropped_captions)) == (7, 8, found.captions_dropped)
    assert repr(data).endswith("8 images, 16 captions)")
    page = Review(Searcher(data)).overview()
    assert (page["captions"]["kept"], page["captions"]["dropped"], page["captioned"]) == (16, 1, 8)
    said = printed(capsys, "info", address)
    assert "16 captions in" in said
    assert "beside the captions: 7 measurements" in said
    for to in sorted(set(writer_names()) - {"sidecars", "preferences"}):
        facts = export(data, tmp_path / f"x-{to}", to=to)
        left = sum(
            int(n)
            for note in facts.get("notes", ())
            for n in re.findall(r"(?:human|short) (\d+)", note)
            if "room" in note
        )
        assert (to, facts["captions"] + left) == (to, 16)
        assert facts["captions"] == sum(facts["languages"].values())
    card = (tmp_path / "x-webdataset" / "README.md").read_text()
    assert "16 captions" in card
    assert "7 measurements" in card
    said = printed(capsys, "export", address, tmp_path / "y", "--to", "jsonl")
    assert "8 images, 16 captions as jsonl" in said
    assert "Beside them: 7 measurements" in said
    parted = panoglot.subset(data, output=str(tmp_path / "s.pano"))
    assert (parted.captions, parted.dropped, parted.measured, sum(parted.languages.values())) == (16, 0, 7, 16)
    joined = panoglot.merge(data, str(tmp_path / "s.pano"), output=str(tmp_path / "m.pano"))
    assert (joined.captions, joined.dropped, joined.measured, sum(joined.languages.values())) == (16, 2, 7, 16)
    assert info(tmp_path / "m.pano").captions == 16
    result = panoglot.curate(data, steps="size")
    assert (result.captions, result.captions_kept, result.measured) == (18, 16, 7)
    assert dict(result.by_methods) == {"draft": 1, "wrong_language": 1}
    assert "16 of 18 captions kept\n  beside them 7 measurements" in printed(
        capsys, "curate", address, "--steps", "size"
    )
    mine = made_by(data, "r")
    assert (mine.kept.total(), mine.dropped.total(), mine.drafts, mine.measured) == (16, 1, 1, 7)
    keys = data.images.read(["image_id"])["image_id"].to_pylist()
    gone = forget(data, *keys, dry_run=True)
    assert (gone.images, gone.captions, gone.dry_run) == (8, 18, True)
    assert "8 pictures and 18 captions would be forgotten. Nothing was done." in printed(
        capsys, "forget", address, *keys, "--dry-run"
    )
    assert forget(data, keys[0]).captions == 18 - sum(one.captions for one in [forget(data, *keys[1:])])
    assert info(data).forgotten == 8
    assert not info(data).images_dropped


def test_captions_of_dropped_pictures_are_named(data, tmp_path, capsys):
    keys = sorted(data.images.read(["image_id"])["image_id"].to_pylist())
    data.marks.upsert([{"image_id": keys[2], "scores": {}, "dropped": "too_small"}])
    found = info(data)
    assert (found.captions, found.captions_of_dropped) == (16, 3)
    assert export(data, tmp_path / "x", to="jsonl")["captions"] == 13
    assert panoglot.subset(data, output=str(tmp_path / "s.pano")).captions == 13
    assert "of the captions 3 are of dropped images" in printed(capsys, "info", data.address)


def test_a_picture_that_was_only_measured_has_no_caption(data, tmp_path):
    key = sorted(data.images.read(["image_id"])["image_id"].to_pylist())[0]
    data.captions.delete(f"image_id = '{key}' and kind <> 'fact'")
    assert export(data, tmp_path / "x", to="jsonl", captioned_only=True)["images"] == 7
    assert count(data).captioned == 7


def test_a_run_that_only_measures_wrote_something(data):
    made = made_by(data, "r")
    assert "Measured: 7 pictures (kind fact)" in made.lines()
    assert not any("fact" in line for line in made.lines() if line.startswith("Written"))


# -- a machine's translation is a machine's ----------------------------------------------------------------------------


def test_old_translations_are_counted_as_a_machines_and_are_mended_by_the_next_run(data, tmp_path, capsys):
    """Older versions stored the kind of what was translated: `human`."""
    old = data.captions.rows(["caption_id"], "recipe = 'translate/1'")
    data.captions.change([{**row, "kind": "human"} for row in old])
    assert info(data).kinds == {"human": 15, "short": 1}
    assert count(data).kinds["human"].kept == 15
    facts = export(data, tmp_path / "x", to="jsonl")
    rows = [caption for row in lines(tmp_path / "x") for caption in row["captions"]]
    assert facts["captions"] == 16
    assert [c["kind"] for c in rows if c["recipe"] == "translate/1"] == ["short"]
    assert panoglot.mix(data, policy="human=1").used == {"human": 8}
    assert data.captions.rows(["kind"], "recipe = 'translate/1'") == [{"kind": "short"}]
    data.captions.change([{**row, "kind": "alt"} for row in old])
    result = panoglot.caption(data, method="label", limit=1)
    assert result.mended == 1
    assert "1 translation of an older Panoglot was stored as human or alt: it is short now" in result.remarks
    assert panoglot.caption(data, method="label", limit=1).mended == 0


def test_who_wrote_in_a_language_comes_before_a_machine_that_translated_into_it(data, tmp_path):
    key = sorted(data.images.read(["image_id"])["image_id"].to_pylist())[2]
    put(data, key, "Hier liegt eine Scheibe auf Wellen.", "human", "de", "human")
    export(data, tmp_path / "x", to="jsonl", lang="de")
    rows = lines(tmp_path / "x")
    assert [row["caption"] for row in rows if row["caption"]] == ["Hier liegt eine Scheibe auf Wellen."]


def test_a_run_that_was_killed_is_told_as_stopped(data):
    insert_run(data, 0, [], {}, "done")
    insert_run(data, 1, [], {}, "running", seconds=None)
    assert panoglot.info(data).runs == {"done": 1, "stopped": 1}
