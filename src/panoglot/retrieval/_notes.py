"""What a search says of what it found, in English, with a code and the values of which other languages make a line."""

from __future__ import annotations

from typing import Any

__all__ = ["CODES", "Note", "coded"]

#: Code of a line, and what its values are.
CODES = {
    "word_missing": "words: no caption has any of them, and nothing else was looked for",
    "weak_words": "words: no caption has any of them; what is shown is what is nearest",
    "made_up": "words: no caption has any; nearest: by part, how near the nearest is; floor: that of made-up words",
    "phrase_missing": "phrase: no caption has these words together",
    "phrase_apart": "phrase: no caption has these words together; what is shown is what is nearest",
    "must_missing": "word: no caption has it, and it must stand in one",
    "word_dropped": "word: it stands only in captions of dropped pictures",
    "word_left_out": "word: it stands only in captions of pictures that are left out; by: the conditions, as typed",
    "captions_dropped": "words: they stand in dropped captions; reasons: how many by reason",
    "no_such_kind": "kinds, lang: asked for, and no kept caption fits; there: how many by kind",
    "not_encoded": "count: so many pictures have captions without a vector; command: makes them",
    "nothing_fits": "by: conditions, as they are typed, that no picture fits together",
    "where_fits_nothing": "where: a condition that no picture fits",
    "below_min_score": "least: the score asked for; best: that of the best",
    "emoji": "sign: an emoji; name: what it is read as",
    "emoji_unnamed": "an emoji without a name",
    "marks_alone": "marks alone are nothing to look for",
    "plan_as_it_stands": "of the text beside a plan only +words, -words and phrases count",
    "fallback": "preset: a simpler plan took its place; why: as the planner says it, in English",
}  # fmt: skip


class Note(str):
    """A line of what is worth saying; English, and a text as any other.

    >>> line = Note("no caption has 'x'.", "word_missing", words=["x"])
    >>> line, line.code, line.values
    ("no caption has 'x'.", 'word_missing', {'words': ['x']})

    Attributes:
        code: one of `CODES`, or empty.
        values: what the line is made of.
    """

    code: str
    values: dict[str, Any]

    def __new__(cls, text: str, code: str = "", **values: Any) -> Note:
        """Make a line."""
        made = super().__new__(cls, text)
        made.code, made.values = code, values
        return made


def coded(note: str) -> dict[str, Any]:
    """A line as code and values; without a code where it has none.

    >>> coded(Note("a", "emoji", sign="x")), coded("b")
    ({'code': 'emoji', 'values': {'sign': 'x'}}, {'code': '', 'values': {}})
    """
    return {"code": note.code, "values": note.values} if isinstance(note, Note) else {"code": "", "values": {}}
