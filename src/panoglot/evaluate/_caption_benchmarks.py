"""Benchmarks of captioners as commands run them: files in, results out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from panoglot.checks import meet_ids, same_ids
from panoglot.errors import UserError
from panoglot.evaluate._command_list import BENCHMARKS
from panoglot.evaluate._judge import load_judge
from panoglot.evaluate._read import read_predictions
from panoglot.formats._json import read_json
from panoglot.metrics._results import ResultSet

__all__ = ["CAPTION_BENCHMARKS", "need"]


def need(benchmark: str, **given: Any) -> None:
    """Refuse missing files by saying what they are and where they come from.

    Raises:
        UserError: some are None.
    """
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if missing:
        row = BENCHMARKS[benchmark]
        raise UserError(f"'{benchmark}' needs {', '.join(missing)}. It takes {row.files}. From {row.source}.")


def _detailcaps(preds: str, *, data: str | None, model: str | None, **rest: Any) -> ResultSet:
    from panoglot.evaluate._score import Scorer
    from panoglot.evaluate.benchmarks._detailcaps import read_detailcaps

    need(rest["benchmark"], data=data)
    truth = read_detailcaps(str(data))
    if model is not None and Path(preds) == Path(str(data)):
        given = dict(truth.captions_of(model))
    else:
        given = read_predictions(preds, lang=rest["lang"], model=model)
    options = {key: rest[key] for key in ("lang", "encoder", "parser", "on_error", "confidence", "cache")}
    return Scorer(["capture"], **options)(given, truth.references)


def _decapbench(preds: str, *, data: str | None, images: str | None, judge: str | None, **rest: Any) -> ResultSet:
    from panoglot.evaluate.benchmarks._decapbench import decapbench, read_decapbench

    need(rest["benchmark"], data=data, images=images, judge=judge)
    given, truth = read_predictions(preds, model=rest["model"]), read_decapbench(str(data))
    options = {key: rest[key] for key in ("lang", "on_error", "confidence")}
    return ResultSet({"dcscore": decapbench(given, truth, str(images), _judge(judge, rest), **options)})


def _truematch(preds: str, *, data: str | None, images: str | None, encoder: str | None, **rest: Any) -> ResultSet:
    from panoglot.asking import load_encoder
    from panoglot.evaluate.benchmarks._truematch import read_bags, truematch

    need(rest["benchmark"], data=data, images=images, encoder=encoder)
    found = truematch(
        read_predictions(preds, model=rest["model"]), read_bags(str(data)), str(images),
        load_encoder(str(encoder), rest["cache"]), lang=rest["lang"], confidence=rest["confidence"],
    )  # fmt: skip
    return ResultSet({"truematch": found})


def _finecapeval(preds: str, *, data: str | None, **rest: Any) -> ResultSet:
    from panoglot.evaluate._score import Scorer
    from panoglot.metrics.captions.finecapeval import finecapeval, read_finecapeval

    need(rest["benchmark"], data=data)
    phrases, references = read_finecapeval(str(data))
    given = read_predictions(preds, model=rest["model"])
    given, note = meet_ids(phrases, given, "captions")
    said = {name: given.get(name) for name in phrases}
    same_ids(phrases, {name: text for name, text in said.items() if text is not None}, "caption")
    found = ResultSet({"finecapeval": finecapeval(said, phrases, confidence=rest["confidence"])})  # type: ignore[arg-type]
    options = {key: rest[key] for key in ("lang", "on_error", "confidence", "tokenizer")}
    scored = Scorer(["bleu", "rouge-l", "cider"], **options)(said, references)
    found.update(scored)
    found.notes = (*scored.notes, *([note] if note else []))
    return found


def _caparena_auto(preds: str, *, data: str | None, images: str | None, judge: str | None, **rest: Any) -> ResultSet:
    from panoglot.evaluate.benchmarks._caparena import caparena_auto, caparena_auto_verdicts

    rows = read_json(preds) if not Path(preds).is_dir() else {}
    if isinstance(rows, list) and rows and all(isinstance(row, dict) and "judge" in row for row in rows):
        return ResultSet({"caparena-auto": caparena_auto_verdicts(rows)})
    need(rest["benchmark"], data=data, images=images, judge=judge)
    said = {key: text or "" for key, text in read_predictions(preds, model=rest["model"]).items()}
    gold = read_json(str(data))
    said, note = meet_ids(gold, said, "captions")
    found = caparena_auto(_judge(judge, rest), said, gold, str(images))
    return ResultSet({"caparena-auto": found}, notes=(note,) if note else ())


def _judge(name: Any, rest: dict[str, Any]) -> Any:
    return load_judge(str(name), rest["cache"], prices=rest["prices"], max_cost=rest["max_cost"])


def _dense_captions(preds: str, *, data: str | None, **rest: Any) -> ResultSet:
    from panoglot.evaluate.benchmarks._dense_captions import dense_captions

    need(rest["benchmark"], data=data)
    return dense_captions(
        preds, str(data), lang=rest["lang"], tokenizer=rest["tokenizer"], confidence=rest["confidence"]
    )


#: Benchmark to what runs it.
CAPTION_BENCHMARKS: dict[str, Callable[..., ResultSet]] = {
    "detailcaps": _detailcaps,
    "decapbench": _decapbench,
    "truematch": _truematch,
    "finecapeval": _finecapeval,
    "caparena-auto": _caparena_auto,
    "dense-captions": _dense_captions,
}
