"""Any encoder over ten crops of a picture: `onnx:resnet152.onnx?crops=10`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

    from panoglot.pictures import Image

__all__ = ["TenCrops", "ten_crops"]

#: Share of the shorter side that a crop has: 224 of 256 pixels.
SHARE = 224 / 256


def ten_crops(picture: PIL.Image.Image) -> list[PIL.Image.Image]:
    """Return the squares in the four corners and in the middle of a picture, and the five mirrored.

    A square has 7/8 of the shorter side.

    >>> import PIL.Image
    >>> [crop.size for crop in ten_crops(PIL.Image.new("RGB", (64, 32)))] == [(28, 28)] * 10
    True
    """
    import PIL.ImageOps

    width, height = picture.size
    side = max(1, round(SHARE * min(width, height)))
    right, bottom = width - side, height - side
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), (round(right / 2), round(bottom / 2))]
    found = [picture.crop((x, y, x + side, y + side)) for x, y in corners]
    return found + [PIL.ImageOps.mirror(one) for one in found]


class TenCrops:
    """An encoder whose vector of a picture is the mean of those of ten crops; all else is the encoder's.

    Args:
        model: an encoder of pictures, and perhaps of texts.

    Source: frozen features of visually grounded sentences (Merkx & Frank 2019, arXiv 1903.11393).
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.name, self.fingerprint, self.dim = f"{model.name}?crops=10", model.fingerprint, model.dim
        self.batch_size = max(1, int(getattr(model, "batch_size", 32) or 32))

    def __getattr__(self, name: str) -> Any:
        if name == "_model":  # a copy that is still empty
            raise AttributeError(name)
        return getattr(self._model, name)

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> Any:
        """Encode texts as the encoder does."""
        return self._model.encode_texts(texts, langs)

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures: `[N, dim]`, means of ten; a picture that cannot be decoded is a NaN row."""
        import numpy as np

        from panoglot.pictures import Image

        out = np.full((len(images), self.dim), np.nan, np.float32)
        for n, image in enumerate(images):
            try:
                crops = [Image.from_pil(crop) for crop in ten_crops(image.pil())]
            except RowError:
                continue
            rows = [
                np.asarray(self._model.encode_images(crops[at : at + self.batch_size]), np.float32)
                for at in range(0, 10, self.batch_size)
            ]
            out[n] = np.concatenate(rows).mean(0)
        return out
