"""Methods: async functions of one image (or caption) and the models, and the operator that runs many at once.

    @method(room="caption", kind="short")
    async def describe(image: Image, m: Models, *, captioner: GeneratorName = "captioner", prompt: str = PROMPT):
        answer = await m[captioner].generate(prompt, image)
        return Caption(answer.text, lang="en", model=m[captioner].name)

Its keyword arguments are its options: typed, with the paper's defaults; those typed `GeneratorName`, `EncoderName`, …
name models. Options (prompts among them), `version` and the fingerprints of the models make the fingerprint of a step.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import typing
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any

from panoglot.asking import Asker, Models, spending
from panoglot.errors import BudgetReached, PanoglotError, RowError, Stopped, UserError, did_you_mean
from panoglot.languages import parse_language
from panoglot.providers._stop import given_up, time_left
from panoglot.running._stage import Emit, Item, Outcome, Spent, Stage, Worker, worker_processes
from panoglot.table import Caption, caption_id, fingerprint, normal_text

__all__ = [
    "METHODS",
    "DetectorName",
    "EncoderName",
    "GeneratorName",
    "GeneratorNames",
    "LanguageIdentifierName",
    "Method",
    "MethodOperator",
    "ReaderName",
    "Role",
    "TaggerName",
    "TranslatorName",
    "get_method",
    "method",
    "method_stage",
]


class Role(str):
    """Marks an option that names a model: `Annotated[str, Role("generator")]`; `a|b` takes either."""


GeneratorName = Annotated[str, Role("generator")]
GeneratorNames = Annotated[tuple[str, ...], Role("generator")]
EncoderName = Annotated[str, Role("encoder")]
TaggerName = Annotated[str, Role("tagger")]
DetectorName = Annotated[str, Role("detector")]
ReaderName = Annotated[str, Role("reader")]
LanguageIdentifierName = Annotated[str, Role("language_identifier")]
TranslatorName = Annotated[str, Role("translator|generator")]


@dataclass(frozen=True)
class Method:
    """A registered method.

    Attributes:
        name: with hyphens, as on the command line and in the table of methods.
        function: the coroutine.
        room: `caption`, `translate`, …
        version: raised when the same options may give other results.
        takes: `image` or `caption`.
        with_captions: gives images their kept captions.
        with_images: gives captions their image.
    """

    name: str
    function: Callable[..., Awaitable[Any]]
    room: str
    version: int
    takes: str
    with_captions: bool
    with_images: bool

    def options(self) -> dict[str, inspect.Parameter]:
        """The keyword options, by name."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options, the given ones checked.

        Raises:
            UserError: unknown option, with "did you mean".
        """
        known = self.options()
        for key in given:
            if key not in known:
                raise UserError(f"method '{self.name}' has no option '{key}'.{did_you_mean(key, known)}")
        missing = [k for k, p in known.items() if p.default is p.empty and k not in given]
        if missing:
            raise UserError(f"method '{self.name}' needs the option '{missing[0]}'.")
        return {key: given.get(key, p.default) for key, p in known.items()}

    def uses(self, options: Mapping[str, Any]) -> dict[str, str]:
        """Return the model names in some resolved options, with the role asked of each."""
        hints = typing.get_type_hints(self.function, include_extras=True)
        found: dict[str, str] = {}
        for key, value in options.items():
            role = next((str(x) for x in getattr(hints.get(key), "__metadata__", ()) if isinstance(x, Role)), None)
            if role and value:
                for name in [value] if isinstance(value, str) else value:
                    found[name] = role
        return found


METHODS: dict[str, Method] = {}


def method(
    *, room: str, name: str = "", version: int = 1, takes: str = "image", captions: bool = False, images: bool = False
) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    """Register an async function as a method; it stays a plain function."""

    def register(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        key = name or getattr(function, "__name__", "").replace("_", "-")
        METHODS[key] = Method(key, function, room, version, takes, captions, images)
        return function

    return register


def get_method(name: str, rooms: Sequence[str] = ("caption", "curate", "translate")) -> Method:
    """Return a method by name.

    Raises:
        UserError: unknown, with "did you mean".
    """
    for room in rooms:
        importlib.import_module(f"panoglot.{room}")
    key = name.replace("_", "-")
    if key not in METHODS:
        raise UserError(f"there is no method '{name}'.{did_you_mean(key, METHODS)}")
    return METHODS[key]


def method_stage(
    name: str,
    options: Mapping[str, Any] | None = None,
    models: Mapping[str, str] | None = None,
    *,
    prices: str | None = None,
    where: str | None = None,
    journal: bool = True,
    processes: int | None = None,
    in_flight: int = 64,
) -> Stage:
    """Make a stage of a method.

    Args:
        name: the method.
        options: its keyword options.
        models: alias to model name; an option may also give a full model name.
        prices: price file.
        where: SQL filter on images or captions.
        journal: keep answers in the dataset's journal.
        processes: worker processes; None chooses by the models.
        in_flight: most items under way at once.
    """
    from panoglot.providers import load_model

    chosen = get_method(name)
    resolved = chosen.resolve(options or {})
    uses = chosen.uses(resolved)
    names = {alias: (models or {}).get(alias, alias) for alias in uses}
    for alias, full in names.items():
        if ":" not in full:
            raise UserError(
                f"method '{name}' asks for a model '{alias}', and none was given: "
                f"--model {alias}=PROVIDER:NAME (panoglot models lists them)."
            )
    loaded = {alias: load_model(full, uses[alias]) for alias, full in names.items()}
    prints = {alias: model.fingerprint for alias, model in loaded.items()}
    served = any(inspect.iscoroutinefunction(getattr(model, "generate", None)) for model in loaded.values())
    if processes is None:
        processes = worker_processes(loaded.values())
    print_ = fingerprint({"method": chosen.name, "version": chosen.version, "options": resolved, "models": prints})
    operator = MethodOperator(
        chosen.name, chosen.function.__module__, resolved, names, print_, prices, journal, in_flight
    )
    return Stage(
        name=f"{chosen.room}.{chosen.name}",
        fingerprint=print_,
        operator=operator,
        of="images" if chosen.takes == "image" else "captions",
        where=where,
        with_captions=chosen.with_captions,
        with_images=chosen.with_images,
        batch=max(512, 16 * in_flight) if served else 256,
        processes=processes,
    )


@dataclass
class MethodOperator:
    """Runs a method over items, many at once."""

    name: str
    module: str
    options: dict[str, Any]
    models: dict[str, str]
    fingerprint: str
    prices: str | None = None
    journal: bool = True
    in_flight: int = 64
    _askers: dict[str, Asker] = field(default_factory=dict, repr=False)

    def open(self, worker: Worker) -> None:
        """Load the models."""
        from panoglot.asking import Budget, Journal, Prices
        from panoglot.providers import load_model
        from panoglot.providers._spend import Account

        importlib.import_module(self.module)
        self._method = METHODS[self.name]
        journal = Journal(worker.dataset.journal) if self.journal else None
        budget = None if worker.max_cost is None else Budget(worker.max_cost)
        prices = Prices.load(self.prices)
        for alias, name in self.models.items():
            model = load_model(name)
            account = Account(worker.run_id, worker.stage_id)
            self._askers[alias] = Asker(
                model, journal=journal, prices=prices, budget=budget, full=name, account=account
            )
        self._journal = journal
        self._runner = asyncio.Runner()

    def process(self, items: Iterator[Item], emit: Emit) -> None:
        """Work through the items."""
        self._runner.run(self._all(items, emit))

    def close(self) -> None:
        """Release models and loop."""
        if not hasattr(self, "_runner"):
            return

        async def close() -> None:
            for asker in self._askers.values():
                await asker.close()

        self._runner.run(close())
        if self._journal is not None:
            self._journal.close()
        self._runner.close()

    async def _all(self, items: Iterator[Item], emit: Emit) -> None:
        """Many items at once. Rows are read and committed in a thread: the loop is free to take answers in."""
        m = Models(self._askers)
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[tuple[str, Outcome]]] = set()
        with ThreadPoolExecutor(1, thread_name_prefix="rows") as rows:
            try:
                while (item := await loop.run_in_executor(rows, next, items, None)) is not None:
                    tasks.add(asyncio.create_task(self._one(item, m)))
                    while len(tasks) >= self.in_flight and time_left():
                        tasks = await self._collect(tasks, emit, rows)
                while tasks and time_left():
                    tasks = await self._collect(tasks, emit, rows)
            finally:
                given_up(len(tasks))
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                if self._journal is not None:
                    await self._journal.settled()  # what was paid for

    async def _collect(
        self, tasks: set[asyncio.Task[tuple[str, Outcome]]], emit: Emit, rows: ThreadPoolExecutor
    ) -> set[asyncio.Task[tuple[str, Outcome]]]:
        """Commit what is done now; the tasks that are not."""
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=0.5)  # is it time to stop?
        found = [task.result() for task in done]

        def commit() -> None:
            for key, outcome in found:
                emit(key, outcome)

        if found:
            await asyncio.get_running_loop().run_in_executor(rows, commit)
        return left

    async def _one(self, item: Item, m: Models) -> tuple[str, Outcome]:
        spent = Spent()
        spending.set(spent)
        try:
            subject = item.image if self._method.takes == "image" else item.caption
            extra = [item.image] if self._method.with_images else []
            result = await self._method.function(subject, *extra, m, **self.options)
            captions = _complete(result, item, self._method, self.fingerprint)
        except RowError as error:
            return item.key, Outcome(reject=error, spent=spent)
        except (BudgetReached, Stopped):
            return item.key, Outcome(pending=True, spent=spent)
        except PanoglotError:
            raise
        except Exception as error:  # a method's bug on one image must not cost the others
            where = _where(error)
            return item.key, Outcome(
                reject=RowError("method_error", f"{type(error).__name__}: {error} ({where})"), spent=spent
            )
        return item.key, Outcome(captions=captions, spent=spent)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else "?"


def _complete(result: Any, item: Item, chosen: Method, print_: str) -> list[Caption]:
    """Fill in ids, recipe and provenance of what a method returned; its unstored parents come first, as drafts."""
    returned: list[Caption] = [] if result is None else [result] if isinstance(result, Caption) else list(result)
    ordered: list[Caption] = []

    def visit(caption: Caption) -> None:
        if any(caption is other for other in ordered):
            return
        for parent in caption.parents:
            if isinstance(parent, Caption) and not parent.caption_id:
                visit(parent)
        ordered.append(caption)

    for caption in returned:
        visit(caption)
    image = item.caption.image_id if item.caption else item.key
    # captions of one image made from different captions must not share ids
    base = fingerprint([print_, item.key]) if item.caption else print_
    ordinals: Counter[tuple[Any, ...]] = Counter()
    for caption in ordered:
        caption.text = normal_text(caption.text)
        if not caption.text:
            raise RowError("empty_caption", f"{chosen.name} made a caption without text")
        caption.lang = parse_language(caption.lang) or "und"
        caption.image_id = image
        caption.recipe = caption.recipe or f"{chosen.name}/{chosen.version}"
        if item.caption and not caption.parents:
            caption.parents = (item.caption,)
        if caption.dropped is None and not any(caption is other for other in returned):
            caption.dropped = "draft"
        place = (caption.lang, caption.region)
        caption.caption_id = caption_id(image, base, caption.lang, caption.region, ordinals[place])
        ordinals[place] += 1
    return ordered
