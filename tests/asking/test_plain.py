"""Metrics ask through the asker: once, priced, limited; also of a server, and inside a running event loop."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from panoglot.asking import PlainAsker, load_asked
from panoglot.errors import RowError, UserError
from panoglot.pictures import Image
from panoglot.providers.roles import Answer, Prompt, Rubric, SceneGraph
from tests.conftest import picture_bytes


class Says:
    name, fingerprint, batch_size = "toy:says", "says-1", 4

    def __init__(self):
        self.asked = []

    def generate(self, prompts):
        self.asked += [prompt.text for prompt in prompts]
        return [
            RowError("no", "no") if prompt.text == "no" else Answer(prompt.text.upper(), tokens_in=10, tokens_out=1)
            for prompt in prompts
        ]

    def score(self, prompts, texts):
        self.asked += list(texts)
        return [[(text, -1.0)] for text in texts]


class Later(Says):
    async def generate(self, prompts):
        return Says.generate(self, prompts)


@pytest.mark.parametrize("kind", [Says, Later])
def test_a_question_is_asked_once_ever(kind, tmp_path):
    model = kind()
    for _ in range(2):
        asker = load_asked(model, "generator", str(tmp_path))
        answers = asker.generate([Prompt("a"), Prompt("no"), Prompt("a"), Prompt("b")])
        assert [one.text if isinstance(one, Answer) else one.reason for one in answers] == ["A", "no", "A", "B"]
        assert asker.score([Prompt("a")], ["x"]) == [[("x", -1.0)]]
        asker.close()
    assert sorted(model.asked) == ["a", "b", "no", "no", "x"]  # what failed is asked again


async def test_inside_a_running_event_loop(tmp_path):
    assert load_asked(Later(), "generator", str(tmp_path)).generate([Prompt("a")])[0].text == "A"


def test_prices_and_a_limit(tmp_path):
    (tmp_path / "p.yaml").write_text('"toy:*": {per_request: 1}\n')
    model = Says()
    asker = load_asked(model, "generator", str(tmp_path), prices=str(tmp_path / "p.yaml"), max_cost=2)
    with pytest.raises(UserError, match=r"dollars are spent.*Every answer so far is kept"):
        asker.generate([Prompt(text) for text in "abcdef"])
    assert (len(model.asked), asker.budget.spent) == (2, 2.0)
    free = load_asked(model, "generator", str(tmp_path))
    assert len(free.generate([Prompt(text) for text in "abcdef"])) == 6
    assert sorted(model.asked) == list("abcdef")  # the two that were paid for are not asked again


def test_an_answer_that_is_none_is_said(tmp_path):
    class Odd(Says):
        def generate(self, prompts):
            return [None for _ in prompts]

    with pytest.raises(UserError, match=r"toy:says answered with NoneType"):
        PlainAsker(Odd()).generate([Prompt("a")])


def test_frozen_models_remember():
    class Parser:
        name, fingerprint, batch_size = "toy:parser", "parser-of-this-test-1", 8
        asked = 0

        def parse(self, texts, langs):
            self.asked += len(texts)
            return [SceneGraph(objects=(text,)) for text in texts]

    model = Parser()
    for _ in range(2):
        graphs = load_asked(model, "parser").parse(["cat", "dog"], ["en", "en"])
        assert [graph.objects for graph in graphs] == [("cat",), ("dog",)]
    assert model.asked == 2


def test_a_generator_judges(tmp_path):
    from panoglot.providers import judge_of

    class Kind(Says):
        def generate(self, prompts):
            self.asked += [prompt.text for prompt in prompts]
            return [Answer('{"reason": "sharp", "value": 4}') for _ in prompts]

    kind = Kind()
    for _ in range(2):
        found = load_asked(judge_of(kind), "judge", str(tmp_path)).judge([Rubric(Prompt("How sharp?"), scale=(1, 5))])
        assert found[0].value == 4
    assert len(kind.asked) == 1


@pytest.fixture
def server():
    """A server of chat completions that counts what it is asked."""
    asked = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            usage = {"prompt_tokens": 100, "completion_tokens": 1}
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes"}}
            raw = json.dumps({"id": "1", "model": "m", "choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"openai:http://127.0.0.1:{running.server_address[1]}/v1#m", asked
    running.shutdown()
    running.server_close()


def _benchmark(name, folder):
    (folder / "pictures" / "en").mkdir(parents=True)
    for n in range(3):
        (folder / "pictures" / f"{n}.jpg").write_bytes(picture_bytes(n))
        (folder / "pictures" / "en" / f"{n}.jpg").write_bytes(picture_bytes(n))
    pictures = str(folder / "pictures")
    if name == "pope":
        rows = [{"image": f"{n}.jpg", "text": "Is there a cat?", "label": "yes"} for n in range(3)]
        (folder / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return "choice", ["--data", folder / "d.jsonl", "--images", pictures], "--model", 3
    if name == "dpg":
        rows = [{"id": str(n), "questions": [{"id": "1", "question": "Red?"}]} for n in range(3)]
        (folder / "d.json").write_text(json.dumps(rows))
        (folder / "made" / "en").mkdir(parents=True)
        for n in range(3):
            (folder / "made" / "en" / f"{n}.jpg").write_bytes(picture_bytes(n))
        return "generation", [folder / "made", "--data", folder / "d.json"], "--judge", 3
    gold = {f"{n}.jpg": {"captions": {"human": "h", "base": "b"}, "ref_model": "base"} for n in range(3)}
    (folder / "g.json").write_text(json.dumps(gold))
    (folder / "p.json").write_text(json.dumps(dict.fromkeys(gold, "mine")))
    return (
        "captions",
        [folder / "p.json", "--data", folder / "g.json", "--images", pictures],
        "--judge",
        30,
    )  # a verdict that cannot be read is asked five times


@pytest.mark.parametrize("name", ["pope", "dpg", "caparena-auto"])
def test_a_second_identical_run_asks_a_server_nothing(name, server, tmp_path, capsys):
    from panoglot.cli import main

    model, asked = server
    (tmp_path / "prices.yaml").write_text('"openai:*": {input: 1000}\n')
    command, options, who, count = _benchmark(name, tmp_path)
    line = ["evaluate", command, *map(str, options), "--benchmark", name, who, model, "--json", "--cache",
            str(tmp_path / "kept"), "--prices", str(tmp_path / "prices.yaml")]  # fmt: skip
    said = []
    for limit in ("0.0001", "1000", "1000"):
        with pytest.raises(SystemExit) as end:
            main([*line, "--max-cost", limit])
        said.append((end.value.code, capsys.readouterr(), len(asked)))
    assert said[0][0] == 2
    assert "--max-cost" in said[0][1].err
    assert said[0][2] == 0
    assert said[1][2] == said[2][2] == count
    made = [json.loads(out.out)["made"]["answers"] for _, out, _ in said[1:]]
    assert made[0]["asked"] == count
    assert made[0]["price"] == pytest.approx(0.1 * count)
    assert made[1] == {"asked": 0, "from the journal": count, "price": 0.0}


def test_a_broken_picture_is_not_asked_about():
    from panoglot.asking import ask, open_picture

    model = Says()
    prompts = [Prompt("a", (Image(picture_bytes(1)),)), Prompt("b", (RowError("broken", "x"),))]
    assert open_picture
    found = ask(PlainAsker(model), prompts)
    assert [type(one) for one in found] == [Answer, RowError]
    assert model.asked == ["a"]
