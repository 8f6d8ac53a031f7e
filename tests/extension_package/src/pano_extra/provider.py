"""A provider: `extra:counter?least=N` is a model of the role `counter`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from panoglot import Image, UserError
from panoglot.providers import ModelInfo, Options


class PixelCounter:
    """Counts a thing for every so many pixels of the picture's width."""

    batch_size = 4

    def __init__(self, least: int = 0) -> None:
        self.name, self.fingerprint = "extra:counter@1", f"extra-counter-1-{least}"
        self._least = least

    def tally(self, images: Sequence[Image]) -> list[int]:
        """Count."""
        return [max(self._least, image.width // 100) for image in images]


def load(name: str, options: Options) -> Any:
    """Load a model by its name."""
    if name != "counter":
        raise UserError(f"'extra:{name}': there is extra:counter alone.")
    return PixelCounter(least=options.take("least", int, 0))


def catalog() -> list[ModelInfo]:
    """What `panoglot models` lists."""
    return [ModelInfo("extra:counter", ("counter",), "counts by the width of a picture")]
