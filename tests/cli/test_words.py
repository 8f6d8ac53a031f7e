"""What commands say: hints that fit the data, what was forgotten, prompts that nothing can fill, terms of pictures."""

import json
import shlex

import pytest

import panoglot
from panoglot.captioning import check_names
from panoglot.cli import main
from panoglot.errors import UserError
from panoglot.formats import is_public
from panoglot.handling import info
from panoglot.reporting import Column, scored
from panoglot.table import find_image, picture_name
from tests.conftest import picture_bytes
from tests.running.toy import calls

WRITER = "python:tests.running.toy:Writer"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.jpg").write_bytes(picture_bytes(n))
    (folder / "0.sw.txt").write_text("Ndege mwekundu juu ya tawi.")
    rows = [{"file_name": f"{n}.jpg", "title": f"Nr. {n}", "license": "CC-BY-4.0"} for n in range(3)]
    rows[1] |= {"author": "नलिनी", "text": "एक लाल पक्षी"}
    (folder / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.fixture
def data(photos, tmp_path):
    return panoglot.ingest(str(photos), str(tmp_path / "x.pano"), quiet=True).dataset


def said(capsys, *words):
    with pytest.raises(SystemExit):
        main([str(word) for word in words])
    return capsys.readouterr()


# -- hints -------------------------------------------------------------------------------------------------------------


def test_the_closing_hint_looks_for_what_is_there(photos, tmp_path, capsys):
    (photos / "metadata.jsonl").unlink()
    out = said(capsys, "build", photos, "-o", tmp_path / "y.pano", "--quiet").out
    (line,) = [line for line in out.splitlines() if line.startswith("Search: ")]
    assert shlex.split(line.removeprefix("Search: "))[-1] == "Ndege mwekundu juu ya tawi"
    again = said(capsys, "build", photos, "-o", tmp_path / "y.pano", "--quiet").out
    assert line in again
    assert next(row for row in again.splitlines() if row.startswith("ingest")).split()[1:5] == [
        "0",
        "1",
        "unchanged",
        "part",
    ]


def test_a_division_without_groups_says_so(data, capsys):
    assert (
        "No image belongs together with another (by group)" in said(capsys, "split", data.address, "--test", ".3").out
    )


# -- what was forgotten ------------------------------------------------------------------------------------------------


def test_a_forgotten_picture_is_no_typo(data, tmp_path, capsys):
    key = find_image(data, "metadata.jsonl#0")
    panoglot.forget(data, key)
    undo = f"panoglot forget {data.address} --undo {key}"
    for words in (["show"], ["edit", "--lang", "sw", "--text", "x"], ["forget"]):
        printed = said(capsys, words[0], data.address, key[:10], *words[1:])
        assert f"the picture {key} was forgotten on 20" in printed.err
        assert printed.err.rstrip().endswith(undo)
    with pytest.raises(UserError, match="1 picture was forgotten, and every name with it"):
        find_image(data, "zzzzzz.png")
    panoglot.forget(data, key, undo=True)
    with pytest.raises(UserError, match="has no image"):
        find_image(data, key[:10])


# -- prompts -----------------------------------------------------------------------------------------------------------


def test_a_prompt_that_nothing_can_fill_is_refused_before_anything_is_asked(data, tmp_path):
    log = tmp_path / "log"
    with pytest.raises(UserError, match=r"reads \{titel\}.*Did you mean 'title'"):
        panoglot.caption(data, captioner=f"{WRITER}?log={log}", prompt="It is called {titel}.")
    with pytest.raises(UserError, match=r"reads \{humn\}.*Did you mean 'human'"):
        panoglot.caption(data, captioner=f"{WRITER}?log={log}", prompt="{humn}")
    assert not log.exists()
    assert not data.rejects.count()
    for prompt in ("{title}", "{ocr}", "{evidence}", '{"json": 1}', "{alt} {human}"):
        check_names(data, prompt, ["evidence"])
    result = panoglot.caption(data, captioner=f"{WRITER}?log={log}", prompt="It is called {title}.")
    assert (len(calls(log)), result.rejected) == (3, 0)


# -- terms of pictures -------------------------------------------------------------------------------------------------


def test_licence_and_author_of_a_table_are_those_of_the_picture(data, capsys):
    rows = {row["uri"].rpartition("/")[2]: row for row in data.images.rows(["uri", "author", "licence", "context"])}
    assert {name: (row["licence"], row["author"]) for name, row in rows.items()} == {
        "metadata.jsonl#0": ("CC-BY-4.0", None),
        "metadata.jsonl#1": ("CC-BY-4.0", "नलिनी"),
        "metadata.jsonl#2": ("CC-BY-4.0", None),
    }
    assert (
        json.loads(rows["metadata.jsonl#0"]["context"])["license"] == "CC-BY-4.0"
    )  # what the source said stays as it said it
    assert info(data).image_licences == {"CC-BY-4.0": 3}
    assert "licences of images: CC-BY-4.0 3" in said(capsys, "info", data.address).out


# -- pages of comparison -----------------------------------------------------------------------------------------------


def best(*values):
    columns = [Column(str(n), scores={} if v is None else {"length": (v, None, None)}) for n, v in enumerate(values)]
    return [cell["best"] for cell in scored("length", "", 1, columns)["cells"]]


def test_nobody_is_best_alone_or_among_equals():
    assert best(0.5) == [False]
    assert best(0.5, None) == [False, False]
    assert best(0.5, 0.5) == [False, False]
    assert best(0.5, 0.7, None) == [False, True, False]


# -- our own exports ---------------------------------------------------------------------------------------------------


def test_our_own_export_is_read_without_a_line_about_its_manifest(data, tmp_path):
    panoglot.export(data, tmp_path / "out", to="jsonl")
    result = panoglot.ingest(str(tmp_path / "out"), str(tmp_path / "z.pano"), quiet=True)
    assert result.unused == []
    assert len(result.dataset.images) == 3


# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    """::127.0.0.1 ::10.0.0.1 ::ffff:192.168.0.1 ::ffff:0:10.0.0.1 2002:7f00:1:: 2002:c0a8:1::1 64:ff9b::10.0.0.1
    64:ff9b:1::5db8:d822 2001:0:4136:e378:8000:63bf:3fff:fdd2 2a00:1450::5efe:192.168.1.1 2a00:1450::200:5efe:10.0.0.9
    ::1 :: fe80::1 fc00::1 fec0::1 ff02::1 127.0.0.1 169.254.169.254 0.0.0.0 224.0.0.1""".split(),
)
def test_what_is_wrapped_is_no_more_public_than_what_it_wraps(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "2a00:1450:4001::1", "64:ff9b::93.184.216.34", "::ffff:93.184.216.34", "2002:5db8:d822::"],
)
def test_the_public_network_is_public(address):
    assert is_public(address)


# -- what looks like a code of an emoji --------------------------------------------------------------------------------


def test_names_and_captions_with_colons_are_shown_as_they_stand(tmp_path, capsys):
    """`openai:m:` once came as `openai\u24c2`, a caption's `:cat:` as a cat."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a:dog:b.jpg").write_bytes(picture_bytes(0))
    (folder / "a:dog:b.txt").write_text("The word :cat: and [bold]brackets[/bold].")
    path = tmp_path / "x.pano"
    said(capsys, "ingest", folder, "-o", path)
    for words in (
        ("search", path, "word brackets"), ("show", path, "a:dog:b.jpg"), ("curate", path, "--explain", "a:dog:b.jpg"),
    ):  # fmt: skip
        out = said(capsys, *words).out
        assert ":cat: and [bold]" in out
        assert ":dog:" in out
    out = said(capsys, "caption", path, "--captioner", "openai:http://127.0.0.1:9/v1#m", "--dry-run").out
    assert "openai:m: 1 question for 1 row" in out


def test_a_dry_run_counts_the_rows_that_there_are(data, tmp_path, capsys):
    prices = tmp_path / "prices.yaml"
    prices.write_text('"openai:m": {input: 5.0, output: 20.0}')
    model = "openai:http://127.0.0.1:9/v1#m"
    out = said(capsys, "caption", data.path, "--captioner", model, "--prices", prices, "--dry-run").out
    (need,) = [line for line in out.splitlines() if line.startswith("  openai:m: ")]
    assert "3 questions for 3 rows with 3 pictures" in need
    (whole,) = [line for line in out.splitlines() if line.startswith("In all: at most $")]
    assert need.rpartition("at most $")[2] == whole.removeprefix("In all: at most $").partition(". ")[0]


# -- what failed -------------------------------------------------------------------------------------------------------


def test_what_failed_is_named_by_its_file_and_every_reason_is_counted(data, photos, tmp_path, capsys):
    one = data.images.rows(["image_id", "uri", "context"])[0]
    key, name = one["image_id"], picture_name(one["uri"], one["context"])
    reasons = [f"reason_{n}" for n in range(10)]
    data.rejects.insert(
        [
            {
                "reject_id": f"r{n}", "item": key if n == 0 else f"/x/{n}.jpg", "stage": "caption.describe",
                "reason": reason, "message": "", "run_id": "",
            }
            for n, reason in enumerate([*reasons, "reason_0"])
        ]
    )  # fmt: skip
    out = said(capsys, "ingest", photos, "-o", data.path).out
    assert "11 rejects: " in out
    (line,) = [line for line in out.splitlines() if "reason_0: " in line]
    assert set(line.partition("reason_0: ")[2].split(", ")) == {name, "10.jpg"}
    assert f" 2 for 2 other reasons: panoglot report {data.path} --open" in " ".join(out.split())


def test_an_option_after_two_dashes_is_told_where_it_belongs(data, capsys):
    answer = said(capsys, "search", data.path, "--", "-Ndege tawi", "-k", "3").err
    assert answer == "panoglot: Unknown option: -k after --: options stand before it. See: panoglot search --help\n"
    assert "पक्षी" in said(capsys, "search", data.path, "-k", "3", "--", "-zoo पक्षी").out
