"""Which caption of a picture is used: language plans (Centurio, mBLIP) and mixes of kinds (VeCLIP, Revisit), stored."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoglot._version import __version__
from panoglot.checks import several
from panoglot.errors import UserError, command, did_you_mean, verb
from panoglot.languages import matches, meeting
from panoglot.languages._tags import canonical_language
from panoglot.networks.samplers import Draw
from panoglot.running._runs import finish_run
from panoglot.table import Dataset, open_dataset

__all__ = ["POLICIES", "Plan", "deal_by_shares", "deal_evenly", "mix", "plan_languages", "share_of_kinds"]

#: Language to picture to caption.
_Pool = dict[str, dict[str, str]]
#: Kinds of captions that say what is in the whole picture, the preferred one first.
_TOLD = ("human", "short", "dense", "alt")
#: Policy to weights of kinds.
POLICIES = {
    "veclip": {"alt": 0.5, "short": 0.5},
    "revisit-clip": {"alt": 0.55, "short": 0.45},
    "revisit-mllm": {"alt": 1 / 3, "dense": 2 / 3},
    "revisit-diffusion": {"alt": 0.5, "dense": 0.5},
}


@dataclass
class Plan:
    """Which caption of which picture is used.

    Attributes:
        name: by which `export` and `subset` take it.
        images: pictures with a caption in it.
        planned: language or kind to the number that was asked for; for a mix, to its weight.
        used: language or kind to captions.
        missing: language to captions that there are not.
        tiers: tier to captions, where tiers were given.
        without: pictures that are kept and not in the plan: those in `untold`, and those that the budget leaves out.
        untold: kept pictures that have no caption of the kinds and languages.
        notes: what limits the plan and what mends it, a line each; what was asked for and is not there.
    """

    name: str
    images: int = 0
    planned: dict[str, float] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    tiers: dict[str, int] = field(default_factory=dict)
    without: int = 0
    untold: int = 0
    notes: list[str] = field(default_factory=list)


def deal_evenly(budget: int, share_en: float, langs: Sequence[str]) -> dict[str, int]:
    """Deal a budget: a share to English, the rest evenly over the others, what is left over one by one.

    Source: Centurio (arXiv 2501.05122), half English and 99 languages.

    >>> deal_evenly(10, .5, ["en", "sw", "de", "th"])
    {'en': 5, 'sw': 2, 'de': 2, 'th': 1}
    """
    others = [lang for lang in dict.fromkeys(langs) if lang != "en"]
    english = round(share_en * budget) if others else budget
    each, left = divmod(budget - english, max(1, len(others)))
    dealt = {"en": english} if english else {}
    return dealt | {lang: each + (n < left) for n, lang in enumerate(others)}


def deal_by_shares(budget: int, shares: Mapping[str, float], least: int = 0) -> dict[str, int]:
    """Deal a budget by shares in percent, rounded down; a language gets `least` at least.

    Source: mBLIP (arXiv 2307.06930): shares are those of the languages in a corpus of texts.

    >>> deal_by_shares(1000, {"en": 43.84, "ru": 11.31, "yo": .00097}), deal_by_shares(1000, {"yo": .00097}, least=5)
    ({'en': 438, 'ru': 113, 'yo': 0}, {'yo': 5})
    """
    return {lang: max(least, int(budget * share / 100)) for lang, share in shares.items()}


def share_of_kinds(weights: Mapping[str, float], there: Sequence[str]) -> dict[str, float]:
    """Weights of the kinds that a picture has, which sum to 1; none where it has none of weight.

    >>> share_of_kinds({"alt": .5, "short": .25, "dense": .25}, ["short", "dense"])
    {'short': 0.5, 'dense': 0.5}
    """
    usable = {kind: weight for kind, weight in weights.items() if weight > 0 and kind in there}
    total = sum(usable.values())
    return {kind: weight / total for kind, weight in usable.items()}


@verb
def plan_languages(
    dataset: Dataset | str | os.PathLike[str],
    *,
    budget: float,
    share_en: float = 0.5,
    lang: str | Sequence[str] = (),
    shares: str | None = None,
    tiers: str | None = None,
    from_tier: int = 1,
    least: int = 0,
    name: str = "languages",
    seed: int = 0,
) -> Plan:
    """Plan which picture is told in which language: each in one, so many in each, and store it under a name.

    Half of the budget is English and the rest is dealt evenly (Centurio), unless shares are given (mBLIP). Languages
    with the fewest captions choose first, each in an order drawn by `seed`. What there is too little of is said.

    Memory: some 200 bytes a caption.

    Args:
        dataset: a dataset or its path.
        budget: captions in all.
        share_en: share of English.
        lang: the languages; those that are there, or those of the tiers, when none are given.
        shares: a YAML or JSON file of language to percent, instead of an even share.
        tiers: a YAML or JSON file of tier to languages, 5 the richest (Joshi et al., 2020).
        from_tier: only languages of this tier and higher ones.
        least: captions that every language gets at least, with `shares`.
        name: of the plan; `export --plan NAME` and `subset --plan NAME` take it.
        seed: another draw.

    Raises:
        UserError: a share or file that is none, or no language of the plan is there.
    """
    if not (0 <= share_en <= 1 and budget >= 1):
        raise UserError(f"budget={budget:g} must be at least 1, and share_en={share_en} between 0 and 1.")
    _check_name(name)
    data = open_dataset(dataset)
    levels = {int(tier): _tags(langs) for tier, langs in _file(tiers).items()} if tiers else {}
    here = _kept(data)
    pool = _pool(data, here)
    wanted = [canonical_language(tag) for tag in several(lang)]
    wanted = wanted or [one for tier in sorted(levels, reverse=True) if tier >= from_tier for one in levels[tier]]
    wanted = wanted or sorted(pool)
    if shares:
        percent = {canonical_language(tag): float(share) for tag, share in _file(shares).items()}
        if not percent or sum(percent.values()) > 100.001 or min(percent.values()) < 0:
            raise UserError(f"the shares of '{shares}' must be percents, 100 in all at most.")
        dealt = deal_by_shares(int(budget), percent, least)
    else:
        dealt = deal_evenly(int(budget), share_en, wanted)
    have = sorted(pool)
    pool, taken_in = _meeting(pool, dealt)
    if not dealt.keys() & pool.keys():
        raise UserError(f"none of {', '.join(list(dealt)[:8])} is in {data.address}; it has {', '.join(have[:20])}.")
    chosen = _assign(pool, dealt, seed)
    plan = Plan(name, len(chosen), dict(dealt), notes=taken_in)
    used = Counter(lang for lang, _ in chosen.values())
    plan.used = {lang: used[lang] for lang in dealt if used[lang]}
    plan.missing = {lang: count - used[lang] for lang, count in dealt.items() if count > used[lang]}
    tier_of = {one: tier for tier, langs in levels.items() for one in langs}
    found = Counter(str(tier_of.get(lang, "none")) for lang in used.elements()) if levels else Counter[str]()
    plan.tiers = dict(sorted(found.items(), reverse=True))
    told = {image for lang in dealt for image in pool.get(lang, ())}
    plan.without, plan.untold = len(here) - len(chosen), len(here) - len(told)
    plan.notes += _limits(data, plan, pool, len(told))
    said = {"budget": budget, "share_en": share_en, "planned": dealt, "seed": seed, "name": name}
    _store(data, "plan_languages", said, name, ((image, caption) for image, (_, caption) in chosen.items()))
    return plan


def _meeting(pool: _Pool, dealt: Mapping[str, int]) -> tuple[_Pool, list[str]]:
    """The pool by the languages of a plan: `pt` takes `pt-BR` in, unless the plan has both; and what is said of it."""
    found = {tag: dict(pool.get(tag, {})) for tag in dealt}
    notes = []
    for tag in dealt:
        narrower = [lang for lang in sorted(pool) if lang not in dealt and matches(tag, lang)]
        for lang in narrower:
            found[tag] = pool[lang] | found[tag]
        if narrower:
            notes.append(f"{tag} takes in {', '.join(f'{lang} ({len(pool[lang]):,})' for lang in narrower)}.")
    return {tag: images for tag, images in found.items() if images}, notes


def _limits(data: Dataset, plan: Plan, pool: _Pool, told: int) -> list[str]:
    """What keeps a plan below its budget: too few pictures, or too few captions in a language."""
    budget, notes = int(sum(plan.planned.values())), []
    if none := [tag for tag, count in plan.planned.items() if not count]:
        listed = ", ".join(none[:20]) + (f" … ({len(none)} in all)" if len(none) > 20 else "")
        notes.append(f"the budget leaves no caption for {listed}: plan more captions, or fewer languages (--lang)")
    if budget > told:
        notes.append(
            f"the budget deals out {budget:,} captions, and {told:,} pictures have one in these languages: every "
            f"picture is told in one language, so {told:,} is the most. Add pictures, or --budget {told}"
        )
    part = min(1.0, told / budget) if budget else 0.0
    few = [tag for tag in plan.missing if len(pool.get(tag, {})) < round(plan.planned[tag] * part)]
    if few:
        listed = ", ".join(f"{tag} {len(pool.get(tag, {})):,}" for tag in few[:8]) + (" …" if len(few) > 8 else "")
        line = command("translate", data.address, "--to", ",".join(few[:8]), "--with", "MODEL")
        notes.append(f"too few pictures are told in some languages ({listed}): {line}")
    elif plan.missing and budget <= told:  # languages that need the same pictures
        notes.append(
            f"too few pictures are left for {', '.join(plan.missing)}: the languages share pictures, and each picture "
            "is told in one; add pictures, or plan fewer captions"
        )
    return notes


def _assign(pool: _Pool, dealt: Mapping[str, int], seed: int) -> dict[str, tuple[str, str]]:
    """Image id to (language, caption id): every picture in one language at most."""
    chosen: dict[str, tuple[str, str]] = {}
    for lang in sorted(dealt, key=lambda tag: (len(pool.get(tag, {})), tag)):
        there = pool.get(lang, {})
        free = [image for image in there if image not in chosen]
        for image in sorted(free, key=lambda one: (Draw("plan", seed, one).number(), one))[: dealt[lang]]:
            chosen[image] = lang, there[image]
    return chosen


@verb
def mix(
    dataset: Dataset | str | os.PathLike[str],
    *,
    policy: str = "veclip",
    lang: str | Sequence[str] = (),
    epoch: int = 0,
    name: str = "mix",
    seed: int = 0,
) -> Plan:
    """Draw for every picture which kind of its captions is used, and store it under a name.

    The draw depends on seed, epoch and picture alone. Where a picture lacks a kind, the others keep their proportion.

    Args:
        dataset: a dataset or its path.
        policy: `veclip` (alt text or rewritten caption, a coin), `revisit-clip`, `revisit-mllm`, `revisit-diffusion`
            (alt text with short or dense captions, in the shares that were best for each), or weights of kinds,
            `alt=.5,short=.45,dense=.05`.
        lang: languages; of several the first that a picture has.
        epoch: another draw for every epoch.
        name: of the mix; `export --plan NAME` and `subset --plan NAME` take it.
        seed: another draw.

    Raises:
        UserError: no such policy or kind, weights below zero, or no picture has such captions.
    """
    _check_name(name)
    weights = _weights(policy)
    data = open_dataset(dataset)
    data.mend_kinds()
    langs = [canonical_language(tag) for tag in several(lang)]
    here = _kept(data)
    kinds_there: Counter[str] = Counter()
    langs_there: Counter[str] = Counter()
    found: dict[str, dict[str, tuple[int, str]]] = {}
    for image, caption, tag, kind in _captions(data, here):
        kinds_there[kind] += 1
        langs_there[tag] += 1
        at = next((n for n, one in enumerate(langs) if matches(one, tag)), None) if langs else int(tag != "en")
        if weights.get(kind, 0) > 0 and at is not None:
            place = (at, caption)
            have = found.setdefault(image, {})
            have[kind] = min(have.get(kind, place), place)
    plan = Plan(name, planned=dict(weights), notes=meeting(langs, langs_there)[1] if langs else [])
    there = ", ".join(f"{kind} {count:,}" for kind, count in kinds_there.most_common()) or "no such captions at all"
    if not found:
        asked = f" in {', '.join(langs)}" if langs else ""
        more = "".join(f" {note}" for note in plan.notes)
        raise UserError(
            f"no picture of {data.address} has captions of the kinds {', '.join(weights)}{asked}; it has {there}.{more}"
        )
    for kind in weights:
        if weights[kind] > 0 and not any(kind in kinds for kinds in found.values()):
            plan.notes.append(
                f"no picture has a caption of kind {kind}, its share went to the others: there is {there}"
            )
    used: Counter[str] = Counter()
    chosen: list[tuple[str, str]] = []
    for image, kinds in sorted(found.items()):
        kind = Draw("mix", seed, epoch, image).weighted(share_of_kinds(weights, sorted(kinds)))
        used[kind] += 1
        chosen.append((image, kinds[kind][1]))
    plan.images, plan.used = len(chosen), dict(sorted(used.items()))
    plan.without = plan.untold = len(here) - len(chosen)
    said = {"policy": policy, "weights": weights, "epoch": epoch, "seed": seed, "name": name}
    _store(data, "mix", said, name, iter(chosen))
    return plan


def _weights(policy: str) -> dict[str, float]:
    if "=" not in policy:
        if policy not in POLICIES:
            raise UserError(f"'{policy}' is not a policy.{did_you_mean(policy, POLICIES)} Or weights: alt=.5,short=.5")
        return dict(POLICIES[policy])
    weights: dict[str, float] = {}
    for piece in policy.split(","):
        kind, _, value = piece.strip().partition("=")
        if kind not in _TOLD:
            raise UserError(f"'{kind}' is not a kind that can be mixed.{did_you_mean(kind, _TOLD)}")
        try:
            weights[kind] = float(value)
        except ValueError:
            raise UserError(f"'{piece.strip()}': write KIND=WEIGHT, for example alt=.5") from None
    if min(weights.values()) < 0 or not 0 < sum(weights.values()) < float("inf"):
        raise UserError(f"the weights of '{policy}' must be at least 0, and not all 0.")
    total = sum(weights.values())
    return {kind: weight / total for kind, weight in weights.items()}


def _kept(data: Dataset) -> set[str]:
    """Ids of the pictures that are here and not dropped."""
    dropped, here = data.dropped_images(), set[str]()
    for batch in data.images.batches(["image_id"], size=65_536):
        here.update(one for one in batch.column(0).to_pylist() if one not in dropped)
    return here


def _captions(data: Dataset, here: set[str]) -> Iterator[tuple[str, str, str, str]]:
    """(image id, caption id, language, kind) of kept captions of kept pictures."""
    columns = ["image_id", "caption_id", "lang", "kind"]
    for batch in data.captions.batches(columns, "dropped is null", size=65_536):
        for image, caption, lang, kind in zip(*(batch[name].to_pylist() for name in columns)):
            if kind in _TOLD and image in here:
                yield image, caption, lang, kind


def _pool(data: Dataset, here: set[str]) -> _Pool:
    """Language to pictures that are told in it, each with its preferred caption."""
    best: dict[str, dict[str, tuple[int, str]]] = {}
    for image, caption, lang, kind in _captions(data, here):
        there = best.setdefault(lang, {})
        place = (_TOLD.index(kind), caption)
        there[image] = min(there.get(image, place), place)
    if not best:
        raise UserError(f"{data.address} has no captions to plan with.")
    return {lang: {image: caption for image, (_, caption) in there.items()} for lang, there in best.items()}


def _file(path: str) -> dict[Any, Any]:
    import yaml

    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"'{path}' cannot be read: {' '.join(str(error).split())}.") from None
    if not isinstance(value, dict):
        raise UserError(f"'{path}' must hold pairs, such as 'en: 43.8', or '5: [en, de]' for tiers.")
    return value


def _tags(langs: Any) -> list[str]:
    return [canonical_language(str(tag)) for tag in (several(langs) if isinstance(langs, str) else langs or ())]


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise UserError(f"'{name}' is no name of a plan: letters, digits, dots, dashes.")


def _store(data: Dataset, what: str, said: dict[str, Any], name: str, chosen: Iterator[tuple[str, str]]) -> None:
    """Put a plan in place of the one of the same name, by one commit."""
    run = data.start_run({what: json.loads(json.dumps(said))}, {"panoglot": __version__})
    rows = [
        {"choice_id": f"{name}:{image}", "plan": name, "image_id": image, "caption_id": caption, "run_id": run}
        for image, caption in chosen
    ]
    with data.writer():
        data.choices.upsert(rows)
        data.choices.delete(f"plan = '{name}' and run_id != '{run}'")
    finish_run(data, run, "done", [])
