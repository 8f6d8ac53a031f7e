"""The page in a browser: what a search shows, and that the browser has nothing to complain about."""

import subprocess
from urllib.parse import quote

import pytest

from panoglot.retrieval import Searcher
from panoglot.web import Server
from tests.browser import _FLAGS, find_browser
from tests.retrieval.test_hybrid import scenes  # noqa: F401

TOKEN = "a-token-of-twenty-letters"


@pytest.mark.browser
def test_the_page_searches_and_the_browser_is_content(scenes, tmp_path):  # noqa: F811
    browser = find_browser()
    scenes.caption(scenes.ids[0], "<img src=x onerror=alert(1)> Ein roter Kater.", "de", "human")
    with Server(Searcher(scenes.data, scenes.encoder, files=False), port=0, token=TOKEN) as server:
        address = server.url.replace("#", f"?q={quote('roter Kater')}#")
        done = subprocess.run(
            [browser.program, *_FLAGS, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
             f"--user-data-dir={tmp_path}", "--dump-dom", address],
            capture_output=True, text=True, timeout=180, check=True,
        )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    assert "Ein roter Kater." in done.stdout
    assert "&lt;img src=x onerror" in done.stdout
    assert f"/api/v1/thumb/{scenes.ids[0]}/240.webp" in done.stdout
    assert "Read as (identity)" in done.stdout
    assert TOKEN not in done.stdout
