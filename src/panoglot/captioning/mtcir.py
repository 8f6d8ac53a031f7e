"""`mtcir`: what would have to change for one picture to be another, from the captions of both: composed queries.

CoLLM (CVPR 2025; arXiv 2503.19910) made its set MTCIR so; its code is not published: prompt, bounds and rules are ours.
"""

from __future__ import annotations

import math
import re
from asyncio import gather
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from panoglot.asking import Models
from panoglot.captioning._candidates import fill
from panoglot.captioning._claims import read_lines, split_claims
from panoglot.errors import RowError, UserError, command
from panoglot.languages import base_language, language_name
from panoglot.pictures import Image
from panoglot.running import GeneratorName, Group, GroupPart, method
from panoglot.table import Caption, Dataset, Triple
from panoglot.text import is_spaceless, tokens, word_count
from panoglot.vectors import Vectors, unit_rows

__all__ = ["changes", "close_pairs", "kept_changes", "mtcir"]

DESCRIBE = (
    "Describe this picture in detail: what there is, how many, of which colour, where, before what, seen from where."
)
PROMPT = (
    "Somebody looks at picture A and wants to have picture B. List the short requests that lead from A to B, one a "
    "line, each about one aspect only: an object, an attribute, a number, the background, or the viewpoint. Write as a "
    "person asks for a change, in {language}, at most {longest} words a line. Do not mention picture A, picture B or a "
    "target, and do not describe the whole of B.\n\nA: {have}\n\nB: {want}"
)
#: Of a change of `have` to `want`, of what is new, of what is gone, as people say it.
SAID = {
    "en": ("{want} instead of {have}", "with {want}", "without {have}"),
    "de": ("{want} statt {have}", "mit {want}", "ohne {have}"),
    "es": ("{want} en lugar de {have}", "con {want}", "sin {have}"),
    "fr": ("{want} au lieu de {have}", "avec {want}", "sans {have}"),
    "pt": ("{want} em vez de {have}", "com {want}", "sem {have}"),
    "sw": ("{want} badala ya {have}", "pamoja na {want}", "bila {have}"),
    "ar": ("{want} بدلاً من {have}", "مع {want}", "بدون {have}"),
    "hi": ("{have} के बजाय {want}", "{want} के साथ", "{have} के बिना"),
    "th": ("{want}แทน{have}", "มี{want}", "ไม่มี{have}"),
    "ja": ("{have}ではなく{want}", "{want}も", "{have}なし"),
    "zh": ("要{want}，不要{have}", "加上{want}", "去掉{have}"),
}
#: A text that speaks of the pictures and not of what is on them.
_POINTS = re.compile(
    r"\b(?:(?:target|second|other|reference|first) (?:image|picture|photo)|(?:image|picture) [ab12])\b", re.I
)
#: Pictures that are compared with all others at a time.
_BLOCK = 1024


def close_pairs(
    dataset: Dataset, where: str | None, only: str | None, options: Mapping[str, Any]
) -> Iterator[GroupPart]:
    """List for every picture the most alike others whose cosine is in the band: neither a copy nor something else.

    Args:
        dataset: with stored vectors of its pictures.
        where: SQL filter: the pictures that take part.
        only: SQL filter: pictures that are references.
        options: of `mtcir`: `vectors`, `low`, `high`, `near`.

    Raises:
        UserError: no vectors, or no two pictures so alike, with the cosines that there are.
    """
    import numpy as np

    name = options["vectors"] or dataset.searched_vectors()
    if name is None or name not in dataset.vector_names():
        line = command("build", "FOLDER", "-o", dataset.address)
        what = f"no '{name}'" if name else "none"
        raise UserError(f"mtcir pairs pictures by their vectors, and {dataset.address} has {what}: {line}")
    stored = Vectors(dataset.vectors(name))
    stored.refresh()
    taken = _ids(dataset, where) - dataset.dropped_images()
    means: dict[str, list[Any]] = {}
    for part in stored.parts:
        for owner, caption, vector in zip(part.owners.tolist(), part.captions.tolist(), part.vectors):
            if not caption and owner.decode() in taken:
                means.setdefault(owner.decode(), []).append(vector)
    ids = sorted(means)
    first = _ids(dataset, only) if only else taken
    if not ids:
        raise UserError(f"mtcir pairs pictures by their vectors: '{name}' has none of the pictures that are taken.")
    x = unit_rows(np.stack([np.mean(means[key], axis=0, dtype=np.float32) for key in ids]), without=0.0)
    low, high, near, found, best = options["low"], options["high"], options["near"], 0, list[float]()
    for start in range(0, len(ids), _BLOCK):
        cosines = x[start : start + _BLOCK] @ x.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -2.0
        best += cosines.max(1).tolist()
        cosines[(cosines < low) | (cosines > high)] = -2.0
        for row, mine in enumerate(cosines):
            order = np.argsort(-mine, kind="stable")[:near]
            chosen = order[mine[order] > -2.0].tolist()
            found += len(chosen)
            for column in chosen if ids[start + row] in first else ():
                yield GroupPart(f"{ids[start + row]}>{ids[column]}", (ids[start + row], ids[column]))
    if not found:
        least, most = np.quantile(best, [0.05, 0.95]).tolist()
        raise UserError(
            f"no two pictures have a cosine of {low:g} to {high:g} by '{name}'; that of a picture and its nearest is "
            f"{least:.2f} to {most:.2f} (5 % to 95 %): --set low={math.floor(100 * least) / 100:.2f} "
            f"--set high={math.ceil(100 * most) / 100:.2f}"
        )


def _ids(dataset: Dataset, where: str | None) -> set[str]:
    return set(dataset.images.read(["image_id"], where)["image_id"].to_pylist())


def _words(text: str) -> tuple[list[str], str]:
    """Words, and what stands between them; of Chinese and Japanese the characters, of other scripts without spaces the
    clauses: they cannot be taken apart without a dictionary."""
    bare = text.strip().rstrip(".!?。！？।؟۔ ")
    if not is_spaceless(bare):
        return bare.split(), " "
    cuts = all(ord(char) >= 0x2E80 for char in bare if char.isalpha() and not char.isascii())
    return (tokens(bare), "") if cuts else ([bare], " ")


def changes(have: str, want: str, lang: str, most: int = 5) -> list[str]:
    """The changes from one caption to another by rule, as short texts in their language, at most `most`.

    Clauses that both have are left out; the others are paired where half of their words are the same, and then only
    the words that differ are said.

    >>> changes("a red circle at the top left", "a blue circle at the top right", "en")
    ['blue instead of red', 'right instead of left']
    >>> changes("A dog on grass.", "A dog on grass, two red balls.", "en")
    ['with two red balls']
    >>> changes("一个红色的圆", "一个蓝色的圆", "zh")
    ['要蓝，不要红']
    """
    instead, more, less = SAID.get(base_language(lang), ("{want}", "{want}", ""))
    gone, new = ([claim.text for claim in split_claims(text, "clause")] for text in (have, want))
    same = {one.casefold() for one in gone} & {one.casefold() for one in new}
    gone, new = ([one for one in some if one.casefold() not in same] for some in (gone, new))
    found = list[str]()
    for clause in new:
        words, between = _words(clause)
        told = [(SequenceMatcher(None, _words(old)[0], words, autojunk=False), old) for old in gone]
        match, old = max(told, key=lambda one: one[0].ratio(), default=(None, ""))
        if match is None or match.ratio() < 0.5:
            found.append(fill(more, {"want": clause}))
            continue
        gone.remove(old)
        before = _words(old)[0]
        for kind, a, b, c, d in match.get_opcodes():
            values = {"have": between.join(before[a:b]), "want": between.join(words[c:d])}
            if kind != "equal":
                found.append(fill({"replace": instead, "insert": more, "delete": less}[kind], values))
    found += [fill(less, {"have": clause}) for clause in gone]
    return [text for text in dict.fromkeys(found) if text][:most]


def kept_changes(texts: list[str], want: str, longest: int, restated: float) -> tuple[list[str], Counter[str]]:
    """The texts that are changes, and how many are not, by reason.

    Args:
        texts: as they were written.
        want: the caption of the wanted picture.
        longest: most words.
        restated: share of the wanted caption's words from which a text says that caption anew.

    >>> kept_changes(["make it blue", "", "one blue circle", "like the target image"], "one blue circle", 20, 0.8)
    (['make it blue'], Counter({'empty': 1, 'restates': 1, 'points_at_pictures': 1}))
    """
    kept, left = list[str](), Counter[str]()
    caption = {word.casefold() for word in tokens(want.rstrip(".。।"))}
    for text in texts:
        said = {word.casefold() for word in tokens(text.rstrip(".。।"))}
        why = (
            "empty"
            if not any(map(str.isalnum, text))
            else "too_long"
            if word_count(text) > longest
            else "points_at_pictures"
            if _POINTS.search(text)
            else "restates"
            if len(caption) > 2 and len(caption & said) >= restated * len(caption)
            else ""
        )
        if why:
            left[why] += 1
        elif text not in kept:
            kept.append(text)
    return kept, left


def _both(reference: Image, target: Image, lang: str) -> tuple[Caption, Caption]:
    """The longest captions of both pictures in one language: the one asked for, English, or the first that both have.

    Raises:
        RowError: `no_captions`, `no_common_language`.
    """
    each = []
    for image in (reference, target):
        told: dict[str, Caption] = {}
        for caption in image.captions:
            if caption.region is None and caption.kind != "fact":
                key = base_language(caption.lang)
                if key not in told or len(caption.text) > len(told[key].text):
                    told[key] = caption
        each.append(told)
    if not all(each):
        raise RowError("no_captions", "one of the two pictures has no kept caption")
    common = sorted(each[0].keys() & each[1].keys(), key=lambda tag: (tag != base_language(lang), tag != "en", tag))
    if not common or (lang and common[0] != base_language(lang)):
        raise RowError("no_common_language", f"no language that both have captions in{f': {lang}' * bool(lang)}")
    return each[0][common[0]], each[1][common[0]]


@method(
    verb="caption", unit="pair", captions=True, pairs=close_pairs,
    about="composed queries from captioned pictures that are alike: short texts of what would have to change (CoLLM)",
)  # fmt: skip
async def mtcir(
    pair: Group,
    m: Models,
    *,
    llm: GeneratorName = "llm",
    captioner: GeneratorName = "",
    lang: str = "",
    vectors: str = "",
    low: float = 0.6,
    high: float = 0.94,
    near: int = 2,
    most: int = 5,
    longest: int = 20,
    restated: float = 0.8,
    describe_prompt: str = DESCRIBE,
    prompt: str = PROMPT,
) -> list[Triple | Counter[str]]:
    """Write what would have to change for a picture to be one that is like it, as `panoglot train` learns from.

    Each picture is the reference for its nearest others in the band of cosines; both ways are two queries. Of each pair
    both captions are read, and the changes are listed, each about one aspect.

    Args:
        pair: the reference, then the target, with their stored captions.
        m: the models.
        llm: lists the changes; empty: words that the two captions do not share are the changes.
        captioner: describes both pictures in detail first; empty: their longest stored captions in one language stand.
        lang: language of the captions and the changes; empty: English, or the first that both have.
        vectors: name of the vectors that pairs are found by; empty: those of a search.
        low: least cosine: less is something else.
        high: greatest cosine: more is the same picture.
        near: most targets of a picture.
        most: most texts of a pair.
        longest: most words of a text.
        restated: share of the target's caption from which a text says it anew, and is no change.
        describe_prompt: for the captioner.
        prompt: for the language model, with `{have}`, `{want}`, `{language}` and `{longest}`.

    Returns:
        A composed query for every text (table `triples`): texts of one pair are alternatives, of which training draws
        some anew every epoch; and how many texts were left out, by reason.

    Raises:
        RowError: `no_captions`, `no_common_language`; `no_change`: nothing is left that is a change.

    Source: CoLLM arXiv 2503.19910 (MTCIR: pairs by likeness, captions of both, short texts by aspect, filter). Bounds,
    prompts and the rule without a model are ours.
    """
    reference, target = pair.images
    if captioner:
        answers = await gather(*(m[captioner].generate(describe_prompt, one) for one in (reference, target)))
        have, want, tag = answers[0].text, answers[1].text, lang or "en"
    else:
        first, second = _both(reference, target, lang)
        have, want, tag = first.text, second.text, second.lang
    if llm:
        values = {"have": have, "want": want, "language": language_name(tag), "longest": longest}
        answer = await m[llm].generate(fill(prompt, values), max_tokens=600)
        listed, model = read_lines(answer.text)[:most], m[llm].name
    else:
        listed, model = changes(have, want, tag, most), ""
    kept, left = kept_changes(listed, want, longest, restated)
    if not kept:
        why = ", ".join(f"{reason} {count}" for reason, count in left.items()) or "the captions say the same"
        raise RowError("no_change", f"nothing is left that is a change: {why}")
    made = [Triple(text, reference.id, [target.id], lang=tag, kind="change", model=model) for text in kept]
    return [*made, Counter({f"change_{reason}": count for reason, count in left.items()})]
