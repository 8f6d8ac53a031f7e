"""The rows that methods exchange: captions, regions, rejects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["KINDS", "Caption", "Region", "Reject"]

#: What a caption may be (`kind`).
KINDS = ("alt", "human", "short", "dense", "region", "question", "answer", "ocr", "label", "fact")


@dataclass(frozen=True, slots=True)
class Region:
    """A box in the picture, in 0..1 of its upright width and height, with an optional run-length mask.

    Attributes:
        x0: left edge.
        y0: top edge.
        x1: right edge.
        y1: bottom edge.
        mask: COCO compressed run-length string over the upright picture, or None.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    mask: str | None = None


@dataclass(slots=True, eq=False)
class Caption:
    """One text about an image, with its language and provenance.

    A method returns captions with `text`, `lang`, `kind`, `model`, `parents`, `scores`; the runner fills in the rest.
    `parents` may hold captions that are not stored yet (drafts): they are stored too, with `dropped="draft"` unless the
    method set another reason or returned them as well.

    Attributes:
        text: the text, NFC, never empty when stored.
        lang: canonical BCP-47 tag; `und` when nobody knows.
        kind: one of `KINDS`.
        model: the model that wrote it, with its version; empty for what was given.
        parents: the captions (or ids) it was made from.
        region: the part of the picture it speaks of, or None for all of it.
        scores: named scores; None is "could not be computed", never 0.
        dropped: None is kept; else the reason in snake_case.
        recipe: the method that made it, with its version; `human` or `web` for what was given.
    """

    text: str
    lang: str = "und"
    kind: str = "short"
    model: str = ""
    parents: Sequence[Caption | str] = ()
    region: Region | None = None
    scores: dict[str, float | None] = field(default_factory=dict)
    dropped: str | None = None
    recipe: str = ""
    image_id: str = ""
    caption_id: str = ""
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that failed.

    Attributes:
        item: image id, caption id or uri: what `panoglot retry` takes up again.
        stage: the stage that failed.
        reason: snake_case, from a small set per stage.
        message: one line for a person.
    """

    item: str
    stage: str
    reason: str
    message: str = ""
