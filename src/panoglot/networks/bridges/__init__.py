"""Bridges: modules between the tokens of a picture and the language model, which may read the prompt and the regions.

A row names them in order: `bridges: {box: {kind: box_token}}`. Adding one = a file, an import, a line in `BRIDGES`.
"""

from collections.abc import Callable
from typing import Any

from panoglot.networks.bridges._base import Asked, Bridge
from panoglot.networks.bridges._box_token import BoxToken
from panoglot.networks.bridges._experts import Experts

BRIDGES: dict[str, Callable[..., Any]] = {"box_token": BoxToken, "experts": Experts}

__all__ = ["BRIDGES", "Asked", "BoxToken", "Bridge", "Experts"]
