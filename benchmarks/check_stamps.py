"""The whole chain on real data: ingest every stamp, build with the embedded default, search in held-back languages.

Data: Debian's `tuxpaint-stamps-default` (GPL-2, read where it is installed). The captions of held-back languages are
taken out before ingest and used as queries. Recall of text -> image through `panoglot.search`, over the 285 photographs
of the list (an image of the gallery counts at its rank among them) and over every stamp.

    python benchmarks/check_stamps.py [--held de,es,hi,zh-Hans,ja,sw,en] [--keep DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from bench_recall_stamps import KS, STAMPS, captions


def copy_without(source: Path, target: Path, held: set[str]) -> int:
    """Copy pictures and their texts, without the lines of some languages; return how many stamps have a text."""
    from panoglot.languages._tags import parse_language

    count = 0
    for path in sorted(source.rglob("*")):
        if path.suffix not in (".png", ".svg", ".txt"):
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".txt":
            shutil.copyfile(path, place)
            continue
        lines = path.read_text("utf-8", "replace").splitlines()
        kept = [
            line
            for n, line in enumerate(lines)
            if (parse_language(line.partition("=")[0]) if n and "=" in line else "en") not in held
        ]
        if "en" in held and kept:
            kept.insert(0, "")
        place.write_text("\n".join(kept) + "\n", encoding="utf-8")
        count += path.with_suffix(".png").exists() or path.with_suffix(".svg").exists()
    return count


def main() -> None:
    data = os.environ.get("PANOGLOT_TEST_DATA", str(Path(__file__).parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held", default="de,es,hi,zh-Hans,ja,sw")
    parser.add_argument("--list", type=Path, default=Path(data) / "tuxpaint-stamps" / "photos-distinct-caption.txt")
    parser.add_argument("--keep", type=Path, help="keep the dataset here")
    args = parser.parse_args()
    held = set(args.held.split(","))

    import panoglot
    from panoglot.providers import load_model
    from panoglot.retrieval import Searcher
    from panoglot.table import image_id

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "stamps")
        stamps = copy_without(STAMPS, folder, held)
        dataset = args.keep or Path(scratch, "stamps.pano")
        start = time.perf_counter()
        result = panoglot.build(str(folder), str(dataset), curate=False, quiet=True)  # the gallery is every stamp
        seconds = time.perf_counter() - start
        given = result.dataset.captions.read(["lang"], "recipe = 'human'")["lang"].to_pylist()
        print(
            f"{stamps} stamps with texts: {len(result.dataset.images)} pictures, {len(given)} human captions in "
            f"{len(set(given))} languages, {result.rejected} rejects; built in {seconds:.0f} s"
        )
        assert not held & set(given), "a held-back language is in the dataset"
        paths = [STAMPS / line for line in args.list.read_text().splitlines() if line]
        gallery = {image_id(path.read_bytes()) for path in paths}
        searcher, encoder = Searcher(result.dataset), load_model("embedded:conse", "encoder")
        total = len(result.dataset.images)
        recalls: dict[str, list[list[float]]] = {}
        print(f"{'language':10}{'queries':>8}  among 285 photographs      among all {total}")
        for lang in sorted(held):
            ranks: list[tuple[int, int]] = []
            for path in paths:
                text = captions(path).get(lang)
                if not text:
                    continue
                query = encoder.encode_texts([text.removesuffix(".")], [lang])[0]
                order = [found for found, _ in searcher.nearest(query, total)]  # `search` would read every caption too
                own = image_id(path.read_bytes())
                place = order.index(own) if own in order else total
                ranks.append((sum(other in gallery for other in order[:place]), place))
            recalls[lang] = [[sum(rank[n] < k for rank in ranks) / len(ranks) for k in KS] for n in (0, 1)]
            shown = ["  ".join(f"{value:.3f}" for value in values) for values in recalls[lang]]
            print(f"{lang:10}{len(ranks):8}  {shown[0]:26} {shown[1]}")
    print(
        json.dumps({"check": "stamps", "stamps": stamps, "images": total, "seconds": round(seconds), "recall": recalls})
    )


if __name__ == "__main__":
    main()
