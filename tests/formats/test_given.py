"""What Python holds as a source, and files one by one."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.formats import Sample, as_image, find_format, hold, read_part, read_source
from panoglot.table import Reject
from tests.conftest import picture_bytes


def ingest(source, tmp_path, **options):
    result = panoglot.ingest(source, str(tmp_path / "x.pano"), quiet=True, **options)
    data = result.dataset
    captions = data.captions.rows(["image_id", "lang", "text"], "dropped is null")
    uris = {row["image_id"]: Path(row["uri"]).name for row in data.images.rows(["image_id", "uri"])}
    return result, sorted(uris.values()), sorted((uris[c["image_id"]], c["lang"], c["text"]) for c in captions)


def picture(seed):
    return PIL.Image.open(io.BytesIO(picture_bytes(seed)))


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "my photos"
    (folder / "more").mkdir(parents=True)
    for n, name in enumerate(("a.jpg", "b.png", "more/a.jpg", "c.jpg")):
        (folder / name).write_bytes(picture_bytes(n))
    (folder / "a.de.txt").write_text("Ein Hund.")
    (folder / "more" / "a.txt").write_text("fr.utf8=Un chat.\n")
    return folder


def test_a_list_of_paths_reads_the_texts_beside_them(files, tmp_path, monkeypatch):
    monkeypatch.chdir(files)
    given = ["a.jpg", Path("more/a.jpg"), str(files / "b.png"), "gone.jpg"]
    result, names, captions = ingest(given, tmp_path)
    assert names == ["a.jpg", "a.jpg", "b.png"]
    assert captions == [("a.jpg", "de", "Ein Hund."), ("a.jpg", "fr", "Un chat.")]
    assert [row["reason"] for row in result.dataset.rejects.rows(["reason"])] == ["missing_file"]
    again, *_ = ingest(given, tmp_path)
    assert again.rejected == 0
    assert (again.stages[0].done, again.stages[0].skipped) == (0, 2)  # the parts, a folder each: nothing is read


def test_a_pattern_of_pictures(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = panoglot.ingest("my photos/*.jpg", quiet=True)
    assert str(result.dataset.path) == "my photos.pano"
    assert sorted(Path(row["uri"]).name for row in result.dataset.images.rows(["uri"])) == ["a.jpg", "c.jpg"]
    assert [row["text"] for row in result.dataset.captions.rows(["text"])] == ["Ein Hund."]
    with pytest.raises(UserError, match="names no picture"):
        panoglot.ingest("my photos/*.webp", quiet=True)


def test_a_listing_in_several_parts(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(300):
        (folder / f"{n:03}.jpg").write_bytes(b"\xff\xd8" + str(n).encode())
    listed = tmp_path / "some.list"
    listed.write_text("".join(f"many/{n:03}.jpg\n" for n in range(300)) + "\nmany/000.jpg\nmany/x.psd\n")
    name, parts = find_format(str(listed))
    assert name == "listing"
    found = list(parts())
    assert [part.count for part in found] == [256, 45]
    read = [one for part in found for one in read_part(part)]
    assert len({one.uri for one in read if isinstance(one, Sample)}) == 300
    assert [one.reason for one in read if isinstance(one, Reject)] == ["unsupported_format"]


@pytest.mark.parametrize("name", ["some.list", "some.txt"])
def test_a_listing_has_remarks(tmp_path, name):
    for n in ("#1", "2"):
        (tmp_path / f"{n}.jpg").write_bytes(picture_bytes(int(n[-1])))
    for first, lines in (("2.jpg", "2.jpg\n#1.jpg\n"), ("https://example.org/a", "https://example.org/a\n")):
        (tmp_path / name).write_text(f"# unsere Bilder\n\n{lines}# ਅੰਤ\n", encoding="utf-8")
        found, parts = find_format(str(tmp_path / name))
        items = [part.items for part in parts()]
        names = [one for item in items for one in item.get("addresses", [])]
        names += [entry[0] for item in items for entry in item.get("entries", [])]
        assert (found, sorted(names)) == ("listing", sorted(lines.split())), first


def test_pictures_in_memory(tmp_path):
    pixels = np.asarray(picture(2))
    given = [picture(1), pixels, np.moveaxis(pixels, 2, 0) / 255, picture_bytes(3), pixels[:, :, 0]]
    result, names, captions = ingest(given, tmp_path)
    data = result.dataset
    assert len(names) == 4  # the array and the same one with channels first are one picture
    assert captions == []
    stored = {bytes(row["data"]) for row in data.images.rows(["data"])}
    assert picture_bytes(3) in stored  # bytes as they came
    decoded = [np.asarray(PIL.Image.open(io.BytesIO(raw)).convert("RGB")) for raw in stored]
    assert any((one == pixels).all() for one in decoded)
    assert as_image(picture(4).convert("CMYK")).format == "png"  # PNG has no CMYK
    assert panoglot.ingest(picture(9), str(tmp_path / "one.pano"), quiet=True).dataset.images.count() == 1


def rows():
    return [
        {"image": picture(1), "caption_de": "Ein Hund.", "n": 1},
        {"image": picture(2), "caption_de": float("nan"), "n": np.int64(2)},
        {"image": None, "caption_de": "verloren", "n": None},
        {"image": np.zeros((2, 2, 9), np.uint8), "caption_de": "auch", "n": 3},
    ]


def check_rows(result, captions):
    assert [text for _, _, text in captions] == ["Ein Hund."]
    reasons = [row["reason"] for row in result.dataset.rejects.rows(["reason"])]
    assert reasons == ["no_image", "no_image"]
    contexts = [json.loads(row["context"]) for row in result.dataset.images.rows(["context"])]
    assert sorted(context["n"] for context in contexts) == [1, 2]


def test_rows_with_pictures_and_texts(tmp_path):
    result, names, captions = ingest(rows(), tmp_path)
    assert len(names) == 2
    check_rows(result, captions)
    assert panoglot.retry(result.dataset, quiet=True).rejected == 2  # the rows are still there


def test_a_generator_of_rows(tmp_path):
    result, _, captions = ingest((row for row in rows()), tmp_path)
    check_rows(result, captions)


def test_a_frame_of_pandas(tmp_path, files):
    pandas = pytest.importorskip("pandas")
    result, _, captions = ingest(pandas.DataFrame(rows()), tmp_path)
    check_rows(result, captions)
    frame = pandas.DataFrame({"file_name": [str(files / "a.jpg"), str(files / "b.png")], "caption_es": ["Uno", "Dos"]})
    result, _, captions = ingest(frame, tmp_path / "2")
    assert [(lang, text) for _, lang, text in captions] == [("es", "Uno"), ("es", "Dos")]


class Frame:
    """As pandas has it: found by the package of its class, never imported."""

    __module__ = "pandas.core.frame"

    def to_dict(self, orient):
        assert orient == "records"
        return rows()


def test_a_frame_is_known_by_its_class(tmp_path):
    result, _, captions = ingest(Frame(), tmp_path)
    check_rows(result, captions)


def test_arrow_tables(tmp_path):
    table = pa.table({"image": [picture_bytes(1), picture_bytes(2)], "caption_hi": ["कुत्ता", "बिल्ली"]})
    expected = [("hi", "कुत्ता"), ("hi", "बिल्ली")]
    for n, given in enumerate((table, table.to_batches()[0], table.to_reader(1))):
        _, names, captions = ingest(given, tmp_path / str(n))
        assert len(names) == 2
        assert sorted((lang, text) for _, lang, text in captions) == expected


class HuggingFace:
    """As datasets.Dataset has it: Arrow inside, with the features in the schema of its own."""

    __module__ = "datasets.arrow_dataset"
    table = pa.table({"image": [{"bytes": picture_bytes(n), "path": "x.jpg"} for n in range(3)], "label": [0, 1, 1]})
    features = SimpleNamespace(
        arrow_schema=table.schema.with_metadata(
            {"huggingface": '{"info": {"features": {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}'}
        )
    )

    def __len__(self):
        return 3

    def with_format(self, name):
        assert name == "arrow"
        return self

    def iter(self, size):
        yield self.table.slice(0, 2)
        yield self.table.slice(2, 1)


def test_a_dataset_of_hugging_face(tmp_path):
    _, names, captions = ingest(HuggingFace(), tmp_path, option={"lang": "en"})
    assert len(names) == 3
    assert sorted(text for _, _, text in captions) == ["cat", "dog", "dog"]
    with pytest.raises(UserError, match=r"several splits: give one, for example given\['train'\]"):
        ingest({"train": HuggingFace(), "test": HuggingFace()}, tmp_path)


def test_the_real_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"image": [picture(1), picture(2)], "caption_de": ["eins", "zwei"]})
    _, names, captions = ingest(made.cast_column("image", datasets.Image()), tmp_path)
    assert len(names) == 2
    assert [text for _, _, text in captions] == ["eins", "zwei"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "it is empty"),
        (7, "a int is no source: give a path"),
        ([object()], "item 0 is a object"),
        (pa.table({"image": pa.array([], pa.binary())}), "it is empty"),
        (["a\nb.jpg"], "line break"),
    ],
)
def test_mistakes(given, message, tmp_path):
    with pytest.raises(UserError, match=message):
        panoglot.ingest(given, str(tmp_path / "x.pano"), quiet=True)
    assert not list((tmp_path / "x.pano").rglob(".[0-9]*"))  # nothing half written


def test_an_output_is_needed():
    with pytest.raises(UserError, match="give the dataset's folder as output"):
        panoglot.build([picture_bytes(1)])


def test_the_same_again_is_the_same_file(tmp_path):
    first, options = hold([picture_bytes(1)], tmp_path)
    assert hold([picture_bytes(1)], tmp_path) == (first, options)
    assert hold([picture_bytes(2)], tmp_path)[0] != first
    assert len(list(read_source(first, **options))) == 1
