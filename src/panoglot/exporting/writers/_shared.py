"""What writers share: picture files, JSON arrays, the texts that are told, questions with their answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from panoglot.formats._picture_files import PictureFiles
from panoglot.formats._record import TOLD, name_of

__all__ = [
    "MESSAGE_TAGS",
    "Conversations",
    "JsonArray",
    "JsonLines",
    "Plain",
    "asking",
    "conversation",
    "one_line",
    "plain",
    "told",
]

#: How LLaMA-Factory is told who says what; one that is left out counts as none there.
MESSAGE_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


def one_line(text: str) -> str:
    """A text without line breaks.

    >>> one_line(" A disc\\n on waves ")
    'A disc on waves'
    """
    return " ".join(text.split())


def told(record: dict[str, Any], texts: str = "all") -> list[dict[str, Any]]:
    """The captions that say what is in the whole picture, the preferred one first; only that one for `texts="one"`."""
    found = [c for c in record["captions"] if c["dropped"] is None and c["kind"] in TOLD]
    text, lang = record["caption"], record["lang"]
    first = next((n for n, c in enumerate(found) if c["text"] == text and c["lang"] == lang), None)
    if texts == "one":
        return [] if first is None else [found[first]]
    return found if not first else [found[first], *found[:first], *found[first + 1 :]]


def conversation(record: dict[str, Any], prompt: str, texts: str) -> list[list[tuple[str, str]]]:
    """Make the conversations of a picture: of every caption one, and one of its questions with their answers.

    The mark `<image>` stands once, at the beginning: readers count it.

    Args:
        record: of an export.
        prompt: what asks for a caption; `{language}` is the language's English name.
        texts: `one` for the preferred caption alone, or `all`.

    Returns:
        Lists of (question, answer).
    """
    found = [[(asking(prompt, c["lang"]), c["text"])] for c in told(record, texts)]
    questions = {c["caption_id"]: c["text"] for c in record["captions"] if c["kind"] == "question"}
    turns = [
        (questions[parent], c["text"])
        for c in record["captions"]
        if c["kind"] == "answer" and c["dropped"] is None
        for parent in c["parents"][:1]
        if parent in questions
    ]
    found += [turns] if turns else []
    return [
        [(("<image>\n" if n == 0 else "") + plain(asked), plain(said)) for n, (asked, said) in enumerate(one)]
        for one in found
    ]


@lru_cache(1000)
def asking(prompt: str, lang: str) -> str:
    """What asks for a caption in a language: `{language}` becomes its English name.

    >>> asking("Say it in {language}.", "pt-BR")
    'Say it in Portuguese (BR).'
    """
    from panoglot.languages._tags import language_name

    return prompt.replace("{language}", language_name(lang))


def plain(text: str) -> str:
    """A text without marks of pictures of its own, which readers count."""
    for mark in ("image", "video", "audio") if "<" in text else ():
        text = text.replace(f"<{mark}>", f"< {mark} >")
    return text


class Plain:
    """A writer with room for plain texts alone: `takes` says which captions of a record it writes.

    Attributes:
        texts: `one` for the preferred caption alone, or `all`.
    """

    texts: str = "all"

    def takes(self, record: dict[str, Any]) -> list[dict[str, Any]]:
        """The captions of a record that are written."""
        return told(record, self.texts)


class Conversations(Plain):
    """A writer of conversations: questions and answers are written too.

    Args:
        folder: where pictures go.
        prompt: what asks for a caption; `{language}` is its language's English name.
        texts: `one` for the preferred caption alone, or `all`.
    """

    def __init__(self, folder: Path, prompt: str, texts: str) -> None:
        self.pictures, self.prompt, self.texts = PictureFiles(folder), prompt, texts
        self._langs: set[str] = set()

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str | None:
        """Write one picture and its conversations."""
        found = conversation(record, self.prompt, self.texts)
        if not found:
            return "no_caption"
        image = self.pictures.add(record, data, suffix)
        for n, turns in enumerate(found):
            self.write(f"{name_of(record)}-{n}", image, turns)
        return None

    def write(self, name: str, image: str, turns: Sequence[tuple[str, str]]) -> None:
        """Write one conversation.

        Args:
            name: of the picture, and the number of the conversation.
            image: path of the picture's file below the folder.
            turns: (question, answer), in order.
        """
        raise NotImplementedError

    def prompts(self) -> set[str]:
        """What captions were asked for with."""
        return {plain(asking(self.prompt, lang)) for lang in self._langs}

    def takes(self, record: dict[str, Any]) -> list[dict[str, Any]]:
        """The captions of a record that are written."""
        turns = [c for c in record["captions"] if c["kind"] in ("question", "answer") and c["dropped"] is None]
        told = super().takes(record)
        self._langs.update(c["lang"] for c in told)
        return [*told, *turns]


class JsonArray:
    """A JSON array in a file, a row a line, written as it comes; in ASCII: some read it in their locale's encoding."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._file = open(path, "w", encoding="ascii")  # noqa: SIM115
        self._file.write("[")

    def add(self, row: Any) -> None:
        """Write one row."""
        self._file.write(("," if self.count else "") + "\n" + json.dumps(row))
        self.count += 1

    def close(self) -> None:
        """Finish."""
        self._file.write("\n]\n")
        self._file.close()


class JsonLines:
    """A JSON object a line, in UTF-8, written as it comes."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._file, self._encode = open(path, "wb"), msgspec.json.Encoder().encode  # noqa: SIM115

    def add(self, row: Any) -> None:
        """Write one row."""
        self._file.write(self._encode(row) + b"\n")
        self.count += 1

    def close(self) -> None:
        """Finish."""
        self._file.close()
