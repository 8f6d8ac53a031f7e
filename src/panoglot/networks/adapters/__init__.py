"""Small trainable parts in a frozen model. All but prompts start as the identity: step 0 is the frozen model.

`attach` puts one into a model by module-name patterns; the backbone keeps its parameter names, so its checkpoints fit.
"""

from panoglot.networks.adapters._attach import Attached, attach, load_adapters, save_adapters
from panoglot.networks.adapters.bottleneck import Adapter, Compacter, KroneckerLinear
from panoglot.networks.adapters.gated import GatedCrossAttention, media_of_tokens
from panoglot.networks.adapters.hyper import HyperAdapter, Hypernet
from panoglot.networks.adapters.language import LanguageAdapters
from panoglot.networks.adapters.lora import LoRA
from panoglot.networks.adapters.prompt import Prompt

__all__ = [
    "Adapter",
    "Attached",
    "Compacter",
    "GatedCrossAttention",
    "HyperAdapter",
    "Hypernet",
    "KroneckerLinear",
    "LanguageAdapters",
    "LoRA",
    "Prompt",
    "attach",
    "load_adapters",
    "media_of_tokens",
    "save_adapters",
]
