"""Greedy and sampled decoding of a batch whose rows have nothing to do with each other.

`transformers.generate` has one temperature, one seed, one length and one stop rule for a batch. Here every row has its
own: the batch runs greedily, and this object, hooked in as logits processor and stopping criterion, adds the row's own
Gumbel noise (the argmax of logits/T + Gumbel noise is a sample of softmax(logits/T)), so a row's answer does not depend
on which rows it shares a batch with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, require
from panoglot.providers.roles import Answer

if TYPE_CHECKING:
    import torch

    from panoglot.providers.roles import Prompt

__all__ = ["Decoding", "grammar", "pieces"]


def pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Split the text of `ids` into what each token adds.

    A character that several tokens make up (byte-level vocabularies) belongs to the last of them, so that the pieces
    joined are the text.
    """
    found: list[str] = []
    start = done = 0  # a window of finished tokens before the new one keeps leading spaces right and costs O(n)
    for n in range(1, len(ids) + 1):
        before = tokenizer.decode(ids[start:done], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        after = tokenizer.decode(ids[start:n], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if n < len(ids) and after.endswith("\ufffd"):
            found.append("")
            continue
        found.append(after[len(before) :])
        start, done = done, n
    return found


class Decoding:
    """What is decided, written and stopped in a batch.

    Args:
        prompts: one a row.
        limits: most new tokens, one a row.
        prompt_ids: the tokens of every prompt (for the repetition penalty), without padding.
        ends: ids that end an answer.
        tokenizer: of the model.
        penalty: repetition penalty of the checkpoint (Keskar et al. 2019, eq. 1); 1 is none.
        matchers: a grammar matcher (`grammar`) or None, one a row.
        read: tokens read, one a row, when that is not the length of `prompt_ids`.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        limits: Sequence[int],
        prompt_ids: Sequence[Sequence[int]],
        ends: frozenset[int],
        tokenizer: Any,
        penalty: float = 1.0,
        matchers: Sequence[Any] | None = None,
        read: Sequence[int] | None = None,
    ) -> None:
        import torch

        self.prompts, self.limits, self.prompt_ids = prompts, limits, prompt_ids
        self.ends, self.tokenizer, self.penalty = ends, tokenizer, penalty
        self.read = read or [len(ids) for ids in prompt_ids]
        self.matchers = matchers or [None] * len(prompts)
        self.ids: list[list[int]] = [[] for _ in prompts]
        self.logprobs: list[list[float]] = [[] for _ in prompts]
        self.finish: list[str | None] = [None if limit > 0 else "length" for limit in limits]
        self.noise = [torch.Generator().manual_seed(prompt.seed % 2**63) for prompt in prompts]
        self._raw: torch.Tensor | None = None
        self._seen: torch.Tensor | None = None

    def choose(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits processor: `[B, V]` to scores whose argmax is the row's choice."""
        import torch

        scores = scores.float()
        self._raw = scores.log_softmax(-1) if any(prompt.logprobs for prompt in self.prompts) else None
        if self.penalty != 1.0:
            if self._seen is None:  # the prompt's own tokens; padding does not count, unlike in transformers
                self._seen = torch.zeros_like(scores, dtype=torch.bool)
                for row, known in enumerate(self.prompt_ids):
                    self._seen[row, torch.tensor(sorted(set(known)), dtype=torch.long)] = True
            weaker = torch.where(scores > 0, scores / self.penalty, scores * self.penalty)
            scores = torch.where(self._seen, weaker, scores)
        else:
            scores = scores.clone()
        for row, prompt in enumerate(self.prompts):
            if self.finish[row] is not None:
                continue
            if self.matchers[row] is not None:
                scores[row] = scores[row].masked_fill(~self._allowed(row, scores), float("-inf"))
            if prompt.temperature > 0:
                uniform = torch.rand(scores.shape[-1], generator=self.noise[row], dtype=torch.float64)
                gumbel = -torch.log(-torch.log(uniform.clamp_min(1e-300)))
                scores[row] = _nucleus(scores[row] / prompt.temperature, prompt.top_p) + gumbel.to(scores)
        return scores

    def _allowed(self, row: int, scores: torch.Tensor) -> torch.Tensor:
        import numpy as np
        import torch

        bits = np.frombuffer(self.matchers[row].compute_bitmask(), dtype=np.uint8)
        allowed = np.zeros(scores.shape[-1], dtype=bool)
        known = np.unpackbits(bits, bitorder="little")[: len(allowed)].astype(bool)
        allowed[: len(known)] = known
        return torch.from_numpy(allowed).to(scores.device)

    def stopped(self, input_ids: torch.Tensor, scores: Any = None, **_: Any) -> torch.Tensor:
        """Stopping criterion: note the token each row has just got; True where a row has ended."""
        import torch

        chosen = input_ids[:, -1].tolist()
        for row, token in enumerate(chosen):
            if self.finish[row] is not None:
                continue
            if self._seen is not None:
                self._seen[row, token] = True
            self.ids[row].append(token)
            if self._raw is not None:
                self.logprobs[row].append(float(self._raw[row, token]))
            matcher = self.matchers[row]
            complete = matcher is not None and (not matcher.consume_token(token) or matcher.is_stopped())
            if token in self.ends or complete or self._stop_string(row):
                self.finish[row] = "stop"
            elif len(self.ids[row]) >= self.limits[row]:
                self.finish[row] = "length"
        return torch.tensor([end is not None for end in self.finish], device=input_ids.device)

    def _stop_string(self, row: int) -> bool:
        if not self.prompts[row].stop:
            return False
        tail = self.ids[row][-(4 * max(map(len, self.prompts[row].stop)) + 8) :]
        text = self.tokenizer.decode(tail, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return any(stop in text for stop in self.prompts[row].stop)

    def answer(self, row: int) -> Answer | RowError:
        """The answer of a row."""
        ids, prompt = list(self.ids[row]), self.prompts[row]
        matcher = self.matchers[row]
        if matcher is not None and matcher.is_error():
            return RowError("bad_schema", matcher.get_error())
        written = len(ids)
        if ids and ids[-1] in self.ends:
            ids.pop()
        text = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        cuts = [text.index(stop) for stop in prompt.stop if stop in text]
        text = text[: min(cuts)] if cuts else text
        tokens = None
        if prompt.logprobs:
            tokens, length = [], 0
            special = set(self.tokenizer.all_special_ids)
            for piece, value, token in zip(pieces(self.tokenizer, ids), self.logprobs[row], ids, strict=False):
                if cuts and length + len(piece) > len(text):
                    break  # the token reaches into the stop string
                if token not in special:
                    length += len(piece)
                    tokens.append((piece, value))
        return Answer(
            text=text.strip(),
            finish=self.finish[row] or "length",
            tokens_in=self.read[row],
            tokens_out=written,
            tokens=None if tokens is None else tuple(tokens),
        )


def grammar(schema: dict[str, Any], vocabulary: Any) -> Any:
    """Return the matcher that lets only tokens through that can still become JSON of this schema.

    Raises:
        RowError: `bad_schema`: the schema is invalid or uses what cannot be enforced.
    """
    guidance: Any = require("llguidance", "panoglot[hf]", "a JSON schema with a local model")
    try:
        matcher = guidance.LLMatcher(vocabulary, guidance.LLMatcher.grammar_from_json_schema(schema), log_level=0)
    except (ValueError, TypeError) as error:
        raise RowError("bad_schema", str(error)) from None
    if matcher.is_error():
        raise RowError("bad_schema", matcher.get_error())
    return matcher


def _nucleus(scores: torch.Tensor, share: float) -> torch.Tensor:
    """Leave the likeliest tokens that together have `share` of the probability (the one that reaches it included)."""
    if share >= 1.0:
        return scores
    ordered, order = scores.softmax(-1).sort(descending=True)
    beyond = ordered.cumsum(-1) - ordered >= share
    return scores.index_fill(-1, order[beyond], float("-inf"))
