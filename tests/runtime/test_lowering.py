"""What is kept of templates once they are rows: no graphs, and of functions that are gone a bounded number."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.ir.graph import Graph, Node
from irgrad.runtime import lowering


def num_nodes() -> int:
    gc.collect()
    return sum(type(each) in (Node, Graph) for each in gc.get_objects())


def test_graphs_are_gone_once_they_are_rows() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.cos(x) * np.log1p(x * x + 0.4375))

    before = num_nodes()
    compiled = irgrad.jit(irgrad.grad(f))
    compiled(np.linspace(0.0, 1.0, 7))
    compiled(np.linspace(0.0, 1.0, 7))
    assert compiled.stats().kernels == 1
    assert num_nodes() <= before


def test_templates_of_functions_that_are_gone_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowering, "MANY", 3)
    monkeypatch.setattr(lowering, "_lowered", {})
    x = np.linspace(0.1, 0.9, 5)

    def power(k: int) -> Any:
        return lambda x: np.sum(x ** (k + 2.0) * np.sin(x) if k % 2 else np.cos(x) ** (k + 2.0))

    kept = [irgrad.jit(power(k)) for k in range(6)]
    for compiled in kept:
        compiled(x)
        compiled(x)
        assert 0 < len(lowering._lowered) <= 3
    for k, compiled in enumerate(kept):
        np.testing.assert_allclose(compiled(x), power(k)(x), rtol=1e-14)
        assert compiled.stats().traces == 1
