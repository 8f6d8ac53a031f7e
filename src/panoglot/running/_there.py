"""What a step writes that another step of its method wrote before: one row stands, and the second says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from panoglot.geometry import Region
from panoglot.running._stage import Outcome
from panoglot.table import Caption, Dataset, Fact, Table, plain_rows, sql_in

__all__ = ["new_facts", "new_texts"]

#: Kinds whose texts say the same whoever wrote them; questions and answers belong to their conversation.
_KINDS = ("short", "dense", "region", "label", "ocr", "fact")
_MADE = f"dropped is null and {sql_in('kind', _KINDS)} and recipe not in ('human', 'web')"
_COLUMNS = ("caption_id", "image_id", "text", "lang", "kind", "region", "recipe", "model", "parents")
_OF_FACTS = ("fact_id", "image_id", "kind", "text", "value", "region", "lang", "model")
#: So many pictures are looked up at once.
_MANY = 500

_Key = tuple[str, str, str, str, str]


def new_texts(data: Dataset, outcomes: Sequence[Outcome], *, whole: bool) -> tuple[list[Caption], int]:
    """Leave out texts that a picture has already, by another step of the same method and model.

    The same are text, language, kind and place. What another method, model or person wrote stays beside it: who said it
    is what a caption tells. Drafts of what is left out go with it, and what else was made of it has the row that stands
    as its parent. An item's own rows, which a killed run wrote, are no others.

    Args:
        data: the dataset.
        outcomes: what a stage made, before it is written; ids of captions that are there are put in.
        whole: every picture is one item. Else a row counts where it has the same parents: others may be of this step,
            of another caption of the picture, and which comes first is chance.

    Returns:
        The captions to write, and how many were there.
    """
    made = [caption for outcome in outcomes for caption in outcome.captions]
    asked = {caption.image_id for caption in made if caption.dropped is None and caption.kind in _KINDS}
    known: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in _rows(data.captions, _COLUMNS, asked, _MADE):
        key = _key(row["image_id"], row["lang"], row["kind"], row["text"], Region.of(row["region"]))
        known.setdefault((*key, *_writer(row["recipe"], row["model"])), []).append(row)
    there: set[int] = set()
    for caption in made:
        if caption.dropped is not None or caption.kind not in _KINDS:
            continue
        key = _key(caption.image_id, caption.lang, caption.kind, caption.text, caption.region)
        rows = known.get((*key, *_writer(caption.recipe, caption.model)), [])
        if any(row["caption_id"] == caption.caption_id for row in rows):
            continue
        parents = {parent if isinstance(parent, str) else parent.caption_id for parent in caption.parents}
        same = [row["caption_id"] for row in rows if whole or set(row["parents"] or ()) == parents]
        if same:
            there.add(id(caption))
            caption.caption_id = min(same)  # whoever has it as a parent has the row that stands
    if not there:
        return made, 0
    gone = there | {id(draft) for outcome in outcomes for draft in _idle(outcome.captions, there)}
    return [caption for caption in made if id(caption) not in gone], len(there)


def new_facts(data: Dataset, facts: Sequence[Fact]) -> tuple[list[Fact], int]:
    """Leave out facts that are there: the same of the same picture by the same model, from another step.

    Returns:
        The facts to write, and how many were there.
    """
    known: dict[tuple[Any, ...], set[str]] = {}
    for row in _rows(data.facts, _OF_FACTS, {fact.image_id for fact in facts}, "true"):
        place = Region.of(row["region"])
        key = _key(row["image_id"], row["lang"], row["kind"], row["text"], place)
        known.setdefault((key, row["value"], row["model"] or ""), set()).add(row["fact_id"])

    def new(fact: Fact) -> bool:
        key = _key(fact.image_id, fact.lang, fact.kind, fact.text, fact.region)
        ids = known.get((key, fact.value, fact.model or ""), set())
        return not ids or fact.fact_id in ids

    kept = [fact for fact in facts if new(fact)]
    return kept, len(facts) - len(kept)


def _key(image: str, lang: str, kind: str, text: str, place: Region | None) -> _Key:
    return image, lang, kind, text, place.key() if place else ""


def _rows(table: Table, columns: Sequence[str], images: Iterable[str], where: str) -> Iterator[dict[str, Any]]:
    """Rows about some pictures."""
    ids = sorted(images)
    if ids and table.exists():
        for start in range(0, len(ids), _MANY):
            yield from plain_rows(table.read(columns, f"{sql_in('image_id', ids[start : start + _MANY])} and {where}"))


def _writer(recipe: str | None, model: str | None) -> tuple[str, str]:
    """Method, of any version, and model."""
    return (recipe or "").partition("/")[0], model or ""


def _idle(captions: Sequence[Caption], there: set[int]) -> Iterator[Caption]:
    """Drafts of which only such captions were made as are there already."""
    idle = set(there)
    for draft in reversed(captions):  # drafts come before what was made of them
        of_it = [one for one in captions if any(parent is draft for parent in one.parents)]
        if draft.dropped == "draft" and of_it and all(id(one) in idle for one in of_it):
            idle.add(id(draft))
            yield draft
