"""A recipe of verbs: ingest, caption, curate, translate, encode, index, report."""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.recipes._build import build, ingest, run_recipe
    from panoglot.recipes._caption import caption, translate
    from panoglot.recipes._forecast import Forecast
    from panoglot.recipes._outcome import Made, made_by
    from panoglot.recipes._recipe import Recipe, load_recipe, recipe_from_options
    from panoglot.recipes._result import RunResult
    from panoglot.recipes._retry import retry
    from panoglot.recipes._settings import settings

__all__ = [
    "Forecast",
    "Made",
    "Recipe",
    "RunResult",
    "build",
    "caption",
    "ingest",
    "load_recipe",
    "made_by",
    "recipe_from_options",
    "retry",
    "run_recipe",
    "settings",
    "translate",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Forecast": "_forecast",
        "Made": "_outcome",
        "Recipe": "_recipe",
        "RunResult": "_result",
        "build": "_build",
        "caption": "_caption",
        "ingest": "_build",
        "load_recipe": "_recipe",
        "made_by": "_outcome",
        "recipe_from_options": "_recipe",
        "retry": "_retry",
        "run_recipe": "_build",
        "settings": "_settings",
        "translate": "_caption",
    },
)
