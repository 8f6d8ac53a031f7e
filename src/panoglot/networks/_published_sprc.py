"""Weights that SPRC's authors published, in a row of ours: what its code saves, by LAVIS's names of BLIP-2's parts."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from panoglot.errors import UserError
from panoglot.networks._published import take_up

if TYPE_CHECKING:
    from panoglot.networks._model import Model

__all__ = ["begin_with_lavis"]

#: LAVIS's names of a Q-Former -> those of transformers, which `QFormer.take` knows.
_FORMER = (
    ("bert.embeddings.LayerNorm.", "layernorm."),
    ("bert.encoder.", "encoder."),
    (".attention.self.", ".attention.attention."),
    (".crossattention.self.", ".crossattention.attention."),
)
#: LAVIS's names of the picture tower -> those of transformers.
_TOWER = (
    ("cls_token", "embeddings.class_embedding"),
    ("pos_embed", "embeddings.position_embedding"),
    ("patch_embed.proj.", "embeddings.patch_embedding."),
    ("blocks.", "encoder.layers."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".attn.qkv.", ".self_attn.qkv."),
    (".attn.proj.", ".self_attn.projection."),
)


def begin_with_lavis(model: Model, name: str) -> list[str]:
    """Give a fresh model of the row `sprc` what a checkpoint of SPRC's code holds: of its composer, or of its reranker.

    Args:
        model: changed in place; with a loss `match` a reranker's checkpoint is its, and the composer stays as it is.
        name: the file, which holds `{epoch: …, Blip2QformerCirAlignPrompt: {…}}` or `{…, Blip2QformerCirRerank: {…}}`;
            or the weights alone.

    Returns:
        Names of the model's tensors that stay fresh.

    Raises:
        UserError: no such file, no weights of SPRC, or weights of other sizes than the row's.
    """
    state = _read(Path(name).expanduser())
    reranks = any(key.startswith("Fformer.") for key in state)
    if reranks and "match" not in dict(model.parts.items()):
        raise UserError(f"'{name}' is SPRC's reranker: its row needs losses: {{match: {{}}}} (--preset rerank).")
    try:
        found = _matching(state, model) if reranks else _composing(state, model)
    except KeyError as error:
        raise UserError(f"'{name}' holds no whole weights of SPRC: {error.args[0]} is not in it.") from None
    return take_up(model, found, f"the weights '{name}' are of other sizes")


def _read(path: Path) -> Mapping[str, Tensor]:
    """The weights in a file, by LAVIS's names."""
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"the weights '{path}' cannot be read: {error.strerror or error}") from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        said = " ".join(str(error).split())[:120]
        raise UserError(f"'{path}' is no file of weights that can be read safely: {said}") from None
    if isinstance(loaded, Mapping):
        for one in (loaded, *loaded.values()):
            if isinstance(one, Mapping) and "query_tokens" in one and "text_proj.weight" in one:
                tensors = ((str(key), value) for key, value in one.items() if isinstance(value, Tensor))
                return {key.removeprefix("module."): value for key, value in tensors}
    raise UserError(f"'{path}' holds no weights of SPRC: query_tokens and text_proj.weight are not in it.")


def _renamed(state: Mapping[str, Tensor], begin: str, names: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    """What begins so, without it, by other names."""
    out = {}
    for key, value in state.items():
        if key.startswith(begin):
            key = key.removeprefix(begin)
            for theirs, ours in names:
                key = key.replace(theirs, ours)
            out[key] = value.float()
    return out


def _former(state: Mapping[str, Tensor], begin: str, ours: str, layers: int) -> dict[str, Tensor]:
    """The weights of a Q-Former under our name of it."""
    from panoglot.networks.readers import renamed_former

    try:
        found = renamed_former(_renamed(state, begin, _FORMER), layers)
    except KeyError as error:
        raise UserError(f"SPRC's weights have no {begin}…{error.args[0]}: the row has more layers.") from None
    return {f"{ours}.{key}": value for key, value in found.items()}


def _composing(state: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Of the first stage: picture tower, words, composer, temperature."""
    composer = model.reader("composer")
    if not hasattr(composer, "former"):
        raise UserError("SPRC's weights are of readers: {composer: {kind: qformer}}.")
    out = _former(state, "Qformer.", "readers.composer.former", len(composer.former.layers))
    for mine, theirs in (("of_text", "text_proj"), ("of_picture", "vision_proj")):
        out |= {f"readers.composer.{mine}.{end}": state[f"{theirs}.{end}"].float() for end in ("weight", "bias")}
    out["readers.composer.queries"] = state["query_tokens"][0].float()
    if "prompt_tokens" in state:
        out["readers.composer.prompt"] = state["prompt_tokens"][0].float()
    if hasattr(model.text, "place"):  # the tokeniser may leave the last rows of the table unused
        words, places = (state[f"Qformer.bert.embeddings.{one}_embeddings.weight"] for one in ("word", "position"))
        size, length = len(model.text.embed.weight), len(model.text.place)
        out |= {"text.embed.weight": words[:size].float(), "text.place": places[:length].float()}
    if "prompted" in model.parts and "temp" in state:
        out["parts.prompted.scale.log"] = -state["temp"].float().log().reshape(())
    if "visual_encoder.cls_token" in state:
        out |= {f"image.model.{key}": value for key, value in _tower(state).items()}
    return out


def _tower(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """EVA's ViT: biases of queries and values lie apart there, keys have none."""
    out = _renamed(state, "visual_encoder.", _TOWER)
    for key in [key for key in out if key.endswith(".attn.q_bias")]:
        at = key.removesuffix(".attn.q_bias")
        q, v = out.pop(key), out.pop(f"{at}.attn.v_bias")
        out[f"{at}.self_attn.qkv.bias"] = torch.cat([q, torch.zeros_like(q), v])
    return out | {f"post_layernorm.{end}": state[f"ln_vision.{end}"].float() for end in ("weight", "bias")}


def _matching(state: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Of the second stage: the Q-Former that matches, its queries, and its head."""
    part = model.parts["match"]
    out = _former(state, "Qformer.", "parts.match.former", len(part.former.layers))
    out["parts.match.queries"] = state["query_tokens"][0].float()
    return out | {f"parts.match.head.{end}": state[f"itm_head.{end}"].float() for end in ("weight", "bias")}
