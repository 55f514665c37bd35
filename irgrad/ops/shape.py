"""Shape: the same elements in another arrangement. All are linear; reshape, transpose and broadcast_to are views."""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.errors import TraceError
from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import LINEAR, PURE, VIEW, primitive
from irgrad.ops.rules import Axes, Shape, axis_slice, pass_on, promote, reject


def _reshape_aval(x: Aval, *, shape: Shape) -> Aval:
    made = Aval(shape, x.dtype)
    if made.size != x.size or min(shape, default=0) < 0:
        raise reject("reshape", (x,), f"cannot reshape {x.size} elements into {shape}; expected a full shape of that size")
    return made


reshape = primitive(
    "reshape",
    evaluate=lambda x, *, shape: np.asarray(x).reshape(shape),
    aval=_reshape_aval,
    vjp=(lambda b, ct, out, x, *, shape: b.reshape(ct, shape=b.shape(x)),),
    jvp=(lambda b, t, out, x, *, shape: b.reshape(t, shape=shape),),
    traits=VIEW | LINEAR | PURE,
)


def _transpose_aval(x: Aval, *, axes: Axes) -> Aval:
    if sorted(axes) != list(range(x.ndim)):
        raise reject("transpose", (x,), f"axes {axes} are no permutation of {tuple(range(x.ndim))}")
    return Aval(tuple(x.shape[i] for i in axes), x.dtype)


def _inverse(axes: Axes) -> Axes:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


transpose = primitive(
    "transpose",
    evaluate=lambda x, *, axes: np.asarray(x).transpose(axes),
    aval=_transpose_aval,
    vjp=(lambda b, ct, out, x, *, axes: b.transpose(ct, axes=_inverse(axes)),),
    jvp=(lambda b, t, out, x, *, axes: b.transpose(t, axes=axes),),
    traits=VIEW | LINEAR | PURE,
)


def _broadcasts(shape: Shape, to: Shape) -> bool:
    """Whether `shape` broadcasts to exactly `to`."""
    if len(shape) > len(to):
        return False
    return all(n in (1, m) for n, m in zip(reversed(shape), reversed(to), strict=False))


def _broadcast_to(x: Any, *, shape: Shape) -> Any:
    x = np.asarray(x)
    if not (x.flags.c_contiguous and x.size and _broadcasts(x.shape, shape)):
        return np.broadcast_to(x, shape)
    lead = len(shape) - x.ndim  # the constructor builds this view in half the time of np.broadcast_to
    strides = (0,) * lead + tuple(0 if n == 1 else s for n, s in zip(x.shape, x.strides, strict=True))
    view = np.ndarray(shape, x.dtype, x, 0, strides)
    view.flags.writeable = False
    return view


def _broadcast_to_aval(x: Aval, *, shape: Shape) -> Aval:
    if not _broadcasts(x.shape, shape):
        raise reject("broadcast_to", (x,), f"shape {x.shape} does not broadcast to {shape}; expected extents that are equal or 1")
    return Aval(shape, x.dtype)


broadcast_to = primitive(
    "broadcast_to",
    evaluate=_broadcast_to,
    aval=_broadcast_to_aval,
    vjp=(pass_on,),
    jvp=(lambda b, t, out, x, *, shape: b.broadcast_to(t, shape=shape),),
    traits=VIEW | LINEAR | PURE,
)


def _concatenate_aval(*xs: Aval, axis: int) -> Aval:
    if not xs:
        raise reject("concatenate", xs, "expected at least one operand")
    first = xs[0].shape
    if not 0 <= axis < len(first):
        raise reject("concatenate", xs, f"axis {axis} out of range; expected 0 <= axis < {len(first)}")
    if any((*x.shape[:axis], *x.shape[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]) or x.ndim != len(first) for x in xs):
        raise reject("concatenate", xs, f"expected equal shapes except along axis {axis}")
    total = sum(x.shape[axis] for x in xs)
    return Aval((*first[:axis], total, *first[axis + 1 :]), promote(xs))


def _concatenate_vjp(b: Builder, index: int, ct: Any, out: Any, *xs: Any, axis: int) -> Any:
    start = sum(b.shape(x)[axis] for x in xs[:index])
    return axis_slice(b, ct, axis, start, b.shape(xs[index])[axis])


def _concatenate_jvp(b: Builder, tangents: tuple[Any, ...], out: Any, *xs: Any, axis: int) -> Any:
    return b.concatenate(*(b.zeros_like(x) if t is None else t for t, x in zip(tangents, xs, strict=True)), axis=axis)


concatenate = primitive(
    "concatenate",
    evaluate=lambda *xs, axis: np.concatenate(xs, axis=axis),
    aval=_concatenate_aval,
    vjp=_concatenate_vjp,
    jvp=_concatenate_jvp,
    traits=LINEAR | PURE,
)


def _pad(x: Any, value: Any, *, low: Axes, high: Axes) -> Any:
    x = np.asarray(x)
    out = np.empty(_padded(x.shape, low, high), x.dtype)
    out[...] = value
    out[tuple(slice(at, at + n) for at, n in zip(low, x.shape, strict=True))] = x
    return out


def _padded(shape: Shape, low: Axes, high: Axes) -> Shape:
    return tuple(before + n + after for before, n, after in zip(low, shape, high, strict=True))


def _pad_aval(x: Aval, value: Aval, *, low: Axes, high: Axes) -> Aval:
    if value.shape:
        raise reject("pad", (x, value), "expected a scalar value")
    if not len(low) == len(high) == x.ndim or min((*low, *high), default=0) < 0:
        raise reject("pad", (x, value), f"widths {low} and {high}; expected {x.ndim} non-negative widths on each side")
    if value.dtype.kind == "c" and x.dtype.kind != "c":
        raise reject("pad", (x, value), "expected a value that the array can hold", TraceError)
    return Aval(_padded(x.shape, low, high), x.dtype)


def _interior(b: Builder, x: Any, low: Axes) -> dict[str, Axes]:
    shape = b.shape(x)
    return {"start": low, "count": shape, "step": (1,) * len(shape), "drop": ()}


def _pad_vjp_value(b: Builder, ct: Any, out: Any, x: Any, value: Any, *, low: Axes, high: Axes) -> Any:
    frame = b.slice_update(ct, 0.0, **_interior(b, x, low))
    return b.reduce_sum(frame, axes=tuple(range(len(low))))


def _pad_jvp(b: Builder, tangents: tuple[Any, Any], out: Any, x: Any, value: Any, *, low: Axes, high: Axes) -> Any:
    tx, tv = tangents
    return b.pad(b.zeros_like(x) if tx is None else tx, 0.0 if tv is None else tv, low=low, high=high)


pad = primitive(
    "pad",
    evaluate=_pad,
    aval=_pad_aval,
    vjp=(lambda b, ct, out, x, value, *, low, high: b.slice(ct, **_interior(b, x, low)), _pad_vjp_value),
    jvp=_pad_jvp,
    traits=LINEAR | PURE,
)
