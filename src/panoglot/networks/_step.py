"""What a loss may do inside a step beside reading the features: let the model write and paint, and be paid for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from panoglot.errors import UserError, did_you_mean
from panoglot.networks._records import Batch, Term
from panoglot.networks.losses._nothing import nothing

if TYPE_CHECKING:
    from panoglot.networks._model import Model
    from panoglot.networks.parts import Features

__all__ = ["Draft", "Step", "straight_through"]

#: (texts that were written, ids of their records) → how good each is; higher is better.
Reward = Callable[[Sequence[str], Sequence[str]], Sequence[float]]


def straight_through(logits: Tensor) -> Tensor:
    """Return the likeliest choice as ones and zeros [..., V], with the gradient of the softmax.

    >>> x = torch.tensor([[0.0, 1.0]], requires_grad=True)
    >>> y = straight_through(x)
    >>> (gradient,) = torch.autograd.grad(y[0, 1], x)
    >>> y.tolist(), [round(g, 4) for g in gradient[0].tolist()]
    ([[0.0, 1.0]], [-0.1966, 0.1966])
    """
    soft = logits.softmax(-1)
    hard = torch.nn.functional.one_hot(soft.argmax(-1), soft.shape[-1]).to(soft.dtype)
    return hard + (soft - soft.detach())


@dataclass
class Draft:
    """What the model wrote in a step.

    Attributes:
        ids: [B, L], the end token among them; padding behind it.
        mask: [B, L] bool: what was written.
        texts: the same in words.
    """

    ids: Tensor
    mask: Tensor
    texts: list[str]


class Step:
    """The handle that a loss gets.

    Attributes:
        model: the model.
        batch: what the loss sees.
        features: what the towers made of it.
        rewards: name → reward, given by who trains (`Trainer(rewards=…)`).
    """

    def __init__(self, model: Model, batch: Batch, features: Features, rewards: Mapping[str, Reward]) -> None:
        self.model, self.batch, self.features, self.rewards = model, batch, features, rewards

    # ---- with gradient -----------------------------------------------------------------------------------------------

    def codes(self) -> Tensor:
        """Return the codes [B, cells] of the batch's pictures."""
        if self.batch.image is None:
            raise UserError("codes: the batch has no pictures.")
        return self.model.reader("tokeniser").encode(self.batch.image[:, 0])  # type: ignore[no-any-return]

    def paint_logits(self, codes: Tensor, hide: Tensor, text: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """Return logits [B, cells, codes] of the painter; see `MaskedPainter`."""
        return self.model.reader("painter")(codes, hide, text, mask)  # type: ignore[no-any-return]

    def look(self, codes: Tensor, hide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what the language model reads of a picture given as codes (or shares of them), some of them hidden."""
        return self.model.media_of_codes(codes, hide)

    def tell(self, ids: Tensor, mask: Tensor, picture: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return logits [B, L, vocabulary] of a text ids [B, L], each of what was before it (teacher forcing).

        Args:
            ids: without what begins every text.
            mask: [B, L] bool.
            picture: from `look`; None: the batch's own.
        """
        media, real = self.picture() if picture is None else picture
        return self.model.tell(ids, mask, media, real)

    def picture(self) -> tuple[Any, Any]:
        """Return what the language model reads of the batch's own pictures."""
        from panoglot.networks.parts import Features

        return self.model.media(self.batch, Features())

    def mean(self, values: Tensor) -> Term:
        """Return a loss that is the mean of values [N], one an item."""
        return Term(values.mean(), len(values)) if len(values) else nothing(values)

    # ---- without ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Without gradient, without dropout, and everything as it was afterwards."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, training in modes:
                module.training = training

    def write(self, picture: tuple[Tensor, Tensor] | None = None, *, most: int = 32, temperature: float = 0.0) -> Draft:
        """Let the model write a text for each picture, without gradient.

        Args:
            picture: from `look`; None: the batch's own.
            most: tokens.
            temperature: 0: the likeliest token; else drawn.
        """
        with self._apart():
            media, real = self.picture() if picture is None else picture
            tokens, n = self.model.text.tokens, len(self.batch) if media is None else len(media)
            ids = torch.zeros(n, 0, dtype=torch.long, device=next(self.model.parameters()).device)
            done = torch.zeros(n, dtype=torch.bool, device=ids.device)
            mask = torch.zeros(n, 0, dtype=torch.bool, device=ids.device)
            while ids.shape[1] < most and not bool(done.all()):
                open_ = torch.full_like(ids[:, :1], tokens.pad) if ids.shape[1] else ids.new_full((n, 1), tokens.pad)
                whole = torch.cat([ids, open_], 1)
                scores = self.model.tell(whole, torch.ones_like(whole, dtype=torch.bool), media, real)[:, -1].float()
                if temperature:
                    new = torch.multinomial((scores / temperature).softmax(-1), 1)[:, 0]
                else:
                    new = scores.argmax(-1)
                ids = torch.cat([ids, new.masked_fill(done, tokens.pad)[:, None]], 1)
                mask = torch.cat([mask, ~done[:, None]], 1)
                done = done | (new == tokens.end)
            texts = [tokens.decode(row[there]) for row, there in zip(ids, mask, strict=True)]
        return Draft(ids, mask, texts)

    def paint(
        self, text: Tensor | None = None, mask: Tensor | None = None, *, steps: int = 24, temperature: float = 0.0
    ) -> Tensor:
        """Let the model paint codes [B, cells] of texts ids [B, L], without gradient; see `MaskedPainter.generate`."""
        with self._apart():
            painter = self.model.reader("painter")
            return painter.generate(  # type: ignore[no-any-return]
                text, mask, count=len(self.batch), steps=steps, temperature=temperature
            )

    def reward(self, name: str, texts: Sequence[str]) -> Tensor:
        """Return how good texts for the batch's records are, [B], by a reward that whoever trains has given.

        Raises:
            UserError: no such reward, or another number of values.
        """
        if name not in self.rewards:
            raise UserError(
                f"no reward is called '{name}': Trainer(…, rewards={{'{name}': …}}).{did_you_mean(name, self.rewards)}"
            )
        found = list(self.rewards[name](list(texts), list(self.batch.ids)))
        if len(found) != len(texts):
            raise UserError(f"the reward '{name}' gave {len(found)} values for {len(texts)} texts.")
        return torch.tensor(found, device=next(self.model.parameters()).device, dtype=torch.float32)
