"""Exported towers as an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, require
from panoglot.providers._batches import decode, encode_rows
from panoglot.providers.onnx._feed import IMAGE_KEYS, Described, Graph, Pixels, inside, known_keys, pick

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

    from panoglot.pictures import Image

__all__ = ["OnnxEncoder"]

TEXT_KEYS = ("fixed", "max_tokens", "model", "output", "pad", "pool", "prefix", "tokenizer")


class OnnxEncoder(Described):
    """Image and text towers as an `Encoder`.

    Attributes:
        name: provider, name of the JSON, fingerprint.
        fingerprint: of the files and the JSON.
        batch_size: most items a call.
        dim: length of a vector.
        max_text_tokens: where texts are cut, special tokens included.
        cut: texts cut so far.
    """

    def __init__(self, path: Path, spec: dict[str, Any], options: dict[str, Any]) -> None:
        known_keys(spec, {"name", "role", "image", "text"}, str(path))
        image, text, files = spec.get("image"), spec.get("text"), []
        if not image and not text:
            raise UserError(f'{path} has neither "image" nor "text": an encoder needs one of them.')
        self.max_text_tokens, self.cut = 0, 0
        self._image: Graph | None = None
        self._text: Graph | None = None
        if image:
            known_keys(image, IMAGE_KEYS, f'"image" in {path}')
            files.append(inside(path.parent, image.get("model")))
            self._pixels, self._image = Pixels.read(image), Graph(files[-1], options, image.get("output"))
        if text:
            known_keys(text, TEXT_KEYS, f'"text" in {path}')
            files += [inside(path.parent, text.get("model")), inside(path.parent, text.get("tokenizer"))]
            self._text = Graph(files[-2], options, text.get("output"))
            self._prefix, self._pool = str(text.get("prefix", "")), pick(text, "pool", "none", ("cls", "mean", "none"))
            self.max_text_tokens = int(text.get("max_tokens", 77))
            library: Any = require("tokenizers", "tokenizers", f"the text tower of '{path.name}'")
            try:
                self._tokenizer = library.Tokenizer.from_file(str(files[-1]))
            except Exception as error:  # the Rust library raises plain Exception
                raise UserError(f"{files[-1]} is no tokenizer.json: {error}") from None
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
            self._pad, self._fixed = int(text.get("pad", 0)), bool(text.get("fixed", False))
        super().__init__(path, spec, options, files)
        self.dim = self._dim()

    def _dim(self) -> int:
        import PIL.Image

        widths = set()
        if self._image:
            widths.add(self._pictures([PIL.Image.new("RGB", (8, 8))]).shape[-1])
        if self._text:
            widths.add(self._texts(["a"]).shape[-1])
        if len(widths) > 1:
            raise UserError(f"the towers of '{self.name}' give vectors of different lengths: {sorted(widths)}.")
        return int(widths.pop())

    def graph(self, side: str) -> Graph:
        """Return the graph of `image` or `text`, which is fed by the names of its inputs."""
        found = self._image if side == "image" else self._text
        if found is None:
            raise UserError(f"'{self.name}' has no {side} tower.")
        return found

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures: float32 unit rows `[N, dim]`; NaN where a picture cannot be decoded."""
        if self._image is None:
            raise UserError(f"'{self.name}' has no image tower.")
        return encode_rows(decode(images, 2 * max(self._pixels.size)), self._pictures, self.dim, self.batch_size)

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Encode texts: float32 unit rows `[N, dim]`. Longer ones are cut at `max_text_tokens` and counted in `cut`."""
        if self._text is None:
            raise UserError(f"'{self.name}' has no text tower.")
        lengths = [len(row.ids) for row in self._tokenizer.encode_batch([self._prefix + text for text in texts])]
        self.cut += sum(length > self.max_text_tokens for length in lengths)
        return encode_rows(list(texts), self._texts, self.dim, self.batch_size)

    def _pictures(self, pictures: Sequence[PIL.Image.Image]) -> np.ndarray:
        return self._pooled(self._image(self._pixels(pictures)), None)  # type: ignore[misc]

    def _texts(self, texts: Sequence[str]) -> np.ndarray:
        import numpy as np

        self._tokenizer.enable_truncation(self.max_text_tokens)  # keeps the end token, as the tokenizer defines it
        rows = [row.ids for row in self._tokenizer.encode_batch([self._prefix + text for text in texts])]
        self._tokenizer.no_truncation()
        length = self.max_text_tokens if self._fixed else max(1, *map(len, rows))
        ids = np.array([row + [self._pad] * (length - len(row)) for row in rows], dtype=np.int64)
        mask = np.array([[1] * len(row) + [0] * (length - len(row)) for row in rows], dtype=np.int64)
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        graph = self._text
        assert graph is not None
        return self._pooled(graph({**known, graph.inputs[0][0]: ids}), mask)

    def _pooled(self, found: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        if found.ndim == 3 and mask is not None and self._pool == "mean":
            out: np.ndarray = (found * mask[..., None]).sum(1) / mask.sum(1, keepdims=True).clip(1)
            return out
        if found.ndim == 3 and mask is not None and self._pool == "cls":
            return found[:, 0]
        if found.ndim == 4:  # feature maps of a convolutional tower
            found = found.mean((2, 3))
        if found.ndim != 2:
            raise UserError(f'\'{self.name}\' gives {found.ndim}-dimensional output: state "pool" or another "output".')
        return found
