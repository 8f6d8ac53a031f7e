"""Prices from the user's table, and budgets that hold."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest
import yaml

from panoglot.asking import TEMPLATE, Budget, Price, Prices
from panoglot.errors import BudgetReached, UserError


def test_costs_by_hand():
    prices = Prices({"openai:a*": {"input": 0.5, "output": 2, "per_image": 0.001, "per_request": 0.01}})
    assert prices.cost("openai:abc", 2_000_000, 500_000, images=3) == pytest.approx(1.0 + 1.0 + 0.003 + 0.01)
    assert prices.cost("openai:abc", 0, 0) == pytest.approx(0.01)


def test_unknown_is_none_and_local_is_zero():
    prices = Prices({"openai:a": {"input": 1.0}})
    assert prices.cost("openai:b", 1, 1) is None
    assert prices.cost("openai:a", None, 5) is None  # the server did not say what it read
    assert prices.cost("openai:a", 1_000_000, None) == 1.0  # what it wrote is free here
    for name in ("embedded:evidence", "hf:a/b", "llm:gemma3-270m", "vllm:a/b", "python:mine"):
        assert prices.cost(name, None, None) == 0.0


def test_the_first_match_counts_and_a_rented_gpu_may_have_its_price():
    prices = Prices({"openai:a-mini": Price(1), "openai:a*": Price(2), "hf:*": {"per_request": 0.5}})
    assert [prices.cost(n, 1_000_000, 0) for n in ("openai:a-mini", "openai:a-large", "hf:x/y")] == [1.0, 2.0, 0.5]


def test_files(tmp_path, monkeypatch):
    path = tmp_path / "prices.yaml"
    path.write_text('"openai:*":\n  input: 3\n  output: 15.5\n')
    assert Prices.load(path).price("openai:x") == Price(3, 15.5)
    monkeypatch.setenv("PANOGLOT_PRICES", str(path))
    assert Prices.load().price("openai:x") == Price(3, 15.5)
    monkeypatch.delenv("PANOGLOT_PRICES")
    assert Prices.load().price("openai:x") is None


def test_the_template_sets_no_price_and_reads_when_uncommented(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(TEMPLATE)
    assert Prices.load(path).table == {}
    _, _, body = TEMPLATE.partition("#\n")
    table = yaml.safe_load("\n".join(line[2:] for line in body.splitlines()))
    assert set(Prices(table).table) == {"openai:some-model*", "openai:*"}
    assert all(price == Price() for price in Prices(table).table.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "not be a list"),
        ("a: 3\n", "must have some of input"),
        ("a: {inptu: 3}\n", "Did you mean 'input'"),
        ("a: {input: cheap}\n", "number of at least 0, not 'cheap'"),
        ("a: {input: -1}\n", "at least 0"),
        ("a: {input: .nan}\n", "at least 0"),
        ("a: {input: true}\n", "at least 0"),
        ("a: {b: [\n", "is no YAML"),
        ("!!python/object/apply:os.system ['true']\n", "is no YAML"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        Prices.load(path)


def test_an_absent_file():
    with pytest.raises(UserError, match="cannot be read"):
        Prices.load("nowhere.yaml")


def test_budget_stops_before_it_is_exceeded():
    budget = Budget(1.0)
    for _ in range(10):
        assert budget.try_reserve(0.1)
        budget.settle(0.1, 0.1)
    with pytest.raises(BudgetReached, match="higher --max-cost"):
        budget.try_reserve(0.1)
    assert budget.spent == pytest.approx(1.0)


def test_a_limit_needs_a_price():
    with pytest.raises(UserError, match="needs the price of 'openai:x'"):
        Budget(1.0).try_reserve(None, "openai:x")
    free = Budget(None)
    assert free.try_reserve(None)
    free.settle(None, None)
    assert (free.spent, free.unknown) == (0.0, 1)
    with pytest.raises(UserError, match="max_cost=-1"):
        Budget(-1)
    with pytest.raises(UserError, match="max_cost=nan"):
        Budget(float("nan"))


def test_an_unknown_cost_counts_as_reserved_under_a_limit():
    budget = Budget(1.0)
    budget.try_reserve(0.4)
    budget.settle(0.4, None)
    assert (budget.spent, budget.unknown) == (0.4, 1)


async def test_concurrent_requests_never_overshoot_and_spend_what_there_is():
    rng, budget, done, in_flight = random.Random(5), Budget(1.0), [], []

    async def request():
        await budget.reserve(0.1)
        in_flight.append(1)
        real = rng.uniform(0, 0.1) if rng.random() < 0.9 else 0.1
        await asyncio.sleep(rng.uniform(0, 0.01))
        budget.settle(0.1, real)
        done.append(real)

    results = await asyncio.gather(*(request() for _ in range(100)), return_exceptions=True)
    assert 0.9 < sum(done) <= 1.0  # not above, and not a whole request below
    assert budget.spent == pytest.approx(sum(done))
    assert sum(isinstance(r, BudgetReached) for r in results) == 100 - len(done)
    assert all(r is None or isinstance(r, BudgetReached) for r in results)


def test_budget_in_threads():
    budget, stopped = Budget(5.0), []

    def work():
        for _ in range(1000):
            try:
                while not budget.try_reserve(0.01):
                    pass
            except BudgetReached:
                stopped.append(1)
                return
            budget.settle(0.01, 0.01)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert budget.spent == pytest.approx(5.0)
    assert len(stopped) == 4


def test_models_of_the_house_cost_nothing_unless_the_table_says_so():
    from panoglot.asking import LOCAL_PROVIDERS
    from panoglot.providers._names import PROVIDERS

    assert set(PROVIDERS) - LOCAL_PROVIDERS == {"openai"}  # whoever adds a provider decides
    assert Prices().cost("pano:/runs/one", 10, 10) == 0.0
    assert Prices({"pano:*": {"per_request": 0.5}}).cost("pano:/runs/one", 10, 10) == 0.5
