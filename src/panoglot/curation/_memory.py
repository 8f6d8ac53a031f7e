"""What curation knows from last time, so that nothing is judged twice by the same rules.

Four things are kept in the dataset's `work` folder, all derived and safe to delete:

- `curate-RULES.npz`: what the caption filters said of a caption, by a 64-bit hash of all that they may read of it.
- `curate-RULES.json`: what a whole curation decided, with the versions of the tables that it left: while those stand,
  neither a row nor a statistic of the whole is looked at again.
- `near-DISTANCE.npz`: the hashes of pictures that were compared with each other, and which were near: pictures that
  come later are compared with them, not they with each other once more.
- `groups-FINDERS.npz`: which pictures the finders put together; `FINDERS` is a hash of the finders and of the contents
  of all that they read, so that new captions alone are no reason to compare all pictures again.

`RULES` is a hash of the filters, their options, the models and files that those name, and the code that judges.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from panoglot.curation._contract import Facts, Step, Unscored, Verdict
from panoglot.curation._count import key64
from panoglot.identity import fingerprint
from panoglot.providers import load_model
from panoglot.table import Caption, Dataset, Table, is_dataset

if TYPE_CHECKING:
    import numpy as np

    from panoglot.vectors import Compared, ImageIndex

__all__ = [
    "Judgements",
    "Outcome",
    "keep_pairs",
    "kept_groups",
    "kept_pairs",
    "loaded",
    "recall",
    "remember",
    "rules_of",
    "table_versions",
]

#: What the caption filters said of a caption: (number of the step, reason or None for "could not judge"), in order;
#: those that would keep it are not named.
Outcome = tuple[tuple[int, str | None], ...]
#: Table to its version and what tells its content.
Versions = dict[str, tuple[int, str]]
#: Files of other rules that are kept beside the newest.
_KEPT = 4
#: Most pairs of near pictures that are kept, beside four a picture.
_PAIRS = 1 << 20
_TABLES = ("images", "marks", "hashes", "captions")
#: Tables that no finder of ours reads.
_DECISIONS = ("marks", "captions")


def rules_of(steps: Sequence[Step]) -> str | None:
    """Hash all that decides but the rows; None when the code of a filter cannot be read (it was typed into a shell)."""
    found: list[Any] = [_code(str(Path(__file__).parent))]
    for step in steps:
        source = getattr(step.filter.function, "__code__", None)
        if source is None or not os.path.isfile(source.co_filename):
            return None
        models = {}
        for option, role in step.filter.models.items():
            if name := step.options.get(option):
                # what writes scores may be trained anew while this process lives; who names languages is loaded once
                load = loaded if role == "language_identifier" else load_model
                models[option] = load(name, role).fingerprint
        files = {key: _state(value) for key, value in step.options.items() if isinstance(value, str) and value}
        found.append([step.name, dict(step.options), models, files, _code(source.co_filename)])
    return fingerprint(found)


@lru_cache(maxsize=4)
def loaded(name: str, role: str | None) -> Any:
    """A model that filters ask, loaded once in a process."""
    return load_model(name, role)


@lru_cache(maxsize=64)
def _code(path: str) -> str:
    """Hash a source file, or those of a folder."""
    files = sorted(Path(path).glob("*.py")) if os.path.isdir(path) else [Path(path)]
    return f"{key64(*(file.read_text('utf-8', 'replace') for file in files)):016x}"


def _state(value: str) -> Any:
    """What changes when a file or dataset that an option names does."""
    path = Path(value)
    try:
        if path.is_file():
            return [path.stat().st_size, path.stat().st_mtime_ns]
        if is_dataset(value):
            return {name: content for name, (_, content) in table_versions(Dataset(value)).items()}
    except (OSError, ValueError):  # a name that no file can have
        pass
    return None


def table_versions(dataset: Dataset) -> Versions:
    """Version and content of every table that curation reads; compacting and indexing a table leave its content."""
    tables = {name: getattr(dataset, name) for name in _TABLES}
    tables |= {f"vectors/{name}": dataset.vectors(name) for name in dataset.vector_names()}
    return {name: _content(table) for name, table in tables.items() if table.exists()}


def _content(table: Table) -> tuple[int, str]:
    """The newest version, and the id of the last transaction that changed rows."""
    import lance

    data = table.lance()
    newest = version = int(data.version)
    while version:
        try:
            done = data.read_transaction(version)
        except (OSError, RuntimeError, ValueError):  # forgotten: what is left of the table began there
            break
        except TypeError as error:  # Lance writes but cannot read what joining fragments did to an index
            if "RewrittenIndex" not in str(error):
                raise
            version -= 1
            continue
        if done is None:
            break
        # numbers that are reserved before fragments are joined come as the base class
        reserved = type(done.operation) is lance.LanceOperation.BaseOperation
        if not reserved and not isinstance(
            done.operation, lance.LanceOperation.Rewrite | lance.LanceOperation.CreateIndex
        ):
            return newest, done.uuid
        version -= 1
    return newest, f"before version {version + 1}"


def recall(dataset: Dataset, rules: str | None) -> dict[str, Any] | None:
    """What a whole curation by these rules decided, if the tables hold what it left."""
    if rules is None:
        return None
    try:
        found = json.loads(dataset.store.read(f"work/curate-{rules}.json"))
        contents = {name: content for name, (_, content) in table_versions(dataset).items()}
        return dict(found["result"]) if found["tables"] == contents else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(
    dataset: Dataset, rules: str | None, before: Versions, commits: Mapping[str, int], result: Mapping[str, Any]
) -> None:
    """Keep what a curation decided, unless somebody else wrote meanwhile.

    Args:
        dataset: the dataset.
        rules: of `rules_of`.
        before: the versions of the tables that it read.
        commits: table to the versions that it made itself.
        result: what it decided.
    """
    after = table_versions(dataset)
    for name, (version, content) in after.items():
        old = before.get(name, (0, ""))
        if version != old[0] + commits.get(name, 0) and (name in commits or content != old[1]):
            return
    if rules is not None:
        text = json.dumps({"tables": {name: content for name, (_, content) in after.items()}, "result": result})
        _replace(dataset, f"curate-{rules}.json", lambda file: file.write(text.encode()))


def kept_groups(
    dataset: Dataset, finders: Sequence[Step], images: ImageIndex, find: Callable[[], np.ndarray], *, dry_run: bool
) -> np.ndarray:
    """The group of every image, int64 `[N]`, from the last time if the finders read the same then, else of `find`."""
    import numpy as np

    rules = rules_of(finders)
    ours = all(step.filter.function.__module__.startswith("panoglot.curation.") for step in finders)
    versions = table_versions(dataset).items()
    contents = {name: content for name, (_, content) in versions if not (ours and name in _DECISIONS)}
    ids = hashlib.blake2b(images.ids.tobytes(), digest_size=8).hexdigest()
    name = f"groups-{fingerprint([rules, contents, ids])}.npz"
    roots = np.arange(len(images), dtype=np.int64)
    try:
        with dataset.store.open(f"work/{name}") as file, np.load(file) as known:
            roots[known["places"]] = known["roots"]
        return roots
    except (OSError, ValueError, KeyError, EOFError, IndexError, zipfile.BadZipFile):
        pass
    roots = find()
    places = np.flatnonzero(roots != np.arange(len(roots)))
    if rules is not None and not dry_run:
        _replace(dataset, name, lambda file: np.savez(file, places=places, roots=roots[places]))
    return roots


def kept_pairs(dataset: Dataset, distance: int) -> Compared:
    """The codes that were compared last time at this distance, and their pairs; none where there was no last time."""
    import numpy as np

    from panoglot.vectors import Compared

    try:
        with dataset.store.open(f"work/near-{distance}.npz") as file, np.load(file) as known:
            codes, pairs = known["codes"], known["pairs"]
        sound = codes.dtype == np.uint8 and codes.shape[1:] == (32,)
        if sound and pairs.min(initial=0) >= 0 and pairs.max(initial=-1) < len(codes):
            return Compared(codes, pairs[0], pairs[1])
    except (OSError, ValueError, KeyError, EOFError, IndexError, zipfile.BadZipFile):
        pass
    return Compared(np.empty((0, 32), np.uint8), np.empty(0, np.int64), np.empty(0, np.int64))


def keep_pairs(dataset: Dataset, distance: int, found: Compared) -> None:
    """Keep what was compared, unless nearly everything is near: pairs would outgrow the codes without end."""
    import numpy as np

    if len(found.left) <= _PAIRS + 4 * len(found.codes):
        pairs = np.stack([found.left, found.right])
        _replace(dataset, f"near-{distance}.npz", lambda file: np.savez(file, codes=found.codes, pairs=pairs))


class Judgements:
    """Asks the caption filters of some steps, each caption once for ever.

    Args:
        dataset: where what was said is kept.
        steps: number, step and function of every caption filter, in order.
        rules: of `rules_of`; None keeps nothing.
        dry_run: read what was kept, keep nothing new.
    """

    def __init__(
        self,
        dataset: Dataset,
        steps: Sequence[tuple[int, Step, Callable[..., Verdict]]],
        rules: str | None,
        *,
        dry_run: bool,
    ) -> None:
        import numpy as np

        self._steps = [(number, step.kinds, function) for number, step, function in steps]
        self._needs = {need for _, step, _ in steps for need in step.filter.needs}
        self._dataset = dataset
        self._name = f"curate-{rules}.npz" if rules is not None and steps else None
        self._dry_run = dry_run
        self._known, self._codes = np.empty(0, np.uint64), np.empty(0, np.uint32)
        self._outcomes: list[Outcome] = [()]
        self._code_of: dict[Outcome, int] = {(): 0}
        self._new: dict[int, int] = {}
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []
        self.judged = 0
        self._load()

    def _load(self) -> None:
        import numpy as np

        if self._name is None:
            return
        try:
            with self._dataset.store.open(f"work/{self._name}") as file, np.load(file) as found:
                outcomes = [tuple((n, reason) for n, reason in one) for one in json.loads(str(found["outcomes"]))]
                known, codes = found["keys"], found["codes"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return  # half a file: judge anew
        if outcomes and len(known) == len(codes) and int(codes.max(initial=0)) < len(outcomes):
            self._outcomes, self._known, self._codes = outcomes, known, codes
            self._code_of = {outcome: code for code, outcome in enumerate(outcomes)}

    def __call__(
        self, captions: Sequence[Caption], facts_of: Mapping[str, Facts], *, last: bool = False
    ) -> list[Outcome]:
        """What the filters say of some captions.

        Args:
            captions: the captions.
            facts_of: facts of their images, where a filter needs them.
            last: this is the pass over all captions: what it does not ask for is forgotten.
        """
        import numpy as np

        if not self._steps or not captions:
            return [()] * len(captions)
        image = "image" in self._needs
        keys = np.array([_key(c, facts_of.get(c.image_id) if image else None) for c in captions], np.uint64)
        at = np.minimum(np.searchsorted(self._known, keys), max(0, len(self._known) - 1))
        known = self._known[at] == keys if len(self._known) else np.zeros(len(keys), bool)
        codes = np.where(known, self._codes[at] if len(self._known) else 0, 0).astype(np.uint32)
        for n in np.flatnonzero(~known).tolist():
            key = int(keys[n])
            code = self._new.get(key)
            if code is None:
                code = self._judge(captions[n], facts_of.get(captions[n].image_id, {}))
                if not last:
                    self._new[key] = code
            codes[n] = code
        if len(self._new) > max(1 << 16, len(self._known) // 4):
            self._settle()
        if last and self._name is not None:
            self._seen.append((keys, codes))
        return [self._outcomes[code] for code in codes.tolist()]

    def _settle(self) -> None:
        """Put what is new to what is known: 12 bytes a caption instead of some 150."""
        import numpy as np

        keys = np.concatenate([self._known, np.fromiter(self._new, np.uint64, len(self._new))])
        codes = np.concatenate([self._codes, np.fromiter(self._new.values(), np.uint32, len(self._new))])
        order = np.argsort(keys, kind="stable")
        self._known, self._codes, self._new = keys[order], codes[order], {}

    def _judge(self, caption: Caption, facts: Facts) -> int:
        self.judged += 1
        said: list[tuple[int, str | None]] = []
        for number, kinds, function in self._steps:
            if caption.kind not in kinds:
                continue
            verdict = function(caption, facts)
            if isinstance(verdict, Unscored):
                said.append((number, None))
            elif verdict is not None:
                said.append((number, verdict))
                break
        outcome = tuple(said)
        code = self._code_of.setdefault(outcome, len(self._outcomes))
        if code == len(self._outcomes):
            self._outcomes.append(outcome)
        return code

    def save(self) -> None:
        """Keep what was said of the captions of the last pass, if any of it is new."""
        import numpy as np

        if self._name is None or self._dry_run or not self.judged or not self._seen:
            return
        keys, codes = (np.concatenate([part[n] for part in self._seen]) for n in range(2))
        keys, first = np.unique(keys, return_index=True)
        outcomes = np.array(json.dumps(self._outcomes))

        def write(file: BinaryIO) -> None:
            np.savez(file, keys=keys, codes=codes[first], outcomes=outcomes)

        _replace(self._dataset, self._name, write)


def _key(caption: Caption, facts: Facts | None) -> int:
    """64 bits of all that a caption filter may read."""
    c = caption
    more = ""
    if c.scores or c.region is not None or c.parents or facts:
        facts = facts and {name: value for name, value in facts.items() if name != "place"}
        more = repr((sorted(c.scores.items()), c.region, tuple(c.parents), facts))
    return key64(c.caption_id, c.image_id, c.text, c.lang, c.kind, c.recipe, c.model, more)


def _replace(dataset: Dataset, name: str, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file as a whole, and forget the oldest of its kind."""
    work = dataset.store.at("work")
    work.make()
    with work.writing(name) as file:
        write(file)
    kind, end = f"{name.partition('-')[0]}-", name[name.rindex(".") :]
    others = [one for one in work.names() if one.startswith(kind) and one.endswith(end)]
    others.sort(key=lambda one: work.facts(one).changed)
    for old in others[: -_KEPT - 1]:
        work.remove(old)
