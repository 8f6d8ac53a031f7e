"""TrueMatch: self-retrieval in hand-picked bags of look-alikes ("No Detail Left Behind", TMLR 2024).

Files (huggingface.co/datasets/manu-gaur/NDLB-TrueMatch-Benchmark): `3.json`, `5.json`, `7.json`, each a list of bags of
COCO ids, and COCO's pictures. Captions come by COCO id. The encoder should not be one the captioner was tuned on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import encode_texts
from panoglot.checks import offenders
from panoglot.errors import UserError
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._read import encode_files, pictures_of, read_predictions
from panoglot.formats._json import read_json
from panoglot.metrics._result import MetricResult
from panoglot.metrics._results import ResultSet
from panoglot.metrics.captions.self_retrieval import self_retrieval

if TYPE_CHECKING:
    from panoglot.providers.roles import Encoder

__all__ = ["SIZES", "TRUEMATCH", "read_bags", "truematch"]

#: The sizes that are scored.
SIZES = (3, 5, 7)


def _key(name: Any) -> str:
    """COCO's number as it is written in a caption file: without leading zeros."""
    found = re.search(r"(\d{12})(?:\.\w+)?$", str(name))
    return str(int(found[1])) if found else str(name)


def read_bags(path: str | os.PathLike[str]) -> list[list[str]]:
    """Read the bags of one file, or of the scored sizes in a folder.

    Raises:
        UserError: no files, or something that is no list of lists.
    """
    source = Path(path)
    files = [source / f"{size}.json" for size in SIZES] if source.is_dir() else [source]
    files = [file for file in files if file.is_file()] or files
    bags = [bag for file in files for bag in read_json(file)]
    if not bags or any(not isinstance(bag, list) or not bag for bag in bags):
        raise UserError(f"{path} must hold lists of ids, a list a bag (files {', '.join(f'{n}.json' for n in SIZES)}).")
    return [[_key(name) for name in bag] for bag in bags]


def truematch(
    preds: Mapping[str, str | None],
    bags: Sequence[Sequence[str]],
    images: str | os.PathLike[str],
    encoder: Encoder,
    *,
    lang: str = "en",
    ties: str = "mean",
    confidence: float | None = None,
) -> MetricResult:
    """Recall@1 in the bags, in percent, for each size in `parts`.

    Args:
        preds: caption by COCO id (or any name).
        bags: from `read_bags`.
        images: folder of the pictures.
        encoder: of texts and pictures.
        lang: language of the captions.
        ties: see `self_retrieval`; `target_first` is the published rule.
        confidence: level of a bootstrap interval over bags.

    Raises:
        UserError: ids of the bags without a caption or a picture; empty captions.
    """
    named = {_key(name): text for name, text in preds.items()}
    ids = list(dict.fromkeys(name for bag in bags for name in bag))
    empty = [name for name in ids if not (named.get(name) or "").strip()]
    if empty:
        raise UserError(f"{len(empty)} of the {len(ids)} pictures in the bags have no caption: {offenders(empty)}.")
    texts = encode_texts(encoder, [named[name] or "" for name in ids], lang)
    vectors = encode_files(encoder, pictures_of(ids, images))
    scorer = getattr(encoder, "name", "")
    return self_retrieval(texts, vectors, bags, ids=ids, ties=ties, scorer=scorer, confidence=confidence)


def _read(preds: str, data: str, *, model: str | None = None) -> tuple[Any, Any]:
    """Captions, and the bags.

    Args:
        model: whose captions to take from a file or dataset of several models.
    """
    return read_predictions(preds, model=model), read_bags(data)


def _run(given: Any, images: str, encoder: Any, *, lang: str = "en", confidence: float | None = None) -> ResultSet:
    captions, bags = given
    return ResultSet({"truematch": truematch(captions, bags, images, encoder, lang=lang, confidence=confidence)})


TRUEMATCH = Benchmark(
    "truematch", "captions", "self-retrieval in bags of 3, 5 and 7 look-alikes",
    "--data: folder of `3.json`, `5.json`, `7.json`; --images; --encoder",
    "huggingface.co/datasets/manu-gaur/NDLB-TrueMatch-Benchmark", Way(_run, _read),
)  # fmt: skip
