"""One small model for each asset: a codec of a scene, a map of a room; trained apart, kept with the dataset."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError
from panoglot.identity import hash_parts
from panoglot.networks._records import Record
from panoglot.networks._row import Row, stored_row

if TYPE_CHECKING:
    from panoglot.networks._model import Model
    from panoglot.table import Dataset

__all__ = ["fit_each", "keep_fits", "read_fit"]


def fit_each(
    row: Row,
    records: Sequence[Record],
    folder: str | Path,
    by: Callable[[Record], str],
    **options: Any,
) -> dict[str, Path]:
    """Train one model of a row for each asset; what was finished before is not done again.

    Args:
        row: the method.
        records: of all assets.
        folder: gets a run's folder for each asset.
        by: record → its asset's id.
        options: of `Trainer`.

    Returns:
        Asset → the folder of its run, which `load_run` reads.

    Raises:
        UserError: an asset with too little to learn from, named.
    """
    from panoglot.training._trainer import Trainer

    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(by(record), []).append(record)
    out = {}
    for asset, mine in sorted(groups.items()):
        out[asset] = Path(folder) / hash_parts(asset)[:16]
        try:
            trainer = Trainer(row, mine, out[asset], **options).resume()
        except UserError as error:
            raise UserError(f"asset '{asset}': {error}") from None
        if trainer.step < trainer.total:
            trainer.fit(progress=False)
    return out


def keep_fits(data: Dataset, row: Row, runs: Mapping[str, Path]) -> int:
    """Store what was fitted to each asset in a dataset's table `fits`; returns how many are new.

    The id is made of the row's fingerprint and the asset: what is there already is not stored twice.
    """
    import torch

    from panoglot.networks._load import load_run

    rows = []
    for asset, run in runs.items():
        model = load_run(run)
        buffer = io.BytesIO()
        torch.save(model.state_dict(), buffer)  # type: ignore[union-attr]
        fact = {"fit_id": hash_parts("fit", row.fingerprint, asset), "method": row.method, "asset_id": asset}
        about = stored_row(run).yaml(complete=True)
        rows.append({**fact, "data": buffer.getvalue(), "about": about, "run_id": ""})
    known = set(data.fits.read(["fit_id"])["fit_id"].to_pylist()) if data.fits.exists() else set()
    new = [one for one in rows if one["fit_id"] not in known]
    if new:
        with data.writer():
            data.fits.insert(new)
    return len(new)


def read_fit(data: Dataset, row: Row, asset: str) -> Model:
    """Return the model that was fitted to an asset.

    Raises:
        UserError: there is none.
    """
    import torch

    from panoglot.networks._model import make_model
    from panoglot.table import sql_in

    id_ = hash_parts("fit", row.fingerprint, asset)
    rows = data.fits.read(["data"], sql_in("fit_id", [id_]))["data"].to_pylist() if data.fits.exists() else []
    if not rows:
        raise UserError(f"{data.address} has nothing that '{row.method}' fitted to '{asset}'.")
    model = make_model(row)
    model.load_state_dict(torch.load(io.BytesIO(rows[0]), weights_only=True))
    return model.eval()
