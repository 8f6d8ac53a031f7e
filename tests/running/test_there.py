"""The same text of the same picture, written again by another step of a method: one row stands, and it is said."""

import pytest

import panoglot
from panoglot.asking import Models
from panoglot.pictures import Image
from panoglot.running import METHODS, method, method_stage, run_stage
from panoglot.table import Caption, Fact, create_dataset


@pytest.fixture
def methods():
    """`says` writes a text, a label of it, a fact and drafts; `echo` writes a caption of every such text."""

    @method(verb="caption")
    async def says(image: Image, m: Models, *, text: str = "एक लाल पक्षी", lang: str = "hi", shade: int = 0) -> list:
        """Says it."""
        draft = Caption(f"draft of {shade}", "en")
        said = Caption(text, lang, parents=(draft,))
        return [said, Caption(text, lang, "label", parents=(said,)), Fact("", "tag", text, 0.5, lang=lang)]

    @method(verb="caption", unit="caption", where="kind = 'short'")
    async def echo(caption: Caption, m: Models, *, shade: int = 0) -> Caption:
        """Says the same of all."""
        return Caption("นกสีแดง", "th")

    @method(verb="caption")
    async def other(image: Image, m: Models) -> Caption:
        """Another method."""
        return Caption("एक लाल पक्षी", "hi")

    yield
    for name in ("says", "echo", "other"):
        METHODS.pop(name)


def rows(data, **what):
    where = " and ".join(f"{key} = '{value}'" for key, value in what.items()) or None
    return data.captions.rows(where=where)


def test_one_row_stands_and_the_second_step_says_so(dataset, run_id, methods):
    count = len(dataset.images)
    first = run_stage(dataset, method_stage("says"), run_id)
    before = sorted(map(str, rows(dataset)))
    facts = len(dataset.facts)
    assert "there" not in first.notes
    assert (len(before), facts) == (3 * count, count)  # text, label, draft
    again = run_stage(dataset, method_stage("says", {"shade": 1}), run_id)  # other work that says the same
    assert (again.done, again.notes["there"], again.notes["there_facts"]) == (count, 2 * count, count)
    assert sorted(map(str, rows(dataset))) == before  # no draft without a child is left either
    assert len(dataset.facts) == facts
    third = run_stage(dataset, method_stage("says", {"shade": 1}), run_id)
    assert (third.done, third.skipped) == (0, count)


def test_another_text_language_or_method_is_another_row(dataset, run_id, methods):
    count = len(dataset.images)
    run_stage(dataset, method_stage("says"), run_id)
    for options in ({"text": "ein roter Vogel", "lang": "de"}, {"lang": "mr"}):
        assert "there" not in run_stage(dataset, method_stage("says", options), run_id).notes
    assert "there" not in run_stage(dataset, method_stage("other"), run_id).notes
    assert dataset.captions.count("dropped is null") == 3 * 2 * count + count


def test_what_is_dropped_is_written_anew(dataset, run_id, methods):
    count = len(dataset.images)
    run_stage(dataset, method_stage("says"), run_id)
    dropped = [{"caption_id": row["caption_id"], "dropped": "too_short"} for row in rows(dataset, kind="short")]
    dataset.captions.change(dropped)
    again = run_stage(dataset, method_stage("says", {"shade": 1}), run_id)
    assert again.notes["there"] == count  # the labels, whose parents are the new texts no more than the old ones
    assert dataset.captions.count("kind = 'short' and dropped is null") == count


def test_captions_of_captions(dataset, run_id, methods):
    """Two texts of a picture give the same caption each: both stay, as one step wrote them; a second step adds none."""
    count = len(dataset.images)
    run_stage(dataset, method_stage("says"), run_id)
    run_stage(dataset, method_stage("says", {"text": "wawili", "lang": "sw"}), run_id)
    run_stage(dataset, method_stage("echo"), run_id)
    before = sorted(map(str, rows(dataset, lang="th")))
    assert len(before) == 2 * count
    again = run_stage(dataset, method_stage("echo", {"shade": 1}), run_id)
    assert (again.done, again.notes["there"]) == (2 * count, 2 * count)
    assert sorted(map(str, rows(dataset, lang="th"))) == before


def test_what_a_person_wrote_stays_beside_a_machines(tmp_path, pictures):
    (pictures / "00.txt").write_text("A picture in black and grey.")
    data = panoglot.ingest(str(pictures), str(tmp_path / "x.pano")).dataset
    assert create_dataset(tmp_path / "x.pano").captions.count("kind = 'human'") == 1
    panoglot.caption(data, method="evidence")
    count = data.captions.count("dropped is null")
    result = panoglot.caption(data, method="evidence", lang="de")
    assert data.captions.count("dropped is null") == count + result.made.captions + result.made.measured
    assert result.problem is None
    assert any("there already, by an earlier step of the same method" in line for line in result.remarks)
    assert data.captions.count("kind = 'fact'") == 12
