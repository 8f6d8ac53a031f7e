"""Encoder-decoder language models that read pictures as tokens after the text (VL-Adapter, Florenz)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError, require
from panoglot.networks._kinds import says
from panoglot.networks.adapters import attach
from panoglot.networks.towers._block import Block, causal_mask, initialise
from panoglot.networks.towers._greedy import greedy
from panoglot.networks.towers._language_model import LanguageModel
from panoglot.networks.towers._pieces import Pieces, pieces_of
from panoglot.networks.towers.causal import Written, load_language_model

__all__ = ["OwnSeq2Seq", "Seq2SeqLm", "own_seq2seq", "seq2seq_lm"]


class OwnSeq2Seq(nn.Module):
    """A small encoder-decoder of our own blocks."""

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int, length: int, drop: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.place, self.place_out = (nn.Parameter(torch.randn(length, width) * 0.01) for _ in range(2))
        self.encoder = nn.ModuleList(Block(width, heads, drop=drop) for _ in range(layers))
        self.decoder = nn.ModuleList(Block(width, heads, memory_width=width, drop=drop) for _ in range(layers))
        initialise(self.encoder, width)
        initialise(self.decoder, width)
        self.between, self.after = nn.LayerNorm(width), nn.LayerNorm(width)

    def encode(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return memory [B, N, width] of embeddings x [B, N, width], whose places are in x already."""
        see = mask[:, None].expand(-1, x.shape[1], -1)
        for block in self.encoder:
            x = block(x, see)
        found: Tensor = self.between(x)
        return found

    def decode(self, ids: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Return logits [B, L, vocabulary] of decoder inputs ids [B, L]."""
        x = self.embed(ids) + self.place_out[: ids.shape[1]]
        see = causal_mask(ids.shape[1], device=ids.device).expand(len(ids), -1, -1)
        read = mask[:, None].expand(-1, ids.shape[1], -1)
        for block in self.decoder:
            x = block(x, see, memory, read)
        found: Tensor = self.after(x) @ self.embed.weight.T
        return found


class Seq2SeqLm(LanguageModel):
    """An encoder-decoder: the prompt and the picture's tokens go into the encoder, the decoder writes.

    Args:
        lm: a transformers model, or an `OwnSeq2Seq`.
        tokens: its tokeniser.
        media_width: of the picture's tokens.
        adapters: options of `attach`: `{method: adapter, where: […], reduction: 8}`.

    Source: VL-Adapter arXiv 2112.06825 (its picture tokens have no place in the text's order; those of a transformers
    model get one here, as everything that enters its encoder does).
    """

    shift = False
    cross = False
    #: what is written begins with what begins every text; pictures stand before what is asked
    opens, ahead = True, False

    def __init__(
        self, lm: nn.Module, tokens: Pieces, media_width: int = 0, adapters: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.lm, self.tokens, self.own = lm, tokens, isinstance(lm, OwnSeq2Seq)
        self.width = int(self.embedding().weight.shape[1])
        if media_width and media_width != self.width:
            raise UserError(
                f"The picture's tokens have {media_width} numbers, the language model {self.width}: use "
                "head: {kind: projector}, or visual_embedding for stored regions."
            )
        #: what stands before the first token that is written
        self.first = tokens.before[0] if self.own else int(self._first())
        more = {"width": self.width} if (adapters or {}).get("method") == "prompt" else {}
        self.adapters = None if adapters is None else attach(self.lm, **{**more, **dict(adapters)})

    def _first(self) -> int:
        for config in (self.lm.config, getattr(self.lm, "generation_config", None)):
            for key in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
                value = getattr(config, key, None)
                if isinstance(value, int):
                    return value
        return self.tokens.pad

    def compose(
        self,
        prefix: str,
        start: str,
        target: str,
        picture: bool,
        chunks: Sequence[tuple[int | None, Sequence[str]]] = (),
        document: Sequence[tuple[str | int, bool]] = (),
    ) -> tuple[list[int], list[int], list[int]]:
        """Return what the encoder is given, what the decoder writes, and its labels; see `CausalLm.compose`."""
        if chunks:
            raise UserError("Interleaved documents need a decoder language model: text: {kind: causal, gated: …}.")
        if document:
            texts = [(piece, learn) for piece, learn in document if isinstance(piece, str)]
            if not texts[-1][1] or any(learn for _, learn in texts[:-1]):
                raise UserError(
                    "An encoder-decoder learns the last turn of a document only; take text: {kind: causal} or decoder."
                )
            prefix, start, target = " ".join(text for text, _ in texts[:-1]), "", texts[-1][0]
        given = self.asked(prefix)
        pieces: list[tuple[str | int, bool]] = [(start, False)] * bool(start)
        pieces += [(target, True), (self.tokens.end, True)] if target else []
        written, labels = self.tokens.write(pieces, [] if self.own or not self.opens else self.tokens.before)
        return given, written, labels

    def asked(self, prompt: str) -> list[int]:
        """Return the ids of what the encoder reads."""
        return self.tokens.write([(prompt, False), (self.tokens.end, False)])[0]

    def _enter(self, ids: Tensor, mask: Tensor, media: Tensor | None, real: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self.embedding()(ids)
        if self.own:
            x = x + self.lm.place[: x.shape[1]]
        if media is not None:
            v = media.flatten(1, 2).to(x.dtype)
            there = torch.ones_like(v[..., 0], dtype=torch.bool) if real is None else real.flatten(1)
            order = slice(None, None, -1) if self.ahead else slice(None)
            x, mask = torch.cat([x, v][order], 1), torch.cat([mask, there][order], 1)
            # the padding goes to the end: a row's places do not depend on how long its neighbours are
            last = (~mask).long().argsort(dim=1, stable=True)
            x, mask = x.gather(1, last[..., None].expand_as(x)), mask.gather(1, last)
        prompt = self.adapters.modules.get("") if self.adapters is not None else None
        return prompt(x, mask) if prompt is not None else (x, mask)

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        media: Tensor | None = None,
        real: Tensor | None = None,
        written: Tensor | None = None,
        mixed: Tensor | None = None,
    ) -> Written:
        """Read and write a batch.

        Args:
            ids: [B, L] the prompt.
            mask: [B, L] bool.
            media: [B, T, N, width] tokens of T pictures.
            real: [B, T, N] bool, which of them exist.
            written: [B, Lt] what the decoder writes; logits t have seen written[: t].
            mixed: not used: an encoder sees both ways anyway.
        """
        if written is None:
            raise UserError("An encoder-decoder needs what it shall write.")
        x, full = self._enter(ids, mask, media, real)
        given = torch.cat([torch.full_like(written[:, :1], self.first), written[:, :-1]], 1)
        if self.own:
            return Written(self.lm.decode(given, self.lm.encode(x, full), full))
        out = self.lm(inputs_embeds=x, attention_mask=full.long(), decoder_input_ids=given, use_cache=False)
        return Written(out.logits)

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
        """Write after `start`; returns new ids."""
        x, full = self._enter(ids, mask, media, real)
        new = torch.tensor([[self.first, *start]] * len(ids), dtype=torch.long, device=ids.device)
        begin = new.shape[1]
        if not self.own:
            out = self.lm.generate(
                inputs_embeds=x, attention_mask=full.long(), decoder_input_ids=new, max_new_tokens=most,
                num_beams=beams, do_sample=False, eos_token_id=self.tokens.end, pad_token_id=self.tokens.pad,
                forced_bos_token_id=None,
            )  # fmt: skip
            return [row[begin:].tolist() for row in out]
        if beams != 1:
            raise UserError("A language model of our own writes greedily; beams=1.")
        memory = self.lm.encode(x, full)
        most = min(most, self.lm.place_out.shape[0] - begin)
        end, pad = self.tokens.end, self.tokens.pad
        return greedy(lambda new: self.lm.decode(new, memory, full)[:, -1], new, end, pad, most)[:, begin:].tolist()


@says(writes=True)
def seq2seq_lm(
    name: str = "",
    media_width: int = 0,
    length: int = 64,
    adapters: Mapping[str, Any] | None = None,
    pretrained: bool = True,
    dtype: str | None = None,
) -> Seq2SeqLm:
    """Return a transformers encoder-decoder (any `AutoModelForSeq2SeqLM`) that reads pictures.

    Args:
        name: on the hub, or a local folder.
        media_width: of the picture's tokens.
        length: most tokens of a prompt, and of what is written.
        adapters: see `Seq2SeqLm`.
        pretrained: False takes the architecture only.
        dtype: `bfloat16`, …; None is what the model was saved in.
    """
    hf = require("transformers", "panoglot[train]", f"the language model {name}")
    lm = load_language_model(hf, hf.AutoModelForSeq2SeqLM, name, pretrained, dtype)
    return Seq2SeqLm(lm, pieces_of(name, length), media_width, adapters)


@says(writes=True)
def own_seq2seq(
    media_width: int = 0,
    width: int = 512,
    layers: int = 6,
    heads: int = 8,
    length: int = 64,
    drop: float = 0.0,
    tokenizer: str = "",
    adapters: Mapping[str, Any] | None = None,
) -> Seq2SeqLm:
    """Return a small encoder-decoder of our own that reads pictures.

    Args:
        media_width: of the picture's tokens.
        width: of its own.
        layers: depth of the encoder, and of the decoder.
        heads: of the attention.
        length: most tokens of a prompt, and of what is written.
        drop: dropout.
        tokenizer: of the hub, or a folder; '' is UTF-8 bytes.
        adapters: see `Seq2SeqLm`.
    """
    tokens = pieces_of(tokenizer, length)
    return Seq2SeqLm(OwnSeq2Seq(tokens.size, width, layers, heads, length + 1, drop), tokens, media_width, adapters)
