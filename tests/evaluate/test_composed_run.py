"""Composed retrieval with encoders: pictures of colours, texts that name one, galleries as the benchmarks have them."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import PIL.Image
import pytest

from panoglot.asking import unit
from panoglot.errors import RowError, UserError
from panoglot.evaluate.benchmarks import ComposedQuery, compose_packs, composed_run, read_submission, search_composed
from panoglot.evaluate.benchmarks.genecis import crop_key, genecis, load_crop
from panoglot.retrieval import fold

PARTS = {"red": 0, "green": 1, "blue": 2, "rojo": 0, "سبز": 1, "青い": 2}


class Colours:
    """The mean colour of a picture; the colours that a text names."""

    name, fingerprint, batch_size, dim = "toy:colours", "colours", 8, 3

    def __init__(self):
        self.seen = 0

    def encode_images(self, images):
        self.seen += len(images)
        return np.stack([image.pixels().reshape(-1, 3).mean(axis=0) / 255 for image in images])

    def encode_texts(self, texts, langs=None):
        return np.stack([np.eye(3)[[n for word, n in PARTS.items() if word in text]].sum(axis=0) for text in texts])


def save(path, *colours):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PIL.Image.new("RGB", (len(colours) * 10, 12))
    for n, colour in enumerate(colours):
        picture.paste(colour, (n * 10, 0, n * 10 + 10, 12))
    picture.save(path)


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def dump(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")


@pytest.fixture
def circo(tmp_path):
    images = tmp_path / "unlabeled2017"
    for n, colours in enumerate([[RED], [GREEN], [BLUE], [RED, BLUE], [GREEN, BLUE], [RED, GREEN]], 1):
        save(images / f"{n:012}.png", *colours)
    for n in range(60):
        save(images / f"{100 + n:012}.png", (60 + n, 60 + n, 60 + n))
    rows = [
        {"id": 0, "reference_img_id": 1, "target_img_id": 4, "gt_img_ids": [4], "relative_caption": "is also blue",
         "shared_concept": "a square", "semantic_aspects": ["addition"]},
        {"id": 1, "reference_img_id": 2, "target_img_id": 5, "gt_img_ids": [5, 3], "relative_caption": "is also blue",
         "shared_concept": "a square", "semantic_aspects": ["addition", "negation"]},
    ]  # fmt: skip
    dump(tmp_path / "annotations" / "val.json", rows)
    hidden = [{k: v for k, v in row.items() if k not in ("target_img_id", "gt_img_ids")} for row in rows]
    dump(tmp_path / "annotations" / "test.json", hidden)
    return tmp_path


def test_circo_by_the_three_rules(circo, tmp_path):
    encoder = Colours()
    found = composed_run(encoder, "circo", circo / "annotations", circo / "unlabeled2017", output=tmp_path / "out")
    assert found["recall"].parts["recall@5"] == 1
    assert found["mAP"].parts["map@5"] == 0.75  # greys lie between the halves and plain blue: 1, and 1/2
    assert "the gallery has 66 pictures, not CIRCO's 123403" in found.notes[0]
    assert found["mAP"].options["encoder"] == "toy:colours"
    assert found["mAP"].options["model"] == "sum 0.5"
    lists = read_submission(tmp_path / "out" / "circo.json")
    assert lists["0"][0] == "4"
    assert len(lists["0"]) == 50
    assert all(isinstance(n, int) for n in json.loads((tmp_path / "out" / "circo.json").read_text())["1"])
    # the reference stays in the gallery: alone it finds itself first, the text alone finds plain blue first
    by = {}
    for method in ("image", "text"):
        composed_run(
            encoder, "circo", circo / "annotations", circo / "unlabeled2017", method=method, output=tmp_path / method
        )
        by[method] = read_submission(tmp_path / method / "circo.json")
    assert (by["image"]["0"][0], by["text"]["0"][0]) == ("1", "3")
    # weights of 0 and 1 are those two
    for method, weight in (("image", 0.0), ("text", 1.0)):
        composed_run(
            encoder, "circo", circo / "annotations", circo / "unlabeled2017", weight=weight, output=tmp_path / "w"
        )
        assert read_submission(tmp_path / "w" / "circo.json") == by[method]


def test_circo_test_split_has_no_truth(circo, tmp_path):
    found = composed_run(Colours(), "circo", circo / "annotations", circo, split="test", output=tmp_path / "out")
    assert not found
    assert "no ground truth" in found.notes[0]
    assert "no ground truth" in found.table()
    assert (tmp_path / "out" / "circo.json").is_file()


def test_rewritten_texts_and_own_methods(circo, tmp_path):
    where = (circo / "annotations", circo / "unlabeled2017")
    dump(tmp_path / "texts.json", {"0": "rojo 青い", "1": "سبز 青い"})
    found = composed_run(Colours(), "circo", *where, method="text", texts=tmp_path / "texts.json", lang="es")
    assert found["recall"].value == 1
    assert composed_run(Colours(), "circo", *where, method="text")["recall"].details == (
        2.0,
        3.0,
    )  # plain blue, then the halves by name
    assert found["recall"].details == (1.0, 1.0)
    with pytest.raises(UserError, match="1 texts are of no query: 7"):
        composed_run(Colours(), "circo", *where, texts={"7": "x"})
    with pytest.raises(UserError, match="query id to text"):
        composed_run(Colours(), "circo", *where, texts={"0": 5})

    def oracle(queries, load):
        assert load([queries[0].reference])[0].pixels()[0, 0].tolist() == [255, 0, 0]
        return [[1, 0, 1], [0, 1, 1]]

    found = composed_run(Colours(), "circo", *where, method=oracle)
    assert found["recall"].value == 1
    assert found["recall"].options["model"] == "oracle"
    with pytest.raises(UserError, match=r"\[1, 3\] for 2 queries"):
        composed_run(Colours(), "circo", *where, method=lambda queries, load: [[1, 0, 0]])


@pytest.fixture
def cirr(tmp_path):
    names = ["dev-1", "dev-2", "dev-3", "dev-4", "dev-5", "dev-6"]
    for name, colours in zip(names, [[RED], [BLUE], [RED, BLUE], [GREEN], [RED, GREEN], [GREEN, BLUE]]):
        save(tmp_path / "dev" / "x" / f"{name}.png", *colours)
    more = [f"dev-{n}" for n in range(100, 160)]
    for n, name in enumerate(more):
        save(tmp_path / "dev" / f"{name}.png", (n + 10,) * 3)
    rows = [
        {"pairid": 11, "reference": "dev-1", "target_hard": "dev-3", "caption": "also blue",
         "img_set": {"id": 1, "members": names}},
        {"pairid": 12, "reference": "dev-4", "target_hard": "dev-5", "caption": "",
         "img_set": {"id": 1, "members": names}},
    ]  # fmt: skip
    dump(tmp_path / "cirr" / "captions" / "cap.rc2.val.json", rows)
    dump(tmp_path / "cirr" / "image_splits" / "split.rc2.val.json", {n: f"./dev/{n}.png" for n in names + more})
    return tmp_path


def test_cirr_leaves_out_the_reference(cirr, tmp_path):
    found = composed_run(Colours(), "cirr", cirr / "cirr", cirr / "dev", output=tmp_path / "out")
    lists, groups = (read_submission(tmp_path / "out" / f"{name}.json") for name in ("cirr", "cirr-subset"))
    assert {len(row) for row in lists.values()} == {50}
    assert {len(row) for row in groups.values()} == {3}
    assert all("dev-1" not in row for row in (lists["11"], groups["11"]))
    assert lists["11"][0] == groups["11"][0] == "dev-3"
    # an empty instruction asks for what looks the same; red-green and green-blue are equally near: by name
    assert groups["12"][:2] == ["dev-5", "dev-6"]
    assert found["recall"].parts["recall@1"] == 1
    assert found["subset"].parts["recall@1"] == 1
    assert found.summary["mean(R@5, Rsub@1)"] == 1
    assert "1 queries had only a picture or only a text" in found.notes
    header = json.loads((tmp_path / "out" / "cirr-subset.json").read_text())
    assert (header["version"], header["metric"]) == ("rc2", "recall_subset")


def test_missing_and_torn_pictures(cirr):
    (cirr / "dev" / "dev-100.png").unlink()
    (cirr / "dev" / "dev-101.png").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"1 of 66 gallery pictures are missing .*dev-100.* NLVR2"):
        composed_run(Colours(), "cirr", cirr / "cirr", cirr / "dev")
    found = composed_run(Colours(), "cirr", cirr / "cirr", cirr / "dev", on_error="null")
    assert "2 of 66 gallery pictures were missing or unreadable: never found" in found.notes
    save(cirr / "dev" / "dev-100.png", RED)
    with pytest.raises(UserError, match="1 gallery pictures cannot be read"):
        composed_run(Colours(), "cirr", cirr / "cirr", cirr / "dev")
    (cirr / "dev" / "x" / "dev-1.png").write_bytes(b"torn")  # a reference: its text is left
    found = composed_run(Colours(), "cirr", cirr / "cirr", cirr / "dev", on_error="null")
    assert found["recall"].details[0] == 2  # behind plain blue
    (cirr / "dev" / "x" / "dev-4.png").write_bytes(b"torn")  # and this one has no text
    with pytest.raises(UserError, match="1 queries have neither a usable picture nor a text: 12"):
        composed_run(Colours(), "cirr", cirr / "cirr", cirr / "dev", on_error="null")


def test_fashion_iq(tmp_path):
    for category in ("dress", "shirt", "toptee"):
        names = [f"{category}{n}" for n in range(4)]
        for name, colours in zip(names, [[RED], [BLUE], [RED, BLUE], [GREEN]]):
            save(tmp_path / "images" / f"{name}.png", *colours)
        rows = [{"candidate": names[0], "target": names[2], "captions": ["is blue.", " , "]}]
        dump(tmp_path / "captions" / f"cap.{category}.val.json", rows)
        dump(tmp_path / "captions" / f"split.{category}.val.json", names)
    found = composed_run(Colours(), "fashion-iq", tmp_path / "captions", tmp_path / "images", output=tmp_path / "out")
    assert {name: result.details for name, result in found.items()} == dict.fromkeys(
        ("dress", "shirt", "toptee"), (1.0,)
    )
    assert found.summary["mean/recall@10"] == 1
    assert read_submission(tmp_path / "out" / "fashion-iq.dress.json")["0"][0] == "dress2"
    (tmp_path / "captions" / "split.shirt.val.json").unlink()
    with pytest.raises(UserError, match=r"missing in .*: split.shirt.val.json. Get them from https://github.com/Xiao"):
        composed_run(Colours(), "fashion-iq", tmp_path / "captions", tmp_path / "images")


@pytest.fixture
def genecis_files(tmp_path):
    for n, colours in enumerate([[RED], [BLUE], [RED, BLUE], [GREEN], [GREEN, BLUE]], 1):
        save(tmp_path / "val2017" / f"{n:012}.png", *colours)
    coco = [{"val_image_id": n} for n in range(6)]
    row = {"condition": "blue", "reference": coco[1], "target": coco[3], "gallery": [coco[2], coco[4], coco[5]]}
    dump(tmp_path / "genecis" / "change_object.json", [row, {**row, "gallery": [coco[2], coco[3]]}])
    dump(tmp_path / "genecis" / "focus_object.json", [{**row, "condition": "red", "target": coco[1]}])
    # one picture, three boxes
    save(tmp_path / "VG_100K" / "77.png", *[c for c in (RED, RED, BLUE, RED, BLUE, GREEN) for _ in range(3)])
    box = {name: {"image_id": 77, "instance_bbox": [x, 2, w, 6]} for name, x, w in
           (("red", 30, 20), ("red blue", 100, 40), ("green", 160, 20))}  # fmt: skip
    crops = {"condition": "blue", "reference": box["red"], "target": box["red blue"], "gallery": [box["green"]]}
    for task in ("focus_attribute", "change_attribute"):
        dump(tmp_path / "genecis" / f"{task}.json", [crops])
    return tmp_path


def test_genecis(genecis_files, tmp_path):
    images = [genecis_files / "val2017", genecis_files / "VG_100K"]
    found = genecis(Colours(), genecis_files / "genecis", images, output=tmp_path / "out")
    assert list(found) == ["focus_attribute", "change_attribute", "focus_object", "change_object"]
    assert found["change_object"].parts == {"recall@1": 1, "recall@2": 1, "recall@3": 1}
    assert found["focus_object"].value == 1
    assert found["change_attribute"].value == 1
    assert found.summary["mean/recall@1"] == 1
    order = json.loads((tmp_path / "out" / "genecis.json").read_text())
    assert order["change_object/0"][0] == 0
    assert sorted(order["change_object/1"]) == [0, 1]  # the target is one of the others too: it counts once
    wrong = genecis(Colours(), genecis_files / "genecis", images, method="image", tasks=["change_object"])
    assert wrong["change_object"].value == 1  # red-blue is nearest to red too
    text = genecis(Colours(), genecis_files / "genecis", images, method="text", tasks=["change_object"])
    assert text["change_object"].details[0] > 1  # plain blue comes first
    assert text.summary["mean/recall@1"] is None
    assert composed_run(Colours(), "genecis", genecis_files / "genecis", images)["focus_object"].value == 1


def test_genecis_crops_as_released(genecis_files):
    files = {"77": genecis_files / "VG_100K" / "77.png"}
    key = crop_key({"image_id": 77, "instance_bbox": [100, 2, 40, 6]})
    crop = load_crop(key, files)
    assert (crop.width, crop.height) == (68, 68)  # 0.7 more at the left, none at the right; made a square
    pixels = crop.pixels()
    assert pixels[0, 0].tolist() == [0, 0, 0]
    with pytest.raises(RowError):
        load_crop("78@1,2,3,4", files)


def test_genecis_mistakes(genecis_files):
    images = [genecis_files / "val2017"]
    with pytest.raises(UserError, match=r"1 of 6 pictures are missing .* 77. .*Visual Genome"):
        genecis(Colours(), genecis_files / "genecis", images)
    found = genecis(Colours(), genecis_files / "genecis", [*images], on_error="null", tasks=["focus_object"])
    assert found["focus_object"].value == 1
    with pytest.raises(UserError, match="no task focus_objects"):
        genecis(Colours(), genecis_files / "genecis", images, tasks=["focus_objects"])
    dump(genecis_files / "genecis" / "focus_object.json", [{"condition": "x"}])
    with pytest.raises(UserError, match="1 rows lack condition, reference"):
        genecis(Colours(), genecis_files / "genecis", images, tasks=["focus_object"])


def test_the_benchmarks_say_what_they_need(tmp_path):
    for benchmark, names in {
        "circo": "val.json", "cirr": "split.rc2.val.json", "genecis": "focus_attribute.json",
    }.items():  # fmt: skip
        save(tmp_path / "images" / "1.png", RED)
        with pytest.raises(UserError, match=f"'{benchmark}' needs .*{names}.*Get them from https://"):
            composed_run(Colours(), benchmark, tmp_path / "nowhere", tmp_path / "images")
    with pytest.raises(UserError, match="Did you mean 'circo'"):
        composed_run(Colours(), "circus", tmp_path, tmp_path)


def test_streamed_search_is_the_whole_sort(tmp_path):
    draw = np.random.default_rng(0)
    gallery = draw.integers(-4, 5, size=(500, 3)).astype(np.float32)  # whole numbers: exact, with many ties
    gallery[7] = np.nan
    asked = draw.integers(-4, 5, size=(20, 3)).astype(np.float32)
    keys = [f"{n:03}" for n in range(500)]
    queries = [ComposedQuery(str(n), "", "", (keys[n], keys[n + 1]), tuple(keys[n : n + 9])) for n in range(20)]
    blocks = ((start, gallery[start : start + 64]) for start in range(0, 500, 64))
    ranked, grouped, lost = search_composed(asked, queries, keys, blocks, 50)
    assert lost == 1
    for n, query in enumerate(queries):
        scores = {key: row for key, row in zip(keys, gallery @ asked[n]) if key not in query.exclude and row == row}
        order = sorted(scores, key=lambda key: (-scores[key], key))
        assert ranked[query.id] == order[:50]
        assert grouped[query.id] == [key for key in order if key in query.group]
    # the gallery is never held whole
    big = ((start, draw.normal(size=(256, 64)).astype(np.float32)) for start in range(0, 25_600, 256))
    tracemalloc.start()
    search_composed(
        np.ones((4, 64), np.float32),
        [ComposedQuery(str(n), "", "") for n in range(4)],
        list(map(str, range(25_600))),
        big,
        50,
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25_600 * 64 * 4


def test_vectors_fall_back_to_the_side_that_is_there():
    from panoglot.pictures import Image

    def load(key):
        if key == "torn":
            raise RowError("undecodable")
        return Image.from_pil(PIL.Image.new("RGB", (4, 4), RED))

    queries = [ComposedQuery("a", "r", "blue"), ComposedQuery("b", "torn", "blue"), ComposedQuery("c", "r", " ")]

    def composed(**given):
        found = compose_packs(Colours(), queries, load, **given)
        return unit(np.stack([fold(found.packs[query.id]) for query in queries])), found.fallbacks

    for method, rows, fallbacks in (
        ("sum", [[0.7071, 0, 0.7071], [0, 0, 1], [1, 0, 0]], 2),
        ("image", [[1, 0, 0], [1, 0, 0], [1, 0, 0]], None),
        ("text", [[0, 0, 1], [0, 0, 1], [1, 0, 0]], 1),
    ):
        if method == "image":
            with pytest.raises(UserError, match="1 queries have neither"):
                composed(method=method)
            continue
        found, count = composed(method=method)
        assert found == pytest.approx(np.array(rows), abs=1e-3)
        assert count == fallbacks
    with pytest.raises(UserError, match="weight=2"):
        composed(weight=2)
    with pytest.raises(UserError, match=r"Known: cirevl, .* text"):
        composed(method="both")


def test_command(circo, tmp_path, monkeypatch):
    from panoglot.evaluate import commands
    from panoglot.providers import register

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    encoder = Colours()
    register("toy:composed", lambda: encoder)
    where = {"annotations": str(circo / "annotations"), "images": str(circo / "unlabeled2017")}
    found = commands.composed(benchmark="circo", encoder="toy:composed", submission=str(tmp_path / "out"), **where)
    assert encoder.seen == 66  # references are of the gallery: everything once
    again = commands.composed(str(tmp_path / "out" / "circo.json"), benchmark="circo",
                               annotations=str(circo / "annotations" / "val.json"))  # fmt: skip
    assert again["mAP"].parts == found["mAP"].parts
    commands.composed(benchmark="circo", encoder="toy:composed", method="text", **where)
    assert encoder.seen == 66
    with pytest.raises(UserError, match="needs one of RANKINGS and --encoder"):
        commands.composed(benchmark="circo", annotations="x")
    with pytest.raises(UserError, match=r"'genecis' needs --images.*github.com/facebookresearch/genecis"):
        commands.composed(benchmark="genecis", encoder="toy:composed", annotations="x")


@pytest.mark.parametrize("preset", ["rules", "cirevl", "cotmr", "imagescope", "identity", "learned", "conditions"])
def test_presets_run_from_end_to_end(circo, tmp_path, preset):
    from panoglot.providers.roles import Answer
    from panoglot.retrieval import Askers

    class Scripted:
        name, fingerprint, batch_size, chat, sees = "toy:scripted", "scripted-1", 4, True, True

        def generate(self, prompts):
            said = 'Edited: red blue\n{"target_caption": "red blue", "existent": ["blue"], "step2": ["red blue"]}'
            return [Answer(said) for _ in prompts]

    class Composes(Colours):
        def encode_queries(self, queries):
            assert all(len(parts) == 2 for parts in queries)
            return np.array([[1, 0, 1], [0, 1, 1]], np.float32)

    askers = Askers(dict.fromkeys(("captioner", "llm", "lvlm"), Scripted()))
    where = (circo / "annotations", circo / "unlabeled2017")
    found = composed_run(Composes(), "circo", *where, method=preset, askers=askers, output=tmp_path / "out")
    scripted = preset in ("cirevl", "cotmr", "imagescope")  # says the same of both queries: right for the first
    assert found["recall"].parts["recall@5"] == (0.5 if scripted else 1)
    assert found["mAP"].options["model"] == preset
    lists = read_submission(tmp_path / "out" / "circo.json")
    assert lists["0"][0] == "4" or preset == "rules"  # of rules the text says what, the picture which


def test_a_preset_without_its_models_says_which(circo):
    with pytest.raises(UserError, match="--model captioner=PROVIDER:NAME"):
        composed_run(Colours(), "circo", circo / "annotations", circo / "unlabeled2017", method="cirevl")


@pytest.mark.parametrize("preset", ["cirevl", "cotmr", "imagescope", "rules"])
def test_presets_run_from_the_command(circo, tmp_path, monkeypatch, preset):
    from panoglot.evaluate import commands
    from panoglot.providers import register
    from panoglot.providers.roles import Answer

    class Scripted:
        name, fingerprint, batch_size, chat, sees = "toy:scripted", "scripted-1", 4, True, True
        asked = 0

        def generate(self, prompts):
            Scripted.asked += len(prompts)
            said = 'Edited: red blue\n{"target_caption": "red blue", "existent": ["blue"], "step2": ["red blue"]}'
            return [Answer(said) for _ in prompts]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    register("toy:commanded", Colours)
    register("toy:scripted", Scripted)
    models = {"cirevl": ("captioner", "llm"), "imagescope": ("captioner", "llm"), "cotmr": ("lvlm",)}.get(preset, ())
    where = {"annotations": str(circo / "annotations"), "images": str(circo / "unlabeled2017")}
    where |= {"benchmark": "circo", "encoder": "toy:commanded", "method": preset}
    given = dict.fromkeys(models, "toy:scripted")
    found = commands.composed(**where, **given)
    assert found["recall"].parts["recall@5"] == (0.5 if models else 1)
    assert all(alias in found.made["models"] for alias in models)
    asked = Scripted.asked
    assert bool(asked) == bool(models)
    again = commands.composed(**where, **given)  # answers are kept
    assert (again["mAP"].parts, Scripted.asked) == (found["mAP"].parts, asked)
    for alias in models:
        with pytest.raises(UserError, match=f"asks for a model: give --{alias} PROVIDER:NAME"):
            commands.composed(**where, **{**given, alias: None})
    odd = "llm" if preset in ("cotmr", "rules") else "lvlm"
    with pytest.raises(UserError, match=f"does not ask such a model: leave --{odd} toy:scripted out"):
        commands.composed(**where, **given, **{odd: "toy:scripted"})
