"""Lance: `pairs.lance`, a table of pictures (`image`, large binary) and captions that any Lance reader streams."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from panoglot.exporting.writers._shared import Plain, told

__all__ = ["Writer"]

_BATCH_BYTES, _BATCH_ROWS = 32 * 2**20, 1000


class Writer(Plain):
    """Write a row a picture: `image`, its preferred caption and language, all captions, size.

    Args:
        folder: where to.
        shard_size: rows of a file of the table.
        caption_column: name of the column of captions.
    """

    def __init__(self, folder: Path, shard_size: int, *, caption_column: str = "caption") -> None:
        import pyarrow as pa

        text = pa.string()
        every = pa.list_(pa.struct([("text", text), ("lang", text), ("kind", text)]))
        self.schema = pa.schema(
            [
                ("image_id", text),
                ("image", pa.large_binary()),
                (caption_column, text),
                ("lang", text),
                ("captions", every),
                ("width", pa.int32()),
                ("height", pa.int32()),
            ]
        )
        self.path, self.shard_size, self.column, self.count = folder / "pairs.lance", shard_size, caption_column, 0
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> None:
        """Write one picture with its captions."""
        row = {name: record[name] for name in ("image_id", "lang", "width", "height")}
        texts = [{name: c[name] for name in ("text", "lang", "kind")} for c in told(record)]
        self._rows.append({**row, "image": data, self.column: record["caption"], "captions": texts})
        self._bytes += len(data)
        self.count += 1
        if len(self._rows) >= _BATCH_ROWS or self._bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        import lance
        import pyarrow as pa

        table = pa.Table.from_pylist(self._rows, schema=self.schema)
        mode = "append" if self.path.exists() else "create"
        lance.write_dataset(table, str(self.path), mode=mode, max_rows_per_file=self.shard_size)
        self._rows, self._bytes = [], 0

    def close(self) -> dict[str, Any]:
        """Finish: files of `shard_size` rows, and one version."""
        import lance

        if self._rows or not self.path.exists():
            self._flush()
        data = lance.dataset(str(self.path))
        if len(data.get_fragments()) > 1:
            data.optimize.compact_files(target_rows_per_fragment=self.shard_size, num_threads=1)
            lance.dataset(str(self.path)).cleanup_old_versions(older_than=timedelta(0))
        return {"shards": {"pairs.lance": self.count}}
