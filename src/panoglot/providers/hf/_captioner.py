"""Models whose text decoder looks at something else than its own prompt: captioners, and encoder-decoders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError
from panoglot.providers.hf._families import Family, Prepared

if TYPE_CHECKING:
    import PIL.Image
    import torch

    from panoglot.providers.hf._decode import Decoding
    from panoglot.providers.roles import Prompt

__all__ = ["Captioner", "EncoderDecoder"]


class Captioner(Family):
    """BLIP and GIT. Instructions mean nothing to them: a chat prompt gives the plain caption, `chat=False` a prefix."""

    equal_lengths = True

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end a caption."""
        return super().ends | frozenset({self.tokenizer.sep_token_id} - {None})

    def start(self) -> int:
        """The token that a caption begins with."""
        stated = self.config.get_text_config().bos_token_id
        return int(self.tokenizer.cls_token_id if self.config.model_type == "git" or stated is None else stated)

    def prefix(self, prompt: Prompt) -> list[int]:
        """The tokens that a caption goes on from."""
        text = "" if prompt.chat else prompt.text
        return [self.start(), *self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def prepare(self, prompts: Sequence[Prompt], pictures: Sequence[Sequence[PIL.Image.Image]]) -> Prepared:
        """Pixels and prefixes."""
        if any(len(row) > 1 for row in pictures):
            raise RowError("too_many_images", "a captioner takes one picture")
        shown = [picture for row in pictures for picture in row]
        tensors = (
            {"pixel_values": self.processor.image_processor(shown, return_tensors="pt")["pixel_values"]}
            if shown
            else {}
        )
        return Prepared([self.prefix(prompt) for prompt in prompts], {}, tensors)

    def generate(self, batch: Prepared, decoding: Decoding) -> None:
        """Continue the prefixes."""
        if not batch.tensors:
            raise RowError("image_needed", "a captioner describes a picture, and the prompt has none")
        if self.config.model_type == "blip":  # its generate drops the last token, taking it for [SEP]
            batch = Prepared([[*ids, min(self.ends)] for ids in batch.ids], {}, batch.tensors)
        super().generate(batch, decoding)

    @property
    def keeps(self) -> bool:  # type: ignore[override]
        """GIT and BLIP put the picture before the text, or have no such argument."""
        return False

    def forward(self, inputs: dict[str, Any], batch: Prepared) -> torch.Tensor:
        """Run once, with or without the picture."""
        if self.config.model_type == "blip" and not batch.tensors:  # the decoder without cross-attention
            decoded: torch.Tensor = self.model.text_decoder(**inputs, use_cache=False).logits
            return decoded
        more = {} if self.config.model_type == "blip" else {"use_cache": False}
        found: torch.Tensor = self.model(**inputs, **self.to_device(batch.tensors), **more).logits
        return found


class EncoderDecoder(Family):
    """T5-like LLMs (the prompt goes to the encoder) and captioners whose encoder takes the picture."""

    @property
    def blind(self) -> bool:  # type: ignore[override]
        """A vision encoder must have a picture."""
        return not self.sees

    @property
    def equal_lengths(self) -> bool:  # type: ignore[override]
        """Prefixes of the decoder begin at position 0."""
        return True

    def start(self) -> int:
        """The token that the decoder begins with."""
        for owner in (self.model.generation_config, self.config, self.config.get_text_config(decoder=True)):
            for key in ("decoder_start_token_id", "bos_token_id"):
                token = getattr(owner, key, None)
                if token is not None:
                    return int(token)
        return self.pad

    def prefix(self, prompt: Prompt) -> list[int]:
        """The tokens that the decoder goes on from."""
        text = prompt.text if self.sees and not prompt.chat else ""
        return [self.start(), *(self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else [])]

    def prepare(self, prompts: Sequence[Prompt], pictures: Sequence[Sequence[PIL.Image.Image]]) -> Prepared:
        """The encoder's input, and the decoder's prefix."""
        ids = [self.prefix(prompt) for prompt in prompts]
        if self.sees:
            if any(len(row) != 1 for row in pictures):
                raise RowError(
                    "image_needed" if not all(pictures) else "too_many_images", "this model takes one picture"
                )
            shown = [row[0] for row in pictures]
            return Prepared(ids, {}, dict(self.processor.image_processor(shown, return_tensors="pt")))
        texts = [prompt.text if prompt.system is None else f"{prompt.system}\n\n{prompt.text}" for prompt in prompts]
        read = self.tokenizer(texts, return_tensors="pt", padding=True)
        return Prepared(ids, {}, dict(read), read["attention_mask"].sum(-1).tolist())

    def generate(self, batch: Prepared, decoding: Decoding) -> None:
        """Run the decoder from its prefix."""
        start = self.padded(batch.ids, self.pad, left=True)
        self._run({**self.to_device(batch.tensors), "decoder_input_ids": start}, decoding)

    def forward(self, inputs: dict[str, Any], batch: Prepared) -> torch.Tensor:
        """Run encoder and decoder once."""
        tensors = self.to_device(batch.tensors)
        found: torch.Tensor = self.model(**tensors, decoder_input_ids=inputs["input_ids"], use_cache=False).logits
        return found

    keeps = False
