"""Figures of real pages: Debian's help of GIMP, in the languages that are there, beside what plain patterns count.

    apt-get download gimp-help-en gimp-help-ja && for f in gimp-help-*.deb; do dpkg-deb -x "$f" gimp; done
    python scripts/check_pages.py gimp/usr/share/gimp/2.0/help [--write]

For every language: pages; pictures with a title or caption in the source (counted with a pattern, no HTML parser); how
many `--extract wit` gives with a caption; how many stand at the same place of the English page; captions that are not
word for word those of the English page (many were never translated); and of the longer ones of these how many an
identifier of languages confirms. `--write` puts the table into docs/formats.md. Exit code 1 where a place is missed.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

from panoglot.formats import Sample, read_source
from panoglot.languages import language_name
from panoglot.providers import load_model

DOCS = Path(__file__).resolve().parents[1] / "docs" / "formats.md"
MARKS = ("<!-- pages: written by scripts/check_pages.py -->\n", "<!-- /pages -->")
TOKEN = re.compile(
    r'<div class="(?P<open>figure|informalfigure|mediaobject)"|<p class="title">|<div class="caption">|<img|'
    r'<br class="figure-break"'
)
NUMBER = re.compile(r"^\D{0,20}[\d۰-۹]+(\.[\d۰-۹]+)*[.:]?\s*")  # "Figure 16.4."
LONG = 25  # characters of a caption whose language can be told


def places(page: str) -> int:
    """Pictures in the source that have a title (of their figure) or a caption (of their own)."""
    count, inside, titled, picture = 0, False, False, False
    for token in TOKEN.finditer(page):
        text = token[0]
        if token["open"] in ("figure", "informalfigure") or text.startswith("<br"):
            inside, titled, picture = token["open"] == "figure", False, False
        elif text == '<p class="title">':
            titled = inside
        elif token["open"] == "mediaobject":
            picture = False
        elif text == "<img" and titled:
            count += 1
        elif text == "<img":
            picture = True
        elif text == '<div class="caption">' and picture:
            count, picture = count + 1, False
    return count


def language(folder: Path) -> tuple[dict[tuple[str, str, int], str], list[tuple[str, str]], int, int]:
    """Captions by (page, picture, number), captions with their languages, pages, places."""
    found: dict[tuple[str, str, int], str] = {}
    seen: dict[tuple[str, str], int] = defaultdict(int)
    captions = []
    for one in read_source(folder, "wit", min_side=1, min_characters=1):
        if not isinstance(one, Sample):
            continue
        said = [caption for caption in one.captions if caption.kind == "human"]
        page = Path(one.uri.partition("#")[0]).name
        if said:
            key = (page, str(one.context["image_url"]))
            found[(*key, seen[key])] = said[0].text
            seen[key] += 1
            captions.append((said[0].lang, said[0].text))
    pages = sorted(folder.glob("*.html"))
    return found, captions, len(pages), sum(places(page.read_text(encoding="utf-8")) for page in pages)


def main() -> int:
    """Print the table."""
    root = Path(sys.argv[1])
    identifier = load_model("embedded:langid", "language_identifier")
    english = language(root / "en")[0]
    columns = (
        "language",
        "pages",
        "captioned in the source",
        "found",
        "paired with English",
        "translated",
        "identifier agrees",
    )
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    missed = 0
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        found, captions, pages, expected = language(folder)
        tags = {lang for lang, _ in captions}
        assert len(tags) == 1, tags
        (tag,) = tags
        plain = {key: NUMBER.sub("", text) for key, text in found.items()}
        english_plain = {key: NUMBER.sub("", text) for key, text in english.items()}
        own = [text for key, text in plain.items() if tag == "en" or text != english_plain.get(key)]
        long = [text for text in own if len(text) >= LONG // (2 if tag[:2] in ("ja", "zh", "ko") else 1)]
        answers = identifier.identify(long)
        right = sum(answer[0].partition("-")[0] == tag.partition("-")[0] for answer in answers)
        pairs = sum(key in english for key in found)
        facts = [
            f"{pages:,}",
            f"{expected:,}",
            f"{len(found):,}",
            f"{pairs:,}",
            f"{len(own):,}",
            f"{right:,} of {len(long):,}",
        ]
        lines.append(f"| {language_name(tag)} (`{tag}`) | {' | '.join(facts)} |")
        missed += max(0, expected - len(found))
        print(lines[-1], flush=True)
    table = "\n".join(lines) + "\n"
    print(table)
    if "--write" in sys.argv:
        text = DOCS.read_text(encoding="utf-8")
        start, rest = text.split(MARKS[0])
        DOCS.write_text(start + MARKS[0] + table + MARKS[1] + rest.split(MARKS[1])[1], encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
