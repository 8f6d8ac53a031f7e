"""POPE: yes/no questions about objects in pictures (Li et al., EMNLP 2023): F1, and the share of yes.

File: rows of `image, text, label` (github.com/RUCAIBox/POPE), and COCO's pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from panoglot.asking import ask, open_picture
from panoglot.checks import offenders
from panoglot.errors import RowError, UserError
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._stored import one_or_more, read_answers
from panoglot.formats._json import read_rows
from panoglot.metrics._results import ResultSet
from panoglot.metrics.captions.pope import pope
from panoglot.providers.roles import Prompt

__all__ = ["POPE"]


def _read(data: str) -> list[dict[str, Any]]:
    rows = read_rows(data)
    wanted = ("image", "text", "label")
    odd = [n for n, row in enumerate(rows) if any(not isinstance(row.get(key), str) for key in wanted)]
    if odd or not rows:
        raise UserError(
            f"{data}: {len(odd) or 'all'} rows are not texts image, text, label: {offenders(odd) or 'empty'}."
        )
    return rows


def _ask(
    rows: Sequence[dict[str, Any]],
    data: str,
    model: Any,
    *,
    images: str | None = None,
    lang: Sequence[str] = ("en",),
    parse: str = "strict",
    confidence: float | None = None,
) -> ResultSet:
    """Ask a model.

    Args:
        parse: how answers are read; each benchmark's own default without it.
    """
    root = Path(images) if images else Path(data).parent
    answers = ask(model, [Prompt(row["text"], (open_picture(root / row["image"]),), max_tokens=16) for row in rows])
    said = [None if isinstance(answer, RowError) else answer.text for answer in answers]
    return _scores(rows, said, lang, parse, confidence)


def _stored(
    rows: Sequence[dict[str, Any]],
    answers: str,
    *,
    lang: Sequence[str] = ("en",),
    parse: str = "strict",
    confidence: float | None = None,
) -> ResultSet:
    """Score stored answers, by `question_id` or else the row's number."""
    said = read_answers(answers, [row.get("question_id", n) for n, row in enumerate(rows)])
    return _scores(rows, said, lang, parse, confidence)


def _scores(
    rows: Sequence[dict[str, Any]], said: Sequence[str | None], lang: Sequence[str], parse: str, confidence: Any
) -> ResultSet:
    tag = one_or_more(lang)[0]
    labels = [row["label"] for row in rows]
    return ResultSet({tag: pope(said, labels, lang=tag, parse=parse, confidence=confidence)})


POPE = Benchmark(
    "pope", "choice", "yes/no questions about objects: F1, and the share of yes",
    "--data: rows of `image, text, label`; --images", "github.com/RUCAIBox/POPE",
    {"answers": Way(_stored, _read), "model": Way(_ask, _read)},
)  # fmt: skip
