"""Reductions over sorted axes (never keeping them), scans and sorting.

Products divide by nothing: the gradient of a product is the product of the others, so zeros are no special case. The
derivative of a running product is a linear recurrence, solved in log2(n) steps (Hillis and Steele 1986).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder, EvalBuilder
from irgrad.ir.primitive import LINEAR, PURE, REDUCTION, Primitive, Update, nondiff, primitive
from irgrad.ops.rules import INDEX, Axes, axis_slice, check_axes, expand, flip, kept, reject, removed

FOLD = REDUCTION | PURE
_SMALLEST = 1e-30  # of a product that may be divided by its factors: far from what is no normal number


def _accumulator(x: Aval) -> np.dtype[Any]:
    """numpy sums and multiplies bools and small integers in the platform's integers."""
    if x.dtype.kind in "biu" and x.dtype.itemsize < np.dtype(np.int_).itemsize:
        return np.dtype(np.uint if x.dtype.kind == "u" else np.int_)
    return x.dtype


# ---- sum ----


def _reduce_sum_aval(x: Aval, *, axes: Axes) -> Aval:
    check_axes("reduce_sum", x, axes)
    return Aval(removed(x.shape, axes), _accumulator(x))


def _reduce_sum_vjp(b: Builder, ct: Any, out: Any, x: Any, *, axes: Axes) -> Any:
    return b.broadcast_to(expand(b, ct, x, axes), shape=b.shape(x)) if axes else ct


reduce_sum = primitive(
    "reduce_sum",
    evaluate=lambda x, *, axes: np.add.reduce(x, axis=axes),
    aval=_reduce_sum_aval,
    vjp=(_reduce_sum_vjp,),
    jvp=(lambda b, t, out, x, *, axes: b.reduce_sum(t, axes=axes),),
    traits=FOLD | LINEAR,
)

# ---- product ----


def _reduce_prod_aval(x: Aval, *, axes: Axes) -> Aval:
    check_axes("reduce_prod", x, axes)
    return Aval(removed(x.shape, axes), _accumulator(x))


def _before(b: Builder, products: Any, axis: int) -> Any:
    """Running products of the entries strictly before each place."""
    n = b.shape(products)[axis]
    one = b.full(1.0, shape=kept(b.shape(products), (axis,)), dtype=b.dtype(products).name)
    return b.concatenate(one, axis_slice(b, products, axis, 0, n - 1), axis=axis) if n > 1 else one


def _product_of_others(b: Builder, x: Any, axes: Axes) -> Any:
    """For every entry of `x`, the product of the other entries along `axes`."""
    shape = b.shape(x)
    rest = tuple(i for i in range(len(shape)) if i not in axes)
    order = rest + axes
    size = int(np.prod([shape[i] for i in axes]))
    rows = b.reshape(b.transpose(x, axes=order), shape=(*(shape[i] for i in rest), size))
    last = len(rest)
    left = _before(b, b.cumprod(rows, axis=last), last)
    right = flip(b, _before(b, b.cumprod(flip(b, rows, last), axis=last), last), last)
    others = b.reshape(b.mul(left, right), shape=tuple(shape[i] for i in order))
    return b.transpose(others, axes=tuple(sorted(range(len(order)), key=order.__getitem__)))


def _reduce_prod_vjp(b: Builder, ct: Any, out: Any, x: Any, *, axes: Axes) -> Any:
    if not axes or 0 in b.shape(x):
        return ct if not axes else b.zeros_like(x)
    if isinstance(b, EvalBuilder) and np.isfinite(out).all() and (np.abs(out) > _SMALLEST).all():  # known eagerly: no zero, nothing lost
        return np.asarray(np.multiply(ct, out)).reshape(kept(x.shape, axes)) / x
    return b.mul(expand(b, ct, x, axes), _product_of_others(b, x, axes))


def _reduce_prod_jvp(b: Builder, t: Any, out: Any, x: Any, *, axes: Axes) -> Any:
    if not axes or 0 in b.shape(x):
        return t if not axes else None
    return b.reduce_sum(b.mul(t, _product_of_others(b, x, axes)), axes=axes)


reduce_prod = primitive(
    "reduce_prod",
    evaluate=lambda x, *, axes: np.multiply.reduce(x, axis=axes),
    aval=_reduce_prod_aval,
    vjp=(_reduce_prod_vjp,),
    jvp=(_reduce_prod_jvp,),
    traits=FOLD,
)

# ---- extremes: ties share equally ----


def _ties(b: Builder, out: Any, x: Any, axes: Axes) -> tuple[Any, Any]:
    """Where `x` attains its extreme, and how often."""
    mask = b.equal(x, expand(b, out, x, axes))
    return mask, b.reduce_sum(b.convert(mask, dtype=b.dtype(out).name), axes=axes)


def _extreme_vjp(b: Builder, ct: Any, out: Any, x: Any, *, axes: Axes) -> Any:
    if not axes:
        return ct
    mask, count = _ties(b, out, x, axes)
    return b.where(mask, expand(b, b.div(ct, count), x, axes), 0.0)


def _extreme_jvp(b: Builder, t: Any, out: Any, x: Any, *, axes: Axes) -> Any:
    if not axes:
        return t
    mask, count = _ties(b, out, x, axes)
    return b.div(b.reduce_sum(b.where(mask, t, 0.0), axes=axes), count)


def _extreme(name: str, ufunc: np.ufunc) -> Primitive:
    def aval(x: Aval, *, axes: Axes) -> Aval:
        check_axes(name, x, axes)
        if any(x.shape[i] == 0 for i in axes):
            raise reject(name, (x,), f"an empty axis among {axes} has no extreme; expected extents of at least 1")
        return Aval(removed(x.shape, axes), x.dtype)

    return primitive(
        name,
        evaluate=lambda x, *, axes: ufunc.reduce(x, axis=axes),
        aval=aval,
        vjp=(_extreme_vjp,),
        jvp=(_extreme_jvp,),
        traits=FOLD,
    )


reduce_max = _extreme("reduce_max", np.maximum)
reduce_min = _extreme("reduce_min", np.minimum)

# ---- truth and places ----


def _truth(name: str, ufunc: np.ufunc) -> Primitive:
    def aval(x: Aval, *, axes: Axes) -> Aval:
        check_axes(name, x, axes)
        return Aval(removed(x.shape, axes), np.dtype(bool))

    none = nondiff("a truth value has no derivative")
    return primitive(name, evaluate=lambda x, *, axes: ufunc.reduce(x, axis=axes, dtype=bool), aval=aval, vjp=none, jvp=none, traits=FOLD)


reduce_any = _truth("reduce_any", np.logical_or)
reduce_all = _truth("reduce_all", np.logical_and)


def _place(name: str) -> Primitive:
    def aval(x: Aval, *, axis: int) -> Aval:
        check_axes(name, x, (axis,))
        if x.shape[axis] == 0:
            raise reject(name, (x,), f"axis {axis} is empty; expected an extent of at least 1")
        return Aval(removed(x.shape, (axis,)), INDEX)

    none = nondiff("indices are integers")
    method = getattr(np.ndarray, name)
    return primitive(name, evaluate=lambda x, *, axis: method(x, axis), aval=aval, vjp=none, jvp=none, traits=PURE)


argmax = _place("argmax")
argmin = _place("argmin")

# ---- scans ----


def _cumsum_aval(x: Aval, *, axis: int) -> Aval:
    check_axes("cumsum", x, (axis,))
    return Aval(x.shape, _accumulator(x))


cumsum = primitive(
    "cumsum",
    evaluate=lambda x, *, axis: np.add.accumulate(x, axis=axis),
    aval=_cumsum_aval,
    vjp=(lambda b, ct, out, x, *, axis: flip(b, b.cumsum(flip(b, ct, axis), axis=axis), axis),),
    jvp=(lambda b, t, out, x, *, axis: b.cumsum(t, axis=axis),),
    traits=PURE | LINEAR,
)


def _recurrence(b: Builder, factors: Any, terms: Any, axis: int) -> Any:
    """y[k] = factors[k] y[k-1] + terms[k] along `axis`, with y[-1] = 0, in log2(n) steps."""
    n = b.shape(terms)[axis]
    reach = 1
    while reach < n:
        tail = n - reach
        later = axis_slice(b, factors, axis, reach, tail)
        moved = b.mul(later, axis_slice(b, terms, axis, 0, tail))
        moved = b.add(axis_slice(b, terms, axis, reach, tail), moved)
        terms = b.concatenate(axis_slice(b, terms, axis, 0, reach), moved, axis=axis)
        if 2 * reach < n:
            joined = b.mul(later, axis_slice(b, factors, axis, 0, tail))
            factors = b.concatenate(axis_slice(b, factors, axis, 0, reach), joined, axis=axis)
        reach *= 2
    return terms


def _cumprod_aval(x: Aval, *, axis: int) -> Aval:
    check_axes("cumprod", x, (axis,))
    return Aval(x.shape, _accumulator(x))


def _cumprod_vjp(b: Builder, ct: Any, out: Any, x: Any, *, axis: int) -> Any:
    """(product before i) * s[i] with s[i] = ct[i] + x[i+1] s[i+1]."""
    n = b.shape(x)[axis]
    if n <= 1:
        return ct
    ahead = axis_slice(b, x, axis, n - 1, n - 1, -1)  # x[n-1] ... x[1]: factors of the reversed recurrence, its first is unused
    factors = b.concatenate(axis_slice(b, ahead, axis, 0, 1), ahead, axis=axis)
    sums = flip(b, _recurrence(b, factors, flip(b, ct, axis), axis), axis)
    return b.mul(_before(b, out, axis), sums)


def _cumprod_jvp(b: Builder, t: Any, out: Any, x: Any, *, axis: int) -> Any:
    return t if b.shape(x)[axis] <= 1 else _recurrence(b, x, b.mul(_before(b, out, axis), t), axis)


cumprod = primitive(
    "cumprod",
    evaluate=lambda x, *, axis: np.multiply.accumulate(x, axis=axis),
    aval=_cumprod_aval,
    vjp=(_cumprod_vjp,),
    jvp=(_cumprod_jvp,),
    traits=PURE,
)

# ---- sorting ----


def _sort_aval(x: Aval, *, axis: int) -> Aval:
    check_axes("sort", x, (axis,))
    return x.with_kind("array")


def _argsort_aval(x: Aval, *, axis: int) -> Aval:
    check_axes("argsort", x, (axis,))
    return Aval(x.shape, INDEX)


def _sorted_places(b: Builder, x: Any, axis: int) -> tuple[Any, ...]:
    """Index arrays, one per axis, that read `x` in sorted order."""
    shape = b.shape(x)
    order = b.argsort(x, axis=axis)
    ones = (1,) * len(shape)
    lines = [b.reshape(b.iota(n=n, dtype="int64"), shape=(*ones[:i], n, *ones[i + 1 :])) for i, n in enumerate(shape)]
    return (*lines[:axis], order, *lines[axis + 1 :])


sort = primitive(
    "sort",
    evaluate=lambda x, *, axis: np.sort(x, axis=axis, kind="stable"),
    aval=_sort_aval,
    vjp=(lambda b, ct, out, x, *, axis: Update("scatter_add", (ct, *_sorted_places(b, x, axis)), {}),),
    jvp=(lambda b, t, out, x, *, axis: b.gather(t, *_sorted_places(b, x, axis)),),
    traits=PURE,
)
argsort = primitive(
    "argsort",
    evaluate=lambda x, *, axis: np.argsort(x, axis=axis, kind="stable"),
    aval=_argsort_aval,
    vjp=nondiff("indices are integers"),
    jvp=nondiff("indices are integers"),
    traits=PURE,
)
