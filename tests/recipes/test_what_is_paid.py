"""What is told of money before, while and after models are asked, against servers that count what they gave."""

import shutil
import sys

import pytest

import panoglot
from panoglot.cli import main
from panoglot.errors import MissingPackage, UserError
from tests.conftest import picture_bytes
from tests.providers.faulty_server import FaultyServer

SAYS = "A brown dog runs along a wide sandy beach and carries a red ball."


def says(text, usages=None):
    """Answer with this text, and note what the answer is said to cost."""

    def fault(handler):
        reply = handler.answer(text)
        if usages is not None:
            usages.append(reply["usage"])
        handler.reply(200, reply)
        return False

    return lambda body: fault


def captioner(server, **options):
    asked = "&".join(f"{key}={value}" for key, value in {"retries": 0, "concurrency": 4, **options}.items())
    return f"openai:http://127.0.0.1:{server.port}/v1#m?{asked}"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paid") / "photos"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.jpg").write_bytes(picture_bytes(n))
    return panoglot.ingest(str(folder), f"{folder}.pano").dataset.path


@pytest.fixture
def data(photos, tmp_path):
    return panoglot.open(shutil.copytree(photos, tmp_path / "x.pano"))


@pytest.fixture
def prices(tmp_path):
    (tmp_path / "prices.yaml").write_text("'openai:*': {input: 1, output: 2, per_request: 0.001}\n")
    return str(tmp_path / "prices.yaml")


def test_a_comparison_that_is_only_priced_asks_and_writes_nothing(data, prices, tmp_path):
    with FaultyServer() as server:
        server.decide = says(SAYS)
        options = {"captioner": captioner(server), "prices": prices, "compare": str(tmp_path / "c.html"), "sample": 2}
        told = panoglot.caption(data, method="describe,scalecap", dry_run=True, set=["scalecap.llm="], **options)
        assert server.requests == []
        assert not (tmp_path / "c.html").exists()
        assert [(step.stage, told.rows(step)) for step in told.steps] == [
            ("caption.describe", 2),
            ("caption.scalecap", 2),
        ]
        assert told.price > 0.01
        panoglot.caption(data, captioner=captioner(server), limit=3)
        done = panoglot.caption(data, method="describe", dry_run=True, **options)  # captioned ones are compared too
        assert told.rows(done.steps[0]) == 2


def test_what_max_cost_leaves_out_of_a_comparison_did_not_fail(data, prices, tmp_path, capsys):
    page = tmp_path / "c.html"
    with FaultyServer() as server:
        server.decide = says(SAYS)
        line = ["caption", data.address, "--captioner", captioner(server, concurrency=1), "--prices", prices]
        with pytest.raises(SystemExit) as ended:
            main([*line, "--compare", str(page), "--max-cost", "0.0075"])
        asked = len(server.requests)
    out = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    assert 0 < asked < 3
    assert "Stopped at --max-cost ($0.00" in out
    assert f"not asked: describe {3 - asked}" in out
    assert f"describe {asked} 0 0" in out  # kept, dropped, failed
    assert "pictures not asked" in page.read_text("utf-8")


def test_a_limit_below_one_question_says_what_a_question_may_cost(data, prices):
    with FaultyServer() as server:
        server.decide = says(SAYS)
        stopped = panoglot.caption(data, captioner=captioner(server), prices=prices, max_cost=0.001)
        assert (server.requests, stopped.status) == ([], "stopped")
        assert "nothing was asked, as one question may cost up to $0.00" in stopped.stopped
        enough = float(stopped.stopped.partition("give --max-cost ")[2].partition(" ")[0])
        more = panoglot.caption(data, captioner=captioner(server), prices=prices, max_cost=enough)
        assert len(server.requests) >= 1
        assert more.stopped in (None, "Stopped at --max-cost; the same command goes on.")


@pytest.mark.parametrize("scores", [False, True])
def test_questions_for_probabilities_are_counted_and_paid(data, prices, scores):
    usages = []
    with FaultyServer(vllm=scores) as server:
        server.decide = says(SAYS, usages)
        options = {"method": "scalecap", "captioner": captioner(server), "prices": prices, "set": ["llm="]}
        told = panoglot.caption(data, dry_run=True, **options)
        done = panoglot.caption(data, **options)
        asked = [body for _, _, body in server.requests]
    read, written = (sum(one[name] for one in usages) for name in ("prompt_tokens", "completion_tokens"))
    assert (done.spent.tokens_in, done.spent.tokens_out) == (read, written)
    assert done.spent.price == pytest.approx((read + 2 * written) / 1e6 + 0.001 * len(asked))
    assert told.price >= done.spent.price
    assert sum(need.asked for need in told.steps[0].needs if need.role == "generator") * 3 / 1000 >= len(asked)
    rated = sum("prompt_logprobs" in body for body in asked)
    if scores:
        assert rated == 4  # with each picture, and once without: the text is the same
    else:
        assert rated == 1  # once, and never again in this run
        assert any("no_log_probabilities 3" in line for line in done.remarks)


def test_max_cost_sees_the_questions_for_probabilities(data, prices):
    usages = []
    with FaultyServer(vllm=True) as server:
        server.decide = says(SAYS, usages)
        options = {"method": "scalecap", "captioner": captioner(server, concurrency=1), "set": ["llm="]}
        done = panoglot.caption(data, prices=prices, max_cost=0.02, **options)
        asked = len(server.requests)
    assert done.status == "stopped"
    read, written = (sum(one[name] for one in usages) for name in ("prompt_tokens", "completion_tokens"))
    assert (read + 2 * written) / 1e6 + 0.001 * asked <= 0.02


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_package_that_a_fallback_needs_is_missed_before_anything_is_asked(data, dry_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "lemminflect", None)
    with FaultyServer() as server:
        options = {"method": "scalecap", "captioner": captioner(server), "set": ["llm="], "dry_run": dry_run}
        with pytest.raises(MissingPackage, match="metrics"):
            panoglot.caption(data, **options)
    assert server.requests == []


def test_a_retry_sums_what_all_its_recipes_did(data, prices):
    with FaultyServer() as server:
        server.decide = says("I'm sorry, but I can't help with describing this image.")
        for prompt in ("What is it?", "Where is it?", "Who is it?"):
            panoglot.caption(data, captioner=captioner(server), prompt=prompt, prices=prices)
        usages, before = [], len(server.requests)
        server.decide = lambda body: says(f"{SAYS} There are {len(server.requests)} waves.", usages)(body)
        done = panoglot.retry(data)
        assert len(server.requests) - before == 9
    assert sum(stage.done for stage in done.stages) == 9
    assert done.spent.tokens_in + done.spent.tokens_out == sum(one["total_tokens"] for one in usages)
    assert done.made.kept.total() == 9
    assert done.problem is None


def test_a_server_that_is_gone_does_not_keep_a_retry_from_the_others(data, tmp_path, capsys):
    with FaultyServer() as gone, FaultyServer() as there:
        for server in (gone, there):
            server.decide = says("I'm sorry, but I can't help with describing this image.")
        panoglot.caption(data, captioner=captioner(gone), prompt="What is it?")
        panoglot.caption(data, captioner=captioner(there), prompt="Where is it?")
        there.decide = says(SAYS)
        address = f"127.0.0.1:{gone.port}"
        gone.__exit__()
        with pytest.raises(SystemExit) as ended:
            main(["retry", data.address])
        said = capsys.readouterr()
        assert ended.value.code == 3
        assert address in said.err
        assert "1 recipe of 2 could not be tried" in said.err
        left = data.rejects.read(["message"], "resolved is null").num_rows
        assert (left, data.captions.count("dropped is null and kind != 'fact'")) == (3, 3)
        there.__exit__()
        with pytest.raises(UserError, match=address):  # nothing is left that can be tried
            panoglot.retry(data)


def test_a_language_that_was_not_made_is_told_by_this_run(data):
    with FaultyServer() as server:
        server.decide = says(SAYS)
        panoglot.caption(data, captioner=captioner(server))
        server.decide = says("Ein brauner Hund läuft an einem breiten Sandstrand entlang und trägt einen roten Ball.")
        first = panoglot.translate(data, lang="hi", translator=captioner(server))
        assert "all translations were dropped (wrong_language" in str(first.not_made[0])
        server.decide = says("I'm sorry, but I can't help with that.")
        second = panoglot.translate(data, lang="hi", translator=captioner(server, revision=2))
    assert second.rejected == 3
    assert str(second.not_made[0]) == "nothing was made in hi: texts failed (refused 3)"


def test_a_build_that_is_only_priced_counts_its_translations_or_says_what_it_does_not_count(tmp_path, prices, capsys):
    (tmp_path / "in").mkdir()
    for n in range(4):
        (tmp_path / "in" / f"{n}.jpg").write_bytes(picture_bytes(n))
    model = "openai:http://127.0.0.1:9/v1#m"
    line = ["build", str(tmp_path / "in"), "-o", str(tmp_path / "x.pano"), "--captioner", model, "--prices", prices]
    with pytest.raises(SystemExit):
        main([*line, "--dry-run"])
    assert "In all: at most $" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*line, "--translator", model, "--lang", "de,sw", "--dry-run"])
    out = " ".join(capsys.readouterr().out.split())
    assert "translate.translate: 4 rows to do" in out
    assert "4 texts of the steps before are counted, those in the source are not" in out
    assert "for what is counted here, and more for what is not" in out
    assert not (tmp_path / "x.pano").exists()
