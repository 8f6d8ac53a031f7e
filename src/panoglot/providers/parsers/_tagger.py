"""Parts of speech of caption words: closed classes, a dictionary of forms, and the words around.

Tags: `D` determiner, `S` possessive pronoun, `N` noun, `A` adjective, `#` number, `G` -ing form, `E` past participle,
`V` finite verb, `B` form of be, `X` other auxiliary, `P` preposition, `C` and/or, `R` adverb, `O` pronoun, `W`
relative, `'` possessive 's, `T` to before a verb, `.` break.
"""

from __future__ import annotations

from functools import lru_cache

from panoglot.errors import require
from panoglot.providers.parsers import _words as w

__all__ = ["classes", "lemma", "tag_words"]


@lru_cache(maxsize=100_000)
def classes(word: str) -> dict[str, str]:
    """What the dictionary knows of a form: class (NOUN, VERB, ADJ, ADV) to lemma."""
    lemminflect = require("lemminflect", "panoglot[metrics]", "the rule parser")
    return {kind: forms[0] for kind, forms in lemminflect.getAllLemmas(word).items() if forms}


#: Nouns whose lemma the dictionary takes from another word: what is worn in pairs has no singular, leaves are no leave.
_NOUNS = {
    "leaves": "leaf", "shelves": "shelf", "knives": "knife", "scarves": "scarf", "calves": "calf", "hooves": "hoof",
    **{word: word for word in "shorts pants jeans trousers glasses sunglasses goggles scissors tights".split()},
}  # fmt: skip


def lemma(word: str, kind: str) -> str:
    """Lemma of a word of a class; the word itself when the dictionary does not know it.

    >>> lemma("bushes", "NOUN"), lemma("riding", "VERB"), lemma("frisbees", "NOUN"), lemma("people", "NOUN")
    ('bush', 'ride', 'frisbee', 'people')
    """
    known = classes(word)
    if kind == "NOUN" and word in _NOUNS:
        return _NOUNS[word]
    if kind in known:
        return {"men": "man", "women": "woman"}.get(word, known[kind])
    if kind == "NOUN" and len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) and not known:
        return word[:-1]
    return _undo(word) if kind == "VERB" else word


def _undo(word: str) -> str:
    """Base of an unknown verb form."""
    for ending in ("ing", "ed", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            base = word[: -len(ending)]
            return base[:-1] if len(base) > 2 and base[-1] == base[-2] and base[-1] not in "ls" else base
    return word


def _closed(word: str) -> str:
    for tag, words in (
        (".", w.BREAKS), ("B", w.BE), ("D", w.DETERMINERS), ("S", w.POSSESSIVES), ("O", w.PRONOUNS),
        ("C", w.CONJUNCTIONS),
        ("#", w.NUMBERS), ("W", w.RELATIVES),
    ):  # fmt: skip
        if word in words:
            return tag
    return "#" if word.isdigit() else ""


def tag_words(words: list[str]) -> list[str]:
    """Tag the words of one sentence.

    >>> tag_words("a man wearing a white shirt rides his skateboard down the parked cars".split())
    ['D', 'N', 'G', 'D', 'A', 'N', 'V', 'S', 'N', 'P', 'D', 'E', 'N']
    """
    tags: list[str] = []
    for n, word in enumerate(words):
        before = tags[-1] if tags else "."
        following = words[n + 1] if n + 1 < len(words) else "."
        tags.append(_tag(word, before, words[n - 1] if n else ".", following, words[n + 2 : n + 3]))
    return tags


def _starts_noun_phrase(word: str) -> bool:
    return word in w.DETERMINERS or word in w.POSSESSIVES or word in w.NUMBERS or word in w.PRONOUNS


def _may_be_noun(word: str) -> bool:
    known = classes(word)
    return ("NOUN" in known or not known) and not _closed(word) and word not in w.PREPOSITIONS and word not in w.ADVERBS


def _continues(word: str) -> bool:
    """`word` can stand inside a noun phrase, after its first word."""
    return (_may_be_noun(word) or "ADJ" in classes(word)) and not _closed(word)


def _tag(word: str, before: str, previous: str, following: str, after: list[str]) -> str:
    if word in ("'s", "'"):
        # girl 's jacket, but: the cat 's sleeping
        verbal = following.endswith("ing") or _starts_noun_phrase(following) or following in w.PREPOSITIONS
        return "B" if word == "'s" and before in "NO" and verbal else "'"
    if word == "to":
        verb = "VERB" in classes(following) and not _starts_noun_phrase(following) and before in "VGEA"
        return "T" if verb and ("NOUN" not in classes(following) or following in w.VERBS) else "P"
    if word in ("that", "which", "who") and before == "N":
        return "W"
    if word in ("has", "have", "had", "having"):
        return "V"
    closed = _closed(word)
    if closed:
        return closed
    known = classes(word)
    if word == "back" and before in "DSA'":
        return "N"
    if following == "of" and word in ("top", "front", "bottom", "left", "right", "middle", "inside", "outside"):
        return "N"
    if word in w.ADVERBS and not (word in w.PREPOSITIONS and (_starts_noun_phrase(following) or _continues(following))):
        return "A" if word in ("outside", "inside") and before == "D" else "R"
    if word in w.PREPOSITIONS:
        return "P"
    if word in w.COLOURS:
        return "A" if following not in w.BREAKS or before == "B" or before in "A" else ("N" if before in "DS" else "A")
    inside = before in "DSA#'"  # a noun phrase has begun
    ends = following in w.BREAKS or following in w.PREPOSITIONS or _closed(following) in ("C", "B", "W")
    if word.endswith("ing") and (known.get("VERB", word) != word or not known) and len(word) > 4:
        noun = "NOUN" in known and known["NOUN"] == word
        if word in w.ING_NOUNS or (noun and inside and (ends or not _continues(following))):
            return "N"
        if noun and word in w.ING_MODIFIERS and before not in "NOB":
            return "N"
        return "G"
    participle = (
        "VERB" in known and known["VERB"] != word and (word.endswith(("ed", "en", "n", "t")) or "ADJ" not in known)
    )
    if word in w.IRREGULAR_PARTICIPLES and before in "NBRO":
        return "E"
    if participle and not word.endswith("s") and word not in w.VERBS:
        if "NOUN" in known and known["NOUN"] == word and before not in "BN":
            return "N"
        return "E"
    if word in w.VERBS and (before in "NOWRTX" or (before == "C" and not inside)) and not inside:
        if (
            "NOUN" not in known
            or _starts_noun_phrase(following)
            or following in w.PREPOSITIONS
            or ends
            or before in "OWT"
        ):
            return "V"
        if following in w.ADVERBS or following.endswith("ly") or not _may_be_noun(following):
            return "V"
    if "NOUN" in known or not known:
        # a plane sitting on: what looks like its adjective is a verb of its own
        acts = following.endswith("ing") and (not after or not _continues(after[0]) or after[0] in w.PREPOSITIONS)
        if "ADJ" in known and _continues(following) and following not in w.PREPOSITIONS and not acts:
            return "A" if word not in w.NOUNS or before == "R" else "N"
        if (
            "ADJ" in known
            and (before == "B" or (before == "R" and previous not in ("up", "down")))
            and known.get("NOUN") == word
        ):
            return "A"
        if not known and word.endswith(("ed", "y", "ish", "less", "ful", "-colored")) and _continues(following):
            return "A"
        return "N"
    if "ADJ" in known:
        return "N" if before == "N" and ends and word in w.NOUNS else "A"
    if "ADV" in known or word.endswith("ly"):
        return "R"
    if "VERB" in known:
        return "V" if before in "NOWRTXC" else ("E" if known["VERB"] != word else "N")
    return "N"
