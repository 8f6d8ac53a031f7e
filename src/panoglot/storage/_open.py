"""Addresses to stores."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from panoglot.errors import UserError
from panoglot.storage._bucket import SCHEMES
from panoglot.storage._contract import Address, Store
from panoglot.storage._local import LocalStore
from panoglot.storage._objects import ObjectStore

__all__ = ["has_scheme", "open_store"]

#: An address of which a slash was lost.
_SLIP = re.compile(rf"({'|'.join([*SCHEMES, 'https?', 'hf'])}):(?!//)", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def has_scheme(address: object) -> bool:
    """Say whether an address is a URI, not a path.

    >>> has_scheme("s3://bucket/x.pano"), has_scheme("C:/x.pano"), has_scheme("x.pano")
    (True, False, False)
    """
    return isinstance(address, str) and _SCHEME.match(address) is not None


def open_store(address: Address) -> Store:
    """Return the store at an address (a store as it is); nothing is made or looked at.

    Args:
        address: a path, or a `file://`, `s3://`, `gs://` or `az://` URI.

    Raises:
        UserError: a URI of another kind.

    >>> open_store("photos.pano").table("images").uri
    'photos.pano/images.lance'
    >>> open_store("file:///data/my%20photos.pano").address
    '/data/my photos.pano'
    >>> open_store("s3://bucket/photos.pano").at("journal").uri
    's3://bucket/photos.pano/journal'
    >>> open_store("ftp://host/photos.pano")
    Traceback (most recent call last):
    ...
    panoglot.errors.UserError: 'ftp://host/photos.pano': no dataset lies on ftp://: ...
    >>> open_store("s3:/bucket/photos.pano")
    Traceback (most recent call last):
    ...
    panoglot.errors.UserError: 's3:/bucket/photos.pano' is no address: two slashes follow the colon. Did you mean s3://bucket/photos.pano?
    """
    if not isinstance(address, str | os.PathLike):
        return address
    text = os.fspath(address)
    if slip := _SLIP.match(text):  # as a path it would be a folder called s3:, in which Lance looks for a bucket
        meant = shlex.quote(f"{slip[1].lower()}://{text[slip.end() :].lstrip('/')}")
        raise UserError(f"'{text}' is no address: two slashes follow the colon. Did you mean {meant}?")
    if not has_scheme(text):
        return LocalStore(text)
    parts = urlsplit(text)
    if parts.scheme.lower() in _SCHEMES:
        return _SCHEMES[parts.scheme.lower()](text)
    name = parts.path.rstrip("/").rpartition("/")[2] or parts.netloc or "NEW.pano"
    raise UserError(
        f"'{text}': no dataset lies on {parts.scheme}://: give a folder of this machine, "
        f"for example {shlex.quote(name)}, or s3://BUCKET/{name}"
    )


def _file_uri(uri: str) -> Store:
    # not urlsplit: a `#` or `?` is a character of a path that somebody did not quote
    host, slash, path = uri.partition("://")[2].partition("/")
    if host.lower() not in ("", "localhost") or not path:
        raise UserError(f"'{uri}' names no folder of this machine: such a URI begins with three slashes, file:///…")
    return LocalStore(url2pathname(slash + path) if os.name == "nt" else unquote(slash + path))


#: Scheme to what opens its URIs.
_SCHEMES: dict[str, Callable[[str], Store]] = {"file": _file_uri, **dict.fromkeys(SCHEMES, ObjectStore)}
