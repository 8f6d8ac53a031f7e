"""Parsers: captions to scene graphs.

| parser | needs | languages |
|---|---|---|
| `RuleParser` (`embedded:parser`) | the package lemminflect (1 MB), no network | English |
| `FactualParser` (`hf:lizhuang144/flan-t5-base-VG-factual-sg`) | transformers, torch | English |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from panoglot.providers.parsers._factual import FactualParser, read_factual
    from panoglot.providers.parsers._rules import RuleParser

__all__ = ["FactualParser", "RuleParser", "read_factual"]

_HOME = {"FactualParser": "_factual", "RuleParser": "_rules", "read_factual": "_factual"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
