"""Which languages meet: what serves somebody who asked for a tag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from panoglot.languages._tags import UNKNOWN_LANGUAGE, base_language, parsed

__all__ = ["matches", "meeting", "near_languages"]

#: Languages that another one's tag takes in.
_MEMBERS = {"no": ("nb", "nn")}


@lru_cache(maxsize=65536)
def matches(wanted: str, tag: str) -> bool:
    """Say whether a text in `tag` serves somebody who asked for `wanted`, both canonical.

    A wider tag takes narrower ones (`pt` takes `pt-BR`, `zh` takes `zh-Hant`, `no` takes `nb`), not the reverse: what
    is only said to be Portuguese may not be Brazilian. A script that goes without saying is said: `zh-Hans` takes `zh`.

    >>> [matches("pt", "pt-BR"), matches("pt-BR", "pt"), matches("zh", "zh-Hant"), matches("zh-Hant", "zh")]
    [True, False, True, False]
    >>> [matches("zh-Hans", "zh"), matches("sr", "sr-Latn"), matches("sr-Latn", "sr"), matches("no", "nn")]
    [True, True, False, True]
    """
    if wanted == tag:
        return True
    base, of = base_language(wanted), base_language(tag)
    if base != of and of not in _MEMBERS.get(base, ()):
        return False
    if base == wanted and wanted != UNKNOWN_LANGUAGE:  # nothing more was asked for
        return True
    want, have = parsed(wanted), parsed(tag)
    if not want.language or not have.language or UNKNOWN_LANGUAGE in (wanted, tag):
        return False
    if want.script and want.script != (have.script or have.maximize().script):
        return False
    if want.territory and want.territory != have.territory:
        return False
    return set(want.variants or ()) <= set(have.variants or ())


def near_languages(wanted: str, present: Iterable[str]) -> list[str]:
    """Return what is there of the same language though it does not meet: `pt` for somebody who asked for `pt-BR`.

    >>> near_languages("pt-BR", ["de", "pt", "pt-PT"])
    ['pt', 'pt-PT']
    """
    groups = [{of, *members} for of, members in _MEMBERS.items()]
    same = {base_language(wanted)}.union(*(group for group in groups if base_language(wanted) in group))
    return sorted(tag for tag in set(present) if base_language(tag) in same and not matches(wanted, tag))


def meeting(wanted: Sequence[str], present: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Find what serves the languages asked for among those that are there.

    Args:
        wanted: canonical tags.
        present: tag to number of texts.

    Returns:
        The tags that serve, and a line for each thing worth saying: other tags that were taken, near ones that were
        not, languages of which there is nothing.

    >>> meeting(["pt"], {"pt": 3, "pt-BR": 2, "de": 9})
    (['pt', 'pt-BR'], ['pt takes in pt-BR (2).'])
    >>> meeting(["pt-BR"], {"pt": 3})
    ([], ['nothing is in pt-BR; there is pt (3).'])
    """
    found: set[str] = set()
    lines = []

    def listed(tags: Iterable[str]) -> str:
        return ", ".join(f"{tag} ({present[tag]:,})" for tag in tags)

    for want in dict.fromkeys(wanted):
        served = sorted(tag for tag in present if matches(want, tag))
        found.update(served)
        others = [tag for tag in served if tag != want]
        if others:
            lines.append(f"{want} takes in {listed(others)}.")
        if not served:
            near = near_languages(want, present)
            most = sorted(present, key=lambda tag: (-present[tag], tag))
            there = near or most[:6]
            more = f" and {len(most) - 6} more" if not near and len(most) > 6 else ""
            lines.append(f"nothing is in {want}" + (f"; there is {listed(there)}{more}." if there else "."))
    return sorted(found), lines
