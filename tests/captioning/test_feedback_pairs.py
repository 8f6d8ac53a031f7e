"""FeedQuill's scores and pairs (the part of DCScore's card that makes training data)."""

import pytest

import panoglot
from panoglot.captioning import feedback_pairs
from panoglot.captioning.feedback_pairs import preference_pairs
from panoglot.errors import RowError, UserError
from panoglot.table import Caption, Rating, caption_to_row
from tests.captioning.scripted import Says, picture, run
from tests.conftest import picture_bytes

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
    return {one.of.caption_id: dict(one.scores) for one in found if not isinstance(one, Rating)}


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


class Checker:
    """Splits by sentences and finds everything true but what is said of a boat; `name` of the model is `as`."""

    batch_size = 8

    def __init__(self) -> None:
        self.name, self.fingerprint = "toy:checker", "toy-checker-1"

    def generate(self, prompts):
        from panoglot.providers.roles import Answer

        return [Answer("No." if "boat" in prompt.text else "Yes.") for prompt in prompts]


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """Two pictures, each with captions of two writers, compared."""
    folder = tmp_path_factory.mktemp("rated")
    (folder / "photos").mkdir()
    for n in range(2):
        (folder / "photos" / f"{n}.jpg").write_bytes(picture_bytes(n))
    data = panoglot.ingest(str(folder / "photos"), str(folder / "X.pano")).dataset
    for model, text in (("good", "एक काली बिल्ली सो रही है।"), ("poor", "A cat on a red boat sleeps in the sun.")):
        with data.writer():
            data.captions.insert(
                [
                    caption_to_row(
                        Caption(text, "hi" if n else "en", "short", model, image_id=id_, caption_id=f"{model}{n}")
                    )
                    for n, id_ in enumerate(sorted(data.images.read(["image_id"])["image_id"].to_pylist()))
                ]
            )
    done = panoglot.caption(
        data, method="feedback-pairs", captioner="python:tests.captioning.test_feedback_pairs:Checker", set=["llm="]
    )
    return data, done


def test_pairs_are_stored_as_ratings_that_show_and_report_tell(rated):
    data, done = rated
    assert dict(done.made.ratings) == {"unit_truth": 2, "true_units": 2}
    assert any("Written: 4 ratings" in line for line in done.made.lines())
    rows = data.ratings.rows()
    assert {(row["item"], row["against"], row["value"], row["scale"]) for row in rows} == {
        (f"good{n}", f"poor{n}", 1.0, "preference") for n in range(2)
    }
    assert {(row["rater"], row["of"]) for row in rows} == {("toy:checker", "captions")}
    shown = panoglot.show(data, data.captions.get(["good1"])["image_id"][0].as_py())
    assert "ratings" in str(shown)
    assert "“एक काली बिल्ली सो रही है।” is better than “A cat on a red boat" in " ".join(str(shown).split())
    assert [row["criterion"] for row in shown.to_dict()["ratings"]] == ["true_units", "unit_truth"]
    again = panoglot.caption(
        data, method="feedback-pairs", captioner="python:tests.captioning.test_feedback_pairs:Checker", set=["llm="]
    )
    assert again.stages[0].done == 0
    assert data.ratings.count() == 4


def test_an_arena_of_a_dataset_is_of_its_writers(rated):
    from panoglot.evaluate import commands

    data, _ = rated
    with pytest.raises(UserError, match=r"choose one: panoglot evaluate arena .* --criterion"):
        commands.arena(data.address)
    found = commands.arena(data.address, criterion="unit_truth", resamples=10)
    assert list(found.ranking) == ["good", "poor"]
    assert dict(found.ratings)["good"] > dict(found.ratings)["poor"]
    with pytest.raises(UserError, match="--criterion"):
        commands.arena(data.address, criterion="fluency")


def test_an_arena_needs_comparisons_of_two_writers(tmp_path):
    from panoglot.evaluate import commands

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(picture_bytes(1))
    data = panoglot.ingest(str(tmp_path / "photos"), str(tmp_path / "X.pano")).dataset
    with pytest.raises(UserError, match=r"panoglot caption .* --method feedback-pairs"):
        commands.arena(data.address)
    data.ratings.insert([Rating("a", 1.0, against="b", rating_id="r").plain()])
    with pytest.raises(UserError, match="by one writer"):
        commands.arena(data.address)
    (tmp_path / "votes.json").write_text('[{"model_a": "x", "model_b": "y", "winner": "x"}]')
    with pytest.raises(UserError, match="a file of votes has none"):
        commands.arena(str(tmp_path / "votes.json"), criterion="fluency")


def test_training_reads_the_pairs_as_scores(rated):
    pytest.importorskip("torch")
    from panoglot.training import read_records

    data, _ = rated
    records = read_records(data, takes=("caption", "rating")).records
    scores = {text.text[:5]: text.score for record in records for text in record.texts}
    assert scores == {"एक का": 1.0, "A cat": 0.0}


def test_no_ratings_where_they_are_not_wanted_or_the_gap_is_too_small():
    captions = [*CAPTIONS]
    given = {"v0": checks("boat"), "llm": Says(splits)}
    found = run(feedback_pairs, picture(captions=captions), given, verifiers=("v0",), ratings=False)
    assert not [one for one in found if isinstance(one, Rating)]
    found = run(feedback_pairs, picture(captions=captions), given, verifiers=("v0",), gap=0.5)
    assert not [one for one in found if isinstance(one, Rating)]
    found = run(feedback_pairs, picture(captions=captions), given, verifiers=("v0",))
    assert [(one.item, one.against, one.criterion) for one in found if isinstance(one, Rating)] == [
        ("cat", "boat", "unit_truth")
    ]
