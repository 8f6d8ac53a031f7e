"""Exported classifiers as a tagger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError
from panoglot.providers._batches import chunks, decode, halving
from panoglot.providers.onnx._feed import IMAGE_KEYS, Described, Graph, Pixels, inside, known_keys, pick
from panoglot.providers.roles import Tag

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

    from panoglot.pictures import Image

__all__ = ["OnnxTagger"]


class OnnxTagger(Described):
    """A classifier as a `Tagger`.

    Attributes:
        name: provider, name of the JSON, fingerprint.
        fingerprint: of the files and the JSON.
        batch_size: most pictures a call.
        labels: `(key, name)` of every class.
    """

    def __init__(self, path: Path, spec: dict[str, Any], options: dict[str, Any]) -> None:
        known_keys(spec, {"name", "role", "image", "labels", "activation", "top", "threshold"}, str(path))
        image = spec.get("image") or {}
        known_keys(image, IMAGE_KEYS, f'"image" in {path}')
        model, labels = inside(path.parent, image.get("model")), spec.get("labels")
        files = [model]
        if isinstance(labels, str):
            files.append(inside(path.parent, labels))
            labels = files[-1].read_text("utf-8").splitlines()
        if not isinstance(labels, list) or not labels:
            raise UserError(f'{path}: a tagger needs "labels": a list, or the name of a text file.')
        parted = [str(label).rpartition("\t") for label in labels]
        self.labels = [(key, name) for key, _, name in parted]
        self._activation = pick(spec, "activation", "softmax", ("none", "sigmoid", "softmax"))
        self._top, self._threshold = int(spec.get("top", 20)), float(spec.get("threshold", 0.0))
        self._pixels, self._graph = Pixels.read(image), Graph(model, options, image.get("output"))
        super().__init__(path, spec, options, files)
        import PIL.Image

        classes = self._logits([PIL.Image.new("RGB", (8, 8))]).shape[1]
        if classes != len(self.labels):
            raise UserError(f"'{self.name}' has {len(self.labels)} labels for {classes} classes.")

    def tag(self, images: Sequence[Image]) -> list[list[Tag] | RowError]:
        """Classify pictures: best first, at most `top`, none under `threshold`; ties in the order of the labels."""
        pictures = decode(images, 2 * max(self._pixels.size))
        good = [picture for picture in pictures if not isinstance(picture, RowError)]
        tagged = iter([row for part in chunks(good, self.batch_size) for row in halving(part, self._tag)])
        return [picture if isinstance(picture, RowError) else next(tagged) for picture in pictures]

    def _logits(self, pictures: Sequence[PIL.Image.Image]) -> np.ndarray:
        return self._graph(self._pixels(pictures)).reshape(len(pictures), -1).astype("float64")

    def _tag(self, pictures: Sequence[PIL.Image.Image]) -> list[list[Tag] | RowError]:
        import numpy as np

        logits = self._logits(pictures)
        if self._activation == "softmax":
            logits = np.exp(logits - logits.max(1, keepdims=True))
            scores = logits / logits.sum(1, keepdims=True)
        else:
            scores = 1 / (1 + np.exp(-np.clip(logits, -500, 500))) if self._activation == "sigmoid" else logits
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self._top]
        return [
            [
                Tag(self.labels[n][1], float(row[n]), self.labels[n][0])
                for n in best.tolist()
                if row[n] >= self._threshold
            ]
            for row, best in zip(scores, order, strict=True)
        ]
