"""Random expressions of matrix products: compiled, with `exact`, and derivatives are what numpy and eager irgrad give, nan for nan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen import chains

Value = Callable[[Sequence[Any]], Any]
EXTENTS = ((1, 2, 3, 5), (20, 33, 41, 64), (0, 1, 7, 40), (4, 8, 16, 32), (1, 50, 70))
TOLERANCE = {"float64": 1e-11, "complex128": 1e-11, "float32": 5e-4, "int64": 1e-9}
PROGRAMS = 10  # of each test


class Draw:
    """A random expression and the shapes of its operands."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.extents = EXTENTS[seed % len(EXTENTS)]
        self.shapes: list[tuple[int, ...]] = []
        self.dtype = str(self.rng.choice(["float64", "float64", "float32", "complex128", "int64"]))
        self.value = self.result()

    def extent(self) -> int:
        return int(self.rng.choice(self.extents))

    def operand(self, *shape: int) -> Value:
        self.shapes.append(shape)
        place = len(self.shapes) - 1
        return lambda given: given[place]

    def leaf(self, rows: int, columns: int) -> Value:
        """A matrix as it is, turned, cut out of another, or every second column of one."""
        kind = self.rng.integers(4)
        if kind == 0:
            return self.operand(rows, columns)
        if kind == 1:
            x = self.operand(columns, rows)
            return lambda given: x(given).T
        if kind == 2:
            x = self.operand(rows + 2, columns + 1)
            return lambda given: x(given)[1 : rows + 1, :columns]
        x = self.operand(rows, 2 * columns)
        return lambda given: x(given)[:, ::2]

    def matrix(self, rows: int, columns: int, depth: int) -> Value:
        kind = int(self.rng.integers(12)) if depth else 0
        if kind < 2:
            return self.leaf(rows, columns)
        if kind in (7, 8, 9):
            x, f = self.matrix(rows, columns, depth - 1), self.operand()
            forms: list[Value] = [lambda g: f(g) * x(g), lambda g: x(g) / f(g), lambda g: -x(g)]
            return forms[kind - 7]
        if kind == 6:
            x = self.matrix(columns, rows, depth - 1)
            return lambda given: x(given).T
        if kind == 10:
            u, v = self.operand(rows), self.operand(columns)
            return lambda given: np.outer(u(given), v(given))
        inner = self.extent()
        a, b = self.matrix(rows, inner, depth - 1), self.matrix(inner, columns, depth - 1)
        return (lambda g: (a(g)[:, :, None] * b(g)[None]).sum(1)) if kind == 11 else (lambda g: a(g) @ b(g))

    def result(self) -> Value:
        rows, columns, depth = self.extent(), self.extent(), int(self.rng.integers(1, 4))
        a = self.matrix(rows, columns, depth)
        kind = self.rng.integers(5)
        if kind == 0:
            b, f = self.matrix(rows, columns, depth - 1), self.operand()
            return lambda g: a(g) - f(g) * b(g)
        if kind == 1:
            return lambda g: a(g).sum(int(rows < columns))
        v, w = self.operand(columns), self.operand(rows)
        forms: list[Value] = [lambda g: a(g) @ v(g), lambda g: w(g) @ a(g), lambda g: ((m := a(g)) @ v(g), w(g) @ m)]
        return forms[kind - 2]

    def operands(self) -> list[Any]:
        return [self.number(shape) for shape in self.shapes]

    def number(self, shape: tuple[int, ...]) -> Any:
        if self.dtype == "int64":
            return np.asarray(self.rng.integers(1, 4, shape))[()]
        x = self.rng.standard_normal(shape)
        return np.asarray(x + 1j * self.rng.standard_normal(shape) if self.dtype == "complex128" else x).astype(self.dtype)[()]


def check(got: Any, want: Any, dtype: str, what: str) -> None:
    for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (got, want)), strict=True):
        x, y = np.asarray(a), np.asarray(b)
        assert (x.shape, x.dtype) == (y.shape, y.dtype), what
        finite = np.isfinite(y)
        assert np.array_equal(np.isfinite(x), finite), what
        assert dtype == "complex128" or np.array_equal(np.isnan(x), np.isnan(y)), what
        size = max(np.max(np.abs(y[finite]), initial=0.0), 1.0)
        assert np.allclose(x[finite], y[finite], rtol=TOLERANCE[dtype], atol=100 * TOLERANCE[dtype] * size), what


def run(seed: int) -> None:
    drawn = Draw(seed)
    given = drawn.operands()

    def f(*operands: Any) -> Any:
        return drawn.value(operands)

    with np.errstate(all="ignore"):
        jitted = irgrad.jit(f).compile(*given)
        check(jitted(*given), f(*given), drawn.dtype, f"seed {seed}")
        check(irgrad.jit(f, exact=True).compile(*given)(*given), f(*given), drawn.dtype, f"seed {seed}, exact")
        for bad in (np.nan, np.inf, 0.0) if drawn.dtype != "int64" else ():
            place = int(drawn.rng.integers(len(given)))
            changed = [np.array(x) for x in given]
            if changed[place].size:
                changed[place].flat[int(drawn.rng.integers(changed[place].size))] = bad
            changed = [x[()] for x in changed]
            check(jitted(*changed), f(*changed), drawn.dtype, f"seed {seed}, {bad} in operand {place}")
        if drawn.dtype.startswith("float"):
            gradient = irgrad.grad(lambda *x: total(f(*x)), tuple(range(len(given))))
            check(irgrad.jit(gradient).compile(*given)(*given), gradient(*given), drawn.dtype, f"seed {seed}, gradient")


def total(x: Any) -> Any:
    return sum(np.sum(np.tanh(part / 10)) for part in (x if isinstance(x, tuple) else (x,)))


@pytest.mark.parametrize("start", range(0, 6 * PROGRAMS, PROGRAMS))
def test_random_expressions(start: int) -> None:
    for seed in range(start, start + PROGRAMS):
        run(seed)


def test_a_kernel_that_does_not_look_through_its_result_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = chains._Kernel.product

    def blind(kernel: Any) -> Any:
        row = right(kernel)
        row.source = row.source.replace("if check != check:", "if check != check and 0 != 0:")
        return row

    monkeypatch.setattr(chains._Kernel, "product", blind)
    monkeypatch.setattr("irgrad.runtime.lowering._lowered", {})
    with pytest.raises(AssertionError, match="seed"):
        for seed in range(150):
            run(seed)
