"""Discrete Fourier transforms: complex over distinct axes, real to half-complex and back along one axis.

All other transforms of `numpy.fft` are these with slices, pads and conjugates. The matrix of a transform is symmetric, so the
adjoint of `fft` is the same `fft` (a cotangent of z = x + iy means du/dx - i du/dy: nothing is conjugated); a half-complex
spectrum counts every entry twice but the first and, for even lengths, the last. Compiled programs call numpy's own loops
(`irgrad.ops.fft_loops`); where these are not as expected, the transforms are host calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from irgrad.errors import TraceError
from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import LINEAR, PURE, primitive
from irgrad.ops.rules import Axes, check_axes, reject

SWAPPED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


@cache
def complex_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a spectrum."""
    return np.result_type(dtype, 1j)


@cache
def signal_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a real signal."""
    return np.result_type(np.empty(0, dtype).real.dtype, 1.0)


def _check(op: str, x: Aval, axes: Axes, norm: str) -> None:
    check_axes(op, x, axes)
    if norm not in SWAPPED:
        raise reject(op, (x,), f"norm is {norm!r}; expected 'backward', 'ortho' or 'forward'")
    if any(x.shape[axis] == 0 for axis in axes):
        raise reject(op, (x,), f"an axis among {axes} is empty; expected extents of at least 1")


# ---- complex to complex ----


@cache
def _loops() -> tuple[Any, Any] | None:
    """The ufuncs behind `np.fft.fft` and `ifft`, which take a third of their time at 512 points; None where they are not as expected."""
    try:
        module = import_module("numpy.fft._pocketfft_umath")
        probe = np.array([1.0 + 2.0j, -0.5j, 3.0, 0.25])
        axes = [(0,), (), (0,)]
        forward = module.fft(probe, 1, axes=axes, out=np.empty(4, complex))
        inverse = module.ifft(probe, np.float64(0.25), axes=axes, out=np.empty(4, complex))
        if np.array_equal(forward, np.fft.fft(probe)) and np.array_equal(inverse, np.fft.ifft(probe)):
            return module.fft, module.ifft
    except (ImportError, AttributeError, TypeError, ValueError):
        pass
    return None


@lru_cache(maxsize=256)
def _factor(n: int, inverse: bool, norm: str, dtype: np.dtype[Any]) -> Any:
    """What a transform of `n` points is multiplied by."""
    if norm == "ortho":
        return np.reciprocal(np.sqrt(n, dtype=dtype))
    return np.reciprocal(n, dtype=dtype) if (norm == "backward") == inverse else 1


def transform(op: str, points: int, params: Mapping[str, Any]) -> tuple[str, Any]:
    """The loop of numpy's that a primitive runs along an axis of a signal of `points`, and the function of a dtype that gives its factor.

    The factor is the plain number 1, or a number of that dtype.
    """
    inverse = op == "irfft" or params.get("inverse", False)
    name = ("ifft" if inverse else "fft") if op == "fft" else op if op == "irfft" else f"rfft_n_{'odd' if points % 2 else 'even'}"
    return name, lambda dtype: _factor(points, inverse, params["norm"], dtype)


def _fft(x: Any, *, axes: Axes, inverse: bool, norm: Any) -> Any:
    loops = _loops()
    if loops is None or len(axes) > 1 or x.dtype.char not in "dDfF":
        return (np.fft.ifftn if inverse else np.fft.fftn)(x, axes=axes, norm=norm)
    dtype = complex_dtype(x.dtype)
    factor = _factor(x.shape[axes[0]], inverse, norm, signal_dtype(x.dtype))
    place = (axes[0],)
    return loops[inverse](x, factor, axes=[place, (), place], out=np.empty(x.shape, dtype))


def _fft_aval(x: Aval, *, axes: Axes, inverse: bool, norm: str) -> Aval:
    _check("fft", x, axes, norm)
    return Aval(x.shape, complex_dtype(x.dtype))


fft = primitive(
    "fft",
    evaluate=_fft,
    aval=_fft_aval,
    vjp=(lambda b, ct, out, x, **params: b.fft(ct, **params),),
    jvp=(lambda b, t, out, x, **params: b.fft(t, **params),),
    traits=LINEAR | PURE,
)

# ---- real to half-complex and back ----


@lru_cache(maxsize=256)
def _weights(n: int, inner: float, shape: tuple[int, ...], dtype: str) -> Any:
    """1 for the entries of the half spectrum of `n` points that are their own mirror images, `inner` for the others."""
    made = np.full(n // 2 + 1, inner, dtype)
    made[0] = 1.0
    if n % 2 == 0:
        made[-1] = 1.0
    return made.reshape(shape)


def _weighted(b: Builder, spectrum: Any, n: int, inner: float, axis: int) -> Any:
    ndim = len(b.shape(spectrum))
    shape = tuple(n // 2 + 1 if i == axis else 1 for i in range(ndim))
    return b.mul(spectrum, _weights(n, inner, shape, signal_dtype(b.dtype(spectrum)).name))


def _rfft_aval(x: Aval, *, axis: int, norm: str) -> Aval:
    _check("rfft", x, (axis,), norm)
    if x.dtype.kind == "c":
        raise reject("rfft", (x,), "expected a real operand", TraceError)
    return Aval((*x.shape[:axis], x.shape[axis] // 2 + 1, *x.shape[axis + 1 :]), complex_dtype(x.dtype))


def _rfft_vjp(b: Builder, ct: Any, out: Any, x: Any, *, axis: int, norm: str) -> Any:
    """Re sum_k ct_k w**(jk)."""
    n = b.shape(x)[axis]
    return b.irfft(_weighted(b, b.conj(ct), n, 0.5, axis), axis=axis, n=n, norm=SWAPPED[norm])


rfft = primitive(
    "rfft",
    evaluate=lambda x, *, axis, norm: np.fft.rfft(x, axis=axis, norm=norm),
    aval=_rfft_aval,
    vjp=(_rfft_vjp,),
    jvp=(lambda b, t, out, x, **params: b.rfft(t, **params),),
    traits=LINEAR | PURE,
)


def _irfft_aval(x: Aval, *, axis: int, n: int, norm: str) -> Aval:
    _check("irfft", x, (axis,), norm)
    if n < 1 or x.shape[axis] != n // 2 + 1:
        raise reject("irfft", (x,), f"{x.shape[axis]} entries along axis {axis}; {n} points have {max(n, 0) // 2 + 1}")
    return Aval((*x.shape[:axis], n, *x.shape[axis + 1 :]), signal_dtype(x.dtype))


def _irfft_vjp(b: Builder, ct: Any, out: Any, x: Any, *, axis: int, n: int, norm: str) -> Any:
    return _weighted(b, b.conj(b.rfft(ct, axis=axis, norm=SWAPPED[norm])), n, 2.0, axis)


irfft = primitive(
    "irfft",
    evaluate=lambda x, *, axis, n, norm: np.fft.irfft(x, n, axis, norm),
    aval=_irfft_aval,
    vjp=(_irfft_vjp,),
    jvp=(lambda b, t, out, x, **params: b.irfft(t, **params),),
    traits=LINEAR | PURE,
)
