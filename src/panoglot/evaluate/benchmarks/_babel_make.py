"""Babel-ImageNet's files made anew: class names out of BabelNet's senses, templates out of a translator.

Source: arXiv 2306.08658, `data_scripts/` of its repository. BabelNet itself is not here: its senses come as a file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from panoglot.asking import call
from panoglot.checks import offenders
from panoglot.errors import RowError, UserError
from panoglot.formats._json import read_json, read_rows

__all__ = ["MARKINGS", "Made", "choose_names", "make_labels", "make_templates", "read_senses", "translate_templates"]

#: What stands for the name while a template is translated, one after the other until a translator keeps one.
MARKINGS = (
    "{c}", "<a>{c}</a>", "<b>{c}</b>", "<i>{c}</i>", "<div>{c}</div>",
    "<a>{}</a>", "<b>{}</b>", "<i>{}</i>", "<div>{}</div>", "°", "*", "#", "§", "※",
)  # fmt: skip
#: Sources that are taken only where there is no other: what redirects to an article, and other names of an item.
_LAST = frozenset(["WIKIRED", "WIKIDATA_ALIAS"])
#: Near-copies of English names that its authors found by hand.
_NEAR_ENGLISH = frozenset(["tricerátops", "planetárium", "sombréro"])


@dataclass(frozen=True)
class Made:
    """A file that was written.

    Attributes:
        output: where.
        counts: by language, how many of what.
        of: how many there might be.
        what: they are.
        notes: what a reader must know.
    """

    output: str
    counts: Mapping[str, int]
    of: int
    what: str
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> str:
        """JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True, indent=1, ensure_ascii=False)

    def table(self) -> str:
        """A line a language."""
        lines = [f"{lang}  {count} of {self.of} {self.what}" for lang, count in self.counts.items()]
        return "\n".join([*lines, f"in {self.output}", *(f"  note: {note}" for note in self.notes)])


#: Language → class → its senses, in BabelNet's order: lemma, source, is_mt (translated by a machine).
Senses = Mapping[str, Mapping[int, Sequence[Mapping[str, Any]]]]


def read_senses(path: str | os.PathLike[str]) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """Read senses: the authors' crawl, `{LANG: [[{lemma, source, is_mt}, …] a class]}`, or rows with `class, language`.

    Raises:
        UserError: another form, a class outside 0..999, a sense without a lemma.
    """
    data = read_json(path) if not str(path).endswith((".jsonl", ".ndjson")) else read_rows(path)
    found: dict[str, dict[int, list[dict[str, Any]]]] = {}
    try:
        if isinstance(data, dict):
            rows = [
                {**sense, "class": n, "language": lang}
                for lang, classes in data.items()
                for n, senses in enumerate(classes)
                for sense in senses
            ]
        else:
            rows = [dict(row) for row in data]
        for row in rows:
            number, lemma = int(row["class"]), row["lemma"]
            if not 0 <= number < 1000 or not isinstance(lemma, str) or not lemma.strip("_ "):
                raise ValueError(f"class {number} with the lemma {lemma!r}")
            found.setdefault(str(row["language"]).upper(), {}).setdefault(number, []).append(row)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} holds no senses ({type(error).__name__}: {error}); write rows of class, language, lemma, "
            "source, is_mt."
        ) from None
    if not found:
        raise UserError(f"{path} holds no senses.")
    return found


def choose_names(senses: Senses, drop: Iterable[str] = ()) -> dict[str, dict[int, str]]:
    """Choose a name of each class in each language (steps 2 and 3); a class without any is absent.

    A sense goes where it is an English name of any class, or a machine translated it. The first of the others counts
    whose source is no redirect and no alias; where all are, the first.

    Args:
        senses: of `read_senses`.
        drop: further names that are English ones nearly.

    >>> senses = {"EN": {0: [{"lemma": "tench"}]},
    ...           "DE": {0: [{"lemma": "Tench"}, {"lemma": "Schlei", "source": "WIKIRED"}, {"lemma": "Grüne_Schleie"}]}}
    >>> choose_names(senses)["DE"]
    {0: 'Grüne Schleie'}
    """
    english = {str(s["lemma"]).lower() for some in senses.get("EN", {}).values() for s in some}
    english |= _NEAR_ENGLISH | {name.lower() for name in drop}
    found: dict[str, dict[int, str]] = {}
    for lang, classes in senses.items():
        names = {}
        for number, some in sorted(classes.items()):
            kept = [s for s in some if not s.get("is_mt") and (lang == "EN" or str(s["lemma"]).lower() not in english)]
            best = next((s for s in kept if s.get("source") not in _LAST), kept[0] if kept else None)
            if best is not None:
                names[number] = str(best["lemma"]).replace("_", " ")
        if names:
            found[lang] = names
    return found


def translate_templates(translator: Any, templates: Sequence[str], lang: str) -> tuple[list[str], int]:
    """Translate templates with their `{}`: it is marked in one way after the other until a marking is kept.

    Where none is, ` {}` is put after the first translation.

    Args:
        translator: a `Translator` from English.
        templates: with one `{}` each.
        lang: the language.

    Returns:
        The templates, and how many kept a marking.

    Raises:
        UserError: it translates none of them.
    """
    found: list[str | None] = [None] * len(templates)
    first: dict[int, str] = {}
    failed = ""
    for marking in MARKINGS:
        left = [n for n, text in enumerate(found) if text is None]
        if not left:
            break
        marked = [templates[n].replace("{}", marking) for n in left]
        answers = call(translator, "translate", marked, ["en"] * len(left), [lang] * len(left))
        for n, answer in zip(left, answers):
            if isinstance(answer, RowError):
                failed = str(answer)
                continue
            first.setdefault(n, answer)
            if marking in answer:
                found[n] = answer.replace(marking, " {} ", 1).replace(marking, "")
    lost = [n for n, text in enumerate(found) if text is None and n not in first]
    if lost:
        raise UserError(f"{len(lost)} of {len(templates)} templates were not translated into '{lang}' ({failed}).")
    kept = sum(text is not None for text in found)
    return [text if text is not None else f"{first[n]} {{}}" for n, text in enumerate(found)], kept


def make_labels(senses: str, output: str, drop: Sequence[str] = ()) -> Made:
    """Write a label file from a file of senses."""
    names = choose_names(read_senses(senses), drop)
    _write(output, {lang: [list(own), list(own.values())] for lang, own in names.items()})
    return Made(output, {lang: len(own) for lang, own in names.items()}, 1000, "classes")


def make_templates(templates: str, translator: Any, langs: Collection[str], output: str) -> Made:
    """Write a file of templates from a list of English ones, JSON with one `{}` each."""
    texts = read_json(templates)
    odd = (
        [text for text in texts if not isinstance(text, str) or text.count("{}") != 1]
        if isinstance(texts, list)
        else []
    )
    if not isinstance(texts, list) or not texts or odd:
        raise UserError(f"{templates} must be a JSON list of English texts with one {{}} each: {offenders(odd)}.")
    found, kept = {}, {}
    for lang in langs:
        found[re.sub("-", "_", lang).upper()], kept[lang] = translate_templates(translator, texts, lang)
    _write(output, found)
    short = {lang: len(texts) - count for lang, count in kept.items() if count < len(texts)}
    notes = tuple(
        f"'{lang}': the name stands after {count} templates, which kept no marking" for lang, count in short.items()
    )
    return Made(output, kept, len(texts), "templates with the name in its place", notes)


def _write(path: str, data: Any) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(data, file, ensure_ascii=False, indent=1)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error}).") from None
