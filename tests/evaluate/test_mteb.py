"""mteb: its tasks on our encoders (with data made here), and its result files as our results."""

from __future__ import annotations

import json

import numpy as np
import pytest

from panoglot.asking import CachedEncoder, VectorCache
from panoglot.errors import MissingPackage, UserError
from panoglot.evaluate import MtebEncoder, compare, mteb, mteb_standings
from panoglot.metrics import load_mteb

COLOURS = {
    "rot": 0, "grün": 1, "blau": 2, "แดง": 0, "เขียว": 1, "น้ำเงิน": 2, "red": 0, "green": 1, "blue": 2,
    "أحمر": 0, "أخضر": 1, "أزرق": 2, "लाल": 0, "हरा": 1, "नीला": 2, "nyekundu": 0, "kijani": 1, "buluu": 2,
}  # fmt: skip


class Colours:
    """Pictures by their mean colour, texts by the colours they name; notes what it was asked."""

    name, fingerprint, batch_size, dim = "toy:colours/1", "colours 1", 4, 4

    def __init__(self):
        self.texts, self.langs, self.pictures = [], [], 0

    def encode_images(self, images):
        self.pictures += len(images)
        rows = np.stack([image.pixels().reshape(-1, 3).mean(axis=0) / 255 for image in images])
        return np.pad(rows, ((0, 0), (0, 1))).astype(np.float32)

    def encode_texts(self, texts, langs=None):
        self.texts += texts
        self.langs += langs
        rows = np.zeros((len(texts), 4), np.float32)
        for n, text in enumerate(texts):
            rows[n, 3] = 0.1
            for word, place in COLOURS.items():
                rows[n, place] += word in text
        return rows


class TextOnly(Colours):
    def encode_images(self, images):
        raise UserError("texts only")


def squares():
    import PIL.Image

    return [PIL.Image.new("RGB", (24, 16), colour) for colour in ((250, 30, 20), (20, 240, 30), (10, 20, 230))]


META = {
    "description": "made here", "reference": None, "dataset": {"path": "made/here", "revision": "1"},
    "eval_splits": ["test"], "date": ("2020-01-01", "2020-01-01"), "domains": [], "task_subtypes": [],
    "license": "cc0-1.0", "annotations_creators": "derived", "dialect": [], "sample_creation": "created",
    "bibtex_citation": "",
}  # fmt: skip


def tasks():
    """Four tasks whose data is in memory: text retrieval in German and Thai, classification, STS, pictures by text."""
    pytest.importorskip("mteb", reason="mteb is not installed (pip install 'panoglot[mteb]')")
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskClassification, AbsTaskRetrieval, AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    words = {"de": ["rot", "grün", "blau"], "th": ["แดง", "เขียว", "น้ำเงิน"]}
    langs = {"de": ["deu-Latn"], "th": ["tha-Thai"]}

    class TextRetrieval(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="MadeRetrieval", type="Retrieval", category="t2t", modalities=["text"], main_score="ndcg_at_10",
            eval_langs=langs, prompt={"query": "Find the colour"}, **META,
        )  # fmt: skip

        def load_data(self, **kwargs):
            self.dataset = {
                lang: {"test": {
                    "queries": Dataset.from_dict({"id": ["0", "1", "2"], "text": [f"{word}?" for word in row]}),
                    "corpus": Dataset.from_dict({
                        "id": ["a", "b", "c"], "title": ["", "", ""], "text": [f"{word}." for word in row]}),
                    "relevant_docs": {"0": {"a": 1}, "1": {"b": 1}, "2": {"c": 1}},
                    "top_ranked": None,
                }}
                for lang, row in words.items()
            }  # fmt: skip
            self.data_loaded = True

    class Classification(AbsTaskClassification):
        metadata = TaskMetadata(
            name="MadeClassification", type="Classification", category="t2c", modalities=["text"],
            main_score="accuracy", eval_langs=["swh-Latn"], **META,
        )  # fmt: skip
        n_experiments, samples_per_label = 3, 4

        def load_data(self, **kwargs):
            rows = [(f"{word} {n}", label) for label, word in enumerate(["nyekundu", "kijani"]) for n in range(8)]
            part = Dataset.from_dict({"text": [text for text, _ in rows], "label": [label for _, label in rows]})
            self.dataset = DatasetDict({"train": part, "test": part})
            self.data_loaded = True

    class Similarity(AbsTaskSTS):
        metadata = TaskMetadata(
            name="MadeSTS", type="STS", category="t2t", modalities=["text"], main_score="cosine_spearman",
            eval_langs=["hin-Deva"], **META,
        )  # fmt: skip

        def load_data(self, **kwargs):
            one = ["लाल", "लाल", "हरा", "नीला लाल"]
            two = ["लाल", "हरा", "हरा", "लाल"]
            self.dataset = DatasetDict(
                {"test": Dataset.from_dict({"sentence1": one, "sentence2": two, "score": [5.0, 0.0, 4.9, 2.5]})}
            )
            self.data_loaded = True

    class Pictures(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="MadePictures", type="Any2AnyRetrieval", category="t2i", modalities=["text", "image"],
            main_score="recall_at_1", eval_langs={"ar": ["ara-Arab"], "de": ["deu-Latn"]}, **META,
        )  # fmt: skip

        def load_data(self, **kwargs):
            rows = {"ar": ["أحمر", "أخضر", "أزرق"], "de": words["de"]}
            self.dataset = {
                lang: {"test": {
                    "queries": Dataset.from_dict({"id": ["0", "1", "2"], "text": row}),
                    "corpus": Dataset.from_dict({"id": ["a", "b", "c"], "image": squares()}),
                    "relevant_docs": {"0": {"a": 1}, "1": {"b": 1}, "2": {"c": 1}},
                    "top_ranked": None,
                }}
                for lang, row in rows.items()
            }  # fmt: skip
            self.data_loaded = True

    return [TextRetrieval(), Classification(), Similarity(), Pictures()]


def test_tasks_of_texts_and_pictures():
    encoder = Colours()
    found = mteb(encoder, tasks())
    assert {name: result.value for name, result in found.items()} == pytest.approx(
        {"MadeRetrieval": 1, "MadeClassification": 1, "MadeSTS": found["MadeSTS"].value, "MadePictures": 1}
    )
    assert found["MadeSTS"].value > 0.7
    assert found["MadeRetrieval"].ids == ("test/de", "test/th")
    assert set(encoder.langs) == {"de", "th", "sw", "hi", "ar", "en"}  # `en`: the question whether it takes texts
    assert "mean (task)" in found.summary
    by_type = mteb(encoder, tasks(), by="type")
    assert set(by_type) == {"Retrieval", "Classification", "STS", "Any2AnyRetrieval"}
    by_language = mteb(encoder, tasks(), by="language")
    assert by_language["de"].ids == ("MadePictures", "MadeRetrieval")
    german = mteb(encoder, tasks(), lang=["de"])
    assert list(german) == ["MadeRetrieval", "MadePictures"]
    assert german["MadePictures"].ids == ("test/de",)
    with pytest.raises(UserError, match="none of the tasks"):
        mteb(encoder, tasks(), lang=["ko"])


def test_a_wrong_encoder_scores_low():
    class Shifted(Colours):
        def encode_images(self, images):
            return np.roll(super().encode_images(images)[:, :3], 1, axis=1) @ np.eye(3, 4)

    found = mteb(Shifted(), tasks()[3:])
    assert found["MadePictures"].value == 0


def test_prompts():
    (*_,) = retrieval, classification, *_ = tasks()
    encoder = Colours()
    mteb(encoder, [retrieval, classification], prompts="e5")
    said = set(encoder.texts)
    assert {"query: rot?", "passage: rot.", "query: แดง?", "passage: แดง.", "query: kijani 3"} <= said
    assert said - {"a"} == {text for text in said if text.startswith(("query: ", "passage: "))}
    encoder = Colours()
    mteb(encoder, [retrieval], prompts="e5-instruct")
    assert "Instruct: Find the colour\nQuery: rot?" in encoder.texts
    assert "rot." in encoder.texts
    encoder = Colours()
    mteb(encoder, [retrieval], prompts={"passage": "p ", "Retrieval-query": "q ", "MadeRetrieval-query": "mine "})
    assert {"mine rot?", "p rot."} <= set(encoder.texts)
    with pytest.raises(UserError, match="Known: e5, e5-instruct, none"):
        MtebEncoder(Colours(), "e6")


def test_pictures_are_encoded_once_for_all_languages(tmp_path):
    encoder = Colours()
    cached = CachedEncoder(encoder, VectorCache(tmp_path / "v.sqlite"))
    first = mteb(cached, tasks()[3:])
    assert encoder.pictures == 4  # three, and a white one by which modalities are asked; two languages
    assert mteb(cached, tasks()[3:])["MadePictures"].value == first["MadePictures"].value
    assert encoder.pictures == 4


def test_text_encoders_and_failures():
    text = TextOnly()
    assert MtebEncoder(text).modalities == ["text"]
    assert mteb(text, tasks()[:1])["MadeRetrieval"].value == 1
    with pytest.raises(UserError, match="MadePictures"):
        mteb(text, tasks()[3:])

    class Failing(Colours):
        def encode_texts(self, texts, langs=None):
            rows = super().encode_texts(texts, langs)
            rows[[text == "rot." for text in texts]] = np.nan
            return rows

    found = mteb(Failing(), tasks()[:1])
    assert found["MadeRetrieval"].value < 1
    assert "1 texts or pictures could not be encoded" in found.notes[0]


def test_text_and_picture_together_are_the_sum():
    pytest.importorskip("mteb", reason="mteb is not installed")
    task = tasks()[0].metadata
    model = MtebEncoder(Colours())
    both = model.encode([{"text": ["rot"], "image": squares()[1:2]}], task_metadata=task, hf_subset="de")
    text = model.encode([{"text": ["rot"]}], task_metadata=task, hf_subset="de")
    image = model.encode([{"image": squares()[1:2]}], task_metadata=task, hf_subset="de")
    total = text + image
    assert both == pytest.approx(total / np.linalg.norm(total))
    with pytest.raises(UserError, match="audio"):
        model.encode([{"audio": [1]}], task_metadata=task)


def test_result_files_go_round(tmp_path):
    mine = tasks()
    encoder = Colours()
    found = mteb(encoder, mine, folder=tmp_path)
    files = {path.name for path in tmp_path.rglob("*.json")}
    assert {"MadeRetrieval.json", "model_meta.json"} <= files
    asked = len(encoder.texts)
    mteb(encoder, mine, folder=tmp_path)
    assert len(encoder.texts) == asked + 1  # its own results were taken up
    loaded = load_mteb(tmp_path, by="task")
    assert {name: result.per_item for name, result in loaded.items()} == {
        name: pytest.approx(result.per_item, abs=1e-6) for name, result in found.items()
    }
    every = load_mteb(tmp_path)["tasks"]
    assert every.ids == tuple(sorted(found))
    one = next(tmp_path.rglob("MadeRetrieval.json"))
    assert compare(one, one).rows[0].difference == 0


def test_unknown_tasks():
    pytest.importorskip("mteb", reason="mteb is not installed")
    with pytest.raises(UserError, match="Did you mean 'STS12'"):
        mteb(Colours(), ["STS12x"])
    with pytest.raises(UserError, match="write python:package"):
        mteb(Colours(), ["python:tests.evaluate.test_mteb:Nothing"])


def test_missing_package(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(MissingPackage, match=r"pip install 'panoglot\[mteb\]'"):
        mteb(Colours(), ["STS12"])


NEW = {
    "task_name": "XM3600T2IRetrieval", "dataset_revision": "8d3e5665", "mteb_version": "1.19.0", "evaluation_time": 3.0,
    "kg_co2_emissions": None,
    "scores": {"test": [
        {"main_score": 0.5, "ndcg_at_10": 0.5, "hf_subset": "de", "languages": ["deu-Latn"]},
        {"main_score": 0.2, "ndcg_at_10": 0.2, "hf_subset": "sw", "languages": ["swa-Latn"]},
        {"main_score": 0.2, "ndcg_at_10": 0.2, "hf_subset": "zh", "languages": ["zho-Hans"]},
    ]},
}  # fmt: skip
OLD = {
    "MassiveIntentClassification": ({
        "dataset_revision": "a", "mteb_dataset_name": "MassiveIntentClassification", "mteb_version": "1.0.1",
        "test": {"evaluation_time": 9, "th": {"accuracy": 0.5, "f1": 0.4, "main_score": 0.6},
                 "zh-CN": {"accuracy": 0.7, "f1": 0.1}},
    }, 0.65),
    "STS12": ({
        "mteb_dataset_name": "STS12", "mteb_version": "1.0.1", "dataset_revision": "b",
        "test": {"cos_sim": {"pearson": 0.1, "spearman": 0.8}, "euclidean": {"spearman": 0.2}, "evaluation_time": 1},
    }, 0.8),
    "SciFact": ({"mteb_dataset_name": "SciFact", "test": {"map_at_10": 0.1, "ndcg_at_10": 0.7, "ndcg_at_1": 0.2}}, 0.7),
    "Tatoeba": ({"mteb_dataset_name": "Tatoeba", "test": {
        "swh-eng": {"accuracy": 0.5, "f1": 0.3, "precision": 0.2, "recall": 0.5}, "tha-eng": {
            "accuracy": 0.5, "f1": 0.5, "precision": 0.2, "recall": 0.5}}}, 0.4),
    "TwitterURLCorpus": ({"mteb_dataset_name": "TwitterURLCorpus", "test": {
        "cos_sim": {"ap": 0.3}, "max": {"ap": 0.6}, "evaluation_time": 1.0}}, 0.6),
    "Banking77": ({"mteb_dataset_name": "Banking77", "test": {"accuracy": 0.8, "f1": 0.7}}, 0.8),
}  # fmt: skip


def put(folder, **files):
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def test_old_and_new_layouts(tmp_path):
    folder = put(
        tmp_path / "m" / "rev", XM3600=NEW, model_meta={"name": "m"}, **{k: row for k, (row, _) in OLD.items()}
    )
    found = load_mteb(tmp_path)["tasks"]
    assert dict(zip(found.ids, found.per_item)) == pytest.approx(
        {"XM3600T2IRetrieval": 0.3, **{name: score for name, (_, score) in OLD.items()}}
    )
    by_task = load_mteb(folder / "XM3600.json")
    assert by_task["XM3600T2IRetrieval"].ids == ("test/de", "test/sw", "test/zh")
    languages = load_mteb(folder, by="language")
    assert {"de", "sw", "th", "zh"} <= set(languages)
    assert languages["th"].ids == ("MassiveIntentClassification", "Tatoeba")
    types = {name: "Retrieval" if name in ("SciFact", "XM3600T2IRetrieval") else "Other" for name in found.ids}
    by_type = load_mteb(folder, by="type", types=types)
    assert by_type["Retrieval"].value == pytest.approx(0.5)
    assert by_type.summary["mean (type)"] == pytest.approx((0.5 + (0.65 + 0.8 + 0.4 + 0.6 + 0.8) / 5) / 2)
    with pytest.raises(UserError, match="1 tasks have no type: Tatoeba"):
        load_mteb(folder, by="type", types={name: "x" for name in found.ids if name != "Tatoeba"})


def test_compare_takes_its_files(tmp_path):
    better = json.loads(json.dumps(NEW))
    for row in better["scores"]["test"]:
        row["main_score"] += 0.1
    a = put(tmp_path / "a", XM3600=NEW, SciFact=OLD["SciFact"][0])
    b = put(tmp_path / "b", XM3600=better, SciFact=OLD["SciFact"][0])
    found = compare(a / "XM3600.json", b / "XM3600.json")
    assert found.rows[0].difference == pytest.approx(0.1)
    assert (found.rows[0].better, found.rows[0].n) == (3, 3)
    whole = compare(str(a), str(b))
    assert whole.rows[0].difference == pytest.approx(0.05)
    assert whole.rows[0].n == 2
    other = json.loads(json.dumps(NEW))
    other["dataset_revision"] = "another"
    put(tmp_path / "c", XM3600=other)
    with pytest.raises(UserError, match="revisions"):
        compare(a / "XM3600.json", tmp_path / "c" / "XM3600.json")


def test_nulls_are_not_means(tmp_path):
    torn = json.loads(json.dumps(NEW))
    torn["scores"]["test"][1]["main_score"] = float("nan")
    folder = put(tmp_path / "a", XM3600=torn, SciFact=OLD["SciFact"][0])
    found = load_mteb(folder)
    assert found["tasks"].per_item == (0.7, None)
    assert found["tasks"].unscored == 1
    assert "XM3600T2IRetrieval" in found.notes[0]
    assert json.loads(found.to_json(per_item=True))


def test_standings_are_bordas(tmp_path):
    # the card's case: means .600, .633, .533, yet B before A before C
    table = {"A": (0.9, 0.5, 0.4), "B": (0.8, 0.5, 0.6), "C": (0.7, 0.3, 0.6)}
    folders = {}
    for model, scores in table.items():
        rows = {f"T{n}": {"mteb_dataset_name": f"T{n}", "test": {"main_score": s}} for n, s in enumerate(scores)}
        folders[model] = put(tmp_path / model, **rows)
    found = mteb_standings(folders)
    assert [(row.model, row.points) for row in found.rows] == [("B", 4.0), ("A", 3.5), ("C", 1.5)]
    (folders["C"] / "T2.json").unlink()
    found = mteb_standings(folders, types={"T0": "x", "T1": "x", "T2": "y"})
    assert {row.model: row.mean for row in found.rows}["C"] is None
    assert {row.model: row.mean_by_type for row in found.rows}["B"] == pytest.approx((0.65 + 0.6) / 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "no results of mteb"),
        ({"task_name": "x", "scores": {"test": [{"hf_subset": "a"}]}}, "not a result of mteb"),
        ({"mteb_dataset_name": "x", "test": {"nonsense": 1.0}}, "no main score among nonsense"),
        ({"task_name": "x", "scores": 5}, "not a result of mteb"),
    ],
)
def test_broken_files(tmp_path, data, message):
    put(tmp_path / "a", x=data)
    with pytest.raises(UserError, match=message):
        load_mteb(tmp_path / "a")


def test_folders_of_several_models(tmp_path):
    for model in ("one", "two"):
        put(tmp_path / model / "rev", SciFact=OLD["SciFact"][0])
    with pytest.raises(UserError, match="2 models or revisions"):
        load_mteb(tmp_path)
    assert load_mteb(tmp_path, model="two")["tasks"].value == 0.7
    (tmp_path / "two" / "rev" / "again.json").write_text(json.dumps(OLD["SciFact"][0]))
    with pytest.raises(UserError, match="more than one result"):
        load_mteb(tmp_path / "two")
    with pytest.raises(UserError, match="no results"):
        load_mteb(tmp_path / "nowhere")


def test_command(tmp_path, monkeypatch):
    made = tasks()
    from panoglot.evaluate import commands
    from panoglot.providers import register

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = Colours()
    register("toy:mteb", lambda: asked)
    monkeypatch.setattr("tests.evaluate.test_mteb.made", lambda: made[0], raising=False)
    (tmp_path / "p.json").write_text('{"query": "frage: "}', encoding="utf-8")
    found = commands.mteb(
        "python:tests.evaluate.test_mteb:made", encoder="toy:mteb", prompts=str(tmp_path / "p.json"), lang="th"
    )
    assert found["MadeRetrieval"].ids == ("test/th",)
    assert "frage: แดง?" in asked.texts
    with pytest.raises(UserError, match="e5-instruct"):
        commands.mteb("python:tests.evaluate.test_mteb:made", encoder="toy:mteb", prompts="E5")
    with pytest.raises(UserError, match="give tasks"):
        commands.mteb(encoder="toy:mteb")
