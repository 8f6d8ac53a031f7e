"""What a method may return, and how it becomes rows with ids and provenance.

| a method returns | it becomes |
|---|---|
| `Caption` | a caption of the item's picture, or of the picture that its `image_id` names |
| `pictures.Image` | a new picture: a crop, a frame, a generated one; its parent and place are kept |
| `Scored` | scores and drops on rows that exist |
| `table.Fact` | what a model saw |
| `table.Document` | ordered parts over several pictures |
| `table.Rating` | what a model thought of a row, or of one against another |
| `table.Triple` | a query with what answers it |
| `Counter` | how often something happened, for the notes of the stage |
| a list of these | all of them |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError
from panoglot.identity import fingerprint, hash_parts, normal_text
from panoglot.languages import parse_language
from panoglot.pictures import Image
from panoglot.table import Caption, Document, Fact, Rating, Triple, caption_id, machine_kind

if TYPE_CHECKING:
    from panoglot.running._stage import Item

__all__ = ["MUCH", "Group", "Made", "Scored", "completed", "fallback_share", "fallen_back", "named_notes"]

#: Share of steps that fell back from which a method did not do what its paper does.
MUCH = 0.2


@dataclass(frozen=True)
class Group:
    """The pictures that belong together: the frames of a video, the pages of a document, the views of a scene.

    Attributes:
        key: what they share: `group` or `asset_id` of the pictures.
        images: in order of time, then of id.
        asset: the row of `assets` they are views of, or empty.
    """

    key: str
    images: tuple[Image, ...] = ()
    asset: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """Scores, and perhaps a reason to drop, for a row that exists.

    Attributes:
        scores: named scores; None = could not be computed.
        drop: reason in snake_case, or None to leave the row as it is.
        of: a caption or its id; None is the item itself.
    """

    scores: Mapping[str, float | None]
    drop: str | None = None
    of: Caption | str | None = None


@dataclass
class Made:
    """What a method made of an item, ready to be committed.

    Attributes:
        captions: with ids; drafts before what was made of them.
        images: new pictures.
        facts: with ids.
        documents: with ids.
        ratings: with ids.
        triples: with ids.
        notes: counts.
        scored: for captions: id to (scores, drop).
        own: for the item itself: (scores, drop).
    """

    captions: list[Caption] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    ratings: list[Rating] = field(default_factory=list)
    triples: list[Triple] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    scored: dict[str, tuple[dict[str, float | None], str | None]] = field(default_factory=dict)
    own: tuple[dict[str, float | None], str | None] | None = None


def completed(result: Any, item: Item, recipe: str, print_: str) -> Made:
    """Fill in ids, recipe and provenance of what a method returned.

    Args:
        result: what it returned.
        item: what it was given.
        recipe: `name/version` of the method.
        print_: fingerprint of the step.

    Raises:
        RowError: `empty_caption`, `unusable_result`.
    """
    given: list[Any] = [] if result is None else list(result) if isinstance(result, list | tuple) else [result]
    made = Made(captions=_captions([one for one in given if isinstance(one, Caption)], item, recipe, print_))
    images = {item.image.id: item.image} if item.image else {}
    for n, one in enumerate(given):
        if isinstance(one, Image):
            one.parent = one.parent or (_image_of(item) or "")
            one.recipe = one.recipe or recipe
            images[one.id] = one
            made.images.append(one)
        elif isinstance(one, Scored):
            _score(made, one, item)
        elif isinstance(one, Fact):
            one.image_id = one.image_id or (_image_of(item) or "")
            place = one.region.key() if one.region else ""
            one.fact_id = hash_parts("fact", one.image_id, one.kind, one.text, place, one.source or print_, str(n))
            made.facts.append(one)
        elif isinstance(one, Document):
            one.recipe = one.recipe or recipe
            one.document_id = hash_parts("document", print_, item.key, str(len(made.documents)))
            made.documents.append(one)
        elif isinstance(one, Rating):
            one.rater = one.rater or recipe
            one.rating_id = hash_parts("rating", print_, one.criterion, one.item, one.against, one.rater)
            made.ratings.append(one)
        elif isinstance(one, Triple):
            one.recipe = one.recipe or recipe
            one.triple_id = hash_parts("triple", print_, item.key, one.image_id, *one.positives, one.text)
            made.triples.append(one)
        elif isinstance(one, Counter):
            made.notes += one
        elif not isinstance(one, Caption):
            raise RowError("unusable_result", f"{recipe} returned a {type(one).__name__}")
    return made


def fallen_back(made: Made, models: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """What fell back while an item was done, for the notes of the stage: nothing where no method counts it.

    Methods say it in scores: `fallback`, the share of their steps where something simpler stood in, `fallback_STEP` how
    often at which, `failed_REASON` which guard or error let an answer fall.

    >>> fallen_back(Made([Caption("a", scores={"fallback": 0.5, "fallback_fuser": 1}), Caption("", scores={})]))
    {'fallback_of': 1, 'fallback': 0.5, 'fallback_fuser': 1}
    """
    scores = [one.scores for one in made.captions if one.dropped is None]
    told = [s for s in (*scores, *(s for s, _ in made.scored.values())) if s.get("fallback") is not None]
    notes: dict[str, Any] = {"fallback_of": len(told)} if told else {}
    for one in told:
        for name, value in one.items():
            if name.startswith(("fallback", "failed_")) and value is not None:
                notes[name] = notes.get(name, 0) + value
    if notes.get("fallback") and models:  # who was asked to write
        notes["writers"] = sorted(f"{alias} {m.name}" for alias, m in models.items() if hasattr(m.model, "generate"))
    return notes


def fallback_share(notes: Mapping[str, Any]) -> float | None:
    """The share of a stage's steps where something simpler stood in; None where its method does not count them.

    >>> fallback_share({"fallback_of": 4, "fallback": 1.0}), fallback_share({})
    (0.25, None)
    """
    count = notes.get("fallback_of", 0)
    return notes.get("fallback", 0) / count if count else None


def named_notes(notes: Mapping[str, Any], prefix: str) -> list[tuple[str, int]]:
    """Counts of the notes whose name begins so, the largest first: steps (`fallback_`) or reasons (`failed_`).

    >>> named_notes({"fallback_of": 4, "fallback_fuser": 1.0, "fallback_judge": 3.0}, "fallback_")
    [('judge', 3), ('fuser', 1)]
    """
    found = {k.removeprefix(prefix): int(v) for k, v in notes.items() if k.startswith(prefix) and k != "fallback_of"}
    return sorted(found.items(), key=lambda one: (-one[1], one[0]))


def _image_of(item: Item) -> str | None:
    return item.caption.image_id if item.caption else item.image.id if item.image else None


def _score(made: Made, scored: Scored, item: Item) -> None:
    value = (dict(scored.scores), scored.drop)
    if scored.of is None:
        made.own = value
        return
    target = scored.of if isinstance(scored.of, str) else scored.of.caption_id
    if not target:
        raise RowError("unusable_result", "scores of a caption that is not stored: put them on the caption")
    made.scored[target] = value


def _captions(returned: Sequence[Caption], item: Item, recipe: str, print_: str) -> list[Caption]:
    """Captions with ids; their unstored parents come first, as drafts."""
    ordered: list[Caption] = []

    def visit(caption: Caption) -> None:
        if any(caption is other for other in ordered):
            return
        for parent in caption.parents:
            if isinstance(parent, Caption) and not parent.caption_id:
                visit(parent)
        ordered.append(caption)

    for caption in returned:
        visit(caption)
    # captions of one image made from different captions or groups must not share ids
    base = print_ if item.image is not None and item.caption is None else fingerprint([print_, item.key])
    ordinals: Counter[tuple[Any, ...]] = Counter()
    for caption in ordered:
        caption.text = normal_text(caption.text)
        if not caption.text:
            raise RowError("empty_caption", f"{recipe} made a caption without text")
        caption.lang = parse_language(caption.lang) or "und"
        caption.image_id = caption.image_id or _image_of(item) or ""
        if not caption.image_id:
            raise RowError("unusable_result", f"{recipe} made a caption of no picture: give it the image_id it is of")
        if not caption.recipe:  # else the method hands on what was given
            caption.recipe, caption.kind = recipe, machine_kind(caption.kind)
        if item.caption and not caption.parents:
            caption.parents = (item.caption,)
        if caption.dropped is None and not any(caption is other for other in returned):
            caption.dropped = "draft"
        place = (caption.image_id, caption.lang, caption.region)
        caption.caption_id = caption_id(caption.image_id, base, caption.lang, caption.region, ordinals[place])
        ordinals[place] += 1
    return ordered
