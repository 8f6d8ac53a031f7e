"""Compare our caption metrics with pycocoevalcap's (Java for its tokeniser and METEOR), figure by figure.

    pip install pycocoevalcap langcodes snowballstemmer numpy     # in an environment of its own; Java from the system
    PYTHONPATH=src python benchmarks/parity_pycocoevalcap.py --data ../shared/data

Predictions are those of five captioners (THumB), or real captions: every image keeps its first reference as the
prediction, or gets one of another image.
Exits with 1 when BLEU, ROUGE-L or CIDEr-D differ by more than 1e-9 on pre-tokenised text or 1e-4 with our tokeniser, or
METEOR (with the program's own jar and table, all modules or all but paraphrases) by more than 1e-9 for any caption.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from pycocoevalcap.meteor import meteor as meteor_module

from panoglot.evaluate import bleu, cider, meteor_exact_stem_synonym, rouge_l
from panoglot.text import find_wordnet, tokenizer_for

METEOR_JAR = meteor_module.METEOR_JAR


def captions(data: Path) -> dict[str, list[list[str]]]:
    """References of each image, of two sets."""
    coco = data / "alipay+Ant-Multi-Modal-Framework/coco_caption_karpathy_test.jsonl"
    sets = {"coco karpathy test": [json.loads(line)["caption"] for line in coco.open(encoding="utf-8")]}
    files = [data / f"multi30k+dataset/task2_raw_test_2016.{n}.en.gz" for n in range(1, 6)]
    columns = [gzip.decompress(file.read_bytes()).decode("utf-8").rstrip("\n").split("\n") for file in files]
    sets["multi30k task 2 test 2016"] = [list(row) for row in zip(*columns)]
    return sets


def thumb(data: Path) -> tuple[list[str], list[list[str]]]:
    """2,500 captions of four captioners and of people, with their references."""
    folder = data / "jungokasai+THumB"
    rows = [json.loads(line) for line in (folder / "mscoco_mscoco_references.json").open(encoding="utf-8")]
    refs = {row["seg_id"]: row["refs"] for row in rows}
    said = [json.loads(line) for line in (folder / "mscoco_mscoco_THumB-1.0.jsonl").open(encoding="utf-8")]
    return [row["hyp"] for row in said], [refs[row["seg_id"]] for row in said]


def split(items: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """A prediction for each image: a reference of its own, or one of another image for two of three."""
    own = [item[0] for item in items]
    preds = [own[n] if n % 3 == 0 else items[(n * 7 + 1) % len(items)][n % 5] for n in range(len(items))]
    return preds, [item[1:] for item in items]


def java_tokens(preds: list[str], refs: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    with open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):
        done = PTBTokenizer().tokenize(
            {n: [{"caption": text} for text in (pred, *item)] for n, (pred, item) in enumerate(zip(preds, refs))}
        )
    return [done[n][0] for n in range(len(preds))], [done[n][1:] for n in range(len(preds))]


def theirs(preds: list[str], refs: list[list[str]]) -> dict[str, tuple[float, np.ndarray]]:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    gts, res = dict(enumerate(refs)), {n: [text] for n, text in enumerate(preds)}
    with contextlib.redirect_stdout(io.StringIO()):
        values, items = Bleu(4).compute_score(gts, res)
    found = {f"bleu{k + 1}": (values[k], np.array(items[k])) for k in range(4)}
    found["rouge-l"] = Rouge().compute_score(gts, res)
    found["cider-d"] = Cider().compute_score(gts, res)
    return found


def ours(preds: list[str], refs: list[list[str]], tokenizer: str | None) -> dict[str, tuple[float, np.ndarray]]:
    found = {}
    for k in range(1, 5):
        result = bleu(preds, refs, tokenizer=tokenizer, n=k, on_error="score")
        found[f"bleu{k}"] = (result.value, np.array(result.per_item))
    for metric in (rouge_l, cider):
        result = metric(preds, refs, tokenizer=tokenizer, on_error="score")
        found[result.metric] = (result.value, np.array(result.per_item))
    return found


def main() -> int:
    """Print the table and end in one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PANOGLOT_TEST_DATA", "../shared/data")))
    parser.add_argument("--no-meteor", action="store_true")
    options = parser.parse_args()
    summary: dict[str, object] = {"benchmark": "parity_pycocoevalcap"}
    worst_same, worst_own, worst_meteor = 0.0, 0.0, 0.0
    pairs = {name: split(items) for name, items in captions(options.data).items()}
    pairs["thumb, five captioners"] = thumb(options.data)
    for name, (preds, refs) in pairs.items():
        java_preds, java_refs = java_tokens(preds, refs)
        raw = [text.replace("\n", " ") for text in [*preds, *(text for item in refs for text in item)]]
        mine = tokenizer_for("en")(raw)
        java = [text.split() for text in [*java_preds, *(text for item in java_refs for text in item)]]
        odd = sum(a != b for a, b in zip(mine, java))
        print(f"\n{name}: {len(preds)} captions; tokens differ in {odd} of {len(java)} texts")
        reference = theirs(java_preds, java_refs)
        same, own = ours(java_preds, java_refs, "whitespace"), ours(preds, refs, None)
        print(f"{'metric':8} {'theirs':>10} {'same tokens: corpus, worst item':>34} {'our tokens: corpus':>20}")
        for metric, (value, per_item) in reference.items():
            corpus, item = abs(same[metric][0] - value), float(np.abs(same[metric][1] - per_item).max())
            other = abs(own[metric][0] - value)
            worst_same, worst_own = max(worst_same, corpus, item), max(worst_own, other)
            print(f"{metric:8} {value:10.6f} {corpus:17.1e} {item:16.1e} {other:20.1e}")
        if not options.no_meteor:
            found = meteor(java_preds, java_refs)
            worst_meteor = max(worst_meteor, found.pop("worst"))
            summary[f"meteor {name}"] = {key: round(value, 4) for key, value in found.items()}
    ok = worst_same <= 1e-9 and worst_own <= 1e-4 and worst_meteor <= 1e-9
    worst = {"worst_same_tokens": worst_same, "worst_own_tokens": worst_own, "worst_meteor": worst_meteor}
    print()
    print(json.dumps({**summary, **worst, "ok": ok}))
    return 0 if ok else 1


def java_meteor(preds: list[str], refs: list[list[str]], *modules: str) -> tuple[float, np.ndarray]:
    """What the program prints for pre-tokenised captions; without `modules` as pycocoevalcap calls it."""
    command = ["java", "-Xmx2G", "-jar", METEOR_JAR, "-", "-", "-stdio", "-l", "en", "-norm"]
    if modules:
        command += ["-m", " ".join(modules), "-w", "1.0 0.6 0.8"]
    here = Path(meteor_module.__file__).parent
    with subprocess.Popen(command, cwd=here, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None

        def say(*parts: str) -> None:
            program.stdin.write(" ||| ".join(parts) + "\n")  # type: ignore[union-attr]
            program.stdin.flush()  # type: ignore[union-attr]

        statistics = []
        for pred, item in zip(preds, refs):
            say("SCORE", *item, pred)
            statistics.append(program.stdout.readline().strip())
        say("EVAL", *statistics)
        items = np.array([float(program.stdout.readline()) for _ in preds])
        value = float(program.stdout.readline())
        program.kill()
    return value, items


def meteor(preds: list[str], refs: list[list[str]]) -> dict[str, float]:
    """How far ours is from the Java program, with its own resources (without and with paraphrases) and alone."""
    three = java_meteor(preds, refs, "exact", "stem", "synonym")
    four = java_meteor(preds, refs)
    jar = Path(meteor_module.__file__).with_name(METEOR_JAR)
    found = {"java, no paraphrases": three[0], "java": four[0]}
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(jar, folder)  # without the table beside it
        runs = {
            "with its resources": ({"resources": str(jar)}, four),
            "with its words": ({"resources": str(Path(folder, METEOR_JAR))}, three),
            "alone": ({"synonyms": "wordnet" if find_wordnet() else "none"}, four),
        }
        found["worst"] = 0.0
        for name, (options, (_, items)) in runs.items():
            result = meteor_exact_stem_synonym(preds, refs, tokenizer="whitespace", **options)  # type: ignore[arg-type]
            gap = np.abs(items - np.array(result.per_item))
            found[f"ours {name}"] = float(result)
            found[f"ours {name}, worst caption"] = float(gap.max())
            found[f"ours {name}, mean difference"] = float(gap.mean())
            found[f"ours {name}, pearson"] = float(np.corrcoef(items, np.array(result.per_item))[0, 1])
            if name != "alone":
                found["worst"] = max(found["worst"], float(gap.max()))
    for key, number in found.items():
        print(f"  meteor {key}: {number:.2g}" if "worst" in key else f"  meteor {key}: {number:.4f}")
    return found


if __name__ == "__main__":
    sys.exit(main())
