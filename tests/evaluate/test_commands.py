"""The functions behind `panoglot evaluate`: files in, results out."""

from __future__ import annotations

import json

import numpy as np
import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.evaluate import cider, commands
from panoglot.providers import register
from tests.conftest import picture_bytes

PREDS = {"1": "a dog runs on grass", "2": "two cats sleep", "3": "a red bus on a street"}
REFS = {"1": ["a dog is running", "the dog runs"], "2": ["cats sleeping", "two cats"], "3": ["a bus", "a red bus"]}


def write(path, data):
    text = "\n".join(json.dumps(row) for row in data) if path.suffix == ".jsonl" else json.dumps(data)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_captions_reads_every_form(tmp_path):
    expected = cider(PREDS, REFS).value
    forms = [
        write(tmp_path / "a.json", PREDS),
        write(tmp_path / "b.json", [{"image_id": int(key), "caption": text} for key, text in PREDS.items()]),
        write(tmp_path / "c.jsonl", [{"id": key, "text": text} for key, text in PREDS.items()]),
    ]
    refs = [
        write(tmp_path / "r.json", REFS),
        write(tmp_path / "coco.json", {"images": [], "annotations": [
            {"id": n, "image_id": int(key), "caption": text}
            for n, (key, row) in enumerate(REFS.items()) for text in row
        ]}),
        write(tmp_path / "r.jsonl", [{"id": key, "refs": row} for key, row in REFS.items()]),
    ]  # fmt: skip
    for preds in forms:
        for ref in refs:
            assert commands.captions(preds, ref, metrics="cider")["cider"].value == pytest.approx(expected)
    found = commands.captions(forms[0], refs[0], metrics="cider,bleu,rouge-l,length,distinct-n")
    assert list(found) == ["cider", "bleu", "rouge-l", "length", "distinct-n"]
    assert "rouge-l" in found.table()
    assert json.loads(found.to_json(per_item=True))["results"]["cider"]["per_item"]["1"] is not None


def test_captions_mistakes(tmp_path):
    preds = write(tmp_path / "p.json", PREDS)
    with pytest.raises(UserError, match="cider needs --refs"):
        commands.captions(preds)
    with pytest.raises(UserError, match="Did you mean 'cider'"):
        commands.captions(preds, preds, metrics="cidr")
    with pytest.raises(UserError, match="clipscore needs --images"):
        commands.captions(preds, metrics="clipscore")
    with pytest.raises(UserError, match="1 predictions have no references: 3"):
        commands.captions(preds, write(tmp_path / "r.json", {"1": ["a"], "2": ["b"]}))
    twice = write(tmp_path / "t.jsonl", [{"id": 1, "text": "a"}, {"id": 1, "text": "b"}])
    with pytest.raises(UserError, match="1 ids more than once: 1"):
        commands.captions(twice, metrics="length")
    (tmp_path / "bad.jsonl").write_text('{"id": 1, "text": "a"}\n{oops\n')
    with pytest.raises(UserError, match="line 2"):
        commands.captions(str(tmp_path / "bad.jsonl"), metrics="length")


class Colours:
    """Encodes pictures by their mean colour, texts by the colour they name."""

    name, fingerprint, batch_size, dim = "toy:colours", "colours-1", 4, 3
    words = {"rot": 0, "grün": 1, "blau": 2, "赤": 0, "緑": 1, "青": 2}  # noqa: RUF012

    def encode_images(self, images):
        return np.stack([image.pixels().reshape(-1, 3).mean(axis=0) for image in images]).astype(np.float32)

    def encode_texts(self, texts, langs=None):
        return np.stack([np.eye(3)[next(n for word, n in self.words.items() if word in text)] for text in texts])


@pytest.fixture
def colours(tmp_path, monkeypatch):
    import PIL.Image

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    register("toy:colours", Colours)
    for n, name in enumerate(("a", "b", "c")):
        (tmp_path / "set" / name).mkdir(parents=True)
        for m in range(2):
            colour = [20 + 10 * m] * 3
            colour[n] = 250
            PIL.Image.new("RGB", (40, 30), tuple(colour)).save(tmp_path / "set" / name / f"{m}.png")
    return tmp_path


def test_pictures_are_encoded_once_for_all_languages_and_runs(colours):
    asked = []

    class Counted(Colours):
        def encode_images(self, images):
            asked.extend(images)
            return super().encode_images(images)

    register("toy:counted", Counted)
    labels = write(colours / "l.json", {"de": ["rot", "grün", "blau"], "ja": ["赤", "緑", "青"]})
    first = commands.zeroshot(str(colours / "set"), encoder="toy:counted", labels=labels)
    assert len(asked) == 6
    again = commands.zeroshot(str(colours / "set"), encoder="toy:counted", labels=labels, lang="ja")
    assert len(asked) == 6
    assert again["ja"].as_dict() == first["ja"].as_dict()
    rows = [{"image": f"{n}.png", "caption": "rot", "lang": "de"} for n in range(1)]
    source = write(colours / "c.jsonl", rows)
    commands.retrieval(
        source, encoder="toy:counted", benchmark="jsonl", images=str(colours / "set"), metrics="recall@1"
    )
    assert len(asked) == 6  # another command, the same pictures
    commands.zeroshot(str(colours / "set"), encoder="toy:counted", labels=labels, cache="off")
    assert len(asked) == 12
    commands.zeroshot(str(colours / "set"), encoder="toy:counted", labels=labels, cache=str(colours / "mine"))
    assert len(asked) == 18
    assert (colours / "mine" / "vectors.sqlite").is_file()


def test_zeroshot_folders(colours):
    labels = write(colours / "l.json", {"de": ["rot", "grün", "blau"], "ja": ["赤", "緑", "青"]})
    found = commands.zeroshot(str(colours / "set"), encoder="toy:colours", labels=labels)
    assert {tag: result.value for tag, result in found.items()} == {"de": 1, "ja": 1}
    one = commands.zeroshot(str(colours / "set"), encoder="toy:colours", labels=labels, lang="ja")
    assert list(one) == ["ja"]
    with pytest.raises(UserError, match=r"3 of 3 folders are none of ImageNet.s classes: a, b, c"):
        commands.zeroshot(str(colours / "set"), encoder="toy:colours", labels=labels, benchmark="babel-imagenet")


def test_zeroshot_takes_a_file_of_labels(colours):
    """Folders named after ImageNet's classes, by synset or by name; a language may lack some."""
    for old, new in (("a", "n02219486"), ("b", "tiger"), ("c", "Tench")):
        (colours / "set" / old).rename(colours / "set" / new)
    table = {"de": [[0, 292, 310], ["rot", "blau", "grün"]], "zh-Hant": [[0, 292], ["赤", "青"]], "th": [[0], ["x"]]}
    table["de"][1] = [
        {"n02219486": "grün", "tiger": "blau", "Tench": "rot"}[n] for n in ("Tench", "tiger", "n02219486")
    ]
    labels = write(colours / "labels.json", table)
    found = commands.zeroshot(str(colours / "set"), encoder="toy:colours", labels=labels)
    assert {tag: result.parts["classes"] for tag, result in found.items()} == {"de": 3.0, "zh-Hant": 2.0}
    (colours / "set" / "tiger").rename(colours / "set" / "unicorn")
    with pytest.raises(UserError, match=r"1 of 3 folders are none of ImageNet.s classes: unicorn"):
        commands.zeroshot(str(colours / "set"), encoder="toy:colours", labels=labels)


def test_clipscore_by_files(colours):
    preds = write(colours / "p.json", {"a": "rot", "b": "grün", "c": "blau"})
    for name in "abc":
        (colours / "set" / name / "0.png").rename(colours / "set" / f"{name}.png")
        (colours / "set" / name / "1.png").unlink()
    found = commands.captions(
        preds, metrics="clipscore", lang="de", images=str(colours / "set"), encoder="toy:colours"
    )["clipscore"]
    assert found.n == 3
    assert found.value > 2.4


def test_retrieval_from_vectors(tmp_path):
    draw = np.random.default_rng(0)
    images = draw.normal(size=(6, 8))
    np.save(tmp_path / "i.npy", images)
    np.save(tmp_path / "t.npy", np.repeat(images, 2, axis=0))
    found = commands.retrieval(str(tmp_path / "i.npy"), texts=str(tmp_path / "t.npy"))
    assert [result.value for result in found.values()] == [1, 1]
    owners = write(tmp_path / "o.json", [n // 2 for n in range(12)])
    assert commands.retrieval(str(tmp_path / "i.npy"), texts=str(tmp_path / "t.npy"), owners=owners, metrics="mrr")
    with pytest.raises(UserError, match="no file"):
        commands.retrieval(str(tmp_path / "none.npy"), texts=str(tmp_path / "t.npy"))


def test_retrieval_on_a_dataset_takes_the_encoder_that_its_search_takes(tmp_path, pictures):
    for n, name in enumerate(sorted(path.stem for path in pictures.glob("*.jpg"))):
        (pictures / f"{name}.th.txt").write_text(f"ผึ้ง {n}", encoding="utf-8")
    data = panoglot.ingest(str(pictures), str(tmp_path / "x.pano"), quiet=True).dataset
    with pytest.raises(UserError, match="has no vectors to search"):
        commands.retrieval(str(data.path))
    recipe = {"output": str(data.path), "steps": [{"encode": {"encoder": "python:tests.running.toy:Fits"}}]}
    (tmp_path / "encode.yaml").write_text(json.dumps(recipe))
    panoglot.build(str(tmp_path / "encode.yaml"), quiet=True)
    found = commands.retrieval(str(data.path), lang="th")
    assert list(found) == ["th/text_to_image", "th/image_to_text"]
    assert found["th/text_to_image"].options["encoder"] == "toy:fits"
    assert found.notes[0] == "0 of 12 pictures were encoded now, the others' vectors were stored"


class YesMan:
    """Says yes."""

    name, fingerprint, batch_size = "toy:yes", "yes-1", 4

    def generate(self, prompts):
        from panoglot.providers.roles import Answer

        return [Answer("Yes.") for _ in prompts]


def test_choice_pope(tmp_path):
    register("toy:yes", YesMan)
    (tmp_path / "0.jpg").write_bytes(picture_bytes(0))
    data = write(tmp_path / "pope.jsonl", [
        {"question_id": n, "image": "0.jpg", "text": "Is there a dog?", "label": label}
        for n, label in enumerate(["yes", "no"])
    ])  # fmt: skip
    found = commands.choice(data, model="toy:yes", benchmark="pope")["en"]
    assert found.value == pytest.approx(2 / 3)
    assert found.parts["yes_ratio"] == 1
    with pytest.raises(UserError, match="Did you mean 'pope'"):
        commands.choice(data, model="toy:yes", benchmark="popo")


def test_arena_agreement_composed_compare(tmp_path):
    votes = [{"source1": "a", "source2": "b", "winner": "a" if n % 4 else "b"} for n in range(40)]
    found = commands.arena(write(tmp_path / "v.jsonl", votes), rating="win-minus-loss", resamples=20)
    assert found.ratings == {"a": 50, "b": -50}
    result = cider(PREDS, REFS)
    (tmp_path / "m.json").write_text(result.to_json(per_item=True))
    human = write(tmp_path / "h.jsonl", [{"id": k, "human_score": v, "image": "x"} for k, v in zip("123", (1, 3, 2))])
    agreed = commands.agreement(str(tmp_path / "m.json"), human, statistic="spearman")
    assert agreed["cider-d"].n == 3
    assert commands.agreement(str(tmp_path / "m.json"), human, groups="image")["cider-d"].options["groups"] == 1
    same = commands.compare(str(tmp_path / "m.json"), str(tmp_path / "m.json"), resamples=50)
    assert same.rows[0].difference == 0
    truth = write(tmp_path / "val.json", [{"pairid": 1, "reference": "r", "target_hard": "t"}])
    ranked = write(tmp_path / "rank.json", {"1": ["r", "t"]})
    assert commands.composed(ranked, benchmark="cirr", annotations=truth)["recall"].value == 1
    for function in commands.COMMANDS.values():
        assert getattr(commands, function[0]).__doc__
