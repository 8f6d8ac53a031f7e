import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoglot.curation import RANKED, Spill, curate, falling, last_of_best, score_of
from panoglot.errors import UserError
from tests.curation.conftest import Maker, jpeg, scene

NAN, INF = float("nan"), float("inf")


def filled(maker, scores, langs=("en",), per_image=1, order=None):
    """A caption `text n` of each score; returns ids by number."""
    images = maker.images([f"i{n}" for n in range(len(scores))], [640] * len(scores), [480] * len(scores))
    order = list(order if order is not None else range(len(scores)))
    rows = [{"image": images[n // per_image], "text": f"text {n}", "lang": langs[n % len(langs)]} for n in order]
    for row, n in zip(rows, order):
        row["scores"] = {} if scores[n] == "none" else {"reward": scores[n]}
    return dict(zip(order, maker.add(rows)))


def kept(maker):
    return {row["caption_id"] for row in maker.dataset.captions.rows(["caption_id"], "dropped is null")}


def best(scores, ids, share):
    """By plain sorting: the ⌊share · n⌋ best, ties by id."""
    usable = [n for n, s in enumerate(scores) if s not in ("none", None) and math.isfinite(s)]
    ranked = sorted(usable, key=lambda n: (-np.float32(scores[n]), ids[n]))
    return {ids[n] for n in ranked[: math.floor(Fraction(str(share)) * len(usable))]}


SCORES = [0.5, 0.25, NAN, 0.75, 0.5, INF, None, 0.5, -0.5, "none", 0.0, -INF, 0.125, 0.5]


@pytest.mark.parametrize("share", [0, 0.119, 0.29, 0.3, 0.5, 0.7, 1, 1.0])
@pytest.mark.parametrize("part", [None, 3])
@pytest.mark.paper(
    "compress-align",
    shows="V",
    case="exactly floor(rho N) kept, ties by id; NaN and infinite scores never",
)
def test_exactly_the_best_share(maker, monkeypatch, share, part):
    if part:
        monkeypatch.setattr("panoglot.curation._select.PART", part)
    ids = filled(maker, SCORES)
    result = curate(maker.dataset, steps=[("top_score", {"name": "reward", "share": share})])
    assert kept(maker) == best(SCORES, ids, share)
    assert result.captions_dropped["no_score"] == 5  # NaN, two infinities, null and none: never kept, and counted
    assert result.captions_kept + sum(result.captions_dropped.values()) == result.captions == len(SCORES)
    assert result.statistics["top_score"]["no_score"] == 5
    assert curate(maker.dataset, steps=[("top_score", {"name": "reward", "share": share})]).changed == 0


def test_a_share_is_exact_in_decimals(maker):
    filled(maker, [n / 100 for n in range(100)])
    assert curate(maker.dataset, steps=[("top_score", {"name": "reward", "share": 0.29})]).captions_kept == 29
    assert 0.29 * 100 < 29  # what floating point would have kept is 28


@pytest.mark.paper("compress-align", shows="V", case="order of the rows changes nothing")
def test_order_and_shards_make_no_difference(tmp_path):
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=60), 1).tolist()  # many ties
    one = Maker(tmp_path / "one.pano")
    ids = filled(one, scores)
    steps = [("top_score", {"name": "reward", "share": 0.4, "calibrate": True})]
    result = curate(one.dataset, steps=steps)
    other = Maker(tmp_path / "other.pano")
    assert filled(other, scores, order=rng.permutation(60).tolist()) == ids
    assert curate(other.dataset, steps=steps).statistics == result.statistics  # to the last bit
    assert kept(one) == kept(other) == best(scores, ids, 0.4)


@pytest.mark.paper("compress-align", shows="V", case="threshold and share agree; three shards are one run")
def test_threshold_and_share_agree_and_shards_with_it_are_one_run(tmp_path):
    rng = np.random.default_rng(1)
    scores = rng.normal(size=50).tolist()
    whole = Maker(tmp_path / "whole.pano")
    ids = filled(whole, scores)
    share = [("compress-align", {"score": "reward", "top_fraction": 0.3, "deduplicate": False})]
    found = curate(whole.dataset, steps=share).statistics["top_score"]
    by_share = kept(whole)
    assert len(by_share) == 15
    frozen = {"mean": found["mean"], "std": found["std"], "threshold": found["thresholds"]["all"]["threshold"]}
    steps = [("compress-align", {"score": "reward", "top_fraction": None, "deduplicate": False, **frozen})]
    curate(whole.dataset, steps=steps)
    assert kept(whole) == by_share
    merged = set()
    for shard in range(3):
        part = Maker(tmp_path / f"{shard}.pano")
        images = part.images([f"i{n}" for n in range(50)], [640] * 50, [480] * 50)
        for n in range(shard, 50, 3):
            part.caption(images[n], f"text {n}", scores={"reward": scores[n]})
        curate(part.dataset, steps=steps)
        merged |= kept(part)
    assert merged == by_share
    assert set(ids.values()) > merged


def test_calibration(maker):
    filled(maker, [1.0, 2.0, 3.0, 4.0, NAN])
    steps = [("top_score", {"name": "reward", "minimum": 0.0, "calibrate": True})]
    result = curate(maker.dataset, steps=steps)
    assert result.statistics["top_score"] == {"texts": 4, "no_score": 1, "mean": 2.5, "std": math.sqrt(1.25)}
    assert dict(result.captions_dropped) == {"low_reward": 2, "no_score": 1}
    shifted = [("top_score", {"name": "reward", "minimum": 0.0, "mean": 3.5, "std": 2.0})]
    assert curate(maker.dataset, steps=shifted).captions_kept == 1


def test_equal_scores_have_no_deviation(maker):
    filled(maker, [0.5] * 4)
    result = curate(maker.dataset, steps=[("top_score", {"name": "reward", "minimum": 0.0, "calibrate": True})])
    assert (result.captions_kept, result.statistics["top_score"]["std"]) == (4, 0.0)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, NAN]), min_size=1, max_size=12), st.data())
def test_tighter_keeps_a_part(tmp_path_factory, scores, data):
    maker = Maker(tmp_path_factory.mktemp("x") / "x.pano")
    filled(maker, [*scores, 0.15])
    shares = sorted(data.draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    found = []
    for share in shares:
        curate(maker.dataset, steps=[("top_score", {"name": "reward", "share": share})])
        found.append(kept(maker))
    assert found[0] <= found[1]
    curate(maker.dataset, steps=[("top_score", {"name": "reward", "share": shares[1], "minimum": 0.2})])
    assert kept(maker) <= found[1]


@pytest.mark.paper("compress-align", shows="V", case="quotas of every language")
def test_quota_of_every_group(maker):
    langs = ("en", "sw", "th", "en", "en")
    scores = [(0.9 if n % 5 in (0, 3, 4) else 0.1) + n / 1000 for n in range(50)]  # the scorer knows English best
    ids = filled(maker, scores, langs=langs)
    curate(maker.dataset, steps=[("top_score", {"name": "reward", "share": 0.4})])
    assert {row["lang"] for row in maker.dataset.captions.rows(["lang"], "dropped is null")} == {"en"}
    steps = [("compress-align", {"score": "reward", "top_fraction": 0.4, "per_group": ["lang"], "deduplicate": False})]
    result = curate(maker.dataset, steps=steps)
    by_lang = {lang: {ids[n] for n in ids if langs[n % 5] == lang} for lang in langs}
    assert {lang: len(kept(maker) & some) for lang, some in by_lang.items()} == {"en": 12, "sw": 4, "th": 4}
    assert {k: v["texts"] for k, v in result.statistics["top_score"]["thresholds"].items()} == {
        "en": 30,
        "sw": 10,
        "th": 10,
    }


def test_copies_take_no_rank(maker):
    """The five best are one text five times: ranked as they are, nothing else would stay."""
    image = maker.image("a")
    for lang in ("en", "de", "fr", "es", "it"):
        maker.caption(image, "the best", lang=lang, scores={"reward": 0.9})
    for n in range(5):
        maker.caption(image, "twice", recipe=f"r{n}/1", kind="short", scores={"reward": 0.8})
    for n in range(4):
        maker.caption(image, f"good {n}", scores={"reward": 0.5 + n / 10})
    options = {"score": "reward", "top_fraction": 0.7}
    result = curate(maker.dataset, steps=[("compress-align", options)], quiet=True)
    assert result.captions_dropped["duplicate_text"] == 4
    assert result.captions_kept == 7  # of the 10 that are left
    assert result.statistics["top_score"]["texts"] == 10
    dropped = maker.image("b", 10, 10)
    maker.caption(dropped, "of a dropped picture", scores={"reward": 1.0})
    result = curate(maker.dataset, steps=[("size", {"min_side": 100}), ("compress-align", options)], quiet=True)
    assert result.statistics["top_score"]["texts"] == 10
    rows = maker.dataset.captions.rows(["text"], "dropped is null")
    assert len([row for row in rows if row["text"] != "of a dropped picture"]) == 7


@pytest.mark.paper("compress-align", shows="V", case="the best caption of a picture, ties by id")
def test_one_caption_an_image(maker):
    image, other, third = maker.image("a"), maker.image("b"), maker.image("c")
    low = maker.caption(image, "low", scores={"reward": 0.1})
    ties = [maker.caption(image, f"high {n}", scores={"reward": 0.9}) for n in range(4)]
    german = maker.caption(image, "hoch", lang="de", scores={"reward": 0.5})
    maker.caption(image, "none", scores={"reward": NAN})
    only = maker.caption(other, "only", scores={"reward": -3.0})
    maker.caption(third, "no score at all")
    result = curate(maker.dataset, steps=[("best_caption", {"name": "reward"})])
    assert kept(maker) == {min(ties), only}
    assert dict(result.captions_dropped) == {"not_best": 5, "no_score": 2}
    curate(maker.dataset, steps=[("best_caption", {"name": "reward", "per_language": True})])
    assert kept(maker) == {min(ties), german, only}
    curate(maker.dataset, steps=[("score", {"name": "reward", "maximum": 0.4}), ("best_caption", {"name": "reward"})])
    assert kept(maker) == {low, only}  # the best of those that are left


@pytest.mark.parametrize("part", [1, 3])
def test_best_captions_in_parts(maker, monkeypatch, part):
    scores = np.random.default_rng(2).random(30).tolist()
    ids = filled(maker, scores, per_image=3)
    monkeypatch.setattr("panoglot.curation._select.PART", part)
    curate(maker.dataset, steps=[("best_caption", {"name": "reward"})])
    assert kept(maker) == {ids[max(range(n, n + 3), key=scores.__getitem__)] for n in range(0, 30, 3)}


def test_what_is_ranked_stays_judged_when_images_go(maker):
    """Captions of dropped images are judged as others are, and take no rank."""
    ids = filled(maker, [0.1, 0.2, 0.3, 0.4])
    images = {row["caption_id"]: row["image_id"] for row in maker.dataset.captions.rows()}
    maker.dataset.score("marks", {images[ids[n]]: ({}, "unsafe") for n in (0, 3)})
    result = curate(maker.dataset, steps=[("top_score", {"name": "reward", "share": 0.5})])
    assert result.statistics["top_score"]["texts"] == 2
    assert kept(maker) == {ids[2], ids[3]}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (("top_score", {"name": "rewrd"}), "no caption has the score 'rewrd'"),
        (("top_score", {"share": 1.5}), "from 0 to 1"),
        (("top_score", {"share": "most"}), "must be a number"),
        (("top_score", {"name": "reward", "minimum": NAN}), "must be a number"),
        (("top_score", {"name": "rewrd", "kinds": None}), "no caption has the score"),
        (("top_score", {"share": -0.1}), "from 0 to 1"),
        (("top_score", {"name": "reward", "std": 0}), "above 0"),
        (("top_score", {"name": "reward", "ties": "both"}), "use id or keep"),
        (("top_score", {"name": "reward", "per": ["language"]}), "Did you mean 'lang'"),
        (("top_score", {"name": "reward", "per": "lang"}), "per is a list"),
        (("best_caption", {"name": "rewrd"}), "no caption has the score"),
        (("compress-align", {"top_faction": 0.1}), "Did you mean 'top_fraction'"),
        ("compres-align", "Did you mean 'compress-align'"),
    ],
)
def test_mistakes_are_named_and_nothing_is_decided(maker, step, message):
    filled(maker, [0.1, 0.2])
    with pytest.raises(UserError, match=message):
        curate(maker.dataset, steps=[("size", {"min_side": 9999}), step])
    assert (len(kept(maker)), maker.marks()) == (2, {})


def test_dry_run_decides_the_same_and_writes_nothing(maker):
    filled(maker, SCORES)
    steps = [("size", {"min_side": 100}), ("compress-align", {"score": "reward", "top_fraction": 0.5})]
    dry = curate(maker.dataset, steps=steps, dry_run=True)
    assert len(kept(maker)) == len(SCORES)
    wet = curate(maker.dataset, steps=steps, quiet=True)
    assert (dry.captions_dropped, dry.statistics) == (wet.captions_dropped, wet.statistics)


# -- the parts ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_falling_sorts_the_other_way_and_back(scores):
    ranks = falling(scores)
    assert score_of(ranks).tolist() == [s + 0.0 for s in scores]
    order = np.argsort(ranks, kind="stable")
    assert [scores[i] + 0.0 for i in order] == sorted((s + 0.0 for s in scores), reverse=True)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 4), st.sampled_from([1, 2, 7, 1000]))
def test_radix_selection_is_sorting(seed, count, groups, part):
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, RANKED)
    rows["group"] = rng.integers(0, groups, count) * (2**62 // groups)
    rows["score"] = rng.integers(0, 4, count) * rng.choice([1, 2**16, 2**20])  # ties, in high and low digits
    rows["high"] = rng.integers(0, 3, count) * 2**40
    rows["low"] = rng.permutation(count)
    spill = Spill(RANKED)
    for some in np.array_split(rows, 3):
        spill.add(some)
    wanted = {int(g): int(rng.integers(1, n + 1)) for g, n in zip(*np.unique(rows["group"], return_counts=True))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("panoglot.curation._select.PART", part)
        found = last_of_best(spill, wanted)
    for group, rank in wanted.items():
        mine = sorted((int(r["score"]), int(r["high"]), int(r["low"])) for r in rows if r["group"] == group)
        assert found[group] == mine[rank - 1]


def test_a_reward_model_writes_its_score(maker):
    """A model of the trainer's row `compress-align` reads picture and text; what it says is what is ranked."""
    pytest.importorskip("torch")
    from panoglot.networks import load_row, make_model
    from panoglot.networks.encoder import TrainedEncoder
    from panoglot.pictures import Image
    from panoglot.providers import register

    model = TrainedEncoder([make_model(load_row("compress-align", preset="small"), seed=1)], "pano:x", "reward-1", 4)
    register("python:reward", lambda: model)
    datas = [jpeg(scene(n, 96, 64)) for n in range(5)]
    images = maker.images([*datas, b"broken"], [96] * 6, [64] * 6)
    texts = ["a dog", "一只狗", "หมาวิ่ง", "كلب", "mbwa"]
    ids = maker.add([{"image": key, "text": text} for key, text in zip(images, [*texts, "no picture"])])
    steps = [("compress-align", {"scorer": "python:reward", "score": "reward", "top_fraction": 0.4})]
    result = curate(maker.dataset, steps=steps, quiet=True)
    expected = model.score_pairs([Image(data) for data in datas], texts)
    stored = {
        r["caption_id"]: dict(r["scores"]).get("reward") for r in maker.dataset.captions.rows(["caption_id", "scores"])
    }
    assert [stored[key] for key in ids[:5]] == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) == 5
    assert kept(maker) == {ids[n] for n in np.argsort(expected)[-2:]}
    assert result.captions_dropped["no_score"] == 1
    with pytest.raises(UserError, match="give its score a name"):
        curate(maker.dataset, steps=[("compress-align", {"scorer": "python:reward"})])
    with pytest.raises(UserError, match="writes the score 'alignment'"):
        curate(maker.dataset, steps=[("top_score", {"scorer": "embedded:conse", "name": "reward"})])
