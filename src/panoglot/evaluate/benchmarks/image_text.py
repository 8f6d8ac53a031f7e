"""Multilingual image-text retrieval sets: XTD10, xFlickr&CO, XM3600, Multi30k, COCO-CN and their like.

| benchmark | what `captions` is |
|---|---|
| `xtd10` | folder of `test_image_names.txt`, `test_1kcaptions_<lang>.txt` |
| `xflickrco`, `xtd` | JSON `{"images": […], "captions": {lang: […]}}` |
| `xm3600` | `captions.jsonl`: `image/key`, and by language `caption` lists |
| `multi30k` | folder of `task1_raw_<split>.<lang>.gz` (or without .gz) and `task1_images_<split>.txt`; split |
| | `task2_test_2016`: `task2_raw_test_2016.<n>.<lang>.gz`, five descriptions of a picture in English and German |
| `jsonl` | rows of `image` and `caption` (one or a list): COCO-CN, Flickr30k-CN, Karpathy's splits |

From github.com/adobe-research/Cross-lingual-Test-Dataset-XTD10, github.com/gregor-ge/Babel-ImageNet (the JSON files),
google.github.io/crossmodal-3600 and github.com/multi30k/dataset.

Pictures come from a folder of the user's, found by file name.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import encode_texts
from panoglot.checks import OnError, check_option, offenders
from panoglot.errors import UserError, did_you_mean
from panoglot.evaluate._declare import Benchmark, Way
from panoglot.evaluate._read import encode_files, picture_files
from panoglot.formats._json import read_rows
from panoglot.languages._tags import UNKNOWN_LANGUAGE, parse_language
from panoglot.metrics._results import ResultSet, mean_over
from panoglot.metrics.ranking.retrieval import image_text_retrieval

if TYPE_CHECKING:
    import numpy as np

    from panoglot.providers.roles import Encoder

__all__ = [
    "JSONL",
    "MULTI30K",
    "READERS",
    "XFLICKRCO",
    "XM3600",
    "XTD",
    "XTD10",
    "CaptionSet",
    "image_text_benchmark",
    "read_caption_set",
]

#: Captions by language, then by picture name (or path); the pictures of a language in their order.
CaptionSet = dict[str, dict[str, list[str]]]


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(f"there is no file {path}.")
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return raw.decode("utf-8").removesuffix("\n").split("\n")


def _pair(images: Sequence[str], rows: Sequence[Any], lang: str) -> dict[str, list[str]]:
    if len(images) != len(rows):
        raise UserError(f"'{lang}' has {len(rows)} captions for {len(images)} pictures: a broken copy?")
    found: dict[str, list[str]] = {}
    for image, row in zip(images, rows):
        found.setdefault(image.strip(), []).extend([row.strip()] if isinstance(row, str) else row)
    return found


def _tag(code: str) -> str:
    """The language tag of a set's own code: XTD calls Japanese `jp`."""
    low = code.strip().lower()
    return {"jp": "ja", "cn": "zh", "kr": "ko", "cz": "cs"}.get(low, low)


def _xtd10(path: Path, split: str) -> CaptionSet:
    images = _lines(path / "test_image_names.txt")
    files = sorted(path.glob("test_1kcaptions_*.txt"))
    tags = [file.stem.rpartition("_")[2] for file in files]
    return {_tag(tag): _pair(images, _lines(file), tag) for tag, file in zip(tags, files)}


def _json(path: Path, split: str) -> CaptionSet:
    data = json.loads(path.read_text(encoding="utf-8"))
    return {_tag(lang): _pair(data["images"], rows, lang) for lang, rows in data["captions"].items()}


def _xm3600(path: Path, split: str) -> CaptionSet:
    found: CaptionSet = {}
    for row in read_rows(path):
        for lang, value in row.items():
            if isinstance(value, dict) and value.get("caption"):
                found.setdefault(lang, {})[str(row["image/key"])] = list(value["caption"])
    return found


def _multi30k(path: Path, split: str) -> CaptionSet:
    task, _, part = split.partition("_") if split.startswith("task") else ("task1", "_", split)
    images = [name.partition("#")[0] for name in _lines(path / f"{task}_images_{part}.txt")]
    found: CaptionSet = {}
    for file in sorted(path.glob(f"{task}_raw_{part}.*")):
        lang = file.name.removesuffix(".gz").rpartition(".")[2]
        for name, texts in _pair(images, _lines(file), lang).items():
            found.setdefault(lang, {}).setdefault(name, []).extend(texts)
    return found


def _jsonl(path: Path, split: str) -> CaptionSet:
    found: CaptionSet = {}
    for row in read_rows(path):
        texts = row.get("caption", row.get("captions"))
        listed = [texts] if isinstance(texts, str) else list(texts or ())
        found.setdefault(str(row.get("lang", "und")), {}).setdefault(str(row["image"]), []).extend(listed)
    return found


def read_caption_set(
    benchmark: str, path: str | os.PathLike[str], *, lang: Sequence[str] | None = None, split: str = "test_2016_flickr"
) -> CaptionSet:
    """Read the captions of a benchmark.

    Args:
        benchmark: a key of the table above.
        path: its file or folder.
        lang: languages; None for all.
        split: `multi30k`: the split.

    Raises:
        UserError: missing or broken files, unknown languages.
    """
    check_option("benchmark", benchmark, READERS)
    source = Path(path)
    if not source.exists():
        row = SETS[benchmark]
        raise UserError(f"there is nothing at {source}: '{benchmark}' takes {row.files}. Get it from {row.source}")
    try:
        found = READERS[benchmark](source, split)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise UserError(f"{source} is not in the form of '{benchmark}' ({type(error).__name__}: {error}).") from None
    if not found:
        raise UserError(f"{source} has no captions in the form of '{benchmark}'.")
    if lang:
        lang = [tag if tag in found else _tag(tag) for tag in lang]
        missing = [tag for tag in lang if tag not in found]
        if missing:
            raise UserError(f"'{benchmark}' has no {offenders(missing)}.{did_you_mean(missing[0], found)}")
        found = {tag: found[tag] for tag in lang}
    return found


def image_text_benchmark(
    encoder: Encoder,
    captions: Mapping[str, Mapping[str, Sequence[str]]],
    images: str | os.PathLike[str] | Mapping[str, np.ndarray],
    *,
    metrics: Sequence[str] = ("recall@1", "recall@5", "recall@10"),
    ties: Any = "mean",
    on_error: OnError = "raise",
    confidence: float | None = None,
) -> ResultSet:
    """Retrieval both ways in every language; every picture is encoded once.

    Args:
        encoder: of pictures and texts.
        captions: of `read_caption_set`. A language's gallery is the pictures it has captions for.
        images: folder of the pictures, or their vectors by name.
        metrics: names, see `retrieval`.
        ties: see `retrieval`.
        on_error: empty captions and pictures that cannot be encoded: `raise`, or `null` and counted (xFlickr&CO has two
            empty captions).
        confidence: level of bootstrap intervals.

    Returns:
        `<lang>/text_to_image`, `<lang>/image_to_text`, and their means over languages but English in `summary`.
    """
    import numpy as np

    names = list(dict.fromkeys(name for rows in captions.values() for name in rows))
    if isinstance(images, Mapping):
        missing = [name for name in names if name not in images]
        vectors = None if missing else np.stack([images[name] for name in names])
    else:
        files = {path.name: path for path in picture_files(images)}
        files |= {path.stem: path for path in files.values()}
        paths = [files.get(Path(name).name) for name in names]
        missing = [name for name, path in zip(names, paths) if path is None]
        vectors = None if missing else encode_files(encoder, [path for path in paths if path is not None])
    if vectors is None:
        raise UserError(f"{len(missing)} pictures are missing: {offenders(missing)}.")
    place = {name: n for n, name in enumerate(names)}
    said = {"encoder": getattr(encoder, "name", ""), "encoder_fingerprint": getattr(encoder, "fingerprint", "")}
    found = ResultSet()
    for tag, rows in captions.items():
        own = list(rows)
        texts = [text for name in own for text in rows[name]]
        owners = [n for n, name in enumerate(own) for _ in rows[name]]
        empty = [n for n, text in enumerate(texts) if not text.strip()]
        if empty and on_error == "raise":
            raise UserError(
                f"'{tag}' has {len(empty)} empty captions, of {offenders(own[owners[n]] for n in empty)}; leave them "
                "unscored with on_error='null'."
            )
        encoded = encode_texts(encoder, texts, parse_language(tag) or UNKNOWN_LANGUAGE)
        encoded[empty] = np.nan
        both = image_text_retrieval(
            vectors[[place[name] for name in own]], encoded, owners,
            metrics=metrics, ties=ties, image_ids=own, lang=tag, on_error=on_error, confidence=confidence,
        )  # fmt: skip
        for way in ("text_to_image", "image_to_text"):
            found[f"{tag}/{way}"] = replace(both[way], options={**both[way].options, **said})
    for way in ("text_to_image", "image_to_text"):
        others = {name: one for name, one in found.items() if name.endswith(way) and not name.startswith("en/")}
        found.summary[f"mean but en/{way}"] = mean_over(others)
    return found


def _set(name: str, read: Callable[[Path, str], CaptionSet], about: str, files: str, source: str) -> Benchmark:
    """A benchmark of captions in several languages: its reader is all that is its own."""
    READERS[name] = read

    def run(
        captions: CaptionSet,
        images: str,
        encoder: Encoder,
        *,
        metrics: Sequence[str] = ("recall@1", "recall@5", "recall@10"),
        ties: str = "mean",
        on_error: OnError = "raise",
        confidence: float | None = None,
    ) -> ResultSet:
        """Recall both ways.

        Args:
            ties: rank among equal scores: `mean`, `optimistic`, `pessimistic`.
        """
        return image_text_benchmark(
            encoder, captions, images, metrics=metrics, ties=ties, on_error=on_error, confidence=confidence
        )

    def captions_of(data: str, *, lang: Sequence[str] = ()) -> CaptionSet:
        return read_caption_set(name, data, lang=lang)

    def captions_of_split(data: str, *, lang: Sequence[str] = (), split: str = "test_2016_flickr") -> CaptionSet:
        """The captions.

        Args:
            split: the split.
        """
        return read_caption_set(name, data, lang=lang, split=split)

    chosen = captions_of_split if name == "multi30k" else captions_of
    SETS[name] = Benchmark(name, "retrieval", about, files, source, Way(run, chosen))
    return SETS[name]


READERS: dict[str, Callable[[Path, str], CaptionSet]] = {}
SETS: dict[str, Benchmark] = {}
XTD10 = _set(
    "xtd10", _xtd10, "recall of 1,000 COCO pictures in 11 languages",
    "--data: folder of `test_1kcaptions_<lang>.txt`; --images",
    "github.com/adobe-research/Cross-lingual-Test-Dataset-XTD10",
)  # fmt: skip
XTD = _set(
    "xtd", _json, "the same as one JSON file", "--data: `xtd.json`; --images", "github.com/gregor-ge/Babel-ImageNet"
)
XFLICKRCO = _set(
    "xflickrco", _json, "recall of 2,000 pictures in 8 languages", "--data: `xflickrco.json`; --images",
    "github.com/gregor-ge/Babel-ImageNet",
)  # fmt: skip
XM3600 = _set(
    "xm3600", _xm3600, "recall of 3,600 pictures in 36 languages", "--data: `captions.jsonl`; --images",
    "google.github.io/crossmodal-3600",
)  # fmt: skip
MULTI30K = _set(
    "multi30k", _multi30k, "recall of 1,000 pictures in up to 4 languages",
    "--data: folder of `task1_raw_…` (or `task2_raw_…`, --split task2_test_2016); --images",
    "github.com/multi30k/dataset",
)  # fmt: skip
JSONL = _set(
    "jsonl", _jsonl, "your own, COCO-CN, Flickr30k-CN, Karpathy's splits",
    "--data: rows of `image, caption[, lang]`; --images", "your own",
)  # fmt: skip
