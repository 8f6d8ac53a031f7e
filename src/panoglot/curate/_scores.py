"""Scores that a filter needs: are they there, and who writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from panoglot.errors import UserError
from panoglot.run import align_stage, encode_stage
from panoglot.table import Dataset, sql_in

if TYPE_CHECKING:
    from panoglot.run import Stage

__all__ = ["has_score", "run_scorer"]


def has_score(dataset: Dataset, name: str, kinds: Sequence[str]) -> None:
    """Check that some caption of these kinds has the score.

    Raises:
        UserError: none has it: a filter by this score would drop them all.
    """
    where = sql_in("kind", kinds)
    any_row = False
    for batch in dataset.captions.batches(["scores"], where, size=65_536):
        any_row = any_row or batch.num_rows > 0
        keys, values = batch["scores"].keys, batch["scores"].items
        import pyarrow.compute as pc

        if pc.any(pc.and_(pc.equal(keys, name), pc.is_valid(values))).as_py():
            return
    if any_row:
        raise UserError(
            f"no caption has the score '{name}': an earlier step must write it (align: {{}} writes alignment), or name "
            f"the model that does: scorer: PROVIDER:NAME."
        )


def run_scorer(dataset: Dataset, scorer: str, name: str, run: Callable[[Stage], None]) -> None:
    """Let a model write the score `name` of all captions that no filter of a method dropped."""
    if name != "alignment":
        raise UserError(f"the encoder '{scorer}' writes the score 'alignment', not '{name}': leave the name out.")
    run(encode_stage(dataset, scorer))
    run(align_stage(dataset, scorer, where=None))
