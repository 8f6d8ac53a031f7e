"""The letters of a line of a PDF in the order in which they are read, by where they stand.

A PDF says which signs stand where; what it holds first may be read last. PDFium turns text that runs from right to left
by rules of its own, which take words of some writers for turned already, and takes the letters of a ligature apart. So
lines with such letters are put in order here, by the Unicode Bidirectional Algorithm (UAX #9) read backwards: from what
is seen, left to right, to what was written.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

__all__ = ["Direction", "Letter", "forwards", "line_text"]

_STRONG = {"L": "L", "R": "R", "AL": "R", "EN": "EN", "AN": "AN", "NSM": "NSM"}
_SPACE = 0.17  # of the height of letters: a narrower gap is no space
_BRACKETS = dict(zip("()[]{}«»‹›", ")(][}{»«›‹"))
_OPENING = frozenset("([{«‹")
#: Letters that are drawn with signs above, below and before them, so that PDFium sees gaps where none are.
_DRAWN = ((0x0900, 0x0DFF), (0x0E00, 0x0EFF), (0x0F00, 0x109F), (0x1780, 0x17FF))
#: Among these: words are not set apart; a vowel that is written as one letter and drawn as two signs.
_UNSPACED, _WIDE = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF)), ("\u0e33", "\u0eb3")
#: Vowels that are drawn before the consonant that they are written after.
_BEFORE = frozenset("िিেৈਿિେெேைെേൈෙේෛ")
#: Forms of letters by their place in a word, and ligatures of them.
_FORMS = ((0xFB1D, 0xFBFF), (0xFE70, 0xFEFC))
#: Letters that only end words: where more words begin with them, the page shows its text the wrong way round.
_FINAL = frozenset("ךםןףץةى")
#: Ligatures, with their letters in the order of reading.
_LIGATURES = frozenset(("لا", "لأ", "لإ", "لآ", "لٱ", "الله", "لله"))
_UNKNOWN = "\ufffd"


@dataclass(slots=True)
class Letter:
    """A character as a PDF has it.

    Attributes:
        char: the character.
        left: where it begins, in points of the page as it is seen.
        right: where it ends.
        origin: what is the same for all characters of one sign: a ligature, a letter with its marks.
        height: of its font, in points.
        made: PDFium made it up: a space where it saw a gap.
        unknown: the file does not say which character the sign is.
    """

    char: str
    left: float
    right: float
    origin: tuple[float, float] = (0.0, 0.0)
    height: float = 10.0
    made: bool = False
    unknown: bool = False

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2


@dataclass(frozen=True)
class Direction:
    """How the texts of a page run.

    Attributes:
        turned: most letters run from right to left.
        wrong: they should, and the page shows them from left to right: its writer did not turn them.
        hidden: how much wider clusters are than the file says, in heights of letters: the vowel behind has a sign of
            its own, without characters.
    """

    turned: bool = False
    wrong: bool = False
    hidden: float = 0.0

    @classmethod
    def of(cls, lines: Iterable[Sequence[Letter]]) -> Direction:
        """Find it out by all lines of a page."""
        right = left = at_left = at_right = 0
        gaps: list[float] = []
        for line in lines:
            said = [one for one in line if not one.made]
            for one, vowel, after in zip(said, said[1:], said[2:]):
                if _ends_wide(one, vowel) and vowel.char not in _BEFORE and after.char != " ":
                    gaps.append(_gap(vowel, after))
            seen = sorted(_signs(line), key=lambda one: one.middle)
            kinds = [_kind(one.char[0]) for one in seen]
            right, left = right + kinds.count("R"), left + kinds.count("L")
            for n, one in enumerate(seen if "R" in kinds else ()):
                if one.char[-1] in _FINAL:
                    ends = [
                        not 0 <= m < len(seen) or kinds[m] != "R" or _apart(seen, min(n, m)) for m in (n - 1, n + 1)
                    ]
                    at_left, at_right = at_left + (ends == [True, False]), at_right + (ends == [False, True])
        inside = sorted(gaps)[len(gaps) // 4] if gaps else 0.0  # most vowels stand inside of words
        return cls(right > left, wrong=at_left < at_right, hidden=inside if inside > 0.1 else 0.0)


def forwards(line: Sequence[Letter]) -> Sequence[Letter]:
    """A line as it is, or run by run from its end: so PDFium turns all of a document that says to run right to left."""
    if any(_kind(one.char) == "R" for one in line):
        return line
    runs = [list(run) for _, run in groupby(line, key=lambda one: _kind(one.char) == "L")]
    starts = [run[0].origin[0] for run in runs if _kind(run[0].char) == "L"]
    if sum((after > before) - (after < before) for before, after in pairwise(starts)) >= 0:
        return line
    sorted_runs = (
        run if _kind(run[0].char) == "L" else sorted(run, key=lambda one: one.origin[0]) for run in runs[::-1]
    )
    return [one for run in sorted_runs for one in run]


def line_text(letters: Sequence[Letter], page: Direction = Direction()) -> tuple[str, int]:
    """A line as it is read, and how many of its signs the file gives no character for (they are U+FFFD).

    Args:
        letters: in the order in which PDFium has them.
        page: how its page runs.
    """
    kept, lost = _known(_once(letters))
    kinds = [_kind(one.char) for one in kept if not one.unknown]
    if "R" in kinds:
        text = _in_order(kept, page.turned or kinds.count("R") >= kinds.count("L"), page.wrong)
    elif any(_within(one.char, _DRAWN) for one in kept):
        text = _spaced(kept, page.hidden)
    else:
        text = "".join(one.char for one in kept)
    return "".join(map(_plain, text)), lost


def _within(char: str, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(first <= ord(char) <= last for first, last in ranges)


def _kind(char: str) -> str:
    return _STRONG.get(unicodedata.bidirectional(char), "N")


def _plain(char: str) -> str:
    """The letters that a form stands for.

    >>> _plain("\\ufefb"), _plain("\\ufe8d"), _plain("\\ufb2a"), _plain("a")
    ('لا', 'ا', 'שׁ', 'a')
    """
    return unicodedata.normalize("NFKC", char).strip() if _within(char, _FORMS) else char


def _groups(letters: Sequence[Letter]) -> list[list[Letter]]:
    """The letters of each sign."""
    groups: list[list[Letter]] = []
    for one in letters:
        if groups and " " not in (one.char, groups[-1][-1].char) and groups[-1][-1].origin == one.origin:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _once(letters: Sequence[Letter]) -> list[Letter]:
    """Letters without those that a writer gave to two signs of one cluster: to the letter, and to a mark on it."""
    found: list[list[Letter]] = []
    for group in _groups(letters):
        text = "".join(one.char for one in group)
        before = [other for other in found[-4:] if len(group) > 1 and "".join(o.char for o in other) == text]
        if not any(group[0].left < other[-1].right and group[-1].right > other[0].left for other in before):
            found.append(group)
    return [one for group in found for one in group]


def _known(letters: Sequence[Letter]) -> tuple[list[Letter], int]:
    """Letters, with U+FFFD for signs whose character the file does not say; and how many these are.

    Where a cluster has several signs, some writers give all of its characters to the first: the others say nothing.
    """
    foreign = sum(_within(o.char, _DRAWN) or _kind(o.char) == "R" for o in letters if not o.unknown)
    plain = sum(_kind(o.char) == "L" and not _within(o.char, _DRAWN) for o in letters if not o.unknown)
    found: list[Letter] = []
    lost = 0
    for one in letters:
        if one.unknown and (foreign > plain or unicodedata.category(one.char) == "Cc"):
            if foreign <= plain:
                continue
            if _of_cluster(one, found):
                found[-1].right = max(found[-1].right, one.right)
                continue
            one, lost = replace(one, char=_UNKNOWN), lost + 1
        found.append(one)
    return found, lost


def _of_cluster(sign: Letter, before: Sequence[Letter]) -> bool:
    """Say whether a sign stands on or right behind one that several characters are given to."""
    if before and before[-1].origin == sign.origin and before[-1].char in _WIDE:
        return True
    if len(before) < 2 or before[-1].origin != before[-2].origin:
        return False
    shared = min(sign.right, before[-1].right) - max(sign.left, before[-2].left)
    return shared > (sign.right - sign.left) / 2 or before[-1].char in _WIDE


def _gap(one: Letter, other: Letter) -> float:
    """The room between two signs, as a share of the height of their letters."""
    return (other.left - one.right) / max(one.height, 0.1)


def _apart(seen: Sequence[Letter], n: int) -> bool:
    return _gap(seen[n], seen[n + 1]) >= _SPACE


def _spaced(letters: Sequence[Letter], hidden: float) -> str:
    """A line from left to right: spaces within clusters are none, a mark stands with its letter."""
    found: list[Letter] = []
    for one in letters:
        if one.char == " " and (one.made or one.right - one.left < 0.05 * one.height):
            continue
        last = found[-1] if found else None
        if last is not None and _kind(one.char) == "NSM" and one.origin != last.origin and _far(one, last):
            near = min(range(len(found)), key=lambda n: (_off(found[n], one), -n))
            found.insert(near + 1, one)
            continue
        if last is not None and " " not in (one.char, last.char) and _kind(one.char) != "NSM":
            drawn = _within(last.char, _UNSPACED) and _within(one.char, _UNSPACED)
            inside = 0.5 if last.char in _WIDE else hidden if _ends_wide(*found[-2:]) else 0.0
            if _gap(last, one) - inside >= (2 * _SPACE if drawn else _SPACE):
                found.append(Letter(" ", last.right, one.left))
        found.append(one)
    return "".join(one.char for one in found)


def _ends_wide(*letters: Letter) -> bool:
    """Say whether the last of two letters is a vowel with room of its own, in one cluster with its consonant."""
    one = len(letters) > 1 and letters[0].origin == letters[1].origin
    return one and unicodedata.category(letters[-1].char) == "Mc"


def _off(letter: Letter, mark: Letter) -> float:
    """How far a mark is from a letter."""
    return max(letter.left - mark.middle, mark.middle - letter.right, 0.0)


def _far(mark: Letter, letter: Letter) -> bool:
    return _off(letter, mark) > letter.height


def _signs(letters: Sequence[Letter]) -> list[Letter]:
    """The signs of a line with letters from right to left, each with its characters in the order of reading."""
    kept = [one for one in letters if one.char != " " or (not one.made and one.right - one.left > 0.05 * one.height)]
    groups = _groups(kept)
    found: list[Letter] = []
    for n, group in enumerate(groups):
        near = groups[n - 1] if n else groups[n + 1] if n + 1 < len(groups) else group
        if _kind(group[0].char) == "R":
            # PDFium turns a line letter by letter, those of a ligature too, and cuts its place in two or does not
            halves = group[0].middle != group[-1].middle
            turned = (near[0].middle - group[0].middle) * (1 if n else -1) > 0
            ordered = sorted(group, key=lambda one: -one.middle)
            text = "".join(one.char for one in ordered)
            if not halves and text not in _LIGATURES and (turned or text[::-1] in _LIGATURES):
                text = text[::-1]
        else:
            text = "".join(one.char for one in group)
        left, right = min(one.left for one in group), max(one.right for one in group)
        found.append(replace(group[0], char=text, left=left, right=right))
    return found


def _in_order(letters: Sequence[Letter], turned: bool, wrong: bool) -> str:
    """A line with letters from right to left, as it is read."""
    signs = _signs(letters)
    marks = [one for one in signs if _kind(one.char[0]) == "NSM"]
    seen = sorted((one for one in signs if _kind(one.char[0]) != "NSM"), key=lambda one: one.middle)
    bases = [one for one in seen if one.char != " "]
    for mark in marks:  # onto the letter that it stands over or under
        base = min(bases, key=lambda one: _off(one, mark), default=None)
        if base is not None:
            base.char += mark.char
    spaced: list[str] = []
    for n, one in enumerate(seen):
        if n and " " not in (seen[n - 1].char, one.char) and _apart(seen, n - 1):
            spaced.append(" ")
        spaced.append(one.char)
    ordered = _brackets(spaced, [True] * len(spaced)) if wrong else _backwards(spaced) if turned else _mixed(spaced)
    return unicodedata.normalize("NFC", "".join(ordered))


def _mixed(signs: list[str]) -> list[str]:
    """A line from left to right in which some words run from right to left."""
    found: list[str] = []
    at = 0
    while at < len(signs):
        end = at
        for n in range(at, len(signs)):  # up to the last letter before one from left to right
            kind = _kind(signs[n][0])
            if kind == "L" or (n == at and kind != "R"):
                break
            end = n + 1 if kind == "R" else end
        found += _backwards(signs[at:end]) if end > at else signs[at : at + 1]
        at = max(end, at + 1)
    return found


def _backwards(signs: list[str]) -> list[str]:
    """What is seen from left to right as it is read from right to left; words and numbers the other way stay.

    >>> "".join(_backwards(list("ABC 3.5 הנומת 1,2 .")))
    '. 1,2 תמונה ABC 3.5'
    """
    kinds = [_kind(sign[0]) for sign in signs]
    runs: list[list[str]] = []
    turned: list[bool] = []
    at = 0
    while at < len(signs):
        end = _run(signs, kinds, at)
        runs.append(signs[at:end])
        turned.append(end - at == 1 and kinds[at] not in ("L", "EN", "AN"))
        at = end
    runs.reverse()
    turned.reverse()
    return _brackets([sign for run in runs for sign in run], [flag for run, flag in zip(runs, turned) for _ in run])


def _run(signs: list[str], kinds: list[str], at: int) -> int:
    """The end of a run from left to right that begins at a place; the next place where none does."""
    if kinds[at] not in ("L", "EN", "AN"):
        return at + 1
    end, letters = at + 1, kinds[at] == "L"
    while end < len(signs):
        after = next((n for n in range(end, len(signs)) if kinds[n] != "N"), len(signs))
        if after == len(signs) or kinds[after] not in ("L", "EN", "AN"):
            break
        between = signs[end:after]
        number = len(between) == 1 and unicodedata.bidirectional(between[0][0]) in ("CS", "ES")
        digits = kinds[end - 1] in ("EN", "AN") and kinds[after] == kinds[end - 1]
        if between and not (digits and number) and not (letters and kinds[after] in ("L", "EN")):
            break
        letters = letters or kinds[after] == "L"
        end = after + 1
    while end < len(signs) and kinds[end - 1] == "EN" and unicodedata.bidirectional(signs[end][0]) == "ET":
        end += 1
    return end


def _brackets(signs: list[str], turned: list[bool]) -> list[str]:
    """Brackets that open where one opens: some writers name the sign that is seen, some the one that is meant."""
    sure: list[bool | None] = []  # whether each opens, where what stands around says it
    places = [n for n, sign in enumerate(signs) if sign in _BRACKETS and turned[n]]
    for n in places:
        before, after = signs[n - 1] if n else " ", signs[n + 1] if n + 1 < len(signs) else " "
        opens, closes = before == " " and after != " ", before != " " and (after == " " or _kind(after[0]) == "N")
        sure.append(opens if opens != closes else None)
    wrong = any(said is not None and said != (signs[n] in _OPENING) for n, said in zip(places, sure))
    for n, said in zip(places, sure):
        if wrong if said is None else said != (signs[n] in _OPENING):
            signs[n] = _BRACKETS[signs[n]]
    return signs
