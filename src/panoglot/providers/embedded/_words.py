"""Names of everyday things in many languages, as a vocabulary: what the default environment's packages name."""

from __future__ import annotations

from collections.abc import Iterator

from panoglot.errors import MissingPackage, require
from panoglot.providers.embedded._labels import swahili_emoji, translations
from panoglot.providers.embedded.efficientnet import synsets

__all__ = ["emoji_names", "thing_names"]

#: Tones of skin: no names of things.
_TONES = dict.fromkeys(range(0x1F3FB, 0x1F400))


def thing_names() -> Iterator[str]:
    """Names of emoji (Unicode CLDR, English and 13 languages, and Swahili) and of ImageNet's classes, in no order.

    Some come twice; Swahili is there where the package `emojiswahili` is.
    Nothing where the packages are missing.

    >>> {"cat", "katze", "chat"} <= set(thing_names())
    True
    """
    try:
        for synset, _ in synsets():
            yield from (name.text for name in translations(synset).values())
        emoji = require("emoji", "emoji", "names of things")
    except MissingPackage:
        return
    for lang in sorted(emoji.LANGUAGES):
        if lang not in ("alias", "en"):
            emoji.config.load_language(lang)
    for names in emoji.EMOJI_DATA.values():
        for lang, name in names.items():
            if lang in emoji.LANGUAGES and isinstance(name, str):
                yield name.strip(":").replace("_", " ")
    yield from swahili_emoji().values()


def emoji_names(text: str) -> list[tuple[str, list[str]]]:
    r"""The emoji in a text, in order, each with its names (Unicode CLDR): the English ones, then those of 13 languages
    and Swahili.

    Nothing where the package is missing.

    >>> [(one, names[:2]) for one, names in emoji_names("a 🐸 👩🏽‍🚀")]
    [('🐸', ['frog', 'وجه ضفدع']), ('👩🏽\u200d🚀', ['woman astronaut', 'رائدة فضاء'])]
    """
    try:
        emoji = require("emoji", "emoji", "names of emoji")
    except MissingPackage:
        return []
    langs = ["en", *sorted(lang for lang in emoji.LANGUAGES if lang not in ("alias", "en"))]
    found, swahili = [], swahili_emoji()
    for one in emoji.emoji_list(text):
        for lang in langs[1:]:
            emoji.config.load_language(lang)
        plain = one["emoji"].translate(_TONES)
        names = emoji.EMOJI_DATA.get(plain) or emoji.EMOJI_DATA.get(f"{plain}\ufe0f") or emoji.EMOJI_DATA[one["emoji"]]
        said = [names["en"], *names.get("alias", ()), *(names[lang] for lang in langs[1:] if lang in names)]
        said += [swahili[sign] for sign in (plain, f"{plain}\ufe0f") if sign in swahili][:1]
        found.append((one["emoji"], [name.strip(":").replace("_", " ") for name in said]))
    return found
