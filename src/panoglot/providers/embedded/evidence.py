"""`embedded:evidence`: stands in for a captioner where none is there, and says what a classifier and colours show.

It answers every question about a picture, or a part of one, with the same sort of sentence, whatever was asked: what
the likeliest class is, if it is likely enough, how many faces are there, which colours. So every method of captioning
runs without a network and without a model that sees and writes, in the quality of `panoglot caption --method evidence`:
true more often than not, and short.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from panoglot.errors import RowError
from panoglot.identity import extended, later
from panoglot.providers._prompt import Prompt, lowered
from panoglot.providers.embedded._facts import PictureFacts, picture_facts
from panoglot.providers.embedded.efficientnet import EfficientNetLite2
from panoglot.providers.roles import Answer, Tag

if TYPE_CHECKING:
    from panoglot.pictures import Image

__all__ = ["EvidenceCaptioner", "english_caption", "listed", "with_article"]

_MASS = re.compile(
    r"(broccoli|carbonara|chain mail|consomme|corn|dough|eggnog|espresso|guacamole|hay|ice cream|red wine|syrup|"
    r"toilet paper|velvet|wool|meatloaf)$"
)
_NOT_PLURAL = re.compile(r"(ss|us|is)$")


def with_article(name: str) -> str:
    """Return an English class name as it stands in a sentence.

    >>> with_article("Egyptian Mau"), with_article("sunglasses"), with_article("unicycle"), with_article("hourglass")
    ('an Egyptian Mau', 'sunglasses', 'a unicycle', 'an hourglass')
    """
    lower = name.lower()
    if _MASS.search(lower) or (lower.endswith("s") and not _NOT_PLURAL.search(lower)):
        return name
    vowel = lower[0] in "aeiou" and not re.match(r"(uni|u[kst][aeiou]|eu|one\b)", lower)
    return f"{'an' if vowel or lower.startswith(('hour', 'ipod', 'x-ray')) else 'a'} {name}"


def english_caption(
    tags: Sequence[Tag], faces: int | None, facts: PictureFacts, *, sure: float = 0.5, maybe: float = 0.2
) -> tuple[str, float | None]:
    """Return an English caption and the probability of the class that it names (None when it names none).

    Args:
        tags: classes, best first.
        faces: how many faces were found; None when nobody looked.
        facts: colours are named where no class is.
        sure: from here on the class is stated.
        maybe: from here on it is offered, as such, with a second one that comes near.

    >>> facts = PictureFacts(4, 4, "square", 0, 0.5, 0.1, 30, (("brown", 0.6), ("white", 0.3)))
    >>> english_caption([Tag("espresso", 0.87)], 0, facts)
    ('A picture of espresso.', 0.87)
    >>> english_caption([Tag("palace", 0.3), Tag("bell tower", 0.2)], 2, facts)[0]
    'Perhaps a palace or a bell tower, and two faces.'
    >>> english_caption([Tag("ski", 0.08)], None, facts)[0]
    'A picture in brown and white.'
    """
    best = tags[0] if tags else None
    count = ("", "a face", "two faces", "three faces", "four faces")
    people = f"{faces} faces" if faces and faces >= len(count) else count[faces or 0]
    if best and best.score >= sure:
        text = f"A picture of {with_article(best.name)}" + (f", with {people}" if people else "")
        return text + ".", best.score
    if best and best.score >= maybe:
        near = [tag for tag in tags[1:2] if tag.score >= best.score / 2 and tag.name != best.name]
        text = "Perhaps " + " or ".join(with_article(tag.name) for tag in (best, *near))
        return text + (f", and {people}" if people else "") + ".", best.score
    if people:
        return f"A picture with {people}.", None
    return f"A picture in {listed([name for name, _ in facts.colours[:3]])}.", None


def listed(names: Sequence[str]) -> str:
    """Names as they stand in an English sentence."""
    if not names:
        return "many colours"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


class EvidenceCaptioner:
    """A `Generator` of one or two English sentences about the pictures of a prompt; its words are not read.

    Args:
        sure: probability from which a class is stated, 0..1.
        maybe: probability from which it is offered as perhaps, 0..1.
        faces: look for faces too, by `embedded:faces`.
        threads: onnxruntime threads.
    """

    chat = sees = True

    def __init__(self, sure: float = 0.5, maybe: float = 0.2, faces: bool = False, threads: int = 1) -> None:
        self._tagger = EfficientNetLite2(threads=threads)
        self._sure, self._maybe, self._faces = sure, maybe, None
        if faces:
            from panoglot.providers.embedded.faces import FaceDetector

            self._faces = FaceDetector(threads=threads)
        seers = [model for model in (self._tagger, self._faces) if model is not None]
        self.name = "embedded:evidence"
        base = "-".join(("evidence-1", *(model.fingerprint for model in seers), f"{sure}-{maybe}"))
        self.fingerprint = extended(base, later(EvidenceCaptioner, locals()))
        self.batch_size = 8
        self.per_core = True

    def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
        """Answer every prompt; `no_picture` where it shows none."""
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: Prompt) -> Answer | RowError:
        try:
            pictures = lowered(prompt, model=self.name).images
            if not pictures:
                return RowError("no_picture", f"{self.name} looks at pictures, and answers no question without one")
            said = [sentence for picture in pictures for sentence in self._look(picture)]
        except RowError as error:
            return error
        return Answer(" ".join(dict.fromkeys(said)))

    def _look(self, image: Image) -> list[str]:
        """What is there, and in which colours."""
        (tags,) = self._tagger.tag([image])
        if isinstance(tags, RowError):
            raise tags
        faces = None
        if self._faces is not None:
            (boxes,) = self._faces.detect([image])
            if isinstance(boxes, RowError):
                raise boxes
            faces = len(boxes)
        facts = picture_facts(image)
        first, named = english_caption(tags, faces, facts, sure=self._sure, maybe=self._maybe)
        colours = [name for name, _ in facts.colours[:3]]
        return [first] if named is None or not colours else [first, f"The colours are {listed(colours)}."]
