"""Florence-2 taken apart: its picture tower, and its encoder with its own decoder or with a larger language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError, require
from panoglot.networks._kinds import says
from panoglot.networks._views import MEAN, STD
from panoglot.networks.towers._block import Attention
from panoglot.networks.towers._greedy import greedy
from panoglot.networks.towers._pieces import Pieces, pieces_of
from panoglot.networks.towers.causal import Held, Written, load_language_model
from panoglot.networks.towers.seq2seq import Seq2SeqLm

__all__ = ["FlorenceImage", "FlorenceLm", "FlorenzLm", "florence_lm"]

#: ImageNet's mean and deviation, which Florence-2's pictures are normalised by.
_SEEN = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _florence(name: str, pretrained: bool) -> Any:
    """Return Florence-2 by its name: with its weights, or anew from its architecture."""
    hf = require("transformers", "panoglot[train]", f"the tower florence:{name}")
    found = load_language_model(hf, hf.AutoModelForImageTextToText, name, pretrained, None)
    if not hasattr(getattr(found, "model", None), "vision_tower") or not hasattr(found.model, "language_model"):
        raise UserError(f"the tower florence:{name} is no Florence-2: it has no picture tower beside a language model.")
    return found


class FlorenceImage(nn.Module):
    """Florence-2's picture tower, DaViT, with its positions and projector: the mean of the places, then the places.

    Its tokens are as wide as its language model: `head: {kind: none}`.

    Args:
        name: of Florence-2 on the hub, or a local folder.
        pretrained: False takes the architecture only.

    Source: Florence-2 arXiv 2311.06242; DaViT 2204.03645.
    """

    gives = ("picture", "patches")

    shift: Tensor
    stretch: Tensor

    def __init__(self, name: str = "", pretrained: bool = True) -> None:
        super().__init__()
        whole = _florence(name, pretrained).model
        self.model, self.project = whole.vision_tower, whole.multi_modal_projector
        self.width = int(whole.config.vision_config.projection_dim)
        mean, deviation = (torch.tensor(one).view(3, 1, 1) for one in (MEAN, STD))
        own_mean, own = (torch.tensor(one).view(3, 1, 1) for one in _SEEN)
        self.register_buffer("shift", (mean - own_mean) / own, persistent=False)
        self.register_buffer("stretch", deviation / own, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode [B, 3, H, W]; returns [B, width] and [B, N, width]."""
        seen = self.model(image * self.stretch + self.shift).last_hidden_state
        tokens = self.project(seen)
        return tokens[:, 0], tokens[:, 1:]


class FlorenceLm(Seq2SeqLm):
    """Florence-2's own language model: an encoder that reads the picture's tokens, then the text; and its decoder."""

    ahead = True


class _Cross(nn.Module):
    """x + tanh(gate)·attention(norm(x), what was read), before a layer of a decoder; the gate begins at 0."""

    def __init__(self, sight: Held, width: int, read: int, heads: int) -> None:
        super().__init__()
        self.norm, self.look = nn.LayerNorm(width), Attention(width, heads, read)
        self.gate, self._sight = nn.Parameter(torch.zeros(())), sight

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Change what goes into the layer (a forward pre-hook)."""
        x = args[0] if args else kwargs["hidden_states"]
        real = self._sight.which[:, None].expand(-1, x.shape[1], -1)
        x = x + self.gate.tanh() * self.look(self.norm(x), self._sight.media, real)
        return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})


class FlorenzLm(FlorenceLm):
    """Florence-2's encoder reads; a decoder-only language model writes, which looks at what was read in every layer.

    Before each layer of the decoder stands a cross-attention with a gate that begins closed, so that at first the
    decoder writes as it did alone.

    Args:
        reader: Florence-2's language model; its decoder is not used.
        lm: the decoder, of transformers.
        reads: the reader's tokeniser.
        tokens: the decoder's tokeniser, in which answers are written.
        media_width: of the picture's tokens.

    Source: Florenz arXiv 2503.09443; the form of the cross-attention is Flamingo's (arXiv 2204.14198), not confirmed.
    """

    opens = False

    def __init__(self, reader: Any, lm: Any, reads: Pieces, tokens: Pieces, media_width: int = 0) -> None:
        super().__init__(reader, reads, media_width)
        self.encoder, self.reads, self.tokens, self.lm = reader.get_encoder(), reads, tokens, lm
        width, read = int(lm.get_input_embeddings().weight.shape[1]), self.width
        self.words = reader.get_input_embeddings()
        self.first = (tokens.before or [tokens.pad])[0]
        layers = lm.get_decoder().layers
        heads = int(getattr(lm.config, "num_attention_heads", 8))
        self._sight = Held()
        self.looks = nn.ModuleList(_Cross(self._sight, width, read, heads) for _ in layers)
        for layer, look in zip(layers, self.looks, strict=True):
            layer.register_forward_pre_hook(look.before, with_kwargs=True)

    def embedding(self) -> Any:
        """Return the module that embeds what is read."""
        return self.words if hasattr(self, "words") else super().embedding()

    def grow(self, tokens: Sequence[str]) -> None:
        """Add tokens to the decoder's vocabulary; their embeddings begin like those that are there."""
        self.tokens.grow(tokens)
        self.lm.resize_token_embeddings(max(self.tokens.size, self.lm.get_input_embeddings().num_embeddings))

    def asked(self, prompt: str) -> list[int]:
        """Return the ids of what the encoder reads, in its own tokeniser."""
        return self.reads.write([(prompt, False), (self.reads.end, False)])[0]

    def _read(self, ids: Tensor, mask: Tensor, media: Tensor | None, real: Tensor | None) -> None:
        """Let the decoder see what the encoder makes of a prompt and a picture."""
        x, full = self._enter(ids, mask, media, real)
        self._sight.media = self.encoder(inputs_embeds=x, attention_mask=full.long()).last_hidden_state
        self._sight.which = full

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        media: Tensor | None = None,
        real: Tensor | None = None,
        written: Tensor | None = None,
        mixed: Tensor | None = None,
    ) -> Written:
        """Read and write a batch, as `Seq2SeqLm.forward`."""
        if written is None:
            raise UserError("An encoder-decoder needs what it shall write.")
        given = torch.cat([torch.full_like(written[:, :1], self.first), written[:, :-1]], 1)
        self._read(ids, mask, media, real)
        return Written(self.lm(input_ids=given, use_cache=False).logits)

    @torch.no_grad()
    def generate(
        self,
        ids: Tensor,
        mask: Tensor,
        media: Tensor | None,
        real: Tensor | None,
        start: Sequence[int],
        most: int,
        beams: int,
    ) -> list[list[int]]:
        """Write after `start`, greedily; returns new ids."""
        if beams != 1:
            raise UserError("Florence-2 with another decoder writes greedily; beams=1.")
        new = torch.tensor([[self.first, *start]] * len(ids), dtype=torch.long, device=ids.device)
        self._read(ids, mask, media, real)
        end, pad = self.tokens.end, self.tokens.pad
        found = greedy(lambda whole: self.lm(input_ids=whole, use_cache=False).logits[:, -1], new, end, pad, most)
        return found[:, new.shape[1] :].tolist()


def _told_apart(lm: Any, old: Pieces, new: Pieces) -> Pieces:
    """Give a language model the pieces of another tokeniser, and what it knows of those that both have."""
    table = lm.get_input_embeddings().weight.detach()
    known, wanted = (_pieces(one.tokenizer) for one in (old, new))
    weight = table.mean(0).expand(new.size, -1).clone()
    at = [(wanted[piece], known[piece]) for piece in wanted if known.get(piece, len(table)) < len(table)]
    if at and not table.is_meta:
        mine, its = (torch.tensor(column) for column in zip(*at, strict=True))
        weight[mine] = table[its]
    lm.resize_token_embeddings(new.size, mean_resizing=False)
    with torch.no_grad():
        lm.get_input_embeddings().weight.copy_(weight)
    for config in (lm.config, lm.generation_config):
        config.bos_token_id, config.eos_token_id, config.pad_token_id = (new.before or [new.end])[0], new.end, new.pad
        config.decoder_start_token_id = new.end
    return new


def _pieces(tokenizer: Any) -> dict[str, int]:
    """Return piece → id, a space before a word written in one way."""
    return {piece.replace("Ġ", "▁"): int(n) for piece, n in tokenizer.get_vocab().items()}


@says(writes=True)
def florence_lm(
    name: str = "",
    media_width: int = 0,
    length: int = 64,
    decoder: str = "",
    tokenizer: str = "",
    pretrained: bool = True,
    dtype: str | None = None,
) -> Seq2SeqLm:
    """Return Florence-2's language model, or its encoder with another decoder, that reads pictures.

    Args:
        name: of Florence-2 on the hub, or a local folder.
        media_width: of the picture's tokens.
        length: most tokens of a prompt, and of what is written.
        decoder: a decoder-only language model (Gemma-2) on the hub, or a local folder; '': Florence-2's own.
        tokenizer: whose pieces Florence-2's own decoder reads and writes, of many languages (Gemma-2's): a piece that
            both know begins as it was, others as the mean of all; '': Florence-2's, which are English.
        pretrained: False takes the architectures only.
        dtype: of the decoder: `bfloat16`, …; None is what the model was saved in.
    """
    hf = require("transformers", "panoglot[train]", f"the language model {name}")
    whole, reads = _florence(name, pretrained), pieces_of(name, length)
    if not decoder:
        lm = hf.AutoModelForSeq2SeqLM.from_config(whole.config.text_config)
        lm.model = whole.model.language_model
        lm.lm_head = whole.lm_head
        lm.tie_weights()
        if tokenizer:
            reads = _told_apart(lm, reads, pieces_of(tokenizer, length))
        return FlorenceLm(lm, reads, media_width)
    lm = load_language_model(hf, hf.AutoModelForCausalLM, decoder, pretrained, dtype)
    return FlorenzLm(whole.model.language_model, lm, reads, pieces_of(decoder, length), media_width)
