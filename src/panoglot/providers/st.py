"""`st:`: encoders of the sentence-transformers library: multilingual text models, and models of texts and pictures.

    st:intfloat/multilingual-e5-small?prompt=query%3A%20     text, with the prefix it was trained with
    st:/models/mine?batch_size=64

Options: `device`, `dtype`, `batch_size`, `revision`, `trust_remote_code`, `prompt` (put before every text, URL-quoted),
`dim` (keep the first components, for Matryoshka models), `max_text_tokens`. Weights as safetensors only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, require
from panoglot.providers._batches import decode, encode_rows
from panoglot.providers._names import ModelInfo

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers._names import Options

__all__ = ["SentenceEncoder", "catalog", "load"]

logger = logging.getLogger("panoglot.providers")

INSTALL = "panoglot[st]"


class SentenceEncoder:
    """A sentence-transformers model as an `Encoder`.

    Attributes:
        name: provider, model, version.
        fingerprint: of weights, settings, prompt, dimension and precision.
        batch_size: most items a call.
        dim: length of a vector.
        max_text_tokens: where texts are cut, special tokens and prompt included.
        cut: texts cut so far.
        sees: it encodes pictures, too.
    """

    def __init__(self, name: str, options: Options) -> None:
        from panoglot.providers.hf._files import SMALL, find_folder, fingerprint_files, label_of
        from panoglot.providers.hf._load import torch_place

        place = torch_place(options, f"the model 'st:{name}'", "st")
        self.batch_size = options.take("batch_size", int, 256 if place.device.startswith("cuda") else 32)
        self.prompt = options.take("prompt", str, None)
        dim = options.take("dim", int, None)
        longest = options.take("max_text_tokens", int, None)
        if self.batch_size < 1 or (dim is not None and dim < 1) or (longest is not None and longest < 1):
            raise UserError(f"batch_size, dim and max_text_tokens of 'st:{name}' must be at least 1.")
        options.finish()
        library: Any = require("sentence_transformers", INSTALL, f"the model 'st:{name}'")
        import torch

        patterns = [*SMALL, "*.safetensors", *(["*.py"] if place.code else [])]
        folder = find_folder(name, place.revision, patterns, "st")
        parts = _parts(folder)
        weights = _weights(folder, parts, name)
        try:
            self.model = library.SentenceTransformer(
                str(folder),
                device=place.device,
                trust_remote_code=place.code,
                local_files_only=True,
                truncate_dim=dim,
                model_kwargs={"dtype": getattr(torch, place.dtype), "use_safetensors": True},
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            fix = (
                " Read its code, and if you trust it add ?trust_remote_code=true."
                if "remote_code" in str(error)
                else ""
            )
            raise UserError(f"'st:{name}' cannot be loaded: {type(error).__name__}: {str(error)[:400]}{fix}") from error
        self.model.requires_grad_(False).eval()
        if longest is not None:
            self.model.max_seq_length = longest
        known = self.model.max_seq_length
        self.max_text_tokens: int | None = None if known is None else int(known)
        self.cut = 0
        self.sees = "image" in self.model.modalities
        content = fingerprint_files(folder, weights, place.code, parts)
        self.name = f"st:{label_of(folder, name, content)}"
        facts = [content, place.dtype, self.prompt, dim, self.max_text_tokens]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        self.dim = int(self._encode(["a"]).shape[-1])
        if dim is not None and self.dim != dim:
            raise UserError(f"dim={dim} of 'st:{name}' is more than the {self.dim} components that it has.")

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures: float32 unit rows `[N, dim]`; NaN where a picture cannot be decoded.

        Raises:
            UserError: the model knows texts only.
        """
        if not self.sees:
            raise UserError(
                f"'{self.name}' encodes texts only. For pictures take an encoder such as hf: or open_clip:."
            )
        return encode_rows(decode(images), self._encode, self.dim, self.batch_size, self._shrink)

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Encode texts: float32 unit rows `[N, dim]`. Longer ones are cut at `max_text_tokens` and counted in `cut`."""
        texts = list(texts)
        if texts and self.max_text_tokens is not None and hasattr(self.model.tokenizer, "model_max_length"):
            full = [(self.prompt or "") + text for text in texts]
            lengths = map(len, self.model.tokenizer(full, verbose=False)["input_ids"])
            over = sum(length > self.max_text_tokens for length in lengths)
            if over and not self.cut:
                logger.warning("%s cuts texts at %d tokens; `cut` counts them", self.name, self.max_text_tokens)
            self.cut += over
        return encode_rows(texts, lambda part: self._encode(part, self.prompt), self.dim, self.batch_size, self._shrink)

    def _encode(self, items: Sequence[Any], prompt: str | None = None) -> np.ndarray:
        found = self.model.encode(
            list(items), prompt=prompt, batch_size=len(items), convert_to_tensor=True, show_progress_bar=False
        )
        out: np.ndarray = found.float().cpu().numpy()
        return out

    def _shrink(self, failed: int) -> None:
        self.batch_size = max(1, min(self.batch_size, failed // 2))
        logger.warning(
            "%s: a batch of %d does not fit, going on with batch_size=%d", self.name, failed, self.batch_size
        )


def _parts(folder: Path) -> list[str]:
    """The folders of the model's modules, as `modules.json` names them."""
    listed = folder / "modules.json"
    if not listed.exists():
        return []
    try:
        paths = [str(module.get("path") or "") for module in json.loads(listed.read_text("utf-8"))]
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{listed} cannot be read: {error}. Fetch the model again.") from None
    if any(path.startswith(("/", "~")) or ".." in path.split("/") for path in paths):
        raise UserError(f"{listed} names a folder outside of the model.")
    return [path for path in paths if path]


def _weights(folder: Path, parts: list[str], name: str) -> list[Path]:
    from panoglot.providers.hf._files import PICKLES

    weights: list[Path] = []
    for place in [folder, *(folder / part for part in parts)]:
        found = sorted(place.glob("*.safetensors"))
        pickled = [file.name for file in sorted(place.glob("*")) if file.suffix in PICKLES]
        if pickled and not found:
            raise UserError(
                f"'{name}' has weights only as a pickle ({place / pickled[0]}), which can run code when loaded, so it "
                "is refused. Convert it once where you trust it: load it, then model.save_pretrained(folder)."
            )
        weights += found
    if not weights:
        raise UserError(f"'{name}' has no weights (model.safetensors).")
    return weights


def load(name: str, options: Options) -> SentenceEncoder:
    """Load an encoder.

    Raises:
        UserError: not there, no network, pickled weights, a missing package.
    """
    return SentenceEncoder(name, options)


def catalog() -> list[ModelInfo]:
    """The pattern of names, and whether the packages are here."""
    ready = all(importlib.util.find_spec(module) for module in ("torch", "sentence_transformers"))
    about = "multilingual sentence encoders (E5, BGE-M3, LaBSE …), and those that take pictures"
    return [ModelInfo("st:OWNER/NAME", ("encoder",), about, f"pip install '{INSTALL}'", ready)]
