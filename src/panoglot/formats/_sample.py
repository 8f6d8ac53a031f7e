"""What a format reads: parts of a source, and the samples in a part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from panoglot.table import Caption, Reject

__all__ = ["Format", "Part", "Sample"]


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
    """

    data: bytes
    uri: str
    captions: Sequence[Caption] = ()
    group: str | None = None
    time: float | None = None
    context: dict[str, Any] = field(default_factory=dict)


class Format(Protocol):
    """A module of this room. `detect` is asked in order of `FORMAT_NAMES`; the first that says yes reads."""

    def detect(self, source: str) -> bool:
        """Say whether `source` (a path) is in this format. Cheap: names and first bytes only."""
        ...

    def parts(self, source: str, **options: Any) -> Iterator[Part]:
        """List the parts of a source, lazily, in a fixed order."""
        ...

    def read(self, part: Part) -> Iterator[Sample | Reject]:
        """Read a part, streaming. What cannot be read is a `Reject` (item = uri); never raises for a bad row."""
        ...
