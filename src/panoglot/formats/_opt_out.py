"""Who does not want their pictures used: kept to before a download, when sources are read, and on export."""

from __future__ import annotations

import json
import os
import re
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from panoglot.errors import RowError, UserError
from panoglot.formats._files import read_bytes, reject
from panoglot.formats._layout import encoding_of
from panoglot.formats._sample import Sample, Unused
from panoglot.table import Dataset, Reject, Triple

__all__ = ["OptOut"]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/@]*@)?(?:www\.)?", re.IGNORECASE)
_HASH, _SHORT = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}"), re.compile(r"[0-9a-f]{12,31}")
_SAID, _SHOWN = " is on the list", 200  # of a line so many characters are told


class OptOut:
    """A list of those who do not want their pictures used, a line each; `#` begins a remark. A line is one of

    - a host (its subdomains too), or a beginning of an address; `http://`, `https://` and `www.` make no difference;
    - a beginning of a path, absolute or relative to the source (or to the folders that it lies in);
    - the whole name of a file, or of a folder in the source;
    - a pattern of one of these: `*` stands for anything, `?` for a character (in what is no `https://` address);
    - an id of a picture, its beginning of 12 digits or more, or the SHA-256 of its file.

    Args:
        lines: one each.
        sources: what pictures are read from: relative paths begin there.
        file: where the lines stand.

    >>> listed = OptOut(["example.org  # all of it", "https://www.x.net/eve/", "/data/bob/"])
    >>> listed.met(["http://cdn.Example.org/1.jpg"]), listed.met(["x.net/eve/2"]), listed.met(["/data/bob/3"])
    (['example.org'], ['https://www.x.net/eve/'], ['/data/bob/'])
    >>> listed.met(["https://notexample.org/", "https://x.net/evelyn.jpg", "/data/bobby", "no address"])
    []
    >>> listed = OptOut(["eve/", "cat.jpg", "*.tif", "in/dan/*.png", "bob"], ["/data/in"])
    >>> listed.met(["/data/in/eve/a.png"]), listed.met(["/data/in/b/cat.jpg"]), listed.met(["https://x.net/a.tif?w=9"])
    (['eve/'], ['cat.jpg'], ['*.tif'])
    >>> listed.met(["/data/in/dan/1.png"]), listed.met(["/data/in/x/bob/1.png"]), listed.met(["/eve/bob/in/bob.png"])
    (['in/dan/*.png'], ['bob'], [])
    """

    def __init__(self, lines: Iterable[str] = (), sources: Iterable[str] = (), file: str | None = None) -> None:
        self.file = file
        self._hosts, self._ids, self._starts, self._names = (dict[str, str]() for _ in range(4))
        self._patterns: dict[re.Pattern[str], str] = {}  # of whole addresses
        self._named: dict[re.Pattern[str], str] = {}  # of names
        self._roots = sorted({_plain(_root(source)) for source in sources})
        self._words: dict[str, None] = {}
        for line in lines:
            word = re.split(r"(?:^|\s)#", line)[0].strip()
            if word:
                self._words[word] = None
                self._take(word)
        self._prefixes = tuple(self._starts)
        self._short = tuple(one for one in self._ids if len(one) < 32)

    def _take(self, word: str) -> None:
        """Note under which forms a line may be met."""
        if _HASH.fullmatch(word.lower()) or _SHORT.fullmatch(word.lower()):
            self._ids[word.lower()[:32]] = word
        if _HASH.fullmatch(word.lower()):
            return
        bare = _SCHEME.sub("", word, count=1)
        web = bare is not word and not word.lower().startswith("file:")
        any_of_it = "*" in bare or ("?" in bare and not web)
        if "/" not in bare and "\\" not in bare:
            name = _normal(bare)
            self._hosts[_host(bare.removeprefix("*.").removeprefix("www.").partition(":")[0])] = word
            self._names[name] = word
            if any_of_it:
                self._named[_pattern("", name)] = word
            return
        for root, rest in self._forms(word):
            self._starts[root + rest] = word
            if any_of_it:
                self._patterns[_pattern(root, rest)] = word

    def _forms(self, word: str) -> Iterator[tuple[str, str]]:
        """The addresses and paths that a line with a slash may mean: what stands before, and the line itself."""
        yield "", _plain(word)
        if _SCHEME.match(word):
            return
        path = _normal(os.path.expanduser(word.replace("\\", "/")))
        if path.startswith("/"):
            yield "", os.path.normpath(path) + "/" * (path.endswith("/") and path != "/")
            return
        while path.startswith(("./", "../")):
            path = path.partition("/")[2]
        for root in self._roots:
            yield f"{root}/", path
            pieces = root.strip("/").split("/")
            for n in range(len(pieces)):  # as seen from a folder that the source lies in
                above = "/".join(pieces[n:]) + "/"
                if path.startswith(above):
                    yield f"{root}/", path.removeprefix(above)

    @classmethod
    def read(cls, file: str | os.PathLike[str] | None, sources: Iterable[str] = ()) -> OptOut:
        """Read a list, empty without a file.

        Args:
            file: in UTF-8, or in UTF-16 with a mark.
            sources: what pictures are read from.

        Raises:
            UserError: it cannot be read.
        """
        if file is None:
            return cls()
        name = os.fspath(file)
        try:
            raw = read_bytes(name)
        except RowError as error:
            why = "there is no such file" if error.reason == "missing_file" else error.message or error.reason
            raise UserError(f"the opt-out list '{name}' cannot be read: {why}.") from None
        encoding, mark = encoding_of(raw)
        if encoding == "utf-8" and b"\0" in raw:
            raise UserError(f"the opt-out list '{name}' is no text: give a line for each that opted out.")
        try:
            text = raw[mark:].decode(encoding)
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, mark + error.start) + 1
            mend = f"iconv -f WINDOWS-1252 -t UTF-8 {shlex.quote(name)} > opted-out.txt"
            raise UserError(f"the opt-out list '{name}' is not UTF-8 (line {line}). Convert it: {mend}") from None
        return cls(text.splitlines(), sources, name)

    @classmethod
    def of(cls, file: str | os.PathLike[str] | None, data: Dataset, sources: Iterable[str] = ()) -> OptOut:
        """Read a list for the pictures of a dataset: relative paths begin at what it was made from, too."""
        made_from = (json.loads(row["recipe"] or "{}").get("source") for row in data.runs.rows(["recipe"]))
        return cls.read(file, [*sources, *(one for one in made_from if isinstance(one, str))])

    @property
    def lines(self) -> tuple[str, ...]:
        """What is on it, sorted, without remarks."""
        return tuple(sorted(self._words))

    def met(self, addresses: Iterable[str], image_id: str = "") -> list[str]:
        """The lines that some addresses, or a picture's id, meet."""
        found: dict[str, None] = {}
        if image_id in self._ids:
            found[self._ids[image_id]] = None
        if self._short and image_id.startswith(self._short):
            found |= dict.fromkeys(word for one, word in self._ids.items() if image_id.startswith(one))
        if self._names or self._starts:
            for address in addresses:
                found |= dict.fromkeys(self._met(address))
        return list(found)

    def _met(self, address: str) -> Iterator[str]:
        plain = _plain(address)
        if plain.startswith(self._prefixes):
            yield from (word for start, word in self._starts.items() if plain.startswith(start))
        if _SCHEME.match(address):
            pieces = re.split(r"[/?#:]", plain, maxsplit=1)[0].split(".")
            for n in range(len(pieces)):
                if (host := ".".join(pieces[n:])) in self._hosts:
                    yield self._hosts[host]
        names = self._names_in(plain)
        yield from (self._names[name] for name in names & self._names.keys())
        yield from (word for one, word in self._named.items() if any(map(one.fullmatch, names)))
        yield from (word for one, word in self._patterns.items() if one.fullmatch(plain))

    def _names_in(self, plain: str) -> set[str]:
        """The names of a picture's file, of what holds it, and of the folders between these and the source."""
        names = set[str]()
        for one in {plain, *plain.split("#", 1), plain.partition("?")[0]}:
            names.add(one.rpartition("/")[2])
            for root in self._roots:
                if one.startswith(f"{root}/"):
                    names.update(one[len(root) + 1 :].split("/"))
        return names - {""}

    def of_row(self, row: Mapping[str, Any]) -> list[str]:
        """The same of a picture that is stored: its `image_id`, `uri` and `context` (a dictionary)."""
        return self.met(_addresses(row["uri"], row["context"]), row["image_id"])

    def check(self, address: str) -> None:
        """Raise `RowError("opted_out")` where an address is on the list."""
        if met := self.met([address]):
            raise RowError("opted_out", self.say(met))

    def without(
        self, found: Iterable[Sample | Reject | Unused | Triple]
    ) -> Iterator[Sample | Reject | Unused | Triple]:
        """What a format finds; pictures that are on the list are rejects, before they are fetched."""
        for one in found:
            if isinstance(one, Sample):
                web = [one.address.url] if one.address is not None else []
                met = self.met([*web, one.place, *_addresses(one.uri, one.context)], one.image_id)
                if met:
                    yield reject(one.uri, "opted_out", self.say(met))
                    continue
            yield one

    @staticmethod
    def say(met: Sequence[str]) -> str:
        """The message of a picture that is on the list.

        >>> OptOut.say(["eve/", "*.jpg"])
        'eve/ is on the list; *.jpg is on the list'
        """
        return "; ".join(_shown(word) + _SAID for word in met)

    @staticmethod
    def said(message: str) -> list[str]:
        """The lines that such a message may name.

        >>> OptOut.said(OptOut.say(["eve/", "*.jpg"])), OptOut.said("http://x.net/1: x.net is on the list")
        (['eve/', '*.jpg'], ['http://x.net/1: x.net', 'x.net'])
        """
        said = [one.removesuffix(_SAID) for one in message.split("; ")]
        return said + [one.partition(": ")[2] for one in said if ": " in one]

    def unmet(self, met: Iterable[str]) -> list[Unused]:
        """The lines of a file that met no picture, as what is to be said; that none stands in it.

        Args:
            met: lines that met one, as `said` and `met` give them.
        """
        if self.file is None:
            return []
        if not self._words:
            return [Unused(self.file, "opt-out list without a line", hint="nobody opted out")]
        there = {_shown(word) for word in met}
        rest = [word for word in self._words if _shown(word) not in there]
        hint = "a line is a host, an address, a path, a name, a pattern or the id of a picture"
        what = "line{s} of the opt-out list that met no picture"
        return [Unused.of(self.file, what, rest, hint)] if rest else []


def _root(source: str) -> str:
    """The folder that relative paths of a source begin at."""
    root = source.rstrip("/")
    while any(c in root for c in "*?[{") and not os.path.exists(root):
        root = os.path.dirname(root)
    if _SCHEME.match(root):
        return root
    root = os.path.abspath(root or "/")
    return (os.path.dirname(root) if os.path.isfile(root) else root).rstrip("/")


def _shown(word: str) -> str:
    return " ".join(word.split())[:_SHOWN]


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _host(name: str) -> str:
    """A host as it is compared: in small letters, as names are asked for."""
    name = name.lower().rstrip(".")
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


def _pattern(root: str, rest: str) -> re.Pattern[str]:
    """What a pattern means: its end is that of a name."""
    pieces = re.split(r"(\*\*/|\*|\?)", rest)
    meant = {"**/": "(?:.*/)?", "*": ".*", "?": "."}
    inner = "".join(meant.get(piece) or re.escape(piece) for piece in pieces)
    return re.compile(f"{re.escape(root)}{inner}(?:[/#?].*)?", re.DOTALL)


def _plain(address: str) -> str:
    """An address without its scheme, its host as it is compared; a path as it is."""
    address = _normal(address)
    if _SCHEME.match(address) is None and address[:1] in ("/", "\\", "."):
        return address
    host, slash, rest = _SCHEME.sub("", address, count=1).partition("/")
    if not slash and not _SCHEME.match(address):
        return address
    name, colon, port = host.partition(":")
    return f"{_host(name)}{colon}{port}{slash}{unquote(rest)}"


def _addresses(uri: str, context: Any) -> Iterator[str]:
    """Where a picture lay, and all addresses of the web in its context."""
    yield uri
    _, hash_, inner = uri.partition("#")
    if hash_:
        yield inner  # in a WARC, a page's address
    if isinstance(context, dict) and isinstance(name := context.get("file"), str):
        yield name  # of a row

    def inside(value: Any) -> Iterator[str]:
        if isinstance(value, str) and value[:8].lower().startswith(("http://", "https://")):
            yield value
        elif isinstance(value, dict | list):
            for one in value.values() if isinstance(value, dict) else value:
                yield from inside(one)

    yield from inside(context)
