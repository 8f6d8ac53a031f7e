"""Download of small pictures from a server on loopback, beside a plain asyncio loop over the same bytes.

    python benchmarks/bench_download.py --urls 2000

The server is a process of its own and answers from memory; it has one address, so `per_host` is as large as all
connections. The plain loop asks with as many connections, keeps them, and checks nothing; `client` is the HTTP library
doing the same, over its own sockets and over ours (`wires`). CPU microseconds are those of the process that downloads,
without the server. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CONNECTIONS = 32


async def serve(ready, body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    robots = b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                writer.write(robots if b" /robots.txt " in request.split(b"\r\n", 1)[0] else head + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    ready.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def server_process(ready, body: bytes) -> None:
    asyncio.run(serve(ready, body))


async def plain(port: int, count: int) -> int:
    """The floor: connections that are kept, requests in turn, bodies read to their length."""
    paths = iter(range(count))
    total = 0

    async def work() -> None:
        nonlocal total
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for n in paths:
            writer.write(f"GET /{n}.jpg HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))[15:])
            total += len(await reader.readexactly(length))
        writer.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return total


async def client(port: int, count: int, wires: bool) -> int:
    """The same loop by the HTTP library's connections, which are kept: what it costs, over its own way or ours."""
    import httpcore2

    from panoglot.formats._wires import connect

    class Ours(httpcore2.AsyncNetworkBackend):
        async def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
            return await connect(host, port, timeout)

    paths = iter(range(count))
    total = 0

    async def work(backend) -> None:
        nonlocal total
        where = {"scheme": b"http", "host": b"127.0.0.1", "port": port}
        site = httpcore2.URL(**where, target=b"/").origin
        headers = [(b"Host", b"127.0.0.1"), (b"User-Agent", b"x"), (b"Accept", b"image/*")]
        connection = httpcore2.AsyncHTTPConnection(site, keepalive_expiry=10, network_backend=backend)
        for n in paths:
            address = httpcore2.URL(**where, target=f"/{n}.jpg".encode())
            response = await connection.handle_async_request(httpcore2.Request("GET", address, headers=headers))
            async for piece in response.aiter_stream():
                total += len(piece)
            await response.aclose()
        await connection.aclose()

    await asyncio.gather(*(work(Ours() if wires else None) for _ in range(CONNECTIONS)))
    return total


def ours(path: Path) -> int:
    from panoglot.formats import Downloads, Limits, Sample, find_format, read_part

    downloads = Downloads(Limits(connections=CONNECTIONS))
    _, parts = find_format(path, options={"allow_private": True, "per_host": CONNECTIONS})
    found = (one for part in parts() for one in read_part(part, downloads))
    total = sum(len(one.data) for one in found if isinstance(one, Sample))
    downloads.close()
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--urls", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=40_000, help="of a picture")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    body = b"\xff\xd8\xff\xe0" + bytes(chosen.bytes - 4)  # a beginning of a JPEG: nothing is decoded here
    receive, send = multiprocessing.Pipe(False)
    process = multiprocessing.Process(target=server_process, args=(send, body), daemon=True)
    process.start()
    port = receive.recv()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "urls.csv"
        rows = [f"http://127.0.0.1:{port}/{n}.jpg,a picture" for n in range(chosen.urls)]
        path.write_text("\n".join(["url,caption", *rows]) + "\n")
        ways: dict[str, Callable[[], int]] = {
            "plain": lambda: asyncio.run(plain(port, chosen.urls)),
            "client": lambda: asyncio.run(client(port, chosen.urls, False)),
            "client_wires": lambda: asyncio.run(client(port, chosen.urls, True)),
            "panoglot": lambda: ours(path),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(chosen.rounds):
            for name, way in ways.items():
                started, used = time.perf_counter(), time.process_time()
                total = way()
                seconds[name].append(time.perf_counter() - started)
                cpu[name].append(time.process_time() - used)
                assert total == chosen.urls * chosen.bytes, (name, total)
    process.terminate()
    took = {name: statistics.median(values) for name, values in seconds.items()}
    used = {name: statistics.median(values) / chosen.urls * 1e6 for name, values in cpu.items()}
    size = chosen.urls * chosen.bytes / 1e6
    for name, value in took.items():
        rate = f"{chosen.urls / value:8,.0f} a second {size / value:8,.1f} MB/s"
        print(f"{name:18} {rate} {used[name]:8.0f} CPU-µs a picture")
    facts = {"urls": chosen.urls, "bytes": chosen.bytes, "rounds": chosen.rounds, "connections": CONNECTIONS}
    rates = {f"{name}_a_second": round(chosen.urls / value, 1) for name, value in took.items()}
    rates |= {f"{name}_cpu_us": round(value, 1) for name, value in used.items()}
    shares = {
        "share": round(took["plain"] / took["panoglot"], 3),
        "cpu_share": round(used["plain"] / used["panoglot"], 3),
    }
    print(json.dumps({"benchmark": "download", **facts, **rates, **shares}))


if __name__ == "__main__":
    main()
