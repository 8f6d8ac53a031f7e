"""Everything the page says, gathered from a dataset, and the page itself from the templates."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoglot.errors import command
from panoglot.languages._tags import language_name
from panoglot.pictures import load_pictures
from panoglot.providers._secrets import redact
from panoglot.reporting import _plot as plot
from panoglot.reporting import _sample as sample
from panoglot.reporting import _text as text
from panoglot.reporting._card import Card, Line, line, make_card, origin, script
from panoglot.reporting._counts import Counts, Tally, count
from panoglot.reporting._fallbacks import fallbacks
from panoglot.reporting._runs import MOST_RUNS, read_runs, steps_of_all, unused_of
from panoglot.running._progress import price_text
from panoglot.table import Caption, Dataset

if TYPE_CHECKING:
    import jinja2

__all__ = ["environment", "gather", "policy_of", "render", "template"]

_TEMPLATES = Path(__file__).parent / "templates"
#: Longer side of a thumbnail in pixels: the large one, of the sample, of examples.
HERO, CARD, SMALL = 640, 380, 176
#: One language of each widely read script, for the opening picture; others follow by tag.
_HERO_LANGUAGES = "en zh-Hans zh ar hi ru ja th el ko he ta bn am ka zh-Hant te hy km gu".split()
MOST_UNUSED = 100
MOST_EXAMPLES, MOST_PAIRS, MOST_LANGUAGES, OPEN_LANGUAGES, MOST_ORIGINS = 6, 12, 250, 20, 30


def gather(dataset: Dataset, samples: int) -> dict[str, Any]:
    """Gather what the templates show; memory is bounded by `samples`, languages and reasons."""
    counts = count(dataset)
    chosen = sample.choose_images(dataset, samples)
    captions = sample.captions_of(dataset, chosen)
    known = _with_parents(dataset, captions)
    pictures = load_pictures(dataset, chosen, CARD)
    weights = {lang: tally.kept for lang, tally in counts.languages.items()}
    shown: Counter[str] = Counter()
    cards = [make_card(pictures[i], captions[i], known, weights, shown) for i in chosen]
    runs = read_runs(dataset)
    steps = steps_of_all(runs)
    prices = [run.price for run in runs]
    dropped = _dropped(dataset, counts)
    rejects = sample.rejects(dataset, MOST_EXAMPLES)
    for group in rejects[: sample.MOST_REASONS]:
        for row in group["examples"]:
            row["message"] = redact(row["message"] or "")
    tallies = sorted(counts.languages.items(), key=lambda pair: (-pair[1].kept, -pair[1].total, pair[0]))
    most = max([tally.kept + tally.dropped for _, tally in tallies], default=0)
    longest = max(12, counts.total.quantile(0.99) or 0)
    spread = max([tally.quantile(0.95) or 0 for tally in counts.kinds.values()], default=0)
    return {
        "title": dataset.name.removesuffix(".pano") or dataset.name,
        "begin": command("build", "PICTURES", "-o", dataset.name),
        "counts": counts,
        "hero": _hero(dataset, cards),
        "cards": cards,
        "languages": [
            {
                "tag": lang,
                "name": language_name(lang),
                "tally": t,
                "bar": _kept_dropped(t, most),
                "spark": plot.spark(t, longest),
            }
            for lang, t in tallies[:MOST_LANGUAGES]
        ],
        "more_languages": max(0, len(tallies) - MOST_LANGUAGES),
        "open_languages": OPEN_LANGUAGES,
        "histogram": plot.histogram(counts.total, longest) if counts.total.kept else "",
        "kinds": [
            {
                "name": "fact (measured, no caption)" if kind == "fact" else kind,
                "tally": t,
                "strip": plot.strip(t, spread),
            }
            for kind, t in sorted(counts.kinds.items(), key=lambda pair: (pair[0] == "fact", -pair[1].kept, pair[0]))
        ],
        "origins": [
            {"kind": kind, "recipe": recipe, "model": redact(model), "kept": kept}
            for (kind, recipe, model), kept in sorted(counts.origins.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
        "most_origins": MOST_ORIGINS,
        **dropped,
        "unused": unused_of(runs)[:MOST_UNUSED],
        "more_unused": max(0, len(unused_of(runs)) - MOST_UNUSED),
        "rejects": rejects[: sample.MOST_REASONS],
        "more_rejects": max(0, len(rejects) - sample.MOST_REASONS),
        "failing": sum(group["failing"] for group in rejects if group["reason"] not in ("duplicate", "opted_out")),
        "copies": sum(group["failing"] for group in rejects if group["reason"] == "duplicate"),
        "opted_out": sum(group["failing"] for group in rejects if group["reason"] == "opted_out"),
        "resolved": sum(group["resolved"] for group in rejects),
        "fallbacks": fallbacks(steps, counts, rejects),
        "steps": steps,
        "slowest": max([step.seconds for step in steps], default=0),
        "runs": list(reversed(runs))[:MOST_RUNS],
        "more_runs": max(0, len(runs) - MOST_RUNS),
        "price": None if any(price is None for price in prices) else sum(price or 0 for price in prices),
        "seconds": sum(run.seconds or 0 for run in runs),
        "vectors": _vectors(dataset),
        "ratings": _ratings(dataset),
    }


def _kept_dropped(tally: Tally, most: int) -> Any:
    label = f"{tally.kept:,} kept, {tally.dropped:,} dropped"
    return plot.bar([("kept", tally.kept), ("lost", tally.dropped)], most, label)


def _with_parents(dataset: Dataset, captions: dict[str, list[Caption]]) -> dict[str, Caption]:
    """The captions by id, and the parents that belong to other images or were left out, a few generations up."""
    known = {c.caption_id: c for some in captions.values() for c in some}
    fresh = list(known.values())
    for _ in range(4):
        wanted = {str(p) for c in fresh for p in c.parents if p not in known}
        if not wanted:
            break
        fresh = sample.by_id(dataset, sorted(wanted)[:2000])
        known.update({c.caption_id: c for c in fresh})
    return known


#: How much a text of a kind tells about its picture.
_TELLING = {"human": 3, "dense": 3, "short": 2, "alt": 1}


def _telling(text: Line) -> float:
    """How much a text tells: by its kind, less where its writer was not sure or a check found it hardly fits."""
    caption = text.caption
    sure = [v for name in ("probability", "alignment") if (v := caption.scores.get(name)) is not None]
    hedged = any(name == "probability" and (v is None or v < 0.5) for name, v in caption.scores.items())
    few = len(caption.text) < 12  # a word or two
    return _TELLING.get(caption.kind, 0) - (1.5 if hedged else 0) - (0.5 if few else 0) + 0.1 * sum(sure)


def _hero(dataset: Dataset, cards: list[Card]) -> dict[str, Any] | None:
    """The picture with the best captions, those that tell most in each script, with a text in each of them first."""

    def sentences(card: Card) -> list[Line]:
        groups = [*card.open, *card.folded]
        told = [[s for s in g.sentences if len(s.caption.text) <= 140] for g in groups]
        return [max(some, key=_telling) for some in told if some]

    shown = [card for card in cards if card.picture.thumbnail and sentences(card)]
    if not shown:
        return None

    def rank(card: Card) -> tuple[float, int, str]:
        best: dict[str, float] = {}
        for one in sentences(card):
            key = script(one.caption.lang)
            best[key] = max(best.get(key, 0.0), _telling(one))
        # beyond half a dozen scripts a picture that fills its place is worth more than one script more
        told = sum(sorted(best.values(), reverse=True)[:6])
        return -round(told, 1), -max(card.picture.width, card.picture.height), card.picture.image_id

    best = min(shown, key=rank)
    left = sentences(best)
    texts: list[Line] = []
    scripts: Counter[str] = Counter()
    place = {tag: n for n, tag in enumerate(_HERO_LANGUAGES)}
    while left and len(texts) < 14:
        # every script once before any comes again
        one = min(left, key=lambda s: (scripts[script(s.caption.lang)], place.get(s.caption.lang, 99), s.caption.lang))
        left.remove(one)
        texts.append(one)
        scripts[script(one.caption.lang)] += 1
    image = best.picture.image_id
    total = len({g.lang for g in [*best.open, *best.folded]})
    return {"picture": load_pictures(dataset, [image], HERO)[image], "alt": best.alt, "texts": texts, "total": total}


def _repeats(reason: str) -> bool:
    """Say whether what is left out for a reason is there a second time: nothing is lost with it."""
    return "duplicate" in reason


def _dropped(dataset: Dataset, counts: Counts) -> dict[str, Any]:
    texts = sample.dropped_captions(dataset, MOST_EXAMPLES)
    images = sample.dropped_images(dataset, MOST_PAIRS)
    pairs = [example for examples in images.values() for example in examples if example.other][:MOST_PAIRS]
    needed = [e.image_id for some in [*texts.values(), *images.values()] for e in some] + [e.other for e in pairs]
    captions = [e.caption for some in texts.values() for e in some if e.caption]
    known = _with_parents(dataset, {"": captions})
    most = max([*counts.dropped_captions.values(), *counts.dropped_images.values()], default=0)
    groups: list[dict[str, Any]] = []
    for what, totals, examples in (
        ("captions", counts.dropped_captions, texts),
        ("pictures", counts.dropped_images, images),
    ):
        found = [pair for pair in totals.items() if pair[0] != "draft" or what == "pictures"]
        for reason, n in sorted(found, key=lambda pair: (-pair[1], pair[0]))[: sample.MOST_REASONS]:
            groups.append(
                {
                    "what": what,
                    "reason": reason,
                    "about": text.reason_text(reason),
                    "count": n,
                    "paired": any(e.other for e in examples.get(reason, [])),
                    "repeats": _repeats(reason),
                    "bar": plot.bar([("repeats" if _repeats(reason) else "lost", n)], most, f"{n:,} {what}"),
                    "examples": examples.get(reason, [])[:MOST_EXAMPLES],
                    "lines": {
                        e.caption.caption_id: line(e.caption, known) for e in examples.get(reason, []) if e.caption
                    },
                }
            )
    repeats = sum(int(group["count"]) for group in groups if group["repeats"])
    return {"dropped": groups, "repeats": repeats, "pairs": pairs, "small": load_pictures(dataset, needed, SMALL)}


def _ratings(dataset: Dataset) -> list[dict[str, Any]]:
    """What was rated, by criterion and scale: ratings, comparisons, raters, and the mean where none are compared."""
    columns = ["criterion", "scale", "rater", "against", "value"]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for batch in dataset.ratings.batches(columns) if dataset.ratings.exists() else ():
        for row in batch.to_pylist():
            name, scale = row["criterion"] or "", row["scale"] or ""
            made: dict[str, Any] = {
                "criterion": name,
                "scale": scale,
                "count": 0,
                "compared": 0,
                "raters": set(),
                "sum": 0.0,
            }
            one = found.setdefault((name, scale), made)
            one["count"] += 1
            one["compared"] += bool(row["against"])
            one["sum"] += row["value"]
            one["raters"].add(row["rater"] or "")
    return [
        one | {"raters": len(one["raters"]), "mean": None if one["compared"] else one["sum"] / one["count"]}
        for _, one in sorted(found.items())
    ]


def _vectors(dataset: Dataset) -> list[dict[str, Any]]:
    searched = dataset.searched_vectors()
    return [
        {
            "name": name,
            "rows": len(table := dataset.vectors(name)),
            "searched": name == searched,
            "dim": table.schema.field("vector").type.list_size,
        }
        for name in dataset.vector_names()
    ]


@cache
def environment() -> jinja2.Environment:
    """Templates of pages: autoescaping, with the filters that they share."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": text.visible,
        "plain": text.plain,
        "number": text.number,
        "price": price_text,
        "seconds": text.seconds_text,
        "bytes": text.bytes_text,
        "words": text.words,
        "cut": text.cut,
        "direction": text.direction,
        "language": language_name,
        "explain": text.reason_text,
        "origin": origin,
    }
    environment.globals |= {"bar": plot.bar, "region": plot.region}
    return environment


def _source_hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def template(name: str) -> str:
    """The text of a file beside the templates."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def policy_of(style: str, script_: str = "") -> str:
    """The policy of a page: our own style, our own script (by hash) and data: pictures, nothing else."""
    scripts = _source_hash(script_) if script_ else "'none'"
    return (
        f"default-src 'none'; img-src data:; style-src {_source_hash(style)}; script-src {scripts}; "
        f"base-uri 'none'; form-action 'none'"
    )


def render(found: dict[str, Any]) -> str:
    """Make the page. Its policy lets in nothing but our own style, our own script (by hash) and data: pictures."""
    from markupsafe import Markup

    from panoglot._version import __version__

    style, script_ = template("report.css"), template("report.js")
    page = environment().get_template("report.html.j2")
    return page.render(
        found, style=Markup(style), script=Markup(script_), policy=policy_of(style, script_), version=__version__
    )
