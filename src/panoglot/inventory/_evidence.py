"""What was shown of each paper: the tests that ran and passed, by letter.

`evidence.json` lies beside this file. `scripts/make_evidence.py` writes it from a run of the tests that carry the mark
`paper`; every full run of the tests compares it with what passed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["LETTERS", "Shown", "evidence", "letters"]

#: What a letter says, in the order in which they are printed.
LETTERS = {
    "C": "complete: a test goes through every part that the method's algorithm names",
    "V": "verified: worked cases of the paper, with their answers, are tests that pass",
    "R": "real: shown on real data or with a real model",
    "P": "preset: the paper's own full-size setting, or its protocol by name, is loaded and compared with the paper",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A test that passed.

    Attributes:
        test: its name, as pytest takes it.
        case: what it shows.
    """

    test: str
    case: str


@cache
def evidence() -> Mapping[str, Mapping[str, tuple[Shown, ...]]]:
    """Return paper → letter → the tests that passed; a paper of which nothing was shown is not in it.

    >>> set(evidence()["clip"]) <= set(LETTERS)
    True
    """
    text = resources.files(__package__).joinpath("evidence.json").read_text(encoding="utf-8")
    return {
        paper: {letter: tuple(Shown(one["test"], one["case"]) for one in tests) for letter, tests in shown.items()}
        for paper, shown in json.loads(text)["papers"].items()
    }


def letters(shown: Mapping[str, object]) -> str:
    """Return the letters of what was shown of a paper, with a dot for each that was not.

    >>> letters({"V": ["a test"], "C": ["another"], "R": []})
    'CV··'
    """
    return "".join(letter if shown.get(letter) else "·" for letter in LETTERS)
