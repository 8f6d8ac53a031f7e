"""A trained pair of towers as other libraries read it: transformers' CLIP, and sentence-transformers over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean, require
from panoglot.networks._views import MEAN, STD

if TYPE_CHECKING:
    from torch import Tensor

    from panoglot.networks._model import Model
    from panoglot.networks._row import Row

__all__ = ["EXPORTS", "check_export", "export_model"]


def export_model(model: Model, to: str, folder: Path) -> Path:
    """Write a model as another library reads it; its vectors are the same.

    Args:
        model: with image: {kind: vit}, text: {kind: transformer, pool: end} of bytes or CLIP's tokens, and
            head: {kind: linear}.
        to: of `EXPORTS`.
        folder: where.

    Returns:
        The folder.

    Raises:
        UserError: an unknown library, or a model that it has no architecture for, with what keeps it from it.
        MissingPackage: the library is not here.
    """
    check_export(model.row, to)
    folder.mkdir(parents=True, exist_ok=True)
    EXPORTS[to](model, folder)
    return folder


def check_export(row: Row, to: str) -> None:
    """Refuse what cannot be written: known from the row, before anything is trained.

    Raises:
        UserError: an unknown library, or a row that it has no architecture for, with what keeps it from it.
    """
    if to not in EXPORTS:
        raise UserError(f"export: '{to}' is none of {', '.join(EXPORTS)}.{did_you_mean(to, EXPORTS)}")
    image, text = row.image or {}, row.text or {}
    for wrong, why in (
        (image.get("kind") != "vit", f"its picture tower is '{image.get('kind')}', not vit"),
        (bool(image.get("alpha")), "its picture tower has an alpha channel"),
        (text.get("kind") != "transformer", f"its text tower is '{text.get('kind')}', not transformer"),
        (text.get("pool", "end") != "end", "its text tower takes the mean of the tokens, not the end token"),
        (bool(text.get("langs")), "its text tower has adapters a language"),
        (text.get("tokenizer", "") not in ("", "clip"), "its tokeniser is not of bytes, nor CLIP's"),
        (row.head.get("kind") != "linear", f"its head is '{row.head.get('kind')}', not linear"),
    ):
        if wrong:
            raise UserError(f"export: {to} has no architecture for '{row.method}': {why}. It is pano:FOLDER.")


def _transformers(model: Model, folder: Path) -> None:
    """Write `CLIPModel` with its processor: hf:FOLDER."""
    hf = require("transformers", "panoglot[hf]", "export to transformers")
    vision, text, order = _sizes(model.image), _sizes(model.text), _order(model)
    vision |= {"image_size": model.row.size, "patch_size": model.image.patch}
    text |= {"vocab_size": len(order), "max_position_embeddings": len(model.text.place)}
    words = _tokenizer(model, hf)
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
    words.save_pretrained(folder)
    side = {"height": model.row.size, "width": model.row.size}
    pictures = hf.CLIPImageProcessorPil(
        size={"shortest_edge": model.row.size}, crop_size=side, image_mean=list(MEAN), image_std=list(STD),
        processor_class="CLIPProcessor",
    )  # fmt: skip
    pictures.save_pretrained(folder)


def _sizes(tower: Any) -> dict[str, Any]:
    heads = tower.blocks[0].attention.heads
    sizes = {"hidden_size": tower.width, "intermediate_size": tower.blocks[0].mlp[0].out_features}
    return sizes | {"num_hidden_layers": len(tower.blocks), "num_attention_heads": heads, "hidden_act": "gelu"}


def _order(model: Model) -> list[int]:
    """Return our id of each of the exported ids: CLIP's are the same; bytes come in the order of their letters."""
    if model.row.text is not None and model.row.text.get("tokenizer"):
        return list(range(model.text.tokens.size))
    from panoglot.networks.towers._subwords import byte_order

    return [*(byte + 3 for byte in byte_order()), 1, 2, 0]  # start, end, padding


def _tokenizer(model: Model, hf: Any) -> Any:
    """Return the tokeniser as transformers has it."""
    from panoglot.networks.towers._subwords import bytes_kit, clip_kit

    kit = require("tokenizers", "panoglot[train]", "export")
    if model.row.text is not None and model.row.text.get("tokenizer"):
        raw, (start, end, pad) = clip_kit(), ("<start_of_text>", "<end_of_text>", "<end_of_text>")
    else:
        start, end, pad = "<start>", "<end>", "<pad>"
        raw = bytes_kit((start, end, pad))
    ids = [(token, raw.token_to_id(token)) for token in (start, end)]
    raw.post_processor = kit.processors.TemplateProcessing(single=f"{start} $A {end}", special_tokens=ids)
    special = {"bos_token": start, "eos_token": end, "pad_token": pad}
    return hf.PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=model.text.tokens.length, **special)


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
    if "contrast" in model.parts and getattr(model.parts["contrast"], "scale", None) is not None:
        out["logit_scale"] = model.parts["contrast"].scale.log
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
            named = {"layer_norm1": block.norm1, "layer_norm2": block.norm2}
            named |= {"mlp.fc1": block.mlp[0], "mlp.fc2": block.mlp[2]}
            for name, layer in named.items():
                out |= {f"{at}.{name}.weight": layer.weight, f"{at}.{name}.bias": layer.bias}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in out.items()}


def _sentence_transformers(model: Model, folder: Path) -> None:
    """Write a SentenceTransformer of that CLIP: st:FOLDER."""
    st = require("sentence_transformers", "panoglot[st]", "export to sentence-transformers")
    inner = folder / "clip"
    inner.mkdir(exist_ok=True)
    _transformers(model, inner)
    st.SentenceTransformer(str(inner), device="cpu").save_pretrained(str(folder))


#: Library → what writes a folder that it reads.
EXPORTS: dict[str, Callable[[Model, Path], None]] = {
    "sentence-transformers": _sentence_transformers,
    "transformers": _transformers,
}
