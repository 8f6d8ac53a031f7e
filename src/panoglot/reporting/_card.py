"""A picture of the page with its texts, grouped by language, and what each text was made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from panoglot.languages import main_script
from panoglot.languages._scripts import direction
from panoglot.languages._tags import language_name
from panoglot.pictures import Picture
from panoglot.reporting._text import cut
from panoglot.table import Caption

__all__ = ["FACT", "Card", "Group", "Line", "line", "make_card", "origin", "script"]

#: Kinds that are words rather than sentences: shown side by side.
WORDS = ("label",)
#: What was measured about the picture: shown beside its size, not among what is said about it.
FACT = "fact"
_KINDS = ("human", "alt", "short", "dense", "question", "answer", "region", "ocr", "label")
#: Languages that a card shows at once; the others unfold.
OPEN_LANGUAGES = 5
#: Characters of one text, texts of one language, and nodes of one provenance tree that a page shows.
MOST_CHARACTERS, MOST_TEXTS, MOST_NODES = 600, 24, 40


@dataclass(slots=True)
class Line:
    """A text as the page shows it.

    Attributes:
        caption: the caption.
        text: the text, cut to a bounded length.
        dir: `ltr`, `rtl` or `auto`.
        parents: what it was made from, as lines of their own.
        missing: parents that are not in the dataset any more (or beyond what a page shows).
    """

    caption: Caption
    text: str
    dir: str
    parents: list[Line] = field(default_factory=list)
    missing: int = 0

    @property
    def origin(self) -> str:
        """Kind, method and model, what says nothing new left out."""
        return origin(self.caption)

    @property
    def made_from(self) -> str:
        """What unfolds the provenance: `from 2 drafts`, `from English (human)`."""
        count = len(self.parents) + self.missing
        if len(self.parents) == 1 and count == 1:
            parent = self.parents[0].caption
            what = "a draft" if parent.dropped == "draft" else f"{language_name(parent.lang)} ({parent.kind})"
            return f"from {what}"
        drafts = all(parent.caption.dropped == "draft" for parent in self.parents) and not self.missing
        return f"from {count} {'drafts' if drafts else 'texts'}"


@dataclass(slots=True)
class Group:
    """The texts of one language of one picture."""

    lang: str
    name: str
    dir: str
    sentences: list[Line] = field(default_factory=list)
    words: list[Line] = field(default_factory=list)
    more: int = 0


@dataclass(slots=True)
class Card:
    """A picture with its texts.

    Attributes:
        picture: the picture.
        alt: alternative text of the thumbnail.
        usual: the origin that the page does not repeat at every text.
        open: the languages that show at once.
        folded: the others.
        facts: what was measured about the picture.
        dropped: what was dropped, drafts that nothing shown was made from among it.
    """

    picture: Picture
    alt: str
    usual: str
    open: list[Group]
    folded: list[Group]
    facts: list[Line]
    dropped: list[Line]


def origin(caption: Caption) -> str:
    """Say where a text comes from.

    >>> origin(Caption("x", kind="human", recipe="human")), origin(Caption("x", recipe="describe/1", model="hf:m"))
    ('human', 'short · describe/1 · hf:m')
    """
    return " · ".join(dict.fromkeys(part for part in (caption.kind, caption.recipe, caption.model) if part))


def script(tag: str) -> str:
    """Return the script a language is written in: `de` → `Latn`."""
    return main_script(tag) or "Zyyy"


def line(caption: Caption, known: Mapping[str, Caption]) -> Line:
    """Make the line of a caption with its provenance; circles and endless chains are cut."""
    budget = MOST_NODES

    def visit(one: Caption, above: frozenset[str]) -> Line:
        nonlocal budget
        found = Line(one, cut(one.text, MOST_CHARACTERS), direction(one.lang))
        for parent in one.parents:
            key = parent if isinstance(parent, str) else parent.caption_id
            if key in known and key not in above and budget > 0:
                budget -= 1
                found.parents.append(visit(known[key], above | {key}))
            else:
                found.missing += 1
        return found

    return visit(caption, frozenset({caption.caption_id}))


def _group(captions: Sequence[Caption], known: Mapping[str, Caption]) -> list[Group]:
    groups: dict[str, Group] = {}
    place = {kind: n for n, kind in enumerate(_KINDS)}
    for caption in sorted(captions, key=lambda c: (c.lang, place.get(c.kind, 99), c.recipe, c.caption_id)):
        group = groups.setdefault(
            caption.lang, Group(caption.lang, language_name(caption.lang), direction(caption.lang))
        )
        where = group.words if caption.kind in WORDS else group.sentences
        if len(where) < MOST_TEXTS:
            where.append(line(caption, known))
        else:
            group.more += 1
    return list(groups.values())


def make_card(
    picture: Picture,
    captions: Sequence[Caption],
    known: Mapping[str, Caption],
    weights: Mapping[str, int],
    shown: Counter[str],
) -> Card:
    """Arrange the texts of a picture.

    Args:
        picture: the picture.
        captions: its captions, dropped ones too.
        known: captions by id, to follow parents.
        weights: how many captions the dataset has in a language; the most frequent (English first) leads.
        shown: how often a language already shows at once on this page; counted up here, so that each gets its turn.
    """
    kept = [c for c in captions if c.dropped is None and c.kind != FACT]
    facts = [line(c, known) for c in captions if c.dropped is None and c.kind == FACT]
    groups = _group(kept, known)
    first = sorted(groups, key=lambda g: (g.lang != "en", not g.sentences, -weights.get(g.lang, 0), g.lang))[:1]
    turn = sorted((g for g in groups if g not in first), key=lambda g: (not g.sentences, shown[g.lang], g.lang))
    # a turn in each script, so that no picture speaks five near relatives
    scripts: Counter[str] = Counter(script(g.lang) for g in first)
    opened = list(first)
    while turn and len(opened) < OPEN_LANGUAGES:
        best = min(turn, key=lambda g: (not g.sentences, scripts[script(g.lang)], shown[g.lang], g.lang))
        turn.remove(best)
        opened.append(best)
        scripts[script(best.lang)] += 1
    shown.update(g.lang for g in opened)
    used = {p if isinstance(p, str) else p.caption_id for c in [*kept, *(f.caption for f in facts)] for p in c.parents}
    dropped = [line(c, known) for c in captions if c.dropped is not None and c.caption_id not in used]
    origins = Counter(origin(c) for c in kept)
    usual = min(origins, key=lambda o: (-origins[o], o)) if origins and max(origins.values()) > 2 else ""
    lead = [text for group in first for text in [*group.sentences, *group.words][:1]]
    alt = cut(lead[0].caption.text, 200) if lead else f"Picture without a caption: {picture.name}"
    folded = sorted(turn, key=lambda g: g.lang)
    return Card(picture, alt, usual, opened, folded, facts[:MOST_TEXTS], dropped[:MOST_TEXTS])
