"""How handlers are reached: what is recorded, what stays numpy's own, creation, math, guards, and errors' wording."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.numpy as inp
from irgrad.errors import TraceError, TraceIndexError, TraceValueError, UnsupportedError
from irgrad.frontend.context import CURRENT
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.handlers import MATH
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.aval import aval_of
from irgrad.ir.primitive import REGISTRY

X = np.array([[0.5, -1.0, 2.0], [3.0, 0.25, -4.0]])


@pytest.fixture(params=[GraphTrace, EagerTrace])
def trace(request: pytest.FixtureRequest) -> Any:
    made = request.param()
    token = CURRENT.set(made)
    yield made
    CURRENT.reset(token)


@pytest.fixture
def graph() -> Any:
    made = GraphTrace()
    token = CURRENT.set(made)
    yield made
    CURRENT.reset(token)


def traced(trace: Trace, x: Any) -> Any:
    return trace.input(x, None) if isinstance(trace, GraphTrace) else trace.call(REGISTRY["mark"], (x,), {})


def ops(trace: Trace) -> list[str]:
    return [node.op.name for node in trace.tape if node.op is not None]


# ---- what is recorded ----

RECORDED: list[tuple[Callable[..., Any], list[str]]] = [
    (lambda x: x + 1.0, ["add"]),
    (lambda x: x**2, ["square"]),
    (lambda x: x**3, ["integer_pow"]),
    (lambda x: abs(x) ** 0.5, ["abs", "sqrt"]),
    (lambda x: abs(x) ** 1.5, ["abs", "pow"]),
    (lambda x: inp.mean(x, axis=0), ["reduce_sum", "div"]),
    (lambda x: inp.sum(x, axis=1, keepdims=True), ["reduce_sum", "reshape"]),
    (lambda x: x[0], ["slice"]),
    (lambda x: x[:, 1:], ["slice"]),
    (lambda x: x[::-1, None, 0], ["slice", "reshape"]),
    (lambda x: x[...], []),
    (lambda x: x[:, :], []),
    (lambda x: x[[0, 1], [1, 2]], ["gather"]),
    (lambda x: x[:, [1, 2]], ["transpose", "gather", "transpose"]),
    (lambda x: x.T @ x, ["transpose", "dot"]),
    (lambda x: inp.einsum("ij,kj->ik", x, x), ["transpose", "dot"]),
    (lambda x: inp.einsum("ij,ij->ij", x, x), ["mul"]),
    (lambda x: inp.einsum("bi,bj->bij", x, x), ["reshape", "reshape", "mul"]),
    (lambda x: inp.stack([x, x]), ["reshape", "reshape", "concatenate"]),
    (lambda x: inp.concatenate([x]), ["identity"]),
    (lambda x: x.reshape(2, 3), []),
    (lambda x: x.astype(float), ["identity"]),
    (lambda x: inp.zeros_like(x), ["zeros"]),
    (lambda x: x.copy(), ["identity"]),
    (lambda x: x[0, 0].item(), ["slice"]),
    (lambda x: inp.linalg.norm(x), ["norm2"]),
]


@pytest.mark.parametrize(("fn", "want"), RECORDED)
def test_lowering(graph: GraphTrace, fn: Callable[..., Any], want: list[str]) -> None:
    x = traced(graph, X)
    got = fn(x)
    assert ops(graph) == want
    assert type(got) is Tracer
    assert got is not x


def test_composites_are_at_one_site(graph: GraphTrace) -> None:
    x = traced(graph, X)
    inp.var(x, axis=0)
    np.linalg.norm(x)
    x.std()
    sites = [node.site for node in graph.tape if node.op is not None]
    assert len({(site[0].code, site[1]) for site in sites}) == 3  # one per call in this function
    assert len({node.segment for node in graph.tape if node.op is not None}) == 1


# ---- plain arguments ----

CREATED: list[Callable[[Any], Any]] = [
    lambda np: np.zeros((2, 3)), lambda np: np.zeros(2, int), lambda np: np.ones((2, 2)), lambda np: np.ones(3, dtype=np.float32),
    lambda np: np.full((2, 2), 7), lambda np: np.full(3, 2.5), lambda np: np.full(2, [1.0, 2.0]), lambda np: np.full(2, 1 + 2j),
    lambda np: np.arange(5), lambda np: np.arange(5.0), lambda np: np.arange(1, 7, 2), lambda np: np.arange(0.0, 1.0, 0.25),
    lambda np: np.arange(0),
    lambda np: np.linspace(0, 1, 5), lambda np: np.eye(3), lambda np: np.eye(2, 3, 1, dtype=int), lambda np: np.identity(2),
    lambda np: np.tri(3), lambda np: np.array([1, 2, 3]), lambda np: np.array([[1.0, 2.0], [3.0, 4.0]]), lambda np: np.array(3.0),
    lambda np: np.asarray([True, False]),
    lambda np: np.array([1, 2], dtype=np.float32), lambda np: np.logspace(0, 1, 3), lambda np: np.zeros(()),
    lambda np: np.zeros_like(X), lambda np: np.ones_like([1, 2]),
    lambda np: np.full_like(X, 2), lambda np: np.indices((2, 2)), lambda np: np.array(X), lambda np: np.array([]),
]  # fmt: skip


@pytest.mark.parametrize("fn", CREATED)
def test_creation_is_recorded_in_a_graph(graph: GraphTrace, fn: Callable[[Any], Any]) -> None:
    want = fn(np)
    got = fn(inp)
    assert type(got) is Tracer
    assert aval_of(got.value) == aval_of(want)
    np.testing.assert_array_equal(got.value, want)


@pytest.mark.parametrize("fn", CREATED)
def test_creation_is_plain_otherwise(fn: Callable[[Any], Any]) -> None:
    want = fn(np)
    for got in (fn(inp), _under_eager(fn)):
        if type(got) is Tracer:  # arrays of floats that may be written into are on the tape
            assert got.value.dtype.kind in "fc"
            got = got.value
        assert type(got) is np.ndarray
        assert aval_of(got) == aval_of(want)
        np.testing.assert_array_equal(got, want)


def _under_eager(fn: Callable[[Any], Any]) -> Any:
    token = CURRENT.set(EagerTrace())
    try:
        return fn(inp)
    finally:
        CURRENT.reset(token)


def test_empty_has_shape_and_dtype(graph: GraphTrace) -> None:
    assert str(inp.empty((2, 3), np.float32).aval) == "f32[2,3]"


def test_captured_arrays_are_operands_in_a_graph(graph: GraphTrace) -> None:
    for got, want in ((inp.sin(X), np.sin(X)), (inp.sum(X), np.sum(X)), (inp.dot(X, X.T), np.dot(X, X.T)), (inp.add(X, 1), X + 1)):
        assert type(got) is Tracer
        np.testing.assert_array_equal(got.value, want)
    assert sum(node.op is None for node in graph.tape) == 2  # X once and X.T


def test_plain_numbers_stay_plain(trace: Trace) -> None:
    for got in (inp.sqrt(2.0), inp.add(1, 2), inp.maximum(1.0, 2), inp.sum(3.0), inp.power(2, 3), inp.clip(3.0, 0, 1)):
        assert type(got) is not Tracer
    assert trace.tape == []


def test_eager_leaves_plain_arrays_to_numpy() -> None:
    trace = EagerTrace()
    token = CURRENT.set(trace)
    try:
        assert type(inp.mean(X)) is np.float64
        assert type(inp.einsum("ij->j", X)) is np.ndarray
    finally:
        CURRENT.reset(token)
    assert trace.tape == []


def test_every_public_name_of_numpy_is_there() -> None:
    names = {name for name in dir(np) if not name.startswith("_")}
    assert names <= set(dir(inp))
    assert inp.ma is np.ma
    assert inp.testing is np.testing
    assert not hasattr(inp, "no_such_name")
    for module in ("linalg", "fft", "random"):
        assert {n for n in dir(getattr(np, module)) if not n.startswith("_")} <= set(dir(getattr(inp, module)))
    assert inp.float64 is np.float64
    assert inp.pi == np.pi
    assert inp.add.nin == 2
    assert isinstance(inp.add, np.ufunc)


# ---- guards ----


def guards(trace: Trace) -> list[tuple[str, Any]]:
    return [(node.params["kind"], node.params["value"]) for node in trace.tape if node.op is not None and node.op.name == "guard"]


GUARDED: list[tuple[Callable[[Any], Any], Any, list[tuple[str, Any]]]] = [
    (lambda x: x[x > 0], X, [("int", 4)]),
    (lambda x: x[:, x[0] > 0], X, [("int", 2)]),
    (lambda x: inp.nonzero(x), X, [("int", 6)]),
    (lambda x: x[inp.argmax(x[0])], X[:, :2], []),
    (lambda n: inp.zeros(n), 3, [("int", 3)]),
    (lambda n: inp.arange(n), 3, [("int", 3)]),
    (lambda n: inp.ones((2, 3))[:n], 1, [("int", 1)]),
    (lambda n: inp.ones((2, 3)) ** n, 3, [("int", 3)]),
    (lambda n: inp.reshape(inp.ones(6), (n, -1)), 2, [("int", 2)]),
    (lambda x: inp.allclose(x, x), X, [("bool", True)]),
    (lambda x: inp.array_equal(x, x + 1), X, [("bool", False)]),
]


@pytest.mark.parametrize(("fn", "value", "want"), GUARDED)
def test_guards(graph: GraphTrace, fn: Callable[..., Any], value: Any, want: list[tuple[str, Any]]) -> None:
    fn(traced(graph, value))
    assert guards(graph) == want


# ---- math ----

MATH_CASES: list[tuple[str, tuple[Any, ...]]] = [
    *[(name, (0.3,)) for name in ("exp", "expm1", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan", "asin")],
    *[(name, (0.3,)) for name in ("acos", "atan", "sinh", "cosh", "tanh", "asinh", "atanh", "fabs", "radians", "degrees")],
    *[(name, (0.3,)) for name in ("isnan", "isinf", "isfinite", "modf", "floor", "ceil", "trunc", "log", "hypot")],
    *[(name, (2,)) for name in ("exp", "sqrt", "log", "floor", "factorial")],
    *[(name, (np.float32(0.3),)) for name in ("exp", "sin", "floor")],
    *[(name, (np.array(0.3),)) for name in ("exp", "sin")],
    *[(name, (0.3, -1.7)) for name in ("atan2", "copysign", "fmod", "hypot")],
    ("acosh", (1.3,)), ("pow", (0.3, 1.7)), ("log", (0.3, 2.0)), ("floor", (-1.5,)), ("hypot", (1.0, 2.0, 3.0)), ("gcd", (12, 18)),
    ("comb", (5, 2)),
    ("isclose", (1.0, 1.0 + 1e-12)), ("isclose", (1.0, 1.1)), ("isclose", (math.inf, 1.0)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args"), MATH_CASES)
def test_math(trace: Trace, name: str, args: tuple[Any, ...]) -> None:
    want = getattr(math, name)(*(a.item() if isinstance(a, np.ndarray) else a for a in args))
    assert MATH[name](*args) == want
    got = MATH[name](*[traced(trace, a) for a in args])
    for g, w in zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]:
        value = g.value if type(g) is Tracer else g
        assert type(value) is type(w)
        assert value == w
    if name not in ("factorial", "gcd", "comb", "isclose"):
        assert type(got[0] if isinstance(got, tuple) else got) is Tracer


def test_math_of_sequences(trace: Trace) -> None:
    xs = [traced(trace, v) for v in (0.5, 1.5, -2.0)]
    assert MATH["fsum"](xs).value == math.fsum([0.5, 1.5, -2.0])
    assert MATH["prod"](xs).value == math.prod([0.5, 1.5, -2.0])
    assert MATH["dist"](xs, [0.0, 0.0, 0.0]).value == pytest.approx(math.dist([0.5, 1.5, -2.0], [0, 0, 0]))
    assert MATH["pi"] == math.pi


# ---- errors ----

ERRORS: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (
        lambda x: np.is_busday(x[0]),
        UnsupportedError,
        r"numpy\.is_busday is not traced yet \(test_handlers_entries\.py:\d+\); compute it outside",
    ),
    (lambda x: inp.is_busday(x[0]), UnsupportedError, r"numpy\.is_busday is not traced yet \(test_handlers_entries\.py:\d+\)"),
    (lambda x: np.busday_count(x, x), UnsupportedError, r"numpy\.busday_count is not traced yet"),
    (lambda x: inp.datetime_as_string(x), UnsupportedError, r"numpy\.datetime_as_string is not traced yet"),
    (lambda x: inp.isnat(x), UnsupportedError, r"numpy\.isnat is not traced yet"),
    (lambda x: np.isnat(x), UnsupportedError, r"numpy\.isnat is not traced yet"),
    (
        lambda x: np.add(x, x, out=np.empty((2, 3))),
        UnsupportedError,
        r"numpy\.add\(out=\) with an array made outside the traced function is not",
    ),
    (
        lambda x: np.add(x, x, where=X > 0),
        UnsupportedError,
        r"numpy\.add\(where=\) is not traced yet .*; use irgrad\.numpy\.where on the result",
    ),
    (lambda x: np.sum(x, out=np.empty(())), UnsupportedError, r"numpy\.sum\(out=\) is not traced yet .*; use the returned array"),
    (lambda x: x.resize(3), TraceError, r"ndarray\.resize .*; use np\.reshape"),
    (lambda x: x[0, 0].fill(1.0), TraceError, "does not support item assignment"),
    (lambda x: x.view(int), UnsupportedError, r"ndarray\.view is not traced yet .*; use astype"),
    (
        lambda x: (x * 1).__setitem__(2, 1.0),
        TraceIndexError,
        r"index 2 is out of bounds for axis 0 with size 2 \(test_handlers_entries\.py:\d+\)",
    ),
    (
        lambda x: x[2],
        TraceIndexError,
        r"index of f64\[2,3\]: index 2 is out of bounds for axis 0 with size 2 \(test_handlers_entries\.py:\d+\)",
    ),
    (lambda x: x[0, 0, 0], TraceIndexError, r"too many indices for array: array is 2-dimensional, but 3 were indexed"),
    (lambda x: x[1.5], TraceError, r"'float' object cannot be interpreted as an integer"),
    (lambda x: x[[0, 5]], TraceIndexError, r"index 5 is out of bounds"),
    (lambda x: x[np.array([True, False, True])], TraceIndexError, r"boolean index did not match indexed array along axis 0"),
    (
        lambda x: np.sum(x, axis=2),
        TraceIndexError,
        r"sum\(f64\[2,3\]\): axis 2 is out of bounds for array of dimension 2 \(test_handlers_entries\.py:\d+\)",
    ),
    (lambda x: np.dot(x, x), TraceValueError, r"dot\(f64\[2,3\], f64\[2,3\]\): shapes \(2,3\) and \(2,3\) not aligned"),
    (lambda x: x @ x, TraceValueError, r"shapes \(2,3\) and \(2,3\) not aligned"),
    (lambda x: x.reshape(4, 2), TraceValueError, r"reshape\(f64\[2,3\], int, int\): cannot reshape array of size 6 into shape \(4, 2\)"),
    (lambda x: np.concatenate([x, x[0]]), TraceValueError, r"all the input array dimensions|must match|dimensions"),
    (lambda x: np.stack([x, x[0]]), TraceValueError, r"all input arrays must have the same shape"),
    (lambda x: np.einsum("ij,jk", x, x), TraceValueError, r"label 'j' has extents 3 and 2"),
    (lambda x: np.max(x[:0]), TraceValueError, r"zero-size array to reduction operation maximum"),
    (lambda x: x.shape.nothing, AttributeError, r"nothing"),
]


@pytest.mark.parametrize(("fn", "error", "message"), ERRORS)
def test_errors(trace: Trace, fn: Callable[..., Any], error: type[Exception], message: str) -> None:
    x = traced(trace, X)
    with pytest.raises(error) as caught:
        fn(x)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert not trace.inside


def test_assignment_statement(trace: Trace) -> None:
    x = traced(trace, X) * 1.0
    x[0] = 1.0
    x[:, 1] += 2.0
    want = X * 1.0
    want[0] = 1.0
    want[:, 1] += 2.0
    np.testing.assert_array_equal((x + 0.0).value, want)


def test_negative_python_number_to_fractional_power(trace: Trace) -> None:
    with pytest.raises(UnsupportedError, match="use x \\+ 0j or a numpy array"):
        traced(trace, -2.0) ** 0.3


def test_python_numbers_have_no_items(trace: Trace) -> None:
    with pytest.raises(TypeError, match="'float' object is not subscriptable"):
        traced(trace, 2.0)[0]


def test_axes_that_numpy_refuses_are_refused() -> None:
    x = np.arange(6.0).reshape(2, 3)
    folds: list[Any] = [np.sum, np.prod, np.mean, np.std, np.max, np.ptp, np.count_nonzero, np.nansum, np.any, np.cumsum, np.argmax]
    for function in folds:
        bad: list[Any] = [True, [1], (True,), np.array([1]), 1.0]
        for axis in bad:
            f = lambda x, function=function, axis=axis: function(x, axis=axis)
            with pytest.raises(TypeError):
                f(x)
            with pytest.raises(TypeError, match=r"test_handlers_entries\.py"):
                irgrad.jit(f)(x)
    for function in (np.median, np.average, np.flip):
        loose: list[Any] = [np.array([1]), [1], (1,)] if function is not np.flip else [np.array([1]), (1,)]
        for axis in loose:
            f = lambda x, function=function, axis=axis: function(x, axis=axis)
            np.testing.assert_array_equal(irgrad.jit(f)(x), f(x))
    for join in (lambda x: np.concatenate([x, x], axis=True), lambda x: np.append(x, x, axis=True)):
        with pytest.raises(TypeError):
            irgrad.jit(join)(x)


def test_entries_that_numpy_iterates_over_stay_traced(rng: np.random.Generator) -> None:
    def f(x: Any) -> Any:
        doubled = np.fromiter((v * 2 for v in x), float)
        first = np.fromiter(x, np.float64, 2)
        return np.sum(doubled**2) + first[1] + sum(v**3 for v in np.nditer(x)) + sum(float(v) * x[0] for v in np.nditer(np.arange(3.0)))

    x = rng.normal(size=4)
    expected = 8 * x + 3 * x**2 + np.array([3.0, 1.0, 0.0, 0.0])
    fast = irgrad.jit(irgrad.grad(f))
    for gradient in (irgrad.grad(f), fast, fast, fast):
        np.testing.assert_allclose(gradient(x), expected)
    assert f(x) == irgrad.value_and_grad(f)(x)[0]
    with pytest.raises(irgrad.errors.UnsupportedError, match="nditer of several"):
        irgrad.grad(lambda x: sum(a * b for a, b in np.nditer([x, x])))(x)
