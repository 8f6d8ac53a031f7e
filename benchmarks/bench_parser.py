"""Precision, recall and F of caption parsers on gold scene graphs (FACTUAL, 3,561 captions; MIT).

    python benchmarks/bench_parser.py [--data ../shared/data]

The rule parser was tuned on `random_dev` only. Nouns are lemmatised on both sides; relations and attributes must be
equal to the letter. The data also hold what SPICE's parser answered for the captions of `random_test`: the figure
beside, and how near the rules in the style of SPICE come to it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from pathlib import Path

from panoglot.providers.parsers import RuleParser, read_factual
from panoglot.providers.roles import SceneGraph

KINDS = ("objects", "attributes", "relations")


def counts(gold: SceneGraph, found: SceneGraph) -> list[tuple[int, int, int]]:
    """(equal, found, gold) of each kind."""
    rows = []
    for kind in KINDS:
        one, other = set(getattr(gold, kind)), set(getattr(found, kind))
        rows.append((len(one & other), len(other), len(one)))
    return rows


def figures(pairs: list[tuple[SceneGraph, SceneGraph]]) -> dict[str, tuple[float, float, float]]:
    """P, R, F of each kind, over all captions together."""
    total = [[0, 0, 0] for _ in KINDS]
    for gold, found in pairs:
        for row, add in zip(total, counts(gold, found)):
            for n in range(3):
                row[n] += add[n]
    result = {}
    for kind, (equal, found_, gold_) in zip(KINDS, total):
        precision, recall = equal / max(found_, 1), equal / max(gold_, 1)
        result[kind] = (precision, recall, 2 * equal / max(found_ + gold_, 1))
    return result


def main() -> None:
    """Print a table and one JSON line."""
    options = argparse.ArgumentParser()
    options.add_argument("--data", type=Path, default=Path(os.environ.get("PANOGLOT_TEST_DATA", "../shared/data")))
    folder = options.parse_args().data / "zhuang-li+FactualSceneGraph"
    spice = dict(
        line.rstrip("\n").split("\t", 1)
        for line in (folder / "SPICE_parsing_outputs.txt").open(encoding="utf-8")
        if "\t" in line
    )
    spice = {caption.strip(): graph for caption, graph in spice.items()}
    summary: dict[str, object] = {"benchmark": "caption_parser"}
    for name in ("random_dev", "random_test", "length_test"):
        rows = list(csv.DictReader((folder / f"factual_sg_{name}.csv").open(encoding="utf-8")))
        gold = [read_factual(row["scene_graph"], lemmatise=True)[0] for row in rows]
        start = time.process_time()
        parsed = RuleParser().parse([row["caption"] for row in rows])
        cost = (time.process_time() - start) / len(rows)
        systems = {"rules": list(zip(gold, parsed))}
        if name == "random_test":
            systems["spice's parser"] = [
                (one, read_factual(spice[row["caption"].strip()], lemmatise=True)[0])
                for one, row in zip(gold, rows)
                if row["caption"].strip() in spice
            ]
        for system, pairs in systems.items():
            found = figures(pairs)  # type: ignore[arg-type]
            print(
                f"\n{name}, {system}: {len(pairs)} captions"
                + (f", {cost * 1e6:.0f} us each" if system == "rules" else "")
            )
            for kind, (precision, recall, f) in found.items():
                print(f"  {kind:10}  P {precision:.3f}  R {recall:.3f}  F {f:.3f}")
            summary[f"{name}/{system}"] = {kind: round(row[2], 4) for kind, row in found.items()}
    captions = sorted(spice)
    theirs = [read_factual(spice[caption])[0] for caption in captions]
    for style in ("factual", "spice"):
        found = figures(list(zip(theirs, RuleParser(style).parse(captions))))  # type: ignore[arg-type]
        print(f"\nnearness to SPICE's parser, style {style}: {len(captions)} captions")
        for kind, (precision, recall, f) in found.items():
            print(f"  {kind:10}  P {precision:.3f}  R {recall:.3f}  F {f:.3f}")
        summary[f"nearness/{style}"] = {kind: round(row[2], 4) for kind, row in found.items()}
    print()
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
