"""Multiple choice: reading answers, accuracy, circular scoring, contrastive choice by log-probability."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from panoglot.asking import call
from panoglot.checks import check_option, item_ids, offenders
from panoglot.errors import RowError, UserError
from panoglot.metrics._result import MetricResult, mean_result
from panoglot.text._letters import same_letters

if TYPE_CHECKING:
    from panoglot.providers.roles import Generator, Prompt

__all__ = ["LETTERS", "choice", "circular", "contrastive", "log_probabilities", "read_label", "read_letter"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
READ_LETTER = ("strict", "starts", "text")
READ_LABEL = ("only", "first", "first_sentence")
#: Punctuation that may stand about a letter.
_MARKS = re.compile(r"[.()\[\],:;!*#{}\"'`、。．，：（）【】「」]+")


def _plain(text: str) -> str:
    """What is compared: without case, and letters that are the same in one form."""
    return same_letters(text).strip().casefold()


def read_letter(answer: str, options: int | Sequence[str], parse: str = "strict") -> int | None:
    """Which option an answer names, or None.

    Args:
        answer: what a model wrote.
        options: the options' texts, or how many there are.
        parse: `strict`: the answer begins with the letter alone, or has exactly one letter as a word ("a" and "I" in
            running text are words, not letters); `text`: else exactly one option's text occurs; `starts`: the first
            character is the letter (MVL-SIB's published rule: "A dog" is A).

    >>> [read_letter(text, 4) for text in ("B", "(c) because", "The answer is D.", "A dog or B", "none")]
    [1, 2, 3, 1, None]
    >>> read_letter("It shows a red bus", ["a car", "a red bus"], "text"), read_letter("A dog", 4, "starts")
    (1, 0)
    """
    check_option("parse", parse, READ_LETTER)
    count = options if isinstance(options, int) else len(options)
    text = unicodedata.normalize("NFKC", answer).strip()
    letters = LETTERS[:count]
    if parse == "starts":
        return letters.index(text[0]) if text and text[0] in letters else None
    alone = re.match(r"[\s(\[*#{\"']*([A-Za-z])(?=[)\].,:;!*}\"']|\s*$)", text)
    if alone and alone[1].upper() in letters:
        return letters.index(alone[1].upper())
    words = _MARKS.sub(" ", text).split()
    said = {word for word in words if word in letters}
    if len(words) > 1:
        said -= {"A", "I"} if not re.search(r"\b(answer|option|choice)\b\W*(is|:)?\W*[AI]\b", text, re.I) else set()
    if len(said) == 1:
        return letters.index(said.pop())
    if parse == "text" and not isinstance(options, int):
        low, plain = _plain(text), [_plain(option) for option in options]
        named = [n for n, option in enumerate(plain) if option and option in low]
        # "red bus" within "a red bus": the longer one is meant
        named = [n for n in named if not any(m != n and plain[n] in plain[m] for m in named)]
        return named[0] if len(named) == 1 else None
    return None


def read_label(answer: str, labels: Sequence[str], parse: str = "only") -> int | None:
    """Which label an answer names, or None.

    Args:
        answer: what a model wrote.
        labels: their texts.
        parse: `only`: exactly one label occurs; `first`: the one that occurs first; `first_sentence`: exactly one
            occurs in the first sentence.

    >>> labels = ["travel", "sports", "health"]
    >>> read_label("It is about Sports.", labels), read_label("travel, or sports", labels)
    (1, None)
    >>> read_label("travel, or sports", labels, "first"), read_label("Health. Not travel.", labels, "first_sentence")
    (0, 2)
    """
    check_option("parse", parse, READ_LABEL)
    text = answer
    if parse == "first_sentence":
        text = re.split(r"[.!?。！？।\n]", text.strip(), maxsplit=1)[0]
    text = _plain(text)
    places = {n: text.find(_plain(label)) for n, label in enumerate(labels)}
    found = sorted((at, n) for n, at in places.items() if at >= 0)
    if not found or (parse != "first" and len(found) > 1):
        return None
    return found[0][1]


def choice(
    chosen: Sequence[int | None],
    truth: Sequence[int],
    *,
    failed: Sequence[bool] | None = None,
    options: int | Sequence[int] = 4,
    groups: Sequence[Any] | None = None,
    ids: Sequence[Any] | None = None,
    lang: str = "",
    name: str = "choice",
    unread: str = "wrong",
    settings: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Accuracy of choices.

    Args:
        chosen: option of each item, from 0; None: the answer names none.
        truth: the right option.
        failed: items that were never answered (a model's error): null, never wrong.
        options: how many options an item has.
        groups: category of each item; `parts` hold the accuracy of each.
        ids: item ids.
        lang: language of the items.
        name: of the result.
        unread: an answer that names no option is `wrong` (as published benchmarks have it) or `null`. When no answer
            names one, nothing is scored.
        settings: recorded.
        notes: recorded.
        confidence: level of a bootstrap interval.
        resamples: of the interval.
        seed: of the interval.

    Returns:
        `value` accuracy; parts: `unread` (share), `chance`, `share_<letter>` of the choices, `accuracy/<group>`.

    >>> choice([0, 1, None], [0, 2, 1]).parts["unread"]
    0.3333333333333333
    """
    check_option("unread", unread, ("wrong", "null"))
    names = item_ids(ids, len(chosen))
    for what, column in (("truth", truth), ("groups", groups), ("failed", failed)):
        if column is not None and len(column) != len(names):
            raise UserError(f"{len(names)} choices need as many of {what}, not {len(column)}.")
    sizes = [options] * len(names) if isinstance(options, int) else list(options)
    odd = [name_ for name_, right, size in zip(names, truth, sizes) if not 0 <= right < size]
    if odd:
        raise UserError(f"{len(odd)} right answers are none of the options: {offenders(odd)}.")
    lost = list(failed) if failed is not None else [False] * len(names)
    hits: list[float | None] = [
        None if gone or (said is None and unread == "null") else float(said == right)
        for said, right, gone in zip(chosen, truth, lost)
    ]
    answered = [said for said, gone in zip(chosen, lost) if not gone]
    if answered and all(said is None for said in answered):  # a model that nobody understands was not measured
        hits = [None] * len(hits)
        notes = (*notes, f"none of {len(answered)} answers names an option: nothing is scored")
    parts: dict[str, float | None] = {
        "unread": sum(said is None for said in answered) / len(answered) if answered else None,
        "chance": sum(1 / size for size in sizes) / len(sizes) if sizes else None,
    }
    read = [said for said in answered if said is not None]
    for n in range(max(sizes, default=0)):
        parts[f"share_{LETTERS[n]}"] = sum(said == n for said in read) / len(read) if read else None
    for group in sorted({str(group) for group in groups or ()}):
        mine = [hit for hit, of in zip(hits, groups or ()) if str(of) == group and hit is not None]
        parts[f"accuracy/{group}"] = sum(mine) / len(mine) if mine else None
    return mean_result(
        name, hits, version="1", ids=names, language=lang, parts=parts,
        options={"unread": unread, **(settings or {})}, notes=tuple(notes), confidence=confidence,
        resamples=resamples, seed=seed,
    )  # fmt: skip


def circular(
    hits: Sequence[float | None],
    items: Sequence[Any],
    *,
    rotations: Sequence[int] | Mapping[Any, int] | None = None,
    lang: str = "",
    name: str = "circular",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """Circular scoring: an item counts only when all its rotations are answered rightly.

    Args:
        hits: 1 or 0 of every row; None was not answered (the item is then null).
        items: the item of every row. Whole numbers of MMBench's files (7, 1000007, 2000007 …) are taken modulo a
            million; rows need not be in order.
        rotations: how many rows each item must have, by item; None takes what is there.
        lang: language.
        name: of the result.
        confidence: level of a bootstrap interval.
        resamples: of the interval.
        seed: of the interval.

    Returns:
        `value` over items; parts: `plain`, the accuracy over rows.

    >>> circular([1, 1, 1, 0], [7, 1000007, 2000007, 3000007]).value
    0.0
    """
    if len(hits) != len(items):
        raise UserError(f"{len(hits)} hits need as many items, not {len(items)}.")
    rows: dict[Any, list[float | None]] = {}
    for hit, item in zip(hits, items):
        rows.setdefault(item % 1_000_000 if isinstance(item, int) else item, []).append(hit)
    if isinstance(rotations, Mapping):
        odd = [f"{item} ({len(row)})" for item, row in rows.items() if len(row) != rotations.get(item)]
        if odd:
            raise UserError(f"{len(odd)} items lack rotations: {offenders(odd)}.")
    values = [None if None in row else float(all(row)) for row in rows.values()]
    plain = [hit for hit in hits if hit is not None]
    return mean_result(
        name, values, version="1", ids=list(rows), language=lang,
        parts={"plain": sum(plain) / len(plain) if plain else None},
        options={"rotations": max(map(len, rows.values()), default=0)},
        confidence=confidence, resamples=resamples, seed=seed,
    )  # fmt: skip


def log_probabilities(
    generator: Generator, prompts: Sequence[Prompt], texts: Sequence[str], *, mean: bool = True
) -> list[float | None]:
    """Log-probability that a model gives each text after its prompt; None where it cannot be scored.

    Args:
        generator: with the optional method `score`.
        prompts: prompts.
        texts: what follows.
        mean: per token (perplexity's), else the sum.

    Raises:
        UserError: the model cannot score texts.
    """
    if not hasattr(generator, "score"):
        name = getattr(generator, "name", "this model")
        raise UserError(f"{name} cannot score given texts; use one that can, for example hf:… or vllm:….")
    found: list[float | None] = []
    for tokens in call(generator, "score", prompts, texts):
        if isinstance(tokens, RowError) or not tokens:
            found.append(None)
            continue
        total = math.fsum(value for _, value in tokens)
        found.append(None if math.isnan(total) else total / len(tokens) if mean else total)
    return found


def contrastive(
    right: Sequence[float | None],
    wrong: Sequence[float | None],
    *,
    ids: Sequence[Any] | None = None,
    lang: str = "",
    name: str = "contrastive",
    ties: str = "wrong",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """How often the right text scores higher than the wrong one.

    Args:
        right: score of each right text (a log-probability: higher is better; negate perplexities).
        wrong: score of each wrong text.
        ids: item ids.
        lang: language.
        name: of the result.
        ties: equal scores are `wrong` or `half`.
        confidence: level of a bootstrap interval.
        resamples: of the interval.
        seed: of the interval.

    Returns:
        `value` share; parts: `margin`, the mean of right - wrong.

    >>> contrastive([-1.0, -2.0, -1.0], [-2.0, -1.0, -1.0]).value
    0.3333333333333333
    """
    check_option("ties", ties, ("wrong", "half"))
    if len(right) != len(wrong):
        raise UserError(f"{len(right)} right texts need as many wrong ones, not {len(wrong)}.")
    gaps = [None if a is None or b is None or math.isnan(a - b) else a - b for a, b in zip(right, wrong)]
    level = 0.5 if ties == "half" else 0.0
    hits = [None if gap is None else 1.0 if gap > 0 else level if gap == 0 else 0.0 for gap in gaps]
    have = [gap for gap in gaps if gap is not None]
    parts = {"margin": math.fsum(have) / len(have) if have else None}
    return mean_result(
        name, hits, version="1", ids=ids, language=lang, parts=parts,
        options={"ties": ties}, confidence=confidence, resamples=resamples, seed=seed,
    )  # fmt: skip
