"""The text of loop nests: which loops, in which order, over which strides; and sums that keep the pairwise bound."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.codegen.nest import BLOCK, Nest, NestText, Reduction
from irgrad.config import CONFIG
from irgrad.frontend.deferral import LARGE
from tests.support.machine import optimised, vector_body


def text(
    space: tuple[int, ...], accesses: list[tuple[int, ...]], body: list[str], reduced: tuple[int, ...] = (), **reduction: Any
) -> tuple[str, list[int]]:
    nest = Nest(space, reduced)
    for k, strides in enumerate(accesses):
        nest.access(f"p{k}", strides)
    nest.body.extend(body)
    if reduction:
        nest.reductions.append(Reduction("a0", combine=lambda a, v: f"{a} + {v}", **reduction))
    lines, sizes = NestText(nest, 0).write()
    return "\n".join(line.removeprefix("    ") for line in lines), sizes


def check(found: tuple[str, list[int]], wanted: str, sizes: list[int]) -> None:
    assert found[0] == textwrap.dedent(wanted).strip()
    assert found[1] == sizes


COPY = ["store(p1, @1@, load(p0, @0@))"]


def test_contiguous_axes_are_one_loop() -> None:
    check(
        text((4, 5, 6), [(30, 6, 1), (30, 6, 1)], COPY),
        """
        n0 = size(n, 0)
        for i0 in range(n0):
            store(p1, i0, load(p0, i0))
        """,
        [120],
    )


def test_both_in_fortran_order_are_one_loop_too() -> None:
    assert text((4, 5), [(1, 4), (1, 4)], COPY) == text((20,), [(1,), (1,)], COPY)


def test_axes_of_one_are_dropped() -> None:
    assert text((1, 7, 1), [(0, 1, 5), (9, 1, 1)], COPY) == text((7,), [(1,), (1,)], COPY)


def test_outer_strides_are_sizes() -> None:
    check(
        text((4, 5), [(10, 1), (5, 1)], COPY),
        """
        n0 = size(n, 0)
        n1 = size(n, 1)
        s0_0 = size(n, 2)
        s1_0 = size(n, 3)
        for i0 in range(n0):
            b0_0 = i0 * s0_0
            b1_0 = i0 * s1_0
            for i1 in range(n1):
                store(p1, (b1_0 + i1), load(p0, (b0_0 + i1)))
        """,
        [4, 5, 10, 5],
    )


def test_broadcast_operands_have_no_index() -> None:
    check(
        text((4, 5), [(0, 1), (5, 1), (1, 0)], ["store(p1, @1@, load(p0, @0@) * load(p2, @2@))"]),
        """
        n0 = size(n, 0)
        n1 = size(n, 1)
        s1_0 = size(n, 2)
        s2_0 = size(n, 3)
        for i0 in range(n0):
            b1_0 = i0 * s1_0
            b2_0 = i0 * s2_0
            for i1 in range(n1):
                store(p1, (b1_0 + i1), load(p0, i1) * load(p2, b2_0))
        """,
        [4, 5, 5, 1],
    )


def test_the_largest_strides_are_outermost() -> None:
    """Reading by columns what is written by rows: the loops follow the memory of most accesses."""
    found, sizes = text((4, 5), [(1, 4), (1, 4), (5, 1)], ["store(p2, @2@, load(p0, @0@) + load(p1, @1@))"])
    assert sizes[:2] == [5, 4]
    assert "load(p0, (b0_0 + i1))" in found


def test_a_sum_along_the_inner_axis_is_in_registers_and_blocks() -> None:
    check(
        text((4, 500), [(500, 1), (1, 0)], ["v1 = load(p0, @0@)"], (1,), kind="sum", dtype="float64", initial="0.0", value="v1", out=1),
        f"""
        n0 = size(n, 0)
        n1 = size(n, 1)
        part_a0 = scratch_float64(0)
        s0_0 = size(n, 2)
        s1_0 = size(n, 3)
        for i0 in range(n0):
            b0_0 = i0 * s0_0
            b1_0 = i0 * s1_0
            count = 0
            for j1 in range(0, n1, {BLOCK}):
                a0 = 0.0
                for i1 in range(j1, min(j1 + {BLOCK}, n1)):
                    v1 = load(p0, (b0_0 + i1))
                    a0 = add_any_order(a0, v1)
                count += 1
                push(part_a0, count, a0)
            a0 = collect(part_a0, count, 0.0)
            store(p1, b1_0, a0)
        """,
        [4, 500, 500, 1],
    )


def test_a_sum_over_the_outer_axis_adds_rows_in_memory() -> None:
    check(
        text((40, 5), [(5, 1), (0, 1)], ["v1 = load(p0, @0@)"], (0,), kind="sum", dtype="float64", initial="0.0", value="v1", out=1),
        """
        n0 = size(n, 0)
        n1 = size(n, 1)
        s0_0 = size(n, 2)
        for i1 in range(n1):
            store(p1, i1, 0.0)
        for i0 in range(n0):
            b0_0 = i0 * s0_0
            for i1 in range(n1):
                v1 = load(p0, (b0_0 + i1))
                a0 = load(p1, i1)
                store(p1, i1, a0 + v1)
        """,
        [40, 5, 5],
    )


@pytest.mark.parametrize("shape", [(1_000_000,), (1000, 1000), (50_001,), (3, 127), (3, 129), (2, 0)], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex64"])
def test_sums_keep_the_pairwise_bound(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> None:
    """|error| <= eps * (128 / lanes + log2 of the number of blocks) * sum |x|, with room to spare."""
    x = (rng.normal(size=shape) + 3).astype(dtype)
    if dtype == "complex64":
        x = (x + 1j * rng.normal(size=shape)).astype(dtype)
    total = irgrad.jit(lambda x: np.sum(x, axis=-1), compile_after=1)
    total(x)
    got = total(x)
    assert total.stats().eager_calls == (x.nbytes < LARGE)  # large arrays are compiled at the first call
    wide = np.complex128 if dtype == "complex64" else np.longdouble
    error = np.abs(got - np.sum(x.astype(wide), axis=-1))
    n = max(shape[-1], 1)
    assert np.all(error <= np.finfo(dtype).eps * (16 + np.log2(n)) * np.sum(np.abs(x).astype(float), axis=-1))
    assert got.dtype == dtype


def test_answers_do_not_depend_on_how_an_array_is_stored(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "evaluate", True)
    x, y = rng.normal(size=(2, 6, 7, 8))
    f = irgrad.jit(lambda x, y: (x * y + x, np.max(x, axis=1), np.transpose(x, (2, 0, 1)) - 1.5), compile_after=1)
    want = f(x, y)
    for a in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x.transpose(1, 2, 0).copy().transpose(2, 0, 1)):
        for got, w in zip(f(a, y), want, strict=True):
            np.testing.assert_array_equal(got, w)
        for got, w in zip(f(a, y), want, strict=True):
            np.testing.assert_array_equal(got, w)


@pytest.mark.parametrize("backend", ["llvm", "numba"])
@pytest.mark.parametrize("width", [4, 7, 8, 16])
def test_short_vectors_are_written_with_their_length(backend: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "backend", backend)
    rng = np.random.default_rng(width)
    points, centres, weights = rng.standard_normal((300, width)), rng.standard_normal((5, width)), rng.standard_normal((300, 5))

    def f(points: Any, centres: Any, weights: Any) -> Any:
        return np.sum(weights[:, :, None] * np.sin(points[:, None, :] - centres[None, :, :]), axis=0)

    jitted = irgrad.jit(f).compile(points, centres, weights)
    wanted = f(points, centres, weights)
    assert np.allclose(jitted(points, centres, weights), wanted, rtol=1e-12, atol=1e-12)
    found = [kernel.source.count(f"in lanes({width})") for kernel in jitted.kernels]
    assert (sum(found) > 0) == (width != 7)


def test_few_rows_side_by_side_of_rows_without_loops_are_written_with_their_number() -> None:
    rng = np.random.default_rng(0)
    points, centres = rng.standard_normal((200, 6)), rng.standard_normal((10, 6))

    def f(points: Any, centres: Any) -> Any:
        return np.sum((points[:, None, :] - centres[None, :, :]) ** 2, axis=2)

    jitted = irgrad.jit(f).compile(points, centres)
    assert np.allclose(jitted(points, centres), f(points, centres), rtol=1e-14)
    assert sum("in range(10)" in kernel.source for kernel in jitted.kernels) == 1


@pytest.mark.parametrize(("depth", "count", "pairs"), [(3, 1 << 15, 1), (2, 1 << 15, 0), (3, 1 << 14, 0)])
def test_long_chains_on_large_arrays_are_done_in_pairs(depth: int, count: int, pairs: int) -> None:
    """Two vectors at a time where each element goes through several functions one behind the other; the values are the same."""

    def chain(x: Any) -> Any:
        y = np.tanh(x)
        z = np.tanh(y * 1.5)
        return (np.tanh(z - x) if depth == 3 else np.tanh(x - 1.0) - z) * y

    x = np.random.default_rng(0).normal(size=count)
    jitted = irgrad.jit(chain).compile(x)
    assert [kernel.source.count("in pairs(") for kernel in jitted.kernels] == [pairs]
    found = jitted(x)
    np.testing.assert_allclose(found, chain(x), rtol=1e-14, atol=1e-15)
    small = irgrad.jit(chain).compile(x[:100])
    np.testing.assert_array_equal(small(x[:100]), found[:100])


def test_pairs_are_two_vectors() -> None:
    text = """def kernel(p, n):
    x = scoped_float64(p, 0, 0, 2)
    o = scoped_float64(p, 1, 1, 2)
    for i in {}(size(n, 0)):
        store(o, i, tanh(load(x, i)))
    return 0
"""
    loops = [vector_body(optimised(text.format(name), "llvm")) for name in ("range", "pairs")]
    stores = [len(re.findall(r"store <\d+ x double>", loop)) for loop in loops]
    assert stores[1] == 2
    assert stores[0] >= 1
