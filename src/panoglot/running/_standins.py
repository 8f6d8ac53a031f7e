"""Models that answer at once and cost nothing, for counting what a method would ask: nobody is asked."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from panoglot.asking import Asker, Models
from panoglot.errors import UserError
from panoglot.geometry import Region
from panoglot.providers._limits import estimate_tokens
from panoglot.providers.roles import Answer, Box, Line, Prompt, Rubric, SceneGraph, Tag, Verdict

__all__ = ["Demand", "StandIn", "stand_ins"]

#: What a stand-in writes: three plain sentences.
TEXT = "A brown dog runs along a wide sandy beach. It carries a red ball. Two people watch it from a wooden bench."
_THINGS = ("dog", "beach", "ball", "people", "bench")
_ALL = Region(0.0, 0.0, 1.0, 1.0)


class Demand:
    """What one model would be asked for some items.

    Attributes:
        asked: method of the role to the number of questions.
        images: pictures in questions to a generator.
        tokens_in: tokens read, on the high side.
        tokens_out: the most tokens that may be written.
        prompts: the questions to a generator.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.images = self.tokens_in = self.tokens_out = 0

    def add(self, method: str, prompt: Prompt | None = None, requests: int = 1) -> None:
        """Count a question, or several alike."""
        self.asked[method] += requests
        if prompt is not None:
            read, written = estimate_tokens(prompt)
            self.images += requests * len(prompt.images)
            self.tokens_in += requests * read
            self.tokens_out += requests * written


class StandIn:
    """A model of one role that counts what it is asked."""

    fingerprint = None  # nothing that it says is kept
    batch_size = 64

    def __init__(self, name: str, demand: Demand, model: Any = None) -> None:
        self.name, self.demand, self.model = name, demand, model

    def _all(self, method: str, items: Sequence[Any], answer: Any) -> list[Any]:
        for _ in items:
            self.demand.add(method)
        return [answer for _ in items]


class _Generator(StandIn):
    def generate(self, prompts: Sequence[Prompt]) -> list[Answer]:
        for prompt in prompts:
            self.demand.add("generate", prompt)
        return [
            Answer(_listed(p) if p.schema is None else _fitting(p.schema), tokens_in=0, tokens_out=0) for p in prompts
        ]

    def score(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[list[tuple[str, float]]]:
        if self.model is not None and not hasattr(self.model, "score"):
            raise UserError(f"{self.name} gives no log-probabilities of a given text.")
        for prompt, text in zip(prompts, texts):
            requests = getattr(self.model, "requests_per_score", 1)
            self.demand.add("score", replace(prompt.saying(prompt.text + text), max_tokens=1), requests)
        return [[(word, math.log(0.5)) for word in text.split()] for text in texts]

    def judge(self, rubrics: Sequence[Rubric]) -> list[Verdict]:
        for rubric in rubrics:
            self.demand.add("judge", rubric.prompt)
        return [Verdict(one.choices[0] if one.choices else one.scale[1] if one.scale else 1.0) for one in rubrics]


class _Encoder(StandIn):
    dim = 4

    def encode_images(self, images: Sequence[Any]) -> Any:
        return self._vectors("encode_images", images)

    def encode_texts(self, texts: Sequence[str], langs: Any = None) -> Any:
        return self._vectors("encode_texts", texts)

    def _vectors(self, method: str, items: Sequence[Any]) -> Any:
        import numpy as np

        self._all(method, items, None)
        return np.full((len(items), self.dim), 0.5, np.float32)


class _Seeing(StandIn):
    """Everything else that a picture or a text may be given to."""

    metric = False

    def tag(self, images: Sequence[Any]) -> list[Any]:
        return self._all("tag", images, [Tag("dog", 0.9, "n02084071"), Tag("beach", 0.6, "n09428293")])

    def detect(self, images: Sequence[Any], names: Any = None) -> list[Any]:
        half = Region(0.0, 0.0, 0.5, 0.5)
        return self._all("detect", images, [Box("dog", 0.9, half), Box("ball", 0.7, Region(0.5, 0.5, 0.8, 0.8))])

    def segment(self, images: Sequence[Any], regions: Any = None, names: Any = None) -> list[Any]:
        return self._all("segment", images, [Box("dog", 0.9, _ALL)])

    def read(self, images: Sequence[Any]) -> list[Any]:
        return self._all("read", images, [Line("OPEN", 0.9, _ALL)])

    def depth(self, images: Sequence[Any]) -> list[Any]:
        import numpy as np

        return self._all("depth", images, np.ones((8, 8), np.float32))

    def identify(self, texts: Sequence[str]) -> list[Any]:
        return self._all("identify", texts, ("en", 0.99))

    def parse(self, texts: Sequence[str], langs: Any = None) -> list[Any]:
        graph = SceneGraph(_THINGS, (("dog", "brown"),), (("dog", "run on", "beach"),))
        return self._all("parse", texts, graph)


class _Translator(StandIn):
    pairs = None

    def translate(self, texts: Sequence[str], source: Sequence[str], target: Sequence[str]) -> list[str]:
        self._all("translate", texts, None)
        return list(texts)


_BY_ROLE = {"generator": _Generator, "judge": _Generator, "encoder": _Encoder, "translator": _Translator}


def stand_ins(roles: Mapping[str, str], loaded: Mapping[str, Any] | None = None) -> tuple[Models, dict[str, Demand]]:
    """Return models for a method that count what they are asked, and the counts, by what the method calls them.

    Args:
        roles: what the method calls a model, to the role that it asks of it.
        loaded: the models that they stand for; where a method takes either of two roles it shows which.
    """
    demands = {alias: Demand() for alias in roles}
    askers = {}
    for alias, role in roles.items():
        model = (loaded or {}).get(alias)
        fit = [one for one in role.split("|") if model is None or hasattr(model, _METHOD.get(one, one))]
        kind = _BY_ROLE.get((fit or [role])[-1 if model is None else 0], _Seeing)
        stand_in = kind(getattr(model, "name", alias), demands[alias], model)
        askers[alias] = Asker(stand_in, journal=None, prices=None, budget=None)
    return Models(askers), demands


#: A method that tells a role.
_METHOD = {"translator": "translate", "generator": "generate"}


def _listed(prompt: Prompt) -> str:
    """An answer in the form that a question dictates (`exactly in the form "About X."`): a line a thing of `TEXT`."""
    form = re.search(r'exactly in the form "([^"\n]*)\bX\b([^"\n]*)"', prompt.text)
    return TEXT if form is None else "\n".join(f"{form[1]}{name}{form[2]}" for name in _THINGS)


def _fitting(schema: Mapping[str, Any]) -> str:
    """JSON that fits a schema, more or less."""
    import json

    return json.dumps(_value(schema))


def _value(schema: Mapping[str, Any], depth: int = 0) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return (
            {key: _value(one, depth + 1) for key, one in (schema.get("properties") or {}).items()} if depth < 8 else {}
        )
    if kind == "array":
        return [_value(schema.get("items") or {"type": "string"}, depth + 1)] if depth < 8 else []
    return {"integer": 1, "number": 1.0, "boolean": True, "null": None}.get(kind, "A brown dog.")
