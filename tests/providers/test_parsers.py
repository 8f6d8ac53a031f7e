from __future__ import annotations

import csv
from pathlib import Path

import pytest

from panoglot.errors import RowError, UserError
from panoglot.providers.parsers import FactualParser, RuleParser, read_factual
from panoglot.providers.roles import Model, Parser, SceneGraph


def parse(text: str) -> SceneGraph:
    found = RuleParser().parse([text])[0]
    assert isinstance(found, SceneGraph)
    return found


def test_fills_the_role() -> None:
    assert isinstance(RuleParser(), Parser)
    assert isinstance(RuleParser(), Model)


@pytest.mark.parametrize(
    ("text", "attributes", "relations"),
    [
        ("a black and white cat sitting at a door", {("cat", "black"), ("cat", "white")}, {("cat", "sit at", "door")}),
        ("two suitcases are on the floor .", {("suitcase", "2")}, {("suitcase", "on", "floor")}),
        ("the man is wearing a gray suit", {("suit", "gray")}, {("man", "wear", "suit")}),
        ("girl in pink shirt", {("shirt", "pink")}, {("girl", "wear", "shirt")}),
        ("eye of a giraffe", set(), {("giraffe", "have", "eye")}),
        ("girl 's jacket is purple", {("jacket", "purple")}, {("girl", "have", "jacket")}),
        ("group of men wearing suits and corsages", {("man", "group of")},
         {("man", "wear", "suit"), ("man", "wear", "corsage")}),
        ("trees and bushes growing on green lawn", {("lawn", "green")},
         {("tree", "grow on", "lawn"), ("bush", "grow on", "lawn")}),
        ("bed covered by a red blanket", {("blanket", "red")}, {("blanket", "cover", "bed")}),
        ("cars are parked by the building", set(), {("car", "park by", "building")}),
        ("a toilet bowl with flowers in it", set(), {("flower", "in", "toilet bowl")}),
        ("red motorcycle beside black one", {("motorcycle", "red"), ("motorcycle", "black")},
         {("motorcycle", "beside", "motorcycle")}),
        ("a hot dog on top of a white plate", {("plate", "white")}, {("hot dog", "on top of", "plate")}),
        ("pitcher throwing the ball to the batter", set(),
         {("pitcher", "throw", "ball"), ("pitcher", "throw to", "batter")}),
        ("A man rides a horse. A dog runs.", {("dog", "runs")} & set(), {("man", "ride", "horse")}),
        ("picture of people kayaking in water", set(), {("people", "kayak in", "water")}),
    ],
)  # fmt: skip
def test_captions(text: str, attributes: set, relations: set) -> None:
    found = parse(text)
    assert set(found.attributes) == attributes
    assert set(found.relations) == relations
    assert {name for row in relations for name in (row[0], row[2])} <= set(found.objects)


@pytest.mark.parametrize(
    "text", ["", "   ", "!!! ...", "of of of", "and , and", "'s", "on", "1234", "🙂🙂", "x" * 5000]
)
def test_nothing_breaks_it(text: str) -> None:
    assert isinstance(parse(text), SceneGraph)


def test_other_languages_are_refused_row_by_row() -> None:
    found = RuleParser().parse(["a cat", "eine Katze", "a dog"], ["en-GB", "de", "und"])
    assert isinstance(found[1], RowError)
    assert found[1].reason == "unsupported_language"
    assert found[0].objects == ("cat",)
    assert found[2].objects == ("dog",)


def test_gold_graphs(test_data: Path) -> None:
    """On held-out captions; a change that costs more than two points must say so here."""
    folder = test_data / "zhuang-li+FactualSceneGraph"
    rows = list(csv.DictReader((folder / "factual_sg_random_test.csv").open(encoding="utf-8")))
    assert len(rows) == 1508
    total = {kind: [0, 0] for kind in ("objects", "attributes", "relations")}
    for row, found in zip(rows, RuleParser().parse([row["caption"] for row in rows])):
        gold, unread = read_factual(row["scene_graph"], lemmatise=True)
        assert not unread
        for kind, count in total.items():
            one, other = set(getattr(gold, kind)), set(getattr(found, kind))
            count[0] += 2 * len(one & other)
            count[1] += len(one) + len(other)
    f = {kind: shared / both for kind, (shared, both) in total.items()}
    assert f["objects"] > 0.90
    assert f["attributes"] > 0.74
    assert f["relations"] > 0.72


# ---- the published parser ------------------------------------------------------------------------------------------
def test_format_of_the_published_parser() -> None:
    graph, unread = read_factual(
        "( cats , v:sit on , mats ) , ( mats , is , very red ) , ( dog ) , ( a , b ) , ( cut", True
    )
    assert graph == SceneGraph(("cat", "mat", "dog"), (("mat", "very red"),), (("cat", "sit on", "mat"),))
    assert unread == 2
    assert read_factual("") == (SceneGraph(), 0)
    assert read_factual("( , is , red )") == (SceneGraph(), 1)


def test_factual_parser_asks_for_english_only_and_counts_what_it_cannot_read() -> None:
    asked: list[str] = []

    def generate(texts):
        asked.extend(texts)
        return ["( men , ride , horses )", "no graph at all", RowError("out_of_memory", "too long")]

    parser = FactualParser(generate)
    found = parser.parse(["men ride horses", "Männer", "hm", "x"], ["en", "de", "en", "en"])
    assert asked == [f"Generate Scene Graph: {text}" for text in ("men ride horses", "hm", "x")]
    assert found[0].relations == (("man", "ride", "horse"),)
    assert [error.reason for error in found[1:]] == ["unsupported_language", "unreadable_answer", "out_of_memory"]
    assert parser.unread == 1
    assert isinstance(parser, Parser)


@pytest.mark.slow
@pytest.mark.hf
def test_a_checkpoint_on_disk_is_a_parser_where_one_is_asked_for(tmp_path: Path) -> None:
    """A tiny T5, taught two captions by heart, through `hf:` and through SPICE."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from panoglot.evaluate import spice
    from panoglot.providers import load_model
    from tests.providers import checkpoints

    folder = checkpoints.t5(tmp_path / "t5")
    model = transformers.T5ForConditionalGeneration.from_pretrained(folder)
    words = transformers.AutoTokenizer.from_pretrained(folder)
    lessons = {"a dog runs": "( dog )", "a red bus": "( bus , is , red )"}
    batch = words([f"Generate Scene Graph: {text}" for text in lessons], return_tensors="pt", padding=True)
    batch.pop("token_type_ids", None)
    labels = words([f"{text}</s>" for text in lessons.values()], return_tensors="pt", padding=True).input_ids
    labels[labels == words.pad_token_id] = -100
    steps = torch.optim.AdamW(model.eval().parameters(), 5e-3)  # no dropout: it shall know them by heart
    for _ in range(400):
        loss = model(**batch, labels=labels).loss
        steps.zero_grad()
        loss.backward()
        steps.step()
        if loss < 0.01:
            break
    model.save_pretrained(folder)

    parser = load_model(f"hf:{folder}?device=cpu&beams=2&max_tokens=64", "parser")
    assert isinstance(parser, FactualParser)
    assert isinstance(parser, Parser)
    found = parser.parse(list(lessons), ["en", "en"])
    assert found[0].objects == ("dog",)
    assert found[1].attributes == (("bus", "red"),)
    assert spice(["a red bus"], [["a red bus"]], parser).value == 1
    assert load_model(f"hf:{folder}?device=cpu", "generator").generate  # the same files, asked for as what they are
    other = load_model(f"hf:{folder}?device=cpu&beams=5", "parser")
    assert other.fingerprint != parser.fingerprint
    with pytest.raises(UserError, match="no option 'beems'"):
        load_model(f"hf:{folder}?device=cpu&beems=2", "parser")
    with pytest.raises(UserError, match="not an encoder-decoder"):
        load_model(f"hf:{checkpoints.gpt2(tmp_path / 'gpt2')}?device=cpu", "parser")


@pytest.mark.parametrize(
    ("text", "objects", "attributes", "relations"),
    [
        ("five kites in the sky", {"kite", "sky"}, {("kite", "five")}, {("kite", "in", "sky")}),
        ("buildings on the side of the road", {"building", "side", "road"}, set(),
         {("building", "on", "side"), ("side", "of", "road")}),
        ("a brown hill on top of the picture", {"hill", "top", "picture"}, {("hill", "brown")},
         {("hill", "on", "top"), ("top", "of", "picture")}),
        ("street signs on a pole", {"sign", "pole"}, {("sign", "street")}, {("sign", "on", "pole")}),
        ("woman in a pink shirt", {"woman", "shirt"}, {("shirt", "pink")}, {("woman", "in", "shirt")}),
        ("man wearing a black wet suit", {"man", "suit"}, {("suit", "black"), ("suit", "wet")},
         {("man", "wear", "suit")}),
        ("leaves under blue shorts", {"leaf", "shorts"}, {("shorts", "blue")}, {("leaf", "under", "shorts")}),
    ],
)  # fmt: skip
def test_the_conventions_of_spices_parser(text, objects, attributes, relations):
    found = RuleParser("spice").parse([text])[0]
    assert (set(found.objects), set(found.attributes), set(found.relations)) == (objects, attributes, relations)
    assert RuleParser("spice").fingerprint != RuleParser().fingerprint
    with pytest.raises(UserError, match="Did you mean 'spice'"):
        RuleParser("spic")


def test_graphs_agree_with_those_of_spices_parser(test_data):
    from panoglot.metrics.captions.spice import graph_tuples

    path = test_data / "zhuang-li+FactualSceneGraph" / "SPICE_parsing_outputs.txt"
    lines = [line.split("\t", 1) for line in path.read_text("utf-8").splitlines() if "\t" in line]
    theirs = [graph_tuples(read_factual(graph)[0]) for _, graph in lines]
    agreed = {}
    for style in ("factual", "spice"):
        ours = list(map(graph_tuples, RuleParser(style).parse([caption for caption, _ in lines])))
        for size in (1, 2, 3):
            pairs = [({t for t in a if len(t) == size}, {t for t in b if len(t) == size}) for a, b in zip(ours, theirs)]
            both = sum(len(a & b) for a, b in pairs)
            agreed[style, size] = 2 * both / sum(len(a) + len(b) for a, b in pairs)
    assert [round(agreed["spice", size], 2) for size in (1, 2, 3)] == [0.9, 0.77, 0.65]
    assert all(agreed["spice", size] > agreed["factual", size] + 0.08 for size in (1, 2, 3))
