"""Products: dot, matmul, tensordot, einsum and their kin, as transposes and reshapes around `dot` and `batch_dot`.

An einsum of more than two operands is contracted pairwise in the order that numpy.einsum_path proposes. A contraction
without summed labels is a broadcast product.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import (
    PUBLIC,
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
    operand,
    refuse,
    reshape,
    run,
    shape_of,
    take_slice,
    transpose,
    unsupported,
)
from irgrad.frontend.handlers.reduction import accumulator, reduce
from irgrad.frontend.handlers.shaping import last_diagonal
from irgrad.frontend.handlers.ufuncs import composes
from irgrad.frontend.trace import Trace
from irgrad.frontend.tracer import Tracer


def _size(shape: Sequence[int]) -> int:
    n = 1
    for extent in shape:
        n *= extent
    return n


def _common(trace: Trace, x: Any, y: Any) -> tuple[Any, Any]:
    """Two array operands in their common dtype."""
    dtype = np.result_type(dtype_of(x), dtype_of(y))
    return cast(trace, x, dtype), cast(trace, y, dtype)


def multiply(trace: Trace, x: Any, y: Any) -> Any:
    return apply(trace, "mul", np.multiply, x, y)


def conj(trace: Trace, x: Any) -> Any:
    return apply(trace, "conj", np.conjugate, x) if dtype_of(x).kind == "c" else x


# ---- dot and matmul ----


@handles(np.dot, method="dot")
def dot(trace: Trace, a: Any, b: Any, out: Any = None) -> Any:
    refuse("dot", out=out)
    x, y = operand(trace, a), operand(trace, b)
    left, right = len(shape_of(x)), len(shape_of(y))
    if left == 0 or right == 0:
        return multiply(trace, x, y)
    if left <= 2 and right <= 2:
        return call(trace, "dot", *_common(trace, x, y))
    return tensordot(trace, x, y, ((left - 1,), (max(right - 2, 0),)))


@composes(np.matmul)
def matmul(trace: Trace, a: Any, b: Any) -> Any:
    x, y = operand(trace, a), operand(trace, b)
    left, right = len(shape_of(x)), len(shape_of(y))
    if left == 0 or right == 0:
        raise ValueError("matmul: Input operand does not have enough dimensions (has 0, gufunc core with signature (n?,k),(k,m?)->(n?,m?) requires 1)")
    x, y = _common(trace, x, y)
    if left <= 2 and right <= 2:
        return call(trace, "dot", x, y)
    if shape_of(x)[-1] != shape_of(y)[-2 if right > 1 else 0]:
        raise ValueError(f"matmul: Input operand 1 has a mismatch in its core dimension 0 ({shape_of(x)} @ {shape_of(y)})")
    if right <= 2:  # one matrix for the whole stack
        *lead, k = shape_of(x)
        made = call(trace, "dot", reshape(trace, x, (_size(lead), k)), y)
        return reshape(trace, made, (*lead, *shape_of(y)[1:]))
    if left == 1:
        x = reshape(trace, x, (1, *shape_of(x)))
    lead = np.broadcast_shapes(shape_of(x)[:-2], shape_of(y)[:-2])
    x = broadcast(trace, x, (*lead, *shape_of(x)[-2:]))
    y = broadcast(trace, y, (*lead, *shape_of(y)[-2:]))
    made = call(trace, "batch_dot", x, y)
    return reshape(trace, made, (*lead, shape_of(y)[-1])) if left == 1 else made


def _matmul(self: Tracer, other: Any) -> Any:
    return run(self.trace, "matmul", matmul, (self, other), {})


def _rmatmul(self: Tracer, other: Any) -> Any:
    return run(self.trace, "matmul", matmul, (other, self), {})


setattr(Tracer, "__matmul__", _matmul)  # noqa: B010
setattr(Tracer, "__rmatmul__", _rmatmul)  # noqa: B010


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


@composes(np.vecdot)
def vecdot(trace: Trace, a: Any, b: Any) -> Any:
    x, y = operand(trace, a), operand(trace, b)
    _last_two("vecdot", x, y)
    x, y = _common(trace, conj(trace, x), y)
    if len(shape_of(x)) == len(shape_of(y)) == 1:
        return call(trace, "dot", x, y)
    made = multiply(trace, x, y)
    return cast(trace, reduce(trace, "reduce_sum", cast(trace, made, accumulator(dtype_of(made))), -1, False), dtype_of(made))


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
    x, y = reshape(trace, x, (_size(shape_of(x)),)), reshape(trace, y, (_size(shape_of(y)),))
    return call(trace, "dot", *_common(trace, conj(trace, x), y))


@handles(np.inner)
def inner(trace: Trace, a: Any, b: Any, /) -> Any:
    x, y = operand(trace, a), operand(trace, b)
    left, right = len(shape_of(x)), len(shape_of(y))
    if left == 0 or right == 0:
        return multiply(trace, x, y)
    if left == right == 1:
        return call(trace, "dot", *_common(trace, x, y))
    return tensordot(trace, x, y, ((left - 1,), (right - 1,)))


@handles(np.outer)
def outer(trace: Trace, a: Any, b: Any, out: Any = None) -> Any:
    refuse("outer", out=out)
    x, y = as_array(trace, a), as_array(trace, b)
    return multiply(trace, reshape(trace, x, (_size(shape_of(x)), 1)), reshape(trace, y, (1, _size(shape_of(y)))))


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
    k = _size([left[i] for i in xs])
    x = transpose(trace, x, rows + xs)
    y = transpose(trace, y, ys + columns)
    n, m = _size([left[i] for i in rows]), _size([right[i] for i in columns])
    x = reshape(trace, x, (n, k) if rows else (k,))
    y = reshape(trace, y, (k, m) if columns else (k,))
    return call(trace, "dot", x, y)


@handles(np.kron)
def kron(trace: Trace, a: Any, b: Any) -> Any:
    x, y = operand(trace, a), operand(trace, b)
    left, right = shape_of(x), shape_of(y)
    ndim = max(len(left), len(right))
    if not left or not right:
        return multiply(trace, x, y)
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
    moved = PUBLIC[np.moveaxis]
    x, y = moved(x, axis_index(axisa, len(shape_of(x))), -1), moved(y, axis_index(axisb, len(shape_of(y))), -1)
    if shape_of(x)[-1] != 3 or shape_of(y)[-1] != 3:
        if {shape_of(x)[-1], shape_of(y)[-1]} <= {2, 3}:
            unsupported("cross of 2-d vectors", "append a zero component, or write x[0] * y[1] - x[1] * y[0]")
        raise ValueError("incompatible dimensions for cross product (dimension must be 2 or 3)")
    xs, ys = _components(trace, x), _components(trace, y)

    def minor(i: int, j: int) -> Any:
        return apply(trace, "sub", np.subtract, multiply(trace, xs[i], ys[j]), multiply(trace, xs[j], ys[i]))

    made = PUBLIC[np.stack]([minor(1, 2), minor(2, 0), minor(0, 1)], axis=-1)
    return moved(made, -1, axisc)


def _components(trace: Trace, x: Any) -> list[Any]:
    last = len(shape_of(x)) - 1
    return [take_slice(trace, x, last, i, 1, drop=True) for i in range(3)]


@handles(np.linalg.cross)
def linalg_cross(trace: Trace, x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return cross(trace, x1, x2, axis=axis)


# ---- einsum ----

Labels = tuple[Any, ...]


@handles(np.einsum)
def einsum(trace: Trace, *operands: Any, out: Any = None, dtype: Any = None, optimize: Any = False, order: Any = "K", casting: Any = "safe") -> Any:
    refuse("einsum", out=out)
    labels, output, arrays = _parse(trace, operands)
    common = np.dtype(dtype) if dtype is not None else np.result_type(*[dtype_of(x) for x in arrays])
    terms = [_diagonals(trace, cast(trace, x, common), names) for x, names in zip(arrays, labels, strict=True)]
    _check_extents(terms)
    if len(terms) > 2:
        return _pairwise(trace, terms, output)
    if len(terms) == 2:
        return _contract(trace, terms[0], terms[1], output)
    return _finish(trace, terms[0], output)


Term = tuple[Any, Labels]


def _parse(trace: Trace, operands: tuple[Any, ...]) -> tuple[list[Labels], Labels, list[Any]]:
    """Labels per operand, labels of the output, and the array operands."""
    if not operands:
        raise ValueError("must specify the einstein sum subscripts string and at least one operand")
    first = operands[0]
    if isinstance(first, str):
        inputs, arrow, result = first.replace(" ", "").partition("->")
        names: list[Any] = [_labels(term) for term in inputs.split(",")]
        wanted = _labels(result) if arrow else None
        arrays = [as_array(trace, x) for x in operands[1:]]
    else:
        pairs = operands[: len(operands) // 2 * 2]
        arrays = [as_array(trace, x) for x in pairs[::2]]
        names = [tuple(term) for term in pairs[1::2]]
        wanted = tuple(operands[-1]) if len(operands) % 2 else None
    if len(names) != len(arrays):
        raise ValueError(f"einsum: {len(names)} terms in the subscripts for {len(arrays)} operands")
    expanded = [_expand(term, len(shape_of(x))) for term, x in zip(names, arrays, strict=True)]
    extra = max((len(e) for e, _ in expanded), default=0)
    dots: Labels = tuple(("...", i) for i in range(extra))
    labels = [before_after[0] + dots[extra - len(e) :] + before_after[1] for e, before_after in expanded]
    if wanted is None:
        flat = [name for term in labels for name in term if name not in dots]
        output = dots + tuple(sorted(name for name in set(flat) if flat.count(name) == 1))
    elif Ellipsis in wanted:
        at = wanted.index(Ellipsis)
        output = wanted[:at] + dots + wanted[at + 1 :]
    else:
        output = wanted
    known = {name for term in labels for name in term}
    if len(set(output)) != len(output):
        raise ValueError("einstein sum subscripts string includes an output subscript multiple times")
    for name in output:
        if name not in known:
            raise ValueError(f"einstein sum subscripts string included output subscript {name!r} which never appeared in an input")
    if any(name not in output for name in dots):
        raise ValueError("output has ellipsis '...' only in the inputs")
    return labels, output, arrays


def _labels(term: str) -> Labels:
    head, dots, tail = term.partition("...")
    if "." in head or "." in tail:
        raise ValueError("einstein sum subscripts string contains a '.' that is not part of an ellipsis ('...')")
    for letter in head + tail:
        if not letter.isalpha():
            raise ValueError(f"invalid subscript {letter!r} in einstein sum subscripts string, subscripts must be letters")
    return (*head, Ellipsis, *tail) if dots else tuple(head)


def _expand(term: Labels, ndim: int) -> tuple[range, tuple[Labels, Labels]]:
    """How many axes the ellipsis of a term stands for, and the labels around it."""
    if Ellipsis not in term:
        if len(term) != ndim:
            raise ValueError(f"einstein sum subscripts string has {len(term)} subscripts for an operand of {ndim} dimensions")
        return range(0), (term, ())
    at = term.index(Ellipsis)
    if len(term) - 1 > ndim:
        raise ValueError(f"einstein sum subscripts string has {len(term) - 1} subscripts for an operand of {ndim} dimensions")
    return range(ndim - len(term) + 1), (term[:at], term[at + 1 :])


def _diagonals(trace: Trace, x: Any, names: Labels) -> Term:
    """A label that a term repeats reads the diagonal."""
    while len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        i = names.index(repeated)
        j = names.index(repeated, i + 1)
        shape = shape_of(x)
        if shape[i] != shape[j]:
            raise ValueError(f"dimensions in operand for collapsing index {repeated!r} don't match ({shape[i]} != {shape[j]})")
        rest = tuple(k for k in range(len(shape)) if k not in (i, j))
        x = last_diagonal(trace, transpose(trace, x, (*rest, i, j)), 0)
        names = (*(names[k] for k in rest), repeated)
    return x, names


def _check_extents(terms: Sequence[Term]) -> None:
    seen: dict[Any, int] = {}
    for x, names in terms:
        for name, n in zip(names, shape_of(x), strict=True):
            have = seen.get(name, 1)
            if have not in (1, n) and n != 1:
                raise ValueError(f"operands could not be broadcast together: label {name!r} has extents {have} and {n}")
            seen[name] = max(have, n) if 0 not in (have, n) else min(have, n) if 1 not in (have, n) else 0


def _sum_out(trace: Trace, term: Term, keep: Sequence[Any]) -> Term:
    """Sum the labels that nothing else needs."""
    x, names = term
    axes = tuple(i for i, name in enumerate(names) if name not in keep)
    if not axes:
        return term
    have = dtype_of(x)
    if have.kind == "b":
        made = call(trace, "reduce_any", x, axes=axes)
    else:
        made = cast(trace, call(trace, "reduce_sum", cast(trace, x, accumulator(have)), axes=axes), have)
    return made, tuple(name for name in names if name in keep)


def _finish(trace: Trace, term: Term, output: Labels) -> Any:
    x, names = _sum_out(trace, term, output)
    return _ordered(trace, x, names, output)


def _ordered(trace: Trace, x: Any, names: Labels, output: Labels) -> Any:
    return alias(transpose(trace, x, tuple(names.index(name) for name in output)))


def _squeezed(trace: Trace, term: Term, other: Term) -> Term:
    """Drop axes of extent 1 that broadcast against the other term's."""
    x, names = term
    wide = dict(zip(other[1], shape_of(other[0]), strict=True))
    axes = [i for i, name in enumerate(names) if shape_of(x)[i] == 1 and wide.get(name, 1) != 1]
    if not axes:
        return term
    rest = [i for i in range(len(names)) if i not in axes]
    return reshape(trace, x, tuple(shape_of(x)[i] for i in rest)), tuple(names[i] for i in rest)


def _contract(trace: Trace, first: Term, second: Term, output: Labels) -> Any:
    """Two terms to labels `output`."""
    first, second = _squeezed(trace, first, second), _squeezed(trace, second, first)
    first = _sum_out(trace, first, (*output, *second[1]))
    second = _sum_out(trace, second, (*output, *first[1]))
    (x, left), (y, right) = first, second
    shared = [name for name in left if name in right]
    summed = tuple(name for name in shared if name not in output)
    batch = tuple(name for name in shared if name in output)
    rows = tuple(name for name in left if name not in right)
    columns = tuple(name for name in right if name not in left)
    if not summed:
        return _product(trace, first, second, output)
    sizes = dict(zip(left + right, shape_of(x) + shape_of(y), strict=True))
    made_names = batch + rows + columns

    def extent(names: Labels) -> int:
        return _size([sizes[name] for name in names])

    if batch:
        x = transpose(trace, x, tuple(left.index(n) for n in batch + rows + summed))
        y = transpose(trace, y, tuple(right.index(n) for n in batch + summed + columns))
        x = reshape(trace, x, (extent(batch), extent(rows), extent(summed)))
        y = reshape(trace, y, (extent(batch), extent(summed), extent(columns)))
        made = call(trace, "batch_dot", x, y)
    else:
        places = [tuple(names.index(n) for n in group) for names, group in ((left, rows), (left, summed), (right, summed), (right, columns))]
        made = matrix_product(trace, x, y, *places)
    return _ordered(trace, reshape(trace, made, tuple(sizes[n] for n in made_names)) if made_names else made, made_names, output)


def _product(trace: Trace, first: Term, second: Term, output: Labels) -> Any:
    """A product without summed labels, by broadcasting."""
    parts = []
    for x, names in (first, second):
        order = [name for name in output if name in names]
        x = transpose(trace, x, tuple(names.index(name) for name in order))
        sizes = dict(zip(order, shape_of(x), strict=True))
        parts.append(reshape(trace, x, tuple(sizes.get(name, 1) for name in output)))
    name, fn = ("bitwise_and", np.bitwise_and) if dtype_of(parts[0]).kind == "b" else ("mul", np.multiply)
    return apply(trace, name, fn, *parts)


def _pairwise(trace: Trace, terms: list[Term], output: Labels) -> Any:
    names = sorted({name for _, term in terms for name in term}, key=str)
    number = {name: i for i, name in enumerate(names)}
    dummy: list[Any] = []
    for x, term in terms:
        dummy += [np.broadcast_to(np.float64(0), shape_of(x)), [number[name] for name in term]]
    path, _ = np.einsum_path(*dummy, [number[name] for name in output], optimize="greedy")
    for step in path[1:]:
        picked = [terms[int(i)] for i in step]
        terms = [t for i, t in enumerate(terms) if i not in step]
        while len(picked) > 1:
            first, second = picked.pop(), picked.pop()
            rest = [name for _, term in (*terms, *picked) for name in term]
            kept = tuple(dict.fromkeys(name for name in first[1] + second[1] if name in rest or name in output))
            picked.append((_contract(trace, first, second, kept), kept))
        terms.append(picked[0])
    return _finish(trace, terms[0], output)


# ---- norms ----


def _magnitude(trace: Trace, x: Any) -> Any:
    return apply(trace, "abs", np.absolute, x)


def _root(trace: Trace, s: Any) -> Any:
    """sqrt with slope 0 at 0."""

    def fn(positive: Any, root: Any, zero: Any) -> Any:
        made = np.where(positive, root, zero)
        return made if isinstance(s.value, np.ndarray) else made[()]

    positive = apply(trace, "greater", np.greater, s, 0)
    return apply(trace, "where", fn, positive, apply(trace, "sqrt", np.sqrt, s), s)


@handles(np.linalg.norm)
def norm(trace: Trace, x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = as_array(trace, x)
    if dtype_of(x).kind in "biu":
        x = cast(trace, x, np.float64)
    shape = shape_of(x)
    if axis is None and (ord is None or (ord in ("f", "fro") and len(shape) == 2) or (ord == 2 and len(shape) == 1)):
        flat = reshape(trace, x, (_size(shape),))
        parts = [flat] if dtype_of(x).kind != "c" else [apply(trace, name, fn, flat) for name, fn in (("real", np.real), ("imag", np.imag))]
        squares = [call(trace, "dot", part, part) for part in parts]
        made = _root(trace, squares[0] if len(squares) == 1 else apply(trace, "add", np.add, *squares))
        return reshape(trace, made, (1,) * len(shape)) if keepdims else made
    axes = axis_tuple(axis if axis is None or isinstance(axis, (tuple, list)) else operator.index(axis), len(shape))
    if len(axes) == 1:
        return _vector_norm(trace, x, ord, axes, keepdims)
    if len(axes) == 2:
        return _matrix_norm(trace, x, ord, axes, keepdims)
    raise ValueError("Improper number of dimensions to norm.")


def _vector_norm(trace: Trace, x: Any, ord: Any, axes: Shape, keepdims: bool) -> Any:
    if ord in (np.inf, -np.inf):
        return reduce(trace, "reduce_max" if ord > 0 else "reduce_min", _magnitude(trace, x), axes, keepdims)
    if ord is None or ord == 2:
        return _root(trace, reduce(trace, "reduce_sum", _square_magnitude(trace, x), axes, keepdims))
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order {ord!r} for vectors")
    if ord == 0:
        nonzero = apply(trace, "not_equal", np.not_equal, x, 0)
        real = np.empty(0, dtype_of(x)).real.dtype
        return reduce(trace, "reduce_sum", cast(trace, nonzero, real), axes, keepdims)
    size = _magnitude(trace, x)
    if ord == 1:
        return reduce(trace, "reduce_sum", size, axes, keepdims)
    power = PUBLIC[np.power]
    return power(reduce(trace, "reduce_sum", power(size, ord), axes, keepdims), 1 / ord)


def _square_magnitude(trace: Trace, x: Any) -> Any:
    if dtype_of(x).kind != "c":
        return multiply(trace, x, x)
    return apply(trace, "real", np.real, multiply(trace, x, conj(trace, x)))


def _matrix_norm(trace: Trace, x: Any, ord: Any, axes: Shape, keepdims: bool) -> Any:
    if axes[0] == axes[1]:
        raise ValueError("Duplicate axes given.")
    if ord is None or ord in ("f", "fro"):
        return _root(trace, reduce(trace, "reduce_sum", _square_magnitude(trace, x), axes, keepdims))
    if ord in (1, -1, np.inf, -np.inf):
        summed, picked = (axes[0], axes[1]) if abs(ord) == 1 else (axes[1], axes[0])
        sums = reduce(trace, "reduce_sum", _magnitude(trace, x), summed, True)
        made = reduce(trace, "reduce_max" if ord > 0 else "reduce_min", sums, axes, keepdims)
        return made
    if ord in (2, -2, "nuc"):
        unsupported(f"linalg.norm(ord={ord!r}) of a matrix", "use the Frobenius norm, or compute it outside the traced function")
    raise ValueError("Invalid norm order for matrices.")


@handles(np.linalg.vector_norm)
def vector_norm(trace: Trace, x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    x = as_array(trace, x)
    if dtype_of(x).kind in "biu":
        x = cast(trace, x, np.float64)
    axes = axis_tuple(axis, len(shape_of(x)))
    return _vector_norm(trace, x, ord, tuple(sorted(axes)), keepdims)


@handles(np.linalg.matrix_norm)
def matrix_norm(trace: Trace, x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return norm(trace, x, ord, (-2, -1), keepdims)


@handles(np.linalg.multi_dot)
def multi_dot(trace: Trace, arrays: Sequence[Any], *, out: Any = None) -> Any:
    refuse("linalg.multi_dot", out=out)
    made = arrays[0]
    for x in arrays[1:]:
        made = dot(trace, made, x)
    return made


@handles(np.linalg.matrix_power)
def matrix_power(trace: Trace, a: Any, n: Any) -> Any:
    x = as_array(trace, a)
    k = operator.index(n)
    if k <= 0:
        unsupported("linalg.matrix_power with n < 1", "use np.eye, or the inverse of a positive power")
    made: Any = None
    square = x
    while k:
        if k % 2:
            made = square if made is None else matmul(trace, made, square)
        k //= 2
        square = matmul(trace, square, square) if k else square
    return alias(made)
