"""Why a method learns from nothing of what is there: the rows are there, and something about them is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from panoglot.languages import matches
from panoglot.networks._row import Row, list_rows, load_row
from panoglot.networks.samplers import Document
from panoglot.networks.samplers._sample import named

__all__ = ["languages_apart", "languages_said", "said_of", "unusable"]

#: Languages that are named in a line, at most.
_NAMED = 12

#: What no loss learns from -> (what it needs, what is the matter, what mends it); `{count}` of them.
_LINES = {
    "region: outside_the_picture": (
        ("regions", "masks", "boxes3"),
        "{count} captions of regions lie outside of their pictures",
        "write boxes as x, y, width and height in shares of the picture, 0 to 1: Region(0.1, 0.2, 0.3, 0.4)",
    ),
    "triple: without_negative": (
        ("triple",),
        "{count} triples name nothing that does not answer",
        "give them negatives: Triple(…, negatives=[ID])",
    ),
    "rating: one_value_a_picture": (
        ("rating",),
        "{count} pictures have rated captions, all of one value",
        "rate two captions of a picture or more, differently: Rating(CAPTION_ID, VALUE)",
    ),
    "document: without_pictures": (
        ("document",),
        "{count} documents show no picture",
        "give them parts with pictures: DocumentPart(image_id=ID)",
    ),
}


def unusable(records: Sequence[Any], takes: set[str]) -> Counter[str]:
    """Return reason → rows that a method which takes such rows cannot learn from, though they are there."""
    out: Counter[str] = Counter()
    for record in records:
        if isinstance(record, Document):
            out["document: without_pictures"] += not record.images
            continue
        out["region: outside_the_picture"] += sum(one.centred() is None for one in record.regions)
        answers = [text.score or 0 for text in record.texts if text.kind == "answer" and text.score is not None]
        out["triple: without_negative"] += bool(answers) and min(answers) > 0
        scores = {text.score for text in record.texts if text.kind != "answer" and text.score is not None}
        out["rating: one_value_a_picture"] += "rating" in takes and len(scores) == 1
    return out + Counter()


def said_of(found: Mapping[str, int], needs: Sequence[str] = ()) -> list[str]:
    """Return the lines about what was found, of those that a loss needs (all without `needs`)."""
    lines = []
    for reason, (served, what, mend) in _LINES.items():
        count = found.get(reason, 0)
        if count and (not needs or set(served) & set(needs)):
            lines.append(f"{what.format(count=f'{count:,}')}: {mend} (docs/train.md#rows-beside-captions)")
    return lines


def languages_apart(asked: Sequence[str], spoken: Sequence[str], setting: str) -> str | None:
    """Return a line where no language of the data is one that the method takes.

    Args:
        asked: languages of the method; empty: all.
        spoken: those of the captions in use.
        setting: that names them.

    >>> languages_apart(["de"], ["sw"], "sampler.cells.caption=[sw]")  # doctest: +NORMALIZE_WHITESPACE
    "it takes captions in de, and they are in sw:
     panoglot translate X.pano --to de, or --set 'sampler.cells.caption=[sw]'"
    >>> languages_apart(["zh"], ["zh-Hans"], "") is None
    True
    """
    if not asked or not spoken or any(matches(tag, one) for tag in asked for one in spoken):
        return None
    real = [tag for tag in asked if not "qaa" <= tag[:3] <= "qtz"]  # those of no people are for tests
    wanted = sorted(set(real or asked))
    return (
        f"it takes captions in {', '.join(wanted)}, and they are in {', '.join(spoken)}: "
        f"panoglot translate X.pano --to {','.join(wanted)}, or --set '{setting}'"
    )


def languages_said(row: Row, spoken: Mapping[str, int]) -> str:
    """Say which languages a row that balances them trains on, and what it leaves out.

    Args:
        row: with `languages`.
        spoken: language → items.
    """
    weights = row.languages.get("weights", {})
    taken = {lang: n for lang, n in spoken.items() if not weights or named(lang, weights) in weights}
    line = f"trains on {_counted(taken)}"
    if left := {lang: n for lang, n in spoken.items() if lang not in taken}:
        line += f"; left out, for they have no weight: {_counted(left)}"
    paper = load_row(row.method) if row.method in list_rows() else row
    own: Mapping[str, Any] = next(
        (r.languages["weights"] for _, r in paper.each_stage() if "weights" in r.languages), {}
    )
    if own and not weights and any(named(lang, own) not in own for lang in taken):
        told = ", ".join(f"{lang}: {weight:g}" for lang, weight in own.items())
        line += f"; {row.method} is of {', '.join(own)}: --set 'languages={{weights: {{{told}}}}}' takes these alone"
    return line


def _counted(some: Mapping[str, int]) -> str:
    first = sorted(some.items(), key=lambda one: (-one[1], one[0]))
    more = f" and {len(first) - _NAMED} more languages" if len(first) > _NAMED else ""
    return ", ".join(f"{lang} ({count:,})" for lang, count in first[:_NAMED]) + more
