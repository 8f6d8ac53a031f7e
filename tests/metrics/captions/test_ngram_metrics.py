"""BLEU, ROUGE-L, CIDEr against explicit loops, and figures worked by hand."""

from __future__ import annotations

import math
import random
import unicodedata
from collections import Counter

import pytest

from panoglot.errors import UserError
from panoglot.evaluate import bleu, chrf, cider, document_frequencies, rouge_l
from panoglot.metrics.captions.rouge_l import lcs_lengths


def corpus(seed: int, items: int = 40, short: bool = False) -> tuple[list[str], list[list[str]]]:
    draw = random.Random(seed)
    words = "a the cat dog red blue big sits runs on under mat tree and two".split()

    def sentence() -> str:
        return " ".join(draw.choices(words, k=draw.randint(1 if short else 4, 12)))

    return [sentence() for _ in range(items)], [[sentence() for _ in range(draw.randint(1, 5))] for _ in range(items)]


def grams(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = text.split()
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def loop_bleu(preds: list[str], refs: list[list[str]]) -> list[float]:
    correct, guess, size, ref_size = [0] * 4, [0] * 4, 0, 0
    for pred, item in zip(preds, refs):
        length = len(pred.split())
        size += length
        ref_size += min((abs(len(r.split()) - length), len(r.split())) for r in item)[1]
        for n in range(4):
            most: Counter[tuple[str, ...]] = Counter()
            for ref in item:
                most |= grams(ref, n + 1)
            correct[n] += sum((grams(pred, n + 1) & most).values())
            guess[n] += max(length - n, 0)
    brevity = min(1.0, math.exp(1 - ref_size / size))
    values, product = [], 1.0
    for n in range(4):
        product *= (correct[n] + 1e-15) / (guess[n] + 1e-9)
        values.append(product ** (1 / (n + 1)) * brevity)
    return values


def loop_cider(preds: list[str], refs: list[list[str]], plain: bool = False) -> list[float]:
    df: Counter[tuple[str, ...]] = Counter()
    for item in refs:
        df.update({gram for ref in item for n in range(1, 5) for gram in grams(ref, n)})
    scores = []
    for pred, item in zip(preds, refs):
        total = 0.0
        for ref in item:
            for n in range(1, 5):
                idf = {g: math.log(len(refs)) - math.log(max(1, df[g])) for g in grams(pred, n) | grams(ref, n)}
                ours = {g: c * idf[g] for g, c in grams(pred, n).items()}
                theirs = {g: c * idf[g] for g, c in grams(ref, n).items()}
                norm = math.sqrt(sum(v * v for v in ours.values())) * math.sqrt(sum(v * v for v in theirs.values()))
                dot = sum((v if plain else min(v, theirs.get(g, 0))) * theirs.get(g, 0) for g, v in ours.items())
                delta = max(len(pred.split()) - 1, 0) - max(len(ref.split()) - 1, 0)
                total += (dot / norm if norm else 0.0) * (1.0 if plain else math.exp(-(delta**2) / 72))
        scores.append(10 * total / 4 / len(item))
    return scores


def loop_lcs(a: list[str], b: list[str]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("short", [False, True])
def test_equal_to_explicit_loops(seed: int, short: bool) -> None:
    preds, refs = corpus(seed, short=short)
    found = bleu(preds, refs)
    assert list(found.parts.values()) == pytest.approx(loop_bleu(preds, refs), abs=1e-9)
    for n in (0, 17):
        assert found.per_item is not None
        assert found.per_item[n] == pytest.approx(loop_bleu([preds[n]], [refs[n]])[3], abs=1e-9)
    assert cider(preds, refs).per_item == pytest.approx(loop_cider(preds, refs), abs=1e-9)
    assert cider(preds, refs, variant="plain").per_item == pytest.approx(loop_cider(preds, refs, plain=True), abs=1e-9)
    values = []
    for pred, item in zip(preds, refs):
        lengths = [loop_lcs(pred.split(), ref.split()) for ref in item]
        assert lcs_lengths(pred.split(), [ref.split() for ref in item]) == lengths
        p = max(lengths) / len(pred.split())
        r = max(lcs / len(ref.split()) for lcs, ref in zip(lengths, item))
        values.append(2.44 * p * r / (r + 1.44 * p) if p and r else 0.0)
    assert rouge_l(preds, refs).per_item == pytest.approx(values, abs=1e-12)


def test_lcs_longer_than_a_machine_word() -> None:
    draw = random.Random(5)
    a, b = draw.choices("abcdef", k=300), draw.choices("abcdef", k=280)
    assert lcs_lengths(a, [b]) == [loop_lcs(a, b)]


def test_order_of_items_and_ids_changes_nothing() -> None:
    preds, refs = corpus(9)
    by_id = dict(zip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN", zip(preds, refs)))
    one = cider({k: v[0] for k, v in by_id.items()}, {k: v[1] for k, v in by_id.items()}, confidence=0.95)
    back = dict(reversed(by_id.items()))
    other = cider({k: v[0] for k, v in back.items()}, {k: v[1] for k, v in by_id.items()}, confidence=0.95)
    assert one.value == pytest.approx(other.value, abs=1e-12)
    assert (one.interval.low, one.interval.high) == pytest.approx((other.interval.low, other.interval.high), abs=1e-12)
    assert one.interval.low < one.value < one.interval.high


def test_corpus_bleu_interval_holds_the_corpus_value() -> None:
    preds, refs = corpus(11, items=80)
    found = bleu(preds, refs, n=2, confidence=0.95)
    assert found.interval.low < found.value < found.interval.high
    assert bleu(preds, refs, n=2, level="sentence").value == pytest.approx(sum(found.per_item) / 80)


def test_frequencies_of_a_corpus_score_one_item() -> None:
    preds, refs = corpus(3)
    alone = cider(preds[:1], refs[:1])
    assert (alone.value, alone.unscored) == (None, 1)
    assert "frequencies" in alone.notes[0]
    given = document_frequencies(refs)
    assert cider(preds, refs, frequencies=given).per_item == pytest.approx(cider(preds, refs).per_item, abs=1e-9)
    assert cider(preds[:1], refs[:1], frequencies=given).value == pytest.approx(
        cider(preds, refs).per_item[0], abs=1e-9
    )
    with pytest.raises(UserError, match="count them again"):
        cider(preds, refs, frequencies=given, tokenizer="words")


def test_length_unit_differs_for_one_word_captions_only() -> None:
    preds, refs = ["cat", "a dog runs"], [["a red cat sits"], ["a dog runs"]]
    bigrams, words = cider(preds, refs).per_item, cider(preds, refs, length_unit="words").per_item
    assert bigrams == words
    empty = cider(["", "a dog runs"], refs, on_error="score")
    assert empty.per_item[0] == 0.0


def test_captions_and_their_compatibility_form_score_the_same() -> None:
    # น้ำ is written with one character (U+0E33) or two (U+0E4D U+0E32): on the page nobody sees a difference
    preds = ["หมากำลังกินน้ำ", "แมวสองตัวนั่งบนโต๊ะ", "เด็กทำขนม"]
    refs = [["หมาดื่มน้ำ"], ["แมวสองตัวนั่งอยู่บนโต๊ะ"], ["เด็กกำลังทำขนม"]]
    other = [unicodedata.normalize("NFKC", text) for text in preds]
    assert other != preds
    for metric in (cider, bleu, rouge_l, chrf):
        assert metric(other, refs, lang="th").per_item == metric(preds, refs, lang="th").per_item
        assert metric(preds, refs, lang="th").value > 0.1
    scored, raw = (chrf(other, refs, lang="th", letters=flag).value for flag in (True, False))
    assert raw < scored


def test_one_caption_in_another_script_is_counted_and_the_others_are_scored() -> None:
    preds = ["一只红色的猫", "a red cat", "两只狗在跑", "三只鸟"]
    refs = [["一只红猫"], ["一只红猫"], ["两只狗在跑步"], ["三只小鸟"]]
    found = cider(preds, refs, lang="zh")
    assert (found.unscored, found.per_item[1]) == (0, 0.0)
    assert (
        "1 of 4 captions are not written in the script of 'zh' (Hans), scored as they are: 1 ('a red cat')"
        in found.notes[0]
    )
    assert cider(preds, refs, lang="zh", on_error="score").value == found.value
    left = cider(preds, refs, lang="zh", on_error="null")
    assert (left.unscored, left.per_item[1]) == (1, None)
    assert "left unscored: 1 ('a red cat')" in left.notes[0]
    with pytest.raises(UserError, match=r"3 of 4 captions are not written in the script of 'hi' \(Deva\)"):
        cider(["लाल बिल्ली", *preds[1:]], refs, lang="hi")
    assert cider(preds, [[*item, "a cat"] for item in refs], lang="zh").notes[1].startswith("4 of 8 references are not")


def test_nothing_scored_says_why() -> None:
    found = cider(["", ""], [["a cat"], ["a dog"]], on_error="null")
    assert (found.value, found.unscored) == (None, 2)
    assert found.notes == ("nothing could be scored: 2 captions are empty or missing",)


def test_chinese_scores_characters_and_says_so() -> None:
    found = cider(["一只红色的猫", "两只狗在跑"], [["一只红猫"], ["两只狗在跑步"]], lang="zh")
    assert (found.tokenizer, found.language) == ("chars/2", "zh")
    assert found.value > 1


@pytest.mark.parametrize("metric", [bleu, rouge_l, cider])
def test_bad_input_is_named(metric) -> None:
    good = [["a cat sits"], ["a dog runs"], ["a bird flies"]]
    with pytest.raises(UserError, match="2 empty predictions: b, c"):
        metric(["a cat", "", "!"], good, ids=["a", "b", "c"])
    more = [*good, ["a fish swims"]]
    nulls = metric(["a cat sits here", "", None, "a fish"], more, ids=["a", "b", "c", "d"], on_error="null")
    assert (nulls.n, nulls.unscored, nulls.per_item[1:3]) == (4, 2, (None, None))
    assert nulls.per_item[0] > 0
    with pytest.raises(UserError, match="1 items with no or empty references: b"):
        metric(["a cat", "a dog", "x"], [["a"], [], ["b"]], ids=["a", "b", "c"])
    with pytest.raises(UserError, match=r"2 items do not have 2 references: 0 \(1\), 2 \(1\)"):
        metric(["a", "b", "c"], [["a"], ["b", "b"], ["c"]], references=2)
    with pytest.raises(UserError, match="flat list"):
        metric(["a cat"], ["a cat"])
    with pytest.raises(UserError, match="one string"):
        metric("a cat", [["a cat"]])
    with pytest.raises(UserError, match="references for 3 items"):
        metric(["a"], good)
    with pytest.raises(UserError, match="1 predictions have no references: y; 1 references have no prediction: z"):
        metric({"x": "a", "y": "b"}, {"x": ["a"], "z": ["b"]})
    with pytest.raises(UserError, match="1 duplicate ids: x"):
        metric(["a", "b"], [["a"], ["b"]], ids=["x", "x"])
    with pytest.raises(UserError, match="not written in the script"):
        metric(["a cat", "ein Hund"], [["一只猫"], ["一只狗"]], lang="zh")
    with pytest.raises(UserError, match=r"must be a text.*1 \(int\)"):
        metric(["a", 5], [["a"], ["b"]])
