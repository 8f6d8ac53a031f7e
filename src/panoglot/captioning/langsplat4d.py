"""`langsplat4d`: every thing of a clip pointed out and followed: what becomes of it, and how it is in every frame.

4D LangSplat (CVPR 2025; arXiv 2503.10437), object-wise prompting. Its code has no licence for the prompts: ours.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer
from panoglot.captioning._tracks import Track, tracks
from panoglot.errors import RowError, UserError
from panoglot.pictures import Image, highlight_region
from panoglot.providers.roles import Box, Frames
from panoglot.running import (
    DetectorName,
    EncoderName,
    GeneratorName,
    Group,
    LanguageIdentifierName,
    SegmenterName,
    method,
)
from panoglot.table import Caption

__all__ = ["consensus", "langsplat4d"]

VIDEO = (
    "In these frames of a video one thing has a red outline and is in colour. Find out what it is. Then say in two or "
    "three sentences what it is like and how it changes or moves over time. Speak of nothing else."
)
FRAME = (
    "One thing has a red outline and is in colour. This is what becomes of it over the whole video: {summary}\n\n"
    "Say in one sentence how it is at this moment only: its state, what it does, which way it moves. Say what the "
    "picture shows and conclude nothing else; do not repeat the text above. If that speaks of up and down, say which "
    "of them it is now."
)
FRAME_OF_THREE = (
    "These are three frames of a video, one after the other; the middle one is the moment that is asked about.\n"
)


def consensus(vectors: np.ndarray) -> int:
    """Which of several texts has the highest mean cosine to the others; of equal ones the first.

    Args:
        vectors: unit vectors [texts, dim].

    >>> consensus(np.array([[0.0, 1.0], [1.0, 0.0], [0.8, 0.6]]))
    2
    """
    cosines = vectors @ vectors.T
    return int(np.argmax(cosines.sum(1) - np.diag(cosines)))


@dataclass(frozen=True)
class _Asking:
    """The models and the options of the questions."""

    writer: Writer
    captioner: str
    encoder: str
    prompt: str
    frame_prompt: str
    most_frames: int
    context: int
    samples: int
    max_tokens: int
    temperature: float
    seed: int


@method(
    verb="caption",
    unit="group",
    paper="4D LangSplat",
    year=2025,
    about="sentences per object and frame in dynamic 3D",
)
async def langsplat4d(
    clip: Group,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    segmenter: SegmenterName = "",
    detector: DetectorName = "",
    encoder: EncoderName = "",
    names: tuple[str, ...] = (),
    visual: tuple[str, ...] = ("blur", "grey", "contour"),
    prompt: str = VIDEO,
    frame_prompt: str = FRAME,
    min_score: float = 0.3,
    overlap: float = 0.3,
    gap: int = 2,
    min_frames: int = 20,
    most_frames: int = 18,
    context: int = 3,
    samples: int = 1,
    max_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> list[Caption]:
    """Caption every thing of a clip: what becomes of it, then a sentence for each of its frames.

    What is here is the paper's object-wise prompting. Its tracker (SAM with DEVA) is any segmenter or detector, whose
    finds are joined where name and place agree from frame to frame; where a thing leaves and comes back it is another.
    `panoglot index --captions` embeds the sentences (the paper: e5-mistral-7b-instruct). The field of Gaussians, its
    codecs and the search in space are not here. Beside `panda-70m`, which says one thing of a clip.

    Args:
        clip: frames of a clip or an event, or other pictures that share a group, in order of time.
        m: the models.
        captioner: a `Generator` that sees several pictures.
        segmenter: finds things and their outlines; or
        detector: finds their boxes. One of the two is needed.
        encoder: of texts, chooses among `samples`; needed where these are more than one.
        names: what is looked for; empty: all that the model knows.
        visual: how a thing is pointed out: `blur` (what is around it, radius 10), `grey` (that without colour),
            `contour` (a red line); the paper's ablation gains most by all three.
        prompt: the question about the frames of a thing.
        frame_prompt: with `{summary}`.
        min_score: least score of what is found.
        overlap: least IoU of a thing in one frame and the next.
        gap: most frames in which it may be missed in between.
        min_frames: things seen in fewer frames are passed over (the paper's 20; a clip read with `frames=60` has 60).
        most_frames: most frames of the first question, evenly from first to last.
        context: the frames so far before and after are shown too; near the ends the frame alone is.
        samples: sentences asked for each frame; more than one are drawn with `temperature`, and the one that is nearest
            to the others is kept.
        max_tokens: of an answer.
        temperature: of the frame's sentences where `samples` > 1.
        seed: of them.
        lang: language of the captions; see `describe`.
        identifier: names the language of the answers.

    Returns:
        For each thing a `region` caption with its interval and track, of the frame in its middle, and a `region`
        caption of every frame with its place, whose parent that one is. `thing` numbers them, `frames` is in how many
        it is seen, `passed_over` how many things are seen too briefly, `agreement` the mean cosine of the one kept.

    Raises:
        RowError: `no_frames`, `nothing_found`, `too_few_frames`, `no_draft`.
        UserError: neither segmenter nor detector; several samples and no encoder.

    Source: arXiv 2503.10437, section 3.2.
    """
    _check(clip, segmenter or detector, samples, encoder)
    writer = Writer(m, lang, identifier)
    boxes = await _found(clip.images, writer, segmenter, detector, list(names) or None, min_score)
    things = tracks(boxes, overlap=overlap, gap=gap)
    kept = [track for track in things if len(track.places) >= min_frames]
    if not things:
        raise RowError("nothing_found", f"no thing of a score of {min_score} in {len(clip.images)} frames")
    if not kept:
        most = max(len(track.places) for track in things)
        raise RowError(
            "too_few_frames",
            f"of {len(clip.images)} frames a thing is seen in {most} at most: read the video with "
            f"--option frames={3 * min_frames}, or --set min_frames={max(1, most)}",
        )
    asking = _Asking(
        writer, captioner, encoder, prompt, frame_prompt, most_frames, context, samples, max_tokens, temperature, seed
    )
    done = await gather(*(_told(clip.images, track, visual, asking) for track in kept))
    captions = [caption for own in done for caption in own]
    if not captions:
        raise RowError("no_draft", f"nothing could be said of {len(kept)} things ({dict(writer.failed)})")
    for n, own in enumerate(done):
        for caption in own:
            caption.scores |= {"thing": float(n), "frames": float(len(kept[n].places))}
    captions[0].scores |= {"passed_over": float(len(things) - len(kept)), **writer.scores()}
    return captions


def _check(clip: Group, finder: str, samples: int, encoder: str) -> None:
    """Raise what the options and the clip lack."""
    if not finder:
        raise UserError("langsplat4d needs to find things: --set segmenter=PROVIDER:NAME or --detector PROVIDER:NAME.")
    if samples > 1 and not encoder:
        raise UserError("samples=2 and more need an encoder of texts that chooses: --encoder PROVIDER:NAME.")
    if not clip.images:
        raise RowError("no_frames", "the clip has no pictures")


async def _found(
    images: Sequence[Image],
    writer: Writer,
    segmenter: str,
    detector: str,
    names: Sequence[str] | None,
    least: float,
) -> list[list[Box]]:
    """What is found in each frame; nothing where the model fails, and that is counted."""
    m = writer.m
    looked = [
        m[segmenter].segment(image, names=names) if segmenter else m[detector].detect(image, names) for image in images
    ]
    found = await gather(*(writer.attempt("finder", one) for one in looked))
    return [[box for box in boxes or () if box.score >= least] for boxes in found]


async def _told(images: Sequence[Image], track: Track, visual: Sequence[str], asking: _Asking) -> list[Caption]:
    """What becomes of a thing, then how it is in each of its frames; nothing where the first fails."""
    writer, numbers = asking.writer, sorted(track.places)
    shown = {n: highlight_region(images[n], track.places[n], visual) for n in numbers}
    times = {n: float(n) if images[n].time is None else float(images[n].time or 0.0) for n in numbers}
    count = min(len(numbers), asking.most_frames)
    some = [numbers[round(k * (len(numbers) - 1) / max(1, count - 1))] for k in range(count)]
    frames = Frames(tuple(shown[n] for n in some), tuple(times[n] for n in some))
    summary = await writer.attempt(
        "summary",
        writer.draft(asking.captioner, asking.prompt, frames, kind="region", max_tokens=asking.max_tokens),
    )
    if summary is None:
        return []
    summary.image_id, summary.region = images[numbers[len(numbers) // 2]].id, track.region(times)
    sentences = await gather(*(_sentence(n, images, track, shown, summary, asking) for n in numbers))
    return [summary, *(one for one in sentences if one is not None)]


async def _sentence(
    n: int,
    images: Sequence[Image],
    track: Track,
    shown: dict[int, Image],
    summary: Caption,
    asking: _Asking,
) -> Caption | None:
    """The sentence of a frame, None where no answer could be kept."""
    around = [n - asking.context, n, n + asking.context]
    three = asking.context > 0 and all(one in shown for one in around)
    pictures = [shown[one] for one in around] if three else [shown[n]]
    prompt = (FRAME_OF_THREE if three else "") + asking.frame_prompt
    drafts = await gather(
        *(
            asking.writer.attempt(
                "frame",
                asking.writer.draft(
                    asking.captioner,
                    prompt,
                    *pictures,
                    values={"summary": summary.text},
                    kind="region",
                    parents=[summary],
                    max_tokens=asking.max_tokens,
                    seed=asking.seed + k,
                    temperature=asking.temperature if asking.samples > 1 else 0.0,
                ),
            )
            for k in range(asking.samples)
        )
    )
    said = [draft for draft in drafts if draft is not None]
    if not said:
        return None
    best = said[0]
    if len(said) > 1:
        encoder = asking.writer.m[asking.encoder]
        vectors = np.stack(await gather(*(encoder.encode_text(one.text, one.lang) for one in said)))
        place = consensus(vectors)
        best = said[place]
        best.scores["agreement"] = float((vectors @ vectors[place]).sum() - 1) / (len(said) - 1)
    best.image_id, best.region = images[n].id, track.places[n]
    return best
