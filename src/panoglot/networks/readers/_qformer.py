"""BLIP-2's Q-Former, and SPRC's composer that is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError, require
from panoglot.networks.readers._composer import Composer
from panoglot.networks.towers._block import Attention
from panoglot.networks.towers._pretrained import load_pretrained
from panoglot.networks.towers.heads import unit

if TYPE_CHECKING:
    from panoglot.networks.parts import Features

__all__ = ["QFormer", "QFormerComposer", "load_blip2", "renamed_former"]


class _After(nn.Module):
    """A step of BERT: what it adds, and the norm behind the sum."""

    def __init__(self, inner: nn.Module, width: int, drop: float) -> None:
        super().__init__()
        self.inner, self.drop, self.norm = inner, nn.Dropout(drop), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, *more: Any) -> Tensor:
        found: Tensor = self.norm(x + self.drop(self.inner(x, *more)))
        return found


def _spread(width: int) -> float:
    """BERT's deviation of first weights, .02, at its width of 768; as much larger as a layer is narrower."""
    return float(0.02 * (768 / width) ** 0.5)


def _mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class _Layer(nn.Module):
    """Queries and words attend to each other; queries to the picture; each kind has its own feed-forward."""

    def __init__(self, width: int, heads: int, memory: int, crosses: bool, drop: float) -> None:
        super().__init__()
        self.attention = _After(Attention(width, heads), width, drop)
        self.cross = _After(Attention(width, heads, memory), width, drop) if crosses else None
        self.of_queries, self.of_words = _After(_mlp(width), width, drop), _After(_mlp(width), width, drop)

    def forward(self, x: Tensor, queries: int, see: Tensor | None, memory: Tensor | None) -> Tensor:
        x = self.attention(x, None, see)
        q, words = x[:, :queries], x[:, queries:]
        if self.cross is not None and memory is not None:
            q = self.cross(q, memory)
        return torch.cat([self.of_queries(q), self.of_words(words)], 1)


class QFormer(nn.Module):
    """A BERT whose first tokens are queries that look at a picture, beside the words of a text.

    Args:
        width: of its tokens.
        layers: depth.
        heads: of the attention.
        memory: width of the picture's tokens.
        every: layers that look at the picture: each of so many, the first among them.
        drop: dropout.

    Source: BLIP-2 arXiv 2301.12597, section 3.1.
    """

    def __init__(self, width: int, layers: int, heads: int, memory: int, every: int = 2, drop: float = 0.0) -> None:
        super().__init__()
        self.norm, self.drop = nn.LayerNorm(width, eps=1e-12), nn.Dropout(drop)
        self.layers = nn.ModuleList(_Layer(width, heads, memory, n % every == 0, drop) for n in range(layers))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=_spread(width))
                nn.init.zeros_(module.bias)

    def forward(
        self,
        queries: Tensor | None,
        words: Tensor | None = None,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> Tensor:
        """Return the hidden states [B, Q + L, width] of queries [B, Q, width] and words [B, L, width].

        Args:
            queries: or None.
            words: embedded; or None.
            mask: [B, L] bool, which words exist.
            memory: [B, N, ·] the picture's tokens; None: nothing is looked at.
        """
        given = [z for z in (queries, words) if z is not None]
        x, count = torch.cat(given, 1), 0 if queries is None else queries.shape[1]
        see = None
        if mask is not None:
            see = nn.functional.pad(mask, (count, 0), value=True)[:, None].expand(-1, x.shape[1], -1)
        x = self.drop(self.norm(x))
        for layer in self.layers:
            x = layer(x, count, see, memory)
        found: Tensor = x
        return found

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Take up the weights of a `Blip2QFormerModel` of transformers with text input.

        Raises:
            UserError: they are of another size.
        """
        try:
            self.load_state_dict(renamed_former(state, len(self.layers)))
        except (RuntimeError, KeyError) as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(f"the Q-Former's weights do not fit the row's sizes: {said}") from None


def renamed_former(state: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Return weights of a Q-Former, by transformers' names, by our names: keys and values are one matrix here."""
    out = {f"norm.{end}": state[f"layernorm.{end}"] for end in ("weight", "bias")}
    for n in range(layers):
        old = f"encoder.layer.{n}"
        for ours, theirs in (("attention", "attention"), ("cross", "crossattention")):
            if f"{old}.{theirs}.attention.query.weight" not in state:
                continue
            for end in ("weight", "bias"):
                base = f"{old}.{theirs}.attention"
                out[f"layers.{n}.{ours}.inner.q.{end}"] = state[f"{base}.query.{end}"]
                out[f"layers.{n}.{ours}.inner.kv.{end}"] = torch.cat(
                    [state[f"{base}.{which}.{end}"] for which in ("key", "value")]
                )
                out[f"layers.{n}.{ours}.inner.out.{end}"] = state[f"{old}.{theirs}.output.dense.{end}"]
                out[f"layers.{n}.{ours}.norm.{end}"] = state[f"{old}.{theirs}.output.LayerNorm.{end}"]
        for ours, theirs in (("of_queries", "_query"), ("of_words", "")):
            for end in ("weight", "bias"):
                out[f"layers.{n}.{ours}.inner.0.{end}"] = state[f"{old}.intermediate{theirs}.dense.{end}"]
                out[f"layers.{n}.{ours}.inner.2.{end}"] = state[f"{old}.output{theirs}.dense.{end}"]
                out[f"layers.{n}.{ours}.norm.{end}"] = state[f"{old}.output{theirs}.LayerNorm.{end}"]
    return out


def load_blip2(name: str) -> Any:
    """Return a BLIP-2 for retrieval of transformers, on the hub or in a folder.

    Raises:
        UserError: there is none.
    """
    hf = require("transformers", "panoglot[train]", f"the Q-Former of {name}")
    return load_pretrained(hf.Blip2ForImageTextRetrieval, name)


class QFormerComposer(Composer):
    """A Q-Former turns a picture and an instruction into a prompt, which stands before the instruction as words would.

    A picture of the gallery is as many vectors as there are queries, and counts with the one that is nearest. A query
    without a picture is the text behind a prompt that was learnt for all.

    Args:
        widths: of the model.
        queries: of the Q-Former; as many vectors a picture has.
        width: of its tokens, and of the row's words.
        layers: depth.
        heads: of the attention.
        every: layers that look at the picture: each of so many.
        drop: dropout.
        name: of a BLIP-2 checkpoint for retrieval, on the hub or in a folder, whose weights it begins with.

    Source: SPRC arXiv 2310.05473, section 3.
    """

    needs = ("patches", "tokens")
    speaks = True

    def __init__(
        self,
        widths: Any,
        queries: int = 32,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        every: int = 2,
        drop: float = 0.0,
        name: str = "",
    ) -> None:
        super().__init__()
        if widths.text != width:
            raise UserError(f"composer qformer: words have {widths.text} numbers, width is {width}: they must agree.")
        self.views = queries
        self.former = QFormer(width, layers, heads, widths.image, every, drop)
        self.queries = nn.Parameter(torch.randn(queries, width) * _spread(width))
        self.prompt = nn.Parameter(torch.randn(queries, width) * _spread(width))
        self.of_text, self.of_picture = nn.Linear(width, widths.dim), nn.Linear(width, widths.dim)
        if name:
            self._begin(name)

    def _begin(self, name: str) -> None:
        model = load_blip2(name)
        self.former.take(model.qformer.state_dict())
        with torch.no_grad():
            for ours, theirs in ((self.of_text, model.text_projection), (self.of_picture, model.vision_projection)):
                ours.load_state_dict(theirs.state_dict())
            self.queries.copy_(model.query_tokens[0])

    def fuse(self, patches: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Return the prompt [n, Q, width] of pictures' tokens [n, N, ·] and words [n, L, width]."""
        return self.former(self.queries.expand(len(words), -1, -1), words, mask, patches)[:, : len(self.queries)]  # type: ignore[no-any-return]

    def read(self, prompt: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Return unit vectors [n, dim] of words behind a prompt of pictures, at the first of the words."""
        return unit(self.of_text(self.former(prompt, words, mask)[:, prompt.shape[1]]))

    def say(self, words: Tensor, mask: Tensor) -> Tensor:
        """Return unit vectors [n, dim] of words behind the prompt that was learnt for all, at its first token."""
        return unit(self.of_text(self.former(self.prompt.expand(len(words), -1, -1), words, mask)[:, 0]))

    def look(self, patches: Tensor) -> Tensor:
        """Return unit vectors [n, Q, dim] of pictures' tokens."""
        return unit(self.of_picture(self.former(self.queries.expand(len(patches), -1, -1), memory=patches)))

    def query(self, model: Any, f: Features, pictures: Tensor | None, texts: Tensor | None) -> Tensor:
        """Return unit vectors [n, dim] of queries; one of a picture alone has an empty instruction."""
        if texts is None and pictures is not None:
            f = model.with_texts(f, [""])
            texts = torch.zeros_like(pictures)
        if f.tokens is None or f.token_mask is None or texts is None:
            raise UserError("a query needs a picture, a text, or both.")
        words, mask = f.tokens[texts], f.token_mask[texts]
        if pictures is None or f.patches is None:
            return self.say(words, mask)
        return self.read(self.fuse(f.patches[pictures], words, mask), words, mask)

    def gallery(self, f: Features) -> Tensor:
        """Return unit vectors [n, Q, dim] of pictures."""
        if f.patches is None:
            raise UserError("the Q-Former looks at a picture's tokens, and the image tower makes none.")
        return self.look(f.patches)
