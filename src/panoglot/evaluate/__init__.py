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
    from panoglot.evaluate._dataset import dataset_retrieval
    from panoglot.evaluate._declare import Benchmark, Way
    from panoglot.evaluate._mteb import MtebEncoder, mteb, mteb_standings
    from panoglot.evaluate._zeroshot import classify, zeroshot
    from panoglot.formats._json import read_rows
    from panoglot.metrics import *  # noqa: F403

__all__ = [
    "Benchmark",
    "MtebEncoder",
    "Way",
    "classify",
    "dataset_retrieval",
    "mteb",
    "mteb_standings",
    "read_rows",
    "zeroshot",
]
__all__ += metrics.__all__

_own, _ = lazy_names(
    __name__,
    {
        "Benchmark": "_declare",
        "MtebEncoder": "_mteb",
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
    return getattr(metrics, name) if name in metrics.__all__ else _own(name)


def __dir__() -> list[str]:
    return sorted(__all__)
