"""CPU seconds of the caption metrics: 5,000 images with 5 references, and the English tokeniser on 30,000 captions.

    OMP_NUM_THREADS=1 python benchmarks/bench_caption_metrics.py [--data ../shared/data] [--repeat 5]

Real COCO captions where the test data is; else captions drawn from a Zipf vocabulary. The least of `--repeat` runs
counts.
The floor of a metric is what any Python program must do first: split the text and number its words. The figures of
pycocoevalcap 1.2 are measured in its own environment (`--peer`), where that is installed, else those of the study.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BARS = {"cider-d": 0.5, "rouge-l": 0.1, "bleu": 0.25, "tokeniser": 0.2}
STUDY = {"cider-d": 2.5, "rouge-l": 0.53, "bleu": 0.65, "tokeniser": 0.58}


def load(data: Path) -> tuple[str, list[str], list[list[str]]]:
    """5,000 predictions with 5 references each."""
    file = data / "alipay+Ant-Multi-Modal-Framework/coco_caption_karpathy_test.jsonl"
    if file.is_file():
        items = [json.loads(line)["caption"] for line in file.open(encoding="utf-8")][:5000]
        # as many as a captioner's test has: 5 references, and a prediction that is close to some image's caption
        preds = [items[n][0] if n % 3 == 0 else items[(n * 7 + 1) % len(items)][0] for n in range(len(items))]
        return "coco", preds, [item[:5] for item in items]
    draw = random.Random(0)
    vocabulary = [f"word{n}" for n in range(8000)]
    weights = [1 / (n + 1) for n in range(8000)]

    def sentence() -> str:
        return " ".join(draw.choices(vocabulary, weights, k=draw.randint(8, 14))).capitalize() + "."

    return "synthetic", [sentence() for _ in range(5000)], [[sentence() for _ in range(5)] for _ in range(5000)]


def least(run: Callable[[], Any], repeat: int) -> float:
    """Least CPU seconds."""
    found = []
    for _ in range(repeat):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found)


def peer(preds: list[str], refs: list[list[str]], repeat: int) -> dict[str, float]:
    """pycocoevalcap in this environment, when it is there."""
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError:
        return {}
    gts, res = dict(enumerate(refs)), {n: [text] for n, text in enumerate(preds)}
    with contextlib.redirect_stdout(io.StringIO()):
        return {
            "cider-d": least(lambda: Cider().compute_score(gts, res), repeat),
            "rouge-l": least(lambda: Rouge().compute_score(gts, res), repeat),
            "bleu": least(lambda: Bleu(4).compute_score(gts, res), repeat),
        }


def main() -> None:
    """Print a table and one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PANOGLOT_TEST_DATA", "../shared/data")))
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    from panoglot.evaluate import bleu, cider, rouge_l
    from panoglot.text import PTBTable

    source, raw, raw_refs = load(options.data)
    every = [*raw, *(text for item in raw_refs for text in item)]
    tokens = iter(" ".join(words) for words in PTBTable().tokenize(every))
    preds = [next(tokens) for _ in raw]
    refs = [[next(tokens) for _ in item] for item in raw_refs]

    def floor() -> None:
        numbers: dict[str, int] = {}
        for text in preds:
            [numbers.setdefault(word, len(numbers)) for word in text.split()]
        for item in refs:
            for text in item:
                [numbers.setdefault(word, len(numbers)) for word in text.split()]

    ours = {
        "cider-d": least(lambda: cider(preds, refs, tokenizer="whitespace"), options.repeat),
        "rouge-l": least(lambda: rouge_l(preds, refs, tokenizer="whitespace"), options.repeat),
        "bleu": least(lambda: bleu(preds, refs, tokenizer="whitespace"), options.repeat),
        "tokeniser": least(lambda: PTBTable().tokenize(every), options.repeat),
    }
    found = peer(preds, refs, min(options.repeat, 3))
    base = least(floor, options.repeat)
    chunks = least(lambda: [text.split() for text in every], options.repeat)
    print(f"{source}: {len(preds)} images, {sum(map(len, refs))} references, {len(every)} captions to tokenise")
    print(f"{'':10} {'ours':>8} {'floor':>8} {'bar':>6} {'pycocoevalcap':>14}   CPU s")
    for name, seconds in ours.items():
        other = f"{found[name]:.2f} here" if name in found else f"{STUDY[name]:.2f} study"
        print(f"{name:10} {seconds:8.3f} {chunks if name == 'tokeniser' else base:8.3f} {BARS[name]:6.2f} {other:>14}")
    print(
        json.dumps(
            {
                "benchmark": "caption_metrics", "source": source, "cpu_s": {k: round(v, 4) for k, v in ours.items()},
                "floor_s": round(base, 4), "peer_cpu_s": {k: round(v, 4) for k, v in (found or STUDY).items()},
                "peer_measured_here": bool(found),
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
