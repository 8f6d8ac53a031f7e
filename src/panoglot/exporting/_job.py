"""One export: what happens to every picture before it is written, and what is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError, command, did_you_mean, many
from panoglot.exporting._card import Tally
from panoglot.formats._record import record_of
from panoglot.table import picture_name, sql_in

if TYPE_CHECKING:
    from panoglot.exporting._comparisons import Comparisons
    from panoglot.exporting._fitter import Fitter
    from panoglot.exporting._names import Names
    from panoglot.exporting._people import Masker
    from panoglot.exporting._rows import Picture, Wanted
    from panoglot.formats import OptOut
    from panoglot.table import Dataset

__all__ = ["Job", "Splits"]

_SPAN = 2  # hex digits of the ids that are looked up at once


class Splits:
    """The split of one picture after the other, in order of image id; a few are in memory at a time.

    Args:
        data: the dataset.
        wanted: the only split that is written, or None.

    Raises:
        UserError: there is no such split.
    """

    def __init__(self, data: Dataset, wanted: str | None) -> None:
        self.data, self.wanted = data, wanted
        self.any = data.splits.exists() and len(data.splits) > 0
        self._digits, self._have = "", dict[str, str]()
        if wanted is None:
            return
        if not self.any:
            line = command("split", data.address, "--test", ".1")
            raise UserError(f"{data.address} is not split: {line}")
        if not data.splits.count(sql_in("split", [wanted])):
            names = {name for batch in data.splits.batches(["split"]) for name in batch.column(0).to_pylist()}
            raise UserError(f"{data.address} has no split '{wanted}'.{did_you_mean(wanted, names)}")

    def of(self, image_id: str) -> str | None:
        """The split of a picture, None where it is in none."""
        if image_id[:_SPAN] != self._digits:
            self._digits = image_id[:_SPAN]
            low = f"image_id >= '{self._digits}' and image_id < '{self._digits}g'"
            table = self.data.splits.read(["image_id", "split"], low)
            self._have = dict(zip(table["image_id"].to_pylist(), table["split"].to_pylist()))
        return self._have.get(image_id)


@dataclass
class Job:
    """What one export does to its pictures, and what it counts."""

    data: Dataset
    to: str
    fitter: Fitter
    masker: Masker
    opt_out: OptOut
    splits: Splits
    wanted: Wanted
    names: Names | None
    arrow: bool = False
    comparisons: Comparisons | None = None
    tally: Tally = field(default_factory=Tally)
    left_out: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    unwritten: Counter[str] = field(default_factory=Counter)
    opted_out: Counter[str] = field(default_factory=Counter)

    def take(self, picture: Picture) -> tuple[dict[str, Any], bytes, str] | None:
        """Make what is written of a picture: record, bytes, folder of its split; None where it is left out."""
        from panoglot.exporting._people import without_place

        row = picture.row
        split = self.splits.of(row["image_id"]) if self.splits.any else ""
        if self.splits.wanted is not None and split != self.splits.wanted:
            return None
        if split is None:
            self.left_out["in_no_split"] += 1
            return None
        # captions as rows of Python cost as much as all else
        captions = picture.captions if self.arrow and not self.masker.kinds else picture.captions.rows()
        record = record_of(row, captions, *picture.first)
        if met := self.opt_out.of_row(record):
            self.opted_out.update(met)
            self.left_out["opted_out"] += 1
            return None
        if self.comparisons is not None:
            record["ratings"] = self.comparisons.of([caption["caption_id"] for caption in picture.captions.rows()])
        if self.fitter.image != "original":
            record["context"] = without_place(record["context"])
        if self.names is not None:
            record["name"] = self.names.name(picture_name(row["uri"], row["context"]), record["image_id"])
        self.masker.texts(record, [who for who in (row.get("author"), *picture.authors) if who])
        try:
            data = self.fitter.fit(record, self.masker.faces(record, row["data"]))
        except RowError as error:
            self.left_out[error.reason] += 1
            return None
        return record, data, "" if self.splits.wanted is not None else split

    def count(
        self, picture: Picture, record: dict[str, Any], told: Sequence[dict[str, Any]] | None, split: str
    ) -> None:
        """Count a picture with the captions that its writer took, None for all; the others by kind."""
        numbers, whats = picture.whats, self.wanted.whats
        if told is not None and len(told) < len(numbers):
            ids = {c["caption_id"] for c in told}
            written = [c["caption_id"] in ids for c in record["captions"]]
            self.unwritten.update(whats[n].kind for n, taken in zip(numbers, written) if not taken)
            numbers = [n for n, taken in zip(numbers, written) if taken]
        self.tally.add(picture.row, record, [whats[n] for n in numbers], split)

    def facts(self, closed: Mapping[str, Mapping[str, Any]], notes: Sequence[str]) -> dict[str, Any]:
        """What was written, as the export returns it."""
        said = [*notes, *self.fitter.notes(), *(note for one in closed.values() for note in one.get("notes", ()))]
        if self.unwritten:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.unwritten.most_common())
            what = "text{s} {is}" if "fact" in self.unwritten else "caption{s} {is}"
            said.append(f"{many(self.unwritten.total(), what)} not in it, {self.to} has no room for them: {kinds}.")
        if self.to == "webdataset" and len(self.formats) > 1:
            shown = ", ".join(f"{count:,} {name}" for name, count in self.formats.most_common())
            said.append(
                f"pictures are {shown}: load_dataset('webdataset') wants one kind: --image jpg --option json=false"
            )
        shards = {
            f"{split}/{name}" if split else name: count
            for split, one in closed.items()
            for name, count in one["shards"].items()
        }
        facts: dict[str, Any] = {
            "panoglot_export": 1,
            "format": self.to,
            "images": self.tally.images,
            "captions": self.tally.captions,
            "measured": self.tally.measured,
            "languages": dict(sorted(self.tally.languages.items())),
            "converted": dict(sorted(self.fitter.converted.items())),
            "resized": self.fitter.resized,
            "cleaned": self.fitter.cleaned,
            "left_out": dict(sorted(self.left_out.items())),
            "shards": shards,
        }
        if self.masker.kinds:
            facts["masked"] = {kind: self.masker.counts[kind] for kind in self.masker.kinds}
        if self.tally.splits:
            facts["splits"] = dict(sorted(self.tally.splits.items()))
        return facts | ({"notes": said} if said else {})
