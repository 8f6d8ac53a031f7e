"""Composed retrieval files, SORCE's levels, retrieval on a dataset."""

from __future__ import annotations

import json

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.evaluate import dataset_retrieval
from panoglot.evaluate.benchmarks import read_submission, write_submission
from panoglot.evaluate.benchmarks.caparena_auto import caparena_auto, caparena_auto_scores
from panoglot.evaluate.benchmarks.circo import circo
from panoglot.evaluate.benchmarks.cirr import cirr
from panoglot.evaluate.benchmarks.fashion_iq import fashion_iq, fashion_iq_text
from panoglot.evaluate.benchmarks.image_text import image_text_benchmark, read_caption_set
from panoglot.evaluate.benchmarks.sorce import sorce
from panoglot.table import Caption, caption_to_row, create_dataset, given_caption_id, image_id
from tests.conftest import picture_bytes


def test_circo(tmp_path):
    rows = [
        {"id": 0, "reference_img_id": 9, "target_img_id": 1, "gt_img_ids": [1, 2, 3], "semantic_aspects": ["negation"]},
        {"id": 1, "reference_img_id": 8, "target_img_id": 5, "gt_img_ids": [5], "semantic_aspects": ["comparative"]},
    ]
    ranked = {"0": [0, 1, 2, 7, 6, *range(100, 145)], "1": [5, *range(100, 149)]}
    write_submission(ranked, tmp_path / "s.json", "circo")
    (tmp_path / "val.json").write_text(json.dumps(rows))
    found = circo(tmp_path / "s.json", tmp_path / "val.json")
    assert found["mAP"].parts["map@5"] == pytest.approx((1.1667 / 3 + 1) / 2, abs=1e-4)
    assert found["recall"].parts["recall@5"] == 1
    assert found.summary["mAP@10/comparative"] == 1
    assert found.summary["mAP@10/negation"] == pytest.approx(0.3889, abs=1e-4)
    with pytest.raises(UserError, match="fewer than 50"):
        write_submission({"0": [1, 2]}, tmp_path / "x.json", "circo")
    with pytest.raises(UserError, match="1 predictions have no positives: 2"):
        circo({**ranked, "2": [1]}, rows)


def test_cirr():
    rows = [{"pairid": 7, "reference": "r", "target_hard": "t", "img_set": {"members": ["r", "t", "a", "b", "c", "d"]}}]
    found = cirr({"version": "rc2", "metric": "recall", "7": ["r", "x", "t", "a"]}, rows)
    assert found["recall"].parts["recall@1"] == 0
    assert found["recall"].parts["recall@5"] == 1  # the reference does not count: rank 2
    assert found["subset"].parts["recall@1"] == 1
    assert found.summary["mean(R@5, Rsub@1)"] == 1
    plain = cirr({"7": ["t"]}, [{"pairid": 7, "reference": "r", "target_hard": "t"}])
    assert "no subset recall" in plain.notes[0]


def test_official_cirr_submissions_round_trip(test_data, tmp_path):
    folder = test_data / "Cuberick-Orion+CIRR"
    for name, benchmark, depth in (("recall", "cirr", 50), ("recall_subset", "cirr-subset", 3)):
        path = folder / f"test1_pred_ranks_{name}.json"
        lists = read_submission(path)
        assert len(lists) == 4148
        assert {len(row) for row in lists.values()} == {depth}
        write_submission(lists, tmp_path / "again.json", benchmark)
        assert json.loads((tmp_path / "again.json").read_text()) == json.loads(path.read_text())


def test_fashion_iq(test_data):
    folder = test_data / "XiaoxiaoGuo+fashion-iq"
    files = {name: folder / f"cap.{name}.val.json" for name in ("dress", "shirt", "toptee")}
    rows = {name: json.loads(path.read_text()) for name, path in files.items()}
    assert [len(row) for row in rows.values()] == [2017, 2038, 1961]
    ranked = {}
    for name, items in rows.items():  # the target at place 1, 11 and 51 in turn
        fill = [f"x{n}" for n in range(60)]
        ranked[name] = {
            str(n): [*fill[: (0, 10, 50)[n % 3]], item["target"], *fill[50:]] for n, item in enumerate(items)
        }
    found = fashion_iq(ranked, files)
    assert found["dress"].parts["recall@10"] == pytest.approx(len(range(0, 2017, 3)) / 2017)
    assert found.summary["mean/recall@50"] == pytest.approx(2 / 3, abs=1e-3)
    texts = [fashion_iq_text(item["captions"]) for items in rows.values() for item in items]
    assert all(texts)
    lone = [item for items in rows.values() for item in items if not all(c.strip(".?, ") for c in item["captions"])]
    assert len(lone) == 3


@pytest.mark.paper("sorce", shows="V", case="scores .9, .8, .7 and another at .75: easy and medium hit, hard misses")
def test_sorce_levels():
    def at(cosine):
        return [cosine, float(np.sqrt(1 - cosine**2)), 0]

    texts = [[1, 0, 0], [0, 0, 1]]
    far = [0, -1, 0.01]
    images = {"easy": [at(0.9), at(0.75)], "medium": [at(0.8), far], "hard": [at(0.7), far]}
    found = sorce(texts, images, ks=[1])
    per_level = {level: found[f"{level}/text_to_image"].per_item[0] for level in images}
    # the other picture's easy version scores .75: it beats the hard .7, not the medium .8
    assert per_level == {"easy": 1, "medium": 1, "hard": 0}
    negative = sorce([[1, 0, 0]], {"easy": [at(-0.1)], "medium": [at(-0.2)], "hard": [at(-0.3)]}, ks=[1])
    assert [result.value for name, result in negative.items() if "text_to" in name] == [1, 1, 1]


@pytest.mark.paper("sorce", shows="V", case="best of two views: A; their mean: B; a view twice changes nothing")
def test_sorce_views():
    a, b = [[0.2, 0.98], [0.9, 0.436]], [[0.8, 0.6], [0.7, 0.714]]
    query = [[1, 0], [0, 1]]
    assert sorce(query, {"hard": [a, b]}, ks=[1])["hard/text_to_image"].per_item[0] == 1
    assert sorce(query, {"hard": [a, b]}, ks=[1], pool="mean")["hard/text_to_image"].per_item[0] == 0
    one = sorce(query, {"hard": [a[1], b[0]]}, ks=[1])["hard/text_to_image"]
    twice = sorce(query, {"hard": [[a[1]] * 2, [b[0]] * 2]}, ks=[1])["hard/text_to_image"]
    assert one.per_item == twice.per_item
    with pytest.raises(UserError, match="equally many views"):
        sorce(query, {"hard": [a, b], "easy": [a[1], b[0]]})


class Toy:
    """Encodes pictures by their first bytes' number, texts by the number in them."""

    name, fingerprint, batch_size, dim = "toy:counted", "toy-counted-1", 4, 12

    def __init__(self, numbers):
        self.numbers, self.pictures = numbers, 0

    def encode_images(self, images):
        self.pictures += len(images)
        return np.eye(12, dtype=np.float32)[[self.numbers[image.data] for image in images]]

    def encode_texts(self, texts, langs=None):
        rows = np.full((len(texts), 12), 0.01, dtype=np.float32)
        for row, text in zip(rows, texts):
            row[int(text.split()[-1])] = 1
        return rows


@pytest.fixture
def dataset(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    raws = [picture_bytes(n) for n in range(12)]
    images, captions = [], []
    for n, raw in enumerate(raws):
        key = image_id(raw)
        images.append({"image_id": key, "data": raw, "uri": f"{n}.jpg", "width": 64, "height": 48, "format": "jpeg"})
        for lang, text in (("de", f"Bild {n}"), ("ar", f"صورة {n}"), ("zh-Hant", f"圖 {(n + (n > 5)) % 12}")):
            if lang == "ar" and n == 0:
                continue
            caption = Caption(text=text, lang=lang, kind="human", recipe="human", image_id=key)
            caption.caption_id = given_caption_id(key, "human", lang, None, text)
            captions.append(caption_to_row(caption))
    data.images.insert(images)
    data.captions.insert(captions)
    return data, Toy({raw: n for n, raw in enumerate(raws)})


def test_retrieval_on_a_dataset_encodes_pictures_once(dataset):
    data, encoder = dataset
    found = dataset_retrieval(data, encoder)
    assert encoder.pictures == 12  # three languages, one pass
    assert found["de/text_to_image"].value == 1
    assert found["ar/text_to_image"].n == 11
    assert found["ar/image_to_text"].unscored == 1  # no Arabic caption: null, not 0
    assert found["zh-Hant/text_to_image"].value == 0.5
    again = dataset_retrieval(data.path, encoder, lang=["zh", "de"])
    assert encoder.pictures == 12  # stored vectors served
    assert again["zh/text_to_image"].value == 0.5
    assert list(again) == ["zh/text_to_image", "zh/image_to_text", "de/text_to_image", "de/image_to_text"]
    with pytest.raises(UserError, match=r"no kept captions .* in fr"):
        dataset_retrieval(data, encoder, lang="fr")


def test_dropped_pictures_are_neither_searched_nor_found(dataset):
    data, encoder = dataset
    first = sorted(data.images.read(["image_id"])["image_id"].to_pylist())[0]
    data.marks.insert([{"image_id": first, "dropped": "duplicate", "scores": []}])
    found = dataset_retrieval(data, encoder, lang="de")
    assert found["de/image_to_text"].n == found["de/text_to_image"].n == 11
    assert first not in found["de/image_to_text"].ids
    assert any(note.startswith("1 pictures that curation dropped") for note in found.notes)
    assert found["de/text_to_image"].options["encoder"] == encoder.name


@pytest.mark.parametrize(
    ("benchmark", "path", "languages", "pictures"),
    [
        ("xtd10", "adobe-research+Cross-lingual-Test-Dataset-XTD10", 11, 1000),
        ("xtd", "gregor-ge+Babel-ImageNet/xtd.json", None, 1000),
        ("xflickrco", "gregor-ge+Babel-ImageNet/xflickrco.json", None, 2000),
        ("multi30k", "multi30k+dataset", 4, 1000),
        ("jsonl", "alipay+Ant-Multi-Modal-Framework/coco-cn_test.jsonl", 1, None),
    ],
)
def test_caption_sets(test_data, benchmark, path, languages, pictures):
    found = read_caption_set(benchmark, test_data / path)
    assert languages is None or len(found) == languages
    assert pictures is None or {len(rows) for rows in found.values()} == {pictures}
    if benchmark == "xtd10":
        assert "ja" in found

    class Hashed:
        """A text is its picture's vector: every retrieval is right but for equal captions."""

        name, fingerprint, batch_size, dim = "hashed", "h", 4096, 64
        known: dict = {}  # noqa: RUF012

        def encode_texts(self, texts, langs=None):
            return np.stack([self.known[text] for text in texts])

    draw = np.random.default_rng(0)
    names = {name for rows in found.values() for name in rows}
    vectors = {name: draw.normal(size=64) for name in sorted(names)}
    for rows in found.values():
        Hashed.known |= {text: vectors[name] for name, row in rows.items() for text in row}
    if benchmark == "xflickrco":
        with pytest.raises(UserError, match="'de' has 1 empty captions, of COCO_val2014_000000122239"):
            image_text_benchmark(Hashed(), found, vectors)
    result = image_text_benchmark(Hashed(), found, vectors, metrics=["recall@1"], on_error="null")
    assert sum(one.unscored for one in result.values()) == (4 if benchmark == "xflickrco" else 0)
    assert len(result) == 2 * len(found)
    assert min(float(one) for one in result.values()) > 0.95
    with pytest.raises(UserError, match="pictures are missing"):
        image_text_benchmark(Hashed(), found, {})
    with pytest.raises(UserError, match="has no xx"):
        read_caption_set(benchmark, test_data / path, lang=["xx"])


def test_xm3600_form(tmp_path):
    rows = [
        {"image/key": "a1", "image/locale": "de", "de": {"caption": ["Hund", "ein Hund"]}, "th": {"caption": ["หมา"]}}
    ]
    (tmp_path / "captions.jsonl").write_text(json.dumps(rows[0], ensure_ascii=False), encoding="utf-8")
    found = read_caption_set("xm3600", tmp_path / "captions.jsonl")
    assert found == {"de": {"a1": ["Hund", "ein Hund"]}, "th": {"a1": ["หมา"]}}


def test_the_json_of_xtd_calls_japanese_ja(tmp_path):
    (tmp_path / "xtd.json").write_text('{"images": ["a.jpg"], "captions": {"jp": ["犬"], "DE": ["Hund"]}}', "utf-8")
    found = read_caption_set("xtd", tmp_path / "xtd.json", lang=["jp", "de"])
    assert list(found) == ["ja", "de"]


@pytest.mark.paper("caparena", shows="V", case="120 wins, 60 losses, 20 ties of 200: 30.0; unread ones add nothing")
def test_caparena_auto_scores():
    verdicts = {str(n): 1.0 if n < 120 else 0.0 if n < 180 else 0.5 for n in range(200)}
    found = caparena_auto_scores(verdicts, dict.fromkeys(verdicts, "base"))
    assert found.value == found.parts["score/base"] == 30
    unread = caparena_auto_scores({**verdicts, "0": None}, dict.fromkeys(verdicts, "base"))
    assert unread.value == 29.5
    assert unread.unscored == 1


class Judge:
    """Prefers the first caption always, or the longer one."""

    name, fingerprint, batch_size = "judge", "j", 8

    def __init__(self, rule):
        self.rule, self.asked = rule, 0

    def generate(self, prompts):
        from panoglot.providers.roles import Answer

        found = []
        for prompt in prompts:
            self.asked += 1
            one = prompt.text.split("Caption 1: ")[1].split("\n")[0]
            two = prompt.text.split("Caption 2: ")[1].split("\n")[0]
            first = self.rule == "first" or len(one) > len(two)
            unclear = self.rule == "late" and self.asked <= 4
            found.append(Answer("Hm." if unclear else f"Reason: …\nJudgment: Caption {1 if first else 2} is better"))
        return found


def test_caparena_auto_has_no_position_bias_in_both_orders(tmp_path):
    gold, captions = {}, {}
    for n in range(6):
        (tmp_path / f"{n}.jpg").write_bytes(picture_bytes(n))
        gold[f"{n}.jpg"] = {"captions": {"human": "h", f"base{n % 3}": "short"}, "ref_model": f"base{n % 3}"}
        captions[f"{n}.jpg"] = "a longer description"
    assert caparena_auto(Judge("first"), captions, gold, tmp_path).value == 0
    assert caparena_auto(Judge("long"), captions, gold, tmp_path).value == 100
    assert caparena_auto(Judge("long"), captions, gold, tmp_path, orders="random").value == 100
    assert caparena_auto(Judge("late"), captions, gold, tmp_path).value == 100
    gave_up = caparena_auto(Judge("late"), captions, gold, tmp_path, tries=1)
    assert gave_up.unscored == 2
    with pytest.raises(UserError, match=r"1 pictures have no caption: 0\.jpg"):
        caparena_auto(Judge("long"), {k: v for k, v in captions.items() if k != "0.jpg"}, gold, tmp_path)
