"""What a server says, freed of the user's key and of characters that nobody can see: one cleaner for every field.

A server may repeat a key on purpose or by accident: whole, in other case, with spaces, zero-width or control characters
in it, percent-encoded, as an entity, in hexadecimal or base64 (at any of its three offsets). So a key is looked for by
its letters and digits alone, each in every spelling, whatever stands between them.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote

__all__ = ["clean_body", "redact", "without_keys"]

#: A key with fewer characters is a word (`EMPTY`, `ollama`): it is taken out of messages, not out of answers.
SHORTEST = 8
#: With so many letters and digits nothing but the key has them in this order, whatever stands between them.
UNMISTAKABLE = 12
#: Longest text that is searched in every spelling; where there is more, and a key in it, nothing of it is kept.
_SEARCHED = 1 << 20

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSEEN = (
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_LOOKS_SECRET = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), r"\1 ***"),
    (re.compile(r"\b(sk|pk|hf|gsk|xai)[-_][A-Za-z0-9_-]{8,}"), "***"),
    (re.compile(r"(?i)\b(https?://)[^\s@]+@"), r"\1***@"),
    (
        re.compile(r"(?i)([?&](?:api[-_]?key|key|token|access_token|secret|sig|signature|password)=)[^&\s#\"']+"),
        r"\1***",
    ),
)


def redact(text: str, secret: str = "") -> str:
    """Make words of a server fit for a message: no `secret` in any spelling, nothing that looks like a key.

    Bearer tokens, passwords in URLs and keys in queries go; so does what cannot be seen.

    >>> redact("bad key hunter2-hunter2 at http://me:pw@host/v1?api_key=x1", "hunter2-hunter2")
    'bad key *** at http://***@host/v1?api_key=***'
    >>> redact("bad key HUNT\\x00ER2 hun\\u200bter2 or aHVudGVyMi1odW50ZXIy", "hunter2-hunter2")
    'bad key *** or ***'
    """
    text = _CONTROL.sub("", text)
    if secret:
        text = without_keys(text, secret)
        if len(secret) < SHORTEST:
            text = text.replace(secret, "***").replace(quote(secret, safe=""), "***")
    for pattern, to in _LOOKS_SECRET:
        text = pattern.sub(to, text)
    return text


def without_keys(text: str, key: str) -> str:
    """Return `text` with `***` where `key` stood in any spelling; keys shorter than eight characters are words.

    >>> without_keys("a cat k%65y-0123456789 on a mat", "key-0123456789")
    'a cat *** on a mat'
    """
    if len(key) < SHORTEST or not text:
        return text
    pattern = _pattern(key)
    if len(text) <= _SEARCHED:
        return pattern.sub("***", text)
    return "***" if pattern.search(text) else text


@lru_cache(maxsize=16)
def _pattern(key: str) -> re.Pattern[str]:
    forms = {key}
    if ":" in key:  # auth=basic: the password alone is a secret too
        forms |= {part for part in key.split(":", 1) if len(part) >= SHORTEST}
    found = [_spelled(form) for form in sorted(forms, key=len, reverse=True)]
    raw = key.encode()
    for offset in range(3):
        # the characters of base64 that depend on nothing but the key
        encoded = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        found.append(_spelled(encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]))
    found.append(_spelled(raw.hex()))
    return re.compile("|".join(found), re.IGNORECASE)


def _spelled(secret: str) -> str:
    """A pattern of `secret` in any spelling."""
    letters = sum(c.isalnum() for c in secret)
    if letters >= UNMISTAKABLE:
        between = r"(?:\x1b\[[0-9;]*[a-z]|[\W_]|%[0-9a-f]{2}|&#?\w{1,6};|\\u00[0-9a-f]{2}){0,64}?"
        return between.join(_character(c) for c in secret if c.isalnum())
    return f"{_UNSEEN}{{0,64}}".join(_character(c) for c in secret)


def _character(c: str) -> str:
    code = ord(c)
    either = {code, ord(c.swapcase())} if len(c.swapcase()) == 1 else {code}
    spelled = [re.escape(c)]
    for one in either:
        spelled += [f"%{one:02x}", f"&#0*{one};", f"&#x0*{one:x};", rf"\\u{one:04x}", rf"\\x{one:02x}"]
    return f"(?:{'|'.join(spelled)})"


def clean_body(value: Any, key: str) -> Any:
    """Return a JSON value as it may be used and stored: no key and no control character in any string of it.

    >>> clean_body({"a": ["key-\\x000123456789", 5, "a\\x1b[31m\\tcat"]}, "key-0123456789")
    {'a': ['***', 5, 'a[31m\\tcat']}
    """
    if isinstance(value, str):
        return _CONTROL.sub("", without_keys(value, key))
    if isinstance(value, dict):
        return {clean_body(name, key): clean_body(inner, key) for name, inner in value.items()}
    if isinstance(value, list):
        if all(type(inner) is float or type(inner) is int for inner in value):
            return value  # a vector
        return [clean_body(inner, key) for inner in value]
    return value
