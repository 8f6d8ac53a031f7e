"""What a person goes through: captions that wait for a decision, writers side by side, and what is in the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean
from panoglot.languages import base_language, canonical_language, meeting
from panoglot.metrics import bootstrap
from panoglot.reporting._counts import Tally, count
from panoglot.reporting._runs import Run, read_runs
from panoglot.reporting._text import score_name
from panoglot.retrieval import Searcher
from panoglot.retrieval._editing import CORRECTED
from panoglot.retrieval._reviewing import APPROVED, BEST, UNDONE
from panoglot.table import KEPT_CAPTION, Caption, Dataset, caption_from_row, plain_rows, sql_in
from panoglot.text import grams
from panoglot.vectors import stamp

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Review", "captions_of"]

#: Reasons that are steps of a method or of a person, and no decision of a filter.
_STEPS = ("draft", CORRECTED, UNDONE)
#: Kinds of captions that speak of a whole picture, and most writers and pictures that are compared.
_WHOLE, _WRITERS, _PICTURES = ("human", "alt", "short", "dense"), 9, 2000
#: Runs and reasons that are listed.
_RUNS, _REASONS = 20, 50


def _plain_caption(caption: Caption) -> dict[str, Any]:
    """A caption with its provenance, as JSON."""
    region = caption.region.plain() if caption.region else None
    return {**asdict(caption), "parents": list(caption.parents), "region": region}


class Review:
    """Over one dataset; what was counted is kept until a table changes."""

    def __init__(self, searcher: Searcher) -> None:
        self._data = searcher.dataset
        self._kept: dict[Any, tuple[tuple[int, ...], Any]] = {}

    def _remembered(self, key: Any, tables: Sequence[str], make: Callable[[], Any]) -> Any:
        now = tuple(stamp(getattr(self._data, name)) for name in tables)
        if key not in self._kept or self._kept[key][0] != now:
            if len(self._kept) >= 16:
                self._kept.clear()
            self._kept[key] = now, make()
        return self._kept[key][1]

    def _langs(self, lang: str) -> str:
        """SQL for a language and its variants."""
        if not lang:
            return "true"
        counts = self._data.captions.read(["lang"])["lang"].value_counts().to_pylist()
        every = Counter({one["values"]: one["counts"] for one in counts})
        return sql_in("lang", meeting([canonical_language(lang)], every)[0])

    # -- queue ---------------------------------------------------------------------------------------------------------

    def queue(self, why: str = "kept", lang: str = "", after: str = "", n: int = 50) -> dict[str, Any]:
        """Captions that nobody has judged, in an order that is like chance and stays; with `low:SCORE` lowest first.

        Raises:
            UserError: no such queue, not a language.
        """
        kind, _, name = why.partition(":")
        steps, quoted = sql_in("dropped", _STEPS), "'" + name.replace("'", "''") + ":'"
        where = {
            "kept": "dropped is null",
            "dropped": f"dropped is not null and not {steps}",
            "language": "lang = 'und' or starts_with(dropped, 'language_')",
            "low": "dropped is null",
        }.get(kind)
        if where is None or (kind == "low" and not name) or (name and kind not in ("low", "dropped")):
            raise UserError(f"why='{why}': a queue is kept, dropped, dropped:REASON, language or low:SCORE.")
        if kind == "dropped" and name:
            where = f"{sql_in('dropped', [name])} or starts_with(dropped, {quoted})"
        sql = f"({where}) and kind != 'fact' and {self._langs(lang)}"
        low = name if kind == "low" else ""
        rows = _waiting(
            self._data.captions.read(["caption_id", *(["scores"] if low else [])], sql), low, self._judged()
        )
        rest = _after(rows, after)
        window = _first(rest, n)
        keys = window["caption_id"].to_pylist()
        found = {row["caption_id"]: row for row in plain_rows(self._data.captions.get(keys))}
        captions = [_plain_caption(caption_from_row(found[key])) for key in keys if key in found]
        more = rest.num_rows > len(keys)
        return {
            "captions": captions, "total": rows.num_rows, "left": rest.num_rows, "judged": len(self._judged()),
            "next": f"{window['score'][-1].as_py()!r}:{keys[-1]}" if more and keys else None,
        }  # fmt: skip

    def _judged(self) -> set[str]:
        """Captions that a person has judged."""

        def read() -> set[str]:
            return set(self._data.ratings.read(["item"], sql_in("criterion", [APPROVED]))["item"].to_pylist())

        found: set[str] = self._remembered("judged", ("ratings",), read)
        return found

    # -- writers -------------------------------------------------------------------------------------------------------

    def compare(self, writers: Sequence[str] = (), lang: str = "", start: int = 0, n: int = 50) -> dict[str, Any]:
        """Writers on the pictures that all of them describe, those where they differ most first.

        Raises:
            UserError: no such writer, fewer than two, not a language.
        """
        key = ("compare", tuple(writers), lang)
        made = self._remembered(key, ("captions", "ratings"), lambda: self._compared(writers, lang))
        return {**made, "rows": made["rows"][start : start + n], "total": len(made["rows"])}

    def _compared(self, given: Sequence[str], lang: str) -> dict[str, Any]:
        sql = f"(dropped is null or dropped = 'draft') and {sql_in('kind', _WHOLE)} and {self._langs(lang)}"
        by: dict[str, dict[str, dict[str, str]]] = {}  # writer to picture to language to caption
        columns = ["caption_id", "image_id", "lang", "recipe", "model"]
        for batch in self._data.captions.batches(columns, sql, 16_384):
            for row in batch.to_pylist():
                mine = by.setdefault(row["model"] or row["recipe"] or "", {}).setdefault(row["image_id"], {})
                tongue = base_language(row["lang"])
                mine[tongue] = min(row["caption_id"], mine.get(tongue, "~"))
        counts = Counter({writer: len(mine) for writer, mine in by.items()})
        if odd := [one for one in given if one not in by]:
            raise UserError(f"nobody named '{odd[0]}' wrote captions here.{did_you_mean(odd[0], by)}")
        chosen = list(dict.fromkeys(given)) or [writer for writer, _ in counts.most_common(3)]
        every = [{"name": writer, "captions": n} for writer, n in counts.most_common(100)]
        if len(chosen) < 2 or len(chosen) > _WRITERS:
            if given:
                raise UserError(f"choose 2 to {_WRITERS} writers.")
            return {"writers": every, "chosen": chosen, "scores": [], "rows": [], "pictures": 0, "apart": 0}
        shared = set.intersection(*(set(by[writer]) for writer in chosen)) - self._data.dropped_images()
        some = sorted(shared)[:_PICTURES]
        pairs = {key: _alike([by[writer][key] for writer in chosen]) for key in some}
        wanted = [one for captions in pairs.values() for one in captions]
        rows = {row["caption_id"]: row for row in plain_rows(self._data.captions.get(wanted))}
        table = []
        for key in some:
            said = [_plain_caption(caption_from_row(rows[one])) for one in pairs[key]]
            apart = len({base_language(one["lang"]) for one in said}) > 1
            differ = round(_differ([one["text"] for one in said]), 4)
            table.append({"image": key, "captions": said, "differ": differ, "apart": apart})
        alike = [row for row in table if not row["apart"]]
        return {
            "writers": every, "chosen": chosen, "scores": _scores(alike or table, chosen),
            "votes": self._votes(table, chosen),
            "rows": sorted(table, key=lambda row: (row["apart"], -row["differ"], row["image"])),
            "pictures": len(shared), "apart": sum(row["apart"] for row in table),
        }  # fmt: skip

    def _votes(self, table: list[dict[str, Any]], chosen: Sequence[str]) -> dict[str, Any]:
        """How often people found each writer better than another one of these, and how often no difference."""
        of = {one["caption_id"]: chosen[n] for row in table for n, one in enumerate(row["captions"])}
        better: Counter[str] = Counter(dict.fromkeys(chosen, 0))
        equal = 0
        for row in self._data.ratings.rows(["item", "against", "value"], sql_in("criterion", [BEST])):
            if row["item"] in of and row["against"] in of:
                better[of[row["item"]]] += row["value"] > 0.5
                equal += row["value"] == 0.5
        return {"better": dict(better), "equal": equal}

    # -- overview ------------------------------------------------------------------------------------------------------

    def overview(self) -> dict[str, Any]:
        """What is in the dataset, and what became of everything."""
        tables = ("images", "captions", "marks", "rejects", "runs", "edits")
        found: dict[str, Any] = self._remembered("overview", tables, self._counted)
        return found

    def _counted(self) -> dict[str, Any]:
        data, counts = self._data, count(self._data)
        langs = sorted(counts.languages.items(), key=lambda one: (-one[1].kept, one[0]))
        writers: Counter[str] = Counter()
        for (_, recipe, model), n in counts.origins.items():
            writers[model or recipe] += n
        rejects = Counter(
            (row["stage"], row["reason"]) for row in data.rejects.rows(["stage", "reason"], "resolved is null")
        )
        return {
            "images": counts.images, "kept_images": counts.kept_images, "captioned": counts.captioned,
            "bytes": counts.bytes, "formats": dict(counts.formats.most_common(_REASONS)),
            "captions": _tally(counts.total), "captions_of_dropped": counts.of_dropped,
            "languages": {lang: _tally(tally) for lang, tally in langs},
            "kinds": {kind: _tally(tally) for kind, tally in sorted(counts.kinds.items()) if kind != "fact"},
            "writers": dict(writers.most_common(_REASONS)), "gaps": _gaps(data, counts.kept_images),
            "dropped_captions": dict(counts.dropped_captions.most_common(_REASONS)),
            "dropped_images": dict(counts.dropped_images.most_common(_REASONS)),
            "rejects": [{"stage": s, "reason": r, "rows": n} for (s, r), n in rejects.most_common(_REASONS)],
            "edits": dict(Counter(row["action"] for row in data.edits.rows(["action"]))),
            "runs": [_run(run) for run in reversed(read_runs(data)[-_RUNS:])],
        }  # fmt: skip


def _alike(each: Sequence[dict[str, str]]) -> list[str]:
    """A caption of every writer, by language; all in one language where they have one in common.

    >>> _alike([{"de": "1", "en": "2"}, {"en": "3", "fr": "4"}]), _alike([{"de": "1"}, {"en": "3"}])
    (['2', '3'], ['1', '3'])
    """
    common = set.intersection(*map(set, each))
    tongue = min(common, key=lambda one: (one != "en", one), default=None)
    return [mine[tongue] if tongue else min(mine.values()) for mine in each]


def _waiting(rows: pa.Table, low: str, judged: set[str]) -> pa.Table:
    """Ids (`caption_id`) and scores of the captions that nobody has judged."""
    import pyarrow as pa
    import pyarrow.compute as pc

    scores = pc.map_lookup(rows["scores"], pa.scalar(low), "first") if low else pa.nulls(len(rows), pa.float32())
    table = pa.table({"caption_id": rows["caption_id"], "score": scores if low else pc.fill_null(scores, 0)})
    table = table.filter(pc.invert(pc.is_in(table["caption_id"], pa.array(sorted(judged), pa.string()))))
    return table.filter(pc.is_valid(table["score"]))


def _first(rows: pa.Table, n: int) -> pa.Table:
    """The first rows, in their order: lowest score first, then by id."""
    import pyarrow.compute as pc

    keys = [("score", "ascending"), ("caption_id", "ascending")]
    if not rows.num_rows:  # Arrow cannot choose of nothing
        return rows
    return rows.take(pc.select_k_unstable(rows, k=n, sort_keys=keys)).sort_by(keys)


def _after(rows: pa.Table, cursor: str) -> pa.Table:
    """The rows behind a cursor, `score:id`; also when the row that it names is judged by now.

    Raises:
        UserError: no cursor of ours.
    """
    import pyarrow.compute as pc

    if not cursor:
        return rows
    score, _, key = cursor.partition(":")
    try:
        at = float(score)
    except ValueError:
        raise UserError("after: give the `next` of the answer before.") from None
    above = pc.greater(rows["score"], at)
    same = pc.and_(pc.equal(rows["score"], at), pc.greater(rows["caption_id"], key))
    return rows.filter(pc.or_(above, same))


def _differ(texts: Sequence[str]) -> float:
    """How much texts differ in their words: 1 less what all have of what any has.

    >>> _differ(["a red dog", "a red dog"]), _differ(["a dog", "ein Hund"])
    (0.0, 1.0)
    """
    words = [set(grams(text)) for text in texts]
    return 1 - len(set.intersection(*words)) / max(1, len(set.union(*words)))


def _scores(table: list[dict[str, Any]], chosen: Sequence[str]) -> list[dict[str, Any]]:
    """Means with intervals, and the paired difference of each writer from the best.

    Both are over the pictures where all who have the score at all have it.
    """
    names = sorted({name for row in table for one in row["captions"] for name in one["scores"]})
    made = []
    for name in [*names, "length"]:
        values = [
            [len(c["text"]) if name == "length" else c["scores"].get(name) for c in row["captions"]] for row in table
        ]
        has = [n for n in range(len(chosen)) if any(row[n] is not None for row in values)]
        both = [
            (row["image"], [float(v[n]) for n in has])
            for row, v in zip(table, values)
            if None not in [v[n] for n in has]
        ]
        if len(both) < 2:
            continue
        ids = [key for key, _ in both]
        columns = dict(zip(has, zip(*(row for _, row in both))))
        best = max(has, key=lambda n: sum(columns[n]))
        crowned = best if len({sum(column) for column in columns.values()}) > 1 else None  # nobody is best alone
        each: list[dict[str, Any] | None] = [None] * len(chosen)
        for n, column in columns.items():
            mean = sum(column) / len(column)
            interval = bootstrap(column, ids=ids)
            low, high = (interval.low, interval.high) if interval else (mean, mean)
            apart = bootstrap([a - b for a, b in zip(column, columns[best])], ids=ids)
            each[n] = {"mean": mean, "low": low, "high": high, "below_best": bool(apart and apart.high < 0)}
        label = score_name(name)
        made.append({"name": name, "label": label, "pictures": len(both), "each": each, "best": crowned})
    return made


def _gaps(data: Dataset, images: int) -> dict[str, int]:
    """Language to the kept pictures without a caption in it or a variant of it, of every language that is there."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = data.captions.read(["lang", "image_id"], KEPT_CAPTION)
    gone = pa.array(sorted(data.dropped_images()), rows["image_id"].type)
    here = pc.invert(pc.is_in(rows["image_id"], value_set=gone)).to_numpy()
    keys = pc.dictionary_encode(rows["image_id"].combine_chunks()).indices.to_numpy(zero_copy_only=False)
    tags = pc.dictionary_encode(rows["lang"].combine_chunks())
    codes, names = tags.indices.to_numpy(zero_copy_only=False), tags.dictionary.to_pylist()
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(len(names) + 1))
    parts = {tag: order[edges[n] : edges[n + 1]] for n, tag in enumerate(names)}
    every = Counter({tag: len(part) for tag, part in parts.items()})
    mine = {tag: np.unique(keys[part[here[part]]]) for tag, part in parts.items()}
    found = {}
    for tag in names:
        if tag and tag != "und":
            met = [mine[one] for one in meeting([tag], every)[0]]
            found[tag] = images - len(np.unique(np.concatenate(met)))
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def _tally(tally: Tally) -> dict[str, Any]:
    return {"kept": tally.kept, "dropped": tally.dropped, "drafts": tally.drafts, "median": tally.quantile(0.5)}


def _run(run: Run) -> dict[str, Any]:
    steps = [{"name": s.name, "done": s.done, "rejected": s.rejected, "seconds": s.seconds} for s in run.steps]
    return {
        "run_id": run.run_id, "started": run.started.isoformat() if run.started else None, "status": run.status,
        "seconds": run.seconds, "price": run.price, "message": run.message, "steps": steps,
    }  # fmt: skip


def captions_of(data: Dataset, image: str) -> list[dict[str, Any]]:
    """All captions of a picture but what was only measured, with what people did to them."""
    rows = [_plain_caption(c) for c in data.captions_of([image], None)[image] if c.kind != "fact"]
    where = sql_in("item", [row["caption_id"] for row in rows])
    did: dict[str, list[dict[str, Any]]] = {}
    for row in data.edits.rows(["edit_id", "item", "action", "before", "after", "author", "time"], where):
        row["time"] = row["time"].isoformat() if row["time"] else None
        did.setdefault(row.pop("item"), []).append(row)
    return [{**row, "edits": sorted(did.get(row["caption_id"], []), key=lambda one: one["time"] or "")} for row in rows]
