"""CoLLM: a picture and a text are one query; learnt from pairs alone, of which triplets are made (arXiv 2503.19910)."""

import itertools

import numpy as np
import PIL.Image
import pytest

torch = pytest.importorskip("torch")

from panoglot.networks import Record, Text, load_row, register
from panoglot.networks.parts import Part
from panoglot.networks.towers import Scale, unit
from panoglot.pictures import Image
from panoglot.providers import load_model
from panoglot.training import Trainer

ROW = """
method: collm-stand-in
image: {kind: vit, patch: 8, width: 48, layers: 1, heads: 4}
text: {kind: transformer, length: 64, width: 48, layers: 1, heads: 4, pool: mean}
readers: {composer: {kind: joint, width: 48, layers: 1, heads: 4}}
dim: 32
size: 16
losses: {contrast: {}, triplets: {}}
optimiser: {kind: adamw, lr: 1.5e-3}
schedule: {kind: constant}
epochs: 110
batch: 16
"""


def slerp(a, b, alpha=0.5):
    theta = (a * b).sum(-1, keepdim=True).clamp(-0.999, 0.999).arccos()
    return (torch.sin(alpha * theta) * a + torch.sin((1 - alpha) * theta) * b) / torch.sin(theta)


@register("losses", "triplets")
class Triplets(Part):
    """Between a picture and its neighbour lies the reference; the text says what is wanted not what."""

    needs, reads, gives, across = ("composer", "picture", "tokens"), ("picture", "text"), ("compose",), ""

    def __init__(self, widths):
        super().__init__(widths)
        self.scale = Scale()

    def forward(self, f, batch, step):
        same = batch.pair_id[:, None] == batch.pair_id
        like = (f.x @ f.x.T).masked_fill(same, -2).argmax(1)
        said = [f"{batch.texts[i][0]} not {batch.texts[j][0]}" for i, j in enumerate(like.tolist())]
        ids, mask = step.model.text.tokens(said)
        tokens = step.model.text_vectors(ids, mask, ["en"] * len(said))[2]
        query = step.model.reader("composer")(unit(slerp(f.x, f.x[like])), tokens, mask[:, : tokens.shape[1]])
        logits = (self.scale()[0] * query @ f.x.detach().T).masked_fill(same ^ torch.eye(len(same)).bool(), -torch.inf)
        return step.mean(torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)), reduction="none"))


def picture(pixels):
    return Image.from_pil(PIL.Image.fromarray((pixels.transpose(1, 2, 0) * 255).astype(np.uint8)))


def scenes():
    """All pictures of an upper and a lower colour, twice, with what they show."""
    colours = {"red": 0, "green": 1, "blue": 2}
    out = []
    for (up, down), k in itertools.product(itertools.product(colours, repeat=2), range(4)):
        pixels = np.full((3, 16, 16), 0.04 * k, np.float32)
        pixels[colours[up], :8], pixels[colours[down], 8:] = 1.0, 1.0
        out.append(Record(f"{up}-{down}-{k}", pixels, [Text(up[0] + down[0])], pair_id=f"{up} {down}"))
    return out


def test_a_picture_and_a_change_find_the_picture_that_is_meant(tmp_path):
    (tmp_path / "row.yaml").write_text(ROW)
    row, records = load_row(tmp_path / "row.yaml"), scenes()
    Trainer(row, records, tmp_path / "run", augment=False, save_every=20).fit(20)
    trainer = Trainer(row, records, tmp_path / "run", augment=False, save_every=100).resume()
    assert trainer.step == 20
    trainer.fit()
    encoder = load_model(f"pano:{tmp_path / 'run'}", "encoder")
    gallery = records[::4]
    images = [picture(r.image) for r in gallery]
    vectors = encoder.encode_images(images)
    queries, want = [], []
    for i, j in itertools.permutations(range(len(gallery)), 2):
        queries.append([images[j], f"{gallery[i].texts[0].text} not {gallery[j].texts[0].text}"])
        want.append(i)
    found = (encoder.encode_queries(queries) @ vectors.T).argmax(1)
    assert (found == want).mean() > 0.8
    assert np.allclose(np.linalg.norm(encoder.encode_queries([[images[0]], ["rb"]]), axis=1), 1, atol=1e-5)
