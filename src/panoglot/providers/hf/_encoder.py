"""The encoder: CLIP-like models of transformers."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError
from panoglot.providers._batches import decode, encode_rows
from panoglot.providers.hf._load import Place, load_config, load_processor, load_weights

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers._names import Options
    from panoglot.providers.hf._files import Checkpoint

__all__ = ["HFEncoder"]

logger = logging.getLogger("panoglot.providers")

#: Text towers trained on a fixed length without an attention mask: padding is part of what they read.
FIXED_LENGTH = ("siglip", "siglip2")


class HFEncoder:
    """CLIP, SigLIP, SigLIP 2, Chinese-CLIP, AltCLIP, ALIGN … as an `Encoder`.

    Attributes:
        name: provider, model, version.
        fingerprint: of weights, tokenizer, precision and the options that change vectors.
        batch_size: most items a call; halved for good when the memory does not suffice.
        dim: length of a vector.
        max_text_tokens: where texts are cut, special tokens included.
        cut: texts cut so far.
    """

    def __init__(self, checkpoint: Checkpoint, place: Place, options: Options) -> None:
        self.batch_size = options.take("batch_size", int, 128 if place.device.startswith("cuda") else 16)
        full = options.take("full_decode", bool, False)
        if self.batch_size < 1:
            raise UserError(f"batch_size={self.batch_size} of '{checkpoint.label}' must be at least 1.")
        options.finish()
        config = load_config(checkpoint, place)
        self.processor = load_processor(checkpoint, config, place)
        self.model = self._weights(checkpoint, config, place)
        self.tokenizer = self.processor.tokenizer
        text = self._text_config(config)
        positions = getattr(text, "max_position_embeddings", None) or 512
        if getattr(text, "model_type", "") in ("xlm-roberta", "roberta", "altclip_text_model", "camembert"):
            positions -= getattr(text, "pad_token_id", 1) + 1  # positions begin after the padding index
        self.max_text_tokens: int = min(positions, self.tokenizer.model_max_length)
        self.cut = 0
        self._fixed = config.model_type in FIXED_LENGTH
        size = dict(getattr(self.processor.image_processor, "size", None) or {})
        self._side = None if full or not size else 2 * max(size.values())
        self.name = f"hf:{checkpoint.label}"
        facts = [checkpoint.fingerprint, place.dtype, self._side]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        self.dim = int(self._texts(["a"]).shape[-1])

    def _weights(self, checkpoint: Checkpoint, config: Any, place: Place) -> Any:
        """Load the model."""
        import transformers

        model = load_weights(transformers.AutoModel, checkpoint, config, place)
        if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
            raise UserError(
                f"'{checkpoint.label}' ({config.model_type}) has no joint space of images and texts. For a model of "
                "texts alone use st:, for one that writes leave ?as=encoder away."
            )
        return model

    def _text_config(self, config: Any) -> Any:
        """Return the configuration of what reads texts."""
        return config.get_text_config()

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures.

        Large JPEGs are decoded at the smallest scale that still has twice the pixels that the model looks at;
        `?full_decode=true` decodes all of them.

        Returns:
            float32 unit rows `[N, dim]`; NaN where a picture cannot be decoded.
        """
        return encode_rows(decode(images, min_side=self._side), self._pictures, self.dim, self.batch_size, self._shrink)

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Encode texts of any language the model knows; `langs` is not used.

        Returns:
            float32 unit rows `[N, dim]`. Texts longer than `max_text_tokens` are cut, and counted in `cut`.
        """
        texts = list(texts)
        if texts:
            lengths = [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]]
            over = sum(length > self.max_text_tokens for length in lengths)
            if over and not self.cut:
                logger.warning("%s cuts texts at %d tokens; `cut` counts them", self.name, self.max_text_tokens)
            self.cut += over
        return encode_rows(texts, self._texts, self.dim, self.batch_size, self._shrink)

    def pieces(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of every text, without those that stand around all."""
        return [len(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) for text in texts]

    def _shrink(self, failed: int) -> None:
        self.batch_size = max(1, min(self.batch_size, failed // 2))
        logger.warning(
            "%s: a batch of %d does not fit, going on with batch_size=%d", self.name, failed, self.batch_size
        )

    def _pictures(self, pictures: Sequence[Any]) -> np.ndarray:
        inputs = self.processor.image_processor(list(pictures), return_tensors="pt")
        return self._features(self.model.get_image_features, inputs)

    def _texts(self, texts: Sequence[str]) -> np.ndarray:
        inputs = self.tokenizer(
            list(texts),
            return_tensors="pt",
            padding="max_length" if self._fixed else True,
            truncation=True,
            max_length=self.max_text_tokens,
        )
        if self._fixed:
            inputs.pop("attention_mask", None)
        return self._features(self.model.get_text_features, inputs)

    def _features(self, tower: Any, inputs: Any) -> np.ndarray:
        import torch

        known = inspect.signature(tower).parameters
        moved = {
            key: value.to(self.model.device, self.model.dtype if value.is_floating_point() else value.dtype)
            for key, value in inputs.items()
            if key in known
        }
        with torch.inference_mode():
            out = tower(**moved)
            found: np.ndarray = getattr(out, "pooler_output", out).float().cpu().numpy()
            return found
