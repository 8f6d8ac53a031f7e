"""The raw text and K sentences of the machine's captions (DreamLIP)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from panoglot.errors import UserError
from panoglot.networks._records import Record, Text
from panoglot.networks.samplers._draw import Draw
from panoglot.networks.samplers._sample import Sample
from panoglot.text import split_sentences

__all__ = ["Sentences", "split_sentences"]


@dataclass(frozen=True)
class Sentences:
    """Slot 0 is the raw text; slots 1 … k are sentences of the other texts, drawn without repetition.

    With fewer sentences than k they repeat; without any, the slots stay empty. Every sentence, the last included, is as
    likely as any other.

    Attributes:
        k: sentences a step (`num_text`).
        merge: consecutive sentences joined in one draw.
        sources: which writers' texts are split; empty is all.
        splitter: text → sentences.
    """

    shows_parts = True  # stored vectors are of whole texts

    k: int = 6
    merge: int = 1
    sources: Sequence[str] = ()
    splitter: Callable[[str], list[str]] = split_sentences

    def __post_init__(self) -> None:
        if self.k < 0 or self.merge < 1:
            raise UserError(f"sentences: k={self.k} must be at least 0 and merge={self.merge} at least 1.")

    def items(self, record: Record) -> int:
        """1 when there is any text."""
        return int(bool(record.texts))

    def lacks(self, records: Iterable[Record]) -> str:
        """Return that no record has a text whose sentences could be drawn, and how to get one; '': some have."""
        if not self.k or any(
            t.kind != "raw" and (not self.sources or t.source in self.sources) for r in records for t in r.texts
        ):
            return ""
        return "long captions whose sentences it draws: panoglot build X.pano --captioner MODEL --kind dense"

    def pool(self, record: Record) -> list[Text]:
        """Return what is drawn from: runs of `merge` sentences."""
        out = []
        for t in record.texts:
            if t.kind == "raw" or (self.sources and t.source not in self.sources):
                continue
            parts = self.splitter(t.text)
            for i in range(max(1, len(parts) - self.merge + 1) if parts else 0):
                out.append(Text(" ".join(parts[i : i + self.merge]), t.kind, t.lang, t.source))
        return out

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Draw."""
        raw = next((t for t in record.texts if t.kind == "raw"), None)
        pool = self.pool(record)
        drawn = Draw(seed, epoch, record.id, "sentences").sample(pool, self.k) if pool and self.k else []
        slots: list[Text | None] = [raw, *drawn, *[None] * (self.k - len(drawn))]
        return Sample(slots, lang=next((t.lang for t in slots if t), "und"), fallback=raw is None)
