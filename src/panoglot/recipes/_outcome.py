"""Whether anything came of a run: all failed, or all was dropped, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from panoglot.errors import command
from panoglot.formats import Unused
from panoglot.running import StageResult
from panoglot.table import Dataset, sql_in

__all__ = ["nothing_read", "reasons", "remarks", "what_went_wrong"]


def reasons(counts: Counter[str], most: int = 4) -> str:
    """Say the commonest reasons: `too_small 12, duplicate_of 3`; what follows a colon is taken off."""
    short: Counter[str] = Counter()
    for reason, count in counts.items():
        short[reason.partition(":")[0]] += count
    listed = ", ".join(f"{reason} {count:,}" for reason, count in short.most_common(most))
    return listed + (" …" if len(short) > most else "")


def remarks(stages: Sequence[StageResult], most: int = 8) -> list[str]:
    """What is to be said of a run beside its counts, a line each: what was not used, what was there already."""
    unused: dict[tuple[str, str], Unused] = {}
    counts: Counter[str] = Counter()
    twice: list[str] = []
    for stage in stages:
        for value in stage.notes.get("unused", ()):
            one = Unused.from_dict(value)
            have = unused.get((one.source, one.what))
            unused[one.source, one.what] = have.and_more(one) if have else one
        counts.update({name: n for name in _COUNTED if isinstance(n := stage.notes.get(name), int)})
        twice += stage.notes.get("duplicate_names", ())
    lines = [one.line() for one in list(unused.values())[:most]]
    if len(unused) > most:
        rest = sum(one.count for one in list(unused.values())[most:])
        lines.append(
            f"{rest:,} more things were not used, in {len(unused) - most:,} more places (the report names them)"
        )
    for name, text in _COUNTED.items():
        if counts[name]:
            few = ", ".join(twice[:2]) + (" …" if counts[name] > 2 else "")
            words = ("", "is", "has", "was") if counts[name] == 1 else ("s", "are", "have", "were")
            forms = dict(zip(("s", "are", "have", "were"), words, strict=True))
            lines.append(text.format(count=f"{counts[name]:,}", names=few, **forms))
    fell = [(share, line) for stage in stages if (share := _fallen(stage)) and (line := _fallen_line(stage, share))]
    return lines + [line for _, line in sorted(fell)]  # the worst stands last


#: Share of steps that fell back from which a method did not do what its paper does.
_MUCH = 0.2


def _fallen(stage: StageResult) -> float:
    """The share of a method's steps where something simpler stood in."""
    count = stage.notes.get("fallback_of", 0)
    return stage.notes.get("fallback", 0) / count if count else 0.0


def _fallen_line(stage: StageResult, share: float) -> str:
    """Say so: which steps, how often, and what mends it."""
    named = {
        name.removeprefix("fallback_"): int(value)
        for name, value in stage.notes.items()
        if name.startswith("fallback_") and name != "fallback_of"
    }
    listed = ", ".join(f"{name} {count:,}" for name, count in sorted(named.items(), key=lambda one: -one[1]))
    line = f"{stage.name}: in {share:.0%} of its steps something simpler stood in ({listed})"
    method = stage.name.partition(".")[2]
    return line + (f"; name the models that it asks for: {command('methods', method)}" if share > _MUCH else "")


#: Counts of the notes that are told, with the words around them.
_COUNTED = {
    "duplicates": "{count} exact duplicate{s}, whose texts are kept with the picture that was there: {names}",
    "moved": "{count} picture{s} {have} moved: the dataset names the new place",
    "superseded_images": "{count} picture{s} {were} replaced in the source: what was there is dropped as superseded",
    "superseded_captions": "{count} text{s} {are} no longer in the source: dropped as superseded",
}


def nothing_read(dataset: Dataset, source: str, failing: Counter[str]) -> str:
    """Say that a source gave no picture: why, with an example, and where the rest is told."""
    if not failing:
        return f"no picture could be read from '{source}'."
    row = dataset.rejects.read(["item", "message"], "stage = 'ingest' and resolved is null", limit=1).to_pylist()[0]
    example = f"{row['item'].rpartition('/')[2]}: {row['message']}"
    example = example if example.isprintable() else ascii(example)
    all_of_them = command("report", dataset.address, "--open")
    return (
        f"no picture could be read from '{source}'; {failing.total():,} rejects: {reasons(failing)}; "
        f"for example {example}. All of them: {all_of_them}"
    )


def what_went_wrong(dataset: Dataset, run_id: str, stages: Sequence[StageResult]) -> str | None:
    """Say in a line that nothing came of a run, why, and what mends it; None when something did.

    Args:
        dataset: the dataset.
        run_id: the run.
        stages: what its stages did.
    """
    for stage in stages:
        if stage.rejected and not stage.done and not stage.skipped and not stage.pending:
            where = f"{sql_in('stage', [stage.id, stage.name])} and run_id = '{run_id}'"
            why = Counter(dataset.rejects.read(["reason"], where)["reason"].to_pylist())
            again = command("retry", dataset.address)
            return f"{stage.name}: all {stage.rejected:,} failed ({reasons(why)}). When it is mended: {again}"
    images = dataset.images.count()
    left_out = Counter(dataset.marks.read(["dropped"], "dropped is not null")["dropped"].to_pylist())
    if images and left_out.total() >= images:
        return f"all {images:,} pictures are dropped ({reasons(left_out)}). {_mend(dataset, left_out)}"
    made = dataset.captions.read(["dropped"], f"run_id = '{run_id}' and (dropped is null or dropped <> 'draft')")
    dropped = Counter(reason for reason in made["dropped"].to_pylist() if reason is not None)
    if made.num_rows and dropped.total() == made.num_rows:
        return f"all {made.num_rows:,} captions of this run are dropped ({reasons(dropped)}). {_mend(dataset, dropped)}"
    return None


def _mend(dataset: Dataset, dropped: Counter[str]) -> str:
    from panoglot.curation import owns

    if any(owns(reason) for reason in dropped):  # a curation decides anew
        return f"To filter less: {command('curate', dataset.address, '--steps', 'near_duplicate')}"
    return f"To see them: {command('report', dataset.address, '--open')}"
