"""What a metric of captions says of itself; the command line, `evaluate --list` and docs/metrics.md are made of it.

CIDER = Metric("cider", cider, about="CIDEr-D …", needs="refs", source="Vedantam et al., CVPR 2015")

and a line under `[project.entry-points."panoglot.metrics"]`: `cider = "panoglot.metrics.captions.cider:CIDER"`, in our
pyproject.toml or in that of any package. See docs/add-a-metric.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.checks import check_option
from panoglot.errors import UserError
from panoglot.extensions import find_entries, load_entry

if TYPE_CHECKING:
    from panoglot.metrics._result import MetricResult

__all__ = ["GROUP", "Metric", "find_metric", "metric_names"]

#: Entry points that name metrics.
GROUP = "panoglot.metrics"
#: What a metric can take beside the captions, by the names of its arguments.
INPUTS = ("refs", "images", "encoder", "parser", "objects", "vocabulary")
#: What the command gives to every metric that has an argument of the name.
COMMON = ("lang", "tokenizer", "references", "on_error", "confidence")


@dataclass(frozen=True)
class Metric:
    """A metric of captions.

    Attributes:
        name: on the command line.
        run: `run(preds, …)` gives a `MetricResult`; it is called by name with what it needs and may take (`INPUTS`:
            references a caption, vectors of the pictures, a loaded model, names of objects a caption), with what it has
            arguments for (`COMMON`), and with its `options`.
        about: what it is, in a line.
        needs: inputs without which it cannot run, with spaces between them.
        may: inputs that it takes where they are given.
        options: further arguments of `run` that are options of the command line; its docstring says what they mean.
        fixed: arguments that this name sets.
        function: of `panoglot.evaluate`, by which Python calls it; `run` itself without.
        languages: which.
        source: where it was defined.
        parity: how close it is to the reference program, measured.
    """

    name: str
    run: Callable[..., MetricResult]
    about: str
    needs: str = ""
    may: str = ""
    options: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    function: str = ""
    languages: str = "all"
    source: str = ""
    parity: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """Arguments of `run`."""
        return tuple(inspect.signature(self.run).parameters)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What it takes beside the captions."""
        return tuple(name for name in (*self.needs.split(), *self.may.split()) if name in INPUTS)

    def takes(self, name: str) -> bool:
        """Whether it is given an input, a common option or an option of its own."""
        if name in INPUTS:
            return name in self.inputs
        return name not in self.fixed and name in self.arguments and name in (*COMMON, *self.options)

    def __call__(self, preds: Any, **given: Any) -> MetricResult:
        """Score captions with what it takes of `given`."""
        return self.run(preds, **self.fixed, **{name: value for name, value in given.items() if self.takes(name)})


def metric_names() -> list[str]:
    """Names of all metrics, ours and those of other packages; nothing is imported."""
    return sorted(find_entries(GROUP))


def find_metric(name: str) -> Metric:
    """Return a metric by name.

    Raises:
        UserError: there is none (with "did you mean"), or it cannot be loaded.
    """
    check_option("metrics", name, metric_names())
    found = load_entry(GROUP, name, "metric")
    if not isinstance(found, Metric) or found.name != name:
        raise UserError(f"the entry point '{name}' of {GROUP} names no Metric of that name: {found!r:.80}")
    return found
