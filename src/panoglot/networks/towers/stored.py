"""Features that are stored: towers with nothing to compute."""

from __future__ import annotations

from torch import nn

__all__ = ["Stored"]


class Stored(nn.Module):
    """Features that are stored: nothing to compute.

    Args:
        width: of a vector.
        encoder: the model that makes them, `provider:name`; the trained model asks it for new pictures and texts.
        fingerprint: of that model.
    """

    gives = ("vector",)

    def __init__(self, width: int, encoder: str = "", fingerprint: str = "") -> None:
        super().__init__()
        self.width, self.encoder, self.fingerprint = width, encoder, fingerprint
