"""FlexCap: a box and a number of words in, a caption of that length out (arXiv 2403.12026)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from panoglot.networks import Record, RegionText, load_row, load_run
from panoglot.training import Trainer

ROW = """
method: flexcap-stand-in
image: {kind: vit, patch: 8, width: 48, layers: 1, heads: 4}
text: {kind: decoder, width: 48, layers: 2, heads: 4, length: 48}
head: {kind: projector}
size: 32
vocabulary: ["<1>", "<2>", "<3>"]
bridges: {box: {kind: box_token}}
sampler: {kind: each_region, prompt: "<{words}>", most: 3}
losses: {lm: {}}
optimiser: {kind: adamw, lr: 2.0e-3}
schedule: {kind: constant}
epochs: 80
batch: 16
"""
SIDES = {"left": (0, 0, 16, 32), "right": (16, 0, 32, 32)}


def pictures():
    """Red and blue pictures; each half has a caption of one word, of two and of three."""
    out = []
    for n in range(8):
        colour = ("red", "blue")[n % 2]
        pixels = np.full((3, 32, 32), 0.05 * n, np.float32)
        pixels[2 * (n % 2)] = 1.0
        texts = [
            (box, text) for side, box in SIDES.items() for text in (side, f"{side} {colour}", f"a {side} {colour}")
        ]
        out.append(Record(f"p{n}", pixels, regions=[RegionText(box, text, (32, 32)) for box, text in texts]))
    return out


def test_one_box_has_captions_of_the_length_that_is_asked_for(tmp_path):
    (tmp_path / "flexcap.yaml").write_text(ROW)
    row, records = load_row(tmp_path / "flexcap.yaml"), pictures()
    Trainer(row, records, tmp_path / "run", augment=False, save_every=50).fit(150)
    trainer = Trainer(row, records, tmp_path / "run", augment=False, save_every=50).resume()
    assert trainer.step == 150
    trainer.fit()
    model = load_run(tmp_path / "run")  # read back: the new tokens and their embeddings with it
    pixels = torch.stack([trainer.data.batch([("p0", 0)], 0).image[0, 0]] * 6)
    asked = torch.tensor([[[0.25, 0.5, 0.5, 1.0]]] * 3 + [[[0.75, 0.5, 0.5, 1.0]]] * 3)
    said = model.generate(pixels, ["1", "2", "3"] * 2, asked=asked, task="region", most=16)
    assert said == ["left", "left red", "a left red", "right", "right red", "a right red"]
