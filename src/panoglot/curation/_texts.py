"""The captions that a filter over groups of texts sees, streamed as often as it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from panoglot.curation._contract import owns
from panoglot.curation._same import OWN
from panoglot.table import Caption, Dataset, caption_records, sql_in

__all__ = ["Texts"]

_BATCH = 8192


class Texts:
    """The captions of some kinds that no method dropped.

    What came over from a copy is there among those that are kept alone: it was counted where it came from.

    Attributes:
        total: about how many there are.
        statistics: what the filter found out; comes back in the result.
        dry_run: nothing is to be written.
    """

    def __init__(
        self,
        dataset: Dataset,
        kinds: frozenset[str],
        keep: Callable[[list[Caption], bool], list[Caption]] = lambda captions, any_image: captions,
        *,
        dry_run: bool = False,
    ) -> None:
        self._dataset, self._where, self._keep = dataset, sql_in("kind", sorted(kinds)), keep
        self.total = dataset.captions.count(self._where)
        self.statistics: dict[str, Any] = {}
        self.dry_run = dry_run

    def __call__(self, *, kept: bool = False, any_image: bool = False, scores: bool = False) -> Iterator[list[Caption]]:
        """Stream them in batches.

        Args:
            kept: leave out those that an earlier step drops, and those of dropped images.
            any_image: do not leave out those of dropped images.
            scores: with their scores.
        """

        left_out = set() if kept or scores else {"scores", "parents"}
        names = [name for name in self._dataset.captions.schema.names if name not in left_out]
        where = self._where if kept else f"({self._where}) and {OWN}"
        for batch in self._dataset.captions.batches(names, where, size=_BATCH):
            captions = [
                caption for caption in caption_records(batch) if caption.dropped is None or owns(caption.dropped)
            ]
            yield self._keep(captions, any_image) if kept else captions
