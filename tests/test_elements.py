"""Types with a vector space of their own, as autograd's programs declare them: `Box.register` and `VSpace.register`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.numpy as inp
from irgrad.elements import Element
from irgrad.errors import DifferentiationError, NotCompiledError, TraceError
from irgrad.extend import Box, VSpace, defjvp, defvjp, primitive, vspace
from irgrad.test_util import check_grads
from irgrad.tracer import getval, isbox


class Sparse:
    """A vector by the names of its entries that are not zero."""

    def __init__(self, entries: dict[str, float]) -> None:
        self.entries = entries

    @primitive
    def at(self, name: str) -> Any:
        return self.entries.get(name, 0.0)

    @primitive
    def cubes(self) -> Any:
        return Sparse({k: v**3 for k, v in self.entries.items()})

    def __add__(self, other: Any) -> Any:
        return SPACE.add(self, other)

    def __mul__(self, factor: Any) -> Any:
        return SPACE.scalar_mul(self, factor)

    def dot(self, other: Any) -> Any:
        return SPACE.inner_prod(self, other)


@primitive
def times(x: Any, y: Any) -> Any:
    """Entry by entry."""
    return Sparse({k: v * y.entries[k] for k, v in x.entries.items() if k in y.entries})


@primitive
def built(values: Any) -> Any:
    return Sparse(dict(zip("abc", values, strict=False)))


class SparseBox(Box, Sparse):
    pass


class SparseSpace(VSpace):
    def __init__(self, value: Any = None) -> None:
        pass

    def zeros(self) -> Any:
        return Sparse({})

    def randn(self) -> Any:
        return Sparse(dict(zip("abc", np.random.randn(3), strict=True)))

    def _add(self, x: Any, y: Any) -> Any:
        return Sparse({k: x.entries.get(k, 0.0) + y.entries.get(k, 0.0) for k in {**x.entries, **y.entries}})

    def _scalar_mul(self, x: Any, a: Any) -> Any:
        return Sparse({k: v * a for k, v in x.entries.items()})

    def _inner_prod(self, x: Any, y: Any) -> Any:
        return sum((v * y.entries.get(k, 0.0) for k, v in x.entries.items()), 0.0)


SparseBox.register(Sparse)
SparseSpace.register(Sparse)
SPACE = SparseSpace()
defvjp(Sparse.at, lambda ans, x, name: lambda g: Sparse({name: 1.0}) * g, None)
defjvp(Sparse.at, lambda g, ans, x, name: g.at(name), None)
defvjp(times, lambda ans, x, y: lambda g: times(g, y), lambda ans, x, y: lambda g: times(g, x))
defjvp(times, lambda g, ans, x, y: times(g, y), lambda g, ans, x, y: times(x, g))
defvjp(Sparse.cubes, lambda ans, x: lambda g: times(times(x, x) * 3.0, g))
defjvp(Sparse.cubes, lambda g, ans, x: times(times(x, x) * 3.0, g))
defvjp(built, lambda ans, values: lambda g: inp.array([g.at(k) for k in "abc"][: len(values)]))
defjvp(built, lambda g, ans, values: built(g))

F = Sparse({"a": 0.5, "b": -1.2, "c": 2.0})


def loss(f: Any) -> Any:
    return inp.sin(f.at("a")) * f.at("b") ** 2 + f.cubes().dot(f * f.at("c"))


def dense(f: Any) -> Any:
    return np.array([f.entries.get(k, 0.0) for k in "abc"])


def dense_loss(x: Any) -> Any:
    return inp.sin(x[0]) * x[1] ** 2 + inp.sum(x**4) * x[2]


def test_gradients() -> None:
    value, gradient = irgrad.value_and_grad(loss)(F)
    assert type(gradient) is Sparse
    np.testing.assert_allclose(value, dense_loss(dense(F)), rtol=1e-12)
    np.testing.assert_allclose(dense(gradient), irgrad.grad(dense_loss)(dense(F)), rtol=1e-12)


def test_products_and_forward_mode() -> None:
    v = Sparse({"b": 0.3, "c": 1.1})
    _, tangent = irgrad.make_jvp(loss)(F)(v)
    np.testing.assert_allclose(tangent, irgrad.grad(dense_loss)(dense(F)) @ dense(v), rtol=1e-12)
    vjp, value = irgrad.make_vjp(lambda f: f.cubes())(F)
    np.testing.assert_allclose(dense(value), dense(F) ** 3)
    np.testing.assert_allclose(dense(vjp(v)), 3 * dense(F) ** 2 * dense(v))
    hvp, gradient = irgrad.make_hvp(loss)(F)
    np.testing.assert_allclose(dense(gradient), irgrad.grad(dense_loss)(dense(F)), rtol=1e-12)
    np.testing.assert_allclose(dense(hvp(v)), irgrad.hessian(dense_loss)(dense(F)) @ dense(v), rtol=1e-12)


def test_checks_go_by_the_space() -> None:
    check_grads(loss, order=2)(F)
    check_grads(lambda f, a: (f * a).cubes(), (0, 1), order=2)(F, 0.7)
    with pytest.raises(AssertionError, match=r"Derivative \(VJP\) check of wrong failed"):
        check_grads(wrong, modes=["rev"], order=1)(F)


@primitive
def wrong(f: Any) -> Any:
    return f.at("a") ** 2


defvjp(wrong, lambda ans, f: lambda g: Sparse({"a": 3.0}) * g)


def test_numbers_and_values_of_the_type_in_turn() -> None:
    """An array becomes one, which is scaled by an entry of itself; other keys at each call."""
    f = lambda x: loss(built(x)) + built(x).dot(F)
    x = np.array([0.4, 0.3, -0.8])
    np.testing.assert_allclose(irgrad.grad(f)(x), irgrad.grad(lambda x: dense_loss(x) + inp.sum(x * dense(F)))(x), rtol=1e-12)
    for keys in ("a", "ab", "cab", "xyz"):
        found = irgrad.grad(lambda f: f.dot(f))(Sparse(dict.fromkeys(keys, 0.5)))
        assert found.entries == dict.fromkeys(keys, 1.0)


def test_in_containers_and_beside_other_arguments() -> None:
    tree = {"f": F, "s": 2.0, "more": [F, (F,)]}
    found = irgrad.grad(lambda t: t["f"].at("a") * t["s"] + t["more"][1][0].at("b"))(tree)
    assert found["f"].entries == {"a": 2.0} and found["s"] == 0.5
    assert found["more"][0].entries == {} and found["more"][1][0].entries == {"b": 1.0}
    first, second = irgrad.grad(lambda a, f: (f * a).dot(f), (0, 1))(3.0, F)
    np.testing.assert_allclose([first, *dense(second)], [dense(F) @ dense(F), *(6.0 * dense(F))])


def test_what_a_function_sees() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.extend(
            [
                type(x),
                isbox(x),
                isinstance(x, Sparse),
                getval(x).entries == {"a": 0.5, "b": -1.2, "c": 2.0},
                isinstance(vspace(x), SparseSpace),
                "traced Sparse" in repr(x),
                bool(x),
            ]
        )
        return x.at("a")

    irgrad.grad(f)(F)
    assert seen == [SparseBox, True, True, True, True, True, True]
    _, aux = irgrad.grad_and_aux(lambda f: (f.at("a"), f))(F)
    assert aux is F


def test_zero_is_the_zero_of_the_space() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert irgrad.grad(lambda f: 1.0)(F).entries == {}
    assert "independent" in str(caught[0].message)


class Lone:
    """A type that has a class of boxes and no space."""


class LoneBox(Box):
    pass


LoneBox.register(Lone)


REFUSED: dict[str, tuple[Callable[..., Any], type[Exception], str]] = {
    "no scalar": (lambda: irgrad.grad(lambda f: f)(F), DifferentiationError, "only applies to real scalar-output functions.*Sparse"),
    "entries": (lambda: irgrad.jacobian(lambda f: f.at("a"))(F), DifferentiationError, "jacobian goes by entries, which a Sparse does not"),
    "an array": (lambda: irgrad.grad(lambda f: inp.asarray(f))(F), TraceError, "a traced Sparse is no array"),
    "a cotangent": (lambda: irgrad.make_vjp(lambda f: f.cubes())(F)[0](1.0), DifferentiationError, "expected a cotangent like Sparse"),
    "no space": (lambda: irgrad.grad(lambda f: 1.0)(Lone()), TypeError, "Can't find vector space for value .*Lone"),
    "a program": (lambda: irgrad.jit(irgrad.grad(loss)).compile(F), NotCompiledError, r"irgrad.pytree.register\(Sparse, .* compiles"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_so(name: str) -> None:
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


def test_no_numbers_come_of_an_element() -> None:
    e = Element(F)
    assert np.isnan(float(e))
    for made in (e + e, np.add(e, e), 2.0 * e, e * 2.0, np.multiply(2.0, e)):
        np.testing.assert_allclose(dense(made.held), 2 * dense(F))
    np.testing.assert_allclose(dense((e - e / 2.0).held), dense(F) / 2)
    for operation in (lambda: np.sin(e), lambda: e + 1.0, lambda: e * e, lambda: np.exp(e)):
        with pytest.raises(TypeError):
            operation()


def test_jit_keeps_running_eagerly_and_says_why() -> None:
    fast = irgrad.jit(irgrad.grad(loss))
    with pytest.warns(
        RuntimeWarning, match=r"keeps running eagerly: Sparse is differentiated as a vector space of your own.*test_elements.py"
    ):
        found = fast(F)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            np.testing.assert_allclose(dense(fast(F)), dense(found))
    assert fast.stats().paths == 0 and fast.stats().eager_calls == 4


def test_numbers_through_one_compile() -> None:
    """Looking up is a call of Python there; which value is looked into is part of the path."""
    fast = irgrad.jit(irgrad.grad(lambda s, f: inp.sin(s * f.at("a"))), compile_after=1)
    for s in (0.3, 0.4, 0.5):
        np.testing.assert_allclose(fast(s, F), 0.5 * np.cos(0.5 * s), rtol=1e-12)
    assert fast.stats().traces == 1 and fast.stats().host_calls == 2
    np.testing.assert_allclose(fast(0.3, Sparse({"a": 2.0})), 2.0 * np.cos(0.6), rtol=1e-12)


def test_jacobians_through_such_values_are_walked_one_seed_at_a_time() -> None:
    def parts(x: Any) -> Any:
        s = built(x[:3] * x[3])
        return inp.concatenate([inp.array([s.at("a"), s.cubes().at("b"), times(s, s).at("c")]) * k for k in range(1, 5)])

    x = np.array([0.5, 1.5, -0.7, 2.0])
    expected = [irgrad.grad(lambda x, k=k: parts(x)[k])(x) for k in range(12)]
    np.testing.assert_allclose(irgrad.jacobian(parts)(x), expected, rtol=1e-12)
