"""Which text belongs to which picture, by their names; the same in folders and in archives."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from panoglot.formats._names import Role, label_role

__all__ = ["pair"]


def pair(
    pictures: Sequence[str], texts: Sequence[str], *, samples: bool = False
) -> tuple[dict[str, list[tuple[str, Role]]], list[str]]:
    """Give every text file to its pictures: those whose name it begins with, the longest name first.

    `a.b.txt` belongs to `a.b.jpg` if that is there; else to `a.jpg`, if `b` is a language (`de`, `pt_BR.UTF-8`,
    `ca@valencia`), a number, or says that captions follow; else, where `a.b.1.jpg` and `a.b.2.jpg` are one sample, to
    these. Names are compared in one Unicode normal form; where that finds nobody, without regard to upper and lower
    case, if that leaves one name.

    Args:
        pictures: names of pictures, with their folders.
        texts: names of text files.
        samples: what has one name up to its first dot is one sample, and its texts are shared (WebDataset).

    Returns:
        Picture to its (text, what the text is); the texts of no picture.

    >>> found, left = pair(["a.b.jpg", "a.jpg"], ["a.b.txt", "a.de.txt", "a.bak.txt", "c.txt"])
    >>> found["a.b.jpg"], [(name, role.lang) for name, role in found["a.jpg"]], left
    ([('a.b.txt', Role(lang=None, alt=False, kind=None))], [('a.de.txt', 'de')], ['a.bak.txt', 'c.txt'])
    >>> dict(pair(["A.JPG", "b.jpg", "B.jpg"], ["a.txt"])[0]), pair(["b.jpg", "B.jpg"], ["b.TXT", "B.txt"])[1]
    ({'A.JPG': [('a.txt', Role(lang=None, alt=False, kind=None))]}, [])
    """
    found, left = _pair(pictures, texts, samples)
    if left:
        known, wanted = _folded(pictures), _folded(left)
        more, _ = _pair(list(known), list(wanted), samples)
        for name, ours in more.items():
            found[known[name]] += [(wanted[text], role) for text, role in ours]
        told = {wanted[text] for ours in more.values() for text, _ in ours}
        left = [text for text in left if text not in told]
    return found, left


def _folded(names: Sequence[str]) -> dict[str, str]:
    """Names without regard to case → names, of those that no other is like."""
    counts = Counter(name.casefold() for name in names)
    return {fold: name for name in names if counts[fold := name.casefold()] == 1}


def _pair(
    pictures: Sequence[str], texts: Sequence[str], samples: bool
) -> tuple[dict[str, list[tuple[str, Role]]], list[str]]:
    owners: dict[str, list[str]] = defaultdict(list)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in pictures if texts else ():
        stem, suffix = os.path.splitext(_normal(name))
        for whose in {stem, stem + suffix.lower()}:
            owners[whose].append(name)
        for prefix, _ in _cuts(stem):
            groups[prefix].append(name)
    found: dict[str, list[tuple[str, Role]]] = defaultdict(list)
    left, shared = [], []
    role: Role | None
    for text in texts:
        stem = os.path.splitext(_normal(text))[0]
        base, suffix = os.path.splitext(stem)
        ours, role = owners.get(stem) or owners.get(base + suffix.lower()) or [], Role()
        if not ours:
            ours, role = _of_a_label(stem, owners, groups)
        elif samples and stem in groups:
            shared.append((text, stem))
        if not ours or role is None:
            left.append(text)
            continue
        for name in ours:
            found[name].append((text, role))
    for text, stem in shared:  # the picture of the sample's own name has it; the others too, if they have none
        for name in groups[stem]:
            if name not in found:
                found[name] = [(text, Role())]
    return found, left


def _of_a_label(stem: str, owners: dict[str, list[str]], groups: dict[str, list[str]]) -> tuple[list[str], Role | None]:
    for base, label in _cuts(stem):
        start, suffix = os.path.splitext(base)
        ours = owners.get(base) or owners.get(start + suffix.lower())
        if ours:
            return ours, label_role(label)
    if stem in groups:
        return groups[stem], Role()
    for base, label in _cuts(stem):
        if base in groups and not label.isdigit() and (role := label_role(label)):
            return groups[base], role
    return [], None


def _cuts(stem: str) -> Iterator[tuple[str, str]]:
    """Every way to part a name at a dot, the longest beginning first; dots of folders are none."""
    start = max(stem.rfind("/"), stem.rfind(os.sep)) + 1
    at = stem.rfind(".")
    while at > start:
        yield stem[:at], stem[at + 1 :]
        at = stem.rfind(".", 0, at)


def _normal(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)
