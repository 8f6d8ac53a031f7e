"""SPICE: F-score of what captions say, as scene-graph tuples, through any `Parser`.

Source: Anderson et al., ECCV 2016. A tuple is (object,), (object, attribute) or (subject, relation, object); two match
when every slot is equal or a synonym. The reference program parses with CoreNLP (Java, English); ours takes the
graphs of any `Parser`, so values depend on the parser, whose name is recorded: compare runs with the same parser
only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Unpack

from panoglot.asking import call
from panoglot.errors import RowError
from panoglot.metrics._declare import Metric
from panoglot.metrics._inputs import Given, Predictions, References, prepare, with_options
from panoglot.metrics._result import MetricResult
from panoglot.metrics.captions._graphs import default_parser, unparsed
from panoglot.text import Synonyms, synonyms_for

if TYPE_CHECKING:
    from panoglot.providers.roles import Parser, SceneGraph

__all__ = ["SPICE", "graph_tuples", "match_tuples", "spice"]

Tuple = tuple[str, ...]

_COLOURS = frozenset(
    """red orange yellow green blue purple violet pink brown black white gray grey silver gold golden beige tan teal
    turquoise maroon navy cream crimson magenta cyan olive colorful colored""".split()
)
_SIZES = frozenset("big large huge giant enormous small little tiny tall short long wide narrow thick thin".split())
_NUMBERS = frozenset(
    """one two three four five six seven eight nine ten eleven twelve dozen several many few couple pair multiple
    single""".split()
)
_CATEGORIES: dict[str, Callable[[Tuple], bool]] = {
    "object": lambda item: len(item) == 1,
    "attribute": lambda item: len(item) == 2,
    "relation": lambda item: len(item) == 3,
    "color": lambda item: len(item) == 2 and item[1] in _COLOURS,
    "size": lambda item: len(item) == 2 and item[1] in _SIZES,
    "count": lambda item: len(item) == 2 and (item[1] in _NUMBERS or item[1].isdigit()),
}


def graph_tuples(graph: SceneGraph) -> frozenset[Tuple]:
    """The tuples of a graph; what attributes and relations name counts as an object, too.

    >>> from panoglot.providers.roles import SceneGraph
    >>> sorted(graph_tuples(SceneGraph(attributes=(("cat", "black"),), relations=(("cat", "on", "mat"),))))
    [('cat',), ('cat', 'black'), ('cat', 'on', 'mat'), ('mat',)]
    """
    found: set[Tuple] = {(name,) for name in graph.objects}
    for owner, attribute in graph.attributes:
        found |= {(owner,), (owner, attribute)}
    for subject, verb, other in graph.relations:
        found |= {(subject,), (other,), (subject, verb, other)}
    return frozenset(found)


def match_tuples(ours: frozenset[Tuple], theirs: frozenset[Tuple], synonyms: Synonyms | None = None) -> int:
    """Match one to one: equal tuples first, then tuples whose slots are all equal or synonyms, in sorted order."""
    equal = ours & theirs
    if synonyms is None:
        return len(equal)
    free = sorted(theirs - equal)
    matched = len(equal)
    for item in sorted(ours - equal):
        for at, other in enumerate(free):
            if len(item) == len(other) and all(a == b or synonyms(a, b) for a, b in zip(item, other)):
                del free[at]
                matched += 1
                break
    return matched


def _f_score(ours: frozenset[Tuple], theirs: frozenset[Tuple], same: Synonyms | None) -> tuple[float, float, float]:
    matched = match_tuples(ours, theirs, same)
    precision = matched / len(ours) if ours else 0.0
    recall = matched / len(theirs) if theirs else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if matched else 0.0


def _merge(graphs: Sequence[frozenset[Tuple]], same: Synonyms | None) -> frozenset[Tuple]:
    """Tuples of all references, with every object called by its first synonym among them."""
    merged: frozenset[Tuple] = frozenset().union(*graphs)
    if same is None:
        return merged
    names: dict[str, str] = {}
    for (name,) in sorted(item for item in merged if len(item) == 1):
        names[name] = next((kept for kept in sorted(set(names.values())) if same(kept, name)), name)
    return frozenset(
        (names[item[0]], *item[1:-1], names[item[-1]] if len(item) == 3 else item[-1])
        if len(item) > 1
        else (names[item[0]],)
        for item in merged
    )


@with_options
def spice(
    preds: Predictions,
    refs: References,
    parser: Parser | None = None,
    *,
    synonyms: str | Synonyms = "auto",
    **how: Unpack[Given],
) -> MetricResult:
    """Mean SPICE, with a value for each kind of tuple.

    Args:
        preds: a caption for each item.
        refs: references of each item; their graphs are merged.
        parser: any `Parser`; None is the rule parser (English), in the style of SPICE's.
        synonyms: `auto`, `wordnet`, `none`, or a function of two words.
        **how: language, ids, empty captions, interval: see `Given`.

    Returns:
        `parts` hold `precision`, `recall` and the F of `object`, `attribute`, `relation`, `color`, `size`, `count`
        (over the items where either side has such a tuple). An item is null when no side has a tuple or a caption
        could not be parsed.

    Raises:
        UserError: bad input, naming the first offenders.

    >>> spice(["a black cat on a mat"], [["a black cat sits on the mat"]], synonyms="none").parts["object"]
    1.0
    """
    parser = parser or default_parser("spice")
    given = prepare(preds, refs, read=False, **how)
    same, used, notes = synonyms_for(synonyms)
    same = lru_cache(maxsize=1_000_000)(same) if same else None
    distinct = list(dict.fromkeys([*given.texts, *(text for item in given.ref_texts for text in item)]))
    parsed = dict(zip(distinct, call(parser, "parse", distinct, [given.language] * len(distinct))))
    rows: dict[str, list[float | None]] = {name: [] for name in ("spice", "precision", "recall", *_CATEGORIES)}
    failed = 0
    for text, item in zip(given.texts, given.ref_texts):
        graphs = [parsed[text], *(parsed[ref] for ref in item)]
        if any(isinstance(graph, RowError) for graph in graphs):
            failed += 1
            for values in rows.values():
                values.append(None)
            continue
        ours, *others = map(graph_tuples, graphs)
        theirs = _merge(others, same)
        precision, recall, score = _f_score(ours, theirs, same)
        empty = not ours and not theirs
        for name, value in (("spice", score), ("precision", precision), ("recall", recall)):
            rows[name].append(None if empty else value)
        for name, belongs in _CATEGORIES.items():
            mine, others_kind = frozenset(filter(belongs, ours)), frozenset(filter(belongs, theirs))
            rows[name].append(_f_score(mine, others_kind, same)[2] if mine or others_kind else None)
    notes = (*notes, *unparsed(failed, parsed.values()))
    options = {"parser": getattr(parser, "fingerprint", type(parser).__name__), "synonyms": used}
    values = rows.pop("spice")
    parts = {name: _mean(column) for name, column in rows.items()}
    ruled = getattr(parser, "name", "") == getattr(default_parser(), "name", None)
    if ruled:
        notes = (*notes, "graphs by rules, not by SPICE's parser: not to stand beside published SPICE")
    return given.mean("spice (rules)" if ruled else "spice", values, options, parts=parts, notes=notes)


def _mean(values: Sequence[float | None]) -> float | None:
    kept = [value for value in values if value is not None]
    return sum(kept) / len(kept) if kept else None


SPICE = Metric(
    "spice", spice,
    "F-score of objects, attributes and relations as tuples",
    needs="refs", may="parser", languages="those of the parser (default: English)",
    source="Anderson et al., ECCV 2016", parity="hand-worked cases only: the original's parser cannot be had",
)  # fmt: skip
