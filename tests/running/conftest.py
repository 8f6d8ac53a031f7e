import pytest

from panoglot.pictures import Image
from panoglot.table import create_dataset
from tests.conftest import picture_bytes


@pytest.fixture
def dataset(tmp_path):
    """A dataset of 60 small pictures."""
    data = create_dataset(tmp_path / "x.pano")
    rows = []
    for n in range(60):
        image = Image(picture_bytes(n))
        rows.append(
            {
                "image_id": image.id,
                "data": image.data,
                "uri": f"{n}.jpg",
                "width": image.width,
                "height": image.height,
                "format": image.format,
                "context": "{}",
            }
        )
    for start in range(0, 60, 20):
        data.images.insert(rows[start : start + 20])
    return data


@pytest.fixture
def run_id(dataset):
    return dataset.start_run({}, {})
