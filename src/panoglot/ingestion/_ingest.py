"""Ingest: any supported source into `images` and `captions`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.formats import MAX_PIXELS, Part, Sample, find_format, read_part
from panoglot.languages import parse_language
from panoglot.pictures import read_header
from panoglot.running import Emit, Item, Outcome, Stage, Worker
from panoglot.table import (
    Caption,
    Reject,
    caption_to_row,
    fingerprint,
    given_caption_id,
    image_id,
    normal_text,
    reject_id,
)

__all__ = ["IngestOperator", "ingest_stage"]

#: A chunk is committed when it has this many pictures or bytes.
CHUNK_ROWS, CHUNK_BYTES = 512, 64 * 2**20


def ingest_stage(
    source: str,
    *,
    format: str | None = None,
    options: dict[str, Any] | None = None,
    max_pixels: int = MAX_PIXELS,
    identify: str = "embedded:langid",
) -> Stage:
    """Make the stage that reads a source.

    Args:
        source: a path; what it holds is detected.
        format: name of a format, when detection should not decide.
        options: options of that format.
        max_pixels: pictures with more are rejected unread.
        identify: names the language of texts whose source does not; empty leaves them `und`.

    Raises:
        UserError: nothing there, or no format that reads it.
    """
    name, parts = find_format(source, format=format, options=options or {})
    if next(iter(parts()), None) is None:
        raise UserError(f"there is no picture in '{source}' (format {name}).")
    return Stage(
        name="ingest",
        fingerprint=fingerprint({"format": name, "options": options or {}, "max_pixels": max_pixels, "lid": identify}),
        operator=IngestOperator(max_pixels, identify),
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
    _chunk: list[tuple[dict[str, Any], list[Caption]]] = field(default_factory=list, repr=False)
    _rejects: list[Reject] = field(default_factory=list, repr=False)
    _bytes: int = 0

    def open(self, worker: Worker) -> None:
        """Load the language identifier."""
        self._worker = worker
        self._identifier: Any = None

    def process(self, items: Iterator[Item], emit: Emit) -> None:
        """Read part after part; a part counts as done when all it holds is committed."""
        for item in items:
            if item.part is None:
                continue
            count = rejected = 0
            for sample in read_part(item.part):
                if isinstance(sample, Sample):
                    count += self._take(sample)
                else:
                    self._rejects.append(sample)
                if len(self._chunk) >= CHUNK_ROWS or self._bytes >= CHUNK_BYTES or len(self._rejects) >= CHUNK_ROWS:
                    rejected += self._commit()
            rejected += self._commit()
            emit(item.key, Outcome(count=count, rejected=rejected))

    def close(self) -> None:
        """Nothing to release."""

    def _take(self, sample: Sample) -> int:
        """Check one sample's header and keep it for the next commit; 1 if it is good."""
        try:
            header = read_header(sample.data, max_pixels=self.max_pixels)
        except RowError as error:
            self._rejects.append(Reject(sample.uri, "ingest", error.reason, error.message))
            return 0
        key = image_id(sample.data)
        width, height = header.upright
        row = {
            "image_id": key,
            "data": sample.data,
            "uri": sample.uri,
            "width": width,
            "height": height,
            "format": header.format,
            "size": len(sample.data),
            "group": sample.group,
            "time": sample.time,
            "context": json.dumps(sample.context, ensure_ascii=False) if sample.context else "{}",
            "run_id": self._worker.run_id,
        }
        captions = []
        for caption in sample.captions:
            caption.text = normal_text(caption.text)
            if caption.text:
                captions.append(caption)
        self._chunk.append((row, captions))
        self._bytes += len(sample.data)
        return 1

    def _commit(self) -> int:
        """Write the chunk; return how many rows were rejected."""
        chunk, rejects = self._chunk, self._rejects
        self._chunk, self._rejects, self._bytes = [], [], 0
        data, run = self._worker.dataset, self._worker.run_id
        self._name_languages([c for _, captions in chunk for c in captions])
        rows = [row for row, _ in chunk]
        if data.images.insert(rows) < len(rows):
            # some were there: the same picture from another place is reported, its texts are kept
            stored = data.images.get([row["image_id"] for row in rows], ["uri"]).to_pylist()
            home = {row["image_id"]: row["uri"] for row in stored}
            rejects += [
                Reject(row["uri"], "ingest", "duplicate", f"same bytes as {home[row['image_id']]} ({row['image_id']})")
                for row in rows
                if home[row["image_id"]] != row["uri"]
            ]
        captions = []
        for row, texts in chunk:
            for caption in texts:
                caption.image_id = row["image_id"]
                caption.recipe = caption.recipe or "human"
                caption.run_id = run
                if not caption.caption_id:
                    caption.caption_id = given_caption_id(
                        caption.image_id, caption.recipe, caption.lang, caption.region, caption.text
                    )
                captions.append(caption_to_row(caption))
        data.captions.insert(captions)
        data.rejects.upsert(
            [
                {
                    "reject_id": reject_id(r.item, "ingest"),
                    "item": r.item,
                    "stage": "ingest",
                    "reason": r.reason,
                    "message": r.message[:2000],
                    "run_id": run,
                }
                for r in rejects
            ]
        )
        got = [row["uri"] for row in rows if row["uri"] in self._worker.retrying]
        failed = {r.item for r in rejects}
        data.rejects.change(
            [{"reject_id": reject_id(uri, "ingest"), "resolved": run} for uri in got if uri not in failed]
        )
        return len(rejects)

    def _name_languages(self, captions: list[Caption]) -> None:
        for caption in captions:
            caption.lang = parse_language(caption.lang) or "und"
        # a caption that brings its id is one of ours: its language was settled when it was made
        unknown = [c for c in captions if c.lang == "und" and not c.caption_id]
        if not unknown or not self.identify:
            return
        if self._identifier is None:
            from panoglot.providers import load_model

            self._identifier = load_model(self.identify, "language_identifier")
        for caption, (lang, confidence) in zip(unknown, self._identifier.identify([c.text for c in unknown])):
            caption.lang = lang
            caption.scores = {**caption.scores, "lid": confidence}
