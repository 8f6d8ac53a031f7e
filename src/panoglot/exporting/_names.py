"""Names of the files of an export, made of those that the pictures had."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from panoglot.pictures import SUFFIXES

__all__ = ["Names", "safe_name"]

_LONGEST = 100
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


def safe_name(uri: str) -> str:
    """A file's name without folder and ending, safe on every system and in every archive; empty when nothing is left.

    Letters, marks and digits of every script stay; all else, dots among it, becomes `_`.

    >>> safe_name("trip/My cat.v2.JPG"), safe_name("00000.tar#a/017.jpg"), safe_name("rows.parquet#17")
    ('My_cat_v2', '017', 'rows-17')
    >>> safe_name("rows.parquet#17/2")
    'rows-17-2'
    >>> safe_name("/x/../../etc/passwd"), safe_name("bilder/हिन्दी 図.png"), safe_name("nul.png")
    ('passwd', 'हिन्दी_図', '_nul')
    """
    outer, _, member = uri.rpartition("#")
    of_row = outer and re.fullmatch(r"\d+(/\d+)?", member)
    whole = f"{_stem(outer)}-{member.replace('/', '-')}" if of_row else _stem(member)
    name = "".join(
        c if unicodedata.category(c)[0] in "LMN" or c in "_-" else "_" for c in unicodedata.normalize("NFC", whole)
    )
    while len(name.encode()) > _LONGEST:
        name = name[:-1]
    name = re.sub(r"_{2,}", "_", name).strip("_")
    if not name or name.startswith("-"):
        name = f"_{name}" if name.strip("-") else ""
    return f"_{name}" if _RESERVED.fullmatch(name) else name


def _stem(path: str) -> str:
    name = path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending.lower()}" in {*SUFFIXES, ".parquet", ".csv", ".tsv", ".jsonl", ".json"} else name


class Names:
    """Gives every picture a name of its own; of several alike, the first in order of image id has it as it is.

    It remembers 8 bytes a name, some 100 MB for a million pictures.
    """

    def __init__(self) -> None:
        self._taken: set[bytes] = set()

    def name(self, uri: str, image_id: str) -> str:
        """Return the name for a picture.

        >>> names = Names()
        >>> names.name("a/Cat.jpg", "0123456789abcdef"), names.name("b/cat.png", "fedcba9876543210")
        ('Cat', 'cat-fedcba98')
        """
        own = safe_name(uri) or image_id
        for name in (own, f"{own}-{image_id[:8]}", f"{own}-{image_id}"):
            mark = hashlib.blake2b(name.casefold().encode(), digest_size=8).digest()
            if mark not in self._taken:
                break
        self._taken.add(mark)
        return name
