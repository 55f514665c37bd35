"""Random draws in traced functions: the same numbers from the same seed, eager and compiled, and their derivatives."""

from __future__ import annotations

import copy
import pickle
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.numpy as inp
from irgrad import errors
from irgrad.frontend.handlers.random import FORMULAS, PARAMETERS
from irgrad.ir.evaluate import evaluate
from irgrad.pytree import flatten
from irgrad.runtime.jit import Jitted
from tests.support.differences import differences
from tests.support.threads import together

NUMBERS: dict[str, tuple[Any, ...]] = {  # of each distribution: arguments before the size
    "beta": (2.0, 1.5), "binomial": (10, 0.3), "chisquare": (3.0,), "dirichlet": (np.array([1.0, 2.0, 0.5]),), "exponential": (1.7,),
    "f": (3.0, 7.0), "gamma": (2.5, 1.3), "geometric": (0.3,), "gumbel": (0.4, 1.2), "hypergeometric": (6, 7, 5), "laplace": (0.2, 1.5),
    "logistic": (-0.3, 0.8), "lognormal": (0.1, 0.4), "logseries": (0.5,), "multinomial": (9, [0.2, 0.3, 0.5]),
    "multivariate_hypergeometric": ([3, 4, 5], 6), "multivariate_normal": (np.array([1.0, -2.0]), np.array([[2.0, 0.3], [0.3, 1.0]])),
    "negative_binomial": (4, 0.4), "noncentral_chisquare": (3.0, 1.0), "noncentral_f": (3.0, 8.0, 1.0), "normal": (0.3, 1.1),
    "pareto": (3.0,), "poisson": (3.5,), "power": (2.5,), "rayleigh": (1.4,), "standard_cauchy": (), "standard_exponential": (),
    "standard_gamma": (2.2,), "standard_normal": (), "standard_t": (5.0,), "triangular": (-1.0, 0.5, 2.0), "uniform": (-1.0, 3.0),
    "vonmises": (0.5, 2.0), "wald": (1.2, 2.0), "weibull": (1.6,), "zipf": (2.5,), "integers": (2, 9), "randint": (2, 9), "random": (),
    "random_sample": (), "choice": (7,), "permutation": (6,), "permuted": (np.arange(6.0),), "rand": (3, 2), "randn": (2,), "tomaxint": (),
    "random_integers": (2, 9),
}  # fmt: skip
UNSIZED = ("permutation", "permuted", "rand", "randn")
MAKERS: dict[str, tuple[Callable[[int], Any], Callable[[int], Any]]] = {
    "RandomState": (np.random.RandomState, inp.random.RandomState),
    "Generator": (np.random.default_rng, inp.random.default_rng),
}
CASES = [(kind, name) for kind in MAKERS for name in PARAMETERS if hasattr(getattr(np.random, kind), name) and name != "random_integers"]


def same(got: Any, expected: Any) -> None:
    for a, b in zip(flatten(got)[0], flatten(expected)[0], strict=True):
        assert np.shape(a) == np.shape(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def reseeded(function: Any, *args: Any, calls: int = 5) -> list[Any]:
    np.random.seed(3)
    return [function(*args) for _ in range(calls)]


# ---- the same numbers as numpy ----


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("size", [None, (4,)], ids=["one", "many"])
def test_compiled_draws_are_numpys(kind: str, name: str, size: Any) -> None:
    theirs, ours = (make(1) for make in MAKERS[kind])
    args = (*NUMBERS[name], *([] if size is None or name in UNSIZED else [size]))
    draw = irgrad.jit(lambda x: getattr(ours, name)(*args) + x)
    for _ in range(4):
        same(draw(0.0), getattr(theirs, name)(*args) + 0.0)
    assert draw.stats().eager_calls == 2
    assert not draw.impure
    if kind == "Generator":
        assert ours.bit_generator.state == theirs.bit_generator.state
    else:
        assert str(ours.get_state()) == str(theirs.get_state())


@pytest.mark.parametrize(("kind", "name"), [case for case in CASES if case[1] not in UNSIZED and NUMBERS[case[1]]])
@pytest.mark.parametrize("sized", [False, True])
def test_traced_parameters(kind: str, name: str, sized: bool) -> None:
    theirs, ours = (make(2) for make in MAKERS[kind])
    args = NUMBERS[name]
    size = {"size": (2, *np.broadcast_shapes(*map(np.shape, args)))} if sized and not any(map(np.ndim, args)) else {}
    draw = irgrad.jit(lambda *args: getattr(ours, name)(*args, **size))
    for _ in range(4):
        got, expected = draw(*args), getattr(theirs, name)(*args, **size)
        same(got, expected)
        assert isinstance(got, float) is isinstance(expected, float)
    assert draw.stats().eager_calls == 2


@pytest.mark.parametrize("name", [name for name in PARAMETERS if hasattr(np.random, name) and name not in ("random_integers", "tomaxint")])
def test_functions_of_the_module(name: str) -> None:
    """Plain numpy's names in a traced function draw from numpy's global generator."""
    args = NUMBERS[name]
    f = lambda x: getattr(np.random, name)(*args) * x
    fast = irgrad.jit(f)
    same(reseeded(fast, 2.0), reseeded(f, 2.0))
    assert fast.stats().eager_calls == 2


def test_arrays_of_parameters_and_dtypes() -> None:
    def f(loc, scale):
        z = np.random.normal(loc, scale[:, None])
        return z, np.random.uniform(loc, loc + 1), np.random.standard_normal(3).astype(np.float32)

    loc, scale = np.float32([1.0, 2.0, 3.0]), np.array([0.5, 2.0])
    same(reseeded(irgrad.jit(f), loc, scale), reseeded(f, loc, scale))
    ours, theirs = inp.random.default_rng(0), np.random.default_rng(0)
    single = irgrad.jit(lambda x: ours.standard_normal(3, dtype=np.float32) * x, compile_after=1)
    same([single(np.float32(2)) for _ in range(3)], [theirs.standard_normal(3, dtype=np.float32) * np.float32(2) for _ in range(3)])


def test_a_loop_of_draws_costs_no_kernels() -> None:
    def walk(count):
        def f(x):
            for _ in range(count):
                x = x + 0.1 * np.random.randn() * np.exp(-(x**2))
            return x

        return f

    short, long = irgrad.jit(irgrad.grad(walk(12))), irgrad.jit(irgrad.grad(walk(50)))
    same(reseeded(short, 0.3), reseeded(irgrad.grad(walk(12)), 0.3))
    same(reseeded(long, 0.3), reseeded(irgrad.grad(walk(50)), 0.3))
    assert long.stats().kernels <= short.stats().kernels
    assert long.stats().host_calls == 150


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: irgrad.jit(f, compile_after=1)], ids=["eager", "compiled"])
def test_what_is_drawn_may_be_written_into(wrap: Any) -> None:
    def f(x):
        z = np.random.randn(3)
        z[0] = x
        z *= 2.0
        scale = np.ones(3)
        scale[1] = x
        return np.sum(z**2) + np.sum(np.random.normal(0.0, scale))

    got = reseeded(wrap(irgrad.value_and_grad(f)), 2.0)
    np.random.seed(3)
    for value, slope in got:
        z, eps = np.random.randn(3), np.random.randn(3)
        same((value, slope), (np.float64(16.0 + 4 * np.sum(z[1:] ** 2) + eps @ [1.0, 2.0, 1.0]), np.float64(16.0 + eps[1])))


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: irgrad.jit(f, compile_after=1)], ids=["eager", "compiled"])
def test_shuffle_writes(kind: str, wrap: Any) -> None:
    def f(x, generator):
        rows = np.outer(x, np.arange(1.0, 3.0))
        generator.shuffle(rows)
        return np.sum(rows * np.arange(10.0).reshape(5, 2))

    ours, theirs = MAKERS[kind][1](3), MAKERS[kind][0](3)
    gradient = wrap(irgrad.value_and_grad(f))
    x = np.arange(5.0) ** 2
    for _ in range(3):
        rows = np.outer(x, np.arange(1.0, 3.0))
        order = np.arange(5)
        copy.deepcopy(theirs).shuffle(order)
        theirs.shuffle(rows)
        weights = np.arange(10.0).reshape(5, 2)
        slope = np.zeros(5)
        slope[order] = weights @ [1.0, 2.0]
        same(gradient(x, ours), (np.sum(rows * weights), slope))


# ---- program order, and exactly once ----


def test_what_nobody_reads_is_drawn() -> None:
    def f(x):
        np.random.randn(3)
        kept = np.random.randn(2)
        np.random.rand()
        return kept * x

    fast = irgrad.jit(f)
    same(reseeded(fast, 2.0), reseeded(f, 2.0))
    assert fast.stats().eager_calls == 2


def test_equal_draws_are_not_merged() -> None:
    def f(x):
        a, b, c = np.random.randn(2), np.random.randn(2), np.random.rand(2)
        return c * x, a - b, b

    same(reseeded(irgrad.jit(f), 1.0), reseeded(f, 1.0))


def branching(x, generator=None):
    """Draws before, between and behind guards on draws."""
    draw = np.random if generator is None else generator
    y = x * draw.normal(x, 0.5)
    for _ in range(4):
        if draw.rand() < 0.5:
            y = y + draw.standard_normal(2).sum()
        else:
            y = y * draw.uniform(0.5, 1.5)
        draw.rand()
    return y


@pytest.mark.parametrize("after", [1, 2])
def test_new_paths_repeat_no_draw(after: int) -> None:
    """A call that leaves compiled code goes on with the numbers that were drawn, and draws no others."""
    fast = irgrad.jit(irgrad.grad(branching), compile_after=after)
    same(reseeded(fast, 0.7, calls=120), reseeded(irgrad.grad(branching), 0.7, calls=120))
    stats = fast.stats()
    assert stats.paths > 5
    assert stats.eager_calls < stats.calls
    own = irgrad.jit(branching)
    ours, theirs = inp.random.RandomState(5), np.random.RandomState(5)
    same([own(0.4, ours) for _ in range(60)], [branching(0.4, theirs) for _ in range(60)])


def test_a_refused_parameter() -> None:
    """numpy's own error, with the line; the generator is where numpy would leave it."""
    f = lambda scale: np.random.rand() + np.random.normal(0.0, scale, size=3)
    fast = irgrad.jit(f, compile_after=1)
    np.random.seed(0)
    fast(1.0)
    with pytest.raises(errors.TraceValueError, match=r"numpy.random.normal\(.*scale < 0 \(test_random.py:\d+\)"):
        fast(-1.0)
    last = fast(2.0)
    np.random.seed(0)
    f(1.0)
    with pytest.raises(ValueError, match="scale < 0"):
        f(-1.0)
    same(last, f(2.0))


def test_draws_in_the_middle_of_a_jitted_call() -> None:
    """A jitted function within another is inlined, known program or not."""
    inner = irgrad.jit(lambda x: x * np.random.randn(), compile_after=1)
    inner(1.0)
    inner(1.0)
    outer = irgrad.jit(lambda x: x + inner(2.0), compile_after=1)
    plain = lambda x: x + 2.0 * np.random.randn()
    same(reseeded(outer, 1.0), reseeded(plain, 1.0))


# ---- generators made by the function, and seeds ----


@pytest.mark.parametrize("make", ["RandomState", "default_rng"])
def test_a_generator_of_its_own(make: str) -> None:
    def f(x, seed):
        a, b = getattr(np.random, make)(3), getattr(np.random, make)(seed)
        return x * a.normal(size=2) + b.normal(size=2) - a.standard_normal() * x, b.random()

    fast = irgrad.jit(f)
    for seed in (1, 1, 1, 5, 5, 9):
        same(fast(2.0, seed), f(2.0, seed))
    assert fast.stats().eager_calls == 2
    assert fast.stats().paths == 1


def test_generators_of_reentrant_calls() -> None:
    @irgrad.primitive
    def twice(x):
        return np.array(fast(np.float64(x) - 1.0)) if x > 0 else np.float64(x)

    def f(x):
        generator = np.random.RandomState(7)
        first = generator.randn()
        inner = twice(x)
        return first + inner + 10.0 * generator.randn()

    fast = irgrad.jit(f, compile_after=1)
    a, b = np.random.RandomState(7).randn(2)
    for depth in (0.0, 1.0, 3.0):
        same(fast(np.float64(depth)), np.float64((depth + 1) * (a + 10.0 * b)))


def test_unseeded_generators_differ() -> None:
    fast = irgrad.jit(lambda x: np.random.default_rng().normal() * x, compile_after=1)
    assert len({fast(1.0) for _ in range(5)}) == 5


def test_seeding_in_the_function() -> None:
    def f(x):
        first = np.random.rand()
        np.random.seed(4)
        drawn = np.random.randn(3)
        if drawn[0] * x > 0:
            return first + x * drawn.sum() + np.random.rand()
        return first - np.random.rand()

    fast = irgrad.jit(f)
    for x in (1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0):
        np.random.seed(8)
        got = fast(x), np.random.rand()
        np.random.seed(8)
        same(got, (f(x), np.random.rand()))
    assert fast.stats().paths == 2


def test_isinstance_copy_and_pickle() -> None:
    state, generator = inp.random.RandomState(1), inp.random.default_rng(1)
    assert isinstance(state, np.random.RandomState)
    assert isinstance(np.random.RandomState(0), inp.random.RandomState)
    assert isinstance(generator, inp.random.Generator)
    assert inp.random.default_rng(generator) is generator
    for each in (state, generator):
        each.normal()
        for other in (copy.deepcopy(each), pickle.loads(pickle.dumps(each))):
            assert type(other) is type(each)
            assert other.normal() == copy.deepcopy(each).normal()


def test_threads_have_logs_of_their_own() -> None:
    fast = irgrad.jit(branching)
    found: dict[int, list[Any]] = {}

    def work(seed: int) -> None:
        generator = inp.random.RandomState(seed)
        found[seed] = [fast(0.4, generator) for _ in range(30)]

    together(work, 3)
    for seed, got in found.items():
        theirs = np.random.RandomState(seed)
        same(got, [branching(0.4, theirs) for _ in range(30)])


# ---- derivatives ----


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: irgrad.jit(f, compile_after=1)], ids=["eager", "compiled"])
@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("name", [*FORMULAS, "gamma"])
def test_pathwise_derivatives(name: str, kind: str, wrap: Any) -> None:
    """Central differences of numpy's own draws from one seed, to order two, in both modes."""
    args = NUMBERS[name] if name != "gamma" else NUMBERS[name][1:]
    given = (lambda *a: a) if name != "gamma" else (lambda scale: (2.5, scale))

    def total(generator, *params):
        return np.sum(np.sin(getattr(generator, name)(*given(*params), size=5)) * np.arange(1.0, 6.0))

    ours, theirs = MAKERS[kind][1], MAKERS[kind][0]
    value = wrap(irgrad.value_and_grad(lambda seed, *p: total(ours(seed), *p), tuple(range(1, len(args) + 1))))
    curve = wrap(irgrad.hessian(lambda p, seed: total(ours(seed), *p)))
    push = wrap(lambda p, t, seed: irgrad.make_jvp(lambda p: total(ours(seed), *p))(p)(t)[1])
    point = np.array(args)
    plain = lambda p: total(theirs(3), *map(float, p))
    slope = differences(plain, point, 1e-5)
    for _ in range(2):
        got, found = value(3, *args)
        np.testing.assert_allclose(got, plain(point), rtol=1e-12)
        np.testing.assert_allclose(found, slope, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(push(point, np.ones(len(args)), 3), slope.sum(), rtol=1e-6, atol=1e-7)
    gradient = lambda p: np.array(irgrad.grad(lambda p: total(ours(3), *p))(p))
    np.testing.assert_allclose(curve(point, 3), differences(gradient, point, 1e-5), rtol=1e-5, atol=1e-6)


def test_rows_and_means_are_differentiable() -> None:
    def f(x, mean):
        order = np.random.permutation(x)
        some = np.random.choice(x, 4)
        z = np.random.multivariate_normal(mean, np.diag([1.0, 4.0]), size=3)
        return np.sum(order * np.arange(5.0)) + np.sum(some**2) + np.sum(z**2)

    x, mean = np.arange(5.0) ** 2, np.array([1.0, 2.0])
    got = reseeded(irgrad.jit(irgrad.grad(f, (0, 1))), x, mean)
    same(got, reseeded(irgrad.grad(f, (0, 1)), x, mean))
    np.random.seed(3)
    order, some = np.random.permutation(5), np.random.choice(5, 4)
    z = np.random.multivariate_normal(mean, np.diag([1.0, 4.0]), size=3)
    expected = np.argsort(order).astype(float)
    np.add.at(expected, some, 2 * x[some])
    same(got[0], (expected, 2 * z.sum(0)))


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_lines_in_an_order_of_their_own(axis: Any) -> None:
    x, weights = np.arange(6.0).reshape(2, 3) ** 2, np.cos(np.arange(6.0)).reshape(2, 3)
    ours = irgrad.jit(irgrad.value_and_grad(lambda x: np.sum(np.random.default_rng(3).permuted(x, axis=axis) * weights)))
    place = np.random.default_rng(3).permuted(np.arange(6).reshape(2, 3), axis=axis)
    slope = np.zeros(6)
    slope[place.ravel()] = weights.ravel()
    for _ in range(3):
        same(ours(x), (np.sum(np.random.default_rng(3).permuted(x, axis=axis) * weights), slope.reshape(2, 3)))


@pytest.mark.parametrize(
    "call",
    [
        lambda p: np.random.gamma(p, 1.0), lambda p: np.random.beta(p, 1.0), lambda p: np.random.poisson(p),
        lambda p: np.random.chisquare(p),
        lambda p: np.random.binomial(3, p / 10), lambda p: np.random.default_rng(0).standard_gamma(p), lambda p: np.random.standard_t(p),
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrap", [lambda f: f, irgrad.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("operator", [irgrad.grad, irgrad.deriv], ids=["reverse", "forward"])
def test_other_derivatives_are_refused(call: Any, wrap: Any, operator: Any) -> None:
    with pytest.raises(errors.DifferentiationError, match=r"derivative of a draw .* is not defined \(test_random.py:\d+\)"):
        wrap(operator(lambda p: call(p) * 1.0))(2.5)
    stopped = wrap(operator(lambda p: p * call(irgrad.stop_gradient(p))))
    np.random.seed(1)
    got = stopped(2.5)
    np.random.seed(1)
    assert got == call(2.5)


# ---- generators that the trace does not know ----

OURS = inp.random.default_rng(0)
PLAIN = np.random.RandomState(0)
GENERATOR = np.random.default_rng(0)
draw_normal = PLAIN.randn


class Holder:
    def __init__(self) -> None:
        self.rng = PLAIN


HOLDER = Holder()
FOREIGN: dict[str, Callable[..., Any]] = {
    "global": lambda x: x * PLAIN.randn(3),
    "generator": lambda x: x * GENERATOR.standard_normal(3),
    "bound method": lambda x: x * draw_normal(3),
    "default": lambda x, rng=PLAIN: x * rng.randn(3),
    "attribute": lambda x: x * HOLDER.rng.randn(3),
    "integers": lambda x: x + PLAIN.randint(0, 2),
    "a decision": lambda x: x if PLAIN.rand() < 0.5 else -x,
    "parameters": lambda x: PLAIN.normal(x, x**2),
    "Python's": lambda x: x * random.gauss(0, 1) + random.choice([1, 2]),
}


@pytest.mark.parametrize("name", list(FOREIGN))
@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("operator", [lambda f: f, irgrad.elementwise_grad, irgrad.deriv], ids=["value", "reverse", "forward"])
def test_plain_generators_are_impure_and_right(name: str, after: int, operator: Any) -> None:
    def restart() -> None:
        PLAIN.seed(4)
        random.seed(4)
        GENERATOR.bit_generator.state = np.random.default_rng(4).bit_generator.state

    f = FOREIGN[name]
    fast: Jitted = irgrad.jit(operator(f), compile_after=after)
    restart()
    with pytest.warns(RuntimeWarning, match=r"keeps running eagerly: numbers are drawn from .* \(test_random.py:\d+\); use a generator"):
        got = [fast(1.5)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got += [fast(1.5) for _ in range(5)]
    restart()
    if name == "parameters" and operator is not FOREIGN:
        f = lambda x: x + x**2 * PLAIN.randn()
    same(got, [operator(f)(1.5) for _ in range(6)])


def test_draws_of_a_library_are_seen() -> None:
    """The state of numpy's global generator is compared; a primitive of the user may draw, for it runs at each call."""
    stats = pytest.importorskip("scipy.stats")
    fast = irgrad.jit(lambda x: x * stats.gompertz.rvs(1.0), compile_after=1)
    with pytest.warns(RuntimeWarning, match=r"keeps running eagerly: a library draws from numpy's global generator \(test_random.py:\d+\)"):
        got = reseeded(fast, 2.0)
    same(got, reseeded(lambda x: x * stats.gompertz.rvs(1.0), 2.0))
    noise = irgrad.primitive(lambda x: x + np.random.rand())
    fast = irgrad.jit(lambda x: noise(x) * np.random.rand(), compile_after=1)
    same(reseeded(fast, 2.0), reseeded(lambda x: (x + np.random.rand()) * np.random.rand(), 2.0))
    assert not fast.impure


def test_a_plain_generator_as_an_argument() -> None:
    fast = irgrad.jit(lambda x, rng: x * rng.randn(), compile_after=1)
    with pytest.warns(RuntimeWarning, match="keeps running eagerly"):
        got = [fast(1.0, PLAIN.__class__(3)) for _ in range(2)]
    same(got, [np.random.RandomState(3).randn()] * 2)


@pytest.mark.parametrize(
    "other",
    [
        lambda: np.random.get_state(), lambda: np.random.bytes(3), lambda: np.random.seed(), lambda: np.random.get_bit_generator(),
        lambda: OURS.bit_generator.random_raw(), lambda: OURS.spawn(1), lambda: OURS.shuffle([1, 2]),
        lambda: np.random.Generator(np.random.PCG64(3)).normal(),
    ],
)  # fmt: skip
def test_other_uses_of_a_generator_are_impure(other: Any) -> None:
    def f(x):
        other()
        return 2.0 * x

    fast = irgrad.jit(f, compile_after=1)
    with pytest.warns(
        RuntimeWarning,
        match=r"keeps running eagerly: .*generator.* \(test_random.py:\d+\)|: numpy.random.\w+ in a traced function \(test_random.py:\d+\)",
    ):
        assert fast(1.0) == 2.0


def test_refused() -> None:
    generator = inp.random.default_rng(0)
    with pytest.raises(errors.UnsupportedError, match=r"random.standard_normal\(out=\)"):
        irgrad.jit(lambda x: generator.standard_normal(out=x))(np.ones(3))
    with pytest.raises(errors.TraceError, match=r"numpy.random.normal\(.*\): .* \(test_random.py:\d+\)"):
        irgrad.jit(lambda x: np.random.normal(x, 1.0, 3, 4, 5))(1.0)


# ---- graphs ----


def test_graphs_show_draws() -> None:
    def f(x):
        generator = np.random.RandomState(5)
        return x * generator.normal(x, 2.0, size=2) + np.random.rand()

    graph = irgrad.trace(f)(1.0)
    text = str(graph)
    assert "RandomState0.normal(., 2.0)" in text
    assert "0x" not in text
    after, _ = irgrad.optimized(graph)
    for each in (graph, after):
        np.random.seed(1)
        got = evaluate(each, 1.0)
        np.random.seed(1)
        same(got[0], f(1.0))
