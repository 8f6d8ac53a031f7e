"""An export in an object store: written on this machine, then sent; it is whole when its manifest says so.

Objects cannot be renamed together, so the manifest goes first, marked as unfinished and naming all that will be there,
and is replaced last. Who stops in between leaves an export that says so, and that the same command finishes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from panoglot.errors import UserError
from panoglot.storage import Object, open_bucket

__all__ = ["Sent"]


class Sent:
    """A place in a bucket that an export goes to.

    Args:
        address: `s3://BUCKET/PATH`.
        dataset: the address of the dataset, which must not lie there.
        manifest: name of the manifest.

    Raises:
        UserError: no path, the dataset lies there, or something that is no earlier export of ours.
    """

    def __init__(self, address: str, dataset: str, manifest: str) -> None:
        self.address, self._manifest = address.rstrip("/"), manifest
        self._bucket, self._key = open_bucket(self.address)
        if not self._key:
            raise UserError(f"'{address}' is a whole bucket: write {self.address}/PATH.")
        one, other = f"{self.address}/", f"{dataset.rstrip('/')}/"
        if one.startswith(other) or other.startswith(one):
            raise UserError(f"{address} and the dataset lie in each other; give another place.")
        self._there: list[Object] = [one for page in self._bucket.under(self._key) for one in page]
        self._entries = self._earlier() if self._there else set[str]()

    def _earlier(self) -> set[str]:
        """The names that an earlier export there has, finished or not."""
        try:
            facts = json.loads(self._bucket.get(f"{self._key}/{self._manifest}")[0])
            ours = set(facts["entries"]) if facts["panoglot_export"] else set[str]()
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            raise UserError(f"{self.address} is not empty and no export of Panoglot; give another place.") from None
        for one in self._there:
            name = one.key[len(self._key) + 1 :].partition("/")[0]
            if name not in ours:
                raise UserError(
                    f"{self.address} is an earlier export, but also holds {name}; move that away or export elsewhere."
                )
        return ours

    def send(self, folder: Path, facts: dict[str, Any]) -> None:
        """Put the files of a finished export there, and take away what an earlier one had and this one has not.

        Args:
            folder: the export.
            facts: its manifest.
        """
        marked = {**facts, "unfinished": True, "entries": sorted(self._entries | set(facts["entries"]))}
        self._bucket.put(f"{self._key}/{self._manifest}", json.dumps(marked).encode())
        files = {f"{self._key}/{path.relative_to(folder).as_posix()}": path for path in _files(folder)}
        last = files.pop(f"{self._key}/{self._manifest}")
        self._bucket.all(lambda key: self._bucket.put(key, files[key]), sorted(files))
        gone = [one.key for one in self._there if one.key not in files and not one.key.endswith(f"/{self._manifest}")]
        if gone:
            self._bucket.delete(gone)
        self._bucket.put(f"{self._key}/{self._manifest}", last)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
