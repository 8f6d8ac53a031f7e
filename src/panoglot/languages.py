"""Language tags: one canonical BCP-47 form everywhere."""

from __future__ import annotations

from functools import lru_cache

from panoglot.errors import UserError

__all__ = ["UNKNOWN_LANGUAGE", "canonical_language", "language_matches", "language_name", "parse_language"]

#: BCP-47's own tag for "undetermined".
UNKNOWN_LANGUAGE = "und"


#: What POSIX locales call scripts after an `@`.
_SCRIPTS = {
    **{"latin": "Latn", "latn": "Latn", "iqtelif": "Latn", "cyrillic": "Cyrl", "cyrl": "Cyrl"},
    **{"devanagari": "Deva", "deva": "Deva", "arabic": "Arab", "arab": "Arab"},
}


@lru_cache(maxsize=4096)
def parse_language(tag: str | None) -> str | None:
    """Return the canonical tag, or None when `tag` is not one (for data, where a bad tag is not the user's mistake).

    POSIX forms are understood: `pt_BR.utf8`, `zh_TW`, `sr_RS.UTF-8@latin`, `de_DE@euro` (a modifier that says nothing
    of the language is left out).

    >>> parse_language("pt_BR.utf8"), parse_language("zh_TW"), parse_language("sr@latin"), parse_language("klingonish")
    ('pt-BR', 'zh-Hant', 'sr-Latn', None)
    >>> parse_language("sr_RS.UTF-8@latin"), parse_language("ca_ES@valencia"), parse_language("de_DE@euro")
    ('sr-Latn-RS', 'ca-ES-valencia', 'de-DE')
    """
    import langcodes

    if not tag:
        return None
    raw, _, modifier = tag.strip().partition("@")
    raw, modifier = raw.split(".")[0].replace("_", "-"), modifier.split(".")[0].lower()
    if modifier in _SCRIPTS:  # the script stands before the territory
        base, hyphen, rest = raw.partition("-")
        raw = f"{base}-{_SCRIPTS[modifier]}{hyphen}{rest}"
    elif modifier and modifier.isalnum():
        return parse_language(f"{raw}-{modifier}") or parse_language(raw)
    # where the territory only says which script: keep the script, as the tables promise (`zh-Hant`)
    script = {"zh-tw": "zh-Hant", "zh-hk": "zh-Hant-HK", "zh-cn": "zh-Hans", "zh-sg": "zh-Hans-SG"}.get(raw.lower())
    try:
        parsed = langcodes.Language.get(langcodes.standardize_tag(script or raw))
        valid = parsed.is_valid()
    except (ValueError, LookupError):
        return None
    return str(parsed) if valid and parsed.language else (UNKNOWN_LANGUAGE if raw.lower() == "und" else None)


def canonical_language(tag: str) -> str:
    """Return the canonical tag of a language that a user named.

    Raises:
        UserError: `tag` is not a valid BCP-47 tag.

    >>> canonical_language("DE"), canonical_language("iw"), canonical_language("zh-hant")
    ('de', 'he', 'zh-Hant')
    """
    found = parse_language(tag)
    if found is None:
        raise UserError(f"'{tag}' is not a language tag; use BCP-47, for example de, pt-BR, zh-Hant, sr-Latn.")
    return found


def language_matches(wanted: str, have: str) -> bool:
    """Say whether a text in `have` serves somebody who asked for `wanted`: `zh` takes `zh-Hant`, not the reverse.

    >>> language_matches("zh", "zh-Hant"), language_matches("zh-Hant", "zh"), language_matches("pt-BR", "pt-BR")
    (True, False, True)
    """
    return have == wanted or have.startswith(wanted + "-")


# English names of the languages most often met; `langcodes` knows them all where `language_data` is installed
_NAMES = {"zh-Hans": "Chinese (Simplified)", "zh-Hant": "Chinese (Traditional)"} | dict(
    pair.split("=")
    for pair in """
ach=Acholi af=Afrikaans am=Amharic an=Aragonese ar=Arabic as=Assamese ast=Asturian az=Azerbaijani
be=Belarusian bg=Bulgarian bn=Bengali bo=Tibetan br=Breton bs=Bosnian ca=Catalan cs=Czech cy=Welsh da=Danish
de=German el=Greek en=English eo=Esperanto es=Spanish et=Estonian eu=Basque fa=Persian ff=Fulah fi=Finnish
fil=Filipino fo=Faroese fr=French fy=Frisian ga=Irish gd=Scottish_Gaelic gl=Galician gn=Guarani gu=Gujarati
ha=Hausa he=Hebrew hi=Hindi hr=Croatian hu=Hungarian hy=Armenian id=Indonesian ig=Igbo is=Icelandic
it=Italian iu=Inuktitut ja=Japanese jv=Javanese ka=Georgian kab=Kabyle kk=Kazakh km=Khmer kn=Kannada
ko=Korean ku=Kurdish ky=Kyrgyz la=Latin lb=Luxembourgish lg=Ganda lo=Lao lt=Lithuanian lv=Latvian
mai=Maithili mg=Malagasy mi=Maori mk=Macedonian ml=Malayalam mn=Mongolian mr=Marathi ms=Malay mt=Maltese
my=Burmese nb=Norwegian_Bokmål ne=Nepali nl=Dutch nn=Norwegian_Nynorsk no=Norwegian nqo=N’Ko
nso=Northern_Sotho ny=Chichewa oc=Occitan om=Oromo or=Odia pa=Punjabi pl=Polish ps=Pashto pt=Portuguese
qu=Quechua ro=Romanian ru=Russian rw=Kinyarwanda sa=Sanskrit sat=Santali sd=Sindhi si=Sinhala sk=Slovak
sl=Slovenian sn=Shona so=Somali son=Songhay sq=Albanian sr=Serbian st=Southern_Sotho su=Sundanese sv=Swedish
sw=Swahili ta=Tamil te=Telugu tg=Tajik th=Thai ti=Tigrinya tk=Turkmen tl=Tagalog tr=Turkish tt=Tatar
ug=Uyghur uk=Ukrainian und=unknown ur=Urdu uz=Uzbek vi=Vietnamese wa=Walloon wo=Wolof xh=Xhosa yi=Yiddish
yo=Yoruba zgh=Moroccan_Tamazight zh=Chinese zu=Zulu
""".split()
)


def language_name(tag: str) -> str:
    """Return the English name of a language for prompts and reports, or the tag when it is not known.

    >>> language_name("de"), language_name("zh-Hant"), language_name("pt-BR"), language_name("xyz")
    ('German', 'Chinese (Traditional)', 'Portuguese (BR)', 'xyz')
    """
    if tag in _NAMES:
        return _NAMES[tag].replace("_", " ")
    base, _, rest = tag.partition("-")
    name = _NAMES.get(base, "").replace("_", " ")
    if not name:
        return tag
    return f"{name} ({rest})" if rest else name
