"""One adapter a language on shared layers (X-MOD, as ColBERT-XM uses it)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from panoglot.errors import UserError, did_you_mean
from panoglot.languages._tags import canonical_language
from panoglot.networks.adapters.bottleneck import Adapter
from panoglot.networks.samplers._sample import named

__all__ = ["LanguageAdapters"]


class LanguageAdapters(nn.Module):
    """A dictionary of adapters; every row of a batch passes through its own language's.

    Args:
        langs: language tags.
        width: of the model.
        reduction: as in `Adapter`.

    Source: X-MOD arXiv 2205.06266; ColBERT-XM 2402.15059.
    """

    def __init__(self, langs: Iterable[str], width: int, reduction: int = 2) -> None:
        super().__init__()
        # module names may not hold dots, tags never do
        self.each = nn.ModuleDict({canonical_language(x): Adapter(width, reduction) for x in sorted(set(langs))})

    def knows(self, lang: str) -> bool:
        """Whether there is an adapter for a language, or for one that it stands for."""
        return lang in self.each or named(lang, self.each) in self.each

    def check(self, langs: Iterable[str]) -> None:
        """Refuse a language that has no adapter, instead of answering in another one's."""
        for lang in langs:
            if lang not in self.each:
                raise UserError(f"No adapter for the language '{lang}'.{did_you_mean(lang, self.each)}")

    def forward(self, x: Tensor, langs: Sequence[str]) -> Tensor:
        """Adapt x [B, ..., width], row i by langs[i]."""
        if len(langs) != len(x):
            raise UserError(f"{len(x)} texts, but {len(langs)} languages.")
        langs = [lang if lang in self.each else named(lang, self.each) for lang in langs]
        self.check(set(langs))
        if len(set(langs)) == 1:
            found: Tensor = self.each[langs[0]](x)
            return found
        out = torch.empty_like(x)
        for lang in sorted(set(langs)):
            rows = torch.tensor([i for i, other in enumerate(langs) if other == lang], device=x.device)
            out = out.index_copy(0, rows, self.each[lang](x[rows]))
        return out
