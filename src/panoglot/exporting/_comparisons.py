"""Which of two captions of a picture was held to be better: `ratings` of one caption against another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from panoglot.table import Dataset

__all__ = ["Comparisons"]


class Comparisons:
    """The comparisons of the captions of one picture after the other; all ids are in memory, 80 bytes a comparison.

    Args:
        data: the dataset.
    """

    def __init__(self, data: Dataset) -> None:
        where = "of = 'captions' and against is not null and against != ''"
        columns = ["item", "against", "value", "criterion"]
        table = data.ratings.read(columns, where) if data.ratings.exists() else None
        self.items, self.rows = np.empty(0, "S1"), table
        if table is None or not table.num_rows:
            return
        items = np.array(table["item"].to_pylist(), "S")
        order = np.argsort(items, kind="stable")
        self.items, self.rows = items[order], table.take(order)

    def __len__(self) -> int:
        return len(self.items)

    def of(self, captions: Sequence[str]) -> list[dict[str, Any]]:
        """Comparisons of captions, by id: `item`, `against`, `criterion`, and the mean `value` of their raters.

        A pair that was asked in both orders is one: its `item` is the first by id, 1 says that it is better.
        """
        values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        for caption in captions:
            key = caption.encode()
            low, high = (int(np.searchsorted(self.items, key, side)) for side in ("left", "right"))
            if self.rows is None or low == high:
                continue
            for row in self.rows.slice(low, high - low).to_pylist():
                item, other, value = row["item"], row["against"], float(row["value"])
                if item > other:
                    item, other, value = other, item, 1 - value
                values[item, other, row["criterion"] or ""].append(value)
        return [
            {"item": item, "against": other, "criterion": criterion, "value": sum(said) / len(said)}
            for (item, other, criterion), said in sorted(values.items())
        ]
