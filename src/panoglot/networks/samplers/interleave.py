"""Images with their sentences out of a document (COSMO)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from panoglot.identity import Added, Named, marked
from panoglot.networks._records import Record, Text
from panoglot.networks.samplers._draw import Draw
from panoglot.networks.samplers._order import batches, epoch_order, mix, shares
from panoglot.networks.samplers._sample import Sample
from panoglot.networks.samplers.texts import One

__all__ = ["Document", "Interleave", "Loaders"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Document:
    """An interleaved document.

    Attributes:
        id: stable identity.
        images: the pictures; a tuple is the frames of a video; None is one that could not be had: it goes, and its
            placeholder with it.
        sentences: in reading order.
        match: (sentence index, image index, similarity).
        lang: of the text.
        split: `train`, `test`, …
        loader: which loader it comes from; '' is `interleaved`, or `interleaved_video` where a picture is a video.
    """

    id: str
    images: Sequence[object]
    sentences: Sequence[str]
    match: Sequence[tuple[int, int, float]]
    lang: str = "und"
    split: str = "train"
    loader: str = ""

    # what it has in common with a record
    image = None
    pair_id = None
    regions = ()

    @property
    def texts(self) -> list[Text]:
        """Its sentences."""
        return [Text(s, lang=self.lang) for s in self.sentences if s.strip()]

    @property
    def vectors(self) -> dict[str, Any]:
        """It has no stored vectors."""
        return {}


@dataclass(frozen=True)
class Interleave:
    """Up to `max_images` images, each followed by the sentences that match it, within `max_tokens`.

    Attributes:
        max_images: images a sample.
        max_tokens: tokens a sample, placeholders not counted; a sentence is taken whole or not at all.
        min_similarity: weaker assignments are forgotten.
        count: text → tokens; None counts characters over four.
    """

    takes = ("document",)

    max_images: int = 3
    max_tokens: int = 128
    min_similarity: float = 0.24
    count: Callable[[str], int] | None = None

    def _by_image(self, doc: Document) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for sentence, image, similarity in doc.match:
            if similarity >= self.min_similarity and doc.images[image] is not None and doc.sentences[sentence].strip():
                found.setdefault(image, []).append(sentence)
        return found

    def items(self, record: Document) -> int:
        """1 when an image has a sentence."""
        return int(isinstance(record, Document) and bool(self._by_image(record)))

    def __call__(self, record: Document, seed: int, epoch: int, item: int = 0) -> Sample:
        """Draw images; they and their sentences come in the document's order."""
        found = self._by_image(record)
        count = self.count or (lambda text: max(1, len(text) // 4))
        chosen = sorted(
            Draw(seed, epoch, record.id, "interleave").sample(sorted(found), min(self.max_images, len(found)))
        )
        left, chunks = self.max_tokens, []
        for image in chosen:
            texts = []
            for s in sorted(found[image]):
                need = count(record.sentences[s])
                if need <= left:
                    texts.append(record.sentences[s])
                    left -= need
            if texts:
                chunks.append((image, tuple(texts)))
        return Sample(lang=record.lang, chunks=tuple(chunks), task="interleaved")


@dataclass(frozen=True)
class Loaders:
    """Pairs and interleaved documents, of pictures and videos; every step is of one loader, chosen by weight (COSMO).

    A record says in `loader` where it comes from: `pair`, `pair_video`, `interleaved`, `interleaved_video`. An epoch
    ends when a loader is used up; last batches that are not full are left out.

    Attributes:
        weights: loader → weight; None: all alike.
        kinds, sources, lang: of the pairs' texts, see `One`.
        max_images, max_tokens, min_similarity, count: of the documents, see `Interleave`.
        frames: of a video, spread evenly over it.
        min_bytes: a picture of a document whose file is smaller, or that has a side of one pixel, goes with its text.
        assign: encoder that says which sentence of a document belongs to which picture, when a dataset is read; '':
            a sentence belongs to the picture before it.
    """

    takes = ("caption", "document", "video")
    #: What `pool` returns.
    pools = ("pair", "pair_video", "interleaved", "interleaved_video")

    weights: Mapping[str, float] | None = None
    kinds: Sequence[str] = ()
    sources: Sequence[str] = ()
    lang: Sequence[str] = field(default=(), metadata=marked(Named("langs")))
    max_images: int = 3
    max_tokens: int = 128
    min_similarity: float = 0.24
    count: Callable[[str], int] | None = None
    frames: int = field(default=3, metadata=marked(Added(3)))
    min_bytes: int = field(default=0, metadata=marked(Added(0)))
    assign: str = field(default="", metadata=marked(Added("")))

    def _of(self, record: Record | Document) -> Any:
        if isinstance(record, Document):
            return Interleave(self.max_images, self.max_tokens, self.min_similarity, self.count)
        return One(self.kinds, self.sources, self.lang)

    def items(self, record: Record | Document) -> int:
        """1 when there is a text for a picture."""
        return int(self._of(record).items(record))

    def __call__(self, record: Record | Document, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return the pair, or images and sentences of the document."""
        sample: Sample = self._of(record)(record, seed, epoch, item)
        return sample if isinstance(record, Document) else Sample(sample.texts, lang=sample.lang, task="pair")

    def pool(self, record: Record | Document, item: int) -> str:
        """Return the loader of an item: a step has items of one."""
        if record.loader or not isinstance(record, Document):
            return record.loader or "pair"
        return "interleaved_video" if any(isinstance(image, tuple) for image in record.images) else "interleaved"

    def steps(self, pools: Mapping[str, Sequence[T]], size: int, seed: int, epoch: int) -> list[list[T]]:
        """Return the steps of an epoch."""
        full = {n: batches(epoch_order(items, seed, epoch), size) for n, items in sorted(pools.items())}
        full = {n: steps for n, steps in full.items() if steps}
        weights = self.weights or dict.fromkeys(full, 1.0)
        share = shares({n: len(steps) for n, steps in full.items()}, weights)
        places = {n: range(len(full[n])) for n in share}
        return [full[n][k] for n, k in mix(places, share, seed, epoch)]
