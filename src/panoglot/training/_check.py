"""What a row would learn from in a dataset, and what is missing: known before a model is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from panoglot.errors import UserError
from panoglot.networks._export import fitting
from panoglot.networks._kinds import Kinds
from panoglot.networks._needs import READS, judged_of, reads_of, streams_of, taken_of, too_few
from panoglot.networks._row import Row, build
from panoglot.networks.samplers import Document, Sample
from panoglot.networks.samplers._sample import named
from panoglot.networks.samplers._select import selected
from panoglot.table import Dataset
from panoglot.training._dataset import Reading, read_records
from panoglot.training._lacks import languages_apart, languages_said, said_of, unusable

__all__ = ["Checked", "check", "count_cut", "eligible", "look_through"]

#: Texts whose length is looked at, at most: the first of the order of ids.
LOOKED = 50_000


@dataclass
class Checked:
    """What `panoglot train METHOD X.pano --check` says.

    Attributes:
        method: the row's name.
        records: to train on; held_out: to measure on.
        captions: language and kind → captions in use.
        items: stage (or stream) → items of an epoch; of a row with several loaders those of each, too.
        losses: loss → how many of the items it learns from.
        languages: of a row that balances languages, what it trains on and what it leaves out, stage by stage.
        left_out: reason → how many rows, records or pictures are not used.
        fallbacks: stage → items whose wanted kind or language of text was missing, so that another took its place.
        cut: language → (texts that the text tower cuts, texts that were looked at); known when the model is there.
        exports: libraries that can read what is learnt (`--export`).
        missing: what keeps the training from starting, or a loss from learning, and how to get it.
    """

    method: str
    records: int = 0
    held_out: int = 0
    captions: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)
    languages: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    fallbacks: dict[str, int] = field(default_factory=dict)
    cut: dict[str, tuple[int, int]] = field(default_factory=dict)
    exports: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    def yaml(self) -> str:
        """Return it as the command prints it."""
        import yaml

        said = {name: getattr(self, name) for name in self.__dataclass_fields__}
        said["cut"] = {lang: f"{n} of {total}" for lang, (n, total) in self.cut.items() if n}
        said |= {"exports": self.exports or "none: nothing but Panoglot reads it"}
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
    what = {"lang": asked["lang"], "kinds": asked["kinds"], "sources": asked["sources"]}
    try:
        reading = read_records(data, **what, held_out=asked["held_out"], takes=taken_of(row), **judged_of(row))
    except UserError as error:
        return Checked(row.method, missing=[str(error)])
    return look_through(row, reading, teacher=bool(asked.get("teacher")))


def look_through(row: Row, reading: Reading, *, teacher: bool = False) -> Checked:
    """Count what each stage and each loss of a row finds in what was read.

    Args:
        row: the method.
        reading: of the dataset.
        teacher: vectors of a teacher will be there.
    """
    out = Checked(row.method, exports=fitting(row))
    out.records, out.held_out = len(reading.train), len(reading.held_out)
    spoken: Counter[str] = Counter()
    for (lang, kind, _), count in reading.captions.items():
        spoken[f"{lang} {kind}"] += count
    out.captions = dict(spoken.most_common())
    found = reading.left_out + unusable(reading.train, taken_of(row))
    out.left_out = {reason: count for reason, count in sorted(found.items()) if count}
    if not any(isinstance(record, Document) and record.images for record in reading.train):
        out.missing += said_of(out.left_out, ["document"])
    for name, stage in row.each_stage():
        _stage(out, name, stage, reading, teacher)
    return out


def count_cut(tokens: Any, row: Row, records: Sequence[Any]) -> dict[str, tuple[int, int]]:
    """Return language → (texts that do not fit, texts) of what the sampler shows in its first epoch.

    Args:
        tokens: the text tower's tokeniser: `whole(text)`, `length`.
        row: for its sampler.
        records: to train on.
    """
    sampler = build(Kinds("sampler"), row.sampler, "sampler")
    found: dict[str, list[int]] = {}
    looked = 0
    for record in records:
        for item in range(sampler.items(record)):
            for text in sampler(record, 0, 0, item).texts:
                if text is not None:
                    count = found.setdefault(text.lang, [0, 0])
                    count[0] += tokens.whole(text.text) > tokens.length
                    count[1] += 1
                    looked += 1
        if looked >= LOOKED:
            break
    return {lang: (n, total) for lang, (n, total) in sorted(found.items())}


def _stage(out: Checked, name: str, row: Row, reading: Reading, teacher: bool) -> None:
    sees = streams_of(row.losses, row.streams)
    reads = {loss: reads_of(loss, spec) for loss, spec in row.losses.items()}
    seen: Counter[str] = Counter(dict.fromkeys(row.losses, 0))
    total = fell = unweighted = 0
    spoken: Counter[str] = Counter()
    lacked: list[str] = []
    weights, at = row.languages.get("weights", {}), f"stage '{name}': " if name else ""
    for stream, spec in (row.streams or {"": {}}).items():
        usual = row.sampler if "text" in spec.get("has", ("text",)) else {"kind": "pictures"}
        sampler = build(Kinds("sampler"), spec.get("sampler", usual), "sampler")
        count, pools = 0, Counter[str](dict.fromkeys(getattr(sampler, "pools", ()), 0))
        for given in reading.train:
            record = selected(given, **spec.get("select", row.select))
            for item in range(0 if record is None else sampler.items(record)):
                count += 1
                if pools:
                    pools[sampler.pool(record, item)] += 1
                sample = sampler(record, 0, 0, item)
                fell += sample.fallback
                spoken[sample.lang] += 1
                unweighted += bool(weights) and named(sample.lang, weights) not in weights
                for loss in row.losses:
                    if not row.streams or stream in sees[loss]:
                        seen[loss] += eligible(reads[loss], record, sample, teacher)
        total += count
        out.items[" ".join(filter(None, (name, stream))) or "all"] = count
        out.items |= {" ".join(filter(None, (name, stream, f"of {pool}"))): n for pool, n in pools.items()}
        lacking = getattr(sampler, "lacks", None)
        if count and lacking is not None and (said := lacking(reading.train)):
            lacked.append(f"{at}the sampler finds no {said}")
    if row.languages and total:
        out.languages.append(at + languages_said(row, spoken))
    if fell:
        out.fallbacks[name or "all"] = fell
    if unweighted:
        out.left_out["item: language_without_weight"] = unweighted
    apart = _apart(row, reading, bool(total) and unweighted == total)
    if not total and apart is None and not said_of(out.left_out, [one for some in reads.values() for one in some]):
        asked = ", ".join(sorted(set(Kinds("sampler").declares(str(row.sampler["kind"]), "takes", ("caption",)))))
        out.missing.append(f"{at}the sampler '{row.sampler['kind']}' finds nothing in what it reads ({asked}).")
    elif 0 < total < row.batch:
        out.missing.append(f"{at}{too_few(total, row.batch)}")
    out.missing += lacked
    if apart is not None:
        out.missing.append(f"{at}{apart}")
    for loss, count in seen.items():
        out.losses[f"{name} {loss}".strip()] = count
        if not count:
            lacks = [one for one in reads[loss] if not _any(one, reading, row, teacher)]
            if not total and apart is not None:
                continue
            if known := said_of(out.left_out, reads[loss]):
                out.missing.append(f"{at}the loss '{loss}' learns from nothing here: {'; '.join(known)}.")
                continue
            need = "; ".join(f"{one}: {READS[one]}" for one in lacks or reads[loss])
            out.missing.append(f"{at}the loss '{loss}' learns from nothing here. It reads {need}.")


def _apart(row: Row, reading: Reading, unweighted: bool) -> str | None:
    """Say that the row's languages are none of the captions'."""
    spoken = list(reading.languages)
    cells = row.sampler.get("cells")
    if isinstance(cells, Mapping):
        asked = sorted({lang for langs in cells.values() for lang in langs})
        return languages_apart(asked, spoken, f"sampler.cells.caption=[{', '.join(spoken)}]")
    if unweighted:
        weights = dict.fromkeys(spoken, 1)
        told = ", ".join(f"{lang}: {n}" for lang, n in weights.items())
        return languages_apart(list(row.languages["weights"]), spoken, f"languages.weights={{{told}}}")
    return None


def _any(one: str, reading: Reading, row: Row, teacher: bool) -> bool:
    sampler = build(Kinds("sampler"), row.sampler, "sampler")
    for given in reading.train:
        record = selected(given, **row.select)
        if record is not None and sampler.items(record) and eligible([one], record, sampler(record, 0, 0), teacher):
            return True
    return False
