"""Replayed adjoints: the same records as by rules, whatever the segment; counts of what went by rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.frontend import contents, replay
from irgrad.frontend.tracer import Tracer
from irgrad.ir.primitive import REGISTRY, Primitive
from irgrad.runtime.signature import call_form
from irgrad.runtime.tracing import trace_call
from tests.support.repeated import OPERATORS, PROGRAMS, T, X, recorded

pytestmark = pytest.mark.filterwarnings("ignore:Output seems independent")


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_records_as_by_rules(name: str, operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f = OPERATORS[operator](PROGRAMS[name])
    monkeypatch.setattr(replay, "REPEATED", 1 << 60)
    by_rules, expected = recorded(f, X)
    monkeypatch.setattr(replay, "REPEATED", 3)
    monkeypatch.setattr(replay, "_plans", {})
    replayed, found = recorded(f, X)
    again, _ = recorded(f, X)  # with the plans of the first
    assert len(replayed) == len(by_rules)
    for a, b, c in zip(by_rules, replayed, again, strict=True):
        assert a == b == c
    for a, b in zip(np.atleast_1d(expected[0]) if operator != "value_and_grad" else expected[0], found[0], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("name", ["carried", "literals", "slices", "recurrent", "passed_on", "called"])
def test_other_dtypes(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        return np.real(PROGRAMS[name](x))

    x = X.astype(dtype)
    monkeypatch.setattr(replay, "REPEATED", 1 << 60)
    by_rules, _ = recorded(irgrad.grad(f), x)
    monkeypatch.setattr(replay, "REPEATED", 3)
    monkeypatch.setattr(replay, "_plans", {})
    assert recorded(irgrad.grad(f), x)[0] == by_rules


@pytest.mark.parametrize("name", ["carried", "slices", "writes", "recurrent", "called", "updated", "literals"])
def test_the_rules_run_for_a_few_segments_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_plans", {})
    num = {True: 0, False: 0}
    for method, played in (("play", True), ("capture", False)):
        plain = getattr(replay.Replays, method)

        def counted(self: Any, *args: Any, plain: Any = plain, played: bool = played) -> Any:
            num[played] += 1
            return plain(self, *args)

        monkeypatch.setattr(replay.Replays, method, counted)
    recorded(irgrad.grad(PROGRAMS[name]), X)
    assert num[True] >= 4
    assert num[False] <= 8


def test_a_rule_of_the_users_runs_for_every_segment() -> None:
    calls = [0]

    @irgrad.extend.primitive
    def twice(x: Any) -> Any:
        return 2.0 * x

    def rule(ans: Any, x: Any) -> Callable[[Any], Any]:
        calls[0] += 1
        return lambda g: 2.0 * g

    irgrad.extend.defvjp(twice, rule)

    def f(x: Any) -> Any:
        for _ in range(T):
            x = twice(np.sin(x)) * 0.5 + np.cos(x) * x + 0.1 * np.tanh(x)
        return np.sum(x)

    recorded(irgrad.grad(f), X)
    assert calls[0] == T
    assert not contents.is_ours(REGISTRY["dot"]) or isinstance(REGISTRY["dot"], Primitive)


@pytest.mark.parametrize("name", PROGRAMS)
def test_compiled_agrees_with_eager(name: str) -> None:
    f = PROGRAMS[name]
    fast = irgrad.jit(irgrad.grad(f))
    for scale in (1.0, 1.0, 0.97):
        np.testing.assert_allclose(fast(scale * X), irgrad.grad(f)(scale * X), rtol=1e-9, atol=1e-12)


def descend(x: Any) -> Any:
    """Gradients are used by what later gradients walk over; their cotangents pass through segments unchanged."""

    def loss(w: Any, pull: Any) -> Any:
        total, held = 0.0, w
        for _ in range(20):
            held = held + pull * 0.01
            total = total + np.sum(np.sin(held) * w)
        return total + np.sum(pull * held)

    pull = x
    for _ in range(3):
        slope = irgrad.grad(loss)(x, pull)
        x, pull = x - 0.01 * slope, slope
    return np.sum(x * pull)


def test_gradients_are_used_by_later_ones() -> None:
    x = np.array([0.3, -0.2, 0.9, 0.1])
    for fun in (descend, irgrad.grad(descend)):
        fast = irgrad.jit(fun, compile_after=1)
        for point in (x, -x):
            np.testing.assert_allclose(fast(point), fun(point), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(irgrad.jit(fun)(x), fun(x), rtol=1e-9, atol=1e-12)  # what the trace itself computed
    step = 1e-6 * np.array([1.0, -0.5, 0.25, 2.0])
    slope = (descend(x + step) - descend(x - step)) / 2e-6
    assert irgrad.grad(descend)(x) @ (step / 1e-6) == pytest.approx(slope, rel=1e-6)


def test_cotangents_that_were_taken_over_are_not_kept() -> None:
    """Each iteration adds to the cotangents of a matrix and hands on that of the state: the trace keeps those of a few iterations."""

    def loss(w: Any, steps: int) -> Any:
        state = np.ones(20)
        for _ in range(steps):
            state = np.tanh(w @ state)
        return np.sum(state)

    kept = []
    for steps in (50, 50, 100):  # the first makes the plans
        form = call_form((np.eye(20) * 0.9, steps), {}, (1,), (), False)
        traced = trace_call(irgrad.grad(lambda w, n: loss(w, n)), form)
        primal = next(t.index for t in traced.trace.tape if t.op is not None and t.op.name == "reduce_sum")
        kept.append(sum(type(t) is Tracer for t in traced.trace.tape[primal + 1 :]))
        np.testing.assert_allclose(traced.result, irgrad.grad(loss)(np.eye(20) * 0.9, steps), rtol=1e-12)
        traced.trace.close()
    assert max(kept[1:]) < 25
