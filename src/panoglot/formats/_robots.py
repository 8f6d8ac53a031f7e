"""What a site says about being read by machines: robots.txt, X-Robots-Tag, and the TDM reservation."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from panoglot.errors import RowError

__all__ = ["AGENT", "Robots", "check_headers"]

#: The name that robots.txt and X-Robots-Tag are read for.
AGENT = "Panoglot"
#: Directives of X-Robots-Tag after which a picture is not taken.
_REFUSED = frozenset(("noai", "noimageai", "noindex", "noimageindex", "none"))
_LONGEST_DELAY = 60.0
_MOST_SITES = 10_000


def check_headers(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse what a response asks not to be used.

    A directive after the name of another agent is for that one alone.

    Raises:
        RowError: `robots_tag`, `tdm_reserved`.

    >>> check_headers([(b"X-Robots-Tag", b"googlebot: noindex"), (b"X-Robots-Tag", b"nofollow")])
    >>> check_headers([(b"x-robots-tag", b"nofollow, NoAI")])
    Traceback (most recent call last):
    panoglot.errors.RowError: robots_tag: the site asks in X-Robots-Tag: noai
    """
    for name, value in headers:
        if name.lower() == b"tdm-reservation" and value.strip() == b"1":
            raise RowError("tdm_reserved", "the site reserves text and data mining")
        if name.lower() != b"x-robots-tag":
            continue
        said = value.decode("latin-1").lower()
        agent = re.match(r"\s*([a-z0-9*_-]+)\s*:(?!//)", said)
        if agent and agent[1] not in ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"):
            if agent[1] not in ("*", AGENT.lower()):
                continue
            said = said[agent.end() :]
        found = _REFUSED & {word.strip() for word in said.split(",")}
        if found:
            raise RowError("robots_tag", f"the site asks in X-Robots-Tag: {', '.join(sorted(found))}")


class Robots:
    """The robots.txt of sites, each read once (RFC 9309: where it cannot be reached, nothing may be taken)."""

    def __init__(self, get: Callable[[str], Awaitable[tuple[int, bytes]]]) -> None:
        self._get = get
        self._sites: dict[str, asyncio.Task[Any]] = {}
        self._next: dict[str, float] = {}

    async def check(self, site: str, url: str) -> None:
        """Wait until a page may be asked for, or refuse it.

        Args:
            site: scheme, host and port.
            url: the page.

        Raises:
            RowError: `robots_disallowed`, `robots_unreachable`.
        """
        task = self._sites.get(site)
        if task is None:
            if len(self._sites) >= _MOST_SITES:
                self._sites.pop(next(iter(self._sites)))
            task = self._sites[site] = asyncio.ensure_future(self._load(site))
        rules = await asyncio.shield(task)
        if isinstance(rules, RowError):
            raise RowError(rules.reason, rules.message)
        if rules is None:
            return
        if not rules.can_fetch(url, AGENT):
            raise RowError("robots_disallowed", f"{site}/robots.txt")
        delay = min(float(rules.crawl_delay(AGENT) or 0.0), _LONGEST_DELAY)
        if delay > 0:
            now = asyncio.get_running_loop().time()
            turn = max(now, self._next.get(site, now))
            self._next[site] = turn + delay
            await asyncio.sleep(turn - now)

    async def _load(self, site: str) -> Any:
        from protego import Protego

        try:
            status, body = await self._get(f"{site}/robots.txt")
        except RowError as error:
            if error.reason in ("private_address", "unknown_host", "unsupported_address"):
                return error
            return RowError("robots_unreachable", f"{site}/robots.txt: {error.message or error.reason}")
        if status >= 500 or status == 429:
            return RowError("robots_unreachable", f"{site}/robots.txt answers {status}")
        if status != 200:
            return None
        try:
            return Protego.parse(body.decode("utf-8", "replace"))
        except Exception as error:  # what no parser makes sense of forbids nothing
            del error
            return None
