"""Models: roles, names to providers.

`load_model("provider:name?option=value")` gives an object that fills one or more roles of `panoglot.providers.roles`.
"""

from panoglot.providers._finish import finish
from panoglot.providers._judge import judge_of
from panoglot.providers._names import ModelInfo, Options, list_models, load_model, parse_model_name, register

__all__ = [
    "ModelInfo",
    "Options",
    "finish",
    "judge_of",
    "list_models",
    "load_model",
    "parse_model_name",
    "register",
]
