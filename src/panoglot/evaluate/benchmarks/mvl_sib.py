"""MVL-SIB: match pictures and sentences by topic, in 205 languages (arXiv 2502.12852), built from SIB-200.

Files: SIB-200's `annotated/<lang>/{train,dev,test}.tsv` (github.com/dadelani/sib-200, CC BY-SA 4.0); for the tasks with
pictures, ten a topic, named `<topic>_<0..9>.jpg` (huggingface.co/datasets/WueNLP/mvl-sib).
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import ask, encode_images, encode_texts, open_picture
from panoglot.checks import check_option, offenders
from panoglot.errors import RowError, UserError, did_you_mean
from panoglot.evaluate._declare import Benchmark, Protocol, Way
from panoglot.evaluate._options import listed
from panoglot.evaluate._stored import numbered, one_or_more, read_answers
from panoglot.formats._json import read_json
from panoglot.languages._tags import UNKNOWN_LANGUAGE, parse_language
from panoglot.metrics._choice import LETTERS, choice, read_letter
from panoglot.metrics._result import MetricResult
from panoglot.metrics._results import ResultSet, mean_over

if TYPE_CHECKING:
    from panoglot.pictures import Image

__all__ = ["MVL_SIB", "TASKS", "MvlSibItem", "Sib", "mvl_sib", "mvl_sib_items", "mvl_sib_scores", "read_sib"]

SOURCE = "https://github.com/dadelani/sib-200"
#: Pictures to sentence, sentences to picture, and the twins that have the topic's English name for pictures.
TASKS = ("i2s", "s2i", "t2s", "s2t")
PICTURES, USES = 10, 3


@dataclass(frozen=True)
class Sib:
    """SIB-200 in one language, splits pooled: ids, topics (`science/technology` is `science`), sentences."""

    lang: str
    ids: tuple[str, ...]
    topics: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class MvlSibItem:
    """One question. References and options are sentence numbers, picture names or topics, as the task has it.

    Attributes:
        record: number of the sentence it is made of.
        topic: the topic asked for.
        references: what is shown.
        options: four candidates.
        label: the right one.
    """

    record: int
    topic: str
    references: tuple[int | str, ...]
    options: tuple[int | str, ...]
    label: int


def read_sib(folder: str | os.PathLike[str], lang: str, *, expected: int | None = 1004) -> Sib:
    """Read one language.

    Args:
        folder: holds `<lang>/{train,dev,test}.tsv`, or has them in `annotated/` or `data/annotated/`.
        lang: for example `deu_Latn`.
        expected: rows there must be; None for any.

    Raises:
        UserError: missing files or rows.
    """
    root = Path(folder)
    root = next((root / sub for sub in ("annotated", "data/annotated") if (root / sub).is_dir()), root)
    if not (root / lang).is_dir():
        known = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
        raise UserError(
            f"there is no SIB-200 in '{lang}' under {root}.{did_you_mean(lang, known)} Get it from {SOURCE}"
        )
    rows: list[dict[str, str]] = []
    for split in ("train", "dev", "test"):
        path = root / lang / f"{split}.tsv"
        if not path.is_file():
            raise UserError(f"{path} is missing; get it from {SOURCE}")
        with path.open(encoding="utf-8", newline="") as file:  # quotes are text here, not quoting
            rows += csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    if expected is not None and len(rows) != expected:
        raise UserError(f"SIB-200 in '{lang}' has {len(rows)} rows, not {expected}: a broken copy?")
    try:
        topics = tuple(row["category"].partition("/")[0] for row in rows)
        return Sib(lang, tuple(row["index_id"] for row in rows), topics, tuple(row["text"] for row in rows))
    except (KeyError, AttributeError) as error:
        raise UserError(f"SIB-200 in '{lang}' lacks the column {error}.") from None


def mvl_sib_items(
    ids: Sequence[str],
    topics: Sequence[str],
    *,
    task: str = "i2s",
    k: int = 3,
    limit: int | None = None,
    seed: int = 0,
) -> list[MvlSibItem]:
    """Build the questions; every sentence is used three times. The same in all languages: the text plays no role.

    Fewer references are a part of more of them: k = 1 shows the first of k = 3. The draws are ours (seeded by item);
    for the published ones take the published manifest.

    Args:
        ids: sentence ids.
        topics: topic of each sentence.
        task: `i2s`, `s2i`, `t2s`, `s2t`.
        k: references shown, 1 to 5 (`t2s` shows the topic).
        limit: a seeded sample of so many questions, the same for all languages.
        seed: seed.
    """
    check_option("task", task, TASKS)
    names = sorted(set(topics))
    if len(names) < 4 or not 1 <= k <= 5:
        raise UserError(f"k={k} must be 1 to 5, and there must be at least four topics, not {len(names)}.")
    of = {topic: [n for n, mine in enumerate(topics) if mine == topic] for topic in names}
    if task in ("s2i", "s2t") and min(map(len, of.values())) < k:
        raise UserError(f"a topic has fewer than k={k} sentences.")
    numbers = list(range(USES * len(ids)))
    if limit is not None:
        if limit < 1:
            raise UserError(f"limit={limit} must be at least 1.")
        numbers = sorted(random.Random(f"mvl-sib {seed} sample").sample(numbers, min(limit, len(numbers))))
    found = []
    for number in numbers:
        record = number % len(ids)
        topic = topics[record]
        draw = random.Random(f"mvl-sib {seed} {number} {ids[record]}")
        others = draw.sample([name for name in names if name != topic], 3)
        pictures = [f"{topic}_{n}" for n in draw.sample(range(PICTURES), 5)]
        more = [record, *draw.sample([n for n in of[topic] if n != record], min(4, len(of[topic]) - 1))]
        wrong_sentences: list[int | str] = [draw.choice(of[other]) for other in others]
        wrong_pictures: list[int | str] = [f"{other}_{draw.randrange(PICTURES)}" for other in others]
        references: Sequence[int | str] = {"i2s": pictures[:k], "t2s": [topic]}.get(task, more[:k])
        right: int | str = {"s2i": pictures[0], "s2t": topic}.get(task, record)
        wrong = wrong_pictures if task == "s2i" else others if task == "s2t" else wrong_sentences
        options: list[int | str] = [right, *wrong]
        draw.shuffle(options)
        found.append(MvlSibItem(record, topic, tuple(references), tuple(options), options.index(right)))
    return found


def mvl_sib_scores(items: Sequence[MvlSibItem], chosen: Sequence[int | None], **rest: Any) -> MetricResult:
    """Accuracy, by topic too; parts as `choice`."""
    return choice(chosen, [item.label for item in items], groups=[item.topic for item in items], **rest)


#: The instruction is English for all languages, as in the paper; the wording is ours.
_ASK = {
    "i2s": "The pictures above share one topic. Which of these sentences is about the same topic?",
    "s2i": "The sentences above share one topic. Which of the pictures A to D is about the same topic?",
    "t2s": "Which of these sentences is about the topic above?",
    "s2t": "The sentences above share one topic. Which topic is it?",
}


def mvl_sib(
    model: Any,
    folder: str | os.PathLike[str],
    *,
    lang: Iterable[str] | str = ("eng_Latn",),
    task: str = "i2s",
    k: int = 3,
    images: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    parse: str = "strict",
    confidence: float | None = None,
) -> ResultSet:
    """Ask a `Generator`, or match with an `Encoder` (the mean of the references' vectors to the nearest option).

    Args:
        model: a `Generator`, or an `Encoder`; pictures are encoded once whatever the languages.
        folder: SIB-200.
        lang: SIB-200 codes.
        task: `i2s`, `s2i`, `t2s`, `s2t`.
        k: references shown.
        images: folder of the 70 pictures, for `i2s` and `s2i`.
        limit: a seeded sample of so many questions.
        seed: of the questions.
        parse: how letters are read, see `read_letter`; `starts` is the paper's.
        confidence: level of bootstrap intervals.

    Returns:
        A result a language; `summary["mean"]`.
    """
    check_option("task", task, TASKS)
    codes = [lang] if isinstance(lang, str) else list(lang)
    first = read_sib(folder, codes[0])
    items = mvl_sib_items(first.ids, first.topics, task=task, k=k, limit=limit, seed=seed)
    pictures = _pictures(images, sorted(set(first.topics))) if task in ("i2s", "s2i") else {}
    encodes = hasattr(model, "encode_texts")
    vectors = dict(zip(pictures, encode_images(model, list(pictures.values())))) if encodes and pictures else {}
    topic_vectors: dict[int | str, Any] = {}
    if encodes and task in ("t2s", "s2t"):
        names = sorted(set(first.topics))
        topic_vectors.update(zip(names, encode_texts(model, names, "en")))
    found = ResultSet()
    for code in codes:
        sib = read_sib(folder, code)
        if (sib.ids, sib.topics) != (first.ids, first.topics):
            raise UserError(f"SIB-200 in '{code}' has other sentences than in '{first.lang}': a broken copy?")
        failed = None
        if encodes:
            tag = parse_language(code.replace("_", "-")) or UNKNOWN_LANGUAGE
            known: dict[int | str, Any] = dict(vectors)
            known.update(topic_vectors)
            used = sorted({one for item in items for one in (*item.references, *item.options) if isinstance(one, int)})
            known.update(zip(used, encode_texts(model, [sib.texts[n] for n in used], tag)))
            chosen, failed = _nearest(items, known)
        else:
            prompts = [_prompt(item, sib.texts, task, pictures) for item in items]
            answers = ask(model, prompts)
            failed = [isinstance(answer, RowError) for answer in answers]
            chosen = [None if isinstance(a, RowError) else read_letter(a.text, 4, parse) for a in answers]
        found[code] = mvl_sib_scores(
            items, chosen, failed=failed, lang=code, name=f"mvl-sib/{task}", confidence=confidence,
            settings={"k": k, "seed": seed, "limit": limit, "parse": "" if encodes else parse,
                      "model": getattr(model, "name", "")},
        )  # fmt: skip
    found.summary = {"mean": mean_over(found)}
    return found


def _nearest(items: Sequence[MvlSibItem], vectors: dict[int | str, Any]) -> tuple[list[int | None], list[bool]]:
    import numpy as np

    chosen: list[int | None] = []
    for item in items:
        mean = np.mean([vectors[one] for one in item.references], axis=0)
        scores = np.array([vectors[one] @ mean for one in item.options])
        chosen.append(None if np.isnan(scores).any() else int(scores.argmax()))  # equal scores: the first
    return chosen, [one is None for one in chosen]


def _prompt(item: MvlSibItem, texts: Sequence[str], task: str, pictures: dict[int | str, Image]) -> Any:
    from panoglot.providers.roles import Prompt

    lines, shown = [], []
    for reference in item.references:
        if task == "i2s":
            shown.append(pictures[reference])
        else:
            lines.append(f"- {texts[reference] if isinstance(reference, int) else reference}")
    lines.append(_ASK[task])
    for letter, option in zip(LETTERS, item.options):
        if task == "s2i":
            shown.append(pictures[option])
        else:
            lines.append(f"{letter}. {texts[option] if isinstance(option, int) else option}")
    if task == "s2i":
        lines.append("The pictures are given in the order A, B, C, D.")
    lines.append("Answer with the letter only.")
    return Prompt(text="\n".join(lines), images=tuple(shown), max_tokens=8)


def _pictures(folder: str | os.PathLike[str] | None, topics: Sequence[str]) -> dict[int | str, Image]:
    if folder is None:
        raise UserError("this task needs images=, the folder of the 70 pictures <topic>_<0..9>.jpg.")
    names: list[int | str] = [f"{topic}_{n}" for topic in topics for n in range(PICTURES)]
    paths = {name: next(iter(sorted(Path(folder).glob(f"{name}.*"))), None) for name in names}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        raise UserError(f"{len(missing)} pictures are missing in {folder}: {offenders(missing)}.")
    return {name: open_picture(path) for name, path in paths.items() if path is not None}


def _run(
    data: str,
    model: Any = None,
    *,
    answers: str | None = None,
    images: str | None = None,
    lang: Sequence[str] = ("en",),
    task: str = "i2s",
    k: str = "3",
    tiers: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    parse: str = "strict",
    confidence: float | None = None,
) -> ResultSet:
    """Ask a model, match with an encoder, or score stored answers.

    Args:
        task: `i2s`, `s2i`, `t2s`, `s2t`, with commas: with a task and its twin in text alone the gap is shown.
        k: references shown, 1 to 5, with commas: with several the slope is shown.
        tiers: JSON `{tier: [language, …]}`: the mean of each tier is shown.
        limit: a seeded sample of so many questions.
        seed: of the questions.
        parse: how answers are read; each benchmark's own default without it.
    """
    tags, tasks, shown = one_or_more(lang), listed(task), [_count(one) for one in listed(str(k))]
    groups = _read_tiers(tiers) if tiers is not None else {}
    runs = {(one, number): ResultSet() for one in tasks for number in (shown[:1] if one == "t2s" else shown)}
    if answers is not None and len(runs) > 1:
        raise UserError("answers= are those of one task and one k.")
    for one, number in runs:
        if answers is not None:
            runs[one, number] = _stored(data, answers, tags, one, number, limit, seed, parse, confidence)
        else:
            runs[one, number] = mvl_sib(
                model, data, lang=tags, task=one, k=number, images=images, limit=limit, seed=seed, parse=parse,
                confidence=confidence,
            )  # fmt: skip
    return _joined(runs, groups)


def _count(text: str) -> int:
    if not text.isdigit():
        raise UserError(f"k={text!r} must be 1 to 5, or several of them with commas.")
    return int(text)


def _read_tiers(path: str) -> dict[str, list[str]]:
    found = read_json(path)
    if not isinstance(found, dict) or not all(isinstance(some, list) and some for some in found.values()):
        raise UserError(f"{path} must be one JSON object: {{tier: [language, …]}}.")
    return {str(tier): [str(one) for one in some] for tier, some in found.items()}


#: Tasks with pictures, and their twins in text alone.
_TWINS = {"i2s": "t2s", "s2i": "s2t"}


def _joined(runs: dict[tuple[str, int], ResultSet], tiers: dict[str, list[str]]) -> ResultSet:
    """One result a language, task and k; means over languages and tiers, gaps between twins, slopes over k.

    A gap is the accuracy of the text twin less that of the task with pictures, at the same k (`t2s` has none); a slope
    is what one more reference adds, by least squares. Both are means over languages.
    """
    alone = len(runs) == 1
    found, outside = ResultSet(), set()
    for (task, k), results in runs.items():
        at = task if task == "t2s" else f"{task} k={k}"
        found.update({lang if alone else f"{at} {lang}": result for lang, result in results.items()})
        found.summary["mean" if alone else f"{at} mean"] = mean_over(results)
        for tier, langs in tiers.items():
            mine = {lang: result for lang, result in results.items() if lang in langs}
            if mine:
                found.summary[f"tier {tier}" if alone else f"{at} tier {tier}"] = mean_over(mine)
        outside |= {lang for lang in results if tiers and not any(lang in langs for langs in tiers.values())}
    for (task, k), results in runs.items():
        twins = (one for (name, n), one in runs.items() if name == _TWINS.get(task) and (n == k or name == "t2s"))
        twin = next(twins, None)
        ours, theirs = mean_over(results), mean_over(twin) if twin is not None else None
        if ours is not None and theirs is not None:
            found.summary[f"{task} k={k} gap"] = theirs - ours
    for task in dict.fromkeys(task for task, _ in runs):
        points = [(k, mean_over(results)) for (name, k), results in runs.items() if name == task]
        known = [(k, value) for k, value in points if value is not None]
        if len(points) > 1 and len(known) == len(points):
            middle = sum(k for k, _ in known) / len(known)
            spread = sum((k - middle) ** 2 for k, _ in known)
            found.summary[f"{task} slope"] = sum((k - middle) * value for k, value in known) / spread
    if outside:
        found.notes = (f"{len(outside)} languages are in no tier: {offenders(sorted(outside))}",)
    return found


def _stored(
    data: str, answers: str, tags: Sequence[str], task: str, k: int, limit: int | None, seed: int, parse: str,
    confidence: float | None,
) -> ResultSet:  # fmt: skip
    """Score stored answers, by the question's number: `<lang>/<number>` with several languages."""
    first = read_sib(data, tags[0])
    items = mvl_sib_items(first.ids, first.topics, task=task, k=k, limit=limit, seed=seed)
    texts = read_answers(answers, numbered(tags, [len(items)] * len(tags)))
    found = ResultSet()
    for n, tag in enumerate(tags):
        mine = texts[n * len(items) : (n + 1) * len(items)]
        found[tag] = mvl_sib_scores(
            items, [None if text is None else read_letter(text, 4, parse) for text in mine],
            failed=[text is None for text in mine], lang=tag, name=f"mvl-sib/{task}", confidence=confidence,
            settings={"k": k, "seed": seed, "limit": limit, "parse": parse},
        )  # fmt: skip
    found.summary = {"mean": mean_over(found)}
    return found


#: All four tasks with one, three and five references; letters are read from the start of an answer.
PAPER = Protocol(
    options={"task": "i2s,s2i,t2s,s2t", "k": "1,3,5", "parse": "starts"},
    unverified=(
        "the words of the prompts, those of the twins in text alone above all: remembered, not read",
        "the draws: ours are seeded, the published manifest is not read",
        "pictures are shown as they are, the paper's fit 640 by 480",
        "the paper's tiers of languages (--tiers takes a list), and its tables",
    ),
)

MVL_SIB = Benchmark(
    "mvl-sib", "choice", "match pictures and sentences by topic in 205 languages (SIB-200's codes: `deu_Latn`)",
    "--data: SIB-200's folder; --images", "github.com/dadelani/sib-200, huggingface.co/datasets/WueNLP/mvl-sib",
    {
        "answers": Way(_run, without=("model", "images")),
        "model": Way(_run, roles={"model": "generator|encoder"}, without=("answers",)),
    },
    {"paper": PAPER},
)  # fmt: skip
