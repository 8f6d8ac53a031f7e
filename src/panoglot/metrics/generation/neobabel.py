"""Multilingual image generation: cross-lingual consistency (CLC), code-switching similarity (CSS), m-DPG questions.

Source: NeoBabel, 2025 (arXiv 2507.06137). The intent of CLC and CSS is the paper's; their exact formulae are
remembered, so both forms of CLC are offered and the result says which. Report them with GenEval, never alone:
failures look alike, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from panoglot.asking import ask, unit
from panoglot.checks import check_option
from panoglot.errors import RowError, UserError
from panoglot.languages import main_script
from panoglot.metrics._result import MetricResult, mean_result

if TYPE_CHECKING:
    from panoglot.pictures import Image
    from panoglot.providers.roles import Generator

__all__ = ["align_prompts", "cross_lingual_consistency", "dpg", "mix_prompts", "switching_similarity"]

_UNSPACED = frozenset(["Hans", "Hant", "Jpan", "Thai", "Laoo", "Khmr", "Mymr"])


def _cosines(one: Any, other: Any) -> float:
    return float((unit(one) @ unit(other).T).mean())


def cross_lingual_consistency(
    vectors: Mapping[Any, Mapping[str, Any]],
    *,
    reference: str | None = "en",
    backbone: str = "",
    confidence: float | None = None,
    seed: int = 0,
) -> MetricResult:
    """Mean cosine of images drawn for the same prompt in different languages.

    Args:
        vectors: prompt to language to image vectors `[K, dim]`.
        reference: compare every language with this one; None compares all pairs of languages.
        backbone: name of the image encoder, recorded.
        confidence: level of a bootstrap interval over prompts.
        seed: of the interval.

    Returns:
        `parts`: the mean for each language. A prompt that misses a language is null for all of them.

    Raises:
        UserError: the reference language is nowhere.

    >>> case = {"p": {"en": [[1, 0], [0, 1]], "fr": [[1, 0], [.6, .8]], "nl": [[0, 1], [0, 1]]}}
    >>> round(cross_lingual_consistency(case).value, 6)
    0.55
    """
    languages = sorted({lang for item in vectors.values() for lang in item})
    if reference is not None and reference not in languages:
        raise UserError(f"no images for the reference language '{reference}'; there are: {', '.join(languages)}.")
    pairs = (
        [(lang, reference) for lang in languages if lang != reference]
        if reference is not None
        else [(a, b) for n, a in enumerate(languages) for b in languages[n + 1 :]]
    )
    values: list[float | None] = []
    each: dict[str, list[float]] = {lang: [] for lang in languages if lang != reference}
    for item in vectors.values():
        if any(lang not in item for lang in languages) or not pairs:
            values.append(None)
            continue
        found = [_cosines(item[a], item[b]) for a, b in pairs]
        if any(map(math.isnan, found)):  # a picture without a vector
            values.append(None)
            continue
        values.append(sum(found) / len(found))
        for (a, b), value in zip(pairs, found):
            for lang in (a, b):
                if lang in each:
                    each[lang].append(value)
    return mean_result(
        "clc",
        values,
        version="1",
        ids=list(vectors),
        confidence=confidence,
        seed=seed,
        parts={lang: sum(found) / len(found) if found else None for lang, found in each.items()},
        options={"form": "all pairs" if reference is None else f"reference {reference}", "backbone": backbone},
    )


def mix_prompts(english: str, translation: str, lang: str) -> tuple[str, str]:
    """Change the language half-way: (English first, English second). The first half has floor(n / 2) words.

    Scripts without spaces are halved by characters.

    >>> mix_prompts("a photo of a cat", "een foto van een kat", "nl")
    ('a photo van een kat', 'een foto of a cat')
    """
    ours = english.split()
    pieces = list(translation.replace(" ", "")) if main_script(lang) in _UNSPACED else translation.split()
    glue = "" if main_script(lang) in _UNSPACED else " "
    a, b = len(ours) // 2, len(pieces) // 2
    first = [" ".join(ours[:a]), glue.join(pieces[b:])]
    second = [glue.join(pieces[:b]), " ".join(ours[a:])]
    return " ".join(filter(None, first)), " ".join(filter(None, second))


def switching_similarity(
    mixed: Mapping[Any, Mapping[str, Any]],
    english: Mapping[Any, Any],
    *,
    order: str = "english_first",
    backbone: str = "",
    confidence: float | None = None,
    seed: int = 0,
) -> MetricResult:
    """CSS: mean cosine between images of mixed prompts and images of the English prompt.

    Args:
        mixed: prompt to language to image vectors `[K, dim]` of the mixed prompt.
        english: prompt to image vectors of the English prompt.
        order: `english_first` (EF) or `english_second` (ES).
        backbone: name of the image encoder, recorded.
        confidence: level of a bootstrap interval over prompts.
        seed: of the interval.

    >>> switching_similarity({"p": {"nl": [[1, 0]], "fr": [[0, 1]]}}, {"p": [[1, 0]]}).value
    0.5
    """
    check_option("order", order, ("english_first", "english_second"))
    languages = sorted({lang for item in mixed.values() for lang in item})
    values: list[float | None] = []
    each: dict[str, list[float]] = {lang: [] for lang in languages}
    for prompt, item in mixed.items():
        if prompt not in english or any(lang not in item for lang in languages):
            values.append(None)
            continue
        found = {lang: _cosines(item[lang], english[prompt]) for lang in languages}
        if any(map(math.isnan, found.values())):
            values.append(None)
            continue
        values.append(sum(found.values()) / len(found))
        for lang, value in found.items():
            each[lang].append(value)
    return mean_result(
        "css",
        values,
        version="1",
        ids=list(mixed),
        confidence=confidence,
        seed=seed,
        parts={lang: sum(found) / len(found) if found else None for lang, found in each.items()},
        options={"order": order, "backbone": backbone},
    )


def align_prompts(files: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, str]]:
    """Join prompt files of several languages by what they ask for, not by line number.

    A shipped Persian m-GenEval file has other scenes than the English one on 90 of 553 lines: comparing by line
    compares different scenes. Rows are joined on everything but `prompt`; equal rows pair in their order; the rest is
    left out.

    Returns:
        Language to prompt, for every scene that all languages have. Its length is worth reporting.

    >>> english = [{"tag": "x", "prompt": "a cat"}, {"tag": "y", "prompt": "a dog"}]
    >>> align_prompts({"en": english, "de": [{"tag": "y", "prompt": "ein Hund"}]})
    [{'en': 'a dog', 'de': 'ein Hund'}]
    """
    keyed: dict[str, dict[str, list[str]]] = {}
    for lang, rows in files.items():
        for row in rows:
            key = json.dumps({k: v for k, v in row.items() if k != "prompt"}, sort_keys=True)
            keyed.setdefault(key, {}).setdefault(lang, []).append(row["prompt"])
    found = []
    for prompts in keyed.values():
        if len(prompts) == len(files):
            found += [dict(zip(files, row)) for row in zip(*(prompts[lang] for lang in files))]
    return found


def dpg(
    questions: Sequence[Sequence[Mapping[str, Any]]],
    images: Sequence[Image],
    generator: Generator,
    *,
    ids: Sequence[Any] | None = None,
    confidence: float | None = None,
    seed: int = 0,
) -> MetricResult:
    """m-DPG: share of a prompt's questions that a picture model answers with yes; a child counts only under a yes.

    Args:
        questions: for each image rows of `id`, `question`, and maybe `parents` (ids of questions it depends on).
        images: the generated images.
        generator: picture model; asked in English.
        ids: image ids.
        confidence: level of a bootstrap interval.
        seed: of the interval.

    Returns:
        Mean over images. An answer that says neither yes nor no is left out of its image; an image without a readable
        answer is null. `details`: the answers.

    Raises:
        UserError: different numbers of rows, a parent that does not exist.
    """
    from panoglot.metrics.captions.pope import read_yes_no
    from panoglot.providers.roles import Prompt

    if len(questions) != len(images):
        raise UserError(f"questions for {len(questions)} images but {len(images)} images.")
    jobs = [(n, row) for n, rows in enumerate(questions) for row in rows]
    prompts = [
        Prompt(f"{row['question']} Answer with yes or no only.", images=(images[n],), max_tokens=8) for n, row in jobs
    ]
    answers: list[dict[str, bool | None]] = [{} for _ in images]
    for (n, row), answer in zip(jobs, ask(generator, prompts)):
        answers[n][str(row["id"])] = None if isinstance(answer, RowError) else read_yes_no(answer.text)
    values: list[float | None] = []
    unread = 0
    for n, (rows, said) in enumerate(zip(questions, answers)):
        scores = []
        for row in rows:
            parents = [str(parent) for parent in row.get("parents", ())]
            if absent := [parent for parent in parents if parent not in said]:
                raise UserError(f"image {n}: question {row['id']} depends on {absent[0]}, which is not asked.")
            own = said[str(row["id"])]
            if own is None:
                unread += 1
            else:
                scores.append(float(own and all(said[parent] for parent in parents)))
        values.append(sum(scores) / len(scores) if scores else None)
    return mean_result(
        "dpg",
        values,
        version="1",
        ids=ids,
        confidence=confidence,
        seed=seed,
        details=tuple(answers),
        notes=(f"{unread} answers said neither yes nor no.",) if unread else (),
        options={"generator": getattr(generator, "fingerprint", type(generator).__name__)},
    )
