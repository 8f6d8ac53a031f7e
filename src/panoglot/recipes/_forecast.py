"""What the methods of a recipe would do and cost: `--dry-run`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from panoglot.recipes._narrow import apart, narrowed
from panoglot.recipes._recipe import Recipe
from panoglot.running import Estimate, Stage, estimate, get_method, method_stage
from panoglot.running._standins import TEXT
from panoglot.storage import open_store
from panoglot.table import Dataset, open_dataset

__all__ = ["Forecast", "Unread", "forecast", "forecast_build"]

#: Side lengths of the picture that stands in for those that were not read yet.
_STANDIN = (1024, 768)


@dataclass(frozen=True)
class Unread:
    """What a source holds that is not in the dataset yet, as far as its listing tells.

    Attributes:
        pictures: in the parts that say how many they hold.
        parts: parts that are not read yet: files, shards, groups of rows.
        uncounted: of these, parts that do not say how many pictures they hold.
        read: parts that were read before.
    """

    pictures: int
    parts: int
    uncounted: int
    read: int


@dataclass
class Forecast:
    """What would be done; nothing was asked or written.

    Attributes:
        dataset: the dataset.
        steps: what every step would do.
        limit: rows a step at most, or None.
        unread: what the source holds beside; None where no source is read.
    """

    dataset: Dataset
    steps: list[Estimate] = field(default_factory=list)
    limit: int | None = None
    unread: Unread | None = None

    def rows(self, step: Estimate) -> int:
        """How many rows a step would take."""
        return step.pending if self.limit is None else min(step.pending, self.limit)

    @property
    def price(self) -> float | None:
        """US dollars for all steps, at most; None when a price is not known."""
        prices = [None if one.price is None else one.price * self.rows(one) / 1000 for one in self.steps]
        return None if None in prices else sum(one or 0.0 for one in prices)

    @property
    def whole(self) -> bool:
        """Whether all is counted; False: it may be more than is said."""
        return all(one.whole for one in self.steps) and not (self.unread and self.unread.uncounted)

    @property
    def seconds(self) -> float | None:
        """Wall seconds for all steps; None where one was never measured here."""
        seconds = [None if one.seconds is None else one.seconds * self.rows(one) / 1000 for one in self.steps]
        return None if None in seconds else sum(one or 0.0 for one in seconds)


def forecast(data: Dataset, recipe: Recipe, *, limit: int | None = None) -> Forecast:
    """Count what the methods of a recipe would do, each as if those before it had been run or not: as the rows are now.

    Args:
        data: the dataset.
        recipe: with steps that are methods; already checked.
        limit: rows a step at most.
    """
    found = Forecast(data, limit=limit)
    for step, options in recipe.steps:
        own, narrowing = apart(get_method(step), options)
        stage = narrowed(method_stage(step, own, recipe.models, prices=recipe.prices), **narrowing)
        found.steps.append(estimate(data, stage, prices=recipe.prices))
    return found


def forecast_build(
    recipe: Recipe, read: Stage | None, stages: Sequence[Stage], *, limit: int | None = None
) -> Forecast:
    """Count what a recipe would read, ask and pay; the source is listed, none of its files is opened or downloaded.

    What a step asks about pictures that are not read yet is counted on one of 1,024 x 768 that stands in for them; what
    one asks about texts, on one text a picture of every captioning step before.

    Args:
        recipe: already checked.
        read: the stage that reads its source.
        stages: those of its methods, in order.
        limit: rows a step at most.
    """
    data = open_dataset(recipe.output) if open_store(recipe.output).exists() else None
    found = Forecast(data or Dataset(recipe.output), limit=limit)
    found.unread = _unread(data, read) if read is not None else None
    new = found.unread.pictures if found.unread else 0
    there = [estimate(data, stage, prices=recipe.prices) for stage in stages] if data else []
    with tempfile.TemporaryDirectory(prefix="panoglot-forecast-") as folder:
        stand_in = _stand_in(Path(folder)) if new else None
        texts = 0
        for n, stage in enumerate(stages):
            one = there[n] if there else Estimate(stage.name)
            if stand_in is not None and stage.of == "images":
                guess = estimate(stand_in, stage, prices=recipe.prices)
                one = _joined(one, guess, new if guess.pending else 0)
                texts += new if guess.pending and stage.name.startswith("caption.") else 0
            elif new or (stage.groups and found.unread and found.unread.uncounted):
                if texts and not stage.groups:
                    told = _stand_in(Path(folder) / "told", TEXT)
                    one = _joined(one, estimate(told, stage, prices=recipe.prices), texts)
                    one.notes.append(f"{texts:,} texts of the steps before are counted, those in the source are not")
                else:
                    what = "clips" if stage.groups else "texts"
                    one.notes.append(f"{what} of what is not read yet are not counted")
                one.whole = False
            found.steps.append(one)
    return found


def _unread(data: Dataset | None, read: Stage) -> Unread:
    """List the source, and leave out what was read."""
    assert read.parts is not None
    done = set(data.work(read.id).read(["item"])["item"].to_pylist()) if data else set()
    pictures = parts = uncounted = before = 0
    for part in read.parts():
        if part.key in done:
            before += 1
            continue
        count = getattr(part, "count", None)
        parts += 1
        uncounted += count is None
        pictures += count or 0
    return Unread(pictures, parts, uncounted, before)


def _stand_in(folder: Path, text: str = "") -> Dataset:
    """A dataset of one picture, perhaps with a text, on which questions are counted."""
    from PIL import Image

    from panoglot.recipes._build import ingest

    (folder / "in").mkdir(parents=True)
    if text:
        (folder / "in" / "picture.en.txt").write_text(text)
    Image.effect_noise(_STANDIN, 64).convert("RGB").save(folder / "in" / "picture.jpg")
    return ingest(str(folder / "in"), str(folder / "x.pano"), quiet=True).dataset


def _joined(there: Estimate, guess: Estimate, new: int) -> Estimate:
    """What a step would do with rows that are there and with pictures that are not read yet."""
    if there.pending:
        return replace(there, pending=there.pending + new)
    return replace(
        guess,
        pending=new,
        before=there.before,
        failing=there.failing,
        seconds=there.seconds,
        paid=there.paid,
        measured=there.measured,
    )
