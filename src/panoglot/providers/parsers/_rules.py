"""The default parser: English captions to scene graphs by rules, without a network or a trained model.

Words are tagged by a dictionary and their neighbours, noun phrases become objects with attributes, and what stands
between two noun phrases becomes the relation. Conventions are those of FACTUAL (Li et al., ACL Findings 2023): lemmas,
"X of Y" is (Y, have, X), numbers are digits, "man in a shirt" wears it. The style `spice` has the conventions of
SPICE's parser instead (Schuster et al., 2015): "X of Y" is (X, of, Y), also in "on the side of Y"; nouns before a noun
and numbers are attributes, as they are written; prepositions and passives stay as they are. How good it is:
`benchmarks/bench_parser.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from panoglot.errors import RowError, UserError, did_you_mean, require_later
from panoglot.providers.parsers import _words as w
from panoglot.providers.parsers._tagger import lemma, tag_words
from panoglot.providers.roles import SceneGraph

__all__ = ["RuleParser", "noun_lemmas"]

_TOKEN = re.compile(r"'s\b|n't\b|\w+(?:[-/]\w+)*(?=n't\b)|[^\W_]+(?:[-/][^\W_]+)*|'(?=\s|$)|[.,;:!?()&]")
_PHRASES = sorted(((phrase.split(), written) for phrase, written in w.PHRASES.items()), key=lambda pair: -len(pair[0]))
#: Those that SPICE's parser reads as one preposition too; in the others a side, top or front is a thing.
_SPICE_PHRASES = [
    pair for pair in _PHRASES if pair[0][-1] != "of" or (len(pair[0]) == 2 and pair[0][0] in w.PREPOSITIONS)
]
STYLES = ("factual", "spice")


@dataclass
class _Thing:
    """A noun phrase."""

    name: str
    attributes: list[str] = field(default_factory=list)
    person: bool = False


@dataclass
class _Piece:
    """What a sentence is made of: a thing, a verb, a preposition, and what separates them."""

    kind: str  # thing, verb, passive, prep, and, be, break, that, adjective, pronoun
    thing: _Thing | None = None
    word: str = ""
    form: str = ""


class RuleParser:
    """Parse English captions by rules.

    Args:
        style: conventions of the graphs: `factual` (FACTUAL's data) or `spice` (SPICE's parser).

    >>> RuleParser("spice").parse(["two men on the side of a brick building"])[0].relations
    (('man', 'on', 'side'), ('side', 'of', 'building'))
    >>> RuleParser().parse(["two men in red shirts are riding the horse's brown back"])[0].relations
    (('man', 'wear', 'shirt'), ('man', 'ride', 'back'), ('horse', 'have', 'back'))
    """

    name = "embedded:parser"
    batch_size = 1024

    def __init__(self, style: str = "factual") -> None:
        if style not in STYLES:
            raise UserError(f"the rule parser has no style '{style}'.{did_you_mean(style, STYLES)}")
        require_later("lemminflect", "panoglot[metrics]", "the rule parser")  # before anything is asked of others
        self.style = style
        self.fingerprint = "rule-parser-2" + ("" if style == "factual" else f"-{style}")

    def parse(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> list[SceneGraph | RowError]:
        """Parse captions into scene graphs; other languages than English are refused, row by row."""
        found: list[SceneGraph | RowError] = []
        for n, text in enumerate(texts):
            language = langs[n] if langs is not None else "en"
            if language.split("-")[0] not in ("en", "und"):
                found.append(RowError("unsupported_language", f"the rule parser reads English, not '{language}'"))
            else:
                found.append(parse_caption(text, self.style == "spice"))
        return found


def parse_caption(text: str, spice: bool = False) -> SceneGraph:
    """Parse one caption (any number of sentences)."""
    words = _TOKEN.findall(text.lower().replace("’", "'"))
    pieces = _pieces(words, tag_words(words), spice)
    reader = _Reader(spice)
    reader.read(pieces)
    return reader.graph()


def noun_lemmas(text: str) -> frozenset[str]:
    """The lemmas of all nouns of an English text, of the parts of hyphenated ones too.

    >>> sorted(noun_lemmas("Two men ride their horses. The ride is long."))
    ['horse', 'man', 'ride']
    """
    words = _TOKEN.findall(text.lower().replace("’", "'"))
    nouns = {word for word, tag in zip(words, tag_words(words)) if tag == "N"}
    return frozenset(lemma(one, "NOUN") for word in nouns for one in (word, *re.split("[-/]", word)) if one)


def _pieces(words: list[str], tags: list[str], spice: bool = False) -> list[_Piece]:
    found: list[_Piece] = []
    at = 0
    while at < len(words):
        phrase = next((p for p in (_SPICE_PHRASES if spice else _PHRASES) if words[at : at + len(p[0])] == p[0]), None)
        after = at + len(phrase[0]) if phrase else at
        # "on top of" needs something after it; "with board on top" does not reach here
        if phrase and after < len(words) and tags[after] not in ".B":
            kind = "and" if phrase[1] == "and" else "prep"
            found.append(_Piece(kind, word=phrase[1]))
            at = after
            continue
        tag = tags[at]
        if tag in "DSNA#GE'" and (end := _noun_phrase(tags, words, at)):
            _things(found, words[at:end], tags[at:end], spice)
            at = end
            continue
        word = words[at]
        if tag == "A" or (tag == "N"):
            found.append(_Piece("adjective", word=word))
        elif tag == "G":
            found.append(_Piece("verb", word=_verb_lemma(word, spice), form=word))
        elif tag == "E":
            found.append(_Piece("passive", word=_verb_lemma(word, spice), form=word))
        elif tag == "V":
            found.append(_Piece("verb", word="have" if word in ("has", "had", "having") else _verb_lemma(word, spice)))
        elif tag == "P":
            found.append(_Piece("prep", word=word if spice else w.SAME_PREPOSITION.get(word, word)))
        elif tag in "C.WBO":
            kinds = {"C": "and", ".": "break", "W": "that", "B": "be", "O": "pronoun"}
            found.append(_Piece("comma" if word == "," else kinds[tag], word=word))
        elif tag == "R" and word in ("up", "down", "out", "off", "away", "back") and found and found[-1].kind == "verb":
            found[-1].word += f" {word}"
        at += 1
    return found


def _verb_lemma(word: str, spice: bool = False) -> str:
    found = lemma(word, "VERB")
    return found if spice else w.SAME_VERB.get(found, found)


def _noun_phrase(tags: list[str], words: list[str], at: int) -> int:
    """End of the noun phrase that begins at `at`, or 0 when none does."""
    begun = tags[at] in "DS#A"
    end, head, n = at, 0, at
    while n < len(words):
        tag = tags[n]
        if tag in "DS" and n > at and not (tags[n - 1] == "D" or words[n - 1] in ("all", "both")):
            break
        if tag == "N":
            head = end = n + 1
        elif tag == "A" or tag == "#" or tag in "DS":
            pass
        elif tag in "GE":
            # a smiling man, the parked car: between the start of the phrase and its noun
            if head or not (begun or n == at) or n + 1 >= len(tags) or tags[n + 1] not in "NAGE":
                break
            if n == at and at > 0 and tags[at - 1] in "NBO'":
                break
        elif tag == "C" and not head and n > at and n + 1 < len(tags) and tags[n - 1] == "A" and tags[n + 1] in "AN":
            pass  # black and white cat
        elif tag == "'" and head:
            head = 0
            begun = True
        elif tag == "R" and not head and n + 1 < len(tags) and tags[n + 1] in "AE":
            pass
        elif (
            words[n] == "," and not head and n > at and tags[n - 1] == "A" and n + 1 < len(tags) and tags[n + 1] == "A"
        ):
            pass  # big, red ball
        else:
            break
        n += 1
    return end if end > at else 0


def _things(found: list[_Piece], words: list[str], tags: list[str], spice: bool = False) -> None:
    """Append the things of one noun phrase; a possessor gets (owner, have, owned)."""
    if "'" in tags:
        cut = len(tags) - 1 - tags[::-1].index("'")
        _things(found, words[:cut], tags[:cut], spice)
        if cut + 1 >= len(words) or not found or found[-1].kind != "thing":
            return
        owner = found.pop()
        _things(found, words[cut + 1 :], tags[cut + 1 :], spice)
        if found and found[-1].kind == "thing":
            found[-1].word = "owned"
            found.insert(len(found) - 1, _Piece("owner", owner.thing))
        else:
            found.append(owner)
        return
    last = max((n for n, tag in enumerate(tags) if tag == "N"), default=-1)
    if last < 0:
        return
    head = lemma(words[last], "NOUN")
    attributes: list[str] = []
    name = [head]
    shade = ""
    if last and f"{words[last - 1]} {words[last]}" in w.COMPOUNDS:
        name, last = [words[last - 1], head], last - 1
    for n, (word, tag) in enumerate(zip(words[:last], tags[:last])):
        if tag == "#":
            attributes.append(word if spice else w.NUMBERS.get(word, word))
        elif tag in "AE":
            if (
                word in ("light", "dark", "bright", "lighter", "darker")
                and tags[n + 1] == "A"
                and words[n + 1] in w.COLOURS
            ):
                shade = f"{word} "
                continue
            attributes.append(shade + word)
            shade = ""
        elif tag == "G":
            attributes.append(word)
        elif tag == "N":
            if f"{word} {words[n + 1]}" in w.COMPOUNDS:  # ice cream cone
                name[-1:-1] = [word, words[n + 1]]
            elif n and f"{words[n - 1]} {word}" in w.COMPOUNDS:
                pass
            elif word in w.ATTRIBUTIVE or lemma(word, "NOUN") in w.ATTRIBUTIVE:
                attributes.append(word)
            else:
                name.insert(len(name) - 1, word)
    if spice:
        attributes = [part for one in [*attributes, *name[:-1]] for part in one.split()]
        name = name[-1:]
    found.append(_Piece("thing", _Thing(" ".join(name), attributes, words[last] in w.PEOPLE or head in w.PEOPLE)))


class _Reader:
    """Reads pieces from left to right and writes down who does what."""

    def __init__(self, spice: bool = False) -> None:
        self.spice = spice
        self.things: list[_Thing] = []
        self.attributes: list[tuple[_Thing, str]] = []
        self.relations: list[tuple[_Thing, str, _Thing]] = []
        self.subjects: list[_Thing] = []  # who the next verb is about
        self.near: list[_Thing] = []  # what the next preposition is about
        self.verb: tuple[str, bool] | None = None
        self.prep = ""
        self.joined = False
        self.acted = ""  # verb of the last relation when it took a plain object
        self.last: tuple[list[_Thing], str, bool] | None = None  # (subjects, relation, turned) of the last thing

    def graph(self) -> SceneGraph:
        """What was read, without repetition."""
        pairs = [(thing.name, word) for thing in self.things for word in thing.attributes]
        pairs += [(thing.name, word) for thing, word in self.attributes]
        rows = [(a.name, verb, b.name) for a, verb, b in self.relations]
        return SceneGraph(
            objects=tuple(dict.fromkeys(thing.name for thing in self.things)),
            attributes=tuple(dict.fromkeys(pairs)),
            relations=tuple(dict.fromkeys(rows)),
        )

    def read(self, pieces: list[_Piece]) -> None:
        """Read one caption."""
        n = 0
        while n < len(pieces):
            piece = pieces[n]
            following = pieces[n + 1] if n + 1 < len(pieces) else None
            if piece.kind == "thing" and piece.thing is not None:
                whole = self._of(pieces, n)
                if whole is not None:
                    n = whole
                    continue
                self._thing(piece.thing)
            elif piece.kind == "owner" and piece.thing is not None and following and following.thing:
                self._thing(following.thing)
                self.things.append(piece.thing)
                self.relations.append((piece.thing, "have", following.thing))
                n += 1
            elif piece.kind in ("verb", "passive"):
                self._verb(piece, following)
            elif piece.kind == "prep":
                self.prep = piece.word
                self.joined = False
            elif piece.kind in ("and", "comma"):
                self.joined = True
            elif piece.kind == "pronoun":
                self._pronoun(piece.word)
            elif piece.kind == "adjective":
                self._adjective(piece.word)
            elif piece.kind == "that":
                self.subjects = list(self.near)
                self.verb, self.prep, self.joined = None, "", False
            elif piece.kind == "break":
                self._end()
            n += 1
        self._end()

    def _of(self, pieces: list[_Piece], n: int) -> int | None:
        """Read "X of Y": quantities become attributes, parts are had. Returns where to go on."""
        if n + 2 >= len(pieces) or pieces[n + 1].word != "of" or pieces[n + 2].kind != "thing":
            return None
        part, whole = pieces[n].thing, pieces[n + 2].thing
        if part is None or whole is None:
            return None
        if self.spice:
            self._thing(part)
            self.things.append(whole)
            self.relations.append((part, "of", whole))
            return n + 3
        if part.name in w.PICTURE:
            self.prep = ""
            return n + 2
        if part.name in w.QUANTITIES or f"{part.name}s" in w.QUANTITIES:
            if part.name in w.KEPT_QUANTITIES:
                word = {"couple": "2", "pair": "pair of"}.get(part.name, f"{part.name} of")
                whole.attributes = [*whole.attributes, word]
            whole.attributes = [*part.attributes, *whole.attributes]
            return n + 2
        self._thing(part)
        self.things.append(whole)
        self.relations.append((whole, "have", part))
        self.near = [whole] if self.last else [part]
        return n + 3

    def _thing(self, thing: _Thing) -> None:
        if thing.name in ("one", "other") and self.things:  # the black one
            thing.name = self.things[-1].name
        self.things.append(thing)
        if thing.name == "color" and self.prep == "in":  # the sky is white in color
            self.things.pop()
        elif self.prep in w.TRANSFER and self.verb is None and self.acted and self.last:
            self._relate(self.last[0], f"{self.acted} {self.prep}", thing, False)
        elif self.prep and self.verb is None and self.near:
            word = self.prep
            if (
                not self.spice
                and word in ("in", "with")
                and lemma(thing.name.split()[-1], "NOUN") in w.CLOTHES
                and self.near[-1].person
            ):
                word = "wear"
            self._relate(self.near, word, thing, False)
        elif self.verb is not None and self.subjects:
            verb, passive = self.verb
            if self.spice:
                self._relate(self.subjects, f"{verb} {self.prep}".strip(), thing, False)
                self.acted = "" if self.prep or passive else verb
            elif (passive and self.prep == "by" and verb in w.AGENT_VERBS) or (
                passive and self.prep in ("in", "with", "by") and verb in ("cover", "surround")
            ):
                self._relate(self.subjects, verb, thing, True)
            else:
                self._relate(self.subjects, f"{verb} {self.prep}".strip(), thing, False)
                self.acted = "" if self.prep or passive else verb
        elif self.joined and self.last is not None:
            subjects, word, turned = self.last
            self._relate(subjects, word, thing, turned)
            self.near = [*self.near[:-1], thing]
        elif self.joined and self.near:
            self.subjects = [*self.subjects, thing]
            self.near = list(self.subjects)
        else:
            self.subjects, self.near, self.last = [thing], [thing], None
        self.verb, self.prep, self.joined = None, "", False

    def _relate(self, subjects: list[_Thing], word: str, thing: _Thing, turned: bool) -> None:
        for subject in subjects:
            self.relations.append((thing, word, subject) if turned else (subject, word, thing))
        self.last = (list(subjects), word, turned)
        self.near, self.acted = [thing], ""

    def _pronoun(self, word: str) -> None:
        """A bowl with flowers in it: the flowers are in the bowl."""
        if word in ("it", "them") and self.prep and self.verb is None and self.last and self.relations:
            subjects, link, turned = self.last
            if not turned and link in ("with", "have", "wear") and len(subjects) == 1:
                for n, (owner, relation, thing) in enumerate(self.relations):
                    if owner is subjects[0] and relation == link:
                        self.relations[n] = (thing, self.prep, owner)
                self.near = list(subjects)
        self.prep = ""

    def _verb(self, piece: _Piece, following: _Piece | None) -> None:
        bare = following is None or following.kind in ("break", "and", "comma", "that", "be", "verb", "passive")
        if bare and self.near and piece.form:
            for owner in self.subjects or self.near[-1:]:
                self.attributes.append((owner, piece.form))
        if not self.subjects:
            self.subjects = list(self.near)
        self.verb, self.prep, self.joined = (piece.word, piece.kind == "passive"), "", False

    def _adjective(self, word: str) -> None:
        for thing in self.subjects or self.near:
            self.attributes.append((thing, word))
        self.joined = False

    def _end(self) -> None:
        self.subjects, self.near, self.verb, self.prep, self.joined, self.last = [], [], None, "", False, None
