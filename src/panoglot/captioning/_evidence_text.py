"""Evidence as sentences: what a classifier, a face detector and a look at the colours support, and no more."""

from __future__ import annotations

from collections.abc import Sequence

from panoglot.providers.embedded._facts import PictureFacts
from panoglot.providers.embedded.evidence import english_caption, listed, with_article
from panoglot.providers.roles import Box, Line

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
    return ", ".join(parts) + f"; {colours}" + (f", with {listed([n for n, _ in others])}" if others else "") + "."


def written_text(lines: Sequence[Line]) -> str:
    """Return what is written in the picture, a line a line."""
    return "\n".join(line.text for line in lines if line.text.strip())


def count_faces(boxes: Sequence[Box]) -> int:
    """Return how many boxes are faces."""
    return sum(box.name == "face" for box in boxes)
