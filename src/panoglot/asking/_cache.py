"""Vectors of pictures and texts, kept between runs: what was encoded once is not encoded again.

One SQLite file for all encoders, `$XDG_CACHE_HOME/panoglot/vectors.sqlite` unless told otherwise. A key is the hash of
the encoder's fingerprint and of what it was given (the bytes of a picture; a text and its language), so a changed
encoder or picture never meets an old vector. Every write is a transaction and every vector has a checksum: two runs at
once are safe, and a broken file or vector is encoded again. A full cache forgets what was not used for longest.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import sqlite3
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking._ask import call
from panoglot.asking._made import note_model
from panoglot.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers.roles import Encoder

__all__ = ["CachedEncoder", "VectorCache", "cache_folder", "identity", "load_encoder"]

#: Bytes that the file may take; 512 dimensions are 2 KB a vector.
LIMIT = 4 << 30
VERSION = 1
_TABLE = (
    "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, used INTEGER, sum INTEGER, width INTEGER, data BLOB)"
)
#: Keys in one question to SQLite.
_MANY = 500


class VectorCache:
    """Vectors by key in one bounded file. What cannot be read is absent; what cannot be written is not kept.

    Args:
        path: of the file; its folder is made.
        limit: most bytes of the file's pages in use.
    """

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path, self.limit = path, limit

    def get(self, keys: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """The vectors that are there, float32 `[dim]` or `[K, dim]`."""
        import numpy as np

        wanted = list(dict.fromkeys(keys))
        found: dict[bytes, np.ndarray] = {}
        today = int(time.time()) // 86_400
        if not self.path.is_file():
            return {}
        try:
            with closing(self._open()) as base:
                for start in range(0, len(wanted), _MANY):
                    some = wanted[start : start + _MANY]
                    marks = ",".join("?" * len(some))
                    rows = base.execute(f"SELECT key, used, sum, width, data FROM vectors WHERE key IN ({marks})", some)
                    old = []
                    for key, used, checksum, width, data in rows.fetchall():
                        if zlib.crc32(data, zlib.crc32(key)) != checksum:
                            continue
                        flat = np.frombuffer(data, np.float32)
                        found[key] = flat.reshape(-1, width) if width else flat
                        old += [(today, key)] if used != today else []
                    if old:  # at most once a day: reading stays reading
                        with suppress(sqlite3.OperationalError), base:
                            base.executemany("UPDATE vectors SET used = ? WHERE key = ?", old)
        except (sqlite3.OperationalError, OSError):  # locked for too long, or no permission
            return found
        except sqlite3.DatabaseError:
            self._forget()
        return found

    def put(self, rows: Mapping[bytes, np.ndarray]) -> None:
        """Keep vectors; rows with NaN are left out, so that they are tried again."""
        import numpy as np

        today = int(time.time()) // 86_400
        lines = []
        for key, row in rows.items():
            vector = np.ascontiguousarray(row, dtype=np.float32)
            if np.isfinite(vector).all():
                data = vector.tobytes()
                width = vector.shape[1] if vector.ndim == 2 else 0
                lines.append((key, today, zlib.crc32(data, zlib.crc32(key)), width, data))
        for _ in range(2):
            try:
                with closing(self._open()) as base, base:
                    base.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)", lines)
                    self._shrink(base)
                return
            except (sqlite3.OperationalError, OSError):
                return
            except sqlite3.DatabaseError:
                self._forget()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        base = sqlite3.connect(self.path, timeout=60)
        try:
            (version,) = base.execute("PRAGMA user_version").fetchone()
            if version == 0:
                base.execute("PRAGMA page_size = 16384")  # seven vectors of 2 KB a page, where 4 KB would hold one
                with base:
                    base.execute(_TABLE)
                    base.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise sqlite3.DatabaseError(f"version {version}")
        except BaseException:
            base.close()
            raise
        return base

    def _shrink(self, base: sqlite3.Connection) -> None:
        """Delete what was not used for longest until a tenth of the room is free."""
        size = base.execute("PRAGMA page_size").fetchone()[0]
        pages, free = (base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        used = (pages - free) * size
        if used > self.limit:
            (count,) = base.execute("SELECT count(*) FROM vectors").fetchone()
            excess = max(1, round(count * (1 - 0.9 * self.limit / used)))
            base.execute(
                "DELETE FROM vectors WHERE key IN (SELECT key FROM vectors ORDER BY used, rowid LIMIT ?)", (excess,)
            )

    def _forget(self) -> None:
        for name in (self.path, self.path.with_name(self.path.name + "-journal")):
            with suppress(OSError):
                name.unlink()


class CachedEncoder:
    """An encoder that is asked only for what the cache does not hold; everything else is the encoder's own.

    Vectors are float32 whether made now or before, so both runs see the same numbers.

    Args:
        encoder: with an `identity`.
        cache: where vectors are kept.
    """

    batch_size = 256

    def __init__(self, encoder: Encoder, cache: VectorCache) -> None:
        self.encoder, self.cache = encoder, cache
        self.name = getattr(encoder, "name", "")
        self.fingerprint = str(getattr(encoder, "fingerprint", "") or identity(encoder))
        self._identity = identity(encoder)
        self.dim = encoder.dim

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["encoder"], name)

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures; equal bytes are encoded once."""
        return self._encode("encode_images", [image.id for image in images], list(images))

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Encode texts."""
        tags = list(langs) if langs is not None else ["und"] * len(texts)
        return self._encode("encode_texts", [f"{tag}\0{text}" for tag, text in zip(tags, texts)], list(texts), tags)

    def _encode(self, method: str, contents: Sequence[str], *columns: list[Any]) -> np.ndarray:
        import numpy as np

        start = f"{VERSION}\0{self._identity}\0{method}\0"
        keys = [hashlib.sha256((start + text).encode("utf-8", "surrogatepass")).digest()[:16] for text in contents]
        found = self.cache.get(keys)
        place = {key: n for n, key in enumerate(keys) if key not in found}
        if place:
            rows = call(self.encoder, method, *([column[n] for n in place.values()] for column in columns))
            new = {key: np.asarray(row, dtype=np.float32) for key, row in zip(place, rows)}
            self.cache.put(new)
            found.update(new)
        if not keys:
            return np.zeros((0, self.dim), dtype=np.float32)
        shapes = {found[key].shape for key in keys}
        if len(shapes) > 1:  # failed rows of an encoder with several vectors a picture
            raise UserError(f"encoder '{self.name}' gives vectors of several shapes: {sorted(shapes)}.")
        return np.stack([found[key] for key in keys])


def identity(model: Any) -> str:
    """What a model's answers are kept under; empty: they are not kept.

    Our own providers say it themselves (`fingerprint`). Of a class that somebody wrote we add its module's source, for
    a fingerprint that was typed once says nothing about what was changed since; of one without a fingerprint its state
    too.
    """
    said = str(getattr(model, "fingerprint", "") or "")
    if type(model).__module__.partition(".")[0] == "panoglot":
        return said
    try:
        module = inspect.getmodule(type(model))
        source = inspect.getsource(module) if module is not None else inspect.getsource(type(model))
        state = b"" if said else pickle.dumps(sorted(vars(model).items()), protocol=4)
    except Exception:  # a source that is not there, a state that cannot be written down
        return ""
    mark = hashlib.sha256(source.encode("utf-8", "surrogatepass") + state).hexdigest()[:16]
    return f"{said or type(model).__qualname__}+source-{mark}"


def cache_folder(cache: str | None) -> Path | None:
    """The folder that things are kept in, made; None for none.

    Args:
        cache: folder; `off` for none; None for the user's cache folder.

    Raises:
        UserError: a folder that was asked for cannot be written.
    """
    from panoglot.providers.embedded._cache import cache_dir

    if cache == "off":
        return None
    folder = cache_dir() if cache is None else Path(cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fine, why = os.access(folder, os.W_OK), "not writable"
    except OSError as error:
        fine, why = False, error.strerror or str(error)
    if not fine:
        if cache is None:
            return None
        raise UserError(f"cannot keep vectors in {folder} ({why}): give another --cache, or 'off'.")
    return folder


def load_encoder(name: str | Any, cache: str | None = None, role: str = "encoder") -> Any:
    """Load a model and put the cache before it when it encodes.

    Args:
        name: model name, or a model.
        cache: folder of the cache; `off` for none; None for the user's cache folder.
        role: role (or roles with `|`) that the model must have.

    Raises:
        UserError: a folder that was asked for cannot be written.
    """
    from panoglot.providers import load_model

    model = load_model(name, role) if isinstance(name, str) else name
    note_model("encoder" if hasattr(model, "encode_texts") else "model", model)
    if not hasattr(model, "encode_texts") or isinstance(model, CachedEncoder) or not identity(model):
        return model
    folder = cache_folder(cache)
    return model if folder is None else CachedEncoder(model, VectorCache(folder / "vectors.sqlite"))
