"""`open_clip:`: CLIP-like encoders of the open_clip library. Weights as safetensors only.

    open_clip:ViT-B-16-SigLIP2/webli          a built-in architecture and the tag of its weights
    open_clip:hf-hub:OWNER/NAME               a repository on the hub with open_clip_config.json
    open_clip:/models/mine                    a folder with open_clip_config.json and open_clip_model.safetensors

Options: `device`, `dtype`, `batch_size`, `revision`. open_clip itself needs torchvision: torch and torchvision must be
a matching pair.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean, require
from panoglot.providers._batches import decode, encode_rows
from panoglot.providers._names import ModelInfo

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers._names import Options

__all__ = ["OpenClipEncoder", "catalog", "load"]

logger = logging.getLogger("panoglot.providers")

INSTALL = "panoglot[open-clip]"
PRECISION = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


class OpenClipEncoder:
    """An open_clip model as an `Encoder`.

    Attributes:
        name: provider, model, version.
        fingerprint: of weights, settings and precision.
        batch_size: most items a call.
        dim: length of a vector.
        max_text_tokens: where texts are cut, special tokens included.
        cut: texts cut so far.
    """

    def __init__(self, name: str, options: Options) -> None:
        from panoglot.providers.hf._files import fingerprint_files, label_of
        from panoglot.providers.hf._load import torch_place

        what = f"the model 'open_clip:{name}'"
        place = torch_place(options, what, "open-clip")
        self.batch_size = options.take("batch_size", int, 128 if place.device.startswith("cuda") else 16)
        if self.batch_size < 1:
            raise UserError(f"batch_size={self.batch_size} of 'open_clip:{name}' must be at least 1.")
        options.finish()
        try:
            self._library: Any = require("open_clip", INSTALL, what)
        except (RuntimeError, AttributeError) as error:  # what an unmatched torchvision raises on import
            raise UserError(
                f"open_clip cannot be imported ({error}): torch and torchvision do not match. "
                "pip install -U torch torchvision (both from the same index)"
            ) from error
        folder, source, settings = self._find(name, place.revision)
        weights = _safetensors(folder, name)
        if not source.startswith("local-dir:"):
            settings["pretrained"] = str(weights)
        try:
            model = self._library.create_model(
                source, precision=PRECISION[place.dtype], device=place.device, require_pretrained=True, **settings
            )
            self.tokenizer = self._library.get_tokenizer(source)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"'open_clip:{name}' cannot be loaded: {type(error).__name__}: {str(error)[:400]}"
            ) from error
        self.model = model.requires_grad_(False).eval()
        transform = self._library.transform
        self._preprocess = transform.image_transform_v2(transform.PreprocessCfg(**model.visual.preprocess_cfg), False)
        self._device, self._dtype = place.device, self._library.get_input_dtype(PRECISION[place.dtype])
        self.max_text_tokens = int(self.tokenizer.context_length)
        self.cut = 0
        size = model.visual.preprocess_cfg["size"]
        self._side = 2 * (max(size) if isinstance(size, (tuple, list)) else int(size))
        content = fingerprint_files(folder, [weights])
        label = label_of(folder, name, content)
        if not source.startswith("local-dir:"):
            label = f"{name}@{label.rpartition('@')[2]}"
        self.name = f"open_clip:{label}"
        built = "" if source.startswith("local-dir:") else f"{source} {settings.get('force_quick_gelu', False)}"
        facts = [content, built, model.visual.preprocess_cfg, place.dtype]
        self.fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
        self.dim = int(self._texts(["a"]).shape[-1])

    def _find(self, name: str, revision: str | None) -> tuple[Path, str, dict[str, Any]]:
        """The folder with the weights, the name open_clip knows the architecture by, and settings of the weights."""
        from panoglot.providers.hf._files import SMALL, find_folder

        wanted = [*SMALL, "open_clip_model.safetensors"]
        if name.startswith("hf-hub:") or Path(name).expanduser().is_dir() or name.startswith(("/", ".", "~")):
            folder = find_folder(name.removeprefix("hf-hub:"), revision, wanted, "open_clip")
            if not (folder / "open_clip_config.json").exists():
                raise UserError(f"'{name}' has no open_clip_config.json: it is no open_clip model (perhaps hf:{name}).")
            return folder, f"local-dir:{folder}", {}
        architecture, _, tag = name.rpartition("/")
        known = self._library.list_models()
        if architecture not in known:
            raise UserError(
                f"open_clip has no architecture '{architecture or tag}'.{did_you_mean(architecture or tag, known)} "
                "Write open_clip:ARCHITECTURE/TAG, for example open_clip:ViT-B-16-SigLIP2/webli."
            )
        tags = self._library.list_pretrained_tags_by_model(architecture)
        config = self._library.get_pretrained_cfg(architecture, tag)
        if not config:
            raise UserError(f"open_clip has no weights '{tag}' of {architecture}.{did_you_mean(tag, tags)}")
        repository = str(config.get("hf_hub", "")).rpartition("/")[0]
        if not repository:
            raise UserError(
                f"the weights '{architecture}/{tag}' are offered only as a pickle, which can run code when loaded, so "
                "they are refused. Take another tag, or convert them once to a folder with open_clip_model.safetensors."
            )
        settings: dict[str, Any] = {
            "force_preprocess_cfg": {
                k: config[k] for k in ("mean", "std", "interpolation", "resize_mode") if k in config
            }
        }
        if config.get("quick_gelu"):  # how these weights were trained; open_clip only warns
            settings["force_quick_gelu"] = True
        return find_folder(repository, revision, wanted, "open_clip"), architecture, settings

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures: float32 unit rows `[N, dim]`; NaN where a picture cannot be decoded."""
        return encode_rows(decode(images, min_side=self._side), self._pictures, self.dim, self.batch_size, self._shrink)

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Encode texts: float32 unit rows `[N, dim]`. Longer ones are cut at `max_text_tokens` and counted in `cut`."""
        texts = list(texts)
        over = sum(self._length(text) > self.max_text_tokens for text in texts)
        if over and not self.cut:
            logger.warning("%s cuts texts at %d tokens; `cut` counts them", self.name, self.max_text_tokens)
        self.cut += over
        return encode_rows(texts, self._texts, self.dim, self.batch_size, self._shrink)

    def pieces(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of every text, without those that stand around all."""
        around = self._length("")
        return [max(1, self._length(text) - around) for text in texts]

    def _length(self, text: str) -> int:
        own = getattr(self.tokenizer, "tokenizer", None)
        if own is not None:  # a tokenizer of transformers
            return len(own(self.tokenizer.clean_fn(text), verbose=False)["input_ids"])
        return len(self.tokenizer.encode(text)) + 2

    def _shrink(self, failed: int) -> None:
        self.batch_size = max(1, min(self.batch_size, failed // 2))
        logger.warning(
            "%s: a batch of %d does not fit, going on with batch_size=%d", self.name, failed, self.batch_size
        )

    def _pictures(self, pictures: Sequence[Any]) -> np.ndarray:
        import torch

        pixels = torch.stack([self._preprocess(picture) for picture in pictures]).to(self._device, self._dtype)
        with torch.inference_mode():
            found: np.ndarray = self.model.encode_image(pixels).float().cpu().numpy()
            return found

    def _texts(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            found: np.ndarray = (
                self.model.encode_text(self.tokenizer(list(texts)).to(self._device)).float().cpu().numpy()
            )
            return found


def _safetensors(folder: Path, name: str) -> Path:
    weights = folder / "open_clip_model.safetensors"
    if weights.exists():
        return weights
    raise UserError(
        f"'{name}' has no open_clip_model.safetensors. Pickles (open_clip_pytorch_model.bin) can run code when loaded "
        "and are refused: convert them once where you trust them, with safetensors.torch.save_file(state_dict, …)."
    )


def load(name: str, options: Options) -> OpenClipEncoder:
    """Load an encoder.

    Raises:
        UserError: unknown architecture or tag, no network, pickled weights, a missing package.
    """
    return OpenClipEncoder(name, options)


def catalog() -> list[ModelInfo]:
    """The pattern of names, and whether the packages are here."""
    ready = all(importlib.util.find_spec(module) for module in ("torch", "open_clip", "torchvision"))
    about = "CLIP, SigLIP 2, MetaCLIP 2, DFN, EVA … by architecture and tag; needs torchvision"
    return [ModelInfo("open_clip:ARCHITECTURE/TAG", ("encoder",), about, f"pip install '{INSTALL}'", ready)]
