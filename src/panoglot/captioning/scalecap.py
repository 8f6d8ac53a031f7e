"""`scalecap`: keep the sentences that the picture supports, ask about every thing in them, merge.

ScaleCap (2025; arXiv 2506.19848).
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Sequence

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer, fill
from panoglot.captioning._claims import Claim, concrete, join_sentences, joined, read_lines, split_claims
from panoglot.captioning._fusing import append_sentences, fuse
from panoglot.captioning._selection import supported
from panoglot.captioning._support import claim_support, contrast
from panoglot.checks import check_option
from panoglot.errors import UserError
from panoglot.pictures import Image
from panoglot.running import GeneratorName, LanguageIdentifierName, ParserName, method
from panoglot.table import Caption

__all__ = ["kept_claims", "requests_for", "scalecap"]

PROMPT = (
    "Describe the fine-grained content of the image: the scene, the objects, how they relate to each other, where each "
    "one is, and any text."
)
ASK = "Describe more details about the "
LIST = (
    "List the objects that the sentence states for certain. Write one line for each, exactly in the form "
    f'"{ASK}X.", and nothing else.\n\n'
    f"Sentence: A dog lies on a red sofa.\n{ASK}dog.\n{ASK}sofa.\n\n"
    f"Sentence: Two men in helmets ride past a shop.\n{ASK}men.\n{ASK}helmets.\n{ASK}shop.\n\n"
    f"Sentence: There might be a lake behind the trees.\n{ASK}trees.\n\n"
    f'Sentence: The sign reads "OPEN" in white letters.\n{ASK}sign.\n{ASK}letters.\n\n'
    "Sentence: The mood is calm.\n\n"
    "Sentence: {sentence}"
)
DETAILS = (
    "Sentences about an image, each with what was answered to questions about it. Summarise what the answers say of "
    "the objects: look, structure, material, marks. No analysis, no opinion, nothing that is not said.\n\n{answers}"
)
POSITIONS = (
    "Sentences about an image, each with what was answered to questions about it. Summarise only where the objects "
    "are. No analysis, no opinion, nothing that is not said.\n\n{answers}"
)
MERGE = (
    "Write one detailed description of an image. The main description gives the order and is right; work in the "
    "details and the positions. Add nothing else, repeat nothing, answer with the description alone.\n\n"
    "Main description: {caption}\n\nDetails: {details}\n\nPositions: {positions}"
)


def requests_for(
    names: Sequence[str], budget: int | None, *, objects: bool = True, positions: bool = True
) -> list[str]:
    """The questions about some objects, those about themselves first, then those about their places; each once.

    Args:
        names: the objects in order.
        budget: most questions; None asks all.
        objects: ask what they are like.
        positions: ask where they are.

    >>> requests_for(["dog", "ball", "dog"], 3)[1:]
    ['Describe more details about the ball.', 'Describe more details about the position of the dog.']
    """
    distinct = list(dict.fromkeys(names))
    asked = [f"{ASK}{name}." for name in distinct] if objects else []
    asked += [f"{ASK}position of the {name}." for name in distinct] if positions else []
    return asked[:budget]


@method(
    verb="caption",
    paper="ScaleCap",
    year=2025,
    about="keep the sentences the picture supports, ask about every object, merge",
)
async def scalecap(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    llm: GeneratorName = "llm",
    scorer: GeneratorName = "",
    parser: ParserName = "embedded:parser",
    prompt: str = PROMPT,
    tau: float = 0.0,
    unit: str = "clause",
    measure: str = "probability",
    content_only: bool = True,
    budget: int = 20,
    objects: bool = True,
    positions: bool = True,
    second_filter: bool = False,
    max_tokens: int = 1024,
    answer_tokens: int = 512,
    merge_tokens: int = 4096,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> Caption:
    """Spend more questions on a caption: rate its sentences with and without the picture, ask, merge.

    Beside `patch-matters`, which looks at parts of the picture, it asks about the things of its own first caption.

    Args:
        image: the picture.
        m: the models.
        captioner: describes and answers.
        llm: lists objects and merges; empty: the parser lists (English), sentences are appended.
        scorer: gives log-probabilities of a given text; empty: the captioner if it does, else nothing is filtered
            (`fallback_rating`).
        parser: finds the objects where there is no `llm`.
        prompt: the first question.
        tau: a claim is kept when the picture adds more than this to one of its words.
        unit: what is kept or dropped: `clause` (the released code), `sentence` (the paper) or `statement`.
        measure: `probability` (the paper) or `log-probability`.
        content_only: weigh words of closed classes with 0. The released code means to, and does not.
        budget: most questions (the released code has no limit; the paper's gain flattens at about 20).
        objects: ask what things are like.
        positions: ask where they are.
        second_filter: rate the answers too.
        max_tokens: of the first caption.
        answer_tokens: of an answer.
        merge_tokens: of a summary and of the merged caption.
        lang: language of the captions.
        identifier: names it.

    Returns:
        A `dense` caption. Its parents are the first caption, what was left out of it (`unsupported`, with `support`),
        and the answers.

    Raises:
        RowError: the captioner gave no first caption.
    """
    check_option("unit", unit, ("clause", "sentence", "statement"))
    writer = Writer(m, lang, identifier)
    first = await writer.draft(captioner, prompt, image, max_tokens=max_tokens)
    rate = _Rater(writer, scorer or captioner, bool(scorer), image, tau, unit, measure, content_only)
    kept, dropped = await rate(first, prompt)
    sentences = kept or [first.text]
    names = await gather(*(_objects(writer, llm, parser, sentence, first.lang) for sentence in sentences))
    asked = requests_for([n for some in names for n in some], budget, objects=objects, positions=positions)
    found = await gather(
        *(writer.attempt("answer", _answer(writer, captioner, image, q, first, answer_tokens)) for q in asked)
    )
    answers = {question: answer for question, answer in zip(asked, found) if answer is not None}
    if second_filter:
        for question, answer in answers.items():
            still, _ = await rate(answer, question)
            answer.text = join_sentences(still) or answer.text
    body = join_sentences(sentences)
    grouped = {flag: _grouped(sentences, names, answers, place=flag) for flag in (False, True)}
    details, positions_ = await gather(
        *(_summary(writer, llm, question, grouped[flag], first.lang, merge_tokens) for flag, question in
          ((False, DETAILS), (True, POSITIONS)))
    )  # fmt: skip
    by_rule = append_sentences(body, [answer.text for answer in answers.values()])
    values = {"caption": body, "details": details, "positions": positions_}
    text, model, scores = await fuse(writer, llm, MERGE, values, by_rule, lang=first.lang, max_tokens=merge_tokens)
    more: dict[str, float | None] = {"claims_dropped": float(len(dropped)), "questions": float(len(asked))}
    return await writer.finish(
        text, parents=[first, *dropped, *answers.values()], model=model, lang=first.lang, scores={**scores, **more}
    )


class _Rater:
    """Which claims of a caption the picture supports (step 2 to 4)."""

    def __init__(
        self,
        writer: Writer,
        scorer: str,
        named: bool,
        image: Image,
        tau: float,
        unit: str,
        measure: str,
        content_only: bool,
    ) -> None:
        self.writer, self.scorer, self.image = writer, scorer, image
        self.tau, self.unit, self.measure, self.content_only = tau, unit, measure, content_only
        self.named, self.able = named, named or hasattr(writer.m[scorer].model, "score")

    async def __call__(self, caption: Caption, prompt: str) -> tuple[list[str], list[Caption]]:
        """The sentences that stay, and the claims that do not."""
        claims = split_claims(caption.text, self.unit)
        tokens = await self._rated(caption, prompt)
        if tokens is None:
            return joined(caption.text, claims), []
        return kept_claims(caption, claims, tokens, self.tau, content_only=self.content_only)

    async def _rated(self, caption: Caption, prompt: str) -> list[tuple[str, float]] | None:
        """What the picture adds to each token; None where nobody can say."""
        if self.able:
            rated = contrast(self.writer.m[self.scorer], prompt, self.image, caption.text, self.measure)
            try:
                return await self.writer.attempt("rating", rated)
            except UserError:  # a server that gives none: who named it as scorer must know, the captioner may be one
                if self.named:
                    raise
                self.able = False
                self.writer.failed["no_log_probabilities"] += 1
        self.writer.fall_back("rating")
        return None


def kept_claims(
    caption: Caption,
    claims: Sequence[Claim],
    tokens: Sequence[tuple[str, float]],
    tau: float,
    *,
    content_only: bool = True,
) -> tuple[list[str], list[Caption]]:
    """Split claims by their support: the sentences that the kept ones make up, and the others as dropped captions.

    Args:
        caption: the caption.
        claims: its claims.
        tokens: its tokens with what the picture adds to each.
        tau: a claim is kept when its support is above.
        content_only: see `claim_support`.
    """
    support = claim_support(caption.text, claims, tokens, caption.lang, content_only=content_only)
    stay = supported(support, tau)
    gone = [
        Caption(c.text, caption.lang, caption.kind, caption.model, (caption,), None, {"support": s}, "unsupported")
        for c, s, keep in zip(claims, support, stay)
        if not keep
    ]
    return joined(caption.text, [claim for claim, keep in zip(claims, stay) if keep]), gone


async def _objects(writer: Writer, llm: str, parser: str, sentence: str, lang: str) -> list[str]:
    """The things of a sentence: as the language model lists them, else as the parser finds them."""
    if llm:
        answer = await writer.attempt(
            "lister", writer.m[llm].generate(fill(LIST, {"sentence": sentence}), max_tokens=512)
        )
        if answer is not None:
            return [line.removeprefix(ASK).rstrip(".") for line in read_lines(answer.text, ASK)]
    else:
        writer.fall_back("lister")
    graph = await writer.attempt("parser", writer.m[parser].parse(sentence, lang))
    return concrete(graph)


async def _answer(writer: Writer, captioner: str, image: Image, question: str, first: Caption, tokens: int) -> Caption:
    lang = first.lang if writer.lang == AUTO else None
    return await writer.draft(captioner, question, image, lang=lang, parents=(first,), max_tokens=tokens)


def _grouped(
    sentences: Sequence[str], names: Sequence[Sequence[str]], answers: dict[str, Caption], *, place: bool
) -> str:
    """The answers under the sentences that they belong to; each once."""
    left = dict(answers)
    blocks: list[str] = []
    for sentence, objects in zip(sentences, names):
        asked = [f"{ASK}position of the {name}." if place else f"{ASK}{name}." for name in objects]
        said = [left.pop(question).text for question in asked if question in left]
        blocks += [f"Sentence: {sentence}\n" + "\n".join(f"- {text}" for text in said)] if said else []
    return "\n\n".join(blocks)


async def _summary(writer: Writer, llm: str, prompt: str, answers: str, lang: str, tokens: int) -> str:
    if not llm or not answers:
        return ""
    text, _, _ = await fuse(
        writer, llm, prompt, {"answers": answers}, answers, lang=lang, step="summary", max_tokens=tokens
    )
    return text
