"""Small words: by them a short text shows which language it is in, though its names are of another."""

from __future__ import annotations

import re
from functools import lru_cache

from panoglot.languages._tags import base_language

__all__ = ["function_words", "without_names"]

#: Words of closed classes that captions have, by language.
_WORDS = {
    "af": "die 'n het op in met van en is nie wat vir aan by deur onder oor naby",
    "ca": "el la els les un una de del amb i en a que per al sobre és són està hi dels",
    "cs": "a v na s z se je jsou u pod nad před za do od pro který která které jeho",
    "da": "en et den det de på i med og af til er står ved der som over under foran bag en",
    "de": """der die das den dem des ein eine einen einem einer eines und mit auf im am in an vor hinter neben über
        unter zwischen von vom zu zur zum ist sind steht stehen liegt sitzt nicht aus bei durch für als""",
    "en": """the a an of with at on in to and by from under over near is are was behind beside between through along
        its his her for as that this there some two into onto""",
    "es": "el la los las un una unos unas de del con en y por al sobre que se su está hay para entre desde junto",
    "fi": "ja on ovat joka jossa kanssa päällä alla vieressä edessä takana se ne että",
    "fr": """le la les un une des du de dans sur avec et au aux en est sont par pour sous devant derrière qui se son sa
        ses entre près""",
    "hr": "je i na u s sa od do pod nad pred iza koji koja koje se za uz su",
    "hu": "a az egy és van mellett előtt mögött alatt felett között hogy nem ami aki",
    "id": "di dan yang dengan dari ke pada sebuah seekor seorang ini itu adalah untuk atas bawah dalam oleh",
    "it": """il lo la i gli le un uno una di del della dei delle con su sul sulla nel nella in e da al alla che è sono
        per tra davanti""",
    "nl": "de het een en van met op in aan bij voor achter naast onder over tussen is zijn die dat staat ligt",
    "no": "en et ei den det de på i med og av til er står ved som over under foran bak",
    "pl": "i w na z ze do od pod nad przed za obok jest są się który która które dla przy",
    "pt": """o a os as um uma uns umas de do da dos das com em no na nos nas e por ao à sobre que se seu sua está há
        para entre""",
    "ro": "un o și cu pe în la de din lângă sub peste este sunt care se al ale lui pentru",
    "sv": "en ett den det de på i med och av till är står vid som över under framför bakom",
    "sw": """ya wa na kwa katika juu chini ni za la cha vya kando mbele nyuma kwenye hii hiyo yenye mwenye ambayo
        ambaye""",
    "tr": "bir ve ile üzerinde altında yanında önünde arkasında var bu olan için de da",
    "vi": "một và trên dưới trong với của là có đang bên cạnh những các người con cái",
}
_SAME = {"nb": "no", "nn": "no", "bs": "hr", "sr": "hr", "ms": "id"}
#: What stands between the words of a name.
_PARTICLES = "de del della delle dei di da das do dos des du der den von van zu la le las los el al y e bin ibn of the"
_NAME = re.compile(
    rf"(?<!\w)[^\W\d_a-z][\w'’-]*(?:\s+(?:(?:{_PARTICLES.replace(' ', '|')})\s+){{0,2}}[^\W\d_a-z][\w'’-]*)*"
)


def function_words(text: str, tag: str, other: str) -> tuple[int, int] | None:
    """How many small words of a text only one of two languages has.

    Args:
        text: the text; names in it do not count, but for a small word at the beginning.
        tag: a language.
        other: another one.

    Returns:
        Those of `tag`, those of `other`; None where the small words of one of them are not known here.

    >>> function_words("Espresso at Caffè Greco in Rome", "en", "it"), function_words("Ein Hund auf Gras", "en", "de")
    ((1, 0), (0, 2))
    """
    own, others = _known(tag), _known(other)
    if not own or not others:
        return None
    first, _, rest = text.strip().partition(" ")
    said = [first.lower(), *re.findall(r"\w+", without_names(rest).lower())]
    return sum(word in own - others for word in said), sum(word in others - own for word in said)


def without_names(text: str) -> str:
    """Return a text without its runs of words with a capital: of scripts without case nothing goes.

    >>> without_names("A view of Place de la Concorde in Paris"), without_names("كلب على الشاطئ")
    ('view of in', 'كلب على الشاطئ')
    """
    if not any(char.islower() for char in text):
        return text
    return " ".join(_NAME.sub(lambda found: " " if found[0][0].isupper() else found[0], text).split())


@lru_cache(maxsize=64)
def _known(tag: str) -> frozenset[str]:
    base = base_language(tag)
    return frozenset(_WORDS.get(_SAME.get(base, base), "").split())
