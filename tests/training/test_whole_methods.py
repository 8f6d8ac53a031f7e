"""Whole methods: a run of the trainer against the paper's algorithm written out in plain PyTorch, step by step."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from panoglot.networks import Data, load_row, make_model
from panoglot.networks.samplers import Sentences
from panoglot.training import Trainer, shapes

TOWERS = {
    "image": {"patch": 16, "width": 32, "layers": 2, "heads": 2},
    "text": {"width": 32, "layers": 2, "heads": 2},
    "dim": 16,
    "size": 32,
}


def plain_run(row, records, loss_of):
    """CLIP's way of training (its steps 2, 5, 6) in plain PyTorch around a loss; returns losses and the model."""
    model = make_model(row, 0)
    data, per_epoch = Data(records, model, 0), len(records) // row.batch
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() < 2]  # biases, norms, scales
    groups = [{"params": decayed, "weight_decay": 0.2}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=5e-4, betas=(0.9, 0.98), eps=1e-6)
    losses, total, warmup = [], row.epochs * per_epoch, row.schedule["warmup"]
    for step in range(total):
        epoch, place = divmod(step, per_epoch)
        loss = loss_of(model, data.batch(data.plan(epoch)[place], epoch))
        place = (step - warmup) / (total - warmup)
        factor = (step + 1) / warmup if step < warmup else (1 + math.cos(math.pi * place)) / 2
        for group in optimiser.param_groups:
            group["lr"] = 5e-4 * factor
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for part in model.parts.values():
                part.scale.log.clamp_(0, math.log(100))
        losses.append(float(loss.detach()))
    return losses, model


def clip_loss(model, batch):
    """CLIP's steps 1, 3 and 4: two workers, own rows against all columns; their mean is the dense loss."""
    ids, mask = batch.tokens[:, 0], batch.token_mask[:, 0]
    x = F.normalize(model.image(batch.image[:, 0])[0] @ model.head.weight.T, dim=1)
    y = F.normalize(model.text(ids, mask, ["en"] * len(ids))[0] @ model.text_head.weight.T, dim=1)
    scale, ranks = model.parts["contrast"].scale.log.exp(), []
    for rank in range(2):
        own = torch.arange(len(ids) // 2) + rank * (len(ids) // 2)
        ranks += [F.cross_entropy(scale * a[own] @ b.T, own) for a, b in ((x, y), (y, x))]
    return sum(ranks) / 4


def dreamlip_loss(model, batch):
    """DreamLIP's steps 3 to 5, by loops over slots, pictures and patches."""
    pooled, patches = model.image(batch.image[:, 0])
    x, v = (F.normalize(z @ model.head.weight.T, dim=-1) for z in (pooled, patches))
    b, slots = batch.slot_mask.shape
    assert bool(batch.slot_mask.all())

    def vector(i, k):
        pooled = model.text(batch.tokens[i, k, None], batch.token_mask[i, k, None], ["en"])[0]
        return F.normalize(pooled @ model.text_head.weight.T, dim=-1)[0]

    y = [[vector(i, k) for k in range(slots)] for i in range(b)]
    own, outer = torch.arange(b), model.parts["contrast"].scale.log.exp()
    whole = 0.0
    for k in range(slots):  # every slot has a matrix of its own
        scores = outer * x @ torch.stack([y[i][k] for i in range(b)]).T
        whole = whole + (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2 / slots
    groups = []
    for i in range(b):
        for k in range(slots):
            sim = v[i] @ y[i][k]
            value = (sim - sim.min()) / (sim.max() - sim.min() + 1e-10)
            value = torch.where(value < 1 / len(sim), torch.zeros(()), value)
            groups.append(F.normalize((value / value.sum()) @ v[i], dim=0))
    texts = torch.stack([y[i][k] for i in range(b) for k in range(slots)])
    scores, each = model.parts["group_patches"].scale.log.exp() * texts @ torch.stack(groups).T, torch.arange(b * slots)
    return whole + (F.cross_entropy(scores, each) + F.cross_entropy(scores.T, each)) / 2


def same_run(row, records, loss_of):
    """Whether the trainer's losses and weights are those of the plain run; returns the trained model."""
    trainer = Trainer(row, records, workers=0)
    got = [figures["loss"] for figures in trainer.fit(progress=False)]
    want, model = plain_run(row, records, loss_of)
    assert len(got) == row.epochs * len(records) // row.batch
    assert got == pytest.approx(want, abs=2e-5)
    state = model.state_dict()
    for name, value in trainer.model.state_dict().items():
        if value.dim() > 1:  # the bias of keys has no gradient but rounding, which Adam makes steps of
            assert np.allclose(value.numpy(), state[name].numpy(), atol=1e-4), name
    return trainer.model


def need_clip_tokens():
    if importlib.util.find_spec("open_clip") is None:
        pytest.skip("CLIP's tokens come in open_clip's package")


@pytest.mark.paper(
    "clip",
    shows="C",
    case="a run of the paper's row (BPE, causal text, end token, crops, AdamW without decay of 1-D, warm-up, cosine, "
    "clamped scale, two micro-batches) equals its eight steps in plain PyTorch with two workers, 1e-5",
)
@pytest.mark.parametrize("start", [1 / 0.07, 99.999])
def test_clip_s_run_is_its_paper_s_in_plain_pytorch(start):
    need_clip_tokens()
    contrast = {"losses": {"contrast": {"scale": {"start": start}}}}
    row = load_row("clip", **TOWERS, **contrast, batch=8, epochs=3, accumulate=2, schedule={"warmup": 3})
    paper = load_row("clip")
    assert [paper.image[k] for k in ("patch", "width", "layers", "heads")] == [32, 768, 12, 12]
    assert [paper.text[k] for k in ("length", "width", "layers", "heads", "pool")] == [77, 512, 12, 8, "end"]
    assert (paper.dim, row.text["tokenizer"], row.optimiser["weight_decay"]) == (512, "clip", 0.2)
    model = same_run(row, shapes(24), clip_loss)
    assert 1 <= float(model.parts["contrast"].scale()[0].detach()) <= 100 + 1e-4


@pytest.mark.paper(
    "dreamlip",
    shows="C",
    case="a run of the paper's row (sentences, six drawn beside the raw text, a matrix a slot, patches cut at 1/N "
    "and grouped, a scale of their own, AdamW, warm-up and cosine) equals its steps by loops, 2e-5",
)
def test_dreamlip_s_run_is_its_paper_s_by_loops():
    need_clip_tokens()
    records = shapes(8)
    row = load_row("dreamlip", **TOWERS, batch=4, epochs=2, schedule={"warmup": 1})
    assert (row.sampler["k"], row.losses["contrast"]["negatives"]) == (6, "per_slot")
    sampler = Sentences(**{k: v for k, v in row.sampler.items() if k != "kind"})
    for record in records:  # steps 1 and 2: slot 0 is the raw text, the others are sentences of the machine's
        parts = {one.strip(" .") for t in record.texts if t.kind != "raw" for one in t.text.split(". ")}
        raw, *drawn = sampler(record, 0, 0).texts
        assert raw == record.texts[0]
        assert len(drawn) == 6
        assert {t.text.strip(" .") for t in drawn} <= parts
        assert len({t.text for t in drawn}) == min(6, len({t.text for t in sampler.pool(record)}))
    same_run(row, records, dreamlip_loss)
