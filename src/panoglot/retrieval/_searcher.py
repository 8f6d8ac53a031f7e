"""The searcher: a query to a plan, its terms to vectors, scores, filters, looks at the best; one way for everybody."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from panoglot.checks import several
from panoglot.errors import RowError, UserError, did_you_mean
from panoglot.languages import canonical_language, meeting
from panoglot.pictures import Image
from panoglot.providers import Memory
from panoglot.retrieval._composer import compose
from panoglot.retrieval._emoji import read_emoji
from panoglot.retrieval._filter import Allowed, Filters, distinct
from panoglot.retrieval._folding import matched, words_of
from panoglot.retrieval._fusion import PARTS, fuse, part_names, part_weights
from panoglot.retrieval._gallery import Gallery, Ranked
from panoglot.retrieval._hits import Hit, Hits, Records
from panoglot.retrieval._lexical import Lexicon
from panoglot.retrieval._looking import looked
from panoglot.retrieval._notes import Note
from panoglot.retrieval._passages import check_parts, passages_of
from panoglot.retrieval._pictures import open_picture
from panoglot.retrieval._planning import Askers, make_plan, model_names
from panoglot.retrieval._query import choose, loaded_encoder, named_image, no_vectors_of_captions, stored_vector
from panoglot.retrieval._reasons import (
    narrowed,
    no_such_kind,
    not_encoded,
    only_dropped,
    only_left_out,
    together,
    unheard,
)
from panoglot.retrieval._records import Plan, Query, QueryPart, Term, product_part, read_plan
from panoglot.retrieval._scorer import texts_only
from panoglot.retrieval._syntax import Typed, says_nothing, typed
from panoglot.retrieval._uris import Uris
from panoglot.retrieval._weak import made_up, missing_words, only_texts, share_said
from panoglot.retrieval._where import images_where, read_where
from panoglot.table import CaptionRows, Dataset, open_dataset
from panoglot.vectors import stamp

if TYPE_CHECKING:
    import numpy as np

__all__ = ["OVER", "Searcher"]

OVER = ("images", "captions", "both")
#: How deep each part is asked, at least.
DEPTH = 100
#: Bytes that the vectors of the latest texts may take, some thousand of them.
QUERIES = 8 * 2**20
#: Weight of what was typed with a minus, where there are no captions to look it up in.
WITHOUT = 0.2


@dataclass
class _Run:
    """One search under way."""

    query: Query
    said: Typed
    plan: Plan
    filters: Filters
    notes: list[str] = field(default_factory=list)
    said_most: str | None = None  # the caption that has most of the words


class Searcher:
    """Search kept open: model and vectors stay in memory, and commits to the dataset are seen at the next query.

        searcher = Searcher("photos.pano")
        searcher.search("ein rotes Känguru", lang="de")

    Safe to use from several threads for vectors that do not change meanwhile; a server refreshes between requests.
    """

    def __init__(
        self,
        dataset: Dataset | str | os.PathLike[str],
        encoder: Any = None,
        *,
        backend: str = "auto",
        model: Sequence[str] | Mapping[str, Any] = (),
        prices: str | None = None,
        max_cost: float | None = None,
        files: bool = True,
    ) -> None:
        """Open.

        Args:
            dataset: a dataset, or its path.
            encoder: a model, its name, or a name of vectors; None for those that the dataset is set to (see
                `panoglot settings`), at first those that were made first.
            backend: `exact`, `index`, or `auto`: exact up to a million vectors, then the index.
            model: models of planners, `alias=provider:name` or a mapping.
            prices: file of prices.
            max_cost: most US dollars that the planners' models may cost.
            files: pictures of queries may be paths; False (a server) takes only images of the dataset and `Image`s.

        Raises:
            UserError: no vectors, none of that encoder, an unknown backend.
        """
        self.dataset = open_dataset(dataset)
        self.lexicon = Lexicon(self.dataset)
        self._allowed, self._uris = Allowed(self.dataset), Uris(self.dataset)
        self._files = files
        self._asked = Memory(QUERIES)
        self.askers = Askers(model_names(model), self.dataset.journal, prices, max_cost)
        self.gallery: Gallery | None = None
        self._model: Any = None
        self.passages = passages_of(self.dataset, encoder)
        if self.passages is not None:
            self.name = self.passages.encoder.name
        elif encoder is None and not self.dataset.vector_names() and self.dataset.captions.count("dropped is null"):
            self.name = ""  # words can be found without any vector
        else:
            self.name, self._model = choose(self.dataset, encoder)
            self.gallery = Gallery(self.dataset, self.name, self._allowed, backend)

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the vectors go."""
        self.gallery = None

    @property
    def _vectors(self) -> Any:
        return self.gallery._vectors if self.gallery else None

    def nearest(self, query: np.ndarray, k: int = 10, **filters: Any) -> list[tuple[str, float]]:
        """Find the images nearest to a unit vector; see `Gallery.nearest`."""
        return self.gallery.nearest(query, k, **filters) if self.gallery else []

    def languages_met(self, lang: str | Sequence[str]) -> list[str]:
        """Say what languages met, as lines: other tags that it took in, near ones that it did not, or nothing."""
        return meeting([*map(canonical_language, several(lang))], self._allowed.languages())[1]

    def search(
        self,
        text: str | None = None,
        *,
        image: Any = None,
        product: Sequence[Any] = (),
        query: Query | None = None,
        lang: str | Sequence[str] = (),
        kinds: str | Sequence[str] = (),
        where: str | None = None,
        k: int = 10,
        weight: float | None = None,
        over: str = "images",
        parts: str | Sequence[str] | None = None,
        weights: Mapping[str, float] | None = None,
        preset: str = "auto",
        options: Mapping[str, Any] | None = None,
        plan: Any = None,
        min_score: float | None = None,
    ) -> Hits:
        """Find images; see `panoglot.search`."""
        self.dataset.check_there()
        self.askers.begin()
        if over not in OVER:
            raise UserError(f"over='{over}'.{did_you_mean(over, OVER)}")
        made = read_plan(plan) if plan is not None else None
        if made is not None and text is None and image is None and not product and query is None:
            query = made.query(k)
        text, notes = read_emoji(text, self.lexicon) if text is not None else (None, [])
        asked, said = self._read(text, image, product, query, k)
        if weight is not None and not 0 <= weight <= 1:
            raise UserError(f"weight={weight} must be between 0 (only the image) and 1 (only the text).")
        if min_score is not None and not math.isfinite(min_score):
            raise UserError(f"min_score={min_score} must be a number.")
        lang, kinds = several(lang), several(kinds)
        shown = self._allowed.where(lang, kinds)
        if said.text and says_nothing(said.text) and not asked.images and not asked.products:
            return self._nothing(asked, Note("marks alone are nothing to look for.", "marks_alone"))
        if made is None:
            made = self._plan(asked, said, preset, weight, options)
        elif asked.text and not asked.images and not set(words_of(said.text)) <= set(words_of(made.query(k).text)):
            said_so = "the plan is searched as it stands; of the text beside it only +words, -words and phrases count."
            notes.append(Note(said_so, "plan_as_it_stands"))
        run = _Run(asked, said, made, Filters(lang, kinds, over, self._within(asked, said, where, notes)), notes)
        chosen = self._parts(run, parts, explicit=weight is not None)
        ranked = self._ranked(run, chosen, max(DEPTH, 4 * asked.top, made.verify, made.judge, made.rerank))
        weighed = part_weights(weights, chosen)
        words, narrow = words_of(said.text), narrowed(said, lang, kinds, where)
        if "lexical" in ranked:
            run.notes += together(self.lexicon, said.phrases, others=any(ranked.values()))
        if words and only_texts(run.plan, asked) and not said.must and "lexical" in ranked:
            missing = missing_words(self.lexicon, words, run.said_most)
            has = share_said(words, missing)
            run.notes += only_left_out(self.lexicon, words, missing, run.said_most, narrow, run.filters, self._allowed)
            if has < 0.5:
                run.notes += only_dropped(self.dataset, self._allowed, missing)
                empty, weak = made_up(self.dataset, self.name, self._model, self.lexicon, missing, ranked)
                if empty:
                    return self._nothing(asked, empty, run)
                run.notes += [weak] if weak else []
            weighed["lexical"] *= has or 1.0
        heard = self.gallery.heard(lang, kinds) if self.gallery and "caption" in ranked else None
        found = fuse(ranked, weighed, unheard(ranked, heard, whole=_says_all(run, run.said_most)))
        if min_score is not None:
            found = self._above(run, found, min_score)
        hits = self._hits(run, found, shown)
        hits.notes += no_such_kind(self.dataset, self._allowed, lang, kinds)
        if not hits and narrow and not hits.notes:
            line = f"no picture fits {', '.join(narrow)}{' together' if len(narrow) > 1 else ''}."
            hits.notes.append(Note(line, "nothing_fits", by=narrow))
        if heard is not None and self.gallery and not lang and not kinds:
            hits.notes += not_encoded(self.dataset, self.gallery.not_encoded())
        if lang:
            hits.notes += self.languages_met(lang)
        return hits

    # -- query and plan ------------------------------------------------------------------------------------------------

    def _read(
        self, text: str | None, image: Any, product: Sequence[Any], query: Query | None, k: int
    ) -> tuple[Query, Typed]:
        """The query as a record, and what was typed into its text."""
        if query is not None:
            if text is not None or image is not None or product:
                raise UserError("give a query, or a text and pictures, not both.")
            parts = [typed(p.value) for p in query.parts if p.kind == "text" and p.role == "instruction"]
            joined = Typed(
                query.text, *(tuple(w for p in parts for w in getattr(p, n)) for n in ("must", "must_not", "phrases"))
            )
            return query, joined
        if text is not None and not text.strip():
            raise UserError("the text to search for is empty.")
        said = typed(text) if text is not None else Typed("")
        made = [QueryPart("image", image)] if image is not None else []
        made += [product_part(one) for one in product]
        if said.text:
            made.append(QueryPart("text", said.text))
        if not made and said.must_not:
            raise UserError(f"say too what to look for: nothing but what must not be there ({said.must_not[0]}).")
        return Query(tuple(made), top=k), said

    def _plan(
        self, query: Query, said: Typed, preset: str, weight: float | None, options: Mapping[str, Any] | None
    ) -> Plan:
        texts = [p for p in query.parts if p.kind == "text"]
        if preset == "auto" and weight is not None and query.images and texts:
            terms = [Term("text", p.value, weight, "query") for p in texts]
            terms += [Term("image", value, 1 - weight, "query") for value in query.images]
            return Plan(tuple(terms), explain=(f"{weight:g} of the text, the rest of the picture",))
        if preset == "auto":
            composed = bool(query.images and texts)
            preset = "conditions" if query.products else "identity"
            if composed and not query.products:
                preset = "learned" if self._composes() else "rules"
        plan = make_plan(query, preset, self.askers, options=options, look=self._reference)
        if said.must_not and not self._has_captions():
            each = WITHOUT / len(said.must_not)
            more = tuple(Term("text", word, each, "typed with a minus") for word in said.must_not)
            plan = replace(plan, negatives=(*plan.negatives, *more))
        return plan

    def _composes(self) -> bool:
        """Whether the encoder was trained to read a picture and a text together."""
        if self.gallery is None:
            return False
        if isinstance(self._model, str):
            self._model = loaded_encoder(self.dataset, self.name, self._model)
        return bool(getattr(self._model, "composes", False))

    def _has_captions(self) -> bool:
        return bool(self._allowed.languages())

    def _picture(self, value: Any) -> Image:
        """The picture of a query: itself, of the dataset, or of a file where those may be opened."""
        if isinstance(value, Image):
            return value
        own = named_image(self.dataset, value, files=self._files)
        if own is not None:
            rows = self.dataset.images.get([own], ["data", "uri"]).to_pylist()
            return Image(rows[0]["data"], id=own, uri=rows[0]["uri"] or "")
        if not self._files and isinstance(value, str | os.PathLike):
            raise UserError(f"there is no image '{value}'.")
        return open_picture(value)

    def _resolve(self, value: Any) -> Any:
        """The stored vector of a picture of the dataset, else the picture."""
        own = None if isinstance(value, Image) else named_image(self.dataset, value, files=self._files)
        stored = stored_vector(self.dataset, self.name, own)
        return stored if stored is not None else self._reference(value)

    def _reference(self, value: Any) -> Image:
        """The picture of a query.

        Raises:
            UserError: it cannot be read.
        """
        try:
            return self._picture(value)
        except RowError as error:
            raise UserError(f"the image '{getattr(value, 'id', value)}' cannot be read: {error}.") from None

    def _encoder(self, plan: Plan) -> Any:
        """The encoder, loaded if the plan needs it: not for pictures whose vectors are stored."""
        if self._model is not None and not isinstance(self._model, str):
            return self._model
        if any(
            term.kind in ("text", "query") or (term.kind == "image" and isinstance(self._resolve(term.value), Image))
            for term in plan.terms
        ):
            self._model = loaded_encoder(self.dataset, self.name, self._model)
        return self._model

    # -- which images, which parts -------------------------------------------------------------------------------------

    def _within(self, query: Query, said: Typed, where: str | None, notes: list[str]) -> np.ndarray | None:
        """Sorted ids of the images that may be found, None for all."""
        import numpy as np

        sets: list[np.ndarray] = []
        if where is not None:
            condition = read_where(where)
            now = (stamp(self.dataset.captions), stamp(self.dataset.images))
            read = lambda: images_where(self.dataset, condition, self._allowed)  # noqa: E731
            sets.append(self._allowed.remembered(("where", (where,), ()), now, read))
            if not len(sets[-1]):
                notes.append(Note(f"no image fits --where {where}", "where_fits_nothing", where=where))
        if query.subset is not None:
            sets.append(_sorted(query.subset))
        if self._has_captions():
            for word in said.must:
                sets.append(_sorted(self.lexicon.images_with(word)))
                if not len(sets[-1]):
                    line = f"no caption has '{word}', which must stand in one (+)."
                    notes.append(Note(line, "must_missing", word=word))
        out = _sorted(query.exclude)
        if said.must_not and self._has_captions():
            out = np.union1d(out, _sorted([i for word in said.must_not for i in self.lexicon.images_with(word)]))
        if not sets and not len(out):
            return None
        if not sets:
            sets = [self._allowed.every()]
        joined = sets[0]
        for one in sets[1:]:
            joined = np.intersect1d(joined, one, assume_unique=True)
        return np.setdiff1d(joined, out, assume_unique=True)

    def _parts(self, run: _Run, parts: str | Sequence[str] | None, *, explicit: bool) -> list[str]:
        """Which parts are asked: those that were named, else those that can say something."""
        texts = [term for term in run.plan.positives if term.kind == "text"]
        if parts is not None:
            chosen = part_names(parts)
            check_parts(self.passages, run.query.images, chosen)
            if "caption" in chosen and not (self.gallery and self.gallery.has_captions()):
                raise UserError(no_vectors_of_captions(self.dataset, self.name))
            if "lexical" in chosen and not self._has_captions():
                raise UserError(f"{self.dataset.address} has no captions to look for words in.")
            if self.gallery is None and self.passages is None and chosen != ["lexical"]:
                choose(self.dataset, None)  # says how vectors are made
            return chosen
        if self.passages is not None:
            check_parts(self.passages, run.query.images, ())
            return ["passage"]
        captioned = self.gallery is not None and self.gallery.has_captions()
        if run.filters.over != "images":
            if not captioned:
                raise UserError(no_vectors_of_captions(self.dataset, self.name))
            return ["picture"]
        if self.gallery is None:
            return ["lexical"]
        chosen = ["picture"]
        if texts and not explicit and not run.plan.conditions:
            chosen = [*(["lexical"] if self.lexicon.ready() else []), *(["caption"] if captioned else []), "picture"]
        return chosen

    # -- scores --------------------------------------------------------------------------------------------------------

    def _ranked(self, run: _Run, chosen: Sequence[str], depth: int) -> dict[str, list[Ranked]]:
        """The images of every part, best first."""
        ranked: dict[str, list[Ranked]] = {}
        if "lexical" in chosen:
            ranked["lexical"] = self._lexical(run, depth)
        if self.passages is not None and "passage" in chosen:
            ranked["passage"], more = self.passages.find(_texts(run), depth, **run.filters.given())
            run.notes += more
        if self.gallery is None or chosen == ["lexical"]:
            return {name: ranked[name] for name in PARTS if name in ranked}
        encoder = self._encoder(run.plan)
        pack, run.plan = compose(run.plan, run.query, encoder, self._resolve, self._reference, self._asked)
        if "caption" in chosen and (texts := texts_only(pack)) is not None:
            ranked["caption"] = self.gallery.ranked(texts, depth, over="captions", **run.filters.given())
        if "picture" in chosen:
            if len(chosen) == 1 and len(pack.weights) > 1 and not pack.weights.any():
                raise UserError("text and image point in opposite directions: give another weight.")
            ranked["picture"] = self.gallery.ranked(pack, depth, over=run.filters.over, **run.filters.given())
        return {name: ranked[name] for name in PARTS if name in ranked}

    def _lexical(self, run: _Run, depth: int) -> list[Ranked]:
        """Images whose captions say the words: those of the plan's texts."""
        text = _texts(run)
        few = run.filters.within
        among = [i.decode() for i in few.tolist()] if few is not None and len(few) <= 2000 else None
        wanted = depth
        while True:
            found = self.lexicon.find(text, wanted, phrases=run.said.phrases, among=among)
            good = run.filters.fit(self._allowed, _array([one.image_id for one in found]))
            kept = [one for one, fit in zip(found, good.tolist()) if fit]
            if len(kept) >= depth or len(found) < wanted:
                run.said_most = self.lexicon.text_of(kept[0]) if kept else None
                return [Ranked(one.image_id, one.score, {"caption": one.caption_id}) for one in kept[:depth]]  # type: ignore[dict-item]
            wanted *= 4

    def _above(self, run: _Run, found: list[Any], least: float) -> list[Any]:
        """Those whose best cosine is high enough, or whose caption has every word."""
        said = [one.parts["lexical"]["terms"]["caption"] for one in found if "lexical" in one.parts]
        rows = self.dataset.captions.get(said, ["text"]).to_pylist() if said else []
        texts = {row["caption_id"]: row["text"] for row in rows}
        kept = []
        for one in found:
            values = [part["value"] for name, part in one.parts.items() if name != "lexical"]
            if any(value >= least for value in values) or (
                "lexical" in one.parts and _says_all(run, texts.get(one.parts["lexical"]["terms"]["caption"]))
            ):
                kept.append(one)
        if found and not kept:
            best = max((p["value"] for one in found for n, p in one.parts.items() if n != "lexical"), default=0.0)
            line = f"nothing reaches --min-score {least:g}: the best is {best:.3f}."
            run.notes.append(Note(line, "below_min_score", least=least, best=round(best, 3)))
        return kept

    # -- looking at the best -------------------------------------------------------------------------------------------

    def _hits(self, run: _Run, found: list[Any], shown: str) -> Hits:
        by_id = {one.image_id: one for one in found}
        ids, verdicts, stages = looked(
            run.plan, run.query, [one.image_id for one in found], self.askers, self._picture, run.notes, self._model
        )
        ids = ids[: run.query.top]
        captions = self._captions(run, ids, shown)
        uris = self._uris(ids)
        told = [(name, by_id[i].parts[name]) for i in ids for name in ("lexical", "passage") if name in by_id[i].parts]
        texts = {row["caption_id"]: row for rows in captions.values() for row in rows.plain(range(len(rows)))}
        if hidden := sorted({part["terms"]["caption"] for _, part in told} - texts.keys()):  # in what is not shown
            texts |= {row["caption_id"]: row for row in self.dataset.captions.get(hidden, ["text", "lang"]).to_pylist()}
        hits = Hits()
        words = words_of(" ".join(str(term.value) for term in run.plan.positives if term.kind == "text"))
        for name, part in told:
            row = texts.get(part.pop("terms")["caption"], {})
            text = row.get("text", "")
            part |= {"words": matched(words, text, row.get("lang", ""))} if name == "lexical" else {}
            part |= {"caption": text, "lang": row.get("lang", "")}
        for one in map(by_id.__getitem__, ids):
            key, uri = one.image_id, uris.get(one.image_id, "")
            hits.append(Hit(key, one.score, uri, captions.get(key, []), self.dataset, one.parts, verdicts.get(key)))
        hits.notes, hits.plan, hits.query, hits.stages = run.notes, run.plan, run.query, stages
        if run.plan.fallback_used:
            why = run.plan.explain[-1] if run.plan.explain else "a fallback"
            hits.notes.append(Note(f"preset {run.plan.preset}: {why}.", "fallback", preset=run.plan.preset, why=why))
        return hits

    def _captions(self, run: _Run, ids: Sequence[str], shown: str) -> Mapping[str, CaptionRows]:
        """The captions that are shown; where words were looked for, what they say is known without reading a table."""
        lang, kinds = run.filters.lang, run.filters.kinds
        met = meeting([*map(canonical_language, lang)], self._allowed.languages())[0] if lang else ()
        said = self.lexicon.captions(ids, met, kinds) if not lang or met else None
        if said is None:
            return self.dataset.caption_rows(ids, shown) if ids else {}
        read = Records(self.dataset, tuple(ids), shown)
        return {image: CaptionRows(None, plain, read if plain["text"] else None) for image, plain in said.items()}

    def _nothing(self, query: Query, why: str, run: _Run | None = None) -> Hits:
        hits = Hits()
        hits.query, hits.plan, hits.notes = query, run.plan if run else None, [*(run.notes if run else []), why]
        return hits


def _texts(run: _Run) -> str:
    """The plan's texts, each once."""
    return " ".join(dict.fromkeys(term.value for term in run.plan.positives if term.kind == "text"))


def _says_all(run: _Run, text: str | None) -> bool:
    words = words_of(run.said.text)
    return text is not None and len(matched(words, text)) == len(words)


def _array(ids: Sequence[str]) -> np.ndarray:
    import numpy as np

    return np.array(ids, "S32") if len(ids) else np.empty(0, "S32")


def _sorted(ids: Any) -> np.ndarray:
    return distinct(_array(list(ids)))
