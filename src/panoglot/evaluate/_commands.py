"""The commands of `panoglot evaluate`: files in, results out. All return something with `table()` and `to_json()`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from panoglot.errors import UserError
from panoglot.evaluate._agreement import agreement as _agreement
from panoglot.evaluate._arena import ArenaResult
from panoglot.evaluate._arena import arena as _arena
from panoglot.evaluate._check import check_option, same_ids
from panoglot.evaluate._command_list import COMMANDS
from panoglot.evaluate._compare import Comparison
from panoglot.evaluate._compare import compare as _compare
from panoglot.evaluate._read import (
    encode_files,
    picture_files,
    read_column,
    read_json,
    read_predictions,
    read_references,
    read_rows,
)
from panoglot.evaluate._result import MetricResult
from panoglot.evaluate._results import ResultSet

__all__ = [
    "COMMANDS",
    "agreement",
    "arena",
    "captions",
    "choice",
    "compare",
    "composed",
    "mteb",
    "retrieval",
    "zeroshot",
]

#: Metric of `captions` to (function, what it needs beside the captions).
METRICS = {
    "bleu": ("bleu", "refs"),
    "rouge-l": ("rouge_l", "refs"),
    "cider": ("cider", "refs"),
    "chrf": ("chrf", "refs"),
    "meteor-like": ("meteor_exact_stem_synonym", "refs"),
    "spice": ("spice", "refs parser"),
    "capture": ("capture", "refs parser encoder"),
    "clipscore": ("clipscore", "images encoder"),
    "refclipscore": ("clipscore", "refs images encoder"),
    "distinct-n": ("distinct_n", ""),
    "self-bleu": ("self_bleu", ""),
    "length": ("caption_length", ""),
    "readability": ("readability", ""),
}


def _list(values: str | Sequence[str] | None) -> list[str]:
    given = [values] if isinstance(values, str) else list(values or ())
    return [one for value in given for one in value.replace(",", " ").split()]


def captions(
    preds: str,
    refs: str | None = None,
    *,
    metrics: str | Sequence[str] = ("cider",),
    lang: str = "en",
    model: str | None = None,
    images: str | None = None,
    encoder: str | None = None,
    parser: str | None = None,
    on_error: str = "raise",
    confidence: float | None = None,
) -> ResultSet:
    """Score captions.

    Args:
        preds: JSONL, COCO results, `{id: caption}`, lines of text, or a dataset.
        refs: COCO annotations, `{id: [reference, …]}`, JSONL, or a dataset.
        metrics: names, with commas between them.
        lang: language of all captions.
        model: whose captions to take from a dataset of several models.
        images: folder of pictures named by id, for CLIPScore.
        encoder: model name, for CLIPScore and CAPTURE.
        parser: model name of a caption parser; the rules shipped here without.
        on_error: empty captions: `raise`, `null` or `score`.
        confidence: level of bootstrap intervals, for example 0.95.
    """
    import panoglot.evaluate as room
    from panoglot.models import load_model

    names = _list(metrics)
    for name in names:
        check_option("metrics", name, METRICS)
    needs = {need for name in names for need in METRICS[name][1].split()}
    for what, given in (("refs", refs), ("images", images), ("encoder", encoder)):
        if what in needs - ({"encoder"} if needs & {"parser"} and "images" not in needs else set()) and given is None:
            users = [name for name in names if what in METRICS[name][1].split()]
            raise UserError(f"{', '.join(users)} needs --{what}.")
    given_preds = read_predictions(preds, lang=lang if Path(preds).is_dir() else "", model=model)
    given_refs = read_references(refs, lang=lang if Path(refs).is_dir() else "") if refs else None
    if given_refs is not None:
        same_ids(given_preds, given_refs)
    encodes = load_model(encoder, "encoder") if encoder else None
    parses = load_model(parser, "parser") if parser else None
    vectors = None
    if "images" in needs and images is not None:
        by_name = {path.stem: path for path in picture_files(images)} | {
            path.name: path for path in picture_files(images)
        }
        missing = same_ids(
            given_preds, {key: by_name[key] for key in given_preds if key in by_name}, f"picture in {images}"
        )
        vectors = encode_files(encodes, [by_name[key] for key in missing])  # type: ignore[arg-type]
    found = ResultSet()
    for name in names:
        function, wants = METRICS[name]
        options: dict[str, Any] = {"lang": lang, "on_error": on_error}
        if name != "distinct-n":
            options["confidence"] = confidence
        arguments: list[Any] = [given_preds]
        if "images" in wants:
            arguments += [vectors, encodes]
            if "refs" in wants:
                options["refs"] = given_refs
        elif "refs" in wants:
            arguments.append(given_refs)
            if "parser" in wants:
                arguments.append(parses)
            if "encoder" in wants:
                arguments.append(encodes)
        found[name] = getattr(room, function)(*arguments, **options)
    return found


def retrieval(
    source: str,
    *,
    encoder: str | None = None,
    benchmark: str | None = None,
    images: str | None = None,
    split: str = "test_2016_flickr",
    texts: str | None = None,
    owners: str | None = None,
    lang: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] = ("recall@1", "recall@5", "recall@10"),
    ties: str = "mean",
    on_error: str = "raise",
    confidence: float | None = None,
    cache: str | None = None,
) -> ResultSet:
    """Text-to-image and image-to-text retrieval, for every language.

    Args:
        source: a dataset, image vectors `.npy` `[I, dim]`, or the captions of a benchmark.
        encoder: model name. A dataset's stored vectors of pictures are used, others are made once and kept.
        benchmark: `xtd10`, `xtd`, `xflickrco`, `xm3600`, `multi30k`, or `jsonl` for rows of `image, caption[, lang]`.
        images: folder of a benchmark's pictures.
        split: of `multi30k`.
        texts: text vectors `.npy` `[T, dim]`, with image vectors.
        owners: `.npy` or JSON list: the image of every text; without it texts are dealt evenly, in image order.
        lang: languages of a dataset, with commas; all without it.
        metrics: names, with commas.
        ties: rank among equal scores: `mean`, `optimistic`, `pessimistic`.
        on_error: what has no usable vector or text: `raise` or `null` (a dataset's is always null and counted).
        confidence: level of bootstrap intervals.
        cache: folder where a benchmark's vectors are kept between runs, or `off`.
    """
    from panoglot.evaluate._dataset import dataset_retrieval
    from panoglot.evaluate.ranking import image_text_retrieval

    if benchmark is not None:
        from panoglot.evaluate._vectors import load_encoder
        from panoglot.evaluate.benchmarks import image_text_benchmark, read_caption_set

        if encoder is None or images is None:
            raise UserError(f"benchmark '{benchmark}' needs --encoder and --images.")
        table = read_caption_set(benchmark, source, lang=_list(lang), split=split)
        model = load_encoder(encoder, cache)
        return image_text_benchmark(
            model, table, images, metrics=_list(metrics), ties=ties, on_error=on_error, confidence=confidence
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
    elif len(words) % len(pictures):
        raise UserError(f"{len(words)} texts cannot be dealt evenly to {len(pictures)} images: give --owners.")
    else:
        of = [n // (len(words) // len(pictures)) for n in range(len(words))]
    return ResultSet(
        image_text_retrieval(
            pictures, words, [int(n) for n in of], metrics=_list(metrics), ties=ties,  # type: ignore[arg-type]
            lang=",".join(_list(lang)), on_error=on_error,  # type: ignore[arg-type]
            confidence=confidence,
        )
    )  # fmt: skip


def _vectors(path: str) -> Any:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as an array ({error}).") from None


def zeroshot(
    images: str,
    *,
    encoder: str,
    labels: str,
    benchmark: str = "folders",
    prompts: str | None = None,
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
        prompts: JSON `{lang: [template with {}, …]}`.
        english: `babel-imagenet`: JSON list of the 1,000 curated English names.
        lang: languages, with commas, or `all`.
        on_error: pictures that cannot be encoded: `raise` or `null`.
        confidence: level of bootstrap intervals.
        cache: folder where vectors are kept between runs, or `off`.
    """
    from panoglot.evaluate._vectors import load_encoder
    from panoglot.evaluate._zeroshot import zeroshot as classify_all
    from panoglot.evaluate.benchmarks import babel_imagenet

    check_option("benchmark", benchmark, ("folders", "babel-imagenet"))
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
            model, vectors, labels, prompts=prompts, english=names, lang="all" if codes == ["all"] else codes,
            targets=targets, on_error=on_error, confidence=confidence,  # type: ignore[arg-type]
        )  # fmt: skip
    if targets is None:
        raise UserError("benchmark 'folders' needs a folder of class folders, not vectors.")
    table = read_json(labels)
    wrong = [tag for tag, row in table.items() if len(row) != len(set(targets))]
    if wrong:
        raise UserError(f"{len(set(targets))} class folders, but {wrong[0]} has {len(table[wrong[0]])} names.")
    if codes != ["all"]:
        table = {
            tag: table[tag] for tag in same_ids(dict.fromkeys(codes), {t: 0 for t in table if t in codes}, "names")
        }
    return classify_all(
        model, vectors, targets, table, templates=read_json(prompts) if prompts else ("{}",),
        on_error=on_error, confidence=confidence,  # type: ignore[arg-type]
    )  # fmt: skip


def choice(
    data: str,
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
            `commute`: folder of CoMMuTE.
        model: model name: a generator, or an encoder for `mvl-sib`.
        benchmark: `mvl-sib`, `mmmb`, `pope` or `commute`.
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
    from panoglot.evaluate import benchmarks
    from panoglot.evaluate._ask import ask
    from panoglot.evaluate._vectors import load_encoder
    from panoglot.evaluate.captions import pope
    from panoglot.models.roles import Prompt

    check_option("benchmark", benchmark, ("mvl-sib", "mmmb", "pope", "commute"))
    tags = _list(lang)
    loaded = load_encoder(model, cache, "generator|encoder" if benchmark == "mvl-sib" else "generator")
    if benchmark == "mvl-sib":
        return benchmarks.mvl_sib(
            loaded, data, lang=tags, task=task, k=k, images=images, limit=limit, seed=seed, parse=parse or "strict",
            confidence=confidence,
        )  # fmt: skip
    if benchmark == "mmmb":
        return benchmarks.mmmb(loaded, data, lang=tags[0], images=images, parse=parse or "text", confidence=confidence)
    if benchmark == "commute":
        return ResultSet(
            {tag: benchmarks.commute(loaded, data, lang=tag, images=images, confidence=confidence) for tag in tags}
        )
    from panoglot.errors import RowError
    from panoglot.io import Image

    rows = read_rows(data)
    root = Path(images) if images else Path(data).parent
    answers = ask(
        loaded, [Prompt(row["text"], (Image.from_path(str(root / row["image"])),), max_tokens=16) for row in rows]
    )
    said = [None if isinstance(answer, RowError) else answer.text for answer in answers]
    return ResultSet(
        {
            tags[0]: pope(
                said, [row["label"] for row in rows], lang=tags[0], parse=parse or "strict", confidence=confidence
            )
        }
    )


def composed(
    rankings: str | Sequence[str],
    *,
    benchmark: str,
    annotations: str | Sequence[str],
    subset: str | None = None,
    confidence: float | None = None,
) -> ResultSet:
    """Score rankings of composed retrieval.

    Args:
        rankings: submission file; `fashion-iq`: one a category, named `…dress…`, `…shirt…`, `…toptee…`.
        benchmark: `circo`, `cirr` or `fashion-iq`.
        annotations: the benchmark's annotation file (`fashion-iq`: one a category).
        subset: `cirr`: the submission of the subset.
        confidence: level of bootstrap intervals.
    """
    from panoglot.evaluate.benchmarks import _composed, circo, cirr, fashion_iq

    check_option("benchmark", benchmark, ("circo", "cirr", "fashion-iq"))
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
    from panoglot.evaluate._mteb import PROMPTS
    from panoglot.evaluate._mteb import mteb as run_tasks
    from panoglot.evaluate._vectors import load_encoder

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
    metric: str,
    human: str,
    *,
    statistic: str = "kendall_b",
    groups: str | None = None,
    confidence: float | None = None,
) -> MetricResult:
    """Agreement of a metric's item scores with people's.

    Args:
        metric: a result with item values, `{id: score}`, or JSONL `id, score`.
        human: `{id: score}`, or JSONL `id, human_score` (or `score`).
        statistic: `kendall_b`, `kendall_c`, `spearman`, `pearson`, `pairwise_accuracy`, `pairwise_accuracy_no_ties`.
        groups: field of the human rows that groups items, for example the picture.
        confidence: level of a bootstrap interval.
    """
    scores, people = (
        read_column(metric, ("score", "value")),
        read_column(human, ("human_score", "human", "score", "rating")),
    )
    of = {key: str(value) for key, value in _groups(human, groups).items()} if groups else None
    return _agreement(scores, people, statistic=statistic, groups=of, metric=Path(metric).stem, confidence=confidence)


def _groups(path: str, name: str) -> dict[str, Any]:
    return dict(read_column(path, (name,)))


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
