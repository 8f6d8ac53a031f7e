"""METEOR 1.5 with exact, stem and synonym matches, without Java and without the paraphrase table. Hence the name.

Source: Denkowski and Lavie, WMT 2014 (alpha .85, beta .2, gamma .6, delta .75; weights 1, .6, .8). The alignment, the
`-norm` rules for English and the sums over a corpus are those of the program: with its own function words and synonyms
(`resources="meteor-1.5.jar"`, which pycocoevalcap brings) every item's score equals what it prints for the modules
"exact stem synonym". Without the jar the function words are ours, below, and the synonyms WordNet's.
`benchmarks/parity_pycocoevalcap.py` measures both, and what the missing paraphrases cost.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from panoglot.errors import UserError, require
from panoglot.evaluate._check import check_option
from panoglot.evaluate._result import MetricResult
from panoglot.evaluate._wordnet import Synonyms, synonyms_for
from panoglot.evaluate.captions._inputs import OnEmpty, Predictions, References, prepare

__all__ = ["align_words", "meteor_exact_stem_synonym", "normal_words", "read_jar"]

EXACT, STEM, SYNONYM = 1.0, 0.6, 0.8
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


def align_words(
    words: Sequence[str],
    others: Sequence[str],
    stem: Callable[[str], str] | None = None,
    synonyms: Synonyms | None = None,
) -> list[tuple[int, int, float]]:
    """Align two texts one to one, as the Java program does: a beam over the second text, left to right.

    Words with one possible partner that nobody else wants are matched at once. Of the others, the most *exact* matches
    win, then the fewest chunks, then the least distance: the program counts matches in whole numbers, so a stem or a
    synonym is taken only where it breaks no chunk.

    Returns:
        (position in `words`, position in `others`, weight of the match), by position in `words`.

    >>> align_words("on the mat sat the cat".split(), "the cat sat on the mat".split())
    [(0, 3, 1.0), (1, 4, 1.0), (2, 5, 1.0), (3, 2, 1.0), (4, 0, 1.0), (5, 1, 1.0)]
    """
    places: dict[str, list[int]] = {}
    for at, word in enumerate(words):
        places.setdefault(word, []).append(at)
    choices = [[(at, EXACT) for at in places.get(other, ())] for other in others]
    if list(words) != list(others):
        if stem:
            bases = [stem(word) for word in words]
            for found, other in zip(choices, others):
                base = stem(other)
                found += [(at, STEM) for at, mine in enumerate(bases) if mine == base and words[at] != other]
        if synonyms:
            for found, other in zip(choices, others):
                found += [(at, SYNONYM) for at, word in enumerate(words) if word != other and synonyms(word, other)]
    wanted = [0] * len(words)
    for found in choices:
        for at, _ in found:
            wanted[at] += 1
    sure = [found[0] if len(found) == 1 and wanted[found[0][0]] == 1 else None for found in choices]
    picks = sure if all(match or not found for match, found in zip(sure, choices)) else _beam(choices, sure)
    return sorted((match[0], n, match[1]) for n, match in enumerate(picks) if match)


_Pick = tuple[int, float] | None


def _beam(choices: list[list[tuple[int, float]]], sure: list[_Pick]) -> list[_Pick]:
    """The best partner of each word of the second text."""
    start = sum(1 << match[0] for match in sure if match)
    # state: -exact matches, chunks, distance, where the last match ended (-1: not adjacent), used words, partners
    paths: list[tuple[int, int, int, int, int, tuple[_Pick, ...]]] = [(0, 0, 0, -1, start, ())]
    for n, found in enumerate(choices):
        grown = []
        for exact, chunks, distance, end, used, picks in sorted(paths, key=lambda path: path[:3])[:_BEAM]:
            fixed = sure[n]
            for match in [fixed] if fixed else found:
                at, weight = match
                if fixed is None and used >> at & 1:
                    continue
                own = distance + abs(n - at)
                grown.append(
                    (exact - (weight == EXACT), chunks + (end not in (-1, at)), own if fixed else distance, at + 1,
                     used | 1 << at, (*picks, match))
                )  # fmt: skip
                distance = own  # the program adds a match's distance to the paths that come after it, not to its own
            if fixed is None:
                grown.append((exact, chunks + (end != -1), distance, -1, used, (*picks, None)))
        paths = grown
    # the last chunk is closed after the beam was cut
    paths = sorted(paths, key=lambda path: path[:3])[:_BEAM]
    return list(min(paths, key=lambda path: (path[0], path[1] + (path[3] != -1), path[2]))[5])


def _statistics(
    pairs: list[tuple[int, int, float]], words: Sequence[str], others: Sequence[str], content: Any
) -> list[float]:
    """What adds up over a corpus: weighted matches and lengths (content, function) of both sides, chunks, matches."""
    ours, theirs = [content(word) for word in words], [content(word) for word in others]
    row = [0.0] * 4
    chunks, last = 0, (-2, -2)
    for n, at, weight in pairs:
        row[0 if ours[n] else 1] += weight
        row[2 if theirs[at] else 3] += weight
        chunks += last != (n - 1, at - 1)
        last = (n, at)
    lengths = [sum(ours), len(ours) - sum(ours), sum(theirs), len(theirs) - sum(theirs)]
    whole = chunks == 1 and len(pairs) == len(words) == len(others)
    return [*row, *map(float, lengths), 0.0 if whole else float(chunks), float(len(pairs))]


def _score(row: Any, alpha: float, beta: float, gamma: float, delta: float) -> float:
    share = (delta, 1 - delta)
    size = [share[0] * row[4] + share[1] * row[5], share[0] * row[6] + share[1] * row[7]]
    if min(size) <= 0 or row[9] <= 0:
        return 0.0
    precision = (share[0] * row[0] + share[1] * row[1]) / size[0]
    recall = (share[0] * row[2] + share[1] * row[3]) / size[1]
    mean = precision * recall / (alpha * precision + (1 - alpha) * recall)
    return float(mean * (1 - gamma * (row[8] / row[9]) ** beta))


def meteor_exact_stem_synonym(
    preds: Predictions,
    refs: References,
    *,
    lang: str | Sequence[str] = "en",
    tokenizer: str | Callable[[str], list[str]] | None = None,
    ids: Sequence[Any] | None = None,
    synonyms: str | Synonyms = "auto",
    resources: str | None = None,
    alpha: float = 0.85,
    beta: float = 0.2,
    gamma: float = 0.6,
    delta: float = 0.75,
    level: str = "corpus",
    references: int | None = None,
    on_error: OnEmpty = "raise",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """METEOR without paraphrases; the best reference counts.

    Args:
        preds: a caption for each item.
        refs: references of each item.
        lang: language of all captions; stems where Snowball has the language, synonyms and function words in English.
        tokenizer: name, function, or None for the language's default.
        ids: item ids.
        synonyms: `auto`, `wordnet`, `none`, or a function of two words.
        resources: path of `meteor-1.5.jar`, for its English function words and (with `synonyms="auto"`) synonyms; None
            looks at the environment variable PANOGLOT_METEOR.
        alpha: weight of precision against recall.
        beta: shape of the fragmentation penalty.
        gamma: height of the penalty.
        delta: weight of content words against function words.
        level: `corpus` (statistics are summed, as the Java program ends) or `sentence` (mean of the item values).
        references: number of references every item must have.
        on_error: what empty captions do: `raise`, `null`, `score`.
        confidence: level of a bootstrap interval.
        resamples: of the interval.
        seed: of the interval.

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
    given = prepare(
        preds, refs, lang=lang, tokenizer=tokenizer, ids=ids, references=references, on_error=on_error,
        confidence=confidence, resamples=resamples, seed=seed,
    )  # fmt: skip
    base = given.language.split("-")[0]
    stem = _stemmer(base)
    functions, named = frozenset[str](), "none"
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
        else:
            same, used, notes = synonyms_for(synonyms)
    same = lru_cache(maxsize=1_000_000)(same) if same else None
    weights = (alpha, beta, gamma, delta)

    def content(word: str) -> bool:
        return word not in functions

    normal: Callable[[Sequence[str]], list[str]] = normal_words if base == "en" else list
    rows, values = [], []
    for words, item in zip(map(normal, given.preds), (map(normal, item) for item in given.refs)):
        best, score = [0.0] * 10, -1.0
        for others in item:
            row = _statistics(align_words(words, others, stem, same), words, others, content)
            value = _score(row, *weights)
            if value > score:
                best, score = row, value
        rows.append(best)
        values.append(score)
    table = np.array(rows, dtype=np.float64).reshape(-1, 10)
    final = None
    if len(table):
        final = _score(table.sum(axis=0), *weights) if level == "corpus" else float(np.mean(values))
    corpus = level == "corpus"
    return given.corpus(
        "meteor-exact-stem-synonym",
        final,
        values,
        {
            "alpha": alpha, "beta": beta, "gamma": gamma, "delta": delta, "level": level, "synonyms": used,
            "stemmer": f"snowball-{_STEMMERS[base]}" if stem else "none", "function_words": named,
        },
        statistics=table if corpus else np.array(values),
        reduce=(lambda means: np.array([_score(row, *weights) for row in means])) if corpus else None,
        version="2",
        notes=(*notes, "METEOR without its paraphrase table: not the figure of the Java program."),
    )  # fmt: skip
