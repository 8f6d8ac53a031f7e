"""What a model answers: looked through before it is a caption, its language asked for and checked, or identified."""

from __future__ import annotations

import re

from panoglot.asking import Models
from panoglot.captioning._guards import check_text, unwrapped, without_boxes, without_loops
from panoglot.errors import RowError
from panoglot.languages import (
    UNKNOWN_LANGUAGE,
    alike,
    base_language,
    canonical_language,
    function_words,
    is_foreign,
    language_name,
    main_script,
    matches,
    without_names,
    written_as,
)

__all__ = ["AUTO", "ask_for", "check_answer", "in_words", "sound", "spoken"]

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
    found, _ = await m[identifier].identify(spoken(prompt))
    return in_words(prompt, wanted, found)


def in_words(prompt: str, wanted: str, found: str) -> str:
    """The prompt, with a line that asks for the language `wanted` where it is `found` to be in another.

    >>> in_words("Describe it.", "de", "en")
    'Describe it.\\nAnswer in German.'
    """
    return prompt if found == wanted else f"{prompt}\nAnswer in {language_name(wanted)}."


def sound(text: str, prompt: str, model: str) -> tuple[str, dict[str, float | None]]:
    """Look an answer through: the one gate between what a model says and a caption, of every method.

    Args:
        text: the answer.
        prompt: the question, with `{placeholders}` where values stood.
        model: who answered, for the message.

    Returns:
        The text without JSON around it, without boxes, a sentence that it repeats said once; and what was found as
        scores: `boxes`, `looped`.

    Raises:
        RowError: it is no caption; see `check_text`.

    >>> sound('{"caption": "A dog. A dog. A dog."}', "What is it?", "m")
    ('A dog.', {'looped': 1.0})
    """
    inner = unwrapped(text)
    bare = without_boxes(inner)
    if reason := check_text(bare or inner, prompt):
        raise RowError(reason, f"{model} wrote {text[:80]!r}")
    said, looped = without_loops(bare or inner)
    flags = {"boxes": bare != inner.strip(), "looped": looped}
    return said, {name: 1.0 for name, found in flags.items() if found}


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
        one asked for, or in another script of it, else None. Where the identifier is not sure, it is the one asked for,
        or that of the prompt if that is sure and the letters fit, or `und`.
    """
    found, sure = await m[identifier].identify(text)
    scores: dict[str, float | None] = {"lid": sure}
    if lang != AUTO:
        wanted = canonical_language(lang)
        tag = written_as(wanted, text)
        if is_foreign(text, wanted):  # it may be the same language in other letters
            same = tag != wanted and (found == UNKNOWN_LANGUAGE or alike(found, wanted))
            return (tag if same else found), scores, "wrong_language"
        if (
            found != UNKNOWN_LANGUAGE
            and not alike(found, wanted)
            and await _refutes(text, found, wanted, m, identifier)
        ):
            return found, scores, "wrong_language"
        other = main_script(tag) != main_script(wanted) and not matches(wanted, tag)
        return tag, scores, "wrong_language" if other else None
    if found != UNKNOWN_LANGUAGE:
        return found, scores, None
    asked, _ = await m[identifier].identify(spoken(prompt))
    if asked != UNKNOWN_LANGUAGE and not is_foreign(text, asked, min_letters=1):
        return asked, scores, None
    return UNKNOWN_LANGUAGE, scores, None


async def _refutes(text: str, found: str, wanted: str, m: Models, identifier: str) -> bool:
    """Whether what an identifier says is proof that an answer is not in the language asked for.

    Names of another language make a short text look like it: small words decide, else what is left without the names.
    A language that the identifier does not know is always called another; then only English is proof, which models
    fall back to.
    """
    known = getattr(m[identifier].model, "languages", None)
    if known is not None and base_language(wanted) not in known:
        return base_language(found) == "en"
    if (counts := function_words(text, wanted, found)) is not None and counts != (0, 0):
        return counts[1] > counts[0]
    rest = without_names(text)
    if rest == text:
        return True
    again, _ = await m[identifier].identify(rest) if rest else (UNKNOWN_LANGUAGE, 0.0)
    return again != UNKNOWN_LANGUAGE and alike(again, found)


def spoken(prompt: str) -> str:
    """A prompt without its placeholders.

    >>> spoken("Beschreibe das Bild {title}.")
    'Beschreibe das Bild .'
    """
    return re.sub(r"\{[^{}]*\}", "", prompt)
