"""References of a template that is used often come from a function; they are those that are worked out one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.runtime import binding, lowering
from tests.support.repeated import PROGRAMS, W, X

pytestmark = pytest.mark.filterwarnings("ignore:Output seems independent")


def factorised(x: Any) -> Any:
    """Library routines, a host call, and offsets that are data."""
    total, rows = 0.0, np.zeros((6, 12))
    for i in range(6):
        rows[i] = np.linalg.solve(W @ W.T + np.eye(12) * (i + 1), x) + np.sort(x)[::-1]
        total = total + np.sum(np.linalg.eigvalsh(np.outer(rows[i], rows[i]) + W + W.T)) * rows[i, i]
    return total + np.sum(rows[:, 3:7])


def linked(f: Any, often: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(binding, "OFTEN", often)
    monkeypatch.setattr(lowering, "_lowered", {})
    compiled = irgrad.jit(irgrad.grad(f)).compile(X)
    (variant,) = compiled.variants
    program = variant.program
    hosts = {row: ([o[0] if isinstance(o, tuple) else o for o in h.operands], h.result[0]) for row, h in program.hosts.items()}
    bytes_of = [program.refs.tobytes(), program.numbers.tobytes()]
    return bytes_of, hosts, program.num_rows, compiled(X)


@pytest.mark.parametrize("name", [*PROGRAMS, "factorised"])
def test_the_same_references(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f = PROGRAMS.get(name, factorised)
    *expected, result = linked(f, 1 << 60, monkeypatch)
    made: list[int] = []
    plain = binding._compiled
    monkeypatch.setattr(binding, "_compiled", lambda lowered: (made.append(1), plain(lowered))[1])
    *found, same = linked(f, 1, monkeypatch)
    assert found == expected
    assert made
    np.testing.assert_array_equal(same, result)


def test_what_is_used_once_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(lowered: Any) -> Any:
        raise AssertionError(lowered)

    monkeypatch.setattr(binding, "_compiled", compiled)
    monkeypatch.setattr(lowering, "_lowered", {})
    irgrad.jit(irgrad.grad(lambda x: np.sum(np.sin(x) ** 2))).compile(X)
