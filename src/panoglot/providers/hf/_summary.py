"""The encoder that a chat model with eyes is when it is asked for one word: E5-V, and the views of SORCE.

    hf:royokong/e5-v?as=summary
    hf:OWNER/NAME?as=summary&places=parts

A picture and a sentence are asked to be summed up in one word; the vector is the last layer's state where that word
would begin. Asked about a corner of the picture in the place of the picture, it gives a view of that corner: `index
--views tokens` keeps these beside the whole, and a picture is as near as the nearest of its views.

Source: SORCE arXiv 2505.24441, E5-V arXiv 2407.12580. The words of the prompts are ours.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean
from panoglot.providers._batches import decode, encode_rows
from panoglot.providers._prompt import Prompt
from panoglot.providers.hf._chat import DecoderOnly
from panoglot.providers.hf._generator import find_family
from panoglot.providers.hf._load import Place, load_config, load_processor, load_weights

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers._names import Options
    from panoglot.providers.hf._files import Checkpoint

__all__ = ["PLACES", "HFSummary"]

logger = logging.getLogger("panoglot.providers")

ASK = "Sum up {what} in one word:"
#: What is asked about beside the whole picture.
PLACES = {
    "corners": tuple(
        f"the {side} {height} corner of the picture" for side in ("left", "right") for height in ("upper", "lower")
    ),
    "parts": ("the main thing in the picture", "the background of the picture", "the details of the picture"),
}


class HFSummary:
    """A chat model that sees as an `Encoder`, with views of places.

    Attributes:
        name: provider, model, version.
        fingerprint: of weights, precision, prompts and places.
        batch_size: most prompts a call; halved for good when the memory does not suffice.
        dim: length of a vector.
        max_text_tokens: where texts are cut, what is asked of them not.
        cut: texts cut so far.
        places: what `encode_places` asks about.
    """

    def __init__(self, checkpoint: Checkpoint, place: Place, options: Options) -> None:
        self.batch_size = options.take("batch_size", int, 16 if place.device.startswith("cuda") else 4)
        places = options.take("places", str, "corners")
        self.max_text_tokens = options.take("max_tokens", int, 512)
        options.finish()
        if places not in PLACES:
            raise UserError(f"places={places} of '{checkpoint.label}' is unknown.{did_you_mean(places, PLACES)}")
        if self.batch_size < 1 or self.max_text_tokens < 1:
            raise UserError(f"batch_size and max_tokens of '{checkpoint.label}' must be at least 1.")
        config = load_config(checkpoint, place)
        processor = load_processor(checkpoint, config, place)
        auto, family = find_family(config, checkpoint)
        if not issubclass(family, DecoderOnly):
            raise UserError(f"'{checkpoint.label}' ({config.model_type}) is no chat model, and as=summary asks one.")
        self.model = load_weights(auto, checkpoint, config, place)
        self.family = family(self.model, processor, config, False)
        if not self.family.sees or self.family.template is None:
            raise UserError(f"'{checkpoint.label}' is no chat model that sees pictures, and as=summary asks one.")
        self.places, self.cut = PLACES[places], 0
        self.dim = int(config.get_text_config().hidden_size)
        self.name = f"hf:{checkpoint.label}"
        facts = [checkpoint.fingerprint, place.dtype, "summary", ASK, self.places, self.max_text_tokens]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode whole pictures: float32 unit rows `[N, dim]`; NaN where one cannot be decoded."""
        return self._seen(images, "the picture")

    def encode_places(self, images: Sequence[Image]) -> np.ndarray:
        """Encode places of pictures, by asking: float32 unit vectors `[N, places, dim]`."""
        import numpy as np

        return np.stack([self._seen(images, what) for what in self.places], 1)

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Encode texts: float32 unit rows `[N, dim]`; those longer than `max_text_tokens` are cut, and counted."""
        return encode_rows([self._short(text) for text in texts], self._texts, self.dim, self.batch_size, self._shrink)

    def _short(self, text: str) -> str:
        tokenizer = self.family.tokenizer
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) <= self.max_text_tokens:
            return text
        self.cut += 1
        return str(tokenizer.decode(ids[: self.max_text_tokens]))

    def _shrink(self, failed: int) -> None:
        self.batch_size = max(1, min(self.batch_size, failed // 2))
        logger.warning(
            "%s: a batch of %d does not fit, going on with batch_size=%d", self.name, failed, self.batch_size
        )

    def _seen(self, images: Sequence[Image], what: str) -> np.ndarray:
        return encode_rows(decode(images), partial(self._pictures, what), self.dim, self.batch_size, self._shrink)

    def _pictures(self, what: str, pictures: Sequence[Any]) -> np.ndarray:
        # the family puts each picture's tokens where its prompt shows one; pixels come beside
        asked = Prompt(ASK.format(what=what), (None,))
        return self._states([asked] * len(pictures), [[picture] for picture in pictures])

    def _texts(self, texts: Sequence[str]) -> np.ndarray:
        asked = [Prompt(f"{text}\n{ASK.format(what='the sentence above')}") for text in texts]
        return self._states(asked, [[] for _ in texts])

    def _states(self, prompts: Sequence[Prompt], pictures: Sequence[Sequence[Any]]) -> np.ndarray:
        """The last layer's states at the last token of every prompt; padding stands behind it and is not seen."""
        import torch

        batch = self.family.prepare(prompts, pictures)
        inputs: dict[str, Any] = {
            "input_ids": self.family.padded(batch.ids, self.family.pad, left=False),
            "attention_mask": self.family.padded([[1] * len(row) for row in batch.ids], 0, left=False),
            **{key: self.family.padded(rows, 0, left=False) for key, rows in batch.along.items()},
        }
        if "logits_to_keep" in inspect.signature(self.model.forward).parameters and self.family.keeps:
            inputs["logits_to_keep"] = 1
        inputs |= self.family.to_device(batch.tensors)
        with torch.inference_mode():
            states = self.model(**inputs, output_hidden_states=True, use_cache=False).hidden_states[-1]
        before = states.shape[1] - max(map(len, batch.ids))  # places that stand for pictures before the text
        last = torch.tensor([before + len(row) - 1 for row in batch.ids], device=states.device)
        found: np.ndarray = states[torch.arange(len(last), device=states.device), last].float().cpu().numpy()
        return found
