"""A web server on loopback that misbehaves in every way that the path of a request names."""

import asyncio
import gzip
import threading
from collections import Counter
from contextlib import contextmanager

from tests.conftest import picture_bytes


class WebServer:
    """`/ok/7.jpg` is a picture; see `_answer` for the rest.

    Attributes:
        asked: paths by the number of requests.
        most: most requests at once.
        down: paths that begin so answer 503 while they stand here.
    """

    def __init__(self):
        self.asked, self.most, self.down = Counter(), 0, set()
        self.robots = {"localhost": (500, b"")}
        self.pages = {}
        self._now = 0

    @contextmanager
    def running(self):
        loop, ready = asyncio.new_event_loop(), threading.Event()

        async def start():
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]
            ready.set()

        asyncio.set_event_loop(None)
        thread = threading.Thread(target=lambda: (loop.run_until_complete(start()), loop.run_forever()), daemon=True)
        thread.start()
        ready.wait(10)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._end(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    async def _end(self):
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def url(self, path, host="127.0.0.1"):
        return f"http://{host}:{self.port}{path}"

    async def _serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ")[1].decode()
                host = next(line[6:] for line in head.decode().split("\r\n") if line.lower().startswith("host: "))
                self.asked[path] += 1
                self._now += 1
                self.most = max(self.most, self._now)
                try:
                    if not await self._answer(path, host.partition(":")[0], writer):
                        break
                    await writer.drain()
                finally:
                    self._now -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, path, host, writer):
        """Write the answer; False closes the connection."""
        kind = path.split("/")[1]

        def send(body=b"", status=200, type="image/jpeg", length=None, **headers):
            lines = [f"HTTP/1.1 {status} X", f"Content-Type: {type}"]
            lines += [f"Content-Length: {len(body) if length is None else length}"]
            lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            return True

        if path == "/robots.txt":
            status, body = self.robots.get(host, (200, b"User-agent: *\nDisallow: /private/\nDisallow: /*.secret$\n"))
            return send(body, status, "text/plain")
        if path in self.pages:
            body, type = self.pages[path]
            return send(body, type=type)
        if any(path.startswith(down) for down in self.down):
            return send(status=503, Retry_After=0)
        seed = int("0" + "".join(c for c in path.rpartition("/")[2] if c.isdigit()))
        picture = picture_bytes(seed, 32, 24)
        if kind in ("ok", "private", "x.secret"):
            await asyncio.sleep(0.002)
            return send(picture)
        if kind == "flaky":  # twice unavailable, then there
            return send(status=503, Retry_After=0) if self.asked[path] < 3 else send(picture)
        if kind == "html":
            return send(b"<!doctype html><p>no picture", type="text/html")
        if kind == "liar":
            return send(b"PK\x03\x04 an archive that says it is a picture")
        if kind == "status":
            return send(status=seed)
        if kind == "huge":
            return send(b"\xff\xd8\xff", length=10**12)
        if kind == "cut":
            send(picture[:100], length=len(picture))
            return False
        if kind == "reset":
            return False
        if kind == "loop":
            return send(status=302, Location=path)
        if kind == "go":  # /go/HOST/… leads to another host
            return send(status=301, Location=f"http://{path.split('/')[2]}:{self.port}/ok/{seed}.jpg")
        if kind == "file":
            return send(status=302, Location="file:///etc/passwd")
        if kind == "packed":
            return send(gzip.compress(bytes(10**6)), Content_Encoding="gzip")
        if kind == "noai":
            return send(picture, X_Robots_Tag="noai")
        if kind == "othertag":
            return send(picture, X_Robots_Tag="otherbot: noindex")
        writer.write(b"HTTP/1.1 200 X\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n")
        if kind == "drip":  # a byte now and then
            while True:
                writer.write(b"1\r\n\xff\r\n")
                await writer.drain()
                await asyncio.sleep(0.1)
        for _ in range(10**6 if kind == "endless" else 0):
            writer.write(b"10000\r\n" + b"\xff\xd8\xff" + bytes(0x10000 - 3) + b"\r\n")
            await writer.drain()
        return False
