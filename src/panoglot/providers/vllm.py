"""`vllm:`: a generator in this process on vLLM (GPU). For a vLLM server use `openai:`.

    vllm:Qwen/Qwen2.5-VL-7B-Instruct?max_model_len=8192&gpu_memory_utilization=0.85

Options: `dtype`, `revision`, `trust_remote_code`, `max_model_len`, `gpu_memory_utilization`, `tensor_parallel_size`,
`max_images` (most pictures a prompt), `max_pixels`, `batch_size`.

Not run against vLLM itself by the project's tests, whose machines have no GPU: they check what is asked of it and how
its answers are read, on a stand-in with the documented interface (vLLM 0.11 and later).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError, did_you_mean, require
from panoglot.providers._batches import chunks, decode, halving
from panoglot.providers._names import ModelInfo
from panoglot.providers._prompt import lowered, plain_text
from panoglot.providers.roles import Answer

if TYPE_CHECKING:
    from panoglot.pictures import Image
    from panoglot.providers._names import Options
    from panoglot.providers.roles import Prompt

__all__ = ["VllmGenerator", "catalog", "load"]

INSTALL = "panoglot[vllm]"
DTYPES = ("auto", "bfloat16", "float16", "float32")


class VllmGenerator:
    """A model in vLLM's engine as a `Generator`; vLLM batches by itself, so batches are large."""

    def __init__(self, name: str, options: Options) -> None:
        from panoglot.providers.hf._files import find_checkpoint

        revision, code = options.take("revision", str, None), options.take("trust_remote_code", bool, False)
        dtype = options.take("dtype", str, "auto")
        if dtype not in DTYPES:
            raise UserError(f"there is no dtype '{dtype}'.{did_you_mean(dtype, DTYPES)}")
        self.batch_size = options.take("batch_size", int, 256)
        self.max_pixels = options.take("max_pixels", int, None)
        length = options.take("max_model_len", int, None)
        memory = options.take("gpu_memory_utilization", float, 0.9)
        parallel = options.take("tensor_parallel_size", int, 1)
        most = options.take("max_images", int, 4)
        options.finish()
        self._vllm: Any = require("vllm", INSTALL, f"the model 'vllm:{name}'")
        checkpoint = find_checkpoint(name, revision, code=code, what="vllm")
        self.sees = "vision_config" in checkpoint.config
        self.llm = self._vllm.LLM(
            model=str(checkpoint.folder),
            dtype=dtype,
            load_format="safetensors",
            trust_remote_code=code,
            max_model_len=length,
            gpu_memory_utilization=memory,
            tensor_parallel_size=parallel,
            limit_mm_per_prompt={"image": most} if self.sees else None,
        )
        self.tokenizer = self.llm.get_tokenizer()
        self.chat = bool(getattr(self.tokenizer, "chat_template", None))
        self.name = f"vllm:{checkpoint.label}"
        facts = [checkpoint.fingerprint, dtype, self.max_pixels]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
        """Answer every prompt; what fails is a `RowError` in its place."""
        return [answer for part in chunks(prompts, self.batch_size) for answer in halving(part, self._generate)]

    def score(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[list[tuple[str, float]] | RowError]:
        """Give the tokens of every text with the natural-log probability that the model gives them after its prompt."""
        rows = list(zip(prompts, texts, strict=True))
        return [row for part in chunks(rows, self.batch_size) for row in halving(part, self._score)]

    def _messages(self, prompt: Prompt) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        for turn in lowered(prompt, model=self.name).turns:
            role, parts = turn.role, turn.parts
            if all(isinstance(part, str) for part in parts):
                messages.append({"role": role, "content": "".join(parts)})
                continue
            content = [
                {"type": "text", "text": part} if isinstance(part, str) else self._picture(part) for part in parts
            ]
            messages.append({"role": role, "content": content})
        return messages

    def _picture(self, image: Image) -> dict[str, Any]:
        if not self.sees:
            raise RowError("no_image_input", f"{self.name} reads text only")
        (picture,) = decode([image], max_pixels=self.max_pixels)
        if isinstance(picture, RowError):
            raise picture
        return {"type": "image_pil", "image_pil": picture}

    def _parameters(self, prompt: Prompt) -> Any:
        more: dict[str, Any] = {}
        if prompt.schema is not None:
            more["structured_outputs"] = self._vllm.sampling_params.StructuredOutputsParams(json=prompt.schema)
        return self._vllm.SamplingParams(
            max_tokens=max(1, prompt.max_tokens),
            temperature=prompt.temperature,
            top_p=prompt.top_p,
            seed=prompt.seed % 2**63 if prompt.temperature > 0 else None,
            stop=list(prompt.stop) or None,
            logprobs=0 if prompt.logprobs else None,  # 0: only the token that was taken
            **more,
        )

    def _generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
        found: list[Answer | RowError | None] = [None] * len(prompts)
        for chat in (True, False):
            at = [n for n, prompt in enumerate(prompts) if prompt.chat is chat]
            if not at:
                continue
            asked = [prompts[n] for n in at]
            parameters = [self._parameters(prompt) for prompt in asked]
            if chat:
                outputs = self.llm.chat([self._messages(p) for p in asked], parameters, use_tqdm=False)
            else:
                plain = [self._continuation(prompt) for prompt in asked]
                outputs = self.llm.generate(plain, parameters, use_tqdm=False)
            for n, output in zip(at, outputs, strict=True):
                found[n] = self._answer(prompts[n], output)
        return found  # type: ignore[return-value]

    def _continuation(self, prompt: Prompt) -> Any:
        if prompt.images:
            raise RowError("no_plain_images", "vllm: continues texts; ask about pictures with chat=True, or use hf:")
        return plain_text(prompt, self.name)

    def _answer(self, prompt: Prompt, output: Any) -> Answer:
        written = output.outputs[0]
        tokens = None
        if prompt.logprobs:
            steps = zip(written.token_ids, written.logprobs, strict=True)
            tokens = tuple((step[token].decoded_token or "", float(step[token].logprob)) for token, step in steps)
        return Answer(
            text=written.text.strip(),
            finish="length" if written.finish_reason == "length" else "stop",
            tokens_in=len(output.prompt_token_ids),
            tokens_out=len(written.token_ids),
            tokens=tokens,
        )

    def _score(self, rows: Sequence[tuple[Prompt, str]]) -> list[list[tuple[str, float]] | RowError]:
        parameters = self._vllm.SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
        found: list[list[tuple[str, float]] | RowError] = []
        for prompt, text in rows:
            if not text:
                found.append([])
                continue
            ids = self.tokenizer.encode(text, add_special_tokens=False)
            if prompt.chat:
                messages = [*self._messages(prompt), {"role": "assistant", "content": text}]
                (output,) = self.llm.chat(
                    [messages], parameters, use_tqdm=False, add_generation_prompt=False, continue_final_message=True
                )
            else:
                before = self.tokenizer.encode(self._continuation(prompt))
                (output,) = self.llm.generate([{"prompt_token_ids": [*before, *ids]}], parameters, use_tqdm=False)
            if list(output.prompt_token_ids[-len(ids) :]) != list(ids):
                found.append(RowError("token_border", "the template joins the text's first token to its own last one"))
                continue
            steps = list(zip(ids, output.prompt_logprobs[-len(ids) :], strict=True))
            found.append([(step[token].decoded_token or "", float(step[token].logprob)) for token, step in steps])
        return found


def load(name: str, options: Options) -> VllmGenerator:
    """Load a model into vLLM's engine in this process.

    Raises:
        UserError: not there, no network, pickled weights, unknown option, a missing package.
    """
    return VllmGenerator(name, options)


def catalog() -> list[ModelInfo]:
    """The pattern of names, and whether vLLM is here."""
    about = "in this process on vLLM, GPU only (not run by the project's tests; for a vLLM server use openai:)"
    ready = importlib.util.find_spec("vllm") is not None and importlib.util.find_spec("torch") is not None
    return [ModelInfo("vllm:OWNER/NAME", ("generator",), about, f"pip install '{INSTALL}'", ready)]
