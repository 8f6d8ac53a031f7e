"""DeCapBench: DCScore on the 400 pictures of ImageInWords' IIW-400 (arXiv 2503.07906).

File `eval_human_annotated_oracle_facts.jsonl` (github.com/MAGAer13/DeCapBench): rows of `image_name, oracle_caption,
oracle_facts`; the pictures (`aar_test_….jpg`) are DOCCI's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from panoglot.asking import open_picture
from panoglot.checks import offenders, same_ids
from panoglot.errors import UserError
from panoglot.evaluate._declare import Benchmark, Protocol, Way
from panoglot.evaluate._read import pictures_of, read_predictions
from panoglot.formats._json import read_rows
from panoglot.metrics._result import MetricResult
from panoglot.metrics._results import ResultSet

if TYPE_CHECKING:
    from panoglot.providers.roles import Generator

__all__ = ["DECAPBENCH", "decapbench", "read_decapbench"]


def read_decapbench(path: str | os.PathLike[str]) -> dict[str, tuple[str, list[str]]]:
    """Read the reference caption and its facts of every picture, by name without ending.

    Raises:
        UserError: rows without them.
    """
    found, odd = {}, []
    for row in read_rows(path):
        name, caption, facts = row.get("image_name"), row.get("oracle_caption"), row.get("oracle_facts")
        if not name or not isinstance(caption, str) or not isinstance(facts, list) or not facts:
            odd.append(str(name))
            continue
        found[str(name).rpartition(".")[0] or str(name)] = (caption, [str(fact) for fact in facts])
    if odd or not found:
        raise UserError(f"{path}: {len(odd)} rows lack image_name, oracle_caption or oracle_facts: {offenders(odd)}.")
    return found


def decapbench(
    preds: Mapping[str, str | None],
    truth: Mapping[str, tuple[str, Sequence[str]]],
    images: str | os.PathLike[str],
    judge: Generator,
    **options: Any,
) -> MetricResult:
    """DCScore of a captioner.

    Args:
        preds: caption by picture name, with or without ending.
        truth: from `read_decapbench`.
        images: folder of the pictures.
        judge: a `Generator` that sees pictures: splits, matches and verifies.
        **options: of `dcscore`.

    Raises:
        UserError: pictures without a caption or a file.
    """
    from panoglot.metrics.captions.dcscore import dcscore

    named = {name.rpartition(".")[0] if name.endswith((".jpg", ".png")) else name: text for name, text in preds.items()}
    keys = same_ids(named, truth, "reference facts")
    pictures = [open_picture(path) for path in pictures_of(keys, images)]
    return dcscore(
        [named[key] for key in keys], [truth[key][0] for key in keys], [truth[key][1] for key in keys], pictures, judge,
        ids=keys, **options,
    )  # fmt: skip


def _read(preds: str, data: str, *, model: str | None = None) -> tuple[Any, Any]:
    """Captions, and the facts.

    Args:
        model: whose captions to take from a file or dataset of several models.
    """
    return read_predictions(preds, model=model), read_decapbench(data)


def _run(
    given: Any,
    images: str,
    judge: Any,
    *,
    lang: str = "en",
    samples: int = 3,
    attempts: int = 5,
    duplicates: str = "all",
    seed: int = 0,
    on_error: str = "raise",
    confidence: float | None = None,
) -> ResultSet:
    """Split, match, verify.

    Args:
        samples: matchings and verifications a caption; all combinations are averaged.
        attempts: how often a caption is tried with other seeds before it stays null.
        duplicates: whose number divides the credit of a reference fact: `all` matched facts, or the `verified` ones.
        seed: of the samples.
    """
    captions, truth = given
    found = decapbench(
        captions, truth, images, judge, lang=lang, samples=samples, attempts=attempts, duplicates=duplicates, seed=seed,
        on_error=on_error, confidence=confidence,
    )  # fmt: skip
    return ResultSet({"dcscore": found})


#: As its code runs: three matchings, three verifications, five tries of a picture, one judge for all.
PAPER = Protocol(
    options={"lang": "en", "samples": 3, "attempts": 5, "duplicates": "all"},
    models={"judge": "openai:gpt-4o-2024-05-13"},
    unverified=(
        "the words of the three prompts, and the five captions that show how to split: ours say the same otherwise",
        "scores of models (GPT-4o about 55) and the agreement with people (Pearson about .66): remembered, not read",
        "the picture's `detail` is the server's own choice, the paper's is `high`",
    ),
)

DECAPBENCH = Benchmark(
    "decapbench", "captions", "DCScore: facts of a caption matched and verified by --judge (400 pictures)",
    "--data: `eval_human_annotated_oracle_facts.jsonl`; --images: ImageInWords' IIW-400",
    "github.com/MAGAer13/DeCapBench", Way(_run, _read), {"paper": PAPER},
)  # fmt: skip
