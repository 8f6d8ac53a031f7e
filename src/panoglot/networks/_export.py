"""A trained pair of towers as other libraries read it: which of them can, and what writes it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import UserError, did_you_mean
from panoglot.networks._kinds import Kinds

if TYPE_CHECKING:
    from panoglot.networks._model import Model
    from panoglot.networks._row import Row

__all__ = ["EXPORTS", "check_export", "export_model", "fitting"]

#: Library → the provider that reads what is written for it.
EXPORTS = {"transformers": "hf", "open_clip": "open_clip", "sentence-transformers": "st", "onnx": "onnx"}


def export_model(model: Model, to: str, folder: Path) -> Path:
    """Write a model as another library reads it, with tokeniser and preprocessing; its vectors are the same.

    Args:
        model: for `transformers`, `open_clip` and `sentence-transformers` with image: {kind: vit}, text: {kind:
            transformer, pool: end} of bytes, CLIP's tokens or those of the captions, and head: {kind: linear}; for
            `onnx` with any towers that learn, where the text tower's tokeniser is one of the library tokenizers.
        to: of `EXPORTS`.
        folder: where.

    Returns:
        The folder.

    Raises:
        UserError: an unknown library, or a model that it has no architecture for, with what keeps it from it.
        MissingPackage: the library is not here.
    """
    check_export(model.row, to)
    if to == "onnx":
        from panoglot.networks._export_onnx import write_graphs

        writer: Callable[[Model, Path], None] = write_graphs
    else:
        from panoglot.networks._export_clip import WRITERS

        writer = WRITERS[to]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:  # nothing is left of what went wrong
        part = Path(place) / to
        part.mkdir()
        writer(model, part)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    return folder


def fitting(row: Row) -> list[str]:
    """Return the libraries that can take what a row learns: known from the row, before anything is loaded.

    >>> from panoglot.networks._row import load_row
    >>> fitting(load_row("clip")), fitting(load_row("vgs-char-gru"))
    (['transformers', 'open_clip', 'sentence-transformers', 'onnx'], [])
    """
    return [to for to in EXPORTS if _hindrance(row, to) is None]


def check_export(row: Row, to: str, run: Path | None = None) -> None:
    """Refuse what cannot be written: known from the row, before anything is trained.

    Args:
        row: the method.
        to: the library.
        run: the folder of the run, for the command that exports it.

    Raises:
        UserError: an unknown library, or a row that it has no architecture for, with what keeps it from it, and what
            fits.
    """
    if to not in EXPORTS:
        raise UserError(f"export: '{to}' is none of {', '.join(EXPORTS)}.{did_you_mean(to, EXPORTS)}")
    why = _hindrance(row, to)
    if why is None:
        return
    fits, folder = fitting(row), "FOLDER" if run is None else str(run)
    if fits:
        said = f"What fits: {', '.join(fits)}: leave --export out, or --export {fits[0]}"
    elif (row.text or {}).get("kind") in ("char_gru", "hashed"):
        said = (
            "Nothing but Panoglot reads it; a text tower that can leave: --text-tower 'transformer?tokenizer=captions'"
        )
    else:
        said = "Nothing but Panoglot reads it"
    raise UserError(f"export: {to} cannot take '{row.method}': {why}. {said}. It is pano:{folder} in any case.")


def _hindrance(row: Row, to: str) -> str | None:
    """Return the first thing that keeps a row from a library."""
    return next((why for wrong, why in (*_common(row), *(_graph(row) if to == "onnx" else _clip(row))) if wrong), None)


def _common(row: Row) -> Iterator[tuple[bool, str]]:
    """What keeps a row from every library."""
    losses = Kinds("losses")
    kinds = [str(spec.get("kind", name)) for name, spec in row.losses.items()]
    given = {one for kind in kinds if kind in losses for one in losses.declares(kind, "gives", ())}
    text = row.text or {}
    yield "composer" in row.readers, "it reads a picture and a text together"
    if text.get("kind") in Kinds("text"):
        yield Kinds("text").declares(str(text["kind"]), "writes", False), f"'{text['kind']}' is a language model"
    yield row.image is None or row.text is None, "it has no two towers"
    yield "encode" not in given, "it makes no vectors of pictures and texts"
    for side in ("image", "text"):
        tower, what = getattr(row, side) or {}, "picture" if side == "image" else "text"
        frozen = tower.get("encoder") or tower.get("kind") in ("vector", "stored")
        yield bool(frozen), f"its {what} tower is the frozen vectors of '{tower.get('encoder', 'another model')}'"


def _clip(row: Row) -> Iterator[tuple[bool, str]]:
    """What keeps a row from being CLIP."""
    image, text, head = row.image or {}, row.text or {}, row.head.get("kind")
    yield image.get("kind") != "vit", f"its picture tower is '{image.get('kind')}', not vit"
    yield bool(image.get("alpha")), "its picture tower has an alpha channel"
    yield text.get("kind") != "transformer", f"its text tower is '{text.get('kind')}', not transformer"
    yield text.get("pool", "end") != "end", "its text tower takes the mean of the tokens, not the end token"
    yield bool(text.get("langs")), "its text tower has adapters a language"
    own = text.get("tokenizer", "") in ("", "captions", "clip")
    yield not own, f"its tokeniser is '{text.get('tokenizer')}', not of bytes, of the captions, nor CLIP's"
    yield row.shared > 0, "its vectors come from layers that both towers share"
    yield head != "linear", f"its head is '{head}', not linear"


def _graph(row: Row) -> Iterator[tuple[bool, str]]:
    """What keeps a row from being a graph with a tokenizer.json."""
    image, text = row.image or {}, row.text or {}
    yield image.get("kind") in ("codes", "points"), f"its picture tower reads {image.get('kind')}, not pixels"
    known = text.get("kind") in ("transformer", "hf", "multiway")
    yield not known, f"its text tower '{text.get('kind')}' reads texts in its own way, which no tokenizer.json can hold"
    yield bool(text.get("langs")), "its text tower has adapters a language"


def make_tokenizer(model: Model) -> tuple[Any, dict[str, str], list[int] | None]:
    """Return a model's tokeniser as the library tokenizers has it.

    Returns:
        The tokeniser, with the tokens that stand around every text; the names of its `start`, `end` and `pad` tokens;
        and the model's own id of each of its ids, None where they are the same.
    """
    from tokenizers import processors

    from panoglot.networks.towers._subwords import (
        ClipTokens,
        LearntTokens,
        NamedTokens,
        byte_order,
        bytes_kit,
        clip_kit,
        learnt_kit,
    )
    from panoglot.networks.towers._tokens import ByteTokens
    from panoglot.networks.towers.hf import HfTokens

    tokens, names = model.text.tokens, {"start": "<start>", "end": "<end>", "pad": "<pad>"}
    order: list[int] | None = None
    if isinstance(tokens, ByteTokens):
        order = [*(byte + 3 for byte in byte_order()), 1, 2, 0]  # start, end, padding
        kit = bytes_kit(list(names.values()))
    elif isinstance(tokens, ClipTokens):
        names = {"start": "<start_of_text>", "end": "<end_of_text>", "pad": "<end_of_text>"}
        kit = clip_kit()
    elif isinstance(tokens, LearntTokens):
        if not tokens.model:
            raise UserError("export: the tokeniser has not learnt its pieces: train first.")
        kit, order = learnt_kit(tokens.model, list(names.values()))
    elif isinstance(tokens, NamedTokens | HfTokens):
        whole = tokens.tokenizer
        if not hasattr(whole, "backend_tokenizer"):
            raise UserError("export: the text tower's tokeniser is a slow one, which no tokenizer.json can hold.")
        kit = type(whole.backend_tokenizer).from_str(whole.backend_tokenizer.to_str())
        pad = whole.pad_token or whole.eos_token or whole.sep_token
        if isinstance(tokens, HfTokens):
            return kit, {"start": "", "end": "", "pad": pad}, None
        start, end = whole.convert_ids_to_tokens([tokens.start, tokens.end])
        names = {"start": start, "end": end, "pad": pad}
    else:
        raise UserError(f"export: no tokenizer.json can hold {type(tokens).__name__}.")
    around = [(names[end], kit.token_to_id(names[end])) for end in ("start", "end")]
    kit.post_processor = processors.TemplateProcessing(
        single=f"{names['start']} $A {names['end']}", special_tokens=around
    )
    return kit, names, order
