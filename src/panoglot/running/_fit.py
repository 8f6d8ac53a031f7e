"""The first pass of a method: what it learns once, of the dataset or of every asset, stored beside the rows.

    async def learn(images, m, *, encoder):              # statistics, a linear map, concept prompts, a small module
        vectors = [await m[encoder].encode_image(image) for image in images]
        return numpy_bytes(np.mean(vectors, 0))

    @method(verb="caption", fit=learn)
    async def near_the_mean(image, m, *, encoder: EncoderName = "encoder", fitted: bytes = b""): ...

A fit is a function of the same rows as the method and of those of its options that it names. It returns bytes, and
is part of the step's identity: fitted anew, the step is another one. `panoglot.open(X).fits` has them.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError
from panoglot.identity import hash_parts
from panoglot.running._rows import group_items, image_items

if TYPE_CHECKING:
    from panoglot.asking import Models
    from panoglot.running._method import Method
    from panoglot.table import Dataset

__all__ = ["fit_asset", "fit_dataset", "fit_id"]


def fit_id(method: str, print_: str, asset: str = "") -> str:
    """Return the id of what a step's first pass learnt, of the dataset or of an asset."""
    return hash_parts("fit", method, print_, asset)


def _options(chosen: Method, options: Mapping[str, Any]) -> dict[str, Any]:
    assert chosen.fit is not None
    names = inspect.signature(chosen.fit).parameters
    return {key: value for key, value in options.items() if key in names}


def fit_dataset(
    dataset: Dataset, chosen: Method, options: Mapping[str, Any], print_: str, m: Models, where: str | None, run_id: str
) -> tuple[bytes, str]:
    """Return what a method's first pass learnt of a dataset, and its digest; learn it if it is not stored.

    Raises:
        UserError: there is nothing to learn from, or it returned no bytes.
    """
    found = _stored(dataset, chosen, print_, "")
    if found is None:
        items = group_items(dataset, where) if chosen.unit == "group" else image_items(dataset, where)
        found = _learn(chosen, _peeked(items, chosen, dataset), options, m)
        _store(dataset, chosen, print_, "", found, options, run_id)
    return found, hashlib.sha256(found).hexdigest()[:16]


async def fit_asset(
    dataset: Dataset, chosen: Method, subject: Any, options: Mapping[str, Any], print_: str, m: Models, run_id: str
) -> bytes:
    """Return what was learnt of one asset (a scene, a video); learn it if it is not stored."""
    found = _stored(dataset, chosen, print_, subject.key)
    if found is None:
        assert chosen.fit is not None
        found = _checked(chosen, await chosen.fit(subject, m, **_options(chosen, options)))
        _store(dataset, chosen, print_, subject.key, found, options, run_id)
    return found


def _peeked(items: Iterator[Any], chosen: Method, dataset: Dataset) -> Iterable[Any]:
    import itertools

    first = list(itertools.islice(items, 1))
    if not first:
        raise UserError(
            f"method '{chosen.name}' has nothing to learn from in {dataset.address}: no kept {chosen.unit}s."
        )
    return itertools.chain(first, items)


def _learn(chosen: Method, items: Iterable[Any], options: Mapping[str, Any], m: Models) -> bytes:
    assert chosen.fit is not None
    return _checked(chosen, asyncio.run(chosen.fit(items, m, **_options(chosen, options))))


def _checked(chosen: Method, found: Any) -> bytes:
    if not isinstance(found, bytes):
        raise UserError(f"the first pass of method '{chosen.name}' must return bytes, not {type(found).__name__}.")
    return found


def _stored(dataset: Dataset, chosen: Method, print_: str, asset: str) -> bytes | None:
    rows = dataset.fits.get([fit_id(chosen.name, print_, asset)], ["data"])
    return rows["data"][0].as_py() if rows.num_rows else None


def _store(
    dataset: Dataset, chosen: Method, print_: str, asset: str, data: bytes, options: Mapping[str, Any], run_id: str
) -> None:
    about = {"options": _options(chosen, options), "bytes": len(data)}
    dataset.fits.insert(
        [
            {
                "fit_id": fit_id(chosen.name, print_, asset),
                "method": f"{chosen.name}/{chosen.version}",
                "asset_id": asset,
                "data": data,
                "about": json.dumps(about, ensure_ascii=False, default=str),
                "run_id": run_id,
            }
        ]
    )
