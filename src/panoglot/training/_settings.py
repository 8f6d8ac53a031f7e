"""What a command line says of a row: towers by name, frozen towers, settings by path."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from panoglot.errors import MissingPackage, UserError, did_you_mean, require, yaml_fault
from panoglot.extensions import find_entries
from panoglot.networks._frozen import load_tower
from panoglot.networks._kinds import Kinds
from panoglot.networks._needs import reads_of
from panoglot.networks._row import Row, list_presets, load_row
from panoglot.providers import parse_model_name
from panoglot.providers._names import GROUP

__all__ = ["encoder_name", "need_encoders", "resolve", "stored_towers"]

#: Providers whose names are towers that learn; `stored:` before such a name makes it an encoder that does not.
LEARNT = ("hf", "timm")

#: Settings for heads on stored vectors, where no preset is named: our own, for a laptop; no paper's.
HEADS: dict[str, Any] = {
    "dim": 256,
    "head": {"kind": "linear"},
    "optimiser": {"kind": "adamw", "lr": 1.0e-3, "betas": [0.9, 0.98], "eps": 1.0e-6, "weight_decay": 0.1},
    "schedule": {"kind": "cosine", "warmup": 0.1},
    "epochs": 30,
    "batch": 256,
}


def resolve(
    method: str | Path,
    preset: str | None = None,
    *,
    image_tower: str | None = None,
    text_tower: str | None = None,
    freeze: Sequence[str] = (),
    settings: Iterable[str] = (),
    epochs: int | None = None,
    batch: int | None = None,
    teacher: str | None = None,
) -> Row:
    """Return the row that a command line asks for.

    Args:
        method: a shipped method, or a YAML file.
        preset: `paper`, `small` …; None: `paper`, or for two towers of stored vectors `frozen` if the method has it,
            else settings of ours for heads.
        image_tower: `vit`, `timm:NAME`, `hf:NAME` (a folder or on the hub) learn; any other encoder, `embedded:…`,
            `st:…`, `open_clip:…`, `stored:hf:…`, is asked once for its vectors. Options follow: `hf:NAME?pool=cls`.
        text_tower: likewise.
        freeze: `towers`, or patterns of parameters.
        settings: `losses.contrast.smoothing=0.1`, values in YAML; win over all else.
        epochs: of the row (of every stage).
        batch: items a step.
        teacher: encoder whose vectors the loss `regress` learns from.

    Raises:
        UserError: an unknown method, preset, tower or setting, or a tower that the method cannot use.

    >>> resolve("clip", "small", settings=["losses.contrast.smoothing=0.1"], batch=32).losses
    {'contrast': {'weight': 1.0, 'smoothing': 0.1}}
    """
    over: dict[str, Any] = {}
    for side, name in (("image", image_tower), ("text", text_tower)):
        if name is not None:
            over[side] = _tower(side, name)
    if over.get("image", {}).get("kind") in LEARNT:
        over |= _size(over["image"])
    chosen = preset or "paper"
    if preset is None and all(over.get(side, {}).get("encoder") for side in ("image", "text")):
        if "frozen" in list_presets(method):
            chosen = "frozen"
        else:
            over = HEADS | over
    plain = load_row(method, chosen)
    told = {key: value for key, value in (plain.text or {}).items() if key != "encoder"}
    if "width" in over.get("text", {}) and told == {"kind": "stored", "width": plain.dim}:
        over["dim"] = over["text"]["width"]  # the method compares with the texts' vectors themselves
    if teacher is not None:
        over["losses"] = _taught(plain, teacher)
    over |= {key: value for key, value in (("epochs", epochs), ("batch", batch)) if value is not None}
    for one in settings:
        _put(over, one)
    row = load_row(method, chosen, **over)
    if freeze:
        row = load_row(method, chosen, **_frozen(over, row, freeze))
    row = _asked(row)
    _check(row)
    return row


def _taught(row: Row, teacher: str) -> dict[str, dict[str, Any]]:
    """Return what the losses of a row that learn from a teacher are told of it.

    Raises:
        UserError: no loss does, or the teacher cannot teach it.
    """
    from panoglot.networks._teacher import teacher_tower

    out: dict[str, dict[str, Any]] = {}
    for name, spec in row.parts.items():
        kind = str(spec.get("kind", name))
        if "teacher" in reads_of(name, spec):
            out[name] = {"teacher": int(load_tower("image", teacher).dim)}
        elif side := {"map": "image", "tokens": "text"}.get(kind):
            tower: Any = teacher_tower(side, encoder_name(teacher))
            out[name] = {"teacher": encoder_name(teacher), "width": int(tower.width)}
    if not out:
        raise UserError(f"{row.method} learns from no teacher: none of its losses does. dc-clip has one.")
    return out


def look_over(given: Mapping[str, Any]) -> Row:
    """Return the row as far as it is known before torch or a model is loaded; what cannot be is refused.

    Raises:
        UserError: an unknown method, preset or setting.
    """
    method, preset = given["method"], given["preset"] or "paper"
    row = load_row(method, preset)
    over: dict[str, Any] = {key: given[key] for key in ("epochs", "batch") if given[key] is not None}
    for one in [given["set"]] if isinstance(given["set"], str) else given["set"]:
        _put(over, one)
    if given["preset"] is None and (given["image_tower"] or given["text_tower"]):
        return row  # the towers decide on the rest
    return load_row(method, preset, **over)


def need_encoders(row: Row) -> None:
    """Refuse a row whose stored vectors have no encoder to make them.

    Raises:
        UserError: with the option that names one.
    """
    for side, example in (("image", "efficientnet-lite2"), ("text", "e5")):
        tower = getattr(row, side) or {}
        if tower.get("kind") in ("vector", "stored") and not tower.get("encoder"):
            raise UserError(
                f"the {side} tower of {row.method} is vectors of an encoder: name it, --{side}-tower embedded:{example}"
            )


def _asked(row: Row) -> Row:
    """Return the row with the fingerprints of its encoders, which must give what the row says."""
    for side, name in stored_towers(row).items():
        tower = getattr(row, side)
        model = load_tower(side, name, tower.get("fingerprint"))
        if model.dim != tower["width"]:
            raise UserError(
                f"the {side} tower '{name}' gives {model.dim} numbers, the row says width: {tower['width']}."
            )
        changed: dict[str, Any] = {side: {**tower, "fingerprint": model.fingerprint}}
        row = replace(row, **changed)
    return row


def _tower(side: str, name: str) -> dict[str, Any]:
    """Return the tower that a name stands for, as a row has it."""
    kinds = [kind for kind in Kinds(side) if "vector" not in Kinds(side).declares(kind, "gives", ())]
    plain, _, query = name.partition("?")
    provider, colon, rest = plain.partition(":")
    if not colon or provider in LEARNT:
        if provider not in kinds or (provider in LEARNT and not rest):
            known = [k + (":NAME" if k in LEARNT else "") for k in kinds]
            raise UserError(
                f"'{name}' is no {side} tower.{did_you_mean(name, known)} Give one of {', '.join(known)}, or an "
                "encoder, for example embedded:efficientnet-lite2."
            )
        tower = {"kind": provider, **({"name": _local(rest)} if rest else {}), **_options(query)}
        if provider == "hf" and rest.startswith(("/", ".", "~")) and not os.path.isdir(tower["name"]):
            raise UserError(f"there is no folder '{rest}' for the {side} tower.")
        return tower
    text = encoder_name(name)
    model = load_tower(side, text)
    return {
        "kind": "vector" if side == "image" else "stored",
        "width": int(model.dim),
        "encoder": text,
        "fingerprint": model.fingerprint,
    }


def encoder_name(name: str) -> str:
    """Return the name of an encoder as it is understood from any folder.

    Raises:
        UserError: not a model name.
    """
    text = name.removeprefix("stored:")
    parsed = parse_model_name(text)
    if parsed.provider not in find_entries(GROUP):
        return text
    return text.replace(f"{parsed.provider}:{parsed.name}", f"{parsed.provider}:{_local(parsed.name)}", 1)


def _local(name: str) -> str:
    """A path as seen from anywhere; any other name as it is."""
    path = os.path.expanduser(name)
    return os.path.abspath(path) if os.path.exists(path) else name


def _options(query: str) -> dict[str, Any]:
    import yaml

    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    try:
        return {key: yaml.safe_load(value) if value else True for key, _, value in pairs}
    except yaml.YAMLError as error:
        raise UserError(f"'{query}': an option is not YAML: {yaml_fault(error)}") from None


def _size(tower: Mapping[str, Any]) -> dict[str, Any]:
    """Return the side of the pictures that a pretrained tower was made for, where it says so."""
    if tower["kind"] == "hf":
        import json

        with_config = Path(tower["name"], "config.json")
        try:
            if with_config.exists():
                facts = json.loads(with_config.read_text(encoding="utf-8"))
            else:
                facts = require("transformers", "panoglot[train]", "hf: towers").AutoConfig.from_pretrained(
                    tower["name"]
                )
                facts = facts.to_dict()
        except (OSError, ValueError) as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(f"the image tower hf:{tower['name']} cannot be read: {said}") from None
        side = facts.get("vision_config", facts).get("image_size")
        side = side[0] if isinstance(side, (list, tuple)) else side
    else:
        try:
            timm = require("timm", "timm torchvision", f"the tower timm:{tower['name']}")
        except ModuleNotFoundError as error:  # timm imports torchvision
            raise MissingPackage(f"timm needs the package '{error.name}': pip install {error.name}") from error
        if not timm.is_model(tower["name"]) and "/" not in tower["name"]:
            raise UserError(f"timm has no model '{tower['name']}'.{did_you_mean(tower['name'], timm.list_models())}")
        facts = timm.get_pretrained_cfg(tower["name"].partition("/")[2] if "/" in tower["name"] else tower["name"])
        side = facts.input_size[-1] if facts is not None else None
    return {"size": int(side)} if side else {}


def _put(over: dict[str, Any], setting: str) -> None:
    """Lay `a.b.c=value` on nested settings."""
    import yaml

    path, equals, value = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise UserError(f"--set {setting}: write path=value, for example losses.contrast.smoothing=0.1.")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"--set {setting}: the value is not YAML: {yaml_fault(error)}") from None
    if isinstance(parsed, str):
        with contextlib.suppress(ValueError):
            parsed = float(parsed)  # YAML takes 1e-3 for a text
    here = over
    for key in keys[:-1]:
        inner = here.get(key)
        here[key] = dict(inner) if isinstance(inner, Mapping) else {}
        here = here[key]
    here[keys[-1]] = parsed


def _frozen(over: Mapping[str, Any], row: Row, freeze: Sequence[str]) -> dict[str, Any]:
    """Return the settings with rules that freeze, after those that the row and its stages have."""
    patterns = [p for p in freeze if p != "towers"]
    if "towers" in freeze:
        patterns += [
            f"{side}.*" for side in ("image", "text") if getattr(row, side) and not getattr(row, side).get("encoder")
        ]
    if not patterns:  # stored vectors do not learn anyway
        return dict(over)
    rule = {"freeze": patterns}
    out = dict(over) | {"freeze": [*row.freeze, rule]}
    stages = {s["name"]: {"freeze": [*s["freeze"], rule]} for s in row.stages if "freeze" in s}
    if stages:
        out["stages"] = {
            **out.get("stages", {}),
            **{n: {**out.get("stages", {}).get(n, {}), **s} for n, s in stages.items()},
        }
    return out


def stored_towers(row: Row) -> dict[str, str]:
    """Return side → encoder of the towers that are stored vectors.

    >>> stored_towers(load_row("flame"))
    {'text': 'facets:mistralai/Mistral-Nemo-Instruct-2407'}
    """
    towers = {"image": row.image or {}, "text": row.text or {}}
    return {side: tower["encoder"] for side, tower in towers.items() if tower.get("encoder")}


def _check(row: Row) -> None:
    """Refuse what would fail later: options that no part knows, and losses that stored vectors cannot serve."""
    import torch

    from panoglot.networks._model import Model
    from panoglot.networks._optimiser import KINDS
    from panoglot.networks._schedule import SCHEDULES
    from panoglot.training._stage import begin, make_schedule

    stored = stored_towers(row)
    model = None
    if not any((tower or {}).get("name") for tower in (row.image, row.text)):  # those would read weights
        with torch.device("meta"):
            model = Model(row)
    for name, stage in row.each_stage():
        kind = str(stage.sampler.get("kind"))
        if "text" in stored and Kinds("sampler").declares(kind, "shows_parts", False):
            raise UserError(
                f"the sampler '{kind}' of {row.method} shows parts of texts, and '{stored['text']}' gives vectors "
                "of whole ones: add --set sampler.kind=each, or take a text tower that learns."
            )
        _known("optimiser", stage.optimiser, KINDS, ("lr", "weight_decay"))
        _known("schedule", stage.schedule, SCHEDULES, ("warmup_epochs", "period_epochs", "every_epochs"))
        try:
            make_schedule(stage, 100)
            if model is not None:
                with torch.device("meta"):
                    begin(model, stage)
        except UserError as error:
            raise UserError(f"stage '{name}': {error}" if name else str(error)) from None


def _known(what: str, options: Mapping[str, Any], kinds: Mapping[str, Any], more: Sequence[str]) -> None:
    """Refuse options that no such kind has."""
    kind = options.get("kind", next(iter(kinds)))
    if kind not in kinds:
        raise UserError(f"{what}: kind '{kind}' is not known.{did_you_mean(str(kind), kinds)}")
    known = [*list(inspect.signature(kinds[kind]).parameters)[1:], *more]
    for key in options:
        if key != "kind" and key not in known:
            raise UserError(f"{what} {kind}: unknown option '{key}'.{did_you_mean(key, known)}")
