"""`caption --compare`: methods side by side on the same pictures, on a page; the dataset stays as it is."""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panoglot.asking import Spent
from panoglot.errors import UserError
from panoglot.languages import base_language
from panoglot.recipes._forecast import Forecast
from panoglot.recipes._narrow import apart, narrowed
from panoglot.recipes._recipe import Recipe
from panoglot.recipes._steps import Step
from panoglot.reporting._compare import Column, comparison_page
from panoglot.running import Outcome, Stage, Worker, add_notes, get_method, method_stage
from panoglot.running._estimate import estimate, read_items
from panoglot.running._results import fallback_share, named_notes
from panoglot.running._signals import graceful
from panoglot.table import Dataset, sql_in

__all__ = ["Comparison", "compare_methods"]

#: Metrics that need no references: (what it is, 1 where higher is better, -1 where lower is, 0 where neither).
PLAIN = {
    "length": ("words a caption", 0),
    "distinct-n": ("distinct words over all words", 1),
    "self-bleu": ("how alike the captions are", -1),
    "readability": ("LIX: higher is harder to read", 0),
}
#: Those that ask an encoder.
SEEN = {
    "clipscore": ("how well caption and picture fit", 1),
    "self-retrieval": ("finds its own picture among these, %", 1),
}


@dataclass
class Comparison:
    """What methods wrote about the same pictures; nothing of it is in the dataset.

    Attributes:
        images: ids of the pictures.
        methods: a column a method: texts, failures, price, time, scores.
        path: the page.
        spent: tokens and price of all.
    """

    images: list[str]
    methods: list[Column]
    path: Path
    spent: Spent

    @property
    def not_asked(self) -> dict[str, int]:
        """Method to the number of pictures that it was not asked about, as `max_cost` was reached; none is left out."""
        return {one.name: len(one.not_asked) for one in self.methods if one.not_asked}

    @property
    def problem(self) -> str | None:
        """Why nothing came of it, or None."""
        if any(one.kept or one.facts for one in self.methods):
            return None
        reasons = Counter(why.partition(":")[0] for one in self.methods for why in one.problems.values())
        reasons.update(str(caption.dropped) for one in self.methods for caption in one.dropped)
        reasons.update({"not asked": sum(self.not_asked.values())} if self.not_asked else {})
        said = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common(4)) or "nothing was written"
        return f"no method wrote a caption that would be kept ({said}): {self.path} shows all"


def compare_methods(
    data: Dataset,
    recipes: Sequence[Recipe],
    output: str | os.PathLike[str],
    *,
    sample: int = 20,
    encoder: str | None = None,
    max_cost: float | None = None,
    dry_run: bool = False,
) -> Comparison | Forecast:
    """Let every method of some recipes caption the same pictures, and write a page.

    Args:
        data: the dataset; its journal takes the answers, its tables nothing.
        recipes: with steps that are methods of pictures, already checked: one for each captioner that is compared.
        output: the page.
        sample: pictures: those with the first ids, which are hashes of the bytes.
        encoder: a model that says how well a text fits a picture, for two more scores.
        max_cost: US dollars for all methods.
        dry_run: only count what would be asked and paid, all of it as if the journal held no answer.

    Raises:
        UserError: a method of groups, no pictures, or the page cannot be written.
    """
    path = Path(output)
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(
            f"--compare {path}: give the name of a page in a folder that is there, for example compare.html"
        )
    stages, titles = [], dict[str, Stage]()
    for recipe, name, (step, options) in _columns_of(recipes):
        own, narrowing = apart(get_method(step), options)
        if get_method(step).unit != "image":
            raise UserError(f"method '{step}' does not work on single pictures: --compare cannot set it beside others.")
        stages.append(narrowed(method_stage(step, own, recipe.models, prices=recipe.prices), **narrowing))
        if titles.setdefault(name, stages[-1]) is not stages[-1]:
            raise UserError(f"--compare: '{name}' is asked for twice; its columns would be the same.")
    keys = _pictures(data, stages[0], sample)
    if not keys:
        raise UserError(f"no picture of {data.address} is kept and fits --where: there is nothing to compare.")
    if dry_run:
        return Forecast(data, [estimate(data, stage, prices=recipes[0].prices, keys=keys) for stage in stages])
    spent, columns = Spent(), []
    for (recipe, name, (step, options)), stage in zip(_columns_of(recipes), stages, strict=True):
        left = None if max_cost is None else max(0.0, max_cost - (spent.price or 0.0))
        column, cost = _column(data, stage, name, keys, left)
        own, _ = apart(get_method(step), options)
        column.models = _asked_by(recipe, step, own)
        column.options = {key: str(value) for key, value in options.items() if key not in ("lang", *column.models)}
        columns.append(column)
        spent.add(cost)
    metrics = {**PLAIN, **(SEEN if encoder else {})}
    notes = _score(data, columns, keys, encoder, metrics)
    page = comparison_page(data, keys, columns, metrics, notes)
    try:
        path.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror}; give another --compare.") from None
    return Comparison(keys, columns, path, spent)


def _pictures(data: Dataset, stage: Stage, sample: int) -> list[str]:
    """The pictures that all methods get: kept ones, done before or not."""
    if stage.prepare is not None:
        stage = stage.prepare(stage, data, "")
    dropped = data.dropped_images()
    ids = data.images.read(["image_id"], stage.taken)["image_id"].to_pylist()
    return sorted(set(ids) - dropped)[:sample]


def _columns_of(recipes: Sequence[Recipe]) -> list[tuple[Recipe, str, Step]]:
    """A column each: its recipe, its name (the method, and what tells two columns of one method apart), its step."""
    found = []
    for recipe in recipes:
        names = [step for step, _ in recipe.steps]
        for step, options in recipe.steps:
            lang = options.get("lang")
            more = [lang] if names.count(step) > 1 and isinstance(lang, str) else []
            more += [recipe.models["captioner"]] if len(recipes) > 1 else []
            found.append((recipe, " ".join([step, *more]), (step, options)))
    return found


def _asked_by(recipe: Recipe, step: str, own: Mapping[str, Any]) -> dict[str, str]:
    """The models that a method asks: what the recipe calls them, or their role, to their names."""
    method = get_method(step)
    uses = method.uses(method.resolve(own))
    return {name if name in recipe.models else role: recipe.models.get(name, name) for name, role in uses.items()}


def _column(
    data: Dataset, stage: Stage, name: str, keys: Sequence[str], max_cost: float | None
) -> tuple[Column, Spent]:
    """What one method writes, without writing it anywhere."""
    found: dict[str, Outcome] = {}
    operator = stage.operator
    items = read_items(data, stage, keys)
    operator.open(Worker(data, f"compare-{secrets.token_hex(8)}", stage.id, max_cost))
    started = time.monotonic()
    try:
        with graceful():  # Ctrl-C: the journal takes the answers under way
            operator.process(iter(items), found.__setitem__)
    finally:
        operator.close()
    seconds = time.monotonic() - started
    spent, column, notes = Spent(), Column(name), dict[str, Any]()
    for key in keys:
        one = found.get(key)
        if one is None or one.pending:
            column.not_asked.append(key)
            spent.add(one.spent if one is not None else Spent())
            continue
        spent.add(one.spent)
        add_notes(notes, one.notes)
        if one.reject is not None:
            column.problems[key] = str(one.reject)
        column.texts[key], column.facts[key] = list(one.captions), list(one.facts)
    column.facts = {key: facts for key, facts in column.facts.items() if facts}
    column.asked, column.recalled = spent.asked, spent.recalled
    column.fell_back = fallback_share(notes)
    fell = [", ".join(f"{what} {count:,}" for what, count in named_notes(notes, p)) for p in ("fallback_", "failed_")]
    column.fell_where = "; ".join(filter(None, fell))
    tried = max(1, len(keys) - len(column.not_asked))
    column.seconds = None if spent.recalled or column.not_asked else seconds / tried * 1000
    known = spent.price is not None and spent.was is not None
    column.price = ((spent.price or 0) + (spent.was or 0)) / tried * 1000 if known else None
    return column, spent


def _score(
    data: Dataset, columns: Sequence[Column], keys: Sequence[str], encoder: str | None, metrics: Mapping[str, Any]
) -> list[str]:
    """Score every column's captions: one a picture, in its commonest language; what a reader must know about it."""
    from panoglot.asking import encode_images, load_encoder
    from panoglot.metrics._declare import find_metric
    from panoglot.running._rows import image_items

    model: Any = load_encoder(encoder) if encoder else None
    vectors: Any = None
    if model is not None:
        images = {image.id: image for image in image_items(data, sql_in("image_id", keys))}
        vectors = encode_images(model, [images[key] for key in keys])
    place = {key: n for n, key in enumerate(keys)}
    notes: list[str] = []
    for column in columns:
        texts, lang = _texts(column)
        if not texts:
            continue
        for name in metrics:
            metric = find_metric(name)
            given: dict[str, Any] = {"lang": lang, "confidence": 0.95, "encoder": model}
            given["images"] = None if vectors is None else vectors[[place[key] for key in texts]]
            try:
                result = metric(list(texts.values()), on_error="null", **given)
            except UserError as error:
                notes.append(f"{column.name}, {name}: {error}")
                continue
            bounds = result.interval
            column.scores[name] = (result.value, bounds.low if bounds else None, bounds.high if bounds else None)
    notes.append("Scores are of one caption a picture, in the method's commonest language, without references.")
    if any(column.recalled for column in columns):
        notes.append(
            "Where the journal answered, the price is what those questions cost before; their time is not known."
        )
    if not encoder:
        notes.append("With --encoder MODEL the page says how well the captions fit the pictures, too.")
    return notes


def _texts(column: Column) -> tuple[dict[str, str], str]:
    """Image to one kept caption, and their language."""
    told = [one for one in column.kept if one.kind not in ("fact", "label", "ocr")] or column.kept
    counts = Counter(base_language(one.lang) for one in told)
    if not counts:
        return {}, "und"
    lang = counts.most_common(1)[0][0]
    texts: dict[str, str] = {}
    for one in told:
        if base_language(one.lang) == lang:
            texts.setdefault(one.image_id, one.text)
    return texts, lang
