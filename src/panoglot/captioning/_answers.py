"""The language of what a captioner answers: asked for and checked, or identified."""

from __future__ import annotations

import re

from panoglot.asking import Models
from panoglot.languages import UNKNOWN_LANGUAGE, alike, canonical_language, is_foreign, language_name

__all__ = ["AUTO", "ask_for", "check_answer"]

#: The option `lang` of captioning methods that asks for no language.
AUTO = "auto"


async def ask_for(prompt: str, lang: str, m: Models, identifier: str) -> str:
    """Return the prompt, with a line that asks for the language if it is not in that language anyhow.

    Raises:
        UserError: `lang` is neither `auto` nor a language tag.
    """
    if lang == AUTO:
        return prompt
    wanted = canonical_language(lang)
    found, _ = await m[identifier].identify(_spoken(prompt))
    return prompt if found == wanted else f"{prompt}\nAnswer in {language_name(wanted)}."


async def check_answer(
    text: str, prompt: str, lang: str, m: Models, identifier: str
) -> tuple[str, dict[str, float | None], str | None]:
    """Name the language of an answer.

    Args:
        text: the answer.
        prompt: the question as the user wrote it; the answer to a question in German is likely German.
        lang: `auto`, or the language that was asked for.
        m: the models.
        identifier: a model of the role `language_identifier`.

    Returns:
        Tag, scores (`lid`, the identifier's probability), and `wrong_language` when it is surely in another than the
        one asked for, else None. Where the identifier is not sure, it is the one asked for, or that of the prompt if
        that is sure and the letters fit, or `und`.
    """
    found, sure = await m[identifier].identify(text)
    scores: dict[str, float | None] = {"lid": sure}
    if lang != AUTO:
        wanted = canonical_language(lang)
        if is_foreign(text, wanted) or (found != UNKNOWN_LANGUAGE and not alike(found, wanted)):
            return found, scores, "wrong_language"
        return wanted, scores, None
    if found != UNKNOWN_LANGUAGE:
        return found, scores, None
    asked, _ = await m[identifier].identify(_spoken(prompt))
    if asked != UNKNOWN_LANGUAGE and not is_foreign(text, asked, min_letters=1):
        return asked, scores, None
    return UNKNOWN_LANGUAGE, scores, None


def _spoken(prompt: str) -> str:
    """A prompt without its placeholders.

    >>> _spoken("Beschreibe das Bild {title}.")
    'Beschreibe das Bild .'
    """
    return re.sub(r"\{[^{}]*\}", "", prompt)
