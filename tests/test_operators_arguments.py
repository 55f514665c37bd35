"""What the differential operators take and give back: argument forms, results that own their memory, messages, names."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import pickle
import warnings
import weakref
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad import operators as op
from irgrad.errors import DifferentiationError, MissingRuleError, RuntimeGuardError, TraceError
from irgrad.frontend.context import current
from irgrad.ir.primitive import REGISTRY, Primitive

X = np.array([0.3, 0.7, 1.1])
Point = namedtuple("Point", "a b")


def product(a: float, b: float = 2.0, *, c: float = 3.0) -> Any:
    return a * b**2 * c**3


# ---- arguments ----


@pytest.mark.parametrize(
    ("argnum", "args", "kwargs", "want"),
    [
        (0, (5.0, 2.0), {}, 4 * 27),
        (1, (5.0, 2.0), {}, 20 * 27),
        (-1, (5.0, 2.0), {}, 20 * 27),
        (-2, (5.0, 2.0), {}, 4 * 27),
        ("a", (5.0,), {}, 4 * 27),
        ("b", (5.0, 2.0), {}, 20 * 27),
        ("b", (5.0,), {"b": 2.0}, 20 * 27),
        ("b", (5.0,), {}, 20 * 27),
        (1, (5.0,), {"b": 2.0}, 20 * 27),
        (1, (5.0,), {}, 20 * 27),
        (-1, (5.0,), {"b": 2.0}, 20 * 27),
        ("c", (5.0,), {}, 20 * 27),
        ("c", (5.0,), {"c": 3}, 20 * 27),
        (2, (5.0,), {"c": 3.0}, 20 * 27),
        (0, (), {"a": 5.0, "b": 2.0}, 4 * 27),
        ((0, 1), (5.0, 2.0), {}, (108, 540)),
        ([0, "c"], (5.0, 2.0), {}, (108, 540)),
        (("a",), (5.0,), {}, (108,)),
    ],
)
def test_argnum_forms(argnum: Any, args: Any, kwargs: Any, want: Any) -> None:
    have = op.grad(product, argnum)(*args, **kwargs)
    assert have == want
    assert type(have) is type(want) or not isinstance(want, tuple)
    assert op.value_and_grad(product, argnum)(*args, **kwargs) == (540, want)


def test_keywords_pass_through() -> None:
    assert op.grad(lambda x, *, scale: x * scale)(1.0, scale=3.0) == 3.0
    assert op.grad(lambda *xs: xs[0] * xs[2], 2)(2.0, 3.0, 4.0) == 2.0
    assert op.grad_named(product, "b")(5.0, 2.0) == 540
    assert op.multigrad(product, [0, 1])(5.0, 2.0) == (108, 540)
    value, gradients = op.value_and_multigrad(product, [0, 1])(5.0, 2.0)
    assert (value, gradients) == (540, (108, 540))


def test_multigrad_dict() -> None:
    have = op.multigrad_dict(lambda a, b=2.0, *rest, c: a * b * rest[0] * c)(1.0, 3.0, 4.0, c=5.0)
    assert have == OrderedDict(a=60.0, b=20.0, rest=(15.0,), c=12.0) and type(have) is OrderedDict


@pytest.mark.parametrize("x", [3, np.int64(3), np.array(3), np.array([3])])
def test_integers_are_taken_as_floats(x: Any) -> None:
    have = op.grad(lambda v: np.sum(v**2))(x)
    assert have.dtype == np.float64 and have.shape == np.shape(x) and have == 6.0
    assert op.grad(op.grad(lambda v: np.sum(v**3)))(3) == 18.0


@pytest.mark.parametrize(
    ("x", "kind", "dtype"),
    [
        (2.0, np.float64, "f8"), (np.float32(2), np.float32, "f4"), (np.float16(2), np.float16, "f2"), (1 + 2j, np.complex128, "c16"),
        (np.array(2.0), np.ndarray, "f8"), (np.ones(2, "f4"), np.ndarray, "f4"), (np.ones((2, 1), "c8"), np.ndarray, "c8"),
    ],
)  # fmt: skip
def test_gradients_keep_kind_and_dtype(x: Any, kind: type, dtype: str) -> None:
    f = lambda v: np.real(np.sum(v * v * 0.5))
    for make in (op.grad, lambda f: irgrad.jit(op.grad(f), compile_after=1)):
        have = make(f)(x)
        assert type(have) is kind and have.dtype == np.dtype(dtype) and have.shape == np.shape(x)
        np.testing.assert_allclose(have, x)


@irgrad.pytree.register_dataclass
@dataclasses.dataclass
class Model:
    w: Any
    b: Any


def test_pytrees_come_back_in_their_own_structure() -> None:
    tree = {"z": [X, (2.0, None)], "a": OrderedDict(q=1.0), "p": Point(3.0, X), "m": Model(X, 2.0)}

    def f(t: Any) -> Any:
        assert isinstance(t["p"], Point) and isinstance(t["m"], Model) and t["z"][1][1] is None
        return np.sum(t["z"][0] * t["z"][1][0]) * t["a"]["q"] + np.sum(t["p"].a * t["p"].b) + np.sum(t["m"].w) * t["m"].b

    have = op.grad(f)(tree)
    assert list(have) == ["z", "a", "p", "m"] and isinstance(have["a"], OrderedDict) and have["z"][1][1] is None
    np.testing.assert_allclose(have["z"][0], 2 * np.ones(3))
    assert have["z"][1][0] == pytest.approx(X.sum()) and have["a"]["q"] == pytest.approx(2 * X.sum())
    np.testing.assert_allclose(have["p"].b, 3 * np.ones(3))
    assert type(have["m"]) is Model and have["m"].b == pytest.approx(X.sum())
    gradient = op.grad(lambda t: op.grad(lambda s: f(s))(t)["z"][1][0] ** 2)(tree)
    np.testing.assert_allclose(gradient["z"][0], 2 * X.sum() * np.ones(3))


def test_empty_arguments() -> None:
    assert op.grad(lambda p: 1.0)({}) == {}
    assert op.grad(lambda x: np.sum(x))(np.ones((0, 3))).shape == (0, 3)


# ---- results own their memory ----


def shares_none(*arrays: np.ndarray) -> bool:
    return not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[i + 1 :])


def test_results_are_fresh_and_writable() -> None:
    a, b = X.copy(), X.copy()
    ga, gb = op.grad(lambda a, b: np.sum(a + b), (0, 1))(a, b)
    assert ga.flags.writeable and gb.flags.writeable and ga.flags.owndata and shares_none(ga, gb, a, b)
    value, g = op.value_and_grad(lambda a: a[:1] * 1.0)(a)
    assert shares_none(value, g, a) and value.shape == (1,)
    vjp, value = op.make_vjp(lambda a: a)(a)
    ct = np.ones(3)
    assert shares_none(value, a, vjp(ct), ct, vjp(ct))
    jvp = op.make_jvp(lambda a: (a, a))(a)
    v = np.ones(3)
    (y, z), (dy, dz) = jvp(v)
    assert shares_none(y, z, dy, dz, a, v)
    np.testing.assert_array_equal(a, X)


def test_the_tape_is_freed_at_once() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        y = np.sin(x)
        kept.append(weakref.ref(y))
        return np.sum(y * y)

    gc.collect()
    gc.disable()
    try:
        op.grad(f)(X)
        assert kept[0]() is None
    finally:
        gc.enable()


def test_a_tracer_that_escapes_is_refused() -> None:
    kept: list[Any] = []
    op.grad(lambda x: (kept.append(x), np.sum(x))[1])(X)
    with pytest.raises(RuntimeGuardError, match=r"after its trace has ended .*test_operators_arguments.py:"):
        kept[0] + 1
    with pytest.raises(RuntimeGuardError, match="after its trace has ended"):
        op.grad(lambda y: np.sum(y * kept[0]))(X)


def test_long_chains_need_no_recursion() -> None:
    def f(x: Any) -> Any:
        for _ in range(20_000):
            x = x * 1.00001
        return x

    assert op.grad(f)(1.0) == pytest.approx(1.00001**20_000)


# ---- messages ----


def lineno() -> int:
    return inspect.currentframe().f_back.f_lineno  # type: ignore[union-attr]


def test_outputs_that_are_not_scalar() -> None:
    text = r"Grad only applies to real scalar-output functions. Try jacobian, elementwise_grad or holomorphic_grad. The output is "
    with pytest.raises(TypeError, match=text + r"f64\[3\] \(field_like, test_operators_arguments.py:\d+"):

        def field_like(x: Any) -> Any:
            return x * 2

        op.grad(field_like)(X)
    for f in (lambda x: 1j * x, lambda x: (x, x), lambda x: None, lambda x: "a", lambda x: x > 0, lambda x: x * np.ones(2)):
        with pytest.raises(DifferentiationError, match=text), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            op.grad(f)(1.0)
    with pytest.raises(TypeError, match=r"value_and_grad only applies to real scalar-output functions. Try jacobian"):
        op.value_and_grad(np.sin)(X)
    with pytest.raises(TypeError, match=r"Elementwise_grad only applies to real-output functions."):
        op.elementwise_grad(lambda x: 1j * x)(X)
    with pytest.raises(TypeError, match="grad_and_aux expects a function that returns"):
        op.grad_and_aux(np.sin)(1.0)


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (True, "<class 'bool'>: x of "), (np.array([True]), "<class 'numpy.ndarray'> of dtype bool: x of"), ("s", "<class 'str'>: x of"),
        ({"k": [1.0, "s"]}, r"<class 'str'>: x\['k'\]\[1\] of"), (np.array([object()]), "<class 'numpy.ndarray'> of dtype object: x of"),
        (np.ma.masked_array([1.0]), "<class 'numpy.ma.MaskedArray'>: x of"), (object(), "<class 'object'>: x of"),
    ],
)  # fmt: skip
def test_arguments_without_a_derivative(x: Any, what: str) -> None:
    where = rf"test_operators_arguments.py:{lineno() + 2}\)"
    with pytest.raises(DifferentiationError, match=rf"Can't differentiate w.r.t. type {what}.*{where}; .*(argnum|asarray)"):
        op.grad(lambda x: 1.0)(x)


def test_argnum_out_of_range() -> None:
    called = r"which was called with 1 positional argument \(.*test_operators_arguments"
    with pytest.raises(TypeError, match=rf"argnum 7 names no argument of product\(a, b, c\), {called}"):
        op.grad(product, 7)(1.0)
    with pytest.raises(TypeError, match=r"argnum 'q' names no argument"):
        op.grad(product, "q")(1.0)
    with pytest.raises(TypeError, match=r"argnum -3 names no argument"):
        op.grad(product, -3)(1.0, 2.0)
    with pytest.raises(TypeError, match=r"argnum is an int, a parameter name, or a tuple of those; got None"):
        op.grad(product, None)(1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="names an argument twice"):
        op.grad(product, (0, "a"))(1.0)
    with pytest.raises(TypeError, match="grad expects a function, got float"):
        op.grad(1.0)  # type: ignore[arg-type]


def test_cotangents_of_another_form() -> None:
    vjp, _ = op.make_vjp(np.sin)(X)
    for bad in (np.ones(2), (X,), 1j * X, "s"):
        with pytest.raises(DifferentiationError, match="expected a cotangent"):
            vjp(bad)
    np.testing.assert_allclose(vjp(2), 2 * np.cos(X))
    with pytest.raises(DifferentiationError, match=r"expected a tangent like f64\[3\], got f64\[2\]"):
        op.make_jvp(np.sin)(X)(np.ones(2))


def test_a_missing_rule_names_op_argument_and_line() -> None:
    declared: Any = {"aval": lambda x, y: x, "evaluate": lambda x, y: np.sin(x) * y}
    bare = Primitive("bare", vjp=(lambda b, ct, out, x, y: b.mul(ct, y),), jvp=(), **declared)
    f = lambda x, y: current().call(bare, (x, y), {})
    assert op.grad(f)(1.0, 2.0) == 2.0
    assert op.grad(lambda x: f(x, op.stop_gradient(x)))(2.0) == 2.0
    text = rf"VJP of bare wrt argnum 1 not defined; define it with irgrad.extend.defvjp \(.*test_operators_arguments.py:{lineno() + 2}\)"
    with pytest.raises(NotImplementedError, match=text):
        op.grad(f, 1)(1.0, 2.0)
    with pytest.raises(MissingRuleError, match="JVP of bare wrt argnum 0 not defined"):
        op.deriv(f)(1.0, 2.0)
    assert "bare" not in REGISTRY


def test_float_of_a_differentiated_value_is_refused() -> None:
    with pytest.raises(TraceError, match="would lose the derivative"):
        op.grad(lambda x: x * np.asarray([1.0]).item() * x.__float__())(1.0)


# ---- the objects ----


def test_names_and_wrapping() -> None:
    g = op.grad(product, 1)
    assert g.__name__ == "grad_of_product_wrt_argnum_1" and g.__wrapped__ is product and g.__irgrad__
    assert "grad of function product with respect to argument number 1" in g.__doc__
    assert inspect.signature(g) == inspect.signature(product)
    assert op.grad(g).__name__ == "grad_of_grad_of_product_wrt_argnum_1_wrt_argnum_0"


def test_operators_are_picklable() -> None:
    for g in (op.grad(product, "b"), op.value_and_grad(op.grad(product)), op.make_ggnvp(product)):
        again = pickle.loads(pickle.dumps(g))
        assert again.__name__ == g.__name__
    assert pickle.loads(pickle.dumps(op.grad(product, "b")))(5.0, 2.0) == 540


def test_names_are_substituted_in_functions_and_their_callees() -> None:
    import math

    def inner(x: Any) -> Any:
        return math.sin(x) * float(x)

    assert op.grad(lambda x: inner(x))(0.5) == pytest.approx(np.sin(0.5) + 0.5 * np.cos(0.5))
    assert op.grad(op.grad(inner))(0.5) == pytest.approx(2 * np.cos(0.5) - 0.5 * np.sin(0.5))


def test_a_captured_operator_is_substituted_too() -> None:
    assert op.grad(lambda x: SLOPE(x) * x)(0.5) == pytest.approx(np.cos(0.5) - 0.5 * np.sin(0.5))


def _math_sin(x: Any) -> Any:
    import math

    return math.sin(x)


SLOPE = op.grad(_math_sin)
