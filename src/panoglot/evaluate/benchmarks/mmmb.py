"""MMMB and MMBench-style files: multiple choice about a picture, in several languages (Parrot, arXiv 2406.02539).

Files: `mmmb_<lang>.tsv` or MMBench's, columns `index, image, question, A, B[, C, D], answer[, category, l2-category,
hint]`; pictures in base64 or as paths. From github.com/AIDC-AI/Parrot and github.com/open-compass/MMBench.
"""

from __future__ import annotations

import base64
import binascii
import csv
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import ask, open_picture
from panoglot.checks import offenders, same_ids
from panoglot.errors import RowError, UserError
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._stored import one_or_more, read_answers
from panoglot.metrics._choice import LETTERS, choice, circular, read_letter
from panoglot.metrics._results import ResultSet

if TYPE_CHECKING:
    from panoglot.providers.roles import Generator, Prompt

__all__ = ["MMMB", "mmmb", "mmmb_scores", "read_mmmb"]


def read_mmmb(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a file: `index` as a number, `options` in order (empty and `nan` ones dropped), `label` from 0.

    Raises:
        UserError: no file, missing columns, an answer that is none of the options, an index twice.
    """
    source = Path(path)
    if not source.is_file():
        raise UserError(f"there is no {source}; MMMB is at github.com/AIDC-AI/Parrot, MMBench at open-compass/MMBench.")
    csv.field_size_limit(min(sys.maxsize, 1 << 30))  # pictures in base64
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    missing = [name for name in ("index", "question", "A", "B", "answer") if not rows or name not in rows[0]]
    if missing:
        raise UserError(f"{source} lacks the columns {offenders(missing)}.")
    found, odd = [], []
    for row in rows:
        letters = [letter for letter in LETTERS[:10] if (row.get(letter) or "").strip().lower() not in ("", "nan")]
        answer = (row["answer"] or "").strip()
        try:
            item = {**row, "index": int(row["index"]), "letters": letters, "options": [row[n] for n in letters]}
            found.append({**item, "label": letters.index(answer)})
        except ValueError:
            odd.append(row["index"])
    if odd:
        raise UserError(f"{len(odd)} rows have a bad index or an answer that is no option: {offenders(odd)}.")
    indexes = [row["index"] for row in found]
    if len(set(indexes)) < len(indexes):
        raise UserError(f"{source} has {len(indexes) - len(set(indexes))} indexes twice.")
    return found


def mmmb_scores(
    rows: Sequence[Mapping[str, Any]],
    answers: Mapping[int, str | None],
    *,
    lang: str = "",
    parse: str = "text",
    rotate: bool | None = None,
    confidence: float | None = None,
) -> ResultSet:
    """Score answers.

    Args:
        rows: of `read_mmmb`.
        answers: by index; None: the model failed (null).
        lang: language of the file.
        parse: see `read_letter`.
        rotate: circular scoring; None: when the file has rotations (indexes of a million and more).
        confidence: level of bootstrap intervals.

    Returns:
        `plain`, by category too; and `circular` when rotations count.
    """
    indexes = [int(row["index"]) for row in rows]
    same_ids(dict.fromkeys(indexes), answers, "answer")
    given = [answers[index] for index in indexes]
    chosen = [None if text is None else read_letter(text, row["options"], parse) for row, text in zip(rows, given)]
    plain = choice(
        chosen,
        [row["label"] for row in rows],
        failed=[text is None for text in given],
        options=[len(row["options"]) for row in rows],
        groups=[row.get("category") or "" for row in rows] if any(row.get("category") for row in rows) else None,
        ids=indexes,
        lang=lang,
        name="mmmb",
        settings={"parse": parse},
        confidence=confidence,
    )
    found = ResultSet({"plain": plain})
    if rotate if rotate is not None else max(indexes, default=0) >= 1_000_000:
        found["circular"] = circular(
            plain.per_item or (), indexes, lang=lang, name="mmmb/circular", confidence=confidence
        )
    return found


def mmmb(
    model: Generator,
    path: str | os.PathLike[str],
    *,
    lang: str = "",
    images: str | os.PathLike[str] | None = None,
    parse: str = "text",
    rotate: bool | None = None,
    confidence: float | None = None,
) -> ResultSet:
    """Ask a model about every row of a file and score it.

    Args:
        model: a `Generator` that sees pictures.
        path: the TSV.
        lang: language of the file.
        images: folder of the pictures, when the file has paths; None: the file's own.
        parse: see `read_letter`.
        rotate: see `mmmb_scores`.
        confidence: level of bootstrap intervals.
    """
    rows = read_mmmb(path)
    root = Path(images) if images is not None else Path(path).parent
    by_index = {str(row["index"]): row for row in rows}
    prompts = [_prompt(row, by_index, root) for row in rows]
    answers = ask(model, prompts)
    texts = {row["index"]: None if isinstance(a, RowError) else a.text for row, a in zip(rows, answers)}
    return mmmb_scores(rows, texts, lang=lang, parse=parse, rotate=rotate, confidence=confidence)


def _prompt(row: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], root: Path) -> Prompt:
    from panoglot.pictures import Image
    from panoglot.providers.roles import Prompt

    lines = [row["hint"]] if (row.get("hint") or "").strip().lower() not in ("", "nan") else []
    lines.append(row["question"])
    lines += [f"{letter}. {option}" for letter, option in zip(LETTERS, row["options"])]
    lines.append("Answer with the letter of the right option only.")
    value = (row.get("image") or "").strip()
    value = (rows[value].get("image") or "") if value in rows else value  # rotations point to the first row's picture
    shown: tuple[Any, ...] = ()
    if value and len(value) < 400 and Path(value).suffix:
        path = (root / value).resolve()
        if not path.is_relative_to(root.resolve()):
            raise UserError(f"row {row['index']}: the picture {value} lies outside {root}.")
        shown = (open_picture(path),)
    elif value:
        try:
            shown = (Image(base64.b64decode(value, validate=True)),)
        except RowError as error:
            shown = (error,)
        except (binascii.Error, ValueError):
            raise UserError(f"row {row['index']}: the picture is neither base64 nor a path.") from None
    return Prompt(text="\n".join(lines), images=shown, max_tokens=32)


def _ask(
    data: str,
    model: Any,
    *,
    images: str | None = None,
    lang: Sequence[str] = ("en",),
    parse: str = "text",
    confidence: float | None = None,
) -> ResultSet:
    """Ask a model.

    Args:
        parse: how answers are read; each benchmark's own default without it.
    """
    return mmmb(model, data, lang=one_or_more(lang)[0], images=images, parse=parse, confidence=confidence)


def _stored(
    data: str,
    answers: str,
    *,
    lang: Sequence[str] = ("en",),
    parse: str = "text",
    confidence: float | None = None,
) -> ResultSet:
    """Score stored answers, by `index`."""
    rows = read_mmmb(data)
    indexes = [row["index"] for row in rows]
    said = dict(zip(indexes, read_answers(answers, indexes)))
    return mmmb_scores(rows, said, lang=one_or_more(lang)[0], parse=parse, confidence=confidence)


MMMB = Benchmark(
    "mmmb", "choice", "questions about pictures in 6 languages, circular",
    "--data: `mmmb_<lang>.tsv`, or MMBench's", "github.com/AIDC-AI/Parrot",
    {"answers": Way(_stored), "model": Way(_ask)},
)  # fmt: skip
