"""User primitives: wrong rules, wrong results, names and tracers in the wrong place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad import errors
from irgrad.extend import UserPrimitive, defjvp, defvjp, primitive
from tests.support.primitives import agree, scaled_sine, steady

X = np.array([0.3, -1.2, 2.0])


def test_missing_rules(wrap: Any) -> None:
    bare = primitive(lambda x: np.sum(x))
    bare.name = "bare"
    f = wrap(irgrad.grad(lambda x: bare(x)))
    with pytest.raises(
        errors.MissingRuleError,
        match=r"VJP of bare wrt argnum 0 not defined; define it .* irgrad.extend.defvjp \(test_extend_errors.py:\d+\)",
    ):
        f(X)
    with pytest.raises(NotImplementedError, match=r"JVP of bare wrt argnum 0 not defined; define it with irgrad.extend.defjvp"):
        wrap(irgrad.deriv(lambda x: bare(x)))(X)
    defvjp(bare, lambda ans, x: lambda g: g)
    np.testing.assert_array_equal(f(X), np.ones(3))


def test_bad_rules(wrap: Any) -> None:
    wrong = primitive(lambda x: x * 2.0)
    wrong.name = "wrong"
    f = wrap(irgrad.grad(lambda x: np.sum(wrong(x))))
    for rule, text in (
        (lambda g: np.ones(5), r"the vjp of wrong wrt argnum 0 returned f64\[5\]; expected a number or an array of the shape \(3,\)"),
        (lambda g: "no", "the vjp of wrong wrt argnum 0 returned str"),
        (lambda g: (g, g), r"the vjp of wrong wrt argnum 0 returned a tuple of f64\[3\], f64\[3\]"),
    ):
        defvjp(wrong, lambda ans, x: rule)
        with pytest.raises(errors.DifferentiationError, match=text):
            f(X)
    defvjp(wrong, lambda ans, x: lambda g: 2 * g)
    np.testing.assert_array_equal(f(X), 2 * np.ones(3))
    with pytest.raises(TypeError, match=r"Bad VJP 3 for wrong .*; expected a function or None"):
        defvjp(wrong, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Bad JVP 'sam' for wrong .*; expected a function, 'same' or None"):
        defjvp(wrong, "sam")
    with pytest.raises(TypeError, match=r"defvjp expects what irgrad.extend.primitive returned, got function .*; decorate the function"):
        defvjp(lambda x: x, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="primitive expects a function, got int"):
        primitive(3)  # type: ignore[arg-type]


def test_bad_results(wrap: Any) -> None:
    for function, text in (
        (lambda x: "text", r"<lambda> returned str \(test_extend_errors.py:\d+\); a primitive returns numbers and arrays"),
        (lambda x: (x, 1), r"<lambda> returned a container of f64\[3\], int .*; return arrays of one dtype"),
        (lambda x: np.array(["a"]), r"<lambda> returned ndarray"),
    ):
        bad = primitive(function)
        with pytest.raises(errors.TraceError, match=text):
            wrap(irgrad.grad(lambda x: np.sum(bad(x))))(X)


def test_closing_over_a_traced_value(wrap: Any) -> None:
    def f(x):
        leak = primitive(lambda y: x * y)
        return np.sum(leak(x * 1.0))

    with pytest.raises(errors.TraceError, match=r"returned a traced value .*; a primitive sees its arguments only: pass what"):
        wrap(irgrad.grad(f))(X)


class Negative(ValueError):
    pass


@primitive
def root(x):
    if np.any(x < 0):
        raise Negative("negative")
    return np.sqrt(x)


defvjp(root, lambda ans, x: lambda g: 0.5 * g / ans)


def test_its_own_errors_pass_through() -> None:
    good = np.array([1.0, 4.0, 9.0])
    f = lambda x: np.sum(root(x + 0.0))
    with pytest.raises(Negative):
        irgrad.grad(f)(X)
    result, jitted = steady(irgrad.value_and_grad(f), good)
    contexts = len(jitted.variants[0].program.contexts)
    for _ in range(3):
        with pytest.raises(Negative):
            jitted(X)
    assert jitted(good)[0] == result[0] == 6.0
    assert len(jitted.variants[0].program.contexts) == contexts
    assert not jitted.impure


def test_another_shape_at_run_time() -> None:
    """A result whose shape depends on data: the call is traced again, and then the function runs eagerly."""

    @primitive
    def positive(x):
        return x[x > 0]

    _, jitted = steady(lambda x: np.sum(positive(x) ** 2), X)
    other = np.array([1.0, 2.0, 3.0])
    assert jitted(other) == 14.0
    with pytest.warns(
        RuntimeWarning, match=r"keeps running eagerly: two traces of one path differ: user_positive at test_extend_errors.py:\d+"
    ):
        assert jitted(other) == 14.0
    assert jitted(other) == 14.0
    assert jitted(X) == pytest.approx(0.3**2 + 4.0)


def test_another_dtype_at_run_time() -> None:
    @primitive
    def whole_or_half(x):
        return int(x) if x == int(x) else float(x)

    _, jitted = steady(lambda x: whole_or_half(x) * 2, 1.5)
    assert jitted(3.0) == 6
    assert jitted(2.5) == 5.0


def test_tracer_of_a_finished_trace() -> None:
    kept: list[Any] = []
    irgrad.grad(lambda x: kept.append(x) or x)(1.0)
    with pytest.raises(errors.RuntimeGuardError, match=r"used after its trace has ended \(test_extend_errors.py:\d+\)"):
        scaled_sine(kept[0], 1.0)


def test_names_do_not_collide() -> None:
    made = primitive(np.sum)
    assert isinstance(made, UserPrimitive)
    assert made.op.name == "user_sum"
    assert "user_sum" not in irgrad.ir.primitive.REGISTRY
    defvjp(made, lambda ans, x: lambda g: g)
    assert agree(irgrad.grad(lambda x: made(x) ** 2), X).shape == (3,)


def test_rules_may_return_plain_numbers() -> None:
    @primitive
    def triple(x):
        return 3.0 * x

    defvjp(triple, lambda ans, x: lambda g: 3.0)
    defjvp(triple, lambda g, ans, x: 3)
    f = lambda x: triple(x)
    assert agree(irgrad.grad(f), 2.0) == 3.0
    assert irgrad.deriv(f)(2.0) == 3.0
    assert agree(irgrad.grad(lambda x: x * irgrad.grad(f)(x)), 2.0) == 3.0
    assert irgrad.deriv(lambda x: x * irgrad.grad(f)(x))(2.0) == 3.0
    np.testing.assert_array_equal(agree(irgrad.grad(lambda x: np.sum(triple(x))), X), np.full(3, 3.0))


def test_text_has_no_addresses() -> None:
    class Thing:
        pass

    @primitive
    def ignore(x, thing, f, mode, *, deep):
        return x + 1.0

    text = str(irgrad.trace(lambda x: ignore(x, Thing(), math.sin, "fast", deep=[1, None]))(X))
    assert "user_ignore[call=<., Thing, sin, 'fast', deep=['.', None]>] %x" in text


def test_eager_call_without_traced_arguments() -> None:
    """Nothing is recorded of it, and what it calls is not traced."""

    @primitive
    def table(n):
        return irgrad.grad(lambda x: np.sum(x**2))(np.arange(float(n)))

    assert type(table(3)) is np.ndarray
    f = lambda x: np.sum(x * table(3))
    np.testing.assert_array_equal(agree(irgrad.grad(f), X), [0.0, 2.0, 4.0])
