"""Evidence as sentences: what a classifier, a face detector and a look at the colours support, and no more."""

from __future__ import annotations

import re
from collections.abc import Sequence

from panoglot.providers.embedded._facts import PictureFacts
from panoglot.providers.roles import Box, Line, Tag

__all__ = ["PICTURE", "english_caption", "fact_caption", "named_caption", "with_article", "written_text"]

#: "Picture" in other languages: `Bild: Tiger` is right in every grammar, a sentence around a bare noun is not.
PICTURE = {
    "ar": "صورة",
    "bn": "ছবি",
    "cs": "Obrázek",
    "de": "Bild",
    "el": "Εικόνα",
    "es": "Imagen",
    "fa": "تصویر",
    "fr": "Image\N{NO-BREAK SPACE}",  # French sets a space before the colon
    "he": "תמונה",
    "hi": "चित्र",
    "id": "Gambar",
    "it": "Immagine",
    "ja": "画像",
    "ko": "이미지",
    "nl": "Afbeelding",
    "pl": "Zdjęcie",
    "pt": "Imagem",
    "ro": "Imagine",
    "ru": "Изображение",
    "sw": "Picha",
    "th": "ภาพ",
    "tr": "Resim",
    "uk": "Зображення",
    "vi": "Hình ảnh",
    "zh-Hans": "图片",
    "zh-Hant": "圖片",
}

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
    return f"A picture in {_listed([name for name, _ in facts.colours[:3]])}.", None


def named_caption(name: str, lang: str) -> str | None:
    """Return a caption that names the class in another language; None where the word for "picture" is not known here.

    >>> named_caption("tigre", "fr"), named_caption("Tiger", "de-AT"), named_caption("simba", "zu")
    ('Image\\xa0: tigre', 'Bild: Tiger', None)
    """
    word = PICTURE.get(lang) or PICTURE.get(lang.partition("-")[0])
    if word is None:
        return None
    colon = "：" if lang.partition("-")[0] in ("ja", "zh") else ": "
    return f"{word}{colon}{name}"


def fact_caption(facts: PictureFacts) -> str:
    """Return the measured facts as one English sentence.

    >>> fact_caption(PictureFacts(640, 480, "landscape", 0.4, 0.9, 0.1, 90, (("red", 0.7), ("white", 0.3))))
    'Landscape format, 640 × 480 pixels, cut out on transparency, bright, vivid; mostly red, with white.'
    """
    parts = [f"{facts.shape.capitalize()} format", f"{facts.width} × {facts.height} pixels"]
    if facts.transparent > 0.05:
        parts.append("cut out on transparency")
    if facts.brightness < 0.25 or facts.brightness > 0.8:
        parts.append("dark" if facts.brightness < 0.25 else "bright")
    if facts.colourfulness < 5 or facts.colourfulness > 80:
        parts.append("without colour" if facts.colourfulness < 5 else "vivid")
    (first, share), *others = facts.colours[:3] or [("many colours", 0.0)]
    colours = f"mostly {first}" if share >= 0.5 else first
    return ", ".join(parts) + f"; {colours}" + (f", with {_listed([n for n, _ in others])}" if others else "") + "."


def written_text(lines: Sequence[Line]) -> str:
    """Return what is written in the picture, a line a line."""
    return "\n".join(line.text for line in lines if line.text.strip())


def count_faces(boxes: Sequence[Box]) -> int:
    """Return how many boxes are faces."""
    return sum(box.name == "face" for box in boxes)


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "many colours"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
