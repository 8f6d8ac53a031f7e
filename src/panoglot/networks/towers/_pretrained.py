"""Parts of transformers' models by name, on the hub or in a folder."""

from __future__ import annotations

from typing import Any

from panoglot.errors import UserError

__all__ = ["load_pretrained"]


def load_pretrained(kind: Any, name: str, **options: Any) -> Any:
    """Load by name with one of the library's `Auto` classes.

    Raises:
        UserError: in one line; what transformers says of a name that it cannot load takes many.
    """
    try:
        return kind.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(f"the tower hf:{name} cannot be loaded: {type(error).__name__}: {said}") from error
