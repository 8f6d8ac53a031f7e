"""A smaller retrieval task: of the documents only those that several systems find, and what is to be found (MMTEB).

Source: arXiv 2502.13595: a query's pool are the first 250 documents of each of three systems (BM25 and two encoders)
and all that are right; at most 1,000 queries. Files are those of BEIR: `corpus.jsonl` (`_id, text[, title]`),
`queries.jsonl` (`_id, text`), `qrels/<split>.tsv` (`query-id, corpus-id, score`).
"""

from __future__ import annotations

import csv
import json
import math
import os
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.asking import encode_texts
from panoglot.checks import offenders
from panoglot.errors import UserError
from panoglot.formats._json import read_rows
from panoglot.metrics._results import ResultSet
from panoglot.metrics.ranking.rankings import rankings
from panoglot.text import tokenizer_for

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RetrievalTask", "bm25", "downsample", "pooled", "read_task", "write_task"]


@dataclass(frozen=True)
class RetrievalTask:
    """Texts by id, and the gain of what is to be found for each query."""

    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, float]]


def read_task(folder: str | os.PathLike[str], split: str = "test") -> RetrievalTask:
    """Read BEIR's files; queries without anything to find are left out.

    Raises:
        UserError: missing files, rows without an id or text, judgements of documents that are not there.
    """
    root = Path(folder)
    corpus, queries = _texts(root / "corpus.jsonl"), _texts(root / "queries.jsonl")
    qrels: dict[str, dict[str, float]] = defaultdict(dict)
    path = root / "qrels" / f"{split}.tsv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                if float(row["score"]) > 0:
                    qrels[row["query-id"]][row["corpus-id"]] = float(row["score"])
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} has no rows of query-id, corpus-id, score ({error}).") from None
    lost = sorted({doc for row in qrels.values() for doc in row if doc not in corpus})
    if lost:
        raise UserError(f"{len(lost)} documents that are judged are not in {root / 'corpus.jsonl'}: {offenders(lost)}.")
    judged = {query: text for query, text in queries.items() if query in qrels}
    if not judged:
        raise UserError(f"no query of {root / 'queries.jsonl'} is judged in {path}.")
    return RetrievalTask(corpus, judged, {query: qrels[query] for query in judged})


def _texts(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for n, row in enumerate(read_rows(str(path))):
        if row.get("_id") is None or not isinstance(row.get("text"), str):
            raise UserError(f"{path}: row {n} has no _id or no text.")
        found[str(row["_id"])] = " ".join(filter(None, [str(row.get("title") or ""), row["text"]]))
    return found


def bm25(queries: Sequence[str], documents: Sequence[str], lang: str = "en", k: float = 1.2, b: float = 0.75) -> Any:
    """BM25 scores, float32 `[Q, D]`, with the language's tokeniser.

    >>> bm25(["red cat"], ["a red cat", "a cat", "a dog"]).argsort()[0][::-1].tolist()
    [0, 1, 2]
    """
    import numpy as np

    cut = tokenizer_for(lang)
    counted = [Counter(words) for words in cut(list(documents))]
    sizes = np.array([sum(words.values()) for words in counted], np.float32)
    usual = float(sizes.mean()) or 1.0
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for n, words in enumerate(counted):
        for word, count in words.items():
            places[word].append((n, count))
    found = np.zeros((len(queries), len(documents)), np.float32)
    for row, asked in zip(found, cut(list(queries))):
        for word in asked:
            own = places.get(word, ())
            weight = math.log(1 + (len(documents) - len(own) + 0.5) / (len(own) + 0.5))
            for n, count in own:
                row[n] += weight * count * (k + 1) / (count + k * (1 - b + b * float(sizes[n]) / usual))
    return found


def pooled(
    task: RetrievalTask, runs: Mapping[str, np.ndarray], *, depth: int = 250, queries: int = 1000, seed: int = 0
) -> RetrievalTask:
    """The smaller task.

    Args:
        task: all of it.
        runs: scores `[Q, D]` of each system, in the order of its queries and documents.
        depth: documents of each system that go into a query's pool.
        queries: most queries; they are drawn.
        seed: of the draw.
    """
    import numpy as np

    names, documents = list(task.queries), list(task.corpus)
    chosen = sorted(random.Random(f"downsample {seed}").sample(range(len(names)), min(queries, len(names))))
    wanted = {doc for n in chosen for doc in task.qrels[names[n]]}
    for scores in runs.values():
        for n in chosen:
            # equal scores: the first of the corpus
            wanted.update(documents[at] for at in np.argsort(-scores[n], kind="stable")[:depth])
    return RetrievalTask(
        {doc: text for doc, text in task.corpus.items() if doc in wanted},
        {names[n]: task.queries[names[n]] for n in chosen},
        {names[n]: task.qrels[names[n]] for n in chosen},
    )


def write_task(task: RetrievalTask, folder: str | os.PathLike[str], split: str = "test") -> None:
    """Write BEIR's files.

    Raises:
        UserError: the folder is there already, or cannot be written.
    """
    root = Path(folder)
    try:
        (root / "qrels").mkdir(parents=True)
        for name, texts in (("corpus", task.corpus), ("queries", task.queries)):
            lines = [json.dumps({"_id": key, "text": text}, ensure_ascii=False) for key, text in texts.items()]
            (root / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        rows = [f"{query}\t{doc}\t{gain:g}" for query, gains in task.qrels.items() for doc, gain in gains.items()]
        text = "\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n"
        (root / "qrels" / f"{split}.tsv").write_text(text, encoding="utf-8")
    except FileExistsError:
        raise UserError(f"{root} is there already; name another folder.") from None
    except OSError as error:
        raise UserError(f"{root} cannot be written ({error}).") from None


def downsample(
    task: RetrievalTask,
    encoders: Mapping[str, Any],
    *,
    lang: str = "en",
    depth: int = 250,
    queries: int = 1000,
    seed: int = 0,
) -> tuple[RetrievalTask, ResultSet]:
    """Make a task smaller by BM25 and encoders, and say how each of them does on both.

    Args:
        task: all of it.
        encoders: by name.
        lang: of queries and documents.
        depth: documents of each system that go into a query's pool.
        queries: most queries.
        seed: of their draw.

    Returns:
        The task, and nDCG@10 of each system on all of it and on the smaller one, over the same queries.
    """
    import numpy as np

    asked, texts = list(task.queries.values()), list(task.corpus.values())
    runs = {"bm25": bm25(asked, texts, lang)}
    for name, encoder in encoders.items():
        one, other = (np.nan_to_num(encode_texts(encoder, some, lang)) for some in (asked, texts))
        runs[name] = one @ other.T
    small = pooled(task, runs, depth=depth, queries=queries, seed=seed)
    found = ResultSet()
    for name, scores in runs.items():
        for label, over in (("whole", task.corpus), ("small", small.corpus)):
            found[f"{name} {label}"] = rankings(
                _ranked(task, scores, small.queries, over), small.qrels, metrics=["ndcg@10"], name=f"{name}/{label}"
            )
    found.notes = (
        f"{len(small.corpus):,} of {len(task.corpus):,} documents, "
        f"{len(small.queries):,} of {len(task.queries):,} queries",
    )
    return small, found


def _ranked(
    task: RetrievalTask, scores: np.ndarray, queries: Mapping[str, str], documents: Mapping[str, str]
) -> dict[str, list[str]]:
    """The first ten documents of each query, among some."""
    import numpy as np

    names = list(task.corpus)
    inside = np.array([name in documents for name in names])
    found = {}
    for n, query in enumerate(task.queries):
        if query in queries:
            order = np.argsort(np.where(inside, -scores[n], np.inf), kind="stable")[:10]
            found[query] = [names[at] for at in order if inside[at]]
    return found
