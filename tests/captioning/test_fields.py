"""`fields`: an answer is checked against the schema, mended once, and becomes facts that conditions read."""

import asyncio
import json

import pytest

import panoglot
from panoglot.asking import Asker, Models
from panoglot.captioning import fields, read_fields
from panoglot.errors import RowError, UserError
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.roles import Answer
from tests.conftest import picture_bytes

SCHEMA = {
    "properties": {
        "colour": {"enum": ["rot", "青", "أزرق"]},
        "people": {"type": "integer", "minimum": 0},
        "things": {"items": {"type": "string"}, "maxItems": 3},
        "place": {"properties": {"indoors": {"type": "boolean"}, "name": {"type": ["string", "null"]}}},
    }
}
GOOD = {"colour": "青", "people": 2, "things": ["dog", "กา"], "place": {"indoors": False, "name": None}}


class Says:
    name, fingerprint, batch_size = "toy:says", "toy-says-1", 1

    def __init__(self, *answers):
        self.answers, self.prompts = list(answers), []

    def generate(self, prompts):
        self.prompts += prompts
        return [Answer(self.answers.pop(0)) for _ in prompts]


def run(*answers, schema=SCHEMA, **options):
    model = Says(*answers)
    models = {"captioner": model, "embedded:langid": load_model("embedded:langid", "language_identifier")}
    m = Models({k: Asker(v, journal=None, prices=None, budget=None) for k, v in models.items()})
    found = asyncio.run(fields(Image(picture_bytes(1)), m, schema=json.dumps(schema), **options))
    return [(f.kind, f.text, f.value) for f in found], model.prompts


WANTED = [
    ("colour", "青", None),
    ("people", "2", 2.0),
    ("things", "dog", None),
    ("things", "กา", None),
    ("place.indoors", "false", 0.0),
]


def test_an_answer_is_facts():
    found, (prompt,) = run(json.dumps(GOOD))
    assert found == WANTED
    assert prompt.schema["additionalProperties"] is False
    assert prompt.schema["properties"]["place"]["required"] == ["indoors", "name"]
    assert '"青"' in prompt.text


@pytest.mark.parametrize(
    "answer",
    [
        "Here it is:\n```json\n" + json.dumps(GOOD) + "\n```",
        "<think>hm</think>" + json.dumps(GOOD),
        "I see " + json.dumps(GOOD) + " in it.",
        json.dumps({**GOOD, "people": "2"}),
    ],
)
def test_words_around_it_and_numbers_in_quotes_are_mended(answer):
    assert run(answer)[0] == WANTED


@pytest.mark.parametrize(
    ("answer", "reason", "said"),
    [
        ({**GOOD, "people": -1}, "not_in_schema", ">= 0"),
        ({**GOOD, "colour": "green"}, "not_in_schema", "green"),
        ({**GOOD, "more": 1}, "not_in_schema", "more"),
        ({"people": 1}, "not_in_schema", "colour"),
        ({**GOOD, "things": ["a", "b", "c", "d"]}, "not_in_schema", "<= 3"),
        ("A dog.", "not_json", "A dog."),
        ("[" * 100_000, "not_json", "[["),
    ],
)
def test_what_does_not_fit_is_asked_for_again_and_then_a_reject(answer, reason, said):
    text = answer if isinstance(answer, str) else json.dumps(answer)
    with pytest.raises(RowError, match=reason) as raised:
        run(text, text)
    assert said in raised.value.message
    found, prompts = run(text, json.dumps(GOOD))
    assert found == WANTED
    assert "did not fit" in prompts[1].text
    with pytest.raises(RowError):
        run(text, repairs=0)


def test_a_language_is_asked_for():
    _, (prompt,) = run(json.dumps(GOOD), lang="de")
    assert "Answer in German." in prompt.text


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "no JSON"),
        ("[]", "a schema is an object"),
        ({"type": "string"}, "an object with properties"),
        ({"properties": {"a": {"type": "strng"}}}, "Did you mean 'string'"),
        ({"properties": {"a": {"type": "string", "minLenght": 3}}}, "Did you mean 'minLength'"),
        ({"properties": {"a": {}}}, "has no type"),
        ({"properties": {"a": {"type": "string", "minimum": 3}}}, "the schema of 'a'"),
        ({"properties": {"a": {"enum": []}}}, "enum of 'a'"),
        ({"properties": {"a": {"type": "string"}}, "required": ["b"]}, "requires 'b'"),
        ({"properties": {"a": {"$ref": "#"}}}, "says '$ref'"),
    ],
)
def test_a_schema_that_is_none_is_refused(schema, message):
    with pytest.raises(UserError) as raised:
        read_fields(schema if isinstance(schema, str) else json.dumps(schema))
    assert message in str(raised.value)


class ByTurns:
    """Answers with the number of people by the width of the picture; the widest does not fit."""

    name, fingerprint, batch_size = "toy:turns", "toy-turns-1", 4

    def generate(self, prompts):
        wide = [p.images[0].width - 64 for p in prompts]
        return [Answer(json.dumps({"people": w if w < 3 else "many", "colour": "rot" if w else "青"})) for w in wide]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Four pictures with typed fields, one of them a reject."""
    folder = tmp_path_factory.mktemp("fields")
    (folder / "photos").mkdir()
    for n in range(4):
        (folder / "photos" / f"{n}.jpg").write_bytes(picture_bytes(n, 64 + n))
    (folder / "fields.json").write_text(
        '{"properties": {"people": {"type": "integer"}, "colour": {"enum": ["rot", "青"]}}}', encoding="utf-8"
    )
    data = panoglot.ingest(str(folder / "photos"), str(folder / "x.pano")).dataset
    captioner = "python:tests.captioning.test_fields:ByTurns"
    return panoglot.caption(data, schema=str(folder / "fields.json"), captioner=captioner)


def test_facts_are_stored_and_counted(told):
    assert dict(told.made.facts) == {"people": 3, "colour": 3}
    assert told.problem is None
    assert [(row["reason"], row["item"]) for row in told.dataset.rejects.rows()] == [
        ("not_in_schema", next(r["image_id"] for r in told.dataset.images.rows() if r["width"] == 67))
    ]


@pytest.mark.parametrize(
    ("where", "widths"),
    [
        ("fact.people=2", {66}),
        ("fact.people>0 and fact.colour='rot'", {65, 66}),
        ("fact.colour='青'", {64}),
        ("fact.colour!='青'", {65, 66, 67}),
        ("fact.people in (0, 1)", {64, 65}),
        ("fact.colour like 'r%'", {65, 66}),
        ("not fact.people>=0", {67}),
    ],
)
def test_conditions_read_facts(told, where, widths):
    from panoglot.retrieval import Allowed, images_where, read_where

    found = {one.decode() for one in images_where(told.dataset, read_where(where), Allowed(told.dataset)).tolist()}
    assert {row["width"] for row in told.dataset.images.rows() if row["image_id"] in found} == widths


def test_a_fact_that_no_picture_has_is_an_error_that_names_those_there(told):
    from panoglot.retrieval import Allowed, images_where, read_where

    with pytest.raises(UserError, match=r"no image has a fact 'nothing'\. Known: colour, people"):
        images_where(told.dataset, read_where("fact.nothing='x'"), Allowed(told.dataset))


def test_show_tells_facts(told):
    image = next(row["image_id"] for row in told.dataset.images.rows() if row["width"] == 66)
    shown = panoglot.show(told.dataset, image)
    assert "colour   rot" in str(shown)
    assert "people   2" in str(shown)
    assert {(row["kind"], row["value"]) for row in shown.to_dict()["facts"]} == {("colour", None), ("people", 2.0)}


@pytest.mark.parametrize(
    ("text", "message"), [(None, "cannot be read"), ("{", "is no JSON"), ("[1]", "is a list"), ("{}", "has no type")]
)
def test_a_file_that_is_no_schema_is_told(told, tmp_path, text, message):
    path = tmp_path / "s.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        panoglot.caption(told.dataset, schema=str(path), captioner="python:tests.captioning.test_fields:ByTurns")


def test_a_pattern_never_hangs_and_one_that_could_is_refused():
    asked = read_fields('{"properties": {"a": {"items": {"type": "string", "pattern": "^(a+)+$"}}}}')
    assert asked.read('{"a": ["aa"]}') == {"a": ["aa"]}
    with pytest.raises(RowError, match="does not match its pattern"):
        asked.read(json.dumps({"a": ["aa", "a" * 5000 + "!"]}))
    with pytest.raises(UserError, match="the pattern of 'a'"):
        read_fields('{"properties": {"a": {"type": "string", "pattern": "(a)\\\\1"}}}')
