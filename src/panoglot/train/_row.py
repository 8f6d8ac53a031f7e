"""A method is a row: towers, sampler, losses, freezing, optimiser, schedule. Rows are YAML files."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from panoglot.errors import UserError, did_you_mean
from panoglot.table import fingerprint

__all__ = ["Row", "build", "list_rows", "load_row"]


@dataclass(frozen=True)
class Row:
    """Everything about a training run but the data.

    Attributes:
        method: its name.
        source: the paper.
        about: one line.
        unverified: settings that the paper or code did not confirm: treat them as defaults, not as facts.
        image, text: towers, each `{kind: …, options}`; None: the method has no such side.
        head: of the image tower: `linear`, `token_mlp` (FLAME), `queries` (GRAIN), `none` (vectors as they are).
        shared: layers of a stack that both towers pass through, whose output is the second tap (M2-Encoder); 0: none.
        dim: of the joint space.
        size: side of the pictures in pixels.
        views: `{global: 2, local: 4, local_size: 96, …}` for self-distillation, else empty.
        sampler: `{kind: …, options}`.
        languages: `{weights: {…}}` or `{temperature: …}` to balance languages in every batch, else empty.
        losses: part → `{weight: …, options}`.
        freeze: rules, see `panoglot.train.freeze`.
        optimiser: `{kind: adamw, lr: …, betas: …, weight_decay: …}`.
        schedule: `{kind: cosine, warmup: …}`; `warmup` below 1 is a share of all steps.
        clip: limit of the gradient norm, None: none.
        epochs, batch: how long, how many items a step.
        accumulate: micro-batches a step.
    """

    method: str
    source: str = ""
    about: str = ""
    unverified: tuple[str, ...] = ()
    image: Mapping[str, Any] | None = None
    text: Mapping[str, Any] | None = None
    head: Mapping[str, Any] = field(default_factory=lambda: {"kind": "linear"})
    shared: int = 0
    dim: int = 512
    size: int = 224
    views: Mapping[str, Any] = field(default_factory=dict)
    sampler: Mapping[str, Any] = field(default_factory=lambda: {"kind": "one"})
    languages: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    freeze: tuple[Mapping[str, Any], ...] = ()
    optimiser: Mapping[str, Any] = field(default_factory=lambda: {"kind": "adamw", "lr": 5e-4})
    schedule: Mapping[str, Any] = field(default_factory=lambda: {"kind": "cosine"})
    clip: float | None = None
    epochs: int = 32
    batch: int = 256
    accumulate: int = 1

    def plain(self) -> dict[str, Any]:
        """Return the resolved row as it is printed and stored."""
        return asdict(self)

    @property
    def fingerprint(self) -> str:
        """Changes with every setting."""
        return fingerprint(self.plain())


def list_rows() -> dict[str, str]:
    """Return every method that is shipped, with its line."""
    return {p.name.removesuffix(".yaml"): _read(p).get("about", "") for p in _files()}


def _files() -> list[Any]:
    return sorted((p for p in files("panoglot.train").joinpath("rows").iterdir() if p.name.endswith(".yaml")), key=str)


def _read(path: Any) -> dict[str, Any]:
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"The row '{path}' cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"The row '{path}' is not a mapping.")
    return value


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `base`: mappings are merged; one with another `kind`, `languages` and all else replace."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        same_kind = key != "languages" and (
            isinstance(value, Mapping)
            and isinstance(old, Mapping)
            and value.get("kind", old.get("kind")) == old.get("kind")
        )
        out[key] = _merge(old, value) if same_kind else value  # type: ignore[arg-type]
    return out


def load_row(name: str | Path, preset: str = "paper", **overrides: Any) -> Row:
    """Read a row by method name or from a YAML file.

    Args:
        name: `dreamlip`, or a path that ends in .yaml.
        preset: `paper`, or `small`, for one CPU.
        overrides: further settings, merged on top.

    Raises:
        UserError: an unknown method, preset or key.

    >>> load_row("clip").batch, load_row("clip", "small").batch
    (32768, 64)
    """
    shipped = {p.name.removesuffix(".yaml"): p for p in _files()}
    if str(name) not in shipped and not str(name).endswith((".yaml", ".yml")):
        raise UserError(f"No method is called '{name}'.{did_you_mean(str(name), shipped)}")
    raw = _read(shipped.get(str(name)) or Path(name))
    presets = raw.pop("presets", {})
    if preset != "paper":
        if preset not in presets:
            raise UserError(f"{name} has no preset '{preset}'.{did_you_mean(preset, ['paper', *presets])}")
        raw = _merge(raw, presets[preset])
    raw = _merge(raw, overrides)
    known = [f.name for f in fields(Row)]
    for key in raw:
        if key not in known:
            raise UserError(f"{name}: unknown setting '{key}'.{did_you_mean(key, known)}")
    for key in ("freeze", "unverified"):
        if key in raw:
            raw[key] = tuple(raw[key])
    row = Row(**raw)
    if not row.losses:
        raise UserError(f"{name}: a row needs losses.")
    if row.batch % row.accumulate:
        raise UserError(f"{name}: a batch of {row.batch} cannot be cut into {row.accumulate} micro-batches.")
    return row


def build(kinds: Mapping[str, Any], spec: Mapping[str, Any], what: str, *given: Any, **more: Any) -> Any:
    """Make the thing that `{kind: …, options}` describes; unknown kinds and options are refused."""
    options = dict(spec)
    kind = options.pop("kind", None)
    if kind not in kinds:
        raise UserError(f"{what}: kind '{kind}' is not known.{did_you_mean(str(kind), kinds)}")
    make = kinds[kind]
    names = [n for n in inspect.signature(make).parameters if n not in more]
    for key in options:
        if key not in names:
            raise UserError(f"{what} {kind}: unknown option '{key}'.{did_you_mean(key, names)}")
    return make(*given, **options, **more)
