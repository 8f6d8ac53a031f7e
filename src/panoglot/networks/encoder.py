"""`pano:FOLDER`: a model that the trainer made, as an encoder (or a captioner) like any other.

Frozen towers are asked for their vectors by name, the rest comes from the last checkpoint of the run. The folder may be
moved and read from anywhere. Options: `device`, `batch_size`, `snapshots` (the ensemble of the ends of all periods:
`true`, or `sum`), `infer` (of a text tower of facets: `single`, `mean`), `tap` (of a model with shared layers: vectors
`before` or `after` them), `lang` (of queries, where texts are compared token by token); of captioners `task`, `lang`,
and `shots` (a dataset whose first `k` captioned pictures are shown before each, where the model reads interleaved
documents); of those with a codebook `codes`, which makes them encoders of pictures.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import MissingPackage, RowError, UserError, command
from panoglot.identity import fingerprint
from panoglot.networks._writer import TrainedGenerator, read_shots
from panoglot.providers._finish import finish
from panoglot.providers._names import ModelInfo

if TYPE_CHECKING:
    import numpy as np

    from panoglot.networks._codes import CodedPictures
    from panoglot.networks._model import Model
    from panoglot.pictures import Image
    from panoglot.providers._names import Options
    from panoglot.providers.roles import Answer, Prompt

__all__ = ["TrainedBoth", "TrainedEncoder", "TrainedGenerator", "catalog", "load"]

logger = logging.getLogger("panoglot.training")

#: Raised when pictures are shown in another way: stored vectors are of the old one then.
_SHOWN = 2


class TrainedEncoder:
    """A trained model as an `Encoder`.

    Args:
        models: trained; several of one row (snapshots) are an ensemble, whose similarity is the mean of theirs.
        name: of the model.
        fingerprint: of its weights.
        batch_size: most items a call.
        summed: of several models the vectors are added, not side by side; see `Ensemble`.
        lang: of queries, where texts are compared token by token; `und`: told by their letters and words.
        infer: how a frozen text tower of facets encodes texts, `single` or `mean`; '': as its name says.

    Attributes:
        dim: of the joint space.
        cut: texts cut so far.
    """

    def __init__(
        self,
        models: Sequence[Model],
        name: str,
        fingerprint: str,
        batch_size: int = 64,
        summed: bool = False,
        lang: str = "und",
        infer: str = "",
    ) -> None:
        self.models, self.model = [model.eval() for model in models], models[0]
        self.row = row = self.model.row
        self.name, self.fingerprint = name, fingerprint
        self.batch_size, self.dim = batch_size, row.dim * (1 if summed else len(models))
        self.summed, self.lang, self.infer = summed, lang, infer
        self._bases: dict[str, Any] = {}
        self.doubt = ""  # why its order of the best is not to be had: see `doubt_of`
        towers = [t for t in (row.image, row.text) if t]
        # frozen towers that compute on one thread: the rest is a matrix or two
        self.per_core = bool(towers) and all(str(t.get("encoder", "")).startswith("embedded:") for t in towers)

    @property
    def cut(self) -> int:
        """How many texts were longer than what is read."""
        if "text" in self._bases:
            return int(getattr(self._bases["text"], "cut", 0))
        return int(getattr(getattr(self.model.text, "tokens", None), "cut", 0))

    @property
    def _device(self) -> Any:
        return next(self.model.parameters()).device

    def base(self, side: str) -> Any:
        """Return the encoder of a frozen tower, loaded when it is first asked for; None: the tower is in the model."""
        tower = getattr(self.row, side)
        if tower is None or not tower.get("encoder"):
            return None
        if side not in self._bases:
            from panoglot.networks._frozen import load_tower

            self._bases[side] = load_tower(side, tower["encoder"], tower.get("fingerprint"))
            if side == "text" and self.infer:
                if not hasattr(self._bases[side], "infer"):
                    raise UserError(f"infer={self.infer} is of a text tower of facets; '{self.name}' has another one.")
                self._bases[side].infer = self.infer
        return self._bases[side]

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures: unit vectors `[N, dim]`; a picture that cannot be decoded is a NaN row.

        Where the row's composer makes several vectors a picture they are `[N, V, dim]`.

        Raises:
            UserError: the method has no pictures.
        """
        if self.model.image is None:
            raise UserError(f"{self.row.method} learns from texts only: '{self.name}' cannot encode pictures.")
        base = self.base("image")
        if base is not None:
            return self.encode_image_vectors(finish(base.encode_images(images)))
        if getattr(self.model.image, "encoder", None) == "":  # stored vectors, and nobody said of what
            raise UserError(f"'{self.name}' was trained on stored vectors, and nobody knows which encoder made them.")

        from panoglot.networks._views import shown_of

        def pixels(image: Image) -> Any:
            try:
                return shown_of(image, self.row)
            except RowError as error:
                return error

        return self.encode_pixels([pixels(image) for image in images])

    def encode_pixels(self, pixels: Sequence[Any]) -> np.ndarray:
        """Encode normalised pictures [3, S, S]; a `RowError` in the place of one is a NaN row."""
        from panoglot.providers._batches import encode_rows

        shape = self.dim if self.views == 1 else (self.views, self.dim)
        return encode_rows(pixels, self._pictures, shape, self.batch_size)

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Encode texts: unit vectors `[N, dim]`; a blank text is a NaN row.

        Raises:
            UserError: the method has no texts, or stored ones that nobody can encode.
        """
        from panoglot.providers._batches import encode_rows

        if self.late:
            raise UserError(
                f"'{self.name}' has a vector a token, not one a text: panoglot search … --encoder {self.name}"
            )
        if self.model.text is None:
            raise UserError(f"{self.row.method} learns from pictures only: '{self.name}' cannot encode texts.")
        tags = list(langs) if langs is not None else ["und"] * len(texts)
        base = self.base("text")
        if base is not None:
            return self.encode_text_vectors(finish(base.encode_texts(list(texts), tags)))
        if not hasattr(self.model.text, "tokens"):
            raise UserError(f"'{self.name}' was trained on stored vectors, and nobody knows which encoder made them.")
        pairs = [(text, tag) if text.strip() else RowError("empty_text") for text, tag in zip(texts, tags, strict=True)]
        return encode_rows(pairs, self._texts, self.dim, self.batch_size)

    @property
    def late(self) -> bool:
        """Whether texts are compared token by token (`encode_tokens`, MaxSim): a loss of its row gives that."""
        return self.model.can("late")

    def reads(self, lang: str) -> bool:
        """Whether a text of this language can be encoded: a tower with adapters has one for each that it knows."""
        return self.model.reads(lang)

    @property
    def languages(self) -> list[str]:
        """The languages that its text tower has adapters for; none: it reads all alike."""
        return self.model.languages

    def encode_tokens(self, texts: Sequence[str], langs: Sequence[str], *, queries: bool) -> list[np.ndarray]:
        """Encode texts token by token: unit vectors float32 `[T, dim]` each, those that score; a blank text has none.

        Args:
            texts: queries or passages.
            langs: of the texts.
            queries: they are queries: padded with mask tokens that score too.

        Raises:
            UserError: the row compares whole texts, or a language has no adapter.
        """
        import numpy as np
        import torch

        if not self.late:
            raise UserError(f"'{self.name}' has one vector a text, none a token.")
        found = [np.empty((0, 0), np.float32)] * len(texts)
        at = [n for n, text in enumerate(texts) if text.strip()]
        for low in range(0, len(at), self.batch_size):
            some = at[low : low + self.batch_size]
            with torch.no_grad():
                made = self.model.token_vectors([texts[n] for n in some], [langs[n] for n in some], queries)
            for n, rows in zip(some, made, strict=True):
                found[n] = rows.cpu().numpy()
        return found

    @property
    def rewards(self) -> bool:
        """Whether it scores pairs of a picture and a text (`score_pairs`): a loss of its row gives that."""
        return self.model.can("score")

    def score_pairs(
        self, images: Sequence[Image], texts: Sequence[str], langs: Sequence[str] | None = None
    ) -> list[float | None]:
        """Score how well text n fits picture n, higher is better; None where there is no picture or no text.

        Raises:
            UserError: the row has no reward.
        """
        import torch

        from panoglot.networks._views import shown_of

        tags = list(langs) if langs is not None else ["und"] * len(texts)
        good: list[tuple[int, Any]] = []
        for n, (image, text) in enumerate(zip(images, texts, strict=True)):
            try:
                if text.strip():
                    good.append((n, shown_of(image, self.row)))
            except RowError:
                continue
        found: list[float | None] = [None] * len(texts)
        if good:
            pixels = torch.stack([picture for _, picture in good]).to(self._device)
            said, spoken = [texts[n] for n, _ in good], [tags[n] for n, _ in good]
            rewards = [model.reward(pixels, said, spoken, self.batch_size) for model in self.models]
            for (n, _), value in zip(good, torch.stack(rewards).float().mean(0).tolist()):
                found[n] = value if value == value else None
        return found

    def encode_queries(self, queries: Sequence[Sequence[Any]]) -> np.ndarray:
        """Encode queries that are lists of parts, a picture and texts, embedded together: unit rows `[N, dim]`.

        A query with several texts is read as one text, but for a composer of many parts (Coral), which reads them in
        their order. A query whose picture cannot be decoded, or without any part, is a NaN row.

        Raises:
            UserError: the method composes nothing, or a part is of another kind.
        """
        import numpy as np

        from panoglot.networks._matching import encode_many
        from panoglot.networks._views import shown_of

        if not self.composes:
            raise UserError(f"'{self.name}' embeds pictures and texts one by one: its row has no composer.")
        if self.model.many:
            return encode_many(queries, self.row, self.dim, self.batch_size, self._join)
        asked = [self._asked(query) for query in queries]
        stored = [self.base(side) for side in ("image", "text")]
        for side, base in enumerate(stored):
            at = [n for n, one in enumerate(asked) if not isinstance(one, RowError) and one[side] is not None]
            if base is not None and at:
                given = [asked[n][side] for n in at]
                rows = base.encode_images(given) if side == 0 else base.encode_texts(given, ["und"] * len(given))
                for n, row in zip(at, _halved(finish(rows))):
                    asked[n] = tuple(row if k == side else one for k, one in enumerate(asked[n]))
                    if not np.isfinite(row).all():
                        asked[n] = RowError("no_vector")
            elif side == 0:
                for n in at:
                    try:
                        asked[n] = (shown_of(asked[n][0], self.row), asked[n][1])
                    except RowError as error:
                        asked[n] = error
        return self.encode_query_parts(asked)

    @property
    def composes(self) -> bool:
        """Whether it embeds a picture and a text together (`encode_queries`)."""
        return all(model.can("compose") for model in self.models)

    @property
    def matches(self) -> bool:
        """Whether it says of a picture that it answers a query (`match_queries`): a loss of its row gives that."""
        return all(model.can("match") for model in self.models)

    def match_queries(self, queries: Sequence[Sequence[Any]], candidates: Sequence[Image]) -> list[float | None]:
        """Say how sure it is, 0..1, that candidate n answers query n; None where a picture or the text is missing.

        Args:
            queries: each a list of parts, a picture and texts, as of `encode_queries`.
            candidates: one a query.

        Raises:
            UserError: its row has no loss that matches.
        """
        from panoglot.networks._matching import match_pairs

        return match_pairs(self.models, [self._asked(query) for query in queries], candidates, self.batch_size)

    @property
    def views(self) -> int:
        """How many vectors a picture has."""
        return int(getattr(dict(self.model.readers.items()).get("composer"), "views", 1))

    def _asked(self, query: Sequence[Any]) -> Any:
        texts, images = ([part for part in query if isinstance(part, str) is text] for text in (True, False))
        if len(images) > 1 or any(not hasattr(image, "data") for image in images):
            raise UserError(f"'{self.name}' takes one picture a query, and texts.")
        text = " ".join(filter(str.strip, texts)) or None
        return (images[0] if images else None, text) if images or text else RowError("empty_query")

    def encode_query_parts(self, parts: Sequence[Any]) -> np.ndarray:
        """Encode queries whose parts are as the model takes them: unit rows `[N, dim]`; a `RowError` is a NaN row.

        Args:
            parts: (pixels [3, S, S] or what a frozen tower made of a picture, a text or what a frozen tower made of
                it); None for what a query does not have.
        """
        import numpy as np
        import torch

        from panoglot.providers._batches import encode_rows

        def stacked(some: Sequence[Any]) -> Any:
            if isinstance(some[0], str):
                return list(some)
            return torch.stack([torch.as_tensor(one) for one in some]).to(self._device)

        def batch(some: Sequence[Any]) -> Any:
            out = np.zeros((len(some), self.dim), np.float32)
            kinds = [tuple(one is not None for one in query) for query in some]
            for kind in sorted(set(kinds)):
                at = [n for n, one in enumerate(kinds) if one == kind]
                given = [stacked([some[n][k] for n in at]) if kind[k] else None for k in (0, 1)]
                out[at] = self._join(lambda model, given=given: model.encode_queries(*given))
            return out

        return encode_rows(parts, batch, self.dim, self.batch_size)

    def encode_image_vectors(self, vectors: Any) -> np.ndarray:
        """Encode what the frozen image tower made of pictures: `[N, width]` to unit rows `[N, dim]`."""
        return self._heads(vectors, lambda model, x: model.encode_pixels(x, len(x)))

    def encode_text_vectors(self, vectors: Any) -> np.ndarray:
        """Encode what the frozen text tower made of texts: `[N, width]` to unit rows `[N, dim]`."""
        import torch

        from panoglot.networks.towers import unit

        def read(model: Model, y: Any) -> Any:
            if model.speaks:
                return model.encode_queries(None, y)
            return unit(model.text_head(torch.nn.functional.normalize(y, dim=-1)))

        return self._heads(vectors, read)

    def _heads(self, vectors: Any, call: Any) -> np.ndarray:
        import numpy as np
        import torch

        from panoglot.providers._batches import encode_rows

        rows = _halved(vectors)
        good = [row if np.isfinite(row).all() else RowError("no_vector") for row in rows]

        def batch(part: Sequence[Any]) -> Any:
            x = torch.from_numpy(np.stack(part)).to(self._device)
            return self._join(lambda model: call(model, x))

        return encode_rows(good, batch, self.dim, max(self.batch_size, 1024))

    def _join(self, call: Any) -> np.ndarray:
        """Vectors of all models as one, see `Ensemble`."""
        import torch

        from panoglot.networks._load import Ensemble

        with torch.no_grad():
            found = [call(model).float() for model in self.models]
        out: np.ndarray = Ensemble(self.models, self.summed).join(found).cpu().numpy()
        return out

    def _pictures(self, pixels: Sequence[Any]) -> Any:
        import torch

        x = torch.stack(list(pixels)).to(self._device)
        return self._join(lambda model: model.encode_pixels(x, len(x)))

    def _texts(self, pairs: Sequence[tuple[str, str]]) -> Any:
        texts, tags = [text for text, _ in pairs], [tag for _, tag in pairs]
        return self._join(lambda model: model.encode_texts(texts, tags, len(texts)))


def _halved(vectors: Any) -> np.ndarray:
    """Vectors in half precision, as they were stored when the heads learnt from them; float32 again."""
    import numpy as np

    return np.asarray(vectors, np.float16).astype(np.float32)


class TrainedBoth(TrainedEncoder):
    """A trained model that makes vectors and writes (COSMO, SyCoCa): an encoder, and a captioner.

    Args:
        writer: the same model as a captioner.
        encoder: arguments of `TrainedEncoder`.
    """

    chat, sees = False, True

    def __init__(self, writer: TrainedGenerator, *encoder: Any) -> None:
        super().__init__(*encoder)
        self.writer = writer

    def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
        """Write a text for the picture of each prompt."""
        return self.writer.generate(prompts)


def load(name: str, options: Options) -> TrainedEncoder | TrainedGenerator | CodedPictures:
    """Load what a run has learnt: an encoder, a captioner where its method writes, or both in one.

    Raises:
        UserError: not a run, no checkpoint yet, a damaged one, or one of another row.
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingPackage(f"the model 'pano:{name}' needs the package 'torch': pip install 'panoglot[train]'")
    import torch

    from panoglot.networks._checkpoint import read_manifest
    from panoglot.networks._load import Ensemble, load_run
    from panoglot.networks._matching import doubt_of

    device = options.take("device", str, "cuda" if torch.cuda.is_available() else "cpu")
    batch_size = options.take("batch_size", int, 64)
    summed = options.get("snapshots") == "sum"
    snapshots = "sum" if summed else options.take("snapshots", bool, False)
    writing = {key: options.take(key, str, usual) for key, usual in (("task", "caption"), ("lang", "und"))}
    options.take("snapshots", str, "")
    infer, tap, codes = options.take("infer", str, ""), options.take("tap", str, ""), options.take("codes", bool, False)
    shots, count = options.take("shots", str, ""), options.take("k", int, 4)
    options.finish()
    if infer not in ("", "single", "mean"):
        raise UserError(f"infer={infer} of 'pano:{name}' must be single or mean.")
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size} of 'pano:{name}' must be at least 1.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device={device} of 'pano:{name}' is not there; use device=cpu.")
    path = Path(name).expanduser().resolve()
    if not (path / "row.yaml").is_file():
        what = "holds no training run (no row.yaml)" if path.is_dir() else "is no folder"
        raise UserError(
            f"'{name}' {what}. Train one: {command('train', 'clip', 'X.pano', '--preset', 'small', '-o', name)}"
        )
    if not (path / "run.json").exists():
        raise UserError(f"'{name}' has no checkpoint yet; go on with it: panoglot train --resume {name}")
    manifest = read_manifest(path)
    try:
        loaded = load_run(path, snapshots=snapshots, device=device)
    except (RuntimeError, KeyError) as error:
        said = " ".join(str(error).split())[:300]
        raise UserError(f"the checkpoint of '{name}' does not fit its row.yaml: {said}") from None
    if manifest["step"] < manifest.get("total", 0):
        logger.warning("'%s' is not finished: step %d of %d", name, manifest["step"], manifest["total"])
    models = loaded.models if isinstance(loaded, Ensemble) else [loaded]
    row = models[0].row
    found = fingerprint([_SHOWN, row.fingerprint, manifest.get("hash"), manifest["step"], snapshots])
    for model in models if tap else []:
        model.use_tap(tap, f"pano:{name}")
    if models[0].tap == "after":
        found = fingerprint([found, "after"])
    if codes:
        from panoglot.networks._codes import CodedPictures

        return CodedPictures(models[0], f"pano:{path}?codes=true", fingerprint([found, "codes"]), batch_size)
    if models[0].writes:
        told = "".join(f"&{key}={options[key]}" for key in (*writing, "shots", "k") if key in options)
        examples = read_shots(shots, count, writing["lang"]) if shots else []
        about = fingerprint([found, writing, *([[i.id, text] for i, text in examples],) * bool(shots)])
        called = f"pano:{path}{told.replace('&', '?', 1)}"
        writer = TrainedGenerator(models[0], called, about, batch_size, **writing, shots=examples)
        if not models[0].can("encode"):
            return writer
        return TrainedBoth(writer, models, called, about if told else found, batch_size, summed)
    late = models[0].can("late")
    if any(key in options for key in writing if key != "lang" or not late):
        raise UserError(f"'pano:{name}' makes vectors, it does not write: leave out {' and '.join(writing)}.")
    chosen = {"snapshots": str(snapshots).lower() if snapshots else "", "infer": infer, "tap": tap}
    name = f"pano:{path}?{'&'.join(f'{key}={value}' for key, value in chosen.items() if value)}".removesuffix("?")
    found = fingerprint([found, infer]) if infer else found
    if models[0].can("write"):
        writer = TrainedGenerator(models[0], name, found, batch_size)
        return TrainedBoth(writer, models, name, found, batch_size, summed)
    made = TrainedEncoder(models, name, found, batch_size, summed, writing["lang"] if late else "und", infer)
    made.doubt = doubt_of(path)
    return made


def catalog() -> list[ModelInfo]:
    """The pattern of names, and whether torch is here."""
    ready = importlib.util.find_spec("torch") is not None
    about = "what `panoglot train … -o FOLDER` made"
    return [ModelInfo("pano:FOLDER", ("encoder", "generator"), about, "pip install 'panoglot[train]'", ready)]
