"""DPG and m-DPG: questions about pictures of long prompts, answered by a judge (ELLA, arXiv 2403.05135).

File: `dpg_bench.csv` (github.com/TencentQQGYLab/ELLA), or rows of `id, questions`.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from panoglot.asking import open_picture
from panoglot.checks import offenders
from panoglot.errors import UserError
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._generated import prompt_pictures
from panoglot.formats._json import read_rows, read_text
from panoglot.metrics._results import ResultSet
from panoglot.metrics.generation.neobabel import dpg

if TYPE_CHECKING:
    from panoglot.providers.roles import Generator

__all__ = ["DPG", "dpg_folder", "read_questions"]


def read_questions(path: str) -> dict[str, list[dict[str, Any]]]:
    """Read DPG's questions: `dpg_bench.csv`, or rows of `id, questions: [{id, question, parents}]`.

    Raises:
        UserError: columns are missing.
    """
    if not path.endswith(".csv"):
        table = {str(row.get("id", row.get("item_id"))): row.get("questions") for row in read_rows(path)}
        odd = [
            key
            for key, rows in table.items()
            if not isinstance(rows, list)
            or not all(isinstance(row, dict) and {"id", "question"} <= set(row) for row in rows)
        ]
        if odd:
            raise UserError(f"{path}: {len(odd)} rows have no questions of id, question: {offenders(odd)}.")
        return {key: list(rows or ()) for key, rows in table.items()}
    reader = csv.DictReader(io.StringIO(read_text(path)))
    wanted = {"item_id", "proposition_id", "dependency", "question_natural_language"}
    if missing := wanted - set(reader.fieldnames or ()):
        raise UserError(f"{path} has no column {', '.join(sorted(missing))}: is this dpg_bench.csv?")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in reader:
        # 0 depends on nothing
        parents = [part.strip() for part in (row["dependency"] or "").split(",") if part.strip() not in ("", "0")]
        question = {"id": row["proposition_id"], "question": row["question_natural_language"], "parents": parents}
        found.setdefault(row["item_id"], []).append(question)
    return found


def dpg_folder(
    folder: str, table: dict[str, list[dict[str, Any]]], judge: Generator, *, confidence: float | None = None
) -> ResultSet:
    """DPG of every language in a folder of `[<language>/]<id>…` pictures.

    Raises:
        UserError: pictures without questions.
    """
    found = ResultSet()
    for lang, pictures in prompt_pictures(folder).items():
        alien = [name for name in pictures if name not in table]
        if alien:
            raise UserError(f"{len(alien)} pictures in {folder}/{lang} have no questions: {offenders(alien)}.")
        paths = [(name, path) for name in sorted(pictures) for path in pictures[name]]
        found[lang or "dpg"] = dpg(
            [table[name] for name, _ in paths], [open_picture(path) for _, path in paths], judge,
            ids=[path.relative_to(folder).as_posix() for _, path in paths], confidence=confidence,
        )  # fmt: skip
    return found


def _run(table: Any, images: str, judge: Any, *, confidence: float | None = None) -> ResultSet:
    return dpg_folder(images, table, judge, confidence=confidence)


def _read(data: str) -> dict[str, list[dict[str, Any]]]:
    return read_questions(data)


DPG = Benchmark(
    "dpg", "generation", "questions about long prompts, answered by --judge (m-DPG: the prompts are translated)",
    "--data: `dpg_bench.csv`, or rows of `id, questions`; pictures `[<lang>/]<id>…`",
    "github.com/TencentQQGYLab/ELLA", Way(_run, _read),
)  # fmt: skip
