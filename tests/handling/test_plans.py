"""Language plans and mixes of kinds: the papers' arithmetic, and what is stored and used."""

from collections import Counter

import pytest

import panoglot
from panoglot.cli import main
from panoglot.errors import UserError
from panoglot.exporting import export
from panoglot.handling import deal_by_shares, deal_evenly, mix, plan_languages, share_of_kinds
from panoglot.table import Caption, caption_to_row
from tests.exporting.test_writers import SAID, made


def told(path, count=40, langs=("en", "sw", "ar", "hi"), kinds=("human",)):
    """Every picture is told in every language and kind."""
    data = made(path, count)
    data.captions.delete("true")
    captions = []
    for n, key in enumerate(data.images.read(["image_id"])["image_id"].to_pylist()):
        for lang in langs:
            for kind in kinds:
                one = Caption(f"{SAID[lang[:2]]} {n}", lang, kind, recipe="human", image_id=key, run_id="r")
                one.caption_id = f"{n:04x}{langs.index(lang):02x}{kinds.index(kind):02x}".ljust(32, "0")
                captions.append(caption_to_row(one))
    data.captions.insert(captions)
    return data


@pytest.mark.paper(
    "centurio", shows="V", case="1,000 examples, half English, 99 languages: 500 and 5 or 6 each, 1,000 in all"
)
def test_centurios_deal():
    langs = [f"l{n}" for n in range(99)]
    dealt = deal_evenly(1000, 0.5, ["en", *langs])
    assert dealt["en"] == 500
    assert Counter(dealt[lang] for lang in langs) == {5: 94, 6: 5}
    assert sum(dealt.values()) == 1000
    for share in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9):
        dealt = deal_evenly(12_345, share, ["en", *langs])
        assert sum(dealt.values()) == 12_345
        others = [count for lang, count in dealt.items() if lang != "en"]
        assert max(others) - min(others) <= 1


@pytest.mark.paper("centurio", shows="V", case="no example twice in two languages")
def test_no_picture_is_planned_in_two_languages(tmp_path):
    data = told(tmp_path / "a.pano")
    plan = plan_languages(data, budget=40, share_en=0.5)
    assert plan.planned == {"en": 20, "ar": 7, "hi": 7, "sw": 6}
    assert plan.used == plan.planned
    assert (plan.images, plan.missing, plan.without) == (40, {}, 0)
    rows = data.choices.rows()
    assert len({row["image_id"] for row in rows}) == len(rows) == 40
    lang = {row["caption_id"]: row["lang"] for row in data.captions.rows(["caption_id", "lang"])}
    assert Counter(lang[row["caption_id"]] for row in rows) == plan.planned
    first = {row["image_id"]: row["caption_id"] for row in rows}
    plan_languages(data, budget=40, share_en=0.5)
    assert {row["image_id"]: row["caption_id"] for row in data.choices.rows()} == first
    plan_languages(data, budget=40, share_en=0.5, seed=1)
    assert {row["image_id"]: row["caption_id"] for row in data.choices.rows()} != first


#: mBLIP's counts of its 2,273,005 translated captions in the largest languages and the smallest.
MBLIP = {"en": 996_547, "ru": 257_052, "es": 149_880, "de": 138_393, "fr": 115_141, "yo": 21}


@pytest.mark.paper(
    "mblip", shows="V", case="1,000 examples by the shares of 2,273,005: 438, 113, 65, 60, 50 and none in Yoruba"
)
def test_mblips_floors():
    total = 2_273_005
    shares = {lang: (count + 0.5) / total * 100 for lang, count in MBLIP.items()}
    assert deal_by_shares(total, shares) == MBLIP
    assert list(deal_by_shares(1000, shares).values()) == [438, 113, 65, 60, 50, 0]
    assert deal_by_shares(1000, shares, least=5)["yo"] == 5


@pytest.mark.paper("revisit-captions", shows="V", case="weights .5, .45, .05, no dense caption: .526316 and .473684")
def test_weights_of_what_is_there():
    weights = {"alt": 0.5, "short": 0.45, "dense": 0.05}
    found = share_of_kinds(weights, ["short", "alt"])
    assert {kind: round(share, 6) for kind, share in found.items()} == {"alt": 0.526316, "short": 0.473684}
    assert share_of_kinds({"alt": 0.0, "dense": 1.0}, ["alt"]) == {}


@pytest.mark.paper(
    "veclip", shows="V", case="a share of 1 or 0 takes one text always; the draw depends on seed, epoch and id alone"
)
def test_veclips_coin(tmp_path):
    data = told(tmp_path / "a.pano", 400, ("en",), ("alt", "short"))
    plan = mix(data, policy="veclip")
    assert plan.images == 400
    assert 0.5 - 0.075 < plan.used["alt"] / 400 < 0.5 + 0.075  # three sigma
    first = {row["image_id"]: row["caption_id"] for row in data.choices.rows()}
    mix(data, policy="veclip", epoch=1)
    second = {row["image_id"]: row["caption_id"] for row in data.choices.rows()}
    assert 100 < sum(first[key] != second[key] for key in first) < 300
    mix(data, policy="veclip")
    assert {row["image_id"]: row["caption_id"] for row in data.choices.rows()} == first
    assert mix(data, policy="alt=1,short=0").used == {"alt": 400}
    assert mix(data, policy="alt=0,short=2").used == {"short": 400}


def test_a_mix_takes_the_kinds_that_a_picture_has(tmp_path):
    data = told(tmp_path / "a.pano", 60, ("sw", "hi"), ("alt", "dense"))
    some = data.captions.read(["caption_id"], "kind = 'alt'")["caption_id"].to_pylist()[:30]
    data.captions.change([{"caption_id": key, "dropped": "too_short"} for key in some])
    plan = mix(data, policy="revisit-mllm", lang="hi", name="m")
    assert plan.used["alt"] + plan.used["dense"] == plan.images == 60
    assert plan.used["dense"] > plan.used["alt"] > 0
    kept = {row["caption_id"]: row["lang"] for row in data.captions.rows(["caption_id", "lang"], "dropped is null")}
    assert {kept[row["caption_id"]] for row in data.choices.rows()} == {"hi"}
    panoglot.forget(data, data.images.read(["image_id"])["image_id"][0].as_py())
    again = mix(data, policy="revisit-mllm", lang="hi", name="m")
    assert (again.images, again.without) == (59, 0)  # one that was forgotten is not one that is left out


def test_what_is_missing_is_said(tmp_path, capsys):
    data = told(tmp_path / "a.pano", 10, ("en", "sw"))
    with pytest.raises(SystemExit) as ended:
        main(["plan-languages", str(data.path), "--budget", "1e2", "--share-en", ".5", "--lang", "en,sw,th"])
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert (
        "10 pictures have one in these languages: every picture is told in one language, so 10 is the most" in said.err
    )
    assert f"too few pictures are told in some languages (th 0): panoglot translate {data.path} --to th" in said.err
    assert "Planned, and none used: sw 25, th 25" in said.out
    assert not any(line.startswith("th") for line in said.out.splitlines())
    plan = plan_languages(data, budget=100, lang="en,sw,th")
    assert sum(plan.used.values()) == plan.images == 10
    assert plan.missing["th"] == 25
    assert sum(plan.missing.values()) == 90


def test_a_budget_within_reach_says_nothing(tmp_path):
    data = told(tmp_path / "a.pano", 10, ("en", "sw"))
    plan = plan_languages(data, budget=10, lang="en,sw")
    assert (plan.used, plan.notes, plan.without) == ({"en": 5, "sw": 5}, [], 0)
    plan = plan_languages(data, budget=4, lang="en,sw")
    assert (plan.images, plan.without, plan.untold, plan.notes) == (4, 6, 0, [])


def test_a_budget_beyond_the_pictures_does_not_ask_for_translations(tmp_path):
    """Every picture is told in both languages: translating more would give nothing."""
    data = told(tmp_path / "a.pano", 10, ("en", "sw"))
    (note,) = plan_languages(data, budget=100, lang="en,sw").notes
    assert "10 is the most" in note
    assert "translate" not in note


def test_plans_and_mixes_take_in_narrower_languages(tmp_path):
    data = told(tmp_path / "a.pano", 6, ("en", "hi"))
    data.captions.change(
        [
            {"caption_id": row["caption_id"], "lang": "zh-Hant"}
            for row in data.captions.rows(["caption_id"], "lang = 'hi'")
        ]
    )
    plan = plan_languages(data, budget=6, lang="en,zh")
    assert (plan.used, plan.notes) == ({"en": 3, "zh": 3}, ["zh takes in zh-Hant (6)."])
    plan = mix(data, policy="human=1", lang="zh,en")
    assert plan.notes == ["zh takes in zh-Hant (6)."]
    kept = {row["caption_id"]: row["lang"] for row in data.captions.rows(["caption_id", "lang"])}
    assert {kept[row["caption_id"]] for row in data.choices.rows(where="plan = 'mix'")} == {"zh-Hant"}


def test_what_is_not_in_a_plan_is_counted_right(tmp_path, capsys):
    """Pictures that are dropped, forgotten, or marked and not here at all are not left out; nothing is below 0."""
    data = told(tmp_path / "a.pano", 8, ("en",), ("human",))
    keys = sorted(data.images.read(["image_id"])["image_id"].to_pylist())
    data.marks.upsert(
        [{"image_id": key, "scores": {}, "dropped": "too_small"} for key in (keys[0], "f" * 32, "e" * 32)]
    )
    data.captions.delete(f"image_id = '{keys[1]}'")
    panoglot.forget(data, keys[2])
    plan = mix(data, policy="human=.5,alt=.5")
    assert (plan.images, plan.without, plan.untold, plan.used) == (5, 1, 1, {"human": 5})
    assert plan.notes == ["no picture has a caption of kind alt, its share went to the others: there is human 5"]
    plan = plan_languages(data, budget=3)
    assert (plan.images, plan.without, plan.untold) == (3, 3, 1)
    with pytest.raises(SystemExit):
        main(["plan-languages", str(data.path), "--budget", "3"])
    assert "3 are not (1 has no caption for it, 2 are beyond it)." in capsys.readouterr().out
    with pytest.raises(
        UserError, match=r"captions of the kinds alt in th; it has human 5\. nothing is in th; there is en"
    ):
        mix(data, policy="alt=1", lang="th")


def test_tiers_and_shares_from_files(tmp_path):
    data = told(tmp_path / "a.pano", 40, ("en", "sw", "ar", "hi"))
    (tmp_path / "tiers.yaml").write_text("5: [en, ar]\n4: [hi]\n2: sw\n")
    plan = plan_languages(data, budget=40, tiers=str(tmp_path / "tiers.yaml"), from_tier=4)
    assert plan.planned == {"en": 20, "ar": 10, "hi": 10}
    assert plan.tiers == {"5": 30, "4": 10}
    (tmp_path / "shares.yaml").write_text("en: 50\nswa: 25\nhi: 1\n")
    plan = plan_languages(data, budget=40, shares=str(tmp_path / "shares.yaml"), least=2)
    assert plan.used == {"en": 20, "sw": 10, "hi": 2}
    (tmp_path / "shares.yaml").write_text("en: 50\nsw: 75\n")
    with pytest.raises(UserError, match="100 in all at most"):
        plan_languages(data, budget=40, shares=str(tmp_path / "shares.yaml"))


def test_languages_that_a_budget_gives_nothing_are_named(tmp_path):
    data = told(tmp_path / "a.pano", 30, ("en", "en-GB", "ar", "hi", "th", "sw"))
    row = data.captions.rows(where="lang = 'sw'")[0]
    data.score("captions", {row["caption_id"]: ({}, "wrong")})  # one less in Swahili: it comes last
    plan = plan_languages(data, budget=6)
    assert plan.planned == {"en": 3, "ar": 1, "hi": 1, "th": 1}
    assert plan.notes == [
        "en takes in en-GB (30).",
        "the budget gives 1 language nothing: sw; --budget 9 gives each one",
    ]
    assert plan_languages(data, budget=9).planned.keys() == {"en", "ar", "hi", "th", "sw"}
    assert plan_languages(data, budget=6, share_en=1).planned == {"en": 6}
    (tmp_path / "shares.yaml").write_text("en: 99\nsw: 1\n")
    plan = plan_languages(data, budget=20, shares=str(tmp_path / "shares.yaml"))
    assert plan.notes[-1] == "the budget gives 1 language nothing: sw; --least 1 gives each one"


def test_export_and_subset_use_it(tmp_path):
    data = told(tmp_path / "a.pano", 12)
    plan = plan_languages(data, budget=8, name="p")
    facts = export(data, tmp_path / "out", "jsonl", plan="p")
    assert (facts["images"], facts["languages"]) == (8, dict(sorted(plan.used.items())))
    assert facts["left_out"] == {"not_in_plan": 4}
    copied = panoglot.subset(data, output=tmp_path / "b.pano", plan="p")
    assert (copied.images, copied.captions) == (8, 8)
    assert copied.languages == dict(sorted(plan.used.items()))
    with pytest.raises(UserError, match="Did you mean 'p'"):
        export(data, tmp_path / "x", "jsonl", plan="pp")
    panoglot.forget(data, data.choices.rows()[0]["image_id"])
    assert len(data.choices) == 7


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        (mix, {"policy": "veclipp"}, "Did you mean 'veclip'"),
        (mix, {"policy": "alt=.5,shrt=.5"}, "Did you mean 'short'"),
        (mix, {"policy": "alt=x"}, "write KIND=WEIGHT"),
        (mix, {"policy": "alt=-1,short=2"}, "at least 0"),
        (mix, {"policy": "dense=1"}, "no picture of"),
        (mix, {"name": "a b"}, "no name of a plan"),
        (plan_languages, {"budget": 0}, "must be at least 1"),
        (plan_languages, {"budget": 9, "share_en": 2}, "between 0 and 1"),
        (plan_languages, {"budget": 9, "tiers": "nothing.yaml"}, "cannot be read"),
        (plan_languages, {"budget": 9, "lang": "th"}, "none of"),
    ],
)
def test_plans_that_cannot_be(tmp_path, verb, options, message):
    data = told(tmp_path / "a.pano", 2)
    if "lang" in options:
        options = {**options, "share_en": 0.0}
    with pytest.raises(UserError) as raised:
        verb(data, **options)
    assert message in str(raised.value)
    assert len(data.choices) == 0
