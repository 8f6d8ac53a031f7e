import asyncio

import pytest

from panoglot.asking import Asker, Models, Spent, spending
from panoglot.errors import RowError, UserError
from panoglot.pictures import Image
from panoglot.running import get_method, method_stage, run_stage
from tests.conftest import picture_bytes
from tests.running.toy import Fits, Server, Writer, calls

WRITER = "python:tests.running.toy:Writer"
SERVER = "python:tests.running.toy:Server"


def asker(model):
    return Asker(model, journal=None, prices=None, budget=None)


def describe(models, **options):
    return method_stage("describe", options, {"captioner": models}, processes=0)


def test_describe_writes_provenance(dataset, run_id):
    result = run_stage(dataset, describe(WRITER, prompt="Say it."), run_id)
    assert result.done == 60
    assert result.spent.tokens_in == 600
    assert result.spent.price == 0.0  # it runs here
    rows = dataset.captions.rows()
    facts = {(r["lang"], r["kind"], r["recipe"], r["model"]) for r in rows}
    assert facts == {("en", "short", "describe/1", "toy:writer")}
    assert all(r["text"].endswith(r["image_id"][:8]) for r in rows)


def test_options_and_models_make_the_fingerprint():
    a = describe(WRITER)
    assert a.fingerprint == describe(WRITER).fingerprint
    assert a.fingerprint != describe(WRITER, prompt="Another question.").fingerprint
    assert a.fingerprint != describe(f"{WRITER}?name=toy:other").fingerprint


def test_an_answer_is_never_paid_for_twice(dataset, run_id, tmp_path):
    log = tmp_path / "calls"
    model = f"{WRITER}?log={log}"
    run_stage(dataset, describe(model), run_id)
    assert len(calls(log)) == 60
    # the same question in another step (other kind, so other rows): all from the journal
    again = run_stage(dataset, describe(model, kind="dense"), run_id)
    assert again.done == 60
    assert (again.spent.asked, again.spent.recalled) == (0, 60)
    assert len(calls(log)) == 60


def test_failures_are_rejects_and_are_asked_again(dataset, run_id, tmp_path):
    log = tmp_path / "calls"
    bad = sorted(dataset.images.read(["image_id"])["image_id"].to_pylist())[0]
    result = run_stage(dataset, describe(f"{WRITER}?log={log}&fail={bad}"), run_id)
    assert (result.done, result.rejected) == (59, 1)
    assert dataset.rejects.rows(["item", "reason"])[0]["reason"] == "refused"
    result = run_stage(dataset, describe(f"{WRITER}?log={log}"), run_id, retry=True)
    assert (result.done, result.spent.recalled) == (1, 0)


def test_servers_are_asked_at_once_and_bounded(dataset, run_id):
    Server.most = 0
    stage = method_stage("describe", {}, {"captioner": SERVER}, in_flight=16)
    result = run_stage(dataset, stage, run_id)
    assert result.done == 60
    assert 4 < Server.most <= 16


def test_many_batches_of_a_server_are_one_after_the_other(dataset, run_id):
    from dataclasses import replace

    stage = replace(method_stage("describe", {}, {"captioner": SERVER}, in_flight=8), batch=7)
    result = run_stage(dataset, stage, run_id)
    assert (result.done, result.rejected) == (60, 0)


def test_prices_and_max_cost_stop_cleanly_and_resume(dataset, run_id, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text("'python:*':\n  per_request: 1\n")
    stage = method_stage("describe", {}, {"captioner": SERVER}, prices=str(prices), in_flight=4)
    first = run_stage(dataset, stage, run_id, max_cost=10)
    assert first.pending
    assert first.done == first.spent.price == 10
    second = run_stage(dataset, stage, run_id)
    assert first.done + second.done == 60
    assert len(dataset.captions) == 60
    assert len(dataset.rejects) == 0


def test_an_unknown_price_is_not_free(dataset, run_id, tmp_path):
    from panoglot.asking import Prices

    one = Asker(Server(), journal=None, prices=Prices(), budget=None, full="openai:http://x/v1#model")

    async def main():
        spent = Spent()
        spending.set(spent)
        await one.generate("x")
        return spent.price

    assert asyncio.run(main()) is None


def test_wrong_names_say_what_was_meant(dataset):
    with pytest.raises(UserError, match="Did you mean 'describe'"):
        method_stage("descripe")
    with pytest.raises(UserError, match=r"has no option 'promt'.*'prompt'"):
        describe(WRITER, promt="x")
    with pytest.raises(UserError, match=r"asks for a model 'captioner'.*--model captioner="):
        method_stage("describe")
    with pytest.raises(UserError, match="is no generator"):
        describe("python:tests.running.toy:Fits")


def test_batches_fill_and_keep_the_order():
    seen = []

    class Counted(Writer):
        def generate(self, prompts):
            seen.append(len(prompts))
            return super().generate(prompts)

    async def main():
        one = asker(Counted())
        return await asyncio.gather(*(one.generate(f"question {n}") for n in range(10)))

    assert [answer.text for answer in asyncio.run(main())] == [f"question {n}" for n in range(10)]
    assert seen == [4, 4, 2]


def test_one_refused_question_does_not_hurt_its_batch():
    async def main():
        one = asker(Writer(fail="0|1|2|3|4|5|6|7"))
        pictures = [Image(picture_bytes(n)) for n in range(6)]
        return pictures, await asyncio.gather(*(one.generate("x", p) for p in pictures), return_exceptions=True)

    pictures, answers = asyncio.run(main())
    for picture, answer in zip(pictures, answers):
        assert isinstance(answer, RowError) == (picture.id[0] in "01234567")


def test_a_model_that_raises_fails_its_batch_and_nothing_hangs():
    class Broken(Writer):
        def generate(self, prompts):
            raise ZeroDivisionError

    async def main():
        one = asker(Broken())
        return await asyncio.gather(*(one.generate(f"{n}") for n in range(6)), return_exceptions=True)

    assert [type(a) for a in asyncio.run(main())] == [ZeroDivisionError] * 6


def test_spending_belongs_to_its_item():
    async def item(n, one):
        spent = Spent()
        spending.set(spent)
        await asyncio.gather(*(one.generate(f"{n} {k}") for k in range(n)))
        return spent.tokens_in

    async def main():
        one = asker(Writer())
        return await asyncio.gather(*(asyncio.create_task(item(n, one)) for n in range(5)))

    assert asyncio.run(main()) == [0, 10, 20, 30, 40]


def test_drafts_are_stored_as_parents(dataset, run_id):
    options = {"captioners": (WRITER, f"{WRITER}?name=toy:second"), "scorer": "python:tests.running.toy:Fits"}
    run_stage(dataset, method_stage("rank-and-fuse", options, processes=0), run_id)
    rows = {r["caption_id"]: r for r in dataset.captions.rows()}
    assert len(rows) == 180
    fused = [r for r in rows.values() if r["dropped"] is None]
    assert len(fused) == 60
    for row in fused:
        parents = [rows[p] for p in row["parents"]]
        assert {p["model"] for p in parents} == {"toy:writer", "toy:second"}
        assert {p["dropped"] for p in parents} == {"draft"}
        assert all(p["image_id"] == row["image_id"] for p in parents)


def test_method_bugs_are_rejects_with_their_place(dataset, run_id):
    import panoglot.running as run

    @run.method(verb="caption", name="buggy")
    async def buggy(image: Image, m: Models) -> None:
        """Fails."""
        raise KeyError("oops")

    result = run_stage(dataset, method_stage("buggy", processes=0), run_id)
    assert result.rejected == 60
    row = dataset.rejects.rows()[0]
    assert row["reason"] == "method_error"
    assert "KeyError: 'oops' (test_method.py:" in row["message"]
    assert get_method("buggy").verb == "caption"


def test_similarity_is_the_cosine():
    async def main():
        return await asker(Fits()).similarity(Image(picture_bytes(1)), ["x=0.25", "x=0.5"])

    assert asyncio.run(main()) == pytest.approx([0.25, 0.5])
