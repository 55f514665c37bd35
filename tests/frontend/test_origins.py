"""Values that reach a trace where names are not substituted are read again at each call."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import irgrad

LIBRARY = """
import numpy as np

W = np.ones(3)
RATE = 2.0
COUNT = 2


class Settings:
    rate = 3.0
    weights = np.ones(3)
    count = 1


class Slotted:
    __slots__ = ("b", "w")

    def __init__(self):
        self.w = np.ones(3)
        self.b = 1.5

    def output(self, x):
        return np.sum(x * self.w) * self.b


def from_globals(x):
    return np.sum(x * W) * RATE + COUNT


def from_a_class(x):
    return np.sum(x * Settings.weights) * Settings.rate * Settings.count


def from_containers(x, layers=[np.ones(3), 2.0]):
    return np.sum(x * layers[0]) * layers[1]
"""
X = np.arange(3.0)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module of an installed package."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "installed_library.py").write_text(LIBRARY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module("installed_library")
    del sys.modules["installed_library"]


def follows(f: Callable[[Any], Any], *changes: Callable[[], Any]) -> None:
    """A compiled `f` sees each change."""
    jitted = irgrad.jit(f)
    for _ in range(3):
        jitted(X)
    for change in changes:
        before = f(X)
        change()
        assert f(X) != before
        for _ in range(3):
            assert jitted(X) == pytest.approx(f(X))
    assert not jitted.impure


def test_globals_of_a_library(library: ModuleType) -> None:
    follows(
        library.from_globals,
        lambda: setattr(library, "W", np.full(3, 2.0)),
        lambda: library.W.__setitem__(1, 5.0),
        lambda: setattr(library, "RATE", 5.0),
        lambda: setattr(library, "COUNT", 7),
    )


def test_class_attributes_of_a_library(library: ModuleType) -> None:
    settings = library.Settings
    follows(
        library.from_a_class,
        lambda: setattr(settings, "rate", 7.0),
        lambda: setattr(settings, "weights", np.full(3, 4.0)),
        lambda: setattr(settings, "count", 5),
    )


class Config:
    rate = 2.0
    weights = np.ones(3)
    count = 2


def test_class_attributes() -> None:
    follows(
        lambda x: np.sum(x * Config.weights) * Config.rate * Config.count,
        lambda: setattr(Config, "rate", 7.0),
        lambda: setattr(Config, "weights", np.full(3, 4.0)),
        lambda: setattr(Config, "count", 5),
    )


@pytest.mark.parametrize("bound", [True, False])
def test_slots(library: ModuleType, bound: bool) -> None:
    model = library.Slotted()
    follows(
        model.output if bound else lambda x: model.output(x),
        lambda: setattr(model, "w", np.full(3, 4.0)),
        lambda: setattr(model, "b", 9.0),
        lambda: setattr(model, "b", 0.5),
    )


class Holder:
    def __init__(self) -> None:
        self.w = np.ones(3)
        self.n = 2


def test_objects_as_arguments() -> None:
    jitted = irgrad.jit(lambda holder, x: np.sum(x * holder.w) ** holder.n)
    first, second = Holder(), Holder()
    for _ in range(3):
        assert jitted(first, X) == 9.0
    first.w = np.full(3, 2.0)
    assert jitted(first, X) == 36.0
    first.n = 1
    assert jitted(first, X) == 6.0
    assert jitted(second, X) == 9.0
