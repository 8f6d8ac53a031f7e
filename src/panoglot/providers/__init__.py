"""Models: roles, names to providers, the response journal, prices.

`load_model("provider:name?option=value")` gives an object that fills one or more roles of `panoglot.providers.roles`.
"""

from panoglot._verbs import callable_room
from panoglot.asking import Budget, Journal, Price, Prices, journal_key
from panoglot.providers._finish import finish
from panoglot.providers._names import ModelInfo, list_models, load_model, parse_model_name, register

__all__ = [
    "Budget",
    "Journal",
    "ModelInfo",
    "Price",
    "Prices",
    "finish",
    "journal_key",
    "list_models",
    "load_model",
    "parse_model_name",
    "register",
]

callable_room(__name__, list_models)  # `panoglot.models()`
