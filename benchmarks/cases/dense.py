"""Arrays: whether elementwise work is fused, reductions are shared with it, and products go to BLAS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from benchmarks.case import Case


def small_loss(np: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    def loss(w: Any, x: Any, y: Any) -> Any:
        return np.sum((np.tanh(x @ w) - y) ** 2)

    return loss


def logistic_regression(np: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    def loss(w: Any, x: Any, y: Any) -> Any:
        return np.mean(np.log1p(np.exp(-y * (x @ w)))) + 0.001 * np.sum(w**2)

    return loss


def mlp(np: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    """Cross-entropy of a network with one hidden layer; the parameters are a list of pairs."""

    def loss(layers: Any, x: Any, targets: Any) -> Any:
        (w1, b1), (w2, b2) = layers
        scores = np.tanh(x @ w1 + b1) @ w2 + b2
        shifted = scores - np.max(scores, axis=1, keepdims=True)
        return -np.mean(np.sum(targets * (shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))), axis=1))

    return loss


def black_scholes(np: Any, size: Any) -> Callable[[Any, Any, Any, Any], Any]:
    """Value of call options, by spot price and volatility: delta and vega. The normal distribution by its tanh approximation."""

    def normal(z: Any) -> Any:
        return 0.5 * (1.0 + np.tanh(0.7978845608028654 * (z + 0.044715 * z**3)))

    def value(spot: Any, volatility: Any, strike: Any, years: Any) -> Any:
        deviation = volatility * np.sqrt(years)
        d1 = (np.log(spot / strike) + (0.02 + 0.5 * volatility**2) * years) / deviation
        return np.sum(spot * normal(d1) - strike * np.exp(-0.02 * years) * normal(d1 - deviation))

    return value


def black_scholes_by_hand(size: Any) -> Callable[[Any, Any, Any, Any], Any]:
    def gradient(spot: Any, volatility: Any, strike: Any, years: Any) -> Any:
        count = spot.shape[0]
        delta, vega = numpy.empty(count), numpy.empty(count)
        for i in range(count):
            s, v, k, t = spot[i], volatility[i], strike[i], years[i]
            root = numpy.sqrt(t)
            d1 = (numpy.log(s / k) + (0.02 + 0.5 * v * v) * t) / (v * root)
            d2 = d1 - v * root
            t1 = numpy.tanh(0.7978845608028654 * (d1 + 0.044715 * d1 * d1 * d1))
            t2 = numpy.tanh(0.7978845608028654 * (d2 + 0.044715 * d2 * d2 * d2))
            n1 = 0.5 * (1.0 - t1 * t1) * 0.7978845608028654 * (1.0 + 0.134145 * d1 * d1)
            n2 = 0.5 * (1.0 - t2 * t2) * 0.7978845608028654 * (1.0 + 0.134145 * d2 * d2)
            discounted = k * numpy.exp(-0.02 * t)
            by_d1 = s * n1 - discounted * n2
            delta[i] = 0.5 * (1.0 + t1) + by_d1 / (s * v * root)
            vega[i] = by_d1 * (root - d1 / v) + discounted * n2 * root
        return delta, vega

    return gradient


def logsumexp_rows(np: Any, size: Any) -> Callable[[Any], Any]:
    def total(x: Any) -> Any:
        top = np.max(x, axis=1, keepdims=True)
        return np.sum(np.log(np.sum(np.exp(x - top), axis=1)) + top[:, 0])

    return total


def logsumexp_rows_by_hand(size: Any) -> Callable[[Any], Any]:
    def gradient(x: Any) -> Any:
        rows, columns = x.shape
        result = numpy.empty((rows, columns))
        for i in range(rows):
            top = x[i, 0]
            for j in range(1, columns):
                top = max(top, x[i, j])
            total = 0.0
            for j in range(columns):
                e = numpy.exp(x[i, j] - top)
                result[i, j] = e
                total += e
            for j in range(columns):
                result[i, j] /= total
        return result

    return gradient


def softmax_cross_entropy(np: Any, size: Any) -> Callable[[Any, Any], Any]:
    def loss(scores: Any, targets: Any) -> Any:
        shifted = scores - np.max(scores, axis=1, keepdims=True)
        return -np.mean(np.sum(targets * (shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))), axis=1))

    return loss


def softmax_cross_entropy_by_hand(size: Any) -> Callable[[Any, Any], Any]:
    def gradient(scores: Any, targets: Any) -> Any:
        rows, columns = scores.shape
        result = numpy.empty((rows, columns))
        for i in range(rows):
            top = scores[i, 0]
            for j in range(1, columns):
                top = max(top, scores[i, j])
            total = weight = 0.0
            for j in range(columns):
                e = numpy.exp(scores[i, j] - top)
                result[i, j] = e
                total += e
                weight += targets[i, j]
            for j in range(columns):
                result[i, j] = (weight * result[i, j] / total - targets[i, j]) / rows
        return result

    return gradient


def _rng() -> numpy.random.Generator:
    return numpy.random.default_rng(7)


def _regression(size: tuple[int, int]) -> tuple[Any, ...]:
    rng = _rng()
    x = rng.normal(size=size)
    return rng.normal(size=size[1]) / numpy.sqrt(size[1]), x, numpy.where(x[:, 0] + rng.normal(size=size[0]) > 0, 1.0, -1.0)


def _classes(rng: numpy.random.Generator, rows: int, columns: int) -> Any:
    return numpy.eye(columns)[rng.integers(0, columns, rows)]


def _network(size: tuple[int, int, int, int]) -> tuple[Any, ...]:
    batch, features, units, classes = size
    rng = _rng()
    first = rng.normal(size=(features, units)) / numpy.sqrt(features), numpy.zeros(units)
    second = rng.normal(size=(units, classes)) / numpy.sqrt(units), numpy.zeros(classes)
    return [first, second], rng.normal(size=(batch, features)), _classes(rng, batch, classes)


def _options(count: int) -> tuple[Any, ...]:
    rng = _rng()
    return rng.uniform(80, 120, count), rng.uniform(0.1, 0.5, count), rng.uniform(80, 120, count), rng.uniform(0.2, 2.0, count)


def _scores(size: tuple[int, int]) -> tuple[Any, ...]:
    rng = _rng()
    return 3.0 * rng.normal(size=size), _classes(rng, *size)


CASES = (
    Case("small_loss", small_loss, _regression, {"tiny": (7, 3), "S": (64, 16), "M": (20_000, 100)}),
    Case("logistic_regression", logistic_regression, _regression, {"tiny": (9, 3), "S": (200, 10), "M": (10_000, 100)}),
    Case("mlp", mlp, _network, {"tiny": (5, 4, 6, 3), "S": (32, 16, 32, 4), "M": (128, 784, 256, 10)}),
    Case(
        "black_scholes",
        black_scholes,
        _options,
        {"tiny": 6, "S": 100_000, "M": 1_000_000},
        argnum=(0, 1),
        numba=black_scholes_by_hand,
    ),
    Case(
        "logsumexp_rows",
        logsumexp_rows,
        lambda size: _scores(size)[:1],
        {"tiny": (4, 5), "S": (128, 32), "M": (4096, 256)},
        numba=logsumexp_rows_by_hand,
    ),
    Case(
        "softmax_cross_entropy",
        softmax_cross_entropy,
        _scores,
        {"tiny": (4, 5), "S": (128, 32), "M": (4096, 256)},
        numba=softmax_cross_entropy_by_hand,
    ),
)
