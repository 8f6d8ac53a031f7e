"""Templates: ours, and files of every form; results say which."""

from __future__ import annotations

import json

import numpy as np
import pytest

from panoglot.errors import UserError
from panoglot.evaluate import TEMPLATES, compare, read_templates, zeroshot


def test_ours_have_one_place_each():
    for lang, texts in TEMPLATES.items():
        assert texts[0] == "{}", lang
        assert len(set(texts)) == len(texts) >= 5, lang
        assert all(text.count("{}") == 1 for text in texts), lang


def test_no_templates_is_the_bare_name():
    found = read_templates(None)
    assert (found.label, found.of("de"), found.of("th")) == ("names", ["{}"], ["{}"])
    assert read_templates(["names"]).of("sw") == ["{}"]


def test_languages_are_found_by_tag():
    ours = read_templates("ours")
    assert ours.label == "ours"
    assert ours.of("zh-Hant") == list(TEMPLATES["zh"])
    assert ours.of("DE") == list(TEMPLATES["de"])
    assert ours.of("xh") == ["{}"]


def put(path, data):
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return str(path)


def test_files_of_every_form(tmp_path):
    by_lang = put(tmp_path / "nllb.json", {"DE": ["ein  {} ."], "TH": ["ภาพ{}"]})
    openai = put(tmp_path / "openai.json", {"imagenet_classes": ["x"], "imagenet_templates": ["a {}.", "many {}."]})
    datasets = put(tmp_path / "sets.json", {"imagenet1k": ["{c}の写真"], "cifar10": ["{c}"]})
    plain = put(tmp_path / "list.json", ["look: {}"])
    assert read_templates(by_lang).of("de") == ["ein  {} ."]
    assert read_templates(openai).of("en") == ["a {}.", "many {}."]
    assert read_templates(openai).of("de") == ["{}"]
    assert read_templates(f"{datasets}#imagenet1k").of("ja") == ["{}の写真"]
    assert read_templates(f"ja:{datasets}#imagenet1k").of("de") == ["{}"]
    assert read_templates(plain).of("sw") == ["look: {}"]
    both = read_templates([by_lang, f"en:{plain}", "ours"])
    assert (both.of("DE"), both.of("en"), both.of("fr")) == (["ein  {} ."], ["look: {}"], list(TEMPLATES["fr"]))
    assert both.label.startswith("nllb.json (")
    assert both.label.endswith(" + ours")
    # the label changes with the texts, not with the place
    again = put(tmp_path / "b.json", {"DE": ["eine  {} ."], "TH": ["ภาพ{}"]})
    assert read_templates(again).label.split("(")[1] != read_templates(by_lang).label.split("(")[1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"DE": ["ein Foto"]}, "templates of DE are not texts with exactly one {} each"),
        ({"DE": ["{} {}"], "FR": ["{}"]}, "templates of DE"),
        ({"DE": "ein {}"}, "templates of DE"),
        ({"DE": [5]}, "templates of DE"),
        ([], "templates of \\*"),
        ({}, "must be a JSON list"),
        (7, "must be a JSON list"),
        ({"imagenet1k": ["{c}"]}, "say which, .*#imagenet1k"),
    ],
)
def test_bad_files(tmp_path, data, message):
    with pytest.raises(UserError, match=message):
        read_templates(put(tmp_path / "t.json", data))


def test_unknown_sources(tmp_path):
    with pytest.raises(UserError, match="Did you mean 'ours'"):
        read_templates("our")
    with pytest.raises(UserError, match=r"has no 'imagenet'. Did you mean 'imagenet1k'"):
        read_templates(put(tmp_path / "s.json", {"imagenet1k": ["{c}"]}) + "#imagenet")


def test_published_files(test_data):
    nllb = read_templates(str(test_data / "LAION-AI+CLIP_benchmark" / "nllb_dist13b_prompts.json"))
    assert {len(texts) for texts in nllb.values()} == {80}
    assert len(read_templates(str(test_data / "openai+CLIP" / "imagenet_classes_and_templates.json")).of("en")) == 80
    arabic = test_data / "LAION-AI+CLIP_benchmark" / "ar_zeroshot_classification_templates.json"
    assert len(read_templates(f"ar:{arabic}#imagenet1k").of("ar")) == 55


class Words:
    """Vectors from the letters of a text."""

    name, fingerprint, batch_size, dim = "toy:words", "words", 8, 16

    def encode_texts(self, texts, langs=None):
        return np.stack([np.bincount([ord(c) % 16 for c in text], minlength=16) for text in texts]).astype(np.float32)


def test_results_say_which_and_others_do_not_compare():
    draw = np.random.default_rng(0)
    images, labels = draw.normal(size=(6, 16)), {"de": ["rot", "grün"], "th": ["แดง", "เขียว"]}
    made = {
        name: zeroshot(Words(), images, [0, 1] * 3, labels, templates=read_templates(name))
        for name in ("names", "ours")
    }
    assert made["ours"]["th"].options["template_set"] == "ours"
    assert made["ours"]["th"].options["templates"] == 5
    assert made["names"]["th"].options["template_set"] == "names"
    assert zeroshot(Words(), images, [0, 1] * 3, labels)["de"].options["template_set"] == "names"
    own = zeroshot(Words(), images, [0, 1] * 3, labels, templates=["ein {}"])["de"].options["template_set"]
    assert own.startswith("own (")
    assert compare(made["ours"], made["ours"]).rows[0].difference == 0
    with pytest.raises(UserError, match="template"):
        compare(made["names"], made["ours"])
