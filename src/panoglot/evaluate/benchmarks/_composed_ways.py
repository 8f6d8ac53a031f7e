"""What benchmarks of composed retrieval share as commands: a way to search, and the checks of files that are scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError
from panoglot.evaluate._declare import Way
from panoglot.metrics._results import ResultSet

if TYPE_CHECKING:
    from panoglot.retrieval import Askers

__all__ = ["one_file", "preset_models", "score_way", "search_way"]


def one_file(name: str, rankings: Sequence[str], annotations: Sequence[str]) -> tuple[str, str]:
    """The one file of each.

    Raises:
        UserError: there are more.
    """
    if len(rankings) != 1 or len(annotations) != 1:
        raise UserError(f"{name} takes one file of rankings and one of annotations.")
    return rankings[0], annotations[0]


def preset_models(
    method: str, cache: str | None, prices: str | None, max_cost: float | None, **given: str | None
) -> Askers | None:
    """The models that a preset asks, loaded; None for a method that is no preset.

    Args:
        method: the preset.
        cache: folder where their answers are kept; `off` for none; None for the user's cache folder.
        prices: file of prices, or None.
        max_cost: most US dollars of this run.
        given: model names by alias.

    Raises:
        UserError: a model that the preset asks for and nobody gave; one that was given and that it does not ask.
    """
    from panoglot.asking import cache_folder
    from panoglot.asking._made import note_model
    from panoglot.evaluate.benchmarks._composed_looks import LOOKS
    from panoglot.providers import load_model
    from panoglot.retrieval import PRESETS, Askers
    from panoglot.retrieval._planning import preset_of

    uses: dict[str, str] = {}
    looks: dict[str, str] = {}
    if method in PRESETS:
        preset = preset_of(method)
        uses = preset.uses(preset.resolve({}))
        looks = {alias: "generator" for stage, alias in LOOKS.items() if stage in preset.options()}
    for alias, name in given.items():
        if name is None and alias in uses:
            raise UserError(f"method='{method}' asks for a model: give {alias}='PROVIDER:NAME'.")
        if name is not None and alias not in uses and alias not in looks:
            raise UserError(f"method='{method}' does not ask such a model: leave {alias}='{name}' out.")
    if not uses:
        return None
    uses |= {alias: role for alias, role in looks.items() if given.get(alias) is not None}
    models = {alias: load_model(str(given[alias]), role) for alias, role in uses.items()}
    for alias, model in models.items():
        note_model(alias, model)
    folder = cache_folder(cache)
    return Askers(models, None if folder is None else str(folder / "planners"), prices, max_cost)


def score_way(score: Callable[..., ResultSet]) -> Way:
    """Score rankings that are there.

    Args:
        score: (files of rankings, files of annotations, metrics=, confidence=) to the result.
    """

    def run(
        rankings: Sequence[str],
        annotations: Sequence[str],
        *,
        metrics: Sequence[str] = (),
        confidence: float | None = None,
    ) -> ResultSet:
        return score(rankings, annotations, metrics=metrics, confidence=confidence)

    return Way(run)


def search_way(name: str, without: Sequence[str] = ()) -> Way:
    """Search a benchmark's pictures with an encoder.

    Args:
        name: of the benchmark.
        without: options that it does not have.
    """

    def run(
        annotations: Sequence[str],
        images: Sequence[str],
        encoder: Any,
        *,
        method: str = "sum",
        weight: float = 0.5,
        texts: str | None = None,
        lang: str = "en",
        split: str = "val",
        submission: str | None = None,
        metrics: Sequence[str] = (),
        on_error: str = "raise",
        confidence: float | None = None,
        captioner: str | None = None,
        llm: str | None = None,
        lvlm: str | None = None,
        verifier: str | None = None,
        evaluator: str | None = None,
        option: Sequence[str] = (),
        captions: str | None = None,
        cache: str | None = None,
        prices: str | None = None,
        max_cost: float | None = None,
        dry_run: bool = False,
        pad: float | None = None,
    ) -> ResultSet:
        """Search, and score what was found.

        Args:
            method: `image` (the reference alone), `text` (the instruction alone), `sum` of both, or a preset of
                `panoglot search`: `rules`, `learned`, `cirevl`, `cotmr`, `imagescope` (which verifies and judges its
                best where these models are given).
            weight: of the text in `sum`, 0..1.
            texts: JSON of texts to search with instead of the instructions, by query id (a method's rewritten
                captions).
            split: of the annotations.
            submission: folder for the rankings, as the official servers take them.
            captioner: model name of a preset's captioner.
            llm: model name of a preset's language model.
            lvlm: model name of a preset's model that sees and reasons.
            verifier: model name that checks a preset's propositions in its best candidates.
            evaluator: model name that holds a preset's first candidates beside the reference.
            option: options of a preset, as `NAME=VALUE`.
            captions: JSON of captions of the gallery's pictures, by name, for a preset that scores them too.
            dry_run: only say how many questions each model would be asked, and what that costs at most.
            pad: for the encoder longer pictures have black beside them, up to this ratio of sides; 0 for none. Without
                it as the method's paper says: 1.25 for `cirevl` and `cotmr`.
        """
        from panoglot.evaluate.benchmarks._composed_run import composed_run
        from panoglot.retrieval import option_values

        return composed_run(
            encoder, name, annotations, images, method=method, weight=weight, texts=texts, lang=lang, split=split,
            on_error=on_error, output=submission, metrics=metrics, confidence=confidence,
            askers=preset_models(
                method, cache, prices, max_cost, captioner=captioner, llm=llm, lvlm=lvlm, verifier=verifier,
                evaluator=evaluator,
            ),
            options=option_values(option), captions=captions, dry_run=dry_run, pad=pad,
        )  # fmt: skip

    return Way(run, only={"weight": ("method", "sum")}, without=without)
