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


def diagonal_map_by_hand(size: Any) -> Callable[[Any], Any]:
    def jacobian(x: Any) -> Any:
        count = x.shape[0]
        result = numpy.zeros((count, count))
        for i in range(count):
            result[i, i] = numpy.sin(x[i]) + numpy.cos(x[i]) * x[i]
        return result

    return jacobian


def rosenbrock_hessian_by_hand(size: Any) -> Callable[[Any], Any]:
    def hessian(x: Any) -> Any:
        count = x.shape[0]
        result = numpy.zeros((count, count))
        for i in range(count - 1):
            result[i, i] += 1200.0 * x[i] * x[i] - 400.0 * x[i + 1] + 2.0
            result[i + 1, i + 1] += 200.0
            result[i, i + 1] = result[i + 1, i] = -400.0 * x[i]
        return result

    return hessian


def log_sum_exp(np: Any, size: Any) -> Callable[[Any], Any]:
    def total(x: Any) -> Any:
        return np.log(np.sum(np.exp(x)))

    return total


def log_sum_exp_by_hand(size: Any) -> Callable[[Any], Any]:
    def hessian(x: Any) -> Any:
        count = x.shape[0]
        weights = numpy.empty(count)
        total = 0.0
        for i in range(count):
            weights[i] = numpy.exp(x[i])
            total += weights[i]
        result = numpy.empty((count, count))
        for i in range(count):
            weights[i] /= total
        for i in range(count):
            for j in range(count):
                result[i, j] = -weights[i] * weights[j]
            result[i, i] += weights[i]
        return result

    return hessian


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
    Case(
        "jacobian_diagonal",
        diagonal_map,
        lambda size: (rng().normal(size=size),),
        {"tiny": 4, "S": 100},
        derivative="jacobian",
        numba=diagonal_map_by_hand,
    ),
    Case(
        "hessian_rosenbrock_100",
        _ROSENBROCK.make,
        _ROSENBROCK.inputs,
        _ROSENBROCK.sizes,
        derivative="hessian",
        numba=rosenbrock_hessian_by_hand,
    ),
    Case(
        "hessian_logsumexp_100",
        log_sum_exp,
        lambda size: (rng().normal(size=size),),
        {"tiny": 4, "S": 100},
        derivative="hessian",
        numba=log_sum_exp_by_hand,
    ),
)
