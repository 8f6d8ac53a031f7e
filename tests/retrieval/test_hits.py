"""Hits: which of its captions one shows first."""

import pytest

import panoglot
from panoglot.cli import main
from panoglot.errors import UserError
from panoglot.retrieval import Hit, Searcher
from panoglot.table import Caption, caption_to_row
from tests.conftest import picture_bytes


def test_the_caption_shown_is_the_one_that_was_found_else_one_in_the_language_of_the_query(tmp_path, capsys):
    texts = {
        "1": ("Eine Katze schläft.", "A picture of grey."),
        "2": ("Ein Hund im Garten.", "A picture of a cat."),
    }
    (tmp_path / "in").mkdir()
    for name, (human, _) in texts.items():
        (tmp_path / "in" / f"{name}.png").write_bytes(picture_bytes(int(name)))
        (tmp_path / "in" / f"{name}.de.txt").write_text(human)
    data = panoglot.ingest(str(tmp_path / "in"), str(tmp_path / "x.pano"), quiet=True).dataset
    for row in data.images.rows(["image_id", "uri"]):
        machine = texts[row["uri"].rpartition("/")[2][0]][1]
        made = Caption(
            machine, "en", "short", recipe="describe", image_id=row["image_id"], caption_id=row["image_id"][::-1]
        )
        data.captions.insert([caption_to_row(made)])
    hits = panoglot.search(data, "Katze", parts="lexical")
    assert [hit.told(hits.lang)[0].text for hit in hits] == ["Eine Katze schläft."]
    hits = panoglot.search(data, "cat", parts="lexical")
    assert (hits[0].told(hits.lang)[0].text, hits.lang) == ("A picture of a cat.", "en")
    assert hits[0].told("de-AT")[0].text == "A picture of a cat."  # whose words were found comes first
    hit = Hit("0" * 32, 1.0, captions=hits[0].captions)
    assert [hit.told(lang)[0].lang for lang in ("de", "en", "fr", "und")] == ["de", "en", "de", "de"]
    assert (hits[0].text, hit.text, Hit("0" * 32, 1.0).text) == ("A picture of a cat.", "Ein Hund im Garten.", "")
    with pytest.raises(SystemExit):
        main(["search", data.address, "Katze", "--parts", "lexical"])
    assert "Eine Katze schläft. German" in capsys.readouterr().out


def test_a_dataset_that_went_away_is_said_and_not_searched(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(picture_bytes(1))
    (tmp_path / "in" / "a.en.txt").write_text("a red cat")
    searcher = Searcher(panoglot.ingest(str(tmp_path / "in"), str(tmp_path / "x.pano"), quiet=True).dataset)
    assert len(searcher.search("cat", parts="lexical")) == 1
    (tmp_path / "x.pano").rename(tmp_path / "y.pano")
    with pytest.raises(UserError, match="any more: it was moved or deleted meanwhile"):
        searcher.search("cat", parts="lexical")
    (tmp_path / "in" / "a.en.txt").write_text("a blue dog")
    panoglot.ingest(str(tmp_path / "in"), str(tmp_path / "x.pano"), quiet=True)  # another one at its place
    assert [len(searcher.search(text, parts="lexical")) for text in ("cat", "dog")] == [0, 1]
