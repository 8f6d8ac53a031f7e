"""Parquet, Arrow on disk, CSV, TSV and JSON lines: columns, languages, paths, damage."""

import base64
import json
from contextlib import suppress
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoglot.errors import UserError
from panoglot.formats import Sample, detect, find_format, parquet, read_part, tabular
from panoglot.table import Reject
from tests.conftest import picture_bytes
from tests.formats.samples import reasons, take, texts

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.fixture
def files(tmp_path):
    """Three pictures `0.jpg`, `1.jpg`, `2.jpg` in `pics/`."""
    (tmp_path / "pics").mkdir()
    for n in range(3):
        (tmp_path / "pics" / f"{n}.jpg").write_bytes(picture_bytes(n))
    return tmp_path


# -- what the columns are ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
@pytest.mark.parametrize("name", ["image", "jpg", "Image_Bytes", "whatever"])
def test_bytes_under_many_names(tmp_path, kind, name):
    path = write(tmp_path / "a.parquet", {"n": [1, 2], name: pa.array([picture_bytes(0), picture_bytes(1)], kind)})
    samples, rejects = take(path)
    assert [s.data for s in samples] == [picture_bytes(0), picture_bytes(1)]
    assert [s.uri for s in samples] == [f"{path}#0", f"{path}#1"]
    assert [s.context for s in samples] == [{"n": 1}, {"n": 2}]
    assert rejects == []


def test_captions_in_many_columns_and_languages(tmp_path):
    path = write(
        tmp_path / "a.parquet",
        {
            "image": pa.array(
                [{"bytes": picture_bytes(0), "path": "x.jpg"}, {"bytes": picture_bytes(1), "path": None}], IMAGE
            ),
            "caption": ["Ein Bild", "A picture"],
            "language": ["de", "not a language"],
            "caption_sw": ["picha", None],
            "text[th]": [["ภาพ", "รูป"], []],
            "alt_text": ["alt", ""],
            "caption_id": [5, 6],
            "title": ["T", None],
        },
    )
    samples, _ = take(path)
    assert texts(samples[0]) == [("de", "Ein Bild"), ("sw", "picha"), ("th", "ภาพ"), ("th", "รูป"), ("de", "alt")]
    assert samples[0].captions[-1].kind == "alt"
    assert texts(samples[1]) == [("und", "A picture")]
    assert samples[0].context == {"caption_id": 5, "title": "T", "file": "x.jpg"}


def test_columns_by_option(tmp_path):
    path = write(
        tmp_path / "a.parquet",
        {
            "x": [picture_bytes(0)],
            "y": [picture_bytes(1)],
            "Beschreibung": ["Ein Bild"],
            "opis": ["Obraz"],
            "film": ["f1"],
            "sec": [2.5],
            "tongue": ["pl"],
        },
    )
    options = {
        "image_column": "y",
        "text_columns": "Beschreibung=de,opis",
        "group_column": "film",
        "time_column": "sec",
    }
    (sample,), _ = take(path, lang_column="tongue", **options)
    assert sample.data == picture_bytes(1)
    assert texts(sample) == [("de", "Ein Bild"), ("pl", "Obraz")]
    assert (sample.group, sample.time) == ("f1", 2.5)
    for option, value, near in (
        ("image_column", "Y", "no column 'Y'"),
        ("text_columns", "Beschreibun", "Did you mean 'Beschreibung'"),
        ("lang_column", "tonge", "Did you mean 'tongue'"),
        ("kind", "hooman", "not a kind"),
        ("lang", "deutsch", "not a language"),
    ):
        with pytest.raises(UserError, match=near):
            take(path, **{"image_column": "y", option: value})
    with pytest.raises(UserError, match="name it: --option image_column=NAME"):
        take(path)  # two columns could be it


def test_no_picture_column(tmp_path):
    with pytest.raises(UserError, match="no column that can be the picture"):
        take(write(tmp_path / "a.parquet", {"caption": ["x"]}))


def test_class_names_and_several_pictures_in_a_row(tmp_path):
    feature = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}
    table = pa.table(
        {
            "images": pa.array(
                [[{"bytes": picture_bytes(0), "path": ""}, {"bytes": picture_bytes(1), "path": ""}]], pa.list_(IMAGE)
            ),
            "label": [1],
        }
    ).replace_schema_metadata({"huggingface": json.dumps(feature)})
    pq.write_table(table, tmp_path / "a.parquet")
    samples, _ = take(tmp_path / "a.parquet")
    assert [s.uri.rpartition("#")[2] for s in samples] == ["0/0", "0/1"]
    assert [[(c.kind, c.text) for c in s.captions] for s in samples] == [[("label", "dog")]] * 2


def test_addresses_are_not_fetched_unless_they_are_asked_for(tmp_path):
    path = write(tmp_path / "a.parquet", {"URL": ["https://example.org/a.jpg", None], "TEXT": ["x", "y"]})
    samples, rejects = take(path, download=False)
    assert samples == []
    assert reasons(rejects) == ["no_image", "remote_url"]
    assert "img2dataset" in next(r.message for r in rejects if r.reason == "remote_url")


def test_rows_beside_an_address_are_alt_texts(tmp_path):
    path = write(tmp_path / "a.parquet", {"jpg": [picture_bytes(0)], "url": ["https://e.org"], "caption": ["x"]})
    (sample,), _ = take(path)
    assert [(c.kind, c.recipe) for c in sample.captions] == [("alt", "web")]
    assert sample.context == {"url": "https://e.org"}


# -- paths -------------------------------------------------------------------------------------------------------------


def paths_of(files):
    return [
        "pics/0.jpg",
        "pics/1.jpg",
        str(files / "pics/2.jpg"),
        "../../etc/passwd",
        "/etc/passwd",
        "pics/none.jpg",
        "",
        "pics",
    ]


EXPECTED = ["missing_file", "no_image", "not_a_file", "outside_folder", "outside_folder"]


def test_paths_in_parquet(files):
    path = write(files / "a.parquet", {"file_name": paths_of(files), "caption": ["x"] * 8})
    samples, rejects = take(path)
    assert [s.data for s in samples] == [picture_bytes(n) for n in range(3)]
    assert reasons(rejects) == EXPECTED


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_paths_in_text_tables(files, suffix):
    separator = "\t" if suffix == ".tsv" else ","
    lines = [f"image{separator}caption{separator}caption_de"]
    lines += [f'{path}{separator}"a, b"{separator}ä' for path in paths_of(files)]
    if suffix == ".jsonl":
        lines = [json.dumps({"image": p, "caption": "a, b", "caption_de": "ä"}) for p in paths_of(files)]
    (files / f"a{suffix}").write_text("\n".join(lines), encoding="utf-8")
    samples, rejects = take(files / f"a{suffix}")
    assert [s.uri.rpartition("#")[2] for s in samples] == ["0", "1", "2"]
    assert texts(samples[0]) == [("und", "a, b"), ("de", "ä")]
    assert reasons(rejects) == EXPECTED


def test_outside_and_image_dir(files, tmp_path):
    elsewhere = tmp_path / "rows"
    elsewhere.mkdir()
    (elsewhere / "a.csv").write_text("image\n../pics/0.jpg\n")
    assert reasons(take(elsewhere / "a.csv")[1]) == ["outside_folder"]
    assert len(take(elsewhere / "a.csv", allow_outside="true")[0]) == 1
    (elsewhere / "b.csv").write_text("image\n0.jpg\n")
    assert len(take(elsewhere / "b.csv", image_dir=str(tmp_path / "pics"))[0]) == 1
    (tmp_path / "pics" / "link.jpg").symlink_to("/etc/passwd")
    (elsewhere / "c.csv").write_text("image\nlink.jpg\n")
    assert reasons(take(elsewhere / "c.csv", image_dir=str(tmp_path / "pics"))[1]) == ["outside_folder"]


def test_imagefolder(files):
    (files / "pics" / "metadata.jsonl").write_text(
        "".join(json.dumps({"file_name": f"{n}.jpg", "text": f"t{n}"}) + "\n" for n in range(3))
    )
    assert detect(files / "pics") == "tabular"
    samples, _ = take(files / "pics")
    assert [texts(s) for s in samples] == [[("und", f"t{n}")] for n in range(3)]


def test_base64(files):
    coded = base64.b64encode(picture_bytes(7)).decode()
    rows = [{"image": f"data:image/jpeg;base64,{coded}"}, {"image": coded}, {"image": "data:image/png;base64,@@@"}]
    (files / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    samples, rejects = take(files / "a.jsonl")
    assert [s.data for s in samples] == [picture_bytes(7)] * 2
    assert reasons(rejects) == ["bad_base64"]


# -- damage ------------------------------------------------------------------------------------------------------------


def test_broken_lines_cost_themselves(files):
    (files / "a.jsonl").write_bytes(
        b'{"image": "pics/0.jpg", "caption": "eins"}\n{broken\n[1]\n\n'
        + b'{"image": "pics/1.jpg", "caption": "\xff\xfe"}\n'
        + b'{"image": "pics/\xff.jpg"}\n'
        + b'{"image": {"a": 1}}\n{"image": 5}\n'
        + b"[" * 50_000
        + b'\n{"image": "pics/2.jpg"}'
    )
    samples, rejects = take(files / "a.jsonl")
    assert [s.data for s in samples] == [picture_bytes(n) for n in range(3)]
    assert reasons(rejects) == [
        "bad_encoding",
        "bad_encoding",
        "bad_json",
        "bad_json",
        "bad_json",
        "no_image",
        "no_image",
    ]
    assert texts(samples[1]) == []


def test_a_stray_quote_costs_one_csv_row(files):
    rows = ['pics/0.jpg,"fine, really"', 'pics/1.jpg,"never closed', "pics/2.jpg,plain", 'pics/0.jpg,"two\nlines"']
    rows += [
        'pics/1.jpg,5" pipe',
        "pics/2.jpg",
        "pics/2.jpg,a,b,c",
        "pics/0.jpg,x,,",
        'pics/1.jpg,"q"uote',
        "pics/2.jpg,\xff\udcff",
    ]
    (files / "a.csv").write_bytes(("image,caption\n" + "\n".join(rows)).encode("utf-8", "surrogateescape"))
    samples, rejects = take(files / "a.csv")
    found = [t[0][1] if (t := texts(s)) else None for s in samples]
    assert found == ["fine, really", '"never closed', "plain", "two\nlines", '5" pipe', None, "x", '"q"uote', None]
    assert reasons(rejects) == ["bad_encoding", "bad_row"]


def test_a_csv_wants_a_header(files):
    (files / "a.csv").write_text("\n\n")
    with pytest.raises(UserError, match="column names"):
        take(files / "a.csv")
    (files / "c.jsonl").write_text("1\n2\n")
    with pytest.raises(UserError, match="no JSON object"):
        take(files / "c.jsonl")


def test_parts_of_a_table_join_to_the_whole(files, monkeypatch):
    monkeypatch.setattr(tabular, "_ROWS", 7)
    body = "".join(
        f'pics/{n % 3}.jpg,"line {n}\n{{"\n' if n % 4 else f'pics/{n % 3}.jpg,"open {n}\n' for n in range(40)
    )
    (files / "a.csv").write_text("\ufeffimage,caption\n" + body, encoding="utf-8")
    _, parts = find_format(files / "a.csv")
    listed = list(parts())
    assert len(listed) > 3
    found = [one for part in listed for one in read_part(part)]
    uris = [one.uri if isinstance(one, Sample) else one.item for one in found]
    assert [int(uri.rpartition("#")[2]) for uri in uris] == list(range(sum(p.count for p in listed)))
    monkeypatch.setattr(tabular, "_ROWS", 1000)
    again = [one for part in find_format(files / "a.csv")[1]() for one in read_part(part)]
    assert [texts(a) if isinstance(a, Sample) else a for a in again] == [
        texts(b) if isinstance(b, Sample) else b for b in found
    ]


def test_text_that_is_not_utf8_in_arrow_costs_the_text(tmp_path):
    bad = pa.array([b"fine", b"\xff\xfe", b"sch\xc3\xb6n"], pa.binary()).view(pa.string())
    offsets = pa.array([0, 1, 2, 3], pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array([b"eins", b"\xff", b"drei"], pa.binary()).view(pa.string()))
    names = pa.array([b"a", b"\xfe", b"c"], pa.binary()).view(pa.string())
    pictures = pa.StructArray.from_arrays([pa.array([picture_bytes(n) for n in range(3)]), names], ["bytes", "path"])
    path = write(tmp_path / "a.parquet", {"image": pictures, "caption": bad, "caption_de": lists})
    samples, rejects = take(path)
    assert [s.data for s in samples] == [picture_bytes(n) for n in range(3)]
    assert [texts(s) for s in samples] == [[("und", "fine"), ("de", "eins")], [], [("und", "schön"), ("de", "drei")]]
    assert [(r.item.rpartition("#")[2], r.reason) for r in rejects] == [
        ("1:caption", "bad_encoding"),
        ("1:caption_de", "bad_encoding"),
    ]


def test_a_torn_parquet_file_is_one_reject(tmp_path):
    write(tmp_path / "a.parquet", {"image": [picture_bytes(n) for n in range(5)]})
    raw = (tmp_path / "a.parquet").read_bytes()
    for keep in (0, 3, len(raw) // 2, len(raw) - 1):
        (tmp_path / "b.parquet").write_bytes(raw[:keep])
        samples, rejects = take(tmp_path / "b.parquet")
        assert samples == []
        assert reasons(rejects) == ["bad_archive"]


def test_row_groups_are_parts_and_a_broken_one_costs_itself(tmp_path):
    path = write(
        tmp_path / "a.parquet",
        {"image": [picture_bytes(n) for n in range(9)]},
        row_group_size=3,
        compression="none",
        use_dictionary=False,
    )
    parts = list(parquet.parts(str(path)))
    assert [p.count for p in parts] == [3, 3, 3]
    raw = bytearray(path.read_bytes())
    at = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    raw[at : at + 12] = b"\xff" * 12
    path.write_bytes(raw)
    samples, rejects = take(path)
    good = {s.data for s in samples}
    assert good == {picture_bytes(n) for n in (0, 1, 2, 6, 7, 8)}
    assert reasons(rejects) == ["bad_archive"]


def test_dates_and_other_types_in_the_context(tmp_path):
    path = write(
        tmp_path / "a.parquet",
        {
            "image": [picture_bytes(0)],
            "when": pa.array([np.datetime64("2020-01-02T03:04:05")]),
            "score": [float("nan")],
            "far": pa.array([2**62], pa.timestamp("ms")),
            "raw": [b"bytes"],
            "tags": [["a", "b"]],
        },
    )
    (sample,), _ = take(path, image_column="image")
    assert sample.context == {"when": "2020-01-02T03:04:05", "tags": ["a", "b"]}
    json.dumps(sample.context, allow_nan=False)


# -- datasets on disk --------------------------------------------------------------------------------------------------


def save_to_disk(folder, table, shards=2):
    """What `datasets.Dataset.save_to_disk` writes."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05d}-of-{shards:05d}.arrow" for n in range(shards)]
    step = -(-table.num_rows // shards)
    for n, name in enumerate(names):
        with pa.ipc.new_stream(str(folder / name), table.schema) as stream:
            stream.write_table(table.slice(n * step, step), max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")


def hf_table(count=5, start=0):
    images = [{"bytes": picture_bytes(start + n), "path": f"{n}.jpg"} for n in range(count)]
    return pa.table({"image": pa.array(images, IMAGE), "caption_hi": [f"चित्र {n}" for n in range(count)]})


def test_datasets_on_disk(tmp_path):
    save_to_disk(tmp_path / "ds", hf_table())
    assert detect(tmp_path / "ds") == "hf_datasets"
    samples, rejects = take(tmp_path / "ds")
    assert [s.data for s in samples] == [picture_bytes(n) for n in range(5)]
    assert [texts(s) for s in samples] == [[("hi", f"चित्र {n}")] for n in range(5)]
    assert rejects == []


def test_splits(tmp_path):
    for n, split in enumerate(["train", "test"]):
        save_to_disk(tmp_path / "ds" / split, hf_table(2, 10 * n), shards=1)
    (tmp_path / "ds" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    samples, _ = take(tmp_path / "ds")
    assert [s.context["split"] for s in samples] == ["train", "train", "test", "test"]
    assert len(take(tmp_path / "ds", split="test")[0]) == 2
    with pytest.raises(UserError, match="has train, test"):
        take(tmp_path / "ds", split="dev")
    (tmp_path / "ds" / "dataset_dict.json").write_text('{"splits": ["../../etc"]}')
    with pytest.raises(UserError, match="no folders of its own"):
        take(tmp_path / "ds")


def test_a_torn_arrow_file_gives_what_came_before(tmp_path):
    save_to_disk(tmp_path / "ds", hf_table(6), shards=1)
    path = tmp_path / "ds" / "data-00000-of-00001.arrow"
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) * 2 // 3])
    samples, rejects = take(tmp_path / "ds")
    assert 1 <= len(samples) < 6
    assert reasons(rejects) == ["bad_archive"]
    path.unlink()
    assert reasons(take(tmp_path / "ds")[1]) == ["missing_file"]
    (tmp_path / "ds" / "state.json").write_text('{"_data_files": [{"filename": "../x.arrow"}]}')
    with pytest.raises(UserError, match="outside its folder"):
        take(tmp_path / "ds")


def test_what_the_package_saves_is_read(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    features = datasets.Features(
        {"image": datasets.Image(), "text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    rows = {
        "image": [{"bytes": picture_bytes(n), "path": None} for n in range(4)],
        "text": list("wxyz"),
        "label": [0, 1, 0, 1],
    }
    data = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": data}).save_to_disk(str(tmp_path / "dict"))
    data.to_parquet(str(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet"))
    for source, format in (("dict", "hf_datasets"), ("hub", "parquet")):
        assert detect(tmp_path / source) == format
        samples, rejects = take(tmp_path / source)
        assert rejects == []
        assert [s.data for s in samples] == [picture_bytes(n) for n in range(4)]
        assert [[c.text for c in s.captions] for s in samples] == [["w", "a"], ["x", "b"], ["y", "a"], ["z", "b"]]


# -- random damage -----------------------------------------------------------------------------------------------------


def damaged(raw, draw):
    raw = bytearray(raw)
    for _ in range(draw.draw(st.integers(1, 10))):
        raw[draw.draw(st.integers(0, len(raw) - 1))] = draw.draw(st.integers(0, 255))
    return bytes(raw)


@pytest.mark.parametrize("format", ["parquet", "arrow", "csv", "jsonl"])
def test_random_damage_raises_nothing(tmp_path_factory, format):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "0.jpg").write_bytes(picture_bytes(0))
    small = picture_bytes(1, 8, 8)
    if format == "parquet":
        path = write(
            folder / "a.parquet", {"image": [small] * 3, "caption": ["x", "ü", None], "texts": [["a"], [], None]}
        )
    elif format == "arrow":
        table = pa.table({"image": pa.array([{"bytes": small, "path": "p"}] * 3, IMAGE), "caption": ["x", "ü", None]})
        save_to_disk(folder / "ds", table, shards=1)
        path = folder / "ds" / "data-00000-of-00001.arrow"
    else:
        path = folder / f"a.{format}"
        path.write_text(
            'image,caption\n0.jpg,"a, b"\n0.jpg,x\n' if format == "csv" else '{"image": "0.jpg", "caption": "ü"}\n' * 3
        )
    raw, source = path.read_bytes(), (folder / "ds" if format == "arrow" else path)

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def damage(draw):
        path.write_bytes(damaged(raw, draw))
        try:
            samples, rejects = take(source)
        except UserError:  # the header itself: columns that nobody can tell
            return
        assert all(isinstance(s, Sample) for s in samples)
        assert all(isinstance(r, Reject) and r.reason for r in rejects)

    damage()


def test_a_damaged_footer_never_ends_the_process(tmp_path):
    """Size statistics that contradict the schema make pyarrow's metadata of a column end the process."""
    small = picture_bytes(1, 8, 8)
    path = write(
        tmp_path / "a.parquet", {"image": [small] * 3, "caption": ["x", "ü", None], "texts": [["a"], [], None]}
    )
    raw = path.read_bytes()
    begin = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    whole = 0
    for seed in range(300):
        random = Random(seed)
        data = bytearray(raw)
        for _ in range(random.randint(1, 6)):
            data[random.randint(begin, len(raw) - 9)] = random.randint(0, 255)
        path.write_bytes(data)
        with suppress(UserError):  # columns that nobody can tell
            samples, rejects = take(path)
            assert all(r.reason for r in rejects)
            whole += len(samples) == 3
    assert whole > 30  # what the damage did not touch is read


def test_half_a_surrogate_pair_in_an_array_costs_its_row_alone(tmp_path):
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(picture_bytes(n))
    rows = [{"image": "0.png", "caption": "a \ud800 b"}, {"image": "1.png", "caption": "😀 \\ud800"}]
    rows += [{"image": "2.png", "caption": "ok", "score": float("-inf")}]
    (tmp_path / "r.json").write_text(json.dumps(rows))
    samples, rejects = take(str(tmp_path / "r.json"))
    assert [[caption.text for caption in sample.captions] for sample in samples] == [[], ["😀 \\ud800"], ["ok"]]
    assert reasons(rejects) == ["bad_encoding"]
