"""Score captions with metrics by name: what `captions` and `agreement` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from panoglot.asking._made import note_model
from panoglot.checks import check_option, meet_ids, same_ids
from panoglot.errors import UserError
from panoglot.evaluate._command_list import METRICS
from panoglot.evaluate._options import plain_name
from panoglot.evaluate._read import encode_files, pictures_of, read_objects
from panoglot.evaluate._said_language import language_note
from panoglot.metrics._result import MetricResult
from panoglot.metrics._results import ResultSet
from panoglot.metrics.captions.chair import read_vocabulary
from panoglot.text import tokenizer_for

if TYPE_CHECKING:
    from panoglot.providers.roles import Encoder

__all__ = ["Scorer"]

#: Metrics whose function has no such option.
_NO_INTERVAL = frozenset(["distinct-n"])
_TAKES_COUNT = frozenset(
    ["bleu", "bleu-1", "bleu-2", "bleu-3", "bleu-4", "rouge-l", "cider", "meteor-like", "chrf", "spice", "capture"]
)


class Scorer:
    """Metrics and what they need: loaded once, used on as many sets of captions as there are.

    Args:
        metrics: names, keys of `METRICS`.
        lang: language of all captions.
        images: folder of pictures named by id.
        encoder: model name, or an `Encoder`.
        parser: model name of a caption parser; None is the rules shipped here.
        objects: file of what is in the pictures.
        vocabulary: file of the words that CHAIR looks for; None is our own list.
        tokenizer: name of a tokeniser; None is the language's own.
        references: number of references every item must have.
        on_error: empty captions: `raise`, `null` or `score`.
        confidence: level of bootstrap intervals.
        cache: folder where vectors are kept between runs, or `off`.

    Raises:
        UserError: unknown metrics, or something they need is not given.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        *,
        lang: str = "en",
        images: str | None = None,
        encoder: str | Encoder | None = None,
        parser: str | None = None,
        objects: str | None = None,
        vocabulary: str | None = None,
        tokenizer: str | None = None,
        references: int | None = None,
        on_error: str = "raise",
        confidence: float | None = None,
        cache: str | None = None,
    ) -> None:
        from panoglot.asking import load_encoder
        from panoglot.providers import load_model

        self.names = list(dict.fromkeys(check_option("metrics", plain_name(name), METRICS) for name in metrics))
        for what, given in (("images", images), ("encoder", encoder), ("objects", objects)):
            # CAPTURE ends after its hard stages where there is no encoder
            users = [
                name for name in self.names if what in self._needs(name) and (what, name) != ("encoder", "capture")
            ]
            if users and given is None:
                raise UserError(f"{', '.join(users)} needs --{what}.")
        self._lang, self._images, self._on_error, self._confidence = lang, images, on_error, confidence
        self._encoder = load_encoder(encoder, cache) if isinstance(encoder, str) else encoder
        self._parser = note_model("parser", load_model(parser, "parser")) if parser else None
        self._objects = read_objects(objects) if objects else None
        self._vocabulary = read_vocabulary(vocabulary) if vocabulary else None
        self._tokenizer = tokenizer
        if tokenizer is not None:
            tokenizer_for(lang, tokenizer)
        self._references = references

    @staticmethod
    def _needs(name: str) -> list[str]:
        return METRICS[name].needs.split()

    def wants_references(self) -> list[str]:
        """Metrics that need references."""
        return [name for name in self.names if "refs" in self._needs(name)]

    def __call__(
        self,
        preds: Mapping[str, str | None],
        refs: Mapping[str, Sequence[str]] | None = None,
        pictures: Mapping[str, str] | None = None,
    ) -> ResultSet:
        """Score captions.

        Args:
            preds: caption by id.
            refs: references by id.
            pictures: the picture's name of each id; ids are names without it.

        Raises:
            UserError: metrics without what they need, naming the first offenders.
        """
        notes = [language_note(list(preds.values()), self._lang)]
        if refs is not None:
            refs, note = meet_ids(preds, refs, "references")
            same_ids(preds, refs)
            flat = [text for item in refs.values() for text in item]
            notes += [note, language_note(flat, self._lang, "references")]
        elif users := self.wants_references():
            raise UserError(f"{', '.join(users)} needs --refs.")
        of = {key: pictures[key] if pictures else key for key in preds}
        vectors: Any = None
        if any("images" in self._needs(name) for name in self.names):
            names = list(dict.fromkeys(of.values()))
            paths = pictures_of(names, str(self._images))
            place = {name: n for n, name in enumerate(names)}
            vectors = encode_files(self._encoder, paths)[[place[of[key]] for key in preds]]  # type: ignore[arg-type]
        found = ResultSet()
        for name in self.names:
            special = _SPECIAL.get(name)
            found[name] = special(self, preds, refs, of, vectors) if special else self._one(name, preds, refs, vectors)
        found.notes = tuple(note for note in notes if note)
        return found

    def _one(self, name: str, preds: Any, refs: Any, vectors: Any) -> MetricResult:
        import panoglot.evaluate as room

        options: dict[str, Any] = {"lang": self._lang, "on_error": self._on_error}
        if name not in _NO_INTERVAL:
            options["confidence"] = self._confidence
        if name in _TAKES_COUNT:
            options["references"] = self._references
        if METRICS[name].tokens and self._tokenizer is not None:
            options["tokenizer"] = self._tokenizer
        if name.startswith("bleu-"):
            options["n"] = int(name[5:])
        arguments: list[Any] = [preds]
        needs = self._needs(name)
        if "images" in needs:
            arguments += [vectors, self._encoder]
            if "refs" in needs:
                options["refs"] = refs
        elif "refs" in needs:
            arguments.append(refs)
            if "parser" in needs:
                arguments.append(self._parser)
            if "encoder" in needs:
                arguments.append(self._encoder)
        found: MetricResult = getattr(room, METRICS[name].function)(*arguments, **options)
        return found


def _chair(self: Scorer, preds: Any, refs: Any, of: Mapping[str, str], vectors: Any) -> MetricResult:
    from panoglot.metrics.captions.chair import chair

    table = self._objects or {}
    table, note = meet_ids(of.values(), table, "objects")
    here = {key: table[name] for key, name in of.items() if name in table}
    same_ids(preds, here, "objects")
    found = chair(
        preds, [here[key] for key in preds], refs, lang=self._lang, on_error=self._on_error,  # type: ignore[arg-type]
        confidence=self._confidence, vocabulary=self._vocabulary, tokenizer=self._tokenizer,
    )  # fmt: skip
    return replace(found, notes=(*found.notes, *([note] if note else [])))


def _self_retrieval(self: Scorer, preds: Any, refs: Any, of: Any, vectors: Any) -> MetricResult:
    from panoglot.asking import encode_texts
    from panoglot.metrics._inputs import prepare
    from panoglot.metrics.captions.self_retrieval import random_bags, self_retrieval

    given = prepare(preds, None, lang=self._lang, tokenizer="whitespace", on_error=self._on_error)  # type: ignore[arg-type]
    texts = encode_texts(self._encoder, given.texts, given.language)  # type: ignore[arg-type]
    bags = random_bags(given.kept_ids, min(100, len(given.kept))) if len(given.kept) > 1 else []
    scorer = getattr(self._encoder, "name", "")
    found = self_retrieval(
        texts, vectors[list(given.kept)], bags, ids=given.kept_ids, scorer=scorer, confidence=self._confidence
    )
    alone = () if bags else ("a caption alone has no pictures to be told from",)
    return replace(found, notes=(*given.notes, *found.notes, *alone))


_SPECIAL: dict[str, Callable[..., MetricResult]] = {"chair": _chair, "self-retrieval": _self_retrieval}
