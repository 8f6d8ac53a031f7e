"""Whole datasets: `info`, `merge`, `subset`, `split`: nothing lost, nothing doubled, nothing on both sides."""

import json
import signal
import subprocess
import sys

import pytest

import panoglot
from panoglot.cli import main
from panoglot.errors import UserError
from panoglot.table import create_dataset
from tests.conftest import picture_bytes
from tests.exporting.test_writers import made
from tests.formats.samples import full_dataset


def rows(table, key):
    return {row[key]: {k: v for k, v in row.items() if k != "run_id"} for row in table.rows()}


def run(*words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


# -- info --------------------------------------------------------------------------------------------------------------


def test_info_says_what_is_there(tmp_path, capsys):
    data = full_dataset(tmp_path / "a.pano")
    found = panoglot.info(data)
    assert (found.images, found.captions, found.groups) == (9, 40, 6)
    assert found.languages == {"en": 8, "de": 8, "ar": 8, "zh-Hant": 8, "sw": 8}
    assert found.images_dropped == {"too_small": 1}
    assert found.captions_dropped == {"too_short": 8}
    assert found.formats["jpeg"] == 2
    assert found.writers["m:1"] == 16
    assert found.picture_bytes == sum(row["size"] for row in data.images.rows(["size"]))
    assert found.bytes["images.lance"] > found.picture_bytes
    assert run("info", tmp_path / "a.pano") == 0
    said = capsys.readouterr().out
    assert "40 captions in: Arabic (ar) 8" in said
    assert run("info", tmp_path / "a.pano", "--json") == 0
    assert json.loads(capsys.readouterr().out)["kinds"]["region"] == 8
    with pytest.raises(UserError, match="no dataset at"):
        panoglot.info(tmp_path / "b.pano")


# -- merge and subset --------------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path):
    """Two datasets that share three pictures, of which the second has a caption more."""
    one = made(tmp_path / "one.pano", 6)
    other = create_dataset(tmp_path / "two.pano")
    shared = sorted(one.images.rows(), key=lambda row: row["image_id"])[:3]
    other.images.insert(shared)
    caption = one.captions.rows()[0] | {"image_id": shared[0]["image_id"], "lang": "qu", "text": "Huk muyu"}
    other.captions.insert([caption | {"caption_id": "e" * 32}])
    third = made(tmp_path / "three.pano", 2, bytes={0: picture_bytes(30), 1: picture_bytes(31)})
    other.images.insert(third.images.rows())
    other.captions.insert(third.captions.rows())
    return one, other


def test_a_merge_holds_everything_once(two, tmp_path, capsys):
    one, other = two
    place = other.add_vectors("embedded:x", "f" * 64, 4)
    key = other.images.rows(["image_id"])[0]["image_id"]
    other.vectors(place, 4).insert([{"vector_id": "v", "id": key, "of": "image", "lang": "", "vector": [1, 0, 0, 0]}])
    copied = panoglot.merge(one, str(other.path), output=tmp_path / "all.pano")
    assert (copied.images, copied.met, copied.captions) == (8, 3, len(one.captions) + len(other.captions))
    assert copied.languages["qu"] == 1
    whole = panoglot.open(tmp_path / "all.pano")
    assert rows(whole.images, "image_id") == rows(other.images, "image_id") | rows(one.images, "image_id")
    assert rows(whole.captions, "caption_id") == rows(other.captions, "caption_id") | rows(one.captions, "caption_id")
    assert [len(whole.vectors(name)) for name in whole.vector_names()] == [1]
    again = panoglot.merge(one, str(other.path), output=tmp_path / "all.pano")
    assert (again.images, again.captions) == (0, 0)
    assert run("merge", one.path, other.path, "-o", tmp_path / "more.pano") == 0
    assert "3 images were there already" in capsys.readouterr().out


def test_what_one_forgot_is_not_brought_back(two, tmp_path):
    one, other = two
    shared = sorted(row["image_id"] for row in one.images.rows(["image_id"]))[0]
    panoglot.forget(one, shared)
    copied = panoglot.merge(one, str(other.path), output=tmp_path / "all.pano")
    assert copied.forgotten == 1
    whole = panoglot.open(tmp_path / "all.pano")
    assert shared not in rows(whole.images, "image_id")
    assert whole.captions.count(f"image_id = '{shared}'") == 0
    assert whole.dropped_images() == {shared}


@pytest.mark.parametrize("after", [1, 4])
def test_a_killed_merge_goes_on(two, tmp_path, after):
    one, other = two
    code = (
        "import os, signal, sys, panoglot; from panoglot.table import Table\n"
        "insert, left = Table.insert, [int(sys.argv[4])]\n"
        "def once(self, rows):\n"
        "    done = insert(self, rows)\n"
        "    left[0] -= 1\n"
        "    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return done\n"
        "Table.insert = once\n"
        "panoglot.merge(sys.argv[1], sys.argv[2], output=sys.argv[3])"
    )
    words = [sys.executable, "-c", code, str(one.path), str(other.path), str(tmp_path / "all.pano"), str(after)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    panoglot.merge(one, str(other.path), output=tmp_path / "all.pano")
    whole = panoglot.open(tmp_path / "all.pano")
    assert rows(whole.images, "image_id") == rows(other.images, "image_id") | rows(one.images, "image_id")
    assert len(whole.captions) == len(one.captions) + len(other.captions)


def test_a_subset_takes_vectors_along_and_a_merge_of_it_too(tmp_path):
    """Those of its pictures and captions, and the encoder that is searched stays the one that is searched."""
    data = full_dataset(tmp_path / "a.pano")
    ids = sorted(data.images.read(["image_id"])["image_id"].to_pylist())
    texts = data.captions.read(["caption_id", "image_id"], "dropped is null").to_pylist()
    names = [data.add_vectors(f"toy:{name}", f"{name}-fingerprint", 2) for name in ("zebra", "ant")]
    for name in names:
        found = [(key, "image") for key in ids] + [(row["caption_id"], "caption") for row in texts]
        data.vectors(name).insert(
            [{"vector_id": f"{n:032x}", "id": key, "of": of, "lang": "und", "vector": [1.0, n / 2048], "run_id": ""}
             for n, (key, of) in enumerate(found)]
        )  # fmt: skip
    panoglot.subset(data, output=tmp_path / "part.pano", where="width >= 46")
    part = panoglot.open(tmp_path / "part.pano")
    keys = {*rows(part.images, "image_id"), *rows(part.captions, "caption_id")}
    assert set(part.vector_names()) >= set(names)
    assert part.searched_vectors() == data.searched_vectors()
    for name in names:
        had, has = rows(data.vectors(name), "vector_id"), rows(part.vectors(name), "vector_id")
        assert has == {key: row for key, row in had.items() if row["id"] in keys}
        assert {row["of"] for row in has.values()} == {"image", "caption"}
        assert part.vector_model(name)["model"] == data.vector_model(name)["model"]
    panoglot.merge(part, str(data.path), output=tmp_path / "both.pano")
    assert len(panoglot.open(tmp_path / "both.pano").vectors(names[0])) == len(data.vectors(names[0]))


def test_subsets(tmp_path, capsys):
    data = full_dataset(tmp_path / "a.pano")
    wide = panoglot.subset(data, output=tmp_path / "wide.pano", where="width >= 46")
    assert (wide.images, wide.captions) == (3, 15)
    part = panoglot.open(tmp_path / "wide.pano")
    had = rows(data.images, "image_id")
    assert rows(part.images, "image_id") == {key: row for key, row in had.items() if row["width"] >= 46}
    some = panoglot.subset(data, output=tmp_path / "sw.pano", lang="sw,zh", kinds=["region", "alt"])
    assert some.languages == {"sw": 7, "zh-Hant": 7}
    assert "zh takes in zh-Hant" in some.notes[0]
    said = panoglot.subset(data, output=tmp_path / "text.pano", where="text like '%Scheibe%'")
    assert said.images == 7
    part = panoglot.open(tmp_path / "text.pano")
    assert all(
        part.captions.count(f"image_id = '{key}' and text like '%Scheibe%'") for key in rows(part.images, "image_id")
    )
    whole = panoglot.subset(data, output=tmp_path / "whole.pano", include_dropped=True)
    assert (whole.images, whole.captions, whole.dropped) == (9, 40, 8)
    capsys.readouterr()
    assert run("subset", tmp_path / "a.pano", "--where", "colour = 'red'", "-o", tmp_path / "x.pano") == 2
    said = capsys.readouterr().err
    assert "colour" in said
    assert said.count("\n") == 1
    with pytest.raises(UserError, match=r"nothing in .* fits"):
        panoglot.subset(data, output=tmp_path / "y.pano", where="width > 1000")
    with pytest.raises(UserError, match="is one of the datasets that are read"):
        panoglot.subset(data, output=tmp_path / "a.pano")
    with pytest.raises(UserError, match="two datasets or more"):
        panoglot.merge(data, output=tmp_path / "z.pano")


# -- split -------------------------------------------------------------------------------------------------------------


def grouped(path, count=40, **more):
    """Pictures in groups of two, the last two of which are near-duplicates of the first two."""
    data = made(path, count, **more)
    held = sorted(data.images.rows(["image_id"]), key=lambda row: row["image_id"])
    data.images.change([{"image_id": row["image_id"], "group": f"film {n // 2}"} for n, row in enumerate(held)])
    return data


def sides(data):
    return {row["image_id"]: row["split"] for row in data.splits.rows()}


def test_nothing_is_on_both_sides(tmp_path, capsys):
    data = grouped(tmp_path / "a.pano")
    assert run("split", tmp_path / "a.pano", "--test", ".2", "--val", ".1", "--no-near") == 0
    assert "test 8, train 28, val 4" in capsys.readouterr().out
    side = sides(data)
    films = {}
    for row in data.images.rows(["image_id", "group"]):
        films.setdefault(row["group"], set()).add(side[row["image_id"]])
    assert all(len(found) == 1 for found in films.values())
    panoglot.split(data, test=0.2, val=0.1, near=False)
    assert sides(data) == side  # the same again
    panoglot.split(data, test=0.2, val=0.1, near=False, seed=1)
    assert sides(data) != side
    found = panoglot.info(data)
    assert found.splits == {"train": 28, "test": 8, "val": 4}


def test_near_duplicates_stay_together_and_it_is_said(tmp_path):
    import io

    import PIL.Image

    many = {}
    for n in range(0, 24, 2):  # every second one is the one before it, smaller and compressed anew
        many[n] = picture_bytes(n, 160, 120, "PNG")
        buffer = io.BytesIO()
        PIL.Image.open(io.BytesIO(many[n])).convert("RGB").resize((120, 90)).save(buffer, "JPEG", quality=70)
        many[n + 1] = buffer.getvalue()
    data = made(tmp_path / "a.pano", 24, bytes=many)
    found = panoglot.split(data, test=0.5, quiet=True)
    assert found.near > 0
    side = sides(data)
    from panoglot.curation.pdq import pdq
    from panoglot.pictures import Image

    hashed = {row["image_id"]: pdq(Image(row["data"])) for row in data.images.rows(["image_id", "data"])}
    good = {key: int.from_bytes(code) for key, (code, quality) in hashed.items() if quality >= 50}
    near = [(a, b) for a in good for b in good if a < b and (good[a] ^ good[b]).bit_count() <= 31]
    assert near
    assert all(side[a] == side[b] for a, b in near)
    assert found.unhashed == 24 - len(good)


def test_parts_of_a_picture_stay_with_it(tmp_path):
    data = made(tmp_path / "a.pano", 20)
    held = sorted(row["image_id"] for row in data.images.rows(["image_id"]))
    whole, crops = held[0], held[1:6]
    data.images.change([{"image_id": key, "parents": [whole]} for key in crops])
    panoglot.split(data, test=0.5, near=False)
    side = sides(data)
    assert {side[key] for key in crops} == {side[whole]}


def test_a_key_of_the_context_and_a_division_that_cannot_be(tmp_path):
    data = made(tmp_path / "a.pano", 10, context={"page": {"product": "p1"}})
    with pytest.raises(UserError, match=r"10 of 10 pictures belong together by 'page\.product'"):
        panoglot.split(data, by="page.product", near=False)
    assert len(data.splits) == 0
    with pytest.raises(UserError, match=r"no picture of .* has 'sku'"):
        panoglot.split(data, by="sku", near=False)
    with pytest.raises(UserError, match="must be shares"):
        panoglot.split(data, test=1.0)


def test_training_keeps_to_the_division(tmp_path):
    pytest.importorskip("torch")
    from panoglot.training import read_records

    data = grouped(tmp_path / "a.pano", 20)
    panoglot.split(data, test=0.2, near=False)
    side = sides(data)
    found = read_records(data, held_out=0.5)
    assert {record.id: record.split for record in found.records} == side


def test_a_subset_that_fails_leaves_no_dataset_and_says_what_there_is(tmp_path, capsys):
    data = full_dataset(tmp_path / "a.pano")
    panoglot.mix(data, policy="alt=1", name="coin")
    capsys.readouterr()
    for asked, message in (
        (["--where", "width > 100000"], "nothing in "), (["--lang", "zz"], "is not a language tag"),
        (["--split", "train"], "nothing in "),
        (["--plan", "nix"], "no plan 'nix'. Known: coin."), (["--plan", "coins"], "Did you mean 'coin'?"),
    ):  # fmt: skip
        assert run("subset", tmp_path / "a.pano", *asked, "-o", tmp_path / "x.pano", "--quiet") == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
        assert not (tmp_path / "x.pano").exists()


def test_what_a_subset_leaves_out_is_counted_and_quiet_is_quiet(tmp_path, capsys):
    data = full_dataset(tmp_path / "a.pano")
    had, dropped = len(data.images), len(data.dropped_images())
    assert run("subset", tmp_path / "a.pano", "--where", "width >= 46", "-o", tmp_path / "b.pano", "--quiet") == 0
    taken = len(panoglot.open(tmp_path / "b.pano").images)
    said = capsys.readouterr().err
    assert said.startswith(f"note: {had - taken} images of the dataset were left out, {dropped} of them as dropped")
    assert run("merge", tmp_path / "a.pano", tmp_path / "b.pano", "-o", tmp_path / "c.pano", "--quiet") == 0
    assert "merge" not in capsys.readouterr().err
    assert run("merge", tmp_path / "a.pano", tmp_path / "b.pano", "-o", tmp_path / "d.pano") == 0
    assert f"merge: {had + taken} done" in capsys.readouterr().err
