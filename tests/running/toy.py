"""Models and operators of the tests of the runner; importable in worker processes as well."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from panoglot.errors import RowError
from panoglot.providers.roles import Answer, Prompt
from panoglot.running import Outcome
from panoglot.table import Caption, caption_id


def _told(prompt: Prompt) -> str:
    """Of a picture a caption that two questions and two pictures do not share, with its markup; else the question."""
    if not prompt.images:
        return prompt.text
    asked = hashlib.sha256(prompt.text.encode()).hexdigest()[:4]
    markup = f"{prompt.text} " if "<" in prompt.text else ""
    return f"A brown dog is running on the grass near the water {markup}{asked} {prompt.images[0].id[:8]}"


class Writer:
    """A local generator that says the id of the picture; counts its calls in a file."""

    batch_size = 4

    def __init__(self, log: str = "", fail: str = "", name: str = "toy:writer", sleep: str = "0") -> None:
        self.name, self.fingerprint = name, f"{name}-1"
        self.log, self.fail, self.sleep = log, fail, float(sleep)

    def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
        time.sleep(self.sleep * len(prompts))
        if self.log:
            with open(self.log, "a") as file:
                file.write("".join(f"{p.images[0].id if p.images else p.text}\n" for p in prompts))
        return [
            RowError("refused", "told to fail")
            if self.fail and p.images and p.images[0].id.startswith(tuple(self.fail.split("|")))
            else Answer(_told(p), tokens_in=10, tokens_out=3)
            for p in prompts
        ]


class Server(Writer):
    """The same, answering as a server does: one at a time, many at once."""

    running = 0
    most = 0

    async def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:  # type: ignore[override]
        import asyncio

        Server.running += 1
        Server.most = max(Server.most, Server.running)
        await asyncio.sleep(0.01)
        Server.running -= 1
        return Writer.generate(self, prompts)


class Fits:
    """An encoder whose cosine of picture and text is the number in the text."""

    name, fingerprint, batch_size, dim = "toy:fits", "toy-fits-1", 8, 2

    def encode_images(self, images):
        import numpy as np

        return np.tile(np.array([1.0, 0.0], np.float32), (len(images), 1))

    def encode_texts(self, texts, langs=None):
        import numpy as np

        values = [float(t.split("=")[1].strip(" .")) if "=" in t else 0.5 for t in texts]
        return np.array([[v, (1 - v * v) ** 0.5] for v in values], np.float32)


class Identifier:
    """Names the language by a word in the text."""

    name, fingerprint, batch_size = "toy:lid", "toy-lid-1", 8

    def identify(self, texts):
        return [("de", 0.99) if "Hund" in t else ("en", 0.99) for t in texts]


class Phrasebook:
    """Translates one sentence into German, and refuses French."""

    name, fingerprint, batch_size = "toy:phrasebook", "toy-phrasebook-1", 8
    pairs = frozenset({("en", "de"), ("en", "fr"), ("en", "es")})

    def translate(self, texts, source, target):
        return [
            RowError("no_such_word") if t == "fr" else "Ein Hund läuft am Strand." if t == "de" else text
            for text, t in zip(texts, target)
        ]


@dataclass
class Sizes:
    """An operator that writes a caption and a score for every picture, and rejects what starts with `bad`."""

    bad: str = ""
    sleep: float = 0.0
    crash: bool = False

    def open(self, worker):
        self.run = worker.run_id

    def process(self, items, emit):
        for item in items:
            time.sleep(self.sleep)
            if self.crash:
                raise ZeroDivisionError("a bug")
            if self.bad and item.key.startswith(tuple(self.bad.split("|"))):
                emit(item.key, Outcome(reject=RowError("bad", "starts badly")))
                continue
            caption = Caption(f"{item.image.width} px", "en", image_id=item.key, kind="fact")
            caption.caption_id = caption_id(item.key, "sizes", "en", None, 0)
            emit(item.key, Outcome(captions=[caption], scores={"width": float(item.image.width)}))

    def close(self):
        pass


@dataclass
class Alone:
    """An operator that fails when it is asked twice at once."""

    def open(self, worker):
        self.busy = False

    def process(self, items, emit):
        assert not self.busy, "two batches at once"
        self.busy = True
        for item in items:
            time.sleep(0.002)
            emit(item.key, Outcome())
        self.busy = False

    def close(self):
        pass


def calls(log: str | os.PathLike[str]) -> list[str]:
    """The questions in a log, in order."""
    path = Path(log)
    return path.read_text().split("\n")[:-1] if path.exists() else []
