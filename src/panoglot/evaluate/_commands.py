"""The commands of `panoglot evaluate`: files in, results out. All return something with `table()` and `to_json()`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from panoglot.asking._made import note_model
from panoglot.checks import check_option, offenders
from panoglot.errors import UserError, did_you_mean
from panoglot.evaluate._caption_benchmarks import CAPTION_BENCHMARKS, need
from panoglot.evaluate._command_list import BENCHMARKS, COMMANDS, METRICS
from panoglot.evaluate._judge import load_judge
from panoglot.evaluate._options import command, listed, plain_name
from panoglot.evaluate._read import encode_files, picture_files, read_predictions, read_references
from panoglot.formats._json import read_json, read_rows
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


def _benchmark(verb: str, name: str) -> str:
    """The benchmark as we write it; one that is not this command's is refused."""
    name = plain_name(name)
    mine = [key for key, row in BENCHMARKS.items() if row.command == verb]
    if name in BENCHMARKS and name not in mine:
        raise UserError(f"'{name}' is a benchmark of: panoglot evaluate {BENCHMARKS[name].command}")
    return check_option("benchmark", name, mine)


@command
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
    vocabulary: str | None = None,
    tokenizer: str | None = None,
    references: int | None = None,
    on_error: str = "raise",
    confidence: float | None = None,
    cache: str | None = None,
    prices: str | None = None,
    max_cost: float | None = None,
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
        vocabulary: words that CHAIR looks for, with the paper's protocol: its `synonyms.txt`, or JSON `{class: [word,
            …]}`; without it our own words.
        tokenizer: `ptb` (`coco`: what the COCO tools do), `ptb-punct`, `words`, `words-elided`, `chars`, `clusters`,
            `jieba`, `mecab`, `thai-words`, `13a`, `intl`, `zh`, `flores200`, `whitespace`, or `xm3600` (what papers on
            XM3600 do); the language's own without it. Results name it.
        references: number of references that every item must have.
        on_error: empty captions: `raise`, `null` or `score`.
        confidence: level of bootstrap intervals, for example 0.95.
        cache: folder where vectors and a judge's answers are kept between runs, or `off`.
        prices: price table (YAML) for judges that cost.
        max_cost: most US dollars that this run may cost; what was answered is kept.
    """
    from panoglot.evaluate._score import Scorer

    options: dict[str, Any] = {
        "lang": lang, "on_error": on_error, "confidence": confidence, "cache": cache, "tokenizer": tokenizer,
    }  # fmt: skip
    if benchmark is not None:
        benchmark = _benchmark("captions", benchmark)
        return CAPTION_BENCHMARKS[benchmark](
            preds, benchmark=benchmark, data=data, model=model, images=images, encoder=encoder, parser=parser,
            judge=judge, prices=prices, max_cost=max_cost, **options,
        )  # fmt: skip
    names = listed(metrics) or ["cider"]
    paths = [refs] if isinstance(refs, str) else list(refs or ())
    score = Scorer(
        names, images=images, encoder=encoder, parser=parser, objects=objects, vocabulary=vocabulary,
        references=references, **options,
    )  # fmt: skip
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


@command
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

    if benchmark is None and plain_name(source) in BENCHMARKS and not Path(source).exists():
        benchmark = source
    elif benchmark is not None:
        data = data or source
    if benchmark is not None:
        from panoglot.asking import load_encoder
        from panoglot.evaluate.benchmarks._image_text import image_text_benchmark, read_caption_set

        benchmark = _benchmark("retrieval", benchmark)
        if benchmark in ("sorce-1k", "merit"):
            from panoglot.evaluate.benchmarks._merit import merit
            from panoglot.evaluate.benchmarks._sorce import sorce_benchmark

            need(benchmark, data=data, encoder=encoder)
            model = load_encoder(encoder, cache)
            if benchmark == "merit":
                return merit(model, str(data), images=images, on_error=on_error, confidence=confidence)
            return sorce_benchmark(
                model, str(data), views=views, lang=(listed(lang) or ["en"])[0], confidence=confidence
            )
        need(benchmark, data=data, images=images, encoder=encoder)
        table = read_caption_set(benchmark, str(data), lang=listed(lang), split=split)
        model = load_encoder(str(encoder), cache)
        return image_text_benchmark(
            model,
            table,
            str(images),
            metrics=listed(metrics),
            ties=ties,
            on_error=on_error,  # type: ignore[arg-type]
            confidence=confidence,
        )
    if not source.endswith(".npy"):
        if encoder is None:
            raise UserError("retrieval on a dataset needs --encoder.")
        tags = listed(lang)
        from panoglot.asking import load_encoder

        return dataset_retrieval(
            source,
            load_encoder(encoder, cache),
            lang=tags or None,
            metrics=listed(metrics),
            ties=ties,
            confidence=confidence,
        )
    if texts is None:
        raise UserError("image vectors need --texts, the text vectors (.npy).")
    pictures, rows = _vectors(source), _vectors(texts)
    if owners is not None:
        of = _vectors(owners).ravel().tolist() if owners.endswith(".npy") else read_json(owners)
    elif not len(pictures) or len(rows) % len(pictures):
        raise UserError(f"{len(rows)} texts cannot be dealt evenly to {len(pictures)} images: give --owners.")
    else:
        of = [n // (len(rows) // len(pictures)) for n in range(len(rows))]
    return ResultSet(
        image_text_retrieval(
            pictures, rows, _whole(of, owners), metrics=listed(metrics), ties=ties,  # type: ignore[arg-type]
            lang=",".join(listed(lang)), on_error=on_error,  # type: ignore[arg-type]
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


@command
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
    from panoglot.evaluate.benchmarks._babel_imagenet import babel_imagenet, read_babel_labels

    benchmark = _benchmark("zeroshot", benchmark)
    need(benchmark, labels=labels)
    labels = str(labels)
    forms = read_templates(templates)
    codes = listed(lang)
    paths = [] if images.endswith(".npy") else picture_files(images)
    folders = {folder: n for n, folder in enumerate(sorted({path.parent for path in paths}))}
    targets = [folders[path.parent] for path in paths] if paths else None
    names = None
    if benchmark == "folders":
        names = _names(labels, len(folders), codes)
    elif folders and len(folders) != 1000:
        raise UserError(f"{images} has {len(folders)} class folders; ImageNet has 1,000.")
    else:
        read_babel_labels(labels)
    model = load_encoder(encoder, cache)
    vectors = encode_files(model, paths) if paths else _vectors(images)
    if names is None:
        curated = read_json(english) if english else None
        return babel_imagenet(
            model, vectors, labels, prompts=forms, english=curated, lang="all" if codes == ["all"] else codes,
            targets=targets, on_error=on_error, confidence=confidence,  # type: ignore[arg-type]
        )  # fmt: skip
    return classify_all(
        model, vectors, targets or [], names, templates=forms,
        on_error=on_error, confidence=confidence,  # type: ignore[arg-type]
    )  # fmt: skip


def _names(path: str, classes: int, codes: list[str]) -> dict[str, list[str]]:
    """Names of the class folders by language, checked before anything is encoded.

    Raises:
        UserError: no such file, another form, another number of names than folders, languages that are not there.
    """
    if not classes:
        raise UserError("benchmark 'folders' needs a folder of class folders, not vectors.")
    table = read_json(path)
    if not isinstance(table, dict) or not all(
        isinstance(row, list) and all(isinstance(name, str) for name in row) for row in table.values()
    ):
        raise UserError(f"{path} must be a JSON object of lists of names by language: {{lang: [name, …]}}.")
    wrong = [tag for tag, row in table.items() if len(row) != classes]
    if wrong:
        raise UserError(f"{classes} class folders, but {wrong[0]} has {len(table[wrong[0]])} names.")
    if codes == ["all"]:
        return table
    absent = [tag for tag in codes if tag not in table]
    if absent:
        raise UserError(f"{path} has no names in {offenders(absent)}; it has {offenders(table)}.")
    return {tag: table[tag] for tag in codes}


@command
def choice(
    data: str | None = None,
    *,
    benchmark: str,
    model: str | None = None,
    answers: str | None = None,
    lang: str | Sequence[str] = ("en",),
    images: str | None = None,
    task: str = "i2s",
    k: int = 3,
    limit: int | None = None,
    seed: int = 0,
    parse: str | None = None,
    confidence: float | None = None,
    cache: str | None = None,
    prices: str | None = None,
    max_cost: float | None = None,
) -> ResultSet:
    """Multiple choice about pictures: ask a model, or score the answers that it gave.

    Args:
        data: `mvl-sib`: folder of SIB-200; `mmmb`: TSV (also MMBench's); `pope`: JSONL `image, text, label`;
            `commute`: folder of CoMMuTE; `smpqa`: folder of SMPQA, or of `make-smpqa`.
        benchmark: `mvl-sib`, `mmmb`, `pope`, `commute` or `smpqa`.
        model: model name: a generator, or an encoder for `mvl-sib`.
        answers: file of stored answers instead of a model: a list or lines in the order of the questions, or by id
            (`{id: answer}`, rows of `id, answer`); `commute`: rows of `right, wrong`, log-probabilities.
        lang: languages, with commas; SIB-200 codes such as `deu_Latn` for `mvl-sib`.
        images: folder of the pictures.
        task: `mvl-sib`: `i2s`, `s2i`, `t2s`, `s2t`.
        k: `mvl-sib`: references shown.
        limit: `mvl-sib`: a seeded sample of so many questions.
        seed: of the questions.
        parse: how answers are read; each benchmark's own default without it.
        confidence: level of bootstrap intervals.
        cache: folder where vectors and a model's answers are kept between runs, or `off`.
        prices: price table (YAML) for models that cost.
        max_cost: most US dollars that this run may cost; what was answered is kept.
    """
    from panoglot.evaluate._choice_command import asked, scored

    benchmark = _benchmark("choice", benchmark)
    need(benchmark, data=data)
    tags = listed(lang)
    if not tags:
        raise UserError("--lang names no language.")
    if (model is None) == (answers is None):
        raise UserError(f"'{benchmark}' needs one of --model and --answers.")
    options: dict[str, Any] = {
        "task": task,
        "k": k,
        "limit": limit,
        "seed": seed,
        "parse": parse,
        "confidence": confidence,
    }
    if answers is not None:
        return scored(benchmark, str(data), answers, tags, **options)
    if benchmark == "mvl-sib":
        from panoglot.asking import load_encoder

        loaded = load_encoder(model, cache, "generator|encoder")
        if not hasattr(loaded, "encode_texts"):
            loaded = load_judge(loaded, cache, role="model", prices=prices, max_cost=max_cost)
    else:
        loaded = load_judge(model, cache, role="model", prices=prices, max_cost=max_cost)
    return asked(benchmark, loaded, str(data), tags, images=images, **options)


@command
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

    tags = listed(lang)
    given = "all" if tags == ["all"] else tags
    return benchmarks.make_smpqa(folder, lang=given, pictures=pictures, seed=seed, words=words, font=font)


@command
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
    metrics: str | Sequence[str] = (),
    on_error: str = "raise",
    confidence: float | None = None,
    cache: str | None = None,
    model: str | Sequence[str] = (),
    prices: str | None = None,
    max_cost: float | None = None,
) -> ResultSet:
    """Search with a picture and a text together, by an encoder; or score rankings that are there.

    Args:
        rankings: submission file; `fashion-iq`: one a category, named `…dress…`, `…shirt…`, `…toptee…`.
        benchmark: `circo`, `cirr`, `fashion-iq`, or `genecis` (with an encoder).
        annotations: the benchmark's annotation file (`fashion-iq`: one a category); with an encoder its folder.
        subset: `cirr`: the submission of the subset.
        images: folders of the pictures, to search them with `--encoder`.
        encoder: model name.
        method: `image` (the reference alone), `text` (the instruction alone), `sum` of both, or a preset of
            `panoglot search`: `rules`, `cirevl`, `cotmr`, `imagescope` (its first stage), `learned`.
        weight: of the text in `sum`, 0..1.
        texts: JSON of texts to search with instead of the instructions, by query id (a method's rewritten captions).
        lang: language of the texts.
        split: of the annotations.
        submission: folder for the rankings, as the official servers take them.
        metrics: names, with commas (`recall@10`, `map@5`, `ndcg@10`, `mrr`); the benchmark's own without it.
        on_error: gallery pictures that are missing or broken: `raise` or `null`.
        confidence: level of bootstrap intervals.
        cache: folder where vectors are kept between runs, or `off`.
        model: models of a preset, as `llm=PROVIDER:NAME`; their answers are kept beside the vectors.
        prices: file of prices.
        max_cost: most US dollars that the preset's models may cost.
    """
    from panoglot.evaluate.benchmarks import _composed
    from panoglot.evaluate.benchmarks._composed import circo, cirr, fashion_iq
    from panoglot.evaluate.benchmarks._composed_run import composed_run

    benchmark = _benchmark("composed", benchmark)
    asked = listed(metrics)
    if encoder is not None:
        from panoglot.asking import cache_folder, load_encoder
        from panoglot.retrieval import Askers, model_names

        need(benchmark, annotations=annotations or None, images=images or None)
        kept = cache_folder(cache)
        askers = Askers(model_names(model), kept / "answers" if kept else None, prices, max_cost)
        return composed_run(
            load_encoder(encoder, cache), benchmark, annotations, images, method=method, weight=weight, texts=texts,
            lang=lang, split=split, on_error=on_error, output=submission, metrics=asked, confidence=confidence,
            askers=askers,
        )  # fmt: skip
    if not rankings:
        raise UserError("give rankings to score, or --encoder and --images to search with.")
    if benchmark == "genecis":
        raise UserError("genecis needs --encoder and --images: it has no rankings of its own form.")

    need(benchmark, annotations=annotations or None)
    files = [rankings] if isinstance(rankings, str) else list(rankings)
    truth = [annotations] if isinstance(annotations, str) else list(annotations)
    if benchmark == "fashion-iq":
        return fashion_iq(
            {_composed.category_of(path): read_json(path) for path in files},
            {_composed.category_of(path): path for path in truth},
            metrics=asked,
            confidence=confidence,
        )
    if len(files) != 1 or len(truth) != 1:
        raise UserError(f"{benchmark} takes one file of rankings and one of annotations.")
    if benchmark == "circo":
        return circo(files[0], truth[0], metrics=asked, confidence=confidence)
    return cirr(files[0], truth[0], subset=subset, metrics=asked, confidence=confidence)


@command
def mteb(
    *tasks: str,
    encoder: str,
    prompts: str = "none",
    lang: str | Sequence[str] = (),
    by: str = "task",
    folder: str | None = None,
    split: str | None = None,
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
        split: the split that counts, where a task has several; `test` without it.
        cache: folder where vectors are kept between runs, or `off`.
    """
    from panoglot.asking import load_encoder
    from panoglot.evaluate._mteb import PROMPTS
    from panoglot.evaluate._mteb import mteb as run_tasks

    given = prompts if prompts in PROMPTS or not Path(prompts).is_file() else read_json(prompts)
    return run_tasks(
        load_encoder(encoder, cache), tasks, prompts=given, lang=listed(lang), by=by, folder=folder, split=split
    )


@command
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
    return _arena(read_rows(battles), rating=rating, exclude=listed(exclude), k=k, resamples=resamples, seed=seed)


@command
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
    tokenizer: str | None = None,
    confidence: float | None = None,
    cache: str | None = None,
) -> ResultSet:
    """Agreement of metrics' item scores with people's.

    A metric that is named is computed on the captions in `human`, those of every writer (`model`, `SYS`) on their own,
    as in the published tables; captions that it cannot score are left out and counted.

    Args:
        metric: names of metrics, with commas; or stored scores: a result with item values, `{id: score}`, JSONL `id,
            score`. With `benchmark` these are in the order of its rows or by their number: `foil`: pairs, or rows of
            `baseline, foil`; `hat`: numbers; `caparena`: pairs, or rows of `caption1, caption2`; `detailcaps`:
            `{model: {picture: score}}`.
        human: `{id: score}`, or JSONL `id, human_score` (or `score`), with `caption` for named metrics.
        refs: references by picture, when they do not stand in the rows (`references`).
        benchmark: `foil`, `hat`, `caparena` or `detailcaps`: `human` is the benchmark's file.
        statistic: `kendall_b`, `kendall_c`, `spearman`, `pearson`, `pairwise_accuracy`, `pairwise_accuracy_no_ties`.
        groups: field of the human rows that groups items, for example the picture.
        lang: language of the captions.
        images: folder of pictures, for CLIPScore and others.
        encoder: model name, for CLIPScore, CAPTURE and others.
        parser: model name of a caption parser, for SPICE and CAPTURE.
        tokenizer: as in `captions`.
        confidence: level of a bootstrap interval.
        cache: folder where vectors are kept between runs, or `off`.
    """
    from panoglot.evaluate import _human
    from panoglot.evaluate._score import Scorer

    if benchmark is not None:
        benchmark = check_option("benchmark", plain_name(benchmark), (*_human.BENCHMARKS, "detailcaps"))
    names = [plain_name(name) for name in listed(metric)]
    judged = benchmark == "caparena" and "judge" in names
    if not judged and not any(name in METRICS for name in names):
        path = metric if isinstance(metric, str) else " ".join(metric)
        if not Path(path).exists():
            hint = did_you_mean(path, METRICS)
            raise UserError(f"'{path}' is neither a metric nor a file.{hint} All metrics: panoglot evaluate --list")
        if benchmark in _human.BENCHMARKS:
            return _human.BENCHMARKS[benchmark](None, human, judge=False, confidence=confidence, stored=path)
        if benchmark is not None:
            grouped = groups is not None
            return _human.stored_detailcaps(path, human, statistic=statistic, grouped=grouped, confidence=confidence)
        return _human.given(path, human, statistic=statistic, groups=groups, confidence=confidence)
    names = [name for name in names if not (judged and name == "judge")]
    for name in names:
        check_option("metric", name, METRICS)
    score = Scorer(
        names, lang=lang, images=images, encoder=encoder, parser=parser, tokenizer=tokenizer, on_error="null",
        cache=cache,
    )  # fmt: skip
    if benchmark in _human.BENCHMARKS:
        return _human.BENCHMARKS[benchmark](score, human, judge=judged, confidence=confidence)
    rows = _human.read_detailcaps_rows(human) if benchmark else _human.read_human(human, refs, groups)
    return _human.computed(score, rows, statistic=statistic, grouped=groups is not None, confidence=confidence)


@command
def standings(*results: str, lang: str | Sequence[str] = (), split: str | None = None) -> Standings:
    """Rank models over tasks and languages: means, and Borda points, which one lucky task cannot decide.

    Args:
        results: result files, one a model (a model is called as its file, or its folder where several files are
            called alike); also Babel-ImageNet's published ones, and files or folders of `mteb`'s results.
        lang: languages that count, with commas; all without it.
        split: of `mteb`'s results: the split that counts, where a task has several.
    """
    from panoglot.metrics.preference.standings import read_standings

    if len(results) < 2 and not (results and Path(results[0]).is_dir()):
        raise UserError("give the result files of two models or more; each is called as its file.")
    return read_standings(results, lang=listed(lang), split=split)


@command
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
    prices: str | None = None,
    max_cost: float | None = None,
) -> ResultSet:
    """Judge generated pictures, in every language that has a folder.

    Args:
        images: folder of the pictures: `[<language>/]<prompt>/…`; a prompt's folder may be a file of its name.
        benchmark: `geneval`, `dpg`, `clc` or `css`.
        data: the prompts (`geneval`: `evaluation_metadata.jsonl`, or a folder with one for every language,
            `…_<language>.jsonl` or `<language>/….jsonl`) or questions (`dpg`).
        detections: `geneval`: what a detector found: JSONL `image, boxes: [{name, score, box[, color]}], width,
            height`.
        detector: `geneval`: model name of a detector, instead.
        encoder: model name: names colours for `geneval`, compares pictures for `clc` and `css`.
        judge: `dpg`: model name of a generator that sees pictures.
        english: `css`: folder of the pictures of the English prompts.
        reference: `clc`: language that the others are compared with; `all` compares all pairs.
        order: `css`: `english_first` or `english_second`, recorded.
        confidence: level of bootstrap intervals.
        cache: folder where vectors and a judge's answers are kept between runs, or `off`.
        prices: price table (YAML) for judges that cost.
        max_cost: most US dollars that this run may cost; what was answered is kept.
    """
    from panoglot.asking import load_encoder
    from panoglot.evaluate import _generation
    from panoglot.providers import load_model

    benchmark = _benchmark("generation", benchmark)
    if benchmark == "geneval":
        need(benchmark, data=data)
        if (detections is None) == (detector is None):
            raise UserError("'geneval' needs one of --detections and --detector.")
        finder = note_model("detector", load_model(detector, "detector")) if detector else None
        return _generation.geneval_folder(
            images, str(data), detections=detections, detector=finder,
            encoder=load_encoder(encoder, cache) if encoder else None, confidence=confidence,
        )  # fmt: skip
    if benchmark == "dpg":
        need(benchmark, data=data, judge=judge)
        asker = load_judge(str(judge), cache, prices=prices, max_cost=max_cost)
        return _generation.dpg_folder(images, str(data), asker, confidence=confidence)
    need(benchmark, encoder=encoder)
    model = load_encoder(str(encoder), cache)
    if benchmark == "css":
        need(benchmark, english=english)
        return _generation.css_folder(images, str(english), model, order=order, confidence=confidence)
    return _generation.clc_folder(
        images, model, reference=None if reference == "all" else reference, confidence=confidence
    )


@command
def compare(
    a: str,
    b: str,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    split: str | None = None,
    revisions: str = "refuse",
    per_item: bool = False,
) -> Comparison:
    """Compare two result files: paired bootstrap, for every language and over all.

    Args:
        a: result file with item values.
        b: the other system's.
        level: coverage of the intervals.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        split: of `mteb`'s results: the split that counts, where a task has several.
        revisions: of `mteb`'s results: tasks whose data are of different revisions are named and `refuse`d, left out
            (`leave-out`), or compared all the same (`keep`).
        per_item: keep every item's difference.
    """
    if math.isnan(level):
        raise UserError("level must be a number between 0 and 1.")
    return _compare(
        a, b, level=level, resamples=resamples, seed=seed, split=split, revisions=revisions, per_item=per_item
    )
