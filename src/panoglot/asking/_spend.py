"""What was paid, counted once whatever ends the run: a record beside every answer, written in the same breath.

Its key begins with eight bytes of the run, so the journal's indexes find a run's records without reading the others.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from panoglot.asking import Sealed, read_record, scan
from panoglot.storage import open_store

if TYPE_CHECKING:
    from panoglot.storage import Address, Store

__all__ = ["Account", "Spent", "paid_by_stage"]


@dataclass(slots=True)
class Spent:
    """What an item cost.

    Attributes:
        seconds: busy seconds of models, shared evenly by the items of a batch.
        tokens_in: tokens read.
        tokens_out: tokens written.
        price: US dollars; None when a model's price is not known.
        asked: questions that a model really answered.
        recalled: questions that the journal answered.
        was: US dollars that those answers cost when they were asked; None when a price is not known.
    """

    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    price: float | None = 0.0
    asked: int = 0
    recalled: int = 0
    was: float | None = 0.0

    def add(self, other: Spent) -> None:
        """Add another's to this."""
        self.seconds += other.seconds
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.price = None if self.price is None or other.price is None else self.price + other.price
        self.asked += other.asked
        self.recalled += other.recalled
        self.was = None if self.was is None or other.was is None else self.was + other.was


class _Record(msgspec.Struct, array_like=True):
    stage: str
    tokens_in: int
    tokens_out: int
    price: float | None


@dataclass(frozen=True)
class Account:
    """Whom an answer is paid by.

    Attributes:
        run: the run's id.
        stage: `name-fingerprint` of the stage.

    >>> key, value = next(iter(Account("run", "caption.describe-1").entry(100, 8, 0.5).items()))
    >>> len(key), value
    (32, b'["caption.describe-1",100,8,0.5]')
    """

    run: str
    stage: str

    def entry(self, tokens_in: int | None, tokens_out: int | None, price: float | None) -> dict[str, bytes]:
        """Return the record of an answer, as the journal takes it."""
        record = _Record(self.stage, tokens_in or 0, tokens_out or 0, price)
        return {(_prefix(self.run) + secrets.token_bytes(8)).hex(): msgspec.json.encode(record)}


def _prefix(run: str) -> bytes:
    return hashlib.sha256(b"paid by " + run.encode()).digest()[:8]


def paid_by_stage(journal: Address, run: str) -> dict[str, Spent]:
    """Return what the answers of a run cost, by stage; reads only.

    Args:
        journal: where the journal lies.
        run: the run's id.
    """
    prefix = _prefix(run)
    records: dict[bytes, bytes] = {}  # by key: while segments are merged a record is there twice
    store = open_store(journal)
    names = set(store.names())
    for name in sorted(one.removesuffix(".seg") for one in names if one.endswith(".seg")):
        try:
            records.update(_in_segment(store, name, prefix, indexed=f"{name}.idx" in names))
        except OSError:
            continue  # merged into another, which is read too
    found: dict[str, Spent] = {}
    for raw in records.values():
        try:
            one = msgspec.json.decode(raw, type=_Record)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        found.setdefault(one.stage, Spent()).add(
            Spent(tokens_in=one.tokens_in, tokens_out=one.tokens_out, price=one.price, asked=1)
        )
    return found


def _in_segment(store: Store, name: str, prefix: bytes, *, indexed: bool) -> dict[bytes, bytes]:
    if indexed:
        return dict(Sealed(store, name).starting(prefix))
    keys: list[tuple[bytes, int]] = []
    with store.open(f"{name}.seg", 1 << 20) as file:  # its writer lives, or was killed
        scan(file, 0, file.seek(0, 2), keys)
        records = [read_record(file, at) for key, at in keys if key.startswith(prefix)]
    return {record[0]: record[1] for record in records if record is not None}
