"""E-mail addresses, telephone numbers and given names in a text, of any script, replaced by what they were."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

__all__ = ["mask_emails", "mask_names", "mask_phones"]

_EMAIL = re.compile(r"[\w.+%'-]{1,64}[@＠](?:[\w-]{1,63}[.．])+\w{2,24}")
#: Digits of any script in groups; what may stand between them.
_RUN = re.compile(r"(?<![\dA-Za-z.,])[+＋(（]?\d[\d ()（）./\u2010-\u2015\u00a0\u202f-]{5,22}\d(?![\dA-Za-z])")
_DATE = re.compile(r"(\d{4})[./-](\d{1,2})[./-](\d{1,2})|(\d{1,2})[./-](\d{1,2})[./-](\d{4})|\d{4} ?- ?\d{4}")


def mask_emails(text: str) -> tuple[str, int]:
    """Replace e-mail addresses by `[email]`.

    >>> mask_emails("ask ana.silva@example.org, or ярослав@почта.рф")
    ('ask [email], or [email]', 2)
    """
    return _EMAIL.subn("[email]", text)


def mask_phones(text: str) -> tuple[str, int]:
    """Replace telephone numbers by `[phone]`: 7 to 15 digits that begin with `+` or 0, or 10 and more of them.

    >>> mask_phones("Ruf +49 30 1234567 an"), mask_phones("اتصل ٠٥٠١٢٣٤٥٦٧"), mask_phones("電話 03-1234-5678")
    (('Ruf [phone] an', 1), ('اتصل [phone]', 1), ('電話 [phone]', 1))
    >>> mask_phones("from 2019-2020, on 2024-01-31 and 31.01.2024, 1 500 people")
    ('from 2019-2020, on 2024-01-31 and 31.01.2024, 1 500 people', 0)
    """
    found = 0

    def put(match: re.Match[str]) -> str:
        nonlocal found
        plain = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in match[0])
        digits = re.sub(r"\D", "", plain)
        begins = plain[0] in "+＋" or digits[0] == "0" or plain[0] in "(（"
        if _DATE.fullmatch(plain) or not 7 <= len(digits) <= 15 or not (begins or len(digits) >= 10):
            return match[0]
        found += 1
        return "[phone]"

    return _RUN.sub(put, text), found


def mask_names(text: str, names: Iterable[str]) -> tuple[str, int]:
    """Replace names, whole words of them, by `[name]`; names of fewer than three letters are left alone.

    >>> mask_names("Photo by Ana Silva, ana silva's garden", ["Ana Silva"])
    ("Photo by [name], [name]'s garden", 2)
    >>> mask_names("山田太郎さんの庭", ["山田太郎"]), mask_names("Ananas", ["Ana"])
    (('[name]さんの庭', 1), ('Ananas', 0))
    """
    counted: Counter[str] = Counter()
    for name in sorted({unicodedata.normalize("NFC", n).strip() for n in names}, key=lambda n: (-len(n), n)):
        if len(name) < 3:
            continue
        # scripts without spaces have no ends of words
        spaced = name[0].isascii() or unicodedata.bidirectional(name[0]) != "L" or name[0] < "\u0e00"
        edge = (r"(?<!\w)", r"(?!\w)") if spaced else ("", "")
        pattern = edge[0] + re.escape(name).replace(r"\ ", r"\s+") + edge[1]
        text, count = re.subn(pattern, "[name]", text, flags=re.IGNORECASE)
        counted["n"] += count
    return text, counted["n"]
