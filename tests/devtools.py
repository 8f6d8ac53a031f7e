"""A browser that a test drives: Chromium over the pipe of its DevTools protocol, so no further package is needed."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.browser import find_browser

_FLAGS = (
    *"--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split(),
    *"--disable-component-update --disable-sync --disable-extensions --remote-debugging-pipe --lang=en-GB".split(),
    # no name resolves, so nothing can be asked but this machine
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
#: The browser reads commands at 3 and writes answers at 4.
_AT_3_AND_4 = "import os, sys; [os.dup2(int(sys.argv[n]), n + 2) for n in (1, 2)]; os.execv(sys.argv[3], sys.argv[3:])"


class Tab:
    """A page of a running browser.

    Attributes:
        said: errors and warnings of the console, exceptions, and refusals of the content policy.
        asked: addresses that were requested.
    """

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._left, self._number = to, back, b"", 0
        self._session: str | None = None
        self.said: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 90
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._heard(answer)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._back], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._back, 1 << 20)
            assert piece, "the browser is gone"
            self._left += piece
        one, _, self._left = self._left.partition(b"\0")
        return json.loads(one)

    def _heard(self, event: dict[str, Any]) -> None:
        params, method = event.get("params", {}), event.get("method")
        if method == "Runtime.exceptionThrown":
            detail = params["exceptionDetails"]
            self.said.append(detail.get("exception", {}).get("description") or detail["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.said.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.said.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])

    def js(self, expression: str) -> Any:
        """Evaluate an expression, and what it promises; returns plain values."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, (expression, found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = 12) -> Any:
        """Wait until an expression is true, and return its value."""
        until = time.monotonic() + seconds
        asked = f"(found => found instanceof Node || found)({expression})"  # an element has no plain value
        while not (found := self.js(asked)):
            shown = self.js("document.body.innerText.slice(0, 1500)") if time.monotonic() > until else ""
            assert time.monotonic() < until, f"{expression} never came; {self.said}; the page says: {shown}"
            time.sleep(0.05)
        return found

    def go(self, url: str, ready: str) -> None:
        """Load an address anew and wait until an expression is true."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.wait(f"location.href !== 'about:blank' && document.readyState === 'complete' && !!({ready})")

    def look_as(self, width: int, height: int, *, dark: bool = False, scale: float = 1) -> None:
        """Take a size and a theme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[theme])

    def press(self, key: str, *, ctrl: bool = False, shift: bool = False) -> None:
        """Press a key, as a keyboard does."""
        text = key if len(key) == 1 and not ctrl else "\r" if key == "Enter" else ""
        name = f"Key{key.upper()}" if key.isalpha() and len(key) == 1 else key
        numbers = {
            "Enter": 13,
            "Tab": 9,
            "Escape": 27,
            "Delete": 46,
            "Home": 36,
            "End": 35,
            "PageUp": 33,
            "PageDown": 34,
        }
        numbers |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        same: dict[str, Any] = {
            "key": key, "code": name, "modifiers": 2 * ctrl + 8 * shift,
            "windowsVirtualKeyCode": numbers.get(key, ord(key[0].upper())),
        }  # fmt: skip
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **same)
        self.call("Input.dispatchKeyEvent", type="keyUp", **same)

    def write(self, text: str) -> None:
        """Write a text where the focus is."""
        self.call("Input.insertText", text=text)

    def screenshot(self, to: Path) -> Path:
        """Keep a picture of what is in view."""
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return to


@contextlib.contextmanager
def open_tab() -> Iterator[Tab]:
    """Start a browser with a fresh profile, or skip the test without one."""
    browser = find_browser()
    (read_ours, write_theirs), (read_theirs, write_ours) = os.pipe(), os.pipe()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 60) for fd in (read_theirs, write_theirs)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [sys.executable, "-c", _AT_3_AND_4, *map(str, high), browser.program, *_FLAGS,
             f"--user-data-dir={profile}", "about:blank"],
            pass_fds=high, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for fd in (read_theirs, write_theirs, *high):
            os.close(fd)
        try:
            yield Tab(write_ours, read_ours)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(write_ours)
            os.close(read_ours)
