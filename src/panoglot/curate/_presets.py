"""Lists of steps that have a name."""

from __future__ import annotations

from typing import Any

__all__ = ["PRESETS"]

Steps = tuple[tuple[str, dict[str, Any]], ...]

PRESETS: dict[str, Steps] = {
    # careful: what nobody wants, and nothing that somebody might
    "default": (
        ("size", {}),
        ("aspect", {}),
        ("many_texts", {}),
        ("near_duplicate", {}),
        ("boilerplate", {}),
        ("length", {}),
        ("language", {}),
        ("repetition", {}),
        ("common_text", {}),
        ("duplicate_text", {}),
    ),
    # ALIGN (Jia et al. 2021), section 3, without its adult-content and rare-word rules
    "align": (
        ("size", {"min_side": 201, "max_pixels": None}),
        ("aspect", {"below": 3}),
        ("many_texts", {"maximum": 1000}),
        ("common_text", {"max_images": 10}),
        ("length", {"min_words": 3, "max_words": 20, "min_characters": 6, "max_characters": 60}),
    ),
    # WIT (Srinivasan et al. 2021), the filters on images and texts
    "wit": (
        ("size", {"min_side": 100, "max_pixels": None}),
        ("length", {"min_words": 1, "max_words": None, "min_characters": 3, "max_characters": None}),
        ("boilerplate", {}),
        ("language", {"mismatch": 0.9}),
        ("duplicate_text", {}),
    ),
}
