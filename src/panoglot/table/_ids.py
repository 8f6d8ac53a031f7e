"""Deterministic identities: the same bytes, the same work, the same id, on every machine and in every run."""

from __future__ import annotations

import hashlib

from panoglot.geometry import Region
from panoglot.identity import hash_parts

__all__ = ["caption_id", "given_caption_id", "image_id", "reject_id", "vector_id"]


def image_id(data: bytes) -> str:
    """Return the first 32 hex digits of the SHA-256 of the encoded bytes.

    >>> image_id(b"")
    'e3b0c44298fc1c149afbf4c8996fb924'
    """
    return hashlib.sha256(data).hexdigest()[:32]


def _region_key(region: Region | None) -> str:
    return "" if region is None else region.key()


def caption_id(image: str, recipe_fingerprint: str, lang: str, region: Region | None, ordinal: int) -> str:
    """Return the id of the `ordinal`-th caption that a recipe makes of an image in a language and region."""
    return hash_parts("caption", image, recipe_fingerprint, lang, _region_key(region), str(ordinal))


def given_caption_id(image: str, recipe: str, lang: str, region: Region | None, text: str) -> str:
    """Return the id of a text that came with the image: equal texts are one row, however often they are ingested."""
    return hash_parts("given", image, recipe, lang, _region_key(region), text)


def vector_id(owner: str, encoder_fingerprint: str, ordinal: int = 0) -> str:
    """Return the id of the `ordinal`-th vector of an image or caption."""
    return hash_parts("vector", owner, encoder_fingerprint, str(ordinal))


def reject_id(item: str, stage: str) -> str:
    """Return the id of a failure: one row per item and stage, however often it fails."""
    return hash_parts("reject", item, stage)
