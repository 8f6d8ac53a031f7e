"""Prompts that read: `{title}` from the context a picture came with, `{ocr}` from what an earlier step wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from panoglot.errors import RowError, UserError, did_you_mean
from panoglot.languages import matches
from panoglot.pictures import Image
from panoglot.table import KINDS, Caption, Dataset

__all__ = ["PLACEHOLDER", "check_names", "filled"]

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


def check_names(data: Dataset, prompt: str, methods: Sequence[str]) -> None:
    """Refuse a prompt that reads what no picture of a dataset has, and no step can write, before anything is asked.

    Args:
        data: the dataset.
        prompt: as in `filled`.
        methods: names of all methods.

    Raises:
        UserError: with the likely name.
    """
    for name in dict.fromkeys(PLACEHOLDER.findall(prompt)):
        if name in KINDS or name in methods:
            continue
        if data.images.count(f"context like '%\"{name}\"%'"):
            continue
        recipes = {str(one).partition("/")[0] for one in data.captions.read(["recipe"])["recipe"].unique().to_pylist()}
        if name in recipes:
            continue
        some = data.images.read(["context"], "context <> '{}'", limit=1000)["context"].to_pylist()
        keys = sorted({key for one in some for key in json.loads(one or "{}")})
        near = did_you_mean(name, [*keys, *KINDS, *methods])
        there = f" Pictures have: {', '.join(keys[:12])}." if keys else ""
        raise UserError(
            f"the prompt reads {{{name}}}, and no picture of {data.address} has it, no kind of caption and no method "
            f"is called so.{near}{there}"
        )


def _best(written: Sequence[Caption], lang: str) -> Caption:
    ordered = sorted(written, key=lambda c: c.caption_id)
    for tag in (lang, "en"):
        for caption in ordered:
            if tag and matches(tag, caption.lang):
                return caption
    return ordered[0]
