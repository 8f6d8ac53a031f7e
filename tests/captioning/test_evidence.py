import pytest

from panoglot.captioning import english_caption, fact_caption, named_caption, with_article, written_text
from panoglot.captioning.evidence import evidence
from panoglot.captioning.label import label
from panoglot.errors import RowError
from panoglot.geometry import Region
from panoglot.pictures import Image
from panoglot.providers.embedded import PictureFacts
from panoglot.providers.embedded.efficientnet import synsets
from panoglot.providers.roles import Box, Line, Tag

FACTS = PictureFacts(4, 4, "square", 0, 0.5, 0.1, 30, (("brown", 0.6), ("white", 0.3)))
TIGER = "n02129604"


class One:
    """A model of the tests: gives one prepared answer to every question."""

    def __init__(self, name, **answers):
        self.name = name
        self._answers = answers

    def __getattr__(self, method):
        async def ask(*_):
            answer = self._answers[method]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask


def models(tags, boxes=(), lines=(), language=("en", 0.9)):
    return {
        "tagger": One("test:tagger", tag=tags),
        "detector": One("test:faces", detect=boxes),
        "reader": One("test:ocr", read=lines),
        "identifier": One("test:lid", identify=language),
    }


OPTIONS = {"tagger": "tagger", "identifier": "identifier"}


@pytest.fixture(scope="module")
def picture():
    import PIL.Image

    return Image.from_pil(PIL.Image.new("RGB", (40, 30), (139, 69, 19)))


@pytest.mark.paper("evidence", shows="V", case="what is sure is stated in every language that has a name")
async def test_what_is_sure_is_stated_in_every_language_that_has_a_name(picture):
    m = models([Tag("tiger", 0.8, TIGER), Tag("tabby cat", 0.1)])
    found = await evidence(picture, m, lang=("de", "ja", "zu", "ar"), **OPTIONS)
    assert [(c.lang, c.text, c.kind) for c in found] == [
        ("en", "A picture of a tiger.", "short"),
        ("en", "Landscape format, 40 × 30 pixels; mostly brown.", "fact"),
        ("de", "Bild: Tiger", "short"),
        ("ja", "画像：トラ", "short"),
        ("ar", "صورة: نمر", "short"),
    ]
    assert found[0].scores == {"probability": 0.8}
    assert found[0].model == "test:tagger"
    assert found[2].model == "test:tagger + emoji/word"


async def test_what_is_doubtful_is_offered_and_not_translated(picture):
    m = models([Tag("palace", 0.3, "n03877845"), Tag("bell tower", 0.2, "n02825657")])
    found = await evidence(picture, m, lang=("de",), **OPTIONS)
    assert [c.text for c in found] == [
        "Perhaps a palace or a bell tower.",
        "Landscape format, 40 × 30 pixels; mostly brown.",
    ]


@pytest.mark.paper("evidence", shows="V", case="nothing is claimed without evidence")
async def test_nothing_is_claimed_without_evidence(picture):
    found = await evidence(picture, models([Tag("ski", 0.08)]), lang=("de",), **OPTIONS)
    assert found[0].text == "A picture in brown."
    assert found[0].scores == {"probability": None}


async def test_faces_and_writing(picture):
    box = Region(0, 0, 1, 1)
    m = models(
        [Tag("ski", 0.1)], [Box("face", 0.9, box)] * 2, [Line("STOP", 0.8, box), Line("قف", 0.9, box)], ("ar", 0.9)
    )
    found = await evidence(picture, m, detector="detector", reader="reader", **OPTIONS)
    assert found[0].text == "A picture with two faces."
    assert found[0].scores["faces"] == 2
    assert (found[2].kind, found[2].text, found[2].lang) == ("ocr", "STOP\nقف", "ar")
    assert found[2].scores == {"ocr": 0.8, "lid": 0.9}
    m["identifier"] = One("test:lid", identify=("sl", 0.1))
    found = await evidence(picture, m, reader="reader", **OPTIONS)
    assert found[2].lang == "und"
    assert "faces" not in found[0].scores  # nobody looked


async def test_a_broken_picture_is_a_row_error(picture):
    m = models([])
    m["tagger"] = One("test:tagger", tag=RowError("truncated"))
    with pytest.raises(RowError, match="truncated"):
        await evidence(picture, m, **OPTIONS)


@pytest.mark.paper("label", shows="V", case="labels in many languages, with where they are from")
async def test_labels_with_provenance(picture):
    m = models([Tag("tiger", 0.8, TIGER), Tag("leopard", 0.1, "n02128385")])
    found = await label(picture, m, tagger="tagger", lang=("de", "zh"))
    assert [(c.lang, c.text, c.kind, c.model) for c in found] == [
        ("en", "tiger", "label", "test:tagger"),
        ("de", "Tiger", "label", "test:tagger + emoji/word"),
        ("zh-Hans", "老虎", "label", "test:tagger + emoji/word"),
    ]
    assert all(c.parents == [found[0]] for c in found[1:])
    assert len(await label(picture, m, tagger="tagger")) >= 14
    assert [c.lang for c in await label(picture, m, tagger="tagger", links=("synset",), lang=("de",))] == ["en"]
    assert await label(picture, models([Tag("tiger", 0.3, TIGER)]), tagger="tagger") == []


def test_every_class_makes_a_sentence():
    for _, name in synsets():
        text, _ = english_caption([Tag(name, 0.9)], None, FACTS)
        assert text.startswith("A picture of ")
        assert text.endswith(".")


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "abacus": "an abacus",
        "school bus": "a school bus",
        "mantis": "a mantis",
        "Petri dish": "a Petri dish",
        "ukulele": "a ukulele",
        "umbrella": "an umbrella",
        "unicycle": "a unicycle",
        "European polecat": "a European polecat",
        "hourglass": "an hourglass",
        "iPod": "an iPod",
        "jeans": "jeans",
        "hay": "hay",
        "red wine": "red wine",
    }.items(),
)
def test_articles(name, expected):
    assert with_article(name) == expected


def test_sentences():
    assert english_caption([], 6, FACTS)[0] == "A picture with 6 faces."
    assert english_caption([Tag("tench", 0.9)], 1, FACTS)[0] == "A picture of a tench, with a face."
    assert english_caption([Tag("sunglasses", 0.4), Tag("sunglasses", 0.39)], 0, FACTS)[0] == "Perhaps sunglasses."
    assert fact_caption(FACTS) == "Square format, 4 × 4 pixels; mostly brown, with white."
    assert named_caption("simba", "sw") == "Picha: simba"
    assert written_text([Line(" ", 1, Region(0, 0, 1, 1))]) == ""
