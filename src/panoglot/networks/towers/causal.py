"""Decoder language models that read pictures: as tokens before the text, through gates, or by cross-attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from panoglot.errors import UserError, require
from panoglot.networks._kinds import says
from panoglot.networks.adapters import GatedCrossAttention, attach, media_of_tokens
from panoglot.networks.towers._block import Attention, Block, causal_mask, initialise
from panoglot.networks.towers._greedy import greedy
from panoglot.networks.towers._language_model import LanguageModel
from panoglot.networks.towers._pieces import PICTURE, Pieces, pieces_of
from panoglot.networks.towers._pretrained import load_pretrained
from panoglot.networks.towers._spread import spread

__all__ = ["CausalLm", "Held", "OwnDecoder", "Written", "causal_lm", "load_language_model", "own_decoder"]


@dataclass
class Written:
    """What a language model made of a batch.

    Attributes:
        logits: [B, L, vocabulary]; the last L of the labels belong to them.
        seen: [B, N, width] its last hidden states at the picture's tokens, where these are part of the text.
        pooled: [B, width] the text's own vector, from the layers that see no picture.
    """

    logits: Tensor
    seen: Tensor | None = None
    pooled: Tensor | None = None


class AttentionPool(nn.Module):
    """One learned query reads the tokens; feed-forward; norm (COSMO's text vector)."""

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.read = Attention(width, heads)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.after = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return [B, width] of tokens [B, L, width]; padding (mask [B, L] False) is not read."""
        y = self.read(self.query.expand(len(x), -1, -1), x, mask[:, None])
        found: Tensor = self.after(y + self.feed(y))[:, 0]
        return found


class OwnDecoder(nn.Module):
    """A small decoder of our own blocks, with the interface that `CausalLm` needs of a transformers model."""

    def __init__(
        self, vocabulary: int, width: int, layers: int, heads: int, length: int, memory_width: int | None = None
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.place = nn.Parameter(torch.randn(length, width) * 0.01)
        self.layers = nn.ModuleList(Block(width, heads, memory_width=memory_width) for _ in range(layers))
        initialise(self.layers, width)
        self.after = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, see: Tensor, place: Tensor, memory: Tensor | None = None, real: Tensor | None = None
    ) -> Tensor:
        """Return hidden states [B, L, width] of embeddings x; `see` [B, L, L], `place` [B, L], memory [B, N, ·]."""
        x = x + self.place[place]
        see_memory = None if real is None else real[:, None].expand(-1, x.shape[1], -1)
        for block in self.layers:
            x = block(x, see, memory, see_memory)
        found: Tensor = self.after(x)
        return found


class Held:
    """Tensors of the present batch, which copies of a model do not take along."""

    def __init__(self) -> None:
        self.media: Any = None
        self.which: Any = None
        self.output: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Held:
        memo[id(self)] = copied = Held()
        return copied

    def __reduce__(self) -> Any:
        return Held, ()

    def keep(self, module: nn.Module, args: Any, output: Any) -> None:
        """Keep what a module gave last (a forward hook)."""
        value = getattr(output, "last_hidden_state", output)
        self.output = value[0] if isinstance(value, tuple) else value


class _Gate(nn.Module):
    """Gated cross-attention before one layer of a language model. A bound method is its hook, so copies stay whole."""

    def __init__(self, sight: Held, width: int, media_width: int, heads: int, compress: int) -> None:
        super().__init__()
        self.look, self._sight = GatedCrossAttention(width, media_width, heads, compress), sight

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Change what goes into the layer (a forward pre-hook)."""
        media, which = self._sight.media, self._sight.which
        if media is None:
            return None
        x = args[0] if args else kwargs["hidden_states"]
        times = len(x) // len(media)  # beams of one sample lie side by side
        media, which = media.repeat_interleave(times, 0), which.repeat_interleave(times, 0)
        if which.shape[1] != x.shape[1]:  # new tokens look where the last one looked
            which = which[:, -1:].expand(-1, x.shape[1])
        x = self.look(x, media, which)
        return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})


class CausalLm(LanguageModel):
    """A decoder language model as text tower and as writer.

    Pictures enter as tokens between the beginning and the text (the default), through gated cross-attention before
    every so many layers (`gated`), or, in a decoder of our own, by plain cross-attention (`cross`).

    Args:
        lm: a transformers model, or an `OwnDecoder`.
        tokens: its tokeniser.
        media_width: of the picture's tokens.
        gated: `{first: 12, every: 2, compress: 2, heads: 8}`: gates before layers 12, 14, …; all start closed.
        split: the text's own vector is pooled after this many layers; 0: there is none.
        adapters: options of `attach`: `{method: adapter, where: […], reduction: 8}`.
        tasks: for adapters that are not shared.

    Source: Croc arXiv 2410.14332 (tokens), COSMO 2401.00849 (gates, split).
    """

    shift = True

    def __init__(
        self,
        lm: nn.Module,
        tokens: Pieces,
        media_width: int = 0,
        gated: Mapping[str, int] | None = None,
        split: int = 0,
        adapters: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.lm, self.tokens = lm, tokens
        self.own = isinstance(lm, OwnDecoder)
        self.cross = self.own and self.lm.layers[0].cross is not None
        self.width = int(self.embedding().weight.shape[1])
        layers = self._layers()
        if not 0 <= split <= len(layers):
            raise UserError(f"text: split={split}, but the language model has {len(layers)} layers.")
        self._sight, self._half, self._final = Held(), Held(), Held()
        self.gates = nn.ModuleDict()
        if gated is not None:
            options = {"first": 0, "every": 1, "compress": 2, "heads": 8}
            for key in gated:
                if key not in options:
                    raise UserError(f"text: gated has no option '{key}'; it has {', '.join(options)}.")
            options |= gated
            for i in range(options["first"], len(layers), options["every"]):
                gate = _Gate(self._sight, self.width, media_width, options["heads"], options["compress"])
                self.gates[str(i)] = gate
                layers[i].register_forward_pre_hook(gate.before, with_kwargs=True)
            if not self.gates or options["first"] < split:
                raise UserError(
                    f"text: gates from layer {options['first']} of {len(layers)} "
                    f"{'would show pictures to the text vector' if self.gates else 'are none'}."
                )
        elif not self.cross and media_width and media_width != self.width:
            raise UserError(
                f"The picture's tokens have {media_width} numbers, the language model {self.width}: use "
                "head: {kind: projector}."
            )
        #: stands where a picture stands, when the picture itself enters elsewhere
        self.mark = nn.Parameter(torch.zeros(self.width)) if gated is not None else None
        self.pool = AttentionPool(self.width, _heads(self.width)) if split else None
        if split:
            layers[split - 1].register_forward_hook(self._half.keep)
        if not self.own:
            self._stack().register_forward_hook(self._final.keep)
        self.adapters = None if adapters is None else attach(self.lm, **dict(adapters))

    # ---- the language model ------------------------------------------------------------------------------------------

    def _layers(self) -> Any:
        return self._stack().layers if self.own else self._found[1]

    def _stack(self) -> Any:
        """Return the module that runs the layers; its output is the last hidden state."""
        return self.lm if self.own else self._found[0]

    @property
    def _found(self) -> tuple[nn.Module, nn.ModuleList]:
        count = self.lm.config.get_text_config().num_hidden_layers
        for name, module in self.lm.named_modules():
            if isinstance(module, nn.ModuleList) and len(module) == count:
                return self.lm.get_submodule(name.rpartition(".")[0]), module
        raise UserError(f"No list of {count} layers was found in {type(self.lm).__name__}.")

    def _run(
        self, x: Tensor, mask: Tensor, prefix: Tensor | None, keep: int, media: Tensor | None, real: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return logits of the last `keep` positions (0: none) and all hidden states."""
        place = (mask.long().cumsum(1) - 1).clamp(min=0)
        see = None
        if prefix is not None or self.own:
            see = causal_mask(x.shape[1], 0 if prefix is None else prefix, x.device) & mask[:, None]
            see = see | torch.eye(
                x.shape[1], dtype=torch.bool, device=x.device
            )  # what is hidden sees itself, not nothing
        if self.own:
            memory = media.flatten(1, 2) if self.cross and media is not None else None
            there = real.flatten(1) if memory is not None and real is not None else None
            hidden = self.lm(x, see, place, memory, there)
            return hidden[:, hidden.shape[1] - keep :] @ self.lm.embed.weight.T, hidden
        attention: Tensor = mask.long()
        if prefix is not None and see is not None:
            attention = torch.zeros(see.shape, dtype=x.dtype, device=x.device)
            attention = attention.masked_fill(~see, torch.finfo(x.dtype).min)[:, None]
        call = {"inputs_embeds": x, "attention_mask": attention, "position_ids": place, "use_cache": False}
        if not keep:
            return x[:, :0], self.lm.base_model(**call).last_hidden_state
        out = self.lm(**call, logits_to_keep=keep)
        return out.logits, self._final.output

    def compose(
        self,
        prefix: str,
        start: str,
        target: str,
        picture: bool,
        chunks: Sequence[tuple[int | None, Sequence[str]]] = (),
        document: Sequence[tuple[str | int, bool]] = (),
    ) -> tuple[list[int], list[int], list[int]]:
        """Return what is given, what the decoder writes beside it (nothing: it writes what it reads), and labels.

        Args:
            prefix: the prompt.
            start: what begins the answer, not learnt.
            target: the answer; '': none, a prompt to go on from.
            picture: there is one.
            chunks: of an interleaved document, instead of the three texts: its pictures, each with sentences.
            document: of a document with turns, instead of all that: (a text, or how many pictures stand here; it is
                learnt), in order. What is learnt is ended.

        Raises:
            RowError: the prompt leaves no room.
        """
        pieces: list[tuple[str | int, bool]] = []
        here = picture and not self.cross
        for image, sentences in chunks:
            pieces += [(PICTURE, False)] * (image is not None) + [(" ".join(sentences), True), (self.tokens.end, True)]
        if pieces_ := list(document):
            for n, (piece, learn) in enumerate(pieces_):
                if isinstance(piece, int):
                    pieces += [] if self.cross else [(PICTURE, False)] * piece
                    continue
                pieces.append((piece, learn))
                if learn and (n + 1 == len(pieces_) or not pieces_[n + 1][1]):
                    pieces.append((self.tokens.end, True))
            ids, labels = self.tokens.write(pieces)
            return ids, [], labels
        if chunks and self.mark is None:
            raise UserError("Interleaved documents need a language model with gates: text: {gated: …}.")
        if not chunks:
            between = " " if prefix and start else ""
            given = prefix + between + start
            given += " " if given and not given[-1].isspace() else ""
            pieces = [(PICTURE, False)] * here + [(given, False)] * bool(given)
            pieces += [(target, True), (self.tokens.end, True)] if target else []
        ids, labels = self.tokens.write(pieces)
        return ids, [], labels

    # ---- reading and writing -----------------------------------------------------------------------------------------

    def _enter(
        self, ids: Tensor, mask: Tensor, media: Tensor | None, real: Tensor | None
    ) -> tuple[Tensor, Tensor, int, int]:
        """Return embeddings, their mask, and first place and number of the picture's tokens in the text."""
        at = ids == PICTURE
        x = self.embedding()(ids.clamp(min=0))
        first, n = len(self.tokens.before), 0
        if self.mark is not None:
            self._sight.media, self._sight.which = media, None if media is None else self._which(at, real)
            x = torch.where(at[..., None], self.mark.to(x.dtype), x)
        elif not self.cross and media is not None and bool(at.any()):
            if not bool(at[:, first].all()) or int(at.sum(1).max()) > 1:
                raise UserError("The pictures of a text stand at its beginning in this language model.")
            v = media.flatten(1, 2).to(x.dtype)
            there = torch.ones_like(v[..., 0], dtype=torch.bool) if real is None else real.flatten(1)
            n = v.shape[1]
            x = torch.cat([x[:, :first], v, x[:, first + 1 :]], 1)
            mask = torch.cat([mask[:, :first], there, mask[:, first + 1 :]], 1)
        return x, mask, first, n

    def _which(self, at: Tensor, real: Tensor | None) -> Tensor:
        which = media_of_tokens(at)
        if real is None:
            return which
        there = real.any(-1)  # a picture that is not there is looked at by nobody
        seen = there.gather(1, which.clamp(min=0))
        return which.masked_fill(~seen, -1)

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        media: Tensor | None = None,
        real: Tensor | None = None,
        written: Tensor | None = None,
        mixed: Tensor | None = None,
    ) -> Written:
        """Read a batch.

        Args:
            ids: [B, L], `PICTURE` where a picture stands.
            mask: [B, L] bool.
            media: [B, T, N, media_width] tokens of T pictures.
            real: [B, T, N] bool, which of them exist.
            written: not used: a decoder writes what it reads.
            mixed: [B, L] labels; everything before the first one that is learnt is seen by all, both ways.
        """
        if self._spread(ids, media):
            return self._forward_spread(ids, mask, media, real, mixed)
        x, full, first, n = self._enter(ids, mask, media, real)
        shifted = ids.shape[1] - first if n else ids.shape[1]
        logits, hidden = self._run(x, full, self._prefix(mixed, mask, n), shifted, media, real)
        seen = hidden[:, first : first + n] if n else None
        pooled = None
        if self.pool is not None:
            pooled = self.pool(self._half.output, mask & (ids != PICTURE))
        return Written(logits, seen, pooled)

    # ---- pictures anywhere in a text ---------------------------------------------------------------------------------

    def _spread(self, ids: Tensor, media: Tensor | None) -> bool:
        """Whether pictures stand elsewhere than once, at the beginning."""
        if media is None or self.cross or self.mark is not None:
            return False
        at = ids == PICTURE
        return bool((at.sum(1) > 1).any()) or bool((at.any(1) & ~at[:, len(self.tokens.before)]).any())

    def _expanded(self, ids: Tensor, mask: Tensor, media: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return embeddings and mask with every picture's tokens in its place, and where each id ends [B, L]."""
        return spread(self.embedding()(ids.clamp(min=0)), ids == PICTURE, mask, media, real)

    def _forward_spread(
        self, ids: Tensor, mask: Tensor, media: Tensor | None, real: Tensor | None, mixed: Tensor | None
    ) -> Written:
        if mixed is not None:
            raise UserError("lm: attention: mixed is for one picture at the beginning of a text.")
        assert media is not None
        x, full, ends = self._expanded(ids, mask, media, real)
        logits, _ = self._run(x, full, None, x.shape[1], None, None)
        return Written(logits.gather(1, ends[..., None].expand(-1, -1, logits.shape[-1])))

    def _prefix(self, labels: Tensor | None, mask: Tensor, n: int) -> Tensor | None:
        if labels is None:
            return None
        learnt = labels != -100
        first = torch.where(learnt.any(1), learnt.long().argmax(1), mask.sum(1))
        return first + max(0, n - 1)

    def text_vector(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return [B, width], the pooled vector of texts alone."""
        if self.pool is None:
            raise UserError("This language model makes no text vectors; text: {split: …} says after how many layers.")
        x, mask, _, _ = self._enter(ids, mask, None, None)
        self._run(x, mask, None, 0, None, None)
        found: Tensor = self.pool(self._half.output, mask & (ids != PICTURE))
        return found

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
        """Write after ids [B, L] (no padding); returns new ids. `start` stands at the end of ids already."""
        if not self.own:
            if media is not None and self._spread(ids, media):
                x, full, _ = self._expanded(ids, mask, media, real)
            else:
                x, full, _, _ = self._enter(ids, mask, media, real)
            out = self.lm.generate(
                inputs_embeds=x, attention_mask=full.long(), max_new_tokens=most, num_beams=beams, do_sample=False,
                eos_token_id=self.tokens.end, pad_token_id=self.tokens.pad,
            )  # fmt: skip
            return [row.tolist() for row in out]
        if beams != 1:
            raise UserError("A decoder of our own writes greedily; beams=1.")
        before = media.shape[1] * media.shape[2] if media is not None and not self.cross and self.mark is None else 0
        room = self.lm.place.shape[0] - ids.shape[1] - before

        def scores(whole: Tensor) -> Any:
            return self(whole, whole.new_ones(whole.shape, dtype=torch.bool), media, real).logits[:, -1]

        out = greedy(scores, ids, self.tokens.end, self.tokens.pad, min(most, room))
        return out[:, ids.shape[1] :].tolist()


def _heads(width: int) -> int:
    return next(h for h in (8, 4, 2, 1) if width % h == 0)


@says(writes=True)
def causal_lm(
    name: str = "",
    media_width: int = 0,
    length: int = 128,
    gated: Mapping[str, int] | None = None,
    split: int = 0,
    adapters: Mapping[str, Any] | None = None,
    pretrained: bool = True,
    dtype: str | None = None,
) -> CausalLm:
    """Return a transformers decoder (any `AutoModelForCausalLM`) that reads pictures.

    Args:
        name: on the hub, or a local folder.
        media_width: of the picture's tokens.
        length: most tokens of a sample, the picture's own not counted.
        gated: see `CausalLm`; split, adapters: likewise.
        pretrained: False takes the architecture only.
        dtype: `bfloat16`, …; None is what the model was saved in.
    """
    hf = require("transformers", "panoglot[train]", f"the language model {name}")
    lm = load_language_model(hf, hf.AutoModelForCausalLM, name, pretrained, dtype)
    return CausalLm(lm, pieces_of(name, length), media_width, gated, split, adapters)


def load_language_model(hf: Any, kind: Any, name: str, pretrained: bool, dtype: str | None) -> Any:
    """Return a model of transformers: with its weights, or anew from its architecture."""
    more = {} if dtype is None else {"dtype": getattr(torch, dtype)}
    if pretrained:
        return load_pretrained(kind, name, **more)
    return kind.from_config(load_pretrained(hf.AutoConfig, name), **more)


@says(writes=True)
def own_decoder(
    media_width: int = 0,
    width: int = 512,
    layers: int = 6,
    heads: int = 8,
    length: int = 128,
    cross: bool = False,
    tokenizer: str = "",
    gated: Mapping[str, int] | None = None,
    split: int = 0,
    media: int = 0,
) -> CausalLm:
    """Return a small decoder of our own that reads pictures.

    Args:
        media_width: of the picture's tokens.
        width: of its own.
        layers: depth.
        heads: of the attention.
        length: most tokens of a sample, the picture's own not counted.
        cross: every layer reads the picture's tokens; else they stand before the text, or enter through gates.
        tokenizer: of the hub, or a folder; '' is UTF-8 bytes.
        gated: see `CausalLm`; split: likewise.
        media: tokens of a picture that stand before the text.
    """
    tokens = pieces_of(tokenizer, length)
    lm = OwnDecoder(tokens.size, width, layers, heads, length + media, media_width if cross else None)
    return CausalLm(lm, tokens, media_width, gated, split)
