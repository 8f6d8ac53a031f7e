"""Words, meaning and pictures together: recall of text -> image search on the stamps, with captions and without.

Data as in `bench_recall_stamps`. A dataset of the photographs with their captions in all languages is built (or given);
queries are the captions of a language without their final period. `there`: all captions are in the index; `hidden`:
those of the query's language (any tag of it) are not. `pictures`: picture vectors alone. Then how many made-up words
(five scripts; not those that the calibration used) come back empty, how many words for things, and of the queries; and
how well things that are in no caption are told from true queries: by the line that says that an answer is weak, and
by the best cosine of pictures and of captions, as areas under the ROC curve.

    python benchmarks/bench_hybrid_stamps.py [--dataset stamps.pano] [--langs de,hi,…] [--most 100]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

LANGS = "en,de,es,fr,pt,it,nl,ru,uk,pl,cs,hu,fi,el,tr,hi,zh-Hans,ja,ko,th,ar,he,id,vi,sw"
KS = (1, 5, 10)
STAMPS = Path("/usr/share/tuxpaint/stamps")


def built(listed: Path, stamps: Path, folder: Path) -> Path:
    """Build the dataset: the photographs with their captions, vectors of pictures and of captions."""
    from panoglot import build
    from panoglot.retrieval import index

    for line in listed.read_text().splitlines():
        for name in (line, str(Path(line).with_suffix(".txt"))):
            (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(stamps / name, folder / "photos" / name)
    recipe = folder / "recipe.yaml"
    steps = [{"encode": {"encoder": "embedded:conse", "of": "images"}}]
    recipe.write_text(json.dumps({"source": str(folder / "photos"), "output": str(folder / "x.pano"), "steps": steps}))
    build(str(recipe))
    index(folder / "x.pano", captions=True)
    return folder / "x.pano"


#: Words for things, of which the stamps show many.
THINGS = {
    "en": "bird dog cat fish flower tree house boat train owl horse cow sheep elephant lion tiger bear "
    "snake turtle frog butterfly spider bee apple banana tomato clock chair lamp moon sun cloud "
    "mountain penguin fox wolf deer umbrella",
    "de": "Vogel Hund Katze Fisch Blume Baum Haus Boot Zug Eule Pferd Kuh Schaf Elefant Löwe Tiger Bär "
    "Schlange Frosch Schildkröte Schmetterling Spinne Biene Apfel Banane Tomate Uhr Stuhl Lampe Mond "
    "Sonne Wolke Berg Pinguin Fuchs Wolf",
    "es": "pájaro perro gato pez flor árbol casa barco tren búho caballo vaca oveja elefante león tigre oso "
    "serpiente rana tortuga mariposa araña abeja manzana plátano tomate reloj silla lámpara luna sol "
    "nube montaña pingüino zorro lobo",
    "fr": "oiseau chien chat poisson fleur arbre maison bateau train hibou cheval vache mouton éléphant "
    "lion tigre ours serpent grenouille tortue papillon araignée abeille pomme banane tomate horloge "
    "chaise lampe lune soleil nuage loup",
    "it": "uccello cane gatto pesce fiore albero casa barca treno gufo cavallo mucca pecora elefante leone "
    "tigre orso rana serpente tartaruga farfalla ragno ape mela banana pomodoro orologio sedia "
    "lampada luna sole nuvola montagna volpe",
    "ru": "птица собака кошка рыба цветок дерево дом лодка поезд сова лошадь корова овца слон лев тигр "
    "медведь змея паук черепаха лягушка бабочка пчела яблоко банан помидор часы стул лампа луна "
    "солнце облако гора пингвин лиса волк",
    "hi": "पक्षी कुत्ता बिल्ली मछली फूल पेड़ घर नाव उल्लू बतख घोड़ा गाय भेड़ हाथी शेर बाघ भालू बंदर "
    "साँप कछुआ मेंढक तितली मकड़ी सेब केला टमाटर घड़ी कुर्सी चाँद सूरज",
    "th": "นก สุนัข แมว ปลา ดอกไม้ ต้นไม้ บ้าน เรือ รถไฟ นกฮูก เป็ด ม้า วัว แกะ ช้าง สิงโต เสือ หมี "
    "ลิง งู เต่า กบ ผีเสื้อ แมงมุม กล้วย นาฬิกา เก้าอี้ ดวงจันทร์",
    "sw": "ndege mbwa paka samaki ua mti nyumba mashua treni bundi bata farasi kondoo tembo simba chui dubu "
    "nyani nyoka kobe chura kipepeo buibui tufaha ndizi nyanya saa kiti mwezi jua mlima",
}  # fmt: skip


def hide(searcher: Any, lang: str | None) -> None:
    """Let the searcher see no caption of a language."""
    from panoglot.languages import base_language, script_of_character
    from panoglot.table import sql_in
    from panoglot.text import grams

    plain = type(searcher.lexicon)._ask

    def ask(query: Any, limit: int | None, where: str | None) -> Any:
        own = None if lang is None else f"not (lang = '{lang}' or lang like '{lang}-%')"
        return plain(searcher.lexicon, query, limit, " and ".join(f"({w})" for w in (own, where) if w) or None)

    searcher.lexicon._ask = ask
    tags = {row["lang"] for row in searcher.dataset.captions.rows(["lang"], "dropped is null")}
    seen = sorted(tag for tag in tags if lang is None or base_language(tag) != lang)
    counts: dict[str, set[str]] = {}
    for row in searcher.dataset.captions.rows(["text"], f"dropped is null and {sql_in('lang', seen)}"):
        for word in grams(row["text"]):
            counts.setdefault(script_of_character(word[0]), set()).add(word)
    searcher.lexicon.scripts = lambda: {script: len(words) for script, words in counts.items()}


def absent(searcher: Any, each: int) -> dict[str, list[str]]:
    """Things by language, as Unicode names their emoji, of whose words no caption of any language has one."""
    import emoji

    from panoglot.text import grams

    said = {word for row in searcher.dataset.captions.rows(["text"], "dropped is null") for word in grams(row["text"])}
    found: dict[str, list[str]] = {}
    for lang in ("en", "de", "es", "fr", "pt", "ru", "ar", "zh", "ja", "ko"):
        emoji.config.load_language(lang)
        names = {one[lang].strip(":").replace("_", " ") for one in emoji.EMOJI_DATA.values() if lang in one}
        new = sorted(name for name in names if name.isalpha() and not said & set(grams(name)))
        found[lang] = new[:: max(1, len(new) // each)][:each]
    return found


def told_apart(searcher: Any, captions: dict[str, dict[str, str]], each: int) -> str:
    """How absent things are answered, and the areas under the ROC curve that tell them from true queries."""

    def answers(texts: list[str]) -> list[dict[str, float]]:
        made = []
        for text in texts:
            hits = searcher.search(text)
            best = {name: max((hit.parts[name]["value"] for hit in hits if name in hit.parts), default=-1.0)
                    for name in ("picture", "caption")}  # fmt: skip
            made.append({**best, "empty": not hits, "line": -float(not hits or any("weak" in n for n in hits.notes))})
        return made

    gone, true = [], []
    for lang, things in absent(searcher, each).items():
        texts = sorted(captions.get("zh-Hans" if lang == "zh" else lang, {}).values())
        gone += answers(things)
        true += answers([text.rstrip(".。।") for text in texts[:: max(1, len(texts) // each)][:each]])
    areas = []
    for name in ("line", "picture", "caption"):
        wins = [(a[name] > b[name]) + (a[name] == b[name]) / 2 for a in true for b in gone]
        areas.append(f"by the {'line' if name == 'line' else f'best {name}'} {sum(wins) / len(wins):.3f}")
    empty, weak = (sum(row[key] != 0 for row in gone) for key in ("empty", "line"))
    loud = sum(row["line"] != 0 for row in true)
    return (
        f"things in no caption: {len(gone)}, {empty} come back empty, {weak} empty or said to be weak; "
        f"of {len(true)} true queries {loud} are; area under the curve {', '.join(areas)}"
    )


def main() -> None:
    data = os.environ.get("PANOGLOT_TEST_DATA", str(Path(__file__).parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, default=STAMPS)
    parser.add_argument("--list", type=Path, default=Path(data) / "tuxpaint-stamps" / "photos-distinct-caption.txt")
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--langs", default=LANGS)
    parser.add_argument("--most", type=int, default=10_000, help="queries of each language, evenly chosen")
    parser.add_argument("--words", type=int, default=200, help="made-up words")
    parser.add_argument("--try-weights", action="store_true", help="compare weights of the parts")
    args = parser.parse_args()

    from panoglot.languages import base_language
    from panoglot.retrieval import Searcher
    from panoglot.retrieval._calibration import made_up

    with tempfile.TemporaryDirectory() as folder:
        searcher = Searcher(args.dataset or built(args.list, args.stamps, Path(folder)))
        captions: dict[str, dict[str, str]] = {}
        rows = searcher.dataset.captions.rows(["image_id", "text", "lang"], "dropped is null")
        dropped = searcher.dataset.dropped_images()
        for row in sorted((row for row in rows if row["image_id"] not in dropped), key=lambda r: r["lang"]):
            captions.setdefault(row["lang"], {}).setdefault(row["image_id"], row["text"])
        weights: list[dict[str, float] | None] = [None]
        if args.try_weights:
            weights += [{"lexical": a, "caption": b, "picture": c}
                        for a in (0.5, 1.0) for b in (1.0, 1.5) for c in (0.25, 0.5, 1.0)]  # fmt: skip
        means: dict[str, list[list[float]]] = {}
        empty = {"there": 0, "hidden": 0, "asked": 0}
        print(f"{'language':10}{'queries':>8}  pictures @1 @5 @10      hidden @1 @5 @10        there @1 @5 @10")
        for lang in args.langs.split(","):
            asked = sorted(captions.get(lang, {}).items())
            asked = asked[:: -(-len(asked) // args.most)]
            if len(captions.get(lang, {})) < 50:
                print(f"{lang:10}{len(asked):8}  too few")
                continue
            line = f"{lang:10}{len(asked):8}"
            for mode in ("pictures", "hidden", "there"):
                hide(searcher, base_language(lang) if mode == "hidden" else None)
                for n, mine in enumerate(weights if mode != "pictures" else [None]):
                    right = [0] * len(KS)
                    for image, text in asked:
                        parts = "picture" if mode == "pictures" else None
                        hits = searcher.search(text.rstrip(".。।"), k=KS[-1], parts=parts, weights=mine)
                        ids = [hit.image_id for hit in hits]
                        for at, k in enumerate(KS):
                            right[at] += image in ids[:k]
                        if mode != "pictures" and not n:
                            empty[mode] += not hits
                    found = [value / len(asked) for value in right]
                    means.setdefault(f"{mode} {mine or ''}".strip(), []).append(found)
                    if not n:
                        line += "   " + "".join(f"{value:7.3f}" for value in found)
            empty["asked"] += len(asked)
            print(line, flush=True)
        hide(searcher, None)
        for name, found in means.items():
            print(
                f"mean {name:60}" + "".join(f"{sum(row[n] for row in found) / len(found):7.3f}" for n in range(len(KS)))
            )
        words = made_up(args.words, seed=99)
        gone = sum(not searcher.search(word) for word in words)
        print(f"made-up words that come back empty: {gone} of {len(words)}")
        for lang, things in THINGS.items():
            named = things.split()
            hide(searcher, lang)
            gone = sum(not searcher.search(word) for word in named)
            print(f"words of {lang} for things that come back empty, its captions hidden: {gone} of {len(named)}")
        hide(searcher, None)
        print(told_apart(searcher, captions, 20))
        print(f"queries that come back empty: there {empty['there']}, hidden {empty['hidden']} of {empty['asked']}")


if __name__ == "__main__":
    main()
