"""Whole methods: a run of the trainer against the paper's algorithm written out in plain PyTorch, step by step."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from panoglot.networks import Data, load_row, make_model
from panoglot.training import Trainer, shapes

TOWERS = {
    "image": {"patch": 16, "width": 32, "layers": 2, "heads": 2},
    "text": {"width": 32, "layers": 2, "heads": 2},
    "dim": 16,
    "size": 32,
}


def plain_clip_run(row, records, steps):
    """CLIP's steps 1 to 8 in plain PyTorch, two workers of four rows each; returns losses and the model."""
    model = make_model(row, 0)
    data, per_epoch = Data(records, model, 0), len(records) // row.batch
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() < 2]  # biases, norms, the scale
    groups = [{"params": decayed, "weight_decay": 0.2}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=5e-4, betas=(0.9, 0.98), eps=1e-6)
    scale = model.parts["contrast"].scale.log
    losses, total, warmup = [], row.epochs * per_epoch, row.schedule["warmup"]
    for step in range(steps):
        epoch, place = divmod(step, per_epoch)
        batch = data.batch(data.plan(epoch)[place], epoch)
        ids, mask = batch.tokens[:, 0], batch.token_mask[:, 0]
        x = F.normalize(model.image(batch.image[:, 0])[0] @ model.head.weight.T, dim=1)
        y = F.normalize(model.text(ids, mask, ["en"] * len(ids))[0] @ model.text_head.weight.T, dim=1)
        ranks = []
        for rank in range(2):  # own rows against all columns; the mean over the ranks is the dense loss
            own = torch.arange(len(ids) // 2) + rank * (len(ids) // 2)
            ranks += [F.cross_entropy(scale.exp() * a[own] @ b.T, own) for a, b in ((x, y), (y, x))]
        loss = sum(ranks) / 4
        early = step < warmup
        place = (step - warmup) / (total - warmup)
        factor = (step + 1) / warmup if early else (1 + math.cos(math.pi * place)) / 2
        for group in optimiser.param_groups:
            group["lr"] = 5e-4 * factor
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            scale.clamp_(0, math.log(100))
        losses.append(float(loss.detach()))
    return losses, model


@pytest.mark.paper(
    "clip",
    shows="C",
    case="a run of the paper's row (BPE, causal text, end token, crops, AdamW without decay of 1-D, warm-up and "
    "cosine, clamped scale, two micro-batches) equals its eight steps in plain PyTorch with two workers, 1e-5",
)
@pytest.mark.parametrize("start", [1 / 0.07, 99.999])
def test_clip_s_run_is_its_paper_s_in_plain_pytorch(start):
    if importlib.util.find_spec("open_clip") is None:
        pytest.skip("CLIP's tokens come in open_clip's package")
    records = shapes(24)
    contrast = {"losses": {"contrast": {"scale": {"start": start}}}}
    row = load_row("clip", **TOWERS, **contrast, batch=8, epochs=3, accumulate=2, schedule={"warmup": 3})
    paper = load_row("clip")
    assert [paper.image[k] for k in ("patch", "width", "layers", "heads")] == [32, 768, 12, 12]
    assert [paper.text[k] for k in ("length", "width", "layers", "heads", "pool")] == [77, 512, 12, 8, "end"]
    assert (paper.dim, row.text["tokenizer"], row.optimiser["weight_decay"]) == (512, "clip", 0.2)
    trainer = Trainer(row, records, workers=0)
    got = [figures["loss"] for figures in trainer.fit(progress=False)]
    want, model = plain_clip_run(row, records, len(got))
    assert len(got) == 9
    assert got == pytest.approx(want, abs=1e-5)
    state = model.state_dict()
    for name, value in trainer.model.state_dict().items():
        if value.dim() > 1:  # the bias of keys has no gradient but rounding, which Adam makes steps of
            assert np.allclose(value.numpy(), state[name].numpy(), atol=1e-4), name
    assert 1 <= float(trainer.model.parts["contrast"].scale()[0].detach()) <= 100 + 1e-4
