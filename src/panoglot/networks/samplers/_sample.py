"""What a sampler returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from panoglot.languages import matches
from panoglot.networks._records import Record, RegionText, Text

__all__ = ["Sample", "Sampler", "matching", "named"]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one item shows in one epoch.

    Attributes:
        texts: one a slot; None is a slot without text (masked, never filled with a repetition).
        regions: described boxes.
        vectors: indices into the record's stored text vectors.
        prefix, target: of a generative task: what is given, what is learnt.
        start: what the answer begins with, given too (Florenz's language token).
        task, lang: of the target.
        fallback: the wanted language or kind was missing and another took its place (counted, reported).
        chunks: of an interleaved document: (image index or None, its sentences), in order.
        pieces: of a document with turns: (a text, or an index of the record's pictures; it is learnt), in order.
        asked: regions that a writer is asked about (a box token, an alpha channel).
        others: indices of the record's pictures that are shown beside its own.
    """

    texts: Sequence[Text | None] = ()
    regions: Sequence[RegionText] = ()
    vectors: Sequence[int] = ()
    prefix: str = ""
    target: str = ""
    start: str = ""
    task: str = ""
    lang: str = "und"
    fallback: bool = False
    chunks: Sequence[tuple[int | None, Sequence[str]]] = ()
    pieces: Sequence[tuple[str | int, bool]] = ()
    asked: Sequence[RegionText] = ()
    others: Sequence[int] = ()


class Sampler(Protocol):
    """A text sampler.

    A class may say, as literals: `takes`, the rows of a dataset that it reads (`caption`, the default, `document`,
    `triple`, `rating`, `picture`: those without a caption); `shows_parts`, it shows parts of texts, which have no
    stored vectors; `always_the_same`, of several texts of a picture it ever shows one. A method `lacks(records)` says
    what all records lack that it would show ('': nothing), so that it would quietly show something else.
    """

    def items(self, record: Any) -> int:
        """How many items of an epoch this record makes; 0: it has nothing for this method (counted as skipped)."""
        ...

    def __call__(self, record: Any, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return what the item shows in this epoch."""
        ...


def named(lang: str, tags: Iterable[str]) -> str:
    """Return the tag of a setting that a language meets, an equal one first; without one, the language itself.

    >>> named("zh-Hans", ["en", "zh"]), named("pt", ["pt-BR"]), named("zh-Hant", ["zh", "zh-Hant"])
    ('zh', 'pt', 'zh-Hant')
    """
    known = list(tags)
    return lang if lang in known else next((tag for tag in known if matches(tag, lang)), lang)


def matching(record: Record, kinds: Sequence[str], sources: Sequence[str], langs: Sequence[str]) -> list[Text]:
    """Return the record's texts of these kinds, sources and languages (an empty list allows all)."""
    return [
        t
        for t in record.texts
        if (not kinds or t.kind in kinds)
        and (not sources or t.source in sources)
        and (not langs or any(matches(lang, t.lang) for lang in langs))
    ]
