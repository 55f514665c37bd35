"""Every handled numpy function against numpy: value, dtype, shape and kind, in both traces and through both namespaces.

In a graph the recorded primitives are run again from the inputs: they must agree with the values that were recorded, and
their avals with the values' shapes and dtypes.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.frontend.trace import Trace
from irgrad.ir.aval import aval_of
from tests.support.handled import C64, E0, I8, NAN, NANC, S32, B, C, Case, Cases, F, H, I, M, N, P, S, T, U, V, Z, agrees_with_numpy

CASES = Cases()
case, dropin = CASES.case, CASES.dropin

# ---- ufuncs ----

ANY = (M, F, I, B, C, P, S, S32, Z, E0, 3)
REAL = (M, F, I, P, S, S32, Z, I8)
FLOAT = (U, U.astype(np.float32), P, S, Z)
COMPLEX = (C, C64)


def unary(names: str, *inputs: Any) -> None:
    for name in names.split():
        for x in inputs:
            case(name, lambda np, x, name=name: getattr(np, name)(x), x)


unary("exp expm1 sin cos tan arctan sinh cosh tanh arcsinh log1p exp2 sqrt", U, F * F, N, P, S, S32, Z, *COMPLEX, 2, I8 * I8)
unary("log log2 log10 arcsin arccos arctanh reciprocal", *FLOAT, C)
unary("arccosh", U + 1, C)
unary("cbrt deg2rad rad2deg radians degrees fabs", *REAL)
unary("absolute abs conjugate conj square", *REAL, *COMPLEX)
unary("negative positive sign", *REAL, *COMPLEX)
unary("floor ceil trunc rint fix", *REAL)
unary("logical_not isfinite isnan isinf", *ANY)
unary("signbit", *REAL, np.array([-0.0, 0.0]))
unary("invert bitwise_not", I, B, I8)
unary("real imag angle iscomplex isreal", *REAL, *COMPLEX)
unary("nan_to_num", NAN, NAN.astype(np.float32), I, NANC, np.nan, np.float64(np.inf))
unary("sinc", V, np.zeros(3), F, P, S, I, C)
unary("isposinf isneginf", NAN, P)
unary("modf", M, P, F, NAN)
unary("real_if_close", C, C.real + 0j, M)

PAIRS = [
    (M, N),
    (M, P),
    (P, M),
    (F, 2),
    (F, 2.5),
    (2, F),
    (I, 3),
    (I8, 3),
    (3, I8),
    (M, M[0]),
    (F, M),
    (S, M),
    (S, P),
    (P, S),
    (P, 2),
    (S32, P),
    (Z, Z),
    (Z, 2),
]


def binary(names: str, pairs: list[tuple[Any, Any]]) -> None:
    for name in names.split():
        for x, y in pairs:
            case(name, lambda np, x, y, name=name: getattr(np, name)(x, y), x, y)


binary("add subtract multiply divide true_divide maximum minimum fmax fmin", [*PAIRS, (C, M), (C64, 2.0)])
binary(
    "floor_divide remainder mod fmod arctan2 hypot copysign heaviside nextafter logaddexp logaddexp2 divmod",
    [(M, N), (F, 2.5), (P, 2), (M, 1.5), (S, M)],
)
binary("floor_divide remainder fmod divmod left_shift right_shift", [(I, 3), (I8, np.int8(2)), (N, N)])
binary("greater greater_equal less less_equal equal not_equal logical_and logical_or logical_xor", [*PAIRS, (B, B)])
binary("bitwise_and bitwise_or bitwise_xor", [(I, 5), (B, B), (I8, np.int8(3))])
binary(
    "power float_power",
    [(U, U), (N, 2), (I, 3), (F, 2), (F, 3.0), (2.0, M), (U, 0.5), (C, 2), (M, 2), (U, -1.5), (N, 0.5), (P, 3), (S, 0.5), (B, 2), (M, -3)],
)
binary("ldexp", [(M, 3), (F, 2)])
binary("isclose", [(M, M), (M, M + 1e-9), (NAN, NAN), (I, I), (P, P)])
case("isclose nan", lambda np, x, y: np.isclose(x, y, rtol=0.1, atol=0.0, equal_nan=True), NAN, NAN * 1.05)
for _x, _n in (
    (M, 2),
    (M, 3),
    (M, -1),
    (M, 0),
    (U, 0.5),
    (N, 2),
    (I, 0),
    (P, 2),
    (P, 0.5),
    (P, -2),
    (3, 2),
    (3, -2),
    (S, 2),
    (Z, 2),
    (F, 2.0),
    (C, 3),
    (U, 1.3),
    (B, 2),
    (N, 2.0),
):
    case("operator **", lambda np, x, n=_n: x**n, _x)
case("operator ** traced", lambda np, x, y: x**y, U, U)
case("operator ** traced int", lambda np, x, n: x**n, U, 3)
case("operator rpow", lambda np, x: 2**x, M)
case("operator rpow array", lambda np, x, y: y**x, M, U)
case("operator @", lambda np, x, y: x @ y, M, M.T)
case("operator r@", lambda np, x: np.asarray([[1.0, 2.0, 3.0]]) @ x, M)
case("operator divmod", lambda np, x: divmod(x, 2.5), M)
case("operator rdivmod", lambda np, x: divmod(2.5, x), M)
case("operator +", lambda np, x: +x, M)
case("list operand", lambda np, x: np.add(x, [1.0, 2.0, 3.0, 4.0]), M)
case("list of traced", lambda np, x, s: np.multiply(x, [s, 2.0, 3.0, s]), M, S)
case("ufunc dtype", lambda np, x: np.add(x, 1, dtype=np.float32), F)
case("ufunc dtype up", lambda np, x: np.multiply(x, 2, dtype=np.float64), I)
for _name in ("add", "multiply", "maximum", "minimum", "logical_or", "logical_and"):
    case(f"{_name}.reduce", lambda np, x, f=_name: getattr(np, f).reduce(x), M)
    case(f"{_name}.reduce axis", lambda np, x, f=_name: getattr(np, f).reduce(x, axis=(0, 1), keepdims=True), M)
case("add.accumulate", lambda np, x: np.add.accumulate(x, axis=1), M)
case("multiply.outer", lambda np, x, y: np.multiply.outer(x, y), M, V)
case("subtract.outer list", lambda np, x: np.subtract.outer([1.0, 2.0], x), V)

# ---- selection and rounding ----

case("where", lambda np, c, x: np.where(c, x, 0.0), B, F)
case("where arrays", lambda np, c, x, y: np.where(c > 0, x, y), M, F, I)
case("where scalar", lambda np, c, x: np.where(c, x, 2), True, P)
case("where number condition", lambda np, x: np.where(x, x, -1), I)
case("where nonzero", lambda np, x: np.where(x > 0), M)
case("select", lambda np, x: np.select([x > 1, x > 0], [x, x * 2], -1), M)
for _lo, _hi in ((-0.5, 0.5), (None, 0.5), (0, None)):
    case("clip", lambda np, x, lo=_lo, hi=_hi: np.clip(x, lo, hi), M)
    case("clip f32", lambda np, x, lo=_lo, hi=_hi: np.clip(x, lo, hi), F)
case("clip int", lambda np, x: np.clip(x, -2, 3), I)
case("clip min", lambda np, x: np.clip(x, min=0.0, max=0.5), M)
case("clip arrays", lambda np, x, lo: x.clip(lo, lo + 0.5), M, U)
case("clip scalar", lambda np, x: np.clip(x, 0, 0.5), P)
for _d in (0, 2, -1):
    case("round", lambda np, x, d=_d: np.round(x, d), M * 30)
    case("round int", lambda np, x, d=_d: np.round(x, d), N)
    case("around f32", lambda np, x, d=_d: np.around(x, d), F * 30)
    case("round scalar", lambda np, x, d=_d: np.round(x, d), S)
case("round method", lambda np, x: x.round(1), M)
case("allclose", lambda np, x: np.allclose(x, x + 1e-12), M)
case("array_equal", lambda np, x, y: (np.array_equal(x, x), np.array_equal(x, y), np.array_equal(y, y[:1])), M, U)
case("array_equiv", lambda np, x: np.array_equiv(x, x[None]), M)

# ---- reductions ----

AXES = (None, 0, -1, (0, 1), ())
for _name in (
    "sum",
    "prod",
    "mean",
    "max",
    "min",
    "any",
    "all",
    "ptp",
    "std",
    "var",
    "amax",
    "amin",
    "nansum",
    "nanmean",
    "nanmax",
    "nanmin",
    "nanprod",
):
    for _axis in AXES:
        if _name in ("std", "var", "mean", "nanmean") and _axis == ():
            continue
        case(f"{_name} axis={_axis}", lambda np, x, f=_name, a=_axis: getattr(np, f)(x, axis=a), T)
        case(f"{_name} keepdims", lambda np, x, f=_name, a=_axis: getattr(np, f)(x, axis=a, keepdims=True), M)
    for _x in (F, I, N.astype(np.int8), B, S, P, Z, C):
        if _name in ("ptp", "nanmax", "nanmin", "max", "min", "amax", "amin") and (_x is C or (_x is B and _name == "ptp")):
            continue
        case(f"{_name} of {aval_of(_x)}", lambda np, x, f=_name: getattr(np, f)(x), _x)
for _name in ("sum", "prod", "mean", "max", "min", "any", "all", "std", "var"):
    case(f".{_name}", lambda np, x, f=_name: getattr(x, f)(), M)
    case(f".{_name}(0)", lambda np, x, f=_name: getattr(x, f)(0), M)
for _name in ("sum", "prod", "mean", "std", "var", "cumsum", "cumprod"):
    case(f"{_name} dtype", lambda np, x, f=_name: getattr(np, f)(x, axis=0, dtype=np.float32), I)
for _name in ("sum", "prod", "mean", "std", "var"):
    case(f"{_name} half", lambda np, x, f=_name: getattr(np, f)(x), H)
    case(f"{_name} where", lambda np, x, f=_name: getattr(np, f)(x, axis=1, where=x > -1), M)
for _name in ("sum", "prod", "any", "all"):
    case(f"{_name} empty", lambda np, x, f=_name: getattr(np, f)(x, axis=0), E0)
for _name in ("sum", "prod", "max", "min"):
    case(f"{_name} initial", lambda np, x, f=_name: getattr(np, f)(x, axis=0, initial=0.3), M)
for _name in ("max", "min"):
    case(f"{_name} where", lambda np, x, f=_name: getattr(np, f)(x, axis=0, initial=0.3, where=x > 0), M)
for _name in ("std", "var"):
    case(f"{_name} ddof", lambda np, x, f=_name: getattr(np, f)(x, axis=1, ddof=1), M)
    case(f"{_name} correction", lambda np, x, f=_name: getattr(np, f)(x, axis=1, correction=1), M)
    case(f"{_name} mean", lambda np, x, f=_name: getattr(np, f)(x, axis=1, mean=x.mean(axis=1, keepdims=True)), M)
for _name in ("nansum", "nanmean", "nanmax", "nanmin", "nanprod"):
    case(f"{_name} nan", lambda np, x, f=_name: getattr(np, f)(x, axis=0), NAN)
for _name in ("argmax", "argmin", "cumsum", "cumprod"):
    for _axis in (None, 0, -1):
        case(f"{_name} axis={_axis}", lambda np, x, f=_name, a=_axis: getattr(np, f)(x, axis=a), M)
        case(f".{_name} axis={_axis}", lambda np, x, f=_name, a=_axis: getattr(x, f)(axis=a), I8.reshape(1, 3))
    case(f"{_name} 0-d", lambda np, x, f=_name: getattr(np, f)(x), Z)
    case(f"{_name} number", lambda np, x, f=_name: getattr(np, f)(x), P)
for _axis in (None, 0, 1):
    case("argmax keepdims", lambda np, x, a=_axis: np.argmax(x, axis=a, keepdims=True), M)
    case("count_nonzero", lambda np, x, a=_axis: np.count_nonzero(x, axis=a), I)
    case("median", lambda np, x, a=_axis: np.median(x, axis=a), M)
    case("average", lambda np, x, a=_axis: np.average(x, axis=a), M)
    case("average weights", lambda np, x, w, a=_axis: np.average(x, axis=a, weights=w), M, U)
case("median odd", lambda np, x: np.median(x, axis=(0, 2), keepdims=True), T)
case("median nan", lambda np, x: np.median(x, axis=0), NAN)
case("median int", lambda np, x: np.median(x), N)
case("average returned", lambda np, x, w: np.average(x, axis=1, weights=w, returned=True), M, U[0])
case("cumulative_sum", lambda np, x: np.cumulative_sum(x, axis=1, include_initial=True), M)
case("cumulative_prod", lambda np, x: np.cumulative_prod(x), V)
case("sum of list", lambda np, s: np.sum([s, 2.0, s * s]), P)

# ---- shape ----

for _shape in ((4, 3), (-1,), -1, (2, -1, 3), 12):
    case("reshape", lambda np, x, s=_shape: np.reshape(x, s), M)
    case(".reshape", lambda np, x, s=_shape: x.reshape(s), M)
case(".reshape args", lambda np, x: x.reshape(2, 6), M)
case("reshape F", lambda np, x: np.reshape(x, (4, 3), order="F"), M)
case("reshape same", lambda np, x: x.reshape(3, 4), M)
case("reshape traced", lambda np, x, n: np.reshape(x, (n, -1)), M, 2)
case("reshape list", lambda np, s: np.reshape([s, s], (2, 1)), P)
for _f in ("ravel", "flatten", "copy", "squeeze", "conj"):
    case(f".{_f}", lambda np, x, f=_f: getattr(x, f)(), T)
for _x in (M, Z, P, E0):
    case("ravel", lambda np, x: np.ravel(x), _x)
    case("squeeze", lambda np, x: np.squeeze(x), _x)
    case("transpose", lambda np, x: np.transpose(x), _x)
    for _f in ("atleast_1d", "atleast_2d", "atleast_3d"):
        case(_f, lambda np, x, f=_f: getattr(np, f)(x), _x)
case("ravel F", lambda np, x: np.ravel(x, order="F"), M)
case("T", lambda np, x: (x.T, x.mT, x.real, x.imag), M)
case("complex attributes", lambda np, x: (x.T, x.real, x.imag, x.conj()), C)
case("number attributes", lambda np, x: (x.real, x.imag, x.conjugate()), P)
case("number is_integer", lambda np, x: x.is_integer(), P)
case("transpose axes", lambda np, x: (np.transpose(x, (2, 0, 1)), x.transpose(2, 0, 1), x.transpose((0, 2, 1)), x.transpose()), T)
case(
    "axes",
    lambda np, x: (
        np.swapaxes(x, 0, -1),
        np.moveaxis(x, 0, -1),
        np.moveaxis(x, (0, 1), (-1, 0)),
        np.rollaxis(x, 2),
        np.rollaxis(x, 0, 3),
        np.matrix_transpose(x),
    ),
    T,
)
case("expand_dims", lambda np, x: (np.expand_dims(x, 0), np.expand_dims(x, (0, -1)), np.expand_dims(x, 1)), M)
case("squeeze axis", lambda np, x: (np.squeeze(x[None], 0), x[:, None].squeeze(axis=1), np.squeeze(x[None, None], axis=(0, 1))), M)
case("broadcast_to", lambda np, x: np.broadcast_to(x, (2, 3, 4)), M)
case("broadcast_arrays", lambda np, x, y: np.broadcast_arrays(x, y), M, V[:4])
case("atleast many", lambda np, x, y: np.atleast_2d(x, y), V, P)
case("concatenate", lambda np, x, y: (np.concatenate([x, y]), np.concatenate((x, y), axis=1), np.concatenate([x, y], axis=None)), M, F)
case("concatenate plain", lambda np, x: np.concatenate([x, [1.0, 2.0]]), V)
case("concatenate int", lambda np, x: np.concatenate([x, I8]), V.astype(np.float32))
case("concatenate dtype", lambda np, x: np.concatenate([x, x], dtype=np.float32), M)
case("concatenate one", lambda np, x: np.concatenate([x]), M)
case("concatenate rows", lambda np, x: np.concatenate(x), T)
case("stack", lambda np, x, y: (np.stack([x, y]), np.stack((x, y), axis=-1), np.stack([x, y], axis=1)), M, I)
case("stack numbers", lambda np, s, p: np.stack([s, p, 2]), S, P)
case("stackers", lambda np, x, y: (np.vstack([x, y]), np.hstack([x, y]), np.dstack([x, y]), np.column_stack([x, y])), V, V + 1)
case("stackers 2d", lambda np, x: (np.vstack([x, x]), np.hstack([x, x]), np.dstack([x, x]), np.column_stack([x, x])), M)
case("append", lambda np, x: (np.append(x, 1.0), np.append(x, x, axis=0)), M)
case("block", lambda np, x: (np.block([[x, x], [x, x]]), np.block([x, x])), M)
case("block numbers", lambda np, x, s: np.block([[x, np.ones((3, 1))], [np.zeros((1, 4)), s]]), M, S)
case(
    "split",
    lambda np, x: (np.split(x, 2, axis=1), np.split(x, [1, 3], axis=1), np.array_split(x, 3, axis=1), np.vsplit(x, 3), np.hsplit(x, 2)),
    M,
)
case("split edges", lambda np, x: np.split(x, [3, 2, 9]), V)
case("dsplit", lambda np, x: np.dsplit(x, 2), T)
case("unstack", lambda np, x: np.unstack(x, axis=1), M)
for _axis in (None, 0, -1, (0, 2)):
    case("flip", lambda np, x, a=_axis: np.flip(x, a), T)
case(
    "whole floats",
    lambda np, x: (np.roll(x, 1.5), np.roll(x, (1.0, 2), (0, 1)), np.repeat(x, 2.0)),
    M,
)
if np.lib.NumpyVersion(np.__version__) < "2.5.0":  # which warns of them
    case("whole floats", lambda np, x: (np.rot90(x, 3.0), np.tril(x, 1.0), np.triu(x, -1.0)), M)
case("norms along floats", lambda np, x: np.linalg.norm(x, axis=1.0), M)
case("flips", lambda np, x: (np.flipud(x), np.fliplr(x), np.rot90(x), np.rot90(x, 2), np.rot90(x, 3), np.rot90(x, 4)), M)
case("flip empty", lambda np, x: np.flip(x), E0)
for _s, _a in ((1, None), (-2, 1), ((1, 2), (0, 1)), (5, 0), (2, (0, 1)), (0, 0)):
    case("roll", lambda np, x, s=_s, a=_a: np.roll(x, s, a), M)
for _r in (2, (2,), (2, 1), (1, 2, 2)):
    case("tile", lambda np, x, r=_r: np.tile(x, r), M)
case("tile number", lambda np, x: np.tile(x, 3), P)
for _r, _a in ((2, None), (2, 0), (3, 1), ([1, 0, 2], 0), ([2], 1)):
    case("repeat", lambda np, x, r=_r, a=_a: (np.repeat(x, r, a), x.repeat(r, a)), M)
for _w in (1, (1, 2), ((1, 0), (0, 2))):
    case("pad", lambda np, x, w=_w: np.pad(x, w), M)
    for _m in ("edge", "reflect", "symmetric", "wrap"):
        case(f"pad {_m}", lambda np, x, w=_w, m=_m: np.pad(x, w, mode=m), M)
case("pad value", lambda np, x: np.pad(x, 1, constant_values=2), F)
case("pad traced value", lambda np, x, s: np.pad(x, 1, constant_values=s), M, S)
case("pad values", lambda np, x: np.pad(x, ((1, 2), (2, 1)), constant_values=((1, 2), (3, 4))), M)
for _k in (0, 1, -1, 5, -5):
    case(
        "diag", lambda np, x, v, k=_k: (np.diag(x, k), np.diag(v, k), np.diagonal(x, k), np.trace(x, k), np.tril(x, k), np.triu(x, k)), M, V
    )
    case("eye", lambda np, x, k=_k: x + np.eye(3, 4, k) + np.tri(3, 4, k), M)
case(
    "diagonal axes",
    lambda np, x: (np.diagonal(x, 1, 1, 2), x.diagonal(0, 2, 0), np.trace(x, 0, 1, 2), np.linalg.diagonal(x), np.linalg.trace(x)),
    T,
)
case("trace int", lambda np, x: np.trace(x), N.astype(np.int8))
case("diagflat", lambda np, x: np.diagflat(x, 1), M)
case(
    "diff",
    lambda np, x: (
        np.diff(x),
        np.diff(x, axis=0),
        np.diff(x, n=2),
        np.diff(x, prepend=0.0),
        np.diff(x, append=x[:, :1], axis=1),
        np.diff(x > 0),
    ),
    M,
)
case("ediff1d", lambda np, x: (np.ediff1d(x), np.ediff1d(x, to_begin=0.0, to_end=[1.0, 2.0])), V)
case("gradient", lambda np, x: (np.gradient(x), np.gradient(x, 0.5, axis=1), np.gradient(x, 1.0, 2.0)), M)
case("meshgrid", lambda np, x, y: (np.meshgrid(x, y), np.meshgrid(x, y, indexing="ij"), np.meshgrid(x, y, sparse=True)), V, V[:3])

# ---- creation ----

dropin("array nested", lambda np, c, s: np.array([[c, -s], [s, c]]), S, P)
dropin("array mixed", lambda np, x: np.array([x[0], 1, 2.0]), V)
dropin("array rows", lambda np, x: np.array([x, x * 2]), V)
dropin("array list of rows", lambda np, x: np.array([x[0], [1, 2, 3, 4]]), M)
dropin("array dtype", lambda np, x: np.array([x[0], 1], dtype=np.float32), V)
dropin(
    "array of traced",
    lambda np, x: (np.array(x), np.asarray(x), np.asarray(x, dtype=np.float32), np.array(x, ndmin=3), np.ascontiguousarray(x), np.copy(x)),
    M,
)
dropin("array of numbers", lambda np, p, i, b: (np.array(p), np.array(i), np.array([p, i, b])), P, 3, True)
case(
    "likes",
    lambda np, x: (
        np.zeros_like(x),
        np.ones_like(x),
        np.full_like(x, 3),
        np.zeros_like(x, dtype=int),
        np.ones_like(x, shape=(2,)),
        np.full_like(x, x[0, 0]),
    ),
    F,
)
dropin("full traced", lambda np, s: (np.full((2, 3), s), np.full(3, s, dtype=np.float32)), S)
dropin("full array", lambda np, x: np.full((2, 4), x[0]), M)
case(
    "linspace",
    lambda np, a, b: (np.linspace(a, b, 5), np.linspace(a, b, 4, endpoint=False), np.linspace(a, b, 1), np.linspace(0, b, 3, retstep=True)),
    P,
    2.5,
)
case("linspace arrays", lambda np, x: (np.linspace(x, x + 1, 3), np.linspace(x, 2, 3, axis=-1)), V)
case("linspace int", lambda np, a: np.linspace(a, 10, 4, dtype=int), 1.0)
case("arange traced", lambda np, a: (np.arange(a, 3.0, 0.5), np.arange(a), np.arange(0, a * 4)), 1.3)
case("arange int", lambda np, n: (np.arange(n), np.arange(n, 9, 2), np.arange(1, n)), 5)
case("vander", lambda np, x: (np.vander(x), np.vander(x, 3, increasing=True)), V)

# ---- index ----

INDEX = [
    0, -1, slice(None), slice(1, 3), slice(None, None, -1), slice(2, None, -2), slice(5, 9), Ellipsis, None, (), (0, 1), (slice(None), 1),
    (Ellipsis, 0), (None, 0), (0, None, Ellipsis, None), (slice(None), None), (1, Ellipsis, slice(0, 2)), [0, 1], ([0, 1], [1, 2]),
    (0, [1, 2]),
    ([0, 1], slice(None), [2, 3]), (slice(None), [0, 2]), (slice(None), [0, 2], [1, 3]), (slice(None), 1, [0, 3]), (0, slice(None), [0, 3]),
    (Ellipsis, [0, 3]), ([[0], [1]], [[0, 2]]), (None, [0, 1], None), ([0, 1], None, [0, 2]), ([0, 1], Ellipsis, [0, 2]),
    (slice(None), slice(0, 2), [1, -1]),
    (np.array([True, False]), 0), (slice(None), np.array([True, False, True])), (np.array([True, True]), Ellipsis, [0, 1]),
    np.array([[0, 1], [1, 0]]), np.array(1), np.int64(1), (np.int32(0), slice(0, 1)), [], (0, 0, 0), (0, 0, 0, Ellipsis),
    np.zeros((2, 3), bool) | [True, False, True],
    (slice(1, None), slice(None, None, -1), slice(None, None, 2)), (1, slice(None), None, [0, 1]),
    (slice(None), [0, 1], slice(None), None), ([1], slice(None), 2),
]  # fmt: skip
for _i in INDEX:
    case(f"x[{_i!r}]", lambda np, x, i=_i: x[i], T)
case("mask", lambda np, x: (x[x > 0], x[x[:, 0] > 0], x[:, x[0] > 0], x[(x > 0) & (x < 1)]), M)
case("mask none", lambda np, x: x[x > 100], M)
case("traced index", lambda np, x, i: (x[i], x[i, 1], x[:, i], x[i, :, 0], x[..., i], x[i, [0, 1]]), T, 1)
case("traced slice", lambda np, x, i: (x[i:], x[:i, i], x[::i]), M, 1)
case("traced index array", lambda np, x, i: (x[i], x[i, i], x[:, i], x[0, i], x[i, 0], x[i][:, i]), M, np.array([0, 2, 1]))
case("argmax index", lambda np, x: x[x.argmax()], V)
case("row of argmin", lambda np, x: x[np.argmin(x[:, 0])], M)
case("list of traced ints", lambda np, x, i: x[[i, 0]], M, 2)
case("number index", lambda np, s, z: (z[()], z[...], s[()], z[None]), S, Z)
case("vector of one", lambda np, x: (x[0, ...], x[..., 0]), V[:1])
case("iteration", lambda np, x: [row * 2 for row in x], M)
case("unpacking", lambda np, x: (lambda a, b, c: a + b * c)(*x), M)
for _a in (None, 0, 1, -1):
    case("take", lambda np, x, a=_a: (np.take(x, [0, 2], axis=a), x.take(1, axis=a), np.take(x, [[0, 1], [2, 0]], axis=a)), M)
case("take modes", lambda np, x: (np.take(x, [-1, 7], axis=0, mode="wrap"), np.take(x, [-1, 7], axis=1, mode="clip")), M)
case(
    "take_along_axis",
    lambda np, x: (np.take_along_axis(x, np.argsort(x, axis=1), axis=1), np.take_along_axis(x, x.argmax(axis=0)[None], 0)),
    M,
)
case(
    "compress",
    lambda np, x: (np.compress([True, False, True], x, axis=0), x.compress([False, True, True, False], axis=1), np.extract(x > 0, x)),
    M,
)
case("nonzero", lambda np, x: (np.nonzero(x > 0), (x > 0).nonzero(), np.flatnonzero(x > 0), np.argwhere(x > 0)), T)
case("unravel_index", lambda np, x: np.unravel_index(np.argmax(x), (3, 4)), M)
case("item", lambda np, x: (x[0, 0].item(), x.item(3), x.item(1, 2), x[:1, :1].item()), F)
case("tolist", lambda np, x: (x.tolist(), x[0, 0].tolist()), N)
case("bool item", lambda np, x: (x > 0)[0, 0].item(), M)
case("sort", lambda np, x: (np.sort(x), np.sort(x, axis=0), np.sort(x, axis=None), np.argsort(x, axis=0), x.argsort(axis=None)), M)
case(
    "astype",
    lambda np, x: (x.astype(np.float32), x.astype(int), x.astype(float), x.astype(bool), x.astype(complex), np.astype(x, np.float16)),
    M,
)
case("astype scalar", lambda np, s: s.astype(np.float32), S)
case("flat", lambda np, x: list(x.flat), M)
case(
    "inspect",
    lambda np, x, p: (
        np.shape(x),
        np.ndim(x),
        np.size(x),
        np.iscomplexobj(x),
        np.isscalar(p),
        np.result_type(x, p),
        x.shape,
        x.size,
        len(x),
    ),
    F,
    P,
)


@CASES.parametrized
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:numpy.fix is deprecated")
def test_agrees_with_numpy(case: Case, kind: type[Trace]) -> None:
    agrees_with_numpy(case, kind)


BLOCK = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("wrap", [lambda f: f, irgrad.jit], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.transpose(1, 0, 2).ravel("K"),
        lambda x: (x.transpose(2, 0, 1) * 2).flatten("K"),
        lambda x: np.reshape(x, (6, 4), order="A"),
        lambda x: np.ravel(np.copy(x).T, order="A"),
        lambda x: np.reshape(x.copy().T, (6, 4), order="A"),
        lambda x: x.ravel("K"),
        lambda x: (2 * x).ravel("K"),
        lambda x: x.copy().ravel("K"),
        lambda x: np.copy(x).ravel("K"),
        lambda x: np.asfortranarray(x).ravel("K"),
        lambda x: np.array(x, order="F").ravel("K"),
    ],
)
def test_order_in_memory(f: Any, wrap: Any) -> None:
    g = wrap(irgrad.value_and_grad(lambda x: (y := f(x), np.sum(y * np.arange(24.0).reshape(y.shape)))[1]))
    wide = np.repeat(BLOCK, 2, axis=1)[:, ::2]
    for x in (BLOCK, np.asfortranarray(BLOCK), wide, np.asfortranarray(wide)[:, ::-1], BLOCK.reshape(3, 2, 4).transpose(1, 0, 2)):
        for _ in range(2):
            value, slope = g(x)
            want = f(x)
            weights = np.arange(24.0).reshape(want.shape)
            assert value == np.sum(want * weights)
            assert np.sum(slope * x) == value  # the function is linear
            np.testing.assert_array_equal(wrap(f)(x), want)


@pytest.mark.parametrize("big", [300, 2**63, 2**70])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_integers_out_of_range_compare_as_infinity(dtype: Any, big: int) -> None:
    x = np.array([1, np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)
    f = lambda x: (x > big, x < big, x == big, x != -big, x >= -big, np.greater(x, big), x[1] <= big, -big < x[0])
    compiled = irgrad.jit(f)
    for _ in range(3):
        for found, want in zip(compiled(x), f(x), strict=True):
            np.testing.assert_array_equal(found, want)


def test_powers_of_bools() -> None:
    x = np.arange(3.0)
    f = lambda x: ((x > 1) ** 2, (x > 1) ** 3, (x.sum() > 1) ** 2, (x.sum() > 1) ** 0.5, np.square(x > 1))
    compiled = irgrad.jit(f)
    for _ in range(3):
        for found, want in zip(compiled(x), f(x), strict=True):
            assert type(found) is type(want) and found.dtype == want.dtype
            np.testing.assert_array_equal(found, want)


def test_numbers_that_are_not_real_have_no_ratio_and_no_rounding() -> None:
    with pytest.raises(TypeError, match=r"type numpy\.complex128 doesn't define __round__"):
        irgrad.jit(lambda z: round(z[0]))(np.array([1j]))
    with pytest.raises(irgrad.errors.UnsupportedError, match=r"np\.mean for statistics.mean"):
        irgrad.jit(lambda x: statistics.mean(x))(np.arange(3.0))


def test_sums_in_small_integers() -> None:
    x = np.array([100, 100, 3], np.int8)
    f = lambda x: (np.sum(x, dtype=np.int8), np.prod(x, dtype=np.int16), np.cumsum(x, dtype=np.int8), np.sum(x, dtype=bool))
    compiled = irgrad.jit(f)
    for _ in range(3):
        for found, want in zip(compiled(x), f(x), strict=True):
            assert found.dtype == want.dtype
            np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("wrap", [lambda f: f, irgrad.jit], ids=["eager", "compiled"])
def test_pieces_are_joined_as_the_directive_says(wrap: Any) -> None:
    x, y = np.arange(3.0), np.arange(6.0).reshape(2, 3)
    cases: list[tuple[Any, Any]] = [
        (lambda x: np.r_["0,2", x, 2 * x], x),
        (lambda x: np.r_["-1", x, x], y),
        (lambda x: np.r_["1,2,0", x, 0:3, [4.0, 5.0, 6.0]], x),
        (lambda x: np.r_["0,3,1", x, x], x),
        (lambda x: np.r_["1,3,-1", x, y], x),
        (lambda x: np.r_["0,2,0", x, x[0], 1.0], x),
        (lambda x: np.c_["0,2", x, x], x),
        (lambda x: np.c_[x, 0:3, [4.0, 5.0, 6.0]], x),
        (lambda x: np.c_["0", x, x], y),
    ]
    for f, v in cases:
        want = f(v)
        for g in [wrap(f)] * 3:
            np.testing.assert_array_equal(g(v), want)
        weights = np.arange(1.0, want.size + 1).reshape(want.shape)
        slope = wrap(irgrad.grad(lambda v, f=f, weights=weights: np.sum(f(v) ** 2 * weights)))(v)
        assert abs(np.sum(slope * v) - 2 * np.sum((f(v) - f(0 * v)) * f(v) * weights)) < 1e-9  # the function is affine
    for f, error in [(lambda x: np.r_["r", x], irgrad.errors.UnsupportedError), (lambda x: np.r_["0,z", x], ValueError)]:
        with pytest.raises(error, match=r"test_handlers_numpy\.py"):
            irgrad.grad(lambda x, f=f: np.sum(f(x)))(x)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_complex_numbers_in_order_and_in_real_arrays() -> None:
    z = np.array([1 + 2j, -1 - 1j, 3, 1 - 5j, np.nan, 2 + 1j * np.nan])
    cases: list[tuple[Any, Any]] = [
        (lambda z: np.nanmedian(z), z),
        (lambda z: np.nanmedian(z[:5], keepdims=True), z),
        (lambda z: np.nanmedian(z.reshape(2, 3), axis=1), z),
        (lambda z: np.clip(z, 0, 1), z.astype(np.complex64)),
        (lambda z: np.clip(z, -1j, z * 2), z),
        (lambda z: np.clip(z.real, 0, 1 + 1j), z),
        (lambda x: np.full_like(x, 1j + 2), np.ones(3)),
        (lambda x: x + np.full(3, 2j + 1, dtype=float), np.ones(3)),
        (lambda z: np.sinc(z), 1 + 2j),
        (lambda z: np.sum(z, dtype=np.float32), 1 + 2j),
    ]
    for f, v in cases:
        with np.errstate(all="ignore"):
            want = f(v)
            for g in [irgrad.jit(f)] * 3:
                found = g(v)
                assert found.dtype == want.dtype
                np.testing.assert_array_equal(found, want)
