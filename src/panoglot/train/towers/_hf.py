"""Towers of the transformers library: any text or image model by name or local path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from panoglot.errors import UserError, require

__all__ = ["HfImage", "HfText", "timm_image"]


def _pretrained(kind: Any, name: str) -> Any:
    """Load by name; what transformers says of a name it cannot load takes many lines."""
    try:
        return kind.from_pretrained(name)
    except (OSError, ValueError, KeyError, ImportError) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(f"the tower hf:{name} cannot be loaded: {type(error).__name__}: {said}") from error


class _HfTokens:
    """A transformers tokeniser that counts what it cuts."""

    def __init__(self, tokenizer: Any, length: int) -> None:
        self.tokenizer, self.length, self.cut = tokenizer, length, 0
        self.size = len(tokenizer)

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        whole = self.tokenizer(list(texts), truncation=False, padding=False)["input_ids"]
        self.cut += sum(len(ids) > self.length for ids in whole)
        out = self.tokenizer(list(texts), truncation=True, max_length=self.length, padding=True, return_tensors="pt")
        return out["input_ids"], out["attention_mask"].bool()


class HfText(nn.Module):
    """A text encoder.

    Args:
        name: on the hub, or a local folder.
        pool: `mean` of the real tokens, or `cls`, the first token.
        length: most tokens; what is cut is counted (`tokens.cut`).
        model: a ready model instead of a name (with `tokenizer`).
        tokenizer: for it.
    """

    def __init__(
        self, name: str = "", pool: str = "mean", length: int | None = None, model: Any = None, tokenizer: Any = None
    ) -> None:
        super().__init__()
        hf = require("transformers", "panoglot[train]", f"the tower hf:{name}")
        if pool not in ("mean", "cls"):
            raise UserError(f"hf: pool={pool!r} must be 'mean' or 'cls'.")
        self.model = model if model is not None else _pretrained(hf.AutoModel, name)
        tokenizer = tokenizer if tokenizer is not None else _pretrained(hf.AutoTokenizer, name)
        most = min(int(tokenizer.model_max_length), int(getattr(self.model.config, "max_position_embeddings", 512)) - 2)
        if length is not None and length > most:
            raise UserError(f"hf:{name} reads at most {most} tokens; length={length} is too long.")
        self.tokens, self.pool, self.width = _HfTokens(tokenizer, length or most), pool, self.model.config.hidden_size

    def forward(self, ids: Tensor, mask: Tensor, langs: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
        """Encode ids [M, L] with mask [M, L]; returns [M, width] and [M, L, width]."""
        x = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        if self.pool == "cls":
            return x[:, 0], x
        real = mask[..., None].to(x.dtype)
        return (x * real).sum(1) / real.sum(1).clamp(min=1), x


class HfImage(nn.Module):
    """An image encoder whose first token is the class token (ViT, DeiT, DINOv2, CLIP's vision model).

    Args:
        name: on the hub, or a local folder.
        model: a ready model instead of a name.
    """

    def __init__(self, name: str = "", model: Any = None) -> None:
        super().__init__()
        hf = require("transformers", "panoglot[train]", f"the tower hf:{name}")
        self.model = model if model is not None else _pretrained(hf.AutoModel, name)
        self.model = getattr(self.model, "vision_model", self.model)
        self.width = self.model.config.hidden_size

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode [B, 3, H, W]; returns [B, width] and [B, N, width]."""
        out = self.model(pixel_values=image)
        x = out.last_hidden_state
        if x.dim() == 4:  # a convolutional map
            x = x.flatten(2).transpose(1, 2)
            return x.mean(1), x
        pooled = getattr(out, "pooler_output", None)
        return (x[:, 0] if pooled is None or pooled.shape[-1] != self.width else pooled), x[:, 1:]


def timm_image(name: str, pretrained: bool = True) -> nn.Module:
    """Return a timm model as a tower: pooled vector and feature tokens."""
    timm = require("timm", "timm torchvision", f"the tower timm:{name}")

    class TimmImage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = timm.create_model(name, pretrained=pretrained, num_classes=0)
            self.width = self.model.num_features

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            x = self.model.forward_features(image)
            pooled = self.model.forward_head(x, pre_logits=True)
            tokens = (
                x.flatten(2).transpose(1, 2) if x.dim() == 4 else x[:, getattr(self.model, "num_prefix_tokens", 0) :]
            )
            return pooled, tokens

    return TimmImage()
