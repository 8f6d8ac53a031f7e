"""Exports of the CLIP architecture: transformers' CLIP, sentence-transformers over it, open_clip."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import require
from panoglot.networks._export import make_tokenizer
from panoglot.networks._views import MEAN, STD

if TYPE_CHECKING:
    from torch import Tensor

    from panoglot.networks._model import Model

__all__ = ["WRITERS", "save_processor"]


def _transformers(model: Model, folder: Path) -> None:
    """Write `CLIPModel` with its processor: hf:FOLDER."""
    hf = require("transformers", "panoglot[hf]", "export to transformers")
    words, order = save_processor(model, folder)
    vision, text = _sizes(model.image), _sizes(model.text)
    vision |= {"image_size": model.row.size, "patch_size": model.image.patch}
    text |= {"vocab_size": len(order), "max_position_embeddings": len(model.text.place)}
    text |= {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = hf.CLIPConfig(
        vision_config={**vision, "projection_dim": model.row.dim},
        text_config={**text, "projection_dim": model.row.dim},
        projection_dim=model.row.dim,
    )
    out = hf.CLIPModel(config)
    missing, unknown = out.load_state_dict(_weights(model, order), strict=False)
    assert not unknown, unknown
    assert all(name.endswith("position_ids") for name in missing), missing
    out.eval().save_pretrained(folder)


def save_processor(model: Model, folder: Path) -> tuple[Any, list[int]]:
    """Write tokeniser and preprocessing as transformers has them.

    Returns:
        The tokeniser, and the model's own id of each of its ids.
    """
    hf = require("transformers", "panoglot[hf]", "export")
    kit, names, order = make_tokenizer(model)
    special = {f"{short}_token": names[name] for short, name in (("bos", "start"), ("eos", "end"), ("pad", "pad"))}
    words = hf.PreTrainedTokenizerFast(tokenizer_object=kit, model_max_length=model.text.tokens.length, **special)
    words.save_pretrained(folder)
    side = {"height": model.row.size, "width": model.row.size}
    hf.CLIPImageProcessorPil(
        size={"shortest_edge": model.row.size}, crop_size=side, image_mean=list(MEAN), image_std=list(STD),
        processor_class="CLIPProcessor",
    ).save_pretrained(folder)  # fmt: skip
    return words, list(range(model.text.tokens.size)) if order is None else order


def _sizes(tower: Any) -> dict[str, Any]:
    heads = tower.blocks[0].attention.heads
    sizes = {"hidden_size": tower.width, "intermediate_size": tower.blocks[0].mlp[0].out_features}
    return sizes | {"num_hidden_layers": len(tower.blocks), "num_attention_heads": heads, "hidden_act": "gelu"}


def _scale(model: Model) -> Tensor | None:
    """Return the logarithm of the learned scale of similarities."""
    contrast = dict(model.parts.items()).get("contrast")
    scale = getattr(contrast, "scale", None)
    return None if scale is None else scale.log


def _weights(model: Model, order: list[int]) -> dict[str, Tensor]:
    """Return our weights by transformers' names."""
    image, text = model.image, model.text
    out = {
        "vision_model.embeddings.class_embedding": image.first,
        "vision_model.embeddings.patch_embedding.weight": image.embed.weight,
        "vision_model.embeddings.position_embedding.weight": image.place,
        "text_model.embeddings.token_embedding.weight": text.embed.weight[order],
        "text_model.embeddings.position_embedding.weight": text.place,
        "visual_projection.weight": model.head.weight,
        "text_projection.weight": model.text_head.weight,
    }
    scale = _scale(model)
    if scale is not None:
        out["logit_scale"] = scale
    norms = (("vision_model.pre_layrnorm", image.before), ("vision_model.post_layernorm", image.after))
    for name, norm in (*norms, ("text_model.final_layer_norm", text.after)):
        out |= {f"{name}.weight": norm.weight, f"{name}.bias": norm.bias}
    for side, tower in (("vision_model", image), ("text_model", text)):
        for n, block in enumerate(tower.blocks):
            at = f"{side}.encoder.layers.{n}"
            k, v = (part.chunk(2) for part in (block.attention.kv.weight, block.attention.kv.bias))
            parts = {"k_proj": (k[0], v[0]), "v_proj": (k[1], v[1])}
            for name, layer in (("q_proj", block.attention.q), ("out_proj", block.attention.out)):
                parts[name] = (layer.weight, layer.bias)
            for name, (weight, bias) in parts.items():
                out |= {f"{at}.self_attn.{name}.weight": weight, f"{at}.self_attn.{name}.bias": bias}
            out |= _named(at, block, {"layer_norm1": "norm1", "layer_norm2": "norm2"}, ("mlp.fc1", "mlp.fc2"))
    return _plain(out)


def _named(at: str, block: Any, norms: dict[str, str], layers: tuple[str, str]) -> dict[str, Tensor]:
    """Return the norms and the feed-forward of a block by another library's names."""
    named = {name: getattr(block, ours) for name, ours in norms.items()}
    named |= {layers[0]: block.mlp[0], layers[1]: block.mlp[2]}
    return {f"{at}.{name}.{kind}": getattr(part, kind) for name, part in named.items() for kind in ("weight", "bias")}


def _plain(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}


def _sentence_transformers(model: Model, folder: Path) -> None:
    """Write a SentenceTransformer of that CLIP: st:FOLDER."""
    st = require("sentence_transformers", "panoglot[st]", "export to sentence-transformers")
    with tempfile.TemporaryDirectory() as inner:
        _transformers(model, Path(inner))
        st.SentenceTransformer(inner, device="cpu").save_pretrained(str(folder))


def _open_clip(model: Model, folder: Path) -> None:
    """Write a folder of open_clip, `local-dir:` there: open_clip:FOLDER. The library itself is not needed for it."""
    save_file = require("safetensors.torch", "panoglot[hf]", "export to open_clip").save_file
    words, order = save_processor(model, folder)
    image, text, blocks = model.image, model.text, model.image.blocks
    vision = {"image_size": model.row.size, "patch_size": image.patch, "width": image.width, "layers": len(blocks)}
    vision |= {"head_width": image.width // blocks[0].attention.heads}
    vision |= {"mlp_ratio": blocks[0].mlp[0].out_features / image.width}
    reads = {"context_length": len(text.place), "vocab_size": len(order), "width": text.width}
    reads |= {"heads": text.blocks[0].attention.heads, "layers": len(text.blocks)}
    reads |= {"mlp_ratio": text.blocks[0].mlp[0].out_features / text.width, "pad_id": words.pad_token_id}
    # the tokeniser's files lie in this folder; what its name is says no more than that
    reads |= {"pool_type": "eos", "eos_id": words.eos_token_id, "hf_tokenizer_name": "local"}
    shown = {"size": [model.row.size] * 2, "mode": "RGB", "mean": list(MEAN), "std": list(STD)}
    shown |= {"interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": {"embed_dim": model.row.dim, "vision_cfg": vision, "text_cfg": reads}}
    told = json.dumps({**config, "preprocess_cfg": shown}, indent=1)
    (folder / "open_clip_config.json").write_text(told, "utf-8")
    save_file(_open_clip_weights(model, order), folder / "open_clip_model.safetensors")


def _open_clip_weights(model: Model, order: list[int]) -> dict[str, Tensor]:
    """Return our weights by open_clip's names."""
    import torch

    image, text, scale = model.image, model.text, _scale(model)
    out = {
        "visual.class_embedding": image.first,
        "visual.positional_embedding": image.place,
        "visual.conv1.weight": image.embed.weight,
        "visual.proj": model.head.weight.T,
        "token_embedding.weight": text.embed.weight[order],
        "positional_embedding": text.place,
        "text_projection": model.text_head.weight.T,
        "logit_scale": torch.zeros(()) if scale is None else scale.reshape(()),
    }
    for name, norm in (("visual.ln_pre", image.before), ("visual.ln_post", image.after), ("ln_final", text.after)):
        out |= {f"{name}.weight": norm.weight, f"{name}.bias": norm.bias}
    for side, tower in (("visual.transformer", image), ("transformer", text)):
        for n, block in enumerate(tower.blocks):
            at, attention = f"{side}.resblocks.{n}", block.attention
            for kind in ("weight", "bias"):
                both = torch.cat([getattr(attention.q, kind), getattr(attention.kv, kind)])
                out |= {f"{at}.attn.in_proj_{kind}": both, f"{at}.attn.out_proj.{kind}": getattr(attention.out, kind)}
            out |= _named(at, block, {"ln_1": "norm1", "ln_2": "norm2"}, ("mlp.c_fc", "mlp.c_proj"))
    return _plain(out)


#: Library → what writes a folder that it reads.
WRITERS: dict[str, Callable[[Model, Path], None]] = {
    "open_clip": _open_clip,
    "sentence-transformers": _sentence_transformers,
    "transformers": _transformers,
}
