"""Model names to models: `provider:name[?option=value&…]`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from panoglot.errors import UserError, did_you_mean
from panoglot.extensions import find_entries, load_entry
from panoglot.identity import Added, extended
from panoglot.providers._judge import judge_of
from panoglot.providers._ten_crops import TenCrops
from panoglot.providers.roles import ROLES, Generator, Judge, find_role

__all__ = [
    "GROUP",
    "ModelInfo",
    "ModelName",
    "Options",
    "list_models",
    "load_model",
    "parse_model_name",
    "register",
]

#: Entry points of this group are model providers: modules (or objects) with `load(name, options) -> Model` and
#: `catalog() -> list[ModelInfo]`. Ours are found the same way as anyone's.
GROUP = "panoglot.providers"

_REGISTERED: dict[str, Callable[[], Any]] = {}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A line of `panoglot models`.

    Attributes:
        name: what a user types, or a pattern such as `hf:OWNER/NAME`.
        roles: role names (keys of `ROLES`).
        about: one line: what it is, languages, size.
        install: the pip line, or empty.
        ready: it can be loaded here and now.
    """

    name: str
    roles: tuple[str, ...]
    about: str
    install: str = ""
    ready: bool = True


class Options(dict[str, str]):
    """The options of a model name; `take` reads them typed, `finish` refuses what nobody took.

    >>> options = Options({"concurrency": "8"}, of="openai:x")
    >>> options.take("concurrency", int, 4), options.take("rpm", int, None)
    (8, None)
    >>> options.finish()
    """

    def __init__(self, values: dict[str, str] | None = None, of: str = "") -> None:
        super().__init__(values or {})
        self._of = of
        self._known: set[str] = set()
        #: Later options (`Added`) that are not what they were: `load_model` puts them into the fingerprint.
        self.later: dict[str, Any] = {}

    def take(self, key: str, kind: Callable[[str], Any], default: Any, added: Added | None = None) -> Any:
        """Return option `key` read by `kind` (int, float, str, bool), or `default`.

        Args:
            key: the option.
            kind: how its text is read.
            default: where it is not given.
            added: for an option that changes answers and came later, and that no constructor declares: what the model
                did before there was a choice. With any other value it is part of the fingerprint.

        Raises:
            UserError: the value cannot be read as `kind`.
        """
        value = self._take(key, kind, default)
        if added is not None and not added.leaves_out(value):
            self.later[key] = value
        return value

    def _take(self, key: str, kind: Callable[[str], Any], default: Any) -> Any:
        self._known.add(key)
        if key not in self:
            return default
        value = self[key]
        if kind is bool:
            if value.lower() in ("1", "true", "yes", "on", ""):
                return True
            if value.lower() in ("0", "false", "no", "off"):
                return False
            raise UserError(f"option {key}={value!r} of model '{self._of}' must be true or false.")
        try:
            return kind(value)
        except ValueError:
            name = getattr(kind, "__name__", str(kind))
            raise UserError(f"option {key}={value!r} of model '{self._of}' must be a {name}.") from None

    def finish(self) -> None:
        """Refuse options that no `take` asked for.

        Raises:
            UserError: with a "did you mean".
        """
        for key in self:
            if key not in self._known:
                raise UserError(f"model '{self._of}' has no option '{key}'.{did_you_mean(key, self._known)}")


@dataclass(frozen=True, slots=True)
class ModelName:
    """A parsed model name."""

    provider: str
    name: str
    options: Options = field(hash=False)
    text: str = ""


def parse_model_name(text: str) -> ModelName:
    """Take a model name apart.

    Raises:
        UserError: no provider, or an unknown one.

    >>> parse_model_name("openai:http://localhost:8000/v1#Qwen/Qwen2.5-VL-7B?concurrency=8").name
    'http://localhost:8000/v1#Qwen/Qwen2.5-VL-7B'
    """
    provider, colon, rest = text.partition(":")
    if not colon or not rest:
        example = did_you_mean(provider, find_entries(GROUP)) if not colon else ""
        raise UserError(
            f"'{text}' is not a model name: write provider:name, for example embedded:conse or "
            f"hf:HuggingFaceTB/SmolVLM2-500M-Video-Instruct.{example}"
        )
    if text not in _REGISTERED:
        load_entry(GROUP, provider, "model provider")
    name, _, query = rest.partition("?")
    options = Options(of=text)
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        options[key] = unquote(value)
    return ModelName(provider, name, options, text)


def register(name: str, factory: Callable[[], Any]) -> None:
    """Make your own model known as `name` (`provider:name`), in this process.

    On a cluster or with worker processes give it as `python:package.module:factory` in an installed package instead.
    """
    _REGISTERED[name] = factory


def load_model(text: str, role: str | None = None) -> Any:
    """Load the model that `text` names.

    Args:
        text: `provider:name[?option=value&…]`; of any encoder `crops=10` takes the mean over ten crops of a picture.
        role: a key of `ROLES` (or two, `translator|generator`); refuse a model that fills none of them.

    Raises:
        UserError: unknown provider, name or option (with "did you mean"), missing package (with the pip line), or a
            model that does not fill `role`.
    """
    if text in _REGISTERED:
        model = _REGISTERED[text]()
    else:
        parsed = parse_model_name(text)
        module = load_entry(GROUP, parsed.provider, "model provider")
        if role == "parser" and parsed.provider == "hf":  # its architecture says generator, for it writes text
            parsed.options.setdefault("as", "parser")
        crops = parsed.options.take("crops", int, 1, Added(1))
        model = module.load(parsed.name, parsed.options)
        parsed.options.finish()
        if parsed.options.later:
            model.fingerprint = extended(model.fingerprint, parsed.options.later)
        if crops != 1:
            model = _ten_crops(model, text, crops)
    if role == "judge" and not isinstance(model, Judge):
        model = judge_of(model) if isinstance(model, Generator) else model
    if role is not None and not any(isinstance(model, find_role(one).protocol) for one in role.split("|")):
        have = [one.name for one in ROLES.values() if isinstance(model, one.protocol)]
        raise UserError(
            f"model '{text}' is no {role.replace('|', ' or ')} (it is: {', '.join(have) or 'nothing known'})."
        )
    return model


def _ten_crops(model: Any, text: str, crops: int) -> Any:
    """Return the encoder over ten crops of every picture."""
    if crops != 10 or not hasattr(model, "encode_images"):
        raise UserError(f"option crops={crops} of model '{text}': only 10, of an encoder of pictures.")
    return TenCrops(model)


def list_models(*, role: str | None = None, ready: bool | None = None) -> list[ModelInfo]:
    """List the models: the embedded ones by name, those of the other providers as patterns.

    Args:
        role: only those of a role: generator, encoder, tagger, …
        ready: only those that can (or cannot) be loaded now.

    Raises:
        UserError: no such role.
    """
    if role is not None and role not in ROLES:
        known = [*ROLES, *find_entries("panoglot.roles")]
        if role not in known:
            raise UserError(f"there is no role '{role}'.{did_you_mean(role, known)}")
    found: list[ModelInfo] = []
    for provider in find_entries(GROUP):
        found += load_entry(GROUP, provider, "model provider").catalog()
    return [one for one in found if (role is None or role in one.roles) and (ready is None or one.ready == ready)]
