"""The provider `openai:` against a server that misbehaves on demand (loopback only)."""

from __future__ import annotations

import asyncio
import base64
import bisect
import io
import json
import logging
import math
import pickle
import random
import socket
import subprocess
import sys
import threading
import time
from email.utils import formatdate

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import RowError, UserError
from panoglot.pictures import Image
from panoglot.providers import Rate, Slots, load_model
from panoglot.providers.roles import Answer, Encoder, Generator, Prompt
from tests.providers.faulty_server import (
    FaultyServer,
    answer_with,
    drop,
    drop_midway,
    echo_key,
    hang,
    huge,
    key_in_answer,
    redirect,
    status,
    truncated_json,
    vector,
)

KEY = "geheim/0123+456789abcdef"  # looks like no known key, and has other spellings in URLs
FAST = "backoff=0.01&retries=3&timeout=5&deadline=20"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def model(server, options=FAST, name="tiny"):
    return load_model(f"openai:{server.url}#{name}?{options}")


async def ask(server, *prompts, options=FAST):
    m = model(server, options)
    try:
        return await m.generate([p if isinstance(p, Prompt) else Prompt(p) for p in prompts])
    finally:
        await m.aclose()


def picture(mode="RGB", size=(8, 6), kind="PNG", **options):
    buffer = io.BytesIO()
    colour = {"RGB": (200, 30, 40), "RGBA": (200, 30, 40, 0), "L": 90, "P": 3, "CMYK": (0, 90, 80, 10)}[mode]
    PIL.Image.new(mode, size, colour).save(buffer, kind, **options)
    return Image(buffer.getvalue())


def sent_picture(server, n=-1):
    """Decode the picture of a request: (media type, Pillow picture)."""
    content = server.requests[n][2]["messages"][-1]["content"]
    url = next(p["image_url"]["url"] for p in content if p["type"] == "image_url")
    head, _, data = url.partition(",")
    return head.removeprefix("data:").removesuffix(";base64"), PIL.Image.open(io.BytesIO(base64.b64decode(data)))


# -- requests and answers ----------------------------------------------------------------------------------------------


async def test_chat_request_carries_every_parameter():
    with FaultyServer() as server:
        schema = {"type": "object", "properties": {"colour": {"type": "string"}}, "additionalProperties": False}
        prompt = Prompt(
            "Which colour? किस रंग का? 什么颜色؟",
            system="Be short.",
            max_tokens=9,
            temperature=0.5,
            seed=7,
            stop=("\n",),
            schema=schema,
            logprobs=True,
        )
        (answer,) = await ask(server, prompt)
        path, _, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert body["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Which colour? किस रंग का? 什么颜色؟"},
    ]
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == ("tiny", 9, 0.5, 7)
    assert (body["stop"], body["logprobs"]) == (["\n"], True)
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": schema, "strict": True}
    assert answer.text == '{"colour": "red"}'
    assert answer.tokens == (('{"colour":', -0.5), ('"red"}', -0.5))
    assert answer.tokens_in > 3
    assert answer.tokens_out == 2


async def test_completion_goes_to_completions():
    with FaultyServer() as server:
        (answer,) = await ask(
            server, Prompt("English: a dog\nSwahili:", chat=False, logprobs=True, system="Translate.")
        )
        path, _, body = server.requests[0]
    assert path == "/v1/completions"
    assert body["prompt"] == "Translate.\n\nEnglish: a dog\nSwahili:"
    assert body["logprobs"] == 1
    assert answer.tokens[0] == ("answer", -0.5)


async def test_completion_with_a_picture_is_refused():
    with FaultyServer() as server:
        with pytest.raises(UserError, match="chat=True"):
            await ask(server, Prompt("x", images=(picture(),), chat=False))
        assert not server.requests


async def test_options_omit_and_body_change_the_request():
    with FaultyServer() as server:
        await ask(server, "x", options=FAST + '&omit=temperature,seed&body={"reasoning_effort": "low"}')
        body = server.requests[0][2]
    assert "temperature" not in body
    assert "seed" not in body
    assert body["reasoning_effort"] == "low"


async def test_newer_token_field_is_found_by_itself():
    refuse = status(400, body={"error": {"message": "'max_tokens' is not supported. Use 'max_completion_tokens'."}})
    with FaultyServer(decide=lambda body: refuse if "max_tokens" in body else None) as server:
        m = model(server)
        answers = [*(await m.generate([Prompt("a", max_tokens=5)])), *(await m.generate([Prompt("b", max_tokens=6)]))]
        await m.aclose()
        sizes = [r[2].get("max_completion_tokens") for r in server.requests]
    assert [a.text for a in answers] == ["answer to: a", "answer to: b"]
    assert sizes == [None, 5, 6]


@pytest.mark.parametrize(
    ("mode", "kind", "options", "media"),
    [
        ("RGB", "JPEG", {}, "image/jpeg"),
        ("RGB", "PNG", {}, "image/png"),
        ("RGB", "WEBP", {}, "image/webp"),
        ("RGBA", "PNG", {}, "image/png"),
        ("RGBA", "WEBP", {"lossless": True}, "image/jpeg"),
        ("RGB", "TIFF", {}, "image/png"),
        ("RGB", "BMP", {}, "image/png"),
        ("P", "GIF", {}, "image/png"),
        ("RGB", "AVIF", {}, "image/jpeg"),
        ("L", "PNG", {}, "image/png"),
    ],
)
async def test_pictures_go_out_in_forms_that_servers_take(mode, kind, options, media):
    image = picture(mode, kind=kind, **options)
    with FaultyServer() as server:
        (answer,) = await ask(server, Prompt("look", images=(image,)))
        got, sent = sent_picture(server)
    assert answer.text == "answer to: look"
    assert got == media
    assert sent.format.lower() == media.removeprefix("image/")
    expected = np.asarray(image.pil(), dtype=int)
    assert np.abs(np.asarray(sent.convert("RGB"), dtype=int) - expected).max() <= 6  # transparent is white


async def test_stored_bytes_are_sent_untouched_where_possible():
    image = picture(kind="JPEG")
    with FaultyServer() as server:
        await ask(server, Prompt("look", images=(image,)))
        url = server.requests[0][2]["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(url.partition(",")[2]) == image.data


async def test_orientation_is_applied_and_large_pictures_are_shrunk():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    image = picture(size=(64, 32), kind="JPEG", exif=exif)
    with FaultyServer() as server:
        await ask(server, Prompt("look", images=(image,)))
        await ask(server, Prompt("look", images=(image,)), options=FAST + "&max_image_side=16")
        assert sent_picture(server, 0)[1].size == (32, 64)
        assert sent_picture(server, 1)[1].size == (8, 16)


async def test_a_broken_picture_costs_only_its_row():
    good = picture()
    bad = Image(good.data[:40], id="bad", width=8, height=6, format="png")
    with FaultyServer() as server:
        answers = await ask(server, Prompt("a", images=(good,)), Prompt("b", images=(bad,)), "c")
    assert [isinstance(a, Answer) for a in answers] == [True, False, True]
    assert answers[1].reason in ("truncated", "undecodable", "bad_header", "not_an_image")


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"message": {"content": ""}, "finish_reason": "stop"}, "empty_answer"),
        ({"message": {"content": " \n"}, "finish_reason": "length"}, "empty_answer"),
        ({"message": {"content": None}, "finish_reason": "stop"}, "empty_answer"),
        ({"message": {"content": "half"}, "finish_reason": "content_filter"}, "content_filter"),
        ({"message": {"content": None, "refusal": "I cannot"}, "finish_reason": "stop"}, "refused"),
        ({"text": 5}, "empty_answer"),
        ("nothing", "bad_response"),
    ],
)
async def test_answers_that_are_none(choice, reason):
    with FaultyServer([answer_with({"choices": [choice]})]) as server:
        bad, good = await asyncio.gather(ask(server, "x"), asyncio.sleep(0.3))
        assert good is None
        assert [a.reason for a in bad] == [reason]
        assert len(server.requests) == 1  # a filtered or empty answer was paid for: not asked again


async def test_answer_in_parts_cut_answer_and_fenced_json():
    parts = {"message": {"content": [{"type": "text", "text": "ein "}, {"type": "text", "text": "Hund"}]}}
    cut = {"message": {"content": "a long"}, "finish_reason": "length"}
    fenced = {"message": {"content": '```json\n{"a": "ü"}\n```'}}
    with FaultyServer([answer_with({"choices": [c]}) for c in (parts, cut, fenced, cut)]) as server:
        assert (await ask(server, "x"))[0].text == "ein Hund"
        assert (await ask(server, "x"))[0].finish == "length"
        assert json.loads((await ask(server, Prompt("x", schema={"type": "object"})))[0].text) == {"a": "ü"}
        assert (await ask(server, Prompt("x", schema={"type": "object"})))[0].reason == "not_json"


async def test_missing_logprobs_are_the_users_matter():
    reply = {"choices": [{"message": {"content": "hi"}}]}
    with FaultyServer([answer_with(reply)]) as server, pytest.raises(UserError, match="log-probabilities"):
        await ask(server, Prompt("x", logprobs=True))


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        status(500),
        status(502, body=b"<html>bad gateway</html>"),
        status(503),
        status(408),
        status(409),
        status(429),
        drop(),
        drop(reset=True),
        drop_midway(),
        truncated_json(),
        answer_with(b""),
        answer_with([1, 2]),
        answer_with({"error": {"message": "overloaded", "code": 503}}),
        answer_with({"error": "overloaded"}),
    ],
)
async def test_passing_trouble_is_asked_again(fault):
    with FaultyServer([fault, fault]) as server:
        (answer,) = await ask(server, "x")
        assert answer.text == "answer to: x"
        assert len(server.requests) == 3
        assert server.paid == {"x": 1}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (status(500), "server_error"),
        (status(429), "rate_limited"),
        (drop(), "connection_dropped"),
        (truncated_json(), "truncated_answer"),
        (answer_with([]), "bad_response"),
    ],
)
async def test_lasting_trouble_rejects_the_row_after_a_bounded_number_of_tries(fault, reason):
    with FaultyServer(decide=lambda body: fault if "bad" in str(body) else None) as server:
        answers = await ask(server, "good", "bad", "fine")
        assert [getattr(a, "reason", a) for a in answers][1] == reason
        assert [answers[0].text, answers[2].text] == ["answer to: good", "answer to: fine"]
        assert sum("bad" in str(r) for r in server.requests) == 4  # one and three retries
        assert "4 tries" in answers[1].message


@pytest.mark.parametrize(
    ("code", "body", "reason"),
    [
        (400, None, "bad_request"),
        (422, None, "bad_request"),
        (413, None, "request_too_large"),
        (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}, "prompt_too_long"),
        (400, {"error": {"message": "too long", "type": "exceed_context_size_error", "code": 400}}, "prompt_too_long"),
        (400, {"error": {"message": "no", "code": "content_policy_violation"}}, "content_filter"),
        (418, b"\xff\xfe not text", "bad_request"),
    ],
)
async def test_refused_questions_are_not_asked_again(code, body, reason):
    with FaultyServer([status(code, body=body)]) as server:
        (answer,) = await ask(server, "x")
        assert isinstance(answer, RowError)
        assert answer.reason == reason
        assert f"HTTP {code}" in answer.message
        assert len(server.requests) == 1


async def test_retry_after_seconds_and_date_are_obeyed_by_every_request():
    with FaultyServer([status(429, {"Retry-After": "1"})]) as server:
        await ask(server, *"abcd")
        first, rest = server.times[0], server.times[4:]
        assert all(t - first >= 0.95 for t in rest)
        assert len(server.times) == 5
    with FaultyServer([status(503, {"Retry-After": formatdate(time.time() + 3, usegmt=True)})]) as server:
        await ask(server, "x")
        assert server.times[1] - server.times[0] > 1
    with FaultyServer(
        [status(429, {"x-ratelimit-reset-requests": "500ms", "x-ratelimit-remaining-requests": "0"})]
    ) as server:
        await ask(server, "x")
        assert server.times[1] - server.times[0] >= 0.5


async def test_a_day_long_retry_after_stops_the_run_instead_of_rejecting_rows():
    fault = status(429, {"Retry-After": "86400"})
    with FaultyServer([fault]) as server, pytest.raises(UserError, match=r"86400 s.*pending"):
        await ask(server, "x")


async def test_slow_answers_time_out_and_the_deadline_holds():
    with FaultyServer(decide=lambda body: hang(30)) as server:
        start = time.monotonic()
        (answer,) = await ask(server, "x", options="timeout=0.2&retries=2&backoff=0.01")
        assert answer.reason == "timeout"
        assert len(server.requests) == 3
        (answer,) = await ask(server, "x", options="timeout=0.3&retries=1000&backoff=0.2&deadline=1")
        assert answer.reason == "timeout"
        assert time.monotonic() - start < 15


async def test_a_slow_drip_cannot_hold_a_call_for_ever():
    def drip(handler):
        handler.send_response(200)
        handler.send_header("content-length", "1000000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            if handler.fake.stopping.wait(0.05):
                break
        handler.close_connection = True
        return False

    with FaultyServer([drip]) as server:
        start = time.monotonic()
        (answer,) = await ask(server, "x", options="timeout=0.4&retries=0")
        assert answer.reason == "timeout"
        assert time.monotonic() - start < 4


async def test_huge_answers_are_cut_off():
    with FaultyServer([huge(3_000_000)]) as server:
        (answer,) = await ask(server, "x", options=FAST + "&max_answer_mb=1")
        assert answer.reason == "answer_too_large"
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("code", "body", "text"),
    [
        (401, None, r"no key: export OPENAI_API_KEY"),
        (403, None, r"no key"),
        (402, None, r"no quota"),
        (429, {"error": {"message": "pay", "code": "insufficient_quota"}}, r"no quota"),
        (501, None, r"cannot do this"),
        (500, {"error": {"message": "image input is not supported", "code": 500}}, r"cannot do this"),
    ],
)
async def test_what_only_the_user_can_mend_stops_the_run(code, body, text):
    with FaultyServer(decide=lambda _: status(code, body=body)) as server, pytest.raises(UserError, match=text):
        await ask(server, "x", "y")


async def test_a_wrong_model_name_is_answered_with_did_you_mean():
    with FaultyServer() as server:
        m = model(server, name="tiny-vison")
        with pytest.raises(UserError, match=r"has no model 'tiny-vison'\. Did you mean 'tiny-vision'\?"):
            await m.generate([Prompt("x")])
        await m.aclose()


async def test_a_wrong_path_is_told_apart_from_a_wrong_model():
    with FaultyServer() as server:
        bare = server.url.removesuffix("/v1")
        m = load_model(f"openai:{bare}#tiny?{FAST}")
        with pytest.raises(UserError, match=f"Perhaps {bare}/v1 is meant"):
            await m.generate([Prompt("x")])
        await m.aclose()
        m = model(server)
        server.script.append(status(404))
        with pytest.raises(UserError, match="has the model 'tiny' but not /chat/completions"):
            await m.generate([Prompt("x")])
        await m.aclose()


async def test_fifty_failed_calls_in_a_row_stop_the_run():
    with FaultyServer(decide=lambda _: status(500)) as server:
        with pytest.raises(UserError, match="50 calls in a row"):
            await ask(server, *map(str, range(80)), options="retries=0&backoff=0&concurrency=8")
        assert len(server.requests) <= 60


async def test_good_answers_between_failures_keep_the_run_going():
    with FaultyServer(decide=lambda body: status(500) if "bad" in str(body["messages"]) else None) as server:
        asked = [f"{'bad' if n % 4 else 'good'} {n}" for n in range(120)]
        answers = await ask(server, *asked, options="retries=0&backoff=0&concurrency=2")
        assert [isinstance(a, RowError) for a in answers] == [bool(n % 4) for n in range(120)]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


async def test_a_server_that_never_was_there_stops_the_run_soon():
    m = load_model(f"openai:http://127.0.0.1:{free_port()}/v1#tiny?backoff=0.01&patience=60")
    with pytest.raises(UserError, match=r"cannot be reached .*stays pending"):
        await m.generate([Prompt("x"), Prompt("y")])
    await m.aclose()


async def test_a_restart_is_waited_for_and_a_dead_server_stops_the_run():
    port = free_port()
    with FaultyServer(port=port) as server:
        m = model(server, "backoff=0.02&retries=1&patience=8")
        assert (await m.generate([Prompt("a")]))[0].text == "answer to: a"

    back = FaultyServer.__new__(FaultyServer)

    def restart():
        time.sleep(0.8)
        back.__init__(port=port)
        back.__enter__()

    thread = threading.Thread(target=restart)
    thread.start()
    (answer,) = await m.generate([Prompt("b")])  # far more tries than retries=1, and no row is lost
    thread.join()
    assert answer.text == "answer to: b"
    back.__exit__()
    await m.aclose()

    with FaultyServer(port=port) as server:
        m = model(server, "backoff=0.02&retries=1&patience=0.5")
        await m.generate([Prompt("a")])
    with pytest.raises(UserError, match="cannot be reached"):
        await m.generate([Prompt("c")])
    await m.aclose()


# -- secrets -----------------------------------------------------------------------------------------------------------


def seen(error):
    """Everything that a person might see of an error, causes included."""
    import traceback

    return repr(error) + str(error) + "".join(traceback.format_exception(error))


@pytest.mark.parametrize("auth", ["bearer", "basic", "api-key"])
async def test_the_key_is_sent_and_shown_nowhere(monkeypatch, caplog, auth):
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with FaultyServer([echo_key(400), echo_key(500), echo_key(500), echo_key(401)]) as server:
        m = model(server, f"backoff=0.01&retries=1&key_env=MY_KEY&auth={auth}")
        answers = [(await m.generate([Prompt("x")]))[0] for _ in range(2)]
        with pytest.raises(UserError, match=r"the key in \$MY_KEY was refused") as raised:
            await m.generate([Prompt("x")])
        await m.aclose()
        basic = base64.b64encode(KEY.encode()).decode()
        headers = server.requests[0][1]
        sent = {"bearer": f"Bearer {KEY}", "basic": f"Basic {basic}", "api-key": KEY}[auth]
        assert headers["api-key" if auth == "api-key" else "authorization"] == sent
        everything = caplog.text + seen(raised.value) + "".join(map(seen, answers))
        everything += repr(m) + repr(m.endpoint) + m.name + m.fingerprint + str(vars(m.endpoint)) + str(pickle.dumps(m))
        for secret in (KEY, basic, "u:pw@", "abcdef "):
            assert secret not in everything
        assert "***" in everything


async def test_a_key_in_the_answer_does_not_reach_the_tables(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultyServer([key_in_answer()]) as server:
        (answer,) = await ask(server, "x")
        assert answer.text == "your key is ***"


async def test_redirects_are_not_followed(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultyServer() as other, FaultyServer(decide=lambda _: redirect(other.url + "/chat/completions")) as server:
        with pytest.raises(UserError, match="redirects to"):
            await ask(server, "x")
        assert not other.requests


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ftp://host/v1#m", "is not a server's URL"),
        ("file:///etc/passwd#m", "is not a server's URL"),
        ("host/v1#m", "is not a server's URL"),
        ("http://host:99999/v1#m", "is not a server's URL"),
        ("http://host:port/v1#m", "is not a server's URL"),
        ("http://[::1/v1#m", "is not a server's URL"),
        (f"http://me:{KEY}@127.0.0.1/v1#m", "auth=basic"),
        (f"http://127.0.0.1/v1#m?api_key={KEY}", "key_env=NAME"),
        (f"http://127.0.0.1/v1#m?token={KEY}", "key_env=NAME"),
        ("http://127.0.0.1/v1#m?concurency=3", "Did you mean 'concurrency'"),
        ("http://127.0.0.1/v1#m?concurrency=0", "at least 1"),
        ("http://127.0.0.1/v1#m?timeout=soon", "must be a float"),
        ("http://127.0.0.1/v1#m?body=[1]", "must be a JSON object"),
        ("http://127.0.0.1/v1#m?as=poet", "generator or encoder"),
        ("http://127.0.0.1/v1#m?auth=magic", "bearer, basic or api-key"),
    ],
)
def test_bad_names(name, text):
    with pytest.raises(UserError, match=text) as raised:
        load_model("openai:" + name)
    assert KEY not in seen(raised.value)


def test_a_name_without_a_model_lists_what_is_there():
    with FaultyServer() as server, pytest.raises(UserError, match="offers: tiny, tiny-vision"):
        load_model(f"openai:{server.url}")


async def test_a_key_that_no_header_can_carry(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "geheim-ключ-0123")
    with FaultyServer() as server, pytest.raises(UserError, match="no HTTP header") as raised:
        await ask(server, "x")
    assert "ключ" not in seen(raised.value)


async def test_loopback_ignores_the_proxy_of_the_environment(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{free_port()}")
    with FaultyServer() as server:
        assert (await ask(server, "x"))[0].text == "answer to: x"


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_concurrency_is_shared_by_instances_and_event_loops():
    with FaultyServer(delay=0.05) as server:
        models = [model(server, "concurrency=3"), model(server, "concurrency=5")]

        def other_loop():
            async def go():
                answers = await models[1].generate([Prompt(f"t{n}") for n in range(15)])
                await models[1].aclose()
                return answers

            return asyncio.run(go())

        thread = asyncio.to_thread(other_loop)
        here, there = await asyncio.gather(models[0].generate([Prompt(str(n)) for n in range(15)]), thread)
        await models[0].aclose()
        assert all(isinstance(a, Answer) for a in [*here, *there])
        assert server.most_at_once == 3


async def test_a_slot_granted_to_a_cancelled_waiter_goes_to_the_next():
    slots, got = Slots(1), []

    async def use(name):
        async with slots:
            got.append(name)

    async with slots:
        waiting = [asyncio.create_task(use(name)) for name in "bcd"]
        await asyncio.sleep(0)
    waiting[0].cancel()  # after the grant, before it could wake up
    await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert got == ["c", "d"]
    assert slots._used == 0


async def test_cancelled_calls_give_their_slots_back():
    with FaultyServer(delay=0.2) as server:
        m = model(server, "concurrency=2")
        tasks = [asyncio.create_task(m.generate([Prompt(str(n))])) for n in range(20)]
        await asyncio.sleep(0.1)
        for task in tasks[:19]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(d) for d in done[:19]] == [asyncio.CancelledError] * 19
        assert done[19][0].text == "answer to: 19"
        assert len(await m.generate([Prompt(f"again {n}") for n in range(4)])) == 4
        assert m.endpoint.limits.slots._used == 0
        await m.aclose()


@pytest.mark.parametrize("per_minute", [1, 7, 60, 301, 5000])
def test_no_minute_ever_sees_more_than_its_share(per_minute):
    rate, rng, now, used = Rate(per_minute), random.Random(per_minute), 0.0, []
    for _ in range(4 * per_minute + 20):
        now += rng.choice([0, 0, 0, 30 / per_minute, 90 / per_minute])
        used.append(now + rate.take(1, now=now))
    used.sort()
    most = max(bisect.bisect_left(used, t + 60) - n for n, t in enumerate(used))
    assert most <= max(per_minute, 1) + (per_minute == 1)
    assert used[-1] <= max(now, 60 * (len(used) + 1) / per_minute * 1.25)  # and it is not slower than it has to be


async def test_requests_a_minute_are_spread():
    with FaultyServer() as server:
        await ask(server, *map(str, range(4)), options="rpm=60")
        assert server.times[3] - server.times[0] > 2


async def test_tokens_a_minute_are_settled_with_what_was_really_used():
    with FaultyServer() as server:
        m = model(server, "tpm=60000")  # the estimate of each call is 20k tokens, the real use a dozen
        start = time.monotonic()
        for n in range(4):
            await m.generate([Prompt(str(n), max_tokens=20_000)])
        await m.aclose()
        assert time.monotonic() - start < 10


def test_loops_come_and_go():
    with FaultyServer() as server:
        m = model(server)
        for n in range(3):  # connections belong to a loop: a new one must not touch those of a closed one
            assert asyncio.run(m.generate([Prompt(str(n))]))[0].text == f"answer to: {n}"


def test_a_forked_or_pickled_model_works():
    with FaultyServer() as server:
        m = model(server)
        asyncio.run(m.generate([Prompt("parent")]))
        copy = pickle.loads(pickle.dumps(m))
        assert (copy.name, copy.fingerprint) == (m.name, m.fingerprint)
        assert asyncio.run(copy.generate([Prompt("copy")]))[0].text == "answer to: copy"
        code = (
            "import os, asyncio, sys\nfrom panoglot.providers import load_model\n"
            "from panoglot.providers.roles import Prompt\n"
            f"m = load_model('openai:{server.url}#tiny')\n"
            "asyncio.run(m.generate([Prompt('before')]))\n"
            "pid = os.fork()\n"
            "ok = asyncio.run(m.generate([Prompt('fork %d' % (pid == 0))]))[0].text.startswith('answer')\n"
            "if pid == 0: os._exit(0 if ok else 7)\n"
            "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or not ok)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        assert server.paid["fork 0"] == server.paid["fork 1"] == 1


def test_the_fingerprint_follows_what_changes_answers_and_nothing_else():
    base = load_model("openai:http://a/v1#m")
    same = load_model("openai:http://b:1/v1#m?concurrency=3&rpm=5&timeout=9&key_env=K")
    others = ["#n", "#m?max_image_side=512", "#m?omit=seed", '#m?body={"top_p": 0.5}', "#m?revision=q4"]
    assert same.fingerprint == base.fingerprint
    assert same.name == base.name == "openai:m"
    assert len({base.fingerprint, *(load_model("openai:http://a/v1" + o).fingerprint for o in others)}) == 6


# -- scoring -----------------------------------------------------------------------------------------------------------


async def test_score_gives_the_tokens_of_the_text_alone():
    with FaultyServer(vllm=True) as server:
        m = model(server)
        prompt = Prompt("Describe it.", system="Be brief.")
        plain, seen_ = await m.score([prompt, Prompt("Describe it.", images=(picture(),))], ["a red bird", "ein Hund"])
        (completed,) = await m.score([Prompt("It is", chat=False)], [" a red bird"])
        await m.aclose()
    assert plain == [("a", -1.0), (" red", -4.0), (" bird", -5.0)]
    assert seen_ == [("ein", -3.0), (" Hund", -5.0)]
    assert completed == [(" a", -2.0), (" red", -4.0), (" bird", -5.0)]


async def test_score_never_gives_numbers_of_other_tokens():
    with FaultyServer(vllm=True) as server:
        m = model(server)
        # the toy tokeniser, as real ones may, merges text and prompt here: "isa" is one token
        (merged,) = await m.score([Prompt("It is", chat=False)], ["a bird"])
        (empty,) = await m.score([Prompt("It is")], [" "])
        await m.aclose()
    assert merged.reason == "score_misaligned"
    assert empty.reason == "empty_text"


async def test_a_server_that_cannot_score_says_so():
    with FaultyServer() as server:
        m = model(server)
        with pytest.raises(UserError, match="use a vLLM server"):
            await m.score([Prompt("It is")], ["a bird"])
        await m.aclose()


# -- embeddings --------------------------------------------------------------------------------------------------------


def unit(values):
    return np.asarray(values) / math.sqrt(sum(v * v for v in values))


async def test_texts_are_embedded_in_order():
    with FaultyServer() as server:
        m = model(server, FAST + "&as=encoder&text_prefix=query: ")
        texts = [f"café {n} 狗 कुत्ता" for n in range(150)]
        found = await m.encode_texts(texts, ["en"] * 150)
        await m.aclose()
        assert [len(r[2]["input"]) for r in server.requests].count(64) == 2
    assert found.dtype == np.float32
    assert found.shape == (150, 8)
    for text, row in zip(texts, found):
        np.testing.assert_allclose(row, unit(vector("query: " + text, 8)), atol=1e-6)


async def test_one_refused_text_is_nan_and_the_others_arrive():
    with FaultyServer(decide=lambda b: status(400) if any("bad" in t for t in b["input"]) else None) as server:
        m = model(server, FAST + "&as=encoder")
        found = await m.encode_texts(["a", "bad", "c"])
        await m.aclose()
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[[0, 2]], [unit(vector("a", 8)), unit(vector("c", 8))], atol=1e-6)


async def test_images_are_embedded_as_vllm_takes_them():
    with FaultyServer() as server:
        m = model(server, FAST + "&as=encoder&image_text=Represent the image.")
        red, blue = picture(), picture(size=(9, 9))
        found = await m.encode_images([red, blue])
        content = server.requests[0][2]["messages"][0]["content"]
        await m.aclose()
    assert [p["type"] for p in content] == ["image_url", "text"]
    assert found.shape == (2, 8)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert not np.allclose(found[0], found[1])


async def test_a_server_without_image_embeddings_says_so():
    with FaultyServer(decide=lambda b: status(400) if "messages" in b else None) as server:
        m = model(server, FAST + "&as=encoder")
        with pytest.raises(UserError, match="embeds no pictures"):
            await m.encode_images([picture()])
        await m.aclose()


async def test_dim_asks_the_server_once_or_not_at_all():
    with FaultyServer() as server:
        m = model(server, FAST + "&as=encoder")
        assert isinstance(m, Encoder)
        assert (m.dim, m.dim) == (8, 8)
        assert len(server.requests) == 1
        short = model(server, FAST + "&as=encoder&dimensions=4")
        assert short.dim == 4
        assert (await short.encode_texts(["a"])).shape == (1, 4)
        await short.aclose()
        assert server.requests[1][2]["dimensions"] == 4


@pytest.mark.parametrize(
    "reply", [{"data": []}, {"data": [{"index": 0}]}, {"data": [{"index": 0, "embedding": []}]}, {}]
)
async def test_wrong_embeddings_are_row_errors(reply):
    with FaultyServer([answer_with(reply)]) as server:
        m = model(server, FAST + "&as=encoder&dim=8")
        assert np.isnan(await m.encode_texts(["x"])).all()
        await m.aclose()


def test_roles():
    assert isinstance(load_model("openai:http://a/v1#m", "generator"), Generator)
    assert isinstance(load_model("openai:http://a/v1#m?as=encoder&dim=3", "encoder"), Encoder)
    with pytest.raises(UserError, match="is no encoder"):
        load_model("openai:http://a/v1#m", "encoder")
