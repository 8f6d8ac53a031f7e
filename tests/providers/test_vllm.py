"""`vllm:`: what is asked of vLLM and how its answers are read.

vLLM itself cannot run on the project's machines (no GPU). The stand-in below has the documented interface of `LLM`,
`SamplingParams` and `RequestOutput`, refuses arguments that the real ones do not have, and tokenises by characters.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import MissingPackage, RowError, UserError
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.roles import Prompt


@dataclass
class SamplingParams:
    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: list[str] | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    structured_outputs: Any = None


@dataclass
class StructuredOutputsParams:
    json: Any = None


@dataclass
class Logprob:
    logprob: float
    decoded_token: str | None


@dataclass
class Completion:
    text: str
    token_ids: list[int]
    finish_reason: str
    logprobs: list[dict[int, Logprob]] | None = None


@dataclass
class Output:
    prompt_token_ids: list[int]
    outputs: list[Completion]
    prompt_logprobs: list[Any] | None = None


def _logprob(token: int) -> Logprob:
    return Logprob(-1.0 / token, chr(token))


class Tokenizer:
    chat_template = "{{ messages }}"

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [1] * add_special_tokens + [ord(letter) for letter in text]


@dataclass
class LLM:
    model: str
    dtype: str
    load_format: str
    trust_remote_code: bool
    max_model_len: int | None
    gpu_memory_utilization: float
    tensor_parallel_size: int
    limit_mm_per_prompt: dict[str, int] | None
    asked: list[Any] = field(default_factory=list)

    def get_tokenizer(self) -> Tokenizer:
        return Tokenizer()

    def _answer(self, ids: list[int], p: SamplingParams) -> Output:
        reply = f"saw {len(ids)}"[: p.max_tokens]
        for stop in p.stop or []:
            reply = reply.partition(stop)[0]
        token_ids = [ord(letter) for letter in reply]
        steps = None if p.logprobs is None else [{token: _logprob(token)} for token in token_ids]
        before = None if p.prompt_logprobs is None else [None, *({token: _logprob(token)} for token in ids[1:])]
        reason = "length" if len(reply) == p.max_tokens else "stop"
        return Output(ids, [Completion(" " + reply, token_ids, reason, steps)], before)

    def chat(
        self,
        messages: list[list[dict[str, Any]]],
        sampling_params: Any = None,
        use_tqdm: bool = True,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
    ) -> list[Output]:
        assert add_generation_prompt is not continue_final_message
        parameters = sampling_params if isinstance(sampling_params, list) else [sampling_params] * len(messages)
        self.asked += list(zip(messages, parameters, strict=True))
        if any("crash" in str(turn) for turns in messages for turn in turns):
            raise RuntimeError("engine")
        ids = [[2, *(ord(letter) for turn in turns for letter in self._text(turn))] for turns in messages]
        return [self._answer(row, p) for row, p in zip(ids, parameters, strict=True)]

    @staticmethod
    def _text(turn: dict[str, Any]) -> str:
        parts = turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
        return "".join(
            {"text": lambda p: p["text"], "image_pil": lambda p: "#" * 4}[part["type"]](part) for part in parts
        )

    def generate(self, prompts: list[Any], sampling_params: Any = None, use_tqdm: bool = True) -> list[Output]:
        parameters = sampling_params if isinstance(sampling_params, list) else [sampling_params] * len(prompts)
        ids = [p["prompt_token_ids"] if isinstance(p, dict) else Tokenizer().encode(p) for p in prompts]
        self.asked += list(zip(prompts, parameters, strict=True))
        return [self._answer(row, p) for row, p in zip(ids, parameters, strict=True)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["X"], "vision_config": {}}))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0\0\0")
    return tmp_path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    module, parameters = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    parameters.StructuredOutputsParams = StructuredOutputsParams  # type: ignore[attr-defined]
    module.LLM, module.SamplingParams, module.sampling_params = LLM, SamplingParams, parameters  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)


def picture(seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    return Image.from_pil(PIL.Image.fromarray(noise))


@pytest.mark.usefixtures("fake")
def test_asking(folder: Path) -> None:
    model = load_model(f"vllm:{folder}?max_model_len=99&max_images=2&dtype=bfloat16", "generator")
    assert (model.llm.load_format, model.llm.max_model_len, model.llm.limit_mm_per_prompt) == (
        "safetensors",
        99,
        {"image": 2},
    )
    assert (model.sees, model.chat) == (True, True)
    schema = {"type": "object"}
    broken = Image(picture().data[:300], id="x", width=20, height=20, format="png")
    answers = model.generate(
        [
            Prompt("What?", images=(picture(),), system="Brief", logprobs=True, max_tokens=40),
            Prompt("What?", images=(broken,)),
            Prompt("Go on", chat=False, temperature=0.5, seed=7, stop=("w",)),
            Prompt("JSON", schema=schema, max_tokens=3),
        ]
    )
    first, bad, second, third = answers
    assert (first.text, first.finish, first.tokens_in, first.tokens_out) == ("saw 15", "stop", 15, 6)
    assert first.tokens[0] == ("s", -1 / ord("s"))
    assert isinstance(bad, RowError)
    assert (second.text, second.finish, second.tokens) == ("sa", "stop", None)
    assert (third.text, third.finish) == ("saw", "length")
    asked = model.llm.asked[-2:] + model.llm.asked[:-2]
    settings = {p.max_tokens: p for _, p in asked}
    assert settings[40].temperature == 0
    assert settings[40].seed is None
    assert settings[3].structured_outputs.json == schema
    assert settings[256].seed == 7


@pytest.mark.usefixtures("fake")
def test_a_crash_is_of_its_row(folder: Path) -> None:
    answers = load_model(f"vllm:{folder}").generate([Prompt("a"), Prompt("crash"), Prompt("b")])
    assert [isinstance(answer, RowError) for answer in answers] == [False, True, False]
    assert answers[1].reason == "model_failed"


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("chat", [True, False])
def test_scoring(folder: Path, chat: bool) -> None:
    model = load_model(f"vllm:{folder}")
    (row, empty) = model.score([Prompt("What?", chat=chat), Prompt("x", chat=chat)], ["cat", ""])
    assert [piece for piece, _ in row] == ["c", "a", "t"]
    assert all(math.isclose(value, -1 / ord(piece)) for piece, value in row)
    assert empty == []


@pytest.mark.usefixtures("fake")
def test_wrong_options(folder: Path) -> None:
    with pytest.raises(UserError, match="no option 'max_len'"):
        load_model(f"vllm:{folder}?max_len=3")
    with pytest.raises(UserError, match="Did you mean 'float16'"):
        load_model(f"vllm:{folder}?dtype=flot16")


def test_a_missing_package_gives_the_pip_line(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingPackage, match=r"pip install 'panoglot\[vllm\]'"):
        load_model(f"vllm:{folder}")
