"""Exports as graphs: image.onnx and text.onnx with what feeds them, for onnxruntime and onnx:FOLDER."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError, require
from panoglot.networks._export import make_tokenizer
from panoglot.networks._records import Batch
from panoglot.networks._views import MEAN, STD
from panoglot.networks.parts import Features
from panoglot.networks.towers import unit

if TYPE_CHECKING:
    from panoglot.networks._model import Model

__all__ = ["OPSET", "write_graphs"]

#: The version of ONNX's operators: onnxruntime 1.14 (2023) and newer read it.
OPSET = 18

#: How far a graph's vectors may lie from the model's.
CLOSE = 1e-4

_TEXTS = ("a red bird", "عصفور أحمر", "लाल चिड़िया", "นกสีแดง", "一只红鸟", "赤い鳥", "ndege mwekundu " * 40)


class _Pictures(nn.Module):
    """Pixels [B, 3, S, S] to unit vectors [B, D]."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        f = Features()
        self.model.image_features(Batch([""], image=pixels[:, None]), f)
        found: Tensor | None = self.model.in_use(f)
        assert found is not None
        return found


class _Texts(nn.Module):
    """Ids and mask [B, L] to unit vectors [B, D]; the ids are those of the exported tokeniser."""

    def __init__(self, model: Model, order: list[int] | None) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("order", None if order is None else torch.tensor(order))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        if self.order is not None:
            ids = self.order[ids]  # type: ignore[index]
        pooled, tokens = self.model.text(ids, mask.bool())
        if self.model.tap == "after":
            return self.model.tap_text(pooled, tokens, mask.bool())
        return unit(self.model.text_head(pooled))


def write_graphs(model: Model, folder: Path) -> None:
    """Write both towers and panoglot.json, which says how they are fed; batch and length of texts are free.

    The graphs are asked for vectors before they are kept: at batch 1 and 5, of texts in several scripts, one too long.

    Raises:
        UserError: the towers cannot be traced, or the graph gives other vectors.
        MissingPackage: `onnx` is not here.
    """
    require("onnx", "panoglot[onnx]", "export to onnx")
    require("tokenizers", "panoglot[onnx]", "export to onnx")
    model = model.eval().cpu()
    kit, names, order = make_tokenizer(model)
    length, side, pad = model.text.tokens.length, model.row.size, kit.token_to_id(names["pad"])
    kit.no_padding()
    kit.no_truncation()
    kit.save(str(folder / "tokenizer.json"))
    two = torch.ones(2, min(8, length), dtype=torch.long)
    _trace(_Pictures(model), (torch.zeros(2, 3, side, side),), folder / "image.onnx", ("pixel_values",), "image_embeds")
    _trace(_Texts(model, order), (two, two), folder / "text.onnx", ("input_ids", "attention_mask"), "text_embeds")
    shown = {"model": "image.onnx", "size": [side, side], "resize": "shortest", "interpolation": "bicubic"}
    shown |= {"mean": list(MEAN), "std": list(STD), "layout": "nchw", "output": "image_embeds"}
    read = {"model": "text.onnx", "tokenizer": "tokenizer.json", "max_tokens": length, "pad": pad}
    spec = {"name": model.row.method, "role": "encoder", "image": shown, "text": {**read, "output": "text_embeds"}}
    (folder / "panoglot.json").write_text(json.dumps(spec, indent=1), "utf-8")
    _check(model, folder)


def _trace(module: nn.Module, given: tuple[Tensor, ...], path: Path, names: Sequence[str], output: str) -> None:
    """Write the graph of a module, its first axes free, the second ones of ids too."""
    axes = {name: {0: "batch"} if one.dim() == 4 else {0: "batch", 1: "length"} for name, one in zip(names, given)}
    log = logging.getLogger("torch.onnx")
    level = log.level
    try:
        log.setLevel(logging.ERROR)
        # by tracing: the other way needs a package more, onnxscript
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(), given, str(path), dynamo=False, opset_version=OPSET, input_names=list(names),
                output_names=[output], dynamic_axes={**axes, output: {0: "batch"}},
            )  # fmt: skip
    except Exception as error:  # the exporter raises kinds of its own for each thing it does not know
        said = " ".join(str(error).split())[:200]
        raise UserError(f"export: {path.name} cannot be written: {type(error).__name__}: {said}") from None
    finally:
        log.setLevel(level)


def _check(model: Model, folder: Path) -> None:
    """Ask the graphs for vectors, and the model."""
    from panoglot.providers import load_model

    encoder: Any = load_model(f"onnx:{folder}", "encoder")
    torch_state = torch.random.get_rng_state()
    pixels = torch.randn(5, 3, model.row.size, model.row.size, generator=torch.Generator().manual_seed(0))
    torch.random.set_rng_state(torch_state)
    for count in (1, 5):
        seen, read = pixels[:count], list(_TEXTS[:1] if count == 1 else _TEXTS)
        found = (encoder.graph("image")({"pixel_values": seen.numpy()}), encoder.encode_texts(read))
        wanted = (model.encode_pixels(seen), model.encode_texts(read))
        for what, ours, theirs in zip(("image", "text"), wanted, found, strict=True):
            gap = float((ours - torch.from_numpy(theirs)).abs().max())
            if not gap <= CLOSE:
                raise UserError(f"export: {what}.onnx gives other vectors than the model, by {gap:.2g}: nothing kept.")
