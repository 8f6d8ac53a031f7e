"""A dataset's kept captions as records: texts in memory, pictures read from their table when a step needs them."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError, command, did_you_mean
from panoglot.languages import matches
from panoglot.languages._tags import canonical_language, language_name
from panoglot.networks._records import Record, record_from_captions
from panoglot.networks.samplers import Document as Interleaved
from panoglot.table import (
    KEPT_CAPTION,
    KINDS,
    NO_FACT,
    Caption,
    Dataset,
    caption_from_row,
    open_dataset,
    plain_rows,
    sql_in,
)
from panoglot.training._others import Wanted, assign_sentences, read_documents, read_triples, read_videos, split_of
from panoglot.training._ratings import rated
from panoglot.training._stored_vectors import (
    add_image_vectors,
    add_many_vectors,
    add_question_vectors,
    add_text_vectors,
)

if TYPE_CHECKING:
    import os

    import pyarrow as pa

__all__ = ["TRAINED_KINDS", "Reading", "StoredImage", "captions_where", "read_records"]

#: Kinds of captions that are sentences somebody could say of a picture; words and facts are taken when they are named.
TRAINED_KINDS = tuple(kind for kind in KINDS if kind not in ("ocr", "label", "fact"))

_COLUMNS = ("caption_id", "image_id", "text", "lang", "kind", "recipe", "model", "parents", "region", "scores")


class _Pictures:
    """The images of a dataset at one version; opened when first asked, once in every process."""

    def __init__(self, dataset: Dataset, version: int) -> None:
        self._version, self._dataset = version, dataset
        self._lock = threading.Lock()
        self._data: Any = None

    def __reduce__(self) -> Any:
        return _Pictures, (self._dataset, self._version)

    def read(self, address: int, id_: str) -> bytes:
        """Return the encoded bytes of a picture."""
        try:
            with self._lock:
                if self._data is None:
                    self._data = self._dataset.images.lance(self._version)
            rows = self._data._take_rows([address], columns=["image_id", "data"])
            if rows.num_rows == 1 and rows["image_id"][0].as_py() == id_:
                return bytes(rows["data"][0].as_py())
        except (OSError, ValueError):  # the version was tidied away meanwhile: addresses have changed, ids have not
            pass
        rows = self._dataset.images.get([id_], ["data"])
        if not rows.num_rows:
            raise RowError("unreadable", f"image {id_} is no longer in {self._dataset.address}")
        return bytes(rows["data"][0].as_py())


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A picture that lies in a dataset: calling it reads its encoded bytes. Safe from several threads.

    Attributes:
        id: the image's.
        address: of its row.
    """

    id: str
    address: int
    _pictures: _Pictures = field(repr=False)

    def __call__(self) -> bytes:
        """Return the encoded bytes.

        Raises:
            RowError: the picture is no longer there.
        """
        return self._pictures.read(self.address, self.id)


@dataclass
class Reading:
    """What `read_records` found.

    Attributes:
        records: in order of image id, those that are held out among them.
        captions: (language, kind, who wrote it) → captions in use.
        licences: licence as the table records it (`unknown` where it says nothing) → pictures in use.
        left_out: reason → pictures, or captions (`caption: …`), that are not used.
        fingerprint: changes with the pictures and captions in use.
        caption_ids: of the texts of every record.
        notes: what is to be said of what was read.
    """

    records: list[Record]
    captions: Counter[tuple[str, str, str]]
    licences: Counter[str]
    left_out: Counter[str]
    fingerprint: str
    caption_ids: list[tuple[str, ...]] = field(repr=False)
    notes: list[str] = field(default_factory=list)

    def add_vectors(
        self,
        data: Dataset,
        *,
        image: str | None = None,
        text: str | None = None,
        encoder: str | None = None,
        many: bool = False,
    ) -> None:
        """Give the records stored vectors, once: `vectors["image"]`, and `vectors["text"]` with a row a text.

        Args:
            data: the dataset that was read.
            image: name of the pictures' vectors; pictures without one stay without.
            text: name of the captions' vectors; texts without one are left out.
            encoder: who makes those of the texts of queries, which are no captions.
            many: a text may have several vectors: `vectors["text"]` has those of all texts, one after the other.

        Raises:
            UserError: several vectors a picture or caption.
        """
        if image is not None:
            add_image_vectors(data, image, self.records)
        if text is not None:
            add = add_many_vectors if many else add_text_vectors
            add(data, text, self.records, self.caption_ids, self.left_out)
        if encoder is not None:
            add_question_vectors(encoder, self.records)

    @property
    def train(self) -> list[Record]:
        """The records to train on."""
        return [r for r in self.records if r.split == "train"]

    @property
    def held_out(self) -> list[Record]:
        """The records to measure on."""
        return [r for r in self.records if r.split != "train"]

    @property
    def languages(self) -> Counter[str]:
        """Language → captions in use, the most frequent first."""
        found: Counter[str] = Counter()
        for (lang, _, _), count in self.captions.items():
            found[lang] += count
        return Counter(dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))))


def read_records(
    dataset: Dataset | str | os.PathLike[str],
    *,
    lang: Sequence[str] = (),
    kinds: Sequence[str] = (),
    sources: Sequence[str] = (),
    held_out: float = 0.0,
    image_vectors: str | None = None,
    text_vectors: str | None = None,
    takes: Collection[str] = ("caption",),
    assign: str = "",
    criteria: Mapping[str, float] | None = None,
    raters: int = 1,
) -> Reading:
    """Read what there is to train on: pictures that are not dropped, with their captions that are not dropped.

    A picture is a reference to its row, read when it is needed; texts (about 1 KB a caption) are in memory. The texts
    of a picture are in the order of `lang`, then of kind (human first), then of caption id.

    Args:
        dataset: open, or its path.
        lang: languages as BCP-47 tags (`zh` takes `zh-Hant` too); empty takes all.
        kinds: kinds of captions, of `panoglot.table.KINDS`; empty takes `TRAINED_KINDS`.
        sources: who wrote them: model names, or `human`, `web` … for what was given; empty takes all.
        held_out: share of pictures with `split="test"`, by a hash of the image id (of the group, where it has one: the
            frames of one video stay together). Pictures whose source names a split other than train are held out too.
            Of a dataset that `split` divided is held out what it says, and nothing else.
        image_vectors: name of stored vectors that become `vectors["image"]`; pictures without one are left out.
        text_vectors: the same for texts, `vectors["text"]`, a row a text.
        takes: rows that are read: `caption`; `document` and `triple` become records of their own; `rating` gives texts
            their score; `picture`, pictures without a caption; `video`: frames of one clip are one record.
        assign: encoder that says which sentence of a document belongs to which picture; '': to the one before it.
        criteria, raters: which ratings count, and how much; see `rated`.

    Raises:
        UserError: no dataset, an unknown language or kind, or nothing to train on.
    """
    data = open_dataset(dataset)
    if not 0 <= held_out < 1:
        raise UserError(f"held_out={held_out} must be at least 0 and below 1.")
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"'{kind}' is not a kind of caption.{did_you_mean(kind, KINDS)}")
    if len(data.splits):
        held_out = 0.0  # `split` said which
    wanted = [canonical_language(tag) for tag in lang]
    left_out: Counter[str] = Counter()
    rows = _captions(data, wanted, kinds, sources, left_out)
    images, licence_of = _images(data, left_out)
    records: list[Record] = []
    used: Counter[tuple[str, str, str]] = Counter()
    licences: Counter[str] = Counter()
    owners: list[tuple[str, ...]] = []
    digest, order = hashlib.blake2b(digest_size=16), _order(wanted)
    kept = dict(images)
    for image_id, group in _by_image(rows) if "caption" in takes else ():
        if image_id not in images:
            left_out["caption: of_dropped_picture"] += len(group)
            continue
        picture, split, together = images.pop(image_id)
        captions = sorted((_caption(row) for row in group if row["text"].strip()), key=order)
        if not captions:
            left_out["caption: empty"] += len(group)
            continue
        split = split_of(split, together, held_out)
        records.append(record_from_captions(picture.id, captions, image=picture, split=split))
        owners.append(tuple(c.caption_id for c in captions if c.region is None))
        used.update((c.lang, c.kind, c.model or c.recipe or "unknown") for c in captions)
        licences[licence_of.get(image_id, "unknown")] += 1
        digest.update(f"{image_id} {split} {' '.join(c.caption_id for c in captions)}\n".encode())
    notes: list[str] = []
    if "rating" in takes:
        notes = rated(data, records, owners, left_out, digest, criteria, raters)
    if "picture" in takes:
        for image_id, (picture, split, together) in sorted(images.items()):
            split = split_of(split, together, held_out)
            records.append(Record(picture.id, picture, split=split))
            digest.update(f"picture {image_id} {split}\n".encode())
    elif images and "caption" in takes:
        left_out["no_caption"] += len(images)
    asked = Wanted(kept, wanted, held_out, left_out, digest, "video" in takes)
    if asked.videos:
        single = len(records)
        records, owners = read_videos(records, kept, owners)
        films = [r for r in records if r.loader == "pair_video"]
        # frames without a caption of their own that are shown with those that have one
        left_out["no_caption"] -= sum(len(r.pictures) for r in films) - (single - len(records) + len(films))
        left_out += Counter()
    for kind, read in (("document", read_documents), ("triple", read_triples)):
        if kind in takes:
            records += read(data, asked)
    if assign:
        assign_sentences([r for r in records if isinstance(r, Interleaved)], assign)
    owners += [()] * (len(records) - len(owners))
    if not records:
        raise UserError(_nothing(data, wanted, kinds, sources, takes))
    reading = Reading(records, used, licences, left_out, digest.hexdigest(), owners, notes)
    reading.add_vectors(data, image=image_vectors, text=text_vectors)
    return reading


def _captions(
    data: Dataset, wanted: Sequence[str], kinds: Sequence[str], sources: Sequence[str], left_out: Counter[str]
) -> pa.Table:
    """Return the rows of the captions in use, sorted by image."""
    import pyarrow as pa
    import pyarrow.compute as pc

    where = captions_where(data, wanted, kinds, sources)
    left_out["caption: dropped"] = data.captions.count(f"dropped is not null and {NO_FACT}")
    left_out["caption: not_selected"] = data.captions.count(f"{KEPT_CAPTION} and not ({where})")
    rows = data.captions.read(_COLUMNS, where)
    at = rows.schema.get_field_index("text")
    rows = rows.set_column(at, "text", rows["text"].cast(pa.large_string()))  # more than 2 GB of text is sorted, too
    order = pc.sort_indices(
        rows.select(["image_id", "caption_id"]), [(c, "ascending") for c in ("image_id", "caption_id")]
    )
    left_out += Counter()
    return rows.take(order)


def _caption(row: dict[str, Any]) -> Caption:
    """A row as a caption; names that millions of rows share are one string."""
    shared = {name: sys.intern(row[name] or "") for name in ("model", "recipe")}
    return caption_from_row(row | shared | {"dropped": None, "run_id": ""})


def captions_where(
    data: Dataset, lang: Sequence[str] = (), kinds: Sequence[str] = (), sources: Sequence[str] = ()
) -> str:
    """Return the SQL filter on `captions` of what `read_records` reads; the arguments are its own."""
    where = f"dropped is null and {sql_in('kind', kinds or TRAINED_KINDS)}"
    if lang:
        wanted = [canonical_language(tag) for tag in lang]
        present = set(data.captions.read(["lang"], where)["lang"].unique().to_pylist())
        where += " and " + sql_in("lang", sorted(p for p in present if any(matches(w, p) for w in wanted)))
    if sources:
        named = sql_in("model", sources)
        where += f" and ({named} or ((model is null or model = '') and {sql_in('recipe', sources)}))"
    return where


def _by_image(rows: pa.Table) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield (image id, rows) of rows that are sorted by image; a few thousand rows at a time become Python objects."""
    here: str | None = None
    group: list[dict[str, Any]] = []
    for start in range(0, rows.num_rows, 8192):
        for row in plain_rows(rows.slice(start, 8192)):
            if row["image_id"] != here:
                if group and here is not None:
                    yield here, group
                here, group = row["image_id"], []
            group.append(row)
    if group and here is not None:
        yield here, group


def _order(wanted: Sequence[str]) -> Any:
    ranks = ("human", "alt", "short", "dense")

    def key(caption: Any) -> tuple[int, int, str]:
        lang = next((n for n, tag in enumerate(wanted) if matches(tag, caption.lang)), 0)
        return lang, ranks.index(caption.kind) if caption.kind in ranks else len(ranks), caption.caption_id

    return key


def _images(data: Dataset, left_out: Counter[str]) -> tuple[dict[str, tuple[StoredImage, str, str]], dict[str, str]]:
    """Return image id → (picture, split, what it belongs together with), and the licences that are recorded."""
    dropped = data.dropped_images()
    table = data.splits.read(["image_id", "split"])
    divided = dict(zip(table["image_id"].to_pylist(), table["split"].to_pylist()))
    found: dict[str, tuple[StoredImage, str, str]] = {}
    licences: dict[str, str] = {}
    if not data.images.exists():
        return found, licences
    table = data.images.lance()
    pictures = _Pictures(data, table.version)
    times: dict[str, float] = {}
    scanner = table.scanner(columns=["image_id", "group", "context", "time"], with_row_address=True, batch_size=8192)
    for batch in scanner.to_batches():
        columns = (batch[name].to_pylist() for name in ("image_id", "group", "context", "time", "_rowaddr"))
        for id_, group, context, time, address in zip(*columns, strict=True):
            if group and time is not None:
                times[id_] = float(time)
            if id_ in dropped:
                left_out["dropped"] += 1
                continue
            facts = _facts(context)
            split = divided.get(id_) or str(facts.get("split") or "train")
            found[id_] = (
                StoredImage(id_, address, pictures),
                "train" if split.lower().startswith("train") else split,
                group or id_,
            )
            if licence := _licence(facts):
                licences[id_] = licence
    if times:  # frames in their order
        found = dict(sorted(found.items(), key=lambda item: (item[1][2], times.get(item[0], 0.0), item[0])))
    return found, licences


def _facts(context: str | None) -> dict[str, Any]:
    try:
        value = json.loads(context or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _licence(facts: dict[str, Any]) -> str:
    for key, value in facts.items():
        if key.lower().replace("_", "") in ("license", "licence", "licensename", "licenseurl", "rights") and value:
            return " ".join(str(value).split())[:200]
    return ""


def _nothing(
    data: Dataset, wanted: Sequence[str], kinds: Sequence[str], sources: Sequence[str], takes: Collection[str]
) -> str:
    if "caption" not in takes:
        none = " and no ".join(f"{kind}s" for kind in sorted(takes))
        return f"{data.address} has no {none} to train on: how to make them is in docs/train.md#rows-beside-captions."
    kept = data.captions.read(["lang", "kind"], "dropped is null")
    there = Counter(zip(kept["lang"].to_pylist(), kept["kind"].to_pylist(), strict=True))
    if not there:
        make = command("build", "PICTURES", "-o", data.address)
        return f"{data.address} has no kept captions to train on. Make some: {make}"
    names = [tag if language_name(tag) == tag else f"{tag} ({language_name(tag)})" for tag in wanted]
    asked = [
        *([f"in {', '.join(names)}"] if wanted else []),
        *([f"of kind {', '.join(kinds)}"] if kinds else []),
        *([f"by {', '.join(sources)}"] if sources else []),
    ]
    have = ", ".join(f"{count:,} {lang} {kind}" for (lang, kind), count in there.most_common(8))
    said = " ".join(asked) or "that are sentences"
    return f"{data.address} has no kept captions {said} of pictures that are kept. It has: {have}."
