"""What a run did, as Python gets it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from panoglot.asking import Spent
from panoglot.formats import Unused
from panoglot.recipes._forecast import Forecast
from panoglot.recipes._languages import NotMade
from panoglot.recipes._outcome import Made, made_by, remarks
from panoglot.running import StageResult
from panoglot.running._progress import price_text
from panoglot.table import Dataset

__all__ = ["RunResult"]


def _rounded_up(dollars: float) -> str:
    """Two digits, never less.

    >>> _rounded_up(0.00313), _rounded_up(12.01), _rounded_up(0.02)
    ('0.0032', '13', '0.020')
    """
    shift = 1 - math.floor(math.log10(dollars))
    return f"{math.ceil(round(dollars * 10**shift, 6)) / 10**shift:.{max(0, shift)}f}"


@dataclass
class RunResult:
    """What a run did.

    Attributes:
        dataset: the dataset.
        run_id: its row in `runs`.
        status: `done`, or `stopped` when `max_cost` was reached (the same call goes on).
        stages: what every stage did, in order.
        seconds: wall seconds.
        report: the report's path, if the recipe made one.
        problem: why nothing came of it, in a line with what mends it: all failed, or all was dropped; else None. The
            command line exits with 3 then.
        opted_out: that the owners of all new pictures opted out, in a line with how to go on; else None.
        not_made: languages that were asked for and that nothing is in, with the reasons.
        erased: whether nothing is left on the disk of what a mirror forgot.
        said: what the verb says beside the counts, a line each.
        mended: translations that an older Panoglot had stored as written by people, and that are `short` now.
        no_language: nothing that is installed could have made any of the languages asked for.
        earlier: ids of the runs before it that this counts too: `retry` runs a recipe after the other.
        forecast: in a dry run what would be read, asked and paid; the dataset may not be there then.
    """

    dataset: Dataset
    run_id: str
    status: str = "done"
    stages: list[StageResult] = field(default_factory=list)
    seconds: float = 0.0
    report: Path | None = None
    problem: str | None = None
    opted_out: str | None = None
    not_made: list[NotMade] = field(default_factory=list)
    no_language: bool = False
    said: list[str] = field(default_factory=list)
    mended: int = 0
    erased: bool = True
    earlier: list[str] = field(default_factory=list)
    forecast: Forecast | None = None

    def after(self, other: RunResult | None) -> RunResult:
        """Count what another run did before this one: a stage that both have is one."""
        if other is None:
            return self
        self.earlier = [*other.earlier, other.run_id]
        stages = {stage.id or stage.name: stage for stage in other.stages}
        for stage in self.stages:
            have = stages.setdefault(stage.id or stage.name, stage)
            if have is not stage:
                have.add(stage)
        self.stages = list(stages.values())
        self.seconds += other.seconds
        self.status = "stopped" if "stopped" in (self.status, other.status) else self.status
        self.problem = " ".join(line for line in dict.fromkeys((other.problem, self.problem)) if line) or None
        self.said = [*other.said, *self.said]
        self.report = self.report or other.report
        self.mended += other.mended
        self.erased = self.erased and other.erased
        return self

    @property
    def unused(self) -> list[Unused]:
        """What the source holds that was not used: texts of no picture, columns that were not read, …"""
        return [Unused.from_dict(one) for stage in self.stages for one in stage.notes.get("unused", ())]

    @property
    def remarks(self) -> list[str]:
        """What is to be said beside the counts, a line each: what was not used, duplicates, what has changed."""
        what = "translation of an older Panoglot was" if self.mended == 1 else "translations of an older Panoglot were"
        now = "it is" if self.mended == 1 else "they are"
        mended = f"{self.mended:,} {what} stored as human or alt: {now} short now"
        return [*([mended] if self.mended else []), *self.said, *remarks(self.stages, self.dataset.address)]

    @property
    def made(self) -> Made:
        """What the run wrote, counted in the dataset."""
        return made_by(self.dataset, *self.earlier, self.run_id)

    @property
    def spent(self) -> Spent:
        """Tokens and price of all stages."""
        total = Spent()
        for stage in self.stages:
            total.add(stage.spent)
        return total

    @property
    def stopped(self) -> str | None:
        """Why it stopped at `max_cost`, and what goes on; None when it did not."""
        if self.status != "stopped":
            return None
        dear = max((cost for stage in self.stages for cost in stage.notes.get("not_asked_at", ())), default=0.0)
        if self.spent.asked or not dear:
            return "Stopped at --max-cost; the same command goes on."
        more = f"give --max-cost {_rounded_up(dear)} or more, and it goes on"
        return f"Stopped at --max-cost: nothing was asked, as one question may cost up to {price_text(dear)}; {more}."

    @property
    def rejected(self) -> int:
        """Rows that failed in this run."""
        return sum(stage.rejected for stage in self.stages)

    @property
    def reject_rate(self) -> float:
        """The largest share of failed rows of any stage; whose owner opted out did not fail."""
        failed = ((s.rejected - s.notes.get("opted_out", 0), s.done + s.rejected) for s in self.stages)
        rates = [count / total for count, total in failed if total]
        return max(rates, default=0.0)
