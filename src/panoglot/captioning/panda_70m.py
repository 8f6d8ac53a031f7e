"""`panda-70m`: several teachers caption a clip of a video, the caption that fits its frames best is kept."""

from __future__ import annotations

from asyncio import gather
from hashlib import sha256

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO, ask_for, check_answer, sound
from panoglot.errors import RowError
from panoglot.geometry import Region
from panoglot.pictures import Image
from panoglot.providers.roles import Frames, Prompt, Turn
from panoglot.running import EncoderName, GeneratorNames, Group, LanguageIdentifierName, method
from panoglot.table import Caption

__all__ = ["middle_frame", "panda_70m"]

ASK = "Describe this part of a video in one sentence: what is there and what happens."


def middle_frame(count: int, key: str, seed: int = 0) -> int:
    """A frame from the middle 30 % to 70 % of a clip, drawn by (seed, clip) (paper, teachers that see one picture).

    >>> [middle_frame(n, "a") for n in (1, 2, 3)], 3 <= middle_frame(10, "a") <= 6
    ([0, 0, 1], True)
    """
    first, last = int(0.3 * (count - 1) + 0.5), int(0.7 * (count - 1))
    draw = int.from_bytes(sha256(f"{seed} {key}".encode()).digest()[:8], "big")
    return min(first, last) + draw % (abs(last - first) + 1)


@method(
    verb="caption",
    name="panda-70m",
    unit="group",
    paper="Panda-70M",
    year=2024,
    about="split videos, many teachers, keep the preferred caption",
)
async def panda_70m(
    clip: Group,
    m: Models,
    *,
    captioners: GeneratorNames = ("captioner",),
    scorer: EncoderName = "encoder",
    prompt: str = ASK,
    frames: int = 1,
    min_score: float | None = None,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
    max_tokens: int = 80,
    seed: int = 0,
) -> list[Caption]:
    """Let several teachers caption a clip, and keep the caption that its frames match best.

    The clips are those of the reader of videos: shots, long ones in pieces. What is not here: joining clips whose
    frames look alike (their embeddings), subtitles as an input, the tuned selector and the student that is trained on
    what comes. Any encoder selects, over all frames of the clip; the paper's untuned one chose as people did in 22 % of
    the clips, the tuned one in 36 %.

    Args:
        clip: the frames of a clip: pictures that share a group.
        m: the models.
        captioners: the teachers, `Generator`s that see pictures.
        scorer: an `Encoder` of pictures and texts.
        prompt: the question to every teacher.
        frames: frames that a teacher sees; 1 is one from the middle, drawn by (seed, clip), as in the paper; 0 is all.
        min_score: a best caption below this is dropped as `low_match`; the paper calls > 0.43 strong, by its selector.
        lang: language of the captions; see `describe`.
        identifier: names the language of the answers.
        max_tokens: most tokens of an answer.
        seed: for the drawing of the frame.

    Returns:
        The best caption, of the middle frame and the interval of the clip, with `match` (mean over frames) among its
        scores and the teachers' captions as parents.

    Raises:
        RowError: `no_frames`; `no_draft`: every teacher failed.

    Source: arXiv 2402.19479.
    """
    if not clip.images:
        raise RowError("no_frames", "the clip has no pictures")
    middle = clip.images[middle_frame(len(clip.images), clip.key, seed)]
    shown = _shown(clip.images, middle, frames)
    question = await ask_for(prompt, lang, m, identifier)

    async def draft(name: str) -> Caption:
        answer = await m[name].generate(Prompt(turns=[Turn("user", (*shown, question))], max_tokens=max_tokens))
        text, flags = sound(answer.text, question, m[name].name)
        tag, scores, wrong = await check_answer(text, prompt, lang, m, identifier)
        if wrong:
            raise RowError(wrong, f"{m[name].name} answered in {tag}: {text[:80]!r}")
        scores |= flags
        found = await gather(*(m[scorer].similarity(image, [text], [tag]) for image in clip.images))
        scores["match"] = sum(one for (one,) in found) / len(found)
        return Caption(text, tag, "short", m[name].name, scores=scores, image_id=middle.id)

    found = await gather(*(draft(name) for name in captioners), return_exceptions=True)
    if bug := next((e for e in found if isinstance(e, BaseException) and not isinstance(e, RowError)), None):
        raise bug
    drafts = [one for one in found if isinstance(one, Caption)]
    if not drafts:
        raise RowError("no_draft", "; ".join(str(error) for error in found))
    best = max(drafts, key=lambda one: one.scores["match"] or 0.0)  # of equal ones the first teacher's
    for one in drafts:
        one.dropped = "draft"
    low = min_score is not None and (best.scores["match"] or 0.0) < min_score
    return [
        Caption(
            best.text,
            best.lang,
            best.kind,
            best.model,
            drafts,
            _interval(clip.images),
            dict(best.scores),
            "low_match" if low else None,
            image_id=middle.id,
        )
    ]


def _shown(images: tuple[Image, ...], middle: Image, count: int) -> tuple[object, ...]:
    """What a teacher sees: one picture, or frames with their times."""
    if count == 1 or len(images) == 1:
        return (middle,)
    if not count or count >= len(images):
        some = images
    else:
        some = tuple(images[round(n * (len(images) - 1) / (count - 1))] for n in range(count))
    return (Frames(some, tuple(image.time or 0.0 for image in some)),)


def _interval(images: tuple[Image, ...]) -> Region | None:
    """The interval of the clip, as the reader of videos wrote it beside its frames, else from frame to frame."""
    places = [image.region for image in images if image.region is not None and image.region.end is not None]
    if places:
        return Region(start=min(p.start or 0.0 for p in places), end=max(p.end or 0.0 for p in places))
    times = [image.time for image in images if image.time is not None]
    return Region(start=min(times), end=max(times)) if len(times) > 1 else None
