"""Ingest: any supported source into `images` and `captions`."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

from panoglot.errors import RowError, UserError
from panoglot.formats import Downloads, OptOut, Part, Sample, Unused, counted_options, covers, find_format, read_part
from panoglot.formats._written import Written
from panoglot.identity import Added, extended, fingerprint, hash_parts, later, normal_text
from panoglot.ingestion._places import Given, is_gone, record_places
from panoglot.languages._tags import UNKNOWN_LANGUAGE, parse_language
from panoglot.pictures import MAX_PIXELS, Metadata, read_header, read_metadata
from panoglot.running import Emit, Item, Outcome, Stage, Worker, add_notes
from panoglot.table import (
    Caption,
    Dataset,
    Fact,
    Reject,
    Triple,
    caption_to_row,
    forgotten,
    given_caption_id,
    image_id,
    reject_id,
)

__all__ = ["IngestOperator", "ingest_stage", "settle_rejects"]

#: A chunk is committed when it has this many pictures or bytes.
CHUNK_ROWS, CHUNK_BYTES = 512, 64 * 2**20
#: What was fetched waits so long at most.
FETCHED_SECONDS = 3.0
#: Formats in which several rows or pages show one picture: within a file these are no duplicates.
_SHOWN_AGAIN = frozenset(("tabular", "parquet", "hf_datasets", "wit", "lgs", "pdf", "epub"))
#: So many exact duplicates are named; the rest is counted.
MOST_NAMED = 20


def ingest_stage(
    source: str,
    *,
    format: str | None = None,
    options: dict[str, Any] | None = None,
    max_pixels: int = MAX_PIXELS,
    identify: str = "embedded:langid",
    opt_out: Annotated[tuple[str, ...], Added(())] = (),
) -> Stage:
    """Make the stage that reads a source.

    Args:
        source: a path; what it holds is detected.
        format: name of a format, when detection should not decide.
        options: options of that format.
        max_pixels: pictures with more are rejected unread.
        identify: names the language of texts whose source does not; empty leaves them `und`.
        opt_out: the lines of a list of those whose pictures are not taken.

    Raises:
        UserError: nothing there, or no format that reads it.
    """
    name, parts = find_format(source, format=format, options=options or {})
    if next(iter(parts()), None) is None:
        raise UserError(f"there is no picture in '{source}' (format {name}).")
    said = counted_options(name, parts.keywords)
    base = fingerprint({"format": name, "options": said, "max_pixels": max_pixels, "lid": identify})
    return Stage(
        name="ingest",
        fingerprint=extended(base, later(ingest_stage, locals())),
        operator=IngestOperator(max_pixels, identify, opt_out, source),
        of="parts",
        parts=_Listing(parts),
        batch=4,
        commit=1,
    )


@dataclass(frozen=True)
class _Listing:
    """A picklable way to list the parts again."""

    parts: Callable[[], Iterator[Part]] | partial[Iterator[Part]]

    def __call__(self) -> Iterator[Part]:
        return self.parts()


@dataclass
class IngestOperator:
    """Reads parts: hashes, reads headers, names languages, writes pictures and texts; nothing is decoded."""

    max_pixels: int = MAX_PIXELS
    identify: str = "embedded:langid"
    opt_out: tuple[str, ...] = ()
    source: str = ""
    _chunk: list[tuple[dict[str, Any], list[Caption], str]] = field(default_factory=list, repr=False)
    _rejects: list[Reject] = field(default_factory=list, repr=False)
    _facts: list[dict[str, Any]] = field(default_factory=list, repr=False)
    _triples: list[Triple] = field(default_factory=list, repr=False)
    _bytes: int = 0
    _languages: Counter[str] = field(default_factory=Counter, repr=False)

    def open(self, worker: Worker) -> None:
        """Load the language identifier, and what failed before: it is resolved when its part is read without it."""
        self._worker = worker
        self._identifier: Any = None
        self._named = 0
        self._forgotten: set[str] = set()  # met so far: each is counted once
        where = "stage = 'ingest' and resolved is null"
        self._listed = OptOut(self.opt_out, [self.source] if self.source else [])
        self._downloads = Downloads(have=self._fetched, opt_out=self._listed)
        self._written = Written()
        self._committed = time.monotonic()
        self._failing = set(worker.dataset.rejects.read(["item"], where)["item"].to_pylist())

    def process(self, items: Iterator[Item], emit: Emit) -> None:
        """Read part after part; a part counts as done when all it holds is committed."""
        for item in items:
            if not isinstance(item.part, Part):
                continue
            self._new = 0
            self._languages.clear()
            self._notes: dict[str, Any] = {}
            self._unused: dict[tuple[str, str, str], Unused] = {}
            self._failed: set[str] = set()
            self._opted_out: set[str] = set()
            self._table: str | None = None
            self._stored: dict[str, str] = {}
            before = self._downloads.counts()
            for found in read_part(item.part, self._downloads, self._listed):
                if isinstance(found, Sample):
                    self._take(found)
                elif isinstance(found, Triple):
                    self._triples.append(found)
                elif isinstance(found, Unused):
                    self._leave(found)
                else:
                    self._rejects.append(found)
                full = len(self._chunk) >= CHUNK_ROWS or self._bytes >= CHUNK_BYTES or len(self._rejects) >= CHUNK_ROWS
                # what was fetched is not asked for again after a kill
                if full or (self._downloads.taken and time.monotonic() - self._committed > FETCHED_SECONDS):
                    self._commit(item.part)
            self._commit(item.part)
            if self._failing:
                self._resolve(filter(covers(item.part), self._failing))
            add_notes(self._notes, {k: v - before[k] for k, v in self._downloads.counts().items() if v - before[k]})
            if self._opted_out:
                add_notes(self._notes, {"opted_out": len(self._opted_out)})
            if self._unused:
                self._notes["unused"] = [one.to_dict() for one in self._unused.values()]
            emit(item.key, Outcome(count=self._new, rejected=len(self._failed), notes=self._notes))

    def close(self) -> None:
        """End what fetches."""
        self._downloads.close()

    def _leave(self, found: Unused) -> None:
        """Count what was not used."""
        have = self._unused.get((found.source, found.what, found.hint))
        self._unused[found.source, found.what, found.hint] = have.and_more(found) if have else found

    def _fetched(self, sample: Sample) -> bytes | None:
        """The bytes that an earlier run fetched for this place from this address: it is not asked for again."""
        data, table = self._worker.dataset, sample.uri.rpartition("#")[0].replace("'", "''")
        if self._table != table:  # what was read of a table before, in one look
            rows = data.places.read(["place", "image_id"], f"place >= '{table}#' and place < '{table}$'").to_pylist()
            self._table, self._stored = table, {row["place"]: row["image_id"] for row in rows}
        held = self._stored.get(sample.uri)
        for row in data.images.get([held], ["data", "context"]).to_pylist() if held else ():
            if sample.address and json.loads(row["context"] or "{}").get("url") == sample.address.url:
                stored: bytes = row["data"]
                return stored
        return None

    def _take(self, sample: Sample) -> None:
        """Check one sample's header and keep it for the next commit."""
        try:
            header = read_header(sample.data, max_pixels=self.max_pixels)
        except RowError as error:
            self._rejects.append(Reject(sample.uri, "ingest", error.reason, error.message))
            return
        key = sample.image_id or image_id(sample.data)
        if met := self._listed.met((), key):
            self._rejects.append(Reject(sample.uri, "ingest", "opted_out", self._listed.say(met)))
            return
        width, height = header.upright
        said = read_metadata(sample.data)
        context = {**({"photo": photo} if (photo := said.context()) else {}), **sample.context}
        row = {
            "image_id": key,
            "data": sample.data,
            "uri": sample.uri,
            "width": width,
            "height": height,
            "format": header.format,
            "size": len(sample.data),
            "group": sample.group,
            "time": said.taken if sample.time is None and sample.group is None else sample.time,
            "context": json.dumps(context, ensure_ascii=False) if context else "{}",
            "run_id": self._worker.run_id,
            "author": _said(context, _AUTHOR),
            "licence": _said(context, _LICENCE),
        }
        if sample.region is not None:
            row["region"] = sample.region.plain()
        captions = []
        told = self._written.recognised(sample.captions, key, sample.place or sample.uri)
        for caption in [*told, *(Caption(text, lang, kind="alt") for text, lang in said.captions)]:
            caption.text = normal_text(caption.text)
            if caption.text:
                captions.append(caption)
        self._facts += _facts(key, said)
        self._chunk.append((row, captions, sample.place or sample.uri))
        self._bytes += len(sample.data)

    def _commit(self, part: Part) -> None:
        """Write the chunk, and note what it held that was there."""
        self._committed = time.monotonic()
        chunk, rejects = self._chunk, self._rejects
        self._chunk, self._rejects, self._bytes = [], [], 0
        data, run = self._worker.dataset, self._worker.run_id
        gone = forgotten(data, (row["image_id"] for row, _, _ in chunk))
        read = [uri for row, _, place in chunk for uri in {row["uri"], place}] if self._failing else []
        if gone:
            kept = [one for one in chunk if one[0]["image_id"] not in gone]
            fresh = gone - self._forgotten
            self._forgotten |= fresh
            if fresh:
                add_notes(self._notes, {"forgotten": len(fresh), "forgotten_names": sorted(fresh)[:MOST_NAMED]})
            chunk = kept
        said = self._name_languages([c for _, captions, _ in chunk for c in captions])
        rows = [row for row, _, _ in chunk]
        moved: set[str] = set()
        if data.images.insert(rows) < len(rows):
            moved = self._same_bytes(rows, part)
        captions, given = [], []
        for row, texts, place in chunk:
            own = []
            for caption in texts:
                caption.image_id = row["image_id"]
                caption.recipe = caption.recipe or "human"
                caption.run_id = run
                if not caption.caption_id:
                    caption.caption_id = given_caption_id(
                        caption.image_id, caption.recipe, said[id(caption)], caption.region, caption.text
                    )
                    own.append(caption.caption_id)
                captions.append(caption_to_row(caption))
            given.append(Given(place, row["image_id"], own))
        data.captions.insert(captions)
        facts, self._facts = self._facts, []
        data.facts.insert([{**fact, "run_id": run} for fact in facts if fact["image_id"] not in gone])
        self._commit_triples(part)
        new, notes = record_places(data, given, run, moved)
        self._new += new
        add_notes(self._notes, notes | ({"read_again": len(given) - new} if len(given) > new else {}))
        data.rejects.upsert([{**replace(r, stage="ingest").plain(), "run_id": run} for r in rejects])
        self._failed |= {r.item for r in rejects}
        self._opted_out |= {r.item for r in rejects if r.reason == "opted_out"}
        if self._failing:
            self._resolve(read)

    def _commit_triples(self, part: Part) -> None:
        """Write composed queries, without pictures that were not taken: unreadable, opted out, or forgotten."""
        triples, self._triples = self._triples, []
        if not triples:
            return
        data = self._worker.dataset
        named = {key for one in triples for key in (one.image_id, *one.positives, *one.negatives)}
        there = set(data.images.get(sorted(named), ["image_id"])["image_id"].to_pylist())
        gone = (named - there) | forgotten(data, named)
        texts = [Caption(one.text, one.lang) for one in triples]
        self._name_languages(texts)
        rows = []
        for one, said in zip(triples, texts):
            better, worse = ([key for key in keys if key not in gone] for keys in (one.positives, one.negatives))
            if one.image_id in gone or not better:
                self._leave(
                    Unused.of(part.uri, "row{s} of composed queries whose picture was not taken", [one.text[:40]])
                )
                continue
            key = hash_parts("triple", one.image_id, one.text, *better)
            made = replace(one, positives=better, negatives=worse, lang=said.lang, triple_id=key)
            rows.append(made.plain() | {"run_id": self._worker.run_id})
        new = data.triples.insert(rows)
        add_notes(self._notes, {"triples": new})
        if again := len(rows) - new:
            add_notes(self._notes, {"triples_again": again})

    def _resolve(self, items: Iterable[str]) -> None:
        """Say of items that failed before that they were read now, unless they failed again."""
        read = [item for item in items if item in self._failing and item not in self._failed]
        self._failing -= set(read)
        self._worker.dataset.rejects.change(
            [{"reject_id": reject_id(item, "ingest"), "resolved": self._worker.run_id} for item in read]
        )

    def _same_bytes(self, rows: list[dict[str, Any]], part: Part) -> set[str]:
        """Pictures that are there already: under a name that is gone they have moved; else they are there twice.

        Returns:
            Ids of those that have moved.
        """
        data = self._worker.dataset
        stored = data.images.get([row["image_id"] for row in rows], ["uri"]).to_pylist()
        home = {row["image_id"]: row["uri"] for row in stored}
        moved: dict[str, str] = {}
        twice: list[str] = []
        for row in rows:
            key, uri = row["image_id"], row["uri"]
            there = moved.get(key, home[key])
            if there == uri:
                continue
            if key not in moved and is_gone(there):
                moved[key] = uri
            elif part.format not in _SHOWN_AGAIN or there.partition("#")[0] != uri.partition("#")[0]:
                twice.append(f"{uri} = {there}")
        data.images.change([{"image_id": key, "uri": uri} for key, uri in moved.items()])
        notes: dict[str, Any] = {"moved": len(moved)} if moved else {}
        if twice:
            notes |= {"duplicates": len(twice), "duplicate_names": twice[: max(0, MOST_NAMED - self._named)]}
            self._named += len(twice)
        add_notes(self._notes, notes)
        return set(moved)

    def _name_languages(self, captions: list[Caption]) -> dict[int, str]:
        """Name languages that the source does not; return what it says by caption, which the caption's id is made of.

        An identified language depends on the identifier and the neighbours; the same text stays the same row.
        """
        for caption in captions:
            caption.lang = parse_language(caption.lang) or UNKNOWN_LANGUAGE
        self._languages.update(c.lang for c in captions if c.lang != UNKNOWN_LANGUAGE)
        # a caption that brings its id is one of ours: its language was settled when it was made
        unknown = [c for c in captions if c.lang == UNKNOWN_LANGUAGE and not c.caption_id]
        said = {id(c): c.lang for c in captions}
        if not unknown or not self.identify:
            return said
        if self._identifier is None:
            from panoglot.providers import load_model

            self._identifier = load_model(self.identify, "language_identifier")
        together = getattr(self._identifier, "identify_together", None)  # of a file, as far as it was read
        labels = list(dict.fromkeys(c.text for c in unknown if c.kind == "label"))
        found: list[tuple[str, float]] = []
        if len(labels) > 1:  # class names are in one language, which all of them together say better than each
            found = self._identifier.identify([", ".join(labels)])
        whole = found[0] if found and found[0][0] != UNKNOWN_LANGUAGE else None
        texts = [c.text for c in unknown]
        answers = together(texts, self._languages) if together else self._identifier.identify(texts)
        for caption, answer in zip(unknown, answers):
            caption.lang, confidence = whole if whole and caption.kind == "label" else answer
            caption.scores = {**caption.scores, "lid": confidence}
        self._languages.update(c.lang for c in unknown if c.lang != UNKNOWN_LANGUAGE)
        return said


#: What sources call the terms of a picture and who made it, the surest first: both stand in columns of `images`, too.
_LICENCE = ("licence", "license", "licencename", "licensename", "licenceurl", "licenseurl", "rights", "copyright")
_AUTHOR = ("author", "creator", "photographer", "artist", "authorname", "credit", "attribution")


def _said(context: dict[str, Any], names: Sequence[str]) -> str | None:
    """What a context says under one of some names, however they are spelt; None without.

    >>> _said({"License_Name": "CC0", "license": ["x"]}, _LICENCE), _said({"title": "a"}, _AUTHOR)
    ('CC0', None)
    """
    plain = {
        "".join(filter(str.isalnum, key.lower())): " ".join(value.split())
        for key, value in reversed(context.items())
        if isinstance(value, str) and value.strip()
    }
    return next((plain[name][:1000] for name in names if name in plain), None)


def _facts(image: str, said: Metadata) -> list[dict[str, Any]]:
    """Rows of `facts` of what a file says of its picture, for conditions; where it was taken is not among them."""
    pairs = [*said.facts.items(), *(("keyword", word) for word in said.keywords)]
    if said.has_gps:
        pairs.append(("gps", "yes"))
    return [
        Fact(image, kind, text, source="file", fact_id=hash_parts("fact", image, kind, text, "file")).plain()
        for kind, text in pairs
    ]


def settle_rejects(dataset: Dataset, run_id: str) -> Counter[str]:
    """Resolve what no longer is: files that failed and are gone, folders that can be read now; count what is left.

    Returns:
        Reason to number of the ingest's open rejects.
    """
    left: Counter[str] = Counter()
    done = []
    where = "stage = 'ingest' and resolved is null"
    for row in dataset.rejects.rows(["reject_id", "item", "reason", "run_id"], where):
        item, reason = row["item"], row["reason"]
        # a file that a row names and that is not there stays a failure
        gone = reason != "missing_file" and is_gone(item)
        opened = reason == "unreadable" and os.path.isdir(item) and os.access(item, os.R_OK | os.X_OK)
        if row["run_id"] != run_id and (gone or opened):
            done.append({"reject_id": row["reject_id"], "resolved": run_id})
        else:
            left[reason] += 1
    dataset.rejects.change(done)
    return left
