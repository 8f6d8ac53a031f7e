"""METEOR's alignment and score with exact, stem and synonym matches: not the Java METEOR.

Source: Denkowski and Lavie, WMT 2014 (version 1.5: alpha .85, beta .2, gamma .6, delta .75; weights 1, .6, .8). Missing
against the Java program: its paraphrase table and its own list of function words (ours is below), so figures differ;
`benchmarks/parity_pycocoevalcap.py` measures by how much. Hence the name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from panoglot.errors import UserError, require
from panoglot.evaluate._check import check_option
from panoglot.evaluate._result import MetricResult, bootstrap
from panoglot.evaluate._wordnet import Synonyms, synonyms_for
from panoglot.evaluate.captions._inputs import OnEmpty, Predictions, References, prepare

__all__ = ["align_words", "meteor_exact_stem_synonym"]

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
_FUNCTION_WORDS = frozenset(
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


def align_words(
    words: Sequence[str],
    others: Sequence[str],
    stem: Callable[[str], str] | None = None,
    synonyms: Synonyms | None = None,
) -> list[tuple[int, int, float]]:
    """Align two texts one to one: most matches first, then fewest chunks, then least crossing.

    Returns:
        (position in `words`, position in `others`, weight of the match), by position.

    >>> align_words("on the mat sat the cat".split(), "the cat sat on the mat".split())
    [(0, 3, 1.0), (1, 4, 1.0), (2, 5, 1.0), (3, 2, 1.0), (4, 0, 1.0), (5, 1, 1.0)]
    """
    stems = [stem(word) for word in others] if stem else []
    choices: list[list[tuple[int, float]]] = []
    for word in words:
        base = stem(word) if stem else ""
        found = []
        for at, other in enumerate(others):
            if word == other:
                found.append((at, EXACT))
            elif stem and base == stems[at]:
                found.append((at, STEM))
            elif synonyms and synonyms(word, other):
                found.append((at, SYNONYM))
        choices.append(found)
    if all(len(found) < 2 for found in choices):
        taken = [found[0][0] for found in choices if found]
        if len(set(taken)) == len(taken):  # nothing to choose
            return [(n, *found[0]) for n, found in enumerate(choices) if found]
    return _beam(choices)


def _beam(choices: list[list[tuple[int, float]]]) -> list[tuple[int, int, float]]:
    # state: (-matches, chunks, distance, -weight, used positions as bits, last (word, other), pairs)
    beam: list[tuple[Any, ...]] = [(0, 0, 0, 0.0, 0, (-2, -2), ())]
    for n, found in enumerate(choices):
        grown = []
        for state in beam:
            matches, chunks, distance, weight, used, last, pairs = state
            grown.append(state)
            for at, strength in found:
                if not used >> at & 1:
                    fresh = last != (n - 1, at - 1)
                    grown.append(
                        (
                            matches - 1,
                            chunks + fresh,
                            distance + abs(n - at),
                            weight - strength,
                            used | 1 << at,
                            (n, at),
                            (*pairs, (n, at, strength)),
                        )
                    )
        if len(grown) > _BEAM:
            grown.sort(key=lambda state: state[:4])
            del grown[_BEAM:]
        beam = grown
    return list(min(beam, key=lambda state: (*state[:4], state[6]))[6])


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
    """METEOR-like score; the best reference counts.

    Args:
        preds: a caption for each item.
        refs: references of each item.
        lang: language of all captions; stems where Snowball has the language, synonyms and function words in English.
        tokenizer: name, function, or None for the language's default.
        ids: item ids.
        synonyms: `auto`, `wordnet`, `none`, or a function of two words.
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
        preds, refs, lang=lang, tokenizer=tokenizer, ids=ids, references=references, on_error=on_error
    )  # fmt: skip
    base = given.language.split("-")[0]
    stem = _stemmer(base)
    if base == "en":
        same, used, notes = synonyms_for(synonyms)
    else:
        same, used, notes = (synonyms, "custom", ()) if callable(synonyms) else (None, "none", ())
    same = lru_cache(maxsize=1_000_000)(same) if same else None
    functions = _FUNCTION_WORDS if base == "en" else frozenset[str]()
    weights = (alpha, beta, gamma, delta)

    def content(word: str) -> bool:
        return word not in functions

    rows, values = [], []
    for words, item in zip(given.preds, given.refs):
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
    interval = None
    if confidence is not None:

        def reduce(means: np.ndarray) -> np.ndarray:
            return np.array([_score(row, *weights) for row in means])

        interval = bootstrap(
            table if level == "corpus" else np.array(values),
            reduce if level == "corpus" else None,
            ids=given.kept_ids, level=confidence, resamples=resamples, seed=seed,
        )  # fmt: skip
    return MetricResult(
        metric="meteor-exact-stem-synonym",
        version="1",
        value=final,
        n=len(given.ids),
        unscored=len(given.ids) - len(given.kept),
        per_item=tuple(given.spread(values)),
        ids=given.ids,
        interval=interval,
        notes=(*notes, "this is not the Java METEOR: no paraphrase table."),
        options={
            "alpha": alpha, "beta": beta, "gamma": gamma, "delta": delta, "level": level, "synonyms": used,
            "stemmer": f"snowball-{_STEMMERS[base]}" if stem else "none", "on_error": on_error,
        },
        **given.fields(),
    )  # fmt: skip
