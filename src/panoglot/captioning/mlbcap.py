"""`mlbcap`: several writers draft a figure's caption out of picture and paper, a judge picks one and corrects it.

Multi-LLM Collaborative Caption Generation in Scientific Documents (2025; arXiv 2501.02552).
"""

from __future__ import annotations

import re
from asyncio import gather
from collections.abc import Sequence
from dataclasses import dataclass, replace

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer, fill
from panoglot.captioning._guards import first_sentences
from panoglot.errors import RowError
from panoglot.networks.samplers._draw import Draw
from panoglot.pictures import Image
from panoglot.running import GeneratorName, GeneratorNames, LanguageIdentifierName, ReaderName, method
from panoglot.table import Caption
from panoglot.text import grams, read_json_object, split_sentences, tokens, word_count

__all__ = ["Figure", "draft_score", "figure_of", "is_trainable", "mlbcap"]

DRAFT = (
    "Write the caption of a figure in a scientific paper. It says what is shown and what follows from "
    "it.\n\n{figure}\n\n"
    "Answer with the caption alone."
)
Z = "What is in this figure? It is a {type} in a paper on {category}. Text in it: {ocr}"
JUDGE = (
    "Choose the best of some drafts of a figure's caption, correct what is wrong in it, and keep to at most {words} "
    "words. Do not merge drafts.\n\n{figure}\n\nDrafts:\n{drafts}\n\n"
    'Answer as JSON: {"choice": number of the draft, "caption": the corrected caption}.'
)
_SCHEMA = {
    "type": "object",
    "properties": {"choice": {"type": "integer"}, "caption": {"type": "string"}},
    "required": ["choice", "caption"],
}

#: After a label a sentence may end: "of A. B is best"; "by J. R. Smith" has none.
_LABEL = re.compile(r"(?<= [A-Z]\.)\s+(?=[A-Z]\s)")


@dataclass(frozen=True, slots=True)
class Figure:
    """What is known of a figure.

    Attributes:
        type: bar chart, node diagram, …
        ocr: what is written in it.
        paragraphs: those that cite it.
        mentions: the sentences that cite it.
        category: the paper's subject.
        about: what a model sees in it.
    """

    type: str = ""
    ocr: str = ""
    paragraphs: str = ""
    mentions: str = ""
    category: str = ""
    about: str = ""

    def text(self) -> str:
        """As it stands in a prompt; what is not known has no line."""
        named = {
            "Kind": self.type, "Subject": self.category, "Text in the figure": self.ocr, "Seen in it": self.about,
            "Sentences that cite it": self.mentions, "Paragraphs": self.paragraphs,
        }  # fmt: skip
        return "\n".join(f"{name}: {value}" for name, value in named.items() if value)


def figure_of(image: Image, most: int = 512) -> Figure:
    """Read a figure's page out of a picture's context: `figure_type`, `ocr`, `paragraph`, `mention`, `categories`.

    Args:
        image: the picture.
        most: most tokens of the paragraphs; they are cut there, the citing sentences never.
    """

    def said(key: str) -> str:
        value = image.context.get(key) or ""
        return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    paragraphs = " ".join(tokens(said("paragraph"))[:most])
    return Figure(said("figure_type"), said("ocr"), paragraphs, said("mention"), said("categories"))


def is_trainable(
    caption: str, score: float, *, least: float = 5, most_words: int = 100, one_sentence: bool = False
) -> bool:
    """Whether a caption is good enough to learn from: it ends in a full stop, is no essay, has sentences and a score.

    Args:
        caption: the caption.
        score: its quality, 1 to 6.
        least: least score.
        most_words: most words.
        one_sentence: captions of one sentence are good too (the paper drops them).

    >>> is_trainable("Results of A. B is best.", 5), is_trainable("Accuracy of the model.", 6)
    (True, False)
    """
    sentences = sum(len(split_sentences(part)) for part in _LABEL.split(caption))
    enough = sentences >= (1 if one_sentence else 2)
    return (
        caption.rstrip().endswith((".", "。", "।")) and word_count(caption) <= most_words and enough and score >= least
    )


def draft_score(draft: str, figure: Figure, most: int) -> float:
    """How good a draft is, without a judge: writing of the figure that it names, the citing sentences' words, "
    "length."""
    said = set(grams(draft))

    def recall(text: str) -> float:
        wanted = set(grams(text))
        return len(wanted & said) / len(wanted) if wanted else 0.0

    return recall(figure.ocr) + recall(figure.mentions) - max(word_count(draft) - most, 0) / most


@method(
    verb="caption",
    paper="MLBCAP",
    year=2025,
    about="filter, several writers, a judge, for figures in papers",
)
async def mlbcap(
    image: Image,
    m: Models,
    *,
    writers: GeneratorNames = ("captioner",),
    judge: GeneratorName = "llm",
    describer: GeneratorName = "",
    reader: ReaderName = "",
    prompt: str = DRAFT,
    describe_prompt: str = Z,
    judge_prompt: str = JUDGE,
    long_words: int = 50,
    short_words: int = 30,
    paragraph_tokens: int = 512,
    max_tokens: int = 256,
    seed: int = 0,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> list[Caption]:
    """Caption a figure of a paper, long and short.

    The paper's four writers are GPT-4o with ten examples, Llama-3-8B and Yi-1.5-9B tuned on captions that are
    `is_trainable`, and Pegasus; here any models. The judge sees drafts by number alone, in an order that (seed,
    picture) decides, as it prefers its own family (89 % of the paper's picks).

    Args:
        image: the figure; its context has `paragraph`, `mention`, `figure_type`, `ocr`, `categories` where known.
        m: the models.
        writers: one to many `Generator`s.
        judge: picks and corrects; empty: the draft with most of the figure's and the citing words.
        describer: says what is in the figure first; empty: nobody does.
        reader: a `Reader`, where the context has no `ocr`; empty: nobody reads.
        prompt: with `{figure}`.
        describe_prompt: with `{type}`, `{category}` and `{ocr}`.
        judge_prompt: with `{figure}`, `{drafts}` and `{words}`.
        long_words: most words of the long caption.
        short_words: most words of the short one.
        paragraph_tokens: most tokens of paragraphs.
        max_tokens: of an answer.
        seed: of the drafts' order.
        lang: language of the captions.
        identifier: names it.

    Returns:
        A `dense` and a `short` caption; the drafts are parents. `picked` is the writer's place; `over_length` = 1 where
        the judge wrote more words than it may, and whole sentences went.

    Raises:
        RowError: `no_draft`: every writer failed.
    """
    writer = Writer(m, lang, identifier)
    figure = await _known(image, writer, describer, reader, describe_prompt, paragraph_tokens)
    asked = (
        writer.attempt(
            "writer", writer.draft(name, prompt, image, values={"figure": figure.text()}, max_tokens=max_tokens)
        )
        for name in writers
    )
    found = list(enumerate(await gather(*asked)))
    drafts = [(place, draft) for place, draft in found if draft is not None]
    if not drafts:
        raise RowError("no_draft", f"none of the {len(writers)} writers wrote a draft")
    order = Draw(seed, image.id, "drafts").sample(drafts, len(drafts))
    judging = _Judging(writer, judge, judge_prompt, figure, order, image, max_tokens)
    return [await judging.picked(words, kind) for words, kind in ((long_words, "dense"), (short_words, "short"))]


async def _known(image: Image, writer: Writer, describer: str, reader: str, prompt: str, most: int) -> Figure:
    figure = figure_of(image, most)
    if not figure.ocr and reader:
        lines = await writer.attempt("reader", writer.m[reader].read(image))
        figure = replace(figure, ocr=" ".join(line.text for line in lines or ()))
    if describer:
        values = {"type": figure.type or "figure", "category": figure.category or "science", "ocr": figure.ocr}
        about = await writer.attempt("describer", writer.draft(describer, prompt, image, values=values))
        figure = replace(figure, about=about.text if about else "")
    return figure


@dataclass(frozen=True)
class _Judging:
    """Who picks one of some drafts of a figure (step 5).

    Attributes:
        writer: the models of the picture.
        judge: the generator that picks; empty: the draft that says most.
        prompt: with `{figure}`, `{drafts}` and `{words}`.
        figure: what is known of it.
        drafts: (place of the writer, draft), in the order that is shown.
        image: the figure.
        max_tokens: of the answer.
    """

    writer: Writer
    judge: str
    prompt: str
    figure: Figure
    drafts: Sequence[tuple[int, Caption]]
    image: Image
    max_tokens: int

    async def picked(self, words: int, kind: str) -> Caption:
        """One draft, perhaps corrected, within its words."""
        drafts, writer = self.drafts, self.writer
        place, chosen = max(drafts, key=lambda draft: (draft_score(draft[1].text, self.figure, words), -draft[0]))
        text, model = chosen.text, chosen.model
        flags: dict[str, float | None] = {}
        if self.judge:
            said = await writer.attempt("judge", self.verdict(words))
            if said is not None:
                (place, chosen), text, model = drafts[said[0]], said[1], writer.m[self.judge].name
        else:
            writer.fall_back("judge")
        short = first_sentences(text, words)
        if short != text:
            flags["over_length"] = 1.0
            text = short or first_sentences(chosen.text, words) or text
        flags["picked"] = float(place)
        parents = [draft for _, draft in sorted(drafts, key=lambda draft: draft[0])]
        return await writer.finish(text, parents=parents, model=model, lang=chosen.lang, kind=kind, scores=flags)

    async def verdict(self, words: int) -> tuple[int, str]:
        """The judge's choice, and its text.

        Raises:
            RowError: `unreadable_verdict`.
        """
        judge = self.writer.m[self.judge]
        listed = "\n".join(f"{n}. {draft.text}" for n, (_, draft) in enumerate(self.drafts, 1))
        asked = fill(self.prompt, {"figure": self.figure.text(), "drafts": listed, "words": words})
        images = (self.image,) if getattr(judge.model, "sees", True) else ()
        answer = await judge.generate(asked, *images, schema=_SCHEMA, max_tokens=self.max_tokens)
        try:
            found = read_json_object(answer.text)
            choice, text = int(found["choice"]), str(found["caption"]).strip()
        except (ValueError, TypeError, KeyError):
            raise RowError("unreadable_verdict", f"no JSON with a choice: {answer.text[:80]!r}") from None
        if not 1 <= choice <= len(self.drafts) or not text:
            raise RowError("unreadable_verdict", f"{choice} is none of {len(self.drafts)} drafts")
        return choice - 1, text
