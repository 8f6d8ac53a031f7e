"""A training loop in plain PyTorch, written out from the papers, that runs of the trainer are compared with."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from panoglot.networks import make_data, make_model
from panoglot.training import Trainer


class Lamb:
    """LAMB as ALIGN uses it (arXiv 1904.00962, algorithm 2): Adam's step, as long as the layer is."""

    def __init__(self, groups, lr, eps=1e-6):
        self.param_groups = [{"lr": lr, **group} for group in groups]
        self.eps, self.t = eps, 0
        self.m = {p: torch.zeros_like(p) for group in groups for p in group["params"]}
        self.v = {p: torch.zeros_like(p) for p in self.m}

    def zero_grad(self):
        for p in self.m:
            p.grad = None

    def step(self):
        self.t += 1
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                self.m[p] = 0.9 * self.m[p] + 0.1 * p.grad
                self.v[p] = 0.999 * self.v[p] + 0.001 * p.grad**2
                r = self.m[p] / (1 - 0.9**self.t) / ((self.v[p] / (1 - 0.999**self.t)).sqrt() + self.eps)
                r = r + group["weight_decay"] * p.detach()
                norm = p.detach().norm() / r.norm() if p.dim() > 1 else 1.0
                p.data -= group["lr"] * norm * r


def groups_of(model, weight_decay, learns=lambda name: True):
    """Matrices decay; biases, norms and scales do not. `learns` says by name what is trained."""
    named = [(name, p) for name, p in model.named_parameters() if learns(name)]
    decayed, others = ([p for _, p in named if (p.dim() > 1) == matrix] for matrix in (True, False))
    some = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in some if group["params"]]


def adamw(weight_decay, *, lr, betas=(0.9, 0.98), eps=1e-6, learns=lambda name: True):
    """AdamW over the groups of a model."""
    return lambda model: torch.optim.AdamW(groups_of(model, weight_decay, learns), lr=lr, betas=betas, eps=eps)


def warm_cosine(warmup, total):
    """Step → share of the highest rate: a line up, half a cosine down."""
    place = lambda step: (step - warmup) / (total - warmup)  # noqa: E731
    return lambda step: (step + 1) / warmup if step < warmup else (1 + math.cos(math.pi * place(step))) / 2


def warm_line(warmup, total):
    """Step → share of the highest rate: a line up, a line down to 0."""
    return lambda step: (step + 1) / warmup if step < warmup else 1 - (step - warmup) / (total - warmup)


def plain_run(row, records, loss_of, make, factor, *, clip=None, model=None, first=0):
    """Train around a loss; returns losses and the model.

    Args:
        row: of one stage.
        records: to train on.
        loss_of: (model, batch) -> the loss, written out.
        make: model -> its optimiser, over all that is trained.
        factor: step -> share of the highest rate.
        clip: of the gradient's norm.
        model: of the stage before.
        first: epoch, of the whole run.
    """
    model = make_model(row, 0) if model is None else model
    model.train()
    for name in model.parts:
        model.parts[name].train()
    optimiser, losses = make(model), []
    data = make_data(records, model, 0, row=row)
    learnt = [p for group in optimiser.param_groups for p in group["params"]]
    for p in model.parameters():
        p.requires_grad_(any(p is one for one in learnt))
    rates = [group["lr"] for group in optimiser.param_groups]
    for epoch in range(first, first + row.epochs):
        for ids in data.plan(epoch):
            loss = loss_of(model, data.batch(ids, epoch))
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor(len(losses))
            optimiser.zero_grad()
            loss.backward()
            if clip is not None:
                norm = torch.stack([p.grad.norm() for p in learnt if p.grad is not None]).norm()
                for p in learnt:
                    if p.grad is not None:
                        p.grad *= min(1.0, clip / float(norm + 1e-6))
            optimiser.step()
            with torch.no_grad():
                for part in model.parts.values():
                    if hasattr(part, "scale") and hasattr(part.scale, "log"):
                        part.scale.log.clamp_(0, math.log(100))
            losses.append(float(loss.detach()))
    return losses, model


def same_run(row, records, loss_of, make, factor, *, tolerance=2e-5, **more):
    """The trainer's losses and weights are those of the plain run; returns the trainer."""
    trainer = Trainer(row, records, workers=0)
    got = [figures["loss"] for figures in trainer.fit(progress=False)]
    want, model = plain_run(row, records, loss_of, make, factor, **more)
    same(trainer, got, want, model, tolerance)
    return trainer


def same(trainer, got, want, model, tolerance=2e-5, weights=1e-4):
    """Losses and weights are equal, and something was learnt."""
    assert len(got) > 2
    assert got == pytest.approx(want, abs=tolerance)
    state, fresh = model.state_dict(), make_model(trainer.row, 0).state_dict()
    for name, value in trainer.model.state_dict().items():
        if value.dim() > 1:  # the bias of keys has no gradient but rounding, which Adam makes steps of
            assert np.allclose(value.numpy(), state[name].numpy(), atol=weights), name
    assert any(not torch.equal(value, fresh[name]) for name, value in state.items())
