"""`openai:…?batch=1` against a server of the tests that speaks `/v1/files` and `/v1/batches`."""

import email
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import panoglot
from panoglot.asking import Prices
from panoglot.errors import UserError
from panoglot.providers import load_model
from tests.conftest import picture_bytes


class Shop:
    """What the server knows, and how it misbehaves.

    Attributes:
        looks: looks at a batch before it is done.
        lose: answers to the making of a batch that are lost on the way.
        refuse: what is wrong with every batch, or empty.
        bad: questions (by number) that fail, by what becomes of them.
    """

    def __init__(self):
        self.files, self.batches, self.paid, self.seen = {}, {}, Counter(), Counter()
        self.looks, self.lose, self.refuse, self.bad, self.hang = 1, 0, "", {}, False
        self.said, self.line = {}, "Eine Scheibe: "

    def finish(self, batch):
        batch["looks"] -= 1
        if batch["status"] != "in_progress" or batch["looks"] > 0 or self.hang:
            return
        if self.refuse:
            batch |= {"status": "failed", "errors": {"data": [{"message": self.refuse}]}}
            return
        out, errors = [], []
        for n, line in enumerate(self.files[batch["input_file_id"]].splitlines()):
            one = json.loads(line)
            what = self.bad.get(n, "")
            if what == "expired":
                errors.append({"custom_id": one["custom_id"], "error": {"code": "batch_expired", "message": "late"}})
                continue
            if what == "filtered":
                body = {"error": {"message": "no", "code": "content_filter"}}
                errors.append({"custom_id": one["custom_id"], "response": {"status_code": 400, "body": body}})
                continue
            if what == "nothing":
                continue
            self.paid[one["custom_id"]] += 1
            parts = one["body"]["messages"][-1]["content"]
            text = parts if isinstance(parts, str) else "".join(p.get("text", "") for p in parts)
            said = f"{self.line}{text[:20]}"
            usage = {"prompt_tokens": 1000, "completion_tokens": 10}
            body = {"choices": [{"message": {"content": said}, "finish_reason": "stop"}], "usage": usage}
            out.append({"custom_id": one["custom_id"], "response": {"status_code": 200, "body": body}})
        out.reverse()  # in no order
        for name, lines in (("output_file_id", out), ("error_file_id", errors)):
            if lines:
                batch[name] = f"file-{name}-{batch['id']}"
                self.files[batch[name]] = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines)
        batch |= self.said
        batch["status"] = "completed"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, value, status=200):
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_POST(self):
        shop, raw = self.server.shop, self.rfile.read(int(self.headers["content-length"]))
        shop.seen[f"POST {self.path}"] += 1
        if self.path == "/v1/files":
            head = b"content-type: " + self.headers["content-type"].encode() + b"\r\n\r\n"
            parts = {}
            for part in email.message_from_bytes(head + raw).get_payload():
                parts[part.get_param("name", header="content-disposition")] = part.get_payload(decode=True)
            assert parts["purpose"] == b"batch"
            name = f"file-{len(shop.files)}"
            shop.files[name] = parts["file"].decode()
            return self.answer({"id": name})
        if self.path == "/v1/batches":
            asked = json.loads(raw)
            assert asked["completion_window"] == "24h"
            assert asked["endpoint"] == "/v1/chat/completions"
            name = f"batch-{len(shop.batches)}"
            shop.batches[name] = {"id": name, "status": "in_progress", "looks": shop.looks, **asked}
            if shop.lose:
                shop.lose -= 1
                self.close_connection = True
                return None
            return self.answer(shop.batches[name] | shop.said)
        return self.answer({"error": {"message": f"no {self.path}"}}, 404)

    def do_GET(self):
        shop, path = self.server.shop, self.path.partition("?")[0]
        shop.seen[f"GET {path}"] += 1
        if path == "/v1/batches":
            return self.answer({"data": list(shop.batches.values())})
        if path.startswith("/v1/batches/"):
            batch = shop.batches[path.rpartition("/")[2]]
            shop.finish(batch)
            return self.answer(batch)
        name = path.rpartition("/content")[0].rpartition("/")[2]
        if path.startswith("/v1/files/") and name in shop.files:
            return self.answer(shop.files[name].encode())
        return self.answer({"error": {"message": "no such file"}}, 404)

    def do_DELETE(self):
        self.server.shop.files.pop(self.path.split("/")[3], None)
        self.answer({"deleted": True})


@pytest.fixture
def shop():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.shop = Shop()
    server.shop.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.shop
    server.shutdown()
    server.server_close()


@pytest.fixture
def data(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(5):
        (photos / f"{n}.jpg").write_bytes(picture_bytes(n))
    return panoglot.ingest(str(photos), str(tmp_path / "x.pano")).dataset


def name(shop, more=""):
    return f"openai:{shop.url}#cheap?batch=1&batch_poll=0.05&retries=1&backoff=0.01{more}"


def texts(data):
    return [row["text"] for row in data.captions.rows(where="recipe = 'describe/1'")]


def test_questions_are_one_batch_at_half_the_price(shop, data, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text('"openai:cheap": {input: 2.0, output: 10.0}\n')
    result = panoglot.caption(data, captioner=name(shop), prompt="Was?", prices=str(prices))
    assert (len(shop.batches), sum(shop.paid.values()), len(texts(data))) == (1, 5, 5)
    assert set(texts(data)) == {"Eine Scheibe: Was?"}
    assert result.spent.price == pytest.approx(5 * (1000 * 2 + 10 * 10) / 1e6 / 2)
    assert shop.files == {}  # what was delivered is cleared away
    found = panoglot.caption(data, captioner=name(shop), prompt="Wo?", prices=str(prices), dry_run=True)
    whole = panoglot.caption(data, captioner=f"openai:{shop.url}#cheap", prompt="Wo?", prices=str(prices), dry_run=True)
    assert found.price == pytest.approx(whole.price / 2)


def test_answers_are_the_same_model_s_with_and_without(shop):
    assert load_model(name(shop)).fingerprint == load_model(f"openai:{shop.url}#cheap").fingerprint


def test_what_is_too_much_for_one_batch_is_several(shop, data):
    panoglot.caption(data, captioner=name(shop, "&batch_questions=2"), prompt="Was?")
    assert len(texts(data)) == 5
    assert len(shop.batches) == 3
    assert max(shop.paid.values()) == 1


def test_a_run_that_was_killed_finds_its_batch_and_pays_nothing_twice(shop, data, tmp_path):
    import os
    import signal
    import subprocess
    import sys
    import time

    shop.hang = True
    line = [sys.executable, "-m", "panoglot", "caption", data.address, "--captioner", name(shop), "--prompt", "Was?"]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
    deadline = time.monotonic() + 60
    while not shop.batches and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (len(shop.batches), texts(data)) == (1, [])
    shop.hang = False
    panoglot.caption(data, captioner=name(shop), prompt="Was?")
    assert (len(shop.batches), len(texts(data))) == (1, 5)
    assert set(shop.paid.values()) == {1}


def test_an_answer_that_is_lost_makes_no_second_batch(shop, data):
    shop.lose = 1
    panoglot.caption(data, captioner=name(shop), prompt="Was?")
    assert (len(shop.batches), len(texts(data)), set(shop.paid.values())) == (1, 5, {1})


def test_questions_that_fail_are_rejects_and_a_retry_takes_them(shop, data):
    shop.bad = {0: "expired", 1: "filtered", 2: "nothing"}
    result = panoglot.caption(data, captioner=name(shop), prompt="Was?")
    reasons = Counter(row["reason"] for row in data.rejects.rows())
    assert reasons == {"batch_expired": 1, "lost_answer": 1, "content_filter": 1}
    assert (result.rejected, len(texts(data))) == (3, 2)
    shop.bad = {}
    panoglot.retry(data)
    assert (len(texts(data)), set(shop.paid.values())) == (5, {1})


def test_a_batch_that_is_refused_is_a_line_and_rows_stay_pending(shop, data):
    shop.refuse = "the file has a line that is no request"
    with pytest.raises(UserError, match="refused a batch: the file has a line that is no request"):
        panoglot.caption(data, captioner=name(shop), prompt="Was?")
    assert len(data.rejects) == 0
    shop.refuse = ""
    panoglot.caption(data, captioner=name(shop), prompt="Was?")
    assert len(texts(data)) == 5


def test_a_server_without_batches_is_a_line(shop, data):
    with pytest.raises(UserError, match="not found"):
        panoglot.caption(data, captioner=name(shop).replace("/v1#", "/v2#"), prompt="Was?")


def test_an_answer_may_hold_what_breaks_a_line_of_text(shop, data):
    shop.line = "Eine Scheibe\u2028liegt\x85hier: "
    assert panoglot.caption(data, captioner=name(shop), prompt="Was?").rejected == 0
    assert len(texts(data)) == 5


@pytest.mark.parametrize("said", ["../../etc", ["x"], "", "a/../b", "a?b"])
def test_an_id_that_is_none_is_a_reject_and_never_asked_for(shop, data, said):
    shop.said = {"output_file_id": said}
    panoglot.caption(data, captioner=name(shop), prompt="Was?")
    assert {row["reason"] for row in data.rejects.rows()} == {"bad_response" if said else "lost_answer"}
    shop.said = {"id": said}
    panoglot.caption(data, captioner=name(shop), prompt="Wer?")
    assert not any(".." in path or "//" in path for path in shop.seen)


@pytest.mark.parametrize("errors", [["broken"], {"data": ["broken"]}, {"data": [{"message": "broken"}]}])
def test_a_refusal_of_any_shape_is_a_line(shop, data, errors):
    shop.said = {"status": "failed", "errors": errors}
    with pytest.raises(UserError, match="refused a batch: broken"):
        panoglot.caption(data, captioner=name(shop), prompt="Was?")


def test_lists_and_answers_of_odd_shapes_are_passed_over(shop, data):
    shop.batches["old"] = {"id": "old", "status": "completed", "metadata": ["x"]}
    shop.said = {"error_file_id": "odd"}
    shop.files["odd"] = '{"custom_id": "x", "response": {"status_code": 1e999}}\n[]\nnull\n'
    assert panoglot.caption(data, captioner=name(shop), prompt="Was?").rejected == 0


def test_half_is_what_the_table_says():
    prices = Prices({"openai:a": {"input": 2.0, "batch": 0.25}, "openai:b": {"input": 2.0}})
    assert prices.cost("openai:a", 1_000_000, 0, batched=True) == 0.5
    assert prices.cost("openai:b", 1_000_000, 0, batched=True) == 1.0
    assert prices.cost("openai:b", 1_000_000, 0) == 2.0
