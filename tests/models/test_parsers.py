from __future__ import annotations

import csv
from pathlib import Path

import pytest

from panoglot.errors import RowError
from panoglot.models.parsers import FactualParser, RuleParser, read_factual
from panoglot.models.roles import Model, Parser, SceneGraph


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

    def generate(texts: list[str]) -> list[str]:
        asked.extend(texts)
        return ["( men , ride , horses )", "no graph at all"]

    parser = FactualParser(generate=generate)
    found = parser.parse(["men ride horses", "Männer", "hm"], ["en", "de", "en"])
    assert asked == ["Generate Scene Graph: men ride horses", "Generate Scene Graph: hm"]
    assert found[0].relations == (("man", "ride", "horse"),)
    assert [error.reason for error in found[1:]] == ["unsupported_language", "unreadable_answer"]
    assert parser.unread == 1
    assert isinstance(parser, Parser)
