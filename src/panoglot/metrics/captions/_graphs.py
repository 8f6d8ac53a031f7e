"""Scene graphs for metrics: the default parser, and one graph of a caption of many sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from panoglot.asking import call
from panoglot.errors import RowError
from panoglot.text import split_sentences

if TYPE_CHECKING:
    from panoglot.providers.roles import Parser, SceneGraph

__all__ = ["default_parser", "parse_captions", "unparsed"]


@lru_cache(maxsize=2)
def default_parser(style: str = "factual") -> Parser:
    """The rule parser (English, no network).

    Args:
        style: whose conventions its graphs have: `factual`, or `spice`.
    """
    from panoglot.providers.parsers import RuleParser

    return RuleParser(style)


def unparsed(count: int, graphs: Iterable[SceneGraph | RowError]) -> tuple[str, ...]:
    """A note on items that have a caption without a graph, with the first reason; none when there are none."""
    reason = next((str(graph) for graph in graphs if isinstance(graph, RowError)), "")
    return (f"{count} items have a caption that could not be parsed ({reason}).",) if count else ()


def parse_captions(parser: Parser, texts: Sequence[str], lang: str) -> list[SceneGraph | RowError]:
    """Parse sentence by sentence and join the graphs of each caption; every distinct sentence is parsed once."""
    from panoglot.providers.roles import SceneGraph

    split = {text: split_sentences(text, lower_case=False) for text in dict.fromkeys(texts)}
    distinct = list(dict.fromkeys(sentence for sentences in split.values() for sentence in sentences))
    parsed = dict(zip(distinct, call(parser, "parse", distinct, [lang] * len(distinct))))
    joined: dict[str, SceneGraph | RowError] = {}
    for text, sentences in split.items():
        graphs = [parsed[sentence] for sentence in sentences]
        errors = [graph for graph in graphs if isinstance(graph, RowError)]
        joined[text] = (
            errors[0]
            if errors
            else SceneGraph(
                objects=tuple(dict.fromkeys(item for graph in graphs for item in graph.objects)),
                attributes=tuple(dict.fromkeys(item for graph in graphs for item in graph.attributes)),
                relations=tuple(dict.fromkeys(item for graph in graphs for item in graph.relations)),
            )
        )
    return [joined[text] for text in texts]
