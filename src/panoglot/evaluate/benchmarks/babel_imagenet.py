"""Babel-ImageNet: zero-shot ImageNet classification in up to 298 languages (Geigle et al., ACL 2024, arXiv 2306.08658).

Files, from github.com/gregor-ge/Babel-ImageNet (labels: BabelNet Non-Commercial licence):
- `babel_imagenet.json` or `babel_imagenet-298.json`: `{"DE": [[class numbers], [names]], …}`;
- `nllb_dist13b_prompts.json`: `{"DE": [80 templates], …}`; those of English are OpenAI's;
- ImageNet's validation pictures, class-sorted in torchvision's order.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.checks import OnError, check_option, offenders
from panoglot.errors import UserError, did_you_mean
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._read import class_folders, encode_files, read_vectors
from panoglot.evaluate._templates import read_templates
from panoglot.evaluate._zeroshot import zeroshot
from panoglot.formats._json import read_json
from panoglot.metrics._result import MetricResult, mean_result
from panoglot.metrics._results import ResultSet

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder

__all__ = [
    "BABEL_IMAGENET",
    "EXTRA_LANGUAGES",
    "babel_imagenet",
    "babel_imagenet_groups",
    "class_numbers",
    "read_babel_labels",
]

SOURCE = "https://github.com/gregor-ge/Babel-ImageNet"
#: Languages of the 100-language table beside the 92 of `babel_imagenet.json`.
EXTRA_LANGUAGES = ("WUU", "NV", "CV", "DIQ", "CHR", "CE", "HAK", "NAH")
#: Upper bounds of the groups by number of classes: of the 100-language table, and of all 297.
GROUPS_100, GROUPS_ALL = (100, 333, 666, 1000), (33, 111, 333, 666, 1000)


def _json(path: str | os.PathLike[str], what: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no {what} at {path}; get it from {SOURCE}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}).") from None


def read_babel_labels(path: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, dict[int, str]]:
    """Read and check a label file: class number to name, by BabelNet language code.

    Raises:
        UserError: no file, or class numbers that are not strictly increasing, outside 0..999, or without a name.
    """
    data = path if isinstance(path, Mapping) else _json(path, "label file")
    found, odd = {}, []
    for lang, entry in data.items():
        try:
            numbers, names = entry
            fine = len(numbers) == len(names) and all(isinstance(n, int) and 0 <= n < 1000 for n in numbers)
            fine = (
                fine and all(a < b for a, b in itertools.pairwise(numbers)) and all(isinstance(n, str) for n in names)
            )
        except (TypeError, ValueError):
            fine = False
        if not fine:
            odd.append(lang)
            continue
        found[lang] = dict(zip(numbers, names))
    if odd or not found:
        raise UserError(f"{len(odd)} languages of the label file are not [[class numbers], [names]]: {offenders(odd)}.")
    return found


def class_numbers(folders: Iterable[str]) -> dict[str, int]:
    """The class of ImageNet that each folder is named after: `n02129604`, or `tiger`.

    Raises:
        UserError: folders that are named after none, or two after one.
    """
    from panoglot.providers.embedded.efficientnet import synsets

    known = {name.casefold(): n for n, names in enumerate(synsets()) for name in names}
    names = list(folders)
    strange = [name for name in names if name.casefold() not in known]
    if strange:
        raise UserError(
            f"{len(strange)} of {len(names)} folders are none of ImageNet's classes: {offenders(strange)}; "
            "name them like n02129604 or tiger."
        )
    found = {name: known[name.casefold()] for name in names}
    if len(set(found.values())) < len(found):
        twice = [name for name, number in found.items() if list(found.values()).count(number) > 1]
        raise UserError(f"{len(twice)} folders are of one class of ImageNet each with another: {offenders(twice)}.")
    return found


def babel_imagenet(
    encoder: Encoder,
    images: Sequence[Image] | np.ndarray,
    labels: str | os.PathLike[str] | Mapping[str, Any],
    *,
    prompts: str | os.PathLike[str] | Mapping[str, Sequence[str]] | None = None,
    english: Sequence[str] | None = None,
    lang: Iterable[str] | str = "all",
    targets: Sequence[int] | None = None,
    on_error: OnError = "raise",
    confidence: float | None = None,
) -> ResultSet:
    """Accuracy in every language; pictures are encoded once.

    Classes without a name in a language are left out, names and pictures: chance differs, and is reported.

    Args:
        encoder: of pictures and texts.
        images: ImageNet's validation pictures in class order, 50 a class, or their vectors.
        labels: label file.
        prompts: file of templates by language, or of `read_templates`; None takes the bare name. A language without
            templates too.
        english: the 1,000 curated English names; without them English is left out (BabelNet's own English names are
            not those that others report).
        lang: BabelNet codes, or `all`.
        targets: class of each picture; None for 50 a class in class order.
        on_error: pictures without a vector: `raise`, or leave them out and count them.
        confidence: level of bootstrap intervals.

    Raises:
        UserError: missing files, unknown languages, another number of pictures than 50 a class.
    """
    table = read_babel_labels(labels)
    table.pop("EN", None)
    if english is not None:
        if len(english) != 1000:
            raise UserError(f"English needs 1,000 names, not {len(english)}.")
        table["EN"] = dict(enumerate(english))
    if lang != "all":
        spelt = {code.casefold(): code for code in table}
        wanted = [spelt.get(code.casefold(), code.upper()) for code in ([lang] if isinstance(lang, str) else lang)]
        unknown = [code for code in wanted if code not in table]
        if unknown:
            more = (
                " English needs its curated names (english=)."
                if "EN" in map(str.upper, unknown)
                else did_you_mean(unknown[0], table)
            )
            raise UserError(f"{len(unknown)} languages are not in the label file: {offenders(unknown)}.{more}")
        table = {code: table[code] for code in wanted}
    if targets is None:
        if len(images) != 50_000:
            raise UserError(
                f"ImageNet's validation set has 50 pictures of 1,000 classes, not {len(images)} pictures; give "
                "targets= for another set."
            )
        targets = [n // 50 for n in range(50_000)]
    templates: Any = {}
    if prompts is not None:
        if not isinstance(prompts, Mapping) and not Path(prompts).is_file():
            raise UserError(f"there is no file of templates at {prompts}; get it from {SOURCE}")
        templates = prompts if isinstance(prompts, Mapping) else read_templates(prompts)
    found = zeroshot(
        encoder, images, targets, table, templates=templates, name="babel-imagenet", on_error=on_error,
        confidence=confidence,
    )  # fmt: skip
    scored = [code for code, result in found.items() if code.upper() != "EN" and result.value is not None]
    if len(scored) > 1:
        groups = babel_imagenet_groups(found)
        found.summary = {name: value for name, value in groups.parts.items() if value is not None}
    return found


def babel_imagenet_groups(
    results: str | os.PathLike[str] | Mapping[str, Any],
    *,
    languages: Iterable[str] | None = None,
    groups: Sequence[int] = GROUPS_100,
    prompt: str = "best",
) -> MetricResult:
    """Means over groups of languages by their number of classes; English is left out.

    Args:
        results: a results file of the original (`{"results": [{lang, prompt, num_classes, accuracy}, …]}`), or what
            `babel_imagenet` gives.
        languages: which; None for all in the results. The published table has 100: those of `babel_imagenet.json`
            without EN, and `EXTRA_LANGUAGES`.
        groups: upper bounds of the groups.
        prompt: for original files: `best` takes templates where a language has them, else bare names; `label` takes
            bare names.

    Returns:
        `value` the unweighted mean over languages, in 0..1; parts: `mean`, `classes<low>-<high>` of each group and
        `EN`. Item values by language.
    """
    check_option("prompt", prompt, ("best", "label"))
    if isinstance(results, ResultSet):
        rows = {code: (int(result.parts["classes"] or 0), result.value) for code, result in results.items()}
    else:
        data = results if isinstance(results, Mapping) else _json(results, "results file")
        try:
            rows = {}
            for row in sorted(data["results"], key=lambda row: row["prompt"] != "label"):  # templates last: they win
                if row["prompt"] == "label" or prompt == "best":
                    rows[row["lang"]] = (int(row["num_classes"]), float(row["accuracy"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"this is not a Babel-ImageNet results file ({type(error).__name__}: {error}).") from None
    wanted = [code for code in (languages if languages is not None else rows) if code.upper() != "EN"]
    missing = [code for code in wanted if code not in rows]
    if missing or not wanted:
        raise UserError(f"{len(missing)} of {len(wanted)} languages have no result: {offenders(missing)}.")
    parts: dict[str, float | None] = {}
    low = 0
    for high in groups:
        values = [
            value for code in wanted for count, value in [rows[code]] if low < count <= high and value is not None
        ]
        parts[f"classes{low + 1}-{high}"] = sum(values) / len(values) if values else None
        low = high
    if "EN" in rows:
        parts["EN"] = rows["EN"][1]
    return mean_result(
        "babel-imagenet", [rows[code][1] for code in wanted], version="1", ids=wanted, parts=parts,
        options={"groups": list(groups), "prompt": prompt},
    )  # fmt: skip


def _read(
    images: str,
    labels: str,
    *,
    templates: Sequence[str] = (),
    english: str | None = None,
) -> tuple[Any, ...]:
    """The pictures of 1,000 class folders, or of those of some classes by name, and the files.

    Args:
        labels: its label file.
        templates: what stands about a name: `names` (nothing, the default), `ours` (a few forms in 18 languages), or
            JSON files: `{lang: [text with {}, …]}`, a list, OpenAI's, `FILE#imagenet1k`, `en:FILE`; the first that has
            a language counts.
        english: JSON list of the 1,000 curated English names.
    """
    forms = read_templates(templates)
    paths, targets = class_folders(images)
    if paths and len(set(targets)) != 1000:
        folders = [folder.name for folder in sorted({path.parent for path in paths})]
        numbers = class_numbers(folders)
        targets = [numbers[folders[target]] for target in targets]
    read_babel_labels(labels)
    curated = read_json(english) if english else None
    return images, labels, forms, curated, paths, targets


def _run(
    given: Any,
    encoder: Any,
    *,
    lang: Sequence[str] = ("all",),
    on_error: OnError = "raise",
    confidence: float | None = None,
) -> ResultSet:
    images, labels, forms, curated, paths, targets = given
    vectors = encode_files(encoder, paths) if paths else read_vectors(images)
    found = babel_imagenet(
        encoder, vectors, labels, prompts=forms, english=curated, lang="all" if list(lang) == ["all"] else list(lang),
        targets=targets if paths else None, on_error=on_error, confidence=confidence,
    )  # fmt: skip
    counts = Counter(targets)
    if paths and (len(counts) < 1000 or set(counts.values()) != {50}):
        most, least = max(counts.values()), min(counts.values())
        many = str(least) if most == least else f"{least} to {most}"
        found.notes = (
            f"{len(counts):,} of ImageNet's 1,000 classes with {many} pictures each, not 50 of each: no "
            "published figures",
        )
    return found


BABEL_IMAGENET = Benchmark(
    "babel-imagenet", "zeroshot", "accuracy on ImageNet in up to 298 languages",
    "--labels: `babel_imagenet.json`; --images: ImageNet's validation pictures, or folders of some of its classes by "
    "name; maybe --templates",
    "github.com/gregor-ge/Babel-ImageNet", Way(_run, _read),
)  # fmt: skip
