"""A recipe of verbs: ingest, caption, curate, translate, encode, index, report; and what is here to be used."""

from panoglot._verbs import callable_room
from panoglot.inventory import Finding, MethodRow, doctor, methods
from panoglot.providers._names import models
from panoglot.recipes._build import build, ingest, retry, run_recipe
from panoglot.recipes._recipe import Recipe, load_recipe
from panoglot.recipes._result import RunResult

__all__ = [
    "Finding",
    "MethodRow",
    "Recipe",
    "RunResult",
    "build",
    "doctor",
    "ingest",
    "load_recipe",
    "methods",
    "models",
    "retry",
    "run_recipe",
]

callable_room(__name__, build)
