"""`numpy.fft` as slices, pads, conjugates and the primitives of `irgrad.ops.fft`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.handlers.contraction import conj
from irgrad.frontend.handlers.core import (
    PUBLIC,
    as_array,
    axis_index,
    call,
    dtype_of,
    handles,
    refuse,
    shape_of,
    take_slice,
)
from irgrad.frontend.installed import give
from irgrad.frontend.trace import Trace
from irgrad.ops.fft import SWAPPED

# ---- arguments ----


def _norm(norm: Any) -> str:
    """A valid norm. Raises ValueError with numpy's words."""
    name = "backward" if norm is None else norm
    if name not in SWAPPED:
        raise ValueError(f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".')
    return str(name)


def _points(x: Any, n: Any, axis: int) -> int:
    count = shape_of(x)[axis] if n is None else operator.index(n)
    if count < 1:
        raise ValueError(f"Invalid number of FFT data points ({count}) specified.")
    return count


def _fitted(trace: Trace, x: Any, axis: int, n: int) -> Any:
    """`x` with `n` entries along an axis: cropped, or padded with zeros at the end."""
    have, ndim = shape_of(x)[axis], len(shape_of(x))
    if n <= have:
        return take_slice(trace, x, axis, 0, n)
    high = tuple(n - have if i == axis else 0 for i in range(ndim))
    return call(trace, "pad", x, 0.0, low=(0,) * ndim, high=high)


def _axes_and_shape(x: Any, s: Any, axes: Any, is_inverse_real: bool) -> tuple[list[int], list[int]]:
    """The axes to transform and their numbers of points, as numpy reads `s` and `axes`."""
    shape = shape_of(x)
    if axes is not None:
        axes = [operator.index(axis) for axis in axes]
    sizes = [shape[axis_index(axis, len(shape))] for axis in (range(len(shape)) if axes is None else axes)] if s is None else list(s)
    if axes is None:
        if s is not None:
            give("`axes` should not be `None` if `s` is not `None` (Deprecated in NumPy 2.0).")
        axes = list(range(-len(sizes), 0))
    if len(sizes) != len(axes):
        raise ValueError("Shape and axes have different lengths.")
    axes = [axis_index(axis, len(shape)) for axis in axes]
    if is_inverse_real and s is None:
        sizes[-1] = (shape[axes[-1]] - 1) * 2
    if None in sizes:
        give("Passing an array containing `None` values to `s` is deprecated in NumPy 2.0.")
        sizes = [shape[axis] if n is None else n for n, axis in zip(sizes, axes, strict=True)]
    return axes, [shape[axis] if n == -1 else operator.index(n) for n, axis in zip(sizes, axes, strict=True)]


# ---- the three kinds, along axes ----


def _complex(trace: Trace, x: Any, axes: Sequence[int], sizes: Sequence[int], norm: str, inverse: bool) -> Any:
    """Complex transforms, the last axis first: distinct axes in one operation."""
    if not axes:
        return x
    if len(set(axes)) < len(axes):
        for axis, n in zip(reversed(axes), reversed(sizes), strict=True):
            x = _complex(trace, x, [axis], [n], norm, inverse)
        return x
    for axis, n in zip(axes, sizes, strict=True):
        x = _fitted(trace, x, axis, _points(x, n, axis))
    return call(trace, "fft", x, axes=tuple(sorted(axes)), inverse=inverse, norm=norm)


def _real(trace: Trace, x: Any, axis: int, n: int, norm: str) -> Any:
    if dtype_of(x).kind == "c":
        raise TypeError("ufunc 'rfft' did not contain a loop with signature matching types: expected a real input array")
    return call(trace, "rfft", _fitted(trace, x, axis, n), axis=axis, norm=norm)


def _inverse_real(trace: Trace, x: Any, axis: int, n: int, norm: str) -> Any:
    return call(trace, "irfft", _fitted(trace, x, axis, n // 2 + 1), axis=axis, n=n, norm=norm)


# ---- along one axis ----


def _along(f: Callable[..., Any], transform: Callable[[Trace, Any, Any, int, str], Any]) -> None:
    """Register a transform of numpy's signature ``f(a, n, axis, norm, out)``."""

    @handles(f)
    def handler(trace: Trace, a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
        refuse(f"fft.{f.__name__}", out=out)
        x = as_array(trace, a)
        return transform(trace, x, n, axis_index(axis, len(shape_of(x))), _norm(norm))


_along(np.fft.fft, lambda trace, x, n, axis, norm: _complex(trace, x, [axis], [_points(x, n, axis)], norm, False))
_along(np.fft.ifft, lambda trace, x, n, axis, norm: _complex(trace, x, [axis], [_points(x, n, axis)], norm, True))
_along(np.fft.rfft, lambda trace, x, n, axis, norm: _real(trace, x, axis, _points(x, n, axis), norm))
_along(np.fft.ihfft, lambda trace, x, n, axis, norm: conj(trace, _real(trace, x, axis, _points(x, n, axis), SWAPPED[norm])))


def _mirrored(x: Any, n: Any, axis: int) -> int:
    """Points of a signal whose half spectrum `x` is."""
    return _points(x, (shape_of(x)[axis] - 1) * 2 if n is None else n, axis)


_along(np.fft.irfft, lambda trace, x, n, axis, norm: _inverse_real(trace, x, axis, _mirrored(x, n, axis), norm))
_along(np.fft.hfft, lambda trace, x, n, axis, norm: _inverse_real(trace, conj(trace, x), axis, _mirrored(x, n, axis), SWAPPED[norm]))

# ---- along several axes ----


def _over(f: Callable[..., Any], default: Any, transform: Callable[[Trace, Any, Any, Any, str], Any]) -> None:
    """Register a transform of numpy's signature ``f(a, s, axes, norm, out)``."""

    @handles(f)
    def handler(trace: Trace, a: Any, s: Any = None, axes: Any = default, norm: Any = None, out: Any = None) -> Any:
        refuse(f"fft.{f.__name__}", out=out)
        return transform(trace, as_array(trace, a), s, axes, _norm(norm))


def _complex_over(inverse: bool) -> Callable[[Trace, Any, Any, Any, str], Any]:
    return lambda trace, x, s, axes, norm: _complex(trace, x, *_axes_and_shape(x, s, axes, False), norm, inverse)


def _real_over(trace: Trace, x: Any, s: Any, axes: Any, norm: str) -> Any:
    where, sizes = _axes_and_shape(x, s, axes, False)
    made = _real(trace, x, where[-1], _points(x, sizes[-1], where[-1]), norm)
    return _complex(trace, made, where[:-1], sizes[:-1], norm, False)


def _inverse_real_over(trace: Trace, x: Any, s: Any, axes: Any, norm: str) -> Any:
    """numpy transforms the first axis first here, which matters where an axis is repeated."""
    where, sizes = _axes_and_shape(x, s, axes, True)
    made = _complex(trace, x, where[-2::-1], sizes[-2::-1], norm, True)
    return _inverse_real(trace, made, where[-1], _points(made, sizes[-1], where[-1]), norm)


for _suffix, _default in (("n", None), ("2", (-2, -1))):
    _over(getattr(np.fft, f"fft{_suffix}"), _default, _complex_over(False))
    _over(getattr(np.fft, f"ifft{_suffix}"), _default, _complex_over(True))
    _over(getattr(np.fft, f"rfft{_suffix}"), _default, _real_over)
    _over(getattr(np.fft, f"irfft{_suffix}"), _default, _inverse_real_over)

# ---- shifts and frequencies ----


def _shifted(x: Any, axes: Any, sign: int) -> Any:
    shape = shape_of(x)
    if axes is None:
        axes = tuple(range(len(shape)))
    if not isinstance(axes, (tuple, list)):
        return PUBLIC[np.roll](x, sign * (shape[axes] // 2), axes)
    return PUBLIC[np.roll](x, tuple(sign * (shape[axis] // 2) for axis in axes), tuple(axes))


@handles(np.fft.fftshift)
def fftshift(trace: Trace, x: Any, axes: Any = None) -> Any:
    return _shifted(as_array(trace, x), axes, 1)


@handles(np.fft.ifftshift)
def ifftshift(trace: Trace, x: Any, axes: Any = None) -> Any:
    return _shifted(as_array(trace, x), axes, -1)


def _frequencies(f: Callable[..., Any]) -> None:
    @handles(f)
    def handler(trace: Trace, n: Any, d: Any = 1.0, device: Any = None) -> Any:
        count = operator.index(n)
        whole = np.rint(f(count) * count)  # 0, 1, ..., -1
        return PUBLIC[np.multiply](whole, PUBLIC[np.divide](1.0, PUBLIC[np.multiply](count, d)))


_frequencies(np.fft.fftfreq)
_frequencies(np.fft.rfftfreq)
