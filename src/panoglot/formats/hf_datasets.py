"""Hugging Face `datasets` on disk (`save_to_disk`), read and written with pyarrow alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from panoglot.errors import RowError, UserError
from panoglot.formats import parquet
from panoglot.formats._files import check_regular, join_uri, part_key, read_bytes, reject
from panoglot.formats._record import name_of
from panoglot.formats._rows import Options, pick_roles, samples
from panoglot.formats._sample import Part, Sample, Unused
from panoglot.formats._texts import load_json
from panoglot.table import Reject

__all__ = ["Writer", "detect", "parts", "read"]


def detect(source: str) -> bool:
    """A folder that `save_to_disk` wrote: `state.json` and `dataset_info.json`, or `dataset_dict.json`."""
    return os.path.isfile(os.path.join(source, "dataset_dict.json")) or (
        os.path.isfile(os.path.join(source, "state.json")) and os.path.isfile(os.path.join(source, "dataset_info.json"))
    )


def parts(source: str, *, split: str | None = None, **options: Any) -> Iterator[Part]:
    """List Arrow files: one part each.

    Args:
        source: the folder.
        split: one split of a `DatasetDict`; None for all.
        **options: see `Options`.
    """
    chosen = Options(**options)
    for name, folder in _splits(source, split):
        for file in _data_files(folder):
            path = os.path.join(folder, file)
            kinds = _kinds(path)
            if kinds is not None:  # a broken file is said by `read`
                pick_roles(kinds, path, chosen)
            items = {"path": os.path.abspath(path), "options": asdict(chosen), "split": name}
            yield Part("hf_datasets", join_uri(path), part_key("hf_datasets", path, chosen), items)


def _json(path: str) -> dict[str, Any]:
    try:
        value = load_json(read_bytes(path, 2**26))
    except RowError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is not what datasets writes.")
    return value


def _splits(source: str, split: str | None) -> list[tuple[str | None, str]]:
    if not os.path.isfile(os.path.join(source, "dataset_dict.json")):
        if split is not None:
            raise UserError(f"'{source}' is one dataset without splits; leave out split='{split}'.")
        return [(None, source)]
    names = [str(n) for n in _json(os.path.join(source, "dataset_dict.json")).get("splits") or []]
    if any(os.path.basename(name) != name or name in ("", ".", "..") for name in names):
        raise UserError(f"{source}/dataset_dict.json names splits that are no folders of its own.")
    if split is not None and split not in names:
        raise UserError(f"'{source}' has no split '{split}'; it has {', '.join(names)}.")
    return [(name, os.path.join(source, name)) for name in names if split in (None, name)]


def _data_files(folder: str) -> list[str]:
    files = _json(os.path.join(folder, "state.json")).get("_data_files") or []
    names = [str(f.get("filename")) if isinstance(f, dict) else "" for f in files]
    if any(os.path.basename(name) != name or not name for name in names):
        raise UserError(f"{folder}/state.json names data files outside its folder.")
    return names


def _kinds(path: str) -> dict[str, str] | None:
    import pyarrow as pa

    try:
        check_regular(path)
        with pa.memory_map(path) as file:
            return parquet.column_kinds(pa.ipc.open_stream(file).schema)
    except (OSError, RowError, UnicodeDecodeError, pa.ArrowException):
        return None


def read(part: Part) -> Iterator[Sample | Reject | Unused]:
    """Read an Arrow stream, batch by batch."""
    import pyarrow as pa

    items, uri, row = part.items, part.uri, 0
    try:
        check_regular(items["path"])
        with pa.memory_map(items["path"]) as file:
            stream = pa.ipc.open_stream(file)
            schema = stream.schema
            options = Options(**items["options"])
            kinds, labels, roles = parquet.column_kinds(schema), parquet.class_names(schema), None
            broken: set[str] = set()
            for batch in stream:
                if roles is None:
                    small = batch.select([name for name, kind in kinds.items() if kind not in ("bytes", "image")])
                    roles = pick_roles(kinds, items["path"], options, labels, parquet.examples_of(small))
                    yield from roles.unused(uri)
                for start in range(0, batch.num_rows, 256):
                    for values in parquet.rows_of(batch.slice(start, 256), broken):
                        for found in samples(values, f"{uri}#{row}", roles):
                            if isinstance(found, Sample) and items["split"]:
                                found.context.setdefault("split", items["split"])
                            yield found
                        row += 1
            for name in sorted(broken):
                yield reject(f"{uri}#0-{row - 1}:{name}", "bad_column", "it cannot be read; the others are")
    except RowError as error:
        said = "named by state.json, but not there" if error.reason == "missing_file" else error.message
        yield reject(uri, error.reason, said)
    except UserError:
        raise
    except Exception as error:
        yield reject(f"{uri}#{row}-", "bad_archive", f"{type(error).__name__}: {error}; the rows before are read")


class Writer:
    """Write a folder that `datasets.load_from_disk` opens; the same columns as our Parquet."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        self.folder, self.shard_size = folder, shard_size
        self.counts: list[int] = []
        self._stream: Any = None
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._digest, self._encode = hashlib.sha256(), msgspec.json.Encoder(order="sorted").encode

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> None:
        """Write one picture with its record."""
        import pyarrow as pa

        if self._stream is None or self.counts[-1] >= self.shard_size:
            self._close_shard()
            path = str(self.folder / f"{len(self.counts):05d}.partial")
            self._stream = pa.ipc.new_stream(path, parquet.export_schema())
            self.counts.append(0)
        self._rows.append({**record, "image": {"bytes": data, "path": name_of(record) + suffix}})
        self._bytes += len(data)
        self.counts[-1] += 1
        self._digest.update(self._encode(record))
        if len(self._rows) >= 100 or self._bytes >= 32 * 2**20:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._stream.write_table(parquet.to_arrow(self._rows))
            self._rows, self._bytes = [], 0

    def _close_shard(self) -> None:
        if self._stream is not None:
            self._flush()
            self._stream.close()
            self._stream = None

    @staticmethod
    def join(folder: Path, splits: Sequence[str]) -> None:
        """Name the folders of splits, so that `datasets.load_from_disk` reads them as one `DatasetDict`."""
        (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))

    def close(self) -> dict[str, Any]:
        """Finish: the file names say how many there are, so they come last."""
        import pyarrow as pa

        if not self.counts:  # datasets wants one file, be it empty
            pa.ipc.new_stream(str(self.folder / "00000.partial"), parquet.export_schema()).close()
            self.counts.append(0)
        self._close_shard()
        total = len(self.counts)
        names = [f"data-{n:05d}-of-{total:05d}.arrow" for n in range(total)]
        for n, name in enumerate(names):
            os.rename(self.folder / f"{n:05d}.partial", self.folder / name)
        stated = json.loads((parquet.export_schema().metadata or {})[b"huggingface"])
        info = {
            "citation": "",
            "description": "",
            "homepage": "",
            "license": "",
            "features": stated["info"]["features"],
        }
        state: dict[str, Any] = {
            "_data_files": [{"filename": name} for name in names],
            "_fingerprint": self._digest.hexdigest()[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        (self.folder / "dataset_info.json").write_text(json.dumps(info, indent=2))
        (self.folder / "state.json").write_text(json.dumps(state, indent=2))
        return {"shards": dict(zip(names, self.counts, strict=True))}
