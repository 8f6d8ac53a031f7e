"""Chat VLMs and LLMs: a decoder whose prompt holds the pictures as tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError
from panoglot.providers.hf._families import Family, Prepared

if TYPE_CHECKING:
    import PIL.Image

    from panoglot.providers.roles import Prompt

__all__ = ["DecoderOnly"]


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
        messages: list[dict[str, Any]] = []
        for turn in prompt.turns:
            content: Any = [
                {"type": "text", "text": self.tame(part)} if isinstance(part, str) else {"type": "image"}
                for part in turn.parts
            ]
            if not self.sees:
                content = "".join(part["text"] for part in content)
            messages.append({"role": turn.role, "content": content})
        return messages

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
            return str(token)
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
        """Break the model's control tokens in given text: a caption from the web must not end a turn."""
        return self._special.sub(lambda found: f"{found.group()[0]} {found.group()[1:]}", text)
