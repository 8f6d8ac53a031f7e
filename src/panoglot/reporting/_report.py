"""`report`: one self-contained HTML page about a dataset."""

from __future__ import annotations

import os
from pathlib import Path

from panoglot.errors import UserError, verb
from panoglot.storage import open_store
from panoglot.table import Dataset, open_dataset

__all__ = ["report"]

MOST_SAMPLES = 1000


@verb
def report(
    dataset: Dataset | str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    samples: int = 60,
    open: bool = False,
) -> Path:
    """Write an HTML page that shows a dataset: pictures with their texts, what was dropped and why, failures, prices.

    One file without any outside request: thumbnails are inside, its content policy allows no more, every text from the
    dataset is shown as text. It works without JavaScript; with it, the pictures can be filtered. The same dataset gives
    the same page: the sample has every language, kind and method, the rest is drawn by image id.

    Args:
        dataset: the dataset or its path.
        output: the page, or a folder for `report.html`; default: `report.html` in the dataset's folder.
        samples: pictures to show with their texts; 0 shows none.
        open: show it in the web browser.

    Returns:
        Path of the page.

    Raises:
        UserError: no dataset there, `samples` out of range, or the page cannot be written.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or not 0 <= samples <= MOST_SAMPLES:
        raise UserError(f"samples={samples!r}: give a number of pictures from 0 to {MOST_SAMPLES}.")
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    from panoglot.reporting._page import gather, render

    place, name = data.store, "report.html"
    if output is not None:
        folder = Path(output) if Path(output).is_dir() else Path(output).parent
        place, name = open_store(folder), "report.html" if Path(output).is_dir() else Path(output).name
    page = render(gather(data, samples))
    try:
        if output is not None:
            folder.mkdir(parents=True, exist_ok=True)
        place.write(name, page.encode("utf-8", "replace"))
    except OSError as error:
        where = os.path.join(place.address, name)
        raise UserError(f"cannot write the report to '{where}': {error.strerror}; give another --output.") from None
    path = place.local(name)
    if open:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
    return path
