"""Models: roles, names to providers.

`load_model("provider:name?option=value")` gives an object that fills one or more roles of `panoglot.providers.roles`.
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names
from panoglot.providers._finish import finish
from panoglot.providers._judge import judge_of
from panoglot.providers._names import ModelInfo, Options, list_models, load_model, parse_model_name, register

if TYPE_CHECKING:
    from panoglot.providers._http import Endpoint
    from panoglot.providers._limits import Limits, Rate, Slots
    from panoglot.providers._memory import MEMORY, Memory
    from panoglot.providers._openai_encoder import OpenAIEncoder
    from panoglot.providers._prompt import lowered, plain_text
    from panoglot.providers._ten_crops import TenCrops

__all__ = [
    "MEMORY",
    "Endpoint",
    "Limits",
    "Memory",
    "ModelInfo",
    "OpenAIEncoder",
    "Options",
    "Rate",
    "Slots",
    "TenCrops",
    "finish",
    "judge_of",
    "list_models",
    "load_model",
    "lowered",
    "parse_model_name",
    "plain_text",
    "register",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Endpoint": "_http",
        "Rate": "_limits",
        "Slots": "_limits",
        "Limits": "_limits",
        "OpenAIEncoder": "_openai_encoder",
        "lowered": "_prompt",
        "plain_text": "_prompt",
        "MEMORY": "_memory",
        "Memory": "_memory",
        "TenCrops": "_ten_crops",
    },
)
