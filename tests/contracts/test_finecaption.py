"""FINECAPTION: a mask as the alpha channel and the name of an aspect in, a text about that aspect out (2411.15411)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from panoglot.networks import Record, RegionText, load_row, load_run
from panoglot.pictures import encode_mask
from panoglot.training import Trainer

ROW = """
method: finecaption-stand-in
image: {kind: vit, patch: 8, width: 48, layers: 1, heads: 4, alpha: true}
text: {kind: decoder, width: 48, layers: 2, heads: 4, length: 48, cross: true}
head: {kind: none}
size: 32
sampler: {kind: each_region, prompt: "{aspect}: "}
losses: {lm: {}}
optimiser: {kind: adamw, lr: 3.0e-3}
schedule: {kind: constant}
epochs: 160
batch: 16
"""


def pictures():
    """Red and blue pictures with a mask on the left and one on the right: a place and a colour to be asked for."""
    left = np.zeros((32, 32), bool)
    left[4:28, 2:15] = True
    out = []
    for n in range(8):
        pixels = np.full((3, 32, 32), 0.05 * n, np.float32)
        pixels[2 * (n % 2)] = 1.0
        regions = [
            RegionText((0, 0, 1, 1), text, mask=encode_mask(mask), aspect=aspect)  # the table's form of a mask
            for place, mask in (("left", left), ("right", left[:, ::-1]))
            for aspect, text in (("place", place), ("colour", ("red", "blue")[n % 2]))
        ]
        out.append(Record(f"p{n}", pixels, regions=regions))
    return out


def test_the_mask_and_the_aspect_decide_what_is_written(tmp_path):
    (tmp_path / "row.yaml").write_text(ROW)
    row, records = load_row(tmp_path / "row.yaml"), pictures()
    Trainer(row, records, tmp_path / "run", augment=False, save_every=50).fit(100)
    trainer = Trainer(row, records, tmp_path / "run", augment=False, save_every=1000).resume()
    assert trainer.step == 100
    trainer.fit()
    batch = trainer.data.batch([("p0", 0), ("p0", 2)], 0)  # red: the left mask, the right one
    assert batch.image.shape[2] == 4
    assert batch.image[:, 0, 3].mean((1, 2)).tolist() == [312 / 1024] * 2
    pixels = batch.image[:, 0].repeat_interleave(2, 0)
    said = load_run(tmp_path / "run").generate(pixels, ["place", "colour"] * 2, task="region", most=12)
    assert said == ["left", "red", "right", "red"]
