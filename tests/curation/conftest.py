import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from panoglot.table import Caption, Dataset, caption_to_row, create_dataset, given_caption_id, image_id


def scene(seed: int, width: int = 640, height: int = 480) -> PIL.Image.Image:
    """A picture with the spectrum of a photograph: noise whose power falls with frequency."""
    rng = np.random.default_rng(seed)
    fx, fy = np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256))
    falloff = 1 / np.maximum(np.hypot(fx, fy), 1 / 256) ** 1.3
    planes = []
    for _ in range(3):
        plane = np.fft.ifft2(np.fft.fft2(rng.standard_normal((256, 256))) * falloff).real
        planes.append((plane - plane.mean()) / plane.std() * 50 + 128)
    picture = PIL.Image.fromarray(np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8))
    return picture.resize((width, height), PIL.Image.Resampling.BICUBIC)


def jpeg(picture: PIL.Image.Image, quality: int = 90, **more) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, **more)
    return buffer.getvalue()


class Maker:
    """A dataset that is filled by hand."""

    def __init__(self, path: Path) -> None:
        self.dataset: Dataset = create_dataset(path)

    def image(self, data: bytes | str, width: int = 640, height: int = 480) -> str:
        return self.images([data], [width], [height])[0]

    def images(self, datas, widths, heights) -> list[str]:
        rows = []
        for data, width, height in zip(datas, widths, heights):
            raw = data if isinstance(data, bytes) else data.encode()
            key = image_id(raw)
            row = {"image_id": key, "data": raw, "uri": f"{key}.jpg", "width": width, "height": height}
            rows.append({**row, "format": "jpeg", "size": len(raw), "context": "{}"})
        self.dataset.images.insert(rows)
        return [row["image_id"] for row in rows]

    def caption(self, image: str, text: str, lang: str = "en", kind: str = "alt", **more) -> str:
        return self.add([{"image": image, "text": text, "lang": lang, "kind": kind, **more}])[0]

    def add(self, captions: list[dict]) -> list[str]:
        rows = []
        for given in captions:
            given = {"lang": "en", "kind": "alt", "recipe": "web", **given}
            image = given.pop("image")
            key = given_caption_id(image, given["recipe"], given["lang"], given.get("region"), given["text"])
            rows.append(caption_to_row(Caption(image_id=image, caption_id=key, **given)))
        self.dataset.captions.insert(rows)
        return [row["caption_id"] for row in rows]

    def captions(self) -> dict[str, str | None]:
        return {row["text"]: row["dropped"] for row in self.dataset.captions.rows(["text", "dropped"])}

    def marks(self) -> dict[str, str | None]:
        return {row["image_id"]: row["dropped"] for row in self.dataset.marks.rows(["image_id", "dropped"])}


@pytest.fixture
def maker(tmp_path) -> Maker:
    return Maker(tmp_path / "x.pano")
