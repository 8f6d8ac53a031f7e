"""A picture as encoders of the CLIP kind are shown it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["fit_shorter"]


def fit_shorter(picture: PIL.Image.Image, height: int, width: int, kernel: int | None = None) -> PIL.Image.Image:
    """Resize so that the shorter side fits, and keep the middle, to the pixel as transformers' CLIP does.

    Args:
        picture: any.
        height: of the result, pixels.
        width: of the result, pixels.
        kernel: of Pillow's resampling; default bicubic.

    >>> import PIL.Image
    >>> fit_shorter(PIL.Image.new("RGB", (37, 100)), 8, 8).size
    (8, 8)
    """
    import PIL.Image

    if width * picture.height > height * picture.width:  # the width binds
        size = (width, max(height, int(width * picture.height / picture.width)))
    else:
        size = (max(width, int(height * picture.width / picture.height)), height)
    resized = picture.resize(size, PIL.Image.Resampling.BICUBIC if kernel is None else kernel)
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    return resized.crop((left, top, left + width, top + height))
