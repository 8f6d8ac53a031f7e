"""The page as a file: self-contained, escaped, the same every time, sensible for every dataset."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.reporting import EDGES, choose_images, count, gather, report
from panoglot.table import Caption, Rating, create_dataset, image_id
from tests.conftest import picture_bytes
from tests.reporting.library import HOSTILE, insert_captions, insert_image, insert_run, made, stage


class Page(HTMLParser):
    """The elements of a page: (tag, attributes), and the text outside of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("style", "script"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        self.text += "" if self.open else data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture
def small(tmp_path):
    """Three pictures in four languages, one of them dropped."""
    data = create_dataset(tmp_path / "small.pano")
    ids = [insert_image(data, picture_bytes(n), f"photos/{n}.jpg") for n in range(3)]
    texts = {"en": "A red ball.", "ar": "كرة حمراء.", "th": "ลูกบอลสีแดง", "zh-Hant": "一顆紅色的球。"}
    insert_captions(
        data,
        [
            made(i, f"{text} {n}", lang, kind="human", recipe="human")
            for n, i in enumerate(ids)
            for lang, text in texts.items()
        ],
    )
    return data, ids


def test_page_is_one_file_that_asks_for_nothing(stamp_page):
    page = Page(stamp_page.read_text())
    urls = [
        a[name] for _, a in page.elements for name in ("src", "href", "srcset", "action", "poster", "data") if name in a
    ]
    assert len(urls) > 100
    assert {u[:23] if u.startswith("data:") else u[0] for u in urls} == {"data:image/jpeg;base64,", "#"}
    assert max(map(len, urls)) < 60_000
    assert not any(name.startswith("on") or name == "style" for _, a in page.elements for name in a)
    (style,) = re.findall(r"<style>(.*?)</style>", stamp_page.read_text(), re.S)
    assert not re.search(r"url\(|@import", style)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    anchors = {a["href"][1:] for a in page.all("a")}
    assert anchors <= {a.get("id") for _, a in page.elements}


def test_every_language_and_kind_and_reason_of_the_dataset_is_on_the_page(stamp_data, stamp_page):
    page = Page(stamp_page.read_text())
    table = stamp_data.captions.read(["lang", "kind", "dropped"]).to_pylist()
    shown = [a for _, a in page.elements if "data-kind" in a]
    assert {a["data-lang"] for a in shown} == {row["lang"] for row in table}
    assert {a["data-kind"] for a in shown} == {row["kind"] for row in table}
    assert {a["lang"] for a in page.all("p") if a.get("lang")} >= {row["lang"] for row in table}
    for reason in {row["dropped"] for row in table} - {None, "draft"}:
        assert reason.replace("_", " ") in page.text
    for price in ("$0.0431", "$0.048", "$0.0052"):
        assert price.replace("$0.0431", "$0.043") in page.text
    assert "hunter2" not in page.text


def test_direction_language_and_alternative_text(small):
    data, _ = small
    page = Page(report(data).read_text())
    direction = {a["lang"]: a["dir"] for a in page.all("p") if a.get("lang")}
    assert direction == {"en": "ltr", "ar": "rtl", "th": "ltr", "zh-Hant": "ltr"}
    assert {a["alt"] for a in page.all("img")} == {"A red ball. 0", "A red ball. 1", "A red ball. 2"}
    assert all(a.get("aria-label") for a in page.all("svg"))


def test_hostile_texts_are_text(hostile_page):
    raw = hostile_page.read_text()
    page = Page(raw)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert {tag for tag, _ in page.elements} & {"iframe", "object", "embed", "base", "link", "video"} == set()
    assert all(a["src"].startswith("data:image/jpeg;base64,") for a in page.all("img"))
    for name in ("script", "image", "quotes", "close", "comment", "template"):
        assert HOSTILE[name] in page.text, name
    assert not set("\u202e\u202c\u200b\u2060\ufeff") & set(raw)
    assert "U+202E" in page.text
    assert "(2,000 characters)" in page.text


def test_same_dataset_same_page_however_its_rows_lie(small, tmp_path):
    data, ids = small
    data.marks.upsert([{"image_id": ids[1], "scores": {}, "dropped": f"duplicate_of:{ids[0]}"}])
    insert_run(data, 0, [stage("ingest", 3, 0.5)], {"source": "photos"})
    first = report(data, output=tmp_path / "a.html").read_bytes()
    other = create_dataset(tmp_path / "other" / "small.pano")
    for name in ("images", "captions", "marks", "runs"):
        for row in reversed(getattr(data, name).rows()):  # the other way round, a commit a row
            getattr(other, name).insert([row])
    assert report(other, output=tmp_path / "b.html").read_bytes() == first
    other.tidy()
    assert report(other, output=tmp_path / "c.html").read_bytes() == first


def test_sample_has_every_language_even_the_rarest(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    ids = [insert_image(data, picture_bytes(n, 16, 16), f"{n}.jpg") for n in range(40)]
    insert_captions(data, [made(i, "a", "en", recipe="r") for i in ids])
    rare = dict(zip(["sw", "yo", "ta", "ka"], sorted(ids)[-4:]))  # the last of the lot
    insert_captions(data, [made(i, "b", lang, recipe="r") for lang, i in rare.items()])
    assert set(rare.values()) <= set(choose_images(data, 6))
    assert len(choose_images(data, 6)) == 6
    assert choose_images(data, 0) == []
    data.marks.upsert([{"image_id": i, "dropped": "too_small"} for i in ids[:35]])
    assert choose_images(data, 50) == sorted(ids[35:])


def test_counts_agree_with_counting_one_by_one(stamp_data):
    rows = stamp_data.captions.rows()
    found = count(stamp_data, batch=97)  # many batches
    kept = [r for r in rows if r["dropped"] is None]
    assert found.total.kept == len(kept)
    assert found.total.drafts == sum(r["dropped"] == "draft" for r in rows)
    assert {lang: t.kept for lang, t in found.languages.items() if t.kept} == Counter(r["lang"] for r in kept)
    assert found.dropped_captions == Counter(r["dropped"].partition(":")[0] for r in rows if r["dropped"])
    assert found.dropped_images["duplicate_of"] == stamp_data.marks.count("dropped like 'duplicate_of:%'") > 0
    gone = {r["image_id"] for r in stamp_data.marks.rows(["image_id"], "dropped is not null")}
    assert found.captioned == len({r["image_id"] for r in kept} - gone)
    assert found.origins == Counter((r["kind"], r["recipe"], r["model"] or "") for r in kept)
    lengths = sorted(len(r["text"]) for r in kept if r["lang"] == "hi")
    assert max(lengths) < 256  # exact there
    assert found.languages["hi"].quantile(0.5) == lengths[-(-len(lengths) // 2) - 1]
    assert sorted(set(EDGES)) == EDGES


def test_sensible_page_for_every_state_of_a_dataset(tmp_path):
    data = create_dataset(tmp_path / "empty.pano")
    page = Page(report(data).read_text())
    assert "Nothing here yet" in page.text
    assert "panoglot build" in page.text
    data.rejects.upsert(
        [
            {
                "reject_id": "a",
                "item": "x.jpg",
                "stage": "ingest",
                "reason": "truncated",
                "message": "12 bytes",
                "run_id": "r",
            }
        ]
    )
    page = Page(report(data).read_text())
    assert "No picture could be read" in page.text
    assert "12 bytes" in page.text
    image = insert_image(data, picture_bytes(1), "a.jpg")
    page = Page(report(data).read_text())
    assert "1 picture, and no text about it yet." in re.sub(r"\s+", " ", page.text)
    assert len(page.all("img")) == 1
    insert_captions(data, [made(image, "x", "und", recipe="r", dropped="too_short")])
    page = Page(report(data).read_text())
    assert "no text about it that is kept" in re.sub(r"\s+", " ", page.text)
    assert "too short" in page.text
    assert len(Page(report(data, samples=0).read_text()).all("li")) > 0


def test_broken_picture_and_broken_run_cost_nothing_else(small):
    data, _ = small
    data.images.insert(
        [
            {
                "image_id": "0" * 32,
                "data": b"\xff\xd8 broken",
                "uri": "b.jpg",
                "width": 9,
                "height": 9,
                "format": "jpeg",
                "size": 9,
            }
        ]
    )
    broken = {"stages": "{not json", "recipe": "null", "versions": None, "message": "Disk full", "price": None}
    insert_run(data, 0, [], {}, "failed", raw=broken)
    insert_run(data, 1, [stage("ingest", 1, 1.0, price=None)], {"source": "x"}, "running", seconds=None)
    page = Page(report(data).read_text())
    assert len(page.all("img")) == 4  # the opening and three cards
    assert re.search(r"truncated|not an image|undecodable|bad header", page.text)
    assert "Disk full" in page.text
    assert "$?" in page.text


def test_provenance_chains_are_shown_and_circles_end(small):
    data, ids = small
    draft = made(ids[0], "A ball, drafted.", "en", 5, recipe="rank-and-fuse/1", model="hf:one", dropped="draft")
    fused = made(ids[0], "A red ball on grass.", "en", 6, recipe="rank-and-fuse/1", parents=[draft])
    german = made(ids[0], "Ein roter Ball.", "de", recipe="translate/1", parents=[fused])
    a, b = (made(ids[1], text, "en", 7 + n, recipe="circle/1") for n, text in enumerate(("round", "about")))
    a.parents, b.parents = [b], [a]
    insert_captions(data, [draft, fused, german, a, b])
    page = report(data).read_text()
    card = page[page.index("Ein roter Ball.</p>") :]
    assert re.search(r"from English \(short\).*A red ball on grass\..*A ball, drafted\..*hf:one", card[:2500], re.S)
    assert page.count(">round</p>") >= 2
    assert page.count(">round</p>") < 6


def test_duplicates_stand_beside_what_they_repeat(small):
    data, ids = small
    data.marks.upsert([{"image_id": ids[2], "scores": {"pdq": 4.0}, "dropped": f"duplicate_of:{ids[0]}"}])
    found = gather(data, 10)
    assert [(pair.image_id, pair.other) for pair in found["pairs"]] == [(ids[2], ids[0])]
    page = Page(report(data).read_text())
    assert [a["class"] for a in page.all("figure")] == ["specimen", "chart", "dropped", "kept"]


def test_long_lists_are_bounded(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    image = insert_image(data, picture_bytes(1), "a.jpg")
    captions = [
        made(
            image,
            f"text {n} " * 50,
            "en",
            n,
            recipe=f"r/{n % 70}",
            kind="label" if n % 2 else "short",
            dropped=f"reason_{n}" if n % 3 == 0 else None,
        )
        for n in range(3000)
    ]
    insert_captions(data, captions)
    data.rejects.upsert(
        [
            {
                "reject_id": f"{n:05}",
                "item": "x" * 5000,
                "stage": f"s{n}",
                "reason": "r",
                "message": "m" * 2000,
                "run_id": "r",
            }
            for n in range(500)
        ]
    )
    page = report(data)
    assert page.stat().st_size < 2_000_000
    assert gather(data, 5)["counts"].total.kept == 2000


def test_mistakes_of_the_user(small, tmp_path):
    data, _ = small
    for samples in (-1, 5000, True, "many"):
        with pytest.raises(UserError, match="samples="):
            report(data, samples=samples)
    with pytest.raises(UserError, match="there is no dataset"):
        report(tmp_path / "none.pano")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write the report"):
        report(data, output=tmp_path / "file" / "report.html")
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    (tmp_path / "out").mkdir()
    assert report(data, output=tmp_path / "out") == tmp_path / "out" / "report.html"
    assert report(str(data.path)) == data.path / "report.html"
    assert [p.name for p in data.path.iterdir() if p.name.startswith(".")] == []


def test_it_opens_in_the_web_browser_when_asked(small, monkeypatch):
    import webbrowser

    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    path = report(small[0])
    assert opened == []
    report(small[0], open=True)
    assert opened == [path.resolve().as_uri()]


def test_an_unknown_language_has_no_lang_and_finds_its_own_direction(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    image = insert_image(data, picture_bytes(1), "a.jpg")
    insert_captions(data, [Caption("שלום", "und", image_id=image, caption_id="c", recipe="web", kind="alt")])
    texts = [a for a in Page(report(data).read_text()).all("p") if "t" in (a.get("class") or "").split()]
    assert {(a["lang"], a["dir"]) for a in texts} == {("", "auto")}


def test_colours_are_readable_in_both_schemes(stamp_page):
    style = re.search(r"<style>(.*?)</style>", stamp_page.read_text(), re.S)[1]
    schemes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)
    ]
    assert len(schemes) == 3  # light, dark, print

    def luminance(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for scheme in schemes:
        for text in ("ink", "soft", "kept", "lost"):
            for ground in ("paper", "sheet", "wall"):
                light, dark = sorted((luminance(scheme[text]), luminance(scheme[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)  # WCAG 2.2 AA


def test_shares_are_those_of_kept_pictures_and_rules_not_applied_are_named(tmp_path):
    """A dropped picture is in neither part of "% of pictures have one"; what curation found stands under its run."""
    data = create_dataset(tmp_path / "x.pano")
    keys = [image_id(bytes([n])) for n in range(4)]
    data.images.insert(
        [
            {"image_id": key, "data": bytes([n]), "uri": f"{n}.jpg", "width": 640 if n < 3 else 9, "height": 480}
            for n, key in enumerate(keys)
        ]
    )
    data.captions.insert(
        [
            {"caption_id": f"{n:032x}", "image_id": keys[n], "text": "a red dog runs", "lang": "en", "kind": "alt"}
            for n in (0, 3)
        ]
    )
    panoglot.curate(data, steps=["align"])
    found = count(data)
    assert (found.images, found.kept_images, found.captioned) == (4, 3, 1)
    page = Path(panoglot.report(data)).read_text(encoding="utf-8")
    assert "33.3 % of kept pictures have one" in page
    assert "adult: not applied" in page
    assert "rare words: distinct 7, min_count 2" in page
    assert "too small" in page


def test_it_opens_with_the_picture_that_has_the_best_captions(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    ids = sorted(insert_image(data, picture_bytes(n), f"{n}.jpg") for n in range(3))
    unsure = {"probability": 0.2}
    captions = [
        # in three scripts, but a machine's, and not sure of it
        made(ids[0], "Perhaps a palace in the hills.", "en", kind="short", recipe="evidence/1", scores=unsure),
        made(ids[0], "Vielleicht ein Palast da.", "hi", kind="short", recipe="evidence/1", scores=unsure),
        made(ids[0], "Может быть, это дворец.", "ru", kind="short", recipe="evidence/1", scores=unsure),
        # a person's sentence in two
        made(ids[1], "A grey house stands on a green hill.", "en", kind="human", recipe="human"),
        made(ids[1], "Серый дом стоит на зелёном холме.", "ru", kind="human", recipe="human"),
        # a person's word
        made(ids[2], "House", "en", kind="human", recipe="human"),
    ]
    insert_captions(data, captions)
    hero = gather(data, 10)["hero"]
    assert hero["picture"].image_id == ids[1]
    assert [one.caption.lang for one in hero["texts"]] == ["en", "ru"]


def test_what_was_measured_is_no_caption(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    one, other = (insert_image(data, picture_bytes(n), f"{n}.jpg") for n in range(2))
    measured = "Landscape format, 64 × 48 pixels."
    insert_captions(
        data,
        [
            made(one, "A ball.", "en", kind="human", recipe="human"),
            *(made(image, measured, "en", kind="fact", recipe="evidence/1") for image in (one, other)),
        ],
    )
    counts = count(data)
    assert (counts.total.kept, counts.languages["en"].kept, counts.captioned) == (1, 1, 1)
    assert counts.kinds["fact"].kept == 2
    page = Page(report(data).read_text())
    assert "2 pictures, described 1 time in 1 language." in " ".join(page.text.split())
    assert page.text.count(measured) == 2  # beside the size of each picture
    cards = gather(data, 10)["cards"]
    assert [[len(g.sentences) + len(g.words) for g in card.open] for card in cards] in ([[1], []], [[], [1]])


def test_what_repeats_another_picture_is_not_shown_as_lost(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    one, other = (insert_image(data, picture_bytes(n), f"{n}.jpg") for n in range(2))
    data.marks.insert([{"image_id": other, "scores": {}, "dropped": f"duplicate_of:{one}", "run_id": ""}])
    row = {"reject_id": "r", "item": "copy.jpg", "stage": "ingest", "reason": "duplicate", "message": "", "run_id": ""}
    data.rejects.insert([row])
    found = gather(data, 10)
    assert (found["failing"], found["copies"], found["repeats"]) == (0, 1, 1)
    text = report(data).read_text()
    page = Page(text)
    assert "1 exact copy left out" in page.text
    assert "1 repeats another" in page.text
    body = text.partition("<main")[2]
    assert not re.search(r'class="(?:[^"]* )?lost', body)
    assert 'class="state repeats"' in body
    data.marks.insert([{"image_id": one, "scores": {}, "dropped": "too_small", "run_id": ""}])
    assert re.search(r'<dd class="lost">2</dd>', report(data).read_text())


def test_whose_vectors_a_search_takes_is_said(small):
    import panoglot

    data, ids = small
    for name in ("hf:org/one", "hf:org/two"):
        made_of = data.add_vectors(name, f"{name}-1", 2)
        data.vectors(made_of).insert(
            [{"vector_id": name, "id": ids[0], "of": "image", "lang": "und", "vector": [1.0, 0.0], "run_id": ""}]
        )
    insert_run(data, 0, [stage("ingest", 3, 1.0)], {})
    panoglot.settings(data, encoder="hf:org/two")
    text = " ".join(Page(report(data).read_text()).text.split())
    assert re.search(r"hf_org_two-\w+ a search takes these", text)
    assert text.count("a search takes these") == 1
    shown = panoglot.show(data, ids[0])
    assert re.search(r"hf_org_two-\w+ \(1, searched\)", str(shown))
    assert shown.to_dict()["searched"].startswith("hf_org_two")
    assert shown._repr_html_().startswith('<img src="data:image/png;base64,')


def test_what_fell_back_stands_in_the_report_the_worst_first(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    image = insert_image(data, picture_bytes(1), "1.jpg")
    scale, fuse = {"recipe": "scalecap/1"}, {"recipe": "fusecap/1"}
    insert_captions(
        data,
        [
            made(image, "Ein Hund.", "de", **scale, dropped="wrong_language"),
            made(image, "as an AI", "en", 1, **scale, dropped="draft"),
            made(image, "一只狗。", "zh", **fuse),
        ],
    )
    data.rejects.upsert(
        [{"reject_id": "r", "item": image, "stage": "caption.scalecap-0123456789abcdef", "reason": "refused"}]
    )
    notes = {"fallback_of": 4, "fallback": 2.0, "fallback_rating": 5.0, "fallback_merge": 1.0, "failed_copied": 2.0}
    runs = [
        stage("caption.scalecap", 4, 8.0, price=0.02, notes=notes),
        stage("caption.fusecap", 4, 8.0, notes={"fallback_of": 4, "fallback": 0.4, "fallback_fuser": 1.0}),
        stage("caption.describe", 4, 8.0, notes={"fallback_of": "<b>", "fallback": None, "failed_<b>": "x"}),
    ]
    insert_run(data, 0, runs, {})
    insert_run(data, 1, [stage("caption.scalecap", 4, 8.0, price=0.02, notes=notes)], {})
    worst, other = gather(data, 0)["fallbacks"]
    assert (worst.name, worst.share, worst.texts, worst.steps) == (
        "caption.scalecap",
        0.5,
        8,
        [("rating", 10), ("merge", 2)],
    )
    assert worst.guards == [("copied", 4), ("wrong_language", 1), ("refused", 1)]
    assert (worst.price, worst.per_thousand, worst.mend) == (0.04, 5.0, "panoglot methods scalecap")
    assert (other.name, other.share, other.mend) == ("caption.fusecap", 0.1, "")
    text = " ".join(Page(Path(report(data)).read_text(encoding="utf-8")).text.split())
    assert "8 texts 50 % rating 10, merge 2" in text
    assert "copied 4, wrong language 1, refused 1" in text
    assert "failed_<b>" not in text


def test_a_report_without_captioning_methods_has_no_fallbacks(small):
    data, _ = small
    assert gather(data, 0)["fallbacks"] == []
    assert "Fallbacks" not in Path(report(data)).read_text(encoding="utf-8")


def test_ratings_are_counted_by_what_was_judged(small):
    data, _ = small
    said = [(1.0, "f" * 32, "unit_truth", "preference", "vlm:a"), (0.0, "f" * 32, "unit_truth", "preference", "vlm:b")]
    said += [(value, "", "سلاسة <b>", "1..5", "anna") for value in (2.0, 5.0)]
    rows = [Rating("a" * 32, v, against=a, criterion=c, scale=s, rater=who).plain() for v, a, c, s, who in said]
    data.ratings.insert([row | {"rating_id": f"{n:032x}"} for n, row in enumerate(rows)])
    text = " ".join(Page(report(data).read_text()).text.split())
    assert "unit_truthpreference22 2– سلاسة <b>1..52 13.50" in text  # cells stand side by side


def test_what_was_read_and_made_no_picture_stands_in_the_report(small):
    """So that what was done adds up to what is there: 3 pictures of 6 that were read."""
    data, _ = small
    insert_run(data, 0, [stage("ingest", 6, 1.0, notes={"duplicates": 2, "forgotten": 1, "moved": "x"})], {})
    text = " ".join(Page(report(data).read_text()).text.split())
    assert "ingest: 2 exact duplicates of a picture that was there" in text
    assert "ingest: 1 picture was forgotten before and is not read again" in text
