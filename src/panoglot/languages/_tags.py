"""Language tags: one canonical BCP-47 form everywhere."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from panoglot.errors import UserError

__all__ = [
    "UNKNOWN_LANGUAGE",
    "base_language",
    "canonical_language",
    "language_in_name",
    "language_name",
    "parse_language",
    "parsed",
]

#: BCP-47's own tag for "undetermined".
UNKNOWN_LANGUAGE = "und"

#: English names of the languages most often met; `langcodes` knows them all where `language_data` is installed.
_NAMES = {"zh-Hans": "Chinese (Simplified)", "zh-Hant": "Chinese (Traditional)"} | {
    tag: name.replace("_", " ")
    for tag, name in (
        pair.split("=")
        for pair in """
ach=Acholi af=Afrikaans ak=Akan am=Amharic an=Aragonese ar=Arabic as=Assamese ast=Asturian az=Azerbaijani ba=Bashkir
be=Belarusian bg=Bulgarian bho=Bhojpuri bm=Bambara bn=Bengali bo=Tibetan br=Breton bs=Bosnian ca=Catalan ceb=Cebuano
ckb=Central_Kurdish co=Corsican cs=Czech cv=Chuvash cy=Welsh da=Danish de=German dv=Divehi dz=Dzongkha ee=Ewe el=Greek
en=English eo=Esperanto es=Spanish et=Estonian eu=Basque fa=Persian ff=Fulah fi=Finnish fil=Filipino fo=Faroese
fr=French fur=Friulian fy=Frisian ga=Irish gd=Scottish_Gaelic gl=Galician gn=Guarani gu=Gujarati ha=Hausa haw=Hawaiian
he=Hebrew hi=Hindi hr=Croatian ht=Haitian_Creole hu=Hungarian hy=Armenian id=Indonesian ig=Igbo ilo=Iloko is=Icelandic
it=Italian iu=Inuktitut ja=Japanese jv=Javanese ka=Georgian kab=Kabyle kk=Kazakh km=Khmer kn=Kannada ko=Korean
kok=Konkani ks=Kashmiri ku=Kurdish ky=Kyrgyz la=Latin lb=Luxembourgish lg=Ganda ln=Lingala lo=Lao lt=Lithuanian
lv=Latvian mai=Maithili mg=Malagasy mi=Maori mk=Macedonian ml=Malayalam mn=Mongolian mni=Manipuri mr=Marathi ms=Malay
mt=Maltese my=Burmese nb=Norwegian_Bokmål ne=Nepali nl=Dutch nn=Norwegian_Nynorsk no=Norwegian nqo=N’Ko
nso=Northern_Sotho ny=Chichewa oc=Occitan om=Oromo or=Odia pa=Punjabi pl=Polish ps=Pashto pt=Portuguese qu=Quechua
rm=Romansh rn=Rundi ro=Romanian ru=Russian rw=Kinyarwanda sa=Sanskrit sat=Santali sc=Sardinian scn=Sicilian sd=Sindhi
se=Northern_Sami shs=Shuswap si=Sinhala sk=Slovak sl=Slovenian sm=Samoan sn=Shona so=Somali son=Songhay sq=Albanian
sr=Serbian ss=Swati st=Southern_Sotho su=Sundanese sv=Swedish sw=Swahili ta=Tamil te=Telugu tg=Tajik th=Thai ti=Tigrinya
tk=Turkmen tl=Tagalog tn=Tswana tr=Turkish ts=Tsonga tt=Tatar ug=Uyghur uk=Ukrainian und=unknown ur=Urdu uz=Uzbek
ve=Venda vec=Venetian vi=Vietnamese wa=Walloon war=Waray wo=Wolof wuu=Wu_Chinese xh=Xhosa yi=Yiddish yo=Yoruba
yue=Cantonese zgh=Moroccan_Tamazight zh=Chinese zu=Zulu
""".split()
    )
}

#: Tags that are canonical as they stand.
_CANONICAL = frozenset(_NAMES) - {"tl"}

#: What languages call themselves, and some are called by their neighbours.
_OWN_NAMES = {
    name.replace("_", " "): tag
    for tag, names in (
        pair.split("=")
        for pair in """
af=Afrikaans am=አማርኛ ar=العربية,عربي,عربية,Arabisch,arabe az=azərbaycanca,Azərbaycan_dili be=беларуская bg=български
bn=বাংলা bo=བོད་སྐད bs=bosanski ca=català ceb=Cebuano,Sinugboanon cs=čeština,česky,Tschechisch cy=Cymraeg da=dansk
de=Deutsch,allemand,alemán,tedesco,Kijerumani,немецкий,德语,德語,ドイツ語,독일어 dv=ދިވެހި el=ελληνικά,Griechisch,grec
en=Englisch,anglais,inglés,inglese,Kiingereza,английский,英语,英語,영어,अंग्रेज़ी,الإنجليزية eo=esperanto
es=español,castellano,Spanisch,espagnol,spagnolo,испанский,西班牙语 et=eesti eu=euskara
fa=فارسی,Farsi,Persisch,persan fi=suomi,Finnisch fil=Filipino,Tagalog fo=føroyskt
fr=français,Französisch,francés,francese,Kifaransa,французский,法语,法語,フランス語 fy=Frysk ga=Gaeilge gd=Gàidhlig
gl=galego gu=ગુજરાતી ha=Hausa,هَوُسَ he=עברית,Hebräisch hi=हिन्दी,हिंदी hr=hrvatski hu=magyar,Ungarisch hy=հայերեն
id=Bahasa_Indonesia,Indonesisch
ig=Igbo is=íslenska it=italiano,Italienisch,italien 
ja=日本語,日本语,Japanisch,japonais,japonés
jv=Basa_Jawa ka=ქართული kk=қазақша,қазақ_тілі km=ខ្មែរ,ភាសាខ្មែរ kn=ಕನ್ನಡ
ko=한국어,조선말,Koreanisch,coréen,coreano ku=Kurdî
ky=кыргызча la=latina lb=Lëtzebuergesch lg=Luganda ln=lingála lo=ລາວ,ພາສາລາວ lt=lietuvių lv=latviešu mg=Malagasy
mi=te_reo_Māori mk=македонски ml=മലയാളം mn=монгол mr=मराठी ms=Bahasa_Melayu mt=Malti my=မြန်မာ,မြန်မာဘာသာ
nb=bokmål nn=nynorsk ne=नेपाली nl=Nederlands,Niederländisch,néerlandais,holandés no=norsk,Norwegisch oc=occitan or=ଓଡ଼ିଆ
pa=ਪੰਜਾਬੀ pl=polski,Polnisch,polonais ps=پښتو pt=português,Portugiesisch,portugais,portugués,portoghese qu=Runasimi
ro=română,Rumänisch ru=русский,Russisch,russe,ruso rw=Ikinyarwanda si=සිංහල sk=slovenčina sl=slovenščina sn=chiShona
so=Soomaali sq=shqip sr=српски,srpski su=Basa_Sunda sv=svenska,Schwedisch,suédois sw=Kiswahili,Suaheli,Swahili ta=தமிழ்
te=తెలుగు tg=тоҷикӣ th=ไทย,ภาษาไทย,Thailändisch ti=ትግርኛ tk=türkmençe tr=Türkçe,Türkisch,turc,turco tt=татарча
ug=ئۇيغۇرچە uk=українська,Ukrainisch ur=اردو uz=oʻzbekcha,o'zbekcha vi=tiếng_Việt,Vietnamesisch wo=Wolof xh=isiXhosa
yi=ייִדיש
yo=Yorùbá 
yue=粵語,广东话,廣東話 zh=中文,汉语,漢語,普通话,普通話,国语,國語,Chinesisch,chinois,chino,中国語
zh-Hans=简体中文
zh-Hant=繁體中文,正體中文 zu=isiZulu
""".split()
    )
    for name in names.casefold().split(",")
}

#: Endings of file names that are language codes by accident: `a.bak.txt` is no Bashkir, `a.fin.txt` a last version.
_NO_LANGUAGE = frozenset("bak fin ori may mar sin ind tam old new tag raw tmp cap png".split())

#: Codes that ISO 3166 leaves to everybody, but Kosovo's: no country's.
_NO_COUNTRY = re.compile("aa|q[m-z]|x[a-jl-z]|zz")
_MACRO = {"pbt": "ps", "nor": "no"}
_CHINESE = {"zh-tw": "zh-Hant", "zh-hk": "zh-Hant-HK", "zh-mo": "zh-Hant-MO", "zh-cn": "zh-Hans", "zh-sg": "zh-Hans-SG"}
_MODIFIERS = {
    "latin": "Latn",
    "latn": "Latn",
    "cyrillic": "Cyrl",
    "cyrl": "Cyrl",
    "devanagari": "Deva",
    "iqtelif": "Latn",
    "arabic": "Arab",
}


@lru_cache(maxsize=4096)
def parse_language(tag: str | None) -> str | None:
    """Return the canonical tag, or None when `tag` is not one (for data, where a bad tag is not the user's mistake).

    POSIX forms are understood, and the codes of FLORES, ISO 639-2 and ISO 639-3.

    >>> parse_language("pt_BR.utf8"), parse_language("zh_TW"), parse_language("sr@latin"), parse_language("klingonish")
    ('pt-BR', 'zh-Hant', 'sr-Latn', None)
    >>> [parse_language(tag) for tag in ("cmn", "zho_Hans", "arb_Arab", "ger", "de_DE@euro", "ca_ES@valencia")]
    ['zh', 'zh-Hans', 'ar', 'de', 'de-DE', 'ca-ES-valencia']
    """
    if not tag:
        return None
    if tag in _CANONICAL:  # most tags: to load langcodes takes as long as a search
        return tag
    import langcodes

    raw, _, modifier = tag.strip().partition("@")
    raw, modifier = raw.partition(".")[0].replace("_", "-"), modifier.partition(".")[0].lower()
    if modifier in _MODIFIERS:
        base, _, rest = raw.partition("-")
        raw = "-".join(filter(None, (base, _MODIFIERS[modifier], rest)))
    elif modifier and modifier != "euro":
        raw += f"-{modifier}"
    # where the territory only says which script: keep the script, as the tables promise (`zh-Hant`)
    raw = _CHINESE.get(raw.lower(), raw)
    base, dash, rest = raw.partition("-")
    raw = _MACRO.get(base.lower(), base) + dash + rest
    try:
        found = langcodes.Language.get(langcodes.standardize_tag(raw, macro=True))
        valid = found.is_valid()
    except (ValueError, LookupError):
        return None
    return str(found) if valid and found.language else (UNKNOWN_LANGUAGE if raw.lower() == "und" else None)


def canonical_language(tag: str) -> str:
    """Return the canonical tag of a language that a user named.

    Raises:
        UserError: `tag` is not a valid BCP-47 tag.

    >>> canonical_language("DE"), canonical_language("iw"), canonical_language("zh-hant")
    ('de', 'he', 'zh-Hant')
    """
    found = parse_language(tag)
    if found is None:
        near = _near(tag)
        if near:
            meant = ", ".join(f"'{one}' ({language_name(one)})" for one in near)
            raise UserError(f"'{tag}' is not a language tag. Did you mean {meant}?")
        raise UserError(f"'{tag}' is not a language tag; use BCP-47, for example de, pt-BR, zh-Hant, sr-Latn.")
    return found


def _near(tag: str) -> list[str]:
    """Tags that somebody who wrote `tag` may have meant: by the language's name, by its country, by its first part."""
    import difflib

    import langcodes

    said = tag.strip().casefold().replace("_", "-")
    names = {name.casefold(): code for code, name in _NAMES.items() if code != UNKNOWN_LANGUAGE}
    if own := _OWN_NAMES.get(tag.strip().casefold()):
        return [own]
    names = _OWN_NAMES | names
    close = difflib.get_close_matches(said, names, n=1, cutoff=0.75)
    if close:
        return [names[close[0]]]
    base = said.partition("-")[0]
    if base != said and (found := parse_language(base)):
        return [found]
    if len(base) == 2 and base.isascii() and base.isalpha() and not _NO_COUNTRY.fullmatch(base):
        # `gr`, `jp`, `cz`: the country, not the language
        try:
            country = langcodes.Language.make(territory=base.upper())
            found = country.maximize().language if country.is_valid() else None
        except (ValueError, LookupError):
            found = None
        if found and found != UNKNOWN_LANGUAGE:
            return [found]
    return []


def language_in_name(tag: str) -> str | None:
    """Return the language that the ending of a file or column names, or None: more careful than `parse_language`.

    A code that is a usual word of file names is none, and of the three-letter codes only languages count that captions
    come in.

    >>> [language_in_name(tag) for tag in ("de", "deu", "zho_Hans", "sr_RS@latin", "kab", "bak", "old", "png", "tmp")]
    ['de', 'de', 'zh-Hans', 'sr-Latn-RS', 'kab', None, None, None, None]
    """
    if tag.strip().lower() in _NO_LANGUAGE:
        return None
    found = parse_language(tag)
    if found is None or found == UNKNOWN_LANGUAGE:
        return None
    return found if len(base_language(found)) == 2 or base_language(found) in _NAMES else None


def base_language(tag: str) -> str:
    """Return a tag without script, territory and variant.

    >>> base_language("zh-Hant-HK")
    'zh'
    """
    return tag.partition("-")[0]


def language_name(tag: str) -> str:
    """Return the English name of a language for prompts and reports, or the tag when it is not known.

    >>> language_name("de"), language_name("zh-Hant"), language_name("pt-BR"), language_name("xyz")
    ('German', 'Chinese (Traditional)', 'Portuguese (BR)', 'xyz')
    """
    if tag in _NAMES:
        return _NAMES[tag]
    base, _, rest = tag.partition("-")
    name = _NAMES.get(base, "")
    if not name:
        return tag
    return f"{name} ({rest})" if rest else name


@lru_cache(maxsize=4096)
def parsed(tag: str) -> Any:
    import langcodes

    try:
        return langcodes.Language.get(tag)
    except (ValueError, LookupError):
        return langcodes.Language.make()
