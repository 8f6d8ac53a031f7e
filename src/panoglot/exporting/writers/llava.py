"""LLaVA: `llava.json`, a JSON array of conversations of one picture each, and the pictures under `images/`.

Read by LLaVA's trainer (`--data_path llava.json --image_folder .`) and by others that took its form over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from panoglot.exporting.writers._shared import Conversations, JsonArray

__all__ = ["Writer"]


class Writer(Conversations):
    """Write a row a conversation: `id`, `image`, `conversations` of `human` and `gpt` in turns, `lang`.

    Args:
        folder: where to.
        shard_size: not used; it is one file.
        prompt: what asks for a caption; `{language}` is its language's English name.
        texts: `one` caption a picture, the preferred one, or `all`.
    """

    def __init__(
        self,
        folder: Path,
        shard_size: int,
        *,
        prompt: str = "Describe this picture in {language}.",
        texts: Literal["one", "all"] = "all",
    ) -> None:
        super().__init__(folder, prompt, texts)
        self._rows = JsonArray(folder / "llava.json")

    def write(self, name: str, image: str, turns: Sequence[tuple[str, str]]) -> None:
        """Write one conversation."""
        said = [{"from": who, "value": text} for pair in turns for who, text in zip(("human", "gpt"), pair)]
        self._rows.add({"id": name, "image": image, "conversations": said})

    def close(self) -> dict[str, Any]:
        """Finish."""
        self._rows.close()
        return {"shards": {"llava.json": self._rows.count}}
