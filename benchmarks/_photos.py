"""Pictures for benchmarks: crops of real photographs that ordinary packages carry, never the same twice."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image

#: Packages that carry photographs, and which.
PACKAGES = {
    "skimage": "data/astronaut.png data/chelsea.png data/coffee.png data/motorcycle_left.png data/rocket.jpg",
    "sklearn": "datasets/images/china.jpg datasets/images/flower.jpg",
}
STAMPS = Path("/usr/share/tuxpaint/stamps")


def photographs(folder: str | None = None) -> list[PIL.Image.Image]:
    """Real photographs: those in `folder`, else of scikit-image and scikit-learn, else Debian's tuxpaint stamps."""
    if folder:
        paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    else:
        paths = []
        for package, names in PACKAGES.items():
            found = importlib.util.find_spec(package)  # finds it without importing it
            if found and found.origin:
                paths += [path for name in names.split() if (path := Path(found.origin).parent / name).exists()]
        paths = paths or sorted(STAMPS.rglob("*.png"))[::12]
    if not paths:
        raise SystemExit("no photographs: pip install scikit-image, or --pictures FOLDER")
    pictures = []
    for path in paths:
        picture = PIL.Image.open(path).convert("RGBA")
        white = PIL.Image.new("RGBA", picture.size, "white")
        pictures.append(PIL.Image.alpha_composite(white, picture).convert("RGB"))
    return pictures


def crops(
    pictures: list[PIL.Image.Image], count: int, width: int, height: int, *, seed: int = 0, noise: float = 6.0
) -> Iterator[PIL.Image.Image]:
    """`count` different crops, scaled to `width` x `height`, with a little grain as of a sensor."""
    for n in range(count):
        rng = np.random.default_rng((seed, n))
        picture = pictures[n % len(pictures)]
        scale = rng.uniform(0.35, 0.75)
        w = scale * min(picture.width, picture.height * width / height)
        x, y = rng.uniform(0, picture.width - w), rng.uniform(0, picture.height - w * height / width)
        box = (x, y, x + w, y + w * height / width)
        crop = picture.resize((width, height), PIL.Image.Resampling.BICUBIC, box=box)
        if n // len(pictures) % 2:
            crop = crop.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
        grain = rng.standard_normal((height // 2, width // 2, 1)).repeat(2, 0).repeat(2, 1) * noise
        yield PIL.Image.fromarray(np.clip(np.asarray(crop) + grain, 0, 255).astype(np.uint8))


def jpeg(picture: PIL.Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
