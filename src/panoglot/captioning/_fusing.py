"""Fusers: several texts, or a text and evidence, into one caption, by a language model or, where it fails, by rule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from panoglot.captioning._candidates import BY_RULE, Writer
from panoglot.captioning._claims import join_sentences
from panoglot.captioning._evidence_block import Thing
from panoglot.captioning._evidence_text import with_article
from panoglot.captioning._regions import cell
from panoglot.languages import UNKNOWN_LANGUAGE, base_language
from panoglot.table import Caption
from panoglot.text import grams, is_spaceless, split_sentences

__all__ = [
    "BY_RULE",
    "add_details",
    "add_names",
    "add_objects",
    "append_sentences",
    "fuse",
    "mentions",
    "named_spans",
    "without_objects",
    "without_phrases",
]


async def fuse(
    writer: Writer,
    llm: str,
    prompt: str,
    values: Mapping[str, object],
    by_rule: str,
    *,
    lang: str = UNKNOWN_LANGUAGE,
    kind: str = "dense",
    step: str = "fuser",
    words: int | None = None,
    parts: Sequence[Any] = (),
    **options: Any,
) -> tuple[str, str, dict[str, float | None]]:
    """Let a language model fuse; without one, or where it fails or leaks its prompt, take what the rule made.

    Args:
        writer: the models of the picture.
        llm: a `Generator`; empty: the rule.
        prompt: with `{placeholders}`.
        values: what stands for them.
        by_rule: the text without a language model.
        lang: the language of what is fused; the fused text is asked for in it, or in the language asked for.
        kind: of the caption.
        step: what a fallback is counted as.
        words: most words.
        parts: pictures that the model sees.
        options: of the prompt.

    Returns:
        The text, who wrote it, and the scores of the draft.
    """
    if not llm:
        writer.fall_back(step)
        return by_rule, BY_RULE, {}
    wanted = None if writer.lang != "auto" or lang == UNKNOWN_LANGUAGE else lang
    draft = await writer.attempt(
        step, writer.draft(llm, prompt, *parts, values=values, lang=wanted, kind=kind, words=words, **options)
    )
    return (by_rule, BY_RULE, {}) if draft is None else (draft.text, draft.model, dict(draft.scores))


def named_spans(text: str) -> list[str]:
    """Runs of words with a capital or a digit, longest first: names, places, models. Scripts without case have none.

    >>> named_spans("VW T-ROC alloy wheel production in Wolfsburg")
    ['VW T-ROC', 'Wolfsburg']
    """
    runs: list[list[str]] = [[]]
    for word in text.split():
        bare = word.strip("\"'“”«».,;:!?()[]|")
        if bare and (bare[0].isupper() or any(c.isdigit() for c in bare)):
            runs[-1].append(bare)
            if bare != word and word[-1] in ".,;:!?)]|":
                runs.append([])
        elif runs[-1]:
            runs.append([])
    found = [" ".join(run) for run in runs if run]
    return sorted(dict.fromkeys(found), key=lambda span: (-len(span.split()), -len(span)))


def add_names(raw: str, synthetic: str) -> str:
    """Fuse an alternative text and a caption by rule: the caption, then the names that it lacks, set off by a dash.

    A name put in place of the head noun makes a false sentence where it belongs elsewhere, so it is set beside. Where a
    script has no capitals all of the raw text is the name.

    >>> add_names("VW T-ROC alloy wheel", "The wheel on a car is shown.")
    'The wheel on a car is shown – VW T-ROC.'
    >>> add_names("桜まつり 2024", "公園の木。"), add_names("A dog.", "A dog.")
    ('公園の木 – 桜まつり 2024。', 'A dog.')
    """
    if grams(raw) == grams(synthetic):
        return synthetic
    cased = any(c.lower() != c.upper() for c in raw)
    said = " ".join(grams(synthetic))
    names = [span for span in (named_spans(raw) if cased else [raw.strip()]) if " ".join(grams(span)) not in said]
    if not names:
        return synthetic
    body = synthetic.rstrip()
    mark = body[-1] if body[-1:] in ".!?。！？।॥؟۔" else ""
    return f"{body.removesuffix(mark)} – {', '.join(names)}{mark}"


def add_details(caption: str, things: Sequence[Thing]) -> str:
    """Enrich a caption by rule: attributes before the first mention of a thing, what is not mentioned at the end.

    English. Nothing is said that neither the caption nor the things say, and running it on its own result adds nothing.

    >>> add_details("a man riding a bike", [Thing("bike", attributes=("red",)), Thing("helmet", attributes=("white",))])
    'a man riding a red bike. There is also a white helmet.'
    """
    text, more = caption.strip(), []
    told: set[str] = set()
    for thing in sorted(things, key=lambda t: (-t.score, t.name, t.box, t.attributes)):
        lines = [line for line in thing.text if line.lower() not in caption.lower()]
        written = "".join(f' with the text "{line}"' for line in lines)
        place = _mention(text, thing.name)
        new = [a for a in thing.attributes if not _mention(text, a)]
        if place is None or (thing.name in told and (new or lines)):
            more.append(with_article(" ".join((*thing.attributes, thing.name))) + written)
        elif thing.name not in told:
            before = _with_article(text[: place.start()], new[0]) if new else text[: place.start()]
            named = " ".join((*new, place[0]))
            text = f"{before}{named}{written}{text[place.end() :]}"
        told.add(thing.name)
    if not more:
        return text
    said = list(dict.fromkeys(more))
    listed = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    return f"{text.rstrip('.')}. There is also {listed}."


def _mention(text: str, name: str) -> re.Match[str] | None:
    return re.search(rf"(?<!\w){re.escape(name)}(?:s|es)?(?!\w)", text, re.I)


def _with_article(before: str, word: str) -> str:
    """The text before a noun, its article as the word that comes between wants it."""
    found = re.search(r"\b(an?)(\s+)$", before, re.I)
    if found is None:
        return before
    article = "an" if word[:1].lower() in "aeio" else "a"
    return before[: found.start()] + (article.capitalize() if found[1][0].isupper() else article) + found[2]


def without_objects(text: str, names: Sequence[str]) -> str:
    """Return a text without the sentences that name a thing, in any script; all of it goes if all do.

    >>> without_objects("A cat sleeps. A lamp is on.", ["lamp"])
    'A cat sleeps.'
    """
    wrong = [name for name in names if name.strip()]
    kept = [sentence for sentence in split_sentences(text) if not any(mentions(sentence, name) for name in wrong)]
    return join_sentences(kept)


def without_phrases(text: str, phrases: Sequence[str]) -> str:
    """Return a text without some of its words: each phrase once, in any case, as whole words with their plural.

    What is left may be no sentence: a language model has to mend it.

    >>> without_phrases("A red lamp is on. Two cats sleep.", ["red lamp", "cat", "art"])
    'A is on. Two sleep.'
    """
    for phrase in phrases:
        if phrase.strip() and (place := _mention(text, phrase.strip())):
            text = f"{text[: place.start()].rstrip()} {text[place.end() :].lstrip()}"
    return re.sub(r"\s+([.,;:!?])", r"\1", text).strip()


def mentions(text: str, name: str) -> bool:
    """Whether a text names a thing: its words, with an English plural, or its letters in scripts without spaces.

    >>> mentions("Two cats.", "cat"), mentions("A scattered deck.", "cat"), mentions("一只猫。", "猫")
    (True, False, True)
    """
    if is_spaceless(name):
        return name in text
    return _mention(text, name.strip()) is not None


def add_objects(text: str, things: Sequence[tuple[Thing, float | None]]) -> str:
    """Say of things that a text does not name where they are: "In the top left, near, there is a dog."

    Args:
        text: English.
        things: each with its depth, 0 far to 1 near, or None.

    >>> add_objects("Grass.", [(Thing("dog", (0, 0, 0.2, 0.2)), 1.0), (Thing("grass"), 0.0)])
    'Grass. In the top left, near, there is a dog.'
    """
    for thing, near in things:
        if mentions(text, thing.name):
            continue
        how = "" if near is None else ", near" if near > 2 / 3 else ", far away" if near < 1 / 3 else ""
        text = f"{text.rstrip()} In the {cell(thing.box)}{how}{',' if how else ''} there is {with_article(thing.name)}."
    return text.strip()


def append_sentences(first: str, others: Sequence[str]) -> str:
    """A text, and the sentences of others that say something which it does not.

    >>> append_sentences("A dog runs.", ["A dog.", "The ball is red."])
    'A dog runs. The ball is red.'
    """
    have = set(grams(first))
    kept = [first.strip()]
    for sentence in (sentence for other in others for sentence in split_sentences(other)):
        words = set(grams(sentence))
        if words - have:
            kept.append(sentence)
            have |= words
    return join_sentences(kept)


def language_of(captions: Sequence[Caption]) -> str:
    """The language that all captions share, else `und`.

    >>> language_of([Caption("a", "en"), Caption("b", "en-GB")])
    'en'
    """
    tags = {base_language(caption.lang) for caption in captions} - {UNKNOWN_LANGUAGE}
    return next((caption.lang for caption in captions if len(tags) == 1), UNKNOWN_LANGUAGE)
