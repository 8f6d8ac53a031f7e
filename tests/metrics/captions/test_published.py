"""Figures that others published, recomputed on real data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from panoglot.evaluate import agreement, capture, cider, hat, rouge_l
from panoglot.metrics.captions.hallucination import average_precision


@pytest.mark.parametrize(
    ("human", "figures"), [(False, (0.274, 0.185, 0.334)), (True, (0.209, 0.111, 0.228))], ids=["machines", "all"]
)
def test_thumb_correlations(test_data: Path, human: bool, figures: tuple[float, float, float]) -> None:
    """CIDEr of each system on its own, as published: Pearson with precision, recall and total of THumB 1.0."""
    folder = test_data / "jungokasai+THumB"
    refs = {
        row["seg_id"]: row["refs"]
        for row in map(json.loads, (folder / "mscoco_mscoco_references.json").open(encoding="utf-8"))
    }
    rows = list(map(json.loads, (folder / "mscoco_mscoco_THumB-1.0.jsonl").open(encoding="utf-8")))
    assert len(rows) == 2500
    for row in rows:
        assert row["human_score"] == (row["P"] + row["R"]) / 2 + row["Fl"] + row["Inc"] + row["Con"]
    scores, marks = [], []
    for system in sorted({row["SYS"] for row in rows}):
        if system == "Human" and not human:
            continue
        mine = [row for row in rows if row["SYS"] == system]
        found = cider([row["hyp"] for row in mine], [refs[row["seg_id"]] for row in mine])
        scores += found.per_item
        marks += [(row["P"], row["R"], row["human_score"]) for row in mine]
    found = [float(np.corrcoef(scores, column)[0, 1]) for column in zip(*marks)]
    assert found == pytest.approx(figures, abs=6e-4)  # published with three digits


def test_references_rank_hallucinated_captions_below_chance_never(test_data: Path) -> None:
    """HAT: a plain metric over the references finds captions with wrong words better than chance."""
    rows = json.loads((test_data / "DavidMChan+aloha/data_hat-trainval.json").read_text("utf-8"))
    scores = rouge_l([row["caption"] for row in rows], [row["references"] for row in rows]).per_item
    labels = [row["contains_hallucination"] for row in rows]
    found = hat(scores, labels, metric="rouge-l")
    assert found.value > found.parts["chance"] + 0.03
    assert found.value == pytest.approx(average_precision([-score for score in scores], labels))


@pytest.mark.paper(
    "capture",
    shows="R",
    case="2,000 captions of four captioners (THumB), rule parser, hard stages: agrees with people beyond chance",
)
def test_capture_agrees_with_people_on_captions_of_real_captioners(test_data: Path) -> None:
    folder = test_data / "jungokasai+THumB"
    references = {
        row["seg_id"]: row["refs"]
        for row in map(json.loads, (folder / "mscoco_mscoco_references.json").open(encoding="utf-8"))
    }
    rows = [
        row
        for row in map(json.loads, (folder / "mscoco_mscoco_THumB-1.0.jsonl").open(encoding="utf-8"))
        if row["SYS"] != "Human"
    ]
    found = capture([row["hyp"] for row in rows], [references[row["seg_id"]] for row in rows], synonyms="none")
    assert (len(rows), found.unscored) == (2000, 0)
    for mark, least in (("human_score", 0.2), ("P", 0.15), ("R", 0.05)):
        people = [row[mark] for row in rows]
        agreed = agreement(found.per_item, people, statistic="pearson", confidence=0.95, resamples=200)
        assert agreed.interval.low > least, mark
