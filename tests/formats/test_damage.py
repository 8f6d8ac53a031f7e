"""Random damage to files of other tools and to pages: finds, rejects or one line; never anything else."""

import gzip
import json
import pickle
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panoglot.errors import UserError
from panoglot.formats import Sample, Unused, find_format, read_part
from panoglot.table import Reject, Triple
from tests.conftest import picture_bytes
from tests.formats.test_exchange import coco, mds, talk
from tests.formats.test_pages import PAGE, mug, record, row, shop_page, tsv


def make(kind, folder):
    """A small source of a kind: (source, format or None, files to damage)."""
    for n in range(3):
        (folder / f"{n}.jpg").write_bytes(picture_bytes(n, 16, 16))
    if kind == "mds":
        mds(folder, [{"caption": "ü".encode(), "image": picture_bytes(n, 16, 16)} for n in range(2)],
            {"caption": "str", "image": "jpeg"})  # fmt: skip
        return folder, "mds", ["index.json", "shard.00000.mds"]
    if kind == "coco":
        box = {"image_id": 0, "category_id": 7, "bbox": [0, 0, 9, 9], "segmentation": [[0, 0, 9, 0, 9, 9]]}
        coco(folder, [box, {"image_id": 1, "category_id": 7, "segmentation": {"size": [48, 64], "counts": [9, 3063]}}])
        return folder / "instances_x.json", "coco", ["instances_x.json"]
    if kind == "refcoco":
        coco(folder, [{"id": 1, "image_id": 0, "category_id": 7, "bbox": [0, 0, 9, 9]}])
        (folder / "instances_x.json").rename(folder / "instances.json")
        refs = [{"ann_id": 1, "image_id": 0, "category_id": 7, "sentences": [{"raw": "חתול"}]}]
        (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
        return folder, "refcoco", ["refs(unc).p", "instances.json"]
    if kind == "visual_genome":
        region = {"region_id": 1, "phrase": "แมว", "x": 0, "y": 0, "width": 4, "height": 4}
        (folder / "region_descriptions.json").write_text(json.dumps([{"id": 1, "regions": [region]}] * 2))
        (folder / "image_data.json").write_text(
            json.dumps([{"image_id": 1, "url": "x/1.jpg", "width": 9, "height": 9}])
        )
        return folder, "visual_genome", ["region_descriptions.json", "image_data.json"]
    if kind == "fiftyone":
        (folder / "data").mkdir()
        (folder / "data" / "0.jpg").write_bytes(picture_bytes(0))
        labels = {"classes": ["a", "b"], "labels": {"0": [{"label": 1, "bounding_box": [0, 0, 0.5, 1]}], "1": 0}}
        (folder / "labels.json").write_text(json.dumps(labels))
        return folder, "fiftyone", ["labels.json"]
    if kind == "label_studio":
        result = [{"type": "textarea", "value": {"text": ["猫"], "x": 1, "y": 1, "width": 9, "height": 9}}]
        tasks = [{"id": 1, "data": {"image": "0.jpg"}, "annotations": [{"result": result}]}] * 2
        (folder / "export.json").write_text(json.dumps(tasks))
        return folder / "export.json", "label_studio", ["export.json"]
    if kind == "triples":
        rows = [{"reference": n, "text": "عصفور", "target": [str(n + 1)], "negatives": "2;9"} for n in range(2)]
        (folder / "wishes.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        return folder / "wishes.json", "triples", ["wishes.json"]
    if kind == "triples.csv":
        (folder / "wishes.csv").write_text('reference,text,target\n0,นก,1\n1,"a, b",2\n')
        return folder / "wishes.csv", "triples", ["wishes.csv"]
    if kind == "talks":
        (folder / "train.json").write_text(json.dumps([talk(n, "?", "x") for n in range(3)]))
        return folder, None, ["train.json"]
    if kind == "wit":
        tsv(folder / "a.tsv", [row(reference="abc", url="https://x.org/1.jpg")] * 2)
        return folder / "a.tsv", "wit", ["a.tsv"]
    if kind == "html":
        (folder / "a.html").write_text(PAGE + shop_page(mug(image="0.jpg")).decode())
        return folder / "a.html", "wit", ["a.html"]
    records = [record("http://s.org/0", shop_page(mug())), record("http://s.org/1.jpg", picture_bytes(1), "image/jpeg")]
    raw = b"".join(records if kind == "warc" else map(gzip.compress, records))
    name = "a.warc" if kind == "warc" else "a.warc.gz"
    (folder / name).write_bytes(raw)
    return folder / name, "lgs", [name]


KINDS = "mds coco refcoco visual_genome label_studio fiftyone triples triples.csv talks wit html warc warc.gz".split()


@pytest.mark.parametrize("kind", KINDS)
def test_random_damage_raises_nothing(tmp_path_factory, kind):
    if kind in ("html", "warc", "warc.gz"):
        pytest.importorskip("lxml")
        pytest.importorskip("fastwarc")
    folder = tmp_path_factory.mktemp("damage")
    source, format, names = make(kind, folder)
    whole = {name: (folder / name).read_bytes() for name in names}

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def damage(draw):
        for name, raw in whole.items():
            bad = bytearray(raw)
            for _ in range(draw.draw(st.integers(0, 8))):
                bad[draw.draw(st.integers(0, len(bad) - 1))] = draw.draw(st.integers(0, 255))
            (folder / name).write_bytes(bytes(bad[: draw.draw(st.integers(len(bad) // 2, len(bad)))]))
        options = {"download": False} if kind == "wit" else {}
        try:
            _, parts = find_format(source, format, options)
            found = [one for part in parts() for one in read_part(part)]
        except UserError as error:
            found, said = [], str(error)
        else:
            said = ""
        assert "\n" not in said
        for one in found:
            assert isinstance(one, Sample | Unused | Triple) or (isinstance(one, Reject) and one.reason)
            if isinstance(one, Sample):
                json.dumps([one.uri, one.context, [c.text for c in one.captions]], ensure_ascii=False).encode()

    damage()
    shutil.rmtree(folder)
