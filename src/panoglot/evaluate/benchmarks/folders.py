"""Zero-shot classification of pictures in class folders of your own, with names in your languages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from panoglot.checks import OnError, offenders
from panoglot.errors import UserError
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._read import class_folders, encode_files
from panoglot.evaluate._templates import read_templates
from panoglot.evaluate._zeroshot import zeroshot
from panoglot.formats._json import read_json
from panoglot.metrics._results import ResultSet

__all__ = ["FOLDERS"]


def _read(
    images: str, labels: str, *, templates: Sequence[str] = (), lang: Sequence[str] = ("all",)
) -> tuple[Any, ...]:
    """The pictures and the names, checked before anything is encoded.

    Args:
        labels: JSON `{lang: [name, …]}`, in the folders' order.
        templates: what stands about a name: `names` (nothing, the default), `ours` (a few forms in 18 languages), or
            JSON files: `{lang: [text with {}, …]}`, a list, OpenAI's, `FILE#imagenet1k`, `en:FILE`; the first that has
            a language counts.
    """
    forms = read_templates(templates)
    paths, targets = class_folders(images)
    return forms, paths, targets, _names(labels, len(set(targets)), list(lang))


def _names(path: str, classes: int, codes: list[str]) -> dict[str, list[str]]:
    """Names of the class folders by language.

    Raises:
        UserError: no such file, another form, another number of names than folders, languages that are not there.
    """
    if not classes:
        raise UserError("benchmark 'folders' needs a folder of class folders, not vectors.")
    table = read_json(path)
    if not isinstance(table, dict) or not all(
        isinstance(row, list) and all(isinstance(name, str) for name in row) for row in table.values()
    ):
        raise UserError(f"{path} must be a JSON object of lists of names by language: {{lang: [name, …]}}.")
    wrong = [tag for tag, row in table.items() if len(row) != classes]
    if wrong:
        raise UserError(f"{classes} class folders, but {wrong[0]} has {len(table[wrong[0]])} names.")
    if codes == ["all"]:
        return table
    absent = [tag for tag in codes if tag not in table]
    if absent:
        raise UserError(f"{path} has no names in {offenders(absent)}; it has {offenders(table)}.")
    return {tag: table[tag] for tag in codes}


def _run(given: Any, encoder: Any, *, on_error: OnError = "raise", confidence: float | None = None) -> ResultSet:
    forms, paths, targets, names = given
    vectors = encode_files(encoder, paths)
    return zeroshot(encoder, vectors, targets, names, templates=forms, on_error=on_error, confidence=confidence)


FOLDERS = Benchmark(
    "folders", "zeroshot", "accuracy with class names in your languages",
    "--images: a folder a class; --labels: JSON `{lang: [name, …]}`", "your own", Way(_run, _read),
)  # fmt: skip
