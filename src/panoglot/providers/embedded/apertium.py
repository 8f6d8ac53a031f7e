"""`embedded:apertium`: rule-based translation by Debian's `apertium` and the language pairs that are installed.

Good enough to search by, below what a captioner's training data needs: unknown words come out untranslated, and a text
with too many of them is refused. The engine is GPL: it is called as a program, never linked.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Sequence

from panoglot.errors import RowError, UserError
from panoglot.identity import extended, later
from panoglot.languages._tags import parse_language

__all__ = ["Apertium"]

#: What Apertium writes before a word that it could not analyse (*), transfer (@) or generate (#).
_MARK = re.compile(r"(?<!\w)[*@#](?=\w)")


class Apertium:
    """Translator over the installed pairs.

    Args:
        max_unknown: largest share of words that may stay unknown before a text is refused.
        timeout: seconds for one call of the program.
    """

    def __init__(self, max_unknown: float = 0.2, timeout: float = 120.0) -> None:
        program = shutil.which("apertium")
        if program is None:
            raise UserError("embedded:apertium needs the program 'apertium': apt-get install apertium apertium-eng-spa")
        if not 0 <= max_unknown <= 1:
            raise UserError(f"option max_unknown={max_unknown} of embedded:apertium must be 0..1.")
        self._program, self._max_unknown, self._timeout = program, max_unknown, timeout
        self._modes = self._installed()
        if not self._modes:
            raise UserError("apertium has no language pairs: apt-get install apertium-eng-spa (or another pair)")
        self.pairs: frozenset[tuple[str, str]] | None = frozenset(self._modes)
        self.name = f"embedded:apertium@{self._version()}"
        self.fingerprint = extended(f"{self.name}-unknown{max_unknown}", later(Apertium, locals()))
        self.batch_size = 256
        self.per_core = True

    def _run(self, arguments: list[str], text: str = "") -> str:
        done = subprocess.run(
            [self._program, *arguments],
            input=text.encode(),
            capture_output=True,
            timeout=self._timeout,
            check=False,
        )
        if done.returncode:
            raise subprocess.SubprocessError(done.stderr.decode("utf-8", "replace").strip()[:200] or "failed")
        return done.stdout.decode("utf-8", "replace")

    def _version(self) -> str:
        found = re.search(r"\d+(\.\d+)+", self._run(["-V"]))
        return found[0] if found else "unknown"

    def _installed(self) -> dict[tuple[str, str], str]:
        modes: dict[tuple[str, str], str] = {}
        for mode in sorted(self._run(["-l"]).split()):
            source, _, target = mode.partition("-")
            tags = parse_language(source), parse_language(target)
            if tags[0] and tags[1]:
                modes.setdefault((tags[0], tags[1]), mode)
        return modes

    def translate(self, texts: Sequence[str], source: Sequence[str], target: Sequence[str]) -> list[str | RowError]:
        """Translate every text; one call of the program for each pair of languages."""
        answers: list[str | RowError] = [RowError("empty_text")] * len(texts)
        groups: dict[tuple[str, str], list[int]] = defaultdict(list)
        for n, (text, pair) in enumerate(zip(texts, zip(source, target, strict=True), strict=True)):
            if pair not in self._modes:
                answers[n] = RowError("unsupported_pair", f"{pair[0]} to {pair[1]} is not installed in apertium")
            elif text.strip():
                groups[pair].append(n)
        for pair, rows in groups.items():
            found = self._call(self._modes[pair], [texts[n] for n in rows])
            for n, answer in zip(rows, found, strict=True):
                answers[n] = answer
        return answers

    def _call(self, mode: str, texts: list[str]) -> Sequence[str | RowError]:
        # One paragraph a text, as HTML: the tag is a sentence border that no text can forge, since texts are escaped.
        page = "".join(f"<p>{html.escape(' '.join(text.split()))}</p>\n" for text in texts)
        try:
            out = self._run(["-f", "html", mode], page)
        except (subprocess.SubprocessError, OSError) as error:
            return [RowError("translation_failed", str(error)[:200])] * len(texts)
        found = re.findall(r"<p>(.*?)</p>", out, re.DOTALL)
        if len(found) != len(texts):
            return [RowError("translation_failed", f"{len(found)} answers to {len(texts)} texts")] * len(texts)
        return [self._clean(html.unescape(answer)) for answer in found]

    def _clean(self, answer: str) -> str | RowError:
        answer = " ".join(answer.split())
        words = max(1, len(re.findall(r"\w+", answer)))
        unknown = len(_MARK.findall(answer))
        if unknown / words > self._max_unknown:
            return RowError("unknown_words", f"{unknown} of {words} words are unknown")
        return _MARK.sub("", answer) or RowError("empty_answer")
