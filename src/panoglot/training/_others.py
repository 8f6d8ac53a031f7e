"""Documents and triples of a dataset as records, beside its captions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from panoglot.errors import require
from panoglot.languages import matches
from panoglot.languages._tags import canonical_language
from panoglot.networks._records import Record, Text, Turn, region_text
from panoglot.networks.samplers import Document, Draw
from panoglot.table import Dataset, plain_rows, sql_in
from panoglot.table import Document as StoredDocument

__all__ = [
    "Wanted",
    "assign_sentences",
    "films_of",
    "read_documents",
    "read_triples",
    "read_videos",
    "split_of",
]


def split_of(said: str | None, id_: str, held_out: float) -> str:
    """Return the split of a record: what it says, else a draw by its id for `held_out` of them."""
    if said and not said.lower().startswith("train"):
        return said
    return "test" if held_out and Draw("held out", id_).number() < held_out else "train"


@dataclass(frozen=True)
class Wanted:
    """What is read of a dataset, and what is noted of it.

    Attributes:
        images: image id → (picture, …) of the pictures that are kept.
        languages: canonical tags; empty: all.
        held_out: share with `split="test"`.
        left_out: is added to.
        digest: of what was read; is updated.
        videos: frames of one clip are one picture.
    """

    images: Mapping[str, Any]
    languages: Sequence[str]
    held_out: float
    left_out: Counter[str]
    digest: Any
    videos: bool = False

    def speaks(self, lang: str | None) -> bool:
        """Return whether a text of this language is wanted."""
        return not self.languages or any(matches(tag, lang or "und") for tag in self.languages)


def assign_sentences(documents: Sequence[Any], encoder: str) -> None:
    """Give every picture of a document one sentence, at the greatest total similarity; a sentence has one picture.

    Args:
        documents: get their `match` anew; of a video the frame in the middle is looked at.
        encoder: of pictures and texts.

    Source: Multimodal C4 (Zhu et al. 2023, arXiv 2304.06939), section 3, as COSMO's interleaved data are made.
    """
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers import finish, load_model

    solve = require("scipy.optimize", "scipy", "assigning sentences").linear_sum_assignment
    model = load_model(encoder, "encoder")
    for doc in documents:
        shown = [image[len(image) // 2] if isinstance(image, tuple) else image for image in doc.images]
        at = [n for n, image in enumerate(shown) if callable(image)]
        match: list[tuple[int, int, float]] = []
        if at and doc.sentences:
            pictures = [Image(shown[n](), id=getattr(shown[n], "id", "")) for n in at]
            x = np.asarray(finish(model.encode_images(pictures)), np.float32)
            y = np.asarray(finish(model.encode_texts([*doc.sentences], [doc.lang] * len(doc.sentences))), np.float32)
            scores = np.nan_to_num(y @ x.T, nan=-1.0)
            found = zip(*solve(-scores), strict=True)
            match = [(int(s), at[int(n)], float(scores[s, n])) for s, n in found]
        object.__setattr__(doc, "match", sorted(match))


def films_of(images: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return clip → its frames in order, of the clips of videos that have several."""
    found: dict[str, list[str]] = defaultdict(list)
    for id_, (_, _, group) in images.items():
        if "#clip=" in group:
            found[group].append(id_)
    return {clip: ids for clip, ids in found.items() if len(ids) > 1}


def read_videos(records: Sequence[Record], images: Mapping[str, Any], owners: Sequence[Any]) -> tuple[Any, ...]:
    """Join the records of a clip's frames: one record with all its frames and texts, each text once.

    Returns:
        The records, and the caption ids of their texts.
    """
    films = films_of(images)
    clip_of = {id_: clip for clip, ids in films.items() for id_ in ids}
    out: list[Record] = []
    kept: list[Any] = []
    place: dict[str, int] = {}
    for record, ids in zip(records, owners, strict=True):
        clip = clip_of.get(record.id)
        if clip is None:
            out.append(record)
            kept.append(ids)
        elif clip not in place:
            frames = [images[id_][0] for id_ in films[clip]]
            place[clip] = len(out)
            plain = [replace(text, of=None) for text in record.texts]
            out.append(replace(record, texts=plain, pictures=frames, regions=(), loader="pair_video"))
            kept.append(ids)
        else:
            film = out[place[clip]]
            said = {text.text for text in film.texts}
            film.texts = [*film.texts, *(replace(t, of=None) for t in record.texts if t.text not in said)]
            kept[place[clip]] = ()  # of several pictures: no stored vectors are asked for
    return out, kept


def read_documents(data: Dataset, wanted: Wanted) -> list[Any]:
    """Return documents that are not dropped: with turns where some part is learnt, else interleaved ones.

    In an interleaved document a text belongs to the picture before it; what stands before the first, to the first.
    """
    images, left_out = wanted.images, wanted.left_out
    out: list[Any] = []
    if not data.documents.exists():
        return out
    films = films_of(images) if wanted.videos else {}
    rows = sorted(plain_rows(data.documents.read(None, "dropped is null")), key=lambda row: row["document_id"])
    for row in rows:
        doc = StoredDocument.of(row)
        if not wanted.speaks(doc.lang):
            left_out["document: not_selected"] += 1
            continue
        gone = {p.image_id for p in doc.parts if p.image_id and p.image_id not in images}
        if gone:
            left_out["document: of_dropped_picture"] += 1
            continue
        split, lang = split_of(doc.split, doc.document_id, wanted.held_out), _lang(doc.lang)
        learnt = any(p.learn for p in doc.parts)
        made = _turns(doc, images, split) if learnt else _page(doc, images, lang, split, films)
        if made is None:
            left_out["document: no_text"] += 1
            continue
        out.append(made)
        wanted.digest.update(f"document {doc.document_id} {split}\n".encode())
    return out


def _lang(tag: str | None) -> str:
    return "und" if not tag or tag == "und" else canonical_language(tag)


def _turns(doc: StoredDocument, images: Mapping[str, Any], split: str) -> Record:
    pictures: list[Any] = []
    turns = []
    for part in doc.parts:
        place = None
        if part.image_id:
            place = len(pictures)
            pictures.append(images[part.image_id][0])
        region = None if part.region is None else region_text(part.region, part.text)
        turns.append(Turn(part.text, place, part.learn, part.role, region))
    found = Record(doc.document_id, pictures=pictures, turns=turns, split=split, loader="documents")
    # queries of one product are no negatives of each other
    found.pair_id = next((part.image_id for part in doc.parts if part.role == "answer" and part.image_id), None)
    return found


def _page(
    doc: StoredDocument, images: Mapping[str, Any], lang: str, split: str, films: Mapping[str, Sequence[str]]
) -> Document | None:
    pictures: list[Any] = []
    sentences: list[tuple[str, int]] = []
    for part in doc.parts:
        if part.image_id:
            clip = films.get(images[part.image_id][2], ())
            pictures.append(tuple(images[id_][0] for id_ in clip) if clip else images[part.image_id][0])
        if part.text.strip():
            sentences.append((part.text, max(0, len(pictures) - 1)))
    if not sentences:
        return None
    match = [(n, image, 1.0) for n, (_, image) in enumerate(sentences) if pictures]
    return Document(doc.document_id, pictures, [text for text, _ in sentences], match, lang, split)


def read_triples(data: Dataset, wanted: Wanted) -> list[Record]:
    """Return queries with what answers them and what does not.

    Passages (captions, documents) are texts of kind `answer`, with score 1 or 0; pictures are those of the record, the
    answers first. A triple without a negative is kept: samplers that need one leave it out. What a method wrote of one
    pair of pictures in one language is one record with several texts, of which samplers draw (CoLLM's `joined`).
    """
    images, left_out = wanted.images, wanted.left_out
    out: list[Record] = []
    if not data.triples.exists():
        return out
    rows = sorted(plain_rows(data.triples.read(None)), key=lambda row: row["triple_id"])
    texts, whole = _passages(data, rows), dict[tuple[str, ...], Record]()
    for row in rows:
        if not wanted.speaks(row["lang"]):
            left_out["triple: not_selected"] += 1
            continue
        image = images.get(row["image_id"] or "")
        if row["image_id"] and image is None:
            left_out["triple: of_dropped_picture"] += 1
            continue
        better, worse = row["positives"] or [], row["negatives"] or []
        known: Mapping[str, Any] = images if row["of"] == "images" else texts
        missing = [id_ for id_ in (*better, *worse) if id_ not in known]
        left_out["triple: passage_is_gone"] += len(missing)
        better, worse = ([id_ for id_ in ids if id_ in known] for ids in (better, worse))
        if not better or not ((row["text"] or "").strip() or image):
            left_out["triple: no_answer" if not better else "triple: no_query"] += 1
            continue
        lang = _lang(row["lang"])
        said = [Text(row["text"], "question", lang)] if (row["text"] or "").strip() else []
        pair = (row["recipe"] or "", row["image_id"] or "", lang, *better, *worse)
        if row["of"] == "images" and pair[0] not in ("", "human") and pair in whole:
            whole[pair].texts = [*whole[pair].texts, *said]
            wanted.digest.update(f"text {row['triple_id']}\n".encode())
            continue
        record = Record(row["triple_id"], None if image is None else image[0], said, loader="triples")
        record.split = split_of(row["split"], row["triple_id"], wanted.held_out)
        if row["of"] == "images":
            whole[pair] = record
            record.pictures = [images[id_][0] for id_ in (*better, *worse)]
            record.pair_id = better[0]  # queries with one answer are no negatives of each other
        else:
            scored = [(id_, 1.0) for id_ in better] + [(id_, 0.0) for id_ in worse]
            record.texts = [*said, *(Text(texts[i][0], "answer", texts[i][1], score=score) for i, score in scored)]
        out.append(record)
        wanted.digest.update(f"triple {record.id} {record.split} {' '.join((*better, *worse))}\n".encode())
    left_out += Counter()
    return out


def _passages(data: Dataset, rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return id → (text, language) of the captions and documents that triples name."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        wanted[row["of"]].update([*(row["positives"] or []), *(row["negatives"] or [])])
    out: dict[str, tuple[str, str]] = {}
    for start in range(0, len(wanted["captions"]), 4096):
        ids = sorted(wanted["captions"])[start : start + 4096]
        for row in plain_rows(data.captions.read(["caption_id", "text", "lang"], sql_in("caption_id", ids))):
            if row["text"].strip():
                out[row["caption_id"]] = row["text"], _lang(row["lang"])
    if wanted["documents"]:
        for row in plain_rows(data.documents.read(None, sql_in("document_id", sorted(wanted["documents"])))):
            text = " ".join(part["text"] for part in row["parts"] if (part["text"] or "").strip())
            if text:
                out[row["document_id"]] = text, _lang(row["lang"])
    return out
