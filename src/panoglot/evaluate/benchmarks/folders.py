"""Zero-shot classification of pictures in class folders of your own, with names in your languages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from panoglot.checks import OnError, offenders
from panoglot.errors import UserError
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._descriptors import read_descriptors
from panoglot.evaluate._read import class_folders, encode_files
from panoglot.evaluate._templates import read_templates
from panoglot.evaluate._zeroshot import Labels, zeroshot
from panoglot.evaluate.benchmarks.babel_imagenet import class_numbers, read_babel_labels
from panoglot.formats._json import read_json
from panoglot.metrics._results import ResultSet

__all__ = ["FOLDERS"]


def _read(
    images: str,
    labels: str,
    *,
    templates: Sequence[str] = (),
    descriptors: str | None = None,
    lang: Sequence[str] = ("all",),
) -> tuple[Any, ...]:
    """The pictures and the names, checked before anything is encoded.

    Args:
        labels: JSON `{lang: [name, …]}`, in the folders' order; or a file of `panoglot labels`, where the folders are
            named after ImageNet's classes: `n02129604`, or `tiger`.
        templates: what stands about a name: `names` (nothing, the default), `ours` (a few forms in 18 languages), or
            JSON files: `{lang: [text with {}, …]}`, a list, OpenAI's, `FILE#imagenet1k`, `en:FILE`; the first that has
            a language counts.
        descriptors: JSON `{name: [what it looks like, …]}` in English, or `{lang: {name: […]}}`: every template is said
            with every descriptor (", which has a yellow throat"), and a class is their mean.
    """
    forms = read_templates(templates)
    looks = None if descriptors is None else read_descriptors(descriptors)
    paths, targets = class_folders(images)
    folders = [folder.name for folder in sorted({path.parent for path in paths})]
    return forms, paths, targets, _names(labels, folders, list(lang)), looks


def _names(path: str, folders: Sequence[str], codes: list[str]) -> dict[str, Labels]:
    """Names of the class folders by language.

    Raises:
        UserError: no such file, another form, another number of names than folders, folders that are no classes of
            ImageNet where the file has those, languages that are not there.
    """
    classes = len(folders)
    if not classes:
        raise UserError("benchmark 'folders' needs a folder of class folders, not vectors.")
    table = read_json(path)
    if isinstance(table, dict) and table and all(_by_number(row) for row in table.values()):
        return _of_classes(path, read_babel_labels(table), folders, codes)
    if not isinstance(table, dict) or not all(
        isinstance(row, list) and all(isinstance(name, str) for name in row) for row in table.values()
    ):
        raise UserError(f"{path} must be a JSON object of lists of names by language: {{lang: [name, …]}}.")
    wrong = [tag for tag, row in table.items() if len(row) != classes]
    if wrong:
        raise UserError(f"{classes} class folders, but {wrong[0]} has {len(table[wrong[0]])} names.")
    return _of_languages(path, table, codes)


def _of_languages(path: str, table: dict[str, Labels], codes: list[str]) -> dict[str, Labels]:
    if codes == ["all"]:
        return table
    absent = [tag for tag in codes if tag not in table]
    if absent:
        raise UserError(f"{path} has no names in {offenders(absent)}; it has {offenders(table)}.")
    return {tag: table[tag] for tag in codes}


def _by_number(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 2 and all(isinstance(part, list) for part in row)


def _of_classes(
    path: str, table: dict[str, dict[int, str]], folders: Sequence[str], codes: list[str]
) -> dict[str, Labels]:
    """Names of the folders that are classes of ImageNet; a language without one of them leaves that folder out."""
    try:
        numbers = class_numbers(folders)
    except UserError as error:
        raise UserError(f"{path} has names of ImageNet's classes; {error} Or write {{lang: [name, …]}}.") from None
    place = {numbers[folder]: n for n, folder in enumerate(folders)}
    found: dict[str, Labels] = {}
    for lang, names in _of_languages(path, dict(table), codes).items():
        own = {place[number]: names[number] for number in place if number in names}
        if len(own) >= 2:  # with fewer there is nothing to tell apart
            found[lang] = own
    if not found:
        raise UserError(f"{path} has names of two or more of these folders in no language.")
    return found


def _run(given: Any, encoder: Any, *, on_error: OnError = "raise", confidence: float | None = None) -> ResultSet:
    forms, paths, targets, names, looks = given
    vectors = encode_files(encoder, paths)
    how: dict[str, Any] = {"templates": forms, "descriptors": looks, "on_error": on_error, "confidence": confidence}
    return zeroshot(encoder, vectors, targets, names, **how)


FOLDERS = Benchmark(
    "folders", "zeroshot", "accuracy with class names in your languages",
    "--images: a folder a class; --labels: JSON `{lang: [name, …]}`", "your own", Way(_run, _read),
)  # fmt: skip
