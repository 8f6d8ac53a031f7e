"""Captioning methods against a known truth: how true they are, how much they tell, what they ask.

    PYTHONPATH=. python benchmarks/bench_caption_methods.py [--scenes 80] [--plot docs/images/caption-methods.svg]

Scenes are drawn (`tests/captioning/scenes.py`), so every fact of them is known; captioner, detector, matching model
and language model are scripted and err at the stated rates. Truth is the share of a caption's claims that hold,
coverage the share of the scene's facts that it tells; intervals are 95 %. It says what a method makes of such models,
not how good any real model is. The price is of 1,000 pictures at 1 dollar per 1,000 questions with a picture, 0.2
without.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from panoglot.charts import Canvas, Point, Row, rows_chart, save
from tests.captioning.scenes import RATES, RUNS, interval, measure

#: Dollars of a question.
WITH_PICTURE, WITHOUT = 0.001, 0.0002


def price(asked):
    """Dollars for 1,000 pictures; detectors and matching models run at home."""
    sees = sum(count for name, count in asked.items() if name in ("captioner", "second", "third"))
    return 1000 * (sees * WITH_PICTURE + asked["llm"] * WITHOUT)


def table(scenes):
    """Lines of the table, and rows of the plot."""
    lines = [
        "| method | truth | coverage | questions with a picture | without | $ per 1,000 |",
        "|---|---|---|---|---|---|",
    ]
    rows = []
    for name in RUNS:
        _, scores, asked = measure(name, scenes)
        both = [interval(scores[:, n]) for n in (0, 1)]
        shown = [f"{mean:.2f} ({low:.2f}–{high:.2f})" for mean, low, high in both]
        sees = sum(count for one, count in asked.items() if one in ("captioner", "second", "third"))
        cost = price(asked)
        lines.append(f"| `{name}` | {shown[0]} | {shown[1]} | {sees:.1f} | {asked['llm']:.1f} | {cost:.2f} |")
        rows.append(Row(name, [Point(*values) for values in both], note=f"$ {cost:.2f} per 1,000"))
    return lines, rows


def main():
    """Print the table; draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=80)
    parser.add_argument("--plot", default="")
    given = parser.parse_args()
    lines, rows = table(given.scenes)
    print("\n".join(lines))
    print("\nErrors: " + "; ".join(f"{what}: {rate:g}" for what, rate in RATES.items()))
    if given.plot:
        page = Canvas()
        rows_chart(
            page, 12, "Truth and coverage", rows, series=("truth", "coverage"), span=(0, 1), about="scripted models"
        )
        save(page.svg("Captioning methods against a known truth"), given.plot)
        print(f"\n{given.plot}")


if __name__ == "__main__":
    main()
