"""Panoglot: images into trustworthy, multilingual, searchable image-text data.

Every command of `panoglot` is a function here with the same name and options; `panoglot.open` gives the tables:

    import panoglot

    panoglot.build("photos/", "photos.pano")
    for hit in panoglot.search("photos.pano", "ein rotes Känguru", k=5):
        print(hit.score, hit.uri)
    panoglot.open("photos.pano").captions.read(["text", "lang"], "lang = 'de'")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from panoglot._privacy import switch_reports_off
from panoglot._version import __version__ as __version__

if TYPE_CHECKING:
    from panoglot import evaluate
    from panoglot.curation import curate
    from panoglot.errors import PanoglotError, RowError, UserError
    from panoglot.evaluate._commands import compare
    from panoglot.exporting import export, push
    from panoglot.handling import info, merge, mix, plan_languages, split, subset
    from panoglot.inventory import doctor, labels, methods, models
    from panoglot.pictures import Image
    from panoglot.providers import load_model
    from panoglot.recipes import build, caption, ingest, retry, settings, translate
    from panoglot.reporting import report, show
    from panoglot.retrieval import Searcher, edit, forget, index, search
    from panoglot.running import method
    from panoglot.table import Caption, Dataset
    from panoglot.table import open_dataset as open
    from panoglot.training import train
    from panoglot.web import serve

__all__ = [
    "Caption",
    "Dataset",
    "Image",
    "PanoglotError",
    "RowError",
    "Searcher",
    "UserError",
    "build",
    "caption",
    "compare",
    "curate",
    "doctor",
    "edit",
    "evaluate",
    "export",
    "forget",
    "index",
    "info",
    "ingest",
    "labels",
    "load_model",
    "merge",
    "method",
    "methods",
    "mix",
    "models",
    "open",
    "plan_languages",
    "push",
    "report",
    "retry",
    "search",
    "serve",
    "settings",
    "show",
    "split",
    "subset",
    "train",
    "translate",
]

#: Public name to the room that it comes from; rooms are imported when a name is first used.
_HOMES = {
    "Caption": "table",
    "Dataset": "table",
    "Image": "pictures",
    "PanoglotError": "errors",
    "RowError": "errors",
    "Searcher": "retrieval",
    "UserError": "errors",
    "build": "recipes",
    "caption": "recipes",
    "compare": "evaluate._commands",
    "curate": "curation",
    "doctor": "inventory",
    "edit": "retrieval",
    "export": "exporting",
    "forget": "retrieval",
    "index": "retrieval",
    "info": "handling",
    "ingest": "recipes",
    "labels": "inventory",
    "load_model": "providers",
    "merge": "handling",
    "method": "running",
    "methods": "inventory",
    "mix": "handling",
    "models": "inventory",
    "plan_languages": "handling",
    "push": "exporting",
    "report": "reporting",
    "retry": "recipes",
    "search": "retrieval",
    "serve": "web",
    "settings": "recipes",
    "show": "reporting",
    "split": "handling",
    "subset": "handling",
    "train": "training",
    "translate": "recipes",
}


switch_reports_off()


def __getattr__(name: str) -> Any:
    if name == "evaluate":  # the namespace of its commands
        return import_module("panoglot.evaluate")
    if name == "open":
        return import_module("panoglot.table").open_dataset
    if name not in _HOMES:
        raise AttributeError(f"module 'panoglot' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(f"panoglot.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
