"""Prompts that read: `{title}` from the context a picture came with, `{ocr}` from what an earlier step wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence

from panoglot.errors import RowError
from panoglot.languages import matches
from panoglot.pictures import Image
from panoglot.table import Caption

__all__ = ["PLACEHOLDER", "filled"]

#: A name in braces; JSON in a prompt is none.
PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w.:-]*)\}")


def filled(prompt: str, image: Image, *, lang: str = "") -> tuple[str, list[Caption]]:
    """Put what is known of a picture into a prompt; what is put in is text, never a template again.

    Args:
        prompt: `{NAME}` is a key of the picture's context, else a kind of caption (`{alt}`, `{ocr}`, `{human}` …) or a
            method (`{evidence}`) that wrote one.
        image: with its context and its kept captions.
        lang: of several texts the one in this language is taken, else the English one, else the first.

    Returns:
        The prompt, and the captions that stand in it.

    Raises:
        RowError: `not_in_picture`: a name that the picture has nothing for.
    """
    read: list[Caption] = []

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name in image.context:
            return str(image.context[name])
        written = [c for c in image.captions if name in (c.kind, c.recipe.partition("/")[0])]
        if not written:
            raise RowError(
                "not_in_picture", f"the prompt reads {{{name}}}: the picture has no such context and no such caption"
            )
        best = _best(written, lang)
        if not any(best is other for other in read):
            read.append(best)
        return best.text

    return PLACEHOLDER.sub(value, prompt), read


def _best(written: Sequence[Caption], lang: str) -> Caption:
    ordered = sorted(written, key=lambda c: c.caption_id)
    for tag in (lang, "en"):
        for caption in ordered:
            if tag and matches(tag, caption.lang):
                return caption
    return ordered[0]
