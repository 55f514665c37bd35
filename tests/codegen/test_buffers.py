"""Buffers that are never in use together are one."""

from __future__ import annotations

import numpy as np
import pytest

import irgrad
from irgrad.codegen.buffers import share_buffers
from irgrad.codegen.lowered import Export, Ref, Row
from irgrad.config import CONFIG
from irgrad.ir.aval import Aval

AVAL = Aval((2,), np.dtype(float))


def row(*buffers: int) -> Row:
    return Row("", [Ref(("slot", 0)), *[Ref(("buffer", b)) for b in buffers], "dgemm"], [], "")


def named(rows: list[Row]) -> list[list[int]]:
    return [[ref.home[1] for ref in each.pointers if isinstance(ref, Ref) and ref.home[0] == "buffer"] for each in rows]


def test_a_chain_needs_two() -> None:
    rows = [row(0), row(0, 1), row(1, 2), row(2, 3)]
    exports = [Export(Ref(("buffer", 3)), AVAL)]
    assert share_buffers(list(rows), [800] * 4, exports) == [800, 800]
    assert named(rows) == [[0], [0, 1], [1, 0], [0, 1]]
    assert exports[0].ref == Ref(("buffer", 1))


def test_a_row_does_not_write_what_it_reads_last() -> None:
    rows = [row(0), row(0, 1)]
    assert share_buffers(list(rows), [800] * 2, []) == [800, 800]


def test_exports_and_what_is_read_late_stay() -> None:
    rows = [row(0), row(0, 1), row(1, 2), row(2, 0, 3)]
    exports = [Export(Ref(("buffer", 1)), AVAL), Export(Ref(("buffer", 3), 16), AVAL)]
    assert share_buffers(list(rows), [800] * 4, exports) == [800] * 4


def test_sizes_are_alike_and_those_of_exports_equal() -> None:
    rows = [row(0), row(0, 1), row(1, 2), row(2, 3), row(3, 4)]
    assert share_buffers(list(rows), [1600, 800, 900, 100, 900], [Export(Ref(("buffer", 4)), AVAL)]) == [1600, 800, 100, 900]
    assert named(rows) == [[0], [0, 1], [1, 0], [0, 2], [2, 3]]


def test_long_programs_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "evaluate", True)

    def f(m: np.ndarray, x: np.ndarray) -> np.ndarray:
        for _ in range(6):
            x = np.tanh(m @ x)
            x = m @ np.tanh(x[::-1])
            x = np.tanh(m @ x)
        return x

    jitted = irgrad.jit(f, compile_after=1)
    m, x = np.eye(9), np.linspace(0, 1, 90).reshape(9, 10)
    np.testing.assert_array_equal(jitted(m, x), jitted(m, x))
    assert jitted.stats().arena_bytes < 4 * x.nbytes
