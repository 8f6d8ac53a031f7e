"""Three hundred crops, twelve of them broken in the twelve ways: the good ones arrive, the others have a reason."""

from collections import Counter

import pytest

from panoglot.errors import RowError
from panoglot.formats import Sample, read_source
from panoglot.pictures import Image, read_header
from panoglot.table import Reject, image_id
from tests.formats.hostile import WAYS, make_hostile


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    from tests.conftest import picture_bytes

    pictures = tmp_path_factory.mktemp("pictures")
    for n in range(6):
        (pictures / f"{n}.png").write_bytes(picture_bytes(n, 300, 260, "PNG"))
    output = tmp_path_factory.mktemp("hostile")
    return output, make_hostile(pictures, output, count=300)


def take(source):
    """Read a source as ingest does: what the header check refuses is a reject too."""
    samples, rejects = [], []
    for found in read_source(source):
        if isinstance(found, Reject):
            rejects.append(found)
            continue
        assert isinstance(found, Sample)
        try:
            read_header(found.data)
            samples.append(found)
        except RowError as error:
            rejects.append(Reject(found.uri, "ingest", error.reason, error.message))
    return samples, rejects


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_the_good_arrive_and_the_broken_have_a_reason(hostile, format):
    output, truth = hostile
    assert set(truth.ways) == set(WAYS)
    samples, rejects = take(output / format)
    assert Counter(image_id(s.data) for s in samples) == Counter(truth.images)
    captions = Counter((image_id(s.data), c.lang, c.text) for s in samples for c in s.captions)
    assert captions == Counter(truth.captions)
    expected = Counter(truth.rejects.values())
    del expected["duplicate"]  # the same bytes twice: ingest says so
    if format == "parquet":
        expected["outside_folder"] = expected.pop("unsafe_path")
    assert Counter(reject.reason for reject in rejects) == expected
    assert all(reject.stage == "ingest" and reject.message and "\n" not in reject.message for reject in rejects)
    assert len({reject.item for reject in rejects}) == len(rejects)


def test_every_picture_that_passes_decodes(hostile):
    samples, _ = take(hostile[0] / "webdataset")
    for sample in samples:
        image = Image(sample.data)
        assert image.pil().size == (image.width, image.height)


def test_the_generator_is_deterministic(hostile, tmp_path):
    from tests.conftest import picture_bytes

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for n in range(6):
        (pictures / f"{n}.png").write_bytes(picture_bytes(n, 300, 260, "PNG"))
    again = make_hostile(pictures, tmp_path / "again", count=300)
    assert again == hostile[1]
    for path in (hostile[0] / "webdataset").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / "webdataset" / path.name).read_bytes()
