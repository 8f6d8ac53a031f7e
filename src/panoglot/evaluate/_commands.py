"""The commands of `panoglot evaluate`: files in, results out. All return something with `table()` and `to_json()`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from panoglot.checks import check_option, offenders, same_ids
from panoglot.errors import UserError, did_you_mean
from panoglot.evaluate._command_list import BENCHMARKS, COMMANDS, METRICS
from panoglot.evaluate._read import (
    encode_files,
    picture_files,
    read_json,
    read_predictions,
    read_references,
    read_rows,
)
from panoglot.metrics._compare import Comparison
from panoglot.metrics._compare import compare as _compare
from panoglot.metrics._results import ResultSet
from panoglot.metrics.preference.arena import ArenaResult
from panoglot.metrics.preference.arena import arena as _arena
from panoglot.metrics.preference.standings import Standings

__all__ = [
    "COMMANDS",
    "agreement",
    "arena",
    "captions",
    "choice",
    "compare",
    "composed",
    "generation",
    "make_smpqa",
    "mteb",
    "retrieval",
    "standings",
    "zeroshot",
]


def _list(values: str | Sequence[str] | None) -> list[str]:
    given = [values] if isinstance(values, str) else list(values or ())
    return [one for value in given for one in value.replace(",", " ").split()]


def _benchmark(command: str, name: str) -> None:
    """Refuse a benchmark that is not this command's."""
    mine = [key for key, row in BENCHMARKS.items() if row.command == command]
    if name in BENCHMARKS and name not in mine:
        raise UserError(f"'{name}' is a benchmark of: panoglot evaluate {BENCHMARKS[name].command}")
    check_option("benchmark", name, mine)


def _need(benchmark: str, **given: Any) -> None:
    """Refuse missing files by saying what they are and where they come from."""
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if missing:
        row = BENCHMARKS[benchmark]
        raise UserError(f"'{benchmark}' needs {', '.join(missing)}. It takes {row.files}. From {row.source}.")


def captions(
    preds: str,
    refs: str | Sequence[str] | None = None,
    *,
    metrics: str | Sequence[str] = (),
    benchmark: str | None = None,
    data: str | None = None,
    lang: str = "en",
    model: str | None = None,
    images: str | None = None,
    encoder: str | None = None,
    parser: str | None = None,
    judge: str | None = None,
    objects: str | None = None,
    references: int | None = None,
    on_error: str = "raise",
    confidence: float | None = None,
    cache: str | None = None,
) -> ResultSet:
    """Score captions, by metrics or by a benchmark's protocol. `panoglot evaluate --list` names them all.

    Args:
        preds: JSONL, COCO results, `{id: caption}`, lines of text (`.txt`, `.gz`), or a dataset.
        refs: COCO annotations, `{id: [reference, …]}`, JSONL, lines of text, or a dataset; given again, references are
            joined. Without it the references that stand in the rows of `preds` count.
        metrics: names, with commas between them; `cider` without.
        benchmark: `detailcaps`, `decapbench`, `truematch`, `finecapeval`, `caparena-auto` or `dense-captions`.
        data: the benchmark's file.
        lang: language of all captions.
        model: whose captions to take from a file or dataset of several models.
        images: folder of pictures named by id, for CLIPScore and others.
        encoder: model name, for CLIPScore, CAPTURE's soft stage and others.
        parser: model name of a caption parser (`embedded:parser`, `hf:FOLDER`), for SPICE and CAPTURE.
        judge: model name of a generator that sees pictures, for `decapbench` and `caparena-auto`.
        objects: what is in each picture, for CHAIR: `{id: [name, …]}` or COCO's instances.
        references: number of references that every item must have.
        on_error: empty captions: `raise`, `null` or `score`.
        confidence: level of bootstrap intervals, for example 0.95.
        cache: folder where vectors are kept between runs, or `off`.
    """
    from panoglot.evaluate._score import Scorer

    options: dict[str, Any] = {"lang": lang, "on_error": on_error, "confidence": confidence, "cache": cache}
    if benchmark is not None:
        _benchmark("captions", benchmark)
        return _CAPTION_BENCHMARKS[benchmark](
            preds, benchmark=benchmark, data=data, model=model, images=images, encoder=encoder, parser=parser,
            judge=judge, **options,
        )  # fmt: skip
    names = _list(metrics) or ["cider"]
    paths = [refs] if isinstance(refs, str) else list(refs or ())
    score = Scorer(
        names, images=images, encoder=encoder, parser=parser, objects=objects, references=references, **options
    )
    given = read_predictions(preds, lang=lang if Path(preds).is_dir() else "", model=model)
    found = read_references(paths, lang=lang) if paths else _own_references(preds, given, score.wants_references())
    return score(given, found)


def _own_references(preds: str, given: Mapping[str, Any], users: Sequence[str]) -> dict[str, list[str]] | None:
    """The references in the rows of the predictions."""
    if not users or not Path(preds).name.endswith((".json", ".jsonl", ".ndjson")):
        return None
    rows = read_json(preds)
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and {"references", "refs"} & set(row) for row in rows
    ):
        return None
    found = read_references(preds)
    return {key: found[key] for key in given}


def _detailcaps(preds: str, *, data: str | None, model: str | None, **rest: Any) -> ResultSet:
    from panoglot.evaluate._score import Scorer
    from panoglot.evaluate.benchmarks._detailcaps import read_detailcaps

    _need(rest["benchmark"], data=data)
    truth = read_detailcaps(str(data))
    if model is not None and Path(preds) == Path(str(data)):
        given = dict(truth.captions_of(model))
    else:
        given = read_predictions(preds, lang=rest["lang"], model=model)
    options = {key: rest[key] for key in ("lang", "encoder", "parser", "on_error", "confidence", "cache")}
    return Scorer(["capture"], **options)(given, truth.references)


def _decapbench(preds: str, *, data: str | None, images: str | None, judge: str | None, **rest: Any) -> ResultSet:
    from panoglot.evaluate.benchmarks._decapbench import decapbench, read_decapbench
    from panoglot.providers import load_model

    _need(rest["benchmark"], data=data, images=images, judge=judge)
    given, truth = read_predictions(preds, model=rest["model"]), read_decapbench(str(data))
    options = {key: rest[key] for key in ("lang", "on_error", "confidence")}
    return ResultSet({"dcscore": decapbench(given, truth, str(images), load_model(str(judge), "generator"), **options)})


def _truematch(preds: str, *, data: str | None, images: str | None, encoder: str | None, **rest: Any) -> ResultSet:
    from panoglot.asking import load_encoder
    from panoglot.evaluate.benchmarks._truematch import read_bags, truematch

    _need(rest["benchmark"], data=data, images=images, encoder=encoder)
    found = truematch(
        read_predictions(preds, model=rest["model"]), read_bags(str(data)), str(images),
        load_encoder(str(encoder), rest["cache"]), lang=rest["lang"], confidence=rest["confidence"],
    )  # fmt: skip
    return ResultSet({"truematch": found})


def _finecapeval(preds: str, *, data: str | None, **rest: Any) -> ResultSet:
    from panoglot.evaluate._score import Scorer
    from panoglot.metrics.captions.finecapeval import finecapeval, read_finecapeval

    _need(rest["benchmark"], data=data)
    phrases, references = read_finecapeval(str(data))
    given = read_predictions(preds, model=rest["model"])
    stems = {Path(name).stem: text for name, text in given.items()} | given
    said = {name: stems.get(name, stems.get(Path(name).stem)) for name in phrases}
    same_ids(phrases, {name: text for name, text in said.items() if text is not None}, "caption")
    found = ResultSet({"finecapeval": finecapeval(said, phrases, confidence=rest["confidence"])})  # type: ignore[arg-type]
    options = {key: rest[key] for key in ("lang", "on_error", "confidence")}
    found.update(Scorer(["bleu", "rouge-l", "cider"], **options)(said, references))
    return found


def _caparena_auto(preds: str, *, data: str | None, images: str | None, judge: str | None, **rest: Any) -> ResultSet:
    from panoglot.evaluate.benchmarks._caparena import caparena_auto, caparena_auto_verdicts
    from panoglot.providers import load_model

    rows = read_json(preds) if not Path(preds).is_dir() else {}
    if isinstance(rows, list) and rows and all(isinstance(row, dict) and "judge" in row for row in rows):
        return ResultSet({"caparena-auto": caparena_auto_verdicts(rows)})
    _need(rest["benchmark"], data=data, images=images, judge=judge)
    said = {key: text or "" for key, text in read_predictions(preds, model=rest["model"]).items()}
    found = caparena_auto(load_model(str(judge), "generator"), said, read_json(str(data)), str(images))
    return ResultSet({"caparena-auto": found})


def _dense_captions(preds: str, *, data: str | None, **rest: Any) -> ResultSet:
    from panoglot.evaluate.benchmarks._dense_captions import dense_captions

    _need(rest["benchmark"], data=data)
    return dense_captions(preds, str(data), lang=rest["lang"], confidence=rest["confidence"])


_CAPTION_BENCHMARKS: dict[str, Callable[..., ResultSet]] = {
    "detailcaps": _detailcaps,
    "decapbench": _decapbench,
    "truematch": _truematch,
    "finecapeval": _finecapeval,
    "caparena-auto": _caparena_auto,
    "dense-captions": _dense_captions,
}


def retrieval(
    source: str,
    *,
    encoder: str | None = None,
    benchmark: str | None = None,
    data: str | None = None,
    images: str | None = None,
    split: str = "test_2016_flickr",
    texts: str | None = None,
    owners: str | None = None,
    lang: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] = ("recall@1", "recall@5", "recall@10"),
    ties: str = "mean",
    views: str = "whole",
    on_error: str = "raise",
    confidence: float | None = None,
    cache: str | None = None,
) -> ResultSet:
    """Text-to-image and image-to-text retrieval, for every language.

    Args:
        source: a dataset, image vectors `.npy` `[I, dim]`, a benchmark's name (with `data`), or its captions (with
            `benchmark`).
        encoder: model name. A dataset's stored vectors of pictures are used, others are made once and kept.
        benchmark: `xtd10`, `xtd`, `xflickrco`, `xm3600`, `multi30k`, `sorce-1k`, `merit`, or `jsonl` for rows of
            `image, caption[, lang]`.
        data: the captions of the benchmark: its file or folder.
        images: folder of a benchmark's pictures.
        split: of `multi30k`.
        texts: text vectors `.npy` `[T, dim]`, with image vectors.
        owners: `.npy` or JSON list: the image of every text; without it texts are dealt evenly, in image order.
        lang: languages of a dataset, with commas; all without it.
        metrics: names, with commas.
        ties: rank among equal scores: `mean`, `optimistic`, `pessimistic`.
        views: `sorce-1k`: `whole`, or `corners`: five vectors a picture.
        on_error: what has no usable vector or text: `raise` or `null` (a dataset's is always null and counted).
        confidence: level of bootstrap intervals.
        cache: folder where a benchmark's vectors are kept between runs, or `off`.
    """
    from panoglot.evaluate._dataset import dataset_retrieval
    from panoglot.metrics.ranking.retrieval import image_text_retrieval

    if benchmark is None and source in BENCHMARKS and not Path(source).exists():
        benchmark = source
    elif benchmark is not None:
        data = data or source
    if benchmark is not None:
        from panoglot.asking import load_encoder
        from panoglot.evaluate.benchmarks._image_text import image_text_benchmark, read_caption_set

        _benchmark("retrieval", benchmark)
        if benchmark in ("sorce-1k", "merit"):
            from panoglot.evaluate.benchmarks._merit import merit
            from panoglot.evaluate.benchmarks._sorce import sorce_benchmark

            _need(benchmark, data=data, encoder=encoder)
            model = load_encoder(encoder, cache)
            if benchmark == "merit":
                return merit(model, str(data), images=images, on_error=on_error, confidence=confidence)
            return sorce_benchmark(
                model, str(data), views=views, lang=(_list(lang) or ["en"])[0], confidence=confidence
            )
        _need(benchmark, data=data, images=images, encoder=encoder)
        table = read_caption_set(benchmark, str(data), lang=_list(lang), split=split)
        model = load_encoder(str(encoder), cache)
        return image_text_benchmark(
            model, table, str(images), metrics=_list(metrics), ties=ties, on_error=on_error, confidence=confidence
        )  # type: ignore[arg-type]
    if not source.endswith(".npy"):
        if encoder is None:
            raise UserError("retrieval on a dataset needs --encoder.")
        tags = _list(lang)
        return dataset_retrieval(
            source, encoder, lang=tags or None, metrics=_list(metrics), ties=ties, confidence=confidence
        )
    if texts is None:
        raise UserError("image vectors need --texts, the text vectors (.npy).")
    pictures, words = _vectors(source), _vectors(texts)
    if owners is not None:
        of = _vectors(owners).ravel().tolist() if owners.endswith(".npy") else read_json(owners)
    elif not len(pictures) or len(words) % len(pictures):
        raise UserError(f"{len(words)} texts cannot be dealt evenly to {len(pictures)} images: give --owners.")
    else:
        of = [n // (len(words) // len(pictures)) for n in range(len(words))]
    return ResultSet(
        image_text_retrieval(
            pictures, words, _whole(of, owners), metrics=_list(metrics), ties=ties,  # type: ignore[arg-type]
            lang=",".join(_list(lang)), on_error=on_error,  # type: ignore[arg-type]
            confidence=confidence,
        )
    )  # fmt: skip


def _whole(numbers: Any, path: str | None) -> list[int]:
    """Numbers of images."""
    if not isinstance(numbers, list) or not all(
        type(n) is int or (isinstance(n, float) and n.is_integer()) for n in numbers
    ):
        raise UserError(f"{path} must be a list of whole numbers: the image of every text, from 0.")
    return [int(n) for n in numbers]


def _vectors(path: str) -> Any:
    import numpy as np

    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            raise ValueError
        return found
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except (OSError, ValueError):
        raise UserError(f"{path} is no array of numbers (.npy).") from None


def zeroshot(
    images: str,
    *,
    encoder: str,
    labels: str | None = None,
    benchmark: str = "folders",
    templates: str | Sequence[str] = (),
    english: str | None = None,
    lang: str | Sequence[str] = ("all",),
    on_error: str = "raise",
    confidence: float | None = None,
    cache: str | None = None,
) -> ResultSet:
    """Zero-shot classification in many languages; pictures are encoded once.

    Args:
        images: folder with a folder a class (sorted by name), or vectors `.npy` in class order (`babel-imagenet`).
        encoder: model name.
        labels: `babel-imagenet`: its label file. `folders`: JSON `{lang: [name, …]}`, in the folders' order.
        benchmark: `folders` or `babel-imagenet`.
        templates: what stands about a name: `names` (nothing, the default), `ours` (a few forms in 18 languages), or
            JSON files: `{lang: [text with {}, …]}`, a list, OpenAI's, `FILE#imagenet1k`, `en:FILE`; the first that has
            a language counts.
        english: `babel-imagenet`: JSON list of the 1,000 curated English names.
        lang: languages, with commas, or `all`.
        on_error: pictures that cannot be encoded: `raise` or `null`.
        confidence: level of bootstrap intervals.
        cache: folder where vectors are kept between runs, or `off`.
    """
    from panoglot.asking import load_encoder
    from panoglot.evaluate._templates import read_templates
    from panoglot.evaluate._zeroshot import zeroshot as classify_all
    from panoglot.evaluate.benchmarks._babel_imagenet import babel_imagenet

    _benchmark("zeroshot", benchmark)
    _need(benchmark, labels=labels)
    labels = str(labels)
    forms = read_templates(templates)
    model = load_encoder(encoder, cache)
    codes = _list(lang)
    if images.endswith(".npy"):
        vectors, targets = _vectors(images), None
    else:
        paths = picture_files(images)
        folders = sorted({path.parent for path in paths})
        vectors, targets = encode_files(model, paths), [folders.index(path.parent) for path in paths]
    if benchmark == "babel-imagenet":
        if targets is not None and len(set(targets)) != 1000:
            raise UserError(f"{images} has {len(set(targets))} class folders; ImageNet has 1,000.")
        names = read_json(english) if english else None
        return babel_imagenet(
            model, vectors, labels, prompts=forms, english=names, lang="all" if codes == ["all"] else codes,
            targets=targets, on_error=on_error, confidence=confidence,  # type: ignore[arg-type]
        )  # fmt: skip
    if targets is None:
        raise UserError("benchmark 'folders' needs a folder of class folders, not vectors.")
    table = read_json(labels)
    if not isinstance(table, dict) or not all(
        isinstance(row, list) and all(isinstance(name, str) for name in row) for row in table.values()
    ):
        raise UserError(f"{labels} must be a JSON object of lists of names by language: {{lang: [name, …]}}.")
    wrong = [tag for tag, row in table.items() if len(row) != len(set(targets))]
    if wrong:
        raise UserError(f"{len(set(targets))} class folders, but {wrong[0]} has {len(table[wrong[0]])} names.")
    if codes != ["all"]:
        absent = [tag for tag in codes if tag not in table]
        if absent:
            raise UserError(f"{labels} has no names in {offenders(absent)}; it has {offenders(table)}.")
        table = {tag: table[tag] for tag in codes}
    return classify_all(
        model, vectors, targets, table, templates=forms,
        on_error=on_error, confidence=confidence,  # type: ignore[arg-type]
    )  # fmt: skip


def choice(
    data: str | None = None,
    *,
    model: str,
    benchmark: str,
    lang: str | Sequence[str] = ("en",),
    images: str | None = None,
    task: str = "i2s",
    k: int = 3,
    limit: int | None = None,
    seed: int = 0,
    parse: str | None = None,
    confidence: float | None = None,
    cache: str | None = None,
) -> ResultSet:
    """Multiple choice about pictures.

    Args:
        data: `mvl-sib`: folder of SIB-200; `mmmb`: TSV (also MMBench's); `pope`: JSONL `image, text, label`;
            `commute`: folder of CoMMuTE; `smpqa`: folder of SMPQA, or of `make-smpqa`.
        model: model name: a generator, or an encoder for `mvl-sib`.
        benchmark: `mvl-sib`, `mmmb`, `pope`, `commute` or `smpqa`.
        lang: languages, with commas; SIB-200 codes such as `deu_Latn` for `mvl-sib`.
        images: folder of the pictures.
        task: `mvl-sib`: `i2s`, `s2i`, `t2s`, `s2t`.
        k: `mvl-sib`: references shown.
        limit: `mvl-sib`: a seeded sample of so many questions.
        seed: of the questions.
        parse: how answers are read; each benchmark's own default without it.
        confidence: level of bootstrap intervals.
        cache: folder where an encoder's vectors are kept between runs, or `off`.
    """
    from panoglot.asking import ask, load_encoder, open_picture
    from panoglot.evaluate import benchmarks
    from panoglot.metrics.captions.pope import pope
    from panoglot.providers.roles import Prompt

    _benchmark("choice", benchmark)
    _need(benchmark, data=data)
    data = str(data)
    tags = _list(lang)
    if not tags:
        raise UserError("--lang names no language.")
    loaded = load_encoder(model, cache, "generator|encoder" if benchmark == "mvl-sib" else "generator")
    if benchmark == "mvl-sib":
        return benchmarks.mvl_sib(
            loaded, data, lang=tags, task=task, k=k, images=images, limit=limit, seed=seed, parse=parse or "strict",
            confidence=confidence,
        )  # fmt: skip
    if benchmark == "mmmb":
        return benchmarks.mmmb(loaded, data, lang=tags[0], images=images, parse=parse or "text", confidence=confidence)
    if benchmark == "smpqa":
        return benchmarks.smpqa(
            loaded, data, lang="all" if tags == ["all"] else tags, images=images, confidence=confidence
        )
    if benchmark == "commute":
        return ResultSet(
            {tag: benchmarks.commute(loaded, data, lang=tag, images=images, confidence=confidence) for tag in tags}
        )
    from panoglot.errors import RowError

    rows = read_rows(data)
    odd = [
        n for n, row in enumerate(rows) if any(not isinstance(row.get(key), str) for key in ("image", "text", "label"))
    ]
    if odd or not rows:
        raise UserError(
            f"{data}: {len(odd) or 'all'} rows are not texts image, text, label: {offenders(odd) or 'empty'}."
        )
    root = Path(images) if images else Path(data).parent
    answers = ask(loaded, [Prompt(row["text"], (open_picture(root / row["image"]),), max_tokens=16) for row in rows])
    said = [None if isinstance(answer, RowError) else answer.text for answer in answers]
    return ResultSet(
        {
            tags[0]: pope(
                said, [row["label"] for row in rows], lang=tags[0], parse=parse or "strict", confidence=confidence
            )
        }
    )


def make_smpqa(
    folder: str,
    *,
    lang: str | Sequence[str] = ("all",),
    pictures: int = 100,
    seed: int = 0,
    words: str | None = None,
    font: str | None = None,
) -> Any:
    """Draw bar and pie charts with words of many languages, and questions about them (SMPQA).

    Args:
        folder: where `<lang>_ground.json`, `<lang>_name.json` and `images/` go.
        lang: languages, with commas, or `all`.
        pictures: for each language.
        seed: the same seed, words and fonts give the same bytes.
        words: JSON `{lang: [word, …]}`, at least 12 of each; ours in 13 languages without.
        font: font file; without it one that has all characters is looked for.
    """
    from panoglot.evaluate import benchmarks

    tags = _list(lang)
    given = "all" if tags == ["all"] else tags
    return benchmarks.make_smpqa(folder, lang=given, pictures=pictures, seed=seed, words=words, font=font)


def composed(
    rankings: str | Sequence[str] = (),
    *,
    benchmark: str,
    annotations: str | Sequence[str] = (),
    subset: str | None = None,
    images: str | Sequence[str] = (),
    encoder: str | None = None,
    method: str = "sum",
    weight: float = 0.5,
    texts: str | None = None,
    lang: str = "en",
    split: str = "val",
    submission: str | None = None,
    on_error: str = "raise",
    confidence: float | None = None,
    cache: str | None = None,
) -> ResultSet:
    """Search with a picture and a text together, by an encoder; or score rankings that are there.

    Args:
        rankings: submission file; `fashion-iq`: one a category, named `…dress…`, `…shirt…`, `…toptee…`.
        benchmark: `circo`, `cirr`, `fashion-iq`, or `genecis` (with an encoder).
        annotations: the benchmark's annotation file (`fashion-iq`: one a category); with an encoder its folder.
        subset: `cirr`: the submission of the subset.
        images: folders of the pictures, to search them with `--encoder`.
        encoder: model name.
        method: `image` (the reference alone), `text` (the instruction alone), or `sum` of both.
        weight: of the text in `sum`, 0..1.
        texts: JSON of texts to search with instead of the instructions, by query id (a method's rewritten captions).
        lang: language of the texts.
        split: of the annotations.
        submission: folder for the rankings, as the official servers take them.
        on_error: gallery pictures that are missing or broken: `raise` or `null`.
        confidence: level of bootstrap intervals.
        cache: folder where vectors are kept between runs, or `off`.
    """
    from panoglot.evaluate.benchmarks import _composed
    from panoglot.evaluate.benchmarks._composed import circo, cirr, fashion_iq
    from panoglot.evaluate.benchmarks._composed_run import composed_run

    if encoder is not None:
        from panoglot.asking import load_encoder

        _need(benchmark, annotations=annotations or None, images=images or None)
        return composed_run(
            load_encoder(encoder, cache), benchmark, annotations, images, method=method, weight=weight, texts=texts,
            lang=lang, split=split, on_error=on_error, output=submission, confidence=confidence,
        )  # fmt: skip
    if not rankings:
        raise UserError("give rankings to score, or --encoder and --images to search with.")
    if benchmark == "genecis":
        raise UserError("genecis needs --encoder and --images: it has no rankings of its own form.")

    _benchmark("composed", benchmark)
    _need(benchmark, annotations=annotations or None)
    files = [rankings] if isinstance(rankings, str) else list(rankings)
    truth = [annotations] if isinstance(annotations, str) else list(annotations)
    if benchmark == "fashion-iq":
        return fashion_iq(
            {_composed.category_of(path): read_json(path) for path in files},
            {_composed.category_of(path): path for path in truth},
            confidence=confidence,
        )
    if len(files) != 1 or len(truth) != 1:
        raise UserError(f"{benchmark} takes one file of rankings and one of annotations.")
    if benchmark == "circo":
        return circo(files[0], truth[0], confidence=confidence)
    return cirr(files[0], truth[0], subset=subset, confidence=confidence)


def mteb(
    *tasks: str,
    encoder: str,
    prompts: str = "none",
    lang: str | Sequence[str] = (),
    by: str = "task",
    folder: str | None = None,
    cache: str | None = None,
) -> ResultSet:
    """Run tasks of the `mteb` package (texts, and texts with pictures) on an encoder. It downloads their data itself.

    Args:
        tasks: its tasks (`STS22.v2`, `XM3600T2IRetrieval`) or benchmarks (`MTEB(Multilingual, v2)`), or tasks of your
            own as `python:package.module:Class`.
        encoder: model name.
        prompts: what the encoder wants before texts: `none`, `e5`, `e5-instruct`, or a JSON file `{query: …, document:
            …, *: …}`.
        lang: only these languages, with commas.
        by: items of the result: a task's languages (`task`), or tasks (`all`, `type`, `language`).
        folder: where mteb's own result files go; what is there is not run again.
        cache: folder where vectors are kept between runs, or `off`.
    """
    from panoglot.asking import load_encoder
    from panoglot.evaluate._mteb import PROMPTS
    from panoglot.evaluate._mteb import mteb as run_tasks

    given = prompts if prompts in PROMPTS or not Path(prompts).is_file() else read_json(prompts)
    return run_tasks(load_encoder(encoder, cache), tasks, prompts=given, lang=_list(lang), by=by, folder=folder)


def arena(
    battles: str,
    *,
    rating: str = "elo",
    exclude: str | Sequence[str] = (),
    k: float = 4.0,
    resamples: int = 1000,
    seed: int = 42,
) -> ArenaResult:
    """Rate models from pairwise votes.

    Args:
        battles: JSON or JSONL of `source1, source2, winner` (or `model_a, model_b, winner`).
        rating: `elo`, `bradley-terry` or `win-minus-loss`.
        exclude: models whose votes are left out, with commas.
        k: Elo's step.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    return _arena(read_rows(battles), rating=rating, exclude=_list(exclude), k=k, resamples=resamples, seed=seed)


def agreement(
    metric: str | Sequence[str],
    human: str,
    *,
    refs: str | Sequence[str] | None = None,
    benchmark: str | None = None,
    statistic: str = "kendall_b",
    groups: str | None = None,
    lang: str = "en",
    images: str | None = None,
    encoder: str | None = None,
    parser: str | None = None,
    confidence: float | None = None,
    cache: str | None = None,
) -> ResultSet:
    """Agreement of metrics' item scores with people's.

    A metric that is named is computed on the captions in `human`, those of every writer (`model`, `SYS`) on their own,
    as in the published tables; captions that it cannot score are left out and counted.

    Args:
        metric: names of metrics, with commas; or a result with item values, `{id: score}`, or JSONL `id, score`.
        human: `{id: score}`, or JSONL `id, human_score` (or `score`), with `caption` for named metrics.
        refs: references by picture, when they do not stand in the rows (`references`).
        benchmark: `foil`, `hat`, `caparena` or `detailcaps`: `human` is the benchmark's file.
        statistic: `kendall_b`, `kendall_c`, `spearman`, `pearson`, `pairwise_accuracy`, `pairwise_accuracy_no_ties`.
        groups: field of the human rows that groups items, for example the picture.
        lang: language of the captions.
        images: folder of pictures, for CLIPScore and others.
        encoder: model name, for CLIPScore, CAPTURE and others.
        parser: model name of a caption parser, for SPICE and CAPTURE.
        confidence: level of a bootstrap interval.
        cache: folder where vectors are kept between runs, or `off`.
    """
    from panoglot.evaluate import _human
    from panoglot.evaluate._score import Scorer

    names = _list(metric)
    if benchmark is None and not any(name in METRICS for name in names):
        path = metric if isinstance(metric, str) else " ".join(metric)
        if not Path(path).exists():
            hint = did_you_mean(path, METRICS)
            raise UserError(f"'{path}' is neither a metric nor a file.{hint} All metrics: panoglot evaluate --list")
        return _human.given(path, human, statistic=statistic, groups=groups, confidence=confidence)
    if benchmark is not None:
        check_option("benchmark", benchmark, (*_human.BENCHMARKS, "detailcaps"))
    judged = benchmark == "caparena" and "judge" in names
    names = [name for name in names if not (judged and name == "judge")]
    for name in names:
        check_option("metric", name, METRICS)
    score = Scorer(names, lang=lang, images=images, encoder=encoder, parser=parser, on_error="null", cache=cache)
    if benchmark in _human.BENCHMARKS:
        return _human.BENCHMARKS[benchmark](score, human, judge=judged, confidence=confidence)
    rows = _human.read_detailcaps_rows(human) if benchmark else _human.read_human(human, refs, groups)
    return _human.computed(score, rows, statistic=statistic, grouped=groups is not None, confidence=confidence)


def standings(*results: str, lang: str | Sequence[str] = ()) -> Standings:
    """Rank models over tasks and languages: means, and Borda points, which one lucky task cannot decide.

    Args:
        results: result files, one a model (a model is called as its file); also Babel-ImageNet's published ones.
        lang: languages that count, with commas; all without it.
    """
    from panoglot.metrics.preference.standings import read_standings

    if len(results) < 2:
        raise UserError("give the result files of two models or more; each is called as its file.")
    return read_standings(results, lang=_list(lang))


def generation(
    images: str,
    *,
    benchmark: str,
    data: str | None = None,
    detections: str | None = None,
    detector: str | None = None,
    encoder: str | None = None,
    judge: str | None = None,
    english: str | None = None,
    reference: str = "en",
    order: str = "english_first",
    confidence: float | None = None,
    cache: str | None = None,
) -> ResultSet:
    """Judge generated pictures, in every language that has a folder.

    Args:
        images: folder of the pictures: `[<language>/]<prompt>/…`; a prompt's folder may be a file of its name.
        benchmark: `geneval`, `dpg`, `clc` or `css`.
        data: the prompts (`geneval`: `evaluation_metadata.jsonl`) or questions (`dpg`).
        detections: `geneval`: what a detector found: JSONL `image, boxes: [{name, score, box[, color]}], width,
            height`.
        detector: `geneval`: model name of a detector, instead.
        encoder: model name: names colours for `geneval`, compares pictures for `clc` and `css`.
        judge: `dpg`: model name of a generator that sees pictures.
        english: `css`: folder of the pictures of the English prompts.
        reference: `clc`: language that the others are compared with; `all` compares all pairs.
        order: `css`: `english_first` or `english_second`, recorded.
        confidence: level of bootstrap intervals.
        cache: folder where vectors are kept between runs, or `off`.
    """
    from panoglot.asking import load_encoder
    from panoglot.evaluate import _generation
    from panoglot.providers import load_model

    _benchmark("generation", benchmark)
    if benchmark == "geneval":
        _need(benchmark, data=data)
        if (detections is None) == (detector is None):
            raise UserError("'geneval' needs one of --detections and --detector.")
        return _generation.geneval_folder(
            images, str(data), detections=detections, detector=load_model(detector, "detector") if detector else None,
            encoder=load_encoder(encoder, cache) if encoder else None, confidence=confidence,
        )  # fmt: skip
    if benchmark == "dpg":
        _need(benchmark, data=data, judge=judge)
        return _generation.dpg_folder(images, str(data), load_model(str(judge), "generator"), confidence=confidence)
    _need(benchmark, encoder=encoder)
    model = load_encoder(str(encoder), cache)
    if benchmark == "css":
        _need(benchmark, english=english)
        return _generation.css_folder(images, str(english), model, order=order, confidence=confidence)
    return _generation.clc_folder(
        images, model, reference=None if reference == "all" else reference, confidence=confidence
    )


def compare(
    a: str,
    b: str,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    per_item: bool = False,
) -> Comparison:
    """Compare two result files: paired bootstrap, for every language and over all.

    Args:
        a: result file with item values.
        b: the other system's.
        level: coverage of the intervals.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        per_item: keep every item's difference.
    """
    if math.isnan(level):
        raise UserError("level must be a number between 0 and 1.")
    return _compare(a, b, level=level, resamples=resamples, seed=seed, per_item=per_item)
