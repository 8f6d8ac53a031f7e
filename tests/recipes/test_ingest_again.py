"""The same source again, changed in between: what is new, replaced, moved, mended; and what a run says at its end."""

import json
import os
import shutil
import subprocess
import sys

import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.ingestion import is_gone
from panoglot.table import Caption, caption_to_row, create_dataset, given_caption_id
from tests.conftest import picture_bytes
from tests.formats.samples import write_tar

WRITER = "python:tests.running.toy:Writer"


def kept(data):
    """(file, language, text) of the kept captions of kept pictures."""
    gone = {row["image_id"] for row in data.marks.rows(["image_id"], "dropped is not null")}
    names = {row["image_id"]: row["uri"].rpartition("/")[2] for row in data.images.rows(["image_id", "uri"])}
    rows = data.captions.rows(["image_id", "lang", "text"], "dropped is null")
    return sorted((names[r["image_id"]], r["lang"], r["text"]) for r in rows if r["image_id"] not in gone)


def rejects(data):
    return sorted((r["item"].rpartition("/")[2], r["reason"]) for r in data.rejects.rows(where="resolved is null"))


def touch(path, text):
    """Write a file so that its time differs, whatever the file system's clock."""
    then = os.stat(path).st_mtime_ns if path.exists() else 0
    path.write_text(text, encoding="utf-8") if isinstance(text, str) else path.write_bytes(text)
    os.utime(path, ns=(then + 10**9, then + 10**9))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    for n, text in enumerate(["نحلة على زهرة", "मधुमक्खी फूल पर", "ผึ้งบนดอกไม้"]):
        (root / f"{n}.jpg").write_bytes(picture_bytes(n))
        (root / f"{n}.{('ar', 'hi', 'th')[n]}.txt").write_text(text, encoding="utf-8")
    return root


def ingest(source, tmp_path, **options):
    return panoglot.ingest(str(source), str(tmp_path / "x.pano"), quiet=True, **options)


# -- texts -------------------------------------------------------------------------------------------------------------


def test_a_corrected_text_replaces_the_old_one_and_comes_back(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    touch(folder / "1.hi.txt", "मधुमक्खी पीले फूल पर")
    result = ingest(folder, tmp_path)
    assert [t for _, lang, t in kept(data) if lang == "hi"] == ["मधुमक्खी पीले फूल पर"]
    assert len(kept(data)) == 3
    (old,) = data.captions.rows(where="dropped is not null")
    assert (old["text"], old["dropped"]) == ("मधुमक्खी फूल पर", "superseded")
    assert result.stages[0].notes["superseded_captions"] == 1
    touch(folder / "1.hi.txt", "मधुमक्खी फूल पर")  # the correction is taken back
    ingest(folder, tmp_path)
    assert [t for _, lang, t in kept(data) if lang == "hi"] == ["मधुमक्खी फूल पर"]
    assert len(data.captions) == 4


def test_a_text_that_is_removed_or_added(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    (folder / "0.ar.txt").unlink()
    (folder / "0.sw.txt").write_text("Nyuki juu ya ua")
    ingest(folder, tmp_path)
    assert [(lang, t) for name, lang, t in kept(data) if name == "0.jpg"] == [("sw", "Nyuki juu ya ua")]


def test_a_language_that_is_given_later_replaces_what_was_identified(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.jpg").write_bytes(picture_bytes(0))
    (tmp_path / "photos" / "0.txt").write_text("Bus")
    data = ingest(tmp_path / "photos", tmp_path).dataset
    ingest(tmp_path / "photos", tmp_path, option={"lang": "sw"})
    assert kept(data) == [("0.jpg", "sw", "Bus")]


def test_what_was_made_of_a_text_goes_and_comes_with_it(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    (row,) = data.captions.rows(where="lang = 'th'")
    made = []
    for text, parents in (("A bee on a flower", [row["caption_id"]]), ("Fused", [row["caption_id"], "0" * 32])):
        caption = Caption(text, "en", "human", parents=parents, image_id=row["image_id"], recipe="translate/1")
        caption.caption_id = given_caption_id(row["image_id"], "translate/1", "en", None, text)
        made.append(caption_to_row(caption))
    data.captions.insert(made)
    touch(folder / "2.th.txt", "ผึ้งบนดอกไม้สีเหลือง")
    ingest(folder, tmp_path)
    assert {t for name, _, t in kept(data) if name == "2.jpg"} == {"ผึ้งบนดอกไม้สีเหลือง", "Fused"}
    touch(folder / "2.th.txt", "ผึ้งบนดอกไม้")
    ingest(folder, tmp_path)
    assert {t for name, _, t in kept(data) if name == "2.jpg"} == {"ผึ้งบนดอกไม้", "Fused", "A bee on a flower"}


def test_a_text_that_another_place_gives_stays(folder, tmp_path):
    (folder / "twin.jpg").write_bytes((folder / "0.jpg").read_bytes())
    (folder / "twin.ar.txt").write_text("نحلة على زهرة", encoding="utf-8")
    data = ingest(folder, tmp_path).dataset
    assert [row["dropped"] for row in data.captions.rows()] == [None] * 3
    touch(folder / "twin.ar.txt", "نحلة")
    ingest(folder, tmp_path)
    assert sorted(t for _, lang, t in kept(data) if lang == "ar") == ["نحلة", "نحلة على زهرة"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "tar"])
def test_a_corrected_row_or_member_replaces_the_old_one(tmp_path, kind):
    source = tmp_path / f"rows.{kind}"

    def write(texts):
        for n in range(2):
            (tmp_path / f"{n}.jpg").write_bytes(picture_bytes(n))
        if kind == "tar":
            members = [(f"{n}.jpg", picture_bytes(n)) for n in range(2)]
            write_tar(source, members + [(f"{n}.txt", text.encode()) for n, text in enumerate(texts)])
        elif kind == "csv":
            source.write_text("image,caption_ja\n" + "".join(f"{n}.jpg,{t}\n" for n, t in enumerate(texts)), "utf-8")
        else:
            rows = [{"image": f"{n}.jpg", "caption_ja": t} for n, t in enumerate(texts)]
            source.write_text("\n".join(json.dumps(row) for row in rows))
        os.utime(source, ns=(len(texts[0]) * 10**9,) * 2)

    write(["赤いバス", "青い空"])
    data = ingest(source, tmp_path, option={"lang": "ja"}).dataset
    write(["赤い二階建てバス", "青い空"])
    ingest(source, tmp_path, option={"lang": "ja"})
    assert sorted(t for _, _, t in kept(data)) == ["赤い二階建てバス", "青い空"]
    assert len(data.captions) == 3


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_an_edited_picture_takes_the_place_of_the_old_one(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    old = panoglot.show(data, "0.jpg").image["image_id"]
    touch(folder / "0.jpg", picture_bytes(77))
    result = ingest(folder, tmp_path)
    assert len(data.images) == 4  # nothing is deleted
    assert [(r["image_id"], r["dropped"]) for r in data.marks.rows()] == [(old, "superseded")]
    assert panoglot.show(data, "0.jpg").image["image_id"] != old
    assert [name for name, lang, _ in kept(data) if lang == "ar"] == ["0.jpg"]
    assert result.stages[0].notes["superseded_images"] == 1
    panoglot.curate(data, steps=["size"], quiet=True)  # curation leaves what ingest has dropped
    assert data.marks.count("dropped = 'superseded'") == 1
    touch(folder / "0.jpg", picture_bytes(0))
    ingest(folder, tmp_path)
    assert panoglot.show(data, "0.jpg").image["image_id"] == old


def test_a_picture_that_a_table_names_is_edited(tmp_path):
    (tmp_path / "0.jpg").write_bytes(picture_bytes(0))
    (tmp_path / "rows.csv").write_text("image,caption_zh\n0.jpg,一辆巴士\n", encoding="utf-8")
    data = ingest(tmp_path / "rows.csv", tmp_path).dataset
    touch(tmp_path / "0.jpg", picture_bytes(5))
    ingest(tmp_path / "rows.csv", tmp_path)
    assert (len(data.images), data.marks.count("dropped = 'superseded'"), len(kept(data))) == (2, 1, 1)


def test_a_source_that_moved_is_followed_and_nothing_failed(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    folder.rename(tmp_path / "photos2026")
    result = ingest(tmp_path / "photos2026", tmp_path)
    assert (result.rejected, rejects(data), result.stages[0].notes["moved"]) == (0, [], 3)
    assert all(os.path.exists(row["uri"]) for row in data.images.rows(["uri"]))
    touch(tmp_path / "photos2026" / "0.ar.txt", "نحلة")  # the place that is gone claims nothing
    ingest(tmp_path / "photos2026", tmp_path)
    assert [t for _, lang, t in kept(data) if lang == "ar"] == ["نحلة"]


def test_a_source_that_moved_and_was_corrected_at_once(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    folder.rename(tmp_path / "photos2026")
    touch(tmp_path / "photos2026" / "0.ar.txt", "نحلة صفراء")
    ingest(tmp_path / "photos2026", tmp_path)
    assert [t for _, lang, t in kept(data) if lang == "ar"] == ["نحلة صفراء"]


def test_texts_of_a_table_that_is_gone_stay_when_their_pictures_are_read_without_it(folder, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("image,caption_zh\nphotos/0.jpg,花上的蜜蜂\n", encoding="utf-8")
    data = ingest(rows, tmp_path).dataset
    rows.unlink()
    ingest(folder, tmp_path)
    assert sorted(lang for name, lang, _ in kept(data) if name == "0.jpg") == ["ar", "zh"]


def test_a_failure_at_a_place_that_is_gone_is_no_failure_any_more(folder, tmp_path):
    (folder / "bad.jpg").write_bytes(b"no picture")
    data = ingest(folder, tmp_path).dataset
    assert rejects(data) == [("bad.jpg", "not_an_image")]
    folder.rename(tmp_path / "photos2026")
    ingest(tmp_path / "photos2026", tmp_path)
    assert [r["item"] for r in data.rejects.rows(where="resolved is null")] == [
        str(tmp_path / "photos2026" / "bad.jpg")
    ]


def test_exact_duplicates_are_counted_and_no_rejects(folder, tmp_path):
    (folder / "twin.jpg").write_bytes((folder / "0.jpg").read_bytes())
    (folder / "twin.sw.txt").write_text("Nyuki")
    result = ingest(folder, tmp_path)
    assert (result.rejected, rejects(result.dataset), len(result.dataset.images)) == (0, [], 3)
    assert [(lang, t) for name, lang, t in kept(result.dataset) if name == "0.jpg"] == [
        ("ar", "نحلة على زهرة"),
        ("sw", "Nyuki"),
    ]
    assert any("1 exact duplicate, " in line and "twin.jpg" in line for line in result.remarks)
    assert panoglot.retry(result.dataset) is None


def test_five_rows_of_a_picture_are_five_captions(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture_bytes(0))
    said = [("ar", "قطة"), ("hi", "बिल्ली"), ("th", "แมว"), ("zh", "猫"), ("sw", "paka")]
    rows = "".join(f"a.jpg,{text},{lang}\n" for lang, text in said)
    (tmp_path / "rows.csv").write_text("image,caption,lang\n" + rows, encoding="utf-8")
    result = ingest(tmp_path / "rows.csv", tmp_path)
    assert kept(result.dataset) == sorted(("rows.csv#0", lang, text) for lang, text in said)
    assert (result.rejected, result.remarks) == (0, [])


# -- failures that are mended ------------------------------------------------------------------------------------------


def test_a_text_that_was_mended_is_no_reject_any_more(folder, tmp_path):
    (folder / "0.ar.txt").write_bytes(b"\xff\xfe\xfd")
    data = ingest(folder, tmp_path).dataset
    assert rejects(data) == [("0.ar.txt", "bad_encoding")]
    touch(folder / "0.ar.txt", "نحلة")
    ingest(folder, tmp_path)
    assert rejects(data) == []


@pytest.mark.parametrize("kind", ["csv", "tar", "folder", "coco"])
def test_what_failed_and_is_read_now_is_resolved(tmp_path, kind):
    root = tmp_path / "in"
    root.mkdir()
    (root / "1.jpg").write_bytes(picture_bytes(1))
    source = {"csv": root / "rows.csv", "tar": root / "a.tar", "folder": root, "coco": root / "captions_x.json"}[kind]
    whole = picture_bytes(0)

    def write(data):
        (root / "0.jpg").write_bytes(data)
        if kind == "csv":
            source.write_text("image,caption\n0.jpg,A\n1.jpg,B\n")
        elif kind == "tar":
            write_tar(source, [("0.jpg", data), ("1.jpg", picture_bytes(1))])
        elif kind == "coco":
            images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(2)]
            source.write_text(json.dumps({"images": images, "annotations": []}))

    write(whole[:200])
    data = ingest(source, tmp_path).dataset
    assert len(rejects(data)) == 1
    write(whole)
    panoglot.retry(data, quiet=True)
    assert (rejects(data), len(data.images)) == ([], 2)


def test_a_folder_that_can_be_read_again(folder, tmp_path, monkeypatch):
    (folder / "sub").mkdir()
    (folder / "sub" / "b.jpg").write_bytes(picture_bytes(9))
    real = os.scandir

    def scandir(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        data = ingest(folder, tmp_path).dataset
    assert rejects(data) == [("sub", "unreadable")]
    ingest(folder, tmp_path)
    assert (rejects(data), len(data.images)) == ([], 4)


def test_what_is_gone(tmp_path):
    (tmp_path / "a#b.jpg").write_bytes(b"")
    (tmp_path / "rows.csv").write_text("")
    there = [f"{tmp_path}/a#b.jpg", f"{tmp_path}/rows.csv#17", "https://example.org/a.jpg", "relative.jpg"]
    gone = [f"{tmp_path}/b.jpg", f"{tmp_path}/none.csv#17"]
    assert [is_gone(uri) for uri in there + gone] == [False] * 4 + [True] * 2


# -- what a run says ---------------------------------------------------------------------------------------------------


def cli(*words):
    done = subprocess.run([sys.executable, "-m", "panoglot", *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_what_was_not_used_is_in_the_result_the_run_the_summary_and_the_report(folder, tmp_path):
    for n in range(7):
        (folder / f"lonely{n}.txt").write_text("text")
    code, out, _ = cli("ingest", folder, "-o", tmp_path / "x.pano", "--quiet")
    assert code == 0
    assert "7 text files of no picture were not used: lonely0.txt, lonely1.txt" in out
    data = panoglot.open(tmp_path / "x.pano")
    (stage,) = json.loads(data.runs.rows()[0]["stages"])
    assert (stage["notes"]["unused"][0]["count"], stage["notes"]["unused"][0]["names"][0]) == (7, "lonely0.txt")
    page = panoglot.report(data).read_text(encoding="utf-8")
    assert "7 text files of no picture were not used" in page
    (folder / "new.txt").write_text("text")
    (one,) = ingest(folder, tmp_path).unused
    assert one.count == 8


def test_a_table_without_captions_says_which_columns_and_the_flag_mends_it(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture_bytes(0))
    (tmp_path / "rows.csv").write_text(
        "image,Notiz A,Notiz B\na.jpg,Eine Bank aus Holz im Park.,Ein Baum am alten Weg.\n"
    )
    code, out, _ = cli("ingest", tmp_path / "rows.csv", "-o", tmp_path / "x.pano", "--quiet")
    assert (code, "gave no captions" in out, "--caption-column 'Notiz A'" in out) == (0, True, True)
    code, out, _ = cli(
        "ingest", tmp_path / "rows.csv", "-o", tmp_path / "x.pano", "--quiet", "--caption-column", "Notiz A=de"
    )
    assert (code, "gave no captions" in out) == (0, False)
    assert [(r["lang"], r["text"]) for r in panoglot.open(tmp_path / "x.pano").captions.rows()] == [
        ("de", "Eine Bank aus Holz im Park.")
    ]


def test_rejects_are_named_with_their_reasons(folder, tmp_path):
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_bytes(b"no picture")
    _, out, _ = cli("ingest", folder, "-o", tmp_path / "x.pano", "--quiet")
    assert "1 empty_file: empty.jpg" in out
    assert "1 not_an_image: text.jpg" in out


def test_no_picture_that_can_be_read_says_why(tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(3):
        (tmp_path / "in" / f"{n}.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match="3 rejects: not_an_image 3"):
        ingest(tmp_path / "in", tmp_path)


def test_a_run_that_kept_no_picture_ends_with_3_and_the_reason(folder, tmp_path):
    recipe = {"source": str(folder), "output": str(tmp_path / "x.pano"), "steps": [{"curate": {"steps": ["size"]}}]}
    recipe["steps"][0]["curate"]["steps"] = [{"size": {"min_side": 5000}}]
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    code, _, err = cli("build", tmp_path / "r.yaml", "--quiet")
    assert (code, err.splitlines()[-1].startswith("panoglot: all 3 pictures are dropped (too_small 3).")) == (3, True)


def test_a_run_whose_captions_were_all_dropped_ends_with_3(folder, tmp_path):
    for text in folder.glob("*.txt"):
        text.unlink()
    steps = ["describe", {"curate": {"steps": [{"length": {"min_words": 900, "min_characters": 9000}}]}}]
    plain = {"source": str(folder), "output": str(tmp_path / "y.pano"), "models": {"captioner": WRITER}, "steps": steps}
    (tmp_path / "r.yaml").write_text(json.dumps(plain))
    result = panoglot.build(str(tmp_path / "r.yaml"))
    assert result.problem.startswith("all 3 captions of this run are dropped (too_short 3).")
    assert result.dataset.runs.rows()[0]["message"] == result.problem


def test_a_step_in_which_every_row_failed_ends_with_3(folder, tmp_path):
    plain = {
        "source": str(folder),
        "output": str(tmp_path / "x.pano"),
        "models": {"captioner": f"{WRITER}?fail={'|'.join('0123456789abcdef')}"},
        "steps": ["describe"],
    }
    (tmp_path / "r.yaml").write_text(json.dumps(plain))
    result = panoglot.build(str(tmp_path / "r.yaml"))
    assert result.problem.startswith("caption.describe: all 3 failed (refused 3).")
    assert result.problem.endswith(f"panoglot retry {tmp_path / 'x.pano'}")


def test_a_dataset_of_before_places_were_written(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    shutil.rmtree(data.path / "places.lance")
    touch(folder / "0.ar.txt", "نحلة")
    ingest(folder, tmp_path)  # what nobody knows to be replaced stays
    assert sorted(t for _, lang, t in kept(data) if lang == "ar") == ["نحلة", "نحلة على زهرة"]


def test_places_are_made_with_the_first_chunk(tmp_path):
    assert not create_dataset(tmp_path / "x.pano").places.exists()


def test_several_sources_are_read_into_one_dataset(tmp_path):
    for folder, numbers in (("a", (1, 2)), ("b", (3,))):
        (tmp_path / folder).mkdir()
        for n in numbers:
            (tmp_path / folder / f"{n}.png").write_bytes(picture_bytes(n))
            (tmp_path / folder / f"{n}.txt").write_text(f"Katze {n}")
    (tmp_path / "x.png").write_bytes(picture_bytes(7))
    (tmp_path / "y.png").write_bytes(picture_bytes(8))
    sources = [tmp_path / "a", tmp_path / "b", tmp_path / "x.png", tmp_path / "y.png"]
    result = panoglot.ingest(sources, str(tmp_path / "c.pano"), quiet=True)
    assert (len(result.dataset.images), len(result.dataset.captions)) == (5, 3)
    assert sum(stage.done for stage in result.stages) == 5
    again = panoglot.ingest(sources, str(tmp_path / "c.pano"), quiet=True)
    assert sum(stage.done for stage in again.stages) == 0


def test_of_several_sources_one_that_is_none_stops_all_and_one_without_a_picture_does_not(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(picture_bytes(1))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.png").write_text("no picture")
    with pytest.raises(UserError, match="there is nothing at"):
        panoglot.ingest([tmp_path / "a", tmp_path / "gone"], str(tmp_path / "x.pano"), quiet=True)
    assert not (tmp_path / "x.pano").exists()
    with pytest.raises(
        UserError, match=r"name the dataset that several sources make: panoglot ingest .* -o NAME\.pano"
    ):
        panoglot.ingest([tmp_path / "a", tmp_path / "b"], quiet=True)
    for option in ("dry_run", "mirror"):
        with pytest.raises(UserError, match="is about one source: panoglot build"):
            panoglot.build([tmp_path / "a", tmp_path / "b"], str(tmp_path / "x.pano"), quiet=True, **{option: True})
    result = panoglot.ingest([tmp_path / "b", tmp_path / "a"], str(tmp_path / "x.pano"), quiet=True)
    assert len(result.dataset.images) == 1
    assert any("no picture could be read from" in line for line in result.remarks)


def test_what_failed_most_is_the_example_of_a_source_that_gave_nothing(tmp_path):
    (tmp_path / "a.csv").write_text("image,caption\n,nothing\nb.jpg,two\nc.jpg,three\n")
    with pytest.raises(UserError, match=r"missing_file 2, no_image 1; for example a\.csv#[12]: "):
        panoglot.ingest(str(tmp_path / "a.csv"), str(tmp_path / "x.pano"), quiet=True)
