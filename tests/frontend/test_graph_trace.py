"""Recording: operands get the dtypes of numpy's loop, numbers stay what they are, a closed trace refuses."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

import irgrad  # noqa: F401  (declares the primitives, teaches tracers numpy)
from irgrad.errors import RuntimeGuardError
from irgrad.frontend.graph_trace import GraphTrace, Spans
from irgrad.frontend.recorder import RecordBuilder
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import REGISTRY
from irgrad.ir.value import Number, Static

VALUES = {
    "f64 array": np.array([0.1, 3.0]),
    "f32 array": np.array([0.1, 3.0], np.float32),
    "i64 array": np.array([1, 3]),
    "f64": np.float64(0.1),
    "f32": np.float32(0.1),
    "i32": np.int32(7),
    "float": 0.1,
    "int": 3,
    "bool": True,
    "complex": 0.5j,
}
OPS = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}


def dtype_of(operand: Any) -> np.dtype[Any]:
    value = operand.value if type(operand) in (Tracer, Static) else operand
    return np.asarray(value).dtype


def loop(ufunc: np.ufunc, x: Any, y: Any) -> tuple[np.dtype[Any], ...]:
    """The dtypes of the operands in the loop that numpy runs."""
    plain = [v.dtype if isinstance(v, (np.ndarray, np.generic)) else np.dtype(bool) if v is True else type(v) for v in (x, y)]
    if not any(isinstance(p, np.dtype) for p in plain):
        plain = [np.dtype(p) for p in plain]
    return ufunc.resolve_dtypes((*plain, None))[:2]


@pytest.mark.parametrize("y", VALUES)
@pytest.mark.parametrize("x", VALUES)
def test_operands_have_the_dtypes_of_numpys_loop(x: str, y: str) -> None:
    a, b = VALUES[x], VALUES[y]
    if x == y == "bool":
        pytest.skip("numpy subtracts no bools")
    for name, fn in OPS.items():
        op = REGISTRY[name]
        trace = GraphTrace()
        traced, other = trace.input(a, 0), trace.input(b, 1)
        for pair in ((traced, other), (traced, b)):
            made = trace.apply(op, fn, *pair)
            want = fn(a, b)
            assert type(made.value) is type(want)
            np.testing.assert_array_equal(made.value, want)
            assert tuple(map(dtype_of, made.operands)) == loop(op.captures[0], a, b)
        trace.close()


@pytest.mark.parametrize("y", VALUES)
@pytest.mark.parametrize("x", VALUES)
def test_rules_record_as_numpy_computes(x: str, y: str) -> None:
    a, b = VALUES[x], VALUES[y]
    if x == y == "bool":
        pytest.skip("numpy subtracts no bools")
    trace = GraphTrace()
    trace.inside = True
    builder = RecordBuilder(trace)
    traced = trace.input(a, 0)
    for name in OPS:
        op = REGISTRY[name]
        want = op.evaluate(a, b)
        for other in (trace.input(b, 1), Static(b), Number(b)) if not isinstance(b, np.ndarray) else (trace.input(b, 1), b):
            made = getattr(builder, name)(traced, other)
            assert type(made.value) is type(want)
            np.testing.assert_array_equal(made.value, want)
            assert tuple(map(dtype_of, made.operands)) == loop(op.captures[0], a, b)
    trace.close()


def test_static_numbers_fold_and_a_product_with_one_is_none() -> None:
    trace = GraphTrace()
    trace.inside = True
    builder = RecordBuilder(trace)
    x = trace.input(np.float64(3.0), 0)
    assert builder.mul(2.0, Static(np.float64(4.0))) == Static(np.float64(8.0))
    assert builder.mul(x, Static(np.float64(1.0))) is x
    assert builder.mul(1.0, x) is x
    assert builder.mul(x, Number(1.0)) is not x
    assert len(trace.tape) == 2


@pytest.mark.parametrize("make", [EagerTrace, GraphTrace])
def test_a_closed_trace_refuses(make: type[Trace]) -> None:
    trace = make()
    x = trace.input(np.ones(2), 0) if isinstance(trace, GraphTrace) else trace.apply(REGISTRY["exp"], np.exp, np.zeros(2))
    trace.close()
    for use in (lambda: x + 1.0, lambda: 1.0 / x, lambda: np.sum(x), lambda: x[0], lambda: -x):
        with pytest.raises(RuntimeGuardError, match="after its trace has ended"):
            use()
    assert x.shape == (2,)
    assert "1." in str(x)


def test_values_of_two_traces_do_not_meet() -> None:
    one, two = GraphTrace(), GraphTrace()
    x, y = one.input(np.ones(2), 0), two.input(np.ones(2), 0)
    two.inside = True
    builder = RecordBuilder(two)
    for meet in (lambda: x + y, lambda: np.hypot(x, y), lambda: builder.mul(y, x), lambda: builder.where(y, y, x)):
        with pytest.raises(RuntimeGuardError, match="values of two traces meet"):
            meet()
    one.close()
    two.close()


def test_spans() -> None:
    spans = Spans()
    spans.add(2, 4)
    spans.add(6, 7)
    spans.add(5, 9)
    assert [i for i, inside in enumerate(spans.flags(0, 12)) if inside] == [2, 3, 5, 6, 7, 8]
