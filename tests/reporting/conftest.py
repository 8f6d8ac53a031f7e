from __future__ import annotations

from pathlib import Path

import pytest

from panoglot.reporting import report
from panoglot.table import Dataset
from tests.browser import Browser, find_browser
from tests.reporting.library import hostile_dataset, stamp_dataset


@pytest.fixture(scope="session")
def browser() -> Browser:
    return find_browser()


@pytest.fixture(scope="session")
def stamp_data(stamps: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return stamp_dataset(stamps, tmp_path_factory.mktemp("report") / "stamps.pano", 90)


@pytest.fixture(scope="session")
def stamp_page(stamp_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(stamp_data, output=tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="session")
def hostile_data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return hostile_dataset(tmp_path_factory.mktemp("hostile") / "hostile.pano")


@pytest.fixture(scope="session")
def hostile_page(hostile_data: Dataset) -> Path:
    return report(hostile_data)
