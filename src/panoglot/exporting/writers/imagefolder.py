"""Hugging Face's imagefolder, plain: `metadata.jsonl` with `file_name`, a column of captions and `lang`, and `images/`.

`jsonl` writes the same with all captions and their provenance.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from panoglot.errors import UserError
from panoglot.exporting.writers._shared import JsonLines, Plain, told
from panoglot.formats._picture_files import PictureFiles

__all__ = ["Writer"]


class Writer(Plain):
    """Write a row a picture with its preferred caption; every row has the same keys, every value is text.

    Args:
        folder: where to.
        shard_size: not used; it is one file.
        caption_column: name of the column of captions.

    Raises:
        UserError: a column that would hide the picture.
    """

    texts = "one"

    def __init__(self, folder: Path, shard_size: int, *, caption_column: str = "text") -> None:
        if caption_column in ("image", "lang", "file_name", "label") or not caption_column.isidentifier():
            raise UserError(f"caption_column '{caption_column}' cannot be used here: take another word, such as text.")
        self.folder, self.column, self._pictures = folder, caption_column, PictureFiles(folder)
        self._rows = JsonLines(folder / "metadata.jsonl")

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str | None:
        """Write one picture with its caption."""
        texts = told(record, "one")
        if not texts:
            return "no_caption"
        name = self._pictures.add(record, data, suffix)
        self._rows.add({"file_name": name, self.column: texts[0]["text"], "lang": texts[0]["lang"]})
        return None

    def close(self) -> dict[str, Any]:
        """Finish."""
        self._rows.close()
        return {"shards": {"metadata.jsonl": self._rows.count}}
