"""`--mirror`: what is gone from the folder is gone from the dataset; and what was forgotten stays away."""

import json
import os

import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.ingestion import find_gone, is_gone
from panoglot.pictures import Image
from panoglot.retrieval import index
from panoglot.running import Committer, Outcome, Stage, Worker
from panoglot.table import Caption, forgotten, image_id
from tests.conftest import picture_bytes
from tests.formats.samples import write_tar

TEXTS = {"ar": "نحلة على زهرة", "hi": "मधुमक्खी फूल पर", "th": "ผึ้งบนดอกไม้", "sw": "Nyuki juu ya ua"}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    (root / "Ferien é 猫").mkdir(parents=True)
    for n, (lang, text) in enumerate(TEXTS.items()):
        where = root / "Ferien é 猫" if n == 3 else root
        (where / f"{n}.jpg").write_bytes(picture_bytes(n))
        (where / f"{n}.{lang}.txt").write_text(text, encoding="utf-8")
    return root


def ingest(source, tmp_path, **options):
    return panoglot.ingest(str(source), str(tmp_path / "x.pano"), quiet=True, **options)


def names(data):
    return sorted(row["uri"].rpartition("/")[2] for row in data.images.rows(["uri"]))


def ids(data):
    return {row["image_id"] for row in data.images.rows(["image_id"])}


def on_disk(data, piece):
    return [path for path in data.path.rglob("*") if path.is_file() and piece in path.read_bytes()]


def test_a_deleted_picture_goes_and_a_moved_one_stays(folder, tmp_path):
    data = ingest(folder, tmp_path, mirror=True).dataset
    assert names(data) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    (folder / "neu").mkdir()
    (folder / "0.jpg").rename(folder / "neu" / "zéro.jpg")
    (folder / "0.ar.txt").rename(folder / "neu" / "zéro.ar.txt")
    gone = (folder / "1.jpg").read_bytes()
    (folder / "1.jpg").unlink()
    (folder / "1.hi.txt").unlink()
    before = ingest(folder, tmp_path, mirror=True, dry_run=True)
    assert before.remarks == [f"1 picture is gone from the source, and would be forgotten: {folder}/1.jpg"]
    assert names(data) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert on_disk(data, gone)
    result = ingest(folder, tmp_path, mirror=True)
    assert names(data) == ["2.jpg", "3.jpg", "zéro.jpg"]
    assert f"1 picture is gone from the source, and is forgotten: {folder}/1.jpg" in result.remarks
    assert result.erased
    assert not on_disk(data, gone)
    assert not on_disk(data, TEXTS["hi"].encode())
    assert sorted(row["text"] for row in data.captions.rows(where="dropped is null")) == sorted(
        [TEXTS["ar"], TEXTS["th"], TEXTS["sw"]]
    )
    assert [row["author"] for row in data.edits.rows(where="action = 'forget'")] == ["mirror"]
    assert not find_gone(data, str(folder)).places  # the moved one's old place too
    assert "gone" not in ingest(folder, tmp_path, mirror=True).stages[-1].notes


# -- a picture by another name is the same picture ---------------------------------------------------------------------


def kept(data):
    return sorted(row["text"] for row in data.captions.rows(["text"], "dropped is null"))


def mirrored(folder, tmp_path):
    """What a dry run says would be superseded, and what is: they are the same number."""
    would = ingest(folder, tmp_path, mirror=True, dry_run=True).stages[-1].notes.get("would_supersede", 0)
    notes = [stage.notes for stage in ingest(folder, tmp_path, mirror=True).stages]
    assert sum(note.get("superseded_captions", 0) for note in notes) == would
    return would


@pytest.mark.parametrize("move", ["rename", "into a folder"])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_picture_that_is_renamed_alone_keeps_its_texts(folder, tmp_path, move, mirror):
    """The text files still lie there by the old name; they go from the dataset when they go from the folder."""
    data = ingest(folder, tmp_path).dataset
    (folder / "neu").mkdir()
    for n in range(3):
        (folder / f"{n}.jpg").rename(folder / "neu" / f"{n}.jpg" if move != "rename" else folder / f"صورة {n}.jpg")
    if mirror:
        assert mirrored(folder, tmp_path) == 0
    else:
        ingest(folder, tmp_path)
    assert kept(data) == sorted(TEXTS.values())
    assert len(data.images) == 4
    (folder / "0.ar.txt").unlink()
    ingest(folder, tmp_path)
    assert kept(data) == sorted(TEXTS.values())  # only a mirror takes away what is gone
    result = ingest(folder, tmp_path, mirror=True, dry_run=True)
    assert result.remarks == [
        "1 text of pictures that stay is no longer in the source, and would be dropped as superseded"
    ]
    assert mirrored(folder, tmp_path) == 1
    assert kept(data) == sorted(text for lang, text in TEXTS.items() if lang != "ar")
    assert len(data.images) == 4
    assert mirrored(folder, tmp_path) == 0


def test_a_picture_with_its_texts_or_a_whole_folder_by_another_name(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    for lang, n in (("ar", 0), ("hi", 1)):
        (folder / f"{n}.jpg").rename(folder / f"ใหม่{n}.jpg")
        (folder / f"{n}.{lang}.txt").rename(folder / f"ใหม่{n}.{lang}.txt")
    (folder / "Ferien é 猫").rename(folder / "休日")
    assert mirrored(folder, tmp_path) == 0
    assert kept(data) == sorted(TEXTS.values())
    assert {row["uri"].rpartition("/")[2] for row in data.images.rows(["uri"])} == {
        "ใหม่0.jpg", "ใหม่1.jpg", "2.jpg", "3.jpg",
    }  # fmt: skip
    assert not find_gone(data, str(folder)).places


def test_what_moved_pictures_say_themselves_is_not_gone(folder, tmp_path):
    """A text of EXIF goes where the file goes; the dry run knows it, also where a text file was left out."""
    import PIL.Image

    exif = PIL.Image.Exif()
    exif[0x010E] = "Oma Gerda im Garten am Bodensee"
    for n in (4, 5):
        PIL.Image.new("RGB", (60 + n, 50), "green").save(folder / "Ferien é 猫" / f"{n}.jpg", exif=exif)
    (folder / "Ferien é 猫" / "5.de.txt").write_text("Ein grünes Bild.", encoding="utf-8")
    data = ingest(folder, tmp_path).dataset
    all_texts = kept(data)
    (folder / "Ferien é 猫").rename(folder / "वन")
    assert mirrored(folder, tmp_path) == 0
    assert kept(data) == all_texts
    (folder / "वन" / "5.de.txt").unlink()
    (folder / "वन").rename(folder / "ป่า")
    assert mirrored(folder, tmp_path) == 1
    assert kept(data) == sorted(text for text in all_texts if text != "Ein grünes Bild.")


def test_a_picture_that_is_renamed_and_whose_texts_are_gone(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    (folder / "0.jpg").rename(folder / "neu.jpg")
    (folder / "0.ar.txt").unlink()
    ingest(folder, tmp_path)
    assert kept(data) == sorted(TEXTS.values())
    assert mirrored(folder, tmp_path) == 1
    assert kept(data) == sorted(text for lang, text in TEXTS.items() if lang != "ar")
    (folder / "neu.ar.txt").write_text(TEXTS["ar"], encoding="utf-8")  # it is found again
    ingest(folder, tmp_path)
    assert kept(data) == sorted(TEXTS.values())


def test_without_mirror_nothing_goes(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    (folder / "1.jpg").unlink()
    ingest(folder, tmp_path)
    assert len(data.images) == 4


def test_what_is_forgotten_stays_away_until_it_is_taken_back(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    key = image_id(picture_bytes(2))
    panoglot.forget(data, "2.jpg")
    (folder / "copy.jpg").write_bytes(picture_bytes(2))  # by another name
    write_tar(tmp_path / "a.tar", [("2.jpg", picture_bytes(2)), ("2.txt", b"ein Bild")])  # by other doors
    (tmp_path / "rows.jsonl").write_text(json.dumps({"image": str(folder / "copy.jpg"), "caption": "ein Bild"}))
    for source, options in (
        (folder, {}),
        (tmp_path / "a.tar", {}),
        (tmp_path / "rows.jsonl", {"option": {"allow_outside": "true"}}),
    ):
        result = ingest(source, tmp_path, **options)
        assert [line for line in result.remarks if "forgotten before" in line] == [
            f"1 picture was forgotten before and is not read again: {key}; "
            f"to read one again: panoglot forget {data.address} --undo {key}"
        ]
        assert key not in ids(data)
    assert not data.captions.count(f"image_id = '{key}'")
    assert not data.places.count(f"image_id = '{key}'")
    assert "1 picture" not in str(result.problem)
    with pytest.raises(UserError, match="is the id of no picture that was forgotten"):
        panoglot.forget(data, "0" * 32, undo=True)
    assert panoglot.forget(data, key[:12], undo=True).undone == 1
    ingest(folder, tmp_path)
    assert key in ids(data)
    assert [row["text"] for row in data.captions.rows(["text"], f"image_id = '{key}' and dropped is null")] == [
        TEXTS["th"]
    ]


def test_what_was_taken_back_gets_again_all_that_it_had(folder, tmp_path):
    """Captions, translations, facts and vectors are made again: what ledgers hold of rows that went is not done."""
    output = str(tmp_path / "x.pano")

    def run():
        toys = {"captioner": "python:tests.running.toy:Writer", "encoder": "python:tests.running.toy:Fits"}
        done = panoglot.build(str(folder), output, prompt="What?", quiet=True, **toys)
        panoglot.translate(output, lang="de", translator="python:tests.running.toy:Phrasebook", quiet=True)
        index(output, encoder=toys["encoder"], captions=True)
        return done

    data = run().dataset
    key = image_id(picture_bytes(2))

    def made():
        found = {name: data.vectors(name).count() for name in data.vector_names()}
        found |= {name: getattr(data, name).count() for name in ("images", "facts", "places")}
        return found | {"captions": sorted(data.captions.read(["caption_id"])["caption_id"].to_pylist())}

    before = made()
    assert before["images"] == 4
    assert data.captions.count("starts_with(recipe, 'translate/')") >= 4
    panoglot.forget(data, "2.jpg")
    run()
    assert made()["images"] == 3
    assert panoglot.forget(data, key, undo=True).undone == 1
    assert run().status == "done"
    assert made() == before


def test_what_was_made_of_a_picture_comes_back_with_it(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    whole, crop, other = image_id(picture_bytes(2)), "c" * 32, "d" * 32
    rows = [{"image_id": crop, "parents": [whole]}, {"image_id": other, "parents": [crop]}]
    rows = [{"data": b"x", "uri": "", **row} for row in rows]
    data.images.insert(rows)
    panoglot.forget(data, other)  # for itself: it stays away
    assert panoglot.forget(data, whole).images == 2
    assert forgotten(data, [whole, crop, other]) == {whole, crop, other}
    assert panoglot.forget(data, whole, undo=True).undone == 2
    assert forgotten(data, [whole, crop, other]) == {other}


def test_a_merge_takes_again_what_was_taken_back(folder, tmp_path):
    first = ingest(folder, tmp_path).dataset
    second = panoglot.ingest(str(folder / "0.jpg"), str(tmp_path / "y.pano"), quiet=True).dataset
    target = str(tmp_path / "both.pano")
    panoglot.merge(first, str(second.path), output=target)
    key = image_id(picture_bytes(2))
    panoglot.forget(target, key)
    panoglot.forget(target, key, undo=True)
    panoglot.merge(first, str(second.path), output=target)
    assert key in ids(panoglot.open(target))


def test_what_a_method_makes_of_the_forgotten_is_not_written(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    key = image_id(picture_bytes(2))
    stage = Stage("toy", "0", None)  # the operator is not asked
    data.work(stage.id).ensure()
    committer = Committer(stage, Worker(data, "run", stage.id))
    panoglot.forget(data, key)  # while it was looked at
    crop = Image(picture_bytes(9), uri="crop.jpg", parent=key)
    said = Caption("A bee.", "en", "caption", recipe="toy", image_id=key, caption_id="c" * 32)
    committer.emit(key, Outcome(captions=[said], images=[crop], scores={"sharp": 1.0}))
    committer.emit(image_id(picture_bytes(1)), Outcome(images=[Image(picture_bytes(2), uri="again.jpg")]))
    committer.flush()
    assert committer.result.notes["forgotten"] == 1
    assert len(data.images) == 3
    assert not data.captions.count("recipe = 'toy'")
    assert data.marks.rows(["dropped"], f"image_id = '{key}'") == [{"dropped": "forgotten"}]
    assert data.marks.rows(["scores"], f"image_id = '{key}'") == [{"scores": {}}]


def test_an_edited_text_and_a_replaced_picture(folder, tmp_path):
    data = ingest(folder, tmp_path, mirror=True).dataset
    (folder / "1.hi.txt").write_text("पीले फूल पर मधुमक्खी", encoding="utf-8")
    (folder / "2.jpg").write_bytes(picture_bytes(20))
    result = ingest(folder, tmp_path, mirror=True)
    kept = {row["text"] for row in data.captions.rows(["text"], "dropped is null")}
    assert kept == {TEXTS["ar"], "पीले फूल पर मधुमक्खी", TEXTS["th"], TEXTS["sw"]}
    assert not on_disk(data, picture_bytes(2))
    assert len(data.images) == 4
    assert any("is forgotten" in line and line.endswith("2.jpg") for line in result.remarks)


def test_a_picture_stays_while_another_place_has_it(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.jpg").write_bytes(picture_bytes(0))
    (other / "own.jpg").write_bytes(picture_bytes(30))
    data = ingest(folder, tmp_path).dataset
    ingest(other, tmp_path)
    (folder / "0.jpg").unlink()
    (folder / "0.ar.txt").unlink()
    (folder / "twin.jpg").write_bytes(picture_bytes(1))
    ingest(folder, tmp_path, mirror=True)
    assert len(data.images) == 5  # that of the other folder too, which is not compared
    assert not data.captions.count(f"text = '{TEXTS['ar']}' and dropped is null")  # nothing gives it any more
    (other / "b.jpg").unlink()
    (folder / "1.jpg").unlink()
    ingest(folder, tmp_path, mirror=True)
    assert image_id(picture_bytes(1)) in ids(data)
    result = ingest(other, tmp_path, mirror=True)
    assert result.stages[-1].notes["gone"] == 1
    assert image_id(picture_bytes(0)) not in ids(data)


def test_archives_and_tables(folder, tmp_path):
    write_tar(folder / "a.tar", [("7.jpg", picture_bytes(7))])
    tables = tmp_path / "tables"
    tables.mkdir()
    for n in (8, 9):
        (tables / f"{n}.jpg").write_bytes(picture_bytes(n))
    lines = [json.dumps({"image": f"{n}.jpg", "caption": f"number {n}"}) for n in (8, 9)]
    (tables / "captions.jsonl").write_text("\n".join(lines))
    ingest(folder / "a.tar", tmp_path)
    ingest(tables, tmp_path)
    data = ingest(folder, tmp_path).dataset
    assert len(data.images) == 7
    (folder / "a.tar").unlink()
    (tables / "9.jpg").unlink()
    ingest(folder, tmp_path, mirror=True)
    ingest(tables, tmp_path, mirror=True)
    assert {image_id(picture_bytes(n)) for n in (7, 9)}.isdisjoint(
        row["image_id"] for row in data.images.rows(["image_id"])
    )
    assert len(data.images) == 5


def test_a_folder_of_nothing_but_what_was_forgotten(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    panoglot.forget(data, *ids(data))
    (folder / "0.jpg").rename(folder / "n.jpg")
    with pytest.raises(UserError, match=r"but what was forgotten before.*--undo"):
        ingest(folder, tmp_path)


# -- what looks like a disk that is not there --------------------------------------------------------------------------


def test_an_empty_folder_wipes_nothing_unless_it_is_named(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    away = tmp_path / "away"
    folder.rename(away)
    for there in (False, True):
        if there:
            folder.mkdir()
        with pytest.raises(UserError, match=r"has nothing in it now.*4 of the pictures.*--emptied") as raised:
            ingest(folder, tmp_path, mirror=True)
        assert "\n" not in str(raised.value)
        assert len(data.images) == 4
    result = ingest(folder, tmp_path, mirror=True, emptied=[str(folder)])
    assert result.stages[-1].notes["gone"] == 4
    assert (len(data.images), len(data.captions)) == (0, 0)
    assert not on_disk(data, picture_bytes(0))


@pytest.mark.parametrize("how", ["empty", "above", "link"])
def test_a_folder_in_it_that_is_empty_is_asked_about(folder, tmp_path, how):
    disk = folder / "disk"
    inside = disk / "2023" if how == "above" else disk
    if how == "link":
        (tmp_path / "real").mkdir()
        disk.symlink_to(tmp_path / "real")
    inside.mkdir(parents=True, exist_ok=True)
    (inside / "5.jpg").write_bytes(picture_bytes(5))
    options = {"option": {"follow_symlinks": "true"}}
    data = ingest(folder, tmp_path, **options).dataset
    assert len(data.images) == 5
    if how == "link":
        (tmp_path / "real").rename(tmp_path / "unplugged")
    else:
        (inside / "5.jpg").unlink()
        if how == "above":
            inside.rmdir()
    with pytest.raises(UserError, match=f"'{disk}' has nothing in it now.* 1 of the pictures"):
        ingest(folder, tmp_path, mirror=True, **options)
    with pytest.raises(UserError, match="nothing is forgotten"):
        ingest(folder, tmp_path, mirror=True, dry_run=True, **options)
    ingest(folder, tmp_path, mirror=True, emptied=str(folder), **options)
    assert len(data.images) == 4


def test_a_deleted_folder_was_deleted(folder, tmp_path):
    data = ingest(folder, tmp_path).dataset
    for path in (folder / "Ferien é 猫").iterdir():
        path.unlink()
    (folder / "Ferien é 猫").rmdir()
    assert ingest(folder, tmp_path, mirror=True).stages[-1].notes["gone"] == 1
    assert len(data.images) == 3


def test_a_name_that_is_not_utf8(folder, tmp_path):
    odd = os.fsencode(folder) + b"/\xff\xfe.jpg"
    try:
        with open(odd, "wb") as file:
            file.write(picture_bytes(6))
    except OSError:
        pytest.skip("this file system has names of UTF-8 alone")
    data = ingest(folder, tmp_path).dataset
    ingest(folder, tmp_path, mirror=True)
    assert len(data.images) == 5
    os.unlink(odd)
    ingest(folder, tmp_path, mirror=True)
    assert len(data.images) == 4


def test_what_cannot_be_looked_at_is_not_gone():
    assert not is_gone("/" + "x" * 5000)
    assert not is_gone("/a\0b")
    assert is_gone("/nowhere/at/all.jpg")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"emptied": "x"}, "add --mirror"),
        ({"mirror": True, "source": "{0}/*.jpg"}, "is none"), ({"mirror": True, "source": "{0}/0.jpg"}, "is a file"),
    ],
)  # fmt: skip
def test_what_says_nothing_is_refused(folder, tmp_path, options, message):
    source = options.pop("source", "{0}").format(folder)
    with pytest.raises(UserError, match=message):
        ingest(source, tmp_path, **options)
    assert not (tmp_path / "x.pano").exists()


def test_build_says_what_went(folder, tmp_path, capsys):
    from panoglot.cli import main

    out = str(tmp_path / "x.pano")
    steps = tmp_path / "r.yaml"
    steps.write_text(f"source: {folder}\noutput: {out}\nsteps: [report: {{}}]\n")
    panoglot.build(str(steps), quiet=True)
    (folder / "1.jpg").unlink()
    with pytest.raises(SystemExit, match="0"):
        main(["build", str(steps), "--mirror", "--quiet"])
    said = capsys.readouterr().out
    assert "1 picture is gone from the source, and is forgotten" in " ".join(said.split())
    assert "3 images," in said
    page = (tmp_path / "x.pano" / "report.html").read_text(encoding="utf-8")
    assert image_id(picture_bytes(1)) not in page
    assert TEXTS["hi"] not in page
    panoglot.export(out, str(tmp_path / "out"), to="jsonl")
    assert TEXTS["hi"] not in "".join(p.read_text("utf-8") for p in (tmp_path / "out").rglob("*.jsonl"))


# -- in an object store ------------------------------------------------------------------------------------------------

PHOTOS = "s3://bucket/photos #1"


@pytest.fixture
def objects(folder, s3):
    """The folder's files as objects; names to (content, when)."""
    found = s3.buckets["bucket"]
    for path in folder.rglob("*.*"):
        found[f"photos #1/{path.relative_to(folder).as_posix()}"] = (path.read_bytes(), 1e9)
    return found


def rename(objects, old, new):
    objects[f"photos #1/{new}"] = objects.pop(f"photos #1/{old}")


def test_in_a_bucket_too_a_deleted_picture_goes_and_a_moved_one_stays(objects, tmp_path):
    data = ingest(PHOTOS, tmp_path, mirror=True).dataset
    assert names(data) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    rename(objects, "0.jpg", "neu/zéro.jpg")
    rename(objects, "0.ar.txt", "neu/zéro.ar.txt")
    gone, _ = objects.pop("photos #1/1.jpg")
    del objects["photos #1/1.hi.txt"]
    before = ingest(PHOTOS, tmp_path, mirror=True, dry_run=True)
    assert before.remarks == [f"1 picture is gone from the source, and would be forgotten: {PHOTOS}/1.jpg"]
    result = ingest(PHOTOS, tmp_path, mirror=True)
    assert (result.stages[0].notes["moved"], result.stages[-1].notes["gone"]) == (1, 1)
    assert names(data) == ["2.jpg", "3.jpg", "zéro.jpg"]
    kept = {row["text"] for row in data.captions.rows(["text"], "dropped is null")}
    assert kept == set(TEXTS.values()) - {TEXTS["hi"]}
    assert not on_disk(data, gone)
    again = ingest(PHOTOS, tmp_path, mirror=True)
    assert "gone" not in again.stages[-1].notes
    assert names(data) == ["2.jpg", "3.jpg", "zéro.jpg"]


def test_in_a_bucket_a_moved_picture_is_followed_and_texts_beside_its_old_name_stay(objects, tmp_path):
    data = ingest(PHOTOS, tmp_path).dataset
    rename(objects, "2.jpg", "zwei.jpg")  # without its text
    result = ingest(PHOTOS, tmp_path)
    assert result.stages[0].notes["moved"] == 1
    assert names(data) == ["0.jpg", "1.jpg", "3.jpg", "zwei.jpg"]
    assert data.captions.count("dropped is null") == 4
    objects["photos #1/0.jpg"] = (picture_bytes(9), 1e9)  # another picture of the same name
    ingest(PHOTOS, tmp_path, mirror=True)
    assert image_id(picture_bytes(0)) not in ids(data)
    assert image_id(picture_bytes(9)) in ids(data)


def test_a_bucket_that_is_empty_or_cannot_be_reached_wipes_nothing(objects, s3, tmp_path, monkeypatch):
    data = ingest(PHOTOS, tmp_path).dataset
    kept = dict(objects)
    objects.clear()
    with pytest.raises(UserError, match=r"has nothing in it now.*4 of the pictures.*If it is meant.*--emptied") as said:
        ingest(PHOTOS, tmp_path, mirror=True)
    assert "\n" not in str(said.value)
    with monkeypatch.context() as other:
        other.setenv("AWS_ACCESS_KEY_ID", "someone-else")
        assert not is_gone(f"{PHOTOS}/0.jpg")  # nobody can say
        with pytest.raises(UserError):
            ingest(PHOTOS, tmp_path, mirror=True)
    assert is_gone(f"{PHOTOS}/0.jpg")
    assert len(data.images) == 4
    result = ingest(PHOTOS, tmp_path, mirror=True, emptied=[f"{PHOTOS}/"])
    assert result.stages[-1].notes["gone"] == 4
    assert len(data.images) == 0
    objects.update(kept)
    with pytest.raises(UserError, match=r"compares with a folder; .* is a file"):
        panoglot.ingest(f"{PHOTOS}/0.jpg", str(tmp_path / "y.pano"), mirror=True, quiet=True)
