"""Zero-shot classification: pictures against class names in any language, with templates and partial label sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from panoglot.asking import encode_images, encode_texts, unit
from panoglot.checks import OnError, check_option, item_ids, offenders
from panoglot.errors import UserError
from panoglot.evaluate._descriptors import Descriptors, described
from panoglot.evaluate._templates import Templates
from panoglot.languages._tags import UNKNOWN_LANGUAGE, parse_language
from panoglot.metrics._result import MetricResult, mean_result
from panoglot.metrics._results import ResultSet, mean_over

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder

__all__ = ["Labels", "check_templates", "class_centres", "classify", "zeroshot"]

#: Names of classes: a list (class n is label n), or a mapping of class number to name (the others have no name).
Labels = Sequence[str] | Mapping[int, str]


def check_templates(templates: Sequence[str], lang: str) -> list[str]:
    """Return the templates.

    Raises:
        UserError: none, or some without exactly one `{}`.
    """
    if isinstance(templates, str):
        raise UserError("templates must be a list of texts with {} in each, not one text.")
    odd = [repr(text) for text in templates if text.count("{}") != 1]
    if odd or not templates:
        raise UserError(
            f"'{lang}': {len(odd)} of {len(templates)} templates do not have exactly one {{}}: {offenders(odd)}."
        )
    return list(templates)


def class_centres(vectors: Any) -> np.ndarray:
    """Class vectors of text vectors `[C, T, dim]`: unit rows, mean over the templates, unit again.

    >>> class_centres([[[1, 0], [0.8, 0.6]]]).round(4).tolist()
    [[0.9487, 0.3162]]
    """
    import numpy as np

    found = np.asarray(vectors, dtype=np.float64)
    if found.ndim != 3:
        raise UserError(f"text vectors must be [classes, templates, dim], not of shape {list(found.shape)}.")
    classes, templates, dim = found.shape
    rows = unit(found.reshape(-1, dim)).reshape(classes, templates, dim)
    return rows[:, 0] if templates == 1 else unit(rows.mean(axis=1))


def classify(
    images: Any,
    centres: Any,
    targets: Sequence[int],
    *,
    classes: Sequence[int] | None = None,
    top: int = 5,
    ids: Sequence[Any] | None = None,
    lang: str = "",
    name: str = "zeroshot",
    on_error: OnError = "raise",
    options: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Accuracy of the nearest class. Equal scores: the class that comes first wins, so the later one never does.

    Args:
        images: `[N, dim]`.
        centres: `[C, dim]` of the classes that have a name.
        targets: class number of each picture.
        classes: class numbers of the rows of `centres`; pictures of other classes are left out, not counted wrong.
            None: row n is class n.
        top: also accuracy among the best `top`.
        ids: picture ids.
        lang: language of the names.
        name: name of the result.
        on_error: pictures or classes without a usable vector: `raise`, or `null` (pictures unscored, classes never
            found).
        options: recorded.
        notes: recorded.
        confidence: level of a bootstrap interval.
        resamples: of the interval.
        seed: of the interval.

    Returns:
        `value` top-1 accuracy over pictures; parts: `accuracy@<top>`, `per_class` (mean over classes), `chance`,
        `classes`.
    """
    import numpy as np

    check_option("on_error", on_error, ("raise", "null"))
    rows, middle = unit(images), unit(centres)
    if rows.shape[1] != middle.shape[1]:
        raise UserError(f"pictures have {rows.shape[1]} dimensions, class names {middle.shape[1]}: use one encoder.")
    names = item_ids(ids, len(rows))
    if len(targets) != len(rows):
        raise UserError(f"{len(rows)} pictures need as many targets, not {len(targets)}.")
    numbers = list(range(len(middle))) if classes is None else [int(c) for c in classes]
    if len(numbers) != len(middle) or len(set(numbers)) != len(numbers):
        raise UserError(f"{len(middle)} class vectors need as many different class numbers, not {len(set(numbers))}.")
    if len(numbers) < 2:
        raise UserError(f"'{lang}' has {len(numbers)} classes with a name; classification needs at least two.")
    place = {number: n for n, number in enumerate(numbers)}
    chosen = [n for n, target in enumerate(targets) if int(target) in place]
    if not chosen:
        raise UserError(f"no picture is of a class that has a name in '{lang}'.")
    truth = np.array([place[int(targets[n])] for n in chosen])
    rows = rows[chosen]
    kept_names = [names[n] for n in chosen]
    bad = [kept_names[n] for n in np.flatnonzero(np.isnan(rows).any(axis=1))]
    mute = [str(numbers[n]) for n in np.flatnonzero(np.isnan(middle).any(axis=1))]
    if on_error == "raise" and (bad or mute):
        what = f"{len(bad)} pictures ({offenders(bad)})" if bad else f"{len(mute)} classes ({offenders(mute)})"
        raise UserError(f"{what} have no usable vector; leave them out with on_error='null'.")
    right, among = _hits(rows, middle, truth, top)
    groups: dict[int, list[float]] = {}
    for number, hit in zip(truth.tolist(), right):
        if hit is not None:
            groups.setdefault(number, []).append(hit)
    scored = [value for value in among if value is not None]
    parts = {
        f"accuracy@{top}": sum(scored) / len(scored) if scored else None,
        "per_class": sum(sum(g) / len(g) for g in groups.values()) / len(groups) if groups else None,
        "chance": 1 / len(numbers),
        "classes": float(len(numbers)),
    }
    return mean_result(
        name,
        right,
        version="1",
        ids=kept_names,
        language=lang,
        parts=parts,
        options=dict(options or {}),
        notes=tuple(notes) + ((f"{len(mute)} classes have no vector and were never found",) if mute else ()),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def _hits(rows: Any, middle: Any, truth: Any, top: int) -> tuple[list[float | None], list[float | None]]:
    """Whether the right class is the nearest of each picture, and whether it is among the best `top`."""
    import numpy as np

    right: list[float | None] = []
    among: list[float | None] = []
    size = max(1, (8 << 20) // len(middle))
    for start in range(0, len(rows), size):
        scores = np.nan_to_num(rows[start : start + size] @ middle.T, nan=-np.inf)
        want = truth[start : start + size]
        own = scores[np.arange(len(want)), want]
        earlier = np.arange(len(middle))[None, :] < want[:, None]
        better = (scores > own[:, None]).sum(axis=1) + ((scores == own[:, None]) & earlier).sum(axis=1)
        for lost, count in zip(np.isnan(rows[start : start + size]).any(axis=1), better.tolist()):
            right.append(None if lost else float(count == 0))
            among.append(None if lost else float(count < top))
    return right, among


def _own(templates: Mapping[str, Sequence[str]] | Sequence[str]) -> Templates:
    """Templates from Python, known by their hash."""
    found = templates if isinstance(templates, Mapping) else {"*": check_templates(templates, "*")}
    plain = {lang: list(texts) for lang, texts in found.items()}
    said = json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()
    bare = all(texts == ["{}"] for texts in plain.values())
    return Templates(plain, "names" if bare else f"own ({hashlib.sha256(said).hexdigest()[:8]})")


def zeroshot(
    encoder: Encoder,
    images: Sequence[Image] | np.ndarray,
    targets: Sequence[int],
    labels: Mapping[str, Labels],
    *,
    templates: Mapping[str, Sequence[str]] | Sequence[str] = ("{}",),
    descriptors: Descriptors | None = None,
    name: str = "zeroshot",
    ids: Sequence[Any] | None = None,
    on_error: OnError = "raise",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> ResultSet:
    """Classify pictures with class names in several languages. Pictures are encoded once.

    Args:
        encoder: of pictures and texts.
        images: pictures, or their vectors `[N, dim]`.
        targets: class number of each picture.
        labels: class names by language; a mapping of class number to name where some classes have none (their pictures
            are left out for that language, so chance differs: it is reported).
        templates: texts with one `{}`, for all languages or by language, or of `read_templates`; a language without any
            gets `{}`. Results say which (`template_set`).
        descriptors: what things of a class look like, of `read_descriptors`: a class is the mean over templates and
            descriptors. Results say which (`descriptors`); classes without any have their templates alone.
        name: name of the results.
        ids: picture ids.
        on_error: see `classify`.
        confidence: level of bootstrap intervals.
        resamples: of the intervals.
        seed: of the intervals.

    Returns:
        A result a language; `summary["mean"]` is their unweighted mean.
    """
    import numpy as np

    if not labels:
        raise UserError("give class names in at least one language.")
    forms_of = templates if isinstance(templates, Templates) else _own(templates)
    plan: dict[str, tuple[list[int], list[str], list[str]]] = {}
    for lang, given in labels.items():
        table = dict(given) if isinstance(given, Mapping) else dict(enumerate(given))
        empty = [str(number) for number, label in table.items() if not str(label).strip()]
        if empty:
            raise UserError(f"'{lang}': {len(empty)} classes have an empty name: {offenders(empty)}.")
        texts = forms_of.of(lang)
        plan[lang] = ([int(n) for n in table], list(map(str, table.values())), check_templates(texts, lang))
    vectors = images if isinstance(images, np.ndarray) else encode_images(encoder, images)
    found = ResultSet()
    for lang, (numbers, words, forms) in plan.items():
        more = descriptors.of(lang) if descriptors is not None else {}
        said = [described(word, forms, more.get(word, ()), lang) for word in words]
        encoded = encode_texts(
            encoder, [text for one in said for text in one], parse_language(lang) or UNKNOWN_LANGUAGE
        )
        edges = np.cumsum([0, *map(len, said)])
        centres = np.concatenate([class_centres(encoded[None, low:high]) for low, high in pairwise(edges)])
        notes = []
        if len(set(words)) < len(words):
            notes.append(f"'{lang}': {len(words) - len(set(words))} classes share a name with another; the first wins")
        without = sum(word not in more for word in words)
        if descriptors is not None and without:
            notes.append(f"'{lang}': {without} of {len(words)} classes have no descriptors: their templates alone")
        found[lang] = classify(
            vectors,
            centres,
            targets,
            classes=numbers,
            ids=ids,
            lang=lang,
            name=name,
            on_error=on_error,
            options={
                "templates": len(forms),
                "template_set": forms_of.label,
                **({} if descriptors is None else {"descriptors": descriptors.label}),
                "classes": len(words),
                "encoder": getattr(encoder, "name", ""),
                "encoder_fingerprint": getattr(encoder, "fingerprint", ""),
            },
            notes=notes,
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        )
    found.summary = {"mean": mean_over(found)}
    return found
