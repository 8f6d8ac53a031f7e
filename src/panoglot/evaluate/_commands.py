"""The commands of `panoglot evaluate`: files in, results out. All return something with `table()` and `to_json()`.

Those that run benchmarks are made of what their benchmarks and metrics declare; they are put together when they are
first used, as other packages may declare some too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from panoglot.asking import load_encoder
from panoglot.errors import UserError
from panoglot.evaluate._battles import read_battles
from panoglot.evaluate._names import COMMANDS, POSITIONAL
from panoglot.evaluate._options import listed, refuse_others
from panoglot.evaluate._run import Command, command
from panoglot.formats._json import read_json, read_rows
from panoglot.metrics._compare import compare as _compare
from panoglot.metrics._results import ResultSet
from panoglot.metrics.preference.arena import ArenaResult
from panoglot.metrics.preference.arena import arena as _arena
from panoglot.metrics.preference.selection import Selection
from panoglot.metrics.preference.standings import Standings
from panoglot.table import is_dataset

__all__ = [
    "COMMANDS",
    "arena",
    "compare",
    "downsample",
    "make_babel_imagenet",
    "make_smpqa",
    "mteb",
    "select_tasks",
    "standings",
]

_ABOUT = {
    "captions": "Score captions, by metrics or by a benchmark's protocol. `panoglot evaluate --list` names them all.",
    "retrieval": "Text-to-image and image-to-text retrieval, for every language. A dataset's stored vectors are used.",
    "zeroshot": "Zero-shot classification in many languages; pictures are encoded once.",
    "choice": "Multiple choice about pictures: ask a model, or score the answers that it gave.",
    "composed": "Search with a picture and a text together, by an encoder; or score rankings that are there.",
    "generation": "Judge generated pictures, in every language that has a folder.",
    "agreement": """Agreement of metrics' item scores with people's.

A metric that is named is computed on the captions in `human`, those of every writer (`model`, `SYS`) on their own, as
in the published tables; captions that it cannot score are left out and counted.""",
}


@cache
def _made(verb: str) -> Callable[..., Any]:
    """A command that runs benchmarks."""
    from panoglot.evaluate import _agreement, _captions, _retrieval

    default = "folders" if verb == "zeroshot" else None
    made = Command(verb, _ABOUT[verb], default=default)
    if verb == "captions":
        made = Command(verb, _ABOUT[verb], _captions.choose, [_captions.every_metric()])
    elif verb == "retrieval":
        made = Command(verb, _ABOUT[verb], _retrieval.choose, [_retrieval.DATASET, _retrieval.VECTORS])
    elif verb == "agreement":
        made = Command(verb, _ABOUT[verb], _agreement.choose, [_agreement.COMPUTED, _agreement.STORED])
    return made.function()


def __getattr__(name: str) -> Any:
    if name not in POSITIONAL:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _made(name)


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
    from panoglot.evaluate.benchmarks.smpqa import make_smpqa as make

    tags = listed(lang)
    given = "all" if tags == ["all"] else tags
    return make(folder, lang=given, pictures=pictures, seed=seed, words=words, font=font)


@command
def make_babel_imagenet(
    file: str,
    *,
    senses: str | None = None,
    drop: str | Sequence[str] = (),
    templates: str | None = None,
    lang: str | Sequence[str] = (),
    translator: str | None = None,
    cache: str | None = None,
) -> Any:
    """Make a file of Babel-ImageNet anew: class names out of BabelNet's senses, or templates by a translator.

    Args:
        file: what is written: `{LANG: [[class numbers], [names]]}`, or `{LANG: [template, …]}`.
        senses: BabelNet's senses of the 1,000 classes: rows of `class, language, lemma, source, is_mt`, or the authors'
            crawl.
        drop: names that are English ones nearly, beside the three that the paper found; with commas.
        templates: instead of senses: JSON list of English texts with one `{}` each.
        lang: languages of the templates, with commas.
        translator: model name of a translator from English.
        cache: folder where its answers are kept, or `off`.
    """
    from panoglot.asking import load_asked
    from panoglot.evaluate.benchmarks._babel_make import make_labels, make_templates

    if (senses is None) == (templates is None):
        raise UserError("give senses= for class names, or templates= with lang= and translator=.")
    if senses is not None:
        refuse_others("making class names", {"lang": lang, "translator": translator}, ["senses", "drop"])
        return make_labels(senses, file, listed(drop))
    refuse_others("making templates", {"drop": drop}, ["templates", "lang", "translator"])
    if not listed(lang) or translator is None:
        raise UserError("templates= needs lang= and translator=.")
    model = load_asked(translator, "translator", cache)
    return make_templates(str(templates), model, listed(lang), file)


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
    criterion: str = "",
    exclude: str | Sequence[str] = (),
    k: float | None = None,
    resamples: int = 1000,
    seed: int = 42,
) -> ArenaResult:
    """Rate models from pairwise votes.

    Args:
        battles: JSON or JSONL of `source1, source2, winner` (or `model_a, model_b, winner`); or a dataset: who wrote
            captions that its ratings compare.
        rating: `elo`, `bradley-terry` or `win-minus-loss`.
        criterion: which ratings of a dataset count, where they are by several.
        exclude: models whose votes are left out, with commas.
        k: Elo's step; 4 without.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    if rating != "elo":
        refuse_others(f"the rating '{rating}'", {} if k is None else {"k": k}, ["exclude", "resamples", "seed"])
    step = {} if k is None else {"k": k}
    if is_dataset(battles):
        rows = read_battles(battles, criterion)
    elif criterion:
        raise UserError("--criterion is of a dataset's ratings; a file of votes has none.")
    else:
        rows = read_rows(battles)
    return _arena(rows, rating=rating, exclude=listed(exclude), **step, resamples=resamples, seed=seed)


@command
def standings(
    *results: str,
    lang: str | Sequence[str] = (),
    split: str | None = None,
    tasks: str | None = None,
    trained: str | None = None,
) -> Standings:
    """Rank models over tasks and languages: means, and Borda points, which one lucky task cannot decide.

    Args:
        results: result files, one a model (a model is called as its file, or its folder where several files are
            called alike); also Babel-ImageNet's published ones, and files or folders of `mteb`'s results.
        lang: languages that count, with commas; all without it.
        split: of `mteb`'s results: the split that counts, where a task has several.
        tasks: table of tasks, CSV with `Name, Type, Languages, License`: means are also over types.
        trained: JSON `{model: [task, …]}`: the share of tasks that a model was not trained on is shown.
    """
    from panoglot.metrics.preference.selection import read_task_facts
    from panoglot.metrics.preference.standings import read_standings

    if len(results) < 2 and not (results and Path(results[0]).is_dir()):
        raise UserError("give the result files of two models or more; each is called as its file.")
    types = {name: one.type for name, one in read_task_facts(tasks).items()} if tasks is not None else None
    seen = read_json(trained) if trained is not None else None
    if seen is not None and not (isinstance(seen, dict) and all(isinstance(some, list) for some in seen.values())):
        raise UserError(f"{trained} must be one JSON object: {{model: [task, …]}}.")
    return read_standings(results, lang=listed(lang), split=split, types=types, trained=seen)


@command
def select_tasks(
    *results: str,
    tasks: str | None = None,
    keep: str | Sequence[str] = (),
    drop: str | Sequence[str] = (),
    min_spearman: float = 0.8,
    max_mse: float = 0.5,
    split: str | None = None,
) -> Selection:
    """Make a small benchmark: leave out tasks whose scores the others predict, one after the other (MMTEB).

    Args:
        results: as for `standings`, of four models or more.
        tasks: table of tasks, CSV with `Name, Type, Languages, License`: none goes that is the last of its type, or of
            its type in a language; those without a licence or of programming languages go first.
        keep: tasks that stay, with commas.
        drop: tasks that go, with commas.
        min_spearman: a task goes when predicted scores order the models so well, at least,
        max_mse: and when their error is at most this, in standard deviations of the task, squared.
        split: of `mteb`'s results: the split that counts, where a task has several.
    """
    from panoglot.metrics.preference.selection import read_task_facts
    from panoglot.metrics.preference.selection import select_tasks as select
    from panoglot.metrics.preference.standings import read_standings

    facts = read_task_facts(tasks) if tasks is not None else None
    scores = read_standings(results, split=split).scores
    return select(scores, facts, keep=listed(keep), drop=listed(drop), min_spearman=min_spearman, max_mse=max_mse)


@command
def downsample(
    folder: str,
    into: str,
    *,
    encoder: str | Sequence[str],
    lang: str = "en",
    depth: int = 250,
    queries: int = 1000,
    seed: int = 0,
    split: str = "test",
    cache: str | None = None,
) -> ResultSet:
    """Make a retrieval task smaller: the documents that BM25 and encoders find, and what is to be found (MMTEB).

    Args:
        folder: BEIR's files: `corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv`.
        into: folder that is written, in the same form.
        encoder: model names of encoders of texts, with commas; the paper takes two.
        lang: of queries and documents.
        depth: documents of each system that go into a query's pool.
        queries: most queries; they are drawn.
        seed: of the draw.
        split: of the judgements.
        cache: folder where vectors are kept between runs, or `off`.
    """
    from panoglot.evaluate._downsample import downsample as make
    from panoglot.evaluate._downsample import read_task, write_task

    if Path(into).exists():
        raise UserError(f"{into} is there already; name another folder.")
    task = read_task(folder, split)
    encoders = {name: load_encoder(name, cache) for name in listed(encoder)}
    small, found = make(task, encoders, lang=lang, depth=depth, queries=queries, seed=seed)
    write_task(small, into, split)
    return found


compare = command(_compare)
