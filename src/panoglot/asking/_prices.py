"""What models cost, from a table that the user sets, and a budget that holds.

No price is built in: prices change, and a wrong one is worse than none. A model without a price has the cost None,
which is counted as unknown; a model that runs on the user's own machine costs nothing.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from panoglot.errors import BudgetReached, UserError, did_you_mean, yaml_fault

__all__ = ["LOCAL_PROVIDERS", "TEMPLATE", "Budget", "Price", "Prices"]

#: Providers that compute in the user's own processes: 0.0 unless the table says otherwise (a rented GPU has its price).
LOCAL_PROVIDERS = frozenset(["embedded", "facets", "hf", "llm", "onnx", "open_clip", "pano", "python", "st", "vllm"])

#: What `panoglot` writes for the user to fill in.
TEMPLATE = """\
# Prices in US dollars. Give this file as --prices FILE, or export PANOGLOT_PRICES=FILE.
# A pattern is matched against the model's name as `captions.model` shows it (* ? [abc]); the first match counts.
# Look the numbers up at your provider today; none are built in.
#
# "openai:some-model*":
#   input: 0.00        # a million tokens read
#   output: 0.00       # a million tokens written
#   per_image: 0.00    # a picture, where it is not counted in tokens
#   per_request: 0.00  # a request
#   batch: 0.5         # share of all this that a request in a batch costs
# "openai:*":          # a server of your own
#   input: 0
#   output: 0
"""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars: `input` and `output` a million tokens, `per_image`, `per_request`; `batch`: the share in a batch."""

    input: float = 0.0
    output: float = 0.0
    per_image: float = 0.0
    per_request: float = 0.0
    batch: float = 0.5


class Prices:
    """A price table.

    Args:
        table: pattern to price, in order; a price is a `Price` or a mapping with its fields.

    Raises:
        UserError: an unknown field, or a price that is no number of at least 0.

    >>> prices = Prices({"openai:big-*": {"input": 2.0, "output": 10.0}})
    >>> prices.cost("openai:big-1", 500_000, 100_000)
    2.0
    >>> print(prices.cost("openai:other", 10, 10), prices.cost("hf:owner/name", 10, 10))
    None 0.0
    """

    def __init__(self, table: Mapping[str, Price | Mapping[str, Any]] | None = None, source: str = "prices") -> None:
        self.table = {str(pattern): _price(str(pattern), price, source) for pattern, price in (table or {}).items()}

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> Prices:
        """Read a YAML file: `path`, else the one that `PANOGLOT_PRICES` names, else no prices.

        Raises:
            UserError: the file is absent or is no table of prices.
        """
        import yaml

        path = path or os.environ.get("PANOGLOT_PRICES") or None
        if path is None:
            return cls()
        try:
            table = yaml.safe_load(Path(path).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise UserError(f"the price file '{path}' cannot be read: {why}.") from None
        except (yaml.YAMLError, RecursionError) as error:
            raise UserError(f"the price file '{path}' is no YAML: {yaml_fault(error)}") from None
        if table is not None and not isinstance(table, dict):
            raise UserError(
                f"the price file '{path}' must map model patterns to prices, not be a {type(table).__name__}."
            )
        return cls(table, str(path))

    def price(self, model: str) -> Price | None:
        """Return the price of the model named `model`, or None when it is unknown."""
        for pattern, price in self.table.items():
            if fnmatchcase(model, pattern):
                return price
        return Price() if model.partition(":")[0] in LOCAL_PROVIDERS else None

    def cost(
        self, model: str, tokens_in: int | None, tokens_out: int | None, images: int = 0, *, batched: bool = False
    ) -> float | None:
        """Return the dollars that one request cost, or None when nobody knows.

        Args:
            model: the model's `name`.
            tokens_in: tokens read; None when the server did not say.
            tokens_out: tokens written, likewise.
            images: pictures sent.
            batched: it went by a batch API.
        """
        price = self.price(model)
        if price is None or (price.input and tokens_in is None) or (price.output and tokens_out is None):
            return None
        tokens = ((tokens_in or 0) * price.input + (tokens_out or 0) * price.output) / 1e6
        whole = tokens + images * price.per_image + price.per_request
        return whole * price.batch if batched else whole


def _price(pattern: str, price: Price | Mapping[str, Any], source: str) -> Price:
    if isinstance(price, Price):
        return price
    known = [field.name for field in fields(Price)]
    if not isinstance(price, Mapping):
        raise UserError(f"{source}: the price of '{pattern}' must have some of {', '.join(known)}.")
    for name, value in price.items():
        if name not in known:
            raise UserError(f"{source}: the price of '{pattern}' has no '{name}'.{did_you_mean(str(name), known)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise UserError(f"{source}: {name} of '{pattern}' must be a number of at least 0, not {value!r}.")
    return Price(**{name: float(value) for name, value in price.items()})


class Budget:
    """The most that a run may spend. Safe to use from threads and event loops at once.

    Before a request its highest possible cost is reserved; afterwards the real cost takes its place. Near the end
    requests wait for those in flight to be settled, so the limit holds as long as the estimates are upper bounds, and
    money that was only reserved is not left unspent.

    Args:
        max_cost: US dollars; None: no limit, only counting.

    Attributes:
        spent: dollars known to be spent.
        unknown: requests whose cost nobody knows.

    >>> budget = Budget(1.0)
    >>> budget.try_reserve(0.6), budget.try_reserve(0.6)  # the second must wait for the first
    (True, False)
    >>> budget.settle(0.6, 0.1)
    >>> budget.try_reserve(0.6), budget.spent
    (True, 0.1)
    """

    def __init__(self, max_cost: float | None = None) -> None:
        if max_cost is not None and not max_cost >= 0:
            raise UserError(f"max_cost={max_cost!r} must be at least 0 dollars.")
        self.max_cost, self.spent, self.unknown = max_cost, 0.0, 0
        self._reserved, self._flying = 0.0, 0
        self._lock = threading.Lock()

    def try_reserve(self, estimate: float | None, model: str = "") -> bool:
        """Reserve the highest possible cost of a request; False: not now, others must be settled first.

        Raises:
            BudgetReached: the money is spent.
            UserError: there is a limit, and no price for this model.
        """
        with self._lock:
            if self.max_cost is not None:
                if estimate is None:
                    raise UserError(
                        f"--max-cost needs the price of '{model}': put it into a price file, given as --prices FILE."
                    )
                if self.spent + self._reserved + estimate > self.max_cost * (1 + 1e-9):
                    if self._flying:
                        return False
                    raise BudgetReached(
                        f"{self.spent:.4f} of {self.max_cost:.4f} dollars are spent, and the next request may cost "
                        f"{estimate:.4f}; run again with a higher --max-cost to go on.",
                        estimate,
                    )
            self._reserved += estimate or 0.0
            self._flying += 1
            return True

    async def reserve(self, estimate: float | None, model: str = "") -> None:
        """Reserve, waiting for requests in flight where it depends on them. Raises as `try_reserve`."""
        while not self.try_reserve(estimate, model):
            await asyncio.sleep(0.02)

    def settle(self, estimate: float | None, actual: float | None) -> None:
        """Put the real cost in the place of the reservation; None: nobody knows it. A request that failed cost 0.0.

        While there is a limit, an unknown cost counts as what was reserved: the limit holds all the same.
        """
        with self._lock:
            self._flying -= 1
            self._reserved = max(0.0, self._reserved - (estimate or 0.0)) if self._flying else 0.0
            if actual is None:
                self.unknown += 1
                actual = estimate if self.max_cost is not None else None
            self.spent += actual or 0.0
