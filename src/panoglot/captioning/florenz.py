"""`florenz`: texts that were translated by people are put to the pictures that they could be about.

Florenz (2025; arXiv 2503.09443), step 3 of its data: translation with a picture, without any picture that was captioned
in the other languages.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from asyncio import gather
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from panoglot.asking import Models
from panoglot.errors import RowError, UserError
from panoglot.languages import parse_language
from panoglot.pictures import Image
from panoglot.running import EncoderName, method
from panoglot.table import Caption

__all__ = ["attach", "florenz", "read_parallel"]

logger = logging.getLogger("panoglot.captioning")

#: Texts that are compared with all pictures at once.
_AT_ONCE = 1024


def read_parallel(path: str, source: str = "en") -> list[dict[str, str]]:
    """Return parallel texts of a file: each a text a language; lines that say the same in `source` become one.

    Args:
        path: a table with a head of languages (`en`, `fr`, `zh` …), comma or tab separated (.csv, .tsv), or lines of
            JSON with such keys (.jsonl).
        source: the language that pictures are found by.

    Raises:
        UserError: no such file, a column that is no language, or no line with a text in `source` and another one.
    """
    place = Path(path).expanduser()
    try:
        text = place.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"pairs='{path}' cannot be read: {getattr(error, 'strerror', None) or error}") from None
    found: dict[str, dict[str, str]] = {}
    for row in _rows(text, place):
        said: dict[str, str] = {}
        for tag, value in row.items():
            lang = parse_language(str(tag))
            if lang is None:
                raise UserError(f"pairs='{path}': the column '{tag}' is no language: en, fr, zh-Hans …")
            if isinstance(value, str) and value.strip():
                said[lang] = " ".join(value.split())
        if source in said and len(said) > 1:
            found.setdefault(said[source], {}).update(said)
    if not found:
        raise UserError(f"pairs='{path}' has no line with a text in '{source}' and in another language.")
    return list(found.values())


def _rows(text: str, place: Path) -> Iterator[dict[str, str]]:
    if place.suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), 1):  # texts may hold other marks that end a line
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError:
                    row = None
                if not isinstance(row, dict):
                    raise UserError(f"pairs='{place}': line {number} is no JSON object of languages and texts.")
                yield row
        return
    table = io.StringIO(text, newline="")
    for row in csv.DictReader(table, delimiter="\t" if place.suffix == ".tsv" else ","):
        yield {key: value for key, value in row.items() if key}


def attach(
    scores: Iterable[np.ndarray], min_similarity: float, generic: float, most: int
) -> list[tuple[int, int, float]]:
    """Return (text, picture, similarity) of the texts that found a picture, in the order of the texts.

    Args:
        scores: [T, P] cosines of texts and pictures, or some rows [t, P] of them at a time.
        min_similarity: a text whose best picture is less alike finds none.
        generic: nor does one that is not so much more like its best picture than like the mean of all pictures: it
            speaks of everything.
        most: texts that one picture takes, those most like it; the others go on to no second choice.

    >>> attach(np.array([[0.5, 0.1], [0.6, 0.2], [0.3, 0.3], [0.1, 0.9]]), 0.25, 0.1, 1)
    [(1, 0, 0.6), (3, 1, 0.9)]
    """
    good, texts = list[tuple[float, int, int]](), 0
    for rows in map(np.atleast_2d, scores):
        if not rows.size:
            return []
        best, high = rows.argmax(1), rows.max(1)
        for n in np.flatnonzero((high >= min_similarity) & (high - rows.mean(1) >= generic)).tolist():
            good.append((-float(high[n]), texts + n, int(best[n])))
        texts += len(rows)
    taken, found = Counter[int](), []
    for high_, n, picture in sorted(good):
        if taken[picture] < most:
            taken[picture] += 1
            found.append((n, picture, -high_))
    return sorted(found)


async def learn(
    images: Iterable[Image],
    m: Models,
    *,
    encoder: str,
    pairs: str = "",
    source: str = "en",
    min_similarity: float = 0.25,
    generic: float = 0.02,
    most: int = 5,
) -> bytes:
    """Find a picture for every parallel text; picture → texts, as JSON."""
    if not pairs:
        raise UserError("florenz: pairs names the file of parallel texts: --set pairs=texts.tsv")
    texts, ids, seen = read_parallel(pairs, source), [], []
    for image in images:
        try:
            seen.append(np.asarray(await m[encoder].encode_image(image), np.float32).reshape(-1))
        except RowError:
            continue  # a picture that cannot be encoded finds no text; as an item it is a reject
        ids.append(image.id)
    read = await gather(*(m[encoder].encode_text(text[source], source) for text in texts))
    pictures = np.stack(seen) if seen else np.zeros((0, np.size(read[0])))
    rows = (
        np.nan_to_num(np.stack(read[n : n + _AT_ONCE]).reshape(-1, pictures.shape[1]) @ pictures.T, nan=-1.0)
        for n in range(0, len(texts), _AT_ONCE)
    )
    found: dict[str, list[dict[str, object]]] = {}
    for n, place, score in attach(rows, min_similarity, generic, most):
        found.setdefault(ids[place], []).append({"texts": texts[n], "similarity": round(score, 6)})
    if not found:
        raise UserError(
            f"florenz: of {len(texts):,} texts none is {min_similarity} like any of {len(ids):,} pictures: "
            "--set min_similarity=0.1, or more pictures"
        )
    if left := len(texts) - sum(map(len, found.values())):
        logger.warning(
            "florenz: %s of %s parallel texts found no picture (min_similarity=%g, generic=%g, most=%d a picture)",
            f"{left:,}", f"{len(texts):,}", min_similarity, generic, most,
        )  # fmt: skip
    return json.dumps({"found": found, "texts": len(texts)}, ensure_ascii=False, sort_keys=True).encode()


@method(
    verb="caption",
    paper="Florenz",
    year=2025,
    about="translations are put to the pictures that they could be about",
    fit=learn,
)
async def florenz(
    image: Image,
    m: Models,
    *,
    encoder: EncoderName = "encoder",
    pairs: str = "",
    source: str = "en",
    min_similarity: float = 0.25,
    generic: float = 0.02,
    most: int = 5,
    fitted: bytes = b"",
) -> list[Caption]:
    """Give a picture the parallel texts that are most like it of all pictures, for `panoglot train florenz`.

    How many texts found no picture is said when they are put to pictures.

    Captions come from elsewhere: `describe`, and `panoglot translate --to de` (the paper's two languages).

    Args:
        image: the picture.
        m: the models.
        encoder: puts pictures and texts into one space (the paper's is contrastive).
        pairs: file of parallel texts: a table with a head of languages (.csv, .tsv), or .jsonl.
        source: the language that pictures are found by, and that is translated.
        min_similarity: a text whose best picture is less alike finds none; the best value depends on the encoder.
        generic: least distance between a text's best picture and the mean of all: texts that fit everything find none.
        most: texts a picture.
        fitted: of the first pass: which text belongs to which picture.

    Returns:
        For each text the source (kind `question`: it is given, never what is to be written) and its translations (kind
        `answer`); score `similarity`. A picture that no text found gets none.
    """
    out = []
    for one in json.loads(fitted)["found"].get(image.id, ()) if fitted else ():
        score: dict[str, float | None] = {"similarity": float(one["similarity"])}
        texts = one["texts"]
        asked = Caption(texts[source], source, "question", scores=score)
        out.append(asked)
        out += [
            Caption(text, lang, "answer", scores=score, parents=[asked])
            for lang, text in sorted(texts.items())
            if lang != source
        ]
    return out
