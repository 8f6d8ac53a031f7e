"""MTEB and its picture side MIEB: any encoder of ours under `mteb`, and its result files as results of ours.

Tasks, data and scores are that package's own (Muennighoff et al., EACL 2023; Enevoldsen et al., ICLR 2025; Xiao et al.,
ICCV 2025); it downloads the data of a task when it runs it. Here are the model that it calls, and the way back.
"""

from __future__ import annotations

import importlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import call, unit
from panoglot.checks import check_option, offenders
from panoglot.errors import UserError, did_you_mean, require
from panoglot.languages._tags import UNKNOWN_LANGUAGE
from panoglot.metrics._mteb_results import load_mteb, read_new, results_of, tag_of
from panoglot.metrics._result import MetricResult
from panoglot.metrics._results import ResultSet
from panoglot.metrics.preference.standings import Standings, standings_of

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder

__all__ = ["PROMPTS", "MtebEncoder", "mteb", "mteb_standings"]

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

    from panoglot.pictures import Image

    found = []
    white = Image.from_pil(PIL.Image.new("RGB", (32, 32), "white"))
    for name, method, columns in (("text", "encode_texts", (["a"], ["en"])), ("image", "encode_images", ([white],))):
        try:
            call(encoder, method, *columns)
        except (UserError, NotImplementedError):
            continue
        found.append(name)
    return found


def _picture(image: Any) -> Image:
    from panoglot.pictures import Image

    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG", compress_level=1)
    return Image(buffer.getvalue())


def _language(task: Any, subset: str) -> str:
    """The language of a subset; `und` where it has several (translation pairs)."""
    tags = task.hf_subsets_to_langscripts.get(subset) or []
    return tag_of(tags[0]) if len(tags) == 1 else UNKNOWN_LANGUAGE


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
    split: str | None = None,
) -> ResultSet:
    """Run tasks of `mteb`.

    Args:
        encoder: see `MtebEncoder`.
        tasks: names, names of `mteb`'s benchmarks, `python:module:Class` for tasks of your own, or task objects.
        prompts: see `MtebEncoder`.
        lang: languages to keep, ISO 639-3 as `mteb` has them (`deu`) or BCP-47 (`de`); empty for all.
        by: see `load_mteb`.
        folder: where `mteb` keeps its own result files (and takes up again what is there); None keeps none.
        split: the split that counts, where a task has several; `test` without it.

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
    rows = [read_new(json.loads(one.model_dump_json())) for one in found.task_results]
    splits = [{one for one, *_ in row["rows"]} for row in rows]
    if split is None and any(len(mine) > 1 for mine in splits):
        split = "test" if all("test" in mine for mine in splits) else None
    results = results_of(rows, by, types, name, split)
    if split is not None:
        results.notes += (f"of tasks with several splits '{split}' counts",)
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


def mteb_standings(
    models: Mapping[str, str | os.PathLike[str] | ResultSet],
    types: Mapping[str, str] | None = None,
    split: str | None = None,
) -> Standings:
    """Rank models by Borda points over tasks, with means over tasks and over types of tasks.

    A task counts for a model that has all subsets (mostly languages) that any model has: three languages do not beat
    197. What is missing is missing, and a note says so.

    Args:
        models: by name, the folder of a model's result files, or what `load_mteb(by="all")` or `mteb(by="all")` gave.
        types: type of each task; without it all are of one type.
        split: the split that counts, where a task has several.
    """
    tables: dict[str, MetricResult] = {}
    for name, where in models.items():
        found = where if isinstance(where, ResultSet) else load_mteb(where, by="all", split=split)
        if "tasks" not in found:
            raise UserError(f"'{name}': standings need results by task: load_mteb(…, by='all').")
        tables[name] = found["tasks"]
    return standings_of(tables, types)
