"""kohya's sd-scripts: pictures and a caption file beside each in one folder, and the `dataset.toml` that names them.

With `--option extension=txt` also what OneTrainer and ai-toolkit read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from panoglot.exporting.writers._shared import Plain, one_line, told
from panoglot.formats._record import name_of

__all__ = ["Writer"]


class Writer(Plain):
    """Write `img/NAME.jpg` and `img/NAME.caption`, one line each: the trainer takes the first line only.

    Args:
        folder: where to.
        shard_size: not used; it is one folder, as the trainer looks into no folders in it.
        extension: of the caption files.
        resolution: pixels a side in `dataset.toml`.
    """

    texts = "one"

    def __init__(
        self,
        folder: Path,
        shard_size: int,
        *,
        extension: Literal["caption", "txt"] = "caption",
        resolution: int = 1024,
    ) -> None:
        self.folder, self.extension, self.resolution, self.count = folder, extension, resolution, 0
        (folder / "img").mkdir(exist_ok=True)

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str | None:
        """Write one picture with its preferred caption."""
        texts = told(record, "one")
        if not texts:
            return "no_caption"
        base = self.folder / "img" / name_of(record)
        base.with_name(base.name + suffix).write_bytes(data)
        base.with_name(f"{base.name}.{self.extension}").write_text(one_line(texts[0]["text"]) + "\n", encoding="utf-8")
        self.count += 1
        return None

    def close(self) -> dict[str, Any]:
        """Finish with the file that the trainer is given."""
        lines = ["[general]", f'caption_extension = ".{self.extension}"', "", "[[datasets]]"]
        lines += [f"resolution = {self.resolution}", "enable_bucket = true", "", "[[datasets.subsets]]"]
        lines += ['image_dir = "img"', "num_repeats = 1", ""]
        (self.folder / "dataset.toml").write_text("\n".join(lines), encoding="utf-8")
        return {"shards": {"img": self.count}}
