"""How the architectures of transformers take a prompt: three families, one interface.

- `DecoderOnly`: chat VLMs (Qwen-VL, SmolVLM, Idefics, LLaVA …) and LLMs: pictures are tokens of the prompt.
- `Captioner`: BLIP and GIT: a text decoder that continues a prefix while it looks at the picture.
- `EncoderDecoder`: T5-like LLMs and vision-encoder-decoder captioners.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError

if TYPE_CHECKING:
    import PIL.Image
    import torch

    from panoglot.models.hf._decode import Decoding
    from panoglot.models.roles import Prompt

__all__ = ["Captioner", "DecoderOnly", "EncoderDecoder", "Family", "Prepared"]


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
                return template
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
        return self.model(**inputs, **self.to_device(batch.tensors), use_cache=False).logits


class DecoderOnly(Family):
    """Chat VLMs and LLMs."""

    def prepare(self, prompts: Sequence[Prompt], pictures: Sequence[Sequence[PIL.Image.Image]]) -> Prepared:
        """Render, tokenise, and let the processor put the picture tokens in."""
        texts = [self.render(prompt) for prompt in prompts]
        bos = self.tokenizer.bos_token
        special = not (bos and texts[0].startswith(bos)) and (self.sees or not prompts[0].chat)
        if not self.sees:
            return Prepared([self.tokenizer(text, add_special_tokens=special)["input_ids"] for text in texts])
        out = self.processor(
            text=texts,
            images=[list(row) for row in pictures] if any(pictures) else None,
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=special,
        )
        ids, mask = out.pop("input_ids"), out.pop("attention_mask")
        along = [key for key, value in out.items() if getattr(value, "shape", None) == ids.shape and "pixel" not in key]
        keep = mask.bool()
        return Prepared(
            [row[kept].tolist() for row, kept in zip(ids, keep, strict=True)],
            {key: [row[kept].tolist() for row, kept in zip(out.pop(key), keep, strict=True)] for key in along},
            dict(out),
        )

    def render(self, prompt: Prompt) -> str:
        """The prompt as one text, with placeholders for the pictures.

        Raises:
            RowError: `no_chat_template`.
        """
        if not prompt.chat:
            return self.placeholder * len(prompt.images) + prompt.text
        if self.template is None:
            if self.sees:  # PaliGemma and its like take a bare task text
                return self.placeholder * len(prompt.images) + self.tame(prompt.text)
            raise RowError(
                "no_chat_template", "a base model: ask with Prompt(chat=False), or take an instruct checkpoint"
            )
        return self._rendered(self.messages(prompt), True)

    def messages(self, prompt: Prompt) -> list[dict[str, Any]]:
        """The turns of a prompt."""
        text: Any = self.tame(prompt.text)
        system: Any = None if prompt.system is None else self.tame(prompt.system)
        if self.sees:
            text = [*({"type": "image"} for _ in prompt.images), {"type": "text", "text": text}]
            system = None if system is None else [{"type": "text", "text": system}]
        turns = [] if system is None else [{"role": "system", "content": system}]
        return [*turns, {"role": "user", "content": text}]

    def _rendered(self, messages: list[dict[str, Any]], ask: bool) -> str:
        from jinja2 import TemplateError

        options = {
            "chat_template": self.template,
            "tokenize": False,
            "add_generation_prompt": ask,
            "enable_thinking": self.thinking,
        }
        try:
            return str(self.tokenizer.apply_chat_template(messages, **options))
        except TemplateError:
            if messages[0]["role"] != "system":
                raise
        system, user, *rest = messages  # a template without a system turn: it opens the user's
        parts = [
            [*t] if isinstance(t, list) else [{"type": "text", "text": t}] for t in (system["content"], user["content"])
        ]
        content: Any = parts[0] + [{"type": "text", "text": "\n\n"}] + parts[1]
        if not self.sees:
            content = "".join(part["text"] for part in content)
        return str(self.tokenizer.apply_chat_template([{"role": "user", "content": content}, *rest], **options))

    def lead(self, prompt: Prompt) -> str:
        """The white space that the template puts before an answer (`Assistant: yes`)."""
        if not prompt.chat or self.template is None:
            return ""
        messages = self.messages(prompt)
        answer: Any = [{"type": "text", "text": "@"}] if self.sees else "@"
        asked = self._rendered(messages, True)
        answered = self._rendered([*messages, {"role": "assistant", "content": answer}], False)
        lead, found, _ = answered[len(asked) :].partition("@")
        return lead if answered.startswith(asked) and found and not lead.strip() else ""

    @cached_property
    def placeholder(self) -> str:
        """What stands for a picture in a text."""
        token = getattr(self.processor, "image_token", None)
        if not self.sees or token is None:
            return ""
        token = getattr(token, "content", token)
        if self.template is None:
            return token
        turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "x"}]}]
        shown = re.search(rf"(<\|vision_start\|>)?{re.escape(token)}(<\|vision_end\|>)?", self._rendered(turn, False))
        return shown.group() if shown else token

    @cached_property
    def _special(self) -> re.Pattern[str]:
        tokens = {str(token) for token in self.tokenizer.all_special_tokens}
        tokens |= {token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        known = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True) if len(token) > 2)
        return re.compile(known or r"(?!)")

    def tame(self, text: str) -> str:
        """Break the model's control tokens in given text: a caption from the web must not end a turn or add one."""
        return self._special.sub(lambda found: f"{found.group()[0]} {found.group()[1:]}", text)


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
        return self.tokenizer.cls_token_id if self.config.model_type == "git" or stated is None else stated

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
            return self.model.text_decoder(**inputs, use_cache=False).logits
        more = {} if self.config.model_type == "blip" else {"use_cache": False}
        return self.model(**inputs, **self.to_device(batch.tensors), **more).logits


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
                    return token
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
        return self.model(**tensors, decoder_input_ids=inputs["input_ids"], use_cache=False).logits

    keeps = False
