"""Samplers of whole texts: one, a coin, each in turn, a language, stored vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from panoglot.errors import UserError
from panoglot.identity import Named, marked
from panoglot.networks._records import Record, Text
from panoglot.networks.samplers._draw import Draw
from panoglot.networks.samplers._sample import Sample, matching, named

__all__ = ["Coin", "Each", "One", "Translation", "Vectors"]


@dataclass(frozen=True)
class One:
    """The first text of the wanted kinds, sources, languages (CLIP, ALIGN, SyCoCa, Croc)."""

    always_the_same = True  # of several texts of a picture one is ever shown

    kinds: Sequence[str] = ()
    sources: Sequence[str] = ()
    lang: Sequence[str] = field(default=(), metadata=marked(Named("langs")))

    def items(self, record: Record) -> int:
        """1 when there is such a text."""
        return int(bool(matching(record, self.kinds, self.sources, self.lang)))

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return it."""
        text = matching(record, self.kinds, self.sources, self.lang)[0]
        return Sample([text], lang=text.lang)


@dataclass(frozen=True)
class Coin:
    """The raw text with probability `p`, else one of the machine's, tossed anew every epoch (GRAIN, VeCLIP).

    A translation is on the side of what it translates: the sides differ in who saw the picture, not in language. With
    one side missing the other is taken.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise UserError(f"coin: p={self.p} must be in 0..1.")

    def items(self, record: Record) -> int:
        """1 when there is any text."""
        return int(bool(record.texts))

    def lacks(self, records: Iterable[Record]) -> str:
        """Return which side of the coin no record has, and how to get it; '': each has some, or is never tossed."""
        raw, machine = self.p == 0, self.p == 1
        for r in records:
            sides = [_original(r, t).kind == "raw" for t in r.texts]
            raw, machine = raw or any(sides), machine or not all(sides)
            if raw and machine:
                return ""
        if machine:
            return "raw texts (what the pictures came with): --set sampler.p=0, or ingest them with their texts."
        return "captions by a machine: panoglot build X.pano --captioner MODEL, or --set sampler.p=1"

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Toss."""
        draw = Draw(seed, epoch, record.id, "coin")
        raw = [t for t in record.texts if _original(record, t).kind == "raw"]
        machine = [t for t in record.texts if _original(record, t).kind != "raw"]
        heads = draw.number() < self.p
        side = raw if heads else machine
        text = draw.choice(side or raw or machine)
        return Sample([text], lang=text.lang, fallback=not side)


def _original(record: Record, text: Text) -> Text:
    """Follow translations to what they translate."""
    for _ in record.texts:  # at most once each: translations of one another end somewhere
        if text.of is None:
            break
        text = record.texts[text.of]
    return text


@dataclass(frozen=True)
class Each:
    """Every text of a record is an item of every epoch (char-GRU). Equal `pair_id`s keep them from being negatives."""

    kinds: Sequence[str] = ()
    sources: Sequence[str] = ()
    lang: Sequence[str] = field(default=(), metadata=marked(Named("langs")))

    def items(self, record: Record) -> int:
        """As many as there are texts."""
        return len(matching(record, self.kinds, self.sources, self.lang))

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Return the item-th text."""
        text = matching(record, self.kinds, self.sources, self.lang)[item]
        return Sample([text], lang=text.lang)


@dataclass(frozen=True)
class Translation:
    """A caption first (each alike), then one of the languages it exists in (RS-M-CLIP).

    Captions rich in translations are thus not drawn more often than others.

    Attributes:
        weights: language → weight, `zh` stands for `zh-Hans` too; None: all languages of the caption alike. A drawn
            language that the caption lacks is replaced by one that it has and that has weight, else by any (a
            `fallback`).
        captions: captions a step, the slots.
    """

    weights: Mapping[str, float] | None = None
    captions: int = 1

    def _families(self, record: Record) -> list[list[Text]]:
        originals = [i for i, t in enumerate(record.texts) if t.of is None]
        return [[record.texts[i], *(t for t in record.texts if t.of == i)] for i in originals]

    def items(self, record: Record) -> int:
        """1 when there is any text."""
        return int(bool(self._families(record)))

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Draw captions without repetition while there are enough, and a language for each."""
        draw = Draw(seed, epoch, record.id, "translation")
        families = draw.sample(self._families(record), self.captions)
        texts, fallback = [], False
        for family in families:
            by_lang: dict[str, list[Text]] = {}
            for t in family:
                by_lang.setdefault(named(t.lang, self.weights or ()), []).append(t)
            if self.weights is None:
                lang = draw.choice(sorted(by_lang))
            else:
                lang = draw.weighted(self.weights)
                if lang not in by_lang:
                    fallback = True
                    wanted = {w: v for w, v in self.weights.items() if w in by_lang and v > 0}
                    lang = draw.weighted(wanted) if wanted else draw.choice(sorted(by_lang))
            texts.append(draw.choice(by_lang[lang]))
        return Sample(texts, lang=texts[0].lang, fallback=fallback)


@dataclass(frozen=True)
class Vectors:
    """`k` of the record's stored text vectors, all alike, no repetition (FLAME: 6 of 11).

    Attributes:
        k: how many.
        name: which of `record.vectors`, an array [K, D].
    """

    many_vectors = True  # of a text: all of them are drawn from

    k: int = 6
    name: str = "text"

    def items(self, record: Record) -> int:
        """1 when there are stored vectors."""
        return int(self.name in record.vectors and len(record.vectors[self.name]) > 0)

    def __call__(self, record: Record, seed: int, epoch: int, item: int = 0) -> Sample:
        """Draw; a record with fewer than k gives what it has."""
        n = len(record.vectors[self.name])
        return Sample(vectors=Draw(seed, epoch, record.id, "vectors").sample(range(n), min(self.k, n)))
