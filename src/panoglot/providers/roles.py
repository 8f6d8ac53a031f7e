"""What a model can be asked. A model is any object with the methods of one or more roles; nothing to inherit.

Every method takes a *batch* and answers in the same order. Two flavours, told apart by the runtime:

- `def` (local models): the runtime gathers what many images ask into batches of `batch_size` and calls from one thread.
- `async def` (servers): the runtime calls with one item at a time, many at once, within the model's limits. A model
  may have `slot()`, an async context manager: it is held from before the question until the answer is on the disk, so a
  kill never costs more answers than may be under way.

What a `Generator` writes is freed of reasoning, chat tokens and announcements by the runtime (`providers/_answers.py`).

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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from panoglot.errors import RowError
from panoglot.geometry import Region

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image

__all__ = [
    "ROLES",
    "Answer",
    "Box",
    "Detector",
    "Encoder",
    "Generator",
    "LanguageIdentifier",
    "Line",
    "Model",
    "Parser",
    "Prompt",
    "Reader",
    "SceneGraph",
    "Tag",
    "Tagger",
    "Translator",
]


@dataclass(frozen=True)
class Prompt:
    """A question to a `Generator`.

    Attributes:
        text: the user's turn. For a completion (`chat=False`) the text to go on from.
        images: the pictures it is about, in order.
        system: the system turn, or None.
        max_tokens: most new tokens.
        temperature: 0 is greedy.
        seed: for sampling; a function of (seed, epoch, id), never of time.
        stop: strings that end the answer (not part of it).
        schema: a JSON schema that the answer must follow, or None.
        chat: False asks for a plain continuation (base models).
        logprobs: ask for the log-probability of every token of the answer.
    """

    text: str
    images: tuple[Image, ...] = ()
    system: str | None = None
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    schema: dict[str, Any] | None = field(default=None, hash=False)
    chat: bool = True
    logprobs: bool = False


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
    encoder with one tower raises `UserError` at the other call.
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
    """Images to boxes, best first. `names` narrows an open-vocabulary detector; None asks for all it knows."""

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
    """Texts to (canonical tag, probability 0..1)."""

    def identify(self, texts: Sequence[str]) -> Sequence[tuple[str, float]]:
        """Name the language of every text."""
        ...


@runtime_checkable
class Parser(Protocol):
    """Captions to what they say. Languages it was not made for give a `RowError`, never a guess."""

    def parse(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> Sequence[SceneGraph | RowError]:
        """Parse captions into scene graphs."""
        ...


#: Role name to (protocol, its batch methods): what the runtime may call on a model.
ROLES: dict[str, tuple[type, tuple[str, ...]]] = {
    "generator": (Generator, ("generate", "score")),
    "encoder": (Encoder, ("encode_images", "encode_texts")),
    "tagger": (Tagger, ("tag",)),
    "detector": (Detector, ("detect",)),
    "reader": (Reader, ("read",)),
    "translator": (Translator, ("translate",)),
    "language_identifier": (LanguageIdentifier, ("identify",)),
    "parser": (Parser, ("parse",)),
}
