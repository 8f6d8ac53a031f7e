"""What a search found: images with their score, its parts and their captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError
from panoglot.languages import canonical_language, matches
from panoglot.pictures import Image
from panoglot.retrieval._indexing import TELLING
from panoglot.retrieval._notebook import page_of_hits
from panoglot.table import Caption, Dataset, Said, picture_name, picture_names, said_of

if TYPE_CHECKING:
    import pyarrow as pa

    from panoglot.retrieval._records import Plan, Query

__all__ = ["Hit", "Hits", "Records"]


@dataclass(slots=True)
class Hit:
    """An image that was found. A notebook shows its picture and texts.

    Attributes:
        image_id: which.
        score: of one part its own (a cosine, BM25); of several the sum of their shares, at most 1.
        uri: where it came from.
        captions: its kept captions, those of the language and kind that were asked for, in order of id: `text` and
            `told` say which to show first.
        dataset: where it was found.
        parts: which parts found it: `lexical`, `caption`, `picture` to `score` (its share), `rank`, `value` (its own
            score), and what it saw: `words` and `caption`, or `terms`.
        verdicts: whether each proposition of the plan holds, where a verifier looked.
    """

    image_id: str
    score: float
    uri: str = ""
    captions: Sequence[Caption] = ()
    dataset: Dataset | None = field(default=None, repr=False, compare=False)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict, compare=False)
    verdicts: list[bool] | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        captions = [asdict(caption) for caption in self.captions]
        found = {"image_id": self.image_id, "score": self.score, "uri": self.uri, "captions": captions}
        more = {"parts": self.parts} if self.parts else {}
        return {**found, **more} | ({} if self.verdicts is None else {"verdicts": self.verdicts})

    @property
    def name(self) -> str:
        """What people call it: the name of its file, that which its row gives it, else table and row."""
        if self.dataset is not None and "#" in self.uri:
            return picture_names(self.dataset, [self.image_id]).get(self.image_id, "") or self.image_id[:12]
        return picture_name(self.uri, None) or self.image_id[:12]

    @property
    def text(self) -> str:
        """What the caption to show first says (see `told`); empty without one."""
        return next((said.text for said in self.told()), "")

    def told(self, lang: str = "und") -> list[Said]:
        """What its captions say, without measurements, the one to show first.

        That is the one whose words were found, else one in a language (of a person before a machine), else the most
        telling.

        Args:
            lang: the language, as a tag; `und` for none.
        """
        found = self.parts.get("lexical", {}).get("caption")
        wanted = canonical_language(lang) if lang != "und" else ""

        def rank(caption: Said) -> tuple[Any, ...]:
            spoken = bool(wanted) and (matches(wanted, caption.lang) or matches(caption.lang, wanted))
            kind = TELLING.index(caption.kind) if caption.kind in TELLING else len(TELLING)
            by_machine = caption.kind not in ("human", "alt")
            english = not matches("en", caption.lang)
            return caption.text != found, not spoken, by_machine, kind, english, caption.caption_id

        return sorted((caption for caption in said_of(self.captions) if caption.kind != "fact"), key=rank)

    def picture(self) -> Image:
        """Read the picture.

        Raises:
            UserError: the hit comes from no dataset, or the image is not there any more.
        """
        rows = self.dataset.images.get([self.image_id], ["data", "uri"]).to_pylist() if self.dataset else []
        if not rows:
            raise UserError(f"there is no picture {self.image_id} to read.")
        return Image(rows[0]["data"], id=self.image_id, uri=rows[0]["uri"] or "")

    def _repr_html_(self) -> str:
        return Hits([self])._repr_html_()


class Hits(list[Hit]):
    """Hits, best first. A notebook shows the pictures with their texts.

    Attributes:
        notes: what is worth saying about how they were found, as lines.
        plan: what was looked for; edited, it can be given to another search.
        query: what was asked.
        stages: ids after each stage: `search`, `rerank`, `verify`, `judge`.
    """

    def __init__(self, hits: Iterable[Hit] = ()) -> None:
        super().__init__(hits)
        self.notes: list[str] = []
        self.plan: Plan | None = None
        self.query: Query | None = None
        self.stages: dict[str, list[str]] = {}

    @property
    def lang(self) -> str:
        """The language of the query: as it was said, else that of most captions whose words were found; else `und`."""
        if self.query is not None and self.query.lang != "und":
            return self.query.lang
        found = Counter(part["lang"] for hit in self if (part := hit.parts.get("lexical")) and part.get("lang"))
        return found.most_common(1)[0][0] if found else "und"

    def to_arrow(self) -> pa.Table:
        """Return a table: image_id, score, uri, text and lang of the caption to show first, the value of each part."""
        import pyarrow as pa

        first = [next(iter(hit.told(self.lang)), None) for hit in self]
        names = dict.fromkeys(name for hit in self for name in hit.parts)
        rows = {
            "image_id": pa.array([hit.image_id for hit in self], pa.string()),
            "score": pa.array([hit.score for hit in self], pa.float64()),
            "uri": pa.array([hit.uri for hit in self], pa.string()),
            "text": pa.array([one.text if one else None for one in first], pa.string()),
            "lang": pa.array([one.lang if one else None for one in first], pa.string()),
        }
        for name in names:
            rows[name] = pa.array([hit.parts.get(name, {}).get("value") for hit in self], pa.float64())
        return pa.table(rows)

    def to_pandas(self) -> Any:
        """Return them as a table of pandas."""
        return self.to_arrow().to_pandas()

    def _repr_html_(self) -> str:
        return page_of_hits(self)


@dataclass
class Records:
    """The records of the captions of some images, read at the first look at any."""

    dataset: Dataset
    images: tuple[str, ...]
    where: str
    found: dict[str, Caption] | None = None

    def __call__(self) -> dict[str, Caption]:
        if self.found is None:
            rows = self.dataset.caption_rows(self.images, self.where)
            self.found = {caption.caption_id: caption for some in rows.values() for caption in some}
        return self.found
