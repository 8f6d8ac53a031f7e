"""Learned composers beside what their parts find alone: the picture, the words, the sum of both vectors.

    python benchmarks/bench_composed.py [sprc collm isa merit-coral stamps …] [--seeds 0 1 2 3 4] [--results FILE]

`sprc`, `collm`, `isa`: the preset `small` on the synthetic world of `panoglot.training.wishes`: SPRC learns from 1,500
queries that say what answers them, CoLLM from 1,500 pictures with captions, ISA from as many, whose captions teach the
large model alone. 300 other queries, none of whose (picture, wish) was trained on; R@1 among all pictures that answer.

`merit-coral`: the preset `small` on 1,500 queries of three products, each of which gives one of shape, colour and place
(`panoglot.training.product_queries`); 300 other queries, whose answers answered none that was trained on; R@1 among all
96 products but the query's own. `picture`: its pictures without a word, `text`: its words and titles without a picture.

`stamps`: Debian's tuxpaint stamps of seven categories, half of the pictures of each (by seed) to train on, half to
measure on. A query is a picture and "but a bird"; right is a picture of that category whose main colour, as its pixels
say, is the reference's. CoLLM's preset `frozen` learns a composer on vectors of two frozen encoders. R@1: the first
found is right. `untrained`: the same encoders, joined by ConSE. Training wishes are English; they are measured in other
languages too.

Prints a line a method: mean over the seeds with its 95 % interval (Student's t), and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from panoglot.networks import Record, Text, load_row
from panoglot.networks.encoder import TrainedEncoder
from panoglot.training import (
    Trainer,
    captioned,
    catalogue,
    measure_products,
    measure_queries,
    product_queries,
    shown,
    wishes,
)

WAYS = ("both", "picture", "text", "sum")
STAMPS = Path("/usr/share/tuxpaint/stamps")
FOLDERS = {
    "animals/mammals": "a mammal", "animals/birds": "a bird", "animals/insects": "an insect", "food/fruit": "a fruit",
    "food/vegetables": "a vegetable", "plants/flowers": "a flower", "town/houses": "a house",
}  # fmt: skip
#: "but a bird" in other languages.
SAID = {
    "de": "aber {}|ein Säugetier|ein Vogel|ein Insekt|eine Frucht|ein Gemüse|eine Blume|ein Haus",
    "es": "pero {}|un mamífero|un pájaro|un insecto|una fruta|una verdura|una flor|una casa",
    "ar": "لكن {}|حيوان ثديي|طائر|حشرة|فاكهة|خضار|زهرة|منزل",
    "hi": "लेकिन {}|एक स्तनपायी|एक पक्षी|एक कीट|एक फल|एक सब्ज़ी|एक फूल|एक घर",
    "zh": "但是{}|哺乳动物|鸟|昆虫|水果|蔬菜|花|房子",
    "sw": "lakini {}|mamalia|ndege|mdudu|tunda|mboga|ua|nyumba",
}


def products(seed: int, train: int, test: int, **settings: Any) -> dict[str, float]:
    """Train Coral on queries of several products, and measure it."""
    trainer = Trainer(
        load_row("merit-coral", "small", **settings), product_queries(train, seed), seed=seed, augment=False
    )
    trainer.fit(progress=False)
    shop = {" ".join(thing): product for thing, product in catalogue(seed).items()}
    encoder = TrainedEncoder([trainer.encoder], "merit-coral", "merit-coral")
    found = measure_products(encoder, product_queries(test, seed, "test"), gallery=shop)
    return {way: found[f"{way}@1"][0] for way in WAYS}


def world(name: str, seed: int, *, train: int = 1500, test: int = 300, **settings: Any) -> dict[str, float]:
    """Train a method on the synthetic world, and measure it."""
    if name == "merit-coral":
        return products(seed, train, test, **settings)
    kind = "add" if name == "isa" else "change"
    records = wishes(train, seed) if name == "sprc" else captioned(train, seed, kind=kind)
    trainer = Trainer(load_row(name, "small", **settings), records, seed=seed, augment=False)
    trainer.fit(progress=False)
    asked = wishes(test, seed, "test", kind)
    found = measure_queries(TrainedEncoder([trainer.encoder], name, name), asked, shows=shown(asked))
    return {way: found[f"{way}@1"][0] for way in WAYS}


def colour(path: Path) -> str:
    """The main colour of a picture's opaque pixels: a hue in six, or none."""
    import PIL.Image

    pixels = np.asarray(PIL.Image.open(path).convert("RGBA").resize((64, 64)), np.float32).reshape(-1, 4) / 255
    rgb = pixels[pixels[:, 3] > 0.5, :3]
    high, low = rgb.max(1), rgb.min(1)
    spread = high - low
    vivid = spread > 0.25
    if not len(rgb) or vivid.mean() < 0.2:
        return "none"
    rgb, spread, high = rgb[vivid], spread[vivid], high[vivid]
    place = rgb.argmax(1)
    at = np.arange(len(rgb))
    hue = (2 * place + (rgb[at, (place + 1) % 3] - rgb[at, (place + 2) % 3]) / spread) % 6
    return str(int(np.bincount(np.round(hue).astype(int) % 6, minlength=6).argmax()))


def encoded(stamps: Path) -> dict[str, Any]:
    """The pictures of the seven categories, their colours and vectors, and the vectors of all wishes."""
    from panoglot.pictures import Image
    from panoglot.providers import load_model

    paths = [(folder, path) for folder in FOLDERS for path in sorted((stamps / folder).rglob("*.png"))]
    if not paths:
        raise SystemExit(f"no stamps in {stamps}: apt-get install tuxpaint-stamps-default, or --stamps FOLDER")
    eyes, reader = load_model("embedded:efficientnet-lite2", "encoder"), load_model("embedded:e5", "encoder")
    images = [Image.from_path(str(path)) for _, path in paths]
    vectors = np.concatenate([eyes.encode_images(images[n : n + 32]) for n in range(0, len(images), 32)])
    wishes_: dict[str, list[str]] = {"en": [f"but {one}" for one in FOLDERS.values()]}
    for lang, line in SAID.items():
        form, *names = line.split("|")
        wishes_[lang] = [form.format(one) for one in names]
    said = {lang: np.asarray(reader.encode_texts(texts, [lang] * len(texts))) for lang, texts in wishes_.items()}
    kinds = [list(FOLDERS).index(folder) for folder, _ in paths]
    return {"vectors": vectors, "kinds": kinds, "colours": [colour(p) for _, p in paths], "said": said,
            "texts": wishes_["en"]}  # fmt: skip


def stamps(made: dict[str, Any], seed: int) -> dict[str, float]:
    """Train CoLLM's preset `frozen` on half of the stamps, and measure it on the other half."""
    vectors, kinds, colours = made["vectors"].astype(np.float16), made["kinds"], made["colours"]
    order = list(range(len(kinds)))
    random.Random(seed).shuffle(order)
    train = [n for k in range(len(FOLDERS)) for n in [m for m in order if kinds[m] == k][::2]]
    test = sorted(set(order) - set(train))

    def answers(n: int, wish: int, among: list[int]) -> list[int]:
        return [m for m in among if kinds[m] == wish and colours[m] == colours[n] and m != n]

    records = []
    for n in train:
        for wish, text in enumerate(made["texts"]):
            for m in answers(n, wish, train) if wish != kinds[n] else ():
                record = Record(f"{n}-{wish}-{m}", b"", [Text(text, "question", "en")], loader="triples")
                record.pictures, record.pair_id = [b""], f"{wish} {colours[m]}"
                record.vectors = {"image": vectors[n], "others": vectors[[m]], "text": made["said"]["en"][[wish]]}
                records.append(record)
    trainer = Trainer(load_row("collm", "frozen"), records, seed=seed)
    asked = [(n, wish) for n in test for wish in range(len(FOLDERS)) if wish != kinds[n] and answers(n, wish, test)]

    def right(found: np.ndarray, gallery: np.ndarray) -> float:
        scores = found @ gallery.T
        scores[[[m == n for m in test] for n, _ in asked]] = -np.inf
        best = [test[m] for m in scores.argmax(1)]
        return float(np.mean([m in answers(n, wish, test) for m, (n, wish) in zip(best, asked)]))

    def alone() -> tuple[Any, np.ndarray, dict[str, np.ndarray]]:
        encoder = TrainedEncoder([trainer.encoder], "stamps", "stamps")
        pictures = encoder.encode_image_vectors(vectors[[n for n, _ in asked]])
        words = encoder.encode_text_vectors(made["said"]["en"][[wish for _, wish in asked]])
        gallery = encoder.encode_image_vectors(vectors[test])
        return encoder, gallery, {"picture": pictures, "text": words, "sum": pictures + words}

    _, gallery, found = alone()  # the two encoders as they are, joined by ConSE
    out = {f"{way}, untrained": right(rows, gallery) for way, rows in found.items()}
    trainer.fit(progress=False)
    encoder, gallery, found = alone()
    out |= {way: right(rows, gallery) for way, rows in found.items()}
    for lang, said in made["said"].items():
        whole = [(vectors[n].astype(np.float32), said[wish].astype(np.float32)) for n, wish in asked]
        out["both" if lang == "en" else f"both, {lang}"] = right(encoder.encode_query_parts(whole), gallery)
    return out


def interval(values: list[float]) -> tuple[float, float]:
    """The mean, and half of its 95 % interval."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(np.mean(values)), float(half)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=["sprc", "collm", "isa", "merit-coral", "stamps"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--stamps", type=Path, default=STAMPS)
    parser.add_argument("--results", type=Path, help="what lies there is not run again")
    args = parser.parse_args()
    torch.set_num_threads(1)
    kept: dict[str, Any] = json.loads(args.results.read_text()) if args.results and args.results.exists() else {}
    said: dict[str, Any] = {}
    for name in args.methods:
        made: dict[str, Any] = {}
        each = []
        for seed in args.seeds:
            key = f"{name} {seed}"
            if key not in kept:
                if name == "stamps" and not made:
                    made = encoded(args.stamps)
                begin = time.process_time()
                kept[key] = stamps(made, seed) if name == "stamps" else world(name, seed)
                kept[key]["seconds"] = time.process_time() - begin
                print(f"{key}: {kept[key]}", file=sys.stderr, flush=True)
                if args.results:
                    args.results.write_text(json.dumps(kept, indent=1, ensure_ascii=False))
            each.append(kept[key])
        said[name] = {way: [round(v, 3) for v in interval([one[way] for one in each])] for way in each[0]}
        print(f"{name:8}" + "  ".join(f"{way} {mean:.3f} ± {half:.3f}" for way, (mean, half) in said[name].items()))
    print(json.dumps({"bench": "composed", "seeds": args.seeds, **said}, ensure_ascii=False))


if __name__ == "__main__":
    main()
