"""Pieces of rules on stacks of matrices: products, masks, and parts of packed results.

A decomposition with several results is one primitive whose result holds them one after the other along one last axis; its parts
are views of it. Rules with conjugates compute the gradient ``g = conj(ct)`` of the usual real inner product Re<g, x> and
conjugate it back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from irgrad.errors import TraceError
from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder, EvalBuilder
from irgrad.ops.rules import DType, Shape, axis_slice, is_complex, is_inexact, reject

# ---- avals ----


def check_matrix(op: str, x: Aval, *others: Aval, square: bool = False) -> None:
    """A stack of inexact matrices."""
    if x.ndim < 2:
        raise reject(op, (x, *others), "expected matrices or stacks of them")
    if not is_inexact(x.dtype):
        raise reject(op, (x, *others), "expected a float or complex dtype", TraceError)
    if square and x.shape[-1] != x.shape[-2]:
        raise reject(op, (x, *others), f"expected square matrices, got {x.shape[-2]} by {x.shape[-1]}")


def check_stacks(op: str, *xs: Aval) -> None:
    """Matrices of one dtype with equal leading extents."""
    if any(x.ndim != xs[0].ndim or x.shape[:-2] != xs[0].shape[:-2] or x.dtype != xs[0].dtype for x in xs):
        raise reject(op, xs, "expected equal leading extents and one dtype")


def packed_aval(x: Aval, *parts: int) -> Aval:
    """The aval of a packed result with parts of these sizes over the stack `x`."""
    return Aval((*x.shape[:-2], sum(parts)), x.dtype)


# ---- packing ----


def packed(lead: Shape, dtype: DType, *parts: Any) -> Any:
    """numpy values of equal leading extents `lead` behind each other along one axis."""
    return np.concatenate([np.reshape(p, (*lead, math.prod(np.shape(p)[len(lead) :]))) for p in parts], axis=-1, dtype=dtype)


def pack(b: Builder, lead: Shape, *parts: Any) -> Any:
    """`packed` in IR: a tangent from the tangents of its parts."""
    flat = [b.reshape(p, shape=(*lead, math.prod(b.shape(p)[len(lead) :]))) for p in parts]
    return b.concatenate(*flat, axis=len(lead))


def unpack(b: Builder, x: Any, *shapes: Shape) -> list[Any]:
    """The parts of a packed value or of its cotangent, as views."""
    lead = b.shape(x)[:-1]
    parts: list[Any] = []
    at = 0
    for shape in shapes:
        size = math.prod(shape)
        parts.append(b.reshape(axis_slice(b, x, len(lead), at if size else 0, size), shape=(*lead, *shape)))
        at += size
    return parts


# ---- matrices ----


def product(b: Builder, *factors: Any) -> Any:
    """The matrix product of stacks with equal leading extents, from the left."""
    made = factors[0]
    for factor in factors[1:]:
        made = b.dot(made, factor) if len(b.shape(made)) == 2 else b.batch_dot(made, factor)
    return made


def swapped(b: Builder, x: Any) -> Any:
    n = len(b.shape(x))
    return b.transpose(x, axes=(*range(n - 2), n - 1, n - 2))


def conj(b: Builder, x: Any) -> Any:
    return b.conj(x) if is_complex(b, x) else x


def adjoint(b: Builder, x: Any) -> Any:
    """The conjugate transpose."""
    return conj(b, swapped(b, x))


def real(b: Builder, x: Any) -> Any:
    return b.real(x) if is_complex(b, x) else x


def like(b: Builder, x: Any, other: Any) -> Any:
    """`x` in the dtype of `other`."""
    return x if b.dtype(x) == b.dtype(other) else b.convert(x, dtype=b.dtype(other).name)


def column(b: Builder, v: Any) -> Any:
    """Vectors along the last axis as columns."""
    return b.reshape(v, shape=(*b.shape(v), 1))


def row(b: Builder, v: Any) -> Any:
    """Vectors along the last axis as rows."""
    *lead, n = b.shape(v)
    return b.reshape(v, shape=(*lead, 1, n))


def block(b: Builder, x: Any, start: tuple[int, int], count: tuple[int, int]) -> Any:
    """`count` rows and columns of the last two axes from `start`."""
    *lead, n, m = b.shape(x)
    if count == (n, m):
        return x
    ones = (1,) * (len(lead) + 2)
    at = tuple(i if n else 0 for i, n in zip(start, count, strict=True))
    return b.slice(x, start=(0,) * len(lead) + at, count=(*lead, *count), step=ones, drop=())


# ---- triangles and diagonals ----

_COMPARE: dict[str, Callable[..., Any]] = {"less_equal": np.less_equal, "greater_equal": np.greater_equal, "equal": np.equal}


@lru_cache(maxsize=256)
def _mask(n: int, m: int, k: int, compare: str) -> Any:
    made = _COMPARE[compare](np.arange(m) - np.arange(n)[:, None], k)
    made.flags.writeable = False
    return made


def band(b: Builder, n: int, m: int, k: int, compare: str) -> Any:
    """The mask ``compare(j - i, k)`` of an n by m matrix."""
    if isinstance(b, EvalBuilder):
        return _mask(n, m, k, compare)
    rows = b.reshape(b.iota(n=n, dtype="int64"), shape=(n, 1))
    return getattr(b, compare)(b.sub(b.iota(n=m, dtype="int64"), rows), k)


def lower(b: Builder, x: Any, k: int = 0) -> Any:
    """The entries on and below the k-th diagonal, zeros elsewhere."""
    n, m = b.shape(x)[-2:]
    return b.where(band(b, n, m, k, "less_equal"), x, 0.0)


def upper(b: Builder, x: Any, k: int = 0) -> Any:
    """The entries on and above the k-th diagonal, zeros elsewhere."""
    n, m = b.shape(x)[-2:]
    return b.where(band(b, n, m, k, "greater_equal"), x, 0.0)


def diagonal(b: Builder, x: Any) -> Any:
    """The diagonals of the last two axes: a strided view of the flat matrices."""
    *lead, n, m = b.shape(x)
    k = min(n, m)
    return axis_slice(b, b.reshape(x, shape=(*lead, n * m)), len(lead), 0, k, m + 1 if k else 1)


def on_diagonal(b: Builder, v: Any) -> Any:
    """Square matrices with `v` on their diagonals."""
    n = b.shape(v)[-1]
    return b.where(band(b, n, n, 0, "equal"), row(b, v), 0.0)


def identity(b: Builder, n: int, dtype: DType, lead: Shape = ()) -> Any:
    """Identity matrices."""
    made = b.convert(band(b, n, n, 0, "equal"), dtype=dtype.name)
    return b.broadcast_to(made, shape=(*lead, n, n)) if lead else made


def hermitian_part(b: Builder, x: Any) -> Any:
    """(x + x^H) / 2, its own transpose in the inner product Re(sum(ct t))."""
    return b.mul(0.5, b.add(x, adjoint(b, x)))


def from_triangle(b: Builder, x: Any, is_lower: bool) -> Any:
    """The hermitian matrix whose one triangle is that of `x`."""
    inside = lower(b, x, -1) if is_lower else upper(b, x, 1)
    return b.add(b.add(inside, adjoint(b, inside)), on_diagonal(b, real(b, diagonal(b, x))))


def to_triangle(b: Builder, ct: Any, is_lower: bool) -> Any:
    """The transpose of `from_triangle`."""
    both = b.add(ct, adjoint(b, ct))
    inside = lower(b, both, -1) if is_lower else upper(b, both, 1)
    return b.add(inside, on_diagonal(b, real(b, diagonal(b, ct))))


def largest(b: Builder, v: Any) -> Any:
    """The largest magnitude along the last axis; 0 of none."""
    last = (len(b.shape(v)) - 1,)
    return b.reduce_max(b.abs(v), axes=last) if b.shape(v)[-1] else b.reduce_sum(b.abs(v), axes=last)


def _rounding(b: Builder, v: Any, extent: int) -> Any:
    """What is rounding in values computed beside `v`: `extent` eps times the largest of them."""
    return b.mul(b.number(float(np.finfo(b.dtype(v)).eps) * extent), largest(b, v))


def _inverse_where(b: Builder, condition: Any, x: Any) -> Any:
    return b.where(condition, b.div(1.0, b.where(condition, x, 1.0)), 0.0)


def gaps(b: Builder, v: Any, extent: int) -> Any:
    """1 / (v_j - v_i), and 0 on the diagonal and where the difference is rounding.

    Derivatives of vectors that belong to values closer than that do not exist; such pairs contribute nothing.
    """
    differences = b.sub(row(b, v), column(b, v))
    noise = column(b, column(b, _rounding(b, v, extent)))
    return _inverse_where(b, b.greater(b.abs(differences), noise), differences)


def sums(b: Builder, s: Any, extent: int) -> Any:
    """1 / (s_i + s_j) for s >= 0, and 0 where both are rounding."""
    totals = b.add(row(b, s), column(b, s))
    noise = column(b, column(b, _rounding(b, s, extent)))
    return _inverse_where(b, b.greater(totals, noise), totals)


def inverses(b: Builder, s: Any, extent: int) -> Any:
    """1 / s for s >= 0, and 0 where it is rounding."""
    return _inverse_where(b, b.greater(s, column(b, _rounding(b, s, extent))), s)
