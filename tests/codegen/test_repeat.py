"""Repeat kernels: memory holds what it held after the rows one by one, whatever overlaps; and loops of scalars are few rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen import plain, repeat
from irgrad.codegen.compile import LIBRARY, SIGNATURE, Counts

ELEMENTS = 400


def kernel(rng: np.random.Generator, pointers: int, dtype: str) -> str:
    """Straight-line code with loads and stores in any order."""
    lines = [f"p{k} = pointer_{dtype}(p, {k})" for k in range(pointers)]
    values = ["v0"]
    lines.append("v0 = load(p0, 0)")
    for k in range(1, 12):
        at = f"p{rng.integers(pointers)}, {rng.integers(3)}"
        if rng.random() < 0.4:
            lines.append(f"store({at}, {rng.choice([*values, '0.5']) if dtype == 'float64' else rng.choice(values)})")
        elif rng.random() < 0.5:
            lines.append(f"v{k} = load({at})")
            values.append(f"v{k}")
        else:
            lines.append(f"v{k} = {rng.choice(values)} - {rng.choice(values)}")
            values.append(f"v{k}")
    lines.append(f"store(p{pointers - 1}, 0, {values[-1]})")
    return "def kernel(p, n):\n" + "".join(f"    {line}\n" for line in lines) + "    return 0\n"


def references(rng: np.random.Generator, pointers: int, uses: int, width: int) -> Any:
    """Places in one or two memories that move on by small steps, or to and fro."""
    columns = []
    for _ in range(pointers):
        step, other = rng.integers(-1, 2), rng.integers(-2, 3)
        k = np.arange(uses)
        places = 200 + rng.integers(-4, 5) + (k >> 1) * 2 * step + (k & 1) * (step if rng.random() < 0.8 else other)
        columns.append((width * places << 16) | rng.choice([0, 2, 5] if rng.random() < 0.5 else [0]))
    return np.stack(columns, axis=1)


def run(source: str, refs: Any, sizes: list[int], bases: dict[int, Any], native: bool) -> None:
    table = np.array([bases[int(ref) & repeat.BASE].ctypes.data + (int(ref) >> 16) for ref in refs], np.int64)
    data = np.array(sizes or [0], np.int64)
    if native:
        assert SIGNATURE(LIBRARY.get(source, Counts()).address)(table.ctypes.data, data.ctypes.data) == 0
        return
    space = plain.names()
    exec(source, space)
    assert plain.run(space["kernel"], table.ctypes.data, data.ctypes.data) == 0


@pytest.mark.parametrize("seed", range(150))
@pytest.mark.parametrize("dtype", ["float64", "int8"])
def test_memory_is_as_after_the_rows_one_by_one(seed: int, dtype: str) -> None:
    rng = np.random.default_rng([seed, len(dtype)])
    pointers, uses = int(rng.integers(1, 5)), int(rng.integers(8, 20))
    source = kernel(rng, pointers, dtype)
    refs = references(rng, pointers, uses, np.dtype(dtype).itemsize)
    apart = bool(rng.random() < 0.5)
    found = repeat.repeated(source, refs, apart)
    assert found is not None
    memory = Memory(rng, dtype, apart)
    one_by_one = memory.after([(source, row, []) for row in refs])
    np.testing.assert_array_equal(memory.after([(found[0], refs[0], found[1])], seed < 12), one_by_one, err_msg=found[0])


class Memory:
    """What memory holds after rows: text, references and sizes."""

    def __init__(self, rng: np.random.Generator, dtype: str, apart: bool) -> None:
        self.start = rng.integers(-50, 50, ELEMENTS).astype(dtype)
        self.apart = apart

    def after(self, rows: list[Any], native: bool = False) -> Any:
        arena, other = self.start.copy(), self.start[::-1].copy()
        third = self.start * 2 if self.apart else other  # two bases of one memory
        for text, refs, sizes in rows:
            run(text, refs, sizes, {0: arena, 2: other, 5: third}, native)
        return np.concatenate([arena, other, third])


@pytest.mark.parametrize("seed", range(150))
def test_one_kernel_for_several_runs_and_single_uses(seed: int) -> None:
    """A joined pattern does each run; single uses are its where no store comes before a load that it moves."""
    rng = np.random.default_rng([seed, 3])
    pointers = int(rng.integers(1, 5))
    source = kernel(rng, pointers, "float64")
    apart = bool(rng.random() < 0.5)
    tables = [references(rng, pointers, int(rng.integers(8, 20)), 8) for _ in range(3)]
    runs = [repeat.analysed(source, refs, apart) for refs in tables]
    pattern = runs[0].pattern
    for found in runs:
        pattern = repeat.join(pattern, found.pattern)
    assert all(repeat.covers(pattern, found.pattern) for found in runs)
    text = repeat.text(source, pattern)
    memory = Memory(rng, "float64", apart)
    for refs, found in zip(tables, runs, strict=True):
        one_by_one = memory.after([(source, row, []) for row in refs])
        np.testing.assert_array_equal(memory.after([(text, refs[0], repeat.sizes_of(found, pattern))]), one_by_one, err_msg=text)
        fits = repeat.alone(source, found.pattern, refs, apart)
        alone = repeat.text(source, found.pattern), repeat.sizes_of(None, found.pattern)
        rows = [(alone[0], row, alone[1]) if fit else (source, row, []) for row, fit in zip(refs, fits, strict=True)]
        np.testing.assert_array_equal(memory.after(rows), one_by_one, err_msg=alone[0])


def test_a_moved_load_does_not_pass_a_store() -> None:
    source = CHAIN.replace("    v1 = load(p0, 0)\n", "    store(p2, 0, 7.0)\n    v1 = load(p0, 0)\n")
    pattern = repeat.Pattern(("affine", "fixed", "affine"), (0, -1, 0), (2,), ())
    uses = np.array([[0, 8, 16], [0, 16, 16], [8, 32, 24], [0, 8, 4]], np.int64) << 16
    assert repeat.alone(source, pattern, uses, True).tolist() == [True, False, True, False]
    uses += np.array([2, 3, 4])
    assert repeat.alone(source, pattern, uses, True).all()
    assert not repeat.alone(source, pattern, uses, False).any()


CHAIN = """def kernel(p, n):
    p0 = pointer_float64(p, 0)
    p1 = pointer_float64(p, 1)
    p2 = pointer_float64(p, 2)
    v1 = load(p0, 0)
    v2 = load(p1, 0)
    v3 = v1 * v2
    store(p2, 0, v3)
    return 0
"""


def chain(start: list[int], steps: list[int], uses: int = 9) -> Any:
    return (8 * (np.array(start) + np.arange(uses)[:, None] * np.array(steps))) << 16


def test_a_chain_is_carried_in_a_variable() -> None:
    source, sizes = repeat.repeated(CHAIN, chain([0, 50, 1], [1, 0, 1]), True) or ("", [])
    assert sizes == [9, 1]
    assert (
        source
        == """def kernel(p, n):
    count = size(n, 0)
    p0 = pointer_float64(p, 0)
    p1 = pointer_float64(p, 1)
    p2 = pointer_float64(p, 2)
    s0 = size(n, 1)
    c0 = load(p0, 0)
    v2 = load(p1, 0)
    for k in range(count):
        b0 = k * s0
        v1 = c0
        v3 = v1 * v2
        store(p2, b0, v3)
        c0 = v3
    return 0
"""
    )


@pytest.mark.parametrize(
    ("start", "steps", "carried", "hoisted"),
    [
        ([0, 50, 2], [1, 0, 1], (), (1,)),  # the use after the next reads it: from memory
        ([0, 5, 1], [1, 0, 1], ((0, 2),), ()),  # the chain passes over what was to be read once
        ([0, 1, 1], [0, 0, 0], ((1, 2),), (0,)),  # one place, written and read
        ([0, 50, 8], [1, 0, -1], (), (1,)),  # they meet once
    ],
)
def test_what_is_carried_and_what_is_hoisted(start: list[int], steps: list[int], carried: Any, hoisted: Any) -> None:
    found = repeat.analysed(CHAIN, chain(start, steps), True)
    assert found is not None
    assert (found.pattern.carried, found.pattern.hoisted) == (carried, hoisted)


def test_bases_that_may_be_one_memory() -> None:
    """The body of a loop may write to what it reads."""
    refs = chain([0, 50, 70], [0, 0, 1]) | np.array([2, 3, 4])
    apart, together = (repeat.analysed(CHAIN, refs, known) for known in (True, False))
    assert apart is not None and apart.pattern.hoisted == (0, 1)
    assert together is not None and together.pattern.hoisted == ()


def test_rows_are_cut_where_the_steps_change() -> None:
    rows = np.concatenate([chain([0, 9, 1], [1, 0, 1], 5), chain([40, 9, 3], [2, 0, -1], 6), chain([90, 9, 3], [0, 0, 0], 1)])
    assert repeat.segments(rows) == [(0, 5), (5, 11), (11, 12)]
    assert repeat.segments(rows[:2]) == [(0, 2)]


def test_loops_and_base_changes_are_left_alone() -> None:
    assert (
        repeat.form(
            "def kernel(p, n):\n    p0 = pointer_float64(p, 0)\n    for i0 in range(3):\n        store(p0, i0, 1.0)\n    return 0\n"
        )
        is None
    )
    refs = chain([0, 50, 1], [1, 0, 1])
    refs[4:, 1] |= 3
    assert repeat.repeated(CHAIN, refs, True) is None
    assert repeat.repeated(CHAIN, chain([0, 50, 1], [1, 0, 1]) + np.arange(9)[:, None] * (4 << 16), True) is None


def logistic(steps: int) -> Callable[..., Any]:
    def last(r: Any, x: Any) -> Any:
        for _ in range(steps):
            x = r * x * (1.0 - x)
        return x

    return last


def test_a_scalar_loop_is_a_few_rows_whatever_its_length() -> None:
    jitted = [irgrad.jit(irgrad.grad(logistic(steps), (0, 1))).compile(2.9, 0.3) for steps in (30, 300, 1200)]
    for fast in jitted:
        fast(2.9, 0.3)
    assert len({(fast.stats().rows_last_call, fast.stats().kernels) for fast in jitted}) == 1
    assert jitted[0].stats().rows_last_call <= 16
    assert jitted[2].stats().kernels_compiled == 0
    np.testing.assert_allclose(jitted[1](2.9, 0.3), irgrad.grad(logistic(300), (0, 1))(2.9, 0.3), rtol=1e-13)


def test_a_sweep_over_elements_is_a_row_for_each_line() -> None:
    def sweeps(a: Any) -> Any:
        a = np.array(a)
        for _ in range(2):
            for i in range(1, 11):
                for j in range(1, 15):
                    a[i, j] = 0.25 * (a[i - 1, j] + a[i + 1, j] + a[i, j - 1] + a[i, j + 1])
        return np.sum(a**2)

    a = np.random.default_rng(2).normal(size=(12, 16))
    fast = irgrad.jit(irgrad.grad(sweeps)).compile(a)
    np.testing.assert_allclose(fast(a), irgrad.grad(sweeps)(a), rtol=1e-12)
    assert fast.stats().rows_last_call <= 2 * 2 * 10 + 12


def test_a_guard_ends_a_run() -> None:
    """Rows behind a guard are run only where it goes that way; with guards, short runs stay rows, so that paths share kernels."""

    def f(x: Any) -> Any:
        for _ in range(100):
            x = np.sin(x) + 0.1
        if x > 0.5:
            for _ in range(100):
                x = np.sin(x) + 0.2
            return x
        for _ in range(12):
            x = np.sin(x) - 0.3
        return x

    fast = irgrad.jit(irgrad.grad(f), compile_after=1)
    for x in (0.4, -2.0, 0.4, -2.0, 2.5, -1.0):
        np.testing.assert_allclose(fast(x), irgrad.grad(f)(x), rtol=1e-12)
    before = fast.stats().eager_calls
    np.testing.assert_allclose(fast(0.3), irgrad.grad(f)(0.3), rtol=1e-12)
    assert fast.stats().eager_calls == before
    assert fast.stats().rows_last_call < 2 * 12 + 30


def test_the_body_of_a_loop_node_repeats_too() -> None:
    def loss(p: Any) -> Any:
        def step(x: Any, _: Any) -> Any:
            for _ in range(12):
                x = x * p[0] + p[1]
            return x, None

        return irgrad.scan(step, np.float64(0.3), None, 5)[0]

    p = np.array([0.9, 0.05])
    np.testing.assert_allclose(irgrad.jit(irgrad.grad(loss)).compile(p)(p), irgrad.grad(loss)(p), rtol=1e-12)
