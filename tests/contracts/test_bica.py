"""BiCA: points in, boxes in a room and what is said of each out (arXiv 2408.06662)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from panoglot.geometry import box_iou
from panoglot.networks import Record, RegionText, load_row, load_run, register
from panoglot.networks.losses import lm
from panoglot.networks.parts import Part, collate_regions, matched
from panoglot.networks.towers import CaptionDecoder
from panoglot.training import Trainer

ROW = """
method: bica-stand-in
image: {kind: points, channels: 1, points: 64, tokens: 16, radius: 0.8, width: 48, layers: 1, heads: 4}
readers: {locator: {kind: set, queries: 4, width: 48, layers: 1, heads: 4, box: 6}}
sampler: {kind: pictures}
losses: {locate: {}, said_of_things: {}}
optimiser: {kind: adamw, lr: 3.0e-3}
schedule: {kind: constant}
epochs: 160
batch: 8
"""


@register("losses", "said_of_things")
class SaidOfThings(Part):
    """The caption of a thing, from its query and the queries around it."""

    needs, reads, gives = ("locator",), ("points", "regions"), ("write",)

    def __init__(self, widths):
        super().__init__(widths)
        self.decoder = CaptionDecoder(259, widths.queries, 48, 1, 4, 8)

    def collate(self, out, items, model):
        collate_regions(out, items, model)
        out.targets["said"] = torch.full((len(items), out.boxes.shape[1], 8), -100)
        for i, (_, sample) in enumerate(items):
            for j, region in enumerate(sample.regions):
                ids = [1, *(b + 3 for b in region.text.encode()), 2]
                out.targets["said"][i, j, : len(ids)] = torch.tensor(ids)

    def forward(self, f, batch, step):
        i, q, t = matched(f, batch)
        ids, own = batch.targets["said"][i, t], f.located.queries[i, q][:, None]
        memory = torch.cat([own, f.located.queries[i]], 1)
        return lm(self.decoder(ids.clamp(min=0), memory), ids, shift=True)


def rooms():
    """A low thing and a high one in each room, at places of their own; the fourth number of a point is its shade."""
    out, draw = [], np.random.default_rng(0)
    for n in range(8):
        points, regions = [], []
        for text, z, size in (("low", 0.5, 1.0), ("high", 2.0, 1.0)):
            centre = np.array([1.0 + n % 4, 1.0 + n // 4, z])
            inside = centre + size * (draw.random((32, 3)) - 0.5)
            points.append(np.concatenate([inside, np.full((32, 1), z)], 1))
            regions.append(RegionText((0, 0, 1, 1), text, box3=(*centre, size, size, size)))
        out.append(Record(f"room{n}", asset=np.concatenate(points).astype(np.float32), regions=regions))
    return out


def corners(box):
    return (*(box[:3] - box[3:] / 2), *(box[:3] + box[3:] / 2))


def test_every_thing_of_a_room_has_its_box_and_its_caption(tmp_path):
    (tmp_path / "row.yaml").write_text(ROW)
    row, records = load_row(tmp_path / "row.yaml"), rooms()
    Trainer(row, records, tmp_path / "run", save_every=20).fit(20)
    trainer = Trainer(row, records, tmp_path / "run", save_every=1000).resume()
    assert trainer.step == 20
    trainer.fit()
    model = load_run(tmp_path / "run")
    batch = trainer.data.batch([(r.id, 0) for r in records], 0)
    found = model.locate(batch.inputs["image"])
    decoder = model.parts["said_of_things"].decoder
    for i, record in enumerate(records):
        sure = found.there[i].topk(2).indices.tolist()
        boxes = {}
        for q in sure:
            memory = torch.cat([found.queries[i : i + 1, q : q + 1], found.queries[i : i + 1]], 1)
            said = bytes(k - 3 for k in decoder.generate(memory)[0].tolist() if k > 2).decode()
            boxes[said] = found.boxes[i, q].detach().numpy()
        for region in record.regions:  # the measure of the field: said, and at an overlap of a quarter
            assert box_iou(corners(boxes[region.text]), corners(np.array(region.box3))) > 0.25
