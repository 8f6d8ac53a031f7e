"""Benchmarks, human agreement and generated pictures, from files as a user has them."""

from __future__ import annotations

import itertools
import json

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import UserError
from panoglot.evaluate import COMMANDS, benchmark_names, cider, commands, find_benchmark, listing
from panoglot.metrics import find_metric, metric_names
from panoglot.providers import register
from panoglot.providers.roles import Answer


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(json.dumps(row) for row in data) if path.suffix == ".jsonl" else json.dumps(data)
    path.write_text(text, encoding="utf-8")
    return str(path)


def paint(path, colour, size=(20, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, colour).save(path)


class Colours:
    """Sees the mean colour; reads the colour words."""

    name, fingerprint, batch_size, dim = "toy:hues", "hues-1", 8, 3
    words = {"red": 0, "green": 1, "blue": 2, "rot": 0}  # noqa: RUF012

    def encode_images(self, images):
        return np.stack([image.pixels().reshape(-1, 3).mean(axis=0) for image in images]).astype(np.float32)

    def encode_texts(self, texts, langs=None):
        rows = np.full((len(texts), 3), 0.1)
        for row, text in zip(rows, texts):
            for word, n in self.words.items():
                row[n] += word in text
        return rows


@pytest.fixture(autouse=True)
def _models():
    register("toy:hues", Colours)


def test_the_list_names_functions_that_are_there():
    import panoglot.evaluate as room

    for name in metric_names():
        metric = find_metric(name)
        assert getattr(room, metric.function or metric.run.__name__).__doc__
        assert set(metric.needs.split()) <= {"refs", "images", "encoder", "parser", "objects"}
        assert f"  {name} " in listing()
    for command, name in benchmark_names():
        assert command in COMMANDS
        assert find_benchmark(command, name).options()
        assert f"  {name} " in listing()


def test_a_benchmark_says_what_it_takes_and_whose_it_is(tmp_path):
    preds = write(tmp_path / "p.json", {"1": "a cat"})
    with pytest.raises(UserError, match="is a benchmark of: panoglot evaluate choice"):
        commands.captions(preds, benchmark="pope")
    with pytest.raises(UserError, match=r"'decapbench' needs --data, --images, --judge\. It takes .*github"):
        commands.captions(preds, benchmark="decapbench")
    with pytest.raises(UserError, match="'babel-imagenet' needs --labels"):
        commands.zeroshot("D", encoder="toy:hues", benchmark="babel-imagenet")
    with pytest.raises(UserError, match="'mvl-sib' needs --data"):
        commands.choice(model="toy:hues", benchmark="mvl-sib")
    with pytest.raises(UserError, match="'circo' needs --annotations"):
        commands.composed("r.json", benchmark="circo")
    with pytest.raises(UserError, match="'xtd10' needs --data, --images, --encoder"):
        commands.retrieval("xtd10")


def test_detailcaps_from_its_columns(tmp_path):
    rows = [
        {"image": f"{n}.jpg", "source": "coco", "GT_Caption_A": "A red cat sits on a mat.",
         "GT_Caption_B": "A cat is on a mat.", "Good": "A red cat sits on a mat.", "Bad": "Two dogs.",
         "GPT4_Eval": json.dumps({"Good": 5 - n, "Bad": 1})}
        for n in range(3)
    ]  # fmt: skip
    data = write(tmp_path / "d.jsonl", rows)
    good = commands.captions(data, benchmark="detailcaps", data=data, model="Good")["capture"]
    bad = commands.captions(data, benchmark="detailcaps", data=data, model="Bad")["capture"]
    assert good.value > 0.75 > 0.2 > bad.value
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist([row | {"binary": b"x"} for row in rows])
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet")
    preds = write(tmp_path / "p.json", {row["image"]: row["Good"] for row in rows})
    again = commands.captions(preds, benchmark="detailcaps", data=str(tmp_path / "d.parquet"))["capture"]
    assert again.value == good.value
    with pytest.raises(UserError, match="Did you mean 'Good'"):
        commands.captions(data, benchmark="detailcaps", data=data, model="Goood")
    with pytest.raises(UserError, match="it needs the columns image and GT_Caption_"):
        commands.captions(preds, benchmark="detailcaps", data=write(tmp_path / "x.jsonl", [{"a": 1}]))
    agreed = commands.agreement("capture,length", data, benchmark="detailcaps", statistic="pairwise_accuracy_no_ties")
    assert agreed["capture"].n == 6
    assert agreed["capture"].value > 0.7


class Judge:
    """Splits at full stops, matches and verifies what it is told; prefers the caption with more words."""

    name, fingerprint, batch_size = "toy:judge", "judge-1", 8

    def generate(self, prompts):
        return [Answer(self.say(prompt.text)) for prompt in prompts]

    def say(self, text):
        if "Caption 1:" in text:
            one, two = text.split("Caption 1: ")[1].split("Answer in two lines")[0].split("Caption 2: ")
            best = "Tie" if len(one.split()) == len(two.split()) else f"Caption {1 + (len(two) > len(one))} is better"
            return f"Reason: length.\nJudgment: {best}"
        if "Split the image caption" in text:
            facts = [
                part.strip() for part in text.split("Caption: ")[1].split("\nAnswer")[0].split(".") if part.strip()
            ]
            return json.dumps([{"fact": fact, "identifier": "", "relevance": 1} for fact in facts])
        if "First person: " in text:
            facts = json.loads(text.split("First person: ")[1].split("\n")[0])
            oracle = {row["fact"]: row["id"] for row in json.loads(text.split("Second person: ")[1].split("\n")[0])}
            return json.dumps([{"fact": fact, "matched_oracle_id": oracle.get(fact)} for fact in facts])
        facts = json.loads(text.split("Facts: ")[1].split("\n")[0].removesuffix(".").strip())
        return json.dumps([{"fact": fact, "verification": int("dragon" not in fact)} for fact in facts])


def test_decapbench_with_its_own_facts(test_data, tmp_path):
    register("toy:judge", Judge)
    file = test_data / "MAGAer13+DeCapBench" / "eval_human_annotated_oracle_facts.jsonl"
    rows = [json.loads(line) for line in file.open(encoding="utf-8")][:2]
    for row in rows:  # the judge above splits at full stops
        row["oracle_facts"] = list(dict.fromkeys(fact.replace(".", "").strip() for fact in row["oracle_facts"]))
    data = write(tmp_path / "facts.jsonl", rows)
    for row in rows:
        paint(tmp_path / "pictures" / row["image_name"], (9, 9, 9))
    said = {row["image_name"]: ". ".join(row["oracle_facts"]) for row in rows}
    run = {"benchmark": "decapbench", "data": data, "images": str(tmp_path / "pictures"), "judge": "toy:judge"}
    found = commands.captions(write(tmp_path / "p.json", said), **run)["dcscore"]
    assert found.value == pytest.approx(100, abs=1e-4)
    half = {key: ". ".join(text.split(". ")[::2]) for key, text in said.items()}
    found = commands.captions(write(tmp_path / "h.json", half), **run)["dcscore"]
    assert found.parts["precision"] == 100
    assert found.parts["recall"] == pytest.approx(50, abs=2)
    with pytest.raises(UserError, match="1 reference facts have no prediction"):
        commands.captions(write(tmp_path / "m.json", dict([next(iter(said.items()))])), **run)


def test_truematch_bags_by_coco_number(tmp_path):
    hues = {1: "red", 22: "green", 333: "blue"}
    for number, colour in hues.items():
        paint(tmp_path / "pictures" / f"COCO_val2014_{number:012d}.jpg", colour)
    write(tmp_path / "bags" / "3.json", [list(hues)])
    run = {
        "benchmark": "truematch", "data": str(tmp_path / "bags"), "images": str(tmp_path / "pictures"),
        "encoder": "toy:hues", "cache": "off",
    }  # fmt: skip
    preds = write(tmp_path / "p.json", {str(number): f"a {colour} thing" for number, colour in hues.items()})
    assert commands.captions(preds, **run)["truematch"].value == 100
    same = write(tmp_path / "s.json", dict.fromkeys(map(str, hues), "a thing"))
    assert commands.captions(same, **run)["truematch"].parts["r@1/3"] < 100
    with pytest.raises(UserError, match=r"1 of the 3 pictures in the bags have no caption: 333"):
        commands.captions(write(tmp_path / "m.json", {"1": "red", "22": "green"}), **run)
    found = commands.captions(preds, metrics="self-retrieval,clipscore", images=run["images"], encoder="toy:hues")
    assert found["self-retrieval"].value == 100
    assert found["clipscore"].n == 3


def test_finecapeval_and_chair(tmp_path):
    (tmp_path / "f.csv").write_text(
        "image,caption,background,object,relation\n"
        '7.jpg,a dog on snow,snowy field,dog,dog run\n"8.jpg",a cat on a mat,room,cat,cat sit\n',
        encoding="utf-8",
    )
    preds = write(tmp_path / "p.json", {"7": "a dog run on a snowi field", "8": "a cat sit in a room"})
    found = commands.captions(preds, benchmark="finecapeval", data=str(tmp_path / "f.csv"))
    assert found["finecapeval"].value == 100
    assert set(found) == {"finecapeval", "bleu", "rouge-l", "cider"}
    with pytest.raises(UserError, match="1 predictions have no caption"):
        commands.captions(write(tmp_path / "q.json", {"7": "x"}), benchmark="finecapeval", data=str(tmp_path / "f.csv"))
    things = write(tmp_path / "o.json", {"7": ["dog"], "8": ["dog"]})
    found = commands.captions(preds, metrics="chair", objects=things)["chair"]
    assert (found.value, found.parts["chair_i"]) == (0.5, 0.5)
    coco = {"images": [{"id": 7}, {"id": 8}], "categories": [{"id": 1, "name": "dog"}],
            "annotations": [{"image_id": n, "category_id": 1} for n in (7, 8)]}  # fmt: skip
    assert commands.captions(preds, metrics="chair", objects=write(tmp_path / "c.json", coco))["chair"].value == 0.5
    with pytest.raises(UserError, match="chair needs --objects"):
        commands.captions(preds, metrics="chair")


def test_caparena_auto_asks_in_both_orders_and_scores_what_was_said(tmp_path):
    register("toy:judge", Judge)
    gold = {
        f"{n}.jpg": {"captions": {"human": "a thing", "base": "one two three"}, "ref_model": "base"} for n in range(4)
    }
    for name in gold:
        paint(tmp_path / "pictures" / name, (1, 2, 3))
    said = {name: "one two three four" if n else "one two" for n, name in enumerate(gold)}
    run = {"benchmark": "caparena-auto", "data": write(tmp_path / "g.json", gold), "images": str(tmp_path / "pictures")}
    found = commands.captions(write(tmp_path / "p.json", said), judge="toy:judge", **run)["caparena-auto"]
    assert found.value == 50
    rows = [
        {"img": n, "source1": "mine" if n % 2 else "base", "source2": "base" if n % 2 else "mine",
         "judge": f"Caption {1 if n % 2 else 2} is better" if n < 3 else "Tie"} for n in range(4)
    ]  # fmt: skip
    rows.append({"img": 9, "source1": "mine", "source2": "other", "judge": "Caption 2 is better."})
    found = commands.captions(write(tmp_path / "v.json", rows), benchmark="caparena-auto")["caparena-auto"]
    assert found.parts["score/base"] == 75
    assert found.parts["score/other"] == -100
    with pytest.raises(UserError, match="judged more than once: 9"):
        commands.captions(write(tmp_path / "w.json", [*rows, rows[-1]]), benchmark="caparena-auto")


def test_dense_captions_by_rows(tmp_path):
    truth = [{"image_id": 1, "box": [0, 0, 10, 10], "caption": "a red cat"},
             {"image_id": 1, "box": [20, 20, 30, 30], "caption": "a dog"}]  # fmt: skip
    path = write(tmp_path / "t.jsonl", truth)
    found = commands.captions(write(tmp_path / "p.jsonl", truth), benchmark="dense-captions", data=path)
    assert found["map"].value == pytest.approx(100)
    assert found["@0.5iou"].value == 1
    bad = write(tmp_path / "b.jsonl", [{"image_id": 1, "box": [0, None, 1, 1], "caption": "x"}])
    with pytest.raises(UserError, match="1 rows have no caption or no box of numbers: row 0"):
        commands.captions(bad, benchmark="dense-captions", data=path)


def test_agreement_computes_each_writers_captions_apart(test_data):
    folder = test_data / "jungokasai+THumB"
    human, refs = folder / "mscoco_mscoco_THumB-1.0.jsonl", str(folder / "mscoco_mscoco_references.json")
    found = commands.agreement("cider,rouge-l", str(human), refs=refs, statistic="pearson")
    # the published figure of CIDEr with people's captions among the others
    assert found["cider"].value == pytest.approx(0.228, abs=6e-4)
    assert set(found["rouge-l"].parts) >= {"kendall_b", "kendall_c", "spearman", "pearson", "pairwise_accuracy"}
    grouped = commands.agreement("rouge-l", str(human), refs=refs, groups="image")["rouge-l"]
    assert grouped.options["groups"] == 500
    with pytest.raises(UserError, match="captions of several models"):
        commands.captions(str(human), refs)
    assert commands.captions(str(human), refs, model="Up-Down")["cider"].value == pytest.approx(1.1072, abs=1e-4)
    with pytest.raises(UserError, match="no row has the field 'picture'"):
        commands.agreement("rouge-l", str(human), refs=refs, groups="picture")


def test_metrics_on_wrong_words(test_data):
    folder = test_data / "DavidMChan+aloha"
    found = commands.agreement("rouge-l", str(folder / "data_hat-trainval.json"), benchmark="hat")["rouge-l"]
    assert (found.n, round(found.value, 4)) == (400, 0.5248)
    found = commands.agreement("rouge-l", str(folder / "data_nocaps-val-foil.json"), benchmark="foil")["rouge-l"]
    assert (found.n, round(found.value, 4)) == (2500, 0.8702)


def test_agreement_with_files_and_mistakes(tmp_path):
    result = cider({"a": "a cat", "b": "a dog", "c": "x"}, {"a": ["a cat"], "b": ["a dog runs"], "c": ["y"]})
    from panoglot.metrics import ResultSet

    both = tmp_path / "both.json"
    both.write_text(ResultSet({"x": result, "y": result}).to_json(per_item=True))
    human = write(tmp_path / "h.jsonl", [{"id": k, "score": v} for k, v in zip("abc", (3, 2, 1))])
    assert set(commands.agreement(str(both), human)) == {"x", "y"}
    with pytest.raises(UserError, match=r"neither a metric nor a file\. Did you mean 'capture'"):
        commands.agreement("captur", human)
    with pytest.raises(UserError, match="Did you mean 'hat'"):
        commands.agreement("cider", human, benchmark="hatt")
    odd = write(tmp_path / "o.jsonl", [{"id": "a", "score": "good"}])
    with pytest.raises(UserError, match="scores are no numbers: a"):
        commands.agreement(str(both), odd)
    twice = write(tmp_path / "t.jsonl", [{"id": "a", "score": 1}, {"id": "a", "score": 2}])
    with pytest.raises(UserError, match="1 ids more than once: a"):
        commands.agreement(str(both), twice)


def test_caparena_votes_against_metrics_and_the_judge(tmp_path):
    captions = {"A": "a red cat on a mat", "B": "a red dog", "C": "nothing"}
    rows = [
        {"img": f"{n}.jpg", "source1": one, "source2": two, "caption1": captions[one], "caption2": captions[two],
         "ref": "a red cat on a mat", "winner": min(one, two), "cluster": "level 1", "judge": "Caption 1 is better"}
        for n, (one, two) in enumerate(itertools.permutations("ABC", 2))
    ]  # fmt: skip
    found = commands.agreement("rouge-l,judge", write(tmp_path / "v.json", rows), benchmark="caparena")
    assert found["rouge-l"].value == 1
    assert found["rouge-l"].parts["spearman"] == 1
    assert found["judge"].value == 0.5
    assert found["judge"].parts["agreement/level 1"] == 0.5


SPECS = [
    {"tag": "single_object", "include": [{"class": "cat", "count": 1}], "prompt": "a cat"},
    {"tag": "colors", "include": [{"class": "cat", "count": 1, "color": "red"}], "prompt": "a red cat"},
]


def test_geneval_for_every_language(tmp_path):
    prompts = write(tmp_path / "m.jsonl", SPECS)
    rows = []
    for lang, second in (("en", "red"), ("de", "blue")):
        for n, colour in enumerate(("green", second)):
            path = tmp_path / "made" / lang / f"{n:05d}" / "0.png"
            paint(path, colour)
            box = {"name": "cat", "score": 0.95, "box": [2, 2, 12, 8]}
            name = path.relative_to(tmp_path / "made").as_posix()
            rows.append({"image": name, "boxes": [box], "width": 20, "height": 10})
    run = {"benchmark": "geneval", "data": prompts, "encoder": "toy:hues", "cache": "off"}
    found = commands.generation(str(tmp_path / "made"), detections=write(tmp_path / "d.jsonl", rows), **run)
    assert {lang: result.value for lang, result in found.items()} == {"de": 0.5, "en": 1.0}
    assert found["de"].parts["colors"] == 0
    with pytest.raises(UserError, match="1 rows are of no picture"):
        commands.generation(
            str(tmp_path / "made"), detections=write(tmp_path / "e.jsonl", [*rows, rows[0] | {"image": "x.png"}]), **run
        )
    bad = rows[0] | {"boxes": [rows[0]["boxes"][0] | {"score": float("nan")}]}
    with pytest.raises(UserError, match=r"1 rows are not image.*not finite"):
        commands.generation(str(tmp_path / "made"), detections=write(tmp_path / "g.jsonl", [bad, *rows[1:]]), **run)
    with pytest.raises(UserError, match="needs one of --detections and --detector"):
        commands.generation(str(tmp_path / "made"), **run)
    paint(tmp_path / "more" / "00007" / "0.png", "red")
    with pytest.raises(UserError, match="'00007' is not the number of one of the 2 prompts"):
        commands.generation(str(tmp_path / "more"), detections=write(tmp_path / "f.jsonl", rows), **run)


def test_consistency_across_languages(tmp_path):
    for lang, colour in (("en", "red"), ("de", "red"), ("fa", "blue")):
        paint(tmp_path / "made" / lang / "p1" / "0.png", colour)
    paint(tmp_path / "english" / "p1" / "0.png", "red")
    run = {"encoder": "toy:hues", "cache": "off"}
    found = commands.generation(str(tmp_path / "made"), benchmark="clc", **run)["clc"]
    assert found.parts == {"de": 1.0, "fa": 0.0}
    everything = commands.generation(str(tmp_path / "made"), benchmark="clc", reference="all", **run)["clc"]
    assert everything.value == pytest.approx(1 / 3)
    mixed = commands.generation(str(tmp_path / "made"), benchmark="css", english=str(tmp_path / "english"), **run)[
        "css"
    ]
    assert mixed.parts == {"de": 1.0, "en": 1.0, "fa": 0.0}
    with pytest.raises(UserError, match="must hold a folder a language"):
        commands.generation(str(tmp_path / "english"), benchmark="clc", **run)


class Yes:
    """Says yes to what has a cat in it."""

    name, fingerprint, batch_size = "toy:cats", "cats-1", 8

    def generate(self, prompts):
        return [Answer("Yes" if "cat" in prompt.text else "No") for prompt in prompts]


def test_dpg_by_its_csv(tmp_path):
    register("toy:cats", Yes)
    (tmp_path / "dpg.csv").write_text(
        "item_id,text,proposition_id,dependency,question_natural_language\n"
        "a1,x,1,0,Is there a cat?\na1,x,2,1,Is the cat red?\na1,x,3,0,Is there a dog?\na1,x,4,3,Is it near the cat?\n",
        encoding="utf-8",
    )
    for lang in ("en", "hi"):
        paint(tmp_path / "made" / lang / "a1.png", "red")
    found = commands.generation(
        str(tmp_path / "made"), benchmark="dpg", data=str(tmp_path / "dpg.csv"), judge="toy:cats"
    )
    assert {lang: result.value for lang, result in found.items()} == {"en": 0.5, "hi": 0.5}


def test_standings_of_published_results(test_data, tmp_path):
    files = sorted((test_data / "gregor-ge+Babel-ImageNet" / "results" / "babel-imagenet").glob("*.json"))
    found = commands.standings(*map(str, files))
    assert len(found.tasks) == 298
    assert found.rows[0].model == "nllb-siglip-large"
    few = commands.standings(*map(str, files), lang="de,ja")
    assert few.tasks == ("de", "ja")
    assert json.loads(few.to_json())["rows"][0]["tasks"] == 2
    with pytest.raises(UserError, match="one file is given twice"):
        commands.standings(str(files[0]), str(files[0]))
    result = cider({"a": "a cat", "b": "x"}, {"a": ["a cat"], "b": ["y"]}).to_json()
    (tmp_path / "A.json").write_text(result)
    (tmp_path / "B.json").write_text(result.replace('"version": "1"', '"version": "0"'))
    with pytest.raises(UserError, match="different metrics, versions, languages or tokenisers"):
        commands.standings(str(tmp_path / "A.json"), str(tmp_path / "B.json"))
