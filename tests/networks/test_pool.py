"""Several processes give the loss and the gradients of one."""

from __future__ import annotations

import os
import tempfile

import pytest

torch = pytest.importorskip("torch")

from panoglot.networks import ContrastOptions, contrast, pooled_contrast

OPTIONS = {
    "clip": ContrastOptions(),
    "align": ContrastOptions(reduce="sum", smoothing=0.1),
    "one way": ContrastOptions(reduce="one_way"),
    "siglip": ContrastOptions(form="sigmoid"),
    "hinge": ContrastOptions(form="hinge"),
    "slots": ContrastOptions(negatives="per_slot"),
}


def data():
    g = torch.Generator().manual_seed(0)
    a = torch.nn.functional.normalize(torch.randn(12, 5, generator=g).double(), dim=-1)
    b = torch.nn.functional.normalize(torch.randn(24, 5, generator=g).double(), dim=-1)
    return a, b, torch.arange(24) // 2, torch.arange(24) % 2, torch.tensor([0, 1, 2, 0, 4, 5, 6, 7, 1, 9, 10, 10])


def worker(rank: int, cuts: list[int], store: str, out: str) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=len(cuts) - 1)
    a, b, owner, slot, ids = data()
    rows, columns = slice(cuts[rank], cuts[rank + 1]), slice(2 * cuts[rank], 2 * cuts[rank + 1])
    found = {}
    for name, options in OPTIONS.items():
        x, y = a[rows].clone().requires_grad_(), b[columns].clone().requires_grad_()
        s = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
        bias = -2.0 if options.form == "sigmoid" else 0.0
        term = pooled_contrast(
            x, y, owner[columns] - cuts[rank], options, scale=s, bias=bias, pair_id=ids[rows], slot=slot[columns]
        )
        term.value.backward()
        found[name] = (float(term.value.detach()), x.grad, y.grad, float(s.grad))
    torch.save(found, f"{out}{rank}")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("cuts", [[0, 6, 12], [0, 2, 8, 12]])
def test_many_processes_are_one(cuts):
    with tempfile.TemporaryDirectory() as folder:
        world = len(cuts) - 1
        out, store = os.path.join(folder, "out"), os.path.join(folder, "store")
        torch.multiprocessing.spawn(worker, (cuts, store, out), nprocs=world)
        found = [torch.load(f"{out}{r}") for r in range(world)]
    a, b, owner, slot, ids = data()
    for name, options in OPTIONS.items():
        x, y = a.clone().requires_grad_(), b.clone().requires_grad_()
        s = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
        bias = -2.0 if options.form == "sigmoid" else 0.0
        want = contrast(x, y, owner, options, scale=s, bias=bias, pair_id=ids, slot=slot).value
        want.backward()
        # what DDP does: the mean over the processes; a process's features meet only its own towers
        assert sum(f[name][0] for f in found) / world == pytest.approx(float(want.detach()), abs=1e-12), name
        assert (torch.cat([f[name][1] for f in found]) / world - x.grad).abs().max() < 1e-12, name
        assert (torch.cat([f[name][2] for f in found]) / world - y.grad).abs().max() < 1e-12, name
        assert sum(f[name][3] for f in found) / world == pytest.approx(float(s.grad), abs=1e-12), name


def test_alone_it_is_the_kernel():
    a, b, owner, _, ids = data()
    got = pooled_contrast(a, b, owner, scale=4.0, pair_id=ids)
    assert float(got.value) == float(contrast(a, b, owner, scale=4.0, pair_id=ids).value)
