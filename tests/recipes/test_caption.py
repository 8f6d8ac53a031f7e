"""`caption` and `translate`: methods over a dataset as verbs of their own."""

import json
import shutil

import pytest

import panoglot
from panoglot.captioning import QUESTIONS
from panoglot.errors import UserError
from panoglot.providers import load_model
from panoglot.providers.roles import Answer
from tests.conftest import picture_bytes
from tests.running.toy import calls

WRITER = "python:tests.running.toy:Writer"
SPEAKER = "python:tests.recipes.test_caption:Speaker"
PHRASEBOOK = "python:tests.running.toy:Phrasebook"

SENTENCES = {
    "ar": "كلبان يركضان على الشاطئ ويلعبان بالكرة الحمراء.",
    "de": "Zwei Hunde laufen am Strand entlang und spielen mit einem roten Ball.",
    "en": "Two dogs run along the beach and play with a red ball.",
    "hi": "दो कुत्ते समुद्र तट पर दौड़ रहे हैं और गेंद से खेल रहे हैं।",
    "sw": "Mbwa wawili wanakimbia ufukweni na kucheza na mpira mwekundu.",
    "th": "สุนัขสองตัวกำลังวิ่งเล่นลูกบอลอยู่บนชายหาด",
    "zh": "两只狗在海滩上奔跑，玩一个红色的球。",
}


class Endless:
    name = fingerprint = "toy:endless"
    batch_size = 4

    def generate(self, prompts):
        return [Answer("a" * 100_000) for _ in prompts]


class Speaker:
    """A captioner that answers in the language of the question; with `only` in one whatever it is asked in."""

    batch_size = 4

    def __init__(self, only: str = "", log: str = "") -> None:
        self.name, self.fingerprint = f"toy:speaker{only}", f"toy-speaker-{only}"
        self.only, self.log = only, log
        self.lid = load_model("embedded:langid", "language_identifier")

    def generate(self, prompts):
        if self.log:
            with open(self.log, "a") as file:
                file.write("".join(f"{json.dumps(p.text)}\n" for p in prompts))
        tags = [self.only or self.lid.identify([p.text])[0][0] for p in prompts]
        return [Answer(SENTENCES[tag], tokens_in=1000, tokens_out=50) for tag in tags]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A dataset of four pictures; two of them came with texts. It is copied, or only read."""
    photos = tmp_path_factory.mktemp("caption") / "photos"
    photos.mkdir()
    for n in range(4):
        (photos / f"{n}.jpg").write_bytes(picture_bytes(n, 64 + 10 * n))
    (photos / "0.txt").write_text("A small disc before waves.\nde.utf8=Eine kleine Scheibe vor Wellen.\n")
    (photos / "1.txt").write_text("A disc in front of a striped wall.\n")
    return panoglot.ingest(str(photos), f"{photos}.pano").dataset.path


@pytest.fixture
def data(photos, tmp_path):
    return panoglot.open(shutil.copytree(photos, tmp_path / "x.pano"))


def written(data, recipe="describe/1"):
    return data.captions.rows(where=f"recipe = '{recipe}'")


def test_a_language_is_asked_for_in_its_own_words_and_stored_as_it_is(data, tmp_path):
    log, tags = tmp_path / "log", sorted(SENTENCES.keys() & QUESTIONS.keys())
    result = panoglot.caption(data, captioner=f"{SPEAKER}?log={log}", lang=tags, limit=1)
    found = {row["lang"]: (row["text"], row["dropped"]) for row in written(data)}
    assert found == {tag: (SENTENCES[tag], None) for tag in tags}
    assert [json.loads(line) for line in calls(log)] == [QUESTIONS[tag] for tag in tags]
    assert (result.problem, dict(result.made.kept)) == (None, dict.fromkeys(tags, 1))


def test_the_question_is_known_as_its_own_language():
    lid = load_model("embedded:langid", "language_identifier")
    assert {tag: lid.identify([text])[0][0] for tag, text in QUESTIONS.items()} == {tag: tag for tag in QUESTIONS}


def test_a_german_answer_to_a_german_prompt_is_german(data, tmp_path):
    log = tmp_path / "log"
    panoglot.caption(data, captioner=f"{SPEAKER}?log={log}", prompt="Beschreibe das Bild in einem Satz.", lang="de")
    assert {(row["lang"], row["dropped"]) for row in written(data)} == {("de", None)}
    assert {json.loads(line) for line in calls(log)} == {"Beschreibe das Bild in einem Satz."}
    panoglot.caption(data, captioner=f"{SPEAKER}?only=de", prompt="Beschreibe das Bild in einem Satz.")
    assert {(row["lang"], row["dropped"]) for row in written(data)} == {("de", None)}


def test_several_languages_are_a_caption_each_and_again_is_nothing_new(data, tmp_path):
    log = tmp_path / "log"
    for _ in range(2):
        result = panoglot.caption(data, captioner=f"{SPEAKER}?log={log}", lang="de,sw,th")
    assert sorted(row["lang"] for row in written(data)) == ["de"] * 4 + ["sw"] * 4 + ["th"] * 4
    assert len(calls(log)) == 12
    assert [(stage.done, stage.skipped) for stage in result.stages] == [(0, 4)] * 3
    assert result.problem is None


def test_a_run_that_keeps_nothing_says_what_mends_it_and_the_line_runs(data, capsys):
    from panoglot.cli import main

    arguments = ["caption", data.address, "--captioner", f"{SPEAKER}?only=en"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--lang", "de"])
    said = capsys.readouterr()
    assert ended.value.code == 3
    assert "Dropped: 4 captions (wrong_language 4)" in said.out
    assert "wrong_language" in said.err
    assert "they are in en, not in de" in said.err
    assert len(said.err.strip().splitlines()) <= 2
    import shlex

    line = shlex.split(
        said.err.strip().splitlines()[-1].partition("To keep them in the language that comes: panoglot ")[2]
    )
    with pytest.raises(SystemExit) as ended:
        main(line)
    assert ended.value.code == 0
    assert "Written: 4 captions (en 4)" in capsys.readouterr().out


def test_the_line_that_mends_it_has_the_options_of_the_run_and_asks_nothing_twice(data, capsys, tmp_path):
    import shlex

    from panoglot.cli import main

    log, prices = tmp_path / "log", tmp_path / "prices.yaml"
    prices.write_text('"toy:*": {input: 1, output: 1}\n')
    options = ["--where", "width > 65", "--set", "max_tokens=99", "--prices", str(prices), "--limit", "2"]
    with pytest.raises(SystemExit) as ended:
        main(["caption", data.address, "--captioner", f"{SPEAKER}?only=en&log={log}", "--lang", "hi", *options])
    assert ended.value.code == 3
    asked = len(calls(log))
    line = capsys.readouterr().err.strip().splitlines()[-1].partition("language that comes: panoglot ")[2]
    again = shlex.split(line)
    assert {*options} <= {*again}
    with pytest.raises(SystemExit) as ended:
        main(again)
    assert ended.value.code == 0
    assert "Written: 2 captions (en 2)" in capsys.readouterr().out
    assert len(calls(log)) == asked == 2  # the same question: its answers are remembered


def test_a_language_that_was_lost_is_named_and_is_an_error(data, capsys):
    from panoglot.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["caption", data.address, "--captioner", f"{SPEAKER}?only=de", "--lang", "de,sw"])
    said = capsys.readouterr()
    assert ended.value.code == 3
    assert "Written: 4 captions (de 4)" in said.out
    assert "nothing is kept in sw: 4 captions dropped (wrong_language), they are in de, not in sw" in said.err
    assert f"panoglot translate {data.address} --to sw --with '{SPEAKER}?only=de'" in said.err


def test_what_comes_again_and_again_is_rejected_and_not_advised(data, capsys):
    from panoglot.cli import main

    with pytest.raises(SystemExit):
        main(["caption", data.address, "--captioner", "python:tests.recipes.test_caption:Endless", "--lang", "de"])
    said = capsys.readouterr()
    assert "endless_answer" in said.err
    assert "To keep them" not in said.err


def test_a_missing_model_says_all_ways_out(data):
    with pytest.raises(
        UserError, match=r"--model llm=PROVIDER:NAME or --llm PROVIDER:NAME .*; without one: --set llm="
    ):
        panoglot.caption(data, method="capsfusion", captioner=WRITER)
    with pytest.raises(UserError, match="'fusecap' does not do without 'detector': --set detector=PROVIDER:NAME"):
        panoglot.caption(data, method="fusecap", captioner=WRITER, set=["llm=", "detector="])


def test_prompts_read_what_earlier_steps_wrote(data, tmp_path):
    log = tmp_path / "log"
    prompt = "It came as: {human}. Describe {evidence} better."
    panoglot.caption(data, method="evidence")
    result = panoglot.caption(data, captioner=f"{SPEAKER}?only=en&log={log}", prompt=prompt)
    asked = sorted(json.loads(line) for line in calls(log))
    assert len(asked) == 2
    assert asked[0].startswith("It came as: A disc in front of a striped wall.. Describe ")
    assert "{" not in "".join(asked)
    texts = {row["caption_id"]: row["recipe"] for row in data.captions.rows()}
    assert [[texts[p] for p in row["parents"]] for row in written(data)] == [["human", "evidence/1"]] * 2
    assert {row["reason"] for row in data.rejects.rows()} == {"not_in_picture"}  # two pictures came without a text
    assert result.rejected == 2


def test_what_is_put_in_is_no_template(data, tmp_path):
    log = tmp_path / "log"
    caption = next(row for row in data.captions.rows() if row["text"].startswith("A disc in"))
    panoglot.edit(data, caption["image_id"], lang="en", text="{title} {evidence}")
    panoglot.caption(
        data, captioner=f"{SPEAKER}?only=en&log={log}", prompt="About {human}", where="text = '{title} {evidence}'"
    )
    assert [json.loads(line) for line in calls(log)] == ["About {title} {evidence}"]


def test_where_takes_some_and_the_rest_later(data, tmp_path):
    log = tmp_path / "log"
    captioner = f"{WRITER}?log={log}"
    panoglot.caption(data, captioner=captioner, where="lang = 'de'")
    assert len(calls(log)) == 1
    panoglot.caption(data, captioner=captioner, where="width > 75")
    assert len(calls(log)) == 3
    result = panoglot.caption(data, captioner=captioner, where="width > 65")
    assert ([s.skipped for s in result.stages], [s.done for s in result.stages]) == ([2], [1])
    result = panoglot.caption(data, captioner=captioner)
    assert (len(calls(log)), len(written(data))) == (4, 4)
    result = panoglot.caption(data, captioner=captioner, where="width > 7500")
    assert "no row fits: describe takes pictures, and --where" in result.problem


def test_what_failed_before_is_named_where_nothing_is_taken(data):
    models = {"llm": WRITER, "verifiers": WRITER}
    first = panoglot.caption(data, method="feedback-pairs", set=[f"{k}={v}" for k, v in models.items()])
    assert sum(stage.rejected for stage in first.stages) > 0
    again = panoglot.caption(data, method="feedback-pairs", set=[f"{k}={v}" for k, v in models.items()])
    assert "failed before (one_caption" in again.problem
    assert f"panoglot retry {data.address}" in again.problem


def test_options_of_methods_are_options_of_the_command(data):
    panoglot.caption(data, captioner=WRITER, set=["kind=dense", "describe.max_tokens=33", "temperature=1"])
    assert {row["kind"] for row in written(data)} == {"dense"}
    (run,) = [row for row in data.runs.rows() if "describe" in row["recipe"]]
    assert json.loads(run["recipe"])["steps"] == [{"describe": {"kind": "dense", "max_tokens": 33, "temperature": 1.0}}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"set": ["max_tokns=3"]}, "method describe has no option 'max_tokns'. Did you mean 'max_tokens'?"),
        ({"set": ["max_tokens"]}, "write OPTION=VALUE"),
        ({"set": ["max_tokens=many"]}, "max_tokens must be int"),
        ({"set": ["descrbe.seed=1"]}, "no method 'descrbe' is asked for. Did you mean 'describe'"),
        ({"method": "descibe"}, "Did you mean 'describe'"),
        ({"method": "translate"}, "does not write captions"),
        ({"where": "widht>3"}, "Did you mean 'width'"),
        ({"lang": "germn"}, "Did you mean 'de'"),
        ({"lang": "de", "set": ["lang=fr"]}, "a language is said twice"),
        ({"detector": "embedded:faces"}, "asks for no model 'detector'"),
        ({"method": "evidence"}, "asks for no model 'captioner'"),
        ({"captioner": None, "prompt": "What?"}, "--prompt: method evidence does not take it; these do: --method"),
        ({"captioner": None, "method": "describe"}, "asks for a model 'captioner'"),
        ({"model": ["captioner"]}, "ALIAS=PROVIDER:NAME"),
        ({"captoner": "x"}, "Did you mean 'captioner'"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(photos, options, message):
    data = panoglot.open(photos)
    runs = len(data.runs)
    with pytest.raises(UserError) as raised:
        panoglot.caption(data, **{"captioner": WRITER, **options})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(data.runs) == runs


def test_models_reach_the_options_that_are_for_them(data):
    panoglot.caption(data, method="evidence", reader="python:tests.recipes.test_caption:Reads")
    assert {row["text"] for row in written(data, "evidence/1") if row["kind"] == "ocr"} == {"OPEN"}


class Reads:
    name, fingerprint, batch_size = "toy:reads", "toy-reads-1", 4

    def read(self, images):
        from panoglot.geometry import Region
        from panoglot.providers.roles import Line

        return [[Line("OPEN", 0.9, Region(0, 0, 1, 1))] for _ in images]


def test_a_dry_run_counts_prices_and_writes_nothing(data, tmp_path):
    log = tmp_path / "log"
    prices = tmp_path / "prices.yaml"
    prices.write_text('"toy:speaker*": {input: 2.0, output: 10.0}\n')
    before = sorted(str(p) for p in data.path.rglob("*"))
    options = {"captioner": f"{SPEAKER}?log={log}", "prompt": "Say it.", "prices": str(prices)}
    found = panoglot.caption(data, dry_run=True, limit=3, **options)
    assert not log.exists()
    assert sorted(str(p) for p in data.path.rglob("*")) == before
    (step,) = found.steps
    need = next(one for one in step.needs if one.role == "generator")
    assert (step.pending, found.rows(step), need.asked, need.images) == (4, 3, 1000, 1000)
    assert need.price == pytest.approx((need.tokens_in * 2 + 200_000 * 10) / 1e6)
    assert found.price == pytest.approx(need.price * 3 / 1000)
    assert found.seconds is None
    result = panoglot.caption(data, limit=3, **options)
    paid = result.spent.price
    assert paid == pytest.approx(3 * (1000 * 2 + 50 * 10) / 1e6)
    assert paid <= found.price
    again = panoglot.caption(data, dry_run=True, **options)
    assert again.steps[0].paid == pytest.approx(paid / 3 * 1000)
    assert (again.steps[0].measured, again.steps[0].before, again.steps[0].pending) == (3, 3, 1)
    assert again.seconds > 0


def test_a_price_that_nobody_knows_is_no_zero(photos):
    data = panoglot.open(photos)
    found = panoglot.caption(data, captioner="openai:http://127.0.0.1:9/v1#some-model", dry_run=True)
    assert found.price is None
    assert found.steps[0].needs[0].price is None


def test_translate_is_a_verb(data):
    where = "kind = 'human'"
    assert data.captions.count(where) == 3
    result = panoglot.translate(data, lang="de", translator=PHRASEBOOK)
    made = data.captions.rows(where="recipe = 'translate/1'")
    assert {row["lang"] for row in made} == {"de"}
    assert len(made) == 2
    assert result.made.captions == 2
    assert {row["kind"] for row in made} == {"short"}  # what people wrote stays what is `human`
    assert data.captions.count(where) == 3
    result = panoglot.translate(data, lang=["de"], translator=PHRASEBOOK, where="width > 1", kinds="human")
    assert (len(data.captions.rows(where="recipe = 'translate/1'")), [s.done for s in result.stages]) == (2, [0])
    with pytest.raises(UserError, match="say into which languages"):
        panoglot.translate(data)
    with pytest.raises(UserError, match=r"panoglot translate .* --to de --with embedded:apertium"):
        panoglot.translate(data, lang="de")
    with pytest.raises(UserError, match="no kind of caption 'humn'"):
        panoglot.translate(data, lang="de", translator=PHRASEBOOK, kinds="humn")


def test_a_translator_says_which_languages_it_lacks(data):
    """The phrasebook goes from English into German, Spanish and French."""
    with pytest.raises(UserError, match=r"does not translate into sw, but into de, es, fr\. Others: panoglot models"):
        panoglot.translate(data, lang="sw", translator=PHRASEBOOK)
    assert data.captions.count("recipe like 'translate/%'") == 0
    result = panoglot.translate(data, lang="de,sw,es", translator=PHRASEBOOK)
    assert result.said == [
        f"{PHRASEBOOK} does not translate into sw: nothing is made there",
        f"{PHRASEBOOK} does not translate into es from: de 1. These captions are passed over",
    ]
    assert result.remarks[:2] == result.said


def test_what_was_not_asked_for_is_said(data):
    result = panoglot.caption(data, method="evidence", lang="th")
    assert set(result.made.kept) == {"en"}
    assert result.said == [
        "Written, though not asked for by --lang th: en 4 (evidence writes English too, and writing as it stands)"
    ]
    assert panoglot.caption(data, method="evidence", lang="th,en").said == []
    result = panoglot.caption(data, captioner=SPEAKER, lang="th")
    assert (dict(result.made.kept), result.said) == ({"th": 4}, [])


def test_the_words_of_the_command(photos, capsys):
    from panoglot.cli import main

    data = panoglot.open(photos)

    with pytest.raises(SystemExit) as ended:
        main(["translate", data.address, "--to", "de", "--with", PHRASEBOOK, "--dry-run"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "translate.translate: 3 rows to do" in said
    assert "Nothing was asked or written." in said


def test_an_empty_dataset_says_how_to_fill_it(tmp_path):
    from panoglot.table import create_dataset

    create_dataset(str(tmp_path / "e.pano"))
    result = panoglot.caption(str(tmp_path / "e.pano"), captioner=WRITER)
    assert "there are no pictures" in result.problem
    assert "panoglot ingest" in result.problem
