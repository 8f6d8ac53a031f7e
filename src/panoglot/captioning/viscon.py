"""`viscon`: a web picture captioned with its page, and a conversation about it.

VisCon-100K (PAKDD 2025; arXiv 2502.10250). Prompts are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer, alt_text, fill
from panoglot.checks import check_option
from panoglot.errors import RowError
from panoglot.networks.samplers._draw import Draw
from panoglot.pictures import Image
from panoglot.running import GeneratorName, LanguageIdentifierName, method
from panoglot.table import Caption, Document, DocumentPart
from panoglot.text import grams, read_json_object, tokens

__all__ = ["MODES", "PLACE", "Choice", "conversation", "distinct", "page_context", "read_questions", "viscon"]

#: Stands in a page's text where the picture stands.
PLACE = "<image>"
MODES = ("leaky", "captions", "free", "choice", "questions")
CAPTION = (
    "Describe the image in detail, and weave in what the page says of it where that belongs to what can be seen: "
    "names, events, products, claims. Use nothing from outside. Answer with one description "
    "alone.\n\nPage:\n{page}{alt}"
)
PLAIN = "Describe the image in detail. Answer with one description alone."
QUESTIONS = (
    "Write questions about an image of which you only know the description. {free} free questions with a short "
    "answer, and {choice} multiple-choice questions with four different options, one of which is the answer. Answer "
    "as JSON: "
    '{"free": [{"q": "...", "a": "..."}], "choice": [{"q": "...", "options": ["..."], "answer": "..."}]}.\n\n'
    "Description: {caption}"
)
_SCHEMA = {
    "type": "object",
    "properties": {
        "free": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"q": {"type": "string"}, "a": {"type": "string"}},
                "required": ["q", "a"],
            },
        },
        "choice": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "q": {"type": "string"},
                    "options": {"type": "array", "items": {"type": "string"}},
                    "answer": {"type": "string"},
                },
                "required": ["q", "options", "answer"],
            },
        },
    },
    "required": ["free", "choice"],
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A question, its answer, and the options it is chosen from; none for a free question."""

    question: str
    answer: str
    options: tuple[str, ...] = ()


def page_context(parts: Sequence[str | Image], place: int, *, around: int | None = None) -> str:
    """The text of a page with a placeholder where one of its pictures stands.

    Args:
        parts: texts and pictures in order.
        place: the picture's place in them.
        around: so many texts before and after; None for all.

    Raises:
        ValueError: there is a text at that place.
    """
    if isinstance(parts[place], str):
        raise ValueError(f"part {place} is no picture")
    before = [part for part in parts[:place] if isinstance(part, str)]
    after = [part for part in parts[place + 1 :] if isinstance(part, str)]
    if around is not None:
        before, after = before[len(before) - around :] if around < len(before) else before, after[:around]
    return "\n\n".join([*before, PLACE, *after])


def read_questions(text: str) -> list[Choice]:
    """Read questions out of a model's JSON; what is malformed is left out.

    A choice needs different options with the answer among them.

    >>> read_questions('{"free": [], "choice": [{"q": "Where?", "options": ["Rome", "Rome"], "answer": "Rome"}]}')
    []
    """
    try:
        found = read_json_object(text)
        free, choice = list(found.get("free") or ()), list(found.get("choice") or ())
    except (ValueError, TypeError):
        return []
    made: list[Choice] = []
    for one in (*free, *choice):
        if not isinstance(one, dict):
            continue
        question, options = str(one.get("q") or "").strip(), one.get("options")
        answer = str(one.get("a" if options is None else "answer") or "").strip()
        listed = tuple(str(option).strip() for option in options) if isinstance(options, list) else ()
        distinct_ = len({option.casefold() for option in listed}) == len(listed)
        sound = options is None or (distinct_ and len(listed) >= 2 and answer in listed and all(listed))
        if question and answer and sound:
            made.append(Choice(question, answer, listed))
    return made


def distinct(questions: Sequence[Choice], threshold: float) -> list[Choice]:
    """Leave out questions whose words overlap with an earlier one's by at least `threshold` (Jaccard).

    >>> one, other = Choice("What color is the vase?", "red"), Choice("What colour is the vase?", "red")
    >>> len(distinct([one, other, one], 0.8))
    2
    """
    kept: list[Choice] = []
    for question in questions:
        words = set(grams(question.question))
        others = (set(grams(other.question)) for other in kept)
        if all(len(words & other) < threshold * len(words | other) for other in others):
            kept.append(question)
    return kept


def conversation(caption: str, questions: Sequence[Choice], mode: str, image_id: str, seed: int) -> list[DocumentPart]:
    """The turns of a conversation: the picture once, in the first turn; answers are learnt.

    Args:
        caption: what the first answer is, in the modes `leaky` and `captions`.
        questions: what is asked after it; options are shuffled by (seed, picture, question).
        mode: one of `MODES`.
        image_id: the picture.
        seed: of the shuffling.
    """
    check_option("mode", mode, MODES)
    turns: list[tuple[str, str]] = [(PLAIN, caption)] if mode in ("leaky", "captions") else []
    for n, one in enumerate(questions if mode != "captions" else ()):
        if (one.options and mode == "free") or (not one.options and mode == "choice"):
            continue
        if not one.options:
            turns.append((one.question, one.answer))
            continue
        shown = Draw(seed, image_id, "options", n).sample(one.options, len(one.options))
        letters = [chr(ord("A") + k) for k in range(len(shown))]
        listed = "\n".join(f"{letter}. {option}" for letter, option in zip(letters, shown))
        turns.append((f"{one.question}\n{listed}", letters[shown.index(one.answer)]))
    parts = [DocumentPart(image_id=image_id, turn=0, role="user")] if turns else []
    for n, (asked, said) in enumerate(turns):
        parts.append(DocumentPart(asked, turn=2 * n, role="user"))
        parts.append(DocumentPart(said, turn=2 * n + 1, role="assistant", learn=True))
    return parts


@method(
    verb="caption",
    captions=True,
    paper="VisCon-100K",
    year=2025,
    about="caption web images with their page, then ask questions",
)
async def viscon(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    llm: GeneratorName = "llm",
    prompt: str = CAPTION,
    question_prompt: str = QUESTIONS,
    page: str = "page",
    use_page: bool = True,
    use_alt: bool = True,
    limit: int = 2000,
    free: int = 3,
    choice: int = 3,
    same: float = 0.85,
    mode: str = "leaky",
    max_tokens: int = 512,
    seed: int = 0,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> list[Caption | Document]:
    """Caption a picture with the page that it is on, and make a conversation of caption and questions.

    Args:
        image: the picture; its context has the page's text, with `<image>` where it stands (`page_context`).
        m: the models.
        captioner: sees picture and page.
        llm: writes questions, knowing the caption alone; empty: there are none.
        prompt: with `{page}` and `{alt}`.
        question_prompt: with `{caption}`, `{free}` and `{choice}`.
        page: key of the context.
        use_page: False captions without page and alternative text.
        use_alt: the alternative text is given too.
        limit: most tokens of a page; longer ones are rejected, as the paper filters them.
        free: free questions.
        choice: multiple-choice questions.
        same: overlap of words from which two questions are one (the paper compares embeddings and gives no number).
        mode: `leaky` (caption and all questions, the paper's best), `captions`, `free`, `choice` or `questions`.
        max_tokens: of the caption.
        seed: of the order of options.
        lang: language of caption and questions.
        identifier: names it.

    Returns:
        A `dense` caption, and a document with the conversation. Scores: `questions`, `page_words`: the share of the
        caption's words that stand on the page, high where it retells the page.

    Raises:
        RowError: `page_too_long`; the captioner failed.
    """
    check_option("mode", mode, MODES)
    writer = Writer(m, lang, identifier)
    context = str(image.context.get(page) or "") if use_page else ""
    if len(tokens(context)) > limit:
        raise RowError("page_too_long", f"{len(tokens(context)):,} tokens, the limit is {limit:,}")
    alt = alt_text(image) if use_alt and use_page else None
    values = {"page": context or PLACE, "alt": f"\n\nAlternative text: {alt.text}" if alt else ""}
    asked = prompt if context or alt else PLAIN
    draft = await writer.draft(captioner, asked, image, values=values, max_tokens=max_tokens)
    writer.steps += 1
    questions: list[Choice] = []
    if llm and mode != "captions":
        said = fill(question_prompt, {"caption": draft.text, "free": free, "choice": choice})
        answer = await writer.attempt("questions", m[llm].generate(said, schema=_SCHEMA, max_tokens=1024))
        found = read_questions(answer.text) if answer is not None else []
        questions = distinct(found, same)
        if answer is not None and not found:
            writer.fall_back("unreadable")
    words, on_page = set(grams(draft.text)), set(grams(context))
    scores: dict[str, float | None] = {"questions": float(len(questions))}
    scores["page_words"] = len(words & on_page) / len(words) if words and context else None
    caption = Caption(
        draft.text, draft.lang, "dense", draft.model, (alt,) if alt else (), None,
        {**draft.scores, **scores, **writer.scores()},
    )  # fmt: skip
    parts = conversation(draft.text, questions, mode, image.id, seed)
    return [caption, Document(parts, draft.lang, "conversation", model=draft.model)] if parts else [caption]
