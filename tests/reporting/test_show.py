"""One image in the terminal."""

from __future__ import annotations

import json
from urllib.parse import quote

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.geometry import Region
from panoglot.pictures import load_pictures
from panoglot.reporting import show
from panoglot.table import Rating, create_dataset, image_id
from tests.conftest import picture_bytes
from tests.formats.samples import write_tar
from tests.reporting.library import insert_captions, insert_image, made


def reject(key, item, step, reason, message, **more):
    return {"reject_id": key, "item": item, "stage": step, "reason": reason, "message": message, "run_id": "r"} | more


@pytest.fixture
def data(tmp_path):
    import numpy as np

    found = create_dataset(tmp_path / "x.pano")
    ids = [insert_image(found, picture_bytes(n), f"photos/{n}/ball.jpg") for n in range(30)]
    image = ids[0]
    drafts = [
        made(
            image,
            f"A ball, draft {n}.",
            "en",
            n,
            recipe="fuse/1",
            model="hf:one",
            dropped="draft",
            scores={"match": 0.25},
        )
        for n in range(2)
    ]
    fused = made(
        image, "A red ball.", "en", 3, recipe="fuse/1", model="hf:two", parents=drafts, scores={"alignment": None}
    )
    swahili = made(image, "Mpira mwekundu.", "sw", recipe="translate/1", parents=[fused, "f" * 32])
    arabic = made(
        image, "كرة حمراء \u202eabc\x1b[31m", "ar", recipe="translate/1", parents=[fused], dropped="wrong_language"
    )
    box = made(image, "the left half", "en", 9, kind="region", recipe="r/1", region=Region(0, 0, 0.5, 1))
    insert_captions(found, [*drafts, fused, swahili, arabic, box])
    found.marks.upsert([{"image_id": image, "scores": {"aesthetic": 5.25}, "dropped": f"duplicate_of:{ids[1]}"}])
    name = found.add_vectors("embedded:conse", "0123456789abcdef", 4)
    vector = {"of": "image", "lang": "", "vector": np.zeros(4, np.float16), "run_id": "r"}
    found.vectors(name).insert(
        [
            {"vector_id": "a", "id": image, **vector},
            {"vector_id": "b", "id": swahili.caption_id, **vector},
            {"vector_id": "c", "id": ids[1], **vector},
        ]
    )
    found.rejects.upsert(
        [
            reject("1", fused.caption_id, "translate-0", "timed_out", "60 s"),
            reject("2", "photos/0/ball.jpg", "ingest", "bad_json", "", resolved="q"),
            reject("3", ids[1], "other", "x", ""),
            reject("4", "photos/broken.jpg", "ingest", "truncated", ""),
        ]
    )
    return found, ids


def test_tree_goes_from_drafts_to_translations(data):
    found, ids = data
    lines = str(show(found, ids[0])).splitlines()
    depth = {
        text: next(line.index(text[:6]) for line in lines if text in line)
        for text in ("A ball, draft 0.", "A red ball.", "Mpira mwekundu.")
    }
    assert depth["A ball, draft 0."] < depth["A red ball."] < depth["Mpira mwekundu."]
    text = "\n".join(lines)
    assert text.count("A red ball.") == 2  # under each of its parents
    assert text.count("Mpira mwekundu.") == 1  # what follows from it only once
    assert "(see above)" in text
    assert "dropped: wrong_language" in text
    assert "1 parent not in this dataset" in text
    assert "alignment –" in text
    assert "box 0.00 0.00 0.50 1.00" in text
    assert f"dropped  duplicate_of:{ids[1]}" in text
    assert "aesthetic 5.25" in text
    assert "timed out" in text
    assert "mended later" in text
    assert not {"\u202e", "\x1b"} & set(text)
    assert "<U+202E>abc<U+001B>[31m" in text


def test_to_dict_is_json_with_everything(data):
    found, ids = data
    plain = json.loads(json.dumps(show(found, ids[0]).to_dict(), ensure_ascii=False))
    assert plain["image"]["uri"] == "photos/0/ball.jpg"
    assert "data" not in plain["image"]
    assert len(plain["captions"]) == 6
    assert plain["vectors"] == {"embedded_conse-01234567": 2}
    assert [row["reject_id"] for row in plain["rejects"]] == ["2", "1"]
    assert plain["marks"]["dropped"] == f"duplicate_of:{ids[1]}"


def test_an_image_is_named_by_id_prefix_or_uri(data):
    found, ids = data
    assert show(found, ids[3]).image["image_id"] == ids[3]
    assert show(str(found.path), ids[3][:10].upper()).image["image_id"] == ids[3]
    assert show(found, "photos/3/ball.jpg").image["image_id"] == ids[3]
    assert show(found, "3/ball.jpg").image["image_id"] == ids[3]
    odd = insert_image(found, picture_bytes(99), "it's 100%_odd.jpg")
    assert show(found, "it's 100%_odd.jpg").image["image_id"] == odd
    number = insert_image(found, picture_bytes(98), "shots/0001")
    assert show(found, "0001").image["image_id"] == number  # hexadecimal, but no id begins so


#: What a source of rows holds, and all that people may call the second picture of it by.
ROWS = {
    "hf.parquet": (
        {"image": lambda n, data, name: {"bytes": data, "path": f"pets/{name}"}},
        ["pets/{}", "hf.parquet#1"],
    ),
    "raw.parquet": ({"image": lambda n, data, name: data, "file_name": lambda n, d, name: name}, ["raw.parquet#1"]),
    "key.parquet": (
        {
            "image": lambda n, data, name: data,
            "url": lambda n, d, name: f"https://x.org/a/{quote(name)}?size=2",
            "key": lambda n, d, name: f"key-{n}",
            "id": lambda n, d, name: 700 + n,
        },
        ["key-1", "701", "key.parquet#1"],
    ),
    "named.lance": ({"image": lambda n, data, name: data, "name": lambda n, d, name: name}, ["named.lance#1"]),
    "paths.csv": ({"image": lambda n, data, name: f"files/{name}"}, ["files/{}", "paths.csv#1"]),
    "shard.tar": ({}, ["a cat", "shard.tar#{}"]),
}
NAMES = ("a cat.png", "गिलहरी.png", "猫 'n' قطة.png")


@pytest.mark.parametrize("source", ROWS)
def test_a_picture_of_a_row_is_named_as_its_row_names_it_everywhere(tmp_path, source):
    columns, more = ROWS[source]
    path = tmp_path / source
    rows = [(n, picture_bytes(n, format="PNG"), name) for n, name in enumerate(NAMES)]
    table = {column: [value(*row) for row in rows] for column, value in columns.items()}
    if source.endswith(".parquet"):
        pq.write_table(pa.table(table), path)
    elif source.endswith(".lance"):
        lance.write_dataset(pa.table(table), str(path))
    elif source.endswith(".csv"):
        (tmp_path / "files").mkdir()
        for _, data, name in rows:
            (tmp_path / "files" / name).write_bytes(data)
        path.write_text("\n".join(["image", *table["image"]]), encoding="utf-8")
    else:
        write_tar(path, [(name, data) for _, data, name in rows])
    data = panoglot.ingest(str(path), str(tmp_path / "x.pano"), quiet=True).dataset
    keys = [image_id(body) for _, body, _ in rows]
    for n, name in enumerate(NAMES):
        found = show(data, name)
        assert found.image["image_id"] == keys[n]
        assert f"name     {name}" in str(found)
        assert load_pictures(data, [keys[n]], 40)[keys[n]].name == name
    for said in more:
        which = 0 if said == "a cat" else 1
        assert show(data, said.format(NAMES[1])).image["image_id"] == keys[which], said
    with pytest.raises(UserError, match="Did you mean 'गिलहरी"):
        show(data, "गिलहरी.pn")
    panoglot.edit(data, NAMES[2], lang="en", text="A cat.", author="me")
    panoglot.forget(data, NAMES[0])
    panoglot.export(data, tmp_path / "out", to="jsonl", names="original")
    written = {file.name for file in (tmp_path / "out").rglob("*.png")}
    assert written == {"गिलहरी.png", "猫_n_قطة.png"}
    assert {row["text"] for row in data.captions.rows(where="kind = 'human'")} == {"A cat."}


def test_mistakes_name_the_fix(data):
    found, ids = data
    with pytest.raises(UserError, match=r"fits several images: .*photos/.* …; give more"):
        show(found, "ball.jpg")
    shared = next(c for c in "0123456789abcdef" if sum(i.startswith(c) for i in ids) > 1)
    with pytest.raises(UserError, match="fits several images"):
        show(found, shared)
    with pytest.raises(UserError, match=r"Did you mean 'photos/7/ball\.jpg'"):
        show(found, "photos/7/bal.jpg")
    wrong = ids[5][:31] + ("0" if ids[5][31] != "0" else "1")
    with pytest.raises(UserError, match=f"Did you mean '{ids[5]}'"):
        show(found, wrong)
    with pytest.raises(UserError, match="was rejected by ingest \\(truncated\\)"):
        show(found, "photos/broken.jpg")
    with pytest.raises(UserError, match="named by its id"):
        show(found, "zzz")
    with pytest.raises(UserError, match="give an image"):
        show(found, " ")
    with pytest.raises(UserError, match="there is no dataset"):
        show(found.path.parent / "no.pano", "x")


def test_an_image_without_anything(data):
    found, ids = data
    shown = show(found, ids[8])
    assert "no text about it yet" in str(shown)
    assert (shown.captions, shown.vectors, shown.rejects, shown.marks) == ([], {}, [], {})


def test_a_document_or_folder_is_answered_with_its_pictures(tmp_path):
    import panoglot
    from tests.conftest import picture_bytes
    from tests.formats.samples import write_tar

    (tmp_path / "in").mkdir()
    for n in range(2):
        (tmp_path / "in" / f"{n}.png").write_bytes(picture_bytes(n))
    write_tar(tmp_path / "s.tar", [(f"{n}.png", picture_bytes(10 + n)) for n in range(7)])
    write_tar(tmp_path / "one's.tar", [("a.png", picture_bytes(20))])
    sources = [tmp_path / name for name in ("in", "s.tar", "one's.tar")]
    data = panoglot.ingest(sources, str(tmp_path / "x.pano"), quiet=True).dataset
    with pytest.raises(
        UserError, match=r"'s.tar' holds 7 pictures: s.tar#0.png, s.tar#1.png, .* and 2 more. The first: "
    ):
        show(data, "s.tar")
    with pytest.raises(UserError, match=r"'in/' holds 2 pictures: 0.png, 1.png. The first: panoglot show "):
        show(data, "in/")
    assert show(data, "one's.tar").image["uri"].endswith("one's.tar#a.png")


def test_a_comparison_says_which_is_better_and_where_the_two_differ(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    image = insert_image(data, picture_bytes(1), "a.jpg")
    same = "The picture shows a coffee clearly in the middle of "
    texts = {
        "1" * 32: same + "a white table.",
        "2" * 32: same + "a black sofa.",
        "3" * 32: "قهوة.",
        "4" * 32: "一杯咖啡。",
    }
    captions = [made(image, text, "en", n, recipe="m") for n, text in enumerate(texts.values())]
    for caption, key in zip(captions, texts):
        caption.caption_id = key
    insert_captions(data, captions)
    said = [("1", "2", 1.0), ("1", "2", 0.0), ("3", "4", 0.5)]
    rows = [Rating(a * 32, value, against=b * 32, criterion="truth", rater="vlm:a").plain() for a, b, value in said]
    data.ratings.insert([row | {"rating_id": f"{n:032x}"} for n, row in enumerate(rows)])
    text = " ".join(str(show(data, image)).split())
    assert "“…middle of a white table.” is better than “…middle of a black sofa.” by vlm:a" in text
    assert "“…middle of a white table.” is worse than" in text
    assert "“قهوة.” is held equal to “一杯咖啡。” by vlm:a" in text
