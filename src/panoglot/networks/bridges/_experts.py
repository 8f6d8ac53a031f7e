"""Parrot's experts: the language of the prompt decides how the tokens of a picture are projected."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks.bridges._base import Asked, Bridge

__all__ = ["Experts"]


class _Expert(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.down(nn.functional.silu(self.gate(x)) * self.up(x))
        return found


class Experts(Bridge):
    """Σ w · Expert(x) + skip · x, where the prompt, as the picture's first token attends to it, says w.

    Without a prompt all experts count alike.

    Args:
        widths: of the model.
        experts: how many; one a language.
        hidden: of an expert.
        skip: share of the tokens as they were (as released; the paper scales the experts instead).

    Source: Parrot arXiv 2406.02539 and its `moe.py`.
    """

    def __init__(self, widths: Any, experts: int = 6, hidden: int = 4096, skip: float = 0.1) -> None:
        super().__init__()
        if experts < 1:
            raise UserError(f"bridge experts: experts={experts} must be at least 1.")
        self.router = nn.Linear(widths.media, experts, bias=False)
        self.experts = nn.ModuleList(_Expert(widths.media, hidden) for _ in range(experts))
        self.skip = skip

    def shares(self, first: Tensor, prompt: Tensor, mask: Tensor) -> Tensor:
        """Return the experts' shares [B, E] for pictures' first tokens [B, width] and prompts [B, L, width]."""
        scores = torch.einsum("bd,bld->bl", first, prompt) / first.shape[-1] ** 0.5
        look = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        read = torch.einsum("bl,bld->bd", look.nan_to_num(0.0), prompt)
        found: Tensor = self.router(read).softmax(-1)
        return found

    def forward(self, media: Tensor, real: Tensor, asked: Asked) -> tuple[Tensor, Tensor]:
        """Project every token; the pictures of a sample are routed one by one."""
        prompt = asked.prompt.to(media.dtype)
        each = [self.shares(media[:, t, 0], prompt, asked.prompt_mask) for t in range(media.shape[1])]
        w = torch.stack(each, 1)  # [B, T, E]
        out = self.skip * media
        for e, expert in enumerate(self.experts):
            out = out + w[..., e, None, None] * expert(media)
        return out, real
