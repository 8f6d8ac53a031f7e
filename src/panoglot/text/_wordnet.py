"""Princeton WordNet from its own files: lemmas, synonyms. Nothing is shipped and nothing downloaded.

Debian: `apt install wordnet-base` puts WordNet 3.0 in /usr/share/wordnet. Elsewhere set PANOGLOT_WORDNET to the folder
that holds index.noun.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from panoglot.errors import UserError

__all__ = ["Synonyms", "WordNet", "find_wordnet", "synonyms_for"]

#: Says whether two words (or phrases) may stand for each other.
Synonyms = Callable[[str, str], bool]

_POS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
#: Endings of inflected forms and of their base forms (WordNet's own rules of detachment).
_ENDINGS = {
    "n": [("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"),
          ("ies", "y")],
    "v": [("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")],
    "a": [("er", ""), ("est", ""), ("er", "e"), ("est", "e")],
    "r": [],
}  # fmt: skip
_PLACES = ("/usr/share/wordnet", "/usr/local/share/wordnet", "/usr/share/wordnet/dict", "/usr/local/WordNet-3.0/dict")


class WordNet:
    """Which words share a synset, and which share a lemma name.

    Args:
        folder: the folder with `index.noun`, `noun.exc` and the others.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._synsets: dict[str, dict[str, tuple[str, ...]]] = {}
        self._names: dict[str, list[str]] = {}
        self._exceptions: dict[str, dict[str, list[str]]] = {}
        for file, pos in _POS.items():
            self._read_index(file, pos)
        self.version = self._read_version()

    def _read_index(self, file: str, pos: str) -> None:
        for line in (self.folder / f"index.{file}").read_text("utf-8").splitlines():
            if line.startswith(" "):
                continue
            parts = line.split()
            keys = tuple(pos + offset for offset in parts[-int(parts[2]) :])
            self._synsets.setdefault(parts[0], {})[pos] = keys
            for key in keys:
                self._names.setdefault(key, []).append(parts[0])
        pairs = (line.split() for line in (self.folder / f"{file}.exc").read_text("utf-8").splitlines())
        self._exceptions[pos] = {form: bases for form, *bases in pairs}

    def _read_version(self) -> str:
        with (self.folder / "index.noun").open(encoding="utf-8") as file:
            found = [line.split("WordNet", 1)[1].split()[0] for line in file.readlines(4096) if "WordNet 3" in line]
        return found[0].strip(".,") if found else "unknown"

    @lru_cache(maxsize=65536)  # noqa: B019 - one instance lives as long as the process
    def lemmas(self, word: str, pos: str) -> tuple[str, ...]:
        """Base forms of `word` as part of speech `n`, `v`, `a` or `r`, the word itself first when it is one."""
        word = word.lower().replace(" ", "_")
        forms = [word, *self._exceptions[pos].get(word, [])]
        if len(forms) == 1:
            forms += [word[: -len(end)] + base for end, base in _ENDINGS[pos] if word.endswith(end)]
        return tuple(dict.fromkeys(form for form in forms if pos in self._synsets.get(form, ())))

    @lru_cache(maxsize=65536)  # noqa: B019
    def synsets(self, word: str) -> frozenset[str]:
        """Synset keys of all base forms of `word`, all parts of speech."""
        return frozenset(
            key for pos in "nvar" for lemma in self.lemmas(word, pos) for key in self._synsets[lemma].get(pos, ())
        )

    @lru_cache(maxsize=65536)  # noqa: B019
    def names(self, word: str) -> frozenset[str]:
        """Every lemma name of every synset of `word`."""
        return frozenset(name for key in self.synsets(word) for name in self._names[key])

    def share_synset(self, one: str, other: str) -> bool:
        """Both words stand in one synset (METEOR, SPICE)."""
        return not self.synsets(one).isdisjoint(self.synsets(other))

    def share_name(self, one: str, other: str) -> bool:
        """The lemma names around both words overlap (CAPTURE; wider than `share_synset`)."""
        return not self.names(one).isdisjoint(self.names(other))


@lru_cache(maxsize=4)
def _load(folder: str) -> WordNet:
    return WordNet(folder)


def find_wordnet(folder: str | None = None) -> WordNet | None:
    """WordNet from `folder`, from $PANOGLOT_WORDNET or from where systems put it; None when there is none.

    Raises:
        UserError: a folder was named but holds no WordNet.
    """
    named = folder or os.environ.get("PANOGLOT_WORDNET")
    for place in [named] if named else _PLACES:
        if (Path(place) / "index.noun").is_file():
            return _load(str(place))
    if named:
        raise UserError(f"'{named}' holds no WordNet (no index.noun in it).")
    return None


def synonyms_for(choice: str | Synonyms, *, wide: bool = False) -> tuple[Synonyms | None, str, tuple[str, ...]]:
    """Resolve the option `synonyms` of a metric.

    Args:
        choice: `none`; `wordnet`; `auto` (WordNet where it is installed); or a function of two words.
        wide: compare lemma names instead of synsets.

    Returns:
        The function or None, what the result records, and notes.

    Raises:
        UserError: WordNet was asked for and is not there.
    """
    if callable(choice):
        return choice, f"custom:{getattr(choice, '__name__', type(choice).__name__)}", ()
    if choice == "none":
        return None, "none", ()
    if choice not in ("auto", "wordnet"):
        raise UserError(f"synonyms={choice!r} is not known: use 'auto', 'wordnet', 'none' or a function of two words.")
    found = find_wordnet()
    if found is None:
        if choice == "wordnet":
            raise UserError(
                "WordNet is not installed: apt install wordnet-base, or set PANOGLOT_WORDNET to the folder with "
                "index.noun, or use synonyms='none'."
            )
        return None, "none", ("WordNet was not found: synonyms did not count.",)
    return found.share_name if wide else found.share_synset, f"wordnet-{found.version}", ()
