"""WebDataset: tar shards (plain, gz, bz2, xz) of `key.jpg`, `key.txt`, `key.json`, `key.cls` members.

Nothing is ever extracted: members are read in two forward passes, first the texts and then the pictures, in memory and
within limits; so the members of a sample may lie anywhere in the shard. Reader and writer.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import msgspec

from panoglot.errors import RowError
from panoglot.formats._files import (
    MAX_TEXT,
    find_files,
    has_pictures,
    is_hidden,
    join_uri,
    open_regular,
    part_key,
    read_bytes,
    reject,
    suffix_of,
)
from panoglot.formats._inflate import PIECE, inflated, read_member
from panoglot.formats._names import Role
from panoglot.formats._pairing import pair
from panoglot.formats._record import is_record, name_of, restore
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._tar import TarFile
from panoglot.formats._texts import Given, clean_context, decode, from_json, from_text, given, load_json
from panoglot.identity import counted
from panoglot.pictures import MAX_BYTES, SUFFIXES, may_be_picture
from panoglot.table import Caption, Reject

__all__ = ["Writer", "detect", "parts", "read", "read_shard"]

#: A name that leads out of where an archive is unpacked.
_UNSAFE = re.compile(r"\A[/\\]|\A[A-Za-z]:[/\\]|(?:\A|[/\\])\.\.(?:[/\\]|\Z)|\0")
_SHARD = re.compile(r".*\.(tar|tar\.(gz|bz2|xz)|tgz)", re.IGNORECASE)
_KEY = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")  # as webdataset splits: the folder and the name up to its first dot
_TEXTS = frozenset((".txt", ".text", ".caption", ".json", ".cls"))
_READ = SUFFIXES | _TEXTS
#: Most bytes of the texts of one shard; they wait in memory up to `_IN_MEMORY`, then in a temporary file.
_MOST = 4 * 2**30
_IN_MEMORY = 64 * 2**20
#: Most bytes that are inflated only to come to the next member.
_MOST_SKIPPED = 8 * 2**30
_JSON = msgspec.json.Encoder(order="sorted").encode


def detect(source: str) -> bool:
    """A tar file, a pattern of them, or a folder with tar files in it or in its folders, and no pictures."""
    if not os.path.isdir(source):
        return _SHARD.fullmatch(source) is not None
    if has_pictures(source):
        return False
    if any(_SHARD.fullmatch(name) for name in os.listdir(source)):
        return True
    below = [os.path.join(source, name) for name in sorted(os.listdir(source))[:1000] if not is_hidden(name)]
    folders = [folder for folder in below if os.path.isdir(folder)]  # a folder a split
    there = any(_SHARD.fullmatch(name) for folder in folders for name in os.listdir(folder))
    return there and not any(has_pictures(folder) for folder in folders)


def parts(
    source: str,
    *,
    lang: str | None = None,
    kind: str | None = None,
    class_names: list[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Iterator[Part]:
    """List shards: one part each.

    Args:
        source: a tar file, folder, glob, or brace range `shards/{00000..00099}.tar`.
        lang: language of texts that do not say theirs; None to identify it.
        kind: kind of the captions; `human` unless the texts are alt texts.
        class_names: names of the numbers in `.cls` members.
        max_bytes: largest member that is read.
    """
    given(lang, kind)
    options = {"lang": lang, "kind": kind, "class_names": class_names, "max_bytes": max_bytes}
    for path in find_files(source, lambda name: _SHARD.fullmatch(name) is not None, "tar shards"):
        counts: dict[str, Any] = {}
        with suppress(RowError):
            loaded = load_json(read_bytes(os.path.join(os.path.dirname(path), "sizes.json"), 2**24))
            counts = loaded if isinstance(loaded, dict) else {}
        count = counts.get(os.path.basename(path))
        items = {"path": os.path.abspath(path), **options}
        yield Part(
            "webdataset",
            join_uri(path),
            part_key("webdataset", path, counted(parts, options)),
            items,
            count if isinstance(count, int) and 0 <= count < 2**31 else None,
        )


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read a shard, streaming."""
    items = part.items
    texts = given(items["lang"], items["kind"])
    yield from read_shard(items["path"], part.uri, texts, items["class_names"], items["max_bytes"])


def read_shard(
    path: str, uri: str, texts: Given, class_names: list[str] | None = None, max_bytes: int = MAX_BYTES
) -> Iterator[Sample | Reject | Unused]:
    """Read one tar: every text goes to the pictures whose names it shares (see `pair`), wherever they lie in it.

    Of the first pass only texts and names are kept; what is wrong with the archive itself is told by the second.
    """
    with _Texts() as waiting:
        pictures: list[str] = []
        others: Counter[str] = Counter()
        for member in _members(path, uri, max_bytes, lambda name: suffix_of(name) in _TEXTS):
            if isinstance(member, Reject):
                continue
            name, data = member
            if _KEY.fullmatch(name) is None or name.startswith("__"):
                others[name.rpartition("/")[2]] += 1
            elif suffix_of(name) in SUFFIXES:
                pictures.append(name)
            elif suffix_of(name) not in _TEXTS:
                others["." + name.rpartition(".")[2]] += 1
            elif data is not None and not waiting.add(name, data):
                yield reject(f"{uri}#{_clean(name)}", "too_many_bytes", f"the texts of a shard exceed {_MOST:,} bytes")
        found, left = pair(pictures, waiting.names, samples=True)
        seen: set[str] = set()
        broken = False
        told: set[str] = set()  # what is wrong with a text that several pictures share is told once
        for member in _members(path, uri, max_bytes, lambda name: suffix_of(name) in SUFFIXES):
            if isinstance(member, Reject):
                broken = True
                yield member
                continue
            name, data = member
            if data is None or _KEY.fullmatch(name) is None or name.startswith("__"):
                continue
            place = f"{uri}#{_clean(_shown(name))}"
            if name in seen:
                yield reject(place, "duplicate_name", "the shard has two members of this name")
                continue
            seen.add(name)
            beside = [(text, role, waiting.get(text)) for text, role in found.get(name, ())]
            for one in _sample(data, place, uri, beside, texts, class_names):
                if isinstance(one, Sample) or one.item not in told:
                    yield one
                if isinstance(one, Reject):
                    told.add(one.item)
        for name in waiting.twice:
            yield reject(f"{uri}#{_clean(name)}", "duplicate_name", "the shard has two members of this name")
    if not (pictures or waiting.names or others or broken):
        yield Unused(uri, "shard{s} with nothing in it", (_clean(os.path.basename(path)),), 1)
    if left:
        hint = "a text has the name of its picture, with a language after it where it has one: 000017.de.txt"
        yield Unused.of(uri, "text{s} of no picture", map(_clean, left), hint)
    if others:
        names = [_clean(name) for name, _ in others.most_common()]
        yield Unused(uri, "member{s} of other kinds", tuple(names[:12]), others.total())


class _Texts:
    """The texts of a shard, in memory while they are few and in a temporary file when they are many."""

    def __init__(self) -> None:
        self._file: Any = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._at: dict[str, tuple[int, int]] = {}
        self._end = 0
        self.twice: list[str] = []

    def __enter__(self) -> _Texts:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def names(self) -> list[str]:
        """Their names, in the order of the shard."""
        return list(self._at)

    def add(self, name: str, data: bytes) -> bool:
        """Keep one; False when there are too many. Of two of one name the first stands."""
        if name in self._at:
            self.twice.append(name)
            return True
        if self._end + len(data) > _MOST:
            return False
        self._file.seek(self._end)
        self._file.write(data)
        self._at[name] = (self._end, len(data))
        self._end += len(data)
        return True

    def get(self, name: str) -> bytes:
        """Read one."""
        start, size = self._at[name]
        self._file.seek(start)
        data: bytes = self._file.read(size)
        return data


def _shown(name: str) -> str:
    """A member's name as its sample shows it: what webdataset takes for the column is in lower case."""
    match = _KEY.fullmatch(name)
    return f"{match[1]}.{match[2].lower()}" if match else name


def _clean(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()[:1000]


def _sample(
    data: bytes,
    place: str,
    uri: str,
    beside: list[tuple[str, Role, bytes]],
    texts: Given,
    class_names: list[str] | None,
) -> Iterator[Sample | Reject]:
    """Make the sample of one picture and the texts that are its own."""
    captions: list[Caption] = []
    context: dict[str, Any] = {}
    record: dict[str, Any] | None = None
    plain: list[Caption] = []
    for name, role, raw in sorted(beside, key=lambda one: (suffix_of(one[0]) != ".json", one[0])):
        try:
            suffix = suffix_of(name)
            if suffix == ".json":
                value = load_json(raw)
                if is_record(value):
                    record = value
                else:
                    texts = texts.web(isinstance(value, dict) and isinstance(value.get("url"), str))
                    found, rest = from_json(value, texts.of(role))
                    captions += found
                    context.update(clean_context(rest))
            elif suffix == ".cls":
                label = decode(raw).strip()
                number = int(label) if re.fullmatch(r"\d{1,9}", label) else None
                if number is not None:
                    context["cls"] = number
                    label = class_names[number] if class_names and number < len(class_names) else ""
                if label:
                    captions.append(Caption(label, lang=texts.caption("", None).lang, kind="label", recipe="human"))
            else:
                plain += from_text(decode(raw), texts.of(role), whole=True)
        except RowError as error:
            yield reject(f"{uri}#{_clean(name)}", error.reason, error.message)
    said = {caption.text for caption in captions}  # img2dataset writes the same caption as .txt and in .json
    captions += [caption for caption in plain if caption.text not in said]
    yield restore(record, data, place) if record is not None else Sample(data, place, captions, context=context)


class _Header(tarfile.TarInfo):
    """Headers as tarfile reads them, but a torn archive is an error and not its end, and no header is huge."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
        """Of a plain file with a short name only name, size and check sum are read: nobody asks for the rest of it."""
        name, end, _ = buf[:100].partition(b"\0")
        plain = len(buf) == tarfile.BLOCKSIZE and buf[156:157] == tarfile.REGTYPE and buf[257:262] == b"ustar"
        if plain and end and not buf[345]:
            size, total = (buf[a:b].strip(b" \0") for a, b in ((124, 136), (148, 156)))
            with suppress(ValueError):
                if int(total, 8) == sum(buf) - sum(buf[148:156]) + 8 * ord(" "):
                    header = cls(name.decode(encoding, errors))
                    header.size = int(size, 8)
                    return header
        return super().frombuf(buf, encoding, errors)

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Any:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # the zero block: the real end
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {tarfile_.offset:,}") from None

    def _proc_member(self, tarfile_: tarfile.TarFile) -> Any:
        extended = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        if self.size < 0:
            raise tarfile.ReadError(f"a header that claims {self.size:,} bytes")
        if self.type not in (*extended, b"L", b"K") or self.size <= MAX_TEXT:
            return super()._proc_member(tarfile_)  # type: ignore[misc]
        # what it says of the next member is left out; the member is read under its short name
        _skip(tarfile_, self._block(self.size))  # type: ignore[attr-defined]
        member: Any = self.fromtarfile(tarfile_)
        member.oversized = self.size
        return member


def _skip(tar: tarfile.TarFile, size: int) -> None:
    """Go over `size` bytes of the archive, unless they are a bomb."""
    if size > _MOST_SKIPPED:  # do not inflate it only to skip it
        raise tarfile.ReadError(f"a header that claims {size:,} bytes")
    tar.fileobj.seek(tar.fileobj.tell() + size)


def _members(
    path: str, uri: str, max_bytes: int, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes | None] | Reject]:
    """Yield (name, bytes if it is wanted) of regular members; say what is left out, and where an archive is torn."""
    torn = "bad_archive"
    try:
        with (
            open_regular(path) as raw,
            nullcontext(inflated(raw)) as stream,
            tarfile.open(
                fileobj=stream,  # type: ignore[call-overload]
                mode="r:",
                tarinfo=_Header,
                errors="surrogateescape",
            ) as tar,
        ):
            torn = "truncated_archive"
            while (member := tar.next()) is not None:
                tar.members = []  # tarfile keeps every header otherwise
                name, suffix = member.name, suffix_of(member.name)
                place = f"{uri}#{_clean(name)}"
                if size := getattr(member, "oversized", 0):
                    yield reject(f"{place}.header", "too_many_bytes", f"a header of {size:,} bytes was left out")
                if member.isdir():
                    continue
                if _UNSAFE.search(name):
                    yield reject(place, "unsafe_path", f"the member is named {name!r}")
                elif not member.isreg() or member.sparse is not None:
                    yield reject(place, "not_a_file", "a link, device or sparse member; only plain files are read")
                elif suffix not in _READ:
                    yield name, None
                elif member.size > (max_bytes if suffix in SUFFIXES else MAX_TEXT):
                    yield reject(place, "too_many_bytes", f"{member.size:,} bytes")
                    if member.size > _MOST_SKIPPED:  # do not inflate a bomb only to skip it
                        raise tarfile.ReadError(f"a member of {member.size:,} bytes")
                elif not wanted(name):
                    yield name, None
                else:
                    data = read_member(stream, min(member.size, PIECE))
                    if suffix in SUFFIXES and len(data) == PIECE and not may_be_picture(data, member.size):
                        yield reject(place, "not_an_image", f"{member.size:,} bytes that start with {data[:12]!r}")
                        continue
                    if len(data) < member.size:
                        data = read_member(stream, member.size, data)
                    if len(data) != member.size:
                        raise tarfile.ReadError(f"{name} ends after {len(data):,} of {member.size:,} bytes")
                    yield name, data
    except RowError as error:  # gone, no permission, a pipe
        yield reject(uri, error.reason, error.message)
    except Exception as error:  # tarfile, zlib, lzma and bz2 raise many kinds on damage
        yield reject(uri, torn, f"{error}; what came before it was read")


class Writer:
    """Write `00000.tar`, …: `key.jpg` (or the picture's own suffix), `key.txt`, `key.json`; the key is the image id.

    Args:
        folder: where to.
        shard_size: pictures in a shard.
        json: write all captions with their provenance; `load_dataset("webdataset")` reads no JSON whose types differ.
    """

    def __init__(self, folder: Path, shard_size: int, *, json: bool = True) -> None:
        self.folder, self.shard_size, self._json = folder, shard_size, json
        self.counts: dict[str, int] = {}
        self._tar: TarFile | None = None

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str | None:
        """Write one picture with its record."""
        name = f"{len(self.counts) - 1:05d}.tar"
        if self._tar is None or self.counts[name] >= self.shard_size:
            self.close_shard()
            name = f"{len(self.counts):05d}.tar"
            self._tar = TarFile(self.folder / name)
            self.counts[name] = 0
        key = name_of(record)
        self._tar.add(f"{key}{suffix}", data)
        if record["caption"]:
            self._tar.add(f"{key}.txt", record["caption"].encode())
        if self._json:
            self._tar.add(f"{key}.json", _JSON({"key": key, **record}))
        self.counts[name] += 1
        return None

    def close_shard(self) -> None:
        """Finish the open shard."""
        if self._tar is not None:
            self._tar.close()
            self._tar = None

    def close(self) -> dict[str, Any]:
        """Finish; `sizes.json` is where open_clip looks for the number of samples."""
        self.close_shard()
        (self.folder / "sizes.json").write_text(json.dumps(self.counts, indent=1) + "\n")
        return {"shards": self.counts}
