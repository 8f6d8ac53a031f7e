"""Recall of text -> image search on photographs with human captions in many languages.

Data: Debian's `tuxpaint-stamps-default` (apt-get install tuxpaint-stamps-default; GPL-2, read where it is installed)
and the list of its 285 photographs with distinct English captions (`--list`, or PANOGLOT_TEST_DATA). Gallery: the
photographs over white. Queries: the caption of each photograph in a language, without its final period. A query is
right at k when its own photograph is among the first k of the gallery; ties by gallery order.

    python benchmarks/bench_recall_stamps.py [--encoder embedded:conse] [--langs en,de,es,hi,zh-Hans] [--all]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STAMPS = Path("/usr/share/tuxpaint/stamps")
LANGS = "en,de,es,fr,pt,ru,hi,zh-Hans,ja,ko,th,ar,sw"
KS = (1, 5, 10)


def captions(picture: Path) -> dict[str, str]:
    """Return language tag to caption: the first line is English, then `xx.utf8=text`."""
    from panoglot.languages._tags import parse_language

    lines = picture.with_suffix(".txt").read_text("utf-8", "replace").splitlines()
    found = {"en": lines[0].strip()} if lines else {}
    for line in lines[1:]:
        name, equals, text = line.partition("=")
        tag = parse_language(name) if equals else None
        if tag and text.strip():
            found.setdefault(tag, text.strip())
    return found


def recall(queries: Any, gallery: Any, own: Sequence[int], ks: Sequence[int] = KS) -> list[float]:
    """Return recall at every k. `queries` `[Q, D]`, `gallery` `[G, D]`, `own[q]` is the row of the right picture."""
    import numpy as np

    scores = queries @ gallery.T  # [Q, G]
    ranked = np.argsort(-scores, axis=1, kind="stable")
    place = (ranked == np.asarray(own)[:, None]).argmax(1)
    return [float((place < k).mean()) for k in ks]


def main() -> None:
    data = os.environ.get("PANOGLOT_TEST_DATA", str(Path(__file__).parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="embedded:conse")
    parser.add_argument("--stamps", type=Path, default=STAMPS)
    parser.add_argument("--list", type=Path, default=Path(data) / "tuxpaint-stamps" / "photos-distinct-caption.txt")
    parser.add_argument("--langs", default=LANGS, help="tags, comma separated")
    parser.add_argument("--all", action="store_true", help="every language with at least 100 captions")
    args = parser.parse_args()

    import numpy as np

    from panoglot.pictures import Image
    from panoglot.providers import load_model

    paths = [args.stamps / line for line in args.list.read_text().splitlines() if line]
    texts = [captions(path) for path in paths]
    have = {tag: [n for n, by_lang in enumerate(texts) if tag in by_lang] for tag in {t for d in texts for t in d}}
    langs = sorted(t for t, rows in have.items() if len(rows) >= 100) if args.all else args.langs.split(",")
    encoder = load_model(args.encoder, "encoder")

    start = time.perf_counter()
    gallery = encoder.encode_images([Image.from_path(str(path)) for path in paths])
    image_seconds = time.perf_counter() - start
    results: dict[str, list[float]] = {}
    text_seconds, count = 0.0, 0
    print(
        f"{args.encoder}: {len(paths)} photographs\n{'language':10}{'queries':>8}"
        + "".join(f"{f'R@{k}':>8}" for k in KS)
    )
    for lang in langs:
        rows = have.get(lang, [])
        if not rows:
            print(f"{lang:10}{0:8}  no captions")
            continue
        start = time.perf_counter()
        queries = encoder.encode_texts([texts[n][lang].removesuffix(".") for n in rows], [lang] * len(rows))
        text_seconds, count = text_seconds + time.perf_counter() - start, count + len(rows)
        results[lang] = recall(queries, gallery, rows)
        print(f"{lang:10}{len(rows):8}" + "".join(f"{value:8.3f}" for value in results[lang]))
    chance = [k / len(paths) for k in KS]
    mean = [float(np.mean([r[n] for r in results.values()])) for n in range(len(KS))]
    print(f"{'mean':10}{'':8}" + "".join(f"{value:8.3f}" for value in mean))
    print(f"{'chance':10}{'':8}" + "".join(f"{value:8.3f}" for value in chance))
    print(
        json.dumps(
            {
                "bench": "recall_stamps",
                "encoder": encoder.name,
                "photographs": len(paths),
                "ks": KS,
                "recall": {lang: [round(v, 4) for v in values] for lang, values in results.items()},
                "chance": [round(v, 4) for v in chance],
                "ms_per_image": round(1000 * image_seconds / len(paths), 1),
                "ms_per_text": round(1000 * text_seconds / max(count, 1), 1),
            }
        )
    )


if __name__ == "__main__":
    main()
