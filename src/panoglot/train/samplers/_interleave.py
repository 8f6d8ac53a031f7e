"""Images with their sentences out of a document (COSMO)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from panoglot.train.samplers._draw import Draw
from panoglot.train.samplers._sample import Sample

__all__ = ["Document", "Interleave"]


@dataclass(frozen=True, slots=True)
class Document:
    """An interleaved document.

    Attributes:
        id: stable identity.
        images: the pictures; None is one that could not be had: it goes, and its placeholder with it.
        sentences: in reading order.
        match: (sentence index, image index, similarity).
        lang: of the text.
    """

    id: str
    images: Sequence[object]
    sentences: Sequence[str]
    match: Sequence[tuple[int, int, float]]
    lang: str = "und"


@dataclass(frozen=True)
class Interleave:
    """Up to `max_images` images, each followed by the sentences that match it, within `max_tokens`.

    Attributes:
        max_images: images a sample.
        max_tokens: tokens a sample, placeholders not counted; a sentence is taken whole or not at all.
        min_similarity: weaker assignments are forgotten.
        count: text → tokens; None counts characters over four.
    """

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
        return int(bool(self._by_image(record)))

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
