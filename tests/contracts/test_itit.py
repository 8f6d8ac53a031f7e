"""ITIT: pairs, pictures alone and texts alone; cycles through the other modality (arXiv 2310.03734)."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from panoglot.networks import Record, Text, load_row, load_run, register, straight_through
from panoglot.networks.losses import lm
from panoglot.networks.parts import Part, hidden_cells
from panoglot.training import Trainer

ROW = """
method: itit-stand-in
image: {kind: codes, width: 48, layers: 1, heads: 4}
text: {kind: decoder, width: 48, layers: 2, heads: 4, length: 16}
head: {kind: projector}
readers:
  tokeniser: {kind: palette, grid: 2, colours: [[1, 0, 0], [0, 0, 1]]}
  painter: {kind: masked, width: 48, layers: 2, heads: 4}
size: 8
streams:
  paired: {share: 2}
  pictures: {has: [picture]}
  texts: {has: [text]}
losses:
  lm: {streams: [paired]}
  paint: {}
  text_cycle: {weight: 0.5, streams: [texts]}
  picture_cycle: {weight: 0.5, streams: [pictures]}
optimiser: {kind: adamw, lr: 3.0e-3}
schedule: {kind: constant}
epochs: 60
batch: 16
"""


@register("losses", "text_cycle")
class TextCycle(Part):
    """Text → painted without gradient → one painting with it → the text again."""

    needs, reads = ("painter", "tokeniser", "writer"), ("text",)

    def forward(self, f, batch, step):
        ids, mask = step.model.said(batch)
        codes = step.paint(ids, mask, steps=2)
        hide = hidden_cells(batch, codes.shape[1], (0.5, 1.0), "cycle")
        painted = straight_through(step.paint_logits(codes, hide, ids, mask))
        return lm(step.tell(ids, mask, step.look(painted)), ids.masked_fill(~mask, -100))


@register("losses", "picture_cycle")
class PictureCycle(Part):
    """Picture → written without gradient → one reading with it → the picture again."""

    needs, reads = ("painter", "tokeniser", "writer"), ("picture",)

    def forward(self, f, batch, step):
        draft, codes = step.write(most=5), step.codes()
        hide = hidden_cells(batch, codes.shape[1], (0.5, 1.0), "cycle")
        said = straight_through(step.tell(draft.ids, draft.mask))
        return lm(step.paint_logits(codes, hide, said, draft.mask), codes.masked_fill(~hide, -100))


def world():
    """All 2 × 2 pictures of red and blue cells and their texts; ten of sixteen are pairs, the rest is unpaired."""
    pairs, pictures, texts = [], [], []
    for n, cells in enumerate(itertools.product("rb", repeat=4)):
        colours = np.array([[1, 0, 0] if c == "r" else [0, 0, 1] for c in cells], np.float32)
        pixels = colours.T.reshape(3, 2, 2).repeat(4, 1).repeat(4, 2)
        text = Text("".join(cells))
        if n % 3 or n == 0:
            pairs.append(Record(f"pair{n}", pixels, [text]))
        pictures.append(Record(f"picture{n}", pixels))
        texts.append(Record(f"text{n}", texts=[text]))
    return pairs + pictures + texts


def test_cycles_learn_from_what_has_no_pair(tmp_path):
    (tmp_path / "row.yaml").write_text(ROW)
    row, records = load_row(tmp_path / "row.yaml"), world()
    Trainer(row, records, tmp_path / "run", augment=False, save_every=20).fit(20)
    trainer = Trainer(row, records, tmp_path / "run", augment=False, save_every=1000).resume()
    assert trainer.step == 20
    last = trainer.fit()[-1]
    assert [last[f"count/{n}"] > 0 for n in row.losses] == [True] * 4
    model = load_run(tmp_path / "run")
    assert model.can("write")
    assert model.can("paint")
    shown = [r for r in records if r.id.startswith("pair")]
    batch = trainer.data.batch([(r.id, 0) for r in shown], 0).streams["paired"]
    want = [r.texts[0].text for r in shown]
    assert model.generate(batch.image[:, 0], most=5) == want
    painted = model.reader("tokeniser").encode(model.paint(want, steps=4))
    assert ["".join("rb"[c] for c in row_) for row_ in painted.tolist()] == want


def test_the_first_half_of_a_cycle_is_trained_through_the_choice(tmp_path):
    (tmp_path / "row.yaml").write_text(ROW)
    trainer = Trainer(load_row(tmp_path / "row.yaml"), world(), augment=False)
    batch = trainer.data.batch(trainer.data.plan(0)[0], 0)
    terms = trainer.model(batch)
    for name, half in (("text_cycle", "readers.painter.out.weight"), ("picture_cycle", "text.lm.embed.weight")):
        (grad,) = torch.autograd.grad(
            terms[name].value, trainer.model.get_parameter(half), retain_graph=True, allow_unused=True
        )
        assert grad is not None
        assert float(grad.abs().sum()) > 0
