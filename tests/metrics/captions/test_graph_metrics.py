"""SPICE and CAPTURE: worked cases of the cards and exact properties."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest

from panoglot.errors import RowError, UserError
from panoglot.evaluate import capture, spice
from panoglot.metrics.captions.capture import capture_kinds, match_stages
from panoglot.metrics.captions.spice import graph_tuples, match_tuples
from panoglot.providers.roles import SceneGraph
from panoglot.text import WordNet, find_wordnet, split_sentences, synonyms_for

REF = SceneGraph(
    objects=("car", "truck", "street", "tree"),
    attributes=(("car", "red"), ("truck", "white"), ("tree", "green")),
    relations=(("car", "on", "street"), ("tree", "beside", "street")),
)
CAND = SceneGraph(
    objects=("automobile", "truck", "road", "pedestrian"),
    attributes=(("automobile", "red"), ("truck", "white")),
    relations=(("automobile", "on", "road"),),
)


class Table:
    """A parser that knows its captions."""

    name = fingerprint = "table"
    batch_size = 2

    def __init__(self, graphs: dict[str, SceneGraph | RowError]) -> None:
        self.graphs = graphs
        self.asked: list[str] = []

    def parse(self, texts, langs=None):
        self.asked += texts
        return [self.graphs[text] for text in texts]


def same(one: str, other: str) -> bool:
    return {one, other} in ({"car", "automobile"}, {"machine", "automobile"})


class HalfEncoder:
    """Any two different phrases have cosine 0.5, phrases of three words 0.25 (the card's similarities)."""

    dim = 200
    batch_size = 7
    fingerprint = "half"

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def encode_texts(self, texts, langs=None):
        assert langs == ["en"] * len(texts)
        rows = np.zeros((len(texts), self.dim))
        for row, text in zip(rows, texts):
            n = self.seen.setdefault(text, len(self.seen))
            shared = 0.25 if text.count(" ") >= 2 else 0.5
            row[0 if shared == 0.5 else 1] = np.sqrt(shared)
            row[2 + n] = np.sqrt(1 - shared)
        return rows


PARSER = {"ref": REF, "cand": CAND}


@pytest.mark.paper("capture", shows="V", case="the card's two graphs, exact and synonyms: .5, .8, 0: .541666")
def test_capture_toy_hard_stages_only() -> None:
    found = capture(["cand"], [["ref"]], Table(PARSER), synonyms=same, stop_words=(), nouns="none")
    assert found.value == pytest.approx(0.541666, abs=1e-6)
    assert found.parts["object_f1"] == pytest.approx(0.5, abs=1e-5)
    assert found.parts["attribute_f1"] == pytest.approx(0.8, abs=1e-5)
    assert found.parts["relation_f1"] == 0.0
    assert "soft stage" in found.notes[-1]


@pytest.mark.paper("capture", shows="V", case="with the soft stage: .75, .8, .25: .687499")
def test_capture_toy_with_the_soft_stage() -> None:
    found = capture(["cand"], [["ref"]], Table(PARSER), HalfEncoder(), synonyms=same, stop_words=(), nouns="none")
    assert found.value == pytest.approx(0.687499, abs=1e-6)
    assert found.parts["object_f1"] == pytest.approx(0.75, abs=1e-5)
    assert found.parts["relation_f1"] == pytest.approx(0.25, abs=1e-5)


@pytest.mark.paper("capture", shows="V", case="with WordNet 3.0: .541666")
def test_capture_toy_with_real_wordnet() -> None:
    if find_wordnet() is None:
        pytest.skip("WordNet is not installed")
    found = capture(["cand"], [["ref"]], Table(PARSER), synonyms="wordnet", stop_words=(), nouns="none")
    assert found.value == pytest.approx(0.541666, abs=1e-6)  # road and street share no lemma in WordNet 3.0
    assert found.options["synonyms"] == "wordnet-3.0"


@pytest.mark.paper("capture", shows="V", case="itself 1; without relations .8333; without attributes .4167; empty 0")
def test_capture_properties() -> None:
    graphs = {
        **PARSER,
        "none": SceneGraph(("cat",), (("cat", "red"),)),
        "bare": SceneGraph(("cat",)),
        "void": SceneGraph(),
    }

    def run(pred: str, *refs: str, **options):
        return capture([pred], [list(refs)], Table(graphs), synonyms="none", stop_words=(), nouns="none", **options)

    assert run("ref", "ref").value == pytest.approx(1, abs=1e-5)
    assert run("none", "none").value == pytest.approx(0.8333, abs=1e-4)
    assert run("bare", "bare").value == pytest.approx(0.4167, abs=1e-4)
    assert run("void", "void").value == 0
    mean, best = run("cand", "ref", "cand"), run("cand", "ref", "cand", aggregate="max")
    assert mean.value == pytest.approx((run("cand", "ref").value + 1) / 2, abs=1e-5)
    assert best.value == pytest.approx(1, abs=1e-5)
    assert run("cand", "ref", weights=(0.5, 0.5, 0)).value == pytest.approx((0.25 + 0.8) / 2, abs=1e-5)


@pytest.mark.paper("capture", shows="V", case="the order in a graph changes nothing")
def test_capture_does_not_depend_on_the_order_in_a_graph() -> None:
    values = set()
    for objects in itertools.permutations(REF.objects):
        turned = SceneGraph(objects, REF.attributes[::-1], REF.relations[::-1])
        values.add(
            capture(["cand"], [["ref"]], Table({"ref": turned, "cand": CAND}), synonyms=same, nouns="none").value
        )
    assert len(values) == 1


@pytest.mark.paper(
    "capture",
    shows="V",
    case="an object that matches nothing never raises recall; weight 0 of relations: they change nothing",
)
def test_capture_recall_and_weights() -> None:
    more = SceneGraph((*REF.objects, "zebra"), REF.attributes, REF.relations)
    other = SceneGraph(REF.objects, REF.attributes, (("truck", "under", "tree"),))
    graphs = {**PARSER, "more": more, "other": other}

    def run(ref: str, **options):
        return capture(["cand"], [[ref]], Table(graphs), synonyms=same, stop_words=(), nouns="none", **options)

    assert run("more").parts["object_f1"] < run("ref").parts["object_f1"]
    assert run("more").value < run("ref").value
    weights = (0.5, 0.5, 0)
    assert run("other", weights=weights).value == run("ref", weights=weights).value
    full = capture(["ref"], [["other"]], Table(graphs), synonyms=same, stop_words=(), nouns="none").value
    assert (
        capture(["ref"], [["other"]], Table(graphs), synonyms=same, stop_words=(), nouns="none", weights=weights).value
        > full
    )


def test_capture_kinds_gates_nouns_and_keeps_attributes_of_stop_words() -> None:
    graph = SceneGraph(
        ("left side", "white", "street corner"),
        (("white", "big"), ("street corner", "red"), ("left side", "made of stone")),
        (("street corner", "on", "white"),),
    )
    found = capture_kinds(graph, {"left side"}, nouns={"left", "side", "street", "corner"})
    assert found == {"object": ["street corner"], "attribute": ["red"], "relation": []}
    assert capture_kinds(graph, {"white"})["attribute"] == ["big", "red"]


@pytest.mark.paper("capture", shows="V", case="man in woman counts; negative similarities subtract")
def test_substring_rule_is_kept_and_soft_credit_may_be_negative() -> None:
    assert match_stages(["man"], ["woman"]) == (1.0, 1.0)
    assert match_stages(["man"], ["dog"], similarity=lambda one, other: -0.2) == (-0.2, -0.2)
    assert match_stages([("cat", "on", "mat")], [("scatter", "upon", "mat")]) == (1.0, 1.0)
    assert match_stages([("cat", "on", "mat")], [("cat", "on", "rug")]) == (0.0, 0.0)


def test_long_captions_are_parsed_by_sentence_and_once() -> None:
    parser = Table({"A cat.": SceneGraph(("cat",)), "A dog.": SceneGraph(("dog",))})
    found = capture(["A cat. A dog."], [["A dog. A cat."]], parser, synonyms="none")
    assert sorted(parser.asked) == ["A cat.", "A dog."]
    assert found.details[0]["object"] == ["cat", "dog"]
    assert found.parts["object_f1"] == pytest.approx(1, abs=1e-5)


def test_a_caption_that_cannot_be_parsed_is_null() -> None:
    parser = Table({"x": RowError("unsupported_language"), "ref": REF})
    for metric in (partial(capture, nouns="none"), spice):
        found = metric(["x", "ref"], [["ref"], ["ref"]], parser, synonyms="none")
        assert (found.unscored, found.per_item[0]) == (1, None)
        assert found.value == pytest.approx(1, abs=1e-5)


def test_rule_parser_refuses_other_languages_row_by_row() -> None:
    found = spice(["eine Katze"], [["eine Katze auf der Matte"]], lang="de", synonyms="none")
    assert (found.value, found.unscored) == (None, 1)


def test_spice_worked_case() -> None:
    # candidate tuples 9, reference tuples 9; shared: truck, (truck, white)
    plain = spice(["cand"], [["ref"]], Table(PARSER), synonyms="none")
    assert len(graph_tuples(CAND)) == 7
    assert len(graph_tuples(REF)) == 9
    assert plain.value == pytest.approx(2 * (2 / 7) * (2 / 9) / (2 / 7 + 2 / 9))
    # with car = automobile also (automobile,), (automobile, red)
    wide = spice(["cand"], [["ref"]], Table(PARSER), synonyms=same)
    assert (wide.parts["precision"], wide.parts["recall"]) == (pytest.approx(4 / 7), pytest.approx(4 / 9))
    assert wide.parts["color"] == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))
    assert wide.parts["size"] is None
    assert wide.parts["relation"] == 0.0


def test_spice_merges_references_and_their_synonyms() -> None:
    graphs = {"p": SceneGraph(("car", "dog")), "a": SceneGraph(("car",)), "b": SceneGraph(("automobile", "dog"))}
    assert spice(["p"], [["a", "b"]], Table(graphs), synonyms="none").parts["recall"] == pytest.approx(2 / 3)
    assert spice(["p"], [["a", "b"]], Table(graphs), synonyms=same).value == 1.0


def test_spice_matches_one_to_one() -> None:
    ours, theirs = frozenset([("car",), ("machine",)]), frozenset([("automobile",)])
    assert match_tuples(ours, theirs, same) == 1
    assert match_tuples(ours, theirs) == 0


def test_spice_of_nothing_on_both_sides_is_null() -> None:
    found = spice(["p"], [["p"]], Table({"p": SceneGraph()}), synonyms="none")
    assert (found.value, found.unscored) == (None, 1)


def test_wordnet(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("PANOGLOT_WORDNET", str(tmp_path))
    with pytest.raises(UserError, match="holds no WordNet"):
        find_wordnet()
    header = "  1 This software and database is being provided by WordNet 3.0 Copyright\n"
    (tmp_path / "index.noun").write_text(
        header
        + "car n 1 1 @ 1 1 02958343\nauto n 1 1 @ 1 0 02958343\n"
        + "bus n 2 1 @ 2 1 02924116 02958343\ncoach n 1 1 @ 1 0 02924116\n"
    )
    (tmp_path / "index.verb").write_text(header + "ride v 1 1 @ 1 1 01955984\n")
    for name in ("index.adj", "index.adv"):
        (tmp_path / name).write_text(header)
    for name in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"{name}.exc").write_text("rode ride\n" if name == "verb" else "")
    found = WordNet(tmp_path)
    assert found.version == "3.0"
    assert found.lemmas("cars", "n") == ("car",)
    assert found.lemmas("rode", "v") == found.lemmas("riding", "v") == ("ride",)
    assert found.share_synset("cars", "autos")
    assert found.share_synset("car", "bus")
    assert not found.share_synset("car", "coach")
    assert found.share_name("car", "coach")  # through bus
    function, name, notes = synonyms_for("wordnet")
    assert function is not None
    assert (name, notes) == ("wordnet-3.0", ())
    with pytest.raises(UserError, match="synonyms='wordnett'"):
        synonyms_for("wordnett")


def test_sentences() -> None:
    assert split_sentences("A cat sits. It's 3.5 m.Long!  Wow?! ok") == [
        "A cat sits.",
        "It's 3.5 m.Long!",
        "Wow?!",
        "ok",
    ]
    assert split_sentences("लाल कंगारू। वह कूदता है।") == ["लाल कंगारू।", "वह कूदता है।"]
    assert split_sentences("قطة؟ كلب.") == ["قطة؟", "كلب."]
    assert split_sentences("") == []
    assert split_sentences("line one\nline two") == ["line one", "line two"]


@pytest.mark.parametrize("metric", [spice, capture])
def test_a_language_that_the_parser_does_not_read_is_null_and_says_why(metric) -> None:
    found = metric(["eine Katze", "ein Hund"], [["eine Katze"], ["ein Hund"]], lang="de", synonyms="none")
    assert (found.value, found.n, found.unscored) == (None, 2, 2)
    assert "2 items" in found.notes[0]
    assert "reads English, not 'de'" in found.notes[0]
