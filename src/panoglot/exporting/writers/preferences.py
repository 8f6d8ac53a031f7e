"""Preferences: pairs of a better and a worse caption of a picture, from ratings, for DPO and reward models.

TRL (`tool=trl`): `datasets.load_dataset("imagefolder", data_dir=FOLDER)` gives `images`, `prompt`, `chosen`,
`rejected`. LLaMA-Factory (`tool=llamafactory`): `dataset_dir: FOLDER`, `dataset: panoglot`, `stage: dpo` or `rm`.
ms-swift (`tool=swift`): `ROOT_IMAGE_DIR=FOLDER`, `--rlhf_type dpo --dataset FOLDER/preferences.jsonl`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Literal

from panoglot.exporting.writers._shared import MESSAGE_TAGS, JsonLines, asking, plain
from panoglot.formats._picture_files import PictureFiles
from panoglot.formats._record import TOLD

__all__ = ["Writer"]

_COLUMNS = {name: name for name in ("messages", "chosen", "rejected", "images")}


class Writer:
    """Write a row a pair of captions: what asks for a caption, the better answer, the worse one, and the picture.

    Pairs come from ratings of one caption against another (`caption --method feedback-pairs`, or votes of people): the
    mean of all raters says which is better. Left out and counted: pairs that are held equal, of two languages, or one
    of whose captions is not exported.

    Args:
        folder: where to.
        shard_size: not used; it is one file.
        tool: who reads it: `trl`, `llamafactory` or `swift`.
        criterion: only pairs compared by this, for example `unit_truth`; empty: by the mean of all.
        prompt: what asks for a caption; `{language}` is its language's English name.
        name: of the dataset in `dataset_info.json`.
    """

    RATINGS = True

    def __init__(
        self,
        folder: Path,
        shard_size: int,
        *,
        tool: Literal["trl", "llamafactory", "swift"] = "trl",
        criterion: str = "",
        prompt: str = "Describe this picture in {language}.",
        name: str = "panoglot",
    ) -> None:
        self.folder, self.pictures, self.name = folder, PictureFiles(folder), name
        self.tool, self.criterion, self.prompt = tool, criterion, prompt
        self.file = "metadata.jsonl" if tool == "trl" else "preferences.jsonl"
        self.unused, self.criteria = Counter[str](), set[str]()
        self._rows = JsonLines(folder / self.file)

    def pairs(self, record: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """The pairs (better, worse) of captions of a record; what makes none is counted in `unused`."""
        captions = {c["caption_id"]: c for c in record["captions"] if c["kind"] in TOLD}
        values: dict[tuple[str, str], list[float]] = defaultdict(list)
        for one in record["ratings"]:
            self.criteria.add(one["criterion"])
            if self.criterion in ("", one["criterion"]):
                values[one["item"], one["against"]].append(one["value"])
        found = []
        for (item, other), said in values.items():
            value, first, second = sum(said) / len(said), captions.get(item), captions.get(other)
            if first is None or second is None:
                self.unused["with a caption that is not exported"] += 1
            elif first["lang"] != second["lang"]:
                self.unused["of two languages"] += 1
            elif value == 0.5:
                self.unused["held equal"] += 1
            else:
                found.append((first, second) if value > 0.5 else (second, first))
        return found

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str | None:
        """Write one picture and its pairs."""
        record["pairs"] = self.pairs(record)
        if not record["pairs"]:
            return "no_preference"
        image = self.pictures.add(record, data, suffix)
        for better, worse in record["pairs"]:
            self._rows.add(self._row(image, better, worse))
        return None

    def takes(self, record: dict[str, Any]) -> list[dict[str, Any]]:
        """The captions of a record that are written."""
        return list({c["caption_id"]: c for pair in record["pairs"] for c in pair}.values())

    def _row(self, image: str, better: dict[str, Any], worse: dict[str, Any]) -> dict[str, Any]:
        asked = asking(self.prompt, better["lang"])
        chosen, rejected = ({"role": "assistant", "content": plain(c["text"])} for c in (better, worse))
        if self.tool == "trl":  # it puts the picture before the question itself
            question = [{"role": "user", "content": plain(asked)}]
            return {"images_file_names": [image], "prompt": question, "chosen": [chosen], "rejected": [rejected]}
        question = [{"role": "user", "content": f"<image>\n{plain(asked)}"}]
        if self.tool == "swift":
            return {"messages": [*question, chosen], "rejected_response": rejected["content"], "images": [image]}
        return {"messages": question, "chosen": chosen, "rejected": rejected, "images": [image]}

    def close(self) -> dict[str, Any]:
        """Finish, with the file that LLaMA-Factory finds the dataset by."""
        self._rows.close()
        if self.tool == "llamafactory":
            how = {"file_name": self.file, "formatting": "sharegpt", "ranking": True}
            info = {self.name: {**how, "columns": _COLUMNS, "tags": MESSAGE_TAGS}}
            (self.folder / "dataset_info.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
        notes = [f"{self._rows.count:,} pairs of captions"]
        if self.criterion and self.criterion not in self.criteria:
            have = ", ".join(sorted(self.criteria)) or "none"
            notes.append(f"nothing was compared by '{self.criterion}'; there is: {have}")
        if self.unused:
            unused = ", ".join(f"{count:,} {why}" for why, count in sorted(self.unused.items()))
            notes.append(f"comparisons that made no pair: {unused}")
        return {"shards": {self.file: self._rows.count}, "notes": notes}
