"""Which pictures a search may find, as a condition that people write: `lang='de' and width>800 and not kind='label'`.

`fact.NAME` is a fact of that kind: `fact.colour='red' and fact.people>2`.

Names are checked, values are quoted by us: nothing of what was written reaches the engine as it stands.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from panoglot.errors import UserError, did_you_mean
from panoglot.languages import canonical_language, meeting
from panoglot.retrieval._filter import Allowed, ids_of
from panoglot.table import KINDS, Dataset, sql_in

if TYPE_CHECKING:
    import numpy as np

__all__ = ["NAMES", "Atom", "Condition", "images_where", "read_where"]

#: What can be asked for: name to (table, type).
NAMES = {
    "width": ("images", "number"), "height": ("images", "number"), "size": ("images", "number"),
    "time": ("images", "time"), "format": ("images", "text"), "group": ("images", "text"), "uri": ("images", "text"),
    "split": ("images", "text"), "recipe": ("images", "text"), "author": ("images", "text"),
    "licence": ("images", "text"), "asset_id": ("images", "text"), "image_id": ("images", "text"),
    "lang": ("captions", "text"), "kind": ("captions", "text"), "model": ("captions", "text"),
    "text": ("captions", "text"),
    "make": ("facts", "text"), "camera": ("facts", "text"), "keyword": ("facts", "text"), "city": ("facts", "text"),
    "state": ("facts", "text"), "country": ("facts", "text"), "gps": ("facts", "text"),
}  # fmt: skip
#: What the name of a fact begins with.
FACT = "fact."
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")|(?P<number>-?\d+(?:\.\d+)?(?![\w-]))"
    r"|(?P<op><=|>=|!=|<>|==|=|<|>|\(|\)|,|~)|(?P<word>[\w.-]+))"
)
_OPS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
#: Longest condition, in characters.
_LONGEST = 10_000
#: Numbers up to here are compared: those that a float holds to the last digit.
_LARGEST = 1e15


@dataclass(frozen=True)
class Atom:
    """A comparison: a name, an operator (`=`, `!=`, `<` …, `in`, `like`), values."""

    name: str
    op: str
    values: tuple[str | float, ...]


@dataclass(frozen=True)
class Condition:
    """Comparisons joined: `and`, `or`, `not` of others."""

    op: str
    parts: tuple[Condition | Atom, ...]


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.tokens: list[tuple[str, str]] = []
        while self.at < len(text.rstrip()):
            found = _TOKEN.match(text, self.at)
            if not found:
                raise UserError(f"where is not understood at '{text[self.at :][:20]}': write for example {EXAMPLE}")
            self.tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            self.at = found.end()
        self.n = 0

    def peek(self) -> str:
        return self.tokens[self.n][1].lower() if self.n < len(self.tokens) else ""

    def take(self, what: str = "") -> tuple[str, str]:
        if self.n >= len(self.tokens):
            raise UserError(f"where ends too early: '{self.text}'; write for example {EXAMPLE}")
        kind, value = self.tokens[self.n]
        if what and value.lower() != what:
            raise UserError(f"where: '{what}' is missing before '{value}'; write for example {EXAMPLE}")
        self.n += 1
        return kind, value

    def either(self, depth: int = 0) -> Condition | Atom:
        if depth > 50:
            raise UserError("where has too many brackets.")
        parts = [self.both(depth)]
        while self.peek() == "or":
            self.take()
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else Condition("or", tuple(parts))

    def both(self, depth: int) -> Condition | Atom:
        parts = [self.one(depth)]
        while self.peek() == "and":
            self.take()
            parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else Condition("and", tuple(parts))

    def one(self, depth: int) -> Condition | Atom:
        if self.peek() == "not":
            if depth > 50:
                raise UserError("where says 'not' too often.")
            self.take()
            return Condition("not", (self.one(depth + 1),))
        if self.peek() == "(":
            self.take()
            inner = self.either(depth + 1)
            self.take(")")
            return inner
        return self.atom()

    def atom(self) -> Atom:
        kind, name = self.take()
        if kind != "word" or not (name in NAMES or (name.startswith(FACT) and name != FACT)):
            raise UserError(f"where knows no '{name}'.{did_you_mean(name, [*NAMES, FACT + 'NAME'])}")
        _, op = self.take()
        if op.lower() == "not" and self.peek() == "in":
            self.take()
            return Atom(name, "not in", self.values(name))
        if op.lower() == "in":
            return Atom(name, "in", self.values(name))
        if op.lower() in ("like", "~"):
            return Atom(name, "like", (self.value(name, like=True),))
        if op not in _OPS:
            raise UserError(f"where: '{op}' after {name} is no comparison: =, !=, <, <=, >, >=, in, like.")
        return Atom(name, _OPS[op], (self.value(name),))

    def values(self, name: str) -> tuple[str | float, ...]:
        self.take("(")
        found = [self.value(name)]
        while self.peek() == ",":
            self.take()
            found.append(self.value(name))
        self.take(")")
        return tuple(found)

    def value(self, name: str, *, like: bool = False) -> str | float:
        kind, raw = self.take()
        if kind == "op":
            raise UserError(f"where: a value is missing after {name}; write for example {EXAMPLE}")
        text = raw[1:-1].replace(raw[0] * 2, raw[0]) if kind == "text" else raw
        wanted = NAMES[name][1] if name in NAMES else "number" if kind == "number" and not like else "text"
        if wanted == "text" or like:
            return text
        if wanted == "time" and not re.fullmatch(r"-?\d+(\.\d+)?", text):
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                raise UserError(
                    f"where: '{text}' is no time: write '2024-01-31', '2024-01-31T12:00' or seconds."
                ) from None
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not abs(number) < _LARGEST:
            raise UserError(f"where: {name} is a number, '{text[:40]}' is none, or too large.")
        return number


EXAMPLE = "\"lang='de' and width>800 and time>'2024-01-01'\""


def read_where(text: str) -> Condition | Atom:
    """Read a condition.

    >>> read_where("width > 800 and lang = 'de'")
    Condition(op='and', parts=(Atom(name='width', op='>', values=(800.0,)), Atom(name='lang', op='=', values=('de',))))

    Raises:
        UserError: not a condition, an unknown name (with "did you mean"), a value of another type.
    """
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise UserError("where holds half a character (a surrogate).")
    if len(text) > _LONGEST:
        raise UserError(f"where has {len(text):,} characters; {_LONGEST:,} are read.")
    reader = _Reader(text)
    if not reader.tokens:
        raise UserError(f"where is empty; write for example {EXAMPLE}")
    found = reader.either()
    if reader.n < len(reader.tokens):
        raise UserError(f"where is not understood at '{reader.tokens[reader.n][1]}'; write for example {EXAMPLE}")
    return found


def ids_where(dataset: Dataset, where: str) -> list[str]:
    """Sorted ids of the images of which a condition holds.

    Raises:
        UserError: as `read_where`.
    """
    return [one.decode() for one in images_where(dataset, read_where(where), Allowed(dataset)).tolist()]


def images_where(dataset: Dataset, condition: Condition | Atom, allowed: Allowed) -> np.ndarray:
    """Ids of the images that a condition takes, sorted, `S32`; one on captions or facts: images with such a one."""
    import numpy as np

    if isinstance(condition, Atom):
        return _atom(dataset, condition, allowed)
    parts = [images_where(dataset, part, allowed) for part in condition.parts]
    if condition.op == "not":
        return np.setdiff1d(allowed.every(), parts[0], assume_unique=True)
    joined = parts[0]
    for part in parts[1:]:
        joined = np.intersect1d(joined, part, assume_unique=True) if condition.op == "and" else np.union1d(joined, part)
    return joined


def _atom(dataset: Dataset, atom: Atom, allowed: Allowed) -> np.ndarray:
    import numpy as np

    if atom.name.startswith(FACT):
        return _fact(dataset, atom, allowed)
    table, _ = NAMES[atom.name]
    if atom.name == "lang" and atom.op in ("=", "in", "!=", "not in"):
        tags, _ = meeting([canonical_language(str(one)) for one in atom.values], allowed.languages())
        sql = sql_in("lang", tags)
    elif atom.name == "kind" and (odd := [str(v) for v in atom.values if atom.op != "like" and v not in KINDS]):
        raise UserError(f"there is no kind of caption '{odd[0]}'.{did_you_mean(odd[0], KINDS)}")
    else:
        sql = _sql(atom)
    if table == "captions":
        sql = f"dropped is null and ({sql})"
    elif table == "facts":  # what the file says, and no model
        sql = f"kind = '{atom.name}' and source = 'file' and ({sql})"
    found = ids_of(getattr(dataset, table).read(["image_id"], sql)["image_id"])
    if table != "images" and atom.op in ("!=", "not in"):  # has no such caption or fact
        return np.setdiff1d(allowed.every(), found, assume_unique=True)
    return found


def _fact(dataset: Dataset, atom: Atom, allowed: Allowed) -> np.ndarray:
    """Images with such a fact; a number is compared with its value, else its text; `!=`: those that have none."""
    import numpy as np

    numbers = all(isinstance(value, float) for value in atom.values)
    values = atom.values if numbers else tuple(str(value) for value in atom.values)
    sql = _sql(Atom(atom.name, atom.op, values), "value" if numbers else "text")
    where = f"{sql_in('kind', [atom.name.removeprefix(FACT)])} and ({sql})"
    found = ids_of(dataset.facts.read(["image_id"], where)["image_id"])
    if not len(found):
        _check_fact(dataset, atom.name.removeprefix(FACT))
    return np.setdiff1d(allowed.every(), found, assume_unique=True) if atom.op in ("!=", "not in") else found


def _check_fact(dataset: Dataset, kind: str) -> None:
    """Refuse a fact that no image has: it is misspelt, or nothing made it yet."""
    if dataset.facts.count(sql_in("kind", [kind])):
        return
    there = sorted(dataset.facts.read(["kind"])["kind"].unique().to_pylist())
    known = (
        f" Facts here: {', '.join(there)}."
        if there
        else " There are no facts here: panoglot caption --schema makes some."
    )
    raise UserError(f"where: no image has a fact '{kind}'.{did_you_mean(kind, there) or known}")


def _sql(atom: Atom, column: str = "") -> str:
    """A comparison as SQL; of captions and facts, `!=` is turned round by the caller."""
    table = NAMES[atom.name][0] if not column else "facts"
    several = table != "images"
    column = f"`{column or ('text' if table == 'facts' else atom.name)}`"

    def quoted(value: str | float) -> str:
        if isinstance(value, float):
            return str(int(value)) if value.is_integer() and atom.name != "time" else repr(value)
        return "'" + value.replace("'", "''") + "'"

    if any(isinstance(value, float) and not value.is_integer() for value in atom.values):
        column = f"cast({column} as double)"

    if atom.op in ("in", "not in"):
        within = f"{column} in ({', '.join(map(quoted, atom.values))})"
        return within if atom.op == "in" or several else f"not ({within})"
    op = "=" if atom.op == "!=" and several else atom.op
    return f"{column} {op} {quoted(atom.values[0])}"
