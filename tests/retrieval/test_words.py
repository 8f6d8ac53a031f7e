"""The words of many captions: asked one by one, and known by row, they find what the whole table finds."""

import shutil

import numpy as np
import pytest

import panoglot
from panoglot.retrieval import Lexicon
from panoglot.table import Caption, caption_to_row
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


def test_clauses_asked_one_by_one_find_what_all_together_find(crowd, monkeypatch):
    rng, together = np.random.default_rng(6), Lexicon(crowd.data)
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
    alone, asked, plain = Lexicon(crowd.data), [], Lexicon._ask
    monkeypatch.setattr(Lexicon, "_ask", lambda self, q, *r: asked.append(type(q).__name__) or plain(self, q, *r))
    for (text, depth), right in expected.items():
        found = alone.find(text, depth)
        assert [one.score for one in found] == [one.score for one in right], text
        last = right[-1].score if right else 0.0  # of those that tie with the last, any may be there
        assert [one for one in found if one.score > last] == [one for one in right if one.score > last], text
        if depth == 600:
            assert found == right  # nothing is cut
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
        return found

    first = said(Lexicon(data))
    data.captions.change([{"caption_id": one.caption_id, "dropped": "x"} for one in first[:7]])
    world = World.__new__(World)
    world.data = data
    keys = [world.caption(f"{n:032x}", f"A dog, the {n}th.") for n in range(900, 905)]
    second = said(Lexicon(data))
    assert {one.caption_id for one in second} >= set(keys)
    assert not {one.caption_id for one in second} & {one.caption_id for one in first[:7]}
    (kept,) = (data.path / "cache" / "words").glob("rows-*.npy")
    kept.write_bytes(b"broken")
    assert said(Lexicon(data)) == second
