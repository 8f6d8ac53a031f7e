"""What a caption claims: its sentences, clauses and statements, each with its place in the text, in any script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from panoglot.checks import check_option
from panoglot.providers.roles import SceneGraph
from panoglot.text import is_spaceless, split_sentences

__all__ = ["UNITS", "Claim", "assertions", "concrete", "join_sentences", "joined", "read_lines", "split_claims"]

#: What a caption can be split into.
UNITS = ("sentence", "clause", "statement")
#: Commas of many scripts; one between digits separates nothing.
_COMMA = re.compile(r"(?<!\d)\s*[,;]\s*|\s*[,;]\s*(?!\d)|\s*[，、；،؛፣]\s*")
#: What begins a clause that says nothing without the one before it.
_RELATIVE = re.compile(
    r"(?:which|who|whom|whose|where|that|both|each|all of|der|die|das|dessen|deren|wobei|qui|que|dont|où|cuyo|donde|il"
    r" quale|el cual|ambos)\b|الذي|التي|जो|जिस|ซึ่ง|ที่",
    re.I,
)
#: Nouns of captions that no detector can find.
_NO_OBJECTS = frozenset(
    """top bottom left right centre center middle side corner edge front back foreground background part area distance
    image picture photo photograph scene view shot composition frame angle perspective atmosphere mood style detail
    colour color light lighting shadow time day night way kind type number group variety""".split()
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A piece of a caption that can be true or false by itself.

    Attributes:
        text: the piece, without the mark that ends it when it is a clause.
        start: where it begins in the caption, in characters.
        end: where it ends.
        sentence: number of its sentence, from 0.
    """

    text: str
    start: int
    end: int
    sentence: int


def split_claims(text: str, unit: str = "sentence") -> list[Claim]:
    """Split a caption into its claims, in order; together they hold every word of it, those after the last stop too.

    Thai and its neighbours write no sentence marks and set a space between sentences: they are split there.

    Args:
        text: the caption.
        unit: `sentence`; `clause` cuts at commas too; `statement` is a clause together with what only qualifies it
            ("…, which is red").

    >>> [claim.text for claim in split_claims("A dog sits, perhaps waiting. A kite flies", "clause")]
    ['A dog sits', 'perhaps waiting', 'A kite flies']
    >>> [claim.text for claim in split_claims("A car, which is red, and 1,200 birds.", "statement")]
    ['A car, which is red', 'and 1,200 birds']
    >>> [claim.text for claim in split_claims("สุนัขวิ่ง แมวนอน")]
    ['สุนัขวิ่ง', 'แมวนอน']
    """
    check_option("unit", unit, UNITS)
    found: list[Claim] = []
    at = 0
    for number, sentence in enumerate(_sentences(text)):
        start, at = _place(text, sentence.split(), at)
        if unit == "sentence":
            found.append(Claim(text[start:at], start, at, number))
            continue
        for first, last in _clauses(text, start, at):
            goes_on = unit == "statement" and found and found[-1].sentence == number
            if goes_on and _RELATIVE.match(text[first:last]):
                before = found.pop()
                found.append(Claim(text[before.start : last], before.start, last, number))
            else:
                found.append(Claim(text[first:last], first, last, number))
    return found


def _place(text: str, words: list[str], at: int) -> tuple[int, int]:
    """Where some words stand one after the other, whatever white space is between them."""
    while True:
        start = end = text.index(words[0], at)
        for word in words:
            while text[end : end + 1].isspace():
                end += 1
            if not text.startswith(word, end):
                break
            end += len(word)
        else:
            return start, end
        at = start + 1


def _sentences(text: str) -> list[str]:
    sentences = split_sentences(text)
    return [
        part
        for sentence in sentences
        for part in (sentence.split() if is_spaceless(sentence) and not _marked(sentence) else [sentence])
    ]


def _marked(text: str) -> bool:
    """Whether a text of a script without spaces has marks of its own."""
    return re.search(r"[。！？，、；：]", text) is not None


def _clauses(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Spans between commas, without the stop at the end."""
    while end > start and text[end - 1] in ".!?。！？।॥؟۔":
        end -= 1
    spans: list[tuple[int, int]] = []
    at = start
    for comma in [*_COMMA.finditer(text, start, end), None]:
        last = comma.start() if comma else end
        if any(map(str.isalnum, text[at:last])):
            spans.append((at, last))
        at = comma.end() if comma else end
    return spans


def joined(text: str, claims: list[Claim]) -> list[str]:
    """Return the sentences that some claims of a caption make up, clauses of one sentence with commas between them.

    >>> text = "A dog sits, perhaps waiting, on grass. The sky is blue."
    >>> joined(text, [claim for claim in split_claims(text, "clause") if "perhaps" not in claim.text][:2])
    ['A dog sits, on grass.']
    """
    sentences: dict[int, list[Claim]] = {}
    for claim in claims:
        sentences.setdefault(claim.sentence, []).append(claim)
    return [_finished(text, kept) for kept in sentences.values()]


def _finished(text: str, kept: list[Claim]) -> str:
    comma = "、" if re.search(r"[ぁ-ヿ]", text) else "，" if is_spaceless(text) and _marked(text) else ", "
    if any(c in "،؛" for c in text):
        comma = "، "
    said = comma.join(claim.text for claim in kept)
    rest = re.match(r"[^\n.!?。！？।॥؟۔]*([.!?。！？।॥؟۔]*)", text[kept[-1].end :])
    mark = rest.group(1)[:1] if rest else ""
    return said if not mark or said.endswith(mark) else said + mark


def concrete(graph: SceneGraph | None) -> list[str]:
    """The objects of a caption that can be looked for: not its places, and not the picture itself.

    >>> concrete(SceneGraph(("cat", "top", "photo", "left")))
    ['cat']
    """
    return [name for name in (graph.objects if graph else ()) if name not in _NO_OBJECTS]


def join_sentences(sentences: Sequence[str]) -> str:
    """Return sentences as one text: with spaces between them, but for those of Chinese and Japanese marks.

    >>> join_sentences(["一只猫。", "一盏灯。"]), join_sentences(["สุนัขวิ่ง", "แมวนอน"]), join_sentences(["A.", "", "B."])
    ('一只猫。一盏灯。', 'สุนัขวิ่ง แมวนอน', 'A. B.')
    """
    said = [sentence.strip() for sentence in sentences if sentence.strip()]
    return "".join(s if s.endswith(("。", "！", "？")) else s + " " for s in said).strip()


def read_lines(text: str, prefix: str = "") -> list[str]:
    """Read what a language model listed, one a line: numbers and bullets go, so do lines of chat and repetitions.

    Args:
        text: the answer.
        prefix: what every line must begin with; a line that the model did not finish has no full stop and is none
            then. Empty takes any line.

    >>> read_lines("Sure:\\n- Describe more details about the dog.\\nDescribe more details about the", "Describe")
    ['Describe more details about the dog.']
    >>> read_lines("1. a dog\\n2. A dog\\n3) red ball.")
    ['a dog', 'red ball']
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        line = re.sub(r"^\s*(?:[-*•]|\(?\d{1,3}[.)])\s*", "", line).strip()
        if prefix:
            line, stop, _ = line.partition(".")
            if not line.startswith(prefix) or not stop:
                continue
            line += "."
        else:
            line = line.rstrip(".。 ")
        if line and not line.endswith(":"):
            found.setdefault(line.casefold(), line)
    return list(found.values())


def assertions(graph: SceneGraph) -> int:
    """Count the checkable statements of a scene graph: objects, attributes and relations (Revisit's richness).

    >>> assertions(SceneGraph(("car",), (), ()))
    1
    """
    return len(graph.objects) + len(graph.attributes) + len(graph.relations)
