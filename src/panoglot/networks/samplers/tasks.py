"""Samplers of generative tasks and of retrieval triples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from panoglot.errors import UserError, did_you_mean
from panoglot.identity import Added, marked
from panoglot.networks._records import Record, Text
from panoglot.networks.samplers._draw import Draw
from panoglot.networks.samplers._order import task_batches
from panoglot.networks.samplers._sample import Sample, named

__all__ = ["Coverage", "Ranked", "TaskPrefix", "Triples"]

T = TypeVar("T")
CAPTIONS = ("raw", "short", "long")


def _pairs(record: Record) -> list[tuple[str, str, Text]]:
    """Return (task, given text, target) of everything that a record can teach a generator."""
    out: list[tuple[str, str, Text]] = []
    question: Text | None = None
    for t in record.texts:
        if t.kind == "question":
            question = t
        elif t.kind == "answer" and question is not None:  # an answer belongs to the last question before it
            out.append(("vqa", question.text, t))
        elif t.kind == "translation" and t.of is not None:
            out.append(("translation", record.texts[t.of].text, t))
        elif t.kind in CAPTIONS:
            out.append(("caption", "", t))
    return out


@dataclass(frozen=True)
class TaskPrefix:
    """One format for all tasks: the task's prefix, then the question; the answer is the target (VL-Adapter).

    Every step is of one task.

    Attributes:
        prefixes: task → prefix. Every task that a record can teach must have one: without it tasks mix silently.
        sampling: `roundrobin` has every batch of every task once an epoch, shuffled; `balanced` as many of each task as
            the smallest has.
    """

    prefixes: Mapping[str, str] = field(
        default_factory=lambda: {"caption": "caption: ", "vqa": "vqa: ", "translation": "translation: "}
    )

    sampling: str = "roundrobin"

    def given(self, task: str, text: str, lang: str) -> tuple[str, str]:
        """Return the prompt of a task about `text`, and what its answer begins with."""
        if task not in self.prefixes:
            raise UserError(f"No prefix for the task '{task}'.{did_you_mean(task, self.prefixes)}")
        return self.prefixes[task] + text, ""

    def pool(self, record: Record, item: int) -> str:
        """Return the task of an item: a step has items of one."""
        return _pairs(record)[item][0]

    def steps(self, pools: Mapping[str, Sequence[T]], size: int, seed: int, epoch: int) -> list[list[T]]:
        """Return the steps of an epoch."""
        return [items for _, items in task_batches(pools, size, seed, epoch, self.sampling)]

    def items(self, record: Record) -> int:
        """As many as there are targets."""
        return len(_pairs(record))

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return the item-th target."""
        task, given, target = _pairs(record)[item]
        prefix, _ = self.given(task, given, target.lang)
        return Sample([target], prefix=prefix, target=target.text, task=task, lang=target.lang)


@dataclass(frozen=True)
class Coverage:
    """Only the (task, language) cells that the experiment allows; every answer begins with its language (Florenz).

    Both tasks have one format: the task, the text that is given (none for captions), and the answer behind the token
    of its language.

    Attributes:
        cells: task → languages that may be trained; `zh` lets `zh-Hans` in, as `zh`. What is not named never reaches
            the trainer.
        prefix: language → the token that starts the decoder; None makes `<de>` of `de`.
    """

    cells: Mapping[str, Sequence[str]]
    prefix: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        known = ("caption", "translation", "vqa")
        for task in self.cells:
            if task not in known:
                raise UserError(f"coverage: no task is called '{task}'.{did_you_mean(task, known)}")

    def given(self, task: str, text: str, lang: str) -> tuple[str, str]:
        """Return the prompt of a task about `text`, and what an answer in `lang` begins with."""
        lang = named(lang, self.prefix if self.prefix is not None else self.cells.get(task, ()))
        if self.prefix is not None and lang not in self.prefix:
            raise UserError(f"coverage: no prefix for '{lang}'.{did_you_mean(lang, self.prefix)}")
        return f"{task}: {text}".strip(), f"<{lang}>" if self.prefix is None else self.prefix[lang]

    def _allowed(self, record: Record) -> list[tuple[str, str, Text]]:
        cells = self.cells
        return [p for p in _pairs(record) if named(p[2].lang, cells.get(p[0], ())) in cells.get(p[0], ())]

    def items(self, record: Record) -> int:
        """As many as there are allowed targets."""
        return len(self._allowed(record))

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return the item-th allowed target."""
        task, given, target = self._allowed(record)[item]
        prefix, start = self.given(task, given, target.lang)
        return Sample([target], prefix=prefix, start=start, target=target.text, task=task, lang=target.lang)


@dataclass(frozen=True)
class Triples:
    """A query, a positive, and `negatives` mined negatives (ColBERT).

    In a record the query has kind `question`, passages have kind `answer`: score above 0 is a positive, 0 or below a
    mined negative.
    """

    takes = ("caption", "triple")

    negatives: int = 1

    def _passages(self, record: Record) -> tuple[list[Text], list[Text], list[Text]]:
        passages = [t for t in record.texts if t.kind == "answer" and t.score is not None]
        return (
            [t for t in record.texts if t.kind == "question"],
            [t for t in passages if (t.score or 0) > 0],
            [t for t in passages if (t.score or 0) <= 0],
        )

    def items(self, record: Record) -> int:
        """1 when there are a query, a positive and a negative."""
        return int(all(self._passages(record)))

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return [query, positive, negative, …]; too few negatives leave slots empty."""
        query, positive, negative = self._passages(record)
        draw = Draw(seed, epoch, record.id, "triples")
        worse: list[Text | None] = [*draw.sample(negative, min(self.negatives, len(negative)))]
        worse += [None] * (self.negatives - len(worse))
        return Sample([draw.choice(query), draw.choice(positive), *worse], lang=query[0].lang)


@dataclass(frozen=True)
class Ranked:
    """Up to `k` captions that people scored, each a slot (Compress & Align): at least two, with different scores.

    Attributes:
        k: captions a step; records with more are drawn from.
        criteria: of people's ratings, name or pattern → weight: each ranks the captions of a picture, and their ranks
            are averaged; None: the most frequent criterion, by its numbers.
        raters: least number of people for a caption.
    """

    takes = ("caption", "rating")

    k: int = 5
    criteria: Mapping[str, float] | None = field(default=None, metadata=marked(Added(None)))
    raters: int = field(default=1, metadata=marked(Added(1)))

    def _scored(self, record: Record) -> list[Text]:
        return [t for t in record.texts if t.score is not None and math.isfinite(t.score)]

    def items(self, record: Record) -> int:
        """1 when two captions have different scores: ties alone teach nothing."""
        return int(len({t.score for t in self._scored(record)}) > 1)

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Draw, without repetition."""
        scored = self._scored(record)
        texts: list[Text | None] = [*Draw(seed, epoch, record.id, "ranked").sample(scored, min(self.k, len(scored)))]
        texts += [None] * (self.k - len(texts))
        return Sample(texts, lang=scored[0].lang)
