"""CSV as open_clip reads it: `pairs.csv` with tabs, columns `filepath` and `title`, and pictures in `images/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from panoglot.exporting.writers._shared import Plain, one_line, told
from panoglot.formats._picture_files import PictureFiles

__all__ = ["Writer"]

_DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";"}
#: What pandas takes for a missing value, in lower case.
_MISSING = frozenset(("#n/a", "#na", "-nan", "<na>", "n/a", "na", "nan", "none", "null", "-1.#ind", "1.#qnan"))


class Writer(Plain):
    """Write a row a caption, with its language in `lang`; no text that pandas takes for a number or for nothing.

    Args:
        folder: where to.
        shard_size: not used; it is one file.
        caption_column: name of the column of captions.
        delimiter: what separates values.
        root: written before each path: open_clip looks for pictures from where it runs.
        texts: `one` caption a picture, the preferred one, or `all`.
    """

    def __init__(
        self,
        folder: Path,
        shard_size: int,
        *,
        caption_column: str = "title",
        delimiter: Literal["tab", "comma", "semicolon"] = "tab",
        root: str = "",
        texts: Literal["one", "all"] = "all",
    ) -> None:
        import csv

        self.folder, self.root, self.texts, self.count = folder, root.rstrip("/") + "/" if root else "", texts, 0
        self.unwritten, self._pictures = 0, PictureFiles(folder)
        self._file = open(folder / "pairs.csv", "w", encoding="utf-8", newline="")  # noqa: SIM115
        self._rows = csv.writer(self._file, delimiter=_DELIMITERS[delimiter], lineterminator="\n")
        self._rows.writerow(["filepath", caption_column, "lang"])

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str | None:
        """Write one picture with its captions."""
        texts = told(record, self.texts)
        good = [(text, c["lang"]) for c in texts if not _misread(text := one_line(c["text"]))]
        self.unwritten += len(texts) - len(good)
        if not good:
            return "no_text_for_csv" if texts else "no_caption"
        name = self.root + self._pictures.add(record, data, suffix)
        for text, lang in good:
            self._rows.writerow([name, text, lang])
            self.count += 1
        return None

    def close(self) -> dict[str, Any]:
        """Finish."""
        self._file.close()
        said = [f"{self.unwritten:,} captions are not written: pandas would read a number, or nothing"]
        return {"shards": {"pairs.csv": self.count}, **({"notes": said} if self.unwritten else {})}


def _misread(text: str) -> bool:
    """Say whether pandas would make something else of a text.

    >>> _misread("7"), _misread("NA"), _misread(""), _misread("7 cats")
    (True, True, True, False)
    """
    if text.lower() in _MISSING or not text:
        return True
    try:
        float(text.replace(" ", ""))
    except ValueError:
        return text.lower() in ("true", "false")
    return True
