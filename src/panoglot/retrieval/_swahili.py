"""Swahili nouns in the singular: prefixes of the noun classes in pairs, and the few nouns that follow none."""

from __future__ import annotations

__all__ = ["singulars"]

#: Prefix of a plural, and those of its singular; before a vowel first, for there they differ.
_PAIRS = (
    ("vya", ("cha",)), ("vyo", ("cho",)), ("vyu", ("chu",)), ("vye", ("che",)), ("vi", ("ki",)),
    ("wa", ("m", "mwa")), ("we", ("mwe",)), ("mia", ("mwa",)), ("mie", ("mwe",)), ("mii", ("mwi",)), ("mi", ("m",)),
    ("ma", ("", "ji")),
)  # fmt: skip
#: Plurals that no pair tells, of the classes u- and others.
_OWN = {
    "wanawake": "mwanamke", "wanaume": "mwanaume", "wezi": "mwizi", "meno": "jino", "mambo": "jambo", "meko": "jiko",
    "majina": "jina", "kuta": "ukuta", "nyuso": "uso", "funguo": "ufunguo", "mbao": "ubao", "ndimi": "ulimi",
    "nyimbo": "wimbo", "kurasa": "ukurasa", "nywele": "unywele", "nyuzi": "uzi", "kucha": "ukucha", "fagio": "ufagio",
    "viwanja": "uwanja", "manyoya": "unyoya", "nyayo": "unyayo", "mbavu": "ubavu", "panga": "upanga",
    "pande": "upande", "nyufa": "ufa", "ndevu": "udevu", "nyaraka": "waraka",
}  # fmt: skip
#: Words that begin so and are no plurals: of time and place, whose, which, and nouns of one form.
_NONE = frozenset(
    "wake wako wangu wetu wenu wao wote wala wapi wakati wazi wali waya mama mali maji mahali maisha mapema maana "
    "madini mahindi maalum makini maarufu maili maoni mashariki magharibi mashua mara masika makala malaika mashine "
    "maziwa mapenzi vita vile vizuri vipi vingine mimi mia miongoni milele mingi michache wengi wachache mawili wawili "
    "viwili miwili matatu watatu vitatu mitatu".split()
)


def singulars(word: str) -> list[str]:
    """The singulars that a noun (or an adjective that goes with it) may be the plural of; it may be none.

    >>> singulars("watoto"), singulars("vitabu"), singulars("miti"), singulars("ndege"), singulars("mahali")
    (['mtoto', 'mwatoto'], ['kitabu'], ['mti'], [], [])
    """
    if word in _OWN:
        return [_OWN[word]]
    if word in _NONE or not word.isascii():
        return []
    for plural, ones in _PAIRS:
        rest = word.removeprefix(plural)
        if rest != word and len(rest) >= (2 if plural in ("wa", "we", "mi", "vi", "ma") else 1):
            return [one + rest for one in ones if len(one + rest) > 1]
    return []
