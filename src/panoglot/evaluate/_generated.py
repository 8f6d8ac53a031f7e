"""Generated pictures in folders: by language, then by prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from panoglot.errors import UserError
from panoglot.evaluate._read import encode_files, picture_files
from panoglot.languages._tags import parse_language

if TYPE_CHECKING:
    import numpy as np

    from panoglot.providers.roles import Encoder

__all__ = ["prompt_pictures", "vectors_by_prompt", "vectors_of"]


def prompt_pictures(folder: str) -> dict[str, dict[str, list[Path]]]:
    """Pictures by language, then by prompt, from `[<language>/]<prompt>/…` or `[<language>/]<prompt>.png`.

    The first folders are languages when all of them are language tags; without them the language is empty.

    Raises:
        UserError: no pictures.
    """
    root = Path(folder)
    found: dict[str, dict[str, list[Path]]] = {}
    tops = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    spoken = bool(tops) and all(not name.isdigit() and parse_language(name) for name in tops)
    for path in picture_files(root):
        parts = path.relative_to(root).parts
        lang, rest = (parts[0], parts[1:]) if spoken and len(parts) > 1 else ("", parts)
        prompt = rest[0] if len(rest) > 1 else path.stem
        found.setdefault(lang, {}).setdefault(prompt, []).append(path)
    return found


def vectors_of(pictures: Mapping[str, list[Path]], encoder: Encoder) -> dict[str, np.ndarray]:
    """Vectors of each prompt's pictures."""
    import numpy as np

    paths = [path for name in pictures for path in pictures[name]]
    rows = iter(encode_files(encoder, paths))
    return {name: np.stack([next(rows) for _ in pictures[name]]) for name in pictures}


def vectors_by_prompt(folder: str, encoder: Encoder) -> dict[str, dict[str, np.ndarray]]:
    """Vectors of each prompt's pictures, by language.

    Raises:
        UserError: no folders of languages.
    """
    languages = prompt_pictures(folder)
    if "" in languages:
        raise UserError(f"{folder} must hold a folder a language (en, zh-Hans, fa, …), with a folder a prompt in each.")
    found: dict[str, dict[str, np.ndarray]] = {}
    for lang, pictures in languages.items():
        for prompt, vectors in vectors_of(pictures, encoder).items():
            found.setdefault(prompt, {})[lang] = vectors
    return found
