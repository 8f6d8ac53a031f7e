"""Faults that people met: what is not read is refused, what is not scored is said, what was asked for is shown."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from panoglot.checks import meet_ids
from panoglot.cli import main
from panoglot.errors import UserError
from panoglot.evaluate import chair, commands, compare, language_note, load_mteb, mteb_standings, standings
from panoglot.metrics import ResultSet
from panoglot.metrics.captions.chair import read_vocabulary
from panoglot.providers import register
from panoglot.providers.roles import Answer

PREDS = {"1": "a dog runs on grass", "2": "two cats sleep", "3": "a red bus on a street"}
REFS = {"1": ["a dog is running", "the dog runs"], "2": ["cats sleeping", "two cats"], "3": ["a bus", "a red bus"]}
GERMAN = [
    "Ein Hund läuft über die Wiese.",
    "Zwei Katzen schlafen auf dem Sofa.",
    "Ein roter Bus fährt durch die Stadt.",
]


def write(path, data):
    text = "\n".join(json.dumps(row) for row in data) if path.suffix == ".jsonl" else json.dumps(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture
def files(tmp_path):
    return write(tmp_path / "p.json", PREDS), write(tmp_path / "r.json", REFS)


def shell(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


class Says:
    """A generator that gives one answer to everything and counts what it is asked."""

    name, fingerprint, batch_size = "toy:says", "says-1", 4

    def __init__(self, text):
        self.text, self.asked = text, 0

    def generate(self, prompts):
        self.asked += len(prompts)
        return [Answer(self.text, tokens_in=1000, tokens_out=10) for _ in prompts]


# ---- options ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("verb", "given", "message"),
    [
        ("retrieval", {"source": "x.npy", "split": "nonsense"}, r"retrieval with vectors .* does not take --split"),
        ("retrieval", {"source": "x.pano", "owners": "nothere.json"}, "on a dataset does not take --owners"),
        ("retrieval", {"source": "xtd10", "split": "val"}, "'xtd10' does not take --split"),
        ("captions", {"preds": "p", "refs": "r", "images": "x"}, "cider does not take --images"),
        ("captions", {"preds": "p", "benchmark": "detailcaps", "metrics": "cider"}, "does not take --metrics"),
        ("choice", {"data": "x", "benchmark": "pope", "model": "m", "task": "s2i"}, "'pope' does not take --task"),
        ("generation", {"images": "x", "benchmark": "dpg", "detections": "d"}, "'dpg' does not take --detections"),
        ("composed", {"rankings": "x", "benchmark": "circo", "weight": 0.7}, "with rankings does not take --weight"),
        ("composed", {"benchmark": "circo", "encoder": "e", "method": "text", "weight": 0.7}, "does not take --weight"),
        ("agreement", {"metric": "cider", "human": "h", "benchmark": "foil", "groups": "x"}, "does not take --groups"),
        ("arena", {"battles": "b", "rating": "bradley-terry", "k": 8.0}, "'bradley-terry' does not take --k"),
    ],
)
def test_options_that_would_change_nothing_are_refused(verb, given, message):
    with pytest.raises(UserError, match=message):
        getattr(commands, verb)(**given)


def test_a_refused_option_has_a_hint():
    with pytest.raises(UserError, match=r"captions has no option 'tokeniser'. Did you mean 'tokenizer'"):
        commands.captions(preds="p", tokeniser="x")


def test_messages_speak_of_the_command_line(tmp_path, files, capsys):
    preds = write(tmp_path / "empty.json", {**PREDS, "2": ""})
    code, _, err = shell(capsys, "evaluate", "captions", preds, "--refs", files[1])
    assert code == 2
    assert "--on-error null" in err
    assert "on_error=" not in err


# ---- captions --------------------------------------------------------------------------------------------------------
def test_the_tokeniser_is_chosen_and_stands_in_the_table(files, capsys):
    code, out, _ = shell(capsys, "evaluate", "captions", *files, "--tokenizer", "whitespace")
    assert (code, "whitespace/1" in out) == (0, True)
    assert commands.captions(*files, tokenizer="coco")["cider"].tokenizer == "ptb/2"
    with pytest.raises(UserError, match="Did you mean 'words'"):
        commands.captions(*files, tokenizer="word")


def test_every_metric_that_was_asked_for_stands_in_the_table(files):
    found = commands.captions(*files, metrics="BLEU-1,bleu_4,CIDEr")
    assert list(found) == ["bleu-1", "bleu-4", "cider"]
    assert found["bleu-1"].metric == "bleu1"
    table = commands.captions(*files, metrics="bleu,cider").table()
    assert all(name in table for name in ("bleu1 ", "bleu2 ", "bleu3 ", "bleu4 "))
    np.save(files[0] + ".i.npy", np.eye(4))
    ways = commands.retrieval(
        files[0] + ".i.npy", texts=files[0] + ".i.npy", metrics="R@1,recall@5,mAP@10,mrr", lang="de"
    )
    for line in ways.table().splitlines()[:2]:
        assert all(f"{name} 1.0000" in line for name in ("recall@5", "map@10", "mrr"))
    assert ways["text_to_image"].parts["chance"] == 0.25


def test_captions_that_read_like_another_language_are_counted(tmp_path):
    preds = write(tmp_path / "p.json", {str(n): GERMAN[n % 3] for n in range(9)})
    refs = write(tmp_path / "r.json", {str(n): [GERMAN[n % 3]] for n in range(9)})
    notes = commands.captions(preds, refs).notes
    assert notes[0].startswith("9 of 9 captions read like another language than 'en' (de 9)")
    assert "--lang de" in notes[0]
    assert notes[1].startswith("9 of 9 references")
    assert commands.captions(preds, refs, lang="de").notes == ()
    assert language_note([*GERMAN * 10, "A dog is running over the green meadow."], "de").startswith("1 of 31 captions")
    assert language_note(GERMAN, "mi") == ""  # a language that the identifier does not know


def test_published_captions_are_not_called_another_language(test_data):
    folder = test_data / "adobe-research+Cross-lingual-Test-Dataset-XTD10"
    for file in sorted(folder.glob("test_1kcaptions_*.txt")):
        tag = {"jp": "ja"}.get(file.stem[-2:], file.stem[-2:])
        assert language_note(file.read_text("utf-8").splitlines(), tag) == "", tag


def test_ids_with_and_without_an_ending_meet(tmp_path):
    preds = write(tmp_path / "p.json", {f"{key}.JPG": text for key, text in PREDS.items()})
    refs = write(tmp_path / "r.json", REFS)
    found = commands.captions(preds, refs)
    assert found["cider"].unscored == 0
    assert "3 ids met without their file's ending, for example references of '1' for '1.JPG'" in found.notes[0]
    scores = write(tmp_path / "s.json", {f"{n}.png": float(n) for n in range(4)})
    people = write(tmp_path / "h.json", {str(n): float(n) for n in range(4)})
    agreed = commands.agreement(scores, people)
    assert agreed["metric"].value == 1.0
    assert "4 ids met" in agreed.notes[0]
    assert meet_ids(["a.png", "a.jpg"], {"a": 1}, "x") == ({"a": 1}, "")  # which of them?
    assert meet_ids(["v1.2"], {"v1": 1}, "x") == ({"v1": 1}, "")


def test_boxes_meet_too(tmp_path):
    box = {"box": [0, 0, 10, 10], "caption": "a red cat"}
    truth = write(tmp_path / "t.jsonl", [{**box, "image_id": "1.jpg"}])
    found = commands.captions(
        write(tmp_path / "p.jsonl", [{**box, "image_id": "1"}]), benchmark="dense-captions", data=truth
    )
    assert found["map"].value == pytest.approx(100)
    assert "1 ids met" in found.notes[0]


def test_chair_by_the_papers_protocol(tmp_path):
    (tmp_path / "synonyms.txt").write_text("person, man, woman, player\ndog, puppy\ntrain\ntie\n", encoding="utf-8")
    words = read_vocabulary(tmp_path / "synonyms.txt")
    assert words["puppy"] == "dog"
    text = "two players and a baby dog near a train track with a bow tie"
    found = chair([text], [["dog"]], vocabulary=words)
    assert found.details[0] == {"hallucinated": ["players", "bow tie"], "present": ["baby dog"]}
    assert (found.value, found.parts["chair_i"]) == (1.0, 2 / 3)
    assert found.options["protocol"] == "paper"
    assert "synonyms.txt (8 words, 4 classes" in found.options["vocabulary"]
    assert "labels alone" in found.notes[0]
    plain = chair([text], [["dog"]], [["a player"]])
    assert "--vocabulary synonyms.txt" in plain.notes[0]
    preds, objects = write(tmp_path / "p.json", {"1": text}), write(tmp_path / "o.json", {"1.jpg": ["dog"]})
    both = commands.captions(preds, metrics="chair", objects=objects, vocabulary=str(tmp_path / "synonyms.txt"))
    assert both["chair"].parts["chair_i"] == 2 / 3
    (tmp_path / "two.json").write_text('{"dog": ["pet"], "cat": ["pet"]}', encoding="utf-8")
    with pytest.raises(UserError, match=r"1 words belong to several classes: pet \(dog, cat\)"):
        read_vocabulary(tmp_path / "two.json")


def test_spice_says_that_it_is_by_rules(files):
    found = commands.captions(*files, metrics="spice")
    assert "spice (rules)" in found.table()
    assert "not by SPICE's parser" in found["spice"].notes[-1]


# ---- nothing scored --------------------------------------------------------------------------------------------------
def test_a_judge_that_nobody_understands_gives_no_score(tmp_path, capsys):
    rows = [{"img": n, "source1": "me", "source2": "base", "judge": "I cannot say"} for n in range(4)]
    verdicts = write(tmp_path / "v.json", rows)
    code, out, err = shell(capsys, "evaluate", "captions", verdicts, "--benchmark", "caparena-auto")
    assert code == 3
    assert "null" in out
    assert "0.0000" not in out.splitlines()[0]
    assert "no verdict could be read against base" in out
    assert "nothing could be scored" in err


@pytest.mark.parametrize("benchmark", ["pope", "mmmb", "smpqa"])
def test_answers_that_nobody_understands_give_no_score(tmp_path, benchmark):
    data, count = questions(tmp_path, benchmark)
    answers = write(tmp_path / "a.json", ["well …"] * count)
    found = commands.choice(data, benchmark=benchmark, answers=answers, lang="en")
    name = "en/ground" if benchmark == "smpqa" else next(iter(found))
    assert found[name].value is None
    assert found[name].unscored == found[name].n
    assert found[name].notes


def questions(folder, benchmark):
    """A small benchmark: its path, and how many questions it has."""
    if benchmark == "pope":
        rows = [{"question_id": 7 + n, "image": "x.png", "text": "Is it?", "label": "yes"} for n in range(2)]
        return write(folder / "pope.jsonl", rows), 2
    if benchmark == "mmmb":
        (folder / "m.tsv").write_text("index\timage\tquestion\tA\tB\tanswer\n3\tx.png\tq\tcat\tdog\tB\n", "utf-8")
        return str(folder / "m.tsv"), 1
    for task, said in (("ground", "yes"), ("name", "Tee")):
        write(folder / "s" / f"en_{task}.json", [{"context": ["q"], "text_label": said, "image_id": "x.png"}])
    return str(folder / "s"), 2


# ---- stored answers, judges ------------------------------------------------------------------------------------------
def test_stored_answers_are_scored_without_a_model_or_pictures(tmp_path):
    data, _ = questions(tmp_path, "pope")
    in_order = write(tmp_path / "a.json", ["Yes", "No"])
    by_id = write(tmp_path / "a.jsonl", [{"question_id": 8, "answer": "No"}, {"question_id": 7, "answer": "Yes."}])
    for answers in (in_order, by_id):
        found = commands.choice(data, benchmark="POPE", answers=answers)["en"]
        assert (found.parts["accuracy"], found.per_item) == (0.5, (1.0, 0.0))
    data, _ = questions(tmp_path, "mmmb")
    assert commands.choice(data, benchmark="mmmb", answers=write(tmp_path / "b.json", {"3": "B"}))["plain"].value == 1
    data, _ = questions(tmp_path, "smpqa")
    both = commands.choice(data, benchmark="smpqa", answers=write(tmp_path / "c.json", ["yes", "tee"]))
    assert [result.value for result in both.values()] == [1.0, 1.0]
    with pytest.raises(UserError, match=r"has 1 answers, but there are 2 questions"):
        commands.choice(questions(tmp_path, "pope")[0], benchmark="pope", answers=write(tmp_path / "d.json", ["Yes"]))
    with pytest.raises(UserError, match="needs one of --model and --answers"):
        commands.choice(questions(tmp_path, "pope")[0], benchmark="pope")


def test_stored_scores_of_benchmarks_of_metrics(tmp_path):
    rows = [{"references": ["a"], "baseline": "a cat", "foil": "a dog"}] * 2
    foil = write(tmp_path / "foil.json", rows)
    pairs = write(tmp_path / "pairs.json", [[0.9, 0.1], [0.5, 0.5]])
    named = write(tmp_path / "mine.jsonl", [{"baseline": 0.9, "foil": 0.1}, {"baseline": 0.5, "foil": 0.5}])
    assert commands.agreement(pairs, foil, benchmark="foil")["pairs"].value == 0.75
    assert commands.agreement(named, foil, benchmark="foil")["mine"].value == 0.75
    marked = [{"caption": "x", "references": ["a"], "contains_hallucination": bad} for bad in (True, False)]
    scores = write(tmp_path / "hat-scores.json", [0.1, 0.9])
    found = commands.agreement(scores, write(tmp_path / "hat.json", marked), benchmark="hat")
    assert found["hat-scores"].value == 1.0
    with pytest.raises(UserError, match=r"is not 2 numbers \(baseline, foil\)"):
        commands.agreement(scores, foil, benchmark="foil")


def test_a_judge_is_asked_once_priced_and_limited(tmp_path):
    from tests.conftest import picture_bytes

    says = Says("Yes")
    register("toy:says", lambda: says)
    (tmp_path / "x.png").write_bytes(picture_bytes(1))
    data, _ = questions(tmp_path, "pope")
    (tmp_path / "prices.yaml").write_text('"toy:*": {input: 1000, output: 0}\n')
    run = {"benchmark": "pope", "model": "toy:says", "images": str(tmp_path), "cache": str(tmp_path / "kept")}
    with pytest.raises(UserError, match=r"may cost more|dollars are spent"):
        commands.choice(data, **run, prices=str(tmp_path / "prices.yaml"), max_cost=0.5)
    assert says.asked == 0
    first = commands.choice(data, **run, prices=str(tmp_path / "prices.yaml"), max_cost=20.0)
    again = commands.choice(data, **run)
    assert says.asked == 1  # both rows ask the same
    assert first.made["answers"] == {"asked": 1, "from the journal": 1, "price": 1.0}
    assert again.made["answers"]["from the journal"] == 2
    assert again["en"].value == first["en"].value == 1.0
    commands.choice(data, **{**run, "cache": "off"})
    assert says.asked == 3


# ---- what made a result ----------------------------------------------------------------------------------------------
ENCODER = """
import numpy as np
class Encoder:
    name, fingerprint, batch_size, dim = "python:mine", "mine-1", 4, 2
    calls = 0
    def encode_images(self, images):
        return np.ones((len(images), 2), np.float32)
    def encode_texts(self, texts, langs=None):
        type(self).calls += len(texts)
        return np.array([[{x}, 1.0]] * len(texts), np.float32)
"""


def test_a_changed_encoder_class_does_not_get_its_old_vectors(tmp_path, monkeypatch):
    from panoglot.asking import identity, load_encoder

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    seen = []
    for x in ("0.25", "0.75"):
        (tmp_path / "mine_encoder.py").write_text(ENCODER.replace("{x}", x))
        sys.modules.pop("mine_encoder", None)
        import importlib
        import linecache

        importlib.invalidate_caches()
        linecache.clearcache()
        for _ in range(2):
            encoder = load_encoder("python:mine_encoder:Encoder", str(tmp_path / "kept"))
            seen.append(float(encoder.encode_texts(["a"], ["en"])[0, 0]))
        assert sys.modules["mine_encoder"].Encoder.calls == 1
    assert seen == [0.25, 0.25, 0.75, 0.75]

    class Bare:
        def __init__(self, size):
            self.size = size

    assert identity(Bare(1)) == identity(Bare(1)) != identity(Bare(2))
    assert identity(type("Unknown", (), {"hook": staticmethod(lambda: 0), "__module__": "nowhere"})()) == ""


def test_results_carry_models_data_and_versions(files, tmp_path):
    rows = [{"id": key, "caption": text, "model": "captioner-a"} for key, text in PREDS.items()]
    found = commands.captions(write(tmp_path / "p.jsonl", rows), files[1], metrics="cider")
    made = json.loads(found.to_json())["made"]
    assert made["captioner"] == "captioner-a"
    assert made["data"]["r.json"].startswith("sha256:")
    assert made["options"]["metrics"] == "cider"
    assert "panoglot" in made["versions"]
    assert "captioner: captioner-a" in found.table()


def test_compare_says_when_the_references_differ_and_what_a_corpus_value_is(files, tmp_path):
    results = []
    for n, text in enumerate(("a dog", "the dog runs on grass")):
        folder = tmp_path / str(n)
        preds = write(folder / "p.json", {**PREDS, "1": text})
        refs = write(folder / "r.json", {**REFS, "1": [f"a dog {n}"]})
        found = commands.captions(preds, refs, metrics="bleu-1")
        (folder / "x.json").write_text(found.to_json(per_item=True))
        results.append(folder / "x.json")
    notes = compare(*results).notes
    assert "A and B were made with files that differ though they are called alike: r.json" in notes
    assert any(
        note.startswith("bleu-1: A and B here are means of item values; of the corpus bleu1 is") for note in notes
    )


# ---- standings and mteb ----------------------------------------------------------------------------------------------
def task(name, scores, revision="r1", split="test"):
    rows = [{"hf_subset": tag, "languages": [tag], "main_score": value} for tag, value in scores.items()]
    return {"task_name": name, "dataset_revision": revision, "scores": {split: rows}}


def model(folder, **tasks):
    for name, data in tasks.items():
        write(folder / f"{name}.json", {**data, "task_name": name})
    return folder


def test_three_languages_do_not_beat_all(tmp_path):
    few = model(tmp_path / "few" / "abcdef12", X=task("X", {"deu": 0.9, "eng": 0.9}), Y=task("Y", {"deu": 0.5}))
    many = model(
        tmp_path / "many" / "abcdef12", X=task("X", {"deu": 0.8, "eng": 0.8, "swa": 0.2}), Y=task("Y", {"deu": 0.4})
    )
    for found in (
        mteb_standings({"few": few, "many": many}),
        commands.standings(str(few), str(many)),
        commands.standings(*(str(side / f"{name}.json") for side in (few, many) for name in "XY")),
    ):
        assert found.scores["X"] == {"few": None, "many": pytest.approx(0.6)}
        assert [(row.model, row.points) for row in found.rows] == [("few", 1.0), ("many", 1.0)]
        assert "X of few (lacks 1 of 3 subsets)" in found.notes[0]
        assert [row.mean for row in found.rows] == [None, pytest.approx(0.5)]
    sides = compare(few, many)
    assert sides.rows[0].n == 1
    assert any("1 tasks stand for different subsets or splits, left out: X" in note for note in sides.notes)


def test_splits_do_not_mix(tmp_path):
    both = task("X", {"deu": 0.2})
    both["scores"]["validation"] = task("X", {"deu": 0.8})["scores"]["test"]
    folder = model(tmp_path / "m", X=both)
    with pytest.raises(UserError, match=r"1 tasks have results of several splits.*X \(test, validation\)"):
        load_mteb(folder)
    assert load_mteb(folder, split="test")["tasks"].value == 0.2
    with pytest.raises(UserError, match="no task has results of the split 'dev'"):
        load_mteb(folder, split="dev")


def test_tasks_of_other_revisions_are_named_and_can_be_left_out(tmp_path):
    one = model(tmp_path / "one", X=task("X", {"deu": 0.2}), Y=task("Y", {"deu": 0.2}))
    two = model(tmp_path / "two", X=task("X", {"deu": 0.3}, revision="r2"), Y=task("Y", {"deu": 0.4}))
    with pytest.raises(UserError, match=r"1 tasks have data of different revisions: X.*--revisions leave-out"):
        commands.compare(str(one), str(two))
    left = commands.compare(str(one), str(two), revisions="leave-out")
    assert (left.rows[0].n, left.rows[0].difference) == (1, pytest.approx(0.2))
    assert any("left out: X" in note for note in left.notes)
    assert commands.compare(str(one), str(two), revisions="keep").rows[0].n == 2


def test_one_task_is_no_borda_rank_and_scales_have_no_mean():
    alone = standings({"t": {"a": 0.9, "b": 0.1}})
    assert "not a Borda rank" in alone.table()
    assert json.loads(alone.to_json())["metric"] == "order of one task"
    mixed = standings({"t": {"a": 60.0, "b": 50.0}, "u": {"a": 0.5, "b": 0.9}}, scales={"t": "chrf", "u": "cider-d"})
    assert [row.mean for row in mixed.rows] == [None, None]
    assert [row.points for row in mixed.rows] == [1.0, 1.0]
    assert "chrf, cider-d" in mixed.notes[0]


def test_german_does_not_compete_with_hindi(tmp_path):
    for lang, preds in (("de", GERMAN), ("hi", ["लाल बिल्ली", "दो कुत्ते", "एक बस"])):
        data = {str(n): text for n, text in enumerate(preds)}
        refs = {key: [text] for key, text in data.items()}
        found = commands.captions(
            write(tmp_path / f"{lang}p.json", data), write(tmp_path / f"{lang}r.json", refs), lang=lang
        )
        (tmp_path / f"{lang}.json").write_text(found.to_json())
    with pytest.raises(UserError, match="'cider' is of different metrics, versions, languages or tokenisers"):
        commands.standings(str(tmp_path / "de.json"), str(tmp_path / "hi.json"))


# ---- generated pictures, datasets, labels ----------------------------------------------------------------------------
def test_geneval_of_a_language_is_scored_by_its_own_prompts(tmp_path):
    from tests.conftest import picture_bytes

    scenes = {
        name: {"tag": "single_object", "include": [{"class": name, "count": 1}]} for name in ("cat", "dog", "bus")
    }
    order = {"en": ["cat", "dog"], "fa": ["dog", "bus"]}
    rows = []
    for lang, names in order.items():
        specs = [{**scenes[name], "prompt": f"{name} {lang}"} for name in names]
        write(tmp_path / "data" / f"evaluation_metadata_{lang}.jsonl", specs)
        for n, name in enumerate(names):
            path = tmp_path / "made" / lang / f"{n:05d}" / "0.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(picture_bytes(n))
            box = {"name": name, "score": 0.95, "box": [0, 0, 1, 1]}
            rows.append({"image": path.relative_to(tmp_path / "made").as_posix(), "boxes": [box]})
    run = {"benchmark": "geneval", "detections": write(tmp_path / "d.jsonl", rows)}
    found = commands.generation(str(tmp_path / "made"), data=str(tmp_path / "data"), **run)
    assert {lang: result.value for lang, result in found.items()} == {"en": 1.0, "fa": 1.0}
    assert found["fa"].options["prompts"] == "evaluation_metadata_fa.jsonl"
    assert found.summary == {"en, scenes in all languages": 1.0, "fa, scenes in all languages": 1.0}
    assert "1 of 2 scenes are in the files of all languages" in found.notes[0]
    one = commands.generation(
        str(tmp_path / "made"), data=str(tmp_path / "data" / "evaluation_metadata_en.jsonl"), **run
    )
    assert one["fa"].value == 0.0  # the wrong scenes, and a note that says so
    assert "m-GenEval has a file a language" in one.notes[0]
    (tmp_path / "data" / "evaluation_metadata_fa.jsonl").unlink()
    with pytest.raises(UserError, match="no files of prompts in 'fa'"):
        commands.generation(str(tmp_path / "made"), data=str(tmp_path / "data"), **run)


def test_labels_are_checked_before_anything_is_encoded(tmp_path):
    from tests.conftest import picture_bytes

    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "0.png").write_bytes(picture_bytes(1))
    with pytest.raises(UserError, match=r"there is no file .*nothere\.json"):
        commands.zeroshot(str(tmp_path / "set"), encoder="toy:never", labels=str(tmp_path / "nothere.json"))
    with pytest.raises(UserError, match="2 class folders, but de has 1 names"):
        commands.zeroshot(
            str(tmp_path / "set"), encoder="toy:never", labels=write(tmp_path / "n.json", {"de": ["Katze"]})
        )


def test_a_mean_over_languages_wants_all_of_them():
    from panoglot.metrics import mean_over, mean_result

    both = ResultSet({"de": mean_result("a", [1.0], version="1"), "ja": mean_result("a", [None], version="1")})
    assert mean_over(both) is None
