"""Requests to the server beside the bare scorer: p50, p99, requests a second, over loopback.

    python benchmarks/bench_serve.py [--images 20000] [--captions 3] [--queries 200] [--clients 1 8] [--dataset X.pano]

The bare scorer is `Searcher.search` in the server's own process, before anybody asks; then the same queries come over
HTTP from this process, each client with a connection of its own. What is over the scorer is taken request by request,
by the time that the server says the scorer had (`Server-Timing`): so a busy machine does not hide it. Made-up captions
and vectors, unless a dataset is given. A window of the grid, thumbnails, and a search as the page asks are timed too.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

WORDS = "red blue green old small wild cat dog bird fish horse tree house boat road snow river table child city".split()
DIM = 512


class Given:
    """An encoder that costs nothing: a vector by the letters of the text."""

    name, fingerprint, batch_size, dim = "bench:given", "given-1", 32, DIM

    def encode_texts(self, texts, langs=None):
        import numpy as np

        rows = [np.random.default_rng(sum(map(ord, text))).standard_normal(DIM) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def fill(path: Path, images: int, captions: int) -> None:
    """A dataset of pictures of one colour, captions of three words, vectors by chance."""
    import io

    import numpy as np
    import PIL.Image

    from panoglot.table import Caption, caption_to_row, create_dataset, given_caption_id, image_id

    data, rng = create_dataset(path), np.random.default_rng(0)
    name = data.add_vectors(Given.name, Given.fingerprint, DIM)
    table = data.vectors(name, DIM)
    for start in range(0, images, 5000):
        rows, texts, vectors = [], [], []
        for n in range(start, min(images, start + 5000)):
            raw = io.BytesIO()
            PIL.Image.new("RGB", (320, 200), (n % 256, n // 256 % 256, n // 65536)).save(raw, "PNG")
            key = image_id(raw.getvalue())
            row = {"image_id": key, "data": raw.getvalue(), "uri": f"{n}.png", "width": 320, "height": 200}
            rows.append({**row, "format": "png"})
            vector = rng.standard_normal(DIM)
            vector = (vector / np.linalg.norm(vector)).astype(np.float16)
            vectors.append({"vector_id": key, "id": key, "of": "image", "lang": "und", "vector": vector, "run_id": ""})
            for lang in ("en", "de", "sw", "ja", "ar")[:captions]:
                text = " ".join(rng.choice(WORDS, 3)) + f" {lang}{n}."
                key_of = given_caption_id(key, "human", lang, None, text)
                texts.append(caption_to_row(Caption(text, lang, "human", image_id=key, caption_id=key_of)))
        data.images.insert(rows)
        data.captions.insert(texts)
        table.insert(vectors)
    data.tidy()


def queries(count: int) -> list[str]:
    """The texts that are searched for."""
    return [f"{WORDS[n % 7]} {WORDS[7 + n % 11]}" for n in range(count)]


def timed(work: Callable[[], Any]) -> float:
    """Milliseconds that something takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def told(times: Sequence[float], wall: float | None = None) -> dict[str, float]:
    """p50 and p99 in milliseconds, and how many a second."""
    ordered = sorted(times)
    seconds = sum(times) / 1000 if wall is None else wall
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"p50": round(statistics.median(times), 3), "p99": round(p99, 3), "rps": round(len(times) / seconds, 1)}


def serve(dataset: str, count: int, encoder: str | None) -> None:
    """The process of the server: measure the scorer, say so, then serve until the pipe closes."""
    from panoglot.retrieval import Searcher
    from panoglot.web import Server

    searcher = Searcher(dataset, encoder or Given(), files=False)
    for text in queries(20):
        searcher.search(text, k=60)
    bare = [timed(partial(searcher.search, text, k=60)) for text in queries(count)]
    with Server(searcher, port=0) as server:
        print(json.dumps({"port": server.port, "bare": told(bare)}), flush=True)
        sys.stdin.read()


def ask(port: int, count: int, clients: int, make: Callable[[int], tuple[str, str, dict[str, Any] | None]]) -> Any:
    """Ask from several clients at once, each request read to its end; `over`: median of what was not the scorer."""
    times: list[float] = []
    over: list[float] = []

    def one(connection: http.client.HTTPConnection, n: int) -> None:
        method, path, body = make(n)
        raw = json.dumps(body).encode() if body is not None else None
        began = time.perf_counter()
        connection.request(method, path, raw, {"Content-Type": "application/json"} if raw else {})
        answer = connection.getresponse()
        data = answer.read()
        times.append((time.perf_counter() - began) * 1000)
        assert answer.status < 400, data[:200]
        if said := answer.headers.get("Server-Timing"):
            over.append(times[-1] - float(said.partition("dur=")[2]))

    def client(mine: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for n in range(mine, count, clients):
            one(connection, n)
        connection.close()

    began = time.perf_counter()
    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = told(times, time.perf_counter() - began)
    return {**found, "over": round(statistics.median(over), 3)} if over and clients == 1 else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--captions", type=int, default=3)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--dataset")
    parser.add_argument("--encoder")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.queries, args.encoder)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = args.dataset or str(Path(folder) / "x.pano")
        if not args.dataset:
            fill(Path(path), args.images, args.captions)
        more = ["--encoder", args.encoder] if args.encoder else []
        line = [sys.executable, __file__, "--serve", path, "--queries", str(args.queries), *more]
        child = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdin
        assert child.stdout
        ready = json.loads(child.stdout.readline())
        port, texts = ready["port"], queries(args.queries)
        found: dict[str, Any] = {"search (Python)": ready["bare"]}
        whole = lambda n: ("POST", "/api/v1/search", {"text": texts[n], "k": 60})  # noqa: E731
        shown = lambda n: ("POST", "/api/v1/search", {"text": texts[n], "k": 60, "show": "de,en"})  # noqa: E731
        for clients in args.clients:
            found[f"search, {clients} clients"] = ask(port, args.queries, clients, whole)
            found[f"search as the page, {clients} clients"] = ask(port, args.queries, clients, shown)
        found["healthz"] = ask(port, 500, 1, lambda n: ("GET", "/healthz", None))
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/api/v1/items?n=100")
        first = json.loads(connection.getresponse().read())
        total, ids = first["total"], [item["id"] for item in first["items"]]
        window = lambda n: ("GET", f"/api/v1/items?from={n * 100 % max(1, total - 100)}&n=100&show=de", None)  # noqa: E731
        found["items, 100"] = ask(port, 50, 1, window)
        thumb = lambda n: ("GET", f"/api/v1/thumb/{ids[n % len(ids)]}/240.webp", None)  # noqa: E731
        found["thumbnail, made"] = ask(port, len(ids), 1, thumb)
        found["thumbnail, there"] = ask(port, len(ids), 1, thumb)
        child.stdin.close()
        child.wait(30)
    print(f"{'':32}{'p50 ms':>10}{'p99 ms':>10}{'a second':>10}")
    for name, one in found.items():
        print(f"{name:32}{one['p50']:10.2f}{one['p99']:10.2f}{one['rps']:10.0f}")
    over = [one["over"] for one in found.values() if "over" in one]
    print(f"over the scorer, median of one client's requests: {', '.join(f'{ms:.2f} ms' for ms in over)}")
    print(json.dumps({"benchmark": "serve", **found}))


if __name__ == "__main__":
    main()
