"""DetailCaps: long captions of 4,870 (or 100) pictures with three references each, for CAPTURE (arXiv 2405.19092).

File, from huggingface.co/datasets/foundation-multimodal-models/DetailCaps-4870: parquet (or JSONL) with `image`, the
references `GT_Caption_<writer>`, a column of captions for each candidate model, and maybe `GPT4_Eval`, a JSON object
with a score for each candidate.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panoglot.checks import meet_ids, offenders
from panoglot.errors import UserError, did_you_mean
from panoglot.evaluate._declare import Benchmark, Protocol, Way
from panoglot.evaluate._human import HumanRows, computed, number
from panoglot.evaluate._read import read_predictions
from panoglot.evaluate._score import Scorer
from panoglot.formats._json import read_json, read_rows
from panoglot.metrics._results import ResultSet
from panoglot.metrics.preference.agreement import agreement

__all__ = ["DETAILCAPS", "DETAILCAPS_AGREEMENT", "DetailCaps", "read_detailcaps"]

_REFERENCE, _SCORES = "GT_Caption_", "GPT4_Eval"
_NO_CAPTION = frozenset(["binary", "image", "source", _SCORES])


@dataclass(frozen=True)
class DetailCaps:
    """The file, by picture.

    Attributes:
        references: three a picture.
        candidates: captions by model, by picture.
        scores: an expert model's score by model, by picture; empty where the file has none.
    """

    references: Mapping[str, list[str]]
    candidates: Mapping[str, Mapping[str, str | None]]
    scores: Mapping[str, Mapping[str, float | None]]

    def captions_of(self, model: str) -> Mapping[str, str | None]:
        """Captions of one candidate.

        Raises:
            UserError: there is no such candidate.
        """
        if model not in self.candidates:
            raise UserError(f"DetailCaps has no captions of '{model}'.{did_you_mean(model, self.candidates)}")
        return self.candidates[model]


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix != ".parquet":
        return read_rows(path)
    import pyarrow.parquet
    from pyarrow import ArrowException

    try:
        names = pyarrow.parquet.read_schema(path).names
        found: list[dict[str, Any]] = pyarrow.parquet.read_table(
            path, columns=[name for name in names if name != "binary"]
        ).to_pylist()
        return found
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except (OSError, ArrowException) as error:
        raise UserError(f"{path} cannot be read as parquet ({error}).") from None


def read_detailcaps(path: str | os.PathLike[str]) -> DetailCaps:
    """Read the benchmark's file.

    Raises:
        UserError: no file, no references, a picture twice.
    """
    rows = _rows(Path(path))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    given = [name for name in columns if name.startswith(_REFERENCE)]
    if not given or "image" not in columns:
        raise UserError(
            f"{path} is not DetailCaps: it needs the columns image and {_REFERENCE}…; has {offenders(columns)}."
        )
    names = [str(row["image"]) for row in rows]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise UserError(f"{path} has {len(twice)} pictures more than once: {offenders(twice)}.")
    references = {name: [row[column] for column in given if row.get(column)] for name, row in zip(names, rows)}
    text = [
        c for c in columns if c not in given and c not in _NO_CAPTION and any(isinstance(r.get(c), str) for r in rows)
    ]
    candidates = {column: {name: row.get(column) for name, row in zip(names, rows)} for column in text}
    scores: dict[str, dict[str, float | None]] = {}
    for name, row in zip(names, rows):
        raw = row.get(_SCORES)
        table = json.loads(raw) if isinstance(raw, str) else raw
        for model, value in (table or {}).items():
            if isinstance(value, int | float):
                scores.setdefault(model, {})[name] = float(value)
    return DetailCaps(references, candidates, scores)


def _read(preds: str, data: str, *, model: str | None = None, lang: str = "en") -> tuple[Any, DetailCaps]:
    """Captions, and the benchmark's file; they may be a model's column of it.

    Args:
        model: whose captions to take from a file or dataset of several models.
    """
    truth = read_detailcaps(data)
    if model is not None and Path(preds) == Path(data):
        return dict(truth.captions_of(model)), truth
    return read_predictions(preds, lang=lang, model=model), truth


def _run(
    given: Any,
    *,
    lang: str = "en",
    encoder: Any = None,
    parser: Any = None,
    stop_words: str | None = None,
    aggregate: str = "mean",
    matching: str = "greedy",
    on_error: str = "raise",
    confidence: float | None = None,
) -> ResultSet:
    captions, truth = given
    score = Scorer(
        ["capture"], lang=lang, encoder=encoder, parser=parser, on_error=on_error, confidence=confidence,
        stop_words=stop_words, aggregate=aggregate, matching=matching,
    )  # fmt: skip
    return score(captions, truth.references)


#: CAPTURE as its code runs it on DetailCaps: parser with 5 beams and 128 tokens, MPNet for what is left.
PAPER = Protocol(
    options={"lang": "en", "aggregate": "mean", "matching": "greedy"},
    models={
        "parser": "hf:lizhuang144/flan-t5-base-VG-factual-sg?beams=5&max_tokens=128",
        "encoder": "st:sentence-transformers/all-mpnet-base-v2",
    },
    files={"stop_words": "capture/capture_metric/stop_words.py of github.com/foundation-multimodal-models/CAPTURE"},
    unverified=(
        "51.05 of LLaVA-1.5-7B, 60.06 of CogVLM, 59.80 of ShareCaptioner, and the agreement with experts (PCC .5091): "
        "the hosted captions and the parser's weights were not here",
        "the order of matches: the released code goes through sets, ours through sorted lists",
        "nouns of the whole caption: NLTK's tagger in the released code, the rule tagger here",
    ),
)


DETAILCAPS = Benchmark(
    "detailcaps", "captions", "CAPTURE of long captions against three references (4,870 or 100 pictures)",
    "--data: its parquet file, or JSONL (`image, GT_Caption_…`)",
    "huggingface.co/datasets/foundation-multimodal-models/DetailCaps-4870", Way(_run, _read), {"paper": PAPER},
)  # fmt: skip


def _rows_of(path: str) -> HumanRows:
    """The candidates with the scores that the file brings."""
    data = read_detailcaps(path)
    found = HumanRows()
    for model, scores in data.scores.items():
        for picture, score in scores.items():
            caption = data.candidates.get(model, {}).get(picture)
            found.add(caption, score, model, picture, data.references[picture], picture)
    if not found.captions:
        raise UserError(f"{path} has no scores of candidates (GPT4_Eval).")
    return found


def _agreement(
    score: Any, human: str, *, statistic: str = "kendall_b", groups: str | None = None, confidence: float | None = None
) -> ResultSet:
    return computed(score, _rows_of(human), statistic=statistic, grouped=groups is not None, confidence=confidence)


def _stored(
    scores: str, human: str, *, statistic: str = "kendall_b", groups: str | None = None, confidence: float | None = None
) -> ResultSet:
    """Agreement of stored scores, `{model: {picture: score}}`, with those that the file brings.

    Raises:
        UserError: another form, models or pictures that lack a score.
    """
    rows, table = _rows_of(human), read_json(scores)
    if not isinstance(table, dict) or not all(isinstance(one, dict) for one in table.values()):
        raise UserError(f"{scores} must be one JSON object: {{model: {{picture: score}}}}.")
    lacking = sorted({writer for writer in rows.writers if writer not in table})
    if lacking:
        raise UserError(f"{scores} has no scores of {len(lacking)} models: {offenders(lacking)}.")
    values: list[float | None] = []
    met: dict[str, Mapping[str, Any]] = {}
    for writer, picture in zip(rows.writers, rows.pictures):
        if writer not in met:
            mine = [one for one, other in zip(rows.pictures, rows.writers) if other == writer]
            met[writer], _ = meet_ids(mine, table[writer], "scores")
        if picture not in met[writer]:
            raise UserError(f"{scores}: '{writer}' has no score of {picture}.")
        values.append(number(met[writer][picture], scores, len(values)))
    name, grouped = Path(scores).stem, rows.groups if groups is not None else None
    found = agreement(values, rows.scores, statistic=statistic, groups=grouped, metric=name, confidence=confidence)
    return ResultSet({name: found})


DETAILCAPS_AGREEMENT = Benchmark(
    "detailcaps", "agreement", "a metric's scores of long captions against those that the file brings (GPT4_Eval)",
    "its parquet file, or JSONL; stored scores as `{model: {picture: score}}`",
    "huggingface.co/datasets/foundation-multimodal-models/DetailCaps-4870",
    {"score": Way(_agreement), "scores": Way(_stored)},
)  # fmt: skip
