"""A method is a row: towers, sampler, losses, freezing, optimiser, schedule. Rows are YAML files."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from panoglot.errors import UserError, did_you_mean, yaml_fault
from panoglot.extensions import find_entries
from panoglot.identity import Added, UnreadWhen, completed, fingerprint, marked, marks_of
from panoglot.networks._kinds import check_options
from panoglot.networks._needs import READERS, check_row_needs, reads_of
from panoglot.networks._typing import accepts, said

__all__ = ["LOSS_KEYS", "STAGE_SETTINGS", "Row", "build", "list_presets", "list_rows", "load_row", "stored_row"]

#: Entry points of this group are rows of other packages.
GROUP = "panoglot.rows"
#: What may differ from stage to stage.
STAGE_SETTINGS = (
    *("sampler", "languages", "select", "views", "losses", "freeze", "optimiser", "schedule", "clip"),
    *("epochs", "batch", "accumulate", "ema", "snapshots", "streams"),
)


#: First names of settings of `select`, which identities go on with, and today's.
_SELECT = {"langs": "lang"}


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
        views: `{global: 2, local: 4, local_size: 96, …}` for self-distillation; `flip`, how often mirrored; `flop`, how
            often upside down; `turn: true`, quarter turns (pictures that have no up, from above); `scale`, a
            share of the area that is shown, or `of: 346`, of each side what `size` is of 346 (ALIGN); `augment:
            {count: 2, strength: 7}`, RandAugment after that; `pad: 1.25`: the middle, with black beside what is longer
            than that (SPRC).
        sampler: `{kind: …, options}`.
        languages: `{weights: {…}}` or `{temperature: …}` to balance languages in every batch, else empty.
        losses: part → `{weight: …, options}`.
        freeze: rules, see `panoglot.networks._freeze.freeze`.
        optimiser: `{kind: adamw, lr: …, betas: …, weight_decay: …}`.
        schedule: `{kind: cosine, warmup: …}`; `warmup` below 1 is a share of all steps.
        clip: limit of the gradient norm, None: none.
        epochs, batch: how long, how many items a step.
        accumulate: micro-batches a step.
        select: which records and texts: `{splits: […], kinds: […], lang: […], sources: […]}`; empty: all.
        ema: `{decay: 0.9999}`: the moving average of the whole model is what is kept as the encoder; empty: none.
        snapshots: keep the model at the end of every period of a cyclic schedule; their sum is an encoder.
        stages: runs of one model one after the other, name → what is different in it; see below.
        version: raised when a shipped row (or one of its presets) changes.
        towers: further picture towers, name → `{kind: …}`, as `image`; losses read them in `features.towers`.
        readers: `locator`, `painter`, `composer`, `tokeniser` → `{kind: …}`: what finds things, paints, embeds joint
            queries, cuts pictures into codes.
        bridges: name → `{kind: …}`, in order: modules between a picture's tokens and the language model.
        streams: name → `{has: [picture, text], share: 2, sampler: …, select: …, loaders: […]}`: every step has items
            of all of them, in these shares; a loss sees those that have what it reads, or the ones that it names:
            `losses: {lm: {streams: [paired]}}`. Empty: one stream.
        tiles: `{budget: 50, side: 364, …}`: one budget of sub-pictures over all pictures of a document, see `Tiling`.
        stop: `{patience: 2}`: after every epoch a loss that can judges what is held out; the best epoch is kept, and
            the run ends when that many did no better. Empty, or 0: all epochs, the last one is kept.
        start: `open_clip:NAME`, `lavis:FILE` or the folder of a run: the weights that a new run begins with.
        vocabulary: tokens that a language model gets beside its own; their embeddings begin as the mean of all.

    A row with stages, here two of three settings that only one of them has::

        losses: {regress: {teacher: 768}, contrast: {}}     # all that any stage uses, with their options
        optimiser: {kind: adamw, lr: 1.0e-3}
        stages:                                             # in this order
          distil: {losses: {regress: {}}, epochs: 20}       # names the losses that are computed in it
          align: {losses: {contrast: {weight: 1.0}}, optimiser: {lr: 1.0e-4}, epochs: 10, freeze: [{freeze: "image.*"}]}

    A stage may set anything of `STAGE_SETTINGS`; what it does not say is inherited. Mappings are merged (`optimiser`
    above keeps its kind), `freeze` is replaced, and `losses` are those that it names, with the options of the row and
    its own on top (other options make the part anew with what it has learnt; they must not change its shapes).
    A loss that a stage does not name is not computed, and its parameters are frozen. Optimiser, schedule and moving
    average begin anew with the stage; steps are counted on. Settings laid on top (a preset, keywords of `load_row`)
    hold in every stage, or in one: `load_row("dc-clip", stages={"texts": {"epochs": 5}})`.
    """

    method: str
    source: str = field(default="", metadata=marked(UnreadWhen()))
    about: str = field(default="", metadata=marked(UnreadWhen()))
    unverified: tuple[str, ...] = field(default=(), metadata=marked(UnreadWhen()))
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
    select: Mapping[str, Any] = field(default_factory=dict)
    ema: Mapping[str, Any] = field(default_factory=dict)
    snapshots: bool = False
    stages: tuple[Mapping[str, Any], ...] = ()
    version: int = field(default=1, metadata=marked(Added(1)))
    towers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, metadata=marked(Added({})))
    readers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, metadata=marked(Added({})))
    bridges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, metadata=marked(Added({})))
    streams: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, metadata=marked(Added({})))
    tiles: Mapping[str, Any] = field(default_factory=dict, metadata=marked(Added({})))
    vocabulary: tuple[str, ...] = field(default=(), metadata=marked(Added(())))
    start: str = field(default="", metadata=marked(Added("")))
    stop: Mapping[str, Any] = field(default_factory=dict, metadata=marked(Added({})))

    def __post_init__(self) -> None:
        if isinstance(self.stages, Mapping):
            object.__setattr__(self, "stages", tuple({"name": n, **(s or {})} for n, s in self.stages.items()))
        for key in ("freeze", "unverified", "stages", "vocabulary"):
            object.__setattr__(self, key, tuple(getattr(self, key)))

    @property
    def parts(self) -> dict[str, Mapping[str, Any]]:
        """Every loss of every stage, with its options: what the model holds."""
        out = dict(self.losses)
        for stage in self.stages:
            for name, options in stage.get("losses", {}).items():
                out.setdefault(name, options or {})
        return out

    def each_stage(self) -> list[tuple[str, Row]]:
        """Return (name, what holds in it) of every stage; a row without stages is one, called ''.

        >>> [(name, list(r.losses), r.epochs) for name, r in load_row("dc-clip").each_stage()]
        [('pictures', ['map'], 20), ('texts', ['tokens'], 20), ('align', ['contrast'], 10)]
        """
        if not self.stages:
            return [("", self)]
        out = []
        for stage in self.stages:
            raw = {f.name: getattr(self, f.name) for f in fields(self)} | {"stages": ()}
            for key, value in stage.items():
                if key == "losses":
                    raw[key] = {n: _merge(self.parts[n], o or {}) for n, o in value.items()}
                elif key != "name":
                    raw |= _merge({key: raw[key]}, {key: value})
            out.append((stage["name"], Row(**raw)))
        return out

    def plain(self) -> dict[str, Any]:
        """Return the resolved row as it is printed and stored."""
        return asdict(self)

    def yaml(self, *, complete: bool = False) -> str:
        """Return the row as a file that `load_row` reads again, without what is empty, or came later, by default.

        Args:
            complete: leave out nothing: for `stored_row`, which must not depend on what becomes the default.

        >>> print(load_row("clip", "small").yaml().splitlines()[4])
        image: {kind: vit, patch: 8, width: 96, layers: 2, heads: 4}
        """
        import yaml

        usual, plain, marks = Row(""), {}, marks_of(Row)
        for key, value in self.plain().items():
            if key == "stages":
                value = {s["name"]: {k: v for k, v in s.items() if k != "name"} for s in value}
            default = getattr(usual, key)
            came = any(isinstance(mark, Added) for mark in marks.get(key, ()))
            if complete or key == "method" or (value != default if came else value or default):
                plain[key] = value
        shape: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None, "width": 110}
        return str(yaml.safe_dump(_lists(plain), **shape))

    @property
    def fingerprint(self) -> str:
        """Changes with every setting that changes what is learnt."""
        from panoglot.networks._row_identity import row_identity

        return fingerprint(row_identity(self))


def _lists(value: Any) -> Any:
    """Tuples as lists, all the way down."""
    if isinstance(value, Mapping):
        return {str(k): _lists(v) for k, v in value.items()}
    return [_lists(v) for v in value] if isinstance(value, (list, tuple)) else value


def list_rows() -> dict[str, str]:
    """Return every method that is shipped, with its line; those of installed packages too."""
    return {name: _read(path).get("about", "") for name, path in _shipped().items()}


def list_presets(name: str | Path) -> list[str]:
    """Return the presets of a method (or of a row's file), beside `paper`.

    >>> list_presets("dreamlip")
    ['small']
    """
    shipped = _shipped()
    path = shipped.get(str(name)) or (Path(name) if str(name).endswith((".yaml", ".yml")) else None)
    return [*(_read(path).get("presets") or {})] if path is not None else []


def _shipped() -> dict[str, Any]:
    """Rows by name, ours first: `name = "package"` of the group says which package holds the file `name.yaml`."""
    folder = files("panoglot.networks").joinpath("rows")
    own = {p.name.removesuffix(".yaml"): p for p in folder.iterdir() if p.name.endswith(".yaml")}
    others = {name: files(point.value).joinpath(f"{name}.yaml") for name, point in find_entries(GROUP).items()}
    return {name: (others | own)[name] for name in sorted({*others, *own})}


def _read(path: Any) -> dict[str, Any]:
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the row '{path}' cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"the row '{path}' is not YAML: {yaml_fault(error)}") from None
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


def _lay(raw: Mapping[str, Any], over: Mapping[str, Any], what: str, own: bool = False) -> dict[str, Any]:
    """Lay settings on a row; those that do not name a stage win over what its stages say.

    A preset of the row (`own`) may name stages that the row has not, and take away others (null): then their order is
    the preset's.
    """
    given = {k: v for k, v in over.items() if k != "stages"}
    out = _merge(raw, given)
    if given.get("losses"):  # null takes one away
        out["losses"] = {n: o for n, o in out["losses"].items() if o is not None or n not in given["losses"]}
    stages, named = raw.get("stages") or {}, over.get("stages", {})
    if named is None:
        out.pop("stages", None)
        return out
    if own and set(stages) <= set(named):
        stages = {name: stages.get(name) for name, said in named.items() if said is not None}
    for name in named:
        if stages and name not in stages and not (own and named[name] is None):
            raise UserError(f"{what}: no stage is called '{name}'.{did_you_mean(name, stages)}")
    if stages or named:
        out["stages"] = {}
    for name in stages or named:
        stage = dict(stages.get(name) or {})
        for key, value in given.items():
            if key == "losses" and key in stage:
                stage[key] = {n: _merge(o or {}, value.get(n) or {}) for n, o in stage[key].items()}
            elif key in stage:
                stage |= _merge({key: stage[key]}, {key: value})
        mine = dict(named.get(name) or {})
        if "losses" in mine:  # names those of the stage
            old = stage.get("losses") or {}
            stage["losses"] = {n: _merge(old.get(n) or {}, o or {}) for n, o in mine.pop("losses").items()}
        out["stages"][name] = _merge(stage, mine)
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
    shipped = _shipped()
    if str(name) not in shipped and not str(name).endswith((".yaml", ".yml")):
        raise UserError(f"No method is called '{name}'.{did_you_mean(str(name), shipped)}")
    raw = _read(shipped.get(str(name)) or Path(name))
    presets = raw.pop("presets", {})
    if preset != "paper":
        if preset not in presets:
            raise UserError(f"{name} has no preset '{preset}'.{did_you_mean(preset, ['paper', *presets])}")
        raw = _lay(raw, presets[preset], str(name), own=True)
    return _checked(_lay(raw, overrides, str(name)), str(name))


def stored_row(run: str | Path) -> Row:
    """Read the row that a run wrote into its folder; settings that came later are what they were before they came.

    Raises:
        UserError: it is not there, or no row.
    """
    path = Path(run) / "row.yaml"
    stored = completed(Row, _read(path))
    for settings in (stored, *(stored.get("stages") or {}).values()):
        if (settings or {}).get("select"):
            settings["select"] = {_SELECT.get(key, key): value for key, value in settings["select"].items()}
    return _checked(stored, str(path))


def _checked(raw: Mapping[str, Any], name: str) -> Row:
    """Make a row of its settings. Everything that can be known without torch is known here.

    Raises:
        UserError: an unknown setting, kind or option, or values that cannot be.
    """
    known = [f.name for f in fields(Row)]
    for key in raw:
        if key not in known:
            raise UserError(f"{name}: unknown setting '{key}'.{did_you_mean(key, known)}")
    for stage, settings in (raw.get("stages") or {}).items():
        for key in settings or {}:
            if key not in STAGE_SETTINGS:
                raise UserError(f"{name}: stage '{stage}' cannot set '{key}'.{did_you_mean(key, STAGE_SETTINGS)}")
    for field_ in fields(Row):
        value = raw.get(field_.name)
        if field_.name in raw and field_.name != "stages" and not accepts(str(field_.type), value):
            raise UserError(f"{name}: {field_.name}={value!r} must be {said(str(field_.type))}.")
    row = Row(**raw)
    if not row.parts:
        raise UserError(f"{name}: a row needs losses.")
    for stage, r in row.each_stage():
        at = f"{name}, stage '{stage}'" if stage else name
        if not r.losses:
            raise UserError(f"{at}: names no losses.")
        for given, allowed in ((r.select, ["splits", "kinds", "lang", "sources"]), (r.ema, ["decay"])):
            for key in given:
                if key not in allowed:
                    raise UserError(f"{at}: unknown setting '{key}'.{did_you_mean(key, allowed)}")
        if r.batch < 1 or r.epochs < 1 or r.accumulate < 1:
            raise UserError(f"{at}: batch, epochs and accumulate must be at least 1.")
        if r.batch % r.accumulate:
            raise UserError(f"{at}: a batch of {r.batch} cannot be cut into {r.accumulate} micro-batches.")
        check_settings(r)
        check_row_needs(r, at)
    return row


#: Keys of a loss that the trainer reads, not the loss.
LOSS_KEYS = ("weight", "streams")
STREAM_KEYS = ("has", "share", "sampler", "select", "loaders")


def check_settings(row: Row) -> None:
    """Refuse kinds, options and values that cannot be, of towers, head, sampler, losses, readers, bridges, streams.

    Raises:
        UserError: one line, with "did you mean".
    """
    for setting, spec in (("image", row.image), ("text", row.text), ("sampler", row.sampler)):
        if spec:
            check_options(setting, spec, given=("encoder", "fingerprint"))
    if row.image:
        check_options("head", row.head)
    for name, spec in row.losses.items():
        if not accepts("float", spec.get("weight", 1.0)):
            raise UserError(f"losses {name}: weight={spec['weight']!r} must be a number.")
        kind = {"kind": name, **spec}
        check_options("losses", kind, f"losses {name}" if spec.get("kind") else "losses", given=LOSS_KEYS)
        for stream in spec.get("streams", ()):
            if stream not in row.streams:
                raise UserError(f"losses {name}: no stream is called '{stream}'.{did_you_mean(stream, row.streams)}")
    for reader, spec in row.readers.items():
        if reader not in READERS:
            raise UserError(f"readers: '{reader}' is none.{did_you_mean(reader, READERS)}")
        check_options(reader, spec)
    for what, setting, each in (("towers", "image", row.towers), ("bridges", "bridge", row.bridges)):
        for name, spec in each.items():
            check_options(setting, spec, f"{what}.{name}")
    for name, spec in row.streams.items():
        for key in spec:
            if key not in STREAM_KEYS:
                raise UserError(f"stream {name}: unknown option '{key}'.{did_you_mean(key, STREAM_KEYS)}")
        for one in spec.get("has", ()):
            if one not in ("picture", "text"):
                raise UserError(f"stream {name}: has={one!r} must be picture or text.")
        if not accepts("float", spec.get("share", 1.0)) or not spec.get("share", 1.0) > 0:
            raise UserError(f"stream {name}: share={spec['share']!r} must be a number above 0.")
        if "sampler" in spec:
            check_options("sampler", spec["sampler"], f"stream {name}, sampler")
    pad = row.views.get("pad", 1.0)
    if not accepts("float", pad) or pad < 1:
        raise UserError(f"views: pad={pad!r} must be a ratio of 1 or more.")
    for key in row.tiles:
        if key not in TILES:
            raise UserError(f"tiles: unknown option '{key}'.{did_you_mean(key, TILES)}")
    if "augment" in row.views:
        _check_augment(row, row.views["augment"])


def _check_augment(row: Row, how: Any) -> None:
    """Refuse settings of `views.augment` that cannot be."""
    if not isinstance(how, Mapping):
        raise UserError(f"views.augment={how!r} must be {{count: 2, strength: 7}}.")
    for key in how:
        if key not in ("count", "strength"):
            raise UserError(f"views.augment: unknown option '{key}'.{did_you_mean(key, ('count', 'strength'))}")
    if not accepts("int", how.get("count", 2)) or how.get("count", 2) < 0:
        raise UserError(f"views.augment: count={how['count']!r} must be a whole number, 0 or more.")
    if not accepts("float", how.get("strength", 7)) or not 0 <= how.get("strength", 7) <= 10:
        raise UserError(f"views.augment: strength={how['strength']!r} must be a number in 0..10.")
    for name, spec in row.losses.items():
        if {"regions", "masks", "boxes3"} & set(reads_of(name, spec)):
            raise UserError(f"views.augment moves what is in a picture, and the loss '{name}' reads its regions.")


TILES = ("budget", "side", "least", "thin")


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
