"""FeedQuill's scores and pairs (the part of DCScore's card that makes training data)."""

import pytest

from panoglot.captioning import feedback_pairs
from panoglot.captioning.feedback_pairs import preference_pairs
from panoglot.errors import RowError
from panoglot.table import Caption
from tests.captioning.scripted import Says, picture, run

CAPTIONS = [
    Caption("A black cat sleeps.", "en", "short", caption_id="cat"),
    Caption("A black cat sleeps beside two dogs on a red boat.", "en", "dense", caption_id="boat"),
]
UNITS = {
    "cat": "The cat is black.\nThe cat sleeps.",
    "boat": "- The cat is black.\n- There are dogs.\n- The boat is red.\n",
}


def splits(prompt):
    return UNITS["boat" if "boat" in prompt.text else "cat"]


def checks(*wrong):
    return Says(lambda prompt: "No." if any(word in prompt.text for word in wrong) else "Yes, it is.")


def scores(*verifiers, llm=splits, captions=CAPTIONS, **options):
    given = {f"v{n}": model for n, model in enumerate(verifiers)} | {"llm": Says(llm)}
    options = {**options, "llm": "llm" if llm else ""}
    found = run(
        feedback_pairs, picture(captions=captions), given, verifiers=tuple(sorted(given.keys() - {"llm"})), **options
    )
    return {scored.of.caption_id: dict(scored.scores) for scored in found}


@pytest.mark.paper(
    "dcscore", shows="V", case="units, yes or no of several models, share and number of true units, pairs of each"
)
@pytest.mark.paper("feedback-pairs", shows="V", case="share and number of true units, pairs of each")
def test_captions_are_scored_unit_by_unit():
    found = scores(checks("boat"), checks("boat", "sleeps"), checks("boat"))
    assert (found["cat"]["unit_truth"], found["cat"]["true_units"]) == (1, 2)
    assert (found["boat"]["unit_truth"], found["boat"]["true_units"]) == (pytest.approx(2 / 3), 2)
    truth = {name: own["unit_truth"] for name, own in found.items()}
    assert preference_pairs(truth) == [("cat", "boat")]
    assert preference_pairs({name: own["true_units"] for name, own in found.items()}) == []
    assert preference_pairs(truth, gap=0.4) == []


def test_an_even_vote_does_not_hold_and_no_vote_is_no_score():
    found = scores(checks("black"), checks())
    assert found["cat"]["true_units"] == 1
    found = scores(Says("Perhaps."), Says(RowError("down")))
    assert found["cat"]["unit_truth"] is None
    assert found["cat"]["units_unchecked"] == 2
    assert found["cat"]["fallback_verifier"] == 5


def test_captions_are_split_without_a_language_model_and_one_is_not_compared():
    chinese = [Caption(t, "zh", "short", caption_id=t) for t in ("一只猫在睡觉，旁边有狗。", "一只狗。")]
    found = scores(Says("是的"), llm="", captions=chinese)
    assert [own["units"] for own in found.values()] == [2, 1]
    assert all(own["unit_truth"] == 1 and own["fallback_splitter"] == 2 for own in found.values())
    with pytest.raises(RowError) as error:
        scores(checks(), captions=CAPTIONS[:1])
    assert error.value.reason == "one_caption"
