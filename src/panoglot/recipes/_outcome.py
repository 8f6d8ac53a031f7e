"""Whether anything came of a run: all failed, or all was dropped, and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.errors import command, many
from panoglot.formats import OptOut, Unused
from panoglot.running import StageResult
from panoglot.running._results import MUCH, fallback_share, named_notes
from panoglot.table import FORGOTTEN, LEFT_OUT, NO_FACT, Dataset, sql_in

if TYPE_CHECKING:
    from panoglot.recipes._result import RunResult

__all__ = [
    "Made",
    "all_opted_out",
    "item_name",
    "made_by",
    "nothing_made",
    "nothing_read",
    "of_listed",
    "reasons",
    "remarks",
    "what_went_wrong",
]


@dataclass
class Made:
    """What a run wrote.

    Attributes:
        kept: language to captions that are kept.
        dropped: reason to captions that are dropped; drafts, of which others were made, are not among them.
        dropped_in: language to those.
        drafts: captions that others were made of.
        facts: kind to facts.
        measured: measurements (captions of kind `fact`), which are no captions.
        documents: kind to documents that are kept.
        left_out: reason to documents that are dropped.
        ratings: criterion to ratings.
        triples: language to composed queries.
    """

    kept: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_in: Counter[str] = field(default_factory=Counter)
    drafts: int = 0
    facts: Counter[str] = field(default_factory=Counter)
    measured: int = 0
    documents: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    ratings: Counter[str] = field(default_factory=Counter)
    triples: Counter[str] = field(default_factory=Counter)

    @property
    def captions(self) -> int:
        """Captions, kept and dropped, without drafts."""
        return self.kept.total() + self.dropped.total()

    def lines(self) -> list[str]:
        """What is to be said, a line each."""
        said = []
        if self.kept:
            said.append(f"Written: {many(self.kept.total(), 'caption')} ({_listed(self.kept)})")
        if self.measured:
            said.append(f"Measured: {many(self.measured, 'picture')} (kind fact)")
        if self.facts:
            said.append(f"Written: {many(self.facts.total(), 'fact')} ({_listed(self.facts)})")
        if self.documents:
            said.append(f"Written: {many(self.documents.total(), 'document')} ({_listed(self.documents)})")
        if self.left_out:
            said.append(f"Dropped: {many(self.left_out.total(), 'document')} ({reasons(self.left_out)})")
        if self.ratings:
            said.append(f"Written: {many(self.ratings.total(), 'rating')} ({_listed(self.ratings)})")
        if self.triples:
            count = self.triples.total()
            said.append(f"Written: {count:,} composed {'query' if count == 1 else 'queries'} ({_listed(self.triples)})")
        if self.drafts:
            said.append(f"Drafts that they were made of: {self.drafts:,}")
        if self.dropped:
            said.append(f"Dropped: {many(self.dropped.total(), 'caption')} ({reasons(self.dropped)})")
        return said


def made_by(dataset: Dataset, *run_ids: str) -> Made:
    """Count what runs wrote."""
    made, theirs = Made(), sql_in("run_id", run_ids)
    for row in dataset.captions.rows(["lang", "kind", "dropped"], theirs):
        if row["kind"] == "fact":
            made.measured += row["dropped"] is None
        elif row["dropped"] == "draft":
            made.drafts += 1
        elif row["dropped"] is None:
            made.kept[row["lang"]] += 1
        else:
            made.dropped[row["dropped"]] += 1
            made.dropped_in[row["lang"]] += 1
    for row in dataset.documents.rows(["kind", "dropped"], theirs):
        if row["dropped"]:
            made.left_out[row["dropped"]] += 1
        else:
            made.documents[row["kind"]] += 1
    made.ratings.update(dataset.ratings.read(["criterion"], theirs)["criterion"].to_pylist())
    if dataset.triples.exists():
        made.triples.update(dataset.triples.read(["lang"], f"{theirs} and recipe != 'human'")["lang"].to_pylist())
    made.facts.update(dataset.facts.read(["kind"], theirs)["kind"].to_pylist())
    return made


def of_listed(dataset: Dataset, file: str, source: str, *, whole: bool) -> list[dict[str, Any]]:
    """What is to be said of a list of those who opted out: pictures that were taken in before, lines that met none.

    Args:
        dataset: the dataset.
        file: the list.
        source: what was read.
        whole: all of it was, so that a line that met no picture meets none.
    """
    listed = OptOut.of(file, dataset, [source])
    met: set[str] = set()
    for row in dataset.rejects.rows(["item", "message"], "reason = 'opted_out' and resolved is null"):
        met.update(listed.said(row["message"] or ""), listed.met([row["item"]]))
    ids = []
    for row in dataset.images.rows(_WHERE_FROM):
        if lines := listed.of_row({**row, "context": json.loads(row["context"] or "{}")}):
            ids.append(row["image_id"])
            met.update(lines)
    said = listed.unmet(met) if whole else []
    if ids:
        line = command("forget", dataset.address, *(key[:12] for key in ids[:20]))
        what = "picture{s} whose source has opted out since"
        said.append(Unused.of(dataset.address, what, ids, f"still in the dataset: {line}"))
    return [one.to_dict() for one in said]


def all_opted_out(stage: StageResult, failing: Counter[str], source: str, file: str) -> str | None:
    """Say in a line that a source has no picture but of those who opted out; None when it has others.

    Args:
        stage: what reading it did.
        failing: reason to open rejects, where the dataset has no picture.
        source: the source.
        file: the list.
    """
    count = stage.notes.get("opted_out", 0)
    if stage.skipped and not count and set(failing) == {"opted_out"}:  # an earlier run found it
        count = failing["opted_out"]
    if not count or count < stage.rejected or stage.done or stage.pending or stage.notes.get("read_again"):
        return None
    listed = f"the opt-out list '{file}'"
    mend = "Where that is not meant, correct the list and give the same command again"
    return f"every picture of '{source}' ({count:,}) is on {listed}: nothing was taken in. {mend}"


_WHERE_FROM = ["image_id", "uri", "context"]


def _listed(counts: Counter[str], most: int = 12) -> str:
    listed = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(most))
    return listed + (" …" if len(counts) > most else "")


def nothing_made(dataset: Dataset, result: RunResult) -> str | None:
    """Say in a line that the methods of a run took nothing, or wrote nothing; None when something came of it."""
    stages = [stage for stage in result.stages if stage.id]
    taken = sum(stage.done + stage.rejected + stage.pending for stage in stages)
    if not taken and not sum(stage.skipped for stage in stages):
        if not len(dataset.images):
            line = command("ingest", "PICTURES", "-o", dataset.address)
            return f"there are no pictures in {dataset.address}: {line}"
        where = f"{sql_in('stage', [stage.id for stage in stages])} and resolved is null"
        if failed := Counter(dataset.rejects.read(["reason"], where)["reason"].to_pylist()):
            line = command("retry", dataset.address)
            said = f"{sum(failed.values()):,} failed before ({_listed(failed, 4)}; when it is mended: {line})"
            return f"nothing in {dataset.address} is taken: {said}, no other row fits: {_wants(stages)}."
        look = command("report", dataset.address, "--open")
        return f"nothing in {dataset.address} is taken: no row fits: {_wants(stages)}. Look at it: {look}"
    made = result.made
    there = sum(stage.notes.get(name, 0) for stage in stages for name in ("there", "there_facts"))
    if sum(stage.done for stage in stages) and not (
        there or made.captions or made.measured or made.facts or _others(dataset, result.run_id)
    ):
        names = ", ".join(dict.fromkeys(stage.name.partition(".")[2] for stage in stages))
        about = command("methods", names.partition(",")[0])
        rows = many(sum(stage.done for stage in stages), "row")
        return f"{names} wrote nothing about {rows}. What it can and its options: {about}"
    return None


#: What methods of each unit are of.
_UNITS = {"image": "pictures", "caption": "captions", "group": "groups of pictures", "video": "clips of videos",
          "pair": "pairs of pictures that are alike"}  # fmt: skip


def _wants(stages: Sequence[StageResult]) -> str:
    """What the methods of some stages are of, and what else may leave rows out."""
    from panoglot.running import get_method

    names = dict.fromkeys(stage.name.partition(".")[2] for stage in stages)
    units = {name: get_method(name).unit for name in names if name}
    said = [f"{name} takes {_UNITS.get(unit, 'rows')}" for name, unit in units.items()]
    return ", ".join([*said, "and --where and --kinds narrow them where they are given"])


def _others(dataset: Dataset, run_id: str) -> int:
    """Pictures, documents, ratings, composed queries and scores of a run."""
    tables = (dataset.images, dataset.documents, dataset.marks, dataset.ratings, dataset.triples)
    return sum(table.count(f"run_id = '{run_id}'") for table in tables if table.exists())


def reasons(counts: Counter[str], most: int = 4) -> str:
    """Say the commonest reasons: `too_small 12, duplicate_of 3`; what follows a colon is taken off."""
    short: Counter[str] = Counter()
    for reason, count in counts.items():
        short[reason.partition(":")[0]] += count
    listed = ", ".join(f"{reason} {count:,}" for reason, count in short.most_common(most))
    return listed + (" …" if len(short) > most else "")


def remarks(stages: Sequence[StageResult], address: str = "DATASET", most: int = 8) -> list[str]:
    """What is to be said of a run beside its counts, a line each: what was not used, what was there already."""
    unused: dict[tuple[str, str], Unused] = {}
    counts: Counter[str] = Counter()
    names: dict[str, list[str]] = {}
    for stage in stages:
        for value in stage.notes.get("unused", ()):
            one = Unused.from_dict(value)
            have = unused.get((one.source, one.what))
            unused[one.source, one.what] = have.and_more(one) if have else one
        counts.update({name: n for name in _COUNTED if isinstance(n := stage.notes.get(name), int)})
        for name, kept_as in _NAMED.items():
            names.setdefault(name, []).extend(stage.notes.get(kept_as, ()))
    lines = [one.line() for one in list(unused.values())[:most]]
    if len(unused) > most:
        rest = many(sum(one.count for one in list(unused.values())[most:]), "more thing{s} {was}")
        lines.append(f"{rest} not used, in {many(len(unused) - most, 'more place')} (the report names them)")
    lines += _downloads(stages)
    for name, text in _COUNTED.items():
        if counts[name]:
            few = ", ".join(names.get(name, ())[:2]) + (" …" if counts[name] > 2 else "")
            undo = command("forget", address, "--undo", *names.get("forgotten", ())[:1])
            lines.append(many(counts[name], text).replace("{undo}", undo).replace("{names}", few))
    fell = [(share, _fallen_line(stage, share)) for stage in stages if (share := fallback_share(stage.notes))]
    return lines + [line for _, line in sorted(fell)]  # the worst stands last


def _fallen_line(stage: StageResult, share: float) -> str:
    """Say which steps fell back, how often, and what mends it."""
    listed, failed = (_listed(Counter(dict(named_notes(stage.notes, p)))) for p in ("fallback_", "failed_"))
    line = f"{stage.name}: in {share:.0%} of its steps something simpler stood in ({listed})"
    line += f"; answers fell by: {failed}" if failed else ""
    method = stage.name.partition(".")[2]
    if share <= MUCH:
        return line
    count = dict(named_notes(stage.notes, "failed_"))
    unnamed = sum(n for _, n in named_notes(stage.notes, "fallback_")) > sum(count.values())
    if unnamed or not count:  # a step without a model falls back and has no reason
        return f"{line}; name the models that it asks for: {command('methods', method)}"
    asked = ", ".join(stage.notes.get("writers", ()))
    who = f"models that were named ({asked})" if asked else "models that were named"
    return f"{line}; these are answers of {who}: name others, or ask otherwise"


def _downloads(stages: Sequence[StageResult]) -> list[str]:
    """What was fetched from the web, how quickly, and what was not, by reason."""
    total: Counter[str] = Counter()
    for stage in stages:
        total.update({k: n for k, n in stage.notes.items() if k.startswith("download_") and isinstance(n, int)})
    named = Counter({name.removeprefix("download_"): count for name, count in total.items()})
    size, seconds, done, kept = (named.pop(k, 0) for k in ("bytes", "milliseconds", "downloaded", "kept"))
    if not (done or kept or named):
        return []
    rate = f", {1000 * done / seconds:,.0f} a second, {size / 1000 / seconds:,.1f} MB/s" if done and seconds else ""
    line = f"{many(done, 'picture{s} {was} downloaded')} ({size / 1e6:,.1f} MB{rate})"
    line += f"; {many(kept, '{was} fetched before')}" if kept else ""
    return [line + (f"; {many(named.total(), '{was} not')}: {reasons(named)}" if named else "")]


#: Where the names of what is counted are kept.
_NAMED = {
    "duplicates": "duplicate_names",
    "forgotten": "forgotten_names",
    "gone": "gone_names",
    "would_go": "would_go_names",
}
#: Counts of the notes that are told, with the words around them.
_COUNTED = {
    "duplicates": "exact duplicate{s}, whose texts are kept with the picture that was there: {names}",
    "moved": "picture{s} {has} moved: the dataset names the new place",
    "gone": "picture{s} {is} gone from the source, and {is} forgotten: {names}",
    "would_go": "picture{s} {is} gone from the source, and would be forgotten: {names}",
    "would_supersede": "text{s} of pictures that stay {is} no longer in the source, and would be dropped as superseded",
    "forgotten": "picture{s} {was} forgotten before and {is} not read again: {names}; to read one again: {undo}",
    "change_empty": "text{s} without a letter {was} left out",
    "change_too_long": "text{s} {was} left out as too long for a change (--set longest=30 allows more)",
    "change_restates": "text{s} {was} left out: they say the wanted picture's caption again, not what to change",
    "change_points_at_pictures": "text{s} {was} left out: they speak of the pictures, not of what is on them",
    "triples": "row{s} of composed queries {was} read",
    "triples_again": "row{s} of composed queries {was} there already, or twice in the source: {it} not written again",
    "there": "text{s} {was} there already, by an earlier step of the same method: {it} not written again",
    "there_facts": "fact{s} {was} there already: {it} not written again",
    "superseded_images": "picture{s} {was} replaced in the source: what was there is dropped as superseded",
    "superseded_captions": "text{s} {is} no longer in the source: dropped as superseded",
}


def nothing_read(dataset: Dataset, source: str, failing: Counter[str], stages: Sequence[StageResult] = ()) -> str:
    """Say that a source gave no picture: why, with an example, what was not used, and where the rest is told."""
    line = f"no picture could be read from '{source}'"
    unused = "; ".join(_printable(one) for one in remarks(stages, dataset.address, most=3))
    if not failing:
        gone = dataset.marks.read(["image_id"], f"dropped = '{FORGOTTEN}'", limit=1)["image_id"].to_pylist()
        if gone:
            undo = command("forget", dataset.address, "--undo", *gone)
            return f"{line} but what was forgotten before; to read one again: {undo}"
        return f"{line}: {unused.rstrip('.')}." if unused else f"{line}."
    rows = "stage = 'ingest' and resolved is null"
    usual = sql_in("reason", [reason for reason, _ in failing.most_common(1)])
    columns = ["item", "reason", "message"]
    found = [dataset.rejects.read(columns, where, limit=1).to_pylist() for where in (f"{rows} and {usual}", rows)]
    row = next(filter(None, found))[0]
    example = _printable(f"{item_name(row['item'])}: {row['message'] or row['reason']}".rstrip("."))
    all_of_them = command("report", dataset.address, "--open")
    return (
        f"{line}; {many(failing.total(), 'reject')}: {reasons(failing)}; "
        f"for example {example}. {f'{unused}. ' if unused else ''}All of them: {all_of_them}"
    )


def item_name(item: str) -> str:
    """The name of a rejected item without its folders; the address of a page in an archive stays whole.

    >>> item_name("/data/rows.parquet#7"), item_name("/data/a.warc.gz#https://x.org/p/1#0")
    ('rows.parquet#7', 'a.warc.gz#https://x.org/p/1#0')
    """
    file, mark, rest = item.partition("#")
    return file.rpartition("/")[2] + mark + rest


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def what_went_wrong(dataset: Dataset, run_id: str, stages: Sequence[StageResult]) -> str | None:
    """Say in a line that nothing came of a run, why, and what mends it; None when something did.

    Args:
        dataset: the dataset.
        run_id: the run.
        stages: what its stages did.
    """
    for stage in stages:
        if (
            stage.rejected > stage.notes.get("opted_out", 0)
            and not stage.done
            and not stage.skipped
            and not stage.pending
            and not stage.notes.get("read_again")  # pictures that an earlier run took
        ):
            where = f"{sql_in('stage', [stage.id, stage.name])} and run_id = '{run_id}'"
            why = Counter(dataset.rejects.read(["reason"], where)["reason"].to_pylist())
            again = command("retry", dataset.address)
            return f"{stage.name}: all {stage.rejected:,} failed ({reasons(why)}). When it is mended: {again}"
    images = dataset.images.count()
    left_out = Counter(dataset.marks.read(["dropped"], LEFT_OUT)["dropped"].to_pylist())
    if images and left_out.total() >= images:
        return f"all {images:,} pictures are dropped ({reasons(left_out)}). {_mend(dataset, left_out)}"
    made = dataset.captions.read(
        ["dropped"], f"run_id = '{run_id}' and (dropped is null or dropped <> 'draft') and {NO_FACT}"
    )
    dropped = Counter(reason for reason in made["dropped"].to_pylist() if reason is not None)
    if made.num_rows and dropped.total() == made.num_rows:
        return f"all {made.num_rows:,} captions of this run are dropped ({reasons(dropped)}). {_mend(dataset, dropped)}"
    return None


def _mend(dataset: Dataset, dropped: Counter[str]) -> str:
    from panoglot.curation import owns

    if any(owns(reason) for reason in dropped):  # a curation decides anew
        return f"To filter less: {command('curate', dataset.address, '--steps', 'near_duplicate')}"
    return f"To see them: {command('report', dataset.address, '--open')}"
