"""Push: an export to a repository of datasets on the Hugging Face hub, by one commit."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from panoglot.errors import UserError, command, require, verb
from panoglot.exporting._export import MANIFEST, export
from panoglot.storage import in_objects
from panoglot.table import Dataset, open_dataset

__all__ = ["Pushed", "push"]

T = TypeVar("T")

_ADDRESS = re.compile(r"hf://datasets/([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?/?")


@dataclass
class Pushed:
    """What was pushed.

    Attributes:
        address: where it lies.
        commit: the commit, as the hub names it.
        files: files of the export.
        replaced: files of an earlier push that are gone.
        exported: what `export` says of it.
    """

    address: str
    commit: str
    files: int = 0
    replaced: int = 0
    exported: dict[str, Any] = field(default_factory=dict)


@verb
def push(
    dataset: Dataset | str | os.PathLike[str],
    address: str,
    *,
    to: str = "parquet",
    lang: str | Sequence[str] = (),
    kinds: str | Sequence[str] = (),
    captioned_only: bool = False,
    split: str | None = None,
    plan: str | None = None,
    shard_size: int = 10_000,
    image: str | None = None,
    max_side: int | None = None,
    mask: str | Sequence[str] = (),
    detector: str = "embedded:faces",
    opt_out: str | None = None,
    public: bool = False,
) -> Pushed:
    """Export a dataset into a temporary folder and put it into a repository of the Hugging Face hub, by one commit.

    The repository is made when it is not there, private unless `public` is said. An earlier push there is replaced;
    files that are not ours stay, and a repository that holds something else is refused. After a kill the same command
    sends only what the hub has not got. Needs `pip install 'panoglot[hub]'` and a token (`hf auth login`, or
    HF_TOKEN); `HF_ENDPOINT` names another hub.

    Args:
        dataset: a dataset or its path.
        address: `hf://datasets/OWNER/NAME`, and `@BRANCH` for another branch than main.
        to: format; `parquet` is shown and loaded by the hub itself.
        lang: languages, as with `export`.
        kinds: kinds of captions, as with `export`.
        captioned_only: leave out pictures without captions.
        split: only the pictures of this split; without it every split is pushed.
        plan: only the captions that this plan chose.
        shard_size: pictures in a shard.
        image: format of all pictures, as with `export`.
        max_side: longest side in pixels.
        mask: what of people to make unknown: `emails`, `phones`, `names`, `faces`.
        detector: the model that finds faces.
        opt_out: file of sources that are left out.
        public: make a new repository public; one that is there stays as it is.

    Raises:
        UserError: an address of another kind, no rights, no network, something else there, or nothing to export.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        if in_objects(address):
            place = dataset.address if isinstance(dataset, Dataset) else os.fspath(dataset)
            raise UserError(f"an object store takes an export: {command('export', place, address, '--to', to)}")
        raise UserError(f"'{address}' is no place to push to: write hf://datasets/OWNER/NAME")
    name, branch = found[1], found[2] or "main"
    hub: Any = require("huggingface_hub", "panoglot[hub]", "panoglot push")
    data = open_dataset(dataset)
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="panoglot")
    repo = {"repo_id": name, "repo_type": "dataset"}
    old = _asked(lambda: _theirs(hub, api, name, branch, repo), address)
    with tempfile.TemporaryDirectory(prefix="panoglot-push-") as place:
        folder = Path(place) / "export"
        facts = export(
            data,
            folder,
            to,
            lang=lang,
            kinds=kinds,
            captioned_only=captioned_only,
            split=split,
            plan=plan,
            shard_size=shard_size,
            image=image,
            max_side=max_side,
            mask=mask,
            detector=detector,
            opt_out=opt_out,
        )
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        gone = sorted(old - set(files))

        def send() -> str:
            api.create_repo(name, repo_type="dataset", private=not public, exist_ok=True)
            if branch != "main":
                api.create_branch(**repo, branch=branch, exist_ok=True)
            said = f"{facts['images']:,} pictures, {facts['captions']:,} captions, by Panoglot"
            done = api.upload_folder(
                **repo, folder_path=folder, revision=branch, commit_message=said, delete_patterns=gone
            )
            return str(done.oid)

        commit = _asked(send, address, _WAITS)
    return Pushed(address, commit, len(files), len(gone), facts)


def _theirs(hub: Any, api: Any, name: str, branch: str, repo: dict[str, str]) -> set[str]:
    """Files of an earlier push that is there; none where there is nothing.

    Raises:
        UserError: there is something else.
    """
    try:
        there = set(api.list_repo_files(**repo, revision=branch)) - {".gitattributes"}
    except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError):
        return set()
    if not there - {"README.md"}:
        return set()
    if MANIFEST not in there:
        raise UserError(f"{name} holds something else ({sorted(there)[0]}); push to a repository of its own.")
    with tempfile.TemporaryDirectory() as place:
        path = api.hf_hub_download(**repo, filename=MANIFEST, revision=branch, local_dir=place)
        try:
            shards = set(json.loads(Path(path).read_text(encoding="utf-8"))["shards"])
        except (ValueError, KeyError, TypeError):
            shards = set()
    return there & shards


#: Seconds before what may pass is tried again. The client does so itself with most steps, which takes longer than
#: `_PATIENT` seconds, but not when a repository is made, nor with the commit.
_WAITS, _PATIENT = (1.0, 4.0), 8.0


def _asked(question: Callable[[], T], address: str, waits: Sequence[float] = ()) -> T:
    """Ask the hub, again where it may pass; what it refuses is one line."""
    for wait in (*waits, None):
        started = time.monotonic()
        try:
            return question()
        except UserError:
            raise
        except Exception as error:
            said, passing = _refusal(error, address)
            if said is None:
                raise
            if not passing or wait is None or time.monotonic() - started > _PATIENT:
                raise UserError(said) from None
            time.sleep(wait)
    raise AssertionError("unreachable")


def _refusal(error: Exception, address: str) -> tuple[str | None, bool]:
    """Why the hub did not do it, as a line, and whether it may do it later; no line for what is not the hub's."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"no right to write to {address}: hf auth login, or HF_TOKEN with a token that may.", False
    again = "Later the same command goes on, and sends only what the hub has not got."
    if status == 429:
        return f"the hub says that {address} was asked too often. {again}", True
    if isinstance(error, json.JSONDecodeError | KeyError):
        place = os.environ.get("HF_ENDPOINT", "the hub")
        return f"the hub did not take {address}: {place} answers with something that no hub says. {again}", False
    kind = type(error).__module__.partition(".")[0]
    if kind not in ("huggingface_hub", "requests", "httpx", "httpx2", "httpcore") and not isinstance(error, OSError):
        return None, False
    said = " ".join(str(error).partition("For more information")[0].split())[:200] or type(error).__name__
    passing = status is None or status >= 500
    return f"the hub did not take {address}: {said.rstrip('.')}." + (f" {again}" if passing else ""), passing
