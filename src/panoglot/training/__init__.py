"""Training: one trainer, and every method a row of towers, samplers, losses, freezing patterns and a schedule.

Importing this package is cheap: torch is loaded when a name that needs it is first used.
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.training._accumulate import accumulate
    from panoglot.training._check import Checked, check, count_cut
    from panoglot.training._commands import TrainingMethod, train
    from panoglot.training._dataset import Reading, read_records
    from panoglot.training._distributed import Processes
    from panoglot.training._figures import measure
    from panoglot.training._fit import fit_each, keep_fits, read_fit
    from panoglot.training._loader import Loader
    from panoglot.training._measure import recall
    from panoglot.training._patches import draw_groups, draw_masks
    from panoglot.training._products import catalogue, product_queries
    from panoglot.training._progress import Interrupts
    from panoglot.training._queries import measure_products, measure_queries
    from panoglot.training._run import TRAINING, Trained
    from panoglot.training._scaling import ScalingLaw, fit_scaling, plot_scaling, points_of_runs
    from panoglot.training._settings import resolve
    from panoglot.training._shapes import documents, judged, questions, shapes
    from panoglot.training._trainer import Trainer, train_records
    from panoglot.training._wishes import captioned, shown, wishes

__all__ = [
    "TRAINING",
    "Checked",
    "Interrupts",
    "Loader",
    "Processes",
    "Reading",
    "ScalingLaw",
    "Trained",
    "Trainer",
    "TrainingMethod",
    "accumulate",
    "captioned",
    "catalogue",
    "check",
    "count_cut",
    "documents",
    "draw_groups",
    "draw_masks",
    "fit_each",
    "fit_scaling",
    "judged",
    "keep_fits",
    "measure",
    "measure_products",
    "measure_queries",
    "plot_scaling",
    "points_of_runs",
    "product_queries",
    "questions",
    "read_fit",
    "read_records",
    "recall",
    "resolve",
    "shapes",
    "shown",
    "train",
    "train_records",
    "wishes",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "TRAINING": "_run",
        "check": "_check",
        "count_cut": "_check",
        "Processes": "_distributed",
        "Loader": "_loader",
        "Interrupts": "_progress",
        "resolve": "_settings",
        "documents": "_shapes",
        "judged": "_shapes",
        "questions": "_shapes",
        "train_records": "_trainer",
        "Checked": "_check",
        "Reading": "_dataset",
        "ScalingLaw": "_scaling",
        "Trained": "_run",
        "Trainer": "_trainer",
        "TrainingMethod": "_commands",
        "accumulate": "_accumulate",
        "captioned": "_wishes",
        "catalogue": "_products",
        "product_queries": "_products",
        "draw_groups": "_patches",
        "draw_masks": "_patches",
        "fit_each": "_fit",
        "fit_scaling": "_scaling",
        "keep_fits": "_fit",
        "measure": "_figures",
        "measure_products": "_queries",
        "measure_queries": "_queries",
        "plot_scaling": "_scaling",
        "points_of_runs": "_scaling",
        "read_fit": "_fit",
        "read_records": "_dataset",
        "recall": "_measure",
        "shapes": "_shapes",
        "shown": "_wishes",
        "train": "_commands",
        "wishes": "_wishes",
    },
)
