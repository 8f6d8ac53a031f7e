"""A zoo of servers that say strange things: each with what must be kept, refused, or never seen."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import time
import tracemalloc
import zlib
from urllib.parse import quote

import msgspec
import pytest

from panoglot.asking import Account, Asker, Journal, Prices, Spent, journal_key, paid_by_stage, spending
from panoglot.errors import RowError
from panoglot.providers import load_model
from panoglot.providers.roles import Answer, Prompt
from tests.providers.faulty_server import FaultyServer, answer_with, status

KEY = "geheim/0123+456789abcdef"
FAST = "backoff=0.01&retries=1&timeout=5&deadline=20"


def said(text="ein Hund", finish="stop", **usage):
    """A whole answer."""
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}


async def ask(server, prompt="x", options=FAST, name="tiny"):
    model = load_model(f"openai:{server.url}#{name}?{options}")
    try:
        return (await model.generate([Prompt(prompt) if isinstance(prompt, str) else prompt]))[0]
    finally:
        await model.aclose()


# -- token counts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (7, 7),
        ("7", 7),
        (7.0, 7),
        (7.5, None),
        (True, None),
        ([7], None),
        ({"n": 7}, None),
        (-7, None),
        (10**40, None),
        ("many", None),
        (None, None),
    ],
)
async def test_token_counts_of_any_shape_cost_no_answer(given, read):
    reply = said(prompt_tokens=given, completion_tokens=given, total_tokens=given)
    with FaultyServer([answer_with(reply)]) as server:
        answer = await ask(server, options=FAST + "&tpm=100000")
    assert answer == Answer("ein Hund", "stop", read, read)
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Answer) == answer


@pytest.mark.parametrize("usage", [None, "12", [1, 2], 5])
async def test_usage_that_is_no_object_is_unknown(usage):
    with FaultyServer([answer_with({**said(), "usage": usage})]) as server:
        answer = await ask(server)
    assert (answer.text, answer.tokens_in, answer.tokens_out) == ("ein Hund", None, None)


# -- errors in disguise ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        {**said("half an ans"), "error": {"message": "overloaded"}},
        {**said("half an ans"), "error": {"message": "overloaded", "code": "503"}},
        {"choices": [{**said("half")["choices"][0], "error": {"message": "upstream died", "code": 502}}]},
        {"object": "error", "message": "engine is dead", "code": 500},
    ],
)
async def test_an_error_beside_an_answer_is_an_error(reply):
    with FaultyServer([answer_with(reply)] * 2) as server:
        answer = await ask(server)
    assert isinstance(answer, RowError)
    assert answer.reason == "server_error"


@pytest.mark.parametrize("content", [5, {"a": 1}, [5], ["a"], True])
async def test_a_text_that_is_none_is_a_bad_response(content):
    with FaultyServer([answer_with(said(content))]) as server:
        assert (await ask(server)).reason == "bad_response"


@pytest.mark.parametrize("text", ["\u200b\u2060", "\u3164\u2800", "\ufeff \u00ad", "\x00\x1b", "\u202e\u202c"])
async def test_an_answer_that_nobody_can_see_is_empty(text):
    with FaultyServer([answer_with(said(text))]) as server:
        assert (await ask(server)).reason == "empty_answer"


# -- size and time -----------------------------------------------------------------------------------------------------


def packed(raw, encoding):
    def fault(handler):
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-encoding", encoding)
        handler.send_header("content-length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)
        return False

    return fault


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    try:
        handler.wfile.write(b'{"choices": [{"message": {"content": "')
        while not handler.fake.stopping.is_set():
            handler.wfile.write(b"ha" * 32768)
    except OSError:
        pass
    return False


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_answer_is_read_and_a_bomb_is_not_unpacked(encoding):
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    good, bomb = pack(json.dumps(said()).encode()), pack(b'{"a": "' + b"0" * 300_000_000)
    with FaultyServer([packed(good, encoding), packed(bomb, encoding)]) as server:
        assert (await ask(server)).text == "ein Hund"
        tracemalloc.start()
        try:
            assert (await ask(server)).reason == "answer_too_large"
            assert tracemalloc.get_traced_memory()[1] < 80_000_000  # 300 MB unpacked
        finally:
            tracemalloc.stop()


async def test_an_endless_answer_is_cut_off():
    with FaultyServer([endless]) as server:
        assert (await ask(server, options=FAST + "&max_answer_mb=1")).reason == "answer_too_large"


@pytest.mark.parametrize(
    ("raw", "encoding", "reason"),
    [
        (b"\x1f\x8bnot gzip", "gzip", "bad_response"),
        (b"x", "br", "unknown_encoding"),
        (b"x", "zstd", "unknown_encoding"),
    ],
)
async def test_packing_that_cannot_be_read(raw, encoding, reason):
    with FaultyServer([packed(raw, encoding)] * 2) as server:
        assert (await ask(server)).reason == reason


@pytest.mark.parametrize("where", ["status", "headers", "body"])
async def test_a_dripping_server_is_left_at_the_limit(where):
    """A byte every tenth of a second, for ever, whatever part of the answer it is in."""
    begun = {"status": b"", "headers": b"HTTP/1.1 200 OK\r\n", "body": b"HTTP/1.1 200 OK\r\n\r\n"}[where]
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    def drip(connection):
        try:
            connection.sendall(begun)
            for n in range(600):
                connection.sendall(b"HTTP/1.1 200 OK\r\nx: y"[n % 20 : n % 20 + 1] if where == "status" else b"x")
                if stop.wait(0.1):
                    return
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        model = load_model(f"openai:{url}#m?timeout=0.5&deadline=2&retries=1&backoff=0.01")
        started = time.monotonic()
        (answer,) = await model.generate([Prompt("x")])
        seconds = time.monotonic() - started
        await model.aclose()
        stop.set()
    assert answer.reason in ("timeout", "connection_dropped")
    assert seconds < 20  # sixty seconds of drip were to come


# -- keys --------------------------------------------------------------------------------------------------------------

SPELLED = {
    "whole": KEY,
    "upper": KEY.upper(),
    "swapped": KEY.swapcase(),
    "nul": "\x00".join(KEY),
    "one nul": KEY[:9] + "\x00" + KEY[9:],
    "zero width": "\u200b".join(KEY),
    "overrides": KEY[:5] + "\u202e" + KEY[5:],
    "escapes": KEY[:8] + "\x1b[31m" + KEY[8:],
    "spaced": " ".join(KEY),
    "lines": KEY[:10] + "\n" + KEY[10:],
    "percent": quote(KEY, safe=""),
    "all percent": "".join(f"%{ord(c):02x}" for c in KEY),
    "entities": "".join(f"&#{ord(c)};" for c in KEY),
    "unicode escapes": "".join(f"\\u{ord(c):04x}" for c in KEY),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 of a header": base64.b64encode(b"Bearer " + KEY.encode()).decode(),
    "base64, other offset": base64.urlsafe_b64encode(b"ab" + KEY.encode()).decode(),
    "hex": KEY.encode().hex(),
}


def _traces(text):
    """Whether the key, or the middle of it, can be read out of a text by somebody who wants to."""
    bare = "".join(c for c in text.casefold() if c.isalnum())
    middle = "".join(c for c in KEY if c.isalnum())[4:14]
    forms = [middle, KEY.encode().hex()[8:28]]
    encoded = [base64.b64encode(b"\0" * n + KEY.encode()).decode()[8:20] for n in range(3)]
    forms += ["".join(c for c in one.casefold() if c.isalnum()) for one in encoded]
    return [form for form in forms if form in bare]


@pytest.mark.parametrize("how", SPELLED)
async def test_a_key_that_a_server_repeats_is_nowhere(how, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    echo = SPELLED[how]
    replies = [
        said(f"a cat {echo} on a mat"),
        said("", finish=echo),
        said("", finish="stop") | {"model": echo},
        {"choices": [{"message": {"content": None, "refusal": f"no {echo}"}}]},
        {"error": {"message": f"no {echo}", "code": 400, "type": echo}},
        {"error": echo},
        {"detail": echo},
        {"choices": echo},
    ]
    for reply in replies:
        code = 400 if "detail" in reply else 200
        with FaultyServer([status(code, body=reply)] * 2) as server:
            answer = await ask(server)
        shown = f"{answer.reason} {answer.message} {answer}" if isinstance(answer, RowError) else repr(answer)
        assert not _traces(shown), (reply, shown)
        if isinstance(answer, Answer):
            assert answer.text == "a cat *** on a mat" or (
                ("base64 " in how or "base64," in how) and "***" in answer.text
            )


async def test_words_of_a_server_cannot_steer_a_terminal():
    text = "\x1b[31mred\x1b]0;title\x07 \u202eabc\u2066 \x9b1m"
    with FaultyServer([status(400, body={"error": {"message": text}})]) as server:
        message = (await ask(server)).message
    assert not any(c in message for c in "\x1b\x07\u202e\u2066\x9b")
    assert "red" in message
    with FaultyServer([answer_with({"choices": [{"message": {"content": None, "refusal": text}}]})]) as server:
        refused = await ask(server)
    assert (refused.reason, "\x1b" in refused.message) == ("refused", False)


# -- what is stored, and what it cost ----------------------------------------------------------------------------------

PRICES = Prices({"openai:*": {"input": 10.0, "output": 20.0}})


async def asked(server, folder, prompt="x", run="r1"):
    """One question through the journal: the answer or error, and what the item spent."""
    model = load_model(f"openai:{server.url}#tiny?{FAST}")
    journal = Journal(folder)
    asker = Asker(model, journal=journal, prices=PRICES, budget=None, account=Account(run, "caption.x-1"))
    spent = Spent()
    spending.set(spent)
    try:
        return await asker.generate(prompt), spent
    except RowError as error:
        return error, spent
    finally:
        await asker.close()
        journal.close()


async def test_what_is_no_answer_is_paid_for_and_asked_again(tmp_path):
    bad = said("<think>hm", prompt_tokens=100, completion_tokens=50)
    with FaultyServer([answer_with(bad)]) as server:
        first, spent = await asked(server, tmp_path)
        assert first.reason == "thinking_only"
        assert (spent.asked, spent.tokens_in, spent.tokens_out) == (1, 100, 50)
        assert spent.price == pytest.approx(0.002)
        second, spent = await asked(server, tmp_path)
        assert second.text == "answer to: x"
        third, recalled = await asked(server, tmp_path, run="r2")
        assert (third, recalled.asked, recalled.recalled) == (second, 0, 1)
    paid = paid_by_stage(tmp_path, "r1")["caption.x-1"]
    assert paid.asked == 2
    assert paid.price == pytest.approx(0.002 + spent.price)
    assert paid_by_stage(tmp_path, "r2") == {}


async def test_a_record_that_cannot_be_read_is_asked_for_again(tmp_path):
    with FaultyServer() as server:
        model = load_model(f"openai:{server.url}#tiny?{FAST}")
        key = journal_key(model, "generate", Prompt("x"))
        for raw in (b'{"text": "old", "tokens_in": "seven"}', b"\xff", b"[]", b'{"tokens_in": 1}'):
            with Journal(tmp_path) as journal:
                journal.put_many({key: raw})
        answer, _ = await asked(server, tmp_path)
        assert answer.text == "answer to: x"
        again, spent = await asked(server, tmp_path)
        assert (again.text, spent.recalled) == ("answer to: x", 1)
        assert server.paid["x"] == 1


async def test_stored_answers_are_cleaned_when_they_are_read(tmp_path):
    with FaultyServer() as server:
        model = load_model(f"openai:{server.url}#tiny?{FAST}")
        key = journal_key(model, "generate", Prompt("x"))
        with Journal(tmp_path) as journal:
            journal.put_many({key: b'{"text": "<think>x</think>A red bird.<|im_end|>"}'})
        answer, spent = await asked(server, tmp_path)
        assert (answer.text, spent.recalled, len(server.requests)) == ("A red bird.", 1, 0)
