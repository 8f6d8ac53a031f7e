"""Documents with turns, composed queries, and pictures without a text."""

from __future__ import annotations

from dataclasses import dataclass

from panoglot.errors import UserError
from panoglot.networks._records import Record
from panoglot.networks.samplers._draw import Draw
from panoglot.networks.samplers._sample import Sample

__all__ = ["Composed", "Pictures", "Turns"]


@dataclass(frozen=True)
class Turns:
    """A document as it stands: texts and any number of pictures in order; the turns that are learnt are written.

    Attributes:
        pictures: most pictures of a sample; a document with more is not taken.
        mark: stands before every picture, `{n}` is its number from 1.

    Source: LEOPARD arXiv 2410.01744 (`image k:` before the tokens of picture k).
    """

    takes = ("document",)

    pictures: int = 8
    mark: str = ""

    def __post_init__(self) -> None:
        try:
            self.mark.format(n=1)
        except (KeyError, IndexError, ValueError):
            raise UserError(f"turns: mark={self.mark!r} may have {{n}} only.") from None

    def items(self, record: Record) -> int:
        """1 when something is learnt, and its pictures are not too many."""
        shown = sum(turn.picture is not None for turn in record.turns)
        return int(any(t.learn and t.text.strip() for t in record.turns) and shown <= self.pictures)

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return its pieces; the regions that are asked about are those of its pictures."""
        pieces: list[tuple[str | int, bool]] = []
        shown = 0
        for turn in record.turns:
            if turn.picture is not None:
                shown += 1
                if self.mark:
                    pieces.append((self.mark.format(n=shown), False))
                pieces.append((turn.picture, False))
            if turn.text:
                pieces.append((turn.text, turn.learn))
        asked = tuple(turn.region for turn in record.turns if turn.region is not None)
        return Sample(pieces=tuple(pieces), asked=asked, task="document")


@dataclass(frozen=True)
class Composed:
    """A picture and a change as the query; a picture that answers it, and `negatives` that do not (composed retrieval).

    In a record the picture is its own, the change its text of kind `question`, the first of its pictures the answer.

    Attributes:
        negatives: further pictures a step.
        joined: texts that are joined into one change, drawn anew every epoch.

    Source: CoLLM arXiv 2503.19910 (1..n of the texts of a pair, joined).
    """

    takes = ("triple",)

    negatives: int = 0
    joined: int = 1

    def items(self, record: Record) -> int:
        """1 when there are a change and a picture that answers it."""
        return int(bool(record.pictures) and any(t.kind == "question" for t in record.texts))

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Draw the texts and the negatives."""
        draw = Draw(seed, epoch, record.id, "composed")
        changes = [t for t in record.texts if t.kind == "question"]
        drawn = draw.sample(changes, min(len(changes), 1 + draw.below(self.joined)))
        text = drawn[0]
        if len(drawn) > 1:
            text = type(text)(" ".join(t.text for t in drawn), text.kind, text.lang, text.source)
        worse = list(range(1, len(record.pictures)))
        others = (0, *draw.sample(worse, min(self.negatives, len(worse))))
        return Sample([text], others=others, lang=text.lang, task="composed")


@dataclass(frozen=True)
class Pictures:
    """Pictures without a text: for losses that need none."""

    takes = ("picture", "caption")

    def items(self, record: Record) -> int:
        """1 when there is a picture, or an asset."""
        return int(record.image is not None or record.asset is not None or "image" in record.vectors)

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return an item without texts, with all regions that are described."""
        return Sample(regions=tuple(record.regions))
