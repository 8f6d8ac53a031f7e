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

__version__ = "0.1.0"

if TYPE_CHECKING:
    from panoglot import evaluate, train
    from panoglot.curation import curate
    from panoglot.errors import PanoglotError, RowError, UserError
    from panoglot.evaluate._commands import compare
    from panoglot.exporting import export
    from panoglot.inventory import doctor, methods
    from panoglot.pictures import Image
    from panoglot.providers import load_model
    from panoglot.providers._names import models
    from panoglot.recipes import build, ingest, retry
    from panoglot.reporting import report, show
    from panoglot.retrieval import search
    from panoglot.running import method
    from panoglot.table import Caption, Dataset
    from panoglot.table import open_dataset as open

#: Public name to where it lives; modules are imported when a name is first used.
_HOMES = {
    "Caption": "table",
    "Dataset": "table",
    "Image": "io",
    "PanoglotError": "errors",
    "RowError": "errors",
    "UserError": "errors",
    "build": "build",
    "compare": "evaluate._commands",
    "curate": "curate",
    "doctor": "build",
    "evaluate": "evaluate",
    "export": "io",
    "ingest": "build",
    "load_model": "models",
    "method": "run",
    "methods": "build",
    "models": "build",
    "open": "table",
    "report": "report",
    "retry": "build",
    "search": "search",
    "show": "report",
    "train": "train",
}

__all__ = [
    "Caption",
    "Dataset",
    "Image",
    "PanoglotError",
    "RowError",
    "UserError",
    "build",
    "compare",
    "curate",
    "doctor",
    "evaluate",
    "export",
    "ingest",
    "load_model",
    "method",
    "methods",
    "models",
    "open",
    "report",
    "retry",
    "search",
    "show",
    "train",
]


switch_reports_off()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'panoglot' has no attribute '{name}'")
    home = import_module(f"panoglot.{_HOMES[name]}")
    if name == _HOMES[name]:
        return home  # a room; it can be called where a verb has its name
    return getattr(home, "open_dataset" if name == "open" else name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
