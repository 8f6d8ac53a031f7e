"""Models with an image-text matching head: BLIP and BLIP-2 for retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError
from panoglot.providers._batches import chunks, decode, encode_rows, halving
from panoglot.providers.hf._encoder import HFEncoder
from panoglot.providers.hf._load import Place, load_weights

if TYPE_CHECKING:
    import numpy as np
    import torch

    from panoglot.pictures import Image
    from panoglot.providers.hf._files import Checkpoint

__all__ = ["MATCHERS", "HFMatcher"]

#: Architectures that have the head.
MATCHERS = ("BlipForImageTextRetrieval", "Blip2ForImageTextRetrieval")


class HFMatcher(HFEncoder):
    """BLIP and BLIP-2 with their matching head, as an `Encoder` that has `match` too.

    BLIP gives a vector a picture; BLIP-2 one a query, `[N, queries, dim]`, of which the best counts.

    Source: BLIP arXiv 2201.12086, BLIP-2 arXiv 2301.12597.
    """

    def _weights(self, checkpoint: Checkpoint, config: Any, place: Place) -> Any:
        import transformers

        name = next(one for one in checkpoint.config["architectures"] if one in MATCHERS)
        return load_weights(getattr(transformers, name), checkpoint, config, place)

    def _text_config(self, config: Any) -> Any:
        return getattr(config, "qformer_config", None) or config.text_config

    @property
    def _queries(self) -> int:
        """Vectors a picture; 0: one, without a dimension of its own."""
        return int(self.model.query_tokens.shape[1]) if hasattr(self.model, "query_tokens") else 0

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures.

        Returns:
            float32 unit rows `[N, dim]`, of BLIP-2 `[N, queries, dim]`; NaN where a picture cannot be decoded.
        """
        shape = (self._queries, self.dim) if self._queries else self.dim
        return encode_rows(decode(images, min_side=self._side), self._pictures, shape, self.batch_size, self._shrink)

    def match(self, images: Sequence[Image], texts: Sequence[str]) -> list[float | RowError]:
        """Return the matching head's probability, 0 to 1, that text n fits picture n.

        Args:
            images: the pictures; one that cannot be decoded is a `RowError` in its place.
            texts: one a picture; those longer than `max_text_tokens` are cut.
        """
        decoded = decode(images, min_side=self._side)
        out: list[float | RowError] = [one if isinstance(one, RowError) else 0.0 for one in decoded]
        good = [n for n, one in enumerate(decoded) if not isinstance(one, RowError)]
        for part in chunks(good, self.batch_size):
            found = halving([(decoded[n], texts[n]) for n in part], self._matched, self._shrink)
            for n, one in zip(part, found, strict=True):
                out[n] = one
        return out

    def _matched(self, pairs: Sequence[tuple[Any, str]]) -> list[float]:
        import torch

        model, (pictures, texts) = self.model, zip(*pairs, strict=True)
        with torch.inference_mode():
            seen, words = self._seen(pictures), self._words(texts)
            mask = words["attention_mask"]
            if not self._queries:
                read = model.text_encoder(
                    **words, encoder_hidden_states=seen, encoder_attention_mask=_all(seen)
                ).last_hidden_state
                scores = model.itm_head(read[:, 0])
            else:
                queries = model.query_tokens.expand(len(seen), -1, -1)
                both = model.embeddings(input_ids=words["input_ids"], query_embeds=queries)
                read = model.qformer(
                    query_embeds=both,
                    query_length=self._queries,
                    attention_mask=torch.cat([_all(queries), mask], 1),
                    encoder_hidden_states=seen,
                    encoder_attention_mask=_all(seen),
                ).last_hidden_state
                scores = model.itm_head(read[:, : self._queries].to(model.itm_head.weight.dtype)).mean(1)
            found: list[float] = scores.float().softmax(-1)[:, 1].tolist()
            return found

    def _seen(self, pictures: Sequence[Any]) -> torch.Tensor:
        """Return the vision tower's tokens."""
        pixels = self.processor.image_processor(list(pictures), return_tensors="pt")["pixel_values"]
        pixels = pixels.to(self.model.device, self.model.dtype)
        tokens: torch.Tensor = self.model.vision_model(pixel_values=pixels).last_hidden_state
        return tokens

    def _words(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        found = self.tokenizer(
            list(texts), return_tensors="pt", padding=True, truncation=True, max_length=self.max_text_tokens
        )
        return {key: found[key].to(self.model.device) for key in ("input_ids", "attention_mask")}

    def _pictures(self, pictures: Sequence[Any]) -> np.ndarray:
        import torch

        model = self.model
        with torch.inference_mode():
            seen = self._seen(pictures)
            if not self._queries:
                out = model.vision_proj(seen[:, 0])
            else:
                queries = model.query_tokens.expand(len(seen), -1, -1)
                out = model.qformer(
                    query_embeds=queries, encoder_hidden_states=seen, encoder_attention_mask=_all(seen)
                ).last_hidden_state
                out = model.vision_projection(out.to(model.vision_projection.weight.dtype))
            found: np.ndarray = out.float().cpu().numpy()
            return found

    def _texts(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        model, words = self.model, self._words(texts)
        with torch.inference_mode():
            if not self._queries:
                out = model.text_proj(model.text_encoder(**words).last_hidden_state[:, 0])
            else:
                read = model.qformer(
                    query_embeds=model.embeddings(input_ids=words["input_ids"]),
                    query_length=0,
                    attention_mask=words["attention_mask"],
                ).last_hidden_state
                out = model.text_projection(read[:, 0].to(model.text_projection.weight.dtype))
            found: np.ndarray = out.float().cpu().numpy()
            return found


def _all(tokens: torch.Tensor) -> torch.Tensor:
    """Return a mask [B, N] of ones for tokens [B, N, ·]."""
    return tokens.new_ones(tokens.shape[:2]).long()
