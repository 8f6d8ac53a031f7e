"""A recipe of verbs: ingest, caption, curate, translate, encode, index, report."""

from panoglot.recipes._build import build, ingest, retry, run_recipe
from panoglot.recipes._caption import caption, translate
from panoglot.recipes._forecast import Forecast
from panoglot.recipes._recipe import Recipe, load_recipe
from panoglot.recipes._result import RunResult
from panoglot.recipes._settings import settings

__all__ = [
    "Forecast",
    "Recipe",
    "RunResult",
    "build",
    "caption",
    "ingest",
    "load_recipe",
    "retry",
    "run_recipe",
    "settings",
    "translate",
]
