"""The words of many captions: asked one by one, and known by row, they find what the whole table finds."""

import contextlib
import json
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import lance
import numpy as np
import pytest

import panoglot
from panoglot.retrieval import Lexicon, Searcher, folded, matched
from panoglot.table import Caption, Said, caption_to_row, said_of
from tests.retrieval.conftest import World

SYLLABLES = ("ba", "ko", "ri", "mu", "te", "sa", "lo", "ni", "gu", "fe")
SAID = ["running", "runs", "run", "dogs", "dog", "häuser", "haus", "красная", "красный", "แมว", "赤い鳥", "كلب"]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """2,000 captions of 500 images in seven languages: words that are frequent, rare, inflected, said twice."""
    world = World(tmp_path_factory.mktemp("crowd") / "x.pano")
    rng = np.random.default_rng(5)
    words = [*SAID, *(a + b + c for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES[:2])]
    rows = []
    for n in range(2000):
        picked = rng.zipf(1.4, rng.integers(1, 9)) % len(words)
        row = Caption(" ".join(words[w] for w in picked), ("en", "de", "ru", "th", "ja", "ar", "sw")[n % 7], "alt")
        rows.append({**caption_to_row(row), "caption_id": f"{n:032x}", "image_id": f"{n // 4:032x}", "recipe": "web"})
    world.data.captions.insert(rows)
    world.words = words
    return world


@pytest.mark.parametrize("late", [0, 300])  # captions that came after the index was made
def test_clauses_asked_one_by_one_find_what_all_together_find(crowd, tmp_path, monkeypatch, late):
    data = crowd.data
    if late:
        shutil.copytree(data.path, tmp_path / "y.pano")
        data = panoglot.open(tmp_path / "y.pano")
        Lexicon(data).ready()
        rows = [
            caption_to_row(Caption(f"late red dog {n % 7}", "en", "alt", image_id=f"{n:032x}")) for n in range(late)
        ]
        data.captions.insert([{**row, "caption_id": f"e{n:031x}"} for n, row in enumerate(rows)])
    rng, together = np.random.default_rng(6), Lexicon(data)
    texts = [
        "running dogs",
        "red dog",
        "häuser",
        "แมว",
        "赤い鳥 bako",
        "القطة كلب",
        "красный дом",
        "unheardof",
        "run run dog",
    ]
    texts += [" ".join(crowd.words[w] for w in rng.zipf(1.2, rng.integers(1, 5)) % len(crowd.words)) for _ in range(40)]
    expected = {(text, depth): together.find(text, depth) for text in texts for depth in (2, 10, 600)}
    monkeypatch.setattr("panoglot.retrieval._lexical._ONE_BY_ONE", 0)
    alone, asked, plain = Lexicon(data), [], Lexicon._ask
    monkeypatch.setattr(Lexicon, "_ask", lambda self, q, *r: asked.append(type(q).__name__) or plain(self, q, *r))
    for (text, depth), right in expected.items():
        found = alone.find(text, depth)
        assert [one.score for one in found] == pytest.approx([one.score for one in right], rel=2e-6), text
        # sums of three differ in their last digit by their order; of those that tie with the last, any may be there
        last = right[-1].score + 1e-4 if right and depth < 600 else 0.0
        assert {one.caption_id for one in found if one.score > last} == {
            one.caption_id for one in right if one.score > last
        }, text
        assert late or [one for one in found if one.score > last] == [one for one in right if one.score > last], text
    assert asked.count("BooleanQuery") < len(expected) / 3  # the rest was sure without


def test_rows_of_words_are_known_after_every_change(crowd, tmp_path):
    """Captions that came, were dropped, and a file that is damaged: images and captions are those of the table."""
    shutil.copytree(crowd.data.path, tmp_path / "y.pano")
    data = panoglot.open(tmp_path / "y.pano")

    def said(lexicon):
        rows = data.captions.rows(["caption_id", "image_id", "text"], "dropped is null")
        right = {row["caption_id"]: row["image_id"] for row in rows if "dog" in row["text"].split()}
        assert lexicon.images_with("dog") >= set(right.values())
        found = lexicon.find("dog", 1000)
        assert {right.get(one.caption_id, one.image_id) for one in found} == {one.image_id for one in found}
        assert {one.image_id for one in found} == lexicon.images_with("dog")
        assert all("dog" in lexicon.text_of(one) for one in found[:20])
        assert not lexicon.text_of(replace(found[0], caption_id="gone"))
        return found

    first = said(Lexicon(data))
    data.captions.change([{"caption_id": one.caption_id, "dropped": "x"} for one in first[:7]])
    world = World.__new__(World)
    world.data = data
    keys = [world.caption(f"{n:032x}", f"A dog, the {n}th.") for n in range(900, 905)]
    lexicon = Lexicon(data)
    second = said(lexicon)
    images = sorted(lexicon.images_with("dog"))
    texts = lexicon.captions(images)
    assert {one.caption_id for one in second} >= set(keys)
    assert not {one.caption_id for one in second} & {one.caption_id for one in first[:7]}
    for name in ("rows.npy", "order.npy", "texts.npy", "names.json"):
        (kept,) = (data.path / "cache" / "words").glob(f"rows-*/{name}")
        kept.write_bytes(b"broken")
        assert said(Lexicon(data)) == second
    for name in ("rows.npy", "order.npy", "texts.npy", "names.json", "sums.json"):
        (kept,) = (data.path / "cache" / "words").glob(f"rows-*/{name}")
        raw = bytearray(kept.read_bytes())
        raw[-9] ^= 0x01  # another caption, another text, another language
        kept.write_bytes(raw)
        lexicon = Lexicon(data)
        assert said(lexicon) == second
        assert lexicon.captions(images) == texts
    shutil.rmtree(kept.parent)
    kept.parent.write_bytes(b"")  # nothing can be written there
    assert said(Lexicon(data)) == second


LATE = {
    "en": ("A red dog runs home.", "Two houses"),
    "de": ("Ein roter Hund läuft nach Hause.", "die Häuser"),
    "ru": ("Красная собака.", "дома"),
    "ar": ("الكلب الأحمر في البيت", "كَلْب"),
    "th": ("แมวนอนบนเตียง", "บ้านสีแดง"),
    "ja": ("赤い鳥が飛ぶ", "家の前の犬"),
    "hi": ("लाल कुत्ता घर में", "दो घर"),
    "zh": ("红色的狗在房子前", "一只鸟"),
    "sw": ("Mbwa mwekundu anakimbia.", "nyumba mbili"),
    "ko": ("빨간 개가 집에", "책을 읽는다"),
}


def asked_of(lexicon, depth=300):
    """What is found of texts in ten languages, with its scores; of captions that tie, the image alone is sure."""
    texts = [text for both in LATE.values() for text in both] + ["dog", "run bako", "häuser", "بيت", "개", *SAID]
    return {text: sorted((one.image_id, one.score) for one in lexicon.find(text, depth)) for text in texts}


def assert_as_made_anew(data, tmp_path):
    """A table that followed finds, and scores, what one of all captions does; nothing is left to be indexed."""
    followed, place = asked_of(Lexicon(data)), tmp_path / "anew.pano"
    shutil.copytree(data.path, place)
    shutil.rmtree(place / "cache")
    assert sum(map(len, followed.values())) > 1000
    for text, right in asked_of(Lexicon(panoglot.open(place))).items():
        assert [image for image, _ in followed[text]] == [image for image, _ in right], text
        assert [score for _, score in followed[text]] == pytest.approx([score for _, score in right], rel=1e-6), text
    shutil.rmtree(place)
    words = lance.dataset(str(data.path / "cache" / "words" / "table.lance"))
    assert words.count_rows() == data.captions.count("dropped is null")
    for name in ("text_idx", "forms_idx", "en_idx"):
        assert words.stats.index_stats(name)["num_unindexed_rows"] == 0
    assert not any(fragment.num_deletions for fragment in words.get_fragments())
    return words


def say_late(data, n, many=1):
    """Captions in ten languages, of pictures of the crowd and new ones."""
    rows = []
    for at, (lang, texts) in enumerate([*LATE.items()] * many):
        key = f"{n:04}{at:04}"
        row = caption_to_row(Caption(texts[(n + at) % 2], lang, "alt", image_id=f"{(n * 37 + at) % 900:032x}"))
        rows.append({**row, "caption_id": f"e{key:0>31}"})
    data.captions.insert(rows)
    return [row["caption_id"] for row in rows]


@pytest.mark.parametrize("most", [24, 2])  # fragments: with two they are joined again and again
def test_captions_that_came_later_are_found_as_by_a_table_made_anew(crowd, tmp_path, monkeypatch, most):
    monkeypatch.setattr("panoglot.retrieval._lexical._MOST_FRAGMENTS", most)
    shutil.copytree(crowd.data.path, tmp_path / "y.pano")
    data, made = panoglot.open(tmp_path / "y.pano"), []
    lexicon = Lexicon(data)
    lexicon.ready()
    lexicon._make = lambda: made.append(1)
    before = []
    for n in range(6):
        ids = say_late(data, n, many=1 + 20 * (n == 3))
        dropped = {0: [], 1: before[:3], 2: [f"{at:032x}" for at in range(0, 2000, 31)]}.get(n, ids[:2])
        if dropped:
            data.captions.change([{"caption_id": key, "dropped": "x"} for key in dropped])
        if n == 4:  # what was dropped counts again
            data.captions.change([{"caption_id": key, "dropped": None} for key in before[:2]])
        before = ids
        lexicon.ready()
        words = assert_as_made_anew(data, tmp_path)
    assert len(words.get_fragments()) <= most + 1
    assert len(words.stats.index_stats("text_idx")["num_indexed_rows_per_delta"]) <= 4
    assert made == []
    assert asked_of(lexicon) == asked_of(Lexicon(data))


KILLED = """
import os, signal, sys
import lance
import panoglot
from panoglot.retrieval import Lexicon
from panoglot.table import Table

data, point = panoglot.open(sys.argv[1]), sys.argv[2]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "append":
    lance.write_dataset = die
elif point == "index":
    from lance.dataset import DatasetOptimizer
    DatasetOptimizer.optimize_indices = die
elif point == "erase":
    Table.erase = die
else:
    Lexicon._say = die
Lexicon(data).ready()
"""


@pytest.mark.parametrize("point", ["append", "index", "erase", "say"])
def test_words_after_a_kill_are_those_of_a_table_made_anew(crowd, tmp_path, point):
    shutil.copytree(crowd.data.path, tmp_path / "y.pano")
    data = panoglot.open(tmp_path / "y.pano")
    Lexicon(data).ready()
    data.captions.change([{"caption_id": key, "dropped": "x"} for key in say_late(data, 0)[:3]])
    data.captions.change([{"caption_id": f"{key:032x}", "dropped": "x"} for key in range(0, 2000, 97)])
    run = subprocess.run([sys.executable, "-c", KILLED, str(data.path), point], capture_output=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    Lexicon(data).ready()
    assert_as_made_anew(data, tmp_path)


def test_words_that_several_processes_bring_up_to_date_are_there_once(crowd, tmp_path):
    shutil.copytree(crowd.data.path, tmp_path / "y.pano")
    data = panoglot.open(tmp_path / "y.pano")
    Lexicon(data).ready()
    code = (
        "import sys, panoglot; from panoglot.retrieval import Lexicon; data = panoglot.open(sys.argv[1]);"
        "lexicon = Lexicon(data); print('up', flush=True);"
        "[(sys.stdin.readline(), lexicon.find('dog', 5), print('done', flush=True)) for _ in range(4)]"
    )
    line, piped = [sys.executable, "-c", code, str(data.path)], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with contextlib.ExitStack() as opened:
        several = [opened.enter_context(subprocess.Popen(line, text=True, **piped)) for _ in range(3)]
        assert [one.stdout.readline() for one in several] == ["up\n"] * 3
        for n in range(4):
            data.captions.change([{"caption_id": key, "dropped": "x"} for key in say_late(data, n)[:3]])
            for one in several:  # all at once
                one.stdin.write("\n")
                one.stdin.flush()
            assert [one.stdout.readline() for one in several] == ["done\n"] * 3
    assert [one.returncode for one in several] == [0] * 3
    assert_as_made_anew(data, tmp_path)


def test_threads_that_search_while_captions_come(crowd, tmp_path):
    """The table of words is made anew meanwhile, its rows stand elsewhere: no image is taken for another."""
    shutil.copytree(crowd.data.path, tmp_path / "y.pano")
    data = panoglot.open(tmp_path / "y.pano")
    world, lexicon, wrong, done = World.__new__(World), Lexicon(data), [], threading.Event()
    world.data = data

    def ask():
        try:
            while not done.is_set():
                found = lexicon.find("dog", 50)
                rows = data.captions.get([one.caption_id for one in found], ["image_id"]).to_pylist()
                images = {row["caption_id"]: row["image_id"] for row in rows}
                wrong.extend(one for one in found if images[one.caption_id] != one.image_id)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(6):
        world.caption(f"{n:032x}", f"A dog of {n}.", ("fi", "sv", "el")[n % 3])  # a new language: made anew
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(lexicon.find("dog", 1000)) > 0


@pytest.mark.parametrize(
    ("asked", "count"),
    [({}, 6), ({"lang": "de,th"}, 6), ({"kinds": "human"}, 4), ({"lang": "ar", "kinds": "alt,fact"}, 3)],
)
def test_captions_of_hits_are_those_of_the_table(tmp_path, asked, count):
    """Their texts are read from beside the words, their records at the first look: both are what the table has."""
    world = World(tmp_path / "x.pano")
    texts = {"en": "A red cat.", "de": "Ein Käfer.", "th": "แมวสีแดง", "ar": "قِطّة حمراء", "zh-Hant": "紅貓"}
    keys = world.images(6)
    for n, key in enumerate(keys):
        for lang, text in texts.items():
            world.caption(key, f"{text} red {n}", lang, "human" if n % 2 else "alt")
        world.caption(key, f"red, but dropped {n}", "en", "alt", dropped="draft")
        world.caption(key, "Landscape format, red.", "en", "fact")
    recipe = Caption("Eine rote Katze.", "de", "human", recipe="translate/1", image_id=keys[0], caption_id="f" * 32)
    world.data.captions.insert([caption_to_row(recipe)])
    searcher = Searcher(world.data)
    for _ in range(2):  # read, then mapped
        hits = searcher.search("red", k=6, **asked)
        assert {hit.image_id for hit in hits} <= set(keys)
        assert len(hits) == count
        right = world.data.caption_rows([hit.image_id for hit in hits], searcher._allowed.where(*_several(asked)))
        for hit in hits:
            assert said_of(hit.captions) == [Said(c.caption_id, c.text, c.lang, c.kind) for c in right[hit.image_id]]
            assert [*map(caption_to_row, hit.captions)] == [*map(caption_to_row, right[hit.image_id])]
            assert all(c.dropped is None for c in hit.captions)
        assert json.dumps([hit.to_dict() for hit in pickle.loads(pickle.dumps(list(hits)))], sort_keys=True)
        searcher = Searcher(world.data)
    assert (tmp_path / "x.pano" / "cache" / "words").is_dir()
    hits = searcher.search("red", k=6)
    gone = said_of(hits[0].captions)[0].caption_id
    world.data.captions.change([{"caption_id": gone, "dropped": "wrong"}])  # before anybody looked
    assert [c.caption_id for c in hits[0].captions] == [one.caption_id for one in said_of(hits[0].captions)]
    assert gone not in [c.caption_id for c in searcher.search("red", k=6)[0].captions]


def _several(asked):
    return [tuple(asked[name].split(",")) if name in asked else () for name in ("lang", "kinds")]


#: A caption, words that find it (with + and without), words that do not.
WRITTEN = {
    "he": ("הַחָתוּל הַשָּׁחוֹר יָשֵׁן", ("החתול", "חתול", "חָתוּל", "השחור", "ישן"), ("כלב", "תול")),
    "ar": ("القِطَّةُ السَّوْداءُ تَنامُ", ("قطة", "القطة", "القطه", "السوداء", "سوداء", "تنام"), ("كلب", "طة")),
    "fa": ("گربه‌ی سیاه می‌خوابد", ("گربه", "گربه‌ی", "گربه‌ها", "سياه", "میخوابد", "می‌خوابد"), ("سگ", "خواب")),
    "arz": ("إبل أحمر", ("ابل", "أبل", "احمر"), ("جمل",)),
    "ur": ("کتابوں کی دکان", ("دكان", "دکان"), ("بلی",)),
    "ko": ("아이가 공원에서 책을 읽는다", ("책", "책을", "공원", "공원에서", "공원에서는", "아이"), ("개", "공")),
    "el": ("ΜΑΥΡΗ ΓΆΤΑ", ("γατα", "γάτα", "μαύρη"), ("σκύλος",)),
    "ru": ("Ёлка, чёрный ко́т", ("елка", "ёлка", "черный", "кот"), ("дом",)),
    "km": ("ឆ្មា ខ្មៅ", ("ឆ្មា",), ("ឆ្កែ",)),
    "hi": ("काली बिल्ली।", ("बिल्ली", "काली"), ("कुत्ता",)),
    "ja": ("ﾈｺの ＡＢＣ", ("ネコ", "abc"), ("犬",)),
    "vi": ("Con mèo đen", ("mèo", "meo", "MÈO"), ("chó",)),
    "sw": ("Paka mweusi", ("paka", "mweusi"), ("mbwa",)),
}  # fmt: skip


def words_of(text):
    return [word.strip(",।") for word in folded(text).split()]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("written") / "x.pano")
    world.of = dict(zip(WRITTEN, world.images(len(WRITTEN))))
    for lang, (caption, _, _) in WRITTEN.items():
        world.caption(world.of[lang], caption, lang)
    return world


@pytest.mark.parametrize("lang", WRITTEN)
def test_words_are_found_however_they_are_written(written, lang):
    """Marks, articles, particles and joiners: the table, what was typed, and what matches go by one rule."""
    caption, finds, not_ = WRITTEN[lang]
    searcher, mine = Searcher(written.data), written.of[lang]
    for word in finds:
        assert [hit.image_id for hit in searcher.search(f"+{word}")] == [mine], word
        assert mine not in [hit.image_id for hit in searcher.search(f"paka gata -{word}")], word
        (hit,) = searcher.search(word)
        assert (hit.image_id, hit.parts["lexical"]["words"]) == (mine, words_of(word))
        assert matched(words_of(word), caption) == words_of(word)
    for word in not_:
        assert not searcher.search(f"+{word}"), word
        assert not searcher.lexicon.known([word]), word
    phrase = " ".join(words_of(caption)[-2:])
    assert [hit.image_id for hit in searcher.search(f'"{phrase}"')] == [mine]
    assert len(words_of(caption)) == len(caption.split())  # no mark cuts a word


def test_a_table_of_words_that_other_rules_made_is_made_anew(written, tmp_path, monkeypatch):
    shutil.copytree(written.data.path, tmp_path / "y.pano")
    data = panoglot.open(tmp_path / "y.pano")
    monkeypatch.setattr("panoglot.retrieval._lexical.folded", str)
    monkeypatch.setattr("panoglot.retrieval._lexical.forms", lambda *_, **__: [])
    monkeypatch.setattr("panoglot.retrieval._lexical.VERSION", 1)
    shutil.rmtree(tmp_path / "y.pano" / "cache" / "words", ignore_errors=True)
    assert not Lexicon(data).images_with("החתול")
    monkeypatch.undo()
    assert Lexicon(data).images_with("החתול") == {written.of["he"]}
