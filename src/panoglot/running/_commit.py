"""Outcomes to rows: the one place where a stage writes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from panoglot.running._stage import Outcome, Stage, StageResult, Worker, add_notes
from panoglot.running._there import new_facts, new_texts
from panoglot.table import Reject, caption_to_row, forgotten, give_back_memory, reject_id, vector_id

if TYPE_CHECKING:
    import pyarrow as pa

    from panoglot.pictures import Image

__all__ = ["Committer", "Pace"]

#: Seconds that outcomes wait for a commit, at most so long where commits are dear: what a kill costs unjournalled work.
WAIT, LONGEST = 5.0, 60.0
#: Time between commits, in times of what the last one took.
APART = 10
#: So many outcomes, or so many bytes of pictures, are committed at once.
MOST, MOST_BYTES = 8192, 64 * 2**20


@dataclass(slots=True)
class Pace:
    """What the last commit of a worker took, in seconds; it outlives the batches that the worker is given."""

    cost: float = 0.0

    def due(self, waiting: int, enough: int, waited: float, size: int = 0) -> bool:
        """Say whether to commit now.

        >>> Pace(0.1).due(64, 64, 0.5), Pace(0.1).due(64, 64, 1.0), Pace(0.1).due(1, 64, 5.0), Pace(2.0).due(1, 64, 5.0)
        (False, True, True, False)

        Args:
            waiting: outcomes that wait.
            enough: how many are worth a commit.
            waited: seconds since the last one.
            size: bytes of pictures that wait.
        """
        apart = min(APART * self.cost, LONGEST)
        if waiting >= MOST or size >= MOST_BYTES:
            return True
        return waited >= (apart if waiting >= enough else max(WAIT, apart))


class Committer:
    """Gathers outcomes and commits them in chunks: a tenth of the time at most goes into commits, whatever they take.

    Order matters: what an item made goes in first, its ledger row last. A crash in between costs a repetition, whose
    rows have the same ids and insert nothing.
    """

    def __init__(self, stage: Stage, worker: Worker, pace: Pace | None = None) -> None:
        self.stage, self.worker, self.pace = stage, worker, pace or Pace()
        self.result = StageResult(stage.name, stage.id)
        self._waiting: list[tuple[str, Outcome]] = []
        self._since = self._trimmed = time.monotonic()
        self._bytes = 0

    def emit(self, key: str, outcome: Outcome) -> None:
        """Take an outcome; commit when it is time to."""
        self._waiting.append((key, outcome))
        self._bytes += sum(len(image.data) for image in outcome.images)
        if self.pace.due(len(self._waiting), self.stage.commit, time.monotonic() - self._since, self._bytes):
            self.flush()

    def flush(self) -> None:
        """Commit what waits."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if waiting:
            started = time.monotonic()
            self._commit(waiting)
            self.pace.cost = time.monotonic() - started
        self._since = time.monotonic()

    def _commit(self, waiting: list[tuple[str, Outcome]]) -> None:
        data, run, stage = self.worker.dataset, self.worker.run_id, self.stage
        done = [(key, o) for key, o in waiting if not o.reject and not o.pending]
        failed = [(key, o) for key, o in waiting if o.reject]
        # somebody had a picture forgotten while it was looked at, or it was made again: nothing of it is written
        made = [image for _, o in done for image in o.images]
        told, there = new_texts(data, [o for _, o in done], whole=stage.of == "images")
        facts, known = new_facts(data, [fact for _, o in done for fact in o.facts])
        add_notes(self.result.notes, {name: n for name, n in (("there", there), ("there_facts", known)) if n})
        asked = [one for _, o in done for one in o.triples]
        about = [*(key for key, _ in done if stage.of == "images"), *(c.image_id for c in told), *(i.id for i in made)]
        about += [key for one in asked for key in (one.image_id, *one.positives)]
        gone = forgotten(data, about)
        if gone:
            done = [(key, o) for key, o in done if key not in gone]
            add_notes(self.result.notes, {"forgotten": len(gone), "forgotten_names": sorted(gone)[:20]})

        captions = []
        for caption in told:
            if caption.image_id not in gone:
                caption.run_id = run
                captions.append(caption_to_row(caption))
        rows = data.images.insert([_image_row(image, run) for image in made if not {image.id, image.parent} & gone])
        rows += data.captions.insert(captions)
        rows += data.facts.insert([one.plain() | {"run_id": run} for one in facts if one.image_id not in gone])
        rows += data.documents.insert([one.plain() | {"run_id": run} for _, o in done for one in o.documents])
        asked = [one for one in asked if not {one.image_id, *one.positives} & gone]
        rows += data.triples.insert([one.plain() | {"run_id": run} for one in asked])
        rows += data.ratings.insert([one.plain() | {"run_id": run} for _, o in done for one in o.ratings])
        if stage.vectors:
            rows += data.vectors(*stage.vectors).insert(self._vector_rows(done))
        rows += data.hashes.insert(
            [
                {"image_id": key, "pdq": o.hash[0], "quality": o.hash[1], "run_id": run}
                for key, o in done
                if o.hash is not None
            ]
        )
        scored = {key: (o.scores, o.drop) for key, o in done if o.scores or o.drop}
        others = {key: value for _, o in done for key, value in o.scored.items()}
        if others:
            data.score("captions", others, run)
            rows += len(others)
        if scored:
            data.score("captions" if stage.of == "captions" else "marks", scored, run)
            rows += len(scored)
        data.rejects.upsert(
            [
                {**Reject(key, stage.id, o.reject.reason, o.reject.message).plain(), "run_id": run}
                for key, o in failed
                if o.reject
            ]
        )
        ledger = data.work(stage.id)
        (ledger.upsert if self.worker.retrying else ledger.insert)(
            [
                {
                    "item": key,
                    "outputs": len(o.captions) + len(o.vectors) if stage.of != "parts" or stage.groups else o.count,
                    "rejected": o.rejected,
                    "seconds": o.spent.seconds,
                    "tokens_in": o.spent.tokens_in,
                    "tokens_out": o.spent.tokens_out,
                    "price": o.spent.price,
                    "run_id": run,
                }
                for key, o in done
            ]
        )
        resolved = [reject_id(key, stage.id) for key, _ in done if key in self.worker.retrying]
        data.rejects.change([{"reject_id": key, "resolved": run} for key in resolved])

        if time.monotonic() - self._trimmed > 2:
            give_back_memory()
            self._trimmed = time.monotonic()
        self.result.rows += rows
        self.result.done += sum(o.count for _, o in done)
        self.result.rejected += len(failed) + sum(o.rejected for _, o in done)
        self.result.pending += sum(o.pending for _, o in waiting)
        for _, outcome in waiting:
            self.result.spent.add(outcome.spent)
            add_notes(self.result.notes, outcome.notes)

    def _vector_rows(self, done: list[tuple[str, Outcome]]) -> pa.Table:
        import numpy as np
        import pyarrow as pa

        if self.stage.vectors is None:
            raise ValueError(f"stage {self.stage.name} has no vectors")
        name, dim = self.stage.vectors
        rows = [(key, *row) for key, outcome in done for row in outcome.vectors]
        schema = self.worker.dataset.vectors(name, dim).schema
        values = np.array([vector for *_, vector in rows], dtype=np.float16).reshape(-1)
        columns = {
            "vector_id": [vector_id(key, self.stage.fingerprint, ordinal) for key, _, ordinal, _, _ in rows],
            "id": [key for key, *_ in rows],
            "of": [of for _, of, *_ in rows],
            "lang": [lang for *_, lang, _ in rows],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(values, pa.float16()), dim),
            "run_id": [self.worker.run_id] * len(rows),
        }
        return pa.Table.from_arrays([pa.array(columns[f.name], f.type) for f in schema], schema=schema)


def _image_row(image: Image, run: str) -> dict[str, Any]:
    """The row of a picture that a method made."""
    return {
        "image_id": image.id,
        "data": image.data,
        "uri": image.uri,
        "width": image.width,
        "height": image.height,
        "format": image.format,
        "size": len(image.data),
        "group": image.group,
        "time": image.time,
        "context": json.dumps(image.context, ensure_ascii=False),
        "run_id": run,
        "recipe": image.recipe,
        "model": image.model or None,
        "parents": [image.parent] if image.parent else [],
        "region": image.region.plain() if image.region else None,
    }
