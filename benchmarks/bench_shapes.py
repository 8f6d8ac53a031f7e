"""Every method on the synthetic bed "shapes": does it learn what its paper says it learns, and in how many CPU seconds?

    python benchmarks/bench_shapes.py [methods …] [--seeds 0] [--docs docs/train-methods.md]

Train: 500 pictures, 30 % of the raw texts wrong. Test: 200 other pictures. Each method is measured by its own metric
against chance. With --docs the table is written there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from panoglot.train import Record, Text, Trainer, list_rows, load_row, recall, shapes
from panoglot.train._data import load_pixels, square
from panoglot.train.losses import generalised_iou, match_boxes
from panoglot.train.towers import HashTokens

N_TEST = 200
LANGS = {"rs-m-clip": ("en", "qaa", "qab"), "dc-clip": ("en", "qaa", "qab"), "m2-encoder": ("en", "qaa", "qab")}


def pixels(records):
    return torch.stack([square(load_pixels(r.image, 32), 32) for r in records])


def text(record, lang):
    return next(t.text for t in record.texts if t.kind != "raw" and t.lang == lang)


def facets(records, dim=64, of=11):
    """Give every record stored vectors: hashed words through fixed random maps, a map a facet (FLAME's stand-in)."""
    maps = np.random.default_rng(0).standard_normal((of, 4096, dim)).astype(np.float32)
    tokens = HashTokens(4096)
    for r in records:
        bag = np.bincount(tokens.ids(text(r, "en")), minlength=4096).astype(np.float32)
        v = np.sqrt(bag) @ (maps * 0.15 + maps[:1])
        r.vectors = {"text": (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float16)}
    return records


def coarse(records):
    """Give every record a frozen picture vector: its mean colours on a grid (the char-GRU's stand-in)."""
    for r in records:
        v = r.image.reshape(3, 8, 4, 8, 4).mean((2, 4)).ravel() - 0.25
        r.vectors = {"image": (v / np.linalg.norm(v)).astype(np.float32)}
    return records


def passages(records):
    """Make triples: a query for a picture's objects in another order, its long text, another picture's."""
    out = []
    for i, r in enumerate(records):
        long = text(r, "en")
        query = " and ".join(reversed(long.rstrip(".").split(". ")))
        other = text(records[(i + 7) % len(records)], "en")
        answers = [Text(long, "answer", "en", score=1.0), Text(other, "answer", "en", score=0.0)]
        out.append(Record(r.id, texts=[Text(query, "question", "en"), *answers], split=r.split))
    return out


def retrieval(model, test, name):
    x = model.encode_pixels(pixels(test))
    each = [
        recall(x, model.encode_texts([text(r, lang) for r in test], [lang] * len(test)), torch.arange(len(test)))[
            "t2i@1"
        ]
        for lang in LANGS.get(name, ("en",))
    ]
    return {"text→image R@1": (float(np.mean(each)), 1 / len(test))}


def measure(name, trainer, test):
    """Return metric → (figure, chance)."""
    model = trainer.model.eval()
    every = torch.arange(len(test))
    with torch.no_grad():
        if name == "flame":
            y = torch.nn.functional.normalize(
                torch.tensor(np.stack([r.vectors["text"].mean(0) for r in test])).float(), dim=1
            )
            return {"text→image R@1": (recall(model.encode_pixels(pixels(test)), y, every)["t2i@1"], 1 / len(test))}
        if name == "vgs-char-gru":
            x = model.encode_pixels(torch.tensor(np.stack([r.vectors["image"] for r in test])))
            y = model.encode_texts([text(r, "en") for r in test])
            return {"text→image R@1": (recall(x, y, every)["t2i@1"], 1 / len(test))}
        if name == "colbert-xm":
            part, out = model.parts["colbert"], []
            for k in (0, 1):
                ids, mask = model.text.tokens([r.texts[k].text for r in test])
                out.append((part.vectors(model.text(ids, mask, ["en"] * len(ids))[1]), mask))
            (q, q_mask), (p, p_mask) = out
            scores = torch.stack(
                [
                    torch.einsum("kd,pld->pkl", a[m], p).masked_fill(~p_mask[:, None], -9).amax(-1).sum(1)
                    for a, m in zip(q, q_mask, strict=True)
                ]
            )
            return {"query→passage R@1": (float((scores.argmax(1) == every).double().mean()), 1 / len(test))}
        found = retrieval(model, test, name)
        if name == "grain":
            _, _, boxes = model.head(model.image(pixels(test))[1])
            want = torch.zeros(len(test), 3, 4)
            mask = torch.zeros(len(test), 3, dtype=torch.bool)
            for i, r in enumerate(test):
                for j, region in enumerate(r.regions):
                    want[i, j], mask[i, j] = torch.tensor(region.centred()), True
            i, q, t = match_boxes(boxes, want, mask)
            corner = lambda b: torch.cat([b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2], -1)  # noqa: E731
            found["mean GIoU of matched boxes"] = (
                float(generalised_iou(corner(boxes[i, q]), corner(want[i, t])).mean()),
                0.0,
            )
    return found


def run(name, seed):
    """Train and measure one method."""
    train_set, test = shapes(500, seed), shapes(N_TEST, seed, "test")
    if name == "flame":
        train_set, test = facets(train_set), facets(test)
    if name == "vgs-char-gru":
        train_set, test = coarse(train_set), coarse(test)
    if name == "colbert-xm":
        train_set, test = passages(train_set), passages(test)
    more = {}
    if name == "vgs-char-gru":
        more = {"image": {"kind": "vector", "width": 192}, "sampler": {"kind": "each", "langs": ["en"]}}
    if name == "dc-clip":  # its teacher is a CLIP that was trained here, with texts that are right
        teacher = Trainer(load_row("veclip", "small"), train_set, seed=seed)
        teacher.fit()
        x = teacher.model.encode_pixels(pixels(train_set))
        for r, v in zip(train_set, x, strict=True):
            y = teacher.model.encode_texts([t.text for t in r.texts])
            r.vectors = {"image": v.numpy(), "text": y.numpy()}
        first = {"sampler": {"kind": "one", "kinds": ["long"]}}
        more = {"losses": {"regress": {"adapter": "none"}}, "stages": {"distil": first}}
    begin = time.process_time()
    trainer = Trainer(load_row(name, "small", **more), train_set, seed=seed)
    trainer.fit()
    seconds = time.process_time() - begin
    return measure(name, trainer, test), seconds


def main():
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--docs", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    report, lines = {}, []
    for name in args.methods or list_rows():
        results = [run(name, seed) for seed in args.seeds]
        seconds = max(s for _, s in results)
        for metric, (_, chance) in results[0][0].items():
            values = [r[metric][0] for r, _ in results]
            times = f"{np.mean(values) / chance:.0f}×" if chance else "–"
            cells = (name, metric, " ".join(f"{v:.3f}" for v in values), f"{chance:.3f}", times, f"{seconds:.0f}")
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
            report.setdefault(name, {})[metric] = {"values": values, "chance": chance, "cpu_seconds": seconds}
    if args.docs:
        seeds = " ".join(map(str, args.seeds))
        head = [
            "# The methods on the test bed",
            "",
            f"Made by `python benchmarks/bench_shapes.py --seeds {seeds} --docs docs/train-methods.md`:",
            "the `small` preset of every method on 500 synthetic pictures, measured on 200 others; one figure a seed.",
            "The bed shows that a method learns what it should, not which one is better: the pictures are toys.",
            "",
            "| method | its metric | figure | chance | times chance | CPU seconds, one core |",
            "|---|---|---|---|---|---|",
        ]
        args.docs.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    print(json.dumps({"benchmark": "shapes", "seeds": args.seeds, "methods": report}))


if __name__ == "__main__":
    main()
