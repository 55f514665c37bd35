"""Correlation of stacks of signals over any number of axes: what every convolution is lowered onto.

``correlate(x, w)[a, b, o] = sum over d, m of x[a, d, o + m] w[b, d, m]`` for x of shape (a, d, *n) and w of shape (b, d, *m), n >= m along
every axis; the result has shape (a, b, *(n - m + 1)). Both cotangents are correlations again, so that derivatives of
every order need no other primitive.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import PURE, primitive
from irgrad.ops.rules import promote, reject

WINDOWS = 1 << 22  # elements of all windows up to which they are laid out for one matrix product


def _correlate_aval(x: Aval, w: Aval) -> Aval:
    if x.ndim != w.ndim or x.ndim < 3 or x.shape[1] != w.shape[1]:
        raise reject("correlate", (x, w), "expected shapes (a, d, *n) and (b, d, *m)")
    if any(n < m for n, m in zip(x.shape[2:], w.shape[2:], strict=True)) or 0 in w.shape[2:]:
        raise reject("correlate", (x, w), "expected extents n >= m >= 1 along every axis")
    lengths = tuple(n - m + 1 for n, m in zip(x.shape[2:], w.shape[2:], strict=True))
    return Aval((x.shape[0], w.shape[0], *lengths), promote((x, w)))


def _correlate(x: Any, w: Any) -> Any:
    extents = w.shape[2:]
    axes = tuple(range(2, x.ndim))
    if len(axes) == 1 and x.shape[0] * x.shape[1] * w.shape[0] <= 4:
        return _by_rows(x, w)
    lengths = tuple(n - m + 1 for n, m in zip(x.shape[2:], extents, strict=True))
    if x.shape[0] * x.shape[1] * math.prod(lengths) * math.prod(extents) <= WINDOWS:
        windows = sliding_window_view(x, extents, axis=axes)  # (a, d, *o, *m)
        summed = (1, *range(x.ndim, x.ndim + len(axes)))
        made = np.tensordot(windows, w, (summed, (1, *axes)))  # (a, *o, b)
        return np.ascontiguousarray(np.moveaxis(made, -1, 1))
    out = np.zeros((x.shape[0], w.shape[0], *lengths), np.result_type(x, w))
    for place in np.ndindex(*extents):
        part = x[(slice(None), slice(None), *(slice(k, k + n) for k, n in zip(place, lengths, strict=True)))]
        out += np.moveaxis(np.tensordot(part, w[(slice(None), slice(None), *place)], ((1,), (1,))), -1, 1)
    return out


def _by_rows(x: Any, w: Any) -> Any:
    """numpy's own correlation of signals, which conjugates its second operand."""
    out = np.zeros((x.shape[0], w.shape[0], x.shape[2] - w.shape[2] + 1), np.result_type(x, w))
    for a in range(x.shape[0]):
        for b in range(w.shape[0]):
            for d in range(x.shape[1]):
                out[a, b] += np.correlate(x[a, d], np.conj(w[b, d]), "valid")
    return out


def _swapped(b: Builder, x: Any) -> Any:
    return b.transpose(x, axes=(1, 0, *range(2, len(b.shape(x)))))


def _flipped(b: Builder, x: Any) -> Any:
    shape = b.shape(x)
    start = (0, 0, *(n - 1 for n in shape[2:]))
    return b.slice(x, start=start, count=shape, step=(1, 1, *(-1,) * (len(shape) - 2)), drop=())


def _correlate_vjp_left(b: Builder, ct: Any, out: Any, x: Any, w: Any) -> Any:
    """The full convolution of the cotangent with the kernel, summed over b."""
    margin = (0, 0, *(m - 1 for m in b.shape(w)[2:]))
    return b.correlate(b.pad(ct, 0.0, low=margin, high=margin), _flipped(b, _swapped(b, w)))


def _correlate_vjp_right(b: Builder, ct: Any, out: Any, x: Any, w: Any) -> Any:
    """The correlation of the signals with the cotangent, summed over a."""
    return _swapped(b, b.correlate(_swapped(b, x), _swapped(b, ct)))


correlate = primitive(
    "correlate",
    evaluate=_correlate,
    aval=_correlate_aval,
    vjp=(_correlate_vjp_left, _correlate_vjp_right),
    jvp=(lambda b, t, out, x, w: b.correlate(t, w), lambda b, t, out, x, w: b.correlate(x, t)),
    traits=PURE,
)
