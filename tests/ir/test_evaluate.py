from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irgrad.errors import RuntimeGuardError
from irgrad.ir.evaluate import evaluate
from irgrad.ir.parser import parse

LOSS = """
graph loss(x: f64[2,3], w: f64[3]) -> (f64[3], f64[3], float, f64[2,3])
  %0: f64[2,3] = t_mul %x %w
  %1: f64[3]   = t_sum[axis=0] %0
  %2: f64[3]   = t_mul %1 const(f64[3], [1.0, 2.0, 3.0])
return %1, %2, 2.5:float, %x
"""


def test_values_are_those_of_numpy() -> None:
    x, w = np.arange(6.0).reshape(2, 3), np.array([1.0, -1.0, 2.0])
    s, scaled, number, same = evaluate(parse(LOSS), x, w)
    np.testing.assert_array_equal(s, (x * w).sum(0))
    np.testing.assert_array_equal(scaled, (x * w).sum(0) * [1, 2, 3])
    assert number == 2.5
    assert same is x


def test_wrong_number_of_inputs() -> None:
    with pytest.raises(TypeError, match="graph loss takes 2 inputs, got 1"):
        evaluate(parse(LOSS), np.ones(3))


@pytest.mark.parametrize(
    ("guard", "good", "bad"),
    [
        ("is True", np.bool_(True), np.bool_(False)),
        ("is False", 0.0, 1.0),
        ("is 3", np.int32(3), 4),
        ("is 0.0", 0.0, -0.0),
        ("is nan", np.float64("nan"), 1.0),
        ("is const(f64[2], [1.0, 2.0])", np.array([1.0, 2.0]), np.array([1.0, 2.5])),
        ("is const(f64[2], [1.0, 1.0])", np.ones(2), np.ones(3)),
    ],
)
def test_guards(guard: str, good: Any, bad: Any) -> None:
    graph = parse(f"graph f(x: f64) -> (f64)\n  t_guard %x {guard}  # model.py:4  if x:\nreturn %x")
    evaluate(graph, good)
    with pytest.raises(RuntimeGuardError, match=r"guard failed: the trace holds for .*, got .* \(model.py:4\)"):
        evaluate(graph, bad)
