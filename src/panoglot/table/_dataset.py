"""A Panoglot dataset: a folder of Lance tables, a manifest, locks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, command, did_you_mean
from panoglot.storage import open_store
from panoglot.table._caption_rows import CaptionRows, caption_from_row
from panoglot.table._memory import give_back_memory
from panoglot.table._records import KEPT_CAPTION, MISTOLD, Caption, machine_kind
from panoglot.table._schema import KEYS, SCHEMA_VERSION, schema, vector_schema
from panoglot.table._table import Table, plain_rows, sql_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from panoglot.storage import Address, Store

__all__ = [
    "MANIFEST",
    "Dataset",
    "create_dataset",
    "is_dataset",
    "open_dataset",
]

MANIFEST = "panoglot.json"


class Dataset:
    """The tables of one dataset. Get one from `open_dataset` or `create_dataset`.

    Attributes:
        store: where it lies.
        images: one row an image, with its bytes.
        assets: scenes, videos, pages: what images are views or parts of.
        documents: ordered parts over several images: pages, conversations.
        triples: queries with what answers them and what does not.
        ratings: what people or models said of a row.
        facts: what models saw in images, kept so that they are asked once.
        edits: what people corrected or had forgotten.
        fits: what the first pass of a method learnt.
        marks: what curation decided on images: scores, `dropped`.
        hashes: perceptual hashes of images.
        captions: one row a text about an image.
        splits: which pictures are to train with and which to test with, as `split` divided them.
        choices: which caption of a picture a plan or mix uses.
        places: where a picture and its given texts were read last: one row a file, member or row of a source.
        rejects: every row that failed.
        runs: what was run, with which recipe, counts and price.
    """

    def __init__(self, address: Address) -> None:
        self.store: Store = open_store(address)
        self.images = self._table("images")
        self.assets = self._table("assets")
        self.documents = self._table("documents")
        self.triples = self._table("triples")
        self.ratings = self._table("ratings")
        self.facts = self._table("facts")
        self.edits = self._table("edits")
        self.fits = self._table("fits")
        self.marks = self._table("marks")
        self.hashes = self._table("hashes")
        self.captions = self._table("captions")
        self.splits = self._table("splits")
        self.choices = self._table("choices")
        self.places = self._table("places")
        self.rejects = self._table("rejects")
        self.runs = self._table("runs")

    def __repr__(self) -> str:
        return f"Dataset({self.address!r}: {len(self.images)} images, {self.captions.count(KEPT_CAPTION)} captions)"

    def check_there(self) -> None:
        """Look whether its folder is still there; a place in an object store is not asked, which takes time.

        Raises:
            UserError: it is not: an empty answer would be wrong.
        """
        if self.store.folder is not None and not self.store.exists():
            raise UserError(f"there is no dataset at {self.address} any more: it was moved or deleted meanwhile.")

    @property
    def uri(self) -> str:
        """Where it lies: `file:///…` for a folder of this machine."""
        return self.store.uri

    @property
    def address(self) -> str:
        """The same as people write it: the path as it was given, or the URI."""
        return self.store.address

    @property
    def name(self) -> str:
        """Last part of the address, for example `photos.pano`."""
        return self.store.absolute.replace("\\", "/").rstrip("/").rpartition("/")[2]

    @property
    def path(self) -> Path:
        """The folder on this machine.

        Raises:
            UserError: it lies elsewhere.
        """
        folder = self.store.folder
        if folder is None:
            copy = command("build", self.address, "-o", "NEW.pano")
            raise UserError(f"{self.address} is no folder of this machine, and this needs one. Copy it: {copy}")
        return folder

    def _table(self, name: str) -> Table:
        return Table(self.store, name, schema(name), KEYS[name])

    def work(self, stage: str) -> Table:
        """The ledger of a stage: which items are done. `stage` is `name-fingerprint`."""
        return Table(self.store, f"work/{_file_name(stage)}", schema("work"), KEYS["work"])

    def vectors(self, encoder: str, dim: int | None = None) -> Table:
        """The vectors of an encoder.

        Args:
            encoder: name as in `vector_names`.
            dim: needed to create the table; read from it otherwise.

        Raises:
            UserError: no such vectors and no `dim`.
        """
        place = f"vectors/{_file_name(encoder)}"
        if dim is None:
            if not self.store.has_table(place):
                named = f" '{encoder}'.{did_you_mean(encoder, self.vector_names())}" if encoder else "."
                raise UserError(
                    f"{self.address} has no vectors{named} "
                    f"Make them: {command('build', 'PICTURES', '-o', self.address, '--encoder', 'NAME')}"
                )
            found = Table(self.store, place, vector_schema(1), KEYS["vectors"]).lance()
            dim = found.schema.field("vector").type.list_size
        return Table(self.store, place, vector_schema(dim), KEYS["vectors"])

    def add_vectors(self, model: str, model_fingerprint: str, dim: int) -> str:
        """Make room for the vectors of an encoder and return their name.

        Args:
            model: what loads it, `provider:name`: written beside the vectors, so that a search can ask the same model.
            model_fingerprint: other weights are other vectors.
            dim: size of a vector.
        """
        name = f"{_file_name(model)}-{_file_name(model_fingerprint[:8])}"
        with contextlib.suppress(OSError, ValueError):
            if json.loads(self.store.read(f"vectors/{name}.json"))["fingerprint"] != model_fingerprint:
                # `my-model-v1` and `my-model-v2` begin alike: never one place for two models
                name += f"-{hashlib.sha256(model_fingerprint.encode()).hexdigest()[:8]}"
        if not self.store.has(f"vectors/{name}.json"):
            made = datetime.now(UTC).isoformat()
            facts = {"model": model, "fingerprint": model_fingerprint, "dim": dim, "made": made}
            self.store.write(f"vectors/{name}.json", f"{json.dumps(facts)}\n".encode(), new=True)
        self.vectors(name, dim).ensure()
        return name

    def vector_model(self, name: str) -> dict[str, Any]:
        """Return `model`, `fingerprint` and `dim` of the encoder that made the vectors `name`."""
        self.vectors(name)
        found: dict[str, Any] = json.loads(self.store.read(f"vectors/{name}.json"))
        return found

    def vector_names(self) -> list[str]:
        """Names of the encoders whose vectors are here."""
        return [name.partition("/")[2] for name in self.store.tables("vectors")]

    def searched_vectors(self) -> str | None:
        """Name of the vectors that a search takes unless told otherwise, None without any.

        They are those of the setting `encoder`; without it those of pictures that were made first, so that a model that
        is trained later changes nothing by itself.
        """
        names = self.vector_names()
        chosen = self.settings().get("encoder")
        if chosen in names:
            return chosen
        # a frozen text tower's vectors are of captions only: nobody searches pictures with them
        fit = [n for n in names if self.vectors(n).count("of = 'image'")] if len(names) > 1 else names
        made = {}
        for name in fit or names:
            try:
                made[name] = str(self.vector_model(name).get("made") or "")
            except (OSError, ValueError):  # vectors that somebody put there by hand
                made[name] = "~"
        return min(made, key=lambda name: (made[name], name), default=None)

    def manifest(self) -> dict[str, Any]:
        """Return what the dataset says of itself: `schema_version`, `created_by`, `settings`."""
        return dict(json.loads(self.store.read(MANIFEST)))

    def settings(self) -> dict[str, str]:
        """Return what was chosen for this dataset; see `change_settings`."""
        found = self.manifest().get("settings")
        return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}

    def change_settings(self, **values: str | None) -> dict[str, str]:
        """Write settings into the manifest and return all of them.

        Args:
            **values: `encoder`, the name of the vectors that a search takes; None takes a setting back.
        """
        with self.store.lock("settings.lock", wait=True):
            manifest = self.manifest()
            kept = {name: value for name, value in {**self.settings(), **values}.items() if value is not None}
            manifest["settings"] = kept
            self.store.write(MANIFEST, _manifest(manifest))
        return kept

    @property
    def journal(self) -> Store:
        """Where the response journal lies."""
        return self.store.at("journal")

    # -- runs and locks --------------------------------------------------------------------------------------------

    def start_run(self, recipe: Any, versions: dict[str, str]) -> str:
        """Write the row of a new run and return its id (sorts by time)."""
        now = datetime.now(UTC)
        run_id = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self.runs.insert(
            [
                {
                    "run_id": run_id,
                    "started": now,
                    "status": "running",
                    "recipe": json.dumps(recipe, ensure_ascii=False, default=str),
                    "versions": json.dumps(versions),
                    "stages": "[]",
                }
            ]
        )
        return run_id

    @contextlib.contextmanager
    def writer(self) -> Iterator[None]:
        """Hold the shared writer lock: nobody compacts meanwhile. It vanishes with the process, kill -9 included."""
        with self.store.lock("writers.lock", shared=True):
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Try for the exclusive lock; yields whether it was had."""
        try:
            with self.store.lock("writers.lock"):
                yield True
        except BlockingIOError:
            yield False

    def tidy(self) -> bool:
        """Compact and index every table if nobody else writes; say whether it was done."""
        with self.alone() as mine:
            if mine:
                for table in self._tables():
                    give_back_memory()
                    table.tidy()
        return mine

    def tend(self) -> None:
        """Keep commits to every table cheap while runs write; of several runs at once one does it."""
        with contextlib.suppress(BlockingIOError), self.store.lock("index.lock"):
            for table in self._tables():
                table.tend()

    def _tables(self) -> list[Table]:
        return [self._at(name) for folder in ("", "vectors", "work") for name in self.store.tables(folder)]

    def _at(self, name: str) -> Table:
        folder, _, last = name.rpartition("/")
        return self.vectors(last) if folder == "vectors" else self.work(last) if folder else self._table(last)

    # -- scores ----------------------------------------------------------------------------------------------------

    def score(
        self, table: str, values: Mapping[str, tuple[Mapping[str, float | None], str | None]], run_id: str = ""
    ) -> None:
        """Merge scores and drops into rows, keeping what other stages wrote there.

        Args:
            table: `captions` (rows that exist) or `marks` (made as needed).
            values: key to (named scores, reason to drop or None to leave `dropped` as it is).
            run_id: written into new marks.
        """
        target: Table = getattr(self, table)
        ids = list(values)
        with self.store.lock("scores.lock", wait=True):  # read, merge, write: one at a time
            rows = {row[target.key]: row for row in plain_rows(target.get(ids, ["scores", "dropped"]))}
            merged = []
            for key in ids:
                old = rows.get(key)
                if old is None and table == "captions":
                    continue
                scores, drop = values[key]
                row = {
                    target.key: key,
                    "scores": {**(old["scores"] if old else {}), **scores},
                    "dropped": drop or (old["dropped"] if old else None),
                }
                merged.append(row if table == "captions" else {**row, "run_id": run_id})
            if table == "captions":
                target.change(merged)
            else:
                target.upsert(merged)

    def mend_kinds(self) -> int:
        """Say of a machine's translations that they are one's, which older versions stored as `human` and `alt`.

        Returns:
            How many there were.
        """
        ids = self.captions.read(["caption_id"], MISTOLD)["caption_id"].to_pylist()
        for start in range(0, len(ids), 65_536):
            some = ids[start : start + 65_536]
            self.captions.change([{"caption_id": one, "kind": machine_kind("human")} for one in some])
        return len(ids)

    # -- reading for people ----------------------------------------------------------------------------------------

    def dropped_images(self) -> set[str]:
        """Return the ids of the images that are dropped."""
        return set(self.marks.read(["image_id"], "dropped is not null")["image_id"].to_pylist())

    def caption_rows(self, image_ids: Iterable[str], where: str | None = "dropped is null") -> dict[str, CaptionRows]:
        """Read the captions of some images, in order of caption id, as rows that become `Caption`s when looked at."""
        ids = list(dict.fromkeys(image_ids))
        found = {image: CaptionRows() for image in ids}
        for start in range(0, len(ids), 500):
            condition = sql_in("image_id", ids[start : start + 500]) + (f" and ({where})" if where else "")
            rows = self.captions.read(where=condition).sort_by([("image_id", "ascending"), ("caption_id", "ascending")])
            found |= CaptionRows.each(rows)
        return found

    def captions_of(self, image_ids: Iterable[str], where: str | None = "dropped is null") -> dict[str, list[Caption]]:
        """Read the captions of some images, in order of caption id."""
        ids = list(dict.fromkeys(image_ids))
        found: dict[str, list[Caption]] = {image: [] for image in ids}
        for start in range(0, len(ids), 500):
            condition = sql_in("image_id", ids[start : start + 500]) + (f" and ({where})" if where else "")
            for row in plain_rows(self.captions.read(where=condition)):
                found[row["image_id"]].append(caption_from_row(row))
        for captions in found.values():
            captions.sort(key=lambda caption: caption.caption_id)
        return found


def _file_name(name: str) -> str:
    """A name as a folder name: readable, no separators, no escapes.

    >>> _file_name("hf:org/model?x=1")
    'hf_org_model_x_1'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "_"


def _manifest(facts: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(facts, indent=1)}\n".encode()


def is_dataset(address: object) -> bool:
    """Say whether a dataset lies at what may be an address, and may as well be a source of any other kind."""
    try:
        return open_store(address).has(MANIFEST)  # type: ignore[arg-type]
    except (UserError, OSError, ValueError):
        return False


def create_dataset(address: Address) -> Dataset:
    """Open the dataset at `address`, a path or a URI, creating it if nothing is there.

    Raises:
        UserError: something else is there, or a dataset of a newer Panoglot, or a URI that is not supported.
    """
    store = open_store(address)
    if store.has(MANIFEST):
        return open_dataset(store)
    store.make()
    if set(store.names()) - {"writers.lock"}:
        raise UserError(f"{store.address} is not empty and not a Panoglot dataset; give another output folder.")
    from panoglot._version import __version__

    facts = {"schema_version": SCHEMA_VERSION, "created_by": f"panoglot {__version__}"}
    store.write(MANIFEST, _manifest(facts), new=True)  # two runs at once: the first one's stands
    return open_dataset(store)


def open_dataset(address: Address | Dataset) -> Dataset:
    """Open a dataset by its path or URI (one that is open already is returned as it is).

    Raises:
        UserError: nothing there, not a dataset, or written by a newer Panoglot, or a URI that is not supported.
    """
    if isinstance(address, Dataset):
        return address
    store = open_store(address)
    place = store.address
    if not store.exists():
        near = did_you_mean(Dataset(store).name, store.beside())
        raise UserError(f"there is no dataset at {place}.{near} Make one: {command('build', 'PICTURES', '-o', place)}")
    if refused := store.refused():
        raise UserError(f"no permission to read {refused}.")
    try:
        manifest = json.loads(store.read(MANIFEST))
        version = int(manifest["schema_version"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{place} is not a Panoglot dataset (no readable {MANIFEST} in it).") from None
    if version < SCHEMA_VERSION:
        raise UserError(
            f"{place} was written by an older Panoglot (schema version {version}, now {SCHEMA_VERSION}). "
            f"Make it anew: panoglot build SOURCE -o NEW.pano"
        )
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{place} has schema version {version}, this Panoglot knows up to {SCHEMA_VERSION}: "
            f"pip install --upgrade panoglot"
        )
    return Dataset(store)
