"""What a row would learn from in a dataset, and what is missing: known before a model is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from panoglot.errors import UserError
from panoglot.networks._kinds import Kinds
from panoglot.networks._needs import READS, reads_of, streams_of, taken_of
from panoglot.networks._row import Row, build
from panoglot.networks.samplers import Document, Sample
from panoglot.networks.samplers._select import selected
from panoglot.table import Dataset
from panoglot.training._dataset import Reading, read_records

__all__ = ["Checked", "check", "eligible"]


@dataclass
class Checked:
    """What `panoglot train METHOD X.pano --check` says.

    Attributes:
        method: the row's name.
        records: to train on; held_out: to measure on.
        captions: language and kind → captions in use.
        items: stage (or stream) → items of an epoch.
        losses: loss → how many of the items it learns from.
        left_out: reason → how many rows, records or pictures are not used.
        missing: what keeps the training from starting, or a loss from learning, and how to get it.
    """

    method: str
    records: int = 0
    held_out: int = 0
    captions: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    def yaml(self) -> str:
        """Return it as the command prints it."""
        import yaml

        said = {name: getattr(self, name) for name in self.__dataclass_fields__}
        said = {name: value for name, value in said.items() if value not in ({}, [])}
        said |= {"missing": self.missing or "nothing"}
        return str(yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=110))


def eligible(reads: Sequence[str], record: Any, sample: Sample, teacher: bool = False) -> bool:
    """Whether an item has all that a loss reads; see `READS`."""
    texts = [text for text in sample.texts if text is not None]
    regions = [*sample.regions, *sample.asked]
    pictures = record.image is not None or "image" in record.vectors or bool(sample.chunks)
    pictures = (
        pictures or getattr(record, "asset", None) is not None or any(isinstance(p, int) for p, _ in sample.pieces)
    )
    there = {
        "picture": pictures,
        "text": bool(texts or sample.vectors),
        "regions": bool(regions),
        "masks": any(region.mask is not None for region in regions),
        "boxes3": any(region.box3 is not None for region in regions),
        "points": getattr(record, "asset", None) is not None,
        "target": bool(sample.target or texts or sample.chunks or any(learn for _, learn in sample.pieces)),
        "rating": len({text.score for text in texts if text.score is not None}) > 1,
        "triple": len(texts) > 2,
        "teacher": teacher or bool(record.vectors),
        "document": bool(sample.chunks or sample.pieces) or isinstance(record, Document),
        "others": bool(sample.others),
    }
    return all(there.get(one, True) for one in reads)


def check(data: Dataset, row: Row, asked: Mapping[str, Any]) -> Checked:
    """Read a dataset as a training would, and count; nothing is loaded or asked.

    Args:
        data: the dataset.
        row: the method.
        asked: `lang`, `kinds`, `sources`, `held_out`, `teacher` as `train` takes them.
    """
    out = Checked(row.method)
    what = {"lang": asked["lang"], "kinds": asked["kinds"], "sources": asked["sources"]}
    try:
        reading = read_records(data, **what, held_out=asked["held_out"], takes=taken_of(row))
    except UserError as error:
        out.missing.append(str(error))
        return out
    out.records, out.held_out = len(reading.train), len(reading.held_out)
    spoken: Counter[str] = Counter()
    for (lang, kind, _), count in reading.captions.items():
        spoken[f"{lang} {kind}"] += count
    out.captions = dict(spoken.most_common())
    out.left_out = {reason: count for reason, count in sorted(reading.left_out.items()) if count}
    for name, stage in row.each_stage():
        _stage(out, name, stage, reading, bool(asked.get("teacher")))
    return out


def _stage(out: Checked, name: str, row: Row, reading: Reading, teacher: bool) -> None:
    sees = streams_of(row.losses, row.streams)
    reads = {loss: reads_of(loss, spec) for loss, spec in row.losses.items()}
    seen: Counter[str] = Counter(dict.fromkeys(row.losses, 0))
    total = 0
    for stream, spec in (row.streams or {"": {}}).items():
        usual = row.sampler if "text" in spec.get("has", ("text",)) else {"kind": "pictures"}
        sampler = build(Kinds("sampler"), spec.get("sampler", usual), "sampler")
        count = 0
        for given in reading.train:
            record = selected(given, **spec.get("select", row.select))
            for item in range(0 if record is None else sampler.items(record)):
                count += 1
                sample = sampler(record, 0, 0, item)
                for loss in row.losses:
                    if not row.streams or stream in sees[loss]:
                        seen[loss] += eligible(reads[loss], record, sample, teacher)
        total += count
        out.items[" ".join(filter(None, (name, stream))) or "all"] = count
    at = f"stage '{name}': " if name else ""
    if not total:
        asked = ", ".join(sorted(set(Kinds("sampler").declares(str(row.sampler["kind"]), "takes", ("caption",)))))
        out.missing.append(f"{at}the sampler '{row.sampler['kind']}' finds nothing in what it reads ({asked}).")
    elif total < row.batch:
        out.missing.append(f"{at}{total} items cannot fill a batch of {row.batch}: --batch {max(1, total // 2)}")
    for loss, count in seen.items():
        out.losses[f"{name} {loss}".strip()] = count
        if not count:
            lacks = [one for one in reads[loss] if not _any(one, reading, row, teacher)]
            need = "; ".join(f"{one}: {READS[one]}" for one in lacks or reads[loss])
            out.missing.append(f"{at}the loss '{loss}' learns from nothing here. It reads {need}.")


def _any(one: str, reading: Reading, row: Row, teacher: bool) -> bool:
    sampler = build(Kinds("sampler"), row.sampler, "sampler")
    for given in reading.train:
        record = selected(given, **row.select)
        if record is not None and sampler.items(record) and eligible([one], record, sampler(record, 0, 0), teacher):
            return True
    return False
