"""What an answer must not be before it becomes a caption: leaked, copied, cut off, looping, too long, without style.

A refusal, an announcement and reasoning never come here: `panoglot.text.read_answer` sees to them for every generator.
The language is checked by `captioning._answers.check_answer`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from panoglot.captioning._claims import join_sentences
from panoglot.text import grams, is_spaceless, split_sentences, word_count

__all__ = [
    "HEDGES",
    "OPENINGS",
    "check_text",
    "copies",
    "first_sentences",
    "is_finished",
    "is_junk",
    "leaks",
    "lint",
    "without_coordinates",
    "without_loops",
]

#: Words of instructions that no caption has: those that CapsFusion's model repeats (369 of its 10,000 published
#: outputs), and those of other fusing prompts.
_LEAK = re.compile(
    r"real-world (?:knowledge|information|details|scenario)|sentence structure|\bsentence [12]\b"
    r"|\bcaption [12]\b|(?:the|both) (?:given|provided|input) (?:captions|sentences|texts)"
    r"|alt[- ]text (?:says|mentions)",
    re.I,
)
#: Words in a row that an answer and its prompt share when the answer repeats the prompt.
_RUN = 10
#: Of a sentence that says a sentence of its prompt again in other words: how many different words (pairs of letters in
#: scripts without spaces) they share, and what share of its letters is in those.
_SHARED, _SHARED_PAIRS, _AGAIN = 6, 10, 0.75
#: What stands before a value in a prompt: "Found beside it: {alt}".
_LABEL = re.compile(r"^[ \t]*([^\n:：{}]{1,40}?)[ \t]*[:：]\s*\{\w+\}", re.M)
_ENDINGS = (*'.!?"', *"。！？।॥؟۔።”」』")
_COORDINATES = re.compile(
    r"\s*(?:\b(?:at|in|within|from)\s+)?(?:\b(?:position|coordinates|box|bounding box)\s+)?"
    r"[\[(]\s*\d*\.?\d+(?:\s*[,，、]\s*\d*\.?\d+){1,3}\s*[\])]"
)
#: Openings that speak of the picture instead of what is in it (DenseFusion's style).
OPENINGS = (
    "the image shows", "the image showcases", "the image displays", "the image depicts", "the image features",
    "the image presents", "the image captures", "the picture shows", "the photo shows", "this image shows",
    "this is an image",
    "das bild zeigt", "l'image montre", "la imagen muestra", "这张图片", "图片中", "この画像", "الصورة تظهر",
    "चित्र में", "ภาพนี้",
)  # fmt: skip
#: Words of somebody who guesses.
HEDGES = (
    "probably", "perhaps", "possibly", "maybe", "likely", "seems", "appears to", "appear to", "might", "suggesting",
    "suggests", "presumably", "as if", "vielleicht", "wahrscheinlich", "peut-être", "quizás",
    "可能", "おそらく", "ربما", "शायद",
)  # fmt: skip
_JUNK = re.compile(
    r"(?:img|dsc[fn]?|pict|image|photo|screenshot)[\s_-]*\d[\d\s_-]*(?:\.\w{3,4})?|\S+\.(?:jpe?g|png|gif|webp|bmp|tiff?)"
    r"|(?:https?://|www\.)\S+|[\W\d_]*",
    re.I,
)


def leaks(text: str, prompt: str = "") -> bool:
    """Whether an answer speaks of its instruction, repeats ten words of it in a row, says one of its sentences in other
    words, or has the form in which values were given to it.

    Args:
        text: the answer.
        prompt: the question, in any language, with `{placeholders}` where values stood: those may be repeated.

    >>> leaks("Sentence 1 has the real-world details."), leaks("A sentence on a sign in a real-world street.")
    (True, False)
    >>> asked = "Rewrite a text that was found beside a picture as one short, factual sentence.\\nA: {alt}\\nB: {seen}"
    >>> leaks("Rewrite the text found beside the picture as a short sentence.", asked), leaks("A: Rex B: dog", asked)
    (True, True)
    """
    if _LEAK.search(text) or (prompt and (_says_again(text, prompt) or _has_labels(text, prompt))):
        return True
    asked, said = grams(prompt), grams(text)
    if len(asked) < _RUN:
        return False
    runs = {tuple(asked[n : n + _RUN]) for n in range(len(asked) - _RUN + 1)}
    return any(tuple(said[n : n + _RUN]) in runs for n in range(len(said) - _RUN + 1))


def _says_again(text: str, prompt: str) -> bool:
    """Whether a sentence says one of its prompt again; questions are left out, as answers repeat them rightly."""
    instructions = [
        _weights(re.sub(r"\{\w+\}", " ", sentence))
        for sentence in split_sentences(prompt)
        if not sentence.rstrip().endswith(("?", "？", "؟"))
    ]
    for sentence in split_sentences(text):
        said, least = _weights(sentence), _SHARED_PAIRS if is_spaceless(sentence) else _SHARED
        for asked in instructions:
            shared = said.keys() & asked.keys()
            if len(shared) >= least and sum(said[one] for one in shared) >= _AGAIN * sum(said.values()):
                return True
    return False


def _weights(sentence: str) -> dict[str, int]:
    """Words of a sentence, each with its letters, so that small words count little; pairs of letters without spaces."""
    words = grams(sentence)
    if is_spaceless(sentence):
        return dict.fromkeys((one + other for one, other in pairwise(words)), 1)
    return {word: len(word) for word in words}


def _has_labels(text: str, prompt: str) -> bool:
    """Whether an answer begins with a label of the prompt's values, or has two of them ("A: … B: …")."""
    labels = dict.fromkeys(_LABEL.findall(prompt))
    found = [
        match.start()
        for label in labels
        if (match := re.search(rf"(?<!\w){re.escape(label)}\s*[:：]", text, re.I)) is not None
    ]
    return len(found) > 1 or any(not text[:start].strip(' \t\n*_#"“„«「-') for start in found)


def copies(text: str, raw: str, caption: str) -> bool:
    """Whether a fused text holds both of its inputs word for word, but for the caption's full stop: it was joined.

    >>> copies("A dog on grass and Rex 2", "Rex 2", "A dog on grass."), copies("Rex on grass", "Rex", "A dog.")
    (True, False)
    """
    said = text.lower()
    return raw.strip().lower() in said and caption.strip().lower().rstrip(".") in said


def is_finished(text: str) -> bool:
    """Whether a text ends as sentences do; those of scripts that have no sentence marks always do.

    >>> is_finished("A dog."), is_finished("A dog and a"), is_finished("一只狗。"), is_finished("สุนัขวิ่ง")
    (True, False, True, True)
    """
    said = text.rstrip()
    return said.endswith(_ENDINGS) or bool(re.search(r"[\u0e00-\u0eff\u1780-\u17ff\u1000-\u109f]$", said))


def is_junk(text: str) -> bool:
    """Whether an alternative text is a file name, an address or nothing.

    >>> is_junk("IMG_2043.JPG"), is_junk("  "), is_junk("A cat"), is_junk("猫")
    (True, True, False, False)
    """
    return _JUNK.fullmatch(text.strip()) is not None


def without_loops(text: str) -> tuple[str, bool]:
    """Return a text without the sentences that it says again and again, and whether there were any.

    >>> without_loops("A dog. It runs. A dog. A dog.")
    ('A dog. It runs.', True)
    """
    sentences = split_sentences(text)
    counts = Counter(sentence.casefold() for sentence in sentences)
    if all(count < 3 for count in counts.values()):
        return text, False
    return join_sentences(list({sentence.casefold(): sentence for sentence in sentences}.values())), True


def first_sentences(text: str, most: int) -> str:
    """Return as many whole sentences from the beginning as `most` words allow; never part of one.

    >>> first_sentences("A dog runs. It is very fast. So.", 6), first_sentences("A dog runs.", 2)
    ('A dog runs.', '')
    """
    if word_count(text) <= most:
        return text
    kept: list[str] = []
    for sentence in split_sentences(text):
        if word_count(" ".join([*kept, sentence])) > most:
            break
        kept.append(sentence)
    return join_sentences(kept)


def lint(text: str, openings: Sequence[str] = OPENINGS, hedges: Sequence[str] = HEDGES) -> list[str]:
    """Name what offends the style of factual descriptions: `opening`, `hedge`, `coordinates`.

    >>> lint("The image showcases a cat, probably asleep at [0.1, 0.2, 0.5, 0.6].")
    ['opening', 'hedge', 'coordinates']
    >>> lint("A cat sleeps.")
    []
    """
    said = text.casefold().strip()
    found = ["opening"] if said.startswith(tuple(openings)) else []
    words = re.compile("|".join(rf"\b{re.escape(h)}\b" if h.isascii() else re.escape(h) for h in hedges) or r"(?!)")
    found += ["hedge"] if words.search(said) else []
    return found + (["coordinates"] if _COORDINATES.search(text) else [])


def without_coordinates(text: str) -> str:
    """Return a text without boxes in brackets.

    >>> without_coordinates("A cat at [0.1, 0.2, 0.5, 0.6] sleeps.")
    'A cat sleeps.'
    """
    return _COORDINATES.sub("", text)


def check_text(text: str, prompt: str = "", *, most_characters: int = 20_000) -> str | None:
    """Return why an answer cannot be a caption, or None.

    Returns:
        `leaked_prompt`, `endless_answer`, `only_label` ("Positions:"), or None.
    """
    if re.fullmatch(r"[^.!?。！？।॥؟۔\n]{0,80}[:：]", text.strip()):
        return "only_label"
    if len(text) > most_characters:
        return "endless_answer"
    return "leaked_prompt" if leaks(text, prompt) else None
