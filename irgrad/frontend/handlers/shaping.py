"""Shape: reshape and its kin, joining, splitting, repeating, padding, flipping, diagonals."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    NO_VALUE,
    Shape,
    alias,
    apply,
    as_array,
    axis_index,
    axis_tuple,
    broadcast,
    call,
    cast,
    dtype_of,
    handles,
    handles_method,
    inspects,
    join,
    operand,
    refuse,
    reshape,
    run,
    shape_of,
    shape_tuple,
    take_slice,
    transpose,
    unsupported,
    unwrap,
)
from irgrad.frontend.handlers.creation import band
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import ATTRIBUTES, Tracer

inspects(
    np.shape, np.ndim, np.size, np.result_type, np.iscomplexobj, np.isrealobj, np.isscalar, np.min_scalar_type, np.common_type, np.can_cast,
    np.iterable, np.may_share_memory, np.shares_memory, np.broadcast_shapes, np.isfortran, np.typename,
)  # fmt: skip


def _count(shape: Shape) -> int:
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
    known = _count(tuple(n for n in wanted if n >= 0))
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
    wanted = full_shape(_count(have), shape)
    if order == "F":
        flat = reshape(trace, transpose(trace, x, range(len(have))[::-1]), wanted[::-1])
        return transpose(trace, flat, range(len(wanted))[::-1])
    if order not in ("C", "A", "K"):
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})")
    return _new(x, reshape(trace, x, wanted))


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
    return _reshaped(trace, a, (-1,), order)


handles_method("flatten")(ravel)


def _transposed(trace: Trace, x: Any, axes: Any) -> Any:
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
    return _transposed(trace, x, None if not axes else axes[0] if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (list, tuple))) else axes)


@handles(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(trace: Trace, x: Any, /) -> Any:
    x = as_array(trace, x)
    if len(shape_of(x)) < 2:
        raise ValueError("Input array must be at least 2-dimensional")
    return swapaxes(trace, x, -1, -2)


def _attribute(name: str, impl: Callable[..., Any]) -> None:
    ATTRIBUTES[name] = lambda x: run(x.trace, name, impl, (x,), {})


_attribute("T", lambda trace, x: _transposed(trace, x, None) if isinstance(x.value, np.ndarray) else alias(x))
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
    x = a if isinstance(unwrap(a), np.generic) else as_array(trace, a)
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


def _shape_2d(shape: Shape) -> Shape:
    return shape if len(shape) >= 2 else (1,) * (2 - len(shape)) + shape


def _shape_3d(shape: Shape) -> Shape:
    return shape if len(shape) >= 3 else (*shape, 1) if len(shape) == 2 else (1, *shape, 1) if shape else (1, 1, 1)


_at_least(np.atleast_1d, lambda shape: shape or (1,))
_at_least(np.atleast_2d, _shape_2d)
_at_least(np.atleast_3d, _shape_3d)

# ---- joining ----


def _parts(trace: Trace, arrays: Any, dtype: Any = None) -> list[Any]:
    """The arrays of a sequence (or along the first axis of an array), in their common dtype."""
    if type(arrays) is Tracer or isinstance(arrays, np.ndarray):
        arrays = [arrays[i] for i in range(len(arrays))]
    xs = [as_array(trace, a) for a in arrays]
    if not xs:
        raise ValueError("need at least one array to concatenate")
    target = np.dtype(dtype) if dtype is not None else np.result_type(*[dtype_of(x) for x in xs])
    return [cast(trace, x, target) for x in xs]


def _joined(trace: Trace, xs: list[Any], axis: Any) -> Any:
    if axis is None:
        xs = [reshape(trace, x, (_count(shape_of(x)),)) for x in xs]
        return alias(join(trace, xs, 0))
    if not all(shape_of(x) for x in xs):
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    return alias(join(trace, xs, axis_index(axis, len(shape_of(xs[0])))))


@handles(np.concatenate)
def concatenate(trace: Trace, arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    refuse("concatenate", out=out)
    return _joined(trace, _parts(trace, arrays, dtype), axis)


@handles(np.stack)
def stack(trace: Trace, arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    refuse("stack", out=out)
    xs = _parts(trace, arrays, dtype)
    shape = shape_of(xs[0])
    if any(shape_of(x) != shape for x in xs):
        raise ValueError("all input arrays must have the same shape")
    at = axis_index(axis, len(shape) + 1)
    grown = (*shape[:at], 1, *shape[at:])
    return join(trace, [reshape(trace, x, grown) for x in xs], at)


def _stacker(function: Callable[..., Any], grow: Callable[[Shape], Shape], axis: Callable[[Shape], int]) -> None:
    @handles(function)
    def stacked(trace: Trace, tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
        xs = [reshape(trace, x, grow(shape_of(x))) for x in _parts(trace, tup, dtype)]
        return _joined(trace, xs, axis(shape_of(xs[0])))


_stacker(np.vstack, _shape_2d, lambda shape: 0)
_stacker(np.hstack, lambda shape: shape or (1,), lambda shape: 0 if len(shape) == 1 else 1)
_stacker(np.dstack, _shape_3d, lambda shape: 2)


@handles(np.column_stack)
def column_stack(trace: Trace, tup: Any) -> Any:
    xs = _parts(trace, tup)
    return _joined(trace, [x if len(shape_of(x)) >= 2 else reshape(trace, x, (_count(shape_of(x)), 1)) for x in xs], 1)


@handles(np.append)
def append(trace: Trace, arr: Any, values: Any, axis: Any = None) -> Any:
    return _joined(trace, _parts(trace, [arr, values]), axis)


@handles(np.block)
def block(trace: Trace, arrays: Any) -> Any:
    depth = _list_depth(arrays)
    ndim = max(depth, _leaf_ndim(arrays))
    return _assemble(trace, arrays, depth, ndim)


def _list_depth(item: Any) -> int:
    return 1 + max((_list_depth(i) for i in item), default=0) if isinstance(item, list) else 0


def _leaf_ndim(item: Any) -> int:
    return max((_leaf_ndim(i) for i in item), default=0) if isinstance(item, list) else np.ndim(unwrap(item))


def _assemble(trace: Trace, item: Any, depth: int, ndim: int) -> Any:
    if not isinstance(item, list):
        x = as_array(trace, item)
        return reshape(trace, x, (1,) * (ndim - len(shape_of(x))) + shape_of(x))
    parts = [_assemble(trace, i, depth - 1, ndim) for i in item]
    return _joined(trace, _parts(trace, parts), -depth)


# ---- splitting ----


def split_at(trace: Trace, x: Any, cuts: Sequence[int], axis: int) -> list[Any]:
    """Pieces between the cuts, which follow the rules of slices."""
    n = shape_of(x)[axis]
    edges = [slice(a, b).indices(n) for a, b in zip((None, *cuts), (*cuts, None), strict=True)]
    return [alias(take_slice(trace, x, axis, start, max(stop - start, 0))) for start, stop, _ in edges]


def _split(trace: Trace, ary: Any, sections: Any, axis: Any, even: bool) -> list[Any]:
    x = as_array(trace, ary)
    at = axis_index(axis, len(shape_of(x)))
    n = shape_of(x)[at]
    if isinstance(sections, (list, tuple, np.ndarray)) and np.ndim(unwrap(sections)) == 1:
        return split_at(trace, x, [operator.index(i) for i in sections], at)
    parts = operator.index(sections)
    if parts <= 0:
        raise ValueError("number sections must be larger than 0.")
    if even and n % parts:
        raise ValueError("array split does not result in an equal division")
    small, extra = divmod(n, parts)
    sizes = [small + 1] * extra + [small] * (parts - extra)
    return split_at(trace, x, [sum(sizes[:i]) for i in range(1, parts)], at)


@handles(np.split)
def split(trace: Trace, ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    return _split(trace, ary, indices_or_sections, axis, True)


@handles(np.array_split)
def array_split(trace: Trace, ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    return _split(trace, ary, indices_or_sections, axis, False)


def _splitter(function: Callable[..., Any], axis: int, least: int) -> None:
    @handles(function)
    def split_along(trace: Trace, ary: Any, indices_or_sections: Any) -> list[Any]:
        ndim = np.ndim(unwrap(ary))
        if ndim < least:
            raise ValueError(f"{function.__name__} only works on arrays of {least} or more dimensions")
        return _split(trace, ary, indices_or_sections, 0 if axis == 1 and ndim == 1 else axis, True)


_splitter(np.vsplit, 0, 2)
_splitter(np.hsplit, 1, 1)
_splitter(np.dsplit, 2, 3)


@handles(np.unstack)
def unstack(trace: Trace, x: Any, /, *, axis: Any = 0) -> tuple[Any, ...]:
    x = as_array(trace, x)
    at = axis_index(axis, len(shape_of(x)))
    return tuple([take_slice(trace, x, at, i, 1, drop=True) for i in range(shape_of(x)[at])])


# ---- order along axes ----


def flipped(trace: Trace, x: Any, axes: Sequence[int]) -> Any:
    """`x` reversed along axes."""
    shape = shape_of(x)
    if not axes or not _count(shape):
        return alias(x)
    start = tuple(n - 1 if i in axes else 0 for i, n in enumerate(shape))
    step = tuple(-1 if i in axes else 1 for i in range(len(shape)))
    return call(trace, "slice", x, start=start, count=shape, step=step, drop=())


@handles(np.flip)
def flip(trace: Trace, m: Any, axis: Any = None) -> Any:
    x = as_array(trace, m)
    return flipped(trace, x, axis_tuple(axis, len(shape_of(x))))


@handles(np.flipud)
def flipud(trace: Trace, m: Any) -> Any:
    x = as_array(trace, m)
    if not shape_of(x):
        raise ValueError("Input must be >= 1-d.")
    return flipped(trace, x, (0,))


@handles(np.fliplr)
def fliplr(trace: Trace, m: Any) -> Any:
    x = as_array(trace, m)
    if len(shape_of(x)) < 2:
        raise ValueError("Input must be >= 2-d.")
    return flipped(trace, x, (1,))


@handles(np.rot90)
def rot90(trace: Trace, m: Any, k: Any = 1, axes: Any = (0, 1)) -> Any:
    x = as_array(trace, m)
    ndim = len(shape_of(x))
    if len(axes) != 2:
        raise ValueError("len(axes) must be 2.")
    first, second = (axis_index(a, ndim) for a in axes)
    if first == second:
        raise ValueError("Axes must be different.")
    turns = operator.index(k) % 4
    if turns == 0:
        return alias(x)
    if turns == 2:
        return flipped(trace, x, (first, second))
    return swapaxes(trace, flipped(trace, x, (second,)), first, second) if turns == 1 else flipped(trace, swapaxes(trace, x, first, second), (second,))


@handles(np.roll)
def roll(trace: Trace, a: Any, shift: Any, axis: Any = None) -> Any:
    x = as_array(trace, a)
    shape = shape_of(x)
    if axis is None:
        flat = reshape(trace, x, (_count(shape),))
        total = sum(operator.index(s) for s in shift) if isinstance(shift, (tuple, list)) else operator.index(shift)
        return alias(reshape(trace, _rolled(trace, flat, total, 0), shape))
    axes = axis if isinstance(axis, (list, tuple)) else (axis,)
    shifts = shift if isinstance(shift, (list, tuple)) else (shift,)
    for s, i in np.broadcast(np.asarray(unwrap(shifts)), np.asarray(axes)):
        x = _rolled(trace, x, int(s), axis_index(i, len(shape)))
    return alias(x)


def _rolled(trace: Trace, x: Any, shift: int, axis: int) -> Any:
    n = shape_of(x)[axis]
    by = shift % n if n else 0
    if not by:
        return x
    return join(trace, [take_slice(trace, x, axis, n - by, by), take_slice(trace, x, axis, 0, n - by)], axis)


# ---- repetition ----


@handles(np.tile)
def tile(trace: Trace, A: Any, reps: Any) -> Any:
    x = as_array(trace, A)
    counts = shape_tuple(reps)
    shape = shape_of(x)
    ndim = max(len(shape), len(counts))
    shape, counts = (1,) * (ndim - len(shape)) + shape, (1,) * (ndim - len(counts)) + counts
    spread = [extent for pair in zip(counts, shape, strict=True) for extent in pair]
    lifted = reshape(trace, x, tuple(extent for n in shape for extent in (1, n)))
    return alias(reshape(trace, broadcast(trace, lifted, tuple(spread)), tuple(c * n for c, n in zip(counts, shape, strict=True))))


@handles(np.repeat, method="repeat")
def repeat(trace: Trace, a: Any, repeats: Any, axis: Any = None) -> Any:
    x = as_array(trace, a)
    if axis is None:
        x = reshape(trace, x, (_count(shape_of(x)),))
        axis = 0
    shape = shape_of(x)
    at = axis_index(axis, len(shape))
    if np.ndim(unwrap(repeats)) == 0 or (np.size(unwrap(repeats)) == 1 and shape[at] != 1):
        count = operator.index(repeats if np.ndim(unwrap(repeats)) == 0 else repeats[0])
        if count < 0:
            raise ValueError("repeats may not contain negative values.")
        grown = (*shape[: at + 1], 1, *shape[at + 1 :])
        spread = broadcast(trace, reshape(trace, x, grown), (*shape[: at + 1], count, *shape[at + 1 :]))
        return reshape(trace, spread, (*shape[:at], shape[at] * count, *shape[at + 1 :]))
    counts = [operator.index(n) for n in repeats]
    places = np.repeat(np.arange(shape[at]), counts)
    return gather_axis(trace, x, trace.lift(places), at)


def gather_axis(trace: Trace, x: Any, index: Any, axis: int) -> Any:
    """`x` at an index operand along one axis; its axes take the place of that axis."""
    shape = shape_of(x)
    front = transpose(trace, x, (axis, *(i for i in range(len(shape)) if i != axis)))
    made = call(trace, "gather", front, index)
    n = len(shape_of(index))
    return transpose(trace, made, (*range(n, n + axis), *range(n), *range(n + axis, n + len(shape) - 1)))


# ---- padding ----


@handles(np.pad)
def pad(trace: Trace, array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    x = as_array(trace, array)
    ndim = len(shape_of(x))
    widths = _widths(pad_width, ndim)
    if mode == "constant":
        return _pad_constant(trace, x, widths, kwargs.pop("constant_values", 0))
    if mode not in ("edge", "reflect", "symmetric", "wrap") or kwargs.get("reflect_type", "even") != "even":
        unsupported(f"pad(mode={mode!r})", "use mode constant, edge, reflect, symmetric or wrap")
    for axis, (low, high) in enumerate(widths):
        if low or high:
            places = np.pad(np.arange(shape_of(x)[axis]), (low, high), mode)
            x = gather_axis(trace, x, trace.lift(places), axis)
    return alias(x)


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        table = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            table[axis] = (width, width) if isinstance(width, int) else width
        pad_width = table
    plain = np.asarray(unwrap(pad_width) if type(pad_width) is not Tracer else operator.index(pad_width))
    if plain.dtype.kind not in "iu":
        raise TypeError("`pad_width` must be of integral type.")
    table = np.broadcast_to(plain, (ndim, 2)).tolist()
    if any(n < 0 for pair in table for n in pair):
        raise ValueError("index can't contain negative values")
    return [(low, high) for low, high in table]


def _pad_constant(trace: Trace, x: Any, widths: list[tuple[int, int]], values: Any) -> Any:
    low, high = tuple(w[0] for w in widths), tuple(w[1] for w in widths)
    if np.ndim(unwrap(values)) == 0:
        value = cast(trace, operand(trace, values), dtype_of(x))
        return call(trace, "pad", x, value, low=low, high=high)
    table = np.broadcast_to(np.asarray(unwrap(values)), (len(widths), 2))
    if type(values) is Tracer:
        unsupported("pad(constant_values=) with several traced values", "use np.concatenate")
    zero = (0,) * len(widths)
    for axis in range(len(widths)):  # later axes fill the corners, as in numpy
        for side, amounts in enumerate((low, high)):
            if amounts[axis]:
                only = tuple(n if i == axis else 0 for i, n in enumerate(amounts))
                value = dtype_of(x).type(table[axis, side])
                x = call(trace, "pad", x, value, low=zero if side else only, high=only if side else zero)
    return alias(x)


# ---- diagonals ----


@handles(np.diagonal, method="diagonal")
def diagonal(trace: Trace, a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Any:
    x = as_array(trace, a)
    ndim = len(shape_of(x))
    if ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    i, j = axis_index(axis1, ndim), axis_index(axis2, ndim)
    if i == j:
        raise ValueError("axis1 and axis2 cannot be the same")
    x = transpose(trace, x, (*(k for k in range(ndim) if k not in (i, j)), i, j))
    return last_diagonal(trace, x, operator.index(offset))


def last_diagonal(trace: Trace, x: Any, k: int) -> Any:
    """The k-th diagonal of the last two axes: a strided slice of the flattened matrices."""
    *lead, n, m = shape_of(x)
    count = max(0, min(n, m - k) if k >= 0 else min(n + k, m))
    flat = reshape(trace, x, (*lead, n * m))
    return take_slice(trace, flat, len(lead), (k if k >= 0 else -k * m), count, m + 1)


@handles(np.linalg.diagonal)
def linalg_diagonal(trace: Trace, x: Any, /, *, offset: Any = 0) -> Any:
    return diagonal(trace, x, offset, -2, -1)


@handles(np.trace, method="trace")
def trace_(trace: Trace, a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: Any = None) -> Any:
    from irgrad.frontend.handlers.reduction import sum_

    refuse("trace", out=out)
    return sum_(trace, diagonal(trace, a, offset, axis1, axis2), -1, dtype)


@handles(np.linalg.trace)
def linalg_trace(trace: Trace, x: Any, /, *, offset: Any = 0, dtype: Any = None) -> Any:
    return trace_(trace, x, offset, -2, -1, dtype)


@handles(np.diag)
def diag(trace: Trace, v: Any, k: Any = 0) -> Any:
    x = as_array(trace, v)
    shape = shape_of(x)
    shift = operator.index(k)
    if len(shape) == 2:
        return diagonal(trace, x, shift)
    if len(shape) != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = shape[0] + abs(shift)
    zero = dtype_of(x).type(0)
    row = call(trace, "pad", x, zero, low=(max(shift, 0),), high=(max(-shift, 0),)) if shift else x
    return apply(trace, "where", np.where, band(trace, n, n, shift, "equal", np.equal), row, zero)


@handles(np.diagflat)
def diagflat(trace: Trace, v: Any, k: Any = 0) -> Any:
    x = as_array(trace, v)
    return diag(trace, reshape(trace, x, (_count(shape_of(x)),)), k)


# ---- differences ----


@handles(np.diff)
def diff(trace: Trace, a: Any, n: Any = 1, axis: Any = -1, prepend: Any = NO_VALUE, append: Any = NO_VALUE) -> Any:
    times = operator.index(n)
    if times == 0:
        return a
    if times < 0:
        raise ValueError(f"order must be non-negative but got {times}")
    x = as_array(trace, a)
    if not shape_of(x):
        raise ValueError("diff requires input that is at least one dimensional")
    at = axis_index(axis, len(shape_of(x)))
    parts = [x]
    for extra, before in ((prepend, True), (append, False)):
        if extra is not NO_VALUE:
            piece = as_array(trace, extra)
            if not shape_of(piece):
                piece = broadcast(trace, piece, tuple(1 if i == at else m for i, m in enumerate(shape_of(x))))
            parts.insert(0 if before else len(parts), piece)
    if len(parts) > 1:
        x = _joined(trace, _parts(trace, parts), at)
    name, fn = ("not_equal", np.not_equal) if dtype_of(x).kind == "b" else ("sub", np.subtract)
    for _ in range(times):
        m = max(shape_of(x)[at] - 1, 0)
        x = apply(trace, name, fn, take_slice(trace, x, at, min(1, shape_of(x)[at]), m), take_slice(trace, x, at, 0, m))
    return x


@handles(np.ediff1d)
def ediff1d(trace: Trace, ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    x = as_array(trace, ary)
    made = diff(trace, reshape(trace, x, (_count(shape_of(x)),)))
    ends = [e if e is None else cast(trace, as_array(trace, e), dtype_of(made)) for e in (to_begin, to_end)]
    parts = [e if e is made else reshape(trace, e, (_count(shape_of(e)),)) for e in (ends[0], made, ends[1]) if e is not None]
    return join(trace, parts, 0)


@handles(np.gradient)
def gradient(trace: Trace, f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    x = as_array(trace, f)
    if dtype_of(x).kind in "biu":
        x = cast(trace, x, np.float64)
    axes = axis_tuple(axis, len(shape_of(x)))
    if edge_order != 1 or any(np.ndim(unwrap(h)) for h in varargs):
        unsupported("gradient with edge_order 2 or coordinates", "give the spacing as a number")
    spacing = [1.0] * len(axes) if not varargs else list(varargs) * len(axes) if len(varargs) == 1 else list(varargs)
    if len(spacing) != len(axes):
        raise TypeError("invalid number of arguments")
    made = [_central(trace, x, at, operand(trace, h)) for at, h in zip(axes, spacing, strict=True)]
    return made[0] if len(made) == 1 else tuple(made)


def _central(trace: Trace, x: Any, axis: int, h: Any) -> Any:
    n = shape_of(x)[axis]
    if n < 2:
        raise ValueError("Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements are required.")

    def slope(high: int, low: int, count: int, width: Any) -> Any:
        rise = apply(trace, "sub", np.subtract, take_slice(trace, x, axis, high, count), take_slice(trace, x, axis, low, count))
        return apply(trace, "div", np.divide, rise, width)

    twice = apply(trace, "mul", np.multiply, 2.0, h) if type(h) is Tracer else 2.0 * h
    middle = [slope(2, 0, n - 2, twice)] if n > 2 else []
    return join(trace, [slope(1, 0, 1, h), *middle, slope(n - 1, n - 2, 1, h)], axis)
