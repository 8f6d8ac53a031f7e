"""Instructions taken apart by rules, without a model: add, remove, replace, keep, in seven languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from panoglot.asking import Models
from panoglot.languages import base_language
from panoglot.retrieval._records import Plan, Query, Term
from panoglot.running import method

__all__ = ["Said", "read_instruction", "rules"]


@dataclass(frozen=True)
class Said:
    """What an instruction asks for.

    Attributes:
        wanted: what shall be seen.
        unwanted: what shall not.
        kept: the picture's own look shall stay: "the same, but …".
    """

    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    kept: bool = False


#: By language: patterns of a whole clause, tried in order; `+` what is wanted, `-` what is not.
_CLAUSES: dict[str, tuple[str, ...]] = {
    "en": (
        r"(?:replace|swap|exchange|change|turn) (?P<n>.+?) (?:with|by|for|to|into) (?P<p>.+)",
        r"(?P<p>.+?) (?:instead|in place) of (?P<n>.+)",
        r"instead of (?P<n>.+?),? (?P<p>.+)",
        r"not (?P<n>.+?) but (?P<p>.+)",
        r"(?:without|no|not|minus|remove|delete|drop|take away|take out|there (?:is|are) no) (?P<n>.+)",
        r"(?P<n>.+?) (?:removed|is gone|are gone|is missing|are missing)",
        r"(?:add|with|plus|put in|has|have|there (?:is|are)) (?P<p>.+)",
    ),
    "de": (
        r"(?:ersetze|tausche) (?P<n>.+?) (?:durch|gegen|mit) (?P<p>.+)",
        r"(?P<p>.+?) (?:statt|anstatt|anstelle(?: von)?|an stelle von) (?P<n>.+)",
        r"(?:statt|anstatt|anstelle(?: von)?) (?P<n>.+?),? (?P<p>.+)",
        r"nicht (?P<n>.+?),? sondern (?P<p>.+)",
        r"(?:ohne|kein|keine|keinen|keinem|keiner|nicht|entferne|lösche|nimm) (?P<n>.+?)(?: weg| heraus)?",
        r"füge (?P<p>.+?) hinzu",
        r"(?:mit|dazu|plus) (?P<p>.+)",
    ),
    "es": (
        r"(?:reemplaza|sustituye|cambia) (?P<n>.+?) (?:por|con) (?P<p>.+)",
        r"(?P<p>.+?) en (?:lugar|vez) de (?P<n>.+)",
        r"en (?:lugar|vez) de (?P<n>.+?),? (?P<p>.+)",
        r"no (?P<n>.+?),? sino (?P<p>.+)",
        r"(?:sin|ningún|ninguna|quita|elimina|no hay) (?P<n>.+)",
        r"(?:añade|agrega|con|más) (?P<p>.+)",
    ),
    "zh": (
        r"把(?P<n>.+?)(?:换成|換成|改成|变成|變成)(?P<p>.+)",
        r"用(?P<p>.+?)(?:代替|替换|替換|取代)(?P<n>.+)",
        r"不是(?P<n>.+?)[，,]?而是(?P<p>.+)",
        r"(?:没有|沒有|不要|去掉|去除|无|無|不带|不帶)(?P<n>.+)",
        r"(?:加上|加入|添加|增加|带有|帶有|有)(?P<p>.+)",
    ),
    "ja": (
        r"(?P<n>.+?)(?:の代わりに|のかわりに|ではなく|じゃなく)(?P<p>.+)",
        r"(?P<n>.+?)を(?P<p>.+?)に(?:変えて|かえて|替えて|換えて|して|変更).*",
        r"(?P<n>.+?)(?:なしで|なしの|なし|のない|がない|は要らない|抜き|を除いて|を消して|を取って|を外して).*",
        r"(?P<p>.+?)を(?:加えて|追加して|足して|追加|付けて).*",
        r"(?P<p>.+?)(?:付き|入り|あり)",
    ),
    "ar": (
        r"استبدل (?P<n>.+?) (?:بـ ?|ب)(?P<p>.+)",
        r"(?P<p>.+?) (?:بدلا|بدلاً|عوضا|عوضاً) (?:من|عن) (?P<n>.+)",
        r"(?:بدون|من دون|دون|بلا|من غير|احذف|أزل|لا يوجد|ليس) (?P<n>.+)",
        r"(?:أضف|اضف|مع|زائد) (?P<p>.+)",
    ),
    "hi": (
        r"(?P<n>.+?) (?:की जगह|के बजाय|के स्थान पर) (?P<p>.+)",
        r"(?P<n>.+?) को (?P<p>.+?) (?:से बदलो|से बदलें|में बदलो|में बदलें)",
        r"(?P<n>.+?) (?:के बिना|के बगैर|नहीं|हटाओ|हटाएँ|हटा दो|मत)",
        r"बिना (?P<n>.+?)(?: के)?",
        r"(?P<p>.+?) (?:जोड़ो|जोड़ें|के साथ)",
    ),
}
#: Clauses that say that the picture's look stays.
_KEEP: dict[str, str] = {
    "en": r"(?:the |very |exactly )*(?:same|like (?:this|that|it|these)|as (?:is|it is)|similar"
    r"|keep (?:it|everything|the rest))(?: (?:picture|photo|image|thing|scene|one|style))?",
    "de": r"(?:genau )?(?:das ?gleiche|dasselbe|derselbe|dieselbe|gleich|genauso|so"
    r"|wie (?:dies(?:es|e|er)?|das|hier))(?: bild| foto)?",
    "es": r"(?:exactamente )?(?:lo mismo|el mismo|la misma|igual|como (?:este|esta|esto|eso))(?: imagen| foto)?",
    "zh": r"(?:完全)?(?:和?这个一样|和?這個一樣|一样|一樣|相同|同样|同樣"
    r"|像这个|像這個|和这个一样|同一个)(?:的)?(?:图片|照片|图)?",
    "ja": r"(?:これと)?(?:同じ|同様|そのまま|このような)(?:もの|写真|画像)?",
    "ar": r"(?:نفس (?:الشيء|الصورة|المشهد)|مثل (?:هذا|هذه)|كما هو|نفسه|نفسها)",
    "hi": r"(?:बिल्कुल )?(?:वही|ऐसा ही|इस जैसा|ऐसे ही|समान)(?: चित्र| फ़ोटो| तस्वीर)?",
}
#: Words that lead a clause in and say nothing themselves.
_LEAD: dict[str, str] = {
    "en": r"(?:but|and|or|also|only|just|now|this time|rather|make (?:it|this|him|her|them)|it is|it's|is|are|as|show"
    r"|i want|please)",
    "de": r"(?:aber|und|oder|auch|nur|jetzt|diesmal|jedoch|sondern|doch|als|zeig|bitte|mach (?:es|daraus))",
    "es": r"(?:pero|y|o|también|solo|sólo|ahora|esta vez|sino|como|que sea|es|por favor)",
    "zh": r"(?:但是|但|而且|并且|並且|而|和|也|只|现在|現在|这次|這次|是|换成|換成|变成|變成|要)",
    "ja": r"(?:でも|しかし|ただし|ただ|だけど|けど|そして|また|で|が)",
    "ar": r"(?:ولكن|لكن|و(?= )|أو|أيضا|أيضًا|فقط|الآن|هذه المرة|إنما)",
    "hi": r"(?:लेकिन|मगर|पर|और|या|भी|केवल|सिर्फ|अब|इस बार|परंतु)",
}
#: Where one clause ends and the next begins: before a word that says what is not wanted, or another clause.
_CUT = re.compile(
    r"[,;.!?、，；。！？،؛।]+\s*|\s+(?=but\b|without\b|aber\b|ohne\b|sondern\b(?<!nicht)|pero\b|sin\b|sino\b)"
    r"|(?<=\S)(?=但是?|没有|沒有|不要)"
    r"|\s+(?:and|und|y)\s+(?=(?:without|with|no|at|in|add|remove|ohne|mit|kein\w*|bei|sin|con)\b)"
    r"|\s+(?=لكن|ولكن|بدون|بلا|من دون)|\s+و\s*(?=بدون|بلا|مع)"
    r"|\s+और\s+(?=बिना)|\s+(?=लेकिन)|(?<=\S)(?=でも|だけど|けど|ただし)"
)
_ARTICLES = re.compile(r"^(?:any|the|a|an|some|der|die|das|den|dem|ein|eine|einen|einem|el|la|los|las|un|una)\s+", re.I)


def _clauses(text: str) -> Iterator[str]:
    for clause in _CUT.split(text):
        if clause and (bare := clause.strip(" \t\n\"'“”")):
            yield bare


def read_instruction(text: str, lang: str = "und") -> Said:
    """Take an instruction apart.

    >>> read_instruction("the same, but at night and without people")
    Said(wanted=('at night',), unwanted=('people',), kept=True)
    >>> read_instruction("ersetze den Hund durch eine Katze")
    Said(wanted=('eine Katze',), unwanted=('Hund',), kept=False)
    >>> read_instruction("没有人的海滩"), read_instruction("but a bird").wanted
    (Said(wanted=(), unwanted=('人的海滩',), kept=False), ('a bird',))

    Args:
        text: the instruction.
        lang: its language; without it all that are known are tried.
    """
    base = base_language(lang)
    langs = [base] if base in _CLAUSES else list(_CLAUSES)
    wanted: dict[str, None] = {}
    unwanted: dict[str, None] = {}
    kept = False
    whole = _match(text.strip(" .!?。"), langs, twosided=True)
    for clause in [text.strip()] if whole else _clauses(text):
        bare = _led(clause, langs)
        if not bare:
            continue
        if any(re.fullmatch(_KEEP[one], form, re.I) for one in langs for form in (clause, bare)):
            kept = True
            continue
        found = whole or _match(bare, langs)
        if found is None:
            wanted[bare] = None
            continue
        plus, minus = found
        if plus:
            wanted[_led(plus, langs) or plus] = None
        if minus:
            unwanted[_bare(minus)] = None
    return Said(tuple(wanted), tuple(word for word in unwanted if word not in wanted), kept)


def _match(clause: str, langs: list[str], *, twosided: bool = False) -> tuple[str, str] | None:
    for lang in langs:
        for pattern in _CLAUSES[lang]:
            if twosided and not ("(?P<n>" in pattern and "(?P<p>" in pattern):
                continue
            if found := re.fullmatch(pattern, clause, re.I):
                groups = found.groupdict()
                return (groups.get("p") or "").strip(), (groups.get("n") or "").strip()
    return None


def _led(clause: str, langs: list[str]) -> str:
    """A clause without the words that lead it in."""
    while True:
        for lang in langs:
            close = lang in ("zh", "ja")
            found = re.match(_LEAD[lang] + ("" if close else r"(?:\s+|$)"), clause, re.I)
            if found:
                clause = clause[found.end() :].strip()
                break
        else:
            return clause.strip()


def _bare(text: str) -> str:
    return _ARTICLES.sub("", text.strip()) or text.strip()


@method(verb="search", unit="query", name="rules")
async def rules(query: Query, m: Models, *, picture: float = 0.3, kept: float = 0.6, without: float = 0.2) -> Plan:
    """Take the instruction apart by rules: what to add, remove, replace, keep; no model is asked.

    Args:
        query: the query.
        m: no models.
        picture: weight of the reference when something else is wanted: it says what to choose among what fits.
        kept: its weight when its look shall stay ("the same, but …").
        without: weight of all that shall not be seen together.
    """
    explain: list[str] = []
    wanted: list[Term] = []
    unwanted: list[Term] = []
    stays = False
    for part in query.parts:
        if part.kind != "text":
            continue
        said = read_instruction(part.value, query.lang)
        stays = stays or said.kept
        wanted += [Term("text", text, part.weight, "wanted") for text in said.wanted]
        unwanted += [Term("text", text, without * part.weight, "not wanted") for text in said.unwanted]
        explain += [f"wanted: {text}" for text in said.wanted] + [f"not wanted: {text}" for text in said.unwanted]
    wanted = [Term("text", t.value, t.weight / len(wanted), t.source) for t in wanted]
    unwanted = [Term("text", t.value, t.weight / len(unwanted), t.source) for t in unwanted]
    share = kept if stays or not wanted else picture
    images = [Term("image", value, share, "reference") for value in query.images]
    if images:
        explain.append("the picture's look stays" if stays else "among what fits, what is like the picture")
    if not wanted and not images:  # "without people" alone: the nearest words to search with are its own
        texts = [part for part in query.parts if part.kind == "text"]
        wanted = [Term("text", part.value, part.weight, "query") for part in texts]
        unwanted = []
        explain.append("nothing but what is not wanted: searched as it stands")
    terms = (*wanted, *images)
    return Plan(
        terms, tuple(unwanted), explain=tuple(explain), preset="rules", normalise=len(terms) + len(unwanted) > 1
    )
