"""`facets:`: what a language model makes of a text, one vector for each thing that it is asked about it (FLAME).

    facets:mistralai/Mistral-Nemo-Instruct-2407        any causal model of transformers, by name or in a folder
    facets:/models/mine?layer=-2&max_tokens=1536

A long caption has a vector for each of seven facets, a short one for the first three, a text by a person or a page one.
One pass over a text gives them all: the prompts stand behind it one after the other, and none sees another.

Options: `layer` (of the hidden states, -2: the last but one), `max_tokens`, `infer` (`single`: the text of a query has
the vector of one prompt; `mean`: the mean over the seven, for long texts), `positions` (`run` on over the prompts, as
the release does, or `reset` at each), `prompts` (a YAML file with prompts of your own), `device`, `dtype`,
`batch_size`, `revision`, `trust_remote_code`. Weights as safetensors only.

Source: FLAME arXiv 2411.11927. The words of the prompts about facets are ours; the frame around them is the release's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import RowError, UserError, did_you_mean, yaml_fault
from panoglot.providers._batches import encode_rows
from panoglot.providers._names import ModelInfo

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from panoglot.pictures import Image
    from panoglot.providers._names import Options

__all__ = ["FACETS", "PROMPTS", "FacetEncoder", "catalog", "facet_mask", "load", "normalised"]

#: Facets of a caption by its kind; of all others one.
FACETS = {"dense": 7, "short": 3}
#: What stands before a long or short caption, before any other, behind it, and the facets in order.
PROMPTS: dict[str, Any] = {
    "detailed": 'Detailed Image description : "',
    "plain": 'Image description : "',
    "after": '" . After thinking step by step ,',
    "facets": [
        ' this image description means in just one word:"',
        ' the category of the main object means in just one word:"',
        ' the characteristic or pattern of the main object means in just one word:"',
        ' the category of the minor object means in just one word:"',
        ' the characteristic of the minor object means in just one word:"',
        ' the primary action or event means in just one word:"',
        ' the overall atmosphere or emotion means in just one word:"',
    ],
}
#: What ends a sentence in other scripts: nothing is put behind it.
_ENDS = ".?\"'。．？؟۔।॥"


def normalised(text: str) -> str:
    """Return a text as the prompts take it: it ends a sentence, has no double quotes, and asks nothing.

    >>> normalised('a dog'), normalised('a "dog"?'), normalised("一只狗。")
    ('a dog.', "a 'dog'.", '一只狗。')
    """
    text = text.strip()
    text = (text if text.endswith(tuple(_ENDS)) else text + ".").replace('"', "'")
    return text[:-1] + "." if text.endswith("?") else text


def facet_mask(prefix: int, facets: Sequence[int]) -> Tensor:
    """Return who sees whom, bool [L, L]: all what stands before it, but a facet nothing of another one.

    Args:
        prefix: tokens of the caption and what is around it.
        facets: tokens of each facet.

    >>> facet_mask(3, [2, 2]).int()[5:].tolist()
    [[1, 1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 1]]
    """
    import torch

    of = torch.tensor([-1] * prefix + [n for n, count in enumerate(facets) for _ in range(count)])
    at = torch.arange(len(of))
    return (at[:, None] >= at) & ((of == -1) | (of[:, None] == of))


class FacetEncoder:
    """A causal language model as an `Encoder` of texts, with several vectors a caption.

    Attributes:
        name: provider and model.
        fingerprint: of weights, precision, layer, prompts and positions; not of `infer`.
        batch_size: most items a call.
        dim: length of a vector.
        max_text_tokens: where texts are cut: the caption, never what is asked of it.
        cut: texts cut so far.
        infer: how the texts of queries are encoded, `single` or `mean`.
    """

    def __init__(self, name: str, options: Options) -> None:
        from panoglot.providers.hf._load import load_config, load_weights, torch_place

        place = torch_place(options, f"the model 'facets:{name}'", "hf")
        self.batch_size = options.take("batch_size", int, 32 if place.device.startswith("cuda") else 4)
        self.layer = options.take("layer", int, -2)
        self.max_text_tokens = options.take("max_tokens", int, 1536)
        self.infer = options.take("infer", str, "single")
        positions = options.take("positions", str, "run")
        path = options.take("prompts", str, None)
        options.finish()
        for key, value, allowed in (
            ("infer", self.infer, ("single", "mean")),
            ("positions", positions, ("run", "reset")),
        ):
            if value not in allowed:
                raise UserError(f"{key}={value} of 'facets:{name}' must be {' or '.join(allowed)}.")
        self.prompts, self._reset, self.cut = _prompts(path), positions == "reset", 0
        import transformers

        checkpoint = place.checkpoint(name, "facets")
        config = load_config(checkpoint, place)
        text = config.get_text_config()
        if not -text.num_hidden_layers <= self.layer < 0:
            raise UserError(
                f"layer={self.layer} of 'facets:{name}' counts from the end: -1 to -{text.num_hidden_layers}."
            )
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
        self.model = load_weights(transformers.AutoModel, checkpoint, config, place)
        self.dim, self.device = int(text.hidden_size), place.device
        before = self.tokenizer("")["input_ids"]
        ends = {self.tokenizer.eos_token_id, self.tokenizer.sep_token_id}
        self._before = [i for i in before if i not in ends] or [
            i for i in (self.tokenizer.bos_token_id,) if i is not None
        ]
        self._facets = [self._ids(facet) for facet in self.prompts["facets"]]
        least = len(self._before) + sum(map(len, self._facets)) + len(self._ids(self.prompts["after"])) + 8
        most = int(getattr(text, "max_position_embeddings", None) or self.max_text_tokens)
        self.max_text_tokens = min(self.max_text_tokens, most)
        if self.max_text_tokens < least + len(self._ids(self.prompts["detailed"])):
            raise UserError(f"'facets:{name}' reads {self.max_text_tokens} tokens: too few for the prompts.")
        self.name = f"facets:{checkpoint.label}"
        facts = [checkpoint.fingerprint, place.dtype, self.layer, self.max_text_tokens, positions, self.prompts]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Refuse: it reads texts.

        Raises:
            UserError: always.
        """
        raise UserError(f"'{self.name}' reads texts, no pictures: it is a text tower, --text-tower {self.name}.")

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Encode texts of queries: unit vectors `[N, dim]`; a blank text is a NaN row."""
        import torch

        def batch(some: Sequence[Any]) -> Any:
            if self.infer == "single":
                return self._vectors(some, ["plain"] * len(some), [1] * len(some))[:, 0].numpy()
            found = self._vectors(some, ["detailed"] * len(some), [len(self._facets)] * len(some))
            return torch.nn.functional.normalize(found.mean(1), dim=-1).numpy()

        return encode_rows([_there(text) for text in texts], batch, self.dim, self.batch_size)

    def encode_facets(self, texts: Sequence[str], kinds: Sequence[str]) -> list[np.ndarray]:
        """Encode captions: unit vectors `[F, dim]` each, as many as their kind has; a blank text is a row of NaN."""
        import numpy as np

        found = [np.full((1, self.dim), np.nan, np.float32)] * len(texts)
        at = [n for n, text in enumerate(texts) if text.strip()]
        for low in range(0, len(at), self.batch_size):
            some = at[low : low + self.batch_size]
            counts = [FACETS.get(kinds[n], 1) for n in some]
            heads = ["detailed" if kinds[n] in FACETS else "plain" for n in some]
            rows = self._vectors([texts[n] for n in some], heads, counts).numpy()
            for n, row, count in zip(some, rows, counts, strict=True):
                found[n] = row[:count]
        return found

    def _vectors(self, texts: Sequence[str], heads: Sequence[str], counts: Sequence[int]) -> Tensor:
        """Return unit vectors [N, F, dim] of the closing quotes of the first facets; what a text has not is 0."""
        import torch

        rows = [self._written(text, head, count) for text, head, count in zip(texts, heads, counts, strict=True)]
        length = max(len(ids) for ids, _ in rows)
        ids = torch.full((len(rows), length), int(self.tokenizer.pad_token_id or 0))
        see = torch.eye(length, dtype=torch.bool).repeat(len(rows), 1, 1)  # padding sees itself, not nothing
        place = torch.zeros(len(rows), length, dtype=torch.long)
        ends: list[list[int]] = []
        for i, ((row, prefix), count) in enumerate(zip(rows, counts, strict=True)):
            sizes = [len(facet) for facet in self._facets[:count]]
            low = length - len(row)  # padding stands before a text
            ids[i, low:] = torch.tensor(row)
            see[i, low:, low:] = facet_mask(prefix, sizes)
            run = [*range(prefix), *(prefix + n for size in sizes for n in range(size))]
            place[i, low:] = torch.tensor(run if self._reset else range(len(row)))
            ends.append([low + prefix + sum(sizes[: n + 1]) - 1 for n in range(count)])
        dtype = next(self.model.parameters()).dtype
        mask = torch.zeros(see.shape, dtype=dtype).masked_fill(~see, torch.finfo(dtype).min)[:, None]
        with torch.no_grad():
            states = self.model(
                input_ids=ids.to(self.device), attention_mask=mask.to(self.device), position_ids=place.to(self.device),
                output_hidden_states=True, use_cache=False,
            ).hidden_states[self.layer]  # fmt: skip
        out = torch.zeros(len(rows), max(counts), self.dim)
        for i, at in enumerate(ends):
            out[i, : len(at)] = torch.nn.functional.normalize(states[i, at].float(), dim=-1).cpu()
        return out

    def _written(self, text: str, head: str, count: int) -> tuple[list[int], int]:
        """Return the ids of a text with its prompts, and how many stand before the first facet; the caption is cut."""
        before = [*self._before, *self._ids(self.prompts[head])]
        after, asked = self._ids(self.prompts["after"]), [i for facet in self._facets[:count] for i in facet]
        caption = self._ids(normalised(text))
        room = self.max_text_tokens - len(before) - len(after) - len(asked)
        self.cut += len(caption) > room
        prefix = [*before, *caption[:room], *after]
        return [*prefix, *asked], len(prefix)


def _there(text: str) -> Any:
    return text if text.strip() else RowError("empty_text")


def _prompts(path: str | None) -> dict[str, Any]:
    """Ours, or those of a file over them.

    Raises:
        UserError: no file, no YAML, an unknown key, or another number of facets.
    """
    if path is None:
        return PROMPTS
    import yaml

    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"prompts={path} cannot be read: {error.strerror or error}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"prompts={path} is not YAML: {yaml_fault(error)}") from None
    if not isinstance(found, Mapping):
        raise UserError(f"prompts={path} must be a mapping with some of {', '.join(PROMPTS)}.")
    for key in found:
        if key not in PROMPTS:
            raise UserError(f"prompts={path}: there is no '{key}'.{did_you_mean(str(key), PROMPTS)}")
    facets = found.get("facets", PROMPTS["facets"])
    count = FACETS["dense"]
    if not isinstance(facets, list) or len(facets) != count or not all(isinstance(f, str) and f for f in facets):
        raise UserError(
            f"prompts={path}: facets must be {count} texts; short captions have the first {FACETS['short']}."
        )
    return {**PROMPTS, **found}


def load(name: str, options: Options) -> FacetEncoder:
    """Load a language model as an encoder of facets."""
    return FacetEncoder(name, options)


def catalog() -> list[ModelInfo]:
    """The pattern of names, and whether transformers is here."""
    ready = importlib.util.find_spec("transformers") is not None
    about = "what a causal language model says of a text, a vector a facet (FLAME)"
    return [ModelInfo("facets:NAME", ("encoder",), about, "pip install 'panoglot[hf]'", ready)]
