"""Sequence-to-sequence checkpoints that write scene graphs (FACTUAL and its kind) as a `Parser`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError
from panoglot.providers._batches import halving
from panoglot.providers.hf._load import Place, load_config, load_processor, load_weights
from panoglot.providers.parsers import FactualParser

if TYPE_CHECKING:
    from panoglot.providers._names import Options
    from panoglot.providers.hf._files import Checkpoint

__all__ = ["load_parser"]


def load_parser(checkpoint: Checkpoint, place: Place, options: Options) -> FactualParser:
    """Load a T5-like checkpoint; decoding is the paper's: beams, no sampling.

    Raises:
        UserError: not an encoder-decoder, options out of range.
    """
    import transformers

    beams = options.take("beams", int, 5)
    most = options.take("max_tokens", int, 128)
    size = options.take("batch_size", int, 16)
    lemmatise = options.take("lemmatise", bool, True)
    if min(beams, most, size) < 1:
        raise UserError(f"beams, max_tokens and batch_size of '{checkpoint.label}' must be at least 1.")
    options.finish()
    config = load_config(checkpoint, place)
    if not getattr(config, "is_encoder_decoder", False):
        raise UserError(f"'{checkpoint.label}' is no parser: it is not an encoder-decoder such as FACTUAL's T5.")
    words = load_processor(checkpoint, config, place)
    words = getattr(words, "tokenizer", words)
    model: Any = load_weights(transformers.AutoModelForSeq2SeqLM, checkpoint, config, place)

    def generate(texts: list[str]) -> list[str]:
        import torch

        with torch.inference_mode():
            batch = words(texts, return_tensors="pt", padding=True, truncation=True, max_length=512).to(place.device)
            batch.pop("token_type_ids", None)
            answers = model.generate(
                **batch, num_beams=beams, max_new_tokens=most, do_sample=False, early_stopping=beams > 1
            )
        return list(words.batch_decode(answers, skip_special_tokens=True))

    facts = json.dumps(["factual-parser-2", checkpoint.fingerprint, place.dtype, beams, most, lemmatise])
    parser = FactualParser(
        _in_batches(generate, size),
        name=f"hf:{checkpoint.label}",
        fingerprint=hashlib.sha256(facts.encode()).hexdigest()[:32],
        lemmatise=lemmatise,
    )
    parser.batch_size = size
    return parser


def _in_batches(
    generate: Callable[[list[str]], list[str]], size: int
) -> Callable[[Sequence[str]], list[str | RowError]]:
    """Texts of like length together, `size` at a time, halved where the memory does not suffice."""

    def every(texts: Sequence[str]) -> list[str | RowError]:
        order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
        found: list[str | RowError] = [""] * len(texts)
        for at in range(0, len(order), size):
            some = order[at : at + size]
            for n, answer in zip(some, halving([texts[n] for n in some], lambda batch: generate(list(batch)))):
                found[n] = answer
        return found

    return every
