"""What a `Generator` is asked: turns of ordered parts, and what each model can be shown of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean
from panoglot.geometry import Region

if TYPE_CHECKING:
    from panoglot.pictures import Image

__all__ = ["SHOWN", "Frames", "Part", "Prompt", "RegionPart", "Turn", "lowered", "plain_text"]

#: How a region of a picture can be shown. `crop`, `outline` and `blur` are drawn and work with every model that sees;
#: `alpha` (a fourth channel) and `token` (the place as a token) only with models that were made for it.
SHOWN = ("crop", "outline", "blur", "alpha", "token")
_DRAWN = frozenset(SHOWN[:3])


@dataclass(frozen=True)
class RegionPart:
    """A place in a picture, as a part of a prompt.

    Attributes:
        image: the picture.
        region: box, mask or points in it.
        shown: one of `SHOWN`.
    """

    image: Image
    region: Region
    shown: str = "crop"

    def __post_init__(self) -> None:
        if self.shown not in SHOWN:
            raise UserError(f"a region cannot be shown as '{self.shown}'.{did_you_mean(self.shown, SHOWN)}")


@dataclass(frozen=True)
class Frames:
    """Pictures of a video in order of time, as one part of a prompt.

    Attributes:
        images: the frames.
        times: seconds of each, or empty.
    """

    images: tuple[Image, ...]
    times: tuple[float, ...] = ()


#: A text, a picture, a place in a picture, frames.
Part = Any  # str | Image | RegionPart | Frames; Image is not imported to run


@dataclass(frozen=True)
class Turn:
    """What one side says: ordered parts.

    Attributes:
        role: `user`, `assistant` or `system`.
        parts: texts, pictures, places, frames in order.
    """

    role: str
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if self.role not in ("user", "assistant", "system"):
            raise UserError(f"no turn of a prompt is '{self.role}': write user, assistant or system.")
        if isinstance(self.parts, str) or not isinstance(self.parts, Sequence):
            object.__setattr__(self, "parts", (self.parts,))
        object.__setattr__(self, "parts", tuple(self.parts))


@dataclass(frozen=True, init=False)
class Prompt:
    """A question to a `Generator`: turns of ordered parts, and how to answer.

    Most prompts are one turn: `Prompt("What is this?", (picture,))`. Several turns, or parts in another order:

    >>> Prompt(turns=[Turn("user", "Hello"), Turn("assistant", "Hi"), Turn("user", "Bye")]).text
    'Bye'
    >>> Prompt("Describe it.", system="Be brief.").turns[0]
    Turn(role='system', parts=('Be brief.',))

    Attributes:
        turns: what was said, in order; the last one is the question. For a completion (`chat=False`) the text to go on
            from.
        max_tokens: most new tokens.
        temperature: 0 is greedy.
        top_p: sample among the likeliest tokens that make up this share.
        seed: for sampling; a function of (seed, epoch, id), never of time.
        stop: strings that end the answer (not part of it).
        schema: a JSON schema that the answer must follow, or None.
        chat: False asks for a plain continuation (base models).
        logprobs: ask for the log-probability of every token of the answer.
    """

    turns: tuple[Turn, ...]
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    schema: dict[str, Any] | None = field(default=None, hash=False)
    chat: bool = True
    logprobs: bool = False
    top_p: float = 1.0

    def __init__(
        self,
        text: str = "",
        images: Sequence[Part] = (),
        system: str | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        schema: dict[str, Any] | None = None,
        chat: bool = True,
        logprobs: bool = False,
        top_p: float = 1.0,
        *,
        turns: Sequence[Turn] | None = None,
    ) -> None:
        if turns is None:
            said = [Turn("system", (system,))] if system is not None else []
            turns = [*said, Turn("user", (*images, text))]
        elif text or images or system is not None:
            raise ValueError("give a prompt its turns, or a text with its pictures")
        given = {**locals(), "turns": tuple(turns), "stop": tuple(stop)}
        for one in fields(self):
            object.__setattr__(self, one.name, given[one.name])

    @property
    def text(self) -> str:
        """The texts of the last turn, joined."""
        return "".join(part for part in self.turns[-1].parts if isinstance(part, str)) if self.turns else ""

    @property
    def system(self) -> str | None:
        """The text of the system turn, or None."""
        said = [part for turn in self.turns if turn.role == "system" for part in turn.parts if isinstance(part, str)]
        return "\n\n".join(said) if said else None

    @property
    def images(self) -> tuple[Any, ...]:
        """All pictures in order: a place counts as the picture it is in, frames one by one."""
        found: list[Any] = []
        for turn in self.turns:
            for part in turn.parts:
                if isinstance(part, Frames):
                    found += part.images
                elif not isinstance(part, str):
                    found.append(part.image if isinstance(part, RegionPart) else part)
        return tuple(found)

    def saying(self, text: str) -> Prompt:
        """The same with other words in the last turn; its pictures stay."""
        *before, last = self.turns
        kept = [part for part in last.parts if not isinstance(part, str)]
        return replace(self, turns=(*before, Turn(last.role, (*kept, text))))

    def showing(self, *parts: Part) -> Prompt:
        """The same with more pictures, places or frames before the words of the last turn."""
        *before, last = self.turns
        first = [part for part in last.parts if not isinstance(part, str)]
        words = [part for part in last.parts if isinstance(part, str)]
        return replace(self, turns=(*before, Turn(last.role, (*first, *parts, *words))))


def lowered(prompt: Prompt, *, model: str, takes: Collection[str] = ()) -> Prompt:
    """Return a prompt as a model is given it that takes texts and pictures: no part is anything else.

    Places are drawn (`pictures.draw_region`), frames become pictures, each with its time as a text before it.

    Args:
        prompt: the prompt.
        model: the model's name, for the message.
        takes: what the model takes as it is, out of `SHOWN`; such parts stay `RegionPart`s.

    Raises:
        UserError: a place shown in a way that the model cannot take.
        RowError: a place that cannot be drawn.
    """
    from panoglot.pictures import draw_region

    def parts(turn: Turn) -> Iterator[Part]:
        for part in turn.parts:
            if isinstance(part, RegionPart) and part.shown not in takes:
                if part.shown not in _DRAWN:
                    raise UserError(
                        f"{model} cannot be shown a region as '{part.shown}'; "
                        f"{', '.join(sorted(_DRAWN))} work with every model that sees."
                    )
                yield draw_region(part.image, part.region, part.shown)
            elif isinstance(part, Frames):
                for n, image in enumerate(part.images):
                    if part.times:
                        yield f"{part.times[n]:.1f} s: "
                    yield image
            elif not isinstance(part, str) or part:
                yield part

    if all(isinstance(part, str) for turn in prompt.turns for part in turn.parts):
        return prompt
    return replace(prompt, turns=tuple(Turn(turn.role, tuple(parts(turn))) for turn in prompt.turns))


def plain_text(prompt: Prompt, model: str) -> str:
    """Return the text that a completion (`chat=False`) goes on from: the turns one below the other.

    Raises:
        UserError: pictures, or an answer of the model before the question: that is a chat.
    """
    if any(turn.role == "assistant" for turn in prompt.turns):
        raise UserError(f"{model}: a plain completion has no turns of an assistant; ask with chat=True.")
    said = ["".join(part for part in turn.parts if isinstance(part, str)) for turn in prompt.turns]
    return "\n\n".join(text for text in said if text)
