"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import panoglot.training
import pytest

pytest.importorskip("torch")

MODULES = [m.name for m in pkgutil.walk_packages(panoglot.training.__path__, "panoglot.train.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    found = [doctest.DocTestFinder().find(importlib.import_module(m)) for m in MODULES]
    assert sum(bool(t.examples) for each in found for t in each) > 20
