"""MDS of MosaicML Streaming: `shard.00000.mds`, … and `index.json`, version 2, written without the package."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from panoglot.exporting.writers._shared import Plain, told

__all__ = ["Writer"]

_LIMIT = 2**26  # bytes of a shard, as the package's own writer has it


class Writer(Plain):
    """Write a sample a picture: `image` (JPEG bytes), `caption`, `captions` (JSON with languages), `lang`.

    Args:
        folder: where to.
        shard_size: most samples of a shard; a shard also ends before 64 MB.
        caption_column: name of the column of captions.
    """

    IMAGE = "jpg"  # the column's encoding names one kind of picture, and is not checked when it is written

    def __init__(self, folder: Path, shard_size: int, *, caption_column: str = "caption") -> None:
        kinds = {caption_column: "str", "captions": "json", "image": "jpeg", "lang": "str"}
        self.folder, self.shard_size, self.column = folder, shard_size, caption_column
        self._columns = dict(sorted(kinds.items()))
        self._shards: list[dict[str, Any]] = []
        self._samples: list[bytes] = []
        self._bytes = 0

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str | None:
        """Write one picture with its captions."""
        texts = told(record)
        if not texts:
            return "no_caption"
        said = [{"lang": c["lang"], "text": c["text"], "kind": c["kind"]} for c in texts]
        values = {
            self.column: texts[0]["text"].encode(),
            "captions": json.dumps(said, ensure_ascii=False).encode(),
            "image": data,
            "lang": texts[0]["lang"].encode(),
        }
        parts = [values[name] for name in self._columns]
        sample = struct.pack(f"<{len(parts)}I", *map(len, parts)) + b"".join(parts)
        if self._samples and (len(self._samples) >= self.shard_size or self._bytes + len(sample) > _LIMIT):
            self._flush()
        self._samples.append(sample)
        self._bytes += len(sample) + 4
        return None

    def _facts(self) -> dict[str, Any]:
        return {
            "column_encodings": list(self._columns.values()),
            "column_names": list(self._columns),
            "column_sizes": [None] * len(self._columns),
            "compression": None,
            "format": "mds",
            "hashes": ["sha1"],
            "size_limit": _LIMIT,
            "version": 2,
        }

    def _flush(self) -> None:
        """A shard: the number of samples, where each begins and the last ends, the columns, the samples."""
        facts = json.dumps(self._facts(), sort_keys=True).encode()
        count = len(self._samples)
        at = 4 + 4 * (count + 1) + len(facts)
        offsets = [at]
        for sample in self._samples:
            at += len(sample)
            offsets.append(at)
        data = b"".join([struct.pack(f"<{count + 2}I", count, *offsets), facts, *self._samples])
        name = f"shard.{len(self._shards):05d}.mds"
        (self.folder / name).write_bytes(data)
        raw = {"basename": name, "bytes": len(data), "hashes": {"sha1": hashlib.sha1(data).hexdigest()}}
        self._shards.append({**self._facts(), "raw_data": raw, "samples": count, "zip_data": None})
        self._samples, self._bytes = [], 0

    def close(self) -> dict[str, Any]:
        """Finish."""
        if self._samples:
            self._flush()
        index = json.dumps({"shards": self._shards, "version": 2}, sort_keys=True)
        (self.folder / "index.json").write_text(index, encoding="utf-8")
        return {"shards": {shard["raw_data"]["basename"]: shard["samples"] for shard in self._shards}}
