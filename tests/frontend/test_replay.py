"""Replayed adjoints: the same records as by rules, whatever the segment; counts of what went by rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.frontend import replay
from irgrad.ir.primitive import REGISTRY, Primitive
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
    assert not replay.is_ours(REGISTRY["dot"]) or isinstance(REGISTRY["dot"], Primitive)


@pytest.mark.parametrize("name", PROGRAMS)
def test_compiled_agrees_with_eager(name: str) -> None:
    f = PROGRAMS[name]
    fast = irgrad.jit(irgrad.grad(f))
    for scale in (1.0, 1.0, 0.97):
        np.testing.assert_allclose(fast(scale * X), irgrad.grad(f)(scale * X), rtol=1e-9, atol=1e-12)
