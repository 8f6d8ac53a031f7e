"""SMPQA: charts with words of many scripts, drawn right or refused; oracles score 100, guesses 50."""

from __future__ import annotations

import io
import json
import unicodedata

import PIL.features
import PIL.Image
import pytest

from panoglot.errors import RowError, UserError
from panoglot.evaluate.benchmarks import WORDS, Chart, draw_chart, find_font, missing_characters, needs_shaping
from panoglot.evaluate.benchmarks.smpqa import make_smpqa, read_smpqa, smpqa, smpqa_scores
from panoglot.providers.roles import Answer


def font_of(lang):
    try:
        return find_font(lang, WORDS[lang].split())
    except UserError as error:
        pytest.skip(str(error))


def test_words_are_there_once_in_every_language():
    for tag, text in WORDS.items():
        words = text.split()
        assert len(words) == len(set(words)) == 24, tag
        assert all(unicodedata.normalize("NFC", word) == word for word in words if tag != "hi"), tag


@pytest.mark.parametrize("lang", ["en", "ar", "hi", "th", "zh", "ja", "ko", "sw", "ru"])
def test_a_font_with_all_characters_is_found(lang):
    font = font_of(lang)
    assert missing_characters(font, WORDS[lang].split()) == []


def test_missing_characters_are_seen():
    latin = font_of("en")
    assert missing_characters(latin, ["apple", "แมว"]) == sorted("แมว")
    assert missing_characters(latin, ["a\u200d b"]) == []  # joiners and spaces are not drawn
    thai = font_of("th")
    assert "中" in missing_characters(thai, ["แมว中"])
    with pytest.raises(UserError, match=r"'th': .*NotoSans-Regular|'th': .*has all characters \(.* missing\)"):
        find_font("th", WORDS["th"].split(), latin.path)
    with pytest.raises(UserError, match="has all characters"):
        find_font("en", ["\U000e0fff\ufdd0 word"])  # no font has noncharacters
    with pytest.raises(UserError, match="not a font"):
        find_font("en", ["word"], __file__)


def test_scripts_that_need_shaping_are_refused_without_it(monkeypatch):
    monkeypatch.setattr(PIL.features, "check", lambda name: False)
    for lang in ("ar", "hi", "th"):
        assert any(map(needs_shaping, WORDS[lang].split()))
        with pytest.raises(UserError, match="has no raqm"):
            find_font(lang, WORDS[lang].split())
    for lang in ("en", "de", "ko", "zh", "ja", "ru", "sw"):
        assert not any(map(needs_shaping, WORDS[lang].split()))
        font_of(lang)


def test_text_is_shaped():
    if not PIL.features.check("raqm"):
        pytest.skip("this Pillow has no raqm")
    arabic, hindi = font_of("ar").at(40), font_of("hi").at(40)
    # letters join: narrower than their isolated forms; the last letter is at the left
    assert arabic.getlength("كتاب") < sum(map(arabic.getlength, "كتاب")) * 0.9
    assert bytes(arabic.getmask("كتاب")) != bytes(arabic.getmask("باتك"))
    # the vowel sign of कि stands before its consonant: what is drawn first differs from क alone
    before, alone = (PIL.Image.new("L", (80, 80)) for _ in range(2))
    for picture, text in ((before, "कि"), (alone, "क")):
        from PIL import ImageDraw

        ImageDraw.Draw(picture).text((10, 10), text, fill=255, font=hindi)
    left = [picture.crop((10, 10, 20, 70)).tobytes() for picture in (before, alone)]
    assert left[0] != left[1]


class Oracle:
    """Answers from the questions' own files, or wrongly on purpose."""

    name, fingerprint, batch_size, sees = "toy:oracle", "oracle", 8, True

    def __init__(self, folder, lie=None):
        self.lie, self.asked = lie, 0
        self.answers = {}
        for path in folder.glob("*_*.json"):
            for row in json.loads(path.read_text(encoding="utf-8")):
                data = (folder / "images" / row["image_id"]).read_bytes()
                self.answers[data, row["context"][0]] = row["text_label"]

    def generate(self, prompts):
        self.asked += len(prompts)
        found = []
        for prompt in prompts:
            question = prompt.text.rpartition("?")[0] + "?"
            right = self.answers[prompt.images[0].data, question]
            found.append(self.lie(right) if self.lie else Answer(f"“{right}”."))
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smpqa")
    for tag in ("en", "ar", "hi", "th", "ko", "ja"):
        font_of(tag)
    return folder, make_smpqa(folder, lang=["en", "ar", "hi", "th", "ko", "ja"], pictures=15, seed=3)


@pytest.mark.paper("centurio", shows="V", case="who knows the answers 100, always yes 50")
def test_oracles_and_guesses(made):
    folder, _ = made
    found = smpqa(Oracle(folder), folder)
    assert {result.value for result in found.values()} == {1.0}
    assert set(found.summary) == {"en/ground", "en/name", "mean but en/ground", "mean but en/name"}
    yes = smpqa(Oracle(folder, lambda right: Answer("Yes, it is.")), folder, lang=["th"])
    assert yes["th/ground"].value == pytest.approx(0.5, abs=1 / 45 + 1e-9)
    assert yes["th/ground"].parts["share_yes"] == 1
    assert yes["th/name"].value == 0
    wordy = smpqa(Oracle(folder, lambda right: Answer(f"The label is {right}")), folder, lang=["ja"])
    assert (wordy["ja/name"].value, wordy["ja/name"].parts["contains"]) == (0, 1)
    assert wordy["ja/ground"].parts["unread"] == 1
    failing = smpqa(Oracle(folder, lambda right: RowError("refused")), folder, lang=["en"])
    assert (failing["en/name"].value, failing["en/name"].unscored) == (None, 45)


@pytest.mark.paper("centurio", shows="V", case="half of the answers are yes; a word asked for stands in the chart once")
def test_questions_hold(made):
    folder, _ = made
    for tag in ("en", "ko", "ja", "ar"):
        rows = read_smpqa(folder, tag, "ground")
        assert len(rows) == 45
        share = sum(row["answer"] == "yes" for row in rows)
        assert abs(share - 22.5) <= 1
        for kind in ("Is the word", "the largest?"):  # half and half of every kind, not only of all
            mine = [row["answer"] for row in rows if kind in row["question"]]
            assert abs(mine.count("yes") - len(mine) / 2) <= 1
        words = WORDS[tag].split()
        labels = {row["answer"] for row in read_smpqa(folder, tag, "name")}
        assert labels <= set(words)
        by_picture = {}
        for row in read_smpqa(folder, tag, "name"):
            by_picture.setdefault(row["image"], []).append(row["answer"])
        for row in rows:
            if row["question"].startswith("Is the word") and row["answer"] == "no":
                said = row["question"].split('"')[1]
                assert not any(said in label or label in said for label in by_picture[row["image"]])


@pytest.mark.paper("centurio", shows="V", case="the same seed: the same bytes")
def test_the_same_seed_gives_the_same_bytes(made, tmp_path):
    folder, report = made
    make_smpqa(tmp_path / "again", lang=["ar", "ja"], pictures=15, seed=3)
    for path in (tmp_path / "again").rglob("*.*"):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path / "again")).read_bytes()
    make_smpqa(tmp_path / "other", lang="ja", pictures=15, seed=4)
    assert (tmp_path / "other" / "ja_name.json").read_bytes() != (folder / "ja_name.json").read_bytes()
    assert "15 pictures" in report.table()
    assert json.loads(report.to_json())["fonts"]["en"].endswith((".ttf", ".otf", ".ttc"))


def test_words_do_not_touch():
    font = font_of("en")
    chart = Chart("pie", ("apple", "bread", "milk", "house"), (1, 2, 3, 4), ("red", "blue", "green", "grey"))
    assert draw_chart(chart, font, 20) is not None
    crowded = Chart("pie", tuple("abcdefghijklmnopqrstuvwxyz"), tuple(range(1, 27)), ("red",) * 26)
    assert draw_chart(crowded, font, 28) is None
    assert draw_chart(Chart("bar", ("w" * 60, "b"), (1, 2), ("red", "blue")), font, 28) is None
    # nothing but white at the edges: no word leaves the picture
    picture = PIL.Image.open(io.BytesIO(draw_chart(chart, font, 28)))
    assert picture.crop((0, 0, 640, 3)).getextrema() == ((255, 255),) * 3


def test_own_words(tmp_path):
    words = {"de": [f"Wort{chr(97 + n)}" for n in range(14)]}
    (tmp_path / "w.json").write_text(json.dumps(words), encoding="utf-8")
    make_smpqa(tmp_path / "out", pictures=2, words=str(tmp_path / "w.json"))
    assert read_smpqa(tmp_path / "out", "de", "name")[0]["answer"].startswith("Wort")
    with pytest.raises(UserError, match=r"fewer than 12 different words: de \(2\)"):
        make_smpqa(tmp_path / "few", words={"de": ["a", "b"]})
    with pytest.raises(UserError, match="no words in xx"):
        make_smpqa(tmp_path / "none", lang="xx")
    with pytest.raises(UserError, match="too long for charts"):
        make_smpqa(tmp_path / "long", words={"de": [chr(97 + n) * 80 for n in range(12)]}, pictures=1)
    with pytest.raises(UserError, match=r"too long for charts|part of a label"):  # each is a part of the next
        make_smpqa(tmp_path / "nested", words={"de": ["a" * n for n in range(1, 14)]}, pictures=1)
    assert not (tmp_path / "none").exists()


def test_an_unknown_script_is_refused_before_anything_is_written(tmp_path):
    latin = font_of("en")
    with pytest.raises(UserError, match="has all characters"):
        make_smpqa(tmp_path / "out", lang=["en", "zh"], font=latin.path)
    assert not (tmp_path / "out").exists()


def test_reading_the_originals_form(tmp_path, test_data):
    folder = tmp_path / "s"
    folder.mkdir()
    with pytest.raises(UserError, match=r"no th_ground.json .*github.com/gregor-ge/Centurio.*make-smpqa"):
        read_smpqa(folder, "th", "ground")
    example = test_data / "gregor-ge+Centurio" / "example_testing.json"  # it has a comment: no JSON
    (folder / "th_ground.json").write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(UserError, match="is not JSON"):
        read_smpqa(folder, "th", "ground")
    fine = "".join(line.partition(" # ")[0] + "\n" for line in example.read_text(encoding="utf-8").splitlines())
    (folder / "th_ground.json").write_text(fine, encoding="utf-8")
    assert read_smpqa(folder, "th", "ground")[0]["image"] == "0000.jpg"
    (folder / "th_ground.json").write_text('[{"context": ["a", "b"], "text_label": "x", "image_id": "y"}]')
    with pytest.raises(UserError, match="1 rows lack context"):
        read_smpqa(folder, "th", "ground")
    (folder / "th_ground.json").write_text('[{"context": ["a"], "text_label": "x", "image_id": "../../etc/passwd"}]')
    (folder / "th_name.json").write_text('[{"context": ["a"], "text_label": "x", "image_id": "y.png"}]')
    with pytest.raises(UserError, match="1 pictures are not in"):
        smpqa(Oracle(folder / "none"), folder)


def test_scores_compare_what_is_meant():
    rows = [{"answer": "Straße"}, {"answer": "كتاب"}, {"answer": "パン"}, {"answer": "नदी"}]
    said = ["straße.", "«كتاب\u200f»", "ﾊﾟﾝ", "नद"]
    assert smpqa_scores(rows, said, task="name").per_item == (1, 1, 1, 0)
    with pytest.raises(UserError, match="4 questions"):
        smpqa_scores(rows, said[:3], task="name")
    ground = [{"answer": "yes"}, {"answer": "no"}, {"answer": "no"}, {"answer": "yes"}]
    found = smpqa_scores(ground, ["Yes!", "No, because", "Nothing", None], task="ground")
    assert found.per_item == (1, 1, 0, None)
    assert found.parts["unread"] == pytest.approx(1 / 3)


def test_commands(tmp_path):
    from panoglot.evaluate import commands
    from panoglot.providers import register

    font_of("hi")
    report = commands.make_smpqa(str(tmp_path / "s"), lang="en,hi", pictures=2)
    assert set(report.fonts) == {"en", "hi"}
    register("toy:reader", lambda: Oracle(tmp_path / "s"))
    found = commands.choice(str(tmp_path / "s"), model="toy:reader", benchmark="smpqa", lang="all")
    assert {name: result.value for name, result in found.items()} == dict.fromkeys(
        ("en/ground", "en/name", "hi/ground", "hi/name"), 1.0
    )
