"""CAPTURE: objects, attributes and relations of long captions, matched in three stages.

Source: CAPTURE, 2024 (arXiv 2405.19092), matching read in its code: exact; synonym (substring, or overlapping WordNet
lemma names); soft (best cosine among what is left, without a threshold). One score = (.5 F_obj + .5 F_attr + .2
F_rel)/1.2. Before that a tagger reads the whole caption: an object, and what hangs on it, counts only where its words
are nouns there. Differs from the code where it is random or broken: everything is matched in sorted order
(`matching="optimal"` finds the most pairs), several sentences are joined by object name, and the list of generic
nouns is our own (the paper's, 317 words, is read by `read_stop_words`). Quirks kept, each worth knowing: a kind that
neither caption has scores 0, so a caption equal to its reference but without relations scores 0.8333; attributes
forget their owner; `man` is a substring of `woman`.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from panoglot.asking import encode_texts
from panoglot.checks import check_option
from panoglot.errors import RowError, UserError
from panoglot.identity import fingerprint
from panoglot.metrics._declare import Metric
from panoglot.metrics._inputs import Given, Predictions, References, prepare, with_options
from panoglot.metrics._result import MetricResult
from panoglot.metrics.captions._graphs import default_parser, parse_captions, unparsed
from panoglot.providers.parsers import noun_lemmas
from panoglot.text import Synonyms, synonyms_for

if TYPE_CHECKING:
    from panoglot.providers.roles import Encoder, Parser, SceneGraph

__all__ = ["CAPTURE", "GENERIC_NOUNS", "capture", "capture_kinds", "match_stages", "read_stop_words"]

#: Words that say nothing about the picture as objects: generic nouns, and colours, sizes and pronouns that a parser
#: took for things. Removed from objects only.
GENERIC_NOUNS = frozenset(
    """image picture photo photograph photography shot scene scenery view background foreground setting environment
    atmosphere mood ambiance ambience composition frame perspective angle focus style sense feeling impression presence
    area part portion section side left right top bottom center centre middle front back corner edge end distance
    position location place day time moment way kind type sort variety number group lot amount pair set addition
    appearance element detail feature color colour shade tone light lighting effect contrast it he she they them him
    her one some thing something someone other overall surrounding white black red green blue yellow brown grey gray
    orange pink purple tall short small large big little long wide round""".split()
)
Similarity = Callable[[str, str], float]
_EPSILON = 1e-6


def read_stop_words(path: str | os.PathLike[str]) -> frozenset[str]:
    """Read a list of words: a line each, a JSON list, or the paper's `stop_words.py` (its list, nothing is run).

    Raises:
        UserError: no file, or no words in it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the list of words {path} cannot be read ({error}).") from None
    block = re.search(r"\[.*\]", text, re.DOTALL)
    found: object = text.splitlines()
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else ast.literal_eval(block[0]) if block else found
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        found = None
    if (
        not isinstance(found, list)
        or not all(isinstance(word, str) for word in found)
        or not any(map(str.strip, found))
    ):
        raise UserError(f"{path} is no list of words: write one a line.")
    return frozenset(word.strip() for word in found if word.strip())


def match_stages(
    ours: Sequence[Any],
    theirs: Sequence[Any],
    synonyms: Synonyms | None = None,
    similarity: Similarity | None = None,
    matching: str = "greedy",
) -> tuple[float, float]:
    """Credit of candidates and of references, in the order they are given.

    Args:
        ours: candidate items: words, or tuples of words that must all pass.
        theirs: reference items.
        synonyms: of two words, beside the substring rule; None leaves WordNet out.
        similarity: of two items as text, for what is left; None ends after the hard stages.
        matching: `greedy` (first free partner) or `optimal` (most pairs) in the synonym stage.

    >>> same = lambda one, other: {one, other} == {"machine", "automobile"} or {one, other} == {"car", "automobile"}
    >>> match_stages(["machine", "car"], ["automobile", "car park"], same)
    (2.0, 2.0)
    >>> match_stages(["car", "machine"], ["automobile", "car park"], same)
    (1.0, 1.0)
    >>> match_stages(["car", "machine"], ["automobile", "car park"], same, matching="optimal")
    (2.0, 2.0)
    """
    check_option("matching", matching, ("greedy", "optimal"))
    rest = list(theirs)
    left = []
    for item in ours:
        if item in rest:
            rest.remove(item)
        else:
            left.append(item)
    hard = len(ours) - len(left)

    def fit(one: Any, other: Any) -> bool:
        pairs = zip(one, other) if isinstance(one, tuple) else ((one, other),)
        return all(a in b or b in a or (synonyms is not None and synonyms(a, b)) for a, b in pairs)

    edges = [[at for at, other in enumerate(rest) if fit(item, other)] for item in left]
    partner = _optimal(edges) if matching == "optimal" else _greedy(edges)
    matched = set(partner.values())
    hard += len(partner)
    left = [item for n, item in enumerate(left) if n not in matched]
    rest = [item for at, item in enumerate(rest) if at not in partner]
    mine = yours = float(hard)
    if similarity is not None and left and rest:
        table = [[similarity(_text(item), _text(other)) for other in rest] for item in left]
        mine += sum(map(max, table))
        yours += sum(map(max, zip(*table)))
    return mine, yours


def _text(item: Any) -> str:
    return " ".join(item) if isinstance(item, tuple) else item


def _greedy(edges: list[list[int]]) -> dict[int, int]:
    """Reference position to candidate position."""
    taken: dict[int, int] = {}
    for n, options in enumerate(edges):
        free = next((at for at in options if at not in taken), None)
        if free is not None:
            taken[free] = n
    return taken


def _optimal(edges: list[list[int]]) -> dict[int, int]:
    """Largest matching, by augmenting paths."""
    taken: dict[int, int] = {}

    def place(n: int, seen: set[int]) -> bool:
        for at in edges[n]:
            if at not in seen:
                seen.add(at)
                if at not in taken or place(taken[at], seen):
                    taken[at] = n
                    return True
        return False

    for n in range(len(edges)):
        place(n, set())
    return taken


def capture_kinds(
    graph: SceneGraph, stop_words: Collection[str] = GENERIC_NOUNS, nouns: Collection[str] | None = None
) -> dict[str, list[Any]]:
    """What CAPTURE compares of a graph: sorted objects, attributes (pooled, doubles kept), relations.

    Args:
        graph: lemmas.
        stop_words: removed from objects only.
        nouns: lemmas that a tagger calls nouns in the caption; what is not among them goes, whole or piece by piece.
            None trusts the parser.
    """

    def is_noun(name: str) -> bool:
        return nouns is None or name in nouns or all(piece in nouns for piece in name.split())

    owned = sorted({(owner, word) for owner, word in graph.attributes if " of" not in f" {word}" and is_noun(owner)})
    return {
        "object": sorted(name for name in set(graph.objects) if is_noun(name) and name not in stop_words),
        "attribute": sorted(word for _, word in owned),
        "relation": sorted({row for row in graph.relations if is_noun(row[0]) and is_noun(row[2])}),
    }


def _compare(
    ours: dict[str, list[Any]],
    theirs: dict[str, list[Any]],
    weights: tuple[float, float, float],
    synonyms: Synonyms | None,
    similarity: Similarity | None,
    matching: str,
) -> dict[str, float]:
    found: dict[str, float] = {}
    for kind in ("object", "attribute", "relation"):
        mine, yours = match_stages(ours[kind], theirs[kind], synonyms, similarity, matching)
        precision, recall = mine / (len(ours[kind]) + _EPSILON), yours / (len(theirs[kind]) + _EPSILON)
        found[f"{kind}_precision"], found[f"{kind}_recall"] = precision, recall
        found[f"{kind}_f1"] = 2 * precision * recall / (precision + recall + _EPSILON)
    total = sum(weight * found[f"{kind}_f1"] for weight, kind in zip(weights, ("object", "attribute", "relation")))
    return {"score": total / sum(weights), **found}


@with_options
def capture(
    preds: Predictions,
    refs: References,
    parser: Parser | None = None,
    encoder: Encoder | None = None,
    *,
    weights: tuple[float, float, float] = (0.5, 0.5, 0.2),
    synonyms: str | Synonyms = "auto",
    stop_words: str | os.PathLike[str] | Collection[str] | None = None,
    aggregate: str = "mean",
    matching: str = "greedy",
    nouns: str | Callable[[str], Collection[str]] = "auto",
    **how: Unpack[Given],
) -> MetricResult:
    """Mean CAPTURE score in 0..1.

    Args:
        preds: a caption for each item.
        refs: references of each item.
        parser: any `Parser`; None is the rule parser (English).
        encoder: text encoder of the soft stage; None ends after the hard stages (recorded).
        weights: of objects, attributes, relations.
        synonyms: `auto`, `wordnet`, `none`, or a function of two words.
        stop_words: words that are no objects: a file (a word a line, JSON, or the paper's `stop_words.py`), in Python
            also the words themselves; ours without it.
        aggregate: `mean` or `max` over the references.
        matching: `greedy` or `optimal` in the synonym stage.
        nouns: what is an object must be nouns in the caption: `auto` asks the rule tagger in English and nobody
            elsewhere, `none` trusts the parser; or a function that gives the noun lemmas of a caption.
        **how: language, ids, empty captions, interval: see `Given`.

    Returns:
        `parts`: precision, recall and F1 of the three kinds; `details`: what was compared on the prediction's side.

    Raises:
        UserError: bad input, naming the first offenders.
    """
    check_option("aggregate", aggregate, ("mean", "max"))
    if min(weights) < 0 or sum(weights) <= 0:
        raise UserError(f"weights={weights} must not be negative and not all zero.")
    parser = parser or default_parser()
    stops = _stops(stop_words)
    given = prepare(preds, refs, read=False, **how)
    gate = _gate(nouns, given.language)
    same, used, notes = synonyms_for(synonyms, wide=True)
    same = lru_cache(maxsize=1_000_000)(same) if same else None
    every = [*given.texts, *(text for item in given.ref_texts for text in item)]
    graphs = dict(zip(every, parse_captions(parser, every, given.language)))
    kinds = {
        text: capture_kinds(graph, stops, gate(text) if gate else None)
        for text, graph in graphs.items()
        if not isinstance(graph, RowError)
    }
    similarity = _similarity(encoder, kinds.values(), given.language) if encoder is not None else None
    rows: list[dict[str, float] | None] = []
    for text, item in zip(given.texts, given.ref_texts):
        if any(part not in kinds for part in (text, *item)):
            rows.append(None)
            continue
        each = [_compare(kinds[text], kinds[ref], weights, same, similarity, matching) for ref in item]
        best = max(each, key=lambda row: row["score"])
        rows.append(best if aggregate == "max" else {key: sum(row[key] for row in each) / len(each) for key in best})
    scored = [row for row in rows if row is not None]
    notes = (*notes, *unparsed(len(rows) - len(scored), graphs.values()))
    details: list[Any] = [None] * len(given.ids)
    for n, text in zip(given.kept, given.texts):
        details[n] = kinds.get(text)
    return given.mean(
        "capture",
        [None if row is None else row["score"] for row in rows],
        {
            "weights": list(weights), "aggregate": aggregate, "matching": matching, "synonyms": used,
            "soft": encoder is not None, "stop_words": _called(stops),
            "parser": getattr(parser, "fingerprint", type(parser).__name__), "noun_gate": gate is not None,
            "encoder": getattr(encoder, "fingerprint", type(encoder).__name__) if encoder is not None else "none",
        },
        parts={
            key: sum(row[key] for row in scored) / len(scored)
            for key in (scored[0] if scored else ())
            if key != "score"
        },
        version="2",
        notes=notes if encoder is not None else (*notes, "no encoder: the soft stage was left out."),
        details=tuple(details),
    )  # fmt: skip


def _stops(given: str | os.PathLike[str] | Collection[str] | None) -> frozenset[str]:
    if given is None:
        return GENERIC_NOUNS
    return read_stop_words(given) if isinstance(given, str | os.PathLike) else frozenset(given)


def _called(stops: frozenset[str]) -> str:
    """What the list is called in results: ours, or how long it is and which."""
    if stops == GENERIC_NOUNS:
        return "panoglot-2"
    return f"custom ({len(stops)}, {fingerprint(sorted(stops))[:8]})" if stops else "none"


def _gate(nouns: str | Callable[[str], Collection[str]], language: str) -> Callable[[str], Collection[str]] | None:
    if callable(nouns):
        return nouns
    check_option("nouns", nouns, ("auto", "none"))
    return noun_lemmas if nouns == "auto" and language.partition("-")[0] == "en" else None


def _similarity(encoder: Encoder, kinds: Any, lang: str) -> Similarity:
    """Cosines of every phrase that may be compared, encoded once; a phrase that failed is similar to nothing."""
    import numpy as np

    phrases = sorted({_text(item) for kind in kinds for items in kind.values() for item in items})
    vectors = np.nan_to_num(encode_texts(encoder, phrases, lang)) if phrases else np.zeros((0, 1))
    place = {phrase: n for n, phrase in enumerate(phrases)}
    return lambda one, other: float(vectors[place[one]] @ vectors[place[other]])


CAPTURE = Metric(
    "capture", capture,
    "objects, attributes, relations of long captions: exact, synonym, then soft matches (with --encoder)",
    needs="refs", may="parser encoder", options=("stop_words", "aggregate", "matching"),
    languages="those of the parser (default: English)",
    source="Dong et al., 2024 (arXiv 2405.19092)",
    parity="hand-worked cases; scores of the released matching code",
)  # fmt: skip
