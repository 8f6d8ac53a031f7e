"""Score captions with metrics by name: what `captions` and `agreement` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from panoglot.asking import load_asked
from panoglot.checks import meet_ids, same_ids
from panoglot.errors import UserError
from panoglot.evaluate._options import plain_name
from panoglot.evaluate._read import encode_files, pictures_of, read_objects
from panoglot.evaluate._said_language import language_note
from panoglot.metrics._declare import find_metric
from panoglot.metrics._results import ResultSet
from panoglot.metrics.captions.chair import read_vocabulary
from panoglot.text import tokenizer_for

if TYPE_CHECKING:
    from panoglot.providers.roles import Encoder

__all__ = ["Scorer"]


class Scorer:
    """Metrics and what they need: loaded once, used on as many sets of captions as there are.

    Args:
        metrics: names of metrics.
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
        **own: options of the metrics' own.

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
        **own: Any,
    ) -> None:
        self.metrics = {name: find_metric(name) for name in dict.fromkeys(map(plain_name, metrics))}
        for what, given in (("images", images), ("encoder", encoder), ("objects", objects)):
            users = [name for name, metric in self.metrics.items() if what in metric.needs.split()]
            if users and given is None:
                raise UserError(f"{', '.join(users)} needs --{what}.")
        self._lang, self._images = lang, images
        self._encoder: Any = load_asked(encoder, "encoder", cache) if encoder is not None else None
        self._objects = read_objects(objects) if objects else None
        if tokenizer is not None:
            tokenizer_for(lang, tokenizer)
            own["tokenizer"] = tokenizer
        self._given = {
            **own, "lang": lang, "on_error": on_error, "confidence": confidence, "references": references,
            "encoder": self._encoder, "parser": load_asked(parser, "parser") if parser else None,
            "vocabulary": read_vocabulary(vocabulary) if vocabulary else None,
        }  # fmt: skip

    @property
    def names(self) -> list[str]:
        """The metrics."""
        return list(self.metrics)

    def wants_references(self) -> list[str]:
        """Metrics that need references."""
        return [name for name, metric in self.metrics.items() if "refs" in metric.needs.split()]

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
        given: dict[str, Any] = {**self._given, "refs": refs}
        if any(metric.takes("images") for metric in self.metrics.values()):
            names = list(dict.fromkeys(of.values()))
            place = {name: n for n, name in enumerate(names)}
            vectors = encode_files(self._encoder, pictures_of(names, str(self._images)))
            given["images"] = vectors[[place[of[key]] for key in preds]]
        found = ResultSet()
        for name, metric in self.metrics.items():
            note = ""
            if metric.takes("objects"):
                given["objects"], note = self._objects_of(of)
            result = metric(preds, **given)
            found[name] = replace(result, notes=(*result.notes, note)) if note else result
        found.notes = tuple(note for note in notes if note)
        return found

    def _objects_of(self, of: Mapping[str, str]) -> tuple[list[Any], str]:
        """What is in the picture of each caption, and a note on how the ids met."""
        table, note = meet_ids(of.values(), self._objects or {}, "objects")
        here = {key: table[name] for key, name in of.items() if name in table}
        same_ids(of, here, "objects")
        return [here[key] for key in of], note
