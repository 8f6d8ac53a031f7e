"""GRAIN as a whole: annotation, a run of the trainer, descriptors and drawn boxes, against its steps by loops."""

from __future__ import annotations

import json
import math
from itertools import permutations

import numpy as np
import PIL.Image
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytest.importorskip("scipy.optimize")

import panoglot
from panoglot.errors import UserError
from panoglot.evaluate import Descriptors, commands, described, read_descriptors, zeroshot
from panoglot.geometry import Region
from panoglot.networks import load_row
from panoglot.networks.encoder import TrainedEncoder
from panoglot.pictures import Image
from panoglot.providers import register
from panoglot.providers.roles import Answer, Box
from panoglot.training import read_records
from tests.curation.conftest import Maker, jpeg, scene
from tests.training.plain_run import adamw, same_run
from tests.training.test_whole_methods import TOWERS, need_clip_tokens

HEAD = {"kind": "queries", "queries": 5, "width": 16, "layers": 2, "heads": 2, "drop": 0.0}


class Lists:
    """A captioner for tests: a sentence, or features of the picture, by its width."""

    name, fingerprint, batch_size = "toy:lists", "lists-1", 4

    def generate(self, prompts):
        return [self.one(prompt, prompt.images[0].width) for prompt in prompts]

    def one(self, prompt, n):
        if "one sentence" in prompt.text:
            return Answer(f"A bird number {n} sits on a branch.")
        return Answer(f"- yellow throat {n}\n* -long tail {n}\n!, black eye {n}\nred crown {n}\nnothing {n}")


class Finds:
    """A detector for tests: a box for every feature but the last, the first of them twice, the fourth unsure."""

    name, fingerprint, batch_size, asked = "toy:finds", "finds-1", 4, []

    def detect(self, images, names=None):
        Finds.asked += names
        return [[*self.each(image.width, said)] for image, said in zip(images, names, strict=True)]

    def each(self, n, said):
        x = (n - 40) / 40
        yield Box(said[0], 0.5, Region(0.1, 0.1, 0.2, 0.2))
        yield Box(said[0], 0.9, Region(x / 2, 0.1, x / 2 + 0.3, 0.5))
        yield Box(said[1], 0.7, Region(0.4, x / 3, 0.9, x / 3 + 0.4))
        yield Box(said[2], 0.8, Region(0.2, 0.3, 0.6 + x / 4, 0.9))
        yield Box(said[3], 0.05, Region(0.0, 0.0, 1.0, 1.0))


def layer_norm(x, module):
    return F.layer_norm(x, (x.shape[-1],), module.weight, module.bias)


def attention(a, asks, keys, values):
    """Multi-head attention by loops over the heads."""
    q = asks @ a.q.weight.T + a.q.bias
    width = len(a.q.weight)
    k = keys @ a.kv.weight[:width].T + a.kv.bias[:width]
    v = values @ a.kv.weight[width:].T + a.kv.bias[width:]
    d, out = width // a.heads, []
    for h in range(a.heads):
        part = slice(h * d, (h + 1) * d)
        out.append((q[:, part] @ k[:, part].T / math.sqrt(d)).softmax(-1) @ v[:, part])
    return torch.cat(out, -1) @ a.out.weight.T + a.out.bias


def decode(head, pooled, patches):
    """Steps 2 to 4 for one picture: its vector, those of its regions, their boxes."""
    memory = layer_norm(torch.cat([pooled[None], patches]) @ head.memory[0].weight.T, head.memory[1])
    place = head.queries
    x = torch.zeros_like(place)  # targets begin at zero
    for block in head.blocks:
        y = layer_norm(x, block.norm1)
        x = x + attention(block.attention, y + place, y + place, y)
        x = x + attention(block.cross, layer_norm(x, block.norm_memory) + place, memory, memory)
        y = layer_norm(x, block.norm2)
        x = x + block.mlp[2](F.gelu(block.mlp[0](y)))
    x = layer_norm(x, head.after)
    box = x[:-1]
    for layer in head.box:
        box = layer(box)
    return x[-1] @ head.picture.weight.T, x[:-1] @ head.region.weight.T, box.sigmoid()


def giou(a, b):
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = (
        (c[0] - c[2] / 2, c[1] - c[3] / 2, c[0] + c[2] / 2, c[1] + c[3] / 2) for c in (a, b)
    )
    inner = (torch.minimum(ax1, bx1) - torch.maximum(ax0, bx0)).clamp(min=0)
    inner = inner * (torch.minimum(ay1, by1) - torch.maximum(ay0, by0)).clamp(min=0)
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - inner
    hull = (torch.maximum(ax1, bx1) - torch.minimum(ax0, bx0)) * (torch.maximum(ay1, by1) - torch.minimum(ay0, by0))
    return inner / union - (hull - union) / hull


def grain_loss(model, batch):
    """Step 5 by loops: contrast of the picture's query, boxes, regions against all descriptions of the batch."""
    pooled, patches = model.image(batch.image[:, 0])
    made = [decode(model.head, pooled[i], patches[i]) for i in range(len(batch))]

    def text(ids, mask):
        y = model.text(ids[mask][None], torch.ones(1, int(mask.sum()), dtype=torch.bool), ["en"])[0][0]
        y = y @ model.text_head.weight.T
        return y / y.norm()

    x = torch.stack([v / v.norm() for v, _, _ in made])
    y = torch.stack([text(batch.tokens[i, 0], batch.token_mask[i, 0]) for i in range(len(batch))])
    own, s = torch.arange(len(batch)), model.parts["contrast"].scale.log.exp() * x @ y.T
    contrast = (F.cross_entropy(s, own) + F.cross_entropy(s.T, own)) / 2
    there = [(i, r) for i in range(len(batch)) for r in range(batch.region_mask.shape[1]) if batch.region_mask[i, r]]
    said = torch.stack([text(batch.region_tokens[i, r], batch.region_token_mask[i, r]) for i, r in there])
    boxes, rows = [], []
    for i in range(len(batch)):
        targets = [r for k, r in there if k == i]
        cost = {
            (q, r): float(
                5 * (made[i][2][q] - batch.boxes[i, r]).abs().sum() - 2 * giou(made[i][2][q], batch.boxes[i, r])
            )
            for q in range(5)
            for r in targets
        }
        best = min(
            permutations(range(5), len(targets)),
            key=lambda qs, targets=targets, cost=cost: sum(cost[q, r] for q, r in zip(qs, targets, strict=True)),
        )
        for q, r in zip(best, targets, strict=True):
            found, want = made[i][2][q], batch.boxes[i, r]
            boxes.append((found - want).abs().sum() + 1 - giou(found, want))
            v = made[i][1][q]
            logits = model.parts["regions"].scale.log.exp() * said @ (v / v.norm())
            rows.append(-logits.log_softmax(0)[there.index((i, r))])
    return contrast + torch.stack(boxes).mean() + torch.stack(rows).mean()


def annotated(path):
    """Twelve pictures with a person's caption, annotated by `panoglot caption --method grain`."""
    register("python:lists", Lists)
    register("python:finds", Finds)
    maker = Maker(path)
    for n in range(40, 52):
        maker.caption(maker.image(jpeg(scene(n, n, n)), n, n), f"holiday {n}")
    panoglot.caption(
        maker.dataset, method="grain", captioner="python:lists", detector="python:finds", lang="en", quiet=True
    )
    return maker.dataset


@pytest.mark.paper(
    "grain",
    shows="C",
    case="features listed, located, cleaned; a run of the paper's row on them (class token and patches, queries in "
    "every layer over zero targets, coin, Hungarian boxes, regions one way, AdamW, an epoch of warm-up from .001, "
    "cosine to .01) equals its steps by loops, 1e-4; classes by templates times descriptors",
)
def test_grain_annotates_trains_and_classifies_as_its_paper(tmp_path):
    need_clip_tokens()
    # step 1
    data = annotated(tmp_path / "x.pano")
    listed = ("yellow throat", "long tail", "black eye", "red crown", "nothing")
    assert tuple(Finds.asked[0]) == tuple(f"{what} 40" for what in listed)
    records = read_records(data).train
    first = next(r for r in records if any("number 40" in t.text for t in r.texts))
    assert {(t.kind, t.text) for t in first.texts} == {
        ("raw", "holiday 40"), ("short", "A bird number 40 sits on a branch.")
    }  # fmt: skip
    assert sorted((r.text, round(r.score, 6)) for r in first.regions) == [
        ("black eye 40", 0.8), ("long tail 40", 0.7), ("yellow throat 40", 0.9)
    ]  # fmt: skip

    # steps 2 to 6
    paper = load_row("grain")
    assert (paper.head["layers"], paper.head["width"], paper.head["drop"], paper.sampler["p"]) == (6, 512, 0.1, 0.5)
    assert paper.optimiser == {
        "kind": "adamw", "lr": 1e-3, "betas": [0.9, 0.98], "eps": 1e-8, "weight_decay": 0.1
    }  # fmt: skip
    few = {"batch": 4, "epochs": 3, "optimiser": {"eps": 1e-4}}  # a larger eps: Adam makes steps of rounding
    row = load_row("grain", **TOWERS, head=HEAD, **few)

    def factor(step):
        if step < 3:  # an epoch
            return 0.001 + 0.999 * (step + 1) / 3
        return 0.01 + 0.99 * (1 + math.cos(math.pi * (step - 3) / 6)) / 2

    shown = []

    def loss(model, batch):
        shown.extend(text for texts in batch.texts for text in texts)
        return grain_loss(model, batch)

    make = adamw(0.1, lr=1e-3, betas=(0.9, 0.98), eps=1e-4)
    model = same_run(row, records, loss, make, factor, tolerance=1e-4).model
    raw = sum(text.startswith("holiday") for text in shown)
    assert len(shown) == 36
    assert 9 <= raw <= 27  # a fair coin, 3 sigma

    # step 7
    encoder = TrainedEncoder([model], "grain", "grain-1")
    pictures = encoder.encode_images([Image(r.image()) for r in records])
    looks = {"bird": ["a yellow throat", "often found on branches"], "dog": ["four legs"]}
    forms = ["a photo of a {}.", "{}"]
    said = {
        "bird": ["a photo of a bird, which is a yellow throat", "a photo of a bird, which often found on branches",
                 "bird, which is a yellow throat", "bird, which often found on branches"],
        "dog": ["a photo of a dog, which has four legs", "dog, which has four legs"],
    }  # fmt: skip
    centres = []
    for texts in said.values():
        rows = encoder.encode_texts(texts, ["en"] * len(texts))
        centres.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(0))
    want = [int(np.argmax([p @ c / np.linalg.norm(c) for c in centres])) for p in pictures]
    found = zeroshot(
        encoder, pictures, want, {"en": ["bird", "dog"]}, templates=forms, descriptors=Descriptors({"en": looks})
    )
    assert found["en"].value == 1


def test_a_run_by_the_command_draws_its_boxes(tmp_path):
    data = annotated(tmp_path / "x.pano")
    done = panoglot.train(
        "grain", data, output=tmp_path / "run", preset="small", epochs=2, batch=4, quiet=True, encode=False
    )
    svg = (done.run / "boxes.svg").read_text()
    assert svg.count("<image ") > 0
    assert svg.count('fill="none" stroke=') >= 3 * svg.count("<image ")
    assert "yellow throat" in svg
    assert "(boxes.svg)" in (done.run / "README.md").read_text()


@pytest.mark.paper("grain", shows="V", case="connectors: is before a/an/used, bare before has/often/…, else has")
def test_descriptors_are_joined_as_the_paper_s():
    ends = {
        "a long tail": "which is a long tail",
        "an eye": "which is an eye",
        "used for sitting": "which is used for sitting",
        "has stripes": "which has stripes",
        "typically red": "which typically red",
        "may bark": "which may bark",
        "yellow throat": "which has yellow throat",
    }
    for descriptor, end in ends.items():
        assert described("bird", ["{}"], [descriptor], "en-GB") == [f"bird, {end}"]
    assert described("鸟", ["一张{}的照片。"], ["黄色的喉咙"], "zh") == ["一张鸟的照片: 黄色的喉咙"]


class Reads:
    """An encoder for tests: a text is red as often as it says so, else green."""

    name, fingerprint, batch_size, dim, asked = "toy:reads", "reads-1", 4, 3, []

    def encode_images(self, images):
        return np.stack([image.pixels().reshape(-1, 3).mean(axis=0) for image in images]).astype(np.float32)

    def encode_texts(self, texts, langs=None):
        Reads.asked += texts
        return np.stack([np.eye(3)[0 if "red" in text or "أحمر" in text else 1] for text in texts])


def test_descriptors_by_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    register("toy:reads", Reads)
    for name, colour in (("apple", (250, 20, 20)), ("leaf", (20, 250, 20))):
        (tmp_path / "set" / name).mkdir(parents=True)
        PIL.Image.new("RGB", (40, 30), colour).save(tmp_path / "set" / name / "0.png")
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"en": ["apple", "leaf"], "ar": ["تفاحة", "ورقة"]}))
    looks = tmp_path / "looks.json"
    looks.write_text(json.dumps({"en": {"apple": ["red skin", "a red core"]}, "ar": {"تفاحة": ["أحمر"]}}))
    plain = commands.zeroshot(str(tmp_path / "set"), encoder="toy:reads", labels=str(labels))
    assert plain["en"].value == 0.5
    found = commands.zeroshot(str(tmp_path / "set"), encoder="toy:reads", labels=str(labels), descriptors=str(looks))
    assert {tag: one.value for tag, one in found.items()} == {"en": 1, "ar": 1}
    assert found["en"].options["descriptors"].startswith("looks.json (")
    assert any("1 of 2 classes have no descriptors" in note for note in found["en"].notes)
    assert {"apple, which has red skin", "apple, which is a red core", "leaf", "تفاحة: أحمر"} <= set(Reads.asked)
    looks.write_text('{"en": ["red"]}')
    assert read_descriptors(looks).of("en-GB") == {"en": ["red"]}  # a class of that name, in English
    looks.write_text('{"en": {"apple": "red"}}')
    with pytest.raises(UserError, match="the descriptors of apple are no list of texts"):
        read_descriptors(looks)
    looks.write_text("[1]")
    with pytest.raises(UserError, match="must be JSON"):
        read_descriptors(looks)
