from __future__ import annotations

import gzip
import itertools
import random
import zipfile

import pytest

from panoglot.errors import UserError
from panoglot.evaluate import caption_length, chrf, distinct_n, meteor_exact_stem_synonym, readability, self_bleu
from panoglot.metrics.captions.meteor import align_words


def loop_alignment(words: list[str], others: list[str]) -> tuple[int, int]:
    """Most matches, then fewest chunks, over every one-to-one alignment of equal words."""
    best = (0, 0)
    options = [[None, *[at for at, other in enumerate(others) if other == word]] for word in words]
    for choice in itertools.product(*options):
        used = [at for at in choice if at is not None]
        if len(set(used)) < len(used):
            continue
        chunks, last = 0, (-2, -2)
        for n, at in enumerate(choice):
            if at is not None:
                chunks += last != (n - 1, at - 1)
                last = (n, at)
        best = min(best, (-len(used), chunks))
    return -best[0], best[1]


@pytest.mark.parametrize("seed", range(30))
def test_alignment_is_the_best_of_all(seed: int) -> None:
    draw = random.Random(seed)
    words, others = draw.choices("abcd", k=draw.randint(1, 6)), draw.choices("abcde", k=draw.randint(1, 7))
    pairs = align_words(words, others)
    chunks, last = 0, (-2, -2)
    for n, at, _, _, _ in pairs:
        assert words[n] == others[at]
        chunks += last != (n - 1, at - 1)
        last = (n, at)
    assert (len(pairs), chunks) == loop_alignment(words, others)


def test_meteor_by_hand() -> None:
    def run(pred: str, ref: str) -> float:
        return float(meteor_exact_stem_synonym([pred], [[ref]], synonyms="none"))

    assert run("a red cat", "a red cat") == 1.0
    assert run("dog", "cat") == 0.0
    # two content words matched by stem (0.6) of two and two, with one function word in the reference
    p, r = 0.6, 0.75 * 1.2 / (0.75 * 2 + 0.25)
    mean = p * r / (0.85 * p + 0.15 * r)
    assert run("cats sleep", "a cat sleeps") == pytest.approx(mean * (1 - 0.6 * 0.5**0.2))
    # exact words in two chunks
    assert run("cat black", "black cat") == pytest.approx(1 - 0.6 * 1.0)


def test_meteor_synonyms_and_best_reference() -> None:
    def same(one: str, other: str) -> bool:
        return {one, other} == {"car", "automobile"}

    found = meteor_exact_stem_synonym(["red car"], [["blue boat", "red automobile"]], synonyms=same)
    assert found.value == pytest.approx(0.9)  # (1 + 0.8) / 2, one chunk and everything matched
    assert found.metric == "meteor-exact-stem-synonym"
    assert "without its paraphrase table" in found.notes[-1]


def test_meteor_aligns_as_the_program_does() -> None:
    # a stem match that would break a chunk is left out unless nobody else wants either word
    stems = {"running": "run", "runs": "run"}.get
    pairs = align_words("a dog runs a mile".split(), "running a dog a".split(), lambda word: stems(word, word))
    assert [match[:3] for match in pairs] == [(0, 1, 1.0), (1, 2, 1.0), (2, 0, 0.6), (3, 3, 1.0)]
    twice = align_words("the dog runs the running man".split(), "runs x the dog".split(), lambda w: stems(w, w))
    assert (2, 0, 1.0) in [match[:3] for match in twice]
    assert 4 not in [match.at for match in twice]
    same = align_words(["b", "x", "b"], ["b", "x", "b"], synonyms=lambda a, b: True)
    assert [match[:3] for match in same] == [(n, n, 1.0) for n in range(3)]


def test_meteor_matches_phrases() -> None:
    table = {("in", "front", "of"): [("before",)], ("man",): [("guy",), ("male", "person")]}
    found = align_words(
        "a man stands in front of it".split(), "a male person stands before it".split(), None, None, table
    )
    assert [tuple(match) for match in found] == [
        (0, 0, 1.0, 1, 1), (1, 1, 0.6, 1, 2), (2, 3, 1.0, 1, 1), (3, 4, 0.6, 3, 1), (6, 5, 1.0, 1, 1),
    ]  # fmt: skip
    back = align_words(
        "a male person stands before it".split(), "a man stands in front of it".split(), None, None, table
    )
    assert [(m.other, m.at, m.weight, m.other_size, m.size) for m in back] == [tuple(match) for match in found]
    # of overlapping phrases one is taken
    clash = {("a", "b"): [("x",)], ("b", "c"): [("y",)]}
    assert len(align_words("a b c".split(), "x y".split(), None, None, clash)) == 1


@pytest.fixture
def jar(tmp_path):
    """A file in the form of meteor-1.5.jar, with words of our own."""
    path = tmp_path / "meteor-1.5.jar"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("function/english.words", "the\na\n")
        file.writestr("synonym/english.exceptions", "mouse\nmice\n")
        file.writestr("synonym/english.synsets", "mouse\n1 2\nrodent\n2\ncar\n3\nauto\n3\n")
    return str(path)


def test_meteor_with_the_programs_own_words(jar, monkeypatch, tmp_path) -> None:
    found = meteor_exact_stem_synonym(["the mice"], [["the rodent"]], resources=jar)
    assert found.options["synonyms"] == found.options["function_words"] == "meteor-1.5"
    assert found.value == pytest.approx((0.75 * 0.8 + 0.25) / 1)
    monkeypatch.setenv("PANOGLOT_METEOR", jar)
    assert meteor_exact_stem_synonym(["the autos"], [["the car"]]).value == pytest.approx(0.75 * 0.8 + 0.25)
    assert meteor_exact_stem_synonym(["a"], [["a"]], lang="de").options["function_words"] == "none"
    table = tmp_path / "data" / "paraphrase-en.gz"
    table.parent.mkdir()
    table.write_bytes(gzip.compress(b"0.5\na lot of\nmany\n0.5\nunheard\nof\n"))
    found = meteor_exact_stem_synonym(["a lot of autos"], [["many autos"]])
    assert found.metric == "meteor-1.5"
    assert not found.notes
    # a (function), lot, of, autos against many, autos: .6 for the phrase on both sides, and all is one chunk
    p, r = (0.6 * (0.25 + 2 * 0.75) + 0.75) / (0.25 + 3 * 0.75), (0.6 + 1) / 2
    mean = p * r / (0.85 * p + 0.15 * r)
    assert found.value == pytest.approx(mean)
    table.write_bytes(b"not gzip")
    with pytest.raises(UserError, match="not METEOR's paraphrase table"):
        meteor_exact_stem_synonym(["a"], [["b"]])
    monkeypatch.delenv("PANOGLOT_METEOR")
    with pytest.raises(UserError, match=r"not meteor-1\.5\.jar"):
        meteor_exact_stem_synonym(["a"], [["a"]], resources=__file__)


def test_meteor_stems_in_german_and_corpus_is_not_the_mean() -> None:
    found = meteor_exact_stem_synonym(["zwei Katzen schlafen"], [["zwei Katze schlafen"]], lang="de")
    assert found.options["stemmer"] == "snowball-german"
    assert found.value == pytest.approx((1 + 0.6 + 1) / 3)
    two = [["a b c d"], ["x"]]
    corpus = meteor_exact_stem_synonym(["a b c d", "y"], two, lang="de", tokenizer="whitespace")
    mean = meteor_exact_stem_synonym(["a b c d", "y"], two, lang="de", tokenizer="whitespace", level="sentence")
    assert mean.value == 0.5
    assert corpus.value != mean.value
    with pytest.raises(UserError, match="alpha"):
        meteor_exact_stem_synonym(["a"], [["a"]], alpha=2)


def test_chrf_equals_sacrebleu_also_with_ragged_references() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    preds = ["die Katze schläft", "zwei Hunde rennen", "ein Vogel"]
    refs = [["eine Katze schläft", "die Katze"], ["zwei Hunde laufen", "Hunde"], ["ein Vogel fliegt", "Vögel"]]
    expected = sacrebleu.corpus_chrf(preds, [list(column) for column in zip(*refs)]).score
    assert chrf(preds, refs, lang="de").value == pytest.approx(expected)
    ragged = [refs[0], refs[1][:1], refs[2]]
    each = [sacrebleu.sentence_chrf(pred, item).score for pred, item in zip(preds, ragged)]
    found = chrf(preds, ragged, lang="de", confidence=0.9)
    assert list(found.per_item) == pytest.approx(each)
    assert found.interval.low <= found.value <= found.interval.high
    assert chrf(preds, refs, lang="de", word_order=2).metric == "chrf++"


def test_distinct_n_and_self_bleu() -> None:
    found = distinct_n(["a b a b", "a b"], n=2)
    assert found.parts == {"distinct1": 2 / 6, "distinct2": 2 / 4, "distinct_captions": 1.0}
    assert distinct_n(["a"], n=2).value is None
    grouped = self_bleu(["a b c d", "a b c d", "x y z w", "q"], groups=["i", "i", "j", "k"])
    assert grouped.per_item[0] == pytest.approx(1)
    assert grouped.per_item[2:] == (None, None)  # alone in their groups
    assert grouped.unscored == 2
    many = [f"caption number {n} of many" for n in range(30)]
    one, other = self_bleu(many, sample=10), self_bleu(many[::-1], ids=list(range(30))[::-1], sample=10)
    assert sum(value is not None for value in one.per_item) == 10
    assert one.value == pytest.approx(other.value)


def test_length_and_readability() -> None:
    found = caption_length(["One two three. Four!", "五只猫" * 0 + "Five"])
    assert (found.value, found.parts["sentences"], found.parts["longest"]) == (2.5, 1.5, 4.0)
    assert caption_length(["红色的猫"], lang="zh").value == 4
    assert readability(["Die außergewöhnliche Katze schläft."], lang="de").value == pytest.approx(4 + 100 * 2 / 4)
    with pytest.raises(UserError, match="'th' does not write"):
        readability(["จิงโจ้"], lang="th")
