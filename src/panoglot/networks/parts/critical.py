"""Self-critical learning: what was drawn is made likelier when it is worth more than what the model would write."""

from __future__ import annotations

from typing import Any

import torch

from panoglot.errors import UserError
from panoglot.networks._records import Batch, Term
from panoglot.networks.parts._base import Features, Part, Widths

__all__ = ["CriticalPart"]


class CriticalPart(Part):
    """-(reward of a drawn text - reward of the likeliest one) · mean log-probability of the drawn one's tokens.

    Args:
        widths: of the model.
        reward: name of a reward that whoever trains gives: `Trainer(rewards={"cider": …})`.
        most: tokens of a text.
        temperature: of the drawing.

    Source: self-critical sequence training arXiv 1612.00563.
    """

    needs, reads, gives = ("writer",), ("target",), ("write",)

    def __init__(self, widths: Widths, reward: str, most: int = 32, temperature: float = 1.0) -> None:
        super().__init__()
        if most < 1 or temperature <= 0:
            raise UserError(f"critical: most={most} must be at least 1, temperature={temperature} above 0.")
        self.reward_name, self.most, self.temperature = reward, most, temperature

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the loss of the batch's pictures."""
        drawn = step.write(most=self.most, temperature=self.temperature)
        usual = step.write(most=self.most)
        gain = step.reward(self.reward_name, drawn.texts) - step.reward(self.reward_name, usual.texts)
        logits = step.tell(drawn.ids, drawn.mask)
        said = logits.float().log_softmax(-1).gather(2, drawn.ids[..., None])[..., 0]
        length = drawn.mask.sum(1).clamp(min=1)
        each = torch.where(drawn.mask, said, 0.0).sum(1) / length
        return Term(-(gain * each).mean(), len(batch))
