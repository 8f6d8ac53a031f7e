"""What `info`, `merge`, `subset`, `split`, `mix`, `plan-languages` and `labels` print."""

from __future__ import annotations

from typing import Any

from panoglot.cli._shown import console, plain_json, safe, show_notes
from panoglot.errors import many

__all__ = ["measured_text", "show_copied", "show_division", "show_info", "show_labels", "show_plan"]


def measured_text(count: int) -> str:
    """Name what is no caption beside the captions.

    >>> measured_text(1), measured_text(21)
    ('1 measurement (kind fact)', '21 measurements (kind fact)')
    """
    return f"{many(count, 'measurement')} (kind fact)"


def _few(said: list[str], most: int = 12) -> str:
    """The first of a list, and how many more there are.

    >>> _few(["de 2", "sw 1"]), _few(["de 2", "sw 1"], 1)
    ('de 2, sw 1', 'de 2 … and 1 more')
    """
    return ", ".join(said[:most]) + (f" … and {len(said) - most:,} more" if len(said) > most else "")


def show_info(found: Any, json: bool = False) -> None:
    from panoglot.languages._tags import language_name

    if json:
        print(plain_json(found.to_dict()))
        return
    out = console()
    width, height = found.largest
    made = f" ({found.created_by}, schema {found.schema_version})" if found.created_by else ""
    out.print(safe(f"{found.dataset}{made}"))
    most = f", {found.picture_bytes / 2**20:,.1f} MB, the largest {width} x {height}" if found.images else ""
    out.print(many(found.images, "image") + most)
    named = {f"{language_name(tag)} ({tag})": count for tag, count in found.languages.items()}
    lines = [("formats", found.formats), (f"{many(found.captions, 'caption')} in", named), ("kinds", found.kinds)]
    lines += [
        ("written by", found.writers),
        ("licences", found.licences),
        ("licences of images", found.image_licences),
        ("splits", found.splits),
    ]
    lines += [("images dropped", found.images_dropped), ("captions dropped", found.captions_dropped)]
    lines += [("rejects", found.rejects), ("runs", found.runs), ("vectors", found.vectors), ("also", found.others)]
    for name, counts in lines:
        if counts:
            out.print(safe(f"{name}: " + _few([f"{key or 'none'} {count:,}" for key, count in counts.items()])))
    if found.forgotten:
        out.print(f"forgotten, and not among the images: {found.forgotten:,}")
    if found.measured:
        out.print(f"beside the captions: {measured_text(found.measured)}")
    if found.captions_of_dropped:
        out.print(
            f"of the captions {many(found.captions_of_dropped, '{is}')} of dropped images: in no search and no export"
        )
    if found.groups:
        out.print(f"groups: {found.groups:,}")
    if found.bytes:
        sizes = ", ".join(f"{name} {size / 2**20:,.1f} MB" for name, size in found.bytes.items() if size >= 2**19)
        out.print(safe(f"on disk: {sum(found.bytes.values()) / 2**20:,.1f} MB" + (f" ({sizes})" if sizes else "")))


def show_copied(copied: Any) -> None:
    out = console()
    out.print(safe(f"{copied.dataset}: {many(copied.images, 'image')} and {many(copied.captions, 'caption')} are new"))
    if copied.dropped:
        out.print(f"{many(copied.dropped, 'dropped caption{s} {is}')} new, too, with the reasons")
    if copied.measured:
        out.print(f"beside the captions: {measured_text(copied.measured)}")
    if copied.met:
        out.print(f"{many(copied.met, 'image{s} {was}')} there already; new captions are with those")
    if copied.forgotten:
        out.print(f"{many(copied.forgotten, 'image{s} {was}')} not taken: forgotten")
    out.print(safe("Languages: " + ", ".join(f"{lang} {count:,}" for lang, count in copied.languages.items())))
    show_notes(copied.notes)


def show_division(found: Any) -> None:
    out = console()
    out.print(", ".join(f"{name} {count:,}" for name, count in found.splits.items()))
    if found.together:
        most = f"the largest such part has {found.largest:,}"
        out.print(
            safe(f"{found.together:,} images are on one side with others that they belong to (by {found.by}); {most}")
        )
    else:
        out.print(safe(f"No image belongs together with another (by {found.by})"))
    if found.near:
        out.print(
            f"{many(found.near, 'image{s} {was}')} kept with near-duplicates that are in another group or in none"
        )
    if found.unhashed:
        out.print(
            f"{many(found.unhashed, 'image{s} {has}')} no perceptual hash that says something: copies are not known"
        )


def show_labels(found: Any, json: bool = False) -> None:
    from rich.table import Table

    if json:
        print(plain_json(found))
        return
    out, counts = console(), found.to_dict()
    table = Table(box=None, pad_edge=False)
    for name in ("source", "labels", "languages", "two others agree", "precision there"):
        table.add_column(name, justify="left" if name == "source" else "right")
    for name, one in found.sources.items():
        shown = "–" if one.precision is None else f"{one.precision:.3f}"
        table.add_row(name, f"{one.pairs:,}", f"{one.languages:,}", f"{one.judged:,}", shown)
    out.print(table)
    links = ", ".join(f"{count:,} {link}" for link, count in counts["links"].items())
    out.print(f"{counts['labels']:,} labels in {counts['base_languages']:,} languages (by link: {links})")
    out.print(safe(_few([f"{lang} {count:,}" for lang, count in found.languages.items()])))
    show_notes(f"the source {name} is not here: {how}" for name, how in found.missing.items())
    if found.output:
        out.print(safe(f"{found.output}, and where each is from: {found.output.with_suffix('.sources.tsv')}"))


def show_plan(plan: Any) -> None:
    from rich.table import Table

    out = console()
    table = Table(box=None, pad_edge=False)
    for name in ("", "planned", "used", "missing"):
        table.add_column(name, justify="left" if not name else "right")
    shown = [key for key, wanted in plan.planned.items() if wanted and (plan.used.get(key) or key not in plan.missing)]
    for key in sorted(shown, key=lambda one: -plan.planned[one]):
        wanted = plan.planned[key]
        lacking = f"{plan.missing[key]:,}" if key in plan.missing else ""
        planned = f"{wanted:,}" if isinstance(wanted, int) else f"{wanted:.1%}"
        table.add_row(safe(key), planned, f"{plan.used.get(key, 0):,}", lacking)
    out.print(table)
    empty = [f"{key} {plan.missing[key]:,}" for key in plan.planned if key in plan.missing and not plan.used.get(key)]
    if empty:
        out.print(safe(f"Planned, and none used: {_few(empty)}"))
    if plan.tiers:
        tiers = (f"{'T' * (tier != 'none')}{tier} {count:,}" for tier, count in plan.tiers.items())
        out.print("Tiers: " + ", ".join(tiers))
    left = [many(plan.untold, "{has} no caption for it")] if plan.untold else []
    left += [many(rest, "{is} beyond it")] if (rest := plan.without - plan.untold) else []
    why = f" ({', '.join(left)})" if left else ""
    out.print(f"{many(plan.images, 'image{s} {is}')} in the plan '{plan.name}', {many(plan.without, '{is}')} not{why}.")
    out.print(f"Use it: --plan {plan.name} of export and subset")
    show_notes(plan.notes)
