"""Checkpoints into memory: device, precision, weights, and processors that never need torchvision."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean, require
from panoglot.providers.hf._files import Checkpoint, find_checkpoint

if TYPE_CHECKING:
    from panoglot.providers._names import Options

__all__ = ["Place", "load_config", "load_processor", "load_weights", "torch_place"]

DTYPES = ("bfloat16", "float16", "float32")
ATTENTION = ("eager", "flash_attention_2", "sdpa")


@dataclass(frozen=True)
class Place:
    """Where and how a model runs, read from the options of its name."""

    device: str
    dtype: str
    attention: str | None
    code: bool
    revision: str | None

    def checkpoint(self, name: str, what: str = "hf") -> Checkpoint:
        """Find the files of `name`."""
        return find_checkpoint(name, self.revision, code=self.code, what=what)


def torch_place(options: Options, what: str, extra: str) -> Place:
    """Read `device`, `dtype`, `attn`, `revision` and `trust_remote_code`.

    The default device is the first GPU, else the CPU; the default precision is bfloat16 on a GPU that has it, else
    float32.

    Raises:
        UserError: torch is missing, or a value is unknown or not there.
    """
    torch: Any = require("torch", f"panoglot[{extra}]", what)
    device = options.take("device", str, "")
    if not device:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except Exception as error:
        raise UserError(
            f"device={device!r} cannot be used here: {str(error).splitlines()[0]} Try device=cpu."
        ) from None
    bf16 = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    dtype = options.take("dtype", str, "bfloat16" if bf16 else "float32")
    if dtype not in DTYPES:
        raise UserError(f"there is no dtype '{dtype}'.{did_you_mean(dtype, DTYPES)}")
    attention = options.take("attn", str, None)
    if attention is not None and attention not in ATTENTION:
        raise UserError(f"there is no attn '{attention}'.{did_you_mean(attention, ATTENTION)}")
    code = options.take("trust_remote_code", bool, False)
    return Place(device, dtype, attention, code, options.take("revision", str, None))


@contextlib.contextmanager
def _explained(checkpoint: Checkpoint) -> Iterator[None]:
    """Turn what transformers says about an unusable checkpoint into one line with the fix."""
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        packages = [
            name for name in ("torchvision", "sentencepiece", "tiktoken", "num2words", "timm") if name in str(error)
        ]
        fix = f"pip install {' '.join(packages)}" if packages else "see the message"
        raise UserError(f"'{checkpoint.label}' needs another package ({fix}): {str(error).strip()[:300]}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = str(error)
        if "trust_remote_code" in said:
            raise UserError(
                f"'{checkpoint.label}' brings its own Python code. Read it, and if you trust it add "
                "?trust_remote_code=true to the model name."
            ) from None
        if "does not recognize this architecture" in said or "Unrecognized model" in said:
            kind = checkpoint.config.get("model_type")
            raise UserError(
                f"the installed transformers does not know the architecture '{kind}' of '{checkpoint.label}': "
                "pip install -U transformers"
            ) from None
        raise UserError(
            f"'{checkpoint.label}' cannot be loaded: {type(error).__name__}: {said.strip()[:400]}"
        ) from error


def load_config(checkpoint: Checkpoint, place: Place) -> Any:
    """Read the configuration as its transformers class."""
    transformers: Any = require("transformers", "panoglot[hf]", "a model of the provider 'hf'")
    with _explained(checkpoint):
        return transformers.AutoConfig.from_pretrained(
            checkpoint.folder, trust_remote_code=place.code, local_files_only=True
        )


def load_weights(auto: Any, checkpoint: Checkpoint, config: Any, place: Place) -> Any:
    """Load the weights (safetensors only) with the class `auto`, in evaluation mode, on the device."""
    import torch
    from transformers.utils import logging as messages

    chatty, bar = messages.get_verbosity(), messages.is_progress_bar_enabled()
    messages.set_verbosity_error()
    if not sys.stderr.isatty():
        messages.disable_progress_bar()
    extra = {"attn_implementation": place.attention} if place.attention else {}
    try:
        with _explained(checkpoint):
            model, report = auto.from_pretrained(
                checkpoint.folder,
                config=config,
                dtype=getattr(torch, place.dtype),
                use_safetensors=True,
                trust_remote_code=place.code,
                local_files_only=True,
                output_loading_info=True,
                **extra,
            )
    finally:
        messages.set_verbosity(chatty)
        if bar:
            messages.enable_progress_bar()
    missing = sorted(report.get("missing_keys", ()))
    if missing:  # they would be random: answers that look like answers
        raise UserError(
            f"'{checkpoint.label}' lacks {len(missing)} weights that {type(model).__name__} needs ({missing[0]}, …): "
            "it is a checkpoint for something else; try ?as=encoder or ?as=generator."
        )
    return model.requires_grad_(False).eval().to(place.device)


def load_processor(checkpoint: Checkpoint, config: Any, place: Place) -> Any:
    """Load the tokenizer, or the processor of tokenizer and (Pillow) image processor.

    `AutoProcessor` insists on video processors, which need torchvision. The parts are loaded one by one here and the
    video part is left out; pictures go through the Pillow processors whether torchvision is there or not, so that
    answers do not depend on it.
    """
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING, processor_class_from_name

    where: dict[str, Any] = {"trust_remote_code": place.code, "local_files_only": True}
    folder, named, own_code = checkpoint.folder, None, False
    for file in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        if named is None and (folder / file).exists():
            stated = json.loads((folder / file).read_text("utf-8"))
            named = stated.get("processor_class")
            own_code = own_code or "AutoProcessor" in (stated.get("auto_map") or {})
    kind = processor_class_from_name(named) if named else None
    if kind is None and type(config) in PROCESSOR_MAPPING:
        kind = PROCESSOR_MAPPING[type(config)]
    quiet = logging.getLogger("transformers")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with _explained(checkpoint):
            if own_code and place.code:
                return transformers.AutoProcessor.from_pretrained(folder, **where)
            if kind is not None:
                return _from_parts(kind, folder, where)
            words = transformers.AutoTokenizer.from_pretrained(folder, **where)
            if not (folder / "preprocessor_config.json").exists():
                return words
            pictures = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **where)
            return SimpleNamespace(tokenizer=words, image_processor=pictures)
    finally:
        quiet.setLevel(level)


def _from_parts(kind: Any, folder: Any, where: dict[str, Any]) -> Any:
    import transformers

    def check(self: Any, name: str, part: Any) -> Any:
        return None if name == "video_processor" else kind.check_argument_for_proper_class(self, name, part)

    parts: list[Any] = []
    for part in kind.get_attributes():
        if part == "video_processor":
            parts.append(None)
        elif part == "image_processor":
            parts.append(transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **where))
        elif part == "tokenizer":
            parts.append(transformers.AutoTokenizer.from_pretrained(folder, **where))
        else:  # a second tokenizer and the like: the model's own loading knows where they lie
            return transformers.AutoProcessor.from_pretrained(folder, **where)
    stated, _ = kind.get_processor_dict(folder, local_files_only=True)
    still: Any = type(kind.__name__, (kind,), {"check_argument_for_proper_class": check, "__doc__": kind.__doc__})
    return still.from_args_and_dict(parts, stated)
