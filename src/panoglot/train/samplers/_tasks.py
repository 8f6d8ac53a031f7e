"""Samplers of generative tasks and of retrieval triples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from panoglot.errors import UserError, did_you_mean
from panoglot.train._records import Record, Text
from panoglot.train.samplers._draw import Draw
from panoglot.train.samplers._sample import Sample

__all__ = ["Coverage", "TaskPrefix", "Triples"]

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

    Attributes:
        prefixes: task → prefix. Every task that a record can teach must have one: without it tasks mix silently.
    """

    prefixes: Mapping[str, str] = field(
        default_factory=lambda: {"caption": "caption: ", "vqa": "vqa: ", "translation": "translation: "}
    )

    def items(self, record: Record) -> int:
        """As many as there are targets."""
        return len(_pairs(record))

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return the item-th target."""
        task, given, target = _pairs(record)[item]
        if task not in self.prefixes:
            raise UserError(f"No prefix for the task '{task}'.{did_you_mean(task, self.prefixes)}")
        return Sample([target], prefix=self.prefixes[task] + given, target=target.text, task=task, lang=target.lang)


@dataclass(frozen=True)
class Coverage:
    """Only the (task, language) cells that the experiment allows; every target is prefixed by its language (Florenz).

    Attributes:
        cells: task → languages that may be trained. What is not named never reaches the trainer.
        prefix: language → the token that starts the decoder; None makes `<de>` of `de`.
    """

    cells: Mapping[str, Sequence[str]]
    prefix: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        known = ("caption", "translation", "vqa")
        for task in self.cells:
            if task not in known:
                raise UserError(f"coverage: no task is called '{task}'.{did_you_mean(task, known)}")

    def _allowed(self, record: Record) -> list[tuple[str, str, Text]]:
        return [p for p in _pairs(record) if p[2].lang in self.cells.get(p[0], ())]

    def items(self, record: Record) -> int:
        """As many as there are allowed targets."""
        return len(self._allowed(record))

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return the item-th allowed target."""
        task, given, target = self._allowed(record)[item]
        if self.prefix is not None and target.lang not in self.prefix:
            raise UserError(f"coverage: no prefix for '{target.lang}'.{did_you_mean(target.lang, self.prefix)}")
        start = f"<{target.lang}>" if self.prefix is None else self.prefix[target.lang]
        return Sample([target], prefix=f"{start} {given}".strip(), target=target.text, task=task, lang=target.lang)


@dataclass(frozen=True)
class Triples:
    """A query, a positive, and `negatives` mined negatives (ColBERT).

    In a record the query has kind `question`, passages have kind `answer`: score above 0 is a positive, 0 or below a
    mined negative.
    """

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
