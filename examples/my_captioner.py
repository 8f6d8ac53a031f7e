"""Your own captioner, plugged in by name: no registration, no base class.

    PYTHONPATH=examples panoglot build photos -o photos.pano --captioner python:my_captioner:local
    PYTHONPATH=examples panoglot build photos -o photos.pano --captioner "python:my_captioner:remote?style=short"

Any object with a `name`, a `fingerprint`, a `batch_size` and the methods of a role (`panoglot.providers.roles`) is a
model. Here are both flavours of a `Generator`: a `def` gets whole batches in one thread, an `async def` gets many
single calls at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from panoglot import RowError
from panoglot.providers.roles import Answer, Prompt


class LightTeller:
    """Says how bright a picture is: put your model's call where the sentence is made."""

    batch_size = 16  # the runtime gathers the questions of many pictures into calls of this size

    def __init__(self, style: str = "long") -> None:
        self.name = f"light-teller:{style}"  # written beside every caption
        self.fingerprint = f"light-teller-1-{style}"  # change it whenever answers may change: old ones are not reused
        self.style = style

    def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
        """Answer every prompt, in order. One that fails is a `RowError` in its place; the others are kept."""
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: Prompt) -> Answer | RowError:
        if not prompt.images:
            return RowError("image_needed", "this model describes pictures")
        try:
            pixels = prompt.images[0].pixels(min_side=64)  # uint8 [H, W, 3], upright, alpha over white
        except RowError as error:  # a picture that is broken inside
            return error
        light = "dark" if pixels.mean() < 85 else "bright" if pixels.mean() > 170 else "evenly lit"
        text = f"A {light} picture." if self.style == "short" else f"This is a picture that is {light} on the whole."
        return Answer(text, tokens_in=len(prompt.text.split()), tokens_out=len(text.split()))


class RemoteLightTeller(LightTeller):
    """The same as a service would answer: `async`, so that many pictures are asked about at once."""

    batch_size = 1

    async def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:  # type: ignore[override]
        """Answer every prompt."""
        await asyncio.sleep(0.01)  # your request goes here
        return [self._one(prompt) for prompt in prompts]


def local(style: str = "long") -> LightTeller:
    """Make the model; options of the name (`?style=short`) arrive as strings."""
    return LightTeller(style)


def remote(style: str = "long") -> RemoteLightTeller:
    """Make the asynchronous one."""
    return RemoteLightTeller(style)
