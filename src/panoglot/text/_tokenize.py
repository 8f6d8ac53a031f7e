"""Texts to tokens, one tokeniser per writing system; the choice is recorded in every result.

| name | for | what a token is |
|---|---|---|
| `ptb` (`coco`) | all; default of English | Penn-Treebank word as the COCO tools see it, punctuation removed |
| `ptb-punct` | all | the same with its punctuation |
| `words` | every script that writes spaces (default) | run of letters, marks and digits; lower case |
| `words-elided` | French, Italian, Catalan … | the same, with `l'` a word of its own: `l'homme` is two words |
| `chars` | Chinese, Japanese (default) | one Han or kana character; runs of other scripts stay words |
| `clusters` | Thai, Lao, Khmer, Burmese (default) | one orthographic syllable: base, vowels, marks, subscripts |
| `jieba`, `mecab`, `thai-words` | Chinese, Japanese, Thai | dictionary words; need a package |
| `13a`, `intl`, `zh`, `flores200` | all | sacrebleu's, as they are: case and punctuation kept |
| `whitespace` | texts that are tokenised already | what stands between spaces, as it stands |
| `xm3600` | all | what papers on XM3600 do: Chinese in characters, Thai and Japanese in dictionary words, then `ptb` |

Letters that are the same are written in one form first (`panoglot.text._letters`, version `LETTERS`), but for
`whitespace` and sacrebleu's. Scores of different tokenisers or languages never mix: it is an error, not a warning.
"""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from panoglot.checks import offenders
from panoglot.errors import UserError, did_you_mean, require
from panoglot.languages import UNKNOWN_LANGUAGE, canonical_language, is_foreign, main_script
from panoglot.text._letters import same_letters

__all__ = ["TOKENIZERS", "Tokenizer", "one_language", "other_script", "tokenizer_for"]

_Tokenize = Callable[[Sequence[str]], list[list[str]]]


@dataclass(frozen=True)
class Tokenizer:
    """A tokeniser and what it says of itself.

    Attributes:
        name: name with version, as results record it: `ptb-en/1`.
        language: the language it was asked for.
        function: texts to lists of tokens.
    """

    name: str
    language: str
    function: _Tokenize

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """Tokenise many texts."""
        return self.function(texts)


class _Table(dict[str, list[str]]):
    """Chunk between spaces to tokens, filled as chunks are met."""

    def __init__(self, split: Callable[[str], list[str]]) -> None:
        self._split = split

    def __missing__(self, chunk: str) -> list[str]:
        found = self._split(chunk)
        if len(self) < 1_000_000:
            self[chunk] = found
        return found

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        return [[token for chunk in text.split() for token in self[chunk]] for text in texts]


# ---- words ---------------------------------------------------------------------------------------------------------
_JOINERS = frozenset("'’‘-‐·\u200c״")  # inside a word they belong to it: ng'ombe, м'яч, l·l, Persian ZWNJ
_SAME = str.maketrans({"’": "'", "‘": "'", "‐": "-"})
_ELIDING = frozenset(["fr", "it", "ca", "oc", "co", "pms", "wa"])  # l'homme is two words
_WHOLE = frozenset(["aujourd'", "prud'", "presqu'", "quelqu'"])  # aujourd'hui is one
_ARABIC = {0x0640: None, 0x0670: None, **dict.fromkeys(range(0x064B, 0x0653))}  # tatweel, vowel signs
_HEBREW = dict.fromkeys([*range(0x0591, 0x05BE), 0x05BF, 0x05C1, 0x05C2, 0x05C4, 0x05C5, 0x05C7])  # points
_PERSIAN = {ord("ك"): "ک", ord("ي"): "ی", ord("ى"): "ی", ord("ۀ"): "هٔ"}
_URDU = {**_PERSIAN, ord("ه"): "ہ"}
_YEH = frozenset(["fa", "ur", "ps", "ku", "ckb"])
_NO_JOINERS = {0x200C: None, 0x200D: None}  # Indic: the same word with another ligature


def _normal(text: str, base: str, script: str) -> str:
    text = same_letters(text, base)
    if base in ("tr", "az"):
        text = text.replace("I", "ı").replace("İ", "i")
    text = text.lower()
    if script == "Arab":
        text = text.translate(_ARABIC)
        return text.translate(_URDU if base == "ur" else _PERSIAN) if base in _YEH else text
    if script == "Hebr":
        return text.translate(_HEBREW)
    return text if script == "Latn" else text.translate(_NO_JOINERS)


def _words(text: str, elide: bool = False) -> list[str]:
    """Runs of letters, marks and digits, with single joiners between them."""
    found: list[str] = []
    word = ""
    for n, character in enumerate(text):
        if unicodedata.category(character)[0] in "LMN":
            word += character
        elif word and character in _JOINERS and text[n + 1 : n + 2].isalnum():
            word += character.translate(_SAME)
            if elide and word.endswith("'") and word not in _WHOLE:
                found.append(word)
                word = ""
        elif word:
            found.append(word)
            word = ""
    return [*found, word] if word else found


def _make_words(base: str, script: str, elide: bool = False) -> _Tokenize:
    return _Table(lambda chunk: _words(_normal(chunk, base, script), elide))


# ---- characters and clusters ---------------------------------------------------------------------------------------
_CJK = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_CHARACTER = re.compile(f"[{_CJK}]")
_CLUSTER = re.compile(
    # Thai and Lao: vowel written before, consonant, marks, vowel written after
    "[เ-ไ]?[ก-ฮ][ั-ฺ็-๎]*[ะาำๅ]?[็-๎]*"
    "|[ເ-ໄ]?[ກ-ຮໜ-ໟ](?:[ັ-ຼ່-ໍ])*[ະາຳຽ]?[່-ໍ]*"
    # Khmer: base, subscripts (coeng), vowels and signs
    "|[\u1780-\u17b3](?:\u17d2[\u1780-\u17b3]|[\u17b4-\u17d1\u17d3\u17dd])*"
    # Burmese: base, stacked consonants, medials and vowels, closing consonants with asat
    "|[\u1000-\u102a\u103f](?:\u1039[\u1000-\u1021]|[\u102b-\u1038\u103a-\u103e])*"
    "(?:[\u1000-\u1021](?:\u103a[\u1036-\u1038]*|\u1037\u103a\u1038?))*"
)


def _make_pieces(pattern: re.Pattern[str], base: str, script: str) -> _Tokenize:
    def split(chunk: str) -> list[str]:
        chunk = _normal(chunk, base, script).replace("\u200b", "")
        found: list[str] = []
        at = 0
        for match in pattern.finditer(chunk):
            found += _words(chunk[at : match.start()])
            found.append(match[0])
            at = match.end()
        return found + _words(chunk[at:])

    return _Table(split)


# ---- dictionary tokenisers -----------------------------------------------------------------------------------------
def _make_jieba(base: str, script: str) -> _Tokenize:
    jieba = require("jieba", "jieba", "the tokeniser 'jieba'")
    jieba.setLogLevel(60)
    return lambda texts: [
        [word for piece in jieba.cut(_normal(text, base, script)) for word in _words(piece)] for text in texts
    ]


def _make_mecab(base: str, script: str) -> _Tokenize:
    tagger = require("fugashi", "fugashi[unidic-lite]", "the tokeniser 'mecab'").Tagger("-Owakati")
    return lambda texts: [
        [word for piece in tagger.parse(_normal(text, base, script)).split() for word in _words(piece)]
        for text in texts
    ]


def _make_thai_words(base: str, script: str) -> _Tokenize:
    cut = require("pythainlp.tokenize", "pythainlp", "the tokeniser 'thai-words'").word_tokenize
    return lambda texts: [
        [
            word
            for piece in cut(_normal(text, base, script).replace("\u200b", ""), engine="newmm")
            for word in _words(piece)
        ]
        for text in texts
    ]


def _make_ptb(punctuation: bool = False) -> _Tokenize:
    from panoglot.text._ptb import PTBTable

    return PTBTable(punctuation).tokenize


def _whitespace(texts: Sequence[str]) -> list[list[str]]:
    return [text.split() for text in texts]


# ---- what other programs do ----------------------------------------------------------------------------------------
_SACREBLEU = {"13a": "Tokenizer13a", "intl": "TokenizerV14International", "zh": "TokenizerZh"}


def _make_sacrebleu(name: str) -> _Tokenize:
    module = require(f"sacrebleu.tokenizers.tokenizer_{name}", "panoglot[metrics]", f"the tokeniser '{name}'")
    tokenize = getattr(module, _SACREBLEU[name])()
    return lambda texts: [tokenize(text).split() for text in texts]


def _make_flores200() -> _Tokenize:
    utils = require("sacrebleu.utils", "panoglot[metrics]", "the tokeniser 'flores200'")
    require("sentencepiece", "sentencepiece", "the tokeniser 'flores200'")
    model = Path(utils.SACREBLEU_DIR) / "models" / "flores200_sacrebleu_tokenizer_spm.model"
    if not model.is_file():
        raise UserError(
            f"the tokeniser 'flores200' needs its model at {model}: sacrebleu brings it there (sacrebleu --tokenize "
            "flores200), and here nothing is downloaded."
        )
    tokenize = importlib.import_module("sacrebleu.tokenizers.tokenizer_spm").Flores200Tokenizer()
    return lambda texts: [tokenize(text).split() for text in texts]


def _make_xm3600(base: str) -> _Tokenize:
    """Chinese in characters, Japanese by SudachiPy, Thai by PyThaiNLP (spaCy's defaults), then `ptb`."""
    ptb = _make_ptb()
    if base == "zh":
        return lambda texts: ptb([" ".join("".join(same_letters(text).split())) for text in texts])
    if base == "th":
        cut = require("pythainlp.tokenize", "pythainlp", "the tokeniser 'xm3600' of Thai").word_tokenize
        return lambda texts: ptb([" ".join(cut(same_letters(text), engine="newmm")) for text in texts])
    if base == "ja":
        sudachi = require("sudachipy", "sudachipy sudachidict_core", "the tokeniser 'xm3600' of Japanese")
        pieces = sudachi.Dictionary().create(mode=sudachi.SplitMode.A)
        return lambda texts: ptb([" ".join(m.surface() for m in pieces.tokenize(same_letters(t))) for t in texts])
    return ptb


#: Name to (version, languages it serves or None for all, maker of (base language, script)).
TOKENIZERS: dict[str, tuple[str, frozenset[str] | None, Callable[[str, str], _Tokenize]]] = {
    "ptb": ("2", None, lambda base, script: _make_ptb()),
    "ptb-punct": ("2", None, lambda base, script: _make_ptb(punctuation=True)),
    "words": ("2", None, _make_words),
    "words-elided": ("2", _ELIDING, lambda base, script: _make_words(base, script, elide=True)),
    "chars": ("2", None, lambda base, script: _make_pieces(_CHARACTER, base, script)),
    "clusters": ("2", None, lambda base, script: _make_pieces(_CLUSTER, base, script)),
    "jieba": ("2", frozenset(["zh", "yue", "wuu"]), _make_jieba),
    "mecab": ("2", frozenset(["ja"]), _make_mecab),
    "thai-words": ("2", frozenset(["th"]), _make_thai_words),
    "whitespace": ("1", None, lambda base, script: _whitespace),
    "13a": ("1", None, lambda base, script: _make_sacrebleu("13a")),
    "intl": ("1", None, lambda base, script: _make_sacrebleu("intl")),
    "zh": ("1", None, lambda base, script: _make_sacrebleu("zh")),
    "flores200": ("1", None, lambda base, script: _make_flores200()),
    "xm3600": ("1", None, lambda base, script: _make_xm3600(base)),
}
#: Other names of them.
ALIASES = {"coco": "ptb", "ptb-en": "ptb", "characters": "chars", "char": "chars", "none": "whitespace"}
_BY_SCRIPT = {
    **dict.fromkeys(["Hans", "Hant", "Hani", "Jpan", "Hira", "Kana", "Hrkt", "Bopo"], "chars"),
    **dict.fromkeys(["Thai", "Laoo", "Khmr", "Mymr"], "clusters"),
}


@lru_cache(maxsize=64)
def _cached(name: str, language: str) -> Tokenizer:
    version, _, make = TOKENIZERS[name]
    base, script = language.split("-")[0], main_script(language)
    return Tokenizer(f"{name}/{version}", language, make(base, script))


def tokenizer_for(language: str, tokenizer: str | Callable[[str], list[str]] | None = None) -> Tokenizer:
    """Choose the tokeniser of a language.

    Args:
        language: BCP-47 tag.
        tokenizer: a name of `TOKENIZERS`, a function of one text to a list of tokens, or None for the default.

    Raises:
        UserError: unknown name, or a tokeniser that was not made for this language.

    >>> tokenizer_for("de")(["Die Katze schläft auf'm T-Shirt."])
    [['die', 'katze', 'schläft', "auf'm", 't-shirt']]
    >>> tokenizer_for("zh").name, tokenizer_for("zh")(["一只猫在看TV"])
    ('chars/2', [['一', '只', '猫', '在', '看', 'tv']])
    >>> tokenizer_for("hi")(["लाल कंगारू।"])[0] == ["लाल", "कंगारू"]
    True
    """
    language = canonical_language(language)
    base = language.split("-")[0]
    if callable(tokenizer):
        one: Callable[[str], list[str]] = tokenizer
        name = f"custom:{getattr(tokenizer, '__name__', type(tokenizer).__name__)}"
        return Tokenizer(name, language, lambda texts: [list(one(text)) for text in texts])
    if tokenizer is None:
        tokenizer = "ptb" if base == "en" else _BY_SCRIPT.get(main_script(language), "words")
    tokenizer = tokenizer.split("/")[0].lower()
    tokenizer = ALIASES.get(tokenizer, tokenizer)
    if tokenizer not in TOKENIZERS:
        raise UserError(f"there is no tokeniser '{tokenizer}'.{did_you_mean(tokenizer, [*TOKENIZERS, *ALIASES])}")
    serves = TOKENIZERS[tokenizer][1]
    if serves is not None and base not in serves:
        raise UserError(
            f"the tokeniser '{tokenizer}' is for {', '.join(sorted(serves))}, not for '{language}': leave it out to "
            f"get '{tokenizer_for(language).name.partition('/')[0]}', or give the captions' language with lang=."
        )
    return _cached(tokenizer, language)


def one_language(lang: str | Sequence[str], ids: Sequence[str]) -> str:
    """Return the one language of all items.

    Raises:
        UserError: items of several languages (scores of different tokenisers must not be averaged).
    """
    if isinstance(lang, str):
        return canonical_language(lang)
    if len(lang) != len(ids):
        raise UserError(f"{len(lang)} languages for {len(ids)} captions: give one tag, or one for each caption.")
    canonical = {tag: canonical_language(tag) for tag in set(lang)}
    counts = Counter(canonical[tag] for tag in lang)
    if len(counts) > 1:
        most = counts.most_common(1)[0][0]
        odd = [f"{item} ({tag})" for item, tag in zip(ids, lang) if canonical[tag] != most]
        raise UserError(
            f"captions in {len(counts)} languages ({', '.join(sorted(counts))}) cannot share one score; evaluate each "
            f"language on its own. Not '{most}': {offenders(odd)}."
        )
    return next(iter(counts), UNKNOWN_LANGUAGE)


def other_script(texts: Sequence[str], language: str) -> list[int]:
    """Positions of texts with less than a quarter of their letters in the script of `language` (names may be in
    another).

    >>> other_script(["一只猫", "a cat", "一只猫 iPhone"], "zh"), other_script(["кућа"], "sr")
    ([1], [])
    """
    if language == UNKNOWN_LANGUAGE:
        return []
    return [n for n, text in enumerate(texts) if is_foreign(text, language, share=0.25, min_letters=1)]
