"""Putting adapters into a model by name, and saving them without it."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from panoglot.errors import UserError, did_you_mean
from panoglot.networks.adapters.bottleneck import Adapter, Compacter
from panoglot.networks.adapters.hyper import HyperAdapter, Hypernet
from panoglot.networks.adapters.language import LanguageAdapters
from panoglot.networks.adapters.lora import LoRA
from panoglot.networks.adapters.prompt import Prompt

__all__ = ["Attached", "attach", "load_adapters", "save_adapters"]

METHODS = ("adapter", "compacter", "hyperformer", "language", "lora", "prompt")


class Attached:
    """The adapters that `attach` put into a model.

    Attributes:
        modules: module name of the backbone → what was put there (one entry for each task in `multiple`).
        task: the task whose adapters are in use (`share="multiple"`).
        langs: the language of every row of the batch (`method="language"`).
    """

    def __init__(self, model: nn.Module, options: dict[str, Any]) -> None:
        self.model, self.options = model, options
        self.modules: dict[str, nn.Module] = {}
        self.task = ""
        self.langs: Sequence[str] = ()

    def parameters(self) -> list[nn.Parameter]:
        """Return their parameters, each once."""
        seen = {id(p): p for m in self.modules.values() for p in m.parameters()}
        return list(seen.values())

    def _pick(self, module: nn.Module) -> nn.Module:
        if not isinstance(module, nn.ModuleDict):
            return module
        if self.task not in module:
            raise UserError(f"No adapters for the task '{self.task}'.{did_you_mean(self.task, module)}")
        return module[self.task]

    def hook(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Adapt the output of a module (a forward hook)."""
        return self.apply(name, inputs, output)

    def apply(self, name: str, inputs: tuple[Any, ...], output: Any) -> Any:
        """Return the adapted output of a module (the first of a tuple)."""
        module = self._pick(self.modules[name])
        first, *rest = output if isinstance(output, tuple) else (output,)
        if isinstance(module, LoRA):
            first = first if module.merged else first + module.update(inputs[0])
        elif isinstance(module, LanguageAdapters):
            first = module(first, self.langs)
        elif isinstance(module, HyperAdapter):
            first = module(first, self.task)
        else:
            first = module(first)
        return (first, *rest) if isinstance(output, tuple) else first


def _width(module: nn.Module) -> int:
    """Return the width of a module's output: that of its last linear layer or norm."""
    for part in reversed(list(module.modules())):
        if isinstance(part, nn.Linear):
            return part.out_features
        if isinstance(part, nn.LayerNorm):
            return int(part.normalized_shape[-1])
    raise UserError(f"Cannot tell the width of a {type(module).__name__}: give width=….")


def attach(
    model: nn.Module,
    where: Sequence[str],
    method: str = "adapter",
    *,
    tasks: Sequence[str] = (),
    share: str = "single",
    width: int | None = None,
    **options: Any,
) -> Attached:
    """Put adapters behind the outputs of the modules that `where` names. The model is changed in place.

    Args:
        model: the backbone; freeze it separately (`freeze`).
        where: patterns of module names, such as `decoder.layers.*.self_attn`.
        method: `adapter`, `compacter`, `hyperformer` (a network makes the weights of every task and place), `lora`
            (beside linear layers), `language` (options: `langs`), `prompt` (tokens before the text; `where` is empty).
        tasks: names of the tasks.
        share: `single`, all tasks use one set; `multiple`, each has its own; `down` or `up`, only that projection is
            shared.
        width: of the modules' output, when it cannot be read from them.
        options: of the method.

    Raises:
        UserError: a pattern that matches nothing; an unknown method.

    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    >>> sorted(attach(model, ["[02]"], "lora", rank=2).modules)
    ['0', '2']
    """
    if method not in METHODS:
        raise UserError(f"No adapter method is called '{method}'.{did_you_mean(method, METHODS)}")
    if share not in ("single", "multiple", "down", "up"):
        raise UserError(f"share={share!r} must be 'single', 'multiple', 'down' or 'up'.")
    if share != "single" and (not tasks or method not in ("adapter", "compacter")):
        raise UserError(f"share={share!r} needs tasks=[…] and a bottleneck adapter.")
    if method == "hyperformer" and not tasks:
        raise UserError("hyperformer needs tasks=[…]: it makes the weights of each.")
    if options.get("reduction", 0) is None:
        del options["reduction"]
    names = {n: m for n, m in model.named_modules() if n}
    attached = Attached(
        model, {"where": list(where), "method": method, "share": share, "tasks": list(tasks), **options}
    )
    if method == "prompt":
        if where:
            raise UserError("prompt: its tokens stand before the text, not in modules: where=[].")
        _put(attached, "", model, Prompt(width or _width(model), **options))
        return attached
    targets = _targets(where, names)
    net: Hypernet | None = None
    for place, (name, target) in enumerate(targets.items()):
        size = 0 if method == "lora" else width or _width(target)
        if method == "hyperformer":
            net = net or Hypernet(size, options.pop("reduction", 16), tasks, len(targets), **options)
            if net.shape[1] != size:
                raise UserError(
                    f"hyperformer: '{name}' is {size} wide, others are {net.shape[1]}: one network serves one width."
                )
            _put(attached, name, target, HyperAdapter(net, place))
            continue

        def make(target: nn.Module = target, size: int = size) -> nn.Module:
            if method == "lora":
                return LoRA(target, **options)  # type: ignore[arg-type]
            if method == "language":
                return LanguageAdapters(options["langs"], size, options.get("reduction", 2))
            return Adapter(size, **options) if method == "adapter" else Compacter(size, **options)

        if share == "single":
            module = make()
        else:
            each = {t: make() for t in tasks}
            if share in ("down", "up"):
                for t in tasks[1:]:
                    setattr(each[t], share, getattr(each[tasks[0]], share))
            module = nn.ModuleDict(each)
        _put(attached, name, target, module)
    return attached


def _targets(where: Sequence[str], names: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Return the modules that patterns name, each once.

    Raises:
        UserError: a pattern that matches nothing, or a list of modules.
    """
    out: dict[str, nn.Module] = {}
    for pattern in where:
        found = [n for n in names if fnmatch.fnmatchcase(n, pattern)]
        if not found:
            raise UserError(f"No module is called '{pattern}'.{did_you_mean(pattern, names)}")
        for name in found:
            target = names[name]
            if isinstance(target, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
                raise UserError(
                    f"'{name}' is a list of modules, of which an adapter would become one; name the last of them: "
                    f"'{name}.{list(target.named_children())[-1][0]}'."
                )
            out[name] = target
    return out


def _put(attached: Attached, name: str, target: nn.Module, module: nn.Module) -> None:
    """Make an adapter part of a module: it is saved, moved and counted with it; all but prompts change its output."""
    reference = next(target.parameters(), None)
    if reference is not None and reference.is_floating_point():
        module.to(reference.device, reference.dtype)
    attached.modules[name] = module
    target.add_module("adapters", module)
    if not isinstance(module, Prompt):
        target.register_forward_hook(partial(attached.hook, name))  # a bound method: copies have their own


def _backbone_hash(attached: Attached) -> str:
    own = {id(p) for p in attached.parameters()}
    shapes = [f"{n}{tuple(p.shape)}" for n, p in attached.model.named_parameters() if id(p) not in own]
    return hashlib.sha256("\n".join(shapes).encode()).hexdigest()[:16]


def save_adapters(attached: Attached, path: str | Path) -> None:
    """Write the adapters alone (safetensors), with what they were made for."""
    import json

    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    for name, module in attached.modules.items():
        for key, value in module.state_dict().items():
            tensors[f"{name}::{key}"] = value.detach().clone().contiguous()
    meta = {"options": json.dumps(attached.options, sort_keys=True), "backbone": _backbone_hash(attached)}
    save_file(tensors, str(path), metadata=meta)


def load_adapters(attached: Attached, path: str | Path) -> None:
    """Read adapters that `save_adapters` wrote.

    Raises:
        UserError: they were made for another backbone, or with other options.
    """
    import json

    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        meta = file.metadata() or {}
        if meta.get("backbone") != _backbone_hash(attached):
            raise UserError(f"'{path}' was made for another backbone: names or shapes of its parameters differ.")
        if json.loads(meta["options"]) != json.loads(json.dumps(attached.options)):
            raise UserError(f"'{path}' was made with {meta['options']}; attach adapters with these options first.")
        for name, module in attached.modules.items():
            start = f"{name}::"
            state = {k[len(start) :]: file.get_tensor(k) for k in file.keys() if k.startswith(start)}  # noqa: SIM118
            module.load_state_dict(state)
