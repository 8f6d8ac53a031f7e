"""Names of everyday things in many languages, as a vocabulary: what the default environment's packages name."""

from __future__ import annotations

from collections.abc import Iterator

from panoglot.errors import MissingPackage, require
from panoglot.providers.embedded._labels import translations
from panoglot.providers.embedded.efficientnet import synsets

__all__ = ["thing_names"]


def thing_names() -> Iterator[str]:
    """Names of emoji (Unicode CLDR, 13 languages and English) and of ImageNet's classes, in no order, some twice.

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
