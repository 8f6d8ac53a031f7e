"""A recipe of verbs: ingest, caption, curate, translate, encode, index, report."""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names
from panoglot.recipes._build import build, ingest, run_recipe
from panoglot.recipes._caption import caption, translate
from panoglot.recipes._forecast import Forecast
from panoglot.recipes._recipe import Recipe, load_recipe
from panoglot.recipes._result import RunResult
from panoglot.recipes._retry import retry
from panoglot.recipes._settings import settings

if TYPE_CHECKING:
    from panoglot.recipes._outcome import Made, made_by
    from panoglot.recipes._recipe import recipe_from_options

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
        "Made": "_outcome",
        "made_by": "_outcome",
        "recipe_from_options": "_recipe",
    },
)
