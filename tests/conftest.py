"""What all tests share: small real pictures made on the spot, and where the optional real data lies."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3 import S3Server

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

STAMPS = Path("/usr/share/tuxpaint/stamps")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `scripts/make_evidence.py` asks for."""
    parser.addoption("--write-evidence", action="store_true", help="write src/panoglot/inventory/evidence.json")


def pytest_configure(config: pytest.Config) -> None:
    """Gather what tests show of papers."""
    from tests.evidence import Evidence

    config.pluginmanager.register(Evidence(config), "evidence")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data files, or a skip."""
    folder = Path(os.environ.get("PANOGLOT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set PANOGLOT_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def stamps() -> Path:
    """The pictures of Debian's tuxpaint-stamps-default, or a skip."""
    if not STAMPS.is_dir():
        pytest.skip("Debian's tuxpaint-stamps-default is not installed")
    return STAMPS


def picture_bytes(seed: int, width: int = 64, height: int = 48, format: str = "JPEG") -> bytes:
    """A small picture, different for every seed: a smooth gradient with a disc."""
    import numpy as np
    import PIL.Image

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.sin(x * rng.uniform(0.02, 0.3) + y * rng.uniform(0.02, 0.3) + rng.uniform(0, 6)) for _ in range(3)]
    pixels = ((np.stack(planes, -1) + 1) * 127).astype(np.uint8)
    cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(4, 16)
    pixels[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.integers(0, 256, 3)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of twelve small pictures."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(12):
        (folder / f"{n:02}.jpg").write_bytes(picture_bytes(n))
    return folder


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    """An S3 server in memory with an empty bucket `bucket`, which the environment names."""
    from panoglot.storage import close_leases

    with S3Server() as server:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "this machine"))
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server
        close_leases()
