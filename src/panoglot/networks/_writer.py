"""A trained model that writes, as a captioner like any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from panoglot.errors import RowError, UserError

if TYPE_CHECKING:
    from panoglot.networks._model import Model
    from panoglot.pictures import Image
    from panoglot.providers.roles import Answer, Prompt

__all__ = ["TrainedGenerator", "read_shots"]


class TrainedGenerator:
    """A trained model that writes, as a `Generator`: a caption for each picture.

    It has learnt tasks, not to follow instructions: the text of a prompt is read where the task has one (`vqa`).

    Args:
        model: trained.
        name: of the model.
        fingerprint: of its weights.
        batch_size: most items a call.
        task: of the row's sampler.
        lang: of what it writes.
        shots: pictures with their captions that are shown before each picture, as in an interleaved document.
    """

    chat, sees = False, True

    def __init__(
        self,
        model: Model,
        name: str,
        fingerprint: str,
        batch_size: int = 16,
        task: str = "caption",
        lang: str = "und",
        shots: Sequence[tuple[Image, str]] = (),
    ) -> None:
        self.model, self.row = model.eval(), model.row
        self.shots = list(shots)
        if shots and getattr(model.text, "mark", None) is None:
            raise UserError(f"shots are of a model that reads interleaved documents (cosmo); '{name}' does not.")
        self.name, self.fingerprint, self.batch_size = name, fingerprint, batch_size
        self.task, self.lang = task, lang

    def generate(self, prompts: Sequence[Prompt]) -> list[Answer | RowError]:
        """Write a text for the picture of each prompt."""
        import torch

        from panoglot.networks._views import square_of
        from panoglot.providers.roles import Answer

        out: list[Answer | RowError] = []
        for prompt in prompts:  # one by one: what is written does not depend on the batch
            try:
                if len(prompt.images) != 1:
                    raise RowError("one_picture", f"'{self.name}' takes one picture, got {len(prompt.images)}")
                if prompt.schema is not None or prompt.logprobs:
                    raise UserError(f"'{self.name}' writes plain texts: no JSON schema, no log-probabilities.")
                shown = [square_of(image, self.row.size) for image in (*(i for i, _ in self.shots), prompt.images[0])]
                x = torch.stack(shown)[None] if self.shots else shown[-1][None]
                asked = "" if self.task == "caption" else prompt.text
                said = [text for _, text in self.shots]
                with torch.no_grad():
                    (text,) = self.model.generate(
                        x, asked, self.lang, task=self.task, shots=said, most=prompt.max_tokens
                    )
            except RowError as error:
                out.append(error)
                continue
            out.append(Answer(text=text) if text else RowError("empty_answer", "the model wrote nothing"))
        return out


def read_shots(dataset: str, count: int, lang: str) -> list[tuple[Image, str]]:
    """Return the first pictures of a dataset by id that have a caption, each with its first by kind and id.

    Args:
        dataset: its path.
        count: how many.
        lang: of the captions; `und`: any.

    Raises:
        UserError: no dataset, or fewer pictures with captions.
    """
    from panoglot.languages import matches
    from panoglot.pictures import Image
    from panoglot.table import KEPT_CAPTION, open_dataset

    data = open_dataset(dataset)
    gone = data.dropped_images()
    found: dict[str, tuple[int, str, str]] = {}
    ranks = {"human": 0, "short": 1, "alt": 2, "dense": 3}
    for batch in data.captions.batches(["caption_id", "image_id", "text", "lang", "kind"], KEPT_CAPTION, 8192):
        for row in batch.to_pylist():
            fits = row["kind"] in ranks and (lang == "und" or matches(lang, row["lang"]))
            if fits and row["image_id"] not in gone and row["text"].strip():
                key = (ranks[row["kind"]], row["caption_id"], row["text"])
                found[row["image_id"]] = min(found.get(row["image_id"], key), key)
    ids = sorted(found)[:count]
    if len(ids) < count:
        what = "" if lang == "und" else f" in {lang}"
        raise UserError(f"shots: {data.address} has captions{what} of {len(ids)} pictures, and {count} are asked for.")
    rows = {row["image_id"]: row for row in data.images.get(ids, ["data", "uri"]).to_pylist()}
    return [(Image(rows[id_]["data"], id=id_, uri=rows[id_]["uri"] or ""), found[id_][2]) for id_ in ids]
