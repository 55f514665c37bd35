"""Shape: reshape, transposes, new and dropped axes, broadcasting; and what asks about shapes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.errors import NotCompiledError
from irgrad.frontend.handlers.core import (
    Shape,
    alias,
    as_array,
    axis_index,
    axis_tuple,
    broadcast,
    call,
    form_of,
    fresh,
    handles,
    handles_method,
    inspects,
    reshape,
    run,
    shape_of,
    shape_tuple,
    transpose,
)
from irgrad.frontend.handlers.decided import DECISIONS, Decisions
from irgrad.frontend.storage import follow, is_view, laid_out, memory_order
from irgrad.frontend.trace import Trace, here
from irgrad.frontend.tracer import ATTRIBUTES, Tracer

inspects(
    np.shape, np.ndim, np.size, np.result_type, np.iscomplexobj, np.isrealobj, np.isscalar, np.min_scalar_type, np.common_type, np.can_cast,
    np.iterable, np.may_share_memory, np.shares_memory, np.broadcast_shapes, np.isfortran, np.typename, np.array2string, np.array_repr,
    np.array_str, np.format_float_positional, np.format_float_scientific,
)  # fmt: skip


def flattened(trace: Trace, x: Any) -> Any:
    """All entries of an operand along one axis."""
    return reshape(trace, x, (size_of(shape_of(x)),))


def along(trace: Trace, x: Any, axis: Any) -> tuple[Any, Any]:
    """An operand and the axis that a function works along: for None all entries, along one."""
    return (flattened(trace, x), 0) if axis is None else (x, axis)


def size_of(shape: Sequence[int]) -> int:
    """Number of elements."""
    n = 1
    for extent in shape:
        n *= extent
    return n


def full_shape(size: int, shape: Any) -> Shape:
    """A shape argument with -1 replaced.

    Raises ValueError where `size` elements do not fit.
    """
    wanted = shape_tuple(shape)
    unknown = [i for i, n in enumerate(wanted) if n < 0]
    if len(unknown) > 1:
        raise ValueError("can only specify one unknown dimension")
    known = size_of(tuple(n for n in wanted if n >= 0))
    if unknown:
        if known == 0 or size % known:
            raise ValueError(f"cannot reshape array of size {size} into shape {wanted}")
        return tuple(size // known if n < 0 else n for n in wanted)
    if known != size:
        raise ValueError(f"cannot reshape array of size {size} into shape {wanted}")
    return wanted


def _reshaped(trace: Trace, x: Any, shape: Any, order: str = "C") -> Any:
    x = as_array(trace, x)
    have = shape_of(x)
    wanted = full_shape(size_of(have), shape)
    if order in ("A", "K") and len(have) > 1:
        axes = _by_memory(trace, x, order)
        if axes != tuple(range(len(have))):
            if order == "A":
                order = "F"
            else:
                x = transpose(trace, x, axes)
    if order == "F":
        flat = reshape(trace, transpose(trace, x, range(len(have))[::-1]), wanted[::-1])
        return transpose(trace, flat, range(len(wanted))[::-1])
    if order not in ("C", "A", "K"):
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})")
    return _new(x, reshape(trace, x, wanted))


def _by_memory(trace: Trace, x: Any, order: str) -> tuple[int, ...]:
    """The axes from the largest stride to the smallest (`order` K), or in C's or Fortran's order (A)."""
    seen = laid_out(trace, x)[0] if type(x) is Tracer else x
    axes = tuple(range(seen.ndim))
    if order == "K":
        return memory_order(seen.strides)
    if not seen.flags.f_contiguous or seen.flags.c_contiguous:
        return axes
    if type(x) is Tracer and trace.is_graph:
        root = follow(trace, x)[0]
        if (root.op is None or root.op.name == "mark") and not root.value.flags.f_contiguous:
            # a program reads arrays in C's order or copies of strided ones, and of these numpy would read a transposed view by rows
            raise NotCompiledError(
                f"order='A' of a transposed view of an argument depends on how its caller made it ({here()}); write order='C' or 'F'"
            )
    return axes[::-1]


def _new(x: Any, made: Any) -> Any:
    """`made` as another object than `x`."""
    return alias(made) if made is x else made


@handles(np.reshape)
def reshape_(trace: Trace, a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Any:
    shape = newshape if shape is None else shape
    if shape is None:
        raise TypeError("reshape() missing 1 required positional argument: 'shape'")
    return _reshaped(trace, a, shape, order)


@handles_method("reshape")
def reshape_method(trace: Trace, x: Any, *shape: Any, order: str = "C", copy: Any = None) -> Any:
    return _reshaped(trace, x, shape[0] if len(shape) == 1 else shape, order)


@handles(np.ravel, method="ravel")
def ravel(trace: Trace, a: Any, order: str = "C") -> Any:
    made = _reshaped(trace, a, (-1,), order)
    if type(made) is Tracer and type(a) is Tracer and isinstance(a.form, np.ndarray) and is_view(trace, made):
        flags = laid_out(trace, a)[0].flags
        if not (flags.f_contiguous if order == "F" else flags.c_contiguous or (flags.f_contiguous and order != "C")):
            return fresh(trace, made)  # other than reshape, ravel copies what is not in a row
    return made


@handles_method("flatten")
def flatten(trace: Trace, x: Any, order: str = "C") -> Any:
    return fresh(trace, _reshaped(trace, x, (-1,), order))


def _transposed(trace: Trace, x: Any, axes: Any) -> Any:
    if axes is None and isinstance(form_of(x), np.generic):
        return alias(x)
    x = as_array(trace, x)
    ndim = len(shape_of(x))
    if axes is None:
        return _new(x, transpose(trace, x, range(ndim)[::-1]))
    order = axis_tuple(tuple(axes) if isinstance(axes, (list, tuple, np.ndarray)) else (axes,), ndim)
    if len(order) != ndim:
        raise ValueError("axes don't match array")
    return _new(x, transpose(trace, x, order))


@handles(np.transpose, np.permute_dims)
def transpose_(trace: Trace, a: Any, axes: Any = None) -> Any:
    return _transposed(trace, a, axes)


@handles_method("transpose")
def transpose_method(trace: Trace, x: Any, *axes: Any) -> Any:
    return _transposed(
        trace, x, None if not axes else axes[0] if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (list, tuple))) else axes
    )


@handles(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(trace: Trace, x: Any, /) -> Any:
    x = as_array(trace, x)
    if len(shape_of(x)) < 2:
        raise ValueError("Input array must be at least 2-dimensional")
    return swapaxes(trace, x, -1, -2)


def _attribute(name: str, impl: Callable[..., Any]) -> None:
    DECISIONS[impl] = Decisions()
    ATTRIBUTES[name] = lambda x: run(x._trace, name, impl, (x,), {})


_attribute("T", lambda trace, x: _transposed(trace, x, None) if isinstance(x.form, np.ndarray) else alias(x))
_attribute("mT", matrix_transpose)


@handles(np.swapaxes, method="swapaxes")
def swapaxes(trace: Trace, a: Any, axis1: Any, axis2: Any) -> Any:
    x = as_array(trace, a)
    order = list(range(len(shape_of(x))))
    i, j = axis_index(axis1, len(order)), axis_index(axis2, len(order))
    order[i], order[j] = order[j], order[i]
    return _new(x, transpose(trace, x, order))


@handles(np.moveaxis)
def moveaxis(trace: Trace, a: Any, source: Any, destination: Any) -> Any:
    x = as_array(trace, a)
    ndim = len(shape_of(x))
    sources, places = axis_tuple(source, ndim), axis_tuple(destination, ndim)
    if len(sources) != len(places):
        raise ValueError("`source` and `destination` arguments must have the same number of elements")
    order = [i for i in range(ndim) if i not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return _new(x, transpose(trace, x, order))


@handles(np.rollaxis)
def rollaxis(trace: Trace, a: Any, axis: Any, start: Any = 0) -> Any:
    x = as_array(trace, a)
    ndim = len(shape_of(x))
    at = axis_index(axis, ndim)
    to = operator.index(start)
    if not -ndim <= to <= ndim:
        raise np.exceptions.AxisError(f"'start' arg requires {-ndim} <= start < {ndim + 1}, but {to} was passed in")
    to = to + ndim if to < 0 else to
    to = to - 1 if at < to else to
    order = [i for i in range(ndim) if i != at]
    order.insert(to, at)
    return _new(x, transpose(trace, x, order))


@handles(np.expand_dims)
def expand_dims(trace: Trace, a: Any, axis: Any) -> Any:
    x = as_array(trace, a)
    shape = list(shape_of(x))
    axes = axis if isinstance(axis, (list, tuple)) else (axis,)
    for i in sorted(axis_tuple(tuple(axes), len(shape) + len(axes))):
        shape.insert(i, 1)
    return _new(x, reshape(trace, x, tuple(shape)))


@handles(np.squeeze, method="squeeze")
def squeeze(trace: Trace, a: Any, axis: Any = None) -> Any:
    x = a if isinstance(form_of(a), np.generic) else as_array(trace, a)
    shape = shape_of(x)
    axes = tuple(i for i, n in enumerate(shape) if n == 1) if axis is None else axis_tuple(axis, len(shape))
    if any(shape[i] != 1 for i in axes):
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return _new(x, call(trace, "reshape", x, shape=tuple(n for i, n in enumerate(shape) if i not in axes)) if axes else x)


# ---- broadcasting ----


@handles(np.broadcast_to)
def broadcast_to(trace: Trace, array: Any, shape: Any, subok: bool = False) -> Any:
    x = as_array(trace, array)
    return _new(x, broadcast(trace, x, shape_tuple(shape)))


@handles(np.broadcast_arrays)
def broadcast_arrays(trace: Trace, *args: Any, subok: bool = False) -> tuple[Any, ...]:
    xs = [as_array(trace, a) for a in args]
    shape = np.broadcast_shapes(*[shape_of(x) for x in xs])
    return tuple([_new(x, broadcast(trace, x, shape)) for x in xs])


def _at_least(function: Callable[..., Any], grow: Callable[[Shape], Shape]) -> None:
    @handles(function)
    def at_least(trace: Trace, *arys: Any) -> Any:
        made = [reshape(trace, x, grow(shape_of(x))) for x in (as_array(trace, a) for a in arys)]
        return made[0] if len(made) == 1 else tuple(made)


def at_least_2d(shape: Shape) -> Shape:
    """`shape` with leading axes up to two."""
    return shape if len(shape) >= 2 else (1,) * (2 - len(shape)) + shape


def at_least_3d(shape: Shape) -> Shape:
    """`shape` with numpy's extra axes up to three."""
    return shape if len(shape) >= 3 else (*shape, 1) if len(shape) == 2 else (1, *shape, 1) if shape else (1, 1, 1)


_at_least(np.atleast_1d, lambda shape: shape or (1,))
_at_least(np.atleast_2d, at_least_2d)
_at_least(np.atleast_3d, at_least_3d)
