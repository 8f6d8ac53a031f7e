"""The model card of a run: `README.md` of its folder."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from panoglot.languages._tags import language_name
from panoglot.networks._row import Row
from panoglot.training._drawings import DRAWINGS
from panoglot.training._settings import stored_towers

__all__ = ["make_card"]


def make_card(
    row: Row, facts: Mapping[str, Any], log: Sequence[Mapping[str, Any]], figures: Mapping[str, Any], plan: str
) -> str:
    """Return the card as Markdown.

    Args:
        row: the method.
        facts: of the run: `settings.yaml`'s content, and what is known when it ends (`steps`, `total`, `versions` …).
        log: figures of every step.
        figures: of `measure`, or empty.
        plan: what learns and what is frozen.
    """
    drawings = "\n\n".join(f"![{DRAWINGS[file]}]({file})" for file in facts.get("drawings", ()))
    parts = [
        _head(row, facts),
        _use(facts),
        _figures(figures),
        drawings,
        _data(facts),
        _method(row),
        _run(row, facts, log, plan),
    ]
    return "\n\n".join(part for part in parts if part).rstrip() + "\n"


def _head(row: Row, facts: Mapping[str, Any]) -> str:
    steps, total = facts["steps"], facts["total"]
    done = "" if steps >= total else f" **Not finished: step {steps:,} of {total:,}.**"
    what = "captioner" if facts["writes"] else "encoder of pictures and texts"
    about = f"A{'' if facts['writes'] else 'n'} {what}, trained with Panoglot: {row.method}, {row.about}.{done}"
    return f"# {_cut(facts['name'])}\n\n{about}"


def _use(facts: Mapping[str, Any]) -> str:
    dataset, model = (shlex.quote(s) for s in (facts["data"]["dataset"], f"pano:{facts['folder']}"))
    if facts["writes"]:
        return f"""## Use

```sh
panoglot build photos -o photos.pano --captioner {model}
```

The folder may be moved. Wherever a captioner is taken it is `pano:FOLDER`; `pano:FOLDER?lang=de` writes in a language
that the method knows how to ask for."""
    return f"""## Use

```sh
panoglot search {dataset} --encoder {model} "ein roter Vogel"
panoglot evaluate retrieval OTHER.pano --encoder {model}
```

```python
from panoglot.providers import load_model

encoder = load_model({f"pano:{facts['folder']}"!r})
vectors = encoder.encode_texts(["ein roter Vogel"], ["de"])
```

The folder may be moved. In a recipe and for every command that takes an encoder it is
`pano:FOLDER`.{_captions(facts, model)}"""


def _captions(facts: Mapping[str, Any], model: str) -> str:
    """How what makes vectors and writes captions is a captioner, too."""
    if not facts.get("captions"):
        return ""
    return f"""

It writes captions, too, in the languages of those it learnt from:

```sh
panoglot build photos -o photos.pano --captioner {model}
```"""


def _cell(value: Sequence[float]) -> str:
    return f"{value[0]:.3f} ({value[1]:.3f}–{value[2]:.3f})"


def _figures(figures: Mapping[str, Any]) -> str:
    if not figures.get("languages"):
        why = figures.get("why", "no pictures were held out")
        told = figures.get("pairs") or {}
        shares = [f"{name} {value:.3f}" for name, value in told.items() if value is not None]
        if shares:
            return (
                "## Figures\n\nPairs of captions of one held-out picture that people told apart, in their order "
                f"(chance is .5): {', '.join(shares)}."
            )
        return f"## Figures\n\nNone: {why}."
    pictures = figures["pictures"]
    lines = [
        "## Figures",
        "",
        f"Recall among {pictures:,} pictures that were held out of the training, with 95 % intervals of a bootstrap "
        f"over pictures. Chance is {1 / pictures:.3f}, {min(1, 5 / pictures):.3f} and {min(1, 10 / pictures):.3f}. The "
        "pictures come from the same dataset as those it was trained on: other pictures may be harder.",
        "",
        "| texts | number | text → picture @1 | @5 | @10 | picture → text @1 | @5 | @10 |",
        "| --- | ---: | --- | --- | --- | --- | --- | --- |",
    ]
    names = [f"{way}@{k}" for way in ("t2i", "i2t") for k in (1, 5, 10)]
    for tag, found in figures["languages"].items():
        cells = " | ".join(_cell(found[name]) for name in names)
        lines.append(f"| {_cut(language_name(tag))} (`{tag}`) | {found['texts']:,} | {cells} |")
    mean = " | ".join(f"{figures['mean'][name]:.3f}" for name in names)
    lines += [f"| mean of languages | | {mean} |", "", "![Losses, scale, learning rate, recall](plot.svg)"]
    return "\n".join(lines)


def _data(facts: Mapping[str, Any]) -> str:
    data = facts["data"]
    read = facts["reading"]
    lines = [
        "## Data",
        "",
        f"`{_cut(str(data.get('dataset')))}`: {read['train']:,} pictures to train on, {read['held_out']:,} held out.",
    ]
    names = {"lang": "captions in", "kinds": "of kind", "sources": "by"}
    asked = [f"{name} {', '.join(data[key])}" for key, name in names.items() if data.get(key)]
    if asked:
        lines[-1] += f" Asked for: {_cut(' '.join(asked))}."
    if read["skipped"]:
        lines[-1] += " Records the method could not use: " + _counts(read["skipped"]) + "."
    if read["left_out"]:
        lines[-1] += " Left out: " + _counts(read["left_out"]) + "."
    by_lang: Counter[str] = Counter()
    by_writer: Counter[tuple[str, str]] = Counter()
    for lang, kind, writer, count in read["captions"]:
        by_lang[lang] += count
        by_writer[kind, writer] += count
    seen = ", ".join(f"{name} from {count:,}" for name, count in read.get("seen", {}).items())
    if seen:
        items = ", ".join(f"{name}: {count:,}" for name, count in read["items"].items())
        lines[-1] += f" Items an epoch: {items}; of these learn: {seen}."
    cut = [f"{lang} {n:,} of {total:,}" for lang, (n, total) in read.get("cut", {}).items() if n]
    if cut:
        lines[-1] += f" Texts longer than the text tower reads, which are cut: {', '.join(cut)}."
    lines += ["", f"{sum(by_lang.values()):,} captions in {len(by_lang)} languages, held-out pictures included:", ""]
    lines += ["| kind | written by | captions |", "| --- | --- | ---: |"]
    lines += [f"| {kind} | {_cut(writer)} | {count:,} |" for (kind, writer), count in by_writer.most_common()]
    lines += ["", "| language | captions |", "| --- | ---: |"]
    lines += [f"| {_cut(language_name(tag))} (`{tag}`) | {count:,} |" for tag, count in by_lang.most_common()]
    lines += ["", "Licences of the pictures and their captions, as the dataset records them:", ""]
    lines += ["| licence | pictures |", "| --- | ---: |"]
    lines += [f"| {_cut(name)} | {count:,} |" for name, count in Counter(read["licences"]).most_common(30)]
    if "unknown" in read["licences"]:
        lines += ["", "`unknown`: the dataset says nothing. That is not a permission."]
    return "\n".join(lines)


def _method(row: Row) -> str:
    unverified = ", ".join(f"`{one}`" for one in row.unverified)
    doubt = f"\n\nNot confirmed by the paper or its code, so no facts: {unverified}." if unverified else ""
    towers = stored_towers(row)
    frozen = "".join(f"\n- {side}s: vectors of `{name}`, frozen" for side, name in towers.items())
    return (
        f"## Method\n\n{row.method}: {row.about}. Source: {row.source or 'none named'}.{doubt}\n{frozen}\n\n"
        f"All settings ([row.yaml](row.yaml) is a file for `panoglot train`; where they differ from the paper's they "
        f"were chosen for this run):\n\n```yaml\n{row.yaml().rstrip()}\n```"
    )


def _run(row: Row, facts: Mapping[str, Any], log: Sequence[Mapping[str, Any]], plan: str) -> str:
    seconds = sum(float(line.get("seconds") or 0) for line in log)
    memory = max((float(line.get("memory_mib") or 0) for line in log), default=0.0)
    last: Mapping[str, Any] = next((line for line in reversed(log) if line.get("loss") is not None), {})
    lost = sum(bool(line.get("skipped_step")) for line in log)
    lines = [
        "## Run",
        "",
        f"- {facts['steps']:,} of {facts['total']:,} steps, {seconds:,.0f} seconds in steps, peak memory of the "
        f"process {memory:,.0f} MiB{_gpu(log)}",
        f"- last loss {last['loss']:.4g}" if last else "- no loss was logged",
        f"- {lost:,} steps were left out, because their loss was not finite or nothing could be learnt" if lost else "",
        f"- seed {facts['training']['seed']}, precision {facts['training']['precision']}",
        "- " + ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
    ]
    listing = "\n".join(line for line in lines[2:] if line)
    return f"## Run\n\n{listing}\n\nWhat learns:\n\n```text\n{plan.strip()}\n```"


def _gpu(log: Sequence[Mapping[str, Any]]) -> str:
    memory = max((float(line.get("cuda_memory_mib") or 0) for line in log), default=0.0)
    return f", of the GPU {memory:,.0f} MiB" if memory else ""


def _counts(values: Mapping[str, int]) -> str:
    """Counts by reason; those of captions say so.

    >>> _counts({"dropped": 2, "caption: not_selected": 1})
    '2 pictures dropped, 1 caption not selected'
    """
    said = []
    for reason, count in values.items():
        what, _, rest = reason.rpartition(": ")
        said.append(f"{count:,} {what or 'picture'}{'s' * (count > 1)} {rest.replace('_', ' ')}")
    return ", ".join(said)


def _cut(text: str) -> str:
    """A text from the data in a table: one line, no marks that a page would act on."""
    plain = " ".join(text.split())[:120]
    return "".join(f"&#{ord(c)};" if c in "<>|[]`*_" else c for c in plain)
