"""Run every captioning method on the same pictures by the parts that are embedded; write the page that compares them.

    python scripts/compare_methods.py PICTURES -o compare.html [--stamps 30] [--methods scalecap,fusecap]

PICTURES are photographs, for example those of scripts/quickstart.sh; to them come Debian's stamps
(apt-get install tuxpaint-stamps-default) with what people wrote of them. Without a captioner `embedded:evidence` stands
in, without a language model `llm:gemma3-270m` (pip install 'panoglot[llm]'), which continues texts and follows no
instruction: what it writes is a test of the guards, not of the methods. Prints a line a method: share of fallbacks,
seconds a picture. The answers of models are kept in the dataset beside the page, so the same command goes on.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import panoglot
from panoglot.running import get_method, list_methods

STAMPS = Path("/usr/share/tuxpaint/stamps")
#: Methods that work on one picture and write a text about it, quick ones first; the others have pages of their own.
METHODS = (
    "describe,evidence,densefusion,sharegpt4v,rank-and-fuse,veclip,capsfusion,fusecap,image-textualization,"
    "caption-boosting,describe-crops,revisit-captions,mlbcap,scalecap,viscon,patch-matters"
)
#: What the methods are given here beside their defaults: the texts of people as raw texts, faces as the detector, and
#: answers no longer than a small model can keep up.
SET = (
    "capsfusion.raw_kinds=human",
    "veclip.raw_kinds=human",
    "capsfusion.captioner=captioner",
    "fusecap.captioner=captioner",
    "describe-crops.boxes=detector",
    "describe-crops.detector=detector",
    "patch-matters.detector=detector",
    "densefusion.detector=detector",
    "image-textualization.max_tokens=120",
    "revisit-captions.max_tokens=60",
    "revisit-captions.retries=0",
    "scalecap.answer_tokens=40",
    "scalecap.merge_tokens=120",
    "scalecap.budget=2",
    "patch-matters.samples=1",
    "patch-matters.max_tokens=40",
    "viscon.max_tokens=80",
    "mlbcap.judge=",
    "mlbcap.max_tokens=80",
    "mlbcap.paragraph_tokens=80",
)


def gather(photographs: Path, stamps: int, to: Path) -> int:
    """Copy the photographs, and stamps from all folders with their texts; returns how many pictures there are."""
    to.mkdir(parents=True, exist_ok=True)
    for path in sorted(photographs.iterdir()):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".txt"):
            shutil.copyfile(path, to / path.name)
    found = [p for p in sorted(STAMPS.rglob("*.png")) if p.with_suffix(".txt").exists() and "mirror" not in p.stem]
    if stamps and not found:
        raise SystemExit(f"there are no stamps at {STAMPS}: apt-get install tuxpaint-stamps-default, or --stamps 0")
    for path in found[:: max(1, len(found) // max(1, stamps))][:stamps]:
        name = "-".join(path.relative_to(STAMPS).parts)
        shutil.copyfile(path, to / name)
        shutil.copyfile(path.with_suffix(".txt"), (to / name).with_suffix(".txt"))
    return sum(path.suffix != ".txt" for path in to.iterdir())


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="a folder of photographs")
    parser.add_argument("-o", "--output", type=Path, default=Path("compare.html"))
    parser.add_argument("--stamps", type=int, default=30)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--captioner", default="embedded:evidence")
    parser.add_argument("--llm", default="llm:gemma3-270m")
    parser.add_argument("--encoder", default="embedded:conse")
    parser.add_argument("--detector", default="embedded:faces")
    parser.add_argument("--set", action="append", default=[], help="more options, METHOD.OPTION=VALUE")
    given = parser.parse_args()
    names = given.methods.split(",")
    if unknown := set(names) - {method.name for method in list_methods() if method.verb == "caption"}:
        parser.error(f"no captioning method: {', '.join(sorted(unknown))}")
    dataset = given.output.with_suffix(".pano")
    photographs = given.output.with_suffix("")
    count = gather(given.pictures, given.stamps, photographs)
    panoglot.ingest(photographs, output=dataset, quiet=True)
    options = [one for one in (*SET, *given.set) if one.partition(".")[0] in names]
    named = {one.rpartition("=")[2] for one in options}
    said = {one.partition("=")[0] for one in options}
    for name in names:
        for option in get_method(name).options().values():
            values = option.default if isinstance(option.default, tuple) else (option.default,)
            if f"{name}.{option.name}" not in said:
                named.update(value for value in values if isinstance(value, str))
    models = {"captioner": given.captioner, "llm": given.llm, "encoder": given.encoder, "detector": given.detector}
    models = {alias: model for alias, model in models.items() if alias in named or alias == "encoder"}
    done = panoglot.caption(
        dataset, method=names, sample=count, compare=given.output, set=options, **models, quiet=True
    )
    print(f"{len(done.images)} pictures, {given.captioner}, {given.llm}: {done.path}")
    print("| method | kept | dropped | failed | fell back | where | seconds a picture |\n|---|---|---|---|---|---|---|")
    for one in done.methods:
        seconds = "–" if one.seconds is None else f"{one.seconds / 1000:.2f}"
        share = "–" if one.fell_back is None else f"{one.fell_back:.0%}"
        figures = [len(one.kept), len(one.dropped), len(one.problems), share, one.fell_where, seconds]
        print(f"| `{one.name}` | " + " | ".join(map(str, figures)) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
