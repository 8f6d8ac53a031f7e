"""Contrast between pictures and texts, and between grouped patches and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from torch import Tensor

from panoglot.errors import UserError
from panoglot.identity import Added, versioned
from panoglot.networks._contrast import ContrastOptions, contrast
from panoglot.networks._pool import pooled_contrast
from panoglot.networks._records import Batch, Term
from panoglot.networks.losses import group_patches
from panoglot.networks.parts._base import Features, Part, Widths
from panoglot.networks.towers import Scale

__all__ = ["ContrastPart", "GroupPatchesPart"]


class ContrastPart(Part):
    """The kernel on (x, y), and with `taps: 2` a second one, with its own scale, on (x2, y2).

    Args:
        widths: of the model.
        scale: of `Scale`: start, most, bias; None has none (hinge).
        taps: 1, or 2 for M2-Encoder.
        gather: `all` pictures and texts of all processes meet; `device`: each process is by itself.
        options: of `ContrastOptions`.
    """

    needs, needs_when = ("picture", "text"), (("taps", 2, "second"),)
    reads, gives = ("picture", "text"), ("encode",)
    across, by_features = "own", True

    def __init__(
        self,
        widths: Widths,
        scale: Mapping[str, float] | None = None,
        taps: int = 1,
        form: str = "softmax",
        reduce: str | None = None,
        smoothing: float = 0.0,
        negatives: str = "all",
        hard_n: int | None = None,
        margin: float = 0.2,
        group: int | None = None,
        chunk: int | None = None,
        gather: Annotated[str, Added("all")] = "all",
    ) -> None:
        super().__init__()
        if gather not in ("all", "device"):
            raise UserError(f"contrast: gather={gather!r} must be 'all' or 'device'.")
        self.gather = gather
        self.options = ContrastOptions(form, "dot", reduce, smoothing, negatives, hard_n, margin, group, chunk)
        start = {"start": 10.0, "bias": -10.0} if form == "sigmoid" else {}
        self.scale = None if form == "hinge" else Scale(**{**start, **(scale or {})})
        self.scale2 = Scale(**(scale or {})) if taps == 2 else None
        self.pool: Any = None  # of processes; None: all of them

    def in_processes(self, name: str, processes: Any, batch: int) -> None:
        """Find out who meets whom: groups lie within a process, or are some whole processes."""
        self.pool, self.across = processes.group, "own"
        if self.gather == "device":
            self.pool, self.across = None, "mean"
            return
        if self.options.group is None:
            return
        share, group = divmod(batch, processes.world)[0], self.options.group
        if batch % processes.world == 0 and share % group == 0:
            self.across = "mean"  # each process has whole groups
            return
        if batch % processes.world or group % share or processes.world % (group // share):
            raise UserError(
                f"The loss '{name}': groups of {group} do not fit {processes.world} processes with {batch} items a "
                "step; a process must have whole groups, or a group whole processes."
            )
        self.pool = processes.groups(group // share)

    def kernel(self, x: Tensor, y: Tensor, batch: Batch, second: bool = False) -> Term:
        """Contrast features of the whole batch."""
        scale_of = self.scale2 if second else self.scale
        scale, bias = (1.0, 0.0) if scale_of is None else scale_of()
        more: dict[str, Any] = {"scale": scale, "bias": bias, "pair_id": batch.pair_id, "slot": batch.slot}
        if self.across == "mean":
            return contrast(x, y, batch.owner, self.options, **more)
        options = self.options if self.pool is None else replace(self.options, group=None)
        return pooled_contrast(x, y, batch.owner, options, group=self.pool, **more)

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the loss, over both taps where there are two."""
        if f.x is None or f.y is None:
            raise UserError("contrast: needs an image tower and a text tower.")
        term = self.kernel(f.x, f.y, batch)
        if self.scale2 is None:
            return term
        if f.x2 is None or f.y2 is None:
            raise UserError("contrast: taps: 2 needs shared layers (shared: 1 or more).")
        return Term(term.value + self.kernel(f.x2, f.y2, batch, second=True).value, term.count)


@versioned(2)  # the other sentences of a picture are negatives
class GroupPatchesPart(Part):
    """DreamLIP's grouping loss with a scale of its own."""

    needs, reads = ("local", "text"), ("picture", "text")
    across = "own"

    def __init__(
        self, widths: Widths, delta: float | None = None, norm: str = "minmax", scale: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        self.delta, self.norm, self.scale = delta, norm, Scale(**(scale or {}))
        self.pool: Any = None

    def in_processes(self, name: str, processes: Any, batch: int) -> None:
        """Sentences meet those of all processes."""
        self.pool = processes.group

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the loss over all sentences of the batch."""
        if f.local is None or f.y is None or batch.slot_mask is None:
            raise UserError("group_patches: needs an image tower with patches and a text tower.")
        texts = f.y.new_zeros((*batch.slot_mask.shape, f.y.shape[-1]))
        texts = texts.index_put(
            (batch.owner, batch.slot), f.y
        )  # text m goes to its own record and slot, whatever the order
        more = {"delta": self.delta, "norm": self.norm, "pair_id": batch.pair_id, "group": self.pool}
        return group_patches(f.local, texts, batch.slot_mask, scale=self.scale()[0], **more)
