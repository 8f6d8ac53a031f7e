"""What can be measured of any picture without a model: shape, transparency, brightness, colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from panoglot.errors import RowError

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image

__all__ = ["PictureFacts", "cielab", "colour_examples", "colour_numbers", "picture_facts"]

#: The eleven basic colour terms of English (Berlin and Kay, 1969), by examples; a pixel takes the name of the nearest
#: example in CIELAB. Examples were set by eye, so that the CSS colours get the names that people give them.
_EXAMPLES = {
    "black": "000000 141414 0a0a1e 1e0a0a 0a1e0a",
    "white": "ffffff f5f5f0 f0f5f8 ebebeb",
    "grey": "808080 5a5a5a 3c3c3c a5a5a5 c8c8c8 708090 778899 8c8780 b4afa5 4b5055",
    "red": "ff0000 c81e1e a01414 dc143c 780a0a e63c32 b22222 5a0a0a 6e1414 9b1e28 690a0a",
    "orange": "ff8c00 ffa500 ff6e14 e6781e f5a05a ff7f50",
    "yellow": "ffff00 ffd700 f0e14b fffa96 d7c828 e6d25a f0e68c c8c864 d2d28c e6e6aa b4b450",
    "green": "008000 00ff00 145a14 32a032 6b8e23 90ee90 2e8b57 556b2f 8cb45a 9acd32 3c6e50 a0c8a0 00fa9a",
    "blue": "0000ff 00008b 4169e1 1e90ff 87ceeb 4682b4 5f9ea0 00bfff 00ffff 40e0d0 add8e6 1e3c6e 191970 6496c8 008080",
    "purple": "800080 9932cc 8a2be2 4b0082 9370db ba55d3 663399 dda0dd 6a5acd ff00ff",
    "pink": "ffc0cb ff69b4 ff1493 f0a0b4 ffb6c1 db7093 e68ca0",
    "brown": "8b4513 a0522d 5a3214 7d5532 965f32 3c2314 a58255 c89664 6e4b2d d2b48c cd853f",
}


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """Measured facts.

    Attributes:
        width: pixels.
        height: pixels.
        shape: `square` (sides within 5 %), `panorama` (2:1 or wider), `tall` (1:2 or taller), `landscape`, `portrait`.
        transparent: share of the picture that is transparent.
        brightness: mean CIELAB lightness of what is visible, 0..1.
        contrast: standard deviation of that lightness, 0..1.
        colourfulness: Hasler and Süsstrunk (2003); below 5 is grey, above 80 vivid.
        colours: (English name, share of what is visible) of colours with at least 5 %, most first.
    """

    width: int
    height: int
    shape: str
    transparent: float
    brightness: float
    contrast: float
    colourfulness: float
    colours: tuple[tuple[str, float], ...]


def picture_facts(image: Image, side: int = 64) -> PictureFacts:
    """Measure a picture on `side` x `side` pixels.

    Raises:
        RowError: it cannot be decoded, or is wholly transparent (`invisible`).
    """
    import numpy as np

    alpha = image.opacity(side)
    pixels = image.thumbnail(side).reshape(-1, 3)[alpha.reshape(-1) > 0.5]
    if not len(pixels):
        raise RowError("invisible", "every pixel is transparent")
    lab = cielab(pixels)
    shares = np.bincount(colour_numbers(lab), minlength=len(_EXAMPLES)) / len(pixels)
    order = np.argsort(-shares, kind="stable")
    red_green = pixels[:, 0].astype(float) - pixels[:, 1]
    yellow_blue = pixels[:, :2].mean(1) - pixels[:, 2]
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return PictureFacts(
        width=image.width,
        height=image.height,
        shape=_shape(image.width / image.height),
        transparent=float((alpha <= 0.5).mean()),
        brightness=float(lab[:, 0].mean() / 100),
        contrast=float(lab[:, 0].std() / 100),
        colourfulness=float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean())),
        colours=tuple((sorted(_EXAMPLES)[n], float(shares[n])) for n in order if shares[n] >= 0.05),
    )


def _shape(ratio: float) -> str:
    if ratio >= 2 or ratio <= 0.5:
        return "panorama" if ratio >= 2 else "tall"
    return "square" if 0.95 <= ratio <= 1.05 else "landscape" if ratio > 1 else "portrait"


def colour_numbers(lab: np.ndarray) -> np.ndarray:
    """Number of the colour term, in the order of their names, that every pixel `[N, 3]` is nearest to an example of.

    The square of a distance is |pixel|² - 2 pixel·example + |example|², of which the first is the same for all
    examples: one product of matrices. Of all 16.7 million sRGB colours none is nearer than 9e-5 to a tie, so rounding
    decides nothing.
    """
    owner, examples = colour_examples()
    found: np.ndarray = owner[(lab @ (-2 * examples.T) + (examples**2).sum(1)).argmin(1)]
    return found


@lru_cache(maxsize=1)
def colour_examples() -> tuple[np.ndarray, np.ndarray]:
    """Which colour term an example belongs to, int `[E]`, and the examples in CIELAB, `[E, 3]`."""
    import numpy as np

    pairs = [(n, bytes.fromhex(code)) for n, name in enumerate(sorted(_EXAMPLES)) for code in _EXAMPLES[name].split()]
    return np.array([n for n, _ in pairs]), cielab(np.array([list(rgb) for _, rgb in pairs], np.uint8))


def cielab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of sRGB, uint8 `[N, 3]`; IEC 61966-2-1 and CIE 15."""
    import numpy as np

    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)[rgb]
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
