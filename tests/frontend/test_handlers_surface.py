"""Sets, counting, polynomials, quantiles, padding, callbacks, index functions and ufunc methods against numpy.

Values, dtypes, shapes and kinds, in both traces, through irgrad.numpy and through plain numpy where that dispatches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.numpy as inp
from irgrad.errors import IrgradError
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from tests.support.handled import Case, Cases, agrees_with_numpy
from tests.support.tracing import concrete, same, traced, tracing

RNG = np.random.default_rng(8)
V = RNG.normal(size=6)
M = RNG.normal(size=(3, 4))
F = M.astype(np.float32)
T = RNG.normal(size=(2, 3, 4))
C = M + 1j * RNG.normal(size=(3, 4))
I = np.array([3, 1, 2, 3, 0, 1, 7])
I2 = np.array([[2, 1, 2], [0, 1, 2], [2, 1, 2]])
B = M > 0
NAN = np.array([[1.0, np.nan, -2.0, 0.5], [np.nan, 3.0, 0.25, 4.0], [1.5, 2.0, -1.0, 0.0]])
TIES = np.array([0.5, -1.0, 0.5, np.nan, 2.0, np.nan, -1.0])
W = np.array([1.0, 2.0, 0.5, 3.0])

CASES = Cases()
case, dropin = CASES.case, CASES.dropin


# ---- sets ----

for _x in (V, I, I2, TIES, B, C, F, np.zeros(0), np.array(2.5)):
    case("unique", lambda np, x: np.unique(x), _x)
    case("unique all", lambda np, x: np.unique(x, return_index=True, return_inverse=True, return_counts=True), _x)
    case("unique counts", lambda np, x: (*np.unique_counts(x), *np.unique_all(x), *np.unique_inverse(x)), _x)
    case("unique equal_nan", lambda np, x: np.unique(x, return_counts=True, equal_nan=False), _x)
case("unique names", lambda np, x: (np.unique_all(x).inverse_indices, np.unique_counts(x).counts), I)
case("unique rows", lambda np, x: (np.unique(x, axis=0), *np.unique(x, True, True, True, axis=0)), I2)
case("unique columns", lambda np, x: (np.unique(x, axis=1), *np.unique(x, return_counts=True, axis=-1)), I2)
case("unique blocks", lambda np, x: np.unique(np.concatenate([x, x]), axis=0), T)
for _x, _y in ((V, V[::2]), (I, np.array([1, 3, 9])), (I2, I), (V, np.zeros(0)), (I, np.array([1.0, 2.5]))):
    case("union1d", lambda np, x, y: (np.union1d(x, y), np.setxor1d(x, y), np.setdiff1d(x, y)), _x, _y)
    case("intersect1d", lambda np, x, y: (np.intersect1d(x, y), *np.intersect1d(x, y, return_indices=True)), _x, _y)
    case("isin", lambda np, x, y: (np.isin(x, y), np.isin(x, y, invert=True), np.isin(x[0], y)), _x, _y)
case("assume_unique", lambda np, x, y: (np.setdiff1d(x, y, True), np.setxor1d(x, y, True), np.intersect1d(x, y, True)), V, V[:2])

# ---- counting ----

case("bincount", lambda np, x: (np.bincount(x), np.bincount(x, minlength=12), np.bincount(x[:0], minlength=2)), I)
case("bincount weights", lambda np, x, w: np.bincount(x, w), I, RNG.normal(size=7))
for _bins in (np.array([-1.0, 0.0, 1.0]), np.array([1.0, 0.0, -1.0]), np.array([0.0])):
    case("digitize", lambda np, x, b: (np.digitize(x, b), np.digitize(x, b, right=True), np.digitize(x[0, 0], b)), M, _bins)
case("digitize edges", lambda np, x: np.digitize(x, np.array([0, 1, 2, 3])), I)
for _x in (V, I, F, TIES[:3], np.full(3, 2.0), np.zeros(0)):
    case("histogram", lambda np, x: (*np.histogram(x), *np.histogram(x, bins=3), *np.histogram(x, 4, (-1.0, 2.0))), _x)
    case("histogram edges", lambda np, x: (*np.histogram(x, np.array([-1.0, 0.0, 0.5, 2.0])), np.histogram_bin_edges(x, 3)), _x)
case("histogram density", lambda np, x, w: (*np.histogram(x, 3, density=True), *np.histogram(x, 3, weights=w, density=True)), V, V**2)
case("histogram weights", lambda np, x, w: (*np.histogram(x, 4, weights=w), *np.histogram(x, 4, weights=w > 0)), V, V[::-1])
case("histogram2d", lambda np, x, y: np.histogram2d(x, y, bins=3), V, V[::-1] ** 2)
case("histogram2d grids", lambda np, x, y: np.histogram2d(x, y, bins=[np.array([-1.0, 0.0, 1.0]), 2], weights=y), V, V**2)
case("histogramdd", lambda np, x: (*np.histogramdd(x, bins=(2, 3, 2, 1)), *np.histogramdd(x, 2, density=True)), RNG.normal(size=(7, 4)))
case("histogramdd range", lambda np, x: np.histogramdd(x, 2, range=[(-1.0, 1.0), None, None, (0.0, 1.0)]), RNG.normal(size=(7, 4)))

# ---- order ----

case("lexsort", lambda np, x, y: (np.lexsort((x, y)), np.lexsort(np.stack([x, y]))), I[:6], V)
case("lexsort rows", lambda np, x: (np.lexsort((x, -x), axis=0), np.lexsort((x,), axis=1)), I2)
for _x in (M, I2, V):
    case("argpartition", lambda np, x: (np.argpartition(x, 1), np.argpartition(x, [0, 2], axis=0), x.argpartition(1, None)), _x)
case("sort_complex", lambda np, x, y, z: (np.sort_complex(x), np.sort_complex(y), np.sort_complex(z)), C, I, F)
case("searchsorted sorter", lambda np, x: np.searchsorted(x, x[:2], sorter=np.argsort(x)), V)
case("searchsorted nan", lambda np, x: (np.searchsorted(x, x), np.searchsorted(x, x, "right")), np.sort(TIES))
case("searchsorted large", lambda np, x: np.searchsorted(x, x[::-1]), np.arange(300.0))
case("searchsorted method", lambda np, x: (x.searchsorted(0.3), x.searchsorted([0.1, 9.0], "right")), np.sort(V))

# ---- polynomials ----

_PAIRS = [(V, W), (W, V), (I, np.array([1, 2])), (np.array([0.0, 0.0, 1.0, 2.0]), W), (C[0], W), (V, np.array([2.0])), (F[0], F[1][:2])]
for _p, _q in _PAIRS:
    case("polyadd", lambda np, p, q: (np.polyadd(p, q), np.polysub(p, q), np.polymul(p, q)), _p, _q)
    case("polydiv", lambda np, p, q: np.polydiv(p, q), _p, _q)
for _p in (V, I, C[0], np.array([1.0])):
    case("polyder", lambda np, p: (np.polyder(p), np.polyder(p, 2), np.polyder(p, 0)), _p)
    case("polyint", lambda np, p: (np.polyint(p), np.polyint(p, 2), np.polyint(p, 2, 3.0), np.polyint(p, 2, [1, 2])), _p)
case("poly", lambda np, x: (np.poly(x), np.poly(x[:1]), np.poly(x[:0]), np.poly([1, 2])), V)
case("poly complex", lambda np, x: (np.poly(x), np.poly(np.concatenate([x, np.conj(x)]))), C[0])
case("poly matrix", lambda np, x: np.poly(x), M[:, :3])
for _p in (W, np.array([0.0, 1.0, -3.0, 2.0, 0.0, 0.0]), np.array([2, -3]), np.array([4.0, 0.0]), np.zeros(3), np.array([3.0])):
    case("roots", lambda np, p: np.sort_complex(np.roots(p)), _p)
case("polyfit", lambda np, x, y: (np.polyfit(x, y, 2), np.polyfit(x, np.stack([y, x], 1), 1), np.polyfit(x, y, 2, w=y**2)), V, V[::-1] ** 2)
case("polyfit cov", lambda np, x, y: (*np.polyfit(x, y, 2, cov=True), *np.polyfit(x, y, 1, cov="unscaled")), V, V[::-1] ** 2)
case("polyfit full", lambda np, x, y: np.polyfit(x, y, 2, full=True)[:4], V, V[::-1] ** 2)

# ---- quantiles ----

METHODS = (
    "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull", "linear",
    "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint", "nearest",
)  # fmt: skip
LEVELS = np.array([0.0, 0.4, 1.0])
PADDED = np.array([0.0, 0, 1, 0, 2, 0])
for _m in METHODS:
    case(
        f"quantile {_m}",
        lambda np, x, m=_m: (np.quantile(x, [0.0, 0.2, 0.5, 0.93, 1.0], axis=1, method=m), np.quantile(x, 0.3, method=m)),
        M,
    )
    case(f"percentile {_m}", lambda np, x, m=_m: np.percentile(x, [[0, 35], [50, 100]], axis=(0, 2), method=m, keepdims=True), T)
for _m in ("linear", "hazen", "weibull", "median_unbiased", "interpolated_inverted_cdf", "lower", "higher", "midpoint"):
    case(
        f"quantile traced {_m}",
        lambda np, x, q, m=_m: (np.quantile(x, q, axis=0, method=m), np.quantile(x, q[1], method=m)),
        M,
        np.array([0.0, 0.4, 1.0]),
    )
    case(
        f"nanquantile {_m}",
        lambda np, x, m=_m: (np.nanquantile(x, [0.1, 0.6, 1.0], axis=1, method=m), np.nanquantile(x, 0.3, method=m)),
        NAN,
    )
for _axis in (None, 0, 1):
    case("quantile weights", lambda np, x, w, a=_axis: np.quantile(x, [0.0, 0.3, 1.0], axis=a, method="inverted_cdf", weights=w), M, M**2)
case("quantile weights row", lambda np, x, w: np.quantile(x, 0.4, axis=1, method="inverted_cdf", weights=w, keepdims=True), M, W)
case("quantile infinite", lambda np, x: np.quantile(x, [0.25, 1.0]), np.array([1.0, np.inf, 2.0]))
case("quantile f32", lambda np, x: np.quantile(x, 0.3, axis=0), F)

# ---- functions that skip nan ----

for _name in ("nansum", "nanprod", "nanmean", "nanmax", "nanmin", "nanvar", "nanstd", "nanmedian", "nanargmax", "nanargmin"):
    for _axis in (None, 0, 1):
        case(f"{_name} {_axis}", lambda np, x, f=_name, a=_axis: (getattr(np, f)(x, axis=a), getattr(np, f)(x, axis=a, keepdims=True)), NAN)
    case(f"{_name} int", lambda np, x, f=_name: getattr(np, f)(x, axis=0), I2)
for _name in ("nancumsum", "nancumprod"):
    case(_name, lambda np, x, f=_name: (getattr(np, f)(x), getattr(np, f)(x, axis=1), getattr(np, f)(x[0, 0])), NAN)
for _name in ("nansum", "nanprod", "nanmean", "nanvar", "nanstd"):
    case(f"{_name} where", lambda np, x, f=_name: getattr(np, f)(x, axis=0, where=x > -1.5), NAN)
case("nanmax initial", lambda np, x: (np.nanmax(x, axis=0, initial=1.2), np.nanmin(x, axis=1, initial=9.0, where=x < 3)), NAN)
case("nanvar ddof", lambda np, x: (np.nanvar(x, axis=0, ddof=1), np.nanstd(x, axis=1, ddof=2), np.nanvar(x, correction=1)), NAN)
case("nanvar few", lambda np, x: np.nanvar(x, axis=0, ddof=2), NAN[:2])
case("nanmedian all nan", lambda np, x: (np.nanmedian(x, axis=0), np.nanquantile(x, 0.5, axis=0)), np.array([[np.nan, 1.0], [np.nan, 2.0]]))

# ---- padding ----

for _mode in ("constant", "edge", "reflect", "symmetric", "wrap", "maximum", "minimum", "mean", "median", "linear_ramp"):
    for _width in (1, ((2, 1), (0, 3)), ((5, 4), (7, 1))):
        case(f"pad {_mode}", lambda np, x, m=_mode, w=_width: np.pad(x, w, m), M)
        case(f"pad int {_mode}", lambda np, x, m=_mode, w=_width: np.pad(x, w, m), I2 * 5)
for _mode in ("reflect", "symmetric"):
    for _width in (1, 2, 3, 7):
        case(f"pad odd {_mode}", lambda np, x, m=_mode, w=_width: np.pad(x, w, m, reflect_type="odd"), M)
for _mode in ("maximum", "minimum", "mean", "median"):
    case(f"pad stat {_mode}", lambda np, x, m=_mode: np.pad(x, 2, m, stat_length=((1, 2), (3, 9))), M)
case("pad values", lambda np, x: np.pad(x, ((1, 2), (2, 1)), constant_values=((1, 2), (3, 4))), M)
case("pad traced values", lambda np, x, v: (np.pad(x, 1, constant_values=v), np.pad(x, 1, constant_values=v[0])), M, np.array([0.5, 2.0]))
case("pad ramp ends", lambda np, x: np.pad(x, 2, "linear_ramp", end_values=((1, -4), (0, 2))), M)
case("pad one", lambda np, x: np.pad(x, 2, "reflect", reflect_type="odd"), M[:1])
case("pad none", lambda np, x: (np.pad(x, 0, "mean"), np.pad(x, 0, "edge"), np.pad(x, 0)), M)

# ---- callbacks ----

case("apply_along_axis", lambda np, x: [np.apply_along_axis(np.sum, a, x) for a in (0, 1, -1)], T)
case("apply_along_axis rows", lambda np, x: [np.apply_along_axis(lambda v: np.outer(v, v[:2]), a, x) for a in (0, 1, 2)], T)
case("apply_along_axis arguments", lambda np, x: np.apply_along_axis(lambda v, p, scale=1: v**p * scale, 0, x, 2, scale=3), M)
case("apply_over_axes", lambda np, x: (np.apply_over_axes(np.sum, x, [0, 2]), np.apply_over_axes(np.max, x, 1)), T)
case("piecewise", lambda np, x: np.piecewise(x, [x < 0, x > 1], [lambda v: -v, 5.0, lambda v: v * v]), M)
case("piecewise two", lambda np, x: (np.piecewise(x, [x < 0, x >= 0], [np.sin, np.cos]), np.piecewise(x[0], x[0] < 0, [-1, 1])), M)
case("piecewise number", lambda np, x: np.piecewise(x, [x < 0, x >= 0], [lambda v: -v, lambda v: v + 1]), np.array(0.5))
case("piecewise int", lambda np, x: np.piecewise(x, [x < 2], [0.5, lambda v: v * 1.7]), I)
case("piecewise arguments", lambda np, x: np.piecewise(x, [x < 0], [lambda v, a, b=1: v * a * b, 0], 2.0, b=3.0), M)
dropin("vectorize", lambda np, x, y: np.vectorize(lambda a, b: a - b if a > b else a * b)(x, y), M, W)
dropin("vectorize several", lambda np, x: np.vectorize(lambda a: (a, a * a))(x), V)
dropin("vectorize types", lambda np, x: np.vectorize(lambda a, n: a**n, otypes=[float], excluded={1})(x, 2), V)
dropin("vectorize signature", lambda np, x, y: np.vectorize(lambda a, b: np.dot(a, b), signature="(n),(n)->()")(x, y), M, W)
dropin("vectorize vectors", lambda np, x: np.vectorize(lambda a: np.cumsum(a), signature="(n)->(n)")(x), T)
dropin("fromfunction", lambda np, s: np.fromfunction(lambda i, j: i * s + j, (2, 3)), np.float64(0.5))
dropin("fromfunction int", lambda np, s: np.fromfunction(lambda i, j: i * 2 == j, (3, 4), dtype=int) * s, np.float64(0.5))

# ---- index functions ----

for _mode in ("raise", "wrap", "clip"):
    case(
        f"choose {_mode}",
        lambda np, a, x, m=_mode: np.choose(a, [x, x * 2, 5, x - 1], mode=m),
        I2 if _mode == "raise" else I2 * 3 - 2,
        V[:3],
    )
case("choose method", lambda np, a, x: a.choose([x, -x, x]), I2, V[:3])
case("ix_", lambda np, x: (x[np.ix_([0, 2], [1, 1, 3])], x[np.ix_([True, False, True], [0])]), M)
case("ix_ traced", lambda np, x, i: (x[np.ix_(i, i)], *np.ix_(i, i > 0)), M, np.array([2, 0]))
for _mode in ("raise", "wrap", "clip"):
    case(f"ravel_multi_index {_mode}", lambda np, i, m=_mode: np.ravel_multi_index((i, i // 2), (8, 4), mode=m), I)
case("ravel_multi_index order", lambda np, i: np.ravel_multi_index((i, i), (9, 8), order="F"), I)
case("mask_indices", lambda np, x: (x[np.mask_indices(3, np.triu)], x[np.mask_indices(3, np.tril, -1)]), M[:, :3])
case("triangles", lambda np, x: (x[np.tril_indices(3)], x[np.triu_indices_from(x, 1)], x[np.diag_indices(3)]), M[:, :3])
case("resize", lambda np, x: (np.resize(x, (2, 3)), np.resize(x, 9), np.resize(x, (0, 2)), np.resize(x[:0], 3)), W)
case(
    "trim_zeros",
    lambda np, x: (np.trim_zeros(x), np.trim_zeros(x, "f"), np.trim_zeros(x, "b"), np.trim_zeros(x * 0)),
    np.array([0.0, 0, 1, 0, 2, 0]),
)
case("trim_zeros 2-d", lambda np, x: (np.trim_zeros(x), np.trim_zeros(x, axis=1)), np.pad(M, ((1, 0), (2, 1))))
case(
    "insert", lambda np, x: (np.insert(x, 1, 9.0), np.insert(x, [0, 4], [1.0, 2.0]), np.insert(x, [1, 1], 3.0), np.insert(x, -1, [1, 2])), W
)
case("insert rows", lambda np, x: (np.insert(x, 1, 5, axis=0), np.insert(x, 2, x[:, 0], axis=1), np.insert(x, [0, 2], x[:, :2], axis=1)), M)
case("insert block", lambda np, x: (np.insert(x, 1, [[1], [2], [3]], axis=1), np.insert(x, slice(0, 2), 7.0, axis=0)), M)
case("insert mask", lambda np, x: np.insert(x, np.array([True, False, True, False]), 7.0), W)
case("insert traced", lambda np, x, i: (np.insert(x, i, 1.0), np.insert(x, i[0], 2.0), np.insert(x, i > 0, 3.0)), W, np.array([1, 0, 2]))
case(
    "delete traced",
    lambda np, x, i: (np.delete(x, i), np.delete(x, i[0]), np.delete(x, x > 1), np.delete(x, np.array([0]))),
    W,
    np.array([1, 0]),
)
dropin("require", lambda np, x: (np.require(x), np.require(x, np.float32, ["C"])), M)
case("unwrap", lambda np, x: (np.unwrap(x), np.unwrap(x, axis=0), np.unwrap(x, period=3.0), np.unwrap(x, discont=4.0)), M * 5)
case("unwrap int", lambda np, x: np.unwrap(x, period=4), I)
case("i0", lambda np, x: (np.i0(x), np.i0(x[0, 0])), M)
dropin("kaiser", lambda np, b: (np.kaiser(6, b), np.kaiser(1, b)), np.float64(3.0))
for _a in (0.5, V[:3] ** 2 + 0.1):
    case("logspace", lambda np, a: (np.logspace(a, 2.0, 4), np.logspace(a, a + 1, 3, endpoint=False, base=2.0)), _a)
    case("geomspace", lambda np, a: (np.geomspace(a, 2.0, 4), np.geomspace(-a, -3.0, 3, endpoint=False), np.geomspace(a, 8.0, 1)), _a)

_windows = np.lib.stride_tricks.sliding_window_view
case(
    "sliding windows", lambda np, x: (_windows(x, 2, axis=1), _windows(x, (2, 3)), _windows(x, (2, 2), axis=(0, 0)), _windows(x, 3, -1)), M
)
dropin("ndenumerate", lambda np, x: [v * (i[0] + i[1]) for i, v in np.ndenumerate(x)], M)

# ---- bits, whole numbers, parts ----

for _x in (I, I.astype(np.int8), I.astype(np.uint16)):
    case("bits", lambda np, x: (np.bitwise_count(x), np.gcd(x, 6), np.lcm(x, 4), np.gcd(x[0], x[1])), _x)
case("packbits", lambda np, x: (np.packbits(x), np.packbits(x, axis=1, bitorder="little"), np.unpackbits(np.packbits(x), count=9)), B)
case("frexp", lambda np, x: (*np.frexp(x), *np.frexp(x[0])), np.array([0.0, 1e300, -3.5, 1e-310, np.inf, 5e-324]))
case("frexp f32", lambda np, x: np.frexp(x), F)
case("spacing", lambda np, x: (np.spacing(x), np.spacing(x[0, 0])), M)

# ---- statistics ----

case("cov weights", lambda np, x, w: (np.cov(x, aweights=w), np.cov(x, aweights=w, ddof=0), np.cov(x, fweights=[1, 2, 0, 3])), M, W)
case("cov both", lambda np, x, w: np.cov(x, fweights=np.array([1, 2, 1, 3]), aweights=w, bias=True), M, W)
case("interp period", lambda np, x, y: np.interp(x, np.array([190.0, -190.0, 350.0, -350.0]), y, period=360), V * 100, W)
case("polyval empty", lambda np, x: np.polyval(x[:0], 3.0), V)

# ---- methods of ufuncs ----

for _name in ("logaddexp", "hypot", "fmax", "subtract", "divide", "logical_xor", "maximum", "minimum", "float_power"):
    _x = np.abs(M) + 0.5
    case(f"{_name}.reduce", lambda np, x, f=_name: (getattr(np, f).reduce(x), getattr(np, f).reduce(x, axis=1, keepdims=True)), _x)
    case(f"{_name}.accumulate", lambda np, x, f=_name: (getattr(np, f).accumulate(x), getattr(np, f).accumulate(x, axis=1)), _x)
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm"):
    case(f"{_name}.reduce", lambda np, x, f=_name: (getattr(np, f).reduce(x, axis=1), getattr(np, f).accumulate(x, axis=0)), I2 + 3)
case("reduce axes", lambda np, x: (np.logaddexp.reduce(x, axis=(0, 2)), np.hypot.reduce(x, axis=None)), T)
case("reduce initial", lambda np, x: (np.logaddexp.reduce(x, initial=1.0), np.subtract.reduce(x, initial=2.0)), M)
case("reduce empty", lambda np, x: np.logaddexp.reduce(x, axis=0), np.zeros((0, 3)))
for _name in ("add", "multiply", "maximum", "logaddexp"):
    case(f"{_name}.reduceat", lambda np, x, f=_name: (getattr(np, f).reduceat(x, [0, 3, 1, 1, 5]), getattr(np, f).reduceat(x, [2])), V)
case("reduceat axis", lambda np, x: np.add.reduceat(x, [0, 2], axis=1), M)

# ---- attributes ----

case("attributes", lambda np, x: (x.flags.c_contiguous, x.device, x.to_device("cpu"), x.strides), M)


@CASES.parametrized
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Polyfit")
def test_agrees_with_numpy(case: Case, kind: type[Trace]) -> None:
    agrees_with_numpy(case, kind)


REFUSED: list[tuple[str, Callable[..., Any], str]] = [
    ("geomspace", lambda x: inp.geomspace(x[0], -x[0], 3).sum(), "geomspace of real ends of two signs"),
]


@pytest.mark.parametrize(("name", "f", "message"), REFUSED, ids=[r[0] for r in REFUSED])
def test_what_is_refused_says_so(name: str, f: Callable[..., Any], message: str) -> None:
    for wrapped in (irgrad.grad(f), irgrad.jit(irgrad.grad(f))):
        with pytest.raises(IrgradError, match=message) as caught:
            wrapped(np.array([0.5, 1.5, 2.5]))
        assert "test_handlers_surface.py" in str(caught.value)


BAD: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (lambda np, x: np.bincount(x), (np.array([1, -1]),)),
    (lambda np, x: np.digitize(x, np.array([0.0, 2.0, 1.0])), (V,)),
    (lambda np, x: np.histogram(x, 0), (V,)),
    (lambda np, x: np.choose(x, [1.0, 2.0]), (np.array([0, 2]),)),
    (lambda np, x: np.ravel_multi_index((x, x), (2, 2)), (np.array([0, 2]),)),
    (lambda np, x: np.nanargmax(x, axis=0), (np.array([[np.nan, 1.0], [np.nan, 2.0]]),)),
    (lambda np, x: np.polyfit(x, x[:2], 1), (V,)),
    (lambda np, x: np.quantile(x, 1.5), (V,)),
    (lambda np, x: np.quantile(x, 0.5, weights=x**2), (V,)),
    (lambda np, x: np.pad(x, -1), (V,)),
    (lambda np, x: np.geomspace(x[0] * 0, 1.0), (V,)),
    (lambda np, x: np.add.reduceat(x, [0, 9]), (V,)),
    (lambda np, x: np.subtract.reduce(x, axis=(0, 1)), (M,)),
    (lambda np, x: np.piecewise(x, [x > 0], [1.0, 2.0, 3.0]), (V,)),
]


@pytest.mark.parametrize(("fn", "inputs"), BAD)
def test_errors_are_numpys(fn: Callable[..., Any], inputs: tuple[Any, ...]) -> None:
    try:
        fn(np, *inputs)
    except (ValueError, TypeError, IndexError) as error:
        expected = type(error)
    else:
        raise AssertionError("numpy accepts it")
    for kind in (GraphTrace, EagerTrace):
        with tracing(kind) as trace, pytest.raises((ValueError, TypeError, IndexError)) as caught:
            fn(inp, *[traced(trace, x) for x in inputs])
        assert isinstance(caught.value, (IrgradError, expected))


# ---- 0-d arrays, scalars and Python numbers ----

_REDUCTIONS = (
    "sum", "prod", "max", "min", "any", "all", "mean", "std", "var", "ptp", "median", "nansum", "nanmean", "nanmax", "nanmin", "nanprod",
    "nanstd", "nanmedian", "count_nonzero", "average", "argmax", "argmin",
)  # fmt: skip
ZERO_DIM: dict[str, Callable[..., Any]] = {f: lambda np, x, f=f: getattr(np, f)(x) for f in _REDUCTIONS}
ZERO_DIM |= {f"{f} keepdims": lambda np, x, f=f: getattr(np, f)(x, keepdims=True) for f in _REDUCTIONS}
ZERO_DIM |= {f"{f} axis": lambda np, x, f=f: getattr(np, f)(x, axis=0) for f in ("sum", "prod", "max", "min", "any", "all", "argmax")}
ZERO_DIM |= {
    "take": lambda np, x: (np.take(x, 0), np.take(x, [0], axis=0), np.take(x, 0, axis=0), np.take(x, [0, 0], axis=-1)),
    "repeat": lambda np, x: (np.repeat(x, 2), np.repeat(x, 2, axis=0)),
    "flip": lambda np, x: (np.flip(x), np.roll(x, 1), np.ravel(x), np.copy(x)),
    "transpose": lambda np, x: (np.transpose(x), np.squeeze(x), np.expand_dims(x, 0)),
    "argsort": lambda np, x: (np.argsort(x), np.sort(x, axis=None), np.unique(x)),
    "pad": lambda np, x: (np.pad(x, 0), np.append(x, 1.0), np.insert(x, 0, 1.0), np.delete(x, 0)),
    "quantile": lambda np, x: (np.quantile(x, 0.3), np.percentile(x, [10, 20]), np.quantile(x, 0.3, keepdims=True)),
    "search": lambda np, x: (
        np.searchsorted([0.0, 1.0], x),
        np.isin(x, [0.7]),
        np.digitize(x, [0.0, 1.0]),
        np.interp(x, [0.0, 1.0], [0.0, 2.0]),
    ),
    "cumulative": lambda np, x: (np.cumsum(x), np.nancumsum(x), np.modf(x), np.polyval([1.0, 2.0], x)),
}


@pytest.mark.parametrize("name", ZERO_DIM)
@pytest.mark.parametrize("x", [np.array(0.7), np.float64(0.7), 0.7], ids=["0-d", "scalar", "number"])
def test_zero_dimensions(name: str, x: Any) -> None:
    fn = ZERO_DIM[name]
    want = fn(np, x)
    for kind in (GraphTrace, EagerTrace):
        with tracing(kind) as trace:
            same(concrete(fn(inp, traced(trace, x))), want)


@np.vectorize
def kinked(x: Any, scale: Any = 1.0) -> Any:
    return scale * x * x if x > 0 else np.sin(x)


def test_a_vectorized_function_made_outside() -> None:
    x = np.array([0.5, -1.0, 2.0])
    want = [3.0 * 0.5 * 2, np.cos(-1.0), 3.0 * 2.0 * 2]
    f = lambda x: np.sum(kinked(x, 3.0)) if isinstance(kinked, np.vectorize) else 0.0
    for gradient in (irgrad.grad(f), irgrad.jit(irgrad.grad(f))):
        for _ in range(3):
            np.testing.assert_allclose(gradient(x), want, rtol=1e-12)
    np.testing.assert_allclose(irgrad.grad(lambda s: np.sum(kinked(x, s)))(3.0), 4.25)
    assert type(kinked) is np.vectorize
    np.testing.assert_allclose(kinked(x), [0.25, np.sin(-1.0), 4.0])


@pytest.mark.filterwarnings("ignore")
def test_covariances_without_enough_observations() -> None:
    """Fewer than degrees of freedom: numpy divides by zero, not by a negative number."""
    cases: list[tuple[Any, dict[str, Any]]] = [
        (np.zeros((3, 0)), {}),
        (np.array([[1.0, 2.0], [2.0, 4.5]]), {"ddof": 3}),
        (np.array([[1.0, 2.0], [2.0, 4.5]]), {"ddof": 4, "fweights": [1, 2]}),
        (np.array([[1.0, 2.0], [2.0, 4.5]]), {"ddof": 1}),
    ]
    with np.errstate(all="ignore"):
        for x, options in cases:
            f = lambda x, options=options: np.cov(x, **options)
            for g in [irgrad.jit(f)] * 3:
                np.testing.assert_allclose(g(x), f(x), rtol=1e-12)


def test_results_of_extended_precision() -> None:
    """No kernel knows them, but results that are views are copied."""
    for x in (np.arange(6, dtype=np.longdouble).reshape(2, 3) / 7, np.arange(6, dtype=np.clongdouble).reshape(2, 3) * (1 + 1j)):
        for f in (lambda x: x[::-1], lambda x: x.T[1:], lambda x: np.sum(x, -1, keepdims=True), lambda x: np.split(x, 1)[0]):
            for g in [irgrad.jit(f)] * 3:
                assert g(x).dtype == x.dtype
                np.testing.assert_array_equal(g(x), f(x))


@pytest.mark.parametrize("point", [0.05, 0.09, 0.1, 0.7])
def test_sinc_beside_points_near_zero_and_alone(point: float) -> None:
    """Eagerly the series is left out where no point needs it: derivatives to order 3 are the same."""
    alone = together = lambda x: np.sinc(x)
    for order in range(4):
        x = np.array([point, 0.4])
        near = np.array([point, 0.01])
        a, b, c = alone(x)[0], together(near)[0], irgrad.jit(alone)(x)[0]
        np.testing.assert_allclose([a, c], b, rtol=1e-8 * 10**order)
        alone = irgrad.elementwise_grad(alone)
        together = irgrad.elementwise_grad(together)


@pytest.mark.parametrize("read", [lambda x: x.T.ravel(order="A"), lambda x: np.reshape(x.T[:, 1:], (-1, 2), order="A")])
def test_order_a_of_a_transposed_argument_is_not_compiled(read: Any) -> None:
    """numpy reads it by columns where its caller's array is in one piece, by rows where it is not: programs cannot tell."""
    whole = np.arange(24.0).reshape(4, 6)[:3]
    arrays = [whole, np.arange(36.0).reshape(3, 12)[:, ::2], np.asfortranarray(whole), np.arange(48.0).reshape(8, 6)[1:7:2], whole[::-1]]
    copied = irgrad.jit(lambda x: read(x.copy())).compile(whole)  # alike, but of known memory
    np.testing.assert_array_equal(copied(whole), read(whole))
    for first in range(len(arrays)):
        compiled = irgrad.jit(read)
        slope = irgrad.jit(irgrad.grad(lambda x: np.sum(read(x).ravel() * np.arange(read(whole).size))))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            for x in (arrays[first:] + arrays[:first]) * 2:
                np.testing.assert_array_equal(compiled(x), read(x))
                assert np.sum(slope(x) * x) == np.sum(read(x).ravel() * np.arange(read(x).size))
    with pytest.warns(RuntimeWarning, match=r"order='A' of a transposed view.*test_handlers_surface\.py:\d+.*write order='C' or 'F'"):
        irgrad.jit(read)(whole)
    assert irgrad.jit(lambda x: (x.T * 1.0).ravel(order="A")).compile(whole).stats().paths == 1
