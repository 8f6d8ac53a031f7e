"""How the report writes things: numbers, prices, durations, text directions, characters that nobody can see."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from panoglot.languages import direction
from panoglot.table._visible import hidden, plain

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = [
    "bytes_text",
    "cut",
    "direction",
    "hidden",
    "number",
    "plain",
    "reason_text",
    "seconds_text",
    "visible",
    "words",
]


def visible(text: object) -> Markup:
    """Escape a text for HTML and show what would be invisible or would turn the line around as `U+…`.

    >>> str(visible("<b>\\u202eabc")).split("<span")[0]
    '&lt;b&gt;'
    """
    from markupsafe import Markup, escape

    parts: list[Any] = []
    start, plain = 0, str(text)
    for at, character in enumerate(plain):
        if hidden(plain, at):
            name = unicodedata.name(character, "control character").lower()
            mark = Markup('<span class="unseen" dir="ltr" title="{}">U+{:04X}</span>').format(name, ord(character))
            parts += [escape(plain[start:at]), mark]
            start = at + 1
    return Markup("").join([*parts, escape(plain[start:])])


def cut(text: str, most: int) -> str:
    """Shorten a text and say so.

    >>> cut("abcdef", 10), cut("abcdef", 3)
    ('abcdef', 'abc… (6 characters)')
    """
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def number(value: float | None) -> str:
    """Write a number for a person; a missing one is a dash.

    >>> number(1234567), number(0.31271), number(12.5), number(None), number(float("nan")), number(3.0)
    ('1,234,567', '0.313', '12.5', '–', '–', '3')
    """
    if value is None or value != value:
        return "–"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "−∞"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def seconds_text(seconds: float | None) -> str:
    """Write a duration.

    >>> [seconds_text(s) for s in (None, 0.0421, 4.2, 75, 3599.9, 7380, 200000)]
    ['–', '42 ms', '4.2 s', '1 min 15 s', '1 h', '2 h 3 min', '2 d 8 h']
    """
    if seconds is None or seconds != seconds:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    scale = [(1, 60, "min", "s"), (60, 60, "h", "min"), (3600, 24, "d", "h")]
    for place, (small, per, unit, sub) in enumerate(scale):  # noqa: B007
        whole, rest = divmod(round(seconds / small), per)
        if place + 1 == len(scale) or whole < scale[place + 1][1]:
            break
    return f"{whole:,} {unit} {rest} {sub}" if rest else f"{whole:,} {unit}"


def bytes_text(size: float | None) -> str:
    """Write a size.

    >>> bytes_text(900), bytes_text(35_000), bytes_text(1_230_000_000)
    ('900 B', '35 kB', '1.2 GB')
    """
    if size is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.1f} {unit}" if unit != "B" and size < 9.95 else f"{size:,.0f} {unit}"


def words(name: str) -> str:
    """A name in snake_case or kebab-case as words.

    >>> words("low_alignment")
    'low alignment'
    """
    return " ".join(name.replace("_", " ").replace("-", " ").split())


#: Reasons that no filter owns: what the methods and ingest write.
_REASONS = {
    "draft": "An intermediate text that another caption was made from.",
    "untranslated": "The translation repeats its source.",
    "wrong_language": "Identified as another language than the one asked for.",
    "language_unsure": "Its language could not be told with enough confidence.",
    "length_ratio": "Far shorter or longer than the text it translates.",
    "superseded": "Its place in the source gives something else now.",
    "bad_column": "A column that cannot be read; the others are.",
    "empty_file": "Nothing in it.",
    "not_an_image": "Its first bytes belong to no picture format.",
    "unsupported_format": "A picture format that is not installed here.",
    "bad_header": "A header that makes no sense.",
    "truncated": "The end of the file is missing.",
    "not_a_video": "The file is no video that can be opened.",
    "no_video_stream": "The file holds sound or other things, but no video.",
    "no_frames": "No picture of the video can be decoded.",
    "not_in_picture": "The prompt reads something that this picture does not have.",
    "not_in_schema": "The answer does not fit the JSON schema, asked for again too.",
    "batch_expired": "The server's batch ended without this answer; a retry asks again.",
    "lost_answer": "The server completed its batch and gave no answer to this question; a retry asks again.",
    "low_match": "The best caption fits the clip's frames too little.",
    "undecodable": "The pixels cannot be decoded.",
    "too_many_pixels": "More pixels than the limit; refused by its header, never decoded.",
    "too_many_bytes": "Larger than the limit.",
    "decode_timeout": "Decoding would take longer than the limit.",
    "decode_memory": "Decoding would take more memory than the limit.",
    "bad_encoding": "Text that is not UTF-8.",
    "bad_json": "Text that is not JSON.",
    "unsafe_path": "A name that points outside its archive.",
    "unsure_language": "The language of the translation could not be told.",
    "unknown_language": "Nobody knows which language the text is in.",
    "empty_caption": "A model answered with nothing.",
    "empty_answer": "A model answered with nothing that can be seen.",
    "thinking_only": "A model's answer ended within its reasoning: raise max_tokens.",
    "refused": "A model declined to answer, in a field for it or in words.",
    "leaked_prompt": "The answer repeats its instruction, or is a conversation.",
    "endless_answer": "The answer never ends, or says a few words over and over.",
    "only_label": "The answer is a heading with nothing under it.",
    "structured_answer": "The answer is JSON where a sentence was asked for.",
    "no_description": "The answer describes nothing: N/A, an address, a file name.",
    "answer_too_large": "A server's answer was larger than the limit.",
    "bad_response": "A server's answer has not the shape of one.",
}


@lru_cache(maxsize=1024)
def reason_text(reason: str) -> str:
    """Explain a reason in a sentence, or return an empty text when the name must speak for itself.

    >>> reason_text("draft")
    'An intermediate text that another caption was made from.'
    """
    if reason in _REASONS:
        return _REASONS[reason]
    from panoglot.curation import filters

    for found in filters().values():
        if reason in found.reasons:
            return found.about.replace("`", "")
    return ""


#: Scores of captions as people say them; of others the name is told in words.
_SCORES = {
    "lid": "sure of the language",
    "length_ratio": "length beside the source",
    "probability": "probability",
    "ocr": "sure of the writing",
    "fallback": "share that fell back",
}


def score_name(name: str) -> str:
    """A score's name in words.

    >>> score_name("lid"), score_name("fallback_fuser"), score_name("clip_score")
    ('sure of the language', 'fell back: fuser', 'clip score')
    """
    plain = name.removeprefix("fallback_")
    return _SCORES.get(name) or (f"fell back: {plain}" if plain != name else name).replace("_", " ")
