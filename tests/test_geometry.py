"""Places are stored and read back as they were; what is not said is in no identity."""

import pytest

from panoglot.geometry import Box3, Region, box_iou
from panoglot.table import Document, DocumentPart, Fact, Rating, Triple, caption_id, create_dataset, plain_rows

PLACES = [
    Region(),
    Region(0.1, 0.2, 0.3, 0.4, "rle"),
    Region(points=((0.5, 0.5, True), (0.1, 0.9, False))),
    Region(start=1.5, end=2.0),
    Region(track=((0.0, 0.1, 0.1, 0.2, 0.2), (0.5, 0.2, 0.1, 0.3, 0.2))),
    Region(box3=Box3(1.0, 2.0, 0.5, 0.4, 0.6, 1.0, yaw=0.3)),
]


@pytest.mark.parametrize("place", PLACES)
def test_a_place_comes_back_from_its_row(place):
    assert Region.of(place.plain()) == place


def test_every_place_is_another_caption():
    assert len({caption_id("i", "f", "de", place, 0) for place in [None, *PLACES]}) == len(PLACES) + 1


def test_a_box_keeps_the_id_that_it_had_before_places_could_be_more():
    assert Region(0.1, 0.2, 0.3, 0.4, "rle").key() == "0.100000,0.200000,0.300000,0.400000;rle"


def test_boxes_of_two_and_three_dimensions_overlap_as_they_should():
    assert box_iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 0, 1, 1, 1), (0.5, 0, 0, 1.5, 1, 1)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0.0


def test_documents_triples_ratings_and_facts_come_back_from_the_tables(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    page = Document(
        (
            DocumentPart("Was ist das?", turn=0, role="user"),
            DocumentPart(image_id="a" * 32, region=Region(0, 0, 0.5, 0.5), turn=0, role="user"),
            DocumentPart("فنجان قهوة", turn=1, role="assistant", learn=True),
        ),
        lang="ar",
        document_id="d1",
        licence="CC0-1.0",
        scores={"fluency": None},
    )
    data.documents.insert([page.plain()])
    (row,) = plain_rows(data.documents.read())
    back = Document.of(row)
    assert (back.parts, back.lang, back.licence, back.scores) == (page.parts, "ar", "CC0-1.0", {"fluency": None})
    data.triples.insert([Triple("ม้า", positives=("p1",), negatives=("n1", "n2"), triple_id="t1", lang="th").plain()])
    assert data.triples.rows(["text", "negatives"]) == [{"text": "ม้า", "negatives": ["n1", "n2"]}]
    data.ratings.insert([Rating("c1", 1.0, against="c2", scale="preference", rating_id="r1").plain()])
    assert data.ratings.rows(["value", "against"]) == [{"value": 1.0, "against": "c2"}]
    data.facts.insert([Fact("a" * 32, "tag", "猫", 0.9, model="m", source="f", fact_id="f1").plain()])
    assert data.facts.rows(["text", "value"]) == [{"text": "猫", "value": 0.9}]
