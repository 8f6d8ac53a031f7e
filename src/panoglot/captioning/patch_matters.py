"""`patch-matters`: describe five overlapping patches several times, keep what they support, merge inward.

Patch Matters (CVPR 2025; arXiv 2504.06666).
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from panoglot.asking import Models
from panoglot.captioning._answers import AUTO
from panoglot.captioning._candidates import Writer, fill
from panoglot.captioning._claims import join_sentences
from panoglot.captioning._fusing import BY_RULE, append_sentences, fuse, mentions
from panoglot.captioning._regions import BoxTuple, clipped, hull, merged, patches
from panoglot.captioning._selection import kept_of_contradiction, supported
from panoglot.captioning._statements import SORT, SORT_SCHEMA, Sorted, read_sorted, sort_statements
from panoglot.captioning._support import match_score
from panoglot.checks import check_option
from panoglot.errors import RowError
from panoglot.geometry import Region, box_iou
from panoglot.pictures import Image, draw_region
from panoglot.providers.roles import Box, RegionPart
from panoglot.running import DetectorName, EncoderName, GeneratorName, LanguageIdentifierName, ParserName, method
from panoglot.table import Caption
from panoglot.text import grams

__all__ = ["PAIRS", "Plan", "final_regions", "patch_matters", "plan_patches"]

WHOLE: BoxTuple = (0.0, 0.0, 1.0, 1.0)
#: Adjacent patches, by number: left top with right top, and on clockwise.
PAIRS = ((0, 1), (1, 3), (3, 2), (2, 0))
GLOBAL = "Describe the image in detail."
LOCAL = "Describe this part of an image in detail: only what can be seen in it."
REWRITE = (
    "Write one description of a part of an image. The statements are reliable: say all of them. The drafts may be "
    "wrong: take nothing from them but how it hangs together. Answer with the description "
    "alone.\n\nStatements:\n{statements}\n\n"
    "Drafts:\n{drafts}"
)
ENRICH = (
    "Enrich the description of an image with what is known of its main part. Where they disagree, the main part is "
    "right. Answer with the description alone.\n\nImage: {global}\n\nMain part: {main}"
)
MERGE = (
    "Correct and enrich the description of an image with descriptions of its parts. Each part has a box (left, top, "
    "right, bottom, 0 to 1). Say nothing twice; where they disagree the parts are right; tell places in words and "
    "write no numbers of boxes. Answer with the new description alone.\n\nImage: {global}\n\nParts:\n{parts}"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to look.

    Attributes:
        patches: left top, right top, left bottom, right bottom; in 0..1.
        main: what matters most, in 0..1; the whole picture where nobody knows.
        looks: whether `main` is described: where it is most of the picture it is not.
    """

    patches: tuple[BoxTuple, ...]
    main: BoxTuple
    looks: bool


def plan_patches(boxes: Sequence[BoxTuple], main: Sequence[BoxTuple] = (), *, attach: float = 0.3,
                 merge: float = 0.3, skip: float = 0.4) -> Plan:  # fmt: skip
    """Choose patches: each quadrant with the boxes that lie in it, and the hull of what matters (Divide).

    Args:
        boxes: of a detector, in 0..1.
        main: those that matter; none: the whole picture.
        attach: a box belongs to a quadrant when more than this share of it lies there.
        merge: IoU above which two boxes become one.
        skip: IoU of main patch and picture above which the main patch is not described.

    >>> plan = plan_patches([(0.4, 0.4, 0.7, 0.6)], [(0.4, 0.4, 0.7, 0.6)])
    >>> plan.patches[1], plan.looks, plan_patches([]).looks
    ((0.4, 0.0, 1.0, 0.6), True, False)
    """
    inside = [place for box in boxes[:300] if (place := clipped(box))]
    around = [place for box in main if (place := clipped(box))]
    most = hull(*around) if around else WHOLE
    return Plan(tuple(patches(merged(inside, merge), attach, WHOLE)), most, box_iou(most, WHOLE) <= skip)


def final_regions(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Which patches and merged pairs the last step is given (step 10).

    No pair: four patches. One: the pair and the two others. More: the pairs, and what lies in none of them.

    >>> final_regions([]), final_regions([(0, 1)]), final_regions([(0, 1), (3, 2)])
    ([(0,), (1,), (2,), (3,)], [(0, 1), (2,), (3,)], [(0, 1), (3, 2)])
    """
    held = {number for pair in pairs for number in pair}
    return [*pairs, *((number,) for number in range(4) if number not in held)]


@method(
    verb="caption",
    paper="Patch Matters",
    year=2025,
    about="describe overlapping patches, keep what they support, merge inward",
)
async def patch_matters(
    image: Image,
    m: Models,
    *,
    captioner: GeneratorName = "captioner",
    llm: GeneratorName = "llm",
    scorer: EncoderName = "encoder",
    detector: DetectorName = "",
    parser: ParserName = "embedded:parser",
    prompt: str = GLOBAL,
    patch_prompt: str = LOCAL,
    samples: int = 3,
    min_box: float = 0.3,
    attach: float = 0.3,
    merge: float = 0.3,
    join: float = 0.4,
    skip_main: float = 0.4,
    min_support: float = 0.3,
    filter: bool = True,
    plan: str = "quadrants",
    temperature: float = 0.7,
    max_tokens: int = 512,
    seed: int = 0,
    lang: str = AUTO,
    identifier: LanguageIdentifierName = "embedded:langid",
) -> Caption:
    """Describe the picture, and four or five parts of it several times; keep what the parts support.

    Asks the captioner 13 to 16 times a picture and the language model 6 to 12 times. `scalecap` asks about the things
    of its own caption instead of looking at parts.

    Args:
        image: the picture.
        m: the models.
        captioner: describes the picture and its parts.
        llm: sorts statements and merges; empty: by rule (English).
        scorer: an `Encoder`; a statement's support is (matching head + cosine) / 2.
        detector: finds the boxes that patches are drawn around; empty: plain quadrants.
        parser: names the things of the first description, whose boxes are the main patch (English).
        prompt: the question about the picture.
        patch_prompt: the question about a patch.
        samples: descriptions of a patch.
        min_box: least score of a box; if none has it and there are two, the first two are taken.
        attach: see `plan_patches`.
        merge: see `plan_patches`.
        join: IoU above which two adjacent patches are merged.
        skip_main: see `plan_patches`.
        min_support: a statement stays above it; shared statements are not scored.
        filter: score at all.
        plan: `quadrants`, or `whole`: samples of the whole picture alone.
        temperature: of the descriptions of patches.
        max_tokens: of a description.
        seed: of the first sample; every sample has another.
        lang: language of the caption.
        identifier: names it.

    Returns:
        A `dense` caption. Its parents are the first description, those of the patches with their region, and what was
        left out (`unsupported`). Scores: `patches`, `statements_dropped`, `fallback`, `fallback_STEP`.

    Raises:
        RowError: the captioner gave no description of the picture.
    """
    check_option("plan", plan, ("quadrants", "whole"))
    writer = Writer(m, lang, identifier)
    work = _Work(image, writer, captioner, llm, scorer if filter else "", patch_prompt, samples, min_support)
    work.options = {"temperature": temperature, "max_tokens": max_tokens}
    first = await writer.draft(captioner, prompt, image, max_tokens=max_tokens, temperature=0.2, seed=seed)
    boxes = await _boxes(image, writer, detector, min_box) if plan == "quadrants" else []
    named = await writer.attempt("parser", m[parser].parse(first.text, first.lang)) if boxes else None
    main = [box.region.box for box in boxes if named and any(mentions(box.name, o) for o in named.objects)]
    looks = plan_patches([b.region.box for b in boxes], main, attach=attach, merge=merge, skip=skip_main)
    places = [WHOLE] if plan == "whole" else [*looks.patches, *([looks.main] if looks.looks else [])]
    described = await gather(*(work.patch(place, seed + samples * n) for n, place in enumerate(places)))
    text = first.text
    if len(places) == 5 and described[4]:
        values = {"global": text, "main": described[4].text}
        by_rule = append_sentences(text, [described[4].text])
        text, _, _ = await fuse(
            writer, llm, ENRICH, values, by_rule, lang=first.lang, step="enrich", max_tokens=max_tokens
        )
    parts = await work.merge_pairs(places, described, join) if plan == "quadrants" else [d for d in described if d]
    values = {"global": text, "parts": "\n".join(_part_line(part) for part in parts)}
    by_rule = append_sentences(text, [part.text for part in parts])
    text, model, scores = await fuse(writer, llm, MERGE, values, by_rule, lang=first.lang, max_tokens=2 * max_tokens)
    flags: dict[str, float | None] = {"patches": float(len(places)), "statements_dropped": float(len(work.dropped))}
    kept = [part for part in (*described, *parts) if part]
    return await writer.finish(
        text,
        parents=[first, *dict.fromkeys(kept), *work.dropped],
        model=model,
        lang=first.lang,
        scores={**scores, **flags},
    )


async def _boxes(image: Image, writer: Writer, detector: str, least: float) -> list[Box]:
    if not detector:
        return []
    found = list(await writer.attempt("detector", writer.m[detector].detect(image)) or ())
    sure = [box for box in found if box.score >= least]
    return sure or (found[:2] if len(found) >= 2 else [])


def _part_line(part: Caption) -> str:
    box = part.region.box if part.region else WHOLE
    return f"[{', '.join(f'{value:.2f}' for value in box)}] {part.text}"


@dataclass
class _Work:
    """Describing and filtering the patches of one picture."""

    image: Image
    writer: Writer
    captioner: str
    llm: str
    scorer: str
    prompt: str
    samples: int
    min_support: float
    options: dict[str, Any] = field(default_factory=dict)
    dropped: list[Caption] = field(default_factory=list)

    async def patch(self, place: BoxTuple, seed: int) -> Caption | None:
        """Describe a patch several times, and make one text of what is reliable in it (steps 4 to 7)."""
        region = Region(*place)
        part = RegionPart(self.image, region)
        asked = (
            self.writer.draft(self.captioner, self.prompt, part, seed=seed + n, **self.options)
            for n in range(self.samples)
        )
        drafts = [d for d in await gather(*(self.writer.attempt("patch", one) for one in asked)) if d]
        return await self.reliable(drafts, [region] * len(drafts), region) if drafts else None

    async def reliable(self, drafts: Sequence[Caption], where: Sequence[Region], around: Region) -> Caption:
        """Sort, filter and rewrite some descriptions.

        Args:
            drafts: the descriptions.
            where: the part of the picture that statements of each are scored on.
            around: the part that contradictions are scored on, and that the text is about.
        """
        texts = [draft.text for draft in drafts]
        found = await self.sorted(texts, drafts[0].lang)
        kept = list(found.shared)
        for group in found.contradictions:
            scores = [await self.support(around, one, drafts[0].lang) for one in group]
            best = kept_of_contradiction(scores, self.min_support) if self.scorer else 0
            kept += [group[best]] if best is not None else []
            self.drop([(s, x) for n, (s, x) in enumerate(zip(group, scores)) if n != best], around, drafts)
        scores = [await self.support(_source(one, texts, where, around), one, drafts[0].lang) for one in found.unique]
        stay = supported(scores, self.min_support)
        kept += [one for one, stays in zip(found.unique, stay) if stays]
        self.drop([(s, x) for s, x, k in zip(found.unique, scores, stay) if not k], around, drafts)
        statements = join_sentences(kept) or drafts[0].text
        values = {"statements": "\n".join(f"- {one}" for one in kept), "drafts": "\n".join(f"- {t}" for t in texts)}
        scored: dict[str, float | None] = {}
        text, model = statements, BY_RULE
        if kept:
            text, model, scored = await fuse(
                self.writer, self.llm, REWRITE, values, statements, lang=drafts[0].lang, step="rewrite", temperature=0.6
            )
        else:
            self.writer.fall_back("nothing_kept")
        return Caption(text, drafts[0].lang, "region", model, tuple(drafts), around, dict(scored))

    async def sorted(self, texts: Sequence[str], lang: str) -> Sorted:
        """Shared, contradicting and unique statements."""
        if self.llm:
            listed = "\n\n".join(f"{n}. {text}" for n, text in enumerate(texts, 1))
            asked = self.writer.m[self.llm].generate(
                fill(SORT, {"texts": listed}), schema=SORT_SCHEMA, temperature=0.2, max_tokens=1024
            )
            answer = await self.writer.attempt("sorter", asked)
            if answer is not None and (read := read_sorted(answer.text)) is not None:
                return read
            if answer is not None:
                self.writer.fall_back("unreadable")
        else:
            self.writer.fall_back("sorter")
        return sort_statements(texts)

    async def support(self, region: Region, text: str, lang: str) -> float | None:
        """How well a statement fits a part of the picture; None where nobody says."""
        if not self.scorer:
            return None
        try:
            crop = draw_region(self.image, region)
        except RowError:
            return None
        return await match_score(self.writer.m[self.scorer], crop, text, lang)

    def drop(self, gone: Sequence[tuple[str, float | None]], region: Region, drafts: Sequence[Caption]) -> None:
        """Keep what was left out as rows."""
        for text, score in gone:
            draft = next((d for d in drafts if text in d.text), drafts[0])
            scores: dict[str, float | None] = {"support": score}
            self.dropped.append(
                Caption(text, draft.lang, "region", draft.model, (draft,), region, scores, "unsupported")
            )

    async def merge_pairs(
        self, places: Sequence[BoxTuple], described: Sequence[Caption | None], join: float
    ) -> list[Caption]:
        """Merge adjacent patches that overlap enough, and choose the parts of the last step (steps 9 and 10)."""
        pairs = [
            (a, b) for a, b in PAIRS if box_iou(places[a], places[b]) > join and described[a] and described[b]
        ]  # fmt: skip
        parts: list[Caption] = []
        for numbers in final_regions(pairs):
            own = [d for n in numbers if (d := described[n]) is not None]
            if len(own) < 2:
                parts += own
                continue
            around = Region(*hull(*(places[n] for n in numbers)))
            parts.append(await self.reliable(own, [Region(*places[n]) for n in numbers], around))
        return parts


def _source(statement: str, texts: Sequence[str], where: Sequence[Region], around: Region) -> Region:
    """The part of the picture whose description makes a statement: the one that shares most words with it."""
    words = set(grams(statement))
    shared = [len(words & set(grams(text))) for text in texts]
    return where[shared.index(max(shared))] if shared else around
