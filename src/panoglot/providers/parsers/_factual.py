"""The published FACTUAL parser (flan-t5-base fine-tuned on Visual Genome captions) and its text format.

Its answers look like `( man , wear , shirt ) , ( shirt , is , red )`; some checkpoints mark verbs with `v:` and
passives with `pv:`. What cannot be read is skipped and counted. Source: Li et al., ACL Findings 2023; weights
`lizhuang144/flan-t5-base-VG-factual-sg`, which `hf:OWNER/NAME` or `hf:/folder` loads where a parser is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from panoglot.errors import RowError
from panoglot.providers.roles import SceneGraph

__all__ = ["FactualParser", "read_factual"]

_FACT = re.compile(r"\(([^()]*)\)")
_VOICE = re.compile(r"^[vp]:")  # some checkpoints mark verbs (v:) and passives (p:, pv:)
PROMPT = "Generate Scene Graph: "


def read_factual(text: str, lemmatise: bool = False) -> tuple[SceneGraph, int]:
    """Read the parser's text.

    Args:
        text: facts in brackets: `( object )`, `( object , is , attribute )`, `( subject , relation , object )`.
        lemmatise: reduce nouns to lemmas (the format keeps plurals).

    Returns:
        The graph, and the number of pieces that could not be read (a cut answer loses its last fact).

    >>> graph, unread = read_factual("( man , wear , shirt ) , ( shirt , is , red ) , ( dog ) , ( man , hol")
    >>> graph.objects, graph.attributes, graph.relations, unread
    (('man', 'shirt', 'dog'), (('shirt', 'red'),), (('man', 'wear', 'shirt'),), 1)
    """
    if lemmatise:
        from panoglot.providers.parsers._tagger import lemma

    def noun(name: str) -> str:
        if not lemmatise:
            return name
        head = name.rsplit(" ", 1)
        return " ".join([*head[:-1], lemma(head[-1], "NOUN")])

    objects: list[str] = []
    attributes: list[tuple[str, str]] = []
    relations: list[tuple[str, str, str]] = []
    unread = 0
    for fact in _FACT.findall(text):
        parts = [part.strip() for part in fact.split(",")]
        if not all(parts) or len(parts) not in (1, 3):
            unread += 1
            continue
        objects.append(noun(parts[0]))
        if len(parts) == 3:
            if parts[1] == "is":
                attributes.append((noun(parts[0]), parts[2]))
            else:
                objects.append(noun(parts[2]))
                verb = _VOICE.sub("", parts[1].removeprefix("pv:")).strip()
                relations.append((noun(parts[0]), verb, noun(parts[2])))
    rest = _FACT.sub("", text)
    unread += any(character.isalnum() for character in rest)
    graph = SceneGraph(tuple(dict.fromkeys(objects)), tuple(dict.fromkeys(attributes)), tuple(dict.fromkeys(relations)))
    return graph, unread


class FactualParser:
    """The published parser, or anything else that writes its format.

    Args:
        generate: texts to the model's texts; a `RowError` in the place of one that failed.
        name: of the model, recorded.
        fingerprint: of the model and what changes its answers.
        lemmatise: reduce nouns to lemmas, as metrics expect.
    """

    batch_size = 16

    def __init__(
        self,
        generate: Callable[[Sequence[str]], Sequence[str | RowError]],
        *,
        name: str = "factual",
        fingerprint: str = "",
        lemmatise: bool = True,
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint or f"factual-parser-2:{name}:lemmatise={lemmatise}"
        self.unread = 0  # pieces of answers that could not be read
        self._lemmatise = lemmatise
        self._generate = generate

    def parse(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> list[SceneGraph | RowError]:
        """Parse English captions; other languages are refused, row by row."""
        tags = langs if langs is not None else ["en"] * len(texts)
        english = [n for n, tag in enumerate(tags) if tag.split("-")[0] in ("en", "und")]
        found: list[SceneGraph | RowError] = [
            RowError("unsupported_language", f"{self.name} reads English, not '{tag}'") for tag in tags
        ]
        answers = self._generate([PROMPT + texts[n] for n in english]) if english else []
        for n, answer in zip(english, answers):
            if isinstance(answer, RowError):
                found[n] = answer
                continue
            graph, unread = read_factual(answer, self._lemmatise)
            self.unread += unread
            found[n] = graph if graph.objects or not answer.strip() else RowError("unreadable_answer", answer[:80])
        return found
