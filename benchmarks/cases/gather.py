"""Indexing by data: gathers, whose derivative scatters, and scatters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from benchmarks.case import Case
from benchmarks.cases.data import rng


def embedding(np: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    """Means of the rows that belong to the words of each sentence."""

    def loss(table: Any, words: Any, y: Any) -> Any:
        return np.mean((np.mean(table[words], axis=1) - y) ** 2)

    return loss


def sparse_product(np: Any, size: Any) -> Callable[[Any, Any, Any, Any], Any]:
    """A matrix with so many elements in each row, by value and column, times a vector."""

    def loss(x: Any, values: Any, columns: Any, y: Any) -> Any:
        return np.sum((np.sum(values * x[columns], axis=1) - y) ** 2)

    return loss


def segment_sums(np: Any, size: tuple[int, int]) -> Callable[..., Any]:
    """Squares of the sums of the elements of each segment."""
    count = size[1]

    def loss(x: Any, segment: Any, members: Any, kept: Any) -> Any:
        total = np.zeros(count)
        np.add.at(total, segment, np.sin(x))
        return np.sum(total**2)

    return loss


def segment_sums_by_members(np: Any, size: Any) -> Callable[..., Any]:
    """For those without item assignment: the members of each segment, filled up to the largest."""

    def loss(x: Any, segment: Any, members: Any, kept: Any) -> Any:
        return np.sum(np.sum(np.where(kept, np.sin(x)[members], 0.0), axis=1) ** 2)

    return loss


def segment_sums_lax(jax: Any, size: tuple[int, int]) -> Callable[..., Any]:
    def loss(x: Any, segment: Any, members: Any, kept: Any) -> Any:
        return jax.numpy.sum(jax.ops.segment_sum(jax.numpy.sin(x), segment, num_segments=size[1]) ** 2)

    return jax.grad(loss)  # type: ignore[no-any-return]


def segment_sums_by_hand(size: tuple[int, int]) -> Callable[..., Any]:
    segments = size[1]

    def gradient(x: Any, segment: Any, members: Any, kept: Any) -> Any:
        total = numpy.zeros(segments)
        for i in range(x.shape[0]):
            total[segment[i]] += numpy.sin(x[i])
        result = numpy.empty(x.shape[0])
        for i in range(x.shape[0]):
            result[i] = 2.0 * total[segment[i]] * numpy.cos(x[i])
        return result

    return gradient


def k_means(np: Any, size: Any) -> Callable[[Any, Any], Any]:
    """Sum of the squared distances of points to the nearest centre."""

    def loss(centres: Any, points: Any) -> Any:
        return np.sum(np.min(np.sum((points[:, None, :] - centres[None, :, :]) ** 2, axis=2), axis=1))

    return loss


def k_means_by_hand(size: Any) -> Callable[[Any, Any], Any]:
    def gradient(centres: Any, points: Any) -> Any:
        count, width = centres.shape
        result = numpy.zeros((count, width))
        for i in range(points.shape[0]):
            nearest, least = 0, numpy.inf
            for j in range(count):
                square = 0.0
                for k in range(width):
                    square += (points[i, k] - centres[j, k]) ** 2
                if square < least:
                    nearest, least = j, square
            for k in range(width):
                result[nearest, k] += 2.0 * (centres[nearest, k] - points[i, k])
        return result

    return gradient


def _sentences(size: tuple[int, int, int, int]) -> tuple[Any, ...]:
    words, width, sentences, length = size
    r = rng()
    return r.normal(size=(words, width)), r.integers(0, words, (sentences, length)), r.normal(size=(sentences, width))


def _sparse(size: tuple[int, int]) -> tuple[Any, ...]:
    rows, each = size
    r = rng()
    return r.normal(size=rows), r.normal(size=(rows, each)), r.integers(0, rows, (rows, each)), r.normal(size=rows)


def _segments(size: tuple[int, int]) -> tuple[Any, ...]:
    """Values, their segments, and by segment the positions of its members and which of them are real."""
    length, count = size
    r = rng()
    segment = r.integers(0, count, length)
    order = numpy.argsort(segment, kind="stable")
    sizes = numpy.bincount(segment, minlength=count)
    kept = numpy.arange(sizes.max()) < sizes[:, None]
    members = numpy.zeros(kept.shape, numpy.int64)
    members[kept] = order
    return r.normal(size=length), segment, members, kept


def _points(size: tuple[int, int, int]) -> tuple[Any, ...]:
    count, centres, width = size
    r = rng()
    return r.normal(size=(centres, width)), r.normal(size=(count, width))


CASES = (
    Case("embedding", embedding, _sentences, {"tiny": (7, 3, 4, 5), "S": (200, 16, 32, 8), "M": (20_000, 64, 512, 32)}),
    Case("sparse_product", sparse_product, _sparse, {"tiny": (6, 2), "S": (500, 5), "M": (200_000, 8)}),
    Case(
        "segment_sums",
        segment_sums,
        _segments,
        {"tiny": (9, 3), "S": (2000, 50), "M": (1_000_000, 5000), "L": (10_000_000, 50_000)},
        forms=dict.fromkeys(("autograd", "jax", "torch"), segment_sums_by_members),
        numba=segment_sums_by_hand,
        lax=segment_sums_lax,
    ),
    Case("k_means", k_means, _points, {"tiny": (8, 3, 2), "S": (300, 5, 3), "M": (50_000, 10, 8)}, numba=k_means_by_hand),
)
