"""Filter `adult`: pictures that a classifier holds for adult content."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from panoglot.asking import Spent
from panoglot.curation._contract import UNSCORED, Facts, Verdict, image_filter
from panoglot.curation._measure import measured
from panoglot.errors import RowError
from panoglot.identity import fingerprint
from panoglot.providers import load_model
from panoglot.running import Emit, Item, Outcome, Stage, Worker
from panoglot.table import Dataset

__all__ = ["TagOperator", "adult"]


def _prepare(dataset: Dataset, options: Mapping[str, Any], run: Callable[[Stage], None]) -> None:
    if options["tagger"]:
        model = load_model(options["tagger"], "tagger")
        print_ = fingerprint([model.fingerprint, options["name"], sorted(options["tags"])])
        run(Stage("curate.tag", print_, TagOperator(options["tagger"], options["name"], frozenset(options["tags"]))))


@image_filter("adult", needs=("scores",), prepare=_prepare, models={"tagger": "tagger"})
def adult(
    facts: Facts,
    *,
    name: str = "nsfw",
    maximum: float = 0.5,
    tagger: str = "",
    tags: tuple[str, ...] = ("nsfw", "porn", "hentai", "sexy"),
) -> Verdict:
    """Drop images whose score for adult content is above `maximum`.

    Panoglot brings no such classifier. Without scores and without `tagger` the rule is reported as not applied.

    Args:
        facts: the scores in `marks`.
        name: the score.
        maximum: most that is kept.
        tagger: a classifier (`provider:name`) that writes the score: the greatest of its scores for `tags`.
        tags: what it calls adult content.

    Source: ALIGN (Jia et al. 2021), section 3: pornographic images are removed.

    >>> adult({"scores": {"nsfw": 0.9}}), adult({"scores": {"nsfw": 0.5}}), adult({"scores": {}})
    ('adult', None, <Unscored.UNSCORED: 'unscored'>)
    """
    value = measured(f"score {name}", (facts.get("scores") or {}).get(name), most=maximum)
    if value is None or value != value:
        return UNSCORED
    return "adult" if value > maximum else None


@dataclass
class TagOperator:
    """Writes the greatest score of some tags as a score of the image."""

    tagger: str
    name: str
    tags: frozenset[str]
    _model: Any = None

    def open(self, worker: Worker) -> None:
        """Load the classifier."""
        self._model = load_model(self.tagger, "tagger")

    def process(self, items: Iterator[Item], emit: Emit) -> None:
        """Tag; a picture that cannot be tagged is a reject."""
        while batch := list(itertools.islice(items, getattr(self._model, "batch_size", 16))):
            started = time.perf_counter()
            answers = self._model.tag([item.image for item in batch])
            spent = (time.perf_counter() - started) / len(batch)
            for item, tags in zip(batch, answers):
                if isinstance(tags, RowError):
                    emit(item.key, Outcome(reject=tags))
                    continue
                found = max((tag.score for tag in tags if tag.name in self.tags), default=0.0)
                emit(item.key, Outcome(scores={self.name: found}, spent=Spent(seconds=spent)))

    def close(self) -> None:
        """Release the model."""
        self._model = None
