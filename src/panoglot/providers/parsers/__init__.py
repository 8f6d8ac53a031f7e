"""Parsers: captions to scene graphs.

| parser | needs | languages |
|---|---|---|
| `RuleParser` (`embedded:parser`) | the package lemminflect (1 MB), no network | English |
| `FactualParser` (`hf:lizhuang144/flan-t5-base-VG-factual-sg`) | transformers, torch | English |
"""

from typing import TYPE_CHECKING

from panoglot.extensions import lazy_names

if TYPE_CHECKING:
    from panoglot.providers.parsers._factual import FactualParser, read_factual
    from panoglot.providers.parsers._rules import RuleParser, noun_lemmas

__all__ = [
    "FactualParser",
    "RuleParser",
    "noun_lemmas",
    "read_factual",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "FactualParser": "_factual",
        "RuleParser": "_rules",
        "noun_lemmas": "_rules",
        "read_factual": "_factual",
    },
)
