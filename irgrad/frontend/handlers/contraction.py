"""Products: dot, matmul, tensordot and their kin, as transposes and reshapes around `dot` and `batch_dot`."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    PUBLIC,
    Shape,
    apply,
    as_array,
    axis_index,
    axis_tuple,
    broadcast,
    call,
    cast,
    dtype_of,
    handles,
    join,
    operand,
    refuse,
    reshape,
    run,
    shape_of,
    take_slice,
    transpose,
)
from irgrad.frontend.handlers.decided import DECISIONS, Decisions
from irgrad.frontend.handlers.reduction import accumulator, reduce
from irgrad.frontend.handlers.shaping import flattened, size_of
from irgrad.frontend.handlers.ufuncs import Ufunc, composes, enter
from irgrad.frontend.installed import warned
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer

_PYTHON = (bool, int, float, complex)


def _common(trace: Trace, x: Any, y: Any) -> tuple[Any, Any]:
    """Two array operands in their common dtype."""
    dtype = np.result_type(dtype_of(x), dtype_of(y))
    return cast(trace, x, dtype), cast(trace, y, dtype)


def multiply(trace: Trace, x: Any, y: Any) -> Any:
    return apply(trace, "mul", np.multiply, x, y)


def _scaled(trace: Trace, x: Any, y: Any) -> Any:
    """The product with a number, which functions of arrays take as an array of its default dtype: float32 and 2.0 give float64."""
    dtype = np.result_type(dtype_of(x), dtype_of(y))
    x, y = (v if type(v.form if type(v) is Tracer else v) in _PYTHON else cast(trace, v, dtype) for v in (x, y))
    return multiply(trace, x, y)


def conj(trace: Trace, x: Any) -> Any:
    return apply(trace, "conj", np.conjugate, x) if dtype_of(x).kind == "c" else x


# ---- dot and matmul ----


@handles(np.dot, method="dot")
def dot(trace: Trace, a: Any, b: Any, out: Any = None) -> Any:
    refuse("dot", out=out)
    x, y = operand(trace, a), operand(trace, b)
    left, right = len(shape_of(x)), len(shape_of(y))
    if left == 0 or right == 0:
        return _scaled(trace, x, y)
    if left <= 2 and right <= 2:
        return call(trace, "dot", *_common(trace, x, y))
    return tensordot(trace, x, y, ((left - 1,), (max(right - 2, 0),)))


@composes(np.matmul)
def matmul(trace: Trace, a: Any, b: Any) -> Any:
    x, y = operand(trace, a), operand(trace, b)
    left, right = len(shape_of(x)), len(shape_of(y))
    if left == 0 or right == 0:
        raise ValueError(
            "matmul: Input operand does not have enough dimensions (has 0, gufunc core with signature (n?,k),(k,m?)->(n?,m?) requires 1)"
        )
    x, y = _common(trace, x, y)
    if left <= 2 and right <= 2:
        return call(trace, "dot", x, y)
    if shape_of(x)[-1] != shape_of(y)[-2 if right > 1 else 0]:
        raise ValueError(f"matmul: Input operand 1 has a mismatch in its core dimension 0 ({shape_of(x)} @ {shape_of(y)})")
    if right <= 2:  # one matrix for the whole stack
        *lead, k = shape_of(x)
        made = call(trace, "dot", reshape(trace, x, (size_of(lead), k)), y)
        return reshape(trace, made, (*lead, *shape_of(y)[1:]))
    if left == 1:
        x = reshape(trace, x, (1, *shape_of(x)))
    stack = np.broadcast_shapes(shape_of(x)[:-2], shape_of(y)[:-2])
    x = broadcast(trace, x, (*stack, *shape_of(x)[-2:]))
    y = broadcast(trace, y, (*stack, *shape_of(y)[-2:]))
    made = call(trace, "batch_dot", x, y)
    return reshape(trace, made, (*stack, shape_of(y)[-1])) if left == 1 else made


DECISIONS[matmul] = Decisions()


def _matmul(self: Tracer, other: Any) -> Any:
    return run(self._trace, "matmul", matmul, (self, other), {})


def _rmatmul(self: Tracer, other: Any) -> Any:
    return run(self._trace, "matmul", matmul, (other, self), {})


setattr(Tracer, "__matmul__", _matmul)
setattr(Tracer, "__rmatmul__", _rmatmul)


def _last_two(name: str, x: Any, y: Any) -> None:
    if not shape_of(x) or not shape_of(y):
        raise ValueError(f"{name}: Input operand does not have enough dimensions")


if hasattr(np, "matvec"):

    @composes(np.matvec)
    def matvec(trace: Trace, a: Any, b: Any) -> Any:
        x, y = operand(trace, a), operand(trace, b)
        _last_two("matvec", x, y)
        made = matmul(trace, x, reshape(trace, y, (*shape_of(y), 1)))
        return reshape(trace, made, shape_of(made)[:-1])

    @composes(np.vecmat)
    def vecmat(trace: Trace, a: Any, b: Any) -> Any:
        x, y = operand(trace, a), operand(trace, b)
        _last_two("vecmat", x, y)
        made = matmul(trace, reshape(trace, conj(trace, x), (*shape_of(x)[:-1], 1, shape_of(x)[-1])), y)
        return reshape(trace, made, (*shape_of(made)[:-2], shape_of(made)[-1]))


class _Along(Ufunc):
    """A ufunc of vectors along the last axis, or the one that is named."""

    __slots__ = ()

    def record(self, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kwargs = dict(kwargs)
        axis = kwargs.pop("axis", -1)
        if axis != -1:
            args = (*[PUBLIC[np.moveaxis](x, axis, -1) for x in args[: self.ufunc.nin]], *args[self.ufunc.nin :])
        return super().record(trace, args, kwargs)


def vecdot(trace: Trace, a: Any, b: Any) -> Any:
    x, y = operand(trace, a), operand(trace, b)
    _last_two("vecdot", x, y)
    x, y = _common(trace, conj(trace, x), y)
    if len(shape_of(x)) == len(shape_of(y)) == 1:
        return call(trace, "dot", x, y)
    made = multiply(trace, x, y)
    return cast(trace, reduce(trace, "reduce_sum", cast(trace, made, accumulator(dtype_of(made))), -1, False), dtype_of(made))


enter(np.vecdot, _Along(np.vecdot, None, vecdot))


@handles(np.linalg.matmul)
def linalg_matmul(trace: Trace, x1: Any, x2: Any, /) -> Any:
    return matmul(trace, x1, x2)


@handles(np.linalg.vecdot)
def linalg_vecdot(trace: Trace, x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    if axis == -1:
        return vecdot(trace, x1, x2)
    x, y = as_array(trace, x1), as_array(trace, x2)
    return vecdot(trace, PUBLIC[np.moveaxis](x, axis, -1), PUBLIC[np.moveaxis](y, axis, -1))


@handles(np.vdot)
def vdot(trace: Trace, a: Any, b: Any, /) -> Any:
    x, y = as_array(trace, a), as_array(trace, b)
    x, y = flattened(trace, x), flattened(trace, y)
    return call(trace, "dot", *_common(trace, conj(trace, x), y))


@handles(np.inner)
def inner(trace: Trace, a: Any, b: Any, /) -> Any:
    x, y = operand(trace, a), operand(trace, b)
    left, right = len(shape_of(x)), len(shape_of(y))
    if left == 0 or right == 0:
        return _scaled(trace, x, y)
    if left == right == 1:
        return call(trace, "dot", *_common(trace, x, y))
    return tensordot(trace, x, y, ((left - 1,), (right - 1,)))


@handles(np.outer)
def outer(trace: Trace, a: Any, b: Any, out: Any = None) -> Any:
    refuse("outer", out=out)
    x, y = as_array(trace, a), as_array(trace, b)
    row = (size_of(shape_of(y)),) if not trace.is_graph else (1, size_of(shape_of(y)))
    return multiply(trace, reshape(trace, x, (size_of(shape_of(x)), 1)), reshape(trace, y, row))


@handles(np.linalg.outer)
def linalg_outer(trace: Trace, x1: Any, x2: Any, /) -> Any:
    x, y = as_array(trace, x1), as_array(trace, x2)
    if len(shape_of(x)) != 1 or len(shape_of(y)) != 1:
        raise ValueError(f"Input arrays must be one-dimensional, but they are x1.ndim={len(shape_of(x))} and x2.ndim={len(shape_of(y))}.")
    return outer(trace, x, y)


@handles(np.tensordot, np.linalg.tensordot)
def tensordot(trace: Trace, a: Any, b: Any, axes: Any = 2) -> Any:
    x, y = as_array(trace, a), as_array(trace, b)
    left, right = shape_of(x), shape_of(y)
    if isinstance(axes, (list, tuple)):
        first, second = axes
        xs = axis_tuple(tuple(first) if isinstance(first, (list, tuple)) else first, len(left))
        ys = axis_tuple(tuple(second) if isinstance(second, (list, tuple)) else second, len(right))
    else:
        n = operator.index(axes)
        if n > min(len(left), len(right)):
            raise ValueError("shape-mismatch for sum")
        xs, ys = tuple(range(len(left) - n, len(left))), tuple(range(n))
    if len(xs) != len(ys) or any(left[i] != right[j] for i, j in zip(xs, ys, strict=True)):
        raise ValueError("shape-mismatch for sum")
    x, y = _common(trace, x, y)
    rows = tuple(i for i in range(len(left)) if i not in xs)
    columns = tuple(i for i in range(len(right)) if i not in ys)
    made = matrix_product(trace, x, y, rows, xs, ys, columns)
    return reshape(trace, made, (*(left[i] for i in rows), *(right[i] for i in columns)))


def matrix_product(trace: Trace, x: Any, y: Any, rows: Shape, xs: Shape, ys: Shape, columns: Shape) -> Any:
    """The rows by columns matrix of `x` contracted over axes `xs` with `y` over `ys`; vectors where a side has no free axes."""
    left, right = shape_of(x), shape_of(y)
    k = size_of([left[i] for i in xs])
    x = transpose(trace, x, rows + xs)
    y = transpose(trace, y, ys + columns)
    n, m = size_of([left[i] for i in rows]), size_of([right[i] for i in columns])
    x = reshape(trace, x, (n, k) if rows else (k,))
    y = reshape(trace, y, (k, m) if columns else (k,))
    return call(trace, "dot", x, y)


@handles(np.kron)
def kron(trace: Trace, a: Any, b: Any) -> Any:
    x, y = operand(trace, a), operand(trace, b)
    left, right = shape_of(x), shape_of(y)
    ndim = max(len(left), len(right))
    if not left or not right:
        return _scaled(trace, x, y)
    left, right = (1,) * (ndim - len(left)) + left, (1,) * (ndim - len(right)) + right
    x = reshape(trace, x, tuple(n for extent in left for n in (extent, 1)))
    y = reshape(trace, y, tuple(n for extent in right for n in (1, extent)))
    return reshape(trace, multiply(trace, x, y), tuple(n * m for n, m in zip(left, right, strict=True)))


@handles(np.cross)
def cross(trace: Trace, a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = as_array(trace, a), as_array(trace, b)
    if not shape_of(x) or not shape_of(y):
        raise ValueError("At least one array has zero dimension")
    x, y = _last(trace, x, axis_index(axisa, len(shape_of(x)))), _last(trace, y, axis_index(axisb, len(shape_of(y))))
    sizes = (shape_of(x)[-1], shape_of(y)[-1])
    if not {*sizes} <= {2, 3}:
        raise ValueError("incompatible dimensions for cross product (dimension must be 2 or 3)")
    if sizes != (3, 3):
        warned(np.cross, (1.0,) * sizes[0], (1.0,) * sizes[1])  # an error from numpy 2.5 on
    if sizes == (3, 3) and not trace.is_graph:
        (a1, a2), (b1, b2) = _turned(trace, x), _turned(trace, y)
        made = apply(trace, "sub", np.subtract, multiply(trace, a1, b2), multiply(trace, a2, b1))
        return made if axisc == -1 else PUBLIC[np.moveaxis](made, -1, axisc)
    xs, ys = _components(trace, x), _components(trace, y)

    def minor(i: int, j: int) -> Any:
        return apply(trace, "sub", np.subtract, multiply(trace, xs[i], ys[j]), multiply(trace, xs[j], ys[i]))

    if sizes == (2, 2):
        made = minor(0, 1)
        return made if shape_of(made) else reshape(trace, made, ())
    made = PUBLIC[np.stack]([minor(1, 2), minor(2, 0), minor(0, 1)], axis=-1)
    return PUBLIC[np.moveaxis](made, -1, axisc)


def _last(trace: Trace, x: Any, axis: int) -> Any:
    """`x` with one axis as its last."""
    rest = [i for i in range(len(shape_of(x))) if i != axis]
    return transpose(trace, x, (*rest, axis))


def _turned(trace: Trace, x: Any) -> tuple[Any, Any]:
    """Three components from the second one on, and from the third one on: fewer operations than with each by itself."""
    last = len(shape_of(x)) - 1
    twice = join(trace, [x, x], last)
    return take_slice(trace, twice, last, 1, 3), take_slice(trace, twice, last, 2, 3)


def _components(trace: Trace, x: Any) -> list[Any]:
    """Three entries of the last axis; a third that is not there is 0."""
    last = len(shape_of(x)) - 1
    made = [take_slice(trace, x, last, i, 1, drop=True) for i in range(shape_of(x)[-1])]
    return made if len(made) == 3 else [*made, PUBLIC[np.zeros_like](made[0])]


@handles(np.linalg.cross)
def linalg_cross(trace: Trace, x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return cross(trace, x1, x2, axis=axis)
