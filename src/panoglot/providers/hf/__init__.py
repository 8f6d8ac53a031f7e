"""`hf:`: models of Hugging Face transformers, from a local folder or the hub. Weights as safetensors only.

    hf:HuggingFaceTB/SmolVLM2-500M-Video-Instruct     a generator
    hf:/models/siglip2-base?batch_size=64             an encoder
    hf:OWNER/NAME?device=cpu&dtype=float32&revision=v1.0

Options of both roles: `as`, `device`, `dtype`, `attn`, `batch_size`, `revision`, `trust_remote_code`; of a generator
`max_pixels`, `repetition_penalty`, `thinking`; of an encoder `full_decode`; of a parser (a T5 that writes scene graphs,
where a parser is asked for) `beams`, `max_tokens`, `lemmatise`;
of a summary (an encoder: what a chat model that sees sums a picture, a corner of it or a text up as) `places`,
`max_tokens`.

Tested here with the real code of BLIP, GIT, Qwen2.5-VL, SmolVLM, Idefics3, LLaVA, Llama, T5, ViT-GPT2, CLIP, SigLIP,
SigLIP 2, Chinese-CLIP, BLIP and BLIP-2 for retrieval; other architectures of the same families take the same paths.
torchvision is never needed.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean, require
from panoglot.extensions import lazy_names
from panoglot.providers._names import ModelInfo, Options

if TYPE_CHECKING:
    from panoglot.providers.hf._decode import Decoding, pieces
    from panoglot.providers.hf._files import Checkpoint, find_checkpoint

__all__ = [
    "Checkpoint",
    "Decoding",
    "catalog",
    "find_checkpoint",
    "load",
    "pieces",
]

ROLES = ("encoder", "generator", "parser", "summary")
#: Endings of the architecture names in `config.json` of models that write.
WRITES = (
    "ForConditionalGeneration",
    "ForCausalLM",
    "LMHeadModel",
    "ForVision2Seq",
    "ForImageTextToText",
    "EncoderDecoderModel",
)


def load(name: str, options: Options) -> Any:
    """Load a model as what its architecture says it is: a generator, or an encoder of images and texts; or as a parser.

    Args:
        name: a folder, or `owner/name` on the hub.
        options: see the module; `as=generator`, `as=encoder`, `as=summary` or `as=parser` overrides the architecture.

    Raises:
        UserError: not there, no network, pickled weights, unknown option or architecture, a missing package.
    """
    from panoglot.providers.hf._load import torch_place

    role = options.take("as", str, "")
    if role and role not in ROLES:
        raise UserError(f"a model of hf: cannot be loaded as '{role}'.{did_you_mean(role, ROLES)}")
    place = torch_place(options, f"the model 'hf:{name}'", "hf")
    require("transformers", "panoglot[hf]", f"the model 'hf:{name}'")
    checkpoint = place.checkpoint(name)
    if not role:
        architectures = checkpoint.config.get("architectures") or [""]
        role = "generator" if str(architectures[0]).endswith(WRITES) else "encoder"
    if role == "parser":
        from panoglot.providers.hf._parser import load_parser

        return load_parser(checkpoint, place, options)
    if role == "summary":
        from panoglot.providers.hf._summary import HFSummary

        return HFSummary(checkpoint, place, options)
    if role == "generator":
        from panoglot.providers.hf._generator import HFGenerator

        return HFGenerator(checkpoint, place, options)
    from panoglot.providers.hf._encoder import HFEncoder
    from panoglot.providers.hf._matcher import MATCHERS, HFMatcher

    if any(name in MATCHERS for name in checkpoint.config.get("architectures") or ()):
        return HFMatcher(checkpoint, place, options)
    return HFEncoder(checkpoint, place, options)


def catalog() -> list[ModelInfo]:
    """The patterns of names, and whether the packages are here."""
    ready = all(importlib.util.find_spec(module) for module in ("torch", "transformers"))
    install = "pip install 'panoglot[hf]'"
    return [
        ModelInfo(
            "hf:OWNER/NAME", ("generator",), "any transformers VLM, captioner or LLM; also hf:/folder", install, ready
        ),
        ModelInfo(
            "hf:OWNER/NAME",
            ("encoder",),
            "CLIP, SigLIP and their like; with a matching head BLIP and BLIP-2 for retrieval; also hf:/folder",
            install,
            ready,
        ),
        ModelInfo(
            "hf:OWNER/NAME?as=summary",
            ("encoder",),
            "a chat model that sees, by what it sums pictures, their corners and texts up as in one word (E5-V, SORCE)",
            install,
            ready,
        ),
        ModelInfo(
            "hf:OWNER/NAME",
            ("parser",),
            "a T5 that writes scene graphs: lizhuang144/flan-t5-base-VG-factual-sg",
            install,
            ready,
        ),
    ]


__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Decoding": "_decode",
        "pieces": "_decode",
        "Checkpoint": "_files",
        "find_checkpoint": "_files",
    },
)
