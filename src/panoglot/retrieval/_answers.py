"""The JSON of a planner's answer, whatever surrounds it and however it is broken; phrases of it as clean lists."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from typing import Any

from panoglot.text import same_text
from panoglot.text._answers import read_answer, read_json_answer

__all__ = ["after_prefix", "phrases", "read_object", "said_yes"]

_FENCED = re.compile(r"```(?:json)?\s*(\{.*?\})\s*```", re.S)


def read_object(raw: str) -> dict[str, Any]:
    """Read the first JSON object in an answer; keys in small letters with underscores; empty where there is none.

    >>> read_object('Sure! {"Existent Objects": ["a dog",], }')
    {'existent_objects': ['a dog']}
    >>> read_object("{'a': 'x'}"), read_object("no")
    ({'a': 'x'}, {})
    """
    texts = [read_json_answer(raw).text or raw, raw]
    for text in texts:
        fenced = _FENCED.search(text)
        for part in (fenced.group(1) if fenced else "", _braces(text)):
            found = _loaded(part)
            if isinstance(found, dict):
                return {re.sub(r"[^a-z0-9]+", "_", str(key).lower()).strip("_"): value for key, value in found.items()}
    return {}


def _braces(text: str) -> str:
    """From the first brace to the one that closes it, or to the end with what is missing."""
    start = text.find("{")
    if start < 0:
        return ""
    depth: list[str] = []
    quoted = escaped = False
    for at, char in enumerate(text[start:], start):
        if quoted:
            escaped, quoted = (not escaped and char == "\\"), not (char == '"' and not escaped)
        elif char == '"':
            quoted = True
        elif char in "{[":
            depth.append("}" if char == "{" else "]")
        elif char in "}]" and depth:
            depth.pop()
            if not depth:
                return text[start : at + 1]
    return text[start:] + ('"' if quoted else "") + "".join(reversed(depth))


def _loaded(text: str) -> Any:
    if not text or len(text) > 100_000:
        return None
    plain = re.sub(r",(\s*[}\]])", r"\1", text.replace("“", '"').replace("”", '"'))
    for one in (text, plain):
        try:
            return json.loads(one, strict=False)
        except (ValueError, RecursionError):
            continue
    try:
        words = re.sub(r"\b(true|false|null)\b", lambda m: {"true": "True", "false": "False"}.get(m[0], "None"), plain)
        return ast.literal_eval(words)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def phrases(value: Any, most: int = 5) -> list[str]:
    """Phrases of a list, or of a text that stands for one: trimmed, none twice, at most so many.

    >>> phrases(["a dog ", "A dog", "", 3]), phrases("1. a dog\\n2. a cat"), phrases("a dog, a cat"), phrases("none")
    (['a dog', '3'], ['a dog', 'a cat'], ['a dog', 'a cat'], [])
    """
    if isinstance(value, str):
        value = re.split(r"\n|;" if re.search(r"\n|;", value) else r",", value)
    if not isinstance(value, Iterable) or isinstance(value, dict):
        return []
    found: dict[str, str] = {}
    for one in value:
        if isinstance(one, dict | list):
            continue
        text = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s*", "", str(one)).strip(" \t\"'.")
        if text and same_text(text) not in ("none", "nothing", "n/a"):
            found.setdefault(same_text(text), text)
    return list(found.values())[:most]


def after_prefix(raw: str, prefix: str) -> str:
    """Text after the first line that begins with a prefix, whatever its case and quotes; empty where there is none.

    A colon inside the text is part of it (the published parser of CIReVL cuts there).

    >>> after_prefix("Sure.\\n**edited description**: a sign: open", "Edited Description:")
    'a sign: open'
    """
    wanted = prefix.rstrip(":： ").casefold()
    for line in (read_answer(raw).text or raw).splitlines():
        bare = line.strip().lstrip("*_#>-\"'“”‘’ ")
        if bare.casefold().startswith(wanted):
            rest = bare[len(wanted) :].lstrip("*_\"'“”‘’ ")
            if rest[:1] in (":", "："):
                return rest[1:].strip(' *_"“”')
    return ""


def said_yes(raw: str) -> bool:
    """Whether an answer says yes, as a word: "eyes" and "yesterday" do not.

    >>> [said_yes(text) for text in ("Yes.", "ANSWER: yes", "No, its eyes are shut", "yesterday")]
    [True, True, False, False]
    """
    found = re.search(r"\b(yes|no|true|false)\b", raw.casefold())
    return bool(found) and found.group(1) in ("yes", "true")  # type: ignore[union-attr]
