"""One way to ask a model: every role by one table, frozen models from memory, judges through the journal."""

import asyncio

import numpy as np
import PIL.Image
import pytest

from panoglot.asking import MEMORY, Asker, Journal, Memory, Prices, Spent, spending
from panoglot.errors import RowError, UserError
from panoglot.geometry import Region
from panoglot.pictures import Image
from panoglot.providers import judge_of
from panoglot.providers.roles import ROLES, Answer, Box, Prompt, Rubric, Tag


@pytest.fixture(autouse=True)
def _forget():
    MEMORY.clear()
    yield
    MEMORY.clear()


def image(colour="red"):
    return Image.from_pil(PIL.Image.new("RGB", (8, 8), colour))


class Seer:
    name, fingerprint, batch_size, metric = "seer:1", "seer-1", 4, False

    def __init__(self):
        self.asked = []

    def tag(self, images):
        self.asked += [("tag", one.id) for one in images]
        return [[Tag("cat", 0.9)] for _ in images]

    def segment(self, images, regions=None, names=None):
        self.asked += [("segment", region, name) for region, name in zip(regions, names)]
        return [[Box("cat", 1.0, Region(0, 0, 0.5, 0.5, "rle"))] for _ in images]

    def depth(self, images):
        self.asked += [("depth", one.id) for one in images]
        return [np.ones((2, 2), np.float32) for _ in images]

    def encode_queries(self, queries):
        self.asked += [("query", len(query)) for query in queries]
        return np.eye(4, dtype=np.float32)[[len(query) % 4 for query in queries]]


def asker(model, **more):
    return Asker(model, **{"journal": None, "prices": None, "budget": None} | more)


def test_a_frozen_model_is_asked_once_for_one_picture():
    seer, other = Seer(), Seer()
    one = image()

    async def ask():
        first, again = asker(seer), asker(other)  # two stages that load the same model
        found = await asyncio.gather(first.tag(one), first.tag(one), first.tag(image("blue")))
        return [*found, await again.tag(one)]

    found = asyncio.run(ask())
    assert [tags[0].name for tags in found] == ["cat"] * 4
    assert len(seer.asked) == 2
    assert other.asked == []


def test_a_model_of_another_fingerprint_is_asked_anew():
    seer, other = Seer(), Seer()
    other.fingerprint = "seer-2"
    asyncio.run(asker(seer).tag(image()))
    asyncio.run(asker(other).tag(image()))
    assert (len(seer.asked), len(other.asked)) == (1, 1)


def test_what_failed_is_asked_again():
    class Moody(Seer):
        def tag(self, images):
            self.asked += images
            return [RowError("tired", "")] if len(self.asked) == 1 else [[Tag("dog", 1.0)]]

    moody = Moody()
    one = asker(moody)
    with pytest.raises(RowError, match="tired"):
        asyncio.run(one.tag(image()))
    assert asyncio.run(one.tag(image()))[0].name == "dog"


def test_new_roles_are_asked_by_the_table():
    seer = Seer()
    one = asker(seer)
    (box,) = asyncio.run(one.segment(image(), [Region(0, 0, 1, 1)]))
    assert box.region.mask == "rle"
    assert asyncio.run(one.depth(image())).shape == (2, 2)
    assert asyncio.run(one.encode_query(["red", image()])).tolist() == [0, 0, 1, 0]
    assert seer.asked[0] == ("segment", (Region(0, 0, 1, 1),), None)
    with pytest.raises(UserError, match="cannot paint"):
        asyncio.run(one.paint("a cat"))
    with pytest.raises(UserError, match="no role asks a model to sing"):
        asyncio.run(one.ask("sing", "la"))


def test_every_method_of_a_role_is_asked_by_an_asker():
    for role in ROLES.values():
        for question in role.questions:
            assert len(question.rest) < question.columns, question.method


class Grader:
    name, fingerprint, batch_size = "openai:grader", "grader-1", 4
    answers = ('{"reason": "nah", "value": 4}',)

    def __init__(self, *answers):
        self.asked, self.said = 0, answers or self.answers

    def generate(self, prompts):
        self.asked += len(prompts)
        return [Answer(self.said[n % len(self.said)], tokens_in=100, tokens_out=10) for n, _ in enumerate(prompts)]


def test_a_judge_is_paid_once(tmp_path):
    grader = Grader()
    (tmp_path / "prices.yaml").write_text("openai:grader: {input: 1.0, output: 2.0}\n")
    prices = Prices.load(str(tmp_path / "prices.yaml"))
    rubric = Rubric(Prompt("How good is it?", (image(),)), scale=(1, 5))

    async def twice():
        with Journal(tmp_path / "journal") as journal:
            judge = asker(judge_of(grader), journal=journal, prices=prices)
            spent = Spent()
            spending.set(spent)
            return [await judge.judge(rubric), await judge.judge(rubric)], spent

    (first, again), spent = asyncio.run(twice())
    assert first == again
    assert (first.value, first.reason) == (4.0, "nah")
    assert grader.asked == 1
    assert (spent.asked, spent.recalled) == (1, 1)
    assert spent.price == pytest.approx((100 * 1.0 + 10 * 2.0) / 1e6)


@pytest.mark.parametrize(
    "said", ["no idea", '{"value": 9}', '{"value": true}', '{"value": NaN}', "[1]", '{"reason": 3}']
)
def test_an_unreadable_verdict_is_a_row_error(said):
    (found,) = judge_of(Grader(said)).judge([Rubric(Prompt("?"), scale=(1, 5))])
    assert isinstance(found, RowError)
    assert found.reason == "unreadable_verdict"


def test_a_verdict_in_words_is_one_of_the_choices():
    rubric = Rubric(Prompt("Fluent?"), choices=("Yes", "No"))
    found = judge_of(Grader('{"value": "yes", "reason": ""}', '{"value": "maybe"}')).judge([rubric, rubric])
    assert found[0].value == "Yes"
    assert isinstance(found[1], RowError)


def test_memory_forgets_what_was_not_used_for_longest():
    memory = Memory(limit=10_000)
    for n in range(100):
        memory.put(str(n), "x" * 500)
        memory.get("0")
    assert memory.size <= 10_000
    assert memory.get("0") == "x" * 500
    assert memory.get("1", None) is None
    memory.put("big", b"x" * 5000)
    assert memory.get("big", None) is None
    with pytest.raises(KeyError):
        memory.get("big")
