"""Large elementwise functions and reductions: whether work is fused, and how fast exp and tanh are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from benchmarks.case import Case
from benchmarks.cases.data import labels, rng


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


def tanh_chain(np: Any, size: Any) -> Callable[[Any], Any]:
    def total(x: Any) -> Any:
        for _ in range(5):
            x = np.tanh(1.1 * x + 0.1)
        return np.sum(x)

    return total


def tanh_chain_by_hand(size: Any) -> Callable[[Any], Any]:
    def gradient(x: Any) -> Any:
        result = numpy.empty(x.shape[0])
        for i in range(x.shape[0]):
            value, slope = x[i], 1.0
            for _ in range(5):
                value = numpy.tanh(1.1 * value + 0.1)
                slope *= 1.1 * (1.0 - value * value)
            result[i] = slope
        return result

    return gradient


def huber(np: Any, size: Any) -> Callable[[Any, Any], Any]:
    def loss(x: Any, y: Any) -> Any:
        r = x - y
        return np.mean(np.where(np.abs(r) <= 1.0, 0.5 * r**2, np.abs(r) - 0.5))

    return loss


def huber_by_hand(size: Any) -> Callable[[Any, Any], Any]:
    def gradient(x: Any, y: Any) -> Any:
        count = x.shape[0]
        result = numpy.empty(count)
        for i in range(count):
            result[i] = min(max(x[i] - y[i], -1.0), 1.0) / count
        return result

    return gradient


def phase_fit(np: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    """Squared distance of complex signals; the logarithm of the amplitudes is what is fitted."""

    def loss(z: Any, w: Any, y: Any) -> Any:
        return np.sum(np.abs(np.exp(z) * w - y) ** 2)

    return loss


def layer_norm(np: Any, size: Any) -> Callable[[Any, Any, Any, Any], Any]:
    def loss(x: Any, scale: Any, shift: Any, y: Any) -> Any:
        centred = x - np.mean(x, axis=1, keepdims=True)
        normal = centred / np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + 1e-5)
        return np.sum((normal * scale + shift) * y)

    return loss


def _options(count: int) -> tuple[Any, ...]:
    r = rng()
    return r.uniform(80, 120, count), r.uniform(0.1, 0.5, count), r.uniform(80, 120, count), r.uniform(0.2, 2.0, count)


def _options_single(count: int) -> tuple[Any, ...]:
    return tuple(value.astype(numpy.float32) for value in _options(count))


def _scores(size: tuple[int, int]) -> tuple[Any, ...]:
    r = rng()
    return 3.0 * r.normal(size=size), labels(r, *size)


def _vector(count: int) -> tuple[Any, ...]:
    return (rng().normal(size=count),)


def _two_vectors(count: int) -> tuple[Any, ...]:
    r = rng()
    return 2.0 * r.normal(size=count), r.normal(size=count)


def _signals(count: int) -> tuple[Any, ...]:
    r = rng()
    return tuple(r.normal(size=count) + 1j * r.normal(size=count) for _ in range(3))


def _features(size: tuple[int, int]) -> tuple[Any, ...]:
    r = rng()
    return r.normal(size=size), r.normal(size=size[1]), r.normal(size=size[1]), r.normal(size=size)


LENGTHS = {"tiny": 6, "S": 1000, "M": 1_000_000, "L": 10_000_000}
TABLES = {"tiny": (4, 5), "S": (64, 32), "M": (4096, 256), "L": (32_768, 512)}

CASES = (
    Case("black_scholes", black_scholes, _options, LENGTHS, argnum=(0, 1), numba=black_scholes_by_hand),
    Case("black_scholes_f32", black_scholes, _options_single, LENGTHS, argnum=(0, 1)),
    Case("tanh_chain", tanh_chain, _vector, LENGTHS, numba=tanh_chain_by_hand),
    Case("logsumexp_rows", logsumexp_rows, lambda size: _scores(size)[:1], TABLES, numba=logsumexp_rows_by_hand),
    Case("softmax_cross_entropy", softmax_cross_entropy, _scores, TABLES, numba=softmax_cross_entropy_by_hand),
    Case("layer_norm", layer_norm, _features, TABLES, argnum=(0, 1, 2)),
    Case("huber", huber, _two_vectors, LENGTHS, numba=huber_by_hand),
    Case("phase_fit", phase_fit, _signals, LENGTHS),
)
