"""MTEB and its picture side MIEB: any encoder of ours under `mteb`, and its result files as results of ours.

Tasks, data and scores are that package's own (Muennighoff et al., EACL 2023; Enevoldsen et al., ICLR 2025; Xiao et al.,
ICCV 2025); it downloads the data of a task when it runs it. Here are the model that it calls, and the way back.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean, require
from panoglot.evaluate._ask import call, unit
from panoglot.evaluate._borda import Standings, standings
from panoglot.evaluate._check import check_option, offenders
from panoglot.evaluate._result import MetricResult, mean_result
from panoglot.evaluate._results import ResultSet
from panoglot.table import UNKNOWN_LANGUAGE, parse_language

if TYPE_CHECKING:
    import numpy as np

    from panoglot.io import Image
    from panoglot.models.roles import Encoder

__all__ = ["PROMPTS", "MtebEncoder", "load_mteb", "mteb", "mteb_standings"]

#: Named sets of prompts: by prompt type, task type or task, see `MtebEncoder`.
PROMPTS: dict[str, dict[str, str]] = {
    "none": {},
    "e5": {"query": "query: ", "document": "passage: ", "*": "query: "},
    "e5-instruct": {
        "query": "Instruct: {instruction}\nQuery: ",
        "document": "",
        "*": "Instruct: {instruction}\nQuery: ",
    },
}
#: Main scores of results from before mteb 1.11, which do not say them: the first that is there.
_MAIN = ("ndcg_at_10", "v_measure", "cos_sim/spearman", "max/ap", "cos_sim/ap", "map", "accuracy")


class MtebEncoder:
    """An encoder of ours as `mteb` wants it (its `EncoderProtocol`): `mteb.evaluate(MtebEncoder(encoder), tasks)`.

    Texts come with the task's language; pictures as they are; text and picture together as the sum of both vectors.
    What cannot be encoded becomes a zero vector (cosine 0 with everything), counted in `failed`.

    Args:
        encoder: of texts, or of texts and pictures.
        prompts: what is put before texts: a name of `PROMPTS`, or texts by `<task>-query`, `<task>-document`, `<task>`,
            the same of the task's type, `query`, `document`, and `*` for all others, the first that is there.
            `{instruction}` in one is the task's own instruction.
        modalities: `text`, `image` or both; None asks the encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        prompts: str | Mapping[str, str] = "none",
        modalities: Sequence[str] | None = None,
    ) -> None:
        self.encoder = encoder
        if isinstance(prompts, str):
            check_option("prompts", prompts, PROMPTS)
            prompts = PROMPTS[prompts]
        # `passage` was the name of documents before mteb 2
        self.prompts = {key.replace("passage", "document"): text for key, text in prompts.items()}
        self.modalities = list(modalities) if modalities is not None else _modalities(encoder)
        self.failed = 0
        self._meta: Any = None

    @property
    def mteb_model_meta(self) -> Any:
        """What `mteb` writes beside results: name, revision (the fingerprint), dimension."""
        if self._meta is None:
            package = require("mteb.models.model_meta", "panoglot[mteb]", "mteb")
            name = getattr(self.encoder, "name", "") or type(self.encoder).__name__
            revision = getattr(self.encoder, "fingerprint", "") or None
            self._meta = package.ModelMeta.create_empty(
                {
                    "name": "panoglot/" + name.replace("/", "__"),
                    "revision": "".join(c if c.isalnum() or c in "-_." else "_" for c in revision or "none")[:100],
                    "embed_dim": self.encoder.dim,
                    "modalities": self.modalities,
                    "similarity_fn_name": package.ScoringFunction.COSINE,
                }
            )
        return self._meta

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Encode batches of texts, pictures or both: unit rows float32 `[N, dim]`.

        Args:
            inputs: batches `{"text": […]}`, `{"image": […]}` or both.
            task_metadata: of the task.
            hf_split: of the task.
            hf_subset: of the task: says the language.
            prompt_type: query, document or None.
            **kwargs: `mteb`'s batch size and such; ours is the encoder's.
        """
        import numpy as np

        before = self._prompt(task_metadata, prompt_type)
        lang = _language(task_metadata, hf_subset)
        parts = [np.zeros((0, self.encoder.dim), dtype=np.float32)]
        for batch in inputs:
            sides = []
            if "text" in batch:
                texts = [before + text for text in batch["text"]]
                sides.append(self._rows("encode_texts", texts, [lang] * len(texts)))
            if "image" in batch:
                sides.append(self._rows("encode_images", [_picture(image) for image in batch["image"]]))
            if not sides:
                raise UserError(
                    f"task {task_metadata.name} wants {offenders(batch)} encoded; encoders take texts and pictures."
                )
            parts.append(np.sum(sides, axis=0))
        rows = unit(np.concatenate(parts)) if len(parts) > 1 else parts[0]
        self.failed += int(np.isnan(rows).any(axis=1).sum())
        return np.nan_to_num(rows).astype(np.float32)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines `[N, M]`."""
        return importlib.import_module("mteb.similarity_functions").cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines `[N]` of rows with rows."""
        return importlib.import_module("mteb.similarity_functions").pairwise_cos_sim(embeddings1, embeddings2)

    def _rows(self, method: str, *columns: list[Any]) -> np.ndarray:
        import numpy as np

        rows = np.asarray(call(self.encoder, method, *columns), dtype=np.float32)
        if rows.ndim != 2:
            raise UserError("this encoder gives several vectors a text or picture; mteb's tasks need one.")
        return unit(rows)

    def _prompt(self, task: Any, prompt_type: Any) -> str:
        kind = getattr(prompt_type, "value", prompt_type)
        keys = [key for name in (task.name, task.type) for key in ([f"{name}-{kind}", name] if kind else [name])]
        text = next((self.prompts[key] for key in (*keys, kind or "*", "*") if key in self.prompts), "")
        return text.replace("{instruction}", _instruction(task, kind)) if "{instruction}" in text else text


def _modalities(encoder: Any) -> list[str]:
    """What an encoder takes, by asking it: encoders with one tower refuse the other call."""
    import PIL.Image

    from panoglot.io import Image

    found = []
    white = Image.from_pil(PIL.Image.new("RGB", (32, 32), "white"))
    for name, method, columns in (("text", "encode_texts", (["a"], ["en"])), ("image", "encode_images", ([white],))):
        try:
            call(encoder, method, *columns)  # type: ignore[arg-type]
        except (UserError, NotImplementedError):
            continue
        found.append(name)
    return found


def _picture(image: Any) -> Image:
    from panoglot.io import Image

    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG", compress_level=1)
    return Image(buffer.getvalue())


def _language(task: Any, subset: str) -> str:
    """The language of a subset; `und` where it has several (translation pairs)."""
    tags = task.hf_subsets_to_langscripts.get(subset) or []
    return _tag(tags[0]) if len(tags) == 1 else UNKNOWN_LANGUAGE


def _tag(code: str) -> str:
    """Our tag of a code of `mteb`, which has members of macrolanguages and every script.

    >>> [_tag(code) for code in ("swh-Latn", "cmn-Hant", "arb-Arab", "deu-Latn", "?")]
    ['sw', 'zh-Hant', 'ar', 'de', 'und']
    """
    import langcodes

    try:
        return parse_language(langcodes.standardize_tag(code, macro=True)) or UNKNOWN_LANGUAGE
    except langcodes.LanguageTagError:
        return UNKNOWN_LANGUAGE


def _instruction(task: Any, kind: str | None) -> str:
    prompt = task.prompt
    if isinstance(prompt, Mapping):
        prompt = prompt.get(kind or "query") or next(iter(prompt.values()), "")
    if prompt:
        return str(prompt)
    try:
        return str(importlib.import_module("mteb.abstasks.abstask").get_abstask_prompt(task.name))
    except KeyError:  # a task that mteb does not list
        return str(task.description)


def mteb(
    encoder: Encoder,
    tasks: Sequence[Any],
    *,
    prompts: str | Mapping[str, str] = "none",
    lang: Sequence[str] = (),
    by: str = "task",
    folder: str | os.PathLike[str] | None = None,
) -> ResultSet:
    """Run tasks of `mteb`.

    Args:
        encoder: see `MtebEncoder`.
        tasks: names, names of `mteb`'s benchmarks, `python:module:Class` for tasks of your own, or task objects.
        prompts: see `MtebEncoder`.
        lang: languages to keep, ISO 639-3 as `mteb` has them (`deu`) or BCP-47 (`de`); empty for all.
        by: see `load_mteb`.
        folder: where `mteb` keeps its own result files (and takes up again what is there); None keeps none.

    Raises:
        MissingPackage: `mteb` is not installed.
        UserError: unknown tasks.
    """
    package = require("mteb", "panoglot[mteb]", "evaluate mteb")
    chosen = _tasks(package, tasks, [_iso3(tag) for tag in lang])
    model = MtebEncoder(encoder, prompts)
    cache = package.ResultCache(cache_path=Path(folder)) if folder is not None else None
    try:
        found = package.evaluate(model, chosen, cache=cache, co2_tracker=False, show_progress_bar=False)
    except ValueError as error:
        if "modalities" in str(error) or "none overlap" in str(error):  # texts for a picture encoder, or the reverse
            raise UserError(str(error).partition("\n")[0]) from None
        raise
    types = {task.metadata.name: str(task.metadata.type) for task in chosen}
    name = getattr(encoder, "name", "")
    results = _results([_new(json.loads(one.model_dump_json())) for one in found.task_results], by, types, name)
    if model.failed:
        results.notes += (f"{model.failed} texts or pictures could not be encoded: zero vectors, found by nothing",)
    return results


def _iso3(tag: str) -> str:
    import langcodes

    if len(tag) == 3 or "-" in tag[4:]:
        return tag
    return langcodes.get(tag).to_alpha3()


def _tasks(package: Any, asked: Sequence[Any], languages: list[str]) -> list[Any]:
    found: list[Any] = []
    for task in asked:
        if not isinstance(task, str):
            found.append(task)
        elif task.startswith("python:"):
            module, _, name = task.removeprefix("python:").partition(":")
            try:
                found.append(getattr(importlib.import_module(module), name)())
            except (ImportError, AttributeError) as error:
                raise UserError(f"there is no task {task} ({error}): write python:package.module:Class.") from None
        else:
            try:
                found.append(package.get_task(task))
            except KeyError:
                try:
                    found += list(package.get_benchmark(task))
                except KeyError:
                    known = {one.metadata.name for one in package.get_tasks()}
                    known |= {one.name for one in package.get_benchmarks()}
                    raise UserError(f"mteb has no task or benchmark '{task}'.{did_you_mean(task, known)}") from None
    if not found:
        raise UserError("give tasks, for example --tasks STS22.v2,XM3600T2IRetrieval.")
    if languages:
        kept, why = [], ""
        for task in found:
            try:
                kept.append(task.filter_languages(languages))
            except ValueError as error:  # nothing of it is in these languages, or no such language
                why = str(error).partition("\n")[0]
        if not kept:
            raise UserError(f"none of the tasks is in {offenders(languages)} ({why}).")
        return kept
    return found


def load_mteb(
    path: str | os.PathLike[str],
    *,
    by: str | None = None,
    types: Mapping[str, str] | None = None,
    model: str | None = None,
) -> ResultSet:
    """Read result files of `mteb`, of before version 1.11 too, so that `compare` can take them. `mteb` is not needed.

    Args:
        path: a task's JSON file, or a folder of them (a model's in `results/<model>/<revision>/`).
        by: what is one result: `all` (items are tasks), `task` (items are its subsets, mostly languages), `type` (items
            are tasks of a type) or `language` (items are tasks with it). None: `task` for a file, `all` for a folder.
        types: type of each task, for `by="type"`; without it `mteb` is asked, if it is installed.
        model: which model, where a folder has several.

    Returns:
        Main scores. A task's score is the unweighted mean over its splits and subsets; scores that are missing or NaN
        are null.

    Raises:
        UserError: no results there, several models or revisions, unknown types.
    """
    source = Path(path)
    files = [source] if source.is_file() else sorted(source.rglob("*.json")) if source.is_dir() else []
    groups: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read as JSON ({error}).") from None
        if is_mteb(data):
            try:
                row = _new(data) if "task_name" in data else _old(data)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise UserError(f"{file} is not a result of mteb ({type(error).__name__}: {error}).") from None
            groups.setdefault(str(file.parent.relative_to(source)) if source.is_dir() else "", []).append(row)
    if not groups:
        raise UserError(f"there are no results of mteb at {source}.")
    if model is not None:
        groups = {name: rows for name, rows in groups.items() if model in name.split(os.sep)}
    if len(groups) != 1:
        raise UserError(f"{source} has results of {len(groups)} models or revisions: {offenders(groups)}. Give one.")
    ((where, rows),) = groups.items()
    return _results(rows, by or ("task" if source.is_file() else "all"), types, model or where)


def is_mteb(data: Any) -> bool:
    """Whether a JSON object is a task's result of `mteb`."""
    return isinstance(data, dict) and (("task_name" in data and "scores" in data) or "mteb_dataset_name" in data)


def _score(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else None


def _new(data: Mapping[str, Any]) -> dict[str, Any]:
    """Layout since 1.11: `scores: {split: [{hf_subset, languages, main_score, …}]}`."""
    rows = [
        (split, str(one["hf_subset"]), [str(tag) for tag in one["languages"]], _score(one["main_score"]))
        for split, subsets in data["scores"].items()
        for one in subsets
    ]
    return {"task": data["task_name"], "revision": data.get("dataset_revision"), "rows": rows}


def _old(data: Mapping[str, Any]) -> dict[str, Any]:
    """Layout before 1.11: `<split>: {<language>: {…}}` or `<split>: {…}`; the main score has to be found."""
    rows = []
    for split, scores in data.items():
        if not isinstance(scores, dict) or split == "evaluation_phases":
            continue
        inner = {key: value for key, value in scores.items() if isinstance(value, dict) and key not in _KINDS}
        for subset, values in (inner or {"default": scores}).items():
            tags = subset.split("-") if subset != "default" else []
            rows.append((split, subset, tags, _score(_main(values))))
    return {"task": data["mteb_dataset_name"], "revision": data.get("dataset_revision"), "rows": rows}


#: Groups of scores of one subset, not subsets.
_KINDS = frozenset(
    ["cos_sim", "dot", "manhattan", "euclidean", "max", "similarity", "v_measures", "scores_per_experiment"]
)


def _main(values: Mapping[str, Any]) -> Any:
    if "main_score" in values:
        return values["main_score"]
    if "f1" in values and "precision" in values:  # bitext mining
        return values["f1"]
    for name in _MAIN:
        place: Any = values
        for key in name.split("/"):
            place = place.get(key) if isinstance(place, Mapping) else None
        if place is not None:
            return place
    raise ValueError(f"no main score among {offenders(values)}")


def _results(rows: Sequence[dict[str, Any]], by: str, types: Mapping[str, str] | None, model: str) -> ResultSet:
    check_option("by", by, ("all", "task", "type", "language"))
    twice = {row["task"] for row in rows if sum(row["task"] == other["task"] for other in rows) > 1}
    if twice:
        raise UserError(f"{len(twice)} tasks have more than one result: {offenders(sorted(twice))}.")
    means: dict[str, float | None] = {row["task"]: _mean([score for *_, score in row["rows"]]) for row in rows}
    groups: dict[str, dict[str, float | None]] = {}
    if by == "all":
        groups["tasks"] = means
    elif by == "type":
        kinds = types if types is not None else _types(list(means))
        untyped = [task for task in means if task not in kinds]
        if untyped:
            raise UserError(f"{len(untyped)} tasks have no type: {offenders(untyped)}.")
        for task, score in sorted(means.items()):
            groups.setdefault(kinds[task], {})[task] = score
    elif by == "task":
        for row in rows:
            groups[row["task"]] = {f"{split}/{subset}": score for split, subset, _, score in row["rows"]}
    else:
        scores: dict[tuple[str, str], list[float | None]] = {}
        for row in rows:
            for _, _, tags, score in row["rows"]:
                for tag in dict.fromkeys(map(_tag, tags or [UNKNOWN_LANGUAGE])):
                    scores.setdefault((tag, row["task"]), []).append(score)
        for (tag, task), values in sorted(scores.items()):
            groups.setdefault(tag, {})[task] = _mean(values)
    revisions = {row["task"]: row["revision"] for row in rows}
    found = ResultSet()
    for name, items in groups.items():
        mine = [name] if by == "task" else list(items)
        found[name] = mean_result(
            "mteb", list(items.values()), version="1", ids=list(items), language=name if by == "language" else "",
            options={"by": by, "model": model, "revisions": {task: revisions[task] for task in mine}},
        )  # fmt: skip
    whole = [result for result in found.values() if result.value is not None]
    mean = sum(result.value or 0 for result in whole) / len(whole) if len(whole) == len(found) else None
    if by in ("task", "type") and len(found) > 1:
        found.summary[f"mean ({by})"] = mean
    short = [task for task, score in means.items() if score is None]
    if short:
        found.notes = (f"{len(short)} tasks have a null among their scores, and so have no mean: {offenders(short)}",)
    return found


def _mean(scores: Sequence[float | None]) -> float | None:
    """The mean, or None when any is missing: means over different subsets do not compare."""
    have = [score for score in scores if score is not None]
    return sum(have) / len(have) if have and len(have) == len(scores) else None


def _types(tasks: Sequence[str]) -> dict[str, str]:
    package = require("mteb", "panoglot[mteb]", "finding the types of tasks (types= gives them without it)")
    known = {}
    for task in tasks:
        try:
            known[task] = str(package.get_task(task).metadata.type)
        except KeyError:
            continue
    return known


def mteb_standings(
    models: Mapping[str, str | os.PathLike[str] | ResultSet], types: Mapping[str, str] | None = None
) -> Standings:
    """Rank models by Borda points over tasks, with means over tasks and over types of tasks.

    Args:
        models: by name, the folder of a model's result files, or what `load_mteb(by="all")` or `mteb(by="all")` gave.
        types: type of each task; without it all are of one type.
    """
    scores: dict[str, dict[str, float | None]] = {}
    for name, where in models.items():
        found = where if isinstance(where, ResultSet) else load_mteb(where, by="all")
        if "tasks" not in found:
            raise UserError(f"'{name}': standings need results by task: load_mteb(…, by='all').")
        result: MetricResult = found["tasks"]
        for task, score in zip(result.ids, result.per_item or ()):
            scores.setdefault(task, {})[name] = score
    for row in scores.values():
        for name in models:
            row.setdefault(name, None)
    return standings(scores, types)
