"""`onnx:`: exported encoders and classifiers in onnxruntime, with a small JSON beside them that says how they are fed.

    onnx:/models/siglip            a folder with panoglot.json
    onnx:/models/tagger.json       the JSON itself
    onnx:/models/tagger.onnx       tagger.json beside it

An encoder (either tower may be missing; paths are relative to the JSON and stay in its folder):

    {"name": "my-clip", "role": "encoder",
     "image": {"model": "image.onnx", "size": [224, 224], "resize": "shortest", "interpolation": "bicubic",
               "mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "layout": "nchw", "output": "image_embeds"},
     "text": {"model": "text.onnx", "tokenizer": "tokenizer.json", "max_tokens": 77, "pad": 0, "fixed": false,
              "prefix": "", "pool": "none"}}

A tagger: `"role": "tagger"`, `"image"` as above, `"labels": "labels.txt"` (or a list; `key<TAB>name` where labels have
keys), `"activation": "softmax" | "sigmoid" | "none"`, `"top": 20`, `"threshold": 0.0`.

`resize`: `shortest` (then centre crop), `stretch`, or `pad` (longest side, then a border of `fill`, 0..255). Pixels are
divided by 255, then `mean` and `std` are applied. `pool`: what to make of `[N, T, D]` output: `mean` (over the mask),
`cls`, or `none` when the graph gives `[N, D]`.

Options: `batch_size`, `threads`, `device` (`cpu` or `cuda`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean
from panoglot.providers._names import ModelInfo

if TYPE_CHECKING:
    from panoglot.providers._names import Options

__all__ = ["catalog", "load"]

ROLES = ("encoder", "tagger")


def load(name: str, options: Options) -> Any:
    """Load what the JSON describes.

    Raises:
        UserError: no such file, or the JSON does not fit it.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        path = path / "panoglot.json"
    elif path.suffix == ".onnx":
        path = path.with_suffix(".json")
    settings = {
        "batch_size": options.take("batch_size", int, 16),
        "threads": options.take("threads", int, 0),
        "device": options.take("device", str, "cpu"),
    }
    if settings["batch_size"] < 1 or settings["threads"] < 0:
        raise UserError(f"batch_size of 'onnx:{name}' must be at least 1, threads at least 0.")
    if settings["device"] not in ("cpu", "cuda"):
        raise UserError(f"device of 'onnx:{name}' is cpu or cuda.{did_you_mean(settings['device'], ('cpu', 'cuda'))}")
    options.finish()
    try:
        spec = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no {path}: an onnx: model has a JSON beside it that says how it is fed.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    if not isinstance(spec, dict) or not all(isinstance(spec.get(key, {}), dict) for key in ("image", "text")):
        raise UserError(f'{path} must be a JSON object, and "image" and "text" in it, too.')
    from panoglot.providers.onnx._feed import pick

    role = pick(spec, "role", "encoder", ROLES)
    if role == "tagger":
        from panoglot.providers.onnx._tagger import OnnxTagger

        return OnnxTagger(path, spec, settings)
    from panoglot.providers.onnx._encoder import OnnxEncoder

    return OnnxEncoder(path, spec, settings)


def catalog() -> list[ModelInfo]:
    """The pattern of names."""
    return [ModelInfo("onnx:/folder", ROLES, "an exported encoder or classifier with a JSON that says how it is fed")]
