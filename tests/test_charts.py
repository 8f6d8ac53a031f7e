"""Charts: places that were worked out by hand, texts that stay whole, files."""

import re
import xml.etree.ElementTree as ET
from importlib.util import find_spec

import pytest

from panoglot.charts import CHANCE, Canvas, Point, Row, Scale, inline, line_panel, percent_rect, rows_chart, save
from panoglot.errors import MissingPackage, UserError

NAMES = {"svg": "http://www.w3.org/2000/svg"}


def texts(svg):
    return [node.text for node in ET.fromstring(svg).findall(".//svg:text", NAMES)]


def paths(svg, colour):
    return re.findall(rf'<path d="([^"]+)" stroke="{colour}"', svg)


def test_a_scale_keeps_its_ends():
    scale = Scale(0, 2, 100, 50)
    assert [scale.at(v) for v in (0, 1, 2, 5, -1)] == [100, 125, 150, 150, 100]
    assert Scale(0, 1, 200, -100).at(0.25) == 175  # upwards
    assert Scale(3, 3, 10, 10).at(3) == 10  # no span


def test_rows_have_names_of_all_scripts_values_intervals_and_chance():
    page = Canvas()
    rows = [
        Row("العربية", [Point(0.5, 0.4, 0.6)], chance=0.1, note="0.5"),
        Row("हिन्दी", [Point(0.25, 0.2, 0.3)], chance=0.1),
        Row("<中文>", [Point(None)], chance=0.1),
    ]
    end = rows_chart(page, 0, "R@1", rows, span=(0, 1), label=100, width=200, x=0)
    svg = page.svg("recall")
    assert ET.fromstring(svg).find("svg:title", NAMES).text == "recall"
    assert {"العربية", "हिन्दी", "<中文>", "R@1", "chance", "null", "0.5"} <= set(texts(svg))
    marks = [float(x) for x in re.findall(r"translate\(([\d.]+) ", svg)]
    assert marks == [210.0, 160.0]  # names take 110, the scale 200 for 0 to 1
    dashes = [p for p in paths(svg, CHANCE) if "130.0," in p]
    assert len(dashes) == 1  # one line of chance through all rows, at 110 + 0.1 * 200
    assert end > 3 * 18


def test_chance_that_differs_is_drawn_in_each_row():
    page = Canvas()
    rows = [
        Row(name, [Point(0.5), Point(0.6)], chance=chance) for name, chance in (("a", [0.1, 0.2]), ("b", [0.1, 0.3]))
    ]
    rows_chart(page, 0, "R", rows, series=("R@1", "R@5"), span=(0, 1))
    svg = page.svg("R")
    assert len(paths(svg, CHANCE)) == 4 + 1  # and the legend's
    assert {"R@1", "R@5"} <= set(texts(svg))


def test_lines_begin_at_the_first_step_and_an_empty_panel_says_so():
    page = Canvas()
    line_panel(page, 0, 0, (110, 100), "loss", {"a": [(10, 4.0), (20, 2.0)], "b": [(10, 1.0)]}, zero=True)
    line_panel(page, 0, 200, (110, 100), "scale", {})
    svg = page.svg("run")
    first, _ = re.findall(r'<polyline points="([^"]+)"', svg)
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in first.split())
    assert x1 == 110
    assert (y0, y1) == (24, 74)  # 0 to 4 over 100 pixels below the title
    assert x0 < 30
    assert "nothing was logged" in texts(svg)


def test_what_steers_text_is_left_out():
    page = Canvas()
    page.text(0, 10, "a\u202eb\x1b\x00c می\u200cخواهم")
    assert texts(page.svg("x")) == ["abc می\u200cخواهم"]


def test_small_charts_in_a_page():
    assert percent_rect("kept", 1, 2) == '<rect class="kept" x="1.00%" y="0.00%" width="2.00%" height="100.00%"/>'
    chart = inline("bar", '"<b>', 8, [percent_rect("kept", 0, 5, title="<i>")])
    assert 'aria-label="&quot;&lt;b&gt;"' in chart
    assert "<title>&lt;i&gt;</title></rect>" in chart


def test_files(tmp_path):
    page = Canvas()
    page.text(10, 20, "שלום")
    svg = page.svg("x")
    save(svg, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == svg
    save(svg, tmp_path / "a.PNG")
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match=r"an \.svg, \.png or \.pdf, not 'a\.gif'"):
        save(svg, tmp_path / "a.gif")
    with pytest.raises(UserError, match="cannot be written"):
        save(svg, tmp_path / "none" / "a.svg")


def test_pdf_with_text_as_text(tmp_path, monkeypatch):
    page = Canvas()
    page.text(10, 20, "Recall in Deutsch")
    if find_spec("typst") is None:
        with pytest.raises(MissingPackage, match=r"pip install 'panoglot\[plots\]'"):
            save(page.svg("x"), tmp_path / "a.pdf")
        return
    save(page.svg("x"), tmp_path / "a.pdf")
    data = (tmp_path / "a.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert b"/Font" in data
    assert b"/Subtype/Image" not in data.replace(b" ", b"")
