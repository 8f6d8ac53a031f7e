"""The few transforms of torchvision that open_clip uses, by Pillow: open_clip without a torchvision that fits."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from importlib.machinery import ModuleSpec


class InterpolationMode(Enum):
    """As torchvision names them."""

    BICUBIC = "bicubic"
    BILINEAR = "bilinear"
    NEAREST = "nearest"


class Compose:
    """One after the other."""

    def __init__(self, steps):
        self.transforms = steps

    def __call__(self, picture):
        for step in self.transforms:
            picture = step(picture)
        return picture


class Resize:
    """The shorter side to `size`; the longer one is rounded down."""

    def __init__(self, size, interpolation):
        self.size, self.kernel = size, interpolation.value

    def __call__(self, picture):
        import PIL.Image

        width, height = picture.size
        short = min(width, height)
        size = [self.size if side == short else int(self.size * side / short) for side in (width, height)]
        return picture.resize(size, getattr(PIL.Image.Resampling, self.kernel.upper()))


class CenterCrop:
    """The middle; an odd rest is rounded to even."""

    def __init__(self, size):
        self.size = size

    def __call__(self, picture):
        height, width = self.size
        left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
        return picture.crop((left, top, left + width, top + height))


class ToTensor:
    """[3, H, W] in 0..1."""

    def __call__(self, picture):
        import numpy as np
        import torch

        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


class Normalize:
    """By mean and deviation."""

    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def __call__(self, x):
        import torch

        return (x - torch.tensor(self.mean).view(3, 1, 1)) / torch.tensor(self.std).view(3, 1, 1)


@contextmanager
def open_clip_here() -> Iterator[types.ModuleType]:
    """Import open_clip, by these transforms where torchvision is not here; what was imported goes again."""
    before = set(sys.modules)
    if importlib.util.find_spec("torchvision") is None:
        made = {}
        for name in ("", ".transforms", ".transforms.functional", ".ops", ".ops.misc"):
            made[name] = types.ModuleType(f"torchvision{name}")
            made[name].__path__, made[name].__spec__ = [], ModuleSpec(f"torchvision{name}", None)
            sys.modules[f"torchvision{name}"] = made[name]
        for one in (InterpolationMode, Compose, Resize, CenterCrop, ToTensor, Normalize):
            setattr(made[".transforms"], one.__name__, one)
        for name in ("RandomResizedCrop", "ColorJitter", "Grayscale"):  # of training, which is not run
            setattr(made[".transforms"], name, type(name, (), {}))
        made[""].transforms, made[".transforms"].functional = made[".transforms"], made[".transforms.functional"]
        made[".transforms.functional"].to_tensor = ToTensor()
        made[".ops.misc"].FrozenBatchNorm2d = type("FrozenBatchNorm2d", (), {})
    try:
        import open_clip

        yield open_clip
    finally:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("torchvision", "open_clip", "timm"):
                del sys.modules[name]
