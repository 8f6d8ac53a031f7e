"""Lists of those who opted out, as people write them: what a line means, and that none is passed over in silence."""

import unicodedata

import pytest

import panoglot
from panoglot.errors import NothingKept, UserError
from panoglot.formats import OptOut
from tests.cli.test_cli import HERE, run
from tests.exporting.test_people import picture_bytes


def names(*lines, source="/data/in"):
    """Say of some pictures of a source by which lines of a list they are met."""
    listed = OptOut(lines, [source])
    there = ["/data/in/eve/a.png", "/data/in/b.jpg", "s.tar#000/c.jpg", "https://cdn.x.net/eve/a%20d.gif?w=9"]
    return [listed.met([one]) for one in there]


@pytest.mark.parametrize(
    ("line", "met"),
    [
        ("eve/", 0),
        ("./eve/a.png", 0),
        ("in/eve", 0),
        ("data/in/eve/a.png", 0),
        ("../in/eve/", 0),
        ("eve\\a.png", 0),
        ("/data/./in//eve/", 0),
        ("file:///data/in/eve/", 0),
        ("a.png", 0),
        ("eve", 0),
        ("eve/*.png", 0),
        ("in/**/a.???", 0),
        ("b.jpg", 1),
        ("/data/in/*.jpg", 1),
        ("c.jpg", 2),
        ("X.NET", 3),
        ("*.x.net", 3),
        ("cdn.x.net/*", 3),
        ("https://cdn.x.net/eve/a d.gif", 3),
        ("http://www.cdn.x.net/*/a%20d.gif", 3),
        ("a d.gif", 3),
        ("*.gif", 3),
    ],
)
def test_what_a_line_means(line, met):
    assert names(line) == [[line] if n == met else [] for n in range(4)]


@pytest.mark.parametrize(
    "line", ["ev", "png", "in", "data", "x.ne", "eve/a.png/", "EVE/", "b", "c", "a.pn?x", "*.jpeg", "[a-z]*"]
)
def test_what_a_line_does_not_mean(line):
    assert names(line) == [[], [], [], []]


def test_names_in_any_script_and_form():
    listed = OptOut(["münchen.de", "قطة.jpg", unicodedata.normalize("NFD", "Ödön.png"), "猫/"], ["/data"])
    assert listed.met(["https://xn--mnchen-3ya.de/1.jpg"]) == ["münchen.de"]
    assert listed.met(["/data/قطة.jpg"]) == ["قطة.jpg"]
    assert listed.met([unicodedata.normalize("NFC", "/data/x/Ödön.png")])
    assert listed.met(["/data/猫/1.jpg"]) == ["猫/"]
    assert OptOut(["3f2b9c01d4e5"]).met((), "3f2b9c01d4e5" + "0" * 20) == ["3f2b9c01d4e5"]


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos" / "eve").mkdir(parents=True)
    for n, name in enumerate(("a.png", "b.png", "eve/c.png")):
        (tmp_path / "photos" / name).write_bytes(picture_bytes(n))
        (tmp_path / "photos" / name).with_suffix(".txt").write_text(f"Katze {n}")
    return str(tmp_path / "photos")


def test_a_line_that_met_no_picture_is_named_whatever_was_read_before(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.txt").write_text("# ours\neve/\nc.png\nphotos/a.png  # by mail\nd.jpg\n*.gif\nexample.com/*\n")
    for _ in range(2):  # the second reads nothing
        result = panoglot.ingest("photos", "x.pano", opt_out="out.txt", quiet=True)
        (told,) = [one for one in result.unused if "opt-out" in one.what]
        assert (told.count, list(told.names)) == (3, ["d.jpg", "*.gif", "example.com/*"])
    assert [row["uri"].rpartition("/")[2] for row in result.dataset.images.rows(["uri"])] == ["b.png"]
    assert result.reject_rate == 0  # who opted out did not fail
    monkeypatch.chdir("/")
    facts = panoglot.export(str(tmp_path / "x.pano"), str(tmp_path / "o"), "csv", opt_out=str(tmp_path / "out.txt"))
    assert (facts["images"], facts["left_out"]) == (1, {})
    (note,) = [note for note in facts["notes"] if "opt-out" in note]
    assert note.startswith("6 lines of the opt-out list that met no picture were not used: eve/, c.png")
    # what was taken in before is met by relative paths too, for they begin at the source of then
    (tmp_path / "out.txt").write_text("photos/b.png\n")
    with pytest.raises(NothingKept, match="All are on the opt-out list"):
        panoglot.export(str(tmp_path / "x.pano"), str(tmp_path / "o"), "csv", opt_out=str(tmp_path / "out.txt"))
    panoglot.retry(str(tmp_path / "x.pano"), quiet=True)  # from another folder than the list's
    assert len(panoglot.open(str(tmp_path / "x.pano")).images) == 3


def test_all_opted_out(photos, tmp_path):
    (tmp_path / "all.txt").write_text("photos/\nnobody.example\n")
    for _ in range(2):  # the second finds it read
        done = run("ingest", "photos", "-o", "x.pano", "--opt-out", "all.txt", cwd=tmp_path, env=HERE)
        assert done.returncode == 3
    assert "every picture of" in done.stderr.splitlines()[-1]
    assert "all.txt': nothing was taken in" in done.stderr.splitlines()[-1]
    assert "nobody.example" in done.stderr
    assert "retry" not in done.stderr + done.stdout
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "z.png").write_bytes(picture_bytes(9))
    run("ingest", "one", "-o", "y.pano", cwd=tmp_path, env=HERE)
    done = run("ingest", "photos", "-o", "y.pano", "--opt-out", "all.txt", cwd=tmp_path, env=HERE)
    assert (done.returncode, "retry" in done.stderr + done.stdout) == (0, False)  # it did what it was asked
    assert done.stderr.splitlines()[-1].startswith("note: every picture of")
    assert "3 pictures were not taken, opted out: a.png, b.png, c.png" in done.stdout


def test_pictures_that_are_there_are_counted_when_some_opted_out_since(photos, tmp_path):
    (tmp_path / "photos" / "bad.png").write_bytes(b"no picture")
    run("ingest", "photos", "-o", "x.pano", cwd=tmp_path, env=HERE)
    (tmp_path / "out.txt").write_text("b.png\n")
    done = run("ingest", "photos", "-o", "x.pano", "--opt-out", "out.txt", cwd=tmp_path, env=HERE)
    assert (done.returncode, "every picture of" in done.stderr, "failed" in done.stderr) == (0, False, False)
    assert "2 pictures" in next(line for line in done.stdout.splitlines() if line.startswith("ingest "))
    assert "1 picture whose source has opted out since was not used" in done.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Öl/\n".encode("cp1252"), "is not UTF-8 (line 1). Convert it: iconv -f WINDOWS-1252 -t UTF-8"),
        (b"\x89PNG\r\n\x1a\n" + b"\0IHDR ab" * 20, "is no text"),
        (None, "there is no such file"),
    ],
)
def test_a_list_that_cannot_be_read_is_a_line(photos, tmp_path, content, said):
    if content is not None:
        (tmp_path / "out.txt").write_bytes(content)
    with pytest.raises(UserError) as caught:
        panoglot.ingest(photos, str(tmp_path / "x.pano"), opt_out=str(tmp_path / "out.txt"), quiet=True)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x.pano").exists()


def test_a_list_in_utf_16_and_an_empty_one(photos, tmp_path):
    (tmp_path / "out.txt").write_text("eve/\r\n", encoding="utf-16")
    result = panoglot.ingest(photos, str(tmp_path / "x.pano"), opt_out=str(tmp_path / "out.txt"), quiet=True)
    assert (len(result.dataset.images), result.unused) == (2, [])
    (tmp_path / "out.txt").write_text("# nobody yet\n")
    result = panoglot.ingest(photos, str(tmp_path / "y.pano"), opt_out=str(tmp_path / "out.txt"), quiet=True)
    assert [one.what for one in result.unused] == ["opt-out list without a line"]
