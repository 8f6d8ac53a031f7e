"""Several sources in one call: each is read as if it were given alone, into one dataset."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from panoglot.errors import NothingKept, UserError, command
from panoglot.formats import detect, find_format
from panoglot.pictures import SUFFIXES
from panoglot.recipes._recipe import options_of, reader_of
from panoglot.recipes._result import RunResult
from panoglot.storage import has_scheme, open_store
from panoglot.table import is_dataset

__all__ = ["apart", "check_apart", "check_there", "one_by_one"]

#: Options of reading alone, which `build` has too.
_READING = ("format", "extract", "caption_column", "option", "opt_out", "on_error", "cluster", "quiet")


def apart(source: Any) -> list[Any] | None:
    """The sources that a list of paths names: all pictures of it are one; None of what is one source.

    >>> apart("photos"), apart(["a.png", "b.jpg"]), apart(["a.pdf", "b.png", "c.jpg", "in"])
    (None, None, [['b.png', 'c.jpg'], 'a.pdf', 'in'])
    """
    if not isinstance(source, list | tuple) or not all(isinstance(one, str | os.PathLike) for one in source):
        return None
    paths = list(dict.fromkeys(os.fspath(one) for one in source))
    pictures = [one for one in paths if _is_picture(one)]
    others = [one for one in paths if one not in set(pictures)]
    if not others:
        return None
    return [*([pictures] if pictures else []), *others]


def _is_picture(path: str) -> bool:
    return path.lower().endswith(tuple(SUFFIXES)) and not has_scheme(path) and not os.path.isdir(path)


def one_by_one(
    sources: list[Any],
    output: str | None,
    ingest: Callable[..., RunResult],
    last: Callable[..., RunResult],
    asked: dict[str, Any],
) -> RunResult:
    """Read sources one after the other; the last call takes the steps that follow.

    Args:
        sources: from `apart`.
        output: the dataset.
        ingest: reads one.
        last: the verb.
        asked: its options.

    Returns:
        What the last run did, with what those before it read.

    Raises:
        UserError: no output, an option for one source alone, or a source that is none; nothing was written then.
    """
    names = [one for source in sources for one in (source if isinstance(source, list) else [source])]
    if output is None and len(names) > 1:
        line = command(last.__name__, *names[:3], *(["…"] if len(names) > 3 else []), "-o", "NAME.pano")
        raise UserError(f"name the dataset that several sources make: {line}")
    if len(sources) == 1:
        return last(sources[0], output, **asked)
    for option in ("dry_run", "mirror"):
        if asked.get(option):
            name = option.replace("_", "-")
            raise UserError(
                f"--{name} is about one source: {command(last.__name__, names[0], '-o', output, f'--{name}')}"
            )
    if recipe := next((one for one in names if one.endswith((".yaml", ".yml"))), None):
        raise UserError(f"'{recipe}' is a recipe and states its source itself: {command('build', recipe)}")
    reader, options = reader_of(asked["format"], asked["extract"]), options_of(asked["option"], asked["caption_column"])
    for source in sources:
        if not isinstance(source, list):
            find_format(source, reader, options)
    before: list[RunResult] = []
    failed: list[str] = []
    for source in sources[:-1]:
        try:
            before.append(ingest(source, output, **{name: asked[name] for name in _READING}))
        except NothingKept as error:  # the others may have something
            failed.append(str(error))
    result = last(sources[-1], output, **asked)
    result.stages[:0] = [stage for one in before for stage in one.stages]
    result.said += failed
    return result


def check_apart(source: str, output: str) -> None:
    """Raise `UserError` where a source is the dataset that it would be written to."""
    outside = Path(open_store(source).absolute if is_dataset(source) else source).resolve()
    if open_store(output).absolute in (source, str(outside)):
        raise UserError(f"source and output are both '{source}': give another output, for example {outside.name}.pano")


def check_there(source: str) -> None:
    """Raise `UserError` where there is no such source."""
    if has_scheme(source) and not is_dataset(source):
        detect(source)  # says what is not read from afar
        return
    if not os.path.exists(source) and not is_dataset(source) and not any(c in source for c in "*?[{"):
        raise UserError(f"there is nothing at '{source}': give a folder of pictures, a file or a recipe.")
