"""The runner: pending rows -> operator -> commit, on one machine or a cluster; methods as coroutines.

`Stage` and `Operator` are the contract; `run_stage` runs one (Daft is imported then, not before).
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.running._commit import Committer, Pace
    from panoglot.running._encode import align_stage, encode_stage
    from panoglot.running._engine import run_stage, use_cluster
    from panoglot.running._estimate import Estimate, Need, estimate, needs_of, priced_needs
    from panoglot.running._method import (
        METHODS,
        Asks,
        DepthEstimatorName,
        DetectorName,
        EncoderName,
        GeneratorName,
        GeneratorNames,
        ImageGeneratorName,
        JudgeName,
        LanguageIdentifierName,
        Method,
        ParserName,
        ReaderName,
        SegmenterName,
        TaggerName,
        TranslatorName,
        get_method,
        list_methods,
        method,
        method_stage,
    )
    from panoglot.running._progress import Progress
    from panoglot.running._results import Group, Scored
    from panoglot.running._rows import GroupPart
    from panoglot.running._runs import close_gone_runs, is_running, running
    from panoglot.running._stage import Emit, Item, Operator, Outcome, Stage, StageResult, Worker, add_notes
    from panoglot.running._standins import stand_ins

__all__ = [
    "METHODS",
    "Asks",
    "Committer",
    "DepthEstimatorName",
    "DetectorName",
    "Emit",
    "EncoderName",
    "Estimate",
    "GeneratorName",
    "GeneratorNames",
    "Group",
    "GroupPart",
    "ImageGeneratorName",
    "Item",
    "JudgeName",
    "LanguageIdentifierName",
    "Method",
    "Need",
    "Operator",
    "Outcome",
    "Pace",
    "ParserName",
    "Progress",
    "ReaderName",
    "Scored",
    "SegmenterName",
    "Stage",
    "StageResult",
    "TaggerName",
    "TranslatorName",
    "Worker",
    "add_notes",
    "align_stage",
    "close_gone_runs",
    "encode_stage",
    "estimate",
    "get_method",
    "is_running",
    "list_methods",
    "method",
    "method_stage",
    "needs_of",
    "priced_needs",
    "run_stage",
    "running",
    "stand_ins",
    "use_cluster",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Committer": "_commit",
        "Pace": "_commit",
        "Progress": "_progress",
        "close_gone_runs": "_runs",
        "is_running": "_runs",
        "running": "_runs",
        "METHODS": "_method",
        "DetectorName": "_method",
        "Emit": "_stage",
        "EncoderName": "_method",
        "GeneratorName": "_method",
        "Group": "_results",
        "GroupPart": "_rows",
        "Scored": "_results",
        "GeneratorNames": "_method",
        "Item": "_stage",
        "LanguageIdentifierName": "_method",
        "Estimate": "_estimate",
        "Method": "_method",
        "Need": "_estimate",
        "estimate": "_estimate",
        "needs_of": "_estimate",
        "priced_needs": "_estimate",
        "stand_ins": "_standins",
        "Operator": "_stage",
        "Outcome": "_stage",
        "ReaderName": "_method",
        "Asks": "_method",
        "SegmenterName": "_method",
        "DepthEstimatorName": "_method",
        "ParserName": "_method",
        "ImageGeneratorName": "_method",
        "JudgeName": "_method",
        "Stage": "_stage",
        "StageResult": "_stage",
        "TaggerName": "_method",
        "TranslatorName": "_method",
        "Worker": "_stage",
        "add_notes": "_stage",
        "align_stage": "_encode",
        "encode_stage": "_encode",
        "get_method": "_method",
        "list_methods": "_method",
        "method": "_method",
        "method_stage": "_method",
        "run_stage": "_engine",
        "use_cluster": "_engine",
    },
)
