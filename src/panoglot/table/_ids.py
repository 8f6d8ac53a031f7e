"""Deterministic identities: the same bytes, the same work, the same id, on every machine and in every run."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import asdict, is_dataclass
from typing import Any

from panoglot.geometry import Region

__all__ = ["caption_id", "fingerprint", "given_caption_id", "image_id", "normal_text", "reject_id", "vector_id"]


def image_id(data: bytes) -> str:
    """Return the first 32 hex digits of the SHA-256 of the encoded bytes.

    >>> image_id(b"")
    'e3b0c44298fc1c149afbf4c8996fb924'
    """
    return hashlib.sha256(data).hexdigest()[:32]


def fingerprint(value: Any) -> str:
    """Return 16 hex digits that change with any part of `value` (JSON-like, dataclasses allowed), not with key order.

    >>> fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    True
    """

    def plain(x: Any) -> Any:
        if is_dataclass(x) and not isinstance(x, type):
            return asdict(x)
        if isinstance(x, set | frozenset):
            return sorted(x)
        return str(x)

    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hash(*parts: str) -> str:
    # a length before every part: ("ab", "c") and ("a", "bc") differ
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:32]


def _region_key(region: Region | None) -> str:
    return "" if region is None else region.key()


def caption_id(image: str, recipe_fingerprint: str, lang: str, region: Region | None, ordinal: int) -> str:
    """Return the id of the `ordinal`-th caption that a recipe makes of an image in a language and region."""
    return _hash("caption", image, recipe_fingerprint, lang, _region_key(region), str(ordinal))


def given_caption_id(image: str, recipe: str, lang: str, region: Region | None, text: str) -> str:
    """Return the id of a text that came with the image: equal texts are one row, however often they are ingested."""
    return _hash("given", image, recipe, lang, _region_key(region), text)


def vector_id(owner: str, encoder_fingerprint: str, ordinal: int = 0) -> str:
    """Return the id of the `ordinal`-th vector of an image or caption."""
    return _hash("vector", owner, encoder_fingerprint, str(ordinal))


def reject_id(item: str, stage: str) -> str:
    """Return the id of a failure: one row per item and stage, however often it fails."""
    return _hash("reject", item, stage)


def normal_text(text: str) -> str:
    """Return `text` as it is stored: NFC, no control characters but newline and tab, no lone surrogates, trimmed.

    >>> normal_text("  Cafe\\u0301\\x00 ")
    'Café'
    """
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs")).strip()
