"""A generator as a judge: it answers a rubric as JSON of a stated form."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from panoglot.errors import RowError
from panoglot.providers.roles import Answer, Generator, Rubric, Verdict

__all__ = ["judge_of"]


def judge_of(generator: Generator) -> Any:
    """Make a `Judge` of a generator.

    >>> class Kind:
    ...     name, fingerprint, batch_size = "kind:1", "kind-1", 4
    ...     def generate(self, prompts):
    ...         return [Answer('{"reason": "sharp", "value": 4}') for _ in prompts]
    >>> from panoglot.providers.roles import Prompt
    >>> judge_of(Kind()).judge([Rubric(Prompt("How sharp is it?"), scale=(1, 5))])
    [Verdict(value=4.0, reason='sharp', tokens_in=None, tokens_out=None)]
    """
    return (_AsyncJudge if inspect.iscoroutinefunction(generator.generate) else _Judge)(generator)


class _Asked:
    """What both kinds share: how a rubric is put, and how an answer is read."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator
        self.name: str = generator.name
        self.fingerprint = f"judge-1-{generator.fingerprint}"
        self.batch_size: int = getattr(generator, "batch_size", 1)

    def __getattr__(self, name: str) -> Any:
        if name in ("aclose", "close", "per_core", "sees"):
            return getattr(self.generator, name)
        raise AttributeError(name)

    def _prompt(self, rubric: Rubric) -> Any:
        if rubric.scale is not None:
            low, high = rubric.scale
            value: dict[str, Any] = {"type": "number", "minimum": low, "maximum": high}
            how = f"a number from {low:g} to {high:g}"
        else:
            value = {"enum": list(rubric.choices)} if rubric.choices else {"type": "string"}
            how = " or ".join(json.dumps(choice, ensure_ascii=False) for choice in rubric.choices) or "a word"
        schema = {
            "type": "object",
            "properties": {"reason": {"type": "string"}, "value": value},
            "required": ["reason", "value"],
            "additionalProperties": False,
        }
        asked = f'{rubric.prompt.text}\n\nAnswer as JSON: {{"reason": one short sentence, "value": {how}}}.'
        return replace(rubric.prompt.saying(asked), schema=schema)

    def _verdict(self, rubric: Rubric, answer: Answer | RowError) -> Verdict | RowError:
        if isinstance(answer, RowError):
            return answer
        try:
            found = json.loads(answer.text[answer.text.index("{") : answer.text.rindex("}") + 1])
            value, reason = found["value"], str(found.get("reason") or "")
        except (ValueError, LookupError, TypeError, RecursionError):
            return RowError("unreadable_verdict", f"no JSON with a value: {answer.text[:80]!r}")
        if rubric.scale is not None:
            low, high = rubric.scale
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not low <= value <= high:
                return RowError("unreadable_verdict", f"{value!r} is no number from {low:g} to {high:g}")
            value = float(value)
        elif rubric.choices:
            same = [choice for choice in rubric.choices if choice.casefold() == str(value).strip().casefold()]
            if not same:
                return RowError("unreadable_verdict", f"{value!r} is none of {', '.join(rubric.choices)}")
            value = same[0]
        return Verdict(value, reason, answer.tokens_in, answer.tokens_out)


class _Judge(_Asked):
    def judge(self, rubrics: Sequence[Rubric]) -> list[Verdict | RowError]:
        answers = self.generator.generate([self._prompt(rubric) for rubric in rubrics])
        return [self._verdict(rubric, answer) for rubric, answer in zip(rubrics, answers, strict=True)]


class _AsyncJudge(_Asked):
    async def judge(self, rubrics: Sequence[Rubric]) -> list[Verdict | RowError]:
        answers = await self.generator.generate([self._prompt(rubric) for rubric in rubrics])
        return [self._verdict(rubric, answer) for rubric, answer in zip(rubrics, answers, strict=True)]
