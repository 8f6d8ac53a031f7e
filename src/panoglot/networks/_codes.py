"""Pictures as the codes of a trained codebook: what TL;DR clusters them by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from panoglot.errors import RowError, UserError
from panoglot.networks._records import Batch
from panoglot.networks._views import square_of
from panoglot.networks.parts import Features

if TYPE_CHECKING:
    import numpy as np

    from panoglot.networks._model import Model
    from panoglot.pictures import Image

__all__ = ["CodedPictures"]


class CodedPictures:
    """A codebook captioner as an encoder of pictures: how often each code is used, as a unit vector.

    The release clusters the indices of the codes themselves, where code 5 is nearer to 6 than to 900.

    Args:
        model: trained, with the loss `vq`.
        name: of the model.
        fingerprint: of its weights.
        batch_size: pictures a call.

    Raises:
        UserError: a model without a codebook.

    Source: TL;DR arXiv 2305.20087, step 2.
    """

    def __init__(self, model: Model, name: str, fingerprint: str, batch_size: int = 64) -> None:
        parts = [part for part in model.parts.values() if hasattr(part, "codebook")]
        if not parts:
            raise UserError(f"'{name}' has no codes: {model.row.method} learns no codebook; tldr does.")
        self.model, self.part = model.eval(), parts[0]
        self.name, self.fingerprint, self.batch_size = name, fingerprint, batch_size
        self.dim = len(self.part.codebook.codes)

    @torch.no_grad()
    def codes(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the indices of the codes [B, N], the class token's first, of normalised pictures [B, 3, S, S]."""
        media, _ = self.model.media(Batch([""] * len(pixels), image=pixels[:, None]), Features())
        assert media is not None
        found: torch.Tensor = self.part.codes(media).flatten(1)
        return found

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures: `[N, dim]`; a picture that cannot be decoded is a NaN row."""
        from panoglot.providers._batches import encode_rows

        def pixels(image: Image) -> Any:
            try:
                return square_of(image, self.model.row.size)
            except RowError as error:
                return error

        return encode_rows([pixels(image) for image in images], self._vectors, self.dim, self.batch_size)

    def _vectors(self, pixels: Sequence[Any]) -> np.ndarray:
        index = self.codes(torch.stack(list(pixels)).to(next(self.model.parameters()).device))
        counts = torch.stack([torch.bincount(one, minlength=self.dim) for one in index]).float()
        unit: np.ndarray = torch.nn.functional.normalize(counts, dim=-1).cpu().numpy()
        return unit

    def encode_texts(self, texts: Sequence[str], langs: Sequence[str] | None = None) -> np.ndarray:
        """Refuse: texts have no codes.

        Raises:
            UserError: always.
        """
        raise UserError(f"'{self.name}' encodes pictures by their codes; texts have none.")
