"""What a teacher's towers make inside of a step, regressed: maps of pictures, tokens of texts (DC-CLIP, stage 1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._records import Batch, Term
from panoglot.networks._teacher import Teacher, as_map
from panoglot.networks.losses import regress
from panoglot.networks.parts._base import Features, Part, Widths

__all__ = ["MapPart", "TokensPart"]

#: Texts of several scripts: tokenisers that agree on them are taken for the same.
_PROBES = ("a red bird, 12 of them", "ein schöner Vogel", "一只红色的鸟", "طائر أحمر", "लाल चिड़िया", "นกสีแดง")


def _adapter(student: int, teacher: int, kind: str, name: str) -> nn.Module:
    if kind not in ("linear", "none"):
        raise UserError(f"{name}: adapter={kind!r} must be 'linear' (a 1×1 convolution) or 'none'.")
    if kind == "none" and student != teacher:
        raise UserError(f"{name}: without an adapter {student} numbers cannot be compared with {teacher}.")
    return nn.Linear(student, teacher) if kind == "linear" else nn.Identity()


def _choose(name: str, targets: str, known: tuple[str, ...]) -> str:
    if targets not in known:
        raise UserError(f"{name}: targets={targets!r} must be {' or '.join(known)}.")
    return targets


class MapPart(Part):
    """The picture tower's map approaches a frozen teacher's, through an adapter that is dropped later. No text is read.

    Args:
        widths: of the model.
        teacher: `hf:NAME[?layer=-2]` or `pano:RUN`; loaded at the first step, and no part of what is stored.
        width: of the teacher's tokens.
        targets: `map`, every position of the teacher's grid (the student's is resized), or its `pooled` vector.
        distance, beta: of `regress`, where the distance is called kind.
        adapter: `linear` or `none`.
        size, mean, std: of the pictures that the teacher is shown; see `Teacher`.

    Source: DC-CLIP arXiv 2404.11249, stage 1.
    """

    needs, reads = ("patches",), ("picture",)

    def __init__(
        self,
        widths: Widths,
        teacher: str,
        width: int,
        targets: str = "map",
        distance: str = "smoothl1",
        beta: float = 1.0,
        adapter: str = "linear",
        size: int = 0,
        mean: list[float] | None = None,
        std: list[float] | None = None,
    ) -> None:
        super().__init__()
        self.targets = _choose("map", targets, ("map", "pooled"))
        self.adapter = _adapter(widths.image, width, adapter, "map")
        self.teacher, self.distance, self.beta = Teacher("image", teacher, size, mean, std), distance, beta

    def check(self, records: Iterable[Any]) -> None:
        """Load the teacher: a name that is wrong is found before the first step."""
        self.teacher.tower()

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the mean distance over all elements of the maps."""
        if f.patches is None or f.seen_as is None or batch.image is None:
            raise UserError("map: needs pictures and an image tower with patches.")
        pooled, want = self.teacher.see(batch.image[:, 0])
        if self.targets == "pooled":
            return regress(self.adapter(f.seen_as), pooled, kind=self.distance, beta=self.beta)
        own = as_map(f.patches)
        if own.shape[-2:] != want.shape[-2:]:
            own = F.interpolate(own, want.shape[-2:], mode="bilinear", align_corners=False)
        got = self.adapter(own.flatten(2).transpose(1, 2))
        return regress(got, want.flatten(2).transpose(1, 2), kind=self.distance, beta=self.beta)


class TokensPart(Part):
    """The text tower's tokens approach a frozen teacher's; padding does not count. No picture is read.

    Args:
        widths: of the model.
        teacher: as of `MapPart`.
        width: of the teacher's tokens.
        targets: `tokens`, where both have one tokeniser, or the teacher's `pooled` vector, read by its own.
        distance, beta, adapter: as of `MapPart`.

    Source: DC-CLIP arXiv 2404.11249, stage 1.
    """

    needs, reads = ("tokens",), ("text",)

    def __init__(
        self,
        widths: Widths,
        teacher: str,
        width: int,
        targets: str = "tokens",
        distance: str = "smoothl1",
        beta: float = 1.0,
        adapter: str = "linear",
    ) -> None:
        super().__init__()
        self.targets = _choose("tokens", targets, ("tokens", "pooled"))
        self.adapter = _adapter(widths.text, width, adapter, "tokens")
        self.teacher, self.distance, self.beta = Teacher("text", teacher), distance, beta
        self._compared = False

    def check(self, records: Iterable[Any]) -> None:
        """Load the teacher: a name that is wrong is found before the first step."""
        self.teacher.tower()

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the mean distance over the real tokens, or over the texts."""
        if f.tokens is None or f.token_mask is None or f.ids is None or f.read_as is None:
            raise UserError("tokens: needs texts and a text tower with tokens.")
        if self.targets == "pooled":
            texts = [text for row, there in zip(batch.texts, _list(batch.slot_mask), strict=True)
                     for text, k in zip(row, there, strict=True) if k]  # fmt: skip
            ids, mask = (z.to(f.tokens.device) for z in self.teacher.ids(texts))
            return regress(self.adapter(f.read_as), self.teacher.read(ids, mask)[0], kind=self.distance, beta=self.beta)
        self._compare(step.model.text.tokens)
        want = self.teacher.read(f.ids[:, : f.tokens.shape[1]], f.token_mask)[1]
        return regress(self.adapter(f.tokens), want, f.token_mask, kind=self.distance, beta=self.beta)

    def _compare(self, tokens: Any) -> None:
        """Refuse a teacher with another tokeniser: its tokens stand for other pieces of the text."""
        if self._compared:
            return
        for probe in _PROBES:
            mine, its = (
                [ids[0][mask[0]].tolist() for ids, mask in [read([probe])]] for read in (tokens, self.teacher.ids)
            )
            if mine != its:
                raise UserError(
                    f"tokens: the teacher '{self.teacher.name}' cuts texts in another way than the student: take its "
                    "tokeniser (--set text.tokenizer=NAME), or --set losses.tokens.targets=pooled"
                )
        self._compared = True


def _list(mask: Tensor | None) -> list[list[bool]]:
    return [] if mask is None else mask.tolist()
