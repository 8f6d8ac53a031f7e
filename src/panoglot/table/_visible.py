"""Texts as a person may safely see them: what shows nothing, or steers a terminal or the writing, becomes a mark."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["hidden", "json_line", "plain", "terminal"]

#: Joiners and marks of direction that ordinary spelling needs: Persian, Hindi, emoji, Hebrew beside Latin.
_NEEDED = frozenset("\u200c\u200d\u200e\u200f\u061c\u00ad")
#: Of those, what turns a line around: a page gives every text a place of its own, a terminal does not.
_TURNS = frozenset("\u200e\u200f\u061c")
#: Formats by category that have a look of their own: Arabic and Syriac number and verse signs.
_SEEN = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u08e2\u0890\u0891")
#: Letters by category that look like nothing.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
#: What JSON may hold raw and a terminal must not get.
_RAW = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def hidden(text: str, at: int) -> bool:
    """Say whether the character at a place shows nothing, or steers what is shown, where ordinary spelling does not.

    >>> hidden("a\\u202eb", 1), hidden("می\\u200cخواهم", 2), hidden("ភាសា\\u200bខ្មែរ", 4)
    (True, False, False)
    """
    character = text[at]
    if character in _NEEDED or character in _SEEN or character in "\n\t":
        return False
    if character == "\u200b":  # Thai, Lao, Tibetan, Burmese and Khmer mark with it where words end
        around = text[max(0, at - 1) : at + 2]
        return not any("\u0e00" <= c <= "\u109f" or "\u1780" <= c <= "\u17ff" for c in around)
    # Cf are formats (overrides, zero widths, tags); Co and Cs have no look of their own
    return character in _BLANK or unicodedata.category(character) in ("Cf", "Cc", "Cs", "Co", "Zl", "Zp")


def plain(text: object) -> str:
    """Write a text on one line, for an attribute or a message, with what is hidden as `<U+…>`.

    >>> plain("a\\u202eb\\n\\x1b[31m")
    'a<U+202E>b <U+001B>[31m'
    """
    one_line = " ".join(str(text).split())
    return "".join(f"<U+{ord(c):04X}>" if hidden(one_line, at) else c for at, c in enumerate(one_line))


def terminal(text: object) -> str:
    """Make a text safe for a terminal: as `plain`, and marks of direction are shown too, for they turn the whole line.

    >>> terminal("\\u202bgpj.\\u200fcat\\x07")
    '<U+202B>gpj.<U+200F>cat<U+0007>'
    """
    return "".join(f"<U+{ord(c):04X}>" if c in _TURNS else c for c in plain(text))


def json_line(text: str) -> str:
    r"""Escape in a JSON text what steers a terminal; it reads back as the same values.

    >>> json_line('{"name": "a\u202eb"}')
    '{"name": "a\\u202eb"}'
    """
    return _RAW.sub(lambda found: _escape(found.group()), text)


def _escape(character: str) -> str:
    raw = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{raw[at] << 8 | raw[at + 1]:04x}" for at in range(0, len(raw), 2))
