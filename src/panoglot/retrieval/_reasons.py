"""Why a search finds little or nothing: what it does not look at, and what stands only there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from panoglot.errors import command
from panoglot.retrieval._filter import Allowed, Filters, Tags, contains
from panoglot.retrieval._folding import covered, matched
from panoglot.retrieval._gallery import Ranked
from panoglot.retrieval._lexical import Lexicon
from panoglot.retrieval._notes import Note
from panoglot.retrieval._syntax import Typed
from panoglot.retrieval._weak import listed, share_said
from panoglot.table import Dataset

if TYPE_CHECKING:
    import numpy as np

__all__ = ["narrowed", "no_such_kind", "not_encoded", "only_dropped", "only_left_out", "together", "unheard"]

#: Ranks by meaning at which a caption that says all words comes first all the same.
_NEAR = 10
#: Dropped captions that are looked through for a word.
_MOST_DROPPED = 20_000


def narrowed(said: Typed, lang: Tags, kinds: Tags, where: str | None) -> list[str]:
    """What narrows a search, as it is typed.

    >>> narrowed(Typed("a", must=("b",), must_not=("c",)), ("sw",), (), "width > 9")
    ['--lang sw', "--where 'width > 9'", '+b', '-c']
    """
    options = [f"--lang {','.join(lang)}"] if lang else []
    options += [f"--kinds {','.join(kinds)}"] if kinds else []
    options += [f"--where '{where}'"] if where is not None else []
    return options + [f"+{word}" for word in said.must] + [f"-{word}" for word in said.must_not]


def no_such_kind(dataset: Dataset, allowed: Allowed, lang: Tags, kinds: Tags) -> list[str]:
    """Say that no picture has a kept caption of the kinds that were asked for, and of which there are."""
    some = allowed.images(lang, kinds)
    if not kinds or some is None or len(some):
        return []
    counts = dataset.captions.read(["kind"], allowed.where(lang, ()))["kind"].value_counts().to_pylist()
    there = ", ".join(f"{one['values']} ({one['counts']:,})" for one in sorted(counts, key=lambda one: -one["counts"]))
    asked = f"--kinds {','.join(kinds)}" + (f" in --lang {','.join(lang)}" if lang else "")
    named = {one["values"]: one["counts"] for one in counts}
    line = f"no kept caption fits {asked}; there are: {there or 'none'}."
    return [Note(line, "no_such_kind", kinds=list(kinds), lang=list(lang), there=named)]


def together(lexicon: Lexicon, phrases: Sequence[str], *, others: bool) -> list[str]:
    """Say which phrases no caption has.

    Args:
        lexicon: the captions' words.
        phrases: what was typed in quotes.
        others: something is shown all the same, by meaning or picture.
    """
    missing = [phrase for phrase in phrases if not lexicon.images_with(phrase)]
    end, code = ("; what is shown is what is nearest.", "phrase_apart") if others else (".", "phrase_missing")
    return [Note(f'no caption has "{phrase}", these words together{end}', code, phrase=phrase) for phrase in missing]


def only_left_out(
    lexicon: Lexicon,
    words: Sequence[str],
    missing: Sequence[str],
    best: str | None,
    options: Sequence[str],
    filters: Filters,
    allowed: Allowed,
) -> list[str]:
    """Say that most of a text stands only in captions of pictures that this search does not look at.

    Args:
        lexicon: the captions' words.
        words: those of the text.
        missing: those of them that no caption has.
        best: the caption found that has most of them, None without one.
        options: what narrows the search.
        filters: the same.
        allowed: the dataset's pictures.
    """
    import numpy as np

    dropped = allowed.dropped()
    some = (allowed.images(filters.lang, filters.kinds), filters.within)
    if (not options and not len(dropped)) or any(one is not None and not len(one) for one in some):
        return []  # what takes no picture at all is said as such
    there = {*missing, *(matched(words, best) if best is not None else ())}
    rest = [word for word in dict.fromkeys(words) if word not in there]
    if share_said(words, [*missing, *rest]) >= 0.5:
        return []  # whatever the rest is, most of the text was found
    gone: dict[str, str] = {}
    options = list(options)
    for word in rest:
        ids = np.array(sorted(lexicon.images_with(word)), "S32")
        if len(ids) and not filters.fit(allowed, ids).any():
            line = f"weak: '{word}' stands only in captions of pictures that are"
            if not options or contains(dropped, ids).all():
                gone[word] = Note(f"{line} dropped.", "word_dropped", word=word)
            else:
                gone[word] = Note(f"{line} left out by {', '.join(options)}.", "word_left_out", word=word, by=options)
    return list(gone.values()) if share_said(words, [*missing, *gone]) < 0.5 else []


def unheard(
    ranked: Mapping[str, Sequence[Ranked]], heard: np.ndarray | None, *, whole: bool = False
) -> dict[str, set[str]]:
    """The images whose captions have the words of a text, but no vector, or the vector of another caption.

    Args:
        ranked: images by part.
        heard: sorted ids of those with a vector of a caption; None: captions' vectors were not asked.
        whole: the best caption has every word. An image has a vector of its most telling caption alone: where that one
            is far from the text, and another one says it as well as the best, it is not counted against the image.
    """
    import numpy as np

    if heard is None or not ranked.get("lexical"):
        return {}
    ids = [one.image_id for one in ranked["lexical"]]
    has = contains(heard, np.array(ids, "S32"))
    deaf = {image for image, there in zip(ids, has.tolist()) if not there}
    if whole:
        best, near = ranked["lexical"][0].score, {one.image_id for one in ranked["caption"][:_NEAR]}
        said = {one.image_id for one in ranked["lexical"] if one.score >= 0.9 * best}
        deaf |= said - near
    return {"caption": deaf}


def only_dropped(dataset: Dataset, allowed: Allowed, missing: Sequence[str]) -> list[str]:
    """Say which reasons took away the captions that have words that no kept caption has."""
    if not missing or not 0 < allowed.captions_dropped() <= _MOST_DROPPED:
        return []
    why: Counter[str] = Counter()
    for batch in dataset.captions.batches(["text", "dropped"], "dropped is not null", 8192):
        for text, reason in zip(batch["text"].to_pylist(), batch["dropped"].to_pylist()):
            why[reason] += any(covered(word, text) > 0.99 for word in missing)
    told = ", ".join(f"{reason} ({count:,})" for reason, count in why.most_common(4) if count)
    if not told:
        return []
    line, reasons = f"{listed(missing)} stands in captions that were dropped: {told}.", dict(+why)
    return [Note(line, "captions_dropped", words=list(missing), reasons=reasons)]


def not_encoded(dataset: Dataset, rest: np.ndarray) -> list[str]:
    """Say how many pictures have captions none of which has a vector yet, and what makes them.

    Args:
        dataset: the dataset.
        rest: the ids of these pictures.
    """
    if not len(rest):
        return []
    make = command("index", dataset.address, "--captions")
    what = "1 picture's captions have" if len(rest) == 1 else f"the captions of {len(rest):,} pictures have"
    line = f"{what} no vector yet, so their meaning is not searched: {make}"
    return [Note(line, "not_encoded", count=len(rest), command=make)]
