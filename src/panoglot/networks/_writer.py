"""A trained model that writes, as a captioner like any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from panoglot.errors import RowError, UserError

if TYPE_CHECKING:
    from panoglot.networks._model import Model
    from panoglot.providers.roles import Answer, Prompt

__all__ = ["TrainedGenerator"]


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
    ) -> None:
        self.model, self.row = model.eval(), model.row
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
                x = square_of(prompt.images[0], self.row.size)[None]
                asked = "" if self.task == "caption" else prompt.text
                with torch.no_grad():
                    (text,) = self.model.generate(x, asked, self.lang, task=self.task, most=prompt.max_tokens)
            except RowError as error:
                out.append(error)
                continue
            out.append(Answer(text=text) if text else RowError("empty_answer", "the model wrote nothing"))
        return out
