"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import panoglot.train

pytest.importorskip("torch")

MODULES = [m.name for m in pkgutil.walk_packages(panoglot.train.__path__, "panoglot.train.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples():
    assert sum(doctest.testmod(importlib.import_module(m)).attempted for m in MODULES) > 20
