"""Captions as rows that become records when somebody looks: the same as the records, however they are read."""

from dataclasses import asdict

from panoglot.table import PLAIN, Caption, CaptionRows, caption_to_row, create_dataset, given_caption_id


def plain(captions):
    return [asdict(caption) for caption in captions]


def test_rows_are_the_records(tmp_path):
    data = create_dataset(tmp_path / "x.pano")
    texts = [("a dog", "en"), ("كلب", "ar"), ("कुत्ता", "hi"), ("狗", "zh")]
    for image in ("a" * 32, "b" * 32):
        for text, lang in texts:
            key = given_caption_id(image, "human", lang, None, text)
            one = Caption(text, lang, "human", recipe="human", image_id=image, caption_id=key, scores={"clip": 0.5})
            data.captions.insert([caption_to_row(one)])
    dropped = data.captions.read(["caption_id"], "lang = 'hi'").to_pylist()
    data.captions.change([{**row, "dropped": "short"} for row in dropped])
    ids = ["b" * 32, "none", "a" * 32]
    rows, records = data.caption_rows(ids), data.captions_of(ids)
    assert list(rows) == list(records) == ids
    assert all(plain(rows[key]) == plain(records[key]) for key in ids)
    mine, same = data.caption_rows(ids, None)["a" * 32], data.captions_of(ids, None)["a" * 32]
    assert (len(mine), len(rows["none"]), len(rows["b" * 32])) == (4, 0, 3)
    for name in PLAIN:
        assert mine.column(name) == [getattr(caption, name) for caption in same]
    assert (plain(mine), plain(mine[:2]), repr(mine)) == (plain(same), plain(same[:2]), repr(same))
    assert [row["text"] for row in mine.plain([2, 0])] == [same[2].text, same[0].text]
    assert mine[1] is list(mine)[1]
    assert mine == list(mine)
    assert mine != same[:3]
    made = CaptionRows.of(same)
    assert (made.column("lang"), made[3], len(made)) == ([c.lang for c in same], same[3], 4)
