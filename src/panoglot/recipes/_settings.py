"""`settings`: what is chosen for a dataset, to look at and to change."""

from __future__ import annotations

import os

from panoglot.errors import verb
from panoglot.retrieval import choose
from panoglot.table import Dataset, open_dataset

__all__ = ["settings"]


@verb
def settings(dataset: Dataset | str | os.PathLike[str], *, encoder: str | None = None) -> dict[str, str]:
    """Show or change what a dataset is set to.

    Args:
        dataset: the dataset or its path.
        encoder: whose vectors a search takes unless told otherwise: a model name or a name of vectors; auto takes
            those of pictures that were made first.

    Returns:
        Setting to value, as they are now: `encoder` is the name of the vectors, missing while there are none.

    Raises:
        UserError: no dataset there, or no vectors of that encoder.
    """
    data = open_dataset(dataset)
    if encoder is not None:
        data.change_settings(encoder=None if encoder == "auto" else choose(data, encoder)[0])
    name = data.searched_vectors()
    return {**data.settings(), **({"encoder": name} if name else {})}
