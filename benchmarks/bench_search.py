"""Top-10 search over float16 vectors beside numpy and faiss, with the time that reading the bytes takes.

    python benchmarks/bench_search.py [--sizes 100000 1000000] [--dim 512] [--index]

The vectors are clustered, as those of real encoders are. All see the same queries; recall is against float64 brute
force over the stored float16 vectors. `panoglot` is a `Searcher` on a real dataset, from a query vector to (id, score):
over float16, and after `panoglot index` with the int8 copy that is read first; and the times of its first query: with
the table read, and with the mapped copy that the first one left. Beside faiss both run in turn, one query each.
`search()` is the whole way: query, plan, terms, scores, hits; with `--captions` also over that many captions a picture
by words and vectors, beside its parts alone, and at last with a vector of the first caption of every picture. The floor
is the time of reading the vectors once, measured here with as many threads.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from panoglot.retrieval import Searcher, index
from panoglot.table import create_dataset
from panoglot.vectors import first_scores, threads

K = 10


class Given:
    """An encoder that is never asked: the queries are vectors already."""

    name, fingerprint, batch_size = "bench:given", "given-1", 1

    def __init__(self, dim: int) -> None:
        self.dim, self.next = dim, np.zeros(dim, np.float32)

    def encode_texts(self, texts, langs=None):
        return np.repeat(self.next[None], len(texts), axis=0)


def vectors(start: int, count: int, dim: int, centres: np.ndarray) -> np.ndarray:
    """Unit vectors around `centres`, float16 `[count, dim]`."""
    rng = np.random.default_rng((1, start))
    found = centres[rng.integers(0, len(centres), count)]
    found += 0.8 * rng.standard_normal((count, dim), dtype=np.float32)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def fill(table, count: int, dim: int, centres: np.ndarray) -> np.ndarray:
    """Write the vectors as a table and return them."""
    every = np.empty((count, dim), np.float16)
    for start in range(0, count, 50_000):
        part = vectors(start, min(50_000, count - start), dim, centres)
        every[start : start + len(part)] = part
    write(table, "image", [f"{n:032x}" for n in range(count)], every)
    return every


def write(table, of: str, keys: list[str], every: np.ndarray) -> None:
    """Append vectors `[n, dim]` of images or captions."""
    import lance
    import pyarrow as pa

    dim = every.shape[1]
    for start in range(0, len(keys), 50_000):
        part, ids = every[start : start + 50_000], pa.array(keys[start : start + 50_000])
        columns = {
            "vector_id": pa.array([f"{key[1:]}{of[0]}" for key in ids.to_pylist()]),
            "id": ids,
            "of": pa.array([of] * len(part)),
            "lang": pa.array(["und"] * len(part)),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), dim),
            "run_id": pa.array([""] * len(part)),
        }
        rows = pa.Table.from_arrays([columns[name] for name in table.schema.names], schema=table.schema)
        lance.write_dataset(rows, table.store.table(table.name).uri, mode="append")


def truth(every: np.ndarray, queries: np.ndarray) -> list[set[int]]:
    """The best K of every query in float64."""
    scores = np.concatenate(
        [every[n : n + 20_000].astype(np.float64) @ queries.T.astype(np.float64) for n in range(0, len(every), 20_000)]
    )
    return [set(np.argsort(-column, kind="stable")[:K].tolist()) for column in scores.T]


def measure(ask, queries: np.ndarray, best: list[set[int]]) -> dict[str, float]:
    """Milliseconds (p50, p95) and recall of `ask(query) -> row numbers`."""
    ask(queries[0])
    took, right = [], 0
    for query, expected in zip(queries, best):
        start = time.perf_counter()
        found = ask(query)
        took.append((time.perf_counter() - start) * 1e3)
        right += len(expected & set(found))
    return {
        "p50_ms": round(float(np.percentile(took, 50)), 3),
        "p95_ms": round(float(np.percentile(took, 95)), 3),
        "recall": round(right / (K * len(queries)), 4),
    }


def read_ms(every: np.ndarray, pool: ThreadPoolExecutor, times: int) -> float:
    """Milliseconds of reading all bytes once with all threads: median."""
    words = every.reshape(-1).view(np.uint64)
    parts = np.array_split(words, threads())
    took = []
    for _ in range(times):
        start = time.perf_counter()
        list(pool.map(np.bitwise_or.reduce, parts))
        took.append((time.perf_counter() - start) * 1e3)
    return float(np.median(took))


def whole(dataset, searcher, queries: np.ndarray, best: list[set[int]], given: Given) -> dict[str, object]:
    """Times of `search()` with every part, over the same queries."""
    searcher._model = given
    captions = dataset.captions.exists() and dataset.captions.count() > 0
    found: dict[str, object] = {}
    for parts in ["picture", "lexical", "lexical,picture"] if captions else ["picture"]:

        def ask(query: np.ndarray, parts: str = parts) -> list[int]:
            given.next = query
            words = " ".join(WORDS[int(abs(x) * 1e4) % len(WORDS)] for x in query[:3])
            return [int(hit.image_id, 16) for hit in searcher.search(words, k=K, parts=parts)]

        found[f"panoglot search() {parts}"] = measure(ask, queries, best)
    return found


WORDS = [f"{a}{b}{c}o" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfglmnrst"]


def say(dataset, count: int, each: int) -> None:
    """Write captions of made-up words."""
    import lance
    import pyarrow as pa

    rng = np.random.default_rng(2)
    table = dataset.captions.ensure()
    for start in range(0, count, 10_000):
        ids = [f"{n:032x}" for n in range(start, min(count, start + 10_000)) for _ in range(each)]
        words = rng.zipf(1.3, (len(ids), 8)) % len(WORDS)
        texts = [" ".join(WORDS[w] for w in row) for row in words]
        columns = {
            "caption_id": [f"{start * each + n:032x}" for n in range(len(ids))], "image_id": ids, "text": texts,
            "lang": ["en"] * len(ids), "kind": ["alt"] * len(ids),
        }  # fmt: skip
        arrays = [
            pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(len(ids), field.type)
            for field in table.schema
        ]
        lance.write_dataset(
            pa.Table.from_arrays(arrays, schema=table.schema), table.store.table(table.name).uri, mode="append"
        )


def paired(searcher, given: Given, queries: np.ndarray) -> dict[str, float]:
    """Median CPU ms of all threads, floors and ways in turn: vectors once, BM25 by Lance alone, `search()`."""
    from lance.query import MatchQuery

    given.next = queries[0]
    searcher._model = given
    searcher.search("begin", k=K)
    rows, table = searcher._vectors.parts[0].vectors, searcher.lexicon._open
    out = np.empty(len(rows), np.float32)

    def words(text: str) -> None:
        columns = ["image_id", "_score"]
        table.scanner(columns=columns, full_text_query=MatchQuery(text, "text"), limit=100).to_table()

    took: dict[str, list[float]] = {}
    for query in queries:
        given.next = query
        text = " ".join(WORDS[int(abs(x) * 1e4) % len(WORDS)] for x in query[:3])
        for name, work in {
            "floor vectors": lambda q=query: first_scores(rows, q.astype(np.float16), out),
            "floor words": lambda t=text: words(t),
            "nearest": lambda q=query: searcher.nearest(q, K),
            "search picture": lambda t=text: searcher.search(t, k=K, parts="picture"),
            "search lexical,picture": lambda t=text: searcher.search(t, k=K, parts="lexical,picture"),
        }.items():
            began = time.process_time()
            work()
            took.setdefault(name, []).append((time.process_time() - began) * 1e3)
    every = {name: np.array(values) for name, values in took.items()}
    found = {name: float(np.median(values)) for name, values in every.items()}
    found["nearest of its floor"] = float(np.median(every["nearest"] / every["floor vectors"]))
    floors = every["floor vectors"] + every["floor words"]
    found["hybrid of its floors"] = float(np.median(every["search lexical,picture"] / floors))
    return {name: round(value, 2) for name, value in found.items()}


def meaning(dataset, table, every: np.ndarray, each: int, queries: np.ndarray) -> dict[str, object]:
    """`search()` where the first caption of every picture has a vector too, near that of the picture.

    Recall is that of captions alone; then median CPU ms, the parts in turn, of which the last is what a search asks.
    """
    rng = np.random.default_rng(3)
    said = np.empty_like(every)
    for n in range(0, len(every), 20_000):
        some = every[n : n + 20_000].astype(np.float32)
        some += 0.5 / np.sqrt(every.shape[1]) * rng.standard_normal(some.shape, dtype=np.float32)
        said[n : n + 20_000] = some / np.linalg.norm(some, axis=1, keepdims=True)
    write(table, "caption", [f"{n * each:032x}" for n in range(len(every))], said)
    given, best = Given(every.shape[1]), truth(said, queries)
    index(dataset, given, above=max(2 * len(every), 255))
    searcher = Searcher(dataset, given, backend="exact")
    searcher._model = given
    took: dict[str, list[float]] = {}
    right = 0
    for query, expected in zip([queries[0], *queries], [best[0], *best]):
        given.next = query
        words = " ".join(WORDS[int(abs(x) * 1e4) % len(WORDS)] for x in query[:3])
        for parts in ("picture", "lexical,picture", "caption", "lexical,caption,picture"):
            began = time.process_time()
            hits = searcher.search(words, k=K, parts=parts)
            took.setdefault(parts, []).append((time.process_time() - began) * 1e3)
            right += len(expected & {int(hit.image_id, 16) for hit in hits}) if parts == "caption" else 0
    found = {parts: round(float(np.median(times[1:])), 2) for parts, times in took.items()}
    return {"cpu_ms": found, "caption_recall": round(right / (K * (len(queries) + 1)), 4)}


def beside(ways: dict[str, Callable[[np.ndarray], object]], queries: np.ndarray) -> dict[str, float]:
    """Median CPU ms of some ways, one query each in turn, and of each beside the last one."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for query in [queries[0], *queries]:
        for name, ask in ways.items():
            began = time.process_time()
            ask(query)
            took[name].append((time.process_time() - began) * 1e3)
    every = {name: np.array(values[1:]) for name, values in took.items()}
    *others, last = every
    found = {name: float(np.median(values)) for name, values in every.items()}
    found |= {f"{name} of {last}": float(np.median(every[name] / every[last])) for name in others}
    return {name: round(value, 2) for name, value in found.items()}


def run(count: int, dim: int, asked: int, with_index: bool, captions: int = 0) -> dict[str, object]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((2000, dim), dtype=np.float32)
    pool = ThreadPoolExecutor(threads())
    with tempfile.TemporaryDirectory() as folder:
        dataset = create_dataset(Path(folder) / "x.pano")
        name = dataset.add_vectors("bench:given", "given-1", dim)
        every = fill(dataset.vectors(name), count, dim, centres)
        queries = every[rng.integers(0, count, asked)] + 0.02 * rng.standard_normal((asked, dim), dtype=np.float32)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        best = truth(every, queries)
        if captions:
            say(dataset, count, captions)
            dataset.tidy()  # as a build leaves it
        results: dict[str, object] = {"rows": count, "dim": dim}
        floor = read_ms(every, pool, 15)
        results["floor_read_ms"] = round(floor, 3)
        results["bandwidth_gb_s"] = round(every.nbytes / floor / 1e6, 1)

        for label in ("first_query_s", "first_query_mapped_s"):
            start, used = time.perf_counter(), time.process_time()
            searcher = Searcher(dataset, Given(dim), backend="exact")
            searcher.nearest(queries[0], K)
            results[label] = round(time.perf_counter() - start, 3)
            results[f"{label}_cpu_gb"] = round((time.process_time() - used) / every.nbytes * 1e9, 2)
        results["panoglot f16"] = measure(lambda q: [int(key, 16) for key, _ in searcher.nearest(q, K)], queries, best)
        plain = searcher
        index(dataset, Given(dim), above=max(count, 255))
        start = time.perf_counter()
        searcher = Searcher(dataset, Given(dim), backend="exact")
        searcher.nearest(queries[0], K)
        results["first_query_indexed_s"] = round(time.perf_counter() - start, 3)
        results["panoglot i8+f16"] = measure(
            lambda q: [int(key, 16) for key, _ in searcher.nearest(q, K)], queries, best
        )
        results |= whole(dataset, searcher, queries, best, Given(dim))
        if captions:
            results["cpu_ms"] = paired(searcher, Given(dim), queries)
            results["with_caption_vectors"] = meaning(dataset, dataset.vectors(name), every, captions, queries)
        kept = searcher

        def halves(query: np.ndarray) -> list[int]:
            scores = np.concatenate([every[n : n + 8192].astype(np.float32) @ query for n in range(0, count, 8192)])
            return np.argpartition(-scores, K)[:K].tolist()

        results["numpy f16"] = measure(halves, queries[: min(asked, 10)], best)
        faiss = None
        if importlib.util.find_spec("faiss"):
            import faiss
        if faiss:
            held = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
            held.train(every[:1000].astype(np.float32))
            for n in range(0, count, 50_000):
                held.add(every[n : n + 50_000].astype(np.float32))
            faiss.omp_set_num_threads(threads())
            results["faiss f16"] = measure(lambda q: held.search(q[None], K)[1][0].tolist(), queries, best)
            ways = {"panoglot f16": plain, "panoglot i8": kept}
            results["beside_faiss"] = beside(
                {name: lambda q, s=s: s.nearest(q, K) for name, s in ways.items()}
                | {"faiss f16": lambda q: held.search(q[None], K)},
                queries,
            )
            del held
        del plain, kept
        floats = every.astype(np.float32)

        def singles(query: np.ndarray) -> list[int]:
            return np.argpartition(-(floats @ query), K)[:K].tolist()

        results["numpy f32"] = measure(singles, queries, best)
        if faiss:
            flat = faiss.IndexFlatIP(dim)
            flat.add(floats)
            results["faiss f32"] = measure(lambda q: flat.search(q[None], K)[1][0].tolist(), queries, best)
            del flat
        if with_index:
            start = time.perf_counter()
            index(dataset, Given(dim), above=0)
            results["index_build_s"] = round(time.perf_counter() - start, 1)
            searcher = Searcher(dataset, Given(dim), backend="index")
            results["panoglot index"] = measure(
                lambda q: [int(key, 16) for key, _ in searcher.nearest(q, K)], queries, best
            )
    return results


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    options.add_argument("--dim", type=int, default=512)
    options.add_argument("--queries", type=int, default=40)
    options.add_argument("--index", action="store_true", help="also build and measure the index (minutes)")
    options.add_argument("--captions", type=int, default=0, help="captions a picture: their words, and meaning")
    args = options.parse_args()
    report = []
    for count in args.sizes:
        results = run(count, args.dim, args.queries, args.index, args.captions)
        report.append(results)
        print(f"\n{count:,} x {args.dim}, top {K}, {threads()} threads")
        print(f"  floor: reading float16 once  {results['floor_read_ms']:8.2f} ms   {results['bandwidth_gb_s']} GB/s")
        for label, value in results.items():
            if label in ("cpu_ms", "beside_faiss", "with_caption_vectors"):
                print(f"  {label}: " + ", ".join(f"{name} {ms}" for name, ms in value.items()))
            elif isinstance(value, dict):
                print(f"  {label:28} {value['p50_ms']:8.2f} ms   p95 {value['p95_ms']:8.2f}   recall {value['recall']}")
        each = f"{results['first_query_s_cpu_gb']} CPU-s a gigabyte"
        print(f"  first query, table read      {results['first_query_s'] * 1e3:8.0f} ms   {each}")
        print(f"  first query, mapped copy     {results['first_query_mapped_s'] * 1e3:8.0f} ms")
        if "index_build_s" in results:
            print(f"  index built in               {results['index_build_s']:8.1f} s")
    print(json.dumps({"bench": "search", "threads": threads(), "runs": report}))


if __name__ == "__main__":
    main()
