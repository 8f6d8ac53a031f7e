"""What identities are made of today, beside what was recorded: defaults, versions, fingerprints, names of ledgers.

    python -m tests.identities        records what is new or was changed with its version raised

What must not be recorded is said, and nothing is written: a default that changed while `version` did not, an option
without `Added`, a value of `Added` or a ledger's name that changed.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import panoglot
from panoglot.identity import Added, Named, canonical, counted, fingerprint, marks_of, version_of

RECORDED = Path(__file__).with_suffix(".json")
COMMAND = "python -m tests.identities"


def snapshot() -> dict[str, Any]:
    """Return everything, by name."""
    entries = {**_methods(), **_questions(), **_curation(), **_formats(), **_rows(), **_parts()}
    return {"ledgers": sorted(_ledgers()), "entries": dict(sorted(entries.items()))}


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what is wrong, and what is right but not recorded yet."""
    wrong = [f"the ledger {name} is gone or has another name: what was done under it would be done again"
             for name in old["ledgers"] if name not in new["ledgers"]]  # fmt: skip
    fresh = [f"the ledger {name} is new" for name in new["ledgers"] if name not in old["ledgers"]]
    for name, now in new["entries"].items():
        before = old["entries"].get(name)
        if before is None:
            fresh.append(f"{name} is new")
        elif before != now:
            raised = now["version"] > before["version"]
            found = _differences(name, before, now)
            (fresh if raised or not found else wrong).extend(found or [f"{name} has another version or more options"])
        for option, was in (before or {}).get("added", {}).items():
            if now["added"].get(option, MISSING) != was:
                wrong.append(f"{name}: Added({was!r}) of {option} must stay as long as the option")
    fresh += [f"{name} is gone" for name in old["entries"] if name not in new["entries"]]
    return wrong, fresh


def _differences(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    then, today, old, new = before["defaults"], now["defaults"], before["version"], now["version"]
    version = f"its version went from {old} to {new}" if new > old else f"its version is still {new}"
    said = [
        f"{name}: the default of {key} changed from {then[key]!r} to {today.get(key)!r}, and {version}"
        for key in then
        if key not in today or then[key] != today[key]
    ]
    if not said and before["fingerprint"] != now["fingerprint"]:
        more = ", ".join(key for key in today if key not in then) or "something"
        said = [f"{name}: {more} changed the fingerprint, and {version}: declare what was before, Added(was)"]
    if not said and new < old:
        said = [f"{name}: {version}, and it was {old}"]
    return said


def _entry(owner: Any, defaults: Mapping[str, Any], version: int, print_: str | None = None) -> dict[str, Any]:
    plain = {key: _plain(value) for key, value in defaults.items()}
    first = {key: mark.was for key, found in marks_of(owner).items() for mark in found if isinstance(mark, Named)}
    marks = {key: mark.was for key, found in marks_of(owner).items() for mark in found if isinstance(mark, Added)}
    return {
        "version": version,
        "fingerprint": print_ or fingerprint(counted(owner, plain)),
        "defaults": {first.get(key, key): value for key, value in plain.items()},
        "added": canonical(marks),
    }


def _plain(value: Any) -> Any:
    return value.__qualname__ if callable(value) else canonical(value)


def _defaults(owner: Any) -> dict[str, Any]:
    if is_dataclass(owner):
        made = {f.name: f.default_factory() for f in fields(owner) if f.default_factory is not MISSING}
        return {f.name: f.default for f in fields(owner) if f.default is not MISSING} | made
    return {p.name: p.default for p in inspect.signature(owner).parameters.values() if p.default is not p.empty}


def _ours(owner: Any) -> bool:
    return str(owner.__module__).startswith("panoglot.")


def _methods() -> dict[str, Any]:
    from panoglot.running import list_methods

    found = {}
    for method in list_methods():
        if _ours(method.function):
            usual = _defaults(method.function)
            models = {one: one for one in method.uses(usual)}
            found[f"method {method.name}"] = _entry(
                method.function, usual, method.version, method.fingerprint(usual, models)
            )
    return found


def _questions() -> dict[str, Any]:
    from panoglot.asking import journal_key
    from panoglot.providers.roles import Prompt

    key = journal_key("model", "generate", Prompt("What is this?"))
    return {"Prompt": _entry(Prompt, _defaults(Prompt), version_of(Prompt), key)}


def _curation() -> dict[str, Any]:
    from panoglot.curation import FILTERS, PRESETS

    found = {
        f"filter {f.name}": _entry(f.function, f.options, f.version) for f in FILTERS.values() if _ours(f.function)
    }
    for preset in PRESETS.values():
        if _ours(preset.function):
            usual = {**preset.options, "(steps)": list(preset.function())}
            found[f"preset {preset.name}"] = _entry(preset.function, usual, preset.version)
    return found


def _formats() -> dict[str, Any]:
    from panoglot.formats import FORMAT_NAMES, counted_options, format_options, load_format

    found = {}
    for name in FORMAT_NAMES:
        usual, parts = format_options(name), load_format(name).parts
        print_ = fingerprint(counted_options(name, usual))
        found[f"format {name}"] = _entry(parts, usual, version_of(parts), print_)
    return found


def _rows() -> dict[str, Any]:
    from panoglot.networks import Row, list_presets, list_rows, load_row, row_identity

    found = {}
    for name in list_rows():
        for preset in ("paper", *list_presets(name)):
            row = load_row(name, preset)
            said = _without_versions(row_identity(row))
            found[f"row {name} {preset}"] = _entry(Row, said, row.version, fingerprint(said))
    return found


def _without_versions(value: Any) -> Any:
    """Settings without the versions of the parts, which stand at the parts."""
    if isinstance(value, dict):
        return {key: _without_versions(v) for key, v in value.items() if key != "version"}
    return [_without_versions(v) for v in value] if isinstance(value, list | tuple) else value


def _parts() -> dict[str, Any]:
    from panoglot.networks import part_kinds
    from panoglot.training import Trainer

    makers: dict[str, Callable[..., Any]] = {"trainer": Trainer}
    for setting, kinds in part_kinds().items():
        makers |= {f"{setting} {kind}": make for kind, make in kinds.items() if _ours(make)}
    return {name: _entry(make, _defaults(make), version_of(make)) for name, make in makers.items()}


def _ledgers() -> set[str]:
    """Names of stages: of all methods, and what stands in the code."""
    from panoglot.running import list_methods

    names = {method.stage for method in list_methods() if _ours(method.function)}
    for path in Path(panoglot.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Stage":
                said = next((k.value for k in node.keywords if k.arg == "name"), node.args[0] if node.args else None)
                if isinstance(said, ast.Constant | ast.JoinedStr):
                    names.add(ast.unparse(said).removeprefix("f").strip("'\""))
    return names


def main() -> int:
    """Record what may be recorded."""
    new = snapshot()
    old = json.loads(RECORDED.read_text("utf-8")) if RECORDED.exists() else {"ledgers": [], "entries": {}}
    wrong, fresh = compare(old, new)
    print(*(wrong or fresh or ["nothing changed"]), sep="\n")
    if not wrong:
        RECORDED.write_text(json.dumps(new, ensure_ascii=False, indent=1, sort_keys=True) + "\n", "utf-8")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
