"""Presets of our own; those of papers have a file each."""

from __future__ import annotations

from panoglot.curation._contract import Steps, preset

__all__ = ["default", "wit"]


@preset("default")
def default() -> Steps:
    """Careful: drops what nobody wants, and nothing that somebody might."""
    return (
        "size",
        "aspect",
        "many_texts",
        "near_duplicate",
        "boilerplate",
        "length",
        "language",
        "repetition",
        "common_text",
        "duplicate_text",
    )


@preset("wit")
def wit() -> Steps:
    """WIT (Srinivasan et al. 2021): the filters on images and texts."""
    return (
        ("size", {"min_side": 100, "max_pixels": None}),
        ("length", {"min_words": 1, "max_words": None, "min_characters": 3, "max_characters": None}),
        "boilerplate",
        ("language", {"mismatch": 0.9}),
        "duplicate_text",
    )
