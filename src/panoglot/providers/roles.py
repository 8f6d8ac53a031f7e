"""What a model can be asked. A model is any object with the methods of one or more roles; nothing to inherit.

Every method takes a *batch* and answers in the same order. Two flavours, told apart by the runtime:

- `def` (local models): the runtime gathers what many images ask into batches of `batch_size` and calls from one thread.
- `async def` (servers): the runtime calls with one item at a time, many at once, within the model's limits. A model
  may have `slot()`, an async context manager: it is held from before the question until the answer is on the disk, so a
  kill never costs more answers than may be under way.

What a `Generator` writes is freed of reasoning, chat tokens and announcements by the runtime (`text/_answers.py`).

One bad item must not cost the others: put a `panoglot.errors.RowError` *in the place of the answer* instead of raising.
What is raised fails every item of the batch.

    class Mine:                                   # a whole model
        name = "mine:1"                           # what is written into `captions.model`
        fingerprint = "mine-1-weights-abcdef"     # changes whenever its answers may change
        batch_size = 16
        def generate(self, prompts):
            return [Answer(text="a picture") for _ in prompts]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from panoglot.errors import RowError
from panoglot.extensions import load_entry
from panoglot.geometry import Region
from panoglot.providers._prompt import Frames, Prompt, RegionPart, Turn

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image

__all__ = [
    "ROLES",
    "Answer",
    "Box",
    "DepthEstimator",
    "Detector",
    "Encoder",
    "Frames",
    "Generator",
    "ImageGenerator",
    "Judge",
    "LanguageIdentifier",
    "Line",
    "Model",
    "Parser",
    "Prompt",
    "Question",
    "Reader",
    "RegionPart",
    "Role",
    "Rubric",
    "SceneGraph",
    "Scored",
    "Segmenter",
    "Tag",
    "Tagger",
    "Translator",
    "Turn",
    "Verdict",
    "find_role",
]


@dataclass(frozen=True)
class Answer:
    """What a `Generator` wrote.

    Attributes:
        text: the text, trimmed, without special tokens.
        finish: `stop` (it ended), `length` (cut at `max_tokens`).
        tokens_in: tokens read, or None when unknown.
        tokens_out: tokens written, or None.
        tokens: the answer's tokens with natural-log probabilities, when asked for.
    """

    text: str
    finish: str = "stop"
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens: tuple[tuple[str, float], ...] | None = None


class Scored(list[tuple[str, float]]):
    """The tokens of a given text with natural-log probabilities, from a model that says what they cost.

    Attributes:
        tokens_in: tokens read, or None when unknown.
        tokens_out: tokens written, or None.
        requests: how often the model was asked for them.
    """

    def __init__(
        self,
        tokens: Sequence[tuple[str, float]],
        tokens_in: int | None = None,
        tokens_out: int | None = None,
        requests: int = 1,
    ) -> None:
        super().__init__(tokens)
        self.tokens_in, self.tokens_out, self.requests = tokens_in, tokens_out, requests


@dataclass(frozen=True, slots=True)
class Tag:
    """A class of the picture.

    Attributes:
        name: English name.
        score: 0..1.
        key: stable key of the class, for example a WordNet synset `n02129604`.
    """

    name: str
    score: float
    key: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A detected thing: what, how sure (0..1), where."""

    name: str
    score: float
    region: Region


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in the picture: the text, how sure (0..1), where."""

    text: str
    score: float
    region: Region


@dataclass(frozen=True, slots=True)
class SceneGraph:
    """What a caption says: `objects`, `attributes` (object, attribute), `relations` (subject, verb, object); lemmas."""

    objects: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    relations: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Rubric:
    """A question to a `Judge`: what is judged, by what, and what answers there are.

    Attributes:
        prompt: the rubric with the item: texts, pictures.
        scale: lowest and highest number, for a grade; or None.
        choices: the words to choose from, for a verdict in words; or empty.
    """

    prompt: Prompt
    scale: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a `Judge` says.

    Attributes:
        value: a number on the scale, or one of the choices.
        reason: why, in the judge's words; may be empty.
        tokens_in: tokens read, or None when unknown.
        tokens_out: tokens written, or None.
    """

    value: float | str
    reason: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None


@runtime_checkable
class Model(Protocol):
    """What every model has.

    Attributes:
        name: what is written into `captions.model`: provider, name, version.
        fingerprint: changes whenever its answers may change; part of recipe fingerprints and journal keys.
        batch_size: how many items a call takes (local models).

    Optional: `per_core = True`: it computes on one thread, so the runner gives every core a process of its own. Without
    it there is one, which may use all cores or a GPU.
    """

    name: str
    fingerprint: str
    batch_size: int


@runtime_checkable
class Generator(Protocol):
    """Images and text in, text out.

    Optional: `score(prompts, texts) -> list[list[tuple[str, float]] | RowError]`: tokens of each given text with the
    natural-log probability that the model gives them after the prompt (ask with and without the image to see what the
    image adds).
    A row that cannot be scored is a `RowError`; the first piece may begin with a space that a chat template puts there.
    Optional attributes: `chat` (it follows instructions), `sees` (it takes pictures).
    """

    def generate(self, prompts: Sequence[Prompt]) -> Sequence[Answer | RowError]:
        """Answer every prompt."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Images or texts to unit vectors in one space: float32 `[N, dim]`, or `[N, K, dim]` for multi-vector encoders.

    A row that failed is NaN throughout. `encode_texts` gets the language of every text (`und` when unknown).
    `max_text_tokens` (optional attribute) is where texts are cut; `cut` (optional) counts what was cut. Optional:
    `match(images, texts) -> list[float | RowError]`, the probability of an image-text matching head (BLIP's ITM). An
    encoder with one tower raises `UserError` at the other call. Optional: `pieces(texts) -> list[int]`, into how many
    tokens of its vocabulary texts are cut: made-up words take many. Optional: `encode_queries(queries) -> [N, dim]`,
    for queries that are lists of parts (texts, pictures, places) embedded together: composed and interleaved search.
    """

    dim: int

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures."""
        ...

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Encode texts."""
        ...


@runtime_checkable
class Tagger(Protocol):
    """Images to classes, best first."""

    def tag(self, images: Sequence[Image]) -> Sequence[Sequence[Tag] | RowError]:
        """Classify pictures."""
        ...


@runtime_checkable
class Detector(Protocol):
    """Images to boxes, best first. `names` narrows an open-vocabulary detector; None asks for all it knows.

    Optional attribute: `classes`, the names of all that it can find; without it anything may be asked for, and what it
    does not find is not there.
    """

    def detect(
        self, images: Sequence[Image], names: Sequence[Sequence[str] | None] | None = None
    ) -> Sequence[Sequence[Box] | RowError]:
        """Find things."""
        ...


@runtime_checkable
class Reader(Protocol):
    """OCR: images to lines of text, in reading order."""

    def read(self, images: Sequence[Image]) -> Sequence[Sequence[Line] | RowError]:
        """Read the writing in pictures."""
        ...


@runtime_checkable
class Translator(Protocol):
    """Texts from one language to another. `pairs` lists what it can, or is None when anything may be asked."""

    pairs: frozenset[tuple[str, str]] | None

    def translate(self, texts: Sequence[str], source: Sequence[str], target: Sequence[str]) -> Sequence[str | RowError]:
        """Translate every text from its source tag to its target tag."""
        ...


@runtime_checkable
class LanguageIdentifier(Protocol):
    """Texts to (canonical tag, probability 0..1).

    Optional: `identify_together(texts, known)` names those of one source, given the number of its texts by language;
    `languages`, the base tags that it can name.
    """

    def identify(self, texts: Sequence[str]) -> Sequence[tuple[str, float]]:
        """Name the language of every text; `und` where it is not sure."""
        ...


@runtime_checkable
class Parser(Protocol):
    """Captions to what they say. Languages it was not made for give a `RowError`, never a guess."""

    def parse(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> Sequence[SceneGraph | RowError]:
        """Parse captions into scene graphs."""
        ...


@runtime_checkable
class Segmenter(Protocol):
    """Images to things with masks (`region.mask`), best first.

    `regions` are boxes or points to segment, a list an image; None asks for everything. `names` narrows an
    open-vocabulary segmenter.
    """

    def segment(
        self,
        images: Sequence[Image],
        regions: Sequence[Sequence[Region] | None] | None = None,
        names: Sequence[Sequence[str] | None] | None = None,
    ) -> Sequence[Sequence[Box] | RowError]:
        """Find things and their outlines."""
        ...


@runtime_checkable
class DepthEstimator(Protocol):
    """Images to depth, float32 `[height, width]`, larger is farther; `metric` says whether it is metres."""

    metric: bool

    def depth(self, images: Sequence[Image]) -> Sequence[np.ndarray | RowError]:
        """Estimate how far everything is."""
        ...


@runtime_checkable
class ImageGenerator(Protocol):
    """Text (and pictures) in, a picture out. Seed and turns come with the prompt, as for a `Generator`."""

    def paint(self, prompts: Sequence[Prompt]) -> Sequence[Image | RowError]:
        """Make a picture for every prompt."""
        ...


@runtime_checkable
class Judge(Protocol):
    """Rubrics to verdicts. Every `Generator` can be one (`providers.judge_of`): it answers as JSON."""

    def judge(self, rubrics: Sequence[Rubric]) -> Sequence[Verdict | RowError]:
        """Judge every rubric."""
        ...


@dataclass(frozen=True)
class Question:
    """How a method of a role is asked for one item.

    Attributes:
        method: the model's method.
        columns: how many arguments it takes, as parallel lists; 1 is one list of items.
        rest: what missing last arguments are.
        keep: `journal`: the answer is paid for, and stored; `memory`: a frozen model's, kept while there is room.
        vectors: it returns an array; its rows are the answers, NaN where there is none.
    """

    method: str
    columns: int = 1
    rest: tuple[Any, ...] = ()
    keep: str = "memory"
    vectors: bool = False


@dataclass(frozen=True)
class Role:
    """A role: its protocol, and how each of its methods is asked.

    A package adds one by an entry point of the group `panoglot.roles` that names a `Role`.
    """

    name: str
    protocol: type
    questions: tuple[Question, ...]


#: The roles by name: what option types, `load_model` and the asker's methods are made of.
ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role(
            "generator",
            Generator,
            (Question("generate", keep="journal"), Question("score", columns=2, keep="journal")),
        ),
        Role(
            "encoder",
            Encoder,
            (
                Question("encode_images", vectors=True),
                Question("encode_texts", columns=2, rest=("und",), vectors=True),
                Question("encode_queries", vectors=True),
                Question("match", columns=2),
            ),
        ),
        Role("tagger", Tagger, (Question("tag"),)),
        Role("detector", Detector, (Question("detect", columns=2, rest=(None,)),)),
        Role("segmenter", Segmenter, (Question("segment", columns=3, rest=(None, None)),)),
        Role("depth_estimator", DepthEstimator, (Question("depth"),)),
        Role("reader", Reader, (Question("read"),)),
        Role("translator", Translator, (Question("translate", columns=3),)),
        Role("language_identifier", LanguageIdentifier, (Question("identify"),)),
        Role("parser", Parser, (Question("parse", columns=2, rest=("und",)),)),
        Role("image_generator", ImageGenerator, (Question("paint", keep="no"),)),
        Role("judge", Judge, (Question("judge", keep="journal"),)),
    )
}


def find_role(name: str) -> Role:
    """Return a role, ours or that of an installed package.

    Raises:
        UserError: no such role, with "did you mean".
    """
    return ROLES.get(name) or load_entry("panoglot.roles", name, "role")
