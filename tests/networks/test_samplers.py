"""Samplers: functions of (seed, epoch, id), with the frequencies they promise."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from panoglot.errors import UserError
from panoglot.networks import Record, RegionText, Text, Turn
from panoglot.networks import samplers as s


def record(id_: str = "r", **more) -> Record:
    texts = [
        Text("a red kite", "raw", "en"),
        Text("A kite flies. It is red. The sky is blue.", "long", "en", "sv"),
        Text("A kite.", "short", "en", "ib"),
    ]
    return Record(id_, texts=more.pop("texts", texts), **more)


def chi_square(counts: Counter, n: int, total: int) -> float:
    return sum((counts.get(k, 0) - total / n) ** 2 for k in counts) / (total / n) + (n - len(counts)) * total / n


# ---- draws ---------------------------------------------------------------------------------------------------------


def test_samplers_do_not_need_torch():
    code = "import sys, panoglot.networks.samplers; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_draw_is_a_function_of_its_key():
    a, b = s.Draw(1, 2, "ü", "x"), s.Draw(1, 2, "ü", "x")
    assert [a.number() for _ in range(5)] == [b.number() for _ in range(5)]
    assert s.Draw(1, 2, "a").number() != s.Draw(1, 2, "a", "").number()
    assert s.Draw(12, "3").number() != s.Draw(1, "23").number()  # parts do not run together


def test_draws_are_even():
    d = s.Draw("even")
    counts = Counter(d.below(10) for _ in range(10000))
    assert chi_square(counts, 10, 10000) < 27.9  # 0.1 % of a χ² with 9 degrees
    pairs = Counter(tuple(s.Draw(i, "p").sample("abcd", 2)) for i in range(12000))
    assert len(pairs) == 12
    assert chi_square(pairs, 12, 12000) < 31.3
    assert Counter(s.Draw("x").sample("abc", 6)) == {"a": 2, "b": 2, "c": 2}
    w = Counter(s.Draw(i).weighted({"a": 3.0, "b": 1.0, "c": 0.0}) for i in range(4000))
    assert "c" not in w
    assert abs(w["a"] - 3000) < 3 * 27.4
    with pytest.raises(UserError, match="add up to nothing"):
        s.Draw(0).weighted({"a": 0.0})


# ---- texts ---------------------------------------------------------------------------------------------------------


def test_one():
    r = record()
    assert s.One()(r, 0, 0).texts[0].text == "a red kite"
    assert s.One(kinds=["short"])(r, 0, 0).texts[0].text == "A kite."
    assert s.One(lang=["de"]).items(r) == 0


@pytest.mark.paper(
    "veclip",
    shows="V",
    case="10,000 draws at .5: .485 to .515 alt-texts; p = 1 and p = 0; a function of seed, epoch and id",
)
def test_coin_is_veclip_s():
    r = [record(f"id{i}") for i in range(10000)]
    raw = sum(s.Coin(0.5)(x, 0, 0).texts[0].kind == "raw" for x in r)
    assert 4850 <= raw <= 5150
    assert all(s.Coin(1.0)(x, 0, 0).texts[0].kind == "raw" for x in r[:200])
    assert all(s.Coin(0.0)(x, 0, 0).texts[0].kind != "raw" for x in r[:200])
    seen = {s.Coin(0.5)(r[0], 0, e).texts[0].kind for e in range(40)}
    assert seen == {"raw", "short", "long"}  # all turn up over the epochs
    only_raw = record(texts=[Text("x")])
    assert s.Coin(0.0)(only_raw, 0, 0).fallback
    with pytest.raises(UserError, match="p=2"):
        s.Coin(2)


def test_each_passes_every_caption_once():
    r = record()
    assert [s.Each()(r, 0, 0, k).texts[0] for k in range(s.Each().items(r))] == list(r.texts)


@pytest.mark.paper("rs-m-clip", shows="V", case="3 captions in 5 languages: each pair as likely")
def test_translation_frequencies():
    langs = ["en", "de", "zh", "ko", "pt"]
    texts: list[Text] = []
    for k in range(3):
        place = len(texts)
        texts += [Text(f"c{k} en", "raw", "en")]
        texts += [Text(f"c{k} {lg}", "translation", lg, of=place) for lg in langs[1:]]
    n = 15000
    counts = Counter(s.Translation()(Record("x", texts=texts), 0, e).texts[0].text for e in range(n))
    assert len(counts) == 15
    assert all(abs(c - n / 15) < 4 * (n / 15 * 14 / 15) ** 0.5 for c in counts.values())
    # a caption rich in translations is not drawn more often than a poor one
    poor = [*texts[:5], Text("only english", "raw", "en")]
    share = sum(s.Translation()(Record("x", texts=poor), 0, e).texts[0].text == "only english" for e in range(4000))
    assert abs(share - 2000) < 4 * 31.7


def test_translation_falls_back_and_says_so():
    r = Record("x", texts=[Text("ein Hund", "raw", "de"), Text("mbwa", "translation", "sw", of=0)])
    picked = [s.Translation(weights={"ja": 1.0, "sw": 0.01})(r, 0, e) for e in range(50)]
    assert {p.texts[0].lang for p in picked} == {"sw"}
    assert any(p.fallback for p in picked)
    assert s.Translation(weights={"ja": 1.0})(r, 0, 0).texts[0].text
    two = s.Translation(captions=2)(record(), 0, 0).texts
    assert two[0] != two[1]


@pytest.mark.paper("flame", shows="V", case="six of eleven vectors, different ones, all as likely")
def test_vectors():
    import numpy as np

    r = Record("x", vectors={"text": np.zeros((11, 4))})
    counts: Counter = Counter()
    for e in range(3000):
        drawn = s.Vectors(6)(r, 0, e).vectors
        assert len(set(drawn)) == 6
        counts.update(drawn)
    assert max(abs(counts[i] - 3000 * 6 / 11) for i in range(11)) < 4 * (3000 * 6 / 11 * 5 / 11) ** 0.5
    assert s.Vectors(6).items(record()) == 0
    assert len(s.Vectors(6)(Record("y", vectors={"text": np.zeros((2, 4))}), 0, 0).vectors) == 2


# ---- sentences -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("It is 3.5 cm long. Dr. Who, e.g. the 4th, smiles.", 2),
        ("一只猫。它在睡觉！真的？", 3),
        ("猫がいます。寝ています。", 2),
        ("قطة على سرير. هل تنام؟ نعم.", 3),
        ("एक बिल्ली। वह सोती है।", 2),
        ("แมวนอนอยู่\nมันสีดำ", 2),
        ("A cat.</s>A dog", 2),
        ("Paka amelala. Ni mweusi.", 2),
        ('He said "Hi." Then he left. Room 5. It is red.', 4),
        ("...", 0),
        ("", 0),
        ("Café au lait, z.B. hier. Gut!", 2),
    ],
)
def test_sentences_of_many_languages(text, n):
    assert len(s.split_sentences(text)) == n


def test_nothing_of_a_sentence_is_lost():
    text = 'She said "go!" It (a dog.) ran. 「はい。」と言った。'
    joined = "".join(s.split_sentences(text))
    assert joined.replace(" ", "") == text.replace(" ", "")


@pytest.mark.paper("dreamlip", shows="V", case="every sentence as likely (chi-square), the last one too")
def test_every_sentence_is_as_likely_the_last_included():
    """The released sampler draws from range(len - 1): its last sentence never comes, one sentence alone crashes."""
    counts: Counter = Counter()
    for e in range(4000):
        texts = s.Sentences(k=2)(record(), 0, e).texts
        assert texts[0].kind == "raw"
        counts.update(t.text for t in texts[1:])
    assert set(counts) == {"A kite flies.", "It is red.", "The sky is blue.", "A kite."}
    assert chi_square(counts, 4, 8000) < 16.3
    one = record(texts=[Text("raw"), Text("Just one.", "long")])
    assert [t.text for t in s.Sentences(k=3)(one, 0, 0).texts] == ["raw", "Just one.", "Just one.", "Just one."]


@pytest.mark.paper("dreamlip", shows="V", case="no sentences: the raw text alone, no repeats")
def test_without_sentences_slots_stay_empty():
    texts = s.Sentences(k=2)(record(texts=[Text("raw only")]), 0, 0).texts
    assert [t and t.text for t in texts] == ["raw only", None, None]
    no_raw = s.Sentences(k=1)(record(texts=[Text("Long one.", "long")]), 0, 0)
    assert no_raw.texts[0] is None
    assert no_raw.fallback
    assert [t.text for t in s.Sentences(k=0)(record(), 0, 0).texts] == ["a red kite"]


def test_merged_sentences_and_sources():
    pool = s.Sentences(merge=2, sources=["sv"]).pool(record())
    assert [t.text for t in pool] == ["A kite flies. It is red.", "It is red. The sky is blue."]
    with pytest.raises(UserError, match="merge"):
        s.Sentences(merge=0)


# ---- regions, interleave, tasks ------------------------------------------------------------------------------------


@pytest.mark.paper("grain", shows="V", case="at most five regions, by the detector's score; list marks stripped")
def test_regions():
    regions = [
        RegionText((0, 0, 10, 10), "- a beak", (100, 100), 0.2),
        RegionText((0, 0, 50, 50), "* a wing", (100, 100), 0.9),
        RegionText((5, 5, 5, 50), "nothing", (100, 100), 0.99),
        RegionText((0, 0, 9, 9), " .-", (100, 100), 0.99),
    ]
    got = s.Regions(r=5)(record(regions=regions), 0, 0)
    assert [x.text for x in got.regions] == ["a wing", "a beak"]
    assert [x.text for x in s.Regions(r=5, min_score=0.5)(record(regions=regions), 0, 0).regions] == ["a wing"]
    assert s.Regions().items(record()) == 1


@pytest.mark.paper("cosmo", shows="V", case="similarity >= .24, at most three pictures, sentences by assignment")
def test_interleave():
    doc = s.Document(
        "d",
        images=["i0", None, "i2", "i3"],
        sentences=["zero", "one", "two", "three", "four" * 100],
        match=[(1, 0, 0.3), (0, 0, 0.24), (2, 1, 0.9), (3, 2, 0.239), (3, 3, 0.5), (4, 3, 0.9)],
        lang="en",
    )
    sample = s.Interleave(max_images=3)(doc, 0, 0)
    assert sample.chunks == ((0, ("zero", "one")), (3, ("three", "four" * 100)))
    assert s.Interleave(max_tokens=10)(doc, 0, 0).chunks == ((0, ("zero", "one")), (3, ("three",)))
    drawn = Counter(c[0] for e in range(400) for c in s.Interleave(max_images=1)(doc, 0, e).chunks)
    assert set(drawn) == {0, 3}
    assert abs(drawn[0] - 200) < 40
    assert s.Interleave(min_similarity=2).items(doc) == 0


def tasks() -> Record:
    return Record(
        "t",
        texts=[
            Text("a dog", "raw", "en"),
            Text("ein Hund", "translation", "de", of=0),
            Text("un chien", "translation", "fr", of=0),
            Text("un chien dort", "short", "fr"),
            Text("what is it?", "question", "en"),
            Text("a dog", "answer", "en"),
        ],
    )


def test_task_prefix():
    sampler = s.TaskPrefix()
    got = [sampler(tasks(), 0, 0, k) for k in range(sampler.items(tasks()))]
    assert [(g.task, g.prefix, g.target) for g in got] == [
        ("caption", "caption: ", "a dog"),
        ("translation", "translation: a dog", "ein Hund"),
        ("translation", "translation: a dog", "un chien"),
        ("caption", "caption: ", "un chien dort"),
        ("vqa", "vqa: what is it?", "a dog"),
    ]
    with pytest.raises(UserError, match="'vqa'"):
        s.TaskPrefix({"caption": "", "translation": "", "vqaa": ""})(tasks(), 0, 0, 4)


def test_coverage_lets_nothing_else_through():
    sampler = s.Coverage({"caption": ["en", "de"], "translation": ["de", "fr"]})
    got = [sampler(tasks(), 0, 0, k) for k in range(sampler.items(tasks()))]
    assert Counter((g.task, g.lang) for g in got) == {
        ("caption", "en"): 1,
        ("translation", "de"): 1,
        ("translation", "fr"): 1,
    }
    assert [(g.prefix, g.start) for g in got] == [
        ("caption:", "<en>"),
        ("translation: a dog", "<de>"),
        ("translation: a dog", "<fr>"),
    ]
    with pytest.raises(UserError, match="'caption'"):
        s.Coverage({"captoin": ["en"]})
    with pytest.raises(UserError, match="no prefix for 'en'"):
        s.Coverage({"caption": ["en"]}, prefix={"de": "<de>"})(tasks(), 0, 0)


def test_triples():
    r = Record("q", texts=[Text("q?", "question"), Text("yes", "answer", score=1.0), Text("no", "answer", score=0.0)])
    assert [t and t.text for t in s.Triples(2)(r, 0, 0).texts] == ["q?", "yes", "no", None]
    assert s.Triples().items(tasks()) == 0


# ---- order ---------------------------------------------------------------------------------------------------------


def test_order_does_not_depend_on_arrival():
    ids = [f"i{k}" for k in range(50)]
    assert s.epoch_order(ids, 1, 0) == s.epoch_order(ids[::-1], 1, 0) != s.epoch_order(ids, 1, 1)
    assert sorted(s.epoch_order(ids, 1, 0)) == sorted(ids)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_steps_are_the_same_for_every_number_of_workers(world):
    order = list(range(45))
    parts = [s.batches(order, 8, rank=r, world=world) for r in range(world)]
    assert [[x for p in step for x in p] for step in zip(*parts, strict=True)] == [
        order[i : i + 8] for i in range(0, 40, 8)
    ]
    with pytest.raises(UserError, match="multiple of 3"):
        s.batches(order, 8, world=3)


def test_shares():
    assert s.shares({"en": 1, "zh": 3}) == {"en": 0.25, "zh": 0.75}
    even = s.shares({"en": 1, "zh": 10**6}, temperature=1e9)
    assert even["en"] == pytest.approx(0.5, abs=1e-6)
    assert s.shares({"en": 1, "zh": 9, "th": 5}, {"en": 1, "zh": 1}) == {"en": 0.5, "zh": 0.5}
    with pytest.raises(UserError, match="'sw'"):
        s.shares({"en": 1}, {"en": 1, "sw": 1})  # a language that is absent
    with pytest.raises(UserError, match="Nothing to train on"):
        s.shares({})
    with pytest.raises(UserError, match="temperature"):
        s.shares({"en": 1}, temperature=0)


def test_every_batch_is_balanced_and_small_pools_repeat():
    records = [Record(f"e{i}", texts=[Text("x", lang="en")]) for i in range(90)]
    records += [Record(f"z{i}", texts=[Text("猫", lang="zh")]) for i in range(10)]
    pools = s.language_pools(records)
    order = list(s.mix(pools, s.shares({k: len(v) for k, v in pools.items()}, {"en": 1, "zh": 1}), 0, 0, length=100))
    for i in range(0, 100, 10):
        assert Counter(n for n, _ in order[i : i + 10]) == {"en": 5, "zh": 5}
    chinese = [x for n, x in order if n == "zh"]
    rounds = [chinese[i : i + 10] for i in range(0, 50, 10)]
    assert all(sorted(r) == sorted(pools["zh"]) for r in rounds)
    assert rounds[0] != rounds[1]


@pytest.mark.paper(
    "cosmo",
    shows="V",
    case="7,000 steps: 2 : 1 : 2 : 2; the first loader that is used up ends the epoch",
)
def test_loader_weights_of_cosmo():
    pools = {n: [f"{n}{i}" for i in range(3000)] for n in ("pair", "video", "inter", "intervideo")}
    share = s.shares({n: len(p) for n, p in pools.items()}, {"pair": 2, "video": 1, "inter": 2, "intervideo": 2})
    counts = Counter(n for n, _ in s.mix(pools, share, 0, 0, length=7000))
    assert counts == {"pair": 2000, "video": 1000, "inter": 2000, "intervideo": 2000}
    pools["video"] = pools["video"][:100]
    ended = Counter(n for n, _ in s.mix(pools, share, 0, 0))  # the first loader that is used up ends the epoch
    assert ended["video"] == 100
    assert 600 <= sum(ended.values()) <= 707


@pytest.mark.parametrize("how", ["roundrobin", "balanced"])
@pytest.mark.paper(
    "vl-adapter",
    shows="V",
    case="every batch of every task once an epoch; the order depends on the seed of the epoch",
)
def test_task_batches(how):
    pools = {"vqa": list(range(25)), "caption": list(range(100, 110))}
    steps = s.task_batches(pools, 4, 3, 1, how)
    assert steps == s.task_batches(pools, 4, 3, 1, how) != s.task_batches(pools, 4, 3, 2, how)
    counts = Counter(t for t, _ in steps)
    assert counts == ({"vqa": 7, "caption": 3} if how == "roundrobin" else {"vqa": 3, "caption": 3})
    if how == "roundrobin":
        assert sorted(x for _, b in steps for x in b) == sorted(pools["vqa"] + pools["caption"])
    with pytest.raises(UserError, match="roundrobin"):
        s.task_batches(pools, 4, 0, 0, "robin")


@pytest.mark.parametrize("name", sorted(set(s.SAMPLERS) - {"interleave", "coverage"}))
def test_samplers_repeat_themselves(name):
    import numpy as np

    r = tasks()
    r.texts = [*r.texts, Text("bad", "answer", score=0.0), Text("good", "answer", score=1.0), Text("A b. C d.", "long")]
    r.vectors = {"text": np.zeros((11, 2))}
    r.image, r.pictures, r.regions = (
        b"",
        [b"1", b"2"],
        [RegionText((0, 0, 1, 1), "a wing"), RegionText((0, 0, 1, 1), "b")],
    )
    r.turns = [Turn(picture=0), Turn("what?"), Turn("a wing", learn=True), Turn(picture=1, role="answer")]
    sampler = s.SAMPLERS[name]()
    assert sampler.items(r)
    first = [sampler(r, 5, e) for e in range(8)]
    again = [sampler(r, 5, e) for e in reversed(range(8))][::-1]
    assert first == again


def test_a_coin_s_translation_is_on_the_side_of_what_it_translates():
    texts = [
        Text("a dog", "raw", "en"),
        Text("A dog sleeps on a sofa.", "long", "en", "machine"),
        Text("ein Hund", "translation", "de", "machine", of=0),
        Text("कुत्ता", "translation", "hi", "machine", of=2),  # of a translation
        Text("一只狗在沙发上睡觉。", "translation", "zh", "machine", of=1),
    ]
    r = Record("x", texts=texts)
    seen = {p: {s.Coin(p)(r, 0, e).texts[0].text for e in range(60)} for p in (0.0, 1.0)}
    assert seen[1.0] == {"a dog", "ein Hund", "कुत्ता"}
    assert seen[0.0] == {"A dog sleeps on a sofa.", "一只狗在沙发上睡觉。"}
    turns = [s.Coin(0.5)(r, 0, e).texts[0].text in seen[1.0] for e in range(2000)]
    assert abs(sum(turns) - 1000) < 3 * (2000 / 4) ** 0.5  # fair, though one side has more texts


# ---- tags meet -------------------------------------------------------------------------------------------------------


def test_tags_meet_what_a_row_names():
    """A dataset says zh-Hans and pt-BR, the row zh and pt."""
    r = Record("x", texts=[Text("猫", "raw", "zh-Hans"), Text("um gato", "translation", "pt-BR", of=0)])
    drawn = [s.Translation(weights={"zh": 1.0})(r, 0, e) for e in range(8)]
    assert {(d.lang, d.fallback) for d in drawn} == {("zh-Hans", False)}
    cover = s.Coverage({"caption": ["zh"], "translation": ["pt", "en"]})
    assert cover.items(r) == 2
    assert (cover(r, 0, 0, 0).start, cover(r, 0, 0, 1).start) == ("<zh>", "<pt>")
    assert cover(r, 0, 0, 1).lang == "pt-BR"
    assert s.Coverage({"caption": ["pt"]}).items(r) == 0


def test_languages_of_a_batch_meet_those_of_the_row():
    from panoglot.networks import Data, load_row, make_model

    torch = pytest.importorskip("torch")
    picture = torch.zeros(3, 32, 32).numpy()
    tags = ["zh-Hans", "zh-Hant", "en-GB", "en"]
    records = [Record(f"p{n}", picture, [Text(f"text {n}", "raw", tags[n % 4])]) for n in range(32)]
    row = load_row("clip", "small", batch=8, languages={"weights": {"zh": 1, "en": 1}})
    data = Data(records, make_model(row))
    for step in data.plan(0):
        tags = [data.records[id_].texts[0].lang.partition("-")[0] for id_, _ in step]
        assert Counter(tags) == {"zh": 4, "en": 4}


@pytest.mark.parametrize(
    ("sampler", "kind", "said"),
    [
        (s.Coin(), "raw", "captions by a machine"),
        (s.Coin(), "short", "raw texts"),
        (s.Regions(), "raw", "captions by a machine"),
        (s.Sentences(), "raw", "long captions"),
    ],
)
def test_what_no_record_has_is_said(sampler, kind, said):
    assert sampler.lacks([Record("a", texts=[Text("x", kind)])]).startswith(said)
    assert sampler.lacks([Record("a", texts=[Text("x", kind)]), record("b")]) == ""
