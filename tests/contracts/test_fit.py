"""A fit per asset: a small codec for each scene, kept with the dataset (as in LangSplat, arXiv 2312.16084)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from panoglot.networks import Record, load_row, register
from panoglot.networks.parts import Part
from panoglot.table import create_dataset
from panoglot.training import fit_each, keep_fits, read_fit

ROW = """
method: codec-stand-in
image: {kind: vector, width: 16}
head: {kind: none}
dim: 16
sampler: {kind: pictures}
losses: {codec: {width: 2}}
optimiser: {kind: adamw, lr: 3.0e-2}
schedule: {kind: constant}
epochs: 250
batch: 32
"""


@register("losses", "codec")
class Codec(Part):
    """A scene's vectors through two numbers and back."""

    needs, reads = ("picture",), ("picture",)

    def __init__(self, widths, width: int = 3):
        super().__init__(widths)
        self.down, self.up = torch.nn.Linear(widths.dim, width), torch.nn.Linear(width, widths.dim)

    def forward(self, f, batch, step):
        return step.mean((self.up(self.down(f.x)) - f.x).square().sum(1))


def scenes():
    """Two scenes whose vectors lie in planes of their own."""
    draw = np.random.default_rng(0)
    out = []
    for scene in ("hall", "yard"):
        plane = np.linalg.qr(draw.normal(size=(16, 2)))[0]
        for n in range(32):
            out.append(Record(f"{scene}/{n}", vectors={"image": (plane @ draw.normal(size=2)).astype(np.float32)}))
    return out


def test_each_scene_has_a_codec_of_its_own_that_the_dataset_keeps(tmp_path):
    (tmp_path / "row.yaml").write_text(ROW)
    row, records, data = load_row(tmp_path / "row.yaml"), scenes(), create_dataset(tmp_path / "x.pano")
    by = {r.id: r.id.partition("/")[0] for r in records}
    runs = fit_each(row, records, tmp_path / "fits", lambda r: by[r.id])
    before = {name: (run / "run.json").read_text() for name, run in runs.items()}
    again = fit_each(row, records, tmp_path / "fits", lambda r: by[r.id])  # nothing is done twice
    assert before == {name: (run / "run.json").read_text() for name, run in again.items()}
    assert (keep_fits(data, row, runs), keep_fits(data, row, runs)) == (2, 0)
    error = {}
    for codec in runs:
        model = read_fit(data, row, codec)
        for scene in runs:
            x = torch.stack([torch.from_numpy(r.vectors["image"]) for r in records if by[r.id] == scene])
            x = torch.nn.functional.normalize(x, dim=1)
            part = model.parts["codec"]
            error[codec, scene] = float((part.up(part.down(x)) - x).square().sum(1).mean().detach())
    assert max(error["hall", "hall"], error["yard", "yard"]) < 0.02
    assert min(error["hall", "yard"], error["yard", "hall"]) > 0.5
