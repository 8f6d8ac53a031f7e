"""`rank-and-fuse`: caption with several models, rank by image-text match, fuse the best.

Improving Image Captioning Descriptiveness by Ranking and LLM-based Fusion (2023; arXiv 2306.11593).
"""

from __future__ import annotations

import re
from asyncio import gather
from collections.abc import Sequence

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO, ask_for, check_answer, sound
from panoglot.captioning._selection import Candidate, rank
from panoglot.captioning._support import blip_score, match_score
from panoglot.errors import RowError
from panoglot.languages import UNKNOWN_LANGUAGE, base_language
from panoglot.pictures import Image
from panoglot.running import EncoderName, GeneratorName, GeneratorNames, LanguageIdentifierName, method
from panoglot.table import Caption

__all__ = ["Candidate", "blip_score", "join_captions", "rank", "rank_and_fuse"]

PROMPT = "Describe this picture in one sentence."
FUSE = (
    "Two people described the same picture. Write one sentence or a short passage that holds what both say, once each. "
    "Add nothing. Where they disagree, the first is right. Do not speak of descriptions or sentences; answer with the "
    "text alone.\n\n{texts}"
)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _first_sentence(text: str) -> str:
    match = re.match(r".+?[.!?。！？।؟](?=\s|$)", text.strip(), re.S)
    return (match.group(0) if match else text).strip()


_PREPOSITIONS = (
    "in on at with under over near beside behind above below inside outside between among through across along around "
    "next against wearing holding carrying while"
).split()
_NUMBERS = "one two three four five six seven eight nine ten".split()
_COLOURS = "black white grey gray red orange yellow green blue purple violet pink brown".split()


def join_captions(first: str, second: str) -> str:
    """Fuse two English captions without a language model: the first, and the phrases of the second that it lacks.

    What contradicts the first (another number or colour of the same thing) is left out.

    >>> join_captions("A man rides a bike.", "A cyclist in a red helmet on a street.")
    'A man rides a bike, in a red helmet on a street.'
    >>> join_captions("Two dogs on grass.", "Three dogs on grass near two dogs.")
    'Two dogs on grass.'
    >>> join_captions("A red car.", "A car beside a blue car near a tree.")
    'A red car, near a tree.'
    """
    have = set(_plain(first).split())
    words = second.strip().rstrip(".!?").split()
    starts = [n for n, word in enumerate(words) if n and word.lower().strip(",") in _PREPOSITIONS]
    phrases = [words[a:b] for a, b in zip(starts, [*starts[1:], len(words)])]
    added: list[str] = []
    for phrase in phrases:
        content = [w for w in _plain(" ".join(phrase)).split() if len(w) > 2 and w not in (*_PREPOSITIONS, "the")]
        clash = any(
            marks & set(content) and set(content) - marks - have == set() and not (marks & set(content)) <= have
            for marks in (set(_NUMBERS), set(_COLOURS))
        )
        if content and not set(content) <= have and not clash:
            added += [word.strip(",") for word in phrase]
            have |= set(content)
    return f"{first.strip().rstrip('.!?')}, {' '.join(added)}." if added else first.strip()


@method(
    verb="caption",
    name="rank-and-fuse",
    paper="Ranking and LLM-based Fusion",
    year=2023,
    about="several captioners, rank by match, fuse the best",
)
async def rank_and_fuse(
    image: Image,
    m: Models,
    *,
    captioners: GeneratorNames = ("captioner",),
    scorer: EncoderName = "encoder",
    llm: GeneratorName = "",
    prompt: str = PROMPT,
    fuse_prompt: str = FUSE,
    weight: float = 0.5,
    k: int = 2,
    min_score: float | None = None,
    diversity: float = 0.0,
    margin: float | None = None,
    max_tokens: int = 120,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> Caption:
    """Caption with several models, rank the drafts by image-text match, fuse the best `k`.

    Beside `describe`: several writers and a judge, no training. The drafts are stored as parents, with their scores.

    Args:
        image: the picture.
        m: the models.
        captioners: two or more `Generator`s (or one, which then writes the caption alone).
        scorer: an `Encoder`; with a matching head (BLIP) the score is BLIPScore, else the cosine alone.
        llm: a `Generator` that fuses at temperature 0; empty joins by rule (English).
        prompt: the question to every captioner.
        fuse_prompt: the question to the language model; `{texts}` stands for the numbered drafts.
        weight: share of the matching head in the score.
        k: drafts to fuse; 1 returns the best unchanged.
        min_score: drafts below are not fused.
        diversity: prefer a second draft that differs (extension, off).
        margin: return the best draft when the fused text scores this much below it (extension, off).
        max_tokens: most tokens of an answer.
        lang: language of the drafts, asked for and checked; `auto` names the one that comes. See `describe`.
        identifier: names the language of the drafts.

    Returns:
        The fused caption, with its drafts as parents and `match` among its scores.

    Raises:
        RowError: `no_draft`: every captioner failed, or answered in another language than the one asked for.
    """
    question = await ask_for(prompt, lang, m, identifier)

    async def draft(name: str) -> Caption:
        answer = await m[name].generate(question, image, max_tokens=max_tokens)
        text = _first_sentence(sound(answer.text, question, m[name].name)[0])
        tag, scores, dropped = await check_answer(text, prompt, lang, m, identifier)
        if dropped:
            raise RowError(dropped, f"{m[name].name} answered in {tag}: {text[:80]!r}")
        return Caption(text, lang=tag, model=m[name].name, scores=scores)

    async def match(text: str, tag: str) -> float | None:
        return await match_score(m[scorer], image, text, tag, weight)

    found = await gather(*(draft(name) for name in captioners), return_exceptions=True)
    drafts = [d for d in found if isinstance(d, Caption) and d.text]
    if bug := next((e for e in found if isinstance(e, BaseException) and not isinstance(e, RowError)), None):
        raise bug
    if not drafts:
        raise RowError("no_draft", "; ".join(str(error) for error in found))
    for one, score in zip(drafts, await gather(*(match(d.text, d.lang) for d in drafts))):
        one.scores["match"] = score
    similarity = None
    if diversity:
        vectors = await gather(*(m[scorer].encode_text(d.text, d.lang) for d in drafts))
        similarity = [[float(a.ravel() @ b.ravel()) for b in vectors] for a in vectors]
    candidates = [Candidate(d.text, d.scores["match"], d.model) for d in drafts]
    places = rank(candidates, k, min_score=min_score, diversity=diversity, similarity=similarity)
    best = [drafts[place] for place in places]
    for one in drafts:
        one.dropped = "draft"
    if len(best) == 1:
        return Caption(best[0].text, best[0].lang, model=best[0].model, parents=drafts, scores=dict(best[0].scores))

    if llm:
        texts = "\n".join(f"{n}. {d.text}" for n, d in enumerate(best, 1))
        answer = await m[llm].generate(fuse_prompt.replace("{texts}", texts), max_tokens=max_tokens)
        fused, _ = sound(answer.text, fuse_prompt, m[llm].name)
        writer = m[llm].name
        tag, _, _ = await check_answer(fused, prompt, AUTO, m, identifier)
        tag = best[0].lang if tag == UNKNOWN_LANGUAGE else tag
    else:
        fused, writer, tag = _joined(best), "panoglot:join", best[0].lang
    score = await match(fused, tag)
    top = best[0].scores["match"]
    if not fused or (margin is not None and score is not None and top is not None and score < top - margin):
        fused, writer, score, tag = best[0].text, best[0].model, top, best[0].lang
    return Caption(fused, tag, model=writer, parents=drafts, scores={"match": score})


def _joined(best: Sequence[Caption]) -> str:
    """The drafts as one text by rule: joined where they are English, else the longest."""
    fused, tag = best[0].text, best[0].lang
    for one in best[1:]:
        english = {base_language(tag), base_language(one.lang)} == {"en"}
        fused = join_captions(fused, one.text) if english else max(fused, one.text, key=len)
    return fused
