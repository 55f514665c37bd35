"""flatten, optimizers, fixed points and the builtins that autograd's users import."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad import builtins as ib
from irgrad import errors
from irgrad.misc import flatten
from irgrad.misc.fixed_points import fixed_point
from irgrad.misc.flatten import flatten as flatten_again
from irgrad.misc.flatten import flatten_func
from irgrad.misc.optimizers import adam, rmsprop, sgd
from irgrad.misc.tracers import FullGraphNode, const_graph, full_graph
from irgrad.test_util import check_grads

Pair = namedtuple("Pair", "x y")
TREES: list[Any] = [
    1.5,
    np.arange(6.0).reshape(2, 3),
    [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0, 3.0)],
    {"weights": [1.0, 2.0], "biases": np.ones(2), "none": None},
    OrderedDict(b=Pair(np.zeros((0, 2)), 2.0), a=[np.array(3.0)]),
    [],
    (1.0 + 2.0j, np.ones(2)),
    np.ones(3, np.float32),
]


def compiled(f: Any, *args: Any) -> Any:
    """The result of compiled code."""
    jitted = irgrad.jit(f, compile_after=1)
    jitted(*args)
    before = jitted.stats()
    result = jitted(*args)
    after = jitted.stats()
    assert (after.eager_calls, after.host_calls) == (before.eager_calls, 0)
    return result


def close(a: Any, b: Any, **options: float) -> None:
    left, right = irgrad.pytree.flatten(a), irgrad.pytree.flatten(b)
    assert left[1] == right[1]
    for x, y in zip(left[0], right[0], strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 1e-12, "atol": 1e-14, **options})


# ---- flatten ----


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_flatten_and_back(tree: Any) -> None:
    vector, unflatten = flatten(tree)
    assert vector.ndim == 1
    back = unflatten(vector)
    close(back, tree)
    leaves = zip(irgrad.pytree.flatten(back)[0], irgrad.pytree.flatten(tree)[0], strict=True)
    assert all(np.asarray(a).dtype == np.asarray(b).dtype and np.shape(a) == np.shape(b) for a, b in leaves)


def test_one_function_two_imports() -> None:
    assert flatten is flatten_again


def test_order_and_copies() -> None:
    tree = {"b": np.ones(2), "a": 5.0}
    vector, _ = flatten(tree)
    np.testing.assert_array_equal(vector, [5.0, 1.0, 1.0])  # keys sorted
    single = np.ones(2)
    flatten(single)[0][0] = 7.0
    np.testing.assert_array_equal(single, 1.0)


def test_integers_become_floats() -> None:
    vector, unflatten = flatten([1, True, np.arange(2)])
    assert vector.dtype == np.float64
    assert [np.asarray(x).dtype for x in unflatten(vector)] == [np.float64] * 3


def test_another_dtype_survives() -> None:
    vector, unflatten = flatten([1.0, np.ones(2)])
    stepped = unflatten(vector + 1e-20j)
    assert stepped[1].dtype == np.complex128
    assert flatten([np.ones(1, np.float32), 1.0])[1](np.ones(2))[0].dtype == np.float32


@pytest.mark.parametrize("tree", TREES[:5], ids=str)
def test_flatten_is_differentiable(tree: Any) -> None:
    vector, unflatten = flatten(tree)
    weights = np.cos(np.arange(vector.size))

    def of_tree(tree):
        return np.sum(weights * flatten(tree)[0] ** 2)

    def of_vector(vector):
        return of_tree(unflatten(vector))

    expected = 2 * weights * vector
    close(irgrad.grad(of_vector)(vector), expected)
    close(irgrad.grad(of_tree)(tree), unflatten(expected))
    close(compiled(irgrad.grad(of_tree), tree), unflatten(expected))
    close(compiled(irgrad.hessian(of_vector), vector), np.diag(2 * weights))


def test_flatten_func() -> None:
    scale = np.array([1.0, 2.0])

    def f(p, k):
        return {"u": p["a"] * scale * k, "v": p["b"] ** 2}

    flat, unflatten, vector = flatten_func(f, {"a": np.ones(2), "b": 3.0})
    assert flat.__name__ == "f"
    close(flat(vector, 2.0), np.array([2.0, 4.0, 9.0]))
    assert unflatten(vector)["b"] == 3.0
    jitted = irgrad.jit(irgrad.jacobian(flat), compile_after=1)
    expected = np.array([[2.0, 0, 0], [0, 4.0, 0], [0, 0, 6.0]])
    close(jitted(vector, 2.0), expected)
    close(jitted(vector, 2.0), expected)
    scale[:] = 5.0  # captured arrays are read again
    close(jitted(vector, 2.0)[:2, :2], np.diag([10.0, 10.0]))


def test_flatten_errors() -> None:
    with pytest.raises(TypeError, match=r"flatten: \['a'\]\[0\] is str; expected numbers and arrays \(test_misc.py:\d+\)"):
        flatten({"a": ["text"]})
    with pytest.raises(TypeError, match="flatten: the value is an array of dtype object; expected numbers"):
        flatten(np.array([None]))
    with pytest.raises(ValueError, match=r"unflatten expects a vector of shape \(2,\), got shape \(3,\) \(test_misc.py:\d+\)"):
        flatten((1.0, 2.0))[1](np.ones(3))


# ---- optimizers ----

A = np.array([[2.0, 0.3], [0.3, 1.0]])
START = {"a": np.array([1.0, 2.0]), "b": (0.5,)}


def bowl(p):
    return np.dot(np.dot(p["a"], A), p["a"]) + (p["b"][0] - 1.0) ** 2


@pytest.mark.parametrize(
    ("optimizer", "options"), [(sgd, {}), (rmsprop, {"num_iters": 300, "step_size": 0.02}), (adam, {"num_iters": 400, "step_size": 0.05})]
)
def test_optimizers(optimizer: Any, options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    gradient = irgrad.grad(bowl)
    seen: list[tuple[Any, int, Any]] = []
    found = optimizer(lambda p, i: gradient(p), START, lambda p, i, g: seen.append((p, i, g)), **options)
    close(found, {"a": np.zeros(2), "b": (1.0,)}, atol=0.05)
    assert [i for _, i, _ in seen] == list(range(options.get("num_iters", 200)))
    close(seen[0][0], START)
    close(seen[3][2], gradient(seen[3][0]))
    assert capsys.readouterr().err == ""
    optimizer(lambda p, i: gradient(p), START, num_iters=20, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith(f"{optimizer.__name__} 2/20: largest gradient entry ")


@pytest.mark.parametrize("optimizer", [sgd, rmsprop, adam])
def test_against_autograd(optimizer: Any) -> None:
    theirs = getattr(pytest.importorskip("autograd.misc.optimizers"), optimizer.__name__)
    gradient = irgrad.grad(bowl)
    start = {"a": START["a"], "b": (0.5,)}
    close(optimizer(lambda p, i: gradient(p), start, num_iters=25), theirs(lambda p, i: gradient(p), start, num_iters=25))


@pytest.mark.parametrize("optimizer", [sgd, rmsprop, adam])
def test_derivative_of_an_optimizer(optimizer: Any) -> None:
    """Of what is reached after a few steps, with respect to start and step length; kernels do not depend on the count."""
    gradient = irgrad.grad(bowl)
    kernels = set()
    for steps in (4, 12):

        def reached(start, size):
            return bowl(optimizer(lambda p, i: gradient(p), start, num_iters=steps, step_size=size))

        check_grads(reached, (0, 1), modes=["rev"], order=1)(START, 0.05)
        both = irgrad.grad(reached, (0, 1))
        close(compiled(both, START, 0.05), both(START, 0.05), rtol=1e-9)
        kernels.add(irgrad.jit(both).compile(START, 0.05).stats().kernels)
    assert len(kernels) == 1


# ---- fixed points ----


def newton(a):
    return lambda x: 0.5 * (x + a / x)


def distance(x, y):
    return np.abs(x - y)


def root(a):
    return fixed_point(newton, a, 10.0, distance, 1e-15)


def test_fixed_point() -> None:
    orders = [root, irgrad.grad(root), irgrad.grad(irgrad.grad(root)), irgrad.deriv(root), irgrad.deriv(irgrad.grad(root))]
    for f, expected in zip(orders, [2**0.5, 0.5 * 2**-0.5, -0.25 * 2**-1.5, 0.5 * 2**-0.5, -0.25 * 2**-1.5], strict=True):
        assert f(2.0) == pytest.approx(expected, rel=1e-14)
        assert compiled(f, 2.0) == pytest.approx(expected, rel=1e-14)


def test_fixed_point_keeps_no_iteration() -> None:
    graph = irgrad.optimized(irgrad.trace(irgrad.grad(lambda a: fixed_point(newton, a, 1e6, distance, 1e-12)))(2.0))[0]
    adjoint = [node for node in graph.nodes() if node.primal is not None]
    assert 0 < len(adjoint) < 60


def test_fixed_point_of_containers() -> None:
    mixing = np.array([[0.2, 0.1], [0.0, 0.3]])

    def f(p):
        def step(x):
            return {"u": np.tanh(np.dot(mixing, x["u"]) * p["k"] + p["c"]), "n": 0.5 * x["n"] + p["k"]}

        return step

    def far(x, y):
        return np.max(np.abs(x["u"] - y["u"])) + np.abs(x["n"] - y["n"])

    def total(p):
        found = fixed_point(f, p, {"u": np.zeros(2), "n": 0.0}, far, 1e-14)
        return np.sum(found["u"] ** 2) + found["n"] ** 2

    p = {"k": 1.3, "c": np.array([0.3, -0.2]), "exponent": 2}
    moving = {"k": 1.3, "c": p["c"]}
    check_grads(lambda q: total({**q, "exponent": 2}))(moving)
    close(compiled(irgrad.grad(total), moving), irgrad.grad(total)(moving), rtol=1e-10)
    assert total({"k": 1.0, "c": np.zeros(2)}) == pytest.approx(4.0)


def test_fixed_point_that_closes_over_a_traced_value() -> None:
    with pytest.raises(errors.TraceError, match=r"the function of fixed_point closes over a traced value .*; make it a part of `a`"):
        irgrad.grad(lambda c: fixed_point(lambda a: lambda x: 0.5 * (x + c / x), 2.0, 1.0, distance, 1e-12))(2.0)


# ---- builtins ----


def test_containers_are_pythons() -> None:
    assert (ib.list, ib.tuple, ib.dict, ib.isinstance) == (list, tuple, dict, isinstance)
    f = lambda x: ib.dict(a=ib.list((x, x)), b=ib.tuple([2 * x]))
    close(irgrad.jacobian(f)(1.0), {"a": [1.0, 1.0], "b": (2.0,)})


@pytest.mark.parametrize("wrap", [lambda f: f, irgrad.grad, irgrad.jit], ids=["plain", "grad", "jit"])
def test_types_of_traced_values(wrap: Any) -> None:
    def f(x, y):
        assert ib.isinstance(x, float)
        assert not ib.isinstance(x, np.ndarray)
        assert ib.type(x) is float
        assert ib.type(y) == np.ndarray
        assert ib.isinstance(y, np.ndarray)
        assert ib.type([x]) is list
        return x * np.sum(y)

    assert wrap(f)(2.0, np.ones(3)) in (6.0, 3.0)
    assert ib.type("Made", (list,), {}).__name__ == "Made"


# ---- recorded functions ----


def test_const_graph() -> None:
    calls = []

    def f(k, x, p, power=2):
        calls.append(1)
        y = k * np.sin(x) ** power + p["a"] * x
        return np.sum(y) if x.sum() > 0 else -np.sum(y)

    g = const_graph(f, 3.0, power=3)
    assert g.__name__ == "f"
    x, p = np.arange(1.0, 4.0), {"a": 0.5}
    expected = lambda x, p: np.sum(3.0 * np.sin(x) ** 3 + p["a"] * x)
    for shift in (0.0, 1.0, 2.0):
        np.testing.assert_allclose(g(x + shift, p), expected(x + shift, p), rtol=1e-13)
    assert calls == [1]
    slope = 9.0 * np.sin(x) ** 2 * np.cos(x) + 0.5
    for wrap in (lambda f: f, lambda f: irgrad.jit(f, compile_after=1)):
        gradient = wrap(irgrad.grad(g, (0, 1)))
        for _ in range(2):
            found = gradient(x, p)
            np.testing.assert_allclose(found[0], slope, rtol=1e-12)
            np.testing.assert_allclose(found[1]["a"], x.sum())
    check_grads(g)(x, p)
    assert calls == [1]
    fresh = const_graph(f, 3.0, power=3)
    np.testing.assert_allclose(irgrad.grad(fresh)(x, p), slope, rtol=1e-12)  # recorded while differentiated
    with pytest.raises(errors.RuntimeGuardError, match="the trace holds for True"):
        g(-x, p)
    with pytest.raises(errors.RuntimeGuardError, match=r"a decision at test_misc.py:\d+ would be another one"):
        irgrad.grad(g)(-x, p)
    with pytest.raises(
        errors.TraceError, match=r"the arguments are f64\[2\], float \(test_misc.py:\d+\); it was recorded for f64\[3\], float"
    ):
        g(x[:2], p)
    with pytest.raises(errors.DifferentiationError, match="Output is independent of input"):
        const_graph(lambda x: 3.0)(1.0)
    with pytest.raises(errors.TraceError, match="an argument is no number or array but str"):
        const_graph(lambda x, name: x)(1.0, "b")


def test_const_graph_keeps_structures_and_draws() -> None:
    g = const_graph(lambda x: {"twice": 2 * x, "parts": [x + 1, 5], "sum": np.sum(x * np.random.randn(2))})
    np.random.seed(0)
    first, second = g(1.5), g(2.5)
    np.random.seed(0)
    for found, x in ((first, 1.5), (second, 2.5)):
        close(found, {"twice": 2 * x, "parts": [x + 1, 5], "sum": np.sum(x * np.random.randn(2))})
    assert type(second["twice"]) is float
    scale = np.ones(2)
    h = const_graph(lambda x: np.sum(scale * x))
    assert h(2.0) == 4.0
    scale[:] = 9.0
    assert h(2.0) == 4.0  # captured values are constants


def test_full_graph() -> None:
    end = full_graph(lambda x, y, k: np.sin(x) * y**k, 0.5, 3.0, k=2)
    assert end is not None
    assert end.value == np.sin(0.5) * 9.0
    seen: list[str] = []

    def recompute(node: FullGraphNode) -> Any:
        function, args, keywords, parents = node.recipe
        seen.append(function.__name__)
        if not parents:
            return node.value
        given = list(args)
        for place, parent in parents:
            given[place] = recompute(parent)
        return function(*given, **keywords)

    assert recompute(end) == pytest.approx(end.value, rel=1e-15)
    assert seen[0] == "mul"
    assert "sin" in seen
    assert len({id(p) for _, p in end.recipe[3]}) == 2
    assert full_graph(lambda x: 1.0, 2.0) is None
    with pytest.raises(errors.TraceError, match="expects a function of one output, got 2"):
        full_graph(lambda x: (x, x), 2.0)
