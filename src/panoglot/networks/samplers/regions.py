"""Described regions beside a caption (GRAIN)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from panoglot.networks._records import Record
from panoglot.networks.samplers._sample import Sample
from panoglot.networks.samplers.texts import Coin

__all__ = ["Regions"]


@dataclass(frozen=True)
class Regions:
    """A caption by the toss of a coin, and the `r` best-scored descriptions whose box is real.

    Boxes are clipped to the frame, degenerate ones dropped; list marks before a description are stripped.

    Attributes:
        r: most regions.
        p: the coin's probability of the raw caption.
        min_score: a detector's score below this is left out.
    """

    r: int = 5
    p: float = 0.5
    min_score: float = 0.0

    def items(self, record: Record) -> int:
        """1 when there is any text: an image without regions still teaches its caption."""
        return Coin(self.p).items(record)

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Choose; equal scores keep the record's order."""
        clean = [replace(x, text=x.text.lstrip(".,!?-* ").strip()) for x in record.regions]
        real = [x for x in clean if x.text and x.score >= self.min_score and x.centred() is not None]
        best = sorted(real, key=lambda x: -x.score)[: self.r]
        return replace(Coin(self.p)(record, seed, epoch), regions=tuple(best))
