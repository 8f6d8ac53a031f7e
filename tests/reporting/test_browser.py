"""The page in a real browser: nothing from the data runs, the filter works, and it can be looked at."""

from __future__ import annotations

import html
import json
import os
import re
from pathlib import Path

import pytest

from tests.reporting.library import HOSTILE

pytestmark = pytest.mark.browser

ARTIFACTS = Path(os.environ.get("PANOGLOT_TEST_ARTIFACTS", Path(__file__).parents[2] / "artifacts"))


def without_policy(page: str, script: str = "") -> str:
    """The page as it would be if its content policy did not exist, with a script of the test's own at the end."""
    page, found = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert found == 1
    return page.replace("</body>", f"<script>{script}</script></body>")


def test_hostile_texts_do_not_run_even_without_the_policy(browser, hostile_page, tmp_path):
    copy = tmp_path / "open.html"
    copy.write_text(without_policy(hostile_page.read_text()))
    seen = browser.look(copy)
    assert "data-pwned" not in seen.dom[:2000]
    assert seen.console == []
    # the same texts, unescaped, do run in this browser: the check above can fail
    canary = tmp_path / "canary.html"
    canary.write_text("<!doctype html><meta charset=utf-8><body>" + HOSTILE["image"] + HOSTILE["script"])
    assert 'data-pwned="1"' in browser.look(canary).dom


def test_policy_stops_what_would_slip_through(browser, hostile_page, tmp_path):
    page = hostile_page.read_text()
    clean = browser.look(hostile_page)
    assert clean.console == []  # our own style and script are let in
    assert re.search(r'<form id="filter"[^>]*hidden', clean.dom) is None  # the script ran
    broken = tmp_path / "broken.html"
    broken.write_text(page.replace("<footer>", "<footer>" + HOSTILE["script"] + HOSTILE["image"]))
    seen = browser.look(broken)
    assert "data-pwned" not in seen.dom[:2000]
    assert sum("Content Security Policy" in line for line in seen.console) >= 2


def test_overrides_do_not_leave_their_text(browser, hostile_page, tmp_path):
    script = """
      const t = [...document.querySelectorAll('.card .t')].filter((p) => p.textContent.includes('gnp.exe'));
      const own = t.every((p) => getComputedStyle(p).unicodeBidi === 'isolate' && p.querySelector('.unseen'));
      const inside = [...document.querySelectorAll('.card *, .specimen *, .reason *')].every((e) => {
        const box = e.getBoundingClientRect(), frame = e.closest('.card, .specimen, .reason').getBoundingClientRect();
        return box.width === 0 || e.closest('svg') || (box.right <= frame.right + 1 && box.left >= frame.left - 1);
      });
      const fits = inside && document.documentElement.scrollWidth <= innerWidth;
      document.body.dataset.result = t.length + ' ' + own + ' ' + fits;
    """
    copy = tmp_path / "bidi.html"
    copy.write_text(without_policy(hostile_page.read_text(), script))
    (count, isolated, fits) = re.search(r'data-result="(\d+) (\w+) (\w+)"', browser.look(copy).dom).groups()
    assert int(count) >= 2
    assert (isolated, fits) == ("true", "true")  # very long words break instead of widening the page


def test_filter_by_language_kind_and_search(browser, stamp_page, tmp_path):
    script = """
      const set = (id, value) => { document.getElementById(id).value = value; };
      const go = () => { document.getElementById('filter').dispatchEvent(new Event('input')); };
      const seen = () => [...document.querySelectorAll('.card:not([hidden])')];
      const texts = () => [...document.querySelectorAll('.card:not([hidden]) .x:not([hidden])')];
      const wait = () => new Promise((done) => setTimeout(done, 300));
      (async () => {
        const out = { all: seen().length };
        set('f-lang', 'th'); go(); await wait();
        out.thai = seen().length; out.thaiOnly = texts().every((x) => x.dataset.lang === 'th');
        out.shown = texts().every((x) => x.checkVisibility());
        set('f-lang', ''); set('f-kind', 'region'); go(); await wait();
        out.region = seen().length; out.regionOnly = texts().every((x) => x.dataset.kind === 'region');
        set('f-kind', ''); set('f-text', 'ŒUVRE-that-is-nowhere'); go(); await wait();
        out.none = seen().length; out.said = !document.getElementById('f-none').hidden;
        document.getElementById('f-clear').click(); await wait();
        out.cleared = seen().length;
        document.body.dataset.result = JSON.stringify(out);
      })();
    """
    copy = tmp_path / "filter.html"
    copy.write_text(without_policy(stamp_page.read_text(), script))
    out = json.loads(html.unescape(re.search(r'<body data-result="([^"]*)"', browser.look(copy).dom)[1]))
    assert out["all"] == out["cleared"] == 60
    assert 0 < out["thai"] < 60
    assert 0 < out["region"] < 60
    assert out["none"] == 0
    assert all(out[name] for name in ("thaiOnly", "regionOnly", "shown", "said"))


@pytest.mark.parametrize(
    ("name", "width", "height", "dark"),
    [("report", 1360, 1900, False), ("report-dark", 1360, 1900, True), ("report-phone", 500, 1800, False)],
)
def test_it_can_be_looked_at(browser, stamp_page, name, width, height, dark):
    import numpy as np
    import PIL.Image

    path = browser.screenshot(stamp_page, ARTIFACTS / f"{name}.png", width, height, dark=dark)
    pixels = np.asarray(PIL.Image.open(path).convert("RGB"))
    assert pixels.shape == (height, width, 3)
    edge = pixels[:, :4].reshape(-1, 3)
    assert (edge.max() < 60) if dark else (edge.min() > 200)  # the style sheet was let in, in the right scheme
    colours = len(np.unique(pixels.reshape(-1, 3)[::7], axis=0))
    assert colours > 2000  # pictures are painted, not just boxes
