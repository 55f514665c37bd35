"""Forms and keywords of numpy's functions beyond the samples of the table: values, both modes, order 2, eager and compiled, as there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import irgrad
import irgrad.numpy as inp
import irgrad.scipy.special as irgrad_special
import irgrad.scipy.stats as stats
from tests.surface.probe import EXACT, Limits, probe_call, quiet

RNG = np.random.default_rng(11)
V = RNG.normal(size=7)
P = np.abs(V) + 0.5
X = RNG.normal(size=(3, 5))
A = RNG.normal(size=(4, 3))
C = A + 1j * RNG.normal(size=(4, 3))
MASK = X > 0
HOLES = np.where(RNG.random((3, 5)) < 0.2, np.nan, X)
HOLES[1] = np.nan
LEVELS = np.array([0.07, 0.33, 0.55, 0.86])  # where no method has a jump
METHODS = (
    "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull", "linear",
    "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint", "nearest",
)  # fmt: skip
SINGLE = Limits(1e-5, 1e-6, 1e-3, 1e-2, 1e-1)
RULES = ("auto", "fd", "doane", "scott", "stone", "rice", "sturges", "sqrt")

CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}


def case(name: str, fn: Callable[..., Any], *inputs: Any) -> None:
    assert name not in CASES
    CASES[name] = (fn, inputs)


# ---- quantiles ----

for _m in METHODS:
    case(f"quantile {_m}", lambda np, x, m=_m: np.quantile(x, [0.0, 0.13, 0.5, 0.9, 1.0], axis=1, method=m), X)
    case(f"quantile by level {_m}", lambda np, x, q, m=_m: np.quantile(x, q, axis=1, method=m), X, LEVELS)
    case(f"nanquantile {_m}", lambda np, x, m=_m: np.nanquantile(x, [0.0, 0.13, 0.5, 0.9, 1.0], axis=1, method=m), X)
    case(f"nanpercentile by level {_m}", lambda np, x, q, m=_m: np.nanpercentile(x, 100 * q, axis=1, method=m), X, LEVELS)
case("percentile weights", lambda np, x, w: np.percentile(x, 30, weights=w, method="inverted_cdf"), X, np.abs(X[::-1]))
case("nanquantile weights", lambda np, x, w: np.nanquantile(x, [0.3, 0.6], 1, weights=w, method="inverted_cdf"), X, np.abs(X[::-1]))
case(
    "quantile of single precision",
    lambda np, x: (np.quantile(x, 0.3), np.quantile(x, [0.3, 0.6]), np.quantile(x, np.float64(0.3))),
    np.float32(V),
)
case(
    "quantile of whole numbers", lambda np, x: (np.quantile(x, 0.3, method="lower"), np.nanpercentile(x, 40, method="higher")), np.arange(6)
)
case("partition", lambda np, x: np.partition(x, (1, 3), axis=1)[:, [1, 3]], X)
case("median of nothing", lambda np, x: np.median(x, axis=1), np.zeros((0, 3)))

# ---- factors, padding, bins ----

for _name, _a in (
    ("tall", A),
    ("wide", A.T.copy()),
    ("square", A[:3]),
    ("complex", C),
    ("wide complex", C.T.copy()),
    ("square complex", C[:3]),
):
    case(f"qr raw {_name}", lambda np, x: tuple(np.linalg.qr(x, mode="raw")), _a)
case("qr raw stack", lambda np, x: np.linalg.qr(np.stack([x, 2 * x + 1]), mode="raw"), A)
case("qr raw of a triangle", lambda np, x: np.linalg.qr(np.triu(x), mode="raw")[1] * 0 + x[0], A)
case("qr raw empty", lambda np, x: tuple(np.linalg.qr(x, mode="raw")), np.zeros((2, 3, 0)))


def edges(row: Any, width: Any, axis: int, options: Any) -> None:
    if width[0]:
        row[: width[0]] = options.get("scale", 2.0) * row[width[0]]
    if width[1]:
        row[-width[1] :] = row[-width[1] - 1] ** 2


case("pad by a function", lambda np, x: np.pad(x, ((1, 2), (0, 1)), edges), X)
case("pad by a function with a traced keyword", lambda np, x, s: np.pad(x, 2, edges, scale=s), V, 3.5)
for _r in RULES:
    case(f"histogram {_r}", lambda np, x, r=_r: np.histogram(x, bins=r), V)
    case(f"histogram {_r} of a range", lambda np, x, r=_r: np.histogram(x, bins=r, range=(-1.0, 0.75)), V)
    case(f"histogram {_r} of whole numbers", lambda np, x, r=_r: np.histogram_bin_edges(x, bins=r), np.arange(12) ** 2)
    case(f"histogram {_r} of equal numbers", lambda np, x, r=_r: np.histogram(x, bins=r)[0], np.ones(4))

# ---- functions of Python as ufuncs, and methods of ufuncs ----

made_outside = np.frompyfunc(lambda a, b: a * b + 1.0, 2, 1)
case("frompyfunc made outside", lambda np, x: made_outside(x, 2.0).astype(float), X)
case("frompyfunc made inside", lambda np, x: np.frompyfunc(lambda a: a * a if a > 0 else -a, 1, 1)(x).astype(float), X)
case("frompyfunc of two results", lambda np, x: np.stack([r.astype(float) for r in np.frompyfunc(lambda a: (a * a, a + 1), 1, 2)(x)]), X)
case("frompyfunc outer", lambda np, x: made_outside.outer(x[:3], x).astype(float), V)
case("frompyfunc reduce", lambda np, x: made_outside.reduce(x, axis=1).astype(float), X)
case("frompyfunc accumulate", lambda np, x: made_outside.accumulate(x).astype(float), X)


def changed(np: Any, name: str, x: Any, index: Any, *values: Any) -> Any:
    made = x.copy()
    getattr(np, name).at(made, index, *values)
    return made


AT = np.array([0, 2, 2, 4, -1, 2])
for _u in ("multiply", "maximum", "power", "divide", "subtract", "hypot"):
    case(f"{_u}.at traced places", lambda np, x, i, y, u=_u: changed(np, u, x, i, y), P, AT, P[:6] + 0.2)
case("sin.at traced places", lambda np, x, i: changed(np, "sin", x, i), V, AT)
case("multiply.at traced places of two axes", lambda np, x, i: changed(np, "multiply", x, (i, i + 1), 2.0), X, np.array([0, 2, 2]))
case("multiply.at traced rows", lambda np, x, i: changed(np, "multiply", x, i, x[:1]), X, np.array([0, 2, 2]))
case("multiply.at no places", lambda np, x, i: changed(np, "multiply", x, i, 2.0), V, np.zeros(0, int))
case("fmax.reduce where", lambda np, x: np.fmax.reduce(x, axis=1, where=MASK, initial=-9.0), X)
case("subtract.reduce where", lambda np, x: np.subtract.reduce(x, axis=1, where=MASK, initial=2.0, keepdims=True), X)
case("logaddexp.reduce where", lambda np, x: np.logaddexp.reduce(x, axis=1, where=MASK), X)
case("hypot.reduce where", lambda np, x: np.hypot.reduce(x, where=x > -0.3), X)
case("reduce dtype", lambda np, x: (np.fmax.reduce(x, axis=1, dtype=np.float32), np.maximum.reduce(x, dtype=np.float32)), X)
case("accumulate dtype", lambda np, x: np.fmax.accumulate(x, dtype=np.float32), X)


# ---- differences, products, places ----

RISING = np.cumsum(np.abs(V)) + 0.1
for _order in (1, 2):
    case(f"gradient edge_order {_order}", lambda np, x, o=_order: np.gradient(x, axis=1, edge_order=o), X)
    case(f"gradient with a spacing {_order}", lambda np, x, h, o=_order: np.gradient(x, h, 2.0, edge_order=o), X, 0.3)
    case(f"gradient at places {_order}", lambda np, x, g, o=_order: np.gradient(x, g, edge_order=o), V, RISING)
    case(f"gradient at even places {_order}", lambda np, x, o=_order: np.gradient(x, np.arange(7.0), edge_order=o), V)
    case(f"gradient along both axes {_order}", lambda np, x, g, h, o=_order: np.gradient(x, g, h, edge_order=o), X, RISING[:3], RISING[:5])
for _mode in ("full", "same", "valid"):
    for _n in (2, 3, 6):
        case(f"correlate {_mode} {_n}", lambda np, x, y, m=_mode: np.correlate(x, y, m), V[:_n], RISING)
case("correlate complex", lambda np, x, y: np.correlate(x, y, "same"), C[:2, 0], C[:, 1])
case("unravel_index by columns", lambda np, i: np.unravel_index(i, (3, 4), order="F"), np.array([1, 5, 11]))
case("argwhere of a number", lambda np, x: (np.argwhere(x > 0), np.argwhere(x > 9)), np.array(0.5))
case("vectorize of nothing", lambda np, x: np.vectorize(lambda a: a * 2, otypes=[float])(x), np.zeros((0, 2)))


case(
    "dtypes of single precision",
    lambda np, x, y: (np.geomspace(x, y, 4), np.r_[x, 1.0, y], np.r_[x, [1.0]]),
    np.float32(P),
    np.float32(P + 1),
)
case("no axes", lambda np, x: (np.ascontiguousarray(x), np.asfortranarray(x), np.subtract.reduce(x), np.lexsort((x, x))), np.array(0.5))


def placed(np: Any, x: Any, values: Any) -> Any:
    made = x.copy()
    np.put_along_axis(made, np.array([0, 3, -1]), values, axis=None)
    return made


case("put_along_axis of the flat array", placed, X, V[:3])


def masked(np: Any, x: Any, mask: Any) -> Any:
    made = x.copy()
    np.putmask(made, mask, x[0, :2] * 2)
    return made


case("putmask of repeated values", masked, X, MASK)


# ---- single bools, numbers that a dtype does not hold, values to begin with ----


def by_bools(np: Any, x: Any) -> Any:
    made = x * 1.0
    made[True] = 2.0 * x
    made[False] = 9.0
    made[True, 1] = x[0]
    made[made[0, 0] > 0, 0] += 3.0
    np.add.at(made, (np.array([0, 2]), True), 2.0)
    alone = np.array(made[1, 1])
    alone[alone > 0] = 3.0 * x[2, 2]
    return made, alone, x[True, np.array([0, 2])], x[..., False, :1], x[:, True, 1:], x[np.array([0, 2]), True, :, None], x[x[0, 0] > 9]


case("single bools as indices", by_bools, X)
SMALL, EMPTY = np.arange(4, dtype=np.uint8), np.zeros((0, 3))
GAPS = np.array([[1.0, np.nan, 3 + 1j], [np.nan, 0.1 + 1j, 0.5], [2.0, 2.2 + 1j, 1.8 - 1j]])
case(
    "ints that a dtype does not hold",
    lambda np, x: (np.clip(x, -1, 2), x.clip(-5, 300), np.where(x > 1, x, 255), np.select([x > 1], [x], -3)),
    SMALL,
)
case(
    "a first value takes the dtype of the rest",
    lambda np, i, x: (
        np.max(i, initial=2.7), np.min(i, initial=0.5), np.sum(i, initial=0.5), np.prod(i + 1, initial=1.5), np.max(i > 1, initial=-3),
        np.max(i, where=i > 0, initial=0.5), np.sum(x.astype(np.float32), initial=np.float64(1e-9)), np.minimum.reduce(i, initial=0.5),
    ),
    np.arange(4),
    V,
)  # fmt: skip
case(
    "a first value of nothing",
    lambda np, x, v: (np.max(x, axis=0, initial=v), np.min(x, initial=1.0, keepdims=True), np.nanmax(x, axis=(0, 1), initial=2.0)),
    EMPTY,
    0.7,
)
case("nanmax and nanmin of complex numbers", lambda np, z: (np.nanmax(z, axis=1), np.nanmin(z, axis=0), np.nanmax(z)), GAPS)
case(
    "complex powers of negative numbers",
    lambda np, x, w: (x**w, (-2.0) ** w, np.power(-2, w), np.float_power(x, w)),
    np.array([-1.3, 0.7, -0.2]),
    np.array([0.3 + 0.4j, 1.2 - 0.5j, 2 + 1j]),
)
case("geomspace of complex numbers", lambda np, z, a: (np.geomspace(z, 8j * a, 5), np.geomspace(a, z, 4, endpoint=False)), 1.5 + 1j, 1.3)


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_numpy(name: str) -> None:
    fn, inputs = CASES[name]
    found = probe_call(lambda np, sp, *xs: fn(np, *xs), list(inputs), limits=SINGLE if "dtype" in name or "single" in name else EXACT)
    assert found.runs != "refused", found.note
    assert found.vjp in ("yes", "zero", "-") and found.jvp == found.vjp, found


def test_nan_is_skipped_by_every_method() -> None:
    for method in METHODS:
        with quiet():
            want = np.nanquantile(HOLES, [0.0, 0.3, 1.0], axis=1, method=method)
            found = irgrad.jit(lambda x, m=method: inp.nanquantile(x, [0.0, 0.3, 1.0], axis=1, method=m), compile_after=1)
            for _ in range(2):
                np.testing.assert_allclose(found(HOLES), want, rtol=1e-12)


def test_powers_of_complex_zero() -> None:
    zero, w = np.zeros(5, complex), np.array([1 + 2j, -1 + 1j, 0, 2, 0.5 - 3j])
    with quiet():
        for dtype in (np.complex128, np.complex64):
            fast = irgrad.jit(lambda z, w: z**w).compile(zero.astype(dtype), w.astype(dtype))
            np.testing.assert_array_equal(fast(zero.astype(dtype), w.astype(dtype)), zero.astype(dtype) ** w.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_ldexp_of_far_exponents(dtype: Any) -> None:
    """Where the power of two is out of range and the result is not."""
    info: Any = np.finfo(dtype)
    x = np.array([0, -0.0, np.inf, 1.5, info.max, -info.tiny, info.smallest_subnormal], dtype)[:, None]
    n = np.array([*range(-2200, 2201, 37), -(2**31), 2**31 - 1, 0], np.int32)
    with quiet():
        fast = irgrad.jit(lambda x, n: np.ldexp(x, n)).compile(x, n)
        np.testing.assert_array_equal(fast(x, n), np.ldexp(x, n))


def test_a_complex_number_in_an_array_of_bools() -> None:
    def written(z: Any) -> Any:
        made = np.zeros(3, bool)
        made[:] = z
        return made

    z = np.array([1j, 0, 1])
    with quiet():
        fast = irgrad.jit(written, compile_after=1)
        assert [fast(z).tolist(), fast(z).tolist()] == [[True, False, True]] * 2


def test_a_number_of_bins_is_guarded() -> None:
    with quiet():
        fast = irgrad.jit(lambda x: inp.histogram(x, bins="auto"), compile_after=1)
        for scale in (1.0, 1.0, 2.0):
            x = np.append(V, scale * 4.0)
            for got, want in zip(fast(x), np.histogram(x, bins="auto"), strict=True):
                np.testing.assert_allclose(got, want)


Z = np.array([1.2 + 0.4j, 0.7 - 0.3j, 2.0 + 1.0j])
SPECIAL: dict[str, Callable[..., Any]] = {
    "jv": lambda s, z: s.jv(1.5, z),
    "yv": lambda s, z: s.yv(1.5, z),
    "iv": lambda s, z: s.iv(1.5, z),
    "kv": lambda s, z: s.kv(1.5, z),
    "kve": lambda s, z: s.kve(1.5, z),
    "jvp": lambda s, z: s.jvp(2, z),
    "hyp0f1": lambda s, z: s.hyp0f1(1.5, z),
    "hyp1f1": lambda s, z: s.hyp1f1(1.2, 1.7, z),
    "hyp2f1": lambda s, z: s.hyp2f1(1.2, 0.7, 2.5, 0.3 * z),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_real_orders_of_complex_numbers(name: str) -> None:
    """Text for real numbers is not for these: both parts, in values and derivatives."""
    found = probe_call(lambda np, sp, z: SPECIAL[name](sp, z), [Z], (irgrad_special, special))
    assert found.vjp == found.jvp == "yes" and found.runs.startswith("host"), found


def test_distributions_are_of_real_numbers() -> None:
    for f in (
        lambda x: stats.norm.logpdf(x),
        lambda x: stats.gamma.cdf(0.5, x),
        lambda x: stats.multivariate_normal.logpdf(x, np.zeros(7)),
    ):
        for call in (irgrad.jit(f), irgrad.make_vjp(f)):
            with pytest.raises(TypeError, match=r"Cannot cast .*complex128.*give the parts"):
                call(V * 1j)


ERRORS: dict[str, tuple[Callable[..., Any], Any]] = {
    "no such keyword": (lambda np, x: np.percentile(x, 30, foo=1), V),
    "no such method": (lambda np, x: np.quantile(x, 0.3, method="foo"), V),
    "level out of range": (lambda np, x: np.percentile(x, 130), V),
    "weights of nothing": (lambda np, x: np.quantile(x, 0.5, weights=[0.0] * 7, method="inverted_cdf"), V),
    "quantile of nothing": (lambda np, x: np.quantile(x, 0.5), V[:0]),
    "complex": (lambda np, x: np.quantile(x, 0.5), V * 1j),
    "place out of range": (lambda np, x: np.partition(x, 9), V),
    "no such rule": (lambda np, x: np.histogram(x, bins="nope"), V),
    "rule with weights": (lambda np, x: np.histogram(x, bins="auto", weights=x), V),
    "no identity": (lambda np, x: np.fmax.reduce(x, where=x > 0), V),
    "vectorize of nothing": (lambda np, x: np.vectorize(lambda a: a)(x[:0]), V),
    "places that do not fit": (lambda np, x: np.gradient(x, x[:3]), V),
    "too few for the edge": (lambda np, x: np.gradient(x[:2], edge_order=2), V),
    "complex weights": (lambda np, x: np.bincount([0, 1], weights=x[:2]), V * 1j),
    "complex places": (lambda np, x: np.interp(x, [0.0, 1.0], [2.0, 3.0]), V * 1j),
    "no order": (lambda np, x: np.isposinf(x), V * 1j),
    "no loop": (lambda np, x: np.logical_or.reduce(x, dtype=float), V),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_numpys(name: str) -> None:
    fn, x = ERRORS[name]
    with quiet(), pytest.raises((ValueError, TypeError, IndexError)) as expected:
        fn(np, x)
    for call in (irgrad.jit(lambda x: fn(inp, x)), irgrad.make_vjp(lambda x: fn(inp, x))):
        with quiet(), pytest.raises(expected.type) as caught:
            call(x)
        if name == "no such keyword":
            assert "percentile() got an unexpected keyword argument 'foo'" in str(caught.value)
        if name == "level out of range":
            assert "Percentiles must be in the range [0, 100]" in str(caught.value)
