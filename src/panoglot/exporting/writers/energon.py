"""Megatron Energon: WebDataset shards with the `.nv-meta` folder and the index that `energon prepare` would make."""

from __future__ import annotations

import json
import sqlite3
import struct
import tarfile
import uuid
from pathlib import Path
from typing import Any

from panoglot.formats import webdataset

__all__ = ["Writer"]

_TABLES = """
CREATE TABLE samples (tar_file_id INTEGER NOT NULL, sample_key TEXT NOT NULL UNIQUE, sample_index INTEGER NOT NULL,
                      byte_offset INTEGER, byte_size INTEGER);
CREATE TABLE sample_parts (tar_file_id INTEGER, sample_index INTEGER, part_name TEXT, content_byte_offset INTEGER,
                           content_byte_size INTEGER);
"""
_INDICES = """
CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index);
CREATE INDEX idx_sample_parts_seq ON sample_parts(tar_file_id, sample_index, content_byte_offset);
CREATE INDEX idx_sample_parts_full
    ON sample_parts(tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size);
"""
#: The version of Energon whose files these are.
_VERSION = "7.4.1"


class Writer(webdataset.Writer):
    """Write the shards as `webdataset` does, then a `CaptioningSample` of `jpg` and `txt` a picture.

    Args:
        folder: where to.
        shard_size: pictures in a shard.
    """

    IMAGE = "jpg"  # the map of fields names one suffix; another would be skipped when it is read

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str | None:
        """Write one picture with its record; without a caption it would be skipped when it is read."""
        return super().add(record, data, suffix) if record["caption"] else "no_caption"

    def close(self) -> dict[str, Any]:
        """Finish: index the shards, and say what is in them."""
        facts = super().close()
        (self.folder / "sizes.json").unlink()
        meta = self.folder / ".nv-meta"
        meta.mkdir()
        sample_type = "sample_type:\n  __module__: megatron.energon\n  __class__: CaptioningSample\n"
        (meta / "dataset.yaml").write_text(sample_type + "field_map:\n  image: jpg\n  caption: txt\n")
        shards = "".join(f"  - {name}\n" for name in self.counts)
        (meta / "split.yaml").write_text(f"split_parts:\n  train:\n{shards}  val: []\n  test: []\nexclude: []\n")
        info = {"energon_version": _VERSION, "shard_counts": self.counts}
        (meta / ".info.json").write_text(json.dumps(info, indent=2))
        self._index(meta)
        return facts

    def _index(self, meta: Path) -> None:
        keys: list[str] = []
        connection = sqlite3.connect(meta / "index.sqlite")
        connection.executescript(_TABLES)
        for number, name in enumerate(self.counts):
            samples, parts, end = _walk(self.folder / name)
            starts = [start for _, start in samples]
            with open(self.folder / f"{name}.idx", "wb") as file:
                file.write(struct.pack(f"<{len(starts) + 1}Q", *starts, end))
            rows = [
                (number, key, n, at, after - at)
                for n, ((key, at), after) in enumerate(zip(samples, [*starts[1:], end]))
            ]
            connection.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", rows)
            connection.executemany("INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)", [(number, *row) for row in parts])
            keys.append(f"{name} {samples[0][0]} {end}")
        connection.executescript(_INDICES)
        connection.commit()
        connection.close()
        (meta / "index.uuid").write_text(str(uuid.uuid5(uuid.NAMESPACE_OID, "\n".join(keys))))


def _walk(path: Path) -> tuple[list[tuple[str, int]], list[tuple[int, str, int, int]], int]:
    """Samples of a shard (key, where it begins), parts (sample, name, where, bytes), and where the last ends."""
    samples: list[tuple[str, int]] = []
    parts: list[tuple[int, str, int, int]] = []
    end = 0
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, part = member.name.partition(".")
            if not samples or samples[-1][0] != key:
                samples.append((key, member.offset))
            parts.append((len(samples) - 1, part, member.offset_data, member.size))
            end = member.offset_data + (member.size + 511) // 512 * 512
    return samples, parts, end
