"""`caption --compare`: methods side by side on a page; the dataset's tables stay as they are."""

import re

import pytest

import panoglot
from panoglot.errors import UserError
from tests.browser import find_browser
from tests.conftest import picture_bytes
from tests.running.toy import calls

WRITER = "python:tests.running.toy:Writer"
FITS = "python:tests.running.toy:Fits"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    (folder / "photos").mkdir()
    for n in range(6):
        (folder / "photos" / f"<b>{n}.jpg").write_bytes(picture_bytes(n))
    return panoglot.ingest(str(folder / "photos"), str(folder / "x.pano")).dataset


def tables(data):
    names = ("images", "captions", "facts", "marks", "rejects", "runs", "documents")
    return {name: len(getattr(data, name)) for name in names} | {
        "work": sorted(p.name for p in (data.path / "work").glob("*")) if (data.path / "work").exists() else []
    }


def test_a_page_and_nothing_in_the_dataset(data, tmp_path):
    log, page = tmp_path / "log", tmp_path / "out.html"
    prices = tmp_path / "prices.yaml"
    prices.write_text('"toy:*": {input: 100, output: 1000}\n')
    first = min(row["image_id"] for row in data.images.rows(["image_id"]))
    before = tables(data)
    options = {
        "method": "describe,evidence",
        "captioner": f"{WRITER}?log={log}&fail={first}",
        "set": ["describe.prompt=<script>alert(1)</script>"],
        "sample": 4,
        "compare": str(page),
        "encoder": FITS,
        "prices": str(prices),
    }
    found = panoglot.caption(data, **options)
    assert tables(data) == before
    assert found.images == sorted(row["image_id"] for row in data.images.rows(["image_id"]))[:4]
    describe, evidence = found.methods
    assert (len(describe.kept), describe.problems) == (3, {first: "refused: told to fail"})
    assert len({one.image_id for one in evidence.kept}) == 4
    assert describe.price == pytest.approx(3 * (10 * 100 + 3 * 1000) / 1e6 / 4 * 1000)
    assert describe.seconds > 0
    assert evidence.scores["clipscore"][0] == pytest.approx(2.5 * 0.5, abs=1e-6)
    assert set(describe.scores) >= {"length", "distinct-n", "self-bleu", "clipscore", "self-retrieval"}
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "told to fail" in html
    assert not re.search(r'(?:src|href)="(?!data:)', html)
    assert found.problem is None

    asked = len(calls(log))
    again = panoglot.caption(data, **options)
    assert len(calls(log)) == asked + 1  # the one that failed
    assert again.methods[0].seconds is None  # the journal answered
    assert again.methods[0].price == pytest.approx(describe.price)  # what its answers cost when they were asked
    assert "the price is what those questions cost before" in page.read_text(encoding="utf-8")
    panoglot.caption(data, captioner=options["captioner"], prompt="<script>alert(1)</script>", limit=4)
    assert len(calls(log)) <= asked + 4  # what the comparison paid for is not paid for again


def test_the_page_reads_in_a_browser(data, tmp_path):
    page = tmp_path / "out.html"
    panoglot.caption(data, captioner=WRITER, lang="de,sw", sample=2, compare=str(page))
    seen = find_browser().look(page)
    assert seen.console == []
    assert "2 methods on the same 2 pictures" in seen.dom
    assert "describe de" in seen.dom
    assert "describe sw" in seen.dom


def test_captioners_stand_side_by_side_and_the_page_names_models_and_options(data, tmp_path):
    page, one, two = tmp_path / "out.html", f"{WRITER}?log={tmp_path / 'log'}", f"{WRITER}?fail=nobody"
    found = panoglot.caption(
        data, captioner=f"{one},{two}", prompt="Eine Frage, {human}?", sample=2, compare=str(page), where="width > 1"
    )
    assert [column.name for column in found.methods] == [f"describe {one}", f"describe {two}"]
    assert [column.models["captioner"] for column in found.methods] == [one, two]
    assert found.methods[0].options["prompt"] == "Eine Frage, {human}?"
    html = page.read_text(encoding="utf-8")
    assert "captioner: " in html
    assert "prompt: Eine Frage, {human}?" in html
    with pytest.raises(UserError, match=r"one captioner writes at a time.* --compare compare\.html"):
        panoglot.caption(data, captioner=f"{one},{two}")
    with pytest.raises(UserError, match=r"'describe' is asked for twice"):
        panoglot.caption(data, method="describe,describe", captioner=one, compare=str(page))


def test_what_cannot_be_compared_is_told(data, tmp_path):
    with pytest.raises(UserError, match="--sample N says how many pictures"):
        panoglot.caption(data, captioner=WRITER, sample=3)
    with pytest.raises(UserError, match="in a folder that is there"):
        panoglot.caption(data, captioner=WRITER, compare=str(tmp_path / "no" / "out.html"))
    with pytest.raises(UserError, match="nothing to compare"):
        panoglot.caption(data, captioner=WRITER, compare=str(tmp_path / "out.html"), where="width > 9999")


def test_a_comparison_of_which_nothing_would_be_kept_ends_with_three(data, tmp_path, capsys):
    from panoglot.cli import main

    page = tmp_path / "out.html"
    refuses = f"{WRITER}?fail={'|'.join('0123456789abcdef')}"
    with pytest.raises(SystemExit) as ended:
        main(["caption", data.address, "--captioner", refuses, "--compare", str(page)])
    assert ended.value.code == 3
    assert "no method wrote a caption that would be kept (refused 6)" in capsys.readouterr().err
    assert page.exists()


def test_the_page_says_in_how_many_steps_a_method_fell_back_and_where(data, tmp_path):
    page, teller = tmp_path / "out.html", "python:tests.captioning.test_end_to_end:Teller"
    found = panoglot.caption(
        data, method="scalecap,describe", captioner=teller, llm=teller, sample=2, compare=str(page)
    )
    scalecap, describe = found.methods
    assert 0 < scalecap.fell_back < 1
    assert "rating 2" in scalecap.fell_where  # its captioner gives no probabilities of a given text
    assert (describe.fell_back, describe.fell_where) == (None, "")
    html = page.read_text(encoding="utf-8")
    assert f"{scalecap.fell_back:.0%}" in html
    assert scalecap.fell_where in html


def test_what_was_measured_is_no_caption_of_a_column(data, tmp_path):
    (evidence,) = panoglot.caption(data, method="evidence", sample=2, compare=str(tmp_path / "out.html")).methods
    assert len(evidence.kept) == 2
    assert {one.kind for some in evidence.texts.values() for one in some} == {"short", "fact"}
    assert "measured" in (tmp_path / "out.html").read_text(encoding="utf-8")
