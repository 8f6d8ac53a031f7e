"""LEOPARD: several pictures in one budget of tiles, a question, and an answer (arXiv 2410.01744)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from panoglot.networks import Record, Turn, load_row, load_run
from panoglot.training import Trainer

ROW = """
method: leopard-stand-in
image: {kind: vit, patch: 8, width: 48, layers: 1, heads: 4}
text: {kind: decoder, width: 48, layers: 2, heads: 4, length: 80}
head: {kind: projector}
size: 16
tiles: {budget: 8}
sampler: {kind: turns, mark: "image {n}:"}
losses: {lm: {}}
optimiser: {kind: adamw, lr: 3.0e-3}
schedule: {kind: constant}
epochs: 220
batch: 16
"""


def documents():
    """A wide picture, cut into tiles, and a small one; the question is which colour the first or the second has."""
    out = []
    for n in range(16):
        colours = [("red", "blue")[n % 2], ("red", "blue")[n // 2 % 2]]
        pictures = []
        for colour, width in zip(colours, (64, 16), strict=True):
            pixels = np.full((3, 32 if width == 64 else 16, width), 0.02 * n, np.float32)
            pixels[0 if colour == "red" else 2] = 1.0
            pictures.append(pixels)
        turns = [Turn(picture=0, role="user"), Turn(picture=1, role="user"), Turn(f"colour {n // 4 % 2 + 1}?")]
        out.append(Record(f"d{n}", pictures=pictures, turns=[*turns, Turn(colours[n // 4 % 2], learn=True)]))
    return out


def test_the_pictures_of_a_document_share_a_budget_and_are_all_read(tmp_path):
    (tmp_path / "row.yaml").write_text(ROW)
    row, records = load_row(tmp_path / "row.yaml"), documents()
    Trainer(row, records, tmp_path / "run", augment=False, save_every=20).fit(20)
    trainer = Trainer(row, records, tmp_path / "run", augment=False, save_every=100).resume()
    assert trainer.step == 20
    trainer.fit()
    batch = trainer.data.batch([(f"d{n}", 0) for n in range(16)], 0)
    assert batch.image.shape == (16, 8, 3, 16, 16)  # 2 overviews; 2 × 4 tiles are wished for, 6 given, 2 × 3 fit
    assert (batch.given == -1).sum(1).tolist() == [8] * 16  # a place in the text for every sub-picture
    model = load_run(tmp_path / "run").eval()
    with torch.no_grad():
        logits = model.features(batch).logits
    first = (batch.target != -100).long().argmax(1)  # the answer's first letter, of what is before it
    said = logits.gather(1, (first - 1)[:, None, None].expand(-1, 1, logits.shape[-1]))[:, 0].argmax(-1)
    assert [chr(i - 3) for i in said.tolist()] == [r.turns[-1].text[0] for r in records]
