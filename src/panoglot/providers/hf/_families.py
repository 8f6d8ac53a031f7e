"""How the architectures of transformers take a prompt: three families behind one interface.

- `_chat.DecoderOnly`: chat VLMs (Qwen-VL, SmolVLM, Idefics, LLaVA …) and LLMs: pictures are tokens of the prompt.
- `_captioner.Captioner`: BLIP and GIT: a text decoder that continues a prefix while it looks at the picture.
- `_captioner.EncoderDecoder`: T5-like LLMs and vision-encoder-decoder captioners.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import PIL.Image
    import torch

    from panoglot.providers.hf._decode import Decoding
    from panoglot.providers.roles import Prompt

__all__ = ["Family", "Prepared"]


@dataclass
class Prepared:
    """A batch of prompts as the model takes it.

    Attributes:
        ids: tokens of every prompt, without padding (of the decoder's prefix in an encoder-decoder).
        along: other values that go along with every token (token types), without padding.
        tensors: what does not depend on the text (pixels, grids), or is the encoder's.
        read: tokens read, when they are not `ids`.
    """

    ids: list[list[int]]
    along: dict[str, list[list[int]]] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    read: list[int] | None = None


class Family:
    """What the generator needs of an architecture."""

    #: pictures may be left out when texts are scored
    blind = True
    #: rows of one call must have prompts of one length (absolute positions that ignore padding)
    equal_lengths = False

    def __init__(self, model: Any, processor: Any, config: Any, thinking: bool = False) -> None:
        self.model, self.processor, self.config, self.thinking = model, processor, config, thinking
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.sees = hasattr(processor, "image_processor")
        text = config.get_text_config(decoder=True)
        self.context: int | None = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None)
        pad = self.tokenizer.pad_token_id
        self.pad: int = pad if pad is not None else min(self.ends, default=0)

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end an answer."""
        stated = getattr(self.model.generation_config, "eos_token_id", None)
        ends = set(stated if isinstance(stated, list) else [stated])
        return frozenset((ends | {self.tokenizer.eos_token_id}) - {None})

    @property
    def template(self) -> str | None:
        """The chat template, or None for a model that was not taught to chat."""
        for owner in (self.processor, self.tokenizer):
            template = getattr(owner, "chat_template", None)
            if isinstance(template, dict):
                template = template.get("default")
            if template:
                found: str | None = template
                return found
        return None

    def prepare(self, prompts: Sequence[Prompt], pictures: Sequence[Sequence[PIL.Image.Image]]) -> Prepared:
        """Turn prompts with the same number of pictures into model inputs."""
        raise NotImplementedError

    def prefix(self, prompt: Prompt) -> list[int]:
        """The tokens that an answer goes on from, where rows of one call must have as many."""
        return []

    def lead(self, prompt: Prompt) -> str:
        """What the model writes between the prompt and the first word of its answer."""
        return ""

    def to_device(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Move tensors to the model, numbers that are not integers in its precision."""
        moved = {}
        for key, value in tensors.items():
            if hasattr(value, "is_floating_point"):
                kind = self.model.dtype if value.is_floating_point() else value.dtype
                value = value.to(self.model.device, kind)
            moved[key] = value
        return moved

    def padded(self, rows: Sequence[Sequence[int]], fill: int, left: bool) -> torch.Tensor:
        """Pad rows of tokens to `[B, L]`."""
        import torch

        length = max(map(len, rows))
        gaps = [[fill] * (length - len(row)) for row in rows]
        full = [[*gap, *row] if left else [*row, *gap] for row, gap in zip(rows, gaps, strict=True)]
        return torch.tensor(full, dtype=torch.long, device=self.model.device)

    def generate(self, batch: Prepared, decoding: Decoding) -> None:
        """Let `decoding` write the answers."""
        inputs = {
            "input_ids": self.padded(batch.ids, self.pad, left=True),
            "attention_mask": self.padded([[1] * len(row) for row in batch.ids], 0, left=True),
            **{key: self.padded(rows, 0, left=True) for key, rows in batch.along.items()},
        }
        self._run({**inputs, **self.to_device(batch.tensors)}, decoding)

    def _run(self, inputs: dict[str, Any], decoding: Decoding) -> None:
        from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

        class Choose(LogitsProcessor):
            def __call__(self, input_ids: Any, scores: Any) -> Any:
                return decoding.choose(input_ids, scores)

        class Stop(StoppingCriteria):
            def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
                return decoding.stopped(input_ids)

        self.model.generate(
            **inputs,
            max_new_tokens=max(decoding.limits),
            logits_processor=LogitsProcessorList([Choose()]),
            stopping_criteria=StoppingCriteriaList([Stop()]),
        )

    def logits(self, batch: Prepared, answers: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Logits `[n, V]` of every answer token after its prompt.

        Rows are padded on the right: with causal attention nothing before the padding can see it, and positions count
        from 0 as without it, so the values are those of the row alone.
        """
        import torch

        full = [[*ids, *answer] for ids, answer in zip(batch.ids, answers, strict=True)]
        inputs: dict[str, Any] = {
            "input_ids": self.padded(full, self.pad, left=False),
            "attention_mask": self.padded([[1] * len(row) for row in full], 0, left=False),
        }
        for key, rows in batch.along.items():
            longer = [[*row, *[0] * len(answer)] for row, answer in zip(rows, answers, strict=True)]
            inputs[key] = self.padded(longer, 0, left=False)
        first, last = min(map(len, batch.ids)) - 1, max(map(len, full))
        if "logits_to_keep" in inspect.signature(self.model.forward).parameters and self.keeps:
            inputs["logits_to_keep"] = torch.arange(first, last, device=self.model.device)
        logits = self.forward(inputs, batch)
        offset = last - logits.shape[1]  # logits of the last positions; more than `last` where pictures come first
        at = [slice(len(ids) - 1 - offset, len(row) - 1 - offset) for ids, row in zip(batch.ids, full, strict=True)]
        return [logits[row, span] for row, span in enumerate(at)]

    #: `logits_to_keep` counts in tokens of the text
    keeps = True

    def forward(self, inputs: dict[str, Any], batch: Prepared) -> torch.Tensor:
        """Run the model once: logits `[B, L, V]`."""
        found: torch.Tensor = self.model(**inputs, **self.to_device(batch.tensors), use_cache=False).logits
        return found
