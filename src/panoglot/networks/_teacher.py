"""A teacher's towers, asked inside of a step: frozen, and no part of the model that learns from them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._views import MEAN, STD
from panoglot.providers._names import parse_model_name

__all__ = ["Teacher", "teacher_tower"]


def teacher_tower(side: str, name: str) -> nn.Module:
    """Return the picture or the text tower that a name stands for: `hf:NAME[?layer=-2]`, or `pano:RUN`.

    Raises:
        UserError: another provider, whose vectors have no map: learn from those by `regress`.
    """
    provider, _, rest = name.partition(":")
    if provider == "hf" and rest:
        from panoglot.networks.towers.hf import HfImage, HfText

        parsed = parse_model_name(name)
        layer = parsed.options.take("layer", int, -1)
        pool = parsed.options.take("pool", str, "cls")
        parsed.options.finish()
        return HfImage(parsed.name, layer=layer) if side == "image" else HfText(parsed.name, pool)
    if provider == "pano" and rest:
        from panoglot.networks._load import load_run

        tower: Any = getattr(load_run(rest), side, None)
        if isinstance(tower, nn.Module) and hasattr(tower, "blocks"):
            return tower
    raise UserError(
        f"the teacher '{name}' gives no {'map of a picture' if side == 'image' else 'tokens of a text'}: name a model "
        "of transformers (hf:BAAI/AltCLIP) or a run with towers of its own (pano:RUN), or learn from its vectors: "
        "--preset small"
    )


class Teacher:
    """A teacher's tower for one side, loaded when it is first asked.

    Args:
        side: `image` or `text`.
        name: see `teacher_tower`.
        size: side of the pictures that it sees; 0: the student's.
        mean, std: that its pictures are normalised with; None: CLIP's, as the student's.
    """

    def __init__(
        self, side: str, name: str, size: int = 0, mean: list[float] | None = None, std: list[float] | None = None
    ) -> None:
        self.side, self.name, self.size = side, name, size
        self.mean, self.std = mean, std
        self._tower: Any = None

    def tower(self, device: Any = "cpu") -> Any:
        """Return the tower, frozen."""
        if self._tower is None:
            self._tower = teacher_tower(self.side, self.name).eval().requires_grad_(False)
        return self._tower.to(device)

    @torch.no_grad()
    def see(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return vector [B, C] and map [B, C, H, W] of the student's own crops, normalised pictures [B, 3, S, S]."""
        if self.mean is not None or self.std is not None:
            mean, std = (torch.tensor(z, device=image.device).view(3, 1, 1) for z in (MEAN, STD))
            own = (torch.tensor(z or usual, device=image.device) for z, usual in ((self.mean, MEAN), (self.std, STD)))
            less, by = (z.view(3, 1, 1) for z in own)
            image = (image * std + mean - less) / by
        if self.size and image.shape[-1] != self.size:
            image = nn.functional.interpolate(image, (self.size, self.size), mode="bicubic", antialias=True)
        pooled, patches = self.tower(image.device)(image)
        return pooled, as_map(patches)

    @torch.no_grad()
    def read(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return vector [M, C] and tokens [M, L, C] of ids [M, L]."""
        found: tuple[Tensor, Tensor] = self.tower(ids.device)(ids, mask, ["und"] * len(ids))
        return found

    def ids(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask [M, L] by the teacher's own tokeniser."""
        found: tuple[Tensor, Tensor] = self.tower(self._here()).tokens(texts)
        return found

    def _here(self) -> Any:
        return "cpu" if self._tower is None else next(self._tower.parameters()).device


def as_map(patches: Tensor) -> Tensor:
    """Return patches [B, N, C] of a square grid as [B, C, H, W].

    Raises:
        UserError: N is no square.
    """
    side = round(patches.shape[1] ** 0.5)
    if side * side != patches.shape[1]:
        raise UserError(f"{patches.shape[1]} tokens of a picture are no square map.")
    found: Tensor = patches.transpose(1, 2).unflatten(2, (side, side))
    return found
