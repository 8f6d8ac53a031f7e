"""Export: a dataset out to a format that others read, with all that Panoglot needs to take it in again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from panoglot.checks import check_option, pairs, several
from panoglot.errors import NothingKept, UserError, command, did_you_mean, verb
from panoglot.exporting._card import drops, write_card
from panoglot.exporting._comparisons import Comparisons
from panoglot.exporting._fitter import Fitter
from panoglot.exporting._job import Job, Splits
from panoglot.exporting._names import Names
from panoglot.exporting._people import Masker
from panoglot.exporting._rows import Wanted, What, pictures_of
from panoglot.exporting._sent import Sent
from panoglot.exporting._writers import Writer, find_writer, make_writer, writer_options
from panoglot.formats import OptOut
from panoglot.formats._written import Notes
from panoglot.languages import matches, meeting
from panoglot.languages._tags import canonical_language
from panoglot.storage import has_scheme, in_objects
from panoglot.table import KEPT_CAPTION, KINDS, Dataset, find_plan, is_translation, open_dataset, sql_in

__all__ = ["CARD", "MANIFEST", "export"]

MANIFEST, CARD = "panoglot-export.json", "README.md"
_SUFFIXES = {"jpeg": ".jpg", "tiff": ".tif", "heif": ".heic"}
#: What a reader that takes one caption gets: the first of these kinds.
_FIRST = ("short", "dense", "human", "alt", "label")


@verb
def export(
    dataset: Dataset | str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    to: str = "webdataset",
    *,
    lang: str | Sequence[str] = (),
    kinds: str | Sequence[str] = (),
    include_dropped: bool = False,
    captioned_only: bool = False,
    split: str | None = None,
    plan: str | None = None,
    shard_size: int = 10_000,
    image: str | None = None,
    max_side: int | None = None,
    names: str = "id",
    caption_column: str | None = None,
    beside: bool = False,
    mask: str | Sequence[str] = (),
    detector: str = "embedded:faces",
    opt_out: str | None = None,
    option: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write the kept pictures and captions of a dataset, in order of image id; the same rows give the same bytes.

    The folder appears at the end, whole, by one rename, with a data card (`README.md`). In an object store it is whole
    when its `panoglot-export.json` does not say `unfinished`. An earlier export at the same place is replaced; anything
    else there is not touched. A dataset that `split` divided is written a folder a split.

    Args:
        dataset: a dataset or its path.
        output: the folder to write, or a place in an object store (`s3://BUCKET/PATH`); none with `beside`.
        to: `webdataset`, `parquet`, `jsonl`, `hf`, `coco`, which are read again with ids and provenance; `imagefolder`,
            `llava`, `messages` (LLaMA-Factory, ms-swift), `preferences` (TRL and the same two, for DPO), `kohya`,
            `energon`, `mds`, `csv`, `lance`, `croissant`, `sidecars`; or a format of an installed package.
        lang: languages to write, `zh` takes `zh-Hant` too; none for all. The first is preferred where a format has
            room for one caption.
        kinds: kinds of captions to write; none for all. Their order is the preference, as with `lang`.
        include_dropped: also write captions and pictures that were dropped, with the reasons.
        captioned_only: leave out pictures that no caption is written for.
        split: only the pictures of this split.
        plan: only the captions that this plan or mix chose, one a picture.
        shard_size: pictures in a shard.
        image: `original` keeps every picture's bytes; `jpg`, `png` or `webp` write all in that format. None keeps what
            common readers decode as it is (JPEG, PNG and WebP that are still, of 8 bits, in grey or colour) and writes
            the rest (drawings, TIFF, GIF, AVIF, 16 bits, inks …) as JPEG where it was lossy, else as PNG. Only
            `original` keeps what files say of where, with which device and by whom they were taken.
        max_side: longest side in pixels; larger pictures are made smaller.
        names: `id`, or `original`: names that the pictures had, made safe and unique.
        caption_column: name of the column of captions, where the format has one.
        beside: with `sidecars`: texts beside the files that the pictures were read from.
        mask: of `emails`, `phones`, `names` (of owners) in texts and `faces` in pictures, what to make unknown.
        detector: the model that finds faces.
        opt_out: file of those who are left out, a line each: a host, a beginning of an address or path, a name, a
            pattern with *, or an image id (or SHA-256).
        option: options of the format, as NAME=VALUE.
        progress: called with (pictures done, pictures in all).

    Returns:
        What was written: `format`, `images`, `captions`, `languages`, `shards`; `converted` (format to pictures),
        `resized`, `cleaned` (of place and device), `masked`, `left_out` (reason to pictures), and `notes`. It is also
        in `panoglot-export.json`.

    Raises:
        UserError: no such format, option, language, kind or split; nothing to write; or the output is taken.
    """
    if shard_size < 1:
        raise UserError(f"shard_size is {shard_size}; it must be at least 1.")
    given = {name.replace("-", "_"): value for name, value in pairs(option, "--option").items()}
    given |= {name: value for name, value in (("caption_column", caption_column), ("beside", beside)) if value}
    writer = find_writer(to)
    options = writer_options(to, writer, given)
    fitter = Fitter(image or getattr(writer, "IMAGE", None), max_side)
    check_option("names", names, ("id", "original"))
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    _check_beside(data, output, beside, to)
    chosen, notes = _chosen(data, lang, kinds, include_dropped, captioned_only)
    plan = None if plan is None else find_plan(data, plan)
    job = Job(
        data,
        to,
        fitter,
        Masker(mask, detector),
        OptOut.of(opt_out, data),
        Splits(data, split),
        Wanted(chosen.where, include_dropped, plan, partial(_ranked, chosen)),
        Names() if names == "original" else None,
        getattr(writer, "ARROW", False),
        _comparisons(data, to) if getattr(writer, "RATINGS", False) else None,
    )
    make = partial(make_writer, writer, shard_size=shard_size, options=options)
    if output is None:
        with tempfile.TemporaryDirectory() as folder:
            return _write(job, chosen, make, Path(folder), notes, progress)
    with _place(output, data) as (folder, send):
        facts = _write(job, chosen, make, folder, notes, progress)
        _describe(folder, facts, _made(to, names, given, chosen, job), job)
        send(facts)
    return facts


@contextlib.contextmanager
def _place(output: str | os.PathLike[str], data: Dataset) -> Iterator[tuple[Path, Callable[[dict[str, Any]], None]]]:
    """The folder to write, and what sends it to where it was asked for, if that is an object store."""
    if not has_scheme(output):
        target = Path(os.path.realpath(output))
        _check_output(target, data.store.folder)
        with _building(target) as folder:
            yield folder, lambda facts: None
        return
    if not in_objects(output):
        raise UserError(f"'{output}': exports are written into a folder of this machine, or s3://BUCKET/PATH.")
    sent = Sent(str(output), data.address, MANIFEST)
    with tempfile.TemporaryDirectory(prefix="panoglot-export-") as place:
        yield Path(place), partial(sent.send, Path(place))


def _describe(folder: Path, facts: dict[str, Any], made: list[str], job: Job) -> None:
    """Write the card and the manifest of a finished export."""
    (folder / CARD).write_text(write_card(facts, job.tally, drops(job.data), made), encoding="utf-8")
    facts["entries"] = sorted({*os.listdir(folder), MANIFEST} - {".lock"})
    (folder / MANIFEST).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _comparisons(data: Dataset, to: str) -> Comparisons:
    found = Comparisons(data)
    if not len(found):
        make = command("caption", data.address, "--method", "feedback-pairs")
        raise UserError(
            f"{data.address} has no comparisons of captions, which --to {to} is made of. To make some of pictures with "
            f"several captions: {make}"
        )
    return found


def _check_beside(data: Dataset, output: str | os.PathLike[str] | None, beside: bool, to: str) -> None:
    if output is None and not beside:
        raise UserError(f"give a folder to write: {command('export', data.address, 'OUT', '--to', to)}")
    if output is not None and beside:
        raise UserError("texts beside the pictures need no other folder; leave one of the two out.")


@dataclass
class _Choice:
    """Which captions and pictures are written."""

    langs: Sequence[str]
    kinds: Sequence[str]
    where: str | None
    include_dropped: bool
    captioned_only: bool


def _write(
    job: Job,
    chosen: _Choice,
    make: Callable[[Path], Writer],
    folder: Path,
    notes: list[str],
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Write every picture into the folder of its split, and return what was written."""
    writers: dict[str, Writer] = {}
    total, wanted = len(job.data.images), job.wanted
    with Notes(folder) as noted:
        for picture in pictures_of(job.data, wanted, folder):
            if chosen.captioned_only and all(wanted.whats[n].kind == "fact" for n in picture.whats):
                continue
            if wanted.plan is not None and not picture.whats:
                job.left_out["not_in_plan"] += 1
                continue
            taken = job.take(picture)
            if taken is None:
                continue
            record, data, split = taken
            if split not in writers:
                writers[split] = make(folder / split)
            reason = writers[split].add(record, data, _SUFFIXES.get(record["format"], f".{record['format']}"))
            if reason:
                job.left_out[reason] += 1
                continue
            takes = getattr(writers[split], "takes", None)
            told = None if takes is None else takes(record)
            if told is not None and not getattr(writers[split], "beside", False):
                noted.add((record["converted"] or record)["image_id"], told)
            job.count(picture, record, told, split)
            job.formats[record["format"]] += 1
            if progress:
                progress(job.tally.images, total)
        noted.prompts(sorted({asked for writer in writers.values() for asked in getattr(writer, "prompts", list)()}))
    closed = {split: writer.close() for split, writer in sorted(writers.items())}
    if "" not in closed and (beside := getattr(next(iter(writers.values()), None), "of_splits", None)):
        beside(folder, list(closed))
    if job.tally.images == 0:
        why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(job.left_out.items()))
        why = f"no picture could be written ({why})" if why else "every picture is dropped or without captions"
        said = "".join(f" {note}." for one in closed.values() for note in one.get("notes", ()))
        if job.left_out.total() == job.left_out["opted_out"] > 0:
            said = f" All are on the opt-out list '{job.opt_out.file}'."
        raise NothingKept(f"{job.data.address} has nothing to export: {why}.{said}")
    return job.facts(closed, [*notes, *(one.line() for one in job.opt_out.unmet(job.opted_out))])


def _made(to: str, names: str, given: dict[str, Any], chosen: _Choice, job: Job) -> list[str]:
    """How an export was made, for its card."""
    fitter = job.fitter
    said = {
        "languages": ", ".join(chosen.langs) or "all",
        "kinds": ", ".join(chosen.kinds) or "all",
        "dropped rows": "with their reasons" if chosen.include_dropped else "left out",
        "pictures": f"{fitter.image or 'as they are, or in a form that common readers take'}"
        + (f", at most {fitter.max_side} pixels a side" if fitter.max_side else ""),
        "file names": "of the pictures, made safe"
        if names == "original"
        else "ids of the pictures (SHA-256 of their bytes)",
        "masked": ", ".join(job.masker.kinds) or "nothing",
        **{name: str(value) for name, value in sorted(given.items()) if name not in ("root",)},
    }
    return [f"{name}: {value}" for name, value in said.items()]


def _chosen(
    data: Dataset,
    lang: str | Sequence[str],
    kinds: str | Sequence[str],
    include_dropped: bool,
    captioned_only: bool,
) -> tuple[_Choice, list[str]]:
    """Which captions and pictures are meant, and what is to be said of their languages."""
    langs = [canonical_language(tag) for tag in several(lang)]
    kinds = several(kinds)
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"'{kind}' is not a kind of caption.{did_you_mean(kind, KINDS)}")
    where, notes = _wanted(data, langs, kinds, include_dropped)
    return _Choice(langs, kinds, where, include_dropped, captioned_only), notes


def _wanted(
    data: Dataset, langs: Sequence[str] | None, kinds: Sequence[str] | None, include_dropped: bool
) -> tuple[str | None, list[str]]:
    """The captions to write, as SQL, and what is to be said of their languages."""
    met: list[str] | None = None
    notes: list[str] = []
    if langs:
        have = Counter(row["lang"] for row in data.captions.rows(["lang"], _where(None, kinds, include_dropped)))
        met, notes = meeting(langs, have)
    where = _where(met, kinds, include_dropped)
    if not len(data.images):
        raise UserError(f"{data.address} has no images to export.")
    if where and (langs or kinds) and data.captions.count(where) == 0:
        column = "lang" if langs else "kind"
        have = Counter(row[column] for row in data.captions.rows([column], KEPT_CAPTION))
        shown = ", ".join(f"{one} {n:,}" for one, n in have.most_common(40)) + (" …" if len(have) > 40 else "")
        asked = " and ".join(", ".join(some) for some in (langs, kinds) if some)
        raise UserError(" ".join([f"{data.address} has no captions of {asked}; it has: {shown or 'none'}.", *notes]))
    return where, notes


def _where(langs: Sequence[str] | None, kinds: Sequence[str] | None, include_dropped: bool) -> str | None:
    terms = [] if include_dropped else ["dropped is null"]
    if kinds:
        terms.append(sql_in("kind", kinds))
    if langs is not None:
        terms.append(sql_in("lang", langs))
    return " and ".join(terms) or None


def _ranked(chosen: _Choice, what: What) -> tuple[int, bool, int] | None:
    """The place of a caption for a reader that takes one: by the user's order, else English and what is short first."""
    order = list(chosen.kinds or _FIRST)
    if what.kind not in order:
        return None
    if chosen.langs:
        place = next((n for n, tag in enumerate(chosen.langs) if matches(tag, what.lang)), len(chosen.langs))
    else:
        place = 0 if matches("en", what.lang) else 1
    # who wrote in a language says it better than a machine that translated into it
    return place, is_translation(what.recipe), order.index(what.kind)


# -- all or nothing ----------------------------------------------------------------------------------------------------


def _check_output(target: Path, dataset: Path | None) -> None:
    """Refuse an output that is not empty and not an earlier export of ours."""
    inside = None if dataset is None else Path(os.path.realpath(dataset))
    if inside is not None and (target == inside or inside in target.parents or target in inside.parents):
        raise UserError(f"{target} and the dataset lie in each other; give another output folder.")
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target} is a file; give a folder to export to.")
    there = set(os.listdir(target))
    if not there:
        return
    try:
        facts = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
        ours = set(facts["entries"]) if facts["panoglot_export"] else set()
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{target} is not empty and no export of Panoglot; give another output folder.") from None
    if other := sorted(there - ours):
        raise UserError(
            f"{target} is an earlier export, but also holds {other[0]}; move that away or export elsewhere."
        )


@contextlib.contextmanager
def _building(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside the target that takes its place when all went well, and vanishes when not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.partial-"
    for stale in target.parent.glob(f"{prefix}*"):
        _remove_if_dead(stale)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    lock = _lock(folder)
    try:
        yield folder
        for path in folder.iterdir():
            if path.is_file():
                _sync(path)
        (folder / ".lock").unlink()
        folder.chmod(0o755)
        old = (
            Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
            if target.exists() and any(target.iterdir())
            else None
        )
        if old:
            os.rename(target, old / "old")
        os.rename(folder, target)
        if old:
            shutil.rmtree(old)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        lock.close()


def _lock(folder: Path) -> Any:
    file = open(folder / ".lock", "wb")  # noqa: SIM115
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _remove_if_dead(folder: Path) -> None:
    """Remove what a killed export left: nobody holds its lock."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        with open(folder / ".lock", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
