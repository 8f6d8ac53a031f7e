"""What goes wrong on the command line: one line that names the first offenders and how many, or a null that is counted.

Never a traceback, never a silent 0.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from panoglot.cli import main

PREDS = '{"1": "a cat", "2": "a dog", "3": "a bus"}'
REFS = '{"1": ["a cat"], "2": ["a dog"], "3": ["a bus", "the bus"]}'


@pytest.fixture
def panoglot(tmp_path, monkeypatch, capsys):
    """Run a command in a folder with good files; returns (exit code, output, error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "p.json").write_text(PREDS)
    (tmp_path / "r.json").write_text(REFS)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert said.err.count("\n") <= 1
        return ended.value.code, said.out, said.err

    return run


PREDICTIONS = {
    "no file": (None, "there is no file"),
    "not JSON": ("{oops", "is not JSON"),
    "empty": ("", "is not JSON"),
    "an empty object": ("{}", "is empty"),
    "a number": ("5", "must hold a list of objects"),
    "Latin-1": ('{"1": "Straße"}'.encode("latin-1"), "line 1, is not UTF-8 (byte 0xdf)"),
    "UTF-16": (PREDS.encode("utf-16"), "It looks like UTF-16"),
    "a missing id": ('{"1": "a cat"}', "2 references have no prediction: 2, 3"),
    "an extra id": (PREDS.replace("}", ', "4": "x"}'), "1 predictions have no references: 4"),
    "a key twice": ('{"1": "a", "1": "b"}', "1 keys stand twice in one object: 1"),
    "a row twice": ('[{"id": 1, "text": "a"}, {"id": 1, "text": "b"}]', "1 ids more than once: 1"),
    "a row without an id": ('[{"id": null, "text": "a"}]', "a row has no id"),
    "no caption field": ('[{"id": 1, "words": "a"}]', "none of the fields caption, text"),
    "empty captions": ('{"1": "a cat", "2": " ", "3": ""}', "2 empty predictions: 2, 3"),
    "a number for a caption": ('{"1": "a", "2": 5, "3": "b"}', "the prediction of 2 is not one text"),
    "another language": (
        '{"1": "a cat", "2": "一只猫", "3": "кошка"}',
        "2 of 3 captions are not written in the script",
    ),
    "nested too deeply": ("[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("case", PREDICTIONS)
def test_predictions(panoglot, tmp_path, case):
    content, message = PREDICTIONS[case]
    if content is not None:
        (tmp_path / "x.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = panoglot("evaluate", "captions", "x.json", "--refs", "r.json", "--metrics", "cider,rouge-l")
    assert (code, out) == (2, "")
    assert message in err


REFERENCES = {
    "null": ('{"1": ["a"], "2": null, "3": ["x"]}', "1 items with no or empty references: 2"),
    "none": ('{"1": ["a"], "2": [], "3": ["x"]}', "1 items with no or empty references: 2"),
    "a number": ('{"1": ["a"], "2": 7, "3": ["x"]}', "the references of 2 are not a list of texts"),
    "nothing": ("{}", "3 predictions have no references: 1, 2, 3"),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_references(panoglot, tmp_path, case):
    content, message = REFERENCES[case]
    (tmp_path / "x.json").write_text(content)
    code, _, err = panoglot("evaluate", "captions", "p.json", "--refs", "x.json")
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--references", "5"], "3 items do not have 5 references: 1 (1), 2 (1), 3 (2)"),
        (["--confidence", "2"], "must lie between 0 and 1"),
        (["--lang", "klingonish"], "not a language tag"),
        (["--on-error", "nul"], "Did you mean 'null'?"),
        (["--metrics", "cidre"], "Did you mean 'cider'?"),
        (["--metrics", "clipscore"], "clipscore needs --images"),
        (["--benchmark", "detailcap"], "Did you mean 'detailcaps'?"),
        (["-o", "nowhere/x.json"], "nowhere/x.json cannot be written"),
        (["--plot", "x.jpeg"], "an .svg, a .png or a .pdf"),
    ],
)
def test_options(panoglot, options, message):
    code, _, err = panoglot("evaluate", "captions", "p.json", "--refs", "r.json", *options)
    assert code == 2
    assert message in err


def test_what_could_not_be_scored_is_null_and_counted(panoglot, tmp_path):
    (tmp_path / "null.json").write_text('{"1": "a cat", "2": null, "3": "a bus"}')
    (tmp_path / "one.json").write_text('{"1": "a cat"}')
    (tmp_path / "one_r.json").write_text('{"1": ["a cat"]}')
    code, out, _ = panoglot(
        "evaluate", "captions", "null.json", "--refs", "r.json", "--metrics", "cider,length", "--json", "--per-item"
    )
    assert code == 0
    found = json.loads(out)["results"]
    assert found["cider"]["unscored"] == found["length"]["unscored"] == 1
    assert found["cider"]["per_item"]["2"] is None
    assert found["cider"]["value"] > 1
    run = ("evaluate", "captions", "one.json", "--refs", "one_r.json", "--metrics", "cider", "--confidence", "0.95")
    code, out, _ = panoglot(*run, "--json")
    found = json.loads(out)["results"]["cider"]
    assert (code, found["value"], found["unscored"], found["interval"]) == (3, None, 1, None)
    assert "one item has no document frequencies" in found["notes"][0]


@pytest.mark.parametrize("form", ["bom", "crlf", "gz", "huge"])
def test_forms_that_are_fine(panoglot, tmp_path, form):
    import gzip

    rows = "".join(json.dumps({"id": key, "text": text}) + "\r\n" for key, text in json.loads(PREDS).items())
    content = {
        "bom": b"\xef\xbb\xbf" + PREDS.encode(),
        "crlf": rows.encode(),
        "gz": gzip.compress(PREDS.encode()),
        "huge": PREDS.replace("a dog", "a dog " * 100_000).encode(),
    }[form]
    name = {"crlf": "x.jsonl", "gz": "x.json.gz"}.get(form, "x.json")
    (tmp_path / name).write_bytes(content)
    code, out, _ = panoglot("evaluate", "captions", name, "--refs", "r.json", "--metrics", "rouge-l", "--json")
    value = json.loads(out)["results"]["rouge-l"]["value"]
    assert code == 0
    assert value == pytest.approx(1) if form != "huge" else 0.6 < value < 0.7


def test_lines_of_text_are_parted_by_line_feeds_only(panoglot, tmp_path):
    (tmp_path / "p.txt").write_bytes("eine Katze\u2028schläft\r\nein Hund\n".encode())
    (tmp_path / "r.txt").write_text("eine Katze schläft\nein Hund\n", encoding="utf-8")
    code, out, _ = panoglot("evaluate", "captions", "p.txt", "r.txt", "--metrics", "rouge-l", "--lang", "de", "--json")
    found = json.loads(out)["results"]["rouge-l"]
    assert (code, found["n"], found["value"]) == (0, 2, 1.0)


def test_vectors(panoglot, tmp_path):
    good = np.random.default_rng(0).normal(size=(3, 4))
    holes = good.copy()
    holes[1] = np.nan
    arrays = {"v": good, "nan": holes, "zero": good * 0, "wide": np.ones((3, 5)), "one": good[:1], "none": good[:0]}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object))
    for texts, message in (
        ("nan.npy", "1 texts have no usable vector (NaN, infinite or all zero): 1"),
        ("zero.npy", "3 texts have no usable vector"),
        ("wide.npy", "text vectors have 5 dimensions, the others 4"),
        ("one.npy", "cannot be dealt evenly to 3 images"),
        ("none.npy", "at least one row"),
        ("object.npy", "is no array of numbers"),
        ("p.json", "is no array of numbers"),
        ("gone.npy", "there is no file"),
    ):
        code, _, err = panoglot("evaluate", "retrieval", "v.npy", "--texts", texts)
        assert code == 2
        assert message in err
    code, out, _ = panoglot("evaluate", "retrieval", "nan.npy", "--texts", "v.npy", "--on-error", "null", "--json")
    found = json.loads(out)["results"]["text_to_image"]
    assert (code, found["n"], found["unscored"]) == (0, 3, 1)


def test_votes_and_scores(panoglot, tmp_path):
    files = {
        "votes.jsonl": '{"source1": "a", "source2": "b", "winner": "c"}',
        "open.jsonl": '{"source1": "a", "source2": "b", "winner": null}',
        "self.jsonl": '{"source1": "a", "source2": "a", "winner": "a"}',
        "m.json": '{"1": 0.1, "2": 0.2, "3": 0.3}',
        "infinite.jsonl": '{"id": 1, "score": Infinity}\n{"id": 2, "score": 1}\n{"id": 3, "score": 2}',
        "nan.jsonl": '{"id": 1, "score": NaN}\n{"id": 2, "score": 1}\n{"id": 3, "score": 2}',
        "other.json": '{"1": 1, "2": 2, "4": 3}',
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    for arguments, message in (
        (["arena", "votes.jsonl"], "1 winners are neither of the two sides nor a tie: vote 0 ('c')"),
        (["arena", "open.jsonl"], "no judged votes"),
        (["arena", "self.jsonl"], "1 votes put a model against itself"),
        (["agreement", "m.json", "infinite.jsonl"], "1 scores are infinite: 1"),
        (["agreement", "m.json", "other.json"], "1 predictions have no human score: 3"),
        (["agreement", "m.json", "p.json"], "3 scores are no numbers"),
        (["standings", "m.json"], "two models or more"),
    ):
        code, _, err = panoglot("evaluate", *arguments)
        assert code == 2
        assert message in err
    code, out, _ = panoglot("evaluate", "agreement", "m.json", "nan.jsonl", "--json")
    found = json.loads(out)["results"]["metric"]
    assert (code, found["n"], found["unscored"], found["value"]) == (0, 3, 1, 1.0)
    code, _, err = panoglot("compare", "m.json", "m.json")
    assert (code, "m.json: this is not a metric result" in err) == (2, True)


def test_the_list_and_the_help_import_nothing_heavy():
    heavy = {"numpy", "pyarrow", "daft", "lance", "PIL", "torch", "onnxruntime", "langcodes", "snowballstemmer"}
    for arguments in (["evaluate", "--help"], ["evaluate", "--list"], ["evaluate"]):
        code = (
            "import sys; from panoglot.cli import main\n"
            f"try: main({arguments!r})\n"
            "except SystemExit: pass\n"
            "print(','.join(m for m in sys.modules if '.' not in m), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert not heavy & set(done.stderr.split("\n")[-2].split(","))
        assert "captions" in done.stdout
    assert (
        "babel-imagenet"
        in subprocess.run(
            [sys.executable, "-m", "panoglot", "evaluate", "--list"], capture_output=True, text=True, check=True
        ).stdout
    )


@pytest.mark.parametrize(
    ("owners", "shape", "said"),
    [
        (None, (0, 4), "cannot be dealt evenly to 0 images"),
        ("[0, 1, null]", (3, 4), "must be a list of whole numbers"),
        ('[0, 1, "x"]', (3, 4), "must be a list of whole numbers"),
        ("[0, 1, 1.5]", (3, 4), "must be a list of whole numbers"),
        ("[0, 1, NaN]", (3, 4), "must be a list of whole numbers"),
        ('{"a": 1}', (3, 4), "must be a list of whole numbers"),
    ],
)
def test_vectors_and_owners(panoglot, tmp_path, owners, shape, said):
    np.save("i.npy", np.ones(shape, np.float32))
    np.save("t.npy", np.ones((3, 4), np.float32))
    (tmp_path / "o.json").write_text(owners or "")
    given = ["--owners", "o.json"] if owners else []
    code, _, error = panoglot("evaluate", "retrieval", "i.npy", "--texts", "t.npy", *given)
    assert code == 2
    assert said in error


@pytest.mark.parametrize("kind", ["complex", "text", "infinite"])
def test_vectors_that_are_no_numbers(panoglot, kind):
    found = {"complex": np.ones((3, 4)) * 1j, "text": np.array([["a"]] * 3), "infinite": np.full((3, 4), np.inf)}[kind]
    np.save("i.npy", np.eye(3, 4, dtype=np.float32))
    np.save("t.npy", found)
    code, _, error = panoglot("evaluate", "retrieval", "i.npy", "--texts", "t.npy")
    assert code == 2
    assert ("no usable vector" if kind == "infinite" else "is no array of numbers") in error


@pytest.mark.parametrize("labels", ["[]", "3", '{"de": "ab"}', '{"de": [1, 2]}'])
def test_names_of_classes(panoglot, tmp_path, labels):
    for name in "ab":
        (tmp_path / "cls" / name).mkdir(parents=True)
        picture(tmp_path / "cls" / name / "0.png")
    (tmp_path / "n.json").write_text(labels)
    code, _, error = panoglot("evaluate", "zeroshot", "cls", "--labels", "n.json", "--encoder", "python:fake:encoder")
    assert code == 2
    assert "must be a JSON object of lists of names by language" in error
    (tmp_path / "n.json").write_text('{"de": ["Katze", "Hund"]}')
    arguments = ["--labels", "n.json", "--encoder", "python:fake:encoder", "--lang", "fr"]
    code, _, error = panoglot("evaluate", "zeroshot", "cls", *arguments)
    assert code == 2
    assert "n.json has no names in fr; it has de" in error


@pytest.mark.parametrize("option", [("--seed", "-1"), ("--k", "nan"), ("--k", "inf"), ("--k", "0")])
def test_arena_options(panoglot, tmp_path, option):
    (tmp_path / "b.json").write_text('[{"source1": "a", "source2": "b", "winner": "a"}]')
    assert panoglot("evaluate", "arena", "b.json", *option)[0] == 2


RESULTS = {
    "NaN": ('"1": 1.0', '"1": NaN', "NaN or infinity"),
    "infinity": ('"1": 1.0', '"1": 1e999', "NaN or infinity"),
    "too large": ('"1": 1.0', '"1": 1' + "0" * 400, "is not a metric result"),
    "a text": ('"1": 1.0', '"1": "x"', "is not a metric result"),
    "odd options": ('"options": {}', '"options": [1]', "is not a metric result"),
    "nested too deeply": (None, "[" * 100_000, "nested too deeply"),
    "UTF-16": (None, PREDS.encode("utf-16"), "It looks like UTF-16"),
}


@pytest.mark.parametrize("case", RESULTS)
def test_results_that_are_none(panoglot, tmp_path, case):
    """A NaN made every difference NaN, with p = 0.0002."""
    from panoglot.evaluate import MetricResult

    good = MetricResult("m", "1", 1.5, 2, per_item=(1.0, 2.0), ids=("1", "2")).to_json(per_item=True)
    old, new, said = RESULTS[case]
    assert old is None or old in good
    text = new if old is None else good.replace(old, new)
    (tmp_path / "a.json").write_text(good)
    (tmp_path / "b.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    for command in (["compare"], ["evaluate", "standings"]):
        code, _, error = panoglot(*command, "a.json", "b.json")
        assert code == 2
        assert said in error


FAKE = """
from panoglot.providers.roles import Answer

class Model:
    name, fingerprint, batch_size, dim = "fake:1", "fake-1", 8, 2

    def __init__(self, kind="yes"):
        self.kind = kind

    def generate(self, prompts):
        if self.kind == "short":
            return []
        return [{"none": None, "text": "Yes"}.get(self.kind, Answer("Yes")) for _ in prompts]

    def encode_images(self, images):
        import numpy as np
        return np.ones((len(images), 2), np.float32)

    def encode_texts(self, texts, langs):
        import numpy as np
        return np.ones((len(texts), 2), np.float32)

def load(kind="yes"):
    return Model(kind)

encoder = load
"""


def picture(path):
    import PIL.Image

    PIL.Image.new("RGB", (16, 16), (200, 30, 40)).save(path)


@pytest.fixture(autouse=True)
def fake(tmp_path, monkeypatch):
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fake", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


POPE = '{"image": "%s", "text": "Is there a cat?", "label": "yes"}\n'


def test_a_broken_picture_costs_its_question(panoglot, tmp_path):
    picture(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"not a picture")
    (tmp_path / "q.jsonl").write_text(POPE % "0.png" + POPE % "1.png")
    arguments = ["choice", "q.jsonl", "--benchmark", "pope", "--model", "python:fake:load", "-o", "out.json"]
    assert panoglot("evaluate", *arguments)[0] == 0
    (found,) = json.loads((tmp_path / "out.json").read_text())["results"].values()
    assert (found["n"], found["unscored"], found["parts"]["recall"]) == (2, 1, 1.0)

    (tmp_path / "m.tsv").write_text(
        "index\tquestion\tA\tB\tanswer\timage\n1\tWas?\tx\ty\tA\t0.png\n2\tWas?\tx\ty\tB\t1.png\n"
    )
    arguments = ["choice", "m.tsv", "--benchmark", "mmmb", "--model", "python:fake:load", "-o", "out.json"]
    assert panoglot("evaluate", *arguments)[0] == 0
    assert json.loads((tmp_path / "out.json").read_text())["results"]["plain"]["unscored"] >= 1

    (tmp_path / "made").mkdir()
    (tmp_path / "0.png").rename(tmp_path / "made" / "a.png")
    (tmp_path / "1.png").rename(tmp_path / "made" / "b.png")
    asked = [{"id": key, "questions": [{"id": "1", "question": "Red?"}]} for key in "ab"]
    (tmp_path / "d.json").write_text(json.dumps(asked))
    arguments = ["generation", "made", "--benchmark", "dpg", "--data", "d.json", "--judge", "python:fake:load"]
    assert panoglot("evaluate", *arguments, "-o", "out.json")[0] == 0
    found = json.loads((tmp_path / "out.json").read_text())["results"]["dpg"]
    assert (found["value"], found["n"], found["unscored"]) == (1.0, 2, 1)
    for questions in ('"Red?"', '["Red?"]', "null"):
        (tmp_path / "d.json").write_text(f'[{{"id": "a", "questions": {questions}}}, {{"id": "b", "questions": []}}]')
        code, _, error = panoglot("evaluate", *arguments)
        assert code == 2
        assert "1 rows have no questions" in error


@pytest.mark.parametrize(
    ("rows", "kind", "said"),
    [
        (POPE % "gone.png", "yes", "gone.png cannot be read (No such file or directory)"),
        ('{"image": "0.png", "text": "x"}', "yes", "1 rows are not texts image, text, label: 0"),
        ('{"image": 5, "text": "x", "label": "yes"}', "yes", "1 rows are not texts image, text, label: 0"),
        (POPE % "0.png", "none", "fake:1 answered with NoneType"),
        (POPE % "0.png", "text", "fake:1 answered with str"),
        (POPE % "0.png", "short", "fake:1 gave 0 answers to 1 rows"),
    ],
)
def test_questions_and_answers(panoglot, tmp_path, rows, kind, said):
    picture(tmp_path / "0.png")
    (tmp_path / "q.jsonl").write_text(rows)
    arguments = ["choice", "q.jsonl", "--benchmark", "pope", "--model", f"python:fake:load?kind={kind}"]
    code, _, error = panoglot("evaluate", *arguments)
    assert code == 2
    assert said in error


def test_consistency_of_a_broken_picture_is_null(panoglot, tmp_path):
    """It was NaN in the parts, which no JSON file could take."""
    for tag in ("en", "de"):
        (tmp_path / "made" / tag / "p").mkdir(parents=True)
        picture(tmp_path / "made" / tag / "p" / "0.png")
    (tmp_path / "made" / "de" / "p" / "1.png").write_bytes(b"no")
    model = ["--encoder", "python:fake:encoder", "-o", "out.json"]
    assert panoglot("evaluate", "generation", "made", "--benchmark", "clc", *model)[0] == 3
    found = json.loads((tmp_path / "out.json").read_text())["results"]["clc"]
    assert (found["value"], found["unscored"], found["parts"]) == (None, 1, {"de": None})
    assert panoglot("evaluate", "generation", "made", "--benchmark", "css", "--english", "made/en", *model)[0] == 3
    found = json.loads((tmp_path / "out.json").read_text())["results"]["css"]
    assert (found["value"], found["parts"]) == (None, {"de": None, "en": None})


def test_ids_that_pandas_wrote_as_floats_are_the_same_ids(panoglot, tmp_path):
    rows = [{"image_id": float(key), "caption": text} for key, text in json.loads(PREDS).items()]
    (tmp_path / "floats.json").write_text(json.dumps(rows))
    code, out, _ = panoglot("evaluate", "captions", "floats.json", "--refs", "r.json", "--metrics", "rouge-l", "--json")
    _, same, _ = panoglot("evaluate", "captions", "p.json", "--refs", "r.json", "--metrics", "rouge-l", "--json")
    assert code == 0
    assert json.loads(out)["results"]["rouge-l"]["value"] == json.loads(same)["results"]["rouge-l"]["value"] > 0.5
