"""Metrics that ask models: CLIPScore, self-retrieval, DCScore, with small stand-ins."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from panoglot.asking import call
from panoglot.errors import RowError, UserError
from panoglot.evaluate import clipscore, dcscore, random_bags, self_retrieval
from panoglot.metrics.captions.clipscore import clipscore_from_vectors
from panoglot.metrics.captions.dcscore import Fact, fact_scores, parse_json_list
from panoglot.metrics.captions.self_retrieval import bag_hits
from panoglot.pictures import Image
from panoglot.providers.roles import Answer
from tests.conftest import picture_bytes


class Letters:
    """Encodes a text as its letter counts; an image is its caption here."""

    dim = 26
    batch_size = 3
    fingerprint = "letters"

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.images = 0

    def _one(self, text: str) -> np.ndarray:
        row = np.array([text.lower().count(chr(97 + n)) for n in range(26)], dtype=np.float32)
        return row / np.linalg.norm(row) if row.any() else np.full(26, np.nan, np.float32)

    def encode_texts(self, texts, langs=None):
        self.texts += texts
        return np.stack([self._one(text) for text in texts])

    def encode_images(self, images):
        self.images += len(images)
        return np.stack([self._one(text) for text in images])


class Async(Letters):
    async def encode_texts(self, texts, langs=None):
        await asyncio.sleep(0)
        assert len(texts) == 1
        return Letters.encode_texts(self, texts)


def test_clipscore_is_w_times_the_cosine() -> None:
    encoder = Letters()
    found = clipscore(["abc", "xyz", "abc"], ["abc", "abc", "abc"], encoder, prefix="")
    assert found.per_item == pytest.approx((2.5, 0.0, 2.5), abs=1e-6)
    assert sorted(encoder.texts) == ["abc", "xyz"]  # every distinct text once
    assert 0 <= found.value <= 2.5
    assert found.options["w"] == 2.5


def test_prefix_is_for_english_only() -> None:
    english, german = Letters(), Letters()
    clipscore(["abc"], ["abc"], english)
    clipscore(["abc"], ["abc"], german, lang="de")
    assert english.texts == ["A photo depicts abc"]
    assert german.texts == ["abc"]


def test_refclipscore_is_a_harmonic_mean() -> None:
    found = clipscore(["ab"], ["a"], Letters(), refs=[["b", "xy"]], prefix="")
    image, text = 2.5 * 0.5**0.5, 0.5**0.5
    assert found.metric == "refclipscore"
    assert found.value == pytest.approx(2 * image * text / (image + text))
    reward = clipscore(["ab"], ["a"], Letters(), refs=[["b", "xy"]], prefix="", reference_weight=2.5)
    assert reward.value == pytest.approx(image)
    assert clipscore(["ab"], ["xy"], Letters(), refs=[["xy"]], prefix="").value == 0.0


def test_nan_vectors_are_null_and_counted() -> None:
    found = clipscore(["abc", "123"], ["abc", "abc"], Letters(), prefix="")
    assert (found.unscored, found.per_item[1]) == (1, None)
    vectors = np.array([[1.0, 0], [np.nan, np.nan], [0, 0]])
    assert clipscore_from_vectors(vectors, np.ones((3, 2)))[1:] == [None, None]
    assert clipscore_from_vectors(np.eye(2), np.eye(2), [np.eye(2), [[np.nan, np.nan]]]) == [
        pytest.approx(2 * 2.5 / 3.5),
        None,
    ]
    with pytest.raises(UserError, match="do not fit"):
        clipscore_from_vectors(np.eye(2), np.eye(3))
    with pytest.raises(UserError, match="3 captions but 2 images"):
        clipscore(["a", "b", "c"], ["a", "b"], Letters())


def test_vectors_of_images_serve_many_languages() -> None:
    encoder = Letters()
    pictures = encoder.encode_images(["abc", "xyz"])
    assert clipscore(["abc", "xyz"], pictures, encoder, lang="de").value == pytest.approx(2.5)
    assert encoder.images == 2


def test_remote_encoders_are_asked_one_by_one() -> None:
    assert clipscore(["abc", "xyz"], ["abc", "xyz"], Async(), prefix="").value == pytest.approx(2.5)

    async def inside() -> None:
        call(Async(), "encode_texts", ["abc"])

    with pytest.raises(UserError, match="event loop"):
        asyncio.run(inside())


# ---- self-retrieval ------------------------------------------------------------------------------------------------
@pytest.mark.paper("ndlb-truematch", shows="V", case="a bag of three: 66.67")
def test_bag_worked_case() -> None:
    hits, ranks = bag_hits([[0.9, 0.8, 0.1], [0.7, 0.6, 0.2], [0.1, 0.2, 0.3]])
    assert 100 * hits.mean() == pytest.approx(66.67, abs=0.01)
    assert ranks.tolist() == [1, 2, 1]


def test_identical_captions_score_chance_unless_the_target_comes_first() -> None:
    same, eye = np.ones((5, 4)), np.vstack([np.eye(4), np.ones((1, 4))])
    bags = [[0, 1, 2, 3]]
    assert self_retrieval(same[:4], eye[:4], bags).value == pytest.approx(25)
    assert self_retrieval(same[:4], eye[:4], bags, ties="target_first").value == 100
    assert self_retrieval(same[:4], eye[:4], bags, ties="target_last").value == 0
    assert self_retrieval(same[:4], eye[:4], bags).parts["mean_rank/4"] == 2.5


def test_self_retrieval_properties() -> None:
    draw = np.random.default_rng(0)
    images = draw.normal(size=(12, 8))
    texts = images + draw.normal(size=(12, 8))
    bags = [[0, 1, 2], [3, 4, 5, 6, 7], [8, 9, 10], [11]]
    found = self_retrieval(texts, images, bags, scorer="x", confidence=0.9)
    turned = self_retrieval(texts, images, [bag[::-1] for bag in bags])
    assert found.value == pytest.approx(turned.value)
    assert found.parts["r@1/1"] == 100
    assert self_retrieval(images, images, bags).value == 100
    assert found.interval.low <= found.value <= found.interval.high
    broken = texts.copy()
    broken[4] = np.nan
    lost = self_retrieval(broken, images, bags)
    assert lost.unscored == 1  # only the caption itself: images are compared with, not captions
    with pytest.raises(UserError, match="1 ids of the bags have no caption: 99"):
        self_retrieval(texts, images, [[0, 99]])
    with pytest.raises(UserError, match="bag 1"):
        self_retrieval(texts, images, [[0, 1], [2, 2]])


def test_random_bags_are_disjoint_and_seeded() -> None:
    bags = random_bags(range(1000), 100, seed=3)
    assert len(bags) == 10
    assert len({name for bag in bags for name in bag}) == 1000
    assert bags == random_bags(list(range(1000))[::-1], 100, seed=3)
    assert bags != random_bags(range(1000), 100, seed=4)


# ---- DCScore -------------------------------------------------------------------------------------------------------
PICTURE = Image(picture_bytes(0))
WORKED = [("f1", 1, 0, 1), ("f2", 1, 1, 0), ("f3", 1, None, 1), ("f4", 0, None, 1), ("f5", 1, None, 0)]


PICTURE = Image(picture_bytes(0))


class Scripted:
    """Answers as a text model and a verifier would, with the worked case's facts."""

    batch_size = 4
    fingerprint = "scripted"

    def __init__(self, rows=WORKED, breaks: int = 0, wrap: str = "{}") -> None:
        self.rows, self.breaks, self.wrap = rows, breaks, wrap
        self.seeds: list[tuple[str, int]] = []

    def generate(self, prompts):
        answers = []
        for prompt in prompts:
            if prompt.images:
                kind, rows = "verify", [{"fact": f, "verification": v} for f, _, _, v in self.rows]
            elif "Second person" in prompt.text:
                kind, rows = "match", [{"fact": f, "matched_oracle_id": m} for f, _, m, _ in self.rows]
                assert "relevance" not in prompt.text
            else:
                kind, rows = "split", [{"fact": f, "identifier": "x_0", "relevance": r} for f, r, _, _ in self.rows]
            self.seeds.append((kind, prompt.seed))
            if kind == "match" and self.breaks:
                self.breaks -= 1
                answers.append(Answer("Sorry, I lost the list."))
            else:
                answers.append(Answer(self.wrap.format(json.dumps(rows))))
        return answers


def run(generator, **options):
    return dcscore(["a caption"], ["a reference"], [["o0", "o1", "o2", "o3"]], [PICTURE], generator, **options)


@pytest.mark.paper(
    "dcscore",
    shows="V",
    case="five facts against four: precision .6, relevant recall .4, DCScore 49.49",
)
def test_dcscore_worked_case_through_a_generator() -> None:
    model = Scripted()
    found = run(model)
    assert found.value == pytest.approx(49.49, abs=0.01)
    assert found.parts["precision"] == pytest.approx(60)
    assert found.parts["relevant_recall"] == pytest.approx(40)
    assert found.parts["valid"] == 1
    kinds = [kind for kind, _ in model.seeds]
    assert (kinds.count("split"), kinds.count("match"), kinds.count("verify")) == (1, 3, 3)
    assert len(set(model.seeds)) == 7  # every sample has a seed of its own
    assert found.details[0][0] == {"fact": "f1", "relevant": True, "match": 0, "true": True}


def test_dcscore_tries_again_and_gives_up_with_null() -> None:
    assert run(Scripted(breaks=1)).value == pytest.approx(49.49, abs=0.01)
    lost = run(Scripted(breaks=1000), attempts=2)
    assert (lost.value, lost.unscored, lost.parts["valid"]) == (None, 1, 0)


@pytest.mark.parametrize("wrap", ["```json\n{}\n```", "Here you are:\n{}\nI hope [this] helps.", "{}"])
def test_answers_with_fences_and_talk(wrap: str) -> None:
    assert run(Scripted(wrap=wrap)).value == pytest.approx(49.49, abs=0.01)


def test_unmatched_in_every_spelling_and_doubled_facts() -> None:
    rows = [("a", 1, "None", 1), ("b", 1, "null", 1), ("c", 1, 99, 1), ("c", 1, 99, 1), ("d", 1, "0", 1)]
    found = run(Scripted(rows))
    assert [row["match"] for row in found.details[0]] == [None, None, None, 0]
    assert len(found.details[0]) == 4


def test_failed_requests_cost_only_their_item() -> None:
    class Half(Scripted):
        def generate(self, prompts):
            return [
                RowError("server_error") if "zweite" in prompt.text else answer
                for prompt, answer in zip(prompts, super().generate(prompts))
            ]

    found = dcscore(["erste", "zweite"], ["r", "r"], [["o"] * 4] * 2, [PICTURE] * 2, Half(), attempts=2)
    assert found.per_item[0] is not None
    assert found.per_item[1] is None


@pytest.mark.paper(
    "dcscore",
    shows="V",
    case="the oracle's own facts 100; all false 0; a true one more changes nothing; a fact in two parts neither",
)
def test_dcscore_properties() -> None:
    perfect = [Fact(str(n), True, n, True) for n in range(4)]
    assert fact_scores(perfect, 4)["dcscore"] == pytest.approx(1)
    assert fact_scores([*perfect, Fact("more", True, None, True)], 4)["dcscore"] == pytest.approx(1)
    assert fact_scores([Fact(str(n), True, n, False) for n in range(4)], 4)["dcscore"] == 0
    split = [*perfect[:3], Fact("3a", True, 3, True), Fact("3b", True, 3, True)]
    assert fact_scores(split, 4)["recall"] == pytest.approx(1)
    lie = [Fact("x", True, 0, True), Fact("y", True, 0, False)]
    assert fact_scores(lie, 1)["recall"] == 0.5  # a false double halves the true one's credit
    assert fact_scores(lie, 1, duplicates="verified")["recall"] == 1
    assert fact_scores([], 3) == dict.fromkeys(fact_scores([], 3), 0.0)


@pytest.mark.paper(
    "dcscore",
    shows="V",
    case="400 pictures, 21,215 facts: themselves 100; every second one: recall .5, precision 1",
)
def test_dcscore_on_the_oracle_facts_themselves(test_data: Path) -> None:
    rows = list(
        map(
            json.loads,
            (test_data / "MAGAer13+DeCapBench/eval_human_annotated_oracle_facts.jsonl").open(encoding="utf-8"),
        )
    )
    assert (len(rows), sum(len(row["oracle_facts"]) for row in rows)) == (400, 21215)
    for row in rows:
        facts = [Fact(text, True, n, True) for n, text in enumerate(row["oracle_facts"])]
        assert fact_scores(facts, len(facts))["dcscore"] == pytest.approx(1)
        half = fact_scores(facts[::2], len(facts))
        assert half["precision"] == 1
        assert half["recall"] == pytest.approx(len(facts[::2]) / len(facts))


def test_dcscore_refuses_items_without_facts() -> None:
    with pytest.raises(UserError, match="list of reference facts; not so for 0"):
        dcscore(["a"], ["b"], [[]], ["p"], Scripted())
    with pytest.raises(UserError, match="images for 0 items"):
        dcscore(["a"], ["b"], [["c"]], [], Scripted())


def test_json_lists() -> None:
    assert parse_json_list('{"fact": "a"}') is None
    assert parse_json_list('[{"fakt": "a"}]') is None
    assert parse_json_list('[{"fact": "ein „rotes“ Känguru"}]') == [{"fact": "ein „rotes“ Känguru"}]
    assert parse_json_list('[{"fact": "a", "matched_oracle_id": None}]') == [{"fact": "a", "matched_oracle_id": None}]
