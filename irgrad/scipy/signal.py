"""`scipy.signal` for traced code: `convolve`, `correlate` and `fftconvolve`.

`convolve` has scipy's signature and autograd's: ``convolve(in1, in2, mode="full", method="auto")`` and ``convolve(A, B, axes=None,
dot_axes=[(), ()], mode="full")``. The second is meant where `axes` or `dot_axes` is given, by name or as a third argument that is no
string; without them the two agree. Direct sums are compiled; transforms (scipy's choice for long signals, by their shapes) are host
calls of `numpy.fft`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import signal as _signal
from scipy.fft import next_fast_len

import irgrad.numpy as inp
from irgrad.frontend.context import current
from irgrad.frontend.handlers.core import as_array, call, cast, dtype_of, find_in_call, open_trace, run, shape_of, unwrap
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.ops.convolve import with_margin
from irgrad.scipy._wrap import module_names

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


Axes = tuple[int, ...]
MODES = ("full", "same", "valid")

# ---- direct sums over some axes, as one correlation ----


def _mode(mode: Any) -> str:
    if mode not in MODES:
        raise ValueError("acceptable mode flags are 'valid', 'same', or 'full'")
    return str(mode)


def _arranged(x: Any, conv: Axes, dot: Axes) -> tuple[Any, Axes]:
    """`x` as (the other axes, the dot axes, the convolved axes...) with the first two groups flattened; extents of the others."""
    shape = shape_of(x)
    rest = tuple(i for i in range(len(shape)) if i not in conv and i not in dot)
    others = tuple(shape[i] for i in rest)
    made = inp.transpose(x, rest + dot + conv)
    count = int(np.prod([shape[i] for i in dot], dtype=int))
    return inp.reshape(made, (int(np.prod(others, dtype=int)), count, *(shape[i] for i in conv))), others


def _flipped(x: Any) -> Any:
    """`x` reversed along the convolved axes."""
    return x[(slice(None), slice(None), *(slice(None, None, -1),) * (len(shape_of(x)) - 2))]


def _direct(trace: Trace, x: Any, y: Any, axes: Sequence[Axes], dot_axes: Sequence[Axes], mode: str) -> Any:
    """The convolution over pairs of axes, contracted over others: shape (others of x, others of y, convolved)."""
    left, x_others = _arranged(x, axes[0], dot_axes[0])
    right, y_others = _arranged(y, axes[1], dot_axes[1])
    n, m = shape_of(left)[2:], shape_of(right)[2:]
    if 0 in n or 0 in m:
        raise ValueError("convolve: expected signals of at least one entry")
    smaller = all(a <= b for a, b in zip(n, m, strict=True)) and n != m
    if mode == "valid" and not smaller and any(a < b for a, b in zip(n, m, strict=True)):
        raise ValueError("For 'valid' mode, one must be at least as large as the other in every dimension")
    if mode != "same" and smaller:  # the longer operand is the signal
        made = _correlated(trace, right, left, mode)
        made = inp.swapaxes(made, 0, 1)
    else:
        made = _correlated(trace, left, right, mode)
    return inp.reshape(made, (*x_others, *y_others, *shape_of(made)[2:]))


def _correlated(trace: Trace, x: Any, w: Any, mode: str) -> Any:
    lengths, signal = shape_of(w)[2:], shape_of(x)[2:]
    low = high = tuple(m - 1 if mode == "full" else 0 for m in lengths)
    if mode == "same":
        low, high = tuple(m - 1 - (m - 1) // 2 for m in lengths), tuple((m - 1) // 2 for m in lengths)
    if len(lengths) > 1 or signal[0] < lengths[0]:  # scipy multiplies by zeros where numpy does not do it
        x, low, high = inp.pad(x, ((0, 0), (0, 0), *zip(low, high, strict=True))), (), ()
    return call(trace, "correlate", x, _flipped(w), **with_margin(low, high))


def _operands(trace: Trace, in1: Any, in2: Any) -> tuple[Any, Any]:
    """Both as arrays of one dtype."""
    x, y = as_array(trace, in1), as_array(trace, in2)
    dtype = np.result_type(dtype_of(x), dtype_of(y))
    return cast(trace, x, dtype), cast(trace, y, dtype)


def _autograds_convolve(trace: Trace, A: Any, B: Any, axes: Any = None, dot_axes: Any = ((), ()), mode: Any = "full") -> Any:
    if mode not in MODES:
        raise AssertionError(f"Mode {mode} undefined, it can be one of 'valid', 'full', and 'same'")
    x, y = _operands(trace, A, B)
    ndims = len(shape_of(x)), len(shape_of(y))
    if axes is None:
        axes = (range(ndims[0]), range(ndims[0]))
    conv, dot = ([tuple(int(a) % ndim for a in group) for group, ndim in zip(pair, ndims, strict=True)] for pair in (axes, dot_axes))
    if len(conv[0]) != len(conv[1]) or len(dot[0]) != len(dot[1]):
        raise ValueError(f"convolve: axes {axes} and dot_axes {dot_axes} do not pair up")
    return _direct(trace, x, y, conv, dot, mode)


def _scipys_convolve(trace: Trace, in1: Any, in2: Any, mode: Any = "full", method: str = "auto") -> Any:
    x, y = _operands(trace, in1, in2)
    if len(shape_of(x)) == len(shape_of(y)) == 0:
        return inp.multiply(x, y)
    if len(shape_of(x)) != len(shape_of(y)):
        raise ValueError("volume and kernel should have the same dimensionality")
    mode = _mode(mode)
    if method == "auto":
        method = "direct" if dtype_of(x).kind in "biu" else _signal.choose_conv_method(unwrap(x), unwrap(y), mode)
    if method == "fft":
        made = _fftconvolve(trace, x, y, mode)
        return cast(trace, inp.rint(made), dtype_of(x)) if dtype_of(x).kind in "biu" else made
    if method != "direct":
        raise ValueError("Acceptable method flags are 'auto', 'direct', or 'fft'.")
    axes = tuple(range(len(shape_of(x))))
    return _direct(trace, x, y, (axes, axes), ((), ()), mode)


# ---- by transforms ----


def _fftconvolve(trace: Trace, in1: Any, in2: Any, mode: Any = "full", axes: Any = None) -> Any:
    """Arrays of equally many axes, float32 to complex128; by `numpy.fft`, so a host call. Differentiable by both operands."""
    x, y = _operands(trace, in1, in2)
    first, second = shape_of(x), shape_of(y)
    if len(first) == len(second) == 0:
        return inp.multiply(x, y)
    if len(first) != len(second):
        raise ValueError("in1 and in2 should have the same dimensionality")
    mode = _mode(mode)
    given = range(len(first)) if axes is None else np.atleast_1d(axes)
    chosen = sorted({int(a) % len(first) for a in given})
    if any(n != m and 1 not in (n, m) for i, (n, m) in enumerate(zip(first, second, strict=True)) if i not in chosen):
        raise ValueError(f"incompatible shapes for in1 and in2: {first} and {second}")
    if mode == "valid" and any(first[a] < second[a] for a in chosen):
        if any(first[a] > second[a] for a in chosen):
            raise ValueError("For 'valid' mode, one must be at least as large as the other in every dimension")
        x, y, first, second = y, x, second, first
    moving = [a for a in chosen if first[a] != 1 and second[a] != 1]
    full = {a: first[a] + second[a] - 1 for a in moving}
    if not moving:
        made = inp.multiply(x, y)
    else:
        real = dtype_of(x).kind != "c"
        sizes = [next_fast_len(full[a], real) for a in moving]
        ahead, back = (inp.fft.rfftn, inp.fft.irfftn) if real else (inp.fft.fftn, inp.fft.ifftn)
        made = back(ahead(x, sizes, moving) * ahead(y, sizes, moving), sizes, moving)
        made = made[tuple(slice(0, full[i]) if i in full else slice(None) for i in range(len(first)))]
    wanted = list(shape_of(made))
    for a in chosen:
        wanted[a] = {"full": wanted[a], "same": first[a], "valid": first[a] - second[a] + 1}[mode]
    if mode == "same":
        wanted = [first[a] for a in range(len(first))]
    starts = [(have - want) // 2 for have, want in zip(shape_of(made), wanted, strict=True)]
    return made[tuple(slice(s, s + n) for s, n in zip(starts, wanted, strict=True))]


def _correlate(trace: Trace, in1: Any, in2: Any, mode: Any = "full", method: str = "auto") -> Any:
    """Arrays of equally many axes: the convolution with the conjugate of the reversed second one."""
    x, y = as_array(trace, in1), as_array(trace, in2)
    if len(shape_of(x)) != len(shape_of(y)):
        raise ValueError("in1 and in2 should have the same dimensionality")
    turned = inp.conj(y[(slice(None, None, -1),) * len(shape_of(y))]) if shape_of(y) else inp.conj(y)
    return _scipys_convolve(trace, x, turned, mode, method)


globals().update(module_names(_signal, fftconvolve=_fftconvolve, correlate=_correlate))

# ---- the entry of two signatures ----


def convolve(*args: Any, **kwargs: Any) -> Any:
    """Convolution with scipy's signature or autograd's; see the module."""
    names_axes = "axes" in kwargs or "dot_axes" in kwargs or (len(args) > 2 and not isinstance(args[2], str))
    trace = None if current() is None or find_in_call(args, kwargs) is None else open_trace(args, kwargs)
    if names_axes:
        if trace is not None:
            return run(trace, "signal.convolve", _autograds_convolve, args, kwargs)
        return _plain(args, kwargs)
    kwargs = {{"A": "in1", "B": "in2"}.get(key, key): value for key, value in kwargs.items()}
    if trace is None:
        return _signal.convolve(*args, **kwargs)
    return run(trace, "signal.convolve", _scipys_convolve, args, kwargs)


def _plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """autograd's convolution of plain arrays, which scipy does not have."""
    trace = EagerTrace()
    try:
        made = _autograds_convolve(trace, *args, **kwargs)
        return unwrap(made)
    finally:
        trace.close()
