"""Described regions beside a caption (GRAIN)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from panoglot.errors import UserError
from panoglot.networks._records import Record, RegionText
from panoglot.networks.samplers._sample import Sample
from panoglot.networks.samplers.texts import Coin

__all__ = ["EachRegion", "Regions"]


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

    def lacks(self, records: Iterable[Record]) -> str:
        """Return which side of the coin no record has; see `Coin.lacks`."""
        return Coin(self.p).lacks(records)

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Choose; equal scores keep the record's order."""
        clean = [replace(x, text=x.text.lstrip(".,!?-* ").strip()) for x in record.regions]
        real = [x for x in clean if x.text and x.score >= self.min_score and x.centred() is not None]
        best = sorted(real, key=lambda x: -x.score)[: self.r]
        return replace(Coin(self.p)(record, seed, epoch), regions=tuple(best))


@dataclass(frozen=True)
class EachRegion:
    """Every described region is an item: a writer is asked about it, and writes its description (FlexCap, FINECAPTION).

    What is asked stands before the description: `{words}` is its number of words, `{aspect}` what it is about.

    Attributes:
        prompt: of an item.
        most: greatest number of words that has a token of its own; longer ones are told as this many.
        min_score: a detector's score below this is left out.

    Source: FlexCap arXiv 2403.12026 (a token for the length), FINECAPTION arXiv 2411.15411 (an aspect).
    """

    prompt: str = ""
    most: int = 8
    min_score: float = 0.0

    def __post_init__(self) -> None:
        try:
            self.prompt.format(words=1, aspect="")
        except (KeyError, IndexError, ValueError):
            raise UserError(f"each_region: prompt={self.prompt!r} may have {{words}} and {{aspect}} only.") from None

    def _regions(self, record: Record) -> list[RegionText]:
        real = (x for x in record.regions if x.text.strip() and x.score >= self.min_score)
        return [x for x in real if x.box3 is not None or x.centred() is not None]

    def items(self, record: Record) -> int:
        """As many as there are described regions."""
        return len(self._regions(record))

    def given(self, task: str, text: str, lang: str) -> tuple[str, str]:
        """Return the prompt for a number of words or an aspect, which `text` is."""
        return self.prompt.format(words=text, aspect=text), ""

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return the item-th region and what is asked about it."""
        region = self._regions(record)[item]
        words = min(self.most, len(region.text.split()))
        given = self.prompt.format(words=words, aspect=region.aspect)
        return Sample(prefix=given, target=region.text, asked=(region,), regions=(region,), task="region")
