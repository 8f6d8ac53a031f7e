"""Datasets that are moved, swapped, deleted or made anew while somebody has them open."""

import os
import subprocess
import sys

import pytest

from panoglot.errors import UserError
from panoglot.table import Caption, caption_to_row, create_dataset


def test_handles_follow_what_lies_at_their_path(tmp_path):
    """Deleted and made anew, swapped, renamed, erased elsewhere: rows are those that are there now, or it is said."""

    def fill(name, ids):
        data = create_dataset(tmp_path / name)
        for one in ids:  # a commit each: as many versions there as here
            data.captions.insert([caption_row(one)])
        return data

    def caption_row(one):
        made = Caption(f"text {one}", "en", "human", recipe="human", image_id=one * 32, caption_id=one * 32)
        return caption_to_row(made)

    def held(data):
        return sorted(row["text"][-1] for row in data.captions.rows(["text"], "dropped is null"))

    def swap():
        (tmp_path / "a.pano").rename(tmp_path / "x.pano")
        (tmp_path / "b.pano").rename(tmp_path / "a.pano")
        (tmp_path / "x.pano").rename(tmp_path / "b.pano")

    data = fill("a.pano", "123")
    fill("b.pano", "456")
    assert held(data) == ["1", "2", "3"]
    for n in range(4):
        swap()
        assert held(data) == (["1", "2", "3"] if n % 2 else ["4", "5", "6"])
    other = (
        "import sys; from panoglot.table import open_dataset; d = open_dataset(sys.argv[1]);"
        "d.captions.delete(\"starts_with(caption_id, '2')\"); d.tidy(); print(d.captions.erase())"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    subprocess.run([sys.executable, "-c", other, str(tmp_path / "a.pano")], check=True, env=env)
    assert held(data) == ["1", "3"]
    handle = data.captions
    (tmp_path / "a.pano").rename(tmp_path / "c.pano")
    with pytest.raises(UserError, match=r"no dataset at .*a\.pano any more: it was moved or deleted meanwhile"):
        handle.lance()
    with pytest.raises(UserError, match="any more"):
        data.check_there()
    fill("a.pano", "78")
    assert held(data) == ["7", "8"]
