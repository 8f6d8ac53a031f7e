"""Nearest rows through Lance's IVF_RQ index, refined by the stored vectors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from panoglot.vectors._exact import dots

if TYPE_CHECKING:
    import numpy as np

    from panoglot.table import Table

__all__ = ["INDEX", "has_index", "make_index", "nearest_indexed"]

INDEX = "vector_idx"
#: Rows of a partition that an index is built for, and the share of partitions that a query looks into.
_ROWS, _SHARE = 1_000, 0.02


def has_index(table: Table) -> bool:
    """Say whether the table has its vector index."""
    return any(index.name == INDEX for index in table.lance().describe_indices())


def _partitions(rows: int) -> int:
    return max(1, min(rows // _ROWS, 16_384))


def make_index(table: Table, *, rebuild: bool = False) -> str:
    """Build the index, or take new rows into it; returns `built` or `updated`."""
    with table.writing():
        data = table.lance()
        if has_index(table) and not rebuild:
            data.optimize.optimize_indices()
            return "updated"
        partitions = _partitions(data.count_rows())
        data.create_index("vector", "IVF_RQ", name=INDEX, metric="dot", num_partitions=partitions, replace=True)
        table.lance().create_scalar_index("id", "BTREE", name="id_idx", replace=True)
    return "built"


def nearest_indexed(
    table: Table, query: np.ndarray, k: int, where: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find about the `k` best rows; rows that the index does not know yet are compared one by one, deleted ones never.

    Returns:
        `(owners, of_caption, scores)`: `S32`, bool and float64 `[n]`, best first; fewer than `k` when there are no more
        rows.
    """
    import numpy as np

    data = table.lance()
    probes = max(20, math.ceil(_SHARE * _partitions(data.count_rows())))
    rows = data.scanner(
        columns=["id", "of", "vector", "_distance"],
        filter=where,
        prefilter=where is not None,
        nearest={"column": "vector", "q": query, "k": k, "nprobes": probes, "refine_factor": 10, "metric": "dot"},
    ).to_table()
    vectors = rows["vector"].combine_chunks().flatten().to_numpy().reshape(rows.num_rows, -1)
    scores = dots(vectors, query)
    owners = np.array(rows["id"].to_pylist(), "S32")
    captions = np.array(rows["of"].to_pylist(), object) == "caption"
    order = np.lexsort((owners, -scores))
    return owners[order], captions[order], scores[order]
