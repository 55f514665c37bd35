"""Correlation of stacks of signals over any number of axes: what every convolution is lowered onto.

``correlate(x, w)[a, b, o] = sum over d, m of x[a, d, o + m - low] w[b, d, m]`` for x of shape (a, d, *n) and w of shape (b, d, *m); the
result has shape (a, b, *(n + low + high - m + 1)). Without params low and high are 0, and n >= m along every axis. A margin (`low` in
front of the signal, `high` behind it) stands for entries that are not multiplied, so that an infinity of w meets no zero there;
it is shorter than w, and w no longer than the signal with either one. Both cotangents are correlations of this kind again, so that
derivatives of every order need no other primitive.
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


Margin = tuple[int, ...]


def with_margin(low: Margin, high: Margin) -> dict[str, Margin]:
    """The params of a correlation."""
    return {"low": low, "high": high} if any(low) or any(high) else {}


def margins(low: Margin, high: Margin, count: int) -> tuple[Margin, Margin]:
    """Those of `count` axes."""
    return low or (0,) * count, high or (0,) * count


def _correlate_aval(x: Aval, w: Aval, low: Margin = (), high: Margin = ()) -> Aval:
    if x.ndim != w.ndim or x.ndim < 3 or x.shape[1] != w.shape[1]:
        raise reject("correlate", (x, w), "expected shapes (a, d, *n) and (b, d, *m)")
    low, high = margins(low, high, x.ndim - 2)
    if len(low) != x.ndim - 2 or len(high) != x.ndim - 2:
        raise reject("correlate", (x, w), f"expected margins of {x.ndim - 2} axes")
    axes = list(zip(x.shape[2:], w.shape[2:], low, high, strict=True))
    if any(n + min(a, b) < m for n, m, a, b in axes) or 0 in w.shape[2:]:
        raise reject("correlate", (x, w), "expected extents n >= m >= 1 along every axis, n with either margin")
    if any(not (0 <= a < m and 0 <= b < m) for _, m, a, b in axes):
        raise reject("correlate", (x, w), "expected margins from 0 to m - 1")
    return Aval((x.shape[0], w.shape[0], *(n + a + b - m + 1 for n, m, a, b in axes)), promote((x, w)))


def _correlate(x: Any, w: Any, low: Margin = (), high: Margin = ()) -> Any:
    extents = w.shape[2:]
    axes = tuple(range(2, x.ndim))
    before, behind = margins(low, high, len(axes))
    lengths = tuple(n + a + b - m + 1 for n, m, a, b in zip(x.shape[2:], extents, before, behind, strict=True))
    if low and np.isfinite(w).all():
        x, before = np.pad(x, ((0, 0), (0, 0), *zip(before, behind, strict=True))), (0,) * len(axes)
        low = ()
    if not low and len(axes) == 1 and x.shape[0] * x.shape[1] * w.shape[0] <= 4:
        return _by_rows(x, w)
    if x.shape[0] * x.shape[1] * math.prod(lengths) * math.prod(extents) <= WINDOWS and not low:
        windows = sliding_window_view(x, extents, axis=axes)  # (a, d, *o, *m)
        summed = (1, *range(x.ndim, x.ndim + len(axes)))
        made = np.tensordot(windows, w, (summed, (1, *axes)))  # (a, *o, b)
        return np.ascontiguousarray(np.moveaxis(made, -1, 1))
    out = np.zeros((x.shape[0], w.shape[0], *lengths), np.result_type(x, w))
    every = (slice(None), slice(None))
    if lengths[-1] < extents[-1] and len(axes) == 1:
        for i in range(lengths[0]):
            first, last = max(before[0] - i, 0), min(extents[0], x.shape[2] + before[0] - i)
            part = x[:, :, first + i - before[0] : last + i - before[0]]
            out[:, :, i] = np.tensordot(part, w[:, :, first:last], ((1, 2), (1, 2)))
        return out
    for place in np.ndindex(*extents):
        here = [(max(a - k, 0), min(c, n + a - k)) for k, a, c, n in zip(place, before, lengths, x.shape[2:], strict=True)]
        part = x[(*every, *(slice(i + k - a, j + k - a) for (i, j), k, a in zip(here, place, before, strict=True)))]
        made = np.tensordot(part, w[(*every, *place)], ((1,), (1,)))
        out[(*every, *(slice(i, j) for i, j in here))] += np.moveaxis(made, -1, 1)
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


def _correlate_vjp_left(b: Builder, ct: Any, out: Any, x: Any, w: Any, low: Margin = (), high: Margin = ()) -> Any:
    """The convolution of the cotangent with the kernel, summed over b, with the margins that these leave."""
    lengths = b.shape(w)[2:]
    before, behind = (tuple(m - 1 - a for m, a in zip(lengths, given, strict=True)) for given in margins(low, high, len(lengths)))
    return b.correlate(ct, _flipped(b, _swapped(b, w)), **with_margin(before, behind))


def _correlate_vjp_right(b: Builder, ct: Any, out: Any, x: Any, w: Any, low: Margin = (), high: Margin = ()) -> Any:
    """The correlation of the signals with the cotangent, summed over a."""
    return _swapped(b, b.correlate(_swapped(b, x), _swapped(b, ct), **with_margin(low, high)))


correlate = primitive(
    "correlate",
    evaluate=_correlate,
    aval=_correlate_aval,
    vjp=(_correlate_vjp_left, _correlate_vjp_right),
    jvp=(
        lambda b, t, out, x, w, **params: b.correlate(t, w, **params),
        lambda b, t, out, x, w, **params: b.correlate(x, t, **params),
    ),
    traits=PURE,
)
