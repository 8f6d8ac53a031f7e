"""Questions about pictures as the command `choice` runs them: asked of a model, or read from a file of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from panoglot.asking import ask, open_picture
from panoglot.checks import offenders
from panoglot.errors import RowError, UserError
from panoglot.evaluate import benchmarks
from panoglot.evaluate._stored import read_answers, read_numbers
from panoglot.formats._json import read_rows
from panoglot.metrics._results import ResultSet, mean_over
from panoglot.metrics.captions.pope import pope
from panoglot.metrics.choice import contrastive, read_letter
from panoglot.providers.roles import Prompt

__all__ = ["asked", "scored"]


def _pope_rows(data: str) -> list[dict[str, Any]]:
    rows = read_rows(data)
    wanted = ("image", "text", "label")
    odd = [n for n, row in enumerate(rows) if any(not isinstance(row.get(key), str) for key in wanted)]
    if odd or not rows:
        raise UserError(
            f"{data}: {len(odd) or 'all'} rows are not texts image, text, label: {offenders(odd) or 'empty'}."
        )
    return rows


def _pope(rows: Sequence[dict[str, Any]], said: Sequence[str | None], lang: str, parse: Any, confidence: Any) -> Any:
    labels = [row["label"] for row in rows]
    return ResultSet({lang: pope(said, labels, lang=lang, parse=parse or "strict", confidence=confidence)})


def asked(
    benchmark: str,
    model: Any,
    data: str,
    tags: list[str],
    *,
    images: str | None,
    task: str,
    k: int,
    limit: int | None,
    seed: int,
    parse: str | None,
    confidence: float | None,
) -> ResultSet:
    """Ask a model.

    Args:
        benchmark: its name.
        model: a generator, or an encoder for `mvl-sib`.
        data: its files.
        tags: languages.
        images: folder of the pictures.
        task: of `mvl-sib`.
        k: of `mvl-sib`.
        limit: of `mvl-sib`.
        seed: of the questions.
        parse: how answers are read.
        confidence: level of bootstrap intervals.
    """
    if benchmark == "mvl-sib":
        return benchmarks.mvl_sib(
            model, data, lang=tags, task=task, k=k, images=images, limit=limit, seed=seed, parse=parse or "strict",
            confidence=confidence,
        )  # fmt: skip
    if benchmark == "mmmb":
        return benchmarks.mmmb(model, data, lang=tags[0], images=images, parse=parse or "text", confidence=confidence)
    if benchmark == "smpqa":
        return benchmarks.smpqa(
            model, data, lang="all" if tags == ["all"] else tags, images=images, confidence=confidence
        )
    if benchmark == "commute":
        return ResultSet(
            {tag: benchmarks.commute(model, data, lang=tag, images=images, confidence=confidence) for tag in tags}
        )
    rows = _pope_rows(data)
    root = Path(images) if images else Path(data).parent
    answers = ask(model, [Prompt(row["text"], (open_picture(root / row["image"]),), max_tokens=16) for row in rows])
    said = [None if isinstance(answer, RowError) else answer.text for answer in answers]
    found: ResultSet = _pope(rows, said, tags[0], parse, confidence)
    return found


def scored(
    benchmark: str,
    data: str,
    answers: str,
    tags: list[str],
    *,
    task: str,
    k: int,
    limit: int | None,
    seed: int,
    parse: str | None,
    confidence: float | None,
) -> ResultSet:
    """Score stored answers; pictures and models are not needed.

    Ids: `pope`: `question_id`, else the row's number; `mmmb`: `index`; `mvl-sib`, `commute`: the question's number,
    with several languages `<lang>/<number>`; `smpqa`: `<lang>/<task>/<number>`.

    Args:
        benchmark: its name.
        data: its files.
        answers: the file.
        tags: languages.
        task: of `mvl-sib`.
        k: of `mvl-sib`.
        limit: of `mvl-sib`.
        seed: of the questions.
        parse: how answers are read.
        confidence: level of bootstrap intervals.
    """
    if benchmark == "pope":
        rows = _pope_rows(data)
        said = read_answers(answers, [row.get("question_id", n) for n, row in enumerate(rows)])
        out: ResultSet = _pope(rows, said, tags[0], parse, confidence)
        return out
    if benchmark == "mmmb":
        lines = benchmarks.read_mmmb(data)
        by_index = dict(zip([row["index"] for row in lines], read_answers(answers, [row["index"] for row in lines])))
        return benchmarks.mmmb_scores(lines, by_index, lang=tags[0], parse=parse or "text", confidence=confidence)
    if benchmark == "smpqa":
        return _smpqa(data, answers, tags, confidence)
    if benchmark == "commute":
        return _commute(data, answers, tags, confidence)
    found = ResultSet()
    first = benchmarks.read_sib(data, tags[0])
    items = benchmarks.mvl_sib_items(first.ids, first.topics, task=task, k=k, limit=limit, seed=seed)
    texts = read_answers(answers, _numbered(tags, [len(items)] * len(tags)))
    for n, tag in enumerate(tags):
        mine = texts[n * len(items) : (n + 1) * len(items)]
        found[tag] = benchmarks.mvl_sib_scores(
            items, [None if text is None else read_letter(text, 4, parse or "strict") for text in mine],
            failed=[text is None for text in mine], lang=tag, name=f"mvl-sib/{task}", confidence=confidence,
            settings={"k": k, "seed": seed, "limit": limit, "parse": parse or "strict"},
        )  # fmt: skip
    found.summary = {"mean": mean_over(found)}
    return found


def _numbered(names: Sequence[str], counts: Sequence[int]) -> list[str]:
    """Numbers of questions; with several languages they are told apart."""
    if len(names) == 1:
        return [str(n) for n in range(counts[0])]
    return [f"{name}/{n}" for name, count in zip(names, counts) for n in range(count)]


def _smpqa(data: str, answers: str, tags: list[str], confidence: float | None) -> ResultSet:
    there = sorted(path.name.removesuffix("_ground.json") for path in Path(data).glob("*_ground.json"))
    langs = there if tags == ["all"] else tags
    parts = [(tag, task, benchmarks.read_smpqa(data, tag, task)) for tag in langs for task in ("ground", "name")]
    ids = [f"{tag}/{task}/{n}" for tag, task, rows in parts for n in range(len(rows))]
    said = read_answers(answers, ids)
    found, at = ResultSet(), 0
    for tag, task, rows in parts:
        mine, at = said[at : at + len(rows)], at + len(rows)
        found[f"{tag}/{task}"] = benchmarks.smpqa_scores(rows, mine, task=task, lang=tag, confidence=confidence)
    return found


def _commute(data: str, answers: str, tags: list[str], confidence: float | None) -> ResultSet:
    counts = [len(benchmarks.read_commute(data, tag)) for tag in tags]
    pairs = read_numbers(answers, _numbered(tags, counts), ("right", "wrong"))
    found, at = ResultSet(), 0
    for tag, count in zip(tags, counts):
        mine, at = pairs[at : at + count], at + count
        found[tag] = contrastive(
            [right for right, _ in mine], [wrong for _, wrong in mine], lang=tag, name="commute", confidence=confidence
        )
    return found
