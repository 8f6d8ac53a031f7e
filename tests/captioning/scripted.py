"""Models of the tests of captioning methods: a generator that answers by a function, experts that say one thing."""

from __future__ import annotations

import asyncio
from functools import cache
from itertools import count

from panoglot.asking import Asker, Models
from panoglot.errors import RowError
from panoglot.geometry import Region
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.roles import Answer, Box, Line, Tag
from tests.conftest import picture_bytes

#: Two models of the tests never share what is remembered of one.
_NUMBER = count()


class Says:
    """A generator; `answer` is a text, or a function of the prompt to a text or an error."""

    batch_size, chat, sees = 8, True, True

    def __init__(self, answer, name="says", score=None):
        self.answer, self.name, self.fingerprint = answer, name, f"{name}-{next(_NUMBER)}"
        self.prompts = []
        if score is not None:
            self.score = lambda prompts, texts: [score(p, t) for p, t in zip(prompts, texts)]

    def generate(self, prompts):
        self.prompts += prompts
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt):
        found = self.answer(prompt) if callable(self.answer) else self.answer
        return Answer(found) if isinstance(found, str) else found


class Expert:
    """A tagger, reader, detector, depth estimator: says the same of every picture, or fails."""

    batch_size = 8

    def __init__(self, found=(), name="expert", classes=None):
        self.found, self.name, self.fingerprint = found, name, f"{name}-{next(_NUMBER)}"
        self.asked = []
        if classes is not None:
            self.classes = classes

    def _say(self, images):
        return [self.found for _ in images]

    tag = read = depth = lambda self, images: self._say(images)

    def detect(self, images, names=None):
        wanted = names or [None] * len(images)
        self.asked += wanted
        if isinstance(self.found, RowError):
            return [self.found for _ in images]
        return [[box for box in self.found if some is None or box.name in some] for some in wanted]


def box(name, score, *place):
    return Box(name, score, Region(*place) if place else Region())


def line(text, score=0.9, *place):
    return Line(text, score, Region(*place) if place else Region())


def tag(name, score=0.9):
    return Tag(name, score)


def picture(seed=1, captions=(), **context):
    made = Image(picture_bytes(seed), context=context)
    made.captions = captions
    return made


_loaded = cache(load_model)


def models(**given):
    for name, role in (("embedded:langid", "language_identifier"), ("embedded:parser", "parser")):
        given.setdefault(name, _loaded(name, role))
    return Models({key: Asker(value, journal=None, prices=None, budget=None) for key, value in given.items()})


def run(method, image, given, **options):
    return asyncio.run(method(image, models(**given), **options))


def rows(caption):
    """All captions that one was made of, itself first."""
    found = [caption]
    for parent in caption.parents:
        found += rows(parent)
    return found
