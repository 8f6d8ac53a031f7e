"""Candidates: what models say of a picture, asked in a language, guarded, kept as rows; and which steps fell back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO, ask_for, check_answer, sound
from panoglot.captioning._guards import first_sentences, is_finished, says_nothing
from panoglot.errors import RowError
from panoglot.languages import UNKNOWN_LANGUAGE, alike, base_language, canonical_language
from panoglot.pictures import Image
from panoglot.providers.roles import Frames, Prompt, RegionPart, Turn
from panoglot.table import Caption

__all__ = ["BY_RULE", "Writer", "alt_text", "fill", "stored"]

#: The writer of what rules make.
BY_RULE = "panoglot:join"

T = TypeVar("T")


def fill(prompt: str, values: Mapping[str, object]) -> str:
    """Put values into a prompt's placeholders; what stands in a value is data, never a placeholder.

    >>> fill("{a} and {b}, {c}", {"a": "{b}", "b": 2})
    '{b} and 2, {c}'
    """
    return re.sub(r"\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), prompt)


def stored(image: Image, kinds: Sequence[str], lang: str = AUTO) -> Caption | None:
    """A kept caption of the picture of one of these kinds, the kinds in order of preference.

    Args:
        image: the picture, with its stored captions.
        kinds: of captions.
        lang: of several of a kind the first in this language; `auto`, or where there is none: in the language that most
            of the picture's captions of these kinds have, of equal ones the first's.
    """
    whole = [caption for caption in image.captions if caption.region is None and caption.kind in kinds]
    spoken = Counter(base_language(caption.lang) for caption in whole)  # keeps the order of equal ones
    best = [base_language(tag) for tag, _ in spoken.most_common()]
    wanted = best if lang == AUTO else [base_language(canonical_language(lang)), *best]
    ranked = sorted(
        whole, key=lambda caption: (list(kinds).index(caption.kind), wanted.index(base_language(caption.lang)))
    )
    return ranked[0] if ranked else None


def alt_text(image: Image, kinds: Sequence[str] = ("alt",), lang: str = AUTO) -> Caption | None:
    """What the picture came with: its stored alternative text, else that of its context; None where it says nothing."""
    found = stored(image, kinds, lang)
    if found is None and (said := str(image.context.get("alt") or image.context.get("title") or "").strip()):
        found = Caption(said, kind="alt", recipe="web")
    return None if found is None or says_nothing(found.text) else found


@dataclass
class Writer:
    """The models of one picture, the language that is asked for, and what fell back.

    Attributes:
        m: the models.
        lang: `auto` or the language asked for.
        identifier: a model of the role `language_identifier`.
        fell: step → how often something simpler stood in for it.
        failed: reason → how often a model's answer, or the lack of one, failed by it at a step that fell back.
        steps: steps that could have fallen back, and did not.
    """

    m: Models
    lang: str = AUTO
    identifier: str = "embedded:langid"
    fell: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    steps: int = 0

    async def draft(
        self,
        name: str,
        prompt: str,
        *parts: Image | RegionPart | Frames,
        values: Mapping[str, object] | None = None,
        lang: str | None = None,
        kind: str = "dense",
        parents: Sequence[Caption] = (),
        words: int | None = None,
        **options: Any,
    ) -> Caption:
        """Ask a generator for a text, and look it through.

        Args:
            name: the generator.
            prompt: the question, in English or as the user wrote it.
            parts: pictures, places, frames.
            values: what stands for the prompt's placeholders: data, which the answer may repeat.
            lang: the language of the answer; None is `self.lang`.
            kind: of the caption.
            parents: of the caption.
            words: most words; what is beyond is left out, by whole sentences.
            options: of the prompt (`max_tokens`, `temperature`, `seed` …).

        Returns:
            A caption with its language; `cut` = 1 among its scores where its end is missing.

        Raises:
            RowError: the model failed, the answer leaks the prompt, never ends, or is in another language.
        """
        wanted = self.lang if lang is None else lang
        wanted = AUTO if wanted == UNKNOWN_LANGUAGE else wanted
        asked = await ask_for(prompt, wanted, self.m, self.identifier)
        question = fill(asked, values) if values else asked
        whole = Prompt(turns=[Turn("user", (*parts, question))], **options) if parts else Prompt(question, **options)
        answer = await self.m[name].generate(whole)
        text, flags = sound(answer.text, asked, self.m[name].name)
        region = next((part.region for part in parts if isinstance(part, RegionPart)), None)
        tag, scores, dropped = await check_answer(text, prompt, wanted, self.m, self.identifier)
        if dropped:
            raise RowError(dropped, f"{self.m[name].name} answered in {tag}: {text[:80]!r}")
        if words is not None and (short := first_sentences(text, words)) != text:
            text, scores["over_length"] = short or text, 1.0
        if answer.finish == "length" and not is_finished(text):
            scores["cut"] = 1.0
        return Caption(text, tag, kind, self.m[name].name, tuple(parents), region, {**scores, **flags})

    async def attempt(self, step: str, asked: Awaitable[T]) -> T | None:
        """Await a step that the method can do without: None when its row failed, and that is counted."""
        try:
            found = await asked
        except RowError as error:
            self.fell[step] += 1
            self.failed[error.reason] += 1
            return None
        self.steps += 1
        return found

    def fall_back(self, step: str) -> None:
        """Count that something simpler stands in for a step."""
        self.fell[step] += 1

    def scores(self) -> dict[str, float | None]:
        """`fallback`, the share of steps that fell back; how often each did (`fallback_STEP`), by what (`failed_…`)."""
        fell = sum(self.fell.values())
        share = fell / (fell + self.steps) if fell + self.steps else 0.0
        steps = {f"fallback_{step}": float(count) for step, count in sorted(self.fell.items())}
        return {"fallback": share, **steps, **{f"failed_{why}": float(n) for why, n in sorted(self.failed.items())}}

    async def finish(
        self,
        text: str,
        *,
        parents: Sequence[Caption],
        model: str,
        lang: str | None = None,
        kind: str = "dense",
        scores: Mapping[str, float | None] | None = None,
    ) -> Caption:
        """Make the caption that the method returns of its last text.

        Args:
            text: the text.
            parents: what it was made of; those that are not stored yet become drafts.
            model: who wrote it. What a rule joined was asked for in no language: it is in that of its parts, and where
                another was asked for it is dropped as `wrong_language`.
            lang: its language where that is known, for texts too short to identify.
            kind: of the caption.
            scores: more scores.
        """
        ruled = model == BY_RULE
        known = lang if lang and lang != UNKNOWN_LANGUAGE else None
        said = (known or AUTO) if ruled else self.lang
        tag, found, dropped = await check_answer(text, "", said, self.m, self.identifier)
        if tag == UNKNOWN_LANGUAGE and known:
            tag = known
        if ruled:
            other = self.lang != AUTO and tag != UNKNOWN_LANGUAGE and not alike(tag, canonical_language(self.lang))
            dropped = "wrong_language" if other else None
        return Caption(
            text, tag, kind, model, tuple(parents), None, {**found, **(scores or {}), **self.scores()}, dropped
        )
