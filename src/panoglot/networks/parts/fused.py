"""A picture and a text as one sequence: do they belong together, which tokens are hidden (M2-Encoder's switchboard)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoglot.errors import UserError
from panoglot.networks._records import Batch, Term
from panoglot.networks.losses import lm
from panoglot.networks.losses._nothing import nothing
from panoglot.networks.parts._base import Features, Part, Widths, first_texts
from panoglot.networks.parts.painted import hidden_cells
from panoglot.networks.samplers import Draw
from panoglot.networks.towers import fuse

__all__ = ["ItmPart", "MaskedPicturePart", "MaskedTextPart", "wrong"]


def _whole(model: Any, pixels: Tensor, ids: Tensor, mask: Tensor, hide: Any = None, hidden: Any = None) -> Tensor:
    """Return the tokens [B, 1 + N + L, width] of pictures and texts that met, after the shared layers too."""
    tokens, real = fuse(model.image, model.text, pixels, ids, mask, hide, hidden)
    return model.through(tokens, real) if model.row.shared else tokens


def _refuse(model: Any, name: str) -> None:
    if not (hasattr(model.image, "enters") and hasattr(model.text, "enters")):
        raise UserError(f"{name}: a picture and a text meet in towers of one kind: image and text: {{kind: multiway}}.")


class ItmPart(Part):
    """Whether a picture and a text belong together: each pair, each picture with a wrong text, each text with another.

    Wrong ones are drawn by how much they look right: by the softmax of the first contrast, among records that are no
    copies of each other; of several processes each draws of its own pairs. The picture's first token of the common
    sequence goes through a layer with a tanh and one that says no or yes.

    Args:
        widths: of the model.

    Source: M2-Encoder's release names the loss and has the layer; how wrong ones are drawn is VLMo's (arXiv 2111.02358,
    section 3.2), ALBEF's (2107.07651).
    """

    needs, reads = ("picture", "text", "fused"), ("picture", "text")

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.pool, self.judge = nn.Linear(widths.image, widths.image), nn.Linear(widths.image, 2)
        for layer in (self.pool, self.judge):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def start(self, model: Any) -> None:
        """Refuse towers in which the two cannot meet."""
        _refuse(model, "itm")

    def verdicts(self, model: Any, pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Return [B, 2] logits, no and yes, of text n beside picture n."""
        first = _whole(model, pixels, ids, mask)[:, 0]
        verdict: Tensor = self.judge(torch.tanh(self.pool(first)))
        return verdict

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return the mean cross-entropy of the pairs and the wrong pairs."""
        if f.x is None or f.y is None or f.ids is None or f.token_mask is None or batch.image is None:
            raise UserError("itm: needs pictures and texts.")
        first, pixels = first_texts(batch), batch.image[:, 0]
        with torch.no_grad():
            scale = next((part.scale()[0] for part in step.model.active.values() if hasattr(part, "kernel")), 1 / 0.07)
            scores = scale * f.x @ f.y[first].T
        texts, pictures = (wrong(s, batch, way) for s, way in ((scores, "texts"), (scores.T, "pictures")))
        own = torch.arange(len(batch), device=pixels.device)
        left, right = own[texts >= 0], own[pictures >= 0]
        at = torch.cat([own, left, pictures[right]]), torch.cat([own, texts[left], right])
        ids, mask = f.ids[:, : f.token_mask.shape[1]][first], f.token_mask[first]
        verdict = self.verdicts(step.model, pixels[at[0]], ids[at[1]], mask[at[1]])
        yes = (torch.arange(len(verdict), device=verdict.device) < len(own)).long()
        return Term(F.cross_entropy(verdict.float(), yes), len(verdict))


def wrong(scores: Tensor, batch: Batch, way: str) -> Tensor:
    """Return [B] for each row a column that is another record's, drawn by the softmax of the scores; -1: there is none.

    What is drawn is a function of the run's seed, the epoch and the record's id.
    """
    other = torch.ones_like(scores, dtype=torch.bool).fill_diagonal_(False)
    if batch.pair_id is not None:
        other &= batch.pair_id[:, None] != batch.pair_id
    share = scores.masked_fill(~other, float("-inf")).double().softmax(1).nan_to_num(0.0).cumsum(1).cpu()
    found = []
    for row, id_ in zip(share, batch.ids, strict=True):
        rest = Draw(batch.seed, id_, "match", way).number() * float(row[-1])
        found.append(int((row > rest).long().argmax()) if float(row[-1]) > 0 else -1)
    return torch.tensor(found, device=scores.device)


class MaskedTextPart(Part):
    """The hidden tokens of texts, from the others, and from the picture where it is shown too.

    Args:
        widths: of the model.
        ratio: share of a text's tokens that is hidden; the first and the last are not.
        picture: the picture stands before the text; M2-Encoder hides half of the text then.

    Source: M2-Encoder's release: `textmlm` (15 %) and `mvlm` (50 %); BEiT-3 arXiv 2208.10442.
    """

    needs, reads = ("text", "fused"), ("text",)

    def __init__(self, widths: Widths, ratio: float = 0.15, picture: bool = False) -> None:
        super().__init__()
        if not 0 < ratio < 1:
            raise UserError(f"masked_text: ratio={ratio} must be between 0 and 1.")
        self.ratio, self.picture = ratio, picture
        self.hidden = nn.Parameter(torch.randn(widths.text) * widths.text**-0.5)
        self.turn, self.after = nn.Linear(widths.text, widths.text), nn.LayerNorm(widths.text)

    def start(self, model: Any) -> None:
        """Refuse towers that cannot hide tokens."""
        _refuse(model, "masked_text")

    def chosen(self, batch: Batch, mask: Tensor) -> Tensor:
        """Return [B, L] which tokens of the records' first texts are hidden: one at least."""
        out = torch.zeros(mask.shape, dtype=torch.bool)
        for row, (id_, real) in enumerate(zip(batch.ids, mask.sum(1).tolist(), strict=True)):
            if real > 2:
                count = max(1, round(self.ratio * (real - 2)))
                draw = Draw(batch.seed, id_, "masked_text", self.picture)
                out[row, draw.sample(range(1, real - 1), count)] = True
        return out.to(mask.device)

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return nats a hidden token."""
        if batch.tokens is None or batch.token_mask is None:
            raise UserError("masked_text: needs texts.")
        ids, mask = batch.tokens[:, 0], batch.token_mask[:, 0]
        hide, model = self.chosen(batch, mask), step.model
        if self.picture:
            if batch.image is None:
                raise UserError("masked_text: picture: true needs pictures.")
            tokens = _whole(model, batch.image[:, 0], ids, mask, hide, self.hidden)[:, -ids.shape[1] :]
        else:
            tokens = model.text(ids, mask, hide=hide, hidden=self.hidden)[1]
            tokens = model.through(tokens, mask) if model.row.shared else tokens
        if not bool(hide.any()):
            return nothing(tokens)
        logits = self.after(F.gelu(self.turn(tokens[hide]))) @ model.text.embed.weight.T
        return lm(logits, ids[hide])


class MaskedPicturePart(Part):
    """The codes of hidden patches, from the other patches.

    Args:
        widths: of the model; the tokeniser has a cell for every patch.
        hidden: patches of a picture that are hidden; M2-Encoder: 80 of 196.

    Source: M2-Encoder's release: `imagemlm`; BEiT v2 arXiv 2208.06366.
    """

    needs, reads = ("patches", "tokeniser"), ("picture",)

    def __init__(self, widths: Widths, hidden: int = 80) -> None:
        super().__init__()
        patches = (widths.size // max(1, widths.patch)) ** 2
        if widths.cells != patches:
            raise UserError(
                f"masked_picture: a picture has {patches} patches, and the tokeniser {widths.cells} cells: "
                f"readers: {{tokeniser: {{kind: …, grid: {widths.size // max(1, widths.patch)}}}}}"
            )
        if not 0 < hidden < patches:
            raise UserError(f"masked_picture: hidden={hidden} must be between 0 and the picture's {patches} patches.")
        self.share, self.guess = hidden / patches, nn.Linear(widths.image, widths.codes)
        nn.init.normal_(self.guess.weight, std=0.02)
        nn.init.zeros_(self.guess.bias)

    def forward(self, f: Features, batch: Batch, step: Any) -> Term:
        """Return nats a hidden patch."""
        if batch.image is None:
            raise UserError("masked_picture: needs pictures.")
        codes, model = step.codes(), step.model
        hide = hidden_cells(batch, codes.shape[1], (self.share, self.share), "masked_picture").to(codes.device)
        pooled, patches = model.image(batch.image[:, 0], hide=hide)
        if model.row.shared:
            patches = model.through(torch.cat([pooled[:, None], patches], 1))[:, 1:]
        return lm(self.guess(patches), codes.masked_fill(~hide, -100))
