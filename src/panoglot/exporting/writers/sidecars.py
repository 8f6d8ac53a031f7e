"""Sidecars: a text file beside every picture, in a folder of its own or beside the user's own pictures."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Literal

from panoglot.exporting.writers._shared import Plain, one_line, told
from panoglot.formats._picture_files import PictureFiles
from panoglot.formats._written import Notes

__all__ = ["Writer"]


class Writer(Plain):
    """Write `a.txt` beside `a.jpg`; beside the user's own pictures nothing there is changed, unless asked.

    Who wrote the texts stands in a hidden file of each folder, for the next time that the folder is read.

    Args:
        folder: where to; with `beside` nothing is written there.
        shard_size: not used.
        beside: write texts beside the files that the pictures were read from, and no pictures.
        extension: of the text files.
        texts: `one` caption, the preferred one; `all` of them, a line each; `lang` a file a language, `a.de.txt`.
        replace: write over texts that are there.
    """

    def __init__(
        self,
        folder: Path,
        shard_size: int,
        *,
        beside: bool = False,
        extension: Literal["txt", "caption"] = "txt",
        texts: Literal["one", "all", "lang"] = "one",
        replace: bool = False,
    ) -> None:
        self.folder, self.beside, self.extension, self.texts, self.replace = folder, beside, extension, texts, replace
        self.count, self._pictures = 0, PictureFiles(folder)

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str | None:
        """Write the texts of one picture."""
        found = told(record, "one" if self.texts == "one" else "all")
        if not found:
            return "no_caption"
        if not self.beside:
            path = self.folder / self._pictures.add(record, data, suffix)
        elif not os.path.isfile(record["uri"]):
            return "no_file_of_its_own"
        else:
            path = Path(record["uri"])
            if hashlib.sha256(path.read_bytes()).hexdigest()[:32] != record["image_id"]:
                return "changed_since_it_was_read"
        files: dict[str, list[dict[str, Any]]] = {}
        for caption in found:
            lang = f".{caption['lang']}" if self.texts == "lang" and caption["lang"] != "und" else ""
            files.setdefault(f"{lang}.{self.extension}", []).append(caption)
        written = []
        for ending, captions in files.items():
            before = self.count
            text = "".join(one_line(caption["text"]) + "\n" for caption in captions)
            written.append(self._write(path.with_suffix(ending), text))
            if self.beside and self.count > before:
                with Notes(path.parent) as notes:
                    notes.add(record["image_id"], captions)
        return None if any(written) else "text_exists"

    def _write(self, path: Path, text: str) -> bool:
        """Write a text, whole or not at all; whether it stands there."""
        data = text.encode()
        if not self.beside:  # a folder that is whole at the end: nothing stands there
            with open(path, "wb") as file:
                file.write(data)
            self.count += 1
            return True
        if path.is_symlink():
            return False
        if path.exists():
            if path.read_bytes() == data:
                return True
            if not self.replace:
                return False
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(data)
        os.replace(partial, path)
        self.count += 1
        return True

    def close(self) -> dict[str, Any]:
        """Finish."""
        return {"shards": {f"*.{self.extension}": self.count}}
