"""Matrix products and what stands between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from benchmarks.case import Case
from benchmarks.cases.data import labels, rng


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


def matrix_factorisation(np: Any, size: Any) -> Callable[[Any, Any, Any, Any], Any]:
    def loss(u: Any, v: Any, ratings: Any, known: Any) -> Any:
        r = known * (u @ v.T - ratings)
        return np.sum(r**2) + 0.1 * (np.sum(u**2) + np.sum(v**2))

    return loss


def attention(np: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    """One head; `weights` are those of queries, keys and values."""

    def loss(weights: Any, x: Any, y: Any) -> Any:
        q, k, v = (x @ w for w in weights)
        scores = q @ k.T / np.sqrt(q.shape[1])
        e = np.exp(scores - np.max(scores, axis=1, keepdims=True))
        return np.mean(((e / np.sum(e, axis=1, keepdims=True)) @ v - y) ** 2)

    return loss


def _regression(size: tuple[int, int]) -> tuple[Any, ...]:
    r = rng()
    x = r.normal(size=size)
    return r.normal(size=size[1]) / numpy.sqrt(size[1]), x, numpy.where(x[:, 0] + r.normal(size=size[0]) > 0, 1.0, -1.0)


def _network(size: tuple[int, int, int, int]) -> tuple[Any, ...]:
    batch, features, units, classes = size
    r = rng()
    first = r.normal(size=(features, units)) / numpy.sqrt(features), numpy.zeros(units)
    second = r.normal(size=(units, classes)) / numpy.sqrt(units), numpy.zeros(classes)
    return [first, second], r.normal(size=(batch, features)), labels(r, batch, classes)


def _network_single(size: tuple[int, int, int, int]) -> tuple[Any, ...]:
    layers, x, targets = _network(size)
    single = numpy.float32
    return [(w.astype(single), b.astype(single)) for w, b in layers], x.astype(single), targets.astype(single)


def _network_flops(size: tuple[int, int, int, int]) -> int:
    """Forward, and for the weights; the first layer's input needs no gradient."""
    batch, features, units, classes = size
    return 4 * batch * features * units + 6 * batch * units * classes


def _ratings(size: tuple[int, int, int]) -> tuple[Any, ...]:
    rows, columns, rank = size
    r = rng()
    shape = (rows, columns)
    return r.normal(size=(rows, rank)), r.normal(size=(columns, rank)), r.normal(size=shape), (r.uniform(size=shape) < 0.3).astype(float)


def _sequence(size: tuple[int, int]) -> tuple[Any, ...]:
    r = rng()
    width = size[1]
    weights = tuple(r.normal(size=(width, width)) / numpy.sqrt(width) for _ in range(3))
    return weights, r.normal(size=size), r.normal(size=size)


NETWORKS = {"tiny": (5, 4, 6, 3), "S": (32, 16, 32, 4), "M": (128, 784, 256, 10)}

CASES = (
    Case("small_loss", small_loss, _regression, {"tiny": (7, 3), "S": (64, 16), "M": (20_000, 100), "L": (100_000, 200)}),
    Case(
        "logistic_regression", logistic_regression, _regression, {"tiny": (9, 3), "S": (200, 10), "M": (10_000, 100), "L": (100_000, 200)}
    ),
    Case("mlp", mlp, _network, NETWORKS, flops=_network_flops),
    Case("mlp_f32", mlp, _network_single, NETWORKS, flops=_network_flops),
    Case(
        "matrix_factorisation",
        matrix_factorisation,
        _ratings,
        {"tiny": (4, 5, 2), "S": (40, 30, 5), "M": (1000, 800, 20)},
        argnum=(0, 1),
        flops=lambda size: 6 * size[0] * size[1] * size[2],
    ),
    Case(
        "attention",
        attention,
        _sequence,
        {"tiny": (5, 3), "S": (32, 16), "M": (512, 64), "L": (2048, 128)},
        flops=lambda size: 12 * size[0] ** 2 * size[1] + 12 * size[0] * size[1] ** 2,
    ),
)
