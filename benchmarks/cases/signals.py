"""Convolutions and Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from benchmarks.case import Case
from benchmarks.cases.data import rng


def convolution(np: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    def loss(taps: Any, x: Any, y: Any) -> Any:
        return np.sum((np.convolve(x, taps, "valid") - y) ** 2)

    return loss


def convolution_by_windows(np: Any, size: tuple[int, int]) -> Callable[[Any, Any, Any], Any]:
    """For autograd, whose numpy has no `convolve`."""
    length, taps = size
    windows = numpy.arange(length - taps + 1)[:, None] + numpy.arange(taps)[::-1]

    def loss(taps: Any, x: Any, y: Any) -> Any:
        return np.sum((x[windows] @ taps - y) ** 2)

    return loss


def convolution_layer(np: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    """Filters of 3 x 3 over images, as nine products of slices; a rectifier and a mean after it."""

    def loss(filters: Any, images: Any, y: Any) -> Any:
        height, width = images.shape[1] - 2, images.shape[2] - 2
        total = 0.0
        for i in range(3):
            for j in range(3):
                total = total + images[:, i : i + height, j : j + width, :] @ filters[i, j]
        return np.sum((np.mean(np.maximum(total, 0.0), axis=(1, 2)) - y) ** 2)

    return loss


def deconvolution(np: Any, size: Any) -> Callable[[Any, Any, Any], Any]:
    """A signal from its blurred form, smooth where it can be; `response` is the transform of the blur."""

    def loss(x: Any, response: Any, y: Any) -> Any:
        r = np.real(np.fft.ifft(np.fft.fft(x) * response)) - y
        return np.sum(r**2) + 0.1 * np.sum((x[1:] - x[:-1]) ** 2)

    return loss


def _filtered(size: tuple[int, int]) -> tuple[Any, ...]:
    length, taps = size
    r = rng()
    return r.normal(size=taps), r.normal(size=length), r.normal(size=length - taps + 1)


def _images(size: tuple[int, int, int, int]) -> tuple[Any, ...]:
    count, side, channels, filters = size
    r = rng()
    return 0.3 * r.normal(size=(3, 3, channels, filters)), r.normal(size=(count, side, side, channels)), r.normal(size=(count, filters))


def _layer_flops(size: tuple[int, int, int, int]) -> int:
    """Forward, and for the filters; the images need no gradient."""
    count, side, channels, filters = size
    return 4 * 9 * count * (side - 2) ** 2 * channels * filters


def _blurred(length: int) -> tuple[Any, ...]:
    r = rng()
    blur = numpy.exp(-0.5 * (numpy.minimum(numpy.arange(length), length - numpy.arange(length)) / 2.0) ** 2)
    return r.normal(size=length), numpy.fft.fft(blur / blur.sum()), r.normal(size=length)


CASES = (
    Case(
        "convolution",
        convolution,
        _filtered,
        {"tiny": (9, 3), "S": (500, 9), "M": (200_000, 31)},
        forms={"autograd": convolution_by_windows},
    ),
    Case(
        "convolution_layer",
        convolution_layer,
        _images,
        {"tiny": (2, 5, 2, 3), "S": (4, 12, 3, 8), "M": (32, 32, 8, 16)},
        flops=_layer_flops,
    ),
    Case("deconvolution", deconvolution, _blurred, {"tiny": 8, "S": 512, "M": 262_144}),
)
