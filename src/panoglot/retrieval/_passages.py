"""Late interaction over captions: each is a passage of token vectors, kept in two bits a number, compared by MaxSim.

The index is derived: it lies in `cache/passages-…` beside the dataset, is made when it is first asked or by `panoglot
index`, takes in captions that came and forgets those that went, and can be thrown away.

Source: ColBERT-XM arXiv 2402.15059 (each passage in its own language, the query in its own).
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean
from panoglot.retrieval._filter import Allowed, Tags, contains
from panoglot.retrieval._gallery import Ranked
from panoglot.table import KEPT_CAPTION, Dataset
from panoglot.vectors import Residuals, check_folder, learn_residuals, seal_folder, stamp

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Passages", "check_parts", "passages_of"]

#: Passages that a query brings, at least.
DEPTH = 1000
#: Passages that are encoded at a time; new ones beyond this share of those held: the centres are learnt anew.
_SOME, _NEW = 512, 0.25
#: How many texts of each language an encoder's adapters count for, where the language of a query is guessed.
_EXPECTED = 20


def passages_of(dataset: Dataset, encoder: Any) -> Passages | None:
    """Return the captions of a dataset as an encoder with late interaction has them; None: it is another encoder."""
    if encoder is None or (isinstance(encoder, str) and not encoder.startswith("pano:")):
        return None
    if isinstance(encoder, str):
        from panoglot.providers import load_model

        encoder = load_model(encoder, "encoder")
    return Passages(dataset, encoder) if getattr(encoder, "late", False) else None


def check_parts(passages: Passages | None, images: Sequence[Any], chosen: Sequence[str]) -> None:
    """Refuse parts of a search that an encoder with late interaction does not have, or another one.

    Raises:
        UserError: with what fits.
    """
    if passages is None:
        if "passage" in chosen:
            raise UserError("the part passage is of an encoder with late interaction: panoglot train colbert-xm.")
        return
    name = passages.encoder.name
    if images:
        raise UserError(f"'{name}' reads texts only: search with a text, or with another --encoder.")
    if other := [one for one in chosen if one not in ("lexical", "passage")]:
        raise UserError(f"'{name}' compares captions token by token: --parts passage, not {other[0]}.")


class Passages:
    """The kept captions of a dataset as token vectors of one encoder.

    Attributes:
        left_out: language → captions that the encoder cannot read.
    """

    def __init__(self, dataset: Dataset, encoder: Any, bits: int = 2) -> None:
        """Open.

        Args:
            dataset: the dataset.
            encoder: with `encode_tokens` and `reads`.
            bits: of a number; 32: vectors are kept as they are.
        """
        self._data, self.encoder, self._bits = dataset, encoder, bits
        self._place = dataset.store.scratch("cache") / f"passages-{encoder.fingerprint[:16]}-{bits}"
        self._allowed = Allowed(dataset)
        self._seen = -1
        self._forget_all()
        self.left_out: Counter[str] = Counter()

    def said_left_out(self) -> str:
        """The captions in languages that the encoder cannot read, by language, the most first."""
        first, rest = self.left_out.most_common(8), len(self.left_out) - 8
        more = f" and those in {rest} other languages" if rest > 0 else ""
        return f"captions in {', '.join(f'{tag} ({count:,})' for tag, count in first)}{more}"

    @property
    def count(self) -> int:
        """How many captions it has."""
        return len(self._captions)

    def _forget_all(self) -> None:
        import numpy as np

        self._residuals: Residuals | None = None
        self._captions: np.ndarray = np.empty(0, "S32")
        self._starts: np.ndarray = np.empty(0, np.int64)

    def ready(self, *, rebuild: bool = False) -> int:
        """Bring the index up to date, or make it anew; returns how many captions were encoded now."""
        if rebuild:
            shutil.rmtree(self._place, ignore_errors=True)
            self._forget_all()
            self._seen = -1
        now = stamp(self._data.captions)
        if now == self._seen:
            return 0
        if self._residuals is None:
            self._open()
        wanted, self.left_out = {}, Counter()
        for batch in self._data.captions.batches(["caption_id", "lang"], KEPT_CAPTION, 65_536):
            for id_, lang in zip(batch["caption_id"].to_pylist(), batch["lang"].to_pylist(), strict=True):
                if self.encoder.reads(lang):
                    wanted[id_] = lang
                else:
                    self.left_out[lang] += 1
        held = [one.decode() for one in self._captions.tolist()]
        new = sorted(wanted.keys() - set(held))
        if len(new) > _NEW * len(held):
            held, new = [], sorted(wanted)
            self._forget_all()
        gone = set(held) - wanted.keys()
        if gone:
            self._forget(gone)
        done = self._take_in(new)
        self._seen = now
        if done or gone:
            self._write()
        return done

    def find(
        self, text: str, depth: int, *, lang: Tags = (), kinds: Tags = (), within: np.ndarray | None = None
    ) -> tuple[list[Ranked], list[str]]:
        """Find the pictures with the captions that answer a query best, each by its best.

        Args:
            text: the query.
            depth: pictures.
            lang: only captions in these languages; kinds: of these kinds.
            within: sorted ids of the pictures that may be found; None: all.

        Returns:
            Pictures, best first, and what is to be said of it.
        """
        import numpy as np

        self.ready()
        tag, notes = self._language(text)
        if self.left_out:
            notes.append(f"not searched, for '{self.encoder.name}' has no adapter: {self.said_left_out()}")
        if self._residuals is None or not len(self._captions):
            return [], notes
        (query,) = self.encoder.encode_tokens([text], [tag], queries=True)
        pairs = self._allowed.captions(lang, kinds)
        known = contains(pairs["caption"], self._captions)
        images = np.zeros(len(self._captions), "S32")
        images[known] = pairs["image"][np.searchsorted(pairs["caption"], self._captions[known])]
        among = known & ~contains(self._allowed.dropped(), images)
        if within is not None:
            among &= contains(within, images)
        at, scores = self._residuals.search(query, self._starts, max(DEPTH, depth), among=among)
        best: dict[str, Ranked] = {}
        for n, score in zip(at.tolist(), scores.tolist(), strict=True):
            image = images[n].decode()
            best.setdefault(image, Ranked(image, score, {"caption": self._captions[n].decode()}))
        return sorted(best.values(), key=lambda one: (-one.score, one.image_id))[:depth], notes

    def _language(self, text: str) -> tuple[str, list[str]]:
        """The language of a query: said with the encoder, else by its letters and words, of those that it reads."""
        said = getattr(self.encoder, "lang", "und")
        if said != "und":
            if not self.encoder.reads(said):
                known = self.encoder.languages
                raise UserError(
                    f"'{self.encoder.name}' has no adapter for the language '{said}'.{did_you_mean(said, known)} "
                    f"It has: {', '.join(known)}."
                )
            return said, []
        from panoglot.providers import load_model

        prior = dict.fromkeys(self.encoder.languages, _EXPECTED)  # a few words fit many languages: these are likely
        (guess,) = load_model("embedded:langid", "language_identifier").identify_together([text], prior)
        if guess[0] != "und" and self.encoder.reads(guess[0]):
            return guess[0], []
        usual = self.encoder.languages[0] if self.encoder.languages else "und"
        how = f"{self.encoder.name}?lang={usual}"
        what = "not clear" if guess[0] == "und" else f"{guess[0]}, which has no adapter"
        return usual, [f"the language of the query is {what}: read as {usual}; say it, --encoder '{how}'"]

    # ---- making --------------------------------------------------------------------------------------------------

    def _take_in(self, new: Sequence[str]) -> int:
        import numpy as np

        done, waiting = 0, []
        for low in range(0, len(new), _SOME):
            rows = self._data.captions.get(list(new[low : low + _SOME]), ["text", "lang"]).to_pylist()
            made = self.encoder.encode_tokens([r["text"] for r in rows], [r["lang"] for r in rows], queries=False)
            waiting += [(row["caption_id"], one) for row, one in zip(rows, made, strict=True) if len(one)]
            done += len(rows)
        if not waiting:
            return 0
        tokens = np.concatenate([one for _, one in waiting])
        if self._residuals is None:
            self._residuals = learn_residuals(tokens, self._bits)
        begin = len(self._residuals.owners)
        self._residuals.add(tokens)
        sizes = np.array([len(one) for _, one in waiting])
        self._captions = np.concatenate([self._captions, np.array([id_ for id_, _ in waiting], "S32")])
        self._starts = np.concatenate([self._starts, begin + np.cumsum(sizes) - sizes])
        return done

    def _forget(self, gone: set[str]) -> None:
        import numpy as np

        assert self._residuals is not None
        stay = ~np.isin(self._captions, np.array(sorted(gone), "S32"))
        sizes = np.diff(np.append(self._starts, len(self._residuals.owners)))
        self._residuals.keep(np.flatnonzero(np.repeat(stay, sizes)))
        self._captions, sizes = self._captions[stay], sizes[stay]
        self._starts = np.cumsum(sizes) - sizes

    # ---- keeping -------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Read what was kept, where it is whole."""
        import numpy as np

        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            check_folder(self._place)
            bits = json.loads((self._place / "state.json").read_text())["bits"]
            arrays = {path.stem: np.load(path, allow_pickle=False) for path in self._place.glob("*.npy")}
            names = [field.name for field in fields(Residuals) if field.name != "bits"]
            residuals = Residuals(bits, **{name: arrays[name] for name in names})
            captions, starts = arrays["captions"], arrays["starts"]
            if len(captions) == len(starts) and len(residuals.codes) == len(residuals.owners):
                self._residuals, self._captions, self._starts = residuals, captions, starts

    def _write(self) -> None:
        """Keep it, whole or not at all; a folder that cannot be written costs only the next start."""
        import numpy as np

        if self._residuals is None:
            return
        fresh: Path = self._place.with_name(f".{self._place.name}-{secrets.token_hex(4)}")
        arrays = {f.name: getattr(self._residuals, f.name) for f in fields(Residuals) if f.name != "bits"}
        with contextlib.suppress(OSError):
            fresh.mkdir(parents=True)
            for name, array in {**arrays, "captions": self._captions, "starts": self._starts}.items():
                np.save(fresh / f"{name}.npy", array, allow_pickle=False)
            (fresh / "state.json").write_text(json.dumps({"bits": self._residuals.bits}))
            seal_folder(fresh)
            shutil.rmtree(self._place, ignore_errors=True)
            fresh.rename(self._place)
        shutil.rmtree(fresh, ignore_errors=True)
