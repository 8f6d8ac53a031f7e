"""Several results in one file: one a language, a direction, a metric."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from panoglot.metrics._result import FORMAT, MetricResult

__all__ = ["ResultSet"]


class ResultSet(dict[str, MetricResult]):
    """Results by name, in order; `notes` are about all of them, `summary` holds means over them.

    >>> from panoglot.metrics._result import mean_result
    >>> found = ResultSet({"de": mean_result("acc", [1, 0], version="1", language="de")}, summary={"mean": 0.5})
    >>> print(found.table())
    de     acc   0.5000   n 2   de
    mean   0.5000
    """

    def __init__(
        self,
        results: Mapping[str, MetricResult] | None = None,
        *,
        summary: Mapping[str, float | None] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(results or {})
        self.summary = dict(summary or {})
        self.notes = notes

    def as_dict(self, per_item: bool = False) -> dict[str, Any]:
        """Plain JSON-able data."""
        results = {name: result.as_dict(per_item) for name, result in self.items()}
        return {"format": FORMAT, "results": results, "summary": self.summary, "notes": list(self.notes)}

    def to_json(self, per_item: bool = False) -> str:
        """JSON with sorted keys, one value a line."""
        return json.dumps(self.as_dict(per_item), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)

    def table(self) -> str:
        """A line a result; the parts of a lone result too."""
        if len(self) == 1 and not self.summary and not self.notes:
            return next(iter(self.values())).table()
        wide = max(map(len, [*self, *self.summary]), default=0)
        lines = [f"{name:<{wide}}   {result.table().splitlines()[0]}" for name, result in self.items()]
        for name, value in self.summary.items():
            lines.append(f"{name:<{wide}}   " + ("null" if value is None else f"{value:.4f}"))
        notes = dict.fromkeys([*self.notes, *(note for result in self.values() for note in result.notes)])
        return "\n".join([*lines, *(f"  note: {note}" for note in notes)])
