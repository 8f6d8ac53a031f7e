"""How an exported graph is fed: the JSON beside it, pixels, sessions, fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean, require
from panoglot.pictures import fit_shorter

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

__all__ = ["IMAGE_KEYS", "Described", "Graph", "Pixels", "inside", "known_keys", "pick"]

RESIZE = ("pad", "shortest", "stretch")
INTERPOLATION = ("bicubic", "bilinear", "box", "lanczos", "nearest")
IMAGE_KEYS = ("fill", "interpolation", "layout", "mean", "model", "output", "resize", "size", "std")


def pick(spec: dict[str, Any], key: str, default: Any, known: Sequence[str] = ()) -> Any:
    """Read a key of the JSON; refuse a value that is not `known`."""
    value = spec.get(key, default)
    if known and value not in known:
        raise UserError(f'"{key}": {value!r} in the JSON of an onnx: model.{did_you_mean(str(value), known)}')
    return value


def known_keys(spec: dict[str, Any], keys: Iterable[str], where: str) -> None:
    """Refuse keys that nobody reads, with a "did you mean"."""
    for key in spec:
        if key not in keys:
            raise UserError(f'{where} has no key "{key}".{did_you_mean(key, keys)}')


def inside(folder: Path, name: Any) -> Path:
    """Return the path of a file that the JSON names; it must lie in the JSON's own folder."""
    path = (folder / str(name)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f"'{name}' leaves the folder {folder}: the files of an onnx: model lie beside its JSON.")
    if not path.is_file():
        raise UserError(f"there is no file {path}.")
    return path


@dataclass(frozen=True)
class Pixels:
    """How pictures become a tensor."""

    size: tuple[int, int]
    resize: str
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: str
    fill: int

    @classmethod
    def read(cls, spec: dict[str, Any]) -> Pixels:
        """Check and read the JSON."""
        size = spec.get("size")
        if isinstance(size, int):
            size = [size, size]
        mean, std = spec.get("mean", [0.0] * 3), spec.get("std", [1.0] * 3)
        if not (isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and 0 < n <= 8192 for n in size)):
            raise UserError(f'"size": {size!r} in the JSON of an onnx: model must be [height, width].')
        if len(mean) != 3 or len(std) != 3 or 0 in std:
            raise UserError('"mean" and "std" in the JSON of an onnx: model are three numbers each, "std" not 0.')
        return cls(
            (size[0], size[1]),
            pick(spec, "resize", "shortest", RESIZE),
            pick(spec, "interpolation", "bicubic", INTERPOLATION),
            tuple(map(float, mean)),
            tuple(map(float, std)),
            pick(spec, "layout", "nchw", ("nchw", "nhwc")),
            int(spec.get("fill", 0)),
        )

    def __call__(self, pictures: Sequence[PIL.Image.Image]) -> np.ndarray:
        """Pictures to float32 `[N, 3, H, W]`, or `[N, H, W, 3]`."""
        import numpy as np

        rows = np.stack([np.asarray(self.shaped(picture), dtype=np.float32) for picture in pictures]) / 255
        rows = (rows - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(rows.transpose(0, 3, 1, 2)) if self.layout == "nchw" else rows

    def shaped(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        """Resize to exactly `size`."""
        import PIL.Image

        height, width = self.size
        kernel = getattr(PIL.Image.Resampling, self.interpolation.upper())
        if self.resize == "stretch":
            return picture.resize((width, height), kernel)
        if self.resize == "shortest":
            return fit_shorter(picture, height, width, kernel)
        scale = min(width / picture.width, height / picture.height)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        resized = picture.resize(size, kernel)
        canvas = PIL.Image.new("RGB", (width, height), (self.fill,) * 3)
        canvas.paste(resized, ((width - resized.width) // 2, (height - resized.height) // 2))
        return canvas


class Graph:
    """An ONNX file in a session."""

    def __init__(self, path: Path, options: dict[str, Any], output: str | None) -> None:
        runtime: Any = require("onnxruntime", "panoglot", "a model of the provider 'onnx'")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = options["threads"]
        settings.log_severity_level = 3
        wanted = ["CUDAExecutionProvider"] if options["device"] == "cuda" else ["CPUExecutionProvider"]
        if wanted[0] not in runtime.get_available_providers():
            raise UserError("device=cuda needs the package 'onnxruntime-gpu': pip install onnxruntime-gpu")
        try:
            self.session = runtime.InferenceSession(str(path), settings, providers=wanted)
        except Exception as error:  # onnxruntime raises kinds of its own for each way a file can be broken
            raise UserError(f"{path} cannot be loaded: {str(error)[:300]}") from None
        self.inputs = [(node.name, node.type) for node in self.session.get_inputs()]
        outputs = [node.name for node in self.session.get_outputs()]
        if output is not None and output not in outputs:
            raise UserError(f"{path} has no output '{output}'.{did_you_mean(output, outputs)}")
        self.output = output or outputs[0]

    def __call__(self, values: dict[str, np.ndarray] | np.ndarray) -> np.ndarray:
        """Run: one array for the first input, or arrays by name (those the graph lacks are left out)."""
        import numpy as np

        kinds = {"tensor(float16)": np.float16, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
        given = values if isinstance(values, dict) else {self.inputs[0][0]: values}
        missing = [name for name, _ in self.inputs if name not in given]
        if missing:
            raise UserError(f"the graph wants the input '{missing[0]}', known are {', '.join(sorted(given))}.")
        feed = {name: given[name].astype(kinds.get(kind, np.float32)) for name, kind in self.inputs}
        found: np.ndarray = self.session.run([self.output], feed)[0]
        return found


class Described:
    """What both roles share: name, fingerprint, batch size."""

    def __init__(self, path: Path, spec: dict[str, Any], options: dict[str, Any], files: list[Path]) -> None:
        self.batch_size: int = options["batch_size"]
        digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode())
        if spec.get("resize", "shortest") == "shortest":
            digest.update(b"the longer side rounded down")  # as transformers does; it was rounded once
        for file in files:
            for part in (file, file.with_name(file.name + ".data")):  # large weights are kept beside the graph
                if part.is_file():
                    with part.open("rb") as stream:
                        digest.update(hashlib.file_digest(stream, "sha256").digest())
        self.fingerprint = digest.hexdigest()[:32]
        stem = path.parent.name if path.name == "panoglot.json" else path.stem
        self.name = f"onnx:{spec.get('name', stem)}@{self.fingerprint[:12]}"
