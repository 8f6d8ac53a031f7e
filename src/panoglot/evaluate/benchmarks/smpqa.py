"""SMPQA: words of any language in bar and pie charts, found (ground) and read (name) (Geigle et al., ACL 2025).

After Centurio (arXiv 2501.05122). The original's files can be read; ours are drawn here with words of our own (24
nouns in 13 languages, or yours), from the same draws in every language. Questions are in English: what is tested is
whether the labels are read.

Files: `<lang>_ground.json` and `<lang>_name.json`, rows of `context` (the question), `label`, `text_label` (the
answer), `image_id`; and the pictures in `images/`.
"""

from __future__ import annotations

import json
import os
import random
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import ask, open_picture
from panoglot.checks import check_option, offenders
from panoglot.errors import RowError, UserError, did_you_mean
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._stored import one_or_more, read_answers
from panoglot.evaluate.benchmarks._smpqa_draw import COLOURS, Chart, Font, draw_chart, find_font
from panoglot.evaluate.benchmarks._smpqa_words import WORDS
from panoglot.formats._json import read_json
from panoglot.metrics._result import mean_result
from panoglot.metrics._results import ResultSet
from panoglot.text._letters import same_letters

if TYPE_CHECKING:
    from panoglot.providers.roles import Generator

__all__ = ["SMPQA", "Made", "make_smpqa", "read_smpqa", "smpqa", "smpqa_questions", "smpqa_scores"]

TASKS = ("ground", "name")
SOURCE = "https://github.com/gregor-ge/Centurio, or make them: panoglot evaluate make-smpqa FOLDER --lang en,th"


@dataclass(frozen=True)
class Made:
    """What was drawn.

    Attributes:
        folder: where.
        pictures: how many a language.
        fonts: the font of every language.
    """

    folder: str
    pictures: int
    fonts: Mapping[str, str]

    def to_json(self) -> str:
        """JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True, indent=1, ensure_ascii=False)

    def table(self) -> str:
        """A line a language."""
        wide = max(map(len, self.fonts), default=0)
        return "\n".join(
            f"{tag:<{wide}}  {self.pictures} pictures in {self.folder}, {font}" for tag, font in self.fonts.items()
        )


def smpqa_questions(
    chart: Chart, others: Sequence[str], draw: random.Random, yes: Sequence[bool]
) -> dict[str, list[tuple[str, str]]]:
    """Questions and answers about a chart: three to ground (by `yes` with that answer), three to name.

    Args:
        chart: the chart.
        others: words that are not in it.
        draw: randomness.
        yes: the three answers wanted: is a word there; is it the largest; has it a colour.
    """
    part = "bar" if chart.kind == "bar" else "slice"
    order = sorted(range(len(chart.values)), key=lambda n: chart.values[n])
    # a word that is a part of a label would be there and not there
    strange = [word for word in others if not any(word in label or label in word for label in chart.labels)]
    if not strange:
        raise UserError("every other word is a part of a label (or the reverse): give more words.")
    asked = draw.choice(chart.labels) if yes[0] else draw.choice(strange)
    top = order[-1]
    rest = [n for n in range(len(order)) if n != top]
    big = chart.labels[top if yes[1] else draw.choice(rest)]
    coloured = draw.randrange(len(order))
    colour = chart.colours[coloured]
    if not yes[2]:
        colour = draw.choice([one for one in chart.colours if one != colour])
    say = {True: "yes", False: "no"}
    picked = draw.randrange(len(order))
    place = f"What is the label of the {chart.colours[picked]} {part}?"
    return {
        "ground": [
            (f'Is the word "{asked}" in this chart?', say[yes[0]]),
            (f'Is the {part} labelled "{big}" the largest?', say[yes[1]]),
            (f'Is the {part} labelled "{chart.labels[coloured]}" {colour}?', say[yes[2]]),
        ],
        "name": [
            (f"What is the label of the largest {part}?", chart.labels[order[-1]]),
            (f"What is the label of the smallest {part}?", chart.labels[order[0]]),
            (place, chart.labels[picked]),
        ],
    }


def make_smpqa(
    folder: str | os.PathLike[str],
    *,
    lang: Iterable[str] | str = "all",
    pictures: int = 100,
    seed: int = 0,
    words: str | os.PathLike[str] | Mapping[str, Sequence[str]] | None = None,
    font: str | None = None,
) -> Made:
    """Draw pictures and write questions, the same bytes for the same seed, words and fonts.

    Args:
        folder: where `<lang>_ground.json`, `<lang>_name.json` and `images/` go.
        lang: languages, or `all` that there are words of.
        pictures: for each language.
        seed: seed.
        words: at least 12 words by language (a mapping, or a JSON file of one); ours without.
        font: font file for all languages; without it one that has all characters is looked for.

    Raises:
        UserError: no words in a language; no font with all characters (before anything is written); words too long.
    """
    given: dict[str, list[str]] = {tag: text.split() for tag, text in WORDS.items()}
    if words is not None:
        data = words if isinstance(words, Mapping) else read_json(words)
        given = {str(tag): [unicodedata.normalize("NFC", str(w)).strip() for w in row] for tag, row in data.items()}
    tags = list(given) if lang == "all" else [lang] if isinstance(lang, str) else list(lang)
    unknown = [tag for tag in tags if tag not in given]
    if unknown:
        raise UserError(
            f"there are no words in {offenders(unknown)}: give them, words=FILE.{did_you_mean(unknown[0], given)}"
        )
    few = [f"{tag} ({len(set(given[tag]))})" for tag in tags if len(set(given[tag])) < 12 or "" in given[tag]]
    if few:
        raise UserError(f"{len(few)} languages have fewer than 12 different words: {offenders(few)}.")
    fonts = {tag: find_font(tag, given[tag], font) for tag in tags}
    root = Path(folder)
    try:
        (root / "images").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{root} cannot be written ({error.strerror}).") from None
    for tag in tags:
        rows: dict[str, list[dict[str, Any]]] = {task: [] for task in TASKS}
        for n in range(pictures):
            chart, png = _draw(n, given[tag], fonts[tag], seed)
            name = f"{tag}_{n:04}.png"
            (root / "images" / name).write_bytes(png)
            others = [word for word in given[tag] if word not in chart.labels]
            # the n-th question of a kind is answered yes, then no: half and half, to one question
            yes = [(n + turn) % 2 == 0 for turn in range(3)]
            asked = smpqa_questions(chart, others, random.Random(f"smpqa {seed} {n} questions"), yes)
            for task in TASKS:
                rows[task] += [
                    {"context": [question], "label": [""], "text_label": answer, "image_id": name}
                    for question, answer in asked[task]
                ]
        for task in TASKS:
            text = json.dumps(rows[task], ensure_ascii=False, indent=1)
            (root / f"{tag}_{task}.json").write_text(text + "\n", encoding="utf-8")
    return Made(os.fspath(folder), pictures, {tag: Path(one.path).name for tag, one in fonts.items()})


def _draw(n: int, words: Sequence[str], font: Font, seed: int) -> tuple[Chart, bytes]:
    """A chart whose words fit: smaller letters, then another draw. Equal draws for all languages."""
    for number in range(20):
        draw = random.Random(f"smpqa {seed} {n} {number}")
        count = draw.randint(4, 6)
        sizes = [float(20 + 13 * step) for step in range(count)]  # every size differs visibly from the others
        draw.shuffle(sizes)
        kind = "bar" if n % 2 == 0 else "pie"
        labels, colours = (
            [words[one] for one in draw.sample(range(len(words)), count)],
            draw.sample(list(COLOURS), count),
        )
        if any(a in b for a in labels for b in labels if a is not b):
            continue  # an answer must be there once
        chart = Chart(kind, tuple(labels), tuple(sizes), tuple(colours))
        for size in (28, 24, 20):
            png = draw_chart(chart, font, size)
            if png is not None:
                return chart, png
    longest = sorted(words, key=len, reverse=True)
    raise UserError(f"the words are too long for charts: {offenders(longest, 3)}.")


def read_smpqa(folder: str | os.PathLike[str], lang: str, task: str) -> list[dict[str, str]]:
    """Read `question`, `answer`, `image` of every item.

    Raises:
        UserError: no such file (saying where to get it), or rows of another form.
    """
    check_option("task", task, TASKS)
    path = Path(folder) / f"{lang}_{task}.json"
    if not path.is_file():
        raise UserError(f"there is no {path.name} in {folder}; get it from {SOURCE}")
    rows = read_json(path)
    found, odd = [], []
    for n, row in enumerate(rows if isinstance(rows, list) else [rows]):
        try:
            (question,), answer, image = row["context"], row["text_label"], row["image_id"]
        except (KeyError, TypeError, ValueError):
            odd.append(n)
            continue
        if not (isinstance(question, str) and isinstance(answer, str) and isinstance(image, str)):
            odd.append(n)
            continue
        found.append({"question": question, "answer": answer, "image": image})
    if odd or not found:
        raise UserError(
            f"{path}: {len(odd)} rows lack context (one question), text_label or image_id: {offenders(odd)}."
        )
    return found


def clean(text: str) -> str:
    """What is compared: compatibility forms alike, no case, no punctuation about it, no invisible characters.

    >>> clean(" “Straße.” "), clean("Ｔｅｅ"), clean("كتاب\\u200f")
    ('strasse', 'tee', 'كتاب')
    """
    plain = same_letters(text).casefold()
    plain = "".join(c for c in plain if unicodedata.category(c) != "Cf")
    plain = " ".join(plain.split())
    while plain and unicodedata.category(plain[0])[0] in "PS":
        plain = plain[1:].lstrip()
    while plain and unicodedata.category(plain[-1])[0] in "PS":
        plain = plain[:-1].rstrip()
    return plain


_YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


def smpqa_scores(
    rows: Sequence[Mapping[str, str]],
    answers: Sequence[str | None],
    *,
    task: str,
    lang: str = "",
    settings: Mapping[str, Any] | None = None,
    confidence: float | None = None,
) -> Any:
    """Exact match of cleaned answers; of `ground` the first word counts, and of `name` none but the label.

    Args:
        rows: of `read_smpqa`.
        answers: a model's; None: it failed (null).
        task: `ground` or `name`.
        lang: of the labels.
        settings: recorded.
        confidence: level of a bootstrap interval.

    Returns:
        `value` accuracy; parts: `contains` (the label is somewhere in the answer), `unread` (neither yes nor no),
        `share_yes` of the answers.
    """
    check_option("task", task, TASKS)
    if len(rows) != len(answers):
        raise UserError(f"{len(rows)} questions need as many answers, not {len(answers)}.")
    hits: list[float | None] = []
    parts: dict[str, float | None] = {}
    notes: tuple[str, ...] = ()
    said = [None if answer is None else clean(answer) for answer in answers]
    have = [text for text in said if text is not None]
    if task == "ground":
        read = [None if text is None else _YES_NO.match(text) for text in said]
        for row, text, match in zip(rows, said, read):
            right = match is not None and match[1].lower() == clean(row["answer"])
            hits.append(None if text is None else float(right))
        spoken = [match[1].lower() for match in read if match]
        if have and not spoken:
            hits = [None] * len(hits)
            notes = (f"none of {len(have)} answers says yes or no: nothing is scored",)
        parts["unread"] = 1 - len(spoken) / len(have) if have else None
        parts["share_yes"] = spoken.count("yes") / len(spoken) if spoken else None
    else:
        hits = [None if text is None else float(text == clean(row["answer"])) for row, text in zip(rows, said)]
        inside = [clean(row["answer"]) in text for row, text in zip(rows, said) if text is not None]
        parts["contains"] = sum(inside) / len(inside) if inside else None
    return mean_result(
        f"smpqa/{task}", hits, version="1", language=lang, parts=parts, options=dict(settings or {}),
        confidence=confidence, notes=notes,
    )  # fmt: skip


def smpqa(
    model: Generator,
    folder: str | os.PathLike[str],
    *,
    lang: Iterable[str] | str = "all",
    images: str | os.PathLike[str] | None = None,
    confidence: float | None = None,
) -> ResultSet:
    """Ask a model that sees pictures.

    Args:
        model: a `Generator`.
        folder: of the files.
        lang: languages, or `all` that are there.
        images: folder of the pictures; None: `folder/images`.
        confidence: level of bootstrap intervals.

    Returns:
        `<lang>/ground` and `<lang>/name`; `summary` has English, and the mean of the others, as the paper reports.
    """
    from panoglot.providers.roles import Prompt

    there = sorted(path.name.removesuffix("_ground.json") for path in Path(folder).glob("*_ground.json"))
    tags = there if lang == "all" else [lang] if isinstance(lang, str) else list(lang)
    if not tags:
        raise UserError(f"there is no …_ground.json in {folder}; get it from {SOURCE}")
    root = Path(images) if images is not None else Path(folder) / "images"
    how = {"ground": "Answer yes or no.", "name": "Answer with the label only, as it is written in the chart."}
    found = ResultSet()
    for tag in tags:
        for task in TASKS:
            rows = read_smpqa(folder, tag, task)
            names = list(dict.fromkeys(row["image"] for row in rows))
            outside = [name for name in names if not (root / name).resolve().is_relative_to(root.resolve())]
            missing = [name for name in names if name not in outside and not (root / name).is_file()]
            if outside or missing:
                raise UserError(f"{len(outside + missing)} pictures are not in {root}: {offenders(outside + missing)}.")
            shown = {name: open_picture(root / name) for name in names}
            prompts = [Prompt(f"{row['question']} {how[task]}", (shown[row["image"]],), max_tokens=32) for row in rows]
            answers = [None if isinstance(one, RowError) else one.text for one in ask(model, prompts)]
            found[f"{tag}/{task}"] = smpqa_scores(
                rows,
                answers,
                task=task,
                lang=tag,
                settings={"model": getattr(model, "name", "")},
                confidence=confidence,
            )
    for task in TASKS:
        for name, mine in (("en", ["en"]), ("mean but en", [tag for tag in tags if tag != "en"])):
            values = [found[f"{tag}/{task}"].value for tag in mine if f"{tag}/{task}" in found]
            have = [value for value in values if value is not None]
            if values:
                found.summary[f"{name}/{task}"] = sum(have) / len(have) if len(have) == len(values) else None
    return found


def _ask(
    data: str,
    model: Any,
    *,
    images: str | None = None,
    lang: Sequence[str] = ("en",),
    confidence: float | None = None,
) -> ResultSet:
    tags = one_or_more(lang)
    return smpqa(model, data, lang="all" if tags == ["all"] else tags, images=images, confidence=confidence)


def _stored(data: str, answers: str, *, lang: Sequence[str] = ("en",), confidence: float | None = None) -> ResultSet:
    """Score stored answers, by `<lang>/<task>/<number>`."""
    tags = one_or_more(lang)
    there = sorted(path.name.removesuffix("_ground.json") for path in Path(data).glob("*_ground.json"))
    langs = there if tags == ["all"] else tags
    parts = [(tag, task, read_smpqa(data, tag, task)) for tag in langs for task in TASKS]
    said = read_answers(answers, [f"{tag}/{task}/{n}" for tag, task, rows in parts for n in range(len(rows))])
    found, at = ResultSet(), 0
    for tag, task, rows in parts:
        mine, at = said[at : at + len(rows)], at + len(rows)
        found[f"{tag}/{task}"] = smpqa_scores(rows, mine, task=task, lang=tag, confidence=confidence)
    return found


SMPQA = Benchmark(
    "smpqa", "choice", "words of many scripts in charts: found (ground) and read (name)",
    "--data: folder of `<lang>_ground.json`, `<lang>_name.json`, `images/`; make it with make-smpqa",
    "github.com/gregor-ge/Centurio, or made here", {"answers": Way(_stored), "model": Way(_ask)},
)  # fmt: skip
