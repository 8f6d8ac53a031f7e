"""A known truth: drawn scenes of which every fact is known, and models with known rates of error.

A scene is four to seven coloured rectangles with names. Its facts: what is there, in which colour, in which third of
the picture. The captioner tells some of them, gets some wrong and makes some up; in a part of the picture, or asked
about one thing, it sees better. The detector misses things and sees what is not there. The language model edits
faithfully and loses a sentence now and then. All errors are draws that depend on (seed, scene, question) alone.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
from dataclasses import dataclass
from functools import cache
from itertools import count

import numpy as np
import PIL.Image

from panoglot.asking import Asker, Models
from panoglot.captioning import cell, mentions, sort_statements
from panoglot.geometry import Region
from panoglot.networks.samplers import Draw
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.roles import Answer, Box, Prompt, RegionPart
from panoglot.running import get_method
from panoglot.table import Caption

NAMES = "car dog cat bus tree boat lamp chair bird cup horse bench kite clock".split()
COLOURS = {
    "red": (214, 30, 30), "green": (20, 130, 40), "blue": (40, 80, 220), "yellow": (250, 220, 20),
    "purple": (130, 20, 140), "brown": (120, 70, 30), "pink": (250, 130, 180), "orange": (250, 140, 10),
}  # fmt: skip

#: Rates of error of the models, stated in the table that is printed.
RATES = {
    "captioner tells a thing of the whole picture": 0.55,
    "captioner tells a thing of a part of it": 0.85,
    "captioner gives a thing a wrong colour": 0.15,
    "captioner makes a thing up, for each it tells": 0.25,
    "captioner's probabilities know true from false": 0.9,
    "detector finds a thing": 0.9,
    "detector finds what is not there, when it is asked": 0.1,
    "matching model knows true from false": 0.9,
    "language model keeps a sentence": 0.95,
    "alternative text belongs to the picture": 0.9,
}
_RATE = list(RATES.values())
TOLD, NEAR, WRONG, MADE, SCORED, FOUND, GHOST, MATCHED, KEPT, ALT_FITS = _RATE


@dataclass(frozen=True)
class Thing:
    name: str
    colour: str
    box: tuple[float, float, float, float]

    def sentence(self, colour=""):
        return f"A {colour or self.colour} {self.name} is in the {cell(self.box)}."


@dataclass(frozen=True)
class Scene:
    number: int
    things: tuple[Thing, ...]
    image: Image

    @property
    def facts(self):
        """(name, what) of everything that is so."""
        return {(t.name, what) for t in self.things for what in ("", t.colour, cell(t.box))}

    def inside(self, place):
        x0, y0, x1, y1 = place
        return [
            t for t in self.things if x0 <= (t.box[0] + t.box[2]) / 2 <= x1 and y0 <= (t.box[1] + t.box[3]) / 2 <= y1
        ]


def alt_text(one: Scene) -> str:
    """What the web says of a scene: three of its things by name and colour, badly written; now and then of others."""
    draw = Draw("alt", one.number)
    right = draw.number() < ALT_FITS
    things = draw.sample(one.things if right else scene(one.number + 1000).things, 3)
    return " ".join(f"{t.colour} {t.name}" for t in things) + " photo free download"


@cache
def scene(number: int) -> Scene:
    """Draw a scene: things lie in different cells of a 3 × 3 grid."""
    draw = Draw("scene", number)
    count = 4 + draw.below(4)
    cells = draw.sample(range(9), count)
    things = []
    for name, place in zip(draw.sample(NAMES, count), cells):
        x, y = (place % 3) / 3 + 0.06, (place // 3) / 3 + 0.06
        things.append(Thing(name, draw.choice(list(COLOURS)), (x, y, round(x + 0.21, 4), round(y + 0.21, 4))))
    pixels = np.full((96, 96, 3), 235, np.uint8)
    for thing in things:
        x0, y0, x1, y1 = (round(96 * side) for side in thing.box)
        pixels[y0:y1, x0:x1] = COLOURS[thing.colour]
    pixels[0, 0] = (number % 256, number // 256, 7)  # no two scenes are one picture
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return Scene(number, tuple(things), Image(buffer.getvalue()))


def scenes(count):
    return [scene(n) for n in range(count)]


# -- what a text claims ------------------------------------------------------------------------------------------------

_COLOUR = "|".join(COLOURS)
_CELL = re.compile(r"(?:in|at) the ((?:top|bottom)(?: left| right)?|left|right|centre)\b")


def claims(text: str) -> set[tuple[str, str]]:
    """(name, what) of all that a text claims: that a thing is there, its colour, its place; sentence by sentence."""
    found = set()
    for sentence in re.split(r"(?<=[.!?])\s+|\n", text):
        place = _CELL.search(sentence)
        named = re.findall(rf"(?:\b({_COLOUR}) )?\b({'|'.join(NAMES)})\b", sentence)
        for colour, name in named:
            found.add((name, ""))
            if colour:
                found.add((name, colour))
        is_ = re.search(rf"\bThe ({'|'.join(NAMES)}) is ({_COLOUR})\b", sentence)
        if is_:
            found.add((is_[1], is_[2]))
        if place and len({name for _, name in named}) == 1:
            found.add((named[0][1], place[1]))
    return found


def truth_and_coverage(text: str, facts: set[tuple[str, str]]) -> tuple[float, float]:
    """The share of the claims that hold, and of the facts that are told."""
    said = claims(text)
    return (len(said & facts) / len(said) if said else 0.0), len(said & facts) / len(facts)


# -- the models --------------------------------------------------------------------------------------------------------


_NUMBER = count()


class _World:
    batch_size, chat, sees = 64, True, True

    def __init__(self, many, seed=0):
        self.of = {one.image.id: one for one in many}
        self.seed = seed
        self.fingerprint = f"{self.name}-{next(_NUMBER)}"  # nothing is remembered of another world
        self.calls = 0

    def scene(self, image):
        return self.of[image.parent or image.id]

    def draw(self, *key):
        return Draw(self.seed, self.name, *key)


class Captioner(_World):
    """Tells what it sees; better in a part of the picture; makes things up. It scores given texts."""

    name = "scene:captioner"

    def generate(self, prompts):
        self.calls += len(prompts)
        return [Answer(self._tell(prompt)) for prompt in prompts]

    def _tell(self, prompt):
        part = prompt.turns[-1].parts[0]
        image = part.image if isinstance(part, RegionPart) else part
        place = part.region.box if isinstance(part, RegionPart) else (0, 0, 1, 1)
        if image.region is not None:
            place = image.region.box
        one = self.scene(image)
        asked = re.search(r"more details about the (position of the )?(\w+)", prompt.text)
        if asked:
            return self._about(one, asked[2], bool(asked[1]), prompt.seed)
        whole = place == (0, 0, 1, 1)
        said = []
        for thing in one.inside(place):
            draw = self.draw(one.number, place, prompt.seed, prompt.text[:30], thing.name)
            if draw.number() < (TOLD if whole else NEAR):
                wrong = draw.choice(sorted(set(COLOURS) - {thing.colour}))
                said.append(thing.sentence(wrong if draw.number() < WRONG else ""))
                if draw.number() < MADE:
                    said.append(self._made_up(one, draw).sentence())
        hints = re.findall(r"^(?:[a-z]+ )*?([a-z]+): \[([\d., ]+)\]$", prompt.text, re.M)  # boxes of other programs
        for name, box in hints:
            draw = self.draw(one.number, "hint", name)
            if draw.number() < NEAR and not any(mentions(s, name) for s in said):
                said.append(f"A {name} is in the {cell(tuple(map(float, box.split(','))))}.")
        return " ".join(said) or "A plain background."

    def _about(self, one, name, place, seed):
        draw = self.draw(one.number, "about", name, place, seed)
        thing = next((t for t in one.things if t.name == name), None) or self._made_up(one, draw, name)
        right = draw.number() < 0.95 and thing in one.things
        if place:
            return f"The {name} is in the {cell(thing.box) if right else draw.choice(['top', 'left', 'centre'])}."
        return f"The {name} is {thing.colour if right else draw.choice(sorted(COLOURS))}."

    def _made_up(self, one, draw, name=""):
        other = draw.choice(sorted(set(NAMES) - {t.name for t in one.things}))
        x, y = draw.below(3) / 3 + 0.06, draw.below(3) / 3 + 0.06
        return Thing(name or other, draw.choice(sorted(COLOURS)), (x, y, x + 0.21, y + 0.21))

    def score(self, prompts, texts):
        return [self._score(prompt, text) for prompt, text in zip(prompts, texts)]

    def _score(self, prompt, text):
        tokens = [(" " if n else "") + word for n, word in enumerate(text.split())]
        if not prompt.images:
            return [(token, -2.0) for token in tokens]
        one = self.scene(prompt.images[0])
        found = []
        for sentence in re.split(r"(?<=\.) ", text):
            holds = claims(sentence) <= one.facts
            right = self.draw(one.number, "score", sentence).number() < SCORED
            found += [-1.0 if holds == right else -3.0] * len(sentence.split())
        return list(zip(tokens, found))


class Detector(_World):
    """Finds most things, and now and then what it is asked for and is not there."""

    name = "scene:detector"

    def detect(self, images, names=None):
        self.calls += len(images)
        return [self._find(image, asked) for image, asked in zip(images, names or [None] * len(images))]

    def _find(self, image, asked):
        one = self.scene(image)
        found = []
        for thing in one.things:
            if self.draw(one.number, thing.name).number() < FOUND and (asked is None or thing.name in asked):
                found.append(Box(thing.name, 0.9, Region(*thing.box)))
        for name in set(asked or ()) - {t.name for t in one.things}:
            if self.draw(one.number, "ghost", name).number() < GHOST:
                found.append(Box(name, 0.4, Region(0, 0, 0.3, 0.3)))
        return sorted(found, key=lambda box: (-box.score, box.name))


class Matcher(_World):
    """An encoder with a matching head that mostly knows whether a text holds for a part of the picture."""

    name, dim = "scene:matcher", 2

    def encode_images(self, images):
        return np.tile(np.array([1.0, 0.0], np.float32), (len(images), 1))

    def encode_texts(self, texts, langs=None):
        return np.tile(np.array([0.5, 0.75**0.5], np.float32), (len(texts), 1))

    def match(self, images, texts):
        self.calls += len(images)
        found = []
        for image, text in zip(images, texts):
            one = self.scene(image)
            said = claims(text)
            share = len(said & one.facts) / len(said) if said else 0.0
            right = self.draw(one.number, text).number() < MATCHED
            found.append(share if right else 1 - share)
        return [0.05 + 0.9 * value if value > 0.99 else 0.05 for value in found]


class Editor(_World):
    """A language model that edits the sentences of its prompt faithfully, and loses one now and then."""

    name = "scene:editor"

    def generate(self, prompts):
        self.calls += len(prompts)
        return [Answer(self._edit(prompt)) for prompt in prompts]

    def _edit(self, prompt: Prompt):
        text = prompt.text
        data = text.partition("\n\n")[2] or text
        if "one line for each, exactly in the form" in text:  # ScaleCap's lister
            sentence = text.rpartition("Sentence: ")[2]
            return "\n".join(f"Describe more details about the {n}." for n in NAMES if mentions(sentence, n)) or "None"
        if text.startswith("List the concrete objects"):
            described = text.rpartition("Description: ")[2]
            return "\n".join(n for n in NAMES if mentions(described, n)) or "none"
        if text.startswith("Which of these labels"):
            labels, described = text.partition("Labels: ")[2].split("\n\nDescription: ")
            return "\n".join(name for name in labels.split(", ") if mentions(described, name)) or "None"
        if text.startswith("Below are numbered descriptions"):
            found = sort_statements([line.partition(". ")[2] for line in data.split("\n\n")])
            return json.dumps({"shared": found.shared, "contradictions": found.contradictions, "unique": found.unique})
        sentences = self._sentences(data)
        if "that are not there:" in text:  # Image Textualization's editor
            gone = text.partition("not there: ")[2].partition("\n")[0].split(", ")
            told = self._sentences(text.partition("Description: ")[2].partition("\n\n")[0])
            sentences = [s for s in told if not any(mentions(s, name) for name in gone)]
            for name, box in re.findall(r"^\d+\. (\w+): box \[([\d., ]+)\]", text, re.M):
                if not any(mentions(s, name) for s in sentences):
                    sentences.append(f"A {name} is in the {cell(tuple(map(float, box.split(','))))}.")
        if "\nStatements:\n" in text or "Statements:\n" in text:  # Patch Matters: the drafts give no facts
            sentences = self._sentences(text.partition("Statements:\n")[2].partition("Drafts:")[0])
        if text.startswith("Two texts speak of one picture") or "Found beside it:" in text:  # alternative text, caption
            raw = re.search(r"^(?:A|Found beside it): (.*)$", text, re.M)[1]
            sentences = [s for s in sentences if s not in raw]
            pairs = re.findall(rf"({_COLOUR}) ({'|'.join(NAMES)})", raw)
            sentences += [f"There is a {c} {n}." for c, n in pairs if not any(mentions(s, n) for s in sentences)]
        if text.startswith("Write one natural caption"):  # FuseCap
            seen = text.partition("\nSeen:\n")[2].splitlines()
            sentences = self._sentences(text.partition("Caption: ")[2].partition("\nSeen:")[0])
            sentences += [f"There is a {line}." for line in seen if not any(line in s for s in sentences)]
        kept = [s for s in dict.fromkeys(sentences) if self.draw(text[:20], s).number() < KEPT]
        return " ".join(kept) or "A plain background."

    def _sentences(self, text):
        return re.findall(r"(?:A|The|There is a) [a-z][^.\n\[\]]*\.", text)


def world(many, seed=0):
    """The models by name, and the same as methods see them."""
    raw = {
        "captioner": Captioner(many, seed), "detector": Detector(many, seed), "encoder": Matcher(many, seed),
        "llm": Editor(many, seed), "second": Captioner(many, seed + 1), "third": Captioner(many, seed + 2),
        "embedded:langid": load_model("embedded:langid", "language_identifier"),
        "embedded:parser": load_model("embedded:parser", "parser"),
    }  # fmt: skip
    return raw, Models({name: Asker(model, journal=None, prices=None, budget=None) for name, model in raw.items()})


def human_captions(one: Scene) -> list[Caption]:
    """Three short captions by people: each tells a thing or two, rightly."""
    draw = Draw("human", one.number)
    return [
        Caption(" ".join(t.sentence() for t in draw.sample(one.things, 1 + draw.below(2))), "en", "human")
        for _ in range(3)
    ]


#: Method → its options in the scenes, and what is stored of a picture before.
RUNS = {
    "describe": ({}, None),
    "scalecap": ({}, None),
    "patch-matters": ({"detector": "detector"}, None),
    "describe-crops": ({"boxes": "detector", "detector": "detector", "clusters": 10}, None),
    "image-textualization": ({}, None),
    "densefusion": ({"tagger": "", "detector": "detector"}, None),
    "fusecap": ({"captioner": "captioner"}, None),
    "capsfusion": ({"captioner": "captioner"}, "alt"),
    "veclip": ({}, "alt"),
    "caption-boosting": ({}, "human"),
    "rank-and-fuse": ({"captioners": ("captioner", "second"), "scorer": "encoder", "llm": "llm"}, None),
    "mlbcap": ({"writers": ("captioner", "second", "third"), "judge": ""}, "figure"),
}


def measure(name, count=80, seed=0):
    """Run a method on scenes: its texts, float `[scenes, 2]` truth and coverage, questions a picture to each model."""
    options, before = RUNS[name]
    method = get_method(name).function
    many = scenes(count)
    raw, m = world(many, seed)

    async def every():
        found = []
        for one in many:
            image = Image(one.image.data)
            if before == "alt":
                image.captions = [Caption(alt_text(one), "en", "alt")]
            elif before == "figure":
                image.context = {"ocr": " ".join(t.name for t in one.things)}
            elif before == "human":
                image.captions = human_captions(one)
            made = await method(image, m, **options)
            made = made if isinstance(made, list) else [made]
            found.append(max((c.text for c in made if isinstance(c, Caption)), key=len))
        return found

    made = asyncio.run(every())
    scores = np.array([truth_and_coverage(text, one.facts) for text, one in zip(made, many)])
    asked = {one: model.calls / count for one, model in raw.items() if isinstance(model, _World)}
    return made, scores, asked


def interval(values):
    """Mean and the ends of its 95 % interval."""
    mean, error = float(values.mean()), 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5
    return mean, mean - error, mean + error


__all__ = [
    "RATES",
    "RUNS",
    "alt_text",
    "claims",
    "human_captions",
    "interval",
    "measure",
    "scene",
    "scenes",
    "truth_and_coverage",
    "world",
]
