"""The runner: pending rows -> operator -> commit, on one machine or a cluster; coroutines and batching of model calls.

`Stage` and `Operator` are the contract; `run_stage` runs one (Daft is imported then, not before).
"""

from typing import TYPE_CHECKING, Any

from panoglot.asking import Asker, Models
from panoglot.running._encode import align_stage, encode_stage
from panoglot.running._method import (
    METHODS,
    DetectorName,
    EncoderName,
    GeneratorName,
    GeneratorNames,
    LanguageIdentifierName,
    Method,
    ReaderName,
    Role,
    TaggerName,
    TranslatorName,
    get_method,
    method,
    method_stage,
)
from panoglot.running._stage import Emit, Item, Operator, Outcome, Spent, Stage, StageResult, Worker, add_notes

if TYPE_CHECKING:
    from panoglot.running._engine import run_stage, use_cluster

__all__ = [
    "METHODS",
    "Asker",
    "DetectorName",
    "Emit",
    "EncoderName",
    "GeneratorName",
    "GeneratorNames",
    "Item",
    "LanguageIdentifierName",
    "Method",
    "Models",
    "Operator",
    "Outcome",
    "ReaderName",
    "Role",
    "Spent",
    "Stage",
    "StageResult",
    "TaggerName",
    "TranslatorName",
    "Worker",
    "add_notes",
    "align_stage",
    "encode_stage",
    "get_method",
    "method",
    "method_stage",
    "run_stage",
    "use_cluster",
]


def __getattr__(name: str) -> Any:
    if name in ("run_stage", "use_cluster"):
        from panoglot.running import _engine

        return getattr(_engine, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
