"""Distillation: views of one picture with a moving-average teacher (RS-M-CLIP), stored teacher features (DC-CLIP)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any

import torch
from torch import nn

from panoglot.errors import UserError
from panoglot.identity import Added
from panoglot.networks._ema import Ema
from panoglot.networks._pool import pooled_mean, pooled_share
from panoglot.networks._records import Batch, Term
from panoglot.networks._schedule import ramp
from panoglot.networks.losses import Centre, kl_logits, regress, views
from panoglot.networks.losses._nothing import nothing
from panoglot.networks.parts._base import Features, Part, Widths, first_texts
from panoglot.networks.towers import PrototypeHead, Scale

__all__ = ["LogitsPart", "RegressPart", "ViewsPart"]


class ViewsPart(Part):
    """The student's views agree with the teacher's global ones; the teacher is the student's moving average.

    Args:
        widths: of the model.
        prototypes, hidden, bottleneck: of the head.
        tau_student, tau_teacher: temperatures; the teacher's goes from the first to the second value of its pair.
        momentum: of the average, from the first to the second value.
        warmup: share of the run in which the teacher's temperature rises.
        frozen: epochs at the beginning in which the prototypes stay as they are.
    """

    needs, reads = ("patches",), ("picture",)

    def __init__(
        self,
        widths: Widths,
        prototypes: int = 65536,
        hidden: int = 2048,
        bottleneck: int = 256,
        tau_student: float = 0.1,
        tau_teacher: tuple[float, float] = (0.04, 0.07),
        momentum: tuple[float, float] = (0.996, 1.0),
        warmup: float = 0.3,
        frozen: Annotated[float, Added(0.0)] = 0.0,
    ) -> None:
        super().__init__()
        self.frozen = frozen
        self.head = PrototypeHead(widths.image, prototypes, hidden, bottleneck)
        self.centre = Centre(prototypes)
        self.teacher: Ema | None = None
        self.tau_student, self.tau_teacher = tau_student, (float(tau_teacher[0]), float(tau_teacher[1]))
        self.momentum, self.warmup = (float(momentum[0]), float(momentum[1])), warmup
        self.progress: torch.Tensor
        self.register_buffer("progress", torch.zeros((), dtype=torch.float64))
        self._seen: torch.Tensor | None = None

    def start(self, model: Any) -> None:
        """Copy the student; called once, when the model is whole."""
        self.teacher = Ema(nn.ModuleList([model.image, self.head]))

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the loss of the batch's views."""
        if batch.image is None or self.teacher is None:
            raise UserError("views: needs pictures and views: {global: …, local: …} in the row.")
        globals_ = batch.image.transpose(0, 1)  # [G, B, 3, H, W]
        tower, head = self.teacher.teacher.children()
        with torch.no_grad():
            z_t = torch.stack([head(tower(v)[0]) for v in globals_])
        views_ = [*globals_, *(() if batch.local_image is None else batch.local_image.transpose(0, 1))]
        still = float(self.progress) * step.model.row.epochs < self.frozen - 1e-9
        student = [self.head(step.model.image(v)[0], still) for v in views_]
        self._seen = z_t
        share = float(self.progress) / self.warmup if self.warmup else 1.0
        tau = ramp(round(1000 * min(1.0, share)), 1000, self.tau_teacher[0], self.tau_teacher[1], "linear")
        return views(torch.stack(student), z_t, self.centre.value, tau_student=self.tau_student, tau_teacher=tau)

    def after_step(self, model: Any, step: int, total: int) -> None:
        """Move the teacher and the centre."""
        super().after_step(model, step, total)
        if self.teacher is not None:
            self.teacher.update(nn.ModuleList([model.image, self.head]), ramp(step, total, *self.momentum))
        if self._seen is not None:
            self.centre.update(pooled_mean(self._seen.flatten(0, -2))[None])
            self._seen = None
        self.progress.fill_(min(1.0, (step + 1) / max(1, total)))


class RegressPart(Part):
    """The student's pooled vectors approach stored teacher vectors, through an adapter that is dropped later.

    The teacher's picture vectors come as `image_vec`, its text vectors as `text_vec`; either may be absent.

    Args:
        widths: of the model.
        teacher: width of the teacher's vectors.
        distance, beta: of `regress`, where the distance is called kind.
        adapter: `linear` (a 1×1 convolution on pooled vectors), or `none`.
        shared: this share of a text's target is the mean over all texts of its record in the step: translations then
            have nearly one target, and languages that the teacher knows well help the others (M-CLIP, Carlsson et al.
            2022, takes the English text's vector for all).
    """

    reads, gives = ("teacher",), ("encode",)
    across = "own"

    def __init__(
        self,
        widths: Widths,
        teacher: int,
        distance: str = "smoothl1",
        beta: float = 1.0,
        adapter: str = "linear",
        shared: float = 0.0,
    ) -> None:
        super().__init__()
        if adapter not in ("linear", "none"):
            raise UserError(f"regress: adapter={adapter!r} must be 'linear' or 'none'.")
        if not 0 <= shared <= 1:
            raise UserError(f"regress: shared={shared} must be in 0..1.")
        self.shared = shared
        self.image, self.text = (
            nn.Linear(widths.dim, teacher) if adapter == "linear" else nn.Identity() for _ in range(2)
        )
        self.distance, self.beta = distance, beta
        # unit student vectors against the teacher's: a linear adapter can reach any length
        self.gain = nn.Parameter(torch.tensor(math.log(1.0))) if adapter == "none" else None

    def check(self, records: Iterable[Any]) -> None:
        """Refuse records without a teacher's vectors."""
        if not any(r.vectors for r in records):
            raise UserError("regress: learns from a teacher's stored vectors; name one: --teacher embedded:conse")

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the mean of the sides that are there."""
        here = [z for z in (f.x, f.y) if z is not None]
        sides = [nothing(*here), nothing(*here)]
        if f.x is not None and batch.image_vec is not None:
            sides[0] = regress(self._out(self.image, f.x), batch.image_vec, kind=self.distance, beta=self.beta)
        if f.y is not None and batch.text_vec is not None and batch.slot_mask is not None:
            want = batch.text_vec[batch.slot_mask]
            if self.shared:
                there = batch.slot_mask[..., None].to(want.dtype)
                mean = (batch.text_vec * there).sum(1) / there.sum(1).clamp(min=1)
                want = torch.lerp(want, mean[batch.owner], self.shared)
            sides[1] = regress(self._out(self.text, f.y), want, kind=self.distance, beta=self.beta)
        shares, totals = zip(*(pooled_share(t) for t in sides), strict=True)
        return Term(sum(t.value for t in shares) / max(1, sum(n > 0 for n in totals)), sum(t.count for t in shares))

    def _out(self, adapter: nn.Module, z: torch.Tensor) -> torch.Tensor:
        return adapter(z) if self.gain is None else z * self.gain.exp()


class LogitsPart(Part):
    """The student's matrix of similarities approaches that of a teacher's stored vectors, both ways, halved.

    What DC-CLIP compares its maps with.

    Args:
        widths: of the model.
        teacher: width of the teacher's vectors.
        scale: of the teacher's similarities; the student's own is learned.

    Source: DC-CLIP arXiv 2404.11249 (the ablation); open_clip's distillation.
    """

    needs, reads, gives = ("picture", "text"), ("teacher", "picture", "text"), ("encode",)
    across = ""

    def __init__(self, widths: Widths, teacher: int, scale: float = 100.0) -> None:
        super().__init__()
        self.width, self.sharp, self.scale = teacher, scale, Scale()

    def check(self, records: Iterable[Any]) -> None:
        """Refuse records without a teacher's vectors."""
        if not any(r.vectors for r in records):
            raise UserError("logits: learns from a teacher's stored vectors; name one: --teacher embedded:conse")

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the divergence of the rows and columns of the batch, its first texts."""
        if f.x is None or f.y is None or batch.image_vec is None or batch.text_vec is None:
            raise UserError("logits: needs pictures, texts and a teacher's vectors of both.")
        u = nn.functional.normalize(batch.image_vec, dim=-1)
        v = nn.functional.normalize(batch.text_vec[:, 0], dim=-1)
        return kl_logits(self.scale()[0] * f.x @ f.y[first_texts(batch)].T, self.sharp * u @ v.T, symmetric=True)
