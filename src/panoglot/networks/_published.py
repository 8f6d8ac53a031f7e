"""Weights that open_clip's authors published, in towers of ours: the library itself is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from panoglot.errors import UserError, require

if TYPE_CHECKING:
    from panoglot.networks._model import Model

__all__ = ["begin_with_open_clip", "take_up"]

_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin")


def begin_with_open_clip(model: Model, name: str) -> list[str]:
    """Give a fresh model with a `vit` and a `transformer` or `hf` text tower what open_clip has under a name.

    Args:
        model: changed in place.
        name: a repository of the hub, `laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k`, or a folder with the
            same files.

    Returns:
        Names of the model's tensors that stay fresh.

    Raises:
        UserError: nothing there, towers of other sizes, or weights that no tower of the model takes.
    """
    return take_up(model, _ours(_read(name), model), f"the weights '{name}' are of other towers")


def take_up(model: Model, found: Mapping[str, Tensor], differ: str) -> list[str]:
    """Give a fresh model some of its tensors.

    Args:
        model: changed in place.
        found: by the model's own names.
        differ: how an error begins.

    Returns:
        Names of the model's tensors that stay fresh.

    Raises:
        UserError: a name or size that the model does not have.
    """
    own = model.state_dict()
    for mine, value in found.items():
        if mine not in own or own[mine].shape != value.shape:
            have = "not there" if mine not in own else f"{tuple(own[mine].shape)}"
            raise UserError(f"{differ}: {mine} is {tuple(value.shape)} in them, {have} in the row.")
    model.load_state_dict(found, strict=False)
    return sorted(own.keys() - found.keys())


def _read(name: str) -> Mapping[str, Tensor]:
    """The state of a model, by open_clip's names."""
    path = Path(name).expanduser()
    if path.is_dir():
        found = next((path / one for one in _FILES if (path / one).is_file()), None)
        if found is None:
            raise UserError(f"the folder '{name}' holds no weights of open_clip: {', '.join(_FILES[:2])}.")
    else:
        found = _downloaded(name)
    if found.suffix == ".safetensors":
        state: Mapping[str, Tensor] = require("safetensors.torch", "panoglot[hf]", "weights of open_clip").load_file(
            found
        )
        return state
    loaded = torch.load(found, map_location="cpu", weights_only=True)
    state = loaded.get("state_dict", loaded)
    return {key.removeprefix("module."): value for key, value in state.items()}


def _downloaded(name: str) -> Path:
    hub = require("huggingface_hub", "panoglot[hf]", f"the weights {name}")
    for file in _FILES:
        try:
            return Path(hub.hf_hub_download(name, file))
        except Exception as error:  # of many kinds: no such file, no network, a name that is none
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    raise UserError(f"the weights '{name}' cannot be loaded: {said}")


def _ours(state: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
    """The same weights by our names."""
    out = {
        "image.first": state["visual.class_embedding"],
        "image.place": state["visual.positional_embedding"],
        "image.embed.weight": state["visual.conv1.weight"],
        "head.weight": state["visual.proj"].T,
    }
    norms = [("image.before", "visual.ln_pre"), ("image.after", "visual.ln_post")]
    sides = [("image", "visual.transformer")]
    if "token_embedding.weight" in state:  # CLIP's own text tower
        out["text.embed.weight"], out["text.place"] = state["token_embedding.weight"], state["positional_embedding"]
        out["text_head.weight"] = state["text_projection"].T
        norms.append(("text.after", "ln_final"))
        sides.append(("text", "transformer"))
    for key, value in state.items():  # one of transformers
        if key.startswith("text.transformer.") and not key.endswith("position_ids"):
            out[f"text.model.{key.removeprefix('text.transformer.')}"] = value
        elif key.startswith("text.proj."):
            out[f"text.project.{key.removeprefix('text.proj.')}"] = value
    for ours, theirs in norms:
        out |= {f"{ours}.{kind}": state[f"{theirs}.{kind}"] for kind in ("weight", "bias")}
    for side, at in sides:
        for n in range(sum(key.startswith(f"{at}.resblocks.") and key.endswith("ln_1.bias") for key in state)):
            out |= _block(f"{side}.blocks.{n}", f"{at}.resblocks.{n}", state)
    contrast = dict(model.parts.items()).get("contrast")
    if "logit_scale" in state and hasattr(contrast, "scale"):
        out["parts.contrast.scale.log"] = state["logit_scale"].reshape(())
    return out


def _block(ours: str, theirs: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A block: queries, keys and values lie in one matrix there."""
    out = {}
    for kind in ("weight", "bias"):
        width = len(state[f"{theirs}.ln_1.bias"])
        both = state[f"{theirs}.attn.in_proj_{kind}"]
        out[f"{ours}.attention.q.{kind}"], out[f"{ours}.attention.kv.{kind}"] = both[:width], both[width:]
        pairs = [("attention.out", "attn.out_proj"), ("norm1", "ln_1"), ("norm2", "ln_2")]
        for mine, its in (*pairs, ("mlp.0", "mlp.c_fc"), ("mlp.2", "mlp.c_proj")):
            out[f"{ours}.{mine}.{kind}"] = state[f"{theirs}.{its}.{kind}"]
    return out
