import glob
import shutil
import stat
from types import SimpleNamespace

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest

from panoglot.errors import MissingPackage, RowError, UserError
from panoglot.geometry import Region
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.providers.embedded import ocr
from panoglot.providers.embedded.ocr import TextReader, in_reading_order
from panoglot.providers.roles import Line

NOTO = "/usr/share/fonts/*/noto/"
HEADER = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext"


def line(text, x0, y0, x1, y1, score=0.9):
    return Line(text, score, Region(x0, y0, x1, y1))


def test_reading_order():
    right, left, below, far = (
        line("way", 0.3, 0.1, 0.4, 0.2),
        line("Give", 0.1, 0.11, 0.25, 0.21, 0.8),
        line("to buses", 0.1, 0.3, 0.4, 0.4),
        line("12", 0.8, 0.1, 0.9, 0.2),
    )
    found = in_reading_order([below, far, right, left])
    assert [(x.text, x.score) for x in found] == [("Give way", 0.8), ("12", 0.9), ("to buses", 0.9)]
    assert found[0].region == Region(0.1, 0.1, 0.4, 0.21)
    assert in_reading_order([]) == []


def test_reading_order_from_right_to_left_and_without_spaces():
    arabic = [line("بالعالم", 0.1, 0.1, 0.3, 0.2), line("مرحبا", 0.32, 0.1, 0.5, 0.2)]
    assert [x.text for x in in_reading_order(arabic)] == ["مرحبا بالعالم"]
    chinese = [line("北京", 0.3, 0.1, 0.4, 0.2), line("欢迎来到", 0.1, 0.1, 0.29, 0.2)]
    assert [x.text for x in in_reading_order(chinese)] == ["欢迎来到北京"]


@pytest.fixture
def tesseract(tmp_path, monkeypatch):
    """A program in the place of tesseract: it says what the file `answer` holds."""
    program = tmp_path / "tesseract"
    program.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --list-langs ]; then printf "List (4):\\neng\\nosd\\nrus\\njpn_vert\\n"; exit; fi\n'
        f'echo "$@" >> {tmp_path}/calls\ncat > /dev/null\ncat {tmp_path}/answer || exit 1\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def says(*words):
        rows = [f"5\t1\t{n}\t1\t1\t1\t{x}\t10\t{w}\t20\t{conf}\t{text}" for n, (text, x, w, conf) in enumerate(words)]
        (tmp_path / "answer").write_text("\n".join([HEADER, *rows]) + "\n")
        return tmp_path / "calls"

    return says


@pytest.fixture
def rapid(monkeypatch):
    """rapidocr's answer, given by the test: (text, score, x0, x1) on a picture of 200 x 100."""
    found = []

    class RapidOCR:
        def __init__(self, params):
            assert params["EngineConfig.onnxruntime.intra_op_num_threads"] == 1

        def __call__(self, picture):
            if not found:
                return SimpleNamespace(txts=None, scores=None, boxes=None)
            boxes = np.array([[[x0, 10], [x1, 10], [x1, 30], [x0, 30]] for _, _, x0, x1 in found], float)
            return SimpleNamespace(txts=[f[0] for f in found], scores=[f[1] for f in found], boxes=boxes)

    monkeypatch.setattr(ocr, "require", lambda *_: SimpleNamespace(RapidOCR=RapidOCR))
    monkeypatch.setattr(ocr, "_version", lambda _: "0")
    return found


PICTURE = Image.from_pil(PIL.Image.new("RGB", (200, 100), "white"))


def texts(model):
    (found,) = model.read([PICTURE])
    return [x.text for x in found]


def test_latin_needs_no_second_reading(rapid, tesseract):
    calls = tesseract(("Осторожно", 10, 90, 99))
    rapid.append(("STOP", 0.99, 10, 100))
    assert texts(TextReader()) == ["STOP"]
    assert not calls.exists()


def test_a_box_without_letters_asks_for_another_script(rapid, tesseract):
    calls = tesseract(("Осторожно", 10, 90, 96), ("st0p", 150, 30, 99), ("x", 180, 9, 99), ("собак", 110, 30, 61))
    rapid.append((", ,", 0.95, 10, 100))
    model = TextReader()
    assert texts(model) == ["Осторожно"]  # Latin is left to rapidocr; single letters and doubtful words to nobody
    assert "-l eng+rus " in calls.read_text()
    assert "eng+rus" in model.name


def test_where_both_read_the_surer_stays(rapid, tesseract):
    tesseract(("ОСТОР", 10, 90, 85))
    rapid.extend([("OCTOP", 0.75, 10, 100), ("EXIT", 0.99, 150, 195)])
    assert texts(TextReader()) == ["ОСТОР", "EXIT"]
    rapid[0] = ("OCTOP", 0.79, 10, 100)
    tesseract(("ОСТОР", 10, 90, 82))
    assert texts(TextReader(min_score=0.9)) == ["EXIT"]


def test_languages_that_rapidocr_cannot_read_are_always_looked_for(rapid, tesseract):
    calls = tesseract(("Привет", 10, 90, 95))
    assert texts(TextReader()) == []
    assert texts(TextReader(lang="ru,de")) == ["Привет"]
    assert calls.read_text().count("-l rus ") == 1


def test_numbers_alone_are_kept_when_sure(rapid, tesseract):
    tesseract()
    rapid.append(("50", 0.98, 10, 60))
    assert texts(TextReader()) == ["50"]


def test_a_failing_program_fails_the_row_alone(rapid, tesseract, tmp_path, broken):
    rapid.append((",", 0.9, 10, 20))
    first, second = TextReader().read([broken, PICTURE])
    assert isinstance(first, RowError)
    assert isinstance(second, RowError)
    assert second.reason == "ocr_failed"


def test_missing_and_wrong(monkeypatch, tesseract):
    tesseract()
    with pytest.raises(UserError, match="tesseract-ocr-tha"):
        load_model("embedded:ocr?engine=tesseract&lang=th")
    with pytest.raises(UserError, match="Did you mean 'rapidocr'"):
        load_model("embedded:ocr?engine=rapidocrr")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingPackage, match="tesseract-ocr"):
        load_model("embedded:ocr?engine=tesseract")


def written(text, font):
    files = glob.glob(NOTO + font)
    if not files:
        pytest.skip(f"the font {font} is not installed (fonts-noto-core)")
    picture = PIL.Image.new("RGB", (900, 120), "white")
    PIL.ImageDraw.Draw(picture).text((30, 30), text, "black", PIL.ImageFont.truetype(files[0], 44))
    return Image.from_pil(picture)


@pytest.mark.parametrize(
    ("lang", "text", "font"),
    [
        ("en", "Give way to buses", "NotoSans-Regular.ttf"),
        ("ru", "Осторожно, злая собака", "NotoSans-Regular.ttf"),
        ("ar", "مرحبا بالعالم", "NotoNaskhArabic-Regular.ttf"),
        ("hi", "नमस्ते दुनिया", "NotoSansDevanagari-Regular.ttf"),
        ("th", "สวัสดีชาวโลก", "NotoSansThai-Regular.ttf"),
    ],
)
@pytest.mark.skipif(not shutil.which("tesseract"), reason="tesseract is not installed")
def test_real_tesseract(lang, text, font):
    picture = written(text, font)
    try:
        model = load_model(f"embedded:ocr?engine=tesseract&lang={lang}", "reader")
    except UserError as error:
        pytest.skip(str(error))
    (found,) = model.read([picture])
    assert [x.text for x in found] == [text]
    assert found[0].score > 0.8
    box = found[0].region
    assert 0.02 < box.x0 < 0.05 < box.x1 < 0.8
    assert 0.2 < box.y0 < box.y1 < 0.9


@pytest.mark.parametrize("text", ["Straße nach Köln: größer", "Défense d’entrer"])
def test_real_rapidocr(text):
    pytest.importorskip("rapidocr", reason="optional package")
    (found,) = load_model("embedded:ocr?engine=rapidocr", "reader").read([written(text, "NotoSans-Regular.ttf")])
    assert [x.text for x in found] == [text]
