"""Why a picture and its captions are kept or dropped: every rule's verdict, with what it measured beside its bounds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from panoglot.curation._contract import UNSCORED, Facts, Step, Verdict
from panoglot.curation._measure import Measure, number, recording
from panoglot.table import Caption, Dataset
from panoglot.table._visible import plain

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

__all__ = ["Explained", "Judged", "Ruling", "Watch", "rulings_of"]


@dataclass(frozen=True)
class Ruling:
    """What one rule says of an image or a caption.

    Attributes:
        rule: name of the filter.
        verdict: `keeps`, `drops`, `not_judged` (it has nothing to judge by; kept) or `not_asked`.
        reason: what it drops with.
        measures: what it decided by, with its bounds.
        why: why it did not judge, or was not asked.
    """

    rule: str
    verdict: str
    reason: str | None = None
    measures: tuple[Measure, ...] = ()
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what is not there is left out."""
        found = {"rule": self.rule, "verdict": self.verdict, "reason": self.reason, "why": self.why}
        measures = [measure.to_dict() for measure in self.measures]
        return {**{key: value for key, value in found.items() if value}, "measures": measures}


@dataclass
class Judged:
    """An image or a caption with what all rules say of it.

    Attributes:
        subject: what it is: `image_id` and `uri`, or `caption_id`, `lang`, `kind`, `recipe`, `model` and `text`.
        dropped: the reason by these rules, that of the first rule that has one; None when it is kept.
        stored: the reason that the dataset holds now.
        by_method: a method dropped it, and curation leaves that alone: no rule is asked.
        rulings: of every rule for its kind, in order.
        notes: what else decided, or is to be known.
    """

    subject: dict[str, Any]
    dropped: str | None = None
    stored: str | None = None
    by_method: bool = False
    rulings: list[Ruling] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        decided = {"dropped": self.dropped, "stored": self.stored, "by_method": self.by_method}
        return {**self.subject, **decided, "rulings": [one.to_dict() for one in self.rulings], "notes": self.notes}

    def tell(self) -> list[str]:
        """The notes, and where the dataset says something else than these rules do."""
        if self.by_method:
            return [
                f"a method dropped it ({self.stored}); curation leaves that alone, so no rule is asked",
                *self.notes,
            ]
        if self.stored != self.dropped:
            here = f"drops it: {self.stored}" if self.stored else "keeps it"
            return [f"the dataset {here}; it was curated by other rules, or not since it changed", *self.notes]
        return self.notes


@dataclass
class Explained:
    """Every rule's verdict on one image and each of its captions. Print it, or take `to_dict()`.

    Attributes:
        image: the image.
        captions: its captions, by language and id.
    """

    image: Judged
    captions: list[Judged] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"image": self.image.to_dict(), "captions": [one.to_dict() for one in self.captions]}

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=140, emoji=False, color_system=None, force_terminal=False)
        with console.capture() as capture:
            console.print(self)
        return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        parts: list[RenderableType] = []
        for judged in (self.image, *self.captions):
            parts += [*([Text("")] if parts else []), _head(judged)]
            asked = [one for one in judged.rulings if one.verdict != "not_asked"]
            silent = _not_asked([one for one in judged.rulings if one.verdict == "not_asked"])
            parts += [_table(asked)] if asked else []
            parts += [Text(f"  {plain(note)}", style="dim") for note in (*silent, *judged.tell())]
        if not self.captions:
            parts += [Text(""), Text("no caption of it yet", style="dim")]
        return Group(*parts)


def _head(judged: Judged) -> Any:
    from rich.text import Text

    s = judged.subject
    if "text" in s:
        line = Text.assemble((f"{plain(s['lang'])}  {plain(s['kind'])}  ", "cyan"), plain(s["text"]))
    else:
        line = Text.assemble(("image  ", "cyan"), f"{s['image_id']}  {plain(s['uri'] or '')}")
    line.append("  → ")
    gone = judged.stored if judged.by_method else judged.dropped
    return line.append(f"dropped: {plain(gone)}", "red") if gone else line.append("kept", "green")


def _table(rulings: Sequence[Ruling]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("  rule", "verdict", "measured", "bound"):
        table.add_column(name, header_style="dim")
    colours = {"drops": "red", "keeps": "", "not_judged": "yellow"}
    for ruling in rulings:
        kind, _, whose = (ruling.reason or "").partition(":")
        says = f"drops: {plain(kind)}{whose and ':'}{whose[:12]}" if kind else ruling.verdict.replace("_", " ")
        shown = [(f"{plain(m.name)} {_value(m)}", m.bounds) for m in ruling.measures if not m.missing]
        lines = [*shown, *([(plain(ruling.why), "")] if ruling.why else [])] or [("", "")]
        for n, (what, bound) in enumerate(lines):
            first = (f"  {ruling.rule}", says) if n == 0 else ("", "")
            table.add_row(*first, what, bound, style=colours[ruling.verdict])
    return table


def _not_asked(rulings: Sequence[Ruling]) -> list[str]:
    """The rules that were not asked, a line for every reason."""
    names: dict[str, list[str]] = {}
    for ruling in rulings:
        names.setdefault(ruling.why, []).append(ruling.rule)
    return [f"not asked, {why}: {', '.join(some)}" for why, some in names.items()]


def _value(measure: Measure) -> str:
    return plain(measure.value) if isinstance(measure.value, str) else number(measure.value or 0)


def _rule(name: str, verdict: Verdict, measures: Sequence[Measure]) -> Ruling:
    if verdict is UNSCORED:
        last = measures[-1] if measures else None
        if last is None:
            why = "it could not say"
        elif last.missing:
            why = f"no {last.name}"
        else:
            why = (
                f"{last.name}: {_value(last)}, judged from {last.bounds}"
                if last.bounds
                else f"{last.name}: {_value(last)}"
            )
        return Ruling(name, "not_judged", None, tuple(measures), why)
    if verdict is None:
        return Ruling(name, "keeps", None, tuple(measures))
    return Ruling(name, "drops", str(verdict), tuple(measures))


class Watch:
    """Looks over the shoulder of those who judge, for one image; one without an image sees nothing.

    Args:
        image_id: whom to watch.
        uri: where it came from.
        steps: all steps, in order.
    """

    def __init__(self, image_id: str | None = None, uri: str = "", steps: Sequence[Step] = ()) -> None:
        self.image_id = image_id
        self.found = Explained(Judged({"image_id": image_id, "uri": uri}))
        self._order = {id(step): n for n, step in enumerate(steps)}
        self._grouped: dict[int, tuple[Measure, ...]] = {}
        self._rulings: dict[int, Ruling] = {}

    @contextlib.contextmanager
    def group(self, step: Step) -> Iterator[None]:
        """Keep what a filter over all images measures of this one."""
        if self.image_id is None:
            yield
            return
        with recording(self.image_id) as measures:
            yield
        self._grouped[id(step)] = tuple(measures)

    def image(
        self, asked: Sequence[tuple[Step, Callable[..., Verdict]]], facts: Facts, old: str | None, reason: str | None
    ) -> None:
        """Ask all filters on images about this one."""
        self.found.image.stored, self.found.image.dropped = old, reason
        for step, function in asked:
            with recording(self.image_id) as measures:
                verdict = function(facts)
            measures += self._grouped.get(id(step), ())
            self._rulings[self._order[id(step)]] = _rule(step.name, verdict, measures)

    def image_of_method(self, reason: str) -> None:
        """Take down that a method dropped the image."""
        self.found.image.stored, self.found.image.by_method = reason, True

    def pairs(
        self, dataset: Dataset, finders: Sequence[Step], members: Sequence[str], keepers: Mapping[str, str]
    ) -> None:
        """Ask the pair finders, when it is settled who stays.

        Args:
            dataset: the dataset.
            finders: the steps.
            members: images that finders put together with this one and that the other rules keep.
            keepers: image id of a copy to that of the one that stays.
        """
        image, mine = self.found.image, str(self.image_id)
        if self.image_id is None or image.by_method:
            return
        keeper, earlier = keepers.get(mine), image.dropped
        others = [one for one in members if one != mine]
        copies = sum(keepers.get(one) == mine for one in others)
        other = keeper or next((one for one in others if keepers.get(one) == mine), others[0] if others else None)
        found = []
        for step in finders:
            with recording(mine) as measures:
                verdict = step.filter.compare(dataset, mine, other, step.options) if step.filter.compare else None
            found.append((step, _rule(step.name, verdict, measures)))
        near = [step for step, one in found if any(not m.missing and not m.within for m in one.measures[-1:])]
        for step, one in found:
            if keeper and (step in near or not near):
                one = replace(one, verdict="drops", reason=f"duplicate_of:{keeper}", why="")
            elif earlier is not None and one.verdict == "keeps":
                one = replace(one, verdict="not_asked", why="for copies are sought among what the other rules keep")
            elif others and not copies and not keeper and step in near:
                one = replace(one, why="stays: captions or pixels differ")
            self._rulings[self._order[id(step)]] = one
        if keeper:
            image.dropped = f"duplicate_of:{keeper}"
        if copies:
            image.notes.append(f"it stays for {copies:,} {'copy' if copies == 1 else 'copies'} of it")

    def caption(self, caption: Caption, rulings: Sequence[Ruling], reason: str | None) -> None:
        """Take down what was said of a caption."""
        judged = Judged(_about(caption), reason, caption.dropped, rulings=list(rulings))
        if reason is not None and all(one.reason != reason for one in rulings):
            judged.notes.append("it came over from a picture that is no copy now")
        self.found.captions.append(judged)

    def caption_of_method(self, caption: Caption) -> None:
        """Take down that a method dropped a caption."""
        self.found.captions.append(Judged(_about(caption), None, caption.dropped, by_method=True))

    def explained(self) -> Explained:
        """All that was seen."""
        found = self.found
        found.image.rulings = [ruling for _, ruling in sorted(self._rulings.items())]
        if found.image.stored is not None and (found.image.by_method or found.image.dropped) and found.captions:
            found.image.notes.append("captions of a dropped image are left as they are")
        found.captions.sort(key=lambda one: (one.subject["lang"], one.subject["caption_id"]))
        return found


def rulings_of(
    steps: Sequence[Step], ask: Callable[[int, Step], Verdict], caption: Caption, image: str | None
) -> list[Ruling]:
    """What every filter on captions says of one."""
    found = []
    for place, step in enumerate(steps):
        if step.filter.unit not in ("caption", "text_group"):
            continue
        if caption.kind not in step.kinds:
            kinds = ", ".join(sorted(step.kinds))
            found.append(Ruling(step.name, "not_asked", why=f"for it judges {kinds}"))
            continue
        with recording(image) as measures:
            verdict = ask(place, step)
        found.append(_rule(step.name, verdict, measures))
    return found


def _about(caption: Caption) -> dict[str, Any]:
    names = ("caption_id", "lang", "kind", "recipe", "model", "text")
    return {name: getattr(caption, name) for name in names}
