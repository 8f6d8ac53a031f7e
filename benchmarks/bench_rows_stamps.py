"""Every training row on real pictures: held-out recall, beside the same model untrained and a plain CLIP.

Data: Debian's `tuxpaint-stamps-default` (apt-get install tuxpaint-stamps-default; GPL-2, read where it is installed),
1,043 pictures with people's captions in up to 78 languages. The dataset is made by our own verbs: `ingest` reads the
stamps, `caption --method evidence` adds a machine's sentences; documents, triples and ratings are rows of its tables,
made by rule from the same captions (`_stamps_bed.py`); pictures with boxes are one or two stamps in a white square,
written as Visual Genome has them and ingested (`collages`).

Each row is trained by its preset `small`, from 32 x 32 pixels or from stored vectors of frozen towers, with the
settings in `SETTINGS`. Every split draws its own held-out stamps, with distinct English captions; what is trained on
shares no English caption with them. Weights and order have the split's number as seed. Each figure is the mean over
the splits with its 95 % t interval. Right at k: the query's own picture is among the first k; a tie counts as wrong.
Rows that write are asked how likely they find the caption before each of the pictures: the same recall, of what they
write. Settings come from a few tries on split 100, those of a quick run from splits 0 and 1.

    python benchmarks/bench_rows_stamps.py [rows …] [--quick] [--splits 0 1 2] [--results FILE]
    python benchmarks/bench_rows_stamps.py [--quick] --results FILE --docs docs/train-rows.md
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import panoglot
from panoglot.networks import Record, Text, load_row
from panoglot.networks._records import Batch
from panoglot.networks._views import square_of
from panoglot.networks.losses import generalised_iou, match_boxes
from panoglot.table import Rating, open_dataset
from panoglot.training import Trainer, read_records

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also when it is imported from elsewhere

from _stamps_bed import LANGS, SIDE, STAMPS, Bed, collages, make_dataset, read_bed, stamps_of, text_in

KS = (1, 5, 10)

#: Rows beside their preset `small`: what the data asks for, and what a few tries on split 100 chose.
SETTINGS: dict[str, dict[str, Any]] = {
    "colbert-xm": {"text": {"langs": ["es", "pt"], "tokenizer": "captions", "vocabulary": 2000}, "epochs": 8},
    "compress-align": {"epochs": 3, "losses": {"rank": {"layers": 1}}},
    "cosmo": {"epochs": 8},
    "croc": {
        "batch": 16,
        "losses": {"recon": {"weight": 1.0}},
        "stages": {
            "comprehend": {"sampler": {"kind": "one", "kinds": []}, "epochs": 4},
            "instruct": {"epochs": 20},
        },
    },
    "dc-clip": {"losses": {"regress": {"teacher": 384}}, "sampler": {"kind": "each", "lang": ["en", "de", "es"]}},
    "dreamlip": {"epochs": 20},
    "flame": {"text": {"kind": "stored", "width": 384}, "dim": 384},
    "florenz": {"epochs": 8},
    "grain": {"epochs": 24},
    "m2-encoder": {"epochs": 4},
    "rs-m-clip": {"epochs": 20},
    "sycoca": {"epochs": 12},
    "tldr": {"epochs": 20},
    "vgs-char-gru": {"image": {"kind": "vector", "width": 1280}, "sampler": {"kind": "each", "lang": ["en"]}},
    "vl-adapter": {"image": {"kind": "vector", "width": 1280}, "epochs": 12},
}
#: The same in seconds: on few pictures, what the quick tests and `--quick` train.
QUICK: dict[str, dict[str, Any]] = {
    "align": {"epochs": 15, "batch": 32},
    "clip": {"epochs": 15, "batch": 32},
    "colbert-xm": {"epochs": 4, "batch": 32},
    "compress-align": {"epochs": 3, "batch": 32},
    "cosmo": {"epochs": 4, "batch": 32},
    "croc": {
        "batch": 16,
        "stages": {"comprehend": {"sampler": {"kind": "one", "kinds": []}, "epochs": 3}, "instruct": {"epochs": 10}},
    },
    "dc-clip": {"batch": 32, "stages": {"distil": {"epochs": 3}, "align": {"epochs": 6}}},
    "dreamlip": {"epochs": 12, "batch": 32},
    "flame": {"epochs": 15, "batch": 32},
    "florenz": {"epochs": 6, "batch": 32},
    "grain": {"epochs": 20, "batch": 32},
    "m2-encoder": {"epochs": 2, "batch": 32, "accumulate": 1, "losses": {"contrast": {"group": 32}}},
    "rs-m-clip": {"epochs": 10, "batch": 32},
    "sycoca": {"epochs": 5, "batch": 32},
    "tldr": {"epochs": 24, "batch": 16},
    "veclip": {"epochs": 20, "batch": 32},
    "vgs-char-gru": {"epochs": 4, "batch": 32},
    "vl-adapter": {"epochs": 6, "batch": 16},
}
#: Rows whose queries are in several languages; the others are asked in English.
SPOKEN = {"dc-clip": ("en", "de", "es"), "m2-encoder": LANGS, "rs-m-clip": LANGS}
#: Pictures that are trained on, and held out.
TRAINED, HELD = 500, 100
#: The same of a quick run, out of so many stamps whose captions have the most frequent words.
FEW_TRAINED, FEW_HELD, FEW = 140, 50, 260


# ---- what a row trains on --------------------------------------------------------------------------------------------


def rated(where: Path, bed: Bed, records: Sequence[Record], seed: int) -> list[Record]:
    """Return captions with ratings by rule: the picture's own 2, that of a stamp of its folder 1, of another room 0."""
    rng, rows = np.random.default_rng([seed, 7]), []
    place = {r.id: Path(bed.paths[r.id]).relative_to(STAMPS).parts[:-1] for r in records}
    for r in records:
        near = [x for x in records if place[x.id] == place[r.id] and bed.english(x) != bed.english(r)]
        far = [x for x in records if place[x.id][0] != place[r.id][0]]
        if near and far:
            some = (r, near[int(rng.integers(len(near)))], far[int(rng.integers(len(far)))])
            own, like, other = (text_in(x, "en") for x in some)
            rows.append({"image": bed.paths[r.id], "caption": own, "near_caption": like, "far_caption": other})
    where.mkdir(parents=True)
    (where / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    option = {"text_columns": "caption=en,near_caption=en,far_caption=en", "allow_outside": True}
    panoglot.ingest(where / "rows.jsonl", where / "x.pano", option=option, quiet=True)
    data = open_dataset(where / "x.pano")
    by_path = {row["image"]: row for row in rows}
    marks = []
    for c in data.captions.read(["caption_id", "image_id", "text"]).to_pylist():
        said = by_path[bed.paths[c["image_id"]]]
        value = next(
            2 - n for n, key in enumerate(("caption", "near_caption", "far_caption")) if said[key] == c["text"]
        )
        marks.append({**Rating(c["caption_id"], value, rater="rule").plain(), "rating_id": c["caption_id"]})
    data.ratings.insert(marks)
    found = read_records(data, takes=("caption", "rating")).records
    for r in found:
        r.image = bed.pixels[r.id]
        r.texts = [replace(t, kind="short") for t in r.texts]
    return found


def asked(bed: Bed, records: Sequence[Record]) -> list[Record]:
    """Return a question about every picture beside its caption: in which room of the stamps it is."""
    out = []
    for r in records:
        room = Path(bed.paths[r.id]).relative_to(STAMPS).parts[0]
        texts = [Text("what kind of thing is it?", "question", "en"), Text(room, "answer", "en")]
        out.append(Record(r.id, r.image, [*texts, Text(text_in(r, "en"), "raw", "en")], vectors=r.vectors))
    return out


def data_of(name: str, bed: Bed, some: Sequence[Record], seed: int, scratch: Path, count: int) -> list[Any]:
    """Return what a row trains on, or is measured on, of some stamps."""
    ids = {r.id for r in some}
    if name == "grain":
        return collages(scratch, bed, some, count, seed)
    if name == "compress-align":
        return rated(scratch, bed, some, seed)
    if name == "colbert-xm":
        return [r for r in bed.triples if r.id in ids]
    records = [replace(r, texts=[t for t in r.texts if t.kind != "short"]) for r in some]
    if name in ("veclip", "dreamlip"):  # of the machine's sentences those that name what is seen
        own = {r.id: [t for t in r.texts if t.kind != "short" or not t.text.startswith("A picture in")] for r in some}
        return [replace(r, texts=own[r.id]) for r in some]
    if name == "vl-adapter":
        records = asked(bed, records)
    if name in ("flame", "vgs-char-gru", "vl-adapter", "dc-clip"):
        stored(name, bed, records)
    if name == "cosmo":
        pages = [d for d in bed.documents if set(d.images) <= ids]
        return [*records, *(replace(d, images=[bed.pixels[i] for i in d.images]) for d in pages)]
    return records


def stored(name: str, bed: Bed, records: Sequence[Record]) -> None:
    """Give records the vectors of the frozen towers that a row reads, or learns from."""
    from panoglot.pictures import Image
    from panoglot.providers import load_model

    image, text = {
        "flame": ("", "conse"), "dc-clip": ("conse", "conse"), "vgs-char-gru": ("efficientnet-lite2", ""),
        "vl-adapter": ("efficientnet-lite2", ""),
    }[name]  # fmt: skip
    if image:
        encoder = load_model(f"embedded:{image}", "encoder")
        paths = [bed.paths[r.id] for r in records]
        found = bed.vectors(
            f"images-{image}", paths, lambda new: encoder.encode_images([Image.from_path(p) for p in new])
        )
        for r, path in zip(records, paths, strict=True):
            r.vectors = {**r.vectors, "image": found[path]}
    if text:
        model = load_model(f"embedded:{text}", "encoder")
        for r in records:
            r.texts = [t for t in r.texts if t.lang in ("en", "de", "es") and t.kind == "raw"]
        words = [t.text for r in records for t in r.texts]
        known = bed.vectors(f"texts-{text}", words, lambda new: model.encode_texts(new))
        for r in records:
            r.vectors = {**r.vectors, "text": np.stack([known[t.text] for t in r.texts])}


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of both; where both have one, the higher, name by name."""
    both = {key: merge(low[key], high[key]) for key in low.keys() & high.keys() if isinstance(low[key], Mapping)}
    return {**low, **high, **both}


def prepare(name: str, trainer: Trainer, records: Sequence[Any], seed: int, quick: bool) -> None:
    """Train the parts that a method freezes, on the same pictures and texts."""
    pairs = [r for r in records if isinstance(r, Record)]
    blind: dict[str, Any] = {"image": None, "head": {"kind": "none"}, "freeze": []}
    model = trainer.model
    if name == "cosmo":
        clip = Trainer(load_row("clip", "small", epochs=6 if quick else 30), pairs, seed=seed, workers=0)
        clip.fit(progress=False)
        model.image.load_state_dict(clip.model.image.state_dict())
        whole = load_row(name, "small", epochs=4 if quick else 10)
        text = {key: value for key, value in whole.text.items() if key not in ("gated", "split")}
        one = {"kind": "each", "lang": ["en"]}
        row = replace(whole, **blind, text=text, sampler=one, losses={"lm": {}})
    elif name == "compress-align":  # BLIP's towers in the paper: here those of a CLIP on the captions that are right
        best = [replace(r, texts=[max(r.texts, key=lambda t: t.score or 0)]) for r in pairs]
        clip = Trainer(load_row("clip", "small", epochs=6 if quick else 30), best, seed=seed, workers=0)
        clip.fit(progress=False)
        model.image.load_state_dict(clip.model.image.state_dict())
        model.text.load_state_dict(clip.model.text.state_dict())
        return
    elif name == "vl-adapter":
        row = load_row(name, "small", **blind, epochs=2 if quick else 8)
    else:
        return
    lm = Trainer(row, [Record(r.id, texts=r.texts) for r in pairs], seed=seed, workers=0)
    lm.fit(progress=False)
    (model.text.lm if name == "cosmo" else model.text).load_state_dict(
        (lm.model.text.lm if name == "cosmo" else lm.model.text).state_dict()
    )


# ---- measures --------------------------------------------------------------------------------------------------------


def recalls(scores: torch.Tensor) -> list[float]:
    """Return recall at 1, 5, 10, and how many of the others the right one beats; scores [query, candidate].

    The right ones are on the diagonal; a tie is lost.
    """
    rank = (scores >= scores.diagonal()[:, None]).sum(1) - 1
    beaten = 1 - rank.double().mean() / max(1, scores.shape[1] - 1)
    return [*(float((rank < k).double().mean()) for k in KS), float(beaten)]


def pixels(records: Sequence[Record]) -> torch.Tensor:
    """Return the pictures as towers want them."""
    return torch.stack([square_of(r.image, SIDE) for r in records])


def likelihood(model: Any, x: torch.Tensor, captions: Sequence[str], given: tuple[str, str]) -> torch.Tensor:
    """Return the log-probability of every caption before every picture, [caption, picture]."""
    rows = []
    media, real = model._media_of(x, None, list(range(len(x))), "caption", "cpu", Batch())
    for caption in captions:
        ids, written, labels = (torch.tensor([z] * len(x)) for z in model.text.compose(*given, caption, True))
        logits = model.text(ids, torch.ones_like(ids, dtype=torch.bool), media, real, written).logits
        labels = labels[:, -logits.shape[1] :]
        logits, labels = (logits[:, :-1], labels[:, 1:]) if model.text.shift else (logits, labels)
        each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        rows.append(-each.sum(1))  # ignored labels give 0
    return torch.stack(rows)


def late_interaction(model: Any, test: Sequence[Record]) -> torch.Tensor:
    """Return MaxSim [query, passage] of the queries and the passages that answer them."""
    q, p = (
        model.token_vectors([r.texts[k].text for r in test], [r.texts[k].lang for r in test], k == 0) for k in (0, 1)
    )
    return torch.stack([torch.stack([(a @ b.T).amax(1).sum() for b in p]) for a in q])


def overlap(model: Any, test: Sequence[Record]) -> float:
    """Return the mean GIoU of matched boxes of pictures; below 0 is 0."""
    boxes = model.features(Batch([r.id for r in test], image=pixels(test)[:, None]), lone=True).boxes
    most = max(len(r.regions) for r in test)
    want, mask = torch.zeros(len(test), most, 4), torch.zeros(len(test), most, dtype=torch.bool)
    for i, r in enumerate(test):
        for j, region in enumerate(r.regions):
            want[i, j], mask[i, j] = torch.tensor(region.centred()), True
    i, q, t = match_boxes(boxes, want, mask)
    corner = lambda b: torch.cat([b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2], -1)  # noqa: E731
    return float(generalised_iou(corner(boxes[i, q]), corner(want[i, t])).clamp(min=0).mean())


@torch.no_grad()
def measure(name: str, trainer: Trainer, test: Sequence[Record]) -> dict[str, list[float]]:
    """Return metric → figures: recall at 1, 5, 10, or one."""
    model = trainer.encoder.eval()
    if name == "colbert-xm":
        return {"passage of a query": recalls(late_interaction(model, test))}
    if name == "compress-align":
        x = pixels(test)
        order = [sorted(r.texts, key=lambda t: -(t.score or 0)) for r in test]
        scores = torch.stack([model.reward(x, [o[k].text for o in order]) for k in range(3)])
        better = [(scores[a] > scores[b]).double().mean() for a, b in ((0, 1), (0, 2), (1, 2))]
        return {"pairs in the rule's order": [float(torch.stack(better).mean())]}
    if name == "vl-adapter":
        x = torch.tensor(np.stack([r.vectors["image"] for r in test]))
        said = model.generate(x, test[0].texts[0].text, task="vqa", batch_size=64, most=16)
        right = float(np.mean([s == r.texts[1].text for s, r in zip(said, test, strict=True)]))
        found = {"kind of thing": [right]}
        return found | {
            "caption likelihood": recalls(likelihood(model, x, [r.texts[2].text for r in test], ("caption: ", "")))
        }
    if model.writes and name != "cosmo":
        given = ("caption:", "<en>") if name == "florenz" else ("", "")
        scores = likelihood(model, pixels(test), [text_in(r, "en") for r in test], given)
        return {"caption likelihood": recalls(scores)}
    x = torch.tensor(np.stack([r.vectors["image"] for r in test])) if name == "vgs-char-gru" else pixels(test)
    x = model.encode_pixels(x)
    if name == "flame":
        y = torch.tensor(np.stack([r.vectors["text"][[t.lang for t in r.texts].index("en")] for r in test]))
        return {"text→picture": recalls(torch.nn.functional.normalize(y.float(), dim=1) @ x.T)}
    each = [
        recalls(model.encode_texts([text_in(r, lang) for r in test], [lang] * len(test)) @ x.T)
        for lang in SPOKEN.get(name, ("en",))
    ]
    found = {"text→picture": np.mean(each, 0).tolist()}
    if name == "grain":
        found["GIoU of matched boxes, at least 0"] = [overlap(model, test)]
    return found


def run(name: str, bed: Bed, seed: int, *, quick: bool = False) -> dict[str, Any]:
    """Train and measure one row on one split.

    Args:
        name: of the row.
        bed: the stamps.
        seed: of the split, of the weights and of the order.
        quick: in seconds: few pictures, few epochs.

    Returns:
        `untrained`, `trained`: see `measure`; `items`: trained on; `held`: measured on; `seconds`: of CPU.
    """
    test, most = (FEW_HELD, FEW_TRAINED) if quick else (HELD, TRAINED)
    settings = merge(SETTINGS.get(name, {}), QUICK[name] if quick else {})
    train_of, test_of = bed.split(seed, test, most)
    with tempfile.TemporaryDirectory() as scratch:
        learnt = data_of(name, bed, train_of, seed, Path(scratch, "train"), 2 * len(train_of) // 3)
        held = data_of(name, bed, test_of, seed + 1000, Path(scratch, "test"), test)
        held = [r for r in held if isinstance(r, Record)]
        begin = time.process_time()
        row = load_row(name, "small", **settings)
        trainer = Trainer(row, learnt, seed=seed, workers=0)
        untrained = measure(name, trainer, held)
        prepare(name, trainer, learnt, seed, quick)
        trainer.fit(progress=False)
        trained = measure(name, trainer, held)
    return {
        "untrained": untrained, "trained": trained, "items": len(learnt), "held": len(held),
        "seconds": round(time.process_time() - begin, 1),
    }  # fmt: skip


# ---- the table -------------------------------------------------------------------------------------------------------


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean over the splits and the half-width of its 95 % t interval."""
    from scipy.stats import t

    n = len(values)
    half = t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5 if n > 1 else float("nan")
    return float(np.mean(values)), float(half)


def table(results: dict[str, Any]) -> list[str]:
    """Return the lines of the page."""
    lines = [
        "| row | measure | untrained | trained | gain of the last | apart | trained on | CPU seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in sorted(results.items()):
        for metric in next(iter(runs.values()))["trained"]:
            cells: dict[str, list[tuple[float, float]]] = {}
            for when in ("untrained", "trained"):
                columns = np.array([one[when][metric] for one in runs.values()]).T
                cells[when] = [interval(column.tolist()) for column in columns]
            shown = {when: " · ".join(f"{m:.3f} ± {h:.3f}" for m, h in some) for when, some in cells.items()}
            names = [f"R@{k}" for k in KS] + ["beaten"] if len(cells["trained"]) > 1 else ["share"]
            pairs = zip(names, cells["untrained"], cells["trained"], strict=True)
            apart = [label for label, (u, hu), (t, ht) in pairs if t - ht > u + hu]
            seconds = max(one["seconds"] for one in runs.values())
            items = min(one["items"] for one in runs.values())
            gains = [one["trained"][metric][-1] - one["untrained"][metric][-1] for one in runs.values()]
            gain = "{:+.3f} ± {:.3f}".format(*interval(gains))
            what = ", ".join(apart) or "**none**"
            row = (name, metric, shown["untrained"], shown["trained"], gain, what, items, seconds)
            lines.append("| " + " | ".join(map(str, row)) + " |")
    return lines


def write_page(path: Path, results: dict[str, Any], which: str) -> None:
    """Put the table between its marks of a page; lines of rows that were not run stay as they are."""
    text = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {which}: written by benchmarks/bench_rows_stamps.py -->\n", f"<!-- /{which} -->"
    before, _, rest = text.partition(begin)
    old, _, after = rest.partition(end)
    lines = table(results)
    kept = [line for line in old.splitlines()[2:] if line.split("|")[1].strip() not in results]
    body = [*lines[:2], *sorted([*lines[2:], *kept], key=lambda line: line.split("|")[1])]
    path.write_text(before + begin + "\n".join(body) + "\n" + end + after, encoding="utf-8")


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*")
    parser.add_argument("--splits", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="few pictures and epochs: minutes instead of an hour")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "panoglot-rows")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--docs", type=Path, help="write the table of --results into a page, nothing else")
    args = parser.parse_args()
    if strange := [name for name in args.rows if name not in QUICK]:
        raise SystemExit(f"{', '.join(strange)}: not measured here; composers (collm, isa, sprc) by bench_composed.py")
    torch.set_num_threads(1)
    if args.docs:
        results = json.loads(args.results.read_text(encoding="utf-8"))
        write_page(args.docs, results, "rows" if args.quick else "whole")
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    pictures = stamps_of(most=FEW if args.quick else None)
    bed = read_bed(make_dataset(args.folder / "stamps.pano", pictures), args.folder)
    stored_results = args.results and args.results.exists()
    results = json.loads(args.results.read_text(encoding="utf-8")) if stored_results else {}
    for seed in args.splits:
        for name in args.rows or sorted(QUICK):
            if str(seed) in results.get(name, {}):
                continue
            found = run(name, bed, seed, quick=args.quick)
            results.setdefault(name, {})[str(seed)] = found
            print(name, seed, json.dumps(found), flush=True)
            if args.results:
                args.results.write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
