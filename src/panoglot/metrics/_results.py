"""Several results in one file: one a language, a direction, a metric."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from panoglot.asking._made import made_lines
from panoglot.metrics._result import FORMAT, MetricResult

__all__ = ["ResultSet", "mean_over"]


class ResultSet(dict[str, MetricResult]):
    """Results by name, in order; `notes` are about all of them, `summary` holds means over them, `made` what made them.

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
        made: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(results or {})
        self.summary = dict(summary or {})
        self.notes = notes
        self.made = dict(made or {})

    def as_dict(self, per_item: bool = False) -> dict[str, Any]:
        """Plain JSON-able data."""
        results = {name: result.as_dict(per_item) for name, result in self.items()}
        data = {"format": FORMAT, "results": results, "summary": self.summary, "notes": list(self.notes)}
        return {**data, "made": self.made} if self.made else data

    def to_json(self, per_item: bool = False) -> str:
        """JSON with sorted keys, one value a line."""
        return json.dumps(self.as_dict(per_item), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)

    def table(self) -> str:
        """A line a result, with every metric that was asked for; the parts of a lone result too; who judged."""
        made = made_lines(self.made)
        if len(self) == 1 and not self.summary and not self.notes:
            return "\n".join([next(iter(self.values())).table(), *made])
        wide = max(map(len, [*self, *self.summary]), default=0)
        lines = []
        for name, result in self.items():
            more = [f"{asked} {_shown(value)}" for asked, value in result.asked().items()]
            lines.append("   ".join([f"{name:<{wide}}", result.table().splitlines()[0], *more]))
        for name, value in self.summary.items():
            lines.append(f"{name:<{wide}}   {_shown(value)}")
        notes = dict.fromkeys([*self.notes, *(note for result in self.values() for note in result.notes)])
        return "\n".join([*lines, *(f"  note: {note}" for note in notes), *made])

    def say_why_null(self) -> None:
        """Give every result without a value a note that says why, where it has none."""
        for name, result in self.items():
            if result.value is None and not result.notes and not self.notes:
                why = f"{result.unscored} of {result.n} items have no value" if result.n else "there were no items"
                self[name] = replace(result, notes=(f"{name}: nothing could be scored, {why}",))

    @property
    def scored(self) -> bool:
        """Whether anything has a value (rankings that only a server can score do not count as failed)."""
        return not self or any(result.value is not None for result in self.values())


def _shown(value: float | None) -> str:
    return "null" if value is None else f"{value:.4f}"


def mean_over(found: Mapping[str, MetricResult]) -> float | None:
    """The unweighted mean of all results; None when one has no value: means over different ones do not compare.

    >>> from panoglot.metrics._result import mean_result
    >>> one, none = (mean_result("acc", [value], version="1") for value in (1, None))
    >>> mean_over({"de": one, "ja": one}), mean_over({"de": one, "ja": none})
    (1.0, None)
    """
    values = [result.value for result in found.values()]
    have = [value for value in values if value is not None]
    return sum(have) / len(have) if have and len(have) == len(values) else None
