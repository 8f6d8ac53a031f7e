"""What the server counts of itself, as text for Prometheus (exposition format 0.0.4). No names, no queries, no ids."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator

__all__ = ["Meter"]

#: Upper ends of the classes of seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meter:
    """Requests by route and status, how long they took, and how many are under way."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, list[int]] = {}
        self._sum: Counter[str] = Counter()
        self._started = time.time()
        self.under_way = 0

    def begin(self) -> float:
        """A request has come; returns what `end` takes."""
        with self._changed:
            self.under_way += 1
        return time.perf_counter()

    def end(self, began: float, route: str, status: int) -> None:
        """Its answer has gone."""
        took = time.perf_counter() - began
        with self._changed:
            self.under_way -= 1
            self._requests[route, status] += 1
            self._seconds.setdefault(route, [0] * (len(BUCKETS) + 1))[bisect_left(BUCKETS, took)] += 1
            self._sum[route] += took  # type: ignore[assignment]
            self._changed.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing is under way; whether it came to that."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.under_way, seconds)

    def text(self, images: dict[str, int]) -> str:
        """Everything, for `GET /metrics`.

        Args:
            images: dataset to number of pictures.
        """
        with self._changed:
            return "\n".join(self._lines(images)) + "\n"

    def _lines(self, images: dict[str, int]) -> Iterator[str]:
        yield from _head("panoglot_requests_total", "counter", "Requests that were answered.")
        for (route, status), n in sorted(self._requests.items()):
            yield f'panoglot_requests_total{{route="{route}",status="{status}"}} {n}'
        yield from _head("panoglot_request_seconds", "histogram", "Seconds from a request to its answer.")
        for route, counts in sorted(self._seconds.items()):
            so_far = 0
            for edge, n in zip([*map(str, BUCKETS), "+Inf"], counts):
                so_far += n
                yield f'panoglot_request_seconds_bucket{{route="{route}",le="{edge}"}} {so_far}'
            yield f'panoglot_request_seconds_sum{{route="{route}"}} {self._sum[route]:.6f}'
            yield f'panoglot_request_seconds_count{{route="{route}"}} {so_far}'
        yield from _head("panoglot_requests_under_way", "gauge", "Requests that are being answered.")
        yield f"panoglot_requests_under_way {self.under_way}"
        yield from _head("panoglot_images", "gauge", "Pictures in a dataset.")
        for name, n in images.items():
            yield f'panoglot_images{{dataset="{_quoted(name)}"}} {n}'
        yield from _head("panoglot_start_time_seconds", "gauge", "When the server started, since 1970.")
        yield f"panoglot_start_time_seconds {self._started:.3f}"


def _head(name: str, kind: str, about: str) -> Iterable[str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}"


def _quoted(value: str) -> str:
    r"""A value as the format wants it.

    >>> print(_quoted('a"b\\c'))
    a\"b\\c
    """
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
