"""What the parts of the trainer exchange: records (stored), batches (tensors), terms (losses)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError, did_you_mean
from panoglot.geometry import Region
from panoglot.identity import Added, marked
from panoglot.languages._tags import canonical_language
from panoglot.table import Caption

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = [
    "TEXT_KINDS",
    "Batch",
    "Record",
    "RegionText",
    "Term",
    "Text",
    "Turn",
    "record_from_captions",
    "region_text",
    "sum_terms",
]

#: What a text of a record may be.
TEXT_KINDS = ("raw", "short", "long", "translation", "question", "answer", "description")

# a caption's kind in the table -> a text's kind here
_OF_CAPTION = {
    **{"alt": "raw", "human": "raw", "label": "raw", "short": "short", "fact": "short", "ocr": "short"},
    **{"dense": "long", "region": "description", "question": "question", "answer": "answer"},
}


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a record.

    Attributes:
        text: never empty.
        kind: one of `TEXT_KINDS`.
        lang: canonical BCP-47 tag, `und` when unknown.
        source: who wrote it (a field, a model); samplers select by it.
        score: its rank or quality, None when nobody scored it.
        of: for a translation, the index of the text it translates, else None.
    """

    text: str
    kind: str = "raw"
    lang: str = "und"
    source: str = ""
    score: float | None = None
    of: int | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise RowError("empty_text", "a text to train on has no characters")
        if self.kind not in TEXT_KINDS:
            raise UserError(f"'{self.kind}' is not a kind of text.{did_you_mean(self.kind, TEXT_KINDS)}")


@dataclass(frozen=True, slots=True)
class RegionText:
    """A described part of a picture, or of a room.

    Attributes:
        box: (x0, y0, x1, y1) in a frame of `frame` = (width, height) pixels.
        text: what is said of it.
        frame: see `box`; (1, 1): shares of the picture.
        score: a detector's.
        mask: bool [height, width] over the whole picture, at any size, or COCO's compressed run-length string; None:
            the box.
        points: (x, y, inside), shares of the picture.
        box3: (x, y, z, width, depth, height): centre and size in a room.
        aspect: what `text` is about: `colour`, `pose` …; '': everything.
    """

    box: tuple[float, float, float, float]
    text: str
    frame: tuple[float, float] = (1.0, 1.0)
    score: float = 1.0
    mask: Any = field(default=None, metadata=marked(Added(None)))
    points: Sequence[tuple[float, float, bool]] = field(default=(), metadata=marked(Added(())))
    box3: tuple[float, ...] | None = field(default=None, metadata=marked(Added(None)))
    aspect: str = field(default="", metadata=marked(Added("")))

    def centred(self) -> tuple[float, float, float, float] | None:
        """Return (cx, cy, w, h) in 0..1, clipped to the frame; None when nothing of the box is left.

        >>> RegionText((0, 0, 480, 960), "left half", (960, 960)).centred()
        (0.25, 0.5, 0.5, 1.0)
        >>> RegionText((5, 5, 5, 9), "a line", (10, 10)).centred() is None
        True
        """
        w, h = self.frame
        if not (w > 0 and h > 0):
            return None
        x0, x1 = (min(max(v / w, 0.0), 1.0) for v in (self.box[0], self.box[2]))
        y0, y1 = (min(max(v / h, 0.0), 1.0) for v in (self.box[1], self.box[3]))
        if not (x1 > x0 and y1 > y0):  # also refuses NaN
            return None
        return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


@dataclass(frozen=True, slots=True)
class Turn:
    """A piece of a document, in reading order.

    Attributes:
        text: what stands here, or empty.
        picture: index into the record's `pictures`, or None.
        learn: the model is to write it.
        role: who speaks, or empty.
        region: which part of the picture is meant, or None for all of it.
    """

    text: str = ""
    picture: int | None = None
    learn: bool = False
    role: str = ""
    region: RegionText | None = None


@dataclass(slots=True)
class Record:
    """One image with its texts, as the samplers read it.

    Attributes:
        id: stable identity; everything random about the record is a function of (seed, epoch, id).
        image: path, encoded bytes, a function that reads them, or an array [3, H, W] in 0..1; None when only `vectors`
            are used.
        texts: what may be sampled.
        regions: described boxes, if any.
        pair_id: equal for records that are true duplicates of each other; None means its own.
        split: `train`, `test`, …
        vectors: stored features by name, for example `{"image": [D], "text": [K, D]}`; regions of pictures are
            `{"image": [R, D], "boxes": [R, 4], "pictures": [R]}`, boxes (x0, y0, x1, y1) in 0..1; of a composed query
            `others` [T, D] are of its `pictures`.
        loader: which loader it comes from, for samplers that mix loaders, and streams that name loaders.
        pictures: of a document, which its turns point at; of a composed query, what answers it, then what does not; of
            a video (loader `pair_video`) its frames.
        turns: of a document: texts and pictures in reading order.
        asset: what is no picture: an array of points [P, 3 + C], or a function that reads it.
    """

    id: str
    image: str | bytes | np.ndarray | Callable[[], bytes] | None = None
    texts: Sequence[Text] = ()
    regions: Sequence[RegionText] = ()
    pair_id: str | None = None
    split: str = "train"
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)
    loader: str = ""
    pictures: Sequence[str | bytes | np.ndarray | Callable[[], bytes]] = ()
    turns: Sequence[Turn] = ()
    asset: np.ndarray | Callable[[], np.ndarray] | None = None

    def langs(self) -> set[str]:
        """Return the languages of its texts."""
        return {t.lang for t in self.texts}


def region_text(region: Region, text: str, score: float = 1.0) -> RegionText:
    """Return a described region of a place in a dataset, with its mask, its points and its box in a room."""
    room = region.box3
    box3 = None if room is None else (room.x, room.y, room.z, room.width, room.depth, room.height)
    return RegionText(region.box, text, score=score, mask=region.mask, points=region.points, box3=box3)


def record_from_captions(image_id: str, captions: Sequence[Caption], **more: Any) -> Record:
    """Make a record of an image's kept captions (rows of the table); dropped ones are left out.

    A caption whose parent has another language is a translation of that parent.

    >>> r = record_from_captions("7", [Caption("a dog", "en", caption_id="c1"),
    ...                                Caption("ein Hund", "de", parents=["c1"], caption_id="c2"),
    ...                                Caption("x", dropped="too_short")])
    >>> [(t.text, t.kind, t.of) for t in r.texts]
    [('a dog', 'short', None), ('ein Hund', 'translation', 0)]
    """
    kept = [c for c in captions if c.dropped is None and c.text.strip()]
    whole = [c for c in kept if c.region is None]
    place = {c.caption_id: i for i, c in enumerate(whole) if c.caption_id}
    texts = []
    for c in whole:
        parents = [place.get(p if isinstance(p, str) else p.caption_id) for p in c.parents]
        of = next((p for p in parents if p is not None and whole[p].lang != c.lang), None)
        kind = "translation" if of is not None else _OF_CAPTION[c.kind]
        lang = "und" if c.lang == "und" else canonical_language(c.lang)
        texts.append(Text(c.text, kind, lang, c.model or c.recipe, c.scores.get("quality"), of))
    regions = [
        region_text(c.region, c.text, score=c.scores.get("detector") or 1.0) for c in kept if c.region is not None
    ]
    return Record(image_id, texts=texts, regions=regions, **more)


@dataclass(frozen=True, slots=True)
class Term:
    """What a loss returns: a scalar, and how many items it is the mean of (0: the scalar is an exact zero)."""

    value: Tensor
    count: int


def sum_terms(terms: Mapping[str, Term], weights: Mapping[str, float]) -> tuple[Tensor, dict[str, float]]:
    """Return Σ weight·value and the plain figures for the log.

    Raises:
        UserError: a weight names no term, or no term has anything to learn from.
    """
    for name in weights:
        if name not in terms:
            raise UserError(f"No loss is called '{name}'.{did_you_mean(name, terms)}")
    if not any(t.count for t in terms.values()):
        raise UserError("No loss had anything to learn from in this batch: no pairs, no targets, no regions.")
    total = sum(weights.get(n, 1.0) * t.value for n, t in terms.items() if t.count or t.value.requires_grad)
    return total, {n: float(t.value.detach()) for n, t in terms.items()}  # type: ignore[return-value]


@dataclass(slots=True)
class Batch:
    """Tensors of one step; what a row does not use is None. B records, K texts a record, M texts in all.

    Attributes:
        ids: record ids, B of them.
        image: [B, V, 3, H, W], V views, values as the tower wants them; local_image: small views [B, W, 3, h, w].
        image_vec: [B, Dv] stored image features.
        tokens, token_mask: [B, K, L] ids and bool.
        slot_mask: [B, K] bool: which texts exist.
        text_vec: [B, K, Dt] stored text features.
        owner: [M] record index of each flattened text, in the order of `slot_mask.nonzero()`.
        pair_id: [B] equal for duplicates.
        lang: B lists of K tags.
        texts: B lists of K texts, '' where there is none.
        boxes: [B, R, 4] cx, cy, w, h in 0..1; region_tokens, region_token_mask [B, R, L]; region_mask [B, R];
            region_lang, B tags.
        given, given_mask: [B, L] what a language model reads, -1 where a picture stands; written: [B, Lt] what a
            decoder beside an encoder writes; target: [B, L or Lt] its token ids, -100 where nothing is learnt.
        picture_mask: [B, V] which pictures of an interleaved document exist; None: all.
        frames: [B, T] how many of the pictures, in order, are frames of each of T videos; None: each is one of its own.
        vec_mask, vec_boxes, vec_picture: of stored regions [B, R, Dv]: which exist, their boxes [B, R, 4] (x0, y0,
            x1, y1 in 0..1), and the index of their picture.
        quality: [B, K] what people thought of each text; NaN: nothing.
        masks: [B, R, S, S] bool of the regions; boxes3: [B, R, 6] centre and size in a room.
        asked_boxes, asked_mask: [B, R, 4] and [B, R]: regions that a writer is asked about.
        others, others_mask: [B, T, 3, H, W] further pictures (what answers a composed query), [B, T] which exist.
        others_vec: [B, T, Dv] the same as stored features.
        inputs: what further towers read, by name.
        targets: what losses have collated for themselves, by name.
        streams: of a step that mixes streams: name → its batch; everything else is in those.
        lost: regions that a view left nothing, or too little, of.
        seed: function of the run's seed and the epoch, for what is random in a loss.
        task: name of the task, empty when there is one.
    """

    ids: Sequence[str] = ()
    image: Tensor | None = None
    local_image: Tensor | None = None
    image_vec: Tensor | None = None
    tokens: Tensor | None = None
    token_mask: Tensor | None = None
    slot_mask: Tensor | None = None
    text_vec: Tensor | None = None
    pair_id: Tensor | None = None
    lang: Sequence[Sequence[str]] = ()
    texts: Sequence[Sequence[str]] = ()
    boxes: Tensor | None = None
    region_tokens: Tensor | None = None
    region_token_mask: Tensor | None = None
    region_mask: Tensor | None = None
    region_lang: Sequence[str] = ()
    target: Tensor | None = None
    given: Tensor | None = None
    given_mask: Tensor | None = None
    written: Tensor | None = None
    picture_mask: Tensor | None = None
    frames: Tensor | None = None
    vec_mask: Tensor | None = None
    vec_boxes: Tensor | None = None
    vec_picture: Tensor | None = None
    quality: Tensor | None = None
    masks: Tensor | None = None
    boxes3: Tensor | None = None
    asked_boxes: Tensor | None = None
    asked_mask: Tensor | None = None
    others: Tensor | None = None
    others_mask: Tensor | None = None
    others_vec: Tensor | None = None
    inputs: dict[str, Tensor] = field(default_factory=dict)
    targets: dict[str, Tensor] = field(default_factory=dict)
    streams: dict[str, Batch] = field(default_factory=dict)
    lost: int = 0
    seed: int = 0
    task: str = ""

    @property
    def owner(self) -> Tensor:
        """[M] record index of each text that exists."""
        if self.slot_mask is None:
            raise UserError("This batch has no texts.")
        return self.slot_mask.nonzero()[:, 0]

    @property
    def slot(self) -> Tensor:
        """[M] slot index of each text that exists."""
        if self.slot_mask is None:
            raise UserError("This batch has no texts.")
        return self.slot_mask.nonzero()[:, 1]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: Any) -> Batch:
        """Return a copy with every tensor on `device`."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        named: dict[str, Any] = {
            k: {n: x.to(device) for n, x in v.items()} for k, v in moved.items() if isinstance(v, dict)
        }
        return replace(self, **{k: v.to(device) for k, v in moved.items() if hasattr(v, "to")}, **named)

    def check(self) -> Batch:
        """Return self when the shapes agree.

        Raises:
            UserError: a tensor disagrees with the number of records or with its mask; stored vectors are not finite.
        """
        b = len(self.ids)
        for f in fields(self):
            value = getattr(self, f.name)
            named = value if isinstance(value, dict) and f.name != "streams" else {"": value}
            for key, one in named.items():
                if hasattr(one, "shape") and one.shape[0] != b:
                    name = f"{f.name}[{key}]" if key else f.name
                    raise UserError(f"Batch.{name} has {one.shape[0]} rows, but the batch has {b} records.")
        for name, mask in (("tokens", "token_mask"), ("region_tokens", "region_token_mask")):
            x, m = getattr(self, name), getattr(self, mask)
            if x is not None and (m is None or m.shape != x.shape):
                raise UserError(f"Batch.{mask} must have the shape of {name}, {tuple(x.shape)}.")
        return self
