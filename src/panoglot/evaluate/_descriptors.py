"""Descriptors of classes: what things of a class look like, put behind their names.

Source: classification by description (Menon & Vondrick 2022, arXiv 2210.07183), as GRAIN (arXiv 2412.04429) joins them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from panoglot.checks import offenders
from panoglot.errors import UserError
from panoglot.formats._json import read_json
from panoglot.languages._tags import parse_language

__all__ = ["Descriptors", "described", "read_descriptors"]

#: Words that a descriptor may begin with, and what stands before it then; before all others `which has`.
_IS, _BARE = ("a", "an", "used"), ("has", "often", "typically", "may", "can")
_STOPS = " .。।॥"


class Descriptors(dict[str, dict[str, list[str]]]):
    """Class name to descriptors, by language; `*` is for every language without any of its own.

    Attributes:
        label: what they are called in results: the file, with the first digits of its hash.
    """

    def __init__(self, found: Mapping[str, Mapping[str, Sequence[str]]], label: str = "own") -> None:
        super().__init__({lang: {name: list(row) for name, row in table.items()} for lang, table in found.items()})
        self.label = label

    def of(self, lang: str) -> dict[str, list[str]]:
        """Those of a language, of its plain tag, or of all."""
        return self.get(lang) or self.get(lang.partition("-")[0]) or self.get("*") or {}


def joined(descriptor: str, lang: str) -> str:
    """Return a descriptor with what connects it to a name.

    >>> joined("a long tail", "en"), joined("has stripes", "en"), joined("yellow throat", "en"), joined("gelb", "de")
    (', which is a long tail', ', which has stripes', ', which has yellow throat', ': gelb')
    """
    text = descriptor.strip()
    if lang.partition("-")[0] not in ("en", "*", "und"):
        return f": {text}"
    first = text.split(" ")[0].lower()
    middle = "which is " if first in _IS else "which " if first in _BARE else "which has "
    return f", {middle}{text}"


def described(name: str, forms: Sequence[str], descriptors: Sequence[str], lang: str) -> list[str]:
    """Return the texts of a class: every template with every descriptor behind it, or the templates alone.

    >>> described("bird", ["a photo of a {}."], ["a yellow throat"], "en"), described("bird", ["{}"], [], "en")
    (['a photo of a bird, which is a yellow throat'], ['bird'])
    """
    texts = [form.replace("{}", name) for form in forms]
    ends = [joined(one, lang) for one in descriptors if one.strip()]
    return [text.rstrip(_STOPS) + end for text in texts for end in ends] if ends else texts


def read_descriptors(source: str | os.PathLike[str]) -> Descriptors:
    """Read a JSON file: `{name: [descriptor, …]}`, in English, or `{lang: {name: [descriptor, …]}}`.

    Raises:
        UserError: no file, or another form.
    """
    path = Path(source)
    data = read_json(path)
    if isinstance(data, dict) and data and all(isinstance(row, list) for row in data.values()):
        data = {"en": data}
    form = f"{path} must be JSON: {{name: [descriptor, …]}}, or {{lang: {{name: [descriptor, …]}}}}."
    if not isinstance(data, dict) or not data or not all(isinstance(table, dict) for table in data.values()):
        raise UserError(form)
    if strange := [lang for lang in data if lang != "*" and parse_language(lang.replace("_", "-")) is None]:
        raise UserError(f"{path}: {offenders(strange)} are no languages. {form}")
    for table in data.values():
        odd = [
            name for name, row in table.items() if not isinstance(row, list) or not all(isinstance(t, str) for t in row)
        ]
        if odd:
            raise UserError(f"{path}: the descriptors of {offenders(odd)} are no list of texts. {form}")
    said = json.dumps(data, sort_keys=True, ensure_ascii=False).encode()
    return Descriptors(data, f"{path.name} ({hashlib.sha256(said).hexdigest()[:8]})")
