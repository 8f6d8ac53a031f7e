"""English words as the Penn-Treebank tokeniser of the COCO caption tools sees them, without Java.

Behaviour was learnt by asking Stanford's PTBTokenizer 3.4.1 (`-preserveLines -lowerCase`, then the COCO list of
punctuation removed) and writing rules until the answers agreed; `benchmarks/parity_pycocoevalcap.py` counts what is
left. Quirks that are kept because published scores carry them: brackets survive as `-lrb-` … (the removal list is in
upper case, the tokens are not), `!!` and `?!` survive, a word glued to the next by a full stop stays one word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from panoglot.text._letters import same_letters

__all__ = ["PTBTable", "ptb_tokens"]

#: Removed after tokenising, as in the COCO tools.
PUNCTUATION = frozenset(["''", '"', "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

# words that keep their full stop
_ABBREVIATIONS = """
adm al ala apr ariz assn assoc aug ave bldg blvd bros calif capt cmdr co col colo conn corp ct dec dept dr e.g esq est
etc ext feb fla fri ft ga gen gov hon i.e inc ind intl jan jr jul jun kan ky lt ltd maj mar md messrs mich minn mme mon
mont mr mrs ms mt natl nev nov oct okla penn ph.d pres prof rd rep rev sen sep sept sgt sq sr st ste supt tel tenn thu
thurs tue tues univ va vs vt wed wis wyo""".split()
# keep it only before a digit
_BEFORE_DIGITS = ["no", "nos", "fig", "figs", "pp", "op"]

_SPELLING = str.maketrans(
    {
        "\u2018": "`", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": " -- ", "\u2014": " -- ",
        "\u2026": " ... ", "\u20ac": "$", "\u00a3": "#", "\u00bd": " 1/2 ", "\u00bc": " 1/4 ", "\u00be": " 3/4 ",
        "\u00a2": " cents ", "\u00a0": " ", "\u200b": " ", "\u20b9": " ",
    }
)  # fmt: skip
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_SPLIT_WORDS = {
    "cannot": ("can", "not"), "gonna": ("gon", "na"), "wanna": ("wan", "na"), "gotta": ("got", "ta"),
    "gimme": ("gim", "me"), "lemme": ("lem", "me"), "'tis": ("'t", "is"), "'twas": ("'t", "was"),
}  # fmt: skip

_LETTER = r"[^\W\d_]"
_TOKEN = re.compile(
    rf"""
      (?P<keep> https?://[^\s<>"]*[^\s<>",.;:!?)\]] | www\.[^\s<>",]*[^\s<>",.;:!?)\]] | [\w.+-]+@[\w-]+(?:\.[\w-]+)+
        | [@\#](?={_LETTER})\w+ | </?{_LETTER}\w*/?>
        | [:;]-?(?=[()])(?P<smile>[()]) | [:;]-?[dp](?!\w)
        | (?:{_LETTER}\.){{2,}} | (?:{"|".join(map(re.escape, _ABBREVIATIONS))})\.(?!\w) 
        | (?:{"|".join(_BEFORE_DIGITS)})\.(?=\d)
        | '(?:em|n|cause|tis|twas)(?!\w)'? | '\d0s | (?<!\w)(?:ol|y)'(?!\w) | y'(?=all)
        | \.\.\. | --+ | [?!]+ | '' )
    | (?P<number> [-+]?\d+(?:[.,:/\-]\d+)*(?:(?=['’])|(?:-?{_LETTER}[\w-]*)?) )
    | (?P<clitic> '(?:s|m|d|re|ve|ll)(?!\w) | n't(?!\w) )
    | (?P<word> {_LETTER}\w*(?:[-/]\w+|[._]\w+|(?-i:(?<=[A-Z])&[A-Z](?!\w))|'(?={_LETTER})\w+)*(?<!_) )
    | (?P<other> . )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CLITIC = re.compile(r"^(.+?)('(?:s|m|d|re|ve|ll)|n't)$")
_OWN_APOSTROPHE = re.compile(r"^(?:o'\w+|d'\w+|l'\w+|c'mon|ma'am)$")
_GLUED = re.compile(r"^(.+'(?:s|m|d|re|ve|ll))-(.+)$")
_TIME = re.compile(r"^(\d+:\d+)([^\W\d]\w*)$")
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"'}


def _word(word: str) -> list[str]:
    """Split clitics and other apostrophes off one word."""
    if word in _SPLIT_WORDS:
        return list(_SPLIT_WORDS[word])
    if "'" not in word:
        return [word]
    glued = _GLUED.match(word)
    if glued:  # bird's-eye
        return [*_word(glued[1]), *_word(glued[2])]
    found = _CLITIC.match(word)
    if found:
        return [*_word(found[1]), found[2]]
    if _OWN_APOSTROPHE.match(word):
        return [word]
    if "'n'" in word:
        left, _, right = word.partition("'n'")
        return [part for part in (*_word(left), "'n'", *_word(right)) if part]
    return [part for part in word.split("'") if part]


#: Combining marks and Tangut letters that stand for them in the pattern: to the reference a mark is a letter, to
#: Python's `\\w` it is not, and every word of Hindi or Thai would fall apart.
_STAND_INS: dict[int, int] = {}
_MARKS: dict[int, int] = {}


def _stand_in(text: str) -> str:
    for character in text:
        at = ord(character)
        if at not in _STAND_INS and unicodedata.category(character)[0] == "M":
            _STAND_INS[at] = 0x17000 + len(_STAND_INS)
            _MARKS[_STAND_INS[at]] = at
    return text.translate(_STAND_INS)


def ptb_tokens(text: str, punctuation: bool = False) -> list[str]:
    """Tokenise one text (several words or one), lower case; COCO's list of punctuation is removed, or kept.

    >>> " ".join(ptb_tokens("A man doesn't ride his well-worn bike (the dogs' favourite), does he?"))
    "a man does n't ride his well-worn bike -lrb- the dogs favourite -rrb- does he"
    """
    if "&" in text:
        for entity, character in _ENTITIES.items():
            text = text.replace(entity, character)
    plain = text.isascii()
    text = text if plain else _stand_in(same_letters(text.translate(_SPELLING), compatibility=False))
    found: list[str] = []
    for match in _TOKEN.finditer(text):
        token, kind = match[0].lower(), match.lastgroup
        if kind in ("keep", "smile"):
            if token[0] in ":;" and token[-1] in "()":
                token = token[:-1] + _BRACKETS[token[-1]]
            token = "--" if token.startswith("--") else token
            found.extend(_SPLIT_WORDS.get(token, (token,)))
        elif kind == "number":
            time = _TIME.match(token)
            found.extend(time.groups() if time else [token])
        elif kind == "word":
            found.extend(_word(token))
        elif kind == "other":
            if not token.isspace():
                found.append(_BRACKETS.get(token, token))
        else:
            found.append(token)
    found = found if plain else [token.translate(_MARKS) for token in found]
    return found if punctuation else [token for token in found if token not in PUNCTUATION]


class PTBTable(dict[str, list[str]]):
    """Whitespace-separated chunk to tokens, filled as chunks are met: captions repeat a few thousand chunks."""

    def __init__(self, punctuation: bool = False) -> None:
        self._punctuation = punctuation

    def __missing__(self, chunk: str) -> list[str]:
        found = ptb_tokens(chunk, self._punctuation)
        if len(self) < 1_000_000:
            self[chunk] = found
        return found

    def tokenize(self, texts: Sequence[str]) -> list[list[str]]:
        """Tokenise many texts."""
        return [[token for chunk in text.split() for token in self[chunk]] for text in texts]
