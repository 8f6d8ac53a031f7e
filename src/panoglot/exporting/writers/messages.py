"""Messages: `messages.jsonl` with `messages` and `images`, and a `dataset_info.json`: LLaMA-Factory and ms-swift.

LLaMA-Factory: `dataset_dir: FOLDER`, `dataset: panoglot`; all five tags are written, as one that is left out counts as
none there. ms-swift looks for pictures from where it runs: `ROOT_IMAGE_DIR=FOLDER`, `--dataset FOLDER/messages.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from panoglot.exporting.writers._shared import MESSAGE_TAGS, Conversations, JsonLines

__all__ = ["Writer"]


class Writer(Conversations):
    """Write a row a conversation: `messages` of user and assistant in turns, `images` with one path.

    Args:
        folder: where to.
        shard_size: not used; it is one file.
        prompt: what asks for a caption; `{language}` is its language's English name.
        texts: `one` caption a picture, the preferred one, or `all`.
        name: of the dataset in `dataset_info.json`.
    """

    def __init__(
        self,
        folder: Path,
        shard_size: int,
        *,
        prompt: str = "Describe this picture in {language}.",
        texts: Literal["one", "all"] = "all",
        name: str = "panoglot",
    ) -> None:
        super().__init__(folder, prompt, texts)
        self.folder, self.name = folder, name
        self._rows = JsonLines(folder / "messages.jsonl")

    def write(self, name: str, image: str, turns: Sequence[tuple[str, str]]) -> None:
        """Write one conversation."""
        said = [{"role": who, "content": text} for pair in turns for who, text in zip(("user", "assistant"), pair)]
        self._rows.add({"messages": said, "images": [image]})

    def close(self) -> dict[str, Any]:
        """Finish with the file that LLaMA-Factory finds the dataset by."""
        self._rows.close()
        columns = {"messages": "messages", "images": "images"}
        info = {
            self.name: {
                "file_name": "messages.jsonl",
                "formatting": "sharegpt",
                "columns": columns,
                "tags": MESSAGE_TAGS,
            }
        }
        (self.folder / "dataset_info.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
        return {"shards": {"messages.jsonl": self._rows.count}}
