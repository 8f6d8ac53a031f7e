"""The records, the one scorer, the planners with scripted models: invariants of `search` over all presets."""

import json

import numpy as np
import pytest

from panoglot.errors import RowError, UserError
from panoglot.providers.roles import Answer
from panoglot.retrieval import (
    PRESETS,
    Askers,
    Pack,
    Plan,
    Proposition,
    Query,
    QueryPart,
    Ranker,
    Term,
    accept_first,
    combine,
    fold,
    make_plan,
    order,
    pooled,
    read_plan,
    score,
    verify,
)
from panoglot.retrieval.rules import read_instruction
from tests.retrieval.conftest import unit

RNG = np.random.default_rng(0)


class Oracle:
    """Answers by a function of the prompt; counts what it was asked."""

    fingerprint, batch_size, chat, sees = "oracle-1", 4, True, True

    def __init__(self, answer, name="toy:oracle"):
        self.answer, self.name, self.asked = answer, name, []

    def generate(self, prompts):
        self.asked += prompts
        found = []
        for prompt in prompts:
            said = self.answer(prompt)
            found.append(said if isinstance(said, RowError) else Answer(said))
        return found


def pack(plan, count, dim=8, texts=True):
    terms = plan.terms
    signs = [1] * len(plan.positives) + [-1] * len(plan.negatives) + [1] * sum(map(len, plan.conditions))
    groups = [-1] * (len(plan.positives) + len(plan.negatives))
    groups += [n for n, group in enumerate(plan.conditions) for _ in group]
    return Pack(
        unit(RNG, len(terms), dim), np.array([s * t.weight for s, t in zip(signs, terms)]),
        tuple(f"{n} {t.kind}" for n, t in enumerate(terms)),
        np.array([t.kind == "text" and s > 0 for s, t in zip(signs, terms)]), np.array(groups), plan,
    )  # fmt: skip


def texts(*words, weight=1.0):
    return tuple(Term("text", word, weight) for word in words)


PLANS = {
    "text": Plan(texts("a")),
    "cotmr": Plan((*texts("a"), *texts("b", "c", weight=0.25)), texts("d", weight=0.2)),
    "picture too": Plan((*texts("a"), Term("image", "x", 0.3)), texts("d", weight=0.1)),
    "imagescope": Plan(texts("a", "b", "c", weight=1 / 3), tau=0.15),
    "conditions": Plan(texts("a"), conditions=(texts("b"), texts("c", "d"))),
    "min": Plan(texts("a"), conditions=(texts("b"), texts("c")), cond_pool="min"),
    "product": Plan(conditions=(texts("b"), texts("c")), cond_pool="product"),
    "normal": Plan((*texts("a"), Term("image", "x", 0.3)), texts("d", weight=0.2), normalise=True),
}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("pool", ["max", "mean", "topk_mean", "soft"])
@pytest.mark.parametrize("views", [1, 3])
def test_parts_add_up_and_the_fast_path_is_the_slow_one(name, pool, views):
    plan = Plan.of({**PLANS[name].plain(), "pool": pool})
    terms = pack(plan, 40)
    rows, starts = unit(RNG, 40 * views, 8), np.arange(0, 40 * views, views)
    captions = unit(RNG, 40, 8)
    captions[7] = np.nan
    found = score(terms, rows, starts, captions if plan.tau else None)
    assert np.isfinite(found.total).all()
    assert sum(found.parts.values()) == pytest.approx(found.total, abs=1e-9)
    vector = fold(terms, views=views > 1)
    if vector is not None:
        fast = pooled((rows @ vector)[None], starts, pool)[0]
        assert fast == pytest.approx(found.total, abs=1e-5)
    assert (vector is not None) or views > 1 or plan.tau or plan.normalise or plan.cond_pool != "mean"
    # the order of the gallery does not matter, nor copies of a view, nor how many are scored at once
    turned = RNG.permutation(40)
    blocks = rows.reshape(40, views, 8)[turned].reshape(-1, 8)
    again = score(terms, blocks, starts, captions[turned] if plan.tau else None)
    assert again.total == pytest.approx(found.total[turned], abs=1e-9)
    if views == 1 and pool != "soft":
        copies = score(terms, np.repeat(rows, 3, axis=0), np.arange(0, 120, 3), captions if plan.tau else None)
        assert copies.total == pytest.approx(found.total, abs=1e-9)


def test_streamed_blocks_are_the_whole_sort():
    gallery = unit(RNG, 90, 8)
    keys = [f"{n:02}" for n in range(90)]
    packs = {name: pack(plan, 90) for name, plan in PLANS.items() if not plan.tau}
    ranker = Ranker(packs, keys, 10, exclude={"text": keys[:3]}, groups={"min": keys[:20]})
    for start in range(0, 90, 16):
        ranker.add(start, gallery[start : start + 16])
    ranked, grouped = ranker.finish()
    for name, terms in packs.items():
        total = score(terms, gallery, np.arange(90)).total
        assert ranked[name] == [keys[n] for n in order(total, keys, 10, keys[:3] if name == "text" else ())]
    assert sorted(grouped["min"]) == keys[:20]


@pytest.mark.paper(
    "cotmr", shows="V", case=".30 + mean(.25, .27) - .10 = .46 before .31 + .18 - .28 = .21; w and -w cancel"
)
def test_cotmrs_figures():
    plan = Plan((*texts("g"), *texts("e", "f", weight=0.5)), texts("n", weight=1.0))
    similar = np.array([[0.30, 0.31], [0.25, 0.20], [0.27, 0.16], [0.10, 0.28]])
    assert combine(pack(plan, 2), similar).total == pytest.approx([0.46, 0.21])
    # the same phrase wanted and unwanted with equal weight cancels
    same = unit(RNG, 1, 8)
    both = Pack(np.repeat(same, 2, 0), np.array([0.2, -0.2]), ("a", "b"), np.array([True, False]), np.full(2, -1), plan)
    assert np.abs(both.weights @ both.vectors).max() < 1e-9


@pytest.mark.paper("imagescope", shows="V", case="tau .15, three descriptions: .361 before .3395")
def test_imagescopes_figures():
    plan = Plan(texts("a", "b", "c", weight=1 / 3), tau=0.15)
    similar = np.array([[0.30, 0.33], [0.32, 0.32], [0.31, 0.31]])
    said = np.array([[0.60, 0.40], [0.70, 0.50], [0.65, 0.45]])
    assert combine(pack(plan, 2), similar, said).total == pytest.approx([0.361, 0.3395])


@pytest.mark.paper("sorce", shows="V", case="views .2, .9 and .8, .7: the best of them .9 > .8, their mean .55 < .75")
def test_sorces_figures():
    views, starts = np.array([[0.2, 0.9, 0.8, 0.7]]), np.array([0, 2])
    assert pooled(views, starts, "max").argmax() == 0
    assert pooled(views, starts, "mean").argmax() == 1


def test_plans_are_json_both_ways(tmp_path):
    for plan in PLANS.values():
        assert read_plan(json.loads(plan.to_json())) == plan
    path = tmp_path / "plan.json"
    path.write_text('{"positives": ["a red bird", {"kind": "soft", "value": [1, 0], "weight": 0.5}]}')
    plan = read_plan(path)
    assert [term.kind for term in plan.positives] == ["text", "soft"]
    for wrong, message in (
        ('{"positive": ["a"]}', "Did you mean 'positives'"), ("{}", "nothing to look for"), ("[]", "one JSON object"),
        ('{"positives": "a"}', "must be a list"), ('{"positives": [""]}', "is empty"), ("{", "is no JSON"),
        ('{"positives": ["a"], "pool": "maximum"}', "Did you mean 'max'"),
        ('{"positives": [{"value": "a", "weight": -1}]}', "must not be below 0"),
        ('{"positives": [{"value": "a", "weight": "x"}]}', "must be a number"),
        ('{"positives": ["a"], "tau": 2}', "between 0 and 1"), ('{"positives": ["a"], "verify": 1.5}', "whole number"),
    ):  # fmt: skip
        path.write_text(wrong)
        with pytest.raises(UserError, match=message):
            read_plan(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_plan(tmp_path / "none.json")
    query = Query(
        (QueryPart("image", "ref.jpg"), QueryPart("product", "a.jpg", condition="colour"), QueryPart("text", "x"))
    )
    assert Query.of(json.loads(json.dumps(query.plain()))) == query
    with pytest.raises(UserError, match="Did you mean 'image'"):
        QueryPart("imag", "x")
    with pytest.raises(UserError, match="is empty"):
        QueryPart("text", "  ")


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted", "kept"),
    [
        ("but a bird", ("a bird",), (), False),
        ("the same, but at night and without people", ("at night",), ("people",), True),
        ("a cat instead of the dog", ("a cat",), ("dog",), False),
        ("replace the dog with a cat", ("a cat",), ("dog",), False),
        ("ersetze den Hund durch eine Katze", ("eine Katze",), ("Hund",), False),
        ("dasselbe, aber ohne Menschen", (), ("Menschen",), True),
        ("lo mismo, pero sin gente", (), ("gente",), True),
        ("un gato en lugar de un perro", ("un gato",), ("perro",), False),
        ("把狗换成猫", ("猫",), ("狗",), False),
        ("和这个一样，但没有人", (), ("人",), True),
        ("犬の代わりに猫", ("猫",), ("犬",), False),
        ("同じ、でも猫なし", (), ("猫",), True),
        ("نفس الصورة لكن بدون ناس", (), ("ناس",), True),
        ("قطة بدلا من كلب", ("قطة",), ("كلب",), False),
        ("कुत्ते की जगह बिल्ली", ("बिल्ली",), ("कुत्ते",), False),
        ("वही, लेकिन बिना कुत्ते के", (), ("कुत्ते",), True),
        ("a jacket like these", ("a jacket like these",), (), False),
    ],
)
def test_rules_in_seven_languages(text, wanted, unwanted, kept):
    said = read_instruction(text)
    assert (said.wanted, said.unwanted, said.kept) == (wanted, unwanted, kept)


def composed(text="remove the dog"):
    parts = [QueryPart("image", b"not looked at by these oracles")]
    return Query((*parts, *([QueryPart("text", text)] if text else [])))


def look(_value):
    import PIL.Image

    from panoglot.pictures import Image

    return Image.from_pil(PIL.Image.new("RGB", (8, 8), "red"))


def plan_of(preset, answers, query=None):
    """A plan by scripted models: `answers` by alias."""
    models = {alias: Oracle(said if callable(said) else lambda _p, said=said: said) for alias, said in answers.items()}
    return make_plan(query or composed(), preset, Askers(models), look=look), models


@pytest.mark.paper(
    "cirevl",
    shows="V",
    case="what follows the prefix, once cut; an echo, a refusal, nothing: the instruction; no instruction: the caption",
)
def test_cirevl():
    said = {"captioner": "a man and a dog", "llm": "Sure!\n**edited**: a man: alone"}
    plan, models = plan_of("cirevl", said)
    assert [(t.value, t.source) for t in plan.positives] == [("a man: alone", "edited")]
    assert not plan.fallback_used
    assert "a man and a dog" in models["llm"].asked[0].text
    assert "remove the dog" in models["llm"].asked[0].text
    for bad in ("I cannot do that.", "Edited: A man and a dog", RowError("timeout")):
        plan, _ = plan_of("cirevl", {**said, "llm": bad})
        assert plan.fallback_used
        assert plan.positives[0].value == "remove the dog"
    plan, models = plan_of("cirevl", said, composed(""))  # no instruction: the same picture
    assert plan.positives[0].value == "a man and a dog"
    assert not models["llm"].asked
    plan, _ = plan_of("cirevl", {"captioner": RowError("down"), "llm": ""}, composed(""))
    assert plan.positives[0].kind == "image"


@pytest.mark.paper(
    "cotmr",
    shows="V",
    case="fenced, single quotes, trailing commas, `existent objects`; dog beside black dog is left out; twice is once",
)
def test_cotmr():
    whole = 'Here:\n```json\n{"steps": ["a"], "target caption": "a man", }\n```'
    objects = "{'existent objects': ['a man', 'A man', 'a black dog'], 'nonexistent': ['dog', 'a leash']}"
    plan, models = plan_of("cotmr", {"lvlm": lambda p: objects if "nonexistent" in p.text else whole})
    assert [(t.value, t.weight) for t in plan.positives] == [("a man", 1.0), ("a man", 0.25), ("a black dog", 0.25)]
    assert [(t.value, t.weight) for t in plan.negatives] == [("a leash", 0.2)]  # `dog` is part of what is wanted
    assert all(len(p.images) == 1 for p in models["lvlm"].asked)
    assert not plan.fallback_used
    plan, _ = plan_of("cotmr", {"lvlm": "no idea"})
    assert plan.fallback_used
    assert plan.positives[0].value == "remove the dog"
    plan, _ = plan_of("cotmr", {"lvlm": lambda p: RowError("x") if "nonexistent" in p.text else whole})
    assert plan.fallback_used
    assert [t.value for t in plan.positives] == ["a man"]


def test_imagescope():
    reason = '{"step1": [["Removal", "the dog"], ["odd"]], "step2": ["a man", "a tall man", "a tall man, a beach"]}'
    checks = (
        '{"step2": [["Is there a man?", "True"], ["Is there a dog?", "False"], ["Is it darker than before?", "True"]]}'
    )
    said = {"captioner": "a man and a dog", "llm": lambda p: checks if "yes/no" in p.text else reason}
    plan, _ = plan_of("imagescope", said)
    assert [t.value for t in plan.positives] == ["a man", "a tall man", "a tall man, a beach"]
    assert plan.propositions == (Proposition("Is there a man?", True), Proposition("Is there a dog?", False))
    assert (plan.tau, plan.verify, plan.judge, plan.fallback_used) == (0.15, 20, 3, False)
    plan, _ = plan_of("imagescope", {**said, "llm": "…"})
    assert (plan.fallback_used, plan.verify) == (True, 0)
    assert plan.positives[0].value == "a man and a dog"  # as the paper has it
    plan, _ = plan_of("imagescope", {"captioner": RowError("down"), "llm": "…"})
    assert plan.positives[0].value == "remove the dog"
    turns = Query((QueryPart("text", "a man", role="dialogue_turn"), QueryPart("text", "older", role="dialogue_turn")))
    plan, models = plan_of("imagescope", said, turns)
    assert len(plan.positives) == 1
    assert not models["captioner"].asked
    assert plan.judge == 0


def test_conditions():
    products = [
        QueryPart("product", b"a", condition="colour"),
        QueryPart("product", b"b", condition="collar", weight=2.0),
    ]
    query = Query((*products, QueryPart("text", "a jacket like these")))
    plan, _ = plan_of("conditions", {}, query)
    assert [[t.kind for t in group] for group in plan.conditions] == [["image"], ["image"]]
    chosen = {"captioner": lambda p: "Red." if "colour" in p.text else RowError("down")}
    models = {alias: Oracle(said) for alias, said in chosen.items()}
    plan = make_plan(query, "conditions", Askers(models), options={"captioner": "captioner", "pool": "min"}, look=look)
    assert [(g[0].kind, g[0].weight) for g in plan.conditions] == [("text", 1.0), ("image", 2.0)]
    assert plan.conditions[0][0].value == "colour: Red"
    assert plan.fallback_used


@pytest.mark.parametrize("preset", PRESETS)
def test_no_planner_costs_a_query_its_ranking(preset):
    def broken(_prompt):
        raise RuntimeError("boom")

    models = dict.fromkeys(("captioner", "llm", "lvlm"), Oracle(broken))
    plan = make_plan(composed(), preset, Askers(models), look=look)
    assert plan.preset == preset
    assert plan.positives or plan.conditions
    assert plan.fallback_used == (preset in ("cirevl", "cotmr", "imagescope"))
    down = dict.fromkeys(("captioner", "llm", "lvlm"), Oracle(lambda _p: RowError("unreachable", "planner down")))
    plan = make_plan(composed(), preset, Askers(down), look=look)
    assert plan.fallback_used == (preset in ("cirevl", "cotmr", "imagescope"))


def test_a_missing_model_is_the_users_to_give():
    with pytest.raises(UserError, match="--model captioner=PROVIDER:NAME"):
        make_plan(composed(), "cirevl", Askers(), look=look)
    with pytest.raises(UserError, match="Did you mean 'cirevl'"):
        make_plan(composed(), "cirvel", Askers(), look=look)
    with pytest.raises(UserError, match="Did you mean 'picture'"):
        make_plan(composed(), "rules", Askers(), options={"pictures": 1}, look=look)


def asked(oracle, work):
    return Askers({"x": oracle}).run({"x": oracle}, lambda m: work(m["x"]))


@pytest.mark.paper(
    "imagescope", shows="V", case="values 2, 3, 3, 1 on a, b, c, d: b, c, a, d; no, yes: the second first"
)
def test_a_verifier_reorders_its_short_list_alone():
    # values 2, 3, 3, 1 on a, b, c, d -> b, c, a, d; e is not looked at
    truth = {"a": [1, 1, 0], "b": [1, 1, 1], "c": [1, 1, 1], "d": [1, 0, 0]}
    questions = [Proposition(f"{n}?") for n in range(3)]

    count = iter([v for key in "abcd" for v in truth[key]])
    oracle = Oracle(lambda _p: "Yes" if next(count) else "No, its eyes")
    ids, verdicts, failed = asked(oracle, lambda x: verify(list("abcde"), questions, x, look, 4))
    assert ids == ["b", "c", "a", "d", "e"]
    assert verdicts["a"] == [True, True, False]
    assert failed == 0
    broken = Oracle(lambda _p: RowError("down"))
    ids, _, failed = asked(broken, lambda x: verify(list("abcde"), questions, x, look, 4))
    assert (ids, failed) == (list("abcde"), 12)
    says = iter(["ANSWER: No", "ANSWER: Yes, it fits"])
    ids, accepted = asked(
        Oracle(lambda _p: next(says)), lambda x: accept_first(look(0), "Night", list("abc"), x, look, 3)
    )
    assert (ids, accepted) == (["b", "a", "c"], "b")
    ids, accepted = asked(Oracle(lambda _p: "no"), lambda x: accept_first(look(0), "x", list("ab"), x, look, 9))
    assert (ids, accepted) == (["a", "b"], None)
