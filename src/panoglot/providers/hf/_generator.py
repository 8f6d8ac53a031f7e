"""The generator: prompts in batches through a transformers model, and the probabilities it gives to texts."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError, require
from panoglot.providers._batches import decode, halving
from panoglot.providers._prompt import lowered
from panoglot.providers.hf._captioner import Captioner, EncoderDecoder
from panoglot.providers.hf._chat import DecoderOnly
from panoglot.providers.hf._decode import Decoding, grammar, pieces
from panoglot.providers.hf._families import Family, Prepared
from panoglot.providers.hf._load import Place, load_config, load_processor, load_weights

if TYPE_CHECKING:
    import PIL.Image

    from panoglot.providers._names import Options
    from panoglot.providers.hf._files import Checkpoint
    from panoglot.providers.roles import Answer, Prompt

__all__ = ["HFGenerator", "find_family"]

logger = logging.getLogger("panoglot.providers")


@dataclass(frozen=True)
class Row:
    """A prompt, the text to score after it, and its decoded pictures."""

    prompt: Prompt
    text: str
    pictures: list[PIL.Image.Image]


class HFGenerator:
    """An image-text or text model of transformers as a `Generator`.

    A row's answer depends on its prompt, temperature and seed alone, not on the rows beside it (as far as floating
    point allows). Chat models get their own chat template; BLIP- and GIT-like captioners describe the picture whatever
    a chat prompt says, and continue `text` when `chat=False`.

    Attributes:
        name: written into `captions.model`.
        fingerprint: of weights, tokenizer, precision and the options that change answers.
        batch_size: most prompts a call; halved for good when the memory does not suffice.
        chat: it follows instructions.
        sees: it takes pictures.
    """

    def __init__(self, checkpoint: Checkpoint, place: Place, options: Options) -> None:
        self.batch_size = options.take("batch_size", int, 16 if place.device.startswith("cuda") else 4)
        self.max_pixels = options.take("max_pixels", int, None)
        penalty = options.take("repetition_penalty", float, None)
        thinking = options.take("thinking", bool, False)
        if self.batch_size < 1 or (self.max_pixels is not None and self.max_pixels < 1):
            raise UserError(f"batch_size and max_pixels of '{checkpoint.label}' must be at least 1.")
        if penalty is not None and penalty <= 0:
            raise UserError(f"repetition_penalty={penalty} of '{checkpoint.label}' must be greater than 0 (1 is none).")
        options.finish()  # a typing mistake must not cost the minutes that loading takes
        config = load_config(checkpoint, place)
        processor = load_processor(checkpoint, config, place)
        auto, family = find_family(config, checkpoint)
        self.model = load_weights(auto, checkpoint, config, place)
        shipped = getattr(self.model.generation_config, "repetition_penalty", None)
        self.penalty = float(penalty if penalty is not None else shipped or 1.0)
        self.family: Family = family(self.model, processor, config, thinking)
        _plain_decoding(self.model, self.family)
        self.name = f"hf:{checkpoint.label}"
        facts = [checkpoint.fingerprint, place.dtype, self.max_pixels, self.penalty, thinking]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        self.chat = self.family.template is not None
        self.sees = self.family.sees
        self._vocabulary: Any = None

    def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
        """Answer every prompt.

        Args:
            prompts: any mixture; those with the same number of pictures run together.

        Returns:
            An answer, or a `RowError` (an undecodable picture, `prompt_too_long`, `no_chat_template`, `bad_schema`,
            `out_of_memory` …) for every prompt.
        """
        return self._batched(prompts, [""] * len(prompts), self._generate)

    def score(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[list[tuple[str, float]] | RowError]:
        """Give the tokens of every text with the natural-log probability that the model gives them after its prompt.

        The text's tokens are appended to the prompt's, so the border between them is a token border. Compare a prompt
        with the same prompt without `images` to see what the picture adds.

        Args:
            prompts: what comes before; sampling fields do not matter.
            texts: one for every prompt.

        Returns:
            For every text its tokens `(piece, log-probability)`; the pieces joined are the text (after the space that
            a chat template puts before an answer). A `RowError` where that failed.

        Raises:
            ValueError: as many prompts as texts are needed.
        """
        if len(prompts) != len(texts):
            raise ValueError(f"{len(prompts)} prompts but {len(texts)} texts")
        return self._batched(prompts, texts, self._score)

    def _batched(
        self, prompts: Sequence[Prompt], texts: Sequence[str], call: Callable[[Sequence[Row]], Any]
    ) -> list[Any]:
        """Group what can run together, cut into batches, decode the pictures, halve what fails."""
        import torch

        found: list[Any] = [None] * len(prompts)
        groups: dict[tuple[int, int], list[int]] = {}
        prompts = list(prompts)
        for n, prompt in enumerate(prompts):
            if prompt.images and not self.sees:
                found[n] = RowError("no_image_input", f"{self.name} reads text only")
                continue
            try:
                prompt = prompts[n] = lowered(prompt, model=self.name)
            except RowError as error:
                found[n] = error
                continue
            length = len(self.family.prefix(prompt)) if self.family.equal_lengths else 0
            groups.setdefault((len(prompt.images), length), []).append(n)
        for group in groups.values():
            waiting = list(group)
            while waiting:
                part, waiting = waiting[: self.batch_size], waiting[self.batch_size :]  # it may shrink on the way
                rows: dict[int, Row] = {}
                for n in part:
                    pictures = decode(prompts[n].images, max_pixels=self.max_pixels)
                    broken = [picture for picture in pictures if isinstance(picture, RowError)]
                    if broken:
                        found[n] = broken[0]
                    else:
                        rows[n] = Row(prompts[n], texts[n], pictures)  # type: ignore[arg-type]
                with torch.inference_mode():
                    answers = halving(list(rows.values()), call, self._shrink)
                for n, answer in zip(rows, answers, strict=True):
                    found[n] = answer
        return found

    def _shrink(self, failed: int) -> None:
        import torch

        self.batch_size = max(1, min(self.batch_size, failed // 2))
        logger.warning(
            "%s: a batch of %d does not fit, going on with batch_size=%d", self.name, failed, self.batch_size
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _prepared(self, rows: Sequence[Row], answers: Sequence[int]) -> Prepared:
        batch = self.family.prepare([row.prompt for row in rows], [row.pictures for row in rows])
        context = self.family.context
        for ids, answer in zip(batch.ids, answers, strict=True):
            if context is not None and len(ids) + answer > context:
                raise RowError("prompt_too_long", f"{len(ids)} + {answer} tokens, {self.name} reads {context}")
        return batch

    def _generate(self, rows: Sequence[Row]) -> list[Answer | RowError]:
        prompts = [row.prompt for row in rows]
        batch = self._prepared(rows, [1] * len(rows))
        context = self.family.context
        decoding = Decoding(
            prompts,
            [
                p.max_tokens if context is None else min(p.max_tokens, context - len(i))
                for p, i in zip(prompts, batch.ids)
            ],
            batch.ids,
            self.family.ends,
            self.family.tokenizer,
            self.penalty,
            [
                None if prompt.schema is None else grammar(prompt.schema, self._grammar_vocabulary())
                for prompt in prompts
            ],
            batch.read,
        )
        if max(decoding.limits) > 0:
            self.family.generate(batch, decoding)
        return [decoding.answer(row) for row in range(len(rows))]

    def _score(self, rows: Sequence[Row]) -> list[list[tuple[str, float]]]:
        import torch

        tokenizer = self.family.tokenizer
        answers = [
            tokenizer(self.family.lead(row.prompt) + row.text, add_special_tokens=False)["input_ids"]
            if row.text
            else []
            for row in rows
        ]
        if not any(answers):
            return [[] for _ in rows]
        batch = self._prepared(rows, [len(answer) for answer in answers])
        scored = []
        for answer, logits in zip(answers, self.family.logits(batch, answers), strict=True):
            chosen = torch.tensor(answer, dtype=torch.long, device=logits.device)[:, None]
            values = logits.float().log_softmax(-1).gather(-1, chosen)[:, 0].tolist()
            scored.append(list(zip(pieces(tokenizer, answer), values, strict=True)))
        return scored

    def _grammar_vocabulary(self) -> Any:
        """The vocabulary as the grammar engine wants it (made once, about a second)."""
        if self._vocabulary is None:
            require("llguidance", "panoglot[hf]", "a JSON schema with a local model")
            import llguidance.hf

            ends = sorted(self.family.ends)
            self._vocabulary = llguidance.hf.from_tokenizer(self.family.tokenizer, eos_token=ends)
        return self._vocabulary


def find_family(config: Any, checkpoint: Checkpoint) -> tuple[Any, type[Family]]:
    """The Auto class that loads an architecture, and the family it belongs to."""
    import transformers
    from transformers.models.auto import modeling_auto as known

    kind, code = type(config), getattr(config, "auto_map", None) or {}
    if kind in known.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or "AutoModelForImageTextToText" in code:
        family: type[Family] = DecoderOnly
        if config.model_type in ("blip", "git"):
            family = Captioner
        elif config.is_encoder_decoder or config.model_type == "vision-encoder-decoder":
            family = EncoderDecoder
        return transformers.AutoModelForImageTextToText, family
    if kind in known.MODEL_FOR_CAUSAL_LM_MAPPING or "AutoModelForCausalLM" in code:
        return transformers.AutoModelForCausalLM, DecoderOnly
    if kind in known.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        return transformers.AutoModelForSeq2SeqLM, EncoderDecoder
    raise UserError(
        f"'{checkpoint.label}' ({config.model_type}) writes no text; for vectors use it as an encoder (?as=encoder)."
    )


def _plain_decoding(model: Any, family: Family) -> None:
    """Forget the checkpoint's sampling settings (beams, top-k, minimal lengths …): `Decoding` decides alone."""
    from transformers import GenerationConfig

    ends = sorted(family.ends)
    for part in model.modules():
        shipped = getattr(part, "generation_config", None)
        if shipped is not None:
            part.generation_config = GenerationConfig(
                bos_token_id=shipped.bos_token_id,
                eos_token_id=ends or None,
                pad_token_id=family.pad,
                decoder_start_token_id=shipped.decoder_start_token_id,
            )
