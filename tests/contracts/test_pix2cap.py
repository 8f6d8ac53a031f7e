"""Pix2Cap: a set of masks at once, each with a caption of its own (arXiv 2501.13893)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from panoglot.networks import Record, RegionText, load_row, load_run, register
from panoglot.networks.losses import lm
from panoglot.networks.parts import Part, collate_regions, matched
from panoglot.networks.towers import CaptionDecoder
from panoglot.training import Trainer

ROW = """
method: pix2cap-stand-in
image: {kind: vit, patch: 8, width: 48, layers: 1, heads: 4}
readers: {locator: {kind: set, queries: 4, width: 48, layers: 1, heads: 4, masks: true}}
size: 32
sampler: {kind: pictures}
losses: {locate: {}, captions_of_a_set: {weight: 2.0}}
optimiser: {kind: adamw, lr: 3.0e-3}
schedule: {kind: constant}
epochs: 90
batch: 8
"""


@register("losses", "captions_of_a_set")
class CaptionsOfASet(Part):
    """Every matched query is what a small decoder writes its caption from."""

    needs, reads, gives = ("locator",), ("picture", "regions"), ("write",)

    def __init__(self, widths):
        super().__init__(widths)
        self.decoder = CaptionDecoder(259, widths.queries, 48, 1, 4, 16)

    def collate(self, out, items, model):
        collate_regions(out, items, model, masks=True)
        rows = [[[1, *(b + 3 for b in x.text.encode()), 2] for x in s.regions] for _, s in items]
        out.targets["captions"] = torch.full((len(items), max(map(len, rows)), 16), -100)
        for i, each in enumerate(rows):
            for j, ids in enumerate(each):
                out.targets["captions"][i, j, : len(ids)] = torch.tensor(ids)

    def forward(self, f, batch, step):
        i, q, t = matched(f, batch)
        ids = batch.targets["captions"][i, t]
        return lm(self.decoder(ids.clamp(min=0), f.located.queries[i, q][:, None]), ids, shift=True)


def pictures():
    """A red thing at the left and a blue one at the right, or the other way round, of several brightnesses."""
    out = []
    for n in range(8):
        pixels, regions = np.full((3, 32, 32), 0.03 * n, np.float32), []
        for name, x0 in zip(("red", "blue") if n % 2 else ("blue", "red"), (0, 16), strict=True):
            mask = np.zeros((32, 32), bool)
            mask[8:24, x0 : x0 + 16] = True
            pixels[0 if name == "red" else 2, mask] = 1.0
            regions.append(RegionText((x0 / 32, 0.25, x0 / 32 + 0.5, 0.75), f"{name} thing", mask=mask))
        out.append(Record(f"p{n}", pixels, regions=regions))
    return out


def test_every_thing_has_its_mask_and_its_caption(tmp_path):
    (tmp_path / "row.yaml").write_text(ROW)
    row, records = load_row(tmp_path / "row.yaml"), pictures()
    Trainer(row, records, tmp_path / "run", augment=False, save_every=20).fit(20)
    trainer = Trainer(row, records, tmp_path / "run", augment=False, save_every=100).resume()
    assert trainer.step == 20
    trainer.fit()
    model = load_run(tmp_path / "run")
    assert model.can("locate")
    assert model.can("write")
    found = model.locate(trainer.data.batch([("p1", 0)], 0).image[:, 0])  # red left, blue right
    sure = found.there[0].topk(2).indices.tolist()
    assert float(found.there[0].sigmoid().sort().values[:2].max()) < 0.5 < float(found.there[0, sure].sigmoid().min())
    decoder, said = model.parts["captions_of_a_set"].decoder, {}
    for q in sure:
        ids = decoder.generate(found.queries[:, q : q + 1])[0].tolist()
        text = bytes(i - 3 for i in ids if i > 2).decode()
        said[text] = (found.masks[0, q].reshape(4, 4) > 0).tolist()
    rows = {"red thing": [True, True, False, False], "blue thing": [False, False, True, True]}
    assert said == {name: [[False] * 4, row_, row_, [False] * 4] for name, row_ in rows.items()}
