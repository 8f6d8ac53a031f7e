"""The rows that methods and readers exchange: captions, documents, triples, ratings, facts, rejects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from panoglot.geometry import Region
from panoglot.table._ids import reject_id

__all__ = [
    "GIVEN_KINDS",
    "KEPT_CAPTION",
    "KINDS",
    "MEASURED",
    "MISTOLD",
    "NO_FACT",
    "Caption",
    "Document",
    "DocumentPart",
    "Fact",
    "Rating",
    "Reject",
    "Triple",
    "is_translation",
    "machine_kind",
]

#: What a caption may be (`kind`).
KINDS = ("alt", "human", "short", "dense", "region", "question", "answer", "ocr", "label", "fact")
#: What is counted as captions, everywhere, as SQL on `captions`: what was measured (kind `fact`) is none.
NO_FACT = "kind <> 'fact'"
KEPT_CAPTION = f"dropped is null and {NO_FACT}"
#: Measurements that are kept, which are named beside the captions.
MEASURED = "dropped is null and kind = 'fact'"
#: Kinds that say who wrote a text, a person or a page: what a machine makes of one is of another kind.
GIVEN_KINDS = ("human", "alt")


def machine_kind(kind: str) -> str:
    """Return the kind of what a machine makes of a text: `short` for what people and pages wrote, else the same.

    >>> machine_kind("human"), machine_kind("dense")
    ('short', 'dense')
    """
    return "short" if kind in GIVEN_KINDS else kind


def is_translation(recipe: str | None) -> bool:
    """Say whether a caption of this recipe is a machine's translation.

    >>> is_translation("translate/1"), is_translation("human")
    (True, False)
    """
    return (recipe or "").startswith("translate/")


#: Filter on captions: translations that older versions stored under the kind of what they translate.
MISTOLD = f"recipe like 'translate/%' and kind in {GIVEN_KINDS}"


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
        author: who wrote it, where that is known.
        licence: under which terms it may be used, where that is known.
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
    author: str = ""
    licence: str = ""


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

    def plain(self) -> dict[str, str]:
        """Return the row of the table `rejects`, but for its run."""
        row = {"item": self.item, "stage": self.stage, "reason": self.reason, "message": self.message[:2000]}
        return {"reject_id": reject_id(self.item, self.stage), **row}


@dataclass(frozen=True, slots=True)
class DocumentPart:
    """A part of a document: a text, or a picture or a place in one.

    Attributes:
        text: the text, or empty.
        image_id: the picture, or empty.
        region: which part of the picture is meant, or None for all of it.
        turn: number of the turn that it belongs to, from 0; parts of one turn stand in order.
        role: who speaks in this turn: `user`, `assistant`, `system`; empty in a document that nobody speaks.
        learn: a model is trained to write this part.
    """

    text: str = ""
    image_id: str = ""
    region: Region | None = None
    turn: int = 0
    role: str = ""
    learn: bool = False


@dataclass(slots=True, eq=False)
class Document:
    """Ordered parts over any number of pictures: an interleaved page, a conversation, an instruction with its answer.

    >>> page = Document((DocumentPart("Zwei Vögel:"), DocumentPart(image_id="a" * 32)), lang="de")
    >>> [bool(part.image_id) for part in page.parts]
    [False, True]
    """

    parts: Sequence[DocumentPart]
    lang: str = "und"
    kind: str = "document"
    document_id: str = ""
    split: str = ""
    recipe: str = ""
    model: str = ""
    parents: Sequence[str] = ()
    scores: dict[str, float | None] = field(default_factory=dict)
    dropped: str | None = None
    author: str = ""
    licence: str = ""
    run_id: str = ""

    def plain(self) -> dict[str, Any]:
        """The row of `documents`."""
        parts = [
            {"text": p.text, "image_id": p.image_id, "region": p.region.plain() if p.region else None}
            | {"turn": p.turn, "role": p.role, "learn": p.learn}
            for p in self.parts
        ]
        names = [name for name in self.__slots__ if name != "parts"]
        return {name: getattr(self, name) for name in names} | {"parts": parts, "parents": list(self.parents)}

    @classmethod
    def of(cls, row: dict[str, Any]) -> Document:
        """Read a row of `documents`."""
        parts = tuple(DocumentPart(**{**part, "region": Region.of(part["region"])}) for part in row["parts"])
        return cls(**{**row, "parts": parts, "parents": tuple(row["parents"] or ()), "scores": dict(row["scores"])})


@dataclass(slots=True, eq=False)
class Triple:
    """A query with what answers it and what does not: question and passages, or picture, change and target.

    Attributes:
        text: the query's text, or empty.
        image_id: the query's picture, or empty.
        positives: ids of what answers it.
        negatives: ids of what does not, hardest first.
        of: what the ids name: `images`, `captions` or `documents`.
    """

    text: str = ""
    image_id: str = ""
    positives: Sequence[str] = ()
    negatives: Sequence[str] = ()
    of: str = "images"
    lang: str = "und"
    kind: str = "query"
    triple_id: str = ""
    split: str = ""
    recipe: str = ""
    model: str = ""
    run_id: str = ""

    def plain(self) -> dict[str, Any]:
        """The row of `triples`."""
        return asdict(self) | {"positives": list(self.positives), "negatives": list(self.negatives)}


@dataclass(slots=True, eq=False)
class Rating:
    """What a rater said of an item, or of one item against another.

    Attributes:
        item: id of what was rated.
        of: what the ids name: `images`, `captions` or `documents`.
        against: id of what it was compared with, or empty.
        value: the rating; for a comparison 1 is better, 0 worse, .5 equal.
        scale: what the numbers mean, for example `1..5` or `preference`.
        criterion: what was judged, for example `fluency`.
        rater: who; a person's pseudonym or a model's name.
    """

    item: str
    value: float
    of: str = "captions"
    against: str = ""
    scale: str = ""
    criterion: str = ""
    rater: str = ""
    lang: str = "und"
    rating_id: str = ""
    split: str = ""
    run_id: str = ""

    def plain(self) -> dict[str, Any]:
        """The row of `ratings`."""
        return asdict(self)


@dataclass(slots=True, eq=False)
class Fact:
    """What a model saw in a picture, kept so that it is asked once: a tag, a box, a line of writing, a number.

    Attributes:
        image_id: the picture.
        kind: `tag`, `box`, `line`, `colour`, … : the role or the step that saw it.
        text: the name or the writing.
        value: a number that belongs to it: how sure, how much.
        region: where.
        model: who says so.
        source: fingerprint of the model, so that another version is another fact.
    """

    image_id: str
    kind: str
    text: str = ""
    value: float | None = None
    region: Region | None = None
    lang: str = "und"
    model: str = ""
    source: str = ""
    fact_id: str = ""
    run_id: str = ""

    def plain(self) -> dict[str, Any]:
        """The row of `facts`."""
        names = [name for name in self.__slots__ if name != "region"]
        return {name: getattr(self, name) for name in names} | {"region": self.region.plain() if self.region else None}
