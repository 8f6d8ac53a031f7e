"""Who does not want their pictures used: kept to before a download, when sources are read, and on export."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from panoglot.errors import RowError, UserError
from panoglot.formats._files import reject
from panoglot.formats._sample import Sample, Unused
from panoglot.table import Reject, Triple

__all__ = ["OptOut"]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/@]*@)?(?:www\.)?", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")


class OptOut:
    """A list of hosts (their subdomains too), beginnings of addresses and paths, ids and SHA-256 of pictures.

    Addresses are compared without `http://`, `https://` and `www.`.

    Args:
        lines: one each; `#` begins a remark.

    >>> listed = OptOut(["example.org  # all of it", "https://www.x.net/eve/", "/data/bob/"])
    >>> listed.met(["http://cdn.Example.org/1.jpg"]), listed.met(["x.net/eve/2"]), listed.met(["/data/bob/3"])
    ('example.org', 'x.net/eve/', '/data/bob/')
    >>> listed.met(["https://notexample.org/", "https://x.net/evelyn.jpg", "/data/bobby", "no address"])
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._hosts, self._ids, starts = set[str](), set[str](), set[str]()
        for line in lines:
            word = re.split(r"(?:^|\s)#", line)[0].strip()
            if _HASH.fullmatch(word.lower()):
                self._ids.add(word.lower()[:32])
            elif "/" in _SCHEME.sub("", word, count=1) or "\\" in word:
                starts.add(_plain(word))
            elif word:
                self._hosts.add(
                    _SCHEME.sub("", word.lower(), count=1).removeprefix("www.").partition(":")[0].rstrip(".")
                )
        self._starts = tuple(sorted(starts))

    @classmethod
    def read(cls, file: str | os.PathLike[str] | None) -> OptOut:
        """Read a list, empty without a file.

        Raises:
            UserError: it cannot be read.
        """
        try:
            return cls(Path(file).read_text(encoding="utf-8-sig").splitlines() if file is not None else ())
        except (OSError, ValueError) as error:
            raise UserError(f"the list of opt-outs '{file}' cannot be read: {error}.") from None

    @property
    def lines(self) -> tuple[str, ...]:
        """What is on it, sorted, in the form in which it is compared."""
        return tuple(sorted({*self._hosts, *self._ids, *self._starts}))

    def met(self, addresses: Iterable[str], image_id: str = "") -> str | None:
        """What on the list some addresses, or a picture's id, meet; None where nothing is."""
        if image_id in self._ids:
            return image_id
        if not self._hosts and not self._starts:
            return None
        for address in addresses:
            plain = _plain(address)
            if plain.startswith(self._starts):
                return next(start for start in self._starts if plain.startswith(start))
            if _SCHEME.match(address):
                pieces = re.split(r"[/?#:]", plain, maxsplit=1)[0].rstrip(".").split(".")
                host = next((h for n in range(len(pieces)) if (h := ".".join(pieces[n:])) in self._hosts), None)
                if host is not None:
                    return host
        return None

    def of_row(self, row: Mapping[str, Any]) -> str | None:
        """The same of a picture that is stored: its `image_id`, `uri` and `context` (a dictionary)."""
        return self.met(_addresses(row["uri"], row["context"]), row["image_id"])

    def check(self, address: str) -> None:
        """Raise `RowError("opted_out")` where an address is on the list."""
        if (met := self.met([address])) is not None:
            raise RowError("opted_out", f"{met} is on the list")

    def without(
        self, found: Iterable[Sample | Reject | Unused | Triple]
    ) -> Iterator[Sample | Reject | Unused | Triple]:
        """What a format finds; pictures that are on the list are rejects, before they are fetched."""
        for one in found:
            if isinstance(one, Sample):
                web = [one.address.url] if one.address is not None else []
                met = self.met([*web, one.place, *_addresses(one.uri, one.context)], one.image_id)
                if met is not None:
                    yield reject(one.uri, "opted_out", f"{met} is on the list")
                    continue
            yield one


def _plain(address: str) -> str:
    """An address without its scheme, its host in small letters; a path as it is."""
    if _SCHEME.match(address) is None and address[:1] in ("/", "\\", "."):
        return address
    host, slash, rest = _SCHEME.sub("", address, count=1).partition("/")
    return f"{host.lower()}{slash}{rest}" if slash or _SCHEME.match(address) else address


def _addresses(uri: str, context: Any) -> Iterator[str]:
    """Where a picture lay, and all addresses of the web in its context."""
    yield uri
    _, hash_, inner = uri.partition("#")
    if hash_:
        yield inner  # in a WARC, a page's address

    def inside(value: Any) -> Iterator[str]:
        if isinstance(value, str) and value[:8].lower().startswith(("http://", "https://")):
            yield value
        elif isinstance(value, dict | list):
            for one in value.values() if isinstance(value, dict) else value:
                yield from inside(one)

    yield from inside(context)
