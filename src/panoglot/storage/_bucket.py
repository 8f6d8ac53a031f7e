"""A bucket of an object store: objects by their keys, through `obstore`; everything that fails is one line."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from panoglot.errors import StoreError, UserError, require, store_trouble

__all__ = ["SCHEMES", "Bucket", "Object", "bucket_of", "in_objects", "is_object", "open_bucket", "split"]

T = TypeVar("T")

#: Schemes of object stores, as `obstore` and Lance both take them.
SCHEMES = ("s3", "gs", "az")
#: How the variables of the environment begin that say how to reach them.
_VARIABLES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
#: Tries after the first one, and seconds for all of them: a server that starts anew is waited for, one that is not
#: there is told within seconds.
RETRIES, RETRY_SECONDS = 5, 60
#: Bytes of small objects that never change and are kept in memory; the largest of them.
KEPT_BYTES, KEPT_MOST = 64 * 2**20, 2**20


class Object(NamedTuple):
    """What a bucket says of an object: its key, bytes, seconds since 1970 by the server's clock, tag of its content."""

    key: str
    size: int
    changed: float
    tag: str


def split(uri: str) -> tuple[str, str, str]:
    """Take the address of a place in an object store apart: scheme, bucket, key.

    Raises:
        UserError: it names no bucket, holds a password, or is no key that an object can have.

    >>> split("s3://bucket/photos/a #1.jpg")
    ('s3', 'bucket', 'photos/a #1.jpg')
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if "@" in bucket or ":" in bucket:  # never written back: it may be a password
        raise UserError(
            f"an address {scheme.lower()}://… is a bucket and a path; keys and passwords go into the environment, "
            "for example AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if not bucket:
        raise UserError(f"'{uri}' names no bucket: write {scheme.lower()}://BUCKET/PATH.")
    key = key.rstrip("/")
    if any(piece in ("", ".", "..") for piece in key.split("/")) and key:
        raise UserError(f"'{uri}' holds an empty part, '.' or '..' between slashes: no object can be called so.")
    return scheme.lower(), bucket, key


def in_objects(address: object) -> bool:
    """Say whether an address is one of an object store.

    >>> in_objects("s3://bucket/photos"), in_objects("https://host/a.jpg"), in_objects("photos")
    (True, False, False)
    """
    return isinstance(address, str) and address.partition("://")[0].lower() in SCHEMES and "://" in address


def open_bucket(uri: str) -> tuple[Bucket, str]:
    """The bucket of an address, and the key in it; nothing is looked at.

    Raises:
        UserError: it names no bucket or key; `obstore` is not installed.
    """
    scheme, name, key = split(uri)
    return bucket_of(scheme, name), key


def is_object(uri: str) -> bool:
    """Say whether an object lies at an address itself, as a file does.

    Raises:
        UserError: it cannot be looked at.
    """
    bucket, key = open_bucket(uri)
    return bool(key) and bucket.head(key) is not None


def _config(scheme: str, env: Mapping[str, str]) -> dict[str, str]:
    """What is not left to the libraries, who read keys and tokens from the environment themselves.

    >>> _config("s3", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"})
    {'aws_endpoint': 'http://127.0.0.1:9000', 'allow_http': 'true', 'aws_region': 'us-east-1'}
    >>> _config("s3", {"AWS_REGION": "eu-central-1"})
    {'aws_region': 'eu-central-1'}
    >>> _config("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": '{"gcs_base_url": "http://127.0.0.1:4443"}'})
    {'allow_http': 'true'}
    """
    if scheme == "gs":
        return {"allow_http": "true"} if _google_server(env).lower().startswith("http://") else {}
    if scheme != "s3":
        return {}
    found: dict[str, str] = {}
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    endpoint = next((env[name] for name in names if env.get(name)), None)
    if endpoint:
        found["aws_endpoint"] = endpoint.rstrip("/")
        if endpoint.lower().startswith("http://"):  # who writes it means it
            found["allow_http"] = "true"
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or ("us-east-1" if endpoint else None)
    if region:
        found["aws_region"] = region
    return found


def _google_server(env: Mapping[str, str]) -> str:
    """The server that an account names which is not Google's own, or nothing."""
    told = env.get("GOOGLE_SERVICE_ACCOUNT_KEY")
    path = next(
        (env[name] for name in ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH") if env.get(name)), None
    )
    with contextlib.suppress(OSError, ValueError):  # what is wrong with it, the libraries say
        if told is None and path is not None:
            with open(path, encoding="utf-8") as file:
                told = file.read(2**20)
        account = json.loads(told or "{}")
        return str(account.get("gcs_base_url") or "") if isinstance(account, dict) else ""
    return ""


class Bucket:
    """The objects of a bucket. Safe to use from threads; opened anew in every process.

    All errors are `StoreError`; what is not there is a `FileNotFoundError`.

    Attributes:
        root: `s3://bucket`.
        options: what Lance has to know to reach it, without keys: it takes these from the environment as well.
    """

    def __init__(self, scheme: str, name: str, store: Any = None) -> None:
        self.root = f"{scheme}://{name}"
        self._obstore: Any = require("obstore", "panoglot[s3]", f"{scheme}://")
        config = _config(scheme, os.environ)
        self.options = {
            **config,
            "client_max_retries": str(RETRIES),
            "client_retry_timeout": str(RETRY_SECONDS),
        }
        secure = {key: value for key, value in config.items() if key != "allow_http"}
        if store is None:
            store = self._said(
                "",
                lambda: self._obstore.store.from_url(
                    self.root,
                    client_options={"allow_http": "allow_http" in config},
                    retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
                    **secure,
                ),
            )
        self._store = store
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._room = KEPT_BYTES
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def _said(self, key: str, work: Callable[[], T]) -> T:
        try:
            return work()
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._trouble(key, error) from None
            raise FileNotFoundError(2, "No such object", f"{self.root}/{key}") from None
        except (ValueError, TypeError) as error:
            raise StoreError(f"{self.root}/{key}: {str(error).splitlines()[0]}") from None
        except self._obstore.exceptions.BaseError as error:
            raise self._trouble(key, error) from None

    def _trouble(self, key: str, error: Exception) -> StoreError:
        line = store_trouble(str(error), f"{self.root}/{key}")
        first = " ".join(str(error).partition("Debug source:")[0].split())
        trouble = StoreError(line or f"{self.root}/{key}: {first.partition('?')[0][:300]}")
        trouble.denied = bool(line and line.startswith("no right"))
        return trouble

    def all(self, work: Callable[[Any], T], some: Sequence[Any]) -> list[T]:
        """Do a thing for each of several, sixteen at once."""
        if len(some) < 2:
            return [work(one) for one in some]
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(16, thread_name_prefix="bucket")
        return list(self._pool.map(work, some))

    # -- reading ---------------------------------------------------------------------------------------------------

    def get(self, key: str) -> tuple[bytes, str]:
        """The content of an object and its tag."""
        found = self._said(key, lambda: self._obstore.get(self._store, key))
        return bytes(self._said(key, found.bytes)), str(found.meta.get("e_tag") or "")

    def range(self, key: str, start: int, length: int) -> bytes:
        """Some bytes of an object."""
        return bytes(self._said(key, lambda: self._obstore.get_range(self._store, key, start=start, length=length)))

    def kept(self, key: str) -> bytes:
        """The content of a small object that never changes: fetched once."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        data, _ = self.get(key)
        self.keep(key, data)
        return data

    def keep(self, key: str, data: bytes) -> None:
        """Keep such a content, which was written just now."""
        with self._lock:
            if len(data) > KEPT_MOST or key in self._kept:
                return
            self._kept[key] = data
            self._room -= len(data)
            while self._room < 0:
                self._room += len(self._kept.popitem(last=False)[1])

    def head(self, key: str) -> Object | None:
        """What is known of an object; None when there is none."""
        try:
            return _object(self._said(key, lambda: self._obstore.head(self._store, key)))
        except FileNotFoundError:
            return None

    def under(self, key: str, after: str | None = None) -> Iterator[list[Object]]:
        """Pages of the objects whose key begins with `key` and a slash, in order.

        Args:
            key: a folder; empty for the bucket.
            after: only those behind this key.
        """
        pages = iter(self._said(key, lambda: self._obstore.list(self._store, key or None, offset=after)))
        while (page := self._said(key, lambda: next(pages, None))) is not None:
            yield [_object(one) for one in page]

    def listed(self, key: str) -> tuple[list[str], list[Object]]:
        """Names of the folders, and the objects, directly in a folder."""
        found = self._said(key, lambda: self._obstore.list_with_delimiter(self._store, key or None))
        folders = [str(one).rstrip("/").rpartition("/")[2] for one in found["common_prefixes"]]
        return folders, [_object(one) for one in found["objects"]]

    # -- writing ---------------------------------------------------------------------------------------------------

    def put(self, key: str, data: Any) -> str:
        """Write an object (bytes, or a file that is open) and return its tag."""
        return str(self._said(key, lambda: self._obstore.put(self._store, key, data)).get("e_tag") or "")

    def create(self, key: str, data: bytes) -> str | None:
        """Write an object unless one is there: its tag, or None."""
        return self._conditional(key, data, "create")

    def replace(self, key: str, data: bytes, tag: str) -> str | None:
        """Write an object if the one that is there has this tag: the new tag, or None."""
        return self._conditional(key, data, {"e_tag": tag})

    def _conditional(self, key: str, data: bytes, mode: Any) -> str | None:
        def work() -> str | None:
            condition = mode
            try:
                if self.root.startswith("gs:") and mode != "create":  # compared by generations there
                    found = self._obstore.head(self._store, key)
                    if found.get("e_tag") != mode["e_tag"]:
                        return None
                    condition = {**mode, "version": str(found.get("version"))}
                return str(self._obstore.put(self._store, key, data, mode=condition).get("e_tag") or "")
            except (self._obstore.exceptions.AlreadyExistsError, self._obstore.exceptions.PreconditionError):
                return None
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None  # nothing there that could have the tag

        return self._said(key, work)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are gone are no error."""
        try:
            for start in range(0, len(keys), 1000):
                some = list(keys[start : start + 1000])
                self._said(some[0], functools.partial(self._obstore.delete, self._store, some))
        except FileNotFoundError:
            self.all(self._delete, keys)

    def _delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._said(key, lambda: self._obstore.delete(self._store, key))


def _object(found: Mapping[str, Any]) -> Object:
    return Object(
        str(found["path"]), int(found["size"]), found["last_modified"].timestamp(), str(found.get("e_tag") or "")
    )


_OPEN: dict[tuple[Any, ...], Bucket] = {}
_OPEN_LOCK = threading.Lock()


def bucket_of(scheme: str, name: str) -> Bucket:
    """This process's handle on a bucket, as long as the environment says the same of it."""
    start = _VARIABLES[scheme]
    key = (scheme, name, *sorted(item for item in os.environ.items() if item[0].startswith(start)))
    with _OPEN_LOCK:
        if key not in _OPEN:
            _OPEN[key] = Bucket(scheme, name)
        return _OPEN[key]


def _forget() -> None:
    global _OPEN_LOCK
    _OPEN_LOCK = threading.Lock()
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
