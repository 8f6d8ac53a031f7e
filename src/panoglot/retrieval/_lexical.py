"""The words that stand in captions: a full-text table beside the dataset, made of its kept captions and kept up.

Readings of every caption: its words as they stand, cut by ICU's rules and dictionaries (so scripts without spaces
need nothing else); in the 18 languages that Lance stems, their stems, in Swahili its singulars; in scripts whose words
carry articles and particles, the forms in which they are found. BM25 over all. The table is derived: it lies in
`cache/words`, is made when it is first needed, follows every commit, and can be thrown away.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError
from panoglot.languages import base_language, script_of_character
from panoglot.retrieval._folding import FOLDING, folded, forms, spaceless, words_of
from panoglot.retrieval._word_rows import WordRows
from panoglot.storage import open_store
from panoglot.table import Dataset, Table, sql_in
from panoglot.text import grams
from panoglot.vectors import stamp

if TYPE_CHECKING:
    import lance
    import numpy as np
    import pyarrow as pa

__all__ = ["STEMMED", "Found", "Lexicon"]

#: Languages whose words Lance stems.
STEMMED = {
    "ar": "Arabic", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fi": "Finnish",
    "fr": "French", "hu": "Hungarian", "it": "Italian", "nb": "Norwegian", "nl": "Dutch", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "ta": "Tamil", "tr": "Turkish",
}  # fmt: skip
#: Languages that have a column of stems: Swahili's are its words and their singulars, by `forms`.
_STEMS = STEMMED.keys() | {"sw"}
#: A table that was made another way, or of letters folded otherwise, is made anew.
VERSION = f"words/3 {FOLDING}"
#: Captions from which on a copy that cannot be kept in the dataset is not made each time.
_MOST_TEMPORARY = 200_000
#: Fragments from which on they are joined; an index of so many times the rows of a later one is not made anew with it.
_MOST_FRAGMENTS, _MUCH_LARGER = 24, 4
#: Captions from which on the clauses of a text are asked one by one.
_ONE_BY_ONE = 50_000
#: Words of which is remembered whether a caption has them.
_MOST_WORDS = 50_000


@dataclass(frozen=True)
class Found:
    """A caption in which words stand: its image, BM25 score, id."""

    image_id: str
    score: float
    caption_id: str


class Lexicon:
    """The words of a dataset's kept captions."""

    def __init__(self, dataset: Dataset) -> None:
        self._data = dataset
        self._folder = dataset.store.scratch("cache") / "words"
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._seen = -1
        self._lock = threading.RLock()  # no thread opens another state of the table while one asks and looks rows up
        self._open: Any = None
        self._rows: WordRows | None = None
        self._scripts: dict[str, int] | None = None
        self._words: dict[str, bool] = {}  # whether a caption has it

    # -- keeping up ----------------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Bring the table up to date; False where there are no captions, or too many to index each time.

        A dataset that cannot be written gets a copy that goes with the process.
        """
        with self._lock:
            return self._ready()

    def _ready(self) -> bool:
        if not self._data.captions.exists():
            return False
        now = stamp(self._data.captions)
        if self._open is not None and now == self._seen:
            return self._open is not False
        try:
            self._open = self._current()
        except (OSError, ValueError, UserError):  # not a place to write, or taken away meanwhile
            if self._data.captions.count() > _MOST_TEMPORARY:
                self._open = False
            else:
                self._temporary = self._temporary or tempfile.TemporaryDirectory(prefix="panoglot-words-")
                self._folder = Path(self._temporary.name) / "words"
                self._open = self._current()
        self._seen, self._rows, self._scripts, self._words = now, None, None, {}
        return self._open is not False

    def _current(self) -> lance.LanceDataset:
        """The table as the captions are now: as it lies, or brought up to date by one process at a time."""
        version = self._data.captions.lance().version
        if not self._follows(version):
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            with open_store(self._folder.parent).lock("words.lock", wait=True):
                if not self._follows(version):
                    version = self._data.captions.lance().version
                    if self._state().get("version") != VERSION or not self._follow():
                        self._make()
                    self._say(version)
        return self._table.lance()

    @property
    def _table(self) -> Table:
        return Table(open_store(self._folder), "table", _schema(()), "caption_id")

    def _follows(self, version: int) -> bool:
        """Whether the table is of this version of the captions."""
        return self._state() == {"version": VERSION, "captions": version} and self._table.exists()

    def _state(self) -> dict[str, Any]:
        try:
            found = json.loads((self._folder / "state.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _say(self, version: int) -> None:
        temporary = self._folder / f".state-{secrets.token_hex(4)}"
        temporary.write_text(json.dumps({"version": VERSION, "captions": version}))
        temporary.replace(self._folder / "state.json")

    def _make(self) -> None:
        """Write the table anew, beside its place, and put it there."""
        import lance

        for left in self._folder.parent.glob(".words-*"):  # of one that was killed: nobody else makes one now
            shutil.rmtree(left, ignore_errors=True)
        langs = self._data.captions.read(["lang"], "dropped is null")["lang"].unique().to_pylist()
        stems = sorted({base_language(lang) for lang in langs} & _STEMS)
        fresh, old = (self._folder.with_name(f".words-{secrets.token_hex(4)}") for _ in range(2))
        fresh.mkdir()
        try:
            reader = self._batches("dropped is null", stems)
            table = lance.write_dataset(reader, str(fresh / "table.lance"), schema=_schema(stems))
            if table.count_rows():
                _index(table, stems)
            with contextlib.suppress(FileNotFoundError):
                self._folder.rename(old)
            fresh.rename(self._folder)
        finally:
            shutil.rmtree(old, ignore_errors=True)
            shutil.rmtree(fresh, ignore_errors=True)

    def _follow(self) -> bool:
        """Take in captions that came, take out what was dropped, as if made anew; False where that is to be done.

        Killed anywhere, the next call goes on: what is in the table and what is indexed is looked up, not remembered.
        """
        import lance

        if not self._table.exists():
            return False
        kept = self._data.captions.read(["caption_id", "lang"], "dropped is null")
        langs = {base_language(lang) for lang in kept["lang"].unique().to_pylist()} & _STEMS
        with self._table.writing():
            table = self._table.lance()
            stems = [name[5:] for name in table.schema.names if name.startswith("text_")]
            now = kept["caption_id"].to_pylist()
            held = set(table.to_table(columns=["caption_id"])["caption_id"].to_pylist())
            new, gone = [one for one in now if one not in held], sorted(held.difference(now))
            if not held or not langs <= set(stems) or len(new) > max(1000, len(held) // 4):
                return False
            for start in range(0, len(gone), 500):
                table.delete(sql_in("caption_id", gone[start : start + 500]))
            if new:
                parts = (new[start : start + 500] for start in range(0, len(new), 500))
                rows = (batch for some in parts for batch in self._batches(sql_in("caption_id", some), stems))
                table = lance.write_dataset(rows, table, schema=_schema(stems), mode="append")
            _index_new(table)
        self._table.erase()  # scores count what was deleted until it is gone
        return True

    def _batches(self, where: str, stems: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in self._data.captions.batches(["caption_id", "image_id", "text", "lang", "kind"], where, 8192):
            written = batch["text"].to_pylist()
            texts, bare = [*map(folded, written)], [" ".join(forms(text)) or None for text in written]
            bases = [base_language(lang) for lang in batch["lang"].to_pylist()]
            columns = [batch["caption_id"], batch["image_id"], batch["lang"], batch["kind"], pa.array(texts)]
            columns += [pa.array(bare, pa.string())]
            for s in stems:
                own = texts if s in STEMMED else [" ".join(forms(text, lang=s)) for text in written]
                columns.append(pa.array([t if b == s else None for t, b in zip(own, bases)], pa.string()))
            yield pa.record_batch(columns, schema=_schema(stems))

    # -- asking --------------------------------------------------------------------------------------------------------

    def find(
        self, text: str, depth: int, *, phrases: Sequence[str] = (), among: Sequence[str] | None = None
    ) -> list[Found]:
        """The images whose captions say most of a text, best first, each with the caption that does.

        Args:
            text: words.
            depth: images.
            phrases: words that must stand together, in this order.
            among: the only images, where they are few.
        """
        words = words_of(text)
        if not words:
            return []
        with self._lock:
            return self._find(text, words, depth, phrases, among) if self.ready() else []

    def _find(
        self, text: str, words: Sequence[str], depth: int, phrases: Sequence[str], among: Sequence[str] | None
    ) -> list[Found]:
        """The same of a text that has words."""
        from lance.query import BooleanQuery, Occur, PhraseQuery

        asked, clauses = folded(text), self._clauses(text)
        if len(words) > 1:
            clauses.append(PhraseQuery(asked, "text"))
        must = [PhraseQuery(folded(one), "text") for one in phrases if words_of(one)]
        where = None if among is None else sql_in("image_id", among)
        wanted = 8 * depth
        if where is None and not must and self._open.count_rows() > _ONE_BY_ONE:
            rows, scores, every_one = self._joined(clauses, wanted)
            self._note_none(asked, words, rows if every_one else None)
            found = self._best(rows, scores, depth)
            if every_one or len(found) >= depth:
                return found
        query = BooleanQuery([*((Occur.SHOULD, one) for one in clauses), *((Occur.MUST, one) for one in must)])
        while True:
            rows, scores = self._ask(query, wanted, where)
            self._note_none(asked, words, rows if where is None and not must else None)
            found = self._best(rows, scores, depth)
            if len(found) >= depth or len(rows) < wanted:
                return found
            wanted *= 4

    def _note_none(self, asked: str, words: Sequence[str], rows: np.ndarray | None) -> None:
        """Remember that no caption has any of these words, where all captions were asked for just them."""
        if rows is not None and not len(rows) and asked == " ".join(words):
            self._words |= dict.fromkeys(words, False)

    def _clauses(self, text: str) -> list[Any]:
        """A text's words as they stand, by stems, and by their forms where they have such."""
        from lance.query import MatchQuery

        asked, bare = folded(text), " ".join(forms(text, typed=True))
        clauses = [MatchQuery(asked, "text")]
        for name in self._stems():
            own = "" if name[5:] in STEMMED else " ".join(forms(text, typed=True, lang=name[5:]))
            clauses.append(MatchQuery(own or asked, name))
        return [*clauses, MatchQuery(bare, "forms")] if bare else clauses

    def _stems(self) -> list[str]:
        """Columns of stems."""
        return [name for name in self._open.schema.names if name.startswith("text_")]

    def _known(self, rows: np.ndarray) -> np.ndarray:
        """Image, caption and stems of rows."""
        if self._rows is None:
            self._rows = WordRows(self._open, self._data, self._folder, [name[5:] for name in self._stems()])
        return self._rows.of(rows)

    def captions(
        self, images: Sequence[str], langs: Collection[str] = (), kinds: Collection[str] = ()
    ) -> dict[str, dict[str, list[str]]] | None:
        """The kept captions of images, as columns; None where no words were looked for. See `WordRows.captions`."""
        with self._lock:
            if self._rows is None or stamp(self._data.captions) != self._seen:
                return None
            return self._rows.captions(images, langs, kinds)

    def _best(self, rows: np.ndarray, scores: np.ndarray, depth: int) -> list[Found]:
        """Every image once, with its best caption, of equals the first of the table; best first, ties by id."""
        import numpy as np

        order = np.lexsort((rows, -scores))
        known = self._known(rows[order])
        first: dict[bytes, int] = {}
        last = -np.inf
        for n, (image, score) in enumerate(zip(known["image"].tolist(), scores[order].tolist())):
            if score < last:
                break
            if first.setdefault(image, n) == n and len(first) == depth:
                last = score  # those that tie with it come too: of these the ids decide
        at = np.fromiter(first.values(), np.int64, len(first))
        scores, known = scores[order][at], known[at]
        best = np.lexsort((known["image"], -scores))[:depth]
        values = (known["image"][best], scores[best], known["caption"][best])
        return [Found(i.decode(), s, c.decode()) for i, s, c in zip(*(value.tolist() for value in values))]

    def _joined(self, clauses: Sequence[Any], wanted: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """The best rows by the sum of some clauses' scores, each asked for its own best alone, which is far quicker.

        Only rows whose sum is known, and that no row with an unknown share can exceed (Fagin's threshold): a row that a
        clause did not name has nothing of it, where it named all or the row's language has no such stems, else at most
        the least that it named.

        Args:
            clauses: the words, their stems by column, maybe the phrase.
            wanted: rows of each.

        Returns:
            `(rows, scores, whether these are all)`.
        """
        import numpy as np

        asked = [self._ask(clause, wanted, None) for clause in clauses]
        rows = np.sort(np.concatenate([found for found, _ in asked]))
        rows = rows[np.append(True, rows[1:] != rows[:-1])] if len(rows) else rows
        has = self._known(rows)["stems"]
        total, unknown = np.zeros(len(rows), np.float32), np.zeros(len(rows))
        rest = {"every": 0.0, "stems": 0.0}
        stems = len(self._stems())
        for n, (found, scores) in enumerate(asked):
            at = np.searchsorted(rows, found)
            total[at] += scores
            if len(found) < wanted:
                continue
            least, missing = float(scores.min()), np.ones(len(rows), bool)
            missing[at] = False
            if 1 <= n <= stems:
                missing &= has == n
                rest["stems"] = max(rest["stems"], least)
            else:
                rest["every"] += least
            unknown += np.where(missing, least, 0.0)
        open_ = unknown > 0
        floor = max(sum(rest.values()), float((total + unknown)[open_].max(initial=0.0)))
        sure = ~open_ & (total >= floor)
        return rows[sure], total[sure], not any(rest.values())

    def text_of(self, found: Found) -> str:
        """The text of a caption that was found; empty where it is gone meanwhile."""
        said = (self.captions([found.image_id]) or {}).get(found.image_id, {"caption_id": []})
        if found.caption_id in said["caption_id"]:
            return said["text"][said["caption_id"].index(found.caption_id)]
        return next(iter(self._data.captions.get([found.caption_id], ["text"])["text"].to_pylist()), "")

    def images_with(self, word: str) -> set[str]:
        """All images with a caption in which a word (or words together) stands, with any ending that is stemmed."""
        from lance.query import BooleanQuery, Occur, PhraseQuery

        with self._lock:
            if not words_of(word) or not self.ready():
                return set()
            if len(words_of(word)) > 1 or spaceless(word):
                query: Any = PhraseQuery(folded(word), "text")
            else:
                query = BooleanQuery([(Occur.SHOULD, one) for one in self._clauses(word)])
            return {image.decode() for image in self._known(self._ask(query, None, None)[0])["image"].tolist()}

    def known(self, words: Iterable[str]) -> list[str]:
        """Those of some words that stand in a caption of any language."""
        asked = list(words)
        if not self.ready():
            return []
        if len(self._words) > _MOST_WORDS:
            self._words.clear()
        new = [word for word in dict.fromkeys(asked) if word not in self._words]
        if len(new) > 1 and not self._stands(" ".join(new)):  # one question: has a caption any of them?
            self._words |= dict.fromkeys(new, False)
        for word in new:
            if word not in self._words:
                self._words[word] = self._stands(word, together=spaceless(word))
        return [word for word in asked if self._words[word]]

    def _stands(self, words: str, *, together: bool = False) -> bool:
        """Whether a caption has any of some words, with any ending that is stemmed.

        Args:
            words: folded.
            together: the pieces that a dictionary cuts them into must stand together: it cuts anything into something.
        """
        from lance.query import BooleanQuery, Occur, PhraseQuery

        written, *others = self._clauses(words)  # as it stands it is found in a sixth of the time of all its stems
        queries = [PhraseQuery(words, "text") if together else written]
        if others and not together:
            queries.append(BooleanQuery([(Occur.SHOULD, one) for one in others]))
        return any(len(self._ask(query, 1, None)[0]) for query in queries)

    def scripts(self) -> dict[str, int]:
        """How many different words stand in captions, by script."""
        if self._scripts is None:
            counts: dict[str, set[str]] = {}
            if self.ready():
                rows = self._open.to_table(columns=["text"], limit=50_000)
                for text in rows["text"].to_pylist():
                    for word in grams(text):
                        counts.setdefault(script_of_character(word[0]), set()).add(word)
            self._scripts = {script: len(words) for script, words in counts.items()}
        return self._scripts

    def _ask(self, query: Any, limit: int | None, where: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Addresses, uint64, and scores, float32, of the rows that fit best."""
        import numpy as np

        most = limit if limit is not None else self._open.count_rows()
        if not most:
            return np.empty(0, np.uint64), np.empty(0, np.float32)
        scanner = self._open.scanner(
            columns=["_score"], with_row_id=True, full_text_query=query, limit=most, filter=where,
            prefilter=where is not None,
        )  # fmt: skip
        rows = scanner.to_table()
        return rows["_rowid"].to_numpy(), rows["_score"].to_numpy()


def _schema(stems: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    names = ["caption_id", "image_id", "lang", "kind", "text", "forms", *(f"text_{stem}" for stem in stems)]
    return pa.schema([pa.field(name, pa.string()) for name in names])


def _index(table: lance.LanceDataset, stems: Sequence[str]) -> None:
    shared: dict[str, Any] = {"remove_stop_words": False, "ascii_folding": True, "lower_case": True}
    table.create_scalar_index(
        "text", "INVERTED", name="text_idx", base_tokenizer="icu", with_position=True, stem=False, **shared
    )
    table.create_scalar_index(
        "forms", "INVERTED", name="forms_idx", base_tokenizer="whitespace", with_position=False, stem=False,
        **{**shared, "ascii_folding": False},
    )  # fmt: skip
    for stem in stems:
        how = {"stem": True, "language": STEMMED[stem]} if stem in STEMMED else {"stem": False}
        table.create_scalar_index(
            f"text_{stem}", "INVERTED", name=f"{stem}_idx", base_tokenizer="simple", with_position=False,
            **how, **shared,
        )  # fmt: skip


def _index_new(table: lance.LanceDataset) -> None:
    """Index what came, in segments of which each is much smaller than the one before: a row is indexed a few times.

    Scores count the rows of all segments: they are those of one index of all.
    """
    rows = table.stats.index_stats("text_idx")
    sizes, new = rows["num_indexed_rows_per_delta"], rows["num_unindexed_rows"]
    many = len(table.get_fragments()) > _MOST_FRAGMENTS
    merged = 0
    while merged < len(sizes) and (many or sizes[-1 - merged] <= _MUCH_LARGER * new):
        new += sizes[-1 - merged]
        merged += 1
    table.optimize.optimize_indices(num_indices_to_merge=merged)
    if many:
        table.optimize.compact_files(num_threads=1)
