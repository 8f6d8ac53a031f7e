"""Judge captions, encoders, captioners and metrics, in any language.

    from panoglot.evaluate import cider
    result = cider(predictions, references, lang="de", confidence=0.95)
    print(result.table())

Metrics take plain lists (or mappings by id) and answer with a `MetricResult`; all of `panoglot.metrics` is here too.
"""

from typing import TYPE_CHECKING, Any

from panoglot import metrics
from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.evaluate import _commands as commands
    from panoglot.evaluate._dataset import dataset_retrieval
    from panoglot.evaluate._declare import Benchmark, Protocol, Way, benchmark_names, find_benchmark
    from panoglot.evaluate._descriptors import Descriptors, described, read_descriptors
    from panoglot.evaluate._mteb import MtebEncoder, mteb, mteb_standings
    from panoglot.evaluate._names import COMMANDS, listing
    from panoglot.evaluate._read import encode_files
    from panoglot.evaluate._said_language import language_note
    from panoglot.evaluate._templates import TEMPLATES, read_templates
    from panoglot.evaluate._zeroshot import class_centres, classify, zeroshot
    from panoglot.formats._json import read_rows
    from panoglot.metrics import *  # noqa: F403

__all__ = [
    "COMMANDS",
    "TEMPLATES",
    "Benchmark",
    "Descriptors",
    "MtebEncoder",
    "Protocol",
    "Way",
    "benchmark_names",
    "class_centres",
    "classify",
    "commands",
    "dataset_retrieval",
    "described",
    "encode_files",
    "find_benchmark",
    "language_note",
    "listing",
    "mteb",
    "mteb_standings",
    "read_descriptors",
    "read_rows",
    "read_templates",
    "zeroshot",
]
__all__ += metrics.__all__

_own, _ = lazy_names(
    __name__,
    {
        "benchmark_names": "_declare",
        "find_benchmark": "_declare",
        "COMMANDS": "_names",
        "listing": "_names",
        "encode_files": "_read",
        "language_note": "_said_language",
        "TEMPLATES": "_templates",
        "Descriptors": "_descriptors",
        "described": "_descriptors",
        "read_descriptors": "_descriptors",
        "read_templates": "_templates",
        "class_centres": "_zeroshot",
        "Benchmark": "_declare",
        "MtebEncoder": "_mteb",
        "Protocol": "_declare",
        "Way": "_declare",
        "classify": "_zeroshot",
        "dataset_retrieval": "_dataset",
        "mteb": "_mteb",
        "mteb_standings": "_mteb",
        "read_rows": "panoglot.formats._json",
        "zeroshot": "_zeroshot",
    },
)


def __getattr__(name: str) -> Any:
    if name == "commands":  # those of `panoglot evaluate`, as functions; some have the name of a metric
        from panoglot.evaluate import _commands

        return _commands
    return getattr(metrics, name) if name in metrics.__all__ else _own(name)


def __dir__() -> list[str]:
    return sorted(__all__)
