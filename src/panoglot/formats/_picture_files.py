"""Pictures of an export as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from panoglot.formats._record import name_of

__all__ = ["PictureFiles"]


class PictureFiles:
    """Writes pictures below `images/`, in folders by the first digits of their ids.

    Args:
        folder: of the export.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._made = folder, set[str]()

    def add(self, record: dict[str, Any], data: bytes, suffix: str) -> str:
        """Write one and return its path below the folder, with slashes."""
        part = f"images/{record['image_id'][:2]}"
        if part not in self._made:
            (self._folder / part).mkdir(parents=True, exist_ok=True)
            self._made.add(part)
        name = f"{part}/{name_of(record)}{suffix}"
        with open(f"{self._folder}/{name}", "wb") as file:
            file.write(data)
        return name
