"""A recipe of verbs: ingest, caption, curate, translate, encode, index, report; and what is here to be used."""

from panoglot._verbs import callable_room
from panoglot.build._build import RunResult, build, ingest, retry, run_recipe
from panoglot.build._catalog import MethodRow, methods
from panoglot.build._doctor import Finding, doctor, models
from panoglot.build._recipe import Recipe, load_recipe

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
