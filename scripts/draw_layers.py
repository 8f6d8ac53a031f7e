"""Draw the picture of the layers in docs/architecture.md from the table that the test of the house enforces.

python scripts/draw_layers.py            writes docs/images/layers.svg
python scripts/draw_layers.py --check    writes nothing; exit code 1 when the picture is stale
"""

from __future__ import annotations

import ast
import sys
from html import escape
from pathlib import Path

from panoglot.charts import FONT, GRID, INK, SERIES, SOFT

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "layers.svg"
WIDTH, ROW, GAP, LEFT, TEXT = 760, 34, 8, 150, 13
#: What a line is for, upper lines first.
WORDS = (
    "commands",
    "pages in a browser",
    "orders over verbs",
    "what a user looks at",
    "verbs",
    "figures, the runner",
    "what is trained",
    "one way to ask",
    "models",
    "files in and out",
    "kernels",
    "the dataset",
    "ground",
    "below all",
)


def layers() -> list[list[str]]:
    """The rooms of each line, upper lines first, as the test of the house has them; those that have a file yet."""
    tree = ast.parse((ROOT / "tests" / "test_house.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS":
            return [sorted(rooms) for rooms in ast.literal_eval(node.value)]
    raise SystemExit("tests/test_house.py has no LAYERS")


def draw() -> str:
    """The picture as SVG."""
    rows = layers()
    if len(rows) != len(WORDS):
        raise SystemExit(f"{len(rows)} lines, and words for {len(WORDS)}: say in WORDS what each is for")
    height = GAP + len(rows) * (ROW + GAP)
    said = "; ".join(", ".join(rooms) for rooms in rows)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" '
        f'font-family="{escape(FONT)}" font-size="{TEXT}">',
        f"<title>The layers, from above: {escape(said)}. Imports go down only.</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, (rooms, words) in enumerate(zip(rows, WORDS, strict=True)):
        y = GAP + number * (ROW + GAP)
        wide = (WIDTH - LEFT - GAP * len(rooms)) / len(rooms)
        base = y + ROW / 2 + TEXT / 3
        out.append(f'<text x="{GAP}" y="{base:.1f}" fill="{SOFT}">{escape(words)}</text>')
        for place, room in enumerate(rooms):
            x = LEFT + place * (wide + GAP)
            out.append(
                f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{ROW}" rx="4" fill="#f2f6f6" '
                f'stroke="{SERIES[0] if number < 6 else GRID}"/>'
            )
            out.append(
                f'<text x="{x + wide / 2:.1f}" y="{base:.1f}" fill="{INK}" text-anchor="middle">{escape(room)}</text>'
            )
    return "\n".join([*out, "</svg>"]) + "\n"


def main() -> int:
    """Write or check."""
    text = draw()
    if "--check" in sys.argv:
        stale = not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != text
        print("stale: docs/images/layers.svg" if stale else "fresh")
        return int(stale)
    PICTURE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
