"""CoMMuTE: which of two translations of an ambiguous sentence fits the picture, by log-probability (ACL 2023).

Files, from github.com/MatthieuFP/CoMMuTE (CC BY-SA 4.0): `en-<lang>/{src.en,correct.<lang>,incorrect.<lang>,img.order}`
(or flat, `en-<lang>_src.en` …), and the pictures.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import open_picture
from panoglot.errors import UserError
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._stored import numbered, one_or_more, read_numbers
from panoglot.languages._tags import language_name
from panoglot.metrics._choice import contrastive, log_probabilities
from panoglot.metrics._result import MetricResult
from panoglot.metrics._results import ResultSet

if TYPE_CHECKING:
    from panoglot.providers.roles import Generator

__all__ = ["COMMUTE", "commute", "read_commute"]

SOURCE = "https://github.com/MatthieuFP/CoMMuTE"


def read_commute(folder: str | os.PathLike[str], lang: str) -> list[dict[str, str]]:
    """Read `source`, `right`, `wrong`, `image` of every item.

    Raises:
        UserError: missing files, or of different lengths.
    """
    root, columns = Path(folder), {}
    for key, name in (
        ("source", "src.en"), ("right", f"correct.{lang}"), ("wrong", f"incorrect.{lang}"), ("image", "img.order")
    ):  # fmt: skip
        path = next((p for p in (root / f"en-{lang}" / name, root / f"en-{lang}_{name}") if p.is_file()), None)
        if path is None:
            raise UserError(f"there is no en-{lang}/{name} in {root}; get it from {SOURCE}")
        columns[key] = [line.decode() for line in path.read_bytes().splitlines()]
    if len({len(column) for column in columns.values()}) != 1:
        raise UserError(f"the files of en-{lang} differ in length: { {k: len(v) for k, v in columns.items()} }.")
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def commute(
    model: Generator,
    folder: str | os.PathLike[str],
    *,
    lang: str,
    images: str | os.PathLike[str] | None = None,
    items: Sequence[Mapping[str, str]] | None = None,
    see: bool = True,
    confidence: float | None = None,
) -> MetricResult:
    """Share of items whose right translation has the lower perplexity.

    Args:
        model: a `Generator` with `score`.
        folder: the files.
        lang: target language.
        images: folder of the pictures; None: `folder/images`.
        items: take these instead of the files'.
        see: False leaves the picture out: both orders of each pair are in the set, so this is 0.5 by construction.
        confidence: level of a bootstrap interval.
    """
    from panoglot.providers.roles import Prompt

    rows = list(items) if items is not None else read_commute(folder, lang)
    root = Path(images) if images is not None else Path(folder) / "images"
    ask = f"Translate into {language_name(lang)}. The picture shows what is meant.\n"
    prompts = [
        Prompt(text=ask + row["source"], images=(open_picture(root / row["image"]),) if see else ()) for row in rows
    ]
    scores = log_probabilities(model, prompts * 2, [row["right"] for row in rows] + [row["wrong"] for row in rows])
    return contrastive(
        scores[: len(rows)], scores[len(rows) :], lang=lang, name="commute" if see else "commute/blind",
        confidence=confidence,
    )  # fmt: skip


def _ask(
    data: str,
    model: Any,
    *,
    images: str | None = None,
    lang: Sequence[str] = ("en",),
    confidence: float | None = None,
) -> ResultSet:
    tags = one_or_more(lang)
    return ResultSet({tag: commute(model, data, lang=tag, images=images, confidence=confidence) for tag in tags})


def _stored(data: str, answers: str, *, lang: Sequence[str] = ("en",), confidence: float | None = None) -> ResultSet:
    """Score stored log-probabilities, by the question's number: `<lang>/<number>` with several languages."""
    tags = one_or_more(lang)
    counts = [len(read_commute(data, tag)) for tag in tags]
    pairs = read_numbers(answers, numbered(tags, counts), ("right", "wrong"))
    found, at = ResultSet(), 0
    for tag, count in zip(tags, counts):
        mine, at = pairs[at : at + count], at + count
        found[tag] = contrastive(
            [right for right, _ in mine], [wrong for _, wrong in mine], lang=tag, name="commute", confidence=confidence
        )
    return found


COMMUTE = Benchmark(
    "commute", "choice", "which translation fits the picture, by log-probability", "--data: its folder; --images",
    "github.com/MatthieuFP/CoMMuTE", {"answers": Way(_stored), "model": Way(_ask)},
)  # fmt: skip
