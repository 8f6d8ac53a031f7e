"""What of a row is its identity: what changes what is learnt, of every stage and every part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from panoglot.identity import counted, version_of
from panoglot.networks._kinds import SETTINGS, Kinds
from panoglot.networks._row import _SELECT, STAGE_SETTINGS, Row

__all__ = ["part_kinds", "row_identity"]


def part_kinds() -> dict[str, Mapping[str, Any]]:
    """Return setting of a row → kind → what makes it, whose options may be declared as `panoglot.identity` says."""
    return {setting: Kinds(setting) for setting in SETTINGS}


def row_identity(row: Row) -> dict[str, Any]:
    """Return what the fingerprint of a row is made of.

    Stages are written as what holds in them, so it does not matter whether a stage says a setting or inherits it.
    """
    said = _settings(row)
    said["stages"] = [
        [name, {k: v for k, v in _settings(stage).items() if k in STAGE_SETTINGS}]
        for name, stage in (row.each_stage() if row.stages else [])
    ]
    return said


def _settings(row: Row) -> dict[str, Any]:
    known = part_kinds()
    said = counted(Row, {f.name: getattr(row, f.name) for f in fields(row)})
    if said.get("select"):
        first = {today: was for was, today in _SELECT.items()}
        said["select"] = {first.get(key, key): value for key, value in said["select"].items()}
    for name, settings in (("towers", "image"), ("bridges", "bridge"), ("readers", "")):
        if said.get(name):
            kinds_of = {key: known[settings or key] for key in said[name]}
            said[name] = {key: _options(kinds_of[key].get(one.get("kind")), one) for key, one in said[name].items()}
    for setting, kinds in known.items():
        if setting == "losses":
            said[setting] = {name: _options(kinds.get(name), options) for name, options in row.losses.items()}
        elif said.get(setting):
            said[setting] = _options(kinds.get(said[setting].get("kind")), said[setting])
    return said


def _options(make: Callable[..., Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what counts of the options of a part, and its version where it is not the first."""
    if make is None:
        return dict(options)
    said, version = counted(make, options or {}), version_of(make)
    return said if version == 1 else {**said, "version": version}
