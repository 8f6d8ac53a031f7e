"""Small trainable parts in a frozen model. All start as the identity: step 0 is the frozen model, bit for bit.

`attach` puts one into a model by module-name patterns; the backbone keeps its parameter names, so its checkpoints fit.
"""

from panoglot.train.adapters._attach import Attached, attach, load_adapters, save_adapters
from panoglot.train.adapters._bottleneck import Adapter, Compacter, KroneckerLinear
from panoglot.train.adapters._gated import GatedCrossAttention, media_of_tokens
from panoglot.train.adapters._language import LanguageAdapters
from panoglot.train.adapters._lora import LoRA
from panoglot.train.adapters._prompt import Prompt

__all__ = [
    "Adapter",
    "Attached",
    "Compacter",
    "GatedCrossAttention",
    "KroneckerLinear",
    "LanguageAdapters",
    "LoRA",
    "Prompt",
    "attach",
    "load_adapters",
    "media_of_tokens",
    "save_adapters",
]
