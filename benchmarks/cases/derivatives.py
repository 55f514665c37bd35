"""Other derivatives than gradients: products with a Hessian, and Jacobians."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from benchmarks.case import Case
from benchmarks.cases import matmul, scalar
from benchmarks.cases.data import rng


def wide_map(np: Any, size: Any) -> Callable[[Any, Any], Any]:
    def values(x: Any, w: Any) -> Any:
        return np.sin(w @ np.tanh(x))

    return values


def wide_map_by_hand(size: Any) -> Callable[[Any, Any], Any]:
    def jacobian(x: Any, w: Any) -> Any:
        rows, columns = w.shape
        inner, slope = numpy.empty(columns), numpy.empty(columns)
        for j in range(columns):
            inner[j] = numpy.tanh(x[j])
            slope[j] = 1.0 - inner[j] * inner[j]
        result = numpy.empty((rows, columns))
        for i in range(rows):
            total = 0.0
            for j in range(columns):
                total += w[i, j] * inner[j]
            by_total = numpy.cos(total)
            for j in range(columns):
                result[i, j] = by_total * w[i, j] * slope[j]
        return result

    return jacobian


def diagonal_map(np: Any, size: Any) -> Callable[[Any], Any]:
    def values(x: Any) -> Any:
        return np.sin(x) * x

    return values


def _wide(size: tuple[int, int]) -> tuple[Any, ...]:
    r = rng()
    return r.normal(size=size[1]), r.normal(size=size) / numpy.sqrt(size[1])


def _with_direction(inputs: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], tuple[Any, ...]]:
    """The inputs, and a vector like the first of them."""

    def both(size: Any) -> tuple[Any, ...]:
        arguments = inputs(size)
        return *arguments, numpy.cos(numpy.arange(arguments[0].shape[0]))

    return both


_REGRESSION = next(case for case in matmul.CASES if case.name == "logistic_regression")
_ROSENBROCK = next(case for case in scalar.CASES if case.name == "rosenbrock_100")

CASES = (
    Case("hvp_rosenbrock_100", _ROSENBROCK.make, _with_direction(_ROSENBROCK.inputs), _ROSENBROCK.sizes, derivative="hvp"),
    Case("hvp_logistic", _REGRESSION.make, _with_direction(_REGRESSION.inputs), _REGRESSION.sizes, derivative="hvp"),
    Case(
        "jacobian_50_200",
        wide_map,
        _wide,
        {"tiny": (4, 3), "S": (200, 50)},
        derivative="jacobian",
        numba=wide_map_by_hand,
    ),
    Case("jacobian_diagonal", diagonal_map, lambda size: (rng().normal(size=size),), {"tiny": 4, "S": 100}, derivative="jacobian"),
)
