"""METEOR 1.5 without Java: exact words, stems and synonyms, and paraphrases where its table is at hand.

Source: Denkowski and Lavie, WMT 2014 (alpha .85, beta .2, gamma .6, delta .75; weights 1, .6, .8, .6). The alignment,
the `-norm` rules for English and the sums over a corpus are those of the program. With its own resources
(`resources="meteor-1.5.jar"`, `data/paraphrase-en.gz` beside it: pycocoevalcap brings both) every caption's score
equals the program's, and the metric is called `meteor-1.5`. Without them the function words are ours, below, the
synonyms WordNet's, there are no paraphrases, and it is called `meteor-exact-stem-synonym`.
`benchmarks/parity_pycocoevalcap.py` measures both.
"""

from __future__ import annotations

import gzip
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from panoglot.checks import check_option
from panoglot.errors import UserError, require
from panoglot.metrics._declare import Metric
from panoglot.metrics._inputs import Captions, Predictions, References, Tokenised, prepare, with_options
from panoglot.metrics._result import MetricResult
from panoglot.text import Synonyms, synonyms_for

__all__ = ["METEOR_LIKE", "align_words", "meteor_exact_stem_synonym", "normal_words", "read_jar"]

EXACT, STEM, SYNONYM, PARAPHRASE = 1.0, 0.6, 0.8, 0.6
#: Phrase to its paraphrases, as tuples of words.
Paraphrases = Mapping[tuple[str, ...], Sequence[tuple[str, ...]]]
_BEAM = 40

#: Snowball stemmer of each language.
_STEMMERS = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "da": "danish", "nl": "dutch", "en": "english",
    "eo": "esperanto", "et": "estonian", "fi": "finnish", "fr": "french", "de": "german", "el": "greek", "hi": "hindi",
    "hu": "hungarian", "id": "indonesian", "ga": "irish", "it": "italian", "lt": "lithuanian", "ne": "nepali",
    "no": "norwegian", "nb": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian",
    "sr": "serbian", "es": "spanish", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
FUNCTION_WORDS = frozenset(
    """a an the this that these those some any each every no all both another other such and or but nor so yet if than
    as of in on at by to for with from into onto over under up down out off through near about around between behind
    above below across along against before after during while is are was were be been being am do does did has have had
    having can could will would shall should may might must not n't 's 're 've 'm 'd 'll i you he she it we they me him
    her us them my your his its our their who whom whose which what there here when where how very too also""".split()
)


@lru_cache(maxsize=32)
def _stemmer(base: str) -> Callable[[str], str] | None:
    name = _STEMMERS.get(base)
    if name is None:
        return None
    module = require("snowballstemmer", "panoglot[metrics]", "stem matching of METEOR")
    if name not in module.algorithms():
        return None
    stem = module.stemmer(name)
    return lru_cache(maxsize=100_000)(stem.stemWord)


def normal_words(words: Sequence[str]) -> list[str]:
    """What `-norm` makes of English Treebank tokens without punctuation.

    >>> normal_words("the t.v. is n't on a man 's well-made desk at 12:45".split())
    ['the', 'tv', 'is', 'n', "'t", 'on', 'a', 'man', "'", 's', 'well', 'made', 'desk', 'at', '12', ':', '45']
    """
    found: list[str] = []
    for word in words:
        if word.isalnum():
            found.append(word)
            continue
        if word.endswith("."):
            word = word.replace(".", "")
        word = _HYPHEN.sub(r"\1 \2", _SYMBOL.sub(r" \g<0> ", word))
        # inside a word the apostrophe stays with what follows, elsewhere it stands alone
        found += _APOSTROPHE.sub(lambda match: " '" if match[1] is None else " ' ", word).split()
    return found


_SYMBOL = re.compile(r"[^\w.'`,-]")
_HYPHEN = re.compile(r"([^\W_]|\.)-([^\W_]|\.)")  # of two in a row the second stays: bar b-q
_APOSTROPHE = re.compile(r"(?<=[a-z])'(?=[a-z])|(?<=[0-9])'(?=s)|(')")
#: The program's rules of detachment, in its order.
_DETACH = [end.split("/") for end in """s/ ses/s xes/x zes/z ches/ch shes/sh men/man ies/y s/ ies/y es/e es/ ed/e ed/
    ing/e ing/ er/ est/ er/e est/e""".split()]  # fmt: skip


@lru_cache(maxsize=2)
def read_jar(path: str) -> tuple[frozenset[str], Synonyms]:
    """The English function words and the synonyms of `meteor-1.5.jar`.

    Raises:
        UserError: not such a file.
    """
    try:
        with zipfile.ZipFile(path) as jar:
            words, bases, sets = (
                jar.read(name).decode("utf-8").split("\n")
                for name in ("function/english.words", "synonym/english.exceptions", "synonym/english.synsets")
            )
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"resources={path!r} is not meteor-1.5.jar ({error}).") from None
    synsets = {word: frozenset(numbers.split()) for word, numbers in zip(sets[::2], sets[1::2])}
    irregular: dict[str, list[str]] = {}
    for base, forms in zip(bases[::2], bases[1::2]):
        for form in forms.split():
            irregular.setdefault(form, []).append(base)
    none: frozenset[str] = frozenset()

    @lru_cache(maxsize=65536)
    def numbers_of(word: str) -> frozenset[str]:
        roots = irregular.get(word, [])
        if not roots and len(word) > 2 and not word.endswith("ss"):
            forms = (word[: -len(end)] + base for end, base in _DETACH if word.endswith(end))
            roots = [next((form for form in forms if form != word and form in synsets), "")]
        return synsets.get(word, none).union(*(synsets.get(root, none) for root in roots))

    return frozenset(words), lambda one, other: not numbers_of(one).isdisjoint(numbers_of(other))


def read_paraphrases(path: Path, vocabulary: Collection[str]) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    """The part of METEOR's paraphrase table whose phrases are of the given words: three lines a pair, in its order."""
    found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    known = set(vocabulary)
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            while file.readline():
                one, other = file.readline().split(), file.readline().split()
                if known.issuperset(one) and known.issuperset(other):
                    found.setdefault(tuple(one), []).append(tuple(other))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not METEOR's paraphrase table ({error}).") from None
    return found


class Match(NamedTuple):
    """Words of the first text (from `at`, `size` of them) that stand for words of the second one."""

    at: int
    other: int
    weight: float
    size: int = 1
    other_size: int = 1


def align_words(
    words: Sequence[str],
    others: Sequence[str],
    stem: Callable[[str], str] | None = None,
    synonyms: Synonyms | None = None,
    paraphrases: Paraphrases | None = None,
) -> list[Match]:
    """Align two texts one to one, as the Java program does: a beam over the second text, left to right.

    Words with one possible partner that nobody else wants are matched at once. Of the others, the most *exact* matches
    win, then the fewest chunks, then the least distance: the program counts half matches in whole numbers, so a stem, a
    synonym or a paraphrase of one word is taken only where it breaks no chunk.

    Returns:
        Matches, by position in `words`.

    >>> [(m.at, m.other) for m in align_words("on the mat sat the cat".split(), "the cat sat on the mat".split())]
    [(0, 3), (1, 4), (2, 5), (3, 2), (4, 0), (5, 1)]
    """
    places: dict[str, list[int]] = {}
    for at, word in enumerate(words):
        places.setdefault(word, []).append(at)
    choices = [[Match(at, n, EXACT) for at in places.get(other, ())] for n, other in enumerate(others)]
    if list(words) != list(others):
        if stem:
            bases = [stem(word) for word in words]
            for n, other in enumerate(others):
                base = stem(other)
                same = (at for at, mine in enumerate(bases) if mine == base and words[at] != other)
                choices[n] += [Match(at, n, STEM) for at in same]
        if synonyms:
            for n, other in enumerate(others):
                alike = (at for at, word in enumerate(words) if word != other and synonyms(word, other))
                choices[n] += [Match(at, n, SYNONYM) for at in alike]
        if paraphrases:
            for n, size, at, length in _phrases(others, words, paraphrases):
                choices[n].append(Match(at, n, PARAPHRASE, length, size))
            for at, length, n, size in _phrases(words, others, paraphrases):
                choices[n].append(Match(at, n, PARAPHRASE, length, size))
    wanted, offered = [0] * len(words), [0] * len(others)
    for match in (match for found in choices for match in found):
        for k in range(match.size):
            wanted[match.at + k] += 1
        for k in range(match.other_size):
            offered[match.other + k] += 1
    sure = [
        found[0]
        if len(found) == 1
        and all(wanted[found[0].at + k] == 1 for k in range(found[0].size))
        and all(offered[found[0].other + k] == 1 for k in range(found[0].other_size))
        else None
        for found in choices
    ]
    picks = sure if all(match or not found for match, found in zip(sure, choices)) else _beam(choices, sure)
    return sorted(match for match in picks if match)


def _phrases(texts: Sequence[str], others: Sequence[str], table: Paraphrases) -> Iterator[tuple[int, int, int, int]]:
    """Phrases of one text with a paraphrase in the other: start, size, start there, size there."""
    places: dict[str, list[int]] = {}
    for at, word in enumerate(others):
        places.setdefault(word, []).append(at)
    for n in range(len(texts)):
        for size in range(1, len(texts) - n + 1):
            phrase = tuple(texts[n : n + size])
            if phrase not in table:
                continue
            for other in table[phrase]:
                for at in places.get(other[0], ()) if other else ():
                    if tuple(others[at : at + len(other)]) == other:
                        yield n, size, at, len(other)


def _mask(at: int, size: int) -> int:
    return ((1 << size) - 1) << at


def _beam(choices: list[list[Match]], sure: list[Match | None]) -> list[Match | None]:
    """The best matches, by where they begin in the second text."""
    start = sum(_mask(match.at, match.size) for match in sure if match)
    other_start = sum(_mask(match.other, match.other_size) for match in sure if match)
    # a path: -(matched words, halves cut off), chunks, distance, where the last match ended (-1: not adjacent), used
    # words of both texts, where it goes on, matches
    paths: list[tuple[int, int, int, int, int, int, int, tuple[Match | None, ...]]]
    paths = [(0, 0, 0, -1, start, other_start, 0, ())]
    for n, found in enumerate(choices):
        grown = []
        for score, chunks, distance, end, used, theirs, go, picks in sorted(paths, key=lambda path: path[:3])[:_BEAM]:
            if go > n:  # inside a phrase
                grown.append((score, chunks, distance, end, used, theirs, go, (*picks, None)))
                continue
            fixed = sure[n]
            taken = fixed is None and theirs >> n & 1  # by a phrase that cannot be reached any more
            for match in () if taken else (fixed,) if fixed else found:
                at, _, weight, size, other_size = match
                mine, its = _mask(at, size), _mask(n, other_size)
                if fixed is None and (used & mine or theirs & its):
                    continue
                own = distance + abs(n - at)
                worth = 2 if weight == EXACT else size // 2 + other_size // 2
                grown.append(
                    (score - worth, chunks + (end not in (-1, at)), own if fixed else distance, at + size,
                     used | mine, theirs | its, n + other_size, (*picks, match))
                )  # fmt: skip
                distance = own  # the program adds a match's distance to the paths that come after it, not to its own
            if fixed is None and not taken:
                grown.append((score, chunks + (end != -1), distance, -1, used, theirs, n + 1, (*picks, None)))
        paths = grown
    # the last chunk is closed after the beam was cut
    paths = sorted(paths, key=lambda path: path[:3])[:_BEAM]
    return list(min(paths, key=lambda path: (path[0], path[1] + (path[3] != -1), path[2]))[7])


def _statistics(pairs: list[Match], words: Sequence[str], others: Sequence[str], content: Any) -> list[float]:
    """What adds up over a corpus: weighted matches and lengths (content, function) of both sides, chunks, matches."""
    ours, theirs = [content(word) for word in words], [content(word) for word in others]
    row = [0.0] * 4
    mine = yours = 0
    for at, other, weight, size, other_size in pairs:
        for k in range(size):
            row[0 if ours[at + k] else 1] += weight
        for k in range(other_size):
            row[2 if theirs[other + k] else 3] += weight
        mine, yours = mine + size, yours + other_size
    chunks, last, before = 0, -1, -1
    for match in sorted(pairs, key=lambda match: match.other):
        chunks += match.at != last or match.other != before
        last, before = match.at + match.size, match.other + match.other_size
    lengths = [sum(ours), len(ours) - sum(ours), sum(theirs), len(theirs) - sum(theirs)]
    whole = chunks == 1 and mine == len(words) and yours == len(others)
    return [*row, *map(float, lengths), 0.0 if whole else float(chunks), (mine + yours) / 2]


def _score(row: Any, alpha: float, beta: float, gamma: float, delta: float) -> float:
    share = (delta, 1 - delta)
    size = [share[0] * row[4] + share[1] * row[5], share[0] * row[6] + share[1] * row[7]]
    if min(size) <= 0 or row[9] <= 0:
        return 0.0
    precision = (share[0] * row[0] + share[1] * row[1]) / size[0]
    recall = (share[0] * row[2] + share[1] * row[3]) / size[1]
    mean = precision * recall / (alpha * precision + (1 - alpha) * recall)
    return float(mean * (1 - gamma * (row[8] / row[9]) ** beta))


def _resources(
    base: str, resources: str | None, synonyms: str | Synonyms
) -> tuple[frozenset[str], str, Synonyms | None, str, Path | None, tuple[str, ...]]:
    """Function words and whose they are, synonyms and whose they are, the table of paraphrases, and notes."""
    functions, named = frozenset[str](), "none"
    table: Path | None = None
    notes: tuple[str, ...] = ()
    same, used = (synonyms, "custom") if callable(synonyms) else (None, "none")
    if base == "en":
        functions, named = FUNCTION_WORDS, "panoglot-1"
        jar = resources or os.environ.get("PANOGLOT_METEOR")
        if jar:
            functions, theirs = read_jar(jar)
            named = "meteor-1.5"
        if jar and synonyms == "auto":
            same, used = theirs, "meteor-1.5"
            table = Path(jar).with_name("data") / "paraphrase-en.gz"
            table = table if table.is_file() else None
        else:
            same, used, notes = synonyms_for(synonyms)
    return functions, named, same, used, table, notes


def _read_captions(
    given: Captions, base: str, table: Path | None
) -> tuple[list[list[str]], list[list[list[str]]], Paraphrases | None]:
    """The words of predictions and references as the program reads them, and the paraphrases among them."""
    normal: Callable[[Sequence[str]], list[str]] = normal_words if base == "en" else list
    mine, theirs = [normal(words) for words in given.preds], [[normal(words) for words in item] for item in given.refs]
    phrases: Paraphrases | None = None
    if table is not None:
        phrases = read_paraphrases(
            table, {w for words in (*mine, *(r for item in theirs for r in item)) for w in words}
        )
    return mine, theirs, phrases


@with_options
def meteor_exact_stem_synonym(
    preds: Predictions,
    refs: References,
    *,
    synonyms: str | Synonyms = "auto",
    resources: str | None = None,
    alpha: float = 0.85,
    beta: float = 0.2,
    gamma: float = 0.6,
    delta: float = 0.75,
    level: str = "corpus",
    **how: Unpack[Tokenised],
) -> MetricResult:
    """METEOR, without paraphrases unless `resources` has them; the best reference counts.

    Args:
        preds: a caption for each item.
        refs: references of each item.
        synonyms: `auto`, `wordnet`, `none`, or a function of two words.
        resources: path of `meteor-1.5.jar`, for its English function words and (with `synonyms="auto"`) synonyms, and
            the paraphrases in `data/paraphrase-en.gz` beside it; None looks at the environment variable
            PANOGLOT_METEOR.
        alpha: weight of precision against recall.
        beta: shape of the fragmentation penalty.
        gamma: height of the penalty.
        delta: weight of content words against function words.
        level: `corpus` (statistics are summed, as the Java program ends) or `sentence` (mean of the item values).
        **how: language, tokeniser, ids, empty captions, interval: see `Tokenised`.

    Raises:
        UserError: bad input, naming the first offenders; WordNet asked for and absent.

    >>> result = meteor_exact_stem_synonym(["cats sleep"], [["a cat sleeps"]], synonyms="none")
    >>> round(result.value, 4)
    0.251
    """
    import numpy as np

    check_option("level", level, ("corpus", "sentence"))
    if not (0 <= alpha <= 1 and 0 <= delta <= 1 and 0 <= gamma <= 1 and beta >= 0):
        raise UserError("METEOR needs alpha, gamma, delta in 0..1 and beta >= 0.")
    given = prepare(preds, refs, **how)
    base = given.language.split("-")[0]
    stem = _stemmer(base)
    functions, named, same, used, table, notes = _resources(base, resources, synonyms)
    same = lru_cache(maxsize=1_000_000)(same) if same else None
    weights = (alpha, beta, gamma, delta)

    def content(word: str) -> bool:
        return word not in functions

    mine, theirs, phrases = _read_captions(given, base, table)
    rows, values = [], []
    for words, item in zip(mine, theirs):
        best, score = [0.0] * 10, -1.0
        for others in item:
            row = _statistics(align_words(words, others, stem, same, phrases), words, others, content)
            value = _score(row, *weights)
            if value > score:
                best, score = row, value
        rows.append(best)
        values.append(score)
    sums = np.array(rows, dtype=np.float64).reshape(-1, 10)
    final = None
    if len(sums):
        final = _score(sums.sum(axis=0), *weights) if level == "corpus" else float(np.mean(values))
    corpus = level == "corpus"
    if phrases is None:
        notes = (*notes, "METEOR without its paraphrase table: not the figure of the Java program.")
    return given.corpus(
        "meteor-exact-stem-synonym" if phrases is None else "meteor-1.5",
        final,
        values,
        {
            "alpha": alpha, "beta": beta, "gamma": gamma, "delta": delta, "level": level, "synonyms": used,
            "stemmer": f"snowball-{_STEMMERS[base]}" if stem else "none", "function_words": named,
        },
        statistics=sums if corpus else np.array(values),
        reduce=(lambda means: np.array([_score(row, *weights) for row in means])) if corpus else None,
        version="2",
        notes=notes,
    )  # fmt: skip


METEOR_LIKE = Metric(
    "meteor-like", meteor_exact_stem_synonym,
    "METEOR 1.5 with exact words, stems and synonyms; with paraphrases where PANOGLOT_METEOR names its jar",
    needs="refs", languages="all; stems in 32, synonyms and paraphrases in English",
    source="Denkowski and Lavie, WMT 2014",
    parity="with its jar and paraphrase table equal to the Java program to 1e-9; see docs/evaluate.md",
)  # fmt: skip
