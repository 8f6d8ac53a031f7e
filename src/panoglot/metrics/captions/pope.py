"""POPE: yes/no questions about objects that are and are not there.

Source: Li et al., EMNLP 2023. Accuracy, precision, recall and F1 of "yes", and how often a model says yes.
Quirk: the original takes an answer for "yes" unless its first sentence has "no" or "not" (`parse="published"`), so a
refusal is a yes. By default an answer must say yes or no, in one of the languages below, else it is null and counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from panoglot.checks import check_option, item_ids, offenders
from panoglot.errors import UserError
from panoglot.metrics._result import MetricResult, bootstrap

__all__ = ["YES_NO", "pope", "read_yes_no"]

#: Language, its words for yes, its words for no.
_TABLE = """en yes,yeah no,not,none
de ja nein
fr oui non
es sí,si no
it sì,si no
pt sim não
nl ja nee
sv ja nej
da ja nei,nej
no ja nei
fi kyllä,joo ei
pl tak nie
cs ano ne
sk áno nie
ru да нет
uk так ні
bg да не
sr да,da не,ne
hr da ne
ro da nu
hu igen nem
el ναι όχι
tr evet hayır
ar نعم لا
he כן לא
fa بله,آری نه,خیر
hi हाँ,हां नहीं
bn হ্যাঁ না
ta ஆம் இல்லை
te అవును లేదు,కాదు
th ใช่,มี ไม่,ไม่ใช่,ไม่มี
vi có,vâng không
id ya tidak
ms ya tidak
sw ndiyo,ndio hapana,la
zh 是,有,对 不,否,没,沒
ja はい いいえ,いえ
ko 예,네 아니,아니요,아니오
ur ہاں نہیں"""
#: Language to its words for yes and for no.
YES_NO = {tag: (yes.split(","), no.split(",")) for tag, yes, no in map(str.split, _TABLE.splitlines())}
_UNSPACED = frozenset(["zh", "ja", "th"])


def read_yes_no(answer: str, lang: str = "en", parse: str = "strict") -> bool | None:
    """Read an answer: True for yes, False for no, None when it says neither.

    >>> read_yes_no("Yes, there is a dog."), read_yes_no("There is no dog."), read_yes_no("I cannot tell")
    (True, False, None)
    >>> read_yes_no("没有。", "zh"), read_yes_no("Nein", "de"), read_yes_no("I cannot tell", parse="published")
    (False, False, True)
    """
    if parse == "published":
        words = answer.split(".")[0].replace(",", "").split(" ")
        return not any(word in ("No", "not", "no") for word in words)
    text = unicodedata.normalize("NFC", answer).strip().lower()
    base = lang.split("-")[0]
    if base not in YES_NO:
        raise UserError(f"yes and no are not known in '{lang}'; known: {', '.join(sorted(YES_NO))}.")
    yes, no = YES_NO[base]
    if base in _UNSPACED:
        # 不是, 没有: a no that holds a yes
        first = {
            said: min((text.find(w) for w in words if w in text), default=-1)
            for said, words in ((True, yes), (False, no))
        }
        if first[False] >= 0 and (first[True] < 0 or first[False] <= first[True]):
            return False
        return True if first[True] >= 0 else None
    words_said = re.findall(r"[^\s.,;:!?\"'()।؟،*]+", text)
    for word in words_said[:1]:
        if word in yes:
            return True
        if word in no:
            return False
    sentence = re.findall(r"[^\s.,;:!?\"'()।؟،*]+", re.split(r"[.!?。।؟\n]", text)[0])
    said_no, said_yes = any(w in no for w in sentence), any(w in yes for w in sentence)
    return None if said_no == said_yes else said_yes


def pope(
    answers: Sequence[str | None],
    labels: Sequence[bool | str],
    *,
    lang: str = "en",
    ids: Sequence[Any] | None = None,
    groups: Sequence[str] | None = None,
    parse: str = "strict",
    confidence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MetricResult:
    """F1 of "yes" over the answers that could be read.

    Args:
        answers: the model's answers; None is unscored.
        labels: True / "yes" or False / "no" for each question.
        lang: language of the answers.
        ids: question ids.
        groups: for example `random`, `popular`, `adversarial`; `parts` then hold the F1 and accuracy of each.
        parse: `strict` or `published`.
        confidence: level of a bootstrap interval.
        resamples: of the interval.
        seed: of the interval.

    Returns:
        `value` F1; `parts`: accuracy, precision, recall, yes_ratio. Item value 1 where the answer is right.

    Raises:
        UserError: labels that are neither yes nor no, or of another number.

    >>> result = pope(["Yes.", "No.", "yes", "No"], ["yes", "yes", "no", "no"])
    >>> result.value, result.parts["accuracy"], result.parts["yes_ratio"]
    (0.5, 0.5, 0.5)
    """
    import numpy as np

    check_option("parse", parse, ("strict", "published"))
    names = item_ids(ids, len(answers))
    if len(labels) != len(names) or (groups is not None and len(groups) != len(names)):
        raise UserError(f"{len(names)} answers need as many labels (and groups).")
    known = {True: True, False: False, "yes": True, "no": False}
    odd = [f"{name} ({label!r})" for name, label in zip(names, labels) if _key(label) not in known]
    if odd:
        raise UserError(f"labels must be yes or no; not so for {offenders(odd)}.")
    truth = np.array([known[_key(label)] for label in labels], dtype=bool)
    said = [None if answer is None else read_yes_no(answer, lang, parse) for answer in answers]
    read = np.array([item is not None for item in said], dtype=bool)
    yes = np.array([bool(item) for item in said], dtype=bool)
    # true yes, said yes, is yes, right
    table = np.stack([yes & truth, yes, truth, yes == truth], axis=1).astype(np.float64)

    def f1(means: np.ndarray) -> np.ndarray:
        found: np.ndarray = 2 * means[:, 0] / np.maximum(means[:, 1] + means[:, 2], 1e-12)
        return found

    parts = _parts(table[read])
    for group in sorted(set(groups or ())):
        chosen = read & (np.array(groups) == group)
        own = _parts(table[chosen])
        parts[f"f1/{group}"], parts[f"accuracy/{group}"] = own.pop("f1"), own["accuracy"]
    interval = None
    if confidence is not None:
        kept = [name for name, ok in zip(names, read) if ok]
        interval = bootstrap(
            table[read], f1, ids=kept, level=confidence, resamples=resamples, seed=seed
        )  # fmt: skip
    value = parts.pop("f1")
    return MetricResult(
        metric="pope-f1",
        version="1",
        value=value,
        n=len(names),
        unscored=int((~read).sum()),
        parts=parts,
        per_item=tuple(float(row[3]) if ok else None for row, ok in zip(table, read)),
        ids=names,
        interval=interval,
        language=lang,
        options={"parse": parse},
    )


def _key(label: Any) -> Any:
    return label.strip().lower() if isinstance(label, str) else bool(label) if label in (0, 1) else label


def _parts(table: np.ndarray) -> dict[str, float | None]:  # type: ignore[name-defined]  # noqa: F821
    if not len(table):
        return dict.fromkeys(("f1", "accuracy", "precision", "recall", "yes_ratio"))
    both, said, true, right = table.sum(axis=0)
    return {
        "f1": float(2 * both / (said + true)) if said + true else None,
        "accuracy": float(right / len(table)),
        "precision": float(both / said) if said else None,
        "recall": float(both / true) if true else None,
        "yes_ratio": float(said / len(table)),
    }
