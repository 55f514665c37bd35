"""Wrong programs and wrong arguments: each gives an error that names function, file, line and next step, and nothing is lost.

A mark ``# @name`` at the end of a line of this file is the line that the message must name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irgrad
import irgrad.numpy as inp
from irgrad import errors
from irgrad.frontend.tracer import Tracer

X = np.array([0.3, -1.2, 2.0])
FILE = os.path.basename(__file__)
LINES = Path(__file__).read_text().splitlines()
MARKS = {match[1]: number for number, line in enumerate(LINES, 1) if (match := re.search(r"# @([\w ]+)$", line))}


def at(mark: str) -> str:
    """How a message names the marked line, as a pattern."""
    return re.escape(f"{FILE}:{MARKS[mark]}")


def call(f: Any, args: tuple[Any, ...]) -> Any:
    return f(*args)  # @call


def works(f: Any, args: tuple[Any, ...], expected: Any) -> None:
    """Good calls give the right answer, and from the third on compiled code gives it."""
    for _ in range(3):
        before = f.stats() if hasattr(f, "stats") else None
        np.testing.assert_allclose(call(f, args), expected, rtol=1e-12)
    if before is not None:
        assert not f.impure
        assert f.stats().eager_calls == before.eager_calls


@dataclass
class Case:
    """A function of `bad` arguments that must fail with `message`, and of `good` ones with `expected`."""

    f: Callable[..., Any]
    bad: tuple[Any, ...]
    error: tuple[type[Exception], ...]
    message: str
    good: tuple[Any, ...] = ()
    expected: Any = None


def check(case: Case, wrap: Callable[[Any], Any]) -> None:
    f = wrap(case.f)
    for _ in range(2):  # before and after the good calls are compiled
        for kind in case.error:
            with pytest.raises(kind, match=case.message) as caught:
                call(f, case.bad)
            assert isinstance(caught.value, errors.IrgradError)
        if case.good:
            works(f, case.good, case.expected)


def cases(table: dict[str, Case]) -> Any:
    return pytest.mark.parametrize("case", table.values(), ids=table.keys())


# ---- results that have no gradient ----


def doubled(x):  # @doubled
    return x * 2.0


def rotated(x):  # @rotated
    return x * 2.0j


def described(x):  # @described
    return {"number": x, "text": "none"}


OUTPUT = "Try jacobian, elementwise_grad or holomorphic_grad. The output is "


@cases({
    "array": Case(irgrad.grad(doubled), (X,), (TypeError, errors.DifferentiationError),
                  rf"Grad only applies to real scalar-output functions. {OUTPUT}f64\[3\] \(doubled, {at('doubled')}\)", (1.5,), 2.0),
    "value_and_grad": Case(irgrad.value_and_grad(doubled), (X,), (TypeError,),
                           rf"value_and_grad only applies to real scalar-output functions. {OUTPUT}f64\[3\] \(doubled, {at('doubled')}\)"),
    "complex": Case(irgrad.grad(rotated), (1.0,), (TypeError,), rf"{OUTPUT}complex \(rotated, {at('rotated')}\)"),
    "no number": Case(irgrad.grad(described), (1.0,), (TypeError,), rf"{OUTPUT}float, str \(described, {at('described')}\)"),
})  # fmt: skip
def test_output_is_no_scalar(case: Case, wrap: Any) -> None:
    check(case, wrap)


# ---- arguments that have no derivative ----


def total(x):
    return np.sum(x * 2.0)


def first(x):
    return x["a"][0] * 2.0


FLOAT = r"convert it with .astype\(float\), or differentiate with respect to another argument \(argnum\)"
OTHER = r"differentiate with respect to another argument \(argnum\) or pass this one by closure"
ARRAY = "Can't differentiate w.r.t. type <class 'numpy.ndarray'> of dtype"


@cases({
    "bool array": Case(irgrad.grad(total), (X > 0,), (TypeError, errors.DifferentiationError),
                       rf"{ARRAY} bool: x of total \({at('call')}\); {FLOAT}", (X,), [2.0, 2.0, 2.0]),
    "bool": Case(irgrad.grad(total), (True,), (TypeError,),
                 rf"Can't differentiate w.r.t. type <class 'bool'>: x of total \({at('call')}\); {FLOAT}", (1.0,), 2.0),
    "string": Case(irgrad.grad(total), ("text",), (TypeError,),
                     rf"Can't differentiate w.r.t. type <class 'str'>: x of total \({at('call')}\); {OTHER}", (1.0,), 2.0),
    "string array": Case(irgrad.grad(total), (np.array(["a"]),), (TypeError,),
                         rf"{ARRAY} <U1: x of total \({at('call')}\); {OTHER}", (X,), [2.0, 2.0, 2.0]),
    "object array": Case(irgrad.grad(total), (np.array([1.0, None]),), (TypeError,),
                         rf"{ARRAY} object: x of total \({at('call')}\); {OTHER}", (X,), [2.0, 2.0, 2.0]),
    "leaf": Case(irgrad.grad(first), ({"a": [1.0, "text"]},), (TypeError,),
                 rf"Can't differentiate w.r.t. type <class 'str'>: x\['a'\]\[1\] of first \({at('call')}\); {OTHER}"),
})  # fmt: skip
def test_argument_has_no_derivative(case: Case, wrap: Any) -> None:
    check(case, wrap)


# ---- argnum ----


def product(x, y=2.0):
    return x * y


def argnum(which: Any) -> Any:
    return irgrad.grad(product, which)


CALLED = r"names no argument of product\(x, y\), which was called with 2 positional arguments"


@cases({
    "past the end": Case(argnum(2), (1.0, 2.0), (TypeError, errors.DifferentiationError), rf"argnum 2 {CALLED} \({at('call')}\)"),
    "before the start": Case(argnum(-3), (1.0, 2.0), (TypeError,), rf"argnum -3 {CALLED} \({at('call')}\)"),
    "in a tuple": Case(argnum((0, 5)), (1.0, 2.0), (TypeError,), rf"argnum 5 {CALLED} \({at('call')}\)"),
    "unknown name": Case(argnum("z"), (1.0, 2.0), (TypeError,), rf"argnum 'z' {CALLED} \({at('call')}\)"),
    "twice": Case(argnum((0, 0)), (1.0, 2.0), (TypeError,), rf"argnum \(0, 0\) names an argument twice \({at('call')}\)"),
    "no number": Case(argnum(1.5), (1.0, 2.0), (TypeError,),
                      rf"argnum is an int, a parameter name, or a tuple of those; got 1.5 \({at('call')}\)"),
    "not given": Case(irgrad.grad(np.multiply, 1), (1.0,), (TypeError,), rf"argnum 1 names no argument of multiply.*\({at('call')}\)"),
})  # fmt: skip
def test_argnum(case: Case, wrap: Any) -> None:
    check(case, wrap)


def test_argnum_after_errors(wrap: Any) -> None:
    f = wrap(argnum(1))
    with pytest.raises(TypeError):
        f()
    works(f, (3.0, 2.0), 3.0)


# ---- numpy's own complaints ----


def add_shapes(x):
    return np.sum(x[:2] + x)  # @add


def dot_shapes(x):
    y = x * 1.0
    return np.sum(np.dot(np.ones((2, 2)), y))  # @dot


def matmul_shapes(x):
    return np.sum(np.ones((2, 2)) @ x)  # @matmul


def reshape_shapes(x):
    return np.sum(x.reshape(2, 2))  # @reshape


def concatenate_shapes(x):
    return np.sum(np.concatenate([x, np.ones((2, 2))]))  # @concatenate


def axis_shapes(x):
    return np.sum(np.sum(x, axis=2))  # @axis


MISMATCH = (ValueError, errors.TraceValueError, errors.TraceError)
NOT_ALIGNED = r"shapes \(2,2\) and \(3,\) not aligned: 2 \(dim 1\) != 3 \(dim 0\)"


@cases({
    "add": Case(irgrad.grad(add_shapes), (X,), MISMATCH,
                rf"add\(f64\[2\], f64\[3\]\): operands could not be broadcast together with shapes \(2,\) \(3,\)  \({at('add')}\)",
                (np.ones(2),), [2.0, 2.0]),
    "dot": Case(irgrad.grad(dot_shapes), (X,), MISMATCH,
                rf"dot\(f64\[2,2\], f64\[3\]\): {NOT_ALIGNED} \({at('dot')}\)", (np.ones(2),), [2.0, 2.0]),
    "matmul": Case(irgrad.grad(matmul_shapes), (X,), MISMATCH,
                   rf"f64\[2,2\], f64\[3\]\): .* \({at('matmul')}\)", (np.ones(2),), [2.0, 2.0]),
    "reshape": Case(irgrad.grad(reshape_shapes), (X,), MISMATCH,
                    rf"reshape\(f64\[3\], int, int\): cannot reshape array of size 3 into shape \(2, ?2\) \({at('reshape')}\)",
                    (np.ones(4),), np.ones(4)),
    "concatenate": Case(irgrad.grad(concatenate_shapes), (X,), MISMATCH,
                        rf"concatenate\(.*\): all the input arrays? .*must have same number of dimensions.* \({at('concatenate')}\)",
                        (np.ones((1, 2)),), np.ones((1, 2))),
    "axis": Case(irgrad.grad(axis_shapes), (X,), (ValueError, IndexError, errors.TraceError),
                 rf"sum\(f64\[3\]\): axis 2 is out of bounds for array of dimension 1 \({at('axis')}\)",
                 (np.ones((1, 1, 2)),), np.ones((1, 1, 2))),
})  # fmt: skip
def test_shape_mismatch(case: Case, wrap: Any) -> None:
    check(case, wrap)


def test_shape_mismatch_without_grad() -> None:
    check(Case(add_shapes, (X,), MISMATCH, rf"add\(f64\[2\], f64\[3\]\): .* \({at('add')}\)", (np.ones(2),), 4.0), irgrad.jit)


# ---- what is not traced ----


def workdays(x):
    return np.sum(np.is_busday(x))  # @workdays


def public_workdays(x):
    return np.sum(inp.is_busday(x))  # @public workdays


def drawn_bytes(x):
    return np.random.bytes(x)[0]  # @bytes


def to_bytes(x):
    return len(x.tobytes()) * x[0]  # @tobytes


def sorted_by_field(x):
    y = np.copy(x)
    y.sort(order="f")  # @order
    return np.sum(y)


ADVICE = "compute it outside the traced function, or declare it with irgrad.extend.primitive"
UNSUPPORTED = (NotImplementedError, errors.UnsupportedError, TypeError)


@cases({
    "function": Case(irgrad.grad(workdays), (X,), UNSUPPORTED, rf"numpy.is_busday is not traced yet \({at('workdays')}\); {ADVICE}"),
    "irgrad.numpy": Case(irgrad.grad(public_workdays), (X,), UNSUPPORTED,
                         rf"numpy.is_busday is not traced yet \({at('public workdays')}\); {ADVICE}"),
    "submodule": Case(irgrad.grad(drawn_bytes), (X,), UNSUPPORTED, rf"numpy.random.bytes of a traced array is not traced yet \({at('bytes')}\); {ADVICE}"),  # noqa: E501
    "method": Case(irgrad.grad(to_bytes), (X,), UNSUPPORTED,
                   rf"numpy.ndarray.tobytes is not traced yet \({at('tobytes')}\); compute it outside"),
    "keyword": Case(irgrad.grad(sorted_by_field), (X,), UNSUPPORTED,
                    rf"ndarray.sort\(order=\) is not traced yet \({at('order')}\); leave order out"),
})  # fmt: skip
def test_unsupported(case: Case, wrap: Any) -> None:
    check(case, wrap)


def test_unsupported_on_one_branch(wrap: Any) -> None:
    def f(x):
        if x[0] > 0:
            return np.sum(x**2)
        return np.is_busday(x)[0]  # @branch

    g = wrap(irgrad.grad(f))
    works(g, (X,), 2 * X)
    with pytest.raises(NotImplementedError, match=at("branch")):
        g(-X)
    works(g, (X,), 2 * X)


# ---- indices that depend on data ----


def picked(x, i):
    return np.sum(x[i] * 2.0)  # @picked


def scaled_index(x, p):
    return np.sum(x[(p * 3.0).astype(int)] ** 2)  # @scaled index


def constant_index(x):
    return x[5] * 2.0  # @constant index


BOUNDS = "is out of bounds for axis 0 with size 3"
RANGE = (IndexError, errors.TraceIndexError)


@cases({
    "array": Case(irgrad.grad(picked), (X, np.array([0, 7])), RANGE, rf"index 7 {BOUNDS} \({at('picked')}\)",
                  (X, np.array([0, 2])), [2.0, 0.0, 2.0]),
    "negative": Case(irgrad.grad(picked), (X, np.array([0, -4])), RANGE, rf"index -4 {BOUNDS} \({at('picked')}\)",
                     (X, np.array([0, -1])), [2.0, 0.0, 2.0]),
    "number": Case(irgrad.grad(picked), (X, 7), RANGE, rf"index 7 {BOUNDS} \({at('picked')}\)", (X, 1), [0.0, 2.0, 0.0]),
    "computed": Case(irgrad.grad(scaled_index), (X, np.array([0.1, 2.9])), RANGE, rf"index 8 {BOUNDS} \({at('scaled index')}\)",
                     (X, np.array([0.1, 0.9])), [0.6, 0.0, 4.0]),
    "constant": Case(irgrad.grad(constant_index), (X,), RANGE, rf"index 5 {BOUNDS} \({at('constant index')}\)",
                     (np.ones(6),), [0, 0, 0, 0, 0, 2.0]),
})  # fmt: skip
def test_index_out_of_range(case: Case, wrap: Any) -> None:
    check(case, wrap)


def test_index_out_of_range_without_grad() -> None:
    bad, good = (X, np.array([0, 7])), (X, np.array([0, 2]))
    check(Case(picked, bad, RANGE, rf"index 7 {BOUNDS} \({at('picked')}\)", good, 4.6), irgrad.jit)


def test_index_out_of_range_in_compiled_code() -> None:
    """The kernel notices, the call is run again by numpy, and the program stays."""
    f = irgrad.jit(irgrad.value_and_grad(picked))
    good = np.array([0, 2])
    for _ in range(3):
        f(X, good)
    before = f.stats()
    for k in range(3):
        with pytest.raises(IndexError, match=rf"index {3 + k} {BOUNDS} \({at('picked')}\)"):
            f(X, np.array([1, 3 + k]))
        value, gradient = f(X, good)
        assert value == pytest.approx(4.6)
        np.testing.assert_array_equal(gradient, [2.0, 0.0, 2.0])
    after = f.stats()
    assert after.eager_calls == before.eager_calls + 3
    assert (after.paths, after.kernels_compiled) == (before.paths, before.kernels_compiled)
    assert len(f.variants[0].program.contexts) == 1


# ---- tracers in the wrong place ----


class Shelf:
    """Not looked into by traces: what is put here stays."""

    __slots__ = ("value",)


ENDED = r"is used after its trace has ended \({}\); return it from the traced function instead of storing it"


def kept_tracer(wrap: Any, x: Any) -> tuple[Any, Any]:
    """A tracer of a finished trace, and the function that let it out."""
    shelf = Shelf()

    def f(x):
        shelf.value = x * 2.0
        return np.sum(shelf.value)

    g = wrap(irgrad.grad(f))
    works(g, (x,), np.full(np.shape(x), 2.0))
    assert type(shelf.value) is Tracer
    return shelf.value, g


@pytest.mark.parametrize("use", [
    lambda t: t * 2.0, lambda t: 2.0 - t, lambda t: -t, lambda t: t == 1.0, np.sin, np.sum, lambda t: t.sum(), lambda t: t[0],
    lambda t: list(t), lambda t: np.concatenate([t, t]), inp.exp, lambda t: t.reshape(3, 1), lambda t: bool(t[0]),
    lambda t: irgrad.grad(lambda x: np.sum(x * t))(X), lambda t: irgrad.jit(lambda x: np.sum(x * t))(X),
    lambda t: irgrad.grad(np.sum)(t),
])  # fmt: skip
def test_tracer_kept_beyond_its_trace(use: Callable[[Any], Any], wrap: Any) -> None:
    tracer, g = kept_tracer(wrap, X)
    with pytest.raises(errors.RuntimeGuardError, match=r"a traced value \(f64\[3\]\) " + ENDED.format(rf"{FILE}:\d+")):
        use(tracer)
    works(g, (X,), np.full(3, 2.0))


def test_line_of_a_kept_tracer(wrap: Any) -> None:
    tracer, _ = kept_tracer(wrap, 1.5)
    with pytest.raises(RuntimeError, match=r"a traced value \(float\) " + ENDED.format(at("kept"))):
        tracer + 1.0  # @kept


def test_looking_at_a_kept_tracer(wrap: Any) -> None:
    """Its bits can be seen, not taken."""
    tracer, _ = kept_tracer(wrap, X)
    assert repr(tracer) == f"<traced f64[3]: {2 * X!r}>"
    assert str(tracer) == str(2 * X)
    assert tracer.shape == (3,)
    with pytest.raises(errors.TraceError, match=rf"a traced array cannot become a plain numpy array \({at('plain')}\); use irgrad.numpy"):
        np.asarray(tracer)  # @plain


def test_tracer_kept_in_a_captured_list() -> None:
    """What a compiled function leaves in a list that it captured is put back as numbers, and said once."""
    kept: list[Any] = []

    def f(x):
        kept.append(x * 2.0)
        return np.sum(x)

    g = irgrad.jit(irgrad.grad(f))
    with pytest.warns(RuntimeWarning, match=r"keeps running eagerly: kept \(closure of .*\) is changed; .* without side effects"):
        g(X)
    assert type(kept[0]) is np.ndarray
    np.testing.assert_array_equal(kept[0], 2 * X)
    np.testing.assert_array_equal(g(X), np.ones(3))


def reason(error: BaseException) -> BaseException:
    """numpy reports a failed conversion as a ValueError of its own, caused by ours."""
    return error.__cause__ if type(error) is ValueError and error.__cause__ is not None else error


BUFFER = np.zeros(3)


def fill_item(x):
    BUFFER[0] = x  # @fill item
    return np.sum(BUFFER)


def fill_all(x):
    BUFFER[:] = x * 2.0  # @fill all
    return np.sum(BUFFER)


def fill_made_inside(x):
    made = np.zeros(3)
    made[0] = x  # @fill inside
    return np.sum(made)


@pytest.mark.parametrize(("f", "x", "mark"), [(fill_item, 1.5, "fill item"), (fill_all, X, "fill all")])
def test_tracer_written_into_a_plain_array(f: Any, x: Any, mark: str) -> None:
    """An array made outside is not the function's to write into: eager refuses the value, compiled the write."""
    with pytest.raises((TypeError, ValueError)) as caught:
        irgrad.grad(f)(x)
    assert isinstance(reason(caught.value), errors.TraceError)
    advice = r"use .*irgrad.numpy.*, or irgrad.stop_gradient\(t\) to say that none is wanted"
    assert re.search(rf"would lose the derivative of a traced value \({at(mark)}\); {advice}", str(reason(caught.value)))
    with pytest.raises(
        errors.TraceError, match=rf"writes into BUFFER .*\({at(mark)}\), which it does not own; copy it inside the function"
    ):
        irgrad.jit(irgrad.grad(f))(x)
    np.testing.assert_array_equal(BUFFER, np.zeros(3))


def test_array_made_inside_is_written() -> None:
    for wrapped in (irgrad.grad(fill_made_inside), irgrad.jit(irgrad.grad(fill_made_inside))):
        assert wrapped(1.5) == 1.0


def write_too_far(x):
    y = x * 2.0
    y[7] = 0.0  # @write too far
    return np.sum(y)


def write_too_much(x):
    y = x * 2.0
    y[:2] = y  # @write too much
    return np.sum(y)


def write_complex(x):
    y = x * 2.0
    y += 1j  # @write complex
    return np.sum(y)


def write_far_on_a_branch(x):
    y = x * 2.0
    if x[0] < 0:
        y[3 + len(x)] = 0.0  # @write on a branch
    return np.sum(y**2)


@cases({
    "item": Case(irgrad.grad(write_too_far), (X,), (IndexError,),
                 rf"index 7 is out of bounds for axis 0 with size 3 \({at('write too far')}\)"),
    "slice": Case(irgrad.grad(write_too_much), (X,), (ValueError,),
                  rf"could not broadcast input array from shape \(3,\) into shape \(2,\) \({at('write too much')}\)"),
    "dtype": Case(irgrad.grad(write_complex), (X,), (TypeError,), "Cannot cast ufunc 'add' output from dtype"),
    "on a branch": Case(irgrad.grad(write_far_on_a_branch), (-X,), (IndexError,),
                        rf"index 6 is out of bounds .*\({at('write on a branch')}\)", (X,), 8 * X),
})  # fmt: skip
def test_write_to_a_traced_array(case: Case, wrap: Any) -> None:
    kept = X.copy()
    check(case, wrap)
    np.testing.assert_array_equal(X, kept)


def test_a_generator_is_no_result() -> None:
    def pieces(x: Any) -> Any:
        yield x * 2.0

    fast = irgrad.jit(pieces)
    for _ in range(2):
        with pytest.raises(errors.TraceError, match=r"pieces returns a generator, which runs after its trace has ended; return a list"):
            fast(np.ones(2))
    assert irgrad.jit(lambda x: list(pieces(x)))(np.ones(2))[0].tolist() == [2.0, 2.0]


def test_round() -> None:
    """numpy's numbers round as numpy does, to an int that is guarded without digits; a Python float's digits are Python's own."""
    x = np.array([2.6, 3.14159])
    for call in (irgrad.grad, lambda f: irgrad.jit(irgrad.grad(f), compile_after=1)):
        gradient = call(lambda x: round(x[1], 2) * x[0] * round(x[0]))
        for _ in range(2):
            np.testing.assert_allclose(gradient(x), [3.14 * 3, 0.0])
        np.testing.assert_allclose(gradient(x - 0.2), [2.94 * 2, 0.0])
        assert call(lambda t: round(t) * t)(2.5) == 2.0
        with pytest.raises(errors.TraceError, match=r"round\(t, 2\) of a traced Python float .*; use np\.round\(t, 2\)"):
            call(lambda t: round(t, 2))(2.675)
        with pytest.raises(TypeError, match="__round__"):
            call(lambda x: round(x)[0])(x)


def test_recursion_without_end() -> None:
    def forever(x: Any) -> Any:
        return forever(np.sin(x)) + 1.0

    f = irgrad.jit(irgrad.grad(forever))
    with pytest.raises(RecursionError) as raised:
        f(1.0)
    assert re.search(r"test_bad_input\.py:\d+: does the recursion end\?", raised.value.__notes__[0])
    assert irgrad.jit(irgrad.grad(np.sin))(0.0) == 1.0
