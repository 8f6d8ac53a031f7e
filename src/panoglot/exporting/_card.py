"""The data card of an export: what is in it, who wrote it, under which terms, what was left out, how it was made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from panoglot.languages._tags import language_name

if TYPE_CHECKING:
    from panoglot.exporting._rows import What
    from panoglot.table import Dataset

__all__ = ["Tally", "drops", "write_card"]

#: So many licences, writers … are named; the others are counted together.
_MOST = 40
#: The files of a format that `load_dataset(FOLDER)` finds by the card.
_FILES = {"parquet": "*.parquet", "croissant": "*.parquet", "webdataset": "*.tar"}
_LICENCE = frozenset(("license", "licence", "licensename", "licenseurl", "rights"))


class Tally:
    """Counts what is written, in memory that does not grow with it."""

    def __init__(self) -> None:
        self.images = 0
        self._texts: Counter[What] = Counter()
        self.licences: Counter[str] = Counter()
        self.splits: Counter[str] = Counter()

    def add(self, row: Mapping[str, Any], record: Mapping[str, Any], captions: Sequence[What], split: str) -> None:
        """Count one picture with its captions; what was measured is none."""
        self.images += 1
        self._texts.update(captions)
        licences = {what.licence for what in captions if what.licence and what.kind != "fact"}
        self._licence(row.get("licence") or _said(record["context"]), "pictures")
        for licence in licences:
            self._licence(licence, "pictures with such captions")
        if split:
            self.splits[split] += 1

    @property
    def measured(self) -> int:
        """What was measured, which is no caption."""
        return sum(count for what, count in self._texts.items() if what.kind == "fact")

    @property
    def captions(self) -> int:
        """Captions in all."""
        return self._texts.total() - self.measured

    @property
    def languages(self) -> Counter[str]:
        """Language to captions."""
        return self._by(lambda what: what.lang)

    @property
    def kinds(self) -> Counter[str]:
        """Kind to captions."""
        return self._by(lambda what: what.kind)

    @property
    def writers(self) -> Counter[str]:
        """Who wrote them to captions."""
        return self._by(lambda what: _writer(what.recipe, what.model))

    def _by(self, name: Callable[[What], str]) -> Counter[str]:
        found: Counter[str] = Counter()
        for what, count in self._texts.items():
            if what.kind != "fact":
                found[name(what)] += count
        return found

    def _licence(self, licence: str, of: str) -> None:
        name = f"{' '.join(licence.split())[:120] or 'none recorded'} ({of})"
        self.licences[name if name in self.licences or len(self.licences) < 1000 else f"others ({of})"] += 1


def _writer(recipe: str, model: str) -> str:
    if recipe in ("human", "web", ""):
        return {"web": "given with the picture on the web"}.get(recipe, "given with the picture")
    return f"{recipe} with {model}" if model else recipe


def _said(context: Mapping[str, Any]) -> str:
    for name, value in context.items():
        if name.lower().replace("_", "") in _LICENCE and isinstance(value, str):
            return value
    return ""


def drops(data: Dataset) -> dict[str, dict[str, int]]:
    """Count what curation and methods dropped, by reason: `images` (and those not taken in), `captions`."""
    found: dict[str, Counter[str]] = {"images": Counter(), "captions": Counter()}
    for name, table in (("images", data.marks), ("captions", data.captions)):
        for batch in table.batches(["dropped"], "dropped is not null", size=65_536):
            found[name].update(batch.column(0).to_pylist())
    if opted_out := data.rejects.count("reason = 'opted_out' and resolved is null"):
        found["images"]["opted_out"] = opted_out
    return {name: dict(sorted(counts.items())) for name, counts in found.items() if counts}


def write_card(
    facts: Mapping[str, Any], tally: Tally, dropped: Mapping[str, Mapping[str, int]], made: Sequence[str]
) -> str:
    """Return the card as Markdown with the front matter that a hub of datasets reads.

    It names no path, no address, no person and no time: it is the same for the same rows.

    Args:
        facts: what the export returns.
        tally: counts of what is written.
        dropped: from `drops`.
        made: options of the export, as lines.
    """
    from panoglot._version import __version__

    head = ["---", "language:", *(f"- {json.dumps(lang)}" for lang in tally.languages if lang != "und")]
    files = _FILES.get(facts["format"])
    if files:
        head += ["configs:", "- config_name: default", "  data_files:"]
        for name in sorted(tally.splits) or ["train"]:
            path = f"{name}/{files}" if tally.splits else files
            head += [f"  - split: {json.dumps(name)}", f"    path: {json.dumps(path)}"]
    if not tally.languages.keys() - {"und"}:
        head.remove("language:")
    lines = [*head, "task_categories:", "- image-to-text", "---", "", "# Pictures with captions", ""]
    lines += [
        f"{tally.images:,} pictures with {tally.captions:,} captions in {len(tally.languages):,} languages, written as"
    ]
    lines += [f"`{facts['format']}` by Panoglot {__version__}.", ""]
    if tally.measured:
        lines += [
            f"Beside the captions stand {tally.measured:,} measurements (kind `fact`), which are not counted.",
            "",
        ]
    named = Counter({f"{language_name(tag)} (`{tag}`)": count for tag, count in tally.languages.items()})
    lines += _table("Languages", "captions", named)
    lines += _table("Kinds of captions", "captions", tally.kinds)
    lines += _table("Who wrote them", "captions", tally.writers)
    lines += _table("Licences as recorded", "pictures", tally.licences)
    lines += ["A licence is what a source said beside a picture or a caption; nobody checked it.", ""]
    lines += _table("Splits", "pictures", tally.splits)
    for name, counts in dropped.items():
        lines += _table(f"Dropped before: {name}", name, Counter(counts))
    lines += _table("Left out of this export", "pictures", Counter(facts["left_out"]))
    masked = Counter(facts.get("masked", {})) + Counter({"pictures freed of place and device": facts["cleaned"]})
    lines += _table("People", "times", masked)
    lines += ["## How it was made", "", *(f"- {line}" for line in made), ""]
    lines += [f"- pictures converted: {shown}" for shown in [_counts(facts["converted"])] if shown]
    lines += [f"- pictures made smaller: {facts['resized']:,}"] if facts["resized"] else []
    return "\n".join(lines).rstrip() + "\n"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} to {name}" for name, count in counts.items())


def _table(title: str, unit: str, counts: Counter[str]) -> list[str]:
    if not counts:
        return []
    rows = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    rest = sum(count for _, count in rows[_MOST:])
    rows = rows[:_MOST] + ([(f"{len(rows) - _MOST:,} others", rest)] if rest else [])
    cells = [f"| {name.replace('|', chr(92) + '|')} | {count:,} |" for name, count in rows]
    return [f"## {title}", "", f"| | {unit} |", "| --- | ---: |", *cells, ""]
