"""What a format reads: parts of a source, and the samples in a part."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from panoglot.errors import many
from panoglot.geometry import Region
from panoglot.table import Caption, Reject, Triple

__all__ = ["Address", "Format", "Part", "Sample", "Unused", "own_copies"]

#: So many names of a kind are told; the rest is counted.
MOST_NAMES = 12


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a source that is read in one go and marked done as a whole: some files, a shard, a row group.

    Attributes:
        format: name of the format that reads it.
        uri: the file or folder, for people.
        key: identity of its content as far as it can be told without reading: path, size, modification time. A part
            with a known key is not read again.
        items: what `read` needs: paths, or row numbers; JSON-like.
        count: samples in it when known beforehand (for the progress bar).
    """

    format: str
    uri: str
    key: str
    items: Any = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where on the web a picture is.

    Attributes:
        url: its address.
        allow_private: hosts of private networks and of this machine may be asked.
        per_host: requests to one host at once.
    """

    url: str
    allow_private: bool = False
    per_host: int = 4


@dataclass(slots=True)
class Sample:
    """One picture with the texts that came with it, as a format found it.

    Attributes:
        data: the encoded bytes.
        uri: where it came from, unique: `folder/a.jpg`, `00000.tar#000017.jpg`, `rows.parquet#17`.
        captions: texts; `lang` None-like (`und`) is identified on ingest, `recipe` is `human` or `web`.
        group: video or document it belongs to.
        time: seconds or page inside the group.
        context: page title, surrounding text, EXIF …
        place: where it really lies, when `uri` is what a record remembers; empty when `uri` says it.
        address: where to fetch it, when there are no `data` yet; `read_part` does.
        image_id: id of the bytes, where a reader had to know it; empty where nobody asked yet.
        region: where in what it was taken from it is: of a frame the interval of its clip.
    """

    data: bytes
    uri: str
    captions: Sequence[Caption] = ()
    group: str | None = None
    time: float | None = None
    context: dict[str, Any] = field(default_factory=dict)
    place: str = ""
    address: Address | None = None
    image_id: str = ""
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Unused:
    """What a source holds and a reader did not use: said in the summary, in the result and in the report.

    Attributes:
        source: the file or folder.
        what: what these are, as it goes on after a number, with `{s}` where the plural has its s.
        names: some of them.
        count: how many there are.
        hint: what mends it, or empty.
    """

    source: str
    what: str
    names: Sequence[str] = ()
    count: int = 1
    hint: str = ""

    @classmethod
    def of(cls, source: str, what: str, names: Iterable[str], hint: str = "") -> Unused:
        """Count names and keep the first of them.

        >>> Unused.of("photos", "text file{s} without a picture", ["a.txt", "b.txt"]).line()
        '2 text files without a picture were not used: a.txt, b.txt (photos)'
        """
        all_of_them = list(names)
        return cls(source, what, tuple(all_of_them[:MOST_NAMES]), len(all_of_them), hint)

    def line(self, most: int = 5) -> str:
        """Say it in a line."""
        names = ", ".join(self.names[:most]) + (" …" if self.count > min(most, len(self.names)) else "")
        listed = f": {names}" if self.names else ""
        what = many(self.count, f"{self.what} {{was}} not used")
        return f"{what}{listed} ({self.source}){self.hint and f'; {self.hint}'}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `runs.stages`."""
        return {**asdict(self), "names": list(self.names)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Unused:
        """Read what `to_dict` wrote, whoever changed it since."""
        names = value.get("names")
        count = value.get("count")
        return cls(
            str(value.get("source") or ""),
            str(value.get("what") or ""),
            tuple(str(name) for name in names) if isinstance(names, list) else (),
            count if isinstance(count, int) else 1,
            str(value.get("hint") or ""),
        )

    def and_more(self, other: Unused) -> Unused:
        """The same kind at the same source, counted together."""
        names = tuple(dict.fromkeys([*self.names, *other.names]))[:MOST_NAMES]
        return replace(self, names=names, count=self.count + other.count)


def own_copies(captions: Sequence[Caption]) -> list[Caption]:
    """Copies of captions for one more picture: each picture's captions get ids of their own. Parents stay linked."""
    return copy.deepcopy(list(captions))


class Format(Protocol):
    """A module of this room. `detect` is asked in order of `FORMAT_NAMES`; the first that says yes reads."""

    def detect(self, source: str) -> bool:
        """Say whether `source` (a path) is in this format. Cheap: names and first bytes only."""
        ...

    def parts(self, source: str, **options: Any) -> Iterator[Part]:
        """List the parts of a source, lazily, in a fixed order."""
        ...

    def read(self, part: Part) -> Iterator[Sample | Reject | Unused | Triple]:
        """Read a part, streaming. What cannot be read is a `Reject` (item = uri); never raises for a bad row.

        What is there and not used is said too (`Unused`); a `Triple` over pictures comes after them.
        """
        ...
