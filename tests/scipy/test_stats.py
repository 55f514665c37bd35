"""scipy.stats in traced code against scipy: values on and off the support, parameters of every kind, derivatives, entries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.stats as st

import irgrad
import irgrad.scipy.stats as ist
from irgrad.config import CONFIG
from irgrad.errors import TraceError, UnsupportedError
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.test_util import check_grads
from tests.support.tracing import check_replay, concrete, traced, traced_call, tracing

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")]
RNG = np.random.default_rng(12)
NAN, INF = np.nan, np.inf
REAL = np.array([-INF, -40.0, -3.0, -0.5, 0.0, 0.7, 1.0, 2.5, 60.0, INF, NAN])
COUNTS = np.array([-2.0, -0.5, 0.0, 1.0, 1.5, 2.0, 5.0, 7.0, 40.0, NAN])
Q = np.array([-0.1, 0.0, 1e-3, 0.3, 0.5, 0.9, 1.0, 1.2, NAN])

# family: shapes, a point inside the support, points for values
CONTINUOUS: dict[str, tuple[tuple[float, ...], Any]] = {
    "norm": ((), np.array([-1.2, 0.4])),
    "t": ((3.5,), np.array([-1.2, 0.4])),
    "beta": ((1.5, 2.5), np.array([0.2, 0.7])),
    "gamma": ((2.5,), np.array([0.4, 3.1])),
    "chi2": ((3.5,), np.array([0.4, 3.1])),
    "uniform": ((), np.array([0.2, 0.7])),
    "expon": ((), np.array([0.4, 3.1])),
    "laplace": ((), np.array([-1.2, 0.4])),
    "logistic": ((), np.array([-1.2, 0.4])),
    "lognorm": ((0.8,), np.array([0.4, 3.1])),
}
DISCRETE: dict[str, tuple[float, ...]] = {"poisson": (2.3,), "bernoulli": (0.3,), "binom": (7.0, 0.3), "nbinom": (3.5, 0.4)}
METHODS = ("pdf", "logpdf", "cdf", "sf", "logcdf", "logsf")
MASSES = ("pmf", "logpmf", "cdf", "sf", "logcdf", "logsf")
# log(0) where scipy's own logarithms of tails reach further than the logarithm of ours
LOOSE = {("gamma", "logsf"), ("chi2", "logsf"), ("t", "logcdf"), ("t", "logsf"), ("beta", "logsf"), ("beta", "logcdf")}

Case = tuple[str, str, tuple[Any, ...], dict[str, Any]]
CASES: list[Case] = []
for _name, (_shapes, _) in CONTINUOUS.items():
    for _method in METHODS:
        CASES += [(_name, _method, (REAL, *_shapes), {}), (_name, _method, (REAL, *_shapes), {"loc": 0.3, "scale": 2.0})]
        CASES += [(_name, _method, (0.6, *_shapes, 0.1, 1.5), {}), (_name, _method, (REAL, *_shapes), {"scale": -1.0})]
        CASES += [(_name, _method, (REAL[3:8], *_shapes), {"loc": np.array([[0.1], [0.2]]), "scale": np.array([1.0, 2.0, 0.0, -1.0, 3.0])})]
    CASES += [(_name, method, (Q, *_shapes), options) for method in ("ppf", "isf") for options in ({}, {"loc": 0.5, "scale": 2.0})]
for _name, _shapes in DISCRETE.items():
    for _method in MASSES:
        CASES += [(_name, _method, (COUNTS, *_shapes), {}), (_name, _method, (COUNTS, *_shapes), {"loc": 1})]
        CASES += [(_name, _method, (2, *_shapes), {}), (_name, _method, (np.arange(8).reshape(2, 4), *_shapes), {})]
for _method in ("cdf", "pdf"):
    CASES += [
        ("beta", _method, (REAL, np.array([[0.5], [1.0], [-1.0]]), 1.0), {}),
        ("gamma", _method, (REAL, 1.0), {}),
        ("gamma", _method, (REAL, 0.5), {}),
    ]
CASES += [
    ("binom", "pmf", (COUNTS, np.array([[0.0], [2.0], [2.5], [-1.0]]), 1.0), {}),
    ("binom", "cdf", (COUNTS, np.array([[0.0], [5.0]]), 0.0), {}),
]
for _name, _shape in DISCRETE.items():  # steps are where x - loc is whole
    CASES += [(_name, _m, (COUNTS + 0.25, *_shape), {"loc": 0.5}) for _m in ("cdf", "sf")]
    CASES += [(_name, "pmf", (COUNTS + 0.5, *_shape), {"loc": 0.5})]
CASES += [("bernoulli", "pmf", (COUNTS, np.array([[0.0], [1.0], [1.5]])), {}), ("poisson", "pmf", (COUNTS, np.array([[0.0], [-1.0]])), {})]


def close(name: str, method: str, got: Any, want: Any) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype and got.shape == want.shape
    if (name, method) in LOOSE:
        lost = np.isneginf(got) & ~np.isneginf(want)
        assert np.all(np.abs(want[lost]) > 30)
        got = np.where(lost, want, got)
    exact = name in DISCRETE and method.startswith("log")  # scipy takes the logarithm of a sum that is 1 but for rounding
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-15 if exact else 1e-300, err_msg=f"{name}.{method}")


@pytest.mark.parametrize("kind", [GraphTrace, EagerTrace])
@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_agrees_with_scipy(name: str, kind: type[Trace]) -> None:
    """First the argument is traced and the parameters are plain, then all are."""
    for _, method, args, options in (case for case in CASES if case[0] == name):
        want = getattr(getattr(st, name), method)(*args, **options)
        for count in (1, len(args)):
            with tracing(kind) as trace:
                ours = getattr(getattr(ist, name), method)
                given = {key: traced(trace, value) if count > 1 else value for key, value in options.items()}
                got = ours(*(traced(trace, x) if i < count else x for i, x in enumerate(args)), **given)
                if isinstance(trace, GraphTrace) and options and count > 1:
                    check_replay(trace, got)
                close(name, method, concrete(got), want)
                assert np.ndim(got) or isinstance(concrete(got), np.generic)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_derivatives_of_continuous_families(name: str) -> None:
    """Of every method by the argument, the shapes, location and scale; orders 1 and 2, both modes."""
    np.random.seed(3)
    shapes, x = CONTINUOUS[name]
    for method in (*METHODS, "ppf", "isf"):
        argument = np.array([0.2, 0.7]) if method in ("ppf", "isf") else 0.1 + 1.3 * x
        f = getattr(getattr(ist, name), method)
        args = (argument, *shapes, 0.1, 1.3)
        check_grads(f, argnum=tuple(range(len(args))), order=2)(*args)


@pytest.mark.parametrize("name", DISCRETE)
def test_derivatives_of_discrete_families(name: str) -> None:
    np.random.seed(3)
    shapes = DISCRETE[name]
    first = 1 if name == "binom" else 0
    for method in MASSES:
        f = getattr(getattr(ist, name), method)
        k = np.array([0.0]) if name == "bernoulli" else np.array([0.0, 2.0, 5.0])
        check_grads(lambda *moving, f=f: f(k, *shapes[:first], *moving), argnum=tuple(range(len(shapes) - first)), order=2)(*shapes[first:])
        with pytest.warns(UserWarning, match="independent of input"):
            assert not np.any(irgrad.elementwise_grad(lambda k, f=f: f(k, *shapes))(k))


def test_outside_the_support_derivatives_are_zero() -> None:
    for name, (shapes, inside) in CONTINUOUS.items():
        if name in ("norm", "t", "laplace", "logistic"):
            continue
        for method in METHODS:
            f = getattr(getattr(ist, name), method)
            x = np.array([-3.0, inside[0]])
            gradients = irgrad.grad(lambda *args: np.sum(np.where(args[0] < 0.0, f(*args), 0.0)), tuple(range(len(shapes) + 1)))(x, *shapes)
            for gradient in gradients:
                np.testing.assert_array_equal(gradient, np.zeros_like(gradient), err_msg=f"{name}.{method}")


# ---- multivariate ----

COV = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 0.7]])
MEAN = np.array([0.5, -1.0, 0.2])
POINTS = RNG.normal(size=(2, 4, 3))
ALPHA = np.array([0.8, 2.0, 3.5])
SIMPLEX = RNG.dirichlet(ALPHA, size=5).T

MULTIVARIATE: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (lambda s, x, m, c: s.multivariate_normal.logpdf(x, m, c), (POINTS, MEAN, COV)),
    (lambda s, x, m, c: s.multivariate_normal.pdf(x, mean=m, cov=c), (POINTS[0], MEAN, COV)),
    (lambda s, x, c: s.multivariate_normal.logpdf(x, cov=c), (POINTS[0, 0], COV)),
    (lambda s, x, c: s.multivariate_normal.logpdf(x, np.zeros(3), c), (POINTS, np.array([1.0, 2.0, 0.5]))),
    (lambda s, x, c: s.multivariate_normal.logpdf(x, None, c), (0.7, 2.0)),
    (lambda s, x: s.multivariate_normal.logpdf(x), (np.array([0.7, 0.2]),)),
    (lambda s, x: s.multivariate_normal.logpdf(x, np.zeros(3)), (POINTS[0],)),
    (lambda s, m, c: s.multivariate_normal.entropy(m, c), (MEAN, COV)),
    (lambda s, x, m, c: s.multivariate_normal(m, c).logpdf(x), (POINTS, MEAN, COV)),
    (lambda s, x, a: s.dirichlet.logpdf(x, a), (SIMPLEX, ALPHA)),
    (lambda s, x, a: s.dirichlet.pdf(x, a), (SIMPLEX[:, 0], ALPHA)),
    (lambda s, x, a: s.dirichlet.logpdf(x, a), (SIMPLEX[:2], ALPHA)),
    (lambda s, x, a: s.dirichlet(a).pdf(x), (np.array([0.0, 0.25, 0.75]), np.array([1.0, 2.0, 3.0]))),
]


@pytest.mark.parametrize("kind", [GraphTrace, EagerTrace])
@pytest.mark.parametrize(("fn", "inputs"), MULTIVARIATE, ids=range(len(MULTIVARIATE)))
def test_multivariate_families_agree_with_scipy(fn: Callable[..., Any], inputs: tuple[Any, ...], kind: type[Trace]) -> None:
    want = fn(st, *inputs)
    close("multivariate", "", traced_call(kind, partial(fn, ist), *inputs), want)


def test_derivatives_of_multivariate_families() -> None:
    np.random.seed(4)
    cov = lambda r: r @ r.T + 0.5 * np.eye(3)
    root = np.linalg.cholesky(COV)
    check_grads(lambda x, m, r: ist.multivariate_normal.logpdf(x, m, cov(r)), argnum=(0, 1, 2), order=2)(POINTS[0], MEAN, root)
    check_grads(lambda r: ist.multivariate_normal.entropy(MEAN, cov(r)), order=2)(root)
    check_grads(lambda a: ist.dirichlet.logpdf(SIMPLEX, a), order=2)(ALPHA)
    check_grads(lambda x: ist.dirichlet.logpdf(x[:2], ALPHA), order=2)(SIMPLEX[:, 0])


def test_multivariate_errors_keep_scipys_words() -> None:
    for f, x, message in (
        (lambda x: ist.dirichlet.logpdf(x, ALPHA), np.array([0.5, 0.6, 0.2]), "must lie within the normal simplex"),
        (lambda x: ist.dirichlet.logpdf(x, -ALPHA), SIMPLEX, "All parameters must be greater than 0"),
        (lambda x: ist.dirichlet.logpdf(x, ALPHA), np.ones(7) / 7, "must have either the same number of entries"),
        (lambda x: ist.multivariate_normal.logpdf(x, MEAN, COV[:2, :2]), POINTS, "must be a vector of length"),
    ):
        with pytest.raises(ValueError, match=message):
            irgrad.grad(lambda x, f=f: np.sum(f(x)))(x)
    with pytest.raises(UnsupportedError, match=r"scipy\.stats\.multivariate_normal\(allow_singular=True\)"):
        irgrad.grad(lambda x: ist.multivariate_normal.logpdf(x, MEAN, COV, True))(MEAN)


# ---- entries ----


def by_module(x: Any, a: Any) -> Any:
    return np.sum(st.gamma.logpdf(x, a, scale=2.0) + st.norm(loc=a).cdf(x))


def by_import(x: Any, a: Any) -> Any:
    from scipy.stats import beta, poisson

    return np.sum(beta.cdf(x / 10.0, a, 2.0)) + np.sum(poisson.logpmf([1, 2], a))


def by_dropin(x: Any, a: Any) -> Any:
    import irgrad.scipy.stats.t as t

    from irgrad.scipy.stats import norm

    return np.sum(t.pdf(x, a)) + np.sum(norm.ppf(x / 10.0, a))


@pytest.mark.parametrize("f", [by_module, by_import, by_dropin])
@pytest.mark.parametrize("plain", [True, False])
def test_plain_scipy_and_the_drop_in_trace_and_compile(f: Callable[..., Any], plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "evaluate", plain)
    x, a = np.array([0.5, 1.5, 4.0]), np.float64(1.7)
    gradient = irgrad.grad(f, (0, 1))(x, a)
    step = 1e-6
    numeric = (f(x, a + step) - f(x, a - step)) / (2 * step)
    np.testing.assert_allclose(gradient[1], numeric, rtol=1e-6)
    jitted = irgrad.jit(irgrad.grad(f, (0, 1)), compile_after=1)
    for _ in range(2):
        for got, want in zip(jitted(x, a), gradient, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-11)
    assert jitted.stats().eager_calls == 1
    assert jitted.stats().host_calls == 0


def test_plain_values_and_other_names_are_scipys_own() -> None:
    assert ist.norm.pdf(0.5) == st.norm.pdf(0.5)
    assert ist.norm.mean(1.0, 2.0) == 1.0
    assert ist.norm(1.0, 2.0).std() == 2.0
    assert ist.cauchy.pdf(0.5) == st.cauchy.pdf(0.5)
    assert ist.cauchy(1.0).pdf(0.5) == st.cauchy(1.0).pdf(0.5)
    assert ist.dirichlet.mean(ALPHA)[0] == st.dirichlet.mean(ALPHA)[0]
    np.testing.assert_array_equal(ist.norm.rvs(size=3, random_state=1), st.norm.rvs(size=3, random_state=1))


def test_what_is_not_traced_is_refused() -> None:
    for f, name in (
        (lambda x: ist.cauchy.pdf(x), "stats.cauchy.pdf"),
        (lambda x: st.cauchy.pdf(x), "stats.cauchy.pdf"),
        (lambda x: ist.cauchy(x).pdf(1.0), "stats.cauchy"),
        (lambda x: ist.norm.mean(x), "stats.norm.mean"),
        (lambda x: ist.norm(x, 1.0).mean(), "stats.norm.mean"),
        (lambda x: ist.zscore(x), "stats.zscore"),
        (lambda x: ist.dirichlet.mean([x, 1.0]), "stats.dirichlet.mean"),
    ):
        with pytest.raises(UnsupportedError, match=rf"scipy\.{name} is not traced yet \(.*test_stats.py:\d+"):
            irgrad.grad(f)(0.5)


def test_wrong_arguments_are_refused() -> None:
    for f, message in (
        (lambda x: ist.norm.pdf(x, 0.0, 1.0, 2.0), "positional arguments"),
        (lambda x: ist.norm.pdf(x, mu=1.0), "unexpected or repeated keyword argument 'mu'"),
        (lambda x: ist.gamma.pdf(x), "missing required arguments: a"),
        (lambda x: ist.poisson.pmf(x, 1.0, scale=2.0), "unexpected or repeated keyword argument 'scale'"),
    ):
        with pytest.raises(TraceError, match=message):
            irgrad.grad(f)(0.5)


def test_single_precision_is_computed_in_double_as_scipy_does() -> None:
    x = np.array([0.5, 1.0], np.float32)
    assert irgrad.grad(lambda x: np.sum(ist.norm.logpdf(x)))(x).dtype == np.float32


# ---- against autograd ----

AUTOGRAD: list[tuple[str, tuple[str, ...], tuple[Any, ...], tuple[int, ...]]] = [
    ("norm", METHODS, (CONTINUOUS["norm"][1], 0.3, 1.4), (0, 1, 2)),
    ("t", ("pdf", "logpdf", "logcdf"), (CONTINUOUS["t"][1], 3.5, 0.3, 1.4), (0, 2)),
    ("t", ("pdf", "logpdf"), (CONTINUOUS["t"][1], 3.5, 0.3, 1.4), (1, 3)),
    ("beta", ("pdf", "logpdf"), (CONTINUOUS["beta"][1], 1.5, 2.5), (0, 1, 2)),
    ("beta", ("cdf",), (CONTINUOUS["beta"][1], 1.5, 2.5), (0,)),
    ("gamma", ("pdf", "logpdf"), (CONTINUOUS["gamma"][1], 2.5), (0, 1)),
    ("gamma", ("cdf",), (CONTINUOUS["gamma"][1], 2.5), (0,)),
    ("chi2", ("pdf", "logpdf", "cdf"), (CONTINUOUS["chi2"][1], 4.0), (0,)),  # autograd: whole degrees of freedom only
    ("poisson", ("pmf", "logpmf", "cdf"), (np.array([0.0, 2.0]), 2.3), (1,)),
    ("multivariate_normal", ("pdf", "logpdf"), (POINTS[0], MEAN, COV), (0, 1, 2)),
    ("dirichlet", ("pdf", "logpdf"), (SIMPLEX[:, 0], ALPHA), (1,)),
]


def test_agrees_with_autograd() -> None:
    astats = pytest.importorskip("autograd.scipy.stats")
    autograd = pytest.importorskip("autograd")
    anp = pytest.importorskip("autograd.numpy")
    count = 0
    for name, methods, args, argnums in AUTOGRAD:
        for method in methods:
            ours, theirs = getattr(getattr(ist, name), method), getattr(getattr(astats, name), method)
            for argnum in argnums:
                got = irgrad.grad(lambda *a, f=ours: np.sum(f(*a)), argnum)(*args)
                want = autograd.grad(lambda *a, f=theirs: anp.sum(f(*a)), argnum)(*args)
                np.testing.assert_allclose(got, want, rtol=1e-8, err_msg=f"{name}.{method} by {argnum}")
                count += 1
    assert count == 54
