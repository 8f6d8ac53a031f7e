"""The worked cases of the method's card, and its failure modes."""

import asyncio
import itertools
import math

import pytest

from panoglot.asking import Asker, Models
from panoglot.captioning import rank_and_fuse
from panoglot.captioning.rank_and_fuse import Candidate, blip_score, join_captions, rank
from panoglot.errors import RowError
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.roles import Answer
from tests.conftest import picture_bytes
from tests.running.toy import Fits


@pytest.mark.paper("rank-and-fuse", shows="V", case="BLIPScore of the card: .590399, .5, .334471; within -.5..1")
def test_blip_score_of_the_card():
    assert blip_score(0, 2, 0.30) == pytest.approx(0.590399, abs=1e-6)
    assert blip_score(0, 0, 0.50) == 0.5
    assert blip_score(1, 0, 0.40) == pytest.approx(0.334471, abs=1e-6)
    assert -0.5 <= blip_score(50, -50, -1) <= blip_score(-50, 50, 1) <= 1


@pytest.mark.paper("rank-and-fuse", shows="V", case="ranking a, d, b, c; a copy of the first is never the second")
def test_ranking_of_the_card():
    a, b, c, d = (Candidate(t, s) for t, s in (("a", 0.590399), ("b", 0.5), ("c", 0.334471), ("d", 0.590399)))
    assert rank([a, b, c, d], 4) == [0, 3, 1, 2]
    same_text = Candidate("A.", 0.590399)
    assert rank([a, b, c, same_text], 2) == [0, 1]


@pytest.mark.paper("rank-and-fuse", shows="V", case="another order of candidates changes ties only")
def test_permuting_changes_only_the_order_of_ties():
    candidates = [Candidate(t, s) for t, s in (("a", 0.5), ("b", 0.4), ("c", 0.5), ("d", 0.1))]
    for order in itertools.permutations(candidates):
        texts = [order[place].text for place in rank(order, 4)]
        assert sorted(texts[:2]) == ["a", "c"]
        assert texts[2:] == ["b", "d"]


@pytest.mark.paper("rank-and-fuse", shows="V", case="the worst candidate changes nothing")
def test_the_worst_candidate_changes_nothing():
    candidates = [Candidate("a", 0.5), Candidate("b", 0.4)]
    assert rank([*candidates, Candidate("z", -0.4)], 2) == rank(candidates, 2)


def test_unscored_candidates_come_last():
    candidates = [Candidate("a", None), Candidate("b", math.nan), Candidate("c", -0.4)]
    assert rank(candidates, 3) == [2, 0, 1]


def test_diversity_prefers_what_differs():
    candidates = [Candidate("a", 0.9), Candidate("b", 0.8), Candidate("c", 0.7)]
    near = [[1, 0.99, 0.1], [0.99, 1, 0.1], [0.1, 0.1, 1]]
    assert rank(candidates, 2, similarity=near) == [0, 1]
    assert rank(candidates, 2, diversity=0.5, similarity=near) == [0, 2]


@pytest.mark.paper("rank-and-fuse", shows="V", case="a man and a cyclist: bike, red helmet, street, one person")
def test_joining_of_the_card():
    fused = join_captions("A man rides a bike.", "A cyclist in a red helmet on a street.")
    for words in ("bike", "red helmet", "street", "man"):
        assert words in fused
    assert "cyclist" not in fused  # one person only


@pytest.mark.paper("rank-and-fuse", shows="V", case="every word of the first stays")
def test_joining_keeps_every_word_of_the_first():
    first = "Two brown dogs lie on a sofa."
    fused = join_captions(first, "Dogs beside a window under a lamp.")
    assert {"Two", "brown", "dogs", "lie", "on", "a", "sofa"} <= set(fused.replace(",", "").replace(".", "").split())


class Says:
    batch_size = 4

    def __init__(self, text):
        self.text, self.name, self.fingerprint = text, f"says:{text}", text
        self.prompts = []

    def generate(self, prompts):
        self.prompts += prompts
        return [RowError("refused") if self.text == "!" else Answer(self.text) for _ in prompts]


def run(texts, llm=None, **options):
    return run_with(Fits(), texts, llm, **options)


def run_with(scorer, texts, llm=None, **options):
    models = {str(n): Says(text) for n, text in enumerate(texts)}
    models["encoder"] = scorer
    models["embedded:langid"] = load_model("embedded:langid", "language_identifier")
    if llm:
        models["llm"] = llm
    m = Models({k: Asker(v, journal=None, prices=None, budget=None) for k, v in models.items()})
    names = tuple(str(n) for n in range(len(texts)))
    call = rank_and_fuse(Image(picture_bytes(1)), m, captioners=names, llm="llm" if llm else "", **options)
    return asyncio.run(call)


@pytest.mark.paper("rank-and-fuse", shows="V", case="k = 1: the best, unchanged")
def test_k_one_returns_the_best_unchanged():
    fused = run(["low =0.1", "high =0.9"], k=1)
    assert fused.text == "high =0.9"
    assert fused.scores["match"] == pytest.approx(0.9)
    assert [d.dropped for d in fused.parents] == ["draft", "draft"]


def test_one_writer_or_one_text_is_not_fused():
    llm = Says("never")
    assert run(["same =0.5", "Same = 0.5"], llm).text == "same =0.5"
    assert run(["alone"], llm).text == "alone"
    assert llm.prompts == []


def test_the_language_model_gets_the_best_two_first_first():
    llm = Says("both =0.8")
    fused = run(["b =0.2", "c =0.1", "a =0.3"], llm)
    (prompt,) = llm.prompts
    assert prompt.temperature == 0
    assert prompt.text.index("1. a =0.3") < prompt.text.index("2. b =0.2")
    assert "c =0.1" not in prompt.text
    assert fused.text == "both =0.8"
    assert fused.model == "says:both =0.8"


def test_a_fused_text_that_fits_worse_is_not_taken():
    assert run(["a =0.9", "b =0.8"], Says("bad =0.1"), margin=0.2).text == "a =0.9"
    assert run(["a =0.9", "b =0.8"], Says("good =0.8"), margin=0.2).text == "good =0.8"


def test_a_failed_writer_is_left_out_and_all_failed_is_a_reject():
    assert run(["!", "a =0.9"]).text == "a =0.9"
    with pytest.raises(RowError, match="no_draft"):
        run(["!", "!"])


def test_other_languages_are_not_joined_by_english_rules():
    assert run(["一只狗", "一只棕色的狗在草地上"], lang="zh").text == "一只棕色的狗在草地上"


class Heads(Fits):
    """Both heads by heart: cosine and probability of each text."""

    table = {  # noqa: RUF012
        "a low dog.": (0.2, 0.3), "A high dog": (0.8, 0.4), "a high dog": (0.8, 0.4), "a middle dog": (0.3, 0.7),
        "two dogs": (0.6, 0.6), "no dogs": (0.1, 0.1),
    }  # fmt: skip

    def encode_texts(self, texts, langs=None):
        return super().encode_texts([f"={self.table[text][0]}" for text in texts])

    def match(self, images, texts):
        return [self.table[text][1] for text in texts]


@pytest.mark.paper(
    "rank-and-fuse",
    shows="V",
    case="drafts cut to a sentence; (P + S) / 2; a copy falls out; the best two are fused at temperature 0; guards",
)
def test_every_step_of_the_paper():
    """One run, and what each of the six steps has left in it."""
    told = Says("two dogs")
    drafts = ["a low dog. And more.", " A high dog ", "a high dog", "a middle dog"]
    made = run_with(Heads(), drafts, told)
    assert [d.text for d in made.parents] == ["a low dog.", "A high dog", "a high dog", "a middle dog"]
    assert [d.scores["match"] for d in made.parents] == pytest.approx([0.25, 0.6, 0.6, 0.5], abs=1e-6)  # (P + S) / 2
    (prompt,) = told.prompts
    assert prompt.temperature == 0
    assert prompt.text.index("1. A high") < prompt.text.index("2. a middle")  # the copy is no second
    assert "low" not in prompt.text
    assert "Add nothing" in prompt.text
    assert made.text == "two dogs"
    assert made.scores["match"] == pytest.approx(0.6, abs=1e-6)
    assert {d.dropped for d in made.parents} == {"draft"}
    assert run_with(Heads(), drafts[1:3], Says("never")).text == "A high dog"  # one text alone: no fusion
    assert run_with(Heads(), drafts, Says("no dogs"), margin=0.0).text == "A high dog"  # and none that fits worse
