"""A real browser for the tests: headless Chromium, a fresh profile each time, no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

_FLAGS = (
    *"--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split(),
    *"--disable-component-update --disable-sync --hide-scrollbars --virtual-time-budget=5000".split(),
    "--enable-logging=stderr",
    # no name resolves: a test that passes here needs no network
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


@dataclass(frozen=True)
class Seen:
    """What a browser made of a page: the document after its scripts ran, and the console."""

    dom: str
    console: list[str]


@dataclass(frozen=True)
class Browser:
    """Headless Chromium."""

    program: str

    def _run(self, page: Path, *more: str) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            done = subprocess.run(
                [self.program, *_FLAGS, f"--user-data-dir={profile}", *more, page.resolve().as_uri()],
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=180,
                check=False,
            )
        assert done.returncode == 0, done.stderr[-2000:]
        return done

    def look(self, page: Path) -> Seen:
        """Load a page and return its document and console lines."""
        done = self._run(page, "--dump-dom")
        return Seen(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line])

    def screenshot(self, page: Path, to: Path, width: int, height: int, *, dark: bool = False) -> Path:
        """Keep a picture of a page."""
        to.parent.mkdir(parents=True, exist_ok=True)
        scheme = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
        self._run(page, f"--window-size={width},{height}", f"--screenshot={to.resolve()}", *scheme)
        return to


def find_browser() -> Browser:
    """Return the browser, or skip the test with the reason."""
    names = [os.environ.get("PANOGLOT_TEST_BROWSER", ""), "chromium", "chromium-browser", "google-chrome"]
    program = next((found for name in names if name and (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium (apt-get install chromium, or set PANOGLOT_TEST_BROWSER)")
    return Browser(program)
