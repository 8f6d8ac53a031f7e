"""How well `embedded:langid` names the language of short captions: those of Debian's stamps, their tags hidden.

    apt-get install tuxpaint-stamps-default
    python benchmarks/bench_language.py [--stamps FOLDER] [--engine py3langid] [--min-confidence 0.7]

Beside every stamp is a text file with its caption in up to 77 languages (`de.utf8=Ein Pfotenabdruck.`). Every distinct
text is asked for once. An answer is right when a stamp has this text under a tag of the same language (`no` is right
for `nb` and `nn`, `sr` is not right for `hr`). Coverage: the share of texts of languages that the identifier knows that
get an answer at all; precision: the share of those answers that is right.

Settings: `alone` asks for every text by itself. The others ask for the texts of one source together: `language`, a
source is all captions of one language, as a file `captions_de.txt` is; `eight`, eight captions of one language, a small
folder; `five`, all captions of five languages; `english`, ten captions of one language among 200 English ones, which
are not counted; `all`, all captions of all languages in one table.

The last line is JSON.
"""

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from pathlib import Path

from panoglot.formats._texts import from_text, given
from panoglot.languages import alike, base_language, matches
from panoglot.providers import load_model

SEED = 7
SETTINGS = ("alone", "language", "eight", "five", "english", "all")


def captions(folder: Path) -> dict[str, set[str]]:
    """Text to the tags that it stands under."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(folder.rglob("*.txt")):
        for caption in from_text(path.read_text("utf-8", errors="replace"), given(None, None)):
            if caption.lang != "und":
                found[" ".join(caption.text.split())].add(caption.lang)
    return found


def right(answer: str, tags: set[str]) -> bool:
    return any(matches(base_language(answer), base_language(tag)) for tag in tags)


def sources(of: dict[str, set[str]], setting: str) -> list[tuple[list[str], list[str]]]:
    """(texts asked for together, those of them that are counted)."""
    rng = random.Random(SEED)
    by_tag: dict[str, list[str]] = defaultdict(list)
    for text, tags in sorted(of.items()):
        by_tag[min(tags)].append(text)
    for texts in by_tag.values():
        rng.shuffle(texts)
    tags = sorted(by_tag)
    if setting == "language":
        groups = [by_tag[tag] for tag in tags]
    elif setting == "eight":
        groups = [by_tag[tag][at : at + 8] for tag in tags for at in range(0, len(by_tag[tag]), 8)]
    elif setting == "five":
        rng.shuffle(tags)
        groups = [[text for tag in tags[at : at + 5] for text in by_tag[tag]] for at in range(0, len(tags), 5)]
    elif setting == "english":
        return [(by_tag["en"][:200] + by_tag[tag][:10], by_tag[tag][:10]) for tag in tags if base_language(tag) != "en"]
    else:
        groups = [[text for tag in tags for text in by_tag[tag]]]
    return [(group, group) for group in groups]


def measure(model, of: dict[str, set[str]], setting: str) -> dict[str, float]:
    asked = answered = good = near = other = named = words = word_answers = word_good = 0
    started = time.perf_counter()
    if setting == "alone":
        texts = list(of)
        answers = dict(zip(texts, model.identify(texts)))
        counted = [(text, answers[text][0]) for text in texts]
    else:
        counted = []
        for together, of_interest in sources(of, setting):
            answers = dict(zip(together, model.identify_together(together)))
            counted += [(text, answers[text][0]) for text in of_interest]
    seconds = time.perf_counter() - started
    for text, answer in counted:
        if not any(base_language(tag) in model.languages for tag in of[text]):
            other, named = other + 1, named + (answer != "und")
            continue
        hit = answer != "und" and right(answer, of[text])
        asked, answered, good = asked + 1, answered + (answer != "und"), good + hit
        near += answer != "und" and not hit and any(alike(answer, tag) for tag in of[text])
        if len(text.split()) == 1:
            words, word_answers, word_good = words + 1, word_answers + (answer != "und"), word_good + hit
    return {
        "texts": asked,
        "coverage": round(answered / asked, 4),
        "precision": round(good / answered, 4),
        "relatives": round(near / max(1, answered - good), 2),
        "words": words,
        "word_coverage": round(word_answers / max(1, words), 4),
        "word_precision": round(word_good / max(1, word_answers), 4),
        "unknown_texts": other,
        "unknown_named": round(named / max(1, other), 4),
        "microseconds": round(1e6 * seconds / max(1, len(counted)), 1),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--stamps", type=Path, default=Path("/usr/share/tuxpaint/stamps"))
    arguments.add_argument("--engine", default="py3langid")
    arguments.add_argument("--min-confidence", type=float)
    arguments.add_argument("--settings", default=",".join(SETTINGS), help="some of them, by comma")
    options = arguments.parse_args()
    of = captions(options.stamps)
    if not of:
        sys.exit(f"no captions in {options.stamps}: apt-get install tuxpaint-stamps-default")
    name = f"embedded:langid?engine={options.engine}"
    if options.min_confidence is not None:
        name += f"&min_confidence={options.min_confidence}"
    model = load_model(name, "language_identifier")
    tags = {tag for found in of.values() for tag in found}
    print(f"{model.name}, und below {model.min_confidence}: {len(of):,} texts under {len(tags)} tags\n")
    print(
        "| source | texts | coverage | precision | wrong: a relative | single words | of unknown languages named | µs |"
    )
    print("|---|---|---|---|---|---|---|---|")
    results = {}
    for setting in options.settings.split(","):
        one = results[setting] = measure(model, of, setting)
        figures = f"{one['texts']:,} | {one['coverage']:.3f} | {one['precision']:.3f} | {one['relatives']:.2f}"
        words = f"{one['word_coverage']:.3f} at {one['word_precision']:.3f}"
        other = f"{one['unknown_named']:.2f} of {one['unknown_texts']:,}"
        print(f"| {setting} | {figures} | {words} | {other} | {one['microseconds']:.0f} |", flush=True)
    print(json.dumps({"model": model.name, "min_confidence": model.min_confidence, "seed": SEED, **results}))


if __name__ == "__main__":
    main()
