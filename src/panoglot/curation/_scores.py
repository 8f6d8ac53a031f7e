"""Scores that a filter needs: are they there, and who writes them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from panoglot.asking import Spent
from panoglot.curation._contract import Run
from panoglot.errors import RowError, UserError
from panoglot.identity import fingerprint
from panoglot.providers import load_model
from panoglot.running import Emit, Item, Outcome, Stage, Worker, align_stage, encode_stage
from panoglot.table import Dataset, sql_in

__all__ = ["RewardOperator", "has_score", "run_scorer"]


def has_score(dataset: Dataset, name: str, kinds: Sequence[str]) -> None:
    """Check that some caption of these kinds has the score.

    Raises:
        UserError: none has it: a filter by this score would drop them all.
    """
    import pyarrow.compute as pc

    any_row = False
    for batch in dataset.captions.batches(["scores"], sql_in("kind", kinds), size=65_536):
        any_row = any_row or batch.num_rows > 0
        if pc.any(pc.and_(pc.equal(batch["scores"].keys, name), pc.is_valid(batch["scores"].items))).as_py():
            return
    if any_row:
        raise UserError(
            f"no caption has the score '{name}': an earlier step must write it (align: {{}} writes alignment), or name "
            f"the model that does: scorer: PROVIDER:NAME."
        )


def run_scorer(dataset: Dataset, scorer: str, name: str, kinds: Sequence[str], run: Run) -> None:
    """Let a model write the score `name` of all captions of some kinds that have none of it.

    An encoder writes `alignment`, the cosine of picture and text. A reward model (one that has `rewards` and
    `score_pairs(images, texts, langs)`, such as a trained `compress-align`) reads the picture with the text, and so
    does one with a matching head (`match(images, texts)`, BLIP's), whose score has any other name than `alignment`.

    Raises:
        UserError: the name is the other's.
    """
    where = sql_in("kind", kinds)
    model = load_model(scorer)
    if getattr(model, "rewards", False) or (name != "alignment" and hasattr(model, "match")):
        if name == "alignment":
            raise UserError(
                f"'{scorer}' is a reward model, and alignment a cosine: give its score a name, score: reward."
            )
        print_ = fingerprint([model.fingerprint, name])
        operator = RewardOperator(scorer, name)
        run(
            Stage(
                "curate.reward", print_, operator, of="captions", where=where, with_images=True, batch=256, commit=256
            )
        )
        return
    if name != "alignment":
        raise UserError(f"the encoder '{scorer}' writes the score 'alignment', not '{name}'.")
    run(lambda: encode_stage(dataset, scorer))  # making it makes room for the vectors
    run(lambda: align_stage(dataset, scorer, where=where))


@dataclass
class RewardOperator:
    """Writes the reward of captions with their pictures; null where there is no picture or no text to read."""

    scorer: str
    name: str
    _model: Any = None

    def open(self, worker: Worker) -> None:
        """Load the reward model."""
        self._model = load_model(self.scorer)

    def process(self, items: Iterator[Item], emit: Emit) -> None:
        """Score, a batch of the model at a time."""
        while batch := list(itertools.islice(items, self._model.batch_size)):
            started = time.perf_counter()
            captions = [item.caption for item in batch if item.caption]
            images = [item.image for item in batch]
            texts = [c.text for c in captions]
            if getattr(self._model, "rewards", False):
                found = self._model.score_pairs(images, texts, [c.lang for c in captions])
            else:
                matches = self._model.match(images, texts)
                found = [None if isinstance(value, RowError) else float(value) for value in matches]
            spent = (time.perf_counter() - started) / len(batch)
            for item, value in zip(batch, found, strict=True):
                emit(item.key, Outcome(scores={self.name: value}, spent=Spent(seconds=spent)))

    def close(self) -> None:
        """Release the model."""
        self._model = None
