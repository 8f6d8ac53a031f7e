"""Texts that come with pictures: decoding, languages, and the many shapes of JSON and of column names."""

from __future__ import annotations

import codecs
import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.formats._checked import check_json
from panoglot.formats._names import Role, bare_language, doubtful_role, is_running_text, pair_role, text_role
from panoglot.languages._tags import UNKNOWN_LANGUAGE, canonical_language, parse_language
from panoglot.table import KINDS, Caption

__all__ = [
    "LANG_NAMES",
    "Given",
    "clean_context",
    "decode",
    "from_json",
    "from_text",
    "given",
    "is_talk",
    "key_roles",
    "load_json",
    "without_marks",
]

_TUXPAINT = re.compile(r"([A-Za-z]{2,3}(?:[_-][A-Za-z0-9]+)*(?:@[A-Za-z]+)?)\.utf-?8=(.*)", re.IGNORECASE)
#: Where a picture stands in a question.
_IMAGE_TOKEN = re.compile(
    r"<\s*/?\s*(?:image|img|image_\d+|picture|video)\s*>|<\|(?:image|image_pad|image_\d+|vision_\w+)\|>", re.IGNORECASE
)
LANG_NAMES = ("lang", "language", "lang_code", "language_code", "locale")


def without_marks(text: str) -> str:
    """A turn of a conversation without the marks of where its picture stands."""
    return _IMAGE_TOKEN.sub("", text).strip()


@dataclass(frozen=True, slots=True)
class Given:
    """What is known of texts before they are read.

    Attributes:
        lang: their language, or None when each says its own or nobody knows.
        kind: `human` or `alt`.
        recipe: `human` or `web`.
        fixed: the user said the kind; what the file suggests does not change it.
    """

    lang: str | None = None
    kind: str = "human"
    recipe: str = "human"
    fixed: bool = False

    def caption(self, text: str, lang: str | None = None) -> Caption:
        """Return the caption of one text; a language that is no tag counts as unknown."""
        if self.kind in ("question", "answer"):
            text = without_marks(text)
        lang = parse_language(lang or self.lang) or UNKNOWN_LANGUAGE
        return Caption(text, lang=lang, kind=self.kind, recipe=self.recipe)

    def web(self, is_web: bool = True) -> Given:
        """The same for texts from the web: alt texts, unless the user said otherwise."""
        return replace(self, kind="alt", recipe="web") if is_web and not self.fixed else self

    def of(self, role: Role) -> Given:
        """The same for texts whose column, key or file name says what they are."""
        known = self.said(role.lang).web(role.alt)
        return replace(known, kind=role.kind) if role.kind and not self.fixed else known

    def said(self, lang: str | None) -> Given:
        """The same for texts whose language the file names."""
        return replace(self, lang=lang) if lang and parse_language(lang) else self


def given(lang: str | None, kind: str | None, *, web: bool = False) -> Given:
    """Check what a user said about all texts of a source.

    Raises:
        UserError: no language tag, or no kind of caption.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"'{kind}' is not a kind of caption; use one of {', '.join(KINDS)}.")
    if lang is not None:
        lang = canonical_language(lang)
    fixed = Given(lang, kind or "human", "web" if kind == "alt" else "human", kind is not None)
    return fixed.web(web)


def decode(raw: bytes) -> str:
    """Decode UTF-8 (with or without a byte order mark), or UTF-16 and UTF-32 with one.

    Raises:
        RowError: `bad_encoding`.

    >>> decode("\\ufeffقطة".encode("utf-16-le")), decode("قطة".encode())
    ('قطة', 'قطة')
    """
    marks = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16"}
    marks[codecs.BOM_UTF16_BE] = "utf-16"
    encoding = next((name for mark, name in marks.items() if raw.startswith(mark)), "utf-8-sig")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        what, rest = encoding.upper().removesuffix("-SIG"), raw[error.start : error.start + 8]
        message = f"not {what} at byte {error.start}: {rest!r}; save it as UTF-8 (iconv -f ITS_ENCODING -t UTF-8)"
        raise RowError("bad_encoding", message) from None


def load_json(raw: bytes | str) -> Any:
    """Parse JSON.

    Raises:
        RowError: `bad_encoding` or `bad_json`.
    """
    try:
        text = decode(raw) if isinstance(raw, bytes) else raw
        check_json(text)
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError("bad_json", str(error)) from None


def from_text(text: str, texts: Given, *, whole: bool = False) -> list[Caption]:
    """Read a text file: a caption a line (or the `whole` is one); or the tuxpaint form, English and `xx.utf8=…` lines.

    >>> [(c.lang, c.text) for c in from_text("A cat.\\npt_BR.utf8=Um gato.\\n", Given())]
    [('en', 'A cat.'), ('pt-BR', 'Um gato.')]
    >>> [(c.lang, c.text) for c in from_text("A cat.\\n\\nOn a mat.\\n", Given())]
    [('und', 'A cat.'), ('und', 'On a mat.')]
    """
    lines = [line.strip() for line in text.splitlines()]
    marks = [_TUXPAINT.fullmatch(line) for line in lines]
    first = next((n for n, mark in enumerate(marks) if mark), None)
    if whole and first is None:
        return [texts.caption(text.strip())] if text.strip() else []
    found = []
    for n, (line, mark) in enumerate(zip(lines, marks, strict=True)):
        if mark:
            found.append(texts.caption(mark[2].strip(), parse_language(mark[1]) or UNKNOWN_LANGUAGE))
        else:
            found.append(texts.caption(line, "en" if first is not None and n < first else None))
    return [caption for caption in found if caption.text]


def from_json(value: Any, texts: Given, *, depth: int = 0) -> tuple[list[Caption], dict[str, Any]]:
    """Find the captions in a JSON value of any of the usual shapes; what else is in it is context.

    A string; a list; `{"caption" | "captions" | "text" | "alt" | "caption_de" | …: …}` with or without `lang`;
    `{"en": "…", "de": ["…", "…"]}`; a conversation as LLaVA or chat models have it, whose turns are questions and
    answers; questions with their answers.

    >>> captions, context = from_json({"caption": "Ein Hund", "lang": "de", "width": 9}, Given())
    >>> [(c.lang, c.text) for c in captions], context
    ([('de', 'Ein Hund')], {'width': 9})
    >>> captions, context = from_json({"caption": {"de": "Ein Hund", "klingonisch": "targh"}}, Given())
    >>> [(c.lang, c.text) for c in captions], context
    ([('de', 'Ein Hund')], {'caption': {'klingonisch': 'targh'}})
    >>> talk = [{"from": "human", "value": "<image>\\nWhat is it?"}, {"from": "gpt", "value": "A dog."}]
    >>> [(c.kind, c.text) for c in from_json({"conversations": talk}, Given())[0]]
    [('question', 'What is it?'), ('answer', 'A dog.')]
    """
    if isinstance(value, str):
        return ([texts.caption(value)] if value.strip() else []), {}
    if depth > 4:
        return [], {}
    if is_talk(value):
        return _turns(value, texts), {}
    if isinstance(value, list):
        inner = [from_json(item, texts, depth=depth + 1)[0] for item in value if isinstance(item, str | list | dict)]
        return [caption for captions in inner for caption in captions], {}
    if not isinstance(value, dict):
        return [], {}
    if _by_language(value):
        return [c for k, v in value.items() for c in _in_language(v, parse_language(k), texts, depth)], {}
    said = next((value[k] for k in value if str(k).lower() in LANG_NAMES and isinstance(value[k], str)), None)
    roles = key_roles(value)
    captions, rest = [], {}
    for key, item in value.items():
        role = roles.get(key)
        if role is None or not isinstance(item, str | list | dict):
            if str(key).lower() not in LANG_NAMES and item is not None:
                rest[key] = item
            continue
        told, other = from_json(item, texts.said(said).of(role), depth=depth + 1)
        captions += told
        if other:  # beside the texts of a key, such as one of a language that nobody knows
            rest[key] = other
    return captions, rest


def key_roles(row: dict[str, Any]) -> dict[str, Role]:
    """Say which keys of an object hold captions: by their names, and where these leave doubt by what they hold.

    >>> sorted(key_roles({"caption_de": "Ein Hund", "caption_id": "seekor anjing", "clip_score": 0.3}))
    ['caption_de', 'caption_id']
    >>> sorted(key_roles({"caption_de": "Ein Hund", "caption_id": "83a1", "en": "A dog on a mat", "size": "4 MB"}))
    ['caption_de', 'en']
    """
    found: dict[str, Role] = {}
    for name, value in row.items():
        if not isinstance(name, str):
            continue
        role = text_role(name) or pair_role(name, (key for key in row if isinstance(key, str)))
        if role is None and is_talk(value):
            role = Role()
        if role is None and isinstance(value, str) and (doubt := doubtful_role(name) or _named_by_language(name)):
            role = doubt if is_running_text([value]) else None
        if role is not None:
            found[name] = role
    return found


def _named_by_language(name: str) -> Role | None:
    lang = bare_language(name)
    return Role(lang) if lang else None


_ASKS = ("human", "user", "question", "observation")
_ANSWERS = ("gpt", "assistant", "bot", "model", "chatgpt", "answer")


def is_talk(value: Any) -> bool:
    """Say whether a value is a conversation: a list of turns with who speaks and what is said."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) for turn in value)
        and (("from" in value[0] and "value" in value[0]) or ("role" in value[0] and "content" in value[0]))
    )


def _turns(turns: list[dict[str, Any]], texts: Given) -> list[Caption]:
    """A person's turns are questions, a model's are answers to the one before; what the system is told is no text."""
    found: list[Caption] = []
    asked: Caption | None = None
    for turn in turns:
        who = str(turn.get("from") or turn.get("role") or "").lower()
        said = turn.get("value") if "value" in turn else turn.get("content")
        if isinstance(said, list):  # parts of a message
            said = "\n".join(
                part["text"] for part in said if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        if not isinstance(said, str) or who not in _ASKS + _ANSWERS:
            continue
        caption = texts.of(Role(kind="question" if who in _ASKS else "answer")).caption(said)
        if not caption.text:
            continue
        if who in _ASKS:
            asked = caption
        elif asked is not None:
            caption.parents = (asked,)
        found.append(caption)
    return found


def _by_language(value: dict[Any, Any]) -> bool:
    """Say whether all keys are languages: `{"en": …, "id": …}` they are, `{"raw": …}` and `{"id": …}` alone are not."""
    if not all(isinstance(k, str) and parse_language(k) and isinstance(v, str | list) for k, v in value.items()):
        return False
    sure = sum(key.lower() != "id" and bare_language(key) is not None for key in value)
    return bool(sure > 0 and 2 * (sure + ("id" in value)) > len(value))


def _in_language(value: Any, lang: str | None, texts: Given, depth: int) -> list[Caption]:
    return from_json(value, texts.said(lang), depth=depth + 1)[0]


def clean_context(values: dict[str, Any], *, most: int = 65_536) -> dict[str, Any]:
    """Keep what JSON can hold and is of sensible size: numbers, short texts, nested a few levels; drop the rest."""
    kept: dict[str, Any] = {}
    room = 4 * most
    for key, value in values.items():
        plain = _plain(value, most)
        if plain is None or not isinstance(key, str):
            continue
        room -= len(json.dumps([key, plain], ensure_ascii=False))
        if room < 0:
            break
        kept[key.encode("utf-8", "replace").decode()] = plain
    return kept


def _plain(value: Any, most: int, depth: int = 0) -> Any:
    if isinstance(value, bool | int):
        return value if abs(value) < 2**63 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if 0 < len(value) <= most else None
    if depth < 4 and isinstance(value, list | tuple) and len(value) <= 10_000:
        return [_plain(item, most, depth + 1) for item in value] or None
    if depth < 4 and isinstance(value, dict) and len(value) <= 10_000:
        pairs = ((str(key), _plain(item, most, depth + 1)) for key, item in value.items())
        return {key.encode("utf-8", "replace").decode(): item for key, item in pairs if item is not None} or None
    return value.isoformat() if hasattr(value, "isoformat") else None
